"""The left panel: 2-minute candles with named levels, the setup marked as in the traders' own pictures, volume below."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.patches import Rectangle

from engine.vocab import NS
from workbench.plots import axes
from workbench.plots.levels import spread
from workbench.snapshot.bars import BAR_NS
from workbench.snapshot.marks import AIR_PX, FORWARD, PX
from workbench.snapshot.scene import Scene
from workbench.snapshot.series import level_runs
from workbench.snapshot.style import Sheet, label_ticks
from workbench.theme import Theme

BAR_MS = BAR_NS / 1e6

TOP_SHARE, BOTTOM_SHARE = 0.25, 0.17
"""Shares of the panel above and below the candles that are kept for what is written about them."""

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
    """Lowest and highest tick of the panel: the candles and the level, with room for words; a near level is kept in sight."""
    b = scene.bars
    ticks = [scene.k_ref] if b.height == 0 else [scene.k_ref, int(b["low_tick"].min()), int(b["high_tick"].max())]  # type: ignore[arg-type]
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
    if scene.bars.height:
        start = max(start, int(scene.bars["window_start_ts_ns"][0]))
    # A picture without hindsight keeps its empty right side: the place of what is to come.
    last = bar + (scene.picture.bars_after + 1) * BAR_NS
    last = max(last, int(scene.bars["window_end_ts_ns"][-1])) if scene.bars.height else last
    left, right = start - BAR_NS // 2, last + BAR_NS // 2
    if scene.setup.forward_ns is not None:
        right = max(right, int((scene.setup.forward_ns[0] - label_share * left) / (1 - label_share)))
    return left, right


def draw_candles(sheet: Sheet, scene: Scene, panel: Axes, volume: Axes) -> None:
    """Candles, levels and the setup into `panel`, volume into `volume`."""
    theme, day = sheet.theme, scene.now_ns
    low, high = bounds(scene)
    width = sheet.width * panel.get_position().width
    begin, close = x_bounds(scene, (sheet.text_width(FORWARD, PX, bold=True) + AIR_PX) / width)
    for ax in (panel, volume):
        ax.set_xlim(float(axes.x_ms(begin, day)), float(axes.x_ms(close, day)))
    panel.set_ylim(low, high)
    _grid(panel, volume, scene, theme, (begin, close), (low, high), width)
    _veil(panel, volume, scene, theme)
    _levels(panel, scene, theme)
    x, body = np.asarray(axes.x_ms(scene.bars["window_start_ts_ns"].to_numpy(), day)) + BAR_MS / 2, BAR_MS * 0.64
    o, h, lo, c = (scene.bars[f"{n}_tick"].to_numpy().astype(float) for n in ("open", "high", "low", "close"))
    colours = [theme.candle_up if up else theme.candle_down for up in c >= o]
    panel.add_collection(LineCollection([[(a, p), (a, q)] for a, p, q in zip(x, lo, h)], colors=colours, linewidths=1.3))
    # A body of no height would vanish: a quarter tick keeps its bar visible. Rising bodies are hollow.
    flat = np.where(o == c, 0.25, 0.0)
    bodies = [Rectangle((a - body / 2, p), body, q - p) for a, p, q in zip(x, np.minimum(o, c) - flat, np.maximum(o, c) + flat)]
    faces = [theme.map_floor if up else theme.candle_down for up in c >= o]
    panel.add_collection(PatchCollection(bodies, facecolors=faces, edgecolors=colours, linewidths=1.4, zorder=3))
    _volume(volume, scene, theme, x, body)
    at = float(axes.x_ms(scene.end_ns, day))
    for ax in (panel, volume):
        ax.axvline(at, color=theme.text, linewidth=1.2, linestyle=(0, (3, 2)), zorder=4)


def _grid(panel: Axes, volume: Axes, scene: Scene, theme: Theme, span: tuple[int, int], bounds: tuple[float, float], width: float) -> None:
    (begin, close), (low, high) = span, bounds
    times = time_ticks(begin, close, int(width / 62))
    places = [float(axes.x_ms(t, scene.now_ns)) for t in times]
    label_ticks(panel, "x", places, [""] * len(places), theme)
    panel.tick_params(axis="x", length=0)
    label_ticks(volume, "x", places, [axes.clock(t, seconds=False) for t in times], theme)
    for ax in (panel, volume):
        for p in places:
            ax.axvline(p, color=theme.grid, linewidth=1, zorder=0)
    prices = price_ticks(low, high, 12, scene.tick_size)
    texts = [axes.price_text(k, scene.tick_size) for k in prices]
    label_ticks(panel, "y", [float(k) for k in prices], texts, theme, px=11.5, colour=theme.muted)
    for k in prices:
        panel.axhline(k, color=theme.grid, linewidth=1, zorder=0)


def _veil(panel: Axes, volume: Axes, scene: Scene, theme: Theme) -> None:
    """The side of the moment that lies in its future, in the panel's shade."""
    right = panel.get_xlim()[1]
    for ax in (panel, volume):
        ax.axvspan(float(axes.x_ms(scene.end_ns, scene.now_ns)), right, color=theme.panel, linewidth=0, zorder=-1)


def _levels(panel: Axes, scene: Scene, theme: Theme) -> None:
    for x0, x1, y, mine in level_runs(scene):
        panel.plot(
            (x0, x1), (y, y), color=theme.level if mine else theme.muted, linewidth=2.2 if mine else 1.1, zorder=2.5 if mine else 1,
            linestyle="-" if mine else (0, (4, 3)), solid_capstyle="butt",
        )  # fmt: skip


def draw_level_names(sheet: Sheet, scene: Scene, panel: Axes, left: float, top: float, right: float, bottom: float) -> None:
    """Names and prices of the levels beside the panel at their heights; those out of sight stand at its ends, with an arrow."""
    theme = sheet.theme
    low, high = panel.get_ylim()
    at: dict[int, list[tuple[str, bool]]] = {}
    for n in scene.names:
        at.setdefault(n.tick, []).append((n.title, n.chosen))
    inside = sorted((k for k in at if low <= k <= high), reverse=True)
    above, below = sorted(k for k in at if k > high), sorted((k for k in at if k < low), reverse=True)

    def text(k: int, arrow: str = "") -> tuple[str, str]:
        return f"{arrow}{' · '.join(t for t, _ in at[k])}", axes.price_text(k, scene.tick_size)

    row = 17.0
    y_of = {k: top + (high - k) / (high - low) * (bottom - top) for k in inside}
    outer_top, outer_bottom = above[:3][::-1], below[:3]
    ends = top + row * (len(outer_top) + 0.5), bottom - row * (len(outer_bottom) + 0.5)
    places = dict(zip(inside, spread([y_of[k] for k in inside], row, *ends)))
    for i, k in enumerate(outer_top):
        places[k] = top + row * (i + 0.5)
    for i, k in enumerate(outer_bottom):
        places[k] = bottom - row * (len(outer_bottom) - i - 0.5)
    room = right - left - 14
    for k, y in places.items():
        name, price = text(k, "▲ " if k > high else "▼ " if k < low else "")
        mine = any(chosen for _, chosen in at[k])
        colour = theme.level if mine else theme.text if k in y_of else theme.muted
        if k in y_of:
            sheet.line([(left, y_of[k]), (left + 9, y)], theme.level if mine else theme.muted)
        width = sheet.text_width(price, 12, bold=mine, mono=True)
        while sheet.text_width(name, 12, bold=mine) > room - width - 8 and len(name) > 2:
            name = name[:-2].rstrip(" ·") + "…"
        sheet.text(left + 13, y, name, px=12, colour=colour, bold=mine)
        sheet.text(right, y, price, px=12, colour=colour, bold=mine, mono=True, ha="right")


def _volume(ax: Axes, scene: Scene, theme: Theme, x: np.ndarray, width: float) -> None:
    if scene.bars.height == 0 or "buy_volume" not in scene.bars.columns:
        return
    buy, sell = (scene.bars[c].to_numpy().astype(float) for c in ("buy_volume", "sell_volume"))
    top = max(float(buy.max()), float(sell.max()), 1.0)
    # Buys up, sells down from one line: the sign, not the colour alone, tells them apart.
    ax.bar(x, buy, width, color=theme.long, linewidth=0)
    ax.bar(x, -sell, width, color=theme.short, linewidth=0)
    ax.axhline(0, color=theme.edge, linewidth=1)
    ax.set_ylim(-top * 1.1, top * 1.42)  # the room above is for the panel's title
    at = _round_down(top)
    label_ticks(ax, "y", [-at, 0, at], [f"{at:,.0f}", "0", f"{at:,.0f}"], theme, px=11.5, colour=theme.muted)


def _round_down(x: float) -> float:
    power = 10.0 ** np.floor(np.log10(x))
    return float(max(m * power for m in (1, 2, 5) if m * power <= x))
