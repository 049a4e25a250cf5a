"""Replay in a real browser: frames a second, their spacing, and whether it keeps up: ``python -m tests.bench.bench_replay [LAKE]``.

Wall-clock time, since it is what a trader sees; the machine should have nothing else to do. A frame counts when it shows a second that
the one before did not, and when the browser has painted it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.ui.conftest import Server, generated_lake, launched

MESSAGES = 400_000
SECONDS = 12
SESSIONS = 10
SETTLE_MS = 2_000

COUNT = """() => {
  const deck = [...Bokeh.documents[0]._all_models.values()].find((m) => m.data?.attributes && "painted" in m.data.attributes);
  const now = () => deck.data.attributes.now;
  window.__came = new Map(); window.__painted = [];
  deck.data.properties.now.change.connect(() => window.__came.set(now().n, [performance.now(), now().at]));
  deck.data.properties.painted.change.connect(() => {
    const n = deck.data.attributes.painted, [came, at] = window.__came.get(n) ?? [NaN, NaN];
    window.__painted.push([performance.now(), came, at, now().n - n]);
  });
}"""
"""Notes each frame's paint: when, when it had come, its second of the session, and how many that have come are not painted yet."""


@dataclass(frozen=True)
class Run:
    """What was painted in a stretch of time."""

    frames_per_s: float
    gaps_ms: list[float]
    to_paint_ms: list[float]
    waiting: int
    behind_ms: float
    """How much further behind the clock the replay was in the last quarter than in the first."""


def opened(browser: Browser, url: str, speed: str) -> Any:
    """A page of its own with a replay that stands."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(f"{url}?view=replay&t=10:05:00", timeout=90_000)
    page.locator("time", has_text=":").wait_for(timeout=90_000)
    page.get_by_label("Speed").select_option(speed)
    page.evaluate(COUNT)
    return page


def play(browser: Browser, url: str, speed: str) -> Any:
    """A page of its own that replays at `speed`."""
    page = opened(browser, url, speed)
    page.get_by_label("Play or pause (space)").click()
    return page


def start_counting(page: Any) -> None:
    """From now on."""
    page.evaluate("() => { window.__painted.length = 0; }")


def counted(page: Any, seconds: float, speed: float) -> Run:
    """What was painted since `start_counting`, `seconds` ago."""
    found = [f for f in page.evaluate("() => window.__painted") if f[2] is not None]
    new = [b for a, b in pairwise(found) if b[2] != a[2]]
    # Where the replay's clock stands against the wall's.
    behind = [(t - new[0][0]) - (at - new[0][2]) * 1000.0 / speed for t, _, at, _ in new]
    quarter = max(len(behind) // 4, 1)
    return Run(
        len(new) / seconds, [b[0] - a[0] for a, b in pairwise(new)], [f[0] - f[1] for f in new], max((f[3] for f in found), default=0),
        statistics.median(behind[-quarter:]) - statistics.median(behind[:quarter]),
    )  # fmt: skip


def frames(page: Any, seconds: float) -> tuple[float, list[float], int]:
    """Frames a second, ms between them, and the most that were received and not painted."""
    start_counting(page)
    page.wait_for_timeout(int(seconds * 1000))
    run = counted(page, seconds, 30.0)
    return run.frames_per_s, run.gaps_ms, run.waiting


def p95(values: list[float]) -> float:
    """The 95% quantile."""
    return statistics.quantiles(values, n=20)[18]


def alone(browser: Browser, url: str, speed: float) -> list[tuple[str, str, str]]:
    """One replay at `speed`, which offers so many updates a second."""
    page = play(browser, url, f"{speed:g}x")
    page.wait_for_timeout(SETTLE_MS)
    start_counting(page)
    page.wait_for_timeout(SECONDS * 1000)
    run = counted(page, SECONDS, speed)
    page.context.close()
    return [
        (
            f"replay at {speed:g}x ({speed:g} updates a second)",
            f"{run.frames_per_s:.1f} frames/s, every {statistics.median(run.gaps_ms):.0f} ms, p95 {p95(run.gaps_ms):.0f} ms",
            ">= 20 frames/s, p95 <= 50 ms",
        ),
        (
            "  from a frame's arrival to its paint",
            f"p50 {statistics.median(run.to_paint_ms):.0f} ms, p95 {p95(run.to_paint_ms):.0f} ms",
            "",
        ),
        (
            "  behind the clock: growth, frames waiting",
            f"{run.behind_ms:+.0f} ms in {SECONDS} s, at most {run.waiting}, n {len(run.gaps_ms) + 1}",
            "no growing backlog",
        ),
    ]


def together(browser: Browser, url: str) -> list[tuple[str, str, str]]:
    """Ten replays at once, each in a page of its own."""
    pages = [opened(browser, url, "10x") for _ in range(SESSIONS)]
    for page in pages:
        page.get_by_label("Play or pause (space)").click()
    pages[0].wait_for_timeout(SETTLE_MS)
    for page in pages:
        start_counting(page)
    pages[0].wait_for_timeout(SECONDS * 1000)
    # Read before any is counted: reading them takes its time too.
    each = [len(page.evaluate("() => window.__painted.slice()")) / SECONDS for page in pages]
    for page in pages:
        page.context.close()
    return [(f"replay, {SESSIONS} sessions at once", f"{min(each):.1f} to {max(each):.1f} frames/s each", ">= 5 frames/s each")]


def measure(lake: Path, log: Path, which: str = "") -> list[tuple[str, str, str]]:
    """Rows of the table: what, measured, bar; `which` is ``alone``, ``together`` or empty for both."""
    server = Server(lake, log=log)
    rows = []
    try:
        with launched() as browser:
            if which != "together":
                rows += alone(browser, server.url, 30) + alone(browser, server.url, 60)
            if which != "alone":
                rows += together(browser, server.url)
    finally:
        server.stop()
    return rows


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as tmp:
        lake = Path(sys.argv[1]) if len(sys.argv) > 1 else generated_lake(Path(tmp), MESSAGES)
        rows = measure(lake, Path(tmp) / "serve.log", sys.argv[2] if len(sys.argv) > 2 else "")
    for what, found, bar in rows:
        print(f"{what:70} {found:48} {bar}")


if __name__ == "__main__":
    main()
