"""Tuning on history (neighbours K, power of the similarity, weight alpha of the reference, abstention bound) and the posterior."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.params import RetrievalParams
from engine.retrieval.reader import logit
from engine.retrieval.scores import Floats, Labels
from engine.retrieval.search import Pool, search


@dataclass(frozen=True)
class Tuned:
    """Tuned parameters: neighbours, power of the similarity, weight of the reference.

    `loss` is the leave-own-session-out log loss on history in nats, NaN where nothing was tuned; a likeness (`Answer.likeness`) below
    `abstain_below` abstains. `noise` has of each class the mean square difference in history between the log odds of these forecasts and of
    the reader's (`engine.retrieval.reader.intervals`).
    """

    k: int
    power: float
    alpha: float
    loss: float
    abstain_below: float
    noise: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Fields for a manifest; NaN and infinity as null."""
        return {k: list(v) if isinstance(v, tuple) else v if np.isfinite(v) else None for k, v in asdict(self).items()}


ORIGINAL = Tuned(20, 1.0, 0.0, float("nan"), -np.inf)
"""The original recipe: 20 neighbours, equal weights, no reference."""


def tuned_from_json(value: dict[str, Any]) -> Tuned:
    """The `Tuned` of a `Tuned.to_json` value."""
    unknown: dict[str, Any] = {"loss": float("nan"), "abstain_below": -np.inf}
    known: dict[str, Any] = {k: unknown[k] if v is None else v for k, v in value.items()}
    return Tuned(**known | {"noise": tuple(known["noise"])})


def leave_own_session_out(pool: Pool, vectors: NDArray[np.float32], k: int, params: RetrievalParams) -> tuple[Labels, Labels, Floats]:
    """(chosen rows, neighbours, similarities) of evenly spaced events of history, with neighbours from other sessions only."""
    n = len(pool)
    chosen = np.unique(np.linspace(0, n - 1, min(n, params.tune_queries)).round().astype(np.int64))
    rows = np.empty((len(chosen), k), np.int64)
    similarity = np.empty((len(chosen), k))
    sessions = pool.sessions[chosen]
    for session in np.unique(sessions):
        mine = sessions == session
        rows[mine], similarity[mine] = search(pool, vectors[chosen[mine]], k, *pool.span(int(session)), cap=params.cap, without=True)
    return chosen, rows, similarity


def abstention_bound(pool: Pool, vectors: NDArray[np.float32], params: RetrievalParams) -> float:
    """Abstention bound: a low quantile of the similarity of history's events to their nearest neighbour in other sessions."""
    return float(np.quantile(leave_own_session_out(pool, vectors, 1, params)[2][:, 0], params.abstain_quantile))


def tune(pool: Pool, vectors: NDArray[np.float32], labels: Labels, toward: Floats, read: Floats, params: RetrievalParams) -> Tuned:
    """The best of the grid by leave-own-session-out log loss on history.

    Counts are shrunken toward `toward`, and compared with the reader's forecasts `read`, both ``(n, classes)``, cross-fitted.
    """
    sizes = [k for k in params.k_grid if k <= len(pool) // 3] or [min(params.k_grid)]
    chosen, rows, similarity = leave_own_session_out(pool, vectors, max(sizes), params)
    classes = toward.shape[1]
    near = np.where(rows >= 0, labels[np.maximum(rows, 0)], -1)
    y, reference = labels[chosen], toward[chosen]
    best: tuple[Tuned, Floats] | None = None
    below = float(np.quantile(similarity[:, 0], params.abstain_quantile))
    for power in params.power_grid:
        w = weights_of(similarity, power)
        for k in sizes:
            n_eff = effective_number(w[:, :k])
            if np.mean(n_eff < params.min_n_eff) > 0.05 and best is not None:
                continue  # this setting would abstain too often
            phat = shares(w[:, :k], near[:, :k], classes)
            for alpha in params.alpha_grid:
                p = posterior(phat, n_eff, reference, alpha)
                loss = float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())
                if best is None or loss < best[0].loss:
                    best = Tuned(k, power, alpha, loss, below), p
    assert best is not None
    noise = ((logit(best[1]) - logit(read[chosen])) ** 2).mean(axis=0)
    return replace(best[0], noise=tuple(float(v) for v in noise))


# ----------------------------------------------------------------------------
# Neighbours to probabilities: weights, effective number, Dirichlet posterior (retrieval.md)


def weights_of(similarity: Floats, power: float) -> Floats:
    """Weights of neighbours, ``max(similarity, 0) ** power``, in the same shape; 0 where there is no neighbour."""
    return np.asarray(np.maximum(similarity, 0.0) ** power)


def effective_number(weights: Floats) -> Floats:
    """Effective number of neighbours, ``(sum w)^2 / sum w^2`` over the last axis (Kish 1965); 0 where all weights are 0."""
    squares = (weights * weights).sum(axis=-1)
    return np.divide(weights.sum(axis=-1) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)


def shares(weights: Floats, labels: Labels, classes: int) -> Floats:
    """Weighted class shares of neighbours ``(q, k)``, ``(q, classes)``; zeros where there is no weight."""
    sums = np.stack([(weights * (labels == c)).sum(axis=-1) for c in range(classes)], axis=-1)
    total = sums.sum(axis=-1, keepdims=True)
    return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)


def posterior(phat: Floats, n_eff: Floats, toward: Floats, alpha: float) -> Floats:
    """Posterior class probabilities ``(q, classes)``: ``(n_eff phat + alpha toward) / (n_eff + alpha)``, the mean of a Dirichlet."""
    return np.asarray((n_eff[:, None] * phat + alpha * toward) / (n_eff[:, None] + alpha))


def weighted_quantile(values: Floats, weights: Floats, q: float) -> Floats:
    """Weighted quantile of each row of ``(n, k)``: the smallest value at which the cumulative weight reaches the share `q`, ``(n,)``.

    NaN values and zero weights are ignored; NaN where none are left.
    """
    w = np.where(np.isfinite(values), weights, 0.0)
    order = np.argsort(np.where(w > 0, values, np.inf), axis=1, kind="stable")
    w = np.take_along_axis(w, order, axis=1)
    total = np.cumsum(w, axis=1)
    # Tolerance, so that rounding in the sum does not decide between two values.
    reached = total >= q * total[:, -1:] * (1 - 1e-12)
    at = np.take_along_axis(order, reached.argmax(axis=1)[:, None], axis=1)
    picked = np.take_along_axis(values, at, axis=1)[:, 0]
    return np.where(total[:, -1] > 0, picked, np.nan)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Weighted mean of each row over its finite values; NaN where there are none."""
    w = np.where(np.isfinite(values), weights, 0.0)
    total = w.sum(axis=1)
    sums = (np.where(np.isfinite(values), values, 0.0) * w).sum(axis=1)
    return np.divide(sums, total, out=np.full(len(values), np.nan), where=total > 0)
