"""Similar setups of the moment on the screen, asked of the engine once for all tabs; computes nothing of its own.

The first question of a session takes seconds: a page asks with `find_in_worker` in a thread (`workbench.views.background`).
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import EngineError, RunFailed, StaleIndex
from engine.lake.catalog import TRIGGERS, WALLS
from engine.lake.manifest import canonical, sha256_text
from engine.params import GoldParams, RetrievalParams
from engine.vocab import root_of
from workbench import lakes, live
from workbench.state import HORIZON_WORDS
from workbench.workers import process_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake
    from engine.retrieval.dataset import TriggerParams
    from engine.retrieval.events import Events
    from engine.retrieval.neighbours import Fitted, Neighbours, Scope

Mode = Literal["walk_forward", "all"]
Pool = Literal["all", "kind", "level"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """What is asked: the window of a session that ended at `end_ns`, at a level, and of which setups."""

    root: str
    symbol: str
    date: dt.date
    level_id: str
    end_ns: int
    mode: Mode = "walk_forward"  # sessions before, on which all is fitted; "all": every other session, from the index
    pool: Pool = "all"  # setups at all levels; "kind": at levels of this one's kind; "level": at this level in this direction alone
    horizon: str = "h1"  # of the outcomes that neighbours are weighed for, h0 to h6; an index of another one is refused
    direction: str | None = None  # "approach_up" or "approach_down"; from the side on which price is where None


@dataclass(frozen=True, eq=False)
class Similar:
    """What similar setups did."""

    question: Question
    answer: Neighbours
    outcomes: pl.DataFrame  # `engine.retrieval.neighbours.COLUMNS`
    weight: float  # of the neighbours against what they are shrunken toward, 0 to 1

    @property
    def forecast(self) -> dict[str, Any]:
        """The forecast's row."""
        return self.answer.forecast.row(0, named=True)

    def meets_rule(self) -> bool:
        """Whether the forecast meets the rule of gold's signals, as by itself."""
        import polars as pl

        from engine.retrieval.forecast import apply_signal_rule

        keys = self.answer.query.frame.select("level_id", "episode_id", "window_end_ts_ns")
        row = self.answer.forecast.select(c for c in self.answer.forecast.columns if c not in keys.columns)
        return bool(apply_signal_rule(pl.concat([keys, row], how="horizontal"))[0])

    @property
    def trigger(self) -> dict[str, Any]:
        """The query's own row: approach, distance, touch number, confluence."""
        return self.answer.query.frame.row(0, named=True)


def find(question: Question) -> Similar:
    """Similar setups, from memory while the lake is unchanged.

    Raises
    ------
    EngineError
        Where there is no gold, no index, one of another horizon, too little history, or no such moment; it names the command that helps.
    """
    q = question
    if q.mode == "all":
        manifest = index_manifest(q.root, root_of(q.symbol).code, q.horizon)
        made_of, stamp = str(manifest["representation"]), sha256_text(canonical(manifest))
    else:
        made_of, stamp = gold_representation(q.root, q.symbol, q.date), gold_stamp(q.root)
    return _find(q, made_of, stamp, lakes.stamp(q.root, q.symbol, q.date))


def nothing() -> None:
    """An answer that is wanted to the end."""


def find_in_worker(question: Question, wanted: Callable[[], object]) -> Similar:
    """As `find`, in a process that the whole server shares; an EngineError, too, where that was ended.

    A fit takes some seconds: in a thread of the server it held up the page (p95 of a level's change then: 290 to 440 ms, beside a process
    of its own 160 ms, with neither 120 ms). `wanted` raises where the answer is not wanted any more (`workbench.workers.WorkerTask.ask`).
    """
    return process_of(str(question.date)).ask(wanted, find, question)


def forecast_in_worker(root: str, trigger_id: str, horizon: str) -> dict[str, Any]:
    """The forecast's row of a trigger in gold, from the sessions before it; in a process as `find_in_worker`.

    Raises
    ------
    EngineError
        Where there is no such trigger or too little history.
    """
    return process_of(trigger_id.partition("/")[0]).ask(nothing, _forecast, root, trigger_id, horizon)


def _forecast(root: str, trigger_id: str, horizon: str) -> dict[str, Any]:
    from engine.retrieval.neighbours import neighbours, trigger_query

    lake = lakes.open_lake(root)
    found = neighbours(lake, trigger_query(lake, trigger_id), params=RetrievalParams(horizon=horizon), explained=False)  # type: ignore[arg-type]
    return found.forecast.row(0, named=True)


AHEAD_AFTER_S = 5.0
"""A page that is opened as soon as the server answers took a second longer while the process began."""


def start_in_worker(root: str, symbol: str, date: dt.date) -> None:
    """A moment from now, let the process fit what the first question about a session needs."""

    def begin() -> None:
        try:
            process_of(str(date)).ask(nothing, _fit_ahead, root, symbol, date)
        except RunFailed as e:
            # No page waits for it: the first question starts another process.
            log.warning("nothing was fitted ahead: %s", e)

    later = threading.Timer(AHEAD_AFTER_S, begin)
    later.daemon = True
    later.start()


def _fit_ahead(root: str, symbol: str, date: dt.date) -> None:
    from engine.retrieval.dataset import groups_of
    from engine.retrieval.neighbours import Scope

    # An error is for the one who asks the question.
    with suppress(EngineError):
        made_of, stamp = gold_representation(root, symbol, date), gold_stamp(root)
        for group in groups_of(made_of):
            _fitted(root, Scope(made_of, group, "all", "", date, root_of(symbol).code), Question.horizon, stamp)


@lru_cache(maxsize=48)
def _find(q: Question, made_of: str, stamp: str, session_stamp: str) -> Similar:
    from engine.retrieval.neighbours import find_neighbours, horizon_table, scope_of

    query = _moment(q, made_of)
    what = _fitted(q.root, scope_of(query, q.pool, q.mode), q.horizon, stamp)
    found = find_neighbours(what, query)
    seconds = retrieval_params(q.root, q.symbol, q.date).setups.horizons_s
    n_eff = float(found.forecast["n_eff"][0])
    weight = n_eff / (n_eff + what.model.tuned.alpha)
    return Similar(q, found, horizon_table(found, what.model, what.horizons, seconds), weight)


def _moment(q: Question, made_of: str) -> Events:
    """The moment that is asked about, from the lake, or from the journal of a session under way."""
    from engine.retrieval.neighbours import moment_events, moment_of

    price = float(q.level_id.removeprefix("price:")) if q.level_id.startswith("price:") else None
    session = live.session_until(q.root, q.symbol, q.date, q.end_ns)
    if session is None:
        lake = lakes.open_lake(q.root)
        return moment_events(lake, q.symbol, q.date, q.level_id, q.end_ns, price=price, approach=q.direction, representation=made_of)
    trades = session.day.trades_so_far()
    return moment_of(
        session.ladder, session.levels, trades.filter(trades["ts_event"] < q.end_ns), q.level_id, q.end_ns,
        params=retrieval_params(q.root, q.symbol, q.date), profile=session.profile, price=price, approach=q.direction,
        representation=made_of,
    )  # fmt: skip


@lru_cache(maxsize=6)
def _fitted(root: str, scope: Scope, horizon: str, stamp: str) -> Fitted:
    from engine.retrieval.neighbours import fit_scope

    params = None if scope.mode == "all" else RetrievalParams(horizon=horizon)  # type: ignore[arg-type]
    lake = lakes.open_lake(root)
    what = fit_scope(lake, scope, params=params, name=index_name(lake, scope.market))
    assert what.horizons  # fitted now where no run has kept them, so that no question waits for it
    return what


def gold_stamp(root: str) -> str:
    """What the lake says of its trigger vectors, and of the wall features beside them, now."""
    return lakes.dataset_stamp(root, TRIGGERS, WALLS)


def gold_representation(root: str, symbol: str, date: dt.date) -> str:
    """Representation of the vectors of the session before `date`, and so of a query to them; of the first one where none is before.

    Raises
    ------
    NoData
        Where the market has no gold, with the command that makes it.
    """
    from engine.retrieval.dataset import sessions_in

    lake, market = lakes.open_lake(root), root_of(symbol).code
    sessions = sessions_in(lake, TRIGGERS, market)
    newest = max((p for p in sessions if p[1] < date), key=lambda p: p[1], default=sessions[0])
    values = lake.manifest(TRIGGERS, *newest).lineage.values.get("gold", {})
    return str(values.get("representation", GoldParams().representation))


def index_name(lake: Lake, market: str) -> str:
    """The index that answers for a market: one of its name where there is one (a lake of several markets), else the default one."""
    from engine.retrieval.index import index_folder

    own = market.lower()
    return own if index_folder(lake, own).is_dir() else "default"


def index_manifest(root: str, market: str, horizon: str) -> dict[str, Any]:
    """The manifest of the market's index of the lake as it is now, which weighs neighbours by their outcome at `horizon`.

    Raises
    ------
    PartitionMissing, StaleIndex
        Where there is none; with the command that makes one.
    """
    from engine.retrieval.index import check_index, read_index_manifest, rebuild_command

    lake = lakes.open_lake(root)
    manifest = read_index_manifest(lake, index_name(lake, market))
    check_index(lake, manifest)
    has = manifest["params"]["horizon"]
    if has != horizon:
        words = {h: w for w, h in HORIZON_WORDS.items()}
        make = rebuild_command(lake, manifest["name"], manifest["symbol"], {**manifest["params"], "horizon": horizon})
        raise StaleIndex(
            f"The index weighs setups by what they did within {words[has]} of their touch, not within {words[horizon]}: "
            f"choose {words[has]} under “Outcome within”, or `{make}` makes an index for {words[horizon]}"
        )
    return manifest


def retrieval_params(root: str, symbol: str, date: dt.date) -> TriggerParams:
    """What the session's triggers are made with: reach of an approach, barrier, horizons."""
    from engine.retrieval.dataset import trigger_params_of

    return trigger_params_of(lakes.open_lake(root), symbol, date)
