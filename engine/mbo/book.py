"""The replay: one contract's order stream to the price ladder and the tape, record by record, and the tables it works on (numba).
Rule numbers are those of ``mbo.md``. The kernel can stop before any record (tables to be grown, rows to be drained) and be called again.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from engine.vocab import F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT, NS, UNDEF_PRICE

# ----------------------------------------------------------------------------
# Where each scalar of a contract's replay is in its int64 state array, so that a replay can stop and go on anywhere

BID, ASK = 0, 1
NO_BID, NO_ASK = -(2**62), 2**62
NO_TICK = -(2**62)
NO_KEY = -(2**63)
TAKER_SLOTS = 1024

RESTED = -(2**62)
"""Entry time of a snapshot's orders: they count as rested."""

(
    # the grid
    LO, DENSE, BITS, FAR_N, FAR_SLOTS, FAR_REST, _FAR_REST_ASK, FAR_INSIDE, _FAR_INSIDE_ASK, TOUCHED, BEST, _BEST_ASK, DIRTY, _DIRTY_ASK,
    MOVED,
    # orders, events
    COUNT, EVENT, TAKERS,
    # the last complete state: ticks and sizes
    S_BID, S_ASK, S_BID_SIZE, S_ASK_SIZE,
    # what is known of the book
    KNOWN, BAD, IN_SNAPSHOT, WINDOW_DIRTY, NEW_FILE, WARM, COVER_END, COLD, FORGOT, LOST_NS, CROSS_KIND, CROSS_NS, RUN_NS, CROSSED_MOST,
    # seconds from before the ladder on, and blocks of seconds with what is asked of unknown orders
    SECOND_END, SECOND, SECONDS, SECOND_0, BLOCK_0, BLOCKS,
    # the window
    WINDOW, WINDOWS, START_S, LAST, HIGH, LOW, TRADES, BUY, SELL, OFI, MESSAGES,
    # output and parameters
    ROWS, ROW_SLOTS, REST_NS, SPAN, KEYFRAME_S, TICK_FIXED, OPEN_NS,
    # statistics
    LIVE, SNAPSHOT, CHANGES, UNKNOWN_CANCELS, UNKNOWN_MODIFIES, UNKNOWN_FILLS, UNPLACED, OFF_TICK, CLEARS, BAD_BOOK, STATES, CROSSED,
    TAKERS_LOST,
) = range(73)  # fmt: skip

STATE_SIZE = TAKERS_LOST + 1

STATISTICS = {
    "live_records": LIVE, "snapshot_records": SNAPSHOT, "unknown_cancels": UNKNOWN_CANCELS,
    "unknown_modifies": UNKNOWN_MODIFIES, "unplaced": UNPLACED, "off_tick": OFF_TICK, "clears": CLEARS, "bad_book_records": BAD_BOOK,
    "states_after_open": STATES, "crossed_after_open": CROSSED, "takers_lost": TAKERS_LOST,
}  # fmt: skip
"""Names of the counts that `engine.mbo.replay.ReplayedContract.stats` reports."""


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
    """Remember that a line changes in this window, and what was there before; return the line."""
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
def is_inside(tick, side, st):
    """1 where a tick off the dense grid is nearer to the other side than the grid is, and so better than every price of it; else 0."""
    return 1 if (tick >= st[LO] + st[DENSE] if side == BID else tick < st[LO]) else 0


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
            st[FAR_INSIDE + side] += is_inside(tick, side, st)
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
                st[FAR_INSIDE + side] -= is_inside(tick, side, st)
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
    none = np.int64(NO_BID if side == BID else NO_ASK)
    best = none
    if n > 0 and side == BID and old >= lo:
        d = _next_bid(min(old - lo, n - 1), 0, bits)
        if d >= 0:
            best = lo + d
    elif n > 0 and side == ASK and old < lo + n:
        d = _next_ask(max(old - lo, 0), st[BITS], st[BITS], bits)
        if d >= 0:
            best = lo + d
    # Stub orders far behind the market are not asked while the grid has a price.
    if st[FAR_INSIDE + side] > 0 or (best == none and st[FAR_REST + side] > 0):
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
            st[FAR_INSIDE + side] = 0
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
_LOW32 = np.uint64(0xFFFFFFFF)
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
# The replay

DONE, GROW, DRAIN, LOSE = 0, 1, 2, 3
_A, _C, _M, _R, _T, _F = 0, 1, 2, 3, 4, 5


@nb.njit(cache=True, nogil=True, error_model="numpy")
def replay(
    first, instrument, event_times, recv_times, order_ids, prices, sizes, flag_bits, actions, sides, instrument_ids,
    state, table, lines, marks, far, changed, takers, taker_events, ladder, seconds, past, asked,
):  # fmt: skip
    """Replay the records from `first` on that belong to `instrument`.

    event_times, ..., instrument_ids: columns of `engine.mbo.dbn.MboColumns`
    state, table, lines, marks, far, changed, takers, taker_events: the contract's state, changed in place
    ladder, seconds: int32 (n, `ROW_FIELDS`), filled from ``state[ROWS]`` on; int64 (windows, `TAPE_FIELDS`)
    past, asked: int64 (seconds, `PAST_FIELDS`); int32 (blocks, `DISTANCES`, 4), as `count_change` fills them
    Returns the record to go on with, and `DONE`, `GROW` (a table is too full), `DRAIN` (take the rows, set ``state[ROWS]`` to 0) or `LOSE`
    (``state[LOST_NS]`` is reached: records before it are missing).
    """
    capacity = table.shape[0] // WORDS
    mask = capacity - 1
    shift = np.uint64(64)
    while capacity > 1:
        capacity >>= 1
        shift -= np.uint64(1)
    st, tab, acc, bits, keys, touched = pointer(state), pointer(table), pointer(lines), pointer(marks), pointer(far), pointer(changed)
    ts_event, ts_recv, order_id, price, size = (
        pointer(event_times),
        pointer(recv_times),
        pointer(order_ids),
        pointer(prices),
        pointer(sizes),
    )
    flags, action, side, instrument_id = pointer(flag_bits), pointer(actions), pointer(sides), pointer(instrument_ids)
    taker_id, taker_event, rows, tape = pointer(takers), pointer(taker_events), pointer(ladder), pointer(seconds)
    seen, counts = pointer(past), pointer(asked)
    quarter = (mask + 1) // 4
    far_half = st[FAR_SLOTS] // 2 - 2
    ticks_per_unit = 1.0 / np.float64(st[TICK_FIXED])
    second_end = st[SECOND_END]
    n = event_times.shape[0]
    for i in range(first, n):
        if instrument_id[i] != instrument:
            continue
        if st[COUNT] >= quarter or st[FAR_N] >= far_half:
            return i, GROW
        flag = flags[i]
        snap = (flag & F_SNAPSHOT) != 0
        ts = ts_event[i]
        if st[IN_SNAPSHOT] != 0 and not snap:
            end_snapshot(st, acc, bits, keys)
        clock = ts_recv[i] if snap else ts
        if clock >= second_end:
            if not advance(clock // NS - st[START_S], st, acc, keys, touched, rows, tape):
                return i, DRAIN
            see_until(clock // NS, st, seen)
            second_end = st[SECOND_END]
            if clock >= st[LOST_NS]:
                return i, LOSE

        act = action[i]
        if act == _R or (snap and st[IN_SNAPSHOT] == 0):
            cross(0, clock, st, tape)
            clear_book(mask, st, tab, acc, bits, keys, touched)
            st[KNOWN] = 1
            st[COLD] = 0
            st[BAD] = 0
            st[CLEARS] += 1
            st[IN_SNAPSHOT] = 1 if snap else 0
        elif st[NEW_FILE] != 0 and not snap and st[WARM] == 0:
            lose_book(COLD_START, clock, mask, st, tab, acc, bits, keys, touched, tape)
        st[NEW_FILE] = 0
        if flag & F_MAYBE_BAD_BOOK:
            st[BAD] = 1
            st[BAD_BOOK] += 1
        oid = order_id[i]
        qty = np.int64(size[i])
        s = np.int64(side[i])
        if snap:
            st[SNAPSHOT] += 1
            st[WINDOW_DIRTY] = 1
            if act in (_A, _M):
                snapshot_order(oid, price[i], s, qty, ticks_per_unit, st, tab, mask, shift, acc, bits, keys, touched)
            if flag & F_LAST:
                look(st, acc, bits, keys, False)
            continue

        st[LIVE] += 1
        st[MESSAGES] += 1
        if act <= _M:
            # What leaves the order's old place, and what comes to rest at its new one, are worked out first and done once below:
            # branches that each did it themselves would be four times the machine code.
            event = np.uint64(st[EVENT]) & _LOW32
            e = find(tab, mask, shift, oid)
            word = tab[e + 1]
            old = size_of(word)
            old_tick, old_side = tick_of(word), side_of(word)
            removed, fill, top_up = np.int64(0), np.int64(0), np.int64(0)
            gone, put, moved = False, False, False
            pending = np.int64(0)
            tick = np.int64(NO_TICK)
            if act != _A:
                st[CHANGES] += 1
                if old == 0 or st[COLD] != 0:
                    count_change(act == _M, old_tick, old_side, old, price[i], s, ts, st, counts)
            if act == _C:
                if old == 0:
                    st[UNKNOWN_CANCELS] += 1
                else:
                    removed = min(old, qty)
                    pending = executed_of(tab, e, event)
                    fill = min(removed, pending)
                    gone = removed == old
            else:
                tick = tick_at(price[i], ticks_per_unit, st)
                if act == _M and old > 0:
                    if s >= 2:
                        s = old_side
                    pending = executed_of(tab, e, event)
                    fill = min(old, pending)
                    put = placeable(tick, s, qty)
                    if put and tick == old_tick and s == old_side:
                        put = False
                        removed = max(old - qty, fill)
                        top_up = qty - (old - removed)
                    else:
                        removed = old
                        gone = True
                        moved = put and s == old_side
                        if not put and qty != 0:
                            st[UNPLACED] += 1
                else:
                    if act == _M:
                        st[UNKNOWN_MODIFIES] += 1
                    removed = old
                    gone = old > 0
                    put = placeable(tick, s, qty)
                    if not put:
                        st[UNPLACED] += 1
            if old > 0:
                line = leave(slot_make(old_tick, st, keys), old_tick, old_side, removed, gone, st, acc, bits, touched)
                pull = removed - fill
                acc[line + FILL] += fill
                acc[line + PULL] += pull
                acc[line + ADD] += top_up
                acc[line + DEPTH] += top_up
                if pull > 0 and ts - np.int64(tab[e + 2]) >= st[REST_NS]:
                    acc[line + PULL_REST] += pull
                    if moved:
                        acc[line + (AWAY_REST if (tick > old_tick) == (old_side == ASK) else TOWARD_REST)] += pull
                left = old - removed + top_up
                tab[e + 3] = (np.uint64(pending - fill) << _U32) | event
                if not gone:
                    tab[e + 1] = pack(old_tick, old_side, left)
                elif not put:
                    delete(tab, mask, shift, e)
                    st[COUNT] -= 1
            if put:
                line = arrive(slot_make(tick, st, keys), tick, s, qty, st, acc, bits, touched)
                acc[line + ADD] += qty
                tab[e + 1] = pack(tick, s, qty)
                tab[e + 2] = np.uint64(ts)
                if old == 0 or act == _A:
                    tab[e] = oid
                    tab[e + 3] = np.uint64(0)
                    if old == 0:
                        st[COUNT] += 1
        elif act == _T:
            trade(oid, price[i], qty, s, ticks_per_unit, st, tab, mask, shift, taker_id, taker_event, tape)
        elif act == _F:
            e = find(tab, mask, shift, oid)
            if not is_taker(oid, st, taker_id, taker_event):
                if size_of(tab[e + 1]) > 0:
                    event = np.uint64(st[EVENT]) & _LOW32
                    executed = min(executed_of(tab, e, event) + qty, MAX_SIZE)
                    tab[e + 3] = (np.uint64(executed) << _U32) | event
                else:
                    st[UNKNOWN_FILLS] += 1
                    count_in(UNKNOWN_FILLS_W, qty, st, tape)
        if flag & F_LAST:
            st[EVENT] += 1
            st[TAKERS] = 0
            if st[MOVED] != 0:
                look(st, acc, bits, keys, True)
            if ts >= st[OPEN_NS]:
                st[STATES] += 1
                kind = 0
                if st[S_BID] >= st[S_ASK] and st[S_BID_SIZE] > 0 and st[S_ASK_SIZE] > 0:
                    st[CROSSED] += 1
                    kind = IS_CROSSED if st[S_BID] > st[S_ASK] else IS_LOCKED
                if kind != st[CROSS_KIND]:
                    cross(kind, ts, st, tape)
    return n, DONE


@nb.njit(cache=True, nogil=True, error_model="numpy")
def end_run(state, lines, marks, far):
    """`end_snapshot` for arrays."""
    end_snapshot(pointer(state), pointer(lines), pointer(marks), pointer(far))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def close_until(target, state, lines, far, changed, ladder, seconds):
    """`advance` for arrays."""
    return advance(target, pointer(state), pointer(lines), pointer(far), pointer(changed), pointer(ladder), pointer(seconds))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def lose(kind, clock, state, table, lines, marks, far, changed, seconds):
    """`lose_book` for arrays."""
    st, tab, acc, bits, keys, touched = pointer(state), pointer(table), pointer(lines), pointer(marks), pointer(far), pointer(changed)
    lose_book(kind, clock, table.shape[0] // WORDS - 1, st, tab, acc, bits, keys, touched, pointer(seconds))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def end_seconds(clock, state, seconds, past):
    """Close the seconds before `clock`, and a crossing that lasts until then."""
    st = pointer(state)
    cross(0, clock, st, pointer(seconds))
    see_until(clock // NS, st, pointer(past))


# ----------------------------------------------------------------------------
# The parts of the replay besides moving orders: ticks, executions, trades, snapshots, clears (numba)

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
def add_taker(oid, st, taker_id, taker_event):
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
def trade(oid, price, size, side, ticks_per_unit, st, tab, mask, shift, taker_id, taker_event, tape):
    """A trade: volume by aggressor, last, high and low, whatever its side (rule 7)."""
    st[TRADES] += 1
    if side == BID:
        st[BUY] += size
    elif side == ASK:
        st[SELL] += size
    tick = tick_at(price, ticks_per_unit, st)
    if tick != NO_TICK:
        if tick * st[TICK_FIXED] != price:
            count_in(OFF_GRID_W, np.int64(1), st, tape)
        st[LAST] = tick
        if st[HIGH] == NO_TICK or tick > st[HIGH]:
            st[HIGH] = tick
        if st[LOW] == NO_TICK or tick < st[LOW]:
            st[LOW] = tick
    add_taker(oid, st, taker_id, taker_event)
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


# ----------------------------------------------------------------------------
# What happens between records: a state of the book becomes complete, a window closes into ladder rows and a tape row (numba)

ROW_FIELDS = 3 + 2 * CHANNELS
"""Fields of a ladder row: window (from the ladder's start), tick, keyframe, and each channel for bid and ask."""

TAPE_FIELDS = 18
_VALID_W, WHY_W, CROSSED_W, OFF_GRID_W, UNKNOWN_FILLS_W, UNKNOWN_FILLED_W = range(12, 18)
"""Fields of a tape row behind the tape's own: why the book is not known (bits), whether it was locked or crossed (bits), trades off the
tick grid, fills of orders never seen and their contracts."""

IS_LOCKED, IS_CROSSED, IS_LONG = 1, 2, 4
"""Bits of `CROSSED_W`: best bid at or above best ask; beyond `CROSSED_MOST` ns in one run."""

COLD_START, AFTER_GAP = 1, 2
"""Why orders may be unknown (`COLD`): the file started without a snapshot, or records were missing."""

WHY_COLD, WHY_GAP, WHY_BAD, WHY_REBUILT, WHY_COVER, WHY_UNTOLD = 1, 2, 4, 8, 16, 32
"""Bits of `WHY_W`: `COLD_START`, `AFTER_GAP`, a bad-book flag, a clear or a snapshot in it, beyond the file's end, before any record."""


@nb.njit(cache=True, nogil=True, error_model="numpy")
def look(st, acc, bits, keys, flow):
    """Take the book as it is as the last complete state, adding its order-flow imbalance against the one before when `flow`.
    Order-flow imbalance is e_n of Cont, Kukanov, Stoikov (2014), "The price impact of order book events", eq. 3; an empty side is a price
    at minus (bid) or plus (ask) infinity with size 0.
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
    why = 0
    if st[KNOWN] == 0:
        why |= WHY_COLD if st[COLD] == COLD_START else (WHY_GAP if st[COLD] == AFTER_GAP else WHY_UNTOLD)
    if st[BAD] != 0:
        why |= WHY_BAD
    if st[WINDOW_DIRTY] != 0 or st[IN_SNAPSHOT] != 0:
        why |= WHY_REBUILT
    if end_ns > st[COVER_END]:
        why |= WHY_COVER
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
    tape[w + _VALID_W] = 1 if why == 0 else 0
    tape[w + WHY_W] = why


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


# ----------------------------------------------------------------------------
# What the replay notes so that its trust can be told afterwards (`engine.mbo.trust`): none of it changes a ladder row (numba)

PAST_FIELDS = 4
"""Per second, from before the ladder on: live records so far, cancels and modifies so far, those of unknown orders so far, and bits:
`IS_KNOWN` where the book was known at its end, `IS_COLD` where every order was forgotten in it."""

IS_KNOWN, IS_COLD = 1, 2

BLOCK_S = 10
DISTANCES = 65
"""Ticks from the touch, 0 (at it, or inside) to 63, then everything further and what has no touch on its side."""


@nb.njit(cache=True, nogil=True, error_model="numpy")
def see_until(target, st, seen):
    """Close the seconds before `target`, seconds since the epoch."""
    w = st[SECOND]
    end = min(target - st[SECOND_0], st[SECONDS])
    known = IS_KNOWN if st[KNOWN] != 0 and st[BAD] == 0 else 0
    while w < end:
        p = w * PAST_FIELDS
        seen[p] = st[LIVE]
        seen[p + 1] = st[CHANGES]
        seen[p + 2] = st[UNKNOWN_CANCELS] + st[UNKNOWN_MODIFIES]
        seen[p + 3] = known + st[FORGOT]
        st[FORGOT] = 0
        w += 1
    st[SECOND] = max(w, target - st[SECOND_0])
    st[SECOND_END] = (target + 1) * NS


@nb.njit(cache=True, nogil=True, error_model="numpy")
def count_change(modify, old_tick, old_side, old, price, side, ts, st, counts):
    """Count a cancel or a modify in its block of `BLOCK_S` seconds by its distance from the touch: unknown cancels, unknown modifies, known
    cancels, known modifies. An unknown order is where the record says it is.
    """
    block = (ts // NS - st[BLOCK_0]) // BLOCK_S
    if block < 0 or block >= st[BLOCKS]:
        return
    tick = old_tick
    known = 2
    if old == 0:
        known = 0
        tick = price // st[TICK_FIXED] if price != UNDEF_PRICE else np.int64(NO_TICK)
    else:
        side = old_side
    far, least = np.int64(DISTANCES - 1), np.int64(0)
    away = far
    if tick != NO_TICK:
        if side == BID and st[S_BID] != NO_BID:
            away = min(max(st[S_BID] - tick, least), far)
        elif side == ASK and st[S_ASK] != NO_ASK:
            away = min(max(tick - st[S_ASK], least), far)
    counts[(block * DISTANCES + away) * 4 + known + (1 if modify else 0)] += 1


@nb.njit(cache=True, nogil=True, error_model="numpy")
def count_in(field, size, st, tape):
    """Count something in the open window, and with `UNKNOWN_FILLS_W` its contracts, too."""
    if 0 <= st[WINDOW] < st[WINDOWS]:
        w = st[WINDOW] * TAPE_FIELDS
        tape[w + field] += 1
        if field == UNKNOWN_FILLS_W:
            tape[w + UNKNOWN_FILLED_W] += size


@nb.njit(cache=True, nogil=True, error_model="numpy")
def cross(kind, ts, st, tape):
    """The complete states from `ts` on are of another kind: 0, `IS_LOCKED` or `IS_CROSSED`; mark the seconds of the kind before."""
    before = st[CROSS_KIND]
    if before != 0:
        _mark(before, st[CROSS_NS], ts, st, tape)
        if kind == 0 and ts - st[RUN_NS] > st[CROSSED_MOST]:
            _mark(IS_LONG, st[RUN_NS], ts, st, tape)
    else:
        st[RUN_NS] = ts
    st[CROSS_KIND] = kind
    st[CROSS_NS] = ts


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _mark(bit, start, end, st, tape):
    """Set a bit of `CROSSED_W` in every window that ``[start, end)`` touches."""
    first = max(start // NS - st[START_S], 0)
    last = min(max(end - 1, start) // NS - st[START_S], st[WINDOWS] - 1)
    for w in range(first, last + 1):
        tape[w * TAPE_FIELDS + CROSSED_W] |= bit


@nb.njit(cache=True, nogil=True, error_model="numpy")
def lose_book(kind, clock, mask, st, tab, acc, bits, keys, touched, tape):
    """Forget every order, since from here on orders are unknown for a reason, `COLD_START` or `AFTER_GAP`."""
    cross(0, clock, st, tape)
    clear_book(mask, st, tab, acc, bits, keys, touched)
    st[KNOWN] = 0
    st[COLD] = kind
    st[FORGOT] = IS_COLD
