"""The page of one tab, without a browser."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path
from typing import ClassVar

import pytest

from engine.errors import EngineError
from tests.ui.conftest import Server
from workbench.app import reporter

COUNTING = """
import gc, signal, sys
from bokeh.document import Document
from panel.command import main
from workbench import access
access.install_from_environment()
def tell(*_):
    gc.collect()
    print("DOCUMENTS", sum(type(o) is Document for o in gc.get_objects()), flush=True)
signal.signal(signal.SIGUSR1, tell)
main(["panel", *sys.argv[1:], "--check-unused-sessions", "300", "--unused-session-lifetime", "300"])
"""
"""The server's command line, with a signal that asks for the pages that are in memory; they are forgotten quickly."""


def test_pages_that_are_gone_leave_nothing(made_lake: Path, tmp_path: Path) -> None:
    server = Server(made_lake, log=tmp_path / "serve.log", code=COUNTING)
    try:
        for _ in range(6):
            with urllib.request.urlopen(f"{server.url}?t=10:05:00", timeout=30) as page:
                assert page.status == 200
        for _ in range(30):
            left = int(server.tells("DOCUMENTS").split()[1])
            if left <= 3:
                break
            time.sleep(2)
        # Timers of Panel and tornado keep the context in which they were begun.
        assert left <= 3
    finally:
        server.stop()


def test_a_defect_of_a_page_that_is_gone_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Page:
        said: ClassVar[list[str]] = []

        def report(self, error: BaseException) -> None:
            self.said.append(str(error))

    page = Page()
    report = reporter(page)  # type: ignore[arg-type]
    report(EngineError("first"))
    del page
    report(EngineError("second"))
    assert Page.said == ["first"]
    assert [(r.message, str(r.exc_info[1])) for r in caplog.records if r.exc_info] == [("a defect of a page that is closed", "second")]
