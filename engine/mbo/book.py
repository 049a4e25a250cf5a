"""The replay: one contract's order stream to the price ladder and the tape, record by record (numba).

Rule numbers are those of ``mbo.md``. The kernel can stop before any record (tables to be grown, rows to be drained) and be called again.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from engine.mbo.grid import ADD, AWAY_REST, DEPTH, FILL, PULL, PULL_REST, TOWARD_REST, arrive, clear, leave, slot_make
from engine.mbo.pointer import pointer
from engine.mbo.state import (
    ASK,
    BAD,
    BAD_BOOK,
    BID,
    BUY,
    CLEARS,
    COUNT,
    CROSSED,
    EVENT,
    FAR_N,
    FAR_SLOTS,
    HIGH,
    IN_SNAPSHOT,
    KNOWN,
    LAST,
    LIVE,
    LOW,
    MESSAGES,
    MOVED,
    NEW_FILE,
    NO_TICK,
    OFF_TICK,
    OPEN_NS,
    RECORDS,
    REST_NS,
    RESTED,
    S_ASK,
    S_ASK_SIZE,
    S_BID,
    S_BID_SIZE,
    SELL,
    SNAPSHOT,
    START_S,
    STATES,
    TAKERS,
    TAKERS_LOST,
    TICK_FIXED,
    TRADES,
    UNKNOWN_CANCELS,
    UNKNOWN_MODIFIES,
    UNPLACED,
    WARM,
    WINDOW,
    WINDOW_DIRTY,
)
from engine.mbo.table import MAX_SIZE, WORDS, delete, find, pack, side_of, size_of, tick_of
from engine.mbo.windows import NS, advance, end_snapshot, look
from engine.vocab import F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT, UNDEF_PRICE

DONE, GROW, DRAIN = 0, 1, 2
TAKER_SLOTS = 1024
_A, _C, _M, _R, _T, _F = 0, 1, 2, 3, 4, 5
_GOLDEN = np.uint64(11400714819323198485)
_LOW32 = np.uint64(0xFFFFFFFF)
_U32 = np.uint64(32)
_TICK_LIMIT = 2**31 - 1


@nb.njit(cache=True, nogil=True)
def _tick(price, st):  # type: ignore[no-untyped-def]
    """Nearest tick of a fixed-point price, ties up; `NO_TICK` for an undefined price or one that no int32 tick can hold."""
    if price == UNDEF_PRICE:
        return np.int64(NO_TICK)
    size = st[TICK_FIXED]
    # A multiplication instead of a 64-bit division, which costs as much as the rest of an add; wrong guesses fall through.
    t = np.int64(np.float64(price) * (1.0 / np.float64(size)) + 0.5)
    if t * size != price:
        t = price // size
        if 2 * (price - t * size) >= size:
            t += 1
        if t * size != price:
            st[OFF_TICK] += 1
    if t > _TICK_LIMIT or t < -_TICK_LIMIT:
        return np.int64(NO_TICK)
    return t


@nb.njit(cache=True, nogil=True)
def _pending(tab, e, event):  # type: ignore[no-untyped-def]
    """Executed size of this event that no C or M has carried out yet (rule 9)."""
    w = tab[e + 3]
    return np.int64(w >> _U32) if (w & _LOW32) == event else np.int64(0)


@nb.njit(cache=True, nogil=True)
def _is_taker(oid, st, taker_id, taker_event):  # type: ignore[no-untyped-def]
    p = np.int64((oid * _GOLDEN) >> np.uint64(54))
    while taker_event[p] == st[EVENT]:
        if taker_id[p] == oid:
            return True
        p = (p + 1) & (TAKER_SLOTS - 1)
    return False


@nb.njit(cache=True, nogil=True)
def _add_taker(oid, st, taker_id, taker_event):  # type: ignore[no-untyped-def]
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


@nb.njit(cache=True, nogil=True)
def _trade(oid, price, size, side, st, tab, mask, shift, taker_id, taker_event):  # type: ignore[no-untyped-def]
    st[TRADES] += 1
    if side == BID:
        st[BUY] += size
    elif side == ASK:
        st[SELL] += size
    tick = _tick(price, st)
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


@nb.njit(cache=True, nogil=True)
def _clear_book(mask, st, tab, acc, bits, keys, touched):  # type: ignore[no-untyped-def]
    if st[COUNT] > 0:
        for p in range(mask + 1):
            tab[p * WORDS + 1] = np.uint64(0)
        st[COUNT] = 0
    clear(st, acc, bits, keys, touched)
    look(st, acc, bits, keys, False)
    st[WINDOW_DIRTY] = 1


@nb.njit(cache=True, nogil=True)
def _placeable(tick, side, size):  # type: ignore[no-untyped-def]
    return tick != NO_TICK and side < 2 and 0 < size <= MAX_SIZE


@nb.njit(cache=True, nogil=True)
def _snapshot_order(oid, price, side, size, st, tab, mask, shift, acc, bits, keys, touched):  # type: ignore[no-untyped-def]
    """An order of a snapshot builds the book and is no flow (rule 11)."""
    tick = _tick(price, st)
    e = find(tab, mask, shift, oid)
    if size_of(tab[e + 1]) > 0:
        word = tab[e + 1]
        leave(slot_make(tick_of(word), st, keys), tick_of(word), side_of(word), size_of(word), True, st, acc, bits, touched)
        delete(tab, mask, shift, e)
        st[COUNT] -= 1
        e = find(tab, mask, shift, oid)
    if not _placeable(tick, side, size):
        st[UNPLACED] += 1
        return
    arrive(slot_make(tick, st, keys), tick, side, size, st, acc, bits, touched)
    tab[e] = oid
    tab[e + 1] = pack(tick, side, size)
    tab[e + 2] = np.uint64(RESTED)
    tab[e + 3] = np.uint64(0)
    st[COUNT] += 1


@nb.njit(cache=True, nogil=True)
def replay(  # type: ignore[no-untyped-def]
    first, instrument, ts_event, ts_recv, order_id, price, size, flags, action, side, instrument_id,
    state, table, lines, marks, far, changed, takers, taker_events, ladder, seconds,
):  # fmt: skip
    """Replay the records from `first` on that belong to `instrument`.

    Parameters
    ----------
    first
        Index of the first record to replay.
    ts_event, ..., instrument_id
        Columns of `engine.mbo.dbn.MboColumns`.
    state, table, lines, marks, far, changed, takers, taker_events
        The contract's state (`engine.mbo.state`, `table`, `grid`); changed in place.
    ladder
        int32 (n, `ROW_FIELDS`): ladder rows, filled from ``state[ROWS]`` on.
    seconds
        int64 (windows, `TAPE_FIELDS`).

    Returns
    -------
    tuple
        Index of the record to go on with, and `DONE`, `GROW` (a table is too full) or `DRAIN` (take the rows, set ``state[ROWS]`` to 0).
    """
    capacity = table.shape[0] // WORDS
    mask = capacity - 1
    shift = np.uint64(64)
    while capacity > 1:
        capacity >>= 1
        shift -= np.uint64(1)
    st, tab, acc, bits, keys, touched = pointer(state), pointer(table), pointer(lines), pointer(marks), pointer(far), pointer(changed)
    taker_id, taker_event, rows, tape = pointer(takers), pointer(taker_events), pointer(ladder), pointer(seconds)
    quarter = (mask + 1) // 4
    far_half = st[FAR_SLOTS] // 2 - 2
    for i in range(first, ts_event.shape[0]):
        if instrument_id[i] != instrument:
            continue
        if st[COUNT] >= quarter or st[FAR_N] >= far_half:
            return i, GROW
        flag = flags[i]
        snap = (flag & F_SNAPSHOT) != 0
        ts = ts_event[i]
        if st[IN_SNAPSHOT] != 0 and not snap:
            end_snapshot(st, acc, bits, keys)
        window = (ts_recv[i] if snap else ts) // NS - st[START_S]
        if window > st[WINDOW] and not advance(window, st, acc, keys, touched, rows, tape):
            return i, DRAIN

        act = action[i]
        st[RECORDS] += 1
        if act == _R or (snap and st[IN_SNAPSHOT] == 0):
            _clear_book(mask, st, tab, acc, bits, keys, touched)
            st[KNOWN] = 1
            st[BAD] = 0
            st[CLEARS] += 1
            st[IN_SNAPSHOT] = 1 if snap else 0
        elif st[NEW_FILE] != 0 and not snap and st[WARM] == 0:
            _clear_book(mask, st, tab, acc, bits, keys, touched)
            st[KNOWN] = 0
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
            if act == _A or act == _M:
                _snapshot_order(oid, price[i], s, qty, st, tab, mask, shift, acc, bits, keys, touched)
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
            if act == _C:
                if old == 0:
                    st[UNKNOWN_CANCELS] += 1
                else:
                    removed = min(old, qty)
                    pending = _pending(tab, e, event)
                    fill = min(removed, pending)
                    gone = removed == old
            else:
                tick = _tick(price[i], st)
                if act == _M and old > 0:
                    if s >= 2:
                        s = old_side
                    pending = _pending(tab, e, event)
                    fill = min(old, pending)
                    put = _placeable(tick, s, qty)
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
                    put = _placeable(tick, s, qty)
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
            _trade(oid, price[i], qty, s, st, tab, mask, shift, taker_id, taker_event)
        elif act == _F:
            e = find(tab, mask, shift, oid)
            if size_of(tab[e + 1]) > 0 and not _is_taker(oid, st, taker_id, taker_event):
                event = np.uint64(st[EVENT]) & _LOW32
                executed = min(_pending(tab, e, event) + qty, MAX_SIZE)
                tab[e + 3] = (np.uint64(executed) << _U32) | event
        if flag & F_LAST:
            st[EVENT] += 1
            st[TAKERS] = 0
            if st[MOVED] != 0:
                look(st, acc, bits, keys, True)
            if ts >= st[OPEN_NS]:
                st[STATES] += 1
                if st[S_BID] >= st[S_ASK] and st[S_BID_SIZE] > 0 and st[S_ASK_SIZE] > 0:
                    st[CROSSED] += 1
    return ts_event.shape[0], DONE


@nb.njit(cache=True, nogil=True)
def end_run(state, lines, marks, far):  # type: ignore[no-untyped-def]
    """`end_snapshot` for arrays."""
    end_snapshot(pointer(state), pointer(lines), pointer(marks), pointer(far))


@nb.njit(cache=True, nogil=True)
def close_until(target, state, lines, far, changed, ladder, seconds):  # type: ignore[no-untyped-def]
    """`advance` for arrays."""
    return advance(target, pointer(state), pointer(lines), pointer(far), pointer(changed), pointer(ladder), pointer(seconds))
