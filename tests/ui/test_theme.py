"""A theme that is changed leaves nothing of the other behind."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image
from playwright.sync_api import Browser

from tests.ui.conftest import Server
from tests.ui.pages import Watch, new_page, query, until

NEAR = 24
"""Difference of a channel that an edge's smoothing may make."""

COLOURS = """(names) => {
  const out = {};
  for (const f of Bokeh.documents.flatMap((d) => [...d._all_models.values()]).filter((m) => names.includes(m.name))) {
    for (const m of f.references()) for (const p of m) {
      if (!/(color|palette)$/.test(p.attr) || p.is_unset) continue;
      const got = p.get_value(), to = got?.value ?? got;
      if (typeof to === "string" || Array.isArray(to)) out[`${m.type} ${m.id} ${p.attr}`] = String(to);
    }
  }
  return out;
}"""
"""Colours of all that the figures with these names are made of."""

CLICKED = f"""(names) => {{
  const button = (root) => {{
    for (const e of root.querySelectorAll("*")) {{
      const found = e.ariaLabel === "Light or dark theme" ? e : e.shadowRoot && button(e.shadowRoot);
      if (found) return found;
    }}
  }};
  const colours = {COLOURS}, before = colours(names), root = document.documentElement;
  button(document).click();
  return [before, colours(names), root.dataset.smTheme];
}}"""
"""Colours before the button and right after it, before any message of the server can come, and the theme of the page."""


HAS_LOOKS = """() => Bokeh.documents.flatMap((d) => [...d._all_models.values()])
  .some((m) => m.looks?.light && m.looks.dark && m.palettes?.light && m.palettes.dark)"""
"""Whether both themes' colours are in the page: they come after the first picture."""


EDGES = """() => {
  const found = [], walk = (root) => {
    for (const e of root.querySelectorAll("*")) {
      const { left, top, right, bottom } = e.getBoundingClientRect();
      if (e.tagName === "CANVAS" && right > left) found.push([left, top, right, bottom]);
      if (e.shadowRoot) walk(e.shadowRoot);
    }
  };
  walk(document);
  return found;
}"""
"""Where the figures' canvases begin and end."""


@contextmanager
def at(browser: Browser, server: Server, **asked: str) -> Iterator[tuple[Any, Watch]]:
    """The page that `asked` stands for in the URL, once its session is drawn."""
    page = new_page(browser)
    watch = Watch(page)
    page.goto(f"{server.url}?{urlencode(asked, safe=':')}")
    page.get_by_text("spymaster").first.wait_for(timeout=60_000)
    page.locator(".sm-say:visible, time:visible").first.wait_for(timeout=60_000)
    page.wait_for_function("() => Bokeh.documents.every((d) => d.is_idle)", timeout=60_000)
    try:
        yield page, watch
    finally:
        page.close()


UNDER_WAY = re.compile(r"takes some seconds|: reading$|^Working: ")
"""What a page says while it waits for an answer: a picture of that stands still, too."""


def picture(page: Any) -> np.ndarray:
    """The page once it has come to rest, ``(height, width, 3)``."""
    page.mouse.move(5, 5)
    before = b""
    for _ in range(40):
        page.wait_for_timeout(1_000)
        now = page.screenshot(animations="disabled", caret="hide")
        if now == before and not page.get_by_text(UNDER_WAY).locator("visible=true").count():
            return np.asarray(Image.open(io.BytesIO(now)).convert("RGB"), np.int16)
        before = now
    raise AssertionError("the page does not come to rest within 40 s")


def between_pixels(page: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels that a canvas covers in part: Chromium smooths them with what was painted there before, and may leave them so."""
    found = np.zeros(shape[:2], np.bool_)
    for left, top, right, bottom in page.evaluate(EDGES):
        across, down = slice(max(int(left), 0), int(right) + 1), slice(max(int(top), 0), int(bottom) + 1)
        for x in (x for x in (left, right) if x % 1 and 0 < x < shape[1]):
            found[down, int(x)] = True
        for y in (y for y in (top, bottom) if y % 1 and 0 < y < shape[0]):
            found[int(y), across] = True
    return found


def comes_to_look(page: Any, like: np.ndarray) -> None:
    """Fail where the page does not come to look `like` a picture, but for an edge's smoothing."""
    for _ in range(5):
        # A page may be at rest before what it waits for begins to come.
        differs = np.abs(like - picture(page)).max(axis=2) > NEAR
        off = np.argwhere(differs & ~between_pixels(page, like.shape))
        if len(off) < 40:
            return
    raise AssertionError(f"{len(off)} pixels differ, from {off.min(axis=0)} to {off.max(axis=0)}")


def click(page: Any, role: str = "button", name: str = "Light or dark theme") -> None:
    """Change the theme, or click on something else, and leave nothing focused."""
    page.get_by_role(role, name=name).click()
    page.evaluate("() => document.activeElement?.shadowRoot?.activeElement?.blur()")


ABOUT = {"levels": "Hit rates", "features": "Features", "quality": "Data quality", "hypothesis": "Four conditions"}


def show(page: Any, place: str) -> None:
    """Go to another view of the page, or to another question of Research."""
    if place in ABOUT:
        if query(page).get("view") != "research":
            page.get_by_role("tab", name="Research").click()
            page.get_by_role("radio", name=ABOUT["levels"]).wait_for(timeout=30_000)
        click(page, "radio", ABOUT[place])
        until(page, lambda p: query(p).get("about", "hypothesis"), place)
    else:
        page.get_by_role("tab", name=place).click()
        until(page, lambda p: query(p).get("view", "level"), place.lower())


def test_a_changed_theme_looks_as_the_loaded_one(browser: Browser, served: tuple[Server, dict[str, str]]) -> None:
    """Load in light, load in dark and change to light: every view looks the same, and unlike the dark one."""
    server, moment = served
    asked = {**moment, "volume": "on"}
    light: dict[str, np.ndarray] = {}
    places = ["Level", "Neighbours", *ABOUT]
    with at(browser, server, **asked, theme="light") as (page, _):
        for place in places:
            show(page, place)
            light[place] = picture(page)
    with at(browser, server, **asked, theme="dark") as (page, watch):
        for place in places:
            show(page, place)
            assert (np.abs(light[place] - picture(page)).max(axis=2) > NEAR).mean() > 0.2
            click(page)
            comes_to_look(page, light[place])
            if place != places[-1]:
                click(page)
        # Changed while another view was in front.
        show(page, "Level")
        comes_to_look(page, light["Level"])
        assert watch.errors == []


def test_the_page_changes_a_theme_before_the_server_answers(browser: Browser, made_server: Server) -> None:
    names = ["level_chart", "ladder", "conditions"]
    with at(browser, made_server, t="10:05:00", volume="on") as (page, watch):
        picture(page)
        # With another layer the heatmap has another palette, too.
        page.get_by_role("radio", name="Net", exact=True).click()
        picture(page)
        page.wait_for_function(HAS_LOOKS)
        before, at_once, theme = page.evaluate(CLICKED, names)
        assert theme == "light"
        assert sum(before[k] != at_once[k] for k in before) > 40
        picture(page)
        assert page.evaluate(COLOURS, names) == at_once
        again, _, theme = page.evaluate(CLICKED, names)
        assert theme == "dark"
        picture(page)
        assert (again, page.evaluate(COLOURS, names)) == (at_once, before)
        # Changes quicker than the server end where they should.
        for presses in (3, 2, 4):
            for _ in range(presses):
                click(page)
            picture(page)
            seen = page.evaluate(COLOURS, names)
            assert seen != before
            assert seen == at_once
        click(page)
        picture(page)
        assert page.evaluate(COLOURS, names) == before
    assert watch.errors == []
