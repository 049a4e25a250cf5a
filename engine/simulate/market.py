"""The order stream: competing exponential clocks over a book that follows a latent price (simulator.md).

Between the points of a fine time grid every rate is constant, so the next event is one exponential draw and one
choice; a draw that would pass the grid point is thrown away there, which a memoryless clock allows.
"""

from __future__ import annotations

import math

from engine.simulate import model as m
from engine.simulate import orders as o
from engine.simulate.actions import add, cancel_or_modify, logistic, lots, next_sign, pull
from engine.simulate.regimes import level_drift, sign_bias, watch_levels
from engine.simulate.rng import MAIN, exponential, kernel, normal_pair, uniform

MARGIN = 16_384
"""Rows the buffer must have free before an event: no event writes more."""


@kernel
def _step_slow(fs, par, rng, dt):
    """Advance what moves slowly: the volatility's OUs and the two sides' mean sizes."""
    a, b = normal_pair(rng, MAIN)
    c, d = normal_pair(rng, MAIN)
    e, _ = normal_pair(rng, MAIN)
    for k in range(3):
        z = a if k == 0 else (b if k == 1 else c)
        keep = math.exp(-dt / m.Y_TAU[k])
        fs[m.Y0 + k] = keep * fs[m.Y0 + k] + m.Y_SD[k] * math.sqrt(1.0 - keep * keep) * z
    keep = math.exp(-dt / par[m.D_TAU])
    fs[m.D_BID] = keep * fs[m.D_BID] + par[m.D_SD] * math.sqrt(1.0 - keep * keep) * d
    fs[m.D_ASK] = keep * fs[m.D_ASK] + par[m.D_SD] * math.sqrt(1.0 - keep * keep) * e


@kernel
def run(order, levels, classes, touched, st, fs, par, rng, out, tables, activity, anchor, clock, levels_at, end_ns):
    """Advance one instrument: 0 at `end_ns`, 1 where `out` is nearly full, 2 where price left the ticks' window or the order table is full.

    Parameters
    ----------
    order, levels, classes, touched : int32 arrays
        The book (`engine.simulate.orders`) and scratch.
    st, fs, par, rng
        Integer state, float state, parameters, random streams.
    out : int64 ``(n, 7)``
        Records; ``st[o.N_OUT]`` counts them and is the caller's to reset.
    activity : float64, per minute of ``clock``
        The intraday shape; 0 where the market is closed.
    anchor : float64, per second of ``clock``
        The leading instrument writes its mid (tick index) here; where ``par[FOLLOW] > 0`` it is what price follows.
    clock : int64 ``(2,)``
        Ns of the first minute of `activity`, ns of the first second of `anchor`.
    levels_at
        Levels and approaches (`engine.simulate.regimes`); untouched at kappa = 0.
    """
    rho = par[m.RHO]
    follow = par[m.FOLLOW] > 0.0
    distance = tables[0]
    width = levels.shape[1]
    limit = out.shape[0] - MARGIN
    cancel_rate = (0.0, 0.0, 0.0, 0.0, 0.0)
    a = cancel_a = sigma = x_free = shape = mult_bid = mult_ask = 0.0
    mid2 = -1
    logit_bid = logit_ask = pull_bid = pull_ask = informed = 0.0
    x = 0.0
    fresh = True
    while st[o.N_OUT] < limit:
        if fresh or st[o.NOW_NS] >= st[o.GRID_NS]:
            # A resumed slice comes here with the grid point still ahead: it only works out the rates again.
            minute = (st[o.NOW_NS] - clock[0]) // 60_000_000_000
            shape = activity[minute]
            if shape <= 0.0:
                at = st[o.NOW_NS]
                while shape <= 0.0 and at < end_ns:
                    minute += 1
                    at = clock[0] + minute * 60_000_000_000
                    shape = activity[minute]
                if at >= end_ns:
                    st[o.NOW_NS] = end_ns
                    st[o.GRID_NS] = end_ns
                    return 0
                st[o.NOW_NS] = at
                st[o.GRID_NS] = at
            if st[o.NOW_NS] >= end_ns:
                return 0
            if st[o.BEST_BID] < 600 or st[o.BEST_ASK] > width - 600 or st[o.N_FREE] < 16:
                return 2
            y = fs[m.Y0] + fs[m.Y0 + 1] + fs[m.Y0 + 2]
            if st[o.NOW_NS] >= st[o.GRID_NS]:
                dt = min(0.25, max(par[m.GRID_S], 0.01 / shape))
                st[o.GRID_NS] = min(st[o.NOW_NS] + int(dt * 1e9), end_ns)
                dt = (st[o.GRID_NS] - st[o.NOW_NS]) * 1e-9
                fs[m.SLOW_S] += dt
                if fs[m.SLOW_S] >= 1.0:
                    _step_slow(fs, par, rng, fs[m.SLOW_S])
                    fs[m.SLOW_S] = 0.0
                    y = fs[m.Y0] + fs[m.Y0 + 1] + fs[m.Y0 + 2]
                z1, z2 = normal_pair(rng, MAIN)
                keep = 1.0 - dt / m.SIGNAL_TAU
                fs[m.N_] = keep * fs[m.N_] + m.SIGNAL_SD * math.sqrt(1.0 - keep * keep) * z2
                fs[m.HAWKES] *= math.exp(-m.HAWKES_DECAY * dt)
                mid = 0.5 * (st[o.BEST_BID] + st[o.BEST_ASK])
                if follow:
                    aim = par[m.ANCHOR_OFFSET] + par[m.ANCHOR_SCALE] * anchor[(st[o.NOW_NS] - clock[1]) // 1_000_000_000]
                    fs[m.P_] += (aim - fs[m.P_]) * (1.0 - math.exp(-par[m.FOLLOW] * dt))
                else:
                    sigma = m.SIGMA * math.exp(y - m.Y_VAR) * math.sqrt(shape)
                    move_p = math.sqrt(m.NOISE_SHARE * dt) * sigma * z1 - m.MEAN_PULL * (fs[m.P_] - mid) * dt
                    if uniform(rng, MAIN) < math.exp(y - 0.5 * m.Y_VAR) * shape * m.JUMPS_PER_S * dt:
                        z3, _ = normal_pair(rng, MAIN)
                        move_p += m.JUMP_SD * sigma * z3
                    # A Brownian bridge to the next file's opening price: mixed over that price it is no drift at all.
                    step_var = m.SIGMA * m.SIGMA * shape * dt
                    fs[m.VAR_LEFT] -= step_var
                    move_p += (fs[m.TARGET] - fs[m.P_]) * min(0.5, step_var / max(fs[m.VAR_LEFT] + step_var, 0.02))
                    if par[m.KAPPA] > 0.0:
                        move_p += level_drift(par, levels_at, fs[m.P_], sigma, dt)
                    fs[m.P_] += move_p
                    anchor[(st[o.NOW_NS] - clock[1]) // 1_000_000_000] = mid
                if levels_at.tick.shape[0] > 0:
                    watch_levels(st, par, levels_at)
            a = math.exp(y - 0.5 * m.Y_VAR) * shape
            sigma = m.SIGMA * math.exp(y - m.Y_VAR) * math.sqrt(shape)
            cancel_a = a**m.CANCEL_POWER
            cancel_rate = (8.0 * cancel_a, 1.2 * cancel_a, 0.15 * cancel_a, 0.02 * cancel_a, 0.002 * cancel_a)
            mult_bid = par[m.SZMUL] * math.exp(-par[m.DVOL] * y + fs[m.D_BID])
            mult_ask = par[m.SZMUL] * math.exp(-par[m.DVOL] * y + fs[m.D_ASK])
            x_free = fs[m.P_] + fs[m.N_]
            mid2 = -1
            fresh = False
        best_bid, best_ask = st[o.BEST_BID], st[o.BEST_ASK]
        if best_bid + best_ask != mid2:
            mid2 = best_bid + best_ask
            x = min(m.X_CLIP, max(-m.X_CLIP, x_free - 0.5 * mid2))
            logit_bid = logistic(m.EDGE_SLOPE * (0.5 + x))
            logit_ask = logistic(m.EDGE_SLOPE * (0.5 - x))
            pull_bid = m.PULL_RATE * min(3.0, math.exp(par[m.PULL_STEEP] * (-x - m.PULL_X)))
            pull_ask = m.PULL_RATE * min(3.0, math.exp(par[m.PULL_STEEP] * (x - m.PULL_X)))
            informed = 0.0
            if abs(x) > m.INFORMED_X:
                informed = m.INFORMED_RATE * rho * a * min(m.INFORMED_CAP, ((abs(x) - m.INFORMED_X) / 0.6) ** 2)
        n_bid, n_ask = levels[o.BID, best_bid, o.COUNT], levels[o.ASK, best_ask, o.COUNT]
        c1 = m.ADD_RATE * rho * a
        scale = m.REFILL_RATE * rho * a
        c2 = c1 + scale * max(0.0, 1.0 - n_bid / par[m.REFILL_N]) * logit_bid
        c3 = c2 + scale * max(0.0, 1.0 - n_ask / par[m.REFILL_N]) * logit_ask
        c4 = c3 + (m.GAP_RATE if best_ask - best_bid > 1 else 0.0)
        c5 = c4 + n_bid * pull_bid
        c6 = c5 + n_ask * pull_ask
        c7 = c6 + m.MARKET_RATE * rho * a + fs[m.HAWKES]
        c8 = c7 + informed
        k0 = c8 + cancel_rate[0] * st[o.N_CLASS]
        k1 = k0 + cancel_rate[1] * st[o.N_CLASS + 1]
        k2 = k1 + cancel_rate[2] * st[o.N_CLASS + 2]
        k3 = k2 + cancel_rate[3] * st[o.N_CLASS + 3]
        total = k3 + cancel_rate[4] * st[o.N_CLASS + 4]
        wait = exponential(rng, MAIN) / total
        now = st[o.NOW_NS] + 1 + int(wait * 1e9)
        if now >= st[o.GRID_NS]:
            st[o.NOW_NS] = st[o.GRID_NS]
            continue
        st[o.NOW_NS] = now
        u = uniform(rng, MAIN) * total
        if u < c1:
            side = o.BID if u < 0.5 * c1 else o.ASK
            i = distance[int(uniform(rng, MAIN) * m.QUANTILES)]
            edge = 0.5 + x if side == o.BID else 0.5 - x
            if (i > 3 and edge > -1.0) or uniform(rng, MAIN) < logistic(m.EDGE_SLOPE * (edge + i)):
                tick = best_bid - i if side == o.BID else best_ask + i
                add(
                    order, levels, classes, st, fs, par, rng, out, tables, levels_at, side, tick, i, mult_bid if side == o.BID else mult_ask
                )
        elif u >= c8:
            cls = 0 if u < k0 else (1 if u < k1 else (2 if u < k2 else (3 if u < k3 else 4)))
            cancel_or_modify(order, levels, classes, st, par, rng, out, tables, levels_at, cls, x)
        elif u < c3:
            side = o.BID if u < c2 else o.ASK
            tick = best_bid if side == o.BID else best_ask
            add(order, levels, classes, st, fs, par, rng, out, tables, levels_at, side, tick, 0, mult_bid if side == o.BID else mult_ask)
        elif u < c4:
            side = o.BID if uniform(rng, MAIN) < logistic(m.EDGE_SLOPE * x) else o.ASK
            tick = best_bid + 1 if side == o.BID else best_ask - 1
            add(order, levels, classes, st, fs, par, rng, out, tables, levels_at, side, tick, 0, mult_bid if side == o.BID else mult_ask)
        elif u < c6:
            pull(order, levels, classes, st, rng, out, o.BID if u < c5 else o.ASK)
        else:
            told = u >= c7
            sign = (1 if x > 0 else -1) if told else next_sign(st, rng)
            shown = sign
            if par[m.KAPPA] > 0.0 and not told:
                bias = sign_bias(par, rng, levels_at)
                shown = bias if bias != 0 else sign  # price answers to the sign that was meant: a footprint moves no price
            side = o.ASK if shown > 0 else o.BID
            touch = levels[side, best_ask if shown > 0 else best_bid, o.SIZE]
            size = lots(rng, par[m.SZMUL])
            if touch <= par[m.SMALL_TOUCH] and uniform(rng, MAIN) < m.SWEEP_SHARE:
                size = max(size, touch)
            o.execute(order, levels, classes, touched, st, rng, out, shown, size, 2)
            if not told:
                fs[m.HAWKES] += m.HAWKES_BRANCH * m.HAWKES_DECAY
                expected = 0.0
                for k in range(4):
                    expected += par[m.EMA_W + k] * fs[m.EMA0 + k]
                    fs[m.EMA0 + k] += m.EMA_GAIN[k] * (sign - fs[m.EMA0 + k])
                if not follow:
                    grown = m.IMPACT_BASE + m.IMPACT_LOG * math.log(1.0 + size / par[m.SZMUL])
                    fs[m.P_] += par[m.IMPACT] * grown * (sigma / m.SIGMA) / math.sqrt(a) * (sign - expected)
                    x_free = fs[m.P_] + fs[m.N_]
                    mid2 = -1
                st[o.LAST_MO_NS] = st[o.NOW_NS]
                st[o.LAST_SIGN] = sign
    return 1
