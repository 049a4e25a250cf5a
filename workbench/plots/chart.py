"""The Level view's main picture: pressure heatmap, outlined candles and levels on one price axis and one time axis.

`level_chart` makes the empty figure once; the functions after it make the data that is patched into it, so that a
change costs one message of bytes and no new figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr
from bokeh.core.properties import value
from bokeh.models import (
    CategoricalColorMapper,
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    GlyphRenderer,
    HSpan,
    Image,
    Label,
    LinearAxis,
    LinearColorMapper,
    PanTool,
    Quad,
    Range1d,
    ResetTool,
    SaveTool,
    Segment,
    Span,
    Step,
    Text,
    VBar,
    WheelZoomTool,
)
from bokeh.plotting import figure

from engine.vocab import NS
from workbench.plots import axes, coding, readout
from workbench.theme import FONT, Theme, side_palette, signed_palette, unsigned_palette

BAR_MS = 120_000.0
LEFT, RIGHT, TOP, BOTTOM = 78, 104, 24, 22
"""Borders in px, the same in every figure of a column or row, so that axes of different figures line up."""

EMPTY: dict[str, dict[str, list[object]]] = {
    "heat": {k: [] for k in ("image", "value", "x", "y", "dw", "dh")},
    "candles": {k: [] for k in ("x", "low", "high", "top", "bottom", "up", "width")},
    "quotes": {k: [] for k in ("x", "bid", "ask")},
    "levels": {k: [] for k in ("x0", "x1", "y", "chosen", "colour")},
    "names": {k: [] for k in ("x", "y", "text", "colour", "edge", "tick")},
    "zones": {k: [] for k in ("y", "text")},
    "invalid": {k: [] for k in ("left", "right", "text")},
    "facts": {k: [] for k in ("k", "size", "digits", "step", "w", "x0", "signed", "sided", "title")},
}


@dataclass
class ChartParts:
    """The figure and what is patched in it."""

    figure: figure
    sources: dict[str, ColumnDataSource]
    mapper: LinearColorMapper
    mark: Label
    cursor: Span
    cross: CrosshairTool
    distance: Range1d
    ink: CategoricalColorMapper
    renderers: dict[str, GlyphRenderer]


def level_chart(theme: Theme, tick_size: float, *, height: int = 520) -> ChartParts:
    """An empty chart with axes, tools and sources; y is in ticks, labelled in price and in ticks from the level.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> level_chart(DARK, 0.25).figure.name
    'level_chart'
    """
    src = {k: ColumnDataSource({c: list(v) for c, v in d.items()}, name=k) for k, d in EMPTY.items()}
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
    fig.add_layout(
        LinearAxis(y_range_name="distance", axis_label="ticks from level", formatter=axes.distance_formatter(), ticker=axes.tick_ticker()),
        "left",
    )
    # The two sides of the axis stay in step while the trader pans and zooms, without asking the server.
    follow = CustomJS(
        args={"y": fig.y_range, "d": distance, "facts": src["facts"]},
        code="const k = Number(facts.data.k[0] ?? 0); d.setv({start: y.start - k, end: y.end - k})",
    )
    fig.y_range.js_on_change("start", follow)
    fig.y_range.js_on_change("end", follow)
    made: dict[str, GlyphRenderer] = {}
    made["invalid"] = axes.add(
        fig, Quad, src["invalid"], left="left", right="right", bottom=-1e7, top=1e7, fill_alpha=0.12, hatch_pattern="/", hatch_scale=9,
        hatch_alpha=0.55, line_color=None, level="underlay",
    )  # fmt: skip
    made["heat"] = axes.add(fig, Image, src["heat"], image="image", x="x", y="y", dw="dw", dh="dh", color_mapper=mapper, level="underlay")
    made["zones"] = axes.add(fig, HSpan, src["zones"], y="y", line_dash=[1, 5], line_width=1)
    for side in ("bid", "ask"):
        made[f"{side}_casing"] = axes.add(fig, Step, src["quotes"], x="x", y=side, mode="after", line_width=3.6, line_alpha=0.7)
        made[side] = axes.add(fig, Step, src["quotes"], x="x", y=side, mode="after", line_width=1.7)
    wick = {"x0": "x", "y0": "low", "x1": "x", "y1": "high"}
    body = {"x": "x", "width": "width", "top": "top", "bottom": "bottom"}
    line = {"x0": "x0", "y0": "y", "x1": "x1", "y1": "y"}
    colour = axes.ink(ink := axes.ink_mapper(theme))
    # Of the two colours only the palettes change with the theme, not the data.
    lines, fills = (LinearColorMapper(palette=[theme.text] * 2, low=-0.5, high=1.5, name=f"candle_{k}") for k in ("lines", "fills"))
    line_color, fill_color = ({"field": "up", "transform": mapper} for mapper in (lines, fills))
    made["wick_casing"] = axes.add(fig, Segment, src["candles"], **wick, line_width=4.5)
    made["body_casing"] = axes.add(fig, VBar, src["candles"], **body, fill_color=None, line_width=4.5)
    made["wick"] = axes.add(fig, Segment, src["candles"], **wick, line_width=1.8, line_color=line_color)
    made["body"] = axes.add(fig, VBar, src["candles"], **body, fill_color=fill_color, line_color=line_color, line_width=1.8, fill_alpha=0.9)
    made["levels_casing"] = axes.add(fig, Segment, src["levels"], **line, line_width=4)
    made["levels"] = axes.add(fig, Segment, src["levels"], **line, line_width="chosen", line_color=colour, line_dash=[6, 3])
    made["leaders"] = axes.add(fig, Segment, src["names"], x0="edge", y0="tick", x1="x", y1="y", line_width=1.5, line_color=colour)
    made["names"] = axes.add(
        fig, Text, src["names"], x="x", y="y", text="text", text_font=value(FONT), text_font_size="13px", text_font_style="bold",
        text_baseline="middle", text_align="right", text_color=colour, padding=2, border_radius=3, background_fill_alpha=0.86,
    )  # fmt: skip
    # On the canvas itself, so that a saved picture carries it.
    mark = Label(
        x=10, y=8, x_units="screen", y_units="screen", text="SIMULATED MARKET", text_font=FONT, text_font_size="12px",
        text_font_style="bold", padding=3, border_radius=3, background_fill_alpha=0.82, visible=False,
    )  # fmt: skip
    fig.add_layout(mark)
    cursor = Span(dimension="height", line_width=1.5, line_dash=[3, 3])
    fig.add_layout(cursor)
    hover = readout.hover(src["facts"], src["quotes"], made["heat"])
    # At the bounds of the session a zoom goes on to the other side instead of stopping.
    wheel = WheelZoomTool(dimensions="width", maintain_focus=False)
    cross = CrosshairTool(line_alpha=0.45)
    fig.add_tools(PanTool(), wheel, WheelZoomTool(dimensions="height", maintain_focus=False), ResetTool(), SaveTool(), cross, hover)
    fig.toolbar.active_scroll = wheel
    fig.toolbar.logo = None
    fig.toolbar.autohide = False
    parts = ChartParts(fig, src, mapper, mark, cursor, cross, distance, ink, made)
    dress_chart(parts, theme)
    return parts


def dressing(parts: ChartParts, theme: Theme) -> axes.Dress:
    """What `theme` sets on the chart, but for the heatmap's palette."""
    r = {name: renderer.glyph for name, renderer in parts.renderers.items()}
    casings = ("wick_casing", "body_casing", "levels_casing", "bid_casing", "ask_casing")
    return [
        *axes.dressing(parts.figure, theme),
        (r["body"].line_color["transform"], {"palette": [theme.candle_down, theme.candle_up]}),
        (r["body"].fill_color["transform"], {"palette": [theme.candle_down + "b0", theme.casing + "30"]}),
        (parts.ink, {"palette": axes.inks(theme)}),
        (r["invalid"], {"fill_color": theme.invalid, "hatch_color": theme.invalid}),
        (r["zones"], {"line_color": theme.muted}),
        (r["bid"], {"line_color": theme.long}),
        (r["ask"], {"line_color": theme.short}),
        *((r[k], {"line_color": theme.casing}) for k in casings),
        (r["names"], {"background_fill_color": theme.page}),
        (parts.mark, {"text_color": theme.text, "background_fill_color": theme.page}),
        (parts.cursor, {"line_color": theme.text}),
        (parts.cross, {"line_color": theme.muted}),
    ]


def dress_chart(parts: ChartParts, theme: Theme) -> None:
    """Put `theme` on the chart."""
    axes.put_on(dressing(parts, theme))


def palette_of(theme: Theme, layer: coding.Layer, preset: str) -> list[str]:
    """The 256 colours that `layer` is painted with."""
    if layer.kind == "signed":
        return list(signed_palette(theme))
    if layer.kind in ("long", "short"):
        return list(side_palette(theme, layer.kind))
    return list(unsigned_palette(theme, preset))


def heat_data(cube: xr.Dataset, layer: coding.Layer, top: float, pool: int = 1) -> dict[str, list[object]]:
    """Source of the heatmap: codes to paint and exact values to hover, one image of shape (rows, columns).

    A column is `pool` windows, and shows of each price the window with the most in it; of a signed layer, all of them together.
    """
    shown = coding.pooled(cube, layer, pool)
    begin = cube["window_start_ts_ns"].to_numpy()
    end = cube["window_end_ts_ns"].to_numpy()
    tick = cube["tick"].to_numpy()
    step = int(cube.attrs.get("step_ticks", 1))
    x0 = float(axes.x_ms(begin[0], begin[0]))
    x1 = x0 + shown.shape[0] * pool * (end[0] - begin[0]) / 1e6
    return {
        "image": [np.ascontiguousarray(coding.codes(shown, layer, top).T)],
        "value": [readout.for_hover(shown.T)],
        "x": [x0],
        "y": [float(tick[0]) - 0.5],
        "dw": [x1 - x0],
        "dh": [float(tick.size * step)],
    }


def candle_data(bars: pl.DataFrame, day_ts_ns: int) -> dict[str, object]:
    """Source of the candles from ``bars_2m``: rising bodies hollow, falling ones filled, so colour does not stand alone."""
    o, c = bars["open_tick"].to_numpy(), bars["close_tick"].to_numpy()
    up = c >= o
    # A body of no height would vanish: the quarter tick keeps its bar visible.
    return {
        "x": axes.x_ms(bars["window_start_ts_ns"].to_numpy(), day_ts_ns) + BAR_MS / 2,
        "low": bars["low_tick"].to_numpy().astype(float),
        "high": bars["high_tick"].to_numpy().astype(float),
        "top": np.maximum(o, c) + np.where(o == c, 0.12, 0.0),
        "bottom": np.minimum(o, c) - np.where(o == c, 0.12, 0.0),
        "up": up.astype(float),
        "width": np.full(o.size, BAR_MS * 0.5),
    }


def quote_data(tape: pl.DataFrame, day_ts_ns: int, step_s: int = 1) -> dict[str, object]:
    """Source of the best bid and ask lines; gaps where a side is empty, or the book not valid in a second of the window.

    Parameters
    ----------
    tape : pl.DataFrame
        Seconds in order, the first the start of a window; a part of one at the end is left out.
    step_s : int
        Seconds in a window. A window shows the prices at its end, as the heatmap shows what rests at its end; the last one stands
        twice, so that its step ends with it.
    """
    n = tape.height // step_s
    at = tape.gather_every(step_s, offset=step_s - 1).head(n)
    ok = tape["book_valid"].to_numpy().astype(bool)[: n * step_s].reshape(n, step_s).all(axis=1)
    start = tape["window_start_ts_ns"].to_numpy()[: n * step_s : step_s]
    x = axes.x_ms(np.append(start, start[-1:] + step_s * NS), day_ts_ns)
    made: dict[str, object] = {"x": x}
    for side in ("bid", "ask"):
        tick = at[f"best_{side}_tick"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        line = np.where(ok, tick, np.nan)
        made[side] = np.append(line, line[-1:])
    return made


def price_bounds(k: int, rows: int, step: int) -> tuple[float, float]:
    """Price axis, in ticks, of whole rows of `step` ticks from `rows` ticks below `k` to as many above."""
    return (k - rows) // step * step - 0.5, (k + rows) // step * step + step - 0.5


def invalid_data(cube: xr.Dataset) -> dict[str, list[object]]:
    """Source of the hatched stretches in which the book is not valid."""
    begin, end = cube["window_start_ts_ns"].to_numpy(), cube["window_end_ts_ns"].to_numpy()
    spans = coding.invalid_spans(cube["book_valid"].to_numpy())
    return {
        "left": [float(axes.x_ms(begin[a], begin[0])) for a, _ in spans],
        "right": [float(axes.x_ms(end[b - 1], begin[0])) for _, b in spans],
        "text": ["book not valid"] * len(spans),
    }
