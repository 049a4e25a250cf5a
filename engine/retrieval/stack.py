"""The stack: log odds of several views of a vector, weighed by what each adds beyond the reference on sessions left out.

Views are the reader (linear), one of the wall features alone, attention over the windows, and gradient-boosted trees (interactions). Each
is cross-fitted; a query gets the mean of the fits. How far they are followed is the reader's own rule (`fit_effect`): the columns are the
views' log odds, their prior is normal with one variance, and nothing is added unless that is better on sessions left out by more than two
standard errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.retrieval.attention import Attention, Layout, attention_from_json, fit_attention, layout_of, ordered_mean
from engine.retrieval.reader import (
    Effect,
    Reader,
    Reading,
    by_row,
    effect_from_json,
    effect_json,
    fit_effect,
    fit_reader,
    reader_from_json,
)
from engine.retrieval.reference import Reference, centred
from engine.retrieval.scores import Floats, Labels

if TYPE_CHECKING:
    from lightgbm import Booster

    from engine.retrieval.events import Events

View = Literal["reader", "wall", "attention", "trees"]

VIEWS: dict[str, tuple[View, ...]] = {"attention": ("attention",), "stack": ("reader", "wall", "attention", "trees")}
"""Views of each recipe; `wall` where vectors have wall features."""

ERRORS = 2.0
"""Standard errors by which the views must be better than nothing: of few columns one is passed by chance in one sample of six."""

SPANS = (0.375, 1.0)
"""Shares of the windows, the last ones, whose mean the trees see beside the bins: 45 s and 120 s of 24 windows of 5 s."""

STEPS = 63
"""Values at which the trees split a column, a quarter of the usual: as good in a third of the time."""

ROUNDS, ROUNDS_OF_MANY, MANY = 150, 300, 3000
"""Trees of a fit, of a fit on more than `MANY` events."""


def boosted(x: Floats, y: Labels, classes: int, seed: int, *, offset: Floats | None = None, steps: int = 255) -> Booster:
    """Shallow gradient-boosted trees (LightGBM) of table ``x``; with `offset` ``(n, classes)`` what they add to these log odds.

    Columns are split at `steps` values at most.
    """
    import lightgbm

    # Shallow trees, a low learning rate and strong regularisation: on hundreds of events anything larger loses to the reference.
    options = {"learning_rate": 0.03, "num_leaves": 7, "min_data_in_leaf": 30, "lambda_l2": 5.0}
    sampled = {"feature_fraction": 0.5, "bagging_fraction": 0.7, "bagging_freq": 1, "seed": seed}
    fixed = {"objective": "multiclass", "num_class": classes, "verbosity": -1, "num_threads": 1, "deterministic": True}
    table = lightgbm.Dataset(x, y, init_score=offset, params={"max_bin": steps})
    return lightgbm.train(
        {**options, **sampled, **fixed, "max_bin": steps}, table, num_boost_round=ROUNDS if len(x) < MANY else ROUNDS_OF_MANY
    )


def tree_table(layout: Layout, scaled: NDArray[np.float32], covariates: Floats) -> Floats:
    """What the trees see of normalised vectors ``(n, d)``: bins, means of the `SPANS`, the rest, and the reference's covariates."""
    x, _ = layout.split(scaled)
    steps = x.shape[1]
    firsts = [steps - max(round(s * steps), 1) for s in SPANS] if steps else []
    spans = [ordered_mean([x[:, t] for t in range(first, steps)]) for first in firsts]
    return np.column_stack([layout.flat(scaled), *spans, covariates]).astype(float)


@dataclass(frozen=True, eq=False)
class Stack:
    """A fitted stack.

    Attributes
    ----------
    views : tuple of str
    attention : Attention
    wall : Reader or None
        The reader of the wall features alone, where that is a view: beside three hundred other dimensions their weights shrink with theirs.
    wall_columns : int64 ``(m,)``
        The dimensions that it reads.
    trees : tuple of str
        The boosters' texts, one per group left out; empty without the view.
    effect : Effect
        What the views' centred log odds, side by side, add to the reference's.
    """

    views: tuple[View, ...]
    attention: Attention
    wall: Reader | None
    wall_columns: Labels
    trees: tuple[str, ...]
    effect: Effect

    @cached_property
    def boosters(self) -> list[Booster]:
        """The trees."""
        import lightgbm

        return [lightgbm.Booster(model_str=text) for text in self.trees]

    def columns(self, linear: Mapping[str, Floats], scaled: NDArray[np.float32], covariates: Floats) -> Floats:
        """The views' centred log odds by fit, ``(fits, q, views * classes)``; `linear` is what `reader` and `wall` add to the usual."""
        parts = {"attention": self.attention.added(scaled)}
        if "trees" in self.views:
            table = tree_table(self.attention.layout, scaled, covariates)
            parts["trees"] = np.stack([_raw(b, table, self.attention.classes) for b in self.boosters])
        parts |= {k: np.repeat(v[None], len(self.attention.nets), axis=0) for k, v in linear.items()}
        return np.concatenate([centred(parts[v]) for v in self.views], axis=2)

    def added(self, columns: Floats) -> Floats:
        """Log odds that the stack adds to the reference's, ``(q, classes)``, from `columns`."""
        return by_row(columns.mean(axis=0), self.effect.coef)

    def read(self, reader: Reader, reference: Reference, queries: Events, scaled: NDArray[np.float32], known: NDArray[np.bool_]) -> Reading:
        """What the stack says of queries, of whose normalised vectors ``(q, d)`` only those `known` are read.

        The covariance is the reader's alone; how far the stack is from it is counted as noise (`engine.retrieval.model.fit`). The spread of
        the five fits about their mean tells nothing of what all of them leave out.
        """
        there = np.where(known[:, None], scaled, 0).astype(np.float32)
        readings = {"reader": reader.read(self.attention.layout.flat(scaled), queries, reference, known)}
        if self.wall is not None:
            readings["wall"] = self.wall.read(scaled[:, self.wall_columns], queries, reference, known)
        pi = reference.predict(queries)
        base = np.log(np.maximum(pi, 1e-12))
        columns = self.columns({k: r.odds - base for k, r in readings.items()}, there, queries.covariates)
        first = readings["reader"]
        odds = np.where(known[:, None], base + self.added(columns), first.odds)
        return Reading(odds, first.own, first.usual)

    def to_json(self) -> dict[str, Any]:
        """All fields, arrays as lists."""
        fitted = {"attention": self.attention.to_json(), "trees": list(self.trees), "effect": effect_json(self.effect)}
        wall = {"wall": None if self.wall is None else self.wall.to_json(), "wall_columns": self.wall_columns.tolist()}
        return {"views": list(self.views), **wall, **fitted}


def stack_from_json(value: dict[str, Any], names: Sequence[str]) -> Stack:
    """The stack of a `Stack.to_json` value, for vectors with dimensions `names`."""
    wall = None if value["wall"] is None else reader_from_json(value["wall"])
    attention, at = attention_from_json(value["attention"], names), np.array(value["wall_columns"], np.int64)
    return Stack(tuple(value["views"]), attention, wall, at, tuple(value["trees"]), effect_from_json(value["effect"]))


def fit_stack(
    views: tuple[View, ...], events: Events, scaled: NDArray[np.float32], labels: Labels, pi: Floats, read: Floats, reference: Reference,
    group: Labels,
) -> tuple[Stack, Floats]:  # fmt: skip
    """The stack of `views` fitted on history, and history's cross-fitted log odds ``(n, classes)``.

    `scaled` are history's normalised vectors, `pi` its cross-fitted forecasts of the `reference`, `read` the reader's cross-fitted log
    odds, `group` the cross-fitting groups. The view `wall` is left out where vectors have no features of that name besides others.
    """
    from engine.features.vector import WALL

    layout, offset, classes = layout_of(events.names), np.log(np.maximum(pi, 1e-12)), pi.shape[1]
    at = np.array([i for i, n in enumerate(events.names) if n in WALL], np.int64)
    if not 0 < len(at) < len(events.names):
        views = tuple(v for v in views if v != "wall")
    attention, deep = fit_attention(layout, scaled, labels, offset, group)
    parts, texts, wall = {"reader": read - offset, "attention": deep}, [], None
    if "wall" in views:
        wall, odds = fit_reader(events, scaled[:, at], labels, pi, reference, group)
        parts["wall"] = odds - offset
    if "trees" in views:
        table, grown = tree_table(layout, scaled, events.covariates), np.zeros_like(deep)
        for g in np.unique(group):
            out = group == g
            booster = boosted(table[~out], labels[~out], classes, int(g), offset=offset[~out], steps=STEPS)
            grown[out] = _raw(booster, table[out], classes)
            texts.append(booster.model_to_string())
        parts["trees"] = grown
    columns = np.concatenate([centred(parts[v]) for v in views], axis=1)
    effect, added = fit_effect(columns, offset, labels, events.session_codes, group, errors=ERRORS)
    return Stack(views, attention, wall, at, tuple(texts), effect), offset + added


def _raw(booster: Booster, table: Floats, classes: int) -> Floats:
    return np.asarray(booster.predict(table, raw_score=True), float).reshape(len(table), classes)
