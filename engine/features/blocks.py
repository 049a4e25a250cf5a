"""The `blocks` representation: the original schema of windows, means, deltas and differences (features.md section 5)."""

from __future__ import annotations

import numpy as np

from engine.setups.timeline import HISTORY
from engine.vocab import Approach

DERIVATIVES = ("", "d1_", "d2_", "d3_")
MEANS = (3, 9, 24)
BLOCKS = ("w0", *(f"w{n}_mean" for n in MEANS), *(f"w{n}_delta" for n in MEANS))
REACH = len(DERIVATIVES) - 1
"""Windows before the history that the differences of its first window touch."""

FROM_ABOVE = (
    "f1_ask_com_disp_log",
    "f1_ask_slope_convex_log",
    "f1_ask_slope_inner_log",
    "f1_ask_at_share_delta",
    "f1_ask_near_share_delta",
    "f1_ask_reprice_away_share_rest",
    "f2_ask_pull_add_log_rest",
    "f2_ask_pull_intensity_log_rest",
    "f2_ask_at_pull_share_rest",
    "f2_ask_near_pull_share_rest",
    "f3_bid_com_disp_log",
    "f3_bid_slope_convex_log",
    "f3_bid_slope_inner_log",
    "f3_bid_at_share_delta",
    "f3_bid_near_share_delta",
    "f3_bid_reprice_away_share_rest",
    "f4_bid_pull_add_log_rest",
    "f4_bid_pull_intensity_log_rest",
    "f4_bid_at_pull_share_rest",
    "f4_bid_near_pull_share_rest",
    "f5_vacuum_expansion_log",
    "f6_vacuum_decay_log",
    "f7_vacuum_total_log",
)
"""Vacuum features of a vector from above. Named one by one: a feature that is registered later changes no vector of a lake."""

FROM_BELOW = (
    "u1_ask_com_disp_log",
    "u2_ask_slope_convex_log",
    "u2_ask_slope_inner_log",
    "u3_ask_at_share_decay",
    "u3_ask_near_share_decay",
    "u4_ask_reprice_away_share_rest",
    "u5_ask_pull_add_log_rest",
    "u6_ask_pull_intensity_log_rest",
    "u7_ask_at_pull_share_rest",
    "u7_ask_near_pull_share_rest",
    "u8_bid_com_approach_log",
    "u9_bid_slope_support_log",
    "u9_bid_slope_inner_log",
    "u10_bid_at_share_rise",
    "u10_bid_near_share_rise",
    "u11_bid_reprice_toward_share_rest",
    "u12_bid_add_pull_log_rest",
    "u13_bid_add_intensity_log",
    "u14_bid_far_pull_share_rest",
    "u15_up_expansion_log",
    "u16_up_flow_log",
    "u17_up_total_log",
)
"""Vacuum features of a vector from below."""

TAPE = (
    "t1_aggressor_imbalance",
    "t2_absorption_at_log",
    "t3_replenish_at_log",
    "t4_fill_intensity_log",
    "t5_ofi",
    "t6_path_depth_log",
    "t7_path_pull_add_log",
    "t8_speed",
    "t9_distance",
    "t10_ask_com_touch_log",
    "t11_bid_com_touch_log",
)
"""Tape features of both."""


def base_names(approach: str) -> tuple[str, ...]:
    """Features of a vector of `approach`: those from above or from below, and the tape."""
    return (*(FROM_BELOW if approach == Approach.UP else FROM_ABOVE), *TAPE)


def blocks_names(approach: str) -> tuple[str, ...]:
    """Names of all dimensions ``{block}_{derivative_}{feature}``: block outermost, then feature, then base, d1, d2, d3."""
    return tuple(f"{block}_{d}{name}" for block in BLOCKS for name in base_names(approach) for d in DERIVATIVES)


def blocks(history: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Vectors from windows.

    Parameters
    ----------
    history : ndarray of float64, shape (n, HISTORY + REACH, features)
        Oldest window first; NaN in an invalid window, and anything in one before the session's first.
    before : ndarray of int64, shape (n,)
        How many of those windows lie before the session's first.

    Returns
    -------
    ndarray of float64, shape (n, dimensions)
        NaN where a difference touches an invalid window; a difference that reaches before the session's first window is 0.
    """
    n, _, n_features = history.shape
    x = np.empty((n, HISTORY, n_features, len(DERIVATIVES)))
    level = history
    for k in range(len(DERIVATIVES)):
        # `level` has lost k windows at its start: its window j is the history's j + k.
        x[..., k] = level[:, REACH - k :]
        if k:
            first = np.arange(HISTORY) + REACH - before[:, None]  # position in the session
            x[first < k, :, k] = 0.0
        level = np.diff(level, axis=1)
    out = np.empty((n, len(BLOCKS), n_features, len(DERIVATIVES)))
    out[:, 0] = x[:, -1]
    for i, m in enumerate(MEANS):
        out[:, 1 + i] = x[:, -m:].mean(axis=1)
        out[:, 1 + len(MEANS) + i] = (x[:, -1] - x[:, -m]) / (m - 1)
    return out.reshape(n, -1)
