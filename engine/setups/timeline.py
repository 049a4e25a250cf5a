"""What all levels of a session share: windows, trades, volatility, rates."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl

from engine.bars import require_trades, trades_between
from engine.ladder import NO_TICK, Ladder
from engine.params import SetupParams
from engine.setups.candle import Bars, session_bars
from engine.vocab import NS

HISTORY = 24
"""Windows of history before a moment, over which rates are taken and vectors made."""

SAMPLE_S = 10
"""Volatility is measured on changes of the last trade over so many seconds."""


class Timeline:
    """What all levels of a session share: its windows, trades, volatility and rates.

    Attributes
    ----------
    starts, ends : ndarray of int64, shape (windows,)
        Whole windows of the ladder's span, ns.
    last : ndarray of int64, shape (windows,)
        Last trade at each window's end, `NO_TICK` before the first.
    time, tick : ndarray of int64, shape (trades,)
        The trades of the span, in order.
    offset : ndarray of int64, shape (windows + 1,)
        First trade of each window, and the end of the last.
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
        """Two-minute bars of the span."""
        return session_bars(self.time, self.tick, int(self.ladder.start_ns))
