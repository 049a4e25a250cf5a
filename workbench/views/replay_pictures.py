"""The replay's figures and how a frame is patched into them; all of it comes from `replay_past`, so nothing from after the frame's time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from engine.vocab import NS
from workbench import data
from workbench.plots import axes, chart, conditions, ladder
from workbench.theme import Theme
from workbench.views import replay_past as past
from workbench.views.look import Look

LADDER_CSS = {"flex": "0 0 clamp(430px, 23vw, 640px)"}
SHIFTS = 10
"""The chart moves on by so many parts of its span: a picture that stands still costs a patch, a moving one all its axes."""


@dataclass(frozen=True)
class Frame:
    """What a frame shows.

    Attributes
    ----------
    t : int
        Seconds of the session that have passed.
    low, high : int
        Seconds shown, ``[low, high)``; what lies from `t` on is empty.
    centre : int
        Tick in the middle of the price axis.
    """

    look: Look
    t: int
    low: int
    high: int
    centre: int
    slab: past.Slab

    @property
    def now_ns(self) -> int:
        """The instant, ns since the epoch."""
        return self.look.session.ladder.start_ns + self.t * NS


def stretch(t: int, span_s: int, seconds: int) -> tuple[int, int]:
    """Seconds shown at `t`, ``[low, high)``: a function of `t` alone, the present in the last tenth or so."""
    if span_s >= seconds:
        return 0, seconds
    shift = max(span_s // SHIFTS, 1)
    high = (t // shift + 1) * shift + shift // 4
    low = max(high - span_s, 0)
    return low, low + span_s


class ReplayPictures:
    """Chart, ladder and conditions strip on shared ranges."""

    def __init__(self, theme: Theme, tick_size: float) -> None:
        self.theme = theme
        self.chart = chart.level_chart(theme, tick_size)
        fig = self.chart.figure
        fig.name = "replay_chart"
        # Time and price follow the replay: what moves them by hand is left out.
        fig.tools = [t for t in fig.tools if type(t).__name__ in ("CrosshairTool", "HoverTool", "SaveTool")]
        self.ladder = ladder.ladder_figure(theme, tick_size, y_range=fig.y_range)
        self.ladder.figure.name = "replay_ladder"
        self.strip = conditions.strip_figure(theme, x_range=fig.x_range, height=150)
        self.strip.figure.name = "replay_conditions"
        self.ladder_height = 480
        self._last: Frame | None = None
        self._palette: list[str] = []
        self._bars: tuple[int, Any] = (-1, None)
        self._strip_done: tuple[Any, ...] = ()
        self._bad: dict[str, list[object]] = {}

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
        self._last = None

    def forget(self) -> None:
        """Paint the next frame whole."""
        self._last = None

    def paint(self, frame: Frame, preset: str, half_life_s: float) -> pl.DataFrame:
        """Show `frame`, with no more than what has changed since the last one; returns the ladder's rows."""
        had, self._last = self._last, frame
        goes_on = had is not None and had.slab is frame.slab and had.look.session is frame.look.session and had.t <= frame.t
        if not goes_on:
            self._paint_session(frame, preset)
            self._paint_image(frame)
        moved = not goes_on or had is None or (had.low, had.high, had.centre, had.look.k_ref) != (
            frame.low, frame.high, frame.centre, frame.look.k_ref
        )  # fmt: skip
        if moved:
            self._paint_places(frame)
        if goes_on and had is not None:
            self._patch_image(frame, had.t)
        self._paint_quotes(frame, had.t if goes_on and had is not None and not moved else None)
        self._paint_candles(frame, moved)
        self._paint_strip(frame, moved)
        return self._paint_ladder(frame, half_life_s)

    def _x(self, frame: Frame, second: int) -> float:
        s = frame.look.session
        return float(axes.x_ms(s.ladder.start_ns + second * NS, s.day_ns))

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
        x0 = self._x(frame, slab.begin)
        self.chart.sources["heat"].data = {
            "image": [codes], "value": [values], "x": [x0], "y": [float(slab.low) - 0.5], "dw": [slab.columns * slab.pool * 1000.0],
            "dh": [float(slab.ticks.size * slab.step)],
        }  # fmt: skip
        self.chart.sources["facts"].data = chart.facts_data(
            slab.layer, tick_size=s.tick_size, k_ref=frame.look.k_ref, step=slab.step, window_s=1, x0=x0, pool=slab.pool
        )
        self._paint_invalid(frame)

    def _paint_invalid(self, frame: Frame) -> None:
        """Stretches in which the book was not valid, up to the frame's time."""
        from workbench.plots.coding import invalid_spans

        slab = frame.slab
        spans = invalid_spans(slab.valid[: frame.t - slab.begin])
        bad: dict[str, list[object]] = {
            "left": [self._x(frame, slab.begin + a) for a, _ in spans], "right": [self._x(frame, slab.begin + b) for _, b in spans],
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
        codes = chart.coding.codes(values, slab.layer, slab.top)
        self.chart.sources["heat"].patch({"image": [(where, codes.ravel())], "value": [(where, values.ravel())]})
        if not slab.valid[max(before - slab.begin - 1, 0) : frame.t - slab.begin].all():
            self._paint_invalid(frame)

    def _paint_places(self, frame: Frame) -> None:
        """Ranges, levels and their names: what moves with the level and with the stretch of time shown."""
        s, look, k = frame.look.session, frame.look, frame.look.k_ref
        reach = look.rows + 0.5 + look.step / 2
        fig, src = self.chart.figure, self.chart.sources
        _move(fig.x_range, self._x(frame, frame.low), self._x(frame, frame.high))
        if src["facts"].data["k"] != [k]:
            src["facts"].data = {**src["facts"].data, "k": [k]}
        _move(self.chart.distance, frame.centre - reach - k, frame.centre + reach - k)
        _move(fig.y_range, frame.centre - reach, frame.centre + reach)
        place = k if look.known else None
        if self.ladder.level.location != place:
            self.ladder.level.location = place
        z = look.params.zones
        _put(src["zones"], chart.zone_data(k, (z.at, z.near, z.mid, z.far)) if look.known else {"y": [], "text": []})
        start = s.ladder.start_ns
        runs = past.known_runs(s, look.level_id, frame.t, start + frame.low * NS, start + frame.high * NS)
        _put(src["levels"], chart.level_data(runs, look.level_id, s.day_ns, self.theme))
        at = []
        for i in dict.fromkeys([*past.known_levels(s, frame.t), look.level_id]):
            tick = data.tick_at(data.level_frame(s, i), frame.now_ns - 1)
            if tick is not None:
                at.append((data.level_title(i), tick, i == look.level_id))
        _put(src["names"], chart.name_data(at, self._x(frame, frame.high), s.tick_size, self.theme))

    def _paint_quotes(self, frame: Frame, before: int | None) -> None:
        """Best bid and ask; streamed while the picture stands still."""
        s = frame.look.session
        a = frame.low if before is None else before
        every = max((frame.high - frame.low) // (2 * past.COLUMNS), 1)
        a = -(-a // every) * every
        if frame.t > a or before is None:
            tape = s.ladder.tape.slice(a, max(frame.t - a, 0))
            made = {k: np.asarray(v).tolist() for k, v in chart.quote_data(tape, s.day_ns, every).items()}
            if before is None:
                self.chart.sources["quotes"].data = made
            else:
                self.chart.sources["quotes"].stream(made)
        x = self._x(frame, frame.t)
        self.chart.cursor.location = x

    def _paint_candles(self, frame: Frame, moved: bool) -> None:
        s = frame.look.session
        bars = past.candles(s)
        done, run = bars.done(frame.t), bars.running(frame.t)
        if (done, run) == self._bars and not moved:
            return
        same = self._bars[0] == done and self._bars[1] is not None and run is not None and not moved
        self._bars = (done, run)
        shown = bars.until(frame.t, s.ladder.start_ns + frame.low * NS)
        src = self.chart.sources["candles"]
        made = {k: np.asarray(v).tolist() for k, v in chart.candle_data(shown.tail(1) if same else shown, self.theme, s.day_ns).items()}
        if same:
            i = len(src.data["x"]) - 1
            src.patch({k: [(i, made[k][0])] for k in ("low", "high", "top", "bottom", "fill", "line")})
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
        self.strip.cursor.location = self._x(frame, frame.t)
        self.strip.cells.data, self.strip.counts.data = strip.until(frame.now_ns, self._x(frame, frame.low))

    def _paint_ladder(self, frame: Frame, half_life_s: float) -> pl.DataFrame:
        look = frame.look
        one = frame.slab.rows(frame.t, look.params.window_s, half_life_s == 0)
        rows = ladder.rows_at(one, 0)
        reach = look.rows
        shown = rows.filter((pl.col("tick") >= frame.centre - reach - look.step) & (pl.col("tick") <= frame.centre + reach))
        top = ladder.flow_top(shown)
        px = self.ladder_height / (2 * look.rows + 1) * look.step
        _put(self.ladder.scale, {"top": [top]})
        size = f"{min(max(px * 0.86, 9.0), 15.0):.1f}px"
        glyph = self.ladder.renderers["texts"].glyph
        if glyph.text_font_size != size:
            glyph.text_font_size = size
        ladder.patch_ladder(self.ladder, ladder.ladder_data(shown, self.theme, look.step, top, text_every_row=px >= 10), self.theme)
        return rows


def _move(span: Any, start: float, end: float) -> None:
    if (span.start, span.end) != (start, end):
        span.update(start=start, end=end)


def _put(source: Any, made: dict[str, Any]) -> None:
    """Patch `made` in, unless it is there already."""
    if source.data != made:
        source.data = made
