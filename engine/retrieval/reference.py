"""The reference forecast pi: class probabilities given distance, volatility, activity, time, kind of level, touch number, confluence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
    coef, intercept : float64 or None
        Of the multinomial logistic regression; None where history was too short.
    strength : float
        Its inverse regularisation.
    """

    prior: NDArray[np.float64]
    fill: NDArray[np.float64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    level_kinds: tuple[str, ...]
    coef: NDArray[np.float64] | None
    intercept: NDArray[np.float64] | None
    strength: float

    def predict(self, events: Events) -> NDArray[np.float64]:
        """Class probabilities, ``(n, classes)``."""
        if self.coef is None or self.intercept is None:
            return np.tile(self.prior, (len(events), 1))
        x = (_design(events, self.fill, self.level_kinds) - self.centre) / self.spread
        # Clip, so that a query far outside history, such as a user's own level, is not extrapolated linearly.
        return _softmax(np.clip(x, -4, 4) @ self.coef.T + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """All fields, arrays as lists."""
        plain = {k: getattr(self, k).tolist() for k in ("prior", "fill", "centre", "spread")}
        more = {k: None if getattr(self, k) is None else getattr(self, k).tolist() for k in ("coef", "intercept")}
        return {**plain, **more, "level_kinds": list(self.level_kinds), "strength": self.strength}


def reference_from_json(value: dict[str, Any]) -> Reference:
    """The reference of a `Reference.to_json` value."""
    prior, fill, centre, spread = (np.array(value[k], float) for k in ("prior", "fill", "centre", "spread"))
    coef, intercept = (None if value[k] is None else np.array(value[k], float) for k in ("coef", "intercept"))
    return Reference(prior, fill, centre, spread, tuple(value["level_kinds"]), coef, intercept, value["strength"])


def _design(events: Events, fill: NDArray[np.float64], kinds: tuple[str, ...]) -> NDArray[np.float64]:
    raw = events.covariates
    c = np.where(np.isfinite(raw), raw, fill)
    distance, sigma, hours, touch, confluent, messages, trades = c.T
    kind = [(events.level_kinds == k).astype(float) for k in kinds]
    volatility, nth = np.log(np.maximum(sigma, 1e-3)), np.log(np.maximum(touch, 1))
    now = np.log1p(np.maximum(messages, 0)), np.log1p(np.maximum(trades, 0))
    return np.column_stack([distance, distance**2, volatility, *now, hours, hours**2, nth, np.minimum(confluent, 4), *kind])


def fit_reference(events: Events, labels: NDArray[np.int64], classes: int, *, strength: float | None = None) -> Reference:
    """The reference forecast fitted on labelled events of earlier sessions.

    Parameters
    ----------
    events
        History.
    labels : int64 ``(n,)``
        Class of each; -1 is ignored.
    classes
        Number of classes.
    strength
        Inverse regularisation; the one of `STRENGTHS` with the least log loss on sessions left out, where None.
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
    x = _design(history, fill, kinds)
    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    x, y = (x - centre) / spread, labels[known]
    chosen = strength if strength is not None else _choose(x, y, history.session_codes, classes)
    return Reference(prior, fill, centre, spread, kinds, *_logistic(x, y, classes, chosen), chosen)


def _logistic(
    x: NDArray[np.float64], y: NDArray[np.int64], classes: int, strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=300).fit(x, y)
    coef, intercept = model.coef_, model.intercept_
    if classes == 2:
        # scikit-learn keeps one row for two classes; the softmax of (0, score) is the same model.
        return np.vstack([np.zeros_like(coef), coef]), np.concatenate([np.zeros(1), intercept])
    return coef, intercept


def _choose(x: NDArray[np.float64], y: NDArray[np.int64], sessions: NDArray[np.int64], classes: int) -> float:
    group = sessions % FOLDS
    rest = [group != g for g in range(FOLDS) if (group == g).any()]
    if any(len(np.unique(y[r])) < classes for r in rest):
        return STRENGTHS[0]
    losses = []
    for strength in STRENGTHS:
        loss = 0.0
        for r in rest:
            coef, intercept = _logistic(x[r], y[r], classes, strength)
            p = _softmax(np.clip(x[~r], -4, 4) @ coef.T + intercept)
            loss -= float(np.log(np.maximum(p[np.arange(len(p)), y[~r]], 1e-12)).sum())
        losses.append(loss)
    return STRENGTHS[int(np.argmin(losses))]


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
