"""The gates of the simulator's fidelity, its null and its marks, over sessions that nothing was fitted to."""

import datetime as dt
import math

import polars as pl
import pytest

from engine.runner import spawned_pool
from engine.simulate.fidelity import (
    GATES,
    fresh_sessions,
    gate_table,
    pool,
    simulated_facts,
)
from tests.support.regime_marks import auc_interval, distinguishable, simulated_marks

FIRST_SEED = 7001


def missed(rate: float, seeds: int, kappa: float) -> list[str]:
    dates, numbers = fresh_sessions(seeds, FIRST_SEED)
    with spawned_pool(2) as processes:
        facts = list(processes.map(simulated_facts, dates, numbers, [rate] * seeds, [kappa] * seeds))
    table = gate_table(pool(facts))
    assert table["fact"].to_list() == [g.fact for g in GATES]
    return [f"{r['fact']} {r['value']:.3f}" for r in table.iter_rows(named=True) if not r["holds"]]


@pytest.mark.long
@pytest.mark.parametrize("kappa", [0.0, 1.0])
def test_every_gate_holds_at_the_demos_rate(kappa):
    """Twenty sessions: at this rate a session has 20,000 trades, and the exponent of five still varies by a quarter."""
    assert missed(0.10, 20, kappa) == []


@pytest.mark.long
def test_every_gate_holds_at_full_rate():
    assert missed(1.0, 5, 0.0) == []


def marks_of(kappa: float, seeds: int) -> list[pl.DataFrame]:
    numbers = [FIRST_SEED + k for k in range(seeds)]
    with spawned_pool(2) as processes:
        return list(processes.map(simulated_marks, [dt.date(2025, 9, 3)] * seeds, numbers, [0.10] * seeds, [kappa] * seeds))


@pytest.mark.long
def test_at_kappa_zero_no_channel_tells_the_regimes_apart():
    marks = marks_of(0.0, 20)
    found = [distinguishable(m, pl.concat(marks[:k] + marks[k + 1 :])) for k, m in enumerate(marks)]
    measured = [auc_interval(area, error) for area, error in found if math.isfinite(area)]
    assert len(measured) >= 15
    assert sum(not low <= 0.5 <= high for low, high in measured) <= 2


@pytest.mark.long
def test_at_kappa_one_each_regime_has_its_mark():
    marks = marks_of(1.0, 12)
    area, error = distinguishable(pl.concat(marks[:6]), pl.concat(marks[6:]))
    assert area - 3 * error > 0.6
    mean = {r[0]: r for r in pl.concat(marks).group_by("regime").agg(pl.col("wall_add", "wall_pull", "replenish").mean()).iter_rows()}
    adds, pulls, shown = ({regime: row[k] for regime, row in mean.items()} for k in (1, 2, 3))
    assert min(adds["hold"], adds["spoof"]) > max(adds["absorb"], adds["pull"], adds["chop"]) + 0.5
    assert pulls["pull"] > max(v for k, v in pulls.items() if k != "pull") + 1
    assert shown["absorb"] > max(v for k, v in shown.items() if k != "absorb") + 1
