"""The simulated book's data: FIFO queues per price, swap-remove arrays per life-time class, and the records written.

One row of int32 per order (a cache line), one row per side and tick; ticks are indices into a window around the
day's opening price. Nothing here draws a random number but the jitter of the receive time.
"""

from __future__ import annotations

import numpy as np

from engine.simulate.rng import JITTER, bits, kernel

PREV, NEXT, TICK, SIDE, QTY, HIDDEN, SHOW, CLS, POS, OID, EVENT, PUBLIC = range(12)
ORDER_WORDS = 16
HEAD, TAIL, COUNT, SIZE = range(4)
BID, ASK = 0, 1
CLASSES = 5
FREE = CLASSES  # the row of the class table that holds free slots

# Integer state of one instrument.
(
    BEST_BID, BEST_ASK, N_BID, N_ASK, N_CLASS, N_FREE, NEXT_ID, SEQUENCE, N_OUT, LAST_RECV, EVENT_NO, WORD0, ID_BASE, TICK0, TICK_FIXED,
    NOW_NS,
) = (0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)  # fmt: skip
GRID_NS, LAST_MO_NS, LAST_SIGN, META, HIGH, LOW = 20, 21, 22, 23, 31, 32
STATE_WORDS = 64

A_, C_, M_, R_, T_, F_ = ord("A"), ord("C"), ord("M"), ord("R"), ord("T"), ord("F")
B_CHAR, A_CHAR, N_CHAR = ord("B"), ord("A"), ord("N")
F_LAST_BIT = 128
LAST_FLAGS = 130
"""F_LAST and the publisher's own bit, as CME's files have it on every record that ends an event."""


@kernel
def emit(out, st, rng, action, side, tick, qty, flags, oid, new_packet):
    """Write one DBN record (56 bytes as seven int64) at the current time."""
    n = st[N_OUT]
    row = out[n]
    jitter = bits(rng, JITTER)
    if new_packet:
        st[SEQUENCE] += 1
        low = np.int64(jitter & np.uint64(0x7FFF))
        recv = st[NOW_NS] + 85_000 + low
        if low > 32_000:  # now and then the handler is late
            recv += np.int64((jitter >> np.uint64(20)) & np.uint64(0xFFFFF))
        st[LAST_RECV] = max(st[LAST_RECV] + 200, recv)
    row[0] = st[WORD0]
    row[1] = st[NOW_NS]
    row[2] = st[ID_BASE] + oid
    row[3] = (st[TICK0] + tick) * st[TICK_FIXED]
    side_char = B_CHAR if side == BID else A_CHAR
    row[4] = qty | (np.int64(flags) << 32) | (np.int64(action) << 48) | (np.int64(side_char) << 56)
    row[5] = st[LAST_RECV]
    row[6] = (13_000 + np.int64((jitter >> np.uint64(44)) & np.uint64(0xFFF))) | (st[SEQUENCE] << 32)
    st[N_OUT] = n + 1


@kernel
def _link(order, levels, st, slot, side, tick):
    row = order[slot]
    row[TICK] = tick
    row[SIDE] = side
    level = levels[side, tick]
    last = level[TAIL]
    row[PREV] = last
    row[NEXT] = -1
    if last >= 0:
        order[last, NEXT] = slot
    else:
        level[HEAD] = slot
    level[TAIL] = slot
    level[COUNT] += 1
    level[SIZE] += row[QTY]
    if side == BID:
        if tick > st[BEST_BID]:
            st[BEST_BID] = tick
    elif tick < st[BEST_ASK]:
        st[BEST_ASK] = tick


@kernel
def _unlink(order, levels, st, slot):
    row = order[slot]
    side, tick = row[SIDE], row[TICK]
    level = levels[side, tick]
    before, after = row[PREV], row[NEXT]
    if before >= 0:
        order[before, NEXT] = after
    else:
        level[HEAD] = after
    if after >= 0:
        order[after, PREV] = before
    else:
        level[TAIL] = before
    level[COUNT] -= 1
    level[SIZE] -= row[QTY]
    if level[COUNT] == 0:
        width = levels.shape[1]
        if side == BID and tick == st[BEST_BID]:
            while tick > 0 and levels[BID, tick, COUNT] == 0:
                tick -= 1
            st[BEST_BID] = tick
        elif side == ASK and tick == st[BEST_ASK]:
            while tick < width - 1 and levels[ASK, tick, COUNT] == 0:
                tick += 1
            st[BEST_ASK] = tick


@kernel
def insert(order, levels, classes, st, side, tick, qty, hidden, cls):
    """Put a new order at the tail of its price; return its slot."""
    st[N_FREE] -= 1
    slot = classes[FREE, st[N_FREE]]
    row = order[slot]
    row[QTY] = qty
    row[HIDDEN] = hidden
    row[SHOW] = qty
    row[CLS] = cls
    row[POS] = st[N_CLASS + cls]
    classes[cls, st[N_CLASS + cls]] = slot
    st[N_CLASS + cls] += 1
    row[OID] = st[NEXT_ID]
    st[NEXT_ID] += 1
    st[N_BID + side] += 1
    _link(order, levels, st, slot, side, tick)
    return slot


@kernel
def remove(order, levels, classes, st, slot):
    """Take an order out of the book."""
    _unlink(order, levels, st, slot)
    row = order[slot]
    cls = row[CLS]
    st[N_CLASS + cls] -= 1
    last = classes[cls, st[N_CLASS + cls]]
    classes[cls, row[POS]] = last
    order[last, POS] = row[POS]
    st[N_BID + row[SIDE]] -= 1
    classes[FREE, st[N_FREE]] = slot
    st[N_FREE] += 1


@kernel
def move(order, levels, st, slot, tick):
    """Reprice an order: the tail of another price (or of its own, which is how an iceberg refreshes)."""
    side = order[slot, SIDE]
    _unlink(order, levels, st, slot)
    _link(order, levels, st, slot, side, tick)


@kernel
def resize(order, levels, slot, qty):
    """Give an order another displayed size in its place."""
    row = order[slot]
    levels[row[SIDE], row[TICK], SIZE] += qty - row[QTY]
    row[QTY] = qty


@kernel
def execute(order, levels, classes, touched, st, rng, out, sign, size, max_levels):
    """Run a marketable order of `size` through at most `max_levels` prices; write T, F..., then the C/M that carry it out.

    Returns the size traded; the rest is dropped (immediate-or-cancel), as is the rest of a sweep that would empty a side. `touched` is
    scratch for the orders that it meets.
    """
    side = ASK if sign > 0 else BID
    st[EVENT_NO] += 1
    event = np.int32(st[EVENT_NO])
    aggressor = st[NEXT_ID]
    st[NEXT_ID] += 1
    n_touched = 0
    traded = 0
    level_no = 0
    first = True
    scan = st[BEST_BID + side]
    while size > 0 and level_no < max_levels and n_touched < touched.shape[0]:
        if st[N_BID + side] <= levels[side, scan, COUNT] + 2:
            break  # never empty a side
        # An iceberg that refreshes goes to the tail and is met again: what trades here is not known before the walk.
        trade_at = st[N_OUT]
        emit(out, st, rng, T_, BID if sign > 0 else ASK, scan, 0, 0, aggressor, first)
        first = False
        here = 0
        while size > 0 and levels[side, scan, COUNT] > 0 and n_touched < touched.shape[0]:
            slot = levels[side, scan, HEAD]
            row = order[slot]
            if row[EVENT] != event:
                row[EVENT] = event
                row[PUBLIC] = row[QTY]
                touched[n_touched, 0] = slot
                touched[n_touched, 1] = row[OID]
                touched[n_touched, 2] = row[QTY]
                touched[n_touched, 3] = scan
                n_touched += 1
            fill = min(size, row[QTY])
            emit(out, st, rng, F_, side, scan, fill, 0, row[OID], False)
            size -= fill
            here += fill
            if fill < row[QTY]:
                resize(order, levels, slot, row[QTY] - fill)
            elif row[HIDDEN] > 0:
                show = min(row[SHOW], row[HIDDEN])
                row[HIDDEN] -= show
                resize(order, levels, slot, show)
                move(order, levels, st, slot, scan)
            else:
                remove(order, levels, classes, st, slot)
                row[EVENT] = -1
        out[trade_at, 4] |= here
        st[HIGH] = max(st[HIGH], scan)
        st[LOW] = min(st[LOW], scan)
        traded += here
        level_no += 1
        if size > 0:
            scan = st[BEST_BID + side]
    for k in range(n_touched):
        slot = touched[k, 0]
        flags = LAST_FLAGS if k == n_touched - 1 else 0
        row = order[slot]
        if row[EVENT] == event and row[OID] == touched[k, 1]:
            emit(out, st, rng, M_, side, touched[k, 3], row[QTY], flags, touched[k, 1], k == 0)
        else:
            emit(out, st, rng, C_, side, touched[k, 3], touched[k, 2], flags, touched[k, 1], k == 0)
    return traded
