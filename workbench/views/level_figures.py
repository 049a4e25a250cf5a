"""Figures of the Level view and how they are patched; a figure is made once per page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import panel as pn
import polars as pl
import xarray as xr

from engine.params import FeatureParams
from engine.session import tick_at
from engine.vocab import NS
from workbench import session_cache
from workbench.plots import axes, conditions, heatmap, ladder, levels, overview, volume
from workbench.plots.ladder import WALL_REACH
from workbench.state import param_from_field
from workbench.theme import THEMES, Theme
from workbench.views.viewport import Viewport, named_levels

AROUND_MS = 5 * 60_000.0
"""How far beyond the session's ends time can be panned and zoomed."""


def move(span: Any, start: float, end: float) -> None:
    """Set a range, unless it is there already."""
    if (span.start, span.end) != (start, end):
        span.update(start=start, end=end)


def put(source: Any, made: dict[str, Any]) -> None:
    """Patch lists in, unless they are there already."""
    if source.data != made:
        source.data = made


class ChartPictures:
    """Chart, ladder and conditions strip on shared ranges."""

    def __init__(self, theme: Theme, tick_size: float, *, strip_height: int, **of_ladder: Any) -> None:
        self.theme = theme
        self.chart = heatmap.level_chart(theme, tick_size)
        fig = self.chart.figure
        self.ladder = ladder.ladder_figure(theme, tick_size, y_range=fig.y_range, **of_ladder)
        self.strip = conditions.strip_figure(theme, x_range=fig.x_range, height=strip_height)
        self.figures: tuple[Any, ...] = fig, self.ladder.figure, self.strip.figure
        self.ladder_height = 480
        self.palette: list[str] = []
        self._bad: dict[str, list[object]] = {}

    def paint_palette(self, layer: heatmap.Layer, preset: str) -> None:
        """The heatmap's colours."""
        palette = heatmap.palette_of(self.theme, layer, preset)
        if palette != self.palette:
            self.palette = palette
            self.chart.mapper.palette = palette

    def _paint_level(self, look: Viewport) -> None:
        """The level's row in the ladder and its zones; hidden at a cursor at which it has no price yet."""
        k = look.k_ref if look.known else None
        ladder.mark_level(self.ladder, k)
        z = look.params.zones
        put(self.chart.sources["zones"], levels.zone_data(k, (z.at, z.near, z.mid, z.far)))

    def _paint_bad(self, bad: dict[str, list[object]]) -> None:
        """Stretches in which the book was not valid."""
        if bad != self._bad:
            self._bad = bad
            self.chart.sources["invalid"].data = bad
            self.strip.invalid.data = {k: bad[k] for k in ("left", "right")}

    def _ladder_type(self, look: Viewport) -> tuple[str, bool]:
        """Size of the ladder's type, and whether each of its rows has room for a text."""
        px = self.ladder_height / (2 * look.rows + 1) * look.step
        return f"{min(max(px * 0.86, 9.0), 15.0):.1f}px", px >= 10


class LevelPictures(ChartPictures):
    """The Level view's figures, the overview of the session among them."""

    def __init__(self, theme: Theme, tick_size: float) -> None:
        super().__init__(theme, tick_size, strip_height=156, width=430)
        self.tick_size = tick_size
        self.overview = overview.overview_figure(theme, self.chart.figure.x_range, tick_size)
        self.figures += (self.overview.figure,)
        self.top: float = 5.0
        self.volume: volume.VolumeParts | None = None
        self._centre: tuple[Any, ...] = ()
        self._time: tuple[Any, ...] = ()
        self._known: bool | None = None

    def apply_theme(self, theme: Theme) -> None:
        """Change the theme of the figures; `paint_palette` and `apply_overview_theme` do the rest."""
        self.theme = theme
        axes.put_on(self._theme_values(theme))

    def _theme_values(self, theme: Theme) -> axes.ThemeValues:
        return [
            *heatmap.chart_theme_values(self.chart, theme),
            *ladder.ladder_theme_values(self.ladder, theme),
            *conditions.strip_theme_values(self.strip, theme),
            *([] if self.volume is None else volume.volume_theme_values(self.volume, theme)),
        ]

    def looks(self) -> dict[str, dict[str, dict[str, object]]]:
        """What each theme sets and the other does not: by theme, model and property, for the page to set it itself."""
        dark, light = (axes.as_sent(self._theme_values(THEMES[name])) for name in ("dark", "light"))
        return {
            name: {m: own for m, values in mine.items() if (own := {k: v for k, v in values.items() if other[m][k] != v})}
            for name, mine, other in (("dark", dark, light), ("light", light, dark))
        }

    def palettes(self, layer: heatmap.Layer, preset: str) -> dict[str, dict[str, dict[str, object]]]:
        """The heatmap's colours in each theme, like `looks`."""
        mapper = self.chart.mapper.id
        return {name: {mapper: {"palette": heatmap.palette_of(theme, layer, preset)}} for name, theme in THEMES.items()}

    def apply_overview_theme(self) -> None:
        """Change the overview's theme; its image of a whole day takes the browser as long as all the rest."""
        overview.theme_overview(self.overview, self.theme)

    def paint_session(self, look: Viewport) -> None:
        """What belongs to the session: candles, quotes, levels, overview."""
        s = look.session
        self.chart.sources["candles"].data = heatmap.candle_data(s.bars, s.day_ns)
        self.chart.mark.visible = s.simulated
        self.paint_levels(look)
        ov = self.overview.figure
        ov.x_range.update(start=float(axes.x_ms(s.ladder.start_ns, s.day_ns)), end=float(axes.x_ms(s.ladder.end_ns, s.day_ns)))
        if s.tick_size != self.tick_size:
            # A new model in the page costs 30 ms: all its references are counted again.
            formatter = axes.price_formatter(s.tick_size)
            for fig in (self.chart.figure, ov):
                fig.right[0].formatter = formatter
            self.tick_size = s.tick_size

    def _level_data(self, look: Viewport) -> dict[str, Any]:
        return levels.level_data(session_cache.runs(look.session, look.level_id), look.level_id, look.session.day_ns)

    def paint_levels(self, look: Viewport) -> None:
        """The level lines, the chosen one thick."""
        self.chart.sources["levels"].data = self._level_data(look)

    def paint_overview(self, look: Viewport) -> None:
        """The level lines of the overview, and the approaches to the chosen one."""
        self.overview.levels.data = rows = self._level_data(look)
        low, high = overview.price_bounds(*look.session.price_span(), list(set(rows["y"])), look.k_ref)
        move(self.overview.figure.y_range, low, high)
        self.overview.approaches.data = overview.approach_data(look.vacuum, look.session.day_ns, 0.05 * (high - low))

    def paint_day(self, look: Viewport) -> None:
        """All orders and trades of the session, in the overview; after the first picture, which does not wait for it."""
        s = look.session
        self.overview.day.data = overview.day_data(session_cache.day(s), s.ladder.start_ns, s.day_ns)

    def paint_volume(self, look: Viewport, on: bool) -> None:
        """Volume at price and cumulative delta up to the cursor; made when they are first asked for."""
        if not on:
            if self.volume is not None:
                volume.clear(self.volume)
            return
        if self.volume is None:
            self.volume = volume.add_volume(self.chart.figure, self.theme)
        parts, s, end = self.volume, look.session, look.now_ns + look.window_ns
        parts.bars.data, parts.peak.data = volume.profile_data(session_cache.volume_at_price(s, end), look.low, look.high)
        line, span = volume.delta_data(session_cache.delta_tape(s, end), s.ladder.start_ns, s.day_ns, look.params.window_s)
        move(parts.scale, *span)
        parts.line.data, parts.said.data = line, volume.delta_words(line)

    def paint_span(self, look: Viewport) -> None:
        """The stretch of time that the chart shows."""
        s = look.session
        lad = s.ladder
        start, end, first, last = (float(axes.x_ms(t, s.day_ns)) for t in (look.start_ns, look.end_ns, lad.start_ns, lad.end_ns))
        axes.show_range(self.chart.figure.x_range, start, end, (first - AROUND_MS, last + AROUND_MS))

    def paint_prices(self, look: Viewport) -> None:
        """The price axis around the level, the zones, and the axis in ticks from the level."""
        k, facts = look.k_ref, self.chart.sources["facts"]
        if not facts.data["k"]:
            # Before the axes: in a page that is there already they follow the level's tick in the browser, and it has none yet.
            w = look.params.window_s
            facts.data = heatmap.facts_data(heatmap.LAYERS["depth"], tick_size=self.tick_size, k_ref=k, step=look.step, window_s=w, x0=0.0)
        elif facts.data["k"][0] != k:
            facts.data = {**facts.data, "k": [k]}
        centre = (look.session.stamp, look.level_id, k, look.rows, look.step)
        if centre != self._centre:
            self._centre = centre
            low, high = heatmap.price_bounds(k, look.rows, look.step)
            # As far as the heatmap is loaded: beyond it there is nothing to see.
            far = heatmap.price_bounds(k, look.high - k, look.step)
            for axis, at in ((self.chart.distance, k), (self.chart.figure.y_range, 0)):
                axes.show_range(axis, low - at, high - at, (far[0] - at, far[1] - at))
        self._paint_level(look)
        self._known = look.known

    def paint_names(self, look: Viewport) -> None:
        """Names of levels and best prices at the right edge of what is shown."""
        s, y = look.session, self.chart.figure.y_range
        end = min(max(look.end_ns - 1, s.ladder.start_ns), s.ladder.end_ns - 1)
        self.chart.sources["names"].data = levels.name_data(
            named_levels(s, s.levels["level_id"].unique(maintain_order=True), look.level_id, end),
            (float(axes.x_ms(look.start_ns, s.day_ns)), float(axes.x_ms(look.end_ns, s.day_ns))), (float(y.start), float(y.end)),
            self.ladder_height, s.tick_size, s.best_ticks(end),
        )  # fmt: skip

    def paint_heat(self, look: Viewport, cube: xr.Dataset, layer: heatmap.Layer, top: float | None, preset: str, pool: int) -> None:
        """The heatmap, its colours and its read-out; the quotes and the invalid stretches of the same time.

        `top` is the end of the colour scale, None takes it from the slice itself; `pool` windows make a column.
        """
        self.top = heatmap.scale_top(heatmap.values(cube, layer), layer) if top is None else top
        self.paint_palette(layer, preset)
        self.chart.sources["heat"].data = heat = heatmap.heat_data(cube, layer, self.top, pool)
        self._paint_time(look, cube)
        x0 = float(heat["x"][0])  # type: ignore[arg-type]
        self.chart.sources["facts"].data = heatmap.facts_data(
            layer, tick_size=look.session.tick_size, k_ref=look.k_ref, step=look.step, window_s=look.params.window_s, x0=x0, pool=pool
        )

    def _paint_time(self, look: Viewport, cube: xr.Dataset) -> None:
        """What belongs to the loaded stretch of time, whatever the level: best prices, and where the book is not valid."""
        s, w = look.session, look.params.window_s
        begin, end = int(cube["window_start_ts_ns"][0]), int(cube["window_end_ts_ns"][-1])
        if (s.stamp, begin, end, w) == self._time:
            return
        self._time = (s.stamp, begin, end, w)
        self._paint_bad(heatmap.invalid_data(cube))
        tape = s.ladder.tape.slice((begin - s.ladder.start_ns) // NS, (end - begin) // NS)
        self.chart.sources["quotes"].data = heatmap.quote_data(tape, s.day_ns, w)

    def paint_conditions(self, look: Viewport) -> None:
        """The strip of the chosen level."""
        self.strip.cells.data, self.strip.counts.data = conditions.strip_data(look.vacuum, look.params.window_s, look.session.day_ns)

    def paint_cursor(self, look: Viewport, rows: pl.DataFrame) -> None:
        """The cursor in all figures, and the ladder at its time."""
        x = float(axes.x_ms(look.now_ns + look.window_ns // 2, look.session.day_ns))
        for span in (self.chart.cursor, self.strip.cursor, self.overview.cursor):
            span.location = x
        low, high = heatmap.price_bounds(look.k_ref, look.rows, look.step)
        rows = rows.filter(pl.col("tick").is_between(low, high))
        if look.known != self._known:
            self._paint_level(look)
            self._known = look.known
        top = ladder.flow_top(rows)
        self.ladder.scale.data = {"top": [top]}
        # The size first: a glyph that changes after its data are measured is measured again.
        self.ladder.renderers["texts"].glyph.text_font_size, roomy = self._ladder_type(look)
        ladder.patch_ladder(self.ladder, ladder.ladder_data(rows, look.step, top, text_every_row=roomy))


# ----------------------------------------------------------------------------
# Which slice of the ladder the heatmap has loaded, and what is computed ahead while the trader does nothing

PREPARE_AFTER_MS, PREPARE_EVERY_MS = 1_000, 150


class Slices:
    """The loaded stretch; it stays while what is shown is inside it."""

    def __init__(self) -> None:
        self.loaded: tuple[int, int] = (0, 0)
        self.pool = 1
        self._key: tuple[Any, ...] = ()

    def cube(self, look: Viewport, half_life_s: float) -> xr.Dataset:
        """The slice that holds what `look` shows, wherever its cursor is."""
        rows, begin, end, pool = _shown(look)
        key = (look.session.stamp, rows, look.params.window_s, pool)
        if key != self._key or not (self.loaded[0] <= begin and end <= self.loaded[1]):
            self._key, self.pool = key, pool
            self.loaded = session_cache.loaded_span(look.session, begin, end, rows, look.params.window_s)
        return _cube(look, self.loaded, half_life_s)

    def rows(self, look: Viewport, half_life_s: float) -> pl.DataFrame:
        """The ladder at the cursor, as far as it is shown and as far as the sentence looks: that depends on no number of rows."""
        reach = max(look.rows + look.step, WALL_REACH, look.params.zones.near)
        return session_cache.rows_at(look.session, look.now_ns, look.k_ref, reach, look.params.window_s, look.step, half_life_s)


def _shown(look: Viewport) -> tuple[int, int, int, int]:
    """Rows, begin and end of what is shown of the session (the margins beside it are empty), and windows a column."""
    rows, lad, w = (look.high - look.low) // look.step + 1, look.session.ladder, look.window_ns
    begin = min(max(look.start_ns, lad.start_ns + w), lad.end_ns - w)
    end = max(min(look.end_ns, lad.end_ns - w), begin + w)
    return rows, begin, end, session_cache.pooled(begin, end, rows, look.params.window_s)


def _cube(look: Viewport, span: tuple[int, int], half_life_s: float) -> xr.Dataset:
    return look.session.cube(*span, look.low, look.high, look.params.window_s, look.step, half_life_s)


def other_window(look: Viewport, window_s: int, half_life_s: float) -> xr.Dataset:
    """The slice that a change to windows of `window_s` will ask for, and the level's windows with it."""
    params = look.params.model_copy(update={"window_s": window_s})
    look = replace(look, params=params, vacuum=look.session.windows(look.level_id, params))
    rows, begin, end, _ = _shown(look)
    return _cube(look, session_cache.loaded_span(look.session, begin, end, rows, window_s), half_life_s)


class SlicePrefetcher:
    """Computes other levels' windows and slices, so that going to one shows it at once; one at a time, out of the trader's way.

    Once the drawer has been opened, windows somewhat shorter and longer come first: its first control changes their length. `now` gives
    what is on the screen, `cube` computes a slice, `guard` runs what may fail and shows what the engine has to say.
    """

    def __init__(
        self, now: Callable[[], Viewport | None], cube: Callable[[Viewport], object], guard: Callable[[Callable[[], None]], None]
    ) -> None:
        self._now, self._cube, self._guard = now, cube, guard
        self._done: set[str | int] = set()
        self._timer: Any = None
        self._half_life_s: Callable[[], float] | None = None

    def with_windows(self, half_life_s: Callable[[], float]) -> None:
        """From now on other lengths of the window are computed ahead too: the controls that choose them are in sight."""
        self._half_life_s = half_life_s
        self.again()

    def again(self) -> None:
        """What was computed ahead is not what will be asked for: begin again after a while."""
        self._done.clear()
        doc = pn.state.curdoc
        if doc is None:
            return
        if self._timer is not None:
            doc.remove_timeout_callback(self._timer)
        self._timer = doc.add_timeout_callback(self._next, PREPARE_AFTER_MS)

    def _next(self) -> None:
        self._timer = None
        look, doc = self._now(), pn.state.curdoc
        if look is None or doc is None:
            return
        levels: list[str | int] = [i for i in session_cache.ordered_level_ids(look.session) if look.session.has_level(i)]
        todo = next((i for i in self._windows(look) + levels if i not in self._done), None)
        if todo is not None:
            self._done.add(todo)
            self._guard(lambda: self._compute(look, todo))
            self._timer = doc.add_timeout_callback(self._next, PREPARE_EVERY_MS)

    def _windows(self, look: Viewport) -> list[str | int]:
        """Seconds of the windows that a few steps of the slider lead to, the nearest first."""
        low, high = param_from_field(FeatureParams, "window_s")["bounds"]
        near = [look.params.window_s + d for d in (1, -1, 2, -2)] if self._half_life_s is not None else []
        return [w for w in near if low <= w <= high]

    def _compute(self, look: Viewport, todo: str | int) -> None:
        if isinstance(todo, int):
            assert self._half_life_s is not None
            other_window(look, todo, self._half_life_s())
            return
        look.session.windows(todo, look.params)
        tick = tick_at(look.session.level(todo), look.now_ns) if todo in session_cache.KEY_LEVELS else None
        if tick is not None and tick != look.k_ref:
            self._cube(replace(look, level_id=todo, k_ref=tick))
