"""What the similar setups did: counts per horizon with intervals beside the reference."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, Label, Range1d, Title, Whisker
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.theme import MONO, Theme

CLASSES = ("reject", "chop", "break")
"""Order of the classes everywhere, the worse for a break first."""

FEW = 30
"""Below so many effective neighbours a bar is grey."""

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

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> found = pl.DataFrame({"weight": [1.0, 1.0], "outcome_h0": ["BREAK_UP", "REJECT_DOWN"]})
    >>> outcome_figure(outcome_counts(found, [1.0]), DARK, "approach_up").name
    'outcomes'
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
