import math

import numpy as np
import pytest

from engine.simulate.oracle import Law, draw, population_log_loss, posterior, weights


def test_paths_have_the_law_they_say():
    law = Law()
    x = draw(law, 4000, 1).paths
    assert abs(x.mean()) < 0.02
    assert x.std() == pytest.approx(1.0, abs=0.02)
    assert (x[:, 1:] * x[:, :-1]).mean() == pytest.approx(law.persistence, abs=0.02)
    assert (x[..., 0] * x[..., 1]).mean() == pytest.approx(law.correlation, abs=0.03)


def test_scores_have_unit_variance():
    law = Law()
    s = np.einsum("ntf,ktf->nk", draw(law, 8000, 2).paths, weights(law))
    assert s.std(axis=0) == pytest.approx([1.0, 1.0], abs=0.03)


def test_no_path_tells_anything_at_strength_zero():
    law = Law(strength=0.0)
    entropy = -sum(p * math.log(p) for p in law.priors)
    assert draw(law, 50, 3).bayes_log_loss() == pytest.approx(entropy)
    assert population_log_loss(law) == pytest.approx(entropy)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_the_bayes_log_loss_is_the_posteriors_own(strength):
    law = Law(strength=strength)
    s = draw(law, 20_000, 4)
    losses = -np.log(s.posterior[np.arange(len(s.labels)), s.labels])
    error = losses.std() / math.sqrt(len(losses))
    assert losses.mean() == pytest.approx(s.bayes_log_loss(), abs=4 * error)
    entropies = -(s.posterior * np.log(s.posterior)).sum(axis=1)
    assert s.bayes_log_loss() == pytest.approx(population_log_loss(law), abs=4 * entropies.std() / math.sqrt(len(losses)))


def test_draws_repeat_and_posteriors_are_recomputed_alike():
    a, b = draw(Law(), 200, 5), draw(Law(), 200, 5)
    assert np.array_equal(a.paths, b.paths)
    assert np.array_equal(a.labels, b.labels)
    assert not np.array_equal(a.paths, draw(Law(), 200, 6).paths)
    assert np.allclose(posterior(Law(), a.paths), a.posterior)
    assert a.posterior.sum(axis=1) == pytest.approx(np.ones(200))
    assert a.sessions[0] == 0
    assert a.sessions[-1] == 9
