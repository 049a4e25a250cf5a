"""What options say near a price at a moment: which way hedgers trade there, and whether calls bought outpace puts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.options.flow import WINDOW_NS
from engine.options.profile import RULES, SCOPES
from engine.options.reading import SessionOptions, rules_disagree
from engine.params import OptionLeadParams
from engine.vocab import NS


@dataclass(frozen=True)
class OptionLead:
    """What is said of options at a price.

    rule, scope: the assumption about who holds what, and the expiries that count
    gamma: dealers' gamma there under every rule, contracts a point: positive is sold as price rises
    side: 1 where that of the rule is large enough to be told, -1 where it is negative and so, 0 where calls and puts nearly cancel
    flow: ``calls`` where calls bought and puts sold outpace the reverse, ``puts`` where those do, empty where neither does
    strikes: at which strikes, rising
    """

    rule: str
    scope: str
    gamma: Mapping[str, float]
    side: int
    flow: str = ""
    strikes: tuple[float, ...] = ()

    @property
    def disagree(self) -> bool:
        """Whether the rules disagree on the sign."""
        return rules_disagree(self.gamma)


def option_lead(
    options: SessionOptions, now_ns: int, price: float, *, scope: str, rule: str, params: OptionLeadParams | None = None
) -> OptionLead | None:
    """What is known at an instant, of nothing but what was known before, and on no earlier call; None where there is no gamma at the price.

    Hedgers' side is named from the minute on in which net gamma is ``params.share`` of gross, until its sign turns. Calls or puts are named
    from the window on in which they are ahead by ``params.lead`` of the other, until they are not ahead any more; a strike from the window
    on in which it has ``params.strike_share`` of that lead, until it has a third of that. Names are followed from ``memory_s`` on.
    """
    p = params or OptionLeadParams()
    i = options.minute(now_ns)
    if i is None:
        return None
    gamma = options.by_rule(i, scope, price)
    if np.isnan(gamma[rule]):
        return None
    flow, strikes = _flow(options, now_ns, price, scope, p)
    return OptionLead(rule, scope, gamma, _side(options, i, price, scope, rule, p), flow, strikes)


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


def _flow(options: SessionOptions, now_ns: int, price: float, scope: str, p: OptionLeadParams) -> tuple[str, tuple[float, ...]]:
    w, span = WINDOW_NS // NS, p.flow_s * NS // WINDOW_NS
    windows = span + p.memory_s // w
    strikes, up, down = options.flow_windows(now_ns, windows, WINDOW_NS, scope, price - p.reach_points, price + p.reach_points)
    if not len(strikes):
        return "", ()
    up, down = _sums(up, span), _sums(down, span)
    side, named = 0, np.zeros(len(strikes), np.bool_)
    for u, d in zip(up[span - 1 :], down[span - 1 :]):
        net, total_up, total_down = u - d, float(u.sum()), float(d.sum())
        lead, less = total_up - total_down, min(total_up, total_down)
        ahead = int(np.sign(lead))
        large = ahead and abs(lead) >= p.lead * less and abs(lead) >= p.least
        if ahead != side:
            side, named = (ahead if large else 0), np.zeros(len(strikes), np.bool_)
        if side:
            part = side * net / abs(lead)
            named = np.where(named, part >= p.strike_share / 3, part >= p.strike_share)
    if not side or not named.any():
        return "", ()
    return ("calls" if side > 0 else "puts"), tuple(float(k) for k in strikes[named])


def _sums(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Sums over the last `span` rows up to each."""
    total = np.cumsum(values, axis=0)
    total[span:] = total[span:] - total[:-span]
    return total
