"""Benchmarks of the replay: kernel, twin, file to ladder, decoding, and the memory of a busy day."""

from __future__ import annotations

import atexit
import datetime as dt
import functools
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.mbo.dbn import MboColumns, read_header, stream_columns
from engine.mbo.orders import OrderReplay
from engine.mbo.replay import LadderReplay, ReplayedContract
from tests.bench.harness import Measure, bench, median_seconds
from tests.reference.book_twin import BookTwin
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.support.replaying import NS, dict_rows

DATE = dt.date(2025, 11, 4)
SYMBOLS = {17077: "ESZ5"}
MESSAGES = 5_000_000
LADDER = utc_ns(DATE, 14), utc_ns(DATE, 17, 30)
"""09:00 to 12:30 New York: the ladder's span in the `rth` profile."""

_PEAK = """
import re, sys
from tests.bench.bench_mbo import file_to_ladder
from pathlib import Path
file_to_ladder(Path(sys.argv[1]))
# Not ru_maxrss: across fork and exec it keeps the peak of the process that started this one.
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@functools.cache
def busy_file(messages: int) -> Path:
    """A generated day, dropped at exit."""
    folder = Path(tempfile.mkdtemp(prefix="spymaster-bench-mbo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    records = busy_day(messages, date=DATE, symbols=SYMBOLS)
    return write_dbn(folder / "day.dbn.zst", records, symbols=SYMBOLS, start=utc_ns(DATE), end=utc_ns(DATE) + DAY_NS)


def file_to_ladder(path: Path) -> ReplayedContract:
    """Raw zstd file to ladder and tape in memory."""
    header = read_header(path)
    replay = LadderReplay(header.outrights(), *LADDER)
    replay.begin_file(header.end_ns, header.start_ns)
    for columns in stream_columns(path):
        replay.feed(columns)
    return replay.finish()["ESZ5"]


@functools.cache
def busy_columns() -> tuple[MboColumns, ...]:
    """The 5M-message day, decoded."""
    return tuple(stream_columns(busy_file(MESSAGES)))


def replay_columns() -> None:
    """Kernel and frames, without the decoding."""
    replay = LadderReplay(SYMBOLS, *LADDER)
    replay.begin_file(utc_ns(DATE) + DAY_NS, utc_ns(DATE))
    for columns in busy_columns():
        replay.feed(columns)
    replay.finish()


def follow_columns() -> None:
    """What single orders did, without the decoding."""
    orders = OrderReplay(SYMBOLS, *LADDER)
    orders.begin_file(utc_ns(DATE) + DAY_NS, utc_ns(DATE))
    for columns in busy_columns():
        orders.feed(columns)
    orders.finish()


def _millions(seconds: float, messages: int) -> float:
    return messages / seconds / 1e6


@bench("replay, all channels, 5M messages", bar=">= 15 M messages/core-s")
def kernel() -> Measure:
    n = sum(len(c) for c in busy_columns())
    return Measure(
        _millions(median_seconds(replay_columns, runs=7), n), "M messages/core-s", 7, "columns in memory to ladder and tape frames"
    )


@bench("order events alone, 5M messages", bar="")
def orders_alone() -> Measure:
    n = sum(len(c) for c in busy_columns())
    return Measure(_millions(median_seconds(follow_columns, runs=7), n), "M messages/core-s", 7, "columns in memory to a frame")


@bench("replay with order events, 5M messages", bar=">= 12 M messages/core-s")
def kernel_and_orders() -> Measure:
    def both() -> None:
        replay_columns()
        follow_columns()

    n = sum(len(c) for c in busy_columns())
    return Measure(
        _millions(median_seconds(both, runs=7), n), "M messages/core-s", 7, "ladder, tape and order events from the same columns"
    )


@bench("replay against the twin's dict book", bar=">= 15 x")
def against_twin() -> Measure:
    first = busy_columns()[:2]
    n = sum(len(c) for c in first)
    rows = [row for columns in first for row in dict_rows(columns, 17077)]
    start_s = rows[-1]["ts_event"] // NS - 3600

    def twin() -> None:
        book = BookTwin(start_s, start_s + 3600, 250_000_000)
        for row in rows:
            book.record(row)
        book.finish()

    slow = median_seconds(twin, runs=3, warmup=0) / n
    fast = median_seconds(replay_columns, runs=7) / sum(len(c) for c in busy_columns())
    return Measure(slow / fast, "x", 3, f"twin: {1e-3 / slow:,.0f} k messages/core-s on {n:,} messages held as dicts")


@bench("decode and split, 5M messages", bar="(zstd is the bound)")
def decode() -> Measure:
    path = busy_file(MESSAGES)
    n = sum(len(c) for c in busy_columns())
    return Measure(_millions(median_seconds(lambda: sum(map(len, stream_columns(path)))), n), "M messages/core-s", 5)


@bench("raw zstd file to ladder in memory, 5M messages", bar=">= 2.5 M messages/core-s")
def file_in() -> Measure:
    path = busy_file(MESSAGES)
    n = sum(len(c) for c in busy_columns())
    return Measure(_millions(median_seconds(lambda: file_to_ladder(path)), n), "M messages/core-s", 5)


@bench("raw zstd file to ladder, 15M-message day", bar="<= 6 core-s")
def whole_day() -> Measure:
    path = busy_file(3 * MESSAGES)
    return Measure(median_seconds(lambda: file_to_ladder(path), runs=3), "core-s", 3)


@bench("peak memory, raw file to ladder, 15M-message day", bar="<= 2 GB")
def peak_memory() -> Measure:
    done = subprocess.run([sys.executable, "-c", _PEAK, str(busy_file(3 * MESSAGES))], capture_output=True, text=True, check=True)
    return Measure(int(done.stdout) / 1e6, "GB", 1, "a process of its own")


@bench("replay kernel from a cold process", bar="(numba loads its cache)")
def cold_start() -> Measure:
    start = time.perf_counter()
    code = f"from tests.bench.bench_mbo import LadderReplay; LadderReplay({SYMBOLS!r}, 0, {NS}).finish()"
    subprocess.run([sys.executable, "-c", code], check=True)
    return Measure(time.perf_counter() - start, "s wall", 1)
