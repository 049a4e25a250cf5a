"""Every view, in both themes: no foreign host, no console error, text that can be read, controls that the keyboard reaches and names."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest

import workbench.views
from tests.ui.conftest import Server
from tests.ui.pages import Watch, new_page, query, until
from workbench.theme import DARK, LIGHT, THEMES, contrast

for _module in iter_modules(workbench.views.__path__):
    import_module(f"workbench.views.{_module.name}")

KEYS = [v.key for v in workbench.views.in_order()]
DAY = "session=2025-11-04&contract=ESZ5&t=10:05:00&level=vwap"

WALK = """
const walk = function* (node) {
  for (const e of node.children ?? []) {
    yield e;
    if (e.shadowRoot) yield* walk(e.shadowRoot);
    yield* walk(e);
  }
};
const shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && e.getClientRects().length > 0;
const says = (e) => e.getAttribute("aria-label") || e.title || e.textContent || e.className;
const name = (e) => `${e.tagName.toLowerCase()} ${says(e)}`.trim().slice(0, 60);
"""

TEXTS = (
    "() => {"
    + WALK
    + """
  const rgba = (c) => { const v = c.match(/[\\d.]+/g).map(Number); return v.length > 3 ? v : [...v, 1]; };
  const up = (e) => e.parentElement ?? e.getRootNode().host ?? null;
  const ground = (e) => {
    const layers = [];
    for (let x = e; x; x = up(x)) {
      const s = getComputedStyle(x);
      if (s.backgroundImage !== "none") return null;  // a scale of colours is no ground for words
      const c = rgba(s.backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    if (!layers.length || layers[layers.length - 1][3] < 1) return null;
    return layers.reduceRight((under, c) => under.map((u, i) => i < 3 ? c[i] * c[3] + u * (1 - c[3]) : 1));
  };
  const out = [];
  for (const e of walk(document)) {
    const text = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join(" ").trim();
    if (!text || !shown(e) || ["STYLE", "SCRIPT", "OPTION"].includes(e.tagName) || e.closest("[aria-disabled=true], :disabled")) continue;
    const s = getComputedStyle(e), under = ground(e);
    if (!under) continue;
    const size = parseFloat(s.fontSize), large = size >= 24 || (size >= 18.66 && Number(s.fontWeight) >= 700);
    const ink = rgba(s.color);
    const seen = ink.slice(0, 3).map((v, i) => v * ink[3] + under[i] * (1 - ink[3]));
    // A sign without letters is a picture.
    const least = large || !/[\\p{L}\\p{N}]/u.test(text) ? 3.0 : 4.5;
    out.push({ text: text.slice(0, 40), ink: seen, under: under.slice(0, 3), least });
  }
  return out;
}"""
)
"""Every piece of text that the page shows: its ink, and the ground under it, blended as the browser blends them."""

CONTROLS = (
    "() => {"
    + WALK
    + """
  window.__controls = [...walk(document)].filter((e) => shown(e) && !e.disabled &&
    (["BUTTON", "INPUT", "SELECT", "TEXTAREA"].includes(e.tagName) || (e.tagName === "A" && e.href) ||
     ["button", "slider", "tab", "radio", "checkbox", "link"].includes(e.getAttribute("role"))));
  return window.__controls.map((e) => ({
    name: name(e), stop: e.tabIndex >= 0,
    // A member of a group has one stop for all of them; arrows go on from there.
    group: Boolean(e.parentElement?.closest("[role=radiogroup], [role=tablist], [role=toolbar]")) || e.type === "radio",
    told: Boolean((e.getAttribute("aria-label") || e.title || e.textContent || e.labels?.[0]?.textContent || e.alt || "").trim()),
  }));
}"""
)

FOCUS = """() => {
  let e = document.activeElement;
  while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
  if (!e || e === document.body) return null;
  const s = getComputedStyle(e), label = e.nextElementSibling, l = label && getComputedStyle(label);
  const ring = (c) => c && (c.outlineStyle !== "none" && parseFloat(c.outlineWidth) > 0 || c.boxShadow !== "none");
  return { at: window.__controls.indexOf(e), seen: Boolean(ring(s) || ring(l)), tag: e.tagName + " " + e.className };
}"""


@pytest.fixture(scope="module")
def pages(browser: Any, made_server: Server) -> Iterator[Any]:
    """Pages by view, opened once, each in the theme that is asked for: `test_theme` shows that a changed one looks as the loaded one."""
    made: dict[str, tuple[Any, Watch]] = {}
    shown: dict[str, str] = {}

    def page_of(key: str, theme: str) -> tuple[Any, Watch]:
        if key not in made:
            page = new_page(browser)
            watch = Watch(page)
            page.goto(f"{made_server.url}?{DAY}&view={key}&theme={theme}")
            page.locator(f"[role=tab][data-id={key}][aria-selected=true]").wait_for(timeout=60_000)
            page.wait_for_timeout(2500)
            made[key], shown[key] = (page, watch), theme
        page, _ = made[key]
        if shown[key] != theme:
            page.get_by_role("button", name="Light or dark theme").click()
            until(page, lambda p: query(p).get("theme", "dark"), theme)
            page.wait_for_timeout(1000)
            shown[key] = theme
        return made[key]

    yield page_of
    for page, _ in made.values():
        page.close()


def each(*themes: str) -> Any:
    """Every view in both themes; the first is the one in which the test before left the page."""
    return pytest.mark.parametrize(("key", "theme"), [(k, t) for k in KEYS for t in themes])


@each(*THEMES)
def test_asks_no_foreign_host_and_complains_of_nothing(pages: Any, made_server: Server, key: str, theme: str) -> None:
    page, watch = pages(key, theme)
    page.get_by_role("button", name="Drawer").click()
    page.wait_for_timeout(600)
    page.get_by_role("button", name="Drawer").click()
    page.wait_for_timeout(200)
    assert watch.hosts == {f"127.0.0.1:{made_server.port}"}
    assert watch.errors == []


def hexed(rgb: list[float]) -> str:
    return "#" + "".join(f"{round(v):02x}" for v in rgb)


@each(*reversed(list(THEMES)))
def test_text_can_be_read(pages: Any, key: str, theme: str) -> None:
    page, _ = pages(key, theme)
    until(page, lambda p: len(p.evaluate(TEXTS)) > 10, True)
    texts = page.evaluate(TEXTS)
    faint = {
        (t["text"], hexed(t["ink"]), hexed(t["under"]), round(ratio, 2))
        for t in texts
        if (ratio := contrast(hexed(t["ink"]), hexed(t["under"]))) < t["least"]
    }
    assert faint == set()


@pytest.mark.parametrize("key", KEYS)
def test_keyboard_reaches_and_names_every_control(pages: Any, key: str) -> None:
    page, _ = pages(key, "dark")
    page.keyboard.press("Tab")  # the tools of figures become buttons when the keyboard is first used
    page.evaluate("() => document.activeElement?.blur()")
    page.locator("body").focus()
    controls = page.evaluate(CONTROLS)
    assert len(controls) > 5
    assert [c["name"] for c in controls if not c["told"]] == []
    reached: set[int] = set()
    unseen = set()
    for _ in range(len(controls) + 30):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus is None:
            continue  # past the last one, the browser's own bar; then it begins anew
        if focus["at"] in reached:
            break
        if focus["at"] >= 0:
            reached.add(focus["at"])
            if not focus["seen"]:
                unseen.add(controls[focus["at"]]["name"])
    missed = [c["name"] for i, c in enumerate(controls) if i not in reached and not (c["group"] and not c["stop"])]
    assert missed == []
    assert unseen == set()


PAN = """() => Bokeh.documents.flatMap((d) => [...d._all_models.values()])
  .filter((m) => m.type === "Figure" && m.name === "level_chart")
  .map((f) => f.toolbar.tools.find((m) => m.type === "PanTool").active)"""
"""Whether panning is on in the heatmap, whose tools have buttons; the candles' have none."""


def test_tools_of_figures_are_buttons_of_the_keyboard(pages: Any) -> None:
    page, _ = pages("level", "dark")
    page.keyboard.press("Tab")
    for name in ("Pan", "Reset", "Save", "Crosshair"):
        page.get_by_role("button", name=name, exact=True).first.wait_for()
    pan = page.get_by_role("button", name="Pan", exact=True).first
    pan.focus()
    for key, on in (("Enter", False), ("Space", True), ("Enter", False), ("Enter", True)):
        page.keyboard.press(key)
        until(page, lambda p: p.evaluate(PAN)[0], on)


@pytest.mark.parametrize("key", KEYS)
def test_page_has_a_main_part_and_a_title(pages: Any, key: str) -> None:
    page, _ = pages(key, "dark")
    assert page.title() == "spymaster"
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("main").count() == 1


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda t: t.name)
def test_colours_of_figures_stand_out(theme: Any) -> None:
    # Text on the figures' ground; what is drawn needs less (WCAG 2.2, 1.4.11).
    for ink in (theme.text, theme.muted, theme.level):
        assert contrast(ink, theme.map_floor) >= 4.5, ink
    for ink in (theme.long, theme.short, theme.candle_up, theme.candle_down, theme.invalid, theme.wall, theme.error):
        assert contrast(ink, theme.map_floor) >= 3.0, ink
