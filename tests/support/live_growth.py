"""What a day's recording costs its processes: ``python -m tests.support.live_growth record SOURCE LAKE``, and ``follow LAKE PROFILE``.

Each prints a line of JSON: records, and MB of memory at a tenth of them, at the most and at the end; of `follow` also the CPU seconds of
each tenth, and of the slowest step. `SOURCE` are bare records; what follows takes them in as a page does, in steps.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.lake.store import Lake
from engine.live.day import LiveDay
from engine.live.journal import MBO, Journal, Recorder
from engine.live.lookout import Lookout
from engine.live.session import opened
from tests.support.dbn_files import busy_day, utc_ns
from tests.support.lakes import ESZ5, TUESDAY

READ, STEP = 1 << 10, 2_500
"""Records that a recorder gets at once, and that are taken in at once."""

OPENS, CLOSES = utc_ns(TUESDAY, 14, 30), utc_ns(TUESDAY, 21)
"""09:30 and 16:00 New York."""


def write_source(path: Path, messages: int) -> None:
    """A day of that many messages, nearly all of them between `OPENS` and `CLOSES`, as bare records."""
    busy_day(messages, 3, date=TUESDAY, symbols=ESZ5, snapshot_orders=2000, start_ns=OPENS, end_ns=CLOSES).tofile(path)


def memory_mb() -> float:
    """MB that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def grown(steps: Iterator[int], total: int, tenth: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Go through steps, each of which says how many records there were by then."""
    at, most, parts = 0.0, 0.0, 0
    for n in steps:
        if n * 10 >= (parts + 1) * total:
            parts += 1
            tenth()
            most = max(most, memory_mb())
            at = at or memory_mb()
    return {"records": total, "at_a_tenth_mb": at, "most_mb": max(most, memory_mb()), "end_mb": memory_mb()}


def record(source: Path, lake: Path) -> dict[str, Any]:
    """Record the records of a file."""
    recorder, total = Recorder(lake, "ES", feed="replayed"), source.stat().st_size // MBO.itemsize
    recorder.start()
    recorder.resume()

    def steps() -> Iterator[int]:
        with source.open("rb") as f:
            recorder.take(f.read(MBO.itemsize))
            recorder.say("mapping", symbols={str(i): s for i, s in ESZ5.items()})
            while data := f.read(READ * MBO.itemsize):
                recorder.take(data)
                if recorder.records_now % (64 * READ) < READ:
                    recorder.tick()
                yield recorder.records_now

    found = grown(steps(), total)
    recorder.close("the end")
    return found


def follow(lake: Path, profile: str) -> dict[str, Any]:
    """Take in a journal from its beginning, with the levels and alerts of its session."""
    journal = Journal(lake, "ES")
    session = opened(LiveDay(Lake(lake), journal, "ESZ5", TUESDAY, profile))
    lookout, total = Lookout(session), sum(journal.count(d) for d in journal.dates())
    cpu, slowest, alerts = [time.process_time()], 0.0, 0

    def steps() -> Iterator[int]:
        nonlocal slowest, alerts
        while session.day.behind():
            begin = time.process_time()
            session.advance(STEP)
            alerts += len(lookout.look())
            slowest = max(slowest, time.process_time() - begin)
            yield session.day.records

    found = grown(steps(), total, lambda: cpu.append(time.process_time()))
    valid = int(session.ladder.valid.sum())
    return found | {
        "cpu_s": np.diff(cpu).tolist(),
        "slowest_s": slowest,
        "seconds": session.known_seconds,
        "valid": valid,
        "alerts": alerts,
    }


def main() -> None:
    """Do what is asked, and say what it cost."""
    what, *words = sys.argv[1:]
    found = record(Path(words[0]), Path(words[1])) if what == "record" else follow(Path(words[0]), words[1])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
