"""Numba kernels over the sparse ladder: plain arrays in, plain arrays out; `engine.ladder` validates before them.

Row layout: ``values[row, 2 * channel + side]`` with the channels of `engine.ladder.CHANNELS` and side 0 = bid,
1 = ask, so that one row is one 64-byte cache line.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FIRST_FLOW = 4
"""Columns before this one are states at a window's end (depth, orders); from it on they are flows of the window."""


@njit(cache=True)
def index_by_tick(tick: np.ndarray, low: int, n_slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Counting sort of the rows by tick, keeping time order: (offsets by slot ``tick - low``, row numbers)."""
    offset = np.zeros(n_slots + 1, np.int64)
    for i in range(tick.size):
        offset[tick[i] - low + 1] += 1
    for j in range(n_slots):
        offset[j + 1] += offset[j]
    place = offset[:-1].copy()
    rows = np.empty(tick.size, np.int32)
    for i in range(tick.size):
        j = tick[i] - low
        rows[place[j]] = i
        place[j] += 1
    return offset, rows


@njit(cache=True)
def state_before(
    slot_offset: np.ndarray,
    slot_rows: np.ndarray,
    second: np.ndarray,
    values: np.ndarray,
    low: int,
    at: int,
    tick_low: int,
    first_known: bool,
    state: np.ndarray,
) -> None:
    """Fill ``state[i] = (bid depth, ask depth, bid orders, ask orders)`` of tick ``tick_low + i`` before second `at`.

    Every change of depth has a row, so the last row of a tick before `at` holds its state. Before the session's
    first second there is no row; there the conservation law gives the depth (if `first_known`), and orders stay 0.
    """
    n_slots = slot_offset.size - 1
    for i in range(state.shape[0]):
        state[i, :] = 0
        j = tick_low + i - low
        if j < 0 or j >= n_slots:
            continue
        a = slot_offset[j]
        b = slot_offset[j + 1]
        if at == 0:
            if first_known and a < b and second[slot_rows[a]] == 0:
                v = values[slot_rows[a]]
                state[i, 0] = v[0] - v[4] + v[6] + v[8]
                state[i, 1] = v[1] - v[5] + v[7] + v[9]
            continue
        first = a
        while a < b:
            m = (a + b) // 2
            if second[slot_rows[m]] < at:
                a = m + 1
            else:
                b = m
        if a > first:
            v = values[slot_rows[a - 1]]
            for c in range(4):
                state[i, c] = v[c]


@njit(cache=True)
def fill_cube(
    offset: np.ndarray,
    tick: np.ndarray,
    values: np.ndarray,
    state: np.ndarray,
    first_second: int,
    window_s: int,
    tick_low: int,
    step: int,
    out: np.ndarray,
) -> None:
    """Fill ``out[channel, window, price row]`` (int64): 16 channels, then bid and ask depth at the window's start.

    `state` is the state of the ``rows * step`` ticks before `first_second`, and is advanced in place.
    """
    n_windows = out.shape[1]
    tick_end = tick_low + state.shape[0]
    for w in range(n_windows):
        for i in range(state.shape[0]):
            out[16, w, i // step] += state[i, 0]
            out[17, w, i // step] += state[i, 1]
        for s in range(first_second + w * window_s, first_second + (w + 1) * window_s):
            a = offset[s]
            b = offset[s + 1]
            while a < b:
                m = (a + b) // 2
                if tick[m] < tick_low:
                    a = m + 1
                else:
                    b = m
            for r in range(a, offset[s + 1]):
                if tick[r] >= tick_end:
                    break
                i = tick[r] - tick_low
                for c in range(FIRST_FLOW):
                    state[i, c] = values[r, c]
                for c in range(FIRST_FLOW, 16):
                    out[c, w, i // step] += values[r, c]
        for i in range(state.shape[0]):
            for c in range(FIRST_FLOW):
                out[c, w, i // step] += state[i, c]


@njit(cache=True)
def depth_before_rows(
    slot_offset: np.ndarray, slot_rows: np.ndarray, second: np.ndarray, depth: np.ndarray, start: np.ndarray, known: np.ndarray
) -> None:
    """Fill ``start[row] = (bid, ask)`` depth before each row's window; ``known[row]`` is False for a tick's first row."""
    for j in range(slot_offset.size - 1):
        for p in range(slot_offset[j], slot_offset[j + 1]):
            r = slot_rows[p]
            if p > slot_offset[j]:
                q = slot_rows[p - 1]
                start[r, 0] = depth[q, 0]
                start[r, 1] = depth[q, 1]
                known[r] = True
            else:
                known[r] = False
