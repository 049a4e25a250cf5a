"""A lake in which similar setups can be asked for: one session to ask of, a copy of it to show, and a made-up past around them."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import polars as pl

from engine.ladder import Ladder
from engine.lake.catalog import BARS, LADDER, LEVELS, TAPE, TRIGGERS
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.vocab import NS
from tests.support.dbn_files import DAY_NS, utc_ns

SYMBOL = "ESZ5"
SHOWN = dt.date(2025, 10, 31)
"""The earlier session that has a ladder; those of the made-up past have none."""

SESSIONS, PER_SESSION = 14, 24
LAST = dt.date(2025, 11, 3)
ENDS = {"BREAK": ("BREAK_UP", "BREAK_DOWN"), "REJECT": ("REJECT_DOWN", "REJECT_UP"), "CHOP": ("CHOP", "CHOP")}


def similar_lake(made: Path, folder: Path, asked: dt.date) -> tuple[Path, dict[str, object]]:
    """A copy of the lake `made` with a made-up past, and the trigger of its session `asked` to ask about."""
    root = folder / "lake"
    shutil.copytree(made, root)
    return root, made_up_past(Lake(root), asked)


def made_up_past(lake: Lake, asked: dt.date) -> dict[str, object]:
    """Give the lake a past of the setups of `asked` with some noise, and outcomes by chance; returns a trigger of `asked`.

    `SHOWN` has them without noise, and a ladder; the session before `asked` is `LAST`.
    """
    _copied(lake, asked, SHOWN)
    real = lake.read(TRIGGERS, SYMBOL, asked).filter(pl.col("vector").is_not_null() & (pl.col("distance_ticks").abs() <= 8))
    real = real.sort("window_end_ts_ns")
    at = real.height // 2
    rng = np.random.default_rng(5)
    for date in [asked - dt.timedelta(days=40 + i) for i in range(SESSIONS)] + [SHOWN, LAST]:
        rows = real.sample(PER_SESSION, seed=int(rng.integers(1 << 30)), with_replacement=real.height < PER_SESSION)
        if date == SHOWN:
            rows = real.slice(max(at - PER_SESSION // 2, 0), PER_SESSION)  # the one that is asked about is among them
        lake.write(TRIGGERS, SYMBOL, date, _moved(lake, rows, date, rng), Lineage("triggers", "p", "c", {}, "rth"))
    return real.row(at, named=True)


def _copied(lake: Lake, asked: dt.date, date: dt.date) -> None:
    """The session `asked` once more, as that of `date`."""
    days = (asked - date).days
    for key in (LADDER, TAPE, BARS, LEVELS):
        frame = lake.read(key, SYMBOL, asked)
        times = [c for c in frame.columns if c.endswith("_ts_ns")]
        moved = frame.with_columns(pl.col(times) - days * DAY_NS)
        if "session_date" in frame.columns:
            moved = moved.with_columns(pl.lit(date).alias("session_date"))
        lake.write(key, SYMBOL, date, moved, Lineage("copied", "p", "c", {}, "rth"))


def _moved(lake: Lake, rows: pl.DataFrame, date: dt.date, rng: np.random.Generator) -> pl.DataFrame:
    """The rows as armed triggers of another session, which touched half a minute later and ended by chance."""
    n = rows.height
    end = utc_ns(date, 14, 45) + (np.arange(n, dtype=np.int64) * 300) * NS
    touch = end + 30 * NS
    level = rows["level_tick"].to_numpy()
    if date == SHOWN:
        ladder = Ladder.open(lake, SYMBOL, date)
        level = ladder.last_tick[(touch - ladder.start_ns) // NS]
    up = (rows["approach"] == "approach_up").to_numpy()
    word = rng.choice(list(ENDS), n)
    outcome = [ENDS[w][0 if u else 1] for w, u in zip(word, up)]
    hit = [None if w == "CHOP" else int(t + 45 * NS) for w, t in zip(word, touch)]
    vectors = np.array(rows["vector"].to_list(), np.float32)
    noise = 0.0 if date == SHOWN else 0.3
    vectors = (vectors * (1 + noise * rng.normal(size=vectors.shape))).astype(np.float32)
    ids = [f"{date}/{SYMBOL}/{v}/{a}" for v, a in zip(rows["level_id"], rows["approach"])]
    new = {
        "trigger_id": [f"{i}/arm/{e}" for i, e in zip(ids, end)], "episode_id": [f"{i}/{k}" for k, i in enumerate(ids)],
        "session_date": [date] * n, "kind": ["arm"] * n, "window_start_ts_ns": end - 5 * NS, "window_end_ts_ns": end, "level_tick": level,
        "armed": [True] * n, "touched": [True] * n, "touch_ts_ns": touch, "seconds_to_touch": [30.0] * n,
        **{f"outcome_h{h}": outcome for h in range(7)}, "first_hit_ts_ns": hit, "excursion_up_ticks": rng.integers(0, 20, n),
        "excursion_down_ticks": -rng.integers(0, 20, n), "barrier_ticks": [8] * n,
    }  # fmt: skip
    moved = rows.with_columns(*(pl.Series(k, v, strict=False).cast(rows.schema[k]) for k, v in new.items()))
    vector = pl.Series("vector", vectors).reshape(vectors.shape).arr.to_list().cast(rows.schema["vector"])
    return moved.with_columns(vector).sort("window_end_ts_ns", "level_id", "kind")
