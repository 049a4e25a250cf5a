"""The Level view: one level, its pressure, its four conditions, and the sentence that sums them up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any

import panel as pn
import polars as pl
from bokeh.events import RangesUpdate, Tap
from param.parameterized import discard_events

from engine.errors import EngineError, NoData, UnknownLevel
from engine.session import Session
from engine.vocab import NS
from workbench import session_cache
from workbench.export import Table, cube_frame
from workbench.plots import axes, conditions
from workbench.plots.heatmap import LAYERS, legend_html
from workbench.state import ASKED, BUCKETS, LevelState
from workbench.theme import THEMES, Theme, css_variables
from workbench.views import components, view
from workbench.views.components import BOTH, FILL, LADDER_CSS, Chips, Form, Keys, PageView, ThemeSwitcher, html, layer_chips, text_field
from workbench.views.controls import LEVEL_KEYS, drawer
from workbench.views.level_figures import LevelPictures, SlicePrefetcher, Slices
from workbench.views.outcomes import Outcomes, question_fields
from workbench.views.save import save_control
from workbench.views.viewport import Viewport, clamp_to_session, forget_time, level_items, on_grid, own_price, resolve, to_window

NAMES = {
    "level_chart": "Heatmap of the chosen layer, time by price around the level, with candles, best prices and levels",
    "ladder": "Pressure ladder at the cursor: at each price long against short, resting size and its change",
    "conditions": "The four conditions over time, downward and upward, with how many of them hold",
    "overview": "The whole session: price, levels, and approaches to the level chosen",
}
"""What each figure shows, for who does not see it."""

CUBE = {"window_s", "step", "half_life_s", "rows", "level"}
"""Parameters whose change asks the ladder for another slice."""

PAINT = {"layer", "palette"}
"""Parameters that only choose what the heatmap shows of the slice, and in which colours."""

STALE_EVERY_MS = 15_000

FOLLOW_AFTER_MS = 30
"""The words follow the picture so much later: in one message with it they would hold it up."""

DAY_AFTER_MS = 400  # the day overview's orders and trades follow the first picture so much later


@view("level", "Level", keys=LEVEL_KEYS)
class LevelView(PageView):
    """The first screen."""

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(root, state, complaints, **params)
        self.session: Session | None = None
        self.look: Viewport | None = None
        self.shown: tuple[int, int] | None = None
        self.slices = Slices()
        self.ahead = SlicePrefetcher(lambda: self.look, self._cube, lambda act: self._guard(act, keep=True))
        self._putting_back = self._following = False
        self._due: set[str] = set()
        self._missed: set[str] = set()
        self.pictures = LevelPictures(THEMES[state.theme], 0.25)
        self.outcomes = Outcomes(root, state)
        self._build()
        self._watch()
        if state.contract and state.session and session_cache.in_memory(root, state.contract, dt.date.fromisoformat(state.session)):
            self._guard(self._open)  # the first message holds the whole picture: no second layout in the browser

    def _build(self) -> None:
        self.words = Words()
        self.header = self.words.when
        self.layer_chips = layer_chips(self.state)
        self.any_price = Form(row=True, margin=(0, 0, 0, 8), fields=[text_field("price", "Any price", "Any price")])
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.themes = ThemeSwitcher(width=0, height=0, margin=0)
        self.keys = Keys(figures=NAMES, width=0, height=0, margin=0)
        layouts: tuple[dict[str, Any], ...] = (BOTH, {**BOTH, "styles": LADDER_CSS}, FILL, BOTH)
        chart, ladder, strip, overview = (components.figure_pane(f, **layout) for f, layout in zip(self.pictures.figures, layouts))
        self.drawing = pn.Column(
            pn.Row(self.words.levels, self.any_price, margin=(0, 0, 4, 0), sizing_mode="stretch_width"),
            self.words.sentence,
            pn.Row(
                self.layer_chips, self.legend, pn.Spacer(sizing_mode="stretch_width"), self.words.key,
                margin=(2, 0, 2, 0), sizing_mode="stretch_width",
            ),
            pn.Row(chart, ladder, min_height=300, **BOTH),
            pn.Row(
                pn.Column(strip, overview, **BOTH), pn.Column(self.words.conditions, self.outcomes.pane, margin=0, styles=LADDER_CSS),
                height=296, **components.layout("sm-lower"), **FILL,
            ),
            visible=False, **BOTH,
        )  # fmt: skip
        self.empty = html(components.loading_html(self.root), **BOTH)
        self.body = pn.Column(
            self.keys, self.themes, self.notices.banner, self.empty, self.drawing, css_classes=["sm-body"],
            styles={"padding": "6px 8px 2px", "box-sizing": "border-box"}, **BOTH,
        )  # fmt: skip

    def _watch(self) -> None:
        st = self.state
        st.param.watch(self._on_state, [p for p in st.param if p not in {"name", "view", "section", *ASKED}])
        self.words.levels.param.watch(lambda e: st.param.update(level=e.new), "value")
        self.any_price.param.watch(lambda e: self._on_price(e.new["value"], e.new["n"]), "changed")
        self.keys.param.watch(lambda e: self._on_key(e.new), "pressed")
        chart, ladder, *others = self.pictures.figures
        for fig in (chart, *others):
            fig.on_event(Tap, self._on_tap)
        chart.on_event(RangesUpdate, self._on_ranges)
        ladder.on_change("inner_height", self._on_height)

    def controls(self) -> list[Any]:
        """The drawer's widgets."""
        self.ahead.with_windows(lambda: float(self.state.half_life_s))
        return [*drawer(self.state, *question_fields(self.state)), save_control(lambda: level_tables(self))]

    def start(self) -> None:
        """Read the lake and draw; called once the page is there."""
        if self.look is None:
            self._guard(self._open)
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self._check_stale, period=STALE_EVERY_MS)

    def _open(self) -> None:
        session = components.session_of(self.root, self.state)
        if session is None:
            self.empty.object = components.empty_lake_html(self.root)
            return
        before = self.session, self.look, self.shown
        self.session, self.shown = session, None
        self.notices.complaints += clamp_to_session(self.state, session)
        try:
            self._draw(None)
        except EngineError:
            self.session, self.look, self.shown = before
            raise
        self.notices.read(session.notes)
        if pn.state.curdoc is not None:
            pn.state.curdoc.add_timeout_callback(self._paint_day, DAY_AFTER_MS)
        self.empty.visible, self.drawing.visible = False, True

    def _paint_day(self) -> None:
        look = self.look
        if look is not None:
            self._guard(lambda: self.pictures.paint_day(look), keep=True)
            self._send_themes()

    def front(self, on: bool) -> None:
        """A hidden view draws nothing; what changed meanwhile is drawn when it comes back."""
        self.keys.active = self.themes.active = self.active = on
        self.outcomes.front(on)
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
        forget_time(self.state, names)
        self._guard(self._open if names & {"contract", "session"} else lambda: self._change(names))

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
                self.empty.object = components.failed(self.root, str(e))  # said once, in the middle of the page
            else:
                self.notices.trouble.append(str(e))
                self._settle(self.look, unknown=isinstance(e, UnknownLevel))
        self.notices.show()

    def _settle(self, look: Viewport, *, unknown: bool) -> None:
        """What was asked for cannot be shown: contract, session, level and time go back to what is."""
        st, s = self.state, look.session
        if (st.contract, st.session) != (s.symbol, s.date.isoformat()):
            dates = session_cache.contracts(self.root).get(s.symbol, [])
            # The session that is drawn is in the picker, though its files may be gone by now.
            st.param["session"].objects = list(dict.fromkeys([*dates, s.date.isoformat()]))
            self._put_back(contract=s.symbol, session=s.date.isoformat(), cursor_ts_ns=look.now_ns, level=look.level_id)
            self._draw(None)  # of the other session something may be drawn already
        elif unknown:
            self._put_back(level=look.level_id)
        self.words.levels.value = look.level_id

    def _put_back(self, **values: Any) -> None:
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
            pics.apply_theme(THEMES[st.theme])
        if everything:
            pics.paint_session(look)
        elif "level" in names:
            pics.paint_levels(look)
        panned = everything or (look.start_ns, look.end_ns) != self.shown
        if panned:
            self.shown = (look.start_ns, look.end_ns)
            pics.paint_span(look)
        moved = before is None or before.k_ref != look.k_ref
        if everything or moved or names & {*CUBE, *BUCKETS}:
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
            self._paint_cursor(look)
            pics.paint_volume(look, st.volume == "on")
        self._follow_soon(None if everything else names)
        if everything or names & {"window_s", *BUCKETS}:
            self.ahead.again()
        self.outcomes.follow(look)

    def _cube(self, look: Viewport) -> Any:
        return self.slices.cube(look, float(self.state.half_life_s))

    def _paint_heat(self, look: Viewport) -> None:
        layer, cube = LAYERS[self.state.layer], self._cube(look)
        top = session_cache.scale_top(look.session, layer, look.params.window_s, look.step, float(self.state.half_life_s))
        self.pictures.paint_heat(look, cube, layer, top, self.state.palette, self.slices.pool)
        self._paint_legend(look)

    def _paint_legend(self, look: Viewport) -> None:
        st, pics, half = self.state, self.pictures, float(self.state.half_life_s)
        self.legend.object = legend_html(
            LAYERS[st.layer], pics.top, pics.palette, THEMES[st.theme], look.params.window_s, half, self.slices.pool
        )

    def _rows(self, look: Viewport) -> pl.DataFrame:
        return self.slices.rows(look, float(self.state.half_life_s))

    def _paint_cursor(self, look: Viewport) -> None:
        self.pictures.paint_cursor(look, self._rows(look))

    def _follow_soon(self, names: set[str] | None) -> None:
        """Let words and strip follow the picture; at once where the picture itself does not change."""
        self._due = set(self.state.param) if names is None else self._due | names
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
        names, self._due, look = self._due, set(), self.look
        if look is None or not names:
            return
        if names & {"level", "window_s", *BUCKETS}:
            self.pictures.paint_conditions(look)
        if "theme" in names:
            self.pictures.apply_overview_theme()
        if "level" in names:
            self.pictures.paint_overview(look)
        if names - PAINT:
            self.words.paint(look, self._rows(look), THEMES[self.state.theme])
        self.layer_chips.param.update(value=self.state.layer, colors=css_variables(THEMES[self.state.theme]))
        if self.themes.looks and names & {"layer", "palette", "volume"}:
            self._send_themes("volume" in names)

    def _send_themes(self, figures: bool = True) -> None:
        """Have both themes' colours in the page: those of the `figures`, and those of the heatmap's layer."""
        palettes = self.pictures.palettes(LAYERS[self.state.layer], self.state.palette)
        self.themes.param.update(palettes=palettes, **({"looks": self.pictures.looks()} if figures else {}))

    # --- what the trader does with mouse and keyboard

    def _on_height(self, attr: str, old: int, new: int) -> None:
        self.pictures.ladder_height = new
        if self.look is not None:
            self._guard(partial(self._resized, self.look), keep=True)

    def _resized(self, look: Viewport) -> None:
        self._paint_cursor(look)
        self.pictures.paint_names(look)

    def _on_price(self, text: str, n: int) -> None:
        self.any_price.answered = n
        session = self.session
        if not text or session is None:
            return

        def take() -> None:
            self.state.level, said = own_price(text, session)
            self.notices.trouble += [said] if said else []

        self._guard(take)

    def _on_tap(self, event: Any) -> None:
        if self.look is not None and event.x is not None:
            self._go_to(self.look, axes.ns_of_x(event.x, self.look.session.day_ns))

    def _go_to(self, look: Viewport, ts_ns: int) -> None:
        self.state.cursor_ts_ns = to_window(look.session, ts_ns, look.params.window_s)

    def _on_ranges(self, event: Any) -> None:
        if self.look is not None:
            self._guard(partial(self._pan, self.look, event), keep=True)

    def _pan(self, look: Viewport, event: Any) -> None:
        """The trader panned or zoomed: remember it, and read more of the ladder where it is not loaded."""
        start, end = (axes.ns_of_x(x, look.session.day_ns) for x in (event.x0, event.x1))
        if end - start < 10 * NS:
            return
        if (start, end) == self.shown:
            self.pictures.paint_names(look)  # the price axis may have moved
            return
        self.shown = (start, end)
        self.look = look = resolve(look.session, self.state, self.shown, follow=False)
        self.pictures.paint_names(look)
        had = self.slices.loaded
        self._cube(look)
        if had != self.slices.loaded:
            self._paint_heat(look)

    def _on_key(self, pressed: dict[str, Any]) -> None:
        look, key = self.look, pressed["key"]
        if look is None:
            return
        if key.isdigit():
            if int(key) <= len(session_cache.KEY_LEVELS):
                self.state.level = session_cache.KEY_LEVELS[int(key) - 1]
        elif key in ("ArrowUp", "ArrowDown"):
            layers = list(LAYERS)
            self.state.layer = layers[(layers.index(self.state.layer) + (1 if key == "ArrowDown" else -1)) % len(layers)]
        elif key in ("[", "]"):
            # To the first window of the next (or previous) approach to the level.
            v = look.vacuum.with_columns((pl.col("approach") != "approach_none").alias("on"))
            first = v.filter(pl.col("on") & ~pl.col("on").shift(1, fill_value=False))["window_start_ts_ns"]
            there = first.filter(first > look.now_ns).head(1) if key == "]" else first.filter(first < look.now_ns).tail(1)
            if there.len():
                self.state.cursor_ts_ns = int(there[0])
        else:
            windows = {"ArrowLeft": -1, "ArrowRight": 1, "Home": -(10**6), "End": 10**6}[key] * (12 if pressed["shift"] else 1)
            self._go_to(look, look.now_ns + windows * look.window_ns)

    def _check_stale(self) -> None:
        """Say when the lake has changed since this was drawn, or cannot be read any more."""
        s, changed = self.session, "The lake has changed since this was drawn"
        if s is None:
            return
        try:
            self.notices.stale = "" if session_cache.stamp(self.root, s.symbol, s.date) == s.stamp else f"{changed}."
        except (EngineError, OSError) as e:
            self.notices.stale = f"{changed}, and cannot be read any more: {e}"
        self.notices.show()


class Words:
    """Panes of text around the pictures: the sentence, the conditions at the cursor, the time, and the levels with their distances."""

    def __init__(self) -> None:
        self.levels = Chips(label="Level", **FILL)
        self.sentence = html()
        self.when = html(margin=(0, 4, 0, 12), sizing_mode=None)
        self.conditions = pn.pane.HTML("", **FILL)
        self.key = pn.pane.HTML("", styles=LADDER_CSS, margin=0)

    def paint(self, look: Viewport, rows: pl.DataFrame, theme: Theme) -> None:
        """Say what `look` and the ladder's `rows` at the cursor show."""
        s, row, end_ns = look.session, look.row(), look.now_ns + look.window_ns
        text = look.sentence(
            row, rows, tests=s.touches_before(look.level_id, end_ns), confluent=session_cache.confluent(s, look.level_id, look.now_ns)
        )
        if not look.known:
            begin = axes.clock(int(look.frame["start_ts_ns"][0]))
            text = f"{look.title}: not known yet at {axes.clock(look.now_ns)}; it stands from {begin} on."
        self.sentence.object = components.sentence(text)
        self.conditions.object = conditions.words_html(row, theme, key=False)
        key = conditions.key_html(theme)
        if key != self.key.object:
            self.key.object = key
        last = s.last_tick(end_ns)
        self.when.object = components.when(axes.clock(look.now_ns), axes.clock(end_ns), last, s.tick_size, theme)
        self.levels.param.update(items=level_items(look, last), value=look.level_id, colors=css_variables(theme))


def level_tables(view: LevelView) -> list[Table]:
    """What can be saved: the level's windows, the ladder at the cursor, and the cube of what is shown, each with the state it is of."""

    def table(key: str, label: str, frame: Callable[[Viewport], pl.DataFrame], **more: Callable[[], Any]) -> Table:
        def make() -> tuple[pl.DataFrame, dict[str, Any]]:
            look = view.look
            if look is None:
                raise NoData("nothing is shown yet that could be saved; open a session first")
            s, p = look.session, look.params
            return frame(look), {
                "lake": view.root, "contract": s.symbol, "session": s.date.isoformat(), "level": look.level_id, "level_tick": look.k_ref,
                "tick_size": s.tick_size, "cursor_ts_ns": look.now_ns, "window_s": p.window_s, "zones": p.zones.model_dump(),
                "shown_start_ts_ns": look.start_ns, "shown_end_ts_ns": look.end_ns, "step_ticks": look.step, "simulated": s.simulated,
                **{k: value() for k, value in more.items()},
            }  # fmt: skip

        return Table(key, label, make)

    def cube(look: Viewport) -> pl.DataFrame:
        shown = view._cube(look)
        start = shown["window_start_ts_ns"].to_numpy()
        return cube_frame(shown.isel(window=(start >= look.start_ns) & (start < look.end_ns)))

    return [
        table("windows", "Windows of the level: features and conditions", lambda look: look.vacuum),
        table("ladder", "Ladder at the cursor", view._rows),
        table("cube", "Time x price, as shown", cube, half_life_s=lambda: float(view.state.half_life_s)),
    ]
