"""The Level view's heatmap: resting size or flow by time and price, the path of price, walls, trades and levels on it.

`level_chart` makes the empty figure once; the functions after it make the data that is patched into it, so that a
change costs one message of bytes and no new figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl
import xarray as xr
from bokeh import models
from bokeh.core.properties import value
from bokeh.models import GlyphRenderer, HSpan, Image, LinearColorMapper, Quad, Range1d, Scatter, Segment, Span, Step, Text, WheelZoomTool
from bokeh.plotting import figure

from engine.features.pressure import net
from engine.session import best_quotes, cube_values, size_top
from workbench.assets import script, style
from workbench.plots import axes
from workbench.theme import FONT, MONO, Theme, side_palette, signed_palette, unsigned_palette

LEFT, RIGHT, TOP, BOTTOM = 78, 104, 24, 22
"""Borders in px, the same in every figure of a column or row, so that axes of different figures line up."""

HATCHED: axes.Look = {"fill_alpha": 0.12, "hatch_pattern": "/", "hatch_scale": 9, "hatch_alpha": 0.55, "line_color": None}
"""Look of stretches in which the book is not valid."""

SOURCES = {
    "heat": ("image", "value", "x", "y", "dw", "dh"),
    "quotes": ("x", "bid", "ask", "last"),
    "walls": ("left", "right", "bottom", "top"),
    "dots": ("x", "y", "size", "colour"),
    "tag": ("x", "y", "text"),
    "levels": ("x0", "x1", "y", "chosen", "colour"),
    "names": ("x", "y", "text", "colour"),
    "zones": ("y", "text"),
    "marks": ("x", "y", "y0", "marker", "size", "said"),
    "invalid": ("left", "right", "text"),
    "facts": ("k", "size", "digits", "step", "w", "x0", "signed", "sided", "title"),
}
"""Columns of each source of the chart."""


@dataclass
class ChartParts:
    """The figure and what is patched in it."""

    figure: figure
    sources: dict[str, models.ColumnDataSource]
    mapper: LinearColorMapper
    mark: models.Label
    cursor: Span
    cross: models.CrosshairTool
    distance: Range1d
    ink: models.CategoricalColorMapper
    renderers: dict[str, GlyphRenderer]


def level_chart(theme: Theme, tick_size: float, *, height: int = 520) -> ChartParts:
    """An empty chart with axes, tools and sources; y is in ticks, labelled in price and in ticks from the level.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> level_chart(DARK, 0.25).figure.name
    'level_chart'
    """
    src = {name: axes.empty(*columns, name=name) for name, columns in SOURCES.items()}
    mapper = LinearColorMapper(palette=list(unsigned_palette(theme, "perceptual")), low=-0.5, high=255.5)
    fig = figure(
        name="level_chart", height=height, sizing_mode="stretch_both", x_range=Range1d(0, 1), y_range=Range1d(0, 1),
        toolbar_location="above", tools=[], output_backend="canvas", min_border_left=LEFT, min_border_right=RIGHT,
        min_border_top=TOP, min_border_bottom=BOTTOM, y_axis_location="right", y_axis_label="price", lod_threshold=None,
    )  # fmt: skip
    fig.xaxis.formatter = axes.time_formatter()
    fig.xaxis.ticker = fig.xgrid.ticker = axes.time_ticker()
    for grid in fig.grid:
        grid.level = "image"  # below the heatmap: its cells are read, not counted along lines
    fig.right[0].name = "price"
    fig.yaxis.formatter = axes.price_formatter(tick_size)
    fig.yaxis.ticker = axes.tick_ticker()
    distance = Range1d(-1, 1, name="distance")
    fig.extra_y_ranges = {"distance": distance}
    left = {"y_range_name": "distance", "axis_label": "ticks from level"}
    fig.add_layout(models.LinearAxis(**left, formatter=axes.distance_formatter(), ticker=axes.tick_ticker()), "left")
    sides = {"prices": fig.y_range, "distances": distance, "facts": src["facts"]}
    follow = models.CustomJS(args=sides, code=script("bokeh_bridge", "distance_axis"))
    for side in ("start", "end"):
        fig.y_range.js_on_change(side, follow)
    made: dict[str, GlyphRenderer] = {}

    def draw(name: str, kind: type[models.Glyph], source: str, **look: Any) -> None:
        made[name] = axes.add(fig, kind, src[source], **look)

    line = {"x0": "x0", "y0": "y", "x1": "x1", "y1": "y"}
    colour = axes.ink(ink := axes.ink_mapper(theme))
    draw("invalid", Quad, "invalid", **HATCHED, left="left", right="right", bottom=-1e7, top=1e7, level="underlay")
    draw("heat", Image, "heat", **axes.IMAGE, color_mapper=mapper, level="underlay")
    draw("zones", HSpan, "zones", y="y", line_dash=[1, 5], line_width=1)
    # Hollow: what they mark shows through.
    hollow: axes.Look = {"x": "x", "y": "y", "marker": "marker", "size": "size", "fill_color": None}
    draw("swept_casing", Segment, "marks", x0="x", y0="y0", x1="x", y1="y", line_width=4)
    draw("swept", Segment, "marks", x0="x", y0="y0", x1="x", y1="y", line_width=1.8)
    draw("marks_casing", Scatter, "marks", **hollow, line_width=3.6)
    draw("marks", Scatter, "marks", **hollow, line_width=1.5)
    draw("walls", Quad, "walls", left="left", right="right", bottom="bottom", top="top", fill_color=None, line_width=1.6)
    draw("levels_casing", Segment, "levels", **line, line_width=4)
    draw("levels", Segment, "levels", **line, line_width="chosen", line_color=colour, line_dash=[6, 3])
    step = {"x": "x", "y": "last", "mode": "after"}
    draw("path_casing", Step, "quotes", **step, line_width=4.4, line_alpha=0.85)
    draw("path", Step, "quotes", **step, line_width=1.9)
    draw("dots", Scatter, "dots", x="x", y="y", size="size", fill_color=colour, fill_alpha=0.7, line_width=1.2)
    draw(
        "names", Text, "names", x="x", y="y", text="text", text_font=value(FONT), text_font_size="13px", text_font_style="bold",
        text_baseline="middle", text_align="right", text_color=colour, padding=2, border_radius=3, background_fill_alpha=0.86,
    )  # fmt: skip
    draw(
        "tag", Text, "tag", x="x", y="y", text="text", text_font=value(MONO), text_font_size="13px", text_font_style="bold",
        text_baseline="middle", text_align="left", padding=2, border_radius=3,
    )  # fmt: skip
    # On the canvas itself, so that a saved picture carries it.
    mark = models.Label(
        x=10, y=8, x_units="screen", y_units="screen", text="SIMULATED MARKET", text_font=FONT, text_font_size="12px",
        text_font_style="bold", padding=3, border_radius=3, background_fill_alpha=0.82, visible=False,
    )  # fmt: skip
    cursor = Span(dimension="height", line_width=1.5, line_dash=[3, 3])
    for annotation in (mark, cursor):
        fig.add_layout(annotation)
    # At the bounds of the session a zoom goes on to the other side instead of stopping.
    wheels = [WheelZoomTool(dimensions=d, maintain_focus=False) for d in ("width", "height")]
    cross = models.CrosshairTool(line_alpha=0.45)
    hover = readout_hover(src["facts"], src["quotes"], made["heat"])
    said = models.HoverTool(renderers=[made["marks"]], tooltips="<b>@said</b>", attachment="vertical")
    fig.add_tools(models.PanTool(), *wheels, models.ResetTool(), models.SaveTool(), cross, hover, said)
    fig.toolbar.update(active_scroll=wheels[0], logo=None, autohide=False)
    parts = ChartParts(fig, src, mapper, mark, cursor, cross, distance, ink, made)
    theme_chart(parts, theme)
    return parts


def chart_theme_values(parts: ChartParts, theme: Theme) -> axes.ThemeValues:
    """What `theme` sets on the chart, but for the heatmap's palette."""
    r = {name: renderer.glyph for name, renderer in parts.renderers.items()}
    return [
        *axes.theme_values(parts.figure, theme),
        (parts.ink, {"palette": axes.inks(theme)}),
        (r["invalid"], {"fill_color": theme.invalid, "hatch_color": theme.invalid}),
        (r["zones"], {"line_color": theme.muted}),
        (r["swept"], {"line_color": theme.wall}),
        (r["marks"], {"line_color": theme.wall}),
        (r["path"], {"line_color": theme.text}),
        (r["walls"], {"line_color": theme.wall}),
        (r["dots"], {"line_color": theme.casing}),
        (r["tag"], {"text_color": theme.page, "background_fill_color": theme.text}),
        *((glyph, {"line_color": theme.casing}) for name, glyph in r.items() if name.endswith("_casing")),
        (r["names"], {"background_fill_color": theme.page}),
        (parts.mark, {"text_color": theme.text, "background_fill_color": theme.page}),
        (parts.cursor, {"line_color": theme.text}),
        (parts.cross, {"line_color": theme.muted}),
    ]


def theme_chart(parts: ChartParts, theme: Theme) -> None:
    """Put `theme` on the chart."""
    axes.put_on(chart_theme_values(parts, theme))


def palette_of(theme: Theme, layer: Layer, preset: str) -> list[str]:
    """The 256 colours that `layer` is painted with."""
    if layer.kind == "signed":
        return list(signed_palette(theme))
    return list(unsigned_palette(theme, preset) if layer.kind == "map" else side_palette(theme, layer.kind))


def heat_data(cube: xr.Dataset, layer: Layer, top: float, pool: int = 1) -> dict[str, list[object]]:
    """Source of the heatmap: codes to paint and exact values to hover, one image of shape (rows, columns).

    A column is `pool` windows, and shows of each price the window with the most in it; of a signed layer, all of them together.
    """
    shown = pooled(cube, layer, pool)
    begin, end, tick = (cube[k].to_numpy() for k in ("window_start_ts_ns", "window_end_ts_ns", "tick"))
    x0 = float(axes.x_ms(begin[0], begin[0]))
    x1 = x0 + shown.shape[0] * pool * (end[0] - begin[0]) / 1e6
    return {
        "image": [np.ascontiguousarray(codes(shown, layer, top).T)], "value": [for_hover(shown.T)], "x": [x0], "y": [float(tick[0]) - 0.5],
        "dw": [x1 - x0], "dh": [float(tick.size * int(cube.attrs.get("step_ticks", 1)))],
    }  # fmt: skip


MARKERS = {"large": "square", "iceberg": "diamond", "absorbed": "circle", "pulled": "x", "sweep": "triangle"}
"""Marker of each mark of `engine.features.wall_orders.order_marks`; a sweep that sells points down."""

MARK_WORDS = {
    "large": "large order of {size:,}, {side}", "iceberg": "iceberg shows {size:,} again, {side}: refill {count}, {traded:,} traded",
    "absorbed": "{size:,} absorbed, {side}", "pulled": "{size:,} pulled before price came, {side}",
    "sweep": "sweep of {size:,} through {count} prices",
}  # fmt: skip


MOST_MARKS = 40
"""More marks of orders than these hide what they mark: the largest stay."""


def mark_data(marks: pl.DataFrame, day_ts_ns: int) -> dict[str, list[object]]:
    """Source of the marks of `engine.features.wall_orders.order_marks`: the larger what it marks, the larger a mark is.

    Examples
    --------
    >>> row = {"ts_ns": [0], "mark": ["large"], "side": ["A"], "tick": [4], "to_tick": [4], "size": [40], "traded": [0], "count": [0]}
    >>> mark_data(pl.DataFrame(row), 0)["said"]
    ['large order of 40, ask']
    """
    out: dict[str, list[object]] = {k: [] for k in SOURCES["marks"]}
    marks = marks.sort("size", descending=True, maintain_order=True).head(MOST_MARKS).sort("ts_ns", maintain_order=True)
    x = axes.x_ms(marks["ts_ns"].to_numpy(), day_ts_ns).tolist()
    for at, r in zip(x, marks.iter_rows(named=True)):
        marker = "inverted_triangle" if (r["mark"], r["side"]) == ("sweep", "A") else MARKERS[r["mark"]]
        said = MARK_WORDS[r["mark"]].format(**r | {"side": "bid" if r["side"] == "B" else "ask"})
        row = at, r["to_tick"], r["tick"], marker, min(4.0 + float(np.log2(max(r["size"], 1) / 8 + 1)), 12.0), said
        for k, v in zip(out, row):
            out[k].append(v)
    return out


def quote_data(tape: pl.DataFrame, day_ts_ns: int, step_s: int = 1) -> dict[str, np.ndarray]:
    """Source of best bid, best ask and last trade; gaps where a side is empty, or the book not valid in a second of the window.

    Seconds of `tape` are in order, the first the start of a window; a part of one at the end is left out. A window of `step_s` seconds
    shows the prices at its end, as the heatmap shows what rests at its end; the last one is there twice, so that its step ends with it.
    """
    made = best_quotes(tape, step_s)
    traded = tape["last_tick"].to_numpy()[step_s - 1 :: step_s][: made.bid.size - 1].astype(float) if tape.height >= step_s else np.zeros(0)
    last = np.append(traded, traded[-1:])
    return {"x": axes.x_ms(made.edges_ns, day_ts_ns), "bid": made.bid, "ask": made.ask, "last": last}


def price_bounds(k: int, rows: int, step: int) -> tuple[float, float]:
    """Price axis, in ticks, of whole rows of `step` ticks from `rows` ticks below `k` to as many above."""
    return (k - rows) // step * step - 0.5, (k + rows) // step * step + step - 0.5


NOT_VALID, NEAR_ONLY = "book not valid", "book known near the touch only"


def invalid_data(cube: xr.Dataset) -> dict[str, list[Any]]:
    """Source of the hatched stretches in which the book is not valid; what is known there is painted over them."""
    begin, end = cube["window_start_ts_ns"].to_numpy(), cube["window_end_ts_ns"].to_numpy()
    near = near_windows(cube)
    spans = invalid_spans(cube["book_valid"].to_numpy())
    return {
        "left": [float(axes.x_ms(begin[a], begin[0])) for a, _ in spans],
        "right": [float(axes.x_ms(end[b - 1], begin[0])) for _, b in spans],
        "text": [NEAR_ONLY if near[a:b].any() else NOT_VALID for a, b in spans],
    }


def near_windows(cube: xr.Dataset) -> np.ndarray:
    """Windows in which the book is not valid, but known near the touch."""
    return np.asarray(~cube["book_valid"].to_numpy().astype(bool) & (cube["known_low"] <= cube["known_high"]).to_numpy())


# ----------------------------------------------------------------------------
# From exact values to the 256 codes a picture is painted with, and back to the legend's numbers


@dataclass(frozen=True)
class Layer:
    """A switchable layer of the heatmap.

    `parts` are the cube's variables summed into it; `kind` picks its colours: ``map`` (perceptual or bookmap),
    ``long``, ``short`` (one hue) or ``signed``.
    """

    key: str
    title: str
    parts: tuple[str, ...]
    kind: str
    meaning: str
    unit: str = "contracts"


LAYERS: dict[str, Layer] = {
    la.key: la
    for la in (
        Layer("depth", "Resting", ("bid_depth", "ask_depth"), "map", "resting size at the window's end"),
        Layer("add", "Add", ("bid_add", "ask_add"), "map", "size that arrived"),
        Layer("pull", "Pull", ("bid_pull", "ask_pull"), "map", "size that left without trading"),
        Layer("fill", "Fill", ("bid_fill", "ask_fill"), "map", "size that traded"),
        Layer("long", "Long", ("long",), "long", "bid add + ask pull + ask fill"),
        Layer("short", "Short", ("short",), "short", "ask add + bid pull + bid fill"),
        Layer("net", "Net", ("net",), "signed", "(long − short) / (long + short + 1)", "share"),
    )
}


def values(cube: xr.Dataset, layer: Layer) -> np.ndarray:
    """Exact values of `layer`, shape (windows, rows), float32; NaN where the book is not valid."""
    return cube_values(cube, layer.parts)


def _blocks(shown: np.ndarray, pool: int) -> np.ndarray:
    """Windows in blocks of `pool`, shape (ceil(windows / pool), pool, rows), the last one filled up with NaN."""
    gap = -shown.shape[0] % pool
    return np.pad(shown, ((0, gap), (0, 0)), constant_values=np.nan).reshape(-1, pool, shown.shape[1])


def pool_windows(shown: np.ndarray, pool: int) -> np.ndarray:
    """Of every `pool` windows the value furthest from zero, shape (ceil(windows / pool), rows); NaN only where all of them are."""
    if pool == 1:
        return shown
    blocks = _blocks(shown, pool)
    size = np.where(np.isnan(blocks), -1.0, np.abs(blocks))
    return np.take_along_axis(blocks, size.argmax(axis=1)[:, None, :], axis=1)[:, 0]


def pool_net(long: np.ndarray, short: np.ndarray, pool: int) -> np.ndarray:
    """The balance of flow over every `pool` windows, as if they were one; of single windows the loudest would be noise.

    Flows have shape (windows, rows), the balance (ceil(windows / pool), rows), float32; NaN where no window's book is valid.
    """
    flows = {"long": _blocks(long, pool), "short": _blocks(short, pool)}
    sums = {name: np.nansum(blocks, axis=1, dtype=np.float64) for name, blocks in flows.items()}
    return np.where(np.isfinite(flows["short"]).any(axis=1), net(sums), np.nan).astype(np.float32)


def pooled(cube: xr.Dataset, layer: Layer, pool: int) -> np.ndarray:
    """Exact values of `layer` in columns of `pool` windows, shape (ceil(windows / pool), rows), float32."""
    if layer.kind == "signed" and pool > 1:
        return pool_net(cube["long"].to_numpy(), cube["short"].to_numpy(), pool)
    return pool_windows(values(cube, layer), pool)


def scale_top(shown: np.ndarray, layer: Layer) -> float:
    """Top of the colour scale for `layer`: 1 for shares, else a round number at the 99.5% quantile of what is not zero."""
    return 1.0 if layer.kind == "signed" else size_top(shown)


def codes(shown: np.ndarray, layer: Layer, top: float) -> np.ndarray:
    """Codes of `shown`, uint8, same shape.

    0 is no data. One-signed layers: 1 is zero, 255 is `top` and more, in between the square root of the value, so that
    a wall of 400 and a row of 20 both keep their place. Signed layers: 128 is zero, 1 and 255 are -1 and +1.
    """
    # In place on one float32 buffer: this runs on every repaint, over some 2500 x 80 cells.
    if layer.kind == "signed":
        out = np.clip(shown, -1, 1)
        out *= 127
        out += 128
    else:
        out = np.clip(shown, 0, top)
        out /= top
        np.sqrt(out, out=out)
        out *= 254
        out += 1
    out += 0.5
    np.nan_to_num(out, copy=False, nan=0.0)
    return out.astype(np.uint8)


MOST_TIMES = 8.0
"""Resting size of so many times the typical one, and more, has the last colour."""


def times_codes(times: np.ndarray) -> np.ndarray:
    """Codes of resting size in multiples of the typical one, uint8, same shape: figure and ground.

    0 is no data, 1 is up to the typical size, 255 is `MOST_TIMES` and more; in between a doubling is as far as the next.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        out = np.log2(np.clip(times, 1.0, MOST_TIMES)) * (254 / np.log2(MOST_TIMES)) + 1.5
    return np.nan_to_num(out, nan=0.0).astype(np.uint8)


def legend_marks(layer: Layer, top: float, typical: float | None = None) -> list[tuple[float, str]]:
    """Marks of the legend: (place along the bar 0..1, text); with `typical`, the size that is usual, in multiples of it."""
    if typical is not None:
        marks = [(float(np.log2(m) / np.log2(MOST_TIMES)), f"{m}× {m * typical:,.0f}") for m in (2, 4)]
        return [(0.0, f"≤1× {typical:,.0f}"), *marks, (1.0, f"≥{MOST_TIMES:g}× {MOST_TIMES * typical:,.0f}")]
    if layer.kind == "signed":
        return [(0.0, "−1 short"), (0.5, "0"), (1.0, "+1 long")]
    marks = [(float(np.sqrt(f)), f"{top * f:,.0f}") for f in (0.0, 0.1, 0.3, 0.6)]
    return [*marks, (1.0, f"≥{top:,.0f}")]


def invalid_spans(valid: np.ndarray) -> list[tuple[int, int]]:
    """Half-open index spans of `valid` in which the book is not valid."""
    bad = np.concatenate(([False], ~np.asarray(valid, dtype=bool), [False]))
    edge = np.flatnonzero(np.diff(bad.astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edge[::2], edge[1::2])]


# ----------------------------------------------------------------------------
# The colour scale as a line of HTML: what the layer means, in contracts, with the marks of its square-root scale


def legend_html(
    layer: Layer,
    top: float,
    palette: list[str],
    theme: Theme,
    window_s: int,
    half_life_s: float = 0.0,
    pool: int = 1,
    typical: float | None = None,
) -> str:
    """Colour bar of `layer` with its marks, unit and meaning; says where flow fades, and where a column is several windows.

    With `typical` (contracts) its colours are multiples of the size that is usual at a distance from price.
    """
    stops = ",".join(palette[1 + round(i * 254 / 15)] for i in range(16))
    marks = "".join(
        f"<span class='mark' style='left:{place * 100:.1f}%;transform:translateX({-place * 100:.0f}%)'>{escape(text)}</span>"
        for place, text in legend_marks(layer, top, typical)
    )
    signed = layer.kind == "signed"
    if layer.key == "depth":
        per = "" if pool == 1 else f", most of {pool} windows"
    elif pool == 1:
        per = f", per {window_s} s window"
    else:
        per = f", per {window_s * pool} s column" if signed else f", most of {pool} windows of {window_s} s"
    if half_life_s > 0 and layer.kind in ("long", "short", "signed"):
        per += f", half-life {half_life_s:g} s"
    unit = "contracts" if layer.unit == "contracts" else "share of flow"
    what = escape(layer.meaning) + per + ("" if signed else f", {unit}")
    if typical is not None:
        what = f"resting size{per}: times the usual at its distance, contracts near price"
    said = f"Colour scale: {escape(layer.title)}, 0 to {top:g} {unit}"
    return (
        f"<style>{style('legend')}</style><div class='legend' role='img' aria-label='{said}' style='color:{theme.muted}'>"
        f"<span class='what'>{what}</span><span class='scale'><span class='colours' style='border-color:{theme.edge};"
        f"background:linear-gradient(90deg,{stops})'></span><span class='marks' style='color:{theme.text}'>{marks}</span></span></div>"
    )


# ----------------------------------------------------------------------------
# The read-out under the pointer: New York time, price, ticks from the level, and the exact size, computed in the browser

NO_BOOK = 65_535
"""What means "book not valid" among whole numbers."""

READOUT = {"$x": ("New York", "time"), "$y": ("price", "price"), "@y": ("from level", "distance"), "@value": ("size", "size")}
"""Of each line of the read-out its name, and which of ``js/readout_line.js`` it is."""


def for_hover(shown: np.ndarray) -> np.ndarray:
    """Exact values in half the bytes where they are whole and small enough, as sizes are; else float32."""
    if shown.size and float(np.nanmax(shown, initial=0)) < NO_BOOK and float(np.nanmin(shown, initial=0)) >= 0:
        whole = np.nan_to_num(shown, nan=NO_BOOK).astype(np.uint16)
        known = np.isfinite(shown)
        if np.array_equal(whole[known], shown[known]):
            return np.ascontiguousarray(whole)
    return np.ascontiguousarray(shown)


def readout_hover(facts: models.ColumnDataSource, quotes: models.ColumnDataSource, renderer: GlyphRenderer) -> models.HoverTool:
    """The read-out over `renderer`."""
    body = "".join(f"<tr><td>{name}</td><td>{v}{{custom}}</td></tr>" for v, (name, _) in READOUT.items())
    # The numbers come from data sources: new formatters would make the server walk the whole document (some 40 ms).
    args = {"facts": facts, "quotes": quotes}
    lines = {k: script("readout", "readout_line", KIND=kind, NO_BOOK=NO_BOOK) for k, (_, kind) in READOUT.items()}
    formatters = {k: models.CustomJSHover(args=args, code=code) for k, code in lines.items()}
    return models.HoverTool(
        renderers=[renderer], point_policy="follow_mouse", attachment="horizontal", formatters=formatters,
        tooltips=f"<table><style>{style('readout')}</style>{body}</table>",  # a style before the table would be dropped
    )  # fmt: skip


def facts_data(
    layer: Layer, *, tick_size: float, k_ref: int, step: int, window_s: int, x0: float, pool: int = 1
) -> dict[str, list[object]]:
    """What the read-out and the second axis need to know, one row; `x0` is the start of a window, `pool` the windows in a column."""
    signed = layer.kind == "signed"
    title = layer.title if pool == 1 else f"{layer.title}, {'of all' if signed else 'most of'} {pool} windows:"
    return {
        "k": [k_ref], "size": [tick_size], "digits": [axes.decimals(tick_size)], "step": [step], "w": [window_s * 1000 * pool], "x0": [x0],
        "signed": [signed], "sided": [layer.key == "depth" and pool == 1 and step == 1], "title": [title],
    }  # fmt: skip
