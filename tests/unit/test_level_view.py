"""The Level view without a page: prices of one's own, what of a state holds in a session, what figures, notices and the deck say."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.errors import NoData, UnknownLevel
from engine.ladder import NO_TICK, Ladder
from engine.levels import LEVEL_SCHEMA
from engine.mbo.orders import EVENTS_SCHEMA
from engine.session import Session, level_title, tick_at
from engine.vocab import NS
from tests.support.ladders import DATE as MADE_DATE
from tests.support.ladders import make_frames
from tests.ui.conftest import DATE, generated_lake
from workbench import lakes, session_cache
from workbench.own_levels import own_price, traded_tick
from workbench.plots import axes, heatmap
from workbench.plots.axes import price_text
from workbench.plots.decision import statement
from workbench.snapshot.scene import session_scene
from workbench.state import LevelState
from workbench.theme import DARK, LIGHT
from workbench.views import drill as book
from workbench.views import known
from workbench.views.components import Notices
from workbench.views.controls import drawer
from workbench.views.drill import Drill
from workbench.views.known import known_items
from workbench.views.level import LevelView, level_tables
from workbench.views.viewport import clamp_to_session


def session_of(symbol: str, *, low: int = 0) -> Session:
    """A made-up hour; `low` ticks are added to its prices."""
    rows, tape = make_frames(3_600, 11, span=40)
    if low:
        rows = rows.with_columns(rows["tick"] + low)
        tape = tape.with_columns(tape[c] + low for c in tape.columns if c.endswith("_tick"))
    ladder = Ladder.from_frames(rows, tape, symbol=symbol, date=MADE_DATE)
    traded = ladder.last_tick[ladder.last_tick != NO_TICK]
    tick = int(traded[-1])
    steps = [
        ("pm_high", ladder.start_ns, ladder.end_ns, tick * 0.25, tick),
        ("or_high", ladder.start_ns + 900 * NS, ladder.end_ns, tick * 0.25 + 1, tick + 4),
        ("price:5000", ladder.start_ns, ladder.end_ns, 5000.0, 20_000),
    ]
    levels = pl.DataFrame(steps, schema=LEVEL_SCHEMA, orient="row")
    return Session(symbol, MADE_DATE, ladder, rows, levels, {"pd_low": "no session before"}, (), "stamp", False)


@pytest.fixture(scope="module")
def es() -> Session:
    return session_of("ESH6")


@pytest.fixture(scope="module")
def nq() -> Session:
    return session_of("NQH6", low=27_200 * 4 - 20_000)


def state_of(session: Session, **values: object) -> LevelState:
    state = LevelState()
    state.param["contract"].objects, state.param["session"].objects = [session.symbol], [MADE_DATE.isoformat()]
    state.param.update(contract=session.symbol, session=MADE_DATE.isoformat(), **values)
    return state


def test_a_price_above_ten_thousand_keeps_its_digits(nq: Session) -> None:
    assert own_price("27200.25", nq, 3_600) == ("price:27200.25", "")
    assert own_price("27,200.25", nq, 3_600) == ("price:27200.25", "")
    assert own_price("price:27200.25", nq, 3_600) == ("price:27200.25", "")
    assert int(nq.level("price:27200.25")["level_tick"][0]) == 108_801


def test_a_price_between_ticks_is_moved_and_that_is_said(nq: Session) -> None:
    level, said = own_price("27200.3", nq, 3_600)
    assert level == "price:27200.25"
    assert "27200.3 " in said
    assert "27200.25" in said


def test_what_is_said_of_a_wrong_price_tells_no_later_trade(nq: Session) -> None:
    traded = nq.ladder.last_tick
    t = next(t for t in range(1, 3_600) if traded[t - 1] not in (NO_TICK, traded[3_599]))
    with pytest.raises(UnknownLevel, match=f"last trade at {price_text(int(traded[t - 1]), 0.25)}"):
        own_price("5", nq, t)


@pytest.mark.parametrize(
    "text", ["nan", "inf", "1e9", "0", "-27200", "27200,25", "2720.25", "272002.5", "99999999999999999999", "", "abc", "price:x"]
)
def test_what_cannot_be_meant_is_refused_with_a_price_that_can(nq: Session, text: str) -> None:
    with pytest.raises(UnknownLevel, match=price_text(traded_tick(nq, 3_600), 0.25)):
        own_price(text, nq, 3_600)


def test_the_lakes_own_level_at_a_price_is_taken(es: Session) -> None:
    assert own_price("5000", es, 3_600) == ("price:5000", "")
    assert own_price("5000.25", es, 3_600) == ("price:5000.25", "")


def test_a_link_is_treated_as_what_is_typed(nq: Session) -> None:
    snapped = state_of(nq, level="price:27200.30")
    (said,) = clamp_to_session(snapped, nq)
    assert snapped.level == "price:27200.25"
    assert "27200.30" in said
    absurd = state_of(nq, level="price:5")
    (said,) = clamp_to_session(absurd, nq)
    assert absurd.level == "pm_high"
    assert "within 20%" in said
    assert "PM High stands in its place" in said


def test_a_time_outside_of_the_session_is_said_and_one_of_another_day_forgotten(es: Session) -> None:
    seen: list[object] = []
    for away, kept in ((3_600, True), (24 * 3_600, False)):
        state = state_of(es, level="pm_high", cursor_ts_ns=es.ladder.end_ns + away * NS)
        state.param.watch(seen.append, "cursor_ts_ns")
        said = clamp_to_session(state, es)
        assert (state.cursor_ts_ns is not None, len(said)) == (kept, int(kept))
        assert not said or "lies outside the session" in said[0]
    assert seen == []


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small generated lake."""
    return str(generated_lake(tmp_path_factory.mktemp("view"), 20_000))


@pytest.fixture
def view(lake: str) -> LevelView:
    """The view at VWAP, standing in the morning."""
    st = LevelState()
    there = lakes.contracts(lake)
    st.param["contract"].objects, st.param["session"].objects = list(there), there["ESZ5"]
    s = session_cache.load(lake, "ESZ5", DATE)
    st.param.update(contract="ESZ5", session=str(DATE), level="vwap", cursor_ts_ns=s.ladder.start_ns + 2000 * NS)
    made = LevelView(lake, st, [])
    made.start()
    assert made.player.frame is not None
    return made


def act(view: LevelView, name: str, value: Any) -> None:
    n = view.player.answered + 1
    view.player.deck.acted = {"name": name, "value": value, "n": n}
    assert view.player.deck.now["answered"] == n


def test_an_act_without_a_session_is_answered(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    empty = LevelView(str(tmp_path / "lake"), LevelState(), [])
    empty.start()
    for name, value in (("step", 5), ("drill", 0), ("play", True)):
        act(empty, name, value)


def test_a_frame_that_fails_leaves_the_clock_at_the_one_before(view: LevelView, monkeypatch: pytest.MonkeyPatch) -> None:
    player, slab_at = view.player, view.player.slab_at
    act(view, "seek", 2000)
    for error, said in (
        (NoData("these seconds are gone"), "these seconds are gone"),
        (ZeroDivisionError("a defect"), "could not be drawn"),
    ):

        def broken(look: Any, centre: int, low: int, seen: int, error: Exception = error) -> Any:
            if seen > 2000:
                raise error
            return slab_at(look, centre, low, seen)

        monkeypatch.setattr(player, "slab_at", broken)
        player.play(True)
        player.clock._exact = 2007.5
        player.clock._last_sent = -1.0
        player.clock.ack(player.clock.sent)
        player._tick()
        assert said in view.notices.banner.lines[0]
        assert (player.clock.position, player.clock.playing, player.deck.now["playing"]) == (2000, False, False)
        assert player.frame is not None
        assert player.frame.t == player.deck.now["at"] == 2000
        monkeypatch.undo()
        act(view, "step", 5)
        assert player.deck.now["at"] == 2005
        assert view.notices.banner.lines == []
        act(view, "seek", 2000)


def test_lines_and_names_follow_the_levels(view: LevelView) -> None:
    """At every second where a level moves or becomes known, the line drawn is the one that a fresh picture would draw."""
    player, s = view.player, view.player.session
    assert s is not None
    # A level that stands still, so that nothing else has the picture painted anew.
    view.state.level = "pm_high"
    was, moved = None, 0
    for t in range(2000, 2400):
        now = [(i, known.tick_now(s, i, t)) for i in known.known_levels(s, t)]
        assert now == [(i, tick_at(s.level(i), s.ladder.start_ns + t * NS - 1)) for i, _ in now]
        if was is not None and now != was:
            moved += 1
            act(view, "seek", t)
            src = view.pictures.chart.sources
            drawn = {k: repr(src[k].data) for k in ("levels", "names")}
            view.pictures.forget()
            player.show(words=False)
            assert drawn == {k: repr(src[k].data) for k in drawn}
        was = now
    assert moved > 0


def test_an_absent_level_is_refused_and_the_deck_answers(view: LevelView, monkeypatch: pytest.MonkeyPatch) -> None:
    s = view.player.session
    assert s is not None
    gone = next((i for i in session_cache.ordered_level_ids(s) if i not in known.known_levels(s, s.ladder.seconds)), None)
    assert gone is not None
    monkeypatch.setattr(session_cache, "KEY_LEVELS", (gone, *session_cache.KEY_LEVELS[1:]))
    act(view, "level", 1)
    assert view.state.level == "vwap"
    title = level_title(gone)
    assert view.notices.banner.lines == [f"{title}: not known at this time"]
    # As a link or the drawer would set it: the same words, and never the reason.
    view.state.level = gone
    assert view.state.level == "vwap"
    assert view.notices.banner.lines == [f"{title}: not known at this time"]
    before = view.player.clock.position
    act(view, "step", 1)
    assert view.player.clock.position == before + 1
    assert view.notices.banner.lines == []


def test_a_level_is_not_chosen_before_its_time(view: LevelView) -> None:
    s = view.player.session
    assert s is not None
    assert "or_high" in known.known_levels(s, s.ladder.seconds)
    before = next(t for t in range(s.ladder.seconds, 0, -1) if "or_high" not in known.known_levels(s, t))
    act(view, "seek", before)
    act(view, "level", 3)
    assert view.state.level == "vwap"
    assert view.notices.banner.lines == ["OR High: not yet, known from 09:45"]
    act(view, "seek", before + 1)
    act(view, "level", 3)
    assert view.state.level == "or_high"


def test_rows_and_buckets_change_the_picture(view: LevelView) -> None:
    parts, st = view.pictures.chart, view.state
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


def test_the_drawer_has_the_views_own_keys(view: LevelView) -> None:
    form, keys = drawer(view.state)
    assert "volume" in [f["name"] for f in form.fields]
    assert "play, pause" in keys.object
    assert "what came after" in keys.object


def test_a_note_on_a_session_goes_with_it(view: LevelView) -> None:
    s = view.player.session
    assert s is not None
    gone = next(i for i in session_cache.ordered_level_ids(s) if i not in known.known_levels(s, s.ladder.seconds))
    st = view.state
    fresh = LevelState()
    fresh.param["contract"].objects, fresh.param["session"].objects = [st.contract], [st.session]
    fresh.param.update(contract=st.contract, session=st.session, level=gone)
    other = LevelView(view.root, fresh, [])
    other.start()
    assert "stands in its place" in other.notices.banner.lines[0]
    other.notices.banner.closed += 1
    assert other.notices.banner.lines == []
    other.notices.read(("a note",))
    other.notices.show()
    other.guard(other.open)
    assert other.notices.banner.lines == []


def test_questions_are_read_once_while_gold_is_unchanged(lake: str, tmp_path: Path) -> None:
    first = book.questions(lake, "h1")
    misses = book._questions.cache_info().misses
    assert book.questions(lake, "h1") == first
    assert book._questions.cache_info().misses == misses
    with pytest.raises(NoData):
        book.questions(str(tmp_path), "h1")


def test_a_defect_of_the_forecast_is_told(view: LevelView, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench import similar

    def broken(*_: object) -> dict[str, object]:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(similar, "forecast_in_worker", broken)
    drill = drill_of(view)
    drill.question = book.Question("x", "ESZ5", str(DATE), "vwap", "approach_up", view.player.shown_ns or 0, "h1", "chop")
    drill.called = "chop"
    assert "ZeroDivisionError: a defect" in drill._forecast(drill.question)


def drill_of(view: LevelView) -> Drill:
    player = view.player
    return Drill(view.root, view.state, player.limit, lambda: None, lambda: player.start_ns + player.clock.position * NS)


def asked(view: LevelView, session_date: str) -> Drill:
    """A question about VWAP a minute on, in a drill of the view."""
    view.drill = drill = Drill(
        view.root, view.state, view.player.limit, lambda: None, lambda: view.player.start_ns + view.player.clock.position * NS
    )
    assert view.player.session is not None
    touch = view.player.session.ladder.start_ns + 2060 * NS
    drill.question = book.Question("x", "ESZ5", session_date, "vwap", "approach_up", touch, "h1", "chop")
    return drill


def test_a_question_holds_its_limit_when_its_session_is_opened_again(view: LevelView) -> None:
    drill = asked(view, str(DATE))
    view.open()
    assert drill.question is not None
    act(view, "seek", 2400)
    assert view.player.clock.position == 2060


def test_another_session_ends_a_question(view: LevelView) -> None:
    drill = asked(view, "2025-11-03")
    view.open()
    assert drill.question is None
    assert "dropped" in drill.say.object
    drill.call("break")
    assert drill.called == ""


def test_a_hidden_drill_asks_nothing_until_it_is_back(view: LevelView, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_names_are_placed_anew_for_another_height(view: LevelView) -> None:
    src = view.pictures.candles.sources["names"]
    view._on_height("inner_height", 480, 600)
    before = repr(src.data)
    view._on_height("inner_height", 600, 90)
    assert repr(src.data) != before


def test_the_candles_end_at_the_clock_and_have_the_setup_marked(view: LevelView) -> None:
    parts, s = view.pictures.candles, view.player.session
    assert s is not None
    act(view, "touch", 1)
    act(view, "step", 75)  # a quarter of a minute after a touch
    look = view.look
    assert look is not None
    made = parts.sources["candles"].data
    now = view.player.frame.x(view.player.frame.t)
    assert max(x - w for x, w in zip(made["x"], made["width"])) < now
    tape = s.ladder.tape.slice(0, look.second)
    assert made["low"][-1] >= tape["low_tick"].drop_nulls().min()
    words = [str(t).strip() for t in parts.sources["words"].data["text"]]
    assert words[0] == "6-bar look-back"
    assert any(t.startswith("Trigger ") for t in words)
    assert parts.boxes["forward"].visible
    # The look-forward is an empty box until it is known.
    assert parts.boxes["forward"].right > now
    assert all(x <= now + 120_000 for x in made["x"])
    fitted = parts.figure.y_range.start, parts.figure.y_range.end
    act(view, "fit", False)
    parts.figure.y_range.update(start=0, end=1)
    act(view, "step", 1)
    assert (parts.figure.y_range.start, parts.figure.y_range.end) == (0, 1)  # the trader's own range stays
    act(view, "fit", True)
    assert (parts.figure.y_range.start, parts.figure.y_range.end) == fitted


def test_dots_are_the_trades_of_a_size_before_the_clock(view: LevelView) -> None:
    st, src = view.state, view.pictures.chart.sources["dots"]
    frame = view.player.frame
    assert frame is not None
    st.dots = 10
    many = len(src.data["x"])
    st.dots = 0
    assert src.data["x"] == []
    st.dots = -1
    assert 0 < len(src.data["x"]) < many or many == 0
    s = view.player.session
    assert s is not None
    found = frame.slab.dots(frame.low, frame.t, 10)
    assert all(t < frame.t for t, *_ in found)
    for t, tick, n, side in found[:20]:
        cube = s.ladder.cube(s.ladder.start_ns + t * NS, s.ladder.start_ns + (t + 1) * NS, tick, tick)
        assert int(cube[f"{'ask' if side == 'long' else 'bid'}_fill"][0, 0]) == n


def test_what_is_typical_at_a_distance_is_of_the_hour_before_the_clock(view: LevelView, monkeypatch: pytest.MonkeyPatch) -> None:
    s = view.player.session
    assert s is not None
    asked: list[int] = []
    cube = Ladder.cube
    monkeypatch.setattr(Ladder, "cube", lambda self, a, b, *of, **more: asked.append(b) or cube(self, a, b, *of, **more))
    usual = known.typical_sizes(s, 1, 4_511)
    assert usual.shape == (known.TYPICAL_ROWS,)
    assert (usual >= 1).all()
    assert len(asked) == known.TYPICAL_MOMENTS
    assert s.ladder.start_ns + (4_511 - known.TYPICAL_S) * NS < min(asked) <= max(asked) <= s.ladder.start_ns + 4_511 * NS


def test_before_the_first_window_of_a_level_the_sentence_says_so(view: LevelView) -> None:
    s = view.player.session
    assert s is not None
    begin = int(s.level("or_high")["start_ts_ns"][0])
    view.state.level = "or_high"
    act(view, "seek", (begin - s.ladder.start_ns) // NS + 1)
    assert "no window has ended since it is known" in view.words.say.html


def chip(session: Session, level_id: str, clock_s: int) -> dict[str, object]:
    """A level's chip so many seconds after 09:00 New York."""
    return next(i for i in known_items(session, "price:6800", clock_s, None) if i["id"] == level_id)


def test_a_level_whose_time_has_not_come_is_not_yet_and_one_that_the_session_lacks_is_absent(view: LevelView) -> None:
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


def test_what_is_said_and_until_when() -> None:
    complaints = ["Link: window “99” cannot be shown"]
    said = Notices(complaints)
    said.read(("No 2-minute bars",))
    said.trouble.append("not applied")
    said.stale = "changed"
    said.show()
    assert said.banner.lines == ["not applied", complaints[0], "No 2-minute bars"]
    assert (said.banner.reload, said.banner.visible) == ("changed", True)
    said.act()
    said.show()
    assert said.banner.lines == ["Link: window “99” cannot be shown", "No 2-minute bars"]
    assert said.banner.reload == "changed"
    said.banner.closed += 1
    assert (said.banner.lines, said.banner.reload, said.banner.visible, complaints) == ([], "", False, [])
    said.trouble.append("again")
    said.show()
    assert said.banner.lines == ["again"]


def test_a_theme_that_changed_with_the_session_while_it_was_hidden_is_all_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = str(generated_lake(tmp_path_factory.mktemp("theme"), 20_000))
    state = LevelState()
    state.param["contract"].objects, state.param["session"].objects = ["ESZ5"], [str(DATE)]
    state.param.update(contract="ESZ5", session=str(DATE), theme="dark")
    shown = LevelView(root, state, [])
    shown.start()
    assert shown.pictures.chart.figure.border_fill_color == DARK.page
    shown.front(False)
    state.theme = "light"
    shown._missed |= {"contract", "session"}
    shown.front(True)
    assert [f.border_fill_color for f in shown.pictures.figures] == [LIGHT.page] * 4


def test_what_came_after_is_shown_when_asked_for_and_hidden_with_the_next_act(view: LevelView) -> None:
    src, chart = view.pictures.chart.sources, view.pictures.chart

    def painted_until() -> float:
        image = src["heat"].data["image"][0]
        columns = [c for c in range(image.shape[1]) if image[:, c].any()]
        return float(src["heat"].data["x"][0]) + (columns[-1] + 1) * float(src["heat"].data["dw"][0]) / image.shape[1]

    assert view.player.frame is not None
    now, before = view.player.frame.x(2000), {k: repr(src[k].data) for k in ("quotes", "levels")}
    act(view, "reveal", True)
    assert painted_until() > now + 100_000
    assert all(veil.visible and veil.left == now for veil in view.pictures.veils)
    assert chart.figure.center
    assert view.player.deck.now["revealed"]
    assert view.player.deck.track["x"][-1] < 2000  # the scrubber's path stays what was known
    act(view, "reveal", False)
    assert {k: repr(src[k].data) for k in before} == before
    assert painted_until() <= view.player.frame.x(2000 + view.player.frame.slab.pool)
    assert all(x <= now for x in src["dots"].data["x"])
    for name, value in (("step", 1), ("play", True)):
        act(view, "reveal", True)
        act(view, name, value)
        assert not view.player.deck.now["revealed"]
        assert painted_until() <= view.player.frame.x(2001 + view.player.frame.slab.pool)
        assert not any(veil.visible for veil in view.pictures.veils)
    act(view, "play", False)


def test_a_drill_reveals_nothing_before_its_call_and_takes_none_before_the_touch(view: LevelView) -> None:
    drill = asked(view, str(DATE))
    view.open()
    act(view, "reveal", True)
    assert not view.player.deck.now["revealed"]
    assert "once the drill's question is called" in view.notices.banner.lines[0]
    act(view, "call", "chop")
    assert drill.called == ""
    assert "60 s away" in drill.say.object


@pytest.mark.parametrize("t", [2000, 2003, 2519, 3155])
def test_picture_and_screen_say_the_same_of_a_moment(view: LevelView, t: int) -> None:
    act(view, "seek", t)
    look = view.look
    assert look is not None
    scene = session_scene(look.session, level_id="vwap", clock_ns=look.now_ns, features=look.params)
    assert scene.end_ns == look.end_ns
    assert scene.row == look.row()
    # The screen adds what stands beside it.
    assert statement(look.standing()).partition(": ")[2] == scene.sentence.partition(": ")[2]


def test_what_can_be_saved_ends_at_the_clock(view: LevelView) -> None:
    look = view.look
    assert look is not None
    for table in level_tables(view):
        frame, facts = table.make()
        assert frame.height > 0
        assert facts["cursor_ts_ns"] == look.now_ns
        assert facts["shown_end_ts_ns"] <= look.now_ns
        for column in ("window_start_ts_ns", "window_end_ts_ns"):
            if column in frame.columns:
                assert frame[column].max() <= look.now_ns - (look.window_ns if column.startswith("window_start") else 0)


def test_what_is_panned_to_stays_until_the_clock_leaves_it(view: LevelView) -> None:
    player = view.player
    player.panned = 1_000, 2_100
    player.show(words=False)
    assert player.frame is not None
    assert (player.frame.low, player.frame.high) == (1_000, 2_100)
    assert player.frame.slab.begin <= 1_000
    act(view, "step", 60)
    assert player.panned == (1_000, 2_100)
    act(view, "step", 60)
    assert player.panned is None
    player.panned = 100, 400  # away from the clock, which does not move
    player.show(words=False)
    assert (player.frame.low, player.frame.slab.begin <= 100) == (100, True)
    act(view, "step", 1)
    assert player.panned is None


def test_marks_of_orders_are_those_before_the_clock(es: Session) -> None:
    start = es.ladder.start_ns
    base = {"side": "A", "order_id": 1, "tick": 20_000, "to_tick": None, "left": 30, "age_ns": 0, "traded": 0, "count": 0, "large": True}
    rows = [{"ts_ns": start + s * NS, "kind": kind, "size": 30, **base} for s, kind in ((5, "born"), (9, "pulled"), (40, "refill"))]
    session = dataclasses.replace(es, order_events=pl.DataFrame(rows, schema=EVENTS_SCHEMA), cached={})
    assert [known.marks(session, 0, t).height for t in (5, 6, 40, 41)] == [0, 1, 1, 2]
    assert known.marks(session, 6, 41)["mark"].to_list() == ["iceberg"]
    assert known.marks(es, 0, 100).is_empty()
    assert known.marks(session, 6, 0).is_empty(), "marks are off"
    drawn = heatmap.mark_data(known.marks(session, 0, 41), session.day_ns)
    assert drawn["said"] == ["large order of 30, ask", "iceberg shows 30 again, ask: refill 0, 0 traded"]
    assert drawn["x"] == axes.x_ms(np.array([start + 5 * NS, start + 40 * NS]), session.day_ns).tolist()


def test_of_many_marks_of_orders_the_largest_stay_in_their_order() -> None:
    n = heatmap.MOST_MARKS + 5
    sizes = [100 + (i * 7) % n for i in range(n)]
    marks = pl.DataFrame({
        "ts_ns": [i * NS for i in range(n)], "mark": "large", "side": "A", "tick": 20_000, "to_tick": 20_000, "size": sizes, "traded": 0,
        "count": 0,
    })  # fmt: skip
    told = [int(s.split()[3].strip(",")) for s in heatmap.mark_data(marks, 0)["said"]]
    assert told == [s for s in sizes if s >= 105]
