"""Benchmark of a run's tasks on Dask: what the scheduler adds to each, beside this machine's own pool."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engine.cluster import cluster
from engine.lake.store import Lake
from engine.runner import Machines, run_tasks, this_machine
from tests.bench.harness import Measure, bench

TASKS = 12_500
"""Contract-days of a year of a desk's roots."""

TASK_S = 6.0
"""What a thin session's silver and gold take of a core: `spymaster run` of a simulated day at a rate of 0.02."""


@dataclass(frozen=True)
class Nothing:
    """A task that takes no time."""

    name: str


def do_nothing(task: Nothing) -> str:
    """Return at once."""
    return task.name


def seconds(machines: Machines) -> float:
    """Wall time of all tasks, once the workers are there."""
    left: set[str] = set()

    def lost(task: Nothing, deaths: int) -> None:
        left.add(task.name)

    def of(n: int) -> list[Nothing]:
        return [Nothing(f"task {i}") for i in range(n)]

    def run(tasks: list[Nothing]) -> float:
        began, done = time.perf_counter(), []
        run_tasks(
            do_nothing, tasks, workers=machines.workers, make_executor=machines.make_executor, max_deaths=machines.max_deaths,
            on_result=lambda task, name: done.append(name), on_poison=lost,
        )  # fmt: skip
        assert len(done) == len(tasks), f"lost {sorted(left)[:3]}"
        return time.perf_counter() - began

    few = run(of(20))
    return run(of(TASKS)) - few


@bench("cluster: scheduler's share of 12,500 contract-days of 6 s, 2 workers", bar="< 5%")
def overhead() -> Measure:
    with tempfile.TemporaryDirectory(prefix="spymaster-bench-") as folder:
        lake = Lake(Path(folder))
        with lake.lock(), cluster("local", lake, 2) as machines:
            took = seconds(machines)
    pool = seconds(this_machine(2))
    each, own = 1000 * took / TASKS, 1000 * pool / TASKS
    share = 100 * took / (TASKS * TASK_S / 2)
    return Measure(share, "%", 1, f"{each:.2f} ms a task, of this machine's pool {own:.2f} ms")
