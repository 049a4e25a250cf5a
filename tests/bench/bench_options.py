"""Options: the kernels' errors against 70 digits, and what they cost."""

from __future__ import annotations

import numpy as np

from engine.options import black76
from engine.options.profile import RULES, SCOPES
from engine.params import OptionParams
from engine.simulate import options as simulated
from tests.bench.harness import Measure, bench, median_seconds
from tests.support.options import Made, made_of, morning
from tests.unit.test_black76 import ORDER, book, contracts, out_of_the_money, worst_errors


@bench("options: errors of 3,000 contracts", bar="price 1e-10, delta 1e-12, gamma and vega 1e-10, vanna and charm 1e-5")
def errors() -> Measure:
    """The largest error of each against the twin; the row's value is the price's."""
    worst = worst_errors(3000, 11)
    return Measure(worst["price"], "points", 1, ", ".join(f"{name} {worst[name]:.0e}" for name in ORDER[:-1]))


@bench("options: error of volatilities from prices >= 0.05", bar="<= 1e-10, none missing")
def volatilities() -> Measure:
    """Out-of-the-money prices made by the kernel, and inverted."""
    price, f, k, t, c, sigma = out_of_the_money(60_000, 12)
    found = black76.implied(price, f, k, t, 0.05, c)
    missing = int(np.isnan(found).sum())
    return Measure(float(np.nanmax(np.abs(found - sigma))), "a year", 1, f"{missing} of {len(found):,} missing")


def _hundred_thousand() -> tuple[np.ndarray, ...]:
    f, k, t, sigma, _ = contracts(100_000, 13)
    return f, k, t, sigma, np.where(k >= f, 1.0, -1.0)


@bench("options: volatility of 100,000 contracts", bar="<= 200 ms")
def implied() -> Measure:
    """Out-of-the-money prices, one core."""
    f, k, t, sigma, c = _hundred_thousand()
    price = black76.prices(f, k, t, 0.05, sigma, c)
    return Measure(median_seconds(lambda: black76.implied(price, f, k, t, 0.05, c)) * 1e3, "ms", 5)


@bench("options: greeks of 100,000 contracts", bar="<= 20 ms")
def all_greeks() -> Measure:
    """Five greeks and the price, one core."""
    f, k, t, sigma, c = _hundred_thousand()
    return Measure(median_seconds(lambda: black76.greeks(f, k, t, 0.05, sigma, c)) * 1e3, "ms", 5)


@bench("options: profiles of a day, 2,000 strikes x 2,160 minutes x 41 prices", bar="<= 1 s")
def profiles() -> Measure:
    """On the logarithmic grid, one weight."""
    k, t, sigma, weight = book(2000, 14)
    one = np.ascontiguousarray(weight[:, :1])

    def day() -> None:
        for _ in range(2160):
            black76.gamma_on_grid(np.log(5800.0), 0.0017, 41, k, t, 0.05, sigma, one)

    return Measure(median_seconds(day, runs=3), "s", 3)


MORNINGS = 16


def _morning(seed: int) -> tuple[simulated.OptionDay, Made]:
    day, mids, end = morning(seed)
    return day, made_of(day, mids, end, end, OptionParams())


@bench("options: moves of a wall in a morning", bar="p95 <= 2, of 0DTE <= 4")
def wall_moves() -> Measure:
    """Of calls and of puts, over simulated mornings; the plain maximum beside it."""
    held = np.empty((MORNINGS, 2, len(SCOPES)))
    for seed in range(MORNINGS):
        walls = _morning(100 + seed)[1].profile.walls
        moves = np.abs(np.diff(walls, axis=0)) > 0
        held[seed] = moves.sum(axis=0).T
    by_scope = [f"{scope} {held[:, :, s].mean():.1f} p95 {np.quantile(held[:, :, s], 0.95):.0f}" for s, scope in enumerate(SCOPES)]
    return Measure(float(np.quantile(held[:, :, 2], 0.95)), "moves", MORNINGS, ", ".join(by_scope))


@bench("options: true gamma found again", bar="correlation >= 0.75 where 90% of sides are right")
def recovery() -> Measure:
    """Correlation of gamma under the rule hybrid with that of what dealers truly hold, over mornings and prices, by the sides' accuracy."""
    found: dict[float, float] = {}
    gained: dict[float, float] = {}
    usual = simulated.ACCURATE
    try:
        for share in (0.9, 0.8, 0.7):
            simulated.ACCURATE = share
            ours, true, flow, gain = [], [], [], []
            for seed in range(MORNINGS):
                day, made = _morning(200 + seed)
                last = len(made.marks.minutes) - 1
                position = dict(zip(day.chain.symbol, day.chain.dealers - day.bought))
                weight = np.array([[position.get(s, 0.0) for s in pair] for pair in made.strikes.select("call", "put").iter_rows()])
                known = ~np.isnan(made.marks.iv[last])
                left = (
                    np.maximum(made.strikes["expiration_ts_ns"].to_numpy() - made.marks.minutes[last], black76.LEAST_NS) / black76.YEAR_NS
                )
                k = made.strikes["strike"].to_numpy()
                of = (k[known], left[known], 0.04, made.marks.iv[last][known], np.ascontiguousarray(weight[known]))
                true.append(black76.gamma_at(made.profile.row_price[last], *of).sum(axis=1))
                ours.append(made.profile.gamma[last, 2] @ np.array(RULES["hybrid"]))
                bought = dict(zip(day.chain.symbol, -day.bought))
                lately = np.array([[bought.get(s, 0.0) for s in pair] for pair in made.strikes.select("call", "put").iter_rows()])
                gain.append(black76.gamma_at(made.profile.row_price[last], *of[:4], np.ascontiguousarray(lately[known])).sum(axis=1))
                flow.append(made.profile.gamma[last, 2] @ np.array(RULES["flow"]))
            found[share] = float(np.corrcoef(np.concatenate(ours), np.concatenate(true))[0, 1])
            gained[share] = float(np.corrcoef(np.concatenate(flow), np.concatenate(gain))[0, 1])
    finally:
        simulated.ACCURATE = usual
    each = (f"{share:.0%}: {c:.2f}, of flow alone {gained[share]:.2f}" for share, c in found.items())
    return Measure(found[0.9], "", MORNINGS, "; ".join(each))


@bench("options: error of half a tick in quotes", bar="net <= 1% of gross")
def half_ticks() -> Measure:
    """Net gamma by marks against that by the volatilities the quotes were made of, as a share of gross; p95 over rows of a morning."""
    day, made = _morning(7)
    minute = np.arange(5, len(made.marks.minutes), 20)
    k, expiry = made.strikes["strike"].to_numpy(), made.strikes["expiration_ts_ns"].to_numpy()
    oi = dict(made.chain.select("raw_symbol", "oi").iter_rows())
    weight = np.array([[oi.get(s, 0) for s in pair] for pair in made.strikes.select("call", "put").iter_rows()], float)
    share = []
    for i in minute:
        known = ~np.isnan(made.marks.iv[i])
        t = np.maximum(expiry - made.marks.minutes[i], black76.LEAST_NS)[known] / black76.YEAR_NS
        x = np.clip(np.log(k[known] / made.marks.f_mid[i]) / np.sqrt(np.maximum(t, 1 / 365 / 24)), -0.6, 0.6)
        sigma = day.level * (1 - 0.9 * x + 1.2 * x * x)
        exact = black76.gamma_at(made.profile.row_price[i], k[known], t, 0.04, sigma, weight[known])
        ours = made.profile.gamma[i, 2, :, :2]
        share.append(np.abs((ours[:, 0] - ours[:, 1]) - (exact[:, 0] - exact[:, 1])) / exact.sum(axis=1))
    return Measure(100 * float(np.quantile(share, 0.95)), "%", len(minute), f"median {100 * float(np.median(share)):.2f}%")


@bench("options: chain, marks and profile of a morning", bar="with bronze <= 15 core-s a day")
def a_morning() -> Measure:
    """From records in memory, 2,000 contracts, 210 minutes, 600,000 quotes."""
    day, mids, end = morning(3)
    note = f"{len(day.chain):,} contracts, {len(day._quotes):,} quotes, {len(day._trades):,} trades"
    return Measure(median_seconds(lambda: made_of(day, mids, end, end, OptionParams()), runs=3), "s", 3, note)
