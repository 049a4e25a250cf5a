"""The fidelity report as one HTML file: the gate table and four small plots, without a library or a network."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable

import numpy as np
import polars as pl

from engine.simulate.fidelity import LAGS, Facts

_W, _H, _PAD = 420, 240, 44
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em;color:#222;max-width:60em}table{border-collapse:collapse}"
    "td,th{padding:.25em .9em;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}"
    ".no{color:#b00020;font-weight:600}svg{margin:.6em 1em .6em 0}text{font:11px system-ui,sans-serif;fill:#444}"
)
Curve = tuple[str, Iterable[float], Iterable[float], bool]
"""Name, x, y, dashed."""


def _plot(title: str, x_title: str, curves: list[Curve], *, log_x: bool = False, log_y: bool = False) -> str:
    """An SVG line plot; points that a logarithm cannot take are left out."""
    kept: list[tuple[str, list[tuple[float, float]], bool]] = []
    for name, x, y, dashed in curves:
        points = [(float(a), float(b)) for a, b in zip(x, y) if math.isfinite(b) and (not log_x or a > 0) and (not log_y or b > 0)]
        kept.append((name, [(math.log10(a) if log_x else a, math.log10(b) if log_y else b) for a, b in points], dashed))
    flat = [p for _, points, _ in kept for p in points]
    if not flat:
        return ""
    x0, x1 = min(p[0] for p in flat), max(p[0] for p in flat)
    y0, y1 = min(p[1] for p in flat), max(p[1] for p in flat)
    if not log_y:
        y0 = min(0.0, y0)

    def at(p: tuple[float, float]) -> str:
        sx = _PAD + (p[0] - x0) / ((x1 - x0) or 1) * (_W - 2 * _PAD)
        sy = _H - _PAD - (p[1] - y0) / ((y1 - y0) or 1) * (_H - 2 * _PAD)
        return f"{sx:.1f},{sy:.1f}"

    def label(v: float, log: bool) -> str:
        return f"{10**v if log else v:.3g}"

    parts = [f'<svg width="{_W}" height="{_H}" role="img" aria-label="{html.escape(title)}">']
    parts.append(f'<text x="{_PAD}" y="16" style="font-weight:600">{html.escape(title)}</text>')
    parts.append(f'<path d="M{_PAD},{_PAD}V{_H - _PAD}H{_W - _PAD}" fill="none" stroke="#999"/>')
    for k, (name, points, dashed) in enumerate(kept):
        colour = ("#1f5fa8", "#c0641a", "#3c8c3c")[k % 3]
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        parts.append(f'<polyline points="{" ".join(map(at, points))}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>')
        parts.append(f'<text x="{_W - _PAD - 130}" y="{32 + 14 * k}" style="fill:{colour}">{html.escape(name)}</text>')
    foot = _H - _PAD + 16
    parts.append(f'<text x="{_PAD}" y="{foot}">{label(x0, log_x)}</text><text x="{_W - _PAD - 24}" y="{foot}">{label(x1, log_x)}</text>')
    parts.append(f'<text x="4" y="{_H - _PAD}">{label(y0, log_y)}</text><text x="4" y="{_PAD + 4}">{label(y1, log_y)}</text>')
    parts.append(f'<text x="{_W // 2 - 60}" y="{_H - 10}">{html.escape(x_title)}</text></svg>')
    return "".join(parts)


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def html_report(title: str, facts: list[Facts], pooled: dict[str, float], gates: pl.DataFrame) -> str:
    """The report: gates against the pooled values, and what the averages look like as curves."""
    acf = np.mean([f.sign_acf for f in facts], axis=0)
    fit = pooled["sign_exponent"]
    good = acf > 0
    line = (
        np.exp(np.log(acf[good]).mean() + fit * (np.log(LAGS[good]).mean() - np.log(LAGS))) if good.any() else np.full(len(LAGS), math.nan)
    )
    returns = np.concatenate([f.returns_10s / max(f.returns_10s.std(), 1e-12) for f in facts])
    edges = np.linspace(-8, 8, 65)
    density, _ = np.histogram(returns, edges, density=True)
    centres = 0.5 * (edges[1:] + edges[:-1])
    width = min(len(f.half_hours) for f in facts)
    half = np.mean([f.half_hours[:width] for f in facts], axis=0)
    responses = [pooled[f"response_{k}"] for k in range(1, 5)]
    signs: list[Curve] = [("measured", LAGS, acf, False), (f"exponent {fit:.2f}", LAGS, line, True)]
    normal = np.exp(-(centres**2) / 2) / math.sqrt(2 * math.pi)
    shapes: list[Curve] = [("measured", centres, density, False), ("normal", centres, normal, True)]
    sizes = "trade size: smallest half, to 80%, to 95%, largest"
    plots = [
        _plot("autocorrelation of trade signs", "lag, trades", signs, log_x=True, log_y=True),
        _plot("10 s returns, in standard deviations", "return", shapes, log_y=True),
        _plot("messages per second", "half hour of the span", [("mean", range(1, width + 1), half, False)]),
        _plot("move 10 s after a trade, ticks", sizes, [("mean", range(1, 5), responses, False)]),
    ]
    rows = []
    for r in gates.iter_rows(named=True):
        verdict = "holds" if r["holds"] else '<span class="no">does not hold</span>'
        value = "not measurable" if math.isnan(r["value"]) else f"{r['value']:.3f}"
        rows.append(f"<tr><td>{html.escape(r['title'])}<td>{value}<td>{_bound(r['low'])}<td>{_bound(r['high'])}<td>{verdict}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{html.escape(title)}</h1><p>{len(facts)} session{'s' if len(facts) != 1 else ''}, "
        f"{pooled['messages_per_s']:.0f} messages and {pooled['trades_per_s']:.2f} trades per second.</p>"
        f"<table><tr><th>fact<th>value<th>at least<th>at most<th></tr>{''.join(rows)}</table><div>{''.join(plots)}</div></html>\n"
    )
