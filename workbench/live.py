"""The sessions under way: each journal is followed once for all pages of this process, and only while one of them asks."""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import EngineError
from engine.features import level_windows
from engine.lake.catalog import LADDER
from engine.lake.store import Lake
from engine.live.alerts import Alert, AlertRules, FourOpen, Watch, busier, keep, kept
from engine.live.day import LiveDay
from engine.live.journal import FOLDER, Journal, badge, data_now, feed_speed, record_command
from engine.live.session import LiveSession, contract_of, date_under_way, is_running
from engine.session import SETUP_WINDOW_S
from engine.vocab import NS

MOST_AT_ONCE = 200_000
"""Records that are taken in at once: what was missed comes in steps, between which pages are answered."""

STATUS_EVERY_S = 0.25

MOST_ALERTS = 100

TROUBLE = ("DELAYED", "RECONNECTING", "GAP", "STOPPED")
"""Words of the badge that are alerts."""


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
    own: Callable[[LiveSession], pl.DataFrame | None] = lambda session: None
    """Steps of the trader's own levels, which alerts are given of, too."""
    alerts: deque[Alert] = field(default_factory=lambda: deque(maxlen=MOST_ALERTS))
    told: int = 0
    """How many alerts were told, of which `alerts` holds the last."""
    _looked_s: float = 0.0

    def __post_init__(self) -> None:
        self.journal = Journal(self.lake.root, self.market)
        self._watch: Watch | None = None
        self._four, self._word, self._other = FourOpen(), "", ""

    def poll(self) -> int:
        """Take in what was recorded since the last time, for whichever page asks first; seconds that were closed by it."""
        now = time.monotonic()
        if now - self._looked_s >= STATUS_EVERY_S or self.session is None:
            self._looked_s = now
            self._look()
        s = self.session
        if s is None:
            return 0
        closed = s.advance(MOST_AT_ONCE)
        if s.is_replaced:
            self.session = s = self._made(s.day)
        self.behind = s.day.behind()
        if closed and not self.behind:
            self._look_out(s, closed)
        return closed

    # --- alerts

    def tell(self, alerts: list[Alert]) -> None:
        """Give alerts to the pages, and keep them beside the journal; one that was told already by whoever watches too is left out."""
        if self.session is None or not alerts:
            return
        path = self.journal.path(self.session.date, "alerts.jsonl")
        had = kept(path)[-MOST_ALERTS:]
        cool_ns = AlertRules().cool_down_s * NS
        new = [a for a in alerts if not any((b.kind, b.level_id) == (a.kind, a.level_id) and abs(b.ts_ns - a.ts_ns) < cool_ns for b in had)]
        keep(path, new)
        self.alerts.extend(new)
        self.told += len(new)

    def _look_out(self, s: LiveSession, closed: int) -> None:
        """Alerts of the seconds that were closed."""
        if self._watch is None or self._watch.ladder is not s.ladder:
            # What came before this process began is with whoever watched then (`spymaster live watch`).
            self._watch, self._four = Watch(s.ladder, begin=s.known_seconds - closed), FourOpen()
        own = self.own(s)
        levels = s.levels if own is None else pl.concat([s.levels, own.select(s.levels.columns)])
        found = self._watch.until(s.known_seconds, levels)
        window = s.known_seconds // SETUP_WINDOW_S
        if window != (s.known_seconds - closed) // SETUP_WINDOW_S and levels.height:
            tail = s.ladder.tail()  # type: ignore[attr-defined]
            near = levels.filter(pl.col("end_ts_ns") > tail.start_ns).with_columns(pl.col("start_ts_ns").clip(tail.start_ns))
            found += self._four.take(level_windows(tail, near).filter(pl.col("window_end_ts_ns") <= s.day.now_ns).tail(2 * near.height))
            other = busier(s.day.traded(), s.symbol)
            if other and other != self._other:
                found.append(Alert(s.day.now_ns, "other contract", other, 0, f"{other} has traded more than {s.symbol} for half an hour"))
            self._other = other
        self.tell(found)

    def _look_at_feed(self, word: str, text: str) -> None:
        """An alert where the feed is not what it was, told once."""
        if word != self._word:
            self._word, had = word, self._word
            if self.session is not None and (word in TROUBLE or (had in TROUBLE and word == "LIVE")):
                self.tell([Alert(self.session.day.now_ns, "feed", word, 0, f"feed: {text}")])

    def _look(self) -> None:
        """Which session is under way, if one is."""
        self.status = self.journal.status()
        wall = time.time_ns()
        date = date_under_way(self.journal, self.lake.profile() or "rth", wall)
        had = self.session
        if date is None or (had is not None and had.date == date):
            return
        symbol = contract_of(self.lake, self.journal)
        if not symbol or (not is_running(self.status, wall) and self.lake.find_manifest(LADDER, symbol, date) is not None):
            self.session = None  # the lake has it, or nothing has traded yet
            return
        self.session = self._made(LiveDay(self.lake, self.journal, symbol, date, self.lake.profile() or "rth"))

    def _made(self, day: LiveDay) -> LiveSession:
        made = LiveSession(day, simulated=self.status.get("feed") == "simulated")
        if day.ladder.closed:
            made.refresh()
        return made

    def badge(self) -> Badge:
        """The badge now."""
        wall = time.time_ns()
        status = self.status
        word, text = badge(status, wall, record_command(self.lake.root, self.market))
        s = self.session
        newest = s.day.last_ns if s is not None else None
        # Delays of less than a status are none: what has come since it was written is not in it.
        late = max((data_now(status, wall) - newest) / NS / feed_speed(status), 0.0) if status and newest is not None else 0.0
        self._look_at_feed(word, text)
        if self.behind > MOST_AT_ONCE and word in ("LIVE", "QUIET", "DELAYED"):
            word, text = "CATCHING UP", f"CATCHING UP {self.behind:,} records"
        if status.get("feed") not in (None, "live"):
            text = f"{'SIMULATED' if status['feed'] == 'simulated' else 'REPLAYED'} {text}"
        short = text.partition(":")[0].partition(" (")[0] if word in ("QUIET", "RECONNECTING", "STOPPED", "CLOSED") else text
        parts = [f"{status.get('records', 0):,} records", f"{status.get('rate', 0):,.0f} a second"] if status else []
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


def has_traded(session: LiveSession) -> bool:
    """Whether there is a price to look at."""
    return session.last_tick(session.day.now_ns) is not None


def session_of(root: str, symbol: str, date: dt.date) -> LiveSession | None:
    """The session under way of a contract and date; None where that one is not."""
    return next((s for s in sessions(root) if (s.symbol, s.date) == (symbol, date)), None)


def session_until(root: str, symbol: str, date: dt.date, end_ns: int) -> LiveSession | None:
    """As `session_of`, with all that was recorded before an instant: a process that answers a question follows the journal itself."""
    while True:
        found = session_of(root, symbol, date)
        if found is None or found.day.now_ns >= end_ns:
            return found
        of = follower(root, found)
        if of is None or not of.behind:
            return found
