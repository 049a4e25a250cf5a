"""What the similar setups did: counts per horizon with intervals beside the reference, excursions, and why they are similar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, Label, Range1d, Span, Title, Whisker
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.theme import FONT, MONO, Theme

CLASSES = ("reject", "chop", "break")
"""Order of the classes everywhere, the worse for a break first."""

FEW = 30
"""Below so many effective neighbours a bar is grey."""

FAMILIES = {
    "f": "vacuum, from above",
    "u": "vacuum, from below",
    "t": "tape",
    "ahead": "book ahead",
    "behind": "book behind",
    "magnitude": "magnitude",
}
"""Families of features (`engine.features.vector.family_of`) in words."""

KEY = "● with its 80% interval   ◆ usual at this distance and hour"

OUTCOME_COLUMNS = ("minutes", "outcome", "count", "of", "p", "low", "high", "reference", "n_eff")
"""Columns that `outcome_data` reads: a row per horizon and class."""


def class_colours(theme: Theme, approach: str) -> dict[str, str]:
    """Colour of each class: blue is where price goes up, orange where it goes down, chop is neither."""
    up, down = theme.long, theme.short
    broke, rejected = (up, down) if approach != "approach_down" else (down, up)
    return {"reject": rejected, "chop": theme.muted, "break": broke}


def class_words(approach: str) -> dict[str, str]:
    """Each class with the way price goes: ``break ▲``, ``reject ▼``."""
    up = approach != "approach_down"
    return {"reject": f"reject {'▼' if up else '▲'}", "chop": "chop", "break": f"break {'▲' if up else '▼'}"}


def outcome_counts(found: pl.DataFrame, minutes: Sequence[float]) -> pl.DataFrame:
    """`OUTCOME_COLUMNS` from neighbours alone; shares, intervals and reference are null until the forecast fills them in.

    Parameters
    ----------
    found : pl.DataFrame
        Neighbours with ``weight`` and ``outcome_h0, outcome_h1, ...`` (`engine.vocab.Outcome`); a horizon that reached past its
        session's data, or was never touched, does not count.
    minutes : sequence of float
        Length of each horizon.
    """
    rows: list[tuple[object, ...]] = []
    for h, m in enumerate(minutes):
        known = found.select("weight", pl.col(f"outcome_h{h}").str.split("_").list.first().str.to_lowercase().alias("outcome"))
        known = known.filter(pl.col("outcome").is_in(CLASSES))
        w = known["weight"].to_numpy()
        n_eff = float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0
        nothing_yet = (None,) * 4
        rows += [(float(m), c, int((known["outcome"] == c).sum()), known.height, *nothing_yet, n_eff) for c in CLASSES]
    kinds = (pl.Float64, pl.String, pl.Int64, pl.Int64, *[pl.Float64] * 5)
    return pl.DataFrame(rows, schema=dict(zip(OUTCOME_COLUMNS, kinds)), orient="row")


def outcome_data(rows: pl.DataFrame, theme: Theme, approach: str) -> dict[str, list[object]]:
    """Source of the histogram.

    Parameters
    ----------
    rows : pl.DataFrame
        `OUTCOME_COLUMNS`: the horizon in minutes, the class, how many neighbours of how many, the posterior share with its
        interval, the reference's share (all of them null where they are not known), and the effective number.
    """
    colours = class_colours(theme, approach)
    order = pl.col("outcome").replace_strict(dict(zip(CLASSES, range(3))), return_dtype=pl.Int8)
    keys = ("x", "share", "text", "fill", "alpha", "low", "high", "reference", "p", "over", "said")
    out: dict[str, list[object]] = {k: [] for k in keys}
    words = class_words(approach)
    for r in rows.sort("minutes", order).iter_rows(named=True):
        share = r["count"] / r["of"] if r["of"] else 0.0
        said = f"{words[r['outcome']]} {r['count']} of {r['of']}"
        if r["p"] is not None:
            said += f", {r['p']:.0%} [{r['low']:.0%}–{r['high']:.0%}]"
        if r["reference"] is not None:
            said += f", usually {r['reference']:.0%}"
        out["x"].append((f"{r['minutes']:g} min", r["outcome"]))
        out["share"].append(share)
        out["text"].append(f"{r['count']}")
        out["fill"].append(colours[r["outcome"]])
        out["alpha"].append(0.85 if r["n_eff"] >= FEW else 0.3)
        out["said"].append(said)
        out["over"].append(max(share, r["high"] or 0.0, r["reference"] or 0.0) + 0.015)
        for k in ("low", "high", "reference", "p"):
            out[k].append(float("nan") if r[k] is None else float(r[k]))
    return out


def outcome_figure(
    rows: pl.DataFrame, theme: Theme, approach: str, *, rule: str = "", nothing: str = "", height: int = 260, width: int = 720
) -> figure:
    """Bars are counts, whiskers the posterior's interval around its dot, diamonds what usually happens at this distance and hour.

    Parameters
    ----------
    rule : str
        The outcome rule in words (barrier, clock), printed under the bars.
    nothing : str
        Why there is nothing comparable; then it is said instead of drawn.
    """
    factors = [(f"{m:g} min", c) for m in sorted(rows["minutes"].unique().to_list()) for c in CLASSES] or [("", c) for c in CLASSES]
    fig = figure(
        name="outcomes", width=width, height=height, sizing_mode="stretch_width", x_range=FactorRange(*factors, range_padding=0.02),
        y_range=Range1d(0, 1), toolbar_location=None, tools=[], output_backend="canvas", title="" if nothing else KEY,
    )  # fmt: skip
    axes.dress(fig, theme, size="12px")
    fig.xgrid.visible = False
    fig.xaxis.group_text_color, fig.xaxis.group_text_font_size = theme.text, "12px"
    fig.xaxis.separator_line_color = theme.edge
    fig.yaxis.axis_label = "share, given a touch"
    fig.title.update(text_color=theme.muted, text_font_size="12px", text_font_style="normal")
    if rule:
        fig.add_layout(Title(text=rule, text_color=theme.muted, text_font_size="12px", text_font_style="normal"), "below")
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
    fig.add_layout(Whisker(base="x", lower="low", upper="high", source=src, line_color=theme.text, line_width=1.5, level="overlay"))
    for end in fig.select({"type": Whisker}):
        for head in (end.lower_head, end.upper_head):
            head.update(size=8, line_color=theme.text)
    fig.scatter("x", "p", source=src, size=6, color=theme.text, line_color=theme.casing)
    fig.scatter("x", "reference", source=src, size=11, marker="diamond", fill_color=theme.level, line_color=theme.casing)
    fig.add_tools(HoverTool(renderers=[bars], tooltips="@said"))
    return fig


def excursion_data(found: pl.DataFrame, approach: str, theme: Theme) -> dict[str, dict[str, object]]:
    """Sources (dots, medians) of the excursions in the frame of travel.

    Parameters
    ----------
    found : pl.DataFrame
        Neighbours: ``approach, excursion_up_ticks, excursion_down_ticks, outcome_class``; those without a touch are left out.
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
    dots: dict[str, list[object]] = {k: [] for k in ("x", "y", "fill", "said")}
    medians: dict[str, list[object]] = {k: [] for k in ("x", "low", "high")}
    for row, name in enumerate(CLASSES):
        part = known.filter(pl.col("outcome_class") == name)
        for way in ("behind", "ahead"):
            x = part[way].to_numpy().astype(float)
            if x.size == 0:
                continue
            dots["x"] += x.tolist()
            dots["y"] += (row + _beside(x)).tolist()
            dots["fill"] += [colours[name]] * x.size
            dots["said"] += [f"{name}: {abs(v):g} ticks {way}" for v in x]
            medians["x"].append(float(np.median(x)))
            medians["low"].append(row - 0.36)
            medians["high"].append(row + 0.36)
    return {"dots": dots, "medians": medians}  # type: ignore[dict-item]


def _beside(x: np.ndarray) -> np.ndarray:
    """Offsets within a row, ±0.3 at most: equal values stand side by side, the same way at every drawing."""
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
    """A dot per neighbour and way: how far price went beyond the level and back, by what it ended as; a line at the median."""
    fig = figure(
        name="excursions", width=width, height=height, sizing_mode="stretch_width", y_range=Range1d(-0.6, 2.6), toolbar_location=None,
        tools=[], output_backend="canvas", x_axis_label="ticks from the level after the touch: back (−), on (+)",
    )  # fmt: skip
    axes.dress(fig, theme, size="12px")
    words = class_words(approach)
    fig.yaxis.ticker = [0, 1, 2]
    fig.yaxis.major_label_overrides = {i: words[c] for i, c in enumerate(CLASSES)}
    fig.yaxis.major_label_text_font = FONT
    fig.xaxis.formatter = axes.distance_formatter()
    data = excursion_data(found, approach, theme)
    dots = fig.scatter("x", "y", source=ColumnDataSource(data["dots"]), size=8, fill_color="fill", line_color=theme.casing, fill_alpha=0.85)
    fig.segment("x", "low", "x", "high", source=ColumnDataSource(data["medians"]), line_color=theme.text, line_width=2.5)
    fig.add_layout(Span(location=0, dimension="height", line_color=theme.level, line_width=2))
    for place in () if barrier is None else (-barrier, barrier):
        fig.add_layout(Span(location=place, dimension="height", line_color=theme.muted, line_dash=[4, 3]))
    fig.add_tools(HoverTool(renderers=[dots], tooltips="@said"))
    return fig


def why_rows(found: pl.DataFrame, neighbour: int | None = None) -> pl.DataFrame:
    """``family, share``: what each family of features adds to the cosine, the largest first.

    Parameters
    ----------
    found : pl.DataFrame
        Neighbours with columns ``why_{family}``.
    neighbour : int or None
        Position of one of them; the mean over all where None.
    """
    columns = [c for c in found.columns if c.startswith("why_")]
    rows = found.select(columns) if neighbour is None else found.select(columns)[neighbour]
    mean = rows.mean().row(0) if columns else ()
    data = {"family": [c.removeprefix("why_") for c in columns], "share": [0.0 if v is None else float(v) for v in mean]}
    schema = {"family": pl.String, "share": pl.Float64}
    return pl.DataFrame(data, schema=schema).sort("share", descending=True, maintain_order=True)


def why_figure(rows: pl.DataFrame, theme: Theme, *, height: int = 180, width: int = 420) -> figure:
    """Bars of `why_rows`: to the right what makes two setups alike, to the left what sets them apart; they add up to the cosine."""
    names: Sequence[str] = [FAMILIES.get(f, f) for f in rows["family"].to_list()]
    share = rows["share"].to_numpy()
    fig = figure(
        name="why", width=width, height=height, y_range=FactorRange(*names[::-1]), toolbar_location=None, tools=[], output_backend="canvas",
        x_axis_label=f"part of the cosine, {share.sum():.2f} in all", sizing_mode="stretch_width",
    )  # fmt: skip
    axes.dress(fig, theme, size="12px")
    fig.yaxis.major_label_text_font = FONT
    fig.ygrid.visible = False
    edge = float(np.abs(share).max()) if share.size else 1.0
    fig.x_range = Range1d(min(float(share.min(initial=0)) - 0.28 * edge, 0.0), max(float(share.max(initial=0)) + 0.28 * edge, 0.05))
    src = ColumnDataSource({"y": list(names), "share": share, "text": [f"{v:+.2f}".replace("-", "−") for v in share]})
    fig.hbar("y", 0.6, "share", source=src, color=theme.long, line_color=None)
    for positive, align in ((True, "left"), (False, "right")):
        part = np.flatnonzero((share >= 0) == positive)
        fig.text(
            share[part].tolist(), [names[int(i)] for i in part], [src.data["text"][int(i)] for i in part], text_align=align,
            x_offset=5 if positive else -5, text_baseline="middle", text_color=theme.text, text_font=value(MONO), text_font_size="12px",
        )  # fmt: skip
    fig.add_layout(Span(location=0, dimension="height", line_color=theme.edge, line_width=1.5))
    return fig
