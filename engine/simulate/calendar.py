"""When the simulated Globex trades, how busy it is, which contracts are listed, and what prices are between files."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engine.sessions import NEW_YORK, rth_span, to_ns
from engine.simulate.rng import hash_words
from engine.vocab import NS, Root

DAY_NS = 86_400 * NS
MINUTE_NS = 60 * NS
CLOSE = dt.time(17)
OPEN = dt.time(18)
HOLIDAY_CLOSE = dt.time(13)
HALF_DAY_CLOSE = dt.time(13, 15)
HOLIDAY_ACTIVITY = 0.25
PREMARKET = dt.time(4)
THIN_ACTIVITY = 0.012
"""Activity at most, outside the hours that a demo is about: a market that just goes on."""

# Activity by New York hour, 1 = the mean of the cash session (scaled so below): thin nights, Europe, 08:30 news, the U.
_SHAPE = (
    (0, 0.03), (2, 0.04), (3, 0.11), (4, 0.10), (7, 0.12), (8, 0.18), (8.49, 0.22), (8.5, 0.45), (8.75, 0.35), (9.4, 0.45), (9.499, 0.6),
    (9.5, 2.6), (9.75, 2.1), (10, 1.75), (10.5, 1.3), (11, 1.02), (12, 0.72), (13, 0.62), (14, 0.72), (15, 0.95), (15.5, 1.2), (15.9, 2.1),
    (15.999, 2.6), (16, 0.35), (16.25, 0.12), (17, 0.06), (18, 0.10), (19, 0.05), (20, 0.045), (24, 0.03),
)  # fmt: skip

BASE_TICKS = {"ES": 27_200, "MES": 27_200, "NQ": 99_000, "MNQ": 99_000, "RTY": 24_000, "YM": 47_000, "CL": 6_200, "GC": 40_000}
CARRY_PER_YEAR = 0.04
WALK_MEMORY_DAYS = 40.0
WALK_DAYS = 400


def is_shut(date: dt.date) -> bool:
    """Whether the trading day `date` does not trade at all: Saturdays, Sundays, New Year, Good Friday, Christmas."""
    if date.weekday() >= 5:
        return True
    if rth_span(date) is not None:
        return False
    return date.month == 12 or (date.month == 1 and date.day <= 3) or (date.month in (3, 4) and date.weekday() == 4)


def trading_close(date: dt.date) -> dt.time:
    """New York time at which the trading day `date` ends: early on half-days and on holidays that Globex trades."""
    span = rth_span(date)
    if span is None:
        return HOLIDAY_CLOSE
    return HALF_DAY_CLOSE if span[1] < to_ns(date, dt.time(16)) else CLOSE


def open_spans(date: dt.date) -> list[tuple[int, int]]:
    """Spans ``[start, end)`` in ns of the UTC date in which Globex trades; none on a date without a file."""
    start = utc_midnight(date)
    spans = []
    for back in (0, -1):  # the trading day that ends on this date, and the one that begins on its evening
        day = date - dt.timedelta(days=back)
        if is_shut(day):
            continue
        opened = max(start, to_ns(day - dt.timedelta(days=1), OPEN))
        closed = min(start + DAY_NS, to_ns(day, trading_close(day)))
        if opened < closed:
            spans.append((opened, closed))
    return spans


def utc_midnight(date: dt.date) -> int:
    """Ns since the epoch of 00:00 UTC."""
    return int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()) * NS


def next_file_date(date: dt.date) -> dt.date:
    """The next UTC date that has a file."""
    day = date + dt.timedelta(days=1)
    while not open_spans(day):
        day += dt.timedelta(days=1)
    return day


@lru_cache(maxsize=1)
def _shape_by_minute() -> np.ndarray:
    hours, values = zip(*_SHAPE)
    shape = np.interp((np.arange(1440) + 0.5) / 60.0, hours, values)
    return shape / shape[570:960].mean()


def activity(date: dt.date, thin_after: dt.time | None = None) -> np.ndarray:
    """Activity per minute of the UTC date, ``(1441,)``; 0 where the market is closed (the last minute always is).

    With `thin_after` only the hours from 04:00 New York to it are as busy as ever; the others are thin, so that a demo stays small.
    """
    start = utc_midnight(date)
    shape = _shape_by_minute()
    out = np.zeros(1441)
    holidays = {d for d in (date - dt.timedelta(days=1), date) if d.weekday() < 5 and rth_span(d) is None}
    for opened, closed in open_spans(date):
        for minute in range((opened - start) // MINUTE_NS, (closed - start) // MINUTE_NS):
            at = dt.datetime.fromtimestamp((start + minute * MINUTE_NS) // NS, NEW_YORK)
            value = shape[at.hour * 60 + at.minute]
            if thin_after is not None and not PREMARKET <= at.time() < thin_after:
                value = min(value, THIN_ACTIVITY)
            out[minute] = value * (HOLIDAY_ACTIVITY if at.date() in holidays else 1.0)
    return out


@lru_cache(maxsize=8)
def _busy_minutes(thin_after: dt.time | None) -> float:
    """Activity of a weekday, in minutes of the cash session's mean."""
    shape = _shape_by_minute()
    if thin_after is not None:
        minute = np.arange(1440)
        busy = (minute >= 60 * PREMARKET.hour + PREMARKET.minute) & (minute < 60 * thin_after.hour + thin_after.minute)
        shape = np.where(busy, shape, np.minimum(shape, THIN_ACTIVITY))
    return float(shape.sum())


def walk(seed: int, root: Root, date: dt.date, thin_after: dt.time | None = None) -> float:
    """Price in ticks at 00:00 UTC of `date`, before carry, from the seed alone: why files made apart still connect.

    An autoregressive walk over calendar days that forgets in about forty, so that it never leaves the price's own scale; weekends hardly
    move it. Thin days move less: a bridge to a price farther off than a day's own activity leads would be a trend within it.
    """
    sd = 0.8 * math.sqrt(60.0 * _busy_minutes(thin_after))
    total = 0.0
    for back in range(1, WALK_DAYS):
        day = date - dt.timedelta(days=back)
        u, v = (hash_words(seed, day.toordinal(), sum(map(ord, root.code)), k) / 2.0**64 for k in (1, 2))
        z = math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(2.0 * math.pi * v)
        weight = (1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.15)[day.weekday()]
        total += math.exp(-(back - 1) / WALK_MEMORY_DAYS) * z * sd * weight
    return BASE_TICKS[root.code] + total


@dataclass(frozen=True)
class Contract:
    """An outright that is listed: its symbol, instrument id, expiry, and share of the root's activity."""

    symbol: str
    instrument_id: int
    expiry: dt.date
    share: float


def third_friday(year: int, month: int) -> dt.date:
    """Expiry of an equity index future."""
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(4 - first.weekday()) % 7 + 14)


def listed(root: Root, date: dt.date) -> tuple[Contract, Contract]:
    """The front and the next contract on `date`; activity rolls over within days, centred on the Monday of expiry week."""
    found: list[tuple[str, int, dt.date]] = []
    year, month = date.year, date.month
    while len(found) < 2:
        letter = "FGHJKMNQUVXZ"[month - 1]
        expiry = third_friday(year, month)
        if letter in root.months and expiry >= date:
            number = sum(map(ord, root.code)) * 10_000 + (year % 100) * 100 + month
            found.append((f"{root.code}{letter}{year % 10}", number, expiry))
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    days_left = (found[0][2] - date).days - 4
    share = min(0.99, max(0.01, 1.0 / (1.0 + math.exp(days_left / 0.7))))
    return Contract(*found[0], share=1.0 - share), Contract(*found[1], share=share)


def carry_ticks(root: Root, contract: Contract, date: dt.date) -> float:
    """What a contract costs above the walk, in ticks: interest over the days to its expiry."""
    return BASE_TICKS[root.code] * CARRY_PER_YEAR * (contract.expiry - date).days / 365.0
