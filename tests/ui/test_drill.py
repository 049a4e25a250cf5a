"""The blind drill in a real browser, from its question to the revealed score, and what it keeps in the lake."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.support.similar_lake import similar_lake
from tests.ui.conftest import DATE, Server
from tests.ui.pages import Watch, new_page, until
from workbench.views.drill import CLASSES


def test_a_call_is_scored_beside_the_neighbours_and_what_is_usual(browser: Any, made_lake: Path, tmp_path: Path) -> None:
    lake, _ = similar_lake(made_lake, tmp_path, DATE)
    server = Server(lake, log=tmp_path / "serve.log", warm=False)
    try:
        page = new_page(browser)
        watch = Watch(page)
        page.goto(f"{server.url}?view=replay&session={DATE}&contract=ESZ5&t=10:05:00&level=vwap")
        page.locator("time", has_text=":").wait_for(timeout=60_000)
        page.get_by_role("button", name=re.compile("Blind drill")).click()
        told = page.locator(".drill")
        until(page, lambda _: "Play up to the touch" in told.inner_text(), True, 40_000)
        # Before the call neither outcome nor forecast is told.
        assert "it was" not in told.inner_text()
        assert "neighbours:" not in told.inner_text()
        # Nor is a call taken before the touch.
        page.keyboard.press("r")
        until(page, lambda _: "s away" in told.inner_text(), True, 10_000)
        page.get_by_label("Speed").select_option("60x")
        page.locator(".sm-brand").click()  # the keyboard is the view's again
        page.keyboard.press("Space")
        for shown in ("❚❚ Pause", "Play"):
            until(page, lambda p: p.get_by_label("Play or pause (space)").inner_text(), shown, 30_000)
        page.keyboard.press("r")
        until(page, lambda _: "You called reject; it was" in told.inner_text(), True, 40_000)
        # The forecast comes from a process of its own, and with it the three scores.
        until(
            page,
            lambda _: bool(re.search(r"you \d of 1, score .*neighbours \d of 1, score .*usual \d of 1", told.inner_text())),
            True,
            60_000,
        )
        assert re.search(r"neighbours:\s*reject \d+%, chop \d+%, break \d+%", told.inner_text())
        assert re.search(r"usual here:\s*reject \d+%", told.inner_text())
        book = [json.loads(line) for line in (lake / "drills" / "calls.jsonl").read_text().splitlines()]
        assert [r["kind"] for r in book] == ["call", "forecast"]
        call, forecast = book
        assert call["call"] == "reject"
        assert call["outcome"] in CLASSES
        assert forecast["trigger_id"] == call["trigger_id"]
        for prefix in ("p", "pi"):
            assert abs(sum(forecast[f"{prefix}_{c}"] for c in CLASSES) - 1) < 1e-6
        assert watch.errors == []
        page.close()
    finally:
        server.stop()
