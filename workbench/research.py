"""What the Research view shows, asked of the engine once for each state of the lake; computes nothing of its own.

Everything here may take seconds: views call it in a thread (`workbench.views.later`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.errors import ContractError, EngineError, NoData
from engine.lake.catalog import LADDER, LEVELS, SIGNALS, TAPE, TRIGGERS, VACUUM
from engine.lake.manifest import sha256_text
from engine.vocab import root_of
from workbench.data import open_lake

if TYPE_CHECKING:
    from engine.retrieval.events import Events
    from engine.retrieval.explore import FeatureDistribution

Progress = Callable[[int, int, str], None]


def nothing(done: int, of: int, what: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, eq=False)
class Audit:
    """The kept audit: the table, the whole report, and when it was made."""

    frame: pl.DataFrame
    report: dict[str, Any]
    made: dt.datetime


@dataclass(frozen=True, eq=False)
class Worth:
    """The kept audit (None where there is none, with the reason), and what gold's own forecasts were worth by level and direction."""

    audit: Audit | None
    why: str
    by_level: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature's distribution, its value at a moment (None where it has none, with the reason), and the share of history below that."""

    distribution: FeatureDistribution
    now: float | None
    below: float | None
    why: str


@dataclass(frozen=True, eq=False)
class Quality:
    """Sessions and their gaps (`engine.lake.quality.quality_table`), the selection map, and partitions that are stale."""

    sessions: pl.DataFrame
    gaps: pl.DataFrame
    selection: pl.DataFrame
    stale: pl.DataFrame


def stamp(root: str, *keys: str) -> str:
    """What the lake says of some datasets now: another one means that what was computed is of another lake."""
    lake = open_lake(root)
    parts = []
    for key in keys:
        for symbol, date in lake.partitions(key):
            found = lake.find_manifest(key, symbol, date)
            parts.append(f"{key}/{symbol}/{date}/{found.digest() if found else ''}")
    return sha256_text("\n".join(parts))


class _Watched:
    """Carries a progress callback past a cache."""

    def __init__(self, progress: Progress) -> None:
        self.tell = progress

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        # The cache keeps this object, and so would keep the page that watched.
        self.tell = nothing

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Watched)


def market(contract: str | None) -> str | None:
    """Root of a contract; None where none is chosen."""
    return root_of(contract).code if contract else None


def simulated(root: str) -> bool:
    """Whether any session of the lake comes of a simulated market: then what is counted over it does, too."""
    lake = open_lake(root)
    return any(lake.has(LADDER, s, d) and lake.is_simulated(LADDER, s, d) for s, d in lake.partitions(LADDER))


# --- the four conditions


def hypothesis(root: str, horizon: str, progress: Progress = nothing) -> pl.DataFrame:
    """`engine.retrieval.hypothesis.condition_table` of the whole lake.

    Raises
    ------
    EngineError
        Where the lake has no gold, with the command that makes it.
    """
    with _Watched(progress) as watched:
        return _hypothesis(root, horizon, stamp(root, TRIGGERS, VACUUM), watched)


@lru_cache(maxsize=8)
def _hypothesis(root: str, horizon: str, mark: str, watched: _Watched) -> pl.DataFrame:
    from engine.retrieval.hypothesis import condition_table
    from engine.retrieval.params import AuditParams, RetrievalParams

    events, conditions = _conditions(root, mark, watched)
    watched.tell(0, 0, "intervals and the reference of earlier sessions")
    return condition_table(events, conditions, AuditParams(retrieval=RetrievalParams(horizon=horizon)))  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def _conditions(root: str, mark: str, watched: _Watched) -> tuple[Events, pl.DataFrame]:
    from engine.retrieval.gold import condition_events

    return condition_events(open_lake(root), None, progress=watched.tell)


# --- the audit


def audit(root: str, progress: Progress = nothing) -> Audit:
    """The lake's kept audit.

    Raises
    ------
    PartitionMissing, PartitionCorrupt
        With the command that makes one.
    """
    from engine.retrieval.table import TABLE, read_audit

    lake = open_lake(root)
    frame, report = read_audit(lake.root)
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
        kept = audit(root, progress)
    except EngineError as e:
        why = str(e)
    with _Watched(progress) as watched:
        by_level = _by_level(root, market(contract), stamp(root, TRIGGERS, SIGNALS), watched)
    if kept is None and not by_level.height:
        raise NoData(why)
    return Worth(kept, why, by_level)


@lru_cache(maxsize=2)
def _by_level(root: str, of: str | None, mark: str, watched: _Watched) -> pl.DataFrame:
    from engine.retrieval.alike import one_market, same_knobs
    from engine.retrieval.by_level import scores_by_level

    lake = open_lake(root)
    sessions = [p for p in lake.partitions(SIGNALS) if lake.has(SIGNALS, *p) and lake.has(TRIGGERS, *p)]
    sessions = [p for p in sessions if of in (None, root_of(p[0]).code)]
    if not sessions:
        return pl.DataFrame()
    one_market(lake, sessions, of)
    same_knobs(lake, sessions)
    horizons = {str(lake.manifest(SIGNALS, *p).lineage.values["retrieval"]["horizon"]) for p in sessions}
    if len(horizons) > 1:
        raise ContractError(
            f"{SIGNALS} in {root}: expected forecasts of one horizon, found {', '.join(sorted(horizons))}; "
            f"`spymaster run --lake {root} --layer gold --symbol {root_of(sessions[0][0]).code} --dates "
            f"{min(d for _, d in sessions)}:{max(d for _, d in sessions)} --session {lake.profile() or 'rth'}` makes them alike"
        )
    horizon = horizons.pop()
    signals, triggers = [], []
    for i, (symbol, date) in enumerate(sessions):
        arm = pl.col("kind") == "arm"
        signals.append(lake.read(SIGNALS, symbol, date, where=arm))
        triggers.append(lake.read(TRIGGERS, symbol, date, ["trigger_id", "session_date", f"outcome_{horizon}"], arm))
        watched.tell(i + 1, len(sessions), str(date))
    return scores_by_level(pl.concat(signals), pl.concat(triggers), horizon)


# --- hit rates


def hit_rates(root: str, horizon: str, contract: str | None = None, progress: Progress = nothing) -> pl.DataFrame:
    """`engine.retrieval.hit_rates.hit_rates` of the contract's market in the lake (of the only one where None).

    Raises
    ------
    NoData
        Where the lake has no gold, with the command that makes it.
    """
    with _Watched(progress) as watched:
        return _hit_rates(root, horizon, market(contract), stamp(root, TRIGGERS), watched)


@lru_cache(maxsize=8)
def _hit_rates(root: str, horizon: str, of: str | None, mark: str, watched: _Watched) -> pl.DataFrame:
    from engine.retrieval.alike import one_market, same_knobs
    from engine.retrieval.gold import sessions_in, until_decided
    from engine.retrieval.hit_rates import NEEDED
    from engine.retrieval.hit_rates import hit_rates as rates
    from engine.retrieval.params import HORIZONS

    lake = open_lake(root)
    columns = list(dict.fromkeys([*NEEDED, "window_end_ts_ns", *(f"outcome_{h}" for h in HORIZONS)]))
    sessions = sessions_in(lake, TRIGGERS, of)
    one_market(lake, sessions, of)
    same_knobs(lake, sessions)
    parts = []
    for i, (symbol, date) in enumerate(sessions):
        parts.append(until_decided(lake, symbol, date, lake.read(TRIGGERS, symbol, date, columns)))
        watched.tell(i + 1, len(sessions), str(date))
    return rates(pl.concat(parts), horizon)


# --- features


def events(root: str) -> dict[str, Events]:
    """The `arm` events of gold by group (both directions are one group where their vectors are mirrored).

    Raises
    ------
    NoData
        Where the lake has no gold, with the command that makes it.
    """
    return _events(root, stamp(root, TRIGGERS))


@lru_cache(maxsize=1)
def _events(root: str, mark: str) -> dict[str, Events]:
    from engine.retrieval.gold import gold_events

    found = {k: e for k, e in gold_events(open_lake(root), kinds=("arm",)).items() if len(e)}
    if not found:
        raise NoData(
            f"{TRIGGERS} in {root}: expected armed approaches, found none; `spymaster run --lake {root} --layer gold` over more dates"
        )
    return found


def feature(
    root: str, group: str, name: str, horizon: str, moment: tuple[str, dt.date, str, int] | None, progress: Progress = nothing
) -> Feature:
    """Distribution of one feature, and its value at a moment: contract, session, level, end of the window.

    Raises
    ------
    EngineError
        Where the lake has no gold, or its vectors no such feature.
    """
    mark = stamp(root, TRIGGERS)
    distribution = _feature(root, group, name, horizon, mark)
    if moment is None:
        return Feature(distribution, None, None, "no moment is chosen")
    progress(0, 0, "the value at the cursor")
    query, why = _moment(root, *moment, stamp(root, LADDER, TAPE, LEVELS))
    if query is None or name not in query.names:
        return Feature(distribution, None, None, why or "the moment approaches from the other side")
    from engine.retrieval.explore import feature_values, share_below

    value = float(feature_values(query, name)[0])
    if value != value:
        return Feature(distribution, None, None, "two minutes of a valid book are needed before the moment")
    return Feature(distribution, value, share_below(_events(root, mark)[group], name, value), "")


@lru_cache(maxsize=64)
def _feature(root: str, group: str, name: str, horizon: str, mark: str) -> FeatureDistribution:
    from engine.retrieval.explore import feature_distribution

    return feature_distribution(_events(root, mark)[group], name, horizon)


@lru_cache(maxsize=16)
def _moment(root: str, symbol: str, date: dt.date, level_id: str, end_ns: int, mark: str) -> tuple[Events | None, str]:
    from engine.retrieval.gold import MIRROR
    from engine.retrieval.moment import moment_events

    price = float(level_id.removeprefix("price:")) if level_id.startswith("price:") else None
    representation = "means" if MIRROR in events(root) else "blocks"
    try:
        return moment_events(open_lake(root), symbol, date, level_id, end_ns, price=price, representation=representation), ""
    except EngineError as e:
        return None, str(e)


# --- quality


def quality(root: str, progress: Progress = nothing) -> Quality:
    """What the lake's data are worth: every session's book, the selection map, and what is stale.

    Raises
    ------
    NoData
        Where the lake has no session at all.
    """
    from engine.lake.quality import quality_table
    from engine.pipeline import lake_state
    from engine.selection import read_selection, selection_frame

    lake = open_lake(root)
    sessions, gaps = quality_table(lake, progress)
    if not sessions.height:
        raise NoData(f"{LADDER} in {root}: expected sessions, found none; `spymaster run --lake {root} --layer all` makes them")
    progress(0, 0, "what is stale")
    states = [s for s in lake_state(lake) if s.stale]
    schema = {"dataset": pl.String, "symbol": pl.String, "session_date": pl.Date, "stale": pl.String}
    stale = pl.DataFrame([(s.dataset, s.symbol, s.date, s.stale) for s in states], schema=schema, orient="row")
    return Quality(sessions, gaps, selection_frame(read_selection(lake, root_of(sessions["symbol"][0]).code)), stale)
