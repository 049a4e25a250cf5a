"""The moment that a question of Research is about: level and New York time, chosen in the section; the tab's state holds it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from engine.errors import EngineError
from engine.levels import level_ids
from engine.sessions import to_ns
from engine.vocab import NS
from workbench import data
from workbench.plots import axes
from workbench.state import LevelState, clock_text
from workbench.views.form import Form


class MomentChoice:
    """Two fields, tied to `state`.

    Parameters
    ----------
    root, state
        Lake, and the tab's state: its `level` and `cursor_ts_ns` are set.
    refuse
        Called with a sentence where what was typed in is no moment, and with an empty one where it is.
    """

    def __init__(self, root: str, state: LevelState, refuse: Callable[[str], None]) -> None:
        self.root, self.state, self._refuse = root, state, refuse
        self.level, self.time = Form(margin=0), Form(margin=0)
        self.time.fields = [{"name": "time", "kind": "text", "label": "Moment, New York", "hint": "HH:MM:SS"}]
        self.levels: list[str] = []
        self._show()
        for form in (self.level, self.time):
            form.param.watch(lambda e, form=form: self._take(form, e.new), "changed")
        state.param.watch(lambda *_: self._show(), ["level", "cursor_ts_ns", "session"])

    def _show(self) -> None:
        """Put on the fields what the state says."""
        self.levels = list(dict.fromkeys([*data.KEY_LEVELS, *level_ids(), self.state.level]))
        titles = [data.level_title(i) for i in self.levels]
        fields = [{"name": "level", "kind": "select", "label": "Level of the moment", "options": titles}]
        # What has the keyboard's focus is not built anew without need.
        if self.level.fields != fields:
            self.level.fields = fields
        self.level.values = {"level": self.levels.index(self.state.level)}
        at = self.state.cursor_ts_ns
        self.time.values = {"time": "" if at is None else clock_text(at)}

    def _take(self, form: Form, change: dict[str, Any]) -> None:
        """Set the state to what was chosen; what cannot be a moment is refused in words, and the state stays."""
        try:
            if form is self.level:
                self.state.level = self.levels[int(change["value"])]
            else:
                self.state.cursor_ts_ns = self._moment(str(change["value"]).strip())
            self._refuse("")
        except (ValueError, EngineError) as e:
            stays = "no moment is chosen" if self.state.cursor_ts_ns is None else f"the moment stays {clock_text(self.state.cursor_ts_ns)}"
            self._refuse(f"{e}; {stays}")
        finally:
            self._show()
            form.answered = int(change["n"])

    def _moment(self, text: str) -> int | None:
        """Start of the window in which the time lies, ns since the epoch; None for no text."""
        st = self.state
        if not text:
            return None
        if st.contract is None or st.session is None:
            raise ValueError(f"Moment “{text[:20]}”: expected a session to choose it in, the lake {self.root} holds none")
        date = dt.date.fromisoformat(st.session)
        clock = clock_of(text)
        ladder = data.load(self.root, st.contract, date).ladder
        w = st.window_s * NS
        ts = to_ns(date, clock) // w * w
        if not -(-ladder.start_ns // w) * w <= ts <= ladder.end_ns // w * w - w:
            span = f"{axes.clock(ladder.start_ns)} to {axes.clock(ladder.end_ns)}"
            raise ValueError(f"Moment {clock:%H:%M:%S}: expected a time within the session of {date} ({span} New York)")
        return ts


def clock_of(text: str) -> dt.time:
    """The time of day that was typed in, ``HH:MM:SS`` or ``HH:MM``.

    Raises
    ------
    ValueError
        In words, where it is none.
    """
    for form in ("%H:%M:%S", "%H:%M"):
        try:
            return dt.datetime.strptime(text, form).time()
        except ValueError:
            continue
    raise ValueError(f"Moment “{text[:20]}”: expected New York time as HH:MM:SS, such as 10:05:00")
