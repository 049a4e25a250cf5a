"""The Level view without a page: prices of one's own, what of a state holds in a session, what is shown, what is said."""

from __future__ import annotations

import polars as pl
import pytest

from engine.errors import UnknownLevel
from engine.ladder import NO_TICK, Ladder
from engine.levels import LEVEL_SCHEMA
from engine.session import Session
from engine.vocab import NS
from tests.support.ladders import DATE, make_frames
from tests.ui.conftest import DATE as GENERATED
from tests.ui.conftest import generated_lake
from workbench import session_cache
from workbench.state import LevelState
from workbench.theme import DARK, LIGHT
from workbench.views.components import Notices
from workbench.views.level import LevelView
from workbench.views.level_figures import Slices, other_window
from workbench.views.viewport import CURSOR_AT, clamp_to_session, last_price_text, level_items, own_price, resolve


def session_of(symbol: str, *, low: int = 0) -> Session:
    """A made-up hour; `low` ticks are added to its prices."""
    rows, tape = make_frames(3_600, 11, span=40)
    if low:
        rows = rows.with_columns(rows["tick"] + low)
        tape = tape.with_columns(tape[c] + low for c in tape.columns if c.endswith("_tick"))
    ladder = Ladder.from_frames(rows, tape, symbol=symbol, date=DATE)
    traded = ladder.last_tick[ladder.last_tick != NO_TICK]
    tick = int(traded[-1])
    steps = [
        ("pm_high", ladder.start_ns, ladder.end_ns, tick * 0.25, tick),
        ("or_high", ladder.start_ns + 900 * NS, ladder.end_ns, tick * 0.25 + 1, tick + 4),
        ("price:5000", ladder.start_ns, ladder.end_ns, 5000.0, 20_000),
    ]
    levels = pl.DataFrame(steps, schema=LEVEL_SCHEMA, orient="row")
    return Session(symbol, DATE, ladder, rows, levels, {"pd_low": "no session before"}, (), "stamp", False)


@pytest.fixture(scope="module")
def es() -> Session:
    return session_of("ESH6")


@pytest.fixture(scope="module")
def nq() -> Session:
    return session_of("NQH6", low=27_200 * 4 - 20_000)


def state_of(session: Session, **values: object) -> LevelState:
    state = LevelState()
    state.param["contract"].objects, state.param["session"].objects = [session.symbol], [DATE.isoformat()]
    state.param.update(contract=session.symbol, session=DATE.isoformat(), **values)
    return state


def test_a_price_above_ten_thousand_keeps_its_digits(nq: Session) -> None:
    assert own_price("27200.25", nq) == ("price:27200.25", "")
    assert own_price("27,200.25", nq) == ("price:27200.25", "")
    assert own_price("price:27200.25", nq) == ("price:27200.25", "")
    assert int(nq.level("price:27200.25")["level_tick"][0]) == 108_801


def test_a_price_between_ticks_is_moved_and_that_is_said(nq: Session) -> None:
    level, said = own_price("27200.3", nq)
    assert level == "price:27200.25"
    assert "27200.3 " in said
    assert "27200.25" in said


@pytest.mark.parametrize(
    "text", ["nan", "inf", "1e9", "0", "-27200", "27200,25", "2720.25", "272002.5", "99999999999999999999", "", "abc", "price:x"]
)
def test_what_cannot_be_meant_is_refused_with_a_price_that_can(nq: Session, text: str) -> None:
    with pytest.raises(UnknownLevel, match=last_price_text(nq)):
        own_price(text, nq)


def test_the_lakes_own_level_at_a_price_is_taken(es: Session) -> None:
    assert own_price("5000", es) == ("price:5000", "")
    assert own_price("5000.25", es) == ("price:5000.25", "")


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


def test_what_is_shown_stays_where_it_was_put_unless_the_cursor_moves(es: Session) -> None:
    lad = es.ladder
    state = state_of(es, level="pm_high", cursor_ts_ns=lad.start_ns + 3_000 * NS, span_min=10)
    put = (lad.start_ns + 100 * NS, lad.start_ns + 700 * NS)
    kept = resolve(es, state, put, follow=False)
    assert (kept.start_ns, kept.end_ns) == put
    gone = resolve(es, state, put, follow=True)
    assert gone.end_ns - gone.start_ns == 600 * NS
    assert gone.start_ns <= gone.now_ns < gone.end_ns
    assert (gone.now_ns - gone.start_ns) / (600 * NS) == pytest.approx(CURSOR_AT, abs=0.01)


@pytest.mark.parametrize("window_s", [1, 30])
def test_the_slice_holds_what_is_shown_wherever_the_cursor_is(es: Session, window_s: int) -> None:
    lad, slices = es.ladder, Slices()
    state = state_of(es, level="pm_high", cursor_ts_ns=lad.start_ns + 3_000 * NS, window_s=window_s, rows=40)
    for begin, end in ((0, 600), (2_900, 3_600), (-600, 300), (1_000, 1_060), (3_590, 4_000)):
        look = resolve(es, state, (lad.start_ns + begin * NS, lad.start_ns + end * NS), follow=False)
        cube = slices.cube(look, 0.0)
        first, last = int(cube["window_start_ts_ns"][0]), int(cube["window_end_ts_ns"][-1])
        # All of what is shown that lies in the session's whole windows.
        assert first <= max(look.start_ns, lad.start_ns + look.window_ns)
        assert last >= min(look.end_ns, lad.end_ns - look.window_ns)
        rows = session_cache.rows_at(es, look.now_ns, look.k_ref, 20, window_s, 1, 0.0)
        assert rows["rest"].sum() > 0


@pytest.mark.parametrize("window_s", [4, 7])
def test_another_window_computed_ahead_is_the_one_that_is_asked_for(es: Session, window_s: int) -> None:
    state = state_of(es, level="pm_high", cursor_ts_ns=es.ladder.start_ns + 3_000 * NS, span_min=10, rows=20)
    look = resolve(es, state, None)
    ahead = other_window(look, window_s, 0.0)
    state.window_s = window_s
    then = resolve(es, state, (look.start_ns, look.end_ns), follow=False)
    assert Slices().cube(then, 0.0) is ahead
    assert then.vacuum is es.windows("pm_high", then.params)


def test_a_chip_tells_no_price_before_it_is_known(es: Session) -> None:
    state = state_of(es, cursor_ts_ns=es.ladder.start_ns + 300 * NS)
    chip = {i["id"]: i for i in level_items(resolve(es, state, None), None)}["or_high"]
    assert (chip["detail"], chip["mark"]) == ("", "not yet")
    assert chip["title"] == "Not yet: known from 04:15:00"
    state.cursor_ts_ns = es.ladder.start_ns + 1_200 * NS
    chip = {i["id"]: i for i in level_items(resolve(es, state, None), None)}["or_high"]
    assert float(str(chip["detail"])) == float(es.levels.filter(pl.col("level_id") == "or_high")["price"][0])


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
    state.param["contract"].objects, state.param["session"].objects = ["ESZ5"], [str(GENERATED)]
    state.param.update(contract="ESZ5", session=str(GENERATED), theme="dark")
    shown = LevelView(root, state, [])
    shown.start()
    assert shown.pictures.chart.figure.border_fill_color == DARK.page
    shown.front(False)
    state.theme = "light"
    shown._missed |= {"contract", "session"}
    shown.front(True)
    assert [f.border_fill_color for f in shown.pictures.figures] == [LIGHT.page] * 4
