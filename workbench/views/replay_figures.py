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
from engine.vocab import NS
from workbench.assets import script, style
from workbench.plots import axes, conditions, heatmap, ladder, levels
from workbench.state import LevelState
from workbench.theme import MONO, THEMES, Theme, css_variables
from workbench.views import components, replay_data
from workbench.views.components import FILL, LADDER_CSS, PANE_CSS, Chips, layer_chips
from workbench.views.level_figures import ChartPictures, move, put
from workbench.views.replay_data import FRAME_S, Frame
from workbench.views.viewport import named_levels

LINES_EVERY_S, LINES_EVERY_FRAMES = 1.0, 30
"""While it plays, lines and names of levels follow their prices no more often: to paint the chart for each tick of each average costs
frames."""


class ReplayPictures(ChartPictures):
    """Chart, ladder and conditions strip, and `live`, which paints what moves while it plays."""

    def __init__(self, theme: Theme, tick_size: float) -> None:
        super().__init__(theme, tick_size, strip_height=150)
        for fig, name in zip(self.figures, ("chart", "ladder", "conditions")):
            fig.name = f"replay_{name}"
        # Time and price follow the replay: what moves them by hand is left out.
        chart = self.chart.figure
        chart.tools = [t for t in chart.tools if type(t).__name__ in ("CrosshairTool", "HoverTool", "SaveTool")]
        # Above the canvas of what moves, which lies between the figure's two.
        self.chart.renderers["names"].level = self.chart.renderers["leaders"].level = self.chart.mark.level = "overlay"
        self.live = Live(width=0, height=0, margin=0)
        self.tail = Tail()
        self.new = ""
        self._last: Frame | None = None
        self._places: tuple[Any, ...] = ()
        self._lines: tuple[Any, ...] = ()
        self._lines_at, self._lines_in = 0.0, 0
        self._bars: tuple[int, Any] = (-1, None)
        self._strip_done: tuple[Any, ...] = ()
        self._top = 0.0
        self.apply_theme(theme)

    def apply_theme(self, theme: Theme) -> None:
        """Change the theme of all figures; the next frame is painted whole."""
        self.theme = theme
        heatmap.theme_chart(self.chart, theme)
        ladder.theme_ladder(self.ladder, theme)
        conditions.theme_strip(self.strip, theme)
        self.live.look = self.tail.look(theme, self.chart)
        self._last = None

    def resize(self, height: int) -> None:
        """The ladder's height, px; lines and names are placed again with the next frame, for names keep a distance that depends on it."""
        self.ladder_height, self._lines = height, ()

    def forget(self) -> None:
        """Paint the next frame whole."""
        self._last = None

    def paint(self, frame: Frame, preset: str, half_life_s: float, wall: float, *, playing: bool) -> pl.DataFrame:
        """Show `frame`, with no more than what has changed since the last one; returns the ladder's rows.

        While it plays, the figures themselves are painted only now and then; the rest goes to `live`.
        """
        had, look, s = self._last, frame.look, frame.look.session
        goes_on = had is not None and had.slab is frame.slab and had.look.session is s and had.t <= frame.t
        rows = frame.slab.rows(frame.t, look.params.window_s, half_life_s == 0, look.k_ref)
        down = -rows["tick"].to_numpy()
        first, last = np.searchsorted(down, (-frame.centre - look.rows, -frame.centre + look.rows + look.step + 1))
        shown = rows.slice(first, last - first)
        top = ladder.flow_top(shown)
        # What ranges, zones and the level's own line depend on: they are painted again in the frame in which it changes.
        places = frame.low, frame.high, frame.centre, look.level_id, look.known, look.k_ref, look.rows, look.step, look.params.zones
        # Where each level is that is known: lines and names are old where it has changed.
        lines = tuple((i, replay_data.tick_now(s, i, frame.t)) for i in replay_data.known_levels(s, frame.t))
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
        size, roomy = self._ladder_type(look)
        made = ladder.ladder_data(shown, look.step, self._top, text_every_row=roomy)
        self._paint_ladder({k: [] for k in made} if playing else made, size)
        if self.strip.cursor.visible == playing:
            self.strip.cursor.visible = not playing
        self.new = self.tail.frame(frame, {**made, "size": size}) if playing else ""
        if not playing:
            self.tail.stop()
        return rows

    def _paint_figures(self, frame: Frame, preset: str, goes_on: bool, moved: bool) -> None:
        had = self._last
        if not goes_on:
            self._paint_session(frame, preset)
            self._paint_image(frame)
        if moved or not goes_on:
            self._paint_places(frame)
        if goes_on and had is not None:
            self._patch_image(frame, had.t)
        still = had if had is not None and goes_on and (had.low, had.high) == (frame.low, frame.high) else None
        self._paint_quotes(frame, None if still is None else still.t)
        self._paint_candles(frame, still is None)
        self._paint_strip(frame, still is None)

    def _paint_session(self, frame: Frame, preset: str) -> None:
        s = frame.look.session
        self.paint_palette(frame.slab.layer, preset)
        if self.chart.mark.visible != s.simulated:
            self.chart.mark.visible = s.simulated
        self._bars, self._strip_done = (-1, None), ()
        axis = self.chart.figure.right[0]
        if axis.formatter.args.get("size") != s.tick_size:
            axis.formatter = axes.price_formatter(s.tick_size)

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
        slab = frame.slab
        spans = heatmap.invalid_spans(slab.valid[: frame.t - slab.begin])
        left, right = (list[object](frame.x(slab.begin + span[end]) for span in spans) for end in (0, 1))
        text = [heatmap.NEAR_ONLY if slab.near[a:b].any() else heatmap.NOT_VALID for a, b in spans]
        self._paint_bad({"left": left, "right": right, "text": list[object](text)})

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
        fig, facts = self.chart.figure, self.chart.sources["facts"]
        move(fig.x_range, frame.x(frame.low), frame.x(frame.high))
        put(facts, {**facts.data, "k": [k]})
        move(self.chart.distance, low - k, high - k)
        move(fig.y_range, low, high)
        self._paint_level(look)

    def _paint_lines(self, frame: Frame) -> None:
        s, look, src = frame.look.session, frame.look, self.chart.sources
        start = s.ladder.start_ns
        runs = replay_data.known_runs(s, look.level_id, frame.t, start + frame.low * NS, start + frame.high * NS)
        put(src["levels"], levels.level_data(runs, look.level_id, s.day_ns))
        at = named_levels(s, replay_data.known_levels(s, frame.t), look.level_id, frame.now_ns - 1)
        shown, prices = (frame.x(frame.low), frame.x(frame.high)), heatmap.price_bounds(frame.centre, look.rows, look.step)
        put(src["names"], levels.name_data(at, shown, prices, self.ladder_height, s.tick_size))

    def _paint_quotes(self, frame: Frame, before: int | None) -> None:
        made = replay_data.quotes(frame.look.session).between(frame.low if before is None else before, frame.t, frame.quote_step)
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
        look, strip = frame.look, frame.strip
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
            # The numbers at its foot are written again only with the figure.
            parts.source.data = dict(parts.source.data)


WHOLE_EVERY_S, WHOLE_EVERY_FRAMES = 4.0, 60
"""While it plays, the figures are painted whole so often, and no more often than after so many frames, so that a machine under load has
more frames rather than more whole ones. Until then the newest seconds have no read-out under the pointer."""


class Tail:
    """What a frame adds to figures that do not change: counts what has been sent, so that each frame sends only what is new."""

    def __init__(self) -> None:
        self._run = self._base = self._frames = self._windows = 0
        self._at = -np.inf
        self._whole: Frame | None = None
        self._sent: Frame | None = None

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
        """Whether `frame` can be sent as an addition: not while the book is not valid, whose hatching the figures draw."""
        whole, sent, begin = self._whole, self._sent, frame.slab.begin
        due = wall - self._at >= WHOLE_EVERY_S and self._frames >= WHOLE_EVERY_FRAMES
        if whole is None or sent is None or frame.t < sent.t or due:
            return False
        return bool(frame.slab.valid[max(self._since(whole) - begin, 0) : frame.t - begin].all())

    def painted(self, frame: Frame, wall: float, goes_on: bool) -> None:
        """The figures were painted whole at `frame`; without `goes_on` their image is another."""
        if not goes_on or self._sent is None:
            self._run += 1
        self._base += 1
        self._whole, self._at, self._frames = frame, wall, 0

    def stop(self) -> None:
        """It does not play any more: the next frame starts from nothing."""
        self._sent = None

    @staticmethod
    def _since(whole: Frame) -> int:
        """The second in which the candle began that was under way when the figures were painted: it may still have shrunk."""
        start, bar = whole.look.session.ladder.start_ns // NS, BAR_NS // NS
        return max((start + whole.t - 1) // bar * bar - start, 0)

    def frame(self, frame: Frame, ladder: dict[str, Any]) -> str:
        """What is new in `frame`, for `Live`."""
        whole = self._whole
        assert whole is not None
        sent, s, slab, strip = self._sent or whole, frame.look.session, frame.slab, frame.strip
        first = slab.column_of(max(sent.t - 1, slab.begin))
        block = slab.block(first, frame.t) if sent.slab is slab and sent.t < frame.t else np.empty((0, 0), np.float32)
        since = self._since(whole)
        candles = heatmap.candle_data(s.candles().until(frame.t, s.ladder.start_ns + since * NS), s.day_ns)
        quotes = replay_data.quotes(s).between(sent.t, frame.t, frame.quote_step)
        fresh = [] if whole is frame else strip.fresh(self._windows, frame.now_ns)
        ended = strip.done(whole.now_ns)
        self._windows, self._sent = strip.done(frame.now_ns), frame
        self._frames += 1
        return json.dumps({
            "run": self._run, "base": self._base, "x": frame.x(frame.t), "since": frame.x(since),
            "painted": frame.x((int(strip.ends[ended - 1]) - s.ladder.start_ns) // NS) if ended else frame.x(whole.low),
            "first": first, "codes": heatmap.codes(block, slab.layer, slab.top).ravel().tolist(),
            # None for what is missing: JSON has no NaN.
            "quotes": {k: [None if v != v else v for v in column] for k, column in quotes.items()},
            "candles": {k: np.asarray(v).tolist() for k, v in candles.items()}, "ladder": ladder, "windows": fresh,
        }, separators=(",", ":"), allow_nan=False)  # fmt: skip


class Live(JSComponent):
    """What moves in the replay's figures, painted over them: a strip around the present, the ladder, the newest conditions.

    What is new comes with the deck's ``now``, as JSON: that costs the server a tenth of what a property of nested lists does (it looks
    for models in every number). It holds ``run`` (another number: take the image again from its source), ``base`` (another number:
    the figures were painted), ``x`` and ``since`` (present and left edge of the strip, axis coordinates), ``first`` and ``codes``
    (column and codes of the new columns, row by row), ``quotes`` and ``candles`` (lists by column), ``ladder``
    (`workbench.plots.ladder.ladder_data` and ``size``), ``painted`` and ``windows`` (where the conditions' figure ends, and its new
    windows: x, width, codes of both directions, heights of both bands). Empty: the figures are up to date by themselves.
    """

    look = param.Dict(default={}, doc="Colours of the theme and type of the ladder's figures")

    _esm: ClassVar[str] = script("bokeh_bridge", "live")


TRACK_EVERY_S = 20
"""The scrubber's path has a point for so many seconds."""


class Deck(JSComponent):
    """The transport: badge and clock, play and step, speed, the session's path so far as a scrubber, and the keyboard.

    It acknowledges every frame once it is painted; the server sends the next one only then. `acted` is what the trader did: ``name``
    (``play, step, seek, speed, touch, open, level, call``), ``value`` and a running number.
    """

    now = param.Dict(
        default={}, doc="Frame n, position in seconds, clock, whether it plays, index of the speed, last act answered, what `Live` paints"
    )
    track = param.Dict(default={}, doc="What was known of the session: its seconds, points and touches so far, hours")
    speeds = param.List(default=[], doc="Speeds in words")
    acted = param.Dict(default={}, doc="What the trader last did")
    painted = param.Integer(default=0, doc="The last frame that was painted")

    _stylesheets: ClassVar[list[str]] = [style("transport")]
    _esm = script("make", "one_at_a_time", "transport", LEAST_MS=FRAME_S * 1000)


class Said(JSComponent):
    """Text that changes often. A pane of Panel's has the page laid out again for each change (20 ms)."""

    html = param.String(default="", doc="What is said; whoever sets it has escaped what comes from elsewhere")

    _stylesheets: ClassVar[list[str]] = [PANE_CSS]
    _esm = script("said")


class ReplayWords:
    """What is said of a frame, slower than the figures: sentence, conditions, levels, legend, and the path in the scrubber."""

    def __init__(self, state: LevelState, deck: Deck) -> None:
        self.state, self.deck = state, deck
        self.levels = Chips(label="Level", **FILL)
        self.say = Said(**FILL)
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.conditions = Said(styles=LADDER_CSS, margin=0)
        self.layer_chips = layer_chips(state)
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
        look, row, clock = frame.look, frame.strip.row(frame.now_ns), axes.clock(frame.now_ns)
        text = f"{look.title}: not known yet at {clock}."
        if look.known:
            text = look.sentence(row, rows, why="" if row is not None else f"no window has ended since it is known, by {clock}")
        self.say.html = components.sentence(text)

    def _paint_conditions(self, frame: Frame, rows: pl.DataFrame) -> None:
        theme, slab = THEMES[self.state.theme], frame.slab
        self.conditions.html = conditions.words_html(frame.strip.row(frame.now_ns) if frame.look.known else None, theme)
        scale = (slab.layer, slab.top, self.state.palette, theme)
        if scale != self._scale:
            self._scale = scale
            palette = heatmap.palette_of(theme, slab.layer, self.state.palette)
            self.legend.object = heatmap.legend_html(slab.layer, slab.top, palette, theme, 1)

    def _paint_levels(self, frame: Frame, rows: pl.DataFrame) -> None:
        look, s = frame.look, frame.look.session
        colors = css_variables(THEMES[self.state.theme])
        items = replay_data.known_items(s, look.level_id, frame.t, s.last_tick(frame.now_ns))
        self.levels.param.update(items=items, value=look.level_id, colors=colors)
        self.layer_chips.param.update(value=self.state.layer, colors=colors)

    def _paint_track(self, frame: Frame, rows: pl.DataFrame) -> None:
        s, t, half_hour = frame.look.session, frame.t, 1800 * NS
        lad = s.ladder
        found = replay_data.marked_touches(s, frame.look.level_id)
        passed = [int(x) for x in found[found < t]]
        key = (s, frame.look.level_id, t // TRACK_EVERY_S, len(passed))
        if key == self._track_key:
            return
        self._track_key = key
        points = [i for i in range(0, t, TRACK_EVERY_S) if lad.last_tick[i] != NO_TICK]
        hours = range(-(-lad.start_ns // half_hour) * half_hour, lad.end_ns, half_hour)
        self.deck.track = {
            "seconds": lad.seconds, "x": points, "y": [int(lad.last_tick[i]) for i in points], "touches": passed,
            "hours": [[(h - lad.start_ns) // NS, axes.clock(h, seconds=False)] for h in hours],
        }  # fmt: skip
