"""The buttons of Compare: how the two pictures stand, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.views.compare_words import KEEP
from workbench.views.form import Form

LAYS = ("Side by side", "Swipe")
BACK, SAVE = "To the picture's moment", "Save the current setup as PNG"
OPENS = ("Open in Level", "Open in Replay")


class Acts:
    """One row of buttons.

    Parameters
    ----------
    lay
        Called with whether the two stand over each other.
    do
        What is called for each act: `BACK`, those of `OPENS`, `KEEP`, `SAVE`.
    """

    def __init__(self, lay: Callable[[bool], None], do: Mapping[str, Callable[[], None]]) -> None:
        self._lay, self._do = lay, do
        self.form = Form(row=True, margin=(4, 0))
        self.offer(back=False)
        self.form.param.watch(lambda e: self._on_change(e.new), "changed")

    def offer(self, *, back: bool) -> None:
        """Show the acts there are; back to the picture's moment only where the page stands at another."""
        acts = [*([BACK] if back else []), *OPENS, KEEP, SAVE]
        fields = [
            {"name": "lay", "kind": "group", "label": "How the two stand", "options": list(LAYS)},
            {"name": "act", "kind": "group", "label": "What to do", "options": acts},
        ]
        if self.form.fields != fields:
            self.form.param.update(fields=fields, values={"lay": int(self.form.values.get("lay", 0)), "act": -1})

    def _on_change(self, change: dict[str, Any]) -> None:
        self.form.answered = int(change["n"])
        if change["name"] == "lay":
            swipe = bool(change["value"])
            self._lay(swipe)
            self.form.values = {"lay": int(swipe), "act": -1}
        else:
            self._do[self.form.fields[1]["options"][int(change["value"])]]()
