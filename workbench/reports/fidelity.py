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
    """Write the report.

    Parameters
    ----------
    path
        The HTML file.
    title, summary
        Heading, and the sentence under it.
    gates
        ``title, value, low, high, holds``, a row per gate.
    frames
        As `workbench.reports.fidelity.fidelity_layout` takes them.
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


def sign_acf(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Overlay:
    """Autocorrelation of trade signs by lag (``lag``, ``measured``, ``fitted``), both axes in the log; what is not positive is left out.

    Examples
    --------
    >>> type(sign_acf(pl.DataFrame({"lag": [10.0, 20.0], "measured": [0.1, 0.05], "fitted": [0.1, 0.06]}))).__name__
    'Overlay'
    """
    shown = frame.filter((pl.col("measured") > 0) & (pl.col("fitted") > 0))
    lag = shown["lag"].to_numpy()
    points = hv.Scatter((lag, shown["measured"].to_numpy()), "lag, trades", "autocorrelation", label="measured")
    line = hv.Curve((lag, shown["fitted"].to_numpy()), "lag, trades", "autocorrelation", label="power law")
    return (points.opts(color=theme.long, size=7) * line.opts(color=theme.short, line_dash="dashed")).opts(
        **_axes(theme, logx=True, logy=True, title="Signs of trades", legend_position="top_right")
    )


def return_density(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Overlay:
    """Density of 10 s returns in their own standard deviations (``sd``, ``density``, ``normal``) beside the normal law, in the log.

    Examples
    --------
    >>> type(return_density(pl.DataFrame({"sd": [0.0, 1.0], "density": [0.4, 0.2], "normal": [0.4, 0.24]}))).__name__
    'Overlay'
    """
    shown = frame.filter(pl.col("density") > 0)
    x = "10 s return, standard deviations"
    measured = hv.Scatter((shown["sd"].to_numpy(), shown["density"].to_numpy()), x, "density", label="measured")
    bell = frame.filter(pl.col("normal") > 1e-6)
    normal = hv.Curve((bell["sd"].to_numpy(), bell["normal"].to_numpy()), x, "density", label="normal")
    return (measured.opts(color=theme.long, size=5) * normal.opts(color=theme.short, line_dash="dashed")).opts(
        **_axes(theme, logy=True, title="Tails", legend_position="top_right")
    )


def intraday(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Curve:
    """Messages per second by half hour of the span (``half_hour``, ``messages_per_s``).

    Examples
    --------
    >>> type(intraday(pl.DataFrame({"half_hour": [0, 1], "messages_per_s": [80.0, 60.0]}))).__name__
    'Curve'
    """
    x = frame["half_hour"].to_numpy()
    curve = hv.Curve((x, frame["messages_per_s"].to_numpy()), "half hour of the span", "messages per second")
    return curve.opts(color=theme.long, interpolation="steps-mid", ylim=(0, None), **_axes(theme, title="The day's shape"))


def response(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Bars:
    """Move in 10 s after a trade, with its sign, by the trade's size (``size``, ``ticks``).

    Examples
    --------
    >>> type(response(pl.DataFrame({"size": ["1", "2-5"], "ticks": [0.1, 0.3]}))).__name__
    'Bars'
    """
    bars = hv.Bars((frame["size"].to_list(), frame["ticks"].to_numpy()), "trade size", "ticks")
    return bars.opts(color=theme.long, line_alpha=0, **_axes(theme, title="Price answers to trades"))


def fact(frame: pl.DataFrame, theme: Theme = LIGHT) -> hv.Overlay:
    """One fact's sessions, their pooled value and its gate (``title``, ``session``, ``value``, ``pooled``, ``low``, ``high``).

    Examples
    --------
    >>> row = {"title": "spread, ticks", "session": 1, "value": 1.1, "pooled": 1.1, "low": 1.0, "high": 1.3}
    >>> type(fact(pl.DataFrame([row]))).__name__
    'Overlay'
    """
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
    """All plots: the four curves, then every fact against its gate; `frames` as `engine.simulate.fidelity` gives them.

    Examples
    --------
    `frames` from `engine.simulate.fidelity`::

    >>> type(fidelity_layout(frames)).__name__
    'Layout'
    """
    curves = [
        sign_acf(frames["sign_acf"], theme),
        return_density(frames["returns"], theme),
        intraday(frames["intraday"], theme),
        response(frames["response"], theme),
    ]
    facts = [fact(part, theme) for part in frames["sessions"].partition_by("fact", maintain_order=True)]
    return hv.Layout([*curves, *facts]).opts(shared_axes=False).cols(3)
