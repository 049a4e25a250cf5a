"""Features of a book that is known near the touch only: which zones each looks at, and in which windows these lie where it is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.ladder import Ladder
from engine.params import FeatureParams

ASKS, BIDS, BOTH = (True, False), (False, True), (True, True)

_SIDES = {"down_1": ASKS, "down_2": ASKS, "up_1": ASKS, "up_2": ASKS, "down_3": BIDS, "down_4": BIDS, "up_3": BIDS, "up_4": BIDS}
"""Sides of features whose name does not say it."""

_REACH = {
    "slope_inner": "near", "t2_": "at", "t3_": "at", "t4_": "near", "t6_": "level", "t7_": "level", "com_touch": "touch_ticks",
    "t1_": "best", "t5_": "best", "t8_": "best", "t9_": "best",
}  # fmt: skip
"""How far from the level a feature looks: to a zone's bound, to the level itself, or at the best prices and trades alone; else to the far
bound. The keys are parts of their names."""


def sides_of(name: str) -> tuple[bool, bool]:
    """Whether a feature looks at asks, and at bids."""
    parts = name.split("_")
    return _SIDES.get(name) or (ASKS if "ask" in parts else BIDS if "bid" in parts else BOTH)


def reach_of(name: str) -> str:
    """How far from the level a feature looks, as the values of `_REACH`."""
    return next((reach for part, reach in _REACH.items() if part in name), "far")


class NearBand:
    """Where bids and asks are known in each window of a ladder.

    low, high: as `engine.ladder.Ladder.known_span`
    near: bool: the book is not valid in every second of the window, but near the touch it is known in each
    """

    def __init__(self, ladder: Ladder, first: int, n_windows: int, params: FeatureParams) -> None:
        self.low, self.high = ladder.known_span(first, n_windows, params.window_s)
        span = slice(first, first + n_windows * params.window_s)
        valid = ladder.valid[span].reshape(n_windows, params.window_s)
        ticks = np.where(valid, 2**31 - 1, ladder.near_ticks[span].reshape(n_windows, params.window_s))
        self.ticks = ticks.min(axis=1)
        self.near: NDArray[np.bool_] = ~valid.all(axis=1) & (self.low <= self.high)
        self._params = params

    def holds(self, name: str, k_ref: NDArray[np.int64], window: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether all that a feature looks at is known near the touch, per row: a level's tick in a window."""
        near, reach = self.near[window], reach_of(name)
        if reach == "best":
            return near
        if reach == "touch_ticks":
            return np.asarray(near & (self.ticks[window] >= self._params.touch_ticks))
        bound = 0 if reach == "level" else getattr(self._params.zones, reach)
        asks, bids = sides_of(name)
        up = k_ref + bound <= self.high[window] if asks else True
        down = k_ref - bound >= self.low[window] if bids else True
        return np.asarray(near & up & down)
