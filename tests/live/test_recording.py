"""The recorder against a gateway on loopback, with Databento's own client: nothing is lost, doubled or left unsaid, whatever breaks."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import databento
import databento_dbn
import numpy as np
import pytest

from engine.errors import BadFeed, FeedRefused, LakeBusy, LakeWriteFailed
from engine.lake.lock import alone
from engine.live.checks import morning_checks
from engine.live.feed import Feed
from engine.live.gateway import KEY, Fault, Gateway, Recording, now_and_then
from engine.live.journal import MBO, Journal, Recorder, Splitter, badge, clock_words, data_now, is_closed, recording_lock
from engine.live.session import date_under_way
from engine.sessions import NEW_YORK
from tests.support.dbn_files import F_SNAPSHOT, NS, busy_day, utc_ns, write_dbn
from tests.support.lakes import ROOT, spymaster

DATE = dt.date(2025, 11, 4)
START, END = utc_ns(DATE, 14, 0), utc_ns(DATE, 14, 20)
SYMBOLS = {17077: "ESZ5", 17078: "ESH6"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    records = busy_day(30_000, 3, date=DATE, start_ns=START, end_ns=END, symbols=SYMBOLS, snapshot_orders=300)
    path = write_dbn(tmp_path_factory.mktemp("source") / "a.mbo.dbn.zst", records, symbols=SYMBOLS, start=utc_ns(DATE), end=END)
    return Recording.read([path])


def record(gateway: Gateway, recorder: Recorder, key: str = KEY, until: Callable[[], bool] | None = None, most_s: float = 15) -> None:
    """Record until everything of the gateway is there, or `until` holds."""
    end = int(gateway.received[-1])
    gateway.now_ns()
    recorder.clock = {"wall_ns": gateway.wall_ns, "data_ns": gateway.begin_ns, "speed": gateway.speed}

    async def run(port: int) -> None:
        feed = Feed(recorder, key, "127.0.0.1", port)
        task = asyncio.create_task(feed.run())
        stop = time.monotonic() + most_s
        while not task.done() and time.monotonic() < stop:
            await asyncio.sleep(0.05)
            if until() if until is not None else (recorder.last_ns or 0) >= end:
                break
        feed.stop()
        await task

    with gateway.serving() as port:
        recorder.start()
        try:
            asyncio.run(run(port))
        finally:
            recorder.close("the test's end")


def live_records(records: np.ndarray) -> np.ndarray:
    return records[(records["flags"] & F_SNAPSHOT) == 0]


def whats(journal: Journal) -> list[str]:
    return [e["what"] for e in journal.events(DATE)]


def test_whatever_breaks_every_record_is_there_once(recording: Recording, tmp_lake: Path) -> None:
    def at(second: float) -> int:
        return START + int(second * NS)

    faults = [
        Fault(at(60), "close"), Fault(at(180), "reset"), Fault(at(300), "garbage"), Fault(at(420), "half"), Fault(at(540), "refuse", 2),
        Fault(at(800), "error", 6), Fault(at(820), "slow"), Fault(at(900), "stall", 3),
    ]  # fmt: skip
    gateway = Gateway(recording, speed=300, faults=faults)
    recorder = Recorder(tmp_lake, "ES", feed="replayed", heartbeat_s=1.0)
    record(gateway, recorder)
    assert gateway.log.count("refused") == 2
    journal = Journal(tmp_lake, "ES")
    found, source = live_records(journal.records(DATE)), live_records(recording.records)
    # The first of them are in the snapshot with which the recording began.
    assert 0 < len(source) - len(found) < 300
    assert found.tobytes() == source[len(source) - len(found) :].tobytes()
    said = whats(journal)
    assert said.count("overlap proved") == said.count("connected") - 1 == 6
    assert "gap" not in said
    assert journal.symbols(DATE) == SYMBOLS
    texts = [e.get("text", "") for e in journal.events(DATE)]
    assert "made on purpose" in texts
    assert "slow reader" in texts
    assert not gateway.faults


def test_the_snapshot_is_the_book_of_its_moment(recording: Recording, tmp_lake: Path) -> None:
    begin = utc_ns(DATE, 14, 10)
    recorder = Recorder(tmp_lake, "ES", feed="replayed")
    record(Gateway(recording, speed=1, begin_ns=begin), recorder, until=lambda: recorder.records_now > 300)
    records = Journal(tmp_lake, "ES").records(DATE)
    snapshot = records[(records["flags"] & F_SNAPSHOT) != 0]
    assert (snapshot["action"][np.unique(snapshot["instrument_id"], return_index=True)[1]] == ord("R")).all()
    orders = snapshot[snapshot["action"] == ord("A")]
    # A slow count of what rests: every order's size through all of its records.
    left: dict[tuple[int, int], int] = {}
    for r in recording.records[recording.records["ts_recv"] <= snapshot["ts_recv"][0]]:
        key, action = (int(r["instrument_id"]), int(r["order_id"])), chr(r["action"])
        if action in "AM":
            left[key] = int(r["size"])
        elif action == "C" and key in left:
            left[key] -= int(r["size"])
            if left[key] <= 0:
                del left[key]
        elif action == "R":
            left = {k: v for k, v in left.items() if k[0] != key[0]}
    assert {(int(o["instrument_id"]), int(o["order_id"])): int(o["size"]) for o in orders} == left
    assert len(left) > 300


def test_records_that_were_skipped_are_a_gap_that_is_told(recording: Recording, tmp_lake: Path) -> None:
    faults = [Fault(START + 300 * NS, "skip", 40), Fault(START + 304 * NS, "reset")]
    recorder = Recorder(tmp_lake, "ES", feed="replayed", heartbeat_s=1.0)
    # Of 2 s of the feed's own time nothing is sure: at this speed the reset comes before they are over.
    record(Gateway(recording, speed=2, begin_ns=START + 298 * NS, faults=faults), recorder, until=lambda: recorder.gap is not None)
    journal = Journal(tmp_lake, "ES")
    said = whats(journal)
    assert said.count("snapshot") == 2
    (gap,) = journal.gaps(DATE)
    records = journal.records(DATE)
    is_snapshot = (records["flags"] & F_SNAPSHOT) != 0
    (second,) = np.flatnonzero(is_snapshot[1:] & ~is_snapshot[:-1]) + 1
    assert gap.start_ns == records["ts_recv"][second - 1]
    assert gap.end_ns == records["ts_recv"][second]
    assert "missing" in gap.reason


def test_a_recorder_that_is_killed_goes_on_with_whole_records(recording: Recording, tmp_lake: Path) -> None:
    gateway = Gateway(recording, speed=300, key="db-0123456789abcdefghijklmnopqrs")
    environment = {**os.environ, "DATABENTO_API_KEY": gateway.key, "PYTHONPATH": str(ROOT)}
    journal = Journal(tmp_lake, "ES")
    with gateway.serving() as port:
        environment["SPYMASTER_LIVE_GATEWAY"] = f"127.0.0.1:{port}"
        words = [sys.executable, "-m", "engine.cli", "live", "--symbol", "ES", "--lake", str(tmp_lake)]
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_for(lambda: journal.count(DATE) > 6000, process)
        process.kill()
        process.wait()
        with journal.path(DATE).open("ab") as f:  # as if it had been killed within a write
            f.write(recording.records[0].tobytes()[:23])
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_for(
            lambda: bool(journal.count(DATE)) and journal.records(DATE, journal.count(DATE) - 1)["ts_recv"][0] == gateway.received[-1],
            process,
        )
        with pytest.raises(LakeBusy, match=f"the process {process.pid} records into this lake"):
            Recorder(tmp_lake, "ES").start()
        process.send_signal(signal.SIGTERM)
        out = process.communicate(timeout=20)[0].decode()
    assert process.returncode == 0, out
    found, source = live_records(journal.records(DATE)), live_records(recording.records)
    assert found.tobytes() == source[len(source) - len(found) :].tobytes()
    assert whats(journal).count("overlap proved") == 1
    assert journal.status()["state"] == "stopped"
    # The key is nowhere: not in the journal, not in what was printed, not in what was sent.
    files = [p.read_bytes() for p in tmp_lake.rglob("*") if p.is_file()]
    secret = gateway.key.encode()
    assert len(files) >= 4
    assert not any(secret in content or secret[-5:] in content for content in (*files, out.encode()))
    assert not any(gateway.key in line for line in gateway.lines)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], most_s: float = 40) -> None:
    end = time.monotonic() + most_s
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(process.communicate()[0].decode())
        time.sleep(0.02)


def test_a_refused_key_is_not_tried_again(recording: Recording, tmp_lake: Path) -> None:
    gateway = Gateway(recording)
    with pytest.raises(FeedRefused, match=r"authentication failed.*DATABENTO_API_KEY"):
        record(gateway, Recorder(tmp_lake, "ES"), key="db-another-key-than-the-gateways")
    assert gateway.sessions == 1


@pytest.mark.parametrize("code", [1, 2, 5])
def test_errors_that_no_patience_mends_end_the_recording(recording: Recording, tmp_lake: Path, code: int) -> None:
    gateway = Gateway(recording, faults=[Fault(START, "error", code)])
    with pytest.raises(FeedRefused, match="made on purpose"):
        record(gateway, Recorder(tmp_lake, "ES", feed="replayed"))
    assert gateway.sessions == 1


def test_a_recording_too_old_for_the_gateway_is_joined_anew(recording: Recording, tmp_lake: Path) -> None:
    first = Recorder(tmp_lake, "ES", feed="replayed")
    record(Gateway(recording, speed=150), first, until=lambda: first.records_now > 3000)
    again = Recorder(tmp_lake, "ES", feed="replayed")
    late = START + 1000 * NS
    record(Gateway(recording, speed=50, begin_ns=late, oldest_ns=late), again, until=lambda: again.gap is not None)
    (gap,) = Journal(tmp_lake, "ES").gaps(DATE)
    assert gap.start_ns < late <= gap.end_ns
    assert "no records from so long ago" in gap.reason


@contextlib.contextmanager
def most_file_bytes(n: int) -> Iterator[None]:
    """Context manager in which the system lets no file grow beyond `n` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_takes_no_more_leaves_whole_records(recording: Recording, tmp_lake: Path) -> None:
    gateway = Gateway(recording, speed=600)
    with most_file_bytes(5000 * MBO.itemsize + 20), pytest.raises(LakeWriteFailed, match="goes on where it stopped"):
        record(gateway, Recorder(tmp_lake, "ES", feed="replayed"))
    path = Journal(tmp_lake, "ES").path(DATE)
    assert path.stat().st_size == 5000 * MBO.itemsize
    again = Recorder(tmp_lake, "ES", feed="replayed")
    record(gateway, again)
    found, source = live_records(Journal(tmp_lake, "ES").records(DATE)), live_records(recording.records)
    assert found.tobytes() == source[len(source) - len(found) :].tobytes()


def test_a_disk_that_fills_up_stops_the_recording_before_it_is_full(recording: Recording, tmp_lake: Path) -> None:
    left = iter((3_000_000_000, 1_000_000_000, 100_000_000))
    with pytest.raises(LakeWriteFailed, match="free space"):
        record(Gateway(recording), Recorder(tmp_lake, "ES", feed="replayed", disk_free=lambda folder: next(left)))
    assert [e["free"] for e in Journal(tmp_lake, "ES").events(DATE) if e["what"] == "disk"] == [1_000_000_000]


def test_dates_are_opened_by_the_time_of_reception(tmp_lake: Path) -> None:
    midnight = utc_ns(DATE + dt.timedelta(days=1))
    records = np.zeros(6, MBO)
    records["length"], records["rtype"], records["action"], records["side"] = 14, 0xA0, ord("A"), ord("B")
    records["ts_recv"] = midnight + np.array([-2, -1, 0, -1, 1, 2])
    records["order_id"] = range(6)
    recorder = Recorder(tmp_lake, "ES")
    recorder.start()
    recorder.resume()
    recorder.take(records[:1].tobytes())
    recorder.take(records[1:].tobytes())
    recorder.close("")
    journal = Journal(tmp_lake, "ES")
    # What was received late stays where it came, so that the order is the venue's.
    assert [journal.records(d)["order_id"].tolist() for d in journal.dates() if journal.count(d)] == [[0, 1], [2, 3, 4, 5]]
    assert journal.status()["ran_back"] == 1
    assert len(recorder.tail(3)) == 3
    assert recorder.tail(5)["order_id"].tolist() == [1, 2, 3, 4, 5]


def test_two_recorders_in_one_lake_are_one_too_many(tmp_lake: Path) -> None:
    first = Recorder(tmp_lake, "ES")
    first.start()
    with pytest.raises(LakeBusy, match=str(os.getpid())):
        Recorder(tmp_lake, "NQ").start()
    first.close("")
    Recorder(tmp_lake, "NQ").start()


def test_bytes_may_be_cut_anywhere(recording: Recording) -> None:
    import databento_dbn as dbn

    head = bytes(
        dbn.Metadata(
            dataset="GLBX.MDP3", start=START, stype_in=None, stype_out=dbn.SType.INSTRUMENT_ID, schema=None, symbols=[], partial=[],
            not_found=[], mappings=[], ts_out=False, version=3,
        ).encode()
    )  # fmt: skip
    beat = bytes(dbn.SystemMsg(ts_event=START, msg="Heartbeat", code=dbn.SystemCode.HEARTBEAT))
    body = recording.records[:50].tobytes()
    stream = head + beat + body[: 56 * 20] + beat + beat + body[56 * 20 :] + beat
    rng = np.random.default_rng(4)
    for _ in range(30):
        splitter, records, others, at = Splitter(), b"", [], 0
        while at < len(stream):
            n = int(rng.choice([1, 2, 7, 55, 57, 400]))
            got, more = splitter.take(stream[at : at + n])
            records, at = records + got, at + n
            others += more
        assert records == body
        assert others == [beat] * 4
    for bad in (b"\x01\x00" + bytes(60), b"\x0e\xa0" + bytes(60), bytes(64), b"\xff\x99" * 40):
        splitter = Splitter()
        splitter.take(head)
        with pytest.raises(BadFeed):
            splitter.take(body + bad)


def test_the_gateway_speaks_to_databentos_own_live_client(recording: Recording) -> None:
    got: list[object] = []
    with Gateway(recording, speed=600).serving() as port:
        client = databento.Live(key=KEY, gateway="127.0.0.1", port=port)
        client.subscribe("GLBX.MDP3", "mbo", "ES.FUT", "parent", snapshot=True)
        client.add_callback(got.append)
        client.start()
        end = time.monotonic() + 10
        while sum(isinstance(m, databento.MBOMsg) for m in got) < 5000 and time.monotonic() < end:
            time.sleep(0.05)
        client.terminate()
    assert sum(isinstance(m, databento.MBOMsg) for m in got) >= 5000
    assert {m.stype_out_symbol for m in got if isinstance(m, databento.SymbolMappingMsg)} == set(SYMBOLS.values())


STATUS = {
    "root": "ES", "state": "live", "reason": "", "wall_ns": 1_000 * NS, "last_ns": 999 * NS, "silent_s": 0.1, "heartbeat_s": 5.0,
    "attempt": 3, "since_ns": 996 * NS, "gap": None, "clock": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "later_s", "word", "text"),
    [
        ({}, 0, "LIVE", "LIVE"),
        ({"last_ns": 993 * NS, "silent_s": 20}, 0, "DELAYED", "DELAYED 7 s"),
        ({"last_ns": 993 * NS}, 0, "QUIET", "QUIET 7 s"),
        ({"state": "reconnecting", "reason": "reset"}, 0, "RECONNECTING", "RECONNECTING 4 s (attempt 3): reset"),
        ({"state": "catching up"}, 0, "CATCHING UP", "CATCHING UP"),
        ({"gap": [900 * NS, 950 * NS]}, 0, "GAP", "GAP 19:15:00-19:15:50"),
        ({"state": "stopped", "reason": "the disk is full"}, 0, "STOPPED", "the disk is full; `spymaster live`"),
        ({}, 6, "STOPPED", "said nothing for 6 s; `spymaster live`"),
        ({"state": "stopped", "reason": "it was played", "feed": "simulated"}, 0, "STOPPED", "it was played; another play begins anew"),
        ({"clock": {"wall_ns": 1_000 * NS, "data_ns": 999 * NS, "speed": 60}}, 0.03, "LIVE", "LIVE"),
        ({"last_ns": None}, 0, "QUIET", "connected"),
    ],
)
def test_badges(change: dict[str, object], later_s: float, word: str, text: str) -> None:
    found = badge({**STATUS, **change}, int((1_000 + later_s) * NS), "spymaster live")
    assert found[0] == word
    assert text in found[1]
    assert badge({}, 0, "spymaster live")[0] == "STOPPED"


@pytest.mark.parametrize(("off_s", "words"), [(30, "30.0 s behind"), (-30, "30.0 s ahead of"), (0, "")])
def test_a_clock_that_is_wrong_is_told_and_delays_are_the_venues(tmp_lake: Path, recording: Recording, off_s: int, words: str) -> None:
    recorder = Recorder(tmp_lake, "ES")
    recorder.start()
    recorder.resume()

    def heard(late_s: float) -> dict[str, object]:
        """The status after a record of the venue's `late_s` ago, and a heartbeat of now."""
        venue = time.time_ns() + off_s * NS
        one = recording.records[:1].copy()
        one["ts_recv"] = one["ts_event"] = venue - int(late_s * NS)
        recorder.take(one.tobytes())
        beat = databento_dbn.SystemMsg(ts_event=venue, msg="Heartbeat", code=databento_dbn.SystemCode.HEARTBEAT)
        recorder.heard()
        recorder.message(bytes(beat))
        recorder.write_status()
        return recorder.journal.status()

    status = heard(0.1)
    assert badge(status, time.time_ns(), "")[0] == "LIVE"
    assert words in clock_words(status)
    assert bool(words) == bool(clock_words(status))
    assert badge({**status, "silent_s": 20}, time.time_ns() + 4 * NS, "") == ("DELAYED", "DELAYED 4 s")
    assert abs(data_now(status, time.time_ns()) - time.time_ns() - off_s * NS) < NS
    (found,) = [c.text for c in morning_checks(tmp_lake, "ES", time.time_ns()) if c.what == "clock"]
    assert words in found
    recorder.close("the test's end")
    (found,) = [c.text for c in morning_checks(tmp_lake, "ES", time.time_ns()) if c.what == "clock"]
    assert found == "not known before the feed has spoken", "what was so when it was recorded says nothing of today"


@pytest.mark.parametrize("step_s", [30, -3600])
def test_a_clock_that_is_set_while_records_come_leaves_the_badge(tmp_lake: Path, recording: Recording, step_s: int) -> None:
    """It is not told again by how much the clock is off before the next heartbeat, which a busy market has none of."""
    recorder, real, off = Recorder(tmp_lake, "ES"), time.time_ns, [0]
    recorder.start()
    recorder.resume()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: real() + off[0])  # the machine's clock; the venue's is the real one

        def streams(now: float = 0.1) -> dict[str, object]:
            one = recording.records[:1].copy()
            one["ts_recv"] = one["ts_event"] = real() - int(now * NS)
            recorder.heard()
            recorder.take(one.tobytes())
            recorder.tick()
            return recorder.journal.status()

        streams()
        # The clock is wrong as the connection is made, and is set right; it was right, and is set wrong.
        for before, after in ((-step_s * NS, 0), (0, step_s * NS)):
            off[0] = before
            recorder.message(bytes(databento_dbn.SystemMsg(ts_event=real(), msg="Heartbeat", code=databento_dbn.SystemCode.HEARTBEAT)))
            assert badge(streams(), time.time_ns(), "")[0] == "LIVE"
            assert bool(clock_words(recorder.journal.status())) == bool(before)
            off[0] = after
            status = streams()
            assert badge(status, time.time_ns(), "")[0] == "LIVE"
            assert bool(clock_words(status)) == bool(after)
            assert abs(data_now(status, time.time_ns()) - real()) < NS
            assert 0 <= recorder.silent_s < 5, "silence is not told by a clock that is set"
            assert 0 <= status["silent_s"] < 5
        recorder.lost("the test's", 1.0)
        off[0] += 100 * NS
        status = streams()
        assert badge(status, time.time_ns(), "")[1].startswith("RECONNECTING 0 s")
        recorder.close("the test's end")
    steps = [e["by_s"] for e in recorder.journal.events(recorder.journal.dates()[-1]) if e["what"] == "clock set"]
    assert steps == pytest.approx([-step_s, step_s, step_s, 100], abs=0.1)


@pytest.mark.parametrize(
    ("day", "clock", "closed"),
    [
        (dt.date(2025, 11, 4), "16:59", False), (dt.date(2025, 11, 4), "17:00", True), (dt.date(2025, 11, 4), "18:00", False),
        (dt.date(2025, 11, 7), "17:30", True), (dt.date(2025, 11, 8), "12:00", True), (dt.date(2025, 11, 9), "17:59", True),
        (dt.date(2025, 11, 9), "18:00", False), (dt.date(2025, 3, 9), "18:00", False), (dt.date(2025, 11, 2), "17:59", True),
    ],
)  # fmt: skip
def test_the_venues_hours_hold_on_days_on_which_clocks_change(day: dt.date, clock: str, closed: bool) -> None:
    assert is_closed(dt.datetime.combine(day, dt.time.fromisoformat(clock), NEW_YORK)) is closed


def test_a_file_is_played_as_if_it_came_live(recording: Recording, tmp_path: Path) -> None:
    from tests.support.lakes import spymaster

    path = write_dbn(tmp_path / "a.mbo.dbn.zst", recording.records, symbols=SYMBOLS, start=utc_ns(DATE), end=END, dataset="GLBX.MDP3.SIM")
    lake = tmp_path / "lake"
    half = ("live", "--from", path, "--speed", 1200, "--at", "09:02", "--until", "09:12", "--lake", lake)
    spymaster(*half)
    journal = Journal(lake, "ES")
    assert START + 710 * NS < journal.records(DATE)["ts_recv"].max() < START + 720 * NS
    # It goes on where it stopped, by proof.
    done = spymaster("live", "--from", path, "--speed", 1200, "--lake", lake)
    assert "the file was played to its end" in done.stdout
    assert not journal.gaps(DATE)
    assert whats(journal).count("overlap proved") == 1
    status = json.loads((journal.folder / "status.json").read_text())
    assert (status["feed"], status["state"]) == ("simulated", "stopped")
    source = recording.records
    wanted = live_records(source[source["ts_recv"] >= START + 120 * NS])
    found = live_records(journal.records(DATE))
    assert found.tobytes() == wanted[len(wanted) - len(found) :].tobytes()
    assert len(wanted) - len(found) < 2000
    trades = journal.trades(DATE)
    before = source[(source["action"] == ord("T")) & (source["ts_recv"] < START + 120 * NS)]
    assert trades["order_id" if "order_id" in trades.dtype.names else "sequence"].tolist()[: len(before)] == before["sequence"].tolist()
    again = spymaster("live", "--from", path, "--lake", lake, check=False)
    assert "played to their end" in again.stderr


def test_the_morning_records_and_serves_until_it_is_ended(recording: Recording, tmp_lake: Path) -> None:
    gateway = Gateway(recording, speed=300, key="db-0123456789abcdefghijklmnopqrs")
    journal = Journal(tmp_lake, "ES")
    with gateway.serving() as port:
        environment = {
            **os.environ,
            "DATABENTO_API_KEY": gateway.key,
            "PYTHONPATH": str(ROOT),
            "SPYMASTER_LIVE_GATEWAY": f"127.0.0.1:{port}",
        }
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            free = s.getsockname()[1]
            s.listen()
            words = [sys.executable, "-m", "engine.cli", "morning", "--lake", str(tmp_lake), "--port", str(free)]
            taken = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert taken.returncode == 1
        assert "no server can listen there" in taken.stderr
        assert not journal.folder.exists(), "nothing was begun"
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_for(lambda: journal.count(DATE) > 1000 and screens(process.pid), process)
        # A screen that ends is there again, and the recording knows nothing of it.
        (screen,) = screens(process.pid)
        os.kill(screen, signal.SIGKILL)
        wait_for(lambda: screens(process.pid) not in ([], [screen]), process)
        (screen,) = screens(process.pid)
        wait_for(lambda: journal.status().get("records", 0) > 0, process)
        pid = journal.status()["pid"]
        process.send_signal(signal.SIGTERM)
        out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 130, out
    assert "ok    key: there is one" in out
    assert "the screen ended with exit code -9; it is started again" in out
    assert gateway.key not in out
    assert journal.status()["state"] == "stopped"
    assert sum(e["what"] == "started" for d in journal.dates() for e in journal.events(d)) == 1
    for ended in (pid, screen):
        with pytest.raises(ProcessLookupError):
            os.kill(ended, 0)


def screens(parent: int) -> list[int]:
    """Processes that a process has begun to serve the screen."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]


@pytest.mark.parametrize(("faults", "kills", "minutes", "speed"), [(18, 2, 4, 24), pytest.param(180, 20, 20, 5, marks=pytest.mark.long)])
def test_faults_at_random_lose_and_double_nothing(
    recording: Recording, tmp_lake: Path, faults: int, kills: int, minutes: int, speed: float
) -> None:
    """Faults of the feed, and recorders that are killed, over the recording's first minutes."""
    rng = np.random.default_rng(11)
    kinds = ("close", "reset", "half", "garbage", "refuse", "error", "slow", "stall")
    times = np.sort(rng.uniform(5, 60 * minutes - 10, faults))
    values = {"refuse": 1, "error": 6, "stall": 0.3}
    made = [Fault(START + int(t * NS), str(k), values.get(str(k), 0)) for t, k in zip(times, rng.choice(kinds, faults))]
    recording = Recording(recording.symbols, recording.records[recording.records["ts_recv"] < START + 60 * minutes * NS], recording.dataset)
    gateway = Gateway(recording, speed=speed, faults=made, key="db-0123456789abcdefghijklmnopqrs")
    journal, end = Journal(tmp_lake, "ES"), int(gateway.received[-1])

    def newest() -> int:
        n = journal.count(DATE)
        return int(journal.records(DATE, n - 1, n)["ts_recv"][0]) if n else 0

    with gateway.serving() as port:
        environment = {
            **os.environ,
            "DATABENTO_API_KEY": gateway.key,
            "PYTHONPATH": str(ROOT),
            "SPYMASTER_LIVE_GATEWAY": f"127.0.0.1:{port}",
        }
        words = [sys.executable, "-m", "engine.cli", "live", "--lake", str(tmp_lake)]
        killed, lasts_s = 0, 60 * minutes / speed
        stop = time.monotonic() + 600
        while newest() < end and time.monotonic() < stop:
            process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until = time.monotonic() + (float(rng.uniform(0.5, 1.0)) * lasts_s / kills if killed < kills else 600)
            while newest() < end and time.monotonic() < until:
                time.sleep(0.05)
            process.kill()
            process.wait()
            killed += 1
    records = journal.records(DATE)
    live = live_records(records)
    source = live_records(recording.records)
    at = {int(q): i for i, q in enumerate(source["sequence"])}
    # Between two snapshots the journal is the source, byte for byte; every gap is told.
    is_snapshot = (records["flags"] & F_SNAPSHOT) != 0
    starts = np.flatnonzero(np.diff(np.concatenate(([0], (~is_snapshot).astype(np.int8), [0]))) == 1)
    stops = np.flatnonzero(np.diff(np.concatenate(([0], (~is_snapshot).astype(np.int8), [0]))) == -1)
    for a, b in zip(starts, stops):
        first = (
            at[int(records["sequence"][a])] if len(at) == len(source) else int(np.searchsorted(source["ts_recv"], records["ts_recv"][a]))
        )
        assert records[a:b].tobytes() == source[first : first + b - a].tobytes()
    assert len(journal.gaps(DATE)) == len(starts) - 1 + int(is_snapshot[-1])
    assert len(np.unique(live["ts_recv"])) > 0.9 * len(np.unique(source["ts_recv"]))
    assert whats(journal).count("overlap proved") > faults // 4
    assert killed > kills


def test_what_goes_wrong_now_and_then_goes_on_to_the_end() -> None:
    made = now_and_then(START, END, 2.0)
    assert [f.do for f in made[:8]] == ["reset", "stall", "garbage", "half", "refuse", "slow", "close", "skip"] or len(made) < 8
    assert {f.at_ns % NS for f in made} == {0}
    assert made[-1].at_ns < END <= made[-1].at_ns + 2 * 90 * NS


def test_what_the_gateway_says_is_kept_without_the_key(tmp_lake: Path) -> None:
    key = "db-0123456789abcdefghijklmnopqrs"
    recorder = Recorder(tmp_lake, "ES")
    Feed(recorder, key)
    recorder.start()
    said = databento_dbn.ErrorMsg(ts_event=START, err=f"not allowed: {key} ({key[-5:]})", is_last=True)
    recorder.message(bytes(said))
    recorder.close("")
    text = "".join(p.read_text() for p in (tmp_lake / "live").rglob("*.json*"))
    assert "not allowed" in text
    assert key not in text
    assert key[-5:] not in text


@pytest.mark.parametrize(
    ("clock", "date"),
    [
        ("2025-11-06 19:00", dt.date(2025, 11, 7)), ("2025-11-07 10:00", dt.date(2025, 11, 7)), ("2025-11-07 19:00", None),
        ("2025-11-08 12:00", None), ("2025-11-09 19:00", dt.date(2025, 11, 10)),
    ],
)  # fmt: skip
def test_no_session_is_of_a_weekend(tmp_path: Path, clock: str, date: dt.date | None) -> None:
    now = int(dt.datetime.fromisoformat(clock).replace(tzinfo=NEW_YORK).timestamp()) * NS
    journal = Journal(tmp_path, "ES")
    journal.folder.mkdir(parents=True)
    (journal.folder / "status.json").write_text(json.dumps({**STATUS, "wall_ns": now, "last_ns": now}))
    assert date_under_way(journal, "rth", now) == date


def test_the_live_demo_removes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    kept = tmp_path / "lake" / "live" / "NQ" / "2025-11-04.mbo"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"recorded")
    done = spymaster("live-demo", "--lake", tmp_path / "lake", "--no-serve", check=False)
    assert done.returncode == 1
    assert "expected an empty folder, or one that live-demo made" in done.stderr
    assert [p for p in (tmp_path / "lake").rglob("*") if p.is_file()] == [kept]


def test_a_lake_is_recorded_into_by_one_alone(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "ES", feed="replayed")
    lock = recording_lock(tmp_path)
    with alone(*lock), pytest.raises(LakeBusy, match=f"process {os.getpid()} records"):
        recorder.start()
    recorder.start()
    with pytest.raises(LakeBusy), alone(*lock):
        pass
    recorder.close("the test's end")
