"""The selection map from counts worked out by hand."""

from __future__ import annotations

import datetime as dt

import pytest

from engine.params import SelectionParams
from engine.selection import COLUMNS, DayCount, select, selection_frame

FIRST = dt.date(2024, 1, 2)
PARAMS = SelectionParams()


def day(i: int, **trades: int) -> DayCount:
    return DayCount(FIRST + dt.timedelta(days=i), trades)


def included(days: list[DayCount], params: SelectionParams = PARAMS) -> list[bool]:
    return [bool(r["include_flag"]) for r in select(days, params)]


def test_the_most_traded_contract_is_chosen_where_it_dominates():
    rows = select([day(0, ESH4=80, ESM4=20), day(1, ESH4=79, ESM4=21)], PARAMS)
    assert [r["dominant_symbol"] for r in rows] == ["ESH4", "ESH4"]
    assert [r["dominance_ratio"] for r in rows] == [0.80, 0.79]
    assert [r["selected_symbol"] for r in rows] == ["ESH4", None]


def test_only_runs_longer_than_four_are_trimmed():
    assert included([day(i, ESH4=100) for i in range(4)]) == [True] * 4
    assert included([day(i, ESH4=100) for i in range(5)]) == [False, False, True, False, False]
    assert included([day(i, ESH4=100) for i in range(7)]) == [False] * 2 + [True] * 3 + [False] * 2


def test_a_roll_starts_a_run():
    rows = select([day(0, ESH4=100), day(1, ESH4=100), day(2, ESM4=100), day(3, ESM4=100), day(4, ESM4=100)], PARAMS)
    assert [(r["run_id"], r["run_pos"], r["run_len"]) for r in rows] == [(0, 0, 2), (0, 1, 2), (1, 0, 3), (1, 1, 3), (1, 2, 3)]


def test_a_long_gap_starts_a_run_and_a_weekend_does_not():
    rows = select([day(0, ESH4=100), day(3, ESH4=100), day(8, ESH4=100)], PARAMS)
    assert [r["run_id"] for r in rows] == [0, 0, 1]


def test_the_liquidity_floor_is_half_the_runs_median():
    rows = select([day(0, ESH4=100), day(1, ESH4=50), day(2, ESH4=49), day(3, ESH4=100)], SelectionParams(liquidity_floor=0.6))
    assert [r["median_trade_count_run"] for r in rows] == [75.0] * 4
    assert [r["include_flag"] for r in rows] == [True, True, True, True]
    rows = select([day(0, ESH4=100), day(1, ESH4=100), day(2, ESH4=49), day(3, ESH4=100)], PARAMS)
    assert [r["include_flag"] for r in rows] == [True, True, False, True]
    assert rows[2]["trade_count_ratio"] == pytest.approx(0.49)


def test_the_frame_has_the_columns_of_the_specification():
    frame = selection_frame(select([day(0, ESH4=80, ESM4=20)], PARAMS))
    assert tuple(frame.columns) == COLUMNS
    assert frame.row(0) == (FIRST, "ESH4", 0.8, 100, 80, 0, 0, 1, 80.0, 1.0, True, "ESH4")
