"""What a live morning needs, and what of it is there: `spymaster morning` prints it, and the page shows it until the session begins."""

from __future__ import annotations

import datetime as dt
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import DownloadFailed, EngineError, NoData
from engine.lake.catalog import BRONZE_MBO, PROFILE
from engine.lake.store import Lake
from engine.live.journal import LEAST_DISK, LOW_DISK, Journal, badge, clock_words, data_now, feed_speed, record_command
from engine.live.key import api_key
from engine.live.session import RECENT, WEEKEND, is_running
from engine.selection import read_selection
from engine.sessions import GLOBEX_OPEN, NEW_YORK, SessionWindows, clock_text, previous_full_rth, session_windows, utc_dates
from engine.vocab import NS, root_of

OK, NOTE, STOP = "ok", "note", "stop"


@dataclass(frozen=True)
class Check:
    """One thing that is needed.

    state: ``ok``, ``note`` (it goes on without) or ``stop`` (nothing can be recorded before it is mended)
    what: its name; text: a sentence, with the command that mends it in backquotes
    """

    state: str
    what: str
    text: str


def morning_checks(lake: Path, root: str, now_ns: int) -> list[Check]:
    """Everything that a live morning needs, as it is at an instant of the wall clock."""
    store, status = Lake(lake), Journal(lake, root).status()
    date = _session_date(data_now(status, now_ns) if is_running(status, now_ns) else now_ns)
    return [
        _key(status, now_ns),
        _day_before(store, root, date),
        _disk(lake, root),
        _clock(status, now_ns),
        _recorder(lake, root, status, now_ns),
        _contract(store, root, date),
        _options(store, root),
    ]


def _session_date(now_ns: int) -> dt.date:
    """The date of the session that is prepared for: an evening's trading belongs to the next weekday's."""
    at = dt.datetime.fromtimestamp(now_ns // NS, NEW_YORK)
    date = at.date() + dt.timedelta(days=at.time() >= GLOBEX_OPEN)
    while date.weekday() in WEEKEND:
        date += dt.timedelta(days=1)
    return date


def _key(status: dict[str, Any], now_ns: int) -> Check:
    if is_running(status, now_ns):  # it would have ended where the key was refused
        return Check(OK, "key", "the recorder has it" if status.get("feed") == "live" else "none is needed: a file is played")
    try:
        api_key()
    except DownloadFailed as e:
        return Check(STOP, "key", str(e))
    return Check(OK, "key", "there is one")


def _day_before(store: Lake, root: str, date: dt.date) -> Check:
    before, start, end = previous_full_rth(session_windows(date, "rth", root_of(root)))
    needed = utc_dates(start, end)
    contracts = sorted({s for s, d in store.partitions(BRONZE_MBO) if d in needed and root_of(s).code == root})
    if contracts:
        return Check(OK, "the day before", f"{before} is in the lake ({', '.join(contracts)}), so that its high, low and close are levels")
    command = f"spymaster download --symbol {root} --dates {needed[0]}:{needed[-1]} --lake {shlex.quote(str(store.root))}"
    return Check(NOTE, "the day before", f"{before} is not in the lake: its high, low and close will be no levels; `{command}` brings it")


def _disk(lake: Path, root: str) -> Check:
    there = next(p for p in (lake, *lake.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    state = STOP if free < LEAST_DISK else NOTE if free < LOW_DISK else OK
    return Check(state, "disk", f"{free / 1e9:.1f} GB free; a busy day of {root} takes 1 to 2 GB")


def _clock(status: dict[str, Any], now_ns: int) -> Check:
    if status.get("clock"):
        return Check(OK, "clock", "that of the file that is played")
    # What a recorder that has ended said of the clock was so then: it may have been set since.
    if status.get("feed") != "live" or not status.get("last_ns") or not is_running(status, now_ns):
        return Check(NOTE, "clock", "not known before the feed has spoken")
    words = clock_words(status)
    return Check(NOTE, "clock", f"{words}; until then delays are told by the venue's") if words else Check(OK, "clock", "as the venue's")


def _recorder(lake: Path, root: str, status: dict[str, Any], now_ns: int) -> Check:
    if status:
        word, text = badge(status, now_ns, record_command(lake, root))
        return Check(NOTE if word == "STOPPED" else OK, "recorder", text)
    return Check(
        NOTE, "recorder", "nothing was recorded yet; begun after 04:00 New York, levels of the premarket rest on trades asked for later"
    )


def _contract(store: Lake, root: str, date: dt.date) -> Check:
    otherwise = "the one that trades most will be watched; `spymaster select` makes the selection from the lake"
    try:
        rows = [r for r in read_selection(store, root) if root_of(str(r["dominant_symbol"])).code == root]
    except EngineError as e:
        return Check(NOTE, "contract", str(e))
    latest = max((r for r in rows if r["session_date"] <= date), key=lambda r: r["session_date"], default=None)
    if latest is None:
        return Check(NOTE, "contract", otherwise)
    if latest["session_date"] < date - RECENT:
        return Check(NOTE, "contract", f"the newest selection is of {latest['session_date']}, which says nothing of today: {otherwise}")
    return Check(OK, "contract", f"{latest['dominant_symbol']} by the selection of {latest['session_date']}")


def _options(store: Lake, root: str) -> Check:
    dates = [d for s, d in store.partitions(PROFILE) if root_of(s).code == root]
    if not dates:
        return Check(OK, "options", "none in the lake; the session is shown without them")
    return Check(OK, "options", f"the lake has those of {max(dates)}; a session under way is shown without them")


# ----------------------------------------------------------------------------
# When it begins


@dataclass(frozen=True)
class Beginning:
    """When the session begins that a recording waits for: in words, and in how many seconds of the wall's clock (0 once it has), as of the
    feed's own time `now_ns`.
    """

    text: str
    left_s: float
    now_ns: int


def beginning(lake: Lake, root: str, now_ns: int) -> Beginning:
    """When the session that is under way, or else the next one, begins, seen from an instant of the wall clock."""
    status, profile = Journal(lake.root, root).status(), lake.profile() or "rth"
    now, speed = (data_now(status, now_ns), feed_speed(status)) if is_running(status, now_ns) else (now_ns, 1.0)
    windows = next_session(root, profile, now)
    if windows is None:
        return Beginning(f"the calendar has no session {profile} within two weeks", 0.0, now)
    at, date = windows.ladder_start_ns, windows.date
    when = f"{root}, session {profile} of {date:%A} {date}"
    if at <= now:
        return Beginning(f"{when}: under way since {clock_text(at, date)} New York, and shown once something has traded", 0.0, now)
    return Beginning(f"{when}: begins at {clock_text(at, date)} New York", (at - now) / NS / speed, now)


def next_session(root: str, profile: str, now_ns: int) -> SessionWindows | None:
    """The session that is under way at an instant, or else the next one; None where the profile has none within two weeks.

    Examples
    --------
    >>> from engine.sessions import to_ns
    >>> friday = to_ns(dt.date(2025, 11, 7), dt.time(13))
    >>> str(next_session("ES", "rth", friday).date)
    '2025-11-10'
    """
    today = dt.datetime.fromtimestamp(now_ns // NS, NEW_YORK).date()
    for days in range(15):
        date = today + dt.timedelta(days=days)
        if date.weekday() in WEEKEND:
            continue
        try:
            windows = session_windows(date, profile, root_of(root))
        except NoData:
            continue
        if now_ns < windows.ladder_end_ns:
            return windows
    return None
