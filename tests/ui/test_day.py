"""The day's path and what is drawn up to the clock, in a real browser."""

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

TRACK = """() => {
  const find = (root) => {
    for (const e of root.querySelectorAll("*")) {
      const found = e.matches(".transport .track") ? e : e.shadowRoot && find(e.shadowRoot);
      if (found) return found;
    }
  };
  const track = find(document);
  if (!track?.querySelector("polyline")) return null;
  const ends = track.querySelector("polyline").getAttribute("points").trim().split(/\\s+/).map((p) => Number(p.split(",")[0]));
  const touches = [...track.querySelectorAll(".touch")].map((e) => Number(e.getAttribute("x1"))), scrub = track.querySelector("input");
  return {end: Math.max(...ends), touch: Math.max(0, ...touches), at: Number(scrub.value), seconds: Number(scrub.max)};
}"""
"""Seconds of the session at which the transport's path and its last touch end, where the clock is, and the session's length."""


def source(page: Any, name: str) -> dict[str, Any] | None:
    """Columns of a source by its name, and how many cells of its image are lit."""
    return page.evaluate(SOURCE, name)


def end_of_delta(page: Any) -> str | None:
    """New York time at which the cumulative delta ends."""
    x = (source(page, "delta") or {}).get("x")
    return page.evaluate("(x) => new Date(x).toISOString().slice(11, 19)", x[-1]) if x else None


def test_the_path_of_the_day_ends_at_the_clock_and_moves_it(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?{AT}") as (page, watch):
        until(page, lambda p: (p.evaluate(TRACK) or {"end": 0})["end"] > 60, True)
        track = page.evaluate(TRACK)
        assert track["at"] - 60 < track["end"] <= track["at"] < track["seconds"]
        assert track["touch"] <= track["at"]
        before = heat(page)
        box = page.get_by_label("Time of the session").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
        after = until_changed(page, heat, before)
        until(page, lambda p: heat(p)["x0"] > before["x0"], True)
        assert after["shape"] == before["shape"]
        moved = page.evaluate(TRACK)
        assert track["at"] < moved["at"] < moved["seconds"]
        assert track["end"] < moved["end"] <= moved["at"]
        assert moved["touch"] >= track["touch"]
        assert watch.errors == []


def test_volume_and_delta_end_at_the_cursor_and_can_be_hidden(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?{AT}&volume=on") as (page, watch):
        until(page, end_of_delta, "10:05:00")
        profile = source(page, "profile")
        assert profile is not None
        assert len(profile["y"]) > 5
        assert all(0 <= m <= r <= 1 for m, r in zip(profile["mid"], profile["right"]))
        page.keyboard.press("ArrowRight")
        until(page, end_of_delta, "10:05:05")
        page.get_by_role("button", name="Drawer").click()
        group = page.get_by_role("group", name="Volume profile and cumulative")
        group.get_by_role("button", name="Off", exact=True).click()
        until(page, end_of_delta, None)
        until(page, lambda p: query(p).get("volume"), None)
        assert source(page, "profile")["y"] == []  # type: ignore[index]
        group.get_by_role("button", name="On", exact=True).click()
        until(page, end_of_delta, "10:05:05")
        assert watch.errors == []
