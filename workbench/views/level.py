"""The Level view: one level, its pressure, its four conditions, and the sentence that sums them up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import panel as pn
import polars as pl
from bokeh.events import RangesUpdate, Tap
from panel.viewable import Viewer
from param.parameterized import discard_events

from engine.errors import EngineError, UnknownLevel
from workbench import data, scales
from workbench.plots.coding import LAYERS
from workbench.plots.legend import legend_html
from workbench.state import ASKED, BUCKETS, LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import notices, view
from workbench.views.arrival import arrive, on_grid
from workbench.views.banner import Notices
from workbench.views.controls import drawer
from workbench.views.hands import Hands
from workbench.views.keys_help import LEVEL_KEYS
from workbench.views.level_page import LevelPage
from workbench.views.look import Look, resolve
from workbench.views.outcomes import Outcomes, question_fields
from workbench.views.pictures import LevelPictures
from workbench.views.save import save_control
from workbench.views.save_tables import level_tables
from workbench.views.slices import Ahead, Slices

CUBE = {"window_s", "step", "half_life_s", "rows", "level"}
"""Parameters whose change asks the ladder for another slice."""

ALL = {p for p in LevelState.param if p != "name"}

PAINT = {"layer", "palette"}
"""Parameters that only choose what the heatmap shows of the slice, and in which colours."""

STALE_EVERY_MS = 15_000
FOLLOW_AFTER_MS = 30
"""The words follow the picture so much later: in one message with it they would hold it up."""
DAY_AFTER_MS = 400  # the day overview's orders and trades follow the first picture so much later


@view("level", "Level", keys=LEVEL_KEYS)
class LevelView(LevelPage, Hands, Viewer):
    """The first screen. `state` is the tab's state, `root` the lake."""

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(**params)
        self.root, self.state = root, state
        self.session: data.Session | None = None
        self.look: Look | None = None
        self.shown: tuple[int, int] | None = None
        self.notices = Notices(complaints)
        self.slices = Slices()
        self.ahead = Ahead(lambda: self.look, self._cube, lambda act: self._guard(act, keep=True))
        self._putting_back = False
        self._due: set[str] = set()
        self._following = False
        self.active = True
        self._missed: set[str] = set()
        self.pictures = LevelPictures(THEMES[state.theme], 0.25)
        self.outcomes = Outcomes(root, state)
        self._build()
        self._wire()
        if state.contract and state.session and data.in_memory(root, state.contract, dt.date.fromisoformat(state.session)):
            self._guard(self._open)  # the first message holds the whole picture: no second layout in the browser

    def _wire(self) -> None:
        st = self.state
        st.param.watch(self._on_state, [p for p in st.param if p not in {"name", "view", "section", *ASKED}])
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
        self.ahead.with_windows(lambda: float(self.state.half_life_s))
        return [*drawer(self.state, *question_fields(self.state)), save_control(lambda: level_tables(self))]

    def __panel__(self) -> pn.Column:
        return self.page_body

    def start(self) -> None:
        """Read the lake and draw; called once the page stands."""
        if self.look is None:
            self._guard(self._open)
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self._check_stale, period=STALE_EVERY_MS)

    def _open(self) -> None:
        st = self.state
        if st.contract is None or st.session is None:
            self.empty.object = notices.nothing(self.root)
            return
        before = self.session, self.look, self.shown
        self.session = session = data.load(self.root, st.contract, dt.date.fromisoformat(st.session))
        self.shown = None
        self.notices.complaints += arrive(st, session)
        try:
            self._draw(None)
        except EngineError:
            self.session, self.look, self.shown = before
            raise
        self.notices.read(session.notes)
        if pn.state.curdoc is not None:
            pn.state.curdoc.add_timeout_callback(self._paint_day, DAY_AFTER_MS)
        self.empty.visible = False
        self.drawing.visible = True

    def _paint_day(self) -> None:
        if self.look is not None:
            self._guard(lambda: self.pictures.paint_day(self.look), keep=True)  # type: ignore[arg-type]
            self._fill_wardrobe()

    @property
    def header(self) -> Any:
        """Time and last price, for the header."""
        return self.words.when

    def front(self, on: bool) -> None:
        """A hidden view draws nothing; what changed meanwhile is drawn when it comes back."""
        self.keys.active = self.wardrobe.active = self.active = self.outcomes.active = on
        if on and self._missed:
            names, self._missed = self._missed, set()
            self._changed(names)
        elif on:
            self.outcomes.follow(self.look)  # its question may have changed elsewhere

    def _on_state(self, *events: Any) -> None:
        if self._putting_back:
            return
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
            self._guard(lambda: self._change(names))

    def _change(self, names: set[str]) -> None:
        st = self.state
        if st.refused:
            self.notices.trouble.append(st.refused)
            st.refused = ""
        if "level" in names and self.session is not None:
            self.notices.trouble += on_grid(st, self.session)
        self._draw(names)

    def _guard(self, act: Callable[[], object], *, keep: bool = False) -> None:
        """Run `act`; what the engine has to say is shown, and the last good picture stays, and with it the state.

        The trader's own act ends what was said before; what follows of itself leaves it (`keep`).
        """
        if not keep:
            self.notices.act()
        try:
            with pn.io.hold():
                act()
        except EngineError as e:
            if self.look is None:
                self.empty.object = notices.failed(self.root, str(e))  # said once, in the middle of the page
            else:
                self.notices.trouble.append(str(e))
                self._settle(self.look, unknown=isinstance(e, UnknownLevel))
        self.notices.show()

    def _settle(self, look: Look, *, unknown: bool) -> None:
        """What was asked for cannot be shown: contract, session, level and time go back to what is."""
        st, s = self.state, look.session
        if (st.contract, st.session) != (s.symbol, s.date.isoformat()):
            dates = data.contracts(self.root).get(s.symbol, [])
            # The session that is drawn stands in the picker, though its files may be gone by now.
            st.param["session"].objects = list(dict.fromkeys([*dates, s.date.isoformat()]))
            self._put_back({"contract": s.symbol, "session": s.date.isoformat(), "cursor_ts_ns": look.now_ns, "level": look.level_id})
            self._draw(None)  # of the other session something may stand already
        elif unknown:
            self._put_back({"level": look.level_id})
        self.words.levels.value = look.level_id

    def _put_back(self, values: dict[str, Any]) -> None:
        """Set the state to what is drawn: controls and URL follow it, and what is changed next applies to it."""
        self._putting_back = True
        try:
            self.state.param.update(**values)
        finally:
            self._putting_back = False

    def _draw(self, names: set[str] | None) -> None:
        """Repaint what `names` (parameters that changed; None for all) asks for."""
        st, s, pics = self.state, self.session, self.pictures
        if s is None:
            return
        everything = names is None
        names = names or set()
        if "span_min" in names:
            self.shown = None
        before, look = self.look, resolve(s, st, self.shown, follow=everything or bool(names & {"cursor_ts_ns", "span_min"}))
        self.look = look
        if st.cursor_ts_ns != look.now_ns:
            # From now on the time stays where it is while the trader goes from level to level.
            with discard_events(st):
                st.cursor_ts_ns = look.now_ns
        # Not by name: the theme may have changed while this was hidden, together with the session.
        if pics.theme is not THEMES[st.theme]:
            pics.dress(THEMES[st.theme])
        if everything:
            pics.paint_session(look)
        elif "level" in names:
            pics.paint_levels(look)
        panned = everything or (look.start_ns, look.end_ns) != self.shown
        if panned:
            self.shown = (look.start_ns, look.end_ns)
            pics.paint_span(look)
        moved = before is None or before.k_ref != look.k_ref
        if everything or moved or names & (CUBE | {"at", "near", "mid", "far"}):
            pics.paint_prices(look)
        if panned or moved or names & {"level", "rows", "step"}:
            pics.paint_names(look)
        had = self.slices.loaded
        self._cube(look)
        if everything or moved or had != self.slices.loaded or names & (CUBE | {"layer"}):
            self._paint_heat(look)
        elif names & {"palette", "theme"}:
            pics.paint_palette(LAYERS[st.layer], st.palette)
            self._paint_legend(look)
        if everything or names - PAINT - {"theme"}:
            self._paint_now(look)
        self._follow_soon(None if everything else names)
        if everything or names & {"window_s", *BUCKETS}:
            self.ahead.again()
        self.outcomes.follow(look)

    def _cube(self, look: Look) -> Any:
        return self.slices.cube(look, float(self.state.half_life_s))

    def _paint_heat(self, look: Look) -> None:
        st, layer, w, half = self.state, LAYERS[self.state.layer], look.params.window_s, float(self.state.half_life_s)
        cube = self._cube(look)
        top = scales.scale_top(look.session, layer, w, look.step, half)
        self.pictures.paint_heat(look, cube, layer, top, st.palette, self.slices.pool)
        self._paint_legend(look)

    def _paint_legend(self, look: Look) -> None:
        st, pics, half = self.state, self.pictures, float(self.state.half_life_s)
        self.legend.object = legend_html(
            LAYERS[st.layer], pics.top, pics.palette, THEMES[st.theme], look.params.window_s, half, self.slices.pool
        )

    def _rows(self, look: Look) -> pl.DataFrame:
        return self.slices.rows(look, float(self.state.half_life_s))

    def _paint_now(self, look: Look) -> None:
        """Cursor and ladder: what changes as time moves."""
        self.pictures.paint_cursor(look, self._rows(look))
        self.pictures.paint_volume(look, self.state.volume == "on")

    def _follow_soon(self, names: set[str] | None) -> None:
        """Let words and strip follow the picture; at once where the picture itself does not change."""
        self._due = ALL if names is None else self._due | names
        doc = pn.state.curdoc
        if names is None or doc is None or not names & (CUBE | {"theme"}):
            self._follow()
        elif not self._following:
            self._following = True
            doc.add_timeout_callback(self._follow_later, FOLLOW_AFTER_MS)

    def _follow_later(self) -> None:
        self._following = False
        self._guard(self._follow, keep=True)

    def _follow(self) -> None:
        """Repaint what surrounds the picture, for all changes since the last time."""
        names, self._due = self._due, set()
        look = self.look
        if look is None or not names:
            return
        if names & {"level", "window_s", "at", "near", "mid", "far"}:
            self.pictures.paint_conditions(look)
        if "theme" in names:
            self.pictures.dress_overview()
        if "level" in names:
            self.pictures.paint_overview(look)
        if names - PAINT:
            self.words.paint(look, self._rows(look), THEMES[self.state.theme])
        self.layer_chips.param.update(value=self.state.layer, colors=css_variables(THEMES[self.state.theme]))
        if self.wardrobe.looks and names & {"layer", "palette", "volume"}:
            self._fill_wardrobe("volume" in names)

    def _fill_wardrobe(self, figures: bool = True) -> None:
        """Have both themes' colours in the page: those of the `figures`, and those of the heatmap's layer."""
        palettes = self.pictures.palettes(LAYERS[self.state.layer], self.state.palette)
        self.wardrobe.param.update(palettes=palettes, **({"looks": self.pictures.looks()} if figures else {}))

    def _check_stale(self) -> None:
        """Say when the lake has changed since this was drawn, or cannot be read any more."""
        s = self.session
        if s is None:
            return
        try:
            changed = data.stamp(self.root, s.symbol, s.date) != s.stamp
            self.notices.stale = "The lake has changed since this was drawn." if changed else ""
        except (EngineError, OSError) as e:
            self.notices.stale = f"The lake has changed since this was drawn, and cannot be read any more: {e}"
        self.notices.show()
