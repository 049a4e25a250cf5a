"""What the features of a window are made of: sums of the ladder around a level (features.md section 2), named."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from engine.features.registry import table_features
from engine.ladder import NO_TICK, Ladder
from engine.params import FeatureParams
from engine.setups.approach import frame_of_travel

AT, NEAR, MID, FAR = range(4)


class SideSums:
    """One side's sums: every attribute is a float64 array over the rows, or ``(rows, 4)`` by zone.

    Attributes
    ----------
    start, end : (rows, 4)
        Depth by zone at the window's start and end.
    add, pull, rest, fill : (rows, 4)
        Flows of the window by zone; `rest` is the rested part of `pull`.
    away, toward : (rows,)
        Rested reprices, all zones.
    volume : (rows,)
        Fills of this side's orders within the far bound on both sides of the level.
    com_start, com_end : (rows,)
        Centre of mass in ticks from the level; one beyond the far bound for an empty side.
    touch_start, touch_end : (rows,)
        Centre of mass of the ticks next to the side's own best price, in ticks from it.
    """

    def __init__(self, block: np.ndarray, touch: np.ndarray, far: int, touch_ticks: int) -> None:
        from engine.features import kernels as k

        def zones(column: int) -> np.ndarray:
            return block[:, column : column + 4].astype(np.float64)

        self.start, self.end = zones(k.D_START), zones(k.D_END)
        self.add, self.pull, self.rest, self.fill = zones(k.ADD), zones(k.PULL), zones(k.REST), zones(k.FILL)
        self.away, self.toward = block[:, k.AWAY].astype(np.float64), block[:, k.TOWARD].astype(np.float64)
        self.volume = block[:, k.VOLUME].astype(np.float64)
        self.com_start = _centre(block[:, k.COM_START], self.start.sum(axis=1), far + 1)
        self.com_end = _centre(block[:, k.COM_END], self.end.sum(axis=1), far + 1)
        self.touch_start = _centre(touch[:, 0, 1], touch[:, 0, 0], touch_ticks)
        self.touch_end = _centre(touch[:, 1, 1], touch[:, 1, 0], touch_ticks)


def _centre(weighted: np.ndarray, depth: np.ndarray, empty: int) -> np.ndarray:
    return np.where(depth > 0, weighted / np.maximum(depth, 1), float(empty))


class WindowSums:
    """The sums of all (level, window) rows, and the features made of them so far.

    The direction of travel is that of each window's start; `travel` ``(levels, windows)`` int8 fixes another, such as a trigger's
    own for all its history.

    ``sums["f1_ask_com_disp_log"]`` computes a feature once and keeps it, so that features can be made of features.

    Attributes
    ----------
    ask, bid : SideSums
    level, window : ndarray
        Which level (row of `k_ref`) and window each row is.
    k_ref, travel : ndarray, shape (rows,)
        Level's tick; +1 for travel up, -1 down, 0 unknown.
    last_start, last_end : ndarray of float64, shape (rows,)
        Last trade in ticks, NaN where there is none.
    ofi, mean_size : ndarray of float64, shape (rows,)
        Best-level order-flow imbalance of the window, and the mean size at the best prices over its seconds' ends.
    path_end, behind_end, path_pull, path_add : ndarray of float64, shape (rows,)
    valid : ndarray of bool, shape (rows,)
    """

    def __init__(self, ladder: Ladder, k_ref: np.ndarray, first: int, params: FeatureParams, travel: np.ndarray | None = None) -> None:
        from engine.features import kernels

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
        sums = np.zeros((n_levels, n_windows, 2, kernels.N_SUMS), np.int64)
        path = np.zeros((n_levels, n_windows, kernels.N_PATH), np.int64)
        touch = np.zeros((n_windows, 2, 2, 2), np.int64)
        kernels.window_sums(
            ladder.offset,
            ladder.tick,
            ladder.depth,
            ladder.values,
            dense,
            ladder.tick_low,
            first,
            window_s,
            k_ref,
            travel,
            zone,
            best_start,
            best_end,
            params.touch_ticks,
            NO_TICK,
            sums,
            path,
            touch,
        )
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
    from engine.features import kernels

    best = np.stack([ladder.best_bid_tick[at], ladder.best_ask_tick[at]], axis=1).astype(np.int64)
    if at.size and at[0] < 0:
        best[0] = kernels.best_of(dense_before, ladder.tick_low, NO_TICK)
    return best


def _float_ticks(ticks: np.ndarray) -> np.ndarray:
    return np.where(ticks == NO_TICK, np.nan, ticks.astype(np.float64))
