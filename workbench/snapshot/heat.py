"""The middle panel: the heatmap around the level with best prices and trades, the four conditions below on the same time axis."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array

from workbench.plots import axes, chart, coding, conditions
from workbench.plots.levels import spread
from workbench.snapshot.bars import BAR_NS
from workbench.snapshot.candles import time_ticks
from workbench.snapshot.scene import Scene
from workbench.snapshot.series import best_prices, condition_cells, invalid_stretches, level_runs, x_of
from workbench.snapshot.style import Sheet, font, label_ticks
from workbench.theme import Theme


def paint(codes: np.ndarray, palette: list[str]) -> np.ndarray:
    """Codes as colours, shape (..., 4) uint8; code 0 is clear."""
    return np.rint(to_rgba_array(palette) * 255).astype(np.uint8)[codes]


def draw_heat(sheet: Sheet, scene: Scene, ax: Axes) -> None:
    """Heatmap, best bid and ask, trades, zones and the level into `ax`."""
    theme, layer = sheet.theme, coding.LAYERS[scene.picture.layer]
    k, reach = scene.k_ref, scene.picture.rows + 0.5
    begin, end = (x_of(t, scene) for t in scene.span_ns)
    codes = coding.codes(coding.values(scene.cube, layer), layer, scene.top).T
    ticks = scene.cube["tick"].to_numpy()
    extent = (begin, end, float(ticks[0]) - 0.5, float(ticks[-1]) + 0.5)
    image = paint(codes, chart.palette_of(theme, layer, scene.picture.palette))
    ax.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="nearest", zorder=1)
    ax.set_xlim(begin, end)
    ax.set_ylim(k - reach, k + reach)
    hatch_invalid(ax, scene, theme)
    z = scene.features.zones
    for bound in (z.at, z.near, z.mid, z.far):
        for sign in (1, -1):
            ax.axhline(k + sign * (bound + 0.5), color=theme.muted, linewidth=0.9, linestyle=(0, (1, 4)), zorder=2)
    x, best = best_prices(scene)
    for side in best:
        ax.step(x, best[side], where="post", color=theme.casing, linewidth=3.4, zorder=3, alpha=0.7)
    for side, colour in (("ask", theme.short), ("bid", theme.long)):
        ax.step(x, best[side], where="post", color=colour, linewidth=1.5, zorder=3)
    _trades(ax, scene, theme)
    _levels(sheet, ax, scene, theme)
    veil(ax, scene, theme)
    times = time_ticks(*scene.span_ns, 8, (1, 2, 5, 10, 15, 30))
    label_ticks(ax, "x", [x_of(t, scene) for t in times], [axes.clock(t, seconds=False) for t in times], theme)
    dollar = max(round(1 / scene.tick_size), 1) if 1 / scene.tick_size <= 10 else 5
    whole = [i for i in range(k - scene.picture.rows, k + scene.picture.rows + 1) if i % dollar == 0]
    apart = [d for d in range(-scene.picture.rows, scene.picture.rows + 1) if d % 4 == 0]
    signed = [f"+{d}" if d > 0 else f"−{-d}" if d else "0" for d in apart]
    label_ticks(ax, "y", [float(k + d) for d in apart], signed, theme)
    right = ax.twinx()
    right.set_ylim(ax.get_ylim())
    for spine in right.spines.values():
        spine.set_visible(False)
    label_ticks(right, "y", [float(i) for i in whole], [axes.price_text(i, scene.tick_size) for i in whole], theme)
    _ribbon(sheet, ax, scene, theme)


def hatch_invalid(ax: Axes, scene: Scene, theme: Theme) -> None:
    """Stretches in which the book is not valid: hatched, never filled with what was there before."""
    for left, right in invalid_stretches(scene):
        ax.axvspan(left, right, facecolor=theme.map_floor, edgecolor=theme.invalid, hatch="////", linewidth=0, zorder=2)


def veil(ax: Axes, scene: Scene, theme: Theme, *, line: bool = True) -> None:
    """What came after the moment, dimmed, and the line between."""
    at = x_of(scene.end_ns, scene)
    ax.axvspan(at, ax.get_xlim()[1], color=theme.page, alpha=0.42, linewidth=0, zorder=4.5)
    if line:
        ax.axvline(at, color=theme.text, linewidth=1.4, linestyle=(0, (3, 2)), zorder=6)


def _trades(ax: Axes, scene: Scene, theme: Theme) -> None:
    """What traded: a mark per window and side at its mean price, its area by size, up for buys and down for sells."""
    cube = scene.cube
    tick = cube["tick"].to_numpy().astype(float)
    x = np.asarray(axes.x_ms(cube["window_start_ts_ns"].to_numpy(), scene.now_ns)) + scene.features.window_s * 500
    valid = cube["book_valid"].to_numpy().astype(bool)
    sizes = {s: cube[f"{s}_fill"].to_numpy().astype(float) * valid[:, None] for s in ("ask", "bid")}
    totals = {s: v.sum(axis=1) for s, v in sizes.items()}
    # Set by the time before the moment, as the colours are.
    seen = cube["window_end_ts_ns"].to_numpy() <= scene.end_ns
    live = np.concatenate([t[seen & (t > 0)] for t in totals.values()])
    if live.size == 0:
        return
    top, least = float(np.quantile(live, 0.99)), float(np.quantile(live, 0.75))
    for side, marker, colour in (("ask", "^", theme.long), ("bid", "v", theme.short)):
        total = totals[side]
        shown = total > least
        where = (sizes[side][shown] @ tick) / total[shown]
        area = 10 + 70 * np.minimum(total[shown] / top, 1.5)
        ax.scatter(x[shown], where, s=area, marker=marker, color=colour, edgecolors=theme.casing, linewidths=0.9, zorder=3.5, alpha=0.92)


def _levels(sheet: Sheet, ax: Axes, scene: Scene, theme: Theme) -> None:
    for x0, x1, y, mine in level_runs(scene):
        colour = theme.level if mine else theme.text
        ax.plot((x0, x1), (y, y), color=theme.casing, linewidth=4.4 if mine else 3.0, zorder=4, solid_capstyle="butt", alpha=0.8)
        ax.plot((x0, x1), (y, y), color=colour, linewidth=2.2 if mine else 1.2, linestyle=(0, (6, 2)) if mine else (0, (4, 3)), zorder=4)
    k, reach = scene.k_ref, scene.picture.rows + 0.5
    at: dict[int, list[str]] = {}
    for n in scene.names:
        if n.known and abs(n.tick - k) <= reach:
            at.setdefault(n.tick, []).append(n.title)
    # A label stands above its line, and is pushed up or down where another one stands already.
    per_px = 2 * reach / (ax.get_position().height * sheet.height)
    ticks = sorted(at)
    places = spread([tick + 11 * per_px for tick in ticks], 20 * per_px, k - reach + 9 * per_px, k + reach - 10 * per_px)
    left, right = ax.get_xlim()
    for tick, place in zip(ticks, places):
        ax.text(
            left + 0.018 * (right - left), place, " · ".join(at[tick]), fontproperties=font(12.5, bold=True), va="center_baseline",
            zorder=7, color=theme.level if tick == k else theme.text,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": theme.page, "edgecolor": "none", "alpha": 0.82},
        )  # fmt: skip


def _ribbon(sheet: Sheet, ax: Axes, scene: Scene, theme: Theme) -> None:
    """Above the heatmap: which stretch of it is look-back, trigger, confirmation and look-forward."""
    s = scene.setup
    spans: list[tuple[str, tuple[int, int], str, str]] = []
    if s.trigger_ns is not None:
        spans.append(("trigger", (s.trigger_ns, s.trigger_ns + BAR_NS), theme.text, theme.page))
        back = (s.back_ns[0], s.trigger_ns)
    else:
        back = s.back_ns
    spans.append(("look-back", back, theme.edge, theme.text))
    if s.confirmation_ns is not None:
        spans.append(("confirm", (s.confirmation_ns, s.confirmation_ns + BAR_NS), theme.muted, theme.page))
    if s.forward_ns is not None:
        spans.append(("look-forward", s.forward_ns, theme.long, theme.page))
    transform = ax.get_xaxis_transform()
    for text, (a, b), fill, ink in spans:
        a, b = max(a, scene.span_ns[0]), min(b, scene.span_ns[1])
        if a >= b:
            continue
        x0, x1 = (x_of(t, scene) for t in (a, b))
        ax.fill_between((x0, x1), 1.006, 1.030, transform=transform, color=fill, linewidth=1, edgecolor=theme.page, clip_on=False)
        wide = (x1 - x0) / (ax.get_xlim()[1] - ax.get_xlim()[0])
        if wide * sheet.width * ax.get_position().width > sheet.text_width(text, 11, bold=True) + 4:
            where = (x0 + x1) / 2, 1.018
            ax.text(*where, text, transform=transform, ha="center", va="center", color=ink, fontproperties=font(11, bold=True))


def draw_conditions(sheet: Sheet, scene: Scene, ax: Axes) -> None:
    """The four conditions in both directions, and the count open, into `ax`."""
    theme = sheet.theme
    ax.set_xlim(*(x_of(t, scene) for t in scene.span_ns))
    ax.set_ylim(-0.1, conditions.TOP_Y)
    hatch_invalid(ax, scene, theme)
    begin, end = ax.get_xlim()
    edges = np.linspace(begin, end, scene.cube.sizes["window"] + 1)
    for d, colour in (("down", theme.short), ("up", theme.long)):
        cells, count = condition_cells(scene, d)
        base = conditions.BASE[d]
        image = paint(cells, ["#00000000", theme.edge, colour])
        extent = (begin, end, base, base + conditions.ROWS)
        ax.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="nearest", zorder=1)
        for i in range(1, 4):
            ax.axhline(base + i, color=theme.map_floor, linewidth=1.2, zorder=2)
        floor = base + conditions.ROWS + 0.15
        height = (conditions.BAND - 0.3) * np.append(count, count[-1]) / 4
        ax.fill_between(edges, floor, floor + height, step="post", color=colour, linewidth=0, zorder=2)
        ax.axhline(floor, color=theme.edge, linewidth=1, zorder=2)
    ax.set_xlim(begin, end)
    ax.set_ylim(-0.1, conditions.TOP_Y)
    veil(ax, scene, theme)
