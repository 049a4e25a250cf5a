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
import polars as pl
from numpy.typing import NDArray

from engine.errors import SessionError
from engine.params import SimParams
from engine.sessions import clock_text, to_ns
from engine.simulate import orders as o
from engine.simulate.day import Day
from engine.simulate.regimes import DRIFT, DRIFT_TICKS, PRIORS, REGIMES
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
    """Position in `OUTCOMES` of what trades say (features.md section 8).

    Parameters
    ----------
    ts_ns, tick
        Trades from the trigger on; times from there.
    level_tick, sign
        The level, and the direction of travel to it: +1 from below.
    wait_s
        A touch (a trade at the level or beyond) later than this after the trigger is none.
    horizon_s, barrier_ticks
        From the touch to the horizon's end, the first trade so far beyond the level breaks, so far back rejects.
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
    trigger_ts_ns
        The end of the trigger's window, ns: the market up to there is the day's own, to within the kernel's last time step.
    n, seed
        How many, and what they are seeded from.
    level_tick, sign, wait_s, horizon_s, barrier_ticks
        As `outcome_of`.

    Raises
    ------
    SessionError
        Where the trigger and what follows do not lie in the day.
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
# What regimes do to outcomes: every touch of a level in simulated cash sessions, judged by trades, and the table of it

LEVEL_EVERY_TICKS = 40
HORIZON_S, BARRIER_TICKS, RESPONSE_S = 180, 8, 10

EXPECTED = {"hold": "reject", "absorb": "reject", "pull": "break", "spoof": "break", "chop": "reject"}
"""What a known regime lets one expect. Chop leans neither way, but that the mid is half a tick before the level at the touch."""


def touches(date: dt.date, seed: int, rate: float, kappa: float, gamma: float = 0.5) -> pl.DataFrame:
    """Touches of the cash session of a day with a level at every fortieth tick.

    Columns: ``regime``; ``outcome`` from the touch by the first trade at or beyond the level to the first trade eight ticks beyond it
    (break) or back (reject) within 180 s, else chop; ``by_mid``, the same where touch and barriers are looked at on the mid, on the
    kernel's time grid, as `truth` has it; ``went``, ticks beyond the level of the last trade ten seconds after the touch.
    """
    close = dt.time(16)
    day = Day(date, SimParams(seed=seed, rate=rate, kappa=kappa, gamma=gamma, round_ticks=LEVEL_EVERY_TICKS, thin_after=close))
    start, end = to_ns(date, dt.time(9, 30)), to_ns(date, close)
    parts = [trades_of(rows, day.main_id, day.tick_fixed) for rows in day.run_main(end)]
    ts, tick = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    out = []
    truth = day.truth().filter((pl.col("start_ts_ns") >= start) & pl.col("level_id").str.starts_with("price:"))
    for a in truth.iter_rows(named=True):
        sign = 1 if a["approach"] == "approach_up" else -1
        lo = int(np.searchsorted(ts, a["start_ts_ns"]))
        hi = int(np.searchsorted(ts, a["end_ts_ns"] + HORIZON_S * NS, "right"))
        found = outcome_of(
            ts[lo:hi] - a["start_ts_ns"], tick[lo:hi], a["level_tick"], sign,
            wait_s=1 + (a["end_ts_ns"] - a["start_ts_ns"]) // NS, horizon_s=HORIZON_S, barrier_ticks=BARRIER_TICKS,
        )  # fmt: skip
        if found == UNTOUCHED or a["end_ts_ns"] + HORIZON_S * NS > end:
            continue
        beyond = sign * (tick[lo:hi] - a["level_tick"])
        touch = lo + int(np.argmax(beyond >= 0))
        went = int(beyond[int(np.searchsorted(ts, ts[touch] + RESPONSE_S * NS)) - 1 - lo])
        out.append({"regime": a["regime"], "outcome": OUTCOMES[found], "by_mid": a["outcome"], "went": went})
    return pl.DataFrame(out, schema={"regime": pl.String, "outcome": pl.String, "by_mid": pl.String, "went": pl.Int64})


def shares(frame: pl.DataFrame, column: str = "outcome") -> dict[str, float]:
    """Shares of break, reject and chop; rejects among the decided; two-way accuracy where the regime is known; each with the count
    (``n``, ``n_decided``) that its binomial error is taken from."""
    touched = frame.filter(pl.col(column).is_in(["break", "reject", "chop"]))
    decided = touched.filter(pl.col(column) != "chop")
    outcome = touched[column].to_numpy()
    right = decided[column] == decided["regime"].replace_strict(EXPECTED, return_dtype=pl.String)
    return {
        **{k: float((outcome == k).mean()) if len(outcome) else math.nan for k in ("break", "reject", "chop")},
        "reject_of_decided": float((decided[column].to_numpy() == "reject").mean()) if decided.height else math.nan,
        "accuracy": float(right.to_numpy().mean()) if decided.height else math.nan,
        "n": float(touched.height),
        "n_decided": float(decided.height),
    }


def expected_shares(kappa: float, gamma: float, gain: float = 1.0, start_ticks: float = 0.5) -> dict[str, float]:
    """What a plain diffusion would do: probability of reject by regime and over all of them, and the accuracy with the regime known.

    Scale functions of a diffusion whose drift over variance is ``-kappa gamma xi / 4`` per tick within four ticks of the level and
    nought beyond (Karlin and Taylor 1981, section 15.3); started `start_ticks` before the level, with barriers at eight ticks.
    """
    x = np.linspace(-BARRIER_TICKS, BARRIER_TICKS, 3201)
    inside = np.clip(x, -DRIFT_TICKS, DRIFT_TICKS)
    out = {}
    for regime, xi in zip(REGIMES, DRIFT):
        scale = np.exp(2.0 * gain * kappa * gamma * xi / DRIFT_TICKS * inside)
        total = np.concatenate([[0.0], np.cumsum(0.5 * (scale[1:] + scale[:-1]))])
        out[regime] = float(1.0 - np.interp(-start_ticks, x, total) / total[-1])
    right = [p if EXPECTED[r] == "reject" else 1.0 - p for r, p in out.items()]
    return {**out, "reject_of_decided": float(np.dot(PRIORS, list(out.values()))), "accuracy": float(np.dot(PRIORS, right))}


def same_shares(counts: tuple[float, ...], others: tuple[float, ...]) -> float:
    """Probability of a difference at least as large between two samples of the same outcomes (chi-square of homogeneity).

    `counts` and `others` have the count of each outcome, none of which is nought in both.
    """
    from scipy.stats import chi2_contingency

    return float(chi2_contingency(np.array([counts, others])).pvalue)


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


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
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
    return _softmax(np.log(law.priors) + np.stack([s[..., 0], -s[..., 0], s[..., 1]], axis=-1))


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
