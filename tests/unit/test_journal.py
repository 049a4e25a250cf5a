"""The journal: a note keeps its moment and picture, is found again, and nothing of it is lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from engine.errors import ContractError
from engine.lake.writer import append_line
from engine.vocab import NS
from tests.ui.conftest import DATE, generated_lake
from workbench import lakes, session_cache
from workbench.snapshot.png import picture_bytes, read_state
from workbench.state import LevelState
from workbench.views.drill import Question
from workbench.views.journal import Note, book, found, list_html, note_of, read
from workbench.views.known import known_levels, touches
from workbench.views.level import LevelView

WHEN = ("2026-01-05T10:00:00+00:00", "ESH6", "2026-01-05", "pm_high", "PM High", "10:05:00")
NOTE = Note(*WHEN, "session=2026-01-05&t=10:05:00", "Sells pulled")


def test_notes_are_read_back_the_newest_first_and_found_by_words(tmp_path) -> None:
    root = str(tmp_path)
    assert read(root) == []
    append_line(book(root), dataclasses.asdict(NOTE))
    with book(root).open("a") as f:
        f.write('{"half": ')
    later = dataclasses.replace(NOTE, text="<b>Held</b>", level="vwap", title="VWAP", clock="10:20:00")
    append_line(book(root), dataclasses.asdict(later))
    assert read(root) == [later, NOTE]
    assert found(read(root), "sells PULLED 2026-01") == [NOTE]
    assert found(read(root), "vwap sells") == []
    html = list_html(read(root), 2)
    assert "href='?session=2026-01-05&amp;t=10:05:00'" in html
    assert "&lt;b&gt;Held&lt;/b&gt;" in html
    assert "2 of 2 notes" in html


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return str(generated_lake(tmp_path, 20_000))


def view_of(lake: str) -> LevelView:
    state, there = LevelState(), lakes.contracts(lake)
    state.param["contract"].objects, state.param["session"].objects = list(there), there["ESZ5"]
    start_ns = session_cache.load(lake, "ESZ5", DATE).ladder.start_ns
    state.param.update(contract="ESZ5", session=str(DATE), level="vwap", cursor_ts_ns=start_ns + 4000 * NS)
    view = LevelView(lake, state, [])
    view.start()
    return view


def test_a_note_stays_whatever_becomes_of_its_picture_and_each_has_its_own(lake: str) -> None:
    view, pictures = view_of(lake), Path(lake) / "pictures"
    # A file in the folder's place: no picture can be stored.
    pictures.write_text("")
    view.journal.form.changed = {"name": "note", "value": "first", "n": 1}
    assert [n.text for n in read(lake)] == ["first"]
    assert "The note is kept; its picture could not be drawn" in view.notices.banner.lines[0]
    assert ">picture</a>" not in view.journal.list.object
    pictures.unlink()
    for n, text in enumerate(("second", "third"), start=2):
        view.journal.form.changed = {"name": "note", "value": text, "n": n}
    assert view.notices.banner.lines == []
    # Two notes of one moment, within a second: two pictures.
    assert {p.name for p in pictures.glob("*_note_*.png")} == {n.picture for n in read(lake)[:2]}
    assert view.journal.list.object.count(">picture</a>") == 2
    assert view.journal.list.object.count("href='?view=compare&amp;contract=ESZ5") == 2


def test_a_note_written_while_it_plays_opens_that_moment(lake: str) -> None:
    view = view_of(lake)
    view.player.play(True)
    view.player.clock.position += 75
    view.player.show(words=False)
    assert view.state.cursor_ts_ns == view.player.start_ns + 4000 * NS
    (query,) = [note_of(view.look, view.state, "here").query]
    again = view_of(lake).state
    assert again.read_query(dict(pair.split("=") for pair in query.split("&"))) == []
    assert again.cursor_ts_ns == view.look.now_ns == view.player.start_ns + 4075 * NS


def test_a_list_that_cannot_be_read_says_so_and_harms_nothing_else(lake: str) -> None:
    view = view_of(lake)
    book(lake).mkdir(parents=True)
    with pytest.raises(ContractError, match="cannot be read"):
        read(lake)
    assert view.controls()
    assert "cannot be read" in view.journal.list.object
    book(lake).rmdir()
    append_line(book(lake), dataclasses.asdict(NOTE))
    with book(lake).open("ab") as f:
        f.write(b"[" * 100_000 + b'\n{"text": "caf\xc3')
    view.journal.refresh()
    assert "1 of 1 notes" in view.journal.list.object


def test_notes_of_the_session_that_a_drill_asks_about_come_after_the_call(lake: str) -> None:
    view = view_of(lake)
    append_line(book(lake), dataclasses.asdict(dataclasses.replace(NOTE, session=str(DATE), text="VWAP broke at 10:40")))
    append_line(book(lake), dataclasses.asdict(NOTE))
    view.controls()
    assert "VWAP broke" in view.journal.list.object
    session = view.player.session
    # The question is asked well before the level's last touch.
    level, last = next((i, at[-1]) for i in known_levels(session, session.ladder.seconds) if (at := touches(session, i)).size)
    view._open_drill()
    drill = view.drill
    assert drill is not None
    touch = view.player.start_ns + (int(last) - 100) * NS
    drill.question = Question("x", "ESZ5", str(DATE), level, "approach_up", touch, "h1", "chop")
    view.state.level = level
    view.open()
    assert drill.asking == str(DATE)
    assert "VWAP broke" not in view.journal.list.object
    assert "1 of 1 notes; 1 of the session that the drill asks about come after your call" in view.journal.list.object
    # Nor does a jump to a touch tell of those after the one that is asked about.
    view.player.seek(view.player.clock.end)
    assert not view.player.to_touch(1)
    drill._on_form({"name": "next", "value": 1, "n": 1})
    assert "VWAP broke" in view.journal.list.object
    assert view.player.to_touch(1)


def test_a_note_keeps_the_moment_and_its_picture_without_what_came_after(lake: str) -> None:
    view = view_of(lake)
    there, start_ns = lakes.contracts(lake), view.player.start_ns
    view.journal.write("  a wall\nwas pulled ")
    (note,) = read(lake)
    assert (note.text, note.level, note.session) == ("a wall was pulled", "vwap", str(DATE))
    again = LevelState()
    again.param["contract"].objects, again.param["session"].objects = list(there), there["ESZ5"]
    assert again.read_query(dict(pair.split("=") for pair in note.query.split("&"))) == []
    assert (again.level, again.cursor_ts_ns) == ("vwap", start_ns + 4000 * NS)
    drawn = read_state(picture_bytes(book(lake).parents[1] / "pictures" / note.picture))
    assert drawn is not None
    assert (drawn.level_id, drawn.clock_ns, drawn.picture.hindsight) == ("vwap", start_ns + 4000 * NS, False)
    assert "a wall was pulled" in view.journal.list.object
    view.journal.form.changed = {"name": "find", "value": "nothing like it", "n": 1}
    assert "0 of 1 notes" in view.journal.list.object
    with pytest.raises(ContractError, match="1 to 2,000 characters, found 3,000"):
        note_of(view.look, view.state, "x" * 3_000)
