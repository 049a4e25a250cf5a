"""Twins of the chain's marks, profile and walls: one contract, one minute, one price at a time, from the words of docs/GAMMA.md."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.reference.black76_twin import gamma_sum

YEAR = 365 * 86_400 * 10**9
NONE = 2**63 - 1


def value(f: float, k: float, t: float, r: float, sigma: float, c: int) -> float:
    v = sigma * math.sqrt(t)
    d1 = math.log(f / k) / v + v / 2

    def normal(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    return math.exp(-r * t) * c * (f * normal(c * d1) - k * normal(c * (d1 - v)))


def volatility(price: float, f: float, k: float, t: float, r: float, c: int) -> float:
    """By halving, between 0 and 20."""
    low, high = 1e-9, 20.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if value(f, k, t, r, middle, c) < price else (low, middle)
    return low


def mark(quotes: Sequence[dict], mid_at, minute: int, expiry: int, k: float, r: float) -> tuple[str, float | None]:
    """("mid", volatility), ("cheap", None) or ("none", None) of a strike; quotes of its call (right 1) and put (-1), in order of time."""
    newest = None
    for q in quotes:
        bid, ask = q["bid"], q["ask"]
        nearly_nothing = bid is None and ask is not None and ask <= 0.10
        if nearly_nothing:
            bid = 0.0
        if bid is None or ask is None or ask <= bid or ask - bid > max(2.0, 0.25 * (ask + bid)):
            continue
        if not minute - 900 * 10**9 <= q["at"] < minute:
            continue
        f = mid_at(q["at"])
        if f is None or q["right"] * (k - f) < 0:
            continue
        newest = (q, bid, ask, f)
    if newest is None:
        return "none", None
    q, bid, ask, f = newest
    if (bid + ask) / 2 < 0.05 or bid == 0:
        return "cheap", None
    return "mid", volatility((bid + ask) / 2, f, k, (expiry - q["at"]) / YEAR, r, q["right"])


def gamma_of_part(price: float, minute: int, strikes: Sequence[tuple[int, float, float, float]], r: float) -> float:
    """Sum of position times gamma: strikes are (expiry, strike, volatility, position)."""
    left = [max(e - minute, 300 * 10**9) / YEAR for e, *_ in strikes]
    return gamma_sum(price, [k for _, k, _, _ in strikes], left, r, [s for _, _, s, _ in strikes], [w for *_, w in strikes])


def wall(history: Sequence[dict[float, float]], lead: float = 0.10, minutes: int = 3) -> list[float]:
    """The wall after each minute: gamma by strike. It moves to a strike that has been the largest, and led it by `lead`, for `minutes`."""
    held: float | None = None
    out = []
    for i, gamma in enumerate(history):
        best = max(gamma, key=lambda k: (gamma[k], -k))
        if held is None:
            held = best
        else:
            recent = history[max(0, i - minutes + 1) : i + 1]
            tops = [max(g, key=lambda k: (g[k], -k)) for g in recent]
            led = [g[best] >= (1 + lead) * g[held] for g in recent]
            if best != held and len(recent) == minutes and set(tops) == {best} and all(led) and not _moved(out, held, minutes - 1):
                held = best
        out.append(held)
    return out


def _moved(out: Sequence[float], held: float, back: int) -> bool:
    """Whether the wall came to `held` within the last minutes: before that it was another one's turn."""
    return any(w != held for w in out[len(out) - back :]) if back and len(out) >= back else False
