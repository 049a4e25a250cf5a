"""Robust normalisation of vectors: median and MAD per dimension, clipped, then length one (features.md section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError, NoData

MAD_TO_SIGMA = 1.4826
TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Statistics of the sessions it was fitted on.

    Attributes
    ----------
    median, mad : float64 ``(d,)``
    clip : float
        Bound of a normalised dimension, in robust deviations.
    """

    median: NDArray[np.float64]
    mad: NDArray[np.float64]
    clip: float = 8.0

    def scale(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(x - median) / (1.4826 MAD + 1e-6)``, clipped; a dimension whose MAD is 0 is 0, NaN stays NaN. Shape kept."""
        z = (matrix - self.median) / (MAD_TO_SIGMA * self.mad + TINY)
        np.clip(z, -self.clip, self.clip, out=z)
        z[:, self.mad == 0] = 0.0
        return z.astype(np.float32)

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Statistics by dimension's name, for ``norm_stats.json``."""
        return {
            "clip": self.clip,
            "median": dict(zip(names, self.median.tolist())),
            "mad": dict(zip(names, self.mad.tolist())),
        }


def normaliser_from_json(value: dict[str, Any], names: Sequence[str]) -> Normaliser:
    """Back from `Normaliser.to_json`.

    Raises
    ------
    ContractError
        Where the statistics are of other dimensions.
    """
    if value["median"].keys() != set(names) or value["mad"].keys() != set(names):
        raise ContractError("norm statistics: of other dimensions than the feature list; `spymaster index` makes both anew")
    median, mad = (np.array([value[k][n] for n in names]) for k in ("median", "mad"))
    return Normaliser(median, mad, float(value["clip"]))


def fit_normaliser(matrix: NDArray[np.float32], clip: float = 8.0) -> Normaliser:
    """Median and MAD of every dimension over the rows that are finite throughout.

    Raises
    ------
    NoData
        Where no row is.
    """
    rows = matrix[np.isfinite(matrix).all(axis=1)].astype(np.float64)
    if not len(rows):
        raise NoData("normalisation: expected rows with finite vectors, found none; `spymaster run --layer gold` makes vectors")
    median = np.median(rows, axis=0)
    return Normaliser(median, np.median(np.abs(rows - median), axis=0), clip)


def unit(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length one; a zero row stays zero, and so is like nothing. Shape and NaN kept."""
    length = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(matrix / np.where(length > 0, length, 1.0), np.float32)
