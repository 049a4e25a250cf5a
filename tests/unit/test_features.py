"""Every feature of one hand-made window; all numbers below are worked out by hand from features.md."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import ContractError
from engine.features import feature, feature_names, feature_reference, features, level_steps, level_windows, table_features, window_schema
from engine.features.registry import FAMILIES
from engine.features.sums import WindowSums
from engine.features.vector import SIDE_PRIMITIVES, TAPE_PRIMITIVES, primitive_names, primitives
from engine.ladder import Ladder
from engine.levels import LEVEL_SCHEMA
from engine.params import FeatureParams, ZoneParams
from tests.support.ladders import DATE, NS, START_S, SYMBOL, rows_from, tape_from

ROOT = Path(__file__).resolve().parents[2]

# The book around the level 100 at the start of the second window (end of second 4): the market is 96 / 97.
BIDS = {96: 5, 95: 3, 82: 2}
ASKS = {97: 3, 99: 1, 100: 4, 104: 6, 110: 2, 118: 8}
ROWS = rows_from(
    [{"s": 0, "tick": k, "bid_depth": q} for k, q in sorted(BIDS.items())]
    + [{"s": 0, "tick": k, "ask_depth": q} for k, q in sorted(ASKS.items())]
    + [
        {"s": 5, "tick": 100, "ask_depth": 6, "ask_add": 2},
        {"s": 6, "tick": 97, "ask_fill": 3},
        {"s": 6, "tick": 104, "ask_depth": 1, "ask_pull": 5, "ask_pull_rest": 4, "ask_away_rest": 3},
        {"s": 7, "tick": 96, "bid_depth": 6, "bid_add": 3, "bid_fill": 2},
        {"s": 7, "tick": 99, "ask_depth": 4, "ask_add": 4, "ask_pull": 1},
        {"s": 8, "tick": 95, "bid_pull": 3, "bid_pull_rest": 2, "bid_toward_rest": 1},
        {"s": 8, "tick": 100, "ask_depth": 5, "ask_fill": 1},
        {"s": 8, "tick": 120, "ask_depth": 7, "ask_add": 7},
        {"s": 8, "tick": 121, "ask_depth": 50, "ask_add": 50},  # one tick beyond the far bound: in no feature
        {"s": 9, "tick": 97, "bid_depth": 10, "bid_add": 10},
        {"s": 9, "tick": 98, "bid_depth": 2, "bid_add": 2},
    ]
).sort("window_start_ts_ns", "tick")
QUIET = {"best_bid_tick": 96, "best_ask_tick": 97, "last_tick": 95, "bid_size": 4, "ask_size": 6}
TAPE = tape_from(
    [QUIET] * 5
    + [QUIET | {"ofi": 1}, QUIET | {"ofi": 2, "last_tick": 97, "trades": 1}, QUIET | {"ofi": 3}, QUIET | {"ofi": -1}]
    + [QUIET | {"best_bid_tick": 98, "best_ask_tick": 99, "last_tick": 98, "trades": 1}]
)

EXPECTED: dict[str, float | bool | int] = {
    # Asks from 100 on: 20 at the start (centre 188/20), 23 at the end: 5 at, 1 near, 2 mid, 15 far (centre 308/23).
    "f1_ask_com_disp_log": log((308 / 23 + 1) / (9.4 + 1)),
    "f1_ask_slope_convex_log": log(16 / 2),
    "f1_ask_slope_inner_log": log(2 / 6),
    "f1_ask_at_share_delta": 5 / 24 - 4 / 21,
    "f1_ask_near_share_delta": 1 / 24 - 6 / 21,
    "f1_ask_reprice_away_share_rest": 3.5 / 4,
    "f2_ask_pull_add_log_rest": log(5 / 10),
    "f2_ask_pull_intensity_log_rest": log(1 + 4 / 21),
    "f2_ask_at_pull_share_rest": 0.0,
    "f2_ask_near_pull_share_rest": 4 / 5,
    # Bids from 100 down: 10 at the start (8 near, 2 far, centre 71/10), 20 at the end: 2 at, 16 near, 2 far (94/20).
    "f3_bid_com_disp_log": log(5.7 / 8.1),
    "f3_bid_slope_convex_log": log(3 / 17),
    "f3_bid_slope_inner_log": log(17 / 3),
    "f3_bid_at_share_delta": 2 / 21,
    "f3_bid_near_share_delta": 16 / 21 - 8 / 11,
    "f3_bid_reprice_away_share_rest": 0.5 / 2,
    "f4_bid_pull_add_log_rest": log(3 / 16),
    "f4_bid_pull_intensity_log_rest": log(1 + 2 / 11),
    "f4_bid_at_pull_share_rest": 0.0,
    "f4_bid_near_pull_share_rest": 2 / 3,
    "f5_vacuum_expansion_log": log((308 / 23 + 1) / 10.4) + log(5.7 / 8.1),
    "f6_vacuum_decay_log": log(5 / 10) + log(3 / 16),
    "f7_vacuum_total_log": log((308 / 23 + 1) / 10.4) + log(5.7 / 8.1) + log(5 / 10) + log(3 / 16),
    "u1_ask_com_disp_log": log((308 / 23 + 1) / 10.4),
    "u2_ask_slope_convex_log": log(8),
    "u2_ask_slope_inner_log": log(1 / 3),
    "u3_ask_at_share_decay": 4 / 21 - 5 / 24,
    "u3_ask_near_share_decay": 6 / 21 - 1 / 24,
    "u4_ask_reprice_away_share_rest": 0.875,
    "u5_ask_pull_add_log_rest": log(0.5),
    "u6_ask_pull_intensity_log_rest": log(25 / 21),
    "u7_ask_at_pull_share_rest": 0.0,
    "u7_ask_near_pull_share_rest": 0.8,
    "u8_bid_com_approach_log": log(8.1 / 5.7),
    "u9_bid_slope_support_log": log(17 / 3),
    "u9_bid_slope_inner_log": log(3 / 17),
    "u10_bid_at_share_rise": 2 / 21,
    "u10_bid_near_share_rise": 16 / 21 - 8 / 11,
    "u11_bid_reprice_toward_share_rest": 0.75,
    "u12_bid_add_pull_log_rest": log(16 / 3),
    "u13_bid_add_intensity_log": log(1 + 15 / 11),
    "u14_bid_far_pull_share_rest": 0.0,
    "u15_up_expansion_log": log((308 / 23 + 1) / 10.4) + log(8.1 / 5.7),
    "u16_up_flow_log": log(0.5) + log(16 / 3),
    "u17_up_total_log": log((308 / 23 + 1) / 10.4) + log(8.1 / 5.7) + log(0.5) + log(16 / 3),
    # Travel up (95 < 100): the asks defend. 4 bought within 20 ticks of the level, 2 sold.
    "t1_aggressor_imbalance": (4 - 2) / (4 + 2 + 1),
    "t2_absorption_at_log": log(2 / 1),  # 1 filled, depth grew from 4 to 5
    "t3_replenish_at_log": log(3 / 2),
    "t4_fill_intensity_log": log(1 + 1 / 11),
    "t5_ofi": 5 / 5,
    "t6_path_depth_log": log(5 / 3),  # asks 99 (4) before the level, one tick of bids at 98 (2) behind
    "t7_path_pull_add_log": log(2 / 5),  # 97 to 99: 1 pulled, 4 added
    "t8_speed": log(4),  # 95 to 98
    "t9_distance": 2 / 20,
    "t10_ask_com_touch_log": log((184 / 20 + 1) / (82 / 16 + 1)),  # 20 ticks from 99, from 97
    "t11_bid_com_touch_log": log((54 / 20 + 1) / (31 / 10 + 1)),
    "ask_pull_add_log": log(6 / 10),
    "bid_pull_add_log": log(4 / 16),
    "down_1": True,
    "down_2": False,
    "down_3": False,
    "down_4": False,
    "up_1": True,
    "up_2": False,
    "up_3": True,
    "up_4": True,
    "down_open": 1,
    "up_open": 3,
}


def ladder(rows: pl.DataFrame = ROWS, tape: pl.DataFrame = TAPE) -> Ladder:
    return Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)


def at(level: float, made: Ladder | None = None, params: FeatureParams | None = None) -> list[dict]:
    made = made or ladder()
    return level_windows(made, level_steps("x", level / 4, made), params or FeatureParams()).to_dicts()


def test_every_feature_by_hand() -> None:
    row = at(100)[1]
    assert set(EXPECTED) == {f.name for f in table_features()}
    found = {name: row[name] for name in EXPECTED}
    assert found == pytest.approx(EXPECTED, rel=1e-12, abs=1e-12)
    keys = {
        k: row[k] for k in ("window_start_ts_ns", "window_end_ts_ns", "level_id", "level_tick", "distance_ticks", "approach", "book_valid")
    }
    assert keys == {
        "window_start_ts_ns": (START_S + 5) * NS, "window_end_ts_ns": (START_S + 10) * NS, "level_id": "x", "level_tick": 100,
        "distance_ticks": -2, "approach": "approach_none", "book_valid": True,
    }  # fmt: skip


def test_bounds_are_parameters() -> None:
    # at 0..0, near 1..4, mid 5..10, far 11..18: the asks end with 5, 1, 2, 8 (120 falls out).
    row = at(100, params=FeatureParams(zones=ZoneParams(at=0, near=4, mid=10, far=18), touch_ticks=1))[1]
    assert row["f1_ask_slope_convex_log"] == pytest.approx(log(9 / 2))
    assert row["f1_ask_com_disp_log"] == pytest.approx(log((168 / 16 + 1) / 10.4))
    assert row["t9_distance"] == pytest.approx(2 / 18)
    assert row["t10_ask_com_touch_log"] == 0.0  # one tick alone has its centre at the best price


def test_window_length_is_a_parameter() -> None:
    rows = at(100, params=FeatureParams(window_s=1))
    assert len(rows) == 10
    assert rows[5]["f2_ask_pull_add_log_rest"] == pytest.approx(log(1 / 3))


def test_an_empty_side_has_its_centre_one_beyond_the_far_bound() -> None:
    # At the level 200 no ask ever stands above; bids below stand 104 ticks away: both sides are empty throughout.
    row = at(200)[1]
    assert row["f1_ask_com_disp_log"] == 0.0
    assert row["f3_bid_com_disp_log"] == 0.0
    # Level 77: bids are empty, asks from 77 on hold 97 (n = 20) at the start only: centre 20, then 21.
    row = at(77)[1]
    assert row["f1_ask_com_disp_log"] == pytest.approx(log(22 / 21))
    assert row["f3_bid_com_disp_log"] == 0.0


def test_features_are_null_where_a_second_of_the_window_is_not_valid() -> None:
    for second, which in ((4, 0), (5, 1), (9, 1)):
        tape = TAPE.with_row_index().with_columns(book_valid=pl.col("index") != second).drop("index")
        rows = at(100, ladder(tape=tape))
        assert rows[which]["book_valid"] is False
        assert {rows[which][name] for name in EXPECTED} == {None}
        assert rows[which]["distance_ticks"] is not None
        other = rows[1 - which]
        assert other["book_valid"] is True
        # The book at the end of an invalid second is known: the next window starts from it.
        assert None not in {other[name] for name in EXPECTED}
        if which == 0:
            assert {name: other[name] for name in EXPECTED} == pytest.approx(EXPECTED, rel=1e-12, abs=1e-12)


def test_before_the_first_trade_only_what_needs_no_direction_is_there() -> None:
    row = at(100, ladder(tape=TAPE.with_columns(last_tick=pl.lit(None, pl.Int32))))[1]
    assert {row[n] for n in feature_names("tape")[:9]} == {None}
    assert row["t10_ask_com_touch_log"] is not None
    assert row["distance_ticks"] is None
    assert row["f1_ask_com_disp_log"] == pytest.approx(EXPECTED["f1_ask_com_disp_log"])


def test_the_first_window_knows_the_trade_before_it_only_if_its_first_second_did_not_trade() -> None:
    assert at(100)[0]["t8_speed"] == 0.0
    traded = (
        TAPE.with_row_index().with_columns(trades=pl.when(pl.col("index") == 0).then(1).otherwise("trades").cast(pl.Int32)).drop("index")
    )
    assert at(100, ladder(tape=traded))[0]["t8_speed"] is None


def test_at_the_level_travel_is_from_the_side_price_came_from() -> None:
    seconds = [QUIET | {"last_tick": k} for k in (97, 97, 97, 95, 95, 95, 95, 95, 95, 97)]
    # Level 95, reached from 97 above: travel is down, so that 97 at the end is a move back.
    assert at(95, ladder(tape=tape_from(seconds)))[1]["t8_speed"] == pytest.approx(-log(3))
    seconds[:3] = [QUIET | {"last_tick": 90}] * 3
    assert at(95, ladder(tape=tape_from(seconds)))[1]["t8_speed"] == pytest.approx(log(3))


def test_the_path_from_above_is_the_bids_over_the_level() -> None:
    # The last trade is at 97, over the level 94: travel is down, bids defend, and the path is the bids at 95 and 96.
    seconds = TAPE.with_columns(last_tick=pl.lit(97, pl.Int32))
    row = at(94, ladder(tape=seconds))[1]
    # At the end the market is 98 / 99: bids 98 to 95 hold 2 + 10 + 6 + 0, asks over as many ticks 99 to 102 hold 4 + 5.
    assert row["t6_path_depth_log"] == pytest.approx(log(19 / 10))
    # At the start it was 96: on 95 and 96, 3 pulled and 3 added.
    assert row["t7_path_pull_add_log"] == pytest.approx(log(4 / 4))
    # Within 20 ticks of 94: 4 bought, 2 sold, against the travel.
    assert row["t1_aggressor_imbalance"] == pytest.approx((2 - 4) / 7)


def test_a_level_moves_and_stands_within_a_window() -> None:
    spans = [("v", 0, 6, 100), ("v", 6, 10, 77)]
    rows = [(i, (START_S + a) * NS, (START_S + b) * NS, k / 4, k) for i, a, b, k in spans]
    found = level_windows(ladder(), pl.DataFrame(rows, schema=LEVEL_SCHEMA, orient="row"))
    assert found["level_tick"].to_list() == [100, 100]
    late = pl.DataFrame([("v", (START_S + 1) * NS, (START_S + 10) * NS, 25.0, 100)], schema=LEVEL_SCHEMA, orient="row")
    assert level_windows(ladder(), late)["window_start_ts_ns"].to_list() == [(START_S + 5) * NS]
    early = pl.DataFrame([("v", START_S * NS, (START_S + 5) * NS, 25.0, 100)], schema=LEVEL_SCHEMA, orient="row")
    assert level_windows(ladder(), early)["window_start_ts_ns"].to_list() == [START_S * NS]


def test_overlapping_spans_are_refused() -> None:
    rows = [("v", START_S * NS, (START_S + 6) * NS, 25.0, 100), ("v", (START_S + 5) * NS, (START_S + 9) * NS, 25.0, 100)]
    with pytest.raises(
        ContractError, match=r"'v' that do not overlap.*`spymaster run --layer silver --symbol \w+ --dates \S+ --overwrite`"
    ):
        level_windows(ladder(), pl.DataFrame(rows, schema=LEVEL_SCHEMA, orient="row"))


def test_no_levels_give_an_empty_table() -> None:
    found = level_windows(ladder(), LEVEL_SCHEMA.to_frame())
    assert found.height == 0
    assert found.schema == window_schema()


def test_the_table_has_the_registers_columns() -> None:
    assert level_windows(ladder(), level_steps("x", 25.0, ladder())).schema == window_schema()
    assert [len(feature_names(f)) for f in FAMILIES] == [23, 22, 11, 12, 25, 5]
    assert feature_names("vacuum_down")[10] == "f3_bid_com_disp_log"


def test_the_reference_in_docs_is_current() -> None:
    assert (ROOT / "docs" / "FEATURES.md").read_text(encoding="utf-8") == feature_reference(), "run: spymaster contracts --write"


def test_ranges_in_the_register_hold() -> None:
    rows = at(100) + at(77) + at(110)
    for f in features():
        if f.range.startswith(("[0,", "(0,")) and f in table_features():
            assert all(r[f.name] is None or r[f.name] >= 0 for r in rows), f.name


def test_ranges_of_what_vectors_are_made_of_hold() -> None:
    made, params = ladder(), FeatureParams()
    first, n = made.windows(params.window_s)
    around = np.repeat(np.array([100, 77, 110, 100]), n).reshape(4, n)
    travel = np.repeat(np.array([1, -1, 1, -1], np.int8), n).reshape(4, n)
    values = primitives(WindowSums(made, around, first, params, travel))
    declared = {f"{way}_{p.name}": p for way in ("ahead", "behind") for p in SIDE_PRIMITIVES}
    assert {*declared, *TAPE_PRIMITIVES} == set(primitive_names())
    bounds = {"(-1, 1)": (-1, 1), "(0, 1)": (0, 1), "[0, 1)": (0, 1), "[0, inf)": (0, np.inf), "(-inf, inf)": (-np.inf, np.inf)}
    bounds |= {"[-ln(far + 2), ln(far + 2)]": (-np.log(22), np.log(22)), "[-ln(touch + 1), ln(touch + 1)]": (-np.log(21), np.log(21))}
    for i, name in enumerate(primitive_names()):
        if name in declared:
            low, high = bounds[declared[name].range]
            known = values[:, i][np.isfinite(values[:, i])]
            assert known.size, name
            assert ((known >= low) & (known <= high)).all(), name
            assert declared[name].unit in ("log ratio", "share")


def test_the_register_refuses_a_name_twice_and_an_unknown_family() -> None:
    about = {"formula": "", "unit": "", "range": "", "meaning": ""}
    with pytest.raises(ContractError, match="registered already"):
        feature("t8_speed", family="tape", **about)(abs)
    with pytest.raises(ContractError, match="expected a family of"):
        feature("t99", family="tapes", **about)(abs)
    with pytest.raises(ContractError, match="expected one of vacuum_down"):
        features("vacuum")
