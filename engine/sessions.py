"""Session profiles, their windows in nanoseconds, the markets' regular hours and calendars, and UTC dates."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from engine.errors import NoData, SessionError, UnknownProfile
from engine.vocab import NS, Root

NEW_YORK = ZoneInfo("America/New_York")
GLOBEX_OPEN = dt.time(18, 0)
GLOBEX_CLOSE = dt.time(17, 0)

# ----------------------------------------------------------------------------
# Markets: their regular hours and which days have them


@dataclass(frozen=True)
class Market:
    """A group of products (`engine.vocab.Root.market`): regular hours, New York, the close of a day that ends early, whether NYSE's own
    closings (a day of mourning, a storm), which are no holidays, close it too, and the close of a Good Friday on which payrolls are
    published, where it trades then.
    """

    name: str
    regular: tuple[dt.time, dt.time]
    early_close: dt.time
    closes_with_nyse: bool
    payrolls_close: dt.time | None = None


MARKETS: dict[str, Market] = {
    m.name: m
    for m in (
        Market("equity", (dt.time(9, 30), dt.time(16)), dt.time(13), True),
        Market("energy", (dt.time(9), dt.time(14, 30)), dt.time(13, 30), False),
        Market("metals", (dt.time(8, 20), dt.time(13, 30)), dt.time(13, 30), False),
        Market("rates", (dt.time(8, 20), dt.time(15)), dt.time(13), False, dt.time(11, 15)),
        Market("fx", (dt.time(8, 20), dt.time(15)), dt.time(13), False, dt.time(11, 15)),
        Market("globex", (dt.time(9, 30), dt.time(16)), dt.time(13), False, dt.time(11, 15)),
    )
}
"""Markets by name; ``globex`` is of no product: it has a regular day wherever one of the others has."""


# ----------------------------------------------------------------------------
# Profiles


@dataclass(frozen=True)
class Profile:
    """A named session: New York clock times on the session's own date. Where a time is None it is that of the product's regular hours on
    that date, a half-day's too; a ladder without a start of its own begins half an hour before them.
    `globex_days_back` is the number of days from the Globex open to that date: 1 for a morning session, 0 for one that starts at the open.
    """

    name: str
    premarket: tuple[dt.time, dt.time | None]
    trading: tuple[dt.time | None, dt.time | None]
    ladder_start: dt.time | None
    opening_range_minutes: int
    globex_days_back: int


PROFILES: dict[str, Profile] = {
    p.name: p
    for p in (
        Profile("rth", (dt.time(4), dt.time(9, 30)), (dt.time(9, 30), dt.time(12, 30)), dt.time(9), 15, 1),
        Profile("globex_open", (dt.time(18), dt.time(18, 15)), (dt.time(18, 15), dt.time(21, 15)), dt.time(17, 50), 15, 0),
        Profile("afternoon", (dt.time(4), None), (None, None), dt.time(12, 30), 15, 1),
        Profile("day", (dt.time(4), None), (None, None), None, 15, 1),
    )
}
"""The first three hours of the stock market's day, the Globex open, the market's regular hours from 12:30 on, and all of them."""

PROFILE_ALIASES = {"morning": "rth"}

_TIME = r"(\d{1,2}:\d{2})"
_OWN = re.compile(rf"([a-z][a-z0-9_]{{0,31}})@{_TIME}-{_TIME},{_TIME}-{_TIME},{_TIME},(\d{{1,3}}),([01])")
_OWN_FORM = "NAME@PREMARKET,TRADING,LADDER START,OPENING RANGE MINUTES,DAYS SINCE THE GLOBEX OPEN"
_OWN_EXAMPLE = "lunch@04:00-09:30,09:30-14:00,11:00,15,1"
FILE_EXAMPLE = (
    'name: lunch\npremarket: "04:00-09:30"\ntrading: "09:30-14:00"\nladder_start: "11:00"\nopening_range_minutes: 15\nglobex_days_back: 1'
)
"""A session of one's own, as ``--session FILE.yaml`` reads it."""


@dataclass(frozen=True)
class SessionWindows:
    """A session in ns since the epoch, UTC; every span is half-open ``[start, end)``.
    The overnight span runs from the Globex open to the product's next regular open, which for `globex_open` lies after the session's end.
    `market` is that of the product (`MARKETS`), whose regular days count, and `regular` the product's regular hours.
    """

    date: dt.date
    profile: str
    market: str
    regular: tuple[dt.time, dt.time]
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
    """The profile `name`: one of `PROFILES`, or one's own, whose name says all of it; else UnknownProfile."""
    return PROFILES[name] if name in PROFILES else _own_profile(name)


@lru_cache(maxsize=8)
def _own_profile(text: str) -> Profile:
    found = _OWN.fullmatch(text)
    if found is None:
        raise UnknownProfile(
            f"session profile {text!r}: expected one of {', '.join((*PROFILES, *PROFILE_ALIASES))}, a file such as session.yaml, or "
            f"{_OWN_FORM}, for example {_OWN_EXAMPLE} (--session)"
        )
    try:
        a, b, c, d, e = (dt.time.fromisoformat(t.zfill(5)) for t in found.groups()[1:6])
    except ValueError as error:
        raise UnknownProfile(f"session profile {text!r}: expected times such as 09:30, found {error}") from None
    back = int(found[8])
    # A session lies within one Globex day, from the hour before its open to its close.
    first, last = (GLOBEX_CLOSE, dt.time.max) if back == 0 else (dt.time.min, GLOBEX_CLOSE)
    if not (a < b and first <= a and c < d <= last and first <= e < d):
        raise UnknownProfile(
            f"session profile {text!r}: expected a premarket, trading and a ladder start before its end, within one Globex day (New York "
            f"{first:%H:%M} to {last:%H:%M} with {back} days since its open), found {a:%H:%M}-{b:%H:%M}, {c:%H:%M}-{d:%H:%M}, {e:%H:%M}"
        )
    return Profile(text, (a, b), (c, d), e, int(found[7]), back)


def profile_text(session: str) -> str:
    """The profile that `--session` means: the name of one, or of one's own in a file; UnknownProfile where it is none."""
    name = PROFILE_ALIASES.get(session, session)
    if not session.endswith((".yaml", ".yml")):
        return profile_named(name).name
    import yaml

    try:
        raw = yaml.safe_load(Path(session).read_text(encoding="utf-8"))
        times = (raw[key] for key in ("premarket", "trading", "ladder_start", "opening_range_minutes", "globex_days_back"))
        own = f"{raw['name']}@" + ",".join(map(str, times))
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as e:
        raise UnknownProfile(f"session file {session}: expected\n{FILE_EXAMPLE}\nfound {type(e).__name__}: {e}") from e
    return profile_named(own.replace(" ", "")).name


def session_windows(date: dt.date, profile: str, root: Root | None = None) -> SessionWindows:
    """All spans of the session of a product that starts on the New York calendar date `date`; without one, of a market of stock hours.
    Raises NoData where the profile is of the regular hours, and there are none on the date, or they end before the ladder would begin.
    """
    p = profile_named(profile)
    market = MARKETS[root.market if root is not None else "globex"]
    regular = root.hours if root is not None and root.hours is not None else market.regular
    trading_start = to_ns(date, p.trading[0] or regular[0])
    ladder_start = to_ns(date, p.ladder_start) if p.ladder_start is not None else trading_start - LEAD_NS
    if p.trading[1] is not None:
        end = to_ns(date, p.trading[1])
    else:
        span = rth_span(date, market.name, regular)
        if span is None or span[1] <= ladder_start:
            found = "has none: a holiday or a weekend" if span is None else f"closes at {clock_text(span[1], date)}"
            raise NoData(
                f"{date}: expected regular hours of the {market.name} market for a session `{p.name}`, it {found}; take another date, or "
                f"a session with hours of its own such as --session rth"
            )
        end = span[1]
    globex_date = date - dt.timedelta(days=p.globex_days_back)
    return SessionWindows(
        date=date,
        profile=p.name,
        market=market.name,
        regular=regular,
        premarket_start_ns=to_ns(date, p.premarket[0]),
        premarket_end_ns=to_ns(date, p.premarket[1] or regular[0]),
        trading_start_ns=trading_start,
        trading_end_ns=end,
        opening_range_end_ns=trading_start + p.opening_range_minutes * 60 * NS,
        ladder_start_ns=ladder_start,
        ladder_end_ns=end,
        globex_start_ns=to_ns(globex_date, GLOBEX_OPEN),
        overnight_end_ns=to_ns(globex_date + dt.timedelta(days=1), regular[0]),
    )


LEAD_NS = 1800 * NS
"""A ladder of the regular hours begins so long before them."""


def utc_dates(start_ns: int, end_ns: int) -> tuple[dt.date, ...]:
    """UTC dates that the span ``[start_ns, end_ns)`` overlaps, in order."""
    if end_ns <= start_ns:
        raise SessionError(f"span: expected an end after its start, found {span_text(start_ns, end_ns)}")
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


@lru_cache(maxsize=1)
def _holidays() -> frozenset[dt.date]:
    """NYSE's holidays by rule, without the days on which something else closed it."""
    rules = _calendar().regular_holidays
    return frozenset(day.date() for day in rules.holidays("2005-01-01", f"{dt.date.today().year + 2}-12-31"))


def rth_span(date: dt.date, market: str = "equity", hours: tuple[dt.time, dt.time] | None = None) -> tuple[int, int] | None:
    """Regular hours of a market on `date`, ``[open, close or the half-day's close)``, in ns; None where it has none.
    `hours` are those of a product that has others than its market. Raises SessionError beyond the calendar's end.
    """
    of = MARKETS[market]
    start, close = (to_ns(date, t) for t in hours or of.regular)
    nyse = _nyse_close(date)
    if date.weekday() >= 5 or (nyse is None and of.closes_with_nyse):
        return None
    if date in _holidays():
        payrolls = of.payrolls_close if _is_payrolls_good_friday(date) else None
        return (start, min(close, to_ns(date, payrolls))) if payrolls is not None else None
    if nyse is not None and nyse < to_ns(date, MARKETS["equity"].regular[1]):
        close = min(close, nyse if of.closes_with_nyse else to_ns(date, of.early_close))
    return start, close


def _nyse_close(date: dt.date) -> int | None:
    """NYSE's close on a date, in ns; None where it is closed."""
    cal, session = _calendar(), date.isoformat()
    if not cal.first_session.date() <= date <= cal.last_session.date():
        raise SessionError(f"{date}: expected a date of the calendar, {cal.first_session:%Y-%m-%d} to {cal.last_session:%Y-%m-%d}")
    return int(cal.session_close(session).value) if cal.is_session(session) else None


def _is_payrolls_good_friday(date: dt.date) -> bool:
    """Whether a holiday is a Good Friday on the first Friday of a month, on which payrolls are published."""
    return date.weekday() == 4 and date.month == 4 and date.day <= 7


def closed_span(windows: SessionWindows) -> tuple[int, int] | None:
    """The hours of the session's date in which Globex may be closed, since it is a holiday or a half-day, ``[start, end)`` in ns: from the
    earliest halt to the next open, later for some products; None on other days, and where the ladder ends before.
    """
    date = windows.date
    good_friday = _is_payrolls_good_friday(date)
    start, end = to_ns(date, GOOD_FRIDAY_HALT if good_friday else HOLIDAY_HALT), to_ns(date, GLOBEX_OPEN)
    if date.weekday() >= 5 or windows.ladder_end_ns <= start or windows.ladder_start_ns >= end:
        return None  # without the calendar, which takes seconds to load
    nyse = _nyse_close(date)
    early = date in _holidays() or (nyse is not None and nyse < to_ns(date, MARKETS["equity"].regular[1]))
    return (start, end) if early else None


HOLIDAY_HALT, GOOD_FRIDAY_HALT = dt.time(13), dt.time(9, 15)
"""When the first products stop on a holiday or half-day, and on a Good Friday with payrolls."""


def previous_full_rth(windows: SessionWindows, sessions_back: int = 1) -> tuple[dt.date, int, int]:
    """(date, start, end in ns) of the `sessions_back`-th regular day of the session's market that ended before the session's ladder starts;
    SessionError without.
    """
    left = sessions_back
    for back in range(31):
        date = windows.date - dt.timedelta(days=back)
        span = rth_span(date, windows.market, windows.regular)
        if span is not None and span[1] <= windows.ladder_start_ns:
            left -= 1
            if left == 0:
                return date, span[0], span[1]
    raise SessionError(f"session {windows.date}: expected a previous RTH session within 30 days, the calendar has none")
