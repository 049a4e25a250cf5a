"""The Replay view: a session played again, all panes in step; the browser holds nothing of what comes after the replay's time."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import panel as pn
import polars as pl
from panel.viewable import Viewer
from param.parameterized import discard_events
from pydantic import ValidationError

from engine.errors import EngineError, UnknownLevel
from engine.ladder import NO_TICK
from engine.params import FeatureParams
from engine.vocab import NS
from workbench import data
from workbench.plots import axes, conditions
from workbench.plots.coding import LAYERS
from workbench.plots.legend import legend_html
from workbench.plots.sentence import sentence
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import notices, view
from workbench.views import replay_past as past
from workbench.views.controls import drawer
from workbench.views.drill import Drill
from workbench.views.look import Look, step_ticks
from workbench.views.parts import Chips
from workbench.views.replay_clock import SPEEDS, ReplayClock
from workbench.views.replay_deck import Deck
from workbench.views.replay_pictures import LADDER_CSS, Frame, ReplayPictures, stretch
from workbench.views.style import PANE_CSS

BEFORE_TOUCH_S = 60
"""A jump to a touch ends so long before it: what leads to it is what a replay is watched for."""

WORDS_EVERY_S = 0.3
"""While it plays, words follow the picture so often: faster nobody reads."""

TRACK_EVERY_S = 20
"""The scrubber's path has a point for so many seconds."""


@view("replay", "Replay")
class ReplayView(Viewer):
    """Replay of a session around a level. `state` is the tab's state, `root` the lake."""

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(**params)
        self.root, self.state, self.complaints = root, state, complaints
        self.session: data.Session | None = None
        self.clock = ReplayClock(1)
        self.frame: Frame | None = None
        self.slab: past.Slab | None = None
        self._slab_key: tuple[Any, ...] = ()
        self.trouble: list[str] = []
        self._timer: Any = None
        self._words_at = 0.0
        self._answered = 0
        self._track_key: tuple[Any, ...] = ()
        self.doc: Any = None
        self.active = True
        self._missed: set[str] = set()
        self.drill: Drill | None = None
        self._shown_ns: int | None = None
        self.pictures = ReplayPictures(THEMES[state.theme], 0.25)
        self._build()
        self.deck.param.watch(lambda e: self._on_act(e.new), "acted")
        self.deck.param.watch(lambda e: self._on_painted(e.new), "painted")
        self.levels.param.watch(lambda e: self._choose_level(e.new), "value")
        self.layer_chips.param.watch(lambda e: state.param.update(layer=e.new), "value")
        self.pictures.ladder.figure.on_change("inner_height", self._on_height)
        state.param.watch(self._on_state, [p for p in LevelState.param if p not in ("name", "view", "horizon")])

    # --- what the view is made of

    def _build(self) -> None:
        fill: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}
        self.deck = Deck(speeds=[f"{s:g}x" for s in SPEEDS], css_classes=["sm-deck"], **fill)
        self.levels = Chips(label="Level", **fill)
        self.say = pn.pane.HTML("", stylesheets=[PANE_CSS], **fill)
        self.notice = pn.pane.HTML("", visible=False, stylesheets=[PANE_CSS], **fill)
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.conditions = pn.pane.HTML("", styles=LADDER_CSS, margin=0)
        self.layer_chips = Chips(
            label="Heatmap layer", small=True, margin=0, width=440, value=self.state.layer,
            items=[{"id": la.key, "label": la.title, "title": la.meaning} for la in LAYERS.values()],
        )  # fmt: skip
        chart, ladder, strip = (pn.pane.Bokeh(f, margin=0) for f in self.pictures.figures)
        chart.sizing_mode = ladder.sizing_mode = "stretch_both"
        strip.sizing_mode = "stretch_width"
        ladder.styles = LADDER_CSS
        self.beside = pn.Column(margin=0, sizing_mode="stretch_width")
        self.drawing = pn.Column(
            pn.Row(self.levels, margin=(0, 0, 4, 0), sizing_mode="stretch_width"),
            self.say,
            self.deck,
            self.beside,
            pn.Row(self.layer_chips, self.legend, margin=(4, 0, 2, 0), sizing_mode="stretch_width"),
            pn.Row(chart, ladder, margin=0, sizing_mode="stretch_both", min_height=280),
            pn.Row(strip, self.conditions, **fill),
            sizing_mode="stretch_both", margin=0, visible=False,
        )  # fmt: skip
        self.empty = pn.pane.HTML(notices.loading(self.root), stylesheets=[PANE_CSS], sizing_mode="stretch_both", margin=0)
        self.body = pn.Column(self.notice, self.empty, self.drawing, margin=0, sizing_mode="stretch_both", styles=BODY)

    def __panel__(self) -> Any:
        return self.body

    def start(self) -> None:
        """Draw for the first time."""
        self.doc = pn.state.curdoc
        self._guard(self._open)

    def _open(self) -> None:
        st = self.state
        if st.contract is None or st.session is None:
            self.empty.object = notices.nothing(self.root)
            return
        s = self.session = data.load(self.root, st.contract, dt.date.fromisoformat(st.session))
        known = set(s.levels["level_id"].to_list())
        try:
            data.level_frame(s, st.level)
        except EngineError as e:
            stand_in = next((i for i in data.ordered_level_ids(s) if i in known), f"price:{self._price(s):g}")
            # Why it is absent is known only at the session's end: it is not said here.
            self.complaints.append(f"{data.level_title(st.level)} is not in this session; {data.level_title(stand_in)} stands in its place")
            if not isinstance(e, UnknownLevel):
                raise
            with discard_events(st):
                st.level = stand_in
        # Frames are counted on: the browser's last acknowledgement holds for the new session too.
        self.clock = ReplayClock(s.ladder.seconds, speed=self.clock.speed, sent=self.clock.sent, acked=self.clock.acked)
        at = self._open_second() if st.cursor_ts_ns is None else (st.cursor_ts_ns - s.ladder.start_ns) // NS
        self.clock.seek(at, time.monotonic())
        self.pictures.forget()
        self._show(words=True)
        self.empty.visible, self.drawing.visible = False, True

    def _price(self, s: data.Session) -> float:
        traded = s.ladder.last_tick[s.ladder.last_tick != NO_TICK]
        return s.ladder.root.to_price(int(traded[0])) if traded.size else 0.0

    def _open_second(self) -> int:
        """The stock market's open, or the session's start where it is not in it."""
        assert self.session is not None
        from engine.sessions import to_ns

        at = (to_ns(self.session.date, dt.time(9, 30)) - self.session.ladder.start_ns) // NS
        return int(at) + 1 if 0 <= at < self.session.ladder.seconds else 1

    # --- what the trader does

    def _on_height(self, attr: str, old: int, new: int) -> None:
        self.pictures.ladder_height = new
        if self.frame is not None and not self.clock.playing:
            self._guard(lambda: self._show(words=False))

    def _choose_level(self, level_id: str) -> None:
        if level_id and level_id != self.state.level:
            self.state.level = level_id

    def front(self, on: bool) -> None:
        """A hidden replay stands still; what changed meanwhile is shown when it comes back."""
        self.active = on
        if not on:
            self.clock.play(False, time.monotonic())
        elif self._missed:
            names, self._missed = self._missed, set()
            self._changed(names)

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        return drawer(self.state)

    def _on_state(self, *events: Any) -> None:
        names = {e.name for e in events}
        if names == {"cursor_ts_ns"} and self.state.cursor_ts_ns == self._shown_ns:
            return
        if self.active:
            self._changed(names)
        else:
            self._missed |= names

    def _changed(self, names: set[str]) -> None:
        st = self.state
        if "theme" in names:
            self.pictures.dress(THEMES[st.theme])
        if self.session is None or names & {"contract", "session"}:
            if "cursor_ts_ns" not in names:
                with discard_events(st):
                    st.cursor_ts_ns = None
            self._guard(self._open)
            return
        if "cursor_ts_ns" in names and st.cursor_ts_ns is not None and st.cursor_ts_ns != self._shown_ns:
            self._seek((st.cursor_ts_ns - self.session.ladder.start_ns) // NS)
        if names & {"palette"}:
            self.pictures.forget()
        self._guard(lambda: self._show(words=True))

    def _on_act(self, act: dict[str, Any]) -> None:
        if self.session is None:
            return
        name, value, now = act["name"], act["value"], time.monotonic()
        self._answered = int(act["n"])
        acts: dict[str, Callable[[], object]] = {
            "play": lambda: self.clock.play(bool(value), now),
            "step": lambda: self._seek(self.clock.position + int(value)),
            "seek": lambda: self._seek(int(value)),
            "speed": lambda: self.clock.set_speed(SPEEDS[int(value)], now),
            "touch": lambda: self._to_touch(int(value)),
            "open": lambda: self._seek(self._open_second()),
            "level": lambda: self._choose_level(data.KEY_LEVELS[int(value) - 1]),
        }

        def act_and_show() -> None:
            acts.get(name, lambda: self._on_drill(name, value))()
            self._show(words=not self.clock.playing)

        self._guard(act_and_show)
        self._arm()

    def _on_drill(self, name: str, value: Any) -> None:
        if name == "drill":
            if self.drill is None:
                self.drill = Drill(self.root, self.state, self._limit_to, self._close_drill)
            self.beside.objects = [self.drill.panel]
            self.clock.play(False, time.monotonic())
            self.drill.start()
        elif name == "call" and self.drill is not None:
            self.drill.call(str(value))

    def _limit_to(self, ts_ns: int | None) -> None:
        if self.session is not None:
            self.clock.limit = None if ts_ns is None else (ts_ns - self.session.ladder.start_ns) // NS

    def _close_drill(self) -> None:
        self.beside.objects = []

    def _seek(self, t: int) -> None:
        self.clock.seek(t, time.monotonic())

    def _to_touch(self, way: int) -> None:
        assert self.session is not None
        at = past.touches(self.session, self.state.level) - BEFORE_TOUCH_S
        at = at[at > 0]
        t = self.clock.position
        found = at[at > t] if way > 0 else at[at < t]
        if found.size:
            self.clock.play(False, time.monotonic())
            self._seek(int(found[0] if way > 0 else found[-1]))
        else:
            self.trouble = [f"No {'later' if way > 0 else 'earlier'} touch of {data.level_title(self.state.level)} in this session"]
            self._show_notice()

    # --- frames

    def _on_painted(self, n: int) -> None:
        self.clock.ack(n)
        if self.clock.playing:
            self._tick()

    def _arm(self) -> None:
        """Look again when the next frame can be due."""
        doc = self.doc or pn.state.curdoc
        if not self.clock.playing or self._timer is not None or doc is None:
            return
        wait = max(int(self.clock.wait(time.monotonic()) * 1000), 1)
        self._timer = doc.add_timeout_callback(self._on_timer, wait)

    def _on_timer(self) -> None:
        self._timer = None
        self._tick()

    def _tick(self) -> None:
        """Send the frame that is due, if the browser has painted the last one; it is asked again when it has."""
        clock = self.clock
        if clock.due(time.monotonic()) is not None:
            self._guard(lambda: self._show(words=not clock.playing))
        if not clock.full:
            self._arm()

    def _look(self) -> tuple[Look, int]:
        """What is looked at, and the tick in the middle."""
        st, s, t = self.state, self.session, self.clock.position
        assert s is not None
        params = FeatureParams(window_s=st.window_s, zones=st.zones())
        frame = data.level_frame(s, st.level)
        now = s.ladder.start_ns + t * NS
        # Of the second that has just ended: what begins now is not known yet.
        tick = data.tick_at(frame, now - 1)
        last = data.last_tick(s, now)
        had = None
        if self.frame is not None and self.frame.look.level_id == st.level and self.frame.look.session is s:
            had = self.frame.centre
        centre = middle(had, tick, last, st.rows)
        look = Look(
            s, st.level, data.level_title(st.level), frame, data.vacuum(s, st.level, params), params, now,
            tick if tick is not None else centre, tick is not None, step_ticks(st, s.ladder.root), st.rows, 0, 0,
        )  # fmt: skip
        return look, centre

    def _show(self, *, words: bool) -> None:
        """Send one frame."""
        if self.session is None:
            return
        st, s = self.state, self.session
        look, centre = self._look()
        t = self.clock.position
        span = st.span_min * 60 or s.ladder.seconds
        low, high = stretch(t, span, s.ladder.seconds)
        slab = self._slab_at(look, centre, t, low, span)
        frame = Frame(look, t, low, high, centre, slab)
        rows = self.pictures.paint(frame, st.palette, float(st.half_life_s))
        self.frame = frame
        now = time.monotonic()
        if words or now - self._words_at >= WORDS_EVERY_S:
            self._words_at = now
            self._paint_words(frame, rows)
        if not self.clock.playing:
            st.cursor_ts_ns = self._shown_ns = frame.now_ns
        self.deck.now = {
            "n": self.clock.frame(now), "at": t, "clock": axes.clock(frame.now_ns), "playing": self.clock.playing,
            "speed": SPEEDS.index(self.clock.speed), "answered": self._answered,
        }  # fmt: skip

    def _slab_at(self, look: Look, centre: int, t: int, low: int, span: int) -> past.Slab:
        """The stretch of the ladder that holds what is shown, read anew where it does not."""
        s, st, layer = look.session, self.state, LAYERS[self.state.layer]
        need = look.rows + look.step
        top_at = past.scale_time(t)
        key = (s, look.step, layer.key, st.half_life_s, top_at, span)
        slab = self.slab
        if slab is not None and key == self._slab_key and slab.begin <= low and t <= slab.end:
            inside = slab.low <= centre - need and centre + need <= slab.high
            if inside:
                return slab
        reach = look.rows + max(look.rows // 2, 8) + look.step
        lad = s.ladder
        # Half a span ahead, so that few frames have to read; the seconds ahead stay on the server.
        ahead = max(span // 2, 60)
        begin, end = max(t // ahead * ahead - span, 0), min((t // ahead + 1) * ahead, lad.seconds)
        begin = min(begin, low)
        top = past.scale_top(s, layer, look.step, float(st.half_life_s), top_at)
        row_low = (centre - reach) // look.step * look.step
        self.slab = past.slab(s, begin, max(end, t), row_low, centre + reach, look.step, layer, top, float(st.half_life_s))
        self.slab.low, self.slab.high = row_low, centre + reach
        self._slab_key = key
        theme = THEMES[st.theme]
        from workbench.plots.chart import palette_of

        html = legend_html(layer, top, palette_of(theme, layer, st.palette), theme, 1)
        if self.legend.object != html:
            self.legend.object = html
        return self.slab

    # --- words

    def _paint_words(self, frame: Frame, rows: pl.DataFrame) -> None:
        look, s, st = frame.look, frame.look.session, self.state
        theme = THEMES[st.theme]
        row = past.strip(s, look.level_id, look.params).row(frame.now_ns)
        zones = look.params.zones
        valid = row is not None and bool(row["book_valid"])
        if look.known:
            text = sentence(
                look.title, look.k_ref, rows, tick_size=s.tick_size, near=zones.near, far=zones.far,
                approach=str(row["approach"]) if row is not None and valid else None,
                distance=row["distance_ticks"] if row is not None and valid else None,  # type: ignore[arg-type]
                why="nothing has traded yet" if valid else f"no window of the book has ended by {axes.clock(frame.now_ns)}",
            )  # fmt: skip
        else:
            text = f"{look.title}: not known yet at {axes.clock(frame.now_ns)}."
        _set(self.say, notices.sentence(text))
        _set(self.conditions, conditions.words_html(row if look.known else None, theme))
        last = data.last_tick(s, frame.now_ns)
        self.levels.param.update(items=known_items(s, look.level_id, frame.t, last), value=look.level_id, colors=css_variables(theme))
        self.layer_chips.param.update(value=st.layer, colors=css_variables(theme))
        self._paint_track(frame)

    def _paint_track(self, frame: Frame) -> None:
        s, t = frame.look.session, frame.t
        found = past.touches(s, frame.look.level_id)
        passed = [int(x) for x in found[found < t]]
        key = (s, frame.look.level_id, t // TRACK_EVERY_S, len(passed))
        if key == self._track_key:
            return
        self._track_key = key
        points = [i for i in range(0, t, TRACK_EVERY_S) if s.ladder.last_tick[i] != NO_TICK]
        first = -(-s.ladder.start_ns // (1800 * NS)) * 1800 * NS
        hours = [[(h - s.ladder.start_ns) // NS, axes.clock(h, seconds=False)] for h in range(first, s.ladder.end_ns, 1800 * NS)]
        self.deck.track = {
            "seconds": s.ladder.seconds, "x": points, "y": [int(s.ladder.last_tick[i]) for i in points], "touches": passed, "hours": hours,
        }  # fmt: skip

    def _guard(self, act: Callable[[], object]) -> None:
        """Run `act`; what the engine has to say is shown as a notice, and the last good picture stays."""
        had, self.trouble = bool(self.trouble or self.notice.visible), []
        try:
            with pn.io.hold():
                act()
        except ValidationError as e:
            self.trouble = [f"Not applied: {err['msg'].removeprefix('Value error, ')}" for err in e.errors()]
        except (EngineError, ValueError) as e:
            self.trouble = [str(e)]
            if self.session is None:
                self.empty.object = notices.failed(self.root, str(e))
                self.trouble = []
        if had or self.trouble or self.complaints:
            self._show_notice()

    def _show_notice(self) -> None:
        lines = [*self.trouble, *self.complaints]
        text = notices.banner(lines) if lines else ""
        _set(self.notice, text)
        if self.notice.visible != bool(lines):
            self.notice.visible = bool(lines)


BODY = {"padding": "6px 10px", "box-sizing": "border-box", "gap": "0"}


def _set(pane: Any, text: str) -> None:
    if pane.object != text:
        pane.object = text


def middle(had: int | None, level: int | None, last: int | None, rows: int) -> int:
    """Tick in the middle of the price axis: the level, or the last trade where that is out of the level's picture.

    It stays at `had` while what matters is well inside, so that the picture does not jump.
    """
    if level is None and last is None:
        return had if had is not None else 0
    if last is None or (level is not None and abs(last - level) <= (rows * 5) // 8):
        assert level is not None
        return had if had is not None and abs(had - level) <= rows // 4 else level
    return had if had is not None and abs(last - had) <= rows // 2 else last


def known_items(session: data.Session, chosen: str, t: int, last: int | None) -> list[dict[str, object]]:
    """Chips of the levels that are known; the key levels that are not are there without a price, whatever becomes of them."""
    now = session.ladder.start_ns + t * NS
    known = past.known_levels(session, t)
    keys = list(data.KEY_LEVELS)
    ids = dict.fromkeys([*keys, *known, chosen])
    items: list[dict[str, object]] = []
    for i in ids:
        item: dict[str, object] = {"id": i, "label": data.level_title(i)}
        if i in keys:
            item["key"] = str(keys.index(i) + 1)
        tick = data.tick_at(data.level_frame(session, i), now - 1) if i in known or i == chosen else None
        if tick is not None:
            item["detail"] = axes.price_text(tick, session.tick_size)
            item["mark"] = "" if last is None else f"{tick - last:+d}t".replace("-", "−").replace("+0t", "0t")
            item["title"] = "ticks from the last trade to the level"
        elif i == chosen:
            item["mark"] = "not yet"
        else:
            item["absent"] = "not known at the replay's time"
        items.append(item)
    return items
