"""The whole session in one band: the candles' closes, the levels, and the stretch that the chart shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from bokeh.models import ColumnDataSource, GlyphRenderer, Line, Range1d, RangeTool, Segment, Span, VArea
from bokeh.plotting import figure

from workbench.plots import axes, chart
from workbench.theme import Theme


@dataclass
class OverviewParts:
    """The figure and what is patched in it."""

    figure: figure
    price: ColumnDataSource
    levels: ColumnDataSource
    tool: RangeTool
    cursor: Span
    renderers: dict[str, GlyphRenderer]


def overview_figure(theme: Theme, x_range: Range1d, tick_size: float, *, height: int = 66) -> OverviewParts:
    """An empty overview whose box moves the chart's `x_range`."""
    price = ColumnDataSource({"x": [], "low": [], "high": [], "close": []})
    levels = ColumnDataSource({k: [] for k in ("x0", "x1", "y", "chosen", "colour")})
    tool = RangeTool(x_range=x_range, start_gesture="pan")
    fig = figure(
        name="overview", height=height, sizing_mode="stretch_width", x_range=Range1d(0, 1), y_range=Range1d(0, 1), toolbar_location=None,
        tools=[tool], output_backend="canvas", min_border_left=chart.LEFT, min_border_right=chart.RIGHT, min_border_top=2,
        min_border_bottom=20, y_axis_location="right",
    )  # fmt: skip
    fig.xaxis.formatter = axes.time_formatter()
    fig.xaxis.ticker = fig.xgrid.ticker = axes.time_ticker()
    fig.xaxis.axis_label = None
    fig.yaxis.formatter = axes.price_formatter(tick_size)
    fig.yaxis.ticker = axes.tick_ticker()
    fig.yaxis.ticker.desired_num_ticks = 2
    fig.grid.visible = False
    made = {
        "band": axes.add(fig, VArea, price, x="x", y1="low", y2="high", fill_alpha=0.3),
        "close": axes.add(fig, Line, price, x="x", y="close", line_width=1.6),
        "levels": axes.add(
            fig, Segment, levels, x0="x0", y0="y", x1="x1", y1="y", line_width="chosen", line_color="colour", line_dash=[4, 3]
        ),
    }
    cursor = Span(dimension="height", line_width=1.5, line_dash=[3, 3])
    fig.add_layout(cursor)
    parts = OverviewParts(fig, price, levels, tool, cursor, made)
    dress_overview(parts, theme)
    return parts


def dress_overview(parts: OverviewParts, theme: Theme) -> None:
    """Put `theme` on the overview."""
    axes.dress(parts.figure, theme, size="11px")
    parts.renderers["band"].glyph.fill_color = theme.muted
    parts.renderers["close"].glyph.line_color = theme.text
    parts.tool.overlay.update(fill_color=theme.long, fill_alpha=0.16, line_color=theme.long, line_alpha=0.9)
    parts.cursor.line_color = theme.text


def overview_data(bars: pl.DataFrame, day_ts_ns: int) -> dict[str, object]:
    """Source of the price band from ``bars_2m``."""
    x = axes.x_ms(bars["window_start_ts_ns"].to_numpy(), day_ts_ns) + chart.BAR_MS / 2
    return {"x": x, **{k: bars[f"{k}_tick"].to_numpy().astype(float) for k in ("low", "high", "close")}}


def price_bounds(bars: pl.DataFrame, level_ticks: list[int]) -> tuple[float, float]:
    """Lowest and highest tick of the session with a margin; levels up to one session's range away are kept in sight."""
    if bars.height == 0:
        return (min(level_ticks) - 10.0, max(level_ticks) + 10.0) if level_ticks else (0.0, 1.0)
    low, high = (float(x) for x in bars.select(pl.col("low_tick").min(), pl.col("high_tick").max()).row(0))
    reach = max(high - low, 8.0)
    near = [k for k in level_ticks if low - reach <= k <= high + reach]
    lo, hi = min([low, *near]), max([high, *near])
    pad = float(np.ceil((hi - lo) * 0.08)) + 1
    return lo - pad, hi + pad
