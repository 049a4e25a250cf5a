"""The replay: one contract's order stream to the price ladder and the tape, record by record (numba).

Rule numbers are those of ``mbo.md``. The kernel can stop before any record (tables to be grown, rows to be drained) and be called again.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from engine.mbo.events import clear_book, executed_of, is_taker, placeable, snapshot_order, tick_at, trade
from engine.mbo.grid import ADD, AWAY_REST, DEPTH, FILL, PULL, PULL_REST, TOWARD_REST, arrive, leave, slot_make
from engine.mbo.pointer import pointer
from engine.mbo.state import (
    ASK,
    BAD,
    BAD_BOOK,
    CLEARS,
    COUNT,
    CROSSED,
    EVENT,
    FAR_N,
    FAR_SLOTS,
    IN_SNAPSHOT,
    KNOWN,
    LIVE,
    MESSAGES,
    MOVED,
    NEW_FILE,
    NO_TICK,
    OPEN_NS,
    RECORDS,
    REST_NS,
    S_ASK,
    S_ASK_SIZE,
    S_BID,
    S_BID_SIZE,
    SNAPSHOT,
    START_S,
    STATES,
    TAKERS,
    TICK_FIXED,
    UNKNOWN_CANCELS,
    UNKNOWN_MODIFIES,
    UNPLACED,
    WARM,
    WINDOW,
    WINDOW_DIRTY,
)
from engine.mbo.table import MAX_SIZE, WORDS, delete, find, pack, side_of, size_of, tick_of
from engine.mbo.windows import NS, advance, end_snapshot, look
from engine.vocab import F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT

DONE, GROW, DRAIN = 0, 1, 2
_A, _C, _M, _R, _T, _F = 0, 1, 2, 3, 4, 5
_GOLDEN = np.uint64(11400714819323198485)
_LOW32 = np.uint64(0xFFFFFFFF)
_U32 = np.uint64(32)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def replay(
    first, instrument, event_times, recv_times, order_ids, prices, sizes, flag_bits, actions, sides, instrument_ids,
    state, table, lines, marks, far, changed, takers, taker_events, ladder, seconds,
):  # fmt: skip
    """Replay the records from `first` on that belong to `instrument`.

    Parameters
    ----------
    first
        Index of the first record to replay.
    event_times, ..., instrument_ids
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
    ts_event, ts_recv, order_id, price, size = (
        pointer(event_times),
        pointer(recv_times),
        pointer(order_ids),
        pointer(prices),
        pointer(sizes),
    )
    flags, action, side, instrument_id = pointer(flag_bits), pointer(actions), pointer(sides), pointer(instrument_ids)
    taker_id, taker_event, rows, tape = pointer(takers), pointer(taker_events), pointer(ladder), pointer(seconds)
    quarter = (mask + 1) // 4
    far_half = st[FAR_SLOTS] // 2 - 2
    ticks_per_unit = 1.0 / np.float64(st[TICK_FIXED])
    window_end = (st[START_S] + st[WINDOW] + 1) * NS
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
        if clock >= window_end:
            if not advance(clock // NS - st[START_S], st, acc, keys, touched, rows, tape):
                return i, DRAIN
            window_end = (st[START_S] + st[WINDOW] + 1) * NS

        act = action[i]
        st[RECORDS] += 1
        if act == _R or (snap and st[IN_SNAPSHOT] == 0):
            clear_book(mask, st, tab, acc, bits, keys, touched)
            st[KNOWN] = 1
            st[BAD] = 0
            st[CLEARS] += 1
            st[IN_SNAPSHOT] = 1 if snap else 0
        elif st[NEW_FILE] != 0 and not snap and st[WARM] == 0:
            clear_book(mask, st, tab, acc, bits, keys, touched)
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
            trade(oid, price[i], qty, s, ticks_per_unit, st, tab, mask, shift, taker_id, taker_event)
        elif act == _F:
            e = find(tab, mask, shift, oid)
            if size_of(tab[e + 1]) > 0 and not is_taker(oid, st, taker_id, taker_event):
                event = np.uint64(st[EVENT]) & _LOW32
                executed = min(executed_of(tab, e, event) + qty, MAX_SIZE)
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
    return n, DONE


@nb.njit(cache=True, nogil=True, error_model="numpy")
def end_run(state, lines, marks, far):
    """`end_snapshot` for arrays."""
    end_snapshot(pointer(state), pointer(lines), pointer(marks), pointer(far))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def close_until(target, state, lines, far, changed, ladder, seconds):
    """`advance` for arrays."""
    return advance(target, pointer(state), pointer(lines), pointer(far), pointer(changed), pointer(ladder), pointer(seconds))
