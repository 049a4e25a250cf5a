"""Run the kernel and the twin over the same records, and compare."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from engine.mbo.dbn import COLUMN_TYPES, MboColumns
from engine.mbo.orders import EVENTS_SCHEMA, OrderReplay
from engine.mbo.replay import LADDER_SCHEMA, TAPE_SCHEMA, LadderReplay, ReplayedContract
from engine.params import OrderParams, ReplayParams
from tests.reference.book_twin import BookTwin
from tests.reference.order_twin import OrderTwin

NS = 1_000_000_000
ACTIONS, SIDES = "ACMRTFN", "BAN"
TWIN_FIELDS = ("ts_event", "ts_recv", "order_id", "price", "size", "flags", "action", "side")


def to_columns(records: np.ndarray) -> MboColumns:
    """File records (dtype `MBO`) as columns, split the plain way."""
    out = MboColumns(*(np.ascontiguousarray(records[name]).astype(dtype) for name, dtype in COLUMN_TYPES.items()))
    for name, letters in (("action", ACTIONS), ("side", SIDES)):
        getattr(out, name)[:] = [letters.index(chr(code)) for code in records[name]]
    return out


@dataclass(frozen=True)
class File:
    """Records of one file and the span that its header names (`start_ns` None: not told)."""

    records: np.ndarray
    start_ns: int | None
    end_ns: int


def _feed(replay: LadderReplay | OrderReplay, files: list[File], cuts: list[int]) -> None:
    """Feed files in order, each cut into chunks before every record of `cuts`."""
    for f in files:
        replay.begin_file(f.end_ns, f.start_ns)
        columns = to_columns(f.records)
        edges = [0, *sorted(min(cut, len(columns)) for cut in cuts), len(columns)]
        for start, end in itertools.pairwise(edges):
            replay.feed(columns.rows(start, end))


def replay_files(
    files: list[File], cuts: list[int], instruments: dict[int, str], start_ns: int, end_ns: int, params: ReplayParams, *, warm: bool = False
) -> dict[str, ReplayedContract]:
    """Replay files in order, each cut into chunks before every record of `cuts`."""
    replay = LadderReplay(instruments, start_ns, end_ns, params, warm=warm)
    _feed(replay, files, cuts)
    return replay.finish()


def twin_of_files(
    files: list[File], instrument: int, tick_fixed: int, start_ns: int, end_ns: int, params: ReplayParams, *, warm: bool = False
) -> BookTwin:
    """The twin after the same."""
    twin = BookTwin(
        start_ns // NS, end_ns // NS, tick_fixed,
        rest_ns=params.rest_ns, span_ticks=params.span_ticks, keyframe_s=params.keyframe_s, warm=warm,
    )  # fmt: skip
    for f in files:
        twin.file(f.start_ns, f.end_ns)
        for row in dict_rows(to_columns(f.records), instrument):
            twin.record(row)
    twin.finish()
    return twin


def order_events(
    files: list[File], cuts: list[int], instruments: dict[int, str], start_ns: int, end_ns: int, params: OrderParams, *, warm: bool = False,
    lost: tuple[tuple[int, int], ...] = (),
) -> dict[str, pl.DataFrame]:  # fmt: skip
    """What the orders of files did, as the kernel follows them, each file cut into chunks before every record of `cuts`."""
    replay = OrderReplay(instruments, start_ns, end_ns, params, warm=warm, lost=lost)
    _feed(replay, files, cuts)
    return replay.finish()


def twin_order_events(
    files: list[File], instrument: int, tick_fixed: int, start_ns: int, end_ns: int, params: OrderParams, *, warm: bool = False,
    lost: tuple[tuple[int, int], ...] = (),
) -> pl.DataFrame:  # fmt: skip
    """The same by the twin."""
    twin = OrderTwin(
        start_ns, end_ns, tick_fixed, least=params.least_size, share=params.large_share, absorbed=params.absorbed_times,
        pull_ns=params.pull_ns, warm=warm, lost=lost,
    )  # fmt: skip
    for f in files:
        twin.file(f.start_ns, f.end_ns)
        for row in dict_rows(to_columns(f.records), instrument):
            twin.record(row)
    twin.finish()
    return pl.DataFrame(twin.rows, schema=EVENTS_SCHEMA)


def dict_rows(columns: MboColumns, instrument: int) -> list[dict[str, Any]]:
    """Records of one instrument as the dicts that the twin reads."""
    of = columns.instrument_id == instrument
    lists = [getattr(columns, name)[of].tolist() for name in TWIN_FIELDS]
    return [dict(zip(TWIN_FIELDS, (*r[:6], ACTIONS[r[6]], SIDES[r[7]]))) for r in zip(*lists, strict=True)]


def twin_frames(twin: BookTwin) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A finished twin's ladder and tape in the engine's schemas."""
    ladder = pl.DataFrame(twin.ladder, schema={name: LADDER_SCHEMA[name] for name in (twin.ladder[0] if twin.ladder else LADDER_SCHEMA)})
    return ladder.select(list(LADDER_SCHEMA)), pl.DataFrame(twin.tape, schema=TAPE_SCHEMA)


def breaches(rows: pl.DataFrame, tape: pl.DataFrame, *, whole: bool = False) -> pl.DataFrame:
    """Rows that break ``depth_end = depth_start + add - pull - fill``, by (side, tick, window), within valid windows.

    A tick without a row has not changed, so its depth at a window's start is that of its last row. The first row of a tick is asked
    only when `whole`: the first keyframe showed every resting tick, and a tick that comes later held nothing before.
    """
    sides = []
    for side in ("bid", "ask"):
        before = pl.col(f"{side}_depth").shift(1).over("tick")
        if whole:
            before = pl.when(pl.col("window_start_ts_ns") > tape["window_start_ts_ns"][0]).then(before.fill_null(0))
        sides.append(
            rows.sort("tick", "window_start_ts_ns").select(
                "window_start_ts_ns",
                "tick",
                pl.lit(side).alias("side"),
                pl.col(f"{side}_depth").alias("end"),
                before.alias("start"),
                (pl.col(f"{side}_add") - pl.col(f"{side}_pull") - pl.col(f"{side}_fill")).alias("net"),
            )
        )
    law = pl.concat(sides).join(tape.select("window_start_ts_ns", "book_valid"), on="window_start_ts_ns")
    return law.filter(pl.col("book_valid") & pl.col("start").is_not_null() & (pl.col("end") != pl.col("start") + pl.col("net")))
