"""The replay's player: the clock, the frame that is due, and what it needs of the session; the view around it turns acts into calls."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn

from engine.params import FeatureParams
from engine.session import Session, level_title, tick_at
from engine.sessions import to_ns
from engine.vocab import NS
from workbench.plots import axes
from workbench.plots.heatmap import LAYERS
from workbench.state import LevelState
from workbench.theme import THEMES
from workbench.views import replay_data
from workbench.views.replay_data import SPEEDS, Frame, ReplayClock, middle, stretch
from workbench.views.replay_figures import Deck, ReplayPictures, ReplayWords
from workbench.views.viewport import Viewport, step_ticks

WORDS_EVERY_S, WORDS_EVERY_FRAMES = 0.25, 5
"""While it plays, a part of the words follows the picture so often, and so all of them once a second: faster nobody reads. No more often
than after so many frames, so that a machine under load paints frames rather than words."""

BEFORE_TOUCH_S = 60
"""A jump to a touch ends so long before it: what leads to it is what a replay is watched for."""


class Player:
    """Sends frames of `session` while the browser keeps up; `guard` runs what may fail, and shows what the engine has to say."""

    def __init__(self, state: LevelState, guard: Callable[[Callable[[], object]], None]) -> None:
        self.state, self._guard = state, guard
        self.session: Session | None = None
        self.clock = ReplayClock(1)
        self.frame: Frame | None = None
        self.shown_ns: int | None = None
        self.answered = 0
        self.doc: Any = None
        self.pictures = ReplayPictures(THEMES[state.theme], 0.25)
        self.deck = Deck(speeds=[f"{s:g}x" for s in SPEEDS], css_classes=["sm-deck"], margin=0, sizing_mode="stretch_width")
        self.words = ReplayWords(state, self.deck)
        self.deck.param.watch(lambda e: self._on_painted(e.new), "painted")
        self._slab: replay_data.Slab | None = None
        self._slab_key: tuple[Any, ...] = ()
        self._timer: Any = None
        self._words_at, self._words_sent = 0.0, 0

    def open(self, session: Session, cursor_ts_ns: int | None) -> None:
        """Go to an instant of `session`, or to the open."""
        self.session = session
        # Frames are counted on: the browser's last acknowledgement holds for the new session too.
        self.clock = ReplayClock(session.ladder.seconds, speed=self.clock.speed, sent=self.clock.sent, acked=self.clock.acked)
        self.seek(self.open_second() if cursor_ts_ns is None else self._second(cursor_ts_ns))
        self.pictures.forget()

    def open_second(self) -> int:
        """The stock market's open, or the session's start where it is not in it."""
        assert self.session is not None
        at = self._second(to_ns(self.session.date, dt.time(9, 30)))
        return at + 1 if 0 <= at < self.session.ladder.seconds else 1

    def _second(self, ts_ns: int) -> int:
        assert self.session is not None
        return int(ts_ns - self.session.ladder.start_ns) // NS

    # --- where it is

    def seek(self, t: int) -> None:
        """Go to second `t`."""
        self.clock.seek(t, time.monotonic())

    def seek_ns(self, ts_ns: int) -> None:
        """Go to an instant."""
        self.seek(self._second(ts_ns))

    def play(self, on: bool) -> None:
        """Start or stop."""
        self.clock.play(on, time.monotonic())

    def set_speed(self, index: int) -> None:
        """Play at the `index`-th of the speeds."""
        self.clock.set_speed(SPEEDS[index], time.monotonic())

    def limit(self, ts_ns: int | None) -> None:
        """Play no further than to an instant; None: to the session's end."""
        if self.session is not None:
            self.clock.limit = None if ts_ns is None else self._second(ts_ns)

    def to_touch(self, way: int) -> bool:
        """Go to before the next touch of the level, or to before an earlier one (`way` < 0); False where there is none."""
        assert self.session is not None
        at, t = replay_data.touches(self.session, self.state.level) - BEFORE_TOUCH_S, self.clock.position
        found = np.sort(at[(at > 0) & ((at > t) if way > 0 else (at < t))])
        if not found.size:
            return False
        self.play(False)
        self.seek(int(found[0] if way > 0 else found[-1]))
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
            self._guard(lambda: self.show(words=not clock.playing))
        if not clock.full:
            self.arm()

    def _look(self) -> tuple[Viewport, int]:
        """What is looked at, and the tick in the middle."""
        st, s, t = self.state, self.session, self.clock.position
        assert s is not None
        params = FeatureParams(window_s=st.window_s, zones=st.zones())
        frame = s.level(st.level)
        now = s.ladder.start_ns + t * NS
        # Of the second that has just ended: what begins now is not known yet.
        tick, before = tick_at(frame, now - 1), self.frame
        same = before is not None and before.look.level_id == st.level and before.look.session is s
        centre = middle(before.centre if before is not None and same else None, tick, s.last_tick(now), st.rows)
        look = Viewport(
            s, st.level, level_title(st.level), frame, s.windows(st.level, params), params, now,
            tick if tick is not None else centre, tick is not None, step_ticks(st, s.ladder.root), st.rows, 0, 0,
        )  # fmt: skip
        return look, centre

    def show(self, *, words: bool) -> None:
        """Send one frame."""
        if self.session is None:
            return
        st, t, seconds = self.state, self.clock.position, self.session.ladder.seconds
        look, centre = self._look()
        span = st.span_min * 60 or seconds
        low, high = stretch(t, span, seconds)
        frame = Frame(look, t, low, high, centre, self._slab_at(look, centre, t, low, span))
        now = time.monotonic()
        rows = self.pictures.paint(frame, st.palette, float(st.half_life_s), now, playing=self.clock.playing)
        self.frame = frame
        if words:
            self.words.paint(frame, rows)
        elif now - self._words_at >= WORDS_EVERY_S and self.clock.sent - self._words_sent >= WORDS_EVERY_FRAMES:
            self._words_at, self._words_sent = now, self.clock.sent
            self.words.paint_some(frame, rows)
        if not self.clock.playing:
            # First what is shown, so that the state's cursor is not taken for a jump, and painted twice.
            self.shown_ns = frame.now_ns
            st.cursor_ts_ns = frame.now_ns
        self.deck.now = {
            "n": self.clock.frame(now), "at": t, "clock": axes.clock(frame.now_ns), "playing": self.clock.playing,
            "speed": SPEEDS.index(self.clock.speed), "answered": self.answered, "live": self.pictures.new,
        }  # fmt: skip

    def _slab_at(self, look: Viewport, centre: int, t: int, low: int, span: int) -> replay_data.Slab:
        """The stretch of the ladder that holds what is shown, read again where it does not."""
        s, st, layer, half = look.session, self.state, LAYERS[self.state.layer], float(self.state.half_life_s)
        need, top_at = look.rows + look.step, replay_data.scale_time(t)
        key = (s, look.step, layer.key, st.half_life_s, top_at, span)
        had = self._slab if key == self._slab_key else None
        if had and had.begin <= low and t <= had.end and had.low <= centre - need and centre + need <= had.high:
            return had
        # Room for a few jumps of the picture to a price that runs away.
        reach = look.rows + max(2 * look.rows, 16) + look.step
        # Half a span ahead, so that few frames have to read; the seconds ahead stay on the server.
        ahead = max(span // 2, 60)
        begin, end = max(t // ahead * ahead - span, 0), min((t // ahead + 1) * ahead, s.ladder.seconds)
        top = replay_data.scale_top(s, layer, look.step, half, top_at)
        row_low = (centre - reach) // look.step * look.step
        slab = replay_data.Slab(s, min(begin, low), max(end, t), row_low, centre + reach, look.step, layer, top, half)
        self._slab, self._slab_key = slab, key
        return slab
