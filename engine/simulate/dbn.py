"""Simulated days as Databento files: metadata by databento_dbn's own encoder, records as they are, zstd level 1."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import DuplicateRaw, EngineError
from engine.lake.writer import write_text_atomic
from engine.params import SimParams
from engine.provenance import accepted, code_of

DATASET = "GLBX.MDP3.SIM"
"""What the metadata of a simulated file says where a real one says GLBX.MDP3."""

DBN_VERSION = 3


@dataclass(frozen=True)
class MappedInterval:
    """Dates on which a symbol is an instrument id, as the encoder of metadata takes them."""

    start_date: dt.date
    end_date: dt.date
    symbol: str


@dataclass(frozen=True)
class SymbolMapping:
    """A symbol and its intervals."""

    raw_symbol: str
    intervals: list[MappedInterval]


def metadata_bytes(date: dt.date, root: str, symbols: dict[int, str], start_ns: int, end_ns: int) -> bytes:
    """Encoded metadata of a UTC day of all symbols under a root."""
    import databento_dbn

    until = date + dt.timedelta(days=1)
    mappings = [
        SymbolMapping(raw, [MappedInterval(date, until, str(number))]) for number, raw in sorted(symbols.items(), key=lambda kv: kv[1])
    ]
    return databento_dbn.Metadata(
        dataset=DATASET,
        start=start_ns,
        end=end_ns,
        stype_in=databento_dbn.SType.PARENT,  # type: ignore[arg-type]
        stype_out=databento_dbn.SType.INSTRUMENT_ID,  # type: ignore[arg-type]
        schema=databento_dbn.Schema.MBO,  # type: ignore[arg-type]
        symbols=[f"{root}.FUT"],
        partial=[],
        not_found=[],
        mappings=mappings,  # type: ignore[arg-type]
        version=DBN_VERSION,
    ).encode()


def write_file(path: Path, metadata: bytes, chunks: Iterable[NDArray[np.int64]]) -> int:
    """Number of records written after the metadata; the file appears whole or not at all."""
    import zstandard

    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    records = 0
    try:
        with part.open("wb") as raw, zstandard.ZstdCompressor(level=1).stream_writer(raw, closefd=False) as out:
            out.write(metadata)
            for chunk in chunks:
                out.write(np.ascontiguousarray(chunk).view(np.uint8).data)
                records += len(chunk)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return records


def file_name(root: str, date: dt.date) -> str:
    """Name of a simulated day's file, which says that it is one."""
    return f"{root.lower()}-simulated-glbx-mdp3-{date:%Y%m%d}.mbo.dbn.zst"


def write_day(out: Path, truth: Path, date: dt.date, params: SimParams) -> int:
    """Records written: one UTC day simulated into ``out/<file_name>``, its regimes into ``truth/<date>.parquet``."""
    from engine.simulate.day import Day

    day = Day(date, params)
    metadata = metadata_bytes(date, params.root, day.symbols, day.start_ns, day.end_ns)
    n = write_file(out / file_name(params.root, date), metadata, day.chunks())
    truth.mkdir(parents=True, exist_ok=True)
    part = truth / f".{date.isoformat()}.part"
    day.truth().write_parquet(part)
    os.replace(part, truth / f"{date.isoformat()}.parquet")
    return n


@dataclass(frozen=True)
class DayTask:
    """One file to simulate; picklable."""

    date: dt.date
    out: Path
    truth: Path
    params: SimParams
    overwrite: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return file_name(self.params.root, self.date)


@dataclass(frozen=True)
class DayReceipt:
    """What became of a `DayTask`: records written (0: the file was there already), or why not."""

    name: str
    records: int
    seconds: float
    error: str = ""


def is_done(task: DayTask) -> bool:
    """Whether the task's file and its truth are there, made from the same parameters by the same simulator.

    Raises
    ------
    DuplicateRaw
        Where the file was made otherwise.
    """
    path = task.out / task.name
    if task.overwrite or not path.exists():
        return False
    receipt = _receipt_path(task)
    if not receipt.exists():
        return False  # a run was killed between the file and its receipt; the name says that the file is ours to write
    made = json.loads(receipt.read_text())  # whole, or not there: `run_day` writes it at once
    want = {"params": (task.params.digest(),), "code": simulator_codes(task.params.root), "bytes": (path.stat().st_size,)}
    other = [k for k, values in want.items() if made.get(k) not in values]
    if not other:
        return truth_path(task).exists()  # the file is the same to the byte when it is made again for its truth
    raise DuplicateRaw(
        f"{path}: expected no file, or one of the same parameters and simulator, found one of other {', '.join(other)}; "
        "use --overwrite or another --out"
    )


def simulator_codes(root: str) -> tuple[str, ...]:
    """Hashes of simulators that make the same files, the present one first: no month is made half by one and half by another."""
    return accepted(code_of(write_day), {"ROOTS.code": {root}})


def truth_path(task: DayTask) -> Path:
    """File with the regimes of the day."""
    return task.truth / f"{task.date.isoformat()}.parquet"


def _receipt_path(task: DayTask) -> Path:
    return truth_path(task).with_suffix(".json")


def write_receipt(task: DayTask, records: int) -> None:
    """Note how the task's file was made; written last: a file without it, from a run that was killed here, is simulated again."""
    size = (task.out / task.name).stat().st_size
    receipt = {"params": task.params.digest(), "code": simulator_codes(task.params.root)[0], "bytes": size, "records": records}
    write_text_atomic(_receipt_path(task), json.dumps(receipt) + "\n")


def run_day(task: DayTask) -> DayReceipt:
    """The receipt of a file that is simulated unless it is there; errors meant for users are in it."""
    start = time.perf_counter()
    try:
        if is_done(task):
            return DayReceipt(task.name, 0, 0.0)
        n = write_day(task.out, task.truth, task.date, task.params)
        write_receipt(task, n)
    except (EngineError, OSError) as e:
        return DayReceipt(task.name, 0, time.perf_counter() - start, f"{type(e).__name__}: {e}")
    return DayReceipt(task.name, n, time.perf_counter() - start)
