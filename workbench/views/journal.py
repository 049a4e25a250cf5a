"""The journal: a note at a moment with its picture, kept beside the lake, listed and searched in the drawer."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass, fields
from html import escape
from os.path import exists
from pathlib import Path
from typing import Any

from engine.errors import ContractError, EngineError, RunFailed
from engine.lake.writer import append_line
from workbench import own_levels
from workbench.assets import style
from workbench.plots import axes
from workbench.state import LevelState
from workbench.views import compare
from workbench.views.background import BackgroundTask
from workbench.views.components import FILL, Form, heading, html, text_field
from workbench.views.viewport import Viewport, link_to

LONGEST = 2_000
"""Characters of a note."""

SHOWN = 20
"""The list has so many notes, the newest; what is searched finds older ones."""


@dataclass(frozen=True)
class Note:
    """What was noted of a moment: `query` opens it again, `picture` is a file of the lake's pictures, which is there once it is drawn."""

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
    """All notes, the newest first; lines that a stopped writer left half, or another program wrote, are passed over.

    A ContractError where the file cannot be read.
    """
    path = book(root)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as e:
        raise ContractError(f"{path}: expected the journal's notes, found a file that cannot be read: {e}; mend it or move it away") from e
    return [note for line in text.splitlines() if (note := _note(line)) is not None][::-1]


def _note(line: str) -> Note | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    names = {f.name for f in fields(Note)}
    if not isinstance(record, dict) or set(record) != names or not all(isinstance(v, str) for v in record.values()):
        return None
    return Note(**record)


def found(notes: list[Note], words: str) -> list[Note]:
    """Notes that have every one of the words, in their text, level, contract or date."""
    wanted = words.lower().split()
    return [n for n in notes if all(w in f"{n.text} {n.title} {n.level} {n.contract} {n.session}".lower() for w in wanted)]


def note_of(look: Viewport, state: LevelState, text: str) -> Note:
    """A note at the moment that is looked at; a ContractError where it says nothing, or too much."""
    told = " ".join(text.split())
    if not 0 < len(told) <= LONGEST:
        raise ContractError(f"journal: expected a note of 1 to {LONGEST:,} characters, found {len(told):,}")
    s, clock, now = look.session, axes.clock(look.now_ns), dt.datetime.now(dt.UTC)
    # Two notes of one moment have a picture each.
    picture = f"SETUP_{s.symbol}_{s.date}_{clock.replace(':', '')}_note_{now:%Y%m%dT%H%M%S%f}.png"
    return Note(
        now.isoformat(timespec="microseconds"), s.symbol, s.date.isoformat(), look.level_id, own_levels.title(s, look.level_id), clock,
        link_to(look, state), told, picture,
    )  # fmt: skip


def list_html(notes: list[Note], every: int, *, drawn: Container[str] = (), hidden: int = 0) -> str:
    """The newest of `notes`, each with a link to its moment; `every` is how many there are in all, `drawn` which pictures there are.

    `hidden` of the notes say what comes after the question of a drill.
    """
    lines = "".join(
        f"<div class='note'><a href='?{escape(n.query)}'>{escape(n.session)} {escape(n.clock)} {escape(n.title)}</a>"
        f"{_picture_link(n) if n.picture in drawn else ''}<br>{escape(n.text)}</div>"
        for n in notes[:SHOWN]
    )
    counted = f"{len(notes)} of {every} notes" if every else "No note yet: what is written above is kept with the moment and its picture."
    kept = f"; {hidden} of the session that the drill asks about come after your call" if hidden else ""
    return f"<div class='m'>{counted}{kept}</div>{lines}"


def _picture_link(note: Note) -> str:
    """To the Compare view, which shows the newest picture of the moment beside it."""
    return f" · <a class='m' href='?view=compare&amp;{escape(note.query)}'>picture</a>"


class Journal:
    """The drawer's part: a field for the note, one to search, and the list.

    `look` gives what is looked at, `guard` runs what may fail and shows what the engine has to say (`PageView.guard`), `asking` the date of
    the session whose touch a drill asks about: its notes may tell what follows.
    """

    def __init__(
        self, root: str, state: LevelState, look: Callable[[], Viewport | None], guard: Callable[..., None], asking: Callable[[], str]
    ) -> None:
        self.root, self.state, self._look, self._guard, self._asking = root, state, look, guard, asking
        self.words = ""
        self._drawing: list[BackgroundTask] = []
        self._opened = False
        self.list = html("", stylesheets=[style("journal")])
        note = text_field("note", "Note at this moment", "what I see, and why")
        self.form = Form(fields=[heading("Journal"), note, text_field("find", "Find", "words, level or date")], **FILL)
        self.form.param.watch(lambda e: self._on_form(e.new), "changed")

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        self._opened = True
        self._paint()
        return [self.form, self.list]

    def refresh(self) -> None:
        """List the notes again, where the drawer was opened: a drill has asked, or is over."""
        if self._opened:
            self._paint()

    def _on_form(self, change: dict[str, Any]) -> None:
        self.form.answered = change["n"]
        if change["name"] == "find":
            self.words = str(change["value"])
            self._paint()
        elif str(change["value"]).strip():
            self._guard(lambda: self.write(str(change["value"])))

    def write(self, text: str) -> None:
        """Keep a note of the moment looked at, and then draw its picture beside the page: whatever becomes of that, the note is there."""
        look = self._look()
        if look is None:
            raise ContractError("journal: expected a moment to note, found no session that is open")
        told = note_of(look, self.state, text)
        moment = {"contract": look.session.symbol, "session": told.session, "level": look.level_id, "cursor_ts_ns": look.now_ns}
        features, picture = compare.as_drawn(self.state)
        # What came after the moment is not in it, also where it is drawn of a whole day.
        known = picture.model_copy(update={"hindsight": False})
        append_line(book(self.root), asdict(told))
        self.form.values = {"note": "", "find": self.words}
        self._paint()
        # Made here, for a session under way grows in this loop; whatever it lacks, the note is kept.
        try:
            under_way = compare.scene_under_way(self.root, moment, features, known)
        except EngineError as e:
            raise RunFailed(f"The note is kept; its picture could not be drawn: {e}") from e

        def draw(_: Any) -> None:
            raw, _scene = compare.draw_moment(self.root, moment, features, known, under_way)
            compare.store_picture(self.root, raw, told.picture)

        def failed(error: EngineError) -> None:
            def say() -> None:
                raise RunFailed(f"The note is kept; its picture could not be drawn: {error}")

            self._guard(say, keep=True)

        # Each picture is a task of its own: the next note does not take its place.
        drawing = BackgroundTask(lambda *_: None)
        self._drawing = [*(d for d in self._drawing if d.busy), drawing]
        drawing.start(draw, lambda _: self._paint(), failed)

    def _paint(self) -> None:
        asking = self._asking()
        try:
            every = read(self.root)
        except ContractError as e:
            self.list.object = f"<div class='m' role='alert'>{escape(str(e))}</div>"
            return
        told = [n for n in every if n.session != asking]
        shown = found(told, self.words)
        drawn = {n.picture for n in shown[:SHOWN] if n.picture and exists(Path(self.root) / compare.PICTURES / n.picture)}
        self.list.object = list_html(shown, len(told), drawn=drawn, hidden=len(every) - len(told))
