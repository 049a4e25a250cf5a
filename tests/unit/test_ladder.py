"""The ladder on a hand-made book of a few seconds; every number below is worked out by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.errors import ContractError, EngineError, PartitionCorrupt, SessionError, UnknownRoot
from engine.ladder import NO_TICK, Ladder
from engine.lake import catalog
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.params import ReplayParams
from tests.support.ladders import COLUMNS, DATE, NS, START_S, SYMBOL, rows_from, tape_from

T0 = START_S * NS

# Bids at 99 and 98, asks at 100 and 101; the first second is a keyframe.
ROWS = rows_from(
    [
        {"s": 0, "tick": 98, "bid_depth": 5, "bid_orders": 2},
        {"s": 0, "tick": 99, "bid_depth": 10, "bid_orders": 3, "bid_add": 4},
        {"s": 0, "tick": 100, "ask_depth": 7, "ask_orders": 1, "ask_pull": 2, "ask_fill": 1},
        {"s": 0, "tick": 101, "ask_depth": 20, "ask_orders": 4},
        {"s": 2, "tick": 99, "bid_depth": 6, "bid_orders": 2, "bid_pull": 3, "bid_pull_rest": 3, "bid_away_rest": 2, "bid_fill": 1},
        {"s": 3, "tick": 100, "ask_depth": 9, "ask_orders": 2, "ask_add": 2},
        {"s": 3, "tick": 102, "ask_depth": 1, "ask_orders": 1, "ask_add": 1},
    ]
)
TAPE = tape_from(
    [
        {"best_bid_tick": 99, "best_ask_tick": 100},
        {"best_bid_tick": 99, "best_ask_tick": 100, "book_valid": False},
        {"best_bid_tick": 99, "best_ask_tick": 100, "last_tick": 99, "trades": 1},
        {"best_bid_tick": 99, "best_ask_tick": 100, "last_tick": 99},
    ]
)


def ladder(rows: pl.DataFrame = ROWS, tape: pl.DataFrame = TAPE) -> Ladder:
    return Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)


def test_cube_by_hand() -> None:
    cube = ladder().cube(T0, T0 + 4 * NS, 99, 100)
    assert cube.sizes == {"window": 4, "tick": 2}
    assert cube["bid_depth"].values.tolist() == [[10, 0], [10, 0], [6, 0], [6, 0]]
    assert cube["ask_depth"].values.tolist() == [[0, 7], [0, 7], [0, 7], [0, 9]]
    # Before the first second: 10 = start + 4, and 7 = start - 2 - 1.
    assert cube["bid_depth_start"].values.tolist() == [[6, 0], [10, 0], [10, 0], [6, 0]]
    assert cube["ask_depth_start"].values.tolist() == [[0, 10], [0, 7], [0, 7], [0, 7]]
    assert cube["bid_pull"].values.tolist() == [[0, 0], [0, 0], [3, 0], [0, 0]]
    assert cube["bid_away_rest"].values.tolist() == [[0, 0], [0, 0], [2, 0], [0, 0]]
    assert cube["ask_orders"].values.tolist() == [[0, 1], [0, 1], [0, 1], [0, 2]]
    assert cube["book_valid"].values.tolist() == [True, False, True, True]
    assert cube["tick"].values.tolist() == [99, 100]
    assert cube["price"].values.tolist() == [24.75, 25.0]
    assert cube["window_end_ts_ns"].values.tolist() == [T0 + NS, T0 + 2 * NS, T0 + 3 * NS, T0 + 4 * NS]


def test_windows_and_price_rows_are_summed() -> None:
    cube = ladder().cube(T0, T0 + 4 * NS, 99, 101, window_s=2, step_ticks=4)
    # Rows start at multiples of 4 ticks: 96..99 and 100..103, both whole.
    assert cube["tick"].values.tolist() == [96, 100]
    assert cube["bid_depth"].values.tolist() == [[15, 0], [11, 0]]
    assert cube["bid_depth_start"].values.tolist() == [[11, 0], [15, 0]]
    assert cube["ask_depth"].values.tolist() == [[0, 27], [0, 30]]
    assert cube["ask_add"].values.tolist() == [[0, 0], [0, 3]]
    assert cube["book_valid"].values.tolist() == [False, True]


def test_negative_ticks_fall_into_rows_from_below() -> None:
    rows = rows_from([{"s": 0, "tick": -1, "bid_depth": 3}, {"s": 0, "tick": 0, "ask_depth": 4}])
    cube = ladder(rows, tape_from([{}])).cube(T0, T0 + NS, -1, 0, step_ticks=4)
    assert cube["tick"].values.tolist() == [-4, 0]
    assert cube["bid_depth"].values.tolist() == [[3, 0]]


def test_a_slice_is_clipped_to_the_session() -> None:
    cube = ladder().cube(T0 - 50 * NS, T0 + 50 * NS, 90, 90)
    assert cube.sizes["window"] == 4
    assert int(cube["bid_depth"].sum()) == 0


def test_windows_are_aligned_to_the_epoch_and_whole() -> None:
    assert START_S % 3600 == 0  # so that one window of 3 s fits into the 4 s, from their start on
    assert ladder().windows(3) == (0, 1)
    late = TAPE.slice(1)
    assert ladder(ROWS.filter(pl.col("window_start_ts_ns") > T0), late).windows(2) == (1, 1)


@pytest.mark.parametrize(
    ("start", "end", "low", "high", "kwargs"),
    [
        (T0 + 4 * NS, T0 + 9 * NS, 99, 100, {}),
        (T0 - 9 * NS, T0, 99, 100, {}),
        (T0 + NS, T0 + NS, 99, 100, {}),
        (T0, T0 + NS, 100, 99, {}),
        (T0, T0 + 4 * NS, 99, 100, {"window_s": 7}),
        (T0, T0 + 4 * NS, 99, 100, {"window_s": 0}),
        (T0, T0 + 4 * NS, 99, 100, {"step_ticks": 0}),
    ],
)
def test_an_empty_slice_is_an_error_that_names_the_ladder(start: int, end: int, low: int, high: int, kwargs: dict) -> None:
    with pytest.raises(SessionError, match=f"ladder of {SYMBOL} {DATE}: expected"):
        ladder().cube(start, end, low, high, **kwargs)


def test_conservation_by_hand() -> None:
    assert ladder().conserve().is_empty()
    broken = ROWS.with_columns(
        bid_depth=pl.when((pl.col("tick") == 99) & (pl.col("bid_pull") == 3)).then(7).otherwise("bid_depth").cast(pl.Int32)
    )
    assert ladder(broken).conserve().rows() == [(T0 + 2 * NS, 99, "bid", 10, 0, 3, 1, 7)]
    # The same in a second that is not valid is no breach.
    shaken = TAPE.with_columns(book_valid=pl.Series([True, False, False, True]))
    assert ladder(broken, shaken).conserve().is_empty()


def test_a_first_row_is_checked_only_where_the_keyframe_had_covered_it() -> None:
    born = rows_from([{"s": 0, "tick": 99, "bid_depth": 1}, {"s": 0, "tick": 100, "ask_depth": 1}, {"s": 1, "tick": 110, "ask_depth": 5}])
    tape = tape_from([{"best_bid_tick": 99, "best_ask_tick": 100}] * 2)
    assert ladder(born, tape).conserve().select("tick", "depth_end").rows() == [(110, 5)]
    assert ladder(born, tape).conserve(ReplayParams(span_ticks=21)).height == 1
    far = born.with_columns(tick=pl.when(pl.col("tick") == 110).then(150).otherwise("tick").cast(pl.Int32))
    assert ladder(far, tape).conserve(ReplayParams(span_ticks=21)).is_empty()


def test_nulls_of_the_tape_become_no_tick() -> None:
    found = ladder()
    assert found.last_tick.tolist() == [NO_TICK, NO_TICK, 99, 99]
    assert found.valid.tolist() == [True, False, True, True]
    assert (found.start_ns, found.end_ns, found.seconds, found.root.code) == (T0, T0 + 4 * NS, 4, "ES")


def test_a_session_without_rows_is_an_empty_book() -> None:
    cube = ladder(ROWS.clear(), TAPE).cube(T0, T0 + 4 * NS, 99, 100)
    assert all(int(abs(cube[c]).sum()) == 0 for c in COLUMNS)


@pytest.mark.parametrize(
    ("rows", "tape", "message"),
    [
        (ROWS.drop("ask_fill"), TAPE, "missing ask_fill"),
        (ROWS, TAPE.drop("book_valid"), "missing book_valid"),
        (ROWS, TAPE.clear(), "tape is empty"),
        (ROWS, pl.concat([TAPE.head(1), TAPE.tail(2)]), "gaps or disorder"),
        (ROWS, TAPE.head(3), "rows outside"),
        (ROWS.reverse(), TAPE, "rows outside|sorted"),
        (pl.concat([ROWS.head(2), ROWS.head(1), ROWS.tail(5)]), TAPE, "sorted by"),
        (pl.concat([ROWS.head(1), ROWS]), TAPE, "each once"),
    ],
)
def test_frames_that_are_no_ladder_are_refused(rows: pl.DataFrame, tape: pl.DataFrame, message: str) -> None:
    command = f"`spymaster run --layer silver --symbol {SYMBOL} --dates {DATE} --overwrite` makes it again"
    with pytest.raises(ContractError, match=f"({message}).*{command}"):
        ladder(rows, tape)


def test_a_ladder_of_a_lake_names_the_command_that_makes_it_in_that_lake(tmp_lake: Path) -> None:
    lake = Lake(tmp_lake)
    keep(lake, ROWS, pl.concat([TAPE.head(1), TAPE.tail(2)]))
    command = f"`{lake.repair_command(catalog.TAPE, SYMBOL, DATE, overwrite=True)}` makes it again"
    assert f"--lake {tmp_lake} " in command
    with pytest.raises(ContractError, match=f"gaps or disorder; {command}"):
        Ladder.open(lake, SYMBOL, DATE)


@pytest.mark.parametrize("stub", [1 << 25, -(1 << 25)])
def test_stub_orders_far_away_cost_nothing_and_change_nothing(stub: int) -> None:
    """An offer at a million, or a bid far below zero: the ladder is read as if it were not there."""
    rows = [{"s": 0, "tick": 100, "bid_depth": 3, "bid_add": 3}, {"s": 1, "tick": 101, "ask_depth": 2, "ask_add": 2}]
    far = [{"s": 0, "tick": stub, "ask_depth": 1, "ask_add": 1}]
    plain = ladder(rows_from(rows), TAPE)
    made = ladder(rows_from(sorted(rows + far, key=lambda r: (r["s"], r["tick"]))), TAPE)
    assert (made.n_slots, made.tick_low, made.tick.tolist()) == (plain.n_slots, plain.tick_low, plain.tick.tolist())
    assert made.cube(T0, T0 + 2 * NS, 99, 102).equals(plain.cube(T0, T0 + 2 * NS, 99, 102))
    assert made.conserve().is_empty()


def test_a_market_that_trades_too_far_apart_for_the_index_is_refused() -> None:
    wide = TAPE.with_columns(pl.Series("last_tick", [0, 1 << 25, *TAPE["last_tick"].to_list()[2:]], pl.Int32))
    with pytest.raises(ContractError, match="ticks of each other"):
        ladder(rows_from([{"s": 0, "tick": 0}, {"s": 0, "tick": 1 << 25}]), wide)


def test_an_unknown_root_is_refused() -> None:
    with pytest.raises(UnknownRoot):
        Ladder.from_frames(ROWS, TAPE, symbol="QQH6", date=DATE)


def keep(lake: Lake, rows: pl.DataFrame, tape: pl.DataFrame, tape_params: str = "a") -> None:
    for key, frame, params in ((catalog.LADDER, rows, "a"), (catalog.TAPE, tape, tape_params)):
        lake.write(key, SYMBOL, DATE, frame, Lineage("s", params, "c", {}, "rth"))


def test_open_reads_the_two_datasets_of_the_lake(tmp_lake: Path) -> None:
    lake = Lake(tmp_lake)
    keep(lake, ROWS, TAPE)
    assert Ladder.open(lake, SYMBOL, DATE).cube(T0, T0 + NS, 99, 99)["bid_depth"].item() == 10
    assert issubclass(ContractError, EngineError)
    # A run killed between the two leaves a ladder and a tape of two replays.
    keep(lake, ROWS, TAPE, "b")
    with pytest.raises(PartitionCorrupt, match=r"of one replay.*`spymaster run .*--symbol"):
        Ladder.open(lake, SYMBOL, DATE)
