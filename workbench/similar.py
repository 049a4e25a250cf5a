"""Similar setups of the moment on the screen, asked of the engine and kept; computes nothing of its own."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.errors import EngineError
from engine.lake.catalog import TRIGGERS
from engine.params import ApproachParams, SetupParams
from workbench.data import open_lake

if TYPE_CHECKING:
    from engine.retrieval.neighbours import Fitted, Neighbours
    from engine.retrieval.reference import Reference

HORIZON_MINUTES = tuple(s / 60 for s in SetupParams().horizons_s)


@dataclass(frozen=True, eq=False)
class Similar:
    """What similar setups did.

    Attributes
    ----------
    answer : Neighbours
    outcomes : DataFrame
        `engine.retrieval.horizons.COLUMNS`.
    p_touch, pi_touch : float or None
        Probability of a touch, and what is usual at that distance and hour.
    """

    answer: Neighbours
    outcomes: pl.DataFrame
    p_touch: float | None
    pi_touch: float | None

    @property
    def forecast(self) -> dict[str, Any]:
        """The forecast's row."""
        return self.answer.forecast.row(0, named=True)

    @property
    def trigger(self) -> dict[str, Any]:
        """The query's own row: approach, distance, touch number, confluence."""
        return self.answer.query.frame.row(0, named=True)


def gold_stamp(root: str) -> str:
    """What the lake says of its trigger vectors now."""
    from engine.lake.manifest import sha256_text

    lake = open_lake(root)
    return sha256_text("/".join(f"{s}{d}{lake.manifest(TRIGGERS, s, d).digest()}" for s, d in sorted(lake.partitions(TRIGGERS))))


def index_stamp(root: str) -> str:
    """Digest of the index; raises as `engine.retrieval.open.check_index` where it is missing, or not of the lake as it is now."""
    from engine.lake.manifest import canonical, sha256_text
    from engine.retrieval.open import check_index, read_index_manifest

    lake = open_lake(root)
    manifest = read_index_manifest(lake)
    check_index(lake, manifest)
    return sha256_text(canonical(manifest))


def stamp_of(root: str, mode: str) -> str:
    """What an answer depends on beside the moment."""
    return index_stamp(root) if mode == "all" else gold_stamp(root)


def find(root: str, symbol: str, date: dt.date, level_id: str, end_ns: int, mode: str) -> Similar:
    """Similar setups of the window that ended at `end_ns`.

    Raises
    ------
    EngineError
        Where there is no index, too little history, or no such moment; it names the command that helps.
    """
    return _find(root, symbol, date, level_id, end_ns, mode, stamp_of(root, mode))


@lru_cache(maxsize=128)
def _find(root: str, symbol: str, date: dt.date, level_id: str, end_ns: int, mode: str, stamp: str) -> Similar:
    from engine.retrieval.horizons import horizon_table
    from engine.retrieval.moment import moment_events
    from engine.retrieval.neighbours import ask

    lake = open_lake(root)
    price = float(level_id.removeprefix("price:")) if level_id.startswith("price:") else None
    query = moment_events(lake, symbol, date, level_id, end_ns, price=price)
    what, references = _fitted(root, date if mode == "walk_forward" else None, mode, stamp, _Query(query))
    answer = ask(what, query)
    outcomes = horizon_table(answer, what.model, references, SetupParams().horizons_s)
    row = answer.forecast.row(0, named=True)
    p_touch, pi_touch = row["p_touch"], row["pi_touch"]
    if pi_touch is None and mode == "all":
        reference = _touch_reference(root, stamp)
        pi_touch = None if reference is None else float(reference.predict(query)[0, 1])
    return Similar(answer, outcomes, p_touch, pi_touch)


class _Query:
    """Carries a query past a cache: what is fitted depends on its session, which is in the key, and on nothing else of it."""

    def __init__(self, events: Any) -> None:
        self.events = events

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Query)


@lru_cache(maxsize=4)
def _fitted(root: str, session: dt.date | None, mode: str, stamp: str, query: _Query) -> tuple[Fitted, dict[str, Reference]]:
    from engine.retrieval.horizons import horizon_references
    from engine.retrieval.neighbours import fitted

    what = fitted(open_lake(root), query.events, mode=mode)  # type: ignore[arg-type]
    return what, horizon_references(what.model)


@lru_cache(maxsize=2)
def _touch_reference(root: str, stamp: str) -> Reference | None:
    from engine.retrieval.events import concat_events
    from engine.retrieval.gold import gold_events
    from engine.retrieval.reference import fit_reference

    groups = gold_events(open_lake(root), kinds=("arm",))
    events = concat_events(list(groups.values())) if len(groups) == 1 else next(iter(groups.values()))
    touches = events.touches()
    return fit_reference(events, touches, 2) if (touches >= 0).any() else None


def too_far(distance_ticks: int | None) -> bool:
    """Whether price is too far from the level for a setup: beyond the reach of an approach."""
    return distance_ticks is None or abs(distance_ticks) > ApproachParams().max_distance_ticks


def ready(root: str) -> str:
    """Empty where similar setups can be looked for; else what is missing, and the command that makes it."""
    try:
        index_stamp(root)
    except EngineError as e:
        return str(e)
    return ""
