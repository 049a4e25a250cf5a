"""The parts of the replay that stand apart from the moving of orders: ticks, executions, trades, snapshots, clears (numba).

Rule numbers are those of ``mbo.md``.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from engine.mbo.grid import arrive, clear, leave, slot_make
from engine.mbo.state import (
    ASK,
    BID,
    BUY,
    COUNT,
    EVENT,
    HIGH,
    LAST,
    LOW,
    NO_TICK,
    OFF_TICK,
    RESTED,
    SELL,
    TAKER_SLOTS,
    TAKERS,
    TAKERS_LOST,
    TICK_FIXED,
    TRADES,
    UNPLACED,
    WINDOW_DIRTY,
)
from engine.mbo.table import MAX_SIZE, WORDS, delete, find, pack, side_of, size_of, tick_of
from engine.mbo.windows import look
from engine.vocab import UNDEF_PRICE

_GOLDEN = np.uint64(11400714819323198485)
_LOW32 = np.uint64(0xFFFFFFFF)
_U32 = np.uint64(32)
_TICK_LIMIT = 2**31 - 1


@nb.njit(cache=True, nogil=True, error_model="numpy")
def tick_at(price, ticks_per_unit, st):
    """Nearest tick of a fixed-point price, ties up; `NO_TICK` for an undefined price or one that no int32 tick can hold."""
    if price == UNDEF_PRICE:
        return np.int64(NO_TICK)
    size = st[TICK_FIXED]
    # A multiplication instead of a 64-bit division, which costs as much as the rest of an add; wrong guesses fall through.
    t = np.int64(np.float64(price) * ticks_per_unit + 0.5)
    if t * size != price:
        t = price // size
        if 2 * (price - t * size) >= size:
            t += 1
        if t * size != price:
            st[OFF_TICK] += 1
    if t > _TICK_LIMIT or t < -_TICK_LIMIT:
        return np.int64(NO_TICK)
    return t


@nb.njit(cache=True, nogil=True, error_model="numpy")
def executed_of(tab, e, event):
    """Executed size of this event that no C or M has carried out yet (rule 9)."""
    w = tab[e + 3]
    return np.int64(w >> _U32) if (w & _LOW32) == event else np.int64(0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def is_taker(oid, st, taker_id, taker_event):
    """Whether an order was the aggressor in this event (rule 8)."""
    p = np.int64((oid * _GOLDEN) >> np.uint64(54))
    while taker_event[p] == st[EVENT]:
        if taker_id[p] == oid:
            return True
        p = (p + 1) & (TAKER_SLOTS - 1)
    return False


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _add_taker(oid, st, taker_id, taker_event):
    """Remember who was the aggressor in this event (rule 8)."""
    if st[TAKERS] >= TAKER_SLOTS // 2:
        st[TAKERS_LOST] += 1
        return
    p = np.int64((oid * _GOLDEN) >> np.uint64(54))
    while taker_event[p] == st[EVENT]:
        if taker_id[p] == oid:
            return
        p = (p + 1) & (TAKER_SLOTS - 1)
    taker_event[p] = st[EVENT]
    taker_id[p] = oid
    st[TAKERS] += 1


@nb.njit(cache=True, nogil=True, error_model="numpy")
def trade(oid, price, size, side, ticks_per_unit, st, tab, mask, shift, taker_id, taker_event):
    """A trade: volume by aggressor, last, high and low, whatever its side (rule 7)."""
    st[TRADES] += 1
    if side == BID:
        st[BUY] += size
    elif side == ASK:
        st[SELL] += size
    tick = tick_at(price, ticks_per_unit, st)
    if tick != NO_TICK:
        st[LAST] = tick
        if st[HIGH] == NO_TICK or tick > st[HIGH]:
            st[HIGH] = tick
        if st[LOW] == NO_TICK or tick < st[LOW]:
            st[LOW] = tick
    _add_taker(oid, st, taker_id, taker_event)
    e = find(tab, mask, shift, oid)
    if size_of(tab[e + 1]) > 0:
        tab[e + 3] = np.uint64(0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def clear_book(mask, st, tab, acc, bits, keys, touched):
    """Forget every order, with no flow; the empty book is the new base of the order-flow imbalance."""
    if st[COUNT] > 0:
        for p in range(mask + 1):
            tab[p * WORDS + 1] = np.uint64(0)
        st[COUNT] = 0
    clear(st, acc, bits, keys, touched)
    look(st, acc, bits, keys, False)
    st[WINDOW_DIRTY] = 1


@nb.njit(cache=True, nogil=True, error_model="numpy")
def placeable(tick, side, size):
    """Whether an order can rest: a tick, a side, and a size that an int32 channel can hold."""
    return tick != NO_TICK and side < 2 and 0 < size <= MAX_SIZE


@nb.njit(cache=True, nogil=True, error_model="numpy")
def snapshot_order(oid, price, side, size, ticks_per_unit, st, tab, mask, shift, acc, bits, keys, touched):
    """An order of a snapshot builds the book and is no flow (rule 11)."""
    tick = tick_at(price, ticks_per_unit, st)
    e = find(tab, mask, shift, oid)
    if size_of(tab[e + 1]) > 0:
        word = tab[e + 1]
        leave(slot_make(tick_of(word), st, keys), tick_of(word), side_of(word), size_of(word), True, st, acc, bits, touched)
        delete(tab, mask, shift, e)
        st[COUNT] -= 1
        e = find(tab, mask, shift, oid)
    if not placeable(tick, side, size):
        st[UNPLACED] += 1
        return
    arrive(slot_make(tick, st, keys), tick, side, size, st, acc, bits, touched)
    tab[e] = oid
    tab[e + 1] = pack(tick, side, size)
    tab[e + 2] = np.uint64(RESTED)
    tab[e + 3] = np.uint64(0)
    st[COUNT] += 1
