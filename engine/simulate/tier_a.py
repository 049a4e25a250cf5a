"""Tier A: paths from a known Gaussian law and labels from a known posterior, so that the best possible log loss is known exactly.

Tests of retrieval need data on which the right answer is a number. Paths are stationary AR(1) in time with
features correlated in a known way; the label's probabilities are a softmax of linear scores of the path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLASSES = ("break", "reject", "chop")


@dataclass(frozen=True)
class Law:
    """The law of tier A.

    Attributes
    ----------
    windows, features : int
        Shape of a path.
    persistence : float
        AR(1) coefficient from window to window, in [0, 1).
    correlation : float
        Correlation between any two features at a time, in [0, 1).
    strength : float
        Standard deviation of each score; 0 makes labels that no path tells anything about.
    priors : tuple of float
        Class probabilities at scores of zero.
    decay : float
        Weight of a window relative to the one after it: the last windows matter most.
    """

    windows: int = 24
    features: int = 10
    persistence: float = 0.7
    correlation: float = 0.3
    strength: float = 1.0
    priors: tuple[float, float, float] = (0.36, 0.47, 0.17)
    decay: float = 0.85


@dataclass(frozen=True)
class Sample:
    """Draws from a `Law`.

    Attributes
    ----------
    paths : float64 ``(n, windows, features)``
    posterior : float64 ``(n, 3)``
        Exact probabilities of `CLASSES` given the path.
    labels : int64 ``(n,)``
        Positions in `CLASSES`, drawn from the posterior.
    sessions : int64 ``(n,)``
        Session number, rising; what is split by session is split by this.
    """

    paths: NDArray[np.float64]
    posterior: NDArray[np.float64]
    labels: NDArray[np.int64]
    sessions: NDArray[np.int64]

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
