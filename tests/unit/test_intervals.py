"""Intervals keep their word: the reader against independent fits, and the coverage of the truth on simulated laws."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from engine.commands.retrieval import TO_CLASSES, synthetic_events
from engine.params import HORIZONS, RetrievalParams
from engine.retrieval.difference import DifferenceParams, difference_map
from engine.retrieval.events import CLASSES
from engine.retrieval.forecast import forecast_table, lean
from engine.retrieval.horizons import horizon_references
from engine.retrieval.model import Recipe, fit, forecast
from engine.retrieval.neighbours import Fitted, find_neighbours, horizon_table
from engine.retrieval.reader import Reading, Spread, curvature_of, fit_effect, intervals, reader_from_json
from engine.retrieval.reference import softmax
from engine.retrieval.statistics import share_interval
from tests.support.retrieval import tier_a, with_columns

QUICK = RetrievalParams(residual_grid=(0.1,), tune_queries=200, k_grid=(50, 100), power_grid=(1.0, 8.0), min_events=100)


def drawn(n: int, d: int, size: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, true log odds, labels of three classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ (np.eye(d) + 0.3)
    odds = size * x @ rng.normal(size=(d, 3)) / d
    p = softmax(odds)
    return x, odds, (rng.random(n)[:, None] > p.cumsum(axis=1)[:, :2]).sum(axis=1)


def test_an_effect_is_the_ridge_of_an_independent_solver() -> None:
    x, _, y = drawn(500, 6, 2.0, 1)
    sessions = np.arange(500) // 20
    found, _ = fit_effect(x, np.zeros((500, 3)), y, sessions, sessions % 5, (0.6,))
    assert found.signal == 0.6
    twin = LogisticRegression(C=1 / found.spread.precision, fit_intercept=False, tol=1e-10, max_iter=5000).fit(x, y)
    np.testing.assert_allclose(found.coef - found.coef.mean(axis=1, keepdims=True), (twin.coef_ - twin.coef_.mean(axis=0)).T, atol=2e-3)
    assert found.spread.precision == pytest.approx((x**2).sum() / 500 / 0.6)


def test_the_variance_is_that_of_the_whole_hessian() -> None:
    x, odds, _ = drawn(300, 4, 0.5, 2)
    curvature = curvature_of(softmax(odds))
    values, axes = np.linalg.eigh(x.T @ x)
    along = Spread(axes, values, 7.0).of(x[:3], curvature.weights)
    got = np.einsum("qk,ik,jk->qij", along, curvature.directions, curvature.directions)
    # The Hessian of all coefficients at once, with the mean of diag(p) - pp' for every event.
    p = softmax(odds)
    mean = np.diag(p.mean(axis=0)) - p.T @ p / len(p)
    inverse = np.linalg.inv(np.kron(mean, x.T @ x) + 7.0 * np.eye(12))
    centre = np.eye(3) - 1 / 3  # log odds are up to a constant
    for q in range(3):
        g = np.kron(np.eye(3), x[q : q + 1])
        np.testing.assert_allclose(got[q], centre @ g @ inverse @ g.T @ centre, atol=1e-9)


def test_no_effect_is_said_where_there_is_none() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(20):
        y, sessions = rng.integers(0, 3, 300), np.arange(300) // 15
        found.append(fit_effect(rng.normal(size=(300, 20)), np.zeros((300, 3)), y, sessions, sessions % 5)[0].signal)
    assert sum(s > 0 for s in found) <= 2


def test_an_interval_holds_its_forecast_and_grows_with_noise() -> None:
    p, pi = np.array([[0.2, 0.3, 0.5]]), np.array([[0.3, 0.3, 0.4]])
    small = Reading(np.log(p), 0.1 * np.eye(3)[None], 0.02 * np.eye(3)[None])
    one, two = (intervals(p, pi, small, np.full(3, v), 0.8) for v in (0.0, 0.2))
    assert (one.low < p).all()
    assert (p < one.high).all()
    assert (two.low < one.low).all()
    assert (two.edge_high >= one.edge_high).all()
    # A binary forecast whose log odds have variance v: the half width in log odds is 1.2816 sqrt(v).
    half = np.array([[[0.25, -0.25], [-0.25, 0.25]]])
    both = intervals(np.array([[0.5, 0.5]]), np.array([[0.5, 0.5]]), Reading(np.zeros((1, 2)), half, 0 * half), np.zeros(2), 0.8)
    assert np.log(both.high / (1 - both.high))[0, 0] == pytest.approx(1.281552, abs=1e-5)
    # What forecast and reference share is no part of their difference.
    shared = intervals(pi, pi, Reading(np.log(pi), 0 * np.eye(3)[None], np.eye(3)[None]), np.zeros(3), 0.8)
    np.testing.assert_allclose(shared.edge_high, 0, atol=1e-12)


def coverage(
    n: int, strength: float, seeds: range, params: RetrievalParams, queries: int = 400, *, recipe: Recipe = "best"
) -> dict[str, float]:
    """Mean share of true probabilities within the interval: of the top class, of its difference from the usual; share that leans."""
    rows = []
    for seed in seeds:
        made = synthetic_events(n + queries, strength, seed)
        events, truth = made.data.events_for(recipe), made.sample.posterior[:, TO_CLASSES]
        model, asked = fit(events.take(slice(0, n)), params, recipe=recipe), events.take(slice(n, n + queries))
        answer = forecast(model, asked)
        assert answer.interval is not None
        i, ok = np.arange(queries), ~answer.nothing_comparable
        top, t, edge = answer.probability.argmax(axis=1), truth[n:], truth[n:] - truth.mean(axis=0)
        inside = (t >= answer.interval.low) & (t <= answer.interval.high)
        apart = (edge >= answer.interval.edge_low) & (edge <= answer.interval.edge_high)
        said = [lean(r).outcome for r in forecast_table(model, answer, asked).iter_rows(named=True)]
        right = [edge[j, CLASSES.index(c)] for j, c in enumerate(said) if c]
        rows.append((inside[i, top][ok].mean(), apart[ok].mean(), np.mean([c != "" for c in said]), np.mean(np.abs(right)) if right else 0))
    return dict(zip(("top", "edge", "leans", "size"), np.mean(rows, axis=0).tolist()))


def test_intervals_cover_the_truth() -> None:
    found = [coverage(600, s, range(1, 3), QUICK) for s in (0.5, 1.0)]
    assert 0.72 < np.mean([f["top"] for f in found]) < 0.90
    assert 0.72 < np.mean([f["edge"] for f in found]) < 0.90
    assert found[1]["leans"] > 0.25


def test_intervals_of_the_stack_cover_the_truth() -> None:
    """It knows how far it is from the reader; the spread of its fits covered .2 to .67."""
    found = coverage(600, 1.0, range(1, 2), QUICK, recipe="stack")
    assert 0.68 < found["top"] < 0.95
    assert 0.68 < found["edge"] < 0.95


@pytest.mark.long
@pytest.mark.parametrize("recipe", ["attention", "stack"])
def test_bar_of_the_coverage_of_what_may_serve(recipe: Recipe) -> None:
    """Mean over sizes and strengths; samples on which nothing was decided."""
    cases = [(n, s, seeds) for n, seeds in ((600, 12), (2000, 6)) for s in (0.5, 1.0)]
    found = [coverage(n, s, range(300, 300 + k), RetrievalParams(), 1000, recipe=recipe) for n, s, k in cases]
    for what in ("top", "edge"):
        assert 0.76 <= np.mean([f[what] for f in found]) <= 0.86, (what, found)
        assert all(0.72 <= f[what] <= 0.90 for f in found), (what, found)


def test_few_forecasts_lean_where_nothing_is_and_little() -> None:
    found = coverage(600, 0.0, range(4, 7), QUICK)
    # By the interval's own word one in five may.
    assert found["leans"] < 0.2


def test_an_effect_too_small_to_be_found_is_covered() -> None:
    """The reader finds none of it; without room for that, differences were covered in .23, and 9% of forecasts leaned."""
    found = coverage(300, 0.2, range(60, 63), QUICK, 200)
    assert found["top"] > 0.76
    assert found["edge"] > 0.76
    assert found["leans"] < 0.05


@pytest.mark.long
@pytest.mark.parametrize(("n", "seeds"), [(600, 24), (2000, 12), (8000, 4)])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_bar_of_the_coverage(n: int, seeds: int, strength: float) -> None:
    found = coverage(n, strength, range(100, 100 + seeds), RetrievalParams(), 1000)
    assert found["top"] >= 0.76, found
    assert found["edge"] >= 0.76, found
    if strength:  # without an effect an interval must hold those that would not have shown: it covers what is nothing nearly always
        assert found["top"] <= 0.86, found
        assert found["edge"] <= 0.90, found


def test_the_readers_file_is_the_reader() -> None:
    events, _ = tier_a(400, 2.0, 3)
    model = fit(events.take(slice(0, 360)), QUICK)
    assert model.reader is not None
    again = reader_from_json(json.loads(json.dumps(model.reader.to_json())))
    queries = events.take(slice(360, 400))
    scaled = model.normaliser.scale(queries.matrix)
    one, two = (r.read(scaled, queries, model.reference, queries.usable) for r in (model.reader, again))
    assert (one.odds.tobytes(), one.own.tobytes(), one.usual.tobytes()) == (two.odds.tobytes(), two.own.tobytes(), two.usual.tobytes())


def test_what_differs_by_kind_of_level_is_read_by_kind() -> None:
    # The path says something at one kind of level alone.
    events, _ = tier_a(1200, 2.0, 5)
    noise = tier_a(1200, 0.0, 6)[0].frame["outcome_h1"]
    kind = (events.frame["level_id"].str.starts_with("pm")).to_numpy()
    assert 0.2 < kind.mean() < 0.8
    mixed = with_columns(events, pl.when(pl.Series(kind)).then("outcome_h1").otherwise(noise).alias("outcome_h1"))
    model = fit(mixed.take(slice(0, 900)), QUICK)
    assert model.reader is not None
    assert model.reader.local.signal > 0
    queries = mixed.take(slice(900, 1200))
    answer = forecast(model, queries)
    away = np.abs(answer.toward - answer.reference).sum(axis=1)
    assert away[kind[900:]].mean() > 2 * away[~kind[900:]].mean()


def row(**values: float | bool | None) -> dict[str, object]:
    usual = {f"pi_{c}": 1 / 3 for c in CLASSES} | {f"p_{c}": 1 / 3 for c in CLASSES}
    edges = {f"edge_low_{c}": -0.05 for c in CLASSES} | {f"edge_high_{c}": 0.05 for c in CLASSES}
    return {"nothing_comparable": False, **usual, **edges, **values}


def test_the_verdict_in_words() -> None:
    leaning = row(p_break=1 / 3 + 0.09, edge_low_break=0.03, edge_high_break=0.15)
    assert lean(leaning).text == "leans break +9, interval 3 to 15"
    assert lean(leaning).outcome == "break"
    against = row(p_chop=1 / 3 - 0.09, edge_low_chop=-0.14, edge_high_chop=-0.04)
    assert lean(against).text == "leans against chop -9, interval -14 to -4"
    assert lean(row()).text == "no edge"
    # Beyond 0 by itself, but not where three classes were looked at.
    assert lean(row(p_break=1 / 3 + 0.09, edge_low_break=0.005, edge_high_break=0.175)).text == "no edge"
    assert lean(row(nothing_comparable=True)).text == "nothing comparable"
    assert lean(row(p_break=None)).text == "nothing comparable"


def test_shares_of_hit_rates_and_conditions_are_covered() -> None:
    rng = np.random.default_rng(8)
    inside = []
    for _ in range(300):
        # Sessions differ: the share of each is drawn about .4, which events of one session have in common.
        each = np.repeat(rng.beta(8, 12, 25), 12)
        hit = (rng.random(300) < each).astype(float)[:, None]
        low, high = share_interval(hit, np.repeat(np.arange(25), 12), 400, rng, 0.8)
        inside.append(low[0] <= 0.4 <= high[0])
    assert 0.75 < np.mean(inside) < 0.87


def test_cells_of_a_difference_map_are_covered() -> None:
    rng = np.random.default_rng(9)
    p = DifferenceParams(before_s=20, reach=4, draws=400, mass=0.8)
    inside = []
    for _ in range(60):
        sessions = np.repeat(np.arange(20), 6)
        of_session = rng.normal(size=(20, p.windows, p.rows))[sessions]
        broke = rng.random(120) < 0.5
        pressure = 0.3 * of_session + rng.normal(size=of_session.shape) + 0.5 * broke[:, None, None]
        found = difference_map(pressure, ["break" if b else "reject" for b in broke], sessions, p)
        inside.append(((found.low <= 0.5) & (found.high >= 0.5)).mean())
    assert 0.75 < np.mean(inside) < 0.87


def test_no_effect_has_its_width_at_every_horizon() -> None:
    """Where nothing was found at the horizon that everything is fitted at, nothing is known of the others either."""
    events, _ = tier_a(360, 0.0, 7)
    events = with_columns(events, *(pl.col("outcome_h1").alias(f"outcome_{h}") for h in HORIZONS if h != "h1"))
    model = fit(events.take(slice(0, 340)), QUICK, recipe="best")
    assert not model.found
    answer = find_neighbours(Fitted(model, None, "walk_forward"), events.take(slice(340, 341)), explained=False)
    rows = horizon_table(answer, model, horizon_references(model), range(60, 481, 60))
    assert set(rows["horizon"]) == set(HORIZONS)
    assert (rows["edge_high"] - rows["edge_low"]).min() > 0.04  # type: ignore[operator]
