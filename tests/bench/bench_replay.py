"""Replay in a real browser: frames a second, their spacing, and what is under way: ``python -m tests.bench.bench_replay [LAKE]``.

Wall-clock time, since it is what a trader sees; the machine should have nothing else to do.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.ui.conftest import CHROMIUM_ARGS, Server, chromium, generated_lake

MESSAGES = 400_000
SECONDS = 8
SESSIONS = 10

COUNT = """() => {
  const deck = [...Bokeh.documents[0]._all_models.values()].find((m) => m.data?.attributes && "painted" in m.data.attributes);
  window.__painted = [], window.__lag = [];
  deck.data.properties.painted.change.connect(() => {
    window.__painted.push(performance.now());
    window.__lag.push(deck.data.attributes.now.n - deck.data.attributes.painted);
  });
}"""
"""Notes each frame's paint, and how many frames that the browser has received are not painted yet."""


def play(browser: Browser, url: str, speed: str) -> Any:
    """A page of its own that replays at `speed`."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(f"{url}?view=replay&t=10:05:00", timeout=90_000)
    page.locator("time", has_text=":").wait_for(timeout=90_000)
    page.get_by_label("Speed").select_option(speed)
    page.evaluate(COUNT)
    page.get_by_label("Play or pause (space)").click()
    return page


def frames(page: Any, seconds: float) -> tuple[float, list[float], int]:
    """Frames a second, ms between them, and the most that were received and not painted."""
    page.evaluate("() => { window.__painted.length = 0; window.__lag.length = 0; }")
    page.wait_for_timeout(int(seconds * 1000))
    at, lag = page.evaluate("() => [window.__painted, window.__lag]")
    return len(at) / seconds, [b - a for a, b in pairwise(at)], max(lag, default=0)


def measure(lake: Path, log: Path) -> list[tuple[str, str, str]]:
    """Rows of the table: what, measured, bar."""
    server = Server(lake, log=log)
    rows = []
    try:
        with sync_playwright() as p:
            path = chromium()
            if path is None:
                raise SystemExit("no Chromium on this machine; `make browser` installs it")
            browser = p.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
            page = play(browser, server.url, "30x")
            page.wait_for_timeout(1000)
            fps, gaps, most = frames(page, SECONDS)
            p95 = statistics.quantiles(gaps, n=20)[18]
            rows.append(
                (
                    "replay, 30 updates offered a second",
                    f"{fps:.1f} frames/s, p50 {statistics.median(gaps):.0f} ms, p95 {p95:.0f} ms",
                    ">= 20 frames/s, p95 <= 50 ms",
                )
            )
            rows.append(("replay, frames received and not painted", f"{most} at most, n {len(gaps)}", "no growing backlog"))
            page.context.close()
            pages = [play(browser, server.url, "10x") for _ in range(SESSIONS)]
            for page in pages:
                page.evaluate("() => { window.__painted.length = 0; }")
            pages[0].wait_for_timeout(SECONDS * 1000)
            each = [len(page.evaluate("() => window.__painted")) / SECONDS for page in pages]
            rows.append((f"replay, {SESSIONS} sessions at once", f"{min(each):.1f} to {max(each):.1f} frames/s each", ">= 5 frames/s each"))
            browser.close()
    finally:
        server.stop()
    return rows


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as tmp:
        lake = Path(sys.argv[1]) if len(sys.argv) > 1 else generated_lake(Path(tmp), MESSAGES)
        rows = measure(lake, Path(tmp) / "serve.log")
    for what, found, bar in rows:
        print(f"{what:70} {found:48} {bar}")


if __name__ == "__main__":
    main()
