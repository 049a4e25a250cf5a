"""The raw files of a root by UTC date and contract: which records of which files make a contract's date, and in which order.

What `spymaster add` saw of a file is in ``raw/.intake/``, under the file's own path and name with ``.json`` added: its hash, and per UTC
date the records ``[first, first + records)`` that were received on it, the span that the file covers, and of each contract the instrument
ids, the number of records, and the first and last time of reception (`Facts`). A file without such facts (simulated, or put there by hand)
is taken by its header: one UTC date, all of its records. The raw files themselves stay byte for byte as they came.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import OUT_OF_FILES, BadDbn, DuplicateRaw, NotOneDate, PartitionCorrupt, RawMissing, RawUnreadable, unreadable
from engine.lake.catalog import raw_name_fault
from engine.lake.manifest import NOT_JSON, sha256_file, small_text
from engine.lake.store import Lake
from engine.lake.writer import write_text_atomic
from engine.provenance import accepted, code_of
from engine.vocab import split_contract

if TYPE_CHECKING:
    from pydantic import TypeAdapter

HEADER_CACHE = "raw_index.json"
HASH_CACHE = "raw_sha256.json"
INTAKE_DIR = "raw/.intake"
FORMAT = 1


@dataclass(frozen=True)
class ContractPart:
    """A contract's records in a part: instrument ids, number of records, first and last time of reception, and hashes (of all in order, of
    the first of the first and of the last instant). Of a file that was never read to its end, `records` is None, and the times are those
    that its header claims.
    """

    ids: tuple[int, ...]
    records: int | None
    first_ns: int
    last_ns: int
    content: int = 0
    first_mark: int = 0
    last_mark: int = 0


@dataclass(frozen=True)
class RawPart:
    """The records of one raw file on one UTC date: ``[first, first + records)``, all of them where `records` is None.

    path, size, mtime_ns: the file
    start_ns, end_ns: span of the date that the file covers
    contracts: outright contracts of the root
    plain: whether the file's header alone says all of this, so that nothing else has to be remembered of it
    sha256: hash of the file, where it is known without reading it
    limit: the request's limit, where it is known to have been reached on this date: then the part ends at the file's last record
    """

    path: Path
    size: int
    mtime_ns: int
    date: dt.date
    start_ns: int
    end_ns: int
    contracts: dict[str, ContractPart]
    first: int = 0
    records: int | None = None
    plain: bool = True
    sha256: str | None = None
    limit: int | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """The contracts' symbols, sorted."""
        return tuple(sorted(self.contracts))


@dataclass(frozen=True)
class RawDay:
    """The parts that make the UTC date of some contracts, in the order of their records; most often one."""

    date: dt.date
    parts: tuple[RawPart, ...]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The spans ``[start, end)`` of the date that the parts cover, in order; more than one where there is a hole between them."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted((p.start_ns, p.end_ns) for p in self.parts):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    @property
    def observed(self) -> list[Any]:
        """Sizes and times of the files: of one ``[size, time]``, of several a list of such."""
        found = [[p.size, p.mtime_ns] for p in self.parts]
        return found[0] if len(found) == 1 else found

    def recipe(self, lake: Lake) -> dict[str, Any]:
        """What makes the rows besides the files' bytes: nothing where one plain file is the date."""
        if len(self.parts) == 1 and self.parts[0].plain:
            return {}
        return {
            "parts": [
                {
                    "file": raw_key(lake, p.path), "first": p.first, "records": p.records, "start_ns": p.start_ns, "end_ns": p.end_ns,
                    "ids": {s: list(c.ids) for s, c in sorted(p.contracts.items())},
                }
                for p in self.parts
            ]
        }  # fmt: skip


def overlap(a: ContractPart, b: ContractPart) -> bool:
    """Whether two parts hold records of a contract in one span of time: then some of them came twice.
    Two that meet in one instant are neighbours, as files that were split by size are, unless that instant begins with the same record.
    """
    if 0 in (a.records, b.records):
        return False
    a, b = sorted((a, b), key=lambda c: (c.first_ns, c.last_ns))
    return a.last_ns > b.first_ns or (a.last_ns == b.first_ns and a.last_mark == b.first_mark)


@dataclass
class RawIndex:
    """The raw files of one root; `bad` has those that cannot be read, with the reason, or the folder itself."""

    root: str
    folder: Path
    files: list[RawPart] = field(default_factory=list)
    bad: dict[Path, BadDbn | RawUnreadable] = field(default_factory=dict)

    def dates(self, symbol: str) -> list[dt.date]:
        """Dates with a file for `symbol`, a root or a contract."""
        return sorted({f.date for f in self.files if symbol == self.root or symbol in f.contracts})

    @property
    def _add(self) -> str:
        return f"spymaster add FILE --lake {shlex.quote(str(self.folder.parents[4]))}"

    def _unreadable(self) -> str:
        """Text about unreadable files for errors, since one of them may be the missing one."""
        return f" and {len(self.bad)} that cannot be read: {'; '.join(map(str, self.bad.values()))}" if self.bad else ""

    def of(self, symbol: str, date: dt.date) -> list[tuple[RawDay, tuple[str, ...]]]:
        """What to convert for `symbol`, a root or a contract, on `date`: contracts whose records stand in the same parts, together.
        Raises RawMissing where no file is of the date or maps the contract, and DuplicateRaw where two hold the same time of one.
        """
        of_date = [f for f in self.files if f.date == date]
        if not of_date:
            raise RawMissing(
                f"{symbol} {date}: expected a .dbn or .dbn.zst file of that UTC date in {self.folder}, found none "
                f"({len({f.path for f in self.files})} of other dates){self._unreadable()}; `{self._add}` puts one there"
            )
        wanted = sorted({s for f in of_date for s in f.contracts if symbol in (self.root, s)})
        if not wanted:
            have = ", ".join(sorted({s for f in of_date for s in f.contracts})) or "no outright contract"
            raise RawMissing(
                f"{symbol} {date}: expected a file that maps {symbol}, found {of_date[0].path} with {have}{self._unreadable()}; "
                f"`{self._add}` puts one there"
            )
        groups: dict[tuple[Path, ...], tuple[RawDay, list[str]]] = {}
        for contract in wanted:
            day = self._joined(contract, date, of_date)
            groups.setdefault(tuple(p.path for p in day.parts), (day, []))[1].append(contract)
        return [(day, tuple(symbols)) for day, symbols in groups.values()]

    def _joined(self, contract: str, date: dt.date, of_date: list[RawPart]) -> RawDay:
        """The parts of a contract's date in the order of their records."""
        parts = _without_sealed([p for p in of_date if contract in p.contracts], contract)
        parts.sort(key=lambda p: (p.contracts[contract].first_ns, p.contracts[contract].last_ns, p.start_ns, p.path))
        for i, later in enumerate(parts):
            for earlier in parts[:i]:
                if overlap(earlier.contracts[contract], later.contracts[contract]):
                    raise DuplicateRaw(
                        f"{contract} {date}: expected one raw file, found two: {earlier.path} and {later.path}, which hold the same time; "
                        f"move one of them out of {self.folder}"
                    )
        return RawDay(date, tuple(parts))


LIVE_NAME = "-live-"
"""In the name of a file that was sealed from the live feed's journal."""


def _without_sealed(parts: list[RawPart], contract: str) -> list[RawPart]:
    """The parts without those sealed from the live feed whose time a downloaded file has too: that one is the venue's last word."""
    downloaded = [p for p in parts if LIVE_NAME not in p.path.name]
    return [
        p for p in parts
        if LIVE_NAME not in p.path.name or not any(overlap(p.contracts[contract], d.contracts[contract]) for d in downloaded)
    ]  # fmt: skip


def outrights(symbols: Iterable[str], root: str) -> tuple[str, ...]:
    """The outright contracts of `root` among `symbols`, sorted."""
    split = ((s, split_contract(s)) for s in symbols)
    return tuple(sorted(s for s, parts in split if parts is not None and parts[0].code == root))


def raw_key(lake: Lake, path: Path) -> str:
    """Name of a raw file in a lineage's inputs and in the caches: its path in the lake."""
    return str(path.relative_to(lake.root))


def raw_paths(folder: Path) -> list[Path]:
    """DBN files in a folder, sorted; what else is there is passed over (`Lake.passed_over` names it). Raises RawUnreadable."""
    try:
        there = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as e:
        raise unreadable(folder, e) from e
    return [p for p in there if not raw_name_fault(p.name) and os.path.isfile(p)]


# ----------------------------------------------------------------------------
# Facts: what `spymaster add` saw of a file when it read it to its end


@dataclass(frozen=True)
class DatePart:
    """A file's records on one UTC date, with its contracts; as `RawPart`."""

    date: str
    start_ns: int
    end_ns: int
    first: int
    records: int
    contracts: dict[str, ContractPart]


@dataclass(frozen=True)
class Facts:
    """What is known of a raw file under one root.

    size, mtime_ns, sha256: the file, so that facts of another one are noticed
    records: of all instruments
    plain: whether its header alone says all that follows
    names: where the contracts' names came from: ``metadata``, ``messages`` of a recording, or the file that resolved them
    unmapped: records left out by instrument id, since no symbol is known of it
    limit: the request's limit, where it was reached
    """

    size: int
    mtime_ns: int
    sha256: str
    dataset: str
    records: int
    plain: bool
    names: str
    unmapped: dict[str, int]
    dates: tuple[DatePart, ...]
    limit: int | None = None
    format: int = FORMAT


def facts_path(lake: Lake, path: Path) -> Path:
    """Where the facts of a raw file stand."""
    return lake.root / INTAKE_DIR / path.relative_to(lake.root / "raw").with_name(path.name + ".json")


def write_facts(lake: Lake, path: Path, facts: Facts) -> None:
    """Write the facts of a raw file."""
    write_text_atomic(facts_path(lake, path), json.dumps(asdict(facts), indent=1, sort_keys=True) + "\n")


def read_facts(lake: Lake, path: Path, *, keep: bool = True) -> Facts | None:
    """The facts of a raw file; None where there are none, or where they are of other bytes than the file's.
    Where only the file's time differs, it is hashed once; with `keep` that is cached.
    """
    where = facts_path(lake, path)
    try:
        found = _facts_model().validate_json(small_text(where, str(where)), strict=True)
        parts_of(path, found)  # its dates are dates
    except (*NOT_JSON, PartitionCorrupt):
        return None
    stat = path.stat()
    if found.format != FORMAT or found.size != stat.st_size:
        return None
    same = found.mtime_ns == stat.st_mtime_ns or raw_sha256(lake, path, keep=keep) == found.sha256
    return found if same else None


@cache
def _facts_model() -> TypeAdapter[Facts]:
    """A strict model of a file of facts."""
    from pydantic import TypeAdapter  # slow to import, and many lakes have no facts

    return TypeAdapter(Facts)


# ----------------------------------------------------------------------------
# The index: from facts, else from the files' headers, never from their names; headers are cached


def header_facts(path: Path, root: str) -> dict[str, Any]:
    """Date (ISO), span and outright contracts of `root` with their instrument ids by a file's header; a change of this code invalidates the
    cache of headers. Raises BadDbn where the header does not say all that is needed.
    """
    from engine.mbo.dbn import read_header  # slow to import, and rarely needed

    header = read_header(path)
    by_symbol = {s: [i for i, symbol in header.symbols.items() if symbol == s] for s in outrights(set(header.symbols.values()), root)}
    return {"date": header.date.isoformat(), "start_ns": header.start_ns, "end_ns": header.end_ns, "contracts": by_symbol}


def _header_part(path: Path, entry: dict[str, Any]) -> RawPart:
    """The part that a cached header tells of; KeyError, TypeError, ValueError, AttributeError where the entry is none of `header_facts`."""
    start, end = int(entry["start_ns"]), int(entry["end_ns"])
    contracts = {str(s): ContractPart(tuple(map(int, ids)), None, start, end - 1) for s, ids in entry["contracts"].items()}
    return RawPart(path, entry["size"], entry["mtime_ns"], dt.date.fromisoformat(entry["date"]), start, end, contracts)


def raw_index(lake: Lake, root: str, *, keep: bool = True) -> RawIndex:
    """The index of the raw files of `root`; reads the headers of new or changed files without facts, and caches them with `keep`."""
    folder = lake.raw_folder(root)
    index = RawIndex(root, folder)
    known = lake.read_cache(HEADER_CACHE)
    fresh = dict(known)
    code = ""
    try:
        paths = raw_paths(folder)
    except RawUnreadable as e:
        paths, index.bad[folder] = [], e
    for path in paths:
        try:
            stat = path.stat()
            facts = read_facts(lake, path, keep=keep)
        except FileNotFoundError:
            continue  # gone since a moment ago
        if facts is not None:
            index.files += parts_of(path, facts)
            continue
        code = code or accepted(code_of(header_facts), {"ROOTS.code": {root}})[0]
        name = raw_key(lake, path)
        expected = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "code": code}
        entry = known.get(name)
        try:
            if not isinstance(entry, dict) or {k: entry.get(k) for k in expected} != expected:
                raise KeyError(name)
            part = _header_part(path, entry)
        except (KeyError, TypeError, ValueError, AttributeError):
            try:
                fresh[name] = {**expected, **header_facts(path, root)}
            except NotOneDate as e:
                index.bad[path] = NotOneDate(f"{e}: `spymaster add {shlex.quote(str(path))} --lake {shlex.quote(str(lake.root))}`")
                continue
            except (BadDbn, RawUnreadable) as e:
                if isinstance(e.__cause__, OSError) and e.__cause__.errno in OUT_OF_FILES:
                    raise  # of a process that may open no more files no file is at fault
                index.bad[path] = e
                continue
            part = _header_part(path, fresh[name])
        index.files.append(part)
    if keep and fresh != known:
        lake.write_cache(HEADER_CACHE, fresh)
    return index


def parts_of(path: Path, facts: Facts) -> list[RawPart]:
    """The parts that a file with facts has."""
    return [
        RawPart(
            path, facts.size, facts.mtime_ns, dt.date.fromisoformat(d.date), d.start_ns, d.end_ns, d.contracts, d.first, d.records,
            facts.plain, facts.sha256, facts.limit if d is facts.dates[-1] else None,
        )
        for d in facts.dates
    ]  # fmt: skip


def raw_sha256(lake: Lake, path: Path, *, keep: bool = True) -> str:
    """SHA-256 of a raw file; with `keep` cached by size and time, so that a touched file is hashed only once."""
    stat = path.stat()
    name = raw_key(lake, path)
    known = lake.read_cache(HASH_CACHE)
    entry = known.get(name)
    if isinstance(entry, list) and len(entry) == 3 and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
        return str(entry[2])
    found = sha256_file(path)
    if keep:
        lake.write_cache(HASH_CACHE, {**known, name: [stat.st_size, stat.st_mtime_ns, found]})
    return found


# ----------------------------------------------------------------------------
# What Databento says of a day as a whole

CONDITIONS = "raw/source=databento/condition.json"


def read_conditions(lake: Lake) -> dict[dt.date, str]:
    """Databento's condition of UTC dates (``degraded``, ``available``, ...) by the ``condition.json`` of deliveries; empty without."""
    try:
        found = json.loads(small_text(lake.root / CONDITIONS, CONDITIONS))
        return {dt.date.fromisoformat(date): str(condition) for date, condition in found.items()}
    except (*NOT_JSON, PartitionCorrupt):
        return {}


def write_conditions(lake: Lake, said: dict[dt.date, str]) -> None:
    """Add conditions of dates to those that are known; a newer word replaces an older one."""
    known = {**read_conditions(lake), **said}
    write_text_atomic(lake.root / CONDITIONS, json.dumps({d.isoformat(): c for d, c in sorted(known.items())}, indent=1) + "\n")


def condition_lines(lake: Lake, dates: Iterable[dt.date]) -> list[str]:
    """A sentence for each of `dates` that Databento does not call available."""
    known = read_conditions(lake)
    return [
        f"{d}: Databento calls the data of this UTC date {known[d]} (condition.json): some of it may be missing or wrong"
        for d in sorted(dates)
        if known.get(d, "available") != "available"
    ]
