"""What the Level view's figures draw can be told from its ground, in both themes: text 4.5:1, marks 3:1, as the browser has the colours."""

from __future__ import annotations

from tests.ui.conftest import Server
from tests.ui.pages import opened, query, until
from workbench.theme import DARK, LIGHT, contrast

DAY = "session=2025-11-04&contract=ESZ5&t=10:05:00&level=vwap&volume=on"

DRAWN = """() => {
  const out = [], ctx = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const css = (colour) => {
    ctx.clearRect(0, 0, 1, 1);
    ctx.fillStyle = colour; ctx.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = ctx.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  // A colour as a model or as a glyph's view has it: CSS, or red, green, blue and alpha from the highest byte down.
  const rgba = (v) => v === null || v === undefined ? [0, 0, 0, 0]
    : typeof v === "number" ? [(v >>> 24) & 255, (v >>> 16) & 255, (v >>> 8) & 255, (v & 255) / 255] : css(v);
  const over = (ink, alpha, under) => under.map((u, i) => i < 3 ? ink[i] * ink[3] * alpha + u * (1 - ink[3] * alpha) : 1);
  for (const view of Bokeh.index.query((v) => ["candles", "level_chart", "ladder", "conditions"].includes(v.model.name))) {
    const fig = view.model, floor = rgba(fig.background_fill_color), page = rgba(fig.border_fill_color);
    const add = (what, least, inks, under, line) =>
      out.push({ what: `${fig.name} ${what}`, least, inks, under, line });
    for (const axis of [...fig.left, ...fig.right, ...fig.above, ...fig.below])
      if (axis.visible) add("axis", 4.5, [rgba(axis.major_label_text_color)], page);
    for (const box of fig.center.filter((c) => c.type === "BoxAnnotation" && c.visible && c.line_color))
      add("box", 3, [over(rgba(box.line_color), box.line_alpha, floor)], floor);
    for (const [model, { glyph: g }] of view.renderer_views) {
      const kind = model.glyph?.type, what = [model.data_source?.name, kind].filter(Boolean).join(" ");
      if (!g || !model.visible || kind === "Image") continue;
      for (let i = 0; i < Math.min(g.data_size, 400); i++) {
        const paint = (part, under) => over(rgba(g[`${part}_color`].get(i)), g[`${part}_alpha`].get(i), under);
        const has = (part) => g[`${part}_color`] && rgba(g[`${part}_color`].get(i))[3] > 0;
        if (kind === "Text") {
          const under = has("background_fill") ? paint("background_fill", floor) : floor;
          if (g.labels[i]?.text) add(what, 4.5, [paint("text", under)], under);
        } else {
          // Of what is filled and has a line either may stand out.
          const inks = ["fill", "hatch", "line"].filter(has).map((part) => paint(part, floor));
          if (inks.length) add(what, 3, inks, floor, has("line") ? rgba(g.line_color.get(i)) : null);
        }
      }
    }
  }
  return out;
}"""
"""Everything that is drawn: its colours and the one under it, blended as the browser blends them, and the contrast that it needs."""

NEEDED = {
    "candles axis",
    "candles box",
    "candles candles VBar",
    "candles names Text",
    "candles words Text",
    "conditions axis",
    "conditions VAreaStep",
    "ladder ladder HBar",
    "ladder ladder_texts Text",
    "level_chart dots Scatter",
    "level_chart marks Scatter",
    "level_chart profile HBar",
    "level_chart quotes Step",
    "level_chart tag Text",
    "level_chart walls Quad",
}
"""What the moment that is shown has to have drawn, so that nothing is passed over."""


def hex_of(rgb: list[float]) -> str:
    return "#" + "".join(f"{round(v):02x}" for v in rgb[:3])


def test_what_is_drawn_stands_out_in_both_themes(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?{DAY}") as (page, watch):
        page.wait_for_timeout(1_500)
        for theme in (DARK, LIGHT):
            until(page, lambda p: query(p).get("theme", "dark"), theme.name)
            page.wait_for_timeout(700)
            drawn = page.evaluate(DRAWN)
            assert {d["what"] for d in drawn} >= NEEDED
            faint = {}
            for d in drawn:
                inks = [hex_of(ink) for ink in d["inks"]]
                best = max(contrast(ink, hex_of(d["under"])) for ink in inks)
                # A casing sets off what lies on it, and says nothing itself.
                if best < d["least"] and not (d.get("line") and hex_of(d["line"]) == theme.casing):
                    faint[d["what"]] = round(best, 2)
            assert faint == {}, theme.name
            page.get_by_role("button", name="Light or dark theme").click()
        assert watch.errors == []
