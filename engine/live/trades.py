"""The trades of a session under way, their bars and levels' view of them: what was made of earlier ones is not made again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.bars import INT32_MAX, bars_2m, nearest_tick
from engine.levels import LevelInputs

NO_TRADES = pl.DataFrame(schema={"ts_event": pl.Int64, "tick": pl.Int32, "size": pl.UInt32, "side": pl.UInt8})

MOST_CHUNKS = 64
"""A frame that grew by more pieces is made one again."""


def grown(frame: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """A frame with further rows."""
    whole = pl.concat([frame, more])
    return whole.rechunk() if whole.n_chunks() > MOST_CHUNKS else whole


@dataclass(frozen=True)
class Trades:
    """Trades that came together, as `engine.bars.trade_rows` has them: arrays, for a frame of a few takes as long as one of many."""

    ts_event: NDArray[np.int64]
    tick: NDArray[np.int32]
    size: NDArray[np.uint32]
    side: NDArray[np.uint8]

    @classmethod
    def of(cls, ts_event: Any, price: Any, size: Any, side: Any, tick_fixed: int) -> Trades:
        """Trades at fixed-point prices, without those beyond int32 ticks."""
        formula: Any = nearest_tick  # of arrays as of expressions
        tick = formula(np.ascontiguousarray(price, np.int64), tick_fixed)
        on = np.abs(tick) <= INT32_MAX
        return cls(ts_event[on].astype(np.int64), tick[on].astype(np.int32), size[on].astype(np.uint32), side[on].astype(np.uint8))

    @staticmethod
    def frame(parts: list[Trades]) -> pl.DataFrame:
        """All of them as a frame."""
        data = {name: np.concatenate([getattr(p, name) for p in parts]) for name in NO_TRADES.columns}
        return pl.DataFrame(data, schema=NO_TRADES.schema)


class GrowingTrades:
    """A contract's trades in the order in which they came; any thread may ask for them.

    `is_known_before` says whether those from before the recording are among them.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._frame, self._new = NO_TRADES, list[Trades]()
        self.is_known_before = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._times, self._timed = np.empty(1 << 12, np.int64), 0
        self._bars, self._bar_row = bars_2m(NO_TRADES, 0, 1), 0  # bars that are over, and the first trade behind them

    def add(self, trades: Trades) -> None:
        """Add what came."""
        if len(trades.tick):
            with self._lock:
                self._new.append(trades)

    def put_before(self, trades: pl.DataFrame) -> None:
        """Put those before that were asked for when the recording was joined late."""
        with self._lock:
            self._frame = pl.concat([trades, self.all()]).rechunk()
            self.is_known_before = True
            self._begin_anew()

    def all(self) -> pl.DataFrame:
        """``ts_event, tick, size, side`` of all of them."""
        with self._lock:
            if self._new:
                self._frame = grown(self._frame, Trades.frame(self._new))
                self._new = []
            return self._frame

    def last_tick(self) -> int | None:
        """Tick of the last one."""
        with self._lock:
            if self._new:
                return int(self._new[-1].tick[-1])
            return int(self._frame["tick"][-1]) if self._frame.height else None

    def timed(self) -> tuple[pl.DataFrame, NDArray[np.int64]]:
        """All of them, and the time of each: the latest ``ts_event`` so far, as in the replay."""
        with self._lock:
            trades = self.all()
            n, at = trades.height, self._timed
            if n > len(self._times):
                self._times = np.concatenate([self._times[:at], np.empty(2 * n - at, np.int64)])
            if n > at:
                new = np.maximum.accumulate(trades["ts_event"][at:].to_numpy())
                self._times[at:n] = np.maximum(new, self._times[at - 1]) if at else new
                self._timed = n
            return trades, self._times[:n]

    def until(self, ns: int) -> pl.DataFrame:
        """Those before an instant."""
        trades, times = self.timed()
        return trades[: int(np.searchsorted(times, ns))]

    def between(self, start_ns: int, end_ns: int) -> pl.DataFrame:
        """As `engine.bars.trades_between`."""
        trades, times = self.timed()
        a, b = np.searchsorted(times, (start_ns, max(start_ns, end_ns))).tolist()
        return trades[a:b].with_columns(pl.Series("time", times[a:b]))

    def bars(self, start_ns: int, end_ns: int) -> pl.DataFrame:
        """As `engine.bars.bars_2m`, of the same start each time and an end that is never earlier."""
        with self._lock:
            trades, times = self.timed()
            n = int(np.searchsorted(times, end_ns))
            # A trade that begins a bar is the latest so far: those behind it have the same times without those before.
            new = bars_2m(trades[self._bar_row : n], start_ns, end_ns)
            found = pl.concat([self._bars, new])
            if new.height > 1:
                self._bars, self._bar_row = found[:-1], int(np.searchsorted(times, new["window_start_ts_ns"][-1]))
            return found


@dataclass(frozen=True)
class LiveInputs(LevelInputs):
    """Inputs of level functions of which the session's trades were looked through already; `end_ns` is where they end."""

    kept: GrowingTrades = field(default_factory=GrowingTrades)
    end_ns: int = 0

    def trades_in(self, start_ns: int, end_ns: int) -> pl.DataFrame:
        """As of `LevelInputs`."""
        return self.kept.between(start_ns, min(end_ns, self.end_ns))
