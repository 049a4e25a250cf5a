"""Candle triggers (features.md section 8): a two-minute candle that meets the level, confirmed at the next one's close."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.bars import BAR_NS
from engine.ladder import NO_TICK


@dataclass(frozen=True)
class Candles:
    """Candles of a session that meet one level; every array has one item per candle.

    Attributes
    ----------
    start_ns : ndarray of int64
        The candle's start; it is confirmed two bars later.
    level : ndarray of int64
        The level's tick at the candle's start, at which it is frozen.
    sign : ndarray of int64
        +1 where price came from below, -1 from above.
    """

    start_ns: np.ndarray
    level: np.ndarray
    sign: np.ndarray


@dataclass(frozen=True)
class Bars:
    """Two-minute bars that had trades, as arrays: starts, first trade, lowest and highest tick."""

    start_ns: np.ndarray
    first: np.ndarray
    low: np.ndarray
    high: np.ndarray


def session_bars(time: np.ndarray, tick: np.ndarray, start_ns: int) -> Bars:
    """Bars of trades in time order; a bar that began before `start_ns` is no whole one and is left out."""
    bar = time // BAR_NS * BAR_NS
    first = np.flatnonzero(np.append(True, bar[1:] != bar[:-1])) if bar.size else np.zeros(0, np.int64)
    low = np.minimum.reduceat(tick, first) if bar.size else first
    high = np.maximum.reduceat(tick, first) if bar.size else first
    whole = bar[first] >= start_ns
    return Bars(bar[first][whole], first[whole], low[whole], high[whole])


def find_candles(bars: Bars, tick: np.ndarray, level: np.ndarray) -> Candles:
    """Candles whose own trades reach from one side of the level to it or beyond, or stand at it.

    The side is that of the latest trade away from the level before the candle meets it; without one it is no trigger.

    Parameters
    ----------
    bars : Bars
    tick : ndarray of int64, shape (trades,)
    level : ndarray of int64, shape (bars,)
        The level's tick at each bar's start, `NO_TICK` where it has none.
    """
    meets = np.flatnonzero((level != NO_TICK) & (bars.low <= level) & (level <= bars.high))
    sign = np.array([_came_from(tick, int(bars.first[b]), int(level[b])) for b in meets], np.int64)
    kept = meets[sign != 0]
    return Candles(bars.start_ns[kept], level[kept], sign[sign != 0])


def _came_from(tick: np.ndarray, first: int, level: int) -> int:
    """+1 from below, -1 from above: the side of the candle's first trade, or of the latest before it away from the level."""
    for i in range(first, -1, -1):
        if tick[i] != level:
            return 1 if tick[i] < level else -1
    return 0
