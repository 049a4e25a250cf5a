"""The difference map: where pressure before the touch was not the same for setups that broke and setups that rejected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh import models
from bokeh.core.properties import value
from bokeh.models import FixedTicker, HoverTool, Image, LinearColorMapper, NumeralTickFormatter, Range1d, Span, Text
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.theme import MONO, Theme, signed_palette


@dataclass
class DifferenceParts:
    """The figure and what is patched in it."""

    figure: figure
    cells: models.ColumnDataSource
    signs: models.ColumnDataSource
    mapper: LinearColorMapper
    bar: models.ColorBar
    level: Span
    touch: Span
    renderers: dict[str, models.GlyphRenderer]


def difference_figure(theme: Theme, *, height: int = 300, width: int = 760) -> DifferenceParts:
    """An empty map: seconds to the touch to the right, ticks from the level up.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> difference_figure(DARK).figure.name
    'difference'
    """
    fig = axes.plain_figure(
        "difference", title=" ", width=width, height=height, sizing_mode="stretch_width", x_range=Range1d(-120, 0),
        y_range=Range1d(-16, 16), x_axis_label="seconds to the touch", y_axis_label="ticks from level", min_border_top=30,
        min_border_left=60,
    )  # fmt: skip
    fig.grid.visible = False
    fig.yaxis.formatter = axes.distance_formatter()
    fig.yaxis.ticker = axes.tick_ticker()
    mapper = LinearColorMapper(palette=list(signed_palette(theme)[1:]), low=-1, high=1, nan_color="#00000000")
    cells = axes.empty("image", "low", "high", "x", "y", "dw", "dh", name="difference")
    signs = axes.empty("x", "y", "text", name="difference_signs")
    made = {
        "cells": axes.add(fig, Image, cells, **axes.IMAGE, color_mapper=mapper, level="image"),
        "signs": axes.add(
            fig, Text, signs, x="x", y="y", text="text", text_align="center", text_baseline="middle", text_font=value(MONO),
            text_font_size="12px", text_font_style="bold",
        ),
    }  # fmt: skip
    level = Span(location=0, dimension="width", line_width=2, line_dash=[6, 3])
    touch = Span(location=0, dimension="height", line_width=2)
    formatter = NumeralTickFormatter(format="+0.00")
    bar = models.ColorBar(color_mapper=mapper, ticker=FixedTicker(ticks=[-1, 0, 1]), formatter=formatter, width=10)
    for annotation, place in ((level, "center"), (touch, "center"), (bar, "right")):
        fig.add_layout(annotation, place)
    said = [("break − reject", "@image{+0.00} [@low{+0.00} to @high{+0.00}]"), ("at", "$x{0} s, $y{+0} ticks")]
    fig.add_tools(HoverTool(renderers=[made["cells"]], tooltips=said))
    parts = DifferenceParts(fig, cells, signs, mapper, bar, level, touch, made)
    theme_difference(parts, theme)
    return parts


def theme_difference(parts: DifferenceParts, theme: Theme) -> None:
    """Put `theme` on the map."""
    axes.apply_theme(parts.figure, theme, size="12px")
    axes.theme_title(parts.figure, theme, style="normal")
    parts.mapper.palette = list(signed_palette(theme)[1:])
    parts.renderers["signs"].glyph.text_color = theme.text
    parts.level.line_color = parts.touch.line_color = theme.level
    parts.bar.update(
        background_fill_color=theme.page, major_label_text_color=theme.text, major_label_text_font=MONO,
        bar_line_color=theme.edge, major_label_text_font_size="11px",
    )  # fmt: skip


def fill_difference(
    parts: DifferenceParts,
    difference: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    shown: np.ndarray,
    *,
    window_s: int,
    step_ticks: int,
    up: bool,
    title: str = "",
) -> None:
    """Patch the map with `engine.retrieval.difference.DifferenceMap`.

    Parameters
    ----------
    difference, low, high, shown : ndarray, shape (windows, rows)
        In the frame of travel; cells that are not `shown` stay empty.
    up : bool
        Whether the query comes from below; from above, the map is turned back to prices: up is up, and blue is long.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> parts = difference_figure(DARK)
    >>> d = np.array([[0.4, -0.1, 0.0]])
    >>> fill_difference(parts, d, d - 0.2, d + 0.2, np.array([[True, False, False]]), window_s=10, step_ticks=1, up=False)
    >>> parts.cells.data["image"][0].tolist()
    [[nan], [nan], [-0.4000000059604645]]
    """
    sign = 1 if up else -1
    images = [(sign * np.where(shown, v, np.nan))[:, ::sign].T for v in (difference, *((low, high) if up else (high, low)))]
    windows, rows = difference.shape
    length, half = float(windows * window_s), rows * step_ticks / 2
    image, lowest, highest = ([np.ascontiguousarray(v, dtype=np.float32)] for v in images)
    place = {"x": [-length], "y": [-half], "dw": [length], "dh": [2 * half]}
    parts.cells.data = {"image": image, "low": lowest, "high": highest, **place}
    # A sign in each cell: colour does not stand alone.
    row, window = np.nonzero(np.isfinite(images[0]))
    parts.signs.data = {
        "x": ((window + 0.5 - windows) * window_s).tolist(),
        "y": (-half + (row + 0.5) * step_ticks).tolist(),
        "text": ["+" if v > 0 else "−" for v in images[0][row, window]],
    }
    most = float(np.abs(difference[shown]).max()) if shown.any() else 0.5
    top = float(np.ceil(most * 10) / 10) or 0.1
    parts.mapper.update(low=-top, high=top)
    parts.bar.ticker.ticks = [-top, 0.0, top]
    parts.figure.x_range.update(start=-windows * window_s, end=0)
    parts.figure.y_range.update(start=-half, end=half)
    parts.figure.title.text = title


def difference_words(breaks: int, break_sessions: int, rejects: int, reject_sessions: int, compared: int, shown: int, mass: float) -> str:
    """What was counted, and how much of it chance would make.

    Examples
    --------
    >>> difference_words(14, 9, 19, 11, 396, 37, 0.95)
    '14 that broke (9 sessions) − 19 that rejected (11 sessions): 37 of 396 cells stand out, by chance about 20 would'
    """
    return (
        f"{breaks} that broke ({break_sessions} sessions) − {rejects} that rejected ({reject_sessions} sessions): "
        f"{shown} of {compared} cells stand out, by chance about {compared * (1 - mass):.0f} would"
    )
