"""Bronze of a root's options: the records of a UTC date of one table, from every raw file that covers it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BadDbn, EngineError, PartitionCorrupt, RawMissing, RawUnreadable, unreadable
from engine.lake.catalog import OPTION_TABLES, dataset
from engine.lake.manifest import Lineage, sha256_file
from engine.lake.store import Lake
from engine.provenance import accepted, code_of
from engine.sessions import utc_dates, utc_day
from engine.stages.base import own_root, params_hash
from engine.stages.bronze import SIMULATED
from engine.stages.raw import raw_key, raw_paths, raw_sha256
from engine.vocab import root_of, split_contract

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from engine.mbo.dbn import DbnMetadata

STAGE = "option_bronze"
PART_ROWS = 1_000_000


@dataclass(frozen=True)
class OptionDay:
    """The raw files of one table that cover a UTC date."""

    root: str
    table: str
    date: dt.date
    paths: tuple[Path, ...]

    @property
    def key(self) -> str:
        """The dataset that it becomes."""
        return OPTION_TABLES[self.table]


@lru_cache(maxsize=4096)
def _metadata(path: Path, mtime_ns: int, size: int) -> DbnMetadata:
    from engine.mbo.dbn import read_metadata

    return read_metadata(path)


def metadata(path: Path) -> DbnMetadata:
    """What a file says of itself, read again where it changed. Raises BadDbn, RawMissing, RawUnreadable."""
    try:
        stat = path.stat()
    except OSError as e:
        raise unreadable(path, e) from e
    return _metadata(path, stat.st_mtime_ns, stat.st_size)


def option_days(lake: Lake, root: str, table: str, bad: dict[Path, EngineError] | None = None) -> dict[dt.date, OptionDay]:
    """The UTC dates that a table's raw files cover, by their metadata; files that cannot be read are passed over, into `bad`."""
    found: dict[dt.date, list[Path]] = {}
    for path in raw_paths(lake.option_folder(root, table)):
        try:
            known = metadata(path)
        except (BadDbn, RawMissing, RawUnreadable) as e:
            if bad is not None:
                bad[path] = e
            continue
        for date in utc_dates(known.start_ns, max(known.end_ns or 0, known.start_ns + 1)):
            found.setdefault(date, []).append(path)
    return {date: OptionDay(root, table, date, tuple(paths)) for date, paths in sorted(found.items())}


def option_day(lake: Lake, root: str, table: str, date: dt.date) -> OptionDay:
    """The raw files of a table's date; RawMissing where none covers it."""
    days = option_days(lake, root, table)
    if date not in days:
        raise RawMissing(
            f"{root} options {date}: expected a {table} file of that UTC date in {lake.option_folder(root, table)}, found none "
            f"({len(days)} other dates)"
        )
    return days[date]


def code_versions(root: str) -> tuple[str, ...]:
    """Code versions that make the same rows, the current one first."""
    return accepted(code_of(rows_of), {"ROOTS.code": {root}}, own_root(root))


def why_stale_options(lake: Lake, day: OptionDay, *, keep: bool = True) -> str | None:
    """Why the bronze of a table's date is missing or stale, None where it is current."""
    try:
        manifest = lake.find_manifest(day.key, day.root, day.date)
    except PartitionCorrupt as e:
        return str(e)
    if manifest is None:
        return "not there"
    if not dataset(day.key).contract().accepts(manifest.contract):
        return "the contract changed"
    if manifest.lineage.code not in code_versions(day.root):
        return "the code changed"
    files = {raw_key(lake, p): p for p in day.paths}
    if set(manifest.lineage.inputs) != set(files):
        return f"made from {', '.join(manifest.lineage.inputs)}, now it is {', '.join(sorted(files))}"
    changed = (n for n, p in files.items() if raw_sha256(lake, p, keep=keep) != manifest.lineage.inputs[n])
    return next((f"input {name} changed" for name in changed), None)


def build_options(lake: Lake, day: OptionDay, *, overwrite: bool = False) -> int | None:
    """Convert a table's date to bronze; returns the rows written, or None where it was current. Raises BadDbn, LakeWriteFailed."""
    if not overwrite and why_stale_options(lake, day) is None:
        return None
    inputs: dict[str, str | None] = {raw_key(lake, p): sha256_file(p) for p in day.paths}
    lineage = Lineage(STAGE, params_hash({}), code_versions(day.root)[0], inputs)
    counts: dict[str, int] = {}
    with lake.writer(day.key, day.root, day.date, lineage) as writer:
        for frame in rows_of(day, counts):
            writer.add(frame)
        files = [metadata(p) for p in day.paths]
        writer.notes = {
            "dataset": files[0].dataset, "dbn_version": files[0].version, "files": len(files),
            "simulated": any(f.dataset.endswith(SIMULATED) for f in files), "left_out": counts,
        }  # fmt: skip
    return writer.manifest.rows if writer.manifest is not None else 0


def rows_of(day: OptionDay, counts: dict[str, int]) -> Iterator[pl.DataFrame]:
    """Yield the records that were received on the date, file by file in order; `counts` says how many were left out, and why.

    An instrument that two files hold is taken from the first for as long as that one covers, by its metadata: a download by parent and one
    of everything overlap, two that split a date by time do not. Definitions are read twice: a spread's legs may stand after it.
    """
    import numpy as np

    from engine.options.records import frame_of

    spreads = spreads_of((r for path in day.paths for r in _received(path, day)), day.root) if day.table == "definition" else None
    earlier: list[tuple[int, int, np.ndarray]] = []
    for path in day.paths:
        mine: list[np.ndarray] = []
        for records in _received(path, day):
            twice = np.zeros(len(records), np.bool_)
            for first, last, ids in earlier:
                covered = (records["ts_recv"] >= first) & (records["ts_recv"] < last)
                twice |= covered & np.isin(records["instrument_id"], ids)
            use = ~twice
            if spreads is not None:
                other = use & ~of_root(records, day.root, spreads)
                use &= ~other
                _count(counts, "of another root or no option", other)
            _count(counts, "in an earlier file as well", twice)
            mine.append(np.unique(records["instrument_id"]))
            rows = frame_of(records[use], day.table)
            unknown = [c for c in ("side", "action") if c in rows.columns and rows.get_column(c).null_count()]
            if unknown:
                raise BadDbn(f"{path}: expected an aggressor's side B, A or N and an action of DBN, found others; fetch the file again")
            if rows.height:
                yield rows
        known = metadata(path)
        last = known.end_ns or utc_day(day.date)[1]  # without an end it goes on
        earlier.append((known.start_ns, last, np.unique(np.concatenate([np.empty(0, np.uint32), *mine]))))


def _received(path: Path, day: OptionDay) -> Iterator[np.ndarray]:
    """Records of a file that were received on the date, chunk by chunk."""
    from engine.options.records import read_records

    start, end = utc_day(day.date)
    for records in read_records(path, day.table):
        yield records[(records["ts_recv"] >= start) & (records["ts_recv"] < end)]


def _count(counts: dict[str, int], why: str, which: np.ndarray) -> None:
    if n := int(which.sum()):
        counts[why] = counts.get(why, 0) + n


def _on_root(definitions: np.ndarray, root: str) -> np.ndarray:
    """Which definitions have an outright of the root as their underlying."""
    import numpy as np

    wanted = root_of(root).code

    def outright(symbol: bytes) -> bool:
        parts = split_contract(symbol.decode("latin-1"))
        return parts is not None and parts[0].code == wanted

    names, at = np.unique(definitions["underlying"], return_inverse=True)
    return np.array([outright(s) for s in names], np.bool_)[at]


def _options(definitions: np.ndarray, root: str) -> np.ndarray:
    import numpy as np

    return _on_root(definitions, root) & np.isin(definitions["instrument_class"], (b"C", b"P"))


def spreads_of(chunks: Iterable[np.ndarray], root: str) -> np.ndarray:
    """Ids of spreads on the root's outrights, or with a leg that is an option on one, wherever in the chunks its definition stands."""
    import numpy as np

    none = np.empty(0, np.uint32)
    options, spreads, legs, found = [none], [none], [none], [none]
    for definitions in chunks:
        of_leg, on_root = definitions["leg_count"] > 0, _on_root(definitions, root)
        options.append(definitions["instrument_id"][_options(definitions, root)])
        found.append(definitions["instrument_id"][of_leg & on_root])
        spreads.append(definitions["instrument_id"][of_leg])
        legs.append(definitions["leg_instrument_id"][of_leg])
    with_leg = np.isin(np.concatenate(legs), np.concatenate(options))
    return np.unique(np.concatenate([*found, np.concatenate(spreads)[with_leg]]))


def of_root(definitions: np.ndarray, root: str, spreads: np.ndarray) -> np.ndarray:
    """Which definitions are of an option whose underlying is an outright of the root, or of one of these spreads (`spreads_of`)."""
    import numpy as np

    return _options(definitions, root) | np.isin(definitions["instrument_id"], spreads)
