"""Hours of service: pages opened and closed leave nothing behind, and a replay at the highest speed neither stops nor loses a message."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.bench.bench_memory import COLLECTING, EXPIRED_S, settled, visit
from tests.support.built import copy_of_built
from tests.support.figures import Say, share_of
from tests.support.lakes import make_thin_lake
from tests.ui.conftest import Server
from tests.ui.pages import Watch, query, until

pytestmark = pytest.mark.long

MINUTES = share_of(20, 2)

OPENED = share_of(60, 10)

FIRST = 10
"""Pages before the count: they fill caches that are bounded."""

KEPT_MB = 1.0
"""Most that a closed page may leave in the server, on average."""

GROWN_MB = 200
"""Most by which the server may grow while one page plays: a session that is read stays in a bounded cache."""


COUNTING = """
window.received = window.lost = 0;
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", () => { window.received += 1; });
    this.addEventListener("close", () => { window.lost += 1; });
  }
};
"""
"""Counted in the page: what goes through the test would hold up what it looks at."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_built("thin-lake", make_thin_lake, tmp_path_factory.mktemp("thin")) / "lake"


@pytest.fixture
def server(lake: Path, tmp_path: Path) -> Iterator[Server]:
    made = Server(lake, log=tmp_path / "serve.log", code=COLLECTING)
    yield made
    made.stop()


def complaints(server: Server) -> list[str]:
    """Lines of the server's log that tell of an error."""
    return re.findall(r"^.*(?:Traceback|ERROR|Defect:).*$", server.log.read_text(), re.M)


def test_pages_opened_and_closed_leave_nothing_behind(browser: Browser, server: Server, say: Say):
    url = f"{server.url}?contract=ESZ5&session=2025-09-24&t=10:05:00"
    errors = [error for _ in range(FIRST) for error in visit(browser, url)]
    time.sleep(EXPIRED_S)
    before, *_ = settled(server)
    errors += [error for _ in range(OPENED) for error in visit(browser, url)]
    for _ in range(3):  # a server that is busy with other things looks later
        time.sleep(EXPIRED_S)
        after, sessions, _ = settled(server)
        if sessions == 0:
            break
    say("sessions", f"{OPENED} pages opened and closed: {before} to {after} MB, {sessions} sessions left")
    assert sessions == 0
    assert after - before <= KEPT_MB * OPENED
    assert errors == []
    assert complaints(server) == []


def playing(page: Any) -> bool:
    return page.get_by_label("Play or pause (space)").inner_text().endswith("Pause")


def clock(page: Any) -> str:
    return page.locator("time:visible").inner_text()


def test_sixtyfold_replay(browser: Browser, lake: Path, server: Server, say: Say):
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    watch = Watch(page)
    page.add_init_script(COUNTING)
    page.goto(f"{server.url}?view=replay&contract=ESZ5&session=2025-09-22&t=09:31:00")
    page.locator("time", has_text=":").wait_for(timeout=60_000)
    page.get_by_label("Speed").select_option("60x")
    page.locator("body").click(position={"x": 700, "y": 890})
    page.keyboard.press("Space")
    until(page, playing, True)
    dates = page.get_by_label("Session (New York)").locator("option").all_inner_texts()
    assert len(dates) >= 7
    page.wait_for_timeout(5_000)
    first, *_ = settled(server)
    most, played, at = first, 0, 0
    seen = clock(page)
    end = time.monotonic() + 60 * MINUTES
    while time.monotonic() < end:
        page.wait_for_timeout(5_000)
        now = clock(page)
        if playing(page):
            assert now > seen, "it says that it plays, and stands"
            played += seconds(now) - seconds(seen)
        else:
            # Only at the session's end; the next one is chosen as a trader does, and played.
            until(page, clock, "12:30:00")
            played += seconds("12:30:00") - seconds(seen)
            at += 1
            page.get_by_label("Session (New York)").select_option(dates[at % len(dates)])
            until(page, lambda p: query(p).get("session"), dates[at % len(dates)], 30_000)
            page.locator("body").click(position={"x": 700, "y": 890})
            page.keyboard.press("Home")
            until(page, clock, "09:30:01")
            page.keyboard.press("Space")
            until(page, playing, True)
            now = clock(page)
        seen = now
        resident, sessions, _ = settled(server)
        most = max(most, resident)
        assert sessions == 1
        assert watch.errors == []
    page.keyboard.press("Space")
    until(page, playing, False)
    page.wait_for_timeout(2_000)
    *_, sent = settled(server)
    received, lost = page.evaluate("() => [window.received, window.lost]")
    say(
        "60x replay",
        f"{MINUTES} min: {played // 3600} h {played // 60 % 60} min of {at + 1} sessions, {sent:,} messages sent, {received:,} received, "
        f"{first} to at most {most} MB, no error on the page",
    )
    assert (received, lost) == (sent, 0)
    assert most - first <= GROWN_MB
    assert watch.hosts == {f"127.0.0.1:{server.port}"}
    assert complaints(server) == []
    page.context.close()


def seconds(text: str) -> int:
    """Seconds since midnight of a clock's text."""
    h, m, s = map(int, text.split(":"))
    return 3600 * h + 60 * m + s
