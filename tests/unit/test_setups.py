"""Episodes, triggers, touches and every label, by hand (features.md section 8)."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.errors import ContractError
from engine.params import SetupParams
from engine.setups import Timeline, session_triggers, trigger_schema
from tests.support.ladders import DATE, SYMBOL
from tests.support.setups import Trade, ladder_of, levels_of, ns, trades_frame

K = 20_000
"""The level."""

SECONDS = 1200


def found(trades: list[Trade], steps: list | None = None, seconds: int = SECONDS, **knobs: object) -> pl.DataFrame:
    params = SetupParams(**knobs)  # type: ignore[arg-type]
    steps = steps if steps is not None else [("level", 0, seconds, K)]
    return session_triggers(ladder_of(trades, seconds), levels_of(steps), trades_frame(trades), params)


def arm(trades: list[Trade], steps: list | None = None, seconds: int = SECONDS, **knobs: object) -> dict:
    """The only arm trigger."""
    rows = found(trades, steps, seconds, **knobs).filter(kind="arm").to_dicts()
    assert len(rows) == 1, rows
    return rows[0]


def rise(to: int = K - 2, start: float = 0) -> list[Trade]:
    """Price comes from below: window ends at -14, -12, -10, -8, -6, ... of `to` + 2."""
    return [(start + 5 * i, to - 14 + 2 * i) for i in range(8)]


def mirrored(trades: list[Trade]) -> list[Trade]:
    return [(t, 2 * K - k) for t, k in trades]


def test_a_rise_to_the_level_is_one_episode_with_its_windows_its_arm_and_its_touch() -> None:
    trades = [*rise(), (42, K)]
    frame = found(trades)
    assert frame.schema == trigger_schema()
    assert frame["window_end_ts_ns"].is_sorted()
    assert set(frame["episode_id"]) == {f"{DATE}/{SYMBOL}/level/approach_up/1", f"{DATE}/{SYMBOL}/level/approach_up/c1"}
    windows = frame.filter(kind="window")
    # Three windows of movement first; from the fourth on each is an approach, and the one with the touch is none's.
    assert windows["distance_ticks"].to_list() == [-10, -8, -6, -4, -2]
    assert windows["armed"].to_list() == [False, False, False, True, True]
    row = arm(trades)
    assert (row["distance_ticks"], row["window_end_ts_ns"], row["level_tick"]) == (-4, ns(35), K)
    assert row["trigger_id"] == f"{DATE}/{SYMBOL}/level/approach_up/arm/{ns(35)}"
    assert (row["touched"], row["touch_ts_ns"], row["seconds_to_touch"]) == (True, ns(42), 7.0)
    assert (row["session_date"], row["touch_number"], row["confluent_levels"]) == (DATE, 1, 0)
    touch = frame.filter(kind="touch").row(0, named=True)
    assert (touch["window_end_ts_ns"], touch["distance_ticks"]) == (ns(40), -2)
    assert row["message_rate"] == pytest.approx(3 * 7 / 35)
    assert row["trade_rate"] == pytest.approx(7 / 35)


@pytest.mark.parametrize(
    ("after", "label"),
    [
        ([(50, K + 7), (60, K + 8), (61, K - 20)], "BREAK_UP"),
        ([(50, K + 7), (60, K - 8)], "REJECT_DOWN"),
        ([(50, K + 7), (60, K - 7)], "CHOP"),
    ],
)
def test_outcomes_after_a_touch_from_below_and_mirrored_from_above(after: list[Trade], label: str) -> None:
    trades = [*rise(), (42, K), *after]
    row = arm(trades)
    assert [row[f"outcome_h{h}"] for h in range(7)] == [label] * 7
    opposite = {"BREAK_UP": "BREAK_DOWN", "REJECT_DOWN": "REJECT_UP", "CHOP": "CHOP"}[label]
    other = arm(mirrored(trades))
    assert [other[f"outcome_h{h}"] for h in range(7)] == [opposite] * 7
    assert (other["approach"], other["distance_ticks"]) == ("approach_down", 4)
    assert (other["excursion_up_ticks"], other["excursion_down_ticks"]) == (row["excursion_down_ticks"], row["excursion_up_ticks"])


def test_horizons_end_before_the_trade_at_their_bound() -> None:
    # The touch at 42 s; a barrier hit at exactly one minute is too late for h0.
    row = arm([*rise(), (42, K), (102, K + 8)])
    assert [row[f"outcome_h{h}"] for h in range(7)] == ["CHOP", *["BREAK_UP"] * 6]
    row = arm([*rise(), (42, K), (101.75, K + 8)])
    assert row["outcome_h0"] == "BREAK_UP"
    assert (row["first_hit_ts_ns"], row["seconds_to_resolve"], row["first_hit_bars"]) == (ns(101.75), 59.75, 0)


def test_hits_excursions_and_a_whipsaw() -> None:
    trades = [*rise(), (42, K), (50, K - 3), (90, K + 9), (200, K - 12), (300, K + 20)]
    row = arm(trades)
    assert (row["outcome_h0"], row["whipsaw_flag"]) == ("BREAK_UP", True)
    assert (row["first_hit_ts_ns"], row["second_hit_ts_ns"]) == (ns(90), ns(200))
    assert (row["first_hit_bars"], row["second_hit_bars"]) == (0, 1)
    assert (row["excursion_up_ticks"], row["excursion_down_ticks"], row["adverse_before_hit_ticks"]) == (20, 12, 3)
    assert arm(trades[:-2])["whipsaw_flag"] is False
    # Of a rejection the adverse side is beyond the level.
    assert arm([*rise(), (42, K), (50, K + 5), (60, K - 9)])["adverse_before_hit_ticks"] == 5


def test_never_touched_is_no_touch_and_a_touch_is_waited_for_24_windows() -> None:
    # Price stands from 40 s on, and is nearer than three windows before until the window that ends at 50 s.
    last_approach = found(rise())["window_end_ts_ns"].max()
    assert last_approach == ns(50)
    assert [arm(rise())[f"outcome_h{h}"] for h in range(7)] == ["NO_TOUCH"] * 7
    assert arm(rise())["touched"] is False
    assert arm([*rise(), (50 + 24 * 5 - 0.25, K)])["touched"] is True
    late = arm([*rise(), (50 + 24 * 5, K)])
    assert (late["touched"], late["outcome_h1"], late["excursion_up_ticks"]) == (False, "NO_TOUCH", None)


def test_a_horizon_past_the_data_is_dropped_also_where_a_barrier_was_hit_before() -> None:
    trades = [*rise(), (42, K), (50, K + 8)]
    row = arm(trades, seconds=42 + 240)
    assert [row[f"outcome_h{h}"] for h in range(7)] == ["BREAK_UP"] * 3 + [None] * 4
    assert (row["first_hit_ts_ns"], row["whipsaw_flag"], row["excursion_up_ticks"]) == (ns(50), None, None)
    assert arm(trades, seconds=42 + 239)["outcome_h2"] is None
    # Not touched by the data's end, which may still come: no label either.
    undecided = arm(rise(), seconds=60)
    assert (undecided["touched"], undecided["outcome_h0"]) == (False, None)


def test_data_that_end_before_the_ladder_end_the_labels_too() -> None:
    trades = [*rise(), (42, K), (50, K + 8)]
    frame = session_triggers(
        ladder_of(trades, SECONDS), levels_of([("level", 0, SECONDS, K)]), trades_frame(trades), kinds=("arm",), data_end_ns=ns(42 + 60)
    )
    assert frame.select("outcome_h0", "outcome_h1").row(0) == ("BREAK_UP", None)


def test_a_level_that_is_not_yet_known_has_no_trigger() -> None:
    assert found([*rise(), (42, K)], [("level", 45, SECONDS, K)]).is_empty()
    late = found([*rise(), (42, K)], [("level", 33, SECONDS, K)])
    assert late.filter(kind="window")["window_end_ts_ns"].to_list() == [ns(40)]


def test_a_level_that_moves_is_frozen_at_the_touch() -> None:
    steps = [("level", 0, 41, K), ("level", 41, 60, K + 1), ("level", 60, SECONDS, K + 30)]
    trades = [*rise(), (42, K), (43, K + 1), (50, K + 8), (55, K + 9)]
    row = arm(trades, steps)
    # At 42 s the level is one higher already: K is no touch, K + 1 is, and the barrier stands at K + 9.
    assert (row["touch_ts_ns"], row["first_hit_ts_ns"], row["level_tick"]) == (ns(43), ns(55), K)


def test_a_level_stepping_over_the_price_is_no_touch() -> None:
    steps = [("level", 0, 41, K), ("level", 41, SECONDS, K - 10)]
    row = arm([*rise(), (42, K - 2), (50, K - 1)], steps)
    assert (row["touched"], row["outcome_h0"]) == (False, "NO_TOUCH")


def test_a_gap_over_level_and_barrier_is_touch_and_hit_at_once() -> None:
    row = arm([*rise(), (42, K + 8)])
    assert (row["touch_ts_ns"], row["outcome_h0"], row["seconds_to_resolve"]) == (ns(42), "BREAK_UP", 0.0)
    assert row["adverse_before_hit_ticks"] == 0


def test_trades_of_one_instant_count_in_their_order() -> None:
    # A sweep through level and barrier at one instant: the touch is its first trade at the level, what came before it does not count.
    row = arm([*rise(), (42, K - 9), (42, K), (42, K + 8)])
    assert (row["outcome_h0"], row["excursion_down_ticks"]) == ("BREAK_UP", 0)


def test_a_touch_without_arming_is_counted_apart() -> None:
    frame = found([*rise(K - 6), (38, K)])
    assert frame.filter(kind="arm").is_empty()
    touch = frame.filter(kind="touch")
    assert (touch["armed"].to_list(), touch["distance_ticks"].to_list()) == ([False], [-8])


def test_an_episode_ends_after_three_windows_without_the_approach() -> None:
    # Two windows of stepping back are bridged, three are not.
    def back(n: int, then: int) -> list[Trade]:
        return [*rise(), *((40 + 5 * i, K - 9) for i in range(n)), (40 + 5 * n, then)]

    assert found(back(2, K - 1)).filter(kind="window")["window_end_ts_ns"].max() >= ns(55)
    assert set(found(back(2, K - 1)).filter(kind="window")["episode_id"].str.slice(-1)) == {"1"}
    frame = found(back(3, K - 6)).filter(kind="window")
    assert set(frame["episode_id"].str.slice(-1)) == {"1", "2"}
    assert frame.filter(pl.col("episode_id").str.ends_with("/1"))["outcome_h0"].unique().to_list() == ["NO_TOUCH"]


def test_a_touch_belongs_to_the_latest_episode_before_it() -> None:
    trades = [*rise(), *((40 + 5 * i, K - 9) for i in range(4)), *((60 + 5 * i, K - 6 + i) for i in range(4)), (82, K)]
    rows = found(trades).filter(kind="window").group_by("episode_id", maintain_order=True).agg(pl.col("touched").first())
    assert rows["touched"].to_list() == [False, True]


def test_a_touched_level_rearms_beyond_the_arming_distance() -> None:
    near = [*rise(), (42, K), *((45 + 5 * i, K - 4) for i in range(5)), *((70 + 5 * i, K - 3 + i) for i in range(3))]
    assert found(near).filter(kind="window")["episode_id"].n_unique() == 1
    far = [*rise(), (42, K), *((45 + 5 * i, K - 5) for i in range(5)), *((70 + 5 * i, K - 3 + i) for i in range(3)), (85, K)]
    frame = found(far).filter(kind="arm")
    assert frame["episode_id"].str.slice(-1).to_list() == ["1", "2"]
    assert frame["touch_number"].to_list() == [1, 2]


def test_confluent_levels_are_those_within_four_ticks_then() -> None:
    steps = [("level", 0, SECONDS, K), ("b", 0, SECONDS, K + 4), ("c", 0, SECONDS, K + 5), ("d", 400, SECONDS, K)]
    assert found([*rise(), (42, K)], steps).filter(kind="arm", level_id="level")["confluent_levels"].to_list() == [1]


def test_a_candle_that_meets_the_level_is_confirmed_at_the_next_ones_close() -> None:
    trades = [(10, K - 5), (20, K), (100, K - 2), (130, K - 9), (300, K - 8), (400, K + 9)]
    frame = found(trades).filter(kind="candle")
    first = frame.row(0, named=True)
    assert (first["window_end_ts_ns"], first["approach"], first["distance_ticks"]) == (ns(240), "approach_up", -9)
    # What came before the clock's start at 240 s, beyond the barrier already, does not count.
    assert (first["touch_ts_ns"], first["outcome_h0"], first["outcome_h2"]) == (ns(240), "CHOP", "REJECT_DOWN")
    assert (first["seconds_to_touch"], first["first_hit_ts_ns"], first["outcome_h4"]) == (0.0, ns(300), None)
    assert first["episode_id"].endswith("/approach_up/c1")
    assert found([(10, K), (20, K)]).filter(kind="candle").is_empty()  # from which side is not known


def test_volatility_is_of_ten_second_changes_and_unknown_without_five_minutes_of_them() -> None:
    # One tick up or down every ten seconds: each change is one tick.
    still = [(10.0 * i, K - 40 + i % 2) for i in range(60)]
    sigma = Timeline(ladder_of(still, 600), trades_frame(still), 5).sigma(SetupParams())
    assert sigma[-1] == pytest.approx(1 / 10**0.5)
    known = np.flatnonzero(~np.isnan(sigma))
    # The first change whose both ends are there ends with second 10; the thirtieth makes five minutes.
    assert known[0] == 301 // 5


def test_an_automatic_barrier_follows_volatility() -> None:
    still = [(10.0 * i, K - 40 + i % 2) for i in range(60)]
    row = arm([*still, *rise(start=600), (642, K), (700, K + 7)], barrier="auto")
    assert row["barrier_ticks"] == max(2, round(0.82 * row["sigma"] * 120**0.5)) == 9
    assert [row["outcome_h1"], row["outcome_h0"]] == ["CHOP", "BREAK_UP"]  # at one minute the barrier is 6
    quiet = arm([*rise(), (42, K), (60, K + 9)], barrier="auto")
    assert (quiet["sigma"], quiet["barrier_ticks"], quiet["outcome_h1"], quiet["first_hit_ts_ns"]) == (None, None, None, None)
    assert (quiet["touched"], quiet["excursion_up_ticks"]) == (True, 9)


def test_seconds_into_the_session_count_from_the_trading_start() -> None:
    trades = [*rise(), (42, K)]
    frame = session_triggers(
        ladder_of(trades, SECONDS), levels_of([("level", 0, SECONDS, K)]), trades_frame(trades), kinds=("arm",), trading_start_ns=ns(60)
    )
    assert frame["seconds_into_session"].to_list() == [-25]


def test_nothing_to_find_gives_an_empty_table_and_bad_input_is_named() -> None:
    assert found([]).schema == trigger_schema()
    assert found([(1, K)], []).is_empty()
    trades = trades_frame([(1, K)])
    with pytest.raises(ContractError, match="expected some of window, arm, touch, candle, found arms"):
        session_triggers(ladder_of([(1, K)], 60), levels_of([]), trades, kinds=("arms",))
    with pytest.raises(ContractError, match="do not overlap"):
        found([(1, K)], [("a", 0, 50, K), ("a", 40, 60, K)])
    with pytest.raises(ContractError, match="missing tick"):
        session_triggers(ladder_of([(1, K)], 60), levels_of([]), trades.drop("tick"))
