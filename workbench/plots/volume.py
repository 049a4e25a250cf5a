"""Session volume by price on the chart's price axis, and cumulative delta on its time axis; both up to a moment, never after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, CoordinateMapping, GlyphRenderer, HBar, Line, Range1d, Text
from bokeh.plotting import figure

from workbench.plots import axes
from workbench.theme import FONT, MONO, Theme

PROFILE_SHARE, DELTA_SHARE = 0.18, 0.18
"""Of the chart's width, taken by the profile's widest bar; of its height, taken by the line of the cumulative delta, at its foot."""


@dataclass
class VolumeParts:
    """What is patched; the glyphs lie over the chart's own frame, in coordinates of their own across and along."""

    bars: ColumnDataSource
    peak: ColumnDataSource
    line: ColumnDataSource
    said: ColumnDataSource
    scale: Range1d
    renderers: dict[str, GlyphRenderer]


def add_volume(fig: figure, theme: Theme) -> VolumeParts:
    """Put the empty profile and line on `fig`, the main chart.

    Examples
    --------
    >>> from workbench.theme import DARK
    >>> from workbench.plots.heatmap import level_chart
    >>> type(add_volume(level_chart(DARK, 0.25).figure, DARK)).__name__
    'VolumeParts'
    """
    bars, peak = axes.empty("y", "mid", "right", name="profile"), axes.empty("x", "y", "text")
    line, said = axes.empty("x", "y", name="delta"), axes.empty("x", "y", "text")
    scale = Range1d(0.0, 1.0)
    across = CoordinateMapping(x_source=Range1d(0, 1 / PROFILE_SHARE), y_source=fig.y_range, x_target=fig.x_range, y_target=fig.y_range)
    along = CoordinateMapping(x_source=fig.x_range, y_source=scale, x_target=fig.x_range, y_target=fig.y_range)
    bar = {"y": "y", "height": 0.86, "fill_alpha": 0.7, "line_width": 1}
    text = {
        "x": "x", "y": "y", "text": "text", "text_font_size": "12px", "text_font_style": "bold", "padding": 2, "border_radius": 3,
        "background_fill_alpha": 0.86,
    }  # fmt: skip

    def glyph(kind: type, source: ColumnDataSource, where: CoordinateMapping, **more: object) -> GlyphRenderer:
        return GlyphRenderer(data_source=source, glyph=kind(**more), coordinates=where)

    made = {
        "bought": glyph(HBar, bars, across, **bar, left=0, right="mid"),
        "sold": glyph(HBar, bars, across, **bar, left="mid", right="right"),
        "peak": glyph(Text, peak, across, **text, x_offset=4, text_baseline="middle", text_font=value(FONT)),
        "casing": glyph(Line, line, along, x="x", y="y", line_width=5, line_alpha=0.8),
        "line": glyph(Line, line, along, x="x", y="y", line_width=2.2),
        "said": glyph(
            Text, said, along, **text, x_offset=-8, y_offset=-12, text_align="right", text_baseline="bottom", text_font=value(MONO)
        ),
    }
    # All at once: each change of the list would have the server walk the whole document.
    fig.renderers = [*fig.renderers, *made.values()]
    parts = VolumeParts(bars, peak, line, said, scale, made)
    axes.put_on(volume_theme_values(parts, theme))
    return parts


def volume_theme_values(parts: VolumeParts, theme: Theme) -> axes.ThemeValues:
    """What `theme` sets on profile and line."""
    r = {name: renderer.glyph for name, renderer in parts.renderers.items()}
    return [
        (r["bought"], {"fill_color": theme.long, "line_color": theme.casing}),
        (r["sold"], {"fill_color": theme.short, "line_color": theme.casing}),
        (r["casing"], {"line_color": theme.casing}),
        (r["line"], {"line_color": theme.text}),
        *((r[name], {"text_color": theme.text, "background_fill_color": theme.page}) for name in ("peak", "said")),
    ]


def clear(parts: VolumeParts) -> None:
    """Show nothing of it any more."""
    for source in (parts.bars, parts.peak, parts.line, parts.said):
        if any(len(column) for column in source.data.values()):
            source.data = {name: [] for name in source.data}


def volume_at_price(tick: np.ndarray, bid_fill: np.ndarray, ask_fill: np.ndarray) -> pl.DataFrame:
    """Volume at each price: ``tick, bought, sold`` (contracts), sorted; the resting asks that were filled were bought.

    Prices and fills are those of the ladder's rows up to the moment.
    """
    traded = (bid_fill > 0) | (ask_fill > 0)
    if not traded.any():
        return pl.DataFrame(schema={"tick": pl.Int64, "bought": pl.Int64, "sold": pl.Int64})
    at, low = tick[traded].astype(np.int64), int(tick[traded].min())
    sums = {name: np.bincount(at - low, weights=fill[traded]) for name, fill in (("bought", ask_fill), ("sold", bid_fill))}
    rows = pl.DataFrame({"tick": np.arange(low, low + sums["bought"].size), **{k: v.astype(np.int64) for k, v in sums.items()}})
    return rows.filter(pl.col("bought") + pl.col("sold") > 0)


def profile_data(rows: pl.DataFrame, low: int, high: int) -> tuple[dict[str, list[object]], dict[str, list[object]]]:
    """Sources of the profile's bars from tick `low` to `high`, and of the mark of the price with most volume (if it is among them).

    Bars are shares of the session's most; the mark says how many contracts that is.
    """
    total = rows["bought"] + rows["sold"]
    most, top = int(total.max() or 1), int(total.arg_max() or 0)  # type: ignore[arg-type]
    shown = rows.filter(pl.col("tick").is_between(low, high))
    mid, right = shown["bought"] / most, (shown["bought"] + shown["sold"]) / most
    peak = [(1.0, float(k), f"most traded: {most:,}") for k in rows["tick"][top : top + 1] if low <= k <= high]
    bars = {"y": shown["tick"].to_list(), "mid": mid.to_list(), "right": right.to_list()}
    return bars, axes.columns(("x", "y", "text"), peak)


def delta_data(tape: pl.DataFrame, since_ns: int, day_ts_ns: int, step_s: int = 1) -> tuple[dict[str, object], tuple[float, float]]:
    """Source of the cumulative delta's line (bought less sold since the session began) from `since_ns` on, and its axis.

    Of `tape`, every second up to the moment, a point every `step_s` seconds and the last one. The axis is that of the whole
    session so far, so that the line keeps its shape while the chart is panned.
    """
    delta = (tape["buy_volume"].cast(pl.Int64) - tape["sell_volume"].cast(pl.Int64)).fill_null(0).cum_sum().to_numpy()
    end = tape["window_start_ts_ns"].to_numpy() + 1_000_000_000
    low, high = float(delta.min(initial=0)), float(delta.max(initial=0))
    span = max(high - low, 1.0)
    shown = np.flatnonzero(end > since_ns)
    at = np.unique(np.append(shown[step_s - 1 :: step_s], shown[-1:]))
    return {"x": axes.x_ms(end[at], day_ts_ns), "y": delta[at].astype(float)}, (low - 0.1 * span, low + span / DELTA_SHARE)


def delta_words(line: dict[str, object]) -> dict[str, list[object]]:
    """Source of the figure at the line's end."""
    ends = zip(np.asarray(line["x"])[-1:].tolist(), np.asarray(line["y"])[-1:].tolist())
    return axes.columns(("x", "y", "text"), [(x, y, f"cumulative delta {y:+,.0f}".replace("-", "−")) for x, y in ends])
