"""Numba kernel of the level features: every sum that sections 2 to 4 of features.md need, in one pass over the ladder.

Plain arrays in, plain arrays out; `engine.features.sums` prepares and names them. Side 0 is bids, 1 asks.
"""

from __future__ import annotations

import numpy as np
from numba import njit

D_START, COM_START, D_END, COM_END, ADD, PULL, REST, FILL, AWAY, TOWARD, VOLUME, N_SUMS = 0, 4, 5, 9, 10, 14, 18, 22, 26, 27, 28, 29
"""Columns of ``sums[level, window, side]``: four zones each of depth at the start and the end, adds, pulls, rested pulls and
fills; distance-weighted depth at start and end; rested reprices away and toward; fills on both sides of the level."""

PATH_END, BEHIND_END, PATH_PULL, PATH_ADD, N_PATH = 0, 1, 2, 3, 4
"""Columns of ``path[level, window]``."""


@njit(cache=True)
def _zone_depth(dense: np.ndarray, low: int, k_ref: int, zone: np.ndarray, out: np.ndarray, d: int, com: int) -> None:
    for side in range(2):
        sign = 1 if side == 1 else -1
        for n in range(zone.size):
            j = k_ref + sign * n - low
            if 0 <= j < dense.shape[0]:
                q = dense[j, side]
                out[side, d + zone[n]] += q
                out[side, com] += n * q


@njit(cache=True)
def _touch_depth(dense: np.ndarray, low: int, best: int, side: int, ticks: int, no_tick: int, out: np.ndarray) -> None:
    if best == no_tick:
        return
    sign = 1 if side == 1 else -1
    for n in range(ticks):
        j = best + sign * n - low
        if 0 <= j < dense.shape[0]:
            out[0] += dense[j, side]
            out[1] += n * dense[j, side]


@njit(cache=True)
def _span_depth(dense: np.ndarray, low: int, first: int, last: int, side: int) -> int:
    total = 0
    for j in range(max(first - low, 0), min(last - low, dense.shape[0] - 1) + 1):
        total += dense[j, side]
    return total


@njit(cache=True)
def best_of(dense: np.ndarray, low: int, no_tick: int) -> tuple[int, int]:
    """Highest bid and lowest ask tick of a dense book, `no_tick` for an empty side."""
    bid = no_tick
    ask = no_tick
    for j in range(dense.shape[0]):
        if dense[j, 0] > 0:
            bid = low + j
        if dense[j, 1] > 0 and ask == no_tick:
            ask = low + j
    return bid, ask


@njit(cache=True)
def window_sums(
    offset: np.ndarray,
    tick: np.ndarray,
    depth: np.ndarray,
    values: np.ndarray,
    dense: np.ndarray,
    low: int,
    first_second: int,
    window_s: int,
    k_ref: np.ndarray,
    travel: np.ndarray,
    zone: np.ndarray,
    best_start: np.ndarray,
    best_end: np.ndarray,
    touch_ticks: int,
    no_tick: int,
    sums: np.ndarray,
    path: np.ndarray,
    touch: np.ndarray,
) -> None:
    """Fill `sums`, `path` and `touch`, all int64 and zeroed by the caller.

    Parameters
    ----------
    offset, tick, depth, values
        The ladder's rows: offsets by second, tick, ``(bid, ask)`` depth, all channels.
    dense : (ticks, 2)
        Depth of every tick from `low` on before `first_second`; advanced in place.
    k_ref, travel : (levels, windows)
        The level's tick (`no_tick` where it has none), and +1 up, -1 down, 0 unknown.
    zone : (far bound + 1,)
        Zone (0 at, 1 near, 2 mid, 3 far) by distance in ticks.
    best_start, best_end : (windows, 2)
        Best bid and ask tick.
    sums : (levels, windows, side, N_SUMS)
    path : (levels, windows, N_PATH)
    touch : (windows, side, start or end, depth or distance-weighted depth)
    """
    n_levels, n_windows = k_ref.shape
    far = zone.size - 1
    path_low = np.empty(n_levels, np.int64)
    path_high = np.empty(n_levels, np.int64)
    for w in range(n_windows):
        for side in range(2):
            _touch_depth(dense, low, best_start[w, side], side, touch_ticks, no_tick, touch[w, side, 0])
        for v in range(n_levels):
            path_low[v], path_high[v] = 0, -1
            k = k_ref[v, w]
            if k == no_tick:
                continue
            _zone_depth(dense, low, k, zone, sums[v, w], D_START, COM_START)
            if travel[v, w] > 0 and best_start[w, 1] != no_tick:
                path_low[v], path_high[v] = best_start[w, 1], k - 1
            elif travel[v, w] < 0 and best_start[w, 0] != no_tick:
                path_low[v], path_high[v] = k + 1, best_start[w, 0]
        for r in range(offset[first_second + w * window_s], offset[first_second + (w + 1) * window_s]):
            t = tick[r]
            dense[t - low, 0] = depth[r, 0]
            dense[t - low, 1] = depth[r, 1]
            for v in range(n_levels):
                k = k_ref[v, w]
                if k == no_tick:
                    continue
                n = t - k
                if -far <= n <= far:
                    out = sums[v, w]
                    out[0, VOLUME] += values[r, 8]
                    out[1, VOLUME] += values[r, 9]
                    for side in range(2):
                        m = n if side == 1 else -n
                        if m < 0:
                            continue
                        z = zone[m]
                        out[side, ADD + z] += values[r, 4 + side]
                        out[side, PULL + z] += values[r, 6 + side]
                        out[side, FILL + z] += values[r, 8 + side]
                        out[side, REST + z] += values[r, 10 + side]
                        out[side, AWAY] += values[r, 12 + side]
                        out[side, TOWARD] += values[r, 14 + side]
                if path_low[v] <= t <= path_high[v]:
                    side = 1 if travel[v, w] > 0 else 0
                    path[v, w, PATH_ADD] += values[r, 4 + side]
                    path[v, w, PATH_PULL] += values[r, 6 + side]
        bid, ask = best_end[w, 0], best_end[w, 1]
        for side in range(2):
            _touch_depth(dense, low, best_end[w, side], side, touch_ticks, no_tick, touch[w, side, 1])
        for v in range(n_levels):
            k = k_ref[v, w]
            if k == no_tick:
                continue
            _zone_depth(dense, low, k, zone, sums[v, w], D_END, COM_END)
            if travel[v, w] > 0 and ask != no_tick and ask < k:
                path[v, w, PATH_END] = _span_depth(dense, low, ask, k - 1, 1)
                if bid != no_tick:
                    path[v, w, BEHIND_END] = _span_depth(dense, low, bid - (k - ask) + 1, bid, 0)
            elif travel[v, w] < 0 and bid != no_tick and bid > k:
                path[v, w, PATH_END] = _span_depth(dense, low, k + 1, bid, 0)
                if ask != no_tick:
                    path[v, w, BEHIND_END] = _span_depth(dense, low, ask, ask + (bid - k) - 1, 1)
