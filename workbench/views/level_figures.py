"""The Level view's figures and how a frame is patched into them, all of it from `workbench.views.known`: nothing later than it.

A figure is made once per page. What stands is the figures' own; what moves while the clock plays is painted over them by `Live`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import param
import polars as pl
from bokeh import models
from panel.custom import JSComponent

from engine.vocab import NS
from workbench import lakes, own_levels, session_cache
from workbench.assets import script
from workbench.plots import axes, candles, conditions, heatmap, hedge, ladder, levels, volume
from workbench.snapshot.scene import setup_bars
from workbench.theme import FONT, MONO, THEMES, Theme
from workbench.views import known
from workbench.views.known import Frame
from workbench.views.viewport import Viewport, named_levels

AROUND_MS = 5 * 60_000.0
"""How far beyond the session's ends time can be panned and zoomed."""

NAMES = {
    "candles": "Two-minute candles with volume, key levels, and trigger, confirmation, look-back and look-forward of the setup",
    "level_chart": "Heatmap of the chosen layer, time by price around the level, with the path of price, walls, trades and levels",
    "ladder": "Pressure ladder at the clock: at each price long against short, resting size and its change",
    "conditions": "The four conditions over time, downward and upward, with how many of them hold",
}
"""What each figure shows, for who does not see it."""

LINES_EVERY_S, LINES_EVERY_FRAMES = 1.0, 30
"""While it plays, lines and names of levels follow their prices no more often: to paint the chart for each tick of each average costs
frames."""

VEIL = 0.5
"""How much of what came after the moment is covered by the page's colour where it is shown."""


def move(span: Any, start: float, end: float) -> None:
    """Set a range, unless it is there already."""
    if (span.start, span.end) != (start, end):
        span.update(start=start, end=end)


def put(source: Any, made: dict[str, Any]) -> None:
    """Patch lists in, unless they are there already."""
    if source.data != made:
        source.data = made


DOT_PX = 4.0, 26.0
"""Size of the least dot and of the largest, px: its area goes with the contracts."""


class LevelPictures:
    """Candles on their own prices; heatmap, ladder and strip on shared ranges; `live` paints what moves while it plays."""

    def __init__(self, theme: Theme, tick_size: float) -> None:
        self.theme, self.tick_size = theme, tick_size
        self.candles = candles.candle_figure(theme, tick_size)
        self.chart = heatmap.level_chart(theme, tick_size)
        fig = self.chart.figure
        self.ladder = ladder.ladder_figure(theme, tick_size, y_range=fig.y_range, width=430)
        self.strip = conditions.strip_figure(theme, x_range=fig.x_range, height=150)
        # Prices stand between heatmap and ladder; ticks from the level are in the read-out.
        fig.left[0].visible, fig.right[0].axis_label = False, None
        for of in (fig, self.strip.figure):
            of.min_border_left = 8
        fig.min_border_right = self.strip.figure.min_border_right = 76
        for of in (self.candles.figure, fig, self.ladder.figure):
            of.min_border_bottom = 30
        # Rows of conditions are too low for a word each: up and down are named.
        axis = self.strip.figure.yaxis[0]
        axis.ticker = [t for t in axis.ticker.ticks if axis.major_label_overrides.get(t, "") in ("UP", "DOWN")]
        self.own_prices = False
        """Whether the trader has set the candles' price range; until a double click they keep it."""
        self.figures: tuple[Any, ...] = self.candles.figure, fig, self.ladder.figure, self.strip.figure
        # Above the canvas of what moves, which lies between the figure's two.
        for name in ("names", "tag"):
            self.chart.renderers[name].level = "overlay"
        self.chart.mark.level = "overlay"
        self.veils = [models.BoxAnnotation(fill_alpha=VEIL, line_color=None, visible=False, level="overlay") for _ in range(2)]
        self.after = models.Label(
            x=0, y=4, y_units="screen", x_offset=8, text="after the moment", text_font=FONT, text_font_size="13px", visible=False,
            level="overlay",
        )  # fmt: skip
        for of, veil in zip((fig, self.strip.figure), self.veils):
            of.add_layout(veil)
        fig.add_layout(self.after)
        self.volume: volume.VolumeParts | None = None
        self.hedge: hedge.HedgeParts | None = None
        self.option_steps: Callable[[Frame], pl.DataFrame | None] = lambda frame: None
        """Steps of the walls and the zero that are drawn in the place of the lake's levels of these names."""
        self.live = Live(width=0, height=0, margin=0)
        self.tail = Tail()
        self.new = ""
        self.ladder_height, self.candle_width = 480, 440
        self.palette: list[str] = []
        self.marks_on = True
        self._bad: dict[str, list[object]] = {}
        self._last: Frame | None = None
        self._places: tuple[Any, ...] = ()
        self._lines: tuple[Any, ...] = ()
        self._lines_at, self._lines_in = 0.0, 0
        self._bars: tuple[Any, ...] = ()
        self._bars_at = -1
        self._strip_done: tuple[Any, ...] = ()
        self._top = self._least = 0.0
        self.apply_theme(theme)

    # --- theme and colours

    def apply_theme(self, theme: Theme) -> None:
        """Change the theme of the figures; `paint_palette` does the heatmap's colours."""
        self.theme = theme
        axes.put_on(self._theme_values(theme))
        self.live.look = self.tail.look(theme, self.chart)

    def _theme_values(self, theme: Theme) -> axes.ThemeValues:
        return [
            *candles.candle_theme_values(self.candles, theme),
            *heatmap.chart_theme_values(self.chart, theme),
            *ladder.ladder_theme_values(self.ladder, theme),
            *conditions.strip_theme_values(self.strip, theme),
            *((veil, {"fill_color": theme.page}) for veil in self.veils),
            (self.after, {"text_color": theme.text}),
            *([] if self.volume is None else volume.volume_theme_values(self.volume, theme)),
            *([] if self.hedge is None else hedge.hedge_theme_values(self.hedge, theme)),
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

    def paint_palette(self, layer: heatmap.Layer, preset: str) -> None:
        """The heatmap's colours."""
        palette = heatmap.palette_of(self.theme, layer, preset)
        if palette != self.palette:
            self.palette = palette
            self.chart.mapper.palette = palette

    def resize(self, *, height: int | None = None, width: int | None = None) -> None:
        """Height of the ladder and width of the candles, px; names and words are placed anew with the next frame."""
        self.ladder_height, self.candle_width = height or self.ladder_height, width or self.candle_width
        self._lines, self._bars = (), ()

    def forget(self) -> None:
        """Paint the next frame whole."""
        self._last = None

    # --- a frame

    def paint(self, frame: Frame, preset: str, half_life_s: float, wall: float, *, playing: bool, dots: int = 0, every_s: int = 1) -> None:
        """Show `frame`, with no more than what has changed since the last one.

        While it plays, the figures themselves are painted only now and then, candles every `every_s` seconds of the session; the rest
        goes to `live`.
        """
        had, look, s = self._last, frame.look, frame.look.session
        # Nothing of what came after a moment stays in the page once it is hidden again.
        goes_on = (
            had is not None and had.slab is frame.slab and had.look.session is s and had.t <= frame.t
            and (had.seen, frame.seen) == (had.t, frame.t)
        )  # fmt: skip
        rows = frame.slab.rows(frame.t, look.params.window_s, half_life_s == 0, look.k_ref, frame.forming)
        down = -rows["tick"].to_numpy()
        first, last = np.searchsorted(down, (-frame.centre - look.rows, -frame.centre + look.rows + look.step + 1))
        shown = rows.slice(first, last - first)
        top = ladder.flow_top(shown)
        self._least = known.large_trade(s, known.scale_time(frame.t)) if dots < 0 else float(dots)
        # What ranges, zones and the level's own line depend on: they are painted again in the frame in which it changes.
        places = (
            frame.panned, frame.low, frame.high, frame.centre, look.level_id, look.known, look.k_ref, look.rows, look.step,
            look.params.zones, frame.slab.low, frame.slab.high,
        )  # fmt: skip
        # Where each level is that is known: lines and names are old where it has changed.
        lines = (*((i, known.tick_now(s, i, frame.t)) for i in known.known_levels(s, frame.t)), *own_levels.of_session(s).items())
        moved = had is None or self._places != places or (self._lines != lines and not playing)
        # Bars shall not jump in length with every window: while it plays, the scale shrinks only with the next whole picture.
        live = playing and goes_on and not moved and self.tail.goes_on(frame, wall)
        self._top = max(top, self._top) if live else top
        self.paint_palette(frame.slab.layer, preset)
        if not live:
            self._paint_figures(frame, goes_on, moved)
            self.tail.painted(frame, wall, goes_on)
            self._last, self._places = frame, places
        due = not live or (self._lines_in <= 0 and wall - self._lines_at >= LINES_EVERY_S)
        if (moved or not goes_on or self._lines != lines) and due:
            self.paint_lines(frame)
            self._lines, self._lines_at, self._lines_in = lines, wall, LINES_EVERY_FRAMES
        self._lines_in -= 1
        made = ladder.ladder_data(shown, look.step, self._top, apart=self._rows_apart(look))
        self._paint_ladder({k: [] for k in made} if playing else made)
        # By seconds of the session, so that what is sent does not depend on the machine.
        if not playing or frame.t // every_s != self._bars_at:
            self._bars_at = frame.t // every_s
            self._paint_candles(frame, lines)
        if not live:
            self._paint_trades(frame, shown, playing)
        if self.strip.cursor.visible == playing:
            self.strip.cursor.visible = not playing
        self.new = self.tail.frame(frame, made, self.dots(frame, self.tail.since(frame))) if playing else ""
        if not playing:
            self.tail.stop()

    def _paint_figures(self, frame: Frame, goes_on: bool, moved: bool) -> None:
        had = self._last
        if not goes_on:
            self._paint_session(frame)
        # The places first: in a page that is there already the axis of distances follows the level's tick in the browser.
        if moved or not goes_on:
            self._paint_places(frame)
        if not goes_on:
            self._paint_image(frame)
        elif had is not None:
            self._patch_image(frame, had.t)
        still = had if had is not None and goes_on and (had.low, had.high) == (frame.low, frame.high) else None
        self._paint_quotes(frame, None if still is None else still.t)
        self._paint_marks(frame)
        self._paint_strip(frame, still is None)
        self._paint_veil(frame)

    def _paint_session(self, frame: Frame) -> None:
        s = frame.look.session
        if self.chart.mark.visible != s.simulated:
            text = "SIMULATED MARKET" if s.lake is None else lakes.simulated_text(str(s.lake.root))
            self.chart.mark.update(visible=s.simulated, text=text)
        self._bars, self._strip_done = (), ()
        if s.tick_size != self.tick_size:
            # A new model in the page costs 30 ms: all its references are counted again.
            for axis in (self.chart.figure.right[0], self.ladder.figure.yaxis[0], self.candles.figure.left[0]):
                axis.formatter = axes.price_formatter(s.tick_size)
            self.tick_size = s.tick_size

    def _paint_veil(self, frame: Frame) -> None:
        """What came after the moment, dimmed, and words that say so; nothing of it where it was not asked for."""
        on, x = frame.seen > frame.t, frame.x(frame.t)
        for veil in self.veils:
            if on:
                veil.left = x
            if veil.visible != on:
                veil.visible = on
        if on:
            self.after.x = x
        if self.after.visible != on:
            self.after.visible = on

    def _paint_bad(self, bad: dict[str, list[object]]) -> None:
        """Stretches in which the book was not valid."""
        if bad != self._bad:
            self._bad = bad
            self.chart.sources["invalid"].data = bad
            self.strip.invalid.data = {k: bad[k] for k in ("left", "right")}

    def _rows_apart(self, look: Viewport) -> int:
        """How many rows apart two of the ladder's numbers have room."""
        px = max(self.ladder_height, 120) / (2 * look.rows + 1) * look.step
        return max(int(np.ceil(13 / px)), 1)

    def _paint_image(self, frame: Frame) -> None:
        s, slab = frame.look.session, frame.slab
        codes, values = slab.image(frame.seen)
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
        spans = heatmap.invalid_spans(slab.valid[: frame.seen - slab.begin])
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
        codes = slab.codes(first, frame.t, values)
        self.chart.sources["heat"].patch({"image": [(where, codes.ravel())], "value": [(where, values.ravel())]})
        if not slab.valid[max(before - slab.begin - 1, 0) : frame.t - slab.begin].all():
            self._paint_invalid(frame)

    def _paint_places(self, frame: Frame) -> None:
        """Ranges, zones and the level's row: what moves with the level and with the stretch of time shown."""
        look, k, lad = frame.look, frame.look.k_ref, frame.look.session.ladder
        low, high = heatmap.price_bounds(frame.centre, look.rows, look.step)
        fig, facts = self.chart.figure, self.chart.sources["facts"]
        if not frame.panned:
            ends = frame.x(0) - AROUND_MS, frame.x(lad.seconds) + AROUND_MS
            axes.show_range(fig.x_range, frame.x(frame.low), frame.x(frame.high), ends)
        if not facts.data["k"]:
            w = look.params.window_s
            facts.data = heatmap.facts_data(frame.slab.layer, tick_size=self.tick_size, k_ref=k, step=look.step, window_s=w, x0=0.0)
        put(facts, {**facts.data, "k": [k]})
        # As far as the heatmap is loaded: beyond it there is nothing to see.
        far = frame.slab.low - 0.5, frame.slab.high + 0.5
        for axis, at in ((self.chart.distance, k), (fig.y_range, 0)):
            axes.show_range(axis, low - at, high - at, (min(far[0], low) - at, max(far[1], high) - at))
        ladder.mark_level(self.ladder, k if look.known else None)
        z = look.params.zones
        put(self.chart.sources["zones"], levels.zone_data(k if look.known else None, (z.at, z.near, z.mid, z.far)))

    def paint_lines(self, frame: Frame) -> None:
        """The level lines, the chosen one thick, and an arrow at the edge to the chosen one where it is out of sight."""
        s, look, src, fig = frame.look.session, frame.look, self.chart.sources, self.chart.figure
        start, x, y = s.ladder.start_ns, fig.x_range, fig.y_range
        runs = known.known_runs(s, look.level_id, frame.seen, start + frame.low * NS, start + frame.high * NS)
        of_options = self.option_steps(frame)
        if of_options is not None:
            others = pl.col("level_id").is_in(list(hedge.NAMES)) & (pl.col("level_id") != look.level_id)
            # The chosen one is the lake's, as its chip: the drawer's rule and scope would draw it a second time.
            theirs = of_options.filter(pl.col("level_id") != look.level_id)
            runs = pl.concat([runs.filter(~others), theirs.select(runs.columns).cast(runs.schema)])
        put(src["levels"], levels.level_data(runs, look.level_id, s.day_ns))
        out = []
        if look.known and not y.start <= look.k_ref <= y.end:
            up = look.k_ref > y.end
            text = f"{'▲' if up else '▼'} {look.title}  {axes.price_text(look.k_ref, s.tick_size)}"
            inside = 0.045 * (y.end - y.start)
            out.append((float(x.end), float(y.end - inside if up else y.start + inside), text, "level"))
        put(src["names"], axes.columns(heatmap.SOURCES["names"], out))

    def _paint_quotes(self, frame: Frame, before: int | None) -> None:
        made = known.quotes(frame.look.session).between(max(frame.low, 0) if before is None else before, frame.seen, frame.quote_step)
        if before is None:
            # Thousands of numbers go as bytes, a few as text.
            self.chart.sources["quotes"].data = {k: np.asarray(v, dtype=float) for k, v in made.items()}
        elif made["x"]:
            self.chart.sources["quotes"].stream(made)
        self.chart.cursor.location = frame.x(frame.t)

    def fit_prices(self, on: bool) -> None:
        """Whether the candles' price range is fitted to them; else it is the trader's own."""
        self.own_prices, self._bars = not on, ()

    def _paint_candles(self, frame: Frame, lines: tuple[Any, ...]) -> None:
        """Candles, the levels beside them (`lines`, by id), and the setup that the clock is in."""
        look, s, parts = frame.look, frame.look.session, self.candles
        bars = s.candles()
        key = (
            s, look.level_id, look.known, look.k_ref, lines, bars.done(frame.seen), bars.running(frame.seen), frame.seen, self.ladder_height
        )  # fmt: skip
        if key == self._bars:
            return
        if self._bars and self._bars[:2] != key[:2]:
            self.own_prices = False
        self._bars = key
        first, last = candles.stretch(look.now_ns)
        shown = bars.until(frame.seen, first)
        made = candles.candle_data(shown, s.day_ns, s.tick_size)
        parts.sources["candles"].data = made = {k: v if isinstance(v, list) else v.tolist() for k, v in made.items()}
        x0, x1 = (float(axes.x_ms(t, s.day_ns)) for t in (first, last))
        fig = parts.figure
        if (fig.x_range.reset_start, fig.x_range.reset_end) != (x0, x1):
            fig.x_range.update(start=x0, end=x1, reset_start=x0, reset_end=x1)
        past = shown if frame.seen == frame.t else bars.until(frame.t, first)
        low, high = candles.price_span(past, look.k_ref if look.known else None)
        if not self.own_prices and (fig.y_range.start, fig.y_range.end) != (low, high):
            fig.y_range.update(start=low, end=high, reset_start=low, reset_end=high)
        low, high = float(fig.y_range.start), float(fig.y_range.end)
        move(parts.volume, 0.0, max([1.0, *made["volume"]]) / candles.VOLUME_SHARE * 1.05)
        runs = known.known_runs(s, look.level_id, frame.seen, first, last)
        put(parts.sources["levels"], levels.level_data(runs, look.level_id, s.day_ns))
        named = named_levels(s, [i for i, _ in lines], look.level_id, look.now_ns - 1)
        put(parts.sources["names"], candles.pills(named, (x0, x1), (low, high), self.candle_width, self.ladder_height))
        setup = setup_bars(past, look.frame, look.now_ns - 1, s.ladder.tape.head(frame.t))
        trigger = setup.trigger_ns
        high_of = past.filter(pl.col("window_start_ts_ns") == trigger)["high_tick"] if trigger is not None else None
        boxes, said, leader = candles.setup_words(
            trigger, setup.back_ns, setup.crossed, look.now_ns, (low, high), s.day_ns,
            float(high_of[0]) if high_of is not None and high_of.len() else None, (x0, x1), self.candle_width,
        )  # fmt: skip
        for name, span in boxes.items():
            box = parts.boxes[name]
            if span is None:
                if box.visible:
                    box.visible = False
            elif not box.visible or (box.left, box.right) != span:
                box.update(left=span[0], right=span[1], visible=True)
        put(parts.sources["words"], said)
        put(parts.sources["leader"], leader)

    def dots(self, frame: Frame, since: int) -> dict[str, list[object]]:
        """Trades of seconds ``[since, seen)`` as dots: place, size in px, and who took."""
        if not self._least:
            return {"x": [], "y": [], "size": [], "colour": []}
        found = frame.slab.dots(max(since, frame.low), frame.seen, self._least)
        small, large = DOT_PX
        return {
            "x": [frame.x(t) + 500.0 for t, *_ in found], "y": [float(k) for _, k, *_ in found],
            "size": [min(small + 2.2 * (n / self._least) ** 0.5, large) for *_, n, _ in found], "colour": [c for *_, c in found],
        }  # fmt: skip

    def _paint_trades(self, frame: Frame, rows: pl.DataFrame, playing: bool) -> None:
        """Dots of trades, outlines of walls since they stand, and the tag of the last price at the right edge."""
        src, slab, s = self.chart.sources, frame.slab, frame.look.session
        put(src["dots"], self.dots(frame, slab.begin))
        walls = [int(k) for k in rows.filter(pl.col("wall"))["tick"]] if slab.layer.key == "depth" else []
        left = [frame.x(max(slab.wall_since(k, frame.t), frame.low)) for k in walls]
        step = frame.look.step
        put(src["walls"], {
            "left": left, "right": [frame.x(frame.t)] * len(walls), "bottom": [k - 0.5 for k in walls],
            "top": [k + step - 0.5 for k in walls],
        })  # fmt: skip
        last = s.last_tick(frame.look.now_ns)
        tag = [] if last is None or playing else [last]
        put(src["tag"], {
            "x": [float(self.chart.figure.x_range.end)] * len(tag), "y": [float(k) for k in tag],
            "text": [axes.price_text(k, s.tick_size) for k in tag],
        })  # fmt: skip

    def _paint_strip(self, frame: Frame, moved: bool) -> None:
        look, strip = frame.look, frame.strip
        done = (strip.done(frame.seen_ns), look.level_id, look.params)
        if done == self._strip_done and not moved:
            return
        self._strip_done = done
        # With the strip's own data: a line that moves alone would have the browser paint all of it for every frame.
        self.strip.cursor.location = frame.x(frame.t)
        self.strip.cells.data, self.strip.counts.data = strip.until(frame.seen_ns, frame.x(frame.low))

    def _paint_ladder(self, made: dict[str, list[object]]) -> None:
        """The ladder's figure: empty while it plays and `live` paints all of it but the axes."""
        parts = self.ladder
        rescaled = parts.scale.data != {"top": [self._top]}
        if rescaled:
            parts.scale.data = {"top": [self._top]}
        if made["y"] or parts.source.data["y"]:
            ladder.patch_ladder(parts, made)
        elif rescaled:
            # The numbers at its foot are written again only with the figure.
            parts.source.data = dict(parts.source.data)

    def _paint_marks(self, frame: Frame) -> None:
        """What single orders did, up to the clock, in the stretch that is shown and at the prices that the image has."""
        shown = known.marks(frame.look.session, frame.low, frame.seen if self.marks_on else 0)
        inside = pl.col("to_tick").is_between(frame.slab.low, frame.slab.high)
        put(self.chart.sources["marks"], heatmap.mark_data(shown.filter(inside), frame.look.session.day_ns))

    def paint_volume(self, frame: Frame, on: bool) -> None:
        """Volume at price and cumulative delta up to the clock; made when they are first asked for."""
        if not on:
            if self.volume is not None:
                volume.clear(self.volume)
            return
        if self.volume is None:
            self.volume = volume.add_volume(self.chart.figure, self.theme)
        parts, look, s = self.volume, frame.look, frame.look.session
        bars = session_cache.volume_at_price(s, look.now_ns)
        parts.bars.data, parts.peak.data = volume.profile_data(bars, frame.slab.low, frame.slab.high)
        line, span = volume.delta_data(session_cache.delta_tape(s, look.now_ns), s.ladder.start_ns, s.day_ns, look.params.window_s)
        move(parts.scale, *span)
        parts.line.data, parts.said.data = line, volume.delta_words(line)


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
            "path": [r["path_casing"].line_width, r["path_casing"].line_alpha, r["path"].line_width], "line": r["levels_casing"].line_width,
            "rest": [ladder.REST, ladder.REST_ALPHA], "change": ladder.CHANGE_X,
            "page": theme.page, "dots": [r["dots"].fill_alpha, r["dots"].line_width],
            "bands": [theme.short if d == "down" else theme.long for d in conditions.BASE],
        }  # fmt: skip

    def goes_on(self, frame: Frame, wall: float) -> bool:
        """Whether `frame` can be sent as an addition: not while the book is not valid, whose hatching the figures draw."""
        whole, sent, begin = self._whole, self._sent, frame.slab.begin
        due = wall - self._at >= WHOLE_EVERY_S and self._frames >= WHOLE_EVERY_FRAMES
        if whole is None or sent is None or frame.t < sent.t or due:
            return False
        return bool(frame.slab.valid[max(whole.t - 1 - begin, 0) : frame.t - begin].all())

    def painted(self, frame: Frame, wall: float, goes_on: bool) -> None:
        """The figures were painted whole at `frame`; without `goes_on` their image is another."""
        if not goes_on or self._sent is None:
            self._run += 1
        self._base += 1
        self._whole, self._at, self._frames = frame, wall, 0

    def stop(self) -> None:
        """It does not play any more: the next frame starts from nothing."""
        self._sent = None

    def since(self, frame: Frame) -> int:
        """The second from which on dots are new to the page."""
        return (self._sent or self._whole or frame).t

    def frame(self, frame: Frame, ladder: dict[str, Any], dots: dict[str, list[object]]) -> str:
        """What is new in `frame`, for `Live`."""
        whole = self._whole
        assert whole is not None
        sent, s, slab, strip = self._sent or whole, frame.look.session, frame.slab, frame.strip
        first = slab.column_of(max(sent.t - 1, slab.begin))
        codes = slab.codes(first, frame.t) if sent.slab is slab and sent.t < frame.t else np.empty((0, 0), np.uint8)
        last = s.last_tick(frame.now_ns)
        quotes = known.quotes(s).between(sent.t, frame.t, frame.quote_step)
        fresh = [] if whole is frame else strip.fresh(self._windows, frame.now_ns)
        ended = strip.done(whole.now_ns)
        self._windows, self._sent = strip.done(frame.now_ns), frame
        self._frames += 1
        return json.dumps({
            "run": self._run, "base": self._base, "x": frame.x(frame.t), "since": frame.x(max(whole.t - 1, 0)),
            "painted": frame.x((int(strip.ends[ended - 1]) - s.ladder.start_ns) // NS) if ended else frame.x(whole.low),
            "first": first, "codes": codes.ravel().tolist(),
            # None for what is missing: JSON has no NaN.
            "quotes": {k: [None if v != v else v for v in quotes[k]] for k in ("x", "last")},
            "ladder": ladder, "windows": fresh, "dots": dots,
            "last": None if last is None else [last, axes.price_text(last, s.tick_size)],
        }, separators=(",", ":"), allow_nan=False)  # fmt: skip


class Live(JSComponent):
    """What moves in the view's figures, painted over them: a strip around the present, the ladder, the newest conditions.

    What is new comes with the deck's ``now``, as JSON: that costs the server a tenth of what a property of nested lists does (it looks
    for models in every number). It holds ``run`` (another number: take the image again from its source), ``base`` (another number:
    the figures were painted), ``x`` and ``since`` (present and left edge of the strip, axis coordinates), ``first`` and ``codes``
    (column and codes of the new columns, row by row), ``quotes`` (the path of price), ``dots`` (trades),
    ``last`` (tick and price of the last one), ``ladder``
    (`workbench.plots.ladder.ladder_data`), ``painted`` and ``windows`` (where the conditions' figure ends, and its new
    windows: x, width, codes of both directions, heights of both bands). Empty: the figures are up to date by themselves.
    """

    look = param.Dict(default={}, doc="Colours of the theme and type of the ladder's figures")

    _esm: ClassVar[str] = script("bokeh_bridge", "live")
