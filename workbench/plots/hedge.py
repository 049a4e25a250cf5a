"""What hedgers of options would trade at each price, and at strikes what was bought and sold of calls and puts, beside the ladder.

Bars are contracts of the future a point, under one rule: to the right, filled, what is sold as price rises and so brakes it; to the left,
hollow, what is bought as it rises and so drives it on. Calls and puts have hues of their own, the line is their sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from bokeh import models
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, FixedTicker, GlyphRenderer, HBar, Line, LinearAxis, Range1d, Text
from bokeh.plotting import figure

from engine.options.reading import StrikeFlow
from engine.session import nice_top
from workbench.assets import script
from workbench.plots import axes, heatmap
from workbench.theme import FONT, MONO, Theme

FLOW_ZERO, FLOW_WIDE = 1.72, 0.6
"""Where flow at strikes begins, and how far its largest bar reaches to each side."""

RIGHT_END = FLOW_ZERO + FLOW_WIDE + 0.06
NAMES = {"call_wall": "C", "put_wall": "P", "zero_gamma": "0G"}
"""What stands at the line of a level."""

ZERO_BAND = 3.0
"""Points: the model knows the zero no better."""

BARS = ("y", "h", "c0", "c1", "c_alpha", "p0", "p1", "p_alpha", "line", "said")
FLOWS = ("y", "h", "up0", "up1", "up2", "down0", "down1", "down2")
FILLED, HOLLOW = 0.85, 0.0
MOST_LINED, THIN = 60, 0.35
"""Of more rows than these the outlines are thin: they would be all that is seen."""

WORDS = {"0dte": "today's", "week": "a week's", "all": "all"}
"""Expiries that count, in words: "all expiries"."""


@dataclass
class HedgeParts:
    """The figure and what is patched in it."""

    figure: figure
    bars: ColumnDataSource
    net: ColumnDataSource
    flow: ColumnDataSource
    lines: ColumnDataSource
    band: models.BoxAnnotation
    scale: ColumnDataSource
    renderers: dict[str, GlyphRenderer]


def hedge_figure(theme: Theme, tick_size: float, *, y_range: Range1d | None = None, width: int = 170, height: int = 520) -> HedgeParts:
    """An empty figure; give it the chart's `y_range` to have both on one price axis.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> hedge_figure(DARK, 0.25).figure.name
    'hedge'
    """
    bars, net, flow = axes.empty(*BARS, name="hedge_bars"), axes.empty("x", "y", name="hedge_net"), axes.empty(*FLOWS, name="hedge_flow")
    lines, scale = axes.empty("y", "text", name="hedge_lines"), ColumnDataSource({"top": [1.0], "flow": [1.0]})
    fig = axes.plain_figure(
        "hedge", width=width, height=height, sizing_mode="stretch_both", x_range=Range1d(-1.06, RIGHT_END),
        y_range=y_range or Range1d(0, 1), min_border_left=4, min_border_right=4, min_border_top=heatmap.TOP,
        min_border_bottom=heatmap.BOTTOM, x_axis_location="above",
    )  # fmt: skip
    fig.yaxis.visible = fig.grid.visible = False
    fig.yaxis.formatter = axes.price_formatter(tick_size)
    fig.xaxis[0].ticker = FixedTicker(ticks=[-0.53, 0.53, FLOW_ZERO])
    fig.xaxis[0].formatter = CustomJSTickFormatter(code=script("hedge_label", KIND="words"))
    sizes = CustomJSTickFormatter(args={"scale": scale}, code=script("hedge_label", KIND="contracts"))
    fig.add_layout(LinearAxis(ticker=FixedTicker(ticks=[-1, 0, 1, FLOW_ZERO]), formatter=sizes), "below")
    row: axes.Look = {"y": "y", "height": "h"}
    thin: axes.Look = {**row, "line_color": None}
    made = {
        # Found by the pointer all over the row, whatever its bars are.
        "row": axes.add(fig, HBar, bars, **thin, left=-1.06, right=RIGHT_END, fill_alpha=0.0),
        "calls": axes.add(fig, HBar, bars, **row, left="c0", right="c1", fill_alpha="c_alpha", line_width="line"),
        "puts": axes.add(fig, HBar, bars, **row, left="p0", right="p1", fill_alpha="p_alpha", line_width="line"),
        "up": axes.add(fig, HBar, flow, **thin, left="up0", right="up1"),
        "down": axes.add(fig, HBar, flow, **thin, left="down1", right="down0"),
    }
    unsigned: axes.Look = {**row, "fill_color": None, "hatch_pattern": "/", "hatch_scale": 5, "hatch_weight": 1.2, "line_width": 0.8}
    made["up_unsigned"] = axes.add(fig, HBar, flow, **unsigned, left="up1", right="up2")
    made["down_unsigned"] = axes.add(fig, HBar, flow, **unsigned, left="down2", right="down1")
    made["zeros"] = axes.add(fig, models.VSpan, ColumnDataSource({"x": [0.0, FLOW_ZERO]}), x="x", line_width=1)
    made["net_casing"] = axes.add(fig, Line, net, x="x", y="y", line_width=4, line_alpha=0.8)
    made["net"] = axes.add(fig, Line, net, x="x", y="y", line_width=1.7)
    made["lines"] = axes.add(fig, models.HSpan, lines, y="y", line_width=1.5, line_dash=[6, 3])
    made["names"] = axes.add(
        fig, Text, lines, x=RIGHT_END - 0.05, y="y", text="text", text_font=value(MONO), text_font_size="12px", text_font_style="bold",
        text_align="right", text_baseline="middle", padding=2, border_radius=3, background_fill_alpha=0.9,
    )  # fmt: skip
    band = models.BoxAnnotation(fill_alpha=0.14, line_color=None, level="underlay", visible=False)
    fig.add_layout(band)
    said = "<div>@said{safe}</div>"
    fig.add_tools(models.HoverTool(renderers=[made["row"]], tooltips=said, attachment="left", point_policy="follow_mouse"))
    parts = HedgeParts(fig, bars, net, flow, lines, band, scale, made)
    axes.put_on(hedge_theme_values(parts, theme))
    return parts


def hedge_theme_values(parts: HedgeParts, theme: Theme) -> axes.ThemeValues:
    """What `theme` sets on the figure."""
    r = {name: renderer.glyph for name, renderer in parts.renderers.items()}
    sides = (*parts.figure.above, *parts.figure.below)
    return [
        *axes.theme_values(parts.figure, theme, size="12px"),
        *((a, {"major_label_text_font": FONT, "major_label_text_color": theme.muted}) for a in sides),
        *((r[k], {"fill_color": c, "line_color": c}) for k, c in (("calls", theme.call), ("puts", theme.put))),
        *((r[k], {"fill_color": c}) for k, c in (("up", theme.long), ("down", theme.short))),
        *((r[f"{k}_unsigned"], {"line_color": c, "hatch_color": c}) for k, c in (("up", theme.long), ("down", theme.short))),
        (r["zeros"], {"line_color": theme.edge}),
        (r["net_casing"], {"line_color": theme.casing}),
        (r["net"], {"line_color": theme.text}),
        (r["lines"], {"line_color": theme.level}),
        (r["names"], {"text_color": theme.level, "background_fill_color": theme.page}),
        (parts.band, {"fill_color": theme.level}),
    ]


def hedge_data(
    y: np.ndarray, step: int, calls: np.ndarray, puts: np.ndarray, top: float, said: list[str]
) -> tuple[dict[str, list[object]], dict[str, list[object]]]:
    """Sources of the bars and of the line at rows whose middles are `y`, of what hedgers of calls and of puts trade there.

    Bars are shares of `top`. Calls begin at zero; puts, too, where they have the other sign, else at the end of the calls' bar.
    """
    known = ~np.isnan(calls)
    at, c, p = y[known], calls[known] / top, puts[known] / top
    begin = np.where(c * p > 0, c, 0.0)
    bars: dict[str, list[object]] = {
        "y": at.tolist(), "h": [0.8 * step] * len(at), "c0": [0.0] * len(at), "c1": c.tolist(), "p0": begin.tolist(),
        "p1": (begin + p).tolist(),
        "line": [1.0 if len(at) <= MOST_LINED else THIN] * len(at),
        "said": [t for t, there in zip(said, known.tolist()) if there],
        **{f"{k}_alpha": [FILLED if v > 0 else HOLLOW for v in values.tolist()] for k, values in (("c", c), ("p", p))},
    }  # fmt: skip
    net = c + p
    return bars, {"x": net.tolist(), "y": at.tolist()}


def hedge_top(calls: np.ndarray, puts: np.ndarray) -> float:
    """A round number of contracts a point that all bars fit in."""
    both = np.where(calls * puts > 0, calls + puts, np.where(np.abs(calls) > np.abs(puts), calls, puts))
    return nice_top(float(np.nanmax(np.abs(both), initial=0.0)))


def flow_data(flow: StrikeFlow, tick_size: float, step: int, low: int, high: int) -> tuple[dict[str, list[object]], float]:
    """(source of the bars at strikes whose row is from tick `low` to `high`, contracts of the future that the widest side is of).

    To the right what pushes up, to the left what pushes down; what has no side is half on each end.
    """
    ticks = np.round(flow.strike / tick_size).astype(np.int64) // step * step
    shown = (ticks >= low) & (ticks <= high) & (flow.up + flow.down + flow.unsigned > 0)
    y = (ticks + (step - 1) / 2)[shown]
    up, down, rest = (a[shown] for a in (flow.up, flow.down, flow.unsigned / 2))
    top = nice_top(float(max((up + rest).max(initial=0.0), (down + rest).max(initial=0.0))))
    wide = FLOW_WIDE / top
    zero = np.full(len(y), FLOW_ZERO)
    columns = (
        zero, zero + wide * up, zero + wide * (up + rest), zero, zero - wide * down, zero - wide * (down + rest),
    )  # fmt: skip
    made: dict[str, list[object]] = {"y": y.tolist(), "h": [max(step, 2) * 0.9] * len(y)}
    return made | dict(zip(FLOWS[2:], (c.tolist() for c in columns))), top


def line_data(levels: Mapping[str, float], tick_size: float) -> dict[str, list[object]]:
    """Source of the lines of walls and zero at their prices; those at one price have one name."""
    at: dict[float, list[str]] = {}
    for level_id, name in NAMES.items():
        if level_id in levels:
            at.setdefault(round(levels[level_id] / tick_size), []).append(name)
    return {"y": list(at), "text": [" ".join(names) for names in at.values()]}


def band_of(levels: Mapping[str, float], tick_size: float) -> tuple[float, float] | None:
    """Lower and upper end of the zero's band, in ticks; None without a zero."""
    zero = levels.get("zero_gamma")
    return None if zero is None else ((zero - ZERO_BAND) / tick_size, (zero + ZERO_BAND) / tick_size)
