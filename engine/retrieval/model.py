"""Everything that is fitted on history, in one object: normalisation, embedding, reference, and the tuned K, p, alpha."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData
from engine.retrieval.events import CLASSES, Events
from engine.retrieval.learned import Embedding, fit_embedding, groups_of
from engine.retrieval.normalise import Normaliser, fit_normaliser, unit
from engine.retrieval.params import RetrievalParams, Target
from engine.retrieval.posterior import effective_number, posterior, shares, weights_of
from engine.retrieval.reference import Reference, fit_reference
from engine.retrieval.search import Pool, make_pool, search

Recipe = Literal["learned", "plain", "original"]
"""`learned` embeds; `plain` compares normalised vectors; `original` does too, with 20 neighbours and no smoothing."""

ORIGINAL_K = 20
FLOOR = 1e-3
"""A share of nothing among the original's 20 neighbours counts as this: else its log loss is infinite."""


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
        Best similarity below which nothing is comparable.
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


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted forecaster: history, how it is compared, and how it is counted.

    Attributes
    ----------
    history : Events
        Candidates: labelled, with a direction, in time order; row for row those of `pool`.
    labels : int64 ``(n,)``
    pool : Pool
    """

    target: Target
    recipe: Recipe
    params: RetrievalParams
    normaliser: Normaliser
    embedding: Embedding | None
    reference: Reference
    tuned: Tuned
    history: Events
    labels: NDArray[np.int64]
    pool: Pool

    @property
    def classes(self) -> int:
        """Number of classes of the target."""
        return class_count(self.target)

    def place(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw vectors to unit vectors as they stand in the pool; rows without a direction are zero."""
        return place(self.normaliser, self.embedding, matrix)


def place(normaliser: Normaliser, embedding: Embedding | None, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raw vectors ``(n, d)`` to unit vectors ``(n, m)``; a raw row that is zero or not finite becomes zero, and is like nothing."""
    directed = np.isfinite(matrix).all(axis=1) & (matrix != 0).any(axis=1)
    scaled = normaliser.scale(np.where(directed[:, None], matrix, 0.0).astype(np.float32))
    vectors = unit(scaled) if embedding is None else embedding.place(scaled)
    vectors[~directed] = 0
    return vectors


def class_count(target: Target) -> int:
    """Number of classes of a target."""
    return len(CLASSES) if target == "class" else 2


def target_labels(events: Events, target: Target, horizon: str) -> NDArray[np.int64]:
    """Labels of a target; -1 where there is none."""
    return events.labels(horizon) if target == "class" else events.touches()


def fit(events: Events, params: RetrievalParams, *, recipe: Recipe = "learned", target: Target = "class") -> Model:
    """Fit everything on `events`, all of which are history.

    Raises
    ------
    NoData
        Where history is too short; it says how much there is and how much is needed.
    """
    labels = target_labels(events, target, params.horizon)
    keep = (labels >= 0) & events.usable
    history, labels = events.take(keep), labels[keep]
    sessions = len(np.unique(history.sessions))
    if len(history) < params.min_events or sessions < params.min_sessions:
        raise NoData(
            f"too few events: expected at least {params.min_events} with an outcome in {params.min_sessions} sessions of history, found "
            f"{len(history)} in {sessions}; `spymaster run --layer gold` over more dates makes more"
        )
    classes = class_count(target)
    normaliser = fit_normaliser(history.matrix, params.clip)
    scaled = normaliser.scale(history.matrix)
    reference = fit_reference(history, labels, classes)
    pi = _cross_fitted_reference(history, labels, classes, params.folds, reference.strength)
    embedding: Embedding | None = None
    scores: NDArray[np.float64] | None = None
    if recipe == "learned":
        made = fit_embedding(scaled, labels, history.session_codes, classes=classes, dims=params.dims, folds=params.folds)
        if made is not None:
            embedding, scores = made
    candidates = [replace(embedding, residual=r) for r in params.residual_grid] if embedding is not None else [None]
    best: tuple[Tuned, Embedding | None, Pool] | None = None
    for candidate in candidates:
        vectors = unit(scaled) if candidate is None else candidate.place(scaled, scores)
        pool = make_pool(vectors, history.session_codes, history.episode_codes)
        tuned = _original(params) if recipe == "original" else _tune(pool, vectors, labels, pi, params)
        if best is None or tuned.loss < best[0].loss:
            best = tuned, candidate, pool
    assert best is not None
    tuned, embedding, pool = best
    return Model(target, recipe, params, normaliser, embedding, reference, tuned, history, labels, pool)


def _cross_fitted_reference(history: Events, labels: NDArray[np.int64], classes: int, folds: int, strength: float) -> NDArray[np.float64]:
    group = groups_of(history.session_codes, folds)
    pi = np.empty((len(history), classes))
    for g in range(folds):
        inside = group == g
        if inside.any():
            rest = fit_reference(history.take(~inside), labels[~inside], classes, strength=strength or None)
            pi[inside] = rest.predict(history.take(inside))
    return pi


def _own_session_out(
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


def _abstain_below(similarity: NDArray[np.float64], quantile: float) -> float:
    return float(np.quantile(similarity[:, 0], quantile))


def _original(params: RetrievalParams) -> Tuned:
    return Tuned(ORIGINAL_K, 1.0, 0.0, float("nan"), -np.inf)


def _tune(pool: Pool, vectors: NDArray[np.float32], labels: NDArray[np.int64], pi: NDArray[np.float64], params: RetrievalParams) -> Tuned:
    """The grid's best by log loss on history, each event judged by the neighbours it has in other sessions."""
    sizes = [k for k in params.k_grid if k <= len(pool) // 3] or [min(params.k_grid)]
    chosen, rows, similarity = _own_session_out(pool, vectors, max(sizes), params)
    classes = pi.shape[1]
    near = np.where(rows >= 0, labels[np.maximum(rows, 0)], -1)
    y, reference = labels[chosen], pi[chosen]
    best: Tuned | None = None
    below = _abstain_below(similarity, params.abstain_quantile)
    for power in params.power_grid:
        w = weights_of(similarity, power)
        for k in sizes:
            n_eff = effective_number(w[:, :k])
            if np.mean(n_eff < params.min_n_eff) > 0.05 and best is not None:
                continue  # such a setting would abstain too often to be of use
            phat = shares(w[:, :k], near[:, :k], classes)
            for alpha in params.alpha_grid:
                p = posterior(phat, n_eff, reference, alpha)
                loss = float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())
                if best is None or loss < best.loss:
                    best = Tuned(k, power, alpha, loss, below)
    assert best is not None
    return best


def retune(model: Model, pool: Pool, rows: NDArray[np.int64]) -> Tuned:
    """K, power and alpha for a part of the model's history, `rows` of it, of which `pool` holds the vectors.

    A part with too few sessions or events to judge a grid by keeps what all of history chose, but for the abstention bound.
    """
    history = model.history.take(rows)
    vectors = pool.index.reconstruct_n(0, len(pool))
    few = len(rows) < model.params.min_events or len(np.unique(pool.sessions)) < model.params.min_sessions
    if model.recipe == "original":
        return model.tuned
    if few:
        _, _, similarity = _own_session_out(pool, vectors, 1, model.params)
        return replace(model.tuned, abstain_below=_abstain_below(similarity, model.params.abstain_quantile))
    pi = _cross_fitted_reference(history, model.labels[rows], model.classes, model.params.folds, model.reference.strength)
    return _tune(pool, vectors, model.labels[rows], pi, model.params)


@dataclass(frozen=True, eq=False)
class Answer:
    """Forecasts of queries.

    Attributes
    ----------
    probability, reference : float64 ``(q, classes)``
    n_eff : float64 ``(q,)``
    rows : int64 ``(q, k)``
        Neighbours as rows of `Model.history`, most similar first; -1 where there are fewer.
    similarity, weights : float64 ``(q, k)``
    nothing_comparable : bool ``(q,)``
    """

    probability: NDArray[np.float64]
    reference: NDArray[np.float64]
    n_eff: NDArray[np.float64]
    rows: NDArray[np.int64]
    similarity: NDArray[np.float64]
    weights: NDArray[np.float64]
    nothing_comparable: NDArray[np.bool_]


def forecast(model: Model, queries: Events, *, start: int = 0, end: int | None = None, without: bool = False) -> Answer:
    """Neighbours and posterior of each query among rows ``[start, end)`` of the model's history, or among all others."""
    end = len(model.pool) if end is None else end
    t = model.tuned
    rows, similarity = search(model.pool, model.place(queries.matrix), t.k, start, end, cap=model.params.cap, without=without)
    w = np.where(rows >= 0, weights_of(similarity, t.power), 0.0)
    n_eff = effective_number(w)
    near = np.where(rows >= 0, model.labels[np.maximum(rows, 0)], -1)
    phat = shares(w, near, model.classes)
    pi = model.reference.predict(queries)
    if model.recipe == "original":
        floored = np.maximum(phat, FLOOR)
        return Answer(floored / floored.sum(axis=1, keepdims=True), pi, n_eff, rows, similarity, w, np.zeros(len(queries), bool))
    nothing = (similarity[:, 0] < t.abstain_below) | (n_eff < model.params.min_n_eff)
    return Answer(posterior(phat, n_eff, pi, t.alpha), pi, n_eff, rows, similarity, w, nothing)
