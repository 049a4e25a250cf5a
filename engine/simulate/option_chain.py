"""The simulated chain: which options are listed on a date, what they are worth, and what customers and dealers hold of them."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.options import black76
from engine.sessions import to_ns
from engine.simulate import calendar as cal
from engine.simulate.rng import hash_words
from engine.vocab import Root

NEAR, FAR = 0.03, 0.08
STEP, FAR_STEP = 5.0, 25.0
DAILIES = 5
RATE = 0.04
ID_BASE = 1 << 28
OPEN_INTEREST = 1_200_000.0
"""Contracts of the whole chain, about."""

MONTHS = "FGHJKMNQUVXZ"
ROUNDNESS = ((100.0, 4.0), (50.0, 2.0), (25.0, 1.3))
_WEEKDAYS = "ABCD"


@dataclass(frozen=True)
class Expiry:
    """One expiry: its day and time, the product and month of its symbols, exercise (E or A), its future, and its share of open interest."""

    date: dt.date
    expiration_ns: int
    product: str
    month: str
    exercise: str
    underlying: cal.Contract
    share: float


def _trading_days(date: dt.date, n: int) -> list[dt.date]:
    found: list[dt.date] = []
    day = date
    while len(found) < n:
        if not cal.is_shut(day):
            found.append(day)
        day += dt.timedelta(days=1)
    return found


def expiries(root: Root, date: dt.date) -> list[Expiry]:
    """The expiries that are listed on a date: the next five days, two more Fridays, a month end, the two quarterly ones."""
    front, following = cal.listed(root, date)
    days = _trading_days(date, DAILIES)
    fridays = [d for d in _trading_days(days[-1] + dt.timedelta(days=1), 15) if d.weekday() == 4][:2]
    first_of_next = (date.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    month_end = next(d for d in (first_of_next - dt.timedelta(days=k) for k in range(1, 8)) if not cal.is_shut(d))
    found: dict[dt.date, Expiry] = {}
    for day in sorted({*days, *fridays, month_end}):
        if day < date:
            continue
        week = (day.day - 1) // 7 + 1
        letter = f"{MONTHS[day.month - 1]}{day.year % 10}"
        if day == month_end:
            product, share = "EW", 0.10
        elif day.weekday() == 4:
            product, share = f"EW{week}" if week < 5 else "EW", 0.12
        else:
            product, share = f"E{week}{_WEEKDAYS[day.weekday()]}", 0.05
        under = front if day <= front.expiry else following
        found[day] = Expiry(day, to_ns(day, dt.time(16)), product, letter, "E", under, share)
    for contract in (front, following):
        expiration = to_ns(contract.expiry, dt.time(9, 30))
        letter = f"{MONTHS[contract.expiry.month - 1]}{contract.expiry.year % 10}"
        quarterly = Expiry(contract.expiry, expiration, root.code, letter, "A", contract, 0.22)
        # The third Friday is the quarterly expiry's own; no weekly expires on it.
        found[contract.expiry] = quarterly
    return [found[d] for d in sorted(found)]


@dataclass(frozen=True)
class Chain:
    """A date's contracts, an array per quantity; `expiry` numbers `expiries`, `right` is +1 or -1. `carry` is what the contract's future
    costs above the front one, in points. `dealers` is what dealers truly hold at the start of the date.
    """

    expiries: list[Expiry]
    expiry: NDArray[np.int64]
    strike: NDArray[np.float64]
    right: NDArray[np.float64]
    expiration_ns: NDArray[np.int64]
    carry: NDArray[np.float64]
    instrument_id: NDArray[np.int64]
    symbol: list[str]
    oi: NDArray[np.int64]
    dealers: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.strike)


def _uniform(*words: int) -> float:
    return (hash_words(*words) + 0.5) / 2.0**64


def _normal(*words: int) -> float:
    return math.sqrt(-2 * math.log(_uniform(*words, 1))) * math.cos(2 * math.pi * _uniform(*words, 2))


def make_chain(root: Root, date: dt.date, price: float, seed: int, main: cal.Contract) -> Chain:
    """The chain of a date around the future's price at its start, in points: the same contract has one id, and one noise, on all dates."""
    listed = expiries(root, date)
    near = np.arange(math.ceil(price * (1 - NEAR) / STEP) * STEP, price * (1 + NEAR), STEP)
    far = np.arange(math.ceil(price * (1 - FAR) / FAR_STEP) * FAR_STEP, price * (1 + FAR), FAR_STEP)
    strikes = np.union1d(near, far)
    rows: list[tuple[Any, ...]] = []
    for j, e in enumerate(listed):
        carry = (cal.carry_ticks(root, e.underlying, date) - cal.carry_ticks(root, main, date)) * root.tick_size
        days = max((e.date - date).days, 0)
        width = price * 0.012 * math.sqrt(days + 2)
        together = {right: _normal(seed, e.date.toordinal(), right, 5) for right in (1, -1)}
        for k in strikes.tolist():
            round_by = next((times for step, times in ROUNDNESS if k % step == 0), 1.0)
            for right in (1, -1):
                number = ID_BASE + ((e.date.toordinal() % 2048) * 4096 + int(k / STEP) % 4096) * 2 + (right < 0)
                noise = -math.log(_uniform(seed, number, 1)) - math.log(_uniform(seed, number, 2))  # Gamma, of shape 2
                inside = 0.25 if right * (price - k) > 0 else 1.0
                size = e.share * math.exp(-abs(k - price) / width) / width * round_by * noise * inside
                # Dealers' share of what is open: on the whole customers sell calls and buy puts, but not of every expiry, nor every strike.
                mix = min(1.0, max(-1.0, right * 0.45 + 0.3 * together[right] + 0.3 * _normal(seed, number, 3)))
                symbol = f"{e.product}{e.month} {'C' if right > 0 else 'P'}{k:g}"
                rows.append((j, k, right, e.expiration_ns, carry, number, symbol, size, mix))
    expiry, strike, right_, expiration, carry_, number_, symbol_, size_, mix_ = zip(*rows)
    sizes = np.array(size_)
    oi = np.floor(sizes / sizes.sum() * OPEN_INTEREST).astype(np.int64)
    return Chain(
        listed, np.array(expiry), np.array(strike), np.array(right_, np.float64), np.array(expiration), np.array(carry_),
        np.array(number_), list(symbol_), oi, np.round(oi * np.array(mix_)),
    )  # fmt: skip


def level_of_volatility(seed: int, date: dt.date) -> float:
    """At-the-money volatility of a date, a year: a walk that forgets in about ten days."""
    total = 0.0
    for back in range(40):
        day = (date - dt.timedelta(days=back)).toordinal()
        total += 0.9**back * _normal(seed, day, 11)
    return 0.14 * math.exp(0.10 * total)


def smile(chain: Chain, f: NDArray[np.float64], t: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Volatility of each contract: quadratic in ln(K/F)/sqrt(T), which is bounded."""
    x = np.clip(np.log(chain.strike / f) / np.sqrt(t), -0.6, 0.6)
    return level * (1.0 - 0.9 * x + 1.2 * x * x)


def fair(chain: Chain, future: float, now_ns: int, level: float) -> tuple[NDArray[np.float64], ...]:
    """Price, volatility, the contract's future and time to expiry at an instant; NaN of what has expired."""
    left = (chain.expiration_ns - now_ns) / black76.YEAR_NS
    t = np.maximum(left, 1e-9)
    f = future + chain.carry
    sigma = smile(chain, f, np.maximum(t, 1.0 / 365 / 24), level)
    price = black76.prices(f, chain.strike, t, RATE, sigma, chain.right)
    return np.where(left > 0, price, np.nan), sigma, f, t
