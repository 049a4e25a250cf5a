"""Panels of a setup's picture: candles, heatmap, price ladder, marks and colours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from engine.ladder import known_cells
from engine.vocab import NS
from workbench.plots import axes, conditions, heatmap, ladder
from workbench.plots.levels import spread
from workbench.snapshot.scene import BAR_NS, LOOK_BACK, LOOK_FORWARD, Scene
from workbench.theme import THEMES

# ----------------------------------------------------------------------------
# The middle panel: the heatmap around the level with best prices and trades, the four conditions below on the same time axis

IMAGE: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "nearest", "zorder": 1}


def paint(codes: np.ndarray, palette: list[str]) -> np.ndarray:
    """Codes as colours, shape (..., 4) uint8; code 0 is clear."""
    return np.rint(to_rgba_array(palette) * 255).astype(np.uint8)[codes]


def draw_heat(sheet: Sheet, ax: Axes) -> None:
    """Heatmap, best bid and ask, trades, zones and the level into `ax`."""
    scene, theme, layer = sheet.scene, sheet.theme, heatmap.LAYERS[sheet.scene.picture.layer]
    k, rows, z = scene.k_ref, scene.picture.rows, scene.features.zones
    begin, end = (scene.x(t) for t in scene.span_ns)
    codes = heatmap.codes(heatmap.values(scene.cube, layer), layer, scene.top).T
    ticks = scene.cube["tick"].to_numpy()
    image = paint(codes, heatmap.palette_of(theme, layer, scene.picture.palette))
    ax.imshow(image, extent=(begin, end, float(ticks[0]) - 0.5, float(ticks[-1]) + 0.5), **IMAGE)
    ax.set_xlim(begin, end)
    ax.set_ylim(k - rows - 0.5, k + rows + 0.5)
    _hatch_invalid(sheet, ax)
    for bound in (z.at, z.near, z.mid, z.far):
        for sign in (1, -1):
            ax.axhline(k + sign * (bound + 0.5), color=theme.muted, linewidth=0.9, linestyle=(0, (1, 4)), zorder=2)
    quotes = heatmap.quote_data(scene.tape, scene.now_ns, scene.features.window_s)
    for side in ("bid", "ask"):
        ax.step(quotes["x"], quotes[side], where="post", color=theme.casing, linewidth=3.4, zorder=3, alpha=0.7)
    for side, colour in (("ask", theme.short), ("bid", theme.long)):
        ax.step(quotes["x"], quotes[side], where="post", color=colour, linewidth=1.5, zorder=3)
    _trades(sheet, ax)
    _level_lines(sheet, ax)
    _veil(sheet, ax)
    times = time_ticks(*scene.span_ns, 8, (1, 2, 5, 10, 15, 30))
    sheet.label_ticks(ax, "x", [scene.x(t) for t in times], [axes.clock(t, seconds=False) for t in times])
    apart = [d for d in range(-rows, rows + 1) if d % 4 == 0]
    sheet.label_ticks(ax, "y", [k + d for d in apart], [f"+{d}" if d > 0 else f"−{-d}" if d else "0" for d in apart])
    dollar = max(round(1 / scene.tick_size), 1) if 1 / scene.tick_size <= 10 else 5
    whole = [i for i in range(k - rows, k + rows + 1) if i % dollar == 0]
    right = ax.twinx()
    right.set_ylim(ax.get_ylim())
    for spine in right.spines.values():
        spine.set_visible(False)
    sheet.label_ticks(right, "y", whole, [scene.price(i) for i in whole])
    _ribbon(sheet, ax)


def _hatch_invalid(sheet: Sheet, ax: Axes) -> None:
    """Stretches in which the book is not valid: hatched, under what is known near the touch; never filled with what was there before."""
    spans = heatmap.invalid_data(sheet.scene.cube)
    for left, right in zip(spans["left"], spans["right"]):
        ax.axvspan(left, right, facecolor=sheet.theme.map_floor, edgecolor=sheet.theme.invalid, hatch="////", linewidth=0, zorder=0.5)


def _veil(sheet: Sheet, ax: Axes) -> None:
    """What came after the moment, dimmed, and the line between."""
    at = sheet.scene.x(sheet.scene.end_ns)
    ax.axvspan(at, ax.get_xlim()[1], color=sheet.theme.page, alpha=0.42, linewidth=0, zorder=4.5)
    ax.axvline(at, color=sheet.theme.text, linewidth=1.4, linestyle=(0, (3, 2)), zorder=6)


def _trades(sheet: Sheet, ax: Axes) -> None:
    """What traded: a mark per window and side at its mean price, its area by size, up for buys and down for sells."""
    scene, theme, cube = sheet.scene, sheet.theme, sheet.scene.cube
    tick = cube["tick"].to_numpy().astype(float)
    x = axes.x_ms(cube["window_start_ts_ns"].to_numpy(), scene.now_ns) + scene.features.window_s * 500
    known = known_cells(cube)
    sizes = {s: cube[f"{s}_fill"].to_numpy().astype(float) * known for s in ("ask", "bid")}
    totals = {s: v.sum(axis=1) for s, v in sizes.items()}
    # Set by the time before the moment, as the colours are.
    seen = cube["window_end_ts_ns"].to_numpy() <= scene.end_ns
    live = np.concatenate([t[seen & (t > 0)] for t in totals.values()])
    if live.size == 0:
        return
    top, least = float(np.quantile(live, 0.99)), float(np.quantile(live, 0.75))
    for side, marker, colour in (("ask", "^", theme.long), ("bid", "v", theme.short)):
        shown = totals[side] > least
        total = totals[side][shown]
        where, area = (sizes[side][shown] @ tick) / total, 10 + 70 * np.minimum(total / top, 1.5)
        ax.scatter(x[shown], where, s=area, marker=marker, color=colour, edgecolors=theme.casing, linewidths=0.9, zorder=3.5, alpha=0.92)


def _level_lines(sheet: Sheet, ax: Axes) -> None:
    scene, theme, k = sheet.scene, sheet.theme, sheet.scene.k_ref
    for x0, x1, y, mine in scene.level_runs():
        ax.plot((x0, x1), (y, y), color=theme.casing, linewidth=4.4 if mine else 3.0, zorder=4, solid_capstyle="butt", alpha=0.8)
        colour, width, dashes = (theme.level, 2.2, (6, 2)) if mine else (theme.text, 1.2, (4, 3))
        ax.plot((x0, x1), (y, y), color=colour, linewidth=width, linestyle=(0, dashes), zorder=4)
    low, high = ax.get_ylim()
    at: dict[int, list[str]] = {}
    for n in scene.names:
        if n.known and low <= n.tick <= high:
            at.setdefault(n.tick, []).append(n.title)
    # A label is just above its line, pushed up or down where another one is there already.
    per_px = sheet.per_px(ax)[1]
    ticks = sorted(at)
    places = spread([tick + 11 * per_px for tick in ticks], 20 * per_px, low + 9 * per_px, high - 10 * per_px)
    left, right = ax.get_xlim()
    for tick, place in zip(ticks, places):
        ax.text(
            left + 0.018 * (right - left), place, " · ".join(at[tick]), fontproperties=font(12.5, bold=True), va="center_baseline",
            zorder=7, color=theme.level if tick == k else theme.text,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": theme.page, "edgecolor": "none", "alpha": 0.82},
        )  # fmt: skip


def _ribbon(sheet: Sheet, ax: Axes) -> None:
    """Above the heatmap: which stretch of it is look-back, trigger, confirmation and look-forward."""
    scene, theme, s = sheet.scene, sheet.theme, sheet.scene.setup

    def candle(start: int | None) -> tuple[int, int] | None:
        return None if start is None else (start, start + BAR_NS)

    transform = ax.get_xaxis_transform()
    for text, span, fill, ink in (
        ("trigger", candle(s.trigger_ns), theme.text, theme.page),
        ("look-back", (s.back_ns[0], s.trigger_ns or s.back_ns[1]), theme.edge, theme.text),
        ("confirm", candle(s.confirmation_ns), theme.muted, theme.page),
        ("look-forward", s.forward_ns, theme.long, theme.page),
    ):
        a, b = (0, 0) if span is None else (max(span[0], scene.span_ns[0]), min(span[1], scene.span_ns[1]))
        if a >= b:
            continue
        x0, x1 = scene.x(a), scene.x(b)
        ax.fill_between((x0, x1), 1.006, 1.030, transform=transform, color=fill, linewidth=1, edgecolor=theme.page, clip_on=False)
        if (x1 - x0) / sheet.per_px(ax)[0] > sheet.text_width(text, 11, bold=True) + 4:
            look: axes.Look = {"color": ink, "fontproperties": font(11, bold=True), "ha": "center", "va": "center"}
            ax.text((x0 + x1) / 2, 1.018, text, transform=transform, **look)


def draw_conditions(sheet: Sheet, ax: Axes) -> None:
    """The four conditions in both directions, and the count open, into `ax`."""
    scene, theme = sheet.scene, sheet.theme
    begin, end = (scene.x(t) for t in scene.span_ns)
    ax.set_xlim(begin, end)
    ax.set_ylim(-0.1, conditions.TOP_Y)
    _hatch_invalid(sheet, ax)
    edges = np.linspace(begin, end, scene.cube.sizes["window"] + 1)
    for d, colour in (("down", theme.short), ("up", theme.long)):
        cells, count = scene.conditions(d)
        base = conditions.BASE[d]
        ax.imshow(paint(cells, ["#00000000", theme.edge, colour]), extent=(begin, end, base, base + conditions.ROWS), **IMAGE)
        for i in range(1, 4):
            ax.axhline(base + i, color=theme.map_floor, linewidth=1.2, zorder=2)
        floor = conditions.floor(d)
        height = (conditions.BAND - 0.3) * np.append(count, count[-1]) / 4
        ax.fill_between(edges, floor, floor + height, step="post", color=colour, linewidth=0, zorder=2)
        ax.axhline(floor, color=theme.edge, linewidth=1, zorder=2)
    ax.set_xlim(begin, end)
    ax.set_ylim(-0.1, conditions.TOP_Y)
    _veil(sheet, ax)


# ----------------------------------------------------------------------------
# Type, colours and places of a picture: only fonts that matplotlib brings along, so that every machine draws the same

REFERENCE = (1920, 1080)

DPI = 100
"""Sizes of type and lines are px of a picture of `REFERENCE` size; a larger or smaller one scales them."""

_STYLE: dict[str, Any] = {
    "text.parse_math": False,  # a name from outside is text, never a formula
    "text.hinting": "none",
    "path.simplify": False,
    "axes.unicode_minus": True,
    "hatch.linewidth": 0.6,
}

_LOCK = RLock()


@lru_cache(maxsize=64)
def font(px: float, *, bold: bool = False, mono: bool = False) -> FontProperties:
    """DejaVu of `px`, by the path of the file inside matplotlib: a system's font of that name may be another version."""
    name = f"DejaVuSans{'Mono' if mono else ''}{'-Bold' if bold else ''}.ttf"
    return FontProperties(fname=Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size=px * 72 / DPI)


@contextmanager
def settings() -> Iterator[None]:
    """Matplotlib as it comes, whatever the user's own file says; one thread at a time, for its settings are the process's."""
    with _LOCK, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]
        yield


def pixels(figure: Figure) -> np.ndarray:
    """The figure drawn, (height, width, 4) uint8."""
    with settings():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba()).copy()


class Sheet:
    """The figure of a scene, with places in px from the top left of a picture of reference size."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.theme = scene, THEMES[scene.picture.theme]
        width, height = scene.picture.width_px, scene.picture.height_px
        # Type stays readable in a small picture: less room there, not smaller letters.
        self.scale = max(min(width / REFERENCE[0], height / REFERENCE[1]), 0.86)
        self.width, self.height = width / self.scale, height / self.scale
        # Half a px too much is cut off by the canvas, half too few would lose a row.
        size = ((width + 0.01) / (DPI * self.scale), (height + 0.01) / (DPI * self.scale))
        self.figure = Figure(figsize=size, dpi=DPI * self.scale, facecolor=self.theme.page)
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """An empty axes between these px."""
        w, h = self.width, self.height
        place = (left / w, 1 - bottom / h, (right - left) / w, (bottom - top) / h)
        ax = self.figure.add_axes(place, facecolor=self.theme.map_floor, xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(color=self.theme.edge, linewidth=1.0)
        return ax

    def per_px(self, ax: Axes) -> tuple[float, float]:
        """Data units of `ax` in a px, across and up."""
        (left, right), (low, high), place = ax.get_xlim(), ax.get_ylim(), ax.get_position()
        return (right - left) / (place.width * self.width), (high - low) / (place.height * self.height)

    def text(
        self, x: float, y: float, text: str, *, px: float = 13, colour: str = "", bold: bool = False, mono: bool = False, **more: Any
    ) -> None:
        """Text at a place of the sheet; `more` as matplotlib names it."""
        look = {"fontproperties": font(px, bold=bold, mono=mono), "color": colour or self.theme.text, "va": "center", **more}
        self.figure.text(x / self.width, 1 - y / self.height, text, **look)

    def line(self, points: list[tuple[float, float]], colour: str, width: float = 1.2) -> None:
        """A line between places of the sheet."""
        x, y = zip(*((a / self.width, 1 - b / self.height) for a, b in points))
        self.figure.add_artist(Line2D(x, y, color=colour, linewidth=width))

    def text_width(self, text: str, px: float, *, bold: bool = False, mono: bool = False) -> float:
        """Width of `text` in px of the sheet."""
        width, _, _ = self._renderer.get_text_width_height_descent(text, font(px, bold=bold, mono=mono), False)
        return float(width) / self.scale

    def label_ticks(
        self, ax: Axes, axis: Literal["x", "y"], places: list[Any], labels: list[str], *, px: float = 12, colour: str = ""
    ) -> None:
        """Ticks of `axis` with their labels, in the picture's type."""
        getattr(ax, f"set_{axis}ticks")(places, labels, fontproperties=font(px, mono=True), color=colour or self.theme.text)
        ax.tick_params(axis=axis, length=3, width=1, color=self.theme.edge, pad=4)


# ----------------------------------------------------------------------------
# The left panel: 2-minute candles with named levels, the setup marked as in the traders' own pictures, volume below

BODY_MS = BAR_NS / 1e6 * 0.64

TOP_SHARE, BOTTOM_SHARE = 0.25, 0.17
"""Shares of the panel above and below the candles that are left for what is written about them."""

STEPS_MIN = (2, 5, 10, 15, 20, 30, 60, 120)


def time_ticks(start_ns: int, end_ns: int, most: int, steps: tuple[int, ...] = STEPS_MIN) -> list[int]:
    """Instants of whole New York minutes for an axis, at most `most` of them."""
    minutes = (end_ns - start_ns) / (60 * NS)
    step = next((s for s in steps if minutes / s <= most), steps[-1]) * 60 * NS
    return list(range(-(-start_ns // step) * step, end_ns, step))


def price_ticks(low: float, high: float, most: int, tick_size: float) -> list[int]:
    """Ticks of round prices (1, 2, 4, 5, 8, 10... ticks of the grid's own dollars) for an axis, at most `most` of them."""
    dollar = max(round(1 / tick_size), 1)
    steps = sorted({1, 2, *(dollar * m for m in (1, 2, 5, 10, 20, 50, 100, 200, 500))})
    step = next((s for s in steps if (high - low) / s <= most), steps[-1])
    return list(range(int(-(-low // step) * step), int(high) + 1, step))


def bounds(scene: Scene) -> tuple[float, float]:
    """Lowest and highest tick of the panel: the candles and the level, with room for words; a near level stays in sight."""
    ticks = [scene.k_ref, *scene.bars["low_tick"].to_list(), *scene.bars["high_tick"].to_list()]
    low, high = min(ticks), max(ticks)
    reach = max((high - low) * 0.12, 6)
    near = [n.tick for n in scene.names if low - reach <= n.tick <= high + reach]
    low, high = min([low, *near]) - 2, max([high, *near]) + 2
    full = (high - low) / (1 - TOP_SHARE - BOTTOM_SHARE)
    return low - BOTTOM_SHARE * full, high + TOP_SHARE * full


def x_bounds(scene: Scene, label_share: float = 0.0) -> tuple[int, int]:
    """First and last instant of the panel, half a bar of air on both sides.

    Right of the look-forward's start there is room for its label, which takes `label_share` of the panel's width.
    """
    bar = scene.now_ns // BAR_NS * BAR_NS
    start = bar - scene.picture.bars_before * BAR_NS
    # A picture without hindsight has an empty right side: the place of what is to come.
    last = bar + (scene.picture.bars_after + 1) * BAR_NS
    if scene.bars.height:
        start, last = max(start, scene.bars["window_start_ts_ns"][0]), max(last, scene.bars["window_end_ts_ns"][-1])
    left, right = start - BAR_NS // 2, last + BAR_NS // 2
    if scene.setup.forward_ns is not None:
        right = max(right, int((scene.setup.forward_ns[0] - label_share * left) / (1 - label_share)))
    return left, right


def draw_candles(sheet: Sheet, panel: Axes, volume: Axes) -> None:
    """Candles, levels and the setup into `panel`, volume into `volume`."""
    scene, theme = sheet.scene, sheet.theme
    width = sheet.width * panel.get_position().width
    begin, close = x_bounds(scene, (sheet.text_width(FORWARD, PX, bold=True) + AIR_PX) / width)
    panel.set_ylim(*bounds(scene))
    at, right = scene.x(scene.end_ns), scene.x(close)
    for ax in (panel, volume):
        ax.set_xlim(scene.x(begin), right)
    _grid(sheet, panel, volume, time_ticks(begin, close, int(width / 62)))
    for ax in (panel, volume):
        # The side of the moment that lies in its future, in the panel's shade.
        ax.axvspan(at, right, color=theme.panel, linewidth=0, zorder=-1)
    for x0, x1, y, mine in scene.level_runs():
        panel.plot(
            (x0, x1), (y, y), color=theme.level if mine else theme.muted, linewidth=2.2 if mine else 1.1, zorder=2.5 if mine else 1,
            linestyle="-" if mine else (0, (4, 3)), solid_capstyle="butt",
        )  # fmt: skip
    x = axes.x_ms(scene.bars["window_start_ts_ns"].to_numpy() + BAR_NS // 2, scene.now_ns)
    o, h, lo, c = (scene.bars[f"{n}_tick"].to_numpy().astype(float) for n in ("open", "high", "low", "close"))
    colours = [theme.candle_up if up else theme.candle_down for up in c >= o]
    panel.add_collection(LineCollection([[(a, p), (a, q)] for a, p, q in zip(x, lo, h)], colors=colours, linewidths=1.3))
    # A body of no height would vanish: a quarter tick keeps its bar visible. Rising bodies are hollow.
    flat = np.where(o == c, 0.25, 0.0)
    edges = zip(x - BODY_MS / 2, np.minimum(o, c) - flat, np.maximum(o, c) + flat)
    bodies = [Rectangle((a, p), BODY_MS, q - p) for a, p, q in edges]
    faces = [theme.map_floor if up else theme.candle_down for up in c >= o]
    panel.add_collection(PatchCollection(bodies, facecolors=faces, edgecolors=colours, linewidths=1.4, zorder=3))
    _volume(sheet, volume, x)
    for ax in (panel, volume):
        ax.axvline(at, color=theme.text, linewidth=1.2, linestyle=(0, (3, 2)), zorder=4)


def _grid(sheet: Sheet, panel: Axes, volume: Axes, times: list[int]) -> None:
    scene, theme = sheet.scene, sheet.theme
    places = [scene.x(t) for t in times]
    sheet.label_ticks(panel, "x", places, [""] * len(places))
    panel.tick_params(axis="x", length=0)
    sheet.label_ticks(volume, "x", places, [axes.clock(t, seconds=False) for t in times])
    for ax in (panel, volume):
        for p in places:
            ax.axvline(p, color=theme.grid, linewidth=1, zorder=0)
    prices = price_ticks(*panel.get_ylim(), 12, scene.tick_size)
    sheet.label_ticks(panel, "y", prices, [scene.price(k) for k in prices], px=11.5, colour=theme.muted)
    for k in prices:
        panel.axhline(k, color=theme.grid, linewidth=1, zorder=0)


def draw_level_names(sheet: Sheet, panel: Axes, left: float, top: float, right: float, bottom: float) -> None:
    """Names and prices of the levels beside the panel at their heights; those out of sight are named at its ends, with an arrow."""
    scene, theme, row = sheet.scene, sheet.theme, 17.0
    low, high = panel.get_ylim()
    at: dict[int, list[str]] = {}
    for n in scene.names:
        at.setdefault(n.tick, []).append(n.title)
    chosen = {n.tick for n in scene.names if n.chosen}
    inside = sorted((k for k in at if low <= k <= high), reverse=True)
    above, below = sorted(k for k in at if k > high)[2::-1], sorted((k for k in at if k < low), reverse=True)[:3]
    natural = {k: top + (high - k) / (high - low) * (bottom - top) for k in inside}
    ends = top + row * (len(above) + 0.5), bottom - row * (len(below) + 0.5)
    places = dict(zip(inside, spread(list(natural.values()), row, *ends)))
    places |= {k: top + row * (i + 0.5) for i, k in enumerate(above)}
    places |= {k: bottom - row * (len(below) - i - 0.5) for i, k in enumerate(below)}
    for k, y in places.items():
        name, price, mine = " · ".join(at[k]), scene.price(k), k in chosen
        if k in natural:
            sheet.line([(left, natural[k]), (left + 9, y)], theme.level if mine else theme.muted)
        else:
            name = f"{'▲' if k > high else '▼'} {name}"
        room = right - left - 22 - sheet.text_width(price, 12, bold=mine, mono=True)
        while sheet.text_width(name, 12, bold=mine) > room and len(name) > 2:
            name = name[:-2].rstrip(" ·") + "…"
        colour = theme.level if mine else theme.text if k in natural else theme.muted
        sheet.text(left + 13, y, name, px=12, colour=colour, bold=mine)
        sheet.text(right, y, price, px=12, colour=colour, bold=mine, mono=True, ha="right")


def _volume(sheet: Sheet, ax: Axes, x: np.ndarray) -> None:
    scene, theme = sheet.scene, sheet.theme
    if scene.bars.height == 0 or "buy_volume" not in scene.bars.columns:
        return
    buy, sell = (scene.bars[c].to_numpy().astype(float) for c in ("buy_volume", "sell_volume"))
    top = max(float(buy.max()), float(sell.max()), 1.0)
    # Buys up, sells down from one line: the sign, not the colour alone, tells them apart.
    ax.bar(x, buy, BODY_MS, color=theme.long, linewidth=0)
    ax.bar(x, -sell, BODY_MS, color=theme.short, linewidth=0)
    ax.axhline(0, color=theme.edge, linewidth=1)
    ax.set_ylim(-top * 1.1, top * 1.42)  # the room above is for the panel's title
    power = 10.0 ** np.floor(np.log10(top))
    at = float(max(m * power for m in (1, 2, 5) if m * power <= top))
    sheet.label_ticks(ax, "y", [-at, 0, at], [f"{at:,.0f}", "0", f"{at:,.0f}"], px=11.5, colour=theme.muted)


# ----------------------------------------------------------------------------
# What is written over the candles: trigger, confirmation, 6-bar look-back, 3-bar look-forward, as in the traders' own pictures

PX, AIR_PX = 12.5, 8.0
"""Size of the words, and the air beside them, px."""

FORWARD = f"{LOOK_FORWARD}-bar look-forward"


@dataclass(frozen=True)
class _Panel:
    """The candles' panel and its measures, data units per px."""

    sheet: Sheet
    ax: Axes
    ms_per_px: float
    ticks_per_px: float

    def width(self, text: str) -> float:
        """Of a note, in ms."""
        return (max(self.sheet.text_width(line, PX, bold=True) for line in text.split("\n")) + AIR_PX) * self.ms_per_px

    def extremes(self, x0: float, x1: float) -> tuple[float, float]:
        """Lowest and highest tick of the candles in a stretch; the level's where it holds none."""
        scene = self.sheet.scene
        start = axes.x_ms(scene.bars["window_start_ts_ns"].to_numpy(), scene.now_ns)
        inside = scene.bars.filter((start < x1) & (start + BAR_NS / 1e6 > x0))
        if inside.height == 0:
            return float(scene.k_ref), float(scene.k_ref)
        return float(inside["low_tick"].to_numpy().min()), float(inside["high_tick"].to_numpy().max())

    def note(self, text: str, x: float, y: float, to: tuple[float, float] | None, ha: str, va: str, colour: str) -> None:
        """Bold words, with an arrow to a candle where `to` is given."""
        arrow = {"arrowstyle": "-|>,head_length=0.55,head_width=0.26", "color": colour, "linewidth": 1.8, "shrinkA": 2, "shrinkB": 3}
        self.ax.annotate(
            text, to or (x, y), (x, y), fontproperties=font(PX, bold=True), color=colour, ha=ha, va=va, linespacing=1.25, zorder=7,
            arrowprops=arrow if to else None, annotation_clip=False,
            bbox={"boxstyle": "square,pad=0.15", "facecolor": self.sheet.theme.map_floor, "edgecolor": "none", "alpha": 0.85},
        )  # fmt: skip

    def inside(self, centre: float, width: float) -> float:
        """`centre` of a note so wide, moved until it lies inside the panel."""
        left, right = self.ax.get_xlim()
        return min(max(centre, left + width / 2), right - width / 2)


def mark_setup(sheet: Sheet, ax: Axes) -> None:
    """Write the setup's marks into the candles' panel, where no candle is covered."""
    panel, scene, s, ink = _Panel(sheet, ax, *sheet.per_px(ax)), sheet.scene, sheet.scene.setup, sheet.theme.text
    high = ax.get_ylim()[1]

    def tip(bar_ns: int) -> tuple[float, float]:
        return scene.x(bar_ns + BAR_NS // 2), panel.extremes(scene.x(bar_ns), scene.x(bar_ns + BAR_NS))[1]

    # The two notes are in the room above the candles, one below the other, so that neither covers the other's arrow.
    line = 2.6 * PX * panel.ticks_per_px
    if s.trigger_ns is not None:
        text, to = f"Trigger candle {axes.clock(s.trigger_ns, seconds=False)}\n{s.crossed} {scene.title}", tip(s.trigger_ns)
        right = max(to[0] - BAR_NS / 1e6, ax.get_xlim()[0] + panel.width(text))
        panel.note(text, right, high - 1.55 * line, to, "right", "top", ink)
    if s.confirmation_ns is not None:
        closes = s.confirmation_ns + BAR_NS
        read = "read after its close" if scene.picture.hindsight or scene.end_ns >= closes else "to be read at its close"
        text = f"Confirmation candle {axes.clock(s.confirmation_ns, seconds=False)}\n{read}, {axes.clock(closes, seconds=False)}"
        to = tip(s.confirmation_ns)
        panel.note(text, panel.inside(to[0], panel.width(text)), high - 0.2 * line, to, "center", "top", ink)
    _look_back(panel)
    if s.forward_ns is not None:
        _look_forward(panel, s.forward_ns)


def _look_back(panel: _Panel) -> None:
    scene, ink, s = panel.sheet.scene, panel.sheet.theme.text, panel.sheet.scene.setup
    what = "the confirmation's close" if s.confirmation_ns is not None else "the trigger" if s.trigger_ns is not None else "the moment"
    text = f"{LOOK_BACK}-bar look-back\nto {what}"
    x0, x1 = (scene.x(t) for t in s.back_ns)
    width = panel.width(text)
    centre = panel.inside((x0 + x1) / 2, width)
    lowest = panel.extremes(min(x0, centre - width / 2), max(x1, centre + width / 2))[0]
    base, depth = lowest - 12 * panel.ticks_per_px, 26 * panel.ticks_per_px
    t = np.linspace(0, 1, 40)
    panel.ax.plot(x0 + (x1 - x0) * t, base - depth * 4 * t * (1 - t), color=ink, linewidth=2.6, zorder=6)
    panel.note(text, centre, base - depth - 8 * panel.ticks_per_px, None, "center", "top", ink)


def _look_forward(panel: _Panel, span_ns: tuple[int, int]) -> None:
    ink = panel.sheet.theme.long
    x0, x1 = (panel.sheet.scene.x(t) for t in span_ns)
    low, high = panel.extremes(x0, x1)
    pad = 8 * panel.ticks_per_px
    panel.ax.add_patch(Rectangle((x0, low - pad), x1 - x0, high - low + 2 * pad, fill=False, edgecolor=ink, linewidth=2.6, zorder=6))
    top = max(high + pad, panel.extremes(x0, x0 + panel.width(FORWARD))[1])
    panel.note(FORWARD, x0, top + pad, None, "left", "bottom", ink)


# ----------------------------------------------------------------------------
# The right panel: the pressure ladder at the moment, the conditions in words beside their strip

X_BOUNDS = (-1.04, 2.78)

HEADS = ((-0.52, "◄ short"), (0.52, "long ►"), (1.42, "resting"), (2.42, "change"))


def draw_ladder(sheet: Sheet, ax: Axes) -> None:
    """Long against short, resting size with its walls, and its change, on the heatmap's price axis."""
    scene, theme, k = sheet.scene, sheet.theme, sheet.scene.k_ref
    reach = scene.picture.rows + 0.5
    rows = scene.rows.filter((pl.col("tick") - k).abs() <= scene.picture.rows)
    ax.set_xlim(*X_BOUNDS)
    ax.set_ylim(k - reach, k + reach)
    top = ladder.flow_top(rows)
    d: dict[str, Any] = ladder.ladder_data(rows, 1, top)
    y = np.asarray(d["y"], dtype=float)
    for tick in y[::2]:
        ax.axhspan(tick - 0.5, tick + 0.5, color=theme.panel, linewidth=0, zorder=0)
    ax.axvline(0, color=theme.edge, linewidth=1, zorder=1)
    rest, colours = np.asarray(d["rest"], dtype=float), [getattr(theme, c) for c in d["rest_colour"]]
    ax.barh(y, rest - ladder.REST, 0.8, left=ladder.REST, color=colours, alpha=ladder.REST_ALPHA, linewidth=0, zorder=2)
    ax.barh(y, d["short"], 0.8, color=theme.short, linewidth=0, zorder=2)
    ax.barh(y, d["long"], 0.8, color=theme.long, linewidth=0, zorder=2)
    px = 12.5 if scene.picture.rows <= 18 else 11
    for xs, key, ha, inks in (
        (d["rest_x"], "rest_text", "left", d["fill_colour"]), ([ladder.CHANGE_X] * y.size, "change_text", "right", d["change_colour"]),
    ):  # fmt: skip
        for x, at, text, ink in zip(xs, y, d[key], inks):
            if text:
                look = {"color": getattr(theme, ink), "fontproperties": font(px, mono=True, bold=ink == "wall")}
                ax.text(x, at, text, ha=ha, va="center_baseline", zorder=3, **look)
    # A band, not a line: the level's own row has numbers too.
    ax.axhspan(k - 0.5, k + 0.5, facecolor=theme.level, alpha=0.16, linewidth=0, zorder=0.5)
    for edge in (k - 0.5, k + 0.5):
        ax.axhline(edge, color=theme.level, linewidth=1.3, zorder=1.5)
    if scene.last_tick is not None and abs(scene.last_tick - k) <= reach:
        ax.plot(X_BOUNDS[0] + 0.045, scene.last_tick, marker=">", markersize=9, color=theme.text, clip_on=False, zorder=5)
    sheet.label_ticks(ax, "x", [-1.0, 0.0, 1.0], [f"{top:,.0f}", "0", f"{top:,.0f}"], px=11, colour=theme.muted)


def draw_words(sheet: Sheet, left: float, right: float, strip: tuple[float, float]) -> None:
    """The conditions in words, each in line with its row of the strip (whose top and bottom are `strip`, px)."""
    theme, row = sheet.theme, sheet.scene.row
    if row is not None and not (row["book_valid"] or row["book_near"]):
        row = None

    def y_of(place: float) -> float:
        return strip[0] + (conditions.TOP_Y - place) / (conditions.TOP_Y + 0.1) * (strip[1] - strip[0])

    for d, arrow, colour in (("down", "▼", theme.short), ("up", "▲", theme.long)):
        base = conditions.BASE[d] + conditions.ROWS
        count, read = conditions.readings(row, d)
        y = y_of(base + conditions.BAND / 2 - 0.1)
        sheet.text(left, y, f"{arrow} {d.upper()}", px=14, colour=colour, bold=True)
        sheet.text(left + 84, y, count, px=14, bold=True)
        for i, (words, state, strength) in enumerate(read):
            y = y_of(base - i - 0.5)
            ink, mark = (theme.text, colour) if state else (theme.muted, theme.muted)
            sheet.text(left + 2, y, conditions.MARKS[state], colour=mark)
            sheet.text(left + 20, y, words, colour=ink)
            if strength is not None:
                text = f"{strength:+.3f}".replace("-", "−")
                sheet.text(right, y, "0.000" if text[1:] == "0.000" else text, colour=ink, mono=True, ha="right")
