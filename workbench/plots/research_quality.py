"""Coverage of the lake: a band a session, hatched where the book is not valid."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from bokeh.models import ColumnDataSource, FixedTicker, GlyphRenderer, HBar, HoverTool, Range1d
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.theme import FONT, Theme

ROW_PX = 22
MAP_PX = 1100
"""Beyond so many pixels the rows of the map get thinner, and not every one has its name."""


@dataclass
class Coverage:
    """The figure and what is patched in it."""

    figure: figure
    sessions: ColumnDataSource
    gaps: ColumnDataSource
    renderers: dict[str, GlyphRenderer]


def coverage_figure(theme: Theme, *, width: int = 760) -> Coverage:
    """An empty map: New York time to the right, the newest session on top.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> coverage_figure(DARK).figure.name
    'coverage'
    """
    fig = figure(
        name="coverage", title="Seconds with a valid book (▨ not valid)", width=width, height=200, sizing_mode="stretch_width",
        x_range=Range1d(0, 1), y_range=Range1d(-0.5, 0.5), toolbar_location=None, tools=[], output_backend="canvas",
        x_axis_label="New York time", min_border_left=190, min_border_right=20,
    )  # fmt: skip
    fig.xaxis.ticker = fig.xgrid.ticker = axes.time_ticker()
    fig.xaxis.formatter = axes.time_formatter()
    fig.yaxis.ticker = FixedTicker(ticks=[])
    fig.ygrid.visible = False
    sessions = ColumnDataSource({k: [] for k in ("y", "left", "right", "said")}, name="coverage")
    gaps = ColumnDataSource({k: [] for k in ("y", "left", "right", "said")}, name="gaps")
    made = {
        "sessions": axes.add(fig, HBar, sessions, y="y", left="left", right="right", height=0.6, fill_alpha=0.45, line_color=None),
        # Of one second, a gap is less than a pixel: its outline keeps it in sight.
        "gaps": axes.add(
            fig, HBar, gaps, y="y", left="left", right="right", height=0.6, hatch_pattern="/", hatch_scale=7, line_width=1.5
        ),
    }  # fmt: skip
    fig.add_tools(HoverTool(renderers=[made["gaps"], made["sessions"]], tooltips="@said"))
    parts = Coverage(fig, sessions, gaps, made)
    dress_coverage(parts, theme)
    return parts


def dress_coverage(parts: Coverage, theme: Theme) -> None:
    """Put `theme` on the map.

    Examples
    --------
    >>> from workbench.theme import DARK, LIGHT
    >>> dress_coverage(coverage_figure(DARK), LIGHT)
    """
    axes.dress(parts.figure, theme, size="12px")
    parts.figure.yaxis.major_label_text_font = FONT
    axes.dress_title(parts.figure, theme)
    parts.renderers["sessions"].glyph.fill_color = theme.long
    parts.renderers["gaps"].glyph.update(fill_color=theme.map_floor, line_color=theme.short, hatch_color=theme.short)


def fill_coverage(parts: Coverage, sessions: pl.DataFrame, gaps: pl.DataFrame) -> None:
    """Patch the map with `engine.lake.quality.quality_table`.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> parts = coverage_figure(DARK)
    >>> nothing = pl.DataFrame(schema={k: pl.Int64 for k in ("symbol", "session_date", "start_ts_ns", "end_ts_ns", "valid_share")})
    >>> fill_coverage(parts, nothing, nothing)
    >>> parts.sessions.data["y"]
    []
    """
    known = sessions.filter(pl.col("start_ts_ns").is_not_null())
    at = {(r["symbol"], r["session_date"]): known.height - 1 - i for i, r in enumerate(known.iter_rows(named=True))}
    band: dict[str, list[object]] = {k: [] for k in ("y", "left", "right", "said")}
    gap: dict[str, list[object]] = {k: [] for k in ("y", "left", "right", "said")}
    names = {}
    for r in known.iter_rows(named=True):
        y = at[r["symbol"], r["session_date"]]
        names[y] = f"{r['symbol']}  {r['session_date']}  {percent(r['valid_share'])}"
        said = f"{r['symbol']} {r['session_date']}: book valid in {percent(r['valid_share'])} of {r['seconds']:,} seconds"
        for k, v in zip(band, (float(y), _of_day(r["start_ts_ns"]), _of_day(r["end_ts_ns"]), said)):
            band[k].append(v)
    for r in gaps.iter_rows(named=True):
        begin, end = r["start_ts_ns"], r["end_ts_ns"]
        said = f"{r['symbol']} {r['session_date']}: not valid {axes.clock(begin)}–{axes.clock(end)}, {(end - begin) / 1e9:,.0f} s"
        for k, v in zip(gap, (float(at[r["symbol"], r["session_date"]]), _of_day(begin), _of_day(end), said)):
            gap[k].append(v)
    parts.sessions.data, parts.gaps.data = band, gap
    if band["left"]:
        # From midnight of its own day, sessions of different days lie under each other.
        parts.figure.x_range.update(start=min(band["left"]), end=max(band["right"]))  # type: ignore[type-var]
    row = min(max(MAP_PX / max(known.height, 1), 4.0), float(ROW_PX))
    parts.figure.yaxis.ticker.ticks = sorted(names, reverse=True)[:: max(round(16 / row), 1)]
    parts.figure.yaxis.major_label_overrides = names
    parts.figure.y_range.update(start=-0.6, end=max(known.height, 1) - 0.4)
    parts.figure.height = 84 + round(row * max(known.height, 1))


def _of_day(ts_ns: int) -> float:
    """Ms of New York's clock since its midnight."""
    return float((ts_ns // 1_000_000 + axes.offset_ms(ts_ns)) % 86_400_000)


def percent(share: float) -> str:
    """A share that is not quite whole never reads as 100%.

    Examples
    --------
    >>> percent(1.0), percent(0.99999)
    ('100%', '99.99%')
    """
    return "100%" if share == 1 else f"{min(share, 0.9999):.2%}"
