"""Rebuild of forty simulated sessions, one worker against two: minutes, and only worth reading on two free cores."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
from pathlib import Path

from engine.lake.store import Lake
from engine.lake.writer import put_raw
from engine.params import SimParams
from engine.simulate.calendar import open_spans
from engine.simulate.dbn import DayTask, run_day
from tests.bench.harness import Measure, bench
from tests.support.lakes import spymaster

FIRST, LAST = dt.date(2025, 9, 22), dt.date(2025, 11, 21)
"""44 trading days of one contract: 40 are left of its run when its ends are trimmed."""


@bench("rebuild of 40 sessions, 2 workers against 1", bar=">= 1.6 times as fast")
def rebuild_scaling() -> Measure:
    params = SimParams(rate=0.03, thin_after=dt.time(12, 35))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        raw = Lake(root / "0").raw_folder("ES")
        days = [FIRST + dt.timedelta(days=i) for i in range((LAST - FIRST).days + 1)]
        for day in days:
            if open_spans(day):
                receipt = run_day(DayTask(day, raw, root / "truth", params, False))
                assert not receipt.error, receipt
        seconds = {}
        for workers in (1, 2):
            lake = Lake(root / str(workers))
            for file in sorted(raw.iterdir()):
                put_raw(file, lake.raw_folder("ES") / file.name, own=True)
            start = time.perf_counter()
            # One thread a process for the algebra, or a single worker would use both cores.
            spymaster("rebuild", "--lake", lake.root, "--workers", workers, env={**os.environ, "OMP_NUM_THREADS": "1"})
            seconds[workers] = time.perf_counter() - start
        return Measure(seconds[1] / seconds[2], "times", 1, f"{seconds[1]:.0f} s and {seconds[2]:.0f} s")
