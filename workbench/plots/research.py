"""Research figures: shares with intervals, reliability of forecasts, distributions of features, coverage of the lake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from bokeh import models
from bokeh.core.properties import value
from bokeh.models import FixedTicker, HBar, HoverTool, Line, NumeralTickFormatter, Range1d, Scatter, Segment, Span, Text
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.plots.outcomes import CLASSES, FEW
from workbench.theme import FONT, MONO, Theme

SCHEMA = {
    **dict.fromkeys(("group", "panel", "direction"), pl.String),
    **dict.fromkeys(("n", "count"), pl.Int64),
    **dict.fromkeys(("share", "low", "high", "reference"), pl.Float64),
}
"""A share of one group in one panel: ``count`` of ``n`` (null where it is no count), its interval, and what is usual (null: not known)."""

DIRECTIONS = {
    "up": ("▲", "triangle", "long"),
    "down": ("▼", "inverted_triangle", "short"),
    "both": ("", "circle", "text"),
    "": ("", "circle", "long"),
}
"""Sign, marker and colour of a point."""

POINTS = ("x", "y", "low", "high", "fill", "line", "alpha", "marker", "said")

REFERENCES, COUNTS = ("x", "y", "said"), ("x", "y", "text", "colour")

ROW_PX, HEAD_PX, FOOT_PX, LABEL_PX = 46, 30, 46, 148

SIGNED_PX = 380
"""Least height of skills: that of the reliability diagram beside them."""


@dataclass
class SharePanels:
    """Panels on one vertical axis and what is patched in them, by panel."""

    figures: dict[str, figure]
    points: dict[str, models.ColumnDataSource]
    references: dict[str, models.ColumnDataSource]
    counts: dict[str, models.ColumnDataSource]
    zeros: dict[str, Span]
    usual: dict[str, models.GlyphRenderer]
    signed: bool


def share_panels(theme: Theme, panels: dict[str, str], *, signed: bool = False, axis: str = "share, 95% interval") -> SharePanels:
    """Empty panels side by side, the first with the groups' names.

    Parameters
    ----------
    panels : dict
        Key -> title, from left to right.
    signed : bool
        Skills, with a line at 0, in place of shares from 0 to 1.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> list(share_panels(DARK, {"break": "break", "reject": "reject"}).figures)
    ['break', 'reject']
    """
    y = Range1d(-0.5, 0.5)
    made = SharePanels({}, {}, {}, {}, {}, {}, signed)
    for key, title in panels.items():
        first = not made.figures
        left = LABEL_PX if first else 12
        fig = axes.plain_figure(
            f"research_{key}", title=title, width=240 + LABEL_PX * first, height=200, sizing_mode="stretch_width", y_range=y,
            x_range=Range1d(0, 1), x_axis_label=axis, min_border_left=left, min_border_right=14, min_border_top=HEAD_PX,
            min_border_bottom=FOOT_PX,
            # The names' room is the first panel's own: what is left for the dots is alike in all.
            styles={"flex": f"1 1 {left}px"},
        )  # fmt: skip
        fig.ygrid.visible = False
        fig.yaxis.visible = first
        fig.yaxis.ticker = FixedTicker(ticks=[])
        fig.xaxis.formatter = NumeralTickFormatter(format="+0.0%" if signed else "0%")
        fig.xaxis.ticker.desired_num_ticks = 5
        if not signed:
            fig.xaxis.bounds = (0, 1)
        points = axes.empty(*POINTS, name=f"points_{key}")
        references, counts = axes.empty(*REFERENCES), axes.empty(*COUNTS)
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
        fig.add_tools(HoverTool(renderers=[dots], tooltips="@said"))
        made.figures[key], made.zeros[key], made.usual[key] = fig, zero, usual
        made.points[key], made.references[key], made.counts[key] = points, references, counts
    theme_share_panels(made, theme)
    return made


def theme_share_panels(parts: SharePanels, theme: Theme) -> None:
    """Put `theme` on the panels; the points' colours are in their data, so fill them again."""
    for key, fig in parts.figures.items():
        axes.theme_titled(fig, theme, named=True)
        fig.yaxis.major_label_text_font_size = "13px"
        parts.zeros[key].line_color = theme.muted
        parts.usual[key].glyph.line_color = theme.level


def fill_share_panels(parts: SharePanels, rows: pl.DataFrame, theme: Theme) -> None:
    """Patch the panels from rows of `SCHEMA`; groups are listed from top to bottom as they first come.

    Rows without a share make no point, and fewer than 30 events a pale one.

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
    there = [d for d in DIRECTIONS if d in set(rows["direction"])]
    shift = {d: 0.0 if len(there) < 2 else 0.17 - 0.34 * i / (len(there) - 1) for i, d in enumerate(there)}
    start, end = _bounds(rows, parts.signed)
    for key, fig in parts.figures.items():
        points, references, counts = [], [], []
        for r in rows.filter(pl.col("panel") == key).iter_rows(named=True):
            y = place[r["group"]] + shift[r["direction"]]
            counts.append((end, y, f"{r['n']:,}" if r["count"] is None else f"{r['count']:,}/{r['n']:,}", theme.muted))
            if r["share"] is None:
                continue
            said = _share_words(r, parts.signed)
            if r["reference"] is not None:
                references.append((r["reference"], y, said))
            low, high = (r["share"] if r[k] is None else r[k] for k in ("low", "high"))
            _, marker, ink = DIRECTIONS[r["direction"]]
            colour = getattr(theme, ink)
            points.append((r["share"], y, low, high, colour, colour, 1.0 if r["n"] >= FEW else 0.4, marker, said))
        parts.points[key].data = axes.columns(POINTS, points)
        parts.references[key].data, parts.counts[key].data = axes.columns(REFERENCES, references), axes.columns(COUNTS, counts)
        fig.x_range.update(start=start, end=end)
        fig.height = max(HEAD_PX + FOOT_PX + ROW_PX * max(len(groups), 1), SIGNED_PX if parts.signed else 0)
    first = next(iter(parts.figures.values()))
    first.y_range.update(start=-0.5, end=max(len(groups), 1) - 0.5)
    first.yaxis.ticker.ticks = sorted(place.values())
    first.yaxis.major_label_overrides = {y: g for g, y in place.items()}


def _share_words(r: dict, signed: bool) -> str:
    text = ("{:+.1%}" if signed else "{:.0%}").format
    sign = DIRECTIONS[r["direction"]][0]
    count = f"{r['n']:,} events" if r["count"] is None else f"{r['count']:,} of {r['n']:,}"
    said = f"{r['group']}{' ' * bool(sign)}{sign}: {count}, {text(r['share'])}"
    if r["low"] is not None:
        said += f" [{text(r['low'])}–{text(r['share'] if r['high'] is None else r['high'])}]"
    return said if r["reference"] is None else f"{said}, {'attainable' if signed else 'usually'} {text(r['reference'])}"


def _bounds(rows: pl.DataFrame, signed: bool) -> tuple[float, float]:
    known = [v for c in ("share", "low", "high", "reference") for v in rows[c].drop_nulls()]
    if not signed:
        return -0.02, 1.22 if max(known, default=0.0) > 0.8 else max(known, default=0.8) * 1.4
    low, high = min([0.0, *known]), max([0.0, *known])
    pad = max(high - low, 0.01)
    return low - 0.08 * pad, high + 0.4 * pad


def _share_rows(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def hypothesis_rows(table: pl.DataFrame, stratum: str = "all") -> pl.DataFrame:
    """`SCHEMA` of `engine.retrieval.statistics.condition_table`: a group per number of open conditions, a panel per class."""
    mine = table.filter((pl.col("stratum") == stratum) & pl.col("direction").is_in(["up", "down"])).sort("open", descending=True)
    return _share_rows(
        [
            (f"{r['open']} of 4 open", c, r["direction"], r["events"], *(r[f"{k}_{c}"] for k in ("n", "share", "low", "high", "pi")))
            for r in mine.iter_rows(named=True)
            for c in CLASSES
        ]
    )


def hit_rows(table: pl.DataFrame, titles: dict[str, str]) -> pl.DataFrame:
    """`SCHEMA` of `engine.retrieval.statistics.hit_rates`: a group per level of `titles`, in their order.

    Panels are ``touched`` and the classes. What is usual is the share over all levels in the same direction.

    Examples
    --------
    >>> hit_rows(pl.DataFrame(schema={"level_id": pl.String, "approach": pl.String}), {}).columns == list(SCHEMA)
    True
    """
    out = []
    usual = {r["approach"]: r for r in table.filter(pl.col("level_id") == "all").iter_rows(named=True)}
    for level, title in titles.items():
        for r in table.filter(pl.col("level_id") == level).iter_rows(named=True):
            direction = r["approach"].removeprefix("approach_")
            for panel in ("touched", *CLASSES):
                n, count = (r["decided"], r["touched"]) if panel == "touched" else (r["outcomes"], r[f"n_{panel}"])
                reference = None if level == "all" else usual[r["approach"]][f"share_{panel}"]
                out.append((title, panel, direction, n, count, *(r[f"{k}_{panel}"] for k in ("share", "low", "high")), reference))
    return _share_rows(out)


WALL_PANELS = {"held": "Held, of those reached", "eaten": "Eaten, of those ended", "pulled": "Pulled, of those ended"}
"""Titles of the panels of walls, by share."""


def wall_rows(table: pl.DataFrame) -> pl.DataFrame:
    """`SCHEMA` of `engine.retrieval.statistics.wall_rates`: a group per kind; asks point up, bids down. Usual is the share
    of all walls of the side.

    Examples
    --------
    >>> wall_rows(pl.DataFrame(schema={"kind": pl.String, "side": pl.String})).columns == list(SCHEMA)
    True
    """
    out = []
    usual = {r["side"]: r for r in table.filter(pl.col("kind") == "all").iter_rows(named=True)}
    for kind in table["kind"].unique(maintain_order=True):
        for r in table.filter(pl.col("kind") == kind).iter_rows(named=True):
            for panel in WALL_PANELS:
                n = r["reached"] if panel == "held" else r["ended"]
                reference = None if kind == "all" else usual[r["side"]][f"share_{panel}"]
                direction = "up" if r["side"] == "ask" else "down"
                out.append((kind, panel, direction, n, r[f"n_{panel}"], *(r[f"{k}_{panel}"] for k in ("share", "low", "high")), reference))
    return _share_rows(out)


def skill_rows(frame: pl.DataFrame, target: str = "class") -> pl.DataFrame:
    """`SCHEMA` of the stored audit: a group per representation, panels ``skill`` (log loss) and ``brier_skill``; diamonds are attainable.

    Examples
    --------
    >>> row = {"representation": "means", "target": "class", "events": 600, "attainable": None}
    >>> row |= {"skill": 0.02, "skill_low": -0.01, "skill_high": 0.04}
    >>> row |= {"brier_skill": 0.01, "brier_skill_low": 0.0, "brier_skill_high": 0.02}
    >>> skill_rows(pl.DataFrame([row]))["share"].to_list()
    [0.02, 0.01]
    """
    mine = frame.filter((pl.col("target") == target) & (pl.col("representation") != "pi"))
    return _share_rows(
        [
            (r["representation"], panel, "", r["events"], None, r[panel], r[f"{panel}_low"], r[f"{panel}_high"], reference)
            for r in mine.iter_rows(named=True)
            for panel, reference in (("skill", r["attainable"]), ("brier_skill", None))
        ]
    )


# ----------------------------------------------------------------------------
# The audit's reliability diagram: how sure the forecast was, and how often it was right

Z95 = 1.959964

BINS = ("x", "y", "low", "high", "size", "said")


def reliability_figure(theme: Theme, *, height: int = 380, width: int = 420) -> axes.Parts:
    """An empty diagram: bins as dots with their interval, the reference's bins as hollow squares, the diagonal of a perfect forecaster.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> reliability_figure(DARK).figure.name
    'reliability'
    """
    fig = axes.plain_figure(
        "reliability", title="Reliability", width=width, height=height, sizing_mode="stretch_width", x_range=Range1d(0, 1),
        y_range=Range1d(0, 1), x_axis_label="how sure: probability of the likeliest", y_axis_label="how often right", min_border_top=30,
    )  # fmt: skip
    fig.xaxis.formatter = fig.yaxis.formatter = NumeralTickFormatter(format="0%")
    bins, reference = axes.empty(*BINS, name="reliability"), axes.empty("x", "y")
    diagonal = models.ColumnDataSource({"x": [0.0, 1.0], "y": [0.0, 1.0]})
    made = {
        "diagonal": axes.add(fig, Line, diagonal, x="x", y="y", line_width=1.5, line_dash=[5, 4]),
        "reference": axes.add(fig, Scatter, reference, x="x", y="y", marker="square", size=8, fill_color=None, line_width=1.5),
        "interval": axes.add(fig, Segment, bins, x0="x", y0="low", x1="x", y1="high", line_width=2),
        "bins": axes.add(fig, Scatter, bins, x="x", y="y", size="size", fill_alpha=0.9),
    }
    fig.add_tools(HoverTool(renderers=[made["bins"]], tooltips="@said"))
    parts = axes.Parts(fig, {"bins": bins, "reference": reference}, made)
    theme_reliability(parts, theme)
    return parts


def theme_reliability(parts: axes.Parts, theme: Theme) -> None:
    """Put `theme` on the diagram."""
    axes.theme_titled(parts.figure, theme)
    for name, colour in (("diagonal", theme.muted), ("reference", theme.muted), ("interval", theme.long)):
        parts.renderers[name].glyph.line_color = colour
    parts.renderers["bins"].glyph.update(fill_color=theme.long, line_color=theme.casing)


def fill_reliability(parts: axes.Parts, bins: list[dict[str, float]], reference: list[dict[str, float]], name: str) -> None:
    """Patch the diagram with the bins of one forecast, and of the reference beside it.

    The interval of a bin is Wilson's (1927), at 95%: it takes the events of a bin for independent, which several of one morning are not.

    Parameters
    ----------
    bins, reference : list of dict
        ``events, forecast, observed``, as `engine.retrieval.scores.reliability` has them; `name` says whose they are.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> parts = reliability_figure(DARK)
    >>> fill_reliability(parts, [{"events": 60, "forecast": 0.5, "observed": 0.45}], [], "learned")
    >>> parts.sources["bins"].data["said"]
    ['60 events: 50% sure, 45% right [33%–58%]']
    """
    rows = []
    for b in bins:
        n, sure, right = b["events"], b["forecast"], b["observed"]
        low, high = wilson(right, n)
        rows.append((sure, right, low, high, 10.0, f"{n:.0f} events: {sure:.0%} sure, {right:.0%} right [{low:.0%}–{high:.0%}]"))
    parts.sources["bins"].data = axes.columns(BINS, rows)
    squares = [(b["forecast"], b["observed"]) for b in reference]
    parts.sources["reference"].data = axes.columns("xy", squares)
    parts.figure.title.text = f"Reliability: {name} ●, reference □"
    shown = [v for row in rows for v in row[:4]] + [v for square in squares for v in square]
    low, high = (max(min(shown) - 0.05, 0.0), min(max(shown) + 0.05, 1.0)) if shown else (0.0, 1.0)
    for r in (parts.figure.x_range, parts.figure.y_range):
        r.update(start=low, end=high)


def wilson(p: float, n: float) -> tuple[float, float]:
    """95% interval of a share `p` of `n` independent events (Wilson 1927).

    Examples
    --------
    >>> [round(v, 2) for v in wilson(0.45, 60)]
    [0.33, 0.58]
    """
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * (p * (1 - p) / n + Z95**2 / (4 * n * n)) ** 0.5 / (1 + Z95**2 / n)
    return centre - half, centre + half


# ----------------------------------------------------------------------------
# Coverage of the lake: a band a session, hatched where the book is not valid

QUALITY_ROW_PX, MAP_PX = 22, 1100
"""Height of a session's row; beyond so many pixels of the map rows get thinner, and not every one has its name."""

BANDS = ("y", "left", "right", "said")


def coverage_figure(theme: Theme, *, width: int = 760) -> axes.Parts:
    """An empty map: New York time to the right, the newest session on top.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> coverage_figure(DARK).figure.name
    'coverage'
    """
    fig = axes.plain_figure(
        "coverage", title="Seconds with a valid book (▨ not valid)", width=width, height=200, sizing_mode="stretch_width",
        x_range=Range1d(0, 1), y_range=Range1d(-0.5, 0.5), x_axis_label="New York time", min_border_left=190, min_border_right=20,
    )  # fmt: skip
    fig.xaxis.ticker = fig.xgrid.ticker = axes.time_ticker()
    fig.xaxis.formatter = axes.time_formatter()
    fig.yaxis.ticker = FixedTicker(ticks=[])
    fig.ygrid.visible = False
    sessions, gaps = axes.empty(*BANDS, name="coverage"), axes.empty(*BANDS, name="gaps")
    place: axes.Look = {"y": "y", "left": "left", "right": "right", "height": 0.6}
    made = {
        "sessions": axes.add(fig, HBar, sessions, **place, fill_alpha=0.45, line_color=None),
        # Of one second, a gap is less than a pixel: its outline keeps it in sight.
        "gaps": axes.add(fig, HBar, gaps, **place, hatch_pattern="/", hatch_scale=7, line_width=1.5),
    }
    fig.add_tools(HoverTool(renderers=[made["gaps"], made["sessions"]], tooltips="@said"))
    parts = axes.Parts(fig, {"sessions": sessions, "gaps": gaps}, made)
    theme_coverage(parts, theme)
    return parts


def theme_coverage(parts: axes.Parts, theme: Theme) -> None:
    """Put `theme` on the map."""
    axes.theme_titled(parts.figure, theme, named=True)
    parts.renderers["sessions"].glyph.fill_color = theme.long
    parts.renderers["gaps"].glyph.update(fill_color=theme.map_floor, line_color=theme.short, hatch_color=theme.short)


def fill_coverage(parts: axes.Parts, sessions: pl.DataFrame, gaps: pl.DataFrame) -> None:
    """Patch the map with `engine.lake.quality.quality_table`.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> parts = coverage_figure(DARK)
    >>> nothing = pl.DataFrame(schema={k: pl.Int64 for k in ("symbol", "session_date", "start_ts_ns", "end_ts_ns", "valid_share")})
    >>> fill_coverage(parts, nothing, nothing)
    >>> parts.sources["sessions"].data["y"]
    []
    """
    known = sessions.filter(pl.col("start_ts_ns").is_not_null())
    n = max(known.height, 1)
    bands, holes, names, at = [], [], {}, {}
    for i, r in enumerate(known.iter_rows(named=True), start=1):
        y = at[r["symbol"], r["session_date"]] = known.height - i
        valid = percent(r["valid_share"])
        names[y] = f"{r['symbol']}  {r['session_date']}  {valid}"
        said = f"{r['symbol']} {r['session_date']}: book valid in {valid} of {r['seconds']:,} seconds"
        bands.append((float(y), _of_day(r["start_ts_ns"]), _of_day(r["end_ts_ns"]), said))
    for r in gaps.iter_rows(named=True):
        begin, end = r["start_ts_ns"], r["end_ts_ns"]
        when = f"{axes.clock(begin)}–{axes.clock(end)}, {(end - begin) / 1e9:,.0f} s"
        said = f"{r['symbol']} {r['session_date']}: not valid {when}: {r['why']}"
        holes.append((float(at[r["symbol"], r["session_date"]]), _of_day(begin), _of_day(end), said))
    for name, rows in (("sessions", bands), ("gaps", holes)):
        parts.sources[name].data = axes.columns(BANDS, rows)
    if bands:
        # From midnight of its own day, sessions of different days lie under each other.
        parts.figure.x_range.update(start=min(b[1] for b in bands), end=max(b[2] for b in bands))
    row = min(max(MAP_PX / n, 4.0), float(QUALITY_ROW_PX))
    parts.figure.yaxis.ticker.ticks = sorted(names, reverse=True)[:: max(round(16 / row), 1)]
    parts.figure.yaxis.major_label_overrides = names
    parts.figure.y_range.update(start=-0.6, end=n - 0.4)
    parts.figure.height = 84 + round(row * n)


def _of_day(ts_ns: int) -> float:
    """Ms of New York's clock since its midnight."""
    return float((ts_ns // 1_000_000 + axes.offset_ms(ts_ns)) % 86_400_000)


def percent(share: float) -> str:
    """A share that is not quite whole never reads as 100%.

    Examples
    --------
    >>> percent(1.0), percent(0.99999)
    ('100%', '99.99%')
    """
    return "100%" if share == 1 else f"{min(share, 0.9999):.2%}"


# ----------------------------------------------------------------------------
# The feature explorer: a feature's distribution by what followed, by level, and where the moment on the screen lies

LINES = {"break": ("long", "solid", "━━"), "reject": ("short", [7, 4], "╍╍"), "chop": ("muted", [2, 3], "┈┈")}
"""Each class's colour, its dashes, and its line in the legend."""

HEADROOM = 1.2
"""Room above the highest class, where the value at the cursor is written."""

FEATURE_ROW_PX = 24

QUANTILES = ("q10", "q25", "q50", "q75", "q90")


@dataclass
class FeaturePictures:
    """Two figures on one horizontal axis and what is patched in them."""

    classes: figure
    levels: figure
    lines: dict[str, models.ColumnDataSource]
    boxes: models.ColumnDataSource
    now: list[Span]
    label: models.Label
    renderers: dict[str, models.GlyphRenderer]


def feature_pictures(theme: Theme, *, width: int = 760) -> FeaturePictures:
    """Empty figures: share of each class per bin above, quantiles per level and direction below.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> sorted(feature_pictures(DARK).lines)
    ['break', 'chop', 'reject']
    """
    common: axes.Look = {
        "width": width, "sizing_mode": "stretch_width", "x_range": Range1d(0, 1), "min_border_left": 160, "min_border_right": 16,
        "min_border_top": 30,
    }  # fmt: skip
    classes = axes.plain_figure("feature_classes", title="", height=260, y_range=Range1d(0, 1), y_axis_label="share of class", **common)
    levels = axes.plain_figure(
        "feature_levels", title="By level: median, half (bar), four fifths (line) of the events", height=300, y_range=Range1d(-0.5, 0.5),
        x_axis_label="value", **common,
    )  # fmt: skip
    levels.yaxis.ticker = FixedTicker(ticks=[])
    classes.yaxis.formatter.update(use_scientific=False)
    lines = {c: axes.empty("x", "y", name=f"feature_{c}") for c in CLASSES}
    made = {c: axes.add(classes, Line, lines[c], x="x", y="y", line_width=2.5, line_dash=LINES[c][1]) for c in CLASSES}
    boxes = axes.empty("y", *QUANTILES, "alpha", "said", name="feature_levels")
    made["whisker"] = axes.add(levels, Segment, boxes, x0="q10", y0="y", x1="q90", y1="y", line_width=1.5, line_alpha="alpha")
    made["half"] = axes.add(levels, HBar, boxes, y="y", left="q25", right="q75", height=0.55, fill_alpha="alpha", line_color=None)
    made["median"] = axes.add(levels, Scatter, boxes, x="q50", y="y", size=7)
    levels.add_tools(HoverTool(renderers=[made["half"]], tooltips="@said"))
    levels.ygrid.visible = False
    now = [Span(dimension="height", line_width=2, visible=False) for _ in range(2)]
    label = models.Label(
        x=0, y=183, y_units="screen", text="", text_font=FONT, text_font_size="13px", text_font_style="bold", x_offset=5, visible=False,
        background_fill_alpha=0.86, padding=2, border_radius=3,
    )  # fmt: skip
    for fig, annotation in ((classes, now[0]), (levels, now[1]), (classes, label)):
        fig.add_layout(annotation)
    parts = FeaturePictures(classes, levels, lines, boxes, now, label, made)
    theme_features(parts, theme)
    return parts


def theme_features(parts: FeaturePictures, theme: Theme) -> None:
    """Put `theme` on both figures."""
    axes.theme_titled(parts.classes, theme)
    axes.theme_titled(parts.levels, theme, named=True)
    for name, (ink, _, _) in LINES.items():
        parts.renderers[name].glyph.line_color = getattr(theme, ink)
    parts.renderers["whisker"].glyph.line_color = theme.muted
    parts.renderers["half"].glyph.fill_color = theme.long
    parts.renderers["median"].glyph.update(fill_color=theme.text, line_color=theme.casing)
    for span in parts.now:
        span.line_color = theme.level
    parts.label.update(text_color=theme.level, background_fill_color=theme.page)


def legend_html(counts: dict[str, np.ndarray], theme: Theme) -> str:
    """The classes' lines with their numbers of events, in their colours.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> "break 40" in legend_html({"break": np.array([20, 20])}, DARK)
    True
    """
    words = []
    for c, (ink, _, stroke) in LINES.items():
        if c in counts:
            n = int(counts[c].sum())
            few = " (few)" if n < FEW else ""
            words.append(f"<b style='color:{getattr(theme, ink)};white-space:nowrap'>{stroke} {c} {n:,}{few}</b>")
    return " &ensp; ".join(words)


def fill_features(
    parts: FeaturePictures,
    edges: np.ndarray,
    counts: dict[str, np.ndarray],
    by_level: pl.DataFrame,
    *,
    title: str,
    now: float | None = None,
    now_text: str = "",
) -> None:
    """Patch both figures.

    Parameters
    ----------
    edges, counts, by_level
        Of `engine.retrieval.statistics.FeatureDistribution`; the groups of `by_level` in words, from top to bottom.
    title : str
        The feature in words.
    now : float or None
        Value at the moment on the screen, drawn as a line: at the edge where it lies outside.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> parts = feature_pictures(DARK)
    >>> row = {"group": "PM High ▲", "n": 40, "mean": 0.1, "q10": -1.0, "q25": -0.5, "q50": 0.1, "q75": 0.6, "q90": 1.1}
    >>> counts = {"reject": np.array([1, 3]), "chop": np.array([0, 0]), "break": np.array([2, 2])}
    >>> fill_features(parts, np.array([-1.0, 0.0, 1.0]), counts, pl.DataFrame([row]), title="speed", now=0.4, now_text="now 0.4")
    >>> parts.lines["reject"].data["y"].tolist()
    [0.0, 0.25, 0.25, 0.75, 0.75, 0.0]
    """
    shares = {c: counts[c] / max(int(counts[c].sum()), 1) for c in parts.lines}
    for c, source in parts.lines.items():
        # A step for every bin, from the floor and back to it.
        source.data = {"x": np.repeat(edges, 2), "y": np.concatenate(([0.0], np.repeat(shares[c], 2), [0.0]))}
    top = max(float(s.max(initial=0)) for s in shares.values())
    parts.classes.title.text = title
    parts.classes.y_range.update(start=0, end=top * HEADROOM or 1.0)
    pad = 0.03 * float(edges[-1] - edges[0])
    start, end = float(edges[0]) - pad, float(edges[-1]) + pad
    parts.classes.x_range.update(start=start, end=end)
    m = by_level.height
    rows = dict(zip(range(m - 1, -1, -1), by_level.iter_rows(named=True)))
    parts.boxes.data = {
        "y": [float(y) for y in rows],
        **{q: by_level[q].to_list() for q in QUANTILES},
        "alpha": [0.75 if n >= FEW else 0.3 for n in by_level["n"]],
        "said": [
            f"{r['group']}: {r['n']:,} events, median {r['q50']:.3g}, half within {r['q25']:.3g} to {r['q75']:.3g}" for r in rows.values()
        ],
    }
    parts.levels.yaxis.ticker.ticks = sorted(rows)
    parts.levels.yaxis.major_label_overrides = {y: f"{r['group']}   {r['n']:,}" for y, r in rows.items()}
    parts.levels.y_range.update(start=-0.6, end=max(m, 1) - 0.4)
    parts.levels.height = 80 + FEATURE_ROW_PX * max(m, 1)
    there = now is not None and bool(np.isfinite(now))
    at = min(max(float(now), start), end) if there else 0.0  # type: ignore[arg-type]
    left = at > (edges[0] + edges[-1]) / 2
    for span in parts.now:
        span.update(location=at, visible=there)
    parts.label.update(x=at, text=now_text, visible=there, text_align="right" if left else "left", x_offset=-6 if left else 6)
