"""The Level view's four figures and how they are patched; a figure is made once per page."""

from __future__ import annotations

from typing import Any

import polars as pl
import xarray as xr

from engine.vocab import NS
from workbench import data, past
from workbench.plots import axes, chart, coding, conditions, ladder, levels, overview, readout, volume
from workbench.theme import THEMES, Theme
from workbench.views.look import Look

AROUND_MS = 5 * 60_000.0
"""How far beyond the session's ends time can be panned and zoomed."""

LADDER_WIDTH = 430
LADDER_CSS = {"flex": "0 0 clamp(430px, 23vw, 640px)"}
"""The ladder grows with the screen, so that its figures do too."""


class LevelPictures:
    """Chart, ladder, conditions strip and overview, on shared ranges."""

    def __init__(self, theme: Theme, tick_size: float) -> None:
        self.theme = theme
        self.tick_size = tick_size
        self.chart = chart.level_chart(theme, tick_size)
        fig = self.chart.figure
        self.ladder = ladder.ladder_figure(theme, tick_size, y_range=fig.y_range, width=LADDER_WIDTH)
        self.strip = conditions.strip_figure(theme, x_range=fig.x_range, height=156)
        self.overview = overview.overview_figure(theme, fig.x_range, tick_size)
        self.top: float = 5.0
        self.palette: list[str] = []
        self._centre: tuple[Any, ...] = ()
        self._time: tuple[Any, ...] = ()
        self._bad: dict[str, list[object]] = {}
        self._known: bool | None = None
        self.volume: volume.VolumeParts | None = None
        self.ladder_height = 480

    @property
    def figures(self) -> tuple[Any, ...]:
        """All four figures."""
        return self.chart.figure, self.ladder.figure, self.strip.figure, self.overview.figure

    def dress(self, theme: Theme) -> None:
        """Change the theme of the figures; `paint_palette` and `dress_overview` do the rest."""
        self.theme = theme
        axes.put_on(self._dressing(theme))

    def _dressing(self, theme: Theme) -> axes.Dress:
        more = [] if self.volume is None else volume.dressing(self.volume, theme)
        return [*chart.dressing(self.chart, theme), *ladder.dressing(self.ladder, theme), *conditions.dressing(self.strip, theme), *more]

    def looks(self) -> dict[str, dict[str, dict[str, object]]]:
        """What each theme sets and the other does not: by theme, model and property, for the page to set it itself."""
        dark, light = (axes.as_sent(self._dressing(THEMES[name])) for name in ("dark", "light"))
        return {
            name: {m: kept for m, values in mine.items() if (kept := {k: v for k, v in values.items() if other[m][k] != v})}
            for name, mine, other in (("dark", dark, light), ("light", light, dark))
        }

    def palettes(self, layer: coding.Layer, preset: str) -> dict[str, dict[str, dict[str, object]]]:
        """The heatmap's colours in each theme, like `looks`."""
        mapper = self.chart.mapper.id
        return {name: {mapper: {"palette": chart.palette_of(theme, layer, preset)}} for name, theme in THEMES.items()}

    def dress_overview(self) -> None:
        """Change the overview's theme; its image of a whole day takes the browser as long as all the rest."""
        overview.dress_overview(self.overview, self.theme)

    def paint_session(self, look: Look) -> None:
        """What belongs to the session: candles, quotes, levels, overview."""
        s = look.session
        self.chart.sources["candles"].data = chart.candle_data(s.bars, s.day_ns)
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

    def paint_levels(self, look: Look) -> None:
        """The level lines, the chosen one thick."""
        rows = data.runs(look.session, look.level_id)
        self.chart.sources["levels"].data = levels.level_data(rows, look.level_id, look.session.day_ns)

    def paint_overview(self, look: Look) -> None:
        """The level lines of the overview, and the approaches to the chosen one."""
        s = look.session
        rows = levels.level_data(data.runs(s, look.level_id), look.level_id, s.day_ns)
        self.overview.levels.data = rows
        low, high = overview.price_bounds(*past.price_span(s), list(set(rows["y"])), look.k_ref)  # type: ignore[call-overload]
        y = self.overview.figure.y_range
        if (y.start, y.end) != (low, high):
            y.update(start=low, end=high)
        self.overview.approaches.data = overview.approach_data(look.vacuum, s.day_ns, 0.05 * (high - low))

    def paint_day(self, look: Look) -> None:
        """All orders and trades of the session, in the overview; after the first picture, which does not wait for it."""
        s = look.session
        self.overview.day.data = overview.day_data(past.day(s), s.ladder.start_ns, s.day_ns)

    def paint_volume(self, look: Look, on: bool) -> None:
        """Volume at price and cumulative delta up to the cursor; made when they are first asked for."""
        if not on:
            if self.volume is not None:
                volume.clear(self.volume)
            return
        if self.volume is None:
            self.volume = volume.add_volume(self.chart.figure, self.theme)
        parts, s, end = self.volume, look.session, look.now_ns + look.window_ns
        parts.bars.data, parts.peak.data = volume.profile_data(past.volume_at_price(s, end), look.low, look.high)
        line, (low, high) = volume.delta_data(past.delta_tape(s, end), s.ladder.start_ns, s.day_ns, look.params.window_s)
        if (parts.scale.start, parts.scale.end) != (low, high):
            parts.scale.update(start=low, end=high)
        parts.line.data, parts.said.data = line, volume.delta_words(line)

    def paint_span(self, look: Look) -> None:
        """The stretch of time that the chart shows."""
        s = look.session
        lad, x_range = s.ladder, self.chart.figure.x_range
        start, end, first, last = (float(axes.x_ms(t, s.day_ns)) for t in (look.start_ns, look.end_ns, lad.start_ns, lad.end_ns))
        axes.show_range(x_range, start, end, (first - AROUND_MS, last + AROUND_MS))

    def paint_prices(self, look: Look) -> None:
        """The price axis around the level, the zones, and the axis in ticks from the level."""
        k = look.k_ref
        y = self.chart.figure.y_range
        facts = self.chart.sources["facts"]
        if not facts.data["k"]:
            # Before the axes: in a page that stands already they follow the level's tick in the browser, and it has none yet.
            w = look.params.window_s
            facts.data = readout.facts_data(coding.LAYERS["depth"], tick_size=self.tick_size, k_ref=k, step=look.step, window_s=w, x0=0.0)
        elif facts.data["k"][0] != k:
            facts.data = {**facts.data, "k": [k]}
        centre = (look.session.stamp, look.level_id, k, look.rows, look.step)
        if centre != self._centre:
            self._centre = centre
            low, high = chart.price_bounds(k, look.rows, look.step)
            # As far as the heatmap is loaded: beyond it there is nothing to see.
            far = chart.price_bounds(k, look.high - k, look.step)
            for axis, at in ((self.chart.distance, k), (y, 0)):
                axes.show_range(axis, low - at, high - at, (far[0] - at, far[1] - at))
        self._paint_known(look)

    def _paint_known(self, look: Look) -> None:
        """The level's row in the ladder and its zones; hidden at a cursor at which it has no price yet."""
        self._known = look.known
        k = look.k_ref if look.known else None
        ladder.mark_level(self.ladder, k)
        z = look.params.zones
        self.chart.sources["zones"].data = levels.zone_data(k, (z.at, z.near, z.mid, z.far))

    def paint_names(self, look: Look) -> None:
        """Names of levels and best prices at the right edge of what is shown."""
        s = look.session
        at: list[tuple[str, int, bool]] = []
        end = min(max(look.end_ns - 1, s.ladder.start_ns), s.ladder.end_ns - 1)
        for i in dict.fromkeys([*s.levels["level_id"].unique(maintain_order=True).to_list(), look.level_id]):
            tick = data.tick_at(data.level_frame(s, i), end)
            if tick is not None:
                at.append((data.level_title(i), tick, i == look.level_id))
        y = self.chart.figure.y_range
        self.chart.sources["names"].data = levels.name_data(
            at, (float(axes.x_ms(look.start_ns, s.day_ns)), float(axes.x_ms(look.end_ns, s.day_ns))), (float(y.start), float(y.end)),
            self.ladder_height, s.tick_size, data.best_ticks(s, end),
        )  # fmt: skip

    def paint_heat(self, look: Look, cube: xr.Dataset, layer: coding.Layer, top: float | None, preset: str, pool: int) -> None:
        """The heatmap, its colours and its read-out; the quotes and the invalid stretches of the same time.

        `top` is the end of the colour scale, None takes it from the slice itself; `pool` windows make a column.
        """
        s = look.session
        self.top = coding.scale_top(coding.values(cube, layer), layer) if top is None else top
        self.paint_palette(layer, preset)
        heat = chart.heat_data(cube, layer, self.top, pool)
        self.chart.sources["heat"].data = heat
        self._paint_time(look, cube)
        x0 = float(heat["x"][0])  # type: ignore[arg-type]
        self.chart.sources["facts"].data = readout.facts_data(
            layer, tick_size=s.tick_size, k_ref=look.k_ref, step=look.step, window_s=look.params.window_s, x0=x0, pool=pool
        )

    def paint_palette(self, layer: coding.Layer, preset: str) -> None:
        """The heatmap's colours."""
        palette = chart.palette_of(self.theme, layer, preset)
        if palette != self.palette:
            self.palette = palette
            self.chart.mapper.palette = palette

    def _paint_time(self, look: Look, cube: xr.Dataset) -> None:
        """What belongs to the loaded stretch of time, whatever the level: best prices, and where the book is not valid."""
        s, w = look.session, look.params.window_s
        begin, end = int(cube["window_start_ts_ns"][0]), int(cube["window_end_ts_ns"][-1])
        if (s.stamp, begin, end, w) == self._time:
            return
        self._time = (s.stamp, begin, end, w)
        bad = chart.invalid_data(cube)
        if bad != self._bad:
            self._bad = bad
            self.chart.sources["invalid"].data = bad
            self.strip.invalid.data = {k: bad[k] for k in ("left", "right")}
        tape = s.ladder.tape.slice((begin - s.ladder.start_ns) // NS, (end - begin) // NS)
        self.chart.sources["quotes"].data = chart.quote_data(tape, s.day_ns, w)

    def paint_conditions(self, look: Look) -> None:
        """The strip of the chosen level."""
        self.strip.cells.data, self.strip.counts.data = conditions.strip_data(look.vacuum, look.params.window_s, look.session.day_ns)

    def paint_cursor(self, look: Look, rows: pl.DataFrame) -> None:
        """The cursor in all figures, and the ladder at its time."""
        x = float(axes.x_ms(look.now_ns + look.window_ns // 2, look.session.day_ns))
        for span in (self.chart.cursor, self.strip.cursor, self.overview.cursor):
            span.location = x
        low, high = chart.price_bounds(look.k_ref, look.rows, look.step)
        rows = rows.filter(pl.col("tick").is_between(low, high))
        if look.known != self._known:
            self._paint_known(look)
        top = ladder.flow_top(rows)
        px = self.ladder_height / (2 * look.rows + 1) * look.step
        self.ladder.scale.data = {"top": [top]}
        # The size first: a glyph that changes after its data are measured is measured again.
        self.ladder.renderers["texts"].glyph.text_font_size = f"{min(max(px * 0.86, 9.0), 15.0):.1f}px"
        ladder.patch_ladder(self.ladder, ladder.ladder_data(rows, look.step, top, text_every_row=px >= 10))
