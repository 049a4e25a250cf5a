"""The reader: log odds of the classes read from a whole vector, given the reference forecast, with the variance of their error.

A multinomial logistic regression whose offset is the log of the reference, so that its coefficients are what the vector adds to it. Their
prior is normal with one variance, chosen by the loss on sessions left out; zero, no effect at all, unless another is better by more than
one standard error. What is known about a coefficient after the fit (Laplace's approximation: MacKay 1992) is the variance of a forecast
read from it, shrinkage included: at a weak effect most of the error is what the prior took away, which no refit on other sessions shows.
How far the law may be from such a reading, or from none, is told by `engine.retrieval.misfit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.retrieval.misfit import doubt
from engine.retrieval.reference import STRENGTHS, Reference, design, softmax
from engine.retrieval.scores import Floats, Labels, paired_error

if TYPE_CHECKING:
    from engine.retrieval.events import Events

SIGNALS = (0.02, 0.06, 0.2, 0.6, 2.0)
"""Variances of the log odds, over events, that the coefficients may have before the fit; they ascend."""

STEPS, SMALL = 30, 1e-3
"""Most steps of a fit, and the change of the coefficients, relative to the largest, below which it ends."""

CAUTION = 1.25
"""Factor on the average curvature in a step. A step that raises the loss is taken again with the bound of Boehning (1992), which cannot."""

MOST_DIMENSIONS = 400
"""Vectors of more dimensions are read in as many principal directions of history: beyond, a fit's time is that of the eigenvectors."""


def logit(p: Floats) -> Floats:
    """``ln(p / (1 - p))``, finite: p is kept within 1e-6 of 0 and 1."""
    q = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(q) - np.log1p(-q))


def by_row(x: NDArray[np.floating[Any]], matrix: Floats) -> Floats:
    """``x @ matrix``, each row on its own: the last bits of a product depend on the number of rows, and so on the other queries."""
    return np.stack([row @ matrix for row in x]) if len(x) else np.zeros((0, matrix.shape[1]))


@dataclass(frozen=True, eq=False)
class Spread:
    """The variance of log odds ``x @ coef`` whose coefficients were fitted, over queries ``x`` ``(q, d)``.

    Attributes
    ----------
    axes, values : float64 ``(d, d)``, ``(d,)``
        Eigenvectors and eigenvalues of ``x' x`` of history.
    precision : float
        One over the prior variance of a coefficient; infinite where there is no effect.
    """

    axes: Floats
    values: Floats
    precision: float

    def of(self, x: Floats, weights: Floats) -> Floats:
        """Variances ``(q, classes - 1)`` along the directions of `Curvature`, whose mean weights are `weights`."""
        if not np.isfinite(self.precision):
            return np.zeros((len(x), len(weights)))
        squares = by_row(x, self.axes) ** 2
        return np.column_stack([by_row(squares, (1 / (w * self.values + self.precision))[:, None])[:, 0] for w in weights])


@dataclass(frozen=True, eq=False)
class Curvature:
    """Mean of ``diag(p) - p p'`` over history, without its direction of zero: weights ``(classes - 1,)``, directions as columns."""

    weights: Floats
    directions: Floats


def curvature_of(p: Floats) -> Curvature:
    """The mean curvature of the log loss in the log odds at probabilities ``(n, classes)``."""
    weights, directions = np.linalg.eigh(np.diag(p.mean(axis=0)) - p.T @ p / len(p))
    return Curvature(np.maximum(weights[1:], 1e-6), directions[:, 1:])


def _gram(x: Floats) -> Floats:
    return np.asarray(x.T @ x)


def ridge(x: Floats, offset: Floats, hits: Floats, spread: Spread, start: Floats) -> Floats:
    """Coefficients ``(d, classes)``, whose rows sum to zero, with the least log loss plus ``precision / 2`` times their squares."""
    c = curvature_of(softmax(offset))
    classes = hits.shape[1]
    whole = Curvature(np.full(classes - 1, 0.5), c.directions)

    def loss(scores: Floats, coef: Floats) -> float:
        top = scores.max(axis=1, keepdims=True)
        terms = (scores * hits).sum(axis=1) - top[:, 0] - np.log(np.exp(scores - top).sum(axis=1))
        return float(-terms.sum() + 0.5 * spread.precision * (coef**2).sum())

    coef, scores = start, offset + x @ start
    now = loss(scores, coef)
    for _ in range(STEPS):
        gradient = x.T @ (hits - softmax(scores)) - spread.precision * coef
        turned = spread.axes.T @ gradient
        for of, factor in ((c, CAUTION), (whole, 1.0)):
            scaled = (turned @ of.directions) / (factor * of.weights * spread.values[:, None] + spread.precision)
            step = spread.axes @ scaled @ of.directions.T
            moved, after = coef + step, offset + x @ (coef + step)
            found = loss(after, moved)
            if found <= now:
                break
        if found > now:
            break
        coef, scores, now = moved, after, found
        if np.abs(step).max() <= SMALL * max(np.abs(coef).max(), 1e-9):
            break
    return coef


@dataclass(frozen=True, eq=False)
class Effect:
    """What columns ``x`` add to the log odds of an offset: ``x @ coef``, with its `Spread`.

    `signal` is the chosen variance of the log odds; 0 where the columns add nothing that sessions left out confirm.
    """

    coef: Floats
    spread: Spread
    signal: float


def no_effect(columns: int, classes: int) -> Effect:
    """The effect that adds nothing."""
    return Effect(np.zeros((columns, classes)), Spread(np.zeros((0, 0)), np.zeros(0), np.inf), 0.0)


def fit_effect(
    x: Floats, offset: Floats, labels: Labels, sessions: Labels, group: Labels, signals: tuple[float, ...] = SIGNALS, *, errors: float = 1.0
) -> tuple[Effect, Floats]:
    """The effect of ``x`` ``(n, d)`` beyond `offset` ``(n, classes)``, and the cross-fitted log odds that it adds, ``(n, classes)``.

    `group` are the cross-fitting groups of the events (`engine.retrieval.embedding.fold_of_session`); there is no effect unless the loss on
    sessions left out is lower by more than `errors` standard errors.
    """
    n, d = x.shape
    classes = offset.shape[1]
    hits = np.eye(classes)[labels]
    folds = [group == g for g in np.unique(group)]
    grams = [_gram(x[f]) for f in folds]
    total = np.sum(grams, axis=0)
    size = max(float(np.trace(total)) / n, 1e-12)
    each = [np.linalg.eigh(total - g) for g in grams]
    starts = [np.zeros((d, classes)) for _ in folds]
    rest = [(x[~f], offset[~f], hits[~f]) for f in folds]
    none = _losses(offset, labels)
    best, best_loss, chosen, added = float(none.mean()), none, 0.0, np.zeros((n, classes))
    worse, seen = 0, dict[float, float]()
    for signal in signals:
        cross = np.zeros((n, classes))
        for i, f in enumerate(folds):
            values, axes = each[i]
            starts[i] = ridge(*rest[i], Spread(axes, np.maximum(values, 0), size / signal), starts[i])
            cross[f] = x[f] @ starts[i]
        losses = _losses(offset + cross, labels)
        seen[signal] = float(losses.mean())
        if losses.mean() < best:
            best, best_loss, chosen, added, worse = float(losses.mean()), losses, signal, cross, 0
        else:
            worse += 1
            if worse == 2:  # the loss has one minimum along the signals
                break
    if not (none - best_loss).mean() > errors * paired_error(none - best_loss, sessions):
        return no_effect(d, classes), np.zeros((n, classes))
    values, axes = np.linalg.eigh(total)
    chosen = _between(seen, chosen)
    spread = Spread(axes, np.maximum(values, 0), size / chosen)
    return Effect(ridge(x, offset, hits, spread, np.mean(starts, axis=0)), spread, chosen), added


def _between(losses: dict[float, float], best: float) -> float:
    """The signal at the vertex of the parabola, in its logarithm, through the best one's loss and those beside it; the best at the end."""
    known = sorted(losses)
    at = known.index(best)
    if not 0 < at < len(known) - 1:
        return best
    x, y = np.log(known[at - 1 : at + 2]), np.array([losses[k] for k in known[at - 1 : at + 2]])
    a, b, _ = np.polyfit(x - x[1], y, 2)
    return float(np.exp(np.clip(x[1] - b / (2 * a), x[0], x[2]))) if a > 0 else best


def _losses(scores: Floats, labels: Labels) -> Floats:
    return np.asarray(-np.log(np.maximum(softmax(scores)[np.arange(len(labels)), labels], 1e-12)))


# ----------------------------------------------------------------------------
# The reader of one target: vectors, then what differs by kind of level and on a first approach


@dataclass(frozen=True, eq=False)
class Reader:
    """A fitted reader.

    Attributes
    ----------
    centre, scale : float64 ``(d,)``
        Standardisation of normalised vectors.
    directions : float64 ``(d, m)`` or None
        Principal directions in which vectors of more than `MOST_DIMENSIONS` are read.
    vector, local : Effect
        Of the vectors; and of their log odds by kind of level, and on a first approach against a return (pooled where that adds nothing).
    kinds : tuple of str
        Kinds of levels in history.
    unit : float
        Standard deviation of the vectors' log odds in history.
    curvature : Curvature
        At the cross-fitted forecasts of history.
    events : int
        Events of history.
    usual : Spread
        Of the reference's coefficients.
    doubt : float64 ``(classes - 1,)``
        Variance, along the curvature's directions, by which the law may differ from what is read (`engine.retrieval.misfit`).
    """

    centre: Floats
    scale: Floats
    directions: Floats | None
    vector: Effect
    local: Effect
    kinds: tuple[str, ...]
    unit: float
    curvature: Curvature
    events: int
    usual: Spread
    doubt: Floats

    def _columns(self, scaled: NDArray[np.float32]) -> Floats:
        x = np.clip((scaled - self.centre) / self.scale, -6, 6)
        return _with_constant(x if self.directions is None else by_row(x, self.directions))

    def read(self, scaled: NDArray[np.float32], queries: Events, reference: Reference, known: NDArray[np.bool_]) -> Reading:
        """Log odds and their variance for queries, of whose normalised vectors ``(q, d)`` only those `known` ``(q,)`` are read."""
        pi = reference.predict(queries)
        x = np.where(known[:, None], self._columns(np.nan_to_num(scaled)), 0.0)
        first = by_row(x, self.vector.coef)
        second = _local_columns(first / self.unit, queries, self.kinds)
        odds = np.log(np.maximum(pi, 1e-12)) + first + by_row(second, self.local.coef)
        w = self.curvature.weights
        own = self.vector.spread.of(x, w) + self.local.spread.of(second, w) + self.doubt
        usual = self.usual.of(usual_columns(queries, reference), w) + 1 / (w * self.events)
        return Reading(odds, self._square(own), self._square(usual))

    def _square(self, along: Floats) -> Floats:
        d = self.curvature.directions
        return np.einsum("qk,ik,jk->qij", along, d, d)

    def to_json(self) -> dict[str, Any]:
        """All fields, arrays as lists."""
        return {
            "centre": self.centre.tolist(), "scale": self.scale.tolist(), "unit": self.unit, "events": self.events,
            "directions": None if self.directions is None else self.directions.tolist(), "kinds": list(self.kinds),
            "vector": effect_json(self.vector), "local": effect_json(self.local), "usual": _spread_json(self.usual),
            "weights": self.curvature.weights.tolist(), "curvature": self.curvature.directions.tolist(), "doubt": self.doubt.tolist(),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reading:
    """Log odds ``(q, classes)``, and the covariance ``(q, classes, classes)`` of what the vector adds to the reference's, and of that's.

    Log odds are up to a constant per row: their softmax is the forecast.
    """

    odds: Floats
    own: Floats
    usual: Floats

    @property
    def probability(self) -> Floats:
        """Forecasts ``(q, classes)``."""
        return softmax(self.odds)


@dataclass(frozen=True, eq=False)
class Interval:
    """Intervals of each class's probability and of its difference from the reference's, each ``(q, classes)``."""

    low: Floats
    high: Floats
    edge_low: Floats
    edge_high: Floats


def intervals(p: Floats, pi: Floats, reading: Reading, noise: Floats, mass: float) -> Interval:
    """Central intervals of the true probabilities about the forecasts `p` ``(q, classes)``, and of their differences from `pi`.

    The error has two parts, independent of each other: that of the reader (`Reading`), and `noise` ``(classes,)``, the mean square in
    history by which the log odds of the forecast differ from the reader's, such as those of counts of neighbours. The first is normal in
    the log odds of a class (delta method), so an interval never leaves 0 to 1. In a difference the reference's own error counts only as
    far as the forecast does not share it.
    """
    from scipy.stats import norm

    z = float(norm.ppf((1 + mass) / 2))
    eye = np.eye(p.shape[1])
    gradient = p[:, :, None] * (eye - p[:, None, :])
    of_pi = pi[:, :, None] * (eye - pi[:, None, :])
    slope = np.maximum(p * (1 - p), 1e-6)

    def variance(g: Floats, covariance: Floats) -> Floats:
        return np.einsum("qci,qij,qcj->qc", g, covariance, g)

    whole = variance(gradient, reading.own + reading.usual) / slope**2 + noise
    half = z * np.sqrt(whole)
    edge = z * np.sqrt(variance(gradient, reading.own) + variance(gradient - of_pi, reading.usual) + noise * slope**2)
    centre, difference = logit(p), p - pi
    low, high = (1 / (1 + np.exp(-(centre + side * half))) for side in (-1, 1))
    return Interval(low, high, np.maximum(difference - edge, -pi), np.minimum(difference + edge, 1 - pi))


def usual_columns(events: Events, reference: Reference) -> Floats:
    """Standardised columns of the reference's regression, ``(n, m)``; without columns where it has none, or is nearly the shares."""
    if reference.coef is None or reference.strength <= STRENGTHS[0]:
        return np.zeros((len(events), 0))
    return np.clip((design(events, reference.fill, reference.level_kinds) - reference.centre) / reference.spread, -4, 4)


def _with_constant(x: Floats) -> Floats:
    """The columns and a constant one, large against its prior: the mean of a curved function is not that function of the mean."""
    return np.column_stack([x, np.full(len(x), 3.0)])


def _local_columns(scores: Floats, events: Events, kinds: tuple[str, ...]) -> Floats:
    kind = np.array([[k == g for g in kinds] for k in events.level_kinds], float).reshape(len(events), len(kinds))
    first = np.where(np.nan_to_num(events.number("touch_number"), nan=1.0) <= 1, 0.5, -0.5)
    groups = np.column_stack([kind, first])
    return np.asarray((scores[:, :, None] * groups[:, None, :]).reshape(len(events), -1))


def fit_reader(
    events: Events, scaled: NDArray[np.float32], labels: Labels, pi: Floats, reference: Reference, group: Labels
) -> tuple[Reader, Floats]:
    """The reader fitted on history, and history's cross-fitted log odds, ``(n, classes)``.

    `scaled` are history's normalised vectors, `pi` its cross-fitted reference forecasts, `group` the cross-fitting groups.
    """
    x = scaled.astype(np.float64)
    centre, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    x = np.clip((x - centre) / scale, -6, 6)
    directions = None
    if x.shape[1] > MOST_DIMENSIONS:
        values, vectors = np.linalg.eigh(_gram(x))
        directions = vectors[:, ::-1][:, :MOST_DIMENSIONS]
        x = x @ directions
    x = _with_constant(x)
    offset = np.log(np.maximum(pi, 1e-12))
    sessions = events.session_codes
    vector, added = fit_effect(x, offset, labels, sessions, group)
    unit = max(float(added.std()), 1e-9)
    kinds = tuple(sorted(set(events.level_kinds.tolist())))
    columns = _local_columns(added / unit, events, kinds)
    if vector.signal:
        local, more = fit_effect(columns, offset + added, labels, sessions, group)
    else:
        local, more = no_effect(columns.shape[1], pi.shape[1]), np.zeros_like(added)
    odds = offset + added + more
    design_of = usual_columns(events, reference)
    values, axes = np.linalg.eigh(_gram(design_of))
    usual = Spread(axes, np.maximum(values, 0), 1 / reference.strength if reference.strength else np.inf)
    curvature = curvature_of(softmax(odds))
    said = x @ vector.coef
    whole = offset + said + _local_columns(said / unit, events, kinds) @ local.coef
    unsure = doubt(x, np.eye(pi.shape[1])[labels], whole, sessions, curvature.weights, curvature.directions, vector.spread.precision)
    return Reader(centre, scale, directions, vector, local, kinds, unit, curvature, len(events), usual, unsure), odds


def _spread_json(spread: Spread) -> dict[str, Any]:
    precision = spread.precision if np.isfinite(spread.precision) else None
    return {"axes": spread.axes.tolist(), "values": spread.values.tolist(), "precision": precision}


def effect_json(effect: Effect) -> dict[str, Any]:
    """All fields, arrays as lists."""
    return {"coef": effect.coef.tolist(), "signal": effect.signal, **_spread_json(effect.spread)}


def curvature_json(curvature: Curvature) -> dict[str, Any]:
    """All fields as lists."""
    return {"weights": curvature.weights.tolist(), "directions": curvature.directions.tolist()}


def curvature_from_json(value: dict[str, Any]) -> Curvature:
    """The curvature of a `curvature_json` value."""
    return Curvature(np.array(value["weights"], float), np.array(value["directions"], float))


def _spread_from_json(value: dict[str, Any]) -> Spread:
    axes, values = np.array(value["axes"], float), np.array(value["values"], float)
    return Spread(axes.reshape(len(values), len(values)), values, np.inf if value["precision"] is None else value["precision"])


def effect_from_json(value: dict[str, Any]) -> Effect:
    """The effect of an `effect_json` value."""
    return Effect(np.array(value["coef"], float), _spread_from_json(value), value["signal"])


def reader_from_json(value: dict[str, Any]) -> Reader:
    """The reader of a `Reader.to_json` value."""
    vector, local = (effect_from_json(e) for e in (value["vector"], value["local"]))
    return Reader(
        np.array(value["centre"], float), np.array(value["scale"], float),
        None if value["directions"] is None else np.array(value["directions"], float),
        vector, local, tuple(value["kinds"]), value["unit"],
        Curvature(np.array(value["weights"], float), np.array(value["curvature"], float)), value["events"],
        _spread_from_json(value["usual"]), np.array(value["doubt"], float),
    )  # fmt: skip
