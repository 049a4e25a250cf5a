"""The table of a level's windows: all features of all levels of a session at once (features.md section 3)."""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.features.near import NearBand
from engine.features.registry import KEYS, table_features
from engine.features.sums import WindowSums
from engine.ladder import NO_TICK, Ladder
from engine.levels import price_level
from engine.params import ApproachParams, FeatureParams
from engine.setups.approach import APPROACHES, approaches
from engine.setups.timeline import ticks_at
from engine.vocab import NS

DTYPES: dict[str, pl.DataType] = {
    "int64": pl.Int64(), "int32": pl.Int32(), "int8": pl.Int8(),
    "string": pl.String(), "boolean": pl.Boolean(), "float64": pl.Float64(),
}  # fmt: skip


def window_schema() -> pl.Schema:
    """Schema of ``mbo_level_vacuum_5s``: the keys, then the features, in the register's order."""
    keys = [(key.name, DTYPES[key.dtype]) for key in KEYS]
    return pl.Schema(keys + [(f.name, DTYPES[f.dtype]) for f in table_features()])


def level_steps(level_id: str, price: float, ladder: Ladder) -> pl.DataFrame:
    """LEVELS frame of a trader's own price over the ladder's whole session; `level_id` is any name, `price` goes to the nearest tick."""
    frame = price_level("price:0", ladder.start_ns, ladder.end_ns, ladder.root)
    tick = ladder.root.to_tick(price)
    return frame.with_columns(
        pl.lit(level_id).alias("level_id"), pl.lit(float(price)).alias("price"), pl.lit(tick, pl.Int32).alias("level_tick")
    )


def level_windows(
    ladder: Ladder, levels: pl.DataFrame, params: FeatureParams | None = None, approach: ApproachParams | None = None
) -> pl.DataFrame:
    """One row per level and window in which the level has a value at the window's start, which holds for the whole window: `window_schema`,
    level by level in the order of their first row, windows in time order.

    Features are null where a second of the window has no valid book, unless it is ``book_near`` and what they look at is known; and ``t1``
    to ``t8`` where the direction of travel is not known (no trade yet).
    The depth a window starts from is the book at the end of the second before, also where that second is invalid: a clear or a snapshot
    leaves a known book behind, and a book that is not known keeps its seconds invalid. Before the session's first second the
    conservation law gives it.
    Raises ContractError on overlapping spans of one level, SessionError where the session holds no whole window.
    """
    params = params or FeatureParams()
    first, n_windows = ladder.windows(params.window_s)
    starts = ladder.start_ns + (first + params.window_s * np.arange(n_windows, dtype=np.int64)) * NS
    ids = levels["level_id"].unique(maintain_order=True).to_list()
    k_ref = np.array([ticks_at(levels, level_id, starts, ladder) for level_id in ids], np.int64).reshape(len(ids), n_windows)
    if not (k_ref != NO_TICK).any():
        return window_schema().to_frame()
    sums, band = WindowSums(ladder, k_ref, first, params), NearBand(ladder, first, n_windows, params)
    last = ladder.last_tick[first + params.window_s * (np.arange(n_windows) + 1) - 1]
    codes = approaches(last, k_ref, approach or ApproachParams())[sums.level, sums.window]
    keys = {
        "window_start_ts_ns": starts[sums.window],
        "window_end_ts_ns": starts[sums.window] + params.window_s * NS,
        "level_id": pl.Series(np.array(ids, dtype=object)[sums.level], dtype=pl.String),
        "level_tick": sums.k_ref.astype(np.int32),
        "distance_ticks": pl.Series(sums.last_end - sums.k_ref).fill_nan(None).cast(pl.Int32),
        "approach": pl.Series(np.array([a.value for a in APPROACHES], dtype=object)[codes], dtype=pl.String),
        "book_valid": sums.valid,
        "book_near": band.near[sums.window],
    }
    made = {f.name: sums[f.name] for f in table_features()}
    floats = [f.name for f in table_features() if f.dtype == "float64"]
    frame = pl.DataFrame(keys | made)
    if band.near.any():
        there = {n: pl.Series(sums.valid | band.holds(n, sums.k_ref, sums.window)) for n in made}
        shown = [pl.when(there[n]).then(pl.col(n).fill_nan(None) if n in floats else pl.col(n)).alias(n) for n in made]
    else:
        valid = pl.when(pl.col("book_valid"))
        shown = [valid.then(pl.col(floats).fill_nan(None)), valid.then(pl.col([n for n in made if n not in floats]))]
    return frame.with_columns(shown).match_to_schema(window_schema())
