"""One session of one contract as read from the lake, and what is computed of it: level frames, touches, quotes, candles, scale tops.
`Session` is what the page, the replay, pictures and commands share; it knows no screen and caches what it computes.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import polars as pl

from engine.bars import BAR_NS, BRONZE_TRADE_COLUMNS, is_trade, trade_rows, trades_between
from engine.errors import EngineError, PartitionMissing, SessionError, UnknownLevel
from engine.features import level_windows, pressure_cube
from engine.features.flow_lead import FlowLead, flow_lead
from engine.features.walls import Wall, walls
from engine.ladder import NO_TICK, Ladder, known_cells
from engine.lake.catalog import BARS, BRONZE_MBO, LADDER, LEVELS, ORDER_EVENTS, TRIGGERS, dataset
from engine.lake.store import Lake, input_key
from engine.lake.trust import REASON_WORDS, record_in
from engine.levels import level_ids, price_level, title
from engine.params import ApproachParams, FeatureParams
from engine.sessions import utc_dates
from engine.vocab import NS, TriggerKind

if TYPE_CHECKING:
    import xarray as xr

P = ParamSpec("P")
T = TypeVar("T")


def cached_with_session(
    most: int, of: Callable[..., Hashable] | None = None
) -> Callable[[Callable[Concatenate[Session, P], T]], Callable[Concatenate[Session, P], T]]:
    """As `functools.lru_cache` with `most` answers a session, the function's first argument.
    A cache of the module would keep every session alive that it has an answer of, a ladder of 100 MB and more each.
    `of` tells of the function's arguments by what an answer grows old in a session under way, such as `so_far`; without it an answer stays:
    it is of an instant that its arguments name.
    """

    def decorate(function: Callable[Concatenate[Session, P], T]) -> Callable[Concatenate[Session, P], T]:
        @wraps(function)
        def answer(session: Session, /, *args: P.args, **more: P.kwargs) -> T:
            answers = session.cached.setdefault(function, OrderedDict())
            key = (of(session, *args, **more) if of is not None else None, args, tuple(sorted(more.items())))
            if key in answers:
                answers.move_to_end(key)
                return answers[key]  # type: ignore[no-any-return]
            found = answers[key] = function(session, *args, **more)
            while len(answers) > most:
                answers.popitem(last=False)
            return found

        return answer

    return decorate


def so_far(session: Session, *_: object, **__: object) -> int:
    """An answer is of all seconds that are there."""
    return session.known_seconds


SETUP_WINDOW_S = FeatureParams().window_s
"""Setups, and so touches, are looked for in windows of so many seconds."""


def touches_so_far(session: Session, *_: object, **__: object) -> int:
    """An answer is of the touches so far."""
    return session.known_seconds // SETUP_WINDOW_S


def levels_so_far(session: Session, *_: object, **__: object) -> int:
    """An answer is of the levels as they are known."""
    return session.levels_made


def windows_so_far(session: Session, level_id: str, params: FeatureParams) -> tuple[int, int]:
    """An answer is of all windows that have ended."""
    return (session.ladder.start_ns // NS + session.known_seconds) // params.window_s, session.levels_made


@dataclass(frozen=True, eq=False)
class Session:
    """One session of one contract, compared by identity; what its methods compute is cached in it and goes with it.

    Instants are ns since the epoch (UTC), prices are ticks, and a frame of levels has the columns of `engine.lake.catalog.LEVELS`.
    absent, notes: why a level is not in `levels`; what the lake lacks, with the command that makes it
    stamp: digests of the partitions that were read; empty where nobody asks for them
    gold_touches: ``level_id, touch_ts_ns`` of every touch as gold has them; None where gold has no triggers of this very ladder
    cached: what `cached_with_session` caches, by function, then by its other arguments
    lake: None of a session made from frames, which has no single trades
    trust: the trust record that the replay wrote; None where it wrote none
    profile: name of the session profile; empty of a session made from frames
    order_events: what single orders did (`engine.lake.catalog.ORDER_EVENTS`); None where the lake has not told
    """

    symbol: str
    date: dt.date
    ladder: Ladder
    bars: pl.DataFrame
    levels: pl.DataFrame
    absent: dict[str, str]
    notes: tuple[str, ...] = ()
    stamp: str = ""
    simulated: bool = False
    gold_touches: pl.DataFrame | None = None
    cached: dict[Hashable, OrderedDict[Any, Any]] = field(default_factory=dict, repr=False)
    lake: Lake | None = None
    trust: dict[str, Any] | None = None
    profile: str = ""
    order_events: pl.DataFrame | None = None

    @classmethod
    def open(cls, lake: Lake, symbol: str, date: dt.date, *, stamp: str = "", whole: bool = False) -> Session:
        """The session as the lake has it; PartitionMissing where the ladder or its tape is not there.
        Bars and levels may be missing, and are then named in `notes`, unless `whole`.
        """
        ladder = Ladder.open(lake, symbol, date)
        notes: list[str] = []

        def read(key: str, what: str) -> tuple[pl.DataFrame, dict[str, Any]]:
            try:
                return lake.read(key, symbol, date), lake.notes(key, symbol, date)
            except PartitionMissing as e:
                if whole:
                    raise
                notes.append(f"{what}: {e}")
                return dataset(key).contract().empty(), {}

        bars, _ = read(BARS, "No candles")
        levels, facts = read(LEVELS, "No key levels")
        absent = dict(facts.get("absent", {}))
        simulated = lake.is_simulated(LADDER, symbol, date)
        touches = _gold_touches(lake, symbol, date)
        made = lake.manifest(LADDER, symbol, date)
        return cls(
            symbol, date, ladder, bars, levels, absent, tuple(notes), stamp, simulated, touches, lake=lake, trust=record_in(made),
            profile=made.lineage.profile or "", order_events=_order_events(lake, symbol, date),
        )  # fmt: skip

    @property
    def known_seconds(self) -> int:
        """Seconds of the ladder that are there: all of them, but in a session under way (`engine.live.session`)."""
        return self.ladder.seconds

    @property
    def levels_made(self) -> int:
        """How often the levels were made anew."""
        return 0

    @property
    def under_way(self) -> bool:
        """Whether seconds are still to come."""
        return False

    @property
    def tick_size(self) -> float:
        """Price of one tick."""
        return self.ladder.root.tick_size

    @property
    def day_ns(self) -> int:
        """The instant whose offset New York's clock is shown with."""
        return self.ladder.start_ns

    # --- levels and their touches

    @cached_with_session(24, levels_so_far)
    def level(self, level_id: str) -> pl.DataFrame:
        """The level's steps; of ``price:X`` over the whole session.
        Raises UnknownLevel where there is no such level, or it is absent from this session, with the reason.
        """
        frame = self.levels.filter(pl.col("level_id") == level_id)
        if frame.height:
            return frame
        if level_id.startswith("price:"):
            return price_level(level_id, self.ladder.start_ns, self.ladder.end_ns, self.ladder.root)
        if level_id not in level_ids():
            raise UnknownLevel(f"level {level_id!r}: expected one of {', '.join(level_ids())} or price:6800.25")
        reason = self.absent.get(level_id, "the lake has no row of it")
        raise UnknownLevel(f"{level_title(level_id)} is absent from {self.symbol} {self.date}: {reason}")

    def has_level(self, level_id: str) -> bool:
        """Whether the lake's levels have it; a price of the trader's own is none of them."""
        return level_id in self.levels["level_id"]

    def levels_with(self, level_id: str) -> pl.DataFrame:
        """Steps of all levels, a trader's own price among them if `level_id` is one."""
        return self.levels if self.has_level(level_id) else pl.concat([self.levels, self.level(level_id).select(self.levels.columns)])

    @cached_with_session(24, touches_so_far)
    def touches(self, level_id: str) -> np.ndarray:
        """Instants at which price touched the level in the whole session (features.md section 8), int64, rising.

        They are the touches that gold has. Of a price of the trader's own, and where the lake has no gold of this very ladder, the function
        that gold calls finds them from ladder, levels and trades, with the parameters of gold.
        Raises UnknownLevel; PartitionMissing, with the command that makes them, where neither gold nor the trades of bronze are there;
        SessionError of a session that was made from frames.
        """
        levels, found = self.level(level_id), self.gold_touches
        if found is None or not self.has_level(level_id):
            found = self._find_touches(levels)
        return np.sort(found.filter(pl.col("level_id") == level_id)["touch_ts_ns"].to_numpy())

    def _find_touches(self, levels: pl.DataFrame) -> pl.DataFrame:
        # Here, for they load what most sessions never need.
        from engine.features.events import lake_triggers
        from engine.retrieval.dataset import trigger_params_of

        lake, _ = self._bronze("touches")
        p = trigger_params_of(lake, self.symbol, self.date)
        return lake_triggers(
            lake, self.ladder, (TriggerKind.TOUCH.value,), setups=p.setups, approach=p.approach, window_s=p.features.window_s,
            levels=levels,
        )  # fmt: skip

    def _bronze(self, what: str) -> tuple[Lake, list[dt.date]]:
        """The lake, and the UTC dates of the session whose records bronze has."""
        if self.lake is None:
            raise SessionError(f"{what} of {self.symbol} {self.date}: expected a session read from a lake, found one made from frames")
        days = utc_dates(self.ladder.start_ns, self.ladder.end_ns)
        held = [d for d in days if self.lake.has(BRONZE_MBO, self.symbol, d)]
        if not held:
            self.lake.manifest(BRONZE_MBO, self.symbol, days[0])  # says what is missing, and what makes it
        return self.lake, held

    @cached_with_session(1, so_far)
    def trades(self) -> pl.DataFrame:
        """Every single trade of the session: ``time`` (ns since the epoch, rising), ``tick``, ``size``, ``side`` (code of the aggressor's).

        A trade's time is the latest so far in file order, as in the replay. Raises PartitionMissing or PartitionCorrupt, with the command
        that makes it, where bronze of the session is not there; SessionError of a session that was made from frames.
        """
        return self._read_trades().select("time", "tick", "size", "side")

    def _read_trades(self) -> pl.DataFrame:
        lake, held = self._bronze("trades")
        parts = (p for d in held for p in lake.read_parts(BRONZE_MBO, self.symbol, d, BRONZE_TRADE_COLUMNS, is_trade()))
        return trades_between(trade_rows(parts, self.ladder.root), self.ladder.start_ns, self.ladder.end_ns)

    def touches_before(self, level_id: str, end_ns: int) -> int | None:
        """How often a level of the lake was touched before `end_ns`; None without gold, and of a price of the trader's own.
        A touch ends an approach: ``touch_number`` of features.md section 8 is one more than this.
        """
        if self.gold_touches is None or not self.has_level(level_id):
            return None
        return int(np.searchsorted(self.touches(level_id), end_ns, side="left"))

    # --- prices

    def last_tick(self, end_ts_ns: int) -> int | None:
        """The last trade's tick at the end of the window that ends at `end_ts_ns`; None before the first trade."""
        s = (end_ts_ns - self.ladder.start_ns) // NS - 1
        if not 0 <= s < self.ladder.seconds:
            return None
        tick = int(self.ladder.last_tick[s])
        return None if tick == NO_TICK else tick

    def best_ticks(self, ts_ns: int) -> dict[str, int]:
        """Ticks of the best ``bid`` and ``ask`` at the end of the second of `ts_ns`; empty without a known touch of two sides."""
        lad = self.ladder
        s = (ts_ns - lad.start_ns) // NS
        if not 0 <= s < lad.seconds or not (lad.valid[s] or lad.near_ticks[s] >= 0):
            return {}
        ticks = {"bid": int(lad.best_bid_tick[s]), "ask": int(lad.best_ask_tick[s])}
        return ticks if NO_TICK not in ticks.values() else {}

    def why_not_known(self, start_ns: int, end_ns: int) -> str:
        """Why the book is not valid in a second of the span, in words; empty where it is, or nobody wrote it down."""
        met = [reason for reason, a, b in (self.trust or {"spans": []})["spans"] if a < end_ns and start_ns < b]
        return "; ".join(dict.fromkeys(REASON_WORDS.get(reason, reason) for reason in met))

    def price_span(self) -> tuple[int, int]:
        """Lowest and highest tick at which the session traded; those of its levels where it did not."""
        last = self.ladder.last_tick[self.ladder.last_tick != NO_TICK]
        if last.size == 0:
            last = self.levels["level_tick"].to_numpy()
        return (int(last.min()), int(last.max())) if last.size else (0, 1)

    @cached_with_session(1, so_far)
    def candles(self) -> Candles:
        """Two-minute candles as they were at any second."""
        return Candles(self.bars, self.ladder.tape)

    # --- what stands at a moment

    @cached_with_session(64)
    def flow_lead(self, k_ref: int, end_ns: int, near: int, step_ticks: int = 1) -> FlowLead:
        """Which side's flow outpaces the other's within `near` ticks of tick `k_ref` (`engine.features.flow_lead`)."""
        return flow_lead(self.ladder, k_ref, end_ns, near=near, step_ticks=step_ticks)

    @cached_with_session(64)
    def walls(self, k_ref: int, end_ns: int) -> list[Wall]:
        """Walls around tick `k_ref` that stand at `end_ns` or have just ended (`engine.features.walls`)."""
        return walls(self.ladder, k_ref, end_ns)

    # --- windows, slices, and the tops of their colour scales

    @cached_with_session(48, windows_so_far)
    def windows(self, level_id: str, params: FeatureParams) -> pl.DataFrame:
        """The level's windows with features, conditions and approach (`engine.features.level_windows`)."""
        return level_windows(self.ladder, self.level(level_id), params, ApproachParams())

    @cached_with_session(12)
    def cube(self, start_ns: int, end_ns: int, low: int, high: int, window_s: int, step: int, half_life_s: float) -> xr.Dataset:
        """A slice of the ladder with the pressure at each price (`engine.features.pressure_cube`)."""
        return pressure_cube(self.ladder, start_ns, end_ns, low, high, window_s=window_s, step_ticks=step, half_life_s=half_life_s)

    @cached_with_session(32, so_far)
    def size_top(self, parts: tuple[str, ...], window_s: int, step: int, half_life_s: float) -> float | None:
        """Top of a colour scale for the whole session, contracts; None where the session has nothing to sample.
        `parts` are variables of the cube that are summed, such as ``("bid_depth", "ask_depth")``.
        """
        found = self._samples(window_s, step, half_life_s)
        return size_top(np.concatenate([cube_values(c, parts).ravel() for c in found])) if found else None

    @cached_with_session(4, so_far)
    def _samples(self, window_s: int, step: int, half_life_s: float) -> tuple[xr.Dataset, ...]:
        """Six short slices around the last trade, spread over the session: what a colour scale is set by, whatever is on screen."""
        lad = self.ladder
        traded = np.flatnonzero((lad.last_tick != NO_TICK) & lad.valid)
        if traded.size == 0:
            traded = np.arange(lad.seconds)
        moments = traded[(np.linspace(0.05, 0.95, 6) * (traded.size - 1)).astype(int)].tolist()
        return self._around(((s, s - 60, s + 60) for s in moments), window_s, step, half_life_s)

    @cached_with_session(128)
    def size_top_before(self, parts: tuple[str, ...], step: int, half_life_s: float, t: int) -> float:
        """Top of a colour scale from what was known `t` seconds after the session's start, contracts; windows of one second."""
        lad = self.ladder
        traded = np.flatnonzero((lad.last_tick[:t] != NO_TICK) & lad.valid[:t])
        moments = traded[np.unique((np.linspace(0.1, 1.0, 6) * (traded.size - 1)).astype(int))].tolist() if traded.size else []
        found = self._around(((s, max(s - 60, 0), s + 1) for s in moments), 1, step, half_life_s)
        return size_top(np.concatenate([cube_values(c, parts).ravel() for c in found])) if found else LEAST_TOP

    def _around(self, spans: Iterable[tuple[int, int, int]], window_s: int, step: int, half_life_s: float) -> tuple[xr.Dataset, ...]:
        """Slices of ``(second, begin, end)``, `SAMPLE_REACH` ticks around the last trade of the second."""
        out, lad = [], self.ladder
        for s, begin, end in spans:
            mid = int(lad.last_tick[s])
            # A sample that falls off the session's ends is left out; the others set the scale.
            with suppress(EngineError):
                if mid != NO_TICK:
                    span = (lad.start_ns + begin * NS, lad.start_ns + end * NS, mid - SAMPLE_REACH, mid + SAMPLE_REACH)
                    out.append(pressure_cube(lad, *span, window_s=window_s, step_ticks=step, half_life_s=half_life_s))
        return tuple(out)


def _gold_touches(lake: Lake, symbol: str, date: dt.date) -> pl.DataFrame | None:
    if not lake.has(TRIGGERS, symbol, date):
        return None
    made_from = lake.manifest(TRIGGERS, symbol, date).lineage.inputs
    if made_from.get(input_key(LADDER, symbol, date)) != lake.manifest(LADDER, symbol, date).digest():
        return None  # of an older ladder: its touches may not be those on the screen
    return lake.read(TRIGGERS, symbol, date, ["level_id", "touch_ts_ns"], pl.col("kind") == TriggerKind.TOUCH.value)


# ----------------------------------------------------------------------------
# Levels: their names, their tick at an instant, and the candles that meet them


def _order_events(lake: Lake, symbol: str, date: dt.date) -> pl.DataFrame | None:
    """The session's order events; None where there are none, or none that can be read (`spymaster lake` names those)."""
    try:
        return lake.read(ORDER_EVENTS, symbol, date)
    except PartitionMissing:
        return None


def level_title(level_id: str) -> str:
    """The level in words, such as ``PM High``."""
    return "Price" if level_id.startswith("price:") else title(level_id)


def tick_at(level: pl.DataFrame, ts_ns: int) -> int | None:
    """The tick of a level, given by its steps, at `ts_ns`; None where it has none."""
    i = int(np.searchsorted(level["start_ts_ns"].to_numpy(), ts_ns, side="right")) - 1
    return int(level["level_tick"][i]) if i >= 0 and ts_ns < level["end_ts_ns"][i] else None


def candles_at_level(bars: pl.DataFrame, level: pl.DataFrame, tape: pl.DataFrame | None = None) -> pl.DataFrame:
    """The candles that meet a level: ``window_start_ts_ns, level_tick, side`` (-1 came from below, 1 from above, 0 was at it).

    They are the candle triggers of features.md section 8 (gold's kind ``candle``): the level's tick is that at the candle's start, a candle
    meets it when it lies within its low and high, and the side is that of the latest trade away from the level before it is met. Only the
    tape (``mbo_tape_1s``) has the side of a candle that opens at the level after one that closed at it.
    """
    at = bars.sort("window_start_ts_ns").join_asof(
        level.sort("start_ts_ns").select("start_ts_ns", "end_ts_ns", pl.col("level_tick").cast(pl.Int64).alias("k")),
        left_on="window_start_ts_ns", right_on="start_ts_ns",
    )  # fmt: skip
    k = pl.col("k")
    side = (pl.col("open_tick").cast(pl.Int64) - k).sign()
    before = (pl.col("close_tick").cast(pl.Int64).shift() - k).sign().fill_null(0)
    hit = (pl.col("low_tick") <= k) & (pl.col("high_tick") >= k) & (pl.col("window_start_ts_ns") < pl.col("end_ts_ns"))
    met = (
        at.with_columns(pl.when(side == 0).then(before).otherwise(side).cast(pl.Int64).alias("side"))
        .filter(hit)
        .select("window_start_ts_ns", k.alias("level_tick"), "side")
    )
    if tape is None or not (met["side"] == 0).any():
        return met
    sides = [s or _came_from(tape, start, k) for start, k, s in met.iter_rows()]
    return met.with_columns(pl.Series("side", sides, pl.Int64))


def _came_from(tape: pl.DataFrame, end_ns: int, k: int) -> int:
    """Side of `k` on which the last second before `end_ns` that traded away from it did so; 0 where none did."""
    away = (pl.col("low_tick") != k) | (pl.col("high_tick") != k)
    last = tape.filter((pl.col("window_start_ts_ns") < end_ns) & (pl.col("trades") > 0) & away).tail(1)
    if last.height == 0:
        return 0
    low, close = int(last["low_tick"][0]), int(last["last_tick"][0])
    # A second that ended at the level came to it from below where it traded there.
    return int(np.sign(close - k)) or (-1 if low < k else 1)


# ----------------------------------------------------------------------------
# Best prices of windows, and candles as they were at a second


@dataclass(frozen=True)
class Quotes:
    """Best prices of consecutive windows, ``(windows + 1,)`` each.

    edges_ns: int64, each window's start, and the end of the last
    bid, ask: float64, ticks at each window's end, NaN where a side is empty or not even the touch was known in all of it; the last one is
        there twice, so that a step drawn from edge to edge ends with its window
    """

    edges_ns: np.ndarray
    bid: np.ndarray
    ask: np.ndarray


def best_quotes(tape: pl.DataFrame, window_s: int = 1) -> Quotes:
    """Best bid and ask at the end of each window; the tape's first second is the start of one, and a part of one at the end is left out."""
    n = tape.height // window_s
    at = tape.gather_every(window_s, offset=window_s - 1).head(n)
    known = tape["book_valid"].to_numpy().astype(bool)
    if "near_ticks" in tape.columns:
        known = known | tape["near_ticks"].is_not_null().to_numpy()
    ok = known[: n * window_s].reshape(n, window_s).all(axis=1)
    start = tape["window_start_ts_ns"].to_numpy()[: n * window_s : window_s]
    sides = {}
    for side in ("bid", "ask"):
        line = np.where(ok, at[f"best_{side}_tick"].cast(pl.Float64).fill_null(float("nan")).to_numpy(), np.nan)
        sides[side] = np.append(line, line[-1:])
    return Quotes(np.append(start, start[-1:] + window_s * NS), sides["bid"], sides["ask"])


@dataclass
class Candle:
    """The candle under way, ticks: its values at a second's end."""

    open: int
    high: int
    low: int
    close: int


class Candles:
    """Two-minute candles of a session as they were at any second, from ``bars_2m`` and the tape, a row a second without gaps.
    A bar that began before the tape counts from its start.
    """

    def __init__(self, bars: pl.DataFrame, tape: pl.DataFrame) -> None:
        self.bars, self.seconds = bars, tape.height
        self.start_ns = int(tape["window_start_ts_ns"][0])
        self.begins, self.ends = (bars[f"window_{e}_ts_ns"].to_numpy() for e in ("start", "end"))
        self.opens = bars["open_tick"].to_numpy()
        traded = tape["trades"].fill_null(0).to_numpy() > 0
        self.close = tape["last_tick"].fill_null(0).to_numpy()[np.maximum.accumulate(np.where(traded, np.arange(traded.size), 0))]
        high, low = (tape[f"{k}_tick"].fill_null(0).to_numpy().astype(np.int64) for k in ("high", "low"))
        high[~traded], low[~traded] = NO_TICK, -NO_TICK
        bar_of = (self.start_ns // NS + np.arange(self.seconds)) // (BAR_NS // NS)
        first = np.flatnonzero(np.diff(bar_of, prepend=bar_of[0] - 1))
        self.high, self.low = high, low
        for a, b in zip(first, [*first[1:], self.seconds]):
            self.high[a:b] = np.maximum.accumulate(high[a:b])
            self.low[a:b] = np.minimum.accumulate(low[a:b])
        # Sums since the bar's start, of the columns that the bars have too.
        self._first = first[np.searchsorted(first, np.arange(self.seconds), side="right") - 1]
        self._sums = {
            name: np.append(0, np.cumsum(tape.select(pl.sum_horizontal(pl.col(*of).fill_null(0).cast(pl.Int64))).to_series().to_numpy()))
            for name, of in SUMMED.items()
            if name in bars.columns
        }

    def done(self, t: int) -> int:
        """How many candles had closed `t` seconds after the tape's start."""
        return int(np.searchsorted(self.ends, self.start_ns + t * NS, side="right"))

    def running(self, t: int) -> Candle | None:
        """The candle under way; None where its bar has not traded yet."""
        i, now = self.done(t), self.start_ns + t * NS
        if t == 0 or i >= self.begins.size or self.begins[i] >= now or self.high[t - 1] == NO_TICK:
            return None
        # The bar's first trade came before this second's end, so that its open is no look ahead.
        return Candle(int(self.opens[i]), int(self.high[t - 1]), int(self.low[t - 1]), int(self.close[t - 1]))

    def until(self, t: int, since_ns: int = 0) -> pl.DataFrame:
        """Candles that ended after `since_ns`, columns of `bars`; the last one as it was then, without later ones."""
        i = self.done(t)
        first = int(np.searchsorted(self.ends, since_ns, side="right"))
        out = self.bars.slice(first, max(i - first, 0))
        run = self.running(t)
        if run is None:
            return out
        values = {f"{k}_tick": getattr(run, k) for k in ("high", "low", "close")}
        values |= {name: int(total[t] - total[self._first[t - 1]]) for name, total in self._sums.items()}
        last = self.bars.slice(i, 1).with_columns(pl.lit(v).cast(self.bars.schema[c]).alias(c) for c, v in values.items())
        return pl.concat([out, last])


SUMMED = {"volume": ("buy_volume", "sell_volume"), **{name: (name,) for name in ("buy_volume", "sell_volume", "trades")}}
"""Column of a bar -> columns of the tape whose sum it is."""


# ----------------------------------------------------------------------------
# What a colour scale is set by

SAMPLE_REACH = 20
"""A scale's samples reach so many ticks to both sides of the last trade."""

LEAST_TOP = 5.0
"""Contracts; no scale ends lower."""


def cube_values(cube: xr.Dataset, parts: tuple[str, ...]) -> np.ndarray:
    """Sum of the cube's variables `parts`, shape (windows, rows), float32; NaN where the book is not known."""
    first, *rest = (cube[p].to_numpy() for p in parts)
    out = first.astype(np.float32)
    for more in rest:
        out += more
    out[~known_cells(cube)] = np.nan
    return out


def nice_top(x: float) -> float:
    """Smallest of 1, 1.5, 2, 3, 5, 7.5 times a power of ten that is not below `x` (at least `LEAST_TOP`)."""
    x = max(float(x), LEAST_TOP)
    power = 10.0 ** np.floor(np.log10(x))
    return float(next((m * power for m in (1, 1.5, 2, 3, 5, 7.5) if m * power >= x * (1 - 1e-9)), 10 * power))


def size_top(shown: np.ndarray) -> float:
    """A round number at the 99.5% quantile of what is above zero, contracts."""
    live = shown[np.isfinite(shown) & (shown > 0)]
    return nice_top(float(np.quantile(live, 0.995))) if live.size else LEAST_TOP
