import math

import numpy as np
import polars as pl
import pytest

from engine.errors import SessionError
from engine.mbo.dbn import MboColumns, read_header, stream_columns
from engine.simulate import fidelity as c
from engine.simulate.fidelity import (
    GATES,
    LAGS,
    Facts,
    Gate,
    exponent,
    facts_of,
    file_facts,
    gate_table,
    pool,
    sign_acf,
    simulated_facts,
)
from engine.vocab import ACTION_CODES, SIDE_CODES
from tests.support.regime_marks import MARKS, auc, auc_interval, distinguishable


def columns(rows):
    """Columns from ``(ts, order, size, flags, action, side)``."""
    out = MboColumns.empty(len(rows))
    for name in ("price", "ts_recv", "ts_in_delta", "sequence", "publisher_id", "channel_id"):
        getattr(out, name)[:] = 0
    out.instrument_id[:] = 1
    for k, (ts, order, size, flags, action, side) in enumerate(rows):
        out.ts_event[k], out.order_id[k], out.size[k], out.flags[k] = ts, order, size, flags
        out.action[k], out.side[k] = ACTION_CODES[action], SIDE_CODES[side]
    return out


EVENTS = [
    (5, 1, 3, 40, "A", "B"),  # snapshot
    (10, 2, 3, 130, "A", "A"),
    (11, 9, 4, 0, "T", "B"),  # takes two prices: one trade of 6
    (11, 2, 3, 0, "F", "A"),
    (11, 9, 2, 0, "T", "B"),
    (11, 3, 2, 0, "F", "A"),
    (11, 2, 3, 0, "C", "A"),
    (11, 3, 7, 130, "M", "A"),
    (12, 1, 1, 130, "C", "B"),
    (13, 8, 1, 0, "T", "A"),  # another aggressor
    (13, 1, 1, 0, "F", "B"),
    (13, 1, 1, 130, "C", "B"),
    (14, 0, 5, 130, "T", "N"),  # implied: counts as a trade, has no sign
    (99, 4, 1, 130, "C", "B"),  # outside
]


@pytest.mark.parametrize("cut", range(1, len(EVENTS)))
def test_counts_do_not_depend_on_where_chunks_end(cut):
    counts, ids = np.zeros(c.COUNT_WORDS, np.int64), np.zeros(64, np.uint64)
    listed = []
    for part in (EVENTS[:cut], EVENTS[cut:]):
        x = columns(part)
        out = [np.zeros(len(part), np.int64) for _ in range(3)]
        n = c.count(x.ts_event, x.order_id, x.size, x.flags, x.action, x.side, 0, 50, counts, ids, *out)
        listed += [tuple(int(o[k]) for o in out) for k in range(n)]
    got = [int(counts[k]) for k in (c.ADDS, c.CANCELS, c.CARRIED, c.FILLS, c.MODIFIES, c.MESSAGES, c.N_TRADES)]
    assert got == [1, 1, 2, 3, 1, 12, 4]
    if cut not in (3, 4):  # a trade that a chunk cuts between its prices is listed as two
        assert listed == [(11, 1, 6), (13, -1, 1)]
    assert sum(t[2] for t in listed) == 7


def test_the_exponent_of_a_power_law_is_its_own():
    assert exponent(0.4 * LAGS**-0.6) == pytest.approx(0.6)
    assert math.isnan(exponent(np.full(len(LAGS), -1.0)))


def test_the_autocorrelation_of_signs_against_direct_sums():
    rng = np.random.default_rng(3)
    sign = np.repeat(rng.choice([-1.0, 1.0], 300), rng.integers(1, 60, 300))
    got = sign_acf(sign)
    edges = np.ceil(np.geomspace(10, 1001, 13)).astype(int)
    for k in (0, 5, 11):
        assert got[k] == pytest.approx(np.mean([(sign[:-lag] * sign[lag:]).mean() for lag in range(edges[k], edges[k + 1])]))
    assert np.isnan(sign_acf(sign[:1500])).all()


def test_gates_are_ranges_and_a_fact_not_measured_holds_none():
    g = Gate("x", "x", 0.4, 0.7)
    assert [g.holds(v) for v in (0.39, 0.4, 0.7, 0.71, math.nan)] == [False, True, True, False, False]


def test_a_short_simulated_session_pools_to_a_table():
    import datetime as dt

    facts = simulated_facts(dt.date(2025, 9, 3), 3, 0.04)
    assert facts.values["crossed"] == 0
    assert facts.values["spread_share"] > 0.98
    assert 0.01 < facts.values["fill_share"] < 0.05
    assert facts.values["response"] > 0
    pooled = pool([facts, facts])
    assert pooled["sigma_60s"] == pytest.approx(facts.values["sigma_60s"])
    table = gate_table(pooled)
    assert table["fact"].to_list() == [g.fact for g in GATES]
    assert table.filter(pl.col("fact") == "ofi_r2")["low"].item() == 0.3


def test_facts_of_a_real_file(real_dbn):
    facts = file_facts(real_dbn)
    assert facts.symbol == "ESH4"
    # Measured in another program on the same hours (simulator.md): spread .94, kurtosis 19, variance ratio .86, R2 .46, sign acf .41
    assert facts.values["spread_share"] == pytest.approx(0.94, abs=0.01)
    assert facts.values["variance_ratio"] == pytest.approx(0.86, abs=0.05)
    assert facts.values["ofi_r2"] == pytest.approx(0.46, abs=0.06)
    assert facts.values["crossed"] == 0


def test_too_little_of_a_market_is_an_error(real_dbn):
    header = read_header(real_dbn)
    with pytest.raises(SessionError, match="10 minutes"):
        facts_of(stream_columns(real_dbn), 17077, "ESH4", header.start_ns, header.start_ns + 60 * 10**9)
    with pytest.raises(SessionError, match="ESZ9"):
        file_facts(real_dbn, symbol="ESZ9")


def test_pooled_signs_are_fitted_after_averaging():
    def facts(acf):
        values = {g.fact: 1.0 for g in GATES}
        return Facts("ESU5", 0, 1, values, acf, np.ones(13), np.ones(5))

    both = pool([facts(LAGS**-0.5 * 2), facts(np.zeros(len(LAGS)))])
    assert both["sign_exponent"] == pytest.approx(0.5)
    assert both["crossed"] == 2.0


def test_auc_against_a_direct_count():
    rng = np.random.default_rng(1)
    score, positive = rng.normal(size=60).round(1), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[positive] for b in score[~positive]]
    area, error = auc(score, positive)
    assert area == pytest.approx(np.mean(pairs))
    assert 0.03 < error < 0.12
    assert all(map(math.isnan, auc(score, np.zeros(60, bool))))


@pytest.mark.parametrize(("n", "k"), [(7, 11), (12, 15)])
def test_the_interval_of_an_auc_leaves_out_a_half_as_seldom_as_it_says(n, k):
    rng = np.random.default_rng(6)
    positive = np.arange(n + k) < n
    intervals = [auc_interval(*auc(rng.normal(size=n + k), positive)) for _ in range(2000)]
    outside = np.mean([not low <= 0.5 <= high for low, high in intervals])
    assert 0.02 < outside < 0.06
    assert auc_interval(1.0, 0.0) == (1.0, 1.0)
    assert all(map(math.isnan, auc_interval(math.nan, math.nan)))


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.3, 0.7), (3.0, 0.93, 1.0)])
def test_regimes_are_told_apart_where_their_marks_differ(shift, low, high):
    rng = np.random.default_rng(2)
    regime = ["hold", "pull", "chop"] * 40

    def frame():
        marks = {name: rng.normal(size=120) + (shift * (np.array(regime) == "hold") if name == "wall_add" else 0) for name in MARKS}
        return pl.DataFrame({"regime": regime, "outcome": ["chop"] * 120, **marks})

    area, _ = distinguishable(frame(), frame())
    assert low <= area <= high
