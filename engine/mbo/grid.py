"""Accumulators by price: one 64-byte line per side and tick, dense around the market, a small table for far-away ticks (numba).

A line is 16 int32: the eight ladder channels, then the depth and the order count at the window's start, and whether
the line was touched in this window. Ticks are absolute. Those in ``[LO, LO + DENSE)`` have a slot of their own; any other goes to
an open-addressing table behind them, so that a stub order at a hundred thousand points costs 128 bytes, not a
gigabyte. `engine.mbo.growth` grows and recentres both. All arrays come as bare pointers; a line is the flat index of its first field.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from engine.mbo.pointer import pointer
from engine.mbo.state import ASK, BEST, BID, BITS, DENSE, DIRTY, FAR_N, FAR_REST, FAR_SLOTS, LO, MOVED, NO_ASK, NO_BID, NO_KEY, TOUCHED

DEPTH, ORDERS, ADD, PULL, FILL, PULL_REST, AWAY_REST, TOWARD_REST, DEPTH0, ORDERS0, FLAG = range(11)
FIELDS = 16
CHANNELS = 8
_GOLDEN = np.uint64(11400714819323198485)
_U1 = np.uint64(1)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _far(tick, st, keys):
    """Place of `tick` in the far table, or the free place where it belongs."""
    mask = st[FAR_SLOTS] - 1
    p = np.int64((np.uint64(tick) * _GOLDEN) >> np.uint64(40)) & mask
    while keys[p] != NO_KEY and keys[p] != tick:
        p = (p + 1) & mask
    return p


@nb.njit(cache=True, nogil=True, error_model="numpy")
def slot_find(tick, st, keys):
    """Slot of `tick`, -1 where it has none."""
    d = tick - st[LO]
    if 0 <= d < st[DENSE]:
        return d
    if st[FAR_N] == 0:
        return np.int64(-1)
    p = _far(tick, st, keys)
    return st[DENSE] + p if keys[p] == tick else np.int64(-1)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def slot_make(tick, st, keys):
    """Slot of `tick`, made where it has none; the caller keeps the far table at most half full."""
    d = tick - st[LO]
    if 0 <= d < st[DENSE]:
        return d
    p = _far(tick, st, keys)
    if keys[p] == NO_KEY:
        keys[p] = tick
        st[FAR_N] += 1
    return st[DENSE] + p


@nb.njit(cache=True, nogil=True, error_model="numpy")
def slot_in(tick, st, keys):
    """`slot_make` for arrays."""
    return slot_make(tick, pointer(st), pointer(keys))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def touch(slot, tick, side, st, acc, touched):
    """Remember that a line changes in this window, and what stood there before; return the line."""
    line = (2 * slot + side) * FIELDS
    if acc[line + FLAG] == 0:
        acc[line + FLAG] = 1
        acc[line + DEPTH0] = acc[line + DEPTH]
        acc[line + ORDERS0] = acc[line + ORDERS]
        if acc[(line ^ FIELDS) + FLAG] == 0:
            touched[st[TOUCHED]] = tick
            st[TOUCHED] += 1
    return line


@nb.njit(cache=True, nogil=True, error_model="numpy")
def arrive(slot, tick, side, size, st, acc, bits, touched):
    """An order of `size` comes to rest at a slot; return its line. Flows are the caller's."""
    line = touch(slot, tick, side, st, acc, touched)
    acc[line + DEPTH] += size
    acc[line + ORDERS] += 1
    if acc[line + ORDERS] == 1:
        if slot < st[DENSE]:
            bits[side * st[BITS] + (slot >> 6)] |= _U1 << np.uint64(slot & 63)
        else:
            st[FAR_REST + side] += 1
    best = st[BEST + side]
    if side == BID:
        if tick >= best:
            st[BEST] = tick
            st[DIRTY] = 0
            st[MOVED] = 1
    elif tick <= best:
        st[BEST + 1] = tick
        st[DIRTY + 1] = 0
        st[MOVED] = 1
    return line


@nb.njit(cache=True, nogil=True, error_model="numpy")
def leave(slot, tick, side, size, gone, st, acc, bits, touched):
    """`size` leaves a slot, and with `gone` the order itself; return its line. Flows are the caller's."""
    line = touch(slot, tick, side, st, acc, touched)
    acc[line + DEPTH] -= size
    at_best = tick == st[BEST + side]
    if at_best:
        st[MOVED] = 1
    if gone:
        acc[line + ORDERS] -= 1
        if acc[line + ORDERS] == 0:
            if slot < st[DENSE]:
                bits[side * st[BITS] + (slot >> 6)] &= ~(_U1 << np.uint64(slot & 63))
            else:
                st[FAR_REST + side] -= 1
            if at_best:
                st[DIRTY + side] = 1
    return line


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _next_bid(d, row, bits):
    """Highest taken dense slot at or below `d`, -1 for none; the side's words start at `row`."""
    w = d >> 6
    word = bits[row + w] & (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(63 - (d & 63)))
    while word == 0:
        w -= 1
        if w < 0:
            return np.int64(-1)
        word = bits[row + w]
    b = 63
    while (word >> np.uint64(b)) & _U1 == 0:
        b -= 1
    return np.int64(w * 64 + b)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _next_ask(d, row, words, bits):
    """Lowest taken dense slot at or above `d`, -1 for none; the side's words start at `row`."""
    w = d >> 6
    word = bits[row + w] & (np.uint64(0xFFFFFFFFFFFFFFFF) << np.uint64(d & 63))
    while word == 0:
        w += 1
        if w >= words:
            return np.int64(-1)
        word = bits[row + w]
    b = 0
    while (word >> np.uint64(b)) & _U1 == 0:
        b += 1
    return np.int64(w * 64 + b)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def settle(side, st, acc, bits, keys):
    """Find the best price of a side again after its last order left; what rests is at or behind the old best."""
    st[DIRTY + side] = 0
    old = st[BEST + side]
    lo, n = st[LO], st[DENSE]
    best = NO_BID if side == BID else NO_ASK
    if n > 0 and side == BID and old >= lo:
        d = _next_bid(min(old - lo, n - 1), 0, bits)
        if d >= 0:
            best = lo + d
    elif n > 0 and side == ASK and old < lo + n:
        d = _next_ask(max(old - lo, 0), st[BITS], st[BITS], bits)
        if d >= 0:
            best = lo + d
    if st[FAR_REST + side] > 0:
        for p in range(st[FAR_SLOTS]):
            if keys[p] != NO_KEY and acc[(2 * (n + p) + side) * FIELDS + ORDERS] > 0:
                best = max(best, keys[p]) if side == BID else min(best, keys[p])
    st[BEST + side] = best


@nb.njit(cache=True, nogil=True, error_model="numpy")
def clear(st, acc, bits, keys, touched):
    """Take every order off the grid, with no flow."""
    n = st[DENSE]
    for side in range(2):
        for w in range(st[BITS]):
            word = bits[side * st[BITS] + w]
            if word != 0:
                bits[side * st[BITS] + w] = np.uint64(0)
                for b in range(64):
                    if (word >> np.uint64(b)) & _U1 != 0:
                        _empty(w * 64 + b, st[LO] + w * 64 + b, side, st, acc, touched)
        if st[FAR_REST + side] > 0:
            for p in range(st[FAR_SLOTS]):
                if keys[p] != NO_KEY and acc[(2 * (n + p) + side) * FIELDS + ORDERS] > 0:
                    _empty(n + p, keys[p], side, st, acc, touched)
            st[FAR_REST + side] = 0
        st[DIRTY + side] = 0
    st[BEST] = NO_BID
    st[BEST + 1] = NO_ASK
    st[MOVED] = 1


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _empty(slot, tick, side, st, acc, touched):
    line = touch(slot, tick, side, st, acc, touched)
    acc[line + DEPTH] = 0
    acc[line + ORDERS] = 0
