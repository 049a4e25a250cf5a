"""The Level view: one level, its pressure, its four conditions, and the sentence that sums them up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui
import polars as pl
from bokeh.events import RangesUpdate, Tap
from panel.viewable import Viewer
from param.parameterized import discard_events
from pydantic import ValidationError

from engine.errors import EngineError
from workbench import data
from workbench.plots import axes, conditions, ladder
from workbench.plots.coding import LAYERS
from workbench.plots.legend import legend_html
from workbench.plots.sentence import sentence
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import notices, view
from workbench.views.controls import drawer
from workbench.views.hands import Hands
from workbench.views.look import Look, level_items, resolve
from workbench.views.parts import Chips, Keys
from workbench.views.pictures import LADDER_CSS, LevelPictures
from workbench.views.style import PANE_CSS

CUBE = {"window_s", "step", "half_life_s", "rows", "level", "far"}
"""Parameters whose change asks the ladder for another slice."""

STALE_EVERY_MS = 15_000


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
        self.complaints = complaints
        self.trouble: list[str] = []
        self.pictures = LevelPictures(THEMES[state.theme], 0.25)
        self._build()
        self._wire()
        if state.contract and state.session and data.in_memory(root, state.contract, dt.date.fromisoformat(state.session)):
            self._guard(self._open)  # the first message holds the whole picture: no second layout in the browser

    # --- what the page is made of

    def _build(self) -> None:
        fill: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}
        styled: dict[str, Any] = {"stylesheets": [PANE_CSS]}
        self.level_chips = Chips(label="Level", margin=0, sizing_mode="stretch_width")
        self.layer_chips = Chips(
            label="Heatmap layer", small=True, margin=0, width=440, value=self.state.layer,
            items=[{"id": la.key, "label": la.title, "title": la.meaning} for la in LAYERS.values()],
        )  # fmt: skip
        self.any_price = pmui.TextInput(
            label="Any price", placeholder="6800.25", width=120, margin=(0, 0, 0, 8), size="small", sx={"& input": {"fontSize": "14px"}}
        )
        self.sentence = pn.pane.HTML("", **styled, **fill)
        self.notice = pn.pane.HTML("", visible=False, **styled, **fill)
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.when = pn.pane.HTML("", margin=(0, 4, 0, 12), **styled)
        self.words = pn.pane.HTML("", styles=LADDER_CSS, margin=0)
        self.keys = Keys(width=0, height=0, margin=0, theme=self.state.theme)
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
            pn.Row(self.level_chips, self.any_price, margin=(0, 0, 4, 0), sizing_mode="stretch_width"),
            self.sentence,
            pn.Row(self.layer_chips, self.legend, margin=(2, 0, 2, 0), sizing_mode="stretch_width"),
            pn.Row(chart_fig, ladder_fig, margin=0, sizing_mode="stretch_both", min_height=300),
            pn.Row(pn.Column(strip_fig, overview_fig, **fill), self.words, **fill),
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
        st.param.watch(self._on_state, [p for p in st.param if p != "name"])
        self.level_chips.param.watch(lambda e: st.param.update(level=e.new), "value")
        self.layer_chips.param.watch(lambda e: st.param.update(layer=e.new), "value")
        self.any_price.param.watch(lambda e: self._on_price(e.new), "value")
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
        self._write_url()
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self._check_stale, period=STALE_EVERY_MS)

    def _open(self) -> None:
        st = self.state
        if st.contract is None or st.session is None:
            self.empty.object = notices.nothing(self.root)
            return
        self.session = data.load(self.root, st.contract, dt.date.fromisoformat(st.session))
        self.shown = None
        try:
            data.level_frame(self.session, st.level)
        except EngineError as e:
            there = [i for i in data.ordered_level_ids(self.session) if i in set(self.session.levels["level_id"])]
            stand_in = there[0] if there else f"price:{self._last_price():g}"
            self.complaints.append(f"{e}; {data.level_title(stand_in)} stands in its place")
            with discard_events(st):
                st.level = stand_in
        self._draw(None)
        self.empty.visible = False
        self.drawing.visible = True

    def _last_price(self) -> float:
        assert self.session is not None
        tick = data.last_tick(self.session, self.session.ladder.end_ns)
        return 0.0 if tick is None else self.session.ladder.root.to_price(tick)

    def _on_state(self, *events: Any) -> None:
        names = {e.name for e in events}
        if names & {"contract", "session"}:
            if "contract" in names:
                dates = data.contracts(self.root).get(self.state.contract, [])
                self.state.param["session"].objects = dates
                if self.state.session not in dates:
                    self.state.session = dates[0] if dates else None
                    return
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
            self.keys.theme = st.theme
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
        if everything or moved or names & (CUBE | {"at", "near", "mid"}):
            pics.paint_prices(look)
        if everything or names & {"level", "window_s", "at", "near", "mid", "far"}:
            pics.paint_conditions(look)
        had = self.loaded
        self._cube(look)
        if everything or moved or had != self.loaded or names & (CUBE | {"layer", "palette", "theme"}):
            self._paint_heat(look)
        self._paint_now(look)

    def _cube(self, look: Look) -> Any:
        """The slice that is loaded; another one only where what is shown leaves it."""
        rows, lad = (look.high - look.low) // look.step + 1, look.session.ladder
        key = (look.session.stamp, rows, look.params.window_s)
        inside = (
            self.loaded[0] <= max(look.start_ns, lad.start_ns + look.window_ns)
            and min(look.end_ns, lad.end_ns - look.window_ns) <= self.loaded[1]
        )
        if key != self._loaded_key or not inside:
            self._loaded_key = key
            self.loaded = data.loaded_span(look.session, look.start_ns, look.end_ns, rows, look.params.window_s)
        start, end = self.loaded
        return data.cube(look.session, start, end, look.low, look.high, look.params.window_s, look.step, float(self.state.half_life_s))

    def _paint_heat(self, look: Look) -> None:
        layer = LAYERS[self.state.layer]
        samples = data.samples(look.session, look.params.window_s, look.step, float(self.state.half_life_s))
        self.pictures.paint_heat(look, self._cube(look), layer, samples, self.state.palette)
        self.legend.object = legend_html(layer, self.pictures.top, self.pictures.palette, THEMES[self.state.theme], look.params.window_s)

    def _rows(self, look: Look) -> pl.DataFrame:
        cube = self._cube(look)
        at = int((look.now_ns - int(cube["window_start_ts_ns"][0])) // look.window_ns)
        rows = ladder.rows_at(cube.isel(window=[min(max(at, 0), cube.sizes["window"] - 1)]), 0)
        return rows.filter((pl.col("tick") >= look.k_ref - look.rows - look.step) & (pl.col("tick") <= look.k_ref + look.rows))

    def _paint_now(self, look: Look) -> None:
        """Cursor, ladder, sentence, distances and conditions in words: what changes as time moves."""
        s, theme = look.session, THEMES[self.state.theme]
        rows = self._rows(look)
        self.pictures.paint_cursor(look, rows)
        row = look.row()
        z = look.params.zones
        valid = row is not None and bool(row["book_valid"])
        text = sentence(
            look.title, look.k_ref, rows, tick_size=s.tick_size, near=z.near, far=z.far,
            approach=str(row["approach"]) if row is not None and valid else None,
            distance=row["distance_ticks"] if row is not None and valid else None,  # type: ignore[arg-type]
            why="nothing has traded yet" if valid else f"the book is not valid at {axes.clock(look.now_ns)}",
        )  # fmt: skip
        if not look.known:
            begin = axes.clock(int(look.frame["start_ts_ns"][0]))
            text = f"{look.title}: not known yet at {axes.clock(look.now_ns)}; it stands from {begin} on."
        self.sentence.object = notices.sentence(text)
        self.words.object = conditions.words_html(row, theme)
        last = data.last_tick(s, look.now_ns + look.window_ns)
        self.when.object = notices.when(axes.clock(look.now_ns), axes.clock(look.now_ns + look.window_ns), last, s.tick_size, theme)
        self._paint_chips(look, last)
        self._write_url()

    def _write_url(self) -> None:
        if pn.state.location is not None:
            pn.state.location.search = "?" + urlencode(self.state.query(), safe=":")

    def _paint_chips(self, look: Look, last: int | None) -> None:
        colours = css_variables(THEMES[self.state.theme])
        self.level_chips.param.update(items=level_items(look, last), value=look.level_id, colors=colours)
        self.layer_chips.param.update(value=self.state.layer, colors=colours)

    def _check_stale(self) -> None:
        s = self.session
        if s is not None and data.stamp(self.root, s.symbol, s.date) != s.stamp:
            self._show_notice(stale=True)
