"""The Replay view without a browser: what its figures, its notice and its deck say after an act."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import NoData
from engine.session import Session, level_title, tick_at
from engine.vocab import NS
from tests.ui.conftest import DATE, generated_lake
from workbench import session_cache
from workbench.state import LevelState
from workbench.views import drill as book
from workbench.views import replay_data as past
from workbench.views.controls import drawer, replay_drawer
from workbench.views.drill import Drill
from workbench.views.replay import ReplayView
from workbench.views.replay_data import known_items


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small generated lake."""
    return str(generated_lake(tmp_path_factory.mktemp("view"), 20_000))


@pytest.fixture
def view(lake: str) -> ReplayView:
    """A replay at VWAP, standing in the morning."""
    st = LevelState()
    there = session_cache.contracts(lake)
    st.param["contract"].objects, st.param["session"].objects = list(there), there["ESZ5"]
    s = session_cache.load(lake, "ESZ5", DATE)
    st.param.update(contract="ESZ5", session=str(DATE), level="vwap", cursor_ts_ns=s.ladder.start_ns + 2000 * NS)
    made = ReplayView(lake, st, [])
    made.start()
    assert made.player.frame is not None
    return made


def act(view: ReplayView, name: str, value: Any) -> None:
    n = view.player.answered + 1
    view.player.deck.acted = {"name": name, "value": value, "n": n}
    assert view.player.deck.now["answered"] == n


def test_lines_and_names_follow_the_levels(view: ReplayView) -> None:
    """At every second where a level moves or becomes known, the line drawn is the one that a fresh picture would draw."""
    player, s = view.player, view.player.session
    assert s is not None
    # A level that stands still, so that nothing else has the picture painted anew.
    view.state.level = "pm_high"
    was, moved = None, 0
    for t in range(2000, 2400):
        now = [(i, past.tick_now(s, i, t)) for i in past.known_levels(s, t)]
        assert now == [(i, tick_at(s.level(i), s.ladder.start_ns + t * NS - 1)) for i, _ in now]
        if was is not None and now != was:
            moved += 1
            act(view, "seek", t)
            src = player.pictures.chart.sources
            drawn = {k: repr(src[k].data) for k in ("levels", "names")}
            player.pictures.forget()
            player.show(words=False)
            assert drawn == {k: repr(src[k].data) for k in drawn}
        was = now
    assert moved > 0


def test_an_absent_level_is_refused_and_the_deck_answers(view: ReplayView, monkeypatch: pytest.MonkeyPatch) -> None:
    s = view.player.session
    assert s is not None
    gone = next((i for i in session_cache.ordered_level_ids(s) if i not in past.known_levels(s, s.ladder.seconds)), None)
    assert gone is not None
    monkeypatch.setattr(session_cache, "KEY_LEVELS", (gone, *session_cache.KEY_LEVELS[1:]))
    act(view, "level", 1)
    assert view.state.level == "vwap"
    title = level_title(gone)
    assert view.notices.banner.lines == [f"{title}: not known at the replay's time"]
    # As a link or the drawer would set it: the same words, and never the reason.
    view.state.level = gone
    assert view.state.level == "vwap"
    assert view.notices.banner.lines == [f"{title}: not known at the replay's time"]
    before = view.player.clock.position
    act(view, "step", 1)
    assert view.player.clock.position == before + 1
    assert view.notices.banner.lines == []


def test_a_level_is_not_chosen_before_its_time(view: ReplayView) -> None:
    s = view.player.session
    assert s is not None
    assert "or_high" in past.known_levels(s, s.ladder.seconds)
    before = next(t for t in range(s.ladder.seconds, 0, -1) if "or_high" not in past.known_levels(s, t))
    act(view, "seek", before)
    act(view, "level", 3)
    assert view.state.level == "vwap"
    assert view.notices.banner.lines == ["OR High: not yet, known from 09:45"]
    act(view, "seek", before + 1)
    act(view, "level", 3)
    assert view.state.level == "or_high"


def test_rows_and_buckets_change_the_picture(view: ReplayView) -> None:
    parts, st = view.player.pictures.chart, view.state
    span = parts.figure.y_range
    height = span.end - span.start
    st.rows = st.rows + 8
    assert span.end - span.start > height
    zones = dict(parts.sources["zones"].data)
    st.far = st.far + 3
    assert dict(parts.sources["zones"].data) != zones
    far = st.far
    st.far = st.near
    assert st.far == far
    assert "must rise" in view.notices.banner.lines[0]


def test_the_drawer_has_no_volume_and_its_own_keys(view: ReplayView) -> None:
    form, keys = replay_drawer(view.state)
    assert "volume" not in [f["name"] for f in form.fields]
    assert "play, pause" in keys.object
    assert "volume" in [f["name"] for f in drawer(view.state)[0].fields]


def test_a_note_on_a_session_goes_with_it(view: ReplayView) -> None:
    s = view.player.session
    assert s is not None
    gone = next(i for i in session_cache.ordered_level_ids(s) if i not in past.known_levels(s, s.ladder.seconds))
    st = view.state
    fresh = LevelState()
    fresh.param["contract"].objects, fresh.param["session"].objects = [st.contract], [st.session]
    fresh.param.update(contract=st.contract, session=st.session, level=gone)
    other = ReplayView(view.root, fresh, [])
    other.start()
    assert "stands in its place" in other.notices.banner.lines[0]
    other.notices.banner.closed += 1
    assert other.notices.banner.lines == []
    other.notices.read(("a note",))
    other.notices.show()
    other._guard(other._open)
    assert other.notices.banner.lines == []


def test_questions_are_read_once_while_gold_is_unchanged(lake: str, tmp_path: Path) -> None:
    first = book.questions(lake, "h1")
    misses = book._questions.cache_info().misses
    assert book.questions(lake, "h1") == first
    assert book._questions.cache_info().misses == misses
    with pytest.raises(NoData):
        book.questions(str(tmp_path), "h1")


def test_a_defect_of_the_forecast_is_told(view: ReplayView, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench import similar

    def broken(*_: object) -> dict[str, object]:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(similar, "forecast_in_worker", broken)
    drill = Drill(view.root, view.state, view.player.limit, lambda: None)
    drill.question = book.Question("x", "ESZ5", str(DATE), "vwap", "approach_up", view.player.shown_ns or 0, "h1", "chop")
    drill.called = "chop"
    assert "ZeroDivisionError: a defect" in drill._forecast(drill.question)


def asked(view: ReplayView, session_date: str) -> Drill:
    """A question about VWAP a minute on, in a drill of the view."""
    view.drill = drill = Drill(view.root, view.state, view.player.limit, lambda: None)
    assert view.player.session is not None
    touch = view.player.session.ladder.start_ns + 2060 * NS
    drill.question = book.Question("x", "ESZ5", session_date, "vwap", "approach_up", touch, "h1", "chop")
    return drill


def test_a_question_holds_its_limit_when_its_session_is_opened_again(view: ReplayView) -> None:
    drill = asked(view, str(DATE))
    view._open()
    assert drill.question is not None
    act(view, "seek", 2400)
    assert view.player.clock.position == 2060


def test_another_session_ends_a_question(view: ReplayView) -> None:
    drill = asked(view, "2025-11-03")
    view._open()
    assert drill.question is None
    assert "dropped" in drill.say.object
    drill.call("break")
    assert drill.called == ""


def test_a_hidden_drill_asks_nothing_until_it_is_back(view: ReplayView, monkeypatch: pytest.MonkeyPatch) -> None:
    drill = asked(view, str(DATE))
    drill.question = None
    drill._later._stop = threading.Event()  # a question is being looked for
    started: list[int] = []
    monkeypatch.setattr(drill, "start", lambda: started.append(1))
    view.front(False)
    assert not drill._later.busy
    assert started == []
    view.front(True)
    view.front(True)
    assert started == [1]


def test_names_are_placed_anew_for_another_height(view: ReplayView) -> None:
    src = view.player.pictures.chart.sources["names"]
    before = repr(src.data)
    view._on_height("inner_height", 480, 200)
    view.player.pictures.forget()
    view.player.pictures._lines = ()
    small = repr(src.data)
    view.player.show(words=False)
    assert small == repr(src.data) != before


def test_before_the_first_window_of_a_level_the_sentence_says_so(view: ReplayView) -> None:
    s = view.player.session
    assert s is not None
    begin = int(s.level("or_high")["start_ts_ns"][0])
    view.state.level = "or_high"
    act(view, "seek", (begin - s.ladder.start_ns) // NS + 1)
    assert "no window has ended since it is known" in view.player.words.say.html


def chip(session: Session, level_id: str, clock_s: int) -> dict[str, object]:
    """A level's chip so many seconds after 09:00 New York."""
    return next(i for i in known_items(session, "price:6800", clock_s, None) if i["id"] == level_id)


def test_a_level_whose_time_has_not_come_is_not_yet_and_one_that_the_session_lacks_is_absent(view: ReplayView) -> None:
    s = view.player.session
    assert s is not None
    without = dataclasses.replace(s, levels=s.levels.filter(~pl.col("level_id").is_in(["pm_high", "or_high", "vwap"])), cached={})
    for at, level_id, clock in ((1800, "or_high", "09:45"), (1800, "or_low", "09:45"), (1800, "vwap", "09:30"), (60, "pm_high", "09:30")):
        found = chip(s, level_id, at)
        assert (found["word"], str(found["absent"]).startswith(f"known from {clock}")) == ("not yet", True)
        # Before its time nothing tells a level that will come from one that will not.
        assert level_id == "or_low" or chip(without, level_id, at) == found
    for level_id in ("pm_high", "or_high", "vwap"):
        assert "detail" in chip(s, level_id, 2800)
        lacks = chip(without, level_id, 2800)
        assert "word" not in lacks
        assert "known" in str(lacks["absent"])
