"""No text of any view stands on other text or is cut, at the sizes of traders' screens, in both themes, drawer open and shut."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.ui.conftest import Server
from tests.ui.pages import Watch, new_page, opened, query, until
from workbench.plots import candles

DAY = "session=2025-11-04&contract=ESZ5&t=10:05:00&level=vwap"

BOXES = """() => {
  const found = [];
  let nodes = 0;
  // What can be seen of a box: less where an element around it hides or scrolls what goes beyond.
  const seen = (e, box) => {
    let { left, top, right, bottom } = box, cut = false;
    for (let n = e; n; n = n.parentElement ?? n.getRootNode().host ?? null) {
      const s = getComputedStyle(n);
      if (s.visibility === "hidden" || s.display === "none" || s.opacity === "0") return null;
      if (s.overflowX === "visible" && s.overflowY === "visible") continue;
      const r = n.getBoundingClientRect(), scrolls = /auto|scroll/.test(s.overflowX + s.overflowY) || s.textOverflow === "ellipsis";
      if (!scrolls && (left < r.left - 1 || right > r.right + 1 || top < r.top - 1 || bottom > r.bottom + 1)) cut = true;
      left = Math.max(left, r.left); right = Math.min(right, r.right); top = Math.max(top, r.top); bottom = Math.min(bottom, r.bottom);
    }
    if (right - left > 1 && bottom - top > 1) return { left, top, right, bottom, cut };
    return cut ? { left, top, right: left, bottom: top, cut } : null;
  };
  const walk = (root) => {
    for (const n of root.childNodes) {
      if (n.nodeType === 3 && n.textContent.trim()) {
        const of = n.parentElement ?? root.host;
        if (!of || ["STYLE", "SCRIPT", "OPTION", "TITLE"].includes(of.tagName)) continue;
        const range = document.createRange();
        range.selectNodeContents(n);
        nodes += 1;
        for (const r of range.getClientRects()) {
          const box = seen(of, r);
          const px = parseFloat(getComputedStyle(of).fontSize);
          if (box) found.push({ node: nodes, text: n.textContent.trim().slice(0, 40), px, ...box });
        }
      } else if (n.nodeType === 1) {
        if (n.shadowRoot) walk(n.shadowRoot);
        walk(n);
      }
    }
  };
  walk(document.body);
  // Words on the candles' canvas, measured as they are drawn.
  const view = [...Bokeh.index.query((v) => v.model.name === "candles")][0], ctx = document.createElement("canvas").getContext("2d");
  if (!view?.el.getClientRects().length) return found;
  const at = view.el.getBoundingClientRect(), f = view.frame;
  ctx.font = "bold 12px " + view.model.renderers.find((r) => r.data_source.name === "words").glyph.text_font.value;
  for (const name of ["words", "names"]) {
    const s = view.model.renderers.find((r) => r.data_source.name === name).data_source, col = (k) => [...s.get_column(k)];
    col("text").forEach((text, i) => {
      const x = f.x_scale.compute(col("x")[i]), y = f.y_scale.compute(col("y")[i]), w = ctx.measureText(text.trim()).width;
      const align = name === "names" ? "right" : col("align")[i], left = x - (align === "right" ? w : align === "center" ? w / 2 : 0);
      const cut = left < f.bbox.left - 2 || left + w > f.bbox.right + 8 || y < f.bbox.top || y > f.bbox.bottom;
      found.push({ text, px: 12, left: at.left + left, right: at.left + left + w, top: at.top + y - 6, bottom: at.top + y + 6, cut });
    });
  }
  return found;
}"""
"""Every line of text that is seen: its box, the size of its type, and whether a part of it is cut off (what scrolls or ends in an ellipsis
is not)."""


def on_each_other(boxes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes overlap by more than a line's own room; a text that ends in an ellipsis has several boxes itself."""
    out = []
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            wide = min(a["right"], b["right"]) - max(a["left"], b["left"])
            high = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
            if wide > 2 and high > 4 and (a.get("node") is None or a["node"] != b.get("node")):
                out.append((a["text"], b["text"]))
    return out


def faults(boxes: list[dict[str, Any]], width: int, height: int, least: int) -> dict[str, list[Any]]:
    """Texts that stand on others, are cut, small, or beyond the page, by fault; and how many there are, where too few."""
    found = {
        "few": [] if len(boxes) > least else [len(boxes)],
        "on each other": on_each_other(boxes),
        "cut": [b["text"] for b in boxes if b["cut"]],
        "small": [b["text"] for b in boxes if b["px"] < 12],
        "beyond": [b["text"] for b in boxes if b["right"] > width + 1 or b["bottom"] > height + 1],
    }
    return {k: v for k, v in found.items() if v}


def check(page: Any, watch: Watch, width: int, height: int, least: int) -> None:
    """With the drawer shut, then open, and shut again."""
    page.wait_for_timeout(1_500)
    for is_open in (False, True):
        if is_open:
            page.get_by_role("button", name="Drawer").click()
            page.wait_for_timeout(1_500)
        # A figure that takes its room later is painted once more: what is said is what stays.
        until(page, lambda p: faults(p.evaluate(BOXES), width, height, least), {})
    page.get_by_role("button", name="Drawer").click()
    page.wait_for_timeout(400)
    assert watch.errors == []


BESIDE_NAMES = """() => {
  const view = [...Bokeh.index.query((v) => v.model.name === "candles")][0], x = (v) => view.frame.x_scale.compute(v);
  const s = view.model.renderers.find((r) => r.data_source.name === "names").data_source, col = (k) => [...s.get_column(k)];
  return col("text").map((text, i) => [text, x(col("x")[i]) - x(col("to")[i])]);
}"""
"""Each level's name at the candles, and how far from the right edge the place beside it is, px."""

SIZES = [(1280, 650), (1366, 768), (1920, 1080), (2560, 1440)]


def wide_names(page: Any) -> None:
    """What is drawn is made for the figure's own width."""
    until(page, lambda p: [t for t, wide in p.evaluate(BESIDE_NAMES) if abs(wide - (candles.LETTER_PX * len(t) + 6)) > 2], [])


@pytest.mark.parametrize(("sizes", "theme"), [(SIZES[:2], "dark"), (SIZES[:1:-1], "light")], ids=["small", "large"])
def test_no_text_stands_on_other_text_or_is_cut(browser, made_server: Server, sizes: list[tuple[int, int]], theme: str) -> None:
    (width, height), (later_width, later_height) = sizes
    with opened(browser, f"{made_server.url}?{DAY}&theme={theme}", width=width, height=height) as (page, watch):
        check(page, watch, width, height, 60)
        wide_names(page)
        # Another screen, and the other theme.
        page.set_viewport_size({"width": later_width, "height": later_height})
        page.get_by_role("button", name="Light or dark theme").click()
        until(page, lambda p: query(p).get("theme", "dark") != theme, True)
        check(page, watch, later_width, later_height, 60)
        wide_names(page)


VIEWS = {
    "level": ".nearest button", "neighbours": ".card", "compare": ".drop",
    **{f"research&about={about}": ".sm-research" for about in ("levels", "walls", "hypothesis", "audit", "features", "quality")},
}  # fmt: skip
"""What the address asks for, and what is there once the view has its answer."""


def all_views(browser: Any, served: tuple[Server, dict[str, str]], size: tuple[int, int], theme: str, views: list[str]) -> None:
    server, moment = served
    for view in views:
        page = new_page(browser, width=size[0], height=size[1])
        watch = Watch(page)
        page.goto(f"{server.url}?{urlencode(moment, safe=':')}&theme={theme}&view={view}")
        page.locator(VIEWS[view]).first.wait_for(timeout=60_000)
        check(page, watch, *size, 12)
        page.close()


def test_no_text_of_the_other_views_stands_on_other_text_or_is_cut(browser, served) -> None:
    server, moment = served
    page = new_page(browser, width=SIZES[0][0], height=SIZES[0][1])
    watch = Watch(page)
    page.goto(f"{server.url}?{urlencode(moment, safe=':')}&theme=dark&view=neighbours")
    for tab, there in (("Neighbours", ".card"), ("Compare", ".drop"), ("Research", ".sm-research")):
        page.get_by_role("tab", name=tab).click()
        if tab == "Research":
            page.get_by_role("radio", name="Hit rates").click()
        page.locator(there).locator("visible=true").first.wait_for(timeout=60_000)
        check(page, watch, *SIZES[0], 12)
    page.close()


@pytest.mark.long
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES)
def test_no_text_of_any_view_stands_on_other_text_or_is_cut(browser, served, size: tuple[int, int], theme: str) -> None:
    all_views(browser, served, size, theme, list(VIEWS))
