"""Pressure at a price, by hand (features.md section 7)."""

from __future__ import annotations

import math

import pytest

from engine.errors import ContractError
from engine.features import pressure, pressure_cube
from engine.ladder import Ladder
from tests.reference.ladder_twin import TwinLadder, long_short
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames, rows_from, tape_from

ROWS = rows_from(
    [
        {"s": 0, "tick": 100, "bid_depth": 9, "bid_add": 4, "bid_pull": 1},
        {"s": 1, "tick": 100, "bid_depth": 6, "bid_pull": 1, "bid_fill": 2, "ask_depth": 5, "ask_add": 10, "ask_pull": 3, "ask_fill": 2},
        {"s": 3, "tick": 100, "bid_depth": 14, "bid_add": 8, "ask_depth": 5},
    ]
)


def cube(valid: tuple[bool, ...] = (True, True, True, True)):
    ladder = Ladder.from_frames(ROWS, tape_from([{"book_valid": v} for v in valid]), symbol=SYMBOL, date=DATE)
    return ladder.cube(START_S * NS, (START_S + 4) * NS, 100, 100)


def column(made, name: str) -> list[float]:
    return made[name].values[:, 0].tolist()


def test_pressure_by_hand() -> None:
    made = pressure(cube())
    assert column(made, "long") == [4, 5, 0, 8]  # bid_add + ask_pull + ask_fill
    assert column(made, "short") == [1, 13, 0, 0]  # ask_add + bid_pull + bid_fill
    assert column(made, "net") == [3 / 6, -8 / 19, 0, 8 / 9]
    assert column(made, "bid_change") == [3, -3, 0, 8]
    assert column(made, "ask_change") == [0, 5, 0, 0]
    assert "bid_depth" in made  # the cube's own variables stay


def test_a_half_life_keeps_past_flow() -> None:
    made = pressure(cube(), half_life_s=1.0)
    assert column(made, "long") == [4, 5 + 2, 3.5, 8 + 1.75]
    assert column(made, "short") == [1, 13.5, 6.75, 3.375]
    assert column(made, "net")[1] == pytest.approx((7 - 13.5) / 21.5)


def test_windows_that_are_not_valid_yield_none_and_add_nothing() -> None:
    made = pressure(cube((True, False, True, True)), half_life_s=1.0)
    assert math.isnan(column(made, "long")[1])
    assert math.isnan(column(made, "bid_change")[1])
    assert column(made, "long")[2:] == [1.0, 8.5]


def test_a_half_life_below_zero_is_refused() -> None:
    with pytest.raises(ContractError, match="half_life_s >= 0"):
        pressure(cube(), half_life_s=-1)


def test_long_and_short_equal_the_twin() -> None:
    rows, tape = make_frames(60, 3, span=20)
    made = pressure(
        Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE).cube(
            START_S * NS, (START_S + 60) * NS, 19_984, 20_015, window_s=5, step_ticks=4
        )
    )
    twin = TwinLadder(rows.to_dicts(), tape.to_dicts())
    for w in range(12):
        for j, tick in enumerate(range(19_984, 20_016, 4)):
            cell = long_short(twin.cell(START_S + 5 * w, 5, tick, 4))
            assert (made["long"].values[w, j], made["short"].values[w, j]) == cell


def test_a_slice_begins_its_decayed_sums_before_itself() -> None:
    ladder = Ladder.from_frames(*make_frames(400, 5, span=20), symbol=SYMBOL, date=DATE)
    end = START_S + 400
    whole = pressure(ladder.cube(START_S * NS, end * NS, 19_990, 20_010, window_s=5), 20.0)
    part = pressure_cube(ladder, (START_S + 300) * NS, end * NS, 19_990, 20_010, window_s=5, half_life_s=20.0)
    expected = whole.isel(window=slice(60, None))
    assert part["window_start_ts_ns"].values.tolist() == expected["window_start_ts_ns"].values.tolist()
    # At most 1/64 of what stood six half-lives before the slice is missing.
    missing = (expected["long"] - part["long"]).values[0]
    assert (missing >= -1e-9).all()
    assert (missing <= whole["long"].values[60 - 24 - 1] / 64 + 1e-9).all()
    bare = pressure(ladder.cube((START_S + 300) * NS, end * NS, 19_990, 20_010, window_s=5), 20.0)
    assert bare["long"].values[0].sum() < 0.5 * expected["long"].values[0].sum(), "without the lead it would be far too little"
    # At the session's start there is no more to read.
    first = pressure_cube(ladder, START_S * NS, end * NS, 19_990, 20_010, window_s=5, half_life_s=20.0)
    assert first["long"].values.tolist() == whole["long"].values.tolist()
