"""The Level view: one level, its pressure, its four conditions and the sentence that sums them up, on one clock that stands, plays,
or follows a session under way.

What is known is what lies before the clock, standing and playing alike; the browser holds nothing of what comes after, unless the trader
asks for it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, ClassVar

import panel as pn
import polars as pl
from bokeh.events import RangesUpdate, Tap

from engine.errors import EngineError, NoData, UnknownLevel
from engine.levels import level_ids
from engine.live.session import LiveSession
from engine.session import level_title
from engine.vocab import NS
from workbench import lakes, own_levels, session_cache
from workbench.assets import style
from workbench.export import Table, cube_frame, to_text
from workbench.plots import axes, decision
from workbench.plots.heatmap import LAYERS
from workbench.state import ASKED, PANELS, LevelState
from workbench.theme import THEMES
from workbench.views import components, known, shared_clock, view
from workbench.views.base import PageView
from workbench.views.components import (
    BOTH,
    FILL,
    Form,
    ThemeSwitcher,
    html,
    text_field,
)  # fmt: skip
from workbench.views.controls import LEVEL_KEYS, drawer
from workbench.views.drill import Drill
from workbench.views.follow import Follow
from workbench.views.hedging import Hedging
from workbench.views.journal import Journal
from workbench.views.known import Frame
from workbench.views.level_figures import NAMES
from workbench.views.level_words import Words
from workbench.views.morning import Morning
from workbench.views.outcomes import Outcomes, question_fields
from workbench.views.own_level_form import OwnLevels
from workbench.views.player import SPEEDS, Player
from workbench.views.save import save_control
from workbench.views.time_and_sales import TimeAndSales
from workbench.views.viewport import Viewport, clamp_to_session, forget_time, link_to, on_grid, resolve

SHOWN = frozenset(p for p in LevelState.param if p not in {"name", "view", "section", *ASKED})
"""Parameters of the tab that change this view."""

STALE_EVERY_MS = 15_000

OWN_ACTS = frozenset({"copy", "tape", "share"})
"""What a window with one panel does by itself; all else is done by the page whose clock it follows."""

AHEAD_AFTER_MS, AHEAD_EVERY_MS = 1_000, 150
"""Other levels are made ready so long after the last change, one at a time: to go to one then shows it at once."""


@view("level", "Level", keys=LEVEL_KEYS)
class LevelView(PageView):
    """The first screen."""

    follows: ClassVar[frozenset[str]] = SHOWN

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(root, state, complaints, **params)
        self.drill: Drill | None = None
        self.player = Player(state, lambda act: self.guard(act, keep=True), self._said)
        self.pictures = self.player.pictures
        self.outcomes = Outcomes(root, state, self._on_verdict)
        self.live = Follow(
            root, self.player, reopen=lambda: self.guard(self.open, keep=True), look_again=lambda: self.outcomes.follow(self.look),
            grey=self._grey, tell=self._on_feed, follows=self._follows, guard=lambda act: self.guard(act, keep=True),
        )  # fmt: skip
        self.words = Words(state, self.outcomes)
        self.own = OwnLevels(self, self.player, self.refresh)
        self.journal = Journal(root, state, lambda: self.look, self.guard, lambda: "" if self.drill is None else self.drill.asking)
        self.hedging = Hedging(state, self.pictures, self.words.say)
        self.tape = TimeAndSales(state, lambda: self.player.frame)
        self.clock: shared_clock.SharedClock | None = None
        self._newest: shared_clock.Moment | None = None
        self._holder_follows = False
        self._ready: set[str] = set()
        self._timer: Any = None
        self._build()
        self._watch()
        if state.contract and state.session and session_cache.in_memory(root, state.contract, dt.date.fromisoformat(state.session)):
            self.guard(self.open)  # the first message holds the whole picture: no second layout in the browser

    @property
    def look(self) -> Viewport | None:
        """What is looked at; None before the first picture."""
        return self.player.frame.look if self.player.frame is not None else None

    def _build(self) -> None:
        words, pictures, deck = self.words, self.pictures, self.player.deck
        self.header, deck.figures = pn.Row(self.live.badge, words.when, margin=0), NAMES
        deck.panels = [list(p) for p in PANELS.items()]
        self.any_price = Form(row=True, margin=(0, 0, 0, 8), fields=[text_field("price", "Any price", "Any price")])
        self.themes = ThemeSwitcher(width=0, height=0, margin=0)
        bars, chart, ladder, strip = (components.figure_pane(f, **BOTH) for f in pictures.figures)
        self.beside = pn.Column(**FILL)

        def column(name: str, upper: Any, *lower: Any) -> pn.Column:
            return pn.Column(upper, pn.Column(*lower, margin=0, **components.layout("sm-lower")), **components.layout(name), **BOTH)

        self.charts: Any = pn.Row(
            column("sm-candles", bars, words.conditions),
            column("sm-heat", chart, pn.Column(strip, **components.layout("sm-strip"), **BOTH), words.nearest.pane),
            column("sm-ladder", ladder, self.outcomes.pane), min_height=240, stylesheets=[style("layout")], **BOTH,
        )  # fmt: skip
        self.drawing = pn.Column(
            pn.Row(words.levels, self.any_price, margin=(0, 0, 2, 0), sizing_mode="stretch_width"),
            words.decision,
            words.say,
            pn.Row(words.layer_chips, words.legend, margin=(0, 0, 2, 0), sizing_mode="stretch_width"),
            self.charts,
            self.beside,
            deck,
            pictures.live, **BOTH,
        )  # fmt: skip
        self.picture = pn.Row(self.drawing, self.tape.panel, visible=False, **BOTH)
        if self.state.panel:
            panes = {f.name: pane for f, pane in zip(pictures.figures, (bars, chart, ladder, strip), strict=True)}
            self._build_window({"tape": self.tape.panel, "heat": panes.pop("level_chart"), **panes}[self.state.panel])
        self.empty, self.morning = html(components.loading_html(self.root), **BOTH), Morning()
        styles = {"padding": "6px 8px 2px", "box-sizing": "border-box"}
        self.body = pn.Column(
            self.themes, self.notices.banner, self.empty, self.morning, self.picture, css_classes=["sm-body"], styles=styles, **BOTH
        )  # fmt: skip

    def _build_window(self, panel: Any) -> None:
        """One panel with its moment in words and the clock, in the place of the whole picture."""
        deck, figures = self.player.deck, {"heat": "level_chart"}
        name = figures.get(self.state.panel, self.state.panel)
        deck.figures = {k: v for k, v in NAMES.items() if k == name}
        deck.window, deck.clock = PANELS[self.state.panel], self.state.clock
        told: Any = self.words.say
        if panel is self.tape.panel:
            told = self.words.when
            self.put(tape="on")
            panel.param.update(width=None, **BOTH)
        else:
            panel.param.update(styles={"flex": "1 1 auto"}, **BOTH)
        # Beside the heatmap the ladder has its prices from there.
        self.pictures.ladder.figure.yaxis.visible = True
        # In a narrow window what is said stands below the badge.
        told.styles = {"flex": "1 1 360px"}
        said, self.header = pn.Row(self.live.badge, told, styles={"flex-wrap": "wrap"}, **FILL), None
        self.charts = pn.Column(panel, stylesheets=[style("layout")], **BOTH)
        self.drawing.objects = [said, self.charts, deck, self.pictures.live]
        self.picture.objects = [self.drawing]

    def _watch(self) -> None:
        self.player.deck.param.watch(lambda e: self._on_act(e.new), "acted")
        self.player.deck.param.watch(lambda _: self._follow_newest(), "painted")
        self.words.levels.param.watch(lambda e: self._on_chip(e.new), "value")
        self.live.badge.param.watch(lambda _: self._ask_or_act("end", 0), "back")
        self.morning.param.watch(lambda _: self.state.param.trigger("session"), "instead")
        self.live.badge.param.watch(lambda e: self._on_alert(e.new), "jump")
        self.words.nearest.pane.param.watch(lambda _: self.state.param.update(view="neighbours"), "opened")
        self.any_price.param.watch(lambda e: self._on_price(e.new["value"], e.new["n"]), "changed")
        bars, chart, ladder, strip = self.pictures.figures
        for fig in (chart, strip):
            fig.on_event(Tap, self._on_tap)
        chart.on_event(RangesUpdate, self._on_ranges)
        ladder.on_change("inner_height", self._on_height)
        bars.on_change("inner_width", lambda _, old, new: self._resized(width=new))

    def controls(self) -> list[Any]:
        """The drawer's widgets."""
        save = save_control(lambda: [*level_tables(self), self.tape.table(), self.own.table()])
        mine = drawer(self.state, *question_fields(self.state))
        return [*self.own.controls(), *self.journal.controls(), *self.hedging.controls(), *mine, save]

    # --- its life

    def start(self) -> None:
        """Read the lake and draw; called once the page is there."""
        self.player.doc = pn.state.curdoc
        if self.state.panel and self.state.clock:
            self.share(self.state.clock)
        if self.look is None:
            self.guard(self.open)
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self._check_stale, period=STALE_EVERY_MS)

    def open(self) -> None:
        """Open the session that the state names, at its moment, or where price was nearest to the level."""
        st = self.state
        s = None if st.awaits else components.session_of(self.root, st)
        if s is None:
            self.empty.object = components.empty_lake_html(self.root)
            self._wait()
            self.live.wait(self._began, self._wait)
            return
        said = clamp_to_session(st, s)
        look = resolve(s, st)
        if not look.known and not st.level.startswith("price:") and st.level not in known.known_levels(s, look.second):
            lacks = known.unknown(s, st.level, look.second)
            said.append(f"{look.title}: {'not yet, ' if lacks.yet else ''}{lacks.why}")
        self.notices.complaints += said
        self.player.open(s, look.now_ns)
        self.hedging.open(s, self.charts)
        if s.under_way and st.cursor_ts_ns is None:
            self.player.to_end()
        self.live.opened()
        if self.drill is not None:
            self.drill.opened(s.symbol, s.date.isoformat())
            self.journal.refresh()
        self.notices.read(s.notes)
        self._show()
        self.empty.visible = self.morning.visible = False
        self.picture.visible = True

    def _wait(self) -> None:
        """Show what the session that is recorded needs, and when it begins; where nothing is recorded, how to fill the lake."""
        st = self.state
        self.morning.look(self.root, "" if st.contract is None or st.session is None else f"{st.contract} {st.session}")
        self.empty.visible = not self.morning.visible

    def _began(self) -> None:
        """The session that was waited for has something to show."""
        there = lakes.contracts(self.root)
        contract = next(iter(there))
        self.state.awaits = False
        self.state.param["contract"].objects, self.state.param["session"].objects = list(there), there[contract]
        self.state.param.update(contract=contract, session=there[contract][0])
        if self.player.session is None:
            self.open()

    def rest(self) -> bool:
        """A hidden clock does not play."""
        self._listen(False)
        self.live.stop()
        if self.player.clock.playing:
            self.player.play(False)
        return self.player.session is None  # a session that begins is waited for again

    def back(self) -> None:
        """What is asked of similar setups may have changed elsewhere."""
        self._listen(True)
        self.live.opened()
        self.outcomes.follow(self.look)

    def _listen(self, on: bool) -> None:
        self.player.deck.active = self.themes.active = on
        self.outcomes.front(on)
        if self.drill is not None:
            self.drill.front(on)

    def changed(self, names: set[str]) -> None:
        """Repaint what these parameters ask for."""
        self._listen(True)
        self.live.opened()
        st, player = self.state, self.player
        if names & {"contract", "session"}:
            st.awaits = False
        if names == {"cursor_ts_ns"} and st.cursor_ts_ns == player.shown_ns:
            return
        forget_time(st, names)
        if player.session is None or names & {"contract", "session"}:
            self.open()
            return
        if st.refused:
            self.notices.trouble.append(st.refused)
            st.refused = ""
        if "level" in names:
            self.notices.trouble += on_grid(st, player.session)
        if "cursor_ts_ns" in names and st.cursor_ts_ns is not None and st.cursor_ts_ns != player.shown_ns:
            player.seek_ns(st.cursor_ts_ns)
        if "span_min" in names:
            player.panned = None
        self._apply_theme()
        self._show()

    def _apply_theme(self) -> None:
        # Not by name: the theme may have changed while this was hidden, together with the session.
        pics, theme = self.pictures, THEMES[self.state.theme]
        if pics.theme is not theme:
            pics.apply_theme(theme)
            if self.player.clock.moves:
                pics.forget()

    def refresh(self) -> None:
        """Show the level's names and lines again: the trader's own levels have changed."""
        self._show()

    def _show(self) -> None:
        """Show what the state and the clock ask for now."""
        self._apply_theme()
        self.player.show(words=True)
        frame = self.player.frame
        if frame is None:
            return
        # A file of own levels that cannot be read takes nothing else from the picture.
        lacks = own_levels.lacks(frame.look.session)
        self.notices.notes = (*frame.look.session.notes, *([lacks] if lacks else []))
        self.pictures.paint_volume(frame, self.state.volume == "on")
        self._send_themes()
        if not self.player.clock.moves and not self.state.panel:
            self.outcomes.follow(frame.look)
            self._ready.clear()
            self._soon(AHEAD_AFTER_MS)

    def _said(self, frame: Frame, all_of_it: bool) -> None:
        if frame.forming is not None:
            self.words.paint_price(frame)
            return
        self.words.paint(frame, self.player.deck, self.pictures.palette, all_of_it=all_of_it)
        self.hedging.paint(frame, moves=self.player.clock.moves)
        self.tape.paint(frame)
        self._tell()

    def _on_verdict(self) -> None:
        self.live.answered(self.outcomes.found)
        frame = self.player.frame
        if frame is not None:
            self.words.paint_decision(frame)
            if not self.outcomes.waiting:
                self.words.record.follow(frame.look, self._on_record)

    def _on_record(self) -> None:
        # While it plays the next words have it anyway.
        if not self.player.clock.moves:
            self._show()

    def _send_themes(self) -> None:
        """Have both themes' colours in the page: those of the figures, and those of the heatmap's layer."""
        palettes = self.pictures.palettes(LAYERS[self.state.layer], self.state.palette)
        self.themes.param.update(palettes=palettes, looks=self.pictures.looks())

    def failed(self, error: EngineError) -> None:
        """What was asked for cannot be shown: contract, session, level and time go back to what is."""
        look, st = self.look, self.state
        if look is None:
            self.empty.object = components.failed(self.root, str(error))  # said once, in the middle of the page
            return
        s = look.session
        said = str(error)
        if isinstance(error, UnknownLevel) and st.level in level_ids() and st.level != look.level_id:
            # Why it is absent is known only at the session's end.
            said = f"{level_title(st.level)}: not known at this time"
        self.notices.trouble.append(said)
        if (st.contract, st.session) != (s.symbol, s.date.isoformat()):
            dates = lakes.contracts(self.root).get(s.symbol, [])
            # The session that is drawn is in the picker, though its files may be gone by now.
            st.param["session"].objects = list(dict.fromkeys([*dates, s.date.isoformat()]))
            self.put(contract=s.symbol, session=s.date.isoformat(), cursor_ts_ns=look.now_ns, level=look.level_id)
            self.player.open(s, look.now_ns)
            self._show()
        elif isinstance(error, UnknownLevel):
            self.put(level=look.level_id)
        self.words.levels.value = look.level_id

    # --- other levels, made ready while the trader does nothing

    def _soon(self, ms: int) -> None:
        doc = pn.state.curdoc
        if doc is None:
            return
        if self._timer is not None:
            doc.remove_timeout_callback(self._timer)
        self._timer = doc.add_timeout_callback(lambda: self.guard(self._make_ready, keep=True), ms)

    # --- one clock for several windows (`workbench.views.shared_clock`)

    @property
    def doc(self) -> Any:
        """The page's document."""
        return self.player.doc

    def share(self, name: str) -> None:
        """Hold the clock of that name, or follow it where this is a window of its own."""
        first, self.clock = self.clock is None, shared_clock.named(self.root, name)
        if self.state.panel:
            self.clock.join(self)
        else:
            self.clock.hold(self)
        if first and self.doc is not None:
            self.doc.on_session_destroyed(lambda _: self.clock.leave(self) if self.clock is not None else None)

    def _tell(self) -> None:
        """Have the windows follow, where this page has some."""
        if self.clock is not None and not self.state.panel:
            self.clock.tell()

    def moment(self) -> shared_clock.Moment | None:
        """What the windows of this page's clock shall show."""
        look, clock = self.look, self.player.clock
        if look is None:
            return None
        s, speed = look.session, SPEEDS.index(clock.speed)
        return shared_clock.Moment(
            s.symbol, s.date.isoformat(), look.level_id, look.now_ns, self.state.theme, clock.moves, clock.following, self.player.revealed,
            speed,
        )  # fmt: skip

    def _follows(self) -> bool:
        """Whether the newest second is shown, by this page or by the one that holds this window's clock."""
        return self._holder_follows if self.state.panel and self.clock is not None and self.clock.held else self.player.clock.following

    def follow(self, moment: shared_clock.Moment) -> None:
        """Show a moment of the page that holds the clock; where the browser is behind, the newest once it has painted."""
        st, player, self._newest, self._holder_follows = self.state, self.player, None, moment.following
        if player.clock.full:
            self._newest = moment
            return

        def show() -> None:
            if player.session is None or (player.session.symbol, str(player.session.date)) != (moment.contract, moment.session):
                st.param["session"].objects = lakes.contracts(self.root)[moment.contract]
                self.put(contract=moment.contract, session=moment.session, level=moment.level, cursor_ts_ns=moment.ts_ns)
                self.open()
            self.put(level=moment.level, theme=moment.theme)
            self._apply_theme()
            player.seek_ns(moment.ts_ns)
            player.show(words=True)
            now = {"playing": moment.playing, "following": moment.following, "revealed": moment.revealed, "speed": moment.speed}
            player.deck.now = {**player.deck.now, **now}

        self.guard(show, keep=True)

    def _follow_newest(self) -> None:
        if self._newest is not None:
            self.follow(self._newest)

    def _make_ready(self) -> None:
        self._timer = None
        look, player = self.look, self.player
        if look is None or player.clock.moves or not self.active or player.frame is None:
            return
        there = known.known_levels(look.session, look.second)
        todo = next((i for i in (*session_cache.KEY_LEVELS, *there) if i in there and i not in self._ready), None)
        if todo is None:
            return
        self._ready.add(todo)
        other, centre = player.look(todo)
        known.strip(other.session, todo, other.params)
        if todo in session_cache.KEY_LEVELS:
            player.slab_at(other, centre, player.frame.low, player.frame.seen)
        self._soon(AHEAD_EVERY_MS)

    # --- what the trader does with mouse and keyboard

    def _on_act(self, act: dict[str, Any]) -> None:
        player, name, value = self.player, act["name"], act["value"]
        player.answered = int(act["n"])
        if player.session is None:
            player.deck.now = {**player.deck.now, "answered": player.answered}
            return
        try:
            self._ask_or_act(name, value)
        finally:
            # The deck waits for its answer: without one, no key and no button would work any more.
            if player.deck.now.get("answered") != player.answered:
                player.deck.now = {**player.deck.now, "answered": player.answered}

    def _ask_or_act(self, name: str, value: Any) -> None:
        """Have the page do it that holds this window's clock, or else do it here."""
        clock = self.clock if self.state.panel and name not in OWN_ACTS else None
        if clock is None or not clock.ask(name, value):
            self.act(name, value)

    def act(self, name: str, value: Any) -> None:
        """Do what the trader did with a key or a button of the transport, here or in a window of this page's clock."""
        player = self.player
        acts: dict[str, Callable[[], object]] = {
            "play": lambda: player.play(bool(value)),
            "step": lambda: player.seek(player.clock.position + int(value)),
            "seek": lambda: player.seek(int(value)),
            "speed": lambda: player.set_speed(int(value)),
            "touch": lambda: self._to_touch(int(value)),
            "open": lambda: player.seek(player.open_second()),
            "end": self._to_end,
            "reveal": lambda: self._reveal(bool(value)),
            "level": lambda: self._choose_level(session_cache.KEY_LEVELS[int(value) - 1]),
            "layer": lambda: self._next_layer(int(value)),
            "tape": lambda: self._turn_tape(int(value)),
            "copy": lambda: self._copy(str(value)),
            "share": lambda: self.share(str(value)),
            "fit": lambda: self.pictures.fit_prices(bool(value)),
            "drill": self._open_drill,
            "call": lambda: self._call(str(value)),
        }

        def act_and_show() -> None:
            acts[name]()
            if player.clock.playing:
                player.show(words=False)
                self._tell()
            else:
                self._show()

        self.guard(act_and_show)
        player.arm()

    def _to_end(self) -> None:
        self.live.opened()  # what failed is tried again
        self.player.to_end()

    def _reveal(self, on: bool) -> None:
        self.player.reveal(on)
        if on and not self.player.revealed:
            self.notices.trouble = ["What came after is shown once the drill's question is called"]

    def _turn_tape(self, times: int) -> None:
        if times % 2:
            self.put(tape="off" if self.state.tape == "on" else "on")

    def _copy(self, what: str) -> None:
        """Give the browser what it puts on the clipboard."""
        look = self.look
        if look is None:
            raise NoData("nothing is shown yet that could be copied; open a session first")
        tables = {t.key: t for t in [*level_tables(self), self.tape.table()]}
        clock = axes.clock(look.now_ns)
        if what == "link":
            text, said = "?" + link_to(look, self.state), f"Link to {clock} copied"
        elif what == "sentence":
            text, said = decision.statement(look.standing(), brief=True), f"Sentence of {clock} copied"
        else:
            text, said = to_text(tables[what].make()[0], clock)
        self.player.deck.copied = {"what": what, "text": text, "said": said, "n": self.player.answered}

    def _on_alert(self, at: str) -> None:
        """To the moment of an alert; so that it can be chosen again, it is forgotten."""
        session = self.player.session
        if at.isdecimal() and session is not None:
            self.live.badge.jump = ""
            self._ask_or_act("seek", (int(at) - session.ladder.start_ns) // NS)

    def _on_feed(self, text: str) -> None:
        self.notices.feed = text
        self.notices.show()

    def _grey(self, is_old: bool) -> None:
        self.charts.css_classes = ["sm-old"] if is_old else []

    def _to_touch(self, way: int) -> None:
        if not self.player.to_touch(way):
            within = "this session" if self.player.clock.limit is None else "what the drill's question shows"
            self.notices.trouble = [f"No {'later' if way > 0 else 'earlier'} touch of {level_title(self.state.level)} in {within}"]

    def _next_layer(self, way: int) -> None:
        layers = list(LAYERS)
        self.put(layer=layers[(layers.index(self.state.layer) + way) % len(layers)])

    def _on_chip(self, level_id: str) -> None:
        def choose() -> None:
            self._choose_level(level_id)
            self._show()

        if level_id != self.state.level:
            self.guard(choose)

    def _choose_level(self, level_id: str) -> None:
        session = self.player.session
        if not level_id or level_id == self.state.level or session is None:
            return
        t = self.player.clock.position
        if level_id.startswith("price:") or level_id in known.known_levels(session, t):
            self.put(level=level_id)
        else:
            # The same words for one that will be and one that never is: which of them it is nobody knows yet.
            lacks = known.unknown(session, level_id, t)
            self.notices.trouble = [f"{level_title(level_id)}: {'not yet, ' if lacks.yet else ''}{lacks.why}"]

    def _open_drill(self) -> None:
        if self.drill is None:
            now = self.player

            def limit(ts_ns: int | None) -> None:
                now.limit(ts_ns)
                self.journal.refresh()

            self.drill = Drill(self.root, self.state, limit, self.beside.clear, lambda: now.clock.position * NS + now.start_ns)
        self.beside.objects = [self.drill.panel]
        self.player.play(False)
        self.drill.start()

    def _call(self, what: str) -> None:
        if self.drill is not None:
            self.drill.call(what)

    def _on_height(self, attr: str, old: int, new: int) -> None:
        self._resized(height=new)

    def _resized(self, **px: int) -> None:
        self.pictures.resize(**px)

        def again() -> None:
            if self.player.frame is not None and not self.player.clock.moves:
                self.guard(lambda: self.player.show(words=False), keep=True)

        if pn.state.loaded:
            again()
        else:
            # A picture that is painted before the page is laid out might never reach it: Panel drops what a hold gathers until then.
            pn.state.onload(again)

    def _on_price(self, text: str, n: int) -> None:
        self.any_price.answered = n
        session = self.player.session
        if not text or session is None:
            return

        def take() -> None:
            self.state.level, said = own_levels.own_price(text, session, self.player.clock.position)
            self.notices.trouble += [said] if said else []

        self.guard(take)

    def _on_tap(self, event: Any) -> None:
        # Only the chart's height is a price.
        session, priced = self.player.session, event.model is self.pictures.chart.figure
        if session is not None and priced and event.y is not None and (event.modifiers or {}).get("shift"):
            self.guard(lambda: self.own.add(axes.price_text(round(event.y), session.tick_size)))
        elif session is not None and event.x is not None:
            second = (axes.ns_of_x(event.x, session.day_ns) - session.ladder.start_ns) // NS
            self._ask_or_act("seek", second)

    def _on_ranges(self, event: Any) -> None:
        frame = self.player.frame
        if frame is None or self.player.clock.moves:
            return
        lad, day = frame.look.session.ladder, frame.look.session.day_ns
        low, high = ((axes.ns_of_x(x, day) - lad.start_ns) // NS for x in (event.x0, event.x1))
        if high - low < 10:
            return
        if (low, high) == (frame.low, frame.high):
            self.guard(lambda: self.pictures.paint_lines(frame), keep=True)  # the price axis may have moved
            return
        self.player.panned = int(low), int(high)
        self.guard(lambda: self.player.show(words=False), keep=True)

    def _check_stale(self) -> None:
        """Say when the lake has changed since this was drawn, or cannot be read any more."""
        s, changed = self.player.session, "The lake has changed since this was drawn"
        if s is None or isinstance(s, LiveSession):
            return
        try:
            self.notices.stale = "" if lakes.stamp(self.root, s.symbol, s.date) == s.stamp else f"{changed}."
        except (EngineError, OSError) as e:
            self.notices.stale = f"{changed}, and cannot be read any more: {e}"
        self.notices.show()


def level_tables(view: LevelView) -> list[Table]:
    """What can be saved: the level's windows, the ladder at the clock, and the cube of what is shown, each with the state it is of.

    All of it ends at the clock.
    """

    def table(key: str, label: str, frame: Callable[[Frame], pl.DataFrame], **more: Callable[[], Any]) -> Table:
        def make() -> tuple[pl.DataFrame, dict[str, Any]]:
            shown = view.player.frame
            if shown is None:
                raise NoData("nothing is shown yet that could be saved; open a session first")
            look = shown.look
            s, p = look.session, look.params
            begin, end = (s.ladder.start_ns + min(max(t, 0), shown.t) * NS for t in (shown.low, shown.high))
            return frame(shown), {
                "lake": view.root, "contract": s.symbol, "session": s.date.isoformat(), "level": look.level_id, "level_tick": look.k_ref,
                "tick_size": s.tick_size, "cursor_ts_ns": look.now_ns, "window_s": p.window_s, "zones": p.zones.model_dump(),
                "shown_start_ts_ns": begin, "shown_end_ts_ns": end, "step_ticks": look.step, "simulated": s.simulated,
                **{k: value() for k, value in more.items()},
            }  # fmt: skip

        return Table(key, label, make)

    def windows(shown: Frame) -> pl.DataFrame:
        look = shown.look
        return look.windows.filter(pl.col("window_start_ts_ns") <= look.now_ns - look.window_ns)

    def ladder(shown: Frame) -> pl.DataFrame:
        look = shown.look
        return session_cache.ladder_at(
            look.session, look.now_ns, look.k_ref, look.rows + look.step, look.params.window_s, look.step, float(view.state.half_life_s)
        )  # fmt: skip

    def cube(shown: Frame) -> pl.DataFrame:
        look, w = shown.look, shown.look.window_ns
        lad = look.session.ladder
        begin = -(-(lad.start_ns + max(shown.low, 0) * NS) // w) * w
        end = (lad.start_ns + min(shown.high, shown.t) * NS) // w * w
        if end <= begin:
            raise NoData("no window has ended in what is shown; move the chart or the clock")
        low, high = shown.centre - look.rows, shown.centre + look.rows
        return cube_frame(look.session.cube(begin, end, low, high, look.params.window_s, look.step, float(view.state.half_life_s)))

    return [
        table("windows", "Windows of the level: features and conditions", windows),
        table("ladder", "Ladder at the clock", ladder),
        table("cube", "Time x price, as shown", cube, half_life_s=lambda: float(view.state.half_life_s)),
    ]
