"""Trades of options in windows of five seconds, by strike and side: contracts, and what they are in contracts of the future."""

from __future__ import annotations

import polars as pl

from engine.options.chain import Counts, with_date
from engine.options.marks import MINUTE_NS
from engine.vocab import NS

WINDOW_NS = 5 * NS
SIDES = ("bought", "sold", "unsigned")
RIGHTS = {"C": "call", "P": "put"}
FLOW_COLUMNS = tuple(f"{right}_{side}" for right in RIGHTS.values() for side in SIDES)


def flow_windows(
    trades: pl.DataFrame, legs: pl.DataFrame, names: pl.DataFrame, chain: pl.DataFrame, marks: pl.DataFrame, counts: Counts
) -> pl.DataFrame:
    """``window_start_ts_ns, window_end_ts_ns, strike, expiry_bucket``, `FLOW_COLUMNS`, and the same with ``_es``, in order.

    trades: ``ts_recv, instrument_id, size, side``; spreads count by their legs, those without an aggressor as unsigned
    legs, names: as from `engine.options.chain`; what was traded before its contract was known is left out and counted
    chain: the options that count
    marks: ``minute_ts_ns, expiration_ts_ns, strike, call_delta, put_delta``; a trade's delta is that of the minute it is in
    """
    size, key = pl.col("size").cast(pl.Float64), ("date", "instrument_id")
    trades = with_date(trades)
    alone = trades.join(legs, on=key, how="anti").with_columns(pl.lit(1.0).alias("ratio"), pl.lit(0, pl.Int64).alias("defined_ns"))
    spreads = trades.join(legs, on=key).with_columns(pl.col("leg_instrument_id").alias("instrument_id")).select(alone.columns)
    options = chain.select("raw_symbol", "expiration_ts_ns", "strike", "right", "expiry_bucket").unique("raw_symbol", keep="last")
    placed = pl.concat([alone, spreads]).join(names.join(options, on="raw_symbol"), on=key, how="left")
    counts.add("trades of an id that is not among the options", placed.filter(pl.col("strike").is_null()).height)
    early = pl.col("ts_recv") < pl.max_horizontal("known_ts_ns", "defined_ns")
    counts.add("trades before their definition", placed.filter(pl.col("strike").is_not_null() & early).height)
    placed = placed.filter(pl.col("strike").is_not_null() & ~early)
    sign = pl.when(pl.col("side").cast(pl.String) == "B").then(1.0).when(pl.col("side").cast(pl.String) == "A").then(-1.0).otherwise(0.0)
    side = (
        pl.when((sign == 0) | (pl.col("ratio") == 0))
        .then(pl.lit(SIDES[2]))
        .when(sign * pl.col("ratio") > 0)
        .then(pl.lit(SIDES[0]))
        .otherwise(pl.lit(SIDES[1]))
    )
    placed = placed.with_columns(
        (pl.col("ts_recv") // MINUTE_NS * MINUTE_NS).alias("minute_ts_ns"), (pl.col("ts_recv") // WINDOW_NS * WINDOW_NS).alias("start"),
        (size * pl.when(pl.col("ratio") == 0).then(1.0).otherwise(pl.col("ratio").abs())).alias("n"),
        pl.concat_str(pl.col("right").replace_strict(RIGHTS), pl.lit("_"), side).alias("column"),
    ).join(marks, on=("minute_ts_ns", "expiration_ts_ns", "strike"), how="left")  # fmt: skip
    delta = pl.when(pl.col("right") == "C").then(pl.col("call_delta")).otherwise(pl.col("put_delta")).abs()
    counts.add("trades in a minute without a mark of their strike", placed.filter(pl.col("call_delta").is_null()).height)
    placed = placed.with_columns((pl.col("n") * delta.fill_null(0.0)).alias("es"))

    def total(value: str, column: str) -> pl.Expr:
        return pl.col(value).filter(pl.col("column") == column).sum()

    keys = (
        pl.col("start").alias("window_start_ts_ns"), (pl.col("start") + WINDOW_NS).alias("window_end_ts_ns"), "strike", "expiry_bucket",
    )  # fmt: skip
    sums = [*(total("n", c).alias(c) for c in FLOW_COLUMNS), *(total("es", c).alias(f"{c}_es") for c in FLOW_COLUMNS)]
    return placed.group_by(*keys).agg(sums).sort("window_start_ts_ns", "strike", "expiry_bucket")
