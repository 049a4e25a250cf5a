"""Walking forward by session: what is fitted on which past, and scored on which sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData
from engine.retrieval.events import Events
from engine.retrieval.model import Recipe, class_count, fit, forecast, target_labels
from engine.retrieval.params import AuditParams, Target
from engine.retrieval.reference import fit_reference

Dates = NDArray[np.datetime64]
Floats = NDArray[np.float64]
Step = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Block:
    """Sessions scored by one fit.

    Attributes
    ----------
    before : datetime64
        Only sessions before this one are fitted on, and are candidates.
    sessions : datetime64 ``(m,)``
        Sessions scored.
    """

    before: np.datetime64
    sessions: Dates


@dataclass(frozen=True, eq=False)
class Walked:
    """Forecasts of one forecaster.

    Attributes
    ----------
    probability : float64 ``(n, classes)``
        One row per event of the walk, NaN where it is not scored.
    abstained : bool ``(n,)``
        Whether it said "nothing comparable"; the probability stands there all the same.
    """

    probability: Floats
    abstained: NDArray[np.bool_]


def schedule(sessions: Dates, labels: NDArray[np.int64], params: AuditParams) -> list[Block]:
    """When everything is refitted: at the first session with enough history, and whenever history has grown by ``refit_growth``.

    A block's first session decides what all its sessions are fitted on (the sessions before its day minus 1), so a block's
    later sessions are forecast from a slightly older past than they could be. A block's start depends on earlier
    sessions alone: taking one away changes nothing before it.
    """
    days, at = np.unique(sessions, return_inverse=True)
    labelled = np.bincount(at, weights=labels >= 0, minlength=len(days))
    embargo = params.retrieval.embargo_sessions
    known = np.concatenate([[0.0], np.cumsum(labelled)])
    busy = np.concatenate([[0], np.cumsum(labelled > 0)])
    out: list[Block] = []
    s = 0
    while s < len(days):
        past = max(s - embargo, 0)
        if known[past] < params.retrieval.min_events or busy[past] < params.retrieval.min_sessions:
            s += 1
            continue
        step = max(1, int(params.refit_growth * past))
        out.append(Block(days[past], days[s : s + step]))
        s += step
    return out


def scored_rows(events: Events, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that count: `arm` events, one per episode, with a label."""
    return (events.frame["kind"] == "arm").to_numpy() & (labels >= 0)


def _empty(n: int, classes: int) -> Walked:
    return Walked(np.full((n, classes), np.nan), np.zeros(n, bool))


def walk_reference(events: Events, blocks: Sequence[Block], params: AuditParams, target: Target) -> Walked:
    """pi of every event of the blocks."""
    classes = class_count(target)
    labels = target_labels(events, target, params.retrieval.horizon)
    use = scored_rows(events, labels)
    out = _empty(len(events), classes)
    for b in blocks:
        past, now = use & (events.sessions < b.before), use & np.isin(events.sessions, b.sessions)
        if now.any():
            out.probability[now] = fit_reference(events.take(past), labels[past], classes).predict(events.take(now))
    return out


def walk_neighbours(
    groups: Sequence[tuple[Events, NDArray[np.int64]]],
    n: int,
    blocks: Sequence[Block],
    params: AuditParams,
    target: Target,
    recipe: Recipe,
    step: Step,
) -> Walked:
    """kNN forecasts of every event of the blocks.

    Parameters
    ----------
    groups
        Events that share a pool, each with the walk's row of every one of them.
    n
        Rows of the walk.
    """
    out = _empty(n, class_count(target))
    for b in blocks:
        for events, rows in groups:
            labels = target_labels(events, target, params.retrieval.horizon)
            use = scored_rows(events, labels)
            past, now = use & (events.sessions < b.before), use & np.isin(events.sessions, b.sessions)
            if not now.any():
                continue
            queries, at = events.take(now), rows[now]
            try:
                model = fit(events.take(past), params.retrieval, recipe=recipe, target=target)
            except NoData:
                out.probability[at] = fit_reference(events.take(past), labels[past], class_count(target)).predict(queries)
                out.abstained[at] = True
                continue
            answer = forecast(model, queries)
            out.probability[at], out.abstained[at] = answer.probability, answer.nothing_comparable
        step(recipe)
    return out


def walk_trees(events: Events, blocks: Sequence[Block], params: AuditParams, target: Target, step: Step) -> Walked:
    """LightGBM on the raw vectors and the covariates: what a strong learner makes of the same past."""
    classes = class_count(target)
    labels = target_labels(events, target, params.retrieval.horizon)
    use = scored_rows(events, labels)
    out = _empty(len(events), classes)
    table = np.column_stack([events.matrix, events.covariates])
    for b in blocks:
        past, now = use & (events.sessions < b.before), use & np.isin(events.sessions, b.sessions)
        if now.any():
            out.probability[now] = _trees(table[past], labels[past], table[now], classes, params.seed)
        step("lightgbm")
    return out


def _trees(x: Floats, y: NDArray[np.int64], queries: Floats, classes: int, seed: int) -> Floats:
    import lightgbm

    # Shallow, slow and strongly regularised: fitted on hundreds of events, anything larger loses to pi.
    options = {"learning_rate": 0.03, "num_leaves": 7, "min_data_in_leaf": 30, "lambda_l2": 5.0}
    sampled = {"feature_fraction": 0.5, "bagging_fraction": 0.7, "bagging_freq": 1, "seed": seed}
    fixed = {"objective": "multiclass", "num_class": classes, "verbosity": -1, "num_threads": 1, "deterministic": True}
    rounds = 150 if len(x) < 3000 else 300
    booster = lightgbm.train({**options, **sampled, **fixed}, lightgbm.Dataset(x, y), num_boost_round=rounds)
    return np.asarray(booster.predict(queries), float).reshape(-1, classes)
