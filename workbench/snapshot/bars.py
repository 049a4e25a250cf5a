"""Trigger candle, confirmation candle, look-back and look-forward around a moment, as the setup pictures mark them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from engine.vocab import NS

BAR_NS = 120 * NS
LOOK_BACK, LOOK_FORWARD = 6, 3
"""Candles read before the confirmation's close (itself included), and candles whose course is the outcome."""

AHEAD, BEHIND = 3, 6
"""How many candles after the moment's own, and before it, may be its trigger."""


@dataclass(frozen=True)
class SetupBars:
    """Starts of the candles that make a setup, ns since the epoch; None where there is none (yet).

    Attributes
    ----------
    trigger_ns, confirmation_ns : int or None
        The candle that touches or crosses the level, and the next one, at whose close the setup is read.
    crossed : str
        What the trigger did: ``crossed above``, ``crossed below``, ``touched from below``, ``touched from above``; empty without one.
    back_ns, forward_ns : tuple of int or None
        ``[start, end)`` of the look-back and of the look-forward.
    """

    trigger_ns: int | None
    confirmation_ns: int | None
    crossed: str
    back_ns: tuple[int, int]
    forward_ns: tuple[int, int] | None


def bars_until(bars: pl.DataFrame, tape: pl.DataFrame, end_ns: int) -> pl.DataFrame:
    """`bars` as they stood at `end_ns`: the one under way is made from the seconds before it, later ones are gone.

    Parameters
    ----------
    bars : pl.DataFrame
        ``bars_2m``.
    tape : pl.DataFrame
        ``mbo_tape_1s``; a bar that began before the tape did counts from the tape's start.
    end_ns : int
        Whole second.
    """
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
    # The bar's first trade came before the tape's last, so that its open is no look ahead.
    whole = under_way.with_columns(now[c].cast(bars.schema[c]).alias(c) for c in now.columns if c in bars.columns)
    return pl.concat([done, whole.select(bars.columns)])


def touches(bars: pl.DataFrame, level: pl.DataFrame) -> pl.DataFrame:
    """The bars that meet a level, with ``crossed`` in words.

    The level's tick is that at the bar's start, and a bar meets it when it lies within its low and high, as in
    `engine.setups.candle`. The side price came from is that of the bar's open, else of the close before.
    """
    at = bars.sort("window_start_ts_ns").join_asof(
        level.sort("start_ts_ns").select("start_ts_ns", "end_ts_ns", pl.col("level_tick").cast(pl.Int64).alias("k")),
        left_on="window_start_ts_ns", right_on="start_ts_ns",
    )  # fmt: skip
    k, close = pl.col("k"), pl.col("close_tick").cast(pl.Int64)
    side = (pl.col("open_tick").cast(pl.Int64) - k).sign()
    before = (close.shift() - k).sign().fill_null(0)
    side = pl.when(side == 0).then(before).otherwise(side)
    hit = (pl.col("low_tick") <= k) & (pl.col("high_tick") >= k) & (pl.col("window_start_ts_ns") < pl.col("end_ts_ns"))
    name = (
        pl.when((side < 0) & (close > k)).then(pl.lit("crossed above"))
        .when((side > 0) & (close < k)).then(pl.lit("crossed below"))
        .when(side < 0).then(pl.lit("touched from below"))
        .when(side > 0).then(pl.lit("touched from above"))
        .otherwise(pl.lit("stood at"))
    )  # fmt: skip
    return at.with_columns(name.alias("crossed"), hit.alias("hit")).filter("hit").select("window_start_ts_ns", "crossed")


def setup_bars(bars: pl.DataFrame, level: pl.DataFrame, now_ns: int) -> SetupBars:
    """The setup that the moment belongs to.

    Its trigger is the moment's own candle or the next within `AHEAD` that touches the level, else the last within
    `BEHIND`; without one the look-back ends with the moment's candle and nothing is looked forward to.

    Parameters
    ----------
    bars : pl.DataFrame
        ``bars_2m``.
    level : pl.DataFrame
        Steps of one level (LEVELS frame).
    """
    own = now_ns // BAR_NS * BAR_NS
    found = touches(bars, level)
    ahead = found.filter(pl.col("window_start_ts_ns").is_between(own, own + AHEAD * BAR_NS)).head(1)
    behind = found.filter(pl.col("window_start_ts_ns").is_between(own - BEHIND * BAR_NS, own, closed="left")).tail(1)
    hit = ahead if ahead.height else behind
    if hit.height == 0:
        return SetupBars(None, None, "", (own - (LOOK_BACK - 1) * BAR_NS, own + BAR_NS), None)
    trigger = int(hit["window_start_ts_ns"][0])
    confirmation = trigger + BAR_NS
    closes = confirmation + BAR_NS
    back = (closes - LOOK_BACK * BAR_NS, closes)
    there = bars["window_start_ts_ns"]
    if confirmation not in there:
        return SetupBars(trigger, None, str(hit["crossed"][0]), (trigger - (LOOK_BACK - 1) * BAR_NS, trigger + BAR_NS), None)
    forward = (closes, closes + LOOK_FORWARD * BAR_NS) if (there >= closes).any() else None
    return SetupBars(trigger, confirmation, str(hit["crossed"][0]), back, forward)
