"""What hands expect of the page: keys over the page, own levels by a click, and the place where one left."""

from __future__ import annotations

import re

from tests.ui.conftest import DATE, Server
from tests.ui.pages import opened, query, sentence, until


def test_own_levels_keys_and_the_place_where_one_left(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?session={DATE}&level=pm_high&t=10:05:00&layer=pull") as (page, watch):
        keys = page.get_by_role("dialog", name="Keys of this view")
        page.keyboard.press("?")
        keys.wait_for()
        assert "play, pause" in keys.inner_text()
        page.keyboard.press("Space")
        page.keyboard.press("Escape")
        assert not keys.is_visible()
        page.get_by_role("button", name="Play or pause (space)").get_by_text("Play").wait_for()

        chart = page.evaluate(
            """() => { const v = [...Bokeh.index.query((v) => v.model.name === "level_chart")][0], f = v.model.inner_width;
            const r = v.el.getBoundingClientRect(); return [r.left + 90 + f / 2, r.top + r.height * 0.4]; }"""
        )
        page.keyboard.down("Shift")
        page.mouse.click(*chart)
        page.keyboard.up("Shift")
        until(page, lambda p: query(p).get("level", "").startswith("price:"), True)
        level = query(page)["level"]
        assert query(page)["t"] == "10:05:00"

        page.get_by_role("button", name=re.compile("^Drawer")).click()
        field = page.get_by_label("Price, name, note: adds or changes one")
        field.fill(f"{level.removeprefix('price:')}, Desk line, from the morning note")
        field.press("Enter")
        until(page, lambda p: sentence(p).startswith("Desk line"), True)
        field.fill("?")
        assert not keys.is_visible()
        page.get_by_role("button", name="Remove", exact=True).click()
        until(page, lambda p: sentence(p).startswith("Price "), True)
        page.get_by_role("button", name="Undo", exact=True).click()
        until(page, lambda p: sentence(p).startswith("Desk line"), True)

        page.goto(made_server.url)
        until(page, lambda p: (query(p).get("level"), query(p).get("layer"), query(p).get("t")), (level, "pull", "10:05:00"))
        until(page, lambda p: sentence(p).startswith("Desk line"), True)
        page.get_by_role("button", name=re.compile("^Drawer")).click()
        page.get_by_role("button", name="Remove", exact=True).click()
        until(page, lambda p: sentence(p).startswith("Price "), True)
        assert watch.errors == []
