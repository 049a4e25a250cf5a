"""Triggers from a known law for the tests of retrieval, as events and as a lake's gold."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl

from engine.commands.retrieval import synthetic_events
from engine.lake.catalog import WALLS
from engine.lake.manifest import Lineage
from engine.lake.store import Lake, input_key
from engine.retrieval.dataset import VECTORS
from engine.retrieval.events import Events
from engine.setups import trigger_schema
from engine.simulate.oracle import Sample

FIRST = dt.date(2025, 3, 3)
SYMBOL = "ESM5"

KNOWN = 80
"""Dimensions of tier A's means, the first of a vector's in `gold_frame`; the latest bin is the last."""


def tier_a(n: int = 600, strength: float = 2.0, seed: int = 1, *, per_session: int = 20) -> tuple[Events, Sample]:
    """Events of tier A in `means`, and what they were drawn from."""
    made = synthetic_events(n, strength, seed, per_session=per_session)
    return made.data.means, made.sample


def with_columns(events: Events, *columns: pl.Expr | pl.Series) -> Events:
    """The events with some columns replaced."""
    return Events(events.matrix, events.names, events.representation, events.frame.with_columns(*columns))


def gold_frame(n: int = 400, seed: int = 1, *, per_session: int = 20, strength: float = 2.0) -> pl.DataFrame:
    """Rows of the table of trigger vectors: `means` vectors whose first dimensions hold the means of tier A's paths, the others noise.

    Levels and both approaches take turns; every fifth episode never touched.
    """
    from engine.features.vector import vector_names

    made = synthetic_events(n, strength, seed, per_session=per_session)
    names = vector_names("means", "approach_up")
    rng = np.random.default_rng(seed)
    matrix = rng.normal(0, 1, (n, len(names))).astype(np.float32)
    known = made.data.means.matrix
    matrix[:, : known.shape[1]] = known
    up = np.arange(n) % 2 == 0
    touched = np.arange(n) % 5 != 4
    text = np.array(["BREAK", "REJECT", "CHOP"], object)[made.sample.labels]
    ends = {"BREAK": ("BREAK_UP", "BREAK_DOWN"), "REJECT": ("REJECT_DOWN", "REJECT_UP"), "CHOP": ("CHOP", "CHOP")}
    outcome = [ends[t][0 if u else 1] if there else "NO_TOUCH" for t, u, there in zip(text, up, touched)]
    # Weekdays: a session of a Saturday has no end of its data.
    dates = np.busday_offset(np.datetime64(FIRST), made.sample.sessions).astype(object).tolist()
    level = np.array(["pm_high", "pm_low", "or_high"], object)[np.arange(n) % 3]
    approach = np.where(up, "approach_up", "approach_down").astype(object)
    start = np.array([dt.datetime(d.year, d.month, d.day, 14, tzinfo=dt.UTC).timestamp() for d in dates], np.int64) * 10**9
    end = start + (1 + np.arange(n) % per_session) * 60 * 10**9
    episode = [f"{d}/{SYMBOL}/{v}/{a}/{i}" for i, (d, v, a) in enumerate(zip(dates, level, approach))]
    frame = made.data.means.frame
    labels = {f"outcome_h{h}": outcome for h in range(7)}
    optional = ("sigma", "whipsaw_flag", "excursion_up_ticks", "excursion_down_ticks", "adverse_before_hit_ticks")
    columns = {
        "trigger_id": [f"{d}/{SYMBOL}/{v}/{a}/arm/{t}" for d, v, a, t in zip(dates, level, approach, end)],
        "episode_id": episode,
        "session_date": dates,
        "level_id": level.tolist(),
        "approach": approach.tolist(),
        "kind": ["arm"] * n,
        "window_start_ts_ns": end - 5 * 10**9,
        "window_end_ts_ns": end,
        "level_tick": np.full(n, 24_000),
        "distance_ticks": np.where(up, -2, 2),
        "barrier_ticks": np.full(n, 8),
        "message_rate": np.full(n, 50.0),
        "trade_rate": np.full(n, 5.0),
        "seconds_into_session": 60 * (1 + np.arange(n) % per_session),
        "touch_number": np.ones(n),
        "confluent_levels": np.zeros(n),
        "armed": np.ones(n, bool),
        "touched": touched,
        "touch_ts_ns": end + 10**9,
        "seconds_to_touch": np.ones(n),
        **labels,
        "first_hit_ts_ns": end + 2 * 10**9,
        "first_hit_bars": np.zeros(n),
        "second_hit_ts_ns": [None] * n,
        "second_hit_bars": [None] * n,
        "seconds_to_resolve": np.ones(n),
        **{c: frame[c] for c in optional},
    }
    schema = trigger_schema()
    out = pl.DataFrame({c: pl.Series(columns[c]).cast(schema[c]) for c in schema})
    vector = pl.Series("vector", matrix).reshape(matrix.shape).arr.to_list()
    return out.with_columns(pl.lit("means").alias("representation"), pl.lit(len(names), pl.Int32).alias("vector_dim"), vector)


def write_walls(lake: Lake, frame: pl.DataFrame) -> None:
    """Give the gold of a lake wall features that hold the latest of tier A's means, in which most of what its paths know lies."""
    from engine.features.vector import WALL

    names = [pl.col("vector").list.get(KNOWN - len(WALL) + i).alias(n) for i, n in enumerate(WALL)]
    for (date,), rows in frame.group_by("session_date", maintain_order=True):
        assert isinstance(date, dt.date)
        made_of = {input_key(VECTORS, SYMBOL, date): lake.manifest(VECTORS, SYMBOL, date).digest()}
        lake.write(WALLS, SYMBOL, date, rows.select("trigger_id", *names), Lineage("walls", "p", "a", made_of, "rth"))


def write_gold(root: Path, frame: pl.DataFrame, *, profile: str = "rth", code: str = "a") -> Lake:
    """A lake whose gold holds these rows, a partition per session."""
    lake = Lake(root)
    for (date,), rows in frame.group_by("session_date", maintain_order=True):
        assert isinstance(date, dt.date)
        rows = rows.sort("window_end_ts_ns", "level_id", "kind")
        lake.write(VECTORS, SYMBOL, date, rows, Lineage("triggers", "p", code, {}, profile))
    return lake
