"""Search and posterior against a twin that does both over plain lists."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import NoData
from engine.retrieval.embedding import fit_normaliser, normaliser_from_json, unit
from engine.retrieval.search import make_pool, search
from engine.retrieval.tune import effective_number, posterior, shares, weighted_mean, weighted_quantile, weights_of
from tests.reference import retrieval_twin as twin
from tests.support.retrieval import tier_a, with_columns


def small_pool(seed: int, n: int, days: int, dims: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(n, dims)).astype(np.float32))
    return vectors, np.sort(rng.integers(0, days, n)), rng.integers(0, max(n // 2, 1), n)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 80),
    days=st.integers(1, 12),
    k=st.integers(1, 30),
    cap=st.integers(1, 4),
    own=st.booleans(),
)
def test_search_is_the_twin(seed: int, n: int, days: int, k: int, cap: int, own: bool) -> None:
    vectors, sessions, episodes = small_pool(seed, n, days)
    pool = make_pool(vectors, sessions, episodes)
    day = int(sessions[n // 2])
    start, end = pool.span(day) if own else (0, pool.before(day))
    rows, similarity = search(pool, vectors[: min(n, 4)], k, start, end, cap=cap, without=own)
    allowed = [(s != day if own else s < day) for s in sessions]
    for q in range(min(n, 4)):
        expected = twin.neighbours(vectors[q].astype(float), vectors.astype(float).tolist(), sessions, episodes, allowed, k, cap)
        found = rows[q][rows[q] >= 0]
        assert len(found) == len(expected)
        # Two rows may be alike to float32; their order is then nobody's to say.
        np.testing.assert_allclose(similarity[q][: len(found)], [s for _, s in expected], atol=1e-6)
        if len({round(s, 5) for _, s in expected}) == len(expected):
            assert found.tolist() == [i for i, _ in expected]
        assert not any(sessions[i] == day for i in found)


def test_caps_hold_where_one_episode_crowds_the_top() -> None:
    # 500 near copies of the query in one episode, 500 in one session, and 40 others far less alike.
    rng = np.random.default_rng(0)
    near = np.tile([[1.0, 0.0]], (1000, 1)) + rng.normal(0, 1e-3, (1000, 2))
    far = np.tile([[1.0, 1.0]], (40, 1)) + rng.normal(0, 1e-2, (40, 2))
    vectors = unit(np.concatenate([near, far]).astype(np.float32))
    sessions = np.concatenate([np.zeros(500, int), np.ones(500, int), 2 + np.arange(40)])
    episodes = np.concatenate([np.zeros(500, int), 1 + np.arange(540)])
    rows, _ = search(make_pool(vectors, sessions, episodes), vectors[:1], 50, 0, 1040, cap=3)
    found = rows[0][rows[0] >= 0]
    assert np.bincount(sessions[found]).tolist() == [1, 3, *[1] * 40]
    assert len(np.unique(episodes[found])) == len(found)


def test_levels_at_one_price_are_one_episode() -> None:
    """Two levels at one price at one moment, one of them again later: three rows of one market. Another price, way or day is another."""
    place = [
        ("2025-10-01", "approach_up", 100, -2, "pm_high/1"),
        ("2025-10-01", "approach_up", 100, -2, "on_high/1"),
        ("2025-10-01", "approach_up", 105, -1, "on_high/1"),
        ("2025-10-01", "approach_up", 105, -3, "pm_high/2"),
        ("2025-10-01", "approach_down", 100, -2, "or_low/1"),
        ("2025-10-02", "approach_up", 100, -2, "pm_high/3"),
    ]
    events, _ = tier_a(len(place), 1.0, 1, per_session=len(place))
    columns = ("session_date", "approach", "window_end_ts_ns", "distance_ticks", "episode_id")
    found = with_columns(events, *(pl.Series(c, [r[i] for r in place]) for i, c in enumerate(columns))).episode_codes
    assert found[0] == found[1] == found[2]
    assert len(set(found.tolist())) == 4


def test_zero_and_nan_queries_find_nothing() -> None:
    vectors, sessions, episodes = small_pool(1, 30, 5)
    queries = np.vstack([np.zeros(6), np.full(6, np.nan), vectors[0]]).astype(np.float32)
    rows, similarity = search(make_pool(vectors, sessions, episodes), queries, 5, 0, 30, cap=3)
    assert (rows[:2] == -1).all()
    assert (similarity[:2] == 0).all()
    assert (rows[2] >= 0).any()


def test_a_similarity_depends_on_no_other_row() -> None:
    vectors, sessions, episodes = small_pool(2, 3000, 60, 64)
    queries = vectors[::50]
    whole = search(make_pool(vectors, sessions, episodes), queries, 20, 0, 2000, cap=3)
    less = search(make_pool(vectors[:2000], sessions[:2000], episodes[:2000]), queries, 20, 0, 2000, cap=3)
    one = search(make_pool(vectors, sessions, episodes), queries[7:8], 20, 0, 2000, cap=3)
    for a, b in zip(whole, less):
        assert a.tobytes() == b.tobytes()
    for a, b in zip(whole, one):
        assert a[7:8].tobytes() == b.tobytes()


def test_normalisation_is_the_twin() -> None:
    rng = np.random.default_rng(3)
    history = rng.normal(size=(41, 5)).astype(np.float32)
    history[:, 2] = 7.0  # no spread at all
    history[:30, 3] = 1.0  # most are the same: MAD 0
    queries = np.vstack([rng.normal(size=(4, 5)), [100.0, -100.0, 9.0, 9.0, 0.0]]).astype(np.float32)
    fitted = fit_normaliser(history, 8.0)
    expected = twin.normalised(queries.astype(float).tolist(), history.astype(float).tolist(), 8.0)
    np.testing.assert_allclose(unit(fitted.scale(queries)), expected, atol=1e-5)
    assert (fitted.scale(queries)[:, 2:4] == 0).all()
    again = normaliser_from_json(fitted.to_json(list("abcde")), list("abcde"))
    assert again.median.tobytes() == fitted.median.tobytes()
    assert again.mad.tobytes() == fitted.mad.tobytes()


def test_normalisation_passes_over_rows_that_are_not_finite_and_refuses_none() -> None:
    rows = np.array([[1.0, 2.0], [np.nan, 0.0], [3.0, 4.0], [np.inf, 1.0]], np.float32)
    assert fit_normaliser(rows).median.tolist() == [2.0, 3.0]
    with pytest.raises(NoData, match="found none"):
        fit_normaliser(rows[[1, 3]])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 40), power=st.sampled_from([0.0, 1.0, 7.0]), alpha=st.sampled_from([0.5, 20.0]))
def test_posterior_is_the_twin(seed: int, k: int, power: float, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    similarity = np.sort(rng.uniform(-0.2, 1, k))[::-1]
    labels, pi = rng.integers(0, 3, k), rng.dirichlet(np.ones(3))
    # Power 0 of what is not similar at all would be a weight of 1: those are no neighbours, and never reach the weights.
    similarity = similarity[similarity > 0]
    labels = labels[: len(similarity)]
    expected, n_eff = twin.posterior(list(enumerate(similarity)), labels, pi, power, alpha)
    w = weights_of(similarity[None], power)
    found = posterior(shares(w, labels[None], 3), effective_number(w), pi[None], alpha)
    np.testing.assert_allclose(found[0], expected, atol=1e-12)
    np.testing.assert_allclose(effective_number(w)[0], n_eff, atol=1e-9)
    np.testing.assert_allclose(found.sum(), 1.0)


def test_no_neighbours_leave_the_reference() -> None:
    w = np.zeros((1, 5))
    pi = np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(posterior(shares(w, np.zeros((1, 5), int), 3), effective_number(w), pi, 7.0), pi)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 30), q=st.sampled_from([0.2, 0.5, 0.8]))
def test_weighted_quantile_is_the_twin(seed: int, k: int, q: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(k) < 0.2, np.nan, rng.integers(0, 6, k).astype(float))
    weights = rng.integers(0, 4, k).astype(float)
    np.testing.assert_equal(weighted_quantile(values[None], weights[None], q)[0], twin.weighted_quantile(values, weights, q))


def test_weighted_mean_passes_over_what_is_not_known() -> None:
    found = weighted_mean(np.array([[1.0, np.nan, 0.0], [np.nan, np.nan, np.nan]]), np.array([[3.0, 5.0, 1.0], [1.0, 1.0, 1.0]]))
    np.testing.assert_equal(found, [0.75, np.nan])
