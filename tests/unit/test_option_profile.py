"""Chain, marks, profile and walls of a simulated day of options against their twins; bad input; nothing of the future."""

from __future__ import annotations

import datetime as dt
from functools import cache

import numpy as np
import polars as pl
import pytest

from engine.options.chain import Counts, OptionRecords, build_chain, legs_of, names_of, net_trades, strikes_of
from engine.options.flow import FLOW_COLUMNS, flow_windows
from engine.options.marks import Marks, Mids, mark, marks_frame, minutes_of, usable
from engine.options.profile import PARTS, RULES, SCOPES, Inertia, Profile, nearest_zero, scope_rows, steps_of
from engine.options.records import frame_of
from engine.params import OptionParams
from engine.sessions import session_windows
from engine.stages.options import book_of, trading_day_end
from engine.vocab import root_of
from tests.reference import options_twin as twin
from tests.support.options import DATE, DAY_NS, START_NS, made_of, option_day, records_of

NS = 10**9
START, END = START_NS + 13 * 3600 * NS, START_NS + 14 * 3600 * NS  # 09:00 to 10:00 New York
PARAMS = OptionParams()


@cache
def frames() -> dict[str, pl.DataFrame]:
    return {t: frame_of(records_of(t), t) for t in ("definition", "statistics", "tbbo", "bbo_1m")}


@cache
def mids() -> Mids:
    """The future's mid by second: it steps at each minute, and is not known for three of them."""
    whole = np.repeat(option_day().mids, 60)[(START - START_NS) // NS : (END - START_NS) // NS].copy()
    whole[1200:1380] = np.nan
    return Mids(START, whole)


def chain_of(definitions: pl.DataFrame | None = None, statistics: pl.DataFrame | None = None) -> tuple[pl.DataFrame, dict[str, int]]:
    f = frames()
    day = OptionRecords(
        DATE, f["definition"] if definitions is None else definitions, f["statistics"] if statistics is None else statistics
    )
    return build_chain([day], DATE, START, END, START_NS + 28 * 3600 * NS)


@cache
def made(cut_ns: int = END) -> tuple[pl.DataFrame, pl.DataFrame, Marks, Profile]:
    """Chain, strikes, marks and profile of what was received before an instant."""
    found = made_of(option_day(), mids(), END, cut_ns, PARAMS)
    return found.chain, found.strikes, found.marks, found.profile


def test_marks_are_those_of_the_twin() -> None:
    chain, strikes, marks, _ = made()
    ids = dict(chain.select("raw_symbol", "instrument_id").iter_rows())
    quotes = frames()["bbo_1m"].filter(pl.col("ts_recv").is_between(START - DAY_NS, END))

    def mid_at(ns: int) -> float | None:
        second = (ns - START) // NS - 1
        f = mids().mid[second] if 0 <= second < len(mids().mid) else np.nan
        return None if np.isnan(f) else float(f)

    rng = np.random.default_rng(2)
    sources: dict[str, int] = {}
    for j in rng.choice(strikes.height, 40, replace=False):
        row = strikes.row(int(j), named=True)
        of: list[dict] = []
        for right, symbol in ((1, row["call"]), (-1, row["put"])):
            mine = quotes.filter(pl.col("instrument_id") == ids[symbol])
            for at, bid, ask, bs, s in mine.select("ts_recv", "bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00").iter_rows():
                no_bid, no_ask = bid in (twin.NONE, 0) or bs == 0, ask == twin.NONE or s == 0
                of.append({"at": at, "right": right, "bid": None if no_bid else bid / 1e9, "ask": None if no_ask else ask / 1e9})
        of.sort(key=lambda q: q["at"])
        for i in (0, 1, 7, 20, 22, 33, 59):
            minute = int(marks.minutes[i])
            if mid_at(minute) is None:
                assert marks.source[i, j] == -1, "no future, no mark"
                continue
            what, sigma = twin.mark(of, mid_at, minute, row["expiration_ts_ns"], row["strike"], PARAMS.rate)
            found = {-1: "none", 0: "mid", 1: "settlement", 2: "cheap"}[int(marks.source[i, j])]
            sources[what] = sources.get(what, 0) + 1
            if what == "mid":
                assert found == "mid"
                assert marks.iv[i, j] == pytest.approx(sigma, rel=1e-9)
            else:
                assert found != "mid"
    assert sources["mid"] > 80
    assert sources["cheap"] > 10


def test_a_mark_is_near_the_volatility_that_the_quotes_were_made_of() -> None:
    _, strikes, marks, _ = made()
    level = option_day().level
    frame = marks_frame(strikes, marks, PARAMS)
    left = (frame["expiration_ts_ns"] - frame["minute_ts_ns"]).to_numpy() / twin.YEAR
    x = np.clip(np.log(frame["strike"].to_numpy() / frame["f_mid"].to_numpy()) / np.sqrt(np.maximum(left, 1 / 8760)), -0.6, 0.6)
    error = np.abs(frame["iv"].to_numpy() - level * (1 - 0.9 * x + 1.2 * x * x))
    assert np.median(error) < 0.001
    assert np.quantile(error, 0.95) < 0.01
    assert (frame["call_delta"] - frame["put_delta"]).is_between(0.9, 1.0).all(), "parity"


def test_the_profile_is_that_of_the_twin_and_a_rule_is_a_sum_of_its_parts() -> None:
    chain, strikes, marks, profile = made()
    oi = dict(chain.select("raw_symbol", "oi").iter_rows())
    sides = {0: "call", 1: "put"}
    for i, s, row in ((3, 0, 80), (10, 1, 3), (59, 2, 160), (33, 2, 95)):
        inside = scope_rows(strikes["expiry_bucket"].to_list(), SCOPES[s])
        for part, side in sides.items():
            of = [
                (r["expiration_ts_ns"], r["strike"], float(marks.iv[i, j]), float(oi[r[side]]))
                for j, r in enumerate(strikes.iter_rows(named=True))
                if inside[j] and not np.isnan(marks.iv[i, j])
            ]
            expected = twin.gamma_of_part(float(profile.row_price[i, row]), int(marks.minutes[i]), of, PARAMS.rate)
            assert profile.gamma[i, s, row, part] == pytest.approx(expected, rel=1e-10)
    assert (profile.row_price[5] == np.round(marks.f_mid[5]) + np.arange(-80, 81)).all()
    net = profile.gamma @ np.array(RULES["hybrid"])
    for i in (1, 30, 59):
        crossed = nearest_zero(profile.row_price[i], net[i, 2], marks.f_mid[i])
        if not np.isnan(crossed):
            assert profile.zero[i, 2, list(RULES).index("hybrid")] == crossed
    gross = np.abs(profile.gamma[:, 2, 80]).sum(axis=1)
    assert 500 < np.nanmedian(gross) < 10_000, "of the order of what rests in the book"
    assert PARTS == ("call_gamma", "put_gamma", "call_flow_gamma", "put_flow_gamma")


def test_flow_is_what_dealers_gained_since_the_open_interest() -> None:
    chain, strikes, marks, _ = made()
    trades = frames()["tbbo"]
    counts = Counts()
    days = [OptionRecords(DATE, frames()["definition"], None)]
    net = net_trades(trades, legs_of(days, counts), names_of(days, chain), counts)
    book = book_of(chain, strikes, net, marks.minutes)
    i, minute = 40, int(marks.minutes[40])
    names = dict(chain.select("instrument_id", "raw_symbol").iter_rows())
    expected: dict[str, float] = {}
    for at, number, size, side in trades.select("ts_recv", "instrument_id", "size", "side").iter_rows():
        if at < minute and side in ("A", "B"):
            expected[names[number]] = expected.get(names[number], 0.0) + (size if side == "A" else -size)
    assert len(expected) > 50
    for j, (call, put) in enumerate(strikes.select("call", "put").iter_rows()):
        assert book.call_flow[i, j] == expected.get(call, 0.0)
        assert book.put_flow[i, j] == expected.get(put, 0.0)
    assert counts.by_reason == {"trades without an aggressor": trades.filter(pl.col("side") == "N").height}


def test_a_spread_counts_by_its_legs() -> None:
    chain, _ = chain_of()
    legs = legs_of([OptionRecords(DATE, frames()["definition"], None)], Counts())
    spread = int(legs["instrument_id"][0])
    ratio = dict(legs.filter(pl.col("instrument_id") == spread).select("leg_instrument_id", "ratio").iter_rows())
    trade = pl.DataFrame({"ts_recv": [START] * 2, "instrument_id": [spread, 99], "size": [7, 3], "side": ["A", "B"]}).with_columns(
        pl.col("instrument_id").cast(pl.UInt32)
    )
    counts = Counts()
    net = net_trades(trade, legs, names_of([OptionRecords(DATE, frames()["definition"], None)], chain), counts)
    symbols = dict(chain.select("raw_symbol", "instrument_id").iter_rows())
    assert {symbols[s]: b for s, b in net.select("raw_symbol", "bought").iter_rows()} == {k: -7 * r for k, r in ratio.items()}
    assert sorted(ratio.values()) == [-1.0, 1.0]
    assert counts.by_reason == {"trades of an id that is not in the chain": 1}


def test_a_leg_without_a_side_or_a_ratio_is_unsigned_and_counted() -> None:
    chain, strikes, marks, _ = made()
    definitions = frames()["definition"]
    spread = int(definitions.filter(pl.col("leg_count") > 0)["instrument_id"][0])
    of = pl.col("instrument_id") == spread
    faulty = definitions.with_columns(
        pl.when(of).then(0).otherwise(pl.col("leg_ratio_qty_denominator")).cast(definitions.schema["leg_ratio_qty_denominator"]).alias(
            "leg_ratio_qty_denominator"
        )
    )  # fmt: skip
    counts, days = Counts(), [OptionRecords(DATE, faulty, None)]
    legs, names = legs_of(days, counts), names_of(days, chain)
    assert counts.by_reason == {"legs of spreads without a side or a ratio": 2}
    assert legs["ratio"].is_finite().all()
    trade = frames()["tbbo"].head(1).with_columns(pl.lit(spread, pl.UInt32).alias("instrument_id"), pl.lit(START + NS).alias("ts_recv"))
    trade = trade.with_columns(pl.lit("B").cast(trade.schema["side"]).alias("side"), pl.lit(7, trade.schema["size"]).alias("size"))
    assert net_trades(trade, legs, names, Counts()).height == 0
    columns = ("minute_ts_ns", "expiration_ts_ns", "strike", "call_delta", "put_delta")
    flow = flow_windows(trade, legs, names, chain, marks_frame(strikes, marks, PARAMS).select(columns), Counts())
    unsigned = [c for c in FLOW_COLUMNS if c.endswith("unsigned")]
    assert flow.select(pl.sum_horizontal(unsigned)).sum().item() == 14
    assert flow.select(pl.sum_horizontal(c for c in FLOW_COLUMNS if c not in unsigned)).sum().item() == 0


def test_an_id_is_a_contract_on_one_date() -> None:
    """Two dates on which the ids of two contracts have changed places, and a third that has statistics and trades alone."""
    definitions, stats = frames()["definition"], frames()["statistics"]
    late = pl.col("expiration") > END + 5 * DAY_NS
    a, b = definitions.filter(pl.col("instrument_class") == "C", pl.col("underlying") == "ESU5", late)["instrument_id"].to_list()[40:42]
    number = pl.col("instrument_id")
    swapped = definitions.with_columns(
        pl.when(number == a).then(b).when(number == b).then(a).otherwise(number).cast(pl.UInt32).alias("instrument_id"),
        pl.col("ts_recv") - DAY_NS,
    )
    oi = stats.filter((pl.col("stat_type") == 9) & (number == a))
    dates = [DATE + dt.timedelta(days=n) for n in (-1, 0, 1)]
    spoken = [
        oi.with_columns(pl.col("ts_recv") + n * DAY_NS, pl.lit(q, pl.Int64).alias("quantity")) for n, q in ((-1, 11), (0, 22), (1, 33))
    ]
    days = [OptionRecords(d, f, s) for d, f, s in zip(dates, (swapped, definitions, definitions.clear()), spoken)]
    start, end = START + DAY_NS, END + DAY_NS
    chain, _ = build_chain(days, dates[2], start, end, START_NS + 52 * 3600 * NS)
    names = {r["instrument_id"]: r["raw_symbol"] for r in definitions.iter_rows(named=True) if r["instrument_id"] in (a, b)}
    known = dict(chain.filter(pl.col("raw_symbol").is_in(list(names.values()))).select("raw_symbol", "oi").iter_rows())
    assert known == {names[a]: 33, names[b]: 11}
    trades = pl.DataFrame({
        "ts_recv": [START - DAY_NS, START, START + DAY_NS], "instrument_id": [a] * 3, "size": [1, 2, 4], "side": ["B"] * 3,
    }).with_columns(pl.col("instrument_id").cast(pl.UInt32))  # fmt: skip
    net = net_trades(trades, legs_of(days, Counts()), names_of(days, chain), Counts())
    assert net.select("raw_symbol", "bought").rows() == [(names[b], 1.0), (names[a], 2.0), (names[a], 4.0)]


def test_flow_by_strike_is_that_of_the_trades() -> None:
    chain, strikes, marks, _ = made()
    trades = frames()["tbbo"].filter(pl.col("ts_recv").is_between(START, END, closed="left"))
    legs = legs_of([OptionRecords(DATE, frames()["definition"], None)], Counts())
    spread = int(legs["instrument_id"][0])
    one = trades.head(1).with_columns(
        pl.lit(spread, pl.UInt32).alias("instrument_id"), pl.lit("A").cast(trades.schema["side"]).alias("side")
    )
    trades, frame, counts = pl.concat([one, trades]), marks_frame(strikes, marks, PARAMS), Counts()
    mine = chain.filter(pl.col("underlying") == "ESU5")
    columns = ("minute_ts_ns", "expiration_ts_ns", "strike", "call_delta", "put_delta")
    names = names_of([OptionRecords(DATE, frames()["definition"], None)], mine)
    flow = flow_windows(trades, legs, names, mine, frame.select(columns), counts)
    options = {r["instrument_id"]: r for r in mine.iter_rows(named=True)}
    deltas = {row[:3]: row[3:] for row in frame.select(columns).iter_rows()}
    expected: dict[tuple, float] = {}
    lost = 0
    for at, number, size, side in trades.select("ts_recv", "instrument_id", "size", "side").iter_rows():
        parts = (
            [(number, 1.0)]
            if number != spread
            else legs.filter(pl.col("instrument_id") == spread).select("leg_instrument_id", "ratio").rows()
        )
        for leg, ratio in parts:
            if leg not in options:
                lost += 1
                continue
            o = options[leg]
            word = "unsigned" if side == "N" else "bought" if (side == "B") == (ratio > 0) else "sold"
            right = "call" if o["right"] == "C" else "put"
            delta = deltas.get((at // (60 * NS) * 60 * NS, o["expiration_ts_ns"], o["strike"]), (0.0, 0.0))[0 if right == "call" else 1]
            key = (at // (5 * NS) * 5 * NS, o["strike"], o["expiry_bucket"])
            for name, value in ((f"{right}_{word}", size * abs(ratio)), (f"{right}_{word}_es", size * abs(ratio) * abs(delta))):
                expected[*key, name] = expected.get((*key, name), 0.0) + value
    names = [f"{c}{es}" for es in ("", "_es") for c in FLOW_COLUMNS]
    found = {
        (r["window_start_ts_ns"], r["strike"], r["expiry_bucket"], n): r[n]
        for r in flow.iter_rows(named=True)
        for n in names
        if r[n] != 0.0
    }
    assert found == pytest.approx({k: v for k, v in expected.items() if v})
    assert (flow["window_end_ts_ns"] - flow["window_start_ts_ns"]).unique().to_list() == [5 * NS]
    assert counts.by_reason.get("trades of an id that is not among the options", 0) == lost


def late_news(cut_ns: int) -> dict[str, pl.DataFrame]:
    """The day's definitions and statistics with what comes in the session, before an instant and after it: listings of contracts that were
    quoted before, other strikes of a known id, open interest and settlements that are deleted.
    """
    definitions, stats = frames()["definition"], frames()["statistics"]
    near = definitions.filter(
        pl.col("instrument_class").is_in(["C", "P"]) & (pl.col("underlying") == "ESU5") & ((pl.col("strike_price") / NS - 6800).abs() < 40)
    ).sort("expiration", "strike_price")
    before, after = near[::3]["instrument_id"].to_list(), near[1::7]["instrument_id"].to_list()
    number = pl.col("instrument_id")
    when = pl.when(number.is_in(before)).then(cut_ns - 600 * NS).when(number.is_in(after)).then(cut_ns + 300 * NS)
    again = near[2::7].with_columns(pl.lit(cut_ns + 5 * NS).alias("ts_recv"), pl.col("strike_price") + 5 * NS)
    settled = stats.filter(pl.col("stat_type") == 3).with_columns(pl.col("ts_recv") - DAY_NS)
    of = stats.filter(pl.col("stat_type") == 9).filter(number.is_in(near["instrument_id"].to_list()))
    deleted = pl.lit(2).cast(stats.schema["update_action"]).alias("update_action")
    gone = [
        part.with_columns(pl.lit(at).alias("ts_recv"), deleted)
        for part, at in ((of[::5], cut_ns - 300 * NS), (of[1::5], cut_ns + 60 * NS), (settled[::2], cut_ns + 60 * NS))
    ]
    moved = definitions.with_columns(when.otherwise(pl.col("ts_recv")).alias("ts_recv"))
    return {"definition": pl.concat([moved, again]), "statistics": pl.concat([stats, settled, *gone])}


@pytest.mark.parametrize("news", [False, True])
def test_nothing_of_the_future_is_known(news) -> None:
    cut = START + 31 * 60 * NS
    changed = late_news(cut) if news else None
    every = made_of(option_day(), mids(), END, END, PARAMS, changed)
    before = made_of(option_day(), mids(), END, cut, PARAMS, changed)
    known = every.marks.minutes <= cut
    there = every.strikes.with_row_index("row").join(before.strikes, on=("expiration_ts_ns", "strike"), how="semi")["row"].to_numpy()
    assert before.strikes.select("expiration_ts_ns", "strike").equals(every.strikes[there].select("expiration_ts_ns", "strike"))
    assert before.strikes.equals(every.strikes) is not news
    iv = every.marks.iv[known]
    assert np.array_equal(iv[:, there], before.marks.iv[known], equal_nan=True)
    assert np.isnan(np.delete(iv, there, axis=1)).all(), "a contract that is listed later has no mark"
    for name in ("gamma", "walls", "zero", "used", "dropped"):
        assert np.array_equal(getattr(every.profile, name)[known], getattr(before.profile, name)[known], equal_nan=True), name
    if news:
        assert not np.array_equal(every.profile.gamma[~known], made()[3].gamma[~known], equal_nan=True)
        first = every.chain.filter(pl.col("known_ts_ns") == cut - 600 * NS).unique("raw_symbol")
        assert first.height > 10
        assert first["settlement"].is_null().all(), "what was settled before it was known does not count"


def test_open_interest_counts_from_when_it_was_known() -> None:
    stats = frames()["statistics"].clone()
    first = stats.filter(pl.col("stat_type") == 9).head(1)
    later = first.with_columns(pl.lit(START + 30 * 60 * NS).alias("ts_recv"), pl.lit(12_345, pl.Int64).alias("quantity"))
    chain, _ = chain_of(statistics=pl.concat([stats, later]))
    strikes = strikes_of(chain, "ESU5")
    minutes = minutes_of(START, END)
    symbol = chain.filter(pl.col("oi") == 12_345)["raw_symbol"].item()
    assert chain.filter(pl.col("raw_symbol") == symbol).height == 2
    book = book_of(chain, strikes, None, minutes)
    j = strikes["call"].to_list().index(symbol)
    assert book.call_oi[30, j] == first["quantity"].item() != 12_345
    assert book.call_oi[31, j] == 12_345
    assert book.oi_ns[30] < book.oi_ns[31] == START + 30 * 60 * NS


def test_open_interest_ends_where_it_is_deleted() -> None:
    stats = frames()["statistics"]
    mine = stats.filter(pl.col("stat_type") == 9).head(3)
    deleted = pl.lit(2).cast(stats.schema["update_action"]).alias("update_action")
    at = START + 30 * 60 * NS
    earlier = mine[1:2].with_columns(pl.col("ts_recv") - NS, pl.col("ts_ref") - DAY_NS, pl.lit(77, pl.Int64).alias("quantity"))
    gone = pl.concat([mine[:2].with_columns(pl.lit(at).alias("ts_recv"), deleted), mine[2:].with_columns(pl.col("ts_recv") + 5, deleted)])
    chain, left_out = chain_of(statistics=pl.concat([earlier, stats, gone]))
    assert (left_out["statistics deleted"], left_out["without open interest"]) == (3, 1)
    strikes, minutes = strikes_of(chain, "ESU5"), minutes_of(START, END)
    book = book_of(chain, strikes, None, minutes)
    symbols = dict(chain.select("instrument_id", "raw_symbol").iter_rows())
    for number, then, now in zip(mine["instrument_id"], [*mine["quantity"].to_list()[:2], 0], (0, 77, 0)):
        row = (
            strikes.with_row_index("row")
            .filter((pl.col("call") == symbols[number]) | (pl.col("put") == symbols[number]))
            .row(0, named=True)
        )
        oi = book.call_oi if row["call"] == symbols[number] else book.put_oi
        assert (oi[30, row["row"]], oi[31, row["row"]]) == (then, now)
    settled = stats.filter(pl.col("stat_type") == 3).with_columns(pl.col("ts_recv") - DAY_NS)
    late, soon = (settled.with_columns(pl.lit(t).alias("ts_recv"), deleted) for t in (at, START - 1))
    assert chain_of(statistics=pl.concat([stats, settled, late]))[0]["settlement"].is_not_null().mean() > 0.85
    assert chain_of(statistics=pl.concat([stats, settled, soon]))[0]["settlement"].is_null().all()


def changed(table: str, rows: slice, **values: object) -> pl.DataFrame:
    """The day's records with some values in some rows."""
    frame = frames()[table]
    inside = pl.int_range(pl.len()).is_between(rows.start, rows.stop, closed="left")
    return frame.with_columns(
        pl.when(inside).then(pl.lit(v)).otherwise(pl.col(c)).cast(frame.schema[c]).alias(c) for c, v in values.items()
    )


FAULTS = {
    "no strike": ("definition", {"strike_price": 2**63 - 1}, "defined without expiry, strike or underlying"),
    "a negative strike": ("definition", {"strike_price": -5}, "defined without expiry, strike or underlying"),
    "no expiry": ("definition", {"expiration": None}, "defined without expiry, strike or underlying"),
    "no underlying": ("definition", {"underlying": ""}, "defined without expiry, strike or underlying"),
    "expired": ("definition", {"expiration": START}, "expired before the session"),
    "open interest below zero": ("statistics", {"quantity": -4}, "open interest negative or undefined"),
    "open interest undefined": ("statistics", {"quantity": 2**31 - 1}, "open interest negative or undefined"),
    "unknown ids": ("statistics", {"instrument_id": 5}, "statistics of an id without a definition"),
    "deleted": ("statistics", {"update_action": 2}, "statistics deleted"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_records_are_counted_and_left_out(fault) -> None:
    table, values, reason = FAULTS[fault]
    whole, _ = chain_of()
    chain, left_out = chain_of(**{"definitions" if table == "definition" else "statistics": changed(table, slice(10, 15), **values)})
    assert left_out[reason] == 5
    if table == "definition":
        assert chain.height == whole.height - 5
    else:
        assert chain.filter(pl.col("oi_ts_ns").is_null()).height == left_out["without open interest"] == 5


def test_of_two_definitions_of_an_id_the_later_counts() -> None:
    again = frames()["definition"].slice(10, 1).with_columns(pl.lit(4_321 * NS).alias("strike_price"), pl.col("ts_recv") + 5)
    chain, left_out = chain_of(definitions=pl.concat([frames()["definition"], again]))
    assert left_out["one id with two strikes on a date"] == 1
    assert chain.filter(pl.col("instrument_id") == again["instrument_id"][0])["strike"].to_list() == [4321.0]


def test_a_chain_that_was_not_there_yet_has_no_rows() -> None:
    chain, left_out = build_chain([], DATE, START, END, END)
    assert (chain.height, left_out) == (0, {})
    late = frames()["definition"].with_columns(pl.lit(END).alias("ts_recv"))
    assert chain_of(definitions=late)[0].height == 0, "listed after the session"
    without = build_chain([OptionRecords(DATE, frames()["definition"], None)], DATE, START, END, END)[0]
    assert without["oi"].sum() == 0
    assert without["oi_ts_ns"].is_null().all()


def test_settlements_mark_what_nobody_quotes() -> None:
    _, strikes, *_ = made()
    day = option_day()
    settled = frames()["statistics"].filter(pl.col("stat_type") == 3).with_columns(pl.col("ts_recv") - DAY_NS)
    with_settlements, _ = chain_of(statistics=pl.concat([frames()["statistics"], settled]))
    assert with_settlements["settlement"].is_not_null().mean() > 0.85, "but of what expires on the date"
    nothing = usable(frames()["bbo_1m"].clear(), PARAMS, Counts())
    marks = mark(strikes_of(with_settlements, "ESU5"), with_settlements, nothing, mids(), minutes_of(START, END), PARAMS, Counts())
    assert set(np.unique(marks.source)) == {-1, 1}
    at_the_money = np.abs(strikes["strike"].to_numpy() - 6800) < 30
    assert np.nanmedian(np.abs(marks.iv[30][at_the_money] - day.level)) < 0.02
    frame = marks_frame(strikes, marks, PARAMS)
    assert frame["quote_ts_ns"].is_null().all()
    assert frame["bid"].is_null().all()


def test_a_wall_moves_only_after_a_lead_of_some_minutes() -> None:
    a, b = 6800.0, 6850.0
    ratio = [0.5, 1.05, 1.2, 1.2, 0.99, 1.2, 1.2, 1.2, 1.2, 0.95, 0.8, 0.8, 0.8]
    history = [{a: 100.0, b: 100.0 * r} for r in ratio]
    inertia = Inertia(PARAMS)
    found = [inertia.hold(np.array([a, b]), np.array([g[a], g[b]])) for g in history]
    assert found == twin.wall(history)
    assert found == [a] * 7 + [b] * 5 + [a]
    rng = np.random.default_rng(3)
    strikes = np.array([1.0, 2.0, 3.0])
    walk = 100 * np.exp(np.cumsum(rng.normal(0, 0.06, (400, 3)), axis=0))
    inertia = Inertia(PARAMS)
    moves = np.count_nonzero(np.diff([inertia.hold(strikes, g) for g in walk]))
    plain = np.count_nonzero(np.diff(walk.argmax(axis=1)))
    assert 0 < moves < 0.6 * plain


def test_steps_leave_out_what_is_not_known() -> None:
    minute = 60 * NS
    at = np.arange(6) * minute
    value = np.array([np.nan, 1.0, 1.0, np.nan, 2.0, 2.0])
    assert steps_of(at, value, 10 * minute) == [(2 * minute, 4 * minute, 1.0), (5 * minute, 10 * minute, 2.0)]
    assert steps_of(at, value, 5 * minute) == [(2 * minute, 4 * minute, 1.0)], "nothing begins at or after the end"
    assert np.isnan(nearest_zero(np.array([1.0, 2.0]), np.array([1.0, 2.0]), 1.5))
    assert nearest_zero(np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0, 1.0]), 2.4) == 2.5


def test_what_expires_on_the_trading_day_is_0dte() -> None:
    morning, evening = (session_windows(DATE, profile, root_of("ES")) for profile in ("rth", "globex_open"))
    hour = 3600 * NS
    assert trading_day_end(morning) == START_NS + 28 * hour
    assert trading_day_end(evening) == START_NS + 52 * hour, "an evening's options of 0dte expire on the next date"
