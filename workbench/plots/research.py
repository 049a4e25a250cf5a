"""Shares with their intervals beside the reference: one panel a quantity, one row a group, both directions in each row.

The hypothesis test, the levels' hit rates and the audit's skills are all drawn with these panels.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from bokeh.core.properties import value
from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    GlyphRenderer,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
    Scatter,
    Segment,
    Span,
    Text,
)
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.plots.outcomes import CLASSES, FEW
from workbench.theme import FONT, MONO, Theme

COLUMNS = ("group", "panel", "direction", "n", "count", "share", "low", "high", "reference")
"""A share of one group in one panel: ``count`` of ``n`` (null where it is no count), its interval, and what is usual (null: not known)."""

SCHEMA = {
    **dict.fromkeys(("group", "panel", "direction"), pl.String),
    **dict.fromkeys(("n", "count"), pl.Int64),
    **dict.fromkeys(("share", "low", "high", "reference"), pl.Float64),
}
WAYS = {"up": "▲", "down": "▼", "both": "●", "": "●"}
POINTS = ("x", "y", "low", "high", "fill", "line", "alpha", "marker", "said")
ROW_PX = 46
HEAD_PX, FOOT_PX = 30, 46
LABEL_PX = 148
SIGNED_PX = 380
"""Least height of skills: that of the reliability diagram beside them."""


@dataclass
class SharePanels:
    """Panels on one vertical axis and what is patched in them."""

    figures: dict[str, figure]
    points: dict[str, ColumnDataSource]
    references: dict[str, ColumnDataSource]
    counts: dict[str, ColumnDataSource]
    zeros: dict[str, Span]
    usual: list[GlyphRenderer]
    signed: bool


def share_panels(theme: Theme, panels: dict[str, str], *, signed: bool = False, axis: str = "share, 95% interval") -> SharePanels:
    """Empty panels side by side, the first with the groups' names.

    Parameters
    ----------
    panels : dict
        Key -> title, from left to right.
    signed : bool
        Skills, with a line at 0, in place of shares from 0 to 1.
    axis : str
        Title of the horizontal axes.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> parts = share_panels(DARK, {"break": "break", "reject": "reject"})
    >>> list(parts.figures)
    ['break', 'reject']
    """
    y = Range1d(-0.5, 0.5)
    made = SharePanels({}, {}, {}, {}, {}, [], signed)
    for i, (key, title) in enumerate(panels.items()):
        first = i == 0
        fig = figure(
            name=f"research_{key}", title=title, width=240 + LABEL_PX * first, height=200, sizing_mode="stretch_width", y_range=y,
            x_range=Range1d(0, 1), toolbar_location=None, tools=[], output_backend="canvas", x_axis_label=axis,
            min_border_left=LABEL_PX if first else 12, min_border_right=14, min_border_top=HEAD_PX, min_border_bottom=FOOT_PX,
            # The names' room is the first panel's own: what is left for the dots is alike in all.
            styles={"flex": f"1 1 {LABEL_PX if first else 12}px"},
        )  # fmt: skip
        fig.ygrid.visible = False
        fig.yaxis.visible = first
        fig.yaxis.ticker = FixedTicker(ticks=[])
        fig.xaxis.formatter = NumeralTickFormatter(format="+0.0%" if signed else "0%")
        fig.xaxis.ticker.desired_num_ticks = 5
        if not signed:
            fig.xaxis.bounds = (0, 1)
        points = ColumnDataSource({k: [] for k in POINTS}, name=f"points_{key}")
        references = ColumnDataSource({k: [] for k in ("x", "y", "said")})
        counts = ColumnDataSource({k: [] for k in ("x", "y", "text", "colour")})
        zero = Span(location=0, dimension="height", line_width=1.5, visible=signed)
        fig.add_layout(zero)
        usual = axes.add(fig, Scatter, references, x="x", y="y", marker=value("diamond"), size=14, fill_color=None, line_width=1.8)
        axes.add(fig, Segment, points, x0="low", y0="y", x1="high", y1="y", line_color="line", line_alpha="alpha", line_width=2.5)
        dots = axes.add(
            fig, Scatter, points, x="x", y="y", size=9, marker="marker", fill_color="fill", line_color="line", fill_alpha="alpha",
            line_alpha="alpha", line_width=1.6,
        )  # fmt: skip
        axes.add(
            fig, Text, counts, x="x", y="y", text="text", text_color="colour", text_font=value(MONO), text_font_size="12px",
            text_align="right", text_baseline="middle", x_offset=-3,
        )  # fmt: skip
        made.usual.append(usual)
        fig.add_tools(HoverTool(renderers=[dots], tooltips="@said"))
        made.figures[key], made.points[key], made.references[key], made.counts[key], made.zeros[key] = fig, points, references, counts, zero
    dress_share_panels(made, theme)
    return made


def dress_share_panels(parts: SharePanels, theme: Theme) -> None:
    """Put `theme` on the panels; the points' colours are in their data, so fill them again.

    Examples
    --------
    >>> from workbench.theme import DARK, LIGHT
    >>> dress_share_panels(share_panels(DARK, {"break": "break"}), LIGHT)
    """
    for key, fig in parts.figures.items():
        axes.dress(fig, theme, size="12px")
        fig.yaxis.major_label_text_font = FONT
        fig.yaxis.major_label_text_font_size = "13px"
        axes.dress_title(fig, theme)
        parts.zeros[key].line_color = theme.muted
    for r in parts.usual:
        r.glyph.line_color = theme.level


def fill_share_panels(parts: SharePanels, rows: pl.DataFrame, theme: Theme) -> None:
    """Patch the panels; groups stand from top to bottom as they first come in `rows`.

    Parameters
    ----------
    rows : pl.DataFrame
        `COLUMNS`; rows without a share make no point, and fewer than 30 events a pale one.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> parts = share_panels(DARK, {"break": "break"})
    >>> row = ("PM High", "break", "up", 40, 14, 0.35, 0.24, 0.48, 0.41)
    >>> fill_share_panels(parts, pl.DataFrame([row], schema=SCHEMA, orient="row"), DARK)
    >>> parts.points["break"].data["said"]
    ['PM High ▲: 14 of 40, 35% [24%–48%], usually 41%']
    """
    groups = rows["group"].unique(maintain_order=True).to_list()
    place = {g: len(groups) - 1 - i for i, g in enumerate(groups)}
    ways = [w for w in WAYS if w in set(rows["direction"].to_list())]
    shift = {w: 0.0 if len(ways) < 2 else 0.17 - 0.34 * i / (len(ways) - 1) for i, w in enumerate(ways)}
    colours = {"up": theme.long, "down": theme.short, "both": theme.text, "": theme.long}
    markers = {"up": "triangle", "down": "inverted_triangle", "both": "circle", "": "circle"}
    span = _bounds(rows, parts.signed)
    text = "{:+.1%}" if parts.signed else "{:.0%}"
    for key, fig in parts.figures.items():
        points: dict[str, list[object]] = {k: [] for k in POINTS}
        refs: dict[str, list[object]] = {k: [] for k in ("x", "y", "said")}
        counts: dict[str, list[object]] = {k: [] for k in ("x", "y", "text", "colour")}
        for r in rows.filter(pl.col("panel") == key).iter_rows(named=True):
            y = place[r["group"]] + shift[r["direction"]]
            counts["x"].append(span[1])
            counts["y"].append(y)
            counts["text"].append(f"{r['n']:,}" if r["count"] is None else f"{r['count']:,}/{r['n']:,}")
            counts["colour"].append(theme.muted)
            if r["share"] is None:
                continue
            low, high = (r["share"] if r[k] is None else r[k] for k in ("low", "high"))
            said = f"{r['group']} {WAYS[r['direction']]}: ".replace(" ●:", ":")
            said += f"{r['n']:,} events, " if r["count"] is None else f"{r['count']:,} of {r['n']:,}, "
            said += text.format(r["share"]) + ("" if r["low"] is None else f" [{text.format(low)}–{text.format(high)}]")
            if r["reference"] is not None:
                said += f", {'attainable' if parts.signed else 'usually'} {text.format(r['reference'])}"
                for k, v in zip(refs, (r["reference"], y, said)):
                    refs[k].append(v)
            colour = colours[r["direction"]]
            item = (r["share"], y, low, high, colour, colour, 1.0 if r["n"] >= FEW else 0.4, markers[r["direction"]], said)
            for k, v in zip(POINTS, item):
                points[k].append(v)
        parts.points[key].data, parts.references[key].data, parts.counts[key].data = points, refs, counts
        fig.x_range.update(start=span[0], end=span[1])
        fig.height = max(HEAD_PX + FOOT_PX + ROW_PX * max(len(groups), 1), SIGNED_PX if parts.signed else 0)
    first = next(iter(parts.figures.values()))
    first.y_range.update(start=-0.5, end=max(len(groups), 1) - 0.5)
    labels = {place[g]: g for g in groups}
    first.yaxis.ticker.ticks = sorted(labels)
    first.yaxis.major_label_overrides = labels


def _bounds(rows: pl.DataFrame, signed: bool) -> tuple[float, float]:
    known = [v for c in ("share", "low", "high", "reference") for v in rows[c].drop_nulls().to_list()]
    if not signed:
        return -0.02, 1.22 if max(known, default=0.0) > 0.8 else max(known, default=0.8) * 1.4
    low, high = min([0.0, *known]), max([0.0, *known])
    pad = max(high - low, 0.01)
    return low - 0.08 * pad, high + 0.4 * pad


def hypothesis_rows(table: pl.DataFrame, stratum: str = "all") -> pl.DataFrame:
    """`COLUMNS` of `engine.retrieval.hypothesis.condition_table`: a group per number of open conditions, a panel per class.

    Examples
    --------
    >>> one = {"direction": "up", "stratum": "all", "open": 4, "events": 40}
    >>> shares = {f"{k}_{c}": v for c in CLASSES for k, v in {"n": 14, "share": 0.35, "low": 0.24, "high": 0.48, "pi": 0.41}.items()}
    >>> hypothesis_rows(pl.DataFrame([{**one, **shares}])).height
    3
    """
    mine = table.filter((pl.col("stratum") == stratum) & pl.col("direction").is_in(["up", "down"])).sort("open", descending=True)
    out = []
    for r in mine.iter_rows(named=True):
        for c in CLASSES:
            numbers = (r["events"], r[f"n_{c}"], r[f"share_{c}"], r[f"low_{c}"], r[f"high_{c}"], r[f"pi_{c}"])
            out.append((f"{r['open']} of 4 open", c, r["direction"], *numbers))
    return pl.DataFrame(out, schema=SCHEMA, orient="row")


def hit_rows(table: pl.DataFrame, titles: dict[str, str]) -> pl.DataFrame:
    """`COLUMNS` of `engine.retrieval.hit_rates.hit_rates`: a group per level of `titles`, in their order.

    Panels are ``touched`` and the classes. What is usual is the share over all levels in the same direction.

    Examples
    --------
    >>> hit_rows(pl.DataFrame(schema={"level_id": pl.String, "approach": pl.String}), {}).columns == list(COLUMNS)
    True
    """
    out = []
    usual = {r["approach"]: r for r in table.filter(pl.col("level_id") == "all").iter_rows(named=True)}
    for level, title in titles.items():
        for r in table.filter(pl.col("level_id") == level).iter_rows(named=True):
            way = "up" if r["approach"] == "approach_up" else "down"
            for panel in ("touched", *CLASSES):
                n, count = (r["decided"], r["touched"]) if panel == "touched" else (r["outcomes"], r[f"n_{panel}"])
                reference = None if level == "all" else usual[r["approach"]][f"share_{panel}"]
                out.append((title, panel, way, n, count, r[f"share_{panel}"], r[f"low_{panel}"], r[f"high_{panel}"], reference))
    return pl.DataFrame(out, schema=SCHEMA, orient="row")


def skill_rows(frame: pl.DataFrame, target: str = "class") -> pl.DataFrame:
    """`COLUMNS` of the kept audit: a group per representation, panels ``skill`` (log loss) and ``brier_skill``; diamonds are attainable.

    Examples
    --------
    >>> row = {"representation": "means", "target": "class", "events": 600, "attainable": None}
    >>> row |= {"skill": 0.02, "skill_low": -0.01, "skill_high": 0.04}
    >>> row |= {"brier_skill": 0.01, "brier_skill_low": 0.0, "brier_skill_high": 0.02}
    >>> skill_rows(pl.DataFrame([row]))["share"].to_list()
    [0.02, 0.01]
    """
    out = []
    for r in frame.filter((pl.col("target") == target) & (pl.col("representation") != "pi")).iter_rows(named=True):
        for panel in ("skill", "brier_skill"):
            reference = r["attainable"] if panel == "skill" else None
            out.append((r["representation"], panel, "", r["events"], None, r[panel], r[f"{panel}_low"], r[f"{panel}_high"], reference))
    return pl.DataFrame(out, schema=SCHEMA, orient="row")
