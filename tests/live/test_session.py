"""A session under way is the one of the ladder that will be: nothing of it has to be taken back but what is not closed yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.lake.store import Lake
from engine.live.day import LiveDay
from engine.live.journal import Journal
from engine.live.session import LiveSession, busiest, date_under_way
from engine.params import FeatureParams
from engine.vocab import NS
from tests.live.test_day import write_journal
from tests.support.built import copy_of_built
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
