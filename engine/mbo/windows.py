"""What happens between records: a state of the book becomes complete, a window closes into ladder rows and a tape row (numba)."""

from __future__ import annotations

import numba as nb
import numpy as np

from engine.mbo.grid import CHANNELS, DEPTH, DEPTH0, FIELDS, FLAG, ORDERS, ORDERS0, settle, slot_find
from engine.mbo.state import (
    ASK,
    BAD,
    BEST,
    BID,
    BUY,
    COVER_END,
    DIRTY,
    HIGH,
    IN_SNAPSHOT,
    KEYFRAME_S,
    KNOWN,
    LAST,
    LOW,
    MESSAGES,
    MOVED,
    NO_ASK,
    NO_BID,
    NO_TICK,
    OFI,
    ROW_SLOTS,
    ROWS,
    S_ASK,
    S_ASK_SIZE,
    S_BID,
    S_BID_SIZE,
    SELL,
    SPAN,
    START_S,
    TOUCHED,
    TRADES,
    WINDOW,
    WINDOW_DIRTY,
    WINDOWS,
)

NS = 1_000_000_000
ROW_FIELDS = 3 + 2 * CHANNELS
"""Fields of a ladder row: window (from the ladder's start), tick, keyframe, and each channel for bid and ask."""

TAPE_FIELDS = 13


@nb.njit(cache=True, nogil=True, error_model="numpy")
def look(st, acc, bits, keys, flow):
    """Take the book as it stands as the last complete state, adding its order-flow imbalance against the one before when `flow`.

    Order-flow imbalance is e_n of Cont, Kukanov, Stoikov (2014), "The price impact of order book events", eq. 3;
    an empty side is a price at minus (bid) or plus (ask) infinity with size 0.
    """
    st[MOVED] = 0
    if st[DIRTY + BID] != 0:
        settle(BID, st, acc, bits, keys)
    if st[DIRTY + ASK] != 0:
        settle(ASK, st, acc, bits, keys)
    bid, ask = st[BEST + BID], st[BEST + ASK]
    bid_size, ask_size = np.int64(0), np.int64(0)
    if bid != NO_BID:
        bid_size = np.int64(acc[2 * slot_find(bid, st, keys) * FIELDS + DEPTH])
    if ask != NO_ASK:
        ask_size = np.int64(acc[(2 * slot_find(ask, st, keys) + 1) * FIELDS + DEPTH])
    if flow:
        e = np.int64(0)
        if bid >= st[S_BID]:
            e += bid_size
        if bid <= st[S_BID]:
            e -= st[S_BID_SIZE]
        if ask <= st[S_ASK]:
            e -= ask_size
        if ask >= st[S_ASK]:
            e += st[S_ASK_SIZE]
        st[OFI] += e
    st[S_BID], st[S_ASK], st[S_BID_SIZE], st[S_ASK_SIZE] = bid, ask, bid_size, ask_size


@nb.njit(cache=True, nogil=True, error_model="numpy")
def end_snapshot(st, acc, bits, keys):
    """A snapshot is over where its flag drops: its book is the base of what follows, not a flow."""
    if st[IN_SNAPSHOT] != 0:
        st[IN_SNAPSHOT] = 0
        look(st, acc, bits, keys, False)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _centre2(st):
    """Twice the mid in ticks: of the best prices, else the one there is, else the last trade, else nothing."""
    bid, ask = st[S_BID], st[S_ASK]
    if bid != NO_BID and ask != NO_ASK:
        return bid + ask
    if bid != NO_BID:
        return 2 * bid
    if ask != NO_ASK:
        return 2 * ask
    return 2 * st[LAST] if st[LAST] != NO_TICK else np.int64(NO_TICK)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _emit(st, acc, keys, touched, rows, keyframe):
    """Write the open window's ladder rows, by rising tick."""
    low, high = np.int64(NO_TICK), np.int64(NO_TICK)
    centre2 = _centre2(st)
    if keyframe and centre2 != NO_TICK:
        low, high = -((2 * st[SPAN] - centre2) // 2), (centre2 + 2 * st[SPAN]) // 2
        for tick in range(low, high + 1):
            slot = slot_find(tick, st, keys)
            if slot >= 0:
                b = 2 * slot * FIELDS
                if acc[b + FLAG] == 0 and acc[b + FIELDS + FLAG] == 0 and (acc[b + DEPTH] != 0 or acc[b + FIELDS + DEPTH] != 0):
                    for line in range(b, b + 2 * FIELDS, FIELDS):
                        acc[line + FLAG] = 1
                        acc[line + DEPTH0] = acc[line + DEPTH]
                        acc[line + ORDERS0] = acc[line + ORDERS]
                    touched[st[TOUCHED]] = tick
                    st[TOUCHED] += 1
    n = st[TOUCHED]
    ticks = nb.carray(touched, n)
    ticks.sort()
    k = st[ROWS]
    r = k * ROW_FIELDS
    for i in range(n):
        tick = ticks[i]
        b = 2 * slot_find(tick, st, keys) * FIELDS
        changed = 0
        for line in range(b, b + 2 * FIELDS, FIELDS):
            if acc[line + FLAG] != 0:
                changed |= (acc[line + DEPTH] ^ acc[line + DEPTH0]) | (acc[line + ORDERS] ^ acc[line + ORDERS0])
                for c in range(2, CHANNELS):
                    changed |= acc[line + c]
        if changed != 0 or (keyframe and low <= tick <= high and (acc[b + DEPTH] != 0 or acc[b + FIELDS + DEPTH] != 0)):
            rows[r] = st[WINDOW]
            rows[r + 1] = tick
            rows[r + 2] = 1 if keyframe else 0
            for c in range(CHANNELS):
                rows[r + 3 + 2 * c] = acc[b + c]
                rows[r + 4 + 2 * c] = acc[b + FIELDS + c]
            k += 1
            r += ROW_FIELDS
    st[ROWS] = k


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _reset(st, acc, keys, touched):
    """Start a window: only the lines that were touched need it."""
    for i in range(st[TOUCHED]):
        b = 2 * slot_find(touched[i], st, keys) * FIELDS
        for line in range(b, b + 2 * FIELDS, FIELDS):
            acc[line + FLAG] = 0
            for c in range(2, CHANNELS):
                acc[line + c] = 0
    st[TOUCHED] = 0
    st[TRADES] = st[BUY] = st[SELL] = st[OFI] = st[MESSAGES] = st[WINDOW_DIRTY] = 0
    st[HIGH] = st[LOW] = NO_TICK


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _write_tape(st, tape):
    end_ns = (st[START_S] + st[WINDOW] + 1) * NS
    valid = st[KNOWN] != 0 and st[BAD] == 0 and st[WINDOW_DIRTY] == 0 and st[IN_SNAPSHOT] == 0 and end_ns <= st[COVER_END]
    w = st[WINDOW] * TAPE_FIELDS
    tape[w] = st[S_BID] if st[S_BID] != NO_BID else NO_TICK
    tape[w + 1] = st[S_ASK] if st[S_ASK] != NO_ASK else NO_TICK
    tape[w + 2] = st[LAST]
    tape[w + 3] = st[HIGH]
    tape[w + 4] = st[LOW]
    tape[w + 5] = st[TRADES]
    tape[w + 6] = st[BUY]
    tape[w + 7] = st[SELL]
    tape[w + 8] = st[S_BID_SIZE]
    tape[w + 9] = st[S_ASK_SIZE]
    tape[w + 10] = st[OFI]
    tape[w + 11] = st[MESSAGES]
    tape[w + 12] = 1 if valid else 0


@nb.njit(cache=True, nogil=True, error_model="numpy")
def advance(target, st, acc, keys, touched, rows, tape):
    """Close windows until `target` is open; False where the row buffer must be drained first (then call again).

    Window -1 is all the time before the ladder, and the window after the last is all the time behind it.
    """
    target = min(target, st[WINDOWS])
    while st[WINDOW] < target:
        if st[WINDOW] >= 0:
            keyframe = st[WINDOW] == 0 or (st[START_S] + st[WINDOW]) % st[KEYFRAME_S] == 0
            need = st[TOUCHED] + (2 * st[SPAN] + 2 if keyframe else 0)
            if st[ROWS] + need > st[ROW_SLOTS]:
                return False
            if need > 0:
                _emit(st, acc, keys, touched, rows, keyframe)
            _write_tape(st, tape)
        _reset(st, acc, keys, touched)
        st[WINDOW] += 1
    return True
