"""Benchmarks of the lake: bronze on disk, silver from it, peak memory, and a run that finds nothing to do."""

from __future__ import annotations

import atexit
import datetime as dt
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from engine.lake.store import Lake
from engine.mbo.dbn import stream_columns
from engine.params import RunParams
from engine.stages.base import build
from engine.stages.bronze import build_bronze
from engine.stages.intake import Intake
from engine.stages.raw import raw_index
from engine.stages.silver import STAGES
from tests.bench.harness import Measure, bench, median_seconds
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.support.lakes import ESZ5, MONDAY, RAW, ROOT, TUESDAY, command, make_bronze, make_silver

MESSAGES = 5_000_000
DAY = 15_000_000
CONTRACT_DAYS = 40


@lru_cache(maxsize=1)
def folder() -> Path:
    """A scratch folder, dropped at the end."""
    path = Path(tempfile.mkdtemp(prefix="spymaster-bench-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@lru_cache(maxsize=2)
def busy_lake(messages: int) -> Lake:
    """A lake with one busy day of raw."""
    lake = Lake(folder() / f"busy-{messages}")
    start = utc_ns(TUESDAY)
    records = busy_day(messages, date=TUESDAY, symbols=ESZ5)
    write_dbn(lake.root / RAW / "day.dbn.zst", records, symbols=ESZ5, start=start, end=start + DAY_NS)
    return lake


def convert(lake: Lake) -> None:
    """Bronze of the busy day, anew."""
    (raw, symbols), *_ = raw_index(lake, "ES").of("ESZ5", TUESDAY)
    build_bronze(lake, raw, symbols, overwrite=True)


def replay(lake: Lake) -> None:
    """Ladder and tape of the busy day, anew."""
    build(lake, STAGES[0], "ESZ5", TUESDAY, "rth", RunParams(), overwrite=True)


_ADD = """
import re, sys
from pathlib import Path
from engine.lake.store import Lake
from engine.stages.intake import Intake
Intake(Lake(sys.argv[2])).take([Path(sys.argv[1])])
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@bench("add of a busy day against one decode of it", bar="<= 1.2 x, <= 500 MB")
def add() -> Measure:
    """Read, hashed, checked, counted and copied, against decoded into columns; medians of CPU time, and the peak of a process that adds."""
    day = busy_lake(MESSAGES).root / RAW / "day.dbn.zst"
    places = (folder() / f"added-{n}" for n in range(1000))

    def take() -> None:
        intake = Intake(Lake(next(places)))
        intake.take([day])
        assert intake.lines
        assert not intake.faults

    adding = median_seconds(take, runs=7)
    decoding = median_seconds(lambda: sum(map(len, stream_columns(day))), runs=7)
    peak = subprocess.run([sys.executable, "-c", _ADD, day, next(places)], cwd=ROOT, capture_output=True, text=True, check=True)
    return Measure(adding / decoding, "x", 7, f"{adding:.2f} and {decoding:.2f} core-s for 5M messages; {int(peak.stdout) // 1024} MB")


@bench("bronze on disk, 15M-message day", bar="<= 10 core-s")
def bronze() -> Measure:
    """Raw file to bronze on disk, measured on 5M messages and scaled."""
    seconds = median_seconds(lambda: convert(busy_lake(MESSAGES)), runs=5)
    return Measure(seconds * DAY / MESSAGES, "core-s", 5, f"{seconds:.2f} core-s for 5M messages, decoding and hashing included")


@bench("bronze to silver ladder on disk, 15M-message day", bar="<= 6 core-s")
def ladder() -> Measure:
    """Bronze to ladder and tape on disk, measured on 5M messages and scaled."""
    convert(busy_lake(MESSAGES))
    seconds = median_seconds(lambda: replay(busy_lake(MESSAGES)), runs=5)
    return Measure(seconds * DAY / MESSAGES, "core-s", 5, f"{seconds:.2f} core-s for 5M messages")


PEAK = """
from pathlib import Path
from engine.lake.store import Lake
from tests.support.lakes import TUESDAY, make_bronze, make_silver
lake = Lake({root!r})
for receipt in (make_bronze(lake, TUESDAY), make_silver(lake, TUESDAY)):
    assert receipt.status == "made", receipt
# Not ru_maxrss: that is inherited from the process that started this one.
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


@bench("peak memory, raw file to vacuum features, 15M-message day", bar="<= 2 GB")
def memory() -> Measure:
    """Largest resident set of a process that makes a whole day."""
    lake = busy_lake(DAY)
    done = subprocess.run([sys.executable, "-c", PEAK.format(root=str(lake.root))], cwd=ROOT, check=True, capture_output=True, text=True)
    return Measure(int(done.stdout) / 1e6, "GB", 1, "one process, all stages")


@lru_cache(maxsize=1)
def wide_lake() -> tuple[Path, str]:
    """A lake of 40 contract-days, all current, and its dates."""
    lake = Lake(folder() / "wide")
    dates: list[dt.date] = []
    date = MONDAY
    while len(dates) < CONTRACT_DAYS:
        if date.weekday() < 5:
            dates.append(date)
            start = utc_ns(date)
            name = lake.root / RAW / f"{date}.dbn.zst"
            write_dbn(name, busy_day(4000, 1, date=date, symbols=ESZ5, snapshot_orders=200), symbols=ESZ5, start=start, end=start + DAY_NS)
        date += dt.timedelta(days=1)
    for make in (make_bronze, make_silver):
        for day in dates:
            make(lake, day)
    span = f"{dates[0]}:{dates[-1]}"
    subprocess.run(command("run", "--lake", lake.root, "--symbol", "ESZ5", "--dates", span), cwd=ROOT, check=True, capture_output=True)
    return lake.root, span


@bench("a run with nothing changed, 40 contract-days", bar="<= 3 s")
def rerun() -> Measure:
    """CPU seconds of the whole command, start of the interpreter included."""
    root, span = wide_lake()
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command("run", "--lake", root, "--symbol", "ESZ5", "--dates", span), cwd=ROOT, check=True, capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Bronze, silver, gold and signals of forty days.
        assert "0 made, 160 current, 0 failed" in done.stderr, done.stderr
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return Measure(statistics.median(seconds), "s", 5, "all of the command, CPU")


@bench("spymaster --help", bar="<= 0.5 s")
def show_help() -> Measure:
    """CPU seconds of the command."""
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command("--help"), cwd=ROOT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return Measure(statistics.median(seconds), "s", 5, "CPU")
