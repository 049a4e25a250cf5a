"""What a replay says of its own worth: to the second, on the real day cut in four ways, and against the slow twin."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.mbo.dbn import COLUMN_TYPES, MboColumns, read_header, stream_columns
from engine.mbo.replay import LadderReplay, ReplayedContract
from engine.mbo.trust import REASONS, Span
from engine.params import TrustParams
from engine.vocab import F_SNAPSHOT
from tests.reference.trust_twin import TrustTwin
from tests.support.dbn_files import NS, utc_ns
from tests.support.replaying import dict_rows

DATE = dt.date(2023, 12, 25)
START, OPEN, END = utc_ns(DATE, 22, 50), utc_ns(DATE, 23), utc_ns(DATE + dt.timedelta(days=1))
MIDNIGHT = utc_ns(DATE)

Records = MboColumns


def taken(columns: MboColumns, keep: np.ndarray) -> MboColumns:
    return MboColumns(*(np.ascontiguousarray(getattr(columns, name)[keep]) for name in COLUMN_TYPES))


def joined(*parts: MboColumns) -> MboColumns:
    """Parts in the order of their times of arrival, of equal ones the first first."""
    whole = MboColumns(*(np.concatenate([getattr(p, name) for p in parts]) for name in COLUMN_TYPES))
    return taken(whole, np.argsort(whole.ts_recv, kind="stable"))


def orders(instrument: int, *rows: tuple[int, str, str, float, int, int]) -> MboColumns:
    """Records from (ns, action, side, price, size, order id), each an event of its own."""
    out = MboColumns.empty(len(rows))
    for i, (ts, action, side, price, size, order_id) in enumerate(rows):
        out.ts_event[i] = out.ts_recv[i] = ts
        out.action[i], out.side[i] = "ACMRTFN".index(action), "BAN".index(side)
        out.price[i], out.size[i], out.order_id[i], out.flags[i] = round(price * 1e9), size, order_id, 128
    out.instrument_id[:] = instrument
    for name in ("publisher_id", "channel_id", "ts_in_delta", "sequence"):
        getattr(out, name)[:] = 0
    return out


@pytest.fixture(scope="module")
def day(real_dbn: Path) -> MboColumns:
    chunks = list(stream_columns(real_dbn))
    return MboColumns(*(np.concatenate([getattr(c, name) for c in chunks]) for name in COLUMN_TYPES))


@pytest.fixture(scope="module")
def instrument(real_dbn: Path) -> int:
    return next(iter(read_header(real_dbn).outrights()))


def replayed(columns: MboColumns, end_ns: int = END, lost: tuple[Span, ...] = (), start: int = START) -> ReplayedContract:
    replay = LadderReplay({int(columns.instrument_id[0]): "ESH4"}, start, END, open_ns=OPEN, lost=lost)
    replay.begin_file(end_ns, MIDNIGHT)
    replay.feed(columns)
    return next(iter(replay.finish().values()))


def twin_of(columns: MboColumns, end_ns: int = END, lost: tuple[Span, ...] = (), start: int = START) -> TrustTwin:
    twin = TrustTwin(start // NS, END // NS, 250_000_000, open_ns=OPEN, lost=lost)
    twin.file(MIDNIGHT, end_ns)
    for row in dict_rows(columns, int(columns.instrument_id[0])):
        twin.record(row)
    twin.finish()
    return twin


def whole(columns: MboColumns, end_ns: int = END) -> tuple[ReplayedContract, tuple[Span, ...]]:
    """As the ladder's stage replays: again for every span of missing records."""
    lost: tuple[Span, ...] = ()
    while (made := replayed(columns, end_ns, lost)).trust.missing is not None:
        lost = (*lost, made.trust.missing)
    return made, lost


def spans(made: ReplayedContract, reason: str) -> list[tuple[str, str]]:
    """UTC clock times of the spans of a reason."""
    clock = [
        tuple(f"{dt.datetime.fromtimestamp(ns // NS, dt.UTC):%H:%M:%S}" for ns in s[1:])
        for s in made.trust.record["spans"]
        if s[0] == reason
    ]
    return [(a, b) for a, b in clock]


def agree(made: ReplayedContract, twin: TrustTwin) -> None:
    """Kernel and twin, second by second, and every count."""
    assert [("", *REASONS)[code] for code in made.trust.reason] == twin.reasons()
    assert made.trust.near_ticks.tolist() == twin.near()
    assert made.tape["book_valid"].to_list() == [not reason for reason in twin.reasons()]
    assert made.tape["near_ticks"].to_list() == [n if n >= 0 else None for n in twin.near()]
    assert made.trust.missing == twin.missing()
    record, inside = made.trust.record, range(twin.start, twin.end)
    locked, crossed, _ = twin.crossings()
    assert (record["locked_seconds"], record["crossed_seconds"]) == (len(locked & set(inside)), len(crossed & set(inside)))
    assert record["off_grid_trades"] == sum(n for s, n in twin.off_grid.items() if s in inside)
    assert record["unplaced_fills"] == sum(len(n) for s, n in twin.unplaced.items() if s in inside)
    assert record["unplaced_filled"] == sum(sum(n) for s, n in twin.unplaced.items() if s in inside)
    for i, what in enumerate(("cancels", "modifies")):
        totals = dict.fromkeys(record["unknown"][what], 0)
        for block, by in twin.counts.items():
            for away, n in by.items():
                group = "0-10" if away <= 10 else "11-20" if away <= 20 else "21-63" if away < 64 else "beyond"
                totals[group] += n[i] if 0 <= block < -(-len(inside) // 10) else 0
        assert record["unknown"][what] == totals


def test_the_whole_day_is_trusted(day: MboColumns) -> None:
    made, lost = whole(day)
    assert lost == ()
    assert made.trust.record["why_not"] == {}
    assert made.trust.record["valid"] == made.trust.record["seconds"] == 4200
    assert sum(made.trust.record["unknown"]["cancels"].values()) == 0
    agree(made, twin_of(day))


def test_ten_minutes_cut_away(day: MboColumns) -> None:
    """Nothing says that records are missing but the silence and the unknown orders that follow it."""
    cut = taken(day, (day.ts_event < OPEN) | (day.ts_event >= OPEN + 600 * NS))
    made, lost = whole(cut)
    # The first record after 23:10:00 is of 23:10:01.
    assert spans(made, "gap") == [("23:00:00", "23:10:01")]
    assert made.trust.record["why_not"]["gap"] == 601
    assert spans(made, "after_gap") == [("23:10:01", "00:00:00")]
    before = made.tape.filter(pl.col("window_start_ts_ns") < OPEN)
    assert before["book_valid"].all()
    agree(replayed(cut), twin_of(cut))
    agree(made, twin_of(cut, lost=lost))


def test_the_gap_between_two_files_is_told_by_their_headers(day: MboColumns) -> None:
    replay = LadderReplay({int(day.instrument_id[0]): "ESH4"}, START, END, open_ns=OPEN)
    for a, b in ((MIDNIGHT, OPEN), (OPEN + 600 * NS, END)):
        replay.begin_file(b, a)
        part = taken(day, (day.ts_recv >= a) & (day.ts_recv < b) | (((day.flags & F_SNAPSHOT) != 0) & (a == MIDNIGHT)))
        replay.feed(part)
    made = next(iter(replay.finish().values()))
    assert spans(made, "gap") == [("23:00:00", "23:10:00")]
    assert spans(made, "cold_start") == [("23:10:00", "00:00:00")]


def test_the_snapshot_cut_away(day: MboColumns) -> None:
    cut = taken(day, (day.flags & F_SNAPSHOT) == 0)
    made, lost = whole(cut)
    assert lost == ()
    assert made.trust.record["why_not"] == {"cold_start": 4200}
    assert spans(made, "cold_start") == [("22:50:00", "00:00:00")]
    assert made.trust.record["near"] > 1800
    agree(made, twin_of(cut))


@pytest.mark.parametrize("header_end", [OPEN, END])
def test_the_last_hour_cut_away(day: MboColumns, header_end: int) -> None:
    """Whether the header says that the file ends there, or not."""
    cut = taken(day, day.ts_event < OPEN)
    made, _ = whole(cut, header_end)
    assert spans(made, "after_end") == [("23:00:00", "00:00:00")]
    assert made.trust.record["why_not"] == {"after_end": 3600}
    agree(made, twin_of(cut, header_end))


def test_where_the_venue_may_be_closed_no_file_is_to_blame(day: MboColumns) -> None:
    """The same day, on which the venue might have been closed from 23:10 on: only what is missing before is the file's."""
    cut, shut = taken(day, day.ts_event < OPEN), (OPEN + 600 * NS, END)
    replay = LadderReplay({int(cut.instrument_id[0]): "ESH4"}, START, END, open_ns=OPEN, closed=shut)
    replay.begin_file(END, MIDNIGHT)
    replay.feed(cut)
    made = next(iter(replay.finish().values()))
    assert made.trust.record["why_not"] == {"after_end": 600, "closed": 3000}
    assert spans(made, "closed") == [("23:10:00", "00:00:00")]
    twin = TrustTwin(START // NS, END // NS, 250_000_000, open_ns=OPEN, closed=shut)
    twin.file(MIDNIGHT, END)
    for row in dict_rows(cut, int(cut.instrument_id[0])):
        twin.record(row)
    twin.finish()
    agree(made, twin)


@pytest.mark.parametrize("price", [4900.0, 4815.0])
def test_crossed_for_ten_minutes(day: MboColumns, instrument: int, price: float) -> None:
    """A bid far above the market, which never trades."""
    since = OPEN + 1200 * NS
    made, lost = whole(joined(day, orders(instrument, (since, "A", "B", price, 1, 7), (since + 600 * NS, "C", "B", price, 1, 7))))
    assert lost == ()
    assert spans(made, "crossed") == [("23:20:00", "23:30:00")]
    assert made.trust.record["why_not"] == {"crossed": 600}
    assert made.trust.record["crossed_seconds"] == 600
    agree(made, twin_of(joined(day, orders(instrument, (since, "A", "B", price, 1, 7), (since + 600 * NS, "C", "B", price, 1, 7)))))


def test_a_crossing_of_two_seconds_is_counted_and_valid(day: MboColumns, instrument: int) -> None:
    since = OPEN + 1200 * NS
    for length, lost in ((2 * NS, {}), (2 * NS + 1, {"crossed": 3})):
        made = replayed(joined(day, orders(instrument, (since, "A", "B", 4900.0, 1, 7), (since + length, "C", "B", 4900.0, 1, 7))))
        assert made.trust.record["why_not"] == lost
        assert made.trust.record["crossed_seconds"] == 2 + bool(lost)


def test_before_the_open_a_crossed_book_is_normal(day: MboColumns, instrument: int) -> None:
    since = OPEN - 300 * NS
    made = replayed(joined(day, orders(instrument, (since, "A", "B", 4900.0, 1, 7), (since + 200 * NS, "C", "B", 4900.0, 1, 7))))
    assert made.trust.record["why_not"] == {}


def test_one_unknown_order_is_counted_and_loses_nothing(day: MboColumns, instrument: int) -> None:
    made, lost = whole(joined(day, orders(instrument, (OPEN + 900 * NS, "C", "B", 4808.0, 1, 7))))
    assert lost == ()
    assert sum(made.trust.record["unknown"]["cancels"].values()) == 1
    assert made.trust.record["valid"] == 4200


def test_trades_off_the_grid_and_fills_of_orders_never_seen(day: MboColumns, instrument: int) -> None:
    made = replayed(joined(day, orders(instrument, (OPEN + 900 * NS, "T", "B", 4808.1, 3, 0), (OPEN + 901 * NS, "F", "A", 4808.25, 4, 9))))
    plain = replayed(day)
    assert made.trust.record["off_grid_trades"] == plain.trust.record["off_grid_trades"] + 1
    assert made.trust.record["unplaced_fills"] == plain.trust.record["unplaced_fills"] + 1
    assert made.trust.record["unplaced_filled"] == plain.trust.record["unplaced_filled"] + 4


def test_a_bad_book_flag_lasts_until_the_book_is_made_again(day: MboColumns) -> None:
    flagged = taken(day, np.ones(len(day), np.bool_))
    i = int(np.searchsorted(flagged.ts_event >= OPEN + 1800 * NS, True))
    flagged.flags[i] |= 4
    made = replayed(flagged)
    assert spans(made, "bad_book")[0][1] == "00:00:00"
    assert list(made.trust.record["why_not"]) == ["bad_book"]
    agree(made, twin_of(flagged))


def test_the_band_converges_to_the_true_book(day: MboColumns, say: Callable[[str, object], None]) -> None:
    """Without its snapshot the book that counts as known near the touch is that of the whole day, but for what has never moved."""
    near, true = replayed(taken(day, (day.flags & F_SNAPSHOT) == 0)), replayed(day)
    band = near.tape.filter(pl.col("near_ticks").is_not_null())
    same = band.join(true.tape, on="window_start_ts_ns", suffix="_true")
    prices, sizes = (
        same.select(pl.all_horizontal(pl.col(c) == pl.col(f"{c}_true") for c in of)).to_series().mean() for of in (PRICES, SIZES)
    )
    say(
        "snapshot cut away: seconds near, of which best prices, and sizes there, are the true ones",
        f"{band.height}, {prices:.2%}, {sizes:.2%}",
    )
    assert prices == 1
    assert sizes > 0.97
    errors = depth_errors(near, true, band)
    for reach, (first, last) in errors.items():
        say(
            f"snapshot cut away: depth within {reach} ticks, share missing in the first and the last ten minutes",
            f"{first:.1%}, {last:.1%}",
        )
    assert all(last <= first < 0.15 for first, last in errors.values())
    assert errors[0][1] == 0
    assert errors[5][1] < 0.01
    assert errors[20][1] < 0.10
    flows = flow_errors(near, true, band)
    say("snapshot cut away: adds, pulls and fills in the band that differ", f"{flows:.2%}")
    assert flows < 0.005


def test_what_is_forgotten_once_more_is_watched_for_as_long_again(day: MboColumns) -> None:
    """Two files without a snapshot, five seconds apart: what was counted before the second tells nothing of its book."""
    cut = taken(day, (day.flags & F_SNAPSHOT) == 0)
    at = OPEN + 2400 * NS
    replay = LadderReplay({int(day.instrument_id[0]): "ESH4"}, START, END, open_ns=OPEN)
    for a, b in ((MIDNIGHT, at), (at + 5 * NS, END)):
        replay.begin_file(b, a)
        replay.feed(taken(cut, (cut.ts_recv >= a) & (cut.ts_recv < b)))
    near = next(iter(replay.finish().values())).trust.near_ticks >= 0
    second = (at - START) // NS
    assert near[second - 60 : second].all()
    assert not near[second : second + 305].any()
    assert near[second + 305 :].any()


PRICES, SIZES = ("best_bid_tick", "best_ask_tick"), ("bid_size", "ask_size")


def books(made: ReplayedContract) -> dict[int, dict[tuple[str, int], int]]:
    """Depth by side and tick at each second's end, from the rows alone."""
    state: dict[tuple[str, int], int] = {}
    out, by_second = {}, made.rows.partition_by("window_start_ts_ns", as_dict=True)
    for start in made.tape["window_start_ts_ns"].to_list():
        for row in by_second[(start,)].iter_rows(named=True) if (start,) in by_second else ():
            for side in ("bid", "ask"):
                state[side, row["tick"]] = row[f"{side}_depth"]
        out[start] = dict(state)
    return out


def in_band(row: dict[str, int], reach: int) -> list[tuple[str, int]]:
    reach = min(reach, row["near_ticks"])
    return [("bid", row["best_bid_tick"] - n) for n in range(reach + 1)] + [("ask", row["best_ask_tick"] + n) for n in range(reach + 1)]


def depth_errors(near: ReplayedContract, true: ReplayedContract, band: pl.DataFrame) -> dict[int, tuple[float, float]]:
    """By ticks from the touch: share of the true depth that is missing, in the first and in the last ten minutes of the band."""
    mine, whole_day = books(near), books(true)
    out = {}
    for reach in (0, 5, 10, 20):
        shares = []
        for part in (band.head(600), band.tail(600)):
            found = there = 0
            for row in part.iter_rows(named=True):
                cells = in_band(row, reach)
                found += sum(mine[row["window_start_ts_ns"]].get(c, 0) for c in cells)
                there += sum(whole_day[row["window_start_ts_ns"]].get(c, 0) for c in cells)
            shares.append(1 - found / there)
        out[reach] = (shares[0], shares[1])
    return out


def flow_errors(near: ReplayedContract, true: ReplayedContract, band: pl.DataFrame) -> float:
    """Contracts that were added, pulled or filled in the band in one replay and not in the other, over all of the true one."""
    names = [f"{side}_{flow}" for side in ("bid", "ask") for flow in ("add", "pull", "fill")]
    both = near.rows.join(true.rows, on=["window_start_ts_ns", "tick"], how="full", coalesce=True, suffix="_true").join(
        band.select("window_start_ts_ns", "best_bid_tick", "best_ask_tick", "near_ticks"), on="window_start_ts_ns"
    )
    low, high = pl.col("best_bid_tick") - pl.col("near_ticks"), pl.col("best_ask_tick") + pl.col("near_ticks")
    inside = both.filter(pl.col("tick").is_between(low, high)).fill_null(0)
    wrong = sum(int((inside[n] - inside[f"{n}_true"]).abs().sum()) for n in names)
    return wrong / sum(int(inside[f"{n}_true"].sum()) for n in names)


def test_parameters_decide(day: MboColumns) -> None:
    """A share that is never undercut leaves no band."""
    cut = taken(day, (day.flags & F_SNAPSHOT) == 0)
    replay = LadderReplay({int(day.instrument_id[0]): "ESH4"}, START, END, open_ns=OPEN, trust=TrustParams(near_share=1e-9))
    replay.begin_file(END, MIDNIGHT)
    replay.feed(cut)
    strict = next(iter(replay.finish().values()))
    assert strict.trust.record["near"] < replayed(cut).trust.record["near"]
