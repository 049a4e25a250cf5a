"""The journal of the live feed, ``lake/live/{root}/``: the one thing between the recorder, which alone writes it, and all that read it.

``{UTC date of ts_recv}/mbo.bin`` holds the market-by-order records as they were received, 56 bytes each and nothing else; ``events.jsonl``
beside it a line for whatever else happened, with the number of records before it; ``trades.bin`` the trades since the Globex open of a day
that was joined late. ``status.json`` says every second how the recording is doing.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import BadFeed, LakeWriteFailed, OverlapDiffers, remedy
from engine.lake.lock import locked
from engine.lake.writer import append_line, write_bytes_atomic, writing
from engine.mbo.dbn import mapped_symbol
from engine.sessions import GLOBEX_CLOSE, GLOBEX_OPEN, NEW_YORK
from engine.vocab import F_SNAPSHOT, NS, split_contract

MBO = np.dtype(
    [
        ("length", "u1"), ("rtype", "u1"), ("publisher_id", "<u2"), ("instrument_id", "<u4"), ("ts_event", "<i8"),
        ("order_id", "<u8"), ("price", "<i8"), ("size", "<u4"), ("flags", "u1"), ("channel_id", "u1"), ("action", "u1"),
        ("side", "u1"), ("ts_recv", "<i8"), ("ts_in_delta", "<i4"), ("sequence", "<u4"),
    ]
)  # fmt: skip
"""A market-by-order record as it is received; `action` and `side` hold the letter's code."""

TRADE = np.dtype(
    [
        ("length", "u1"), ("rtype", "u1"), ("publisher_id", "<u2"), ("instrument_id", "<u4"), ("ts_event", "<i8"),
        ("price", "<i8"), ("size", "<u4"), ("action", "u1"), ("side", "u1"), ("flags", "u1"), ("depth", "u1"),
        ("ts_recv", "<i8"), ("ts_in_delta", "<i4"), ("sequence", "<u4"),
    ]
)  # fmt: skip
"""A trade as the schema ``trades`` has it."""

FOLDER = "live"
OVERLAP_NS = 2 * NS
"""A recording is resumed from so long before its last record, and what comes again must be what was recorded."""

TAIL_RECORDS = 400_000
"""Most records at the journal's end in which the overlap is looked for."""

DAY_NS = 86_400 * NS
LOW_DISK, LEAST_DISK = 2_000_000_000, 200_000_000
"""Bytes free below which the recording warns, and below which it stops."""

STALE_S = 5.0
"""Seconds after which a status that was not replaced says that nothing records."""


STEP_NS = NS // 2
"""A clock that is so far from where it should be by now was set."""


def steady_ns() -> int:
    """A clock that nobody sets, and that goes on while the machine sleeps, where the system has one."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def utc_date(ns: int) -> dt.date:
    """UTC date of an instant."""
    return dt.datetime.fromtimestamp(ns // NS, dt.UTC).date()


def _wall_text(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns / NS, dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


# ----------------------------------------------------------------------------
# Reading


@dataclass(frozen=True)
class FeedGap:
    """A span ``[start_ns, end_ns)`` of reception in which records may be missing, and why."""

    start_ns: int
    end_ns: int
    reason: str


class Journal:
    """The journal of a root, as anything may read it while it is being written."""

    def __init__(self, lake: Path | str, root: str) -> None:
        self.root = root
        self.folder = Path(lake) / FOLDER / root
        self._events: dict[dt.date, tuple[int, list[dict[str, Any]]]] = {}  # by date: the file's size, and what it says
        self._symbols: dict[dt.date, tuple[object, dict[int, str]]] = {}  # by date: what it was made of, and the mapping
        self._paths: dict[tuple[dt.date, str], Path] = {}

    def dates(self) -> list[dt.date]:
        """UTC dates that have a folder, in order."""
        found = []
        with suppress(FileNotFoundError):
            for entry in self.folder.iterdir():
                with suppress(ValueError):
                    found.append(dt.date.fromisoformat(entry.name))
        return sorted(found)

    def path(self, date: dt.date, name: str = "mbo.bin") -> Path:
        """A file of a date."""
        path = self._paths.get((date, name))
        if path is None:
            path = self._paths[date, name] = self.folder / date.isoformat() / name
        return path

    def count(self, date: dt.date) -> int:
        """Whole records of a date."""
        try:
            return self.path(date).stat().st_size // MBO.itemsize
        except FileNotFoundError:
            return 0

    def records(self, date: dt.date, first: int = 0, end: int | None = None) -> NDArray[np.void]:
        """Records ``[first, end)`` of a date, to the last whole one where None; dtype `MBO`."""
        last = self.count(date) if end is None else min(end, self.count(date))
        if last <= first:
            return np.zeros(0, MBO)
        return np.fromfile(self.path(date), MBO, last - first, offset=first * MBO.itemsize)

    def trades(self, date: dt.date) -> NDArray[np.void]:
        """Trades before the recording was joined on a date; dtype `TRADE`."""
        path = self.path(date, "trades.bin")
        return np.fromfile(path, TRADE) if path.exists() else np.zeros(0, TRADE)

    def events(self, date: dt.date) -> list[dict[str, Any]]:
        """Events of a date in order; a line that was cut short by the end of its process is passed over."""
        path = self.path(date, "events.jsonl")
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return []
        known = self._events.get(date)
        if known is not None and known[0] == size:  # it is only ever added to
            return known[1]
        found = []
        for line in path.read_bytes()[:size].decode("utf-8", "replace").splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and "what" in event:
                    found.append(event)
        self._events[date] = (size, found)
        return found

    def gaps(self, date: dt.date) -> list[FeedGap]:
        """Spans of a date's recording in which records may be missing."""
        return [FeedGap(e["from_ns"], e["to_ns"], e["reason"]) for e in self.events(date) if e["what"] == "gap"]

    def symbols(self, date: dt.date) -> dict[int, str]:
        """Instrument id to raw symbol, as the feed said on a date, or last before it; the same dictionary until it says more."""
        # What was said before does not change once the date has begun: asked for at every look, it is looked through once.
        said = self.events(date)
        known = self._symbols.get(date)
        if known is not None and known[0] is said and said:
            return known[1]
        found: dict[int, str] = {}
        for day in self.dates():
            if day <= date:
                found |= {int(i): s for e in self.events(day) if e["what"] == "mapping" for i, s in e["symbols"].items()}
        self._symbols[date] = said, found
        return found

    def trades_of(self, records: NDArray[np.void], date: dt.date) -> dict[str, int]:
        """How many trades of each contract are among records of a date; spreads are none."""
        ids, counts = np.unique(records["instrument_id"][records["action"] == ord("T")], return_counts=True)
        return self.by_contract(dict(zip(ids.tolist(), counts.tolist())), date)

    def by_contract(self, by_instrument: dict[int, int], date: dt.date) -> dict[str, int]:
        """Numbers by instrument id, of a date, as those of contracts; spreads are left out."""
        symbols, found = self.symbols(date), dict[str, int]()
        for i, n in by_instrument.items():
            symbol = symbols.get(i, "")
            if split_contract(symbol) is not None:
                found[symbol] = found.get(symbol, 0) + n
        return found

    def status(self) -> dict[str, Any]:
        """What the recorder said last; empty where none ever ran."""
        try:
            found = json.loads((self.folder / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def at_lake(lake: Path | str) -> str:
    """The option of a command that names a lake; empty for the one that it takes by itself."""
    return "" if str(lake) == "lake" else f" --lake {shlex.quote(str(lake))}"


def record_command(lake: Path | str, root: str) -> str:
    """The command that records a root's live feed into a lake."""
    return f"spymaster live --symbol {root}{at_lake(lake)}"


def badge(status: dict[str, Any], wall_ns: int, command: str) -> tuple[str, str]:
    """(word, text) of the badge for a status read at `wall_ns`: what a trader must know before trusting the picture.

    The word is one of LIVE, DELAYED, CATCHING UP, RECONNECTING, QUIET, CLOSED, GAP, STOPPED; `command` is what records.
    """
    if not status:
        return "STOPPED", f"STOPPED: nothing was recorded yet; `{command}` records"
    age = (wall_ns - int(status["wall_ns"])) / NS
    if status["state"] == "stopped" or age > STALE_S:
        why = status["reason"] if status["state"] == "stopped" else f"the recorder has said nothing for {age:.0f} s"
        more = f"; `{command}` goes on where it stopped" if status.get("feed", "live") == "live" else "; another play begins anew"
        return "STOPPED", f"STOPPED: {why}{more}"
    now = data_now(status, wall_ns)
    last = status["last_ns"]
    if status["state"] == "reconnecting":
        since = (wall_ns - int(status["since_ns"])) / NS
        return "RECONNECTING", f"RECONNECTING {since:.0f} s (attempt {status['attempt']}): {status['reason']}"
    if status["state"] == "catching up":
        return "CATCHING UP", f"CATCHING UP {_clock(last)}" if last else "CATCHING UP"
    if last is None:
        return "QUIET", "connected, and nothing was traded or quoted yet"
    lag = (now - last) / NS / feed_speed(status)
    if status.get("gap") and now - status["gap"][1] < 60 * NS:
        a, b = status["gap"]
        return "GAP", f"GAP {_clock(a)}-{_clock(b)}"
    if lag <= 2:
        return "LIVE", "LIVE"
    if status["silent_s"] <= 2.5 * status["heartbeat_s"]:
        local = dt.datetime.fromtimestamp(now // NS, dt.UTC)
        return ("CLOSED", "CLOSED until the venue opens") if is_closed(local) else ("QUIET", f"QUIET {lag:.0f} s: heartbeats only")
    return "DELAYED", f"DELAYED {lag:.0f} s"


def _clock(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns // NS, NEW_YORK):%H:%M:%S}"


def is_closed(at: dt.datetime) -> bool:
    """Whether Globex is shut by the clock alone: the daily hour from 17:00 New York, and the weekend."""
    local = at.astimezone(NEW_YORK)
    day, time_of = local.weekday(), local.time()
    if day == 5 or (day == 6 and time_of < GLOBEX_OPEN) or (day == 4 and time_of >= GLOBEX_CLOSE):
        return True
    return GLOBEX_CLOSE <= time_of < GLOBEX_OPEN


def feed_speed(status: dict[str, Any]) -> float:
    """Seconds of the feed in a second of the wall's: 1, but of a replayed one. Delays are told in the wall's."""
    clock = status.get("clock")
    return float(clock["speed"]) if clock else 1.0


def data_now(status: dict[str, Any], wall_ns: int) -> int:
    """The feed's own time at `wall_ns`: the wall clock's, or the venue's where that one is off; of a replayed feed that of the replay."""
    clock = status.get("clock")
    if clock:
        return int(clock["data_ns"] + (wall_ns - clock["wall_ns"]) * clock["speed"])
    return wall_ns - _skew_ns(status)


def _skew_ns(status: dict[str, Any]) -> int:
    """How far this machine's clock is ahead of the venue's; nothing up to a second, which a message may have been on its way."""
    if status.get("clock"):
        return 0
    skew = int(status.get("skew_ns") or 0)
    if status.get("last_ns"):
        skew = min(skew, int(status["wall_ns"]) - int(status["last_ns"]))  # no record is of the future
    return skew if abs(skew) > NS else 0


def clock_words(status: dict[str, Any]) -> str:
    """How far this machine's clock is off, with what sets it; empty where it is not, as far as the gateway has told."""
    skew = _skew_ns(status)
    way = "ahead of" if skew > 0 else "behind"
    return f"this machine's clock is {abs(skew) / NS:.1f} s {way} the venue's: `timedatectl set-ntp true` sets it" if skew else ""


# ----------------------------------------------------------------------------
# Bytes of the feed to records


ERROR, MAPPING, SYSTEM, TRADES, RECORD = 0x15, 0x16, 0x17, 0x00, 0xA0
HEARTBEAT, SUBSCRIPTION_ACK, REPLAY_COMPLETED = 0, 1, 3
_KNOWN = frozenset((ERROR, MAPPING, SYSTEM, TRADES))
_ACTION_OK, _SIDE_OK = np.zeros(256, np.bool_), np.zeros(256, np.bool_)
_ACTION_OK[list(b"ACMRTFN")] = _SIDE_OK[list(b"BAN")] = True
MOST_METADATA = 1 << 22


class Splitter:
    """Cut the bytes of one session, as they come, into market-by-order records and other messages, by their length byte."""

    def __init__(self) -> None:
        self.rest = b""
        self.metadata: bytes | None = None

    def take(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """(market-by-order records, other messages) that are whole now; BadFeed, which names the byte, where something is no record."""
        data = self.rest + data if self.rest else data
        if self.metadata is None:
            if len(data) < 8:
                self.rest = data
                return b"", []
            length = 8 + int.from_bytes(data[4:8], "little")
            if data[:3] != b"DBN" or length > MOST_METADATA:
                raise BadFeed(f"expected a stream that begins with DBN metadata, found {data[:8]!r}")
            if len(data) < length:
                self.rest = data
                return b"", []
            self.metadata, data = data[:length], data[length:]
        buf = np.frombuffer(data, np.uint8)
        at, records, others = 0, [], []
        while len(buf) - at >= 2:
            length = int(buf[at]) * 4
            if buf[at + 1] == RECORD and length == MBO.itemsize:
                block = buf[at : at + (len(buf) - at) // MBO.itemsize * MBO.itemsize].reshape(-1, MBO.itemsize)
                good = (block[:, 0] == MBO.itemsize // 4) & (block[:, 1] == RECORD)
                n = len(block) if good.all() else int(np.argmin(good))
                if n == 0:
                    break
                bad = ~(_ACTION_OK[block[:n, 38]] & _SIDE_OK[block[:n, 39]])
                if bad.any():
                    raise BadFeed(f"expected a market-by-order record, found {block[int(np.argmax(bad))][:40].tobytes()!r}")
                records.append(data[at : at + n * MBO.itemsize])
                at += n * MBO.itemsize
                continue
            if length < 16 or int(buf[at + 1]) not in _KNOWN:
                raise BadFeed(f"expected a record, found the bytes {data[at : at + 8]!r}")
            if at + length > len(buf):
                break
            others.append(data[at : at + length])
            at += length
        self.rest = data[at:]
        return b"".join(records), others


def message_of(record: bytes) -> tuple[str, int | None]:
    """(text, code) of a system or error message, of any DBN version; code None where the version has none."""
    long = len(record) >= 320
    text = record[16 : (319 if record[1] == SYSTEM else 318) if long else len(record)].split(b"\0")[0].decode("utf-8", "replace")
    return text, (record[319] if record[1] == SYSTEM else record[318]) if long else None


# ----------------------------------------------------------------------------
# Writing


@dataclass
class _Open:
    """The date's file that is being written."""

    date: dt.date
    fd: int
    records: int


LOCK = "lock"
"""File in `FOLDER` that a recorder holds."""


def recording_lock(lake: Path | str) -> tuple[Path, str]:
    """The lock file that a recorder holds, and what is said where another one does (`engine.lake.lock.locked`)."""
    folder = Path(lake) / FOLDER
    return folder / LOCK, f"{folder}: the process {{pid}} records into this lake; stop it first, or give another --lake"


@dataclass
class Recorder:
    """The one writer of a root's journal: takes what the feed receives, and decides where a new connection begins.

    lake, root: the lake's folder and the root whose contracts are recorded
    feed: ``live``, or ``replayed`` of a file
    clock: of a replayed feed ``{"wall_ns", "data_ns", "speed"}``
    hide: takes secrets out of a text that comes from elsewhere
    disk_free: bytes that the disk has left
    """

    lake: Path
    root: str
    dataset: str = "GLBX.MDP3"
    feed: str = "live"
    heartbeat_s: float = 5.0
    clock: dict[str, Any] | None = None
    hide: Callable[[str], str] = str
    disk_free: Callable[[Path], int] = field(default=lambda folder: shutil.disk_usage(folder).free)

    def __post_init__(self) -> None:
        self.journal = Journal(self.lake, self.root)
        self._open: _Open | None = None
        self._lock_fd = -1
        self._expect, self._dropped = b"", 0
        self._rejoin = ""  # why the next connection must begin with a snapshot
        self._joining: tuple[int | None, str] | None = None
        self._back = 0
        self._mapped: dict[int, str] = {}
        self._warned = False
        self._rate: list[tuple[int, int]] = []
        self.state, self.reason, self.attempt = "connecting", "", 0
        self.records_now = 0
        self.last_ns: int | None = None
        self._heard_ns = steady_ns()
        self.since_ns = time.time_ns()
        self._offset_ns = self.since_ns - self._heard_ns  # of the machine's clock from the one that nobody sets
        self.gap: tuple[int, int] | None = None
        self.skew_ns: int | None = None

    # --- the process's own life

    def start(self) -> None:
        """Take the lock and go on with the journal that is there: bytes of a record that was cut short are taken away.
        Raises LakeBusy where another process records into this lake, LakeWriteFailed where it cannot be written.
        """
        self._lock_fd = locked(*recording_lock(self.lake))
        with writing(self.journal.folder):
            self.journal.folder.mkdir(parents=True, exist_ok=True)
        dates = [d for d in self.journal.dates() if self.journal.path(d).exists()]
        if dates:
            self._begin(dates[-1])
            self._mapped = dict(self.journal.symbols(dates[-1]))
        tail = self.tail(1)
        if len(tail):
            self.last_ns = int(tail["ts_recv"][-1])
        self.say("started", pid=os.getpid(), feed=self.feed)

    def close(self, reason: str) -> None:
        """Say why the recording ends, and let go of the files and the lock."""
        self.state, self.reason = "stopped", reason
        # What is said last matters less than what ended it.
        with suppress(LakeWriteFailed):
            self.say("stopped", reason=reason)
        with suppress(LakeWriteFailed):
            self.write_status()
        if self._open is not None:
            with suppress(OSError):
                os.fsync(self._open.fd)
            os.close(self._open.fd)
            self._open = None
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    # --- what the feed asks and says

    def resume(self) -> int | None:
        """Where a new connection begins: ns of ``ts_event`` from which records are to come again, or None: with a snapshot of the book."""
        self._expect, self._dropped, self._joining = b"", 0, None
        start = None
        if not self._rejoin:
            start, self._expect = self._overlap()
        if start is None:
            reason = self._rejoin or "nothing was recorded after the last snapshot"
            self._joining = (self.last_ns, reason)
        self.state = "catching up"
        return start

    def connected(self, session: str, start: int | None) -> None:
        """A session with the gateway has begun."""
        self.heard()
        self.attempt = 0
        self.say("connected", session=session, start_ns=start, overlap=len(self._expect) // MBO.itemsize)

    def heard(self) -> None:
        """Bytes came, whatever they are."""
        self._heard_ns = steady_ns()

    @property
    def silent_s(self) -> float:
        """Seconds in which no byte has come."""
        return (steady_ns() - self._heard_ns) / NS

    def take(self, records: bytes) -> None:
        """Write records as they came; OverlapDiffers where what comes again is not what was recorded, LakeWriteFailed."""
        if self._expect:
            records = self._prove(records)
        if not records:
            return
        found = np.frombuffer(records, MBO)
        if self._joining is not None:
            self._joined(found)
        elif self.state == "catching up" and not self._expect and self._is_now(int(found["ts_recv"][-1])):
            self._set("live")
        received = found["ts_recv"]
        self._back += int((np.diff(received, prepend=self.last_ns if self.last_ns is not None else received[0]) < 0).sum())
        days = np.maximum.accumulate(received // DAY_NS)
        if self._open is not None:
            days = np.maximum(days, (self._open.date - dt.date(1970, 1, 1)).days)
        cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(found)]
        for a, b in pairwise(cuts):
            date = dt.date(1970, 1, 1) + dt.timedelta(days=int(days[a]))
            if self._open is None or self._open.date != date:
                self._begin(date)
            self._write(records[a * MBO.itemsize : b * MBO.itemsize])
        self.last_ns = int(received[-1])

    def trades(self, records: bytes) -> None:
        """Keep the trades from before the recording was joined, unless as many of the date are there already."""
        date = self._open.date if self._open is not None else utc_date(data_now({"clock": self.clock}, time.time_ns()))
        path = self.journal.path(date, "trades.bin")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size >= len(records):
            self.say("trades", n=len(records) // TRADE.itemsize, reason="as many are there")
            return
        write_bytes_atomic(path, records)
        self.say("trades", n=len(records) // TRADE.itemsize)

    def message(self, record: bytes) -> tuple[str, int | None]:
        """Note a message that is no market-by-order record; (text, code) of it.
        Raises OverlapDiffers at the end of a replay that lacks records.
        """
        kind = record[1]
        if kind == MAPPING:
            mapping = mapped_symbol(record)
            if mapping is not None and self._mapped.get(mapping[0]) != mapping[1]:
                self._mapped[mapping[0]] = mapping[1]
                self.say("mapping", symbols={str(mapping[0]): mapping[1]})
            return "", None
        text, code = message_of(record)
        text = self.hide(text)
        is_beat = kind == SYSTEM and (code == HEARTBEAT or text == "Heartbeat")
        if is_beat or (kind == SYSTEM and code == SUBSCRIPTION_ACK):  # no records were before it, behind which it would have waited
            self._see_clock(int.from_bytes(record[8:16], "little"))
        if kind == SYSTEM and (code == REPLAY_COMPLETED or text.startswith("Finished")):
            if self._expect:
                raise OverlapDiffers(f"the replay ended without {len(self._expect) // MBO.itemsize} records that were recorded")
            self._set("live")
        if is_beat and self.state == "catching up" and not self._expect:
            self._set("live")
        if kind in (SYSTEM, ERROR) and not is_beat:
            self.say("error" if kind == ERROR else "system", text=text, code=code)
        return text, code

    def must_join(self, reason: str) -> None:
        """Records may be missing: the next connection begins with a snapshot, and what lies between is a gap."""
        self._rejoin = reason

    def lost(self, reason: str, wait_s: float) -> None:
        """The connection is gone, and another one is made in `wait_s` seconds."""
        self.attempt += 1
        if self.state != "reconnecting":
            self.since_ns = time.time_ns()
        self.state, self.reason = "reconnecting", reason
        self.say("lost", reason=reason, again_in_s=round(wait_s, 3), attempt=self.attempt)

    def tick(self) -> None:
        """Once a second: the status, and whether the disk has room; LakeWriteFailed where it has not."""
        self._see_step()
        free = self.disk_free(self.journal.folder)
        if free < LEAST_DISK:
            raise LakeWriteFailed(
                f"{self.journal.folder}: expected {LEAST_DISK >> 20} MB free, found {free >> 20} MB: the recording stopped with a whole "
                f"file; free space, and `{record_command(self.lake, self.root)}` goes on where it stopped"
            )
        if (free < LOW_DISK) != self._warned:
            self._warned = not self._warned
            self.say("disk", free=free)
        self.write_status(free)

    def sync_fd(self) -> int:
        """A descriptor to sync the journal by, which the caller closes; -1 where nothing is open."""
        return os.dup(self._open.fd) if self._open is not None else -1

    # --- what is behind it

    def tail(self, n: int) -> NDArray[np.void]:
        """The last `n` records, of the dates before, too, where the last has fewer."""
        parts: list[NDArray[np.void]] = []
        for date in reversed(self.journal.dates()):
            count = self.journal.count(date)
            parts.insert(0, self.journal.records(date, max(count - n, 0)))
            n -= count
            if n <= 0:
                break
        return np.concatenate([np.zeros(0, MBO), *parts])

    def _overlap(self) -> tuple[int | None, bytes]:
        """Where to resume from, and the records that must come again; (None, nothing) where no live record follows the last snapshot."""
        tail = self.tail(TAIL_RECORDS)
        snapshot = np.flatnonzero(tail["flags"] & F_SNAPSHOT)
        live = tail[snapshot[-1] + 1 :] if len(snapshot) else tail
        if not len(live):
            return None, b""
        # Of a recording that was joined a moment ago nothing before the snapshot was received.
        first = int(live["ts_event"].min()) if len(live) < len(tail) or len(tail) < TAIL_RECORDS else -(2**63)
        start = max(int(live["ts_event"].max()) - OVERLAP_NS, first)
        return start, live[live["ts_event"] >= start].tobytes()

    def _prove(self, records: bytes) -> bytes:
        """Take the overlap off `records`, which must be what was recorded, byte for byte."""
        found = np.frombuffer(records, MBO)
        records = found[(found["flags"] & F_SNAPSHOT) == 0].tobytes()
        n = min(len(self._expect), len(records))
        if records[:n] != self._expect[:n]:
            raise OverlapDiffers("what came again is not what was recorded: records may be missing")
        self._expect, self._dropped = self._expect[n:], self._dropped + n // MBO.itemsize
        if not self._expect:
            self.say("overlap proved", n=self._dropped)
            self.state = "catching up"
        return records[n:]

    def _joined(self, found: NDArray[np.void]) -> None:
        """The first records after a connection that began with a snapshot."""
        assert self._joining is not None
        before, reason = self._joining
        self._joining, self._rejoin = None, ""
        at = int(found["ts_recv"][0])
        self._begin(max(utc_date(at), self._open.date) if self._open is not None else utc_date(at))
        if before is not None:
            self.gap = (before, at)
            self.say("gap", from_ns=before, to_ns=at, reason=reason)
        self.say("snapshot", ts_ns=at, joined=before is None)
        self._set("live")

    def _is_now(self, ts_recv: int) -> bool:
        return data_now({"clock": self.clock, "skew_ns": self.skew_ns}, time.time_ns()) - ts_recv < 2 * NS

    def _see_clock(self, sent_ns: int) -> None:
        """A message of the gateway's own was sent just now, by its clock; one that says another day says nothing."""
        self._see_step()
        skew = time.time_ns() - sent_ns
        if abs(skew) < DAY_NS:
            self.skew_ns = skew

    def _see_step(self) -> None:
        """Move what was told by the machine's clock along with it, where that was set since the last look: the gateway tells its own again
        only in heartbeats, which may not come for hours.
        """
        step = time.time_ns() - steady_ns() - self._offset_ns
        if abs(step) <= STEP_NS:
            return
        self._offset_ns += step
        self.since_ns += step
        if self.skew_ns is not None:
            self.skew_ns += step
        if self.clock is not None:
            self.clock = {**self.clock, "wall_ns": self.clock["wall_ns"] + step}
        self.say("clock set", by_s=round(step / NS, 3))

    def _set(self, state: str) -> None:
        if self.state != state:
            self.state, self.reason, self.since_ns = state, "", time.time_ns()

    def _begin(self, date: dt.date) -> None:
        """Open a date's file at its end, without the bytes of a record that was cut short."""
        if self._open is not None and self._open.date == date:
            return
        path = self.journal.path(date)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            n = os.fstat(fd).st_size // MBO.itemsize
            os.ftruncate(fd, n * MBO.itemsize)
        except OSError as e:
            raise LakeWriteFailed(f"{path}: could not be written: {e}; {remedy(e)}") from e
        if self._open is not None:
            os.fsync(self._open.fd)
            os.close(self._open.fd)
        self._open = _Open(date, fd, n)

    def _write(self, records: bytes) -> None:
        """Append whole records; where the system refuses, what was written of them is taken back to the last whole one."""
        assert self._open is not None
        view = memoryview(records)
        try:
            while view:
                view = view[os.write(self._open.fd, view) :]
        except OSError as e:
            whole = os.fstat(self._open.fd).st_size // MBO.itemsize * MBO.itemsize
            os.ftruncate(self._open.fd, whole)
            raise LakeWriteFailed(
                f"{self.journal.path(self._open.date)}: could not be written: {e}; the recording stopped with a whole file; {remedy(e)}: "
                f"`{record_command(self.lake, self.root)}` goes on where it stopped"
            ) from e
        n = len(records) // MBO.itemsize
        self._open.records += n
        self.records_now += n

    def say(self, what: str, **more: Any) -> None:
        """Add an event to the date's; before the first record, to the UTC date of the wall clock."""
        now = time.time_ns()
        date = self._open.date if self._open is not None else utc_date(data_now({"clock": self.clock}, now))
        event = {"wall": _wall_text(now), "record": self._open.records if self._open is not None else 0, "what": what, **more}
        append_line(self.journal.path(date, "events.jsonl"), event)

    def write_status(self, free: int | None = None) -> None:
        """Replace ``status.json``."""
        now, steady = time.time_ns(), steady_ns()
        self._rate = [*self._rate[-10:], (steady, self.records_now)]
        (then, before), (_, after) = self._rate[0], self._rate[-1]
        status = {
            "root": self.root, "dataset": self.dataset, "feed": self.feed, "clock": self.clock, "pid": os.getpid(), "wall_ns": now,
            "state": self.state, "reason": self.reason, "since_ns": self.since_ns, "attempt": self.attempt, "last_ns": self.last_ns,
            "silent_s": round(self.silent_s, 3), "heartbeat_s": self.heartbeat_s, "records": self.records_now,
            "rate": round((after - before) / max((steady - then) / NS, 1e-9), 1) if steady > then else 0.0, "gap": self.gap,
            "date": self._open.date.isoformat() if self._open is not None else None, "disk_free": free, "ran_back": self._back,
            "skew_ns": self.skew_ns,
        }  # fmt: skip
        part, path = self.journal.folder / ".status.part", self.journal.folder / "status.json"
        with writing(path):
            part.write_text(json.dumps(status), encoding="utf-8")
            os.replace(part, path)
