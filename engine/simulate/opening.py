"""A book to start from: orders drawn near the stationary state, then a stretch of market that nobody records."""

from __future__ import annotations

import math

import numpy as np

from engine.simulate import model as m
from engine.simulate import orders as o
from engine.simulate.actions import lots
from engine.simulate.rng import MAIN, exponential, hash_words, kernel

WIDTH = 8192
"""Ticks of the price window, centred on the file's opening price."""


@kernel
def _fill_book(order, levels, classes, st, par, rng, birth, weight, activity, centre):
    st[o.BEST_BID] = 0
    st[o.BEST_ASK] = levels.shape[1] - 1
    for side in range(2):
        for i in range(m.REACH):
            near = 0.3 if i < 4 else 1.0  # the touch is eaten into: fewer stand there than births and lives alone would say
            for cls in range(o.CLASSES):
                share = birth[i, cls] - (birth[i, cls - 1] if cls > 0 else 0.0)
                rate = m.CLASS_RATE[cls] * activity ** (m.CANCEL_POWER - 1.0)
                mean = near * 0.5 * m.ADD_RATE * par[m.RHO] * weight[i] * share / rate
                total = exponential(rng, MAIN)
                while total < mean or (i < 3 and cls == 3 and levels[side, centre - i if side == o.BID else centre + 1 + i, o.COUNT] < 2):
                    tick = centre - i if side == o.BID else centre + 1 + i
                    o.insert(order, levels, classes, st, side, tick, lots(rng, par[m.SZMUL]), 0, cls)
                    total += exponential(rng, MAIN)


class Book:
    """All state of one instrument's market: what the kernel advances."""

    def __init__(self, seed: int, *, par: np.ndarray, tick0: int, tick_fixed: int, instrument_id: int, id_base: int) -> None:
        slots = 1 << 17
        self.order = np.zeros((slots, o.ORDER_WORDS), np.int32)
        self.levels = np.full((2, WIDTH, 4), 0, np.int32)
        self.levels[:, :, o.HEAD : o.TAIL + 1] = -1
        self.classes = np.zeros((o.CLASSES + 1, slots), np.int32)
        self.classes[o.FREE] = np.arange(slots - 1, -1, -1)
        self.touched = np.zeros((4096, 4), np.int32)
        self.par = par
        self.st = np.zeros(o.STATE_WORDS, np.int64)
        self.st[o.N_FREE] = slots
        self.st[o.NEXT_ID] = 1
        self.st[o.WORD0] = 14 | (160 << 8) | (1 << 16) | (instrument_id << 32)
        self.st[o.ID_BASE] = id_base
        self.st[o.TICK0] = tick0
        self.st[o.TICK_FIXED] = tick_fixed
        self.fs = np.zeros(m.FLOAT_WORDS)
        self.rng = np.array([hash_words(seed, instrument_id, k) for k in range(3)], np.uint64)
        self.tables = (m.distance_table(), m.birth_table())

    def open_at(self, price: float, activity: float, now_ns: int) -> None:
        """Fill the book around `price` (a tick index) as it would stand at an activity, at `now_ns`."""
        weight = np.bincount(self.tables[0], minlength=m.REACH) / m.QUANTILES
        self.st[o.NOW_NS] = self.st[o.GRID_NS] = now_ns
        self.fs[m.P_] = price
        for k in range(3):  # the start of the volatility's own stationary law
            u, v = (hash_words(int(self.rng[0]), 7, k, j) / 2.0**64 for j in (0, 1))
            self.fs[m.Y0 + k] = m.Y_SD[k] * math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v)
        centre = math.floor(price)
        _fill_book(self.order, self.levels, self.classes, self.st, self.par, self.rng, self.tables[1], weight, activity, centre)

    @property
    def index_mid(self) -> float:
        """Mid price as a tick index."""
        return 0.5 * float(self.st[o.BEST_BID] + self.st[o.BEST_ASK])
