"""Options: the kernels' errors against 70 digits, and what they cost."""

from __future__ import annotations

import numpy as np

from engine.options import black76
from tests.bench.harness import Measure, bench, median_seconds
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
