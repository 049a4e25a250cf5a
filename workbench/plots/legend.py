"""The colour scale as a line of HTML: what the layer means, in contracts, with the marks of its square-root scale."""

from __future__ import annotations

from html import escape

from workbench.plots import coding
from workbench.theme import FONT, MONO, Theme


def legend_html(layer: coding.Layer, top: float, palette: list[str], theme: Theme, window_s: int) -> str:
    """Colour bar of `layer` with its marks, unit and meaning."""
    stops = ",".join(palette[1 + round(i * 254 / 15)] for i in range(16))
    marks = "".join(
        f"<span style='position:absolute;left:{place * 100:.1f}%;transform:translateX({-place * 100:.0f}%)'>{escape(text)}</span>"
        for place, text in coding.legend_marks(layer, top)
    )
    per = "" if layer.key == "depth" else f", per {window_s} s window"
    unit = "contracts" if layer.unit == "contracts" else "share of flow"
    # Double quotes round the attributes: the font lists hold single ones.
    return (
        f'<div role="img" aria-label="Colour scale: {escape(layer.title)}, 0 to {top:g} {unit}" style="display:flex;gap:12px;'
        f'align-items:center;font:13px {FONT};color:{theme.muted};white-space:nowrap">'
        f"<span>{escape(layer.meaning)}{per}, {unit}</span>"
        f'<span style="width:240px;flex:none;display:inline-block"><span style="display:block;height:10px;border:1px solid {theme.edge};'
        f'background:linear-gradient(90deg,{stops})"></span><span style="position:relative;display:block;height:15px;font:12px {MONO};'
        f'color:{theme.text}">{marks}</span></span></div>'
    )
