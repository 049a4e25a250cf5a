"""Simulated mornings as events to audit: order streams of a planted law, in memory, with an oracle that is told the regime.

A morning has a level, and a regime at it, at every `STEP_TICKS`. Its ladder, triggers, labels and vectors are made by the pipeline's own
functions from the simulated orders, without files between; the events of each morning are kept on disk by the code that made them.
"""

from __future__ import annotations

import datetime as dt
import os
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.bars import trade_rows
from engine.features.events import in_representation
from engine.features.vector import vector_names
from engine.ladder import Ladder
from engine.lake.writer import write_parquet_atomic
from engine.mbo.replay import LadderReplay
from engine.params import FeatureParams, SimParams
from engine.provenance import accepted, code_of
from engine.retrieval.events import Events, Progress, events_from_frame
from engine.runner import wait_for_some
from engine.sessions import to_ns
from engine.setups.triggers import session_triggers
from engine.simulate.day import Day
from engine.simulate.fidelity import columns_of
from engine.simulate.regimes import finish_day
from engine.vocab import NS, Action, Approach, root_of

STEP_TICKS = 40
"""Ticks from level to level: far enough that an approach to one is none to another."""

START, END = dt.time(9, 30), dt.time(12, 35)
FIRST = dt.date(2025, 9, 16)
WEEK = 5

BEFORE_NS = 1800 * NS
"""Trades from so long before the morning on are kept: volatility looks back half an hour."""

TRADE = list(Action).index(Action.TRADE)
FAMILIES = ("vacuum_down", "vacuum_up", "tape", "wall")
REPRESENTATIONS = ("means", "wall")
"""Representations of a morning's events."""


@dataclass(frozen=True)
class Morning:
    """One contract's morning: the ladder's two tables, trades (``ts_event, tick, size, side``) and the truth (`Day.truth`)."""

    symbol: str
    date: dt.date
    rows: pl.DataFrame
    tape: pl.DataFrame
    trades: pl.DataFrame
    truth: pl.DataFrame

    @cached_property
    def ladder(self) -> Ladder:
        """The price ladder of the morning."""
        return Ladder.from_frames(self.rows, self.tape, symbol=self.symbol, date=self.date)

    def levels(self) -> pl.DataFrame:
        """Levels at every `STEP_TICKS` that trades came near, as the table of levels has them."""
        low, high = (int(x) // STEP_TICKS for x in (self.trades["tick"].min(), self.trades["tick"].max()))  # type: ignore[arg-type]
        ticks = [k * STEP_TICKS for k in range(low, high + 2)]
        root, n = root_of(self.symbol), len(ticks)
        return pl.DataFrame(
            {
                "level_id": [f"price:{root.to_price(k):g}" for k in ticks],
                "start_ts_ns": [self.ladder.start_ns] * n,
                "end_ts_ns": [self.ladder.end_ns] * n,
                "price": [float(root.to_price(k)) for k in ticks],
                "level_tick": pl.Series(ticks, dtype=pl.Int32),
            }
        )


def morning_params(*, seed: int, kappa: float, gamma: float = 0.5, rate: float = 0.10, wall: tuple[int, ...] = (0, 1, 2)) -> SimParams:
    """Parameters of mornings; morning `k` has the seed ``seed + k``."""
    return SimParams(seed=seed, rate=rate, kappa=kappa, gamma=gamma, round_ticks=STEP_TICKS, thin_after=END, wall=wall)


def morning_date(number: int) -> dt.date:
    """Date that morning `number` is simulated on: the days of one week in turn, since the seed alone makes it another."""
    days = [FIRST + dt.timedelta(days=d) for d in range(7)]
    return [d for d in days if d.weekday() < WEEK][number % WEEK]


def make_morning(number: int, params: SimParams) -> Morning:
    """Morning `number` of a market."""
    date = morning_date(number)
    day = Day(date, params.model_copy(update={"seed": params.seed + number}))
    start, end = to_ns(date, START), to_ns(date, END)
    replay = LadderReplay({day.main_id: day.main_symbol}, start, end)
    trades = []
    for words in day.run_main(end, opening=True):
        columns = columns_of(words, day.main_id)
        replay.feed(columns)
        if len(columns) and columns.ts_event[-1] >= start - BEFORE_NS:
            names = ("ts_event", "price", "size", "side", "action")
            trades.append(pl.DataFrame({n: getattr(columns, n) for n in names}).filter(pl.col("action") == TRADE))
    made = replay.finish()[day.main_symbol]
    finish_day(day.books[0].st, day.levels)
    return Morning(day.main_symbol, date, made.rows, made.tape, trade_rows(trades, root_of(day.main_symbol)), day.truth())


# ----------------------------------------------------------------------------
# Events of mornings: armed triggers with their vectors, and which regime lived at the level then

SESSIONS_FROM = dt.date(2000, 1, 3)
"""Session date of morning 0; morning `k` is so many days later, so that every morning is a session of its own and they are in order."""

LIVE, TOUCHED, OTHER_WAY = "live", "touched", "other way"
"""What the regime at a trigger's level is to it: not yet touched and of its own direction; touched and not yet decided; of the other
direction. None where no regime lives at the level."""


def morning_events(number: int, params: SimParams) -> pl.DataFrame:
    """Armed triggers of a morning: `engine.setups.triggers.trigger_schema`, a vector per representation, ``regime`` and ``regime_is``."""
    morning = make_morning(number, params)
    ladder = morning.ladder
    triggers = session_triggers(
        ladder, morning.levels(), morning.trades, kinds=("arm",), trading_start_ns=ladder.start_ns, data_end_ns=ladder.end_ns
    )
    made = {r: in_representation(ladder, triggers, r, FeatureParams())["vector"].alias(r) for r in REPRESENTATIONS}
    frame = triggers.with_columns(*made.values(), *regimes_at(triggers, morning.truth))
    session = SESSIONS_FROM + dt.timedelta(days=number)
    later = (session - morning.date).days * 86_400 * NS
    times = [c for c in frame.columns if c.endswith("_ts_ns")]
    ids = [pl.col(c).str.replace(str(morning.date), str(session), literal=True) for c in ("trigger_id", "episode_id")]
    return frame.with_columns(pl.lit(session).alias("session_date"), pl.col(times) + later, *ids)


def regimes_at(triggers: pl.DataFrame, truth: pl.DataFrame) -> list[pl.Series]:
    """Columns ``regime`` and ``regime_is`` (`LIVE`, `TOUCHED`, `OTHER_WAY`) of triggers; null where no regime lives at their level.

    A level of the same name is the same, too, where the truth has names: one that moves was elsewhere when its regime ended.
    """
    regime: list[str | None] = []
    what: list[str | None] = []
    named = "level_id" in truth.columns
    for end, tick, level, approach in triggers.select("window_end_ts_ns", "level_tick", "level_id", "approach").iter_rows():
        same = pl.col("level_tick") == tick
        if named:
            same = same | (pl.col("level_id") == level)
        here = truth.filter(same & (pl.col("start_ts_ns") <= end) & (pl.col("end_ts_ns") > end)).tail(1)
        if not here.height:
            regime.append(None)
            what.append(None)
            continue
        found = here.row(0, named=True)
        touched = found["touch_ts_ns"] is not None and end > found["touch_ts_ns"]
        regime.append(found["regime"])
        what.append(OTHER_WAY if found["approach"] != approach else TOUCHED if touched else LIVE)
    return [pl.Series("regime", regime, pl.String), pl.Series("regime_is", what, pl.String)]


@dataclass(frozen=True)
class MarketEvents:
    """Events of mornings, row for row: in `means` and in `wall`, and the regimes at them.

    `regime` and `regime_is` are object arrays ``(n,)`` of the names in the columns of `morning_events`, None without a regime.
    """

    means: Events
    wall: Events
    regime: NDArray[np.object_]
    regime_is: NDArray[np.object_]

    @property
    def live(self) -> NDArray[np.bool_]:
        """Mask of the events at which a regime lived."""
        return np.asarray(self.regime_is == LIVE)

    def take(self, which: NDArray[np.bool_]) -> MarketEvents:
        """The events at a mask."""
        return MarketEvents(self.means.take(which), self.wall.take(which), self.regime[which], self.regime_is[which])


def events_of(frames: list[pl.DataFrame]) -> MarketEvents:
    """Events of the frames of `morning_events`, in the order of their sessions."""
    frame = pl.concat(frames).sort("window_end_ts_ns", "level_id", "kind", maintain_order=True)
    names = {r: vector_names(r, Approach.UP.value) for r in REPRESENTATIONS}
    parts = {}
    for r in REPRESENTATIONS:
        dims = pl.lit(len(names[r]), pl.Int32).alias("vector_dim")
        rows = frame.drop("regime", "regime_is", *(o for o in REPRESENTATIONS if o != r)).rename({r: "vector"})
        parts[r] = events_from_frame(rows.with_columns(pl.lit(r).alias("representation"), dims), names[r])
    regimes = (np.array(frame[c].to_list(), dtype=object) for c in ("regime", "regime_is"))
    return MarketEvents(parts["means"], parts["wall"], *regimes)


def cache_folder(params: SimParams) -> Path:
    """Folder in which the events of a market are kept: of the code that makes them, and of the market's parameters."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    code = accepted(code_of(morning_events), {"_FEATURES.name": None, "_FEATURES.family": FAMILIES, "ROOTS.code": {params.root}})[0]
    return base / "spymaster" / "mornings" / code[:16] / params.digest()[:16]


def kept_events(number: int, params: SimParams, folder: Path) -> Path:
    """File with the events of morning `number`, made unless it is there."""
    path = folder / f"{number:04d}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet_atomic(path, morning_events(number, params))
    return path


def market_events(
    mornings: int, params: SimParams, folder: Path, *, executor: Executor | None = None, progress: Progress | None = None
) -> MarketEvents:
    """Events of so many mornings, from `folder` where they are kept there; an `executor` makes several at once."""
    paths: dict[int, Path] = {}

    def done(number: int, path: Path) -> None:
        paths[number] = path
        if progress is not None:
            progress(len(paths), mornings, f"morning {number + 1}")

    if executor is None:
        for k in range(mornings):
            done(k, kept_events(k, params, folder))
    else:
        jobs = {executor.submit(kept_events, k, params, folder): k for k in range(mornings)}
        pending = set(jobs)
        while pending:
            ready = wait_for_some(pending)
            pending -= ready
            for job in ready:
                done(jobs[job], job.result())
    return events_of([pl.read_parquet(paths[k]) for k in range(mornings)])
