"""The whole picture: places of the panels, the heading, the sentence, the legend."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from engine.ladder import Ladder
from engine.params import FeatureParams
from workbench.plots import axes, heatmap
from workbench.snapshot.panels import (
    HEADS,
    X_BOUNDS,
    Sheet,
    draw_candles,
    draw_conditions,
    draw_heat,
    draw_ladder,
    draw_level_names,
    draw_words,
    mark_setup,
    paint,
    settings,
)
from workbench.snapshot.scene import Scene, make_scene
from workbench.snapshot.state import PictureParams
from workbench.theme import THEMES

EDGE, TICKS_WIDTH, LEGEND_WIDTH = 20, 58, 190
"""Px between the picture's border and what is drawn, left of the heatmap for its ticks from the level, and of the colour bar."""


def draw(
    ladder: Ladder,
    levels: pl.DataFrame,
    bars: pl.DataFrame,
    *,
    level_id: str,
    ts_ns: int,
    features: FeatureParams | None = None,
    picture: PictureParams | None = None,
    simulated: bool = False,
) -> Figure:
    """A moment of a level as one figure; the parameters are those of `make_scene`.

    Examples
    --------
    ::

        lake = Lake("lake"); date = dt.date(2025, 10, 7)
        figure = draw(Ladder.open(lake, "ESZ5", date), lake.read(LEVELS, "ESZ5", date), lake.read(BARS, "ESZ5", date),
                      level_id="pm_high", ts_ns=to_ns(date, dt.time(9, 41, 35)))
    """
    return draw_scene(
        make_scene(ladder, levels, bars, level_id=level_id, ts_ns=ts_ns, features=features, picture=picture, simulated=simulated)
    )


def draw_scene(scene: Scene) -> Figure:
    """The figure of a scene."""
    with settings():
        return _draw(scene)


def _draw(scene: Scene) -> Figure:
    sheet = Sheet(scene.picture, THEMES[scene.picture.theme])
    w, h = sheet.width, sheet.height
    below = _heading(sheet, scene)
    top, foot = below + 46, h - 46
    strip_height = min(max(0.235 * h, 220), 280)
    strip_top, strip_bottom = foot - strip_height, foot
    bottom = strip_top - 32
    names_width, ladder_width, prices_width = 216.0, max(0.215 * w, 390), 62.0
    ladder_left = w - EDGE - ladder_width
    candles_left = EDGE + prices_width
    inner = ladder_left - 76 - candles_left - names_width - TICKS_WIDTH
    candles_right = candles_left + 0.45 * inner
    heat_left, heat_right = candles_right + names_width + TICKS_WIDTH, ladder_left - 76
    panel = sheet.axes(candles_left, top, candles_right, strip_top - 10)
    volume = sheet.axes(candles_left, strip_top, candles_right, strip_bottom - 22)
    draw_candles(sheet, scene, panel, volume)
    mark_setup(sheet, scene, panel)
    draw_level_names(sheet, scene, panel, candles_right, top, candles_right + names_width - 6, strip_top - 10)
    heat = sheet.axes(heat_left, top, heat_right, bottom)
    draw_heat(sheet, scene, heat)
    draw_ladder(sheet, scene, sheet.axes(ladder_left, top, w - EDGE, bottom))
    draw_conditions(sheet, scene, sheet.axes(heat_left, strip_top, heat_right, strip_bottom))
    draw_words(sheet, scene, ladder_left, w - EDGE, (strip_top, strip_bottom))
    _titles(sheet, scene, top, (candles_left, heat_left, heat_right, ladder_left), (strip_top, strip_bottom))
    _foot(sheet, scene)
    return sheet.figure


def _heading(sheet: Sheet, scene: Scene) -> float:
    """Where and when, and the sentence; returns the px at which it ends."""
    theme = sheet.theme
    end = axes.clock(scene.end_ns)
    where = f"{scene.symbol}   {scene.date:%a %Y-%m-%d}   {axes.clock(scene.now_ns)}–{end} New York"
    sheet.text(EDGE, 25, where, px=17, bold=True)
    last = "" if scene.last_tick is None else f"   last {axes.price_text(scene.last_tick, scene.tick_size)}"
    sheet.text(EDGE + sheet.text_width(where, 17, bold=True), 25, f"{last}   {scene.features.window_s} s window", px=15, colour=theme.muted)
    right = sheet.width - EDGE
    sheet.text(right, 25, "spymaster", px=15, colour=theme.muted, ha="right")
    if scene.simulated:
        sheet.badge(right - sheet.text_width("spymaster", 15) - 16, 25, "SIMULATED", theme.error)
    # One line at a readable size where it fits, else two at the largest.
    tries = [(px, _wrap(sheet, scene.sentence, px)) for px in (22.0, 20.5, 19.0)]
    px, lines = next((t for t in tries if len(t[1]) == 1), next((t for t in tries if len(t[1]) == 2), tries[-1]))
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


def _titles(sheet: Sheet, scene: Scene, top: float, lefts: tuple[float, float, float, float], strip: tuple[float, float]) -> None:
    theme = sheet.theme
    candles, heat, heat_right, ladder_left = lefts
    layer = heatmap.LAYERS[scene.picture.layer]
    sheet.text(candles, top - 14, "2-minute candles", px=13, colour=theme.muted)
    sheet.text(candles + 8, strip[0] + 13, "volume: bought up, sold down, contracts", px=11.5, colour=theme.muted)
    per = "" if layer.key == "depth" else f", per {scene.features.window_s} s"
    unit = "contracts" if layer.unit == "contracts" else "share of flow"
    names = (f"{layer.title}: {layer.meaning}{per}, {unit}", f"{layer.title}{per}, {unit}", f"{layer.title}, {unit}", layer.title)
    room = heat_right - LEGEND_WIDTH - 16 - heat
    name = next((n for n in names if sheet.text_width(n, 13) <= room), layer.title)
    sheet.text(heat, top - 38, name, px=13, colour=theme.muted)
    _legend(sheet, scene, layer, heat_right, top - 38)
    sheet.text(heat - 42, (top + strip[0]) / 2, "ticks from level", px=12, colour=theme.muted, rotation=90, ha="center")
    low, high = X_BOUNDS
    for x, text in HEADS:
        at = ladder_left + (x - low) / (high - low) * (sheet.width - EDGE - ladder_left)
        sheet.text(at, top - 14, text, px=13, colour=theme.muted, ha="center")
    span = f"{axes.clock(scene.now_ns)}–{axes.clock(scene.end_ns)}"
    sheet.text(ladder_left, top - 38, f"ladder, {span}, contracts", px=13, colour=theme.muted)


def _legend(sheet: Sheet, scene: Scene, layer: heatmap.Layer, right: float, y: float) -> None:
    """The colour bar with its marks, ending at `right`."""
    theme, width = sheet.theme, LEGEND_WIDTH
    ax = sheet.axes(right - width, y - 9, right, y - 1)
    image = paint(np.arange(1, 256, dtype=np.uint8)[None, :], heatmap.palette_of(theme, layer, scene.picture.palette))
    ax.imshow(image, aspect="auto", extent=(0, 1, 0, 1), interpolation="nearest")
    free = right + 1.0  # from the top down, a mark without room is left out
    for place, text in reversed(heatmap.legend_marks(layer, scene.top)):
        wide = sheet.text_width(text, 11, mono=True)
        left = right - width + place * (width - wide)
        if left + wide <= free:
            sheet.text(left, y + 7, text, px=11, colour=theme.text, mono=True)
            free = left - 6


def _foot(sheet: Sheet, scene: Scene) -> None:
    theme, y = sheet.theme, sheet.height - 17
    x = float(EDGE)
    for sign, colour, text in (
        ("▬", theme.long, "best bid"), ("▬", theme.short, "best ask"), ("▲", theme.long, "bought"), ("▼", theme.short, "sold"),
        ("▯", theme.candle_up, "rising"), ("▮", theme.candle_down, "falling"), ("◆", theme.wall, "wall, times the median"),
        ("▨", theme.invalid, "book not valid"), ("┊", theme.text, "the moment"),
    ):  # fmt: skip
        sheet.text(x, y, sign, px=13, colour=colour)
        x += 18
        sheet.text(x, y, text, px=12, colour=theme.muted)
        x += sheet.text_width(text, 12) + 20
    after = "after it, dimmed: not known then" if scene.picture.hindsight else "nothing after the moment is in this picture"
    zones = "zones {}, {}, {}, {} ticks".format(*(getattr(scene.features.zones, z) for z in ("at", "near", "mid", "far")))
    sheet.text(sheet.width - EDGE, y, f"{after}   ·   {zones}   ·   drawn {scene.digest()[:12]}", px=12, colour=theme.muted, ha="right")
