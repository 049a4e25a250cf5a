"""Similar setups in a real browser: the outcome pane of the Level view, and the wall of the Neighbours view."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from engine.ladder import NO_TICK, Ladder
from engine.lake.store import Lake
from engine.vocab import NS
from tests.support.similar_lake import LAST, SESSIONS, SHOWN
from tests.ui.conftest import DATE, Server
from tests.ui.pages import Watch, new_page, query, until
from workbench import session_cache


def opened(browser: Any, server: Server, ready: str, **asked: object) -> tuple[Any, Watch]:
    page = new_page(browser)
    watch = Watch(page)
    page.goto(f"{server.url}?{urlencode(asked, safe=':')}")
    page.locator(ready).first.wait_for(timeout=60_000)
    return page, watch


def pane(page: Any) -> str:
    return page.locator(".o:visible").first.inner_text()


def test_level_says_what_similar_setups_did(browser, served) -> None:
    server, moment = served
    page, watch = opened(browser, server, ".o table", **moment)
    said = pane(page)
    # Both made-up sessions before the embargo count, the last one before the day does not; the day itself never.
    assert f"walk-forward, {SESSIONS + 1} sessions before" in said
    assert "After a touch of" in said
    assert "8 ticks beyond is a break" in said
    assert page.locator(".o td .cell").count() == 21
    # The nearest six: those whose session has a tape are drawn up to their touch, at the right edge; the others say why not.
    cards = page.locator(".nearest button")
    cards.nth(5).wait_for(timeout=30_000)
    assert cards.count() == 6
    assert "Nearest 6 of" in page.locator(".nearest .what").inner_text()
    drawn = page.locator(".nearest path.path").evaluate_all("all => all.map((e) => e.getAttribute('d'))")
    assert drawn
    assert all(re.search(r"[ML]100,[\d.]+$", d) for d in drawn)
    assert len(drawn) + page.locator(".nearest .said").count() == 6
    for i in range(6):
        title = cards.nth(i).get_attribute("title")
        assert "similarity" in title
        assert cards.nth(i).locator("b").inner_text().split()[0] in ("break", "chop", "reject")
    # Another horizon is another question, and stands in the URL.
    page.get_by_role("button", name="Drawer: window, buckets, colours, keys").click()
    page.get_by_label("Outcome within").select_option(label="4 min")
    until(page, lambda p: query(p).get("horizon"), "h2")
    until(page, lambda p: p.locator(".o th.on").inner_text(), "4′", 30_000)
    # The index is not there: the pane says what makes it.
    page.get_by_label("Compared with").select_option(label="All other sessions (index)")
    until(page, lambda p: "spymaster index" in pane(p), True, 30_000)
    until(page, lambda p: query(p).get("mode"), "all")
    page.get_by_label("Compared with").select_option(label="Sessions before (walk-forward)")
    page.locator(".o table").wait_for(timeout=30_000)
    cards.first.wait_for(timeout=30_000)
    cards.first.click()
    until(page, lambda p: query(p).get("view"), "neighbours")
    assert watch.errors == []
    assert watch.hosts == {f"127.0.0.1:{server.port}"}
    page.close()


def test_what_is_read_of_a_setup_ends_before_its_touch(made_lake: Path) -> None:
    ladder = Ladder.open(Lake(made_lake), "ESZ5", DATE)
    for second in (40, 3_000, ladder.seconds):
        # In the first one it reaches beyond the session's beginning.
        touch = ladder.start_ns + second * NS
        found = session_cache.last_ticks(str(made_lake), "ESZ5", DATE, touch - 120 * NS, touch)
        known = ladder.last_tick[max(second - 120, 0) : second].astype(float)
        known[known == NO_TICK] = np.nan
        np.testing.assert_array_equal(found, np.concatenate([np.full(120 - known.size, np.nan), known]))


def test_level_says_when_price_is_too_far_for_a_setup(browser, served) -> None:
    server, moment = served
    page, watch = opened(browser, server, ".o", **{**moment, "level": "price:6500"})
    until(page, lambda p: "Setups begin within 20 ticks" in pane(p), True)
    assert watch.errors == []
    page.close()


PAINTED = """(id) => {
  const find = (root) => { for (const e of root.querySelectorAll("*")) {
    if (e.dataset && e.dataset.id === id) return e;
    if (e.shadowRoot) { const f = find(e.shadowRoot); if (f) return f; } } };
  const c = find(document).querySelector("canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  // Columns full of cells, from the left on: lines and words leave gaps.
  let x = Math.round(0.15 * c.width);
  for (let n = Infinity; x < c.width && n > 0.8 * (c.height - 40); x++) {
    n = 0;
    for (let y = 10; y < c.height - 30; y++) if (d[4 * (y * c.width + x) + 3] > 0) n++;
  }
  return x / c.width;
}"""


def test_wall_replays_and_opens_a_moment(browser, served) -> None:
    server, moment = served
    page, watch = opened(browser, server, ".card", view="neighbours", k=24, **moment)
    cards = page.locator(".card")
    until(page, lambda p: cards.count(), 25)
    assert "query" in cards.first.get_attribute("class")
    # Of the earlier session with a ladder there is a picture; of those without, the command that makes one.
    shown = page.locator(".card", has=page.locator("canvas")).filter(has_text=f"{SHOWN:%m-%d}")
    assert shown.count() >= 1
    missing = page.locator(".card p")
    assert missing.count() >= 1
    assert "spymaster" in missing.first.inner_text()
    # Nothing of the embargoed session, and never more than three of one.
    assert page.locator(".card .when", has_text=f"{LAST:%m-%d}").count() == 0
    assert shown.count() <= 3
    which = shown.first.get_attribute("data-id")
    end = shown.first.locator(".end")
    assert end.inner_text().split()[0] in ("break", "reject", "chop")
    # The query's card stops at the cursor, which is its zero: half of the picture.
    until(page, lambda p: 0.45 < p.evaluate(PAINTED, "query") < 0.62, True)
    until(page, lambda p: p.evaluate(PAINTED, which) > 0.95, True)
    page.get_by_label("Seconds from zero, in all cards").fill("-60")
    until(page, lambda p: p.evaluate(PAINTED, which) < 0.4, True)
    assert end.inner_text() == ""
    assert page.locator(".bar output").inner_text() == "touch −60 s"
    page.keyboard.press("Shift+ArrowRight")
    until(page, lambda p: p.locator(".bar output").inner_text(), "touch −50 s")
    page.get_by_label("Speed").select_option("30x")
    page.get_by_role("button", name="Play").click()
    until(page, lambda p: p.locator(".bar output").inner_text(), "touch +120 s", 30_000)
    until(page, lambda p: end.inner_text() != "", True)
    # The row of figures, and what the pointer says.
    canvas = shown.first.locator("canvas")
    canvas.hover(position={"x": 150, "y": 40})
    until(page, lambda p: "contracts" in p.locator(".read b").inner_text(), True)
    level = shown.first.locator(".what").inner_text()
    shown.first.click()
    page.locator(".sm-say:visible").wait_for()
    until(page, lambda p: (query(p).get("view"), query(p).get("session")), (None, SHOWN.isoformat()), 30_000)
    assert level.split(",")[0] in page.locator("[role=radio][aria-checked=true]:visible").first.inner_text()
    assert watch.errors == []
    assert watch.hosts == {f"127.0.0.1:{server.port}"}
    page.close()


def test_a_link_to_the_wall_arrives_as_one_to_the_level(browser, served) -> None:
    """Without a level of this session, without a time: what stands in their place is the same, is said, and is in the URL."""
    server, moment = served
    asked = {"contract": moment["contract"], "session": moment["session"], "level": "pd_close"}
    found = []
    for more in ({}, {"view": "neighbours"}):
        page, watch = opened(browser, server, ".said li", **asked, **more)
        until(page, lambda p: {"t", "level"} <= query(p).keys() and query(p)["level"] != "pd_close", True, 30_000)
        found.append((query(page)["level"], query(page)["t"], page.locator(".said li").first.inner_text()))
        assert watch.errors == []
        if more:
            # It can be closed, and the Level view is at the same moment.
            page.get_by_role("button", name="Close this notice").locator("visible=true").click()
            until(page, lambda p: p.locator(".said li:visible").count(), 0)
            page.get_by_role("tab", name="Level").click()
            page.locator(".sm-say:visible b").first.wait_for(timeout=30_000)
            assert (query(page)["level"], query(page)["t"]) == found[0][:2]
        page.close()
    assert found[1] == found[0]
    assert "stands in its place" in found[0][2]


def test_wall_in_the_light_and_with_other_layers(browser, served) -> None:
    server, moment = served
    page, watch = opened(browser, server, ".card canvas", view="neighbours", k=3, theme="light", layer="net", **moment)
    until(page, lambda p: p.locator(".card").count(), 4)
    # Rows are full: two of two.
    assert page.locator(".cards").evaluate("(e) => getComputedStyle(e).gridTemplateColumns.split(' ').length") == 2
    until(page, lambda p: 0.4 < p.evaluate(PAINTED, "query") < 0.62, True)
    page.get_by_role("radio", name="Resting").click()
    until(page, lambda p: query(p).get("layer"), None)
    page.get_by_role("button", name="Light or dark theme").click()
    until(page, lambda p: query(p).get("theme"), None)
    page.get_by_role("tab", name="Level").click()
    page.locator(".o table:visible").wait_for(timeout=30_000)
    assert watch.errors == []
    page.close()
