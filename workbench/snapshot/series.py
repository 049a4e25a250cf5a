"""Arrays that the panels draw: level runs, best prices, condition cells; instants as ms of New York's clock."""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.ladder import NO_TICK
from workbench.plots import axes, coding
from workbench.snapshot.scene import Scene


def x_of(ts_ns: int, scene: Scene) -> float:
    """Place of an instant on a time axis."""
    return float(axes.x_ms(ts_ns, scene.now_ns))


def level_runs(scene: Scene) -> list[tuple[float, float, int, bool]]:
    """(start, end, tick, whether chosen) of every stretch in which a level keeps its tick, the chosen level last."""
    moved = pl.col("level_id").ne_missing(pl.col("level_id").shift()) | pl.col("level_tick").ne_missing(pl.col("level_tick").shift())
    runs = (
        scene.levels.group_by(moved.cum_sum().alias("run"), maintain_order=True)
        .agg(pl.col("level_id", "start_ts_ns", "level_tick").first(), pl.col("end_ts_ns").last())
        .sort(pl.col("level_id") == scene.level_id, maintain_order=True)
    )
    return [
        (x_of(a, scene), x_of(b, scene), k, i == scene.level_id)
        for i, a, b, k in runs.select("level_id", "start_ts_ns", "end_ts_ns", "level_tick").iter_rows()
    ]


def best_prices(scene: Scene) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Edges of the windows, and the best bid and ask at each window's end; NaN where a side is empty or the book not valid.

    The last value stands twice, so that a step drawn from edge to edge ends with its window.
    """
    w = scene.features.window_s
    at = scene.tape.gather_every(w, offset=w - 1)
    ok = scene.cube["book_valid"].to_numpy().astype(bool)
    edges = np.append(scene.cube["window_start_ts_ns"].to_numpy(), scene.span_ns[1])
    out = {}
    for side in ("bid", "ask"):
        tick = at[f"best_{side}_tick"].cast(pl.Int64).fill_null(NO_TICK).to_numpy()
        best = np.where(ok & (tick != NO_TICK), tick.astype(float), np.nan)
        out[side] = np.append(best, best[-1])
    return np.asarray(axes.x_ms(edges, scene.now_ns)), out


def invalid_stretches(scene: Scene) -> list[tuple[float, float]]:
    """Stretches of the heatmap in which the book is not valid."""
    begin, end = (scene.cube[f"window_{e}_ts_ns"].to_numpy() for e in ("start", "end"))
    spans = coding.invalid_spans(scene.cube["book_valid"].to_numpy())
    return [(x_of(int(begin[a]), scene), x_of(int(end[b - 1]), scene)) for a, b in spans]


def condition_cells(scene: Scene, direction: str) -> tuple[np.ndarray, np.ndarray]:
    """Cells of a direction's strip and its count.

    Returns
    -------
    cells : ndarray of uint8, shape (4, windows)
        0 not known, 1 shut, 2 open; row 0 is condition 4, the lowest of the strip.
    count : ndarray of float, shape (windows,)
        How many are open, 0 where it is not known.
    """
    start = scene.cube["window_start_ts_ns"].to_numpy()
    full = pl.DataFrame({"window_start_ts_ns": start}).join(scene.vacuum, on="window_start_ts_ns", how="left")
    cells = full.select(pl.col(f"{direction}_{i}").cast(pl.UInt8).add(1).fill_null(0) for i in (4, 3, 2, 1)).to_numpy().T
    return np.ascontiguousarray(cells, dtype=np.uint8), full[f"{direction}_open"].cast(pl.Float64).fill_null(0).to_numpy()
