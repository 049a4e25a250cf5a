"""The replay's figures and how a frame is patched into them, all of it from `workbench.views.replay_data`: never later."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import panel as pn
import param
import polars as pl
from panel.custom import JSComponent

from engine.bars import BAR_NS
from engine.ladder import NO_TICK
from engine.session import level_title, tick_at
from engine.vocab import NS
from workbench.assets import script
from workbench.plots import axes, conditions, heatmap, ladder, levels
from workbench.plots.heatmap import LAYERS, legend_html, palette_of
from workbench.plots.words import sentence
from workbench.state import LevelState
from workbench.theme import MONO, THEMES, Theme, css_variables
from workbench.views import components
from workbench.views import replay_data as past
from workbench.views import replay_data as prices
from workbench.views.components import PANE_CSS, Chips
from workbench.views.replay_data import Frame, known_items
from workbench.views.transport import Deck

# ----------------------------------------------------------------------------
# The replay's figures and how a frame is patched into them; all of it comes from `replay_past`, so nothing from after the frame's t

LINES_EVERY_S, LINES_EVERY_FRAMES = 1.0, 30
"""While it plays, lines and names of levels follow their prices no more often: to paint the chart for each tick of each average costs
frames."""

LADDER_CSS = {"flex": "0 0 clamp(430px, 23vw, 640px)"}


class ReplayPictures:
    """Chart, ladder and conditions strip on shared ranges, and `live`, which paints what moves while it plays."""

    def __init__(self, theme: Theme, tick_size: float) -> None:
        self.theme = theme
        self.chart = heatmap.level_chart(theme, tick_size)
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
        heatmap.theme_chart(self.chart, theme)
        ladder.theme_ladder(self.ladder, theme)
        conditions.theme_strip(self.strip, theme)
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
        palette = heatmap.palette_of(self.theme, slab.layer, preset)
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
        self.chart.sources["facts"].data = heatmap.facts_data(
            slab.layer, tick_size=s.tick_size, k_ref=frame.look.k_ref, step=slab.step, window_s=1, x0=x0, pool=slab.pool
        )
        self._paint_invalid(frame)

    def _paint_invalid(self, frame: Frame) -> None:
        """Stretches in which the book was not valid, up to the frame's time."""
        slab = frame.slab
        spans = heatmap.invalid_spans(slab.valid[: frame.t - slab.begin])
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
        codes = heatmap.codes(values, slab.layer, slab.top)
        self.chart.sources["heat"].patch({"image": [(where, codes.ravel())], "value": [(where, values.ravel())]})
        if not slab.valid[max(before - slab.begin - 1, 0) : frame.t - slab.begin].all():
            self._paint_invalid(frame)

    def _paint_places(self, frame: Frame) -> None:
        """Ranges, levels and their names: what moves with the level and with the stretch of time shown."""
        look, k = frame.look, frame.look.k_ref
        low, high = heatmap.price_bounds(frame.centre, look.rows, look.step)
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
            tick = tick_at(s.level(i), frame.now_ns - 1)
            if tick is not None:
                at.append((level_title(i), tick, i == look.level_id))
        shown = frame.x(frame.low), frame.x(frame.high)
        low, high = heatmap.price_bounds(frame.centre, look.rows, look.step)
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
        bars = s.candles()
        done, run = bars.done(frame.t), bars.running(frame.t)
        if (done, run) == self._bars and not moved:
            return
        same = self._bars[0] == done and self._bars[1] is not None and run is not None and not moved
        self._bars = (done, run)
        shown = bars.until(frame.t, s.ladder.start_ns + frame.low * NS)
        src = self.chart.sources["candles"]
        made = {k: np.asarray(v).tolist() for k, v in heatmap.candle_data(shown.tail(1) if same else shown, s.day_ns).items()}
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


# ----------------------------------------------------------------------------
# What a frame adds to figures that stand still: made for `replay_live`, from `replay_past` alone

WHOLE_EVERY_S, WHOLE_EVERY_FRAMES = 4.0, 60
"""While it plays, the figures are painted whole so often, and no more often than after so many frames, so that a machine under load has
more frames rather than more whole ones. Until then the newest seconds have no read-out under the pointer."""


class Tail:
    """Counts what has been told, so that each frame tells only what is new."""

    def __init__(self) -> None:
        self._run = self._base = self._frames = 0
        self._at = -np.inf
        self._whole: Frame | None = None
        self._told: Frame | None = None
        self._windows = 0

    def look(self, theme: Theme, parts: heatmap.ChartParts) -> dict[str, Any]:
        """Colours, widths and places that the canvases need, those of the figures."""
        r = {k: v.glyph for k, v in parts.renderers.items()}
        keys = ("casing", "long", "short", "level", "muted", "grid", "text", "wall")
        return {k: getattr(theme, k) for k in keys} | {
            "floor": theme.map_floor, "mono": MONO, "cells": ["#00000000", theme.edge, theme.short, theme.long],
            "feet": list(conditions.BASE.values()), "floors": [conditions.floor(d) for d in conditions.BASE],
            "quotes": [r["bid_casing"].line_width, r["bid_casing"].line_alpha, r["bid"].line_width],
            "lines": r["body"].line_color["transform"].palette, "fills": r["body"].fill_color["transform"].palette,
            "wick": [r["wick_casing"].line_width, r["wick"].line_width],
            "body": [r["body_casing"].line_width, r["body"].line_width, r["body"].fill_alpha], "line": r["levels_casing"].line_width,
            "bands": [theme.short if d == "down" else theme.long for d in conditions.BASE],
        }  # fmt: skip

    def goes_on(self, frame: Frame, wall: float) -> bool:
        """Whether `frame` can be told as an addition: not while the book is not valid, whose hatching the figures draw."""
        whole = self._whole
        if (
            whole is None
            or self._told is None
            or frame.t < self._told.t
            or (wall - self._at >= WHOLE_EVERY_S and self._frames >= WHOLE_EVERY_FRAMES)
        ):
            return False
        begin = frame.slab.begin
        return bool(frame.slab.valid[max(self._since(whole) - begin, 0) : frame.t - begin].all())

    def painted(self, frame: Frame, wall: float, goes_on: bool) -> None:
        """The figures were painted whole at `frame`; without `goes_on` their image is another."""
        if not goes_on or self._told is None:
            self._run += 1
        self._base += 1
        self._whole, self._at, self._frames = frame, wall, 0

    def stop(self) -> None:
        """It does not play any more: the next frame starts anew."""
        self._told = None

    @staticmethod
    def _since(whole: Frame) -> int:
        """The second in which the candle began that was under way when the figures were painted: it may still have shrunk."""
        start, bar = whole.look.session.ladder.start_ns // NS, BAR_NS // NS
        return max((start + whole.t - 1) // bar * bar - start, 0)

    def frame(self, frame: Frame, ladder: dict[str, Any]) -> str:
        """What `replay_live.Live.frame` holds."""
        whole = self._whole
        assert whole is not None
        told = self._told if self._told is not None else whole
        s, slab, look = frame.look.session, frame.slab, frame.look
        strip = past.strip(s, look.level_id, look.params)
        new = whole is frame
        first = slab.column_of(max(told.t - 1, slab.begin))
        block = slab.block(first, frame.t) if told.slab is slab and told.t < frame.t else np.empty((0, 0), np.float32)
        since = self._since(whole)
        candles = heatmap.candle_data(s.candles().until(frame.t, s.ladder.start_ns + since * NS), s.day_ns)
        done = strip.done(frame.now_ns)
        fresh = [] if new else strip.fresh(self._windows, frame.now_ns)
        ended = strip.done(whole.now_ns)
        self._windows, self._told = done, frame
        self._frames += 1
        return json.dumps({
            "run": self._run, "base": self._base, "x": frame.x(frame.t), "since": frame.x(since),
            "painted": frame.x((int(strip.ends[ended - 1]) - s.ladder.start_ns) // NS) if ended else frame.x(whole.low),
            "first": first, "codes": heatmap.codes(block, slab.layer, slab.top).ravel().tolist(),
            "quotes": _plain(prices.quotes(s).between(told.t, frame.t, frame.quote_step)),
            "candles": {k: np.asarray(v).tolist() for k, v in candles.items()}, "ladder": ladder, "windows": fresh,
        }, separators=(",", ":"), allow_nan=False)  # fmt: skip


def _plain(quotes: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """With None for what is missing: JSON has no NaN."""
    return {k: [None if v != v else v for v in column] for k, column in quotes.items()}


# ----------------------------------------------------------------------------
# What moves while a replay plays, painted over the figures: a strip around the present, the ladder, the newest conditions


class Live(JSComponent):
    """The moving part of the replay's three figures.

    What is new comes with the deck's ``now``, as JSON: that costs the server a tenth of what a property of nested lists does (it looks
    for models in every number). It holds ``run`` (another number: take the image anew from its source), ``base`` (another number:
    the figures were painted), ``x`` and ``since`` (present and left edge of the strip, axis coordinates), ``first`` and ``codes``
    (column and codes of the new columns, row by row), ``quotes`` and ``candles`` (lists by column), ``ladder``
    (`workbench.plots.ladder.ladder_data` and ``size``), ``painted`` and ``windows`` (where the conditions' figure ends, and its new
    windows: x, width, codes of both directions, heights of both bands). Empty: the figures are up to date by themselves.
    """

    look = param.Dict(default={}, doc="Colours of the theme and type of the ladder's figures")

    _esm: ClassVar[str] = script("bokeh_bridge", "live")


# ----------------------------------------------------------------------------
# The replay's words: sentence, conditions, levels and legend beside the figures, the path in the scrubber; slower than the figures

TRACK_EVERY_S = 20
"""The scrubber's path has a point for so many seconds."""


class Said(JSComponent):
    """Text that changes often. A pane of Panel's has the page laid out anew for each change (20 ms)."""

    html = param.String(default="", doc="What is said; whoever sets it has escaped what comes from elsewhere")

    _stylesheets: ClassVar[list[str]] = [PANE_CSS]
    _esm = script("said")


class ReplayWords:
    """What is said about a frame."""

    def __init__(self, state: LevelState, deck: Deck) -> None:
        self.state, self.deck = state, deck
        fill: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}
        self.levels = Chips(label="Level", **fill)
        self.say = Said(**fill)
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.conditions = Said(styles=LADDER_CSS, margin=0)
        self.layer_chips = Chips(
            label="Heatmap layer", small=True, margin=0, width=440, value=state.layer,
            items=[{"id": la.key, "label": la.title, "title": la.meaning} for la in LAYERS.values()],
        )  # fmt: skip
        self._track_key: tuple[Any, ...] = ()
        self._scale: tuple[Any, ...] = ()
        self.parts = (self._paint_sentence, self._paint_levels, self._paint_conditions, self._paint_track)
        self._turn = 0

    def paint(self, frame: Frame, rows: pl.DataFrame) -> None:
        """Say what `frame` shows; `rows` are the ladder's."""
        for part in self.parts:
            part(frame, rows)

    def paint_some(self, frame: Frame, rows: pl.DataFrame) -> None:
        """Say one part of it, another one each time: all at once would hold up a frame of a replay that plays."""
        self._turn = (self._turn + 1) % len(self.parts)
        self.parts[self._turn](frame, rows)

    def _paint_sentence(self, frame: Frame, rows: pl.DataFrame) -> None:
        look, s = frame.look, frame.look.session
        row = self._row(frame)
        zones = look.params.zones
        valid = row is not None and bool(row["book_valid"])
        if look.known:
            why = "nothing has traded yet" if valid else f"the book is not valid at {axes.clock(frame.now_ns)}"
            if row is None:
                why = f"no window has ended since it is known, by {axes.clock(frame.now_ns)}"
            text = sentence(
                look.title, look.k_ref, rows, tick_size=s.tick_size, near=zones.near, far=zones.far,
                approach=str(row["approach"]) if row is not None and valid else None,
                distance=row["distance_ticks"] if row is not None and valid else None,  # type: ignore[arg-type]
                why=why,
            )  # fmt: skip
        else:
            text = f"{look.title}: not known yet at {axes.clock(frame.now_ns)}."
        self.say.html = components.sentence(text)

    def _row(self, frame: Frame) -> dict[str, object] | None:
        look = frame.look
        return past.strip(look.session, look.level_id, look.params).row(frame.now_ns)

    def _paint_conditions(self, frame: Frame, rows: pl.DataFrame) -> None:
        theme = THEMES[self.state.theme]
        self.conditions.html = conditions.words_html(self._row(frame) if frame.look.known else None, theme)
        scale = (frame.slab.layer, frame.slab.top, self.state.palette, theme)
        if scale != self._scale:
            self._scale = scale
            palette = palette_of(theme, frame.slab.layer, self.state.palette)
            self.legend.object = legend_html(frame.slab.layer, frame.slab.top, palette, theme, 1)

    def _paint_levels(self, frame: Frame, rows: pl.DataFrame) -> None:
        look, s = frame.look, frame.look.session
        last = s.last_tick(frame.now_ns)
        colors = css_variables(THEMES[self.state.theme])
        self.levels.param.update(items=known_items(s, look.level_id, frame.t, last), value=look.level_id, colors=colors)
        self.layer_chips.param.update(value=self.state.layer, colors=colors)

    def _paint_track(self, frame: Frame, rows: pl.DataFrame) -> None:
        s, t = frame.look.session, frame.t
        found = past.marked_touches(s, frame.look.level_id)
        passed = [int(x) for x in found[found < t]]
        key = (s, frame.look.level_id, t // TRACK_EVERY_S, len(passed))
        if key == self._track_key:
            return
        self._track_key = key
        points = [i for i in range(0, t, TRACK_EVERY_S) if s.ladder.last_tick[i] != NO_TICK]
        first = -(-s.ladder.start_ns // (1800 * NS)) * 1800 * NS
        hours = [[(h - s.ladder.start_ns) // NS, axes.clock(h, seconds=False)] for h in range(first, s.ladder.end_ns, 1800 * NS)]
        self.deck.track = {
            "seconds": s.ladder.seconds, "x": points, "y": [int(s.ladder.last_tick[i]) for i in points], "touches": passed, "hours": hours,
        }  # fmt: skip
