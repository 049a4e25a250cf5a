"""What options say near a price at a moment: which way hedgers trade there, and which way trades push."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.options.flow import WINDOW_NS
from engine.options.profile import RULES, SCOPES
from engine.options.reading import DOWN, UP, SessionOptions, rules_disagree
from engine.params import OptionLeadParams
from engine.vocab import NS

MOSTLY = 0.6
"""A side's trades are named by one of its two parts from this share of it on, until the part is less than half of it."""


@dataclass(frozen=True)
class OptionLead:
    """What is said of options at a price.

    rule, scope: the assumption about who holds what, and the expiries that count
    gamma: dealers' gamma there under every rule that is known, contracts a point: positive is sold as price rises
    side: 1 where that of the rule is large enough to be told, -1 where it is negative and so, 0 where calls and puts nearly cancel
    flow: ``up`` where calls bought and puts sold outpace the reverse, ``down`` where those do, empty where neither does
    mostly: what most of that was, such as ``calls bought``; empty where neither of the two was
    strikes: at which strikes, rising; none where it is spread over several
    """

    rule: str
    scope: str
    gamma: Mapping[str, float]
    side: int
    flow: str = ""
    mostly: str = ""
    strikes: tuple[float, ...] = ()

    @property
    def disagree(self) -> bool:
        """Whether the rules disagree on the sign."""
        return rules_disagree(self.gamma)


def option_lead(
    options: SessionOptions, now_ns: int, price: float, *, scope: str, rule: str, params: OptionLeadParams | None = None
) -> OptionLead | None:
    """What is known at an instant, of nothing but what was known before, and on no earlier call; None where no gamma at the price is
    known under the rule: beyond the profile, of expiries of which there are none, of open interest before the first, of trades before any.

    Hedgers' side is named from the minute on in which net gamma is ``params.share`` of gross, until its sign turns. The way trades push is
    named from the window on in which one is ahead by ``params.lead`` of the other, until it is not ahead any more; a strike from the window
    on in which it has ``params.strike_share`` of that lead, until it has a third of that; what most of it is, by `MOSTLY`. Names are
    followed from ``memory_s`` on.
    """
    p = params or OptionLeadParams()
    i = options.minute(now_ns)
    if i is None:
        return None
    gamma = {name: g for name, g in options.by_rule(i, scope, price).items() if not np.isnan(g)}
    if rule not in gamma or not (options.parts(i, scope, np.array([price]))[0] * np.array(RULES[rule])).any():
        return None
    return OptionLead(rule, scope, gamma, _side(options, i, price, scope, rule, p), *_flow(options, now_ns, price, scope, p))


def _side(options: SessionOptions, minute: int, price: float, scope: str, rule: str, p: OptionLeadParams) -> int:
    first = int(np.searchsorted(options.minutes, options.minutes[minute] - p.memory_s * NS))
    at = np.arange(first, minute + 1)
    x = price - options.price[at, 0]
    made, weights = options.gamma[at, SCOPES.index(scope)], np.array(RULES[rule])
    low = np.clip(np.floor(x).astype(int), 0, made.shape[1] - 2)
    step = options.price[at, low + 1] - options.price[at, low]
    share = ((price - options.price[at, low]) / step)[:, None]
    rows = np.arange(len(at))
    parts = made[rows, low] * (1 - share) + made[rows, low + 1] * share
    net, gross = parts @ weights, np.abs(parts * weights).sum(axis=1)
    inside = (x >= 0) & (price <= options.price[at, -1])
    side = 0
    for n, g, there in zip(net.tolist(), gross.tolist(), inside.tolist()):
        if not there or side * n <= 0:
            side = 0
        if there and abs(n) >= p.share * g and n:
            side = 1 if n > 0 else -1
    return side


def _flow(options: SessionOptions, now_ns: int, price: float, scope: str, p: OptionLeadParams) -> tuple[str, str, tuple[float, ...]]:
    """Which way trades push, what most of that is, and at which strikes."""
    w, span = WINDOW_NS // NS, p.flow_s * NS // WINDOW_NS
    windows = span + p.memory_s // w
    strikes, traded = options.flow_windows(now_ns, windows, WINDOW_NS, scope, price - p.reach_points, price + p.reach_points)
    if not len(strikes):
        return "", "", ()
    parts = {c: _sums(values, span)[span - 1 :] for c, values in traded.items()}
    up, down = (parts[a] + parts[b] for a, b in (UP, DOWN))
    side, mostly, named = 0, "", np.zeros(len(strikes), np.bool_)
    for i, (u, d) in enumerate(zip(up, down)):
        net, total_up, total_down = u - d, float(u.sum()), float(d.sum())
        lead, less = total_up - total_down, min(total_up, total_down)
        ahead = int(np.sign(lead))
        large = ahead and abs(lead) >= p.lead * less and abs(lead) >= p.least
        if ahead != side:
            side, mostly, named = (ahead if large else 0), "", np.zeros(len(strikes), np.bool_)
        if side:
            part = side * net / abs(lead)
            named = np.where(named, part >= p.strike_share / 3, part >= p.strike_share)
            shares = {c: float(parts[c][i].sum()) / max(total_up, total_down) for c in (UP if side > 0 else DOWN)}
            mostly = next((c for c, share in shares.items() if share >= (0.5 if c == mostly else MOSTLY)), "")
    if not side:
        return "", "", ()
    right, _, what = mostly.partition("_")
    return ("up" if side > 0 else "down"), f"{right}s {what}" if mostly else "", tuple(float(k) for k in strikes[named])


def _sums(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Sums over the last `span` rows up to each."""
    total = np.cumsum(values, axis=0)
    total[span:] = total[span:] - total[:-span]
    return total
