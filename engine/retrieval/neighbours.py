"""Neighbours and forecast of a query: a trigger of gold, any time and level, a price of the user's own, or an edited vector."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError, NoData, SessionError
from engine.lake.catalog import WALLS
from engine.params import HORIZONS, FeatureParams, PoolName, RetrievalParams
from engine.retrieval.dataset import (
    VECTORS,
    TriggerParams,
    events_by_group,
    gold_events,
    groups_of,
    names_of,
    sessions_in,
    trigger_params_of,
    walls_current,
    with_walls,
)
from engine.retrieval.events import CLASSES, OUTCOME_CLASS, Events
from engine.retrieval.forecast import candidates, default_recipe, forecast_table
from engine.retrieval.hints import gold_command
from engine.retrieval.horizons import HorizonForecast, horizon_references
from engine.retrieval.importance import Importance, importance
from engine.retrieval.index import ALL, open_horizons, open_index, open_touch, read_index_manifest, rebuild_command
from engine.retrieval.kept import as_days, before_session, kept_fits, name_for
from engine.retrieval.model import Answer, Model, Recipe, fit_before, forecast
from engine.retrieval.reader import Reading, intervals
from engine.retrieval.reference import centred
from engine.retrieval.tune import effective_number, posterior, shares
from engine.sessions import clock_text, span_text
from engine.vocab import NS, Approach, root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.ladder import Ladder
    from engine.lake.store import Lake

Mode = Literal["walk_forward", "all"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbours and forecast of one query.

    Attributes
    ----------
    forecast : DataFrame
        One row, as `engine.retrieval.forecast.forecast_frame` has it.
    found : DataFrame
        One row per neighbour, most similar first: the trigger's columns, ``similarity, weight, outcome_class``, and ``why_{family}``, the
        contribution of each family of features to the cosine of the normalised vectors (`why_similar`).
    counts : dict
        Neighbours per class.
    sessions : int
        Sessions of history that were searched.
    answer : Answer
        The forecast as arrays of one row.
    recipe : Recipe
        How setups were compared.
    importance : Importance or None
        When and what moved it, where setups are embedded by what is read of them; None where they are compared as they are.
    """

    forecast: pl.DataFrame
    found: pl.DataFrame
    counts: dict[str, int]
    mode: str
    sessions: int
    query: Events
    answer: Answer
    recipe: Recipe
    importance: Importance | None = None


def trigger_query(lake: Lake, trigger_id: str) -> Events:
    """A trigger of gold as a query; raises `NoData` where its session has no such trigger.

    Raises `PartitionMissing` where the session is not in the lake's gold; names the command that makes it.
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
        raise NoData(f"trigger {trigger_id!r}: {VECTORS} of {symbol} {date} has no such trigger; setups may have had other parameters")
    if walls_current(lake, symbol, date):
        frame = with_walls(frame, lake.read(WALLS, symbol, date, where=pl.col("trigger_id") == trigger_id))
    return next(e for e in events_by_group(frame).values() if len(e))


@dataclass(frozen=True)
class Scope:
    """The part of a query that decides what is fitted for it: queries of one scope share one `Fitted`.

    Attributes
    ----------
    group : str
        ``mirrored``, or the approach where the two directions have vectors of their own.
    key : str
        The level's kind in pool ``kind``, level and approach in pool ``level``, empty in pool ``all``.
    session : date or None
        The session before which everything is fitted (mode ``walk_forward``); None in mode ``all``, whose index is for every session.
    market : str
        Root of the query's contract; only its sessions are searched.
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
    """The scope of a query; raises `ContractError` where `query` does not have exactly one row."""
    _require_one(query)
    groups, approach = groups_of(query.representation), str(query.frame["approach"][0])
    group = approach if approach in groups else groups[0]
    session = None if mode == "all" else query.sessions[0].astype(object)
    market = root_of(str(query.frame["trigger_id"][0]).split("/")[1]).code
    return Scope(query.representation, group, pool, str(query.pool_keys(pool)[0]), session, market)


@dataclass(frozen=True, eq=False)
class Fitted:
    """The models for queries of one scope; `touch`, for the probability of a touch, is None where there are too few events. `kept` is what
    a run has kept of the other horizons, None where nothing."""

    model: Model
    touch: Model | None
    mode: Mode
    kept: dict[str, HorizonForecast] | None = None

    @cached_property
    def horizons(self) -> dict[str, HorizonForecast]:
        """What counts are shrunken toward at every horizon."""
        return horizon_references(self.model) if self.kept is None else self.kept


def neighbours(
    lake: Lake,
    query: Events,
    *,
    mode: Mode = "walk_forward",
    params: RetrievalParams | None = None,
    pool: PoolName | None = None,
    name: str = "default",
    symbol: str | None = None,
    explained: bool = True,
    made_up: Sequence[str] = (),
) -> Neighbours:
    """Similar setups of other sessions, their outcomes, and the forecast from them: `fit_scope` and `find_neighbours` in one call.

    Raises `NoData` where there are too few events (names how many are needed), `StaleIndex` or `PartitionMissing` where the index does not
    match the current lake (names the command that rebuilds it), `ContractError` where a dimension of `made_up` cannot count.

    Parameters
    ----------
    query
        One row, from `trigger_query`, `moment_events` or `edited`.
    mode
        ``walk_forward``: everything is fitted on the sessions of gold before the query's, less the embargo (no look-ahead). ``all``: the
        index `name`, every session but the query's own.
    params, pool
        Retrieval parameters, and which events may be neighbours; in mode ``all`` the index's own where None.
    symbol
        A contract, in mode ``walk_forward``; all contracts of the query's root where None.
    explained
        With the answer's ``importance``.
    made_up
        Dimensions that were set by hand (`edited`): where those that serve are the wall features and these are gold's own, setups are
        compared by gold's own.
    """
    if pool is None and mode == "all":
        pool = read_index_manifest(lake, name)["params"]["pool"]
    scope = scope_of(query, pool or (params or RetrievalParams()).pool, mode)
    what = fit_scope(lake, scope, params=params, name=name, symbol=symbol)
    if _idle(made_up, what.model) and mode == "walk_forward" and what.model.recipe == "wall":
        what = fit_scope(lake, scope, params=params, symbol=symbol, walls=False)
    if idle := _idle(made_up, what.model):
        by, one = what.model.recipe, next(n for n in what.model.names)
        raise ContractError(
            f"dimension {idle[0]!r}: expected one that setups are compared by, here the {len(what.model.names)} of `{by}` such as {one}; "
            f"{'others count in mode walk_forward' if mode == 'all' else 'set those by themselves'}"
        )
    return find_neighbours(what, query, explained=explained)


def _idle(made_up: Sequence[str], model: Model) -> list[str]:
    """Dimensions set by hand that change nothing of a model's answer: neither compared nor a covariate of the reference."""
    return [n for n in made_up if n not in model.names and n not in MAGNITUDES and n not in DISTANCES]


def fit_scope(
    lake: Lake, scope: Scope, *, params: RetrievalParams | None = None, name: str = "default", symbol: str | None = None, walls: bool = True
) -> Fitted:
    """The models for queries of a scope, whose pool overrides that of `params`.

    In mode ``walk_forward`` they are those that a run has kept (`engine.retrieval.kept`), where these are current and of the same
    parameters; else everything is fitted here, with the same result, which takes some seconds. Without `walls` history's wall
    features are left out, and nothing is kept of that.

    Other parameters and errors as in `neighbours`.
    """
    if scope.session is None:
        return _fit_from_index(lake, scope, params, name)
    p = (params or RetrievalParams()).model_copy(update={"pool": scope.pool})
    sessions = before_session(sessions_in(lake, VECTORS, symbol or scope.market), scope.session, p.embargo_sessions)
    if walls and scope.pool == "all" and symbol in (None, scope.market):
        kept = kept_fits(lake, scope.market, scope.group, sessions, p)
        if kept is not None and kept[0].history.representation == scope.representation:
            return Fitted(*kept, scope.mode, open_horizons(lake, name_for(scope.market, sessions, p), scope.group))
    # Of the embargoed sessions nothing is read: whether they have wall features is no matter of this answer's.
    before = sessions[-1][1] + dt.timedelta(days=1) if sessions else scope.session
    found = gold_events(lake, symbol or scope.market, kinds=p.kinds, before=before).get(scope.group)
    if found is None or found.names[: len(names := names_of(scope.representation, scope.group))] != names:
        every = sessions_in(lake, VECTORS, symbol or scope.market)
        make = gold_command(lake, every[-1], [d for _, d in every], gold={"representation": scope.representation})
        raise ContractError(f"expected gold of the query's representation {scope.representation}, found another in {lake.root}; `{make}`")
    if not walls:
        found = found.only(names)
    history, days = candidates(found, p), as_days(sessions)
    past = history.take(np.isin(history.sessions, days) & (history.pool_keys(scope.pool) == scope.key))
    return Fitted(*fit_before(past, p, default_recipe(scope.representation), days), scope.mode)


def find_neighbours(what: Fitted, query: Events, *, explained: bool = True) -> Neighbours:
    """Neighbours and forecast of one query, without its own session; `explained` with what of the query moved the forecast."""
    import polars as pl

    from engine.features.vector import family_of

    _require_one(query)
    model, session = what.model, query.sessions[0]

    def elsewhere(m: Model) -> Answer:
        start, end = (int(np.searchsorted(m.history.sessions, session, side=s)) for s in ("left", "right"))
        return forecast(m, query, start=start, end=end, without=True)

    answer = elsewhere(model)
    touch = None if what.touch is None else elsewhere(what.touch)
    rows = answer.rows[0][answer.rows[0] >= 0]
    labels = model.labels[rows]
    columns: dict[str, Any] = {"similarity": answer.similarity[0, : len(rows)], "weight": answer.weights[0, : len(rows)]}
    found = model.history.frame[rows].with_columns(
        *(pl.Series(k, v, dtype=pl.Float64) for k, v in columns.items()),
        pl.Series("outcome_class", [CLASSES[c] for c in labels], dtype=pl.String),
        *(pl.Series(f"why_{k}", v, dtype=pl.Float64) for k, v in why_similar(model, query, rows).items()),
    )
    counts = {c: int((labels == i).sum()) for i, c in enumerate(CLASSES)}
    searched = len(np.unique(model.history.sessions[model.history.sessions != session]))
    moved = None
    if explained and model.embedding is not None and query.only(model.names).usable[0]:
        moved = importance(model, query, [family_of(n) for n in model.names])
    table = forecast_table(model, answer, query, what.touch, touch)
    return Neighbours(table, found, counts, what.mode, searched, query, answer, model.recipe, moved)


def _require_one(query: Events) -> None:
    if len(query) != 1:
        raise ContractError(f"neighbours: expected one query, found {len(query)}")


def _fit_from_index(lake: Lake, scope: Scope, params: RetrievalParams | None, name: str) -> Fitted:
    manifest = read_index_manifest(lake, name)
    if manifest["market"] != scope.market:
        raise ContractError(
            f"index {name}: of {manifest['market']}, the query is of {scope.market}; "
            f"`{rebuild_command(lake, scope.market.lower(), scope.market, manifest['params'])}` makes one"
        )
    if manifest["representation"] != scope.representation:
        raise ContractError(
            f"index {name}: of {manifest['representation']}, the query is of {scope.representation}; "
            f"`{rebuild_command(lake, name, scope.market, manifest['params'])}` rebuilds it"
        )
    level, _, approach = scope.key.rpartition("/")
    folder = {"all": ALL, "kind": f"kind={scope.key}", "level": level}[scope.pool]
    stem = approach if scope.pool == "level" else scope.group
    model = open_index(lake, name, folder=folder, stem=stem, params=params)
    horizons = open_horizons(lake, name, stem) if folder == ALL else None
    return Fitted(model, open_touch(lake, name, folder=folder, stem=stem), scope.mode, horizons)


def why_similar(model: Model, query: Events, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Contribution of each family of features (`engine.features.vector.part_of`) to the cosine of the query's normalised vector with its
    neighbours', ``(len(rows),)`` each.

    They sum to that cosine, which is not the similarity in the learned embedding.
    """
    from engine.features.vector import part_of

    query = query.only(model.names)
    families = np.array([part_of(n) for n in query.names], dtype=object)
    q = model.normaliser.scale(np.nan_to_num(query.matrix)).astype(float)[0]
    h = model.normaliser.scale(np.asarray(model.history.matrix[rows], np.float32)).astype(float)
    length = np.linalg.norm(q) * np.linalg.norm(h, axis=1)
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return {f: (h[:, families == f] @ q[families == f]) * scale for f in sorted(set(families.tolist()))}


# ----------------------------------------------------------------------------
# Outcomes of one set of neighbours at every horizon: counts, posterior with interval, reference

COLUMNS = ("horizon", "minutes", "outcome", "count", "of", "p", "low", "high", "reference", "n_eff", "edge_low", "edge_high")


def _reading_at(what: HorizonForecast, pi: NDArray[np.float64], answer: Answer) -> Reading:
    """What the reader says of one query at another horizon."""
    nothing = np.zeros((1, len(CLASSES), len(CLASSES)))
    own = answer.reading
    if own is None:
        return Reading(np.log(np.maximum(pi, 1e-12)), nothing, nothing)
    if what.effect is None or what.curvature is None or not what.effect.signal:
        return Reading(np.log(np.maximum(pi, 1e-12)), own.own, own.usual)
    added = centred(np.log(np.maximum(answer.toward, 1e-12)) - np.log(np.maximum(answer.reference, 1e-12)))
    coef, d, w = what.effect.coef, what.curvature.directions, what.curvature.weights
    mapped = np.einsum("ai,qab,bj->qij", coef, own.own, coef)
    mapped = mapped + np.einsum("qk,ik,jk->qij", what.effect.spread.of(added, w), d, d)
    return Reading(np.log(np.maximum(pi, 1e-12)) + added @ coef, mapped, own.usual)


def horizon_table(found: Neighbours, model: Model, references: dict[str, HorizonForecast], seconds: Sequence[int]) -> pl.DataFrame:
    """Outcomes of one set of neighbours at every horizon, as found by `find_neighbours` with `model`; `seconds` are the horizons' lengths.

    The neighbours, their weights and the weight of what they are shrunken toward are those of the model's horizon; its rows are the
    forecast's own figures. Neighbours whose horizon reaches past their session's data do not count at that horizon.

    Returns
    -------
    DataFrame
        `COLUMNS`, one row per horizon and class in the order of `CLASSES`: ``count`` of ``of`` neighbours, posterior ``p`` with its
        interval (mass ``model.params.interval``), the reference's probability, and the effective number; ``edge_low`` and ``edge_high``,
        the interval of the difference ``p - reference``.
    """
    import polars as pl

    rows: list[tuple[object, ...]] = []
    answer, noise = found.answer, np.array(model.tuned.noise or [0.0] * len(CLASSES))
    weight = found.found["weight"].to_numpy()
    for h, s in zip(HORIZONS, seconds):
        label = np.array([OUTCOME_CLASS.get(x, -1) for x in found.found[f"outcome_{h}"].to_list()], np.int64)
        w, y = weight[label >= 0][None], label[label >= 0][None]
        n_eff = effective_number(w)
        if h == model.params.horizon and answer.interval is not None:
            p, pi, spans = answer.probability, answer.reference, answer.interval
        else:
            pi = references[h].reference.predict(found.query)
            reading = _reading_at(references[h], pi, answer)
            p = posterior(shares(w, y, len(CLASSES)), n_eff, reading.probability, model.tuned.alpha)
            spans = intervals(p, pi, reading, noise, model.params.interval)
        for i, c in enumerate(CLASSES):
            figures = (float(v[0, i]) for v in (p, spans.low, spans.high, pi))
            edge = (float(v[0, i]) for v in (spans.edge_low, spans.edge_high))
            rows.append((h, s / 60, c, int((y == i).sum()), y.size, *figures, float(n_eff[0]), *edge))
    kinds = (pl.String, pl.Float64, pl.String, pl.Int64, pl.Int64, *[pl.Float64] * 7)
    return pl.DataFrame(rows, schema=dict(zip(COLUMNS, kinds)), orient="row")


# ----------------------------------------------------------------------------
# A query at any time and price: the columns and the vector of a trigger, computed on the fly


def moment_events(
    lake: Lake,
    symbol: str,
    date: dt.date,
    level_id: str,
    time_ns: int,
    *,
    price: float | None = None,
    approach: str | None = None,
    representation: str = "means",
) -> Events:
    """A query (one row) for the last whole window that ended by `time_ns`, at a level of the lake or at the user's own price.

    `level_id` is a level of the session; with `price` a name for the user's own, such as ``price:6800.25``. `time_ns` is in ns since the
    epoch; data after the window's end are not used. `approach` is ``approach_up`` or ``approach_down``, by default from the side of the
    last trade away from the level. `representation` is ``means`` or ``blocks``; the wall features stand behind it.

    Raises `PartitionMissing` where the session is not in the lake (names the command that makes it), `SessionError` where the time is
    outside the session or the level has no value then, `NoData` where no trade away from the level tells its side.
    """
    from engine.ladder import Ladder
    from engine.lake.catalog import LEVELS, TAPE

    ladder = Ladder.open(lake, symbol, date)
    return moment_of(
        ladder,
        lake.read(LEVELS, symbol, date),
        _trades(lake, symbol, date, ladder.start_ns, time_ns),
        level_id,
        time_ns,
        params=trigger_params_of(lake, symbol, date),
        profile=lake.manifest(TAPE, symbol, date).lineage.profile or "rth",
        price=price,
        approach=approach,
        representation=representation,
    )


def moment_of(
    ladder: Ladder,
    levels: pl.DataFrame,
    trades: pl.DataFrame,
    level_id: str,
    time_ns: int,
    *,
    params: TriggerParams,
    profile: str,
    price: float | None = None,
    approach: str | None = None,
    representation: str = "means",
) -> Events:
    """As `moment_events`, of a session that need not be in a lake: `trades` are those before `time_ns`, `profile` is the session's."""
    import polars as pl

    from engine.features.vector import trigger_vectors, vector_names
    from engine.features.wall_table import wall_table
    from engine.ladder import NO_TICK
    from engine.sessions import session_windows
    from engine.setups.timeline import Timeline, ticks_at

    symbol, date = ladder.symbol, ladder.date
    if price is not None:
        from engine.features.windows import level_steps

        levels = pl.concat([levels.filter(pl.col("level_id") != level_id), level_steps(level_id, price, ladder)])
    have = levels["level_id"].unique(maintain_order=True).to_list()
    if level_id not in have:
        raise SessionError(f"{symbol} {date}: expected a level of {', '.join(have)}, found {level_id!r}; --price makes one of your own")
    features, setups = params.features, params.setups
    line = Timeline(ladder, trades, features.window_s)
    w = int(np.searchsorted(line.ends, time_ns, side="right")) - 1
    if w < 0 or time_ns > ladder.end_ns + features.window_s * NS:
        raise SessionError(
            f"{symbol} {date}: expected a moment within "
            f"{span_text(ladder.start_ns, ladder.end_ns, date)}, found {clock_text(time_ns, date)}"
        )
    ticks = {v: int(ticks_at(levels, v, line.starts[w : w + 1], ladder)[0]) for v in have}
    tick, last = ticks[level_id], int(line.last[w])
    if tick == NO_TICK or last == NO_TICK:
        raise SessionError(
            f"{symbol} {date}: {level_id} has no value, or there is no trade yet, at {clock_text(time_ns, date)} New York; a "
            "later moment has"
        )
    side = approach or _approach_side(ladder.last_tick[: int(line.end_second[w]) + 1], tick, f"{symbol} {date} {level_id}")
    end, episode = int(line.ends[w]), f"{date}/{symbol}/{level_id}/{side}/moment"
    start_ns = session_windows(date, profile, root_of(symbol)).trading_start_ns
    near = [v for v, t in ticks.items() if v != level_id and t != NO_TICK and abs(t - tick) <= setups.confluence_ticks]
    columns = {
        "trigger_id": [f"{episode}/{end}"], "episode_id": [episode], "session_date": [date], "level_id": [level_id], "approach": [side],
        "kind": ["moment"], "window_start_ts_ns": [int(line.starts[w])], "window_end_ts_ns": [end], "level_tick": [tick],
        "distance_ticks": [last - tick], "sigma": line.sigma(setups)[w : w + 1], "message_rate": line.rate("messages")[w : w + 1],
        "trade_rate": line.rate("trades")[w : w + 1], "seconds_into_session": [(end - start_ns) // NS],
        "touch_number": [1 + touches_before(ladder, levels, level_id, trades, end, params)], "confluent_levels": [len(near)],
    }  # fmt: skip
    types: dict[str, Any] = dict.fromkeys(("level_tick", "distance_ticks", "seconds_into_session"), pl.Int32)
    types |= dict.fromkeys(("touch_number", "confluent_levels"), pl.Int16)
    frame = pl.DataFrame(columns, schema_overrides=types).with_columns(pl.col("sigma").fill_nan(None))
    vector = trigger_vectors(ladder, frame, representation, features)
    dims = pl.lit(len(vector_names(representation, side)), pl.Int32)
    made = frame.with_columns(representation=pl.lit(representation), vector_dim=dims, vector=vector)
    groups = events_by_group(with_walls(made, wall_table(ladder, frame, features)))
    return next(e for e in groups.values() if len(e))


def _approach_side(last: np.ndarray, tick: int, where: str) -> str:
    """Approach direction by the last trade that was not exactly at the level."""
    from engine.ladder import NO_TICK

    away = np.flatnonzero((last != NO_TICK) & (last != tick))
    if not len(away):
        raise NoData(f"{where}: expected a trade away from the level to tell the side of the approach, found none; give --approach")
    return Approach.UP.value if last[away[-1]] < tick else Approach.DOWN.value


def _trades(lake: Lake, symbol: str, date: dt.date, start_ns: int, end_ns: int) -> pl.DataFrame:
    """Trades of the session before `end_ns`."""
    import polars as pl

    from engine.bars import BRONZE_TRADE_COLUMNS, is_trade, trade_rows
    from engine.lake.catalog import BRONZE_MBO
    from engine.sessions import utc_dates
    from engine.vocab import root_of

    days = [d for d in utc_dates(start_ns, max(end_ns, start_ns + 1)) if lake.find_manifest(BRONZE_MBO, symbol, d) is not None]
    parts = (p for d in days for p in lake.read_parts(BRONZE_MBO, symbol, d, BRONZE_TRADE_COLUMNS, is_trade()))
    return trade_rows(parts, root_of(symbol)).filter(pl.col("ts_event") < end_ns)


def touches_before(
    ladder: Ladder, levels: pl.DataFrame, level_id: str, trades: pl.DataFrame, end_ns: int, params: TriggerParams | None = None
) -> int:
    """Number of touches of the level in the session before `end_ns`, one per episode."""
    import polars as pl

    from engine.params import ApproachParams, FeatureParams, SetupParams
    from engine.setups.triggers import session_triggers

    mine = levels.filter(pl.col("level_id") == level_id)
    p = params or TriggerParams(SetupParams(), ApproachParams(), FeatureParams())
    found = session_triggers(ladder, mine, trades, p.setups, kinds=("touch",), approach=p.approach, window_s=p.features.window_s)
    return int((found["touch_ts_ns"] < end_ns).sum())


# ----------------------------------------------------------------------------
# Counterfactual queries: dimensions of a query's vector set by hand, together with the reference's covariates

MAGNITUDES = {"volatility_log": "sigma", "message_rate_log": "message_rate", "trade_rate_log": "trade_rate"}
"""Dimensions that are ``ln(1 + x)`` of a covariate of the reference forecast, to that covariate."""

DISTANCES = ("distance", "w0_t9_distance")
"""Dimensions (of `means`, of `blocks`) that are the query's distance over the far bound."""

UNCHANGED_COVARIATES = ("level_id", "approach", "seconds_into_session", "touch_number", "confluent_levels")
"""Inputs of the reference forecast that no dimension determines; `edited` leaves them unchanged."""


def edited(query: Events, values: Mapping[str, float], features: FeatureParams | None = None) -> Events:
    """The query with some dimensions of its vector, by name of `query.names`, set to raw values; a distance in far bounds of `features`.

    A dimension that is a covariate of the reference forecast (distance, volatility, message and trade rate) changes that as well, so that
    neighbours and reference describe the same setup. `UNCHANGED_COVARIATES` and all other dimensions are unchanged.

    Raises `ContractError` on an unknown dimension, or a value that is not finite or not possible.
    """
    import polars as pl

    at = {n: i for i, n in enumerate(query.names)}
    far = (features or FeatureParams()).zones.far
    matrix = query.matrix.copy()
    columns: list[pl.Expr] = []
    for name, value in values.items():
        if name not in at:
            near = [n for n in query.names if name.rpartition("_")[2] in n][:5]
            examples = ", ".join(near or query.names[:5])
            raise ContractError(f"dimension {name!r}: expected one of the {len(at)} of docs/FEATURES.md, such as {examples}")
        if not np.isfinite(value):
            raise ContractError(f"dimension {name!r}: expected a finite number, found {value}")
        if value < 0 and (name in MAGNITUDES or name in DISTANCES):
            raise ContractError(f"dimension {name!r}: expected 0 or more, found {value}")
        matrix[:, at[name]] = value
        if name in MAGNITUDES:
            columns.append(pl.lit(float(np.expm1(value))).alias(MAGNITUDES[name]))
        if name in DISTANCES:
            ticks = round(value * far)
            if abs(ticks - value * far) > 1e-6:
                low = int(value * far)
                raise ContractError(
                    f"dimension {name!r}: expected whole ticks over the far bound of {far}, such as {low / far:g} or {(low + 1) / far:g}, "
                    f"found {value}"
                )
            side = pl.when(pl.col("approach") == "approach_up").then(-ticks).otherwise(ticks)
            columns.append(side.cast(query.frame.schema["distance_ticks"]).alias("distance_ticks"))
    return Events(matrix, query.names, query.representation, query.frame.with_columns(columns))
