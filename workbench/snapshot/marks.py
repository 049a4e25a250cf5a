"""What is written over the candles: trigger, confirmation, 6-bar look-back, 3-bar look-forward, as in the traders' own pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from workbench.plots import axes
from workbench.snapshot.bars import BAR_NS, LOOK_BACK, LOOK_FORWARD
from workbench.snapshot.scene import Scene
from workbench.snapshot.series import x_of
from workbench.snapshot.style import Sheet, font

PX, AIR_PX = 12.5, 8.0
"""Size of the words, and the air beside them, px."""

FORWARD = f"{LOOK_FORWARD}-bar look-forward"


@dataclass(frozen=True)
class _Panel:
    """The panel's measures: data units per px, and the candles that a stretch of it holds."""

    sheet: Sheet
    scene: Scene
    ax: Axes

    @property
    def ms_per_px(self) -> float:
        left, right = self.ax.get_xlim()
        return (right - left) / (self.ax.get_position().width * self.sheet.width)

    @property
    def ticks_per_px(self) -> float:
        low, high = self.ax.get_ylim()
        return (high - low) / (self.ax.get_position().height * self.sheet.height)

    def width(self, text: str) -> float:
        """Of a note, in ms."""
        return (max(self.sheet.text_width(line, PX, bold=True) for line in text.split("\n")) + AIR_PX) * self.ms_per_px

    def extremes(self, x0: float, x1: float) -> tuple[float, float]:
        """Lowest and highest tick of the candles in a stretch; the level's where it holds none."""
        bars = self.scene.bars
        start = np.asarray(axes.x_ms(bars["window_start_ts_ns"].to_numpy(), self.scene.now_ns))
        inside = (start < x1) & (start + BAR_NS / 1e6 > x0)
        if not inside.any():
            return float(self.scene.k_ref), float(self.scene.k_ref)
        return float(bars["low_tick"].to_numpy()[inside].min()), float(bars["high_tick"].to_numpy()[inside].max())

    def note(self, text: str, x: float, y: float, to: tuple[float, float] | None, ha: str, va: str, colour: str) -> None:
        """Bold words, with an arrow to a candle where `to` is given."""
        arrow = {"arrowstyle": "-|>,head_length=0.55,head_width=0.26", "color": colour, "linewidth": 1.8, "shrinkA": 2, "shrinkB": 3}
        self.ax.annotate(
            text, to or (x, y), (x, y), fontproperties=font(PX, bold=True), color=colour, ha=ha, va=va, linespacing=1.25, zorder=7,
            arrowprops=arrow if to else None, annotation_clip=False,
            bbox={"boxstyle": "square,pad=0.15", "facecolor": self.sheet.theme.map_floor, "edgecolor": "none", "alpha": 0.85},
        )  # fmt: skip

    def kept_inside(self, centre: float, width: float) -> float:
        """`centre` of a note so wide, moved until it lies inside the panel."""
        left, right = self.ax.get_xlim()
        return min(max(centre, left + width / 2), right - width / 2)


def mark_setup(sheet: Sheet, scene: Scene, ax: Axes) -> None:
    """Write the setup's marks into the candles' panel, where no candle is covered."""
    panel, s = _Panel(sheet, scene, ax), scene.setup
    high = ax.get_ylim()[1]

    def middle(ns: int) -> float:
        return x_of(ns + BAR_NS // 2, scene)

    def tip(ns: int) -> tuple[float, float]:
        return middle(ns), panel.extremes(x_of(ns, scene), x_of(ns + BAR_NS, scene))[1]

    # The two notes stand in the room kept above the candles, one below the other, so that neither covers the other's arrow.
    line = 2.6 * PX * panel.ticks_per_px
    if s.trigger_ns is not None:
        text = f"Trigger candle {axes.clock(s.trigger_ns, seconds=False)}\n{s.crossed} {scene.title}"
        right = max(middle(s.trigger_ns) - BAR_NS / 1e6, ax.get_xlim()[0] + panel.width(text))
        panel.note(text, right, high - 1.55 * line, tip(s.trigger_ns), "right", "top", sheet.theme.text)
    if s.confirmation_ns is not None:
        closes = s.confirmation_ns + BAR_NS
        read = "read after its close" if scene.picture.hindsight or scene.end_ns >= closes else "to be read at its close"
        text = f"Confirmation candle {axes.clock(s.confirmation_ns, seconds=False)}\n{read}, {axes.clock(closes, seconds=False)}"
        centre = panel.kept_inside(middle(s.confirmation_ns), panel.width(text))
        panel.note(text, centre, high - 0.2 * line, tip(s.confirmation_ns), "center", "top", sheet.theme.text)
    _look_back(panel)
    if s.forward_ns is not None:
        _look_forward(panel, s.forward_ns)


def _look_back(panel: _Panel) -> None:
    scene, s = panel.scene, panel.scene.setup
    what = "the confirmation's close" if s.confirmation_ns is not None else "the trigger" if s.trigger_ns is not None else "the moment"
    text = f"{LOOK_BACK}-bar look-back\nto {what}"
    x0, x1 = (x_of(t, scene) for t in s.back_ns)
    width = panel.width(text)
    centre = panel.kept_inside((x0 + x1) / 2, width)
    lowest = panel.extremes(min(x0, centre - width / 2), max(x1, centre + width / 2))[0]
    base, depth = lowest - 12 * panel.ticks_per_px, 26 * panel.ticks_per_px
    t = np.linspace(0, 1, 40)
    panel.ax.plot(x0 + (x1 - x0) * t, base - depth * 4 * t * (1 - t), color=panel.sheet.theme.text, linewidth=2.6, zorder=6)
    panel.note(text, centre, base - depth - 8 * panel.ticks_per_px, None, "center", "top", panel.sheet.theme.text)


def _look_forward(panel: _Panel, span_ns: tuple[int, int]) -> None:
    ink = panel.sheet.theme.long
    x0, x1 = (x_of(t, panel.scene) for t in span_ns)
    low, high = panel.extremes(x0, x1)
    pad = 8 * panel.ticks_per_px
    panel.ax.add_patch(Rectangle((x0, low - pad), x1 - x0, high - low + 2 * pad, fill=False, edgecolor=ink, linewidth=2.6, zorder=6))
    top = max(high + pad, panel.extremes(x0, x0 + panel.width(FORWARD))[1])
    panel.note(FORWARD, x0, top + pad, None, "left", "bottom", ink)
