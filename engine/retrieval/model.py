"""`Model`: everything fitted on history (normalisation, embedding, reference, tuned K, p, alpha), and forecasts from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData
from engine.params import RetrievalParams, Target
from engine.retrieval.embedding import Embedding, Normaliser, fit_embedding, fit_normaliser, fold_of_session, unit
from engine.retrieval.events import CLASSES, Events
from engine.retrieval.reference import Reference, fit_reference
from engine.retrieval.scores import Floats, Labels, paired_error
from engine.retrieval.search import Pool, make_pool, search
from engine.retrieval.tune import ORIGINAL, Tuned, abstention_bound, effective_number, posterior, shares, tune, weights_of

Recipe = Literal["learned", "plain", "original", "best"]
"""How vectors are compared. `learned`: embedded; `plain`: normalised; `original`: normalised, 20 neighbours, no smoothing; `best`:
`learned` where its loss on history is lower by more than one standard error of the difference, else `plain`."""

MIN_SHARE = 1e-3
"""Minimum share of a class among the original's 20 neighbours; 0 would make the log loss infinite."""


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted forecaster.

    Attributes
    ----------
    history, labels : Events, int64 ``(n,)``
        Candidate neighbours: labelled, usable, in time order; row for row those of `pool`.
    outline : Pool or None
        Outlines of history (`Embedding.outline`), row for row as in `pool`; None without an embedding.
    """

    target: Target
    recipe: Recipe
    params: RetrievalParams
    normaliser: Normaliser
    embedding: Embedding | None
    reference: Reference
    tuned: Tuned
    history: Events
    labels: Labels
    pool: Pool
    outline: Pool | None = None

    @property
    def classes(self) -> int:
        """Number of classes of the target."""
        return class_count(self.target)

    def place(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors ``(n, m)`` of raw ones ``(n, d)``, comparable with `pool`; a row that is zero or not finite becomes zero."""
        scaled, directed = _scaled(self.normaliser, matrix)
        vectors = unit(scaled) if self.embedding is None else self.embedding.place(scaled)
        vectors[~directed] = 0
        return vectors


def _scaled(normaliser: Normaliser, matrix: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    directed = np.isfinite(matrix).all(axis=1) & (matrix != 0).any(axis=1)
    return normaliser.scale(np.where(directed[:, None], matrix, 0.0).astype(np.float32)), directed


def class_count(target: Target) -> int:
    """Number of classes of a target."""
    return len(CLASSES) if target == "class" else 2


def target_labels(events: Events, target: Target, horizon: str) -> Labels:
    """Labels of the events for a target; -1 where there is none."""
    return events.labels(horizon) if target == "class" else events.touches()


def fit(events: Events, params: RetrievalParams, *, recipe: Recipe = "learned", target: Target = "class") -> Model:
    """A model fitted on `events`, all of which are history.

    Raises `NoData` where history is too short; names how much there is and how much is needed.
    """
    labels = target_labels(events, target, params.horizon)
    keep = (labels >= 0) & events.usable
    history, labels = events.take(keep), labels[keep]
    sessions = len(np.unique(history.sessions))
    if len(history) < params.min_events or sessions < params.min_sessions:
        raise NoData(
            f"too few events: expected at least {params.min_events} with an outcome in {params.min_sessions} sessions of history, found "
            f"{len(history)} in {sessions}; add and run more dates"
        )
    classes = class_count(target)
    normaliser = fit_normaliser(history.matrix, params.clip)
    scaled = normaliser.scale(history.matrix)
    reference = fit_reference(history, labels, classes)
    pi = _cross_fitted_reference(history, labels, classes, params.folds, reference.strength)
    codes = history.session_codes, history.episode_codes

    def candidate(vectors: NDArray[np.float32], embedding: Embedding | None) -> _Fit:
        pool = make_pool(vectors, *codes)
        if recipe == "original":
            return _Fit(ORIGINAL, np.zeros(0), np.zeros(0, np.int64), None, pool)
        return _Fit(*tune(pool, vectors, labels, pi, params), embedding, pool)

    best: _Fit | None = None
    if recipe in ("learned", "best"):
        made = fit_embedding(scaled, labels, history.session_codes, classes=classes, dims=params.dims, folds=params.folds)
        if made is not None:
            embeddings = [replace(made[0], residual=residual) for residual in params.residual_grid]
            best = min((candidate(e.place(scaled, made[1]), e) for e in embeddings), key=lambda f: f.tuned.loss, default=None)
    if best is None or recipe == "best":
        plain = candidate(unit(scaled), None)
        best = plain if best is None or not _significantly_better(best, plain, history.session_codes) else best
    outline, tuned = None, best.tuned
    if best.embedding is not None:
        vectors = best.embedding.outline(scaled)
        outline = make_pool(vectors, *codes)
        tuned = replace(tuned, abstain_below=abstention_bound(outline, vectors, params))
    named: Recipe = recipe if recipe != "best" else "plain" if best.embedding is None else "learned"
    return Model(target, named, params, normaliser, best.embedding, reference, tuned, history, labels, best.pool, outline)


def fit_with_touch(events: Events, params: RetrievalParams, recipe: Recipe) -> tuple[Model, Model | None]:
    """A model of the classes and one of the touch, which is None where there are too few events for it; raises as `fit`."""
    model = fit(events, params, recipe=recipe)
    try:
        return model, fit(events, params, recipe=model.recipe, target="touch")
    except NoData:
        return model, None


@dataclass(frozen=True, eq=False)
class _Fit:
    """A candidate recipe: its tuning, the loss of each tuning event, the rows of those events, embedding and pool."""

    tuned: Tuned
    losses: Floats
    chosen: Labels
    embedding: Embedding | None
    pool: Pool


def _significantly_better(a: _Fit, b: _Fit, sessions: Labels) -> bool:
    """Whether `a` has a lower loss than `b` on history by more than one standard error (Breiman et al. 1984)."""
    difference = b.losses - a.losses
    return bool(difference.mean() > paired_error(difference, sessions[a.chosen]))


def _cross_fitted_reference(history: Events, labels: Labels, classes: int, folds: int, strength: float) -> Floats:
    group = fold_of_session(history.session_codes, folds)
    pi = np.empty((len(history), classes))
    for g in range(folds):
        inside = group == g
        if inside.any():
            rest = fit_reference(history.take(~inside), labels[~inside], classes, strength=strength or None)
            pi[inside] = rest.predict(history.take(inside))
    return pi


def retune(model: Model, pool: Pool, rows: Labels, outline: Pool | None) -> Tuned:
    """K, power and alpha tuned on a subset of the model's history: `rows`, whose vectors are in `pool` and `outline`.

    A subset with too few sessions or events takes the values of all of history; the abstention bound is always its own.
    """
    if model.recipe == "original":
        return model.tuned
    compared = pool if outline is None else outline
    below = abstention_bound(compared, compared.index.reconstruct_n(0, len(compared)), model.params)
    tuned = model.tuned
    if len(rows) >= model.params.min_events and len(np.unique(pool.sessions)) >= model.params.min_sessions:
        history, labels = model.history.take(rows), model.labels[rows]
        pi = _cross_fitted_reference(history, labels, model.classes, model.params.folds, model.reference.strength)
        tuned = tune(pool, pool.index.reconstruct_n(0, len(pool)), labels, pi, model.params)[0]
    return replace(tuned, abstain_below=below)


@dataclass(frozen=True, eq=False)
class Answer:
    """Forecasts of queries.

    Attributes
    ----------
    probability, reference : float64 ``(q, classes)``
    rows : int64 ``(q, k)``
        Neighbours as rows of `Model.history`, most similar first; -1 where there are fewer.
    similarity, weights : float64 ``(q, k)``
    n_eff, likeness : float64 ``(q,)``
        `likeness` is the cosine to the most similar event of history: of the normalised vectors, or of their outlines where embedded.
    nothing_comparable : bool ``(q,)``
    """

    probability: Floats
    reference: Floats
    n_eff: Floats
    rows: Labels
    similarity: Floats
    weights: Floats
    likeness: Floats
    nothing_comparable: NDArray[np.bool_]


def forecast(model: Model, queries: Events, *, start: int = 0, end: int | None = None, without: bool = False) -> Answer:
    """Neighbours and posterior of each query among rows ``[start, end)`` of the model's history; with `without`, among all others."""
    end = len(model.pool) if end is None else end
    t = model.tuned
    rows, similarity = search(model.pool, model.place(queries.matrix), t.k, start, end, cap=model.params.cap, without=without)
    w = np.where(rows >= 0, weights_of(similarity, t.power), 0.0)
    n_eff = effective_number(w)
    near = np.where(rows >= 0, model.labels[np.maximum(rows, 0)], -1)
    phat = shares(w, near, model.classes)
    pi = model.reference.predict(queries)
    likeness = similarity[:, 0]
    if model.recipe == "original":
        floored = np.maximum(phat, MIN_SHARE)
        return Answer(floored / floored.sum(axis=1, keepdims=True), pi, n_eff, rows, similarity, w, likeness, np.zeros(len(queries), bool))
    if model.embedding is not None and model.outline is not None:
        scaled, directed = _scaled(model.normaliser, queries.matrix)
        outlines = np.where(directed[:, None], model.embedding.outline(scaled), np.float32(0))
        likeness = search(model.outline, outlines, 1, start, end, cap=1, without=without)[1][:, 0]
    nothing = (likeness < t.abstain_below) | (n_eff < model.params.min_n_eff)
    return Answer(posterior(phat, n_eff, pi, t.alpha), pi, n_eff, rows, similarity, w, likeness, nothing)
