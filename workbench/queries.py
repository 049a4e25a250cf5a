"""Questions of the Research view to the lake: hit rates, conditions, audit, features, data quality; cached by the lake's state.

All may take seconds: views ask in a thread (`workbench.views.background`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.errors import ContractError, EngineError, NoData
from engine.lake.catalog import LADDER, LEVELS, ORDER_EVENTS, SIGNALS, TAPE, TRIGGERS, VACUUM, datasets
from engine.params import HORIZONS, AuditParams, RetrievalParams
from engine.vocab import Approach, root_of
from workbench.lakes import dataset_stamp as stamp
from workbench.lakes import open_lake
from workbench.workers import process_of

if TYPE_CHECKING:
    from engine.pipeline import PartitionState
    from engine.retrieval.events import Events
    from engine.retrieval.statistics import FeatureDistribution


# ----------------------------------------------------------------------------
# What the questions share: the market, and progress through a cache

Progress = Callable[[int, int, str], None]


def nothing(done: int, of: int, what: str) -> None:
    """Progress that nobody watches."""


@dataclass(unsafe_hash=True)
class Watched:
    """A progress callback as an argument of cached functions: all are equal, so that an answer is cached whoever watched."""

    report: Progress = field(compare=False)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        # The cache holds this object, and so would hold the page that watched.
        self.report = nothing


def market(contract: str | None) -> str | None:
    """Root of a contract; None where none is chosen."""
    return root_of(contract).code if contract else None


def simulated(root: str, of: str | None = None) -> bool:
    """Whether any session of the market (of the lake where None) is simulated: then what is counted over it is, too."""
    lake = open_lake(root)
    return any(
        lake.has(LADDER, s, d) and lake.is_simulated(LADDER, s, d) for s, d in lake.partitions(LADDER) if of in (None, root_of(s).code)
    )


# ----------------------------------------------------------------------------
# How often each level is touched, broken, rejected


def hit_rates(root: str, horizon: str, contract: str | None = None, progress: Progress = nothing) -> pl.DataFrame:
    """`engine.retrieval.statistics.hit_rates` of the contract's market (of the only one where None); NoData where it has no gold."""
    with Watched(progress) as watched:
        return _hit_rates(root, horizon, market(contract), stamp(root, TRIGGERS), watched)


@lru_cache(maxsize=8)
def _hit_rates(root: str, horizon: str, of: str | None, mark: str, watched: Watched) -> pl.DataFrame:
    from engine.retrieval.dataset import require_one_market, require_same_params, sessions_in, with_decided_until
    from engine.retrieval.statistics import NEEDED
    from engine.retrieval.statistics import hit_rates as rates

    lake = open_lake(root)
    columns = list(dict.fromkeys([*NEEDED, "window_end_ts_ns", *(f"outcome_{h}" for h in HORIZONS)]))
    sessions = sessions_in(lake, TRIGGERS, of)
    require_one_market(lake, sessions, of)
    require_same_params(lake, sessions)
    parts = []
    for i, (symbol, date) in enumerate(sessions):
        parts.append(with_decided_until(lake, symbol, date, lake.read(TRIGGERS, symbol, date, columns)))
        watched.report(i + 1, len(sessions), str(date))
    return rates(pl.concat(parts), horizon)


# ----------------------------------------------------------------------------
# How often walls hold, and how they end


@dataclass(frozen=True, eq=False)
class Walls:
    """`engine.retrieval.statistics.wall_rates`, the walls that it counts (`session_walls` with ``session_date, contract``), of how many
    sessions, and in words how many of those have no order events, with the command that makes them; empty where all have.
    """

    rates: pl.DataFrame
    table: pl.DataFrame
    sessions: int
    lacking: str


def walls(root: str, contract: str | None = None, progress: Progress = nothing) -> Walls:
    """Walls of all sessions of the contract's market (of the only one where None), and their fates; NoData where it has no ladder."""
    with Watched(progress) as watched:
        return _walls(root, market(contract), stamp(root, LADDER, ORDER_EVENTS), watched)


@lru_cache(maxsize=2)
def _walls(root: str, of: str | None, mark: str, watched: Watched) -> Walls:
    from engine.retrieval.dataset import require_one_market, sessions_in
    from engine.retrieval.statistics import wall_rates

    lake = open_lake(root)
    sessions = sessions_in(lake, LADDER, of)
    require_one_market(lake, sessions, of)
    parts, without = [], []
    for i, (symbol, date) in enumerate(sessions):
        have = lake.has(ORDER_EVENTS, symbol, date)
        without += [] if have else [(symbol, date)]
        digests = tuple(lake.manifest(key, symbol, date).digest() for key in (LADDER, TAPE, *([ORDER_EVENTS] if have else [])))
        parts.append(_walls_of(root, symbol, date, digests))
        watched.report(i + 1, len(sessions), str(date))
    watched.report(0, 0, "intervals")
    table, lacking = pl.concat(parts), ""
    if without:
        symbols, (first, last) = {s for s, _ in without}, (without[0][1], without[-1][1])
        symbol = symbols.pop() if len(symbols) == 1 else root_of(without[0][0]).code
        command = lake.repair_command(ORDER_EVENTS, symbol, first).replace(f"--dates {first}", f"--dates {first}:{last}")
        lacking = f"{len(without)} of {len(sessions)} sessions have no order events: `{command}` makes them"
    return Walls(wall_rates(table), table, len(sessions), lacking)


@lru_cache(maxsize=512)
def _walls_of(root: str, symbol: str, date: dt.date, digests: tuple[str, ...]) -> pl.DataFrame:
    from engine.features.wall_orders import session_walls
    from engine.ladder import Ladder

    lake = open_lake(root)
    events = lake.read(ORDER_EVENTS, symbol, date) if lake.has(ORDER_EVENTS, symbol, date) else None
    found = session_walls(Ladder.open(lake, symbol, date), events)
    return found.select(pl.lit(date).alias("session_date"), pl.lit(symbol).alias("contract"), pl.all())


# ----------------------------------------------------------------------------
# What followed, by how many of the four conditions were open


@dataclass(frozen=True, eq=False)
class Conditions:
    """What followed the four conditions: `engine.retrieval.trend.condition_trend` and `engine.retrieval.statistics.condition_table`."""

    trend: pl.DataFrame
    table: pl.DataFrame


def hypothesis(root: str, horizon: str, contract: str | None = None, progress: Progress = nothing) -> Conditions:
    """What followed the conditions in the contract's market (in the only one where None); an EngineError without gold."""
    with Watched(progress) as watched:
        return _hypothesis(root, horizon, market(contract), stamp(root, TRIGGERS, VACUUM), watched)


@lru_cache(maxsize=8)
def _hypothesis(root: str, horizon: str, of: str | None, mark: str, watched: Watched) -> Conditions:
    from engine.retrieval.statistics import condition_table
    from engine.retrieval.trend import condition_trend

    events, conditions = _conditions(root, of, mark, watched)
    watched.report(0, 0, "intervals and the reference of earlier sessions")
    params = AuditParams(retrieval=RetrievalParams(horizon=horizon))  # type: ignore[arg-type]
    return Conditions(condition_trend(events, conditions, params), condition_table(events, conditions, params))


def open_counts(root: str, contract: str, date: dt.date, horizon: str) -> pl.DataFrame:
    """`engine.retrieval.statistics.open_counts` of the contract's market before a session, in a process beside the page."""
    return process_of(str(date)).ask(nothing_more, _open_counts, root, contract, date, horizon)


def nothing_more() -> None:
    """An answer that is wanted to the end."""


def _open_counts(root: str, contract: str, date: dt.date, horizon: str) -> pl.DataFrame:
    from engine.retrieval.statistics import open_counts as counts

    with Watched(nothing) as watched:
        found = _conditions(root, market(contract), stamp(root, TRIGGERS, VACUUM), watched)
    return counts(*found, horizon, np.datetime64(date))


@lru_cache(maxsize=2)
def _conditions(root: str, of: str | None, mark: str, watched: Watched) -> tuple[Events, pl.DataFrame]:
    from engine.retrieval.statistics import condition_events

    return condition_events(open_lake(root), of, progress=watched.report)


# ----------------------------------------------------------------------------
# The stored audit, and what gold's own forecasts were worth


@dataclass(frozen=True, eq=False)
class Audit:
    """The stored audit: its table, its whole report, and when it was made."""

    frame: pl.DataFrame
    report: dict[str, Any]
    made: dt.datetime


@dataclass(frozen=True, eq=False)
class Worth:
    """The stored audit of the market (None with the reason `why` there is none), and what gold's own forecasts at `horizon` were worth by
    level and direction."""

    audit: Audit | None
    why: str
    by_level: pl.DataFrame
    horizon: str


def audit(root: str, of: str | None = None) -> Audit:
    """The audit stored in the lake.

    Raises
    ------
    PartitionMissing, PartitionCorrupt, NoData
        Where there is none, or it is of another market than `of`; with the command that makes one.
    """
    from engine.retrieval.audit_store import TABLE, audit_command, read_audit

    lake = open_lake(root)
    frame, report = read_audit(lake.root)
    was = report["made_of"].get("market") if report.get("made_of") else None
    if of is not None and was not in (None, of):
        raise NoData(f"the stored audit is of {was}, not of {of}; `{audit_command(lake, of)}` makes one of {of} in its place")
    made = (lake.root / TABLE).stat().st_mtime
    return Audit(frame, report, dt.datetime.fromtimestamp(made, dt.UTC))


def worth(root: str, contract: str | None = None, progress: Progress = nothing) -> Worth:
    """The audit, and gold's forecasts against what came, of the contract's market (of the only one where None); NoData without both."""
    progress(0, 0, "the stored audit")
    stored, why = None, ""
    try:
        stored = audit(root, market(contract))
    except EngineError as e:
        why = str(e)
    with Watched(progress) as watched:
        by_level, horizon = _by_level(root, market(contract), stamp(root, TRIGGERS, SIGNALS), watched)
    if stored is None and not by_level.height:
        raise NoData(why)
    return Worth(stored, why, by_level, horizon)


@lru_cache(maxsize=2)
def _by_level(root: str, of: str | None, mark: str, watched: Watched) -> tuple[pl.DataFrame, str]:
    from engine.retrieval.dataset import require_one_market, require_same_params
    from engine.retrieval.hints import gold_command
    from engine.retrieval.statistics import scores_by_level

    lake = open_lake(root)
    both = (p for p in lake.partitions(SIGNALS) if lake.has(SIGNALS, *p) and lake.has(TRIGGERS, *p))
    sessions = [p for p in both if of in (None, root_of(p[0]).code)]
    if not sessions:
        return pl.DataFrame(), ""
    require_one_market(lake, sessions, of)
    require_same_params(lake, sessions)
    horizons = {str(lake.manifest(SIGNALS, *p).lineage.values["retrieval"]["horizon"]) for p in sessions}
    if len(horizons) > 1:
        newest = max(sessions, key=lambda p: p[1])
        raise ContractError(
            f"{SIGNALS} in {root}: expected forecasts of one horizon, found {', '.join(sorted(horizons))}; "
            f"`{gold_command(lake, newest, [d for _, d in sessions])}` makes them all as that of {newest[1]} is"
        )
    horizon = horizons.pop()
    arm, signals, triggers = pl.col("kind") == "arm", [], []
    for i, (symbol, date) in enumerate(sessions):
        signals.append(lake.read(SIGNALS, symbol, date, where=arm))
        triggers.append(lake.read(TRIGGERS, symbol, date, ["trigger_id", "session_date", f"outcome_{horizon}"], arm))
        watched.report(i + 1, len(sessions), str(date))
    return scores_by_level(pl.concat(signals), pl.concat(triggers), horizon), horizon


# ----------------------------------------------------------------------------
# What the lake's data are worth


@dataclass(frozen=True, eq=False)
class Quality:
    """What is known of a market's data; `sessions` and `gaps` as `engine.lake.quality.quality_table`."""

    sessions: pl.DataFrame
    gaps: pl.DataFrame
    selection: pl.DataFrame
    stale: pl.DataFrame  # dataset, symbol, session_date, stale: partitions that the next run would make again
    datasets: pl.DataFrame  # dataset, partitions, rows, columns, holds: those of the catalog that have a partition of the market


def quality(root: str, contract: str | None = None, progress: Progress = nothing) -> Quality:
    """Every session's book, the selection map and what is stale, of the contract's market; NoData where it has no session at all."""
    from engine.lake.quality import quality_table
    from engine.pipeline import lake_state
    from engine.retrieval.hints import brings_sessions
    from engine.selection import read_selection, selection_frame

    lake = open_lake(root)
    of = market(contract) or next((root_of(s).code for s, _ in sorted(lake.partitions(LADDER))), None)
    sessions, gaps = quality_table(lake, progress, symbol=of)
    if of is None or not sessions.height:
        where = f"{LADDER} of {of or 'any market'} in {root}"
        raise NoData(f"{where}: expected sessions, found none: {brings_sessions(lake, of)}")
    progress(0, 0, "what is stale")
    held = [s for s in lake_state(lake) if root_of(s.symbol).code == of]
    stale = [(s.dataset, s.symbol, s.date, s.stale) for s in held if s.stale]
    schema = {"dataset": pl.String, "symbol": pl.String, "session_date": pl.Date, "stale": pl.String}
    selection = selection_frame([r for r in read_selection(lake, of) if root_of(r["dominant_symbol"]).code == of])
    return Quality(sessions, gaps, selection, pl.DataFrame(stale, schema=schema, orient="row"), _datasets(held))


def _datasets(held: list[PartitionState]) -> pl.DataFrame:
    rows = []
    for key, dataset in datasets().items():
        mine = [s.rows for s in held if s.dataset == key]
        if mine:
            contract = dataset.contract()
            rows.append((key, len(mine), sum(mine), len(contract.fields), contract.doc))
    schema = {"dataset": pl.String, "partitions": pl.Int64, "rows": pl.Int64, "columns": pl.Int64, "holds": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


# ----------------------------------------------------------------------------
# One feature of the trigger vectors: its distribution, and the place of a moment in it


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature's distribution, its value at a moment (None where it has none, with the reason), and the share of history below that."""

    distribution: FeatureDistribution
    now: float | None
    below: float | None
    why: str


def events(root: str, contract: str | None = None) -> dict[str, Events]:
    """The `arm` events of the gold of the contract's market (of the only one where None) by group; NoData without gold.

    Both directions are one group where their vectors are mirrored.
    """
    return _events(root, market(contract), stamp(root, TRIGGERS))


@lru_cache(maxsize=2)
def _events(root: str, of: str | None, mark: str) -> dict[str, Events]:
    from engine.retrieval.dataset import gold_events
    from engine.retrieval.hints import brings_sessions

    found = {k: e for k, e in gold_events(open_lake(root), of, kinds=("arm",)).items() if len(e)}
    if not found:
        raise NoData(
            f"{TRIGGERS} in {root}: expected armed approaches{f' of {of}' if of else ''}, found none; "
            f"{brings_sessions(open_lake(root), of)}"
        )
    return found


WINDOW = "w0_"
"""Beginning of a dimension's name that is a feature of the trigger's own window, as in `blocks` vectors."""


def dimensions(root: str, contract: str | None = None) -> dict[str, tuple[str, ...]]:
    """By group, what can be looked at: features of the trigger's own window that no dimension of its vector is made of, and the vector's.

    With mirrored vectors only the tape's features: those of the vacuum are not in the frame of travel. Raises as `events`.
    """
    from engine.features.registry import features
    from engine.features.vector import feature_of
    from engine.retrieval.dataset import MIRROR

    found = {}
    for group, e in events(root, contract).items():
        in_vector = {feature_of(n) for n in e.names}
        families = ("tape",) if group == MIRROR else ("vacuum_up" if group == Approach.UP else "vacuum_down", "tape")
        others = [f.name for family in families for f in features(family) if f.dtype == "float64" and f.name not in in_vector]
        found[group] = (*(WINDOW + n for n in others), *e.names)
    return found


def feature(
    root: str,
    group: str,
    name: str,
    horizon: str,
    moment: tuple[str, dt.date, str, int] | None,
    contract: str | None = None,
    progress: Progress = nothing,
) -> Feature:
    """Distribution of one feature in the contract's market, and its value at a moment (contract, session, level, end of the window).

    Raises
    ------
    EngineError
        Where the market has no gold, or its vectors no such feature.
    """
    of, mark = market(contract), stamp(root, TRIGGERS)
    distribution = _feature(root, of, group, name, horizon, mark, stamp(root, VACUUM))
    if moment is None:
        return Feature(distribution, None, None, "no moment is chosen yet: type a New York time beside the question")
    progress(0, 0, "the value at the cursor")
    query, why = _moment(root, *moment, stamp(root, LADDER, TAPE, LEVELS))
    history = _events(root, of, mark)[group]
    of_window = name not in history.names
    if query is not None and of_window:
        query, history = _with_windows(root, query, name), _with_windows(root, history, name)
    if query is None or name not in query.names:
        return Feature(distribution, None, None, why or "the moment approaches from the other side")
    from engine.retrieval.statistics import feature_values, share_below

    value = float(feature_values(query, name)[0])
    if value != value:
        lacks = "the lake's table of windows has no such window of the level"
        return Feature(distribution, None, None, lacks if of_window else "two minutes of a valid book are needed before the moment")
    return Feature(distribution, value, share_below(history, name, value), "")


@lru_cache(maxsize=64)
def _feature(root: str, of: str | None, group: str, name: str, horizon: str, mark: str, windows: str) -> FeatureDistribution:
    from engine.retrieval.statistics import feature_distribution

    found = _events(root, of, mark)[group]
    return feature_distribution(found if name in found.names else _with_windows(root, found, name), name, horizon)


def _with_windows(root: str, found: Events, name: str) -> Events:
    """`found` with the one dimension `name`, read from the table of the levels' windows; NaN where that has no such window."""
    from engine.retrieval.events import Events

    lake, column = open_lake(root), name.removeprefix(WINDOW)
    keys = ("level_id", "window_end_ts_ns")
    frame = found.frame.select("trigger_id", "session_date", *keys)
    frame = frame.with_columns(pl.col("trigger_id").str.split("/").list.get(1).alias("symbol"), pl.lit(None, pl.Float64).alias("value"))
    parts = []
    for (symbol, date), mine in frame.with_row_index("row").group_by("symbol", "session_date"):
        if lake.has(VACUUM, symbol, date):
            windows = lake.read(VACUUM, symbol, date, (*keys, column)).rename({column: "read"})
            mine = mine.join(windows, on=keys, how="left").with_columns(pl.col("read").alias("value")).drop("read")
        parts.append(mine.select("row", "value"))
    value = pl.concat(parts).sort("row")["value"].to_numpy() if parts else np.empty(0)
    return Events(value.astype(np.float32)[:, None], (name,), found.representation, found.frame)


@lru_cache(maxsize=16)
def _moment(root: str, symbol: str, date: dt.date, level_id: str, end_ns: int, mark: str) -> tuple[Events | None, str]:
    from engine.retrieval.dataset import MIRROR
    from engine.retrieval.neighbours import moment_events

    price = float(level_id.removeprefix("price:")) if level_id.startswith("price:") else None
    representation = "means" if MIRROR in events(root, symbol) else "blocks"
    try:
        return moment_events(open_lake(root), symbol, date, level_id, end_ns, price=price, representation=representation), ""
    except EngineError as e:
        return None, str(e)
