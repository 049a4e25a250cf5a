"""The workbench's colours in both themes: text contrast of WCAG AA, safe for colour-blind eyes, one table for all plots.

Blue is always long, bid, up; orange is always short, ask, down. No meaning is in colour alone: a sign, a side of an axis, a hollow or
filled body, or a word goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FONT = "system-ui, 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', 'DejaVu Sans', Arial, sans-serif"
MONO = "ui-monospace, 'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"

NO_DATA = "#00000000"
"""Palette entry of code 0: the picture shows nothing where the book says nothing."""


@dataclass(frozen=True)
class Theme:
    """Colours of one theme, as CSS hex."""

    name: str
    page: str
    panel: str
    edge: str
    text: str
    muted: str
    grid: str
    long: str
    short: str
    level: str
    casing: str
    candle_up: str
    candle_down: str
    invalid: str
    wall: str
    error: str
    map_floor: str
    call: str
    put: str


DARK = Theme(
    name="dark", page="#0a0e13", panel="#121922", edge="#2a3644", text="#eef3f8", muted="#a9b8c7", grid="#1c2632", long="#5cb0ff",
    short="#ffa24d", level="#ffe45c", casing="#05080b", candle_up="#3ddbb4", candle_down="#ff6b7a", invalid="#5d6c7c",
    wall="#ffe45c", error="#ff8c8c", map_floor="#0a0e13", call="#59e0cb", put="#c79bff",
)  # fmt: skip

LIGHT = Theme(
    name="light", page="#ffffff", panel="#f3f6f9", edge="#c3ced9", text="#0d141b", muted="#455463", grid="#e3e9ef", long="#0a5fb4",
    short="#b04a00", level="#7a2ea0", casing="#ffffff", candle_up="#00755c", candle_down="#c0172c", invalid="#82909e",
    wall="#7a2ea0", error="#b00020", map_floor="#ffffff", call="#00786a", put="#8a1c5b",
)  # fmt: skip

THEMES = {t.name: t for t in (DARK, LIGHT)}

INKS = ("text", "muted", "long", "short", "level", "wall")
"""Colours that data name instead of carrying them: a change of theme then changes a palette, and no data."""

_FIGURE = ("#0c2748", "#1c5aa6", "#4f8fd0", "#e39a2b", "#f8c766", "#fff4d9")
_FIGURE_LIGHT = ("#dbe8f6", "#8fbbe8", "#3d7fc4", "#c77a12", "#8a4a00", "#3a1c00")
_CIVIDIS = ("#00204c", "#00336f", "#39486b", "#575c6d", "#707173", "#8a8779", "#a69d75", "#c4b56c", "#e4cf5b", "#ffea46")
_BOOKMAP = ("#000000", "#06184a", "#0b3fb0", "#1e7be0", "#ffe94d", "#ffb020", "#ff6a00", "#e01010")

PALETTES = ("perceptual", "cividis", "bookmap")
"""Maps for resting depth and one-signed flows; net always runs from orange through neutral to blue."""


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=float)


def ramp(stops: tuple[str, ...], n: int) -> list[str]:
    """`n` colours running evenly through `stops` (CSS ``#rrggbb``)."""
    at = np.linspace(0, len(stops) - 1, n)
    rgb = np.stack([np.interp(at, np.arange(len(stops)), channel) for channel in np.transpose([_rgb(s) for s in stops])], axis=1)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.rint(rgb).astype(int)]


@lru_cache(maxsize=16)
def unsigned_palette(theme: Theme, name: str) -> tuple[str, ...]:
    """256 colours for codes of one sign: 0 is no data, 1 is zero, 255 the top of the scale."""
    dark = theme.name == "dark"
    if name == "bookmap":
        stops: tuple[str, ...] = _BOOKMAP
    elif name == "cividis":
        stops = _CIVIDIS if dark else _CIVIDIS[::-1]
    else:
        # Ground, then blue, amber and cream: what is usual is not seen, what stands out is.
        stops = (theme.map_floor, *(_FIGURE if dark else _FIGURE_LIGHT))
    return (NO_DATA, *ramp(stops, 255))


@lru_cache(maxsize=4)
def side_palette(theme: Theme, side: str) -> tuple[str, ...]:
    """256 colours from the map's floor to the hue of long (blue) or short (orange)."""
    if theme.name == "dark":
        stops = ("#103a66", theme.long, "#d9eeff") if side == "long" else ("#5c2c05", theme.short, "#ffe9d1")
    else:
        stops = ("#b9d6f2", theme.long, "#062f5c") if side == "long" else ("#f6cfa8", theme.short, "#552200")
    return (NO_DATA, *ramp((theme.map_floor, *stops), 255))


@lru_cache(maxsize=2)
def signed_palette(theme: Theme) -> tuple[str, ...]:
    """256 colours for signed codes: 0 is no data, 1 most negative (orange), 128 neutral, 255 most positive (blue)."""
    dark = theme.name == "dark"
    neutral = "#161d26" if dark else "#f1f3f5"
    stops = ("#ffb066", "#b85f10", neutral, "#1b6fbf", "#7cc4ff") if dark else ("#7a3300", "#f0a35e", neutral, "#6fb0ea", "#063f80")
    return (NO_DATA, *ramp(stops, 255))


def luminance(colour: str) -> float:
    """Relative luminance of a ``#rrggbb`` colour (WCAG 2.2)."""
    c = _rgb(colour) / 255
    lin = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(lin @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two ``#rrggbb`` colours (WCAG 2.2), 1 to 21."""
    hi, lo = sorted((luminance(a), luminance(b)), reverse=True)
    return (hi + 0.05) / (lo + 0.05)


def css_variables(theme: Theme) -> dict[str, str]:
    """The theme as CSS custom properties, for the page's own elements."""
    keys = ("page", "panel", "edge", "text", "muted", "long", "short", "level", "error", "grid", "wall")
    return {f"--sm-{k}": getattr(theme, k) for k in keys} | {"--sm-font": FONT, "--sm-mono": MONO}
