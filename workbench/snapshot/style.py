"""Type, colours and places of a picture: only fonts that matplotlib brings along, so that every machine draws the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from workbench.snapshot.params import PictureParams
from workbench.theme import Theme

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
    """The figure and its places, in px from the top left of a picture of reference size."""

    def __init__(self, params: PictureParams, theme: Theme) -> None:
        scale = min(params.width_px / REFERENCE[0], params.height_px / REFERENCE[1])
        # Type stays readable in a small picture: less room there, not smaller letters.
        self.scale = max(scale, 0.86)
        self.width, self.height = params.width_px / self.scale, params.height_px / self.scale
        self.theme = theme
        # Half a px too much is cut off by the canvas, half too few would lose a row.
        size = ((params.width_px + 0.01) / (DPI * self.scale), (params.height_px + 0.01) / (DPI * self.scale))
        self.figure = Figure(figsize=size, dpi=DPI * self.scale, facecolor=theme.page)
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """An empty axes between these px."""
        w, h = self.width, self.height
        place = (left / w, 1 - bottom / h, (right - left) / w, (bottom - top) / h)
        ax = self.figure.add_axes(place, facecolor=self.theme.map_floor)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set(color=self.theme.edge, linewidth=1.0)
        return ax

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        px: float = 13,
        colour: str = "",
        bold: bool = False,
        mono: bool = False,
        ha: str = "left",
        va: str = "center",
        rotation: float = 0,
    ) -> None:
        """Text at a place of the sheet."""
        self.figure.text(
            x / self.width, 1 - y / self.height, text, fontproperties=font(px, bold=bold, mono=mono), color=colour or self.theme.text,
            ha=ha, va=va, rotation=rotation, rotation_mode="anchor" if rotation else None,
        )  # fmt: skip

    def badge(self, x: float, y: float, text: str, colour: str) -> None:
        """Words in a box that ends at `x`."""
        self.figure.text(
            x / self.width, 1 - y / self.height, text, fontproperties=font(14, bold=True), color=self.theme.page, ha="right", va="center",
            bbox={"boxstyle": "round,pad=0.3", "facecolor": colour, "edgecolor": "none"},
        )  # fmt: skip

    def line(self, points: list[tuple[float, float]], colour: str, width: float = 1.2) -> None:
        """A line between places of the sheet."""
        x, y = zip(*((a / self.width, 1 - b / self.height) for a, b in points))
        self.figure.add_artist(Line2D(x, y, color=colour, linewidth=width))

    def text_width(self, text: str, px: float, *, bold: bool = False, mono: bool = False) -> float:
        """Width of `text` in px of the sheet."""
        width, _, _ = self._renderer.get_text_width_height_descent(text, font(px, bold=bold, mono=mono), False)
        return float(width) / self.scale


def label_ticks(
    ax: Axes, axis: Literal["x", "y"], places: list[float], labels: list[str], theme: Theme, *, px: float = 12, colour: str = ""
) -> None:
    """Ticks of `axis` (``x`` or ``y``) with their labels, in the picture's type."""
    getattr(ax, f"set_{axis}ticks")(places, labels, fontproperties=font(px, mono=True), color=colour or theme.text)
    ax.tick_params(axis=axis, length=3, width=1, color=theme.edge, pad=4)
