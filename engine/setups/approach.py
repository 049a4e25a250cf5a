"""Where price is relative to a level: the approach, and the frame of travel (features.md sections 4 and 8)."""

from __future__ import annotations

import numpy as np

from engine.ladder import NO_TICK
from engine.params import ApproachParams
from engine.vocab import Approach

APPROACHES = tuple(Approach)
"""Approach by code: the code is the position here."""

UP, DOWN, NONE = (APPROACHES.index(a) for a in (Approach.UP, Approach.DOWN, Approach.NONE))


def approaches(last_tick: np.ndarray, level_tick: np.ndarray, params: ApproachParams) -> np.ndarray:
    """Approach of each window (features.md section 8): within reach of the level, and moved toward it over the last windows.

    With ``d = last_tick - level_tick`` it is ``1 <= abs(d) <= max_distance_ticks`` and ``move * sign(d) < 0``, `move` being the last
    trade's over `lookback_windows`. `last_tick` ``(windows,)`` is the last trade at each window's end, `level_tick` ``(..., windows)`` the
    level; both `NO_TICK` where there is none. Returns int8 positions in `APPROACHES`, shaped as `level_tick`; `NONE` too in the session's
    first `lookback_windows` windows.
    """
    last = np.asarray(last_tick, np.int64)
    level = np.asarray(level_tick, np.int64)
    known = (last != NO_TICK) & (level != NO_TICK)
    move = np.zeros(last.shape, np.int64)
    back = params.lookback_windows
    if last.size > back:
        was = last[:-back]
        move[back:] = np.where(was != NO_TICK, last[back:] - was, 0)
    d = np.where(known, last - level, 0)
    near = (np.abs(d) >= 1) & (np.abs(d) <= params.max_distance_ticks) & (move * np.sign(d) < 0)
    return np.where(near, np.where(d < 0, UP, DOWN), NONE).astype(np.int8)


def frame_of_travel(last_by_second: np.ndarray, before: np.ndarray, last_start: np.ndarray, level_tick: np.ndarray) -> np.ndarray:
    """Direction of travel at each window's start, int8 ``(levels, windows)``: +1 up, -1 down, 0 not known.

    It is up while the last trade is below the level, down while above; exactly at the level it is the side price came from: that of the
    latest earlier second whose last trade was at another price. Not known where there is no trade yet, or none away from the level.
    `last_by_second` is the last trade at each second's end, `before` the second before each window (-1 before the session's first),
    `last_start` the last trade at each window's start.
    """
    other = _price_before(last_by_second)
    came_from = np.where(before >= 0, other[before], NO_TICK)
    last = last_start.astype(np.int64)
    level = np.asarray(level_tick, np.int64)
    at_level = last == level
    side = np.where(at_level, came_from, last)
    known = (side != NO_TICK) & (level != NO_TICK) & (last != NO_TICK)
    return np.where(known, np.sign(level - side), 0).astype(np.int8)


def _price_before(last: np.ndarray) -> np.ndarray:
    """Per second, the latest earlier last trade at another price than this second's; `NO_TICK` where none is."""
    last = np.asarray(last, np.int64)
    changed = np.append(False, last[1:] != last[:-1])
    start = np.maximum.accumulate(np.where(changed, np.arange(last.size), 0))
    return np.where(start > 0, last[np.maximum(start - 1, 0)], NO_TICK)
