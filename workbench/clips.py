"""Short stretches of the lake's sessions around a level: what small replays are made from. Kept for all tabs, never written to."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engine.features import pressure_cube
from engine.ladder import Ladder
from engine.vocab import NS
from workbench import data
from workbench.plots.coding import LAYERS
from workbench.plots.neighbours import Mini, mini

COLUMNS = 300
"""About as many windows as a small replay has pixels."""


@dataclass(frozen=True)
class Stretch:
    """How much is shown on both sides of the instant and of the level, and of what.

    Attributes
    ----------
    before_s, after_s : int
    reach : int
        Ticks.
    layer : str
        Key of `workbench.plots.coding.LAYERS`.
    half_life_s : float
        Of the flows behind ``long, short, net``.
    least_s : int
        Shortest window.
    """

    before_s: int
    after_s: int
    reach: int
    layer: str
    half_life_s: float
    least_s: int = 1

    @property
    def window_s(self) -> int:
        """Length of a window: the shortest, not below `least_s`, with which `COLUMNS` suffice."""
        return max(self.least_s, -(-(self.before_s + self.after_s) // COLUMNS))


def clip(root: str, symbol: str, date: dt.date, level_tick: int, zero_ns: int, stretch: Stretch) -> Mini:
    """The stretch around `zero_ns` of a session.

    Raises
    ------
    PartitionMissing, PartitionCorrupt
        Where the session's ladder is not in the lake, with the command that makes it.
    SessionError
        Where the stretch is outside the session.
    """
    return _clip(root, symbol, date, data.stamp(root, symbol, date), level_tick, zero_ns, stretch)


@lru_cache(maxsize=512)
def _clip(root: str, symbol: str, date: dt.date, stamp: str, level_tick: int, zero_ns: int, stretch: Stretch) -> Mini:
    ladder, layer, w = _ladder(root, symbol, date, stamp), LAYERS[stretch.layer], stretch.window_s
    begin, end = zero_ns - stretch.before_s * NS, zero_ns + stretch.after_s * NS
    low, high = level_tick - stretch.reach, level_tick + stretch.reach
    if layer.key in ("long", "short", "net"):
        cube = pressure_cube(ladder, begin, end, low, high, window_s=w, half_life_s=stretch.half_life_s)
    else:
        cube = ladder.cube(begin, end, low, high, window_s=w)
    seconds = (cube["window_end_ts_ns"].to_numpy() - ladder.start_ns) // NS - 1
    made = mini(cube, ladder.last_tick[np.minimum(seconds, ladder.seconds - 1)], level_tick=level_tick, zero_ns=zero_ns, layer=layer)
    # The values alone are kept: a slice with all its channels is thirty times as large.
    return Mini(made.values.copy(), made.ticks, made.ends_s, made.last)


@lru_cache(maxsize=2)
def _ladder(root: str, symbol: str, date: dt.date, stamp: str) -> Ladder:
    return Ladder.open(data.open_lake(root), symbol, date)
