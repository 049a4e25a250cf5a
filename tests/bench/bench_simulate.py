"""The simulator: its speed, its gates at both rates, its null, and what its regimes do to outcomes."""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.bench.harness import Measure, bench, median_seconds

DATE = dt.date(2025, 9, 3)
DEMO_RATE = 0.10
DEMO_THIN = dt.time(12, 35)


@bench("simulate: order stream", bar=">= 1M messages per core-second, without encoding")
def order_stream() -> Measure:
    from engine.params import SimParams
    from engine.simulate.day import Day

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
    from engine.params import SimParams
    from engine.simulate.dbn import write_day

    counts = []
    with tempfile.TemporaryDirectory() as folder:

        def run() -> None:
            counts.append(write_day(Path(folder), Path(folder) / "truth", DATE, SimParams(rate=0.25)))

        seconds = median_seconds(run, runs=3)
    return Measure(counts[-1] / seconds / 1e6, "M/s", 3, f"{counts[-1]:,} records")


@bench("simulate: demo session", bar="<= 3 s for about 1.5M messages")
def demo_session() -> Measure:
    from engine.params import SimParams
    from engine.simulate.dbn import write_day

    counts = []
    with tempfile.TemporaryDirectory() as folder:
        params = SimParams(rate=DEMO_RATE, thin_after=DEMO_THIN)
        seconds = median_seconds(lambda: counts.append(write_day(Path(folder), Path(folder) / "t", DATE, params)), runs=3)
    return Measure(seconds, "s", 3, f"{counts[-1]:,} records, a whole UTC day, written")


def _gates(rate: float, seeds: int) -> Measure:
    from engine.runner import spawned_pool
    from engine.simulate.fidelity import fresh_sessions, gate_table, pool, simulated_facts

    dates, numbers = fresh_sessions(seeds, 1)
    with spawned_pool(2) as processes:
        facts = list(processes.map(simulated_facts, dates, numbers, [rate] * seeds))
    table = gate_table(pool(facts))
    missed = ", ".join(f"{r['fact']} {r['value']:.3f}" for r in table.iter_rows(named=True) if not r["holds"])
    return Measure(float(table["holds"].sum()), "gates", seeds, f"missed: {missed}" if missed else "all hold")


@bench("simulate: gates at the demo's rate", bar="13 of 13, pooled over 20 seeds x 6.5 h")
def gates_demo() -> Measure:
    return _gates(DEMO_RATE, 20)


@bench("simulate: gates at full rate", bar="13 of 13, pooled over 5 seeds x 6.5 h")
def gates_full() -> Measure:
    return _gates(1.0, 5)


def _outcomes(kappa: float, gamma: float, sessions: int = 30) -> Measure:
    import polars as pl

    from engine.simulate.fidelity import fresh_sessions
    from tests.support.regime_outcomes import expected_shares, same_shares, shares, touches
    from tests.support.specified import SHARES, largest_sample

    frame = pl.concat([touches(date, seed, 0.15, kappa, gamma) for date, seed in zip(*fresh_sessions(sessions, 2000))])
    s, by_trades = shares(frame, "by_mid"), shares(frame)
    error = (s["accuracy"] * (1 - s["accuracy"]) / s["n_decided"]) ** 0.5
    note = f"+- {error:.3f}; a plain diffusion {expected_shares(kappa, gamma)['accuracy']:.2f}; " + "/".join(
        f"{s[k]:.2f}" for k in ("break", "reject", "chop")
    )
    note += f", rejects {s['reject_of_decided']:.2f} of the decided; by trades {by_trades['accuracy']:.2f}"
    if gamma and kappa in SHARES:
        n, _ = largest_sample()
        p = same_shares(tuple(s[k] * s["n"] for k in ("break", "reject", "chop")), tuple(x * n for x in SHARES[kappa]))
        note += f"; alike with p {p:.2f} if the table had {n:.0f} touches"
    return Measure(s["accuracy"], "share", int(s["n"]), note)


@bench("simulate: outcomes at kappa 0", bar="no regime tells an outcome; rejects .53 of the decided for a plain diffusion")
def outcomes_null() -> Measure:
    return _outcomes(0.0, 0.5)


@bench("simulate: outcomes at kappa 0.7", bar="accuracy .66 with the regime known; .36/.47/.17")
def outcomes_07() -> Measure:
    return _outcomes(0.7, 0.5)


@bench("simulate: outcomes at kappa 1", bar="accuracy .73 with the regime known; .38/.45/.18")
def outcomes_1() -> Measure:
    return _outcomes(1.0, 0.5)


@bench("simulate: outcomes at kappa 2", bar="accuracy .80 with the regime known; .46/.39/.15")
def outcomes_2() -> Measure:
    return _outcomes(2.0, 0.5)


@bench("simulate: outcomes at kappa 1, gamma 0", bar="as kappa 0: footprints without consequence")
def outcomes_footprints() -> Measure:
    return _outcomes(1.0, 0.0)


@bench("simulate: oracle", bar="200 continuations of a trigger, 240 s each")
def oracle() -> Measure:
    import polars as pl

    from engine.params import SimParams
    from engine.sessions import to_ns
    from engine.simulate.day import Day
    from engine.simulate.oracle import continuations

    params = SimParams(seed=2001, rate=DEMO_RATE, round_ticks=40, thin_after=DEMO_THIN)
    day = Day(DATE, params)
    for _ in day.run_main(to_ns(DATE, dt.time(12))):
        pass
    first = day.truth().filter((pl.col("start_ts_ns") > to_ns(DATE, dt.time(10))) & pl.col("touch_ts_ns").is_not_null()).row(0, named=True)
    sign = 1 if first["approach"] == "approach_up" else -1
    start = time.process_time()
    found = continuations(DATE, params, first["start_ts_ns"], first["level_tick"], sign)
    p, e = found.probabilities(), found.errors()
    text = ", ".join(f"{name} {x:.2f} +- {y:.2f}" for name, x, y in zip(("reject", "chop", "break"), p, e))
    return Measure(time.process_time() - start, "s", sum(found.counts), f"regime {first['regime']}: {text}; {found.touched} touched")


@bench("simulate: null at kappa 0", bar="<= 2 of 20 seeds whose 95% AUC interval leaves out 0.5")
def null() -> Measure:
    import polars as pl

    from tests.support.regime_marks import auc_interval, distinguishable, simulated_marks

    marks = [simulated_marks(DATE, 200 + k, 0.12, 0.0) for k in range(20)]
    found = [distinguishable(m, pl.concat(marks[:k] + marks[k + 1 :])) for k, m in enumerate(marks)]
    measured = [(a, se) for a, se in found if np.isfinite(a)]
    out = sum(not low <= 0.5 <= high for low, high in (auc_interval(a, se) for a, se in measured))
    return Measure(float(out), "seeds", len(measured), f"mean AUC {np.mean([a for a, _ in measured]):.2f}")


@bench("simulate: regimes at kappa 1", bar="told apart by their marks")
def regimes() -> Measure:
    import polars as pl

    from tests.support.regime_marks import distinguishable, simulated_marks

    start = time.process_time()
    marks = [simulated_marks(DATE, 300 + k, 0.12, 1.0) for k in range(8)]
    area, error = distinguishable(pl.concat(marks[:4]), pl.concat(marks[4:]))
    return Measure(area, "AUC", 8, f"standard error {error:.2f}, {time.process_time() - start:.0f} s")
