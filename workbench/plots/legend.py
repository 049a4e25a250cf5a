"""The colour scale as a line of HTML: what the layer means, in contracts, with the marks of its square-root scale."""

from __future__ import annotations

from html import escape

from workbench.plots import coding
from workbench.theme import FONT, MONO, Theme


def legend_html(
    layer: coding.Layer, top: float, palette: list[str], theme: Theme, window_s: int, half_life_s: float = 0.0, pool: int = 1
) -> str:
    """Colour bar of `layer` with its marks, unit and meaning; says where flow fades, and where a column is several windows."""
    stops = ",".join(palette[1 + round(i * 254 / 15)] for i in range(16))
    marks = "".join(
        f"<span style='position:absolute;left:{place * 100:.1f}%;transform:translateX({-place * 100:.0f}%)'>{escape(text)}</span>"
        for place, text in coding.legend_marks(layer, top)
    )
    signed = layer.kind == "signed"
    if layer.key == "depth":
        per = "" if pool == 1 else f", most of {pool} windows"
    elif pool == 1:
        per = f", per {window_s} s window"
    else:
        per = f", per {window_s * pool} s column" if signed else f", most of {pool} windows of {window_s} s"
    if half_life_s > 0 and layer.kind in ("long", "short", "signed"):
        per += f", half-life {half_life_s:g} s"
    unit = "contracts" if layer.unit == "contracts" else "share of flow"
    what = escape(layer.meaning) + per + ("" if signed else f", {unit}")
    # Double quotes round the attributes: the font lists hold single ones.
    return (
        f'<div role="img" aria-label="Colour scale: {escape(layer.title)}, 0 to {top:g} {unit}" style="display:flex;gap:12px;'
        f'align-items:center;font:13px {FONT};color:{theme.muted};white-space:nowrap">'
        f'<span style="white-space:normal;max-width:330px;line-height:1.2">{what}</span>'
        f'<span style="width:240px;flex:none;display:inline-block"><span style="display:block;height:10px;border:1px solid {theme.edge};'
        f'background:linear-gradient(90deg,{stops})"></span><span style="position:relative;display:block;height:15px;font:12px {MONO};'
        f'color:{theme.text}">{marks}</span></span></div>'
    )
