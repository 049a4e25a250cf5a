"""Bronze stage: a raw file's records by contract, all columns, in file order; and the index of raw files by date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BadDbn, DuplicateRaw, PartitionCorrupt, RawMissing
from engine.lake.catalog import BRONZE_MBO, dataset
from engine.lake.manifest import Lineage, sha256_file
from engine.lake.store import Lake
from engine.provenance import accepted, code_of
from engine.stages.base import own_root, params_hash
from engine.vocab import ACTION_CODES, NS, root_of, split_contract

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from engine.lake.writer import PartitionWriter
    from engine.mbo.dbn import DbnHeader, MboColumns, Tally

STAGE = "bronze"

PART_ROWS = 1_000_000
"""Rows of a part file: 54 MB in memory, so that a day of any size needs little."""

SIMULATED = ".SIM"
"""Suffix of the dataset name in simulated files; everything made from one has a note of it."""

SLOT_NS = 900 * NS
"""Length of a slot in which trades are counted; every session window starts and ends on a quarter of an hour."""


def _raw_key(lake: Lake, path: Path) -> str:
    return str(path.relative_to(lake.root))


def code_versions(symbol: str) -> tuple[str, ...]:
    """Code versions that make the same bronze rows of a contract, the current one first."""
    return accepted(code_of(convert), {"ROOTS.code": {root_of(symbol).code}}, own_root(symbol))


def why_stale_bronze(lake: Lake, symbol: str, raw: RawFile, *, keep: bool = True) -> str | None:
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
    name = _raw_key(lake, raw.path)
    if list(manifest.lineage.inputs) != [name]:
        return f"made from {', '.join(manifest.lineage.inputs)}, the file is now {name}"
    if manifest.observed.get("raw") == [raw.size, raw.mtime_ns]:
        return None
    # The file is hashed only where its size or time changed.
    return None if raw_sha256(lake, raw, keep=keep) == manifest.lineage.inputs[name] else f"input {name} changed"


class _Contract:
    """Buffer of one contract's records, written in parts of `PART_ROWS`."""

    def __init__(self, writer: PartitionWriter, ids: list[int]) -> None:
        self.writer = writer
        self.ids = ids
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

    def finish(self, header: DbnHeader, raw: RawFile, tally: Tally) -> None:
        self.flush()
        # A request that reached its limit was answered up to its last record, whatever end it names.
        limited = header.limit is not None and tally.records >= header.limit
        self.writer.notes = {
            "instrument_ids": sorted(self.ids),
            "dataset": header.dataset,
            "simulated": header.dataset.endswith(SIMULATED),
            "dbn_version": header.version,
            "dbn_start_ns": header.start_ns,
            "dbn_end_ns": min(header.end_ns, tally.last_ns + 1) if limited else header.end_ns,
            "trades_by_slot": {str(k): v for k, v in sorted(self.trades.items())},
        } | ({"limit": header.limit} if limited else {})
        self.writer.observed = {"raw": [raw.size, raw.mtime_ns]}


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


def build_bronze(lake: Lake, raw: RawFile, symbols: tuple[str, ...], *, overwrite: bool = False) -> int | None:
    """Convert the contracts `symbols` of a raw file to bronze; returns the rows written, or None where all were current.
    One pass over the file writes all of them atomically: a truncated file leaves none. Raises as `convert`.
    """
    todo = tuple(s for s in symbols if overwrite or why_stale_bronze(lake, s, raw) is not None)
    if not todo:
        return None
    lineage = Lineage(STAGE, params_hash({}), code_versions(todo[0])[0], {_raw_key(lake, raw.path): sha256_file(raw.path)})
    with ExitStack() as stack:
        made = convert(raw, todo, lambda symbol: stack.enter_context(lake.writer(BRONZE_MBO, symbol, raw.date, lineage)))
    return sum(writer.manifest.rows for writer in made if writer.manifest is not None)


def convert(raw: RawFile, symbols: tuple[str, ...], writer_of: Callable[[str], PartitionWriter]) -> list[PartitionWriter]:
    """Write the records of the contracts `symbols` of a raw file, each to a writer opened by `writer_of`; returns the writers.
    Raises BadDbn, UnmappedInstrument, LakeWriteFailed.
    """
    import numpy as np
    import polars as pl

    from engine.mbo.dbn import Tally, read_header, stream_columns

    header, tally = read_header(raw.path), Tally()
    made = [_Contract(writer_of(symbol), [i for i, s in header.symbols.items() if s == symbol]) for symbol in symbols]
    for columns in stream_columns(raw.path, root=root_of(symbols[0]).code, tally=tally):
        frame, is_trade = columns_frame(columns), columns.action == ACTION_CODES["T"]
        for contract in made:
            mine = np.logical_or.reduce([columns.instrument_id == i for i in contract.ids])
            if mine.any():
                contract.add(frame if mine.all() else frame.filter(pl.Series(mine)), columns.ts_event[is_trade & mine])
    for contract in made:
        contract.finish(header, raw, tally)
    return [contract.writer for contract in made]


def session_trades(notes: list[dict[str, Any]], start_ns: int, end_ns: int) -> int:
    """Number of trades in ``[start_ns, end_ns)``, whole quarters of an hour, by the notes of bronze partitions."""
    return sum(n for note in notes for slot, n in note["trades_by_slot"].items() if start_ns <= int(slot) < end_ns)


# ----------------------------------------------------------------------------
# The index of raw files by date and contract: read from the files' headers, never from their names, and cached

HEADER_CACHE = "raw_index.json"
HASH_CACHE = "raw_sha256.json"
SUFFIXES = (".dbn", ".dbn.zst")


@dataclass(frozen=True)
class RawFile:
    """A market-by-order file: path, UTC date, the outright contracts of the root that its metadata map, its size and time."""

    path: Path
    date: dt.date
    symbols: tuple[str, ...]
    size: int
    mtime_ns: int


@dataclass
class RawIndex:
    """The raw files of one root; `bad` has those with an unreadable header, with the reason."""

    root: str
    folder: Path
    files: list[RawFile] = field(default_factory=list)
    bad: dict[Path, BadDbn] = field(default_factory=dict)

    def dates(self, symbol: str) -> list[dt.date]:
        """Dates with a file for `symbol`, a root or a contract."""
        return sorted({f.date for f in self.files if symbol == self.root or symbol in f.symbols})

    @property
    def _add(self) -> str:
        return f"spymaster add FILE --lake {self.folder.parents[4]}"

    def _unreadable(self) -> str:
        """Text about unreadable files for errors, since one of them may be the missing one."""
        return f" and {len(self.bad)} that cannot be read: {'; '.join(map(str, self.bad.values()))}" if self.bad else ""

    def of(self, symbol: str, date: dt.date) -> list[tuple[RawFile, tuple[str, ...]]]:
        """Files and contracts to convert for `symbol` on `date`.
        Raises RawMissing where no file is of the date or maps the contract, and DuplicateRaw where two map the same one.
        """
        of_date = [f for f in self.files if f.date == date]
        if not of_date:
            raise RawMissing(
                f"{symbol} {date}: expected a .dbn or .dbn.zst file of that UTC date in {self.folder}, found none "
                f"({len(self.files)} of other dates){self._unreadable()}; `{self._add}` puts one there"
            )
        wanted = [(f, tuple(s for s in f.symbols if symbol in (self.root, s))) for f in of_date]
        wanted = [(f, s) for f, s in wanted if s]
        if not wanted:
            have = ", ".join(s for f in of_date for s in f.symbols) or "no outright contract"
            raise RawMissing(
                f"{symbol} {date}: expected a file that maps {symbol}, found {of_date[0].path} with {have}{self._unreadable()}; "
                f"`{self._add}` puts one there"
            )
        seen: dict[str, Path] = {}
        for f, symbols in wanted:
            for s in symbols:
                if s in seen:
                    raise DuplicateRaw(
                        f"{s} {date}: expected one raw file, found two: {seen[s]} and {f.path}; move one of them out of {self.folder}"
                    )
                seen[s] = f.path
        return wanted


def outrights(symbols: set[str] | list[str], root: str) -> tuple[str, ...]:
    """The outright contracts of `root` among `symbols`, sorted."""
    split = ((s, split_contract(s)) for s in symbols)
    return tuple(sorted(s for s, parts in split if parts is not None and parts[0].code == root))


def header_facts(path: Path, root: str) -> dict[str, Any]:
    """Date (ISO) and outright contracts of `root` in a file's header; a change of this code invalidates the cache of headers."""
    from engine.mbo.dbn import read_header  # slow to import, and rarely needed

    header = read_header(path)
    return {"date": header.date.isoformat(), "symbols": outrights(set(header.symbols.values()), root)}


def _is_facts(entry: dict[str, Any]) -> bool:
    """Whether a cached entry has what `header_facts` gives."""
    try:
        dt.date.fromisoformat(entry["date"])
    except (KeyError, TypeError, ValueError):
        return False
    symbols = entry.get("symbols")
    return isinstance(symbols, list) and all(isinstance(s, str) for s in symbols)


def raw_paths(folder: Path) -> list[Path]:
    """DBN files in a folder, sorted; folders and dangling links of such names are passed over (`Lake.passed_over` names them)."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in there if p.name.endswith(SUFFIXES) and not p.name.startswith(".") and p.is_file())


def raw_index(lake: Lake, root: str, *, keep: bool = True) -> RawIndex:
    """The index of the raw files of `root`; reads the headers of new or changed files, and caches them with `keep`."""
    folder = lake.raw_folder(root)
    index = RawIndex(root, folder)
    known = lake.read_cache(HEADER_CACHE)
    fresh = dict(known)
    code, *_ = accepted(code_of(header_facts), {"ROOTS.code": {root}}, own_root(root))
    for path in raw_paths(folder):
        stat = path.stat()
        name = _raw_key(lake, path)
        entry = known.get(name)
        expected = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "code": code}
        if not isinstance(entry, dict) or {k: entry.get(k) for k in expected} != expected or not _is_facts(entry):
            try:
                facts = header_facts(path, root)
            except BadDbn as e:
                index.bad[path] = e
                continue
            entry = {**expected, **facts}
            fresh[name] = entry
        index.files.append(RawFile(path, dt.date.fromisoformat(entry["date"]), tuple(entry["symbols"]), entry["size"], entry["mtime_ns"]))
    if keep and fresh != known:
        lake.write_cache(HEADER_CACHE, fresh)
    return index


def raw_sha256(lake: Lake, raw: RawFile, *, keep: bool = True) -> str:
    """SHA-256 of a raw file; with `keep` cached by size and time, so that a touched file is hashed only once."""
    name = _raw_key(lake, raw.path)
    known = lake.read_cache(HASH_CACHE)
    entry = known.get(name)
    if isinstance(entry, list) and len(entry) == 3 and entry[:2] == [raw.size, raw.mtime_ns]:
        return str(entry[2])
    found = sha256_file(raw.path)
    if keep:
        lake.write_cache(HASH_CACHE, {**known, name: [raw.size, raw.mtime_ns, found]})
    return found
