"""The order stream behind `busy_day`: a small market with first-in, first-out queues, compiled so that 5M records take seconds."""

# ruff: noqa: NPY002 - numba compiles the legacy generator; its state is its own, not numpy's
from __future__ import annotations

import numba as nb
import numpy as np

GRID = 1 << 14  # ticks around the opening price
POOL = 1 << 17


@nb.njit(cache=True)
def _put(r, ts, oid, price, size, flags, action, side, recv, instrument, seq):
    r.length = 14
    r.rtype = 0xA0
    r.publisher_id = 1
    r.instrument_id = instrument
    r.ts_event = ts
    r.order_id = oid
    r.price = price
    r.size = size
    r.flags = flags
    r.action = action
    r.side = side
    r.ts_recv = recv
    r.ts_in_delta = 15_000
    r.sequence = seq


@nb.njit(cache=True)
def _link(head, tail, nxt, prv, line, o):
    nxt[o] = -1
    prv[o] = tail[line]
    if tail[line] >= 0:
        nxt[tail[line]] = o
    else:
        head[line] = o
    tail[line] = o


@nb.njit(cache=True)
def _unlink(head, tail, nxt, prv, line, o):
    if prv[o] >= 0:
        nxt[prv[o]] = nxt[o]
    else:
        head[line] = nxt[o]
    if nxt[o] >= 0:
        prv[nxt[o]] = prv[o]
    else:
        tail[line] = prv[o]


@nb.njit(cache=True)
def _settle(head, best):
    """Move both best prices inward or outward to the next tick with orders."""
    while best[0] > 0 and head[best[0]] < 0:
        best[0] -= 1
    while best[1] < GRID - 1 and head[GRID + best[1]] < 0:
        best[1] += 1


@nb.njit(cache=True)
def simulate(out, times, n, seed, day, centre, tick_fixed, snapshot_orders, instrument):
    """Fill `out` with a snapshot and then about `n` live records; return the number of records written."""
    np.random.seed(seed)
    base = centre - GRID // 2
    head = np.full(2 * GRID, -1, np.int32)
    tail = np.full(2 * GRID, -1, np.int32)
    nxt = np.empty(POOL, np.int32)
    prv = np.empty(POOL, np.int32)
    tick = np.empty(POOL, np.int32)
    side = np.empty(POOL, np.int8)
    size = np.empty(POOL, np.int32)
    ids = np.empty(POOL, np.uint64)
    place = np.empty(POOL, np.int32)
    live = np.empty(POOL, np.int32)
    free = np.arange(POOL - 1, -1, -1).astype(np.int32)
    n_free, n_live, k = POOL, 0, 0
    best = np.array([GRID // 2 - 1, GRID // 2], np.int64)
    letter = np.array([66, 65], np.uint8)
    next_id = np.uint64(6_400_000_000_000 + instrument)
    lean = 0.0

    _put(out[k], day, np.uint64(0), np.int64(2**63 - 1), 0, 40, 82, 78, day, instrument, 0)
    k += 1
    for j in range(snapshot_orders):
        s = j % 2
        away = int(np.random.exponential(60.0))
        t = best[0] - away if s == 0 else best[1] + away
        t = min(max(t, 1), GRID - 2)
        n_free -= 1
        o = free[n_free]
        tick[o], side[o], size[o], ids[o] = t, s, 1 + int(np.random.exponential(4.0)), next_id
        next_id += np.uint64(1)
        _link(head, tail, nxt, prv, s * GRID + t, o)
        place[o] = n_live
        live[n_live] = o
        n_live += 1
        flags = 168 if j == snapshot_orders - 1 else 40
        old = day - np.int64(3_600_000_000_000) + j
        _put(out[k], old, ids[o], (base + t) * tick_fixed, size[o], flags, 65, letter[s], day, instrument, j)
        k += 1
    _settle(head, best)

    first = k
    while k - first < n:
        ts = times[k - first]
        recv = ts + 20_000
        if np.random.random() < 0.0005:
            lean = 0.16 * (2.0 * np.random.random() - 1.0)
        u = np.random.random()
        # About twice the snapshot's orders rest at any time, as in a real file (8,725 on the day this project tests with).
        come = 0.46 - 0.2 * (n_live - 2 * snapshot_orders) / (2 * snapshot_orders)
        if n_live < snapshot_orders or (u < come and n_free > 2):
            s = 0 if np.random.random() < 0.5 + lean else 1
            # A passive order: mostly at or near the best, sometimes one tick into an open spread.
            away = int(np.random.exponential(5.0)) if np.random.random() < 0.9 else int(np.random.exponential(80.0))
            if best[1] - best[0] > 1 and np.random.random() < 0.5:
                away = -1
            t = best[0] - away if s == 0 else best[1] + away
            t = min(max(t, 1), GRID - 2)
            n_free -= 1
            o = free[n_free]
            tick[o], side[o], size[o], ids[o] = t, s, 1 + int(np.random.exponential(3.0)), next_id
            next_id += np.uint64(1)
            _link(head, tail, nxt, prv, s * GRID + t, o)
            place[o] = n_live
            live[n_live] = o
            n_live += 1
            _put(out[k], ts, ids[o], (base + t) * tick_fixed, size[o], 130, 65, letter[s], recv, instrument, k)
            k += 1
        elif u < 0.95:
            # A cancel or modify; orders that came lately are the ones that leave.
            back = int(np.random.exponential(300.0)) if np.random.random() < 0.8 else int(np.random.random() * n_live)
            o = live[max(n_live - 1 - back, 0)]
            s, t = side[o], tick[o]
            v = np.random.random()
            if v < 0.68 or head[s * GRID + t] == tail[s * GRID + t]:
                taken = size[o]
                if size[o] > 1 and np.random.random() < 0.03:
                    taken = 1
                _put(out[k], ts, ids[o], (base + t) * tick_fixed, taken, 130, 67, letter[s], recv, instrument, k)
                k += 1
                size[o] -= taken
            elif v < 0.84:
                size[o] = 1 + int(np.random.exponential(3.0))
                _put(out[k], ts, ids[o], (base + t) * tick_fixed, size[o], 130, 77, letter[s], recv, instrument, k)
                k += 1
            else:
                step = int(np.random.exponential(3.0)) + 1
                up = np.random.random() < 0.5
                to = t + step if up else t - step
                to = min(to, best[1] - 1) if s == 0 else max(to, best[0] + 1)
                to = min(max(to, 1), GRID - 2)
                _unlink(head, tail, nxt, prv, s * GRID + t, o)
                _link(head, tail, nxt, prv, s * GRID + to, o)
                tick[o] = to
                _put(out[k], ts, ids[o], (base + to) * tick_fixed, size[o], 130, 77, letter[s], recv, instrument, k)
                k += 1
                best[s] = max(best[0], to) if s == 0 else min(best[1], to)
            if size[o] == 0:
                _unlink(head, tail, nxt, prv, s * GRID + tick[o], o)
                n_live -= 1
                live[place[o]] = live[n_live]
                place[live[n_live]] = place[o]
                free[n_free] = o
                n_free += 1
        else:
            # An aggressive order takes what stands first at the best price.
            s = 1 if np.random.random() < 0.5 + 2.0 * lean else 0
            t = best[s]
            want = 1 + int(np.random.exponential(6.0 if np.random.random() < 0.9 else 60.0))
            o = head[s * GRID + t]
            k0 = k
            _put(out[k], ts, next_id, (base + t) * tick_fixed, want, 0, 84, letter[1 - s], recv, instrument, k)
            next_id += np.uint64(1)
            k += 1
            left = want
            p = o
            while p >= 0 and left > 0 and k - k0 < 60:
                got = min(left, size[p])
                _put(out[k], ts, ids[p], (base + t) * tick_fixed, got, 0, 70, letter[s], recv, instrument, k)
                k += 1
                left -= got
                p = nxt[p]
            out[k0].size = want - left
            fills = k - k0 - 1
            p = o
            for j in range(fills):
                got = out[k0 + 1 + j].size
                after = nxt[p]
                last = np.uint8(130 if j == fills - 1 else 0)
                if got < size[p]:
                    size[p] -= got
                    _put(out[k], ts, ids[p], (base + t) * tick_fixed, size[p], last, 77, letter[s], recv, instrument, k)
                elif np.random.random() < 0.05:
                    # An iceberg shows its next slice, at the back of the queue.
                    _put(out[k], ts, ids[p], (base + t) * tick_fixed, size[p], last, 77, letter[s], recv, instrument, k)
                    _unlink(head, tail, nxt, prv, s * GRID + t, p)
                    _link(head, tail, nxt, prv, s * GRID + t, p)
                else:
                    _put(out[k], ts, ids[p], (base + t) * tick_fixed, got, last, 67, letter[s], recv, instrument, k)
                    _unlink(head, tail, nxt, prv, s * GRID + t, p)
                    n_live -= 1
                    live[place[p]] = live[n_live]
                    place[live[n_live]] = place[p]
                    free[n_free] = p
                    n_free += 1
                k += 1
                p = after
        # The best price follows what came and went.
        if out[k - 1].action == 65:
            s, t = (0 if out[k - 1].side == 66 else 1), np.int64(out[k - 1].price // tick_fixed - base)
            best[s] = max(best[0], t) if s == 0 else min(best[1], t)
        _settle(head, best)
    return k
