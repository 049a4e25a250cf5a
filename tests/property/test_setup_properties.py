"""Triggers equal their slow twin, and never look ahead: taking away what comes later only turns labels null."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.params import ApproachParams, SetupParams
from engine.setups import session_triggers
from tests.reference.setup_twin import Session
from tests.support.ladders import NS, START_S
from tests.support.setups import Trade, ladder_of, levels_of, ns, trades_frame

SECONDS = 1500
LABELS_THAT_TURN = (
    "touch_ts_ns", "seconds_to_touch", "first_hit_ts_ns", "first_hit_bars", "second_hit_ts_ns", "second_hit_bars", "whipsaw_flag",
    "excursion_up_ticks", "excursion_down_ticks", "adverse_before_hit_ticks", "seconds_to_resolve", *(f"outcome_h{h}" for h in range(7)),
)  # fmt: skip


def walk(seed: int, step: int, rate: float, seconds: int = SECONDS) -> list[Trade]:
    """A random walk of trades with bursts at one instant and now and then a jump."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    at = np.sort(rng.integers(0, seconds * 4, n)) / 4  # many share an instant, many stand on a window's bound
    moves = rng.integers(-step, step + 1, n) + np.where(rng.random(n) < 0.01, rng.integers(-15, 16, n), 0)
    return list(zip(at.tolist(), (20_000 + np.cumsum(moves)).tolist()))


def make_levels(seed: int, seconds: int = SECONDS) -> list[tuple[str, float, float, int]]:
    """A fixed level, one known from the middle on only, and one that steps every few seconds, over the price too."""
    rng = np.random.default_rng(seed + 1)
    steps: list[tuple[str, float, float, int]] = [("fixed", 0, seconds, 20_006), ("late", seconds // 2, seconds, 19_995)]
    k = 20_000
    for a in range(0, seconds, 7):
        if rng.random() < 0.9:
            steps.append(("moving", a, a + 7, k))
        k += int(rng.integers(-3, 4)) + (int(rng.integers(-9, 10)) if rng.random() < 0.05 else 0)
    return steps


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    step=st.integers(1, 3),
    rate=st.sampled_from([0.1, 0.5, 2.0]),
    arm=st.integers(1, 6),
    gap=st.integers(1, 4),
    wait=st.integers(0, 30),
    barrier=st.sampled_from([3, 8, "auto"]),
    cut=st.integers(300, SECONDS),
    window_s=st.sampled_from([5, 5, 7]),
)
def test_triggers_equal_twin(
    seed: int, step: int, rate: float, arm: int, gap: int, wait: int, barrier: int | str, cut: int, window_s: int
) -> None:
    trades, steps = walk(seed, step, rate), make_levels(seed)
    ladder = ladder_of(trades, SECONDS)
    params = SetupParams(arm_ticks=arm, gap_windows=gap, wait_windows=wait, barrier=barrier, sigma_least_s=60)
    found = session_triggers(
        ladder, levels_of(steps), trades_frame(trades), params, approach=ApproachParams(), window_s=window_s, data_end_ns=ns(cut)
    )
    by_id: dict[str, list[tuple[int, int, int]]] = {}
    for level_id, a, b, k in steps:
        by_id.setdefault(level_id, []).append((ns(a), ns(b), k))
    last = [None if k == np.iinfo(np.int32).min else int(k) for k in ladder.last_tick]
    inside = [(ns(s), k) for s, k in trades if s < cut]
    twin = Session(START_S * NS, last, inside, by_id, ns(cut), window_s, arm, gap, wait, barrier=barrier, sigma_least_s=60).rows()
    assert found.height == len(twin)
    for row, expected in zip(found.to_dicts(), twin):
        expected["n"] = f"{row['episode_id'].rsplit('/', 1)[0]}/{expected['n']}"
        for name, value in expected.items():
            got = row["episode_id" if name == "n" else name]
            if isinstance(value, float):
                assert got is not None, (name, row["trigger_id"])
                assert math.isclose(got, value, rel_tol=1e-9, abs_tol=1e-12), (name, row["trigger_id"])
            else:
                assert got == value, (name, row["trigger_id"])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(200, SECONDS - 100), step=st.integers(1, 2))
def test_triggers_never_look_ahead(seed: int, cut: int, step: int) -> None:
    cut -= cut % 5
    trades, steps = walk(seed, step, 1.0), make_levels(seed)
    params = SetupParams(sigma_least_s=60)
    whole = session_triggers(ladder_of(trades, SECONDS), levels_of(steps), trades_frame(trades), params)
    early = [t for t in trades if t[0] < cut]
    short = session_triggers(ladder_of(early, cut), levels_of(steps), trades_frame(early), params)
    # A touch trigger is made by its touch: it is there once the touch is.
    made = pl.when(pl.col("kind") == "touch").then(pl.col("touch_ts_ns") < ns(cut)).otherwise(True)
    past = whole.filter((pl.col("window_end_ts_ns") <= ns(cut)) & made)
    known = [c for c in whole.columns if c not in (*LABELS_THAT_TURN, "touched")]
    assert past.select(known).equals(short.select(known))
    for name in LABELS_THAT_TURN:
        same = past[name].eq_missing(short[name]) | short[name].is_null()
        assert same.all(), name
    assert (past["touched"] | ~short["touched"]).all()


def test_the_walks_hold_what_they_should() -> None:
    params = SetupParams(sigma_least_s=60)
    walks = [walk(seed, 2, 2.0) for seed in range(12)]
    frames = [session_triggers(ladder_of(w, SECONDS), levels_of(make_levels(i)), trades_frame(w), params) for i, w in enumerate(walks)]
    frame = pl.concat(frames)
    assert set(frame["kind"]) == {"window", "arm", "touch", "candle"}
    assert {"BREAK_UP", "REJECT_DOWN", "BREAK_DOWN", "REJECT_UP", "NO_TOUCH", None} <= set(frame["outcome_h0"])
    assert frame["whipsaw_flag"].any()
    # Both touches of armed episodes and of those that a jump carried to the level.
    assert set(frame.filter(kind="touch")["armed"]) == {True, False}
