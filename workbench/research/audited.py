"""The kept audit, and what gold's own forecasts were worth."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from engine.errors import ContractError, EngineError, NoData
from engine.lake.catalog import SIGNALS, TRIGGERS
from engine.vocab import root_of
from workbench.data import open_lake
from workbench.research.asked import Progress, Watched, market, nothing, stamp


@dataclass(frozen=True, eq=False)
class Audit:
    """The kept audit: the table, the whole report, and when it was made."""

    frame: pl.DataFrame
    report: dict[str, Any]
    made: dt.datetime


@dataclass(frozen=True, eq=False)
class Worth:
    """The kept audit (None where there is none of the market, with the reason), and what gold's own forecasts were worth by level and
    direction, at the `horizon` that they are of."""

    audit: Audit | None
    why: str
    by_level: pl.DataFrame
    horizon: str


def audit(root: str, of: str | None = None) -> Audit:
    """The lake's kept audit.

    Raises
    ------
    PartitionMissing, PartitionCorrupt, NoData
        Where there is none, or it is of another market than `of`; with the command that makes one.
    """
    from engine.retrieval.kept import audit_command
    from engine.retrieval.table import TABLE, read_audit

    lake = open_lake(root)
    frame, report = read_audit(lake.root)
    was = report["made_of"].get("market") if report.get("made_of") else None
    if of is not None and was not in (None, of):
        raise NoData(f"the kept audit is of {was}, not of {of}; `{audit_command(lake, of)}` makes one of {of} in its place")
    made = (lake.root / TABLE).stat().st_mtime
    return Audit(frame, report, dt.datetime.fromtimestamp(made, dt.UTC))


def worth(root: str, contract: str | None = None, progress: Progress = nothing) -> Worth:
    """The audit, and gold's forecasts against what came, of the contract's market (of the only one where None).

    Raises
    ------
    EngineError
        Where the lake has neither.
    """
    progress(0, 0, "the kept audit")
    kept, why = None, ""
    try:
        kept = audit(root, market(contract))
    except EngineError as e:
        why = str(e)
    with Watched(progress) as watched:
        by_level, horizon = _by_level(root, market(contract), stamp(root, TRIGGERS, SIGNALS), watched)
    if kept is None and not by_level.height:
        raise NoData(why)
    return Worth(kept, why, by_level, horizon)


@lru_cache(maxsize=2)
def _by_level(root: str, of: str | None, mark: str, watched: Watched) -> tuple[pl.DataFrame, str]:
    from engine.retrieval.alike import one_market, same_knobs
    from engine.retrieval.by_level import scores_by_level
    from engine.retrieval.mend import gold_command

    lake = open_lake(root)
    sessions = [p for p in lake.partitions(SIGNALS) if lake.has(SIGNALS, *p) and lake.has(TRIGGERS, *p)]
    sessions = [p for p in sessions if of in (None, root_of(p[0]).code)]
    if not sessions:
        return pl.DataFrame(), ""
    one_market(lake, sessions, of)
    same_knobs(lake, sessions)
    horizons = {str(lake.manifest(SIGNALS, *p).lineage.values["retrieval"]["horizon"]) for p in sessions}
    if len(horizons) > 1:
        newest = max(sessions, key=lambda p: p[1])
        raise ContractError(
            f"{SIGNALS} in {root}: expected forecasts of one horizon, found {', '.join(sorted(horizons))}; "
            f"`{gold_command(lake, newest, [d for _, d in sessions])}` makes them all as that of {newest[1]} is"
        )
    horizon = horizons.pop()
    signals, triggers = [], []
    for i, (symbol, date) in enumerate(sessions):
        arm = pl.col("kind") == "arm"
        signals.append(lake.read(SIGNALS, symbol, date, where=arm))
        triggers.append(lake.read(TRIGGERS, symbol, date, ["trigger_id", "session_date", f"outcome_{horizon}"], arm))
        watched.tell(i + 1, len(sessions), str(date))
    return scores_by_level(pl.concat(signals), pl.concat(triggers), horizon), horizon
