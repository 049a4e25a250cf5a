"""The chain of a session: its options with their expiry, strike, open interest and settlement, as far as each was known."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from engine.vocab import NS, UNDEF_PRICE

OPEN_INTEREST, SETTLEMENT, DELETED = 9, 3, 2
UNDEF_QUANTITY = 2**31 - 1
BUCKETS = ("0dte", "week", "rest")
WEEK_NS = 7 * 86_400 * NS


@dataclass
class Counts:
    """How many records were left out, by reason."""

    by_reason: dict[str, int] = field(default_factory=dict)

    def add(self, why: str, n: int) -> None:
        """Count `n` more of a reason; nothing where there are none."""
        if n:
            self.by_reason[why] = self.by_reason.get(why, 0) + int(n)


@dataclass(frozen=True)
class OptionRecords:
    """Bronze of one UTC date: definitions of options and of spreads' legs, and statistics."""

    date: dt.date
    definitions: pl.DataFrame
    statistics: pl.DataFrame | None


DEFINITION_COLUMNS = (
    "ts_recv", "instrument_id", "raw_symbol", "underlying", "expiration", "strike_price", "instrument_class", "cfi", "unit_of_measure_qty",
    "leg_count", "leg_instrument_id", "leg_side", "leg_ratio_qty_numerator", "leg_ratio_qty_denominator",
)  # fmt: skip
STATISTIC_COLUMNS = ("ts_recv", "ts_ref", "instrument_id", "price", "quantity", "stat_type", "update_action", "stat_flags")


def contracts_of(records: OptionRecords, until_ns: int, counts: Counts) -> pl.DataFrame:
    """The options that a date defines before an instant, a row each; of two definitions of one id the later counts."""
    found = records.definitions.filter(pl.col("instrument_class").is_in(["C", "P"]) & (pl.col("ts_recv") < until_ns))
    faulty = (
        (pl.col("strike_price") == UNDEF_PRICE)
        | (pl.col("strike_price") <= 0)
        | pl.col("expiration").is_null()
        | (pl.col("underlying") == "")
    )
    counts.add("defined without expiry, strike or underlying", found.filter(faulty).height)
    found = found.filter(~faulty).sort("ts_recv")
    strikes = found.group_by("instrument_id").agg(pl.col("strike_price").n_unique().alias("n"))
    counts.add("one id with two strikes on a date", strikes.filter(pl.col("n") > 1).height)
    known = pl.col("ts_recv").min().over("raw_symbol").alias("known_ts_ns")
    return found.with_columns(known).unique("instrument_id", keep="last", maintain_order=True)


def build_chain(
    days: list[OptionRecords], session_date: dt.date, start_ns: int, end_ns: int, midnight_ns: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """(chain, left out by reason) of a session ``[start_ns, end_ns)``; `days` in order, `midnight_ns` the end of the session's own date.

    A contract has a row for each open interest that counts in the session: the last that was known at its start, and those that came later.
    Without any it has one, of 0.
    """
    counts = Counts()
    defined = [contracts_of(day, end_ns, counts).with_columns(pl.lit(day.date).alias("date")) for day in days]
    if not defined:
        return _empty(), counts.by_reason
    everything = pl.concat(defined)
    contracts = everything.with_columns(pl.col("known_ts_ns").min().over("raw_symbol")).unique(
        "raw_symbol", keep="last", maintain_order=True
    )
    gone = pl.col("expiration") <= start_ns
    counts.add("expired before the session", contracts.filter(gone).height)
    contracts = contracts.filter(~gone)
    names = everything.select("date", "instrument_id", "raw_symbol")
    stats = [d.statistics.with_columns(pl.lit(d.date).alias("date")) for d in days if d.statistics is not None]
    spoken = pl.concat(stats).filter(pl.col("ts_recv") < end_ns).join(names, on=("date", "instrument_id"), how="left") if stats else None
    oi, settled = _open_interest(spoken, start_ns, counts), _settlements(spoken, start_ns, counts)
    bucket = (
        pl.when(pl.col("expiration") < midnight_ns).then(pl.lit(BUCKETS[0]))
        .when(pl.col("expiration") < midnight_ns + WEEK_NS).then(pl.lit(BUCKETS[1])).otherwise(pl.lit(BUCKETS[2]))
    )  # fmt: skip
    chain = contracts.join(oi, on="raw_symbol", how="left").join(settled, on="raw_symbol", how="left").select(
        "instrument_id", "raw_symbol", "underlying", pl.col("expiration").alias("expiration_ts_ns"),
        (pl.col("strike_price") / NS).alias("strike"), pl.col("instrument_class").alias("right"),
        (pl.col("unit_of_measure_qty") / NS).alias("multiplier"),
        pl.col("cfi").str.slice(2, 1).alias("exercise"), "known_ts_ns", pl.col("oi").fill_null(0), "oi_ref_date", "oi_ts_ns",
        "settlement", "settlement_flags", "settlement_ts_ns", bucket.alias("expiry_bucket"),
    )  # fmt: skip
    counts.add("without open interest", chain.filter(pl.col("oi_ts_ns").is_null()).height)
    return chain.sort("expiration_ts_ns", "strike", "right", "oi_ts_ns"), counts.by_reason


OI_SCHEMA = {"raw_symbol": pl.String, "oi": pl.Int64, "oi_ref_date": pl.Date, "oi_ts_ns": pl.Int64}
SETTLED_SCHEMA = {"raw_symbol": pl.String, "settlement": pl.Float64, "settlement_flags": pl.UInt8, "settlement_ts_ns": pl.Int64}


def _empty() -> pl.DataFrame:
    from engine.lake.catalog import CHAIN, dataset

    return dataset(CHAIN).contract().empty()


def _of_type(spoken: pl.DataFrame, kind: int, counts: Counts) -> pl.DataFrame:
    """Statistics of a type of known contracts, without those that were deleted after."""
    mine = spoken.filter(pl.col("stat_type") == kind).sort("ts_recv", maintain_order=True)
    counts.add("statistics of an id without a definition", mine.filter(pl.col("raw_symbol").is_null()).height)
    mine = mine.filter(pl.col("raw_symbol").is_not_null())
    deleted = mine.filter(pl.col("update_action") == DELETED).select("raw_symbol", pl.col("ts_recv").alias("gone_ns"), "ts_ref")
    counts.add("statistics deleted", deleted.height)
    last = deleted.group_by("raw_symbol", "ts_ref").agg(pl.col("gone_ns").max())
    left = mine.filter(pl.col("update_action") != DELETED).join(last, on=("raw_symbol", "ts_ref"), how="left", nulls_equal=True)
    return left.filter(pl.col("gone_ns").is_null() | (pl.col("ts_recv") > pl.col("gone_ns"))).sort("ts_recv", maintain_order=True)


def _open_interest(spoken: pl.DataFrame | None, start_ns: int, counts: Counts) -> pl.DataFrame:
    if spoken is None:
        return pl.DataFrame(schema=OI_SCHEMA)
    mine = _of_type(spoken, OPEN_INTEREST, counts)
    undefined = ~pl.col("quantity").is_between(0, UNDEF_QUANTITY - 1)
    counts.add("open interest negative or undefined", mine.filter(undefined).height)
    mine = mine.filter(~undefined)
    before = mine.filter(pl.col("ts_recv") < start_ns).unique("raw_symbol", keep="last", maintain_order=True)
    kept = pl.concat([before, mine.filter(pl.col("ts_recv") >= start_ns)])
    date = pl.from_epoch(pl.col("ts_ref"), time_unit="ns").dt.date()
    return kept.select("raw_symbol", pl.col("quantity").alias("oi"), date.alias("oi_ref_date"), pl.col("ts_recv").alias("oi_ts_ns"))


def _settlements(spoken: pl.DataFrame | None, start_ns: int, counts: Counts) -> pl.DataFrame:
    """The last settlement before the session; those of an earlier date than the chain's newest are left out."""
    if spoken is None:
        return pl.DataFrame(schema=SETTLED_SCHEMA)
    mine = _of_type(spoken, SETTLEMENT, counts).filter(
        (pl.col("ts_recv") < start_ns) & (pl.col("price") != UNDEF_PRICE) & (pl.col("price") > 0)
    )
    mine = mine.unique("raw_symbol", keep="last", maintain_order=True)
    old = pl.col("ts_ref") < pl.col("ts_ref").max()
    mine = mine.with_columns(old.fill_null(False).alias("old"))
    old = pl.col("old")
    counts.add("settlement of an earlier date", mine.filter(old).height)
    return mine.filter(~old).select(
        "raw_symbol", (pl.col("price") / NS).alias("settlement"), pl.col("stat_flags").alias("settlement_flags"),
        pl.col("ts_recv").alias("settlement_ts_ns"),
    )  # fmt: skip


def legs_of(days: list[OptionRecords]) -> pl.DataFrame:
    """``instrument_id, leg_instrument_id, ratio`` of spreads: signed contracts of a leg for each spread that is bought."""
    legs = pl.concat([d.definitions for d in days]).filter(pl.col("leg_count") > 0)
    sign = pl.when(pl.col("leg_side") == "B").then(1.0).when(pl.col("leg_side") == "A").then(-1.0).otherwise(0.0)
    ratio = pl.col("leg_ratio_qty_numerator") / pl.col("leg_ratio_qty_denominator")
    return legs.select("instrument_id", "leg_instrument_id", (sign * ratio).alias("ratio")).unique(
        ("instrument_id", "leg_instrument_id"), keep="last", maintain_order=True
    )


def net_trades(trades: pl.DataFrame, legs: pl.DataFrame, chain: pl.DataFrame, counts: Counts) -> pl.DataFrame:
    """``ts_recv, raw_symbol, bought`` of trades: contracts that aggressors bought, negative where they sold; spreads by their legs.

    trades: ``ts_recv, instrument_id, size, side``; those without an aggressor are left out and counted
    """
    counts.add("trades without an aggressor", trades.filter(pl.col("side") == "N").height)
    sign = pl.when(pl.col("side").cast(pl.String) == "B").then(1.0).otherwise(-1.0)
    signed = trades.filter(pl.col("side") != "N").select("ts_recv", "instrument_id", (sign * pl.col("size")).alias("bought"))
    ids = chain.select("instrument_id", "raw_symbol").unique("instrument_id", keep="last", maintain_order=True)
    spreads = signed.join(legs, on="instrument_id").select(
        "ts_recv", pl.col("leg_instrument_id").alias("instrument_id"), (pl.col("bought") * pl.col("ratio")).alias("bought")
    )
    single = signed.join(legs, on="instrument_id", how="anti")
    counts.add("trades of an id that is not in the chain", single.join(ids, on="instrument_id", how="anti").height)
    return pl.concat([single, spreads]).join(ids, on="instrument_id").select("ts_recv", "raw_symbol", "bought").sort("ts_recv")


def strikes_of(chain: pl.DataFrame, underlying: str) -> pl.DataFrame:
    """``expiration_ts_ns, strike, expiry_bucket, call, put`` of options that deliver `underlying`: a row per expiry and strike; symbols."""
    mine = chain.filter(pl.col("underlying") == underlying).unique("raw_symbol", keep="first", maintain_order=True)
    symbol = pl.col("raw_symbol")
    return (
        mine.group_by("expiration_ts_ns", "strike", maintain_order=True)
        .agg(
            pl.col("expiry_bucket").first(), symbol.filter(pl.col("right") == "C").first().alias("call"),
            symbol.filter(pl.col("right") == "P").first().alias("put"),
        )
        .sort("expiration_ts_ns", "strike")
    )  # fmt: skip


def row_numbers(symbols: pl.Series, strikes: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(row of `strikes`, +1 call or -1 put) of each symbol; row -1 where it has none."""
    at = {s: (j, 1) for j, s in enumerate(strikes["call"]) if s is not None} | {
        s: (j, -1) for j, s in enumerate(strikes["put"]) if s is not None
    }
    found = np.array([at.get(s, (-1, 0)) for s in symbols.to_list()], np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
