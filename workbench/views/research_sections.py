"""Sections of the Research view: their panes, what each asks the lake, and what is shown while it waits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from html import escape
from shlex import quote
from typing import Any, ClassVar

import panel as pn
import param
import polars as pl

from engine.errors import EngineError, NoData
from engine.features.vector import family_of, feature_of
from engine.features.wall_orders import HELD_S
from engine.levels import level_ids
from engine.session import level_title
from engine.sessions import to_ns
from engine.vocab import NS
from workbench import queries, session_cache
from workbench.export import Table
from workbench.plots import axes, research, words
from workbench.plots.outcomes import CLASSES, FAMILIES
from workbench.plots.tables import CSS, Column, table_html
from workbench.queries import Audit, Feature, Progress, Quality, Worth, market
from workbench.state import HORIZON_WORDS, LevelState, clock_text
from workbench.theme import THEMES, Theme
from workbench.views import components
from workbench.views.components import FILL, PANE_CSS, Form, Notices, input_for, input_form, text_field
from workbench.views.viewport import to_session

MINUTES = {v: k for k, v in HORIZON_WORDS.items()}


def html(text: str = "", **more: Any) -> pn.pane.HTML:
    """A pane of text and tables."""
    return components.html(text, stylesheets=[PANE_CSS, CSS], **more)


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

    @property
    def moment(self) -> tuple[str, dt.date, str, int] | None:
        """Contract, session, level and end of the last window that had ended at the clock; None where no moment is chosen."""
        if self.contract is None or self.session is None or self.cursor_ts_ns is None:
            return None
        w = self.window_s * NS
        return self.contract, dt.date.fromisoformat(self.session), self.level, self.cursor_ts_ns // w * w


class Section:
    """One section: `work` asks (in a thread), `_paint` shows the answer in words that are of what was asked.

    Subclasses set the class's variables, make `forms`, `content` and `themed` in `_build`, keep what they choose among in `choice`, and
    say in `_tables` what can be saved: key -> (label, frame; None before there is an answer). `refuse` says above the page why something
    typed in was not taken, and takes that back where it is called with nothing.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    missing: ClassVar[str]
    """Heading of the card where there is nothing to show."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Parameters of the tab's state that another answer depends on."""
    asks: ClassVar[frozenset[str]] = frozenset()
    """Parameters of `choice` whose change asks for another answer; the others only paint the one that is there."""
    question: ClassVar[Callable[..., Any]]
    """What is asked of lake, horizon (where it is needed), contract and progress."""

    choice: param.Parameterized | None = None

    _build: Callable[[], None]
    _paint: Callable[[Any, SectionQuery], None]
    _tables: Callable[[], dict[str, tuple[str, pl.DataFrame | None]]]

    def __init__(self, root: str, state: LevelState, refuse: Callable[[str], None]) -> None:
        self.root, self.state, self.refuse = root, state, refuse
        self.answer: Any = None
        self.asked: SectionQuery | None = None
        """What `answer` is of."""
        self.simulated = False
        self.say = html(components.sentence(f"{self.title}: reading"))
        self.card, self.key_line, self.table = html(visible=False), html(), html()
        self.forms: list[Form] = []
        self.themed: list[tuple[Callable[[Any, Theme], None], Any]] = []
        """What puts a theme on figures, and the figures."""
        self.content = pn.Column(visible=False, styles={"gap": "14px"}, **FILL)
        self._build()
        asked = [pn.Row(*self.forms, margin=(2, 0, 6, 0), sizing_mode="stretch_width", styles={"gap": "18px"})] if self.forms else []
        self.body = pn.Column(
            self.say, *asked, self.card, self.content, visible=False, styles={"gap": "6px", "padding-bottom": "24px"}, **FILL,
        )  # fmt: skip

    @property
    def theme(self) -> Theme:
        """The page's theme."""
        return THEMES[self.state.theme]

    def _horizon_form(self) -> Form:
        return input_form(self.state, "horizon", "Time after the touch")

    def asking(self) -> SectionQuery:
        """What is chosen now."""
        st = self.state
        choice = {n: getattr(self.choice, n) for n in sorted(self.asks)}
        return SectionQuery(st.horizon, st.contract, st.session, st.level, st.cursor_ts_ns, st.window_s, choice)

    def work(self, asked: SectionQuery, progress: Progress) -> Any:
        """Ask for what the section shows; runs in a thread and touches nothing of the page."""
        horizon = [asked.horizon] if "horizon" in self.needs else []
        return self.question(self.root, *horizon, asked.contract, progress)

    def show(self, answer: Any, asked: SectionQuery) -> None:
        """Show and remember the answer to what was `asked`."""
        self.answer, self.asked = answer, asked
        self.card.visible = False
        self._paint(answer, asked)
        self.content.visible = True

    def again(self) -> None:
        """Paint the answer that is there, if one is."""
        if self.answer is not None and self.asked is not None:
            self._paint(self.answer, self.asked)

    def apply_theme(self) -> None:
        """Put the page's theme on figures and answer."""
        for put_on, figures in self.themed:
            put_on(figures, self.theme)
        self.again()

    def fail(self, message: str) -> None:
        """Say in the middle of the page what is missing, and the command that makes it."""
        self.answer = self.asked = None
        self.content.visible = False
        self.say.object = components.sentence(f"{self.title}: nothing to show yet")
        self.card.object = f"<div class='sm-card' role='alert'><h2>{escape(self.missing)}</h2><p>{components.rich(message)}</p></div>"
        self.card.visible = True

    def exports(self) -> list[Table]:
        """What can be saved."""
        return [Table(key, f"{self.title}: {label}", partial(self._export, key)) for key, (label, _) in self._tables().items()]

    def _export(self, key: str) -> tuple[pl.DataFrame, Mapping[str, Any]]:
        _, frame = self._tables()[key]
        if frame is None or self.asked is None:
            raise NoData(f"{self.title}: nothing is shown yet; open it first")
        horizon = {"horizon": self.asked.horizon} if "horizon" in self.needs else {}
        of = {"lake": self.root, "market": market(self.asked.contract), **horizon, "simulated": self.simulated}
        return frame, {**of, **self._facts(self.asked)}

    def _facts(self, asked: SectionQuery) -> dict[str, Any]:
        """What else a saved table is of."""
        return {}


def figure_row(figures: list[Any]) -> pn.Row:
    """Figures beside each other."""
    return pn.Row(*(pn.pane.Bokeh(f, **FILL) for f in figures), **FILL)


def key_line(text: str) -> str:
    """How to read the picture above."""
    return f"<div class='sm-how'>{text}</div>"


def level_titles(found: set[str]) -> dict[str, str]:
    """Levels in words, the key levels first, prices of one's own last."""
    known = [i for i in dict.fromkeys([*session_cache.KEY_LEVELS, *level_ids()]) if i in found]
    return {**{i: level_title(i) for i in known}, **{i: i for i in sorted(found - set(known))}}


def by_level(frame: pl.DataFrame) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Levels in words, "all" last, and the rows of `frame` in that order."""
    titles = {**level_titles(set(frame["level_id"].to_list()) - {"all"}), "all": "All levels"}
    order = {k: i for i, k in enumerate(titles)}
    return titles, sorted(frame.to_dicts(), key=lambda r: order[r["level_id"]])


# ----------------------------------------------------------------------------
# The stored audit, and what the lake's data are worth

TARGETS = {"break, reject or chop": "class", "touch or none": "touch"}


class AuditChoice(param.Parameterized):
    """What of the audit."""

    target: Any = param.Selector(default="class", objects=TARGETS, doc="What was forecast")
    forecast: Any = param.Selector(default="", objects=[""], doc="Whose reliability")


class AuditSection(Section):
    """Log loss against the reference, skill with its interval, calibration."""

    key, title, missing = "audit", "Audit", "No audit of this lake yet"
    needs = frozenset({"contract"})
    question = staticmethod(queries.worth)

    def _build(self) -> None:
        self.choice: AuditChoice = AuditChoice()
        self.target = input_form(self.choice, "target", "Forecast of", kind="group")
        self.whose = input_form(self.choice, "forecast", "Reliability of")
        self.forms = [self.target, self.whose]
        titles = {"skill": "Log-loss skill against the reference", "brier_skill": "Brier skill"}
        self.panels = research.share_panels(self.theme, titles, signed=True, axis="skill, 95% interval")
        self.reliability = research.reliability_figure(self.theme)
        self.themed = [(research.theme_share_panels, self.panels), (research.theme_reliability, self.reliability)]
        self.stale = Notices([])
        figures = figure_row([*self.panels.figures.values(), self.reliability.figure])
        self.of_audit = pn.Column(self.stale.banner, figures, self.key_line, self.table, styles={"gap": "14px"}, **FILL)
        self.none, self.levels = html(visible=False), html()
        self.content.extend([self.none, self.of_audit, self.levels])

    def _paint(self, answer: Worth, asked: SectionQuery) -> None:
        self.of_audit.visible = self.target.visible = self.whose.visible = answer.audit is not None
        self.none.visible = answer.audit is None
        if answer.audit is not None:
            self._paint_audit(answer.audit)
        else:
            self.say.object = components.sentence(f"{self.title}: none to go by yet; below, what gold's own forecasts were worth")
            self.none.object = f"<p role='alert' style='font:15px var(--sm-font);margin:4px 0'>{components.rich(answer.why)}</p>"
        self.levels.visible = bool(answer.by_level.height)
        if answer.by_level.height:
            titles, rows = by_level(answer.by_level)
            self.levels.object = table_html(
                words.level_score_columns(titles), rows,
                caption=f"Gold's own forecasts, made walking forward, {MINUTES[answer.horizon]} after the touch, by level and direction. "
                f"{len(rows)} rows were looked at, each interval is by itself.",
                mark=lambda r: "strong" if r["level_id"] == "all" else "few" if r["events"] < 30 else "",
            )  # fmt: skip

    def _paint_audit(self, answer: Audit) -> None:
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
        research.fill_share_panels(self.panels, research.skill_rows(answer.frame, target), self.theme)
        chosen = self.choice.forecast
        research.fill_reliability(self.reliability, diagrams.get(f"{target}/{chosen}", []), diagrams.get(f"{target}/pi", []), chosen)
        self.say.object = components.sentence(words.audit_sentence(report))
        command = f"`spymaster audit --lake {quote(str(self.root))}`"
        stale = f"This audit is not of the lake as it is now: {report['stale']}. {command} makes it again."
        self.stale.read((stale,) if report["stale"] else ())
        self.stale.show()
        self.key_line.object = key_line(
            "● with 95% interval from whole sessions resampled; ◇ attainable, where the data's law is known; right of 0 is better than the "
            f"reference. Made {answer.made.astimezone(axes.NEW_YORK):%Y-%m-%d %H:%M} New York; {report['refits']} refits; "
            f"{report['comparisons']} comparisons, each interval by itself."
        )
        rows = answer.frame.filter(pl.col("target") == target)
        self.table.object = table_html(
            words.audit_columns(bool(rows["attainable"].drop_nulls().len())), rows,
            mark=lambda r: "strong" if r["edge"] else "few" if r["representation"] == "pi" else "",
            caption="pi is the reference: distance, volatility, activity, hour and kind of level alone.",
        )  # fmt: skip

    def _tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        audit, bins = self.answer and self.answer.audit, None
        if audit is not None:
            found = [(*k.split("/"), *b.values()) for k, v in audit.report["diagrams"].items() for b in v]
            numbers = dict.fromkeys(("events", "forecast", "observed"), pl.Float64)
            bins = pl.DataFrame(found, schema={"target": pl.String, "representation": pl.String, **numbers}, orient="row")
        return {
            "audit": ("scores", audit and audit.frame),
            "reliability": ("reliability, every forecast", bins),
            "audit_levels": ("gold's forecasts by level and direction", self.answer and self.answer.by_level),
        }


def _text(head: str, key: str, *, wide: bool = False) -> Column:
    return Column(head, lambda r: r[key], text=True, wide=wide)


def _number(head: str, key: str) -> Column:
    return Column(head, lambda r: f"{r[key]:,}")


class QualitySection(Section):
    """What the lake's data are worth."""

    key, title, missing = "quality", "Data quality", "No session in the lake yet"
    needs = frozenset({"contract"})
    question = staticmethod(queries.quality)

    def _build(self) -> None:
        self.coverage = research.coverage_figure(self.theme)
        self.themed = [(research.theme_coverage, self.coverage)]
        self.stale, self.datasets = html(), html()
        self.content.extend([pn.pane.Bokeh(self.coverage.figure, **FILL), self.table, self.stale, self.datasets])

    def _paint(self, answer: Quality, asked: SectionQuery) -> None:
        research.fill_coverage(self.coverage, answer.sessions, answer.gaps)
        known = answer.sessions.filter(pl.col("seconds").is_not_null())
        seconds = int(known["seconds"].sum())
        valid = float((known["valid_share"] * known["seconds"]).sum()) / seconds if seconds else 0.0
        broken, stale = answer.sessions.height - known.height, answer.stale.height
        parts = [f"{answer.sessions.height} sessions", f"a valid book in {research.percent(valid)} of {seconds:,} seconds"]
        parts += [f"{broken} cannot be read"] if broken else []
        parts += [f"{stale} partitions stale" if stale else "nothing is stale"]
        self.say.object = components.sentence("Data quality: " + ", ".join(parts) + ".")
        of = answer.stale.group_by("symbol", "session_date").len().iter_rows()
        columns = words.quality_columns(words.selection_words(answer.selection), {(s, d): n for s, d, n in of})
        self.table.object = table_html(columns, answer.sessions, mark=lambda r: "bad" if r["trouble"] else "")
        self.stale.visible = bool(stale)
        date = pl.col("session_date")
        groups = answer.stale.group_by("dataset", "symbol", "stale", maintain_order=True)
        dates = Column("dates", lambda r: str(r["first"]) if r["n"] == 1 else f"{r['first']} to {r['last']}", text=True)
        self.stale.object = table_html(
            [_text("stale", "dataset"), _text("contract", "symbol"), _number("partitions", "n"), dates, _text("why", "stale", wide=True)],
            groups.agg(date.min().alias("first"), date.max().alias("last"), pl.len().alias("n")),
            caption="What the next run would make again, and why.",
        )  # fmt: skip
        numbers = [_number(k, k) for k in ("partitions", "rows", "columns")]
        self.datasets.object = table_html(
            [_text("dataset", "dataset"), *numbers, _text("holds", "holds", wide=True)], answer.datasets,
            caption="Datasets of the lake that have data of this market.",
        )  # fmt: skip

    def _tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        labels = {
            "sessions": "sessions", "gaps": "seconds without a valid book", "selection": "selection map", "stale": "stale partitions",
            "datasets": "datasets",
        }  # fmt: skip
        return {key: (label, self.answer and getattr(self.answer, key)) for key, label in labels.items()}


# ----------------------------------------------------------------------------
# One feature of the trigger vectors, by what followed and by level, and its value at the cursor's moment

WAYS = {"approach_up": "▲", "approach_down": "▼"}

LABELS = {"group": "Approach", "family": "Family", "feature": "Feature", "block": "When"}


class FeatureChoice(param.Parameterized):
    """Which dimension."""

    group: Any = param.Selector(default="", objects=[""], doc="Triggers whose vectors have the same dimensions")
    family: Any = param.Selector(default="", objects=[""], doc="What it is about")
    feature: Any = param.Selector(default="", objects=[""], doc="Feature")
    block: Any = param.Selector(default="", objects=[""], doc="When in the trigger's history")


def dimension_of(names: tuple[str, ...], choice: Mapping[str, Any]) -> str:
    """The dimension that was chosen; where its parts do not go together, the one of `names` that the last choice is nearest to.

    At first: pulls against adds of the side that defends, in the newest eighth, where there is such a dimension.
    """
    block, feature = choice["block"], choice["feature"]
    near = [n for n in names if family_of(n) == choice["family"]]
    if not near:
        return next((n for n in reversed(names) if n.endswith("ahead_pull_add_log")), names[0])
    same, exact = [n for n in near if feature_of(n) == feature], f"{block}_{feature}" if block else feature
    if same:
        return exact if exact in same else same[-1]
    return next((n for n in near if n.startswith(f"{block}_")), near[0])


class FeatureSection(Section):
    """The feature explorer."""

    key, title, missing = "features", "Features", "No trigger vectors in the lake yet"
    needs = frozenset({"horizon", "contract", "session", "level", "cursor_ts_ns", "window_s"})
    asks = frozenset({"group", "family", "feature", "block"})

    def _build(self) -> None:
        self.choice: FeatureChoice = FeatureChoice()
        self.where = {n: input_form(self.choice, n, label) for n, label in LABELS.items()}
        self.where["group"].visible = False
        self.moment = MomentChoice(self.root, self.state, self.refuse)
        self.forms = [*self.where.values(), self._horizon_form(), self.moment.level, self.moment.time]
        self.pictures = research.feature_pictures(self.theme)
        self.themed = [(research.theme_features, self.pictures)]
        self.content.extend([self.key_line, *(pn.pane.Bokeh(f, **FILL) for f in (self.pictures.classes, self.pictures.levels))])

    def work(self, asked: SectionQuery, progress: Progress) -> tuple[dict[str, tuple[str, ...]], str, Feature]:
        """Names by group, the name that is shown, and its distribution."""
        progress(0, 0, "reading the trigger vectors")
        names = queries.dimensions(self.root, asked.contract)
        group = asked.choice["group"] if asked.choice["group"] in names else next(iter(names))
        name = dimension_of(names[group], asked.choice)
        return names, name, queries.feature(self.root, group, name, asked.horizon, asked.moment, asked.contract, progress)

    def _paint(self, answer: tuple[dict[str, tuple[str, ...]], str, Feature], asked: SectionQuery) -> None:
        names, name, found = answer
        self._offer(names, name)
        d, moment = found.distribution, asked.moment
        title = words.feature_words(name, feature_of(name), family_of(name))
        value = "" if found.now is None else f"{found.now:.3g}".replace("-", "−")
        rows, now = self._by_level(d.by_level), f"now {value}" if value else ""
        research.fill_features(self.pictures, d.edges, d.counts, rows, title=title, now=found.now, now_text=now)
        where = "" if moment is None else f"{level_title(moment[2])} {moment[1]} {axes.clock(moment[3])}"
        said = f"no value now ({found.why})" if found.now is None else f"{value} at {where}, above {found.below:.0%} of history"
        self.say.object = components.sentence(f"{title}: {said}.")
        self.key_line.object = key_line(
            f"<div style='font-size:14px;padding-bottom:4px'>{research.legend_html(d.counts, self.theme)}</div>"
            f"Armed approaches of all sessions, both directions in the frame of travel; what followed within "
            f"{MINUTES[asked.horizon]} of the touch. {d.left_out:,} without a vector or an outcome are left out of the classes. "
            f"Dimension <code>{name}</code> (docs/FEATURES.md). "
            "Looking through many features for one that separates finds some by chance: the audit is the test."
        )

    @staticmethod
    def _by_level(frame: pl.DataFrame) -> pl.DataFrame:
        groups = [g.rpartition("/")[::2] for g in frame["group"].to_list()]
        titles = level_titles({level for level, _ in groups})
        order = {level: i for i, level in enumerate(titles)}
        at = sorted(range(len(groups)), key=lambda i: (order[groups[i][0]], groups[i][1] != "approach_up"))
        return frame[at].with_columns(pl.Series("group", [f"{titles[groups[i][0]]} {WAYS[groups[i][1]]}" for i in at], dtype=pl.String))

    def _offer(self, names: dict[str, tuple[str, ...]], name: str) -> None:
        c, family, feature = self.choice, family_of(name), feature_of(name)
        group = c.group if c.group in names else next(iter(names))
        of_family = dict.fromkeys(feature_of(n) for n in names[group] if family_of(n) == family)
        blocks = [n.removesuffix(feature).rstrip("_") for n in names[group] if feature_of(n) == feature]
        offers: dict[str, dict[str, str]] = {
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
            form.offer([input_for(c, n, LABELS[n])])
            form.values = {n: list(offers[n].values()).index(chosen[n])}
            form.visible = len(offers[n]) > 1

    def _tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        d = self.answer and self.answer[2].distribution
        bins = d and pl.DataFrame({"low": d.edges[:-1], "high": d.edges[1:], **d.counts})
        return {"feature_bins": ("counts by class", bins), "feature_levels": ("quantiles by level", d and d.by_level)}

    def _facts(self, asked: SectionQuery) -> dict[str, Any]:
        now, moment = {"feature": self.answer[1], "value_at_cursor": self.answer[2].now}, asked.moment
        if moment is None:
            return now
        return {**now, "contract": moment[0], "session": moment[1].isoformat(), "level": moment[2], "end_ts_ns": moment[3]}


class MomentChoice:
    """The moment that a question is about: level and New York time, two fields that set `level` and `cursor_ts_ns` of `state`.

    `refuse` is called with a sentence where what was typed in is no moment, and with an empty one where it is.
    """

    def __init__(self, root: str, state: LevelState, refuse: Callable[[str], None]) -> None:
        self.root, self.state, self._refuse = root, state, refuse
        self.level, self.time = Form(margin=0), Form(margin=0, fields=[text_field("time", "Moment, New York", "HH:MM:SS")])
        self.levels: list[str] = []
        self._show()
        for form in (self.level, self.time):
            form.param.watch(lambda e, form=form: self._take(form, e.new), "changed")
        state.param.watch(lambda *_: self._show(), ["level", "cursor_ts_ns", "session"])

    def _show(self) -> None:
        self.levels = list(dict.fromkeys([*session_cache.KEY_LEVELS, *level_ids(), self.state.level]))
        titles = [level_title(i) for i in self.levels]
        self.level.offer([{"name": "level", "kind": "select", "label": "Level of the moment", "options": titles}])
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
        """The instant that was typed in, ns since the epoch; None for no text."""
        st = self.state
        if not text:
            return None
        if st.contract is None or st.session is None:
            raise ValueError(f"Moment “{text[:20]}”: expected a session to choose it in, the lake {self.root} holds none")
        date, clock = dt.date.fromisoformat(st.session), clock_of(text)
        session = session_cache.load(self.root, st.contract, date)
        at = to_ns(date, clock)
        if at != to_session(session, at):
            span = f"{axes.clock(session.ladder.start_ns)} to {axes.clock(session.ladder.end_ns)}"
            raise ValueError(f"Moment {clock:%H:%M:%S}: expected a time within the session of {date} ({span} New York)")
        return at


def clock_of(text: str) -> dt.time:
    """The time of day that was typed in, ``HH:MM:SS`` or ``HH:MM``; a ValueError in words where it is none."""
    for form in ("%H:%M:%S", "%H:%M"):
        try:
            return dt.datetime.strptime(text, form).time()
        except ValueError:
            continue
    raise ValueError(f"Moment “{text[:20]}”: expected New York time as HH:MM:SS, such as 10:05:00")


# ----------------------------------------------------------------------------
# What followed, by the four conditions and by level

PANELS = {"break": "Break", "reject": "Reject", "chop": "Chop"}

KEY = "▲ from below, ▼ from above, with 95% intervals; ◇ {usual}; figures at the right are counts; pale: below 30"

RULE = "one event per armed episode; conditional on a touch; the barrier is judged by trade"


class ShareSection(Section):
    """Shares of what followed, a panel each, and the table that they are from."""

    needs = frozenset({"horizon", "contract"})
    shares: ClassVar[dict[str, str]]
    """Titles of the panels, by share."""
    usual: ClassVar[str]
    """What the hollow marks are."""

    def _build(self) -> None:
        self.forms = [self._horizon_form()]
        self.panels = research.share_panels(self.theme, self.shares)
        self.themed = [(research.theme_share_panels, self.panels)]
        self.content.extend([figure_row(list(self.panels.figures.values())), self.key_line, self.table])

    def _fill(self, rows: pl.DataFrame, sentence: str, asked: SectionQuery) -> None:
        research.fill_share_panels(self.panels, rows, self.theme)
        self.say.object = components.sentence(sentence)
        self.key_line.object = key_line(f"{KEY.format(usual=self.usual)}. {MINUTES[asked.horizon]} after the touch; {RULE}.")


class Stratum(param.Parameterized):
    """Which of price's own moves."""

    stratum: Any = param.Selector(default="all", objects={v: k for k, v in words.STRATA.items()}, doc="Price's own move in the window")


class Hypothesis(ShareSection):
    """Outcomes by the number of conditions open."""

    key, title, missing = "hypothesis", "Four conditions", "No armed approaches in the lake yet"
    shares, usual = PANELS, "usual at this distance, volatility and hour"
    question = staticmethod(queries.hypothesis)

    def _build(self) -> None:
        super()._build()
        self.choice: Stratum = Stratum()
        self.forms.append(input_form(self.choice, "stratum", "Price's own move in the window", kind="group"))

    def _paint(self, answer: queries.Conditions, asked: SectionQuery) -> None:
        stratum, table = self.choice.stratum, answer.table
        sentence = f"{words.trend_sentence(answer.trend)} {words.hypothesis_sentence(table, stratum)}"
        self._fill(research.hypothesis_rows(table, stratum), sentence, asked)
        rows = table.filter((pl.col("stratum") == stratum) & (pl.col("events") > 0))
        looked = table["comparisons"][0] if table.height else 0
        caption = (
            "Conditions 1 and 3 follow price mechanically: compare within one kind of price's own move. "
            f"Each interval is by itself; {looked} rows were looked at."
        )
        self.table.object = table_html(words.hypothesis_columns(), rows, caption=caption, mark=lambda r: "few" if r["events"] < 30 else "")

    def _tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        found = self.answer
        return {
            "four_conditions_trend": ("how the log odds of a break rise with each open condition", found and found.trend),
            "four_conditions": ("outcomes by conditions open", found and found.table),
        }


class HitRates(ShareSection):
    """Approaches, touches and outcomes of each level."""

    key, title, missing = "levels", "Hit rates", "No approaches in the lake yet"
    shares, usual = {"touched": "Touched, of those armed", **PANELS}, "all levels in that direction"
    question = staticmethod(queries.hit_rates)

    def _paint(self, answer: pl.DataFrame, asked: SectionQuery) -> None:
        titles, rows = by_level(answer)
        both = [r for r in answer.to_dicts() if r["level_id"] == "all"]
        parts = [f"{words.SIDE[r['approach']]} {r['touched']:,} of {r['decided']:,} armed approaches touched" for r in both]
        self._fill(research.hit_rows(answer, titles), f"{len(titles) - 1} levels: {'; '.join(parts)}.", asked)
        self.table.object = table_html(
            words.hit_columns(titles), rows,
            caption="Episodes, not windows: a run of windows that approach a level counts once. Intervals resample whole sessions.",
            mark=lambda r: "strong" if r["level_id"] == "all" else "few" if r["outcomes"] < 30 else "",
        )  # fmt: skip

    def _tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        return {"hit_rates": (f"levels, directions: touches, {', '.join(CLASSES)}", self.answer)}


class WallSection(ShareSection):
    """How often walls of each kind held, and how they ended."""

    key, title, missing = "walls", "Walls", "No sessions in the lake yet"
    needs = frozenset({"contract"})
    shares, usual = research.WALL_PANELS, "all walls of that side"
    question = staticmethod(queries.walls)

    def _build(self) -> None:
        super()._build()
        self.forms = []

    def _paint(self, answer: queries.Walls, asked: SectionQuery) -> None:
        research.fill_share_panels(self.panels, research.wall_rows(answer.rates), self.theme)
        self.say.object = components.sentence(words.wall_sentence(answer.rates))
        self.key_line.object = key_line(
            f"▲ asks, ▼ bids, with 95% intervals over whole sessions; ◇ {self.usual}; figures at the right are counts; pale: below 30. "
            f"Held: no trade beyond the price in {HELD_S // 60} minutes from when trading came to a wall at least 20 s old."
        ) + (f"<p>{components.rich(answer.lacking)}.</p>" if answer.lacking else "")
        self.table.object = table_html(
            words.wall_columns(), answer.rates.filter(pl.col("walls") > 0),
            caption="Walls of at least three times the median of their side within 20 ticks of the last trade. Kinds overlap; "
            "each interval is by itself.",
            mark=lambda r: "strong" if r["kind"] == "all" else "few" if r["reached"] < 30 else "",
        )  # fmt: skip

    def _tables(self) -> dict[str, tuple[str, pl.DataFrame | None]]:
        rates, table = (None, None) if self.answer is None else (self.answer.rates, self.answer.table)
        return {"wall_rates": ("how often walls held, by kind", rates), "walls": ("every wall and its fate", table)}
