"""Walk-forward evaluation by session: the refit schedule, and forecasts of the reference, the neighbours and gradient-boosted trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData
from engine.params import AuditParams, Target
from engine.retrieval.events import NO_LABEL, Events, Progress, beside
from engine.retrieval.model import Recipe, class_count, fit, forecast, target_labels
from engine.retrieval.reference import fit_reference
from engine.retrieval.scores import Floats, Labels
from engine.retrieval.stack import VIEWS, boosted
from engine.runner import wait_for_some

Dates = NDArray[np.datetime64]
Mask = NDArray[np.bool_]
Group = tuple[Events, Labels]
Step = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Block:
    """Sessions (``datetime64 (m,)``) scored by one fit; only sessions before `before` are used for fitting and as neighbours."""

    before: np.datetime64
    sessions: Dates


@dataclass(frozen=True, eq=False)
class WalkForwardResult:
    """Forecasts of one forecaster.

    `probability`, float64 ``(n, classes)``, has a row per event, NaN where it is not scored. `abstained` ``(n,)`` says whether the forecast
    was flagged "nothing comparable"; its probability is recorded nevertheless. `found` ``(n,)`` says whether the reader of the event's
    history found an effect of its vectors there; False of what has no reader.
    """

    probability: Floats
    abstained: Mask
    found: Mask


def schedule(sessions: Dates, labels: Labels, params: AuditParams) -> list[Block]:
    """The refit schedule: a new block at the first session with enough history, and whenever history has grown by ``refit_growth``.

    All sessions of a block are forecast from the history of its first one (less the embargo), so later ones from a slightly older past
    than possible. The start of a block depends on earlier sessions only.
    """
    days, at = np.unique(sessions, return_inverse=True)
    labelled = np.bincount(at, weights=labels >= 0, minlength=len(days))
    embargo = params.retrieval.embargo_sessions
    known = np.concatenate([[0.0], np.cumsum(labelled)])
    busy = np.concatenate([[0], np.cumsum(labelled > 0)])
    out, s = list[Block](), 0
    while s < len(days):
        past = max(s - embargo, 0)
        if known[past] < params.retrieval.min_events or busy[past] < params.retrieval.min_sessions:
            s += 1
            continue
        step = max(1, int(params.refit_growth * past))
        out.append(Block(days[past], days[s : s + step]))
        s += step
    return out


def scored_rows(events: Events, labels: Labels) -> Mask:
    """Mask of the rows that are scored: `arm` events, one per episode, with a label."""
    return (events.frame["kind"] == "arm").to_numpy() & (labels >= 0)


def scored_labels(events: Events, target: Target, params: AuditParams) -> Labels:
    """Labels of the events for a target; -1 where an event is not scored."""
    labels = target_labels(events, target, params.retrieval.horizon)
    return np.where(scored_rows(events, labels), labels, NO_LABEL)


def _split(events: Events, labels: Labels, block: Block) -> tuple[Mask, Mask]:
    """Masks of the scored events of a block's history, and of its sessions."""
    return (labels >= 0) & (events.sessions < block.before), (labels >= 0) & np.isin(events.sessions, block.sessions)


def _empty(n: int, target: Target) -> WalkForwardResult:
    return WalkForwardResult(np.full((n, class_count(target)), np.nan), np.zeros(n, bool), np.zeros(n, bool))


def walk_reference(events: Events, blocks: Sequence[Block], params: AuditParams, target: Target) -> WalkForwardResult:
    """Reference forecasts pi of every event of the blocks."""
    labels, out = scored_labels(events, target, params), _empty(len(events), target)
    for b in blocks:
        past, now = _split(events, labels, b)
        if now.any():
            out.probability[now] = fit_reference(events.take(past), labels[past], class_count(target)).predict(events.take(now))
    return out


def walk_neighbours(
    groups: Sequence[Group], n: int, blocks: Sequence[Block], params: AuditParams, target: Target, recipe: Recipe, step: Step
) -> WalkForwardResult:
    """kNN forecasts of every event of the blocks, ``(n, classes)``; a group is a pool of events, with the result's row of each."""
    out = _empty(n, target)
    labelled = [(events, rows, scored_labels(events, target, params)) for events, rows in groups]
    for b in blocks:
        for events, rows, labels in labelled:
            past, now = _split(events, labels, b)
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
            out.probability[at], out.abstained[at], out.found[at] = answer.probability, answer.nothing_comparable, model.found
        step(recipe)
    return out


def walk_trees(events: Events, blocks: Sequence[Block], params: AuditParams, target: Target, step: Step) -> WalkForwardResult:
    """LightGBM forecasts from raw vectors and covariates, as a strong baseline fitted on the same history."""
    labels, out = scored_labels(events, target, params), _empty(len(events), target)
    table = np.column_stack([events.matrix, events.covariates])
    for b in blocks:
        past, now = _split(events, labels, b)
        if now.any():
            out.probability[now] = _trees(table[past], labels[past], table[now], class_count(target), params.seed)
        step("lightgbm")
    return out


def _trees(x: Floats, y: Labels, queries: Floats, classes: int, seed: int) -> Floats:
    return np.asarray(boosted(x, y, classes, seed).predict(queries), float).reshape(-1, classes)


# ----------------------------------------------------------------------------
# All representations of an audit, evaluated sequentially or in parallel

REPRESENTATIONS = ("pi", "blocks_original", "blocks", "means", "learned", "attention", "stack", "wall", "lightgbm")
"""Forecasters compared: the reference; the original recipe (20 neighbours of `blocks`, unsmoothed); `blocks` and `means` tuned and
smoothed; `learned`, an embedding of `means`; `attention` and `stack`, embeddings of their windows (`engine.retrieval.stack`); `wall`, one
of the wall features; gradient-boosted trees on `means`."""


RECIPES: dict[str, Recipe] = {
    "blocks_original": "original", "learned": "learned", "attention": "attention", "stack": "stack", "wall": "wall",
}  # fmt: skip
"""Recipes of the representations, ``plain`` where none is named."""


@dataclass(frozen=True, eq=False)
class AuditData:
    """The same triggers in the representations that an audit compares.

    Attributes
    ----------
    means : Events
        All triggers, both directions.
    blocks : sequence of Events
        The same triggers in the original schema, one `Events` per approach; may be empty.
    truth : float64 ``(len(means), 3)`` or None
        Exact class probabilities where the data are simulated.
    wall : Events or None
        The same triggers in wall features, row for row as `means`.
    windows : Events or None
        The same triggers in finer windows than the bins of `means`, row for row, for `attention` and `stack`; theirs are those bins where
        None.
    """

    means: Events
    blocks: Sequence[Events] = ()
    truth: Floats | None = None
    wall: Events | None = None
    windows: Events | None = None

    def events_for(self, name: str) -> Events:
        """The triggers as the forecaster `name` sees them, where that is not by `blocks`."""
        if name == "wall" and self.wall is not None:
            return self.wall
        if name not in VIEWS:
            return self.means
        windows = self.means if self.windows is None else self.windows
        return windows if self.wall is None else beside(windows, self.wall)


def walk_all(
    wanted: Sequence[str], data: AuditData, plans: dict[Target, list[Block]], p: AuditParams, step: Step, executor: Executor | None
) -> dict[Target, dict[str, WalkForwardResult]]:
    """Forecasts of each of `wanted` for every target; `step` is called with the name after each fit (with `executor`, as jobs finish)."""
    if executor is None:
        return {t: {name: _walk(name, data, blocks, p, t, step) for name in wanted} for t, blocks in plans.items()}
    # The slowest first, so that none runs alone at the end.
    jobs = {(t, name): executor.submit(_walk, name, data, blocks, p, t, _no_step) for name in wanted[::-1] for t, blocks in plans.items()}
    of = {future: job for job, future in jobs.items()}
    pending = set(of)
    while pending:
        done = wait_for_some(pending)
        pending -= done
        for target, name in (of[future] for future in done):
            for _ in range(0 if name == "pi" else len(plans[target])):
                step(name)
    return {t: {name: jobs[t, name].result() for name in wanted} for t in plans}


SERVED = ("wall", "learned", "means")
"""What serves over gold of `means`, in this order: the first whose reader finds an effect in the history before a query, the last in any
case. Declared before any audit, and so what the audit's verdict is about."""


def serve(walked: dict[str, WalkForwardResult], *, wall: bool) -> WalkForwardResult | None:
    """The forecasts of what serves (`SERVED`, without `wall` where there are no wall features), composed from those of each; None where
    one of them was not walked."""
    names = SERVED if wall else SERVED[1:]
    if any(name not in walked for name in names):
        return None
    *embedded, last = (walked[name] for name in names)
    out = WalkForwardResult(last.probability.copy(), last.abstained.copy(), np.zeros(len(last.abstained), bool))
    for w in embedded[::-1]:
        out.probability[w.found], out.abstained[w.found], out.found[w.found] = w.probability[w.found], w.abstained[w.found], True
    return out


def counting(progress: Progress | None, total: int) -> Step:
    """A `step` that counts up to `total`, for `progress`."""
    done = 0

    def step(what: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, what)

    return step


def _no_step(what: str) -> None:
    """A `step` that reports nothing, for other processes."""


def _walk(name: str, data: AuditData, blocks: Sequence[Block], p: AuditParams, target: Target, step: Step) -> WalkForwardResult:
    if name == "pi":
        return walk_reference(data.means, blocks, p, target)
    if name == "lightgbm":
        return walk_trees(data.means, blocks, p, target, step)
    groups: list[Group] = [(data.events_for(name), np.arange(len(data.means)))]
    if name.startswith("blocks"):
        place = {t: i for i, t in enumerate(data.means.frame["trigger_id"].to_list())}
        groups = [(e, np.array([place[t] for t in e.frame["trigger_id"].to_list()], np.int64)) for e in data.blocks]
    recipe: Recipe = RECIPES.get(name, "plain")
    keys = [e.pool_keys(p.retrieval.pool) for e, _ in groups]
    pools = [(e.take(own == k), rows[own == k]) for (e, rows), own in zip(groups, keys) for k in np.unique(own)]
    return walk_neighbours(pools, len(data.means), blocks, p, target, recipe, step)
