"""Everything that an audit compares, walked forward, one after the other or side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.retrieval.events import Events
from engine.retrieval.model import Recipe
from engine.retrieval.params import AuditParams, Target
from engine.retrieval.walk import Block, Walked, walk_neighbours, walk_reference, walk_trees

REPRESENTATIONS = ("pi", "blocks_original", "blocks", "means", "learned", "lightgbm")
"""What is compared: the reference; the original recipe (20 neighbours of `blocks`, unsmoothed); `blocks` and `means` tuned and
smoothed; `learned`, an embedding of `means`; trees on `means`."""


@dataclass(frozen=True, eq=False)
class AuditData:
    """The same triggers in the representations to compare.

    Attributes
    ----------
    means : Events
        All triggers, both directions.
    blocks : sequence of Events
        The same triggers in the original schema, one `Events` per approach; may be empty.
    truth : float64 ``(len(means), 3)`` or None
        Exact class probabilities where the data's law is known; rows as in `means`.
    """

    means: Events
    blocks: Sequence[Events] = ()
    truth: NDArray[np.float64] | None = None


def walk_all(
    wanted: Sequence[str],
    data: AuditData,
    plans: dict[Target, list[Block]],
    p: AuditParams,
    step: Callable[[str], None],
    executor: Executor | None,
) -> dict[Target, dict[str, Walked]]:
    """Forecasts of each of `wanted` for every target; `step` is told of each fit by name, as they end where `executor` walks them."""
    if executor is None:
        return {t: {name: _walk(name, data, blocks, p, t, step) for name in wanted} for t, blocks in plans.items()}
    # The slowest first, so that none is waited for alone at the end.
    jobs = {(t, name): executor.submit(_walk, name, data, blocks, p, t, _silent) for name in wanted[::-1] for t, blocks in plans.items()}
    of = {future: job for job, future in jobs.items()}
    for future in as_completed(of):
        target, name = of[future]
        for _ in range(0 if name == "pi" else len(plans[target])):
            step(name)
    return {t: {name: jobs[t, name].result() for name in wanted} for t in plans}


def _silent(what: str) -> None:
    """A walk in another process tells no steps."""


def _walk(name: str, data: AuditData, blocks: Sequence[Block], p: AuditParams, target: Target, step: Callable[[str], None]) -> Walked:
    if name == "pi":
        return walk_reference(data.means, blocks, p, target)
    if name == "lightgbm":
        return walk_trees(data.means, blocks, p, target, step)
    n = len(data.means)
    groups = [(data.means, np.arange(n))]
    if name.startswith("blocks"):
        place = {t: i for i, t in enumerate(data.means.frame["trigger_id"].to_list())}
        groups = [(e, np.array([place[t] for t in e.frame["trigger_id"].to_list()], np.int64)) for e in data.blocks]
    recipe: Recipe = "learned" if name == "learned" else "original" if name == "blocks_original" else "plain"
    keys = [e.pool_keys(p.retrieval.pool) for e, _ in groups]
    pools = [(e.take(own == k), rows[own == k]) for (e, rows), own in zip(groups, keys) for k in np.unique(own)]
    return walk_neighbours(pools, n, blocks, p, target, recipe, step)
