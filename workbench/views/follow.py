"""The Level view's third way to move: with a session under way, whose feed it says the state of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import panel as pn
import param
from panel.custom import JSComponent

from engine.errors import EngineError, RunFailed
from engine.live.alerts import Alert
from engine.live.session import LiveSession
from engine.session import SETUP_WINDOW_S, level_title
from workbench import live, own_levels
from workbench.assets import script, style
from workbench.plots import axes
from workbench.views.player import Player, told

if TYPE_CHECKING:
    from workbench.similar import Similar

EVERY_MS = 50
"""The journal is looked at so often while a page shows a session under way."""

WAIT_MS = 250
"""A page of a lake without a session asks so often whether one has begun."""

OLD_S = 5.0
"""A picture whose newest record is older is greyed: what rests is not known any more."""

ALERTS_SHOWN = 20

SAY_EVERY = 10
"""Looks between two badges: whoever reads them wants no more than two a second."""


class LiveBadge(JSComponent):
    """What the feed is doing, and a button back to its end. `said` is empty for a session of the lake."""

    said = param.Dict(default={}, doc="Word, text, tip of `workbench.live.Badge`; whether the clock follows, how many s it is behind")
    back = param.Integer(default=0, doc="Counts the presses of the button")
    alerts = param.List(default=[], doc="The last alerts, the newest first: running number, clock, text, instant in ns as text")
    jump = param.String(default="", doc="The instant of the alert that was chosen")

    _stylesheets: ClassVar[list[str]] = [style("live_badge")]
    _esm = script("make", "live_badge")


class Follow:
    """Lets `player` follow the session that is opened, while it is under way and the view is in front.

    `reopen` is called where the session was begun anew, `look_again` at the end of each window, `grey` where the picture grows old, or is
    new again, `tell` with what there is to do, or with nothing. `follows` says whether the newest second is shown: a window of its own has
    that of the page whose clock it shows. `guard` runs what a timer calls, and shows what the engine has to say.
    """

    def __init__(
        self,
        root: str,
        player: Player,
        *,
        reopen: Callable[[], object],
        look_again: Callable[[], object],
        grey: Callable[[bool], object],
        tell: Callable[[str], object],
        follows: Callable[[], bool],
        guard: Callable[[Callable[[], object]], None],
    ) -> None:
        self.root, self.player, self._reopen, self._look_again, self._grey = root, player, reopen, look_again, grey
        self._tell, self._told = tell, ""
        self._follows, self._guard = follows, guard
        self.badge = LiveBadge(margin=(4, 0, 0, 8))
        self._timer: tuple[Any, Any] | None = None  # the document, and its callback
        self._looks = self._window = 0
        self._is_old = False
        self._alerts: object = None  # of which session, and how many were told
        self._fires: dict[str, bool] = {}

    @property
    def follower(self) -> live.Follower | None:
        """Who follows the journal of what is shown; None for a session of the lake."""
        session = self.player.session
        return live.follower(self.root, session) if isinstance(session, LiveSession) else None

    def opened(self) -> None:
        """Another session is shown."""
        is_live, follower = isinstance(self.player.session, LiveSession), self.follower
        if follower is not None:
            follower.watch(own_levels.steps)
        if is_live:
            self._every(EVERY_MS, self.look)
        if not is_live:
            self.stop()
        self._say()

    def wait(self, began: Callable[[], object], meanwhile: Callable[[], object]) -> None:
        """Call `began` once there is something to show, and `meanwhile` until then: a recording that has just begun has not traded yet."""

        def ask() -> None:
            if live.sessions(self.root):
                self.stop()
                began()
            else:
                meanwhile()

        self._every(WAIT_MS, lambda: self._timed(ask, "to load the page"))

    def _every(self, ms: int, act: Callable[[], object]) -> None:
        """Begin to call `act`, where nothing is called yet. By Bokeh's own timer: Panel's says at every call that it is busy, and then
        that it is not, which takes longer than most looks do.
        """
        doc = pn.state.curdoc
        if self._timer is None and doc is not None:
            self._timer = doc, doc.add_periodic_callback(act, ms)

    @property
    def looking(self) -> bool:
        """Whether the journal is looked at, or a session waited for."""
        return self._timer is not None

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            doc, timer = self._timer
            doc.remove_periodic_callback(timer)
            self._timer = None

    def _timed(self, act: Callable[[], object], again: str) -> None:
        """Run what a timer calls; where it fails that is said once, with what tries it `again`, and the timer is no more."""

        def run() -> None:
            try:
                told("what was recorded could not be taken in", act)
            except EngineError as e:
                self.stop()
                # What rests now is not known any more.
                self._age(self._follows())
                raise RunFailed(f"{e}; until then nothing newer is shown: {again} tries again") from e

        self._guard(run)

    def look(self) -> None:
        """Take in what came, and show the newest second where it is followed; where that fails, it is said, and `opened` begins again."""
        self._timed(self._look, "g")

    def _look(self) -> None:
        session, player, follower = self.player.session, self.player, self.follower
        if follower is None or not isinstance(session, LiveSession):
            return
        follower.poll()
        if session.is_replaced:
            self._reopen()
            if player.session is session:
                raise RunFailed("the session was begun anew, and could not be opened")
            return
        player.grew()
        window = session.known_seconds // SETUP_WINDOW_S
        if player.clock.following and window != self._window:
            self._window = window
            self._look_again()
        self._looks += 1
        if self._looks % SAY_EVERY == 0:
            self._say()

    def _say(self) -> None:
        session, clock, follower = self.player.session, self.player.clock, self.follower
        if session is None or follower is None:
            if self.badge.said:
                self.badge.said = {}
            self._age(False)
            self._advise("")
            return
        found = follower.badge()
        is_old = found.stale_s > OLD_S or found.word == "STOPPED"
        text = f"{found.text}, {found.stale_s:.0f} s old" if is_old and found.word not in ("STOPPED", "DELAYED") else found.text
        follows = self._follows()
        # The count tells the browser that the server is there, where nothing else changes.
        self.badge.said = {
            "word": found.word, "text": text, "tip": found.tip, "following": follows or not session.under_way,
            "behind": max(session.known_seconds - clock.position, 0), "n": self._looks,
        }  # fmt: skip
        if (told_by_now := (session.date, follower.session_date, follower.told)) != self._alerts:
            self._alerts = told_by_now
            # Each leads to its moment, which is of its own session.
            last = list(follower.alerts)[-ALERTS_SHOWN:] if session.date == follower.session_date else []
            numbers = range(follower.told - len(last) + 1, follower.told + 1)
            self.badge.alerts = [
                {"n": k, "clock": axes.clock(a.ts_ns), "text": a.text, "at": str(a.ts_ns)} for k, a in zip(numbers, last, strict=True)
            ][::-1]
        self._age(is_old and follows)
        self._advise(found.tip if found.word == "STOPPED" and session.under_way else "")

    def answered(self, found: Similar | str) -> None:
        """Similar setups have answered: an alert where the forecast at a level begins to meet the rule of signals."""
        follower = self.follower
        if follower is None or isinstance(found, str) or not self.player.clock.following:
            return
        q, row = found.question, found.forecast
        fires = found.meets_rule()
        if fires and not self._fires.get(q.level_id, False):
            tick = int(found.trigger["level_tick"])
            words = f"{level_title(q.level_id)}: the forecast meets the rule of signals, {row['c_top1']}"
            follower.tell([Alert(q.end_ns, "fire", q.level_id, tick, words)])
        self._fires[q.level_id] = fires

    def _advise(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._tell(text)

    def _age(self, is_old: bool) -> None:
        if is_old != self._is_old:
            self._is_old = is_old
            self._grey(is_old)
