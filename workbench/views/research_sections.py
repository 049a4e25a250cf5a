"""Sections of the Research view: their panes, what each asks the lake, and what is shown while it waits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, ClassVar

import panel as pn
import param
import polars as pl

from engine.errors import EngineError, NoData
from engine.features.vector import family_of, feature_of
from engine.levels import level_ids
from engine.session import level_title
from engine.sessions import to_ns
from engine.vocab import NS
from workbench import session_cache
from workbench.export import Table
from workbench.plots import axes, research, words
from workbench.plots import research as plots
from workbench.plots.outcomes import CLASSES, FAMILIES
from workbench.plots.tables import CSS, Column, table_html
from workbench.research import queries
from workbench.research.queries import Audit, Feature, Progress, Quality, Worth, dimensions, market, quality, worth
from workbench.research.queries import feature as feature_of_history
from workbench.state import HORIZON_WORDS, LevelState, clock_text
from workbench.theme import THEMES, Theme
from workbench.views import components
from workbench.views.components import PANE_CSS, Form, Notices, input_for

# ----------------------------------------------------------------------------
# What the sections of the Research view have in common: their panes, what they ask for, and what is said while they wait

FILL: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}


def html(text: str = "", **more: Any) -> pn.pane.HTML:
    """A pane of text in the page's type."""
    return pn.pane.HTML(text, stylesheets=[PANE_CSS, CSS], **{**FILL, **more})


def figure_pane(fig: Any, **more: Any) -> pn.pane.Bokeh:
    """A pane that takes the width it gets."""
    return pn.pane.Bokeh(fig, **{**FILL, **more})


@dataclass(frozen=True)
class SectionQuery:
    """What was chosen when a question was asked: its answer is of that, whatever has been chosen since."""

    horizon: str
    contract: str | None
    session: str | None
    level: str
    cursor_ts_ns: int | None
    window_s: int
    choice: Mapping[str, Any] = field(default_factory=dict)


class Section:
    """One section: `work` asks (in a thread), `paint` shows the answer.

    Subclasses set `key`, `title`, `needs` (parameters of the tab's state that another answer depends on), build `content`, and
    keep what they choose among in `choice`. `refuse` says above the page why something typed in was not taken, and takes that back
    where it is called with nothing.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    missing: ClassVar[str]
    """Heading of the card where there is nothing to show."""
    needs: ClassVar[frozenset[str]] = frozenset()
    asks: ClassVar[frozenset[str]] = frozenset()
    """Parameters of `choice` whose change asks for another answer; the others only paint the one that is there."""

    choice: param.Parameterized | None = None

    def __init__(self, root: str, state: LevelState, refuse: Callable[[str], None]) -> None:
        self.root, self.state, self.refuse = root, state, refuse
        self.answer: Any = None
        self.asked: SectionQuery | None = None
        """What `answer` is of."""
        self.simulated = False
        self.say = html(components.sentence(f"{self.title}: reading"))
        self.card = html(visible=False)
        self.forms: list[Form] = []
        self.content = pn.Column(visible=False, styles={"gap": "14px"}, **FILL)
        self.build()
        asked = [pn.Row(*self.forms, margin=(2, 0, 6, 0), sizing_mode="stretch_width", styles={"gap": "18px"})] if self.forms else []
        self.body = pn.Column(
            self.say, *asked, self.card, self.content, visible=False, styles={"gap": "6px", "padding-bottom": "24px"}, **FILL,
        )  # fmt: skip

    @property
    def theme(self) -> Theme:
        """The page's theme."""
        return THEMES[self.state.theme]

    def build(self) -> None:
        """Make `forms`, and fill `content`."""
        raise NotImplementedError

    def asking(self) -> SectionQuery:
        """What is chosen now."""
        st = self.state
        choice = {n: getattr(self.choice, n) for n in sorted(self.asks)}
        return SectionQuery(st.horizon, st.contract, st.session, st.level, st.cursor_ts_ns, st.window_s, choice)

    def work(self, asked: SectionQuery, progress: Progress) -> Any:
        """Ask for what the section shows; runs in a thread and touches nothing of the page."""
        raise NotImplementedError

    def paint(self, answer: Any, asked: SectionQuery) -> None:
        """Show `answer`, in words that are of what was `asked`."""
        raise NotImplementedError

    def dress(self) -> None:
        """Put the page's theme on the figures; `paint` follows where there is an answer."""
        raise NotImplementedError

    def tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        """What can be saved: key -> (label, frame; None before there is an answer)."""
        raise NotImplementedError

    def show(self, answer: Any, asked: SectionQuery) -> None:
        """Keep and paint the answer to what was `asked`."""
        self.answer, self.asked = answer, asked
        self.card.visible = False
        self.paint(answer, asked)
        self.content.visible = True

    def again(self) -> None:
        """Paint the answer that is there, if one is."""
        if self.answer is not None and self.asked is not None:
            self.paint(self.answer, self.asked)

    def fail(self, message: str) -> None:
        """Say in the middle of the page what is missing, and the command that makes it."""
        self.answer = self.asked = None
        self.content.visible = False
        self.say.object = components.sentence(f"{self.title}: nothing to show yet")
        self.card.object = f"<div class='sm-card' role='alert'><h2>{escape(self.missing)}</h2><p>{components.rich(message)}</p></div>"
        self.card.visible = True

    def exports(self) -> list[Table]:
        """`tables` as things to save."""
        return [Table(key, f"{self.title}: {label}", lambda k=key: self._export(k)) for key, (label, _) in self.tables().items()]  # type: ignore[misc]

    def _export(self, key: str) -> tuple[pl.DataFrame, Mapping[str, Any]]:
        _, frame = self.tables()[key]
        if frame is None or self.asked is None:
            raise NoData(f"{self.title}: nothing is shown yet; open it first")
        horizon = {"horizon": self.asked.horizon} if "horizon" in self.needs else {}
        of = {"lake": self.root, "market": market(self.asked.contract), **horizon, "simulated": self.simulated}
        return frame, {**of, **self.facts(self.asked)}

    def facts(self, asked: SectionQuery) -> dict[str, Any]:
        """What else a saved table is of."""
        return {}


def progress_html(done: int, of: int, what: str) -> str:
    """How far it has come."""
    share = f"{100 * done / of:.0f}%" if of else "100%"
    words = f"{what} ({done} of {of})" if of else what
    bar = f"<div class='sm-bar' style='width:{share};background:var(--sm-long)'></div>"
    return f"<div role='status' style='font:14px var(--sm-font);color:var(--sm-muted);padding:4px 0'>Working: {escape(words)}{bar}</div>"


# ----------------------------------------------------------------------------
# Research: the kept audit, and what the lake's data are worth

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
        self.target = Form(margin=0).bind(self.choice, [input_for(self.choice, "target", "Forecast of", kind="group")])
        self.forms = [
            self.target,
            self.whose.bind(self.choice, [input_for(self.choice, "forecast", "Reliability of")]),
        ]
        self.panels = plots.share_panels(
            self.theme,
            {"skill": "Log-loss skill against the reference", "brier_skill": "Brier skill"},
            signed=True,
            axis="skill, 95% interval",
        )
        self.reliability = research.reliability_figure(self.theme)
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

    def work(self, asked: SectionQuery, progress: Progress) -> Worth:
        """The kept audit, and gold's forecasts."""
        return worth(self.root, asked.contract, progress)

    def dress(self) -> None:
        """Theme on the figures."""
        plots.theme_share_panels(self.panels, self.theme)
        research.theme_reliability(self.reliability, self.theme)

    def paint(self, answer: Worth, asked: SectionQuery) -> None:
        """The audit where there is one, and the table by level."""
        self.kept.visible = answer.audit is not None
        self.target.visible = self.whose.visible = answer.audit is not None
        self.none.visible = answer.audit is None
        if answer.audit is not None:
            self._paint_kept(answer.audit)
        else:
            self.say.object = components.sentence(f"{self.title}: none to go by yet; below, what gold's own forecasts were worth")
            self.none.object = f"<p role='alert' style='font:15px var(--sm-font);margin:4px 0'>{components.rich(answer.why)}</p>"
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
            self.whose.fields = [input_for(self.choice, "forecast", "Reliability of")]
            self.whose.values = {"forecast": others.index(self.choice.forecast) if others else -1}
        rows = answer.frame.filter(pl.col("target") == target)
        plots.fill_share_panels(self.panels, plots.skill_rows(answer.frame, target), self.theme)
        chosen = self.choice.forecast
        research.fill_reliability(self.reliability, diagrams.get(f"{target}/{chosen}", []), diagrams.get(f"{target}/pi", []), chosen)
        self.say.object = components.sentence(words.audit_sentence(report))
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
        self.coverage = research.coverage_figure(self.theme)
        self.table, self.stale, self.datasets = html(), html(), html()
        self.content.extend([figure_pane(self.coverage.figure), self.table, self.stale, self.datasets])

    def work(self, asked: SectionQuery, progress: Progress) -> Quality:
        """Quality of every session of the market."""
        return quality(self.root, asked.contract, progress)

    def dress(self) -> None:
        """Theme on the map."""
        research.theme_coverage(self.coverage, self.theme)

    def paint(self, answer: Quality, asked: SectionQuery) -> None:
        """Map and tables."""
        research.fill_coverage(self.coverage, answer.sessions, answer.gaps)
        known = answer.sessions.filter(pl.col("seconds").is_not_null())
        seconds = int(known["seconds"].sum())
        valid = float((known["valid_share"] * known["seconds"]).sum()) / seconds if seconds else 0.0
        broken = answer.sessions.height - known.height
        parts = [f"{answer.sessions.height} sessions", f"a valid book in {research.percent(valid)} of {seconds:,} seconds"]
        parts += [f"{broken} cannot be read"] if broken else []
        parts += [f"{answer.stale.height} partitions stale" if answer.stale.height else "nothing is stale"]
        self.say.object = components.sentence("Data quality: " + ", ".join(parts) + ".")
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


# ----------------------------------------------------------------------------
# Research: one feature of the trigger vectors, by what followed and by level, and where the cursor's moment stands

WAYS = {"approach_up": "▲", "approach_down": "▼"}


class FeatureChoice(param.Parameterized):
    """Which dimension."""

    group: Any = param.Selector(default="", objects=[""], doc="Triggers whose vectors have the same dimensions")
    family: Any = param.Selector(default="", objects=[""], doc="What it is about")
    feature: Any = param.Selector(default="", objects=[""], doc="Feature")
    block: Any = param.Selector(default="", objects=[""], doc="When in the trigger's history")


def dimension_of(names: tuple[str, ...], choice: Mapping[str, Any]) -> str:
    """The dimension that was chosen; where its parts do not go together, the one of `names` that the last choice is nearest to."""
    block, feature = choice["block"], choice["feature"]
    exact = f"{block}_{feature}" if block else feature
    alike = [n for n in names if family_of(n) == choice["family"]]
    if not alike:
        return first_of(names)
    same = [n for n in alike if feature_of(n) == feature]
    return exact if exact in same else (same or [n for n in alike if n.startswith(f"{block}_")] or alike)[-1 if same else 0]


class FeatureSection(Section):
    """The feature explorer."""

    key, title, missing = "features", "Features", "No trigger vectors in the lake yet"
    needs = frozenset({"horizon", "contract", "session", "level", "cursor_ts_ns", "window_s"})
    asks = frozenset({"group", "family", "feature", "block"})

    def build(self) -> None:
        """Two pictures on one axis; what can be chosen is known once the vectors are."""
        self.choice: FeatureChoice = FeatureChoice()
        self.where = {n: Form(margin=0) for n in ("group", "family", "feature", "block")}
        for n, form in self.where.items():
            form.bind(self.choice, [input_for(self.choice, n, LABELS[n])])
        self.where["group"].visible = False
        horizon = Form(margin=0).bind(self.state, [input_for(self.state, "horizon", "Time after the touch")])
        self.moment = MomentChoice(self.root, self.state, self.refuse)
        self.forms = [*self.where.values(), horizon, self.moment.level, self.moment.time]
        self.pictures = research.feature_pictures(self.theme)
        self.key_line = html()
        self.content.extend([self.key_line, figure_pane(self.pictures.classes), figure_pane(self.pictures.levels)])

    def work(self, asked: SectionQuery, progress: Progress) -> tuple[dict[str, tuple[str, ...]], str, Feature]:
        """Names by group, the name that is shown, and its distribution."""
        progress(0, 0, "reading the trigger vectors")
        names = dimensions(self.root, asked.contract)
        group = asked.choice["group"] if asked.choice["group"] in names else next(iter(names))
        name = dimension_of(names[group], asked.choice)
        return names, name, feature_of_history(self.root, group, name, asked.horizon, moment_of(asked), asked.contract, progress)

    def dress(self) -> None:
        """Theme on the pictures."""
        research.theme_features(self.pictures, self.theme)

    def paint(self, answer: tuple[dict[str, tuple[str, ...]], str, Feature], asked: SectionQuery) -> None:
        """The choices, and the pictures of the chosen one."""
        names, name, found = answer
        self._offer(names, name)
        d, moment = found.distribution, moment_of(asked)
        title = words.feature_words(name, feature_of(name), family_of(name))
        rows = self._by_level(d.by_level)
        value = "" if found.now is None else f"{found.now:.3g}".replace("-", "−")
        now = f"now {value}" if value else ""
        research.fill_features(self.pictures, d.edges, d.counts, rows, title=title, now=found.now, now_text=now)
        where = "" if moment is None else f"{level_title(moment[2])} {moment[1]} {axes.clock(moment[3])}"
        if found.now is None:
            said = f"{title}: no value now ({found.why})."
        else:
            said = f"{title}: {value} at {where}, above {found.below:.0%} of history."
        self.say.object = components.sentence(said)
        legend = research.legend_html(d.counts, self.theme)
        self.key_line.object = key_line(
            f"<div style='font-size:14px;padding-bottom:4px'>{legend}</div>"
            f"Armed approaches of all sessions, both directions in the frame of travel; what followed within "
            f"{MINUTES[asked.horizon]} of the touch. {d.left_out:,} without a vector or an outcome are left out of the classes. "
            f"Dimension <code>{name}</code> (docs/FEATURES.md). "
            "Looking through many features for one that separates finds some by chance: the audit is the test."
        )

    @staticmethod
    def _by_level(frame: pl.DataFrame) -> pl.DataFrame:
        """Levels in words and in the screen's order."""
        groups = [g.rpartition("/")[::2] for g in frame["group"].to_list()]
        titles = level_titles({g[0] for g in groups})
        order = {level: i for i, level in enumerate(titles)}
        at = sorted(range(len(groups)), key=lambda i: (order[groups[i][0]], groups[i][1] != "approach_up"))
        return frame[at].with_columns(pl.Series("group", [f"{titles[groups[i][0]]} {WAYS[groups[i][1]]}" for i in at], dtype=pl.String))

    def _offer(self, names: dict[str, tuple[str, ...]], name: str) -> None:
        """Offer what there is, around the name that is shown."""
        c = self.choice
        group = c.group if c.group in names else next(iter(names))
        family, feature = family_of(name), feature_of(name)
        of_family = list(dict.fromkeys(feature_of(n) for n in names[group] if family_of(n) == family))
        blocks = [n.removesuffix(feature).rstrip("_") for n in names[group] if feature_of(n) == feature]
        offers = {
            "group": {WAYS.get(g, "both"): g for g in names},
            "family": {FAMILIES.get(f, f): f for f in dict.fromkeys(family_of(n) for n in names[group])},
            "feature": {f.removeprefix(f"{family}_").replace("_", " "): f for f in of_family},
            "block": {words.block_words(b) or "whole history": b for b in blocks},
        }
        chosen = {"group": group, "family": family, "feature": feature, "block": name.removesuffix(feature).rstrip("_")}
        with param.parameterized.discard_events(c):
            for n, objects in offers.items():
                c.param[n].objects = objects
                setattr(c, n, chosen[n])
        for n, form in self.where.items():
            fields = [input_for(c, n, LABELS[n])]
            # What has the keyboard's focus is not built anew without need.
            if form.fields != fields:
                form.fields = fields
            form.values = {n: list(offers[n].values()).index(chosen[n])}
            form.visible = len(offers[n]) > 1

    def tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        """Bins by class, quantiles by level, and the vectors."""
        d = self.answer[2].distribution if self.answer else None
        bins = None
        if d is not None:
            bins = pl.DataFrame({"low": d.edges[:-1], "high": d.edges[1:], **d.counts})
        return {"feature_bins": ("counts by class", bins), "feature_levels": ("quantiles by level", d and d.by_level)}

    def facts(self, asked: SectionQuery) -> dict[str, Any]:
        """Which feature, and its value at which moment."""
        now = {"feature": self.answer[1], "value_at_cursor": self.answer[2].now}
        moment = moment_of(asked)
        if moment is None:
            return now
        return {**now, "contract": moment[0], "session": moment[1].isoformat(), "level": moment[2], "end_ts_ns": moment[3]}


def moment_of(asked: SectionQuery) -> tuple[str, dt.date, str, int] | None:
    """Contract, session, level and end of the window at the cursor; None where none is chosen."""
    if asked.contract is None or asked.session is None or asked.cursor_ts_ns is None:
        return None
    return asked.contract, dt.date.fromisoformat(asked.session), asked.level, asked.cursor_ts_ns + asked.window_s * NS


LABELS = {"group": "Approach", "family": "Family", "feature": "Feature", "block": "When"}


def first_of(names: tuple[str, ...]) -> str:
    """What is shown first: pulls against adds of the side that defends, in the newest eighth, where there is such a dimension."""
    return next((n for n in reversed(names) if n.endswith("ahead_pull_add_log")), names[0])


# ----------------------------------------------------------------------------
# The moment that a question of Research is about: level and New York time, chosen in the section; the tab's state holds it


class MomentChoice:
    """Two fields, tied to `state`.

    Parameters
    ----------
    root, state
        Lake, and the tab's state: its `level` and `cursor_ts_ns` are set.
    refuse
        Called with a sentence where what was typed in is no moment, and with an empty one where it is.
    """

    def __init__(self, root: str, state: LevelState, refuse: Callable[[str], None]) -> None:
        self.root, self.state, self._refuse = root, state, refuse
        self.level, self.time = Form(margin=0), Form(margin=0)
        self.time.fields = [{"name": "time", "kind": "text", "label": "Moment, New York", "hint": "HH:MM:SS"}]
        self.levels: list[str] = []
        self._show()
        for form in (self.level, self.time):
            form.param.watch(lambda e, form=form: self._take(form, e.new), "changed")
        state.param.watch(lambda *_: self._show(), ["level", "cursor_ts_ns", "session"])

    def _show(self) -> None:
        """Put on the fields what the state says."""
        self.levels = list(dict.fromkeys([*session_cache.KEY_LEVELS, *level_ids(), self.state.level]))
        titles = [level_title(i) for i in self.levels]
        fields = [{"name": "level", "kind": "select", "label": "Level of the moment", "options": titles}]
        # What has the keyboard's focus is not built anew without need.
        if self.level.fields != fields:
            self.level.fields = fields
        self.level.values = {"level": self.levels.index(self.state.level)}
        at = self.state.cursor_ts_ns
        self.time.values = {"time": "" if at is None else clock_text(at)}

    def _take(self, form: Form, change: dict[str, Any]) -> None:
        """Set the state to what was chosen; what cannot be a moment is refused in words, and the state stays."""
        try:
            if form is self.level:
                self.state.level = self.levels[int(change["value"])]
            else:
                self.state.cursor_ts_ns = self._moment(str(change["value"]).strip())
            self._refuse("")
        except (ValueError, EngineError) as e:
            stays = "no moment is chosen" if self.state.cursor_ts_ns is None else f"the moment stays {clock_text(self.state.cursor_ts_ns)}"
            self._refuse(f"{e}; {stays}")
        finally:
            self._show()
            form.answered = int(change["n"])

    def _moment(self, text: str) -> int | None:
        """Start of the window in which the time lies, ns since the epoch; None for no text."""
        st = self.state
        if not text:
            return None
        if st.contract is None or st.session is None:
            raise ValueError(f"Moment “{text[:20]}”: expected a session to choose it in, the lake {self.root} holds none")
        date = dt.date.fromisoformat(st.session)
        clock = clock_of(text)
        ladder = session_cache.load(self.root, st.contract, date).ladder
        w = st.window_s * NS
        ts = to_ns(date, clock) // w * w
        if not -(-ladder.start_ns // w) * w <= ts <= ladder.end_ns // w * w - w:
            span = f"{axes.clock(ladder.start_ns)} to {axes.clock(ladder.end_ns)}"
            raise ValueError(f"Moment {clock:%H:%M:%S}: expected a time within the session of {date} ({span} New York)")
        return ts


def clock_of(text: str) -> dt.time:
    """The time of day that was typed in, ``HH:MM:SS`` or ``HH:MM``.

    Raises
    ------
    ValueError
        In words, where it is none.
    """
    for form in ("%H:%M:%S", "%H:%M"):
        try:
            return dt.datetime.strptime(text, form).time()
        except ValueError:
            continue
    raise ValueError(f"Moment “{text[:20]}”: expected New York time as HH:MM:SS, such as 10:05:00")


# ----------------------------------------------------------------------------
# Research: what followed, by the four conditions and by level

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
            Form(margin=0).bind(self.state, [input_for(self.state, "horizon", "Time after the touch")]),
            Form(margin=0).bind(self.choice, [input_for(self.choice, "stratum", "Price's own move in the window", kind="group")]),
        ]
        self.panels = plots.share_panels(self.theme, PANELS)
        self.key_line, self.table = html(), html()
        self.content.extend([pn.Row(*(figure_pane(f) for f in self.panels.figures.values()), margin=0, sizing_mode="stretch_width")])
        self.content.extend([self.key_line, self.table])

    def work(self, asked: SectionQuery, progress: Progress) -> pl.DataFrame:
        """The table of the market."""
        return queries.hypothesis(self.root, asked.horizon, asked.contract, progress)

    def dress(self) -> None:
        """Theme on the panels."""
        plots.theme_share_panels(self.panels, self.theme)

    def paint(self, answer: pl.DataFrame, asked: SectionQuery) -> None:
        """Panels and table of the chosen stratum."""
        stratum = self.choice.stratum
        plots.fill_share_panels(self.panels, plots.hypothesis_rows(answer, stratum), self.theme)
        self.say.object = components.sentence(words.hypothesis_sentence(answer, stratum))
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
        self.forms = [Form(margin=0).bind(self.state, [input_for(self.state, "horizon", "Time after the touch")])]
        self.panels = plots.share_panels(self.theme, {"touched": "Touched, of those armed", **PANELS})
        self.key_line, self.table = html(), html()
        self.content.extend([pn.Row(*(figure_pane(f) for f in self.panels.figures.values()), margin=0, sizing_mode="stretch_width")])
        self.content.extend([self.key_line, self.table])

    def work(self, asked: SectionQuery, progress: Progress) -> pl.DataFrame:
        """The table of the market."""
        return queries.hit_rates(self.root, asked.horizon, asked.contract, progress)

    def dress(self) -> None:
        """Theme on the panels."""
        plots.theme_share_panels(self.panels, self.theme)

    def paint(self, answer: pl.DataFrame, asked: SectionQuery) -> None:
        """Panels and table, levels in the screen's order."""
        titles = {**level_titles(set(answer["level_id"].to_list()) - {"all"}), "all": "All levels"}
        plots.fill_share_panels(self.panels, plots.hit_rows(answer, titles), self.theme)
        both = answer.filter(pl.col("level_id") == "all")
        parts = [f"{words.SIDE[r['approach']]} {r['touched']:,} of {r['decided']:,} armed approaches touched" for r in both.to_dicts()]
        self.say.object = components.sentence(f"{len(titles) - 1} levels: {'; '.join(parts)}.")
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
    known = [i for i in dict.fromkeys([*session_cache.KEY_LEVELS, *level_ids()]) if i in found]
    return {**{i: level_title(i) for i in known}, **{i: i for i in sorted(found - set(known))}}


def key_line(text: str) -> str:
    """How to read the picture above."""
    return f"<div style='font:13px var(--sm-font);color:var(--sm-muted);line-height:1.5'>{text}</div>"
