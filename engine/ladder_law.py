"""The ladder's law of conservation, checked on its rows: what rested, plus what came, less what left, is what rests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from engine import ladder_kernels
from engine.vocab import NS

if TYPE_CHECKING:
    from engine.ladder import Ladder


def broken_rows(ladder: Ladder, slot_offset: np.ndarray, slot_rows: np.ndarray, span_ticks: int) -> pl.DataFrame:
    """Rows of valid seconds that break the law; `engine.ladder.Ladder.conserve` says which are looked at.

    Parameters
    ----------
    ladder : Ladder
    slot_offset, slot_rows : ndarray of int64
        The ladder's rows by tick (`engine.ladder_kernels.index_by_tick`).
    span_ticks : int
        Ticks on either side of the mid that a keyframe covers.

    Returns
    -------
    pl.DataFrame
        ``window_start_ts_ns, tick, side, depth_start, add, pull, fill, depth_end``.
    """
    start = np.zeros_like(ladder.depth)
    known = np.zeros(ladder.tick.size, np.bool_)
    ladder_kernels.depth_before_rows(slot_offset, slot_rows, ladder.second, ladder.depth, start, known)
    low, high = _keyframe_cover(ladder, span_ticks)
    at = ladder.second
    known |= (at > 0) & (ladder.tick >= low[at]) & (ladder.tick <= high[at])
    frames = []
    for side, name in enumerate(("bid", "ask")):
        add, pull, fill = (ladder.values[:, 2 * c + side] for c in (2, 3, 4))
        bad = known & ladder.valid[at] & (ladder.depth[:, side].astype(np.int64) != start[:, side].astype(np.int64) + add - pull - fill)
        frames.append(
            pl.DataFrame(
                {
                    "window_start_ts_ns": ladder.start_ns + at[bad].astype(np.int64) * NS,
                    "tick": ladder.tick[bad],
                    "side": np.full(int(bad.sum()), name),
                    "depth_start": start[bad, side],
                    "add": add[bad],
                    "pull": pull[bad],
                    "fill": fill[bad],
                    "depth_end": ladder.depth[bad, side],
                },
                schema_overrides={"side": pl.String},
            )
        )
    return pl.concat(frames).sort("window_start_ts_ns", "tick", "side")


def _keyframe_cover(ladder: Ladder, span: int) -> tuple[np.ndarray, np.ndarray]:
    """Per second, lowest and highest tick that the last keyframe before it covered (low > high where none did)."""
    from engine.ladder import NO_TICK

    low = np.full(ladder.seconds, 1, np.int64)
    high = np.full(ladder.seconds, 0, np.int64)
    frames = np.unique(ladder.second[ladder.keyframe])
    bid, ask = ladder.best_bid_tick[frames].astype(np.int64), ladder.best_ask_tick[frames].astype(np.int64)
    two = (bid != NO_TICK) & (ask != NO_TICK)
    frames, bid, ask = frames[two], bid[two], ask[two]
    if frames.size:
        before = np.searchsorted(frames, np.arange(ladder.seconds), side="left") - 1
        there = before >= 0
        # A tick less on both sides: whether a half-tick mid rounds up or down is the replay's affair.
        low[there] = ((bid + ask) // 2 - span + 1)[before[there]]
        high[there] = ((bid + ask) // 2 + span - 1)[before[there]]
    return low, high
