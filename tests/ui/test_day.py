"""The day overview and what is drawn up to the cursor, in a real browser."""

from __future__ import annotations

from typing import Any

from tests.ui.conftest import Server
from tests.ui.pages import heat, opened, query, until, until_changed

AT = "session=2025-11-04&contract=ESZ5&t=10:05:00"

SOURCE = """(name) => {
  const s = Bokeh.documents.flatMap((d) => [...d._all_models.values()]).find((m) => m.type === 'ColumnDataSource' && m.name === name);
  if (!s) return null;
  let lit = 0;
  for (const image of s.data.image ?? []) for (const v of image) lit += v > 0;
  const plain = Object.entries(s.data).filter(([k]) => k !== 'image').map(([k, v]) => [k, Array.from(v)]);
  return {lit, ...Object.fromEntries(plain)};
}"""

FRAME = """() => {
  const f = Bokeh.documents.flatMap((d) => [...d._all_models.values()]).find((m) => m.type === 'Figure' && m.name === 'overview');
  return [f.inner_width, f.inner_height, f.x_range.start, f.x_range.end];
}"""


def source(page: Any, name: str) -> dict[str, Any] | None:
    """Columns of a source by its name, and how many cells of its image are lit."""
    return page.evaluate(SOURCE, name)


def end_of_delta(page: Any) -> str | None:
    """New York time at which the cumulative delta ends."""
    x = (source(page, "delta") or {}).get("x")
    return page.evaluate("(x) => new Date(x).toISOString().slice(11, 19)", x[-1]) if x else None


def test_the_day_shows_orders_trades_and_approaches_and_moves_the_chart(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?{AT}") as (page, watch):
        until(page, lambda p: (source(p, "day") or {"lit": 0})["lit"] > 1_000, True)
        marks = source(page, "approaches")
        assert marks is not None
        assert set(marks["marker"]) <= {"triangle", "inverted_triangle"}
        assert len(marks["marker"]) > 3
        width, height, start, end = page.evaluate(FRAME)
        assert height >= 60
        before = heat(page)
        # The overview lies at the foot of the page, beside the left border that all figures share.
        page.mouse.move(86 + width * 0.70, 830)
        page.mouse.down()
        page.mouse.move(86 + width * 0.80, 830, steps=6)
        page.mouse.up()
        after = until_changed(page, heat, before)
        until(page, lambda p: heat(p)["x0"] > before["x0"], True)
        assert start <= after["x0"] < after["x1"] <= end
        assert watch.errors == []


def test_volume_and_delta_end_at_the_cursor_and_can_be_hidden(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?{AT}&volume=on") as (page, watch):
        until(page, end_of_delta, "10:05:05")
        profile = source(page, "profile")
        assert profile is not None
        assert len(profile["y"]) > 5
        assert all(0 <= m <= r <= 1 for m, r in zip(profile["mid"], profile["right"]))
        page.keyboard.press("ArrowRight")
        until(page, end_of_delta, "10:05:10")
        page.get_by_role("button", name="Drawer").click()
        page.get_by_role("button", name="Off", exact=True).click()
        until(page, end_of_delta, None)
        until(page, lambda p: query(p).get("volume"), None)
        assert source(page, "profile")["y"] == []  # type: ignore[index]
        page.get_by_role("button", name="On", exact=True).click()
        until(page, end_of_delta, "10:05:10")
        assert watch.errors == []
