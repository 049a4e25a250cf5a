"""Slow twin of candles as they stood at a second: the one under way is summed from the tape each time."""

from __future__ import annotations

import polars as pl

BAR_NS = 120 * 10**9


def bars_until(bars: pl.DataFrame, tape: pl.DataFrame, end_ns: int) -> pl.DataFrame:
    """`bars` as they stood at `end_ns`, a whole second; a bar that began before the tape counts from the tape's start."""
    done = bars.filter(pl.col("window_end_ts_ns") <= end_ns)
    start = end_ns // BAR_NS * BAR_NS
    under_way = bars.filter(pl.col("window_start_ts_ns") == start)
    part = tape.filter(pl.col("window_start_ts_ns").is_between(start, end_ns, closed="left") & (pl.col("trades") > 0))
    if start == end_ns or under_way.height == 0 or part.height == 0:
        return done
    now = part.select(
        pl.col("high_tick").max(), pl.col("low_tick").min(), pl.col("last_tick").last().alias("close_tick"),
        (pl.col("buy_volume") + pl.col("sell_volume")).sum().alias("volume"), pl.col("buy_volume", "sell_volume").sum(),
        pl.col("trades").sum(),
    )  # fmt: skip
    whole = under_way.with_columns(now[c].cast(bars.schema[c]).alias(c) for c in now.columns if c in bars.columns)
    return pl.concat([done, whole.select(bars.columns)])
