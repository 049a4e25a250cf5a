"""Tables of the replay's kernels (numba): orders by id, accumulators by price, and the layout of a contract's state."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numba.core import types
from numba.extending import intrinsic

# ----------------------------------------------------------------------------
# Accumulators by price: one 64-byte line per side and tick, dense around the market, a small table for far-away ticks (numba)

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


# ----------------------------------------------------------------------------
# Open-addressing table of resting orders (numba): linear probing, Fibonacci hashing, backshift deletion

WORDS = 4
_SIZE = np.uint64(0x7FFFFFFF)
_U31 = np.uint64(31)
_U32 = np.uint64(32)
MAX_SIZE = 0x7FFFFFFF


@nb.njit(cache=True, nogil=True, error_model="numpy")
def pack(tick, side, size):
    """Tick, side and size as one word."""
    return (np.uint64(tick & 0xFFFFFFFF) << _U32) | (np.uint64(side) << _U31) | np.uint64(size)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def tick_of(word):
    """Tick of a packed word."""
    return np.int64(np.int32(np.uint32(word >> _U32)))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def side_of(word):
    """Side code of a packed word."""
    return np.int64((word >> _U31) & np.uint64(1))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def size_of(word):
    """Size of a packed word; 0 marks a free entry."""
    return np.int64(word & _SIZE)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def find(tab, mask, shift, oid):
    """Entry of order `oid`, or the free entry where it belongs."""
    p = np.int64((oid * _GOLDEN) >> shift)
    while True:
        e = p * WORDS
        if size_of(tab[e + 1]) == 0 or tab[e] == oid:
            return e
        p = (p + 1) & mask


@nb.njit(cache=True, nogil=True, error_model="numpy")
def delete(tab, mask, shift, e):
    """Free entry `e`, moving back whatever a probe would otherwise no longer find."""
    hole = e // WORDS
    p = hole
    while True:
        p = (p + 1) & mask
        f = p * WORDS
        if size_of(tab[f + 1]) == 0:
            break
        home = np.int64((tab[f] * _GOLDEN) >> shift)
        if ((p - home) & mask) >= ((p - hole) & mask):
            h = hole * WORDS
            for j in range(WORDS):
                tab[h + j] = tab[f + j]
            hole = p
    tab[hole * WORDS + 1] = np.uint64(0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def rehash(old, new):
    """Copy every order of `old` into the empty, larger `new`."""
    capacity = new.shape[0] // WORDS
    mask = capacity - 1
    shift = np.uint64(64)
    while capacity > 1:
        capacity >>= 1
        shift -= np.uint64(1)
    target = pointer(new)
    for p in range(old.shape[0] // WORDS):
        if size_of(old[p * WORDS + 1]) > 0:
            e = find(target, mask, shift, old[p * WORDS])
            for j in range(WORDS):
                new[e + j] = old[p * WORDS + j]


# ----------------------------------------------------------------------------
# Bare pointers to arrays inside numba code


@intrinsic
def _pointer(typing_context, array):
    """Pointer to the first item of a C-contiguous array; index it with a flat integer."""
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def generate(context, builder, signature, args):
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate


pointer: Any = _pointer
"""`_pointer` as numba code sees it: called with the array alone."""


# ----------------------------------------------------------------------------
# Where each scalar of a contract's replay stands in its int64 state array, so that a replay can stop and go on anywhere

BID, ASK = 0, 1
NO_BID = -(2**62)
NO_ASK = 2**62
NO_TICK = -(2**62)
NO_KEY = -(2**63)
TAKER_SLOTS = 1024

RESTED = -(2**62)
"""Entry time of a snapshot's orders: they count as rested."""

_NAMES = (
    # the grid
    "LO", "DENSE", "BITS", "FAR_N", "FAR_SLOTS", "FAR_REST", "FAR_REST_ASK", "TOUCHED", "BEST", "BEST_ASK", "DIRTY", "DIRTY_ASK", "MOVED",
    # orders, events
    "COUNT", "EVENT", "TAKERS",
    # the last complete state: ticks and sizes
    "S_BID", "S_ASK", "S_BID_SIZE", "S_ASK_SIZE",
    # what is known of the book
    "KNOWN", "BAD", "IN_SNAPSHOT", "WINDOW_DIRTY", "NEW_FILE", "WARM", "COVER_END",
    # the window
    "WINDOW", "WINDOWS", "START_S", "LAST", "HIGH", "LOW", "TRADES", "BUY", "SELL", "OFI", "MESSAGES",
    # output and parameters
    "ROWS", "ROW_SLOTS", "REST_NS", "SPAN", "KEYFRAME_S", "TICK_FIXED", "OPEN_NS",
    # statistics
    "RECORDS", "LIVE", "SNAPSHOT", "UNKNOWN_CANCELS", "UNKNOWN_MODIFIES", "UNPLACED", "OFF_TICK", "CLEARS", "BAD_BOOK", "STATES", "CROSSED",
    "TAKERS_LOST",
)  # fmt: skip

(
    LO, DENSE, BITS, FAR_N, FAR_SLOTS, FAR_REST, _FAR_REST_ASK, TOUCHED, BEST, _BEST_ASK, DIRTY, _DIRTY_ASK, MOVED,
    COUNT, EVENT, TAKERS,
    S_BID, S_ASK, S_BID_SIZE, S_ASK_SIZE,
    KNOWN, BAD, IN_SNAPSHOT, WINDOW_DIRTY, NEW_FILE, WARM, COVER_END,
    WINDOW, WINDOWS, START_S, LAST, HIGH, LOW, TRADES, BUY, SELL, OFI, MESSAGES,
    ROWS, ROW_SLOTS, REST_NS, SPAN, KEYFRAME_S, TICK_FIXED, OPEN_NS,
    RECORDS, LIVE, SNAPSHOT, UNKNOWN_CANCELS, UNKNOWN_MODIFIES, UNPLACED, OFF_TICK, CLEARS, BAD_BOOK, STATES, CROSSED,
    TAKERS_LOST,
) = range(len(_NAMES))  # fmt: skip

STATE_SIZE = len(_NAMES)

STATISTICS = {
    "records": RECORDS,
    "live_records": LIVE,
    "snapshot_records": SNAPSHOT,
    "unknown_cancels": UNKNOWN_CANCELS,
    "unknown_modifies": UNKNOWN_MODIFIES,
    "unplaced": UNPLACED,
    "off_tick": OFF_TICK,
    "clears": CLEARS,
    "bad_book_records": BAD_BOOK,
    "states_after_open": STATES,
    "crossed_after_open": CROSSED,
    "takers_lost": TAKERS_LOST,
}
"""Names of the counts that `engine.mbo.replay.ReplayedContract.stats` reports."""
