"""Of which orders a wall is made, and the walls of a session: equal to the slow twins, and by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.features import wall_orders as module
from engine.features.wall_orders import WALLS_SCHEMA, WallOrders, large_stays, order_marks, session_walls, wall_orders
from engine.ladder import Ladder
from engine.mbo.orders import EVENTS_SCHEMA
from engine.params import WallParams
from engine.retrieval.statistics import wall_rates
from tests.reference import standing_twin as twin
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames, rows_from, tape_from
from workbench.plots.research import wall_rows
from workbench.plots.words import wall_sentence

K = 20_000
BEGIN = START_S * NS


def ladder_of(frames: tuple[pl.DataFrame, pl.DataFrame]) -> Ladder:
    return Ladder.from_frames(*frames, symbol=SYMBOL, date=DATE)


@settings(max_examples=12, deadline=None)
@example(195, 0.01, 0, WallParams(reach_ticks=5, times=1.3, named_s=0, settle_s=3, refill_share=0.1))  # the book is lost as a wall ends
@given(
    seed=st.integers(0, 10_000),
    gaps=st.sampled_from([0.0, 0.01]),
    quiet=st.sampled_from([0, 10]),
    params=st.builds(
        WallParams,
        reach_ticks=st.sampled_from([5, 12]),
        times=st.sampled_from([1.3, 2.0]),
        named_s=st.sampled_from([0, 3]),
        settle_s=st.sampled_from([0, 3]),
        refill_share=st.just(0.1),
    ),
)
def test_walls_of_a_session_are_the_twins(seed: int, gaps: float, quiet: int, params: WallParams) -> None:
    rows, tape = make_frames(90, seed, span=14, touched=0.05, invalid_share=gaps, quiet_start=quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HELD_S", 8)
        patch.setattr(module, "CHUNK_S", 37)
        found = session_walls(ladder_of((rows, tape)), params=params)
    high, low = tape["high_tick"].to_list(), tape["low_tick"].to_list()
    expected = twin.session_walls(twin.Book(rows, tape), high, low, 8, params.model_dump())
    columns = ("begin_ns", "tick", "side", "end_ns", "fate", "size", "times", "traded", "refills", "touched_ns", "held")
    last = pl.col("end_ns", "touched_ns").sub(BEGIN).floordiv(NS) - 1
    told = found.select(columns).with_columns((pl.col("begin_ns") - BEGIN) // NS, last).rows()
    assert sorted(told, key=lambda w: w[:3]) == [pytest.approx(w) for w in expected]


def test_the_made_sessions_have_walls_of_every_fate_that_hold_and_break() -> None:
    found = pl.concat(
        session_walls(ladder_of(make_frames(300, seed, span=20, touched=0.05)), params=WallParams(reach_ticks=12, times=1.5, named_s=3))
        for seed in range(6)
    )
    assert set(found["fate"]) >= {"eaten", "pulled", "standing"}
    assert set(found["held"]) == {True, False, None}


def event(
    s: float, kind: str, oid: int | None, tick: int | None, size: int, left: int | None, age: float | None = 0.0, **more: Any
) -> dict[str, Any]:
    return {
        "ts_ns": BEGIN + int(s * NS), "kind": kind, "side": "A", "order_id": oid, "tick": tick, "to_tick": None, "size": size, "left": left,
        "age_ns": None if age is None else int(age * NS), "traded": 0, "count": 0, "large": oid is not None, **more,
    }  # fmt: skip


EVENTS = pl.DataFrame(
    [
        event(0, "standing", 1, K + 9, 30, 30, None),
        event(12, "born", 2, K + 4, 50, 50),
        event(20, "moved", 1, K + 9, 30, 30, None, to_tick=K + 4),
        event(22, "refill", 7, K + 4, 5, 5, 1.0, traded=25, count=3, large=False),
        event(30, "reduced", 2, K + 4, 10, 40, 18.0),
        event(40, "pulled", 1, K + 4, 30, 0, None),
        event(50, "sweep", 9, K + 1, 12, None, None, to_tick=K + 4, side="B", count=4, large=False),
        event(60, "cleared", None, None, 0, None, None, side="N"),
        event(70, "born", 3, K + 4, 45, 45),
    ],
    schema=EVENTS_SCHEMA,
)


@pytest.fixture
def wall() -> Ladder:
    """Asks of 10 in 2 orders at each price, and from second 10 on 100 in 4 orders at K+4."""
    flat = [{"s": 0, "tick": K + d, "ask_depth": 10, "ask_add": 10, "ask_orders": 2} for d in range(1, 10)]
    large = [{"s": 10, "tick": K + 4, "ask_depth": 100, "ask_orders": 4, "ask_add": 90, "keyframe": False}]
    return ladder_of((rows_from(flat + large), tape_from([{"last_tick": K, "high_tick": K, "low_tick": K} for _ in range(120)])))


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (12, WallOrders(100, 4)),
        (13, WallOrders(100, 4, 1, 50, 0.5, 1.0)),
        (31, WallOrders(100, 4, 2, 40, 0.4, None, 1, 25)),
        (45, WallOrders(100, 4, 1, 40, 0.4, 33.0, 1, 25)),
        (61, WallOrders(100, 4, 0, 0, None, None, 1, 25)),
        (95, WallOrders(100, 4, 1, 45, 0.45, 25.0)),
    ],
)
def test_what_a_wall_is_made_of(wall: Ladder, second: int, expected: WallOrders) -> None:
    assert wall_orders(wall, EVENTS, "ask", K + 4, BEGIN + second * NS) == expected
    before = EVENTS.filter(pl.col("ts_ns") < BEGIN + second * NS)
    assert wall_orders(wall, before, "ask", K + 4, BEGIN + second * NS) == expected
    assert wall_orders(wall, EVENTS, "bid", K + 4, BEGIN + second * NS) == WallOrders(0, 0)


def test_a_walls_row_tells_its_orders(wall: Ladder) -> None:
    (row,) = session_walls(wall, EVENTS).to_dicts()
    assert (row["tick"], row["fate"], row["size"], row["times"], row["age_s"]) == (K + 4, "standing", 100, 10.0, 110)
    assert (row["orders"], row["large_orders"], row["largest"], row["share"], row["icebergs"]) == (4, 1, 45, 0.45, 1)
    assert session_walls(wall).select("large_orders", "largest", "share", "icebergs").row(0) == (None,) * 4


def test_a_stay_ends_with_the_orders_next_row_or_a_clear() -> None:
    stays = large_stays(EVENTS).with_columns((pl.col("from_ns", "to_ns") - BEGIN) // NS)
    last = (2**63 - 1 - BEGIN) // NS
    assert stays.select("order_id", "tick", "size", "from_ns", "to_ns").rows() == [
        (1, K + 9, 30, 0, 20), (2, K + 4, 50, 12, 30), (1, K + 4, 30, 20, 40), (2, K + 4, 40, 30, 60), (3, K + 4, 45, 70, last),
    ]  # fmt: skip


def test_marks_are_known_at_their_time() -> None:
    marks = order_marks(EVENTS)
    assert marks.select((pl.col("ts_ns") - BEGIN) // NS, "mark", "tick", "to_tick", "size").rows() == [
        (12, "large", K + 4, K + 4, 50), (20, "large", K + 4, K + 4, 30), (22, "iceberg", K + 4, K + 4, 5), (50, "sweep", K + 1, K + 4, 12),
        (70, "large", K + 4, K + 4, 45),
    ]  # fmt: skip
    for cut in range(len(EVENTS)):
        assert order_marks(EVENTS[:cut]).equals(marks.filter(pl.col("ts_ns") < EVENTS["ts_ns"][cut]))


def walls_of(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Walls of (session, side, times, age at the touch or end, touched, held, fate, share, icebergs)."""
    made = [
        {
            "session_date": dt.date(2026, 1, day), "side": side, "times": times, "begin_ns": 0, "age_s": age, "fate": fate, "held": held,
            "touched_ns": age * NS if touched else None, "large_orders": 1, "share": share, "icebergs": iced,
        }
        for day, side, times, age, touched, held, fate, share, iced in rows
    ]  # fmt: skip
    return pl.DataFrame(made, schema={"session_date": pl.Date, **{k: WALLS_SCHEMA[k] for k in made[0] if k in WALLS_SCHEMA}})


def test_how_often_walls_of_each_kind_held() -> None:
    table = walls_of(
        [
            (5, "ask", 3.0, 30, True, True, "eaten", 0.6, 0), (5, "ask", 6.0, 90, True, False, "eaten", None, 2),
            (6, "ask", 4.0, 400, True, True, "standing", 0.4, 0), (6, "ask", 9.0, 40, False, None, "pulled", 0.5, 0),
            (6, "bid", 9.0, 299, True, None, "moved", None, 0),
        ]
    )  # fmt: skip
    rates = wall_rates(table, draws=200)
    asks = rates.filter(side="ask").select("kind", "walls", "reached", "n_held", "ended", "n_eaten", "n_pulled").rows()
    assert asks == [
        ("all", 4, 3, 2, 3, 2, 1), ("under 5 times the median", 2, 2, 2, 1, 1, 0), ("5 times and more", 2, 1, 0, 2, 1, 1),
        ("under a minute old", 2, 1, 1, 2, 1, 1), ("1 to 5 minutes old", 1, 1, 0, 1, 1, 0), ("older", 1, 1, 1, 0, 0, 0),
        ("half of it one order", 2, 1, 1, 2, 1, 1), ("no order is half of it", 2, 2, 1, 1, 1, 0), ("with icebergs", 1, 1, 0, 1, 1, 0),
    ]  # fmt: skip
    of_all = rates.filter(side="ask", kind="all").row(0, named=True)
    assert of_all["share_held"] == pytest.approx(2 / 3)
    assert of_all["low_held"] < 0.4 < 0.9 < of_all["high_held"]
    (bid,) = rates.filter(side="bid", kind="all").to_dicts()
    assert (bid["reached"], bid["share_held"], bid["n_moved"], bid["low_moved"]) == (0, None, 1, None)
    assert wall_rates(table.with_columns(pl.lit(None, pl.Int32).alias("large_orders"))).filter(kind="with icebergs")["walls"].sum() == 0
    drawn = wall_rows(rates)
    assert drawn.filter(group="older", panel="held", direction="up").row(0)[3:6] == (1, 1, 1.0)
    assert wall_sentence(rates).startswith("Walls that trading came to: 2 of 3 asks held [")
