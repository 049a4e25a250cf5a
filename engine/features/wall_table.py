"""The table ``mbo_trigger_walls``: the wall features of every trigger, by name; and the same as vectors."""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.features.registry import features
from engine.features.vector import WALL, as_lists, windows_of
from engine.features.wall import wall_sums
from engine.ladder import Ladder
from engine.params import FeatureParams


def wall_values(ladder: Ladder, moments: pl.DataFrame, params: FeatureParams) -> np.ndarray:
    """The features of `WALL` of each moment, float64 ``(n, features)``; `moments` as for `engine.features.wall.wall_sums`."""
    made, sums = {f.name: f.function for f in features("wall")}, wall_sums(ladder, moments, params)
    return np.stack([made[name](sums) for name in WALL], axis=1)


def _known_values(ladder: Ladder, moments: pl.DataFrame, params: FeatureParams | None) -> tuple[np.ndarray, np.ndarray]:
    """Moments whose two minutes of history are known, as in the other vectors, and `wall_values` of these.
    Raises ContractError as `engine.features.vector.windows_of`.
    """
    params = params or FeatureParams()
    rows = np.flatnonzero(windows_of(ladder, moments, params)[1])
    return rows, wall_values(ladder, moments[rows], params).astype(np.float32)


def wall_vectors(ladder: Ladder, moments: pl.DataFrame, params: FeatureParams | None = None) -> pl.Series:
    """The wall features as a List(Float32) series ``vector``, null where a moment's history is not known."""
    rows, values = _known_values(ladder, moments, params)
    known = pl.DataFrame({"row": rows, "vector": as_lists(values)}, schema_overrides={"row": pl.Int64})
    return pl.DataFrame({"row": np.arange(moments.height)}).join(known, on="row", how="left", maintain_order="left")["vector"]


def wall_table(ladder: Ladder, triggers: pl.DataFrame, params: FeatureParams | None = None) -> pl.DataFrame:
    """``trigger_id`` and a column per feature of `WALL`, a row per trigger in their order; null where its history is not known."""
    rows, values = _known_values(ladder, triggers, params)
    out = np.full((triggers.height, len(WALL)), np.nan, np.float32)
    out[rows] = values
    return triggers.select("trigger_id").with_columns([pl.Series(n, out[:, i]).fill_nan(None) for i, n in enumerate(WALL)])
