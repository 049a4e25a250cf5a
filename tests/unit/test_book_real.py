"""The replay of real orders: counts, no crossed book after the open, conservation, and the twin row for row."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.mbo.dbn import COLUMN_TYPES, MboColumns, read_header, stream_columns
from engine.mbo.orders import EVENTS_SCHEMA, OrderReplay
from engine.mbo.replay import LadderReplay, ReplayedContract
from tests.reference.book_twin import BookTwin
from tests.reference.order_twin import OrderTwin
from tests.support.dbn_files import busy_day, utc_ns, write_dbn
from tests.support.replaying import NS, breaches, dict_rows, twin_frames

DATE = dt.date(2023, 12, 25)
START, END = utc_ns(DATE, 22, 50), utc_ns(DATE + dt.timedelta(days=1))


def replay_file(path: Path, start: int, end: int, *, chunk_records: int, open_ns: int | None = None) -> ReplayedContract:
    header = read_header(path)
    replay = LadderReplay(header.outrights(), start, end, open_ns=open_ns)
    replay.begin_file(header.end_ns, header.start_ns)
    for columns in stream_columns(path, chunk_records=chunk_records):
        replay.feed(columns)
    return next(iter(replay.finish().values()))


def twin_file(path: Path, start: int, end: int, tick_fixed: int, *, open_ns: int | None = None) -> BookTwin:
    header = read_header(path)
    twin = BookTwin(start // NS, end // NS, tick_fixed, open_ns=open_ns)
    twin.file(header.start_ns, header.end_ns)
    chunks = list(stream_columns(path))
    columns = MboColumns(*(np.concatenate([getattr(c, name) for c in chunks]) for name in COLUMN_TYPES))
    for row in dict_rows(columns, next(iter(header.outrights()))):
        twin.record(row)
    twin.finish()
    return twin


@pytest.fixture(scope="module")
def real(real_dbn: Path) -> ReplayedContract:
    return replay_file(real_dbn, START, END, chunk_records=5000, open_ns=utc_ns(DATE, 23))


def test_counts_and_no_crossed_state_after_the_open(real: ReplayedContract) -> None:
    assert real.symbol == "ESH4"
    assert real.stats["live_records"] == 60_067
    assert real.stats["snapshot_records"] == 8_725
    assert real.stats["states_after_open"] == 46_097
    assert real.stats["crossed_after_open"] == 0
    assert real.stats["unknown_cancels"] == 0
    after = real.tape.filter(pl.col("window_start_ts_ns") >= utc_ns(DATE, 23))
    assert (after["best_bid_tick"] < after["best_ask_tick"]).all()
    assert after["book_valid"].all()


def test_conservation(real: ReplayedContract) -> None:
    assert real.rows.height > 50_000
    assert breaches(real.rows, real.tape).is_empty()


def test_executions_are_not_pulls(real: ReplayedContract, real_dbn: Path) -> None:
    """All that the T records traded on a displayed order left the ladder as fills."""
    fills = real.rows.select(pl.sum("bid_fill", "ask_fill")).row(0)
    volumes = real.tape.select(pl.sum("sell_volume", "buy_volume")).row(0)
    assert min(fills) > 2000
    # Hidden size trades without leaving a displayed order, and an implied or auction trade has no side: a few per cent each.
    assert sum(fills) == pytest.approx(sum(volumes), rel=0.05)


def test_twin_equals_kernel_row_for_row(real: ReplayedContract, real_dbn: Path) -> None:
    ladder, tape = twin_frames(twin_file(real_dbn, START, END, 250_000_000, open_ns=utc_ns(DATE, 23)))
    assert_frame_equal(real.rows, ladder)
    assert_frame_equal(real.tape, tape)


def test_what_orders_did_equals_the_twin(real_dbn: Path) -> None:
    header = read_header(real_dbn)
    chunks = list(stream_columns(real_dbn, chunk_records=9000))
    orders = OrderReplay(header.outrights(), START, END)
    orders.begin_file(header.end_ns, header.start_ns)
    twin = OrderTwin(START, END, 250_000_000)
    twin.file(header.start_ns, header.end_ns)
    for columns in chunks:
        orders.feed(columns)
        for row in dict_rows(columns, next(iter(header.outrights()))):
            twin.record(row)
    twin.finish()
    events = orders.finish()["ESH4"]
    assert_frame_equal(events, pl.DataFrame(twin.rows, schema=EVENTS_SCHEMA))
    assert dict(events["kind"].value_counts().iter_rows()) == {
        "standing": 73, "born": 114, "moved": 13, "reduced": 18, "filled": 303, "pulled": 72, "refill": 83, "sweep": 3, "absorbed": 1,
        "pulled_before_touch": 16,
    }  # fmt: skip
    assert (events["ts_ns"].diff().drop_nulls() >= 0).all()


def test_a_cl_file_that_starts_cold(tmp_path: Path) -> None:
    """No snapshot: invalid until an ``R`` makes the book known, and the same as the twin's throughout."""
    date = dt.date(2025, 10, 30)
    records = busy_day(
        12_000,
        9,
        date=date,
        symbols={5: "CLX5"},
        price=20.0,
        tick=0.01,
        snapshot_orders=400,
        start_ns=utc_ns(date, 14),
        end_ns=utc_ns(date, 14, 3),
    )
    cold = records[401:]
    cleared = np.flatnonzero(cold["flags"] & 128)[8000]
    cold[cleared]["action"], cold[cleared]["side"] = ord("R"), ord("N")
    start, end = utc_ns(date, 14), utc_ns(date, 14, 4)
    path = write_dbn(tmp_path / "cl.dbn.zst", cold, symbols={5: "CLX5"}, start=utc_ns(date), end=utc_ns(date + dt.timedelta(days=1)))
    contract = replay_file(path, start, end, chunk_records=1000)
    assert contract.stats["unknown_cancels"] > 100
    known = int(cold[cleared]["ts_event"]) // NS - start // NS
    valid = contract.tape["book_valid"].to_list()
    assert not any(valid[: known + 1])
    assert all(valid[known + 1 :])
    ladder, tape = twin_frames(twin_file(path, start, end, 10_000_000))
    assert_frame_equal(contract.rows, ladder)
    assert_frame_equal(contract.tape, tape)
    assert breaches(contract.rows, contract.tape).is_empty()
