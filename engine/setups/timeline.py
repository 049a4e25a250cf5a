"""What all levels of a session share: windows, trades, volatility, rates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from engine.bars import BAR_NS, require_trades, trades_between
from engine.errors import ContractError
from engine.ladder import NO_TICK, Ladder
from engine.params import SetupParams
from engine.vocab import NS

HISTORY = 24
"""Windows of history before a moment, over which rates are taken and vectors made."""

SAMPLE_S = 10
"""Volatility is measured on changes of the last trade over so many seconds."""


class Timeline:
    """What all levels of a session share: its windows, trades, volatility and rates.
    `starts`, `ends`: whole windows of the ladder's span, ns. `last`: last trade at each window's end, `NO_TICK` before the first. `time`,
    `tick`: trades of the span, in order. `offset`: first trade of each window, and the end of the last.
    """

    def __init__(self, ladder: Ladder, trades: pl.DataFrame, window_s: int, data_end_ns: int | None = None) -> None:
        require_trades(trades, f"trades of {ladder.symbol} {ladder.date}")
        self.ladder, self.window_s = ladder, window_s
        self.first, n = ladder.windows(window_s)
        self.starts = ladder.start_ns + (self.first + window_s * np.arange(n, dtype=np.int64)) * NS
        self.ends = self.starts + window_s * NS
        self.end_second = self.first + window_s * (np.arange(n) + 1) - 1
        self.last = ladder.last_tick[self.end_second].astype(np.int64)
        self.data_end_ns = min(ladder.end_ns, data_end_ns if data_end_ns is not None else ladder.end_ns)
        inside = trades_between(trades, ladder.start_ns, self.data_end_ns)
        self.time = np.array(inside["time"].to_numpy(), np.int64)
        self.tick = np.array(inside["tick"].to_numpy(), np.int64)
        self.offset = np.searchsorted(self.time, np.append(self.starts, self.ends[-1]))

    def sigma(self, params: SetupParams) -> np.ndarray:
        """Volatility at each window's end, ticks per sqrt(second); NaN with too little history.
        Root mean square of the last trade's changes over 10 s, sampled back from the window's end, over sqrt(10).
        """
        last = np.where(self.ladder.last_tick == NO_TICK, np.nan, self.ladder.last_tick.astype(np.float64))
        change = np.append(np.full(SAMPLE_S, np.nan), last[SAMPLE_S:] - last[:-SAMPLE_S])[: last.size]
        back = self.end_second[:, None] - SAMPLE_S * np.arange(params.sigma_s // SAMPLE_S)
        square = np.where(back >= 0, change[np.maximum(back, 0)], np.nan) ** 2
        n = (~np.isnan(square)).sum(axis=1)
        enough = n >= params.sigma_least_s // SAMPLE_S
        return np.where(enough, np.sqrt(np.nansum(square, axis=1) / np.maximum(n, 1) / SAMPLE_S), np.nan)

    def rate(self, column: str) -> np.ndarray:
        """Per second, the mean of a tape column over the `HISTORY` windows up to each window's end, or as many as there are."""
        total = np.append(0, np.cumsum(self.ladder.tape[column].to_numpy().astype(np.int64)))
        begin = np.maximum(self.end_second + 1 - HISTORY * self.window_s, 0)
        return (total[self.end_second + 1] - total[begin]) / (self.end_second + 1 - begin)

    @cached_property
    def bars(self) -> Bars:
        """Two-minute bars of the span that had trades; one that began before the span is no whole one and is left out."""
        bar = self.time // BAR_NS * BAR_NS
        first = np.flatnonzero(np.append(True, bar[1:] != bar[:-1])) if bar.size else np.zeros(0, np.int64)
        low = np.minimum.reduceat(self.tick, first) if bar.size else first
        high = np.maximum.reduceat(self.tick, first) if bar.size else first
        whole = bar[first] >= self.ladder.start_ns
        return Bars(bar[first][whole], first[whole], low[whole], high[whole])


# ----------------------------------------------------------------------------
# Candle triggers (features.md section 8): a two-minute candle that meets the level, confirmed at the next one's close


@dataclass(frozen=True)
class Bars:
    """Two-minute bars as arrays: starts, first trade, lowest and highest tick."""

    start_ns: np.ndarray
    first: np.ndarray
    low: np.ndarray
    high: np.ndarray


def find_candles(bars: Bars, tick: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candles that meet the level: start (ns), the level's tick then, at which it is frozen, and +1 for price from below, -1 from above.

    Its own trades reach from one side of the level to it or beyond, or are all at it; the side is that of the latest trade away from the
    level before the candle meets it, and without one it is no trigger. A candle is confirmed two bars after its start. `level` is the
    level's tick at each bar's start, `NO_TICK` where it has none.
    """
    meets = np.flatnonzero((level != NO_TICK) & (bars.low <= level) & (level <= bars.high))
    sign = np.array([_came_from(tick, int(bars.first[b]), int(level[b])) for b in meets], np.int64)
    meets, sign = meets[sign != 0], sign[sign != 0]
    return bars.start_ns[meets], level[meets], sign


def _came_from(tick: np.ndarray, first: int, level: int) -> int:
    """+1 from below, -1 from above: the side of the candle's first trade, or of the latest before it away from the level."""
    for i in range(first, -1, -1):
        if tick[i] != level:
            return 1 if tick[i] < level else -1
    return 0


# ----------------------------------------------------------------------------
# A level's steps as arrays: its tick at any moment


def ticks_at(levels: pl.DataFrame, level_id: str, moments: np.ndarray, ladder: Ladder) -> np.ndarray:
    """The level's tick at each of `moments` (ns, in any order), int64, `NO_TICK` where it has none; ContractError on overlapping spans."""
    steps = levels.filter(pl.col("level_id") == level_id).sort("start_ts_ns")
    begin, end = steps["start_ts_ns"].to_numpy(), steps["end_ts_ns"].to_numpy()
    if (begin[1:] < end[:-1]).any():
        raise ContractError(f"levels: expected spans of {level_id!r} that do not overlap, found some that do; {ladder.fix}")
    out = np.full(moments.size, NO_TICK, np.int64)
    if begin.size:
        at = np.searchsorted(begin, moments, side="right") - 1
        there = (at >= 0) & (moments < end[np.maximum(at, 0)])
        out[there] = steps["level_tick"].to_numpy()[at[there]]
    return out
