"""The learned embedding (cross-fitted shrunk discriminant scores and principal components), and the normalisation of vectors.

A discriminant fitted on the events that are later retrieved pulls each of them toward its own class: neighbours then agree more than
those of a new query will. So events of history are embedded by a discriminant fitted without their group of sessions, and new queries
by the mean of all. The scores are log odds against the first class, so that the fits of different groups share their axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError, NoData
from engine.retrieval.scores import Floats, Labels

# ----------------------------------------------------------------------------
# The learned embedding

SHRINKAGES: tuple[float | str, ...] = ("auto", 0.3, 0.7)
"""Candidates of cross-validation; ``auto`` is Ledoit and Wolf (2004)."""

SPREAD = 0.5
"""Scale of one standard deviation of a score, relative to the constant coordinate."""

OUTLINE = 32
"""Principal directions of an outline, in which abstention measures likeness; the cosine in all 300 dimensions abstains from the same kind
of events, at ten times the memory."""

ARRAYS = ("coef", "intercept", "centre", "spread", "basis", "axes")


@dataclass(frozen=True, eq=False)
class Embedding:
    """A fitted embedding of normalised vectors into `dims` dimensions.

    Attributes
    ----------
    coef, intercept : float64 ``(classes - 1, d)``, ``(classes - 1,)``
        Mean over the groups' discriminants, as log odds against class 0.
    centre, spread : float64 ``(classes - 1,)``
        Standardisation of the cross-fitted scores of history.
    basis, axes : float64 ``(d, m)``, ``(d, OUTLINE)``
        Principal directions of history: whitened, and unwhitened for the likeness of two vectors regardless of class.
    residual : float
        Weight of the principal directions.
    shrinkage : float or "auto"
        Chosen by cross-validation.
    """

    coef: Floats
    intercept: Floats
    centre: Floats
    spread: Floats
    basis: Floats
    axes: Floats
    residual: float
    shrinkage: float | str

    @property
    def dims(self) -> int:
        """Dimensions of the embedding."""
        return len(self.centre) + 1 + self.basis.shape[1]

    def place(self, scaled: NDArray[np.float32], scores: Floats | None = None) -> NDArray[np.float32]:
        """Unit vectors of `scaled`, ``(n, dims)``; `scores` are history's cross-fitted ones where these are history's rows."""
        if scores is None:
            scores = scaled @ self.coef.T + self.intercept
        z = SPREAD * np.clip((scores - self.centre) / self.spread, -4, 4)
        rest = self.residual / np.sqrt(max(self.basis.shape[1], 1)) * np.clip(scaled @ self.basis, -4, 4)
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
        return {k: getattr(self, k).tolist() for k in ARRAYS} | {"residual": self.residual, "shrinkage": self.shrinkage}


def embedding_from_json(value: dict[str, Any]) -> Embedding:
    """The embedding of an `Embedding.to_json` value."""
    arrays = {k: np.array(value[k], float) for k in ARRAYS}
    return Embedding(residual=value["residual"], shrinkage=value["shrinkage"], **arrays)


def fold_of_session(sessions: Labels, folds: int) -> Labels:
    """Cross-fitting group of each row, ``(n,)``: sessions are dealt in turn, so that every group spans all of history."""
    return np.asarray(np.unique(sessions, return_inverse=True)[1] % folds, np.int64)


def _discriminant(x: NDArray[np.float32], labels: Labels, classes: int, shrinkage: float | str) -> tuple[Floats, Floats]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, labels)
    if classes == 2:
        return fitted.coef_.astype(float), fitted.intercept_.astype(float)
    coef, intercept = np.zeros((classes, x.shape[1])), np.zeros(classes)
    coef[fitted.classes_], intercept[fitted.classes_] = fitted.coef_, fitted.intercept_
    return coef[1:] - coef[0], intercept[1:] - intercept[0]


def _loss(scores: Floats, labels: Labels) -> float:
    """Log loss of a logistic regression on cross-fitted scores: their information, regardless of scale."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    z = (scores - scores.mean(axis=0)) / (scores.std(axis=0) + 1e-12)
    model = LogisticRegression(C=10.0, max_iter=200).fit(z, labels)
    return float(log_loss(labels, model.predict_proba(z), labels=model.classes_))


def fit_embedding(
    scaled: NDArray[np.float32], labels: Labels, sessions: Labels, *, classes: int, dims: int, folds: int
) -> tuple[Embedding, Floats] | None:
    """The embedding fitted on history, and history's cross-fitted scores ``(n, classes - 1)``; None where a fit would lack a class.

    `scaled` are normalised, finite vectors, whose labels are all known. The one of `SHRINKAGES` is used whose cross-fitted scores have the
    lowest loss.
    """
    group = fold_of_session(sessions, folds)
    rest = [group != g for g in range(folds)]
    if any(len(np.unique(labels[r])) < classes for r in rest):
        return None
    best: tuple[float, Floats, list[tuple[Floats, Floats]], float | str] | None = None
    for shrinkage in SHRINKAGES:
        fits = [_discriminant(scaled[r], labels[r], classes, shrinkage) for r in rest]
        scores = np.empty((len(scaled), classes - 1))
        for r, (coef, intercept) in zip(rest, fits):
            scores[~r] = scaled[~r] @ coef.T + intercept
        loss = _loss(scores, labels)
        if best is None or loss < best[0]:
            best = loss, scores, fits, shrinkage
    assert best is not None
    _, scores, fits, shrinkage = best
    coef, intercept = (np.mean(of_fits, axis=0) for of_fits in zip(*fits))
    spread = np.maximum(scores.std(axis=0), 1e-9)
    m = max(dims - classes, 1)
    values, axes = _principal(scaled, max(m, OUTLINE))
    basis = axes[:, :m] / np.sqrt(np.maximum(values[:m], 1e-9))
    return Embedding(coef, intercept, scores.mean(axis=0), spread, basis, axes[:, :OUTLINE], 0.0, shrinkage), scores


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
