"""When and what moved a forecast: windows before the moment to the right, families of features down, toward a break or a reject."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bokeh.core.properties import field, value
from bokeh.models import FactorRange, HoverTool, Range1d, Span
from bokeh.plotting import figure

from engine.retrieval.events import CLASSES
from workbench.plots import axes
from workbench.plots.outcomes import FAMILIES, class_colours, class_words
from workbench.theme import MONO, Theme

if TYPE_CHECKING:
    from engine.retrieval.importance import Importance

ALL = "together"
"""The row of all families."""

CELLS, TOTALS = ("x", "y", "width", "fill", "alpha", "sign", "said"), ("y", "text")
BREAK, REJECT = CLASSES.index("break"), CLASSES.index("reject")

LEAST = 0.01
"""Change of the odds below which a cell is empty."""

SOFTEST, STRONGEST = 0.12, 0.92
"""Opacity of the least and of the most important cell."""


def odds_words(change: float) -> str:
    """A change of log odds as one of the odds in percent.

    Examples
    --------
    >>> odds_words(0.2), odds_words(-0.2), odds_words(1.2)
    ('+22%', '−18%', '×3.3')
    """
    if change > math.log(2):
        return f"×{math.exp(change):.1f}"
    return f"{100 * math.expm1(change):+.0f}%".replace("-", "−")


def importance_data(found: Importance, theme: Theme, approach: str, *, history_s: float) -> dict[str, dict[str, list[object]]]:
    """Sources ``cells`` (one per family and window) and ``totals`` (one per row) of `importance_figure`."""
    colours, words = class_colours(theme, approach), class_words(approach)
    steps = found.windows.shape[0]
    length = history_s / max(steps, 1)
    names = [FAMILIES.get(f, f) for f in found.families]
    windows, each, whole = (found.between(v, BREAK, REJECT) for v in (found.windows, found.cells, found.whole))
    rows = [(ALL, windows), *zip(names, each)]
    top = max((abs(float(v)) for _, row in rows for v in row), default=0.0)
    cells = []
    for name, row in rows:
        for t, v in enumerate(row):
            if abs(math.expm1(v)) < LEAST:
                continue
            begin, way = history_s - t * length, "break" if v > 0 else "reject"
            said = f"{name}, {begin:g} to {begin - length:g} s before: {words[way]} {odds_words(abs(float(v)))} odds"
            alpha = SOFTEST + (STRONGEST - SOFTEST) * abs(float(v)) / top
            cells.append((-begin + length / 2, name, 0.94 * length, colours[way], alpha, "+" if v > 0 else "−", said))
    totals = [(name, odds_words(float(v))) for name, v in zip(names, whole)]
    return {"cells": axes.columns(CELLS, cells), "totals": axes.columns(TOTALS, totals)}


def importance_figure(
    found: Importance, theme: Theme, approach: str, *, history_s: float = 120.0, height: int = 170, width: int = 420
) -> figure:
    """A cell per family of features and window before the moment: blue where it speaks for price going up, orange for down.

    Beside each row stands how all windows of the family together change the odds of a break against those of a reject.

    Examples
    --------
    >>> importance_figure(found.importance, DARK, "approach_up")  # doctest: +SKIP
    """
    fig = axes.plain_figure(
        "importance", title="When and what moved the forecast", width=width, height=height, sizing_mode="stretch_both",
        y_range=FactorRange(), x_range=Range1d(-history_s, 0.22 * history_s), x_axis_label="seconds before",
    )  # fmt: skip
    fig.grid.visible = False
    fig.xaxis.ticker = [-history_s + k * history_s / 4 for k in range(5)]
    cells, totals = axes.empty(*CELLS), axes.empty(*TOTALS)
    drawn = fig.rect(
        "x", "y", "width", 0.86, source=cells, fill_color=field("fill"), fill_alpha=field("alpha"), line_color=None, name="cells"
    )
    signs = {"source": cells, "text_align": "center", "text_baseline": "middle", "text_font": value(MONO), "text_font_size": "11px"}
    fig.text("x", "y", "sign", **signs, name="signs")
    fig.text(
        value(0.025 * history_s),
        "y",
        "text",
        source=totals,
        text_baseline="middle",
        text_font=value(MONO),
        text_font_size="12px",
        name="totals",
    )
    fig.add_layout(Span(location=0, dimension="height", line_width=2, name="moment"))
    fig.add_tools(HoverTool(renderers=[drawn], tooltips="@said"))
    paint_importance(fig, found, theme, approach, history_s=history_s)
    theme_importance(fig, theme)
    return fig


def paint_importance(fig: figure, found: Importance, theme: Theme, approach: str, *, history_s: float = 120.0) -> None:
    """Patch the figure with what moved another forecast."""
    made = importance_data(found, theme, approach, history_s=history_s)
    names = [ALL, *(FAMILIES.get(f, f) for f in found.families)]
    fig.y_range.factors = names[::-1]
    words = class_words(approach)
    fig.xaxis.axis_label = f"seconds before; right: odds of {words['break']} to {words['reject']}"
    fig.select_one({"name": "cells"}).data_source.data = made["cells"]
    fig.select_one({"name": "totals"}).data_source.data = made["totals"]


def theme_importance(fig: figure, theme: Theme) -> None:
    """Put `theme` on the figure; the cells' colours come with their data."""
    axes.theme_titled(fig, theme, named=True)
    for name in ("signs", "totals"):
        fig.select_one({"name": name}).glyph.text_color = theme.text
    fig.select_one({"name": "moment"}).line_color = theme.level
