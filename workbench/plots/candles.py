"""Two-minute candles on a price range of their own, volume below, with the setup marked on them: trigger, confirmation, look-back and
look-forward around the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from bokeh import models
from bokeh.core.properties import value
from bokeh.models import BoxAnnotation, ColumnDataSource, GlyphRenderer, LinearColorMapper, Range1d, Segment, Text, VBar
from bokeh.plotting import figure

from engine.bars import BAR_NS
from workbench.plots import axes, levels
from workbench.theme import FONT, Theme

BAR_MS = BAR_NS / 1e6

LOOK_BACK, LOOK_FORWARD = 6, 3
"""Candles read before the confirmation's close (itself included), and candles whose course is the outcome."""

SHOWN, AHEAD = 40, 20
"""Candles shown before the clock's own, and the room for as many after it: the look-forward, and the names of levels beside it."""

VOLUME_SHARE, HEAD_SHARE = 0.2, 0.11
"""Of the figure's height, taken by the highest bar of the volume, and left for the trigger's words above the highest candle."""

LETTER_PX = 7.6
"""Width of a letter of the words, px, with some to spare."""

LONGEST_NAME = 18
"""Levels on one tick are all named where that takes no more letters, else the chosen or first one, and how many more."""

NAME_PX = 17
"""Room of one level's name, from line to line, px."""

BESIDE_PX = 700
"""A figure as wide has the words of the setup and the names of levels beside each other."""

LEADER_PX = 14
"""Width of the line from a level to its name where that had to make room for another, px."""

SOURCES = {
    "candles": ("x", "low", "high", "top", "bottom", "up", "width", "volume", "said"),
    "levels": ("x0", "x1", "y", "chosen", "colour"),
    "names": ("x", "y", "text", "colour", "from", "tick", "to"),
    "words": ("x", "y", "text", "align", "colour"),
    "leader": ("x0", "y0", "x1", "y1"),
}
"""Columns of each source."""


@dataclass
class CandleParts:
    """The figure and what is patched in it; `boxes` are ``back``, ``confirm`` and ``forward``."""

    figure: figure
    sources: dict[str, ColumnDataSource]
    boxes: dict[str, BoxAnnotation]
    volume: Range1d
    ink: models.CategoricalColorMapper
    renderers: dict[str, GlyphRenderer]


def add_candles(fig: figure, source: ColumnDataSource) -> dict[str, GlyphRenderer]:
    """Solid candles in `fig`; their colours are the palette of the mapper of ``body``."""
    wick = {"x0": "x", "y0": "low", "x1": "x", "y1": "high"}
    # Of the two colours only the palette changes with the theme, not the data.
    colour = {"field": "up", "transform": LinearColorMapper(palette=["#000000"] * 2, low=-0.5, high=1.5, name="candle_colours")}
    return {
        "wick": axes.add(fig, Segment, source, **wick, line_width=1.4, line_color=colour),
        "body": axes.add(
            fig, VBar, source, x="x", width="width", top="top", bottom="bottom", fill_color=colour, line_color=colour, line_width=1
        ),
    }  # fmt: skip


def candle_figure(theme: Theme, tick_size: float, *, height: int = 520) -> CandleParts:
    """An empty figure of candles; y is in ticks, labelled in price at the left.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> candle_figure(DARK, 0.25).figure.name
    'candles'
    """
    src = {name: axes.empty(*columns, name=name) for name, columns in SOURCES.items()}
    fig = axes.plain_figure(
        "candles", height=height, sizing_mode="stretch_both", x_range=Range1d(0, 1), y_range=Range1d(0, 1), min_border_left=70,
        min_border_right=4, min_border_top=24, min_border_bottom=22, lod_threshold=None,
    )  # fmt: skip
    fig.xaxis.formatter, fig.xaxis.ticker = axes.time_formatter(), axes.time_ticker()
    fig.xgrid.visible = False
    fig.yaxis.formatter = axes.price_formatter(tick_size)
    fig.yaxis.ticker = axes.tick_ticker()
    fig.yaxis.ticker.desired_num_ticks = 6
    volume = Range1d(0, 1, name="volume")
    fig.extra_y_ranges = {"volume": volume}
    boxes = {
        "back": BoxAnnotation(fill_alpha=0.1, line_color=None, level="underlay", visible=False),
        "confirm": BoxAnnotation(fill_color=None, line_dash=[2, 3], line_width=1.2, line_alpha=1.0, visible=False),
        "forward": BoxAnnotation(fill_alpha=0.05, line_width=1.6, line_alpha=1.0, visible=False),
    }
    for box in boxes.values():
        fig.add_layout(box)
    colour = axes.ink(ink := axes.ink_mapper(theme))
    line = {"x0": "x0", "y0": "y", "x1": "x1", "y1": "y"}
    made = {"levels": axes.add(fig, Segment, src["levels"], **line, line_width="chosen", line_color=colour, line_dash=[6, 3])}
    made |= add_candles(fig, src["candles"])
    made["volume"] = axes.add(
        fig, VBar, src["candles"], x="x", width="width", top="volume", bottom=0, fill_alpha=0.7, line_color=None,
        fill_color=made["body"].glyph.fill_color,
    )  # fmt: skip
    made["volume"].y_range_name = "volume"
    made["leader"] = axes.add(fig, Segment, src["leader"], x0="x0", y0="y0", x1="x1", y1="y1", line_width=1.2, line_dash=[2, 3])
    made["leaders"] = axes.add(fig, Segment, src["names"], x0="from", y0="tick", x1="to", y1="y", line_width=1.5, line_color=colour)
    text = {"text_font": value(FONT), "text_font_size": "12px", "text_font_style": "bold", "text_baseline": "middle"}
    made["names"] = axes.add(
        fig, Text, src["names"], x="x", y="y", text="text", text_align="right", text_color=colour, padding=2, border_radius=3,
        background_fill_alpha=0.9, **text,
    )  # fmt: skip
    made["words"] = axes.add(
        fig, Text, src["words"], x="x", y="y", text="text", text_align="align", text_color=colour, padding=2, background_fill_alpha=0.8,
        **text,
    )  # fmt: skip
    wheel = models.WheelZoomTool(dimensions="width", maintain_focus=False)
    # A body may be a pixel high: the whole column of a candle is pointed at.
    said = models.HoverTool(renderers=[made["body"]], tooltips="<b>@said</b>", mode="vline", attachment="vertical")
    fig.add_tools(models.PanTool(), wheel, models.ResetTool(), said)
    fig.toolbar.active_scroll = wheel
    parts = CandleParts(fig, src, boxes, volume, ink, made)
    axes.put_on(candle_theme_values(parts, theme))
    return parts


def candle_theme_values(parts: CandleParts, theme: Theme) -> axes.ThemeValues:
    """What `theme` sets on the figure."""
    r, boxes = {name: renderer.glyph for name, renderer in parts.renderers.items()}, parts.boxes
    return [
        *axes.theme_values(parts.figure, theme, size="12px"),
        (r["body"].fill_color["transform"], {"palette": [theme.candle_down, theme.candle_up]}),
        (parts.ink, {"palette": axes.inks(theme)}),
        (r["leader"], {"line_color": theme.muted}),
        (r["names"], {"background_fill_color": theme.panel}),
        (r["words"], {"background_fill_color": theme.map_floor}),
        (boxes["back"], {"fill_color": theme.muted}),
        (boxes["confirm"], {"line_color": theme.muted}),
        (boxes["forward"], {"fill_color": theme.long, "line_color": theme.long}),
    ]


def candle_words(bars: pl.DataFrame, tick_size: float) -> list[str]:
    """Each candle's read-out: ``10:04, open 6798.25, high 6799.00, low 6798.00, close 6798.50, volume 1,204``."""
    keys = [f"{k}_tick" for k in ("open", "high", "low", "close")]
    volumes = bars["volume"].to_list() if "volume" in bars.columns else [None] * bars.height
    out = []
    for (start, *ticks), volume in zip(bars.select("window_start_ts_ns", *keys).iter_rows(), volumes):
        prices = [f"{k.removesuffix('_tick')} {axes.price_text(tick, tick_size)}" for k, tick in zip(keys, ticks)]
        out.append(", ".join([axes.clock(start, seconds=False), *prices, *([] if volume is None else [f"volume {volume:,}"])]))
    return out


def candle_data(bars: pl.DataFrame, day_ts_ns: int, tick_size: float, *, share: float = 0.72) -> dict[str, Any]:
    """Source of the candles from ``bars_2m``; a body is `share` of its two minutes wide."""
    o, c = bars["open_tick"].to_numpy(), bars["close_tick"].to_numpy()
    # A body of no height would vanish: a quarter tick makes its bar visible.
    flat = np.where(o == c, 0.12, 0.0)
    return {
        "x": axes.x_ms(bars["window_start_ts_ns"].to_numpy(), day_ts_ns) + BAR_MS / 2,
        "low": bars["low_tick"].to_numpy().astype(float),
        "high": bars["high_tick"].to_numpy().astype(float),
        "top": np.maximum(o, c) + flat,
        "bottom": np.minimum(o, c) - flat,
        "up": (c >= o).astype(float),
        "width": np.full(o.size, BAR_MS * share),
        "volume": bars["volume"].to_numpy().astype(float) if "volume" in bars.columns else np.zeros(o.size),
        "said": candle_words(bars, tick_size),
    }


def stretch(now_ns: int) -> tuple[int, int]:
    """The time that the figure shows around the clock, ns: it moves on with each candle."""
    own = (now_ns - 1) // BAR_NS * BAR_NS
    return own - SHOWN * BAR_NS, own + AHEAD * BAR_NS


def price_span(bars: pl.DataFrame, level: int | None) -> tuple[float, float]:
    """Price range that fits the candles, and the level where it is no further off than they reach; with room for volume and words."""
    if bars.height == 0:
        low = high = float(level or 0)
    else:
        low, high = float(bars["low_tick"].min()), float(bars["high_tick"].max())  # type: ignore[arg-type]
    reach = max(high - low, 8.0)
    if level is not None and low - reach <= level <= high + reach:
        low, high = min(low, level), max(high, level)
    span = max(high - low, 8.0) / (1 - VOLUME_SHARE - HEAD_SHARE)
    return low - VOLUME_SHARE * span, high + HEAD_SHARE * span


def pills(
    names: list[tuple[str, int, bool]], shown: tuple[float, float], prices: tuple[float, float], width_px: float, height_px: float
) -> dict[str, list[object]]:
    """Source of the levels' names at the right edge: the chosen one first, and as many as there is room for.

    `names` are (title, tick, whether chosen), `shown` the time axis, `prices` the price axis, `width_px` and `height_px` their lengths. A
    name that had to make room for another has a line from its level (``from, tick``) to it (``to, y``).
    """
    low, high = prices
    span = high - low
    px = span / max(height_px, 60.0)
    floor, roof = low + 0.6 * NAME_PX * px, high - 0.6 * NAME_PX * px
    if width_px < BESIDE_PX:
        # Between the words of the setup, however low the figure is: they reach as far as the names.
        floor, roof = low + (VOLUME_SHARE + 0.09) * span, high - max(HEAD_SHARE * span, 30 * px)
    at: dict[int, list[tuple[str, bool]]] = {}
    for title, tick, chosen in names:
        if low <= tick <= high:
            at.setdefault(tick, []).append((title, chosen))
    # No more than there is room for: the chosen one, then those nearest to it, or to the middle.
    middle = next((tick for _, tick, chosen in names if chosen and tick in at), (low + high) / 2)
    room = max(int((roof - floor) / (NAME_PX * px)) + 1, 1)
    ticks = sorted(sorted(at, key=lambda k: (abs(k - middle), k))[:room])
    places = levels.spread([float(k) for k in ticks], NAME_PX * px, floor, roof)
    rows, per_px = [], (shown[1] - shown[0]) / max(width_px, 200.0)
    for tick, y in zip(ticks, places):
        of = sorted(at[tick], key=lambda name: not name[1])
        both = " & ".join(name for name, _ in of)
        text = both if len(both) <= LONGEST_NAME else f"{of[0][0]} & {len(of) - 1} more"
        moved = float(tick) if abs(y - tick) > 3 * px else float("nan")
        left = shown[1] - per_px * (LETTER_PX * len(text) + 6)
        rows.append((shown[1], y, text, "level" if of[0][1] else "text", left - per_px * LEADER_PX, moved, left))
    return axes.columns(SOURCES["names"], rows)


def setup_words(
    trigger: int | None,
    back: tuple[int, int],
    crossed: str,
    now_ns: int,
    prices: tuple[float, float],
    day_ns: int,
    trigger_high: float | None,
    shown: tuple[float, float],
    width_px: float,
) -> tuple[dict[str, tuple[float, float] | None], dict[str, list[object]], dict[str, list[object]]]:
    """Boxes of the setup (start and end on the time axis), the words beside them, and the line from the trigger's words to its candle.

    Parameters
    ----------
    trigger, back : int or None, tuple of int
        Start of the trigger, None where there is none, and span of the look-back, ns since the epoch.
    prices, shown : tuple of float
        The price axis, and the time axis, which is `width_px` wide: words that have no room are shortened or left out.
    """

    def x(ts_ns: int) -> float:
        return float(axes.x_ms(ts_ns, day_ns))

    def fit(at: float, texts: tuple[str, ...], *, left: bool = False) -> str:
        room = (at - shown[0] if left else shown[1] - at) / (shown[1] - shown[0]) * max(width_px, 200.0)
        return next((t for t in texts if LETTER_PX * len(t) <= room), "")

    low, high = prices
    boxes: dict[str, tuple[float, float] | None] = {"back": (x(back[0]), x(back[1])), "confirm": None, "forward": None}
    rows: list[tuple[object, ...]] = []
    line: list[tuple[object, ...]] = []
    foot = low + (VOLUME_SHARE + 0.03) * (high - low)
    rows.append((x(back[1]), foot, f"{LOOK_BACK}-bar look-back ", "right", "muted"))
    if trigger is not None:
        at = x(trigger) + BAR_MS / 2
        top = high - 0.045 * (high - low)
        clock = axes.clock(trigger, seconds=False)
        rows.append((at - BAR_MS, top, fit(at - BAR_MS, (f"Trigger {clock}, {crossed}", f"Trigger {clock}"), left=True), "right", "text"))
        if trigger_high is not None:
            line.append((at - BAR_MS, top - 0.02 * (high - low), at, trigger_high))
        begin = trigger + BAR_NS
        close = begin + BAR_NS
        boxes["confirm"], boxes["forward"] = (x(begin), x(close)), (x(close), x(close + LOOK_FORWARD * BAR_NS))
        done = now_ns >= close
        says = "confirmed" if done else "closes"
        after = max(begin, back[1])
        rows.append((x(after), foot, fit(x(after), (f" {says} {axes.clock(close, seconds=False)}", f" {says}")), "left", "muted"))
        rows.append((x(close), top, fit(x(close), ("look-forward", "forward")), "left", "long"))
    return boxes, axes.columns(SOURCES["words"], rows), axes.columns(SOURCES["leader"], line)
