"""The page never shows nothing: one harmed partition costs that one, and what nobody foresaw is a sentence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from engine.lake.catalog import LADDER
from engine.lake.manifest import MANIFEST
from engine.lake.store import Lake
from tests.ui.conftest import DATE, Server
from tests.ui.pages import query, until

START = """import sys
from panel.command import main
from workbench import access
access.install_from_environment()
{patch}
main(['panel', *sys.argv[1:]])
"""


def bit_of_a_manifest(folder: Path) -> None:
    text = bytearray((folder / MANIFEST).read_bytes())
    text[len(text) // 2] ^= 1
    (folder / MANIFEST).write_bytes(text)


def manifest_in_latin(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b'{"format": 1, "symbol": "\xe9"}')


def deep(folder: Path) -> None:
    (folder / MANIFEST).write_text("[" * 100_000)


def gone_to_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def test_harmed_partitions_leave_the_others_on_the_screen(browser: Browser, made_lake: Path, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    shutil.copytree(made_lake, root)
    lake = Lake(root)
    for day, harm in enumerate((bit_of_a_manifest, manifest_in_latin, deep, gone_to_a_file), 5):
        other = lake.path(LADDER, "ESZ5", DATE.replace(day=day))
        shutil.copytree(lake.path(LADDER, "ESZ5", DATE), other)
        harm(other)
    for name in ("dt=9999-99-99", "notes.txt"):
        (other.parent / name).touch()
    server = Server(root, log=tmp_path / "serve.log", warm=False)
    try:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{server.url}?t=10:05:00")
        page.locator(".sm-say").wait_for(timeout=60_000)
        until(page, lambda p: query(p).get("session"), DATE.isoformat(), 30_000)
        context.close()
    finally:
        server.stop()


@pytest.mark.parametrize(
    "patch",
    [
        "from workbench import lakes as s\ndef broken(r): raise ValueError('a defect for this test')\ns.contracts = broken",
        "from workbench.views import level\ndef broken(self): raise ValueError('a defect for this test')\nlevel.LevelView.start = broken",
        "from workbench.views import level as v\ndef broken(s): raise ValueError('a defect for this test')\nv.LevelView.__panel__ = broken",
    ],
    ids=["the lake", "the first picture", "the view"],
)
def test_what_nobody_foresaw_is_a_sentence(browser: Browser, made_lake: Path, tmp_path: Path, patch: str) -> None:
    server = Server(made_lake, log=tmp_path / "serve.log", code=START.format(patch=patch), warm=False)
    try:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{server.url}?t=10:05:00")
        said = page.get_by_text(re.compile(r"Defect: ValueError: a defect for this test: this was not expected\."))
        said.first.wait_for(timeout=60_000)
        assert "spymaster-errors.log" in said.first.inner_text()
        context.close()
    finally:
        server.stop()
    assert "Traceback" in server.log.read_text()


def test_a_page_without_its_websocket_says_so(browser: Browser, made_server: Server) -> None:
    """Its components and their scripts come over the websocket: what says so is in the page itself."""
    page = browser.new_context().new_page()
    page.clock.install()
    page.route_web_socket(re.compile("."), lambda ws: ws.close())
    page.goto(made_server.url)
    page.get_by_role("status").filter(has_text="Connecting to the server").wait_for(timeout=30_000)
    page.clock.fast_forward(21_000)
    said = page.get_by_role("alert").filter(has_text=f"needs a websocket to 127.0.0.1:{made_server.port}")
    said.wait_for(timeout=30_000)
    page.unroute_all()
    page.context.close()
    page = browser.new_context().new_page()
    page.goto(made_server.url)
    page.locator(".sm-say").wait_for(timeout=60_000)
    assert page.locator("#sm-connecting").count() == 0
    page.context.close()
