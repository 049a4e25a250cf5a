"""Beside the wall: outcomes per horizon, how far price went, and which families of features make the setups alike."""

from __future__ import annotations

from typing import Any

import panel as pn

from workbench.plots.excursions import dress_excursions, excursion_figure, paint_excursions
from workbench.plots.why import dress_why, paint_why, why_figure, why_rows
from workbench.similar import Similar
from workbench.theme import Theme


class Side:
    """Three panes; their figures are made with the first answer and patched from then on."""

    def __init__(self) -> None:
        fill: dict[str, Any] = {"sizing_mode": "stretch_width"}
        self.outcomes = pn.pane.HTML("", margin=0, **fill)
        self.excursions = pn.pane.Bokeh(None, margin=(10, 0, 0, 0), sizing_mode="stretch_both", min_height=200, max_height=520)
        self.reasons = pn.pane.Bokeh(None, margin=(10, 0, 0, 0), sizing_mode="stretch_both", min_height=200, max_height=520)
        self.panes = [self.outcomes, self.excursions, self.reasons]

    def paint(self, found: Similar, theme: Theme, table: str) -> None:
        """Show an answer; `table` is its outcomes as HTML."""
        approach, rows = str(found.trigger["approach"]), found.answer.found
        barriers = rows["barrier_ticks"].unique().to_list()
        barrier = barriers[0] if len(barriers) == 1 else None
        self.outcomes.object = table
        if self.excursions.object is None:
            self.excursions.object = excursion_figure(rows, approach, theme, barrier=barrier, height=240)
            self.reasons.object = why_figure(why_rows(rows), theme, whose="all setups", height=210)
        else:
            paint_excursions(self.excursions.object, rows, approach, theme, barrier=barrier)
            self.why(found, None)

    def why(self, found: Similar, which: int | None) -> None:
        """Why all of them, or one of them, are similar."""
        paint_why(self.reasons.object, why_rows(found.answer.found, which), "all setups" if which is None else "the setup pointed at")

    def dress(self, found: Similar, theme: Theme, table: str) -> None:
        """Change the theme."""
        self.paint(found, theme, table)
        dress_excursions(self.excursions.object, theme)
        dress_why(self.reasons.object, theme)
