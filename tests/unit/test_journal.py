"""The journal: a note keeps its moment and picture, is found again, and nothing of it is lost."""

from __future__ import annotations

import dataclasses

import pytest

from engine.errors import ContractError
from engine.lake.writer import append_line
from engine.vocab import NS
from tests.ui.conftest import DATE, generated_lake
from workbench import lakes, session_cache
from workbench.snapshot.png import picture_bytes, read_state
from workbench.state import LevelState
from workbench.views.journal import Note, book, found, list_html, note_of, read
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


def test_a_note_keeps_the_moment_and_its_picture_without_what_came_after(tmp_path_factory: pytest.TempPathFactory) -> None:
    lake = str(generated_lake(tmp_path_factory.mktemp("journal"), 20_000))
    state, there = LevelState(), lakes.contracts(lake)
    state.param["contract"].objects, state.param["session"].objects = list(there), there["ESZ5"]
    start_ns = session_cache.load(lake, "ESZ5", DATE).ladder.start_ns
    state.param.update(contract="ESZ5", session=str(DATE), level="vwap", cursor_ts_ns=start_ns + 4000 * NS)
    view = LevelView(lake, state, [])
    view.start()
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
        note_of(view.look, state, "x" * 3_000)
