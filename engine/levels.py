"""Levels (prices a trader watches) as step functions of time without look-ahead (lake.md, Levels).
A level is a function of the session's `LevelInputs` to `Steps`, or to the reason why it is absent, registered here by `level`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import polars as pl

from engine.bars import require_trades, trades_between
from engine.errors import UnknownLevel
from engine.params import LevelParams
from engine.sessions import SessionWindows, clock_text
from engine.vocab import NS, Root


@dataclass(frozen=True)
class Gap:
    """A span ``[start_ns, end_ns)`` without data, and the reason, such as a missing UTC file."""

    start_ns: int
    end_ns: int
    reason: str


@dataclass(frozen=True)
class LevelInputs:
    """Inputs of level functions.

    trades_session: ``ts_event, tick, size, side`` of all trades from the Globex open to the ladder's end, in file order; others are ignored
    trades_pd: the same of the previous full RTH session, cut to its span, or None; `pd_reason` says why
    bars: `engine.bars.bars_2m` of the Globex day
    gaps: spans of that day without data; a level whose window overlaps one is absent with its reason, a moving level ends at its start
    """

    windows: SessionWindows
    root: Root
    trades_session: pl.DataFrame
    trades_pd: pl.DataFrame | None
    pd_reason: str
    bars: pl.DataFrame
    gaps: tuple[Gap, ...] = field(default=())

    def gap_in(self, start_ns: int, end_ns: int) -> Gap | None:
        """The first gap that overlaps the span, or None."""
        met = [g for g in self.gaps if g.start_ns < end_ns and start_ns < g.end_ns]
        return min(met, key=lambda g: g.start_ns, default=None)

    def trades_in(self, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Trades of the span, by the latest ``ts_event`` so far, as in the replay."""
        return trades_between(self.trades_session, start_ns, end_ns)


@dataclass(frozen=True)
class Steps:
    """A step function: ``price[i]`` holds from ``start_ts_ns[i]`` (rising) to the next start, the last one to `end_ns`."""

    start_ts_ns: np.ndarray
    price: np.ndarray
    end_ns: int


LevelFunction = Callable[[LevelInputs], Steps | str]


@dataclass(frozen=True)
class LevelSpec:
    """A registered level: id, title on the screen, meaning, and the function that makes it."""

    level_id: str
    title: str
    meaning: str
    function: LevelFunction


LEVELS: dict[str, LevelSpec] = {}
_PRICE = re.compile(r"^price:(?P<price>[-+]?\d+(\.\d+)?)$")


def level(level_id: str, title: str, meaning: str) -> Callable[[LevelFunction], LevelFunction]:
    """Register a level function under `level_id`."""

    def register(function: LevelFunction) -> LevelFunction:
        if level_id in LEVELS:
            raise UnknownLevel(f"level {level_id!r}: expected a new id, it is registered already")
        LEVELS[level_id] = LevelSpec(level_id, title, meaning, function)
        return function

    return register


def level_ids() -> tuple[str, ...]:
    """Ids of all registered levels; ``price:<price>`` is one too, for any price."""
    return tuple(LEVELS)


def parse_level_id(level_id: str) -> tuple[str, float | None]:
    """``("price", 6800.25)`` for ``price:6800.25``, ``(level_id, None)`` for a registered level; UnknownLevel names the known ids."""
    if level_id in LEVELS:
        return level_id, None
    m = _PRICE.match(level_id)
    if m is None:
        raise UnknownLevel(f"level {level_id!r}: expected one of {', '.join(LEVELS)}, or price:<price> such as price:6800.25")
    return "price", float(m["price"])


def title(level_id: str) -> str:
    """Display name of a level, such as ``PM High``; the price itself for a fixed price."""
    name, price = parse_level_id(level_id)
    return LEVELS[name].title if price is None else f"{price:.10g}"


def meaning(level_id: str) -> str:
    """A sentence on what the level is and from when on it is known."""
    name, price = parse_level_id(level_id)
    return LEVELS[name].meaning if price is None else "A price the trader chose; it stands for the whole session."


LEVEL_SCHEMA = pl.Schema(
    {"level_id": pl.String, "start_ts_ns": pl.Int64, "end_ts_ns": pl.Int64, "price": pl.Float64, "level_tick": pl.Int32}
)


def nearest_ticks(price: np.ndarray, root: Root) -> np.ndarray:
    """Nearest tick of each price, ties up (features.md section 2), int32; the vectorised `Root.to_tick`."""
    return np.floor(np.asarray(price, np.float64) / root.tick_size + 0.5 + 1e-9).astype(np.int32)


def build_levels(inputs: LevelInputs, params: LevelParams) -> tuple[pl.DataFrame, dict[str, str]]:
    """(frame, absent): the levels of `params` clipped to the session's ladder, and by level id why a level has no row.
    The frame has `LEVEL_SCHEMA`, in the order of ``params.level_ids``, then of time; spans of one level neither overlap nor leave gaps.
    Raises UnknownLevel, ContractError.
    """
    require_trades(inputs.trades_session, "trades of the session for levels")
    if inputs.trades_pd is not None:
        require_trades(inputs.trades_pd, "trades of the previous RTH session for levels")
    frames = [LEVEL_SCHEMA.to_frame()]
    absent: dict[str, str] = {}
    for level_id in params.level_ids:
        name, price = parse_level_id(level_id)
        made = _fixed(inputs, inputs.windows.ladder_start_ns, price) if price is not None else LEVELS[name].function(inputs)
        frame = made if isinstance(made, str) else _clip(level_id, made, inputs)
        if isinstance(frame, str):
            absent[level_id] = frame
        else:
            frames.append(frame)
    return pl.concat(frames), absent


def price_level(level_id: str, start_ns: int, end_ns: int, root: Root) -> pl.DataFrame:
    """LEVELS frame of a ``price:<price>`` level over ``[start_ns, end_ns)``; UnknownLevel where the id is not of that form."""
    _, price = parse_level_id(level_id)
    if price is None:
        raise UnknownLevel(f"level {level_id!r}: expected price:<price>; a registered level is read from the lake")
    return _frame(level_id, np.array([start_ns]), np.array([end_ns]), np.array([price]), root)


def _frame(level_id: str, start: np.ndarray, end: np.ndarray, price: np.ndarray, root: Root) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "level_id": [level_id] * len(start),
            "start_ts_ns": start,
            "end_ts_ns": end,
            "price": np.round(np.asarray(price, np.float64), 9),
            "level_tick": nearest_ticks(price, root),
        },
        schema=LEVEL_SCHEMA,
    )


def _clip(level_id: str, steps: Steps, inputs: LevelInputs) -> pl.DataFrame | str:
    w = inputs.windows
    last = min(steps.end_ns, w.ladder_end_ns)
    start = np.maximum(steps.start_ts_ns, w.ladder_start_ns)
    end = np.minimum(np.append(steps.start_ts_ns[1:], last), last)
    keep = start < end
    if not keep.any():
        return f"known only after the session's ladder, which ends at {_clock(w.ladder_end_ns)}"
    return _frame(level_id, start[keep], end[keep], steps.price[keep], inputs.root)


def _clock(ns: int) -> str:
    return f"{clock_text(ns)} New York"


def _fixed(inputs: LevelInputs, known_ns: int, price: float) -> Steps:
    return Steps(np.array([known_ns]), np.array([price]), inputs.windows.ladder_end_ns)


def _extreme(inputs: LevelInputs, start_ns: int, end_ns: int, what: str, high: bool) -> Steps | str:
    """High or low of a window's trades, known from the window's end on."""
    if end_ns >= inputs.windows.ladder_end_ns:
        return f"the {what} window ends after the session's ladder, so that the level is not known within it"
    gap = inputs.gap_in(start_ns, end_ns)
    if gap is not None:
        return f"the {what} window lacks data: {gap.reason}"
    ticks = inputs.trades_in(start_ns, end_ns)["tick"]
    if ticks.is_empty():
        return f"no trade in the {what} window, {_clock(start_ns)} to {_clock(end_ns)}"
    tick = ticks.max() if high else ticks.min()
    return _fixed(inputs, end_ns, inputs.root.to_price(int(tick)))  # type: ignore[arg-type]


def _premarket(inputs: LevelInputs, high: bool) -> Steps | str:
    return _extreme(inputs, inputs.windows.premarket_start_ns, inputs.windows.premarket_end_ns, "premarket", high)


def _opening_range(inputs: LevelInputs, high: bool) -> Steps | str:
    return _extreme(inputs, inputs.windows.trading_start_ns, inputs.windows.opening_range_end_ns, "opening-range", high)


def _overnight(inputs: LevelInputs, high: bool) -> Steps | str:
    return _extreme(inputs, inputs.windows.globex_start_ns, inputs.windows.overnight_end_ns, "overnight", high)


def _previous_day(inputs: LevelInputs, pick: Callable[[pl.Series], object]) -> Steps | str:
    if inputs.trades_pd is None:
        return inputs.pd_reason or "no data of the previous RTH session"
    if inputs.trades_pd.is_empty():
        return "no trade of this contract in the previous RTH session"
    tick = pick(inputs.trades_pd["tick"])
    return _fixed(inputs, inputs.windows.ladder_start_ns, inputs.root.to_price(int(tick)))  # type: ignore[call-overload]


level("pm_high", "PM High", "Highest premarket trade, known from the end of the premarket on.")(partial(_premarket, high=True))
level("pm_low", "PM Low", "Lowest premarket trade, known from the end of the premarket on.")(partial(_premarket, high=False))
level("or_high", "OR High", "Highest trade of the opening range (the first 15 minutes), known from its end on.")(
    partial(_opening_range, high=True)
)
level("or_low", "OR Low", "Lowest trade of the opening range (the first 15 minutes), known from its end on.")(
    partial(_opening_range, high=False)
)
level("pd_high", "PD High", "Highest trade of the previous full RTH session of the same contract.")(
    partial(_previous_day, pick=pl.Series.max)
)
level("pd_low", "PD Low", "Lowest trade of the previous full RTH session of the same contract.")(partial(_previous_day, pick=pl.Series.min))
level("pd_close", "PD Close", "Last trade of the previous full RTH session of the same contract.")(
    partial(_previous_day, pick=pl.Series.last)
)
level("on_high", "ON High", "Highest trade from 18:00 New York to the regular open, known from then on.")(partial(_overnight, high=True))
level("on_low", "ON Low", "Lowest trade from 18:00 New York to the regular open, known from then on.")(partial(_overnight, high=False))


def _sma(inputs: LevelInputs, n: int) -> Steps | str:
    """Mean of the closes of the last `n` bars that had trades; steps at a bar's close (its end)."""
    w = inputs.windows
    gap = inputs.gap_in(w.globex_start_ns, w.ladder_end_ns)
    end_ns = w.ladder_end_ns if gap is None else gap.start_ns
    bars = inputs.bars.filter((pl.col("window_start_ts_ns") >= w.globex_start_ns) & (pl.col("window_end_ts_ns") <= end_ns))
    if gap is not None and end_ns <= w.ladder_start_ns:
        return f"the Globex day before the session lacks data: {gap.reason}"
    if bars.height < n:
        return f"needs {n} two-minute bars with trades since the Globex open; {bars.height} closed by the session's end"
    # Sums of whole ticks are exact, so the mean at a bar does not depend on later bars.
    total = np.concatenate(([0], np.cumsum(bars["close_tick"].to_numpy().astype(np.int64))))
    mean = (total[n:] - total[:-n]) / n
    return Steps(bars["window_end_ts_ns"].to_numpy()[n - 1 :], mean * inputs.root.tick_size, end_ns)


for _n in (200, 400):
    level(f"sma_{_n}", f"SMA {_n}", f"Mean of the last {_n} two-minute closes of the Globex day, stepping at each close.")(
        partial(_sma, n=_n)
    )


def _of_options(inputs: LevelInputs) -> Steps | str:
    """Levels of options are added to these where the lake has options (`engine.stages.options`)."""
    return "the lake has no options of this date (docs/GAMMA.md)"


level(
    "call_wall", "Call wall", "Strike with the most gamma of calls, by open interest; it moves once another leads by 10% for three minutes."
)(_of_options)
level(
    "put_wall", "Put wall", "Strike with the most gamma of puts, by open interest; it moves once another leads by 10% for three minutes."
)(_of_options)
level("zero_gamma", "Zero gamma", "Price at which dealers' gamma changes its sign (rule hybrid, all expiries), give or take three points.")(
    _of_options
)


@level("vwap", "VWAP", "Volume-weighted mean price of the trades since the trading start; steps once a second in which one came.")
def vwap(inputs: LevelInputs) -> Steps | str:
    """Volume-weighted average price since the trading start; a second's trades count from its end on."""
    w = inputs.windows
    gap = inputs.gap_in(w.trading_start_ns, w.ladder_end_ns)
    end_ns = w.ladder_end_ns if gap is None else gap.start_ns
    trades = inputs.trades_in(w.trading_start_ns, end_ns)
    size = trades["size"].to_numpy().astype(np.int64)
    if size.sum() == 0:
        return "no trade since the trading start" if gap is None else f"trading lacks data from its start: {gap.reason}"
    second = trades["time"].to_numpy() // NS
    last = np.flatnonzero(np.append(second[1:] != second[:-1], True))
    volume = np.cumsum(size)[last]
    turnover = np.cumsum(trades["tick"].to_numpy().astype(np.int64) * size)[last]
    traded = volume > 0
    return Steps((second[last][traded] + 1) * NS, turnover[traded] / volume[traded] * inputs.root.tick_size, end_ns)
