"""How far the law may be from what a reader says of it, judged by pairs of like events.

A reader is linear, and says nothing where it finds nothing. Neither makes the law so. What it leaves out shows in its residuals: events
that are alike miss alike. So the products of two events' residuals, held against how alike the two are, tell the mean square of what is
left out (as Haseman and Elston, 1972, told of traits from pairs of relatives), with a standard error that is known. The residuals of a
ridge regression whose prior holds have the covariance ``W (I - H)``: what is expected of their products is taken off, so that the part of
a line that the prior took away counts where it is known, in the variance of the coefficients, and not here again.
"""

from __future__ import annotations

import numpy as np

from engine.retrieval.reference import softmax
from engine.retrieval.scores import Floats, Labels
from engine.retrieval.usual import evenly

MOST_EVENTS = 6000
"""Events of which all pairs are taken; of a longer history so many of them, spread evenly."""

DIRECTIONS = 16
"""Principal directions in which events are alike or not: in all of 80 or 300 dimensions every event is as far from every other, and pairs
tell nothing (an error of the mean square twice as large on 80)."""

BLOCK = 1000


def likeness_of(x: Floats) -> Floats:
    """Coordinates ``(n, m)`` of columns ``(n, d)`` in which two events are ``exp(-squared distance)`` alike: their first `DIRECTIONS`, with
    variances that sum to one."""
    values, axes = np.linalg.eigh(x.T @ x / max(len(x), 1))
    return np.asarray(x @ axes[:, -DIRECTIONS:] / np.sqrt(max(float(values[-DIRECTIONS:].sum()), 1e-12)))


def left_out(
    x: Floats, hits: Floats, odds: Floats, sessions: Labels, weights: Floats, directions: Floats, precision: float
) -> tuple[Floats, Floats]:
    """Estimate and standard error, each ``(classes - 1,)``, of the mean square by which the law's log odds differ from `odds`, along the
    `directions` whose mean weights are `weights` (`engine.retrieval.reader.Curvature`).

    `x` ``(n, d)`` are standardised columns, the last constant, and `odds` ``(n, classes)`` were fitted to all of them with a prior of that
    `precision`, infinite where nothing was read of them. Pairs of one session do not count: they have more in common than their columns.
    """
    some = evenly(len(x), MOST_EVENTS)
    more = len(x) / len(some)
    x, hits, odds, sessions = x[some], hits[some], odds[some], sessions[some]
    read = np.isfinite(precision)
    place = likeness_of(x[:, :-1]).astype(np.float32)
    squares = (place**2).sum(axis=1)
    base = x if read else np.ones((len(x), 1))
    residual = (hits - softmax(odds)) @ directions
    if not read:
        residual = residual - residual.mean(axis=0)
    turned, spent, product = np.zeros(base.shape), 0.0, np.zeros(len(weights))
    single, both = base.astype(np.float32), residual.astype(np.float32)
    for start in range(0, len(x), BLOCK):
        b = slice(start, start + BLOCK)
        alike = np.exp(-np.maximum(squares[b, None] + squares[None] - 2 * (place[b] @ place.T), 0))
        alike[sessions[b, None] == sessions[None]] = 0
        turned[b] = alike @ single
        spent += float((alike**2).sum(dtype=np.float64))
        product += (residual[b] * (alike @ both)).sum(axis=0)
    gram, middle, outer = more * base.T @ base, base.T @ turned, turned.T @ turned
    prior = (precision if read else 0.0) * np.eye(base.shape[1])
    estimate, error = np.zeros((2, len(weights)))
    for k, w in enumerate(weights):
        hat = w * np.linalg.inv(w * gram + prior)  # the fit moves with the outcomes by base @ hat @ base.T
        size = spent - 2 * more * (outer * hat).sum() + more**2 * ((hat @ middle @ hat) * middle).sum()
        size = max(float(size), 1e-9)
        estimate[k] = (product[k] + w * (hat * middle).sum()) / (w**2 * size)
        error[k] = np.sqrt(2 / size) / w
    return estimate, error


def expected_square(estimate: Floats, error: Floats) -> Floats:
    """What is to be expected of a mean square with such an estimate and standard error, if every value from 0 on was as likely before."""
    from scipy.stats import norm

    at = estimate / error
    return np.asarray(estimate + error * np.exp(norm.logpdf(at) - norm.logcdf(at)))


def doubt(x: Floats, hits: Floats, odds: Floats, sessions: Labels, weights: Floats, directions: Floats, precision: float) -> Floats:
    """The variance of a forecast by `odds` beyond that of its coefficients, ``(classes - 1,)``; arguments as of `left_out`.

    Where something was read, that is the whole law unless more than one standard error says otherwise. Where nothing was, what would not
    have shown counts, too: no effect was found is not that there is none.
    """
    estimate, error = left_out(x, hits, odds, sessions, weights, directions, precision)
    if np.isfinite(precision) and (estimate / error).sum() <= np.sqrt(len(error)):
        return np.zeros(len(error))
    return expected_square(estimate, error)
