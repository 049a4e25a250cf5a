"""The outcome table's arithmetic, the diffusion it is compared with, and one simulated session."""

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest

from engine.runner import spawned_pool
from engine.simulate.fidelity import fresh_sessions
from tests.support.regime_outcomes import expected_shares, same_shares, shares, touches
from tests.support.specified import SHARES, largest_sample, rejects


def test_shares_by_hand():
    frame = pl.DataFrame(
        {
            "regime": ["hold", "hold", "pull", "pull", "chop", "chop"],
            "outcome": ["reject", "break", "break", "chop", "reject", "break"],
            "by_mid": ["reject", "reject", "break", "open", "reject", "reject"],
        }
    )
    s = shares(frame)
    assert (s["break"], s["reject"], s["chop"]) == pytest.approx((1 / 2, 1 / 3, 1 / 6))
    assert s["reject_of_decided"] == pytest.approx(2 / 5)
    assert s["accuracy"] == pytest.approx(3 / 5)
    assert shares(frame, "by_mid") | {"n": 5.0} == pytest.approx(
        {"break": 0.2, "reject": 0.8, "chop": 0.0, "reject_of_decided": 0.8, "accuracy": 1.0, "n": 5.0, "n_decided": 5.0}
    )
    assert math.isnan(shares(frame.clear())["accuracy"])


def test_a_diffusion_without_drift_rejects_by_its_distances():
    assert expected_shares(0.0, 0.5)["hold"] == pytest.approx(8.5 / 16, abs=1e-4)


@pytest.mark.parametrize(("kappa", "regime"), [(1.0, "hold"), (2.0, "pull"), (1.0, "spoof")])
def test_the_diffusion_against_a_random_walk(kappa, regime):
    """Exact first passage of a walk with steps of a twentieth of a tick, by solving its linear equations."""
    xi = {"hold": 1.0, "pull": -1.0, "spoof": -0.5}[regime]
    h = 0.05
    x = np.arange(-8 + h, 8 - h / 2, h)
    up = 0.5 * (1 - np.where(np.abs(x) < 4, kappa * 0.5 * xi / 4 * h, 0.0))  # drift over variance is -kappa gamma xi / 4
    a = np.eye(len(x)) - np.diag(up[:-1], 1) - np.diag(1 - up[1:], -1)
    b = np.zeros(len(x))
    b[0] = 1 - up[0]
    reject = np.interp(-0.5, x, np.linalg.solve(a, b))
    assert expected_shares(kappa, 0.5)[regime] == pytest.approx(reject, abs=0.01)


def test_the_specified_split_moves_more_with_kappa_than_its_law_can():
    """Whatever price a touch is judged by, the split falls by a few hundredths from kappa .7 to 2; the table's falls by eleven."""
    table = {k: share for k, (share, _) in rejects().items()}
    assert table[0.7] - table[2.0] > 0.10
    for start in np.linspace(0.0, 1.5, 16):
        for gain in (1.0, 1.2):
            law = {k: expected_shares(k, 0.5, gain, start)["reject_of_decided"] for k in table}
            assert law[0.7] - law[2.0] < 0.05
    touches_per_row, start = largest_sample()
    assert 400 < touches_per_row < 1000
    assert 0.5 < start < 1.0


def test_two_samples_of_the_same_outcomes():
    """By hand: 2 x 2, 30/70 against 45/55; chi-square 200 (30 * 55 - 45 * 70)^2 / (75 * 125 * 100 * 100), less Yates' correction."""
    from scipy.stats import chi2

    by_hand = chi2.sf(200 * (abs(30 * 55 - 45 * 70) - 100) ** 2 / (75 * 125 * 100 * 100), 1)
    assert same_shares((30, 70), (45, 55)) == pytest.approx(by_hand)
    assert same_shares((30, 40, 30), (300, 400, 300)) == pytest.approx(1.0)


@pytest.mark.long
@pytest.mark.parametrize("kappa", SHARES)
def test_strength_changes_outcomes_as_specified(kappa):
    """Within sampling error of both: ours, and the most exact table that does not contradict its own law."""
    dates, seeds = fresh_sessions(16, 4000)
    n = len(seeds)
    with spawned_pool(2) as processes:
        found = pl.concat(processes.map(touches, dates, seeds, [0.15] * n, [kappa] * n))
    s = shares(found, "by_mid")
    assert s["n"] > 250
    touches_per_row, _ = largest_sample()
    counts = tuple(s[k] * s["n"] for k in ("break", "reject", "chop"))
    assert same_shares(counts, tuple(x * touches_per_row for x in SHARES[kappa])) > 0.01
    law = expected_shares(kappa, 0.5, 1.17)
    error = math.sqrt(0.25 / s["n_decided"])
    assert abs(s["reject_of_decided"] - law["reject_of_decided"]) < 3 * error
    assert abs(s["accuracy"] - law["accuracy"]) < 3 * error


def test_a_session_has_touches_whose_outcomes_are_known():
    frame = touches(dt.date(2025, 9, 3), 5, 0.05, 1.0)
    assert frame.height >= 5
    assert set(frame["outcome"]) <= {"break", "reject", "chop"}
    assert set(frame["regime"]) <= {"hold", "absorb", "pull", "spoof", "chop"}
    same = frame.filter(pl.col("by_mid").is_in(["break", "reject"]) & (pl.col("outcome") != "chop"))
    assert (same["outcome"] == same["by_mid"]).mean() > 0.8
