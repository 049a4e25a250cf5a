"""A session under way is the one of the ladder that will be: nothing of it has to be taken back but what is not closed yet."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.features import level_windows
from engine.lake.store import Lake
from engine.live.alerts import Watch, four_open
from engine.live.day import LiveDay
from engine.live.journal import Journal
from engine.live.lookout import Lookout
from engine.live.session import LiveSession, busiest, contract_of, date_under_way, opened
from engine.params import FeatureParams
from engine.selection import COLUMNS, selection_frame
from engine.vocab import NS
from tests.live.test_day import write_journal
from tests.support.built import copy_of_built
from tests.support.dbn_files import busy_day, utc_ns
from tests.support.lakes import ESZ5, MONDAY, TUESDAY, WEDNESDAY, day_records, make_whole_lake
from workbench.views import known


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Journal]:
    folder = copy_of_built("whole-lake", make_whole_lake, tmp_path_factory.mktemp("lake"))
    records = np.concatenate([day_records(MONDAY), day_records(TUESDAY)])
    return Lake(folder / "lake"), write_journal(folder / "live", records, ESZ5)


def at(lake: Lake, journal: Journal, second: int) -> LiveSession:
    """The session once `second` seconds of it have been recorded."""
    day = LiveDay(lake, journal, "ESZ5", TUESDAY)
    session = LiveSession(day)
    received = journal.records(TUESDAY)["ts_recv"]
    session.advance(journal.count(MONDAY) + int(np.searchsorted(received, session.ladder.start_ns + second * NS)))
    session.refresh()
    return session


def test_what_grows_is_asked_anew_and_what_is_over_stays(journal: tuple[Lake, Journal]) -> None:
    session = at(*journal, 2400)
    whole = at(*journal, 12_600)
    level = session.levels["level_id"][0]
    before = session.known_seconds
    windows, slab = session.windows(level, FeatureParams()), known.slab(session, 1200, 3600, 27_100, 27_300, 1, "depth", 0.0, 1800)
    assert np.isnan(slab.shown[session.known_seconds - 1200 :]).all(), "nothing of what has not come"
    while session.known_seconds < 3600:
        assert session.advance(50) >= 0
    assert session.known_seconds > before
    session.refresh()
    ended = pl.col("window_end_ts_ns") <= session.ladder.start_ns + before // 5 * 5 * NS
    assert session.windows(level, FeatureParams()).filter(ended).equals(windows.filter(ended))
    grown = known.slab(session, 1200, 3600, 27_100, 27_300, 1, "depth", 0.0, 1800)
    assert grown is slab
    made = known.slab(whole, 1200, 3600, 27_100, 27_300, 1, "depth", 0.0, 1800)
    assert np.array_equal(grown.shown, made.shown, equal_nan=True)
    for t in (1500, before, 3600):
        assert grown.rows(t, 5, True, 27_200).equals(made.rows(t, 5, True, 27_200))


def test_the_second_under_way_becomes_the_one_that_is_closed(journal: tuple[Lake, Journal]) -> None:
    lake, of = journal
    session = at(lake, of, 2000)
    mid = int(session.last_tick(session.day.now_ns) or 0)
    checked = 0
    while checked < 12:
        t, forming = session.known_seconds, session.forming(mid - 100, mid + 100)
        seen = None
        while session.known_seconds == t:
            seen = forming
            session.advance(1)
            forming = session.forming(mid - 100, mid + 100) if session.known_seconds == t else None
        if seen is None or session.known_seconds != t + 1:
            continue
        slab = known.slab(session, t - 60, t + 1, mid - 100, mid + 100, 1, "depth", 0.0, 1800)
        shown, closed = slab.rows(t, 5, True, mid, seen), slab.rows(t + 1, 6, True, mid)
        for name in ("rest", "long", "short"):
            assert shown[name].to_list() == pytest.approx(closed[name].to_list()), name
        assert seen.last == session.last_tick(session.day.now_ns)
        checked += 1


def test_which_session_is_under_way(journal: tuple[Lake, Journal], tmp_path: Path) -> None:
    _, of = journal
    assert busiest(of) == "ESZ5"
    # The recording has ended: its last record decides, and an evening of New York is the next day's, but for a session of the evening.
    assert date_under_way(of, "rth", 0) == WEDNESDAY
    assert date_under_way(of, "globex_open", 0) == TUESDAY
    assert date_under_way(Journal(tmp_path, "ES"), "rth", 0) is None
    assert busiest(Journal(tmp_path, "ES")) == ""


def test_alerts_told_bit_by_bit_are_those_of_the_whole_day(journal: tuple[Lake, Journal]) -> None:
    lake, of = journal
    session = opened(LiveDay(lake, of, "ESZ5", TUESDAY))
    lookout, found, rng = Lookout(session), [], np.random.default_rng(3)
    while session.advance(int(rng.choice([40, 600, 3000]))) or session.day.behind():
        found += lookout.look()
    whole = at(lake, of, 10**6)
    want = [*Watch(whole.ladder).until(whole.known_seconds, whole.levels), *four_open(level_windows(whole.ladder, whole.levels))]
    assert found == sorted(want, key=lambda a: a.ts_ns)
    assert {a.kind for a in found} >= {"approach", "touch", "four open, fall"}
    # Begun later, nothing of before is told.
    begin = session.known_seconds // 2
    later = Lookout(session, begin=begin).look()
    assert later
    assert all(a.ts_ns > session.ladder.start_ns + begin * NS for a in later)


def test_which_contract_is_followed_over_a_roll(tmp_path: Path) -> None:
    """The one of a recent selection, else the one in front by trades; that another trades more is told, and no more than that."""
    both = {1: "ESH6", 2: "ESZ5"}  # the first has most of the messages
    records = busy_day(
        6000, 5, date=TUESDAY, symbols=both, snapshot_orders=200, start_ns=utc_ns(TUESDAY, 14), end_ns=utc_ns(TUESDAY, 15, 30)
    )
    few = records[records["instrument_id"] == 2][-40:].copy()
    few["ts_recv"] += 9 * 3600 * NS  # over midnight of UTC the counting goes on
    of, lake = write_journal(tmp_path, np.concatenate([records, few]), both), Lake(tmp_path)
    assert [of.count(d) > 0 for d in (TUESDAY, WEDNESDAY)] == [True, True]
    assert contract_of(lake, of) == busiest(of) == "ESH6"

    def select(symbol: str, date: dt.date) -> None:
        lake.write_selection(selection_frame([dict(zip(COLUMNS, (date, symbol, 1.0, 5, 5, 1, 1, 1, 5.0, 1.0, True, symbol)))]))

    for symbol, date, followed in (
        ("ESZ5", TUESDAY, "ESZ5"), ("ESZ5", TUESDAY - dt.timedelta(days=20), "ESH6"), ("ESU5", TUESDAY, "ESH6"),
        ("ESZ5", TUESDAY + dt.timedelta(days=40), "ESH6"),
    ):  # fmt: skip
        select(symbol, date)
        assert contract_of(lake, of) == followed
    lake.selection_path().write_bytes(b"no parquet")
    assert contract_of(lake, of) == "ESH6"
    day = LiveDay(lake, of, "ESZ5", TUESDAY)
    session = opened(day)
    session.advance(len(records))
    (alert,) = [a for a in Lookout(session).look() if a.kind == "other contract"]
    assert (alert.level_id, alert.text) == ("ESH6", "ESH6 has traded more than ESZ5 for half an hour")
    assert session.symbol == "ESZ5"
