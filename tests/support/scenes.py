"""A made-up hour around a level for the tests of pictures; `python -m tests.support.scenes` prints the hash of its picture."""

from __future__ import annotations

import datetime as dt
import hashlib
import sys
from functools import cache
from typing import Any

import polars as pl

from engine.ladder import Ladder
from engine.levels import LEVEL_SCHEMA
from tests.support.ladders import DATE, NS, SYMBOL, make_frames
from workbench.snapshot import PictureParams, Scene, make_scene, picture

TO_NEW_YORK_MORNING = 5 * 3600 * NS
START_NS = 1_767_603_600 * NS + TO_NEW_YORK_MORNING  # 2026-01-05 09:00 New York
NOW_NS = START_NS + 1_835 * NS  # 09:30:35
LEVEL_TICK = 20_004


@cache
def frames(seconds: int = 3_600, seed: int = 11) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ladder rows and tape of a New York morning."""
    shift = [pl.col("window_start_ts_ns") + TO_NEW_YORK_MORNING]
    rows, tape = (f.with_columns(shift) for f in make_frames(seconds, seed, span=40, invalid_share=0.004))
    return rows, tape


def bars_of(tape: pl.DataFrame) -> pl.DataFrame:
    """Two-minute bars as a tape implies them."""
    return (
        tape.filter(pl.col("trades") > 0)
        .group_by((pl.col("window_start_ts_ns") // (120 * NS) * (120 * NS)).alias("window_start_ts_ns"), maintain_order=True)
        .agg(
            pl.col("last_tick").first().alias("open_tick"), pl.col("high_tick").max(), pl.col("low_tick").min(),
            pl.col("last_tick").last().alias("close_tick"), (pl.col("buy_volume") + pl.col("sell_volume")).sum().alias("volume"),
            pl.col("buy_volume", "sell_volume").sum(), pl.col("trades").sum(),
        )
        .with_columns((pl.col("window_start_ts_ns") + 120 * NS).alias("window_end_ts_ns"))
    )  # fmt: skip


def level_steps(*steps: tuple[str, int, int, int]) -> pl.DataFrame:
    """LEVELS frame of (id, start, end, tick), with seconds since the ladder's start."""
    rows = [(i, START_NS + a * NS, START_NS + b * NS, k * 0.25, k) for i, a, b, k in steps]
    return pl.DataFrame(rows, schema=LEVEL_SCHEMA, orient="row")


def levels() -> pl.DataFrame:
    """One level from the start, one that moves, one that comes after the moment, two far away."""
    moving = [("vwap", s, s + 60, 19_995 + s // 300) for s in range(1_800, 3_600, 60)]
    return level_steps(
        ("pm_high", 0, 3_600, LEVEL_TICK), ("on_high", 0, 3_600, LEVEL_TICK), *moving, ("or_high", 2_000, 3_600, 20_008),
        ("pd_high", 0, 3_600, 20_400), ("pd_low", 0, 3_600, 19_500),
    )  # fmt: skip


def scene(*, seconds: int = 3_600, ts_ns: int = NOW_NS, level_id: str = "pm_high", simulated: bool = True, **params: Any) -> Scene:
    """The scene of a moment of the hour; `params` are those of `PictureParams`."""
    rows, tape = frames(seconds)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    return make_scene(
        ladder, levels(), bars_of(tape), level_id=level_id, ts_ns=ts_ns, picture=PictureParams(**params), simulated=simulated
    )  # fmt: skip


def picture_hash() -> str:
    """SHA-256 of the hour's picture."""
    return hashlib.sha256(picture(scene(), "rth")).hexdigest()


assert dt.datetime.fromtimestamp(START_NS // NS, dt.UTC).hour == 14

if __name__ == "__main__":
    sys.stdout.write(picture_hash())
