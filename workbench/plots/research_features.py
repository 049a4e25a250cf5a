"""The feature explorer: a feature's distribution by what followed, by level, and where the moment on the screen stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from bokeh.models import ColumnDataSource, FixedTicker, GlyphRenderer, HBar, HoverTool, Label, Line, Range1d, Scatter, Segment, Span
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.plots.outcomes import CLASSES, FEW
from workbench.theme import FONT, Theme

DASHES: dict[str, list[int] | str] = {"reject": [7, 4], "chop": [2, 3], "break": "solid"}
STROKES = {"reject": "╍╍", "chop": "┈┈", "break": "━━"}
"""Each class's line in the legend."""
HEADROOM = 1.2
"""Room above the highest class, where the value at the cursor is written."""

ROW_PX = 24
BOX = ("y", "q10", "q25", "q50", "q75", "q90", "alpha", "said")


@dataclass
class FeaturePictures:
    """Two figures on one horizontal axis and what is patched in them."""

    classes: figure
    levels: figure
    lines: dict[str, ColumnDataSource]
    boxes: ColumnDataSource
    now: list[Span]
    label: Label
    renderers: dict[str, GlyphRenderer]


def feature_pictures(theme: Theme, *, width: int = 760) -> FeaturePictures:
    """Empty figures: share of each class per bin above, quantiles per level and direction below.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> sorted(feature_pictures(DARK).lines)
    ['break', 'chop', 'reject']
    """
    common = {
        "width": width, "sizing_mode": "stretch_width", "toolbar_location": None, "tools": [], "output_backend": "canvas",
        "min_border_left": 160, "min_border_right": 16, "min_border_top": 30,
    }  # fmt: skip
    x = Range1d(0, 1)
    classes = figure(
        name="feature_classes", title="", height=260, x_range=x, y_range=Range1d(0, 1), y_axis_label="share of class", **common
    )
    levels = figure(
        name="feature_levels", title="By level: median, half (bar), four fifths (line) of the events", height=300, x_range=x,
        y_range=Range1d(-0.5, 0.5), x_axis_label="value", **common,
    )  # fmt: skip
    levels.yaxis.ticker = FixedTicker(ticks=[])
    classes.yaxis.formatter.update(use_scientific=False)
    made: dict[str, GlyphRenderer] = {}
    lines = {c: ColumnDataSource({"x": [], "y": []}, name=f"feature_{c}") for c in CLASSES}
    for c in CLASSES:
        made[c] = axes.add(classes, Line, lines[c], x="x", y="y", line_width=2.5, line_dash=DASHES[c])
    boxes = ColumnDataSource({k: [] for k in BOX}, name="feature_levels")
    made["whisker"] = axes.add(levels, Segment, boxes, x0="q10", y0="y", x1="q90", y1="y", line_width=1.5, line_alpha="alpha")
    made["half"] = axes.add(levels, HBar, boxes, y="y", left="q25", right="q75", height=0.55, fill_alpha="alpha", line_color=None)
    made["median"] = axes.add(levels, Scatter, boxes, x="q50", y="y", size=7)
    levels.add_tools(HoverTool(renderers=[made["half"]], tooltips="@said"))
    levels.ygrid.visible = False
    now = [Span(dimension="height", line_width=2, visible=False) for _ in range(2)]
    classes.add_layout(now[0])
    levels.add_layout(now[1])
    label = Label(
        x=0, y=183, y_units="screen", text="", text_font=FONT, text_font_size="13px", text_font_style="bold", x_offset=5, visible=False,
        background_fill_alpha=0.86, padding=2, border_radius=3,
    )  # fmt: skip
    classes.add_layout(label)
    parts = FeaturePictures(classes, levels, lines, boxes, now, label, made)
    dress_features(parts, theme)
    return parts


def dress_features(parts: FeaturePictures, theme: Theme) -> None:
    """Put `theme` on both figures.

    Examples
    --------
    >>> from workbench.theme import DARK, LIGHT
    >>> dress_features(feature_pictures(DARK), LIGHT)
    """
    for fig in (parts.classes, parts.levels):
        axes.dress(fig, theme, size="12px")
        axes.dress_title(fig, theme)
    parts.levels.yaxis.major_label_text_font = FONT
    for name, colour in _colours(theme).items():
        parts.renderers[name].glyph.line_color = colour
    parts.renderers["whisker"].glyph.line_color = theme.muted
    parts.renderers["half"].glyph.fill_color = theme.long
    parts.renderers["median"].glyph.update(fill_color=theme.text, line_color=theme.casing)
    for span in parts.now:
        span.line_color = theme.level
    parts.label.update(text_color=theme.level, background_fill_color=theme.page)


def _colours(theme: Theme) -> dict[str, str]:
    return {"break": theme.long, "reject": theme.short, "chop": theme.muted}


def legend_html(counts: dict[str, np.ndarray], theme: Theme) -> str:
    """The classes' lines with their numbers of events, in their colours.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> "break 40" in legend_html({"break": np.array([20, 20])}, DARK)
    True
    """
    words = []
    for c, colour in _colours(theme).items():
        if c in counts:
            n = int(counts[c].sum())
            words.append(f"<b style='color:{colour};white-space:nowrap'>{STROKES[c]} {c} {n:,}{' (few)' if n < FEW else ''}</b>")
    return " &ensp; ".join(words)


def fill_features(
    parts: FeaturePictures,
    edges: np.ndarray,
    counts: dict[str, np.ndarray],
    by_level: pl.DataFrame,
    *,
    title: str,
    now: float | None = None,
    now_text: str = "",
) -> None:
    """Patch both figures.

    Parameters
    ----------
    edges, counts, by_level
        Of `engine.retrieval.explore.FeatureDistribution`; the groups of `by_level` in words, from top to bottom.
    title : str
        The feature in words.
    now : float or None
        Value at the moment on the screen; a line stands there, at the edge where it lies outside.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> parts = feature_pictures(DARK)
    >>> row = {"group": "PM High ▲", "n": 40, "mean": 0.1, "q10": -1.0, "q25": -0.5, "q50": 0.1, "q75": 0.6, "q90": 1.1}
    >>> counts = {"reject": np.array([1, 3]), "chop": np.array([0, 0]), "break": np.array([2, 2])}
    >>> fill_features(parts, np.array([-1.0, 0.0, 1.0]), counts, pl.DataFrame([row]), title="speed", now=0.4, now_text="now 0.4")
    >>> parts.lines["reject"].data["y"].tolist()
    [0.0, 0.25, 0.25, 0.75, 0.75, 0.0]
    """
    top = 0.0
    for c, source in parts.lines.items():
        n = int(counts[c].sum())
        share = counts[c] / n if n else np.zeros(len(counts[c]))
        # A step for every bin, from the floor and back to it.
        source.data = {"x": np.repeat(edges, 2), "y": np.concatenate(([0.0], np.repeat(share, 2), [0.0]))}
        top = max(top, float(share.max(initial=0)))
    parts.classes.title.text = title
    parts.classes.y_range.update(start=0, end=top * HEADROOM or 1.0)
    pad = 0.03 * float(edges[-1] - edges[0])
    parts.classes.x_range.update(start=float(edges[0]) - pad, end=float(edges[-1]) + pad)
    m = by_level.height
    names = {m - 1 - i: f"{r['group']}   {r['n']:,}" for i, r in enumerate(by_level.iter_rows(named=True))}
    quantiles = ("q10", "q25", "q50", "q75", "q90")
    said = [
        f"{r['group']}: {r['n']:,} events, median {r['q50']:.3g}, half within {r['q25']:.3g} to {r['q75']:.3g}"
        for r in by_level.iter_rows(named=True)
    ]
    parts.boxes.data = {
        "y": [float(m - 1 - i) for i in range(m)],
        **{q: by_level[q].to_list() for q in quantiles},
        "alpha": [0.75 if n >= FEW else 0.3 for n in by_level["n"].to_list()],
        "said": said,
    }
    parts.levels.yaxis.ticker.ticks = sorted(names)
    parts.levels.yaxis.major_label_overrides = names
    parts.levels.y_range.update(start=-0.6, end=max(m, 1) - 0.4)
    parts.levels.height = 80 + ROW_PX * max(m, 1)
    there = now is not None and bool(np.isfinite(now))
    at = min(max(float(now), float(edges[0]) - pad), float(edges[-1]) + pad) if there else 0.0  # type: ignore[arg-type]
    left = at > (edges[0] + edges[-1]) / 2
    for span in parts.now:
        span.update(location=at, visible=there)
    parts.label.update(x=at, text=now_text, visible=there, text_align="right" if left else "left", x_offset=-6 if left else 6)
