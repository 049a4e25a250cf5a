"""Alerts as functions of closed seconds: a recorded day gives the same list whenever it is gone through, second by second or at once."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import os
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from engine.errors import LakeBusy, LakeWriteFailed, SessionError
from engine.ladder import NO_TICK, Ladder
from engine.lake.lock import alone
from engine.lake.writer import append_line
from engine.levels import title
from engine.live.journal import Journal
from engine.sessions import clock_text
from engine.vocab import NS

WEBHOOK = "SPYMASTER_WEBHOOK"
"""Environment variable with the address that alerts are posted to: https, or on loopback."""

_PULL, _FILL = 6, 8
"""Columns of a ladder's values: bids', and one further the asks'."""

DEPTH_REACH = 200
"""Ticks around the touch in which what rests is read where it was not known."""


@dataclass(frozen=True)
class AlertRules:
    """When alerts are given.

    approach_ticks: a level is approached within so many ticks, and again only after `rearm_ticks` more between
    cool_down_s: of one kind and level there is one alert in so many seconds
    wall_times, wall_s, wall_ticks: a wall is so many times the median size of the prices of its side within so many ticks of the touch, for
        so many seconds; it is gone where less than half of its size is left
    levels_s: levels are looked up at every so many seconds
    """

    approach_ticks: int = 8
    rearm_ticks: int = 4
    cool_down_s: int = 60
    wall_times: float = 4.0
    wall_s: int = 5
    wall_ticks: int = 10
    levels_s: int = 5


@dataclass(frozen=True)
class Alert:
    """An alert: the end of the second that gave it, its kind, the level's id or a price, its tick, and a sentence."""

    ts_ns: int
    kind: str
    level_id: str
    tick: int
    text: str


@dataclass
class _Wall:
    size: int
    since: int
    told: bool = False
    flows: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=10))  # pulled, filled of the last seconds


class Watch:
    """The alerts of a session, from its ladder's closed seconds in their order."""

    def __init__(self, ladder: Ladder, rules: AlertRules | None = None, begin: int = 0) -> None:
        self.ladder, self.rules = ladder, rules or AlertRules()
        self.seconds = begin
        self._off: dict[tuple[str, str], bool] = {}  # given, and not armed again yet
        self._last: dict[tuple[str, str], int] = {}
        self._walls: dict[tuple[int, int], _Wall] = {}
        self._depth: dict[tuple[int, int], int] = {}
        self._knows_depth = False

    def go_on(self, ladder: Ladder) -> None:
        """Go on with the ladder of a day that was begun anew: what was given stays given, what rests is read again."""
        self.ladder = ladder
        self._forget_book()

    def _forget_book(self) -> None:
        self._walls.clear()
        self._knows_depth = False

    def until(self, second: int, levels: pl.DataFrame) -> list[Alert]:
        """Alerts of the seconds before `second` that were not looked at yet, by levels as known at their time or later."""
        found: list[Alert] = []
        starts, ends, ticks = (levels[c].to_numpy() for c in ("start_ts_ns", "end_ts_ns", "level_tick"))
        ids = levels["level_id"].to_list()
        there: list[tuple[str, int]] = []
        looked_up = -1
        while self.seconds < second:
            at = self.seconds
            block = self.ladder.start_ns + at // self.rules.levels_s * self.rules.levels_s * NS
            if self.ladder.valid[at]:
                if block != looked_up:
                    there = [(ids[i], int(ticks[i])) for i in np.flatnonzero((starts <= block) & (block < ends))]
                    looked_up = block
                found += self._levels(at, there)
                found += self._look_at_walls(at)
            else:
                self._forget_book()
            self.seconds += 1
        return found

    def _give(self, at: int, kind: str, level_id: str, tick: int, text: str) -> Iterator[Alert]:
        if at - self._last.get((kind, level_id), -self.rules.cool_down_s) >= self.rules.cool_down_s:
            self._last[kind, level_id] = at
            yield Alert(self.ladder.start_ns + (at + 1) * NS, kind, level_id, tick, text)

    def _levels(self, at: int, there: list[tuple[str, int]]) -> Iterator[Alert]:
        last, rules = int(self.ladder.last_tick[at]), self.rules
        if last == NO_TICK:
            return
        before = int(self.ladder.last_tick[at - 1]) if at else last
        for level_id, tick in there:
            away = abs(last - tick)
            price = f"{self.ladder.root.to_price(tick):.10g}"
            near, touch = ("approach", level_id), ("touch", level_id)
            if away <= rules.approach_ticks and not self._off.get(near, False):
                self._off[near] = True
                side = "below" if last < tick else "above"
                yield from self._give(at, *near, tick, f"{title(level_id)} {price}: {away} ticks away, from {side}")
            elif away > rules.approach_ticks + rules.rearm_ticks:
                self._off[near] = False
            met = away == 0 or (before != NO_TICK and (before - tick) * (last - tick) < 0)
            if met and not self._off.get(touch, False):
                self._off[touch] = True
                yield from self._give(at, *touch, tick, f"{title(level_id)} {price}: touched")
            elif away > rules.rearm_ticks:
                self._off[touch] = False

    def _look_at_walls(self, at: int) -> Iterator[Alert]:
        lad, rules = self.ladder, self.rules
        bid, ask = int(lad.best_bid_tick[at]), int(lad.best_ask_tick[at])
        if bid == NO_TICK or ask == NO_TICK:
            return
        if not self._knows_depth:
            self._read_depth(at, bid, ask)
        rows = slice(int(lad.offset[at]), int(lad.offset[at + 1]))
        flows: dict[tuple[int, int], tuple[int, int]] = {}
        for tick, v in zip(lad.tick[rows].tolist(), lad.values[rows].tolist()):
            for side in (0, 1):
                self._depth[side, tick] = v[side]
                flows[side, tick] = (v[_PULL + side], v[_FILL + side])
        for side, best, step in ((0, bid, -1), (1, ask, 1)):
            near = [(best + step * k, self._depth.get((side, best + step * k), 0)) for k in range(rules.wall_ticks + 1)]
            sizes = [d for _, d in near if d > 0]
            least = rules.wall_times * float(np.median(sizes)) if len(sizes) >= 5 else float("inf")
            for tick, depth in near:
                wall = self._walls.get((side, tick))
                if wall is None and depth >= least:
                    self._walls[side, tick] = _Wall(depth, at)
                elif wall is not None and not wall.told and depth < least:
                    del self._walls[side, tick]
        for (side, tick), wall in list(self._walls.items()):
            wall.flows.append(flows.get((side, tick), (0, 0)))
            depth = self._depth.get((side, tick), 0)
            name = f"price:{lad.root.to_price(tick):.10g}"
            what = "bids" if side == 0 else "asks"
            if not wall.told and at - wall.since >= rules.wall_s - 1:
                # Price has gone through it before it was told, or what stood there has left.
                if 2 * depth < wall.size or (tick > bid if side == 0 else tick < ask):
                    del self._walls[side, tick]
                    continue
                wall.told = True
                wall.size = depth
                yield from self._give(at, "wall appears", name, tick, f"a wall of {depth:,} {what} at {name[6:]}")
            wall.size = max(wall.size, depth)
            if wall.told and 2 * depth < wall.size:
                pulled, filled = (sum(f[i] for f in wall.flows) for i in (0, 1))
                by = "pulled" if pulled > filled else "filled"
                kind = f"wall vanishes by {'pulls' if pulled > filled else 'fills'}"
                text = f"the wall of {wall.size:,} {what} at {name[6:]} was {by}: {pulled:,} pulled, {filled:,} filled, {depth:,} left"
                del self._walls[side, tick]
                yield from self._give(at, kind, name, tick, text)

    def _read_depth(self, at: int, bid: int, ask: int) -> None:
        """What rests before a second after which it was not known."""
        low, n = bid - DEPTH_REACH, ask - bid + 2 * DEPTH_REACH
        for i, (bids, asks) in enumerate(self.ladder.state_before(at, low, n)[:, :2].tolist()):
            self._depth[0, low + i], self._depth[1, low + i] = bids, asks
        self._knows_depth = True


class FourOpen:
    """Alerts where all four conditions of a fall or a rise open at a level that price approaches, window by window."""

    def __init__(self, rules: AlertRules | None = None) -> None:
        self.rules = rules or AlertRules()
        self._open: dict[tuple[str, str], bool] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._until = -(2**62)

    def take(self, windows: pl.DataFrame) -> list[Alert]:
        """Alerts of the windows (``mbo_level_vacuum_5s``) that ended after those of before, in time order."""
        found: list[Alert] = []
        # Of levels that price comes to: far from it conditions open and shut by the minute.
        met = (pl.col("window_end_ts_ns") > self._until) & (pl.col("approach") != "approach_none")
        new = windows.filter(met).sort("window_end_ts_ns", "level_id")
        for end, level_id, tick, down, up in new.select("window_end_ts_ns", "level_id", "level_tick", "down_open", "up_open").iter_rows():
            for way, n in (("fall", down), ("rise", up)):
                key = (level_id, way)
                is_open = n == 4
                if is_open and not self._open.get(key, False) and end - self._last.get(key, -(2**62)) >= self.rules.cool_down_s * NS:
                    self._last[key] = end
                    found.append(
                        Alert(end, f"four open, {way}", level_id, tick, f"{title(level_id)}: all four conditions of a {way} are open")
                    )
                self._open[key] = is_open
            self._until = end
        return found


def four_open(windows: pl.DataFrame, rules: AlertRules | None = None) -> list[Alert]:
    """As `FourOpen`, of all windows of a session at once."""
    return FourOpen(rules).take(windows)


def busier(trades: dict[str, int], symbol: str) -> str:
    """The contract that traded most, by the numbers of trades of each over some time; empty where none traded more than `symbol`."""
    best = max(trades, key=lambda s: (trades[s], s), default="")
    return best if best and trades[best] > trades.get(symbol, 0) else ""


# ----------------------------------------------------------------------------
# Where alerts go


LATE_NS = 60 * NS
"""An alert that is older is kept and told, but not posted: it helps nobody any more."""


class Once:
    """Tells alerts that are new from those that were told: of one kind and level there is one within the cool-down."""

    def __init__(self, rules: AlertRules | None = None) -> None:
        self._apart_ns = (rules or AlertRules()).cool_down_s * NS
        self._told: dict[tuple[str, str], list[int]] = {}

    def new(self, alerts: list[Alert]) -> list[Alert]:
        """The new ones of `alerts`, which from now on were told."""
        found = []
        for a in alerts:
            told = self._told.setdefault((a.kind, a.level_id), [])
            if not any(abs(ts_ns - a.ts_ns) < self._apart_ns for ts_ns in told):
                told.append(a.ts_ns)
                found.append(a)
        return found


FEED = "feed"
"""Kind of the alerts of the feed, which is the root's: whatever contract is watched, they are the same."""


def alert_file(symbol: str) -> str:
    """Name of a contract's file of alerts, beside a date's journal: what is told of one says nothing of another; `FEED` for the feed's."""
    return f"alerts-{symbol}.jsonl"


class AlertBook:
    """A file of alerts, each of which stands there once, whoever watches: pages, and `spymaster live watch`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._once, self._read = Once(), 0
        self._owed: list[Alert] = []  # given here, and not kept yet

    def add(self, alerts: list[Alert]) -> tuple[list[Alert], str]:
        """Keep the alerts that nobody has given yet: those, and why not all are kept; what is not is tried again the next time."""
        if not alerts and not self._owed:
            return [], ""
        with ExitStack() as stack:
            # Whoever holds it for so long stands still: an alert that is kept twice is better than none. Where no lock can be made the
            # file cannot be written either, and that says why.
            with suppress(LakeBusy, LakeWriteFailed):
                stack.enter_context(alone(self.path.with_suffix(".lock"), f"{self.path}: another process keeps an alert", wait_s=1.0))
            there = kept(self.path)
            others, self._read = there[self._read :], len(there)
            # Another process may have kept by now what could not be kept here.
            of_others = Once()
            of_others.new(others)
            self._owed = of_others.new(self._owed)
            self._once.new(others)
            new = self._once.new(alerts)
            self._owed += new
            while self._owed:
                try:
                    append_line(self.path, asdict(self._owed[0]))
                except LakeWriteFailed as e:
                    return new, str(e)
                del self._owed[0]
        return new, ""


class AlertBooks:
    """The files of a root's alerts (`alert_file`): one a date for each contract that is watched, and one for the feed."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._books: dict[Path, AlertBook] = {}

    def add(self, date: dt.date, symbol: str, alerts: list[Alert]) -> tuple[list[Alert], str]:
        """Keep alerts of a contract's session and of the feed, as `AlertBook.add` does."""
        new, whys = list[Alert](), list[str]()
        for name in (FEED, symbol):
            path = self._journal.path(date, alert_file(name))
            book = self._books.setdefault(path, AlertBook(path))
            found, why = book.add([a for a in alerts if (a.kind == FEED) == (name == FEED)])
            new += found
            whys += [why] if why else []
        return [a for a in alerts if a in new], ", ".join(whys)


def kept(path: Path) -> list[Alert]:
    """The alerts in a file of them, in order; a line that was cut short by the end of its process is passed over."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, TypeError):
            found.append(Alert(**json.loads(line)))
    return found


def webhook() -> str:
    """The address that alerts are posted to, by the environment; empty without one.
    Raises SessionError where it is neither https nor on loopback, or no address at all.
    """
    address = os.environ.get(WEBHOOK, "")
    try:
        parts = urllib.parse.urlsplit(address)
        is_sound = (parts.port is None or parts.port > 0) and address.isascii() and address.isprintable() and " " not in address
    except ValueError:  # a bracket that is not closed, a port that is none
        is_sound = False
    if not is_sound:
        raise SessionError(f"{WEBHOOK}: expected an https address, or one of this machine, found something that is no address")
    if address and not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"))):
        raise SessionError(f"{WEBHOOK}: expected an https address, or one of this machine, found one of {parts.scheme or 'no scheme'}")
    return address


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A webhook that points elsewhere is not followed."""

    def redirect_request(self, *args: object, **more: object) -> None:
        """Follow nothing."""


def post(address: str, alert: Alert, tries: int = 3, timeout_s: float = 3.0, wait_s: float = 0.5) -> str:
    """Post an alert as JSON; empty where it was taken, else why not. Nothing but the alert is sent."""
    body = json.dumps({**asdict(alert), "at": clock_text(alert.ts_ns)}).encode()
    why = ""
    for k in range(tries):
        try:
            request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s):
                return ""
        except (urllib.error.URLError, OSError) as e:
            why = f"{type(e).__name__}: {getattr(e, 'code', '') or getattr(e, 'reason', e)}"
        except (http.client.HTTPException, ValueError) as e:  # an answer that is not HTTP; its words may hold the address, which is secret
            why = f"{type(e).__name__}: expected an answer of HTTP"
        if k + 1 < tries:
            time.sleep(wait_s)
    return why


class Poster:
    """Posts alerts to an address, one after the other, in a thread of its own; nothing where the address is empty.

    `said` is called in that thread: with why an alert was not taken, and with nothing where one was.
    """

    def __init__(self, address: str, said: Callable[[str], object]) -> None:
        self._address, self._said = address, said
        self._waiting: queue.SimpleQueue[tuple[Alert, float] | None] = queue.SimpleQueue()
        # A process that ends does not wait for an address that does not answer.
        self._thread = threading.Thread(target=self._run, daemon=True)
        if address:
            self._thread.start()

    def post(self, alerts: list[Alert], now_ns: int) -> None:
        """Post those of the last minute."""
        now = time.monotonic()
        for alert in alerts:
            age_ns = max(now_ns - alert.ts_ns, 0)
            if self._address and age_ns < LATE_NS:
                self._waiting.put((alert, now + (LATE_NS - age_ns) / NS))

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            alert, late = waiting
            # Those before it may have waited for answers that did not come.
            why = post(self._address, alert) if time.monotonic() < late else f"it was {LATE_NS // NS} s old before its turn came"
            self._said(f"{WEBHOOK}: an alert was not taken: {why}" if why else "")

    def close(self, wait_s: float = 5.0) -> None:
        """Wait so long for what is still to be posted; what is not posted by then is left."""
        self._waiting.put(None)
        if self._address:
            self._thread.join(wait_s)
