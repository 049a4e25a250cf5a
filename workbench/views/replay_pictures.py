"""The replay's figures and how a frame is patched into them; all of it comes from `replay_past`, so nothing from after the frame's time."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from engine.vocab import NS
from workbench import data
from workbench.plots import axes, chart, coding, conditions, ladder, levels, readout
from workbench.theme import Theme
from workbench.views import replay_past as past
from workbench.views import replay_prices as prices
from workbench.views.replay_frame import Frame
from workbench.views.replay_live import Live
from workbench.views.replay_tail import Tail

LINES_EVERY_S, LINES_EVERY_FRAMES = 1.0, 30
"""While it plays, lines and names of levels follow their prices no more often: to paint the chart for each tick of each average costs
frames."""

LADDER_CSS = {"flex": "0 0 clamp(430px, 23vw, 640px)"}


class ReplayPictures:
    """Chart, ladder and conditions strip on shared ranges, and `live`, which paints what moves while it plays."""

    def __init__(self, theme: Theme, tick_size: float) -> None:
        self.theme = theme
        self.chart = chart.level_chart(theme, tick_size)
        fig = self.chart.figure
        fig.name = "replay_chart"
        # Time and price follow the replay: what moves them by hand is left out.
        fig.tools = [t for t in fig.tools if type(t).__name__ in ("CrosshairTool", "HoverTool", "SaveTool")]
        # Above the canvas of what moves, which lies between the figure's two.
        self.chart.renderers["names"].level = self.chart.renderers["leaders"].level = self.chart.mark.level = "overlay"
        self.ladder = ladder.ladder_figure(theme, tick_size, y_range=fig.y_range)
        self.ladder.figure.name = "replay_ladder"
        self.strip = conditions.strip_figure(theme, x_range=fig.x_range, height=150)
        self.strip.figure.name = "replay_conditions"
        self.live = Live(width=0, height=0, margin=0)
        self.tail = Tail()
        self.new = ""
        self.ladder_height = 480
        self._last: Frame | None = None
        self._places: tuple[Any, ...] = ()
        self._lines: tuple[Any, ...] = ()
        self._lines_at, self._lines_in = 0.0, 0
        self._palette: list[str] = []
        self._bars: tuple[int, Any] = (-1, None)
        self._strip_done: tuple[Any, ...] = ()
        self._bad: dict[str, list[object]] = {}
        self._top = 0.0
        self.dress(theme)

    @property
    def figures(self) -> tuple[Any, ...]:
        """All three figures."""
        return self.chart.figure, self.ladder.figure, self.strip.figure

    def dress(self, theme: Theme) -> None:
        """Change the theme of all figures; the next frame is painted whole."""
        self.theme = theme
        chart.dress_chart(self.chart, theme)
        ladder.dress_ladder(self.ladder, theme)
        conditions.dress_strip(self.strip, theme)
        self.live.look = self.tail.look(theme, self.chart)
        self._last = None

    def forget_lines(self) -> None:
        """Place lines and names anew with the next frame: names keep a distance that depends on the figure's height."""
        self._lines = ()

    def forget(self) -> None:
        """Paint the next frame whole."""
        self._last = None

    def paint(self, frame: Frame, preset: str, half_life_s: float, wall: float, *, playing: bool) -> pl.DataFrame:
        """Show `frame`, with no more than what has changed since the last one; returns the ladder's rows.

        While it plays, the figures themselves are painted only now and then; the rest goes to `live`.
        """
        had = self._last
        goes_on = had is not None and had.slab is frame.slab and had.look.session is frame.look.session and had.t <= frame.t
        rows = self._rows(frame, half_life_s)
        reach, down = frame.look.rows, -rows["tick"].to_numpy()
        first, last = np.searchsorted(down, (-frame.centre - reach, -frame.centre + reach + frame.look.step + 1))
        shown = rows.slice(first, last - first)
        top = ladder.flow_top(shown)
        places, lines = places_of(frame), lines_of(frame)
        moved = had is None or self._places != places or (self._lines != lines and not playing)
        # Bars shall not jump in length with every window: while it plays, the scale shrinks only with the next whole picture.
        live = playing and goes_on and not moved and self.tail.goes_on(frame, wall)
        self._top = max(top, self._top) if live else top
        if not live:
            self._paint_figures(frame, preset, goes_on, moved)
            self.tail.painted(frame, wall, goes_on)
            self._last, self._places = frame, places
        due = not live or (self._lines_in <= 0 and wall - self._lines_at >= LINES_EVERY_S)
        if (moved or not goes_on or self._lines != lines) and due:
            self._paint_lines(frame)
            self._lines, self._lines_at, self._lines_in = lines, wall, LINES_EVERY_FRAMES
        self._lines_in -= 1
        px = self.ladder_height / (2 * frame.look.rows + 1) * frame.look.step
        size = f"{min(max(px * 0.86, 9.0), 15.0):.1f}px"
        made = ladder.ladder_data(shown, frame.look.step, self._top, text_every_row=px >= 10)
        self._paint_ladder({k: [] for k in made} if playing else made, size)
        if self.strip.cursor.visible == playing:
            self.strip.cursor.visible = not playing
        self.new = ""
        if playing:
            self.new = self.tail.frame(frame, {**made, "size": size})
        else:
            self.tail.stop()
        return rows

    def _rows(self, frame: Frame, half_life_s: float) -> pl.DataFrame:
        return frame.slab.rows(frame.t, frame.look.params.window_s, half_life_s == 0, frame.look.k_ref)

    def _paint_figures(self, frame: Frame, preset: str, goes_on: bool, moved: bool) -> None:
        had = self._last
        if not goes_on:
            self._paint_session(frame, preset)
            self._paint_image(frame)
        if moved or not goes_on:
            self._paint_places(frame)
        if goes_on and had is not None:
            self._patch_image(frame, had.t)
        still = had is not None and goes_on and (had.low, had.high) == (frame.low, frame.high)
        self._paint_quotes(frame, had.t if still and had is not None else None)
        self._paint_candles(frame, not still)
        self._paint_strip(frame, not still)

    def _paint_session(self, frame: Frame, preset: str) -> None:
        s, slab = frame.look.session, frame.slab
        palette = chart.palette_of(self.theme, slab.layer, preset)
        if palette != self._palette:
            self._palette = palette
            self.chart.mapper.palette = palette
        if self.chart.mark.visible != s.simulated:
            self.chart.mark.visible = s.simulated
        self._bars, self._strip_done = (-1, None), ()
        axis = self.chart.figure.right[0].formatter
        if axis.args.get("size") != s.tick_size:
            self.chart.figure.right[0].formatter = axes.price_formatter(s.tick_size)

    def _paint_image(self, frame: Frame) -> None:
        s, slab = frame.look.session, frame.slab
        codes, values = slab.image(frame.t)
        x0 = frame.x(slab.begin)
        self.chart.sources["heat"].data = {
            "image": [codes], "value": [values], "x": [x0], "y": [float(slab.low) - 0.5], "dw": [slab.columns * slab.pool * 1000.0],
            "dh": [float(slab.ticks.size * slab.step)],
        }  # fmt: skip
        self.chart.sources["facts"].data = readout.facts_data(
            slab.layer, tick_size=s.tick_size, k_ref=frame.look.k_ref, step=slab.step, window_s=1, x0=x0, pool=slab.pool
        )
        self._paint_invalid(frame)

    def _paint_invalid(self, frame: Frame) -> None:
        """Stretches in which the book was not valid, up to the frame's time."""
        slab = frame.slab
        spans = coding.invalid_spans(slab.valid[: frame.t - slab.begin])
        bad: dict[str, list[object]] = {
            "left": [frame.x(slab.begin + a) for a, _ in spans], "right": [frame.x(slab.begin + b) for _, b in spans],
            "text": ["book not valid"] * len(spans),
        }  # fmt: skip
        if bad != self._bad:
            self._bad = bad
            self.chart.sources["invalid"].data = bad
            self.strip.invalid.data = {k: bad[k] for k in ("left", "right")}

    def _patch_image(self, frame: Frame, before: int) -> None:
        slab = frame.slab
        first, last = slab.column_of(max(before - 1, slab.begin)), slab.column_of(frame.t - 1) + 1
        values = slab.block(first, frame.t)
        if values.shape[1] == 0 or frame.t == before:
            return
        where = [0, slice(0, values.shape[0]), slice(first, last)]
        codes = coding.codes(values, slab.layer, slab.top)
        self.chart.sources["heat"].patch({"image": [(where, codes.ravel())], "value": [(where, values.ravel())]})
        if not slab.valid[max(before - slab.begin - 1, 0) : frame.t - slab.begin].all():
            self._paint_invalid(frame)

    def _paint_places(self, frame: Frame) -> None:
        """Ranges, levels and their names: what moves with the level and with the stretch of time shown."""
        look, k = frame.look, frame.look.k_ref
        low, high = chart.price_bounds(frame.centre, look.rows, look.step)
        fig, src = self.chart.figure, self.chart.sources
        _move(fig.x_range, frame.x(frame.low), frame.x(frame.high))
        if src["facts"].data["k"] != [k]:
            src["facts"].data = {**src["facts"].data, "k": [k]}
        _move(self.chart.distance, low - k, high - k)
        _move(fig.y_range, low, high)
        ladder.mark_level(self.ladder, k if look.known else None)
        z = look.params.zones
        _put(src["zones"], levels.zone_data(k if look.known else None, (z.at, z.near, z.mid, z.far)))

    def _paint_lines(self, frame: Frame) -> None:
        """Lines and names of the levels."""
        s, look, src = frame.look.session, frame.look, self.chart.sources
        start = s.ladder.start_ns
        runs = past.known_runs(s, look.level_id, frame.t, start + frame.low * NS, start + frame.high * NS)
        _put(src["levels"], levels.level_data(runs, look.level_id, s.day_ns))
        at = []
        for i in dict.fromkeys([*past.known_levels(s, frame.t), look.level_id]):
            tick = data.tick_at(data.level_frame(s, i), frame.now_ns - 1)
            if tick is not None:
                at.append((data.level_title(i), tick, i == look.level_id))
        shown = frame.x(frame.low), frame.x(frame.high)
        low, high = chart.price_bounds(frame.centre, look.rows, look.step)
        _put(src["names"], levels.name_data(at, shown, (low, high), self.ladder_height, s.tick_size))

    def _paint_quotes(self, frame: Frame, before: int | None) -> None:
        """Best bid and ask; streamed while the picture stands still."""
        made = prices.quotes(frame.look.session).between(frame.low if before is None else before, frame.t, frame.quote_step)
        if before is None:
            # Thousands of numbers go as bytes, a few as text.
            self.chart.sources["quotes"].data = {k: np.asarray(v, dtype=float) for k, v in made.items()}
        elif made["x"]:
            self.chart.sources["quotes"].stream(made)
        self.chart.cursor.location = frame.x(frame.t)

    def _paint_candles(self, frame: Frame, moved: bool) -> None:
        s = frame.look.session
        bars = prices.candles(s)
        done, run = bars.done(frame.t), bars.running(frame.t)
        if (done, run) == self._bars and not moved:
            return
        same = self._bars[0] == done and self._bars[1] is not None and run is not None and not moved
        self._bars = (done, run)
        shown = bars.until(frame.t, s.ladder.start_ns + frame.low * NS)
        src = self.chart.sources["candles"]
        made = {k: np.asarray(v).tolist() for k, v in chart.candle_data(shown.tail(1) if same else shown, s.day_ns).items()}
        if same:
            i = len(src.data["x"]) - 1
            src.patch({k: [(i, made[k][0])] for k in ("low", "high", "top", "bottom", "up")})
        else:
            src.data = made

    def _paint_strip(self, frame: Frame, moved: bool) -> None:
        look = frame.look
        strip = past.strip(look.session, look.level_id, look.params)
        done = (strip.done(frame.now_ns), look.level_id, look.params)
        if done == self._strip_done and not moved:
            return
        self._strip_done = done
        # With the strip's own data: a line that moves alone would have the browser paint all of it for every frame.
        self.strip.cursor.location = frame.x(frame.t)
        self.strip.cells.data, self.strip.counts.data = strip.until(frame.now_ns, frame.x(frame.low))

    def _paint_ladder(self, made: dict[str, list[object]], size: str) -> None:
        """The ladder's figure: empty while it plays and `live` paints all of it but the axes."""
        parts = self.ladder
        glyph = parts.renderers["texts"].glyph
        if glyph.text_font_size != size:
            glyph.text_font_size = size
        rescaled = parts.scale.data != {"top": [self._top]}
        if rescaled:
            parts.scale.data = {"top": [self._top]}
        if made["y"] or parts.source.data["y"]:
            ladder.patch_ladder(parts, made)
        elif rescaled:
            # The numbers at its foot are written anew only with the figure.
            parts.source.data = dict(parts.source.data)


def places_of(frame: Frame) -> tuple[Any, ...]:
    """What ranges, zones and the level's own line depend on: they are painted anew in the frame in which it changes."""
    look = frame.look
    return frame.low, frame.high, frame.centre, look.level_id, look.known, look.k_ref, look.rows, look.step, look.params.zones


def lines_of(frame: Frame) -> tuple[Any, ...]:
    """Where each level stands that is known: lines and names are old where it has changed."""
    s = frame.look.session
    return tuple((i, past.tick_now(s, i, frame.t)) for i in past.known_levels(s, frame.t))


def _move(span: Any, start: float, end: float) -> None:
    if (span.start, span.end) != (start, end):
        span.update(start=start, end=end)


def _put(source: Any, made: dict[str, Any]) -> None:
    """Patch `made` in, unless it is there already."""
    if source.data != made:
        source.data = made
