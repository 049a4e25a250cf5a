"""The reference forecast pi: class probabilities given distance, volatility, activity, time, kind of level, touch number, confluence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.retrieval.scores import Floats, Labels

if TYPE_CHECKING:
    from engine.retrieval.events import Events

MIN_EVENTS = 40
"""Minimum of labelled events for a regression; below it pi is the smoothed class shares."""

STRENGTHS = (3e-4, 2e-3, 1e-2, 0.1, 1.0)
"""Inverse regularisations of the multinomial logistic regression to choose from; the first gives nearly the class shares.

An overfitted reference would give uninformed forecasts a skill: on a few hundred events without any effect, a fixed 0.05 cost 0.01 nats
against the class shares, and every forecast near them seemed better.
"""

FOLDS = 5
ARRAYS = ("prior", "fill", "centre", "spread", "coef", "intercept")


@dataclass(frozen=True, eq=False)
class Reference:
    """A fitted reference forecast.

    Attributes
    ----------
    prior : float64 ``(classes,)``
        Smoothed shares of the classes in history.
    fill, centre, spread : float64
        Substitutes for unknown covariates, and the standardisation of the design's columns.
    level_kinds : tuple of str
        Kinds of levels in history, one column each; a kind not among them has all zeros.
    coef, intercept, strength
        Of the multinomial logistic regression, with its inverse regularisation; None where history was too short.
    """

    prior: Floats
    fill: Floats
    centre: Floats
    spread: Floats
    level_kinds: tuple[str, ...]
    coef: Floats | None
    intercept: Floats | None
    strength: float

    def predict(self, events: Events) -> Floats:
        """Class probabilities, ``(n, classes)``."""
        if self.coef is None or self.intercept is None:
            return np.tile(self.prior, (len(events), 1))
        x = (design(events, self.fill, self.level_kinds) - self.centre) / self.spread
        # Clip, so that a query far outside history, such as a user's own level, is not extrapolated linearly.
        return softmax(np.clip(x, -4, 4) @ self.coef.T + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """All fields, arrays as lists."""
        arrays = {k: None if (v := getattr(self, k)) is None else v.tolist() for k in ARRAYS}
        return {**arrays, "level_kinds": list(self.level_kinds), "strength": self.strength}


def reference_from_json(value: dict[str, Any]) -> Reference:
    """The reference of a `Reference.to_json` value."""
    arrays: dict[str, Any] = {k: None if value[k] is None else np.array(value[k], float) for k in ARRAYS}
    return Reference(level_kinds=tuple(value["level_kinds"]), strength=value["strength"], **arrays)


def physical_axes(events: Events, fill: Floats) -> Floats:
    """Distance in ticks, log of the volatility, hours into the session and log of the touch number, ``(n, 4)``; unknown ones as `fill`."""
    raw = events.covariates
    distance, sigma, hours, touch, *_ = np.where(np.isfinite(raw), raw, fill).T
    return np.column_stack([distance, np.log(np.maximum(sigma, 1e-3)), hours, np.log(np.maximum(touch, 1))])


def design(events: Events, fill: Floats, kinds: tuple[str, ...]) -> Floats:
    """Columns of the regression, ``(n, m)``: functions of the covariates, unknown ones as `fill`, and one per kind of level."""
    raw = events.covariates
    c = np.where(np.isfinite(raw), raw, fill)
    distance, sigma, hours, touch, confluent, messages, trades = c.T
    kind = [(events.level_kinds == k).astype(float) for k in kinds]
    volatility, nth = np.log(np.maximum(sigma, 1e-3)), np.log(np.maximum(touch, 1))
    now = (np.log1p(np.maximum(rate, 0)) for rate in (messages, trades))
    return np.column_stack([distance, distance**2, volatility, *now, hours, hours**2, nth, np.minimum(confluent, 4), *kind])


def fit_reference(events: Events, labels: Labels, classes: int, *, strength: float | None = None) -> Reference:
    """The reference forecast fitted on labelled events of earlier sessions; those with label -1 are ignored.

    `strength` is the inverse regularisation; where None, the one of `STRENGTHS` with the least log loss on sessions left out.
    """
    known = labels >= 0
    counts = np.bincount(labels[known], minlength=classes).astype(float)
    prior = (counts + 1) / (counts.sum() + classes)
    history = events.take(known)
    raw = history.covariates
    finite = np.isfinite(raw)
    fill = np.array([float(np.median(raw[finite[:, j], j])) if finite[:, j].any() else 0.0 for j in range(raw.shape[1])])
    kinds = tuple(sorted(set(history.level_kinds.tolist())))
    if known.sum() < MIN_EVENTS or (counts > 0).sum() < classes:
        return Reference(prior, fill, np.zeros(0), np.ones(0), kinds, None, None, 0.0)
    x = design(history, fill, kinds)
    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    x, y = (x - centre) / spread, labels[known]
    chosen = strength if strength is not None else _choose(x, y, history.session_codes, classes)
    return Reference(prior, fill, centre, spread, kinds, *_logistic(x, y, classes, chosen), chosen)


def _logistic(x: Floats, y: Labels, classes: int, strength: float) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=300).fit(x, y)
    coef, intercept = model.coef_, model.intercept_
    if classes == 2:
        # scikit-learn keeps one row for two classes; the softmax of (0, score) is the same model.
        return np.vstack([np.zeros_like(coef), coef]), np.concatenate([np.zeros(1), intercept])
    return coef, intercept


def _choose(x: Floats, y: Labels, sessions: Labels, classes: int) -> float:
    group = sessions % FOLDS
    rest = [group != g for g in range(FOLDS) if (group == g).any()]
    if any(len(np.unique(y[r])) < classes for r in rest):
        return STRENGTHS[0]
    losses = []
    for strength in STRENGTHS:
        loss = 0.0
        for r in rest:
            coef, intercept = _logistic(x[r], y[r], classes, strength)
            p = softmax(np.clip(x[~r], -4, 4) @ coef.T + intercept)
            loss -= float(np.log(np.maximum(p[np.arange(len(p)), y[~r]], 1e-12)).sum())
        losses.append(loss)
    return STRENGTHS[int(np.argmin(losses))]


def softmax(scores: Floats) -> Floats:
    """Probabilities of rows of scores, ``(n, classes)``."""
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def centred(scores: Floats) -> Floats:
    """Log odds that sum to zero over the classes, the last axis."""
    return np.asarray(scores - scores.mean(axis=-1, keepdims=True))
