"""From a record to the screen, with a real recorder, server and browser: ``python -m tests.bench.bench_live [SECONDS]``.

A generated morning is played at several rates. A second is closed by the first record of a later one; from the instant at which that record
was due at the recorder to the frame in which the browser had painted the second, wall-clock time.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from engine.lake.store import Lake
from engine.live.day import LiveDay
from engine.live.journal import MBO, Journal
from engine.sessions import NEW_YORK
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.support.lakes import ESZ5, TUESDAY, command
from tests.ui.conftest import Server, launched
from tests.ui.pages import opened

NS = 1_000_000_000
RATES = (200, 1_000, 5_000)
"""Messages a second on average."""

MARGIN_S = 600
"""The file goes on for so long: a busy machine takes minutes to have server and browser up."""

PAINTS = """() => {
  window.__paints = [];
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  const clock = all(document).find((e) => e.localName === "time");
  new MutationObserver(() => {
    const at = clock.textContent;
    // The second frame starts once the first is painted.
    requestAnimationFrame(() => requestAnimationFrame(() => window.__paints.push([at, Date.now()])));
  }).observe(clock, {childList: true, characterData: true, subtree: true});
}"""


def measure(folder: Path, rate: int, seconds: int) -> tuple[list[float], float]:
    """Ms from the record that closes a second to its paint, and CPU seconds of server and recorder per second."""
    start = utc_ns(TUESDAY, 14, 30)
    end = start + (seconds + MARGIN_S) * NS
    records = busy_day(rate * (seconds + MARGIN_S), 5, date=TUESDAY, symbols=ESZ5, snapshot_orders=2000, start_ns=start, end_ns=end)
    path = write_dbn(folder / "played.mbo.dbn.zst", records, symbols=ESZ5, start=utc_ns(TUESDAY), end=utc_ns(TUESDAY) + DAY_NS)
    lake = folder / "lake"
    recorder = subprocess.Popen(command("live", "--from", path, "--lake", lake), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = None
    try:
        journal = Journal(lake, "ES")
        while not journal.count(TUESDAY):
            time.sleep(0.2)
        LiveDay(Lake(lake), journal, "ESZ5", TUESDAY).poll()  # compiles what is not compiled yet
        server = Server(lake, log=folder / "serve.log")
        with launched() as browser, opened(browser, server.url + "?level=price:6800", width=1920, height=1080) as (page, _):
            page.wait_for_timeout(10_000)
            page.evaluate(PAINTS)
            before, begun = cpu_s(server.process.pid) + cpu_s(recorder.pid), time.monotonic()
            page.wait_for_timeout(seconds * 1000)
            used = (cpu_s(server.process.pid) + cpu_s(recorder.pid) - before) / (time.monotonic() - begun)
            paints = page.evaluate("window.__paints")
        clock = journal.status()["clock"]
        found = journal.records(TUESDAY)
        return [latency_ms(found, clock, at, wall) for at, wall in paints], used
    finally:
        if server is not None:
            server.stop()
        recorder.kill()
        recorder.wait()


def latency_ms(records: np.ndarray, clock: dict[str, Any], at: str, painted_ms: float) -> float:
    """Ms from the instant at which the record was due that closes the second before `at` (New York), to `painted_ms`."""
    assert records.dtype == MBO
    local = dt.datetime.combine(TUESDAY, dt.time.fromisoformat(at), NEW_YORK)
    second = int(local.timestamp()) * NS
    closing = int(np.argmax(np.maximum.accumulate(records["ts_event"]) >= second))
    due = clock["wall_ns"] + (int(records["ts_recv"][closing]) - clock["data_ns"]) / clock["speed"]
    return painted_ms - due / 1e6


def cpu_s(pid: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    """Print a row for each rate."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    print(f"{'messages/s':>10} {'p50 ms':>8} {'p95 ms':>8} {'seconds':>8} {'CPU of a core':>14}")
    for rate in RATES:
        with tempfile.TemporaryDirectory() as tmp:
            found, used = measure(Path(tmp), rate, seconds)
        print(f"{rate:>10,} {np.median(found):>8.0f} {np.quantile(found, 0.95):>8.0f} {len(found):>8} {used:>13.0%}", flush=True)


if __name__ == "__main__":
    main()
