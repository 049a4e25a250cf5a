"""What similar setups did: counts by horizon with intervals beside the reference, excursions, and why they are similar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl
from bokeh.core.properties import field, value
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, Label, Range1d, Span, Title, Whisker
from bokeh.plotting import figure

from workbench.assets import style
from workbench.plots import axes
from workbench.theme import MONO, Theme

CLASSES = ("reject", "chop", "break")
"""Order of the classes everywhere, the worse for a break first."""

FEW = 30
"""Below so many effective neighbours a bar is grey."""

KEY = "● with its 80% interval   ◆ usual at this distance and hour"

OUTCOME_COLUMNS = ("minutes", "outcome", "count", "of", "p", "low", "high", "reference", "n_eff")
"""A row per horizon and class: how many neighbours of how many, the posterior share with its interval, the reference's share (all of
them null where they are not known), and the effective number."""

BARS = ("x", "share", "text", "fill", "alpha", "low", "high", "reference", "p", "over", "said")


def class_colours(theme: Theme, approach: str) -> dict[str, str]:
    """Colour of each class: blue is where price goes up, orange where it goes down, chop is neither."""
    rejected, broke = (theme.short, theme.long) if approach != "approach_down" else (theme.long, theme.short)
    return {"reject": rejected, "chop": theme.muted, "break": broke}


def class_words(approach: str) -> dict[str, str]:
    """Each class with the way price goes: ``break ▲``, ``reject ▼``."""
    rejected, broke = "▼▲" if approach != "approach_down" else "▲▼"
    return {"reject": f"reject {rejected}", "chop": "chop", "break": f"break {broke}"}


def outcome_counts(found: pl.DataFrame, minutes: Sequence[float]) -> pl.DataFrame:
    """`OUTCOME_COLUMNS` from neighbours alone; shares, intervals and reference are null until the forecast fills them in.

    Neighbours have ``weight`` and ``outcome_h0, outcome_h1, ...`` (`engine.vocab.Outcome`), `minutes` are the horizons' lengths; a
    horizon that reached beyond its session's data, or was never touched, does not count.
    """
    rows: list[tuple[object, ...]] = []
    for h, m in enumerate(minutes):
        known = found.select("weight", pl.col(f"outcome_h{h}").str.split("_").list.first().str.to_lowercase().alias("outcome"))
        known = known.filter(pl.col("outcome").is_in(CLASSES))
        w = known["weight"].to_numpy()
        n_eff = float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0
        rows += [(float(m), c, int((known["outcome"] == c).sum()), known.height, None, None, None, None, n_eff) for c in CLASSES]
    kinds = (pl.Float64, pl.String, pl.Int64, pl.Int64, *[pl.Float64] * 5)
    return pl.DataFrame(rows, schema=dict(zip(OUTCOME_COLUMNS, kinds)), orient="row")


def outcome_data(rows: pl.DataFrame, theme: Theme, approach: str) -> dict[str, list[object]]:
    """Source of the histogram from `OUTCOME_COLUMNS`."""
    colours, words = class_colours(theme, approach), class_words(approach)
    order = pl.col("outcome").replace_strict(dict(zip(CLASSES, range(3))), return_dtype=pl.Int8)
    bars = []
    for r in rows.sort("minutes", order).iter_rows(named=True):
        c, share = r["outcome"], r["count"] / r["of"] if r["of"] else 0.0
        said = f"{words[c]} {r['count']} of {r['of']}"
        if r["p"] is not None:
            said += f", {r['p']:.0%} [{r['low']:.0%}–{r['high']:.0%}]"
        if r["reference"] is not None:
            said += f", usually {r['reference']:.0%}"
        over = max(share, r["high"] or 0.0, r["reference"] or 0.0) + 0.015
        shares = (float("nan") if r[k] is None else float(r[k]) for k in ("low", "high", "reference", "p"))
        alpha = 0.85 if r["n_eff"] >= FEW else 0.3
        bars.append(((f"{r['minutes']:g} min", c), share, f"{r['count']}", colours[c], alpha, *shares, over, said))
    return axes.columns(BARS, bars)


def outcome_figure(
    rows: pl.DataFrame, theme: Theme, approach: str, *, rule: str = "", nothing: str = "", height: int = 260, width: int = 720
) -> figure:
    """Bars are counts, whiskers the posterior's interval around its dot, diamonds what usually happens at this distance and hour.

    `rule` is the outcome rule in words, printed under the bars; `nothing` why there is nothing comparable, said instead of bars.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> found = pl.DataFrame({"weight": [1.0, 1.0], "outcome_h0": ["BREAK_UP", "REJECT_DOWN"]})
    >>> outcome_figure(outcome_counts(found, [1.0]), DARK, "approach_up").name
    'outcomes'
    """
    factors = [(f"{m:g} min", c) for m in sorted(rows["minutes"].unique().to_list()) for c in CLASSES] or [("", c) for c in CLASSES]
    fig = axes.plain_figure(
        "outcomes", width=width, height=height, sizing_mode="stretch_width", x_range=FactorRange(*factors, range_padding=0.02),
        y_range=Range1d(0, 1), title="" if nothing else KEY,
    )  # fmt: skip
    axes.apply_theme(fig, theme, size="12px")
    fig.xgrid.visible = False
    fig.xaxis.group_text_color, fig.xaxis.group_text_font_size = theme.text, "12px"
    fig.xaxis.separator_line_color = theme.edge
    fig.yaxis.axis_label = "share, given a touch"
    note = {"text_color": theme.muted, "text_font_size": "12px", "text_font_style": "normal"}
    fig.title.update(**note)
    if rule:
        fig.add_layout(Title(text=rule, **note), "below")
    fig.xaxis.major_label_orientation = 0.9
    if nothing:
        fig.xaxis.visible = fig.yaxis.visible = False
        middle = {"x": width // 2, "y": height // 2 - 30, "x_units": "screen", "y_units": "screen", "text_align": "center"}
        fig.add_layout(Label(**middle, text=f"nothing comparable: {nothing}", text_color=theme.text, text_font_size="16px"))
        return fig
    src = ColumnDataSource(outcome_data(rows, theme, approach), name="outcomes")
    fig.y_range.end = min(max(src.data["over"], default=0.9) + 0.1, 1.1)
    bars = fig.vbar("x", 0.82, "share", source=src, fill_color="fill", line_color="fill", fill_alpha="alpha")
    fig.text(
        "x", "over", "text", source=src, text_align="center", text_baseline="bottom", text_color=theme.text, text_font=value(MONO),
        text_font_size="12px",
    )  # fmt: skip
    whisker = Whisker(base="x", lower="low", upper="high", source=src, line_color=theme.text, line_width=1.5, level="overlay")
    for end in (whisker.lower_head, whisker.upper_head):
        end.update(size=8, line_color=theme.text)
    fig.add_layout(whisker)
    fig.scatter("x", "p", source=src, size=6, color=theme.text, line_color=theme.casing)
    fig.scatter("x", "reference", source=src, size=11, marker="diamond", fill_color=theme.level, line_color=theme.casing)
    fig.add_tools(HoverTool(renderers=[bars], tooltips="@said"))
    return fig


# ----------------------------------------------------------------------------
# What similar setups did, as a small table: counts first, then the posterior beside what is usual, and bars for every horizon

CSS = f"<style>{style('outcomes')}</style>"


@dataclass(frozen=True)
class Facts:
    """What is written around the table.

    Attributes
    ----------
    level, approach : str
        The level in words; ``approach_up`` or ``approach_down``.
    horizon : str
        The one in words, ``h0`` to ``h6``.
    whose, rule : str
        Whose setups were compared, such as ``only the 18 sessions before 2025-10-28``; the outcome rule.
    neighbours, days : int
        Setups, and distinct sessions among them.
    p_touch, pi_touch : float or None
        Probability of a touch, and what is usual; None where it is not known.
    nothing : str
        Why nothing is comparable; empty where something is.
    """

    level: str
    approach: str
    horizon: str
    whose: str
    rule: str
    neighbours: int
    days: int
    n_eff: float
    p_touch: float | None
    pi_touch: float | None
    nothing: str = ""


def rule_words(barrier: int | str) -> str:
    """The outcome rule: what ends a touch as what, and by which clock."""
    beyond = "as many ticks as volatility sets" if barrier == "auto" else f"{barrier} ticks"
    return f"a trade {beyond} beyond is a break, {beyond} back a reject, neither chop"


def outcome_html(rows: pl.DataFrame, facts: Facts, theme: Theme, *, waiting: bool = False, roomy: bool = False) -> str:
    """The table: a row per class, breaks where price goes up on top, a column per horizon.

    `rows` have ``horizon`` and `OUTCOME_COLUMNS`. With `Facts.nothing` the reason and what is usual take the table's place. Where
    another answer is on its way (`waiting`) this one is dimmed; `roomy` makes higher bars.
    """
    side = "below" if facts.approach == "approach_up" else "above"
    top = f"<div class='top'><span class='m'><b>After a touch</b> of {escape(facts.level)} from {side}</span>{_touch(facts)}</div>"
    if facts.nothing:
        body = f"<div class='say'><b>Nothing comparable:</b> {escape(facts.nothing)}</div>{_usual(rows, facts)}"
    else:
        body = _table(rows, facts, theme)
    few = f" · <b>fewer than {FEW}: grey</b>" if facts.n_eff < FEW and not facts.nothing else ""
    n = f"<b>{facts.neighbours}</b> setups, <b>{facts.days}</b> days, n_eff <b>{facts.n_eff:.0f}</b>"
    whole = f"{top}{body}<div class='m'>{n} · {escape(facts.whose)}{few}<div class='rule'>{escape(facts.rule)}</div></div>"
    return _page(f"<div class='wait'></div><div class='dim'>{whole}</div>" if waiting else whole, theme, roomy)


def outcome_notice(text: str, theme: Theme, *, waiting: bool = False, head: str = "After a touch") -> str:
    """The table's place while there is no table: what is missing (HTML, escaped by the caller), or that it is being asked."""
    bar = "<div class='wait'></div>" if waiting else ""
    return _page(f"<div class='top'><b>{escape(head)}</b></div><div class='m'>{text}</div>{bar}", theme)


def _page(body: str, theme: Theme, roomy: bool = False) -> str:
    ink = ";".join(f"--{k}:{getattr(theme, k)}" for k in ("text", "muted", "edge", "panel", "level"))
    return f"{CSS}<div class='o{' roomy' if roomy else ''}' style='{ink};color:{theme.text}' role='status' aria-live='polite'>{body}</div>"


def _touch(facts: Facts) -> str:
    if facts.p_touch is None and facts.pi_touch is None:
        return ""
    p = "" if facts.p_touch is None else f"touch <b class='n'>{facts.p_touch:.0%}</b>, "
    pi = "" if facts.pi_touch is None else f"usual <span class='n'>{facts.pi_touch:.0%}</span>"
    return f"<span class='m' title='Probability that price touches the level in this episode'>{p}{pi}</span>"


def _usual(rows: pl.DataFrame, facts: Facts) -> str:
    mine = rows.filter(pl.col("horizon") == facts.horizon)
    if mine.height == 0:
        return ""
    words = class_words(facts.approach)
    said = ", ".join(f"{words[r['outcome']]} <b class='n'>{r['reference']:.0%}</b>" for r in mine.iter_rows(named=True))
    return f"<div>Usual at this distance and hour, within {mine['minutes'][0]:g} min: {said}</div>"


def _table(rows: pl.DataFrame, facts: Facts, theme: Theme) -> str:
    colours, words = class_colours(theme, facts.approach), class_words(facts.approach)
    peak = max(0.3, *(max(_share(r), r["high"] or 0.0, r["reference"] or 0.0) for r in rows.iter_rows(named=True))) * 1.06
    horizons = rows.unique("horizon", keep="first", maintain_order=True).sort("minutes")
    heads = "".join(
        f"<th class='{'on' if h == facts.horizon else ''}'>{m:g}′</th>" for h, m in horizons.select("horizon", "minutes").iter_rows()
    )
    lines = []
    for c in CLASSES if facts.approach == "approach_down" else CLASSES[::-1]:
        of_class = rows.filter(pl.col("outcome") == c).sort("minutes").to_dicts()
        cells = "".join(_cell(r, colours[c], words[c], peak, on=r["horizon"] == facts.horizon) for r in of_class)
        shown = next((r for r in of_class if r["horizon"] == facts.horizon), None)
        lines.append(f"<tr><td class='w'><b style='color:{colours[c]}'>{words[c]}</b>{_figures(shown)}</td>{cells}</tr>")
    key = "bar: count · line: 80% interval · dashes: usual here"
    return (
        f"<table><colgroup><col class='first'></colgroup><tr><th class='w m' title='{key}'>┃ 80% interval "
        f"<span style='color:{theme.level}'>┅</span> usual here</th>{heads}</tr>{''.join(lines)}</table>"
    )


def _share(row: dict[str, Any]) -> float:
    return row["count"] / row["of"] if row["of"] else 0.0


def _dim(row: dict[str, Any]) -> str:
    return " dim" if row["n_eff"] < FEW else ""


def _figures(row: dict[str, Any] | None) -> str:
    """The chosen horizon in figures: posterior and interval, smaller the counts it is shrunk from and the reference it is shrunk to."""
    if row is None:
        return ""
    counts = f"{row['count']} of {row['of']}"
    if row["p"] is None:
        return f" {counts}"
    interval = f"[{100 * row['low']:.0f}–{100 * row['high']:.0f}]"
    share = f"<span class='{_dim(row)}'><b class='big'>{row['p']:.0%}</b> {interval}</span>"
    return f" {share}<br> <span class='m'>{counts}<span class='usual'>, usual {row['reference']:.0%}</span></span>"


def _cell(row: dict[str, Any], colour: str, word: str, peak: float, *, on: bool) -> str:
    """One horizon of one class: its count over a bar, the interval as a line, the reference as dashes."""

    def at(x: float | None) -> float:
        return 100 * (x or 0.0) / peak

    parts = f"<div class='bar{_dim(row)}' style='height:{at(_share(row)):.0f}%;background:{colour}'></div>"
    said = f"{word} {row['count']} of {row['of']} within {row['minutes']:g} min"
    if row["reference"] is not None:
        parts += f"<div class='pi' style='bottom:{at(row['reference']):.0f}%'></div>"
        said += f", usually {row['reference']:.0%}"
    if row["p"] is not None:
        low, high = at(row["low"]), at(row["high"])
        parts += f"<div class='iv' style='bottom:{low:.0f}%;height:{high - low:.0f}%'></div>"
        parts += f"<div class='p' style='bottom:calc({at(row['p']):.0f}% - 1px)'></div>"
        said += f", expected {row['p']:.0%} [{row['low']:.0%}–{row['high']:.0%}]"
    cell = f"<div class='count'>{row['count']}</div><div class='cell'>{parts}</div>"
    return f"<td class='{'on' if on else ''}' title='{said}'>{cell}</td>"


# ----------------------------------------------------------------------------
# How far price went after the touch of each similar setup, on and back

DOTS, MEDIANS = ("x", "y", "fill", "said"), ("x", "low", "high")


def excursion_data(found: pl.DataFrame, approach: str, theme: Theme) -> dict[str, dict[str, list[object]]]:
    """Sources of the excursions in the frame of travel; neighbours without a touch are left out.

    Parameters
    ----------
    found : pl.DataFrame
        Neighbours: ``approach, excursion_up_ticks, excursion_down_ticks, outcome_class``.
    approach : str
        The query's, for the colours.

    Returns
    -------
    dict of dict
        ``dots``: x in ticks (ahead of the touch positive, behind it negative), y the row of the class with equal values side by
        side, ``fill``, ``said``; ``medians``: x, low, high.
    """
    up = pl.col("approach") != "approach_down"
    ahead = pl.when(up).then("excursion_up_ticks").otherwise("excursion_down_ticks")
    behind = pl.when(up).then("excursion_down_ticks").otherwise("excursion_up_ticks")
    known = found.select(ahead.abs().alias("ahead"), -behind.abs().alias("behind"), "outcome_class").drop_nulls()
    colours = class_colours(theme, approach)
    dots, medians = [], []
    for row, name in enumerate(CLASSES):
        part = known.filter(pl.col("outcome_class") == name)
        for way in ("behind", "ahead") if part.height else ():
            x = part[way].to_numpy().astype(float)
            places = (row + _beside(x)).tolist()
            dots += [(v, y, colours[name], f"{name}: {abs(v):g} ticks {way}") for v, y in zip(x.tolist(), places)]
            medians.append((float(np.median(x)), row - 0.36, row + 0.36))
    return {"dots": axes.columns(DOTS, dots), "medians": axes.columns(MEDIANS, medians)}


def _beside(x: np.ndarray) -> np.ndarray:
    """Offsets within a row, ±0.3 at most: equal values side by side, the same way at every drawing."""
    out = np.zeros(x.size)
    for v in np.unique(x):
        at = np.flatnonzero(x == v)
        rank = np.arange(at.size)
        out[at] = np.where(rank % 2, 1, -1) * ((rank + 1) // 2)
    most = np.abs(out).max()
    return out * min(0.09, 0.3 / most if most else 0.09)


def excursion_figure(
    found: pl.DataFrame, approach: str, theme: Theme, *, barrier: int | None = None, height: int = 200, width: int = 720
) -> figure:
    """A dot per neighbour and way: how far price went beyond the level and back, by what it ended as; a line at the median.

    Examples
    --------
    >>> excursion_figure(near.found, "approach_up", DARK, barrier=8)  # doctest: +SKIP
    """
    fig = axes.plain_figure(
        "excursions", width=width, height=height, sizing_mode="stretch_both", y_range=Range1d(-0.6, 2.6),
        x_axis_label="ticks after the touch: back (−), on (+)", title="How far price went (bars: medians)",
    )  # fmt: skip
    fig.yaxis.ticker = [0, 1, 2]
    fig.xaxis.formatter = axes.distance_formatter()
    dots = fig.scatter("x", "y", source=axes.empty(*DOTS), size=8, fill_color="fill", fill_alpha=0.85, name="dots")
    fig.segment("x", "low", "x", "high", source=axes.empty(*MEDIANS), line_width=2.5, name="medians")
    fig.add_layout(Span(location=0, dimension="height", line_width=2, name="level"))
    for _ in range(2):
        fig.add_layout(Span(dimension="height", line_dash=[4, 3], name="barrier"))
    fig.add_tools(HoverTool(renderers=[dots], tooltips="@said"))
    paint_excursions(fig, found, approach, theme, barrier=barrier)
    theme_excursions(fig, theme)
    return fig


def paint_excursions(fig: figure, found: pl.DataFrame, approach: str, theme: Theme, *, barrier: int | None = None) -> None:
    """Patch the figure with other neighbours."""
    for name, columns in excursion_data(found, approach, theme).items():
        fig.select_one({"name": name}).data_source.data = columns
    fig.yaxis.major_label_overrides = dict(enumerate(class_words(approach).values()))
    for sign, span in zip((-1, 1), (s for s in fig.center if s.name == "barrier")):
        span.update(location=sign * (barrier or 0), visible=barrier is not None)


def theme_excursions(fig: figure, theme: Theme) -> None:
    """Put `theme` on the figure; the dots' colours come with their data."""
    axes.theme_titled(fig, theme, named=True)
    fig.select_one({"name": "dots"}).glyph.line_color = theme.casing
    fig.select_one({"name": "medians"}).glyph.line_color = theme.text
    fig.select_one({"name": "level"}).line_color = theme.level
    for span in fig.select({"name": "barrier"}):
        span.line_color = theme.muted


# ----------------------------------------------------------------------------
# Why setups are similar: what each family of features adds to the cosine of their vectors

FAMILIES = {
    "f": "vacuum, from above",
    "u": "vacuum, from below",
    "t": "tape",
    "ahead": "book ahead",
    "behind": "book behind",
    "magnitude": "magnitude",
    "w": "wall",
    "w1": "orders at the level",
    "w2": "adds at the level",
    "w3": "pulls at the level",
    "w4": "pulls behind it",
    "w5": "pulls across",
    "w6": "size added",
    "w7": "size pulled",
    "w8": "size pulled behind",
    "w9": "age of approach",
    "w10": "orders at its price",
    "w11": "adds at its price",
    "w12": "pulls at its price",
}
"""Families of features (`engine.features.vector.family_of`), and parts of the wall's (`engine.features.vector.part_of`), in words."""


def why_rows(found: pl.DataFrame, neighbour: int | None = None) -> pl.DataFrame:
    """``family, share``: what each family of features adds to the cosine, the largest first.

    From the columns ``why_{family}`` of one neighbour, by its position, or of their mean.
    """
    shares = found.select(pl.col("^why_.*$").name.map(lambda c: c.removeprefix("why_")))
    mean = (shares if neighbour is None else shares[neighbour]).mean()
    data = {"family": mean.columns, "share": [float(v or 0.0) for v in mean.row(0)] if mean.columns else []}
    schema = {"family": pl.String, "share": pl.Float64}
    return pl.DataFrame(data, schema=schema).sort("share", descending=True, maintain_order=True)


def why_data(rows: pl.DataFrame) -> dict[str, list[object]]:
    """Source of `why_figure` from `why_rows`."""
    return axes.columns(
        ("y", "share", "text", "align", "offset"),
        [
            (FAMILIES.get(f, f), v, f"{v:+.2f}".replace("-", "−"), *(("left", 5) if v >= 0 else ("right", -5)))
            for f, v in rows.select("family", "share").iter_rows()
        ],
    )


def why_figure(rows: pl.DataFrame, theme: Theme, *, whose: str = "", height: int = 180, width: int = 420) -> figure:
    """Bars of `why_rows`: to the right what makes two setups alike, to the left what sets them apart; they add up to the cosine.

    Examples
    --------
    >>> why_figure(why_rows(near.found), DARK)  # doctest: +SKIP
    """
    fig = axes.plain_figure(
        "why", title="What makes them alike", width=width, height=height, y_range=FactorRange(), x_range=Range1d(),
        sizing_mode="stretch_both", x_axis_label=" ",
    )  # fmt: skip
    src = ColumnDataSource(why_data(rows))
    fig.ygrid.visible = False
    fig.hbar("y", 0.6, "share", source=src, line_color=None, name="bars")
    fig.text(
        "share", "y", "text", source=src, text_align=field("align"), x_offset=field("offset"), text_baseline="middle",
        text_font=value(MONO), text_font_size="12px", name="texts",
    )  # fmt: skip
    fig.add_layout(Span(location=0, dimension="height", line_width=1.5, name="zero"))
    paint_why(fig, rows, whose)
    theme_why(fig, theme)
    return fig


def paint_why(fig: figure, rows: pl.DataFrame, whose: str = "") -> None:
    """Patch the figure; `whose` says which neighbours the bars are of."""
    share = rows["share"].to_numpy()
    edge = 0.28 * float(np.abs(share).max()) if share.size else 0.28
    data = why_data(rows)
    fig.y_range.factors = list(data["y"])[::-1]
    fig.x_range.update(start=min(float(share.min(initial=0)) - edge, 0.0), end=max(float(share.max(initial=0)) + edge, 0.05))
    fig.xaxis.axis_label = f"part of the cosine, {share.sum():.2f} in all{f' ({whose})' if whose else ''}"
    fig.select_one({"name": "bars"}).data_source.data = data


def theme_why(fig: figure, theme: Theme) -> None:
    """Put `theme` on the figure."""
    axes.theme_titled(fig, theme, named=True)
    fig.select_one({"name": "bars"}).glyph.fill_color = theme.long
    fig.select_one({"name": "texts"}).glyph.text_color = theme.text
    fig.select_one({"name": "zero"}).line_color = theme.edge
