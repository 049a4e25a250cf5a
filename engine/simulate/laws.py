"""The laboratory: laws of paths and outcomes whose exact posterior is known, beside tier A's own (`engine.simulate.oracle.Law`).

Paths are those of tier A: AR(1) from window to window, features equally correlated. What of a path tells the outcome differs by law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.simulate.oracle import Law, Sample, draw, posterior, softmax

Floats = NDArray[np.float64]

WINDOWS, FEATURES = Law.windows, Law.features
BURST_WINDOWS = 3
ONSETS = WINDOWS - BURST_WINDOWS + 1
"""First windows that a burst can have."""

RECENT = 9
"""Windows before the moment that `and_posterior` and `xor_posterior` look at."""

STEEP, AND_STRENGTH, XOR_STRENGTH = 2.5, 2.4, 1.2


def time_covariance() -> Floats:
    """Covariance of one feature over the windows, ``(windows, windows)``."""
    at = np.arange(WINDOWS)
    return np.asarray(Law.persistence ** np.abs(np.subtract.outer(at, at)))


def feature_covariance() -> Floats:
    """Covariance of the features in one window, ``(features, features)``."""
    return np.full((FEATURES, FEATURES), Law.correlation) + (1 - Law.correlation) * np.eye(FEATURES)


@lru_cache(maxsize=1)
def burst_means() -> Floats:
    """What a burst adds to a path, ``(2, onsets, windows, features)``: before a break and before a reject, by the window it begins in."""
    out = np.zeros((2, ONSETS, WINDOWS, FEATURES))
    for k in range(ONSETS):
        out[0, k, k : k + BURST_WINDOWS, [0, 2, 4]] = np.array([1.0, 1.0, -1.0])[:, None]
        out[1, k, k : k + BURST_WINDOWS, [1, 3, 5]] = np.array([1.0, -1.0, 1.0])[:, None]
    return out


def burst_odds(paths: Floats, amplitude: float) -> Floats:
    """Log likelihood ratio of a burst against none, ``(n, 2, onsets)``, exact for Gaussian paths."""
    means = amplitude * burst_means()
    weights = np.einsum("ts,kosf,fg->kotg", np.linalg.inv(time_covariance()), means, np.linalg.inv(feature_covariance()))
    return np.einsum("ntf,kotf->nko", paths, weights, optimize=True) - 0.5 * np.einsum("kotf,kotf->ko", weights, means)


def burst_posterior(paths: Floats, amplitude: float) -> Floats:
    """Exact class probabilities where a 15 s burst at an unknown time tells the outcome, ``(n, 3)``."""
    odds = burst_odds(paths, amplitude)
    top = odds.max(axis=2)
    ratio = top + np.log(np.exp(odds - top[:, :, None]).mean(axis=2))
    return softmax(np.log(Law.priors) + np.column_stack([ratio, np.zeros(len(paths))]))


def _recent(paths: Floats) -> Floats:
    last = time_covariance()[:RECENT, :RECENT]
    return np.asarray(paths[:, -RECENT:].mean(axis=1) / np.sqrt(last.sum() / RECENT**2))


def _gates(paths: Floats) -> Floats:
    soft = 1 / (1 + np.exp(-STEEP * _recent(paths)))
    return np.column_stack([soft[:, :4].prod(axis=1), soft[:, 4:8].prod(axis=1)])


@lru_cache(maxsize=1)
def _usual_gates() -> tuple[Floats, Floats]:
    usual = _gates(draw(Law(), 100_000, 5).paths)
    return usual.mean(axis=0), usual.std(axis=0)


def and_posterior(paths: Floats, strength: float) -> Floats:
    """Exact class probabilities where four conditions of the last 45 s must hold together, ``(n, 3)``."""
    mean, spread = _usual_gates()
    scores = AND_STRENGTH * strength * (_gates(paths) - mean) / spread
    return softmax(np.log(Law.priors) + np.column_stack([scores, np.zeros(len(paths))]))


def xor_posterior(paths: Floats, strength: float) -> Floats:
    """Exact class probabilities where products of two features tell the outcome and no feature by itself does, ``(n, 3)``."""
    z = _recent(paths)
    a, b = (np.clip(z[:, i] * z[:, i + 1] - Law.correlation, -3, 3) for i in (0, 2))
    return softmax(np.log(Law.priors) + XOR_STRENGTH * strength * np.column_stack([a, -a, b]))


def linear_posterior(paths: Floats, strength: float) -> Floats:
    """Tier A's own: two linear scores."""
    return posterior(Law(strength=strength), paths)


def _mix_posterior(paths: Floats, strength: float) -> Floats:
    a, b = linear_posterior(paths, 0.7 * strength), burst_posterior(paths, 0.5 * strength)
    return softmax(np.log(a) + np.log(b) - np.log(Law.priors))


@dataclass(frozen=True)
class Laboratory:
    """A law of the laboratory.

    `posterior` gives exact class probabilities of paths at a strength, 1 as usual and 0 for nothing to find; `amplitude` is the size of the
    bursts in the paths at strength 1, 0 where they have none; with `labels_first` the outcome decides what the path shows.
    """

    posterior: Callable[[Floats, float], Floats]
    amplitude: float = 0.0
    labels_first: bool = False


BURST = 0.65

LAWS = {
    "linear": Laboratory(linear_posterior),
    "burst": Laboratory(lambda paths, strength: burst_posterior(paths, BURST * strength), BURST, labels_first=True),
    "and": Laboratory(and_posterior),
    "xor": Laboratory(xor_posterior),
    "mix": Laboratory(_mix_posterior, 0.5),
}
"""Laws by name: linear; a burst at an unknown time; four conditions together; pure interaction; half linear, half bursts."""


def law_sample(name: str, n: int, seed: int, *, strength: float = 1.0, per_session: int = 20) -> Sample:
    """`n` paths of the law `name` with their exact posterior and labels; the same to the bit for the same arguments.

    ``linear`` is `draw` of tier A's law.
    """
    if name == "linear":
        return draw(Law(strength=strength), n, seed, per_session=per_session)
    law, made = LAWS[name], draw(Law(strength=0.0), n, seed, per_session=per_session)
    paths, (shown, onset, rng) = made.paths, _bursts(n, seed)
    for k in range(2) if law.amplitude else ():
        mine = shown == k
        paths[mine] += law.amplitude * strength * burst_means()[k, onset[mine]]
    p = law.posterior(paths, strength)
    labels = shown if law.labels_first else (rng.random(n)[:, None] > np.cumsum(p, axis=1)[:, :2]).sum(axis=1)
    return Sample(paths, p, labels.astype(np.int64), made.sessions)


def _bursts(n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], np.random.Generator]:
    rng = np.random.default_rng([seed, 78])
    shown = (rng.random(n)[:, None] > np.cumsum(Law.priors)[:2]).sum(axis=1)
    return shown, rng.integers(0, ONSETS, n), rng


def burst_onsets(n: int, seed: int) -> NDArray[np.int64]:
    """First window of the burst in each path of the law ``burst`` (`law_sample`), -1 where it has none."""
    shown, onset, _ = _bursts(n, seed)
    return np.where(shown < 2, onset, -1)
