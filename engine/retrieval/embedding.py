"""The learned embedding: cross-fitted shrunk discriminant scores, and beside them what the classes do not explain.

A discriminant fitted on the very events that are later retrieved pulls each of them toward its own class: neighbours then look
more unanimous than the future will be. So an event of history is placed by a discriminant that was fitted without its group of
sessions, and only a new query by the mean of all. The scores are log odds against the first class, in which the fits of different
groups share their axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError, NoData

# ----------------------------------------------------------------------------
# The learned embedding: cross-fitted shrunk discriminant scores, and beside them what the classes do not explain

SHRINKAGES: tuple[float | str, ...] = ("auto", 0.3, 0.7)
"""Tried inside the fold; ``auto`` is Ledoit and Wolf (2004)."""

SPREAD = 0.5
"""Length of one standard deviation of a score, where the constant coordinate has length 1."""

OUTLINE = 32
"""Principal directions in which likeness as such is seen; the cosine in all 300 dimensions drops the same kind of events, at ten times the
memory."""

ARRAYS = ("coef", "intercept", "centre", "spread", "basis", "axes")


@dataclass(frozen=True, eq=False)
class Embedding:
    """A fitted embedding of normalised vectors into `dims` dimensions.

    Attributes
    ----------
    coef : float64 ``(classes - 1, d)``
    intercept : float64 ``(classes - 1,)``
        Mean over the groups' discriminants, as log odds against class 0.
    centre, spread : float64 ``(classes - 1,)``
        Standardisation of the cross-fitted scores of history.
    basis : float64 ``(d, m)``
        Whitened principal directions of history.
    axes : float64 ``(d, OUTLINE)``
        Principal directions of history as they are: in them one sees how alike two vectors are, whatever the classes make of them.
    residual : float
        Weight of the principal directions.
    shrinkage : float or "auto"
        What the fold chose.
    """

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    basis: NDArray[np.float64]
    axes: NDArray[np.float64]
    residual: float
    shrinkage: float | str

    @property
    def dims(self) -> int:
        """Dimensions of the embedding."""
        return len(self.centre) + 1 + self.basis.shape[1]

    def place(self, scaled: NDArray[np.float32], scores: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Unit vectors of `scaled`, ``(n, dims)``; `scores` are history's cross-fitted ones where these are history's rows."""
        if scores is None:
            scores = scaled @ self.coef.T + self.intercept
        z = SPREAD * np.clip((scores - self.centre) / self.spread, -4, 4)
        rest = self.residual / np.sqrt(max(self.basis.shape[1], 1)) * np.clip(scaled @ self.basis, -4, 4)
        # The constant keeps a score's size in a cosine, which by itself sees only its direction.
        return unit(np.column_stack([z, np.ones(len(z)), rest]).astype(np.float32))

    def outline(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors of `scaled` as far as they lie along `axes`, ``(n, OUTLINE)``; of two, the inner product is about their cosine.

        It tells a setup like none before from one that is merely sure: in the embedding the surest stand at the rim, where neighbours
        are few, and a bound on likeness there dropped the best events.
        """
        return np.asarray(unit(scaled) @ self.axes, np.float32)

    def to_json(self) -> dict[str, Any]:
        """Everything, as lists."""
        arrays = {k: getattr(self, k).tolist() for k in ARRAYS}
        return {**arrays, "residual": self.residual, "shrinkage": self.shrinkage}


def embedding_from_json(value: dict[str, Any]) -> Embedding:
    """Back from `Embedding.to_json`."""
    arrays = {k: np.array(value[k], float) for k in ARRAYS}
    return Embedding(residual=value["residual"], shrinkage=value["shrinkage"], **arrays)


def groups_of(sessions: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Group of each row: sessions in turn, so that every group spans all of history. ``(n,)``."""
    codes = np.unique(sessions, return_inverse=True)[1]
    return np.asarray(codes % folds, np.int64)


def _discriminant(
    x: NDArray[np.float32], labels: NDArray[np.int64], classes: int, shrinkage: float | str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, labels)
    coef = np.zeros((classes, x.shape[1]))
    intercept = np.zeros(classes)
    if classes == 2:
        return fitted.coef_.astype(float), fitted.intercept_.astype(float)
    coef[fitted.classes_], intercept[fitted.classes_] = fitted.coef_, fitted.intercept_
    return coef[1:] - coef[0], intercept[1:] - intercept[0]


def _loss(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Log loss of a small calibrated model of cross-fitted scores: how much they say, whatever their scale."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    z = (scores - scores.mean(axis=0)) / (scores.std(axis=0) + 1e-12)
    model = LogisticRegression(C=10.0, max_iter=200).fit(z, labels)
    return float(log_loss(labels, model.predict_proba(z), labels=model.classes_))


def fit_embedding(
    scaled: NDArray[np.float32],
    labels: NDArray[np.int64],
    sessions: NDArray[np.int64],
    *,
    classes: int,
    dims: int,
    folds: int,
    shrinkages: Sequence[float | str] = SHRINKAGES,
) -> tuple[Embedding, NDArray[np.float64]] | None:
    """Fit the embedding on history.

    Parameters
    ----------
    scaled : float32 ``(n, d)``
        Normalised vectors of history, finite.
    labels : int64 ``(n,)``
        Classes, all known.
    sessions : int64 ``(n,)``
        Session of each; groups are made of whole sessions.

    Returns
    -------
    (Embedding, scores) or None
        `scores` are history's cross-fitted ones, ``(n, classes - 1)``. None where a group's rest lacks a class.

    Notes
    -----
    Shrinkage as Ledoit and Wolf (2004) or fixed, whichever's cross-fitted scores say more.
    """
    group = groups_of(sessions, folds)
    rest = [group != g for g in range(folds)]
    if any(len(np.unique(labels[r])) < classes for r in rest):
        return None
    best: tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float | str] | None = None
    for shrinkage in shrinkages:
        fits = [_discriminant(scaled[r], labels[r], classes, shrinkage) for r in rest]
        scores = np.empty((len(scaled), classes - 1))
        for r, (coef, intercept) in zip(rest, fits):
            scores[~r] = scaled[~r] @ coef.T + intercept
        loss = _loss(scores, labels)
        if best is None or loss < best[0]:
            mean_coef = np.mean([c for c, _ in fits], axis=0)
            best = (loss, scores, mean_coef, np.mean([i for _, i in fits], axis=0), shrinkage)
    assert best is not None
    _, scores, coef, intercept, shrinkage = best
    spread = np.maximum(scores.std(axis=0), 1e-9)
    m = max(dims - classes, 1)
    values, axes = _principal(scaled, max(m, OUTLINE))
    basis = axes[:, :m] / np.sqrt(np.maximum(values[:m], 1e-9))
    return Embedding(coef, intercept, scores.mean(axis=0), spread, basis, axes[:, :OUTLINE], 0.0, shrinkage), scores


def _principal(scaled: NDArray[np.float32], m: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances and principal directions, ``(min(m, d),)`` and ``(d, min(m, d))``; each with its largest entry positive."""
    second = scaled.T.astype(np.float64) @ scaled / len(scaled)
    values, vectors = np.linalg.eigh(second)
    order = np.argsort(values)[::-1][:m]
    top = vectors[:, order]
    top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(top.shape[1])])
    return np.asarray(values[order]), np.asarray(top)


# ----------------------------------------------------------------------------
# Robust normalisation of vectors: median and MAD per dimension, clipped, then length one (features.md section 5)

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
