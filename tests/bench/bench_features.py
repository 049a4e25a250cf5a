"""Features, slices and levels from a busy three-hour ladder (about 1.9M sparse rows), made up with the ladder's laws."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from engine.features import level_steps, level_windows, pressure
from engine.ladder import Ladder
from engine.params import FeatureParams, ZoneParams
from tests.bench.harness import Measure, bench, median_seconds
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames

SECONDS = 3 * 3600


@lru_cache(maxsize=1)
def _frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    return make_frames(SECONDS, 1, span=300, touched=0.3)


@lru_cache(maxsize=1)
def _ladder() -> Ladder:
    return Ladder.from_frames(*_frames(), symbol=SYMBOL, date=DATE)


def _levels(*prices: float) -> pl.DataFrame:
    return pl.concat([level_steps(f"price:{p}", p, _ladder()) for p in prices])


def _milliseconds(f, note: str) -> Measure:
    runs = 9
    return Measure(median_seconds(f, runs=runs, warmup=2) * 1000, "ms", runs, note)


@bench("features of 6 levels, 3 h", bar="<= 300 ms")
def features_of_six_levels() -> Measure:
    levels = _levels(5000, 5002.5, 4997.5, 5010, 4990, 5020)
    return _milliseconds(lambda: level_windows(_ladder(), levels), f"{_frames()[0].height:,} ladder rows")


@bench("features of 1 level, buckets changed", bar="<= 80 ms (within the repaint's 150 ms)")
def features_of_one_level() -> Measure:
    level = _levels(5000)
    params = FeatureParams(zones=ZoneParams(at=3, near=7, mid=15, far=24))
    return _milliseconds(lambda: level_windows(_ladder(), level, params), "")


@bench("slice of one level, 10 min x 41 ticks", bar="<= 20 ms")
def slice_of_one_level() -> Measure:
    begin = (START_S + 7200) * NS
    return _milliseconds(lambda: _ladder().cube(begin, begin + 600 * NS, 19_980, 20_020), "1 s windows")


@bench("pressure of that slice, $1 steps", bar="with the slice <= 20 ms")
def pressure_of_slice() -> Measure:
    begin = (START_S + 7200) * NS
    return _milliseconds(lambda: pressure(_ladder().cube(begin, begin + 600 * NS, 19_980, 20_020, step_ticks=4), 10.0), "half-life 10 s")


@bench("ladder from its frames, 3 h", bar="-")
def ladder_from_frames() -> Measure:
    return _milliseconds(lambda: Ladder.from_frames(*_frames(), symbol=SYMBOL, date=DATE), "once per session on the screen")


@bench("conservation of a 3 h ladder", bar="-")
def conservation() -> Measure:
    return _milliseconds(lambda: _ladder().conserve(), "all sides, ticks, windows")
