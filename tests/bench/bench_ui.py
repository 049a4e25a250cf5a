"""The screen in a real browser, from the trader's act to the paint: ``python -m tests.bench.bench_ui [LAKE]``.

Wall-clock time, since it is what a trader waits; without LAKE a generated New York morning is made first.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.bench import bench_memory, bench_replay
from tests.ui.conftest import Server, generated_lake, launched

MESSAGES = 400_000
ROUNDS = 40

CONTROLS = (
    ("slider", "Window", "level_chart"), ("slider", "Half-life", "level_chart"), ("group", "Price step", "level_chart"),
    ("slider", "At", "conditions"), ("slider", "Near", "conditions"), ("slider", "Middle", "conditions"),
    ("slider", "Far", "conditions"), ("combobox", "Time span", "level_chart"), ("slider", "Ticks above and below", "level_chart"),
    ("combobox", "Colours", "level_chart"), ("button", "Light or dark theme", "level_chart"),
)  # fmt: skip
"""Role and label of each control, and the figure whose image shows its change."""

OF_OPTIONS = (("combobox", "What dealers are assumed", "hedge"), ("combobox", "Expiries that count", "hedge"))
"""As `CONTROLS`, of a session with options."""

NET = {"Half-life"}
"""Controls that change the net layer and not the resting size."""

ARM = """(figure) => {
  const f = Bokeh.documents.flatMap((d) => [...d._all_models.values()]).find((m) => m.type === 'Figure' && m.name === figure);
  const heat = f.renderers.find((r) => r.glyph.type === 'Image') ?? f.renderers.find((r) => r.data_source.name === 'hedge_bars');
  let t0 = NaN;
  window.addEventListener("keydown", (e) => { t0 = e.timeStamp; }, { capture: true, once: true });
  window.__paint = new Promise((done) => {
    const seen = [heat.data_source.change, ...(heat.glyph.color_mapper ? [heat.glyph.color_mapper.change] : []), f.x_range.change];
    const slot = () => {
      for (const signal of seen) signal.disconnect(slot);
      requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - t0)));
    };
    for (const signal of seen) signal.connect(slot);
  });
}"""
"""From the key's own time until two frames after the figure's image (of options: bars), its colours or its stretch of time changed.

The second frame starts once the first is painted.
"""


def paint_ms(page: Any, act: Any, figure: str = "level_chart") -> float:
    """Ms from the key that `act` presses to the new picture; a bucket's change leaves the heatmap and redraws the conditions."""
    page.evaluate(ARM, figure)
    act()
    late = "new Promise((_, no) => setTimeout(() => no(new Error('no new picture within 5 s')), 5000))"
    return float(page.evaluate(f"() => Promise.race([window.__paint, {late}])"))


def first_page_s(browser: Browser, url: str) -> float:
    """Seconds from asking for the page, in a browser without a cache, to the picture."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(".sm-say").wait_for()
    took = time.perf_counter() - start
    context.close()
    return took


def measure(lake: Path, log: Path) -> Iterator[tuple[str, str, str]]:
    """Rows of the table as they are measured: what, measured, bar."""
    server = Server(lake, log=log)
    try:
        with launched() as browser:
            yield "first page, cold (first one of the server, empty browser cache)", f"{first_page_s(browser, server.url):.2f} s", "<= 4 s"
            # Warm is a server whose own warming up is over: it fits the first forecast in a process aside.
            time.sleep(25)
            again = [first_page_s(browser, server.url) for _ in range(5)]
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto(server.url)
            page.locator(".sm-say").wait_for()
            yield "first page, warm server, empty browser cache", f"{statistics.median(again):.2f} s", ""
            warm = []
            for _ in range(5):
                start = time.perf_counter()
                page.reload(wait_until="commit")
                page.locator(".sm-say").wait_for()
                warm.append(time.perf_counter() - start)
            yield "first page, warm (reload)", f"{statistics.median(warm):.2f} s", "<= 2 s"
            page.wait_for_timeout(3_000)  # the other levels are made ready ahead
            for what, keys, figure in (
                ("level", "12", "level_chart"), ("level change to the paint of all around it;", "12", "conditions"),
                ("layer", None, "level_chart"),
            ):  # fmt: skip
                ms = []
                for i in range(ROUNDS):
                    key = keys[(i + 1) % 2] if keys else "ArrowDown"
                    ms.append(paint_ms(page, lambda key=key: page.keyboard.press(key), figure))
                    page.wait_for_timeout(60)
                yield row(f"{what} change to paint" if ";" not in what else what[:-1], ms)
            yield from controls(page)
    finally:
        server.stop()


def controls(page: Any) -> Iterator[tuple[str, str, str]]:
    """A row for every control of the drawer, and the theme."""
    page.get_by_role("button", name="Drawer").click()
    page.wait_for_timeout(1500)
    there = page.evaluate("() => [...Bokeh.index.query((v) => v.model.name === 'hedge')].length > 0")
    for role, label, figure in (*CONTROLS, *(OF_OPTIONS if there else ())):
        page.get_by_role("radio", name="Net" if label in NET else "Resting", exact=True).click()
        page.wait_for_timeout(500)
        control = page.get_by_role(role, name=label).first
        control.wait_for()
        ms = []
        for k in range(ROUNDS):
            if role == "group":
                # The one of two buttons that is not pressed.
                control.locator("button[aria-pressed=false]").first.focus()
                key = "Enter"
            elif role == "button":
                control.focus()
                key = "Enter"
            else:
                control.focus()
                key = ("ArrowRight" if k % 4 < 2 else "ArrowLeft") if role == "slider" else ("ArrowDown" if k % 2 == 0 else "ArrowUp")
            ms.append(paint_ms(page, lambda key=key: page.keyboard.press(key), figure))
            page.wait_for_timeout(60)
        yield row(f"{label.lower()} change to paint", ms)


def row(what: str, ms: list[float]) -> tuple[str, str, str]:
    """p50 and p95 of `ms`."""
    cuts = statistics.quantiles(ms, n=20)
    return what, f"p50 {statistics.median(ms):.0f} ms, p95 {cuts[18]:.0f} ms, n {len(ms)}", "p95 <= 150 ms"


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as tmp:
        lake = Path(sys.argv[1]) if len(sys.argv) > 1 else generated_lake(Path(tmp), MESSAGES)
        parts = ((measure, "serve"), (bench_replay.measure, "replay"), (bench_memory.measure, "memory"))
        for what, found, bar in chain.from_iterable(part(lake, Path(tmp) / f"{log}.log") for part, log in parts):
            print(f"{what:70} {found:38} {bar}", flush=True)


if __name__ == "__main__":
    main()
