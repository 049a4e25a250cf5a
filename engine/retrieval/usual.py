"""What usually stands in a part of a vector, given the rest of it: the mean of a Gaussian with history's shrunken covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.retrieval.scores import Floats, Labels

MOST_EVENTS = 5000
"""Most events of history, evenly spaced, of which what is usual is estimated."""


def evenly(n: int, most: int = MOST_EVENTS) -> Labels:
    """At most so many of `n` rows, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


@dataclass(frozen=True, eq=False)
class Usual:
    """Mean ``(d,)`` and inverse covariance ``(d, d)`` of history's normalised vectors."""

    mean: Floats
    precision: Floats

    def without(self, x: Floats, columns: Labels) -> Floats:
        """The vector ``(d,)`` with `columns` at their mean given the others."""
        out = x.copy()
        pull = (self.precision[columns] @ (x - self.mean)[:, None])[:, 0]
        out[columns] -= np.linalg.solve(self.precision[np.ix_(columns, columns)], pull)
        return out


def usual_of(scaled: NDArray[np.float32]) -> Usual:
    """What is usual in history's normalised vectors; covariance shrunken after Ledoit and Wolf (2004)."""
    from sklearn.covariance import ledoit_wolf

    x = scaled.astype(float)
    covariance, _ = ledoit_wolf(x)
    floor = 1e-6 * max(float(np.trace(covariance)) / len(covariance), 1e-12)
    return Usual(x.mean(axis=0), np.linalg.inv(covariance + floor * np.eye(len(covariance))))
