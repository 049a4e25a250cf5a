"""Small replays of similar setups on one wall, aligned in time and in ticks from their level, on one colour scale."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from engine.ladder import NO_TICK
from workbench.plots import heatmap

NO_SIZE, NO_PRICE = 65_535, -32_768
"""What means "no data" among the sizes and prices of a small replay."""

SHARE_UNIT = 1_000
"""Shares of a signed layer travel as thousandths, with this added."""


@dataclass(frozen=True, eq=False)
class Mini:
    """The numbers of one small replay.

    Attributes
    ----------
    values : float32 ``(windows, rows)``
        Of the layer, NaN where the book is not valid; contracts, or a share.
    ticks : int64 ``(rows,)``
        From the level, rising.
    ends_s : float64 ``(windows,)``
        Each window's end, seconds from zero.
    last : float64 ``(windows,)``
        Last trade, ticks from the level; NaN before the first.
    """

    values: np.ndarray
    ticks: np.ndarray
    ends_s: np.ndarray
    last: np.ndarray

    @property
    def window_s(self) -> float:
        """Length of a window."""
        return float(self.ends_s[1] - self.ends_s[0]) if self.ends_s.size > 1 else 1.0

    def mirrored(self, *, signed: bool) -> Mini:
        """Upside down, so that an approach from above travels up as well; the values of a signed layer change their sign with it."""
        values = self.values[:, ::-1]
        return Mini(-values if signed else values, -self.ticks[::-1], self.ends_s, -self.last)

    def until(self, seconds: float) -> Mini:
        """What had ended by so many seconds from zero: the page gets nothing of what comes later."""
        n = int(np.searchsorted(self.ends_s, seconds, side="right"))
        return Mini(self.values[:n], self.ticks, self.ends_s[:n], self.last[:n])


def mini(cube: xr.Dataset, last_tick: np.ndarray, *, level_tick: int, zero_ns: int, layer: heatmap.Layer) -> Mini:
    """A small replay from a slice of the ladder, counted from `level_tick` and from the instant `zero_ns`.

    The cube has one tick a row, with pressure where `layer` needs it; `last_tick` the last trade at each window's end, or `NO_TICK`.
    """
    ends = (cube["window_end_ts_ns"].to_numpy() - zero_ns) / 1e9
    last = np.where(last_tick == NO_TICK, np.nan, last_tick.astype(np.float64) - level_tick)
    return Mini(heatmap.values(cube, layer), cube["tick"].to_numpy().astype(np.int64) - level_tick, ends, last)


def shared_top(minis: Sequence[Mini], layer: heatmap.Layer) -> float:
    """One top of the colour scale for a query and its neighbours, in contracts."""
    shown = [m.values.ravel() for m in minis]
    return heatmap.scale_top(np.concatenate(shown) if shown else np.zeros(0, np.float32), layer)


def packed(m: Mini, *, signed: bool) -> dict[str, object]:
    """A small replay as the page takes it.

    Returns
    -------
    dict
        ``sizes`` (base64 of uint16, row by row from the lowest tick; `NO_SIZE` is no data, a signed layer in thousandths above
        `SHARE_UNIT`), ``path`` (base64 of int16, `NO_PRICE` is none), ``n``, ``rows``, ``low`` (lowest tick from the level), ``start`` and
        ``step`` in seconds.
    """
    shown = m.values * SHARE_UNIT + SHARE_UNIT if signed else m.values
    sizes = np.where(np.isfinite(shown), np.clip(np.rint(shown), 0, NO_SIZE - 1), NO_SIZE).astype("<u2")
    path = np.where(np.isfinite(m.last), np.clip(m.last, NO_PRICE + 1, -NO_PRICE - 1), NO_PRICE).astype("<i2")
    text = {k: base64.b64encode(a.tobytes()).decode() for k, a in (("sizes", sizes.T), ("path", path))}
    return {
        **text, "n": int(m.ends_s.size), "rows": int(m.ticks.size), "low": int(m.ticks[0]) if m.ticks.size else 0,
        "start": float(m.ends_s[0] - m.window_s) if m.ends_s.size else 0.0, "step": m.window_s,
    }  # fmt: skip
