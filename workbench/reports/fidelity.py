"""The fidelity report: the table of gates and the plots, as one HTML file that needs no network."""

from __future__ import annotations

import html
import math
from pathlib import Path

import holoviews as hv
import polars as pl
from bokeh.embed import components
from bokeh.resources import Resources

from workbench.plots.fidelity import fidelity_layout
from workbench.theme import FONT, LIGHT

_STYLE = (
    f"body{{font:15px {FONT};margin:2em;color:{LIGHT.text};background:{LIGHT.page}}}table{{border-collapse:collapse;margin:1em 0}}"
    f"td,th{{padding:.25em .9em;border-bottom:1px solid {LIGHT.edge};text-align:right}}td:first-child,th:first-child{{text-align:left}}"
    f".no{{color:{LIGHT.error};font-weight:600}}p{{max-width:60em}}"
)
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
        As `workbench.plots.fidelity.fidelity_layout` takes them.
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
