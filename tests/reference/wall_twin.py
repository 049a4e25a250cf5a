"""Slow twin of the wall features: one moment at a time from the rows of a ladder's tables, written from their formulas alone."""

from __future__ import annotations

from math import log

from tests.reference.ladder_twin import TwinLadder

OWN, AT, BEHIND = range(1), range(3), range(3, 15)
"""Ticks beyond the level that are its own price, the wall, and what stands behind that."""


def ratio(a: float, b: float) -> float:
    return log((a + 1) / (b + 1))


def wall_features(twin: TwinLadder, end_s: int, level: int, up: bool) -> dict[str, float]:
    """Features by name at the end of second ``end_s - 1``."""
    side, other, sign = ("ask", "bid", 1) if up else ("bid", "ask", -1)

    def start_of(seconds: int) -> int:
        """First second of a span: it goes back over seconds whose book is valid."""
        s = end_s
        while s > twin.start_s and end_s - s < seconds and twin.tape[s - 1]["book_valid"]:
            s -= 1
        return min(s, end_s - 1)

    far = [s for s in range(max(end_s - 300, twin.start_s), end_s) if is_far(twin.tape[s]["last_tick"], level, sign)]
    begin = max(far) + 1 if far else end_s - 300
    spans = {"30s": start_of(30), "approach": start_of(end_s - begin)}

    def cells(what: str, first: int, beyond: range | None) -> int:
        """Ticks and seconds with a flow."""
        return sum(
            row[f"{side}_{what}"] > 0 and (beyond is None or sign * (tick - level) in beyond)
            for s in range(first, end_s)
            for tick, row in twin.rows[s].items()
        )

    def contracts(what: str, first: int, beyond: range) -> int:
        return sum(
            row[f"{side}_{what}"] for s in range(first, end_s) for tick, row in twin.rows[s].items() if sign * (tick - level) in beyond
        )

    def standing(what: str, second: int, beyond: range) -> int:
        return sum(twin.book(second).get((side, what, level + sign * n), 0) for n in beyond)

    def mean(what: str, first: int, beyond: range) -> float:
        return sum(standing(what, s, beyond) for s in range(first, end_s)) / (end_s - first)

    def opposite_pulled(first: int) -> int:
        total = 0
        for s in range(first, end_s):
            best = twin.tape[s][f"best_{other}_tick"]
            total += sum(r[f"{other}_pull"] for tick, r in twin.rows[s].items() if best is not None and 0 <= sign * (best - tick) < 4)
        return total

    ends = {n: standing("orders", end_s - 1, zone) for n, zone in (("at", AT), ("own", OWN), ("behind", BEHIND))}
    out = {"w1_orders_share_end": ratio(ends["at"], ends["behind"]), "w10_own_orders_share_end": ratio(ends["own"], ends["behind"])}
    for name, first in spans.items():
        at_adds = cells("add", first, AT)
        size = sum(twin.tape[s][f"{other}_size"] for s in range(first, end_s)) / (end_s - first)
        out |= {
            f"w1_orders_share_{name}": ratio(mean("orders", first, AT), mean("orders", first, BEHIND)),
            f"w2_adds_share_{name}": ratio(at_adds, cells("add", first, None) - at_adds),
            f"w3_pulls_per_order_{name}": ratio(cells("pull", first, AT), mean("orders", first, AT)),
            f"w4_behind_pulls_per_order_{name}": ratio(cells("pull", first, BEHIND), mean("orders", first, BEHIND)),
            f"w5_opposite_pulled_{name}": ratio(opposite_pulled(first), size),
            f"w6_added_share_{name}": ratio(contracts("add", first, AT), contracts("add", first, BEHIND)),
            f"w7_pulled_{name}": ratio(contracts("pull", first, AT), mean("depth", first, AT)),
            f"w8_behind_pulled_{name}": ratio(contracts("pull", first, BEHIND), mean("depth", first, BEHIND)),
            f"w10_own_orders_share_{name}": ratio(mean("orders", first, OWN), mean("orders", first, BEHIND)),
            f"w11_own_adds_share_{name}": ratio(cells("add", first, OWN), cells("add", first, BEHIND)),
            f"w12_own_pulls_per_order_{name}": ratio(cells("pull", first, OWN), mean("orders", first, OWN)),
        }
    return out | {"w9_approach_log": log(1 + end_s - spans["approach"])}


def is_far(last: int | None, level: int, sign: int) -> bool:
    """Whether a trade is 10 ticks or more in front of the level."""
    return last is not None and sign * (last - level) <= -10
