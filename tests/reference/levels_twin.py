"""Slow twin of levels and bars: what is known at a moment, from the trades before it; written from lake.md (Levels) alone."""

from __future__ import annotations

from math import floor

NS = 1_000_000_000


def bar_closes(trades: list[tuple[int, int, int]], globex_start: int, moment: int) -> list[int]:
    """Close of every 2-minute bar that had trades and had closed by `moment`; trades are (ts_ns, tick, size)."""
    closes: dict[int, int] = {}
    for ts, tick, _ in trades:
        bar = ts - ts % (120 * NS)
        if ts >= globex_start and bar + 120 * NS <= moment:
            closes[bar] = tick
    return [closes[b] for b in sorted(closes)]


def value_at(
    level_id: str, moment: int, windows: object, trades: list[tuple[int, int, int]], trades_pd: list[tuple[int, int, int]], tick_size: float
) -> float | None:
    """Price of the level at `moment`, None before it can be known; only trades before `moment` are looked at."""
    past = [t for t in trades if t[0] < moment]

    def in_span(start: int, end: int) -> list[int]:
        return [tick for ts, tick, _ in past if start <= ts < end] if moment >= end else []

    spans = {
        "pm": (windows.premarket_start_ns, windows.premarket_end_ns),
        "or": (windows.trading_start_ns, windows.opening_range_end_ns),
        "on": (windows.globex_start_ns, windows.overnight_end_ns),
    }
    kind, _, what = level_id.partition("_")
    if kind in spans:
        ticks = in_span(*spans[kind])
        return (max(ticks) if what == "high" else min(ticks)) * tick_size if ticks else None
    if kind == "pd":
        ticks = [tick for _, tick, _ in trades_pd]
        pick = {"high": max, "low": min, "close": lambda x: x[-1]}[what]
        return pick(ticks) * tick_size if ticks else None
    if kind == "sma":
        closes = bar_closes(past, windows.globex_start_ns, moment)
        n = int(what)
        return sum(closes[-n:]) / n * tick_size if len(closes) >= n else None
    if kind == "vwap":
        whole_seconds = moment // NS * NS
        seen = [(tick, size) for ts, tick, size in past if windows.trading_start_ns <= ts < whole_seconds]
        volume = sum(size for _, size in seen)
        return sum(tick * size for tick, size in seen) / volume * tick_size if volume else None
    raise ValueError(level_id)


def nearest_tick(price: float, tick_size: float) -> int:
    """Ties up; 1e-9 of a tick forgives binary fractions."""
    return floor(price / tick_size + 0.5 + 1e-9)
