"""Tier B's bound: what comes after a trigger, over continuations of the same market with other luck.

The market is simulated up to the trigger with its own seed, and from there with one seed after another. How often price breaks, rejects or
stays is the probability given the whole state of the market, latent price and regime included: an oracle's forecast, which no observer of
the book can beat but by luck.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import SessionError
from engine.params import SimParams
from engine.sessions import clock_text
from engine.simulate import orders as o
from engine.simulate.day import Day
from engine.simulate.rng import MAIN, REGIME, hash_words
from engine.vocab import NS

OUTCOMES = ("reject", "chop", "break", "untouched")
REJECT, CHOP, BREAK, UNTOUCHED = range(4)


@dataclass(frozen=True)
class Continuations:
    """Outcomes of the continuations of one trigger, in the order of `OUTCOMES`."""

    counts: tuple[int, ...]

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
    """Position in `OUTCOMES` of what trades say (features.md section 8): ns from the trigger on and ticks, `sign` +1 from below.

    A touch (a trade at the level or beyond) later than `wait_s` after the trigger is none. From the touch to the end of `horizon_s` the
    first trade `barrier_ticks` beyond the level breaks, so far back it rejects.
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
    """What follows a trigger over `n` continuations, seeded from `seed`; SessionError where they do not lie in the day.

    Up to `trigger_ts_ns`, the end of the trigger's window, the market is the day's own, to within the kernel's last time step. The level
    and what judges an outcome are those of `outcome_of`.
    """
    day = Day(date, params)
    end = trigger_ts_ns + (wait_s + horizon_s) * NS
    if not day.start_ns < trigger_ts_ns < end <= day.end_ns:
        raise SessionError(
            f"{date}: expected a trigger with {wait_s + horizon_s} s of its day after it, found {clock_text(trigger_ts_ns, date)}"
        )
    for _ in day.run_main(trigger_ts_ns):
        pass
    saved = _Saved(day)
    counts = [0] * len(OUTCOMES)
    for k in range(n):
        saved.restore()
        for stream in (MAIN, REGIME):
            day.books[0].rng[stream] = hash_words(seed, trigger_ts_ns, level_tick, k, stream)
        ts_ns, tick = trades_of(np.concatenate(list(day.run_main(end))), day.main_id, day.tick_fixed)
        after_ns = ts_ns - trigger_ts_ns
        found = outcome_of(after_ns, tick, level_tick, sign, wait_s=wait_s, horizon_s=horizon_s, barrier_ticks=barrier_ticks)
        counts[found] += 1
    return Continuations(tuple(counts))


# ----------------------------------------------------------------------------
# Tier A: paths from a known Gaussian law and labels from a known posterior, so that the best possible log loss is known exactly

CLASSES = ("break", "reject", "chop")


@dataclass(frozen=True)
class Law:
    """The law of tier A, of paths ``(windows, features)``."""

    windows: int = 24
    features: int = 10
    persistence: float = 0.7  # AR(1) coefficient from window to window, in [0, 1)
    correlation: float = 0.3  # between any two features at a time, in [0, 1)
    strength: float = 1.0  # standard deviation of each score; 0 makes labels that no path says anything about
    priors: tuple[float, float, float] = (0.36, 0.47, 0.17)  # class probabilities at scores of zero
    decay: float = 0.85  # weight of a window relative to the one after it: the last windows matter most


@dataclass(frozen=True)
class Sample:
    """Draws from a `Law`."""

    paths: NDArray[np.float64]  # (n, windows, features)
    posterior: NDArray[np.float64]  # (n, 3), exact probabilities of `CLASSES` given the path
    labels: NDArray[np.int64]  # (n,), positions in `CLASSES`, drawn from the posterior
    sessions: NDArray[np.int64]  # (n,), session number, rising; splits by session are splits by this

    def bayes_log_loss(self) -> float:
        """Expected log loss of the exact posterior on these paths, in nats: its mean entropy. No forecast can do better."""
        return float(_entropy(self.posterior).mean())


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of scores, over the last axis."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def weights(law: Law) -> NDArray[np.float64]:
    """Weights of the two scores, ``(2, windows, features)``; scaled so that each score has standard deviation 1.

    The first leans on the even features, the second on the odd ones: break against reject, and decided against chop.
    """
    time = law.decay ** np.arange(law.windows - 1, -1, -1)
    w = np.zeros((2, law.windows, law.features))
    for k in range(2):
        w[k, :, k::2] = time[:, None] * np.where(np.arange(k, law.features, 2) % 4 < 2, 1.0, -0.5)
        w[k] /= np.sqrt(_covariance(law, w[k], w[k]))
    return w


def _covariance(law: Law, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    lag = np.abs(np.subtract.outer(np.arange(law.windows), np.arange(law.windows)))
    across = np.full((law.features, law.features), law.correlation) + (1 - law.correlation) * np.eye(law.features)
    return float(np.einsum("tf,ts,sg,fg->", a, law.persistence**lag, b, across))


def posterior(law: Law, paths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exact class probabilities given paths ``(n, windows, features)``, ``(n, 3)``."""
    return _probabilities(law, np.einsum("ntf,ktf->nk", paths, weights(law)))


def _probabilities(law: Law, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    s = law.strength * scores
    return softmax(np.log(law.priors) + np.stack([s[..., 0], -s[..., 0], s[..., 1]], axis=-1))


def draw(law: Law, n: int, seed: int, *, per_session: int = 20) -> Sample:
    """Draw `n` paths and labels; the same to the bit for the same arguments."""
    rng = np.random.default_rng(seed)
    shared = np.sqrt(law.correlation) * rng.standard_normal((n, law.windows, 1))
    shocks = shared + np.sqrt(1 - law.correlation) * rng.standard_normal((n, law.windows, law.features))
    paths = np.empty_like(shocks)
    paths[:, 0] = shocks[:, 0]
    keep = np.sqrt(1 - law.persistence**2)
    for t in range(1, law.windows):
        paths[:, t] = law.persistence * paths[:, t - 1] + keep * shocks[:, t]
    p = posterior(law, paths)
    labels = (rng.random(n)[:, None] > np.cumsum(p, axis=1)[:, :2]).sum(axis=1)
    return Sample(paths, p, labels.astype(np.int64), np.arange(n) // per_session)


def population_log_loss(law: Law, nodes: int = 60) -> float:
    """Bayes log loss of the law itself, in nats, by Gauss-Hermite quadrature over the two scores' joint normal law."""
    w = weights(law)
    r = _covariance(law, w[0], w[1])
    x, weight = np.polynomial.hermite_e.hermegauss(nodes)
    weight = weight / weight.sum()
    a, b = np.meshgrid(x, x, indexing="ij")
    scores = np.stack([a, r * a + np.sqrt(1 - r * r) * b], axis=-1)
    return float((weight[:, None] * weight[None, :] * _entropy(_probabilities(law, scores))).sum())
