"""The read-out under the pointer: New York time, price, ticks from the level, and the exact size with its side, computed in the browser."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, CustomJSHover, GlyphRenderer, HoverTool

from workbench.plots import axes, coding
from workbench.theme import FONT, MONO

NO_BOOK = 65_535
"""What stands for "book not valid" among whole numbers."""

ROW_JS = "const r = Math.floor((special_vars.y + 0.5) / f.step[0]) * f.step[0];"

SIDE_JS = """let side = '';
if (f.sided[0]) {
  let lo = 0, hi = q.x.length;
  while (lo < hi) { const m = (lo + hi) >> 1; if (q.x[m] <= special_vars.x) lo = m + 1; else hi = m; }
  if (lo > 0) side = special_vars.y <= q.bid[lo - 1] + 0.5 ? ' bid' : special_vars.y >= q.ask[lo - 1] - 0.5 ? ' ask' : '';
}
"""
"""Whether what rests at the pointer are bids or asks: the best prices of that window part them."""

READOUT_JS = {
    "$x": "const t = f.x0[0] + Math.floor((special_vars.x - f.x0[0]) / f.w[0]) * f.w[0]; return new Date(t).toISOString().slice(11, 19)",
    "$y": ROW_JS + "const a = (r * f.size[0]).toFixed(f.digits[0]);"
    "return f.step[0] > 1 ? a + ' – ' + ((r + f.step[0] - 1) * f.size[0]).toFixed(f.digits[0]) : a",
    "@y": ROW_JS + "const d = r - f.k[0]; return (d > 0 ? '+' + d : d < 0 ? '\\u2212' + (-d) : '0') + ' ticks'",
    "@value": f"if (!isFinite(value) || value === {NO_BOOK}) return 'book not valid';"
    "if (f.signed[0]) return f.title[0] + ' ' + (value > 0 ? '+' : value < 0 ? '\\u2212' : '') + Math.abs(value).toFixed(3);"
    + SIDE_JS
    + "return f.title[0] + side + ' ' + Math.round(value).toLocaleString('en-US') + ' contracts'",
}
"""What the read-out computes, from the pointer's place, the one row of the source `facts`, and the best prices."""


def for_hover(shown: np.ndarray) -> np.ndarray:
    """Exact values in half the bytes where they are whole and small enough, as sizes are; else float32."""
    if shown.size and float(np.nanmax(shown, initial=0)) < NO_BOOK and float(np.nanmin(shown, initial=0)) >= 0:
        whole = np.nan_to_num(shown, nan=NO_BOOK).astype(np.uint16)
        known = np.isfinite(shown)
        if np.array_equal(whole[known], shown[known]):
            return np.ascontiguousarray(whole)
    return np.ascontiguousarray(shown)


def hover(facts: ColumnDataSource, quotes: ColumnDataSource, renderer: GlyphRenderer) -> HoverTool:
    """The read-out over `renderer`."""
    name = f"font-family:{FONT};font-size:12px;color:var(--sm-muted);padding-right:10px"
    cell = f"font-family:{MONO};font-size:13px;color:var(--sm-text)"
    rows = (("New York", "$x"), ("price", "$y"), ("from level", "@y"), ("size", "@value"))
    body = "".join(f'<tr><td style="{name}">{k}</td><td style="{cell}">{v}{{custom}}</td></tr>' for k, v in rows)
    # The numbers come from data sources: new formatters would make the server walk the whole document (some 40 ms).
    args = {"facts": facts, "quotes": quotes}
    formatters = {k: CustomJSHover(args=args, code=f"const f = facts.data, q = quotes.data; {code}") for k, code in READOUT_JS.items()}
    return HoverTool(
        renderers=[renderer], point_policy="follow_mouse", attachment="horizontal", formatters=formatters,
        tooltips=f'<table style="background:var(--sm-panel);padding:4px">{body}</table>',
    )  # fmt: skip


def facts_data(
    layer: coding.Layer, *, tick_size: float, k_ref: int, step: int, window_s: int, x0: float, pool: int = 1
) -> dict[str, list[object]]:
    """What the read-out and the second axis need to know, one row; `x0` is the start of a window, `pool` the windows in a column."""
    signed = layer.kind == "signed"
    title = layer.title if pool == 1 else f"{layer.title}, {'of all' if signed else 'most of'} {pool} windows:"
    return {
        "k": [k_ref], "size": [tick_size], "digits": [axes.decimals(tick_size)], "step": [step], "w": [window_s * 1000 * pool], "x0": [x0],
        "signed": [signed], "sided": [layer.key == "depth" and pool == 1 and step == 1], "title": [title],
    }  # fmt: skip
