"""The day overview: all orders and trades of the session, the levels, the approaches, and the stretch that the chart shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from bokeh import models
from bokeh.models import ColumnDataSource, GlyphRenderer, Image, LinearColorMapper, Range1d, RangeTool, Scatter, Segment, Span
from bokeh.plotting import figure

from workbench.plots import axes, heatmap
from workbench.theme import NO_DATA, Theme, ramp

GAP_WINDOWS = 3
"""Windows of one approach with at most so many others between them are one approach (features.md section 8, gap_windows)."""

FAR_SHARE = 0.35
"""Levels this share of the session's range away from it stay in sight; farther ones would squeeze the day."""


@dataclass
class OverviewParts:
    """The figure and what is patched in it."""

    figure: figure
    day: ColumnDataSource
    mapper: LinearColorMapper
    levels: ColumnDataSource
    approaches: ColumnDataSource
    tool: RangeTool
    cursor: Span
    ink: models.CategoricalColorMapper
    renderers: dict[str, GlyphRenderer]


def overview_figure(theme: Theme, x_range: Range1d, tick_size: float, *, height: int = 104) -> OverviewParts:
    """An empty overview whose box moves the chart's `x_range`.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> overview_figure(DARK, Range1d(0, 1), 0.25).figure.name
    'overview'
    """
    day = axes.empty(*axes.IMAGE, name="day")
    levels = axes.empty("x0", "x1", "y", "chosen", "colour")
    approaches = axes.empty("x", "y", "marker", "colour", name="approaches")
    tool = RangeTool(x_range=x_range, start_gesture="pan")
    fig = axes.plain_figure(
        "overview", height=height, min_height=90, sizing_mode="stretch_width", x_range=Range1d(0, 1), y_range=Range1d(0, 1),
        min_border_left=heatmap.LEFT, min_border_right=heatmap.RIGHT, min_border_top=2, min_border_bottom=20, y_axis_location="right",
    )  # fmt: skip
    fig.add_tools(tool)
    fig.xaxis.formatter = axes.time_formatter()
    fig.xaxis.ticker = fig.xgrid.ticker = axes.time_ticker()
    fig.xaxis.axis_label = None
    fig.yaxis.formatter = axes.price_formatter(tick_size)
    fig.yaxis.ticker = axes.tick_ticker()
    fig.yaxis.ticker.desired_num_ticks = 4
    fig.grid.visible = False
    mapper = LinearColorMapper(palette=day_palette(theme), low=-0.5, high=255.5)
    colour = axes.ink(ink := axes.ink_mapper(theme))
    line: axes.Look = {"x0": "x0", "y0": "y", "x1": "x1", "y1": "y", "line_width": "chosen", "line_dash": [4, 3]}
    mark: axes.Look = {"x": "x", "y": "y", "marker": "marker", "size": 8, "line_width": 1, "line_alpha": 0.9}
    made = {
        "day": axes.add(fig, Image, day, **axes.IMAGE, color_mapper=mapper, level="underlay"),
        "levels": axes.add(fig, Segment, levels, **line, line_color=colour),
        "approaches": axes.add(fig, Scatter, approaches, **mark, fill_color=colour),
    }
    cursor = Span(dimension="height", line_width=1.5, line_dash=[3, 3])
    fig.add_layout(cursor)
    parts = OverviewParts(fig, day, mapper, levels, approaches, tool, cursor, ink, made)
    theme_overview(parts, theme)
    return parts


def theme_overview(parts: OverviewParts, theme: Theme) -> None:
    """Put `theme` on the overview."""
    axes.apply_theme(parts.figure, theme, size="11px")
    parts.mapper.palette = day_palette(theme)
    parts.ink.palette = axes.inks(theme)
    parts.renderers["approaches"].glyph.line_color = theme.casing
    parts.tool.overlay.update(fill_color=theme.long, fill_alpha=0.14, line_color=theme.text, line_alpha=0.9, line_width=1.5)
    parts.cursor.line_color = theme.text


def day_data(image: DayImage, start_ns: int, day_ts_ns: int) -> dict[str, list[object]]:
    """Source of the session's orders and trades; the session starts at `start_ns`."""
    rows, columns = image.codes.shape
    x, y = float(axes.x_ms(start_ns, day_ts_ns)), image.low - 0.5
    return axes.columns(axes.IMAGE, [(image.codes, x, y, float(columns * image.column_s * 1000), float(rows * image.row_ticks))])


def approach_data(vacuum: pl.DataFrame, day_ts_ns: int, reach: float) -> dict[str, list[object]]:
    """Source of the marks of approaches to a level, one each, where price was nearest: a triangle pointing the way price went.

    From the level's windows in time order. Marks are `reach` ticks from the level: those of approaches from below are below it.
    """
    columns = ("window_start_ts_ns", "level_tick", "distance_ticks", "approach")
    approach, at = pl.col("approach"), pl.col("at")
    other = (approach != approach.shift()) | (at - at.shift() > GAP_WINDOWS + 1)
    nearest = (
        vacuum.select(columns)
        .with_row_index("at")
        .filter(approach != "approach_none")
        .with_columns(other.fill_null(True).cum_sum().alias("run"))
        .sort("run", pl.col("distance_ticks").abs(), "at")
        .unique("run", keep="first", maintain_order=True)
    )
    up = [a == "approach_up" for a in nearest["approach"]]
    return {
        "x": axes.x_ms(nearest["window_start_ts_ns"].to_numpy(), day_ts_ns).tolist(),
        "y": [k - reach if u else k + reach for k, u in zip(nearest["level_tick"], up)],
        "marker": ["triangle" if u else "inverted_triangle" for u in up],
        "colour": ["long" if u else "short" for u in up],
    }


def price_bounds(low: int, high: int, level_ticks: list[int], chosen: int | None = None) -> tuple[float, float]:
    """Price axis of a session between `low` and `high`, with a margin; levels somewhat away stay in sight, the chosen one farther."""
    span = max(high - low, 8)
    near = [k for k in level_ticks if low - span * FAR_SHARE <= k <= high + span * FAR_SHARE]
    if chosen is not None and low - span <= chosen <= high + span:
        near.append(chosen)
    lo, hi = min([low, *near]), max([high, *near])
    pad = float(np.ceil((hi - lo) * 0.06)) + 1
    return lo - pad, hi + pad


# ----------------------------------------------------------------------------
# A whole session's orders and trades as one image: how much was added at each price and when, with the trades over it (datashader)

COLUMNS, ROWS = 1_440, 160
"""At most so many columns and rows; a column is a whole number of seconds and a row one of ticks, so that no stripes appear."""

ORDERS, TRADES = 96, 159
"""Codes of orders are 1 to `ORDERS`, those of trades follow up to 255; 0 is nothing."""


@dataclass(frozen=True, eq=False)
class DayImage:
    """Codes, uint8 (rows, columns), from the lowest price and the first second on; `low` is the lowest tick of the first row."""

    codes: np.ndarray
    column_s: int
    row_ticks: int
    low: int


def day_image(second: np.ndarray, tick: np.ndarray, added: np.ndarray, traded: np.ndarray, seconds: int, low: int, high: int) -> DayImage:
    """The image of a session's ladder rows.

    Brightness is the logarithm of the contracts in a cell, from one contract to the 99.5% quantile of the cells that have any.

    `second` and `tick` of each row, contracts `added` and `traded` of both sides; the session has so many `seconds`, the image reaches
    from tick `low` to `high`.
    """
    import datashader as ds
    import pandas as pd

    column_s, row_ticks = -(-seconds // COLUMNS), -(-(high - low + 1) // ROWS)
    width, height = -(-seconds // column_s), -(-(high - low + 1) // row_ticks)
    across, up = (0, width * column_s), (low - 0.5, low - 0.5 + height * row_ticks)
    canvas = ds.Canvas(plot_width=width, plot_height=height, x_range=across, y_range=up)
    codes = np.zeros((height, width), np.uint8)
    inside = (tick >= low) & (tick < low + height * row_ticks)
    for amount, first, n in ((added, 1, ORDERS), (traded, ORDERS + 1, TRADES)):
        there = inside & (amount > 0)
        frame = pd.DataFrame({"x": second[there] + 0.5, "y": tick[there].astype(np.float64), "n": amount[there].astype(np.float64)})
        total = canvas.points(frame, "x", "y", ds.sum("n")).to_numpy()
        lit = np.isfinite(total) & (total > 0)
        if lit.any():
            top = max(float(np.quantile(total[lit], 0.995)), 2.0)
            share = np.log(np.minimum(total[lit], top)) / np.log(top)
            codes[lit] = first + np.round(share * (n - 1)).astype(np.uint8)
    return DayImage(codes, column_s, row_ticks, low)


def day_palette(theme: Theme) -> list[str]:
    """256 colours: orders from the ground to a quiet grey, trades from there to the text's own colour."""
    if theme.name == "dark":
        orders, trades = (theme.map_floor, "#2c4460", "#6d8fb3"), ("#9db54a", "#dfe96f", "#ffffe0")
    else:
        orders, trades = (theme.map_floor, "#c3d1de", "#7f99b2"), ("#6f8f1f", "#3f6212", "#12230a")
    return [NO_DATA, *ramp(orders, ORDERS), *ramp(trades, TRADES)]
