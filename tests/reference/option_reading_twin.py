"""What `engine.options.reading` and `engine.options.lead` say, in plain loops over the tables' rows."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

Row = dict[str, Any]
NS = 10**9
WEIGHTS = {"naive": (1, -1, 0, 0), "flow": (0, 0, 1, 1), "hybrid": (1, -1, 1, 1)}
PARTS = ("call_gamma", "put_gamma", "call_flow_gamma", "put_flow_gamma")
WITHIN = {"0dte": ("0dte",), "week": ("0dte", "week"), "all": ("0dte", "week", "rest")}


def gamma_at(profile: list[Row], now_ns: int, scope: str, price: float) -> tuple[float, float, float, float] | None:
    """The four parts at a price, of the last minute that began by an instant, on the straight line between the two rows around it."""
    begun = [r["minute_ts_ns"] for r in profile if r["minute_ts_ns"] <= now_ns]
    if not begun or now_ns - max(begun) >= 300 * NS:
        return None
    rows = {r["price"]: r for r in profile if r["minute_ts_ns"] == max(begun) and r["scope"] == scope}
    below, above = [p for p in rows if p <= price], [p for p in rows if p >= price]
    if not below or not above:
        return None
    low, high = max(below), min(above)
    share = 0.0 if low == high else (price - low) / (high - low)
    return tuple(rows[low][k] * (1 - share) + rows[high][k] * share for k in PARTS)  # type: ignore[return-value]


def net_of(parts: tuple[float, ...], rule: str) -> float:
    """Dealers' gamma under a rule."""
    return sum(w * g for w, g in zip(WEIGHTS[rule], parts))


def flow_at(flow: list[Row], now_ns: int, seconds: int, scope: str) -> dict[float, tuple[float, float, float]]:
    """(up, down, without a side) by strike, of the windows that ended in the last seconds before an instant."""
    out: dict[float, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for r in flow:
        if now_ns - seconds * NS < r["window_end_ts_ns"] <= now_ns and r["expiry_bucket"] in WITHIN[scope]:
            sums = out[r["strike"]]
            sums[0] += r["call_bought_es"] + r["put_sold_es"]
            sums[1] += r["put_bought_es"] + r["call_sold_es"]
            sums[2] += r["call_unsigned_es"] + r["put_unsigned_es"]
    return {k: (u, d, n) for k, (u, d, n) in out.items()}


def levels_at(levels: list[Row], now_ns: int, scope: str, rule: str) -> dict[str, float]:
    """Price of each level that an instant has."""
    return {
        r["level_id"]: r["price"]
        for r in levels
        if r["scope"] == scope and r["rule"] in ("oi", rule) and r["start_ts_ns"] <= now_ns < r["end_ts_ns"]
    }


def side_at(profile: list[Row], now_ns: int, scope: str, rule: str, price: float, share: float, memory_s: int) -> int:
    """The side of hedgers, followed minute by minute."""
    last = max(r["minute_ts_ns"] for r in profile if r["minute_ts_ns"] <= now_ns)
    side = 0
    for minute in sorted({r["minute_ts_ns"] for r in profile if last - memory_s * NS <= r["minute_ts_ns"] <= last}):
        parts = gamma_at(profile, minute, scope, price)
        if parts is None:
            side = 0
            continue
        net, gross = net_of(parts, rule), sum(abs(w * g) for w, g in zip(WEIGHTS[rule], parts))
        if (side > 0) != (net > 0):
            side = 0
        if net and abs(net) >= share * gross:
            side = 1 if net > 0 else -1
    return side


def part_at(flow: list[Row], now_ns: int, scope: str, price: float, p: Any, column: str) -> float:
    """What was traded of one kind near a price, contracts of the future."""
    total = 0.0
    for r in flow:
        near = abs(r["strike"] - price) <= p.reach_points and r["expiry_bucket"] in WITHIN[scope]
        if near and now_ns - p.flow_s * NS < r["window_end_ts_ns"] <= now_ns:
            total += r[column]
    return total


KINDS = {
    1: {"calls bought": "call_bought_es", "puts sold": "put_sold_es"},
    -1: {"puts bought": "put_bought_es", "calls sold": "call_sold_es"},
}


def named_at(flow: list[Row], now_ns: int, scope: str, price: float, p: Any) -> tuple[str, str, tuple[float, ...]]:
    """Up or down, what most of it is, and the strikes, followed window by window."""
    last = now_ns // (5 * NS) * 5 * NS
    side, mostly, named = 0, "", set[float]()
    for end in range(last - p.memory_s * NS, last + 1, 5 * NS):
        at = {k: v for k, v in flow_at(flow, end, p.flow_s, scope).items() if abs(k - price) <= p.reach_points}
        up, down = sum(v[0] for v in at.values()), sum(v[1] for v in at.values())
        lead = up - down
        ahead = (lead > 0) - (lead < 0)
        if ahead != side:
            large = ahead and abs(lead) >= p.lead * min(up, down) and abs(lead) >= p.least
            side, mostly, named = ahead if large else 0, "", set()
        if side:
            parts = {k: side * (v[0] - v[1]) / abs(lead) for k, v in at.items()}
            named = {k for k, part in parts.items() if part >= p.strike_share / (3 if k in named else 1)}
            of = {kind: part_at(flow, end, scope, price, p, column) / max(up, down) for kind, column in KINDS[side].items()}
            most = [kind for kind, share in of.items() if share >= 0.6 or (kind == mostly and share >= 0.5)]
            mostly = most[0] if most else ""
    return {1: "up", -1: "down", 0: ""}[side], mostly, tuple(sorted(named))


def oi_date(chain: list[Row], at: int) -> dt.date:
    """Trade date of the open interest that was received at an instant."""
    return max(r["oi_ref_date"] for r in chain if r["oi_ts_ns"] == at)
