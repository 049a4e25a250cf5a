"""What pairs of like events tell of the part of a law that a reader leaves out, and that an interval has room for it."""

from __future__ import annotations

import numpy as np
import pytest

from engine.retrieval import misfit
from engine.retrieval.misfit import expected_square, left_out
from engine.retrieval.reader import Spread, curvature_of, fit_effect, ridge
from engine.retrieval.reference import centred, softmax

PER_SESSION = 15


def drawn(n: int, line: float, bend: float, seed: int, *, d: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns, the last constant; true log odds, of which `line` is linear and `bend` is not; labels; sessions."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    size = np.sqrt(2 / 3) * np.array([1.0, 0.0, -1.0])  # the mean square along either direction is near half
    odds = line * x[:, :1] * size + bend * (x[:, 1:2] * x[:, 2:3]) * size
    p = softmax(odds)
    y = (rng.random(n)[:, None] > p.cumsum(axis=1)[:, :2]).sum(axis=1)
    return np.column_stack([x, np.full(n, 3.0)]), centred(odds), y, np.arange(n) // PER_SESSION


def pairs(
    x: np.ndarray, y: np.ndarray, sessions: np.ndarray, odds: np.ndarray, precision: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    c = curvature_of(softmax(odds))
    return *left_out(x, np.eye(3)[y], odds, sessions, c.weights, c.directions, precision), c.directions


def fitted(x: np.ndarray, y: np.ndarray, precision: float) -> np.ndarray:
    values, axes = np.linalg.eigh(x.T @ x)
    return x @ ridge(x, np.zeros((len(x), 3)), np.eye(3)[y], Spread(axes, np.maximum(values, 0), precision), np.zeros((x.shape[1], 3)))


def test_where_nothing_is_the_error_is_that_of_the_estimate() -> None:
    found = []
    for seed in range(40):
        x, _, y, sessions = drawn(300, 0.0, 0.0, seed)
        estimate, error, _ = pairs(x, y, sessions, np.zeros((300, 3)), np.inf)
        found.append(estimate / error)
    assert abs(np.mean(found)) < 0.35
    assert 0.75 < np.std(found) < 1.25


def test_a_line_whose_prior_holds_leaves_nothing_out() -> None:
    """Its shrinkage is known from the coefficients, and is not counted here again."""
    found = []
    for seed in range(20):
        x, odds, y, sessions = drawn(400, 0.9, 0.0, seed)
        precision = 6 / odds.var(axis=0).sum()
        estimate, error, _ = pairs(x, y, sessions, fitted(x, y, precision), precision)
        found.append(estimate / error)
    assert abs(np.mean(found)) < 0.5


def test_what_no_line_says_is_seen_by_pairs() -> None:
    signals, squares, estimates = [], [], []
    for seed in range(6):
        x, odds, y, sessions = drawn(1200, 0.0, 1.0, seed, d=3)
        signals.append(fit_effect(x, np.zeros((1200, 3)), y, sessions, sessions % 5)[0].signal)
        estimate, error, along = pairs(x, y, sessions, np.zeros((1200, 3)), np.inf)
        squares.append(((odds @ along) ** 2).mean(axis=0).sum())
        estimates.append(estimate.sum())
        assert (estimate / error).sum() > 2
    assert max(signals) < 0.03, "a line says nothing of it"
    # Likeness is smooth: of a law that is not, a part is seen.
    assert 0.3 < np.mean(estimates) / np.mean(squares) < 1.3


def test_a_long_history_is_judged_by_some_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _, y, sessions = drawn(1000, 0.9, 0.0, 3)
    odds, c = fitted(x, y, 5.0), 5.0
    whole = pairs(x, y, sessions, odds, c)
    monkeypatch.setattr(misfit, "BLOCK", 137)
    np.testing.assert_allclose(pairs(x, y, sessions, odds, c)[0], whole[0], rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(misfit, "MOST_EVENTS", 500)
    some = pairs(x, y, sessions, odds, c)
    assert (some[1] > 1.7 * whole[1]).all()
    assert (np.abs(some[0] - whole[0]) < 3 * some[1]).all()


def test_what_is_expected_of_a_square() -> None:
    got = expected_square(np.array([0.0, 5.0, -20.0]), np.ones(3))
    assert got[0] == pytest.approx(np.sqrt(2 / np.pi))
    assert got[1] == pytest.approx(5, abs=1e-4)
    assert 0 < got[2] < 0.06
