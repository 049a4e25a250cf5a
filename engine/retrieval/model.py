"""`Model`: everything fitted on history (normalisation, embedding, reference, tuned K, p, alpha), and forecasts from it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData
from engine.params import RetrievalParams, Target
from engine.retrieval.attention import layout_of
from engine.retrieval.embedding import Embedding, Normaliser, fit_embedding, fit_normaliser, fold_of_session, unit
from engine.retrieval.events import CLASSES, Events, concat_events
from engine.retrieval.reader import Interval, Reader, Reading, fit_reader, intervals, logit
from engine.retrieval.reference import Reference, fit_reference, physical_axes, softmax
from engine.retrieval.scores import Floats, Labels
from engine.retrieval.search import Pool, make_pool, search
from engine.retrieval.stack import VIEWS, Stack, fit_stack
from engine.retrieval.tune import ORIGINAL, Tuned, abstention_bound, effective_number, posterior, shares, tune, weights_of
from engine.retrieval.usual import Usual, evenly, usual_of

Recipe = Literal["stack", "attention", "wall", "learned", "plain", "original", "best"]
"""How vectors are compared. `learned`: embedded by what the reader says of them, and counted toward the reader; `wall`: the same of the
wall features alone; `attention`, `stack`: the same with what attention over the windows says of both, or several views together
(`engine.retrieval.stack`); `plain`: normalised, counted toward the reference; `original`: normalised, 20 neighbours, no smoothing; `best`:
the first of `wall`, where triggers have them, and `learned` whose reader finds an effect in history (its loss on sessions left out is lower
by more than one standard error than without one), else `plain`."""

EMBEDDED = ("wall", "learned", "attention", "stack")
"""Recipes that compare what is read of a vector."""

WALLED = ("wall", "attention", "stack")
"""Recipes that compare wall features: each event of history needs them."""

MIN_SHARE = 1e-3
"""Minimum share of a class among the original's 20 neighbours; 0 would make the log loss infinite."""


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted forecaster.

    Attributes
    ----------
    names : tuple of str
        Dimensions that are compared, which queries must have among theirs.
    history, labels : Events, int64 ``(n,)``
        Candidate neighbours: labelled, usable, in time order; row for row those of `pool`, with the dimensions `names` alone.
    reader : Reader or None
        What the intervals are made with, and the `learned` recipe's target of shrinkage; None for the original recipe.
    outline : Pool or None
        Outlines of history (`Embedding.outline`), row for row as in `pool`; None without an embedding.
    stack : Stack or None
        What the recipes `attention` and `stack` read with, beyond the reader.
    toward, odds : float64 ``(n, classes)`` or None
        Cross-fitted of history: the forecasts that counts are shrunken toward, and the log odds that the reader gives, by which it is
        placed. `toward` is None in a model read from files, `odds` in a kept fit that places nothing by them.
    later : int
        How many of the last events of history were placed since (`extend`): nothing was fitted on them.
    """

    target: Target
    recipe: Recipe
    params: RetrievalParams
    names: tuple[str, ...]
    normaliser: Normaliser
    embedding: Embedding | None
    reference: Reference
    reader: Reader | None
    tuned: Tuned
    history: Events
    labels: Labels
    pool: Pool
    outline: Pool | None = None
    toward: Floats | None = None
    odds: Floats | None = None
    stack: Stack | None = None
    later: int = 0

    @property
    def found(self) -> bool:
        """Whether the reader, or the stack, finds an effect of the vectors in history."""
        if self.stack is not None:
            return self.stack.effect.signal > 0
        return self.reader is not None and self.reader.vector.signal > 0

    @property
    def classes(self) -> int:
        """Number of classes of the target."""
        return class_count(self.target)

    @cached_property
    def read(self) -> Floats | None:
        """The reader's cross-fitted forecasts of history, ``(n, classes)``."""
        return None if self.odds is None else softmax(self.odds)

    @cached_property
    def usual(self) -> Usual:
        """What usually stands in a vector, given the rest of it."""
        some = self.history.matrix[evenly(len(self.history))]
        return usual_of(self.normaliser.scale(np.asarray(some, np.float32)))

    def scaled(self, matrix: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Normalised vectors ``(n, d)`` of raw ones, and which have a direction ``(n,)``: one that is zero or not finite has none."""
        directed = np.isfinite(matrix).all(axis=1) & (matrix != 0).any(axis=1)
        return self.normaliser.scale(np.where(directed[:, None], matrix, 0.0).astype(np.float32)), directed

    def reading(self, queries: Events, scaled: NDArray[np.float32], directed: NDArray[np.bool_]) -> Reading | None:
        """What reader or stack say of queries; of those without a direction, by the covariates alone. None without a reader."""
        if self.reader is None:
            return None
        if self.stack is None:
            return self.reader.read(scaled, queries, self.reference, directed)
        return self.stack.read(self.reader, self.reference, queries, scaled, directed)

    def vectors(
        self, queries: Events, scaled: NDArray[np.float32], directed: NDArray[np.bool_], reading: Reading | None
    ) -> NDArray[np.float32]:
        """Unit vectors ``(n, m)`` of queries, comparable with `pool`; zero of those without a direction."""
        if self.embedding is None or reading is None:
            vectors = unit(scaled)
        else:
            vectors = self.embedding.place(scaled, reading.odds, physical_axes(queries, self.reference.fill))
        vectors[~directed] = 0
        return vectors


Fits = tuple[Model, Model | None]
"""A model of the classes, and one of the touch, None where there are too few events for it."""


def class_count(target: Target) -> int:
    """Number of classes of a target."""
    return len(CLASSES) if target == "class" else 2


def target_labels(events: Events, target: Target, horizon: str) -> Labels:
    """Labels of the events for a target; -1 where there is none."""
    return events.labels(horizon) if target == "class" else events.touches()


def columns_of(events: Events, recipe: Recipe) -> Events:
    """The events with the dimensions that a recipe compares: those of the wall, all others, or both where several views look at them."""
    from engine.features.vector import WALL

    if recipe in VIEWS:
        return events
    return events.only(WALL if recipe == "wall" else tuple(n for n in events.names if n not in WALL))


def fit(events: Events, params: RetrievalParams, *, recipe: Recipe = "learned", target: Target = "class", must_find: bool = False) -> Model:
    """A model fitted on `events`, all of which are history.

    Raises `NoData` where history is too short; names how much there is and how much is needed. With `must_find` also where the reader
    finds no effect of the vectors.
    """
    from engine.features.vector import WALL

    if recipe == "best" and set(WALL) <= set(events.names):
        with suppress(NoData):  # fewer triggers may have wall features than have vectors
            return fit(events, params, recipe="wall", target=target, must_find=True)
    events = columns_of(events, recipe)
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
    codes = history.session_codes, history.episode_codes
    if recipe == "original":
        pool = make_pool(unit(scaled), *codes)
        return Model(target, recipe, params, history.names, normaliser, None, reference, None, ORIGINAL, history, labels, pool)
    group = fold_of_session(history.session_codes, params.folds)
    pi = _cross_fitted_reference(history, labels, classes, group, reference.strength)
    views = VIEWS.get(recipe)
    # Windows finer than the bins are the attention's: the reader reads bins, as it does of `means`.
    reader, odds = fit_reader(history, layout_of(history.names).flat(scaled) if views else scaled, labels, pi, reference, group)
    if must_find and reader.vector.signal <= 0:
        raise NoData("no effect of the vectors was found in history")
    stack, known = None, softmax(odds)
    if views:
        stack, odds = fit_stack(views, history, scaled, labels, pi, odds, reference, group)
    read = softmax(odds)

    def candidate(vectors: NDArray[np.float32], embedding: Embedding | None, toward: Floats) -> _Fit:
        pool = make_pool(vectors, *codes)
        return _Fit(tune(pool, vectors, labels, toward, read, params), embedding, pool, toward)

    if recipe == "best":
        recipe = "learned" if reader.vector.signal else "plain"
    if recipe in EMBEDDED:
        physical = physical_axes(history, reference.fill)
        made = fit_embedding(scaled, odds, physical, params.dims)
        embeddings = [replace(made, residual=residual) for residual in params.residual_grid]
        best = min((candidate(e.place(scaled, odds, physical), e, read) for e in embeddings), key=lambda f: f.tuned.loss)
    else:
        best = candidate(unit(scaled), None, pi)
    outline, tuned = None, best.tuned
    if best.embedding is not None:
        vectors = best.embedding.outline(scaled)
        outline = make_pool(vectors, *codes)
        tuned = replace(tuned, abstain_below=abstention_bound(outline, vectors, params))
    if stack is not None:
        # Its interval is the reader's, wider by how far they are from each other: which of the two is nearer the truth is not known, and if
        # each is as often, the truth is half the mean square of their difference from the stack.
        apart = ((logit(read) - logit(known)) ** 2).mean(axis=0) / 2
        tuned = replace(tuned, noise=tuple(float(a + b) for a, b in zip(tuned.noise, apart)))
    return Model(
        target, recipe, params, history.names, normaliser, best.embedding, reference, reader, tuned, history, labels, best.pool, outline,
        best.toward, odds, stack,
    )  # fmt: skip


GROWTH, MOST_LATER = 0.15, 25
"""Growth of history, in sessions, at which everything is fitted again, and most sessions; those between are placed by the fit before
(`extend`), which must read them for the first question: 25 take .7 s."""


def fitted_sessions(sessions: int, least: int) -> int:
    """How many of history's first sessions everything is fitted on: all where they are fewer than `least`."""
    n = min(least, sessions)
    while n >= least and n + (step := min(max(1, int(GROWTH * n)), MOST_LATER)) <= sessions:
        n += step
    return n


def fit_before(past: Events, params: RetrievalParams, recipe: Recipe, days: NDArray[np.datetime64] | None = None) -> Fits:
    """Models of the classes and of the touch for queries after `past`: fitted on its first sessions, later ones placed.

    `days` are the sessions of history, those without an event in `past` among them; those of `past` where None. Where the first ones are
    too few, everything is fitted on all; raises `NoData` where these are, too.
    """
    days = np.unique(past.sessions) if days is None else days
    first = np.zeros(len(past), bool)
    if len(days):
        first = past.sessions <= days[fitted_sessions(len(days), params.min_sessions) - 1]
    try:
        fits = fit_with_touch(past.take(first), params, recipe)
    except NoData:
        if first.all():
            raise
        return fit_with_touch(past, params, recipe)
    return extended(fits, past.take(~first))


def extended(fits: Fits, later: Events) -> Fits:
    """Both models with later events of history (`extend`)."""
    model, touch = fits
    return extend(model, later), None if touch is None else extend(touch, later)


def fit_with_touch(events: Events, params: RetrievalParams, recipe: Recipe) -> Fits:
    """A model of the classes and one of the touch, which is None where there are too few events for it; raises as `fit`.

    Where the recipe is `best`, each is the best for its own target.
    """
    model = fit(events, params, recipe=recipe)
    try:
        return model, fit(events, params, recipe=recipe, target="touch")
    except NoData:
        return model, None


@dataclass(frozen=True, eq=False)
class _Fit:
    """A candidate: its tuning, embedding and pool, and the forecasts that its counts are shrunken toward."""

    tuned: Tuned
    embedding: Embedding | None
    pool: Pool
    toward: Floats


def extend(model: Model, later: Events) -> Model:
    """The model with later events of history, placed as queries are: nothing is fitted again, and they may be neighbours.

    `later` are of sessions after those of the model's history.
    """
    labels = target_labels(later, model.target, model.params.horizon)
    later = later.only(model.names)
    keep = (labels >= 0) & later.usable
    later, labels = later.take(keep), labels[keep]
    if not len(later):
        return model
    scaled, directed = model.scaled(later.matrix)
    reading = model.reading(later, scaled, directed)
    placed = model.vectors(later, scaled, directed, reading)
    bare = Events(later.matrix[:, : len(model.history.names)], model.history.names, model.history.representation, later.frame)
    history = concat_events([model.history, bare])
    codes = history.session_codes, history.episode_codes

    def longer(pool: Pool, vectors: NDArray[np.float32]) -> Pool:
        return make_pool(np.concatenate([pool.index.reconstruct_n(0, len(pool)), vectors]), *codes)

    outline = model.outline
    if model.embedding is not None and outline is not None:
        outline = longer(outline, model.embedding.outline(scaled))
    odds = None if model.odds is None or reading is None else np.concatenate([model.odds, reading.odds])
    return replace(
        model, history=history, labels=np.concatenate([model.labels, labels]), pool=longer(model.pool, placed), outline=outline,
        toward=None, odds=odds, later=model.later + len(later),
    )  # fmt: skip


def _cross_fitted_reference(history: Events, labels: Labels, classes: int, group: Labels, strength: float) -> Floats:
    pi = np.empty((len(history), classes))
    for g in np.unique(group):
        inside = group == g
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
        assert model.toward is not None
        assert model.read is not None
        vectors = pool.index.reconstruct_n(0, len(pool))
        tuned = tune(pool, vectors, model.labels[rows], model.toward[rows], model.read[rows], model.params)
        if model.stack is not None:  # how far it is from the reader is known of all of history
            tuned = replace(tuned, noise=model.tuned.noise)
    return replace(tuned, abstain_below=below)


@dataclass(frozen=True, eq=False)
class Answer:
    """Forecasts of queries.

    Attributes
    ----------
    probability, reference, toward : float64 ``(q, classes)``
        Posterior, reference forecast, and what counts are shrunken toward: the reader's where embedded, else the reference.
    interval, reading : Interval, Reading, or None
        Intervals of mass ``params.interval``, and what the reader says; None for the original recipe.
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
    toward: Floats
    interval: Interval | None
    reading: Reading | None


def forecast(model: Model, queries: Events, *, start: int = 0, end: int | None = None, without: bool = False) -> Answer:
    """Neighbours and posterior of each query among rows ``[start, end)`` of the model's history; with `without`, among all others."""
    queries = queries.only(model.names)
    end = len(model.pool) if end is None else end
    t = model.tuned
    scaled, directed = model.scaled(queries.matrix)
    reading = model.reading(queries, scaled, directed)
    vectors = model.vectors(queries, scaled, directed, reading)
    rows, similarity = search(model.pool, vectors, t.k, start, end, cap=model.params.cap, without=without)
    w = np.where(rows >= 0, weights_of(similarity, t.power), 0.0)
    n_eff = effective_number(w)
    near = np.where(rows >= 0, model.labels[np.maximum(rows, 0)], -1)
    phat = shares(w, near, model.classes)
    pi = model.reference.predict(queries)
    likeness = similarity[:, 0]
    if reading is None:
        floored = np.maximum(phat, MIN_SHARE)
        p = floored / floored.sum(axis=1, keepdims=True)
        return Answer(p, pi, n_eff, rows, similarity, w, likeness, np.zeros(len(queries), bool), pi, None, None)
    if model.embedding is not None and model.outline is not None:
        outlines = np.where(directed[:, None], model.embedding.outline(scaled), np.float32(0))
        likeness = search(model.outline, outlines, 1, start, end, cap=1, without=without)[1][:, 0]
    nothing = (likeness < t.abstain_below) | (n_eff < model.params.min_n_eff)
    toward = pi if model.embedding is None else reading.probability
    p = posterior(phat, n_eff, toward, t.alpha)
    interval = intervals(p, pi, reading, np.array(t.noise), model.params.interval)
    return Answer(p, pi, n_eff, rows, similarity, w, likeness, nothing, toward, interval, reading)
