"""Research: the kept audit, and what the lake's data are worth."""

from __future__ import annotations

from typing import Any

import panel as pn
import param
import polars as pl

from workbench.plots import axes, research_audit, research_quality
from workbench.plots import research as plots
from workbench.plots import research_words as words
from workbench.plots.tables import Column, table_html
from workbench.research.asked import Progress
from workbench.research.audited import Audit, Worth, worth
from workbench.research.quality import Quality, quality
from workbench.views import notices
from workbench.views.banner import Notices
from workbench.views.form import Form, field
from workbench.views.research_outcomes import MINUTES, key_line, level_titles
from workbench.views.research_section import FILL, Asked, Section, figure_pane, html

TARGETS = {"break, reject or chop": "class", "touch or none": "touch"}


class AuditChoice(param.Parameterized):
    """What of the audit."""

    target: Any = param.Selector(default="class", objects=TARGETS, doc="What was forecast")
    forecast: Any = param.Selector(default="", objects=[""], doc="Whose reliability")


class AuditSection(Section):
    """Log loss against the reference, skill with its interval, calibration."""

    key, title, missing = "audit", "Audit", "No audit of this lake yet"
    needs = frozenset({"contract"})

    def build(self) -> None:
        """Skill, Brier skill, reliability; the table below."""
        self.choice: AuditChoice = AuditChoice()
        self.whose = Form(margin=0)
        self.target = Form(margin=0).bind(self.choice, [field(self.choice, "target", "Forecast of", kind="group")])
        self.forms = [
            self.target,
            self.whose.bind(self.choice, [field(self.choice, "forecast", "Reliability of")]),
        ]
        self.panels = plots.share_panels(
            self.theme,
            {"skill": "Log-loss skill against the reference", "brier_skill": "Brier skill"},
            signed=True,
            axis="skill, 95% interval",
        )
        self.reliability = research_audit.reliability_figure(self.theme)
        self.stale = Notices([])
        self.key_line, self.table = html(), html()
        row = [*(figure_pane(f) for f in self.panels.figures.values()), figure_pane(self.reliability.figure)]
        self.kept = pn.Column(
            self.stale.banner,
            pn.Row(*row, margin=0, sizing_mode="stretch_width"),
            self.key_line,
            self.table,
            styles={"gap": "14px"},
            **FILL,
        )
        self.none, self.levels = html(visible=False), html()
        self.content.extend([self.none, self.kept, self.levels])

    def work(self, asked: Asked, progress: Progress) -> Worth:
        """The kept audit, and gold's forecasts."""
        return worth(self.root, asked.contract, progress)

    def dress(self) -> None:
        """Theme on the figures."""
        plots.dress_share_panels(self.panels, self.theme)
        research_audit.dress_reliability(self.reliability, self.theme)

    def paint(self, answer: Worth, asked: Asked) -> None:
        """The audit where there is one, and the table by level."""
        self.kept.visible = answer.audit is not None
        self.target.visible = self.whose.visible = answer.audit is not None
        self.none.visible = answer.audit is None
        if answer.audit is not None:
            self._paint_kept(answer.audit)
        else:
            self.say.object = notices.sentence(f"{self.title}: none to go by yet; below, what gold's own forecasts were worth")
            self.none.object = f"<p role='alert' style='font:15px var(--sm-font);margin:4px 0'>{notices.rich(answer.why)}</p>"
        rows = answer.by_level
        self.levels.visible = bool(rows.height)
        if rows.height:
            titles = {**level_titles(set(rows["level_id"].to_list()) - {"all"}), "all": "All levels"}
            order = {k: i for i, k in enumerate(titles)}
            self.levels.object = table_html(
                words.level_score_columns(titles), sorted(rows.to_dicts(), key=lambda r: order[r["level_id"]]),
                caption=f"Gold's own forecasts, made walking forward, {MINUTES[answer.horizon]} after the touch, by level and direction. "
                f"{rows.height} rows were looked at, each interval is by itself.",
                mark=lambda r: "strong" if r["level_id"] == "all" else "few" if r["events"] < 30 else "",
            )  # fmt: skip

    def _paint_kept(self, answer: Audit) -> None:
        """Everything of the chosen target."""
        target, report = self.choice.target, answer.report
        diagrams = report["diagrams"]
        names = [k.removeprefix(f"{target}/") for k in diagrams if k.startswith(f"{target}/") and diagrams[k]]
        others = [n for n in names if n != "pi"] or names
        if others != self.choice.param["forecast"].objects:
            winner = report["winner"]
            with param.parameterized.discard_events(self.choice):
                self.choice.param["forecast"].objects = others
                self.choice.forecast = winner if winner in others else next(iter(others), "")
            self.whose.fields = [field(self.choice, "forecast", "Reliability of")]
            self.whose.values = {"forecast": others.index(self.choice.forecast) if others else -1}
        rows = answer.frame.filter(pl.col("target") == target)
        plots.fill_share_panels(self.panels, plots.skill_rows(answer.frame, target), self.theme)
        chosen = self.choice.forecast
        research_audit.fill_reliability(self.reliability, diagrams.get(f"{target}/{chosen}", []), diagrams.get(f"{target}/pi", []), chosen)
        self.say.object = notices.sentence(words.audit_sentence(report))
        self.stale.read((stale_words(self.root, report["stale"]),) if report["stale"] else ())
        self.stale.show()
        made = answer.made.astimezone(axes.NEW_YORK)
        self.key_line.object = key_line(
            "● with 95% interval from whole sessions resampled; ◇ attainable, where the data's law is known; right of 0 is better than the "
            f"reference. Made {made:%Y-%m-%d %H:%M} New York; {report['refits']} refits; {report['comparisons']} comparisons, "
            "each interval by itself."
        )
        known = bool(rows["attainable"].drop_nulls().len())
        self.table.object = table_html(
            words.audit_columns(known), rows, mark=lambda r: "strong" if r["edge"] else "few" if r["representation"] == "pi" else "",
            caption="pi is the reference: distance, volatility, activity, hour and kind of level alone.",
        )  # fmt: skip

    def tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        """The kept table, the bins of every diagram, the table by level."""
        kept, scores, bins = self.answer and self.answer.audit, None, None
        if kept is not None:
            found = [(*k.split("/"), *b.values()) for k, v in kept.report["diagrams"].items() for b in v]
            numbers = dict.fromkeys(("events", "forecast", "observed"), pl.Float64)
            bins = pl.DataFrame(found, schema={"target": pl.String, "representation": pl.String, **numbers}, orient="row")
            scores = kept.frame
        return {
            "audit": ("scores", scores),
            "reliability": ("reliability, every forecast", bins),
            "audit_levels": ("gold's forecasts by level and direction", self.answer and self.answer.by_level),
        }


def stale_words(root: str, why: str) -> str:
    """That the audit is of an older lake, and what makes it anew."""
    return f"This audit is not of the lake as it is now: {why}. `spymaster audit --lake {root}` makes it anew."


class QualitySection(Section):
    """What the lake's data are worth."""

    key, title, missing = "quality", "Data quality", "No session in the lake yet"
    needs = frozenset({"contract"})

    def build(self) -> None:
        """Coverage, sessions, what is stale, and the datasets."""
        self.coverage = research_quality.coverage_figure(self.theme)
        self.table, self.stale, self.datasets = html(), html(), html()
        self.content.extend([figure_pane(self.coverage.figure), self.table, self.stale, self.datasets])

    def work(self, asked: Asked, progress: Progress) -> Quality:
        """Quality of every session of the market."""
        return quality(self.root, asked.contract, progress)

    def dress(self) -> None:
        """Theme on the map."""
        research_quality.dress_coverage(self.coverage, self.theme)

    def paint(self, answer: Quality, asked: Asked) -> None:
        """Map and tables."""
        research_quality.fill_coverage(self.coverage, answer.sessions, answer.gaps)
        known = answer.sessions.filter(pl.col("seconds").is_not_null())
        seconds = int(known["seconds"].sum())
        valid = float((known["valid_share"] * known["seconds"]).sum()) / seconds if seconds else 0.0
        broken = answer.sessions.height - known.height
        parts = [f"{answer.sessions.height} sessions", f"a valid book in {research_quality.percent(valid)} of {seconds:,} seconds"]
        parts += [f"{broken} cannot be read"] if broken else []
        parts += [f"{answer.stale.height} partitions stale" if answer.stale.height else "nothing is stale"]
        self.say.object = notices.sentence("Data quality: " + ", ".join(parts) + ".")
        of = answer.stale.group_by("symbol", "session_date").len().iter_rows()
        columns = words.quality_columns(words.selection_words(answer.selection), {(s, d): n for s, d, n in of})
        self.table.object = table_html(columns, answer.sessions, mark=lambda r: "bad" if r["trouble"] else "")
        self.stale.visible = bool(answer.stale.height)
        date = pl.col("session_date")
        alike = answer.stale.group_by("dataset", "symbol", "stale", maintain_order=True).agg(
            date.min().alias("first"), date.max().alias("last"), pl.len().alias("n")
        )
        self.stale.object = table_html(
            [
                Column("stale", lambda r: r["dataset"], text=True), Column("contract", lambda r: r["symbol"], text=True),
                Column("partitions", lambda r: f"{r['n']:,}"),
                Column("dates", lambda r: str(r["first"]) if r["n"] == 1 else f"{r['first']} to {r['last']}", text=True),
                Column("why", lambda r: r["stale"], text=True, wide=True),
            ],
            alike, caption="What the next run would make anew, and why.",
        )  # fmt: skip
        self.datasets.object = table_html(
            [
                Column("dataset", lambda r: r["dataset"], text=True), Column("partitions", lambda r: f"{r['partitions']:,}"),
                Column("rows", lambda r: f"{r['rows']:,}"), Column("columns", lambda r: f"{r['columns']:,}"),
                Column("holds", lambda r: r["holds"], text=True, wide=True),
            ],
            answer.datasets, caption="Datasets of the lake that have data of this market.",
        )  # fmt: skip

    def tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        """Sessions, gaps, the selection map, what is stale, the datasets."""
        a = self.answer
        return {
            "sessions": ("sessions", a and a.sessions),
            "gaps": ("seconds without a valid book", a and a.gaps),
            "selection": ("selection map", a and a.selection),
            "stale": ("stale partitions", a and a.stale),
            "datasets": ("datasets", a and a.datasets),
        }
