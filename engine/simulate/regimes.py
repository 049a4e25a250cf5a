"""Regimes at levels: what a latent state does to the orders around a level, and what price does after the touch.

Nothing here draws from the market's own random stream: the regime of an approach is a hash of the day's seed and
the approach, and the footprints draw from a stream of their own, so that kappa = 0 is bit-identical to no levels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from engine.simulate import model as m
from engine.simulate.orders import ASK, BEST_ASK, BEST_BID, BID, CLS, COUNT, N_CLASS, NOW_NS, SIDE, TAIL, TICK
from engine.simulate.rng import REGIME, kernel, mix, uniform

REGIMES = ("hold", "absorb", "pull", "spoof", "chop")
HOLD, ABSORB, PULL, SPOOF, CHOP = range(5)
PRIORS = (0.18, 0.12, 0.22, 0.16, 0.32)
DRIFT = (1.0, 1.0, -1.0, -0.5, 0.0)
"""xi: which way price drifts after the touch, away from the level (+) or through it (-)."""

OUTCOMES = ("untouched", "break", "reject", "chop", "open")
UNTOUCHED, BREAK, REJECT, UNDECIDED, OPEN = range(5)

START_TICKS, GIVE_UP_TICKS = 10, 20
DECIDE_TICKS, DECIDE_S = 8, 180
DRIFT_TICKS = 4.0
DRIFT_GAIN = 1.32
"""What price does is decided against its realised variance, which impact and informed flow make larger than sigma_t squared; chosen so
that the regime, when known, names the outcome as often as simulator.md's table has it (docs/SIMULATOR.md)."""

NEAR_TICKS = 2

# Words of the approach in progress.
LEVEL, SIGN, STATE, PHASE, START_NS, TOUCH_NS, N_LOG, DAY_SEED = range(8)

LOG_WORDS, LOG_ROWS = 8, 1024
"""A day's finished approaches; `Day.truth` refuses more."""


class Levels(NamedTuple):
    """Levels of a day and the approach in progress, as plain int64 arrays (a tuple the kernels take)."""

    tick: np.ndarray  # (n,) level as a tick index; negative until it can be known
    armed: np.ndarray  # (n,) whether price has been far enough away since the last approach
    tally: np.ndarray  # (n,) approaches so far
    now: np.ndarray  # (8,) the approach in progress; now[LEVEL] is -1 without one
    log: np.ndarray  # (LOG_ROWS, 8) finished approaches: level, sign, regime, start, touch (0: none), end, outcome, tick index


def make_levels(n: int, seed: int) -> Levels:
    """Levels of a day before any is known; ``n = 0`` for an instrument without levels."""
    now = np.zeros(8, np.int64)
    now[LEVEL] = -1
    now[DAY_SEED] = np.uint64(seed & (2**64 - 1)).view(np.int64)
    return Levels(np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), now, np.zeros((LOG_ROWS, LOG_WORDS), np.int64))


@kernel
def _regime_of(seed, level, count):
    z = mix(mix(np.uint64(seed) + np.uint64(level + 1) * np.uint64(0x9E3779B97F4A7C15)) + np.uint64(count))
    u = float(z >> np.uint64(11)) / 9007199254740992.0
    total = 0.0
    for k in range(5):
        total += PRIORS[k]
        if u < total:
            return k
    return CHOP


@kernel
def _finish(st, levels, outcome):
    now = levels.now
    j = now[LEVEL]
    if now[N_LOG] < levels.log.shape[0]:
        row = levels.log[now[N_LOG]]
        row[0], row[1], row[2], row[3] = j, now[SIGN], now[STATE], now[START_NS]
        row[4], row[5], row[6], row[7] = now[TOUCH_NS], st[NOW_NS], outcome, levels.tick[j]
    now[N_LOG] += 1  # counted on where the log is full, so that `Day.truth` can say it
    levels.armed[j] = 0
    now[LEVEL] = -1


@kernel
def finish_day(st, levels):
    """Write down an approach that the day's end cut short."""
    if levels.now[LEVEL] >= 0:
        _finish(st, levels, OPEN)


@kernel
def watch_levels(st, par, levels):
    """Start, touch and end approaches; one at a time, at the nearest armed level."""
    twice_mid = st[BEST_BID] + st[BEST_ASK]
    now, tick = levels.now, levels.tick
    if now[LEVEL] >= 0:
        ahead = now[SIGN] * (2 * tick[now[LEVEL]] - twice_mid)
        if now[PHASE] == 0:
            if ahead <= 1:
                now[PHASE] = 1
                now[TOUCH_NS] = st[NOW_NS]
            elif ahead > 2 * GIVE_UP_TICKS:
                _finish(st, levels, UNTOUCHED)
        elif ahead <= -2 * DECIDE_TICKS:
            _finish(st, levels, BREAK)
        elif ahead >= 2 * DECIDE_TICKS:
            _finish(st, levels, REJECT)
        elif st[NOW_NS] - now[TOUCH_NS] > DECIDE_S * 1_000_000_000:
            _finish(st, levels, UNDECIDED)
        return
    nearest, near = -1, 2 * START_TICKS + 1
    for j in range(tick.shape[0]):
        if tick[j] < 0:
            continue
        distance = abs(2 * tick[j] - twice_mid)
        if distance >= 2 * par[m.REARM_TICKS]:
            levels.armed[j] = 1
        elif levels.armed[j] == 1 and distance < near:
            nearest, near = j, distance
    if nearest >= 0:
        now[LEVEL] = nearest
        now[SIGN] = 1 if 2 * tick[nearest] > twice_mid else -1
        now[STATE] = _regime_of(now[DAY_SEED], nearest, levels.tally[nearest])
        levels.tally[nearest] += 1
        now[PHASE] = 0
        now[START_NS] = st[NOW_NS]
        now[TOUCH_NS] = 0


@kernel
def level_drift(par, levels, price, sigma, dt):
    """Drift of the latent price after a touch, within z = 4 ticks of the level: kappa gamma xi sigma^2 / z."""
    now = levels.now
    if now[LEVEL] < 0 or now[PHASE] == 0 or abs(price - levels.tick[now[LEVEL]]) > DRIFT_TICKS:
        return 0.0
    return -now[SIGN] * DRIFT_GAIN * par[m.KAPPA] * par[m.GAMMA] * DRIFT[now[STATE]] * sigma * sigma / DRIFT_TICKS * dt


@kernel
def _happens(par, rng, c):
    return uniform(rng, REGIME) < 1.0 - math.exp(-c * par[m.KAPPA])


@kernel
def _ticks_to_level(st, levels):
    """Ticks from the best price that meets the level first to the level; negative once it is through."""
    now = levels.now
    if now[SIGN] > 0:
        return levels.tick[now[LEVEL]] - st[BEST_ASK]
    return st[BEST_BID] - levels.tick[now[LEVEL]]


@kernel
def _wall_side(levels):
    return ASK if levels.now[SIGN] > 0 else BID


@kernel
def _in_wall(par, levels, side, tick):
    now = levels.now
    beyond = now[SIGN] * (tick - levels.tick[now[LEVEL]])
    return side == _wall_side(levels) and 0 <= beyond < m.WALL_REACH and (int(par[m.WALL]) >> beyond) & 1 == 1


@kernel
def _tick_of_wall(par, rng, levels):
    """One of the wall's ticks, each as likely."""
    n = int(uniform(rng, REGIME) * par[m.WALL_TICKS])
    beyond = 0
    while True:
        if (int(par[m.WALL]) >> beyond) & 1 == 1:
            if n == 0:
                return levels.tick[levels.now[LEVEL]] + levels.now[SIGN] * beyond
            n -= 1
        beyond += 1


@kernel
def divert_add(st, par, rng, levels, side, tick):
    """Tick at which an add of the wall's side comes: at the wall where the regime builds one."""
    now = levels.now
    if now[LEVEL] < 0 or side != _wall_side(levels):
        return tick
    state = now[STATE]
    if state != HOLD and state != SPOOF:
        return tick
    to_level = _ticks_to_level(st, levels)
    if to_level < 0 or (state == SPOOF and to_level <= NEAR_TICKS) or not _happens(par, rng, 0.3):
        return tick
    return _tick_of_wall(par, rng, levels)


@kernel
def hidden_at_level(par, rng, levels, side, tick, qty, hidden):
    """Hidden size behind an add: absorbing makes icebergs of the orders at the level."""
    now = levels.now
    if now[LEVEL] < 0 or now[STATE] != ABSORB or not _in_wall(par, levels, side, tick) or not _happens(par, rng, 1.2):
        return hidden
    return max(hidden, int(qty * (2.0 - 4.0 * math.log(1.0 - uniform(rng, REGIME)))))


@kernel
def divert_cancel(order, book, classes, st, par, rng, levels, slot):
    """Order that a cancel takes: another than the wall's, the opposite touch's, or the wall's own, as the regime has it."""
    now = levels.now
    if now[LEVEL] < 0 or now[STATE] == CHOP:
        return slot
    state = now[STATE]
    to_level = _ticks_to_level(st, levels)
    far = to_level > NEAR_TICKS
    if _in_wall(par, levels, order[slot, SIDE], order[slot, TICK]):
        keep = 1.5 if state == HOLD or (state == SPOOF and far) else (0.7 if state == ABSORB else 0.0)
        if keep > 0.0 and _happens(par, rng, keep):
            cls = order[slot, CLS]
            for _ in range(6):
                other = classes[cls, int(uniform(rng, REGIME) * st[N_CLASS + cls])]
                if not _in_wall(par, levels, order[other, SIDE], order[other, TICK]):
                    return other
        return slot
    if state == HOLD and _happens(par, rng, 0.1):
        side = BID if now[SIGN] > 0 else ASK
        return book[side, st[BEST_BID + side], TAIL]
    c = 0.12 if state == PULL and now[PHASE] == 0 else (0.2 if state == SPOOF and not far else 0.0)
    if c > 0.0 and to_level >= 0 and _happens(par, rng, c):
        tick = _tick_of_wall(par, rng, levels)
        if book[_wall_side(levels), tick, COUNT] > 0:
            return book[_wall_side(levels), tick, TAIL]
    return slot


@kernel
def sign_bias(par, rng, levels):
    """Sign that aggression is turned to (0: as it was): toward the level where it is absorbed or spoofed."""
    now = levels.now
    if now[LEVEL] < 0:
        return 0
    c = 0.25 if now[STATE] == ABSORB else (0.12 if now[STATE] == SPOOF else 0.0)
    if c > 0.0 and _happens(par, rng, c):
        return now[SIGN]
    return 0
