"""The `means` representation: independent primitives in the frame of travel, averaged over bins (features.md section 5).

*Ahead* is the side that defends the level: asks at and above it on an approach from below, bids at and below it on one
from above. Every primitive is the same function of either side, so that a market upside down gives the same vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.features import vacuum
from engine.features.sums import FAR, SideSums, WindowSums
from engine.setups.timeline import HISTORY

BINS = 8
"""Bins of `HISTORY` / `BINS` windows each (15 s of 5 s windows); bin 0 is the oldest."""


@dataclass(frozen=True)
class SidePrimitive:
    """A function of one side's sums; it stands in the vector twice, ``ahead_{name}`` and ``behind_{name}``.

    A mean over windows has the unit and the range of what it is the mean of.
    """

    name: str
    formula: str
    unit: str
    range: str
    meaning: str
    function: Callable[[SideSums], np.ndarray]


def pull_add_log(s: SideSums) -> np.ndarray:
    """All pulls against all adds."""
    return np.log((s.pull.sum(axis=1) + 1) / (s.add.sum(axis=1) + 1))


def add_intensity_log(s: SideSums) -> np.ndarray:
    """Adds against the depth at the start."""
    return np.log(1 + s.add.sum(axis=1) / (s.start.sum(axis=1) + 1))


def far_pull_share_rest(s: SideSums) -> np.ndarray:
    """Share of rested pulls in the far zone."""
    return s.rest[:, FAR] / (s.rest.sum(axis=1) + 1)


def com_touch_log(s: SideSums) -> np.ndarray:
    """Log displacement of the centre of mass in the book's own frame."""
    return np.log((s.touch_end + 1) / (s.touch_start + 1))


SIDE_PRIMITIVES = (
    SidePrimitive(
        "com_disp_log",
        "ln((com_end + 1) / (com_start + 1))",
        "log ratio",
        "[-ln(far + 2), ln(far + 2)]",
        "moves away from the level",
        vacuum.com_disp_log,
    ),
    SidePrimitive(
        "slope_convex_log",
        "ln((D_far + 1) / (D_near + 1)) at the end",
        "log ratio",
        "(-inf, inf)",
        "stands far rather than near",
        vacuum.slope_convex_log,
    ),
    SidePrimitive(
        "slope_inner_log",
        "ln((D_near + 1) / (D_at + 1)) at the end",
        "log ratio",
        "(-inf, inf)",
        "stands near rather than at it",
        vacuum.slope_inner_log,
    ),
    SidePrimitive("at_share_delta", "D_at / (D + 1), end minus start", "share", "(-1, 1)", "gathers at the level", vacuum.at_share_delta),
    SidePrimitive(
        "near_share_delta", "D_near / (D + 1), end minus start", "share", "(-1, 1)", "gathers near the level", vacuum.near_share_delta
    ),
    SidePrimitive(
        "reprice_away_share_rest",
        "(R_away + 0.5) / (R_away + R_toward + 1)",
        "share",
        "(0, 1)",
        "is repriced away",
        vacuum.reprice_away_share_rest,
    ),
    SidePrimitive(
        "pull_add_log_rest",
        "ln((P + 1) / (A + 1))",
        "log ratio",
        "(-inf, inf)",
        "is pulled (rested) more than added",
        vacuum.pull_add_log_rest,
    ),
    SidePrimitive(
        "pull_intensity_log_rest",
        "ln(1 + P / (D_start + 1))",
        "log ratio",
        "[0, inf)",
        "is pulled, for its size",
        vacuum.pull_intensity_log_rest,
    ),
    SidePrimitive("at_pull_share_rest", "P_at / (P + 1)", "share", "[0, 1)", "is pulled at the level", vacuum.at_pull_share_rest),
    SidePrimitive("near_pull_share_rest", "P_near / (P + 1)", "share", "[0, 1)", "is pulled near the level", vacuum.near_pull_share_rest),
    SidePrimitive("far_pull_share_rest", "P_far / (P + 1)", "share", "[0, 1)", "is pulled far from the level", far_pull_share_rest),
    SidePrimitive(
        "pull_add_log", "ln((pull + 1) / (add + 1)), all pulls", "log ratio", "(-inf, inf)", "is pulled more than added", pull_add_log
    ),
    SidePrimitive(
        "add_intensity_log", "ln(1 + A / (D_start + 1))", "log ratio", "[0, inf)", "is added to, for its size", add_intensity_log
    ),
    SidePrimitive(
        "com_touch_log",
        "ln((com' end + 1) / (com' start + 1))",
        "log ratio",
        "[-ln(touch + 1), ln(touch + 1)]",
        "retreats from its own best price",
        com_touch_log,
    ),
)

TAPE_PRIMITIVES = (
    "t1_aggressor_imbalance", "t2_absorption_at_log", "t3_replenish_at_log", "t4_fill_intensity_log", "t5_ofi",
    "t6_path_depth_log", "t7_path_pull_add_log", "t8_speed", "t9_distance",
)  # fmt: skip
"""Tape features, all in the trigger's direction of travel."""

MAGNITUDES: dict[str, tuple[str, str, str]] = {
    "distance": ("abs(d) / far bound at the trigger", "far bounds", "[0, inf)"),
    "volatility_log": ("ln(1 + sigma)", "log of ticks per sqrt(second)", "[0, inf)"),
    "message_rate_log": ("ln(1 + messages per second over the history)", "log of messages per second", "[0, inf)"),
    "trade_rate_log": ("ln(1 + trades per second over the history)", "log of trades per second", "[0, inf)"),
}
"""Formula, unit and range of the last dimensions."""


def primitive_names() -> tuple[str, ...]:
    """Names of the primitives of one bin, in order: ahead, behind, tape."""
    return (*(f"{way}_{p.name}" for way in ("ahead", "behind") for p in SIDE_PRIMITIVES), *TAPE_PRIMITIVES)


def means_names() -> tuple[str, ...]:
    """Names of all dimensions: bin outermost, then primitive; then the magnitudes."""
    return (*(f"b{b}_{name}" for b in range(BINS) for name in primitive_names()), *MAGNITUDES)


def primitives(sums: WindowSums) -> np.ndarray:
    """Values of all primitives of all rows.

    Parameters
    ----------
    sums : WindowSums
        With the trigger's travel, +1 or -1 in every row.

    Returns
    -------
    ndarray of float64, shape (rows, primitives)
    """
    both = [(p.function(sums.ask), p.function(sums.bid)) for p in SIDE_PRIMITIVES]
    ahead = [np.where(sums.up, ask, bid) for ask, bid in both]
    behind = [np.where(sums.up, bid, ask) for ask, bid in both]
    return np.stack([*ahead, *behind, *(sums[t] for t in TAPE_PRIMITIVES)], axis=1)


def means(history: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
    """Vectors from windows.

    Parameters
    ----------
    history : ndarray, shape (n, HISTORY, primitives)
        Oldest window first.
    magnitudes : ndarray, shape (n, 4)

    Returns
    -------
    ndarray, shape (n, dimensions)
    """
    n, _, p = history.shape
    binned = history.reshape(n, BINS, HISTORY // BINS, p).mean(axis=2)
    return np.concatenate([binned.reshape(n, BINS * p), magnitudes], axis=1)
