"""When a forecast fires (retrieval.md): thresholds, one fire per episode, and a pause after each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.retrieval.params import FireParams
from engine.vocab import NS

if TYPE_CHECKING:
    import polars as pl


def fire_flags(signals: pl.DataFrame, params: FireParams | None = None, *, window_s: int = 5) -> pl.Series:
    """Which rows of one session's signals fire.

    A row is *ready* where its top class is break or reject and all thresholds of `params` hold; an unknown metric fails its threshold.
    A ready row fires unless its episode has fired, or its level fired less than ``cool_down_windows`` ago, or it
    stands less than ``gap_windows`` after a ready row of the same level that was held back: only a new run of ready windows fires.

    Parameters
    ----------
    signals
        ``level_id, episode_id, window_end_ts_ns`` and the columns of `engine.retrieval.forecast.forecast_frame`; any order.

    Returns
    -------
    Series of bool, ``fire_flag``
    """
    import polars as pl

    rule = params or FireParams()
    c = pl.col
    ready = (
        ~c("nothing_comparable")
        & c("c_top1").is_in(["break", "reject"])
        & (c("p_top1") >= rule.min_probability)
        & (c("margin") >= rule.min_margin)
        & (c("p_chop") <= rule.max_chop)
        & (c("risk_q80_ticks") <= rule.max_risk_ticks)
        & (c("resolve_rate") >= rule.min_resolve)
        & (c("whipsaw_rate") <= rule.max_whipsaw)
    )
    ok = signals.select(ready.fill_null(False).alias("ready"))["ready"].to_numpy()
    flags = np.zeros(signals.height, bool)
    times = signals["window_end_ts_ns"].to_numpy()
    levels, episodes = signals["level_id"].to_list(), signals["episode_id"].to_list()
    fired_at: dict[str, int] = {}
    held_at: dict[str, int] = {}
    spent: set[str] = set()
    for i in np.lexsort((np.arange(signals.height), times)):
        if not ok[i]:
            continue
        level, now = levels[i], int(times[i])
        cooling = level in fired_at and now - fired_at[level] < rule.cool_down_windows * window_s * NS
        running = level in held_at and now - held_at[level] < rule.gap_windows * window_s * NS
        if cooling or running or episodes[i] in spent:
            held_at[level] = now
            continue
        flags[i] = True
        fired_at[level] = now
        spent.add(episodes[i])
    return pl.Series("fire_flag", flags)
