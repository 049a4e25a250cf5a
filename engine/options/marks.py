"""Marks of a session's options, minute by minute: one volatility for each expiry and strike, and the greeks at the future's mid.

A minute's mark is of what was known before it began. A quote's volatility is that at the future's mid of its own time, of the side that
was out of the money then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.options import black76
from engine.options.chain import Counts, row_numbers
from engine.params import OptionParams
from engine.vocab import NS, UNDEF_PRICE

MINUTE_NS = 60 * NS
SOURCES = ("mid", "settlement", "smile")
QUOTE_COLUMNS = ("ts_recv", "instrument_id", "bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")


@dataclass(frozen=True)
class Mids:
    """The future's mid at the end of each second of a session, in points; NaN where the book is not known."""

    start_ns: int
    mid: NDArray[np.float64]

    def before(self, ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mid at the end of the last whole second before each instant; NaN outside."""
        second = (np.asarray(ns) - self.start_ns) // NS - 1
        inside = (second >= 0) & (second < len(self.mid))
        return np.where(inside, self.mid[np.clip(second, 0, len(self.mid) - 1)], np.nan)


def mids_of(tape: pl.DataFrame, tick_size: float) -> Mids:
    """`Mids` of a session's tape (``window_start_ts_ns, best_bid_tick, best_ask_tick, book_valid``)."""
    both = (pl.col("best_bid_tick") + pl.col("best_ask_tick")) * (0.5 * tick_size)
    mid = tape.select(pl.when(pl.col("book_valid")).then(both).cast(pl.Float64).fill_null(np.nan)).to_series().to_numpy()
    return Mids(int(tape["window_start_ts_ns"][0]), mid)


def minutes_of(start_ns: int, end_ns: int) -> NDArray[np.int64]:
    """Starts of the whole minutes of a session."""
    return np.arange(-(-start_ns // MINUTE_NS) * MINUTE_NS, end_ns, MINUTE_NS)


def usable(quotes: pl.DataFrame, params: OptionParams, counts: Counts) -> pl.DataFrame:
    """``ts_recv, instrument_id, bid, ask`` in points of quotes that say what an option is worth; the others are counted.

    No bid, and an ask of next to nothing, says that it is worth next to nothing: its bid is 0.
    """
    bid, ask = pl.col("bid_px_00"), pl.col("ask_px_00")
    asked = (ask != UNDEF_PRICE) & (ask > 0) & (pl.col("ask_sz_00") > 0)
    no_bid = (bid == UNDEF_PRICE) | (bid == 0) | (pl.col("bid_sz_00") == 0)
    quotes = quotes.with_columns(pl.when(asked & no_bid & (ask <= 2 * params.least_price * NS)).then(0).otherwise(bid).alias("bid_px_00"))
    there = asked & (~no_bid | (bid == 0)) & (bid >= 0) & (bid != UNDEF_PRICE)
    counts.add("quotes of one side, or of none", quotes.filter(~there).height)
    both = quotes.filter(there)
    crossed = ask <= bid
    counts.add("quotes locked or crossed", both.filter(crossed).height)
    both = both.filter(~crossed).select("ts_recv", "instrument_id", (bid / NS).alias("bid"), (ask / NS).alias("ask"))
    wide = pl.col("ask") - pl.col("bid") > pl.max_horizontal(pl.lit(2.0), 0.25 * (pl.col("ask") + pl.col("bid")))
    counts.add("quotes wider than 2 points and than half their mid", both.filter(wide).height)
    return both.filter(~wide)


@dataclass(frozen=True)
class Marks:
    """Volatilities ``(minutes, strikes)`` with where they come from (a position in `SOURCES`, -1 none), and the quotes they are of."""

    minutes: NDArray[np.int64]
    f_mid: NDArray[np.float64]
    iv: NDArray[np.float64]
    source: NDArray[np.int8]
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    quote_ns: NDArray[np.int64]


def mark(strikes: pl.DataFrame, chain: pl.DataFrame, quotes: pl.DataFrame, mids: Mids, minutes: NDArray[np.int64], params: OptionParams,
         counts: Counts) -> Marks:  # fmt: skip
    """Mark every strike (`engine.options.chain.strikes_of`) at every minute; `quotes` as from `usable`, of any instruments."""
    n = strikes.height
    k, expiry = strikes["strike"].to_numpy(), strikes["expiration_ts_ns"].to_numpy()
    f_mid = mids.before(minutes)
    ids = chain.select("instrument_id", "raw_symbol", "known_ts_ns").unique("instrument_id", keep="last", maintain_order=True)
    named = quotes.join(ids, on="instrument_id").sort("ts_recv")
    early = pl.col("ts_recv") < pl.col("known_ts_ns")
    counts.add("quotes before their definition", named.filter(early).height)
    named = named.filter(~early)
    row, right = row_numbers(named["raw_symbol"], strikes)
    at, bid, ask = (named[c].to_numpy() for c in ("ts_recv", "bid", "ask"))
    f_then = mids.before(at)
    outside = (row >= 0) & ~np.isnan(f_then) & (right * (k[np.maximum(row, 0)] - np.nan_to_num(f_then)) >= 0)
    row, right, at, bid, ask, f_then = (a[outside] for a in (row, right, at, bid, ask, f_then))
    left = (expiry[row] - at) / black76.YEAR_NS
    worth = 0.5 * (bid + ask)
    cheap = (worth < params.least_price) | (bid == 0)
    sigma = black76.implied(worth, f_then, k[row], left, params.rate, right.astype(np.float64))
    counts.add("quotes that no volatility makes", int((np.isnan(sigma) & ~cheap & (left > 0)).sum()))
    use = (cheap | ~np.isnan(sigma)) & (left > 0)
    row, at, bid, ask, cheap, sigma = (a[use] for a in (row, at, bid, ask, cheap, sigma))
    order = np.lexsort((at, row))
    row, at, bid, ask, cheap, sigma = (a[order] for a in (row, at, bid, ask, cheap, sigma))
    first, last = np.searchsorted(row, np.arange(n)), np.searchsorted(row, np.arange(n), side="right")
    newest = np.full((len(minutes), n), -1)
    for j in range(n):
        i = first[j] + np.searchsorted(at[first[j] : last[j]], minutes, side="left") - 1
        there = i >= first[j]
        fresh = there & (minutes - at[np.where(there, i, 0)] <= params.quote_age_s * NS) if len(at) else there
        newest[:, j] = np.where(fresh, i, -1)
    has = newest >= 0
    pick = np.maximum(newest, 0)

    def of_quote(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(has, values[pick], np.nan) if len(values) else np.full(has.shape, np.nan)

    thin = has & (cheap[pick] if len(cheap) else False)
    iv = np.where(thin, np.nan, of_quote(sigma))
    source = np.where(np.isnan(iv), -1, 0).astype(np.int8)
    _extend(iv, source, thin, strikes, k, f_mid)
    settled = _settled(strikes, chain, k, expiry, params)
    fill = np.isnan(iv) & ~np.isnan(settled)[None, :]
    iv = np.where(fill, settled[None, :], iv)
    source = np.where(fill, 1, source).astype(np.int8)
    unknown = np.isnan(f_mid)[:, None] | (expiry[None, :] <= minutes[:, None])
    iv, source = np.where(unknown, np.nan, iv), np.where(unknown, -1, source).astype(np.int8)
    quote_ns = np.where(has, at[pick], -1) if len(at) else np.full(has.shape, -1)
    return Marks(minutes, f_mid, iv, source, of_quote(bid), of_quote(ask), quote_ns)


def _extend(iv: NDArray[np.float64], source: NDArray[np.int8], thin: NDArray[np.bool_], strikes: pl.DataFrame, k: NDArray[np.float64],
            f_mid: NDArray[np.float64]) -> None:  # fmt: skip
    """Give strikes whose option is worth next to nothing the volatility of the last good one towards the future, expiry by expiry."""
    expiry = strikes["expiration_ts_ns"].to_numpy()
    for e in np.unique(expiry):
        mine = np.flatnonzero(expiry == e)
        part, good = iv[:, mine], ~np.isnan(iv[:, mine])
        number = np.arange(len(mine))
        from_left = np.maximum.accumulate(np.where(good, number, -1), axis=1)
        from_right = np.minimum.accumulate(np.where(good, number, len(mine))[:, ::-1], axis=1)[:, ::-1]
        above = k[mine][None, :] >= f_mid[:, None]
        near = np.where(above, from_left, np.where(from_right < len(mine), from_right, -1))
        fill = thin[:, mine] & (near >= 0)
        iv[:, mine] = np.where(fill, np.take_along_axis(part, np.maximum(near, 0), axis=1), part)
        source[:, mine] = np.where(fill, 2, source[:, mine])


def _settled(
    strikes: pl.DataFrame, chain: pl.DataFrame, k: NDArray[np.float64], expiry: NDArray[np.int64], params: OptionParams
) -> NDArray[np.float64]:
    """Volatility of each strike's settlement; the future's own settlement is what calls and puts of the strike nearest to it say."""
    known = chain.unique("raw_symbol", keep="first", maintain_order=True).select("raw_symbol", "settlement", "settlement_ts_ns")
    call, put = (
        strikes.select(pl.col(side).alias("raw_symbol")).join(known, on="raw_symbol", how="left", maintain_order="left")
        for side in ("call", "put")
    )
    c, p = (side["settlement"].cast(pl.Float64).fill_null(np.nan).to_numpy() for side in (call, put))
    at = call["settlement_ts_ns"].fill_null(put["settlement_ts_ns"]).fill_null(0).to_numpy()
    left = (expiry - at) / black76.YEAR_NS
    found = np.full(len(k), np.nan)
    for e in np.unique(expiry):
        both = np.flatnonzero((expiry == e) & ~np.isnan(c) & ~np.isnan(p))
        if not len(both):
            continue
        nearest = both[np.argmin(np.abs(c[both] - p[both]))]
        future = k[nearest] + np.exp(params.rate * left[nearest]) * (c[nearest] - p[nearest])
        mine = np.flatnonzero(expiry == e)
        side = np.where(k[mine] >= future, 1.0, -1.0)
        price = np.where(side > 0, c[mine], p[mine])
        good = ~np.isnan(price)
        found[mine[good]] = black76.implied(
            price[good], np.full(good.sum(), future), k[mine][good], left[mine][good], params.rate, side[good]
        )
    return found


def marks_frame(strikes: pl.DataFrame, marks: Marks, params: OptionParams) -> pl.DataFrame:
    """Marks as a table: a row for each minute, expiry and strike that has a volatility, with the greeks at the minute's mid."""
    at, row = np.nonzero(~np.isnan(marks.iv))
    k, expiry = strikes["strike"].to_numpy()[row], strikes["expiration_ts_ns"].to_numpy()[row]
    f, iv = marks.f_mid[at], marks.iv[at, row]
    t = years_left(expiry, marks.minutes[at])
    call = black76.greeks(f, k, t, params.rate, iv, np.ones(len(k)))
    put = black76.greeks(f, k, t, params.rate, iv, -np.ones(len(k)))
    quoted = marks.source[at, row] != 1
    quote_ns = pl.Series(np.where(quoted, marks.quote_ns[at, row], -1))

    def of_quote(values: NDArray[np.float64]) -> pl.Series:
        return pl.Series(np.where(quoted, values[at, row], np.nan)).fill_nan(None)

    return pl.DataFrame({
        "minute_ts_ns": marks.minutes[at], "expiration_ts_ns": expiry, "strike": k, "f_mid": f, "iv": iv,
        "iv_source": pl.Series(SOURCES, dtype=pl.Enum(SOURCES)).gather(marks.source[at, row].astype(np.int64)),
        "bid": of_quote(marks.bid), "ask": of_quote(marks.ask), "quote_ts_ns": quote_ns.set(quote_ns < 0, None),
        "gamma": call[1], "vega": call[2], "vanna": call[3], "charm": call[4], "call_delta": call[0], "put_delta": put[0],
    })  # fmt: skip


def years_left(expiry: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Time to expiry in years, of at least five minutes."""
    return np.maximum(expiry - at, black76.LEAST_NS) / black76.YEAR_NS
