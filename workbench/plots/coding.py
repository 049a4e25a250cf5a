"""From exact values to the 256 codes a picture is painted with, and back to the legend's numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from engine.features.pressure import net


@dataclass(frozen=True)
class Layer:
    """A switchable layer of the heatmap.

    `parts` are the cube's variables summed into it; `kind` picks its colours: ``map`` (perceptual or bookmap),
    ``long``, ``short`` (one hue) or ``signed``.
    """

    key: str
    title: str
    parts: tuple[str, ...]
    kind: str
    meaning: str
    unit: str = "contracts"


LAYERS: dict[str, Layer] = {
    la.key: la
    for la in (
        Layer("depth", "Resting", ("bid_depth", "ask_depth"), "map", "resting size at the window's end"),
        Layer("add", "Add", ("bid_add", "ask_add"), "map", "size that arrived"),
        Layer("pull", "Pull", ("bid_pull", "ask_pull"), "map", "size that left without trading"),
        Layer("fill", "Fill", ("bid_fill", "ask_fill"), "map", "size that traded"),
        Layer("long", "Long", ("long",), "long", "bid add + ask pull + ask fill"),
        Layer("short", "Short", ("short",), "short", "ask add + bid pull + bid fill"),
        Layer("net", "Net", ("net",), "signed", "(long − short) / (long + short + 1)", "share"),
    )
}


def values(cube: xr.Dataset, layer: Layer) -> np.ndarray:
    """Exact values of `layer`, shape (windows, rows), float32; NaN where the book is not valid."""
    first, *rest = (cube[p].to_numpy() for p in layer.parts)
    out = first.astype(np.float32)
    for more in rest:
        out += more
    out[~cube["book_valid"].to_numpy().astype(bool)] = np.nan
    return out


def pool_windows(shown: np.ndarray, pool: int) -> np.ndarray:
    """Of every `pool` windows the value furthest from zero, shape (ceil(windows / pool), rows); NaN only where all of them are."""
    if pool == 1:
        return shown
    short = -shown.shape[0] % pool
    parts = np.pad(shown, ((0, short), (0, 0)), constant_values=np.nan).reshape(-1, pool, shown.shape[1])
    size = np.where(np.isnan(parts), -1.0, np.abs(parts))
    return np.take_along_axis(parts, size.argmax(axis=1)[:, None, :], axis=1)[:, 0]


def pool_net(long: np.ndarray, short: np.ndarray, pool: int) -> np.ndarray:
    """The balance of flow over every `pool` windows, as if they were one; of single windows the loudest would be noise.

    Parameters
    ----------
    long, short : ndarray of float, shape (windows, rows)
        NaN where the book is not valid.

    Returns
    -------
    ndarray of float32, shape (ceil(windows / pool), rows)
        NaN only where all windows are.
    """
    gap = -long.shape[0] % pool
    sums, known = {}, np.zeros(0, dtype=bool)
    for name, flow in (("long", long), ("short", short)):
        parts = np.pad(flow, ((0, gap), (0, 0)), constant_values=np.nan).reshape(-1, pool, flow.shape[1])
        known = np.isfinite(parts).any(axis=1)
        sums[name] = np.nansum(parts, axis=1, dtype=np.float64)
    return np.where(known, net(sums), np.nan).astype(np.float32)


def pooled(cube: xr.Dataset, layer: Layer, pool: int) -> np.ndarray:
    """Exact values of `layer` in columns of `pool` windows, shape (ceil(windows / pool), rows), float32."""
    if layer.kind == "signed" and pool > 1:
        return pool_net(cube["long"].to_numpy(), cube["short"].to_numpy(), pool)
    return pool_windows(values(cube, layer), pool)


def nice_top(x: float) -> float:
    """Smallest of 1, 1.5, 2, 3, 5, 7.5 times a power of ten that is not below `x` (at least 5)."""
    x = max(float(x), 5.0)
    power = 10.0 ** np.floor(np.log10(x))
    for m in (1, 1.5, 2, 3, 5, 7.5, 10):
        if m * power >= x * (1 - 1e-9):
            return float(m * power)
    return float(10 * power)


def scale_top(shown: np.ndarray, layer: Layer) -> float:
    """Top of the colour scale for `layer`: 1 for shares, else a round number at the 99.5% quantile of what is not zero."""
    if layer.kind == "signed":
        return 1.0
    live = shown[np.isfinite(shown) & (shown > 0)]
    return nice_top(float(np.quantile(live, 0.995))) if live.size else 5.0


def codes(shown: np.ndarray, layer: Layer, top: float) -> np.ndarray:
    """Codes of `shown`, uint8, same shape.

    0 is no data. One-signed layers: 1 is zero, 255 is `top` and more, in between the square root of the value, so that
    a wall of 400 and a row of 20 both keep their place. Signed layers: 128 is zero, 1 and 255 are -1 and +1.
    """
    # In place on one float32 buffer: this runs on every repaint, over some 2500 x 80 cells.
    if layer.kind == "signed":
        out = np.clip(shown, -1, 1)
        out *= 127
        out += 128
    else:
        out = np.clip(shown, 0, top)
        out /= top
        np.sqrt(out, out=out)
        out *= 254
        out += 1
    out += 0.5
    np.nan_to_num(out, copy=False, nan=0.0)
    return out.astype(np.uint8)


def legend_marks(layer: Layer, top: float) -> list[tuple[float, str]]:
    """Marks of the legend: (place along the bar 0..1, text)."""
    if layer.kind == "signed":
        return [(0.0, "−1 short"), (0.5, "0"), (1.0, "+1 long")]
    marks = [(float(np.sqrt(f)), f"{top * f:,.0f}") for f in (0.0, 0.1, 0.3, 0.6)]
    return [*marks, (1.0, f"≥{top:,.0f}")]


def invalid_spans(valid: np.ndarray) -> list[tuple[int, int]]:
    """Half-open index spans of `valid` in which the book is not valid."""
    bad = np.concatenate(([False], ~np.asarray(valid, dtype=bool), [False]))
    edge = np.flatnonzero(np.diff(bad.astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edge[::2], edge[1::2])]
