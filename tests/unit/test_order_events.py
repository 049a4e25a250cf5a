"""What single orders did, each rule of docs/ORDERS.md with numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from engine.errors import SessionError
from engine.lake.catalog import ORDER_EVENTS, dataset
from engine.mbo import orders
from engine.mbo.orders import EVENTS_SCHEMA, OrderReplay
from engine.params import OrderParams
from tests.support.dbn_files import make_records
from tests.support.replaying import File, order_events, to_columns, twin_order_events

NS = 1_000_000_000
START = 1_762_261_200 * NS
TICK = 250_000_000
CLEAR = {"ms": -5000, "action": "R", "order_id": 0, "price": 2**63 - 1, "side": "N", "flags": 168}


def rec(ms: int, action: str, oid: int, side: str, tick: int, size: int, flags: int = 130) -> dict[str, Any]:
    return {"ms": ms, "action": action, "order_id": oid, "side": side, "price": tick * TICK, "size": size, "flags": flags}


def of(*rows: dict[str, Any], seconds: int = 60, **params: Any) -> pl.DataFrame:
    """Order events of records by ms after the session's start, which are the twin's as well."""
    made = []
    for row in (CLEAR, *rows):
        ts = START + row["ms"] * 1_000_000
        made.append({"ts_event": ts, "ts_recv": ts, "instrument_id": 7, **{k: v for k, v in row.items() if k != "ms"}})
    files, span = [File(make_records(made), None, START + 3600 * NS)], (START, START + seconds * NS)
    found = order_events(files, [], {7: "ESZ5"}, *span, OrderParams(**params))["ESZ5"]
    assert found.equals(twin_order_events(files, 7, TICK, *span, OrderParams(**params)))
    return found


def told(events: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return events.select("kind", *columns).rows()


def test_the_table_is_the_contracts() -> None:
    assert dataset(ORDER_EVENTS).contract().schema() == EVENTS_SCHEMA


def test_the_life_of_a_large_order() -> None:
    events = of(
        rec(-2000, "A", 1, "A", 100, 30),
        rec(1000, "M", 1, "A", 103, 30), rec(2000, "M", 1, "A", 103, 50), rec(3000, "C", 1, "A", 103, 10),
        rec(4000, "T", 9, "B", 103, 15, 0), rec(4000, "F", 1, "A", 103, 15, 0), rec(4000, "C", 1, "A", 103, 15),
        rec(5000, "C", 1, "A", 103, 25), rec(5500, "A", 2, "A", 103, 19),
    )  # fmt: skip
    assert told(events, "order_id", "tick", "to_tick", "size", "left", "age_ns", "traded") == [
        ("standing", 1, 100, None, 30, 30, 2 * NS, 0),
        ("moved", 1, 100, 103, 30, 30, 3 * NS, 0),
        ("grown", 1, 103, None, 20, 50, 4 * NS, 0),
        ("reduced", 1, 103, None, 10, 40, 5 * NS, 0),
        ("filled", 1, 103, None, 15, 25, 6 * NS, 15),
        ("pulled", 1, 103, None, 25, 0, 7 * NS, 15),
    ]
    assert events["large"].all()


def test_large_is_asked_of_the_orders_before_and_settled_each_second() -> None:
    """Of 201 orders two are above 1 contract, of 40 and 30: 0.4% may not be above 30, and so 40 is the size; 1.1% may."""
    first = [rec(-3000, "A", 100 + i, "B", 90, 40 if i == 7 else 1) for i in range(200)]
    same_second = rec(-2500, "A", 1, "B", 91, 30)
    below = of(*first, same_second, rec(10, "A", 2, "B", 92, 39), rec(20, "A", 3, "B", 92, 40), least_size=20, large_share=0.004)
    assert told(below.filter(kind="born"), "order_id", "size") == [("born", 3, 40)]
    above = of(*first, same_second, rec(10, "A", 2, "B", 92, 39), least_size=20, large_share=0.011)
    assert told(above.filter(kind="born"), "order_id", "size") == [("born", 2, 39)]


def test_an_iceberg_tells_what_it_traded_shown_and_hidden() -> None:
    events = of(
        rec(0, "A", 1, "A", 100, 5),
        rec(10, "T", 9, "B", 100, 2, 0), rec(10, "F", 1, "A", 100, 2, 0), rec(10, "C", 1, "A", 100, 2),
        rec(20, "T", 9, "B", 100, 3, 0), rec(20, "F", 1, "A", 100, 3, 0), rec(20, "M", 1, "A", 100, 5),
        rec(30, "T", 9, "B", 100, 12, 0), rec(30, "F", 1, "A", 100, 12, 0), rec(30, "M", 1, "A", 100, 4),
        rec(40, "T", 9, "B", 100, 4, 0), rec(40, "F", 1, "A", 100, 4, 0), rec(40, "C", 1, "A", 100, 4),
    )  # fmt: skip
    assert told(events, "size", "traded", "count", "large") == [("refill", 5, 5, 1, False), ("refill", 4, 17, 2, False)]


def test_a_sweep_is_one_aggressor_in_one_event() -> None:
    one = [rec(0, "T", 9, "B", 100, 1, 0), rec(0, "T", 9, "B", 100, 2, 0), rec(0, "T", 9, "B", 101, 3, 0), rec(0, "T", 9, "B", 103, 4)]
    two = [rec(10, "T", 8, "A", 102, 1, 0), rec(10, "T", 8, "A", 101, 1), rec(10, "T", 8, "A", 100, 1)]
    other = [rec(20, "T", 7, "A", 102, 1, 0), rec(20, "T", 7, "A", 101, 1, 0), rec(20, "T", 6, "A", 100, 1)]
    events = of(*one, *two, *other)
    assert told(events, "side", "order_id", "tick", "to_tick", "size", "count") == [("sweep", "B", 9, 100, 103, 10, 3)]


def test_absorption_is_told_while_the_price_holds() -> None:
    hits = [rec(100 * i, "T", 9, "A", 100, 25) for i in range(9)]
    events = of(*hits, rec(1000, "T", 9, "B", 101, 1), rec(1100, "T", 9, "A", 100, 175), rec(1200, "T", 9, "A", 99, 1),
                rec(1300, "T", 9, "A", 100, 199), absorbed_times=10)  # fmt: skip
    assert told(events, "side", "tick", "size", "age_ns") == [
        ("absorbed", "B", 100, 200, NS * 7 // 10),
        ("absorbed", "B", 100, 400, NS * 11 // 10),
    ]


def test_large_size_pulled_before_price_came() -> None:
    asks = [rec(-1000, "A", i, "A", 102, 30) for i in (1, 2, 3)]
    start = rec(-900, "T", 9, "B", 100, 1)
    pulls = [rec(0, "C", 1, "A", 102, 30), rec(1000, "C", 2, "A", 102, 12), rec(1500, "M", 3, "A", 110, 30)]
    came = of(*asks, start, *pulls, rec(2500, "T", 9, "B", 103, 1), rec(2600, "T", 9, "B", 101, 1), rec(2700, "T", 9, "B", 102, 1))
    assert told(came.filter(kind="pulled_before_touch"), "side", "tick", "size", "count", "age_ns") == [
        ("pulled_before_touch", "A", 102, 42, 2, NS)
    ]
    late = of(*asks, start, *pulls, rec(3501, "T", 9, "B", 103, 1))
    assert late.filter(kind="pulled_before_touch").is_empty()
    from_above = of(*asks, rec(-900, "T", 9, "B", 104, 1), *pulls, rec(2500, "T", 9, "B", 102, 1))
    assert from_above.filter(kind="pulled_before_touch").is_empty()


def test_a_clear_ends_what_was_known() -> None:
    events = of(rec(0, "A", 1, "B", 100, 30), {**CLEAR, "ms": 1000}, rec(2000, "C", 1, "B", 100, 30), rec(3000, "A", 1, "B", 101, 30))
    assert told(events, "order_id", "tick") == [("born", 1, 100), ("cleared", None, None), ("born", 1, 101)]


def test_more_orders_than_the_tables_begin_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "_NOTED_START", 16)
    monkeypatch.setattr(orders, "_ROWS_START", orders.MOST_ROWS)
    rows = [rec(i, "A", i + 1000, "BA"[i % 2], 100 + i % 7, 30) for i in range(-200, 200)]
    events = of(*rows, *(rec(500 + i, "C", i + 1000, "B", 100, 30) for i in range(-200, 200)))
    assert dict(events["kind"].value_counts().iter_rows()) == {"standing": 200, "born": 200, "pulled": 400}


def test_the_furthest_of_too_many_prices_that_hold_is_forgotten() -> None:
    down = [rec(i, "T", 9, "A", 3000 + i, 150) for i in range(1100)]
    events = of(*down, rec(2000, "T", 9, "A", 3000 + 76, 100), rec(2001, "T", 9, "A", 3000, 100), least_size=20, absorbed_times=10)
    assert told(events, "tick", "size") == [("absorbed", 3076, 250)]


def test_bad_arguments() -> None:
    with pytest.raises(SessionError, match="end after the start"):
        OrderReplay({7: "ESZ5"}, START, START)
    replay = OrderReplay({7: "ESZ5"}, START, START + NS)
    replay.feed(to_columns(make_records([])))
    assert replay.finish()["ESZ5"].is_empty()
