"""A session under way as everything that reads a `Session` may read it: what has been recorded so far is there, and nothing else."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from engine.errors import NoData, PartitionCorrupt
from engine.lake.store import Lake
from engine.live.alerts import busier
from engine.live.day import ROW_FIELDS, LiveDay
from engine.live.journal import STALE_S, Journal, data_now
from engine.params import SetupParams
from engine.session import SETUP_WINDOW_S, Session
from engine.sessions import GLOBEX_OPEN, NEW_YORK, session_windows
from engine.vocab import LADDER_COLUMNS, NS, TriggerKind, root_of

REFRESH_SHARE = 0.1
"""Bars and levels are made anew each second while that takes no more than this share of the time, and at the end of setups' windows."""


@dataclass
class _Growth:
    """What of a `LiveSession` changes: how often levels were made anew, how long the last time took, and when it ended."""

    levels_made: int = 0
    took_s: float = 0.0
    at_s: float = 0.0


@dataclass(frozen=True)
class Forming:
    """What changed so far in the second under way.

    tick: int64, prices at which something changed
    bid, ask: change of what rests there since the last closed second, contracts
    long, short: flow that pushes up and down there (features.md section 7), contracts
    last: tick of the last trade; None before the first
    """

    tick: np.ndarray
    bid: np.ndarray
    ask: np.ndarray
    long: np.ndarray
    short: np.ndarray
    last: int | None


class LiveSession(Session):
    """The session of a contract as far as its journal goes; `advance` takes in what was recorded since.

    Its ladder has the seconds of the whole session laid out, of which `known_seconds` are there. It is one and the same for as long as it
    grows; where records turn out to be missing everything is gone through again, and `is_replaced` says so.
    """

    day: LiveDay
    growth: _Growth

    def __init__(self, day: LiveDay, *, simulated: bool = False) -> None:
        super().__init__(
            day.symbol, day.date, day.ladder, day.bars, day.levels, day.absent, stamp="live", simulated=simulated, lake=day.lake,
            profile=day.profile,
        )  # fmt: skip
        # A `Session` takes no new values: only here do bars and levels follow the day.
        self._take("day", day)
        self._take("growth", _Growth())

    def _take(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def known_seconds(self) -> int:
        """Seconds that are closed."""
        return self.day.ladder.closed

    @property
    def levels_made(self) -> int:
        """How often the levels were made anew."""
        return self.growth.levels_made

    @property
    def under_way(self) -> bool:
        """Whether seconds are still to come."""
        return self.known_seconds < self.ladder.seconds

    @property
    def is_replaced(self) -> bool:
        """Whether the day was begun anew, with another ladder than this one's."""
        return self.day.ladder is not self.ladder

    def advance(self, most: int | None = None) -> int:
        """Take in what the journal has now, at most so many records; the seconds that were closed by it."""
        closed = self.day.poll(most)
        if closed and not self.is_replaced:
            begin, now = time.perf_counter(), self.known_seconds
            is_window = (now - closed) // SETUP_WINDOW_S != now // SETUP_WINDOW_S
            if is_window or begin - self.growth.at_s >= self.growth.took_s / REFRESH_SHARE:
                self.refresh()
                self.growth.at_s = time.perf_counter()
                self.growth.took_s = self.growth.at_s - begin
        return closed

    def forming(self, low: int, high: int) -> Forming | None:
        """The second under way, from tick `low` to `high`; None where the book is not known, and where nothing has changed yet."""
        closed = self.known_seconds
        if not closed or closed == self.ladder.seconds or not self.ladder.valid[closed - 1]:
            return None
        rows = self.day.forming().astype(np.int64)
        rows = rows[(rows[:, 1] >= low) & (rows[:, 1] <= high)]
        if not len(rows):
            return None
        tick, values = rows[:, 1], rows[:, ROW_FIELDS - len(LADDER_COLUMNS) :]
        before = self.ladder.state_before(closed, low, high - low + 1)[tick - low]
        of = {name: values[:, i] for i, name in enumerate(LADDER_COLUMNS)}
        long, short = of["bid_add"] + of["ask_pull"] + of["ask_fill"], of["ask_add"] + of["bid_pull"] + of["bid_fill"]
        last = self.day.last_trade()
        return Forming(
            tick, of["bid_depth"] - before[:, 0], of["ask_depth"] - before[:, 1], long, short,
            last if last is not None else self.last_tick(self.day.now_ns),
        )  # fmt: skip

    def refresh(self) -> None:
        """Make bars, levels and order events as they are known now."""
        self.day.refresh()
        for name in ("bars", "levels", "absent"):
            self._take(name, getattr(self.day, name))
        self._take("trust", self.day.ladder.trust)
        self._take("order_events", self.day.order_events())
        self.growth.levels_made += 1

    def touches_before(self, level_id: str, end_ns: int) -> int | None:
        """How often a level of the session was touched before `end_ns`; None of a price of the trader's own."""
        return int(np.searchsorted(self.touches(level_id), end_ns, side="left")) if self.has_level(level_id) else None

    def _read_trades(self) -> pl.DataFrame:
        return self.day.kept.between(self.ladder.start_ns, min(self.ladder.end_ns, self.day.now_ns))

    def _find_touches(self, levels: pl.DataFrame) -> pl.DataFrame:
        from engine.setups.triggers import session_triggers

        day = self.day
        return session_triggers(
            self.ladder, levels, day.trades_so_far(), SetupParams(), kinds=(TriggerKind.TOUCH.value,), window_s=SETUP_WINDOW_S,
            trading_start_ns=day.windows.trading_start_ns, data_end_ns=day.now_ns // (SETUP_WINDOW_S * NS) * SETUP_WINDOW_S * NS,
        )  # fmt: skip


def opened(day: LiveDay, *, simulated: bool = False) -> LiveSession:
    """The session of a day, with what is known of it already."""
    made = LiveSession(day, simulated=simulated)
    if day.ladder.closed:
        made.refresh()
    return made


# ----------------------------------------------------------------------------
# Which session is under way


def is_running(status: dict[str, object], wall_ns: int) -> bool:
    """Whether a recorder writes the journal whose status this is."""
    return bool(status) and status["state"] != "stopped" and (wall_ns - int(status["wall_ns"])) / NS <= STALE_S  # type: ignore[call-overload]


WEEKEND = (5, 6)
"""No session is of a Saturday or Sunday: an evening's trading belongs to the next weekday's."""


def date_under_way(journal: Journal, profile: str, wall_ns: int) -> dt.date | None:
    """The date of the session that is recorded: by the feed's own time, and of a recording that has ended by its last record.
    None where nothing was recorded, or the profile has no session on the date.
    """
    status = journal.status()
    now = data_now(status, wall_ns) if is_running(status, wall_ns) else (status.get("last_ns") if status else None)
    if now is None:
        return None
    at = dt.datetime.fromtimestamp(now // NS, NEW_YORK)
    # An evening belongs to the next day's session, unless the profile's own is of the evening.
    for days in (0, 1) if at.time() >= GLOBEX_OPEN else (0,):
        date = at.date() + dt.timedelta(days=days)
        if date.weekday() in WEEKEND:
            continue
        try:
            windows = session_windows(date, profile, root_of(journal.root))
        except NoData:
            continue
        if now < windows.ladder_end_ns or (not days and at.time() < GLOBEX_OPEN):
            return date
    return None


LOOKED_AT = 1 << 20
"""Records at the journal's end by whose trades the contract is chosen."""


RECENT = dt.timedelta(days=7)
"""A selection that is older says nothing of today, as contracts roll; and one of a later date was not known then."""


def busiest(journal: Journal) -> str:
    """The contract that traded most among the last records; empty where none did."""
    found: dict[str, int] = {}
    left = LOOKED_AT
    for date in reversed(journal.dates()):
        n = journal.count(date)
        for symbol, trades in journal.trades_of(journal.records(date, max(n - left, 0)), date).items():
            found[symbol] = found.get(symbol, 0) + trades
        left -= n
        if left <= 0:
            break
    return busier(found, "")


def contract_of(lake: Lake, journal: Journal) -> str:
    """The contract that is followed: that of the newest selection of the last week if it is recorded, else the one that trades most; empty
    without trades. A selection that cannot be read says nothing here, and `spymaster morning` says so.

    Another that trades more is told by an alert, and never changed to by itself.
    """
    from engine.selection import read_selection

    most = busiest(journal)
    if not most:
        return ""
    date = next(d for d in reversed(journal.dates()) if journal.count(d))
    recorded = set(journal.symbols(date).values())
    rows: list[dict[str, Any]] = []
    with suppress(PartitionCorrupt):
        rows = [r for r in read_selection(lake, journal.root) if r["dominant_symbol"] in recorded]
    rows = [r for r in rows if date - RECENT <= r["session_date"] <= date]
    newest = max(rows, key=lambda r: r["session_date"], default=None)
    return str(newest["dominant_symbol"]) if newest is not None else most
