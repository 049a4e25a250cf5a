"""Research: what followed, by the four conditions and by level."""

from __future__ import annotations

from typing import Any

import panel as pn
import param
import polars as pl

from engine.levels import level_ids
from workbench import data
from workbench.plots import research as plots
from workbench.plots import research_words as words
from workbench.plots.outcomes import CLASSES
from workbench.plots.tables import table_html
from workbench.research import conditions, rates
from workbench.research.asked import Progress
from workbench.state import HORIZON_WORDS
from workbench.views import notices
from workbench.views.form import Form, field
from workbench.views.research_section import Asked, Section, figure_pane, html

PANELS = {"break": "Break", "reject": "Reject", "chop": "Chop"}
MINUTES = {v: k for k, v in HORIZON_WORDS.items()}
USUAL = "◇ usual at this distance, volatility and hour"
KEY = f"▲ from below, ▼ from above, with 95% intervals; {USUAL}; figures at the right are counts; pale: below 30"
RULE = "one event per armed episode; conditional on a touch; the barrier is judged by trade"


class Stratum(param.Parameterized):
    """Which of price's own moves."""

    stratum: Any = param.Selector(default="all", objects={v: k for k, v in words.STRATA.items()}, doc="Price's own move in the window")


class Hypothesis(Section):
    """Outcomes by the number of conditions open."""

    key, title, missing = "hypothesis", "Four conditions", "No armed approaches in the lake yet"
    needs = frozenset({"horizon", "contract"})

    def build(self) -> None:
        """Three panels, a class each, and the table."""
        self.choice: Stratum = Stratum()
        self.forms = [
            Form(margin=0).bind(self.state, [field(self.state, "horizon", "Time after the touch")]),
            Form(margin=0).bind(self.choice, [field(self.choice, "stratum", "Price's own move in the window", kind="group")]),
        ]
        self.panels = plots.share_panels(self.theme, PANELS)
        self.key_line, self.table = html(), html()
        self.content.extend([pn.Row(*(figure_pane(f) for f in self.panels.figures.values()), margin=0, sizing_mode="stretch_width")])
        self.content.extend([self.key_line, self.table])

    def work(self, asked: Asked, progress: Progress) -> pl.DataFrame:
        """The table of the market."""
        return conditions.hypothesis(self.root, asked.horizon, asked.contract, progress)

    def dress(self) -> None:
        """Theme on the panels."""
        plots.dress_share_panels(self.panels, self.theme)

    def paint(self, answer: pl.DataFrame, asked: Asked) -> None:
        """Panels and table of the chosen stratum."""
        stratum = self.choice.stratum
        plots.fill_share_panels(self.panels, plots.hypothesis_rows(answer, stratum), self.theme)
        self.say.object = notices.sentence(words.hypothesis_sentence(answer, stratum))
        self.key_line.object = key_line(f"{KEY}. {MINUTES[asked.horizon]} after the touch; {RULE}.")
        rows = answer.filter((pl.col("stratum") == stratum) & (pl.col("events") > 0))
        looked = answer["comparisons"][0] if answer.height else 0
        caption = (
            "Conditions 1 and 3 follow price mechanically: compare within one kind of price's own move. "
            f"Each interval is by itself; {looked} rows were looked at."
        )
        self.table.object = table_html(words.hypothesis_columns(), rows, caption=caption, mark=lambda r: "few" if r["events"] < 30 else "")

    def tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        """The whole table, every stratum."""
        return {"four_conditions": ("outcomes by conditions open", self.answer)}


class HitRates(Section):
    """Approaches, touches and outcomes of each level."""

    key, title, missing = "levels", "Hit rates", "No approaches in the lake yet"
    needs = frozenset({"horizon", "contract"})

    def build(self) -> None:
        """Four panels and the table."""
        self.forms = [Form(margin=0).bind(self.state, [field(self.state, "horizon", "Time after the touch")])]
        self.panels = plots.share_panels(self.theme, {"touched": "Touched, of those armed", **PANELS})
        self.key_line, self.table = html(), html()
        self.content.extend([pn.Row(*(figure_pane(f) for f in self.panels.figures.values()), margin=0, sizing_mode="stretch_width")])
        self.content.extend([self.key_line, self.table])

    def work(self, asked: Asked, progress: Progress) -> pl.DataFrame:
        """The table of the market."""
        return rates.hit_rates(self.root, asked.horizon, asked.contract, progress)

    def dress(self) -> None:
        """Theme on the panels."""
        plots.dress_share_panels(self.panels, self.theme)

    def paint(self, answer: pl.DataFrame, asked: Asked) -> None:
        """Panels and table, levels in the screen's order."""
        titles = {**level_titles(set(answer["level_id"].to_list()) - {"all"}), "all": "All levels"}
        plots.fill_share_panels(self.panels, plots.hit_rows(answer, titles), self.theme)
        both = answer.filter(pl.col("level_id") == "all")
        parts = [f"{words.SIDE[r['approach']]} {r['touched']:,} of {r['decided']:,} armed approaches touched" for r in both.to_dicts()]
        self.say.object = notices.sentence(f"{len(titles) - 1} levels: {'; '.join(parts)}.")
        usual = KEY.replace(USUAL, "◇ all levels in that direction")
        self.key_line.object = key_line(f"{usual}. {MINUTES[asked.horizon]} after the touch; {RULE}.")
        order = {k: i for i, k in enumerate(titles)}
        rows = sorted(answer.to_dicts(), key=lambda r: order[r["level_id"]])
        caption = "Episodes, not windows: a run of windows that approach a level counts once. Intervals resample whole sessions."
        self.table.object = table_html(
            words.hit_columns(titles), rows, caption=caption,
            mark=lambda r: "strong" if r["level_id"] == "all" else "few" if r["outcomes"] < 30 else "",
        )  # fmt: skip

    def tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        """The table."""
        return {"hit_rates": (f"levels, directions: touches, {', '.join(CLASSES)}", self.answer)}


def level_titles(found: set[str]) -> dict[str, str]:
    """Levels in words, the key levels first, prices of one's own last."""
    known = [i for i in dict.fromkeys([*data.KEY_LEVELS, *level_ids()]) if i in found]
    return {**{i: data.level_title(i) for i in known}, **{i: i for i in sorted(found - set(known))}}


def key_line(text: str) -> str:
    """How to read the picture above."""
    return f"<div style='font:13px var(--sm-font);color:var(--sm-muted);line-height:1.5'>{text}</div>"
