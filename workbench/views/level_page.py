"""What the Level view's page is made of, and how it is laid out."""

from __future__ import annotations

from typing import Any

import panel as pn

from workbench.plots.coding import LAYERS
from workbench.state import LevelState
from workbench.views import notices
from workbench.views.banner import Notices
from workbench.views.form import Form
from workbench.views.outcomes import Outcomes
from workbench.views.parts import Chips, Keys, Wardrobe
from workbench.views.pictures import LADDER_CSS, LevelPictures
from workbench.views.style import PANE_CSS
from workbench.views.words import Words

LOWER_CSS = {"height": "clamp(296px, 27vh, 400px)", "flex": "0 0 auto"}
"""What is below chart and ladder: as high as conditions and outcomes need, and more of it on a larger screen."""

NAMES = {
    "level_chart": "Heatmap of the chosen layer, time by price around the level, with candles, best prices and levels",
    "ladder": "Pressure ladder at the cursor: at each price long against short, resting size and its change",
    "conditions": "The four conditions over time, downward and upward, with how many of them hold",
    "overview": "The whole session: price, levels, and approaches to the level chosen",
}
"""What each figure shows, for who does not see it."""


class LevelPage:
    """A part of the Level view: its panes, made once."""

    root: str
    state: LevelState
    pictures: LevelPictures
    outcomes: Outcomes
    notices: Notices

    def _build(self) -> None:
        styled: dict[str, Any] = {"stylesheets": [PANE_CSS]}
        self.words = Words()
        self.layer_chips = Chips(
            label="Heatmap layer", small=True, margin=0, width=440, value=self.state.layer,
            items=[{"id": la.key, "label": la.title, "title": la.meaning} for la in LAYERS.values()],
        )  # fmt: skip
        self.any_price = Form(
            row=True, margin=(0, 0, 0, 8), fields=[{"name": "price", "kind": "text", "label": "Any price", "hint": "Any price"}]
        )
        self.legend = pn.pane.HTML("", margin=(2, 0, 0, 14))
        self.wardrobe = Wardrobe(width=0, height=0, margin=0)
        self.keys = Keys(figures=NAMES, width=0, height=0, margin=0)
        chart_fig, ladder_fig, strip_fig, overview_fig = (pn.pane.Bokeh(f, margin=0) for f in self.pictures.figures)
        for pane, mode in (
            (chart_fig, "stretch_both"),
            (strip_fig, "stretch_width"),
            (overview_fig, "stretch_both"),
            (ladder_fig, "stretch_both"),
        ):
            pane.sizing_mode = mode  # type: ignore[assignment]
        ladder_fig.styles = LADDER_CSS
        self.drawing = pn.Column(
            pn.Row(self.words.levels, self.any_price, margin=(0, 0, 4, 0), sizing_mode="stretch_width"),
            self.words.sentence,
            pn.Row(
                self.layer_chips, self.legend, pn.Spacer(sizing_mode="stretch_width"), self.words.key,
                margin=(2, 0, 2, 0), sizing_mode="stretch_width",
            ),
            pn.Row(chart_fig, ladder_fig, margin=0, sizing_mode="stretch_both", min_height=300),
            pn.Row(
                pn.Column(strip_fig, overview_fig, margin=0, sizing_mode="stretch_both"),
                pn.Column(self.words.conditions, self.outcomes.pane, margin=0, styles=LADDER_CSS),
                margin=0, sizing_mode="stretch_width", height=296, styles=LOWER_CSS,
            ),
            sizing_mode="stretch_both", margin=0, visible=False,
        )  # fmt: skip
        self.empty = pn.pane.HTML(notices.loading(self.root), **styled, sizing_mode="stretch_both", margin=0)
        self.page_body = pn.Column(
            self.keys,
            self.wardrobe,
            self.notices.banner,
            self.empty,
            self.drawing,
            sizing_mode="stretch_both",
            margin=0,
            css_classes=["sm-body"],
            styles={"padding": "6px 8px 2px", "box-sizing": "border-box"},
        )
