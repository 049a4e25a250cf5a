"""The four conditions against outcomes: counts by hand, intervals, strata, the reference."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.errors import ContractError
from engine.params import AuditParams, RetrievalParams
from engine.retrieval.statistics import condition_table, conditions_of
from tests.support.retrieval import tier_a, with_columns

PARAMS = AuditParams(retrieval=RetrievalParams(min_events=100, min_sessions=6))


def cell(table: pl.DataFrame, direction: str, stratum: str, k: int) -> dict[str, float]:
    return table.filter((pl.col("direction") == direction) & (pl.col("stratum") == stratum) & (pl.col("open") == k)).to_dicts()[0]


def made(n_open: np.ndarray, move: np.ndarray) -> pl.DataFrame:
    book = {"t10_ask_com_touch_log": move * 0.5, "t11_bid_com_touch_log": np.zeros(len(move))}
    return pl.DataFrame({"open": n_open, "move_ticks": move, **book}, schema_overrides={"open": pl.Int64, "move_ticks": pl.Int64})


def test_counts_and_shares_by_hand() -> None:
    events, _ = tier_a(400, 2.0, 3)
    rng = np.random.default_rng(0)
    n_open, move = rng.integers(0, 5, 400), rng.integers(-1, 2, 400)
    falls = pl.Series(rng.random(400) < 0.4)
    events = with_columns(events, pl.when(falls).then(pl.lit("approach_down")).otherwise("approach").alias("approach"))
    table = condition_table(events, made(n_open, move), PARAMS)
    assert table.height == 3 * 4 * 5
    up = (events.frame["approach"] == "approach_up").to_numpy()
    y = events.labels("h1")
    for direction, mine in (("up", up), ("down", ~up), ("both", np.ones(400, bool))):
        for stratum, sign in (("against", move < 0), ("still", move == 0), ("with", move > 0), ("all", np.ones(400, bool))):
            rows = mine & sign & (n_open == 3)
            found = cell(table, direction, stratum, 3)
            assert found["events"] == rows.sum()
            assert [found[f"n_{c}"] for c in ("reject", "chop", "break")] == np.bincount(y[rows], minlength=3).tolist()
            assert found["share_break"] == pytest.approx((y[rows] == 2).mean())
            assert found["low_break"] <= found["share_break"] <= found["high_break"]
            assert found["sessions"] == len(np.unique(events.sessions[rows]))
    assert cell(table, "both", "with", 0)["t10"] == pytest.approx(0.5)
    assert cell(table, "both", "all", 4)["comparisons"] == 60
    # The sum over counts is everything that has conditions and an outcome.
    assert table.filter((pl.col("direction") == "both") & (pl.col("stratum") == "all"))["events"].sum() == 400


def test_a_promise_that_is_kept_shows_beside_a_reference_that_knows_nothing_of_it() -> None:
    events, _ = tier_a(800, 0.0, 3)
    y = events.labels("h1")
    n_open = np.where(y == 2, 4, np.random.default_rng(1).integers(0, 4, 800))
    table = condition_table(events, made(n_open, np.ones(800, int)), PARAMS)
    four = cell(table, "up", "with", 4)
    assert four["share_break"] == 1.0
    assert 0.2 < four["pi_break"] < 0.5
    assert four["reference_events"] < four["events"]
    assert four["observed_break"] == 1.0
    assert cell(table, "down", "all", 4)["events"] == 0
    assert cell(table, "down", "all", 4)["share_break"] is None


def test_the_interval_is_as_wide_as_sessions_are_few() -> None:
    events, _ = tier_a(400, 0.0, 3)
    # All of a session's episodes end alike: forty sessions of one opinion each, not four hundred events.
    alike = (events.session_codes % 2 == 0).astype(int)
    outcome = pl.Series("outcome_h1", np.where(alike, "BREAK_UP", "CHOP"))
    table = condition_table(with_columns(events, outcome), made(np.full(400, 2), np.ones(400, int)), PARAMS)
    found = cell(table, "up", "all", 2)
    assert found["high_break"] - found["low_break"] > 0.35
    # Six events without a chop do not make it impossible: Wilson's bound of 0 of 6 is 39%.
    six = events.take(np.arange(0, 120, 20))
    never = condition_table(with_columns(six, pl.lit("BREAK_UP").alias("outcome_h1")), made(np.full(6, 2), np.ones(6, int)), PARAMS)
    assert cell(never, "up", "all", 2)["low_chop"] == 0
    assert cell(never, "up", "all", 2)["high_chop"] == pytest.approx(0.390, abs=1e-3)
    assert cell(never, "up", "all", 2)["low_break"] == pytest.approx(0.610, abs=1e-3)
    one = condition_table(events.take(slice(0, 20)), made(np.full(20, 2), np.ones(20, int)), PARAMS)
    assert cell(one, "up", "all", 2)["low_break"] is None


def test_what_is_not_known_is_left_out() -> None:
    events, _ = tier_a(100, 1.0, 3)
    conditions = made(np.full(100, 2), np.ones(100, int)).with_columns(
        pl.when(pl.int_range(pl.len()) < 30).then(None).otherwise("open").alias("open"),
        pl.when(pl.int_range(pl.len()) >= 90).then(None).otherwise("move_ticks").alias("move_ticks"),
    )
    assert cell(condition_table(events, conditions, PARAMS), "both", "all", 2)["events"] == 60
    with pytest.raises(ContractError, match="in 100 rows, found 99 rows"):
        condition_table(events, conditions.head(99), PARAMS)


def test_conditions_are_those_of_the_trigger_s_own_window_in_its_direction() -> None:
    s = 10**9
    rows = [
        # end, level, distance, level_tick, up_open, down_open
        (100, "pm_high", -6, 1000, 1, 4),
        (105, "pm_high", -4, 1000, 3, 2),
        (110, "pm_high", -3, 1000, 2, 0),
        (120, "pm_high", -1, 1000, 4, 0),
        (105, "vwap", 5, 991, 0, 1),
        (110, "vwap", 2, 995, 0, 3),
    ]
    windows = pl.DataFrame(rows, schema=["end", "level_id", "distance_ticks", "level_tick", "up_open", "down_open"], orient="row").select(
        ((pl.col("end") - 5) * s).alias("window_start_ts_ns"),
        (pl.col("end") * s).alias("window_end_ts_ns"),
        "level_id",
        pl.col("distance_ticks", "level_tick").cast(pl.Int32),
        pl.col("up_open", "down_open").cast(pl.Int8),
        pl.lit(0.1).alias("t10_ask_com_touch_log"),
        pl.lit(-0.1).alias("t11_bid_com_touch_log"),
    )
    triggers = pl.DataFrame(
        {
            "window_end_ts_ns": [105 * s, 120 * s, 110 * s, 100 * s, 115 * s],
            "level_id": ["pm_high", "pm_high", "vwap", "pm_high", "pm_high"],
            "approach": ["approach_up", "approach_up", "approach_down", "approach_down", "approach_up"],
        }
    )
    found = conditions_of(triggers, windows)
    assert found["open"].to_list() == [3, 4, 3, 4, None]
    # 105: from 994 to 996, with the travel. 120: the window before it is missing. vwap 110: from 996 to 997, against a fall, though the
    # level itself rose past that. 100: nothing before.
    assert found["move_ticks"].to_list() == [2, None, -1, None, None]
