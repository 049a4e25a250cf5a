"""How far price went after the touch of each similar setup, on and back."""

from __future__ import annotations

import numpy as np
import polars as pl
from bokeh.models import ColumnDataSource, HoverTool, Range1d, Span
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.plots.outcomes import CLASSES, class_colours, class_words
from workbench.theme import FONT, Theme


def excursion_data(found: pl.DataFrame, approach: str, theme: Theme) -> dict[str, dict[str, object]]:
    """Sources (dots, medians) of the excursions in the frame of travel.

    Parameters
    ----------
    found : pl.DataFrame
        Neighbours: ``approach, excursion_up_ticks, excursion_down_ticks, outcome_class``; those without a touch are left out.
    approach : str
        The query's, for the colours.

    Returns
    -------
    dict of dict
        ``dots``: x in ticks (ahead of the touch positive, behind it negative), y the row of the class with equal values side by
        side, ``fill``, ``said``; ``medians``: x, low, high.
    """
    up = pl.col("approach") != "approach_down"
    ahead = pl.when(up).then("excursion_up_ticks").otherwise("excursion_down_ticks")
    behind = pl.when(up).then("excursion_down_ticks").otherwise("excursion_up_ticks")
    known = found.select(ahead.abs().alias("ahead"), -behind.abs().alias("behind"), "outcome_class").drop_nulls()
    colours = class_colours(theme, approach)
    dots: dict[str, list[object]] = {k: [] for k in ("x", "y", "fill", "said")}
    medians: dict[str, list[object]] = {k: [] for k in ("x", "low", "high")}
    for row, name in enumerate(CLASSES):
        part = known.filter(pl.col("outcome_class") == name)
        for way in ("behind", "ahead"):
            x = part[way].to_numpy().astype(float)
            if x.size == 0:
                continue
            dots["x"] += x.tolist()
            dots["y"] += (row + _beside(x)).tolist()
            dots["fill"] += [colours[name]] * x.size
            dots["said"] += [f"{name}: {abs(v):g} ticks {way}" for v in x]
            medians["x"].append(float(np.median(x)))
            medians["low"].append(row - 0.36)
            medians["high"].append(row + 0.36)
    return {"dots": dots, "medians": medians}  # type: ignore[dict-item]


def _beside(x: np.ndarray) -> np.ndarray:
    """Offsets within a row, ±0.3 at most: equal values stand side by side, the same way at every drawing."""
    out = np.zeros(x.size)
    for v in np.unique(x):
        at = np.flatnonzero(x == v)
        rank = np.arange(at.size)
        out[at] = np.where(rank % 2, 1, -1) * ((rank + 1) // 2)
    most = np.abs(out).max()
    return out * min(0.09, 0.3 / most if most else 0.09)


def excursion_figure(
    found: pl.DataFrame, approach: str, theme: Theme, *, barrier: int | None = None, height: int = 200, width: int = 720
) -> figure:
    """A dot per neighbour and way: how far price went beyond the level and back, by what it ended as; a line at the median.

    Examples
    --------
    >>> excursion_figure(near.found, "approach_up", DARK, barrier=8)  # doctest: +SKIP
    """
    fig = figure(
        name="excursions", width=width, height=height, sizing_mode="stretch_both", y_range=Range1d(-0.6, 2.6), toolbar_location=None,
        tools=[], output_backend="canvas", x_axis_label="ticks from the level after the touch: back (−), on (+)",
        title="How far price went (bars: medians)",
    )  # fmt: skip
    fig.yaxis.ticker = [0, 1, 2]
    fig.yaxis.major_label_overrides = dict(enumerate(class_words(approach).values()))
    fig.xaxis.formatter = axes.distance_formatter()
    data = excursion_data(found, approach, theme)
    src, medians = ColumnDataSource(data["dots"]), ColumnDataSource(data["medians"])
    dots = fig.scatter("x", "y", source=src, size=8, fill_color="fill", fill_alpha=0.85, name="dots")
    fig.segment("x", "low", "x", "high", source=medians, line_width=2.5, name="medians")
    fig.add_layout(Span(location=0, dimension="height", line_width=2, name="level"))
    for sign in (-1, 1):
        span = Span(location=sign * (barrier or 0), visible=barrier is not None, dimension="height", line_dash=[4, 3], name="barrier")
        fig.add_layout(span)
    fig.add_tools(HoverTool(renderers=[dots], tooltips="@said"))
    dress_excursions(fig, theme)
    return fig


def paint_excursions(fig: figure, found: pl.DataFrame, approach: str, theme: Theme, *, barrier: int | None = None) -> None:
    """Patch the figure with other neighbours."""
    for name, columns in excursion_data(found, approach, theme).items():
        fig.select_one({"name": name}).data_source.data = columns
    fig.yaxis.major_label_overrides = dict(enumerate(class_words(approach).values()))
    for sign, span in zip((-1, 1), fig.select({"name": "barrier"})):
        span.update(location=sign * (barrier or 0), visible=barrier is not None)


def dress_excursions(fig: figure, theme: Theme) -> None:
    """Put `theme` on the figure; the dots' colours come with their data."""
    axes.dress(fig, theme, size="12px")
    axes.dress_title(fig, theme)
    fig.yaxis.major_label_text_font = FONT
    fig.select_one({"name": "dots"}).glyph.line_color = theme.casing
    fig.select_one({"name": "medians"}).glyph.line_color = theme.text
    fig.select_one({"name": "level"}).line_color = theme.level
    for span in fig.select({"name": "barrier"}):
        span.line_color = theme.muted
