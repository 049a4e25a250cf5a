"""Compile the kernels of a fresh clone before many processes need them: each would compile its own, and wait for it."""

from __future__ import annotations

import datetime as dt
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DATE = dt.date(2025, 10, 7)
SUNDAY = dt.date(2025, 10, 5)
SYMBOL, NUMBER, MID, DEPTH = "ESZ5", 1, 27_000, 30


@dataclass(frozen=True)
class Kernels:
    """Which kernels to compile; picklable."""

    name: Literal["simulator", "pipeline"]


def compile_kernels(which: Kernels) -> str:
    """Run the smallest thing that calls all of them; returns what could not be run, empty where all was."""
    from engine.simulate.day import Day
    from engine.simulate.knobs import SimParams

    if which.name == "simulator":
        for _ in Day(SUNDAY, SimParams(rate=0.02)).chunks():
            pass
        return ""
    with tempfile.TemporaryDirectory() as folder:
        return _smallest_run(Path(folder))


def _smallest_run(folder: Path) -> str:
    """The whole pipeline on one contract and one morning of `small_day`."""
    from engine.lake.store import Lake
    from engine.simulate.dbn import file_name, metadata_bytes, write_file
    from engine.stages.raw import raw_index
    from engine.stages.task import GROUPS, TaskSpec, run_partition
    from engine.vocab import NS

    lake = Lake(folder)
    rows = small_day()
    metadata = metadata_bytes(DATE, "ES", {NUMBER: SYMBOL}, int(rows[0, 5]), int(rows[0, 5]) + 86_400 * NS)
    write_file(lake.raw_folder("ES") / file_name("ES", DATE), metadata, [rows])
    ((raw, symbols),) = raw_index(lake, "ES").of(SYMBOL, DATE)
    receipts = [run_partition(TaskSpec(str(lake.root), DATE, symbols, raw=raw))]
    groups = (group for group in GROUPS if group != "signals")  # those need an index
    receipts += [run_partition(TaskSpec(str(lake.root), DATE, (SYMBOL,), profile="rth", group=group)) for group in groups]
    return "; ".join(f"{r.name}: {r.error}: {r.message}" for r in receipts if r.status != "made")


def small_day() -> NDArray[np.int64]:
    """Records of a UTC day, 56 bytes as seven int64: a book of one-lot orders whose price goes up and down, a trade each few seconds."""
    import numpy as np

    from engine.sessions import to_ns
    from engine.simulate import orders as o
    from engine.simulate.calendar import utc_midnight
    from engine.vocab import NS, UNDEF_PRICE, root_of

    start, first, last = utc_midnight(DATE), to_ns(DATE, dt.time(9)), to_ns(DATE, dt.time(12, 30))
    tick = root_of(SYMBOL).tick_fixed
    rows: list[tuple[int, ...]] = []
    ids: dict[int, int] = {}  # resting order by tick: bids at and below `mid`, asks above

    def put(ts: int, action: int, side: int, price: int, qty: int, order: int, flags: int) -> None:
        word = qty | flags << 32 | action << 48 | side << 56
        rows.append((14 | 160 << 8 | 1 << 16 | NUMBER << 32, ts, order, price, word, max(ts, start), len(rows) + 1 << 32))

    def add(ts: int, k: int, mid: int, flags: int) -> None:
        ids[k] = len(rows) + 1
        put(ts, o.A_, o.B_CHAR if k <= mid else o.A_CHAR, k * tick, 5, ids[k], flags)

    put(start - NS, o.R_, o.N_CHAR, UNDEF_PRICE, 0, 0, 40)
    for k in range(MID - DEPTH, MID + DEPTH):
        add(start - NS, k, MID - 1, 168 if k == MID + DEPTH - 1 else 40)
    mid = MID - 1  # the best bid; the best ask is one tick above
    for n, ts in enumerate(range(first - 5 * 3600 * NS, last, 5 * NS)):
        up = (n // 20) % 2 == 0
        k = mid + 1 if up else mid
        aggressor, rests = (o.B_CHAR, o.A_CHAR) if up else (o.A_CHAR, o.B_CHAR)
        put(ts, o.T_, aggressor, k * tick, 5, 10_000_000 + n, 0)
        put(ts, o.F_, rests, k * tick, 5, ids[k], 0)
        put(ts, o.C_, rests, k * tick, 5, ids.pop(k), o.LAST_FLAGS)
        mid = mid + 1 if up else mid - 1
        add(ts + NS, k, mid, o.LAST_FLAGS)
    return np.array(rows, np.int64)
