"""The `blocks` representation: the original schema of windows, means, deltas and differences (features.md section 5)."""

from __future__ import annotations

import numpy as np

from engine.features.registry import feature_names
from engine.setups.timeline import HISTORY
from engine.vocab import Approach

DERIVATIVES = ("", "d1_", "d2_", "d3_")
MEANS = (3, 9, 24)
BLOCKS = ("w0", *(f"w{n}_mean" for n in MEANS), *(f"w{n}_delta" for n in MEANS))
REACH = len(DERIVATIVES) - 1
"""Windows before the history that the differences of its first window touch."""


def base_names(approach: str) -> tuple[str, ...]:
    """Features of an approach: the downward vacuum family from above, the upward one from below, and the tape."""
    family = "vacuum_up" if approach == Approach.UP else "vacuum_down"
    return (*feature_names(family), *feature_names("tape"))


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
