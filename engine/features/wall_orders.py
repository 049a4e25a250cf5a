"""Of which orders a wall is made, and the life and fate of every wall of a session: the ladder's walls with what single orders did."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from engine.features.walls import Life, lives_of, typical_size
from engine.ladder import NO_TICK, known_cells
from engine.lake.catalog import ORDER_EVENTS, dataset
from engine.params import WallParams
from engine.vocab import NS

if TYPE_CHECKING:
    from engine.ladder import Ladder

Side = Literal["bid", "ask"]
SIDES: dict[Side, str] = {"bid": "B", "ask": "A"}
FOREVER = 2**63 - 1
CHUNK_S = 900
"""Seconds of the ladder that are laid out at once."""

HELD_S = 120
"""A wall that trading came to has held where no trade went beyond its price for so long."""

WALLS_SCHEMA: dict[str, Any] = {
    "side": pl.Enum(["bid", "ask"]), "tick": pl.Int32, "begin_ns": pl.Int64, "end_ns": pl.Int64, "age_s": pl.Int32,
    "fate": pl.Enum(["eaten", "pulled", "moved", "standing"]), "size": pl.Int64, "times": pl.Float64, "traded": pl.Int64,
    "refills": pl.Int32, "orders": pl.Int32, "large_orders": pl.Int32, "largest": pl.Int64, "share": pl.Float64, "icebergs": pl.Int32,
    "touched_ns": pl.Int64, "held": pl.Boolean,
}  # fmt: skip
"""Columns of `session_walls`."""


@dataclass(frozen=True)
class WallOrders:
    """The orders that a wall is made of at a moment.

    size, orders: contracts that rest at the price, and of how many orders they are
    large, largest: large orders among them, and the size of the largest of those; 0 where there is none
    share: what the largest is of all; None where no large order is there, so that none is known to be more than a small part
    oldest_s: seconds since the oldest large order came; None where there is none, or one of them is older than the book
    refills, iceberg_traded: icebergs' refills there in the last minute, and what the latest of those icebergs has traded so far
    """

    size: int
    orders: int
    large: int = 0
    largest: int = 0
    share: float | None = None
    oldest_s: float | None = None
    refills: int = 0
    iceberg_traded: int = 0


def large_stays(events: pl.DataFrame) -> pl.DataFrame:
    """Where large orders rested, from a session's ``order_events``: ``order_id, side`` (B or A), ``tick, size, born_ns`` (null where not
    known), ``from_ns, to_ns``: a row for every size at every price, in the order of time.
    """
    clears = events.filter(kind="cleared")["ts_ns"].to_numpy()
    rows = events.filter("large").select(
        "order_id", "side", pl.coalesce("to_tick", "tick").alias("tick"), pl.col("left").alias("size"),
        (pl.col("ts_ns") - pl.col("age_ns")).alias("born_ns"), pl.col("ts_ns").alias("from_ns"),
        pl.col("ts_ns").shift(-1).over("order_id").fill_null(FOREVER).alias("to_ns"),
    )  # fmt: skip
    start = rows["from_ns"].to_numpy()
    # A row of the same ns as the clear came before or after it; an order that came after has no row before.
    cleared = np.append(clears, FOREVER)[np.searchsorted(clears, start, side="right")]
    return rows.with_columns(pl.Series("to_ns", np.minimum(rows["to_ns"].to_numpy(), cleared))).filter(pl.col("size") > 0)


def wall_orders(ladder: Ladder, events: pl.DataFrame, side: Side, tick: int, end_ns: int, stays: pl.DataFrame | None = None) -> WallOrders:
    """Of how many orders what rests at a price is, how much of it is one order, and how old the large ones are, as known at `end_ns`.

    events: the session's ``order_events``; what came at `end_ns` or later is not looked at
    stays: `large_stays` of them, where more than one question is asked
    """
    second = min(max((end_ns - ladder.start_ns) // NS, 0), ladder.seconds)
    bid_depth, ask_depth, bid_orders, ask_orders = ladder.state_before(int(second), tick, 1)[0].tolist()
    size, orders = (bid_depth, bid_orders) if side == "bid" else (ask_depth, ask_orders)
    here = (pl.col("side") == SIDES[side]) & (pl.col("tick") == tick)
    known = large_stays(events) if stays is None else stays
    there = known.filter(here & (pl.col("from_ns") < end_ns) & (pl.col("to_ns") >= end_ns))
    recent = events.filter(here & (pl.col("kind") == "refill") & pl.col("ts_ns").is_between(end_ns - 60 * NS, end_ns, closed="left"))
    largest = int(there["size"].max() or 0)  # type: ignore[arg-type]
    oldest = None if there.is_empty() or there["born_ns"].null_count() else (end_ns - int(there["born_ns"].min())) / NS  # type: ignore[arg-type]
    return WallOrders(
        size, orders, there.height, largest, largest / size if largest and size else None, oldest, recent.height,
        int(recent["traded"][-1]) if recent.height else 0,
    )  # fmt: skip


def session_walls(ladder: Ladder, events: pl.DataFrame | None = None, params: WallParams | None = None) -> pl.DataFrame:
    """Every wall of a session and its fate, a row each (`WALLS_SCHEMA`), by time.

    Walls begin and end as `engine.features.walls.walls` says, around the last trade instead of a level; those that stood less than
    ``named_s`` are left out. ``end_ns``: when its end began, null while it stands (`standing`) at the session's end; ``size, times``: the
    largest, and the multiple as it began; ``orders`` and, from ``order_events``, ``large_orders, largest, share`` (the largest order's of
    all) as the wall was last whole before trading came to it; null without order events. ``icebergs``: refills at the price while it
    stood. ``touched_ns``: end of the first second in which trading was at the price, where the wall had stood ``named_s`` by then;
    ``held``: whether no trade went beyond the price in the `HELD_S` seconds from then on; null where it was not touched, or the data end
    before.
    """
    p = params or WallParams()
    high, low = (ladder.tape[c].to_numpy() for c in ("high_tick", "low_tick"))
    if not np.isfinite(np.asarray(high, float)).any():
        return pl.DataFrame(schema=WALLS_SCHEMA)
    lasts = ladder.last_tick[ladder.last_tick != NO_TICK]
    # The last trade may be one of before the session, outside of its range.
    bottom = int(min(np.nanmin(low), lasts.min())) - p.reach_ticks - 2
    top = int(max(np.nanmax(high), lasts.max())) + p.reach_ticks + 2
    known, layers = _laid_out(ladder, bottom, top)
    last = np.where(ladder.last_tick == NO_TICK, -(2**30), ladder.last_tick)
    around = last[:, None] - bottom + np.arange(-p.reach_ticks, p.reach_ticks + 1)
    traded = last > -(2**30)
    around = np.where(traded[:, None], around, 0)
    by_price = None if events is None else _by_price(events)
    rows = []
    for side in SIDES:
        size, fill, moved, orders = layers[side]
        near = np.take_along_axis(size, around, axis=1) * traded[:, None]
        typical = typical_size(near)
        start = np.zeros(size.shape, np.bool_)
        np.put_along_axis(start, around, _peaks(size, around, near, typical, p.times) & traded[:, None], axis=1)
        for i in np.flatnonzero(start.any(axis=0)).tolist():
            for life in lives_of(*(a[:, i].tolist() for a in (size, fill, moved, known, start)), p=p):
                row = _row(life, side, bottom + i, typical, orders[:, i], ladder, high, low, p)
                if row is not None:
                    rows.append(row | _made_of(row, ladder, by_price))
    return pl.DataFrame(rows, schema=WALLS_SCHEMA).sort("begin_ns", "tick", "side")


def _laid_out(ladder: Ladder, bottom: int, top: int) -> tuple[np.ndarray, dict[Side, tuple[np.ndarray, ...]]]:
    """Whether each price is known in each second, and for each side size, filled, repriced after a rest and number of orders."""
    shape = ladder.seconds, top - bottom + 1
    known = np.zeros(shape, np.bool_)
    layers: dict[Side, tuple[np.ndarray, ...]] = {side: tuple(np.zeros(shape, np.int32) for _ in range(4)) for side in SIDES}
    for first in range(0, ladder.seconds, CHUNK_S):
        begin = ladder.start_ns + first * NS
        cube = ladder.cube(begin, min(begin + CHUNK_S * NS, ladder.end_ns), bottom, top)
        here = slice(first, first + cube.sizes["window"])
        known[here] = known_cells(cube)
        for side, (size, fill, moved, orders) in layers.items():
            size[here] = cube[f"{side}_depth"].to_numpy() * known[here]
            fill[here], orders[here] = cube[f"{side}_fill"].to_numpy(), cube[f"{side}_orders"].to_numpy()
            moved[here] = cube[f"{side}_away_rest"].to_numpy() + cube[f"{side}_toward_rest"].to_numpy()
    return known, layers


def _peaks(size: np.ndarray, around: np.ndarray, near: np.ndarray, typical: np.ndarray, times: float) -> np.ndarray:
    """Where a price within reach is large enough to become a wall, and none up to two ticks away holds more."""
    most = near
    for step in (-2, -1, 1, 2):
        beside = np.clip(around + step, 0, size.shape[1] - 1)
        most = np.maximum(most, np.take_along_axis(size, beside, axis=1))
    return np.asarray((near > 0) & (near >= times * typical[:, None]) & (near == most))


def _row(
    life: Life, side: Side, tick: int, typical: np.ndarray, orders: np.ndarray, ladder: Ladder, high: np.ndarray, low: np.ndarray,
    p: WallParams,
) -> dict[str, object] | None:  # fmt: skip
    """The wall's row without what order events say; None where it did not last."""
    last = len(life.size) - 1
    full = last if life.end is None else life.full
    if full - life.begin + 1 < p.named_s:
        return None
    stop = last if life.end is None else life.end
    fate = "standing" if life.end is None else life.ending()[0]
    extreme = high if side == "ask" else -low
    at = np.flatnonzero(extreme[life.begin : stop + 1] >= (tick if side == "ask" else -tick))
    touch = life.begin + int(at[0]) if at.size and at[0] >= p.named_s else None
    held = None
    if touch is not None:
        after = extreme[touch : touch + HELD_S]
        beyond = bool((after > (tick if side == "ask" else -tick)).any())
        told = ladder.valid[touch : touch + HELD_S] | (ladder.near_ticks[touch : touch + HELD_S] >= 0)
        enough = len(after) == HELD_S and bool(told.all())
        held = False if beyond else True if enough else None
    looked = min(full, touch - 1) if touch is not None else full
    ns = ladder.start_ns
    return {
        "side": side, "tick": tick, "begin_ns": ns + life.begin * NS, "end_ns": None if life.end is None else ns + (full + 1) * NS,
        "age_s": full - life.begin + 1, "fate": fate, "size": max(life.size[life.begin : full + 1]),
        "times": life.size[life.begin] / float(typical[life.begin]), "traded": sum(life.fill[life.begin : stop + 1]),
        "refills": life.refills, "orders": int(orders[looked]), "held": held,
        "touched_ns": None if touch is None else ns + (touch + 1) * NS, "looked_ns": ns + (looked + 1) * NS,
    }  # fmt: skip


def _by_price(events: pl.DataFrame) -> tuple[dict[tuple[object, ...], pl.DataFrame], dict[tuple[object, ...], pl.DataFrame]]:
    """`large_stays`, and the refills of icebergs, by side and price."""
    by = ["side", "tick"]
    return large_stays(events).partition_by(by, as_dict=True), events.filter(kind="refill").partition_by(by, as_dict=True)


def _made_of(row: dict[str, Any], ladder: Ladder, by_price: Any) -> dict[str, object]:
    """What order events say of a wall's row; takes the moment that is looked at out of it."""
    looked = row.pop("looked_ns")
    if by_price is None:
        return dict.fromkeys(("large_orders", "largest", "share", "icebergs"))
    stays, refills = by_price
    here = SIDES[row["side"]], row["tick"]
    no_events, no_stays = _nothing()
    made = wall_orders(ladder, no_events, row["side"], row["tick"], looked, stays.get(here, no_stays))
    stood = pl.col("ts_ns").is_between(row["begin_ns"], row["end_ns"] or ladder.end_ns, closed="left")
    iced = refills[here].filter(stood).height if here in refills else 0
    return {"large_orders": made.large, "largest": made.largest, "share": made.share, "icebergs": iced}


@cache
def _nothing() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Order events, and stays, of which there are none."""
    events = dataset(ORDER_EVENTS).contract().empty()
    return events, large_stays(events)


# ----------------------------------------------------------------------------
# Marks on the heat

MARKS = {"born": "large", "moved": "large", "refill": "iceberg", "sweep": "sweep", "absorbed": "absorbed", "pulled_before_touch": "pulled"}
"""Kind of row to the mark that it is."""


def order_marks(events: pl.DataFrame) -> pl.DataFrame:
    """Marks of a session's ``order_events`` by time, each known at its ``ts_ns``: ``ts_ns, mark`` (a value of `MARKS`), ``side, tick,
    to_tick`` (of a sweep its last price, else as `tick`), ``size, traded, count``. A large order is marked where it came to rest.
    """
    rows = events.filter(pl.col("kind").is_in(list(MARKS)))
    moved = pl.col("kind") == "moved"
    return rows.select(
        "ts_ns", pl.col("kind").cast(pl.String).replace_strict(MARKS, return_dtype=pl.String).alias("mark"), "side",
        pl.when(moved).then("to_tick").otherwise("tick").alias("tick"), pl.coalesce("to_tick", "tick").alias("to_tick"),
        "size", "traded", "count",
    )  # fmt: skip
