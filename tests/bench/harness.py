"""A small bench: named measurements with a bar beside them, printed as a table of medians.

Timings are never assertions: the machine that runs them may be shared and noisy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One row of the table: medians over runs, already in the unit that the bar speaks of."""

    value: float
    unit: str
    runs: int
    note: str = ""


@dataclass(frozen=True)
class Bench:
    """A named measurement; `bar` is the figure asked for, in words."""

    name: str
    bar: str
    run: Callable[[], Measure]


BENCHES: list[Bench] = []


def bench(name: str, *, bar: str) -> Callable[[Callable[[], Measure]], Callable[[], Measure]]:
    """Register a function that returns a `Measure`."""

    def register(f: Callable[[], Measure]) -> Callable[[], Measure]:
        BENCHES.append(Bench(name, bar, f))
        return f

    return register


def median_seconds(f: Callable[[], object], *, runs: int = 5, warmup: int = 1, clock: Callable[[], float] = time.process_time) -> float:
    """Median seconds of `f` by `clock` (CPU time of this process by default) after `warmup` runs that are not counted."""
    for _ in range(warmup):
        f()
    seconds = []
    for _ in range(runs):
        start = clock()
        f()
        seconds.append(clock() - start)
    return statistics.median(seconds)
