"""Session profiles, their windows in nanoseconds, the RTH calendar, and UTC dates."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

from engine.errors import SessionError, UnknownProfile
from engine.vocab import NS

NEW_YORK = ZoneInfo("America/New_York")
GLOBEX_OPEN = dt.time(18, 0)
RTH_OPEN = dt.time(9, 30)


@dataclass(frozen=True)
class Profile:
    """A named session: New York clock times on the session's own date.
    `globex_days_back` is the number of days from the Globex open to that date: 1 for a morning session, 0 for one that starts at the open.
    """

    name: str
    premarket: tuple[dt.time, dt.time]
    trading: tuple[dt.time, dt.time]
    ladder_start: dt.time
    opening_range_minutes: int
    globex_days_back: int


PROFILES: dict[str, Profile] = {
    p.name: p
    for p in (
        Profile("rth", (dt.time(4), dt.time(9, 30)), (dt.time(9, 30), dt.time(12, 30)), dt.time(9), 15, 1),
        Profile("globex_open", (dt.time(18), dt.time(18, 15)), (dt.time(18, 15), dt.time(21, 15)), dt.time(17, 50), 15, 0),
    )
}


@dataclass(frozen=True)
class SessionWindows:
    """A session in ns since the epoch, UTC; every span is half-open ``[start, end)``.
    The overnight span runs from the Globex open to the next 09:30 New York, which for `globex_open` lies after the session's end.
    """

    date: dt.date
    profile: str
    premarket_start_ns: int
    premarket_end_ns: int
    trading_start_ns: int
    trading_end_ns: int
    opening_range_end_ns: int
    ladder_start_ns: int
    ladder_end_ns: int
    globex_start_ns: int
    overnight_end_ns: int


def to_ns(date: dt.date, time: dt.time) -> int:
    """Ns since the epoch of a New York clock time on `date`."""
    return round(dt.datetime.combine(date, time, NEW_YORK).timestamp()) * NS


def clock_text(ns: int, date: dt.date | None = None) -> str:
    """New York's clock at an instant, ``09:35`` or ``09:35:07``, with the day before it where that is not `date`.

    Examples
    --------
    >>> date = dt.date(2025, 11, 4)
    >>> clock_text(to_ns(date, dt.time(9, 35))), clock_text(to_ns(date, dt.time(9, 35)), date)
    ('2025-11-04 09:35', '09:35')
    """
    at = dt.datetime.fromtimestamp(ns // NS, NEW_YORK)
    text = f"{at:%H:%M}" if at.second == 0 else f"{at:%H:%M:%S}"
    return text if at.date() == date else f"{at:%Y-%m-%d} {text}"


def span_text(start_ns: int, end_ns: int, date: dt.date | None = None) -> str:
    """A span of New York's clock in words, such as ``09:00 to 12:30 New York``, with the day where it is not `date`."""
    start = dt.datetime.fromtimestamp(start_ns // NS, NEW_YORK).date()
    return f"{clock_text(start_ns, date)} to {clock_text(end_ns, start)} New York"


def profile_named(name: str) -> Profile:
    """The profile `name`, or UnknownProfile."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownProfile(f"session profile {name!r}: expected one of {', '.join(PROFILES)} (--session)") from None


def session_windows(date: dt.date, profile: str) -> SessionWindows:
    """All spans of the session that starts on the New York calendar date `date`."""
    p = profile_named(profile)
    trading_start = to_ns(date, p.trading[0])
    globex_date = date - dt.timedelta(days=p.globex_days_back)
    return SessionWindows(
        date=date,
        profile=p.name,
        premarket_start_ns=to_ns(date, p.premarket[0]),
        premarket_end_ns=to_ns(date, p.premarket[1]),
        trading_start_ns=trading_start,
        trading_end_ns=to_ns(date, p.trading[1]),
        opening_range_end_ns=trading_start + p.opening_range_minutes * 60 * NS,
        ladder_start_ns=to_ns(date, p.ladder_start),
        ladder_end_ns=to_ns(date, p.trading[1]),
        globex_start_ns=to_ns(globex_date, GLOBEX_OPEN),
        overnight_end_ns=to_ns(globex_date + dt.timedelta(days=1), RTH_OPEN),
    )


def utc_dates(start_ns: int, end_ns: int) -> tuple[dt.date, ...]:
    """UTC dates that the span ``[start_ns, end_ns)`` overlaps, in order."""
    if end_ns <= start_ns:
        raise SessionError(f"span: expected an end after its start, got [{start_ns}, {end_ns})")
    first = dt.datetime.fromtimestamp(start_ns // NS, dt.UTC).date()
    last = dt.datetime.fromtimestamp((end_ns - 1) // NS, dt.UTC).date()
    return tuple(first + dt.timedelta(days=i) for i in range((last - first).days + 1))


def utc_day(date: dt.date) -> tuple[int, int]:
    """The UTC date's ``[start, end)`` in ns."""
    start = int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()) * NS
    return start, start + 86_400 * NS


@lru_cache(maxsize=1)
def _calendar():
    import exchange_calendars  # slow to import

    return exchange_calendars.get_calendar("XNYS", start="2005-01-01")


def rth_span(date: dt.date) -> tuple[int, int] | None:
    """RTH of `date`, ``[09:30, 16:00 or the half-day's close)`` New York, in ns; None where the calendar has no session."""
    cal = _calendar()
    if not cal.is_session(date.isoformat()):
        return None
    session = date.isoformat()
    return to_ns(date, RTH_OPEN), int(cal.session_close(session).value)


def previous_full_rth(windows: SessionWindows, sessions_back: int = 1) -> tuple[dt.date, int, int]:
    """(date, start, end in ns) of the `sessions_back`-th RTH session ended before the session's ladder starts; SessionError without."""
    left = sessions_back
    for back in range(31):
        date = windows.date - dt.timedelta(days=back)
        span = rth_span(date)
        if span is not None and span[1] <= windows.ladder_start_ns:
            left -= 1
            if left == 0:
                return date, span[0], span[1]
    raise SessionError(f"session {windows.date}: expected a previous RTH session within 30 days, the calendar has none")
