"""Research: one feature of the trigger vectors, by what followed and by level, and where the cursor's moment stands."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import param
import polars as pl

from engine.features.vector import family_of, feature_of
from engine.vocab import NS
from workbench import data
from workbench.plots import axes, research_features
from workbench.plots import research_words as words
from workbench.plots.why import FAMILIES
from workbench.research.asked import Progress
from workbench.research.explorer import Feature, dimensions
from workbench.research.explorer import feature as feature_of_history
from workbench.views import notices
from workbench.views.form import Form, field
from workbench.views.research_moment import MomentChoice
from workbench.views.research_outcomes import MINUTES, key_line, level_titles
from workbench.views.research_section import Asked, Section, figure_pane, html

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
            form.bind(self.choice, [field(self.choice, n, LABELS[n])])
        self.where["group"].visible = False
        horizon = Form(margin=0).bind(self.state, [field(self.state, "horizon", "Time after the touch")])
        self.moment = MomentChoice(self.root, self.state, self.refuse)
        self.forms = [*self.where.values(), horizon, self.moment.level, self.moment.time]
        self.pictures = research_features.feature_pictures(self.theme)
        self.key_line = html()
        self.content.extend([self.key_line, figure_pane(self.pictures.classes), figure_pane(self.pictures.levels)])

    def work(self, asked: Asked, progress: Progress) -> tuple[dict[str, tuple[str, ...]], str, Feature]:
        """Names by group, the name that is shown, and its distribution."""
        progress(0, 0, "reading the trigger vectors")
        names = dimensions(self.root, asked.contract)
        group = asked.choice["group"] if asked.choice["group"] in names else next(iter(names))
        name = dimension_of(names[group], asked.choice)
        return names, name, feature_of_history(self.root, group, name, asked.horizon, moment_of(asked), asked.contract, progress)

    def dress(self) -> None:
        """Theme on the pictures."""
        research_features.dress_features(self.pictures, self.theme)

    def paint(self, answer: tuple[dict[str, tuple[str, ...]], str, Feature], asked: Asked) -> None:
        """The choices, and the pictures of the chosen one."""
        names, name, found = answer
        self._offer(names, name)
        d, moment = found.distribution, moment_of(asked)
        title = words.feature_words(name, feature_of(name), family_of(name))
        rows = self._by_level(d.by_level)
        value = "" if found.now is None else f"{found.now:.3g}".replace("-", "−")
        now = f"now {value}" if value else ""
        research_features.fill_features(self.pictures, d.edges, d.counts, rows, title=title, now=found.now, now_text=now)
        where = "" if moment is None else f"{data.level_title(moment[2])} {moment[1]} {axes.clock(moment[3])}"
        if found.now is None:
            said = f"{title}: no value now ({found.why})."
        else:
            said = f"{title}: {value} at {where}, above {found.below:.0%} of history."
        self.say.object = notices.sentence(said)
        legend = research_features.legend_html(d.counts, self.theme)
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
            fields = [field(c, n, LABELS[n])]
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

    def facts(self, asked: Asked) -> dict[str, Any]:
        """Which feature, and its value at which moment."""
        now = {"feature": self.answer[1], "value_at_cursor": self.answer[2].now}
        moment = moment_of(asked)
        if moment is None:
            return now
        return {**now, "contract": moment[0], "session": moment[1].isoformat(), "level": moment[2], "end_ts_ns": moment[3]}


def moment_of(asked: Asked) -> tuple[str, dt.date, str, int] | None:
    """Contract, session, level and end of the window at the cursor; None where none is chosen."""
    if asked.contract is None or asked.session is None or asked.cursor_ts_ns is None:
        return None
    return asked.contract, dt.date.fromisoformat(asked.session), asked.level, asked.cursor_ts_ns + asked.window_s * NS


LABELS = {"group": "Approach", "family": "Family", "feature": "Feature", "block": "When"}


def first_of(names: tuple[str, ...]) -> str:
    """What is shown first: pulls against adds of the side that defends, in the newest eighth, where there is such a dimension."""
    return next((n for n in reversed(names) if n.endswith("ahead_pull_add_log")), names[0])
