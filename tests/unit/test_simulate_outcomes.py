"""The outcome table's arithmetic, the diffusion it is compared with, and one simulated session."""

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest

from engine.simulate.outcomes import expected_shares, shares, touches


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


def test_a_session_has_touches_whose_outcomes_are_known():
    frame = touches(dt.date(2025, 9, 3), 5, 0.05, 1.0)
    assert frame.height >= 5
    assert set(frame["outcome"]) <= {"break", "reject", "chop"}
    assert set(frame["regime"]) <= {"hold", "absorb", "pull", "spoof", "chop"}
    same = frame.filter(pl.col("by_mid").is_in(["break", "reject"]) & (pl.col("outcome") != "chop"))
    assert (same["outcome"] == same["by_mid"]).mean() > 0.8
