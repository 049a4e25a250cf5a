"""Axes that every picture shares: New York time to the right, price in ticks up, ticks from the level beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from bokeh import models
from bokeh.models import ColumnDataSource, GlyphRenderer
from bokeh.plotting import figure

from workbench.assets import script
from workbench.theme import FONT, INKS, MONO, Theme

NEW_YORK = ZoneInfo("America/New_York")

ThemeValues = list[tuple[models.Model, dict[str, Any]]]
"""What a theme sets, model by model, without setting it: a page can have the other theme's ready."""


Look = dict[str, Any]
"""Properties of a glyph, or of words."""


@dataclass
class Parts:
    """A figure and what is patched in it, by name."""

    figure: figure
    sources: dict[str, ColumnDataSource]
    renderers: dict[str, GlyphRenderer]


IMAGE: Look = {k: k for k in ("image", "x", "y", "dw", "dh")}
"""Properties of an image's glyph, and the columns of its source that they are read from."""


@lru_cache(maxsize=1024)
def offset_ms(ts_ns: int) -> int:
    """Ms to add to UTC at `ts_ns` to get New York's clock (a session does not cross a clock change)."""
    delta = dt.datetime.fromtimestamp(ts_ns // 1_000_000_000, NEW_YORK).utcoffset()
    return int(delta.total_seconds() * 1000) if delta else 0


def x_ms(ts_ns: np.ndarray | int, day_ts_ns: int) -> np.ndarray:
    """Axis coordinate of an instant: ms of New York's clock, with the offset that holds at `day_ts_ns`."""
    return np.asarray(np.asarray(ts_ns, dtype=np.int64) / 1e6 + offset_ms(int(day_ts_ns)))


def ns_of_x(x: float, day_ts_ns: int) -> int:
    """Instant, ns since the epoch, of an axis coordinate (the inverse of `x_ms`)."""
    return round((x - offset_ms(int(day_ts_ns))) * 1e6)


def clock(ts_ns: int, *, seconds: bool = True) -> str:
    """New York's clock at `ts_ns`, such as ``09:41:35``."""
    return dt.datetime.fromtimestamp(ts_ns / 1e9, NEW_YORK).strftime("%H:%M:%S" if seconds else "%H:%M")


def show_range(axis: models.Range1d, start: float, end: float, bounds: tuple[float, float]) -> None:
    """Show ``[start, end]``, come back to it on reset, and let the trader pan and zoom within `bounds`."""
    # The bounds first: the browser keeps what is set within those it has.
    if axis.bounds != bounds:
        axis.bounds = bounds
    axis.update(start=start, end=end, reset_start=start, reset_end=end)


def decimals(tick_size: float) -> int:
    """Digits after the point that show every multiple of `tick_size`."""
    return len(f"{tick_size:.9f}".rstrip("0").split(".")[1])


def price_text(tick: float, tick_size: float) -> str:
    """Price of `tick` with the digits its grid needs, such as ``6800.25``."""
    return f"{tick * tick_size:.{decimals(tick_size)}f}"


def short_price_text(tick: int, tick_size: float) -> str:
    """Price of `tick`, without the fraction where it is a whole number: ``6799``, ``6799.25``."""
    price = round(tick * tick_size, 9)
    return f"{price:.0f}" if float(price).is_integer() else price_text(tick, tick_size)


def price_formatter(tick_size: float) -> models.CustomJSTickFormatter:
    """Axis labels in price from coordinates in ticks."""
    args = {"size": tick_size, "digits": decimals(tick_size)}
    return models.CustomJSTickFormatter(args=args, code=script("axis_label", KIND="price"))


def distance_formatter() -> models.CustomJSTickFormatter:
    """Axis labels in ticks from the level, always with their sign."""
    return models.CustomJSTickFormatter(code=script("axis_label", KIND="distance"))


def tick_ticker() -> models.AdaptiveTicker:
    """Whole ticks in steps of 1, 2, 4, 8, 16...: the $1 of ES is among them."""
    return models.AdaptiveTicker(base=16, mantissas=[1, 2, 4, 8], min_interval=1, desired_num_ticks=9, num_minor_ticks=0)


def time_ticker() -> models.AdaptiveTicker:
    """Whole seconds, minutes and hours in the steps of a clock.

    One ticker for all that a session needs: the axis of dates brings a dozen, down to years, each a model to make and to send.
    There is no longest step: a range's two ends come one after the other, and a picture painted between them, its range reaching
    from 1970 to the session, would have a million half hours to write (the page stood still for 12 to 35 s).
    """
    return models.AdaptiveTicker(base=60, mantissas=[1, 2, 5, 10, 15, 20, 30], min_interval=1_000, desired_num_ticks=7, num_minor_ticks=0)


def time_formatter() -> models.DatetimeTickFormatter:
    """New York's clock on a time axis, never a date in the middle of a session."""
    short = dict.fromkeys(("milliseconds", "seconds", "minsec"), "%H:%M:%S")
    long = dict.fromkeys(("minutes", "hourmin", "hours", "days", "months", "years"), "%H:%M")
    return models.DatetimeTickFormatter(**short, **long)


def times_text(times: float) -> str:
    """A multiple in words, a digit behind the point where it tells something.

    Examples
    --------
    >>> times_text(4.13), times_text(41.3), times_text(1519.0)
    ('4.1', '41', '1,519')
    """
    return f"{times:,.{1 if times < 9.95 else 0}f}"


def plain_figure(name: str, **properties: Any) -> figure:
    """An empty figure without tools and toolbar.

    Examples
    --------
    >>> plain_figure("strip", height=90).name
    'strip'
    """
    return figure(name=name, toolbar_location=None, tools=[], output_backend="canvas", **properties)


def empty(*columns: str, name: str | None = None) -> ColumnDataSource:
    """A source with these columns and no rows."""
    return ColumnDataSource({c: [] for c in columns}, name=name)


def columns(names: Iterable[str], rows: Sequence[Sequence[object]]) -> dict[str, list[object]]:
    """Data of a source from rows, whose values are in the order of `names`."""
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def add(fig: figure, kind: type[models.Glyph], source: ColumnDataSource, *, level: str = "glyph", **properties: Any) -> GlyphRenderer:
    """Draw `source` in `fig` as glyphs of one kind.

    The figure's own methods make a glyph each for selected, not selected and muted data too, which nothing here is; these are a
    quarter of what a page would have to make, send and build.
    """
    return fig.add_glyph(source, kind(**properties), level=level)


def inks(theme: Theme) -> list[str]:
    """Colours of `theme.INKS`, in their order."""
    return [getattr(theme, name) for name in INKS]


def ink_mapper(theme: Theme) -> models.CategoricalColorMapper:
    """From the name of an ink to its colour."""
    return models.CategoricalColorMapper(factors=list(INKS), palette=inks(theme), name="ink")


def ink(mapper: models.CategoricalColorMapper) -> dict[str, Any]:
    """Colour of a glyph whose data name an ink in ``colour``."""
    return {"field": "colour", "transform": mapper}


def theme_values(fig: models.Plot, theme: Theme, *, size: str = "13px") -> ThemeValues:
    """Colours and type of `theme` on `fig` itself, its axes and grids."""
    axis = {
        "axis_line_color": theme.edge, "major_tick_line_color": theme.edge, "minor_tick_line_color": None,
        "major_label_text_color": theme.text, "major_label_text_font_size": size, "major_label_text_font": MONO,
        "axis_label_text_color": theme.muted, "axis_label_text_font": FONT, "axis_label_text_font_size": size,
        "axis_label_text_font_style": "normal",
    }  # fmt: skip
    # Looked up where they are: `fig.axis` and `fig.grid` walk the whole document.
    sides = (*fig.left, *fig.right, *fig.above, *fig.below)
    return [
        (fig, {"background_fill_color": theme.map_floor, "border_fill_color": theme.page, "outline_line_color": theme.edge}),
        *((a, axis) for a in sides if isinstance(a, models.Axis)),
        *((g, {"grid_line_color": theme.grid}) for g in fig.center if isinstance(g, models.Grid)),
    ]


def as_sent(values: ThemeValues) -> dict[str, dict[str, object]]:
    """`values` by id of model and property, the later of two for one property, as the browser's own models take it."""
    out: dict[str, dict[str, object]] = {}
    for model, properties in values:
        for name, to in properties.items():
            # What may be a column of the data, too, says that it is none.
            out.setdefault(model.id, {})[name] = {"value": to} if name in model.dataspecs() else to
    return out


def put_on(values: ThemeValues) -> None:
    """Set `values` on their models."""
    for model, properties in values:
        model.update(**properties)


def apply_theme(fig: models.Plot, theme: Theme, *, size: str = "13px") -> None:
    """Give `fig` the colours and type of `theme`; called again when the theme changes."""
    put_on(theme_values(fig, theme, size=size))


def theme_title(fig: figure, theme: Theme, *, style: str = "bold") -> None:
    """Give the title of `fig` the colour and type of `theme`."""
    fig.title.update(text_color=theme.text, text_font=FONT, text_font_size="13px", text_font_style=style)


def theme_titled(fig: figure, theme: Theme, *, named: bool = False) -> None:
    """`apply_theme` in the small size and `theme_title`; where `named`, the vertical axis has words for labels."""
    apply_theme(fig, theme, size="12px")
    theme_title(fig, theme)
    if named:
        fig.yaxis.major_label_text_font = FONT
