"""From neighbours to probabilities: weights, effective number, Dirichlet posterior, interval (retrieval.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def weights_of(similarity: Floats, power: float) -> Floats:
    """``max(similarity, 0) ** power``; shape kept, 0 where there is no neighbour."""
    return np.asarray(np.maximum(similarity, 0.0) ** power)


def effective_number(weights: Floats) -> Floats:
    """``(sum w)^2 / sum w^2`` over the last axis (Kish 1965); 0 where there is no weight."""
    squares = (weights * weights).sum(axis=-1)
    return np.divide(weights.sum(axis=-1) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)


def shares(weights: Floats, labels: NDArray[np.int64], classes: int) -> Floats:
    """Weighted class shares of neighbours ``(q, k)``, ``(q, classes)``; zeros where there is no weight."""
    sums = np.stack([(weights * (labels == c)).sum(axis=-1) for c in range(classes)], axis=-1)
    total = sums.sum(axis=-1, keepdims=True)
    return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)


def posterior(phat: Floats, n_eff: Floats, pi: Floats, alpha: float) -> Floats:
    """``(n_eff phat + alpha pi) / (n_eff + alpha)``, the mean of a Dirichlet; ``(q, classes)``."""
    return np.asarray((n_eff[:, None] * phat + alpha * pi) / (n_eff[:, None] + alpha))


def interval(p: Floats, n_eff: Floats, alpha: float, mass: float) -> tuple[Floats, Floats]:
    """Central interval of each class's probability under that Dirichlet: its marginals are Beta; two ``(q, classes)``."""
    from scipy.stats import beta

    total = (n_eff + alpha)[:, None]
    a, b = np.maximum(total * p, 1e-6), np.maximum(total * (1 - p), 1e-6)
    return beta.ppf((1 - mass) / 2, a, b), beta.ppf((1 + mass) / 2, a, b)


def weighted_quantile(values: Floats, weights: Floats, q: float) -> Floats:
    """Quantile of each row: the least value at which the weights of it and all below reach the share `q`.

    Parameters
    ----------
    values : float64 ``(n, k)``
        NaN is left out.
    weights : float64 ``(n, k)``
        0 is left out, too.

    Returns
    -------
    float64 ``(n,)``
        NaN where nothing is left.
    """
    w = np.where(np.isfinite(values), weights, 0.0)
    order = np.argsort(np.where(w > 0, values, np.inf), axis=1, kind="stable")
    w = np.take_along_axis(w, order, axis=1)
    total = np.cumsum(w, axis=1)
    # The last bit of a sum must not decide between two values.
    reached = total >= q * total[:, -1:] * (1 - 1e-12)
    at = np.take_along_axis(order, reached.argmax(axis=1)[:, None], axis=1)
    picked = np.take_along_axis(values, at, axis=1)[:, 0]
    return np.where(total[:, -1] > 0, picked, np.nan)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Weighted mean of each row over the values that are known; NaN where none is."""
    w = np.where(np.isfinite(values), weights, 0.0)
    total = w.sum(axis=1)
    sums = (np.where(np.isfinite(values), values, 0.0) * w).sum(axis=1)
    return np.divide(sums, total, out=np.full(len(values), np.nan), where=total > 0)
