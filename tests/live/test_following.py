"""Who follows a journal for the pages of a process: while it is written, after what failed, over dates, and where nobody watches."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineError
from engine.lake.store import Lake
from engine.lake.writer import append_line
from engine.live.alerts import FEED, Alert, AlertBook, AlertBooks, alert_file, kept
from engine.live.day import LiveDay
from engine.live.journal import Journal, Recorder
from engine.live.lookout import FeedLookout, Lookout
from engine.live.session import opened
from engine.vocab import NS
from tests.live.test_day import write_journal
from tests.live.test_recording import most_file_bytes
from tests.support.dbn_files import busy_day, utc_ns
from tests.support.lakes import TUESDAY, WEDNESDAY, spymaster
from workbench import live

ESZ5 = {1: "ESZ5"}

WRITE = """
import sys, time
records, path = open(sys.argv[1], "rb").read(), sys.argv[2]
with open(path, "ab", buffering=0) as out:
    for at in range(0, len(records), 56 * 8):
        out.write(records[at : at + 56 * 8])
        time.sleep(0.0005)
"""
"""Adds records to a journal's file without a pause in which nothing comes."""


@pytest.fixture(scope="module")
def records() -> np.ndarray:
    """Ten minutes of New York's morning."""
    return busy_day(
        30_000, 5, date=TUESDAY, symbols=ESZ5, snapshot_orders=300, start_ns=utc_ns(TUESDAY, 14, 30), end_ns=utc_ns(TUESDAY, 14, 40)
    )


def followed(lake: Path) -> live.Follower:
    """Who follows the lake's journal, with what there is taken in."""
    while not live.sessions(str(lake)) or live._followed[str(lake)]["ES"].behind:
        pass
    return live._followed[str(lake)]["ES"]


def alerts_of(journal: Journal, begin: int = 0, symbol: str = "ESZ5") -> list[Alert]:
    """Those of all that was recorded, in one look."""
    session = opened(LiveDay(Lake(journal.folder.parents[1]), journal, symbol, TUESDAY))
    while session.advance():
        pass
    return Lookout(session, begin=begin).look()


def test_alerts_are_given_while_the_market_moves(records: np.ndarray, tmp_path: Path) -> None:
    cut = len(records) // 2
    journal = write_journal(tmp_path / "lake", records[:cut], ESZ5)
    (tmp_path / "rest").write_bytes(records[cut:].tobytes())
    follower = followed(tmp_path / "lake")
    follower.watch(lambda session: None)
    begin = follower.session.known_seconds
    assert alerts_of(journal), "what looks for them is compiled before it counts"
    writer = subprocess.Popen([sys.executable, "-c", WRITE, tmp_path / "rest", journal.path(TUESDAY)])
    closing = behind = told = 0
    while writer.poll() is None:
        if follower.poll():
            closing += 1
            behind += follower.behind > 0
            # Alerts are given of what was closed at once, though more has come by then.
            assert follower._lookout.seconds == follower.session.known_seconds
            told = follower.told
    assert writer.returncode == 0
    assert closing > 3
    assert behind > 0, "records came while others were taken in"
    assert told > 0
    assert all(a.ts_ns > follower.session.ladder.start_ns + begin * NS for a in follower.alerts), "none of before"


def test_what_failed_half_way_is_begun_anew(records: np.ndarray, tmp_path: Path) -> None:
    """A record is broken behind a gap, and mended: nothing is taken in twice, and no alert is given twice or left out."""
    lake = tmp_path / "lake"
    cut, at = len(records) // 2, len(records) * 3 // 4
    journal = write_journal(lake, records[:cut], ESZ5)
    day = LiveDay(Lake(lake), journal, "ESZ5", TUESDAY)
    day.poll()
    follower = followed(lake)
    follower.watch(lambda session: None)
    follower.poll()
    begin = follower.session.known_seconds
    before, after = (int(ns) for ns in records["ts_recv"][at - 1 : at + 1])
    append_line(
        journal.path(TUESDAY, "events.jsonl"), {"record": at, "what": "gap", "from_ns": before, "to_ns": after, "reason": "the test's"}
    )
    broken = records[cut:].copy()
    broken["rtype"][-1] = 1
    whole = journal.path(TUESDAY).read_bytes() + records[cut:].tobytes()
    with journal.path(TUESDAY).open("ab") as out:
        out.write(broken.tobytes())
    shown = follower.session.known_seconds
    for each in (day.poll, follower.poll):
        with pytest.raises(EngineError, match="remove the file"):
            each()
    assert follower.session.known_seconds >= shown, "what was shown stays until it is tried again"
    journal.path(TUESDAY).write_bytes(whole)
    day.poll()
    follower.poll()
    never_failed = LiveDay(Lake(lake), journal, "ESZ5", TUESDAY)
    never_failed.poll()
    for tried in (day, follower.session.day):
        assert tried.records == never_failed.records == len(records)
        assert tried.trades().equals(never_failed.trades())
        assert [f.equals(g) for f, g in zip(tried.ladder.frames(), never_failed.ladder.frames())] == [True, True]
        assert tried.gaps == never_failed.gaps
    assert follower._lookout.session is follower.session
    assert follower._lookout.seconds == follower.session.known_seconds
    want = alerts_of(journal, begin)
    assert {a.kind for a in want} >= {"approach", "touch"}
    assert list(follower.alerts) == want


def test_who_only_answers_a_question_gives_no_alerts(records: np.ndarray, tmp_path: Path) -> None:
    lake, cut = tmp_path / "lake", len(records) // 2
    journal = write_journal(lake, records[:cut], ESZ5)
    path = journal.path(TUESDAY, alert_file("ESZ5"))

    def asked() -> live.Follower:
        session = live.session_until(str(lake), "ESZ5", TUESDAY, 2**62)
        assert session is not None
        assert session.day.behind() == 0
        return live.follower(str(lake), session)

    def record(part: np.ndarray) -> None:
        with journal.path(TUESDAY).open("ab") as out:
            out.write(part.tobytes())

    asked()
    record(records[cut : cut * 3 // 2])
    assert asked().told == 0
    assert not path.exists()
    follower = asked()
    follower.watch(lambda session: None)
    follower.poll()
    record(records[cut * 3 // 2 :])
    follower.poll()
    assert follower.told == len(kept(path)) > 0


def test_a_question_waits_for_what_was_recorded_before_the_session(
    records: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = write_journal(tmp_path, records, ESZ5)
    monkeypatch.setattr(live, "MOST_AT_ONCE", 97)
    assert int(records["ts_recv"][96]) < utc_ns(TUESDAY, 14), "the first step ends before the ladder begins"
    session = live.session_until(str(tmp_path), "ESZ5", TUESDAY, utc_ns(TUESDAY, 14, 32))
    assert session is not None
    assert utc_ns(TUESDAY, 14, 32) <= session.day.now_ns < utc_ns(TUESDAY, 14, 33)
    # What cannot be read is not waited for.
    with journal.path(TUESDAY).open("r+b") as f:
        f.seek(56 * (session.day.records + 5))
        f.write(bytes(56))
    assert live.session_until(str(tmp_path), "ESZ5", TUESDAY, 2**62) is None


def test_alerts_are_of_one_session(records: np.ndarray, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    write_journal(lake, records, ESZ5)
    follower = followed(lake)
    follower.watch(lambda session: None)
    assert follower.session_date == TUESDAY
    follower.tell([Alert(follower.session.day.now_ns, "touch", "pm_high", 1, "PM High: touched")])
    told = follower.told
    assert len(follower.alerts) == 1
    recorder = Recorder(lake, "ES", feed="replayed")
    recorder.start()
    recorder.must_join("another day")
    recorder.resume()
    later = records.copy()
    for name in ("ts_recv", "ts_event"):
        later[name] += 86400 * NS
    recorder.take(later.tobytes())
    recorder.say("mapping", symbols={"1": "ESZ5"})
    recorder.close("the test's end")
    follower._looked_s = 0.0
    follower.poll()
    assert (follower.session.date, follower.session_date) == (WEDNESDAY, WEDNESDAY)
    assert list(follower.alerts) == [], "none of them is a moment of this session"
    assert follower.told >= told, "the numbers of alerts go on"


def test_what_a_full_disk_takes_not_is_posted_once_and_kept_later(
    records: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    journal = write_journal(lake, records, ESZ5)
    path = journal.path(TUESDAY, alert_file("ESZ5"))
    got: list[str] = []

    class Taker(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["level_id"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("SPYMASTER_WEBHOOK", f"http://127.0.0.1:{server.server_port}/alert")
        follower = followed(lake)
        follower.watch(lambda session: None)
        now = follower.session.day.now_ns
        a, b, c = (Alert(now, "touch", name, 1, "touched") for name in ("vwap", "pd_high", "pd_low"))
        AlertBook(path).add([a])  # as another watcher, who has posted it
        with most_file_bytes(path.stat().st_size):
            follower.tell([a, b])
        assert "could not be written" in follower.lacks
        follower.tell([b, c])
        assert follower.lacks == ""
        assert kept(path) == [a, b, c], "once there is room it is kept as well"
        follower.close(5.0)
        assert got == ["pd_high", "pd_low"]
        server.shutdown()
    # What another watcher has kept by then is not kept twice.
    book, other = AlertBook(tmp_path / "alerts.jsonl"), AlertBook(tmp_path / "alerts.jsonl")
    with most_file_bytes(0):
        found, why = book.add([a])
    assert (found, "could not be written" in why) == ([a], True)
    assert other.add([a]) == ([a], "")
    assert book.add([b]) == ([b], "")
    assert kept(book.path) == [a, b]


def test_alerts_of_the_feed_are_the_roots(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "ES")
    feed, touch = Alert(NS, FEED, "GAP", 0, "feed: a gap"), Alert(NS, "touch", "vwap", 1, "touched")
    assert AlertBooks(journal).add(TUESDAY, "ESZ5", [touch, feed]) == ([touch, feed], "")
    assert AlertBooks(journal).add(TUESDAY, "ESH6", [touch, feed]) == ([touch], "")
    assert kept(journal.path(TUESDAY, alert_file(FEED))) == [feed]
    assert kept(journal.path(TUESDAY, alert_file("ESH6"))) == [touch]


def test_two_contracts_that_are_watched_have_a_list_each(tmp_path: Path) -> None:
    symbols = {1: "ESZ5", 2: "ESH6"}
    made = busy_day(
        20_000, 5, date=TUESDAY, symbols=symbols, snapshot_orders=300, start_ns=utc_ns(TUESDAY, 14, 30), end_ns=utc_ns(TUESDAY, 14, 40)
    )
    journal = write_journal(tmp_path, made, symbols)
    for symbol in symbols.values():
        spymaster("live", "watch", "--once", "--lake", tmp_path, "--contract", symbol)
    for symbol in symbols.values():
        want = alerts_of(journal, symbol=symbol)
        assert len(want) > 5
        assert kept(journal.path(TUESDAY, alert_file(symbol))) == want
    # Where the disk takes nothing they are told all the same, and why they are not kept.
    path = journal.path(TUESDAY, alert_file("ESH6"))
    path.unlink()
    with most_file_bytes(16):
        said = spymaster("live", "watch", "--once", "--lake", tmp_path, "--contract", "ESH6")
    assert [line.split(maxsplit=1)[1] for line in said.stdout.splitlines()[1:]] == [a.text for a in want]
    assert said.stderr.count(f"{path}: could not be written") == 1


def test_an_outage_that_lasts_is_told_after_a_short_one() -> None:
    feed = FeedLookout()
    words = {
        0: "LIVE", 10: "DELAYED", 15: "LIVE", 30: "RECONNECTING", 31: "CATCHING UP", 32: "LIVE", 40: "DELAYED", 130: "QUIET", 140: "LIVE",
    }  # fmt: skip
    told, word = [], ""
    for second in range(200):
        word = words.get(second, word)
        for a in feed.look(word, f"{word} now", second * NS):
            assert (a.kind, a.text) == ("feed", f"feed: {word} now")
            told.append((a.ts_ns // NS, a.level_id))
    # It is LIVE for eight seconds at 32, within the minute in which that was told.
    assert told == [(10, "DELAYED"), (15, "LIVE"), (30, "RECONNECTING"), (70, "DELAYED"), (140, "LIVE")]
    assert FeedLookout().look("STOPPED", "STOPPED: it was ended", 0) == [], "no news to who begins to look"


RECORD = """
import select, sys, time
from pathlib import Path
from engine.live.journal import Recorder
recorder = Recorder(Path(sys.argv[1]), "ES", feed="replayed")
recorder.clock = {"data_ns": int(sys.argv[3]), "wall_ns": time.time_ns(), "speed": 1.0}
records = Path(sys.argv[2]).read_bytes()
recorder.start()
recorder.resume()
recorder.take(records[:56])
recorder.say("mapping", symbols={"1": "ESZ5"})
recorder.take(records[56:])
recorder.write_status()
print("recorded", flush=True)
while not select.select([sys.stdin], [], [], 0.5)[0]:
    recorder.heard()
    recorder.write_status()
recorder.close("the test ended it")
"""
"""Records a file's records, and then that nothing comes, until a line of standard input."""


def test_a_watch_tells_that_the_recorder_has_stopped(records: np.ndarray, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    (tmp_path / "records").write_bytes(records.tobytes())
    end = str(int(records["ts_recv"][-1]))
    recorder = subprocess.Popen(
        [sys.executable, "-c", RECORD, lake, tmp_path / "records", end], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    watch = timer = None
    try:
        assert recorder.stdout.readline() == "recorded\n"
        watch = subprocess.Popen(
            [sys.executable, "-m", "engine.cli", "live", "watch", "--lake", lake], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        timer = threading.Timer(60, watch.kill)  # a watch that says nothing more ends the test
        timer.start()
        assert watch.stdout.readline().startswith(f"ESZ5 {TUESDAY}: alerts of the session")
        recorder.communicate("\n")
        said = [watch.stdout.readline()]
        while said[-1] and "feed: STOPPED" not in said[-1]:
            said.append(watch.stdout.readline())
        assert "feed: STOPPED: the test ended it" in said[-1], said
    finally:
        for process in (recorder, watch):
            if process is not None:
                process.kill()
                process.wait()
        if timer is not None:
            timer.cancel()
    alert = kept(Journal(lake, "ES").path(TUESDAY, alert_file(FEED)))[-1]
    assert (alert.kind, alert.level_id) == ("feed", "STOPPED")
    assert alert.ts_ns >= int(end) // NS * NS, "by the feed's own time, though no second was closed any more"
