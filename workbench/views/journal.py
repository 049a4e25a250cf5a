"""The journal: a note at a moment with its picture, kept beside the lake, listed and searched in the drawer."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from engine.errors import ContractError, EngineError
from engine.lake.writer import append_line
from workbench import own_levels
from workbench.assets import style
from workbench.plots import axes
from workbench.state import LevelState
from workbench.views import compare
from workbench.views.background import BackgroundTask
from workbench.views.components import FILL, Form, heading, html, text_field
from workbench.views.viewport import Viewport

LONGEST = 2_000
"""Characters of a note."""

SHOWN = 20
"""The list has so many notes, the newest; what is searched finds older ones."""


@dataclass(frozen=True)
class Note:
    """What was noted of a moment: `query` opens it again, `picture` is a file of the lake's pictures, empty where none was drawn."""

    written: str
    contract: str
    session: str
    level: str
    title: str
    clock: str
    query: str
    text: str
    picture: str = ""


def book(root: str) -> Path:
    """The file of the lake's notes, one JSON object a line."""
    return Path(root) / "journal" / "notes.jsonl"


def read(root: str) -> list[Note]:
    """All notes, the newest first; lines that a stopped writer left half, or another program wrote, are passed over."""
    path, names, out = book(root), {f.name for f in fields(Note)}, []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and set(record) == names and all(isinstance(v, str) for v in record.values()):
            out.append(Note(**record))
    return out[::-1]


def found(notes: list[Note], words: str) -> list[Note]:
    """Notes that have every one of the words, in their text, level, contract or date."""
    wanted = words.lower().split()
    return [n for n in notes if all(w in f"{n.text} {n.title} {n.level} {n.contract} {n.session}".lower() for w in wanted)]


def note_of(look: Viewport, state: LevelState, text: str) -> Note:
    """A note at the moment that is looked at; a ContractError where it says nothing, or too much."""
    told = " ".join(text.split())
    if not 0 < len(told) <= LONGEST:
        raise ContractError(f"journal: expected a note of 1 to {LONGEST:,} characters, found {len(told):,}")
    s = look.session
    return Note(
        dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), s.symbol, s.date.isoformat(), look.level_id,
        own_levels.title(s, look.level_id), axes.clock(look.now_ns), urlencode(state.query(), safe=":"), told,
    )  # fmt: skip


def list_html(notes: list[Note], every: int) -> str:
    """The newest of `notes`, each with a link to its moment; `every` is how many there are in all."""
    lines = "".join(
        f"<div class='note'><a href='?{escape(n.query)}'>{escape(n.session)} {escape(n.clock)} {escape(n.title)}</a>"
        f"<span class='m'>{' · picture' if n.picture else ''}</span><br>{escape(n.text)}</div>"
        for n in notes[:SHOWN]
    )
    counted = f"{len(notes)} of {every} notes" if every else "No note yet: what is written above is kept with the moment and its picture."
    return f"<div class='m'>{counted}</div>{lines}"


class Journal:
    """The drawer's part: a field for the note, one to search, and the list.

    `look` gives what is looked at, `guard` runs what may fail and shows what the engine has to say.
    """

    def __init__(
        self, root: str, state: LevelState, look: Callable[[], Viewport | None], guard: Callable[[Callable[[], object]], None]
    ) -> None:
        self.root, self.state, self._look, self._guard = root, state, look, guard
        self.words = ""
        self._later = BackgroundTask(lambda *_: None)
        self.list = html("", stylesheets=[style("journal")])
        note = text_field("note", "Note at this moment", "what I see, and why")
        self.form = Form(fields=[heading("Journal"), note, text_field("find", "Find", "words, level or date")], **FILL)
        self.form.param.watch(lambda e: self._on_form(e.new), "changed")

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        self._paint()
        return [self.form, self.list]

    def _on_form(self, change: dict[str, Any]) -> None:
        self.form.answered = change["n"]
        if change["name"] == "find":
            self.words = str(change["value"])
            self._guard(self._paint)
        elif str(change["value"]).strip():
            self._guard(lambda: self.write(str(change["value"])))

    def write(self, text: str) -> None:
        """Keep a note of the moment looked at, with its picture, which is drawn beside the page; without one where it cannot be drawn."""
        look = self._look()
        if look is None:
            raise ContractError("journal: expected a moment to note, found no session that is open")
        told = note_of(look, self.state, text)
        moment = {"contract": look.session.symbol, "session": told.session, "level": look.level_id, "cursor_ts_ns": look.now_ns}
        features, picture = compare.as_drawn(self.state)
        # What came after the moment is not in it, also where it is drawn of a whole day.
        known = picture.model_copy(update={"hindsight": False})
        name = f"SETUP_{told.contract}_{told.session}_{told.clock.replace(':', '')}_note.png"

        def draw(_: Any) -> str:
            raw, _scene = compare.draw_moment(self.root, moment, features, known)
            return compare.store_picture(self.root, raw, name).name

        def keep(drawn: str) -> None:
            append_line(book(self.root), asdict(replace(told, picture=drawn)))
            self.form.values = {"note": "", "find": self.words}
            self._paint()

        def without(_: EngineError | str) -> None:
            self._guard(lambda: keep(""))

        self._later.start(draw, lambda drawn: self._guard(lambda: keep(drawn)), without)

    def _paint(self) -> None:
        notes = read(self.root)
        self.list.object = list_html(found(notes, self.words), len(notes))
