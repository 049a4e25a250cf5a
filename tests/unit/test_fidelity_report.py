"""The report's plots and its one file, from frames alone."""

import math
import re

import holoviews as hv
import numpy as np
import polars as pl
import pytest

from engine.simulate.fidelity import GATES, LAGS, Facts, curves, gate_table, pool
from workbench.reports.fidelity import fact, fidelity_layout, sign_acf, write_report


def session(shift: float) -> Facts:
    rng = np.random.default_rng(int(10 * shift))
    values = {g.fact: (0.5 if g.low is None else g.low) + shift for g in GATES}
    values |= {"messages_per_s": 100.0, "trades_per_s": 1.0, **{f"response_{k}": 0.1 * k for k in range(1, 5)}, "crossed": 0.0}
    return Facts("ESU5", 0, 1, values, LAGS**-0.5, np.arange(13.0), rng.normal(size=2000))


@pytest.fixture(scope="module")
def made():
    facts = [session(0.01), session(0.02)]
    pooled = pool(facts)
    return facts, pooled, gate_table(pooled), curves(facts, pooled)


def test_curves_hold_what_was_measured(made):
    facts, pooled, _, frames = made
    acf = frames["sign_acf"]
    assert acf["fitted"].to_numpy() == pytest.approx(LAGS**-0.5)
    density = frames["returns"]
    assert (density["density"] * 0.25).sum() == pytest.approx(1.0)
    assert frames["intraday"]["messages_per_s"].to_list() == list(range(13))
    sessions = frames["sessions"]
    assert sessions.height == 2 * len(GATES)
    spread = sessions.filter(pl.col("fact") == "spread_share")
    assert spread["value"].to_list() == [f.values["spread_share"] for f in facts]
    assert spread["pooled"].to_list() == [pooled["spread_share"]] * 2
    assert spread["low"].to_list() == [0.98, 0.98]


def test_each_fact_has_its_plot_with_gate_and_pooled_value(made):
    frames = made[3]
    layout = fidelity_layout(frames)
    assert len(layout) == 4 + len(GATES)
    part = frames["sessions"].filter(pl.col("fact") == "ofi_r2")
    lines = [e.data for e in fact(part) if isinstance(e, hv.HLine)]
    assert lines == [part["pooled"][0], 0.5, 0.8]


def test_what_is_not_positive_has_no_place_in_the_log():
    frame = pl.DataFrame({"lag": [10.0, 20.0, 40.0], "measured": [0.1, -0.01, 0.02], "fitted": [0.1, 0.05, 0.02]})
    points = next(e for e in sign_acf(frame) if isinstance(e, hv.Scatter))
    assert points.dimension_values(0).tolist() == [10.0, 40.0]


def test_the_report_is_one_file_that_asks_no_network(made, tmp_path):
    _, _, gates, frames = made
    path = tmp_path / "report.html"
    worse = gates.with_columns(
        value=pl.when(pl.col("fact") == "ofi_r2").then(math.nan).otherwise(pl.col("value")), holds=pl.col("fact") != "ofi_r2"
    )
    write_report(path, "a <b> & c", "2 sessions", worse, frames)
    page = path.read_text()
    assert "a &lt;b&gt; &amp; c" in page
    assert page.count("does not hold") == 1
    assert "not measurable" in page
    assert not re.search(r"<script[^>]*\ssrc=|<link\b", page)
    assert page.count("<tr>") == 1 + len(GATES)
