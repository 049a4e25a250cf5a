"""Slow twin of touches' outcomes: every trade looked at again for every question, written from features.md section 8."""

from __future__ import annotations

from math import sqrt

NS = 1_000_000_000
HORIZONS_S = (60, 120, 240, 360, 480, 600, 720)


def barrier(knob: int | str, sigma: float | None, horizon_s: int) -> int | None:
    if knob != "auto":
        return int(knob)
    return None if sigma is None else max(2, round(0.82 * sigma * sqrt(horizon_s)))


def sigma(last_by_second: list[int | None], end: int, span_s: int = 1800, least_s: int = 300) -> float | None:
    """Ticks per sqrt(second) at the end of second `end` (its last trade included)."""
    squares = []
    for j in range(span_s // 10):
        a, b = end - 10 * (j + 1), end - 10 * j
        if a >= 0 and last_by_second[a] is not None and last_by_second[b] is not None:
            squares.append((last_by_second[b] - last_by_second[a]) ** 2)
    if len(squares) < least_s // 10:
        return None
    return sqrt(sum(squares) / len(squares)) / sqrt(10)


def outcome(
    trades: list[tuple[int, int]], start: int, clock_ns: int, level: int, up: bool, b: int | None, horizon_s: int, data_end_ns: int
) -> str | None:
    finish = clock_ns + horizon_s * NS
    if finish > data_end_ns or b is None:
        return None
    for t, k in trades[start:]:
        if t >= finish:
            break
        if k >= level + b:
            return "BREAK_UP" if up else "REJECT_UP"
        if k <= level - b:
            return "REJECT_DOWN" if up else "BREAK_DOWN"
    return "CHOP"


def hits(
    trades: list[tuple[int, int]], start: int, clock_ns: int, level: int, b: int | None, span_s: int, data_end_ns: int
) -> dict[str, float | int | bool | None]:
    """Hits, excursions and whipsaw within the longest horizon."""
    finish = clock_ns + span_s * NS
    seen = [(t, k) for t, k in trades[start:] if t < min(finish, data_end_ns)]
    whole = finish <= data_end_ns
    out: dict[str, float | int | bool | None] = {
        "excursion_up_ticks": max([0, *(k - level for _, k in seen)]) if whole else None,
        "excursion_down_ticks": max([0, *(level - k for _, k in seen)]) if whole else None,
        "whipsaw_flag": None,
    }
    names = ("first_hit_ts_ns", "first_hit_bars", "second_hit_ts_ns", "second_hit_bars", "adverse_before_hit_ticks", "seconds_to_resolve")
    out |= dict.fromkeys(names)
    if b is None:
        return out
    high = next((i for i, (_, k) in enumerate(seen) if k - level >= b), None)
    low = next((i for i, (_, k) in enumerate(seen) if level - k >= b), None)
    found = sorted(i for i in (high, low) if i is not None)
    for name, i in zip(("first", "second"), found):
        out[f"{name}_hit_ts_ns"] = seen[i][0]
        out[f"{name}_hit_bars"] = seen[i][0] // (120 * NS) - clock_ns // (120 * NS)
    if found:
        sign = 1 if found[0] == high else -1
        out["adverse_before_hit_ticks"] = max([0, *(-sign * (k - level) for _, k in seen[: found[0]])])
        out["seconds_to_resolve"] = (seen[found[0]][0] - clock_ns) / NS
    if whole:
        out["whipsaw_flag"] = len(found) == 2
    return out
