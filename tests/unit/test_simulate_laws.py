"""The laboratory's laws: their posteriors are exact, against plain loops and by how often outcomes come."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.simulate.laws import LAWS, ONSETS, burst_means, burst_onsets, burst_posterior, law_sample
from engine.simulate.oracle import Law, draw


def test_a_burst_is_found_by_bayes_rule_in_plain_loops() -> None:
    paths = law_sample("burst", 3, 1).paths
    lag = np.subtract.outer(np.arange(24), np.arange(24))
    across = np.full((10, 10), 0.3) + 0.7 * np.eye(10)
    inverse = np.linalg.inv(np.kron(0.7 ** np.abs(lag), across))

    def density(path: np.ndarray, mean: np.ndarray) -> float:
        apart, bare = (path - mean).ravel(), path.ravel()
        return math.exp(0.5 * (bare @ inverse @ bare - apart @ inverse @ apart))

    for path, found in zip(paths, burst_posterior(paths, 0.65)):
        means = [[0.65 * burst_means()[k, o] for o in range(ONSETS)] for k in range(2)]
        likelihood = [*(sum(density(path, m) for m in of) / ONSETS for of in means), 1.0]
        joint = [prior * value for prior, value in zip(Law.priors, likelihood)]
        np.testing.assert_allclose(found, np.array(joint) / sum(joint), rtol=1e-8)


@pytest.mark.parametrize("name", list(LAWS))
def test_outcomes_come_as_often_as_the_posterior_says(name: str) -> None:
    sample = law_sample(name, 6000, 2)
    np.testing.assert_allclose(sample.posterior.sum(axis=1), 1)
    for c in range(3):
        p = sample.posterior[:, c]
        for part in np.array_split(np.argsort(p), 5):
            error = math.sqrt(float((p[part] * (1 - p[part])).sum())) / len(part)
            assert abs((sample.labels[part] == c).mean() - p[part].mean()) < 4.5 * error
    assert law_sample(name, 50, 3).paths.tobytes() == law_sample(name, 50, 3).paths.tobytes()


@pytest.mark.parametrize("name", list(LAWS))
def test_without_strength_paths_tell_nothing(name: str) -> None:
    posterior = law_sample(name, 200, 4, strength=0.0).posterior
    np.testing.assert_allclose(posterior, np.tile(Law.priors, (200, 1)), atol=1e-12)


def test_linear_is_tier_a_and_bursts_stand_where_they_begin() -> None:
    one, two = law_sample("linear", 40, 5, strength=0.7), draw(Law(strength=0.7), 40, 5)
    assert one.paths.tobytes() == two.paths.tobytes()
    np.testing.assert_array_equal(one.labels, two.labels)
    sample, bare, onset = law_sample("burst", 400, 6), draw(Law(strength=0.0), 400, 6), burst_onsets(400, 6)
    added = np.abs(sample.paths - bare.paths).sum(axis=2) > 0
    assert [(-1 if not row.any() else int(row.argmax())) for row in added] == onset.tolist()
    np.testing.assert_array_equal(onset < 0, sample.labels == 2)
