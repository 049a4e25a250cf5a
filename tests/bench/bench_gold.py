"""Gold of one simulated day with six levels, and what it is made of."""

from __future__ import annotations

import atexit
import datetime as dt
import tempfile
from functools import lru_cache
from pathlib import Path

from engine.features.vector import trigger_vectors
from engine.ladder import Ladder
from engine.lake.catalog import TRIGGERS
from engine.lake.store import Lake
from engine.params import LevelParams, RunParams, SimParams
from engine.simulate.dbn import DayTask, run_day
from engine.stages.base import build
from engine.stages.gold import TRIGGER_STAGES
from engine.stages.raw import raw_index
from engine.stages.silver import STAGES
from engine.stages.task import TaskSpec, run_partition
from tests.bench.harness import Measure, bench, median_seconds

DATES = (dt.date(2025, 9, 2), dt.date(2025, 9, 3))
SYMBOL = "ESU5"
SIX = RunParams(levels=LevelParams(level_ids=("pm_high", "pm_low", "or_high", "or_low", "pd_close", "vwap")))


@lru_cache(maxsize=1)
def _lake() -> Lake:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    lake = Lake(Path(folder.name))
    for date in DATES:
        receipt = run_day(DayTask(date, lake.raw_folder("ES"), lake.root / "truth", SimParams(), False))
        assert not receipt.error, receipt
        (raw, _), *_ = raw_index(lake, "ES").of(SYMBOL, date)
        done = run_partition(TaskSpec(str(lake.root), date, (SYMBOL,), raw=raw))
        assert done.status == "made", done
    for stage in STAGES:
        build(lake, stage, SYMBOL, DATES[1], "rth", SIX)
    return lake


def _gold() -> int | None:
    return build(_lake(), TRIGGER_STAGES[0], SYMBOL, DATES[1], "rth", SIX, overwrite=True)


@bench("gold of a simulated day, 6 levels", bar="<= 2 s")
def gold_of_a_day() -> Measure:
    seconds = median_seconds(_gold, runs=5, warmup=2)
    return Measure(seconds, "s", 5, f"{_gold():,} triggers")


@bench("vectors of that day, means", bar="-")
def vectors_means() -> Measure:
    return _vectors("means")


@bench("vectors of that day, blocks", bar="-")
def vectors_blocks() -> Measure:
    return _vectors("blocks")


def _vectors(representation: str) -> Measure:
    _gold()
    ladder = Ladder.open(_lake(), SYMBOL, DATES[1])
    frame = _lake().read(TRIGGERS, SYMBOL, DATES[1]).drop("vector")
    seconds = median_seconds(lambda: trigger_vectors(ladder, frame, representation), runs=5, warmup=2)
    return Measure(seconds * 1000, "ms", 5, f"{frame.height:,} triggers, {ladder.tick.size:,} ladder rows")
