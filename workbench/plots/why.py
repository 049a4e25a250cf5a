"""Why setups are similar: what each family of features adds to the cosine of their vectors."""

from __future__ import annotations

import numpy as np
import polars as pl
from bokeh.core.properties import field, value
from bokeh.models import ColumnDataSource, FactorRange, Range1d, Span
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.theme import FONT, MONO, Theme

FAMILIES = {
    "f": "vacuum, from above",
    "u": "vacuum, from below",
    "t": "tape",
    "ahead": "book ahead",
    "behind": "book behind",
    "magnitude": "magnitude",
}
"""Families of features (`engine.features.vector.family_of`) in words."""


def why_rows(found: pl.DataFrame, neighbour: int | None = None) -> pl.DataFrame:
    """``family, share``: what each family of features adds to the cosine, the largest first.

    Parameters
    ----------
    found : pl.DataFrame
        Neighbours with columns ``why_{family}``.
    neighbour : int or None
        Position of one of them; the mean over all where None.
    """
    columns = [c for c in found.columns if c.startswith("why_")]
    rows = found.select(columns) if neighbour is None else found.select(columns)[neighbour]
    mean = rows.mean().row(0) if columns else ()
    data = {"family": [c.removeprefix("why_") for c in columns], "share": [0.0 if v is None else float(v) for v in mean]}
    schema = {"family": pl.String, "share": pl.Float64}
    return pl.DataFrame(data, schema=schema).sort("share", descending=True, maintain_order=True)


def why_data(rows: pl.DataFrame) -> dict[str, list[object]]:
    """Source of `why_figure` from `why_rows`."""
    share = rows["share"].to_list()
    return {
        "y": [FAMILIES.get(f, f) for f in rows["family"].to_list()], "share": share,
        "text": [f"{v:+.2f}".replace("-", "−") for v in share],
        "align": ["left" if v >= 0 else "right" for v in share], "offset": [5 if v >= 0 else -5 for v in share],
    }  # fmt: skip


def why_figure(rows: pl.DataFrame, theme: Theme, *, whose: str = "", height: int = 180, width: int = 420) -> figure:
    """Bars of `why_rows`: to the right what makes two setups alike, to the left what sets them apart; they add up to the cosine.

    Examples
    --------
    >>> why_figure(why_rows(near.found), DARK)  # doctest: +SKIP
    """
    fig = figure(
        name="why", title="What makes them alike", width=width, height=height, y_range=FactorRange(), x_range=Range1d(),
        toolbar_location=None, tools=[], output_backend="canvas", sizing_mode="stretch_both", x_axis_label=" ",
    )  # fmt: skip
    src = ColumnDataSource(why_data(rows))
    fig.ygrid.visible = False
    fig.hbar("y", 0.6, "share", source=src, line_color=None, name="bars")
    fig.text(
        "share", "y", "text", source=src, text_align=field("align"), x_offset=field("offset"), text_baseline="middle",
        text_font=value(MONO), text_font_size="12px", name="texts",
    )  # fmt: skip
    fig.add_layout(Span(location=0, dimension="height", line_width=1.5, name="zero"))
    paint_why(fig, rows, whose)
    dress_why(fig, theme)
    return fig


def paint_why(fig: figure, rows: pl.DataFrame, whose: str = "") -> None:
    """Patch the figure; `whose` says which neighbours the bars are of."""
    share = rows["share"].to_numpy()
    edge = float(np.abs(share).max()) if share.size else 1.0
    data = why_data(rows)
    fig.y_range.factors = list(data["y"])[::-1]
    fig.x_range.update(start=min(float(share.min(initial=0)) - 0.28 * edge, 0.0), end=max(float(share.max(initial=0)) + 0.28 * edge, 0.05))
    fig.xaxis.axis_label = f"part of the cosine, {share.sum():.2f} in all{f' ({whose})' if whose else ''}"
    fig.select_one({"name": "bars"}).data_source.data = data


def dress_why(fig: figure, theme: Theme) -> None:
    """Put `theme` on the figure."""
    axes.dress(fig, theme, size="12px")
    axes.dress_title(fig, theme)
    fig.yaxis.major_label_text_font = FONT
    fig.select_one({"name": "bars"}).glyph.fill_color = theme.long
    fig.select_one({"name": "texts"}).glyph.text_color = theme.text
    fig.select_one({"name": "zero"}).line_color = theme.edge
