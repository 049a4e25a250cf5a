"""The difference map the slow way: one cell, one draw, one neighbour at a time, written from retrieval's words alone."""

from __future__ import annotations

import math

from scipy.stats import norm, t


def net_before(
    rows: list[dict], valid: dict[int, bool], level: int, touch_s: int, up: bool, windows: int, window_s: int, half: int
) -> list:
    """Net pressure ``[window][row]`` before a touch, None where a second of the window is not valid; steps of one tick."""
    out = []
    for w in range(windows):
        first = touch_s - (windows - w) * window_s
        seconds = range(first, first + window_s)
        cells = []
        for r in range(-half, half + 1):
            tick = level + r if up else level - r
            long = short = 0
            for row in rows:
                if row["second"] in seconds and row["tick"] == tick:
                    long += row["bid_add"] + row["ask_pull"] + row["ask_fill"]
                    short += row["ask_add"] + row["bid_pull"] + row["bid_fill"]
            net = (long - short) / (long + short + 1)
            cells.append((net if up else -net) if all(valid.get(s, False) for s in seconds) else None)
        out.append(cells)
    return out


def interval(values: list[tuple[float | None, str, str]], draws: list[dict[str, int]], mass: float) -> tuple[float, float, float]:
    """Difference of means of one cell with its percentile interval, widened for few sessions.

    `values` are (net, class, session); each of `draws` says how often every session was drawn.
    """

    def mean(kind: str, times: dict[str, int] | None) -> float:
        total = weight = 0.0
        for net, c, session in values:
            if c == kind and net is not None:
                n = 1 if times is None else times[session]
                total += n * net
                weight += n
        return total / weight if weight else math.nan

    spread = sorted(d for n in draws if not math.isnan(d := mean("break", n) - mean("reject", n)))

    def quantile(q: float) -> float:
        at = q * (len(spread) - 1)
        low = math.floor(at)
        high = min(low + 1, len(spread) - 1)
        return spread[low] + (at - low) * (spread[high] - spread[low])

    tail = (1 - mass) / 2
    found = mean("break", None) - mean("reject", None)
    days = min(len({s for _, c, s in values if c == kind}) for kind in ("break", "reject"))
    wide = math.sqrt(days / (days - 1)) * t.ppf(1 - tail, days - 1) / norm.ppf(1 - tail)
    return found, found - wide * (found - quantile(tail)), found + wide * (quantile(1 - tail) - found)
