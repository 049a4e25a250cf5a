"""Time and sales beside the picture: the trades up to the clock, by size, with who took."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import panel as pn
import param
import polars as pl
from panel.custom import JSComponent

from engine.errors import EngineError, NoData
from engine.live.session import LiveSession
from engine.session import Session
from engine.vocab import NS
from workbench.assets import script, style
from workbench.export import Table
from workbench.plots import tape
from workbench.state import LevelState
from workbench.views import components
from workbench.views.background import BackgroundTask
from workbench.views.components import Form, input_for
from workbench.views.known import Frame

WIDE_PX = 236

LARGE_EVERY_S = 60
"""What is large is told anew so often, seconds of the session."""


class Lines(JSComponent):
    """The lines; what is scrolled to stays while new ones come."""

    html = param.String(default="", doc="Table of trades, the newest first; nothing of it comes from elsewhere")

    _stylesheets: ClassVar[list[str]] = [style("tape")]
    _esm = script("said")


class TimeAndSales:
    """The panel; `frame` gives what is shown, and nothing at or after its instant comes into the page."""

    def __init__(self, state: LevelState, frame: Callable[[], Frame | None]) -> None:
        self.state, self._frame = state, frame
        self.lines = Lines(sizing_mode="stretch_both", margin=0)
        self._later = BackgroundTask(lambda *_: None)
        self._read: tuple[Session, pl.DataFrame] | None = None
        self._reading: Session | None = None
        self._large: tuple[object, int] = (None, 0)
        self._shown: tuple[object, ...] = ()
        least = Form(margin=0, sizing_mode="stretch_width").bind(state, [input_for(state, "least", "Time and sales, least contracts")])
        self.panel = pn.Column(
            least, self.lines, width=WIDE_PX, visible=False, margin=(0, 0, 0, 8), sizing_mode="stretch_height",
            **components.layout("sm-tape"),
        )  # fmt: skip

    def paint(self, frame: Frame) -> None:
        """Show the trades before the frame's instant, where the panel is open; those of another session are read beside the page first."""
        on = self.state.tape == "on"
        if self.panel.visible != on:
            self.panel.visible = on
        if not on:
            self._shown, self.lines.html = (), ""
            return
        s = frame.look.session
        if isinstance(s, LiveSession):
            self._read = s, s.trades()  # in memory, and more of them each second, the last of all too
        if self._read is None or self._read[0] is not s:
            self._read_trades(s)
            return
        now, least = frame.look.now_ns, self.state.least
        shown = tape.until(self._read[1], now, least)
        key = s, shown.height, least
        if key == self._shown:
            return
        self._shown = key
        self.lines.html = tape.rows_html(shown, self._large_by(frame), s.tick_size)

    def _large_by(self, frame: Frame) -> int:
        assert self._read is not None
        s, minute = frame.look.session, frame.t // LARGE_EVERY_S * LARGE_EVERY_S
        if self._large[0] != (s, minute):
            self._large = (s, minute), tape.large_size(self._read[1], s.ladder.start_ns + minute * NS)
        return self._large[1]

    def _read_trades(self, session: Session) -> None:
        if self._reading is session:
            return
        self._reading, self._shown = session, ()
        self.lines.html = "<div class='said' role='status'>reading the trades …</div>"

        def take(found: pl.DataFrame) -> None:
            self._reading, self._read = None, (session, found)
            frame = self._frame()
            if frame is not None:
                self.paint(frame)

        def failed(error: EngineError) -> None:
            # Said once for this session: it is asked for again when another was open.
            self.lines.html = f"<div class='said' role='alert'>{components.rich(str(error))}</div>"

        self._later.start(lambda _: session.trades(), take, failed)

    def known(self) -> pl.DataFrame:
        """The trades that are shown, and all before them, as a table; a NoData where none have been read."""
        frame = self._frame()
        if frame is None or self._read is None or self._read[0] is not frame.look.session:
            raise NoData("no trades are shown; open time and sales first (t)")
        return tape.table(tape.until(self._read[1], frame.look.now_ns, self.state.least), frame.look.session.tick_size)

    def table(self) -> Table:
        """What can be saved."""

        def make() -> tuple[pl.DataFrame, dict[str, Any]]:
            found, frame = self.known(), self._frame()
            assert frame is not None
            look = frame.look
            facts = {"contract": look.session.symbol, "session": look.session.date.isoformat(), "cursor_ts_ns": look.now_ns}
            return found, {**facts, "least_contracts": self.state.least, "simulated": look.session.simulated}

        return Table("trades", "Time and sales up to the clock", make)
