"""The one clock of the Level view, which stands, plays, or follows a session under way; the transport that moves it; and the frame that is
due at its time.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import panel as pn
import param
from panel.custom import JSComponent

from engine.errors import EngineError, RunFailed
from engine.live.session import LiveSession
from engine.session import Session
from engine.sessions import to_ns
from engine.vocab import NS
from workbench.assets import script, style
from workbench.plots import axes
from workbench.plots.heatmap import LAYERS
from workbench.state import LevelState
from workbench.theme import THEMES
from workbench.views import known
from workbench.views.known import Frame, middle, stretch
from workbench.views.level_figures import LevelPictures
from workbench.views.viewport import Viewport, resolve

log = logging.getLogger(__name__)

WORDS_EVERY_S, WORDS_EVERY_FRAMES = 0.25, 5
"""While it plays, a part of the words follows the picture so often, and so all of them once a second: faster nobody reads. No more often
than after so many frames, so that a machine under load paints frames rather than words."""

FORM_EVERY_S = 0.1
"""What changes in the second under way is painted no more often."""

BEFORE_TOUCH_S = 60
"""A jump to a touch ends so long before it: what leads to it is what a replay is watched for."""

# ----------------------------------------------------------------------------
# The clock: where it stands, how fast it goes, and which frame is due; knows neither lake nor screen

SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds of the session in a second of the trader's."""

FRAME_S = 1 / 40
"""Frames closer together than this say nothing to an eye, and cost as much as others."""

IN_FLIGHT = 2
"""Frames that may be under way: one that the browser paints, and one that the server makes meanwhile; never more."""

LONGEST_S = 0.5
"""A browser that was away longer (a hidden tab, a stalled machine) finds the clock where it left it, not where it would be by now."""


@dataclass
class Clock:
    """Position in whole seconds of a session of `seconds`; ``position`` s have passed, so that nothing from there on is known.

    A clock that is `following` stands at the end of a session under way, whose `seconds` grow.
    A frame is due only while the browser has acknowledged all but the last: what falls due meanwhile is dropped, never queued.
    """

    seconds: int
    position: int = 0
    speed: float = 1.0
    playing: bool = False
    sent: int = 0
    acked: int = 0
    limit: int | None = None
    following: bool = False
    _exact: float = 0.0
    _wall: float = 0.0
    _last_sent: float = -1.0

    @property
    def end(self) -> int:
        """As far as it plays: the session's end, or what a question has not asked about yet."""
        return self.seconds if self.limit is None else min(max(self.limit, 1), self.seconds)

    @property
    def moves(self) -> bool:
        """Whether frames come by themselves."""
        return self.playing or self.following

    def seek(self, position: int, wall: float) -> int:
        """Go to `position`, or to the nearest end of the session; returns where it is then."""
        self.following = False
        self.position = min(max(int(position), 1), self.end)
        self._exact, self._wall = float(self.position), wall
        return self.position

    def play(self, on: bool, wall: float) -> None:
        """Start or stop; a clock that is at its end does not start."""
        self.playing, self.following = on and self.position < self.end, False
        self._exact, self._wall = float(self.position), wall

    def follow(self) -> None:
        """Stay at the newest second."""
        self.playing, self.following, self.position = False, True, self.end

    def grow(self, seconds: int) -> bool:
        """There are so many seconds now; whether a frame of the newest is to be sent."""
        self.seconds = seconds
        if not self.following or self.full or self.position == self.end:
            return False
        self.position = self.end
        return True

    def set_speed(self, speed: float, wall: float) -> None:
        """Change the speed from now on; a ValueError where it is none of `SPEEDS`."""
        if speed not in SPEEDS:
            raise ValueError(f"speed: expected one of {', '.join(f'{s:g}' for s in SPEEDS)}, found {speed!r}")
        self._advance(wall)
        self.speed = speed

    def _advance(self, wall: float) -> None:
        if self.playing:
            self._exact = min(self._exact + self.speed * min(max(wall - self._wall, 0.0), LONGEST_S), float(self.end))
        self._wall = wall

    def due(self, wall: float) -> int | None:
        """The position of the frame to send now; None where there is nothing new, or the last frame is still on its way."""
        self._advance(wall)
        if not self.playing or self.full or int(self._exact) <= self.position or wall - self._last_sent < FRAME_S:
            return None
        self.position = int(self._exact)
        if self.position >= self.end:
            self.playing = False
        return self.position

    @property
    def full(self) -> bool:
        """Whether the browser has to paint before it gets another frame."""
        return self.sent - self.acked >= IN_FLIGHT

    def wait(self, wall: float) -> float:
        """Seconds until a frame can be due, if the browser keeps up."""
        self._advance(wall)
        return max((self.position + 1 - self._exact) / self.speed, FRAME_S - (wall - self._last_sent), 0.001)

    def frame(self, wall: float) -> int:
        """Number of the frame that is being sent."""
        self.sent += 1
        self._last_sent = wall
        return self.sent

    def since(self, wall: float) -> float:
        """Seconds since the last frame was sent."""
        return wall - self._last_sent

    def ack(self, n: int) -> None:
        """The browser has painted frame `n`; what it never was sent is not believed."""
        self.acked = max(self.acked, min(n, self.sent))


class Deck(JSComponent):
    """The transport: the clock, play and step, speed, the session's path so far as a scrubber, and the view's keyboard.

    It acknowledges every frame once it is painted; the server sends the next one only then. `acted` is what the trader did: ``name``
    (``play, step, seek, speed, touch, open, end, level, layer, reveal, fit, tape, copy, share, drill, call``), ``value``, a running number.
    None is lost: those that come before the server has answered wait in their order, those of one kind as one.
    """

    now = param.Dict(
        default={},
        doc="Frame n, position in seconds, clock, whether it moves, follows or shows what came after, index of the speed, last "
        "act answered, what `workbench.views.level_figures.Live` paints",
    )
    track = param.Dict(default={}, doc="What was known of the session: its seconds, points and touches so far, hours")
    speeds = param.List(default=[], doc="Speeds in words")
    acted = param.Dict(default={}, doc="What the trader last did")
    painted = param.Integer(default=0, doc="The last frame that was painted")
    panels = param.List(default=[], doc="What can have a window of its own: key and title each")
    window = param.String(default="", doc="Title of the panel that this window is for; empty: the whole page")
    clock = param.String(default="", doc="Name of the clock that other windows share; empty: none does")
    copied = param.Dict(default={}, doc="What the trader asked to copy: text (of a link the query), words that say so, running number")
    active = param.Boolean(default=True, doc="Whether keys are listened to; false while another view is open")
    window_s = param.Integer(default=5, doc="Length of a window, which the arrows step by, seconds")
    figures = param.Dict(default={}, doc="What each figure shows, by its name, for who does not see it")

    # That the server is busy with an answer is said nowhere, and takes longer than most answers.
    _busy__ignore: ClassVar[list[str]] = ["painted", "acted"]
    _stylesheets: ClassVar[list[str]] = [style("transport")]
    _esm = script("bokeh_bridge", "make", "in_order", "price_axis", "clipboard", "transport", LEAST_MS=FRAME_S * 1000)


def told(what: str, act: Callable[[], object]) -> None:
    """Run what a timer calls: a defect is raised as what is said on the page, `what` first.

    What else a timer raises leaves Bokeh's stack of current documents as it is, for good.
    """
    try:
        act()
    except EngineError:
        raise
    except Exception as e:
        log.error(what, exc_info=e)
        raise RunFailed(f"{what} ({type(e).__name__}: {e}); the server's log says where") from e


class Player:
    """Sends frames of `session` while the browser keeps up.

    `guard` runs what may fail and shows what the engine has to say; `said` is told each frame that was painted, and whether all of what is
    said of it follows now, or (while it plays) the next part of it.
    """

    def __init__(self, state: LevelState, guard: Callable[[Callable[[], object]], None], said: Callable[[Frame, bool], None]) -> None:
        self.state, self._guard, self._said = state, guard, said
        self.session: Session | None = None
        self.clock = Clock(1)
        self.frame: Frame | None = None
        self.panned: tuple[int, int] | None = None
        """Seconds ``[low, high)`` that the trader moved the chart to; None while it goes with the clock."""
        self.revealed = False
        """Whether what came after the moment is shown: asked for anew at each moment, and never while it plays."""
        self.shown_ns: int | None = None
        self.answered = 0
        self.doc: Any = None
        self.pictures = LevelPictures(THEMES[state.theme], 0.25)
        self.deck = Deck(speeds=[f"{s:g}x" for s in SPEEDS], css_classes=["sm-deck"], margin=0, sizing_mode="stretch_width")
        self.deck.param.watch(lambda e: self._on_painted(e.new), "painted")
        self._timer: Any = None
        self._words_at, self._words_sent, self._formed = 0.0, 0, 0

    def open(self, session: Session, at_ns: int) -> None:
        """Go to an instant of `session`."""
        self.session, self.panned = session, None
        # Frames are counted on: the browser's last acknowledgement holds for the new session too.
        self.clock = Clock(session.known_seconds, speed=self.clock.speed, sent=self.clock.sent, acked=self.clock.acked)
        self.seek_ns(at_ns)
        self.pictures.forget()

    def open_second(self) -> int:
        """The stock market's open, or the session's start where it is not in it."""
        assert self.session is not None
        at = self._second(to_ns(self.session.date, dt.time(9, 30)))
        return at + 1 if 0 <= at < self.session.known_seconds else 1

    @property
    def start_ns(self) -> int:
        """The session's first instant, ns since the epoch."""
        assert self.session is not None
        return self.session.ladder.start_ns

    def _second(self, ts_ns: int) -> int:
        assert self.session is not None
        return int(ts_ns - self.session.ladder.start_ns) // NS

    # --- where it is

    def seek(self, t: int) -> None:
        """Go to second `t`; what came after the moment is hidden again."""
        self.revealed = False
        self.clock.seek(t, time.monotonic())

    def seek_ns(self, ts_ns: int) -> None:
        """Go to an instant, as far as is known by now."""
        assert self.session is not None
        self.clock.grow(self.session.known_seconds)
        self.seek(self._second(ts_ns))

    def play(self, on: bool) -> None:
        """Start or stop; from the end of a session under way there is only following it."""
        self.revealed = False
        if on and self._is_newest():
            self.to_end()
            return
        self.clock.play(on, time.monotonic())
        if self.clock.playing:
            self.panned = None

    def _is_newest(self) -> bool:
        return self.session is not None and self.session.under_way and self.clock.limit is None and self.clock.position >= self.clock.end

    def to_end(self) -> None:
        """Go to the session's end; where it is under way, follow it."""
        self.seek(self.clock.seconds)
        if self._is_newest():
            self.panned = None
            self.clock.follow()
            # A link to what is followed names no time. First what is shown, so that it is not taken for a jump.
            self.shown_ns = self.state.cursor_ts_ns = None

    def grew(self) -> None:
        """The session has grown: show its newest second, if it is followed and the browser keeps up, or what has changed since then."""
        if not isinstance(self.session, LiveSession):
            return
        if self.clock.grow(self.session.known_seconds):
            self._guard(lambda: told("this moment could not be drawn", lambda: self.show(words=True)))
        elif self._forms(self.session.day.records):
            self._guard(lambda: told("this moment could not be drawn", lambda: self.show(words=False)))

    def _forms(self, records: int) -> bool:
        """Whether a frame of the second under way is due: something came, and the last frame is painted and old enough."""
        clock = self.clock
        due = clock.following and clock.acked == clock.sent and records != self._formed and clock.since(time.monotonic()) >= FORM_EVERY_S
        if due:
            self._formed = records
        return due

    def reveal(self, on: bool) -> None:
        """Show what came after the moment, or hide it again; a clock that plays stops for it. Not before a drill's question is called."""
        self.play(False)
        self.revealed = on and self.clock.limit is None

    def set_speed(self, index: int) -> None:
        """Play at the `index`-th of the speeds."""
        self.clock.set_speed(SPEEDS[index], time.monotonic())

    def limit(self, ts_ns: int | None) -> None:
        """Play no further than to an instant; None: to the session's end."""
        if self.session is not None:
            self.clock.limit = None if ts_ns is None else self._second(ts_ns)

    def to_touch(self, way: int) -> bool:
        """Go to before the `way`-th touch of the level from the clock on, or back (`way` < 0), or as far as there are; False where none is.

        Of a drill's question nothing is told but what it lets play.
        """
        assert self.session is not None
        touched, t = known.touches(self.session, self.state.level), self.clock.position
        at = touched[touched <= self.clock.end] - BEFORE_TOUCH_S
        found = np.sort(at[(at > 0) & ((at > t) if way > 0 else (at < t))])
        if not found.size or way == 0:
            return False
        self.play(False)
        self.seek(int(found[min(way, found.size) - 1] if way > 0 else found[max(way, -found.size)]))
        return True

    # --- frames

    def _on_painted(self, n: int) -> None:
        self.clock.ack(n)
        if self.clock.playing:
            self._tick()

    def arm(self) -> None:
        """Look again when the next frame can be due."""
        doc = self.doc or pn.state.curdoc
        if not self.clock.playing or self._timer is not None or doc is None:
            return
        self._timer = doc.add_timeout_callback(self._on_timer, max(int(self.clock.wait(time.monotonic()) * 1000), 1))

    def _on_timer(self) -> None:
        self._timer = None
        self._tick()

    def _tick(self) -> None:
        """Send the frame that is due, if the browser has painted the last one; it is asked again when it has."""
        clock = self.clock
        if clock.due(time.monotonic()) is not None:
            if self._is_newest():
                self.to_end()
            self._guard(lambda: told("this moment could not be drawn", lambda: self.show(words=not clock.playing)))
        if not clock.full:
            self.arm()

    def look(self, level_id: str | None = None) -> tuple[Viewport, int]:
        """What is looked at, or would be at another level, and the tick in the middle."""
        s, before = self.session, self.frame
        assert s is not None
        look = resolve(s, self.state, at_ns=s.ladder.start_ns + self.clock.position * NS, level_id=level_id)
        same = before is not None and before.look.level_id == look.level_id and before.look.session is s
        had = before.centre if before is not None and same else None
        return look, middle(had, look.k_ref if look.known else None, s.last_tick(look.now_ns), look.rows)

    def show(self, *, words: bool) -> None:
        """Send one frame. One that fails leaves the clock standing at the one before, and the next is painted whole."""
        if self.session is None:
            return
        try:
            self._show(self.session, words=words)
        except Exception:
            now = time.monotonic()
            self.clock.play(False, now)
            if self.frame is not None and self.frame.look.session is self.session:
                self.clock.seek(self.frame.t, now)
                self.revealed = self.frame.seen > self.frame.t
            self.pictures.forget()
            self.deck.now = {**self.deck.now, "playing": False, "answered": self.answered}
            raise

    def _show(self, session: Session, *, words: bool) -> None:
        st, t, seconds = self.state, self.clock.position, session.ladder.seconds
        look, centre = self.look()
        span = st.span_min * 60 or seconds
        low, high = stretch(t, span, seconds)
        # What is panned to stays until the clock moves, unless it moves within it.
        moved = self.frame is not None and self.frame.t != t
        if self.panned is not None and moved and not self.panned[0] <= t <= self.panned[1]:
            self.panned = None
        panned, seen = self.panned is not None, t
        if self.panned is not None:
            low, high = self.panned
        if self.revealed:
            if not panned and span < seconds:
                # As much after the moment as before it.
                high = min(t + span // 2, seconds)
                low = max(high - span, 0)
            seen = max(min(high, session.known_seconds), t)
        slab, forming = self.slab_at(look, centre, low, seen), None
        if self.clock.following and not words and isinstance(session, LiveSession):
            forming = session.forming(slab.low, slab.high)
        frame = Frame(look, t, low, high, centre, slab, seen, panned, forming)
        now, every_s = time.monotonic(), max(int(self.clock.speed / 4), 1)
        self.pictures.marks_on = st.marks == "on"
        self.pictures.paint(
            frame, st.palette, float(st.half_life_s), now, playing=self.clock.moves, dots=st.dots, every_s=every_s
        )  # fmt: skip
        self.frame = frame
        if words:
            self._said(frame, True)
        elif self.clock.following:
            self._said(frame, False)
        elif now - self._words_at >= WORDS_EVERY_S and self.clock.sent - self._words_sent >= WORDS_EVERY_FRAMES:
            self._words_at, self._words_sent = now, self.clock.sent
            self._said(frame, False)
        if not self.clock.moves:
            # First what is shown, so that the state's cursor is not taken for a jump, and painted twice.
            self.shown_ns = look.now_ns
            st.cursor_ts_ns = look.now_ns
        if self.deck.window_s != st.window_s:
            self.deck.window_s = st.window_s
        self.deck.now = {
            "n": self.clock.frame(now), "at": t, "clock": axes.clock(look.now_ns), "playing": self.clock.moves,
            "following": self.clock.following, "revealed": self.revealed, "speed": SPEEDS.index(self.clock.speed),
            "answered": self.answered, "live": self.pictures.new,
        }  # fmt: skip

    def slab_at(self, look: Viewport, centre: int, low: int, seen: int) -> known.Slab:
        """The stretch of the ladder that holds what is shown, read again where it does not."""
        s, st, t, span = look.session, self.state, look.second, self.state.span_min * 60 or look.session.ladder.seconds
        layer, half, top_at = LAYERS[st.layer], float(st.half_life_s), known.scale_time(t, known.first_known(s))
        need, low = look.rows + look.step, max(low, 0)
        had = self.frame.slab if self.frame is not None and self.frame.look.session is s else None
        if (
            had is not None and had.key == (look.step, layer.key, half, top_at)
            and had.begin <= low and max(t, seen) <= had.end and had.low <= centre - need and centre + need <= had.high
        ):  # fmt: skip
            had.reach(s)
            return had
        # Room for a few jumps of the picture to a price that runs away.
        reach = look.rows + max(2 * look.rows, 16) + look.step
        # Half a span ahead, so that few frames have to read; the seconds ahead stay on the server.
        ahead = max(span // 2, 60)
        begin, end = max(t // ahead * ahead - span, 0), min((t // ahead + 1) * ahead, s.ladder.seconds)
        # On a grid of prices, so that levels beside each other are in one slab.
        grid = max(look.rows // look.step, 1) * look.step
        mid = round(centre / grid) * grid
        return known.slab(
            s, min(begin, low), max(end, t, seen), (mid - reach) // look.step * look.step, mid + reach, look.step, layer.key,
            half, top_at,
        )  # fmt: skip
