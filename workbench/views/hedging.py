"""The Level view's column of options: hedging at each price, calls and puts at strikes, walls and zero gamma, under one rule and scope.

It comes into the page with the first session that has options; a page without one holds nothing of it.
"""

from __future__ import annotations

from typing import Any

import panel as pn
import polars as pl

from engine.options.reading import SessionOptions
from engine.session import Session
from engine.vocab import NS
from workbench import options
from workbench.assets import style
from workbench.plots import hedge
from workbench.plots.axes import short_price_text
from workbench.state import LevelState
from workbench.views import components
from workbench.views.components import BOTH, FILL, Form, heading, html, input_for
from workbench.views.known import Frame
from workbench.views.level_figures import LevelPictures, put
from workbench.views.said import Said

FLOW_EVERY_S = 5
"""Trades at strikes come in windows of so many seconds."""


class Hedging:
    """The figure, what stands below it, and the drawer's part; `open` a session, then `paint` its frames."""

    def __init__(self, state: LevelState, pictures: LevelPictures, say: Said) -> None:
        self.state, self.pictures, self._say = state, pictures, say
        self.options: SessionOptions | None = None
        self._session: Session | None = None
        self._column: pn.Column | None = None
        self._below = Said(**FILL)
        self._drawer: tuple[Form, Any] | None = None
        self._done: tuple[Any, ...] = ()
        self._lined: tuple[Any, ...] = ()

    def open(self, session: Session, charts: Any) -> None:
        """Show the options of a session beside the `charts`; nothing where it has none."""
        self._session, self.options = session, None if self.state.panel else options.options_of(session)
        self._done = self._lined = ()
        self.pictures.option_steps = (lambda _: None) if self.options is None else self._steps
        if self.options is not None and self._column is None:
            figure = self.pictures.chart.figure
            self.pictures.hedge = made = hedge.hedge_figure(self.pictures.theme, session.tick_size, y_range=figure.y_range)
            made.figure.min_border_bottom = 30
            pane = components.figure_pane(made.figure, **BOTH)
            lower = pn.Column(self._below, margin=0, **components.layout("sm-lower"))
            column = {"css_classes": ["sm-hedge"], "stylesheets": [style("layout", "hedge_column")]}
            self._column = pn.Column(pane, lower, **column, **BOTH)
            charts.append(self._column)
            # With options the sentence has two lines, all the time: the figures below it stay where they are.
            self._say.stylesheets = [*self._say.stylesheets, style("hedge_column")]
            self.pictures.candles.figure.xaxis[0].ticker.desired_num_ticks = 5
            for beside in charts.objects[:-1]:
                beside.param.update(
                    stylesheets=[*beside.stylesheets, style("hedge_column")], css_classes=[*beside.css_classes, "sm-beside"]
                )
        if self._column is not None:
            self._column.visible = self.options is not None
        self._show_drawer()

    # --- the drawer

    def controls(self) -> list[Any]:
        """The drawer's part: rule and scope, or what a session without options lacks."""
        fields = [
            heading("Options"),
            input_for(self.state, "rule", "What dealers are assumed to hold"),
            input_for(self.state, "scope", "Expiries that count"),
        ]
        self._drawer = Form(**FILL).bind(self.state, fields), html(margin=(2, 0, 6, 0))
        self._show_drawer()
        return list(self._drawer)

    def _show_drawer(self) -> None:
        if self._drawer is None or self._session is None:
            return
        form, line = self._drawer
        lacks = "" if self.options is not None else options.lacks(self._session)
        form.visible, line.visible = not lacks, bool(lacks)
        line.object = f"<div class='sm-how'>{components.rich(lacks)}</div>" if lacks else ""

    # --- frames

    def _steps(self, frame: Frame) -> pl.DataFrame | None:
        assert self.options is not None
        start, st, s = frame.look.session.ladder.start_ns, self.state, frame.look.session
        return options.steps_between(
            self.options, st.scope, st.rule, start + frame.seen * NS, start + frame.low * NS, start + frame.high * NS, s.tick_size
        )

    def paint(self, frame: Frame, *, moves: bool) -> None:
        """Show what is known at the frame's clock; while it moves the pointer reads nothing out."""
        made, parts, look = self.options, self.pictures.hedge, frame.look
        if made is None or parts is None or look.session is not self._session:
            return
        st, now, s = self.state, frame.now_ns, look.session
        minute = made.minute(now)
        reach = look.rows + look.rows // 2 + look.step
        window = now // (FLOW_EVERY_S * NS)
        at = (st.rule, st.scope, look.step, frame.centre, reach)
        # What the pointer reads out has the trades, too.
        key, of_rows = (*at, window), (*at, minute, None if moves else window)
        levels = made.levels_at(now - 1, st.scope, st.rule)
        flow = made.flow(window * FLOW_EVERY_S * NS, options.FLOW_S, st.scope) if (key, of_rows) != self._done else None
        if flow is not None and (of_rows,) != self._done[1:]:
            self._paint_rows(frame, minute, None if moves else flow, reach)
        if flow is not None and (key,) != self._done[:1]:
            low, high = frame.centre - reach, frame.centre + reach
            bars, top = hedge.flow_data(flow, s.tick_size, look.step, low, high)
            self._scale(flow=top)
            put(parts.flow, bars)
        lines = (levels, st.rule, st.scope, look.level_id)
        if lines != self._lined:
            self._paint_lines(frame, levels)
        self._done, self._lined = (key, of_rows), lines
        price = look.k_ref * s.tick_size
        where = options.Looked(s.symbol, now, minute, price, short_price_text(look.k_ref, s.tick_size))
        said = options.panel_html(made, where, scope=st.scope, rule=st.rule)
        if said != self._below.html:
            self._below.html = said

    def _paint_rows(self, frame: Frame, minute: int | None, flow: Any, reach: int) -> None:
        parts, look, s, st = self.pictures.hedge, frame.look, frame.look.session, self.state
        assert parts is not None
        assert self.options is not None
        if minute is None:
            put(parts.bars, {k: [] for k in hedge.BARS})
            put(parts.net, {"x": [], "y": []})
            return
        rows = options.hedge_rows(
            self.options, minute, flow, scope=st.scope, rule=st.rule, low=frame.centre - reach, high=frame.centre + reach, step=look.step,
            tick_size=s.tick_size,
        )  # fmt: skip
        top = hedge.hedge_top(rows.calls, rows.puts)
        self._scale(top=top)
        bars, net = hedge.hedge_data(rows.y, look.step, rows.calls, rows.puts, top, rows.said)
        put(parts.bars, bars)
        put(parts.net, net)

    def _scale(self, **values: float) -> None:
        parts = self.pictures.hedge
        assert parts is not None
        put(parts.scale, {**parts.scale.data, **{k: [v] for k, v in values.items()}})

    def _paint_lines(self, frame: Frame, levels: dict[str, float]) -> None:
        parts, size = self.pictures.hedge, frame.look.session.tick_size
        assert parts is not None
        put(parts.lines, hedge.line_data(levels, size))
        span = hedge.band_of(levels, size)
        if span is not None:
            parts.band.update(bottom=span[0], top=span[1], visible=True)
        elif parts.band.visible:
            parts.band.visible = False
        self.pictures.paint_lines(frame)
