"""The whole picture: places of the panels, the heading, the sentence, the legend."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from engine.ladder import Ladder
from workbench.plots import axes, heatmap
from workbench.snapshot import panels
from workbench.snapshot.panels import Sheet
from workbench.snapshot.scene import Scene, make_scene

EDGE, TICKS_WIDTH, LEGEND_WIDTH = 20, 58, 190
"""Px between the picture's border and what is drawn, left of the heatmap for its ticks from the level, and of the colour bar."""


def draw(ladder: Ladder, levels: pl.DataFrame, bars: pl.DataFrame, **moment: Any) -> Figure:
    """A moment of a level as one figure; the parameters are those of `make_scene`.

    Examples
    --------
    ::

        lake = Lake("lake"); date = dt.date(2025, 10, 7)
        figure = draw(Ladder.open(lake, "ESZ5", date), lake.read(LEVELS, "ESZ5", date), lake.read(BARS, "ESZ5", date),
                      level_id="pm_high", ts_ns=to_ns(date, dt.time(9, 41, 35)))
    """
    return draw_scene(make_scene(ladder, levels, bars, **moment))


def draw_scene(scene: Scene) -> Figure:
    """The figure of a scene."""
    with panels.settings():
        sheet = Sheet(scene)
        _draw(sheet)
        return sheet.figure


def _draw(sheet: Sheet) -> None:
    w, h = sheet.width, sheet.height
    top, foot = _heading(sheet) + 46, h - 46
    strip = foot - min(max(0.235 * h, 220), 280), foot
    bottom = strip[0] - 32
    names_width, ladder_left = 216.0, w - EDGE - max(0.215 * w, 390)
    candles_left, heat_right = EDGE + 62.0, ladder_left - 76
    candles_right = candles_left + 0.45 * (heat_right - candles_left - names_width - TICKS_WIDTH)
    heat_left = candles_right + names_width + TICKS_WIDTH
    panel = sheet.axes(candles_left, top, candles_right, strip[0] - 10)
    volume = sheet.axes(candles_left, strip[0], candles_right, foot - 22)
    panels.draw_candles(sheet, panel, volume)
    panels.mark_setup(sheet, panel)
    panels.draw_level_names(sheet, panel, candles_right, top, candles_right + names_width - 6, strip[0] - 10)
    panels.draw_heat(sheet, sheet.axes(heat_left, top, heat_right, bottom))
    panels.draw_ladder(sheet, sheet.axes(ladder_left, top, w - EDGE, bottom))
    panels.draw_conditions(sheet, sheet.axes(heat_left, strip[0], heat_right, foot))
    panels.draw_words(sheet, ladder_left, w - EDGE, strip)
    _titles(sheet, top, candles_left, heat_left, heat_right, ladder_left, strip)
    _foot(sheet)


def _heading(sheet: Sheet) -> float:
    """Where and when, and the sentence; returns the px at which it ends."""
    scene, theme = sheet.scene, sheet.theme
    where = f"{scene.symbol}   {scene.date:%a %Y-%m-%d}   {axes.clock(scene.now_ns)}–{axes.clock(scene.end_ns)} New York"
    sheet.text(EDGE, 25, where, px=17, bold=True)
    last = "" if scene.last_tick is None else f"   last {scene.price(scene.last_tick)}"
    sheet.text(EDGE + sheet.text_width(where, 17, bold=True), 25, f"{last}   {scene.features.window_s} s window", px=15, colour=theme.muted)
    right = sheet.width - EDGE
    sheet.text(right, 25, "spymaster", px=15, colour=theme.muted, ha="right")
    if scene.simulated:
        box = {"boxstyle": "round,pad=0.3", "facecolor": theme.error, "edgecolor": "none"}
        x = right - sheet.text_width("spymaster", 15) - 16
        sheet.text(x, 25, "SIMULATED", px=14, bold=True, colour=theme.page, ha="right", bbox=box)
    # One line at a readable size where it fits, else two at the largest.
    tries = [(px, _wrap(sheet, scene.sentence, px)) for px in (22.0, 20.5, 19.0)]
    px, lines = next((t for n in (1, 2) for t in tries if len(t[1]) == n), tries[-1])
    head = scene.sentence.partition(",")[0].partition(":")[0]
    for i, line in enumerate(lines):
        y, x = 62 + i * px * 1.35, float(EDGE)
        if i == 0 and line.startswith(head):
            sheet.text(x, y, head, px=px, bold=True, colour=theme.level)
            x, line = x + sheet.text_width(head, px, bold=True), line[len(head) :]
        sheet.text(x, y, line, px=px)
    return max(62 + (len(lines) - 0.5) * px * 1.35, 92)


def _wrap(sheet: Sheet, text: str, px: float) -> list[str]:
    room = sheet.width - 2 * EDGE - 40
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and sheet.text_width(longer, px) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _titles(sheet: Sheet, top: float, candles: float, heat: float, heat_right: float, ladder: float, strip: tuple[float, float]) -> None:
    scene, muted, layer = sheet.scene, sheet.theme.muted, heatmap.LAYERS[sheet.scene.picture.layer]
    sheet.text(candles, top - 14, "2-minute candles", colour=muted)
    sheet.text(candles + 8, strip[0] + 13, "volume: bought up, sold down, contracts", px=11.5, colour=muted)
    per = "" if layer.key == "depth" else f", per {scene.features.window_s} s"
    unit = "contracts" if layer.unit == "contracts" else "share of flow"
    names = (f"{layer.title}: {layer.meaning}{per}, {unit}", f"{layer.title}{per}, {unit}", f"{layer.title}, {unit}", layer.title)
    room = heat_right - LEGEND_WIDTH - 16 - heat
    name = next((n for n in names if sheet.text_width(n, 13) <= room), layer.title)
    sheet.text(heat, top - 38, name, colour=muted)
    _legend(sheet, layer, heat_right, top - 38)
    turned: axes.Look = {"rotation": 90, "rotation_mode": "anchor", "ha": "center"}
    sheet.text(heat - 42, (top + strip[0]) / 2, "ticks from level", px=12, colour=muted, **turned)
    low, high = panels.X_BOUNDS
    for x, text in panels.HEADS:
        at = ladder + (x - low) / (high - low) * (sheet.width - EDGE - ladder)
        sheet.text(at, top - 14, text, colour=muted, ha="center")
    sheet.text(ladder, top - 38, f"ladder, {axes.clock(scene.now_ns)}–{axes.clock(scene.end_ns)}, contracts", colour=muted)


def _legend(sheet: Sheet, layer: heatmap.Layer, right: float, y: float) -> None:
    """The colour bar with its marks, ending at `right`."""
    scene, width = sheet.scene, LEGEND_WIDTH
    ax = sheet.axes(right - width, y - 9, right, y - 1)
    palette = heatmap.palette_of(sheet.theme, layer, scene.picture.palette)
    image = panels.paint(np.arange(1, 256, dtype=np.uint8)[None, :], palette)
    ax.imshow(image, aspect="auto", extent=(0, 1, 0, 1), interpolation="nearest")
    free = right + 1.0  # from the top down, a mark without room is left out
    for place, text in reversed(heatmap.legend_marks(layer, scene.top)):
        wide = sheet.text_width(text, 11, mono=True)
        left = right - width + place * (width - wide)
        if left + wide <= free:
            sheet.text(left, y + 7, text, px=11, mono=True)
            free = left - 6


def _foot(sheet: Sheet) -> None:
    scene, theme, y = sheet.scene, sheet.theme, sheet.height - 17
    x = float(EDGE)
    for sign, colour, text in (
        ("▬", theme.long, "best bid"), ("▬", theme.short, "best ask"), ("▲", theme.long, "bought"), ("▼", theme.short, "sold"),
        ("▯", theme.candle_up, "rising"), ("▮", theme.candle_down, "falling"), ("◆", theme.wall, "wall, times the median"),
        ("▨", theme.invalid, "book not valid"), ("┊", theme.text, "the moment"),
    ):  # fmt: skip
        sheet.text(x, y, sign, colour=colour)
        sheet.text(x + 18, y, text, px=12, colour=theme.muted)
        x += 38 + sheet.text_width(text, 12)
    after = "after it, dimmed: not known then" if scene.picture.hindsight else "nothing after the moment is in this picture"
    z = scene.features.zones
    zones = f"zones {z.at}, {z.near}, {z.mid}, {z.far} ticks"
    sheet.text(sheet.width - EDGE, y, f"{after}   ·   {zones}   ·   drawn {scene.digest()[:12]}", px=12, colour=theme.muted, ha="right")
