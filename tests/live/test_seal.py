"""A sealed recording makes, by the pipeline, what was seen live; and what stands beside it holds."""

from __future__ import annotations

import datetime as dt
import fcntl
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.commands.live import is_sealing_time
from engine.lake.catalog import BARS, BRONZE_MBO, LADDER, TAPE
from engine.lake.store import Lake
from engine.live.checks import Check, beginning, morning_checks
from engine.live.day import LiveDay
from engine.live.gateway import RestingOrders
from engine.live.journal import Journal, Recorder
from engine.live.seal import clear, differing_seconds, seal, sealed_files
from engine.mbo.dbn import read_header
from engine.selection import COLUMNS, selection_frame
from engine.sessions import to_ns
from engine.vocab import NS
from tests.support.dbn_files import F_SNAPSHOT, busy_day, utc_ns, write_dbn
from tests.support.lakes import ESZ5, TUESDAY, WEDNESDAY, make_bronze, make_silver, spymaster

MIDNIGHT = utc_ns(WEDNESDAY)
START, END = MIDNIGHT - 2 * 3600 * NS, MIDNIGHT + 3 * 3600 * NS


@pytest.fixture(scope="module")
def records() -> np.ndarray:
    """From 17:00 New York to 22:00: over the Globex open at 18:00, and over midnight of UTC at 19:00."""
    return busy_day(9_000, 4, date=TUESDAY, start_ns=START, end_ns=END, symbols=ESZ5, snapshot_orders=300)


def recorded(lake: Path, records: np.ndarray, lost: tuple[int, int] | None = None) -> Journal:
    """A journal of the records, which were received from the snapshot at `START` on; with those of `lost` missing."""
    orders = RestingOrders(records)
    snapshot = int(np.searchsorted(records["ts_recv"], START))
    orders.advance(snapshot)
    recorder = Recorder(lake, "ES", feed="replayed")
    recorder.start()
    recorder.resume()
    recorder.take(orders.snapshot(START, list(ESZ5)))
    recorder.say("mapping", symbols={str(i): s for i, s in ESZ5.items()})
    if lost is None:
        recorder.take(records[snapshot:].tobytes())
    else:
        a, b = np.searchsorted(records["ts_recv"], lost)
        recorder.take(records[snapshot:a].tobytes())
        recorder.must_join("taken away")
        recorder.resume()
        orders.advance(int(b))
        recorder.take(orders.snapshot(lost[1], list(ESZ5)))
        recorder.take(records[b:].tobytes())
    recorder.close("the test's end")
    return Journal(lake, "ES")


def made_of_sealed(lake: Lake, date: dt.date = TUESDAY) -> tuple[pl.DataFrame, pl.DataFrame]:
    for day in (TUESDAY, WEDNESDAY):
        assert make_bronze(lake, day).status == "made"
    receipt = make_silver(lake, date, "globex_open")
    assert receipt.status == "made", receipt
    return lake.read(LADDER, "ESZ5", date), lake.read(TAPE, "ESZ5", date)


def test_the_session_over_midnight_is_what_was_seen_live(records: np.ndarray, tmp_lake: Path) -> None:
    journal, lake = recorded(tmp_lake, records), Lake(tmp_lake)
    assert seal(lake, "ES", "GLBX.MDP3", before=TUESDAY) == []
    first, second = seal(lake, "ES", "GLBX.MDP3")
    assert seal(lake, "ES", "GLBX.MDP3") == []
    assert [s.path.name for s in (first, second)] == [f"ES-live-glbx-mdp3-2025110{d}.mbo.dbn.zst" for d in (4, 5)]
    assert (second.continues, first.continues, first.head) == (first.sha256, None, 0)
    assert (first.end_ns, second.start_ns) == (MIDNIGHT, MIDNIGHT)
    assert second.head > 100
    assert read_header(second.path).symbols == ESZ5
    live = LiveDay(lake, journal, "ESZ5", TUESDAY, "globex_open")
    live.poll()
    live.refresh()
    rows, tape = made_of_sealed(lake)
    assert_same_but_at_midnight(live, rows, tape)
    assert live.bars.equals(lake.read(BARS, "ESZ5", TUESDAY))
    assert lake.passed_over() == {}


def assert_same_but_at_midnight(live: LiveDay, rows: pl.DataFrame, tape: pl.DataFrame) -> None:
    """What was seen live is what the sealed files make. The second file begins with the book at midnight: its own second is not valid, and
    all orders of a snapshot count as rested.
    """
    live_rows, live_tape = live.ladder.frames()
    other = pl.col("window_start_ts_ns") != MIDNIGHT
    flows = [c for c in rows.columns if "rest" not in c]
    assert live_rows.filter(other).select(flows).equals(rows.filter(other).select(flows))
    before = pl.col("window_start_ts_ns") < MIDNIGHT
    assert live_rows.filter(before).equals(rows.filter(before))
    assert live_tape.filter(other).equals(tape.filter(other))
    assert tape.filter(~other)["book_valid"].to_list() == [False]
    assert rows.filter(before).height > 500


def test_a_gap_of_the_recording_is_a_gap_of_the_sealed_file(records: np.ndarray, tmp_lake: Path) -> None:
    lost = (MIDNIGHT - 2400 * NS, MIDNIGHT - 2100 * NS)
    journal, lake = recorded(tmp_lake, records, lost), Lake(tmp_lake)
    first, _ = seal(lake, "ES", "GLBX.MDP3")
    assert len(first.gaps) == 1
    live = LiveDay(lake, journal, "ESZ5", TUESDAY, "globex_open")
    live.poll()
    live.refresh()
    rows, tape = made_of_sealed(lake)
    spans = lake.notes(BRONZE_MBO, "ESZ5", TUESDAY)["spans"]
    assert [spans[0][1], spans[1][0]] == first.gaps[0][:2]
    assert_same_but_at_midnight(live, rows, tape)
    at = (np.array(lost) - live.ladder.start_ns) // NS
    assert not live.ladder.valid[at[0] : at[1]].any()
    assert live.ladder.valid[at[1] + 1 :].all()


def test_the_rest_of_a_date_is_sealed_as_its_next_piece(records: np.ndarray, tmp_lake: Path) -> None:
    lake = Lake(tmp_lake)
    recorder = Recorder(tmp_lake, "ES", feed="replayed")
    recorder.start()
    recorder.resume()
    half = len(records) // 4
    recorder.take(records[:half].tobytes())
    recorder.say("mapping", symbols={str(i): s for i, s in ESZ5.items()})
    (piece,) = seal(lake, "ES", "GLBX.MDP3")
    recorder.take(records[half:].tobytes())
    recorder.close("")
    rest, after = seal(lake, "ES", "GLBX.MDP3")
    assert rest.path.name == "ES-live-glbx-mdp3-20251104-2.mbo.dbn.zst"
    assert (rest.continues, rest.start_ns, after.continues) == (piece.sha256, piece.end_ns, rest.sha256)
    live = LiveDay(lake, Journal(tmp_lake, "ES"), "ESZ5", TUESDAY, "globex_open")
    live.poll()
    rows, tape = made_of_sealed(lake)
    assert_same_but_at_midnight(live, rows, tape)


def test_a_downloaded_file_wins_and_says_where_the_sealed_one_differs(records: np.ndarray, tmp_lake: Path) -> None:
    lost = (MIDNIGHT - 2400 * NS, MIDNIGHT - 2100 * NS)
    recorded(tmp_lake, records, lost)
    lake = Lake(tmp_lake)
    seal(lake, "ES", "GLBX.MDP3")
    of_tuesday = records[records["ts_recv"] < MIDNIGHT].copy()
    k = np.flatnonzero((of_tuesday["ts_recv"] > START + 600 * NS) & (of_tuesday["action"] == ord("A")))[0]
    of_tuesday["size"][k] += 1
    write_dbn(lake.raw_folder("ES") / "glbx-mdp3-20251104.mbo.dbn.zst", of_tuesday, symbols=ESZ5, start=utc_ns(TUESDAY), end=MIDNIGHT)
    (span,) = differing_seconds(lake, "ES", TUESDAY)
    assert "records sealed" in spymaster("live", "compare", "2025-11-04", "--lake", tmp_lake).stdout
    assert span[0] == int(of_tuesday["ts_recv"][k]) // NS * NS
    assert span[2] == span[3]
    assert make_bronze(lake, TUESDAY).status == "made"
    bronze = lake.read(BRONZE_MBO, "ESZ5", TUESDAY)
    assert bronze.height == len(of_tuesday)
    assert next(iter(lake.manifest(BRONZE_MBO, "ESZ5", TUESDAY).lineage.inputs)).endswith("/glbx-mdp3-20251104.mbo.dbn.zst")
    assert len(sealed_files(lake, "ES")) == 2


def test_the_journal_goes_when_nothing_depends_on_it(records: np.ndarray, tmp_lake: Path) -> None:
    journal, lake = recorded(tmp_lake, records), Lake(tmp_lake)
    assert [w for _, w in clear(lake, "ES", "globex_open")] == ["stays: it is not sealed as a whole"]
    assert "ES-live-glbx-mdp3-20251104.mbo.dbn.zst: " in spymaster("live", "seal", "--lake", tmp_lake).stdout
    assert "no session of it was made" in dict(clear(lake, "ES", "globex_open"))[TUESDAY]
    made_of_sealed(lake)
    assert "until the next day is over" in dict(clear(lake, "ES", "globex_open"))[TUESDAY]
    recorder = Recorder(tmp_lake, "ES", feed="replayed")
    recorder.start()
    recorder.resume()
    later = records[-1:].copy()
    later["ts_recv"] = utc_ns(WEDNESDAY + dt.timedelta(days=1))
    recorder.take(recorder._expect + later.tobytes())  # as the feed sends it: from two seconds before the last record on
    recorder.close("")
    said = dict(clear(lake, "ES", "globex_open"))
    assert "removed" in said[TUESDAY]
    assert "no session" in said[WEDNESDAY]
    assert not journal.path(TUESDAY).exists()
    live = records[(records["flags"] & F_SNAPSHOT) == 0]
    assert journal.count(WEDNESDAY) == int((live["ts_recv"] >= MIDNIGHT).sum())


def test_the_morning_says_what_is_missing_with_the_command_that_mends_it(
    records: np.ndarray, tmp_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABENTO_API_KEY", "db-0123456789abcdefghijklmnopqrs")
    now = MIDNIGHT + 13 * 3600 * NS  # Wednesday, 08:00 New York
    first = dict_of(morning_checks(tmp_lake, "ES", now))
    assert first["key"][0] == "ok"
    assert "0123456789" not in str(first)
    assert first["the day before"] == (
        "note",
        f"2025-11-04 is not in the lake: its high, low and close will be no levels; `spymaster download --symbol ES --dates "
        f"2025-11-04:2025-11-04 --lake {tmp_lake}` brings it",
    )
    recorded(tmp_lake, records)
    lake = Lake(tmp_lake)
    seal(lake, "ES", "GLBX.MDP3")
    assert make_bronze(lake, TUESDAY).status == "made"
    second = dict_of(morning_checks(tmp_lake, "ES", now))
    assert second["the day before"][0] == "ok"
    assert second["recorder"][0] == "note"
    assert second["contract"][0] == "note"
    row = ("ESZ5", 1.0, 5, 5, 1, 1, 1, 5.0, 1.0, True, "ESZ5")
    lake.write_selection(selection_frame([dict(zip(COLUMNS, (TUESDAY, *row)))]))
    assert dict_of(morning_checks(tmp_lake, "ES", now))["contract"] == ("ok", "ESZ5 by the selection of 2025-11-04")
    later = MIDNIGHT + 9 * 24 * 3600 * NS
    assert "which says nothing of today" in dict_of(morning_checks(tmp_lake, "ES", later))["contract"][1]
    assert second["options"] == ("ok", "none in the lake; the session is shown without them")
    monkeypatch.delenv("DATABENTO_API_KEY")
    done = spymaster("morning", "--check", "--lake", tmp_lake, check=False)
    assert done.returncode == 1
    assert "DATABENTO_API_KEY" in done.stdout
    assert "the morning cannot begin" in done.stderr


def test_what_a_session_needs_is_seen_from_the_feeds_own_time(tmp_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABENTO_API_KEY", raising=False)
    lake, wall = Lake(tmp_lake), time.time_ns()
    assert dict_of(morning_checks(tmp_lake, "ES", wall))["key"][0] == "stop"
    recorder = Recorder(tmp_lake, "ES", feed="replayed")

    def played(at_ns: int, speed: float = 1.0) -> tuple[dict[str, tuple[str, str]], str, float]:
        recorder.clock = {"data_ns": at_ns, "wall_ns": wall, "speed": speed}
        recorder.write_status()
        found = beginning(lake, "ES", wall)
        return dict_of(morning_checks(tmp_lake, "ES", wall)), found.text, found.left_s

    recorder.start()
    recorder.resume()
    checks, text, left = played(to_ns(TUESDAY, dt.time(8, 50)), speed=10)
    assert checks["key"] == ("ok", "none is needed: a file is played")
    assert checks["clock"] == ("ok", "that of the file that is played")
    assert checks["the day before"][1].startswith("2025-11-03 is not in the lake")
    assert (text, round(left)) == ("ES, session rth of Tuesday 2025-11-04: begins at 09:00 New York", 60)
    # An evening's trading belongs to the next day's session; until then the day's own is not asked for.
    assert played(to_ns(TUESDAY, dt.time(17, 59)))[0]["the day before"][1].startswith("2025-11-03")
    checks, text, left = played(to_ns(TUESDAY, dt.time(19)))
    assert checks["the day before"][1].startswith("2025-11-04")
    assert (text, round(left)) == ("ES, session rth of Wednesday 2025-11-05: begins at 09:00 New York", 14 * 3600)
    _, text, left = played(to_ns(TUESDAY, dt.time(9, 0, 1)))
    assert (text, left) == (
        "ES, session rth of Tuesday 2025-11-04: under way since 09:00 New York, and shown once something has traded",
        0,
    )
    # Over a weekend on which the clocks change: from Friday's close to Monday's session.
    friday = dt.date(2025, 10, 31)
    assert round(played(to_ns(friday, dt.time(16)))[2] / 3600) == 66
    recorder.close("the test's end")
    assert dict_of(morning_checks(tmp_lake, "ES", wall))["key"][0] == "stop", "nothing records any more, and what would needs a key"


def dict_of(found: list[Check]) -> dict[str, tuple[str, str]]:
    return {c.what: (c.state, c.text) for c in found}


def test_what_was_recorded_is_sealed_once_in_the_venues_hour() -> None:
    for day in (TUESDAY, dt.date(2025, 11, 2), dt.date(2025, 3, 9)):  # clocks change on two of them
        last, sealed = to_ns(day, dt.time(9)), 0
        for now in range(last, last + 24 * 3600 * NS, 60 * NS):
            if is_sealing_time(last, now):
                last, sealed = now, sealed + 1
                assert now == to_ns(day, dt.time(17, 5))
        assert sealed == 1


def test_two_do_not_seal_at_once(tmp_path: Path, records: np.ndarray) -> None:
    lake = tmp_path / "lake"
    journal = recorded(lake, records)
    with (journal.folder / ".sealing").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = spymaster("live", "seal", "--lake", lake, check=False)
    assert done.returncode == 1
    assert "another process seals" in done.stderr
    assert not sealed_files(Lake(lake), "ES")
    assert "records" in spymaster("live", "seal", "--lake", lake).stdout
