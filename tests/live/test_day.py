"""The day under way equals the pipeline's, row for row, and knows nothing of what has not come yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.features import level_windows
from engine.ladder import Ladder
from engine.lake.catalog import BARS, BRONZE_MBO, LADDER, LEVELS, TAPE
from engine.lake.store import Lake
from engine.live.alerts import Watch, alert_file, four_open, kept
from engine.live.day import Closed, GrowingLadder, LiveDay
from engine.live.journal import Journal, Recorder
from engine.params import ApproachParams, FeatureParams
from engine.vocab import NS, ROOTS
from tests.support.built import copy_of_built
from tests.support.dbn_files import F_BAD_TS_RECV, F_LAST, F_SNAPSHOT, UNDEF_PRICE, make_records, utc_ns
from tests.support.ladders import make_frames
from tests.support.lakes import ESZ5, MONDAY, TUESDAY, day_records, make_whole_lake, spymaster


def write_journal(lake: Path, records: np.ndarray, symbols: dict[int, str]) -> Journal:
    """A journal as the recorder writes it."""
    recorder = Recorder(lake, "ES", feed="replayed")
    recorder.start()
    recorder.resume()
    recorder.take(records[:1].tobytes())
    recorder.say("mapping", symbols={str(i): s for i, s in symbols.items()})
    recorder.take(records[1:].tobytes())
    recorder.close("the test's end")
    return Journal(lake, "ES")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> LiveDay:
    """Tuesday, recorded since Monday's midnight, in a lake that the pipeline filled from the same records."""
    folder = copy_of_built("whole-lake", make_whole_lake, tmp_path_factory.mktemp("lake"))
    records = np.concatenate([day_records(MONDAY), day_records(TUESDAY)])
    journal = write_journal(folder / "live", records, ESZ5)
    return LiveDay(Lake(folder / "lake"), journal, "ESZ5", TUESDAY)


def test_the_whole_day_is_that_of_the_pipeline(day: LiveDay) -> None:
    rng = np.random.default_rng(1)
    lake = day.lake
    rows, tape = lake.read(LADDER, "ESZ5", TUESDAY), lake.read(TAPE, "ESZ5", TUESDAY)
    levels = lake.read(LEVELS, "ESZ5", TUESDAY)
    whole = Ladder.from_frames(rows, tape, symbol="ESZ5", date=TUESDAY)
    looks = 0
    received = day.journal.records(TUESDAY)["ts_recv"]
    day.poll(day.journal.count(MONDAY) + int(np.searchsorted(received, day.ladder.start_ns)))
    while day.records < day.journal.count(MONDAY) + len(received):
        day.poll(int(rng.choice([1, 7, 60, 900])))
        if day.ladder.closed and rng.random() < 0.4:
            looks += 1
            now, n = day.now_ns, day.ladder.closed
            day.refresh()
            found = day.levels
            assert (found["start_ts_ns"] < now).all()
            # A level that is known is the one that the whole day has, up to now.
            known = levels.filter(pl.col("start_ts_ns") < now)
            assert found.drop("end_ts_ns").equals(known.drop("end_ts_ns"))
            assert not day.ladder.valid[n:].any()
            assert day.ladder.offset[-1] == day.ladder.offset[n] == len(day.ladder.second)
            assert day.ladder.tape["last_tick"][n:].null_count() == len(day.ladder.valid) - n
            low = int(whole.tick[0]) - 50
            for second in (0, n // 2, n):
                assert np.array_equal(day.ladder.state_before(second, low, 200), whole.state_before(second, low, 200))
    assert looks > 5
    day.refresh()
    live_rows, live_tape = day.ladder.frames()
    assert live_rows.equals(rows)
    assert live_tape.equals(tape)
    assert day.bars.equals(lake.read(BARS, "ESZ5", TUESDAY))
    assert day.levels.equals(levels)
    assert day.absent == lake.notes(LEVELS, "ESZ5", TUESDAY)["absent"]
    assert levels["level_id"].n_unique() > 5


def test_features_of_the_newest_windows_come_from_the_ladders_end(day: LiveDay) -> None:
    lake = day.lake
    day.poll()
    levels = lake.read(LEVELS, "ESZ5", TUESDAY)
    whole = level_windows(day.ladder, levels, FeatureParams(), ApproachParams())
    tail = day.ladder.tail()
    late = levels.filter(pl.col("end_ts_ns") > tail.start_ns).with_columns(pl.col("start_ts_ns").clip(tail.start_ns))
    newest = level_windows(tail, late, FeatureParams(), ApproachParams())
    last = day.ladder.end_ns - 120 * NS
    a, b = (f.filter(pl.col("window_start_ts_ns") >= last) for f in (whole, newest))
    assert a.height == 24 * late["level_id"].n_unique()
    assert b.equals(a)
    assert tail.seconds < 3600, "the market of this test is thin, and its price stands for minutes"
    assert tail.keyframe[: int(tail.offset[1])].all()


def test_the_second_under_way_is_what_it_will_be(day: LiveDay) -> None:
    other = LiveDay(day.lake, day.journal, "ESZ5", TUESDAY)
    rows = day.lake.read(LADDER, "ESZ5", TUESDAY)
    start = other.windows.ladder_start_ns
    records = day.journal.records(TUESDAY)
    # Stop right before the first record of another second.
    second = records["ts_event"] // NS
    ends = np.flatnonzero(second[1:] != second[:-1]) + 1
    checked = 0
    for at in [int(e) for e in ends if records["ts_event"][e - 1] > start + 60 * NS][:40]:
        other.poll(len(day_records(MONDAY)) + at - other.records)
        forming = other.forming()
        now = start + int(forming[0, 0]) * NS
        want = rows.filter((pl.col("window_start_ts_ns") == now) & ~pl.col("keyframe"))
        if want.height:
            ticks = want["tick"].to_list()
            got = {int(r[1]): r[3:].tolist() for r in forming}
            assert [got[t] for t in ticks] == [list(r[4:]) for r in want.iter_rows()]
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("seed", [1, 2])
def test_a_ladder_that_grew_answers_as_one_that_was_read(seed: int) -> None:
    rows, tape = make_frames(600, seed, span=40, move=0.6)
    whole = Ladder.from_frames(rows, tape, symbol="ESZ5", date=TUESDAY)
    grown = GrowingLadder("ESZ5", TUESDAY, whole.start_ns, whole.end_ns)
    from engine.live.day import _NULLABLE, _TAPE_COLUMNS
    from engine.mbo import book
    from engine.mbo.trust import Trust

    fields = np.column_stack([whole.second, whole.tick, whole.keyframe, whole.values]).astype(np.int32)
    columns = [tape[c].fill_null(book.NO_TICK if c in _NULLABLE else 0).cast(pl.Int64).to_numpy() for c in _TAPE_COLUMNS]
    values = np.column_stack(columns)
    rng = np.random.default_rng(seed)
    at = 0
    while at < 600:
        n = min(at + int(rng.integers(1, 90)), 600)
        a, b = whole.offset[at], whole.offset[n]
        trust = Trust(whole.valid[:n], whole.near_ticks[:n].astype(np.int16), np.zeros(n, np.uint8), None, {})
        grown.append(Closed(fields[a:b], values[:n], trust))
        at = n
        low = int(whole.tick.min()) - 3
        second = int(rng.integers(0, n + 1))
        assert np.array_equal(grown.state_before(second, low, 120), whole.state_before(second, low, 120))
        cut = Ladder.from_frames(
            rows.filter(pl.col("window_start_ts_ns") < whole.start_ns + n * NS), tape.head(n), symbol="ESZ5", date=TUESDAY
        )
        span = (whole.start_ns, whole.start_ns + n * NS, low, low + 60)
        assert grown.cube(*span, window_s=1, step_ticks=2).equals(cut.cube(*span, window_s=1, step_ticks=2))
        assert grown.conserve().equals(cut.conserve())
    assert grown.tape.drop("near_ticks").equals(whole.tape.select(grown.tape.columns[:-1]))


def test_a_gap_of_the_feed_is_a_gap_of_the_ladder(day: LiveDay, tmp_path: Path) -> None:
    """Records from 10:11 to 10:13 are missing; the book comes again with a snapshot."""
    from engine.live.gateway import RestingOrders

    records = day_records(TUESDAY)
    start = LiveDay(day.lake, day.journal, "ESZ5", TUESDAY).windows.ladder_start_ns
    lost = (start + 4260 * NS, start + 4380 * NS)
    a, b = np.searchsorted(records["ts_recv"], lost)
    orders = RestingOrders(records)
    orders.advance(int(b))
    recorder = Recorder(tmp_path, "ES", feed="replayed")
    recorder.start()
    recorder.resume()
    recorder.take(records[:1].tobytes())
    recorder.say("mapping", symbols={str(i): s for i, s in ESZ5.items()})
    recorder.take(records[1:a].tobytes())
    recorder.must_join("the test took them away")
    assert recorder.resume() is None
    recorder.take(orders.snapshot(lost[1], list(ESZ5)))
    recorder.take(records[b:].tobytes())
    recorder.close("")
    journal = Journal(tmp_path, "ES")
    (gap,) = journal.gaps(TUESDAY)
    live = LiveDay(day.lake, journal, "ESZ5", TUESDAY)
    live.poll()
    live.refresh()
    first, last = (gap.start_ns - start) // NS, -(-(gap.end_ns - start) // NS)
    assert not live.ladder.valid[first:last].any()
    whole = Ladder.open(day.lake, "ESZ5", TUESDAY)
    assert np.array_equal(live.ladder.valid[:first], whole.valid[:first])
    assert not live.ladder.valid[last], "the book was built in it"
    assert np.array_equal(live.ladder.valid[last + 1 :], whole.valid[last + 1 :])
    # After the snapshot every row is that of the whole day.
    rows, _ = live.ladder.frames(int(last) + 60)
    assert rows.equals(day.lake.read(LADDER, "ESZ5", TUESDAY).filter(pl.col("window_start_ts_ns") >= start + (int(last) + 60) * NS))
    assert "not recorded then" in live.absent.get("vwap", "") or live.levels.filter(level_id="vwap")["end_ts_ns"].max() <= gap.start_ns


def strange_day(unknown: int) -> np.ndarray:
    """Seven minutes of ten orders that are changed; ten quiet seconds, and then cancels of orders that nobody saw."""
    start, tick = utc_ns(TUESDAY, 14), ROOTS["ES"].tick_fixed
    price, begin, instrument = 27_000 * tick, start - 60 * NS, next(iter(ESZ5))
    common = {"instrument_id": instrument, "flags": F_LAST}
    built = {"instrument_id": instrument, "ts_event": begin, "ts_recv": begin, "flags": F_SNAPSHOT | F_BAD_TS_RECV}
    rows = [{**built, "action": "R", "side": "N", "price": UNDEF_PRICE}]
    for i in range(10):
        side, at = ("B", price - (1 + i // 2) * tick) if i % 2 == 0 else ("A", price + (1 + i // 2) * tick)
        rows.append({**built, "action": "A", "side": side, "price": at, "size": 10, "order_id": 1 + i})
    rows[-1]["flags"] |= F_LAST
    rows.append({**common, "ts_event": begin + NS, "action": "T", "side": "B", "price": price + tick, "size": 1})
    for second in [*range(-50, 20), *range(30, 240)]:
        for k in range(1 if second < 100 else 10):
            i = (second + k) % 5
            of = {"side": "B", "price": price - (1 + i) * tick, "size": 5 + k % 3, "order_id": 1 + 2 * i}
            rows.append({**common, **of, "ts_event": start + second * NS + (1 + k) * NS // 20, "action": "M"})
        if 100 <= second < 100 + unknown:
            of = {"side": "B", "price": price - 3 * tick, "size": 1, "order_id": 10**9 + second}
            rows.append({**common, **of, "ts_event": start + second * NS + NS * 8 // 10, "action": "C"})
    return make_records(rows)


@pytest.mark.parametrize("unknown", [1, 30])
def test_what_is_missing_is_the_same_in_small_steps_and_at_once(unknown: int, tmp_path: Path) -> None:
    """One stray cancel makes no day invalid, of which the pipeline would say that nothing is missing; thirty are a loss."""
    records = strange_day(unknown)
    journal = write_journal(tmp_path, records, ESZ5)
    days = [LiveDay(Lake(tmp_path), journal, "ESZ5", TUESDAY) for _ in range(2)]
    days[0].poll()
    while days[1].behind():
        days[1].poll(3)
    start = days[0].windows.ladder_start_ns
    for day in days:
        assert day._lost == (((start + 20 * NS, start + 30 * NS),) if unknown > 1 else ())
        assert day.ladder.closed == 239
    assert np.array_equal(days[0].ladder.valid, days[1].ladder.valid)
    assert days[0].ladder.trust == days[1].ladder.trust
    assert days[1].ladder.valid[:239].all() == (unknown == 1)


def test_alerts_of_a_recorded_day_are_told_once(day: LiveDay) -> None:
    lake = day.journal.folder.parents[1]
    words = ("live", "watch", "--once", "--lake", lake)
    said = spymaster(*words).stdout
    found = kept(day.journal.path(TUESDAY, alert_file("ESZ5")))
    assert said.startswith(f"ESZ5 {TUESDAY}: alerts of the session rth")
    assert {a.kind for a in found} >= {"approach", "touch"}
    assert all(a.text in said for a in found)
    again = spymaster(*words).stdout
    assert len(again.splitlines()) == 1
    assert kept(day.journal.path(TUESDAY, alert_file("ESZ5"))) == found
    # The same as of the whole day at once, with levels as the pipeline has them but for those that this lake has no day before of.
    day.poll()
    levels = day.lake.read(LEVELS, "ESZ5", TUESDAY).filter(~pl.col("level_id").str.starts_with("pd_"))
    both = [*Watch(day.ladder).until(day.ladder.closed, levels), *four_open(level_windows(day.ladder, levels))]
    want = sorted((a for a in both if not a.level_id.startswith("pd_")), key=lambda a: a.ts_ns)
    assert found == want


def test_a_broken_day_before_takes_away_its_levels_and_no_more(tmp_path: Path) -> None:
    folder = copy_of_built("whole-lake", make_whole_lake, tmp_path / "copy")
    lake = Lake(folder / "lake")
    for part in lake.path(BRONZE_MBO, "ESZ5", MONDAY).glob("*.parquet"):
        content = bytearray(part.read_bytes())
        content[-20:] = bytes(20)
        part.write_bytes(content)
    journal = write_journal(folder / "live", day_records(TUESDAY), ESZ5)
    day = LiveDay(lake, journal, "ESZ5", TUESDAY)
    day.poll()
    day.refresh()
    assert day.ladder.closed > 0
    assert f"{BRONZE_MBO} ESZ5 {MONDAY}" in day.absent["pd_high"]
    assert "rebuilds it" in day.absent["pd_high"]
    shutil.rmtree(journal.folder)
    assert day.behind() == 0
