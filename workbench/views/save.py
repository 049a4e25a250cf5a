"""The drawer's way out for numbers: choose a table, and it comes as a file made in the browser from one message."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from engine.errors import EngineError
from workbench.assets import script, style
from workbench.export import MIME, Table, file_name, to_bytes
from workbench.views.components import FILL


class Save(JSComponent):
    """A choice of tables and two buttons."""

    labels = param.List(default=[], doc="What can be saved, in words")
    asked = param.Dict(default={}, doc="What the trader wants: which, kind, running number")
    file = param.Dict(default={}, doc="The file: name, mime, base64 text; taken back once the browser has it")
    said = param.Dict(default={}, doc="What became of it: text, bad")
    taken = param.Integer(default=0, doc="Running number of the file that the browser has")

    _stylesheets: ClassVar[list[str]] = [style("form", "save")]
    _esm = script("make", "save")


def save_control(tables: Callable[[], Sequence[Table]]) -> Save:
    """A control for the drawer; `tables` is asked again at each click, because a view may show something else by then.

    Their number and order stay.
    """
    made = Save(labels=[t.label for t in tables()], **FILL)

    def make(event: Any) -> None:
        asked, offered = event.new, tables()
        which, kind = int(asked["which"]), str(asked["kind"])
        if not 0 <= which < len(offered) or kind not in MIME:
            raise ValueError(f"save: expected one of {len(offered)} tables as {' or '.join(MIME)}, found {asked!r}")
        table = offered[which]
        try:
            frame, state = table.make()
            state = {"table": table.key, **state}
            data = to_bytes(frame, state, kind)  # type: ignore[arg-type]
        except EngineError as e:
            made.said = {"text": str(e), "bad": True}
            return
        name = file_name(table.key, state, kind)  # type: ignore[arg-type]
        made.file = {"name": name, "mime": MIME[kind], "data": base64.b64encode(data).decode(), "n": asked["n"]}
        made.said = {"text": f"{name}: {frame.height:,} rows, {len(data) / 1e6:,.2f} MB", "bad": False}

    made.param.watch(make, "asked")
    # The browser has it: a tab that is left open must not keep every file it ever saved.
    made.param.watch(lambda _: made.param.update(file={}), "taken")
    return made
