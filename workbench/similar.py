"""Similar setups of the moment on the screen, asked of the engine and kept for all tabs; computes nothing of its own.

What is asked takes seconds the first time in a session: a page asks with `find_aside` in a thread (`workbench.views.later`), and goes on.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from engine.errors import EngineError, RunFailed
from engine.lake.catalog import TRIGGERS
from engine.vocab import root_of
from workbench import data

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    import polars as pl

    from engine.retrieval.gold import TriggerKnobs
    from engine.retrieval.neighbours import Fitted, Neighbours, Scope
    from engine.retrieval.reference import Reference

P = ParamSpec("P")
T = TypeVar("T")
Mode = Literal["walk_forward", "all"]
Pool = Literal["all", "kind", "level"]

_ONE = threading.Lock()


@dataclass(frozen=True)
class Question:
    """What is asked: the window of a session that ended at `end_ns`, at a level, and of which setups.

    Attributes
    ----------
    mode : str
        ``walk_forward``: sessions before, on which all is fitted. ``all``: every other session, from the index.
    pool : str
        Setups at all levels, at levels of this one's kind, or at this level and in this direction alone.
    horizon : str
        The outcome for which neighbours are weighed, ``h0`` to ``h6``; in mode ``all`` it is the index's.
    direction : str or None
        ``approach_up`` or ``approach_down``; the side on which price stands where None.
    """

    root: str
    symbol: str
    date: dt.date
    level_id: str
    end_ns: int
    mode: Mode = "walk_forward"
    pool: Pool = "all"
    horizon: str = "h1"
    direction: str | None = None


@dataclass(frozen=True, eq=False)
class Similar:
    """What similar setups did.

    Attributes
    ----------
    question : Question
    answer : Neighbours
    outcomes : DataFrame
        `engine.retrieval.horizons.COLUMNS`.
    horizon : str
        For which the neighbours were weighed: the index has its own.
    """

    question: Question
    answer: Neighbours
    outcomes: pl.DataFrame
    horizon: str

    @property
    def forecast(self) -> dict[str, Any]:
        """The forecast's row."""
        return self.answer.forecast.row(0, named=True)

    @property
    def trigger(self) -> dict[str, Any]:
        """The query's own row: approach, distance, touch number, confluence."""
        return self.answer.query.frame.row(0, named=True)


def find(question: Question) -> Similar:
    """Similar setups, from memory while the lake is unchanged.

    Raises
    ------
    EngineError
        Where there is no gold, no index, too little history, or no such moment; it names the command that helps.
    """
    q = question
    stamp = index_stamp(q.root) if q.mode == "all" else gold_stamp(q.root)
    return _find(q, stamp, data.stamp(q.root, q.symbol, q.date))


def find_aside(question: Question) -> Similar:
    """As `find`, in a process of its own that the whole server shares.

    A fit takes some seconds: in a thread of the server it held up the page (p95 of a level's change then: 290 to 440 ms, beside a process
    of its own 160 ms, with neither 120 ms).

    Raises
    ------
    RunFailed
        Where the process was ended.
    """
    return _aside(find, question)


def forecast_aside(root: str, trigger_id: str, horizon: str) -> dict[str, Any]:
    """The forecast's row of a trigger in gold, from the sessions before it; in the process of `find_aside`.

    Raises
    ------
    EngineError
        Where there is no such trigger or too little history.
    """
    return _aside(_forecast, root, trigger_id, horizon)


def _forecast(root: str, trigger_id: str, horizon: str) -> dict[str, Any]:
    from engine.retrieval.neighbours import neighbours, trigger_query
    from engine.retrieval.params import RetrievalParams

    lake = data.open_lake(root)
    found = neighbours(lake, trigger_query(lake, trigger_id), params=RetrievalParams(horizon=horizon))  # type: ignore[arg-type]
    return found.forecast.row(0, named=True)


def _aside(work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    try:
        with _ONE:
            asked = _process().submit(work, *args, **more)
        return asked.result()
    except BrokenProcessPool as e:
        _process.cache_clear()
        raise RunFailed("the process that compares setups was ended, as a system short of memory does; change anything to ask again") from e


AHEAD_AFTER_S = 5.0
"""A page that is opened as soon as the server answers took a second longer while the process began."""


def begin_aside(root: str, symbol: str, date: dt.date) -> None:
    """A moment from now, let the process fit what the first question about a session asks of."""

    def begin() -> None:
        with _ONE:
            _process().submit(_fit_ahead, root, symbol, date)

    later = threading.Timer(AHEAD_AFTER_S, begin)
    later.daemon = True
    later.start()


def _fit_ahead(root: str, symbol: str, date: dt.date) -> None:
    from engine.retrieval.gold import MIRROR
    from engine.retrieval.neighbours import Scope

    # What it has to say is said when the question is asked.
    with suppress(EngineError):
        scope = Scope("means", MIRROR, "all", "", date, root_of(symbol).code)
        _fitted(root, scope, Question(root, symbol, date, "", 0).horizon, gold_stamp(root))


@lru_cache(maxsize=1)
def _process() -> ProcessPoolExecutor:
    # One worker: two tabs that ask of the same session shall not fit it twice. Spawned, since a fork would copy locks that threads hold.
    return ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """In the new process: give way to the screen, and end with the server, however that ends."""
    if hasattr(os, "nice"):
        os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the server says good-bye, once
    server = parent_process()
    if server is not None:
        threading.Thread(target=_end_with, args=(server,), daemon=True).start()


def _end_with(server: BaseProcess) -> None:
    server.join()
    os._exit(0)


@lru_cache(maxsize=48)
def _find(q: Question, stamp: str, session_stamp: str) -> Similar:
    from engine.retrieval.horizons import horizon_table
    from engine.retrieval.moment import moment_events
    from engine.retrieval.neighbours import ask, scope_of

    lake = data.open_lake(q.root)
    price = float(q.level_id.removeprefix("price:")) if q.level_id.startswith("price:") else None
    query = moment_events(lake, q.symbol, q.date, q.level_id, q.end_ns, price=price, approach=q.direction)
    what, references = _fitted(q.root, scope_of(query, q.pool, q.mode), q.horizon, stamp)
    found = ask(what, query)
    seconds = knobs(q.root, q.symbol, q.date).setups.horizons_s
    return Similar(q, found, horizon_table(found, what.model, references, seconds), what.model.params.horizon)


@lru_cache(maxsize=6)
def _fitted(root: str, scope: Scope, horizon: str, stamp: str) -> tuple[Fitted, dict[str, Reference]]:
    from engine.retrieval.horizons import horizon_references
    from engine.retrieval.neighbours import fitted
    from engine.retrieval.params import RetrievalParams

    params = None if scope.mode == "all" else RetrievalParams(horizon=horizon)  # type: ignore[arg-type]
    what = fitted(data.open_lake(root), scope, params=params)
    return what, horizon_references(what.model)


def gold_stamp(root: str) -> str:
    """What the lake says of its trigger vectors now."""
    from engine.lake.manifest import sha256_text

    lake = data.open_lake(root)
    return sha256_text("/".join(f"{s}{d}{lake.manifest(TRIGGERS, s, d).digest()}" for s, d in sorted(lake.partitions(TRIGGERS))))


def index_stamp(root: str) -> str:
    """Digest of the index; raises as `engine.retrieval.open.check_index` where it is missing, or not of the lake as it is now."""
    from engine.lake.manifest import canonical, sha256_text
    from engine.retrieval.open import check_index, read_index_manifest

    lake = data.open_lake(root)
    manifest = read_index_manifest(lake)
    check_index(lake, manifest)
    return sha256_text(canonical(manifest))


def knobs(root: str, symbol: str, date: dt.date) -> TriggerKnobs:
    """What the session's triggers are made with: reach of an approach, barrier, horizons."""
    from engine.retrieval.gold import knobs_of

    return knobs_of(data.open_lake(root), symbol, date)
