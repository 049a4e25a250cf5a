"""Triggers of the lake as events: from gold, or on the fly in every representation for an audit; one market and one set of parameters."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from engine.errors import ContractError, NoData, SessionError
from engine.lake.catalog import BRONZE_MBO, LADDER, TRIGGERS
from engine.lake.manifest import canonical
from engine.params import ApproachParams, FeatureParams, SetupParams
from engine.retrieval.events import DECIDED_UNTIL, MIRRORED, Events, events_from_frame
from engine.retrieval.hints import gold_command
from engine.vocab import NS, Approach, root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake


# ----------------------------------------------------------------------------
# Triggers of the lake as events: from gold, or on the fly in every representation for an audit

VECTORS = TRIGGERS

APPROACHES = (Approach.UP.value, Approach.DOWN.value)

MIRROR = "mirrored"
"""Group of events whose two directions share a pool."""


def groups_of(representation: str) -> tuple[str, ...]:
    """Groups of events that are compared with each other: one for a mirrored representation, else one per approach."""
    return (MIRROR,) if representation in MIRRORED else APPROACHES


def names_of(representation: str, group: str) -> tuple[str, ...]:
    """Names of a group's dimensions."""
    from engine.features.vector import vector_names

    return vector_names(representation, APPROACHES[0] if group == MIRROR else group)


@dataclass(frozen=True)
class TriggerParams:
    """What triggers are made with."""

    setups: SetupParams
    approach: ApproachParams
    features: FeatureParams


def trigger_params_of(lake: Lake, symbol: str, date: dt.date) -> TriggerParams:
    """The knobs that the session's gold was made with, so that what is made on the fly is what gold has; the defaults without gold.

    Raises
    ------
    ContractError
        Where they are of another version.
    """
    found = lake.find_manifest(VECTORS, symbol, date)
    values = found.lineage.values if found is not None else {}
    try:
        return TriggerParams(
            SetupParams.model_validate(values.get("setups", {})),
            ApproachParams.model_validate(values.get("approach", {})),
            FeatureParams.model_validate(values.get("features", {})),
        )
    except ValidationError as e:
        raise ContractError(
            f"{VECTORS} of {symbol} {date}: made with knobs of another version ({e.errors()[0]['msg']}); "
            f"`{lake.mend(VECTORS, symbol, date)}` makes it anew"
        ) from e


def sessions_in(lake: Lake, key: str, symbol: str | None) -> list[tuple[str, dt.date]]:
    """(contract, date) of a dataset's partitions, by date; of one contract, of a root, or of all.

    Raises
    ------
    NoData
        Where there is none, with the command that makes some.
    """
    found = [(s, d) for s, d in lake.partitions(key) if symbol is None or symbol in (s, root_of(s).code)]
    if not found:
        layer = key.partition(".")[0]
        raise NoData(
            f"{key} of {symbol or 'any symbol'} in {lake.root}: expected partitions, found none; "
            f"`spymaster run --lake {lake.root} --layer {layer} --symbol {symbol or 'ES'} --dates A:B` makes them"
        )
    return sorted(found, key=lambda p: (p[1], p[0]))


def representation_of(lake: Lake, symbol: str | None = None) -> str:
    """Representation of the lake's gold, by the knobs it was made with.

    Raises
    ------
    NoData
        Where there is no gold.
    SessionError, ContractError
        As `gold_events`.
    """
    from engine.params import GoldParams

    sessions = sessions_in(lake, VECTORS, symbol)
    require_one_market(lake, sessions, symbol)
    require_same_params(lake, sessions)
    return GoldParams.model_validate(lake.manifest(VECTORS, *sessions[0]).lineage.values.get("gold", {})).representation


def gold_events(
    lake: Lake, symbol: str | None = None, *, kinds: Sequence[str] | None = None, before: dt.date | None = None
) -> dict[str, Events]:
    """Events of the lake's gold by group.

    Parameters
    ----------
    symbol
        A contract or a root; every partition where None.
    kinds
        Trigger kinds to keep.
    before
        Only sessions before this date.

    Raises
    ------
    NoData
        Where there is no gold.
    SessionError, ContractError
        Where it is of several markets, or of several sets of knobs (`engine.retrieval.dataset`).
    """
    sessions = [(s, d) for s, d in sessions_in(lake, VECTORS, symbol) if before is None or d < before]
    if not sessions:
        raise NoData(f"{VECTORS} in {lake.root}: expected sessions before {before}, found none; `spymaster run --layer gold` makes some")
    require_one_market(lake, sessions, symbol)
    return grouped(read_triggers(lake, sessions, kinds))


def read_triggers(lake: Lake, sessions: Sessions, kinds: Sequence[str] | None = None) -> pl.DataFrame:
    """Rows of gold's trigger vectors of sessions that may be pooled, with ``decided_until_ts_ns``.

    Raises
    ------
    ContractError
        Where they were made with several sets of knobs.
    """
    import polars as pl

    require_same_params(lake, sessions)
    where = None if kinds is None else pl.col("kind").is_in(list(kinds))
    return pl.concat([until_decided(lake, s, d, lake.read(VECTORS, s, d, where=where)) for s, d in sessions])


def until_decided(lake: Lake, symbol: str, date: dt.date, triggers: pl.DataFrame, knobs: TriggerParams | None = None) -> pl.DataFrame:
    """A session's triggers, and until when a touch could still be told (`engine.retrieval.dataset.decided_until_ns`)."""
    import polars as pl

    k = knobs or trigger_params_of(lake, symbol, date)
    end = decided_until_ns(lake, symbol, date, k.setups, k.features)
    return triggers.with_columns(pl.lit(end, pl.Int64).alias(DECIDED_UNTIL))


def grouped(frame: pl.DataFrame) -> dict[str, Events]:
    """Rows of the table of trigger vectors as events by group."""
    import polars as pl

    representation = frame["representation"][0] if frame.height else MIRRORED[0]
    out = {}
    for group in groups_of(representation):
        rows = frame if group == MIRROR else frame.filter(pl.col("approach") == group)
        out[group] = events_from_frame(rows, names_of(representation, group))
    return out


def audit_events(
    lake: Lake, symbol: str | None, *, blocks: bool = True, progress: Callable[[int, int, str], None] | None = None
) -> tuple[Events, list[Events]]:
    """The `arm` events of every session in `means`, and in `blocks` per approach, made on the fly with the knobs of gold.

    Raises
    ------
    NoData
        Where the lake has no silver, or no session of it a trigger.
    SessionError, ContractError
        Where it is of several markets, or gold of several sets of knobs.
    """
    import polars as pl

    from engine.features.events import session_events

    wanted = ("means", "blocks") if blocks else ("means",)
    parts: dict[str, list[pl.DataFrame]] = {r: [] for r in wanted}
    sessions = sessions_in(lake, LADDER, symbol)
    require_one_market(lake, sessions, symbol)
    require_same_params(lake, sessions)
    # A session that has no gold yet is made as the others' gold was.
    held = [(s, d) for s, d in sessions if lake.find_manifest(VECTORS, s, d) is not None]
    k = trigger_params_of(lake, *(held or sessions)[0])
    for i, (contract, date) in enumerate(sessions):
        made = session_events(lake, contract, date, ("arm",), wanted, setups=k.setups, approach=k.approach, features=k.features)
        for r in wanted:
            parts[r].append(until_decided(lake, contract, date, made[r], k))
        if progress is not None:
            progress(i + 1, len(sessions), str(date))
    means = pl.concat(parts["means"])
    if not means.height:
        raise NoData(f"{lake.root}: expected armed triggers in {len(sessions)} sessions, found none; more dates or levels make some")
    groups = grouped(pl.concat(parts["blocks"])) if blocks else {}
    return grouped(means)[MIRROR], list(groups.values())


# ----------------------------------------------------------------------------
# What may be pooled: sessions of one market whose gold was made with the same knobs; and until when a touch could still be told

Sessions = Sequence[tuple[str, dt.date]]


def require_one_market(lake: Lake, sessions: Sessions, symbol: str | None) -> None:
    """Refuse to pool several markets; contracts of one root pool.

    Raises
    ------
    SessionError
        Where `symbol` is None and the sessions are of several roots.
    """
    roots = sorted({root_of(s).code for s, _ in sessions})
    if symbol is None and len(roots) > 1:
        raise SessionError(
            f"{lake.root}: expected the sessions of one market, found {', '.join(roots)}: a tick is another thing in each, and their "
            f"setups are no likes; `--symbol {roots[0]}` takes one"
        )


def refuse_mixed(ids: pl.Series, what: str) -> None:
    """Refuse rows of several markets in one table; which market a row is of stands in its ``{date}/{symbol}/...`` id.

    Raises
    ------
    ContractError
        Naming `what` was asked, and the markets.
    """
    roots = sorted({root_of(s).code for s in ids.str.extract(r"^\d{4}-\d{2}-\d{2}/([^/]+)/").drop_nulls().unique().to_list()})
    if len(roots) > 1:
        raise ContractError(
            f"{what}: expected rows of one market, found {', '.join(roots)}: a tick is another thing in each; read those of one, as "
            f"`gold_events(lake, {roots[0]!r})` or `--symbol {roots[0]}` does"
        )


def require_same_params(lake: Lake, sessions: Sessions) -> None:
    """Refuse to pool gold that was made with several sets of knobs; sessions without gold are passed over.

    Raises
    ------
    ContractError
        Naming a session that differs from most, the knob, both values, and the command that makes them alike.
    """
    found = [(s, d, m.lineage.values) for s, d in sessions if (m := lake.find_manifest(TRIGGERS, s, d)) is not None]
    kinds = Counter(canonical(v) for _, _, v in found)
    if len(kinds) < 2:
        return
    usual = kinds.most_common(1)[0][0]
    known = next(v for _, _, v in found if canonical(v) == usual)
    odd = [(s, d, v) for s, d, v in found if canonical(v) != usual]
    symbol, date, values = odd[0]
    mine, others = _flat(values), _flat(known)
    knob = next(k for k in sorted(mine.keys() | others.keys()) if mine.get(k) != others.get(k))
    more = f" and {len(odd) - 1} more sessions" if len(odd) > 1 else ""
    like = next((s, d) for s, d, v in found if canonical(v) == usual)
    raise ContractError(
        f"{TRIGGERS} in {lake.root}: expected the same knobs in all {len(found)} sessions, found {knob} = {mine.get(knob)} in {symbol} "
        f"{date}{more} and {others.get(knob)} in the others: their outcomes are of different kinds; "
        f"`{gold_command(lake, like, [d for _, d, _ in found])}` makes them as most are"
    )


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for k, v in values.items():
        out |= _flat(v, f"{before}{k}.") if isinstance(v, dict) else {f"{before}{k}": v}
    return out


def decided_until_ns(lake: Lake, symbol: str, date: dt.date, setups: SetupParams, features: FeatureParams) -> int:
    """The last window end at which it can be told whether an untouched episode stays so: a touch may come for that long after it.

    Of the triggers after it only the touched ones would ever be known, and every one of those says yes.

    Each episode is decided `wait_windows` after its own last window, which no trigger knows while the episode lasts; so the cut is one
    length for all, by the trigger's time alone, and never by what became of it: a cut by the episode's end would sort by outcome, for a
    touch ends the episode. What it leaves in are triggers whose episode goes on into the last two minutes and stays untouched; those say
    nothing. They are few: none of 2,526 armed ones in 20 simulated sessions, whose latest touch came 117 s after its trigger. Nothing is
    known too early by it: a forecast is made from sessions before the query's, less an embargo, whose data had all ended by then.

    Parameters
    ----------
    symbol, date
        A session whose triggers are in the lake or can be made; where its bronze is gone, its data are taken to reach its end.
    setups, features
        The knobs it was made with.
    """
    from engine.features.events import data_end_ns, file_span
    from engine.sessions import session_windows, utc_dates

    w = session_windows(date, lake.profile() or "rth")
    days = [d for d in utc_dates(w.ladder_start_ns, w.ladder_end_ns) if lake.find_manifest(BRONZE_MBO, symbol, d) is not None]
    spans = [file_span(lake.notes(BRONZE_MBO, symbol, d), d) for d in days]
    end = data_end_ns(spans, w.ladder_start_ns, w.ladder_end_ns) if spans else w.ladder_end_ns
    return end - max(setups.wait_windows, setups.gap_windows) * features.window_s * NS
