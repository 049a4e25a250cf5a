"""What single orders did: large orders, icebergs, sweeps, absorption, and large size that is pulled before price comes (numba).

An order-by-order replay of its own beside that of the ladder (`engine.mbo.book`), with its table of orders and its reading of what was
filled and what was pulled; it needs no book by price, so it costs a part of that one. Rule numbers are those of ``mbo.md``. Everything is
known at its time: what counts as large is asked of the orders that came before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numba as nb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import SessionError
from engine.mbo import book
from engine.mbo.book import (
    ASK,
    BID,
    DONE,
    DRAIN,
    GROW,
    MAX_SIZE,
    NO_TICK,
    RESTED,
    WORDS,
    add_taker,
    delete,
    find,
    is_taker,
    pack,
    placeable,
    pointer,
    rehash,
    side_of,
    size_of,
    tick_at,
    tick_of,
)
from engine.mbo.dbn import MboColumns
from engine.mbo.replay import read_only
from engine.mbo.trust import Span
from engine.params import OrderParams
from engine.vocab import F_LAST, F_SNAPSHOT, NS, root_of

KINDS = (
    "standing", "born", "grown", "moved", "reduced", "filled", "pulled", "refill", "sweep", "absorbed", "pulled_before_touch", "cleared",
)  # fmt: skip
"""What a row tells, as `docs/ORDERS.md` says at length."""

STANDING, BORN, GROWN, MOVED, REDUCED, FILLED, PULLED, REFILL, SWEEP, ABSORBED, PULLED_BEFORE, CLEARED = range(12)

SIDES = ("B", "A", "N")
EVENTS_SCHEMA: dict[str, Any] = {
    "ts_ns": pl.Int64, "kind": pl.Enum(KINDS), "side": pl.Enum(SIDES), "order_id": pl.UInt64, "tick": pl.Int32, "to_tick": pl.Int32,
    "size": pl.Int64, "left": pl.Int64, "age_ns": pl.Int64, "traded": pl.Int64, "count": pl.Int32, "large": pl.Boolean,
}  # fmt: skip
"""Columns of `silver.future_mbo.order_events`, in the order of their time."""

ROW_FIELDS = len(EVENTS_SCHEMA)
NO_AGE = -1
DUE = 9
"""What `follow` returns where the session begins, or orders are lost, before a record."""

SWEEP_PRICES_LEAST = 3

# ----------------------------------------------------------------------------
# Where each number is in a contract's int64 notes

(
    NOW, SECOND_END, BEGIN_NS, START_NS, END_NS, THRESHOLD, QUANTILE, ABOVE, ARRIVALS, SHARE, LEAST, ABSORB, PULL_NS, WATCHED, ROWS, LAST,
    SWEEP_ID, SWEEP_SIDE, SWEEP_FIRST, SWEEP_FAR, SWEEP_PRICES, SWEEP_SIZE, TRADED_SIDE, TRADED_TICK, PULLS, RUNS, _RUNS_ASK, NEAR,
) = range(28)  # fmt: skip

SIZES = 4096
"""Sizes are counted up to here; what is larger counts as this less one."""
PULL_SLOTS = 512
"""The latest pulls of large orders are remembered."""
RUN_SLOTS = 1024
"""Prices of a side that traded and have held since; where there are more, the one that is furthest from the market is forgotten."""

HISTOGRAM = 32
RECENT = HISTOGRAM + SIZES
HELD = RECENT + 4 * PULL_SLOTS
NOTES_SIZE = HELD + 2 * 4 * RUN_SLOTS

MOST_ROWS = PULL_SLOTS + 8
"""Most rows that one record can make."""

_A, _C, _M, _R, _T, _F = 0, 1, 2, 3, 4, 5
_MILLION = 1_000_000
AHEAD = 8
_GOLDEN = np.uint64(11400714819323198485)
_U32 = np.uint64(32)
_LOW32 = np.uint64(0xFFFFFFFF)
_NOTED = np.uint64(1 << 63)
"""Bit of an order's fourth word: it is among the noted ones, whose table says what they traded and whether they are large."""

_USED = np.uint64(1)
_LARGE = np.uint64(2)
_REFILLED = np.uint64(4)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def write(kind, side, oid, tick, to_tick, size, left, born, traded, count, large, own, rows):
    """Write a row of now, where now is in the session."""
    now = own[NOW]
    if now < own[START_NS] or now >= own[END_NS]:
        return
    r = own[ROWS] * ROW_FIELDS
    rows[r] = now
    rows[r + 1] = kind
    rows[r + 2] = side
    rows[r + 3] = np.int64(oid)
    rows[r + 4] = tick
    rows[r + 5] = to_tick
    rows[r + 6] = size
    rows[r + 7] = left
    rows[r + 8] = NO_AGE if born == RESTED else max(now - born, np.int64(0))
    rows[r + 9] = traded
    rows[r + 10] = count
    rows[r + 11] = large
    own[ROWS] += 1


# ----------------------------------------------------------------------------
# What is large


@nb.njit(cache=True, nogil=True, error_model="numpy")
def count_size(size, own):
    """Count the size of an order that arrives."""
    size = min(size, np.int64(SIZES - 1))
    own[HISTOGRAM + size] += 1
    own[ARRIVALS] += 1
    if size > own[QUANTILE]:
        own[ABOVE] += 1


@nb.njit(cache=True, nogil=True, error_model="numpy")
def settle_threshold(own):
    """At the start of a second: the smallest size that at most the share of the orders so far are above, and at least the parameter."""
    most = own[SHARE] * own[ARRIVALS]
    q, above = own[QUANTILE], own[ABOVE]
    while above * _MILLION > most:
        q += 1
        above -= own[HISTOGRAM + q]
    while q > 0 and (above + own[HISTOGRAM + q]) * _MILLION <= most:
        above += own[HISTOGRAM + q]
        q -= 1
    own[QUANTILE], own[ABOVE] = q, above
    own[THRESHOLD] = max(q, own[LEAST])


# ----------------------------------------------------------------------------
# Noted orders: those that are large, and those that were filled in part


@nb.njit(cache=True, nogil=True, error_model="numpy")
def note(oid, born, large, own, noted, mask, shift):
    """Enter an order among the noted ones; return its entry."""
    w = find(noted, mask, shift, oid)
    noted[w] = oid
    noted[w + 1] = _USED | (_LARGE if large else np.uint64(0))
    noted[w + 2] = np.uint64(born)
    noted[w + 3] = np.uint64(0)
    own[WATCHED] += 1
    return w


@nb.njit(cache=True, nogil=True, error_model="numpy")
def drop(oid, own, noted, mask, shift):
    """Take an order out of the noted ones."""
    delete(noted, mask, shift, find(noted, mask, shift, oid))
    own[WATCHED] -= 1


@nb.njit(cache=True, nogil=True, error_model="numpy")
def tell(
    oid, moved, old, old_tick, old_side, entered, fill, pull, top_up, gone, put, tick, side, size, refill, known, own, noted, mask, shift,
    rows,
):  # fmt: skip
    """Write what a record did to an order that is noted, refilled or large by it; whether the order is noted afterwards.

    moved: it rests at another price of its side; gone: it left its place; put: one of the id rests at `tick` anew
    old, fill, pull, top_up: size before, and what of it was executed, pulled and added; size: that of the record
    """
    large, traded, refills, born = False, np.int64(0), np.int64(0), entered
    w = np.int64(0)
    if known:
        w = find(noted, mask, shift, oid)
        large = (noted[w + 1] & _LARGE) != 0
        refills = np.int64(noted[w + 1] >> np.uint64(2))
        born = np.int64(noted[w + 2])
        traded = np.int64(noted[w + 3])
    least = own[THRESHOLD]
    left = old - fill - pull
    if large:
        if fill > 0:
            write(FILLED, old_side, oid, old_tick, NO_TICK, fill, old - fill, born, traded, refills, 1, own, rows)
        if pull > 0:
            p = RECENT + 4 * (own[PULLS] % PULL_SLOTS)
            own[p], own[p + 1], own[p + 2], own[p + 3] = own[NOW], old_side, old_tick, pull
            own[PULLS] += 1
            if not moved:
                write(PULLED if gone else REDUCED, old_side, oid, old_tick, NO_TICK, pull, left, born, traded, refills, 1, own, rows)
        if top_up > 0 and not refill:
            write(GROWN, old_side, oid, old_tick, NO_TICK, top_up, left + top_up, born, traded, refills, 1, own, rows)
    if gone and known and not moved:
        drop(oid, own, noted, mask, shift)
        known = False
    if moved:
        if large or size >= least:
            if not known:
                w = note(oid, born, True, own, noted, mask, shift)
            noted[w + 1] |= _LARGE
            known = True
            write(MOVED, side, oid, old_tick, tick, size, size, born, traded, refills, 1, own, rows)
    elif put:
        if size >= least:
            note(oid, own[NOW], True, own, noted, mask, shift)
            known = True
            write(BORN, side, oid, tick, NO_TICK, size, size, own[NOW], 0, 0, 1, own, rows)
    elif not gone:
        if top_up > 0 and not large and left + top_up >= least:
            large = True
            if not known:
                w = note(oid, born, True, own, noted, mask, shift)
            noted[w + 1] |= _LARGE
            known = True
            if not refill:
                write(GROWN, old_side, oid, old_tick, NO_TICK, top_up, left + top_up, born, traded, refills, 1, own, rows)
        if refill:
            noted[w + 1] += _REFILLED
            write(
                REFILL, old_side, oid, old_tick, NO_TICK, size, left + top_up, born, traded, refills + 1, 1 if large else 0, own, rows
            )  # fmt: skip
    return known


@nb.njit(cache=True, nogil=True, error_model="numpy")
def rest_in_snapshot(oid, price, side, size, ticks_per_unit, st, tab, mask, shift, own, noted, noted_mask, noted_shift, rows):
    """An order of a snapshot builds the book (rule 11); a large one stands."""
    tick = tick_at(price, ticks_per_unit, st)
    e = find(tab, mask, shift, oid)
    if size_of(tab[e + 1]) > 0:
        if (tab[e + 3] & _NOTED) != 0:
            drop(oid, own, noted, noted_mask, noted_shift)
        delete(tab, mask, shift, e)
        st[book.COUNT] -= 1
        e = find(tab, mask, shift, oid)
    if not placeable(tick, side, size):
        st[book.UNPLACED] += 1
        return
    tab[e] = oid
    tab[e + 1] = pack(tick, side, size)
    tab[e + 2] = np.uint64(RESTED)
    tab[e + 3] = np.uint64(0)
    st[book.COUNT] += 1
    if size >= own[THRESHOLD]:
        note(oid, RESTED, True, own, noted, noted_mask, noted_shift)
        tab[e + 3] = _NOTED
        write(STANDING, side, oid, tick, NO_TICK, size, size, RESTED, 0, 0, 1, own, rows)


# ----------------------------------------------------------------------------
# Trades: sweeps, absorption, and what was pulled before price came


@nb.njit(cache=True, nogil=True, error_model="numpy")
def end_sweep(own, rows):
    """Write the sweep that was going on, where it went through enough prices."""
    if own[SWEEP_PRICES] >= SWEEP_PRICES_LEAST:
        write(
            SWEEP, own[SWEEP_SIDE], own[SWEEP_ID], own[SWEEP_FIRST], own[SWEEP_FAR], own[SWEEP_SIZE], -1, RESTED, own[SWEEP_SIZE],
            own[SWEEP_PRICES], 0, own, rows,
        )  # fmt: skip
    own[SWEEP_PRICES] = 0


@nb.njit(cache=True, nogil=True, error_model="numpy")
def price_came(last, tick, own, rows):
    """Trading went from `last` to `tick`: write what large orders pulled, shortly before, from the prices that it came to."""
    side = ASK if tick > last else BID
    now = own[NOW]
    oldest = max(own[PULLS] - PULL_SLOTS, np.int64(0))
    j = own[PULLS] - 1
    while j >= oldest:
        p = RECENT + 4 * (j % PULL_SLOTS)
        if now - own[p] > own[PULL_NS]:
            return
        t = own[p + 2]
        inside = last < t <= tick if side == ASK else tick <= t < last
        if own[p + 1] == side and inside and own[p + 3] > 0:
            total, pulls = np.int64(0), np.int64(0)
            i = j
            while i >= oldest:
                q = RECENT + 4 * (i % PULL_SLOTS)
                if now - own[q] > own[PULL_NS]:
                    break
                if own[q + 1] == side and own[q + 2] == t and own[q + 3] > 0:
                    total += own[q + 3]
                    pulls += 1
                    own[q + 3] = 0
                i -= 1
            if total >= own[THRESHOLD]:
                write(PULLED_BEFORE, side, 0, t, NO_TICK, total, -1, own[p], 0, pulls, 0, own, rows)
        j -= 1


@nb.njit(cache=True, nogil=True, error_model="numpy")
def trade_at(tick, side, size, oid, own, rows):
    """A trade at a price: what gave way, what it adds to a price that holds, and how far its aggressor has come."""
    if own[LAST] != NO_TICK and tick != own[LAST]:
        price_came(own[LAST], tick, own, rows)
    own[LAST] = tick
    bids, asks = HELD, HELD + 4 * RUN_SLOTS
    while own[RUNS] > 0 and own[bids + 4 * (own[RUNS] - 1)] > tick:
        own[RUNS] -= 1
    while own[RUNS + 1] > 0 and own[asks + 4 * (own[RUNS + 1] - 1)] < tick:
        own[RUNS + 1] -= 1
    if side >= 2:
        return
    rest = 1 - side
    first = bids if rest == BID else asks
    n = own[RUNS + rest]
    if n == 0 or own[first + 4 * (n - 1)] != tick:
        if n == RUN_SLOTS:
            for k in range(4 * (n - 1)):
                own[first + k] = own[first + k + 4]
            n -= 1
        p = first + 4 * n
        own[p], own[p + 1], own[p + 2], own[p + 3] = tick, 0, own[NOW], 0
        n += 1
        own[RUNS + rest] = n
    own[first + 4 * (n - 1) + 1] += size
    own[TRADED_SIDE], own[TRADED_TICK] = rest, tick
    if own[SWEEP_PRICES] > 0 and (own[SWEEP_ID] != np.int64(oid) or own[SWEEP_SIDE] != side):
        end_sweep(own, rows)
    if own[SWEEP_PRICES] == 0:
        own[SWEEP_ID], own[SWEEP_SIDE], own[SWEEP_FIRST], own[SWEEP_FAR] = np.int64(oid), side, tick, tick
        own[SWEEP_PRICES], own[SWEEP_SIZE] = 1, size
    else:
        own[SWEEP_SIZE] += size
        if tick > own[SWEEP_FAR] if side == BID else tick < own[SWEEP_FAR]:
            own[SWEEP_FAR] = tick
            own[SWEEP_PRICES] += 1


@nb.njit(cache=True, nogil=True, error_model="numpy")
def end_event(own, rows):
    """An event is complete: its sweep is over, and the price of its last trade is asked what it has absorbed."""
    end_sweep(own, rows)
    side = own[TRADED_SIDE]
    if side < 0:
        return
    own[TRADED_SIDE] = -1
    n = own[RUNS + side]
    p = HELD + 4 * (RUN_SLOTS * side + n - 1)
    if n > 0 and own[p] == own[TRADED_TICK] and own[p + 1] >= max(2 * own[p + 3], own[ABSORB] * own[THRESHOLD]):
        own[p + 3] = own[p + 1]
        write(ABSORBED, side, 0, own[p], NO_TICK, own[p + 1], -1, own[p + 2], own[p + 1], 0, 0, own, rows)


# ----------------------------------------------------------------------------
# The replay


@nb.njit(cache=True, nogil=True, error_model="numpy")
def forget(st, tab, mask, own, noted, noted_mask, rows):
    """Forget every order and every price: the book is cleared, begins anew, or is not known from here on."""
    if st[book.COUNT] > 0:
        for p in range(mask + 1):
            tab[p * WORDS + 1] = np.uint64(0)
        st[book.COUNT] = 0
    if own[WATCHED] > 0:
        for p in range(noted_mask + 1):
            noted[p * WORDS + 1] = np.uint64(0)
        own[WATCHED] = 0
    own[RUNS] = own[RUNS + 1] = own[PULLS] = own[SWEEP_PRICES] = 0
    own[TRADED_SIDE] = -1
    own[LAST] = NO_TICK
    write(CLEARED, 2, 0, NO_TICK, NO_TICK, 0, -1, RESTED, 0, 0, 0, own, rows)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _shift(capacity):
    shift = np.uint64(64)
    while capacity > 1:
        capacity >>= 1
        shift -= np.uint64(1)
    return shift


@nb.njit(cache=True, nogil=True, error_model="numpy")
def follow(
    first, instrument, event_times, recv_times, order_ids, prices, sizes, flag_bits, actions, sides, instrument_ids,
    state, table, notes, noted_orders, takers, taker_events, found,
):  # fmt: skip
    """Follow the orders of `instrument` through the records from `first` on.

    event_times, ..., instrument_ids: columns of `engine.mbo.dbn.MboColumns`
    state, table, notes, noted_orders, takers, taker_events: the contract's state, changed in place
    found: int64 (n, `ROW_FIELDS`), filled from ``notes[ROWS]`` on
    Returns the record to go on with, and `DONE`, `GROW` (a table is too full), `DRAIN` (take the rows) or `DUE` (the session begins before
    this record, or records before it are missing).
    """
    mask, noted_mask = table.shape[0] // WORDS - 1, noted_orders.shape[0] // WORDS - 1
    shift, noted_shift = _shift(mask + 1), _shift(noted_mask + 1)
    st, tab, own, noted, rows = pointer(state), pointer(table), pointer(notes), pointer(noted_orders), pointer(found)
    taker_id, taker_event = pointer(takers), pointer(taker_events)
    ts_event, ts_recv, order_id, price = pointer(event_times), pointer(recv_times), pointer(order_ids), pointer(prices)
    size, flags, action, side, instrument_id = (
        pointer(sizes),
        pointer(flag_bits),
        pointer(actions),
        pointer(sides),
        pointer(instrument_ids),
    )
    quarter, noted_quarter, slots = (mask + 1) // 4, (noted_mask + 1) // 4, found.shape[0]
    ticks_per_unit = 1.0 / np.float64(st[book.TICK_FIXED])
    due = min(own[BEGIN_NS], st[book.LOST_NS])
    n = event_times.shape[0]
    ahead = np.uint64(0)
    for i in range(first, n):
        # Read, and so brought near, before it is needed: waiting for the table is most of what a record costs.
        ahead ^= tab[np.int64((order_id[min(i + AHEAD, n - 1)] * _GOLDEN) >> shift) * WORDS + 1]
        if instrument_id[i] != instrument:
            continue
        if st[book.COUNT] >= quarter or own[WATCHED] >= noted_quarter:
            return i, GROW
        if own[ROWS] + MOST_ROWS > slots:
            return i, DRAIN
        flag = flags[i]
        snap = (flag & F_SNAPSHOT) != 0
        ts = ts_event[i]
        if not snap:
            st[book.IN_SNAPSHOT] = 0
        clock = ts_recv[i] if snap else ts
        if clock >= due:
            return i, DUE
        if clock > own[NOW]:
            own[NOW] = clock
            if clock >= own[SECOND_END]:
                settle_threshold(own)
                own[SECOND_END] = (clock // NS + 1) * NS

        act = action[i]
        if act == _R or (snap and st[book.IN_SNAPSHOT] == 0) or (st[book.NEW_FILE] != 0 and not snap and st[book.WARM] == 0):
            forget(st, tab, mask, own, noted, noted_mask, rows)
            st[book.IN_SNAPSHOT] = 1 if snap else 0
        st[book.NEW_FILE] = 0
        oid = order_id[i]
        qty = np.int64(size[i])
        s = np.int64(side[i])
        if snap:
            if act in (_A, _M):
                rest_in_snapshot(
                    oid, price[i], s, qty, ticks_per_unit, st, tab, mask, shift, own, noted, noted_mask, noted_shift, rows
                )  # fmt: skip
            continue

        if act <= _M:
            event = np.uint64(st[book.EVENT]) & _LOW32
            e = find(tab, mask, shift, oid)
            word, executed = tab[e + 1], tab[e + 3]
            old = size_of(word)
            old_tick, old_side = tick_of(word), side_of(word)
            entered = np.int64(tab[e + 2])
            known = old > 0 and (executed & _NOTED) != 0
            # What was executed in this event and no C or M has carried out yet (rule 9).
            pending = np.int64((executed & ~_NOTED) >> _U32) if old > 0 and (executed & _LOW32) == event else np.int64(0)
            tick = np.int64(NO_TICK)
            removed, fill, top_up = np.int64(0), np.int64(0), np.int64(0)
            gone, put, moved, refill = False, False, False, False
            if act == _C:
                removed = min(old, qty)
                fill = min(removed, pending)
                gone = old > 0 and removed == old
            else:
                tick = tick_at(price[i], ticks_per_unit, st)
                if act == _M and old > 0:
                    if s >= 2:
                        s = old_side
                    fill = min(old, pending)
                    put = placeable(tick, s, qty)
                    if put and tick == old_tick and s == old_side:
                        put = False
                        removed = max(old - qty, fill)
                        top_up = qty - (old - removed)
                        refill = pending >= old
                    else:
                        removed = old
                        gone = True
                        moved = put and s == old_side
                else:
                    removed = old
                    gone = old > 0
                    put = placeable(tick, s, qty)
                    if put:
                        count_size(qty, own)
            if old > 0:
                tab[e + 3] = (np.uint64(pending - fill) << _U32) | event | (executed & _NOTED)
                if not gone:
                    tab[e + 1] = pack(old_tick, old_side, old - removed + top_up)
            if put:
                tab[e + 1] = pack(tick, s, qty)
                tab[e + 2] = np.uint64(ts)
                if old == 0 or act == _A:
                    tab[e] = oid
                    tab[e + 3] = np.uint64(0)
                    if old == 0:
                        st[book.COUNT] += 1
            if known or refill or ((put or top_up > 0) and qty >= own[THRESHOLD]):
                noted_now = tell(
                    oid, moved, old, old_tick, old_side, entered, fill, removed - fill, top_up, gone, put, tick, s, qty, refill, known,
                    own, noted, noted_mask, noted_shift, rows,
                )  # fmt: skip
                if put or not gone:
                    tab[e + 3] = (tab[e + 3] & ~_NOTED) | (_NOTED if noted_now else np.uint64(0))
            if gone and not put:
                delete(tab, mask, shift, e)
                st[book.COUNT] -= 1
        elif act == _T:
            add_taker(oid, st, taker_id, taker_event)
            e = find(tab, mask, shift, oid)
            if size_of(tab[e + 1]) > 0:
                tab[e + 3] &= _NOTED
            tick = tick_at(price[i], ticks_per_unit, st)
            if tick != NO_TICK:
                trade_at(tick, s, qty, oid, own, rows)
        elif act == _F:
            e = find(tab, mask, shift, oid)
            if size_of(tab[e + 1]) > 0 and not is_taker(oid, st, taker_id, taker_event):
                event = np.uint64(st[book.EVENT]) & _LOW32
                was = tab[e + 3]
                before = np.int64((was & ~_NOTED) >> _U32) if (was & _LOW32) == event else np.int64(0)
                total = min(before + qty, np.int64(MAX_SIZE))
                tab[e + 3] = (np.uint64(total) << _U32) | event | _NOTED
                if (was & _NOTED) != 0:
                    w = find(noted, noted_mask, noted_shift, oid)
                else:
                    w = note(oid, np.int64(tab[e + 2]), False, own, noted, noted_mask, noted_shift)
                noted[w + 3] += np.uint64(qty)
        if flag & F_LAST:
            st[book.EVENT] += 1
            st[book.TAKERS] = 0
            if own[SWEEP_PRICES] > 0 or own[TRADED_SIDE] >= 0:
                end_event(own, rows)
    own[NEAR] = np.int64(ahead >> np.uint64(1))
    return n, DONE


@nb.njit(cache=True, nogil=True, error_model="numpy")
def forget_all(state, table, notes, noted_orders, found):
    """`forget` for arrays."""
    st, tab, own, noted, rows = pointer(state), pointer(table), pointer(notes), pointer(noted_orders), pointer(found)
    forget(st, tab, table.shape[0] // WORDS - 1, own, noted, noted_orders.shape[0] // WORDS - 1, rows)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def stand(table, notes, noted_orders, found):
    """Write the large orders that rest now, in no order."""
    tab, own, noted, rows = pointer(table), pointer(notes), pointer(noted_orders), pointer(found)
    mask = table.shape[0] // WORDS - 1
    shift = _shift(mask + 1)
    for p in range(0, noted_orders.shape[0], WORDS):
        if size_of(noted[p + 1]) > 0 and (noted[p + 1] & _LARGE) != 0:
            word = tab[find(tab, mask, shift, noted[p]) + 1]
            refills = np.int64(noted[p + 1] >> np.uint64(2))
            size, traded = size_of(word), np.int64(noted[p + 3])
            write(
                STANDING, side_of(word), noted[p], tick_of(word), NO_TICK, size, size, np.int64(noted[p + 2]), traded, refills, 1, own, rows
            )


# ----------------------------------------------------------------------------
# The driver

_TABLE_START, _NOTED_START, _ROWS_START = 1 << 15, 1 << 12, 1 << 13
_FOREVER = 2**63 - 1


@dataclass
class _Orders:
    """State of one contract's orders; arrays that the kernel changes in place."""

    instrument: int
    symbol: str
    st: NDArray[np.int64]
    own: NDArray[np.int64]
    tab: NDArray[np.uint64]
    noted: NDArray[np.uint64]
    taker_id: NDArray[np.uint64]
    taker_event: NDArray[np.int64]
    found: NDArray[np.int64]
    parts: list[NDArray[np.int64]] = field(default_factory=list)

    def drain(self) -> None:
        """Take the rows out of the kernel's buffer."""
        n = int(self.own[ROWS])
        if n:
            self.parts.append(self.found[:n].copy())
            self.own[ROWS] = 0


class OrderReplay:
    """Follow the orders of several contracts through their records, to `EVENTS_SCHEMA`.

    instruments: instrument id to outright symbol; records of other instruments are ignored
    start_ns, end_ns: span of the session; earlier records build the book and say what is large
    warm: the stream needs no snapshot: an empty book at its start is the true book
    lost: spans ``[start, end)`` in ns, in order, in which records are known to be missing: all orders are forgotten at each end
    Raises SessionError where the span is empty, UnknownRoot where a symbol's tick size is not known.
    """

    def __init__(
        self, instruments: dict[int, str], start_ns: int, end_ns: int, params: OrderParams | None = None, *, warm: bool = False,
        lost: tuple[Span, ...] = (),
    ) -> None:  # fmt: skip
        if end_ns <= start_ns:
            raise SessionError(f"session of orders: expected the end after the start, found [{start_ns}, {end_ns})")
        self._start_ns, self._end_ns, self._lost = start_ns, end_ns, lost
        self._params = params or OrderParams()
        self._contracts = [self._contract(i, symbol, warm) for i, symbol in instruments.items()]
        self._cover_end = _FOREVER

    def begin_file(self, header_end_ns: int, header_start_ns: int | None = None) -> None:
        """Say that the next records come from another file, of that span: without a snapshot at its start no order is known, unless it
        begins where the file before ended.
        """
        before, self._cover_end = self._cover_end, header_end_ns
        for c in self._contracts if header_start_ns != before else ():
            c.st[book.IN_SNAPSHOT] = 0
            c.st[book.NEW_FILE] = 1

    def feed(self, columns: MboColumns) -> None:
        """Follow the next records; a stream may be cut into chunks anywhere."""
        columns = read_only(columns)
        for c in self._contracts:
            at, n = 0, len(columns)
            while at < n:
                at, why = follow(
                    at, c.instrument,
                    columns.ts_event, columns.ts_recv, columns.order_id, columns.price, columns.size, columns.flags,
                    columns.action, columns.side, columns.instrument_id,
                    c.st, c.tab, c.own, c.noted, c.taker_id, c.taker_event, c.found,
                )  # fmt: skip
                if why == GROW:
                    c.tab, c.noted = _grown(c.tab, int(c.st[book.COUNT])), _grown(c.noted, int(c.own[WATCHED]))
                elif why == DRAIN:
                    c.drain()
                elif why == DUE:
                    self._due(c)

    def finish(self) -> dict[str, pl.DataFrame]:
        """What happened, by symbol. The replay cannot be fed again."""
        out = {}
        for c in self._contracts:
            if c.own[BEGIN_NS] != _FOREVER:
                self._begin(c)
            c.drain()
            out[c.symbol] = frame_of(np.concatenate(c.parts) if c.parts else np.empty((0, ROW_FIELDS), np.int64))
        self._contracts = []
        return out

    def _due(self, c: _Orders) -> None:
        """Do what is due before the next record: what comes first of the session's beginning and the end of a span of missing records."""
        lost_ns = int(c.st[book.LOST_NS])
        if lost_ns > c.own[BEGIN_NS]:
            self._begin(c)
            return
        c.drain()
        c.own[NOW] = max(int(c.own[NOW]), lost_ns)
        forget_all(c.st, c.tab, c.own, c.noted, c.found)
        c.st[book.LOST_NS] = min((b for _, b in self._lost if b > lost_ns), default=_FOREVER)

    def _begin(self, c: _Orders) -> None:
        """Write the large orders that rest as the session begins, bids first, by price and id."""
        c.own[BEGIN_NS] = _FOREVER
        c.own[NOW] = max(int(c.own[NOW]), self._start_ns)
        c.drain()
        if len(c.found) < c.own[WATCHED] + MOST_ROWS:
            c.found = np.empty((int(c.own[WATCHED]) + MOST_ROWS, ROW_FIELDS), np.int64)
        stand(c.tab, c.own, c.noted, c.found)
        rows = c.found[: int(c.own[ROWS])]
        rows[:] = rows[np.lexsort((rows[:, 3].view(np.uint64), rows[:, 4], rows[:, 2]))]

    def _contract(self, instrument: int, symbol: str, warm: bool) -> _Orders:
        p = self._params
        st = np.zeros(book.STATE_SIZE, np.int64)
        st[book.EVENT] = st[book.NEW_FILE] = 1
        st[book.WARM] = int(warm)
        st[book.TICK_FIXED] = root_of(symbol).tick_fixed
        st[book.LOST_NS] = min((b for _, b in self._lost), default=_FOREVER)
        own = np.zeros(NOTES_SIZE, np.int64)
        own[NOW] = -(2**62)
        own[[BEGIN_NS, START_NS, END_NS]] = self._start_ns, self._start_ns, self._end_ns
        own[[THRESHOLD, LEAST]] = p.least_size
        own[SHARE], own[ABSORB], own[PULL_NS] = round(p.large_share * _MILLION), p.absorbed_times, p.pull_ns
        own[LAST], own[TRADED_SIDE] = NO_TICK, -1
        return _Orders(
            instrument,
            symbol,
            st,
            own,
            tab=np.zeros(_TABLE_START * WORDS, np.uint64),
            noted=np.zeros(_NOTED_START * WORDS, np.uint64),
            taker_id=np.zeros(book.TAKER_SLOTS, np.uint64),
            taker_event=np.zeros(book.TAKER_SLOTS, np.int64),
            found=np.empty((_ROWS_START, ROW_FIELDS), np.int64),
        )


def _grown(table: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """The table, or one of twice the size where it is a quarter full."""
    if count * 4 * WORDS < len(table):
        return table
    bigger = np.zeros(2 * len(table), np.uint64)
    rehash(table, bigger)
    return bigger


def frame_of(rows: NDArray[np.int64]) -> pl.DataFrame:
    """Rows as the replay notes them as a frame (`EVENTS_SCHEMA`)."""
    columns: dict[str, Any] = dict(zip(EVENTS_SCHEMA, np.ascontiguousarray(rows.T)))
    kind = columns["kind"]
    columns["kind"] = pl.Series(np.array(KINDS, object)[kind], dtype=EVENTS_SCHEMA["kind"])
    columns["side"] = pl.Series(np.array(SIDES, object)[columns["side"]], dtype=EVENTS_SCHEMA["side"])
    columns["order_id"] = columns["order_id"].view(np.uint64)
    of_no_order = np.isin(kind, (ABSORBED, PULLED_BEFORE, CLEARED))
    return pl.DataFrame(columns).with_columns(
        pl.when(~pl.Series(of_no_order)).then("order_id").alias("order_id"),
        *(pl.when(pl.col(name) != NO_TICK).then(name).alias(name) for name in ("tick", "to_tick")),
        *(pl.when(pl.col(name) != NO_AGE).then(name).alias(name) for name in ("left", "age_ns")),
    ).select(pl.col(name).cast(dtype) for name, dtype in EVENTS_SCHEMA.items())  # fmt: skip
