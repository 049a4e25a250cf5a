"""The oracle's outcomes against plain loops, and the market it continues against the day itself."""

import datetime as dt
import math

import numpy as np
import pytest

from engine.errors import SessionError
from engine.params import SimParams
from engine.sessions import to_ns
from engine.simulate.day import Day
from engine.simulate.oracle import BREAK, CHOP, OUTCOMES, REJECT, UNTOUCHED, Continuations, continuations, outcome_of, trades_of
from engine.vocab import NS

DATE = dt.date(2025, 9, 3)
PARAMS = SimParams(seed=11, rate=0.03, kappa=1.0, thin_after=dt.time(11))


def plain(ts, tick, level, sign, wait_s, horizon_s, barrier):
    touch = None
    for t, k in zip(ts, tick):
        beyond = sign * (k - level)
        if touch is None:
            if t >= wait_s * NS:
                return "untouched"
            if beyond < 0:
                continue
            touch = t
        if t >= touch + horizon_s * NS:
            break
        if beyond >= barrier:
            return "break"
        if beyond <= -barrier:
            return "reject"
    return "untouched" if touch is None else "chop"


@pytest.mark.parametrize("sign", [1, -1])
def test_outcomes_are_those_of_a_plain_loop(sign):
    rng = np.random.default_rng(4)
    seen = set()
    for _ in range(400):
        ts = np.sort(rng.integers(0, 60 * NS, 80))
        tick = 100 + rng.integers(-6, 1) * sign + np.cumsum(rng.integers(-2, 3, 80))
        expected = plain(ts, tick, 100, sign, 20, 25, 8)
        found = OUTCOMES[outcome_of(ts, tick, 100, sign, wait_s=20, horizon_s=25, barrier_ticks=8)]
        assert found == expected
        seen.add(found)
    assert seen == set(OUTCOMES)


def test_a_trade_over_level_and_barrier_is_touch_and_break_at_once():
    far = {"wait_s": 10, "horizon_s": 10, "barrier_ticks": 8}
    assert outcome_of(np.array([1]), np.array([108]), 100, 1, **far) == BREAK
    assert outcome_of(np.array([1]), np.array([99]), 100, 1, **far) == UNTOUCHED
    assert outcome_of(np.array([1, 10 * NS]), np.array([100, 92]), 100, 1, **far) == REJECT
    assert outcome_of(np.array([1, 10 * NS + 1]), np.array([100, 92]), 100, 1, **far) == CHOP


def test_the_main_contract_runs_alone_as_it_does_beside_the_others():
    day, alone = Day(DATE, PARAMS), Day(DATE, PARAMS)
    whole = np.concatenate(list(day.chunks()))
    until = to_ns(DATE, dt.time(10, 30))
    rows = np.concatenate(list(alone.run_main(until)))
    live = whole[(whole[:, 0] >> 32 == day.main_id) & (((whole[:, 4] >> 32) & 0x20) == 0)]
    expected = live[live[:, 1] < until]
    assert len(rows) > 10_000
    assert np.array_equal(rows[:, 1:5], expected[:, 1:5])
    assert alone.truth().height > 0
    more = np.concatenate(list(alone.run_main(until + 60 * NS)))
    assert more[0, 1] >= until
    assert more[-1, 1] < until + 60 * NS


def test_continuations_repeat_and_their_probabilities_are_shares():
    day = Day(DATE, PARAMS)
    times, ticks = trades_of(np.concatenate(list(day.run_main(to_ns(DATE, dt.time(10))))), day.main_id, day.tick_fixed)
    trigger, price = int(times[-1]) + 1, int(ticks[-1])
    found = continuations(DATE, PARAMS, trigger, price, 1, n=12, seed=3, wait_s=60, horizon_s=60, barrier_ticks=6)
    assert sum(found.counts) == 12
    assert found.touched >= 6, "a level at the last price is touched"
    assert len({found, continuations(DATE, PARAMS, trigger, price, 1, n=12, seed=3, wait_s=60, horizon_s=60, barrier_ticks=6)}) == 1
    assert found.probabilities().sum() == pytest.approx(1.0)
    far = continuations(DATE, PARAMS, trigger, price + 500, 1, n=3, wait_s=30, horizon_s=30)
    assert far.counts == (0, 0, 0, 3)
    assert np.isnan(far.probabilities()).all()


def test_a_trigger_outside_its_day_is_refused():
    with pytest.raises(SessionError, match="after it"):
        continuations(DATE, PARAMS, Day(DATE, PARAMS).end_ns - NS, 1, 1, n=1)


def test_the_oracles_loss_is_the_entropy_of_its_forecast():
    even = Continuations((50, 50, 100, 10))
    assert even.probabilities() == pytest.approx([0.25, 0.25, 0.5])
    assert even.log_loss() == pytest.approx(1.5 * math.log(2))
    assert even.errors()[2] == pytest.approx(math.sqrt(0.25 / 200))
    assert Continuations((0, 0, 7, 0)).log_loss() == 0.0
