"""Memory that a server keeps of pages which were closed: ``python -m tests.bench.bench_memory [LAKE]``.

Tabs are opened one after another and closed; the server's resident memory is read after garbage collection, once before and once after
all of them have expired as `spymaster serve` lets them (Bokeh's own settings: 15 s after the tab is gone).
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser

from tests.support.figures import memory_mb
from tests.ui.conftest import Server, generated_lake, launched
from tests.ui.pages import Watch

MESSAGES = 60_000
SESSIONS, FIRST = 20, 10
EXPIRED_S = 40.0
"""Bokeh looks every 17 s for sessions that nobody has used for 15 s."""

COLLECTING = (
    "import gc, signal, sys\n"
    "from bokeh.server.session import ServerSession\n"
    "from panel.command import main\n"
    "from tornado.websocket import WebSocketHandler\n"
    "from workbench import access\n"
    "access.install_from_environment()\n"
    "sent, write = [0], WebSocketHandler.write_message\n"
    "def counted(self, *a, **k):\n"
    "    sent[0] += 1\n"
    "    return write(self, *a, **k)\n"
    "WebSocketHandler.write_message = counted\n"
    "def told(*_):\n"
    "    gc.collect(), gc.collect()\n"
    "    print('sessions', sum(type(o) is ServerSession for o in gc.get_objects()), 'sent', sent[0], flush=True)\n"
    "signal.signal(signal.SIGUSR1, told)\n"
    "main(['panel', *sys.argv[1:]])\n"
)
"""The server's command line, with a signal that asks for a garbage collection, and for the sessions there are and the frames it sent."""


def settled(server: Server) -> tuple[int, int, int]:
    """After a garbage collection: resident memory in MB, sessions, and frames that were sent to browsers since the start."""
    os.kill(server.process.pid, signal.SIGUSR1)
    time.sleep(3.0)
    sessions, sent = re.findall(r"^sessions (\d+) sent (\d+)$", server.log.read_text(), re.M)[-1]
    return memory_mb("VmRSS", server.process.pid), int(sessions), int(sent)


def visit(browser: Browser, url: str) -> list[str]:
    """One tab: the Level view, another level, the clock for a moment; then it is closed. Returns what the browser complained of."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    watch = Watch(page)
    page.goto(url, timeout=60_000)
    page.locator(".sm-say").first.wait_for(timeout=60_000)
    page.keyboard.press("2")
    page.wait_for_timeout(400)
    page.locator("time", has_text=":").wait_for(timeout=60_000)
    page.get_by_label("Play or pause (space)").click()
    page.wait_for_timeout(600)
    context.close()
    return watch.errors


def measure(lake: Path, log: Path) -> list[tuple[str, str, str]]:
    """Rows of the table: what, measured, bar."""
    server = Server(lake, log=log, code=COLLECTING)
    try:
        with launched() as browser:
            # What the first visitors fill (caches of the session, bounded; of types and fonts) stays for all that follow.
            for _ in range(FIRST):
                visit(browser, server.url)
            time.sleep(EXPIRED_S)
            before, *_ = settled(server)
            for _ in range(SESSIONS):
                visit(browser, server.url)
            time.sleep(EXPIRED_S)
            after, *_ = settled(server)
    finally:
        server.stop()
    return [
        (
            f"memory kept per closed session, {SESSIONS} sessions",
            f"{(after - before) / SESSIONS:.2f} MB ({before:.0f} to {after:.0f} MB)",
            "<= 1 MB",
        )
    ]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as tmp:
        lake = Path(sys.argv[1]) if len(sys.argv) > 1 else generated_lake(Path(tmp), MESSAGES)
        rows = measure(lake, Path(tmp) / "serve.log")
    for what, found, bar in rows:
        print(f"{what:70} {found:48} {bar}")


if __name__ == "__main__":
    main()
