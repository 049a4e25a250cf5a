"""The simulator: its speed, its gates at both rates, its null, and what its regimes do to outcomes."""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.bench.harness import Measure, bench, median_seconds

DATE = dt.date(2025, 9, 3)
DEMO_RATE = 0.12
DEMO_THIN = dt.time(12, 35)


@bench("simulate: order stream", bar=">= 1M messages per core-second, without encoding")
def order_stream() -> Measure:
    from engine.simulate.day import Day
    from engine.simulate.knobs import SimParams

    params = SimParams(rate=0.25)
    counts = []

    def run() -> None:
        counts.append(sum(map(len, Day(DATE, params).chunks())))

    seconds = median_seconds(run, runs=3)
    return Measure(
        counts[-1] / seconds / 1e6, "M/s", 3, f"{counts[-1]:,} records of a UTC day at rate 0.25, two contracts and their spread, merged"
    )


@bench("simulate: file", bar=">= 0.6M messages per core-second, with encoding and compression")
def whole_file() -> Measure:
    from engine.simulate.dbn import write_day
    from engine.simulate.knobs import SimParams

    counts = []
    with tempfile.TemporaryDirectory() as folder:

        def run() -> None:
            counts.append(write_day(Path(folder), Path(folder) / "truth", DATE, SimParams(rate=0.25)))

        seconds = median_seconds(run, runs=3)
    return Measure(counts[-1] / seconds / 1e6, "M/s", 3, f"{counts[-1]:,} records")


@bench("simulate: demo session", bar="<= 3 s for about 1.5M messages")
def demo_session() -> Measure:
    from engine.simulate.dbn import write_day
    from engine.simulate.knobs import SimParams

    counts = []
    with tempfile.TemporaryDirectory() as folder:
        params = SimParams(rate=DEMO_RATE, thin_after=DEMO_THIN)
        seconds = median_seconds(lambda: counts.append(write_day(Path(folder), Path(folder) / "t", DATE, params)), runs=3)
    return Measure(seconds, "s", 3, f"{counts[-1]:,} records, a whole UTC day, written")


def _gates(rate: float, seeds: int) -> Measure:
    from engine.simulate.fidelity import gate_table, pool, simulated_facts

    facts = [simulated_facts(dt.date(2025, 9, 2) + dt.timedelta(days=k % 3), 1 + k, rate) for k in range(seeds)]
    table = gate_table(pool(facts))
    missed = ", ".join(f"{r['fact']} {r['value']:.3f}" for r in table.iter_rows(named=True) if not r["holds"])
    return Measure(float(table["holds"].sum()), "gates", seeds, f"missed: {missed}" if missed else "all hold")


@bench("simulate: gates at the demo's rate", bar="13 of 13, pooled over 10 seeds x 6.5 h")
def gates_demo() -> Measure:
    return _gates(DEMO_RATE, 10)


@bench("simulate: gates at full rate", bar="13 of 13, pooled over 5 seeds x 6.5 h")
def gates_full() -> Measure:
    return _gates(1.0, 5)


@bench("simulate: null at kappa 0", bar="<= 2 of 20 seeds whose 95% AUC interval leaves out 0.5")
def null() -> Measure:
    import polars as pl

    from engine.simulate.marks import simulated_marks, told_apart

    marks = [simulated_marks(DATE, 200 + k, 0.12, 0.0) for k in range(20)]
    found = [told_apart(m, pl.concat(marks[:k] + marks[k + 1 :])) for k, m in enumerate(marks)]
    measured = [(a, se) for a, se in found if np.isfinite(a)]
    out = sum(abs(a - 0.5) > 1.96 * se for a, se in measured)
    return Measure(float(out), "seeds", len(measured), f"mean AUC {np.mean([a for a, _ in measured]):.2f}")


@bench("simulate: regimes at kappa 1", bar="told apart by their marks")
def regimes() -> Measure:
    import polars as pl

    from engine.simulate.marks import simulated_marks, told_apart

    start = time.process_time()
    marks = [simulated_marks(DATE, 300 + k, 0.12, 1.0) for k in range(8)]
    area, error = told_apart(pl.concat(marks[:4]), pl.concat(marks[4:]))
    return Measure(area, "AUC", 8, f"standard error {error:.2f}, {time.process_time() - start:.0f} s")
