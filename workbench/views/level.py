"""The Level view: one level, its pressure, its four conditions, and the sentence that sums them up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import panel as pn
import polars as pl
from bokeh.events import RangesUpdate, Tap
from panel.viewable import Viewer
from param.parameterized import discard_events
from pydantic import ValidationError

from engine.errors import EngineError, UnknownLevel
from engine.vocab import NS
from workbench import data
from workbench.plots import ladder
from workbench.plots.coding import LAYERS
from workbench.plots.legend import legend_html
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import notices, view
from workbench.views.controls import drawer
from workbench.views.form import Form
from workbench.views.hands import Hands
from workbench.views.look import Look, resolve
from workbench.views.parts import Chips, Keys
from workbench.views.pictures import LADDER_CSS, LevelPictures
from workbench.views.style import PANE_CSS
from workbench.views.words import Words

CUBE = {"window_s", "step", "half_life_s", "rows", "level"}
"""Parameters whose change asks the ladder for another slice."""

ALL = {p for p in LevelState.param if p != "name"}

PAINT = {"layer", "palette"}
"""Parameters that only choose what the heatmap shows of the slice, and in which colours."""

HALF_DAY_NS = 12 * 3600 * NS
STALE_EVERY_MS = 15_000
FOLLOW_AFTER_MS = 30
"""The words follow the picture so much later: in one message with it they would hold it up."""
PREPARE_AFTER_MS, PREPARE_EVERY_MS = 1_000, 150


@view("level", "Level")
class LevelView(Hands, Viewer):
    """The first screen. `state` is the tab's state, `root` the lake."""

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(**params)
        self.root, self.state = root, state
        self.session: data.Session | None = None
        self.look: Look | None = None
        self.shown: tuple[int, int] | None = None
        self.loaded: tuple[int, int] = (0, 0)
        self._loaded_key: tuple[Any, ...] = ()
        self.pool = 1
        self.complaints = complaints
        self.trouble: list[str] = []
        self._due: set[str] = set()
        self._following = False
        self._prepared: set[str] = set()
        self.active = True
        self._missed: set[str] = set()
        self.pictures = LevelPictures(THEMES[state.theme], 0.25)
        self._build()
        self._wire()
        if state.contract and state.session and data.in_memory(root, state.contract, dt.date.fromisoformat(state.session)):
            self._guard(self._open)  # the first message holds the whole picture: no second layout in the browser

    # --- what the page is made of

    def _build(self) -> None:
        fill: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}
        styled: dict[str, Any] = {"stylesheets": [PANE_CSS]}
        self.words = Words()
        self.layer_chips = Chips(
            label="Heatmap layer", small=True, margin=0, width=440, value=self.state.layer,
            items=[{"id": la.key, "label": la.title, "title": la.meaning} for la in LAYERS.values()],
        )  # fmt: skip
        self.any_price = Form(
            row=True, margin=(0, 0, 0, 8), fields=[{"name": "price", "kind": "text", "label": "Any price", "hint": "Any price"}]
        )
        self.notice = pn.pane.HTML("", visible=False, **styled, **fill)
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.keys = Keys(width=0, height=0, margin=0)
        chart_fig, ladder_fig, strip_fig, overview_fig = (pn.pane.Bokeh(f, margin=0) for f in self.pictures.figures)
        for pane, mode in (
            (chart_fig, "stretch_both"),
            (strip_fig, "stretch_width"),
            (overview_fig, "stretch_width"),
            (ladder_fig, "stretch_both"),
        ):
            pane.sizing_mode = mode  # type: ignore[assignment]
        ladder_fig.styles = LADDER_CSS
        self.drawing = pn.Column(
            pn.Row(self.words.levels, self.any_price, margin=(0, 0, 4, 0), sizing_mode="stretch_width"),
            self.words.sentence,
            pn.Row(self.layer_chips, self.legend, margin=(2, 0, 2, 0), sizing_mode="stretch_width"),
            pn.Row(chart_fig, ladder_fig, margin=0, sizing_mode="stretch_both", min_height=300),
            pn.Row(pn.Column(strip_fig, overview_fig, **fill), self.words.conditions, **fill),
            sizing_mode="stretch_both", margin=0, visible=False,
        )  # fmt: skip
        self.empty = pn.pane.HTML(notices.loading(self.root), **styled, sizing_mode="stretch_both", margin=0)
        self.page_body = pn.Column(
            self.keys,
            self.notice,
            self.empty,
            self.drawing,
            sizing_mode="stretch_both",
            margin=0,
            css_classes=["sm-body"],
            styles={"padding": "6px 8px 2px", "box-sizing": "border-box"},
        )

    def _wire(self) -> None:
        st = self.state
        st.param.watch(self._on_state, [p for p in st.param if p not in ("name", "view", "horizon")])
        self.words.levels.param.watch(lambda e: st.param.update(level=e.new), "value")
        self.layer_chips.param.watch(lambda e: st.param.update(layer=e.new), "value")
        self.any_price.param.watch(lambda e: self._on_price(e.new["value"], e.new["n"]), "changed")
        self.keys.param.watch(lambda e: self._on_key(e.new), "pressed")
        fig = self.pictures.chart.figure
        for f in (fig, self.pictures.strip.figure, self.pictures.overview.figure):
            f.on_event(Tap, self._on_tap)
        fig.on_event(RangesUpdate, self._on_ranges)
        self.pictures.ladder.figure.on_change("inner_height", self._on_height)

    def controls(self) -> list[Any]:
        """The drawer's widgets."""
        return drawer(self.state)

    def __panel__(self) -> pn.Column:
        return self.page_body

    # --- from the state to the picture

    def start(self) -> None:
        """Read the lake and draw; called once the page stands."""
        if self.look is None:
            self._guard(self._open)
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self._check_stale, period=STALE_EVERY_MS)

    def _prepare(self) -> None:
        """Compute the windows of one more level, so that going to it shows it at once; one at a time, to stay out of the trader's way."""
        s, doc = self.session, pn.state.curdoc
        if s is None or self.look is None or doc is None:
            return
        ids = [i for i in data.ordered_level_ids(s) if i in set(s.levels["level_id"]) and i not in self._prepared]
        if ids:
            self._prepared.add(ids[0])
            data.vacuum(s, ids[0], self.look.params)
            if ids[0] in data.KEY_LEVELS:
                tick = data.tick_at(data.level_frame(s, ids[0]), self.look.now_ns)
                if tick is not None and tick != self.look.k_ref:
                    self._cube(replace(self.look, level_id=ids[0], k_ref=tick))
            doc.add_timeout_callback(self._prepare, PREPARE_EVERY_MS)

    def _open(self) -> None:
        st = self.state
        if st.contract is None or st.session is None:
            self.empty.object = notices.nothing(self.root)
            return
        self.session = data.load(self.root, st.contract, dt.date.fromisoformat(st.session))
        self.shown = None
        ladder_of = self.session.ladder
        if st.cursor_ts_ns is not None and not ladder_of.start_ns - HALF_DAY_NS < st.cursor_ts_ns < ladder_of.end_ns + HALF_DAY_NS:
            with discard_events(st):
                st.cursor_ts_ns = None  # left over from another session
        try:
            data.level_frame(self.session, st.level)
        except EngineError as e:
            there = [i for i in data.ordered_level_ids(self.session) if i in set(self.session.levels["level_id"])]
            stand_in = there[0] if there else f"price:{self._last_price():g}"
            self.complaints.append(f"{e}; {data.level_title(stand_in)} stands in its place")
            with discard_events(st):
                st.level = stand_in
        self._draw(None)
        self._prepared.clear()
        if pn.state.curdoc is not None:
            pn.state.curdoc.add_timeout_callback(self._prepare, PREPARE_AFTER_MS)
        self.empty.visible = False
        self.drawing.visible = True

    def _last_price(self) -> float:
        assert self.session is not None
        tick = data.last_tick(self.session, self.session.ladder.end_ns)
        return 0.0 if tick is None else self.session.ladder.root.to_price(tick)

    @property
    def header(self) -> Any:
        """Time and last price, for the header."""
        return self.words.when

    def front(self, on: bool) -> None:
        """A hidden view draws nothing; what changed meanwhile is drawn when it comes back."""
        self.keys.active = self.active = on
        if on and self._missed:
            names, self._missed = self._missed, set()
            self._changed(names)

    def _on_state(self, *events: Any) -> None:
        names = {e.name for e in events}
        if self.active:
            self._changed(names)
        else:
            self._missed |= names

    def _changed(self, names: set[str]) -> None:
        if names & {"contract", "session"}:
            if "cursor_ts_ns" not in names:
                with discard_events(self.state):
                    self.state.cursor_ts_ns = None
            self._guard(self._open)
        else:
            self._guard(lambda: self._draw(names))

    def _guard(self, act: Callable[[], None]) -> None:
        """Run `act`; what the engine has to say is shown as a notice, and the last good picture stays."""
        self.trouble = []
        try:
            with pn.io.hold():
                act()
        except ValidationError as e:
            self.trouble = [f"Not applied: {err['msg'].removeprefix('Value error, ')}" for err in e.errors()]
        except EngineError as e:
            self.trouble = [str(e)]
            if isinstance(e, UnknownLevel) and self.look is not None:
                # The picture stays at the level it shows, and so does the state: what is changed next applies to it.
                with discard_events(self.state):
                    self.state.level = self.look.level_id
                self.words.levels.value = self.look.level_id
            if self.session is None:
                self.empty.object = notices.failed(self.root, str(e))
                self.trouble = []  # said once, in the middle of the page
        self._show_notice()

    def _show_notice(self, stale: bool = False) -> None:
        lines = [*self.trouble, *self.complaints, *(self.session.notes if self.session else ())]
        self.notice.object = notices.banner(lines, stale=stale)
        self.notice.visible = bool(lines) or stale

    def _draw(self, names: set[str] | None) -> None:
        """Repaint what `names` (parameters that changed; None for all) asks for."""
        if self.session is None:
            return
        st, s, pics = self.state, self.session, self.pictures
        everything = names is None
        names = names or set()
        if "span_min" in names:
            self.shown = None
        before, look = self.look, resolve(s, st, self.shown)
        self.look = look
        if st.cursor_ts_ns != look.now_ns:
            # From now on the time stays where it is while the trader goes from level to level.
            with discard_events(st):
                st.cursor_ts_ns = look.now_ns
        if "theme" in names:
            pics.dress(THEMES[st.theme])
        if everything or "theme" in names:
            pics.paint_session(look)
        elif "level" in names:
            pics.paint_levels(look)
        if everything or (look.start_ns, look.end_ns) != self.shown:
            self.shown = (look.start_ns, look.end_ns)
            pics.paint_span(look)
        elif names & {"level", "theme"}:
            pics.paint_names(look)
        moved = before is None or before.k_ref != look.k_ref
        if everything or moved or names & (CUBE | {"at", "near", "mid", "far"}):
            pics.paint_prices(look)
        had = self.loaded
        self._cube(look)
        if everything or moved or had != self.loaded or names & (CUBE | {"layer", "palette", "theme"}):
            self._paint_heat(look)
        if everything or names - PAINT:
            self._paint_now(look)
        self._follow_soon(None if everything else names)

    def _cube(self, look: Look) -> Any:
        """The slice that is loaded; another one only where what is shown leaves it."""
        rows, lad = (look.high - look.low) // look.step + 1, look.session.ladder
        pool = data.pooled(look.start_ns, look.end_ns, rows, look.params.window_s)
        key = (look.session.stamp, rows, look.params.window_s, pool)
        inside = (
            self.loaded[0] <= max(look.start_ns, lad.start_ns + look.window_ns)
            and min(look.end_ns, lad.end_ns - look.window_ns) <= self.loaded[1]
        )
        if key != self._loaded_key or not inside:
            self._loaded_key, self.pool = key, pool
            self.loaded = data.loaded_span(look.session, look.start_ns, look.end_ns, rows, look.params.window_s)
        start, end = self.loaded
        return data.cube(look.session, start, end, look.low, look.high, look.params.window_s, look.step, float(self.state.half_life_s))

    def _paint_heat(self, look: Look) -> None:
        layer = LAYERS[self.state.layer]
        top = data.scale_top(look.session, layer, look.params.window_s, look.step, float(self.state.half_life_s))
        self.pictures.paint_heat(look, self._cube(look), layer, top, self.state.palette, self.pool)
        self.legend.object = legend_html(layer, self.pictures.top, self.pictures.palette, THEMES[self.state.theme], look.params.window_s)

    def _rows(self, look: Look) -> pl.DataFrame:
        cube = self._cube(look)
        at = int((look.now_ns - int(cube["window_start_ts_ns"][0])) // look.window_ns)
        rows = ladder.rows_at(cube, min(max(at, 0), cube.sizes["window"] - 1))
        return rows.filter((pl.col("tick") >= look.k_ref - look.rows - look.step) & (pl.col("tick") <= look.k_ref + look.rows))

    def _paint_now(self, look: Look) -> None:
        """Cursor and ladder: what changes as time moves."""
        self.pictures.paint_cursor(look, self._rows(look))

    def _follow_soon(self, names: set[str] | None) -> None:
        """Let words and strip follow the picture; at once where the picture itself does not change."""
        self._due = ALL if names is None else self._due | names
        doc = pn.state.curdoc
        if names is None or doc is None or not names & CUBE:
            self._follow()
        elif not self._following:
            self._following = True
            doc.add_timeout_callback(self._follow_later, FOLLOW_AFTER_MS)

    def _follow_later(self) -> None:
        self._following = False
        self._guard(self._follow)

    def _follow(self) -> None:
        """Repaint what surrounds the picture, for all changes since the last time."""
        names, self._due = self._due, set()
        look = self.look
        if look is None or not names:
            return
        if names & {"level", "window_s", "at", "near", "mid", "far", "theme"}:
            self.pictures.paint_conditions(look)
        if names & {"level", "theme"}:
            self.pictures.paint_overview(look)
        if names - PAINT:
            self.words.paint(look, self._rows(look), THEMES[self.state.theme])
        self.layer_chips.param.update(value=self.state.layer, colors=css_variables(THEMES[self.state.theme]))

    def _check_stale(self) -> None:
        s = self.session
        if s is not None and data.stamp(self.root, s.symbol, s.date) != s.stamp:
            self._show_notice(stale=True)
