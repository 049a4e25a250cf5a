"""Tier B's bound: what comes after a trigger, over continuations of the same market with other luck.

The market is simulated up to the trigger with its own seed; then the streams of chance are seeded anew, again and again.
How often price breaks, rejects or stays is the probability given the whole state of the market, latent price and regime
included: an oracle's forecast, which no observer of the book can beat but by luck.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import SessionError
from engine.simulate import orders as o
from engine.simulate.day import Day
from engine.simulate.knobs import SimParams
from engine.simulate.rng import MAIN, REGIME, hash_words
from engine.vocab import NS

OUTCOMES = ("reject", "chop", "break", "untouched")
REJECT, CHOP, BREAK, UNTOUCHED = range(4)


@dataclass(frozen=True)
class Continuations:
    """Outcomes of the continuations of one trigger, in the order of `OUTCOMES`."""

    counts: tuple[int, int, int, int]

    @property
    def touched(self) -> int:
        """Continuations that touched the level."""
        return sum(self.counts[:UNTOUCHED])

    def probabilities(self) -> NDArray[np.float64]:
        """Share of reject, chop and break among those that touched, ``(3,)``; NaN where none did."""
        return np.array(self.counts[:UNTOUCHED]) / self.touched if self.touched else np.full(3, math.nan)

    def errors(self) -> NDArray[np.float64]:
        """Standard errors of `probabilities`, ``(3,)``."""
        p = self.probabilities()
        return np.sqrt(p * (1 - p) / max(1, self.touched))

    def log_loss(self) -> float:
        """Entropy of the three outcomes given a touch, nats: the expected log loss of the oracle at this trigger."""
        p = self.probabilities()
        return float(-(p[p > 0] * np.log(p[p > 0])).sum()) if self.touched else math.nan


def trades_of(rows: NDArray[np.int64], instrument_id: int, tick_fixed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Times in ns and ticks of one instrument's trades among records of `engine.simulate.day.Day`."""
    trade = ((rows[:, 4] >> 48) & 0xFF == o.T_) & (rows[:, 0] >> 32 == instrument_id)
    return rows[trade, 1], rows[trade, 3] // tick_fixed


def outcome_of(
    ts_ns: NDArray[np.int64], tick: NDArray[np.int64], level_tick: int, sign: int, *, wait_s: int, horizon_s: int, barrier_ticks: int
) -> int:
    """Position in `OUTCOMES` of what trades say (features.md section 8).

    Parameters
    ----------
    ts_ns, tick
        Trades from the trigger on; times from there.
    level_tick, sign
        The level, and the direction of travel to it: +1 from below.
    wait_s
        A touch later than this after the trigger is none.
    horizon_s, barrier_ticks
        The touch is a trade at the level or beyond; then the first trade so far beyond it breaks, so far back rejects, before the
        horizon ends.
    """
    beyond = sign * (tick - level_tick)
    at = np.flatnonzero((beyond >= 0) & (ts_ns < wait_s * NS))
    if len(at) == 0:
        return UNTOUCHED
    later = beyond[at[0] :][ts_ns[at[0] :] < ts_ns[at[0]] + horizon_s * NS]
    hit = np.flatnonzero(np.abs(later) >= barrier_ticks)
    if len(hit) == 0:
        return CHOP
    return BREAK if later[hit[0]] > 0 else REJECT


class _Saved:
    """A copy of everything that the kernel changes in the main contract's market."""

    def __init__(self, day: Day) -> None:
        book = day.books[0]
        self.arrays: list[NDArray[Any]] = [book.order, book.levels, book.classes, book.touched, book.st, book.fs, book.rng, *day.levels]
        self.copies = [a.copy() for a in self.arrays]
        self.day, self.extremes = day, list(day.extremes)

    def restore(self) -> None:
        self.day.extremes[:] = self.extremes
        for array, copy in zip(self.arrays, self.copies):
            np.copyto(array, copy)


def continuations(
    date: dt.date,
    params: SimParams,
    trigger_ts_ns: int,
    level_tick: int,
    sign: int,
    *,
    n: int = 200,
    seed: int = 0,
    wait_s: int = 120,
    horizon_s: int = 120,
    barrier_ticks: int = 8,
) -> Continuations:
    """What follows a trigger over `n` continuations.

    Parameters
    ----------
    date, params
        The simulated day.
    trigger_ts_ns
        The end of the trigger's window, ns: the market up to there is the day's own, to within the kernel's last time step.
    level_tick, sign
        The level's tick, and +1 where it is approached from below, -1 from above.
    n, seed
        How many, and what they are seeded from.
    wait_s, horizon_s, barrier_ticks
        As `outcome_of`.

    Raises
    ------
    SessionError
        Where the trigger and what follows do not lie in the day.
    """
    return Continuations(_tally(_outcomes(date, params, trigger_ts_ns, level_tick, sign, n, seed, wait_s, horizon_s, barrier_ticks)))


def _tally(found: Iterator[int]) -> tuple[int, int, int, int]:
    counts = [0, 0, 0, 0]
    for k in found:
        counts[k] += 1
    return counts[0], counts[1], counts[2], counts[3]


def _outcomes(
    date: dt.date, params: SimParams, trigger: int, level: int, sign: int, n: int, seed: int, wait_s: int, horizon_s: int, barrier: int
) -> Iterator[int]:
    day = Day(date, params)
    end = trigger + (wait_s + horizon_s) * NS
    if not day.start_ns < trigger < end <= day.end_ns:
        raise SessionError(f"{date}: expected a trigger with {wait_s + horizon_s} s of its day after it, found {trigger}")
    for _ in day.run_main(trigger):
        pass
    saved = _Saved(day)
    book = day.books[0]
    for k in range(n):
        saved.restore()
        for stream in (MAIN, REGIME):
            book.rng[stream] = hash_words(seed, trigger, level, k, stream)
        rows = np.concatenate(list(day.run_main(end)))
        times, ticks = trades_of(rows, day.main_id, day.tick_fixed)
        yield outcome_of(times - trigger, ticks, level, sign, wait_s=wait_s, horizon_s=horizon_s, barrier_ticks=barrier)
