"""When and what moved a forecast: taken away, what is named first changes it most; beside it the exact law's own importance."""

from __future__ import annotations

import numpy as np
import pytest

from engine.commands.retrieval import synthetic_events
from engine.params import RetrievalParams
from engine.retrieval.events import CLASSES, Events
from engine.retrieval.importance import Importance, importance
from engine.retrieval.model import Model, fit
from engine.retrieval.usual import MOST_EVENTS, Usual, evenly, usual_of
from engine.simulate.laws import BURST_WINDOWS, LAWS, burst_onsets

QUICK = RetrievalParams(min_events=100, min_sessions=6, tune_queries=200, k_grid=(50, 100), residual_grid=(0.1,))
BREAK, REJECT = CLASSES.index("break"), CLASSES.index("reject")
FAMILIES = ["A", "B", "A", "B", "A", "B", "C", "C", "C", "C"]
"""Families of the ten features: those of a burst before a break, before a reject, and the others."""


def families(events: Events) -> list[str]:
    return [FAMILIES[int(n.rpartition("x")[2])] for n in events.names]


def test_what_is_usual_is_the_regression_on_the_rest() -> None:
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(4000, 6)) @ (np.eye(6) + 0.15 * rng.normal(size=(6, 6))) + 2).astype(np.float32)
    usual = usual_of(x)
    for columns in ([2], [0, 4], [1, 2, 3]):
        others = [c for c in range(6) if c not in columns]
        design = np.column_stack([x[:, others], np.ones(len(x))]).astype(float)
        slopes, *_ = np.linalg.lstsq(design, x[:, columns].astype(float), rcond=None)
        for row in x[:5].astype(float):
            found = usual.without(row, np.array(columns))
            np.testing.assert_allclose(found[columns], np.append(row[others], 1) @ slopes, atol=0.15)
            np.testing.assert_array_equal(found[others], row[others])
    rows = evenly(3 * MOST_EVENTS)
    assert (rows[0], rows[-1], len(rows)) == (0, 3 * MOST_EVENTS - 1, MOST_EVENTS)
    assert evenly(3).tolist() == [0, 1, 2]


def way(model: Model, query: Events, matrix: np.ndarray) -> float:
    """Log odds of a break against a reject at a raw vector in the query's place."""
    scaled, known = model.scaled(matrix.astype(np.float32)[None])
    reading = model.reading(query, scaled, known)
    assert reading is not None
    return float(reading.odds[0, BREAK] - reading.odds[0, REJECT])


def test_taking_the_named_window_away_changes_the_forecast_most() -> None:
    made = synthetic_events(900, 1.5, 81, law="burst").data.windows
    assert made is not None
    history, queries = made.take(slice(0, 800)), made.take(slice(800, 900))
    model = fit(history, QUICK, recipe="attention")
    assert model.stack is not None
    assert model.stack.effect.signal > 0
    rest = history.matrix.astype(float)
    agreed, moved = [], []
    for i in range(20):
        query = queries.take(np.array([i]))
        found = importance(model, query, families(made))
        assert (found.families, found.cells.shape, found.windows.shape) == (("A", "B", "C"), (3, 8, 3), (8, 3))
        change = found.between(found.windows, BREAK, REJECT)
        # Taken away by a regression of its own, on the raw values of history.
        own = query.matrix[0].astype(float)
        whole, effect = way(model, query, own), []
        for b in range(8):
            columns = np.arange(b * 30, b * 30 + 30)
            others = np.setdiff1d(np.arange(240), columns)
            design = np.column_stack([rest[:, others], np.ones(len(rest))])
            ridge = design.T @ design + 20 * np.eye(design.shape[1])
            taken = own.copy()
            taken[columns] = np.append(own[others], 1) @ np.linalg.solve(ridge, design.T @ rest[:, columns])
            effect.append(whole - way(model, query, taken))
        agreed.append(np.corrcoef(change, effect)[0, 1])
        moved.append(abs(effect[int(np.abs(change).argmax())]) >= 0.8 * np.abs(effect).max())
    assert np.mean(moved) > 0.85
    assert np.mean(agreed) > 0.9


def test_a_linear_reading_is_taken_apart_exactly() -> None:
    made = synthetic_events(700, 2.0, 82).data.means
    model = fit(made.take(slice(0, 600)), QUICK)
    query = made.take(np.array([650]))
    found = importance(model, query, families(made))
    scaled, _ = model.scaled(query.matrix)
    assert model.reader is not None
    coef = model.reader.vector.coef[:-1] / model.reader.scale[:, None]
    for b in range(8):
        columns = np.arange(10 * b, 10 * b + 10)
        apart = scaled[0].astype(float) - model.usual.without(scaled[0].astype(float), columns)
        expected = apart @ coef
        np.testing.assert_allclose(found.windows[b], expected - expected.mean(), atol=0.02)


def test_what_has_no_windows_has_families_alone() -> None:
    made = synthetic_events(400, 2.0, 83).data.means
    bare = Events(made.matrix, tuple(f"w{i}_a" for i in range(len(made.names))), "wall", made.frame)
    found = importance(fit(bare, QUICK), bare.take(np.array([3])), ["w"] * 40 + ["v"] * 40)
    assert found.families == ("w", "v")
    assert found.windows.shape == (0, 3)
    assert found.whole.shape == (2, 3)
    assert np.abs(found.whole).max() > 0


# ----------------------------------------------------------------------------
# The bars: against what the exact law finds important in the same paths


def exact(law: str, paths: np.ndarray, usual: Usual) -> np.ndarray:
    """Change of the exact law's log odds of a break against a reject by each of eight bins taken away, ``(n, 8)``."""

    def odds(x: np.ndarray) -> np.ndarray:
        p = LAWS[law].posterior(x, 1.0)
        return np.log(p[:, 0]) - np.log(p[:, 1])

    whole, size = odds(paths), paths.shape[1] * paths.shape[2]
    out = []
    for columns in np.arange(size).reshape(8, -1):
        taken = np.stack([usual.without(x, columns) for x in paths.reshape(len(paths), size)])
        out.append(whole - odds(taken.reshape(paths.shape)))
    return np.stack(out, axis=1)


def compared(law: str, n: int, seed: int, asked: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """What the stack and what the exact law find important in fresh paths, each ``(asked, 8)``."""
    events = synthetic_events(n, 1.0, seed, law=law).data.windows
    fresh = synthetic_events(asked, 1.0, seed + 1, law=law)
    queries = fresh.data.windows
    assert events is not None
    assert queries is not None
    model = fit(events, RetrievalParams(), recipe="stack")
    of = families(events)

    def bins(found: Importance) -> np.ndarray:
        return found.between(found.windows, BREAK, REJECT)

    mine = np.stack([bins(importance(model, queries.take(np.array([i])), of)) for i in range(asked)])
    return mine, exact(law, fresh.sample.paths, usual_of(events.matrix))


def mean_correlation(mine: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(mine, true) if a.std() > 0]))


@pytest.mark.long
def test_bar_of_importance_where_the_law_is_linear() -> None:
    assert mean_correlation(*compared("linear", 2000, 421)) >= 0.85


@pytest.mark.long
@pytest.mark.parametrize(("n", "bar"), [(2000, 0.6), (8000, 0.75)])
def test_bar_of_importance_where_the_time_is_free(n: int, bar: float) -> None:
    mine, true = compared("burst", n, 431)
    onset = burst_onsets(len(mine), 432)

    def named(found: np.ndarray) -> float:
        top = np.abs(found).argmax(axis=1)
        touches = (onset < 3 * (top + 1)) & (onset + BURST_WINDOWS > 3 * top)
        return float(touches[onset >= 0].mean())

    assert named(mine) >= bar * named(true), (named(mine), named(true))


@pytest.mark.long
def test_bar_of_importance_where_features_interact() -> None:
    mine, true = (np.abs(v) for v in compared("xor", 8000, 441))
    got = true[np.arange(len(true)), mine.argmax(axis=1)].mean()
    assert (got - true.mean()) / (true.max(axis=1).mean() - true.mean()) >= 0.7
