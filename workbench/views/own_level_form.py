"""The trader's own levels in the drawer and on the chart: added, named, removed, undone, and taken from a CSV file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import polars as pl

from engine.errors import ContractError, NoData
from engine.session import Session, level_title
from workbench import own_levels
from workbench.assets import style
from workbench.export import Table
from workbench.views import components
from workbench.views.base import PageView
from workbench.views.components import FILL, Form, html, text_field
from workbench.views.player import Player

FIELDS = [
    components.heading("Own levels"),
    text_field("add", "Price, name, note: adds or changes one", "6800.25, VPOC, tested on Monday"),
    components.buttons("act", "The level that is chosen, and the last change", "Remove", "Undo"),
]
"""Fields of the drawer."""


class OwnLevels:
    """What the Level view does with them; `player` has the session and the clock, `refresh` shows names and lines again."""

    def __init__(self, view: PageView, player: Player, refresh: Callable[[], None]) -> None:
        self.view, self.player, self._refresh = view, player, refresh
        self._editors: dict[str, own_levels.Editor] = {}

    def controls(self) -> list[Any]:
        """What the drawer holds; a CSV file has the columns price, name and note."""
        form = Form(fields=FIELDS, **FILL)
        form.param.watch(lambda e: self._on_form(form, e.new), "changed")
        words = "<div class='upload'>From a CSV file (price, name, note)</div>"
        upload = pn.widgets.FileInput(accept=".csv", margin=(2, 0), stylesheets=[style("upload")], sizing_mode="stretch_width")
        upload.param.watch(lambda e: self._take(e.new) if e.new else None, "value")
        return [form, html(words, stylesheets=[style("upload")]), upload]

    def table(self) -> Table:
        """Those of the session's market, as the CSV that is taken again."""

        def make() -> tuple[pl.DataFrame, dict[str, Any]]:
            session = self._session()
            rows = [(v.price, v.name, v.note) for v in own_levels.read(self.view.root, session.ladder.root.code)]
            schema = {"price": pl.Float64, "name": pl.String, "note": pl.String}
            return pl.DataFrame(rows, schema=schema, orient="row"), {"lake": self.view.root, "contract": session.ladder.root.code}

        return Table("own_levels", "Own levels", make)

    def _session(self) -> Session:
        session = self.player.session
        if session is None:
            raise NoData("no session is open whose market own levels could be of; open one first")
        return session

    def _editor(self) -> own_levels.Editor:
        market = self._session().ladder.root.code
        return self._editors.setdefault(market, own_levels.Editor(self.view.root, market))

    def add(self, text: str) -> None:
        """Add the level that is told as ``price, name, note``, or change one that is there, and go to it.

        What is not told of one that is there stays: a price alone goes to it.
        """
        price, name, note = own_levels.told_level(text)
        session = self._session()
        level_id, said = own_levels.own_price(price, session, self.player.clock.position)
        for what, told in (("name", name), ("note", note)):
            if len(told or "") > own_levels.LONGEST[what]:
                raise ContractError(
                    f"Own level: expected a {what} of at most {own_levels.LONGEST[what]} characters, found {len(told or '')}"
                )
        there = own_levels.of_session(session).get(level_id, own_levels.OwnLevel(0.0))
        level = own_levels.OwnLevel(
            float(level_id.removeprefix(own_levels.PREFIX)), there.name if name is None else name, there.note if note is None else note
        )
        self._editor().put(level)
        self.view.notices.trouble += [said] if said else []
        self.view.put(level=level_id)
        self._refresh()

    def _remove(self) -> None:
        level_id = self.view.state.level
        mine = own_levels.of_session(self._session()).get(level_id)
        if mine is None:
            raise ContractError(f"{level_title(level_id)} is none of your own levels: choose one of them to remove it")
        self._editor().remove(mine.price)
        self._refresh()

    def _undo(self) -> None:
        others = self._editor().undo()
        if others is None:
            raise ContractError("Own levels: there is no change of this page to undo")
        if others:
            prices = ", ".join(f"{p:.12g}" for p in others)
            self.view.notices.trouble.append(f"Changed elsewhere since, and left as it is: {prices}")
        self._refresh()

    def _on_form(self, form: Form, change: dict[str, Any]) -> None:
        form.answered = change["n"]
        if change["name"] == "act":
            self.view.guard(self._remove if change["value"] == 0 else self._undo)
        elif change["value"]:
            self.view.guard(lambda: self.add(str(change["value"])))
            form.values = {"add": "" if not self.view.notices.trouble else change["value"]}

    def _take(self, content: bytes) -> None:
        def take() -> None:
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError as e:
                raise ContractError(f"Own levels: expected a CSV file in UTF-8, found another: {e}") from e
            found = own_levels.on_grid(own_levels.parse(text, "Own levels"), self._session(), self.player.clock.position)
            self._editor().put(*found)
            n = f"{len({v.price for v in found})} own level{'' if len(found) == 1 else 's'}"
            self.view.notices.trouble.append(f"{n} taken; Undo takes them back")
            self._refresh()

        self.view.guard(take)
