"""The fidelity report: the table of gates and the plots, as one HTML file that needs no network."""

from __future__ import annotations

import html
import math
from pathlib import Path

import holoviews as hv
import numpy as np
import polars as pl
from bokeh.embed import components
from bokeh.resources import Resources

from workbench.assets import style
from workbench.theme import LIGHT, Theme

_STYLE = style("fidelity", text=LIGHT.text, page=LIGHT.page, edge=LIGHT.edge, error=LIGHT.error)

_LEGEND = "Points are sessions, the solid line is the pooled value, dashed lines are the gate."


def _row(gate: dict[str, object]) -> str:
    value = gate["value"]
    assert isinstance(value, float)
    text = "not measurable" if math.isnan(value) else f"{value:.3f}"
    bounds = "".join(f"<td>{'' if gate[k] is None else format(gate[k], 'g')}</td>" for k in ("low", "high"))
    verdict = "holds" if gate["holds"] else '<span class="no">does not hold</span>'
    return f"<tr><td>{html.escape(str(gate['title']))}</td><td>{text}</td>{bounds}<td>{verdict}</td></tr>"


def write_report(path: Path, title: str, summary: str, gates: pl.DataFrame, frames: dict[str, pl.DataFrame]) -> None:
    """Write the report as one HTML file.

    Parameters
    ----------
    title, summary
        Heading, and the sentence under it.
    gates
        ``title, value, low, high, holds``, a row per gate.
    frames
        As `fidelity_layout` takes them.
    """
    script, div = components(hv.render(fidelity_layout(frames), backend="bokeh"))
    # `Resources.render` would add what Panel registers there, a file of its own server.
    library = "".join(f"<script>{js}</script>" for js in Resources(mode="inline", components=["bokeh"]).js_raw)
    name = html.escape(title)
    head = f'<meta charset="utf-8"><title>{name}</title><style>{_STYLE}</style>{library}'
    names = "<tr><th>fact</th><th>value</th><th>at least</th><th>at most</th><th></th></tr>"
    table = f"<table>{names}{''.join(map(_row, gates.to_dicts()))}</table>"
    body = f"<h1>{name}</h1><p>{html.escape(summary)}</p>{table}<p>{_LEGEND}</p>{div}{script}"
    path.write_text(f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n', encoding="utf-8")


# ----------------------------------------------------------------------------
# The fidelity report's plots: frames of `engine.simulate.fidelity` in, HoloViews out

hv.extension("bokeh", logo=False)

WIDTH, HEIGHT = 380, 250


def _axes(theme: Theme, **more: object) -> dict[str, object]:
    fonts = {"title": "11pt", "labels": "10pt", "ticks": "9pt"}
    return {"width": WIDTH, "height": HEIGHT, "toolbar": None, "fontsize": fonts, "bgcolor": theme.page, "show_grid": True, **more}


def _against(
    points: tuple, law: tuple, axes: tuple[str, str], theme: Theme, names: tuple[str, str], size: int, **look: object
) -> hv.Overlay:
    """What was measured as dots, and a law as a dashed line."""
    measured = hv.Scatter(points, *axes, label=names[0]).opts(color=theme.long, size=size)
    line = hv.Curve(law, *axes, label=names[1]).opts(color=theme.short, line_dash="dashed")
    return (measured * line).opts(**_axes(theme, logy=True, legend_position="top_right", **look))


def sign_acf(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Overlay:
    """Autocorrelation of trade signs by lag (``lag``, ``measured``, ``fitted``), both axes in the log; what is not positive is left out."""
    shown = frame.filter((pl.col("measured") > 0) & (pl.col("fitted") > 0))
    lag, measured, fitted = (shown[k].to_numpy() for k in ("lag", "measured", "fitted"))
    axes, names = ("lag, trades", "autocorrelation"), ("measured", "power law")
    return _against((lag, measured), (lag, fitted), axes, theme, names, 7, logx=True, title="Signs of trades")


def return_density(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Overlay:
    """Density of 10 s returns in their own standard deviations (``sd``, ``density``, ``normal``) beside the normal law, in the log."""
    shown, bell = frame.filter(pl.col("density") > 0), frame.filter(pl.col("normal") > 1e-6)
    points, law = ((f["sd"].to_numpy(), f[k].to_numpy()) for f, k in ((shown, "density"), (bell, "normal")))
    return _against(points, law, ("10 s return, standard deviations", "density"), theme, ("measured", "normal"), 5, title="Tails")


def intraday(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Curve:
    """Messages per second by half hour of the span (``half_hour``, ``messages_per_s``)."""
    x = frame["half_hour"].to_numpy()
    curve = hv.Curve((x, frame["messages_per_s"].to_numpy()), "half hour of the span", "messages per second")
    return curve.opts(color=theme.long, interpolation="steps-mid", ylim=(0, None), **_axes(theme, title="The day's shape"))


def response(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Bars:
    """Move in 10 s after a trade, with its sign, by the trade's size (``size``, ``ticks``)."""
    bars = hv.Bars((frame["size"].to_list(), frame["ticks"].to_numpy()), "trade size", "ticks")
    return bars.opts(color=theme.long, line_alpha=0, **_axes(theme, title="Price answers to trades"))


def fact(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Overlay:
    """One fact's sessions, their pooled value and its gate (``title``, ``session``, ``value``, ``pooled``, ``low``, ``high``)."""
    first = frame.row(0, named=True)
    session, value = frame["session"].to_numpy(), frame["value"].to_numpy()
    points = hv.Scatter((session, value), "session", "value").opts(color=theme.long, size=7)
    pooled = hv.HLine(first["pooled"]).opts(color=theme.text, line_width=2)
    gate = [first[k] for k in ("low", "high") if first[k] is not None]
    bounds = [hv.HLine(v).opts(color=theme.error, line_dash="dashed", line_width=1.5) for v in gate]
    known = [v for v in (*value, first["pooled"], *gate) if v is not None and np.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    pad = 0.08 * (high - low) or 0.05
    limits = {"ylim": (low - pad, high + pad), "xlim": (0.5, max(1.5, len(session) + 0.5)), "xticks": min(10, len(session))}
    return hv.Overlay([points, pooled, *bounds]).opts(**_axes(theme, title=first["title"].split(",")[0], **limits))


def fidelity_layout(frames: dict[str, pl.DataFrame], theme: Theme = LIGHT) -> hv.Layout:
    """All plots: the four curves, then every fact against its gate; `frames` as `engine.simulate.fidelity` gives them."""
    curves = {"sign_acf": sign_acf, "returns": return_density, "intraday": intraday, "response": response}
    facts = [fact(part, theme) for part in frames["sessions"].partition_by("fact", maintain_order=True)]
    return hv.Layout([*(plot(frames[k], theme) for k, plot in curves.items()), *facts]).opts(shared_axes=False).cols(3)
