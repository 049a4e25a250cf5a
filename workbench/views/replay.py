"""The Replay view: a session played again, all panes in step; the browser holds nothing of what comes after the replay's time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
from param.parameterized import discard_events
from pydantic import ValidationError

from engine.errors import EngineError, UnknownLevel
from engine.ladder import NO_TICK
from engine.session import level_title
from workbench import session_cache
from workbench.plots import axes
from workbench.state import ASKED, LevelState
from workbench.theme import THEMES
from workbench.views import components, replay_data, view
from workbench.views.components import BOTH, FILL, LADDER_CSS, PageView, html
from workbench.views.controls import REPLAY_KEYS, replay_drawer
from workbench.views.drill import Drill
from workbench.views.replay_player import Player
from workbench.views.viewport import forget_time, on_grid, stand_in


@view("replay", "Replay", keys=REPLAY_KEYS)
class ReplayView(PageView):
    """Replay of a session around a level."""

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(root, state, complaints, **params)
        self._inside = 0
        self._missed: set[str] = set()
        self.drill: Drill | None = None
        self.player = Player(state, self._run)
        self._build()
        self.player.deck.param.watch(lambda e: self._on_act(e.new), "acted")
        self.player.words.levels.param.watch(lambda e: self._on_chip(e.new), "value")
        self.player.pictures.ladder.figure.on_change("inner_height", self._on_height)
        state.param.watch(self._on_state, [p for p in LevelState.param if p not in {"name", "view", "section", *ASKED}])

    def _build(self) -> None:
        pictures, words = self.player.pictures, self.player.words
        layouts: tuple[dict[str, Any], ...] = (BOTH, {**BOTH, "styles": LADDER_CSS}, FILL)
        chart, ladder, strip = (components.figure_pane(f, **layout) for f, layout in zip(pictures.figures, layouts))
        self.beside = pn.Column(**FILL)
        self.drawing = pn.Column(
            pn.Row(words.levels, margin=(0, 0, 4, 0), sizing_mode="stretch_width"),
            words.say,
            self.player.deck,
            self.beside,
            pn.Row(words.layer_chips, words.legend, margin=(4, 0, 2, 0), sizing_mode="stretch_width"),
            pn.Row(chart, ladder, min_height=280, **BOTH),
            pn.Row(strip, words.conditions, **FILL),
            pictures.live,
            visible=False, **BOTH,
        )  # fmt: skip
        self.empty = html(components.loading_html(self.root), **BOTH)
        styles = {"padding": "6px 10px", "box-sizing": "border-box", "gap": "0"}
        self.body = pn.Column(self.notices.banner, self.empty, self.drawing, styles=styles, **BOTH)

    def start(self) -> None:
        """Draw for the first time."""
        self.player.doc = pn.state.curdoc
        self._guard(self._open)

    def _open(self) -> None:
        st, s = self.state, components.session_of(self.root, self.state)
        if s is None:
            self.empty.object = components.empty_lake_html(self.root)
            return
        said: list[str] = []
        try:
            said += on_grid(st, s)
            s.level(st.level)
        except UnknownLevel:
            traded = s.ladder.last_tick[s.ladder.last_tick != NO_TICK]
            instead = stand_in(s, axes.price_text(int(traded[0]) if traded.size else 0, s.tick_size))
            # Why it is absent is known only at the session's end: it is not said here.
            said.append(f"{level_title(st.level)} is not in the session of {s.date}; {level_title(instead)} stands in its place")
            with discard_events(st):
                st.level = instead
        self.notices.read(tuple(said))
        self.player.open(s, st.cursor_ts_ns)
        if self.drill is not None:
            self.drill.opened(s.symbol, s.date.isoformat())
        self.player.show(words=True)
        self.empty.visible, self.drawing.visible = False, True

    def _on_height(self, attr: str, old: int, new: int) -> None:
        self.player.pictures.resize(new)
        if self.player.frame is not None and not self.player.clock.playing:
            self._guard(lambda: self.player.show(words=False))

    def _on_chip(self, level_id: str) -> None:
        if level_id != self.state.level:
            self._guard(lambda: self._choose_level(level_id))

    def _choose_level(self, level_id: str) -> None:
        session = self.player.session
        if not level_id or level_id == self.state.level or session is None:
            return
        t = self.player.clock.position
        if level_id.startswith("price:") or level_id in replay_data.known_levels(session, t):
            self.state.level = level_id
        else:
            # The same words for one that will be and one that never is: which of them it is nobody knows yet.
            lacks = replay_data.unknown(session, level_id, t)
            self.notices.trouble = [f"{level_title(level_id)}: {'not yet, ' if lacks.yet else ''}{lacks.why}"]

    def front(self, on: bool) -> None:
        """A hidden replay does not play; what changed meanwhile is shown when it comes back."""
        self.active = on
        if self.drill is not None:
            self.drill.front(on)
        if not on:
            self.player.play(False)
        elif self._missed:
            names, self._missed = self._missed, set()
            self._changed(names)

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        return replay_drawer(self.state)

    def _on_state(self, *events: Any) -> None:
        names = {e.name for e in events}
        if names == {"cursor_ts_ns"} and self.state.cursor_ts_ns == self.player.shown_ns:
            return
        if self.active:
            self._changed(names)
        else:
            self._missed |= names

    def _changed(self, names: set[str]) -> None:
        st, player = self.state, self.player
        if "theme" in names:
            player.pictures.apply_theme(THEMES[st.theme])
        if player.session is None or names & {"contract", "session"}:
            forget_time(st, names | {"session"})
            self._guard(self._open)
            return
        if "cursor_ts_ns" in names and st.cursor_ts_ns is not None and st.cursor_ts_ns != player.shown_ns:
            player.seek_ns(st.cursor_ts_ns)
        if "palette" in names:
            player.pictures.forget()

        def show() -> None:
            if st.refused:
                self.notices.trouble, st.refused = [st.refused], ""
            player.show(words=True)

        self._guard(show)

    def _on_act(self, act: dict[str, Any]) -> None:
        player = self.player
        if player.session is None:
            return
        name, value = act["name"], act["value"]
        player.answered = int(act["n"])
        acts: dict[str, Callable[[], object]] = {
            "play": lambda: player.play(bool(value)),
            "step": lambda: player.seek(player.clock.position + int(value)),
            "seek": lambda: player.seek(int(value)),
            "speed": lambda: player.set_speed(int(value)),
            "touch": lambda: self._to_touch(int(value)),
            "open": lambda: player.seek(player.open_second()),
            "level": lambda: self._choose_level(session_cache.KEY_LEVELS[int(value) - 1]),
        }

        def act_and_show() -> None:
            acts.get(name, lambda: self._on_drill(name, value))()
            player.show(words=not player.clock.playing)

        try:
            self._guard(act_and_show)
        finally:
            # The deck waits for its answer: without one, no key and no button would work any more.
            if player.deck.now.get("answered") != player.answered:
                player.deck.now = {**player.deck.now, "answered": player.answered}
        player.arm()

    def _to_touch(self, way: int) -> None:
        if not self.player.to_touch(way):
            self.notices.trouble = [f"No {'later' if way > 0 else 'earlier'} touch of {level_title(self.state.level)} in this session"]

    def _on_drill(self, name: str, value: Any) -> None:
        if name == "drill":
            if self.drill is None:
                self.drill = Drill(self.root, self.state, self.player.limit, self.beside.clear)
            self.beside.objects = [self.drill.panel]
            self.player.play(False)
            self.drill.start()
        elif name == "call" and self.drill is not None:
            self.drill.call(str(value))

    def _guard(self, act: Callable[[], object]) -> None:
        """Run `act` of the trader's; what the engine has to say is shown as a notice, and the last good picture stays."""
        if not self._inside:
            self.notices.act()
        self._run(act)

    def _run(self, act: Callable[[], object]) -> None:
        """As `_guard`, for a frame that came by itself: what was said of the trader's last act remains."""
        said = self.notices
        self._inside += 1
        try:
            with pn.io.hold():
                act()
        except ValidationError as e:
            said.trouble = [f"Not applied: {err['msg'].removeprefix('Value error, ')}" for err in e.errors()]
        except (EngineError, ValueError) as e:
            said.trouble = [self._level_back() or str(e)]
            if self.player.session is None:
                self.empty.object = components.failed(self.root, str(e))
                said.trouble = []
        finally:
            self._inside -= 1
        said.show()

    def _level_back(self) -> str:
        """A level that the session does not have gives way to the one that is shown; returns what is said of it, else nothing."""
        session, frame, st = self.player.session, self.player.frame, self.state
        if session is None or frame is None or frame.look.session is not session or st.level == frame.look.level_id:
            return ""
        try:
            session.level(st.level)
        except EngineError as e:
            # Why it is absent is known only at the session's end: only a price's own fault is said.
            said = str(e) if st.level.startswith("price:") else f"{level_title(st.level)}: not known at the replay's time"
            st.level = frame.look.level_id
            return said
        return ""
