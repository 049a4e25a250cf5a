"""A level's steps as arrays: its tick at any moment."""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.errors import ContractError
from engine.ladder import NO_TICK, Ladder


def ticks_at(levels: pl.DataFrame, level_id: str, moments: np.ndarray, ladder: Ladder) -> np.ndarray:
    """The level's tick at each moment, `NO_TICK` where it has no value.

    Parameters
    ----------
    levels : pl.DataFrame
        ``level_id, start_ts_ns, end_ts_ns, level_tick``.
    moments : ndarray of int64
        Ns since the epoch, in any order.

    Returns
    -------
    ndarray of int64, shape of `moments`

    Raises
    ------
    ContractError
        On overlapping spans of the level.
    """
    steps = levels.filter(pl.col("level_id") == level_id).sort("start_ts_ns")
    begin, end = steps["start_ts_ns"].to_numpy(), steps["end_ts_ns"].to_numpy()
    if (begin[1:] < end[:-1]).any():
        raise ContractError(
            f"levels: expected spans of {level_id!r} that do not overlap, found some that do; "
            f"`spymaster run --layer silver --symbol {ladder.symbol} --dates {ladder.date} --overwrite` makes the levels again"
        )
    out = np.full(moments.size, NO_TICK, np.int64)
    if begin.size:
        at = np.searchsorted(begin, moments, side="right") - 1
        there = (at >= 0) & (moments < end[np.maximum(at, 0)])
        out[there] = steps["level_tick"].to_numpy()[at[there]]
    return out
