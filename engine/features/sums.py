"""What the features of a window are made of: sums of the ladder around a level (features.md section 2), named."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numba import njit

from engine.features.registry import table_features
from engine.ladder import NO_TICK, Ladder
from engine.params import FeatureParams
from engine.setups.approach import frame_of_travel

AT, NEAR, MID, FAR = range(4)


class SideSums:
    """One side's sums: every attribute is a float64 array over the rows, or ``(rows, 4)`` by zone.

    start, end: depth by zone at the window's start and end
    add, pull, rest, fill: flows of the window by zone; `rest` is the rested part of `pull`
    away, toward: rested reprices, all zones
    volume: fills of this side's orders within the far bound on both sides of the level
    com_start, com_end: centre of mass in ticks from the level; one beyond the far bound for an empty side
    touch_start, touch_end: centre of mass of the ticks next to the side's own best price, in ticks from it
    """

    def __init__(self, block: np.ndarray, touch: np.ndarray, far: int, touch_ticks: int) -> None:
        def zones(column: int) -> np.ndarray:
            return block[:, column : column + 4].astype(np.float64)

        self.start, self.end = zones(D_START), zones(D_END)
        self.add, self.pull, self.rest, self.fill = zones(ADD), zones(PULL), zones(REST), zones(FILL)
        self.away, self.toward = block[:, AWAY].astype(np.float64), block[:, TOWARD].astype(np.float64)
        self.volume = block[:, VOLUME].astype(np.float64)
        self.com_start = _centre(block[:, COM_START], self.start.sum(axis=1), far + 1)
        self.com_end = _centre(block[:, COM_END], self.end.sum(axis=1), far + 1)
        self.touch_start = _centre(touch[:, 0, 1], touch[:, 0, 0], touch_ticks)
        self.touch_end = _centre(touch[:, 1, 1], touch[:, 1, 0], touch_ticks)


def _centre(weighted: np.ndarray, depth: np.ndarray, empty: int) -> np.ndarray:
    return np.where(depth > 0, weighted / np.maximum(depth, 1), float(empty))


class WindowSums:
    """The sums of all (level, window) rows, and the features made of them so far.

    ``sums["f1_ask_com_disp_log"]`` computes a feature once and caches it, so that features can be made of features.
    level, window: which level (row of `k_ref`) and window each row is
    k_ref, travel: the level's tick; +1 for travel up, -1 down, 0 unknown: that of the window's start, or the argument `travel` ``(levels,
        windows)``, such as a trigger's own for all its history
    last_start, last_end: last trade in ticks, NaN where there is none
    ofi, mean_size: best-level order-flow imbalance of the window; mean size at the best prices over its seconds' ends
    """

    def __init__(self, ladder: Ladder, k_ref: np.ndarray, first: int, params: FeatureParams, travel: np.ndarray | None = None) -> None:
        n_levels, n_windows = k_ref.shape
        window_s, zones = params.window_s, params.zones
        self.params = params
        ends = first + window_s * (np.arange(n_windows) + 1) - 1
        before = ends - window_s  # the second before the window, -1 before the session's first
        state = ladder.state_before(first, ladder.tick_low, ladder.n_slots)
        dense = np.ascontiguousarray(state[:, :2])
        best_start, best_end = _best(ladder, before, dense), _best(ladder, ends, dense)
        last_start = ladder.last_tick[before]
        if first == 0:
            # Before the first second the last trade is what the first second carried on, if it did not trade itself.
            last_start[0] = NO_TICK if ladder.tape["trades"][0] else ladder.last_tick[0]
        if travel is None:
            travel = frame_of_travel(ladder.last_tick, before, last_start, k_ref)
        distance = np.arange(zones.far + 1)
        zone = (distance > zones.at).astype(np.int64) + (distance > zones.near) + (distance > zones.mid)
        sums = np.zeros((n_levels, n_windows, 2, N_SUMS), np.int64)
        path = np.zeros((n_levels, n_windows, N_PATH), np.int64)
        touch = np.zeros((n_windows, 2, 2, 2), np.int64)
        window_sums(
            ladder.offset, ladder.tick, ladder.depth, ladder.values, dense, ladder.tick_low, first, window_s, k_ref, travel, zone,
            best_start, best_end, params.touch_ticks, NO_TICK, sums, path, touch,
        )  # fmt: skip
        self.level, self.window = np.nonzero(k_ref != NO_TICK)
        here = (self.level, self.window)
        self.k_ref = k_ref[here]
        self.travel = travel[here]
        self.last_start = _float_ticks(last_start)[self.window]
        self.last_end = _float_ticks(ladder.last_tick[ends])[self.window]
        self.path_end, self.behind_end, self.path_pull, self.path_add = path[here].astype(np.float64).T
        self.bid, self.ask = (SideSums(sums[here][:, s], touch[self.window, s], zones.far, params.touch_ticks) for s in (0, 1))
        span = slice(first, first + n_windows * window_s)

        def windows(name: str) -> np.ndarray:
            return ladder.tape[name].to_numpy()[span].astype(np.float64).reshape(n_windows, window_s)

        self.ofi = windows("ofi").sum(axis=1)[self.window]
        self.mean_size = ((windows("bid_size") + windows("ask_size")) / 2).mean(axis=1)[self.window]
        valid: np.ndarray = np.logical_and.reduce(ladder.valid[span].reshape(n_windows, window_s), axis=1)
        self.valid = valid[self.window]
        self._made: dict[str, np.ndarray] = {}

    @cached_property
    def _functions(self) -> dict:
        return {f.name: f.function for f in table_features()}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._made:
            self._made[name] = self._functions[name](self)
        return self._made[name]

    @cached_property
    def up(self) -> np.ndarray:
        """Rows that travel up."""
        return np.asarray(self.travel > 0)

    def defending(self, of: str) -> np.ndarray:
        """Attribute `of` of the side that defends the level: asks for travel up, bids for travel down."""
        ask, bid = getattr(self.ask, of), getattr(self.bid, of)
        up: np.ndarray = self.up
        return np.where(up if ask.ndim == 1 else up[:, None], ask, bid)

    def travelling(self, values: np.ndarray) -> np.ndarray:
        """`values` where the direction of travel is known, NaN elsewhere."""
        return np.where(self.travel != 0, values, np.nan)


def _best(ladder: Ladder, at: np.ndarray, dense_before: np.ndarray) -> np.ndarray:
    """``(windows, 2)`` best bid and ask tick at the end of seconds `at`; before the session's first, from its start book."""
    best = np.stack([ladder.best_bid_tick[at], ladder.best_ask_tick[at]], axis=1).astype(np.int64)
    if at.size and at[0] < 0:
        best[0] = best_of(dense_before, ladder.tick_low, NO_TICK)
    return best


def _float_ticks(ticks: np.ndarray) -> np.ndarray:
    return np.where(ticks == NO_TICK, np.nan, ticks.astype(np.float64))


# ----------------------------------------------------------------------------
# Numba kernel of the level features: every sum that sections 2 to 4 of features.md need, in one pass over the ladder

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
    offset: np.ndarray, tick: np.ndarray, depth: np.ndarray, values: np.ndarray, dense: np.ndarray, low: int, first_second: int,
    window_s: int, k_ref: np.ndarray, travel: np.ndarray, zone: np.ndarray, best_start: np.ndarray, best_end: np.ndarray, touch_ticks: int,
    no_tick: int, sums: np.ndarray, path: np.ndarray, touch: np.ndarray,
) -> None:  # fmt: skip
    """Fill `sums`, `path` and `touch`, all int64 and zeroed by the caller.

    offset, tick, depth, values: the ladder's rows: offsets by second, tick, ``(bid, ask)`` depth, all channels
    dense (ticks, 2): depth of every tick from `low` on before `first_second`; advanced in place
    k_ref, travel (levels, windows): the level's tick (`no_tick` where it has none), and +1 up, -1 down, 0 unknown
    zone (far bound + 1,): zone (0 at, 1 near, 2 mid, 3 far) by distance in ticks
    best_start, best_end (windows, 2): best bid and ask tick
    sums (levels, windows, side, N_SUMS), path (levels, windows, N_PATH)
    touch (windows, side, start or end, depth or distance-weighted depth)
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
