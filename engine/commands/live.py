"""``spymaster live``: record the market as it trades, tell alerts of it, and make raw files of what was recorded."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shlex
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from engine.commands.common import LakeDir, parse_dates, print_line, require
from engine.errors import SessionError
from engine.sessions import NEW_YORK, profile_text, to_ns
from engine.vocab import NS, root_of

if TYPE_CHECKING:
    from engine.live.feed import Feed
    from engine.live.journal import Recorder

GATEWAY = "SPYMASTER_LIVE_GATEWAY"
"""Environment variable with another address than that of Databento's live gateway, HOST:PORT, such as a tunnel's."""


def live(
    action: Annotated[
        Literal["record", "watch", "seal", "compare"],
        Parameter(help="record; watch: tell alerts; seal: make raw files of it; compare: with a downloaded file."),
    ] = "record",
    date: Annotated[str | None, Parameter(help="With compare: the UTC date.")] = None,
    /,
    *,
    symbol: Annotated[str, Parameter(help="A root, such as ES: all of its contracts are recorded.")] = "ES",
    lake: LakeDir = Path("lake"),
    from_: Annotated[
        list[Path] | None, Parameter(name="--from", help="Play DBN files as if they came live, instead of Databento's feed.")
    ] = None,
    speed: Annotated[float, Parameter(help="With --from: how many times as fast, 1 to 3600.")] = 1.0,
    contract: Annotated[str | None, Parameter(help="With watch: the contract; the one that trades most where not given.")] = None,
    session: Annotated[str, Parameter(help="With watch: the session profile, such as rth.")] = "rth",
    finished: Annotated[bool, Parameter(negative=(), help="With seal: only UTC dates that are over.")] = False,
    once: Annotated[bool, Parameter(negative=(), help="With watch: tell what the journal has now, and end.")] = False,
    at: Annotated[str | None, Parameter(help="With --from: begin at this New York time of the last file's day, such as 09:25.")] = None,
    until: Annotated[str | None, Parameter(help="With --from: end at this New York time of the last file's day.")] = None,
    faults: Annotated[bool, Parameter(negative=(), help="With --from: have something go wrong every few minutes.")] = False,
) -> None:
    """Record the live feed into the lake's journal, until Ctrl-C; `spymaster serve` beside it shows it.

    The key is in the environment variable DATABENTO_API_KEY, or in the system's keyring under databento. A connection that breaks is made
    again, and what it missed is asked for: only where it cannot be had is there a gap, which is told. Begin on Sunday at 18:00 New York, or
    before 04:00, so that all levels are known; begun later, the book is known at once and the trades since the Globex open are asked for.

    Examples
    --------
    ::

        spymaster live --symbol ES
        spymaster live --from glbx-mdp3-20251104.mbo.dbn.zst --speed 10 --at 09:25 --lake demo-live
        spymaster live watch --symbol ES
        spymaster live seal --symbol ES
        spymaster live compare 2025-11-04
    """
    from engine.live.journal import Journal, Recorder

    root = root_of(symbol)
    require(root.code == symbol, f"--symbol {symbol}: expected a root such as {root.code}, whose contracts come together")
    require((date is not None) == (action == "compare"), "expected a date with compare, such as `spymaster live compare 2025-11-04`")
    if action == "seal":
        _seal(lake, symbol, finished)
        return
    if action == "watch":
        _watch(lake, symbol, contract, profile_text(session), once)
        return
    if action == "compare":
        _compare(lake, symbol, parse_dates(date, None, None)[0][0])
        return
    require(1 <= speed <= 3600, f"--speed {speed:g}: expected 1 to 3600")
    require(
        from_ is not None or (speed == 1 and at is None and until is None and not faults),
        "--speed, --at, --until and --faults are of --from",
    )
    had = Journal(lake, symbol).status().get("feed")
    is_played = from_ is not None
    if had is not None and (had == "live") == is_played:
        what = "the live feed" if had == "live" else "a played file"
        raise SessionError(f"{lake}: holds a recording of {what} of {symbol}; give another --lake")
    recorder = Recorder(lake, symbol)
    with ExitStack() as stack:
        if from_ is not None:
            feed, end_ns = _played(recorder, from_, speed, (at, until), faults, stack)
        else:
            feed, end_ns = _databento(recorder), None
        recorder.start()
        reason = "it was ended"
        try:
            asyncio.run(_record(feed, recorder, end_ns))
            reason = "the file was played to its end" if end_ns is not None and (recorder.last_ns or 0) >= end_ns else "it was stopped"
        except Exception as e:
            reason = str(e)
            raise
        finally:
            recorder.close(reason)
    print_line(f"{recorder.records_now:,} records; {reason}; the journal is {recorder.journal.folder}")


def _seal(lake: Path, root: str, finished: bool) -> None:
    """Make raw files of what was recorded, and let go of the journal where nothing depends on it any more."""
    from engine.lake.store import Lake
    from engine.live.journal import Journal, data_now, record_command, utc_date
    from engine.live.seal import clear, seal, sealing_text

    status = Journal(lake, root).status()
    require(bool(status), f"{lake}: holds no recording of {root}; `{record_command(lake, root)}` records")
    store = Lake(lake)
    today = utc_date(data_now(status, time.time_ns()))
    made = seal(store, root, status["dataset"], before=today if finished else None)
    for line in sealing_text(made):
        print_line(line)
    if not made:
        print_line("everything that was recorded is sealed")
    for date, what in clear(store, root, store.profile() or "rth"):
        print_line(f"journal of {date}: {what}")


def _watch(lake: Path, root: str, contract: str | None, profile: str, once: bool) -> None:
    """Follow the journal: print alerts, keep them beside the date's journal, and post them where an address is given."""
    from engine.lake.store import Lake
    from engine.live.alerts import Alert, AlertBooks, Poster, webhook
    from engine.live.day import LiveDay
    from engine.live.journal import Journal, badge, data_now, record_command
    from engine.live.lookout import FeedLookout, Lookout
    from engine.live.session import contract_of, date_under_way, is_running, opened
    from engine.sessions import NEW_YORK, clock_text

    poster = Poster("" if once else webhook(), lambda why: sys.stderr.write(why + "\n" if why else ""))
    journal = Journal(lake, root)
    status = journal.status()
    require(bool(status), f"{lake}: holds no recording of {root}; `{record_command(lake, root)}` records")
    wall = time.time_ns()
    # Of a recording that has ended, its last day is gone through.
    ended = not is_running(status, wall) and status["last_ns"]
    date = dt.datetime.fromtimestamp(status["last_ns"] // NS, NEW_YORK).date() if ended else date_under_way(journal, profile, wall)
    if date is None:
        raise SessionError(f"{journal.folder}: expected a session `{profile}` of a weekday under way, found none")
    recorded = [d for d in journal.dates() if journal.count(d)]
    require(bool(recorded), f"{journal.folder}: expected records, found none yet")
    symbol = contract or contract_of(Lake(lake), journal)
    require(bool(symbol), f"{journal.folder}: expected trades of a contract, found none yet; give --contract")
    followed = opened(LiveDay(Lake(lake), journal, symbol, date, profile))
    lookout, feed, books, said = Lookout(followed), FeedLookout(), AlertBooks(journal), ""

    def of_feed() -> list[Alert]:
        if once:
            return []
        status, wall = journal.status(), time.time_ns()
        return feed.look(*badge(status, wall, record_command(lake, root)), data_now(status, wall))

    begun = of_feed()
    print_line(f"{symbol} {date}: alerts of the session {profile}; Ctrl-C ends")
    try:
        while True:
            followed.advance()
            if followed.is_replaced:  # records were missing: it was all read again
                followed = opened(followed.day)
                lookout.go_on(followed)
            new, why = books.add(date, symbol, [*begun, *lookout.look(), *of_feed()])
            if why and why != said:  # they are told all the same
                sys.stderr.write(why + "\n")
            said = why
            for alert in new:
                print_line(f"{clock_text(alert.ts_ns, date)} {alert.text}")
            # What is old already helps nobody: a watch that is begun again goes through the day first.
            poster.post(new, followed.day.now_ns)
            if once or not followed.under_way:
                return
            begun = []
            time.sleep(0.25)
    finally:
        poster.close()


def _compare(lake: Path, root: str, date: dt.date) -> None:
    """Print the seconds in which the sealed and the downloaded files of a date differ."""
    from engine.lake.store import Lake
    from engine.live.seal import differing_seconds
    from engine.sessions import clock_text

    found = differing_seconds(Lake(lake), root, date)
    for start, end, sealed, downloaded in found:
        print_line(f"{clock_text(start)} to {clock_text(end)} New York: {sealed:,} records sealed, {downloaded:,} downloaded")
    print_line("" if found else f"{root} {date}: the sealed and the downloaded files have the same records in every second that was sealed")


def _databento(recorder: Recorder) -> Feed:
    from engine.commands.databento_client import DATASET
    from engine.live.feed import PORT, Feed
    from engine.live.key import api_key

    recorder.dataset = DATASET
    host, _, port = os.environ.get(GATEWAY, "").partition(":")
    require(not port or port.isdecimal(), f"{GATEWAY}: expected HOST:PORT")
    return Feed(recorder, api_key(), host or None, int(port or PORT), since_ns=_globex_open(time.time_ns()))


def _globex_open(now_ns: int) -> int:
    """The last Globex open before an instant."""
    from engine.sessions import GLOBEX_OPEN, NEW_YORK, to_ns

    date = dt.datetime.fromtimestamp(now_ns // NS, NEW_YORK).date()
    opens = (to_ns(date - dt.timedelta(days=back), GLOBEX_OPEN) for back in range(5))
    return next(ns for ns in opens if ns <= now_ns and dt.datetime.fromtimestamp(ns // NS, NEW_YORK).weekday() not in (4, 5))


def _played(
    recorder: Recorder, paths: list[Path], speed: float, span: tuple[str | None, str | None], faults: bool, stack: ExitStack
) -> tuple[Feed, int]:
    """The feed of files from a gateway on loopback, and the time of their last record, or of `span`'s end."""
    import numpy as np

    from engine.live.feed import Feed
    from engine.live.gateway import KEY, Gateway, Recording, now_and_then
    from engine.vocab import F_SNAPSHOT

    recording = Recording.read(paths)
    live = np.flatnonzero((recording.records["flags"] & F_SNAPSHOT) == 0)
    require(len(live) > 0, f"--from {paths[0]}: expected records of trading, found only a snapshot")
    first, end = (int(recording.records["ts_recv"][live[i]]) for i in (0, -1))
    begin, until = (_instant(option, text, first, end) if text is not None else None for option, text in zip(("--at", "--until"), span))
    if until is not None:
        recording.records = recording.records[: int(np.searchsorted(recording.records["ts_recv"], until))]
        end = int(recording.records["ts_recv"][-1])
    tail = recorder.tail(1)
    if len(tail):  # goes on where it stopped
        begin = int(tail["ts_recv"][-1])
        require(begin < end, f"--from: the files were played to their end; give another --lake, or remove {recorder.journal.folder}")
    gateway = Gateway(recording, speed, begin)
    if faults:
        gateway.faults = now_and_then(int(gateway.begin_ns or first), end, speed)
    recorder.feed = "simulated" if recording.dataset.endswith(".SIM") else "replayed"
    recorder.dataset = recording.dataset
    recorder.clock = {"data_ns": gateway.now_ns(), "wall_ns": gateway.wall_ns, "speed": speed}
    port = stack.enter_context(gateway.serving())
    return Feed(recorder, KEY, "127.0.0.1", port, since_ns=_globex_open(gateway.now_ns())), end


def _instant(option: str, text: str, first: int, end: int) -> int:
    """A New York time of the last day of files that reach from `first` to `end`; SessionError where there is none."""
    from engine.sessions import utc_dates

    try:
        clock = dt.time.fromisoformat(text)
    except ValueError:
        raise SessionError(f"{option} {text}: expected a time such as 09:25") from None
    found = next((ns for date in reversed(utc_dates(first, end + 1)) if first <= (ns := to_ns(date, clock)) <= end), None)
    if found is None:
        raise SessionError(f"{option} {text}: expected a New York time within the files")
    return found


async def _record(feed: Feed, recorder: Recorder, end_ns: int | None) -> None:
    """Run the feed until it is stopped or a played file's end is reached, and say each second how it is doing."""
    loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, feed.stop)
    running = asyncio.create_task(feed.run())
    said = ""
    sealed_ns = time.time_ns()
    if recorder.feed == "live":
        await _seal_beside(recorder, "--finished")
    while not running.done():
        await asyncio.wait((running,), timeout=0.5)
        said = _say(recorder, said)
        if recorder.feed == "live" and is_sealing_time(sealed_ns, time.time_ns()):
            sealed_ns = time.time_ns()
            await _seal_beside(recorder)
        if end_ns is not None and recorder.last_ns is not None and recorder.last_ns >= end_ns:
            feed.stop()
    running.result()


SEAL_AT = dt.time(17, 5)
"""New York time at which what was recorded of the day is sealed, in the venue's daily hour."""


def is_sealing_time(last_ns: int, now_ns: int) -> bool:
    """Whether `SEAL_AT` of a day lies between two instants.

    Examples
    --------
    >>> from engine.sessions import to_ns
    >>> day = dt.date(2025, 11, 4)
    >>> is_sealing_time(to_ns(day, dt.time(17)), to_ns(day, dt.time(17, 6)))
    True
    """
    at = to_ns(dt.datetime.fromtimestamp(now_ns // NS, NEW_YORK).date(), SEAL_AT)
    return last_ns < at <= now_ns


_SEALING: set[asyncio.Task[None]] = set()
"""What waits for a sealing's end: a task that nobody holds may be forgotten."""


async def _seal_beside(recorder: Recorder, *more: str) -> None:
    """Begin `spymaster live seal` in a process of its own, so that the recording waits for nothing."""
    words = ["-m", "engine.cli", "live", "seal", "--symbol", recorder.root, "--lake", str(recorder.lake), *more]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.DEVNULL, stderr=pipe)
    recorder.say("sealing", finished="--finished" in more)

    async def end() -> None:
        _, said = await process.communicate()
        if process.returncode:
            why = said.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
            sys.stderr.write(f"sealing failed: {why[0]}\n")
            recorder.say("sealing failed", reason=why[0])

    task = asyncio.create_task(end())
    _SEALING.add(task)
    task.add_done_callback(_SEALING.discard)


def _say(recorder: Recorder, said: str) -> str:
    """Print the badge where it changed, and on a terminal the count; the badge's word."""
    from engine.live.journal import badge, record_command

    status: dict[str, Any] = recorder.journal.status()
    if not status:
        return said
    word, text = badge(status, time.time_ns(), record_command(recorder.lake, recorder.root))
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}  {status['records']:,} records, {status['rate']:,.0f} a second")
        sys.stderr.flush()
    elif word != said:
        sys.stderr.write(text + "\n")
    return word


# ----------------------------------------------------------------------------
# ``spymaster morning``: a trader's day in one command


def morning(
    *,
    symbol: Annotated[str, Parameter(help="A root, such as ES.")] = "ES",
    lake: LakeDir = Path("lake"),
    port: Annotated[int, Parameter(help="The screen's port.")] = 5006,
    check: Annotated[bool, Parameter(negative=(), help="Only check, and end; exit code 1 where something must be done first.")] = False,
) -> None:
    """Check that the morning can begin (key, yesterday, disk, clock, contract, options), then record and serve the screen together.

    Whatever is missing is named with the command that mends it. Only a missing key, or a disk without room, keeps it from starting.

    Examples
    --------
    ::

        spymaster morning --symbol ES
        spymaster morning --check
    """
    from engine.live.checks import STOP, morning_checks

    root = root_of(symbol)
    require(root.code == symbol, f"--symbol {symbol}: expected a root such as {root.code}")
    found = morning_checks(lake, symbol, time.time_ns())
    for c in found:
        print_line(f"{c.state:<5} {c.what}: {c.text}")
    if any(c.state == STOP for c in found):
        raise SessionError("the morning cannot begin: see the lines marked stop")
    if not check:
        run_together(["live", "--symbol", symbol, "--lake", str(lake)], lake, port)


STARTS, STAYS_S = 3, 60.0
"""A screen that ends is started again, but for the last time of so many where none of them stayed for so long."""


def run_together(record: list[str], lake: Path, port: int | None) -> None:
    """A recorder, and a screen beside it at a port where one is given, as processes of their own, until Ctrl-C or the recorder's end.

    Where the screen ends it is started again, and the recording goes on whatever becomes of it. Where a played file is over the screen
    stays, until Ctrl-C. Raises SessionError where the port is taken, before anything is recorded, and where the recorder failed.
    """
    import subprocess

    from engine.commands.serve import check_port

    base = [sys.executable, "-m", "engine.cli"]
    serve = [*base, "serve", "--lake", str(lake), "--port", str(port)]
    screen = None
    if port is not None:
        check_port("127.0.0.1", port)
        lake.mkdir(parents=True, exist_ok=True)
        screen = subprocess.Popen(serve)
    recorder = subprocess.Popen([*base, *record])
    began, short = time.monotonic(), 0
    try:
        while recorder.poll() is None or (screen is not None and not recorder.returncode and "--from" in record):
            if screen is not None and screen.poll() is not None:
                short = short + 1 if time.monotonic() - began < STAYS_S else 1
                what, screen = f"the screen ended with exit code {screen.returncode}", None
                if short < STARTS:
                    sys.stderr.write(f"{what}; it is started again, and pages that are open go on by themselves\n")
                    screen, began = subprocess.Popen(serve), time.monotonic()
                else:
                    command = shlex.join(["spymaster", *serve[len(base) :]])
                    sys.stderr.write(f"{what}, {STARTS} times; the recording goes on, and `{command}` serves it\n")
            time.sleep(0.1)
    finally:
        running = [p for p in (recorder, screen) if p is not None]
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            process.wait()
    if recorder.returncode:
        raise SessionError(f"the recorder ended with exit code {recorder.returncode}; what it said stands above")
