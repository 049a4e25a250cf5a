"""What hedgers of a chain would trade at each price, minute by minute, and the prices at which that stands out: walls and zero gamma.

Gamma of calls and of puts is kept unsigned, by open interest, and what customers bought and sold since, signed, apart from it. An
assumption about who holds what (`RULES`) is a sum of these four, and changing it computes nothing again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.options import black76
from engine.options.chain import BUCKETS
from engine.options.marks import MINUTE_NS, Marks, years_left
from engine.params import OptionParams

PARTS = ("call_gamma", "put_gamma", "call_flow_gamma", "put_flow_gamma")
SCOPES = ("0dte", "week", "all")
"""Expiring on the session's date; within a week, that date included; all."""

RULES = {"naive": (1.0, -1.0, 0.0, 0.0), "flow": (0.0, 0.0, 1.0, 1.0), "hybrid": (1.0, -1.0, 1.0, 1.0)}
"""Weight of each of `PARTS` in dealers' gamma. naive: they hold the calls and owe the puts; flow: they hold what customers sold since the
open interest, and owe what those bought; hybrid: both."""

STEP_POINTS = 1.0
GRID = 81


@dataclass(frozen=True)
class Book:
    """Positions by strike at every minute ``(minutes, strikes)``: open interest of calls and puts, what dealers gained of each since."""

    call_oi: NDArray[np.float64]
    put_oi: NDArray[np.float64]
    call_flow: NDArray[np.float64]
    put_flow: NDArray[np.float64]
    oi_ns: NDArray[np.int64]

    def weights(self, minute: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Positions of some strikes at a minute, ``(rows, 4)``, in the order of `PARTS`."""
        return np.column_stack([a[minute, rows] for a in (self.call_oi, self.put_oi, self.call_flow, self.put_flow)])


@dataclass(frozen=True)
class Profile:
    """Gamma by minute, scope, price and part ``(minutes, scopes, rows, 4)``, in contracts a point; `row_price` is ``(minutes, rows)``.

    used, dropped: contracts of each scope with and without a volatility ``(minutes, scopes)``
    walls: strike of the most call and of the most put gamma, with inertia ``(minutes, scopes, 2)``
    zero: where dealers' gamma changes its sign, nearest to the future ``(minutes, scopes, rules)``; NaN where nowhere
    """

    row_price: NDArray[np.float64]
    gamma: NDArray[np.float64]
    used: NDArray[np.int64]
    dropped: NDArray[np.int64]
    walls: NDArray[np.float64]
    zero: NDArray[np.float64]


def scope_rows(bucket: list[str], scope: str) -> NDArray[np.bool_]:
    """Which strikes a scope counts."""
    within = BUCKETS[: SCOPES.index(scope) + 1]
    return np.array([b in within for b in bucket], np.bool_)


def build_profile(
    k: NDArray[np.float64], expiry: NDArray[np.int64], bucket: list[str], contracts: NDArray[np.int64], marks: Marks, book: Book,
    params: OptionParams,
) -> Profile:  # fmt: skip
    """Profile of a session: strikes `k` with their expiries and buckets, and the contracts that each has at a minute (0 to 2)."""
    m, half = len(marks.minutes), params.profile_rows // 2
    offsets = np.arange(-half, half + 1) * STEP_POINTS
    rows = np.round(marks.f_mid)[:, None] + offsets[None, :]
    gamma = np.full((m, len(SCOPES), len(offsets), 4), np.nan)
    used, dropped = np.zeros((2, m, len(SCOPES)), np.int64)
    walls, zero = np.full((m, len(SCOPES), 2), np.nan), np.full((m, len(SCOPES), len(RULES)), np.nan)
    scopes = [scope_rows(bucket, s) for s in SCOPES]
    distinct, number = np.unique(k, return_inverse=True)
    inertia = [[Inertia(params) for _ in range(2)] for _ in SCOPES]
    for i in range(m):
        alive = expiry > marks.minutes[i]
        known = ~np.isnan(marks.iv[i])
        for s, inside in enumerate(scopes):
            used[i, s], dropped[i, s] = contracts[i, inside & known].sum(), contracts[i, inside & alive & ~known].sum()
        if np.isnan(marks.f_mid[i]) or not known.any():
            continue
        done = np.zeros(len(k), np.bool_)
        made = np.zeros((len(offsets), 4))
        grid = np.zeros((GRID, 4))
        x0, step = (
            np.log(marks.f_mid[i]) + np.log1p(-params.zero_band),
            (np.log1p(params.zero_band) - np.log1p(-params.zero_band)) / (GRID - 1),
        )
        here = np.zeros((len(k), 2))
        for s, inside in enumerate(scopes):
            new = np.flatnonzero(inside & known & ~done)
            done[new] = True
            if len(new):
                of = (k[new], years_left(expiry[new], np.full(len(new), marks.minutes[i])), params.rate, marks.iv[i, new])
                weight = np.ascontiguousarray(book.weights(i, new))
                made = made + black76.gamma_at(rows[i], *of, weight)
                grid = grid + black76.gamma_on_grid(x0, step, GRID, *of, weight)
                at_f = black76.greeks(np.full(len(new), marks.f_mid[i]), of[0], of[1], params.rate, of[3], np.ones(len(new)))[1]
                here[new] = at_f[:, None] * weight[:, :2]
            gamma[i, s] = made
            by_strike = np.column_stack([np.bincount(number, here[:, j], len(distinct)) for j in range(2)])
            for j in range(2):
                walls[i, s, j] = inertia[s][j].hold(distinct, by_strike[:, j])
            for r, weights in enumerate(RULES.values()):
                # The rows are finer; what crosses zero among them is nearer than what does beyond.
                near = nearest_zero(rows[i], made @ np.array(weights), marks.f_mid[i])
                beyond = (np.exp(x0 + step * np.arange(GRID)), grid @ np.array(weights), marks.f_mid[i])
                zero[i, s, r] = nearest_zero(*beyond) if np.isnan(near) else near
    return Profile(rows, gamma, used, dropped, walls, zero)


def nearest_zero(price: NDArray[np.float64], value: NDArray[np.float64], f: float) -> float:
    """Price nearest to `f` at which values on a rising grid change their sign, by a straight line between the two; NaN where none does."""
    i = np.flatnonzero(value[:-1] * value[1:] < 0)
    if not len(i):
        return np.nan
    at = price[i] + (price[i + 1] - price[i]) * value[i] / (value[i] - value[i + 1])
    return float(at[np.argmin(np.abs(at - f))])


class Inertia:
    """A wall's strike: it moves only when another has led it by a share for some minutes. The plain maximum moves back and forth between
    two strikes of one size, and a level that does so is touched where nobody traded.
    """

    def __init__(self, params: OptionParams) -> None:
        self.lead, self.minutes = params.wall_lead, params.wall_minutes
        self.strike, self.rival, self.since = np.nan, np.nan, 0

    def hold(self, strikes: NDArray[np.float64], gamma: NDArray[Any]) -> float:
        """The strike that is the wall after one more minute; NaN where there is no gamma at all."""
        best = int(np.argmax(gamma))
        if gamma[best] <= 0:
            return self.strike
        mine = gamma[np.flatnonzero(strikes == self.strike)] if not np.isnan(self.strike) else np.zeros(0)
        if not len(mine):
            self.strike, self.rival, self.since = float(strikes[best]), np.nan, 0
        elif strikes[best] != self.strike and gamma[best] >= (1 + self.lead) * mine[0]:
            self.since = self.since + 1 if strikes[best] == self.rival else 1
            self.rival = float(strikes[best])
            if self.since >= self.minutes:
                self.strike, self.rival, self.since = self.rival, np.nan, 0
        else:
            self.rival, self.since = np.nan, 0
        return self.strike


def steps_of(minutes: NDArray[np.int64], value: NDArray[np.float64], end_ns: int) -> list[tuple[int, int, float]]:
    """(start, end, value) of a value that is known from the end of each minute on; spans of NaN are left out."""
    start = minutes + MINUTE_NS
    changed = np.flatnonzero(np.append(True, (value[1:] != value[:-1]) & ~(np.isnan(value[1:]) & np.isnan(value[:-1]))))
    ends = np.append(start[changed[1:]], end_ns)
    return [(int(start[a]), int(e), float(value[a])) for a, e in zip(changed, ends) if not np.isnan(value[a]) and start[a] < e]
