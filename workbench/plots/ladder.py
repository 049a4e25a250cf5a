"""The pressure ladder at the cursor's time: one row per price, long against short, the resting wall and its change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr
from bokeh import models
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, FixedTicker, GlyphRenderer, HBar, LinearAxis, Range1d, Text
from bokeh.plotting import figure

from engine.ladder import known_cells
from engine.session import nice_top
from workbench.assets import script
from workbench.plots import axes, heatmap
from workbench.theme import FONT, MONO, Theme

WALL_TIMES = 3.0
"""A row can be a wall from this many times the median resting size of its side's rows on."""

TOLD_TIMES = 1.6
"""Sizes are told from so many times the median on."""

WALL_REACH = 20
"""Median and walls are those of the rows at most so many ticks from the level, however many rows are shown."""

WALLS_A_SIDE = 3
"""At most so many rows of a side are marked: what is marked everywhere says nothing."""

REST, REST_WIDE, REST_ALPHA = 1.1, 0.36, 0.7
"""Where bars of resting size begin, how wide the largest is, and how opaque: fainter than flow, 3:1 against the ground in both themes."""

CHANGE_X = 2.72
"""Right end of the changes."""

_BARS = ("y", "h", "short", "long", "rest", "colour")

_TEXTS = ("x", "y", "text", "align", "colour")


@dataclass
class LadderParts:
    """The figure and what is patched in it."""

    figure: figure
    source: ColumnDataSource
    texts: ColumnDataSource
    level: models.BoxAnnotation
    scale: ColumnDataSource
    ink: models.CategoricalColorMapper
    renderers: dict[str, GlyphRenderer]


def rows_at(cube: xr.Dataset, window: int, k_ref: int) -> pl.DataFrame:
    """Rows of one window of a cube with pressure, top price first.

    Returns
    -------
    pl.DataFrame
        ``tick, long, short, net, side, rest, change, times, wall``: the side with more resting size (``bid``, ``ask`` or
        ``none``), that size, its change in the window, how many times the median of that side's non-empty rows it is (rows
        at most `WALL_REACH` ticks from the level `k_ref`), and whether it is marked: among these rows, at least `WALL_TIMES`,
        the heaviest of its five neighbours, one of its side's heaviest three. Of equally heavy rows the one nearer to the level
        counts, of those equally near the lower.
    """
    keys = ("bid_depth", "ask_depth", "long", "short", "net", "bid_change", "ask_change")
    return rows_of({k: cube[k].to_numpy()[window] for k in keys}, known_cells(cube)[window], cube["tick"].to_numpy(), k_ref)


def rows_of(window: Mapping[str, np.ndarray], known: np.ndarray | bool, ticks: np.ndarray, k_ref: int) -> pl.DataFrame:
    """As `rows_at`, of one window's values ``(ticks,)`` by name at `ticks`, rising; `known` says where its book was."""
    # Where the book is not known there is no flow to show; its sizes stay out of the picture too, as the hatching says.
    at = {k: np.nan_to_num(v.astype(float)) for k, v in window.items()}
    bid, ask = at["bid_depth"] * known, at["ask_depth"] * known
    is_bid = bid >= ask
    rest = np.where(is_bid, bid, ask)
    tick = ticks.astype(np.int64)
    around = np.abs(tick - k_ref) <= WALL_REACH
    medians = [float(np.median(near)) if (near := v[around & (v > 0)]).size else np.nan for v in (bid, ask)]
    with np.errstate(invalid="ignore"):
        times = rest / np.where(is_bid, *medians)
    columns = {
        "tick": tick, "long": at["long"], "short": at["short"], "net": at["net"],
        "side": np.where(rest == 0, "none", np.where(is_bid, "bid", "ask")), "rest": rest,
        "change": np.where(is_bid, at["bid_change"], at["ask_change"]), "times": np.where(rest > 0, times, 0.0),
        "wall": _walls(np.where(around, rest, 0.0), np.nan_to_num(times), is_bid, tick - k_ref),
    }  # fmt: skip
    return pl.DataFrame({k: v[::-1] for k, v in columns.items()})


def _walls(rest: np.ndarray, times: np.ndarray, is_bid: np.ndarray, distance: np.ndarray) -> np.ndarray:
    out = np.zeros(rest.size, dtype=bool)
    for side in (is_bid, ~is_bid):
        own = np.where(side, rest, 0.0)
        around = np.lib.stride_tricks.sliding_window_view(np.pad(own, 2), 5).max(axis=1)
        peaks = np.flatnonzero(side & (times >= WALL_TIMES) & (own > 0) & (own == around))
        # Two rows as heavy as each other, side by side, are one wall.
        best: list[int] = []
        for i in sorted(peaks.tolist(), key=lambda i: (-own[i], abs(distance[i]), distance[i])):
            if len(best) < WALLS_A_SIDE and all(abs(i - j) > 2 for j in best):
                best.append(i)
        out[best] = True
    return out


def ladder_figure(theme: Theme, tick_size: float, *, y_range: Range1d | None = None, width: int = 400, height: int = 520) -> LadderParts:
    """An empty ladder; give it the chart's `y_range` to have both on one price axis.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> ladder_figure(DARK, 0.25).figure.name
    'ladder'
    """
    src, texts = axes.empty(*_BARS, name="ladder"), axes.empty(*_TEXTS, name="ladder_texts")
    fig = axes.plain_figure(
        "ladder", width=width, height=height, sizing_mode="stretch_both", x_range=Range1d(-1.03, 2.75), y_range=y_range or Range1d(0, 1),
        min_border_left=4, min_border_right=4, min_border_top=heatmap.TOP, min_border_bottom=heatmap.BOTTOM, x_axis_location="above",
    )  # fmt: skip
    fig.yaxis.visible = fig.grid.visible = False
    fig.yaxis.formatter = axes.price_formatter(tick_size)
    header = fig.xaxis[0]
    header.ticker = FixedTicker(ticks=[-0.5, 0.5, 1.42, 2.45])
    header.formatter = CustomJSTickFormatter(code=script("axis_label", KIND="ladder"))
    scale = ColumnDataSource({"top": [1.0]})
    sizes = CustomJSTickFormatter(args={"scale": scale}, code=script("axis_label", KIND="contracts"))
    fig.add_layout(LinearAxis(ticker=FixedTicker(ticks=[-1, 0, 1]), formatter=sizes), "below")
    colour = axes.ink(ink := axes.ink_mapper(theme))
    row: axes.Look = {"y": "y", "height": "h", "line_color": None}
    made = {
        "rest": axes.add(fig, HBar, src, **row, left=REST, right="rest", fill_color=colour, fill_alpha=REST_ALPHA),
        "short": axes.add(fig, HBar, src, **row, left="short", right=0),
        "long": axes.add(fig, HBar, src, **row, left=0, right="long"),
        # Always of one size: Bokeh takes another one of a glyph that has no texts at the time for no font at all.
        "texts": axes.add(
            fig, Text, texts, x="x", y="y", text="text", text_align="align", text_color=colour,
            text_baseline="middle", text_font=value(MONO), text_font_size="12px",
        ),
    }  # fmt: skip
    # A band, not a line: the level's own row has numbers too.
    level = models.BoxAnnotation(fill_alpha=0.16, line_width=1.3, line_alpha=1.0, level="underlay", visible=False)
    fig.add_layout(level)
    parts = LadderParts(fig, src, texts, level, scale, ink, made)
    theme_ladder(parts, theme)
    return parts


def ladder_theme_values(parts: LadderParts, theme: Theme) -> axes.ThemeValues:
    """What `theme` sets on the ladder."""
    return [
        *axes.theme_values(parts.figure, theme),
        *((a, {"major_label_text_font": FONT, "major_label_text_color": theme.muted}) for a in (*parts.figure.above, *parts.figure.below)),
        (parts.ink, {"palette": axes.inks(theme)}),
        (parts.renderers["long"].glyph, {"fill_color": theme.long}),
        (parts.renderers["short"].glyph, {"fill_color": theme.short}),
        (parts.level, {"fill_color": theme.level, "line_color": theme.level}),
    ]


def theme_ladder(parts: LadderParts, theme: Theme) -> None:
    """Put `theme` on the ladder."""
    axes.put_on(ladder_theme_values(parts, theme))


def mark_level(parts: LadderParts, tick: int | None) -> None:
    """Mark the level's row; None where it is not known yet."""
    band = parts.level
    if tick is None:
        if band.visible:
            band.visible = False
    elif not band.visible or band.bottom != tick - 0.5:
        band.update(bottom=tick - 0.5, top=tick + 0.5, visible=True)


def patch_ladder(parts: LadderParts, made: dict[str, list[object]]) -> None:
    """Show `ladder_data`. Only texts that say something are sent, in one glyph: an empty one costs the browser as much as a full one."""
    parts.source.data = {k: made["rest_colour" if k == "colour" else k] for k in _BARS}
    parts.texts.data = axes.columns(
        _TEXTS,
        [
            (x, y, text, align, colour)
            for key, xs, align, colours in (
                ("rest_text", made["rest_x"], "left", made["fill_colour"]),
                ("change_text", [CHANGE_X] * len(made["y"]), "right", made["change_colour"]),
            )
            for x, y, text, colour in zip(xs, made["y"], made[key], colours)
            if text
        ],
    )


def flow_top(rows: pl.DataFrame) -> float:
    """A round number that the largest bar of `rows` fits in."""
    return nice_top(max(float(rows[k].to_numpy().max(initial=0.0)) for k in ("long", "short")) or 1.0)


def ladder_data(rows: pl.DataFrame, step: int, top: float, *, apart: int = 1) -> dict[str, list[object]]:
    """What the ladder shows, row by row: bars as shares of `top`, sizes in words, walls with their multiple of the median.

    Numbers stand at walls, then at rows from `TOLD_TIMES` the median on, the heaviest first, where no other is within `apart` rows.
    Colours are names of `workbench.theme.INKS`.
    """
    # Lists, not arrays: an array is two messages more on the wire, which costs more than a few dozen numbers as text.
    long, short, rest, change, times, wall = (rows[k].to_numpy() for k in ("long", "short", "rest", "change", "times", "wall"))
    ends = REST + REST_WIDE * rest / (rest.max(initial=0) or 1.0)
    show = np.zeros(rows.height, dtype=bool)
    for i in sorted(np.flatnonzero(wall | (times >= TOLD_TIMES)), key=lambda i: (not wall[i], -times[i])):
        show[i] = wall[i] or not show[max(i - apart + 1, 0) : i + apart].any()
    return {
        "y": (rows["tick"].to_numpy() + (step - 1) / 2).tolist(),
        "h": [step * 0.8] * rows.height,
        "short": (-np.minimum(short / top, 1.0)).tolist(),
        "long": np.minimum(long / top, 1.0).tolist(),
        "rest": ends.tolist(),
        "rest_x": (ends + 0.04).tolist(),
        "rest_text": [
            f"{r:,.0f}" + (f" ◆{axes.times_text(t)}×" if w else "") if s and r > 0 else "" for r, t, w, s in zip(rest, times, wall, show)
        ],
        "rest_colour": ["long" if s == "bid" else "short" for s in rows["side"]],
        "fill_colour": ["wall" if w else "text" for w in wall],
        "change_text": [f"{'▲' if c > 0 else '▼'} {abs(c):,.0f}" if s and c else "" for c, s in zip(change, show)],
        "change_colour": ["text" if c > 0 else "muted" for c in change],
    }
