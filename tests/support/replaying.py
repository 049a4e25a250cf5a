"""Run the kernel and the twin over the same records, and compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from engine.mbo.dbn import COLUMN_TYPES, MboColumns
from engine.mbo.replay import LADDER_SCHEMA, TAPE_SCHEMA, LadderReplay, ReplayedContract
from engine.params import ReplayParams
from tests.reference.book_twin import BookTwin

NS = 1_000_000_000
ACTIONS, SIDES = "ACMRTFN", "BAN"
TWIN_FIELDS = ("ts_event", "ts_recv", "order_id", "price", "size", "flags", "action", "side")


def to_columns(records: np.ndarray) -> MboColumns:
    """File records (dtype `MBO`) as columns, split the plain way."""
    out = MboColumns(*(np.ascontiguousarray(records[name]).astype(dtype) for name, dtype in COLUMN_TYPES.items()))
    for name, letters in (("action", ACTIONS), ("side", SIDES)):
        getattr(out, name)[:] = [letters.index(chr(code)) for code in records[name]]
    return out


def replay_chunks(
    columns: MboColumns, cuts: list[int], instruments: dict[int, str], start_ns: int, end_ns: int, params: ReplayParams, **options: Any
) -> dict[str, ReplayedContract]:
    """Replay one file cut into chunks before each record of `cuts`."""
    replay = LadderReplay(instruments, start_ns, end_ns, params, **options)
    edges = [0, *sorted(cuts), len(columns)]
    for start, end in zip(edges, edges[1:], strict=False):
        replay.feed(columns.rows(start, end))
    return replay.finish()


def dict_rows(columns: MboColumns, instrument: int) -> list[dict[str, Any]]:
    """Records of one instrument as the dicts that the twin reads."""
    of = columns.instrument_id == instrument
    lists = [getattr(columns, name)[of].tolist() for name in TWIN_FIELDS]
    return [dict(zip(TWIN_FIELDS, (*r[:6], ACTIONS[r[6]], SIDES[r[7]]))) for r in zip(*lists, strict=True)]


def twin_frames(twin: BookTwin) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A finished twin's ladder and tape in the engine's schemas."""
    ladder = pl.DataFrame(twin.ladder, schema={name: LADDER_SCHEMA[name] for name in (twin.ladder[0] if twin.ladder else LADDER_SCHEMA)})
    return ladder.select(list(LADDER_SCHEMA)), pl.DataFrame(twin.tape, schema=TAPE_SCHEMA)


def breaches(rows: pl.DataFrame, tape: pl.DataFrame) -> pl.DataFrame:
    """Rows that break ``depth_end = depth_start + add - pull - fill``, by (side, tick, window), within valid windows.

    A tick without a row has not changed, and its depth at a window's start is that of its last row; the first row of a
    tick has no start unless an add, pull or fill made it, so the law is asked from a tick's second row on, and from the first
    where no keyframe could have shown the tick before.
    """
    sides = []
    for side in ("bid", "ask"):
        sides.append(
            rows.sort("tick", "window_start_ts_ns").select(
                "window_start_ts_ns", "tick", pl.lit(side).alias("side"), pl.col(f"{side}_depth").alias("end"),
                pl.col(f"{side}_depth").shift(1).over("tick").alias("start"),
                (pl.col(f"{side}_add") - pl.col(f"{side}_pull") - pl.col(f"{side}_fill")).alias("net"),
            )
        )  # fmt: skip
    law = pl.concat(sides).join(tape.select("window_start_ts_ns", "book_valid"), on="window_start_ts_ns")
    return law.filter(pl.col("book_valid") & pl.col("start").is_not_null() & (pl.col("end") != pl.col("start") + pl.col("net")))
