"""The four conditions in both directions over the chart's time axis, with the count open, and the same in words at the cursor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, FixedTicker, GlyphRenderer, Image, LinearColorMapper, Quad, Range1d, Span, VAreaStep
from bokeh.plotting import figure

from workbench.plots import axes, heatmap
from workbench.theme import FONT, Theme

CONDITIONS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "down": (
        ("asks retreat", "f1_ask_com_disp_log", 1),
        ("asks pulled > added", "ask_pull_add_log", 1),
        ("bids recede", "f3_bid_com_disp_log", 1),
        ("bids pulled > added", "bid_pull_add_log", 1),
    ),
    "up": (
        ("asks retreat", "u1_ask_com_disp_log", 1),
        ("asks pulled > added", "ask_pull_add_log", 1),
        ("bids approach", "u8_bid_com_approach_log", 1),
        ("bids added > pulled", "bid_pull_add_log", -1),
    ),
}
"""Per direction: the condition in words, the column whose sign opens it, and that sign (features.md section 6)."""

BASE = {"up": 0.0, "down": 7.6}
"""Bottom of each direction's block on the strip's own axis; four rows, then a band of height 2.6 for the count."""

ROWS, BAND = 4.0, 2.6


TOP_Y = BASE["down"] + ROWS + BAND + 0.5

NO_COUNTS: dict[str, object] = {k: [float("nan")] * 2 for k in ("x", *BASE)}
"""Bands of no window at all. Never empty: of an area of no points Bokeh 3.9 walks the outline without end."""


@dataclass
class StripParts:
    """The figure and what is patched in it."""

    figure: figure
    cells: ColumnDataSource
    counts: ColumnDataSource
    invalid: ColumnDataSource
    mapper: LinearColorMapper
    cursor: Span
    renderers: dict[str, GlyphRenderer]


def strip_figure(theme: Theme, *, x_range: Range1d | None = None, height: int = 168) -> StripParts:
    """An empty strip; give it the chart's `x_range` to have both on one time axis.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> strip_figure(DARK).figure.name
    'conditions'
    """
    fig = axes.plain_figure(
        "conditions", height=height, sizing_mode="stretch_width", x_range=x_range or Range1d(0, 1), y_range=Range1d(-0.2, TOP_Y),
        y_axis_location="right", min_border_left=heatmap.LEFT, min_border_right=heatmap.RIGHT, min_border_top=4, min_border_bottom=4,
    )  # fmt: skip
    fig.xaxis.visible = fig.ygrid.visible = False
    fig.xaxis.ticker = fig.xgrid.ticker = axes.time_ticker()
    places = {BASE[d] + ROWS - 0.5 - i: f"{i + 1}" for d in BASE for i in range(4)}
    places |= {BASE[d] + ROWS + BAND / 2: d.upper() for d in ("down", "up")}
    fig.yaxis.ticker = FixedTicker(ticks=sorted(places))
    fig.yaxis.major_label_overrides = places
    mapper = LinearColorMapper(palette=["#000000"] * 4, low=-0.5, high=3.5)
    cells, counts, invalid = axes.empty(*axes.IMAGE), ColumnDataSource(dict(NO_COUNTS)), axes.empty("left", "right")
    made = {
        "invalid": axes.add(fig, Quad, invalid, **heatmap.HATCHED, left="left", right="right", bottom=-5, top=TOP_Y + 5),
        "cells": axes.add(fig, Image, cells, **axes.IMAGE, color_mapper=mapper),
    }
    for d in BASE:
        made[d] = axes.add(fig, VAreaStep, counts, x="x", y1=value(floor(d)), y2=d, step_mode="after", fill_alpha=0.85)
    cursor = Span(dimension="height", line_width=1.5, line_dash=[3, 3])
    fig.add_layout(cursor)
    parts = StripParts(fig, cells, counts, invalid, mapper, cursor, made)
    theme_strip(parts, theme)
    return parts


def strip_theme_values(parts: StripParts, theme: Theme) -> axes.ThemeValues:
    """What `theme` sets on the strip."""
    r = parts.renderers
    return [
        *axes.theme_values(parts.figure, theme, size="12px"),
        *((side, {"major_label_text_font": FONT}) for side in (*parts.figure.left, *parts.figure.right)),
        (parts.mapper, {"palette": ["#00000000", theme.edge, theme.short, theme.long]}),
        (r["down"].glyph, {"fill_color": theme.short}),
        (r["up"].glyph, {"fill_color": theme.long}),
        (r["invalid"].glyph, {"fill_color": theme.invalid, "hatch_color": theme.invalid}),
        (parts.cursor, {"line_color": theme.text}),
    ]


def theme_strip(parts: StripParts, theme: Theme) -> None:
    """Put `theme` on the strip."""
    axes.put_on(strip_theme_values(parts, theme))


def floor(direction: str) -> float:
    """Foot of the count's band, on the strip's own axis."""
    return BASE[direction] + ROWS + 0.15


def condition_cells(frame: pl.DataFrame, direction: str) -> np.ndarray:
    """Cells of a direction's strip, uint8 (4, windows): 0 not known, 1 shut, 2 open; row 0 is condition 4 (the lowest on the strip)."""
    cells = frame.select(pl.col(f"{direction}_{i}").cast(pl.UInt8).add(1).fill_null(0) for i in (4, 3, 2, 1)).to_numpy().T
    return np.ascontiguousarray(cells, dtype=np.uint8)


def grid(frame: pl.DataFrame, window_s: int) -> pl.DataFrame:
    """`frame` with a row for every window between its first and last: a level that has no value for a while leaves nulls."""
    if frame.height == 0:
        return frame
    step = window_s * 1_000_000_000
    begin, last = int(frame["window_start_ts_ns"][0]), int(frame["window_start_ts_ns"][-1])
    if (last - begin) // step + 1 == frame.height:
        return frame
    every = pl.DataFrame({"window_start_ts_ns": np.arange(begin, last + 1, step, dtype=np.int64)})
    return every.join(frame, on="window_start_ts_ns", how="left")


def strip_data(frame: pl.DataFrame, window_s: int, day_ts_ns: int) -> tuple[dict[str, list[object]], dict[str, object]]:
    """Sources of the strip (cells, heights of the counts' bands) from one level's vacuum rows, sorted by window."""
    if frame.height == 0:
        return axes.columns(axes.IMAGE, []), dict(NO_COUNTS)
    full = grid(frame, window_s)
    x = axes.x_ms(full["window_start_ts_ns"].to_numpy(), day_ts_ns)
    width = float(full.height * window_s * 1000)
    # One palette for both directions: what is open is 2 down and 3 up.
    down, up = (condition_cells(full, d) for d in ("down", "up"))
    image = {"down": down, "up": np.where(up == 2, np.uint8(3), up)}
    cells = axes.columns(axes.IMAGE, [(image[d], float(x[0]), BASE[d], width, ROWS) for d in BASE])
    counts: dict[str, object] = {"x": np.append(x, x[0] + width)}
    for d in BASE:
        n = full[f"{d}_open"].cast(pl.Float32).fill_null(0.0).to_numpy()
        counts[d] = (floor(d) + (BAND - 0.3) * np.append(n, n[-1]) / 4).astype(np.float32)
    return cells, counts


MARKS = {None: "–", False: "○", True: "●"}
"""Sign of a condition: not known, shut, open."""


def readings(row: Mapping[str, Any] | None, direction: str) -> tuple[str, list[tuple[str, bool | None, float | None]]]:
    """How many conditions of a window are open, in words; and of each its words, whether it is open, its strength (None: not known)."""
    row = row or {}
    n = row.get(f"{direction}_open")
    read = []
    for i, (title, column, sign) in enumerate(CONDITIONS[direction], start=1):
        strength = row.get(column)
        read.append((f"{i} {title}", row.get(f"{direction}_{i}"), None if strength is None else sign * strength))
    return "not known" if n is None else f"{n} of 4 open", read
