"""Prices of a session as they stood at an instant: candles, the one under way too, and the best bid and ask.

As in `replay_past`, everything is asked with `t`, seconds since the ladder's start, and answers from seconds before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.ladder import NO_TICK
from engine.vocab import NS
from workbench import data
from workbench.kept import kept_with_session
from workbench.plots import chart

BAR_S = 120


@dataclass
class Candle:
    """Running candle of a bar: its values as they stood at a second's end."""

    open: int
    high: int
    low: int
    close: int


class Candles:
    """Candles of a session as they stood at any second."""

    def __init__(self, session: data.Session) -> None:
        tape, lad = session.ladder.tape, session.ladder
        self.start_ns = lad.start_ns
        self.bars = session.bars
        self.begins = session.bars["window_start_ts_ns"].to_numpy()
        self.ends = session.bars["window_end_ts_ns"].to_numpy()
        self.opens = session.bars["open_tick"].to_numpy()
        traded = tape["trades"].fill_null(0).to_numpy() > 0
        high, low = (tape[f"{k}_tick"].fill_null(0).to_numpy().astype(np.int64) for k in ("high", "low"))
        high[~traded], low[~traded] = NO_TICK, -NO_TICK
        bar_of = (lad.start_ns // NS + np.arange(lad.seconds)) // BAR_S
        cuts = np.flatnonzero(np.diff(bar_of, prepend=bar_of[0] - 1))
        self.high, self.low = high, low
        for a, b in zip(cuts, [*cuts[1:], lad.seconds]):
            self.high[a:b] = np.maximum.accumulate(high[a:b])
            self.low[a:b] = np.minimum.accumulate(low[a:b])
        self.close = lad.last_tick

    def done(self, t: int) -> int:
        """How many candles had closed."""
        return int(np.searchsorted(self.ends, self.start_ns + t * NS, side="right"))

    def running(self, t: int) -> Candle | None:
        """The candle under way; None where its bar has not traded yet."""
        i, now = self.done(t), self.start_ns + t * NS
        if t == 0 or i >= self.begins.size or self.begins[i] >= now or self.high[t - 1] == NO_TICK:
            return None
        # The bar's first trade came before this second's end, so that its open is no look ahead.
        return Candle(int(self.opens[i]), int(self.high[t - 1]), int(self.low[t - 1]), int(self.close[t - 1]))

    def until(self, t: int, since_ns: int) -> pl.DataFrame:
        """Candles that ended after `since_ns`, the last one as it stood."""
        i = self.done(t)
        first = int(np.searchsorted(self.ends, since_ns, side="right"))
        out = self.bars.slice(first, max(i - first, 0))
        run = self.running(t)
        if run is None:
            return out
        last = self.bars.slice(i, 1).with_columns(
            *(pl.lit(getattr(run, k)).cast(self.bars.schema[f"{k}_tick"]).alias(f"{k}_tick") for k in ("high", "low", "close"))
        )
        return pl.concat([out, last])


@dataclass(frozen=True)
class Quotes:
    """Best bid and ask of every second of a session, as `workbench.plots.chart.quote_data` has them."""

    x: np.ndarray
    bid: np.ndarray
    ask: np.ndarray

    def between(self, a: int, t: int, every: int) -> dict[str, list[object]]:
        """Windows of `every` seconds that ended after `a` and not after `t`: start, and the prices at the end."""
        begin, end = a // every * every, t // every * every
        first, last = slice(begin, end, every), slice(begin + every - 1, end, every)
        return {"x": self.x[first].tolist(), "bid": self.bid[last].tolist(), "ask": self.ask[last].tolist()}


@kept_with_session(1)
def quotes(session: data.Session) -> Quotes:
    """The session's best prices."""
    made = chart.quote_data(session.ladder.tape, session.day_ns)
    return Quotes(**{k: np.asarray(made[k], dtype=float) for k in ("x", "bid", "ask")})


@kept_with_session(1)
def candles(session: data.Session) -> Candles:
    """The session's running candles."""
    return Candles(session)
