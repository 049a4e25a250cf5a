"""What one event of the order stream does to the book, and the draws that shape it."""

from __future__ import annotations

import math

from engine.simulate import model as m
from engine.simulate import orders as o
from engine.simulate.regimes import divert_add, divert_cancel, hidden_at_level
from engine.simulate.rng import MAIN, exponential, kernel, uniform


@kernel
def lots(rng, multiple):
    """Size of an order: the mixture of simulator.md times `multiple`, rounded at random, at least 1."""
    u = uniform(rng, MAIN)
    if u < 0.62:
        size = 1.0
    elif u < 0.78:
        size = 2.0
    elif u < 0.90:
        size = 3.0 + math.floor((u - 0.78) / 0.04)
    elif u < 0.97:
        size = 5.0 if u < 0.9234 else (10.0 if u < 0.9467 else 15.0)
    elif u < 0.992:
        size = 10.0 * (1.0 + math.floor(2.0 * exponential(rng, MAIN)))
    else:
        size = min(400.0, 25.0 * (1.0 - uniform(rng, MAIN)) ** (-1.0 / 1.6))
    return max(1, int(size * multiple + uniform(rng, MAIN)))


@kernel
def logistic(z):
    """1 / (1 + exp(-z))."""
    if z > 20.0:
        return 1.0
    if z < -20.0:
        return 0.0
    return 1.0 / (1.0 + math.exp(-z))


@kernel
def _class_of(rng, birth, i):
    u = uniform(rng, MAIN)
    row = birth[min(i, m.REACH - 1)]
    c = 0
    while c < o.CLASSES - 1 and u > row[c]:
        c += 1
    return c


@kernel
def next_sign(st, rng):
    """Sign of the next market order: one of four meta-orders, or the last sign again where it came just before."""
    if st[o.NOW_NS] - st[o.LAST_MO_NS] < m.REPEAT_S * 1e9 and uniform(rng, MAIN) < m.REPEAT_SHARE:
        return st[o.LAST_SIGN]
    k = o.META + 2 * int(uniform(rng, MAIN) * m.META_ORDERS)
    if st[k] <= 0:
        st[k] = int(min(1e6, (1.0 - uniform(rng, MAIN)) ** (-1.0 / m.META_TAIL)))
        st[k + 1] = 1 if uniform(rng, MAIN) < 0.5 else -1
    st[k] -= 1
    return st[k + 1]


@kernel
def add(order, levels, classes, st, fs, par, rng, out, tables, levels_at, side, tick, i, szmul_side):
    """Write a new order at `tick`, `i` ticks from the own best; the regime of an approach may move it or hide size behind it."""
    birth = tables[1]
    cls = _class_of(rng, birth, i)
    qty = lots(rng, szmul_side)
    hidden = 0
    if cls >= 2 and i <= 3 and uniform(rng, MAIN) < m.ICEBERG_SHARE:
        hidden = int(qty * (1.0 + 4.0 * exponential(rng, MAIN)))
    if par[m.KAPPA] > 0.0:
        tick = divert_add(st, par, rng, levels_at, side, tick)
        hidden = hidden_at_level(par, rng, levels_at, side, tick, qty, hidden)
    slot = o.insert(order, levels, classes, st, side, tick, qty, hidden, cls)
    o.emit(out, st, rng, o.A_, side, tick, qty, o.LAST_FLAGS, order[slot, o.OID], True)


@kernel
def reprice(order, levels, st, rng, out, slot, tick):
    """Move an order to another price and write the modify."""
    o.move(order, levels, st, slot, tick)
    o.emit(out, st, rng, o.M_, order[slot, o.SIDE], tick, order[slot, o.QTY], o.LAST_FLAGS, order[slot, o.OID], True)


@kernel
def cancel(order, levels, classes, st, rng, out, slot):
    """Take an order out and write the cancel."""
    row = order[slot]
    side, tick, qty, oid = row[o.SIDE], row[o.TICK], row[o.QTY], row[o.OID]
    o.remove(order, levels, classes, st, slot)
    o.emit(out, st, rng, o.C_, side, tick, qty, o.LAST_FLAGS, oid, True)


@kernel
def cancel_or_modify(order, levels, classes, st, par, rng, out, tables, levels_at, cls, x):
    """Let an order of the life-time class `cls` leave, shrink or move to another price."""
    slot = classes[cls, int(uniform(rng, MAIN) * st[o.N_CLASS + cls])]
    if par[m.KAPPA] > 0.0:
        slot = divert_cancel(order, levels, classes, st, par, rng, levels_at, slot)
    row = order[slot]
    side = row[o.SIDE]
    if cls >= 1 and uniform(rng, MAIN) < m.MODIFY_SHARE:
        if uniform(rng, MAIN) < m.SIZE_DOWN_SHARE:
            if row[o.QTY] > 1:
                left = 1 + int(uniform(rng, MAIN) * (row[o.QTY] - 1))
                gone = row[o.QTY] - left
                o.resize(order, levels, slot, left)
                if uniform(rng, MAIN) < m.PARTIAL_CANCEL_SHARE:
                    o.emit(out, st, rng, o.C_, side, row[o.TICK], gone, o.LAST_FLAGS, row[o.OID], True)
                else:
                    o.emit(out, st, rng, o.M_, side, row[o.TICK], left, o.LAST_FLAGS, row[o.OID], True)
                return
        else:
            i = tables[0][int(uniform(rng, MAIN) * m.QUANTILES)]
            edge = 0.5 + x if side == o.BID else 0.5 - x
            tick = st[o.BEST_BID] - i if side == o.BID else st[o.BEST_ASK] + i
            if tick != row[o.TICK] and uniform(rng, MAIN) < logistic(m.EDGE_SLOPE * (edge + i)):
                reprice(order, levels, st, rng, out, slot, tick)
                return
    if st[o.N_BID + side] > 3:
        cancel(order, levels, classes, st, rng, out, slot)


@kernel
def pull(order, levels, classes, st, rng, out, side):
    """The newest order at a touch that the price leaves behind goes, or goes deeper."""
    best = st[o.BEST_BID + side]
    if st[o.N_BID + side] <= 3 or levels[side, best, o.COUNT] == 0:
        return
    slot = levels[side, best, o.TAIL]
    if uniform(rng, MAIN) < m.PULL_DEEPER:
        deeper = 1 + int(2.0 * exponential(rng, MAIN))
        reprice(order, levels, st, rng, out, slot, best - deeper if side == o.BID else best + deeper)
    else:
        cancel(order, levels, classes, st, rng, out, slot)
