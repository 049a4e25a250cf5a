"""What a day's recording costs its processes: ``python -m tests.support.live_growth record SOURCE LAKE``, and ``follow LAKE PROFILE STEP``.

Each prints a line of JSON: records, and MB of memory at a tenth of them, at the most and at the end; of `follow` also, for each hour of the
market, the median CPU ms of taking a step of records in, of bars and levels, and of the ladder's end. `SOURCE` are bare records; what
follows takes them in as a page does, in steps.
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
from engine.vocab import NS
from tests.support.dbn_files import busy_day, utc_ns
from tests.support.lakes import ESZ5, TUESDAY

READ = 1 << 10
"""Records that a recorder gets at once."""

OPENS, CLOSES = utc_ns(TUESDAY, 14, 30), utc_ns(TUESDAY, 21)
"""09:30 and 16:00 New York."""


def write_source(path: Path, messages: int) -> None:
    """A day of that many messages, nearly all of them between `OPENS` and `CLOSES`, as bare records."""
    busy_day(messages, 3, date=TUESDAY, symbols=ESZ5, snapshot_orders=2000, start_ns=OPENS, end_ns=CLOSES).tofile(path)


def memory_mb() -> float:
    """MB that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def grown(steps: Iterator[int], total: int) -> dict[str, Any]:
    """Go through steps, each of which says how many records there were by then."""
    at, most, parts = 0.0, 0.0, 0
    for n in steps:
        if n * 10 >= (parts + 1) * total:
            parts += 1
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


def follow(lake: Path, profile: str, step: int) -> dict[str, Any]:
    """Take in a journal from its beginning, `step` records at once, with the levels and alerts of its session."""
    journal = Journal(lake, "ES")
    session = opened(LiveDay(Lake(lake), journal, "ESZ5", TUESDAY, profile))
    lookout, total = Lookout(session), sum(journal.count(d) for d in journal.dates())
    took: dict[str, dict[int, list[float]]] = {"chunk_ms": {}, "refresh_ms": {}, "tail_ms": {}}
    alerts = 0

    def timed(what: str, act: Callable[[], object]) -> None:
        begin = time.process_time()
        act()
        hour = int(max(session.day.now_ns - OPENS, 0) // (3600 * NS))
        took[what].setdefault(hour, []).append((time.process_time() - begin) * 1000)

    def steps() -> Iterator[int]:
        nonlocal alerts
        while session.day.behind():
            before = session.known_seconds
            timed("chunk_ms", lambda: session.day.poll(step))
            if session.known_seconds > before:
                timed("refresh_ms", session.refresh)
                timed("tail_ms", session.day.ladder.tail)
                alerts += len(lookout.look())
            yield session.day.records

    found = grown(steps(), total)
    medians = {what: [round(float(np.median(by[h])), 3) for h in sorted(by)] for what, by in took.items()}
    return found | medians | {"seconds": session.known_seconds, "valid": int(session.ladder.valid.sum()), "alerts": alerts}


def main() -> None:
    """Do what is asked, and say what it cost."""
    what, *words = sys.argv[1:]
    found = record(Path(words[0]), Path(words[1])) if what == "record" else follow(Path(words[0]), words[1], int(words[2]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
