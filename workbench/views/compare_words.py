"""What Compare says where a picture is missing, and what it asks where a picture says nothing of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn

from workbench.state import LevelState
from workbench.views.compare_moment import DIRECTIONS, words_of
from workbench.views.form import Form

KEEP = "Keep this moment as a picture"


def guide(root: str, moment: dict[str, Any], pictures: bool) -> list[list[str]]:
    """What can be done where no picture is chosen: heading, text, command and button of each way."""
    when = words_of(moment).split(",")[0].split(" ", 1)[1]
    of = f"--symbol {moment['contract']} --level {moment['level']}"
    command = f'spymaster snapshot --lake {root} {of} --ts "{when}" --out assets/SETUP_1.png'
    what = (
        "Compare holds a setup's picture against the same moment drawn from the lake: beside it, or swiped over it. "
        "A picture that was saved here opens its own moment; one from elsewhere is asked once for date, level and direction."
    )
    have = f"{'Choose one of the pictures above, or drop' if pictures else 'Drop'} a PNG anywhere on this page, or use “Choose a picture”."
    keep = "Keeps it as a picture in the lake, to hold other moments against: go on in Level or Replay, and come back."
    return [
        ["Put a picture beside this moment", what, "", ""],
        ["A picture that you have", have, "", ""],
        ["This moment", keep, "", KEEP],
        ["Without a browser", "Makes the same picture, the same bytes every time; pictures in assets/ are listed here.", command, ""],
    ]


class Typed:
    """Date, level, direction and time of a picture from elsewhere, typed in once.

    Parameters
    ----------
    keep
        Called with the fields of `engine`'s foreign state when the trader wants them kept.
    """

    def __init__(self, keep: Callable[[dict[str, Any]], None]) -> None:
        self._keep = keep
        self._values: dict[str, str] = {}
        self._contract: str | None = None
        self.form = Form(row=True, margin=0)
        self.form.param.watch(lambda e: self._on_change(e.new), "changed")
        self.row = pn.Row(self.form, margin=(4, 0), visible=False, sizing_mode="stretch_width")

    @property
    def asking(self) -> bool:
        """Whether the trader is asked."""
        return bool(self.row.visible)

    def ask(self, state: LevelState) -> None:
        """Ask, beginning with what the page stands at."""
        self._contract = state.contract
        self._values = {"date": state.session or "", "level": state.level, "direction": "0", "clock": ""}
        self.form.fields = [
            {"name": "date", "kind": "text", "label": "Session date, YYYY-MM-DD", "hint": "date"},
            {"name": "level", "kind": "text", "label": "Level, such as pm_high or price:6800.25", "hint": "level"},
            {"name": "direction", "kind": "select", "label": "Direction", "options": ["from below", "from above"]},
            {"name": "clock", "kind": "text", "label": "New York time, where the picture tells it", "hint": "HH:MM:SS"},
            {"name": "keep", "kind": "group", "label": "Keep", "options": ["Keep and draw"]},
        ]
        self.form.values = {**self._values, "direction": 0}
        self.row.visible = True

    def done(self) -> None:
        """Nothing is asked any more."""
        self.row.visible = False

    def _on_change(self, change: dict[str, Any]) -> None:
        name, value = str(change["name"]), change["value"]
        self.form.answered = int(change["n"])
        if name != "keep":
            self._values[name] = str(value)[:64]
            return
        t = self._values
        self._keep(
            {
                "session_date": t["date"].strip(),
                "level_id": t["level"].strip(),
                "direction": DIRECTIONS[t["direction"] == "1"],
                "symbol": self._contract,
                "clock": t["clock"].strip() or None,
            }
        )
