"""One feature of the trigger vectors: its distribution, and where a moment stands in it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from engine.errors import EngineError, NoData
from engine.lake.catalog import LADDER, LEVELS, TAPE, TRIGGERS, VACUUM
from engine.vocab import Approach
from workbench.data import open_lake
from workbench.research.asked import Progress, market, nothing, stamp

if TYPE_CHECKING:
    from engine.retrieval.events import Events
    from engine.retrieval.explore import FeatureDistribution


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature's distribution, its value at a moment (None where it has none, with the reason), and the share of history below that."""

    distribution: FeatureDistribution
    now: float | None
    below: float | None
    why: str


def events(root: str, contract: str | None = None) -> dict[str, Events]:
    """The `arm` events of the gold of the contract's market, of the only one where None.

    They stand by group: both directions are one group where their vectors are mirrored.

    Raises
    ------
    NoData
        Where the market has no gold, with the command that makes it.
    """
    return _events(root, market(contract), stamp(root, TRIGGERS))


@lru_cache(maxsize=2)
def _events(root: str, of: str | None, mark: str) -> dict[str, Events]:
    from engine.retrieval.gold import gold_events

    found = {k: e for k, e in gold_events(open_lake(root), of, kinds=("arm",)).items() if len(e)}
    if not found:
        raise NoData(
            f"{TRIGGERS} in {root}: expected armed approaches{f' of {of}' if of else ''}, found none; "
            f"`spymaster run --lake {root} --layer gold` over more dates"
        )
    return found


WINDOW = "w0_"
"""Beginning of a dimension's name that is a feature of the trigger's own window, as in `blocks` vectors."""


def dimensions(root: str, contract: str | None = None) -> dict[str, tuple[str, ...]]:
    """By group, what can be looked at: features of the trigger's own window that no dimension of its vector is made of, and the vector's.

    Of mirrored vectors those are the tape's: features of the vacuum are not in the frame of travel.

    Raises
    ------
    NoData
        As `events`.
    """
    from engine.features.registry import features
    from engine.features.vector import feature_of
    from engine.retrieval.gold import MIRROR

    found = {}
    for group, e in events(root, contract).items():
        in_vector = {feature_of(n) for n in e.names}
        families = ("tape",) if group == MIRROR else ("vacuum_up" if group == Approach.UP else "vacuum_down", "tape")
        others = [f.name for family in families for f in features(family) if f.dtype == "float64" and f.name not in in_vector]
        found[group] = (*(WINDOW + n for n in others), *e.names)
    return found


def feature(
    root: str,
    group: str,
    name: str,
    horizon: str,
    moment: tuple[str, dt.date, str, int] | None,
    contract: str | None = None,
    progress: Progress = nothing,
) -> Feature:
    """Distribution of one feature in the contract's market, and its value at a moment: contract, session, level, end of the window.

    Raises
    ------
    EngineError
        Where the market has no gold, or its vectors no such feature.
    """
    of, mark = market(contract), stamp(root, TRIGGERS)
    distribution = _feature(root, of, group, name, horizon, mark, stamp(root, VACUUM))
    if moment is None:
        return Feature(distribution, None, None, "no moment is chosen yet: type a New York time beside the question")
    progress(0, 0, "the value at the cursor")
    query, why = _moment(root, *moment, stamp(root, LADDER, TAPE, LEVELS))
    past = _events(root, of, mark)[group]
    if query is not None and name not in past.names:
        query, past = _with_windows(root, query, name), _with_windows(root, past, name)
    if query is None or name not in query.names:
        return Feature(distribution, None, None, why or "the moment approaches from the other side")
    from engine.retrieval.explore import feature_values, share_below

    value = float(feature_values(query, name)[0])
    if value != value:
        of_window = name not in _events(root, of, mark)[group].names
        lacks = "the lake's table of windows has no such window of the level"
        return Feature(distribution, None, None, lacks if of_window else "two minutes of a valid book are needed before the moment")
    return Feature(distribution, value, share_below(past, name, value), "")


@lru_cache(maxsize=64)
def _feature(root: str, of: str | None, group: str, name: str, horizon: str, mark: str, windows: str) -> FeatureDistribution:
    from engine.retrieval.explore import feature_distribution

    found = _events(root, of, mark)[group]
    return feature_distribution(found if name in found.names else _with_windows(root, found, name), name, horizon)


def _with_windows(root: str, found: Events, name: str) -> Events:
    """`found` with the one dimension `name`, read from the table of the levels' windows; NaN where that has no such window."""
    import numpy as np
    import polars as pl

    from engine.retrieval.events import Events

    lake, column = open_lake(root), name.removeprefix(WINDOW)
    keys = ("level_id", "window_end_ts_ns")
    frame = found.frame.select("trigger_id", "session_date", *keys)
    frame = frame.with_columns(pl.col("trigger_id").str.split("/").list.get(1).alias("symbol"), pl.lit(None, pl.Float64).alias("value"))
    parts = []
    for (symbol, date), mine in frame.with_row_index("row").group_by("symbol", "session_date"):
        if lake.has(VACUUM, symbol, date):
            windows = lake.read(VACUUM, symbol, date, (*keys, column)).rename({column: "read"})
            mine = mine.join(windows, on=keys, how="left").with_columns(pl.col("read").alias("value")).drop("read")
        parts.append(mine.select("row", "value"))
    value = pl.concat(parts).sort("row")["value"].to_numpy() if parts else np.empty(0)
    return Events(value.astype(np.float32)[:, None], (name,), found.representation, found.frame)


@lru_cache(maxsize=16)
def _moment(root: str, symbol: str, date: dt.date, level_id: str, end_ns: int, mark: str) -> tuple[Events | None, str]:
    from engine.retrieval.gold import MIRROR
    from engine.retrieval.moment import moment_events

    price = float(level_id.removeprefix("price:")) if level_id.startswith("price:") else None
    representation = "means" if MIRROR in events(root, symbol) else "blocks"
    try:
        return moment_events(open_lake(root), symbol, date, level_id, end_ns, price=price, representation=representation), ""
    except EngineError as e:
        return None, str(e)
