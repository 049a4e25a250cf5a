"""Arrays of one contract's replay, and how they grow: the order table by doubling, the price grid by covering what is in use."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.mbo import state
from engine.mbo.grid import DEPTH, FIELDS, FLAG, ORDERS, slot_in
from engine.mbo.table import rehash

FAR_START = 256
_MAX_DENSE = 1 << 17
"""Most ticks of a dense grid, 16 MB of them: enough for every price an ES order may have, from 0 to 32,768 points."""


@dataclass
class ContractState:
    """State of one contract's replay; arrays that the kernel changes in place."""

    instrument: int
    symbol: str
    st: NDArray[np.int64]
    tab: NDArray[np.uint64]
    acc: NDArray[np.int32]
    bits: NDArray[np.uint64]
    keys: NDArray[np.int64]
    touched: NDArray[np.int64]
    taker_id: NDArray[np.uint64]
    taker_event: NDArray[np.int64]
    rows: NDArray[np.int32]
    tape: NDArray[np.int64]
    parts: list[NDArray[np.int32]] = field(default_factory=list)

    def drain(self) -> None:
        """Take the finished rows out of the kernel's buffer."""
        n = int(self.st[state.ROWS])
        if n:
            self.parts.append(np.ascontiguousarray(self.rows[:n].T))
            self.st[state.ROWS] = 0


def grow_table(c: ContractState) -> None:
    """Double the order table once it is a quarter full."""
    if c.st[state.COUNT] * 16 >= len(c.tab):
        bigger = np.zeros(2 * len(c.tab), np.uint64)
        rehash(c.tab, bigger)
        c.tab = bigger


def grow_grid(c: ContractState) -> None:
    """Once the far table is half full: lay the dense grid over all prices in use, or, where they lie too far apart, around their median."""
    if c.st[state.FAR_N] < len(c.keys) // 2 - 2:
        return
    lo, dense = int(c.st[state.LO]), int(c.st[state.DENSE])
    ticks = np.concatenate([np.arange(lo, lo + dense, dtype=np.int64), c.keys])
    lines = c.acc.reshape(len(ticks), 2, -1)
    used = (ticks != state.NO_KEY) & ((lines[:, :, ORDERS] != 0) | (lines[:, :, FLAG] != 0) | (lines[:, :, DEPTH] != 0)).any(axis=1)
    ticks, lines = ticks[used], lines[used]

    margin = 1024
    low, high = (int(ticks.min()) - margin, int(ticks.max()) + margin) if len(ticks) else (0, 0)
    if high - low >= _MAX_DENSE:
        middle = int(np.median(ticks))
        low, high = middle - _MAX_DENSE // 2, middle + _MAX_DENSE // 2 - 1
    words = (high - low) // 64 + 1
    n = words * 64
    inside = (ticks >= low) & (ticks < low + n)
    far = int((~inside).sum())
    capacity = FAR_START
    while capacity < 8 * far:
        capacity *= 2

    _lay_grid(c, low, words, capacity)
    slots = np.where(inside, ticks - low, -1)
    for i in np.flatnonzero(~inside):
        slots[i] = _far_slot(c, int(ticks[i]))
    c.acc.reshape(n + capacity, 2, -1)[slots] = lines
    for side in range(2):
        taken = slots[inside & (lines[:, side, ORDERS] > 0)]
        np.bitwise_or.at(c.bits[side], taken >> 6, np.uint64(1) << (taken & 63).astype(np.uint64))
        c.st[state.FAR_REST + side] = int((~inside & (lines[:, side, ORDERS] > 0)).sum())


def _lay_grid(c: ContractState, low: int, words: int, capacity: int) -> None:
    """Allocate an empty grid; rows in the buffer stay, and a window with every slot touched still fits the buffer."""
    slots = words * 64 + capacity
    c.st[state.LO], c.st[state.DENSE], c.st[state.BITS], c.st[state.FAR_N] = low, words * 64, words, 0
    c.acc = np.zeros((2 * slots, FIELDS), np.int32)
    c.bits = np.zeros((2, words), np.uint64)
    c.keys = np.full(capacity, state.NO_KEY, np.int64)
    c.st[state.FAR_SLOTS] = capacity
    touched = np.empty(slots, np.int64)
    touched[: c.st[state.TOUCHED]] = c.touched[: c.st[state.TOUCHED]]
    c.touched = touched
    c.drain()
    need = slots + 2 * int(c.st[state.SPAN]) + 2
    if len(c.rows) < need:
        c.rows = np.empty((need, c.rows.shape[1]), np.int32)
        c.st[state.ROW_SLOTS] = need


def _far_slot(c: ContractState, tick: int) -> int:
    return int(slot_in(tick, c.st, c.keys))
