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


def contracts_of(records: OptionRecords, start_ns: int, end_ns: int, counts: Counts) -> pl.DataFrame:
    """The options that a date defines before a session's end, a row each; of an id's definitions the one `as_of_start`."""
    found = records.definitions.filter(pl.col("instrument_class").is_in(["C", "P"]) & (pl.col("ts_recv") < end_ns))
    faulty = (
        (pl.col("strike_price") == UNDEF_PRICE)
        | (pl.col("strike_price") <= 0)
        | pl.col("expiration").is_null()
        | (pl.col("underlying") == "")
    )
    counts.add("defined without expiry, strike or underlying", found.filter(faulty).height)
    found = found.filter(~faulty)
    strikes = found.group_by("instrument_id").agg(pl.col("strike_price").n_unique().alias("n"))
    counts.add("one id with two strikes on a date", strikes.filter(pl.col("n") > 1).height)
    known = pl.col("ts_recv").min().over("raw_symbol").alias("known_ts_ns")
    return as_of_start(found.with_columns(known), "instrument_id", start_ns)


def as_of_start(definitions: pl.DataFrame, key: str, start_ns: int) -> pl.DataFrame:
    """The last definition of each before a session's start, else the first after it: what a later one says was not known yet."""
    ordered = definitions.sort("ts_recv", maintain_order=True)
    before = ordered.filter(pl.col("ts_recv") < start_ns).unique(key, keep="last", maintain_order=True)
    after = ordered.filter(pl.col("ts_recv") >= start_ns).unique(key, keep="first", maintain_order=True)
    return pl.concat([before, after.join(before, on=key, how="anti")])


def build_chain(
    days: list[OptionRecords], session_date: dt.date, start_ns: int, end_ns: int, midnight_ns: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """(chain, left out by reason) of a session ``[start_ns, end_ns)``; `days` in order, `midnight_ns` the end of its trading day.

    A contract has a row for each open interest that counts in the session: the last that was known at its start, and those that came later,
    where one is deleted what is left, or 0. Without any it has one, of 0. A row counts from when the contract was known as well.
    """
    counts = Counts()
    defined = [contracts_of(day, start_ns, end_ns, counts).with_columns(pl.lit(day.date).alias("date")) for day in days]
    if not defined:
        return _empty(), counts.by_reason
    everything = pl.concat(defined)
    contracts = as_of_start(everything.with_columns(pl.col("known_ts_ns").min().over("raw_symbol")), "raw_symbol", start_ns)
    gone = pl.col("expiration") <= start_ns
    counts.add("expired before the session", contracts.filter(gone).height)
    contracts = contracts.filter(~gone)
    names = by_date(everything.select("date", "instrument_id", "raw_symbol"), days)
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
        *(pl.when(pl.col("known_ts_ns") < start_ns).then(pl.col(c)).alias(c) for c in list(SETTLED_SCHEMA)[1:]),
        bucket.alias("expiry_bucket"),
    )  # fmt: skip
    counts.add("without open interest", chain.filter(pl.col("oi_ts_ns").is_null()).height)
    return chain.sort("expiration_ts_ns", "strike", "right", "oi_ts_ns"), counts.by_reason


OI_SCHEMA = {"raw_symbol": pl.String, "oi": pl.Int64, "oi_ref_date": pl.Date, "oi_ts_ns": pl.Int64}
SETTLED_SCHEMA = {"raw_symbol": pl.String, "settlement": pl.Float64, "settlement_flags": pl.UInt8, "settlement_ts_ns": pl.Int64}


def _empty() -> pl.DataFrame:
    from engine.lake.catalog import CHAIN, dataset

    return dataset(CHAIN).contract().empty()


def _of_type(spoken: pl.DataFrame, kind: int, counts: Counts) -> pl.DataFrame:
    """Statistics of a type of known contracts as they were received, deletions among them."""
    mine = spoken.filter(pl.col("stat_type") == kind).sort("ts_recv", maintain_order=True)
    counts.add("statistics of an id without a definition", mine.filter(pl.col("raw_symbol").is_null()).height)
    mine = mine.filter(pl.col("raw_symbol").is_not_null())
    counts.add("statistics deleted", mine.filter(pl.col("update_action") == DELETED).height)
    return mine


def _steps(mine: pl.DataFrame, value: str) -> pl.DataFrame:
    """What counts from each record on: itself, and from a deletion on the last record of another date that is left, or a null `value`."""
    names = mine.filter(pl.col("update_action") == DELETED)["raw_symbol"].unique().to_list()
    touched = pl.col("raw_symbol").is_in(names)
    rows = []
    for of in mine.filter(touched).partition_by("raw_symbol", maintain_order=True):
        left: dict[int | None, dict[str, object]] = {}  # by the date that a record is of, the newest last
        for row in of.iter_rows(named=True):
            newest = next(reversed(left), None)
            before = left.pop(row["ts_ref"], None)
            if row["update_action"] != DELETED:
                left[row["ts_ref"]] = row
                rows.append(row)
            elif before is not None and row["ts_ref"] == newest:
                last = next(reversed(left.values()), {**row, value: None})
                rows.append({**last, "ts_recv": row["ts_recv"]})
    ended = pl.DataFrame(rows, schema=mine.schema, orient="row")
    return pl.concat([mine.filter(~touched), ended]).sort("ts_recv", maintain_order=True)


def _open_interest(spoken: pl.DataFrame | None, start_ns: int, counts: Counts) -> pl.DataFrame:
    if spoken is None:
        return pl.DataFrame(schema=OI_SCHEMA)
    mine = _of_type(spoken, OPEN_INTEREST, counts)
    undefined = (pl.col("update_action") != DELETED) & ~pl.col("quantity").is_between(0, UNDEF_QUANTITY - 1)
    counts.add("open interest negative or undefined", mine.filter(undefined).height)
    mine = _steps(mine.filter(~undefined), "quantity")
    before = mine.filter(pl.col("ts_recv") < start_ns).unique("raw_symbol", keep="last", maintain_order=True)
    kept = pl.concat([before.filter(pl.col("quantity").is_not_null()), mine.filter(pl.col("ts_recv") >= start_ns)])
    date = pl.from_epoch(pl.col("ts_ref"), time_unit="ns").dt.date()
    oi = pl.col("quantity").fill_null(0).alias("oi")
    return kept.select("raw_symbol", oi, date.alias("oi_ref_date"), pl.col("ts_recv").alias("oi_ts_ns"))


def _settlements(spoken: pl.DataFrame | None, start_ns: int, counts: Counts) -> pl.DataFrame:
    """The last settlement before the session; those of an earlier date than the chain's newest are left out."""
    if spoken is None:
        return pl.DataFrame(schema=SETTLED_SCHEMA)
    deleted = pl.col("update_action") == DELETED
    mine = _of_type(spoken.filter(pl.col("ts_recv") < start_ns), SETTLEMENT, counts).filter(
        deleted | ((pl.col("price") != UNDEF_PRICE) & (pl.col("price") > 0))
    )
    mine = _steps(mine, "price").unique("raw_symbol", keep="last", maintain_order=True).filter(pl.col("price").is_not_null())
    old = pl.col("ts_ref") < pl.col("ts_ref").max()
    mine = mine.with_columns(old.fill_null(False).alias("old"))
    old = pl.col("old")
    counts.add("settlement of an earlier date", mine.filter(old).height)
    return mine.filter(~old).select(
        "raw_symbol", (pl.col("price") / NS).alias("settlement"), pl.col("stat_flags").alias("settlement_flags"),
        pl.col("ts_recv").alias("settlement_ts_ns"),
    )  # fmt: skip


def by_date(rows: pl.DataFrame, days: list[OptionRecords]) -> pl.DataFrame:
    """`rows` of definitions by their ``date``; a date without definitions has those of the last one before it, else of the first after."""
    defined = sorted(d.date for d in days if d.definitions.height)
    wanted = [(d.date, max((x for x in defined if x <= d.date), default=defined[0])) for d in days] if defined else []
    table = pl.DataFrame(wanted, schema={"day": pl.Date, "date": pl.Date}, orient="row")
    return table.join(rows, on="date").drop("date").rename({"day": "date"})


def legs_of(days: list[OptionRecords], counts: Counts) -> pl.DataFrame:
    """``date, instrument_id, leg_instrument_id, ratio, defined_ns`` of spreads: signed contracts of a leg for each spread that is bought.

    A leg without a side or a ratio is counted, and has the ratio 0: which way it was traded is not known.
    """
    every = pl.concat([d.definitions.with_columns(pl.lit(d.date).alias("date")) for d in days])
    sign = pl.when(pl.col("leg_side") == "B").then(1.0).when(pl.col("leg_side") == "A").then(-1.0).otherwise(0.0)
    above, below = pl.col("leg_ratio_qty_numerator"), pl.col("leg_ratio_qty_denominator")
    ratio = pl.when((above > 0) & (below > 0)).then(sign * above / below).otherwise(0.0).alias("ratio")
    first = pl.col("ts_recv").min().over("date", "instrument_id").alias("defined_ns")
    legs = every.filter(pl.col("leg_count") > 0).select("date", "instrument_id", "leg_instrument_id", ratio, first)
    legs = legs.unique(("date", "instrument_id", "leg_instrument_id"), keep="last", maintain_order=True)
    counts.add("legs of spreads without a side or a ratio", legs.filter(pl.col("ratio") == 0).height)
    return by_date(legs, days)


def names_of(days: list[OptionRecords], chain: pl.DataFrame) -> pl.DataFrame:
    """``date, instrument_id, raw_symbol, known_ts_ns`` of a chain's contracts: which an id is on a date, and from when it was known."""
    every = pl.concat([d.definitions.with_columns(pl.lit(d.date).alias("date")) for d in days])
    known = chain.select("raw_symbol", "known_ts_ns").unique("raw_symbol")
    ids = every.sort("ts_recv", maintain_order=True).select("date", "instrument_id", "raw_symbol").join(known, on="raw_symbol")
    return by_date(ids.unique(("date", "instrument_id"), keep="first", maintain_order=True), days)


def with_date(records: pl.DataFrame) -> pl.DataFrame:
    """Records with the UTC ``date`` of their reception: an id is a contract on one date."""
    return records.with_columns(pl.from_epoch(pl.col("ts_recv"), time_unit="ns").dt.date().alias("date"))


def net_trades(trades: pl.DataFrame, legs: pl.DataFrame, names: pl.DataFrame, counts: Counts) -> pl.DataFrame:
    """``ts_recv, raw_symbol, bought`` of trades: contracts that aggressors bought, negative where they sold; spreads by their legs.

    trades: ``ts_recv, instrument_id, size, side``; those without an aggressor are left out and counted; one counts from when its contract
        was known
    legs, names: as from `legs_of` and `names_of`
    """
    counts.add("trades without an aggressor", trades.filter(pl.col("side") == "N").height)
    sign = pl.when(pl.col("side").cast(pl.String) == "B").then(1.0).otherwise(-1.0)
    signed = with_date(trades.filter(pl.col("side") != "N")).select(
        "date", "ts_recv", "instrument_id", (sign * pl.col("size")).alias("bought")
    )
    key = ("date", "instrument_id")
    spreads = signed.join(legs, on=key).select(
        "date", pl.max_horizontal("ts_recv", "defined_ns").alias("ts_recv"), pl.col("leg_instrument_id").alias("instrument_id"),
        (pl.col("bought") * pl.col("ratio")).alias("bought"),
    )  # fmt: skip
    single = signed.join(legs, on=key, how="anti")
    counts.add("trades of an id that is not in the chain", single.join(names, on=key, how="anti").height)
    placed = pl.concat([single, spreads.filter(pl.col("bought") != 0)]).join(names, on=key)
    return placed.select(pl.max_horizontal("ts_recv", "known_ts_ns").alias("ts_recv"), "raw_symbol", "bought").sort("ts_recv")


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


def contracts_at(chain: pl.DataFrame, strikes: pl.DataFrame, minutes: np.ndarray) -> np.ndarray:
    """How many contracts of each row of `strikes` were known before each minute began."""
    of = chain.select("raw_symbol", "known_ts_ns").unique("raw_symbol")
    row, _ = row_numbers(of["raw_symbol"], strikes)
    first = np.searchsorted(minutes, of["known_ts_ns"].to_numpy(), side="right")
    use = (row >= 0) & (first < len(minutes))
    made = np.zeros((len(minutes), strikes.height), np.int64)
    np.add.at(made, (first[use], row[use]), 1)
    return np.cumsum(made, axis=0)


def row_numbers(symbols: pl.Series, strikes: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(row of `strikes`, +1 call or -1 put) of each symbol; row -1 where it has none."""
    at = {s: (j, 1) for j, s in enumerate(strikes["call"]) if s is not None} | {
        s: (j, -1) for j, s in enumerate(strikes["put"]) if s is not None
    }
    found = np.array([at.get(s, (-1, 0)) for s in symbols.to_list()], np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
