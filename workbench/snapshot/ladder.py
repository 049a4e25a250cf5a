"""The right panel: the pressure ladder at the moment, the conditions in words beside their strip."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from workbench.plots import conditions, ladder
from workbench.snapshot.scene import Scene
from workbench.snapshot.style import Sheet, font, label_ticks

X_BOUNDS = (-1.04, 2.78)
HEADS = ((-0.52, "◄ short"), (0.52, "long ►"), (1.42, "resting"), (2.42, "change"))


def draw_ladder(sheet: Sheet, scene: Scene, ax: Axes) -> None:
    """Long against short, resting size with its walls, and its change, on the heatmap's price axis."""
    theme, k, reach = sheet.theme, scene.k_ref, scene.picture.rows + 0.5
    rows = scene.rows.filter((pl.col("tick") - k).abs() <= scene.picture.rows)
    ax.set_xlim(*X_BOUNDS)
    ax.set_ylim(k - reach, k + reach)
    top = ladder.flow_top(rows)
    d = ladder.ladder_data(rows, 1, top)
    y = np.asarray(d["y"], dtype=float)
    for tick in y[::2]:
        ax.axhspan(tick - 0.5, tick + 0.5, color=theme.panel, linewidth=0, zorder=0)
    ax.axvline(0, color=theme.edge, linewidth=1, zorder=1)
    rest = np.asarray(d["rest"], dtype=float)
    ax.barh(y, rest - 1.1, 0.8, left=1.1, color=[getattr(theme, str(c)) for c in d["rest_colour"]], alpha=0.45, linewidth=0, zorder=2)
    ax.barh(y, d["short"], 0.8, color=theme.short, linewidth=0, zorder=2)  # type: ignore[arg-type]
    ax.barh(y, d["long"], 0.8, color=theme.long, linewidth=0, zorder=2)  # type: ignore[arg-type]
    px = 12.5 if scene.picture.rows <= 18 else 11
    for x, key, ha, colour, bold in (
        (1.70, "rest_text", "right", "fill_colour", False), (1.76, "wall_text", "left", "", True),
        (2.72, "change_text", "right", "change_colour", False),
    ):  # fmt: skip
        inks = [getattr(theme, str(c)) for c in d[colour]] if colour else [theme.wall] * y.size
        for at, text, ink in zip(y, d[key], inks):  # type: ignore[call-overload]
            if text:
                ax.text(x, at, str(text), ha=ha, va="center_baseline", color=ink, fontproperties=font(px, mono=True, bold=bold), zorder=3)
    # A band, not a line: the level's own row has numbers too.
    ax.axhspan(k - 0.5, k + 0.5, facecolor=theme.level, alpha=0.16, linewidth=0, zorder=0.5)
    for edge in (k - 0.5, k + 0.5):
        ax.axhline(edge, color=theme.level, linewidth=1.3, zorder=1.5)
    if scene.last_tick is not None and abs(scene.last_tick - k) <= reach:
        ax.plot(X_BOUNDS[0] + 0.045, scene.last_tick, marker=">", markersize=9, color=theme.text, clip_on=False, zorder=5)
    label_ticks(ax, "x", [-1.0, 0.0, 1.0], [f"{top:,.0f}", "0", f"{top:,.0f}"], sheet.theme, px=11, colour=theme.muted)


def draw_words(sheet: Sheet, scene: Scene, left: float, right: float, strip: tuple[float, float]) -> None:
    """The conditions in words, each in line with its row of the strip (whose top and bottom are `strip`, px)."""
    theme, row = sheet.theme, scene.row
    valid = row is not None and bool(row["book_valid"])

    def y_of(place: float) -> float:
        return strip[0] + (conditions.TOP_Y - place) / (conditions.TOP_Y + 0.1) * (strip[1] - strip[0])

    for d, arrow, colour in (("down", "▼", theme.short), ("up", "▲", theme.long)):
        base = conditions.BASE[d] + conditions.ROWS
        n = row.get(f"{d}_open") if row is not None and valid else None
        count = "not known" if n is None else f"{n} of 4 open"
        y = y_of(base + conditions.BAND / 2 - 0.1)
        sheet.text(left, y, f"{arrow} {d.upper()}", px=14, colour=colour, bold=True)
        sheet.text(left + 84, y, count, px=14, colour=theme.text, bold=True)
        for i, (title, column, sign) in enumerate(conditions.CONDITIONS[d], start=1):
            state = row.get(f"{d}_{i}") if row is not None and valid else None
            value = row.get(column) if row is not None and valid else None
            y = y_of(base - i + 0.5)
            ink = theme.text if state else theme.muted
            sheet.text(left + 2, y, "–" if state is None else "●" if state else "○", px=13, colour=colour if state else theme.muted)
            sheet.text(left + 20, y, f"{i} {title}", px=13, colour=ink)
            if isinstance(value, float):
                text = f"{sign * value:+.3f}".replace("-", "−")
                sheet.text(right, y, "0.000" if text[1:] == "0.000" else text, px=13, colour=ink, mono=True, ha="right")
