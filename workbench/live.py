"""The sessions under way: each journal is followed once for all pages of this process, and only while one of them asks."""

from __future__ import annotations

import atexit
import datetime as dt
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import EngineError, SessionError
from engine.lake.catalog import LADDER
from engine.lake.store import Lake
from engine.live.alerts import Alert, AlertBooks, Once, Poster, webhook
from engine.live.day import LiveDay
from engine.live.journal import FOLDER, Journal, badge, clock_words, data_now, feed_speed, record_command
from engine.live.lookout import FeedLookout, Lookout
from engine.live.session import LiveSession, contract_of, date_under_way, is_running, opened
from engine.vocab import NS

log = logging.getLogger(__name__)

MOST_AT_ONCE = 200_000
"""Records that are taken in at once: what was missed comes in steps, between which pages are answered."""

STATUS_EVERY_S = 0.25

MOST_ALERTS = 100


@dataclass(frozen=True)
class Badge:
    """What is to be known before the picture is trusted.

    word: one of `engine.live.journal.badge`, or CATCHING UP while this process reads what was recorded before it
    text: the word with what belongs to it, short; tip: all that is known of the recording
    stale_s: how old the newest record is; 0 where nothing is missing
    """

    word: str
    text: str
    tip: str
    stale_s: float


@dataclass
class Follower:
    """One root's journal, followed."""

    lake: Lake
    market: str
    session: LiveSession | None = None
    status: dict[str, Any] = field(default_factory=dict)
    behind: int = 0
    """Records that were recorded and are not taken in yet."""
    own: Callable[[LiveSession], pl.DataFrame | None] | None = None
    """Steps of the trader's own levels, which alerts are given of, too; None where nobody watches: a process that only answers a question
    gives no alerts."""
    alerts: deque[Alert] = field(default_factory=lambda: deque(maxlen=MOST_ALERTS))
    told: int = 0
    """How many alerts were told, of which `alerts` holds the last of the session."""
    session_date: dt.date | None = None
    """The date of the session that alerts are of."""
    _looked_s: float = 0.0

    def __post_init__(self) -> None:
        self.journal = Journal(self.lake.root, self.market)
        self._lookout: Lookout | None = None
        self._once, self._feed = Once(), FeedLookout()
        self._books = AlertBooks(self.journal)
        self._chosen: tuple[dt.date, int, str] | None = None  # the contract that was chosen for a date of so many records
        self._poster = Poster("", self._posted)
        self._lacks = {"kept": "", "posted": ""}

    @property
    def lacks(self) -> str:
        """Why the last alert could not be kept or posted; empty where it was."""
        return ", ".join(why for why in self._lacks.values() if why)

    def _fail(self, what: str, why: str) -> None:
        """Say why an alert did not go where it should, in the badge's tooltip and on standard error, where it is another reason; nothing
        where it did.
        """
        if why and why != self._lacks[what]:
            log.warning(why)
        self._lacks[what] = why

    def _posted(self, why: str) -> None:
        self._fail("posted", why)

    def poll(self) -> int:
        """Take in what was recorded since the last time, for whichever page asks first; seconds that were closed by it."""
        now = time.monotonic()
        if now - self._looked_s >= STATUS_EVERY_S or self.session is None:
            self._looked_s = now
            self._look()
        s = self.session
        if s is None:
            return 0
        # While the market moves more has come by the time that what was there is taken in: then nothing is ever not `behind`.
        reaches_end = s.day.behind() <= MOST_AT_ONCE
        closed = s.advance(MOST_AT_ONCE)
        if s.is_replaced:
            self.session = s = opened(s.day, simulated=self._simulated)
        self.behind = s.day.behind()
        if self.own is not None:
            lookout = self._watching(s, reaches_end=reaches_end)
            if lookout is not None and lookout.seconds < s.known_seconds:
                self.tell(lookout.look(self.own(s)))
        return closed

    def watch(self, own: Callable[[LiveSession], pl.DataFrame | None]) -> None:
        """Give alerts from now on, also of the trader's own levels."""
        if self.own is None:
            try:
                self._poster = Poster(webhook(), self._posted)
            except SessionError as e:  # the market is shown all the same
                self._fail("posted", str(e))
        self.own = own

    def close(self, wait_s: float) -> None:
        """Wait so long for alerts that are being posted."""
        self._poster.close(wait_s)

    # --- alerts

    def tell(self, alerts: list[Alert]) -> None:
        """Give alerts to the pages, keep them beside the journal and post them. One that another page has told is left out; one that
        `spymaster live watch` has kept is shown, and neither kept nor posted again.
        """
        if self.session is None or not alerts:
            return
        new = self._once.new(alerts)
        self.alerts.extend(new)
        self.told += len(new)
        new, why = self._books.add(self.session.date, self.session.symbol, new)
        self._fail("kept", why)
        self._poster.post(new, self.session.day.now_ns)

    def _watching(self, s: LiveSession, *, reaches_end: bool) -> Lookout | None:
        """Who looks at a session's seconds; nobody before what there is was read to its end."""
        had = self._lookout
        if had is not None and (had.session.symbol, had.session.date) == (s.symbol, s.date):
            if had.session is not s:
                had.go_on(s)
        elif reaches_end:
            # What came before this process had read it all is with whoever watched then (`spymaster live watch`).
            self._lookout = Lookout(s, begin=s.known_seconds)
        else:
            return None
        return self._lookout

    def _look(self) -> None:
        """Which session is under way, if one is."""
        self.status = self.journal.status()
        wall = time.time_ns()
        date = date_under_way(self.journal, self.lake.profile() or "rth", wall)
        had = self.session
        if date is None or (had is not None and had.date == date):
            return
        symbol = self._contract(date)
        if not symbol or (not is_running(self.status, wall) and self.lake.find_manifest(LADDER, symbol, date) is not None):
            self.session = None  # the lake has it, or nothing has traded yet
            return
        if self.session_date != date:  # an alert leads to its moment, which another session has not
            self.session_date = date
            self.alerts.clear()
        self.session = opened(LiveDay(self.lake, self.journal, symbol, date, self.lake.profile() or "rth"), simulated=self._simulated)

    @property
    def _simulated(self) -> bool:
        return self.status.get("feed") == "simulated"

    def _contract(self, date: dt.date) -> str:
        """The contract to follow on a date; the trades are counted anew only where records have come since."""
        records = sum(self.journal.count(d) for d in self.journal.dates())
        if self._chosen is None or self._chosen[:2] != (date, records):
            self._chosen = date, records, contract_of(self.lake, self.journal)
        return self._chosen[2]

    def badge(self) -> Badge:
        """The badge now."""
        wall = time.time_ns()
        status = self.status
        word, text = badge(status, wall, record_command(self.lake.root, self.market))
        s = self.session
        newest = s.day.last_ns if s is not None else None
        # Delays of less than a status are none: what has come since it was written is not in it.
        late = max((data_now(status, wall) - newest) / NS / feed_speed(status), 0.0) if status and newest is not None else 0.0
        if self.own is not None and s is not None:
            self.tell(self._feed.look(word, text, data_now(status, wall)))
        if self.behind > MOST_AT_ONCE and word in ("LIVE", "QUIET", "DELAYED"):
            word, text = "CATCHING UP", f"CATCHING UP {self.behind:,} records"
        if status.get("feed") not in (None, "live"):
            text = f"{'SIMULATED' if status['feed'] == 'simulated' else 'REPLAYED'} {text}"
        short = text.partition(":")[0].partition(" (")[0] if word in ("QUIET", "RECONNECTING", "STOPPED", "CLOSED") else text
        parts = [f"{status.get('records', 0):,} records", f"{status.get('rate', 0):,.0f} a second"] if status else []
        parts += [why for why in (clock_words(status), self.lacks) if why]
        if s is not None:
            parts = [s.symbol, *parts, f"newest {late:.1f} s ago" if word != "STOPPED" else "nothing comes"]
        return Badge(word, short, ", ".join([*([text] if text != short else []), *parts]), 0.0 if word in ("QUIET", "CLOSED") else late)


_followed: dict[str, dict[str, Follower]] = {}


def _followers(root: str) -> dict[str, Follower]:
    """By market, for a lake."""
    held = _followed.setdefault(root, {})
    with suppress(FileNotFoundError):
        for folder in (Path(root) / FOLDER).iterdir():
            if folder.name not in held and (folder / "status.json").exists():
                held[folder.name] = Follower(Lake(Path(root)), folder.name)
    return held


def follower(root: str, session: LiveSession) -> Follower | None:
    """Who follows the journal that a session is made of."""
    return _followed.get(root, {}).get(session.day.journal.root)


def sessions(root: str) -> list[LiveSession]:
    """The sessions under way of which something is known; what was recorded by now is taken in, as far as it is at once."""
    found = []
    for each in _followers(root).values():
        with suppress(EngineError):  # the recorder, or the page of the lake's own sessions, says what is wrong
            each.poll()
            if each.session is not None and each.session.known_seconds and has_traded(each.session):
                found.append(each.session)
    return found


def awaited(root: str) -> Follower | None:
    """Who follows a journal that a recorder writes, where no session under way has anything to show yet; else None."""
    if sessions(root):
        return None
    wall = time.time_ns()
    return next((each for each in _followers(root).values() if is_running(each.status, wall)), None)


def has_traded(session: LiveSession) -> bool:
    """Whether there is a price to look at."""
    return session.last_tick(session.day.now_ns) is not None


def session_of(root: str, symbol: str, date: dt.date) -> LiveSession | None:
    """The session under way of a contract and date; None where that one is not."""
    return next((s for s in sessions(root) if (s.symbol, s.date) == (symbol, date)), None)


def session_until(root: str, symbol: str, date: dt.date, end_ns: int) -> LiveSession | None:
    """As `session_of`, with all that was recorded before an instant: a process that answers a question follows the journal itself."""
    taken_in = -1
    while True:
        found = session_of(root, symbol, date)
        if found is not None and found.day.now_ns >= end_ns:
            return found
        # What comes before the session's ladder may take several steps, in which there is no second of it yet.
        of = (f for f in _followers(root).values() if f.behind and f.session is not None)
        day = next((f.session.day for f in of if f.session is not None and (f.session.symbol, f.session.date) == (symbol, date)), None)
        if day is None or day.records == taken_in:
            return found
        taken_in = day.records


END_S = 2.0
"""The server's end waits so long for alerts that are being posted."""


@atexit.register
def close_all() -> None:
    """Post what is to be posted yet, as far as that is soon done."""
    for by_market in _followed.values():
        for each in by_market.values():
            each.close(END_S)
