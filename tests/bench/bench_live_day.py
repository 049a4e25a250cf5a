"""What takes in a session under way costs, without a browser: CPU time, 12:00 to 12:20 New York of a day recorded since midnight of UTC."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from engine.features.events import session_events
from engine.lake.catalog import TRIGGERS
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.live.day import LiveDay
from engine.live.journal import Journal, Recorder
from engine.live.lookout import Lookout
from engine.live.session import LiveSession, opened
from engine.vocab import NS
from tests.bench.harness import Measure, bench
from tests.support.dbn_files import F_SNAPSHOT, busy_day, utc_ns
from tests.support.lakes import ESZ5, TUESDAY, WEDNESDAY, make_whole_lake
from tests.support.similar_lake import made_up_past
from workbench import similar

STARTS = utc_ns(TUESDAY, 17)
"""12:00 New York: three hours of the session's ladder are there."""

LOOK_NS = 50_000_000
"""A page looks at the journal so often."""


@contextmanager
def recording(rate: int, seconds: int) -> Iterator[tuple[LiveSession, Recorder, list[bytes]]]:
    """A session at `STARTS`, its recorder, and what comes then between one look and the next."""
    early = busy_day(300_000, 5, date=TUESDAY, symbols=ESZ5, snapshot_orders=2000, end_ns=STARTS)
    end = STARTS + seconds * NS
    late = busy_day(rate * seconds, 6, date=TUESDAY, symbols=ESZ5, snapshot_orders=2000, start_ns=STARTS, end_ns=end)
    late = late[(late["flags"] & F_SNAPSHOT) == 0]
    late["order_id"] += 1 << 40  # orders of its own beside those of before
    edges = np.searchsorted(late["ts_recv"], np.arange(STARTS, end + 1, LOOK_NS))
    with tempfile.TemporaryDirectory() as tmp:
        recorder = Recorder(Path(tmp), "ES", feed="replayed")
        recorder.start()
        recorder.resume()
        recorder.take(early[:1].tobytes())
        recorder.say("mapping", symbols={str(i): s for i, s in ESZ5.items()})
        recorder.take(early[1:].tobytes())
        session = opened(LiveDay(Lake(tmp), Journal(tmp, "ES"), "ESZ5", TUESDAY))
        session.advance()
        yield session, recorder, [late[a:b].tobytes() for a, b in itertools.pairwise(edges)]
        recorder.close("")


def taken_in(rate: int) -> Measure:
    """Per record, CPU ms of the look that takes it in: to the ladder, the tape and the order events."""
    took: list[tuple[float, int]] = []
    with recording(rate, 20) as (session, recorder, pieces):
        for piece in pieces:
            recorder.take(piece)
            begin = time.process_time()
            session.day.poll()
            took.append((time.process_time() - begin, len(piece)))
    looks = took[len(took) // 4 :]  # what is compiled, is by then
    each = np.repeat([ms for ms, _ in looks], [n for _, n in looks]) * 1000
    return Measure(float(np.quantile(each, 0.95)), "ms", len(looks), f"p50 {np.median(each):.2f}; a look every 50 ms")


for _rate in (2_000, 8_000, 30_000):
    bench(f"live: record to ladder at {_rate:,}/s, p95", bar="2 ms")(lambda rate=_rate: taken_in(rate))


@bench("live: what a closed window needs, p95", bar="500 ms")
def window() -> Measure:
    """CPU ms of bars, levels, features and conditions at all levels, and alerts, at the end of a window of five seconds."""
    took = []
    with recording(2_000, 60) as (session, recorder, pieces):
        lookout = Lookout(session, begin=session.known_seconds)
        for piece in pieces:
            before = session.known_seconds // 5
            recorder.take(piece)
            begin = time.process_time()
            session.advance()
            lookout.look()
            if session.known_seconds // 5 != before:
                took.append((time.process_time() - begin) * 1000)
    return Measure(float(np.quantile(took[2:], 0.95)), "ms", len(took) - 2, f"p50 {np.median(took[2:]):.0f}")


@bench("live: similar setups of the level in play, p95", bar="1.5 s")
def similar_setups() -> Measure:
    """CPU s of the process that answers, from the journal to the answer, every five minutes of three hours of a session under way."""
    with tempfile.TemporaryDirectory() as tmp:
        make_whole_lake(Path(tmp))
        lake = Lake(Path(tmp) / "lake")
        vectors = session_events(lake, "ESZ5", TUESDAY, ("window", "arm"), ("means",))["means"]
        lake.write(
            TRIGGERS, "ESZ5", TUESDAY, vectors.sort("window_end_ts_ns", "level_id", "kind"), Lineage("triggers", "p", "c", {}, "rth")
        )
        made_up_past(lake, TUESDAY)
        day = busy_day(2_000_000, 8, date=WEDNESDAY, symbols=ESZ5, snapshot_orders=2000, end_ns=utc_ns(WEDNESDAY, 17, 30))
        recorder = Recorder(lake.root, "ES", feed="replayed")
        recorder.start()
        recorder.resume()
        recorder.take(day[:1].tobytes())
        recorder.say("mapping", symbols={str(i): s for i, s in ESZ5.items()})
        took, at, first = [], 1, 0.0
        for end in range(utc_ns(WEDNESDAY, 14, 20), utc_ns(WEDNESDAY, 17, 20), 300 * NS):
            to = int(np.searchsorted(day["ts_recv"], end + NS))
            recorder.take(day[at:to].tobytes())
            at = to
            recorder.clock = {"wall_ns": time.time_ns(), "data_ns": end + NS, "speed": 1.0}
            recorder.write_status()
            tick = int(day["price"][at - 1] // 250_000_000)
            begin = time.process_time()
            similar.find(similar.Question(str(lake.root), "ESZ5", WEDNESDAY, f"price:{tick / 4:.2f}", end))
            took.append(time.process_time() - begin)
            first = first or took[0]
        recorder.close("")
    asked = took[1:]
    return Measure(
        float(np.quantile(asked, 0.95)), "s", len(asked), f"p50 {np.median(asked):.2f}; the first, with fit and catching up, {first:.1f}"
    )


@bench("live: catch-up", bar=">= 1 M records/s")
def catch_up() -> Measure:
    """Of a day that was recorded before the page was opened."""
    with recording(30_000, 20) as (session, recorder, pieces):
        recorder.take(b"".join(pieces))
        day = session.day
        n, begin = day.behind(), time.process_time()
        day.poll()
        return Measure(n / (time.process_time() - begin) / 1e6, "M/s", 1, f"{n:,} records")
