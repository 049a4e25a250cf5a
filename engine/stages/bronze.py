"""Bronze stage: the records of a UTC date by contract, all columns, in file order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.errors import PartitionCorrupt
from engine.lake.catalog import BRONZE_MBO, dataset
from engine.lake.manifest import Lineage, sha256_file
from engine.lake.store import Lake
from engine.provenance import accepted, code_of
from engine.stages.base import own_root, params_hash
from engine.stages.raw import RawDay, RawPart, raw_key, raw_sha256, read_conditions
from engine.vocab import ACTION_CODES, NS, root_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from engine.lake.writer import PartitionWriter
    from engine.mbo.dbn import DbnMetadata, MboColumns

STAGE = "bronze"

PART_ROWS = 1_000_000
"""Rows of a part file: 54 MB in memory, so that a day of any size needs little."""

SIMULATED = ".SIM"
"""Suffix of the dataset name in simulated files; everything made from one has a note of it."""

SLOT_NS = 900 * NS
"""Length of a slot in which trades are counted; every session window starts and ends on a quarter of an hour."""


def code_versions(symbol: str) -> tuple[str, ...]:
    """Code versions that make the same bronze rows of a contract, the current one first."""
    return accepted(code_of(convert), {"ROOTS.code": {root_of(symbol).code}}, own_root(symbol))


def why_stale_bronze(lake: Lake, symbol: str, raw: RawDay, *, keep: bool = True) -> str | None:
    """Why the bronze partition of `symbol` from `raw` is missing or stale, None where current; without `keep` no hash is cached."""
    try:
        manifest = lake.find_manifest(BRONZE_MBO, symbol, raw.date)
    except PartitionCorrupt as e:
        return str(e)
    if manifest is None:
        return "not there"
    if not dataset(BRONZE_MBO).contract().accepts(manifest.contract):
        return "the contract changed"
    if manifest.lineage.code not in code_versions(symbol):
        return "the code changed"
    files = {raw_key(lake, p.path): p for p in raw.parts}
    if set(manifest.lineage.inputs) != set(files):
        return f"made from {', '.join(manifest.lineage.inputs)}, now it is {', '.join(sorted(files))}"
    if manifest.lineage.params != params_hash(raw.recipe(lake)):
        return "other records of its raw files make it now"
    if manifest.observed.get("raw") == raw.observed:
        return None
    # Files are hashed only where their size or time changed.
    changed = (n for n, p in files.items() if raw_sha256(lake, p.path, keep=keep) != manifest.lineage.inputs[n])
    return next((f"input {name} changed" for name in changed), None)


class _Contract:
    """Buffer of one contract's records, written in parts of `PART_ROWS`."""

    def __init__(self, writer: PartitionWriter, symbol: str) -> None:
        self.writer = writer
        self.symbol = symbol
        self.ids: set[int] = set()
        self.rows = 0
        self.frames: list[pl.DataFrame] = []
        self.trades: dict[int, int] = {}

    def add(self, frame: pl.DataFrame, trade_ns: np.ndarray) -> None:
        import numpy as np

        slots, counts = np.unique(trade_ns // SLOT_NS * SLOT_NS, return_counts=True)
        for slot, n in zip(slots.tolist(), counts.tolist()):
            self.trades[slot] = self.trades.get(slot, 0) + n
        self.frames.append(frame)
        self.rows += frame.height
        if self.rows >= PART_ROWS:
            self.flush()

    def flush(self) -> None:
        import polars as pl

        rows = pl.concat(self.frames, rechunk=True) if self.frames else None
        self.frames, self.rows = [], 0
        while rows is not None and rows.height:
            self.writer.add(rows.head(PART_ROWS))
            rows = rows.slice(PART_ROWS)

    def finish(self, files: list[DbnMetadata], raw: RawDay, condition: str | None) -> None:
        self.flush()
        spans = raw.spans
        last = max(raw.parts, key=lambda p: (p.end_ns, p.limit is None))
        self.writer.notes = {
            "instrument_ids": sorted(self.ids),
            "dataset": files[0].dataset,
            "simulated": any(f.dataset.endswith(SIMULATED) for f in files),
            "dbn_version": files[0].version,
            "dbn_start_ns": spans[0][0],
            "dbn_end_ns": spans[-1][1],
            "trades_by_slot": {str(k): v for k, v in sorted(self.trades.items())},
        }
        if last.limit is not None:  # what another file brings after a reached limit is there
            self.writer.notes["limit"] = last.limit
        if condition is not None:
            self.writer.notes["condition"] = condition
        if len(spans) > 1:  # nothing is known between them, and the book is lost
            self.writer.notes["spans"] = [list(span) for span in spans]
        self.writer.observed = {"raw": raw.observed}


def columns_frame(columns: MboColumns) -> pl.DataFrame:
    """DBN columns as a frame under the bronze contract; only the two enums are copied."""
    import polars as pl

    data: dict[str, Any] = {}
    for column in dataset(BRONZE_MBO).contract().fields:
        values = getattr(columns, column.name)
        if column.dtype == "Enum":
            data[column.name] = pl.Series(column.symbols, dtype=column.polars_dtype()).gather(values)
        else:
            data[column.name] = values
    return pl.DataFrame(data)


def build_bronze(lake: Lake, raw: RawDay, symbols: tuple[str, ...], *, overwrite: bool = False) -> int | None:
    """Convert the contracts `symbols` of a UTC date to bronze; returns the rows written, or None where all were current.
    One pass over its files writes all of them atomically: a truncated file leaves none. Raises as `convert`.
    """
    todo = tuple(s for s in symbols if overwrite or why_stale_bronze(lake, s, raw) is not None)
    if not todo:
        return None
    inputs: dict[str, str | None] = {raw_key(lake, p.path): p.sha256 or sha256_file(p.path) for p in raw.parts}
    lineage = Lineage(STAGE, params_hash(raw.recipe(lake)), code_versions(todo[0])[0], inputs)
    with ExitStack() as stack:
        condition = read_conditions(lake).get(raw.date)
        made = convert(raw, todo, lambda symbol: stack.enter_context(lake.writer(BRONZE_MBO, symbol, raw.date, lineage)), condition)
    return sum(writer.manifest.rows for writer in made if writer.manifest is not None)


def convert(
    raw: RawDay, symbols: tuple[str, ...], writer_of: Callable[[str], PartitionWriter], condition: str | None = None
) -> list[PartitionWriter]:
    """Write the records of the contracts `symbols` of a UTC date, each to a writer opened by `writer_of`; returns the writers.
    The date's parts follow each other in their order; `condition` is what Databento calls the date. Raises BadDbn, LakeWriteFailed.
    """
    import numpy as np
    import polars as pl

    from engine.mbo.dbn import Tally, read_metadata, stream_part

    made = [_Contract(writer_of(symbol), symbol) for symbol in symbols]
    covered: list[RawPart] = []
    files = [read_metadata(part.path) for part in raw.parts]
    for part, metadata in zip(raw.parts, files):
        tally = Tally()
        ids = {c.symbol: part.contracts[c.symbol].ids for c in made}
        for columns in stream_part(part.path, {i for of in ids.values() for i in of}, first=part.first, records=part.records, tally=tally):
            frame, is_trade = columns_frame(columns), columns.action == ACTION_CODES["T"]
            for contract in made:
                mine = np.logical_or.reduce([columns.instrument_id == i for i in ids[contract.symbol]])
                if mine.any():
                    contract.add(frame if mine.all() else frame.filter(pl.Series(mine)), columns.ts_event[is_trade & mine])
        for contract in made:
            contract.ids.update(ids[contract.symbol])
        # A request that reached its limit was answered up to its last record, whatever end it names; facts know that already.
        reached = part.records is None and metadata.limit is not None and tally.records >= metadata.limit
        covered.append(replace(part, end_ns=min(part.end_ns, tally.last_ns + 1), limit=metadata.limit) if reached else part)
    for contract in made:
        contract.finish(files, replace(raw, parts=tuple(covered)), condition)
    return [contract.writer for contract in made]


def session_trades(notes: list[dict[str, Any]], start_ns: int, end_ns: int) -> int:
    """Number of trades in ``[start_ns, end_ns)``, whole quarters of an hour, by the notes of bronze partitions."""
    return sum(n for note in notes for slot, n in note["trades_by_slot"].items() if start_ns <= int(slot) < end_ns)
