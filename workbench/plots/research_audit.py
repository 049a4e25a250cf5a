"""The audit's reliability diagram: how sure the forecast was, and how often it was right."""

from __future__ import annotations

from dataclasses import dataclass

from bokeh.models import ColumnDataSource, GlyphRenderer, HoverTool, Line, NumeralTickFormatter, Range1d, Scatter, Segment
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.theme import Theme

Z95 = 1.959964


@dataclass
class Reliability:
    """The figure and what is patched in it."""

    figure: figure
    bins: ColumnDataSource
    reference: ColumnDataSource
    renderers: dict[str, GlyphRenderer]


def reliability_figure(theme: Theme, *, height: int = 380, width: int = 420) -> Reliability:
    """An empty diagram: bins as dots with their interval, the reference's bins as hollow squares, the diagonal of a perfect forecaster.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> reliability_figure(DARK).figure.name
    'reliability'
    """
    fig = figure(
        name="reliability", title="Reliability", width=width, height=height, sizing_mode="stretch_width", x_range=Range1d(0, 1),
        y_range=Range1d(0, 1), toolbar_location=None, tools=[], output_backend="canvas",
        x_axis_label="how sure: probability of the likeliest", y_axis_label="how often right", min_border_top=30,
    )  # fmt: skip
    fig.xaxis.formatter = fig.yaxis.formatter = NumeralTickFormatter(format="0%")
    bins = ColumnDataSource({k: [] for k in ("x", "y", "low", "high", "size", "said")}, name="reliability")
    reference = ColumnDataSource({k: [] for k in ("x", "y")})
    diagonal = ColumnDataSource({"x": [0.0, 1.0], "y": [0.0, 1.0]})
    made = {
        "diagonal": axes.add(fig, Line, diagonal, x="x", y="y", line_width=1.5, line_dash=[5, 4]),
        "reference": axes.add(fig, Scatter, reference, x="x", y="y", marker="square", size=8, fill_color=None, line_width=1.5),
        "interval": axes.add(fig, Segment, bins, x0="x", y0="low", x1="x", y1="high", line_width=2),
        "bins": axes.add(fig, Scatter, bins, x="x", y="y", size="size", fill_alpha=0.9),
    }
    fig.add_tools(HoverTool(renderers=[made["bins"]], tooltips="@said"))
    parts = Reliability(fig, bins, reference, made)
    dress_reliability(parts, theme)
    return parts


def dress_reliability(parts: Reliability, theme: Theme) -> None:
    """Put `theme` on the diagram.

    Examples
    --------
    >>> from workbench.theme import DARK, LIGHT
    >>> dress_reliability(reliability_figure(DARK), LIGHT)
    """
    axes.dress(parts.figure, theme, size="12px")
    axes.dress_title(parts.figure, theme)
    parts.renderers["diagonal"].glyph.line_color = theme.muted
    parts.renderers["reference"].glyph.line_color = theme.muted
    parts.renderers["interval"].glyph.line_color = theme.long
    parts.renderers["bins"].glyph.update(fill_color=theme.long, line_color=theme.casing)


def fill_reliability(parts: Reliability, bins: list[dict[str, float]], reference: list[dict[str, float]], name: str) -> None:
    """Patch the diagram with the bins of one forecast, and of the reference beside it.

    The interval of a bin is Wilson's (1927), at 95%: it takes the events of a bin for independent, which several of one morning are not.

    Parameters
    ----------
    bins, reference : list of dict
        ``events, forecast, observed``, as `engine.retrieval.scores.reliability` has them.
    name : str
        Whose they are, for the title.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> parts = reliability_figure(DARK)
    >>> fill_reliability(parts, [{"events": 60, "forecast": 0.5, "observed": 0.45}], [], "learned")
    >>> parts.bins.data["said"]
    ['60 events: 50% sure, 45% right [33%–58%]']
    """
    data: dict[str, list[object]] = {k: [] for k in ("x", "y", "low", "high", "size", "said")}
    for b in bins:
        n, p = b["events"], b["observed"]
        low, high = wilson(p, n)
        said = f"{n:.0f} events: {b['forecast']:.0%} sure, {p:.0%} right [{low:.0%}–{high:.0%}]"
        for k, v in zip(data, (b["forecast"], p, low, high, 10.0, said)):
            data[k].append(v)
    parts.bins.data = data
    parts.reference.data = {"x": [b["forecast"] for b in reference], "y": [b["observed"] for b in reference]}
    parts.figure.title.text = f"Reliability: {name} ●, reference □"
    spans = [wilson(b["observed"], b["events"]) for b in bins]
    shown = [v for b in (*bins, *reference) for v in (b["forecast"], b["observed"])] + [v for span in spans for v in span]
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
