"""Before the session begins: what a live morning needs, what of it is there, and how long it is until then."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from engine.live.checks import beginning, morning_checks
from workbench import live
from workbench.assets import script, style
from workbench.plots import axes
from workbench.views.components import BOTH

CHECK_S = 10.0
"""What is needed is looked at again so often."""


class Morning(JSComponent):
    """The checks of `spymaster morning` and a countdown, in the place of the picture; what is in backquotes is a command to copy."""

    said = param.Dict(default={}, doc="Words of the beginning, seconds until then, checks (state, name, sentence), the clock of them")
    other = param.String(default="", doc="Contract and date of a session that can be shown instead; empty for none")
    instead = param.Integer(default=0, doc="Counts the presses of the button that asks for it")

    _stylesheets: ClassVar[list[str]] = [style("morning")]
    _esm = script("make", "commands", "morning")

    def __init__(self, **params: Any) -> None:
        super().__init__(**{"visible": False, **BOTH, **params})
        self._looked_s = 0.0
        self._follower: live.Follower | None = None

    def look(self, root: str, other: str) -> None:
        """Show how it is now, where a recorder is at work, or was since this is shown; looked at every `CHECK_S`."""
        now, had = time.monotonic(), self._follower
        if self.visible and now - self._looked_s < CHECK_S and not (had is not None and had.behind):
            return
        self._follower = follower = live.awaited(root) or had
        if follower is None:
            return
        self._looked_s = now
        wall, lake, market = time.time_ns(), follower.lake, follower.market
        begins = beginning(lake, market, wall)
        checks = [[c.state, c.what, c.text] for c in morning_checks(lake.root, market, wall)]
        text = f"{market}: what was recorded is read, {follower.behind:,} records to go" if follower.behind else begins.text
        said = {"begins": text, "left_s": begins.left_s, "checks": checks, "at": axes.clock(begins.now_ns)}
        self.param.update(said=said, other=other, visible=True)
