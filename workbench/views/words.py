"""The Level view's words: the sentence, the conditions at the cursor, the time, and the levels with their distances."""

from __future__ import annotations

from typing import Any

import panel as pn
import polars as pl

from workbench import data, past
from workbench.plots import axes, conditions
from workbench.plots.sentence import sentence
from workbench.theme import Theme, css_variables
from workbench.views import notices
from workbench.views.look import Look, level_items
from workbench.views.parts import Chips
from workbench.views.pictures import LADDER_CSS
from workbench.views.style import PANE_CSS


class Words:
    """Panes of text around the pictures."""

    def __init__(self) -> None:
        styled: dict[str, Any] = {"stylesheets": [PANE_CSS]}
        self.levels = Chips(label="Level", margin=0, sizing_mode="stretch_width")
        self.sentence = pn.pane.HTML("", margin=0, sizing_mode="stretch_width", **styled)
        self.when = pn.pane.HTML("", margin=(0, 4, 0, 12), **styled)
        self.conditions = pn.pane.HTML("", margin=0, sizing_mode="stretch_width")
        self.key = pn.pane.HTML("", styles=LADDER_CSS, margin=0)

    def paint(self, look: Look, rows: pl.DataFrame, theme: Theme) -> None:
        """Say what `look` and the ladder's `rows` at the cursor show."""
        s, row, zones = look.session, look.row(), look.params.zones
        valid = row is not None and bool(row["book_valid"])
        text = sentence(
            look.title, look.k_ref, rows, tick_size=s.tick_size, near=zones.near, far=zones.far,
            approach=str(row["approach"]) if row is not None and valid else None,
            distance=row["distance_ticks"] if row is not None and valid else None,  # type: ignore[arg-type]
            why="nothing has traded yet" if valid else f"the book is not valid at {axes.clock(look.now_ns)}",
            tests=past.tests_before(s, look.level_id, look.now_ns + look.window_ns),
            confluent=past.confluent(s, look.level_id, look.now_ns),
        )  # fmt: skip
        if not look.known:
            begin = axes.clock(int(look.frame["start_ts_ns"][0]))
            text = f"{look.title}: not known yet at {axes.clock(look.now_ns)}; it stands from {begin} on."
        self.sentence.object = notices.sentence(text)
        key = conditions.key_html(theme)
        self.conditions.object = conditions.words_html(row, theme, key=False)
        if key != self.key.object:
            self.key.object = key
        last = data.last_tick(s, look.now_ns + look.window_ns)
        self.when.object = notices.when(axes.clock(look.now_ns), axes.clock(look.now_ns + look.window_ns), last, s.tick_size, theme)
        self.levels.param.update(items=level_items(look, last), value=look.level_id, colors=css_variables(theme))
