"""Episodes of a level and their touches (features.md section 8): one pass over windows and trades."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from engine.ladder import NO_TICK
from engine.params import SetupParams
from engine.setups.approach import DOWN, UP


@dataclass(frozen=True)
class Episodes:
    """The episodes of one level in a session, in time order; every array has one item per episode.

    Attributes
    ----------
    first, last : ndarray of int64
        First and last window of the approach; windows between them without it are part of the episode.
    sign : ndarray of int64
        +1 for an approach from below, -1 from above.
    arm : ndarray of int64
        First window within the arming distance, -1 where none is.
    touch : ndarray of int64
        Trade that touches the level, -1 where none does.
    touch_tick : ndarray of int64
        The level's tick at the touch, where it is frozen.
    closed : ndarray of bool
        Whether a later episode began before a touch: no touch can come any more.
    of_window : ndarray of int64, shape (windows,)
        Episode whose approach a window is, -1 where it is none's.
    """

    first: np.ndarray
    last: np.ndarray
    sign: np.ndarray
    arm: np.ndarray
    touch: np.ndarray
    touch_tick: np.ndarray
    closed: np.ndarray
    of_window: np.ndarray


@njit(cache=True)
def _pass(
    code: np.ndarray,
    last_tick: np.ndarray,
    k_ref: np.ndarray,
    offset: np.ndarray,
    tick: np.ndarray,
    level_at: np.ndarray,
    arm_ticks: int,
    gap: int,
    wait: int,
    up: int,
    down: int,
    no_tick: int,
    table: np.ndarray,
    of_window: np.ndarray,
) -> int:
    """Fill ``table[episode] = (first, last, sign, arm, touch, touch tick, closed)`` and `of_window`; returns how many there are."""
    n = 0
    is_open = False
    disarmed = False
    for w in range(code.size):
        e = n - 1
        if n > 0 and table[e, 4] < 0 and w > table[e, 0] and (is_open or w <= table[e, 1] + wait):
            sign = table[e, 2]
            for i in range(max(offset[w], 1), offset[w + 1]):
                level = level_at[i]
                # From the approach side: the trade before stood there by the level of now, so that a level's step is no touch.
                if level != no_tick and sign * (level - tick[i - 1]) > 0 and sign * (level - tick[i]) <= 0:
                    table[e, 4] = i
                    table[e, 5] = level
                    is_open = False
                    disarmed = True
                    break
        known = k_ref[w] != no_tick and last_tick[w] != no_tick
        d = last_tick[w] - k_ref[w] if known else 0
        if disarmed and known and abs(d) > arm_ticks:
            disarmed = False
        sign = 1 if code[w] == up else (-1 if code[w] == down else 0)
        if is_open and (d * table[e, 2] > 0 or (sign != table[e, 2] and w - table[e, 1] >= gap)):
            is_open = False
        if sign == 0 or disarmed:
            continue
        if is_open:
            table[e, 1] = w
        else:
            if n > 0 and table[e, 4] < 0:
                table[e, 6] = 1
            e = n
            n += 1
            table[e, 0], table[e, 1], table[e, 2], table[e, 3], table[e, 4] = w, w, sign, -1, -1
            is_open = True
        of_window[w] = e
        if table[e, 3] < 0 and abs(d) <= arm_ticks:
            table[e, 3] = w
    return n


def find_episodes(
    code: np.ndarray,
    last_tick: np.ndarray,
    k_ref: np.ndarray,
    offset: np.ndarray,
    tick: np.ndarray,
    level_at: np.ndarray,
    params: SetupParams,
) -> Episodes:
    """Episodes of one level.

    Parameters
    ----------
    code : ndarray of int8, shape (windows,)
        Approach of each window, position in `engine.setups.approach.APPROACHES`.
    last_tick, k_ref : ndarray of int64, shape (windows,)
        Last trade at each window's end, and the level at its start; `NO_TICK` where there is none.
    offset : ndarray of int64, shape (windows + 1,)
        First trade of each window, and the end of the last.
    tick, level_at : ndarray of int64, shape (trades,)
        Each trade's tick, and the level's tick at its time.
    """
    n_windows = code.size
    table = np.zeros((n_windows + 1, 7), np.int64)
    of_window = np.full(n_windows, -1, np.int64)
    n = _pass(
        code.astype(np.int64), last_tick.astype(np.int64), k_ref, offset, tick, level_at,
        params.arm_ticks, params.gap_windows, params.wait_windows, UP, DOWN, NO_TICK, table, of_window,
    )  # fmt: skip
    first, last, sign, arm, touch, touch_tick, closed = table[:n].T
    return Episodes(first, last, sign, arm, touch, touch_tick, closed == 1, of_window)
