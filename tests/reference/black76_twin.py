"""Twin of `engine.options.black76` in 70 decimal digits: the price from the formula, greeks as differences of the price.

It knows no formula of a greek: each is what its name says, a derivative of the price, by central differences so narrow that their own error
is beyond the digits of a float. The price itself is checked against the integral that it is of (`expected_payoff`).
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import lru_cache

DIGITS = 70
NARROW = Decimal(10) ** -15


@lru_cache(maxsize=1)
def pi() -> Decimal:
    """Machin's formula."""

    def arctan_of_inverse(n: int) -> Decimal:
        total, term, j = Decimal(0), Decimal(1) / n, 1
        while abs(term) > Decimal(10) ** -(DIGITS + 5):
            total += term / j if j % 4 == 1 else -term / j
            term /= n * n
            j += 2
        return total

    with localcontext() as context:
        context.prec = DIGITS + 10
        return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))


def normal(x: Decimal) -> Decimal:
    """N(x) = 1/2 + phi(x) (x + x^3/3 + x^5/15 + ...), all terms of one sign."""
    total = term = abs(x)
    n = 1
    while term > Decimal(10) ** -DIGITS:
        n += 2
        term *= x * x / n
        total += term
    upper = Decimal("0.5") + total * (-x * x / 2).exp() / (2 * pi()).sqrt()
    return upper if x >= 0 else 1 - upper


def price(f: Decimal, k: Decimal, t: Decimal, r: Decimal, sigma: Decimal, c: int) -> Decimal:
    """Discounted mean of the payoff of a lognormal future."""
    v = sigma * t.sqrt()
    d1 = (f / k).ln() / v + v / 2
    return (-r * t).exp() * c * (f * normal(c * d1) - k * normal(c * (d1 - v)))


def all_of(f: float, k: float, t: float, r: float, sigma: float, c: int) -> tuple[float, ...]:
    """Delta, gamma, vega, vanna, charm and price of a contract, whose numbers are taken as the exact values of the floats."""
    with localcontext() as context:
        context.prec = DIGITS
        F, K, T, R, S = map(Decimal, (f, k, t, r, sigma))
        h, s, u = F * NARROW, S * NARROW, T * NARROW

        def p(a: int = 0, b: int = 0, d: int = 0) -> Decimal:
            return price(F + a * h, K, T + d * u, R, S + b * s, c)

        here = p()
        delta = (p(1) - p(-1)) / (2 * h)
        gamma = (p(1) - 2 * here + p(-1)) / (h * h)
        vega = (p(b=1) - p(b=-1)) / (2 * s)
        vanna = (p(1, 1) - p(1, -1) - p(-1, 1) + p(-1, -1)) / (4 * h * s)
        charm = -(p(1, d=1) - p(1, d=-1) - p(-1, d=1) + p(-1, d=-1)) / (4 * h * u)
        return tuple(map(float, (delta, gamma, vega, vanna, charm, here)))


def expected_payoff(f: float, k: float, t: float, r: float, sigma: float, c: int) -> float:
    """The price as the integral of the payoff over the future's law at expiry, by the trapezoid rule after a change of variable."""
    v = sigma * math.sqrt(t)
    z0 = (math.log(k / f) + 0.5 * v * v) / v
    total, step = 0.0, 1e-3
    for j in range(1, 40_000):
        x = j * step
        z = z0 + c * x
        if abs(z) > 12 + v:
            break
        total += c * (f * math.exp(v * z - 0.5 * v * v) - k) * math.exp(-0.5 * z * z) * (4 if j % 2 else 2)
    return math.exp(-r * t) * total * step / 3 / math.sqrt(2 * math.pi)


def gamma_sum(p: float, k: list[float], t: list[float], r: float, sigma: list[float], weight: list[float]) -> float:
    """Sum of weight times gamma at a price, contract by contract, from the density."""
    total = []
    for strike, time, vol, w in zip(k, t, sigma, weight):
        v = vol * math.sqrt(time)
        d1 = math.log(p / strike) / v + v / 2
        total.append(w * math.exp(-r * time) * math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi) / (p * v))
    return math.fsum(total)
