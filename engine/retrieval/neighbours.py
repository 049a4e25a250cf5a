"""What similar setups did: neighbours and forecast of a trigger, of any moment, of a price of one's own, of a setup one makes up."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError, NoData
from engine.retrieval.events import CLASSES, Events
from engine.retrieval.forecast import before_embargo, candidates, default_recipe, table
from engine.retrieval.gold import MIRROR, VECTORS, gold_events, grouped, groups_of, names_of, sessions_in
from engine.retrieval.index import pool_folder, rebuild_command
from engine.retrieval.mend import gold_command
from engine.retrieval.model import Answer, Model, fit, forecast
from engine.retrieval.open import open_index, open_touch, read_index_manifest
from engine.retrieval.params import PoolName, RetrievalParams
from engine.vocab import root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

Mode = Literal["walk_forward", "all"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What was found for one query.

    Attributes
    ----------
    forecast : DataFrame
        One row, as `engine.retrieval.forecast.forecast_frame` has it.
    found : DataFrame
        One row per neighbour, most similar first: the trigger's columns, ``similarity, weight, outcome_class``, and ``why_{family}``, what
        each family of features adds to the cosine of the two normalised vectors.
    counts : dict
        Neighbours per class.
    mode : str
    sessions : int
        Sessions of history that could be neighbours.
    query : Events
    """

    forecast: pl.DataFrame
    found: pl.DataFrame
    counts: dict[str, int]
    mode: str
    sessions: int
    query: Events


def trigger_query(lake: Lake, trigger_id: str) -> Events:
    """A trigger of gold as a query.

    Raises
    ------
    PartitionMissing
        Where its session is not in the lake's gold, with the command that makes it.
    NoData
        Where the session has no such trigger.
    """
    import polars as pl

    parts = trigger_id.split("/")
    try:
        date, symbol = dt.date.fromisoformat(parts[0]), parts[1]
    except (ValueError, IndexError):
        raise NoData(
            f"trigger {trigger_id!r}: expected {{date}}/{{symbol}}/{{level}}/{{approach}}/{{kind}}/{{window end}} as in {VECTORS}"
        ) from None
    frame = lake.read(VECTORS, symbol, date, where=pl.col("trigger_id") == trigger_id)
    if not frame.height:
        raise NoData(f"trigger {trigger_id!r}: {VECTORS} of {symbol} {date} has no such trigger; a knob of setups may have changed")
    return next(e for e in grouped(frame).values() if len(e))


@dataclass(frozen=True)
class Scope:
    """What of a query decides what is fitted for it: queries of one scope are asked of one `Fitted`.

    Attributes
    ----------
    representation : str
    group : str
        ``mirrored``, or the approach where the two directions have vectors of their own.
    pool : str
    key : str
        The level's kind in pool ``kind``, level and approach in pool ``level``, nothing in pool ``all``.
    session : date or None
        The session before which everything is fitted (mode ``walk_forward``); None in mode ``all``, whose index serves every session.
    market : str
        Root of the query's contract: only its sessions are likes.
    """

    representation: str
    group: str
    pool: PoolName
    key: str
    session: dt.date | None
    market: str

    @property
    def mode(self) -> Mode:
        """``walk_forward`` or ``all``."""
        return "all" if self.session is None else "walk_forward"


def scope_of(query: Events, pool: PoolName, mode: Mode = "walk_forward") -> Scope:
    """The scope of a query.

    Raises
    ------
    ContractError
        Where it is not one query.
    """
    _one(query)
    group = MIRROR if MIRROR in groups_of(query.representation) else str(query.frame["approach"][0])
    session = None if mode == "all" else query.sessions[0].astype(object)
    market = root_of(str(query.frame["trigger_id"][0]).split("/")[1]).code
    return Scope(query.representation, group, pool, str(query.pool_keys(pool)[0]), session, market)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What queries of one scope are asked of.

    Attributes
    ----------
    model : Model
    touch : Model or None
        For the probability of a touch; None where there are too few events.
    mode : str
    """

    model: Model
    touch: Model | None
    mode: Mode


def neighbours(
    lake: Lake,
    query: Events,
    *,
    mode: Mode = "walk_forward",
    params: RetrievalParams | None = None,
    pool: PoolName | None = None,
    name: str = "default",
    symbol: str | None = None,
) -> Neighbours:
    """Similar setups of other sessions, what they did, and the forecast they make: `ask` of what `fitted` fits.

    Parameters
    ----------
    lake
        Its gold is what is searched.
    query
        One row: from `trigger_query`, `engine.retrieval.moment.moment_events`, or `edited`.
    mode
        ``walk_forward``: only sessions before the query's, less the embargo, on which everything is fitted anew: what could have been known
        then. ``all``: the index `name`, every session but the query's own.
    params
        Knobs; the index's own where None in mode ``all``.
    pool
        Which candidates; of `params`, or of the index, where None.
    symbol
        A contract, in mode ``walk_forward``; all contracts of the query's root where None.

    Raises
    ------
    NoData
        Where there are too few events; it says how many there are and how many are needed.
    StaleIndex, PartitionMissing
        Where the index is not of this lake as it is now, with the command that makes it anew.
    """
    if pool is None and mode == "all":
        pool = read_index_manifest(lake, name)["params"]["pool"]
    scope = scope_of(query, pool or (params or RetrievalParams()).pool, mode)
    return ask(fitted(lake, scope, params=params, name=name, symbol=symbol), query)


def fitted(lake: Lake, scope: Scope, *, params: RetrievalParams | None = None, name: str = "default", symbol: str | None = None) -> Fitted:
    """Everything that `neighbours` needs before it is asked; it takes some seconds in mode ``walk_forward``.

    Parameters
    ----------
    scope
        `scope_of` the query; its pool stands for that of `params`.
    params, name, symbol
        As in `neighbours`.

    Raises
    ------
    NoData, StaleIndex, PartitionMissing
        As `neighbours`.
    """
    if scope.session is None:
        return _indexed(lake, scope, params, name)
    p = (params or RetrievalParams()).model_copy(update={"pool": scope.pool})
    history = candidates(_group(lake, scope, scope.session, symbol or scope.market, p), p)
    past = history.take(history.sessions < before_embargo(history.sessions, np.datetime64(scope.session), p.embargo_sessions))
    past = past.take(past.pool_keys(scope.pool) == scope.key)
    model = fit(past, p, recipe=default_recipe(scope.representation))
    try:
        touch: Model | None = fit(past, p, recipe=model.recipe, target="touch")
    except NoData:
        touch = None
    return Fitted(model, touch, scope.mode)


def ask(what: Fitted, query: Events) -> Neighbours:
    """Neighbours and forecast of one query; never of its own session."""
    _one(query)
    model, session = what.model, query.sessions[0]

    def elsewhere(fitted: Model) -> Answer:
        start, end = (int(np.searchsorted(fitted.history.sessions, session, side=s)) for s in ("left", "right"))
        return forecast(fitted, query, start=start, end=end, without=True)

    answer = elsewhere(model)
    touch = None if what.touch is None else elsewhere(what.touch)
    h = model.history.sessions
    return _found(model, answer, query, what.mode, len(np.unique(h[h != session])), table(model, answer, query, what.touch, touch))


def _one(query: Events) -> None:
    if len(query) != 1:
        raise ContractError(f"neighbours: expected one query, found {len(query)}")


def _group(lake: Lake, scope: Scope, date: dt.date, symbol: str | None, p: RetrievalParams) -> Events:
    found = gold_events(lake, symbol, kinds=p.kinds, before=date)
    if scope.group not in found or found[scope.group].names != names_of(scope.representation, scope.group):
        sessions = sessions_in(lake, VECTORS, symbol)
        make = gold_command(lake, sessions[-1], [d for _, d in sessions], gold={"representation": scope.representation})
        raise ContractError(f"the query is of {scope.representation}, the gold in {lake.root} is not; `{make}` makes it so")
    return found[scope.group]


def _indexed(lake: Lake, scope: Scope, params: RetrievalParams | None, name: str) -> Fitted:
    manifest = read_index_manifest(lake, name)
    if manifest["market"] != scope.market:
        raise ContractError(
            f"index {name}: of {manifest['market']}, the query is of {scope.market}; "
            f"`{rebuild_command(lake, scope.market.lower(), scope.market, manifest['params'])}` makes one"
        )
    if manifest["representation"] != scope.representation:
        raise ContractError(
            f"index {name}: of {manifest['representation']}, the query is of {scope.representation}; "
            f"`{rebuild_command(lake, name, scope.market, manifest['params'])}` makes it anew"
        )
    level, _, approach = scope.key.rpartition("/")
    folder = pool_folder(scope.pool, kind=scope.key, level_id=level)
    stem = approach if scope.pool == "level" else scope.group
    model = open_index(lake, name, folder=folder, stem=stem, params=params)
    return Fitted(model, open_touch(lake, name, folder=folder, stem=stem), scope.mode)


def _found(model: Model, answer: Answer, query: Events, mode: Mode, sessions: int, forecast_row: pl.DataFrame) -> Neighbours:
    import polars as pl

    rows = answer.rows[0][answer.rows[0] >= 0]
    labels = model.labels[rows]
    why = why_similar(model, query, rows)
    frame = model.history.frame[rows].with_columns(
        pl.Series("similarity", answer.similarity[0, : len(rows)], dtype=pl.Float64),
        pl.Series("weight", answer.weights[0, : len(rows)], dtype=pl.Float64),
        pl.Series("outcome_class", [CLASSES[c] for c in labels], dtype=pl.String),
        *(pl.Series(f"why_{k}", v, dtype=pl.Float64) for k, v in why.items()),
    )
    counts = {c: int((labels == i).sum()) for i, c in enumerate(CLASSES)}
    return Neighbours(forecast_row, frame, counts, mode, sessions, query)


def why_similar(model: Model, query: Events, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """What each family of features adds to the cosine between the query's normalised vector and its neighbours', each ``(len(rows),)``.

    They add up to the cosine. In the learned embedding similarity is another number; this says in which features two setups are alike.
    """
    from engine.features.vector import family_of

    families = np.array([family_of(n) for n in query.names], dtype=object)
    q = model.normaliser.scale(np.nan_to_num(query.matrix)).astype(float)[0]
    h = model.normaliser.scale(np.asarray(model.history.matrix[rows], np.float32)).astype(float)
    length = np.linalg.norm(q) * np.linalg.norm(h, axis=1)
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return {f: (h[:, families == f] @ q[families == f]) * scale for f in sorted(set(families.tolist()))}
