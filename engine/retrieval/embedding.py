"""The learned embedding (what the reader says, a few physical axes, principal components), and the normalisation of vectors.

A reader fitted on the events that are later retrieved pulls each of them toward its own class: neighbours then agree more than those of a
new query will. So events of history are placed by what a reader without their group of sessions says of them, and new queries by one
fitted on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError, NoData
from engine.retrieval.reader import by_row
from engine.retrieval.scores import Floats, Labels

# ----------------------------------------------------------------------------
# The learned embedding

SPREAD = 0.5
"""Scale of one standard deviation of a score, relative to the constant coordinate."""

OUTLINE = 32
"""Principal directions of an outline, in which abstention measures likeness; the cosine in all 300 dimensions abstains from the same kind
of events, at ten times the memory."""

ARRAYS = ("centre", "spread", "place_centre", "place_spread", "basis", "axes")


@dataclass(frozen=True, eq=False)
class Embedding:
    """A fitted embedding of normalised vectors into `dims` dimensions.

    Attributes
    ----------
    centre, spread : float64 ``(classes - 1,)``
        Standardisation of history's cross-fitted log odds against class 0.
    place_centre, place_spread : float64 ``(4,)``
        Standardisation of `physical_axes`.
    basis, axes : float64 ``(d, m)``, ``(d, OUTLINE)``
        Principal directions of history: whitened, and unwhitened for the likeness of two vectors regardless of class.
    residual : float
        Weight of the physical axes and the principal directions.
    """

    centre: Floats
    spread: Floats
    place_centre: Floats
    place_spread: Floats
    basis: Floats
    axes: Floats
    residual: float

    @property
    def dims(self) -> int:
        """Dimensions of the embedding."""
        return len(self.centre) + 1 + len(self.place_centre) + self.basis.shape[1]

    def place(self, scaled: NDArray[np.float32], odds: Floats, physical: Floats) -> NDArray[np.float32]:
        """Unit vectors ``(n, dims)`` of normalised ones, of their log odds ``(n, classes)`` (history's cross-fitted ones where these are
        history's rows), and of their `physical_axes`."""
        scores = odds[:, 1:] - odds[:, :1]
        z = SPREAD * np.clip((scores - self.centre) / self.spread, -4, 4)
        rest = np.column_stack([(physical - self.place_centre) / self.place_spread, by_row(scaled, self.basis)])
        rest = self.residual / np.sqrt(rest.shape[1]) * np.clip(rest, -4, 4)
        # Without a constant coordinate the cosine would ignore the size of the scores.
        return unit(np.column_stack([z, np.ones(len(z)), rest]).astype(np.float32))

    def outline(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors of `scaled` projected on `axes`, ``(n, OUTLINE)``; inner products approximate the cosine of the full vectors.

        Abstention uses these: in the embedding the most certain events lie at the edge, where neighbours are few, and a bound on
        similarity there dropped the best events instead of the unfamiliar ones.
        """
        return np.asarray(unit(scaled) @ self.axes, np.float32)

    def to_json(self) -> dict[str, Any]:
        """All fields, arrays as lists."""
        return {k: getattr(self, k).tolist() for k in ARRAYS} | {"residual": self.residual}


def embedding_from_json(value: dict[str, Any]) -> Embedding:
    """The embedding of an `Embedding.to_json` value."""
    return Embedding(residual=value["residual"], **{k: np.array(value[k], float) for k in ARRAYS})


def fold_of_session(sessions: Labels, folds: int) -> Labels:
    """Cross-fitting group of each row, ``(n,)``: sessions are dealt in turn, so that every group spans all of history."""
    return np.asarray(np.unique(sessions, return_inverse=True)[1] % folds, np.int64)


def fit_embedding(scaled: NDArray[np.float32], odds: Floats, physical: Floats, dims: int) -> Embedding:
    """The embedding of history: normalised, finite vectors ``(n, d)``, cross-fitted log odds ``(n, classes)`` and `physical_axes`."""
    scores = odds[:, 1:] - odds[:, :1]
    # Where nothing is known of the classes all scores are one, and rounding must not be spread out.
    spread, place_spread = np.maximum(scores.std(axis=0), 1e-3), np.maximum(physical.std(axis=0), 1e-3)
    m = max(dims - odds.shape[1] - physical.shape[1], 1)
    values, axes = _principal(scaled, max(m, OUTLINE))
    basis = axes[:, :m] / np.sqrt(np.maximum(values[:m], 1e-9))
    return Embedding(scores.mean(axis=0), spread, physical.mean(axis=0), place_spread, basis, axes[:, :OUTLINE], 0.0)


def _principal(scaled: NDArray[np.float32], m: int) -> tuple[Floats, Floats]:
    """Variances and principal directions, ``(min(m, d),)`` and ``(d, min(m, d))``; each with its largest entry positive."""
    values, vectors = np.linalg.eigh(scaled.T.astype(np.float64) @ scaled / len(scaled))
    order = np.argsort(values)[::-1][:m]
    top = vectors[:, order]
    top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(top.shape[1])])
    return np.asarray(values[order]), np.asarray(top)


# ----------------------------------------------------------------------------
# Robust normalisation of vectors: median and MAD per dimension, clipped, then length one (features.md section 5)

MAD_TO_SIGMA = 1.4826
MAD_EPSILON = 1e-6


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Median and MAD of each dimension, ``(d,)``, and the bound `clip` of a normalised dimension in robust deviations."""

    median: Floats
    mad: Floats
    clip: float = 8.0

    def scale(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(x - median) / (1.4826 MAD + 1e-6)``, clipped; a dimension whose MAD is 0 is 0, NaN stays NaN. Shape kept."""
        z = (matrix - self.median) / (MAD_TO_SIGMA * self.mad + MAD_EPSILON)
        np.clip(z, -self.clip, self.clip, out=z)
        z[:, self.mad == 0] = 0.0
        return z.astype(np.float32)

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Statistics by name of the dimension, for ``norm_stats.json``."""
        return {"clip": self.clip, "median": dict(zip(names, self.median.tolist())), "mad": dict(zip(names, self.mad.tolist()))}


def normaliser_from_json(value: dict[str, Any], names: Sequence[str]) -> Normaliser:
    """The normaliser of a `Normaliser.to_json` value; raises `ContractError` where that is of other dimensions than `names`."""
    if value["median"].keys() != set(names) or value["mad"].keys() != set(names):
        raise ContractError("norm statistics: of other dimensions than the feature list; `spymaster index` rebuilds both")
    median, mad = (np.array([value[k][n] for n in names]) for k in ("median", "mad"))
    return Normaliser(median, mad, float(value["clip"]))


def fit_normaliser(matrix: NDArray[np.float32], clip: float = 8.0) -> Normaliser:
    """Median and MAD of every dimension over the rows that are finite throughout; raises `NoData` where no row is."""
    rows = matrix[np.isfinite(matrix).all(axis=1)].astype(np.float64)
    if not len(rows):
        raise NoData("normalisation: expected rows with finite vectors, found none; add and run more dates")
    median = np.median(rows, axis=0)
    return Normaliser(median, np.median(np.abs(rows - median), axis=0), clip)


def unit(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length one; a zero row stays zero (similarity 0 to everything). Shape and NaN are preserved."""
    length = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(matrix / np.where(length > 0, length, 1.0), np.float32)
