"""Prices, implied volatilities and greeks against 70 digits; the gamma of a book against the sum over its contracts."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from engine.options import black76
from tests.reference import black76_twin as twin

BOUNDS = {"delta": 1e-12, "gamma": 1e-10, "vega": 1e-10, "vanna": 1e-10, "charm": 1e-10, "price": 1e-10}
ORDER = tuple(BOUNDS)


def contracts(n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Random contracts: half an hour to 90 days, within 10% of a future of 3,000 to 8,000 points."""
    rng = np.random.default_rng(seed)
    f = rng.uniform(3000, 8000, n)
    sigma = rng.uniform(0.06, 0.9, n)
    t = np.exp(rng.uniform(np.log(1800), np.log(90 * 86_400), n)) / (365 * 86_400)
    k = f * np.exp(np.clip(rng.normal(0, 1.5, n) * sigma * np.sqrt(t), -0.1, 0.1))
    return f, k, t, sigma, rng.choice([-1.0, 1.0], n)


def worst_errors(n: int, seed: int) -> dict[str, float]:
    """Largest error of each greek over random contracts: of delta absolute, of a price in points, else relative to its own scale."""
    f, k, t, sigma, c = contracts(n, seed)
    r = 0.043
    found = black76.greeks(f, k, t, r, sigma, c)
    expected = np.array([twin.all_of(f[i], k[i], t[i], r, sigma[i], int(c[i])) for i in range(n)]).T
    v = sigma * np.sqrt(t)
    dense = np.abs(expected[1]) * f * v  # gamma without its units: the scale of vanna and charm, which pass through zero
    scale = {"gamma": expected[1], "vega": expected[2], "vanna": dense * (1 + v) / sigma, "charm": dense / t + r}
    return {name: float(np.max(np.abs(found[j] - expected[j]) / np.abs(scale.get(name, np.ones(n))))) for j, name in enumerate(ORDER)}


def test_greeks_are_the_derivatives_of_the_price_to_the_last_digits() -> None:
    worst = worst_errors(150, 1)
    assert {name: error for name, error in worst.items() if error > BOUNDS[name]} == {}


def test_the_price_is_the_mean_payoff() -> None:
    f, k, t, sigma, c = contracts(8, 2)
    made = black76.prices(f, k, t, 0.04, sigma, c)
    expected = [twin.expected_payoff(*map(float, (f[i], k[i], t[i], 0.04, sigma[i])), int(c[i])) for i in range(8)]
    assert made == pytest.approx(expected, abs=1e-7, rel=1e-9)


def test_the_distribution_function_is_right_far_out() -> None:
    from decimal import Decimal

    for x in (-11.5, -6.0, -1.25, 0.0, 0.7, 3.0):
        assert black76.normal(x) == pytest.approx(float(twin.normal(Decimal(x))), rel=1e-13)


def out_of_the_money(n: int, seed: int) -> tuple[np.ndarray, ...]:
    f, k, t, sigma, _ = contracts(n, seed)
    c = np.where(k >= f, 1.0, -1.0)
    price = black76.prices(f, k, t, 0.05, sigma, c)
    use = price >= 0.05
    return tuple(a[use] for a in (price, f, k, t, c, sigma))


def test_every_price_of_five_cents_and_more_gives_its_volatility_back() -> None:
    price, f, k, t, c, sigma = out_of_the_money(20_000, 3)
    found = black76.implied(price, f, k, t, 0.05, c)
    assert len(found) > 10_000
    assert not np.isnan(found).any()
    assert np.max(np.abs(found - sigma)) < 1e-10


def test_prices_that_no_volatility_makes_have_none() -> None:
    # one that is worth nothing, less than nothing, its intrinsic value, the future itself, and one that has expired
    price = np.array([0.0, -1.0, 100.0, 6000.0, 10.0])
    k = np.array([6100.0, 6100.0, 5900.0, 6100.0, 6100.0])
    t = np.array([0.01, 0.01, 0.01, 0.01, 0.0])
    f, c = np.full(5, 6000.0), np.ones(5)
    assert np.isnan(black76.implied(price, f, k, t, 0.0, c)).all()


def book(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    k = np.repeat(np.arange(5600.0, 6400.0, 5.0), -(-n // 160))[:n]
    t = rng.choice([0.00002, 0.0005, 0.003, 0.02, 0.2], n)
    return k, t, rng.uniform(0.08, 0.5, n), rng.normal(0, 500, (n, 2))


def test_the_gamma_of_a_book_is_the_sum_over_its_contracts() -> None:
    k, t, sigma, weight = book(300, 4)
    p = np.arange(5920.0, 6081.0)
    made = black76.gamma_at(p, k, t, 0.04, sigma, weight)
    grid = np.exp(np.log(5500.0) + 0.002 * np.arange(80))
    fast = black76.gamma_on_grid(np.log(5500.0), 0.002, 80, k, t, 0.04, sigma, weight)
    for w in range(2):
        args = (k.tolist(), t.tolist(), 0.04, sigma.tolist())
        gross = [twin.gamma_sum(x, *args, np.abs(weight[:, w]).tolist()) for x in p]
        expected = [twin.gamma_sum(x, *args, weight[:, w].tolist()) for x in p]
        assert np.max(np.abs(made[:, w] - expected) / gross) < 1e-12
        expected = np.array([twin.gamma_sum(x, *args, weight[:, w].tolist()) for x in grid])
        gross = np.array([twin.gamma_sum(x, *args, np.abs(weight[:, w]).tolist()) for x in grid])
        assert np.max(np.abs(fast[:, w] - expected) / np.maximum(gross, gross.max() * 1e-9)) < 1e-11


@pytest.mark.parametrize(("strike", "volatility", "delta"), [(5230.0, 0.1148, -0.5484), (5250.0, 0.1133, -0.5874)])
def test_two_puts_of_a_real_morning(strike: float, volatility: float, delta: float) -> None:
    """ESM4 at 5199.125 on 9 May 2024 at 09:55 UTC, expiring on 21 June at 13:30 UTC; volatilities of the real quotes' mids."""
    f, k, sigma = np.array([5199.125]), np.array([strike]), np.array([volatility])
    left = dt.datetime(2024, 6, 21, 13, 30) - dt.datetime(2024, 5, 9, 9, 55)
    t, c = np.array([left.total_seconds() * 1e9 / black76.YEAR_NS]), np.array([-1.0])
    found, *_, price = black76.greeks(f, k, t, 0.053, sigma, c)
    assert found[0] == pytest.approx(delta, abs=2e-4)
    # The put is in the money: its volatility is asked of the call, by parity.
    call = price + np.exp(-0.053 * t) * (f - k)
    assert black76.implied(call, f, k, t, 0.053, -c)[0] == pytest.approx(volatility, abs=1e-12)


def test_gamma_is_that_of_five_minutes_at_least() -> None:
    """At the money it would grow without bound: 0.16 at five minutes, 2.7 at a second (6,000 points, 15% a year)."""
    at = [np.array([x]) for x in (6000.0, 6000.0)]
    one = [
        float(black76.greeks(*at, np.array([max(s * 1e9, black76.LEAST_NS) / black76.YEAR_NS]), 0.0, np.array([0.15]), np.ones(1))[1][0])
        for s in (1.0, 60.0, 300.0, 3600.0)
    ]
    assert one[0] == one[1] == one[2] == pytest.approx(0.14, abs=0.03)
    assert one[3] < one[2]
