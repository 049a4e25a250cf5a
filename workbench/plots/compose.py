"""Whole figures in one call, for notebooks: the same functions that the page patches its figures with."""

from __future__ import annotations

import polars as pl
import xarray as xr
from bokeh.plotting import figure

from workbench.plots import axes, candles, conditions, heatmap, ladder
from workbench.plots import levels as levels_plot
from workbench.theme import DARK, Theme


def level_picture(
    cube: xr.Dataset,
    bars: pl.DataFrame,
    levels: pl.DataFrame,
    tape: pl.DataFrame,
    *,
    level_id: str,
    tick_size: float,
    layer: str = "depth",
    theme: Theme = DARK,
    zones: tuple[int, ...] = (2, 5, 14, 20),
    palette: str = "perceptual",
    simulated: bool = False,
) -> figure:
    """Heatmap of `cube` (with pressure), candles, quotes and levels around the last tick of `level_id`.

    Parameters
    ----------
    cube : xr.Dataset
        Slice of the ladder with `engine.features.pressure`.
    bars, levels, tape : pl.DataFrame
        ``bars_2m``, ``levels`` and ``mbo_tape_1s`` of the session.
    simulated : bool
        Say so on the picture (`engine.lake.store.Lake.is_simulated` knows).

    Examples
    --------
    >>> level_picture(cube, bars, levels, tape, level_id="pm_high", tick_size=0.25).name
    'level_chart'
    """
    parts = heatmap.level_chart(theme, tick_size)
    src, shown = parts.sources, heatmap.LAYERS[layer]
    day, end = int(cube["window_start_ts_ns"][0]), int(cube["window_end_ts_ns"][-1])
    k = int(levels.filter(pl.col("level_id") == level_id)["level_tick"][-1])
    step, window_s = int(cube.attrs["step_ticks"]), int(cube.attrs["window_s"])
    x0, x1 = (float(axes.x_ms(t, day)) for t in (day, end))
    parts.mark.visible = simulated
    parts.mapper.palette = heatmap.palette_of(theme, shown, palette)
    src["heat"].data = heatmap.heat_data(cube, shown, heatmap.scale_top(heatmap.values(cube, shown), shown))
    src["facts"].data = heatmap.facts_data(shown, tick_size=tick_size, k_ref=k, step=step, window_s=window_s, x0=x0)
    drawn = axes.empty(*candles.SOURCES["candles"], name="candles")
    drawn.data = candles.candle_data(bars, day, tick_size, share=0.5)
    made = candles.add_candles(parts.figure, drawn)
    made["body"].glyph.fill_color["transform"].palette = [theme.candle_down, theme.candle_up]
    src["levels"].data = levels_plot.level_data(levels_plot.level_runs(levels), level_id, day)
    src["quotes"].data = heatmap.quote_data(tape.filter(pl.col("window_start_ts_ns").is_between(day, end)), day, window_s)
    src["zones"].data = levels_plot.zone_data(k, zones)
    src["invalid"].data = heatmap.invalid_data(cube)
    low, high = float(cube["tick"][0]), float(cube["tick"][-1]) + step - 1
    parts.figure.y_range.update(start=low - 0.5, end=high + 0.5)
    parts.distance.update(start=low - 0.5 - k, end=high + 0.5 - k)
    parts.figure.x_range.update(start=x0, end=x1)
    return parts.figure


def ladder_picture(rows: pl.DataFrame, *, level_tick: int, tick_size: float, step: int = 1, theme: Theme = DARK) -> figure:
    """The pressure ladder of `workbench.plots.ladder.rows_at`.

    Examples
    --------
    >>> ladder_picture(rows, level_tick=20_003, tick_size=0.25).name
    'ladder'
    """
    parts = ladder.ladder_figure(theme, tick_size)
    top = ladder.flow_top(rows)
    parts.scale.data = {"top": [top]}
    ladder.patch_ladder(parts, ladder.ladder_data(rows, step, top))
    ladder.mark_level(parts, level_tick)
    parts.figure.yaxis.visible = True
    parts.figure.y_range.update(start=int(rows["tick"].min()) - 0.5, end=int(rows["tick"].max()) + step - 0.5)  # type: ignore[arg-type]
    return parts.figure


def conditions_picture(vacuum: pl.DataFrame, *, window_s: int, theme: Theme = DARK) -> figure:
    """The four conditions in both directions, from one level's rows of `engine.features.level_windows`.

    Examples
    --------
    >>> conditions_picture(vacuum, window_s=5).name
    'conditions'
    """
    parts = conditions.strip_figure(theme)
    day = int(vacuum["window_start_ts_ns"][0])
    parts.cells.data, parts.counts.data = conditions.strip_data(vacuum, window_s, day)
    x = axes.x_ms(vacuum["window_start_ts_ns"].to_numpy(), day)
    parts.figure.x_range.update(start=float(x[0]), end=float(x[-1]) + window_s * 1000)
    parts.figure.xaxis.update(visible=True, formatter=axes.time_formatter())
    return parts.figure
