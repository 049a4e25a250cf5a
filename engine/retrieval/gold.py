"""Triggers of the lake as events: from gold, or on the fly in every representation for an audit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from engine.errors import ContractError, NoData
from engine.lake.catalog import LADDER, TRIGGERS, VACUUM
from engine.params import ApproachParams, FeatureParams, SetupParams
from engine.retrieval.alike import Sessions, decided_until_ns, one_market, same_knobs
from engine.retrieval.events import DECIDED_UNTIL, MIRRORED, Events, concat_events, events_from_frame
from engine.vocab import Approach, root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

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
class TriggerKnobs:
    """What triggers are made with."""

    setups: SetupParams
    approach: ApproachParams
    features: FeatureParams


def knobs_of(lake: Lake, symbol: str, date: dt.date) -> TriggerKnobs:
    """The knobs that the session's gold was made with, so that what is made on the fly is what gold has; the defaults without gold.

    Raises
    ------
    ContractError
        Where they are of another version.
    """
    found = lake.find_manifest(VECTORS, symbol, date)
    values = found.lineage.values if found is not None else {}
    try:
        return TriggerKnobs(
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
    one_market(lake, sessions, symbol)
    same_knobs(lake, sessions)
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
        Where it is of several markets, or of several sets of knobs (`engine.retrieval.alike`).
    """
    sessions = [(s, d) for s, d in sessions_in(lake, VECTORS, symbol) if before is None or d < before]
    if not sessions:
        raise NoData(f"{VECTORS} in {lake.root}: expected sessions before {before}, found none; `spymaster run --layer gold` makes some")
    one_market(lake, sessions, symbol)
    return grouped(read_triggers(lake, sessions, kinds))


def read_triggers(lake: Lake, sessions: Sessions, kinds: Sequence[str] | None = None) -> pl.DataFrame:
    """Rows of gold's trigger vectors of sessions that may be pooled, with ``decided_until_ts_ns``.

    Raises
    ------
    ContractError
        Where they were made with several sets of knobs.
    """
    import polars as pl

    same_knobs(lake, sessions)
    where = None if kinds is None else pl.col("kind").is_in(list(kinds))
    return pl.concat([until_decided(lake, s, d, lake.read(VECTORS, s, d, where=where)) for s, d in sessions])


def until_decided(lake: Lake, symbol: str, date: dt.date, triggers: pl.DataFrame, knobs: TriggerKnobs | None = None) -> pl.DataFrame:
    """A session's triggers, and until when a touch could still be told (`engine.retrieval.alike.decided_until_ns`)."""
    import polars as pl

    k = knobs or knobs_of(lake, symbol, date)
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
    one_market(lake, sessions, symbol)
    same_knobs(lake, sessions)
    # A session that has no gold yet is made as the others' gold was.
    held = [(s, d) for s, d in sessions if lake.find_manifest(VECTORS, s, d) is not None]
    k = knobs_of(lake, *(held or sessions)[0])
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


def condition_events(
    lake: Lake, symbol: str | None, *, progress: Callable[[int, int, str], None] | None = None
) -> tuple[Events, pl.DataFrame]:
    """The `arm` events of gold, and the four conditions in each one's window, row for row.

    Raises
    ------
    NoData
        Where the lake has no gold.
    SessionError, ContractError
        Where it is of several markets, or of several sets of knobs.
    """
    import polars as pl

    from engine.retrieval.hypothesis import conditions_of

    needed = ["window_start_ts_ns", "window_end_ts_ns", "level_id", "distance_ticks", "level_tick", "up_open", "down_open"]
    events: list[Events] = []
    conditions: list[pl.DataFrame] = []
    sessions = sessions_in(lake, VECTORS, symbol)
    one_market(lake, sessions, symbol)
    same_knobs(lake, sessions)
    for i, (contract, date) in enumerate(sessions):
        arms = lake.read(VECTORS, contract, date, where=pl.col("kind") == "arm")
        windows = lake.read(VACUUM, contract, date, [*needed, "t10_ask_com_touch_log", "t11_bid_com_touch_log"])
        for found in grouped(arms).values():
            # The two directions of `blocks` have other dimensions; conditions need none of them.
            bare = Events(found.matrix[:, :0], (), found.representation, found.frame)
            events.append(bare)
            conditions.append(conditions_of(bare.frame, windows))
        if progress is not None:
            progress(i + 1, len(sessions), str(date))
    return concat_events(events), pl.concat(conditions)
