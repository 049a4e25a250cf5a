"""From a record to the screen, with a real recorder, server and browser: ``python -m tests.bench.bench_live [SECONDS | heap]``.

A generated morning is played at several rates. A second is closed by the first record of a later one; from the instant at which that record
was due at the recorder to the frame in which the browser had painted the second, wall-clock time. Between two seconds the one under way is
drawn: so many frames a second. Then the server is killed and started again, under a page that follows. With ``heap`` a page follows a
session of seven hours that is played at 60 times its speed, and the memory of its tab is told.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.lake.store import PROFILE_FILE, Lake
from engine.live.day import LiveDay
from engine.live.journal import MBO, Journal, data_now
from engine.sessions import NEW_YORK
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.support.lakes import ESZ5, TUESDAY, command
from tests.ui.conftest import Server, launched
from tests.ui.pages import opened

NS = 1_000_000_000
RATES = (2_000, 10_000, 50_000)
"""Messages a second on average."""

MARGIN_S, MOST_RECORDS = 600, 9_000_000
"""The file goes on for so long, as a busy machine takes minutes to have server and browser up, or for so many records."""

ASKED = "?level=price:6800"

SHOWS = """((wanted) => {
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  const clock = all(document).find((e) => e.localName === "time");
  return wanted && clock && clock.textContent >= wanted;
})"""
"""Whether the page's clock has reached one."""

PAINTS = """() => {
  window.__paints = []; window.__frames = 0;
  window.addEventListener("sm-live", (e) => { if (e.detail) window.__frames++; });
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  const clock = all(document).find((e) => e.localName === "time");
  new MutationObserver(() => {
    const at = clock.textContent;
    // The second frame starts once the first is painted.
    requestAnimationFrame(() => requestAnimationFrame(() => window.__paints.push([at, Date.now()])));
  }).observe(clock, {childList: true, characterData: true, subtree: true});
}"""


@contextmanager
def playing(
    folder: Path, rate: int, seconds: int, *, begin: tuple[int, int] = (14, 30), speed: int = 1
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A lake and the recorder that plays a market into it, from a time of UTC on."""
    margin = min(MARGIN_S, MOST_RECORDS // rate)
    start = utc_ns(TUESDAY, *begin)
    end = start + (seconds + margin) * NS
    records = busy_day(rate * (seconds + margin), 5, date=TUESDAY, symbols=ESZ5, snapshot_orders=2000, start_ns=start, end_ns=end)
    path = write_dbn(folder / "played.mbo.dbn.zst", records, symbols=ESZ5, start=utc_ns(TUESDAY), end=utc_ns(TUESDAY) + DAY_NS)
    del records
    lake = folder / "lake"
    words = command("live", "--from", path, "--lake", lake, "--speed", speed)
    recorder = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        journal = Journal(lake, "ES")
        while not journal.count(TUESDAY):
            time.sleep(0.2)
        LiveDay(Lake(lake), journal, "ESZ5", TUESDAY).poll()  # compiles what is not compiled yet
        yield lake, recorder
    finally:
        recorder.kill()
        recorder.wait()


@dataclass
class Painted:
    """What was measured at one rate: ms from the record that closes a second to its paint; frames of the second under way, and CPU seconds
    of server and recorder, a second."""

    ms: list[float]
    frames: float
    cpu: float


def measure(folder: Path, rate: int, seconds: int) -> Painted:
    """At one rate."""
    with playing(folder, rate, seconds) as (lake, recorder):
        journal, server = Journal(lake, "ES"), Server(lake, log=folder / "serve.log")
        try:
            with launched() as browser, opened(browser, server.url + ASKED, width=1920, height=1080) as (page, _):
                page.wait_for_timeout(10_000)
                page.evaluate(PAINTS)
                before, begun = cpu_s(server.process.pid) + cpu_s(recorder.pid), time.monotonic()
                page.wait_for_timeout(seconds * 1000)
                took = time.monotonic() - begun
                used = (cpu_s(server.process.pid) + cpu_s(recorder.pid) - before) / took
                paints, frames = page.evaluate("[window.__paints, window.__frames]")
        finally:
            server.stop()
        clock, found = journal.status()["clock"], journal.records(TUESDAY)
        latest = np.maximum.accumulate(found["ts_event"])
        return Painted([latency_ms(found, latest, clock, at, wall) for at, wall in paints], frames / took, used)


def recovered(folder: Path, rate: int = 2_000) -> list[float]:
    """Seconds from the answer of a server that was killed and started again to the paint of the newest second, three times."""
    found = []
    with playing(folder, rate, 120) as (lake, _):
        server = Server(lake, log=folder / "serve.log")
        try:
            with launched() as browser, opened(browser, server.url + ASKED, width=1920, height=1080) as (page, _):
                page.wait_for_timeout(5_000)
                for _ in range(3):
                    page.evaluate("() => { window.before = true; }")
                    server.process.kill()
                    server.process.wait()
                    page.get_by_role("alert").filter(has_text="as soon as the server is back").wait_for(timeout=15_000)
                    server = Server(lake, log=folder / "serve.log", port=server.port)
                    back, last_ns = time.monotonic(), Journal(lake, "ES").status()["last_ns"]
                    clock = f"{dt.datetime.fromtimestamp(last_ns // NS, NEW_YORK):%H:%M:%S}"
                    page.wait_for_function(f"() => {SHOWS}(window.before ? '' : '{clock}')", timeout=60_000, polling=50)
                    found.append(time.monotonic() - back)
                    page.wait_for_timeout(5_000)
        finally:
            server.stop()
    return found


SPEED, RATE, HOURS = 60, 100, 7


def heap(folder: Path) -> None:
    """Print what the tab holds of a page that follows, after garbage was collected, and how far it is behind, minute by minute."""
    profile = folder / "lake" / PROFILE_FILE
    profile.parent.mkdir(parents=True)
    profile.write_text('{"profile": "day"}')
    print(f"{'market':>9} {'heap MB':>8} {'nodes':>7} {'s behind':>9}")
    with playing(folder, RATE, HOURS * 3600, begin=(14, 0), speed=SPEED) as (lake, recorder):
        server = Server(lake, log=folder / "serve.log")
        try:
            with launched() as browser, opened(browser, server.url + ASKED, width=1920, height=1080) as (page, _):
                tab = page.context.new_cdp_session(page)
                for _ in range(HOURS * 3600 // SPEED // 60):
                    page.wait_for_timeout(60_000)
                    tab.send("HeapProfiler.collectGarbage")
                    used, nodes = tab.send("Runtime.getHeapUsage")["usedSize"], tab.send("Memory.getDOMCounters")["nodes"]
                    at = page.locator(".transport time").inner_text()
                    status = Journal(lake, "ES").status()
                    now = data_now(status, time.time_ns())
                    print(f"{at:>9} {used / 1e6:>8.1f} {nodes:>7} {(now - instant_of(at)) / NS / SPEED:>9.1f}", flush=True)
                    if recorder.poll() is not None:
                        return
        finally:
            server.stop()


def instant_of(at: str) -> int:
    """The instant of a clock's time in New York."""
    return int(dt.datetime.combine(TUESDAY, dt.time.fromisoformat(at), NEW_YORK).timestamp()) * NS


def latency_ms(records: np.ndarray, latest: np.ndarray, clock: dict[str, Any], at: str, painted_ms: float) -> float:
    """Ms from the instant at which the record was due that closes the second before `at` (New York), to `painted_ms`; `latest` are the
    latest times so far."""
    assert records.dtype == MBO
    closing = int(np.searchsorted(latest, instant_of(at)))
    due = clock["wall_ns"] + (int(records["ts_recv"][closing]) - clock["data_ns"]) / clock["speed"]
    return painted_ms - due / 1e6


def cpu_s(pid: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    """Print a row for each rate, and how long a page takes whose server was killed; or what a tab holds."""
    if sys.argv[1:] == ["heap"]:
        with tempfile.TemporaryDirectory() as tmp:
            heap(Path(tmp))
        return
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    print(f"{'messages/s':>10} {'p50 ms':>8} {'p95 ms':>8} {'seconds':>8} {'frames/s':>9} {'CPU of a core':>14}")
    for rate in RATES:
        with tempfile.TemporaryDirectory() as tmp:
            found = measure(Path(tmp), rate, seconds)
        p50, p95 = np.quantile(found.ms, [0.5, 0.95])
        print(f"{rate:>10,} {p50:>8.0f} {p95:>8.0f} {len(found.ms):>8} {found.frames:>9.1f} {found.cpu:>13.0%}", flush=True)
    with tempfile.TemporaryDirectory() as tmp:
        back = recovered(Path(tmp))
    print(f"server killed and back, to the newest second's paint: {', '.join(f'{s:.1f}' for s in back)} s")


if __name__ == "__main__":
    main()
