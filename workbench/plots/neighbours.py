"""The wall of similar setups: small replays aligned in time and in ticks from their level, on one scale of colours and one scrubber."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from bokeh.models import BoxAnnotation, ColumnDataSource, LinearColorMapper, NumeralTickFormatter, Range1d, Span
from bokeh.plotting import figure

from engine.ladder import NO_TICK
from workbench.plots import axes, chart, coding
from workbench.theme import Theme

IMAGE = ("image", "x", "y", "dw", "dh")


@dataclass
class Mini:
    """One small replay and what is patched in it."""

    figure: figure
    heat: ColumnDataSource
    path: ColumnDataSource
    mapper: LinearColorMapper
    veil: BoxAnnotation
    cursor: Span
    level: Span


@dataclass
class Wall:
    """Small replays on shared ranges: x is seconds from each setup's own zero, y is ticks from its own level."""

    minis: list[Mini]
    x_range: Range1d
    y_range: Range1d


def wall(
    theme: Theme, count: int, *, before_s: int = 120, after_s: int = 120, reach: int = 16, width: int = 310, height: int = 170
) -> Wall:
    """Empty small replays; the page lays them out in the order of similarity.

    Parameters
    ----------
    count : int
        How many.
    before_s, after_s : int
        Seconds shown before and after the zero, which is the touch, or the trigger where there was none.
    reach : int
        Ticks shown on both sides of the level.
    """
    x_range, y_range = Range1d(-float(before_s), float(after_s)), Range1d(-reach - 0.5, reach + 0.5)
    made = Wall([_mini(i, x_range, y_range, width, height) for i in range(count)], x_range, y_range)
    dress_wall(made, theme)
    return made


def _mini(number: int, x_range: Range1d, y_range: Range1d, width: int, height: int) -> Mini:
    fig = figure(
        name=f"neighbour_{number}", width=width, height=height, x_range=x_range, y_range=y_range, toolbar_location=None, tools=[],
        output_backend="canvas", min_border_left=34, min_border_right=6, min_border_top=18, min_border_bottom=18,
    )  # fmt: skip
    mapper = LinearColorMapper(palette=["#000000"] * 256, low=-0.5, high=255.5)
    heat = ColumnDataSource({k: [] for k in IMAGE})
    path = ColumnDataSource({"x": [], "y": []})
    fig.image(image="image", x="x", y="y", dw="dw", dh="dh", source=heat, color_mapper=mapper, level="image")
    fig.step("x", "y", source=path, mode="before", line_width=4, name="casing")
    fig.step("x", "y", source=path, mode="before", line_width=2, name="price")
    # What lies after the scrubber is covered, not dimmed: the wall is replayed, and its end is no news before its time.
    veil = BoxAnnotation(left=0, right=1e9, fill_alpha=1.0, line_color=None, level="overlay")
    cursor = Span(location=0, dimension="height", line_width=1.4, line_dash=[3, 3], level="overlay")
    level = Span(location=0, dimension="width", line_width=2, line_dash=[6, 3], level="glyph")
    for extra in (veil, cursor, level):
        fig.add_layout(extra)
    fig.yaxis.formatter = axes.distance_formatter()
    fig.yaxis.ticker = axes.tick_ticker()
    fig.yaxis.ticker.desired_num_ticks = 4
    fig.xaxis.formatter = NumeralTickFormatter(format="+0")
    fig.xaxis.ticker.desired_num_ticks = 4
    fig.grid.visible = False
    return Mini(fig, heat, path, mapper, veil, cursor, level)


def dress_wall(parts: Wall, theme: Theme, layer: str = "depth", preset: str = "perceptual") -> None:
    """Put `theme` and one palette on every small replay."""
    palette = chart.palette_of(theme, coding.LAYERS[layer], preset)
    for mini in parts.minis:
        axes.dress(mini.figure, theme, size="10px")
        mini.figure.title.update(text_color=theme.text, text_font_size="12px", align="left", text_font_style="normal")
        mini.mapper.palette = palette
        for name, colour in (("casing", theme.casing), ("price", theme.text)):
            mini.figure.select_one({"name": name}).glyph.line_color = colour
        mini.veil.fill_color = theme.page
        mini.cursor.line_color = theme.text
        mini.level.line_color = theme.level


def shared_top(cubes: list[xr.Dataset], layer: str = "depth") -> float:
    """One top of the colour scale for a query and its neighbours, in contracts."""
    shown = [coding.values(c, coding.LAYERS[layer]).ravel() for c in cubes]
    return coding.scale_top(np.concatenate(shown) if shown else np.zeros(0, np.float32), coding.LAYERS[layer])


def mini_data(
    cube: xr.Dataset,
    last_tick: np.ndarray,
    *,
    level_tick: int,
    zero_ns: int,
    top: float,
    layer: str = "depth",
    mirror: bool = False,
    until_s: float | None = None,
) -> tuple[dict[str, list[object]], dict[str, np.ndarray]]:
    """Sources (heat, path) of one small replay.

    Parameters
    ----------
    cube : xr.Dataset
        A slice of the neighbour's ladder (with pressure where `layer` needs it), one tick a row.
    last_tick : ndarray of int, shape (windows,)
        Last trade at each window's end, `NO_TICK` where there is none.
    level_tick : int
        The level, which becomes 0.
    zero_ns : int
        The instant that becomes 0 seconds.
    top : float
        `shared_top`.
    mirror : bool
        Turn it upside down, so that an approach from above travels up as well; a signed layer changes its sign with it.
    until_s : float or None
        Only windows that end by so many seconds from zero: in a replay or a drill the browser must not hold what comes later, which
        `scrub` only covers.

    Returns
    -------
    heat, path : dict
        Columns of `Mini.heat` and `Mini.path`; x in seconds from zero, y in ticks from the level.
    """
    la = coding.LAYERS[layer]
    if until_s is not None:
        n = int(np.searchsorted(cube["window_end_ts_ns"].to_numpy(), zero_ns + round(until_s * 1e9), side="right"))
        cube, last_tick = cube.isel(window=slice(0, n)), last_tick[:n]
    if cube.sizes["window"] == 0:
        return {k: [] for k in IMAGE}, {"x": np.zeros(0), "y": np.zeros(0)}
    shown = coding.values(cube, la)
    tick = cube["tick"].to_numpy().astype(np.int64) - level_tick
    begin, end = (cube[f"window_{e}_ts_ns"].to_numpy() for e in ("start", "end"))
    y = np.where(last_tick == NO_TICK, np.nan, last_tick.astype(np.float64) - level_tick)
    if mirror:
        shown, tick, y = shown[:, ::-1], -tick[::-1], -y
        shown = -shown if la.kind == "signed" else shown
    x0, x1 = (float((int(t) - zero_ns) / 1e9) for t in (begin[0], end[-1]))
    heat: dict[str, list[object]] = {
        "image": [np.ascontiguousarray(coding.codes(shown, la, top).T)], "x": [x0], "y": [float(tick[0]) - 0.5], "dw": [x1 - x0],
        "dh": [float(tick.size)],
    }  # fmt: skip
    return heat, {"x": (end - zero_ns) / 1e9, "y": y}


def fill_mini(mini: Mini, heat: dict[str, list[object]], path: dict[str, np.ndarray], title: str) -> None:
    """Patch one small replay; an empty title and empty sources make an empty place."""
    mini.heat.data = heat
    mini.path.data = path
    mini.figure.title.text = title


def empty_mini(mini: Mini) -> None:
    """Clear a place of the wall that has no neighbour."""
    fill_mini(mini, {k: [] for k in IMAGE}, {"x": np.zeros(0), "y": np.zeros(0)}, "")


def scrub(parts: Wall, seconds: float) -> None:
    """Show every small replay up to `seconds` from its zero; what comes later is covered."""
    for mini in parts.minis:
        mini.veil.left = seconds
        mini.cursor.location = seconds


def mini_title(number: int, date: str, symbol: str, level: str, similarity: float, outcome: str) -> str:
    """Such as ``1  2025-10-06  ESZ5  PM High  0.93  break``; the outcome is left out while it lies behind the scrubber."""
    words = [str(number), date, symbol, level, f"{similarity:.2f}", outcome]
    return "  ".join(w for w in words if w)
