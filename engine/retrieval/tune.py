"""What is tuned inside the fold: neighbours, power of the similarity, weight of the reference, and the bound of abstention."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.params import RetrievalParams
from engine.retrieval.search import Pool, search

ORIGINAL_K = 20


@dataclass(frozen=True)
class Tuned:
    """What the fold chose.

    Attributes
    ----------
    k, power, alpha
        Neighbours, power of the similarity, weight of the reference.
    loss : float
        Log loss of history's own events under leave-own-session-out, nats; NaN where nothing was tuned.
    abstain_below : float
        Likeness (`Answer.likeness`) below which nothing is comparable.
    """

    k: int
    power: float
    alpha: float
    loss: float
    abstain_below: float

    def to_json(self) -> dict[str, float | None]:
        """For a manifest; what is not a number is null."""
        return {k: v if np.isfinite(v) else None for k, v in asdict(self).items()}


def tuned_from_json(value: dict[str, Any]) -> Tuned:
    """Back from `Tuned.to_json`."""
    loss, below = value["loss"], value["abstain_below"]
    return Tuned(value["k"], value["power"], value["alpha"], float("nan") if loss is None else loss, -np.inf if below is None else below)


def own_session_out(
    pool: Pool, vectors: NDArray[np.float32], k: int, params: RetrievalParams
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(chosen rows, neighbours, similarities) of evenly spaced events of history among all other sessions."""
    n = len(pool)
    chosen = np.unique(np.linspace(0, n - 1, min(n, params.tune_queries)).round().astype(np.int64))
    rows = np.empty((len(chosen), k), np.int64)
    similarity = np.empty((len(chosen), k))
    sessions = pool.sessions[chosen]
    for session in np.unique(sessions):
        mine = sessions == session
        rows[mine], similarity[mine] = search(pool, vectors[chosen[mine]], k, *pool.span(int(session)), cap=params.cap, without=True)
    return chosen, rows, similarity


def least_likeness(pool: Pool, vectors: NDArray[np.float32], params: RetrievalParams) -> float:
    """The quantile of history's likeness to the most alike of other sessions."""
    _, _, similarity = own_session_out(pool, vectors, 1, params)
    return float(np.quantile(similarity[:, 0], params.abstain_quantile))


def original_tuning(params: RetrievalParams) -> tuple[Tuned, NDArray[np.float64], NDArray[np.int64]]:
    """The original's 20 neighbours, all alike, and no reference; nothing is tuned, so there are no losses."""
    return Tuned(ORIGINAL_K, 1.0, 0.0, float("nan"), -np.inf), np.zeros(0), np.zeros(0, np.int64)


def tune(
    pool: Pool, vectors: NDArray[np.float32], labels: NDArray[np.int64], pi: NDArray[np.float64], params: RetrievalParams
) -> tuple[Tuned, NDArray[np.float64], NDArray[np.int64]]:
    """The grid's best by log loss on history, each event judged by the neighbours it has in other sessions."""
    sizes = [k for k in params.k_grid if k <= len(pool) // 3] or [min(params.k_grid)]
    chosen, rows, similarity = own_session_out(pool, vectors, max(sizes), params)
    classes = pi.shape[1]
    near = np.where(rows >= 0, labels[np.maximum(rows, 0)], -1)
    y, reference = labels[chosen], pi[chosen]
    best: tuple[Tuned, NDArray[np.float64]] | None = None
    below = float(np.quantile(similarity[:, 0], params.abstain_quantile))
    for power in params.power_grid:
        w = weights_of(similarity, power)
        for k in sizes:
            n_eff = effective_number(w[:, :k])
            if np.mean(n_eff < params.min_n_eff) > 0.05 and best is not None:
                continue  # such a setting would abstain too often to be of use
            phat = shares(w[:, :k], near[:, :k], classes)
            for alpha in params.alpha_grid:
                p = posterior(phat, n_eff, reference, alpha)
                losses = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12))
                loss = float(losses.mean())
                if best is None or loss < best[0].loss:
                    best = Tuned(k, power, alpha, loss, below), losses
    assert best is not None
    return *best, chosen


# ----------------------------------------------------------------------------
# From neighbours to probabilities: weights, effective number, Dirichlet posterior, interval (retrieval.md)

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
