"""The trend of breaks over the four conditions: equal to a plain regression, covered by its interval, and what cannot be told."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from engine.errors import ContractError
from engine.params import AuditParams
from engine.retrieval.events import Events, deal_days
from engine.retrieval.trend import TREND_COLUMNS, condition_trend
from tests.support.retrieval import tier_a, with_columns
from tests.unit.test_statistics import made


@cache
def touches(n: int) -> Events:
    """Touches from below of which nothing is known."""
    return tier_a(n, 0.0, 3)[0]


def planted(slope: float, seed: int, *, sessions: int = 30, spread: float = 0.0) -> tuple[Events, pl.DataFrame]:
    """Touches from below whose log odds of a break rise by `slope` with each open condition, by 1 with price's own move, and by a day's
    own luck of standard deviation `spread`."""
    rng = np.random.default_rng(seed)
    n = 20 * sessions
    events = touches(n)
    move = rng.integers(-1, 2, n)
    n_open = np.clip(rng.integers(0, 4, n) + (move > 0), 0, 4)
    odds = -0.5 + slope * n_open + 1.0 * move + spread * rng.normal(size=sessions)[events.session_codes]
    broke = rng.random(n) < 1 / (1 + np.exp(-odds))
    outcome = pl.Series("outcome_h1", np.where(broke, "BREAK_UP", "REJECT_DOWN").astype(object).tolist(), dtype=pl.String)
    return with_columns(events, outcome), made(n_open, move)


def up(events: Events, conditions: pl.DataFrame, placebos: int = 40) -> dict[str, float]:
    table = condition_trend(events, conditions, placebos=placebos)
    assert tuple(table.columns) == TREND_COLUMNS
    assert table["direction"].to_list() == ["up", "down"]
    return table.to_dicts()[0]


def test_the_slope_is_that_of_a_regression_with_strata_and_its_error_that_of_a_jackknife_over_sessions() -> None:
    events, conditions = planted(0.4, 1, spread=0.5)
    found = up(events, conditions)
    n_open, move = (conditions[c].to_numpy() for c in ("open", "move_ticks"))
    x = np.column_stack([n_open, move < 0, move == 0, move > 0]).astype(float)
    y = events.labels("h1") == 2

    def slope(use: np.ndarray) -> float:
        return float(LogisticRegression(C=1e6, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(x[use], y[use]).coef_[0, 0])

    codes = events.session_codes
    assert found["slope"] == pytest.approx(slope(np.ones(len(y), bool)), abs=2e-4)
    left = np.array([slope(codes != c) for c in range(30)])
    error = np.sqrt(29 / 30 * ((left - left.mean()) ** 2).sum())
    assert (found["high"] - found["low"]) / 2 == pytest.approx(2.045 * error, rel=0.08)
    assert found["smallest"] == pytest.approx((2.0452 + 0.8542) / 2.0452 * (found["high"] - found["low"]) / 2, rel=1e-3)
    assert (found["events"], found["sessions"], found["breaks"]) == (600, 30, y.sum())
    assert found["low"] > 0
    assert found["placebo_low"] < 0 < found["placebo_high"] < found["slope"]
    assert found["placebo_share"] == pytest.approx(1 / 41)


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_nineteen_intervals_in_twenty_cover_what_was_planted(slope: float) -> None:
    inside = [r["low"] <= slope <= r["high"] for r in (up(*planted(slope, s, spread=0.3), placebos=0) for s in range(200))]
    # The log odds of a mixture over days are flatter by a few hundredths than those within a day.
    assert 0.90 <= np.mean(inside) <= 0.99


def test_price_s_own_move_is_no_trend() -> None:
    """Conditions follow price, and so does what comes: within a stratum of price's move nothing is left of it."""
    misses = [up(*planted(0.0, s), placebos=0) for s in range(40)]
    assert sum(r["low"] > 0 or r["high"] < 0 for r in misses) <= 6
    events, conditions = planted(0.0, 4)
    one = conditions.with_columns(pl.lit(0, pl.Int64).alias("move_ticks"))
    assert up(events, one)["low"] > 0, "without the strata it looks like one"


def test_a_slope_of_the_smallest_size_is_seen_four_times_in_five_of_a_dozen_sessions() -> None:
    smallest = float(np.median([up(*planted(0.0, s, sessions=12, spread=0.3), placebos=0)["smallest"] for s in range(40)]))
    seen = [up(*planted(smallest, 100 + s, sessions=12, spread=0.3), placebos=0)["low"] > 0 for s in range(150)]
    assert 0.7 <= np.mean(seen) <= 0.92


def test_a_slope_of_a_handful_of_touches_is_not_told_and_strata_that_tell_nothing_are_not_counted() -> None:
    events, conditions = planted(0.4, 5)
    few = np.arange(len(events)) % 60 < 2  # twenty touches of ten sessions
    assert up(events.take(few), conditions.filter(pl.Series(few)))["slope"] is None
    with_it = pl.Series(conditions["move_ticks"].to_numpy() > 0)
    outcome = pl.select(pl.when(with_it).then(pl.lit("BREAK_UP")).otherwise(events.frame["outcome_h1"]).alias("outcome_h1")).to_series()
    found = up(with_columns(events, outcome), conditions)
    assert found["events"] == (~with_it).sum()
    assert found["breaks"] == (outcome.filter(~with_it) == "BREAK_UP").sum()


def test_what_cannot_be_told_is_null() -> None:
    events, conditions = planted(0.4, 2)
    table = condition_trend(events, conditions, placebos=5)
    assert table.to_dicts()[1] == dict.fromkeys(TREND_COLUMNS) | {"direction": "down", "events": 0, "sessions": 0, "breaks": 0}
    two = events.session_codes < 2
    assert up(events.take(two), conditions.filter(pl.Series(two)))["slope"] is None
    alike = conditions.with_columns(pl.lit(2, pl.Int64).alias("open"))
    assert up(events, alike)["slope"] is None
    never = with_columns(events, pl.lit("REJECT_DOWN").alias("outcome_h1"))
    assert up(never, conditions)["slope"] is None
    with pytest.raises(ContractError, match="expected 600 rows, found 10"):
        condition_trend(events, conditions.head(10), AuditParams())


def test_dealt_days_stay_together() -> None:
    codes = np.repeat(np.arange(6), 5)
    rows = deal_days(codes, 3)
    assert sorted(rows.tolist()) == list(range(30))
    assert codes[rows].reshape(6, 5).std(axis=1).max() == 0
    assert codes[rows].tolist() != codes.tolist()
