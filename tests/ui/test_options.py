"""Options on the Level view in a real browser: columns, panel, sentence, another rule, the drawer, and what a pointer reads out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.options import lake_with_options
from tests.ui.conftest import DATE, Server, generated_lake
from tests.ui.pages import heat, opened, query, sentence, until
from tests.ui.test_text_boxes import BOXES, faults

AT = f"session={DATE}&contract=ESZ5&t=09:55:03&level=vwap"

HEDGE = """() => {
  const view = [...Bokeh.index.query((v) => v.model.name === "hedge")][0];
  if (!view?.el.getClientRects().length) return null;
  const of = (name) => view.model.renderers.find((r) => r.data_source.name === name).data_source, col = (s, k) => [...of(s).get_column(k)];
  const at = view.el.getBoundingClientRect(), f = view.frame;
  return {rows: col("hedge_bars", "y").length, top: view.model.below[0].formatter.args.scale.data.top[0], net: col("hedge_net", "x"),
          said: col("hedge_bars", "said"), y: col("hedge_bars", "y"), names: col("hedge_lines", "text"),
          prices: [view.model.y_range.start, view.model.y_range.end], left: at.left, width: at.width,
          middle: [at.left + f.bbox.left + f.bbox.width / 2, at.top + f.bbox.top + f.bbox.height / 2]};
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("options")
    made = generated_lake(folder / "plain", 20_000)
    running = Server(lake_with_options(made, folder / "with", "ESZ5", DATE), log=folder / "serve.log")
    yield running
    running.stop()


def hedge(page: Any) -> dict[str, Any] | None:
    return page.evaluate(HEDGE)


def test_options_stand_beside_the_ladder_and_follow_rule_clock_and_theme(browser, server: Server) -> None:
    with opened(browser, f"{server.url}?{AT}", width=1280, height=650) as (page, watch):
        until(page, lambda p: (hedge(p) or {"rows": 0})["rows"] > 30, True)
        seen = hedge(page)
        chart = heat(page)
        assert seen["prices"] == [chart["y0"], chart["y1"]], "one price axis with heatmap and ladder"
        assert seen["left"] + seen["width"] <= 1280
        panel = page.locator(".g")
        assert re.search(r"Hedging, ES a point\s+at 6[\d.]+, all expiries\s+naive", panel.inner_text())
        assert "as of 09:55, OI 11-03" in panel.inner_text()
        assert "position times gamma" in panel.get_attribute("title")
        assert re.search(r"hedgers .*\(hybrid; naive ", sentence(page))
        # No text of it stands on other text or is cut at the smallest screen.
        page.wait_for_timeout(500)
        until(page, lambda p: faults(p.evaluate(BOXES), 1280, 650, 60), {})
        # The pointer reads a row out.
        page.mouse.move(*seen["middle"])
        page.get_by_text("rule hybrid, all expiries, as of 09:55").first.wait_for()
        # Another rule and scope, from the drawer: other bars, in words and in the link.
        page.get_by_role("button", name="Drawer").click()
        page.get_by_label("What dealers are assumed to hold").select_option("Flow alone")
        until(page, lambda p: hedge(p)["net"] != seen["net"], True)
        until(page, lambda p: "flow (rule)" in p.locator(".g").inner_text(), True)
        until(page, lambda p: "(flow; naive" in sentence(p), True)
        page.get_by_label("Expiries that count").select_option("Today")
        until(page, lambda p: "today's expiries" in p.locator(".g").inner_text(), True)
        until(page, lambda p: (query(p).get("rule"), query(p).get("scope")), ("flow", "0dte"))
        page.get_by_role("button", name="Drawer").click()
        # It goes with the clock, a minute at a time, and says nothing to the pointer while it plays.
        page.keyboard.press("Shift+ArrowRight")
        until(page, lambda p: "as of 09:56" in p.locator(".g").inner_text(), True)
        page.get_by_role("button", name="Play").click()
        until(page, lambda p: set(hedge(p)["said"]) == {""}, True)
        page.get_by_role("button", name="Pause").click()
        until(page, lambda p: set(hedge(p)["said"]) != {""}, True)
        # Both themes' colours are in the page.
        fill = "() => [...Bokeh.index.query((v) => v.model.name === 'hedge')][0].model.renderers[1].glyph.fill_color.value"
        before = page.evaluate(fill)
        page.get_by_role("button", name="Light or dark theme").click()
        until(page, lambda p: p.evaluate(fill) != before, True)
        assert watch.errors == []
