"""A theme that is changed leaves nothing of the other behind."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser

from tests.ui.conftest import Server
from tests.ui.pages import opened

NEAR = 24
"""Difference of a channel that an edge's smoothing may make."""


def picture(page: Any) -> np.ndarray:
    """The page once it has come to rest, ``(height, width, 3)``."""
    page.mouse.move(5, 5)
    before = b""
    for _ in range(40):
        page.wait_for_timeout(1_000)
        now = page.screenshot(animations="disabled", caret="hide")
        # Meanwhile similar setups are compared, of which a picture stands still, too.
        if now == before and not page.get_by_text("takes some seconds").count():
            return np.asarray(Image.open(io.BytesIO(now)).convert("RGB"), np.int16)
        before = now
    raise AssertionError("the page does not come to rest within 40 s")


def test_a_changed_theme_looks_as_the_loaded_one(browser: Browser, made_server: Server) -> None:
    shown = f"{made_server.url}?t=10:05:00&volume=on"
    with opened(browser, f"{shown}&theme=light") as (page, _):
        light = picture(page)
    with opened(browser, f"{shown}&theme=dark") as (page, _):
        assert (np.abs(light - picture(page)).max(axis=2) > NEAR).mean() > 0.2
        page.get_by_role("button", name="Light or dark theme").click()
        page.evaluate("() => document.activeElement?.shadowRoot?.activeElement?.blur()")
        changed = picture(page)
    off = np.argwhere(np.abs(light - changed).max(axis=2) > NEAR)
    assert len(off) < 40, f"{len(off)} pixels differ, from {off.min(axis=0)} to {off.max(axis=0)}"
