"""What followed, by how many of the four conditions were open."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from engine.lake.catalog import TRIGGERS, VACUUM
from workbench.data import open_lake
from workbench.research.asked import Progress, Watched, market, nothing, stamp

if TYPE_CHECKING:
    from engine.retrieval.events import Events


def hypothesis(root: str, horizon: str, contract: str | None = None, progress: Progress = nothing) -> pl.DataFrame:
    """`engine.retrieval.hypothesis.condition_table` of the contract's market in the lake (of the only one where None).

    Raises
    ------
    EngineError
        Where the market has no gold, with the command that makes it.
    """
    with Watched(progress) as watched:
        return _hypothesis(root, horizon, market(contract), stamp(root, TRIGGERS, VACUUM), watched)


@lru_cache(maxsize=8)
def _hypothesis(root: str, horizon: str, of: str | None, mark: str, watched: Watched) -> pl.DataFrame:
    from engine.retrieval.hypothesis import condition_table
    from engine.retrieval.params import AuditParams, RetrievalParams

    events, conditions = _conditions(root, of, mark, watched)
    watched.tell(0, 0, "intervals and the reference of earlier sessions")
    return condition_table(events, conditions, AuditParams(retrieval=RetrievalParams(horizon=horizon)))  # type: ignore[arg-type]


@lru_cache(maxsize=2)
def _conditions(root: str, of: str | None, mark: str, watched: Watched) -> tuple[Events, pl.DataFrame]:
    from engine.retrieval.gold import condition_events

    return condition_events(open_lake(root), of, progress=watched.tell)
