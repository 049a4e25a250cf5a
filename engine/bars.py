"""Two-minute bars of trades."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from engine.errors import ContractError
from engine.vocab import NS, SIDE_CODES, UNDEF_PRICE, Action, Root

BAR_NS = 120 * NS
TRADE_COLUMNS = ("ts_event", "tick", "size", "side")

BRONZE_TRADE_COLUMNS = ("ts_event", "price", "size", "side")
"""Columns of bronze that are needed for `trade_rows`."""

INT32_MAX = 2**31 - 1


def is_trade() -> pl.Expr:
    """Expression for rows of bronze that are trades with a price."""
    return (pl.col("action") == pl.lit(Action.TRADE.value)) & (pl.col("price") != UNDEF_PRICE)


def nearest_tick(price: pl.Expr, tick_fixed: int) -> pl.Expr:
    """Expression for the nearest tick of a fixed-point price, ties up, int64, as `engine.mbo.book.tick_at`."""
    # Not (2 * price + tick) // (2 * tick): twice the price may overflow int64.
    floor = price // tick_fixed
    return floor + (2 * (price - floor * tick_fixed) >= tick_fixed)


def trade_rows(parts: Iterable[pl.DataFrame], root: Root) -> pl.DataFrame:
    """``ts_event, tick, size, side`` (code) of bronze trades in file order, without prices beyond int32 ticks, as in the replay.
    `parts` are frames of `BRONZE_TRADE_COLUMNS`, filtered by `is_trade`.
    """
    near = nearest_tick(pl.col("price"), root.tick_fixed)
    columns = (pl.col("ts_event"), near.cast(pl.Int32).alias("tick"), pl.col("size"), pl.col("side").to_physical())
    frames = [p.filter(near.is_between(-INT32_MAX, INT32_MAX)).select(*columns) for p in parts]
    empty = pl.DataFrame(schema={"ts_event": pl.Int64, "tick": pl.Int32, "size": pl.UInt32, "side": pl.UInt8})
    return pl.concat([empty, *frames])


def bars_2m(trades: pl.DataFrame, start_ns: int, end_ns: int) -> pl.DataFrame:
    """Two-minute bars of the trades with ``start_ns <= time < end_ns``, aligned to the epoch, in time order; none where nothing traded.

    A trade's time is the latest ``ts_event`` so far in file order, as in the replay, so that time is monotonic and a bar's close is the
    venue's last trade in it. Trades without an aggressor (side ``N``) count for prices, `volume` and `trades` only. Raises ContractError
    where one of `TRADE_COLUMNS` is missing.
    """
    require_trades(trades, "trades for 2-minute bars")
    time = pl.col("ts_event").cast(pl.Int64)
    size = pl.col("size").cast(pl.Int64)
    return (
        trades.lazy()
        .select(time.cum_max().alias("time"), pl.col("tick").cast(pl.Int32), size, pl.col("side"))
        .filter(pl.col("time").is_between(start_ns, end_ns, closed="left"))
        .group_by((pl.col("time") // BAR_NS * BAR_NS).alias("window_start_ts_ns"), maintain_order=True)
        .agg(
            pl.col("tick").first().alias("open_tick"),
            pl.col("tick").max().alias("high_tick"),
            pl.col("tick").min().alias("low_tick"),
            pl.col("tick").last().alias("close_tick"),
            pl.col("size").sum().alias("volume"),
            pl.col("size").filter(pl.col("side") == SIDE_CODES["B"]).sum().alias("buy_volume"),
            pl.col("size").filter(pl.col("side") == SIDE_CODES["A"]).sum().alias("sell_volume"),
            pl.len().cast(pl.Int32).alias("trades"),
        )
        .select("window_start_ts_ns", (pl.col("window_start_ts_ns") + BAR_NS).alias("window_end_ts_ns"), pl.exclude("window_start_ts_ns"))
        .collect()
    )


def trades_between(trades: pl.DataFrame, start_ns: int, end_ns: int) -> pl.DataFrame:
    """Trades of ``[start_ns, end_ns)``, in file order, with their ``time``: the latest ``ts_event`` so far, as in the replay."""
    time = pl.col("ts_event").cast(pl.Int64).cum_max().alias("time")
    return trades.with_columns(time).filter(pl.col("time").is_between(start_ns, end_ns, closed="left"))


def require_trades(trades: pl.DataFrame, where: str) -> None:
    """Raise ContractError where a trades frame lacks one of `TRADE_COLUMNS`."""
    missing = [c for c in TRADE_COLUMNS if c not in trades.columns]
    if missing:
        raise ContractError(f"{where}: expected columns {', '.join(TRADE_COLUMNS)}; missing {', '.join(missing)}")
