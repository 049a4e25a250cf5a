"""What similar setups did: neighbours and forecast of a trigger, of any moment, of a price of one's own, of a setup one makes up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError, NoData
from engine.retrieval.events import CLASSES, Events
from engine.retrieval.forecast import before_embargo, candidates, default_recipe, table
from engine.retrieval.gold import MIRROR, VECTORS, gold_events, grouped, groups_of
from engine.retrieval.index import pool_folder
from engine.retrieval.model import Answer, Model, fit, forecast
from engine.retrieval.open import open_index, read_index_manifest
from engine.retrieval.params import PoolName, RetrievalParams

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


def edited(query: Events, values: Mapping[str, float]) -> Events:
    """The query with some of its vector's dimensions set to raw values, by name.

    Raises
    ------
    ContractError
        Naming a dimension that is none, or a value that is not finite.
    """
    at = {n: i for i, n in enumerate(query.names)}
    matrix = query.matrix.copy()
    for name, value in values.items():
        if name not in at:
            near = [n for n in query.names if name.rpartition("_")[2] in n][:5]
            such = ", ".join(near or query.names[:5])
            raise ContractError(f"dimension {name!r}: expected one of the {len(at)} of docs/FEATURES.md, such as {such}")
        if not np.isfinite(value):
            raise ContractError(f"dimension {name!r}: expected a finite number, found {value}")
        matrix[:, at[name]] = value
    return Events(matrix, query.names, query.representation, query.frame)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a query is asked of: fitted once, good for every query of one session (walk-forward) or of any (all).

    Attributes
    ----------
    model : Model
    touch : Model or None
        For the probability of a touch; None where there are too few events, and in mode ``all``.
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
        Which candidates; of `params` where None.
    symbol
        A contract or a root, in mode ``walk_forward``; all of gold where None.

    Raises
    ------
    NoData
        Where there are too few events; it says how many there are and how many are needed.
    StaleIndex, PartitionMissing
        Where the index is not of this lake as it is now, with the command that makes it anew.
    """
    return ask(fitted(lake, query, mode=mode, params=params, pool=pool, name=name, symbol=symbol), query)


def fitted(
    lake: Lake,
    query: Events,
    *,
    mode: Mode = "walk_forward",
    params: RetrievalParams | None = None,
    pool: PoolName | None = None,
    name: str = "default",
    symbol: str | None = None,
) -> Fitted:
    """Everything that `neighbours` needs before it is asked: some seconds in mode ``walk_forward``; parameters and errors are the same.

    It holds for every query of the same session, representation and, where `pool` is not ``all``, level and approach.
    """
    _one(query)
    if mode == "all":
        return Fitted(_indexed(lake, query, params, pool, name), None, mode)
    p = params or RetrievalParams()
    p = p if pool is None else p.model_copy(update={"pool": pool})
    session = query.sessions[0]
    history = _pooled(candidates(_group(lake, query, symbol, session.astype(object), p), p), query, p.pool)
    past = history.take(history.sessions < before_embargo(history.sessions, session, p.embargo_sessions))
    model = fit(past, p, recipe=default_recipe(query.representation))
    try:
        touch: Model | None = fit(past, p, recipe=model.recipe, target="touch")
    except NoData:
        touch = None
    return Fitted(model, touch, mode)


def ask(what: Fitted, query: Events) -> Neighbours:
    """Neighbours and forecast of one query; never of its own session."""
    _one(query)
    model, session = what.model, query.sessions[0]
    h = model.history.sessions
    start, end = (int(np.searchsorted(h, session, side=s)) for s in ("left", "right"))
    answer = forecast(model, query, start=start, end=end, without=True)
    allowed = len(np.unique(h[h != session]))
    return _found(model, answer, query, what.mode, allowed, table(model, answer, query, what.touch))


def _one(query: Events) -> None:
    if len(query) != 1:
        raise ContractError(f"neighbours: expected one query, found {len(query)}")


def _group(lake: Lake, query: Events, symbol: str | None, date: dt.date, p: RetrievalParams) -> Events:
    group = MIRROR if MIRROR in groups_of(query.representation) else str(query.frame["approach"][0])
    found = gold_events(lake, symbol, kinds=p.kinds, before=date)
    if group not in found or found[group].names != query.names:
        raise ContractError(f"the query is of {query.representation}, the lake's gold is not; `spymaster run --layer gold` makes it so")
    return found[group]


def _indexed(lake: Lake, query: Events, params: RetrievalParams | None, pool: PoolName | None, name: str) -> Model:
    manifest = read_index_manifest(lake, name)
    if manifest["representation"] != query.representation:
        raise ContractError(f"index {name}: of {manifest['representation']}, the query is of {query.representation}")
    chosen: PoolName = pool or manifest["params"]["pool"]
    group = MIRROR if MIRROR in groups_of(query.representation) else str(query.frame["approach"][0])
    folder = pool_folder(chosen, kind=str(query.level_kinds[0]), level_id=str(query.frame["level_id"][0]))
    stem = str(query.frame["approach"][0]) if chosen == "level" else group
    return open_index(lake, name, folder=folder, stem=stem, params=params)


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
