"""Which raw file holds which date: read from the files' headers, never from their names, and remembered."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import BadDbn, DuplicateRaw, RawMissing
from engine.lake.manifest import sha256_file
from engine.lake.store import Lake
from engine.provenance import accepted, code_of
from engine.vocab import split_contract

CACHE = "raw_index.json"
HASHES = "raw_sha256.json"
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
    """The raw files of one root; `bad` has those whose header cannot be read, with the reason."""

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
        """One of the unreadable files may be the one that is looked for."""
        return f" and {len(self.bad)} that cannot be read: {'; '.join(map(str, self.bad.values()))}" if self.bad else ""

    def of(self, symbol: str, date: dt.date) -> list[tuple[RawFile, tuple[str, ...]]]:
        """Files and contracts to convert for `symbol` on `date`.

        Raises
        ------
        RawMissing
            No file of the date, or none that maps the contract.
        DuplicateRaw
            Two files of the date map the same contract.
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
    """Those of `symbols` that are outright contracts of `root`, sorted."""
    split = ((s, split_contract(s)) for s in symbols)
    return tuple(sorted(s for s, parts in split if parts is not None and parts[0].code == root))


def header_facts(path: Path, root: str) -> dict[str, Any]:
    """Date (ISO) and outright contracts of `root` that a file's header names; after a change here, headers are read again.

    Raises
    ------
    BadDbn
    """
    from engine.mbo.dbn import read_header  # the DBN reader is slow to import, and mostly not needed

    header = read_header(path)
    return {"date": header.date.isoformat(), "symbols": outrights(set(header.symbols.values()), root)}


def raw_paths(folder: Path) -> list[Path]:
    """DBN files in a folder, sorted."""
    return sorted(p for p in folder.iterdir() if p.name.endswith(SUFFIXES) and not p.name.startswith(".")) if folder.is_dir() else []


def raw_index(lake: Lake, root: str, *, keep: bool = True) -> RawIndex:
    """Index the raw files of `root`, reading the header of those that are new or changed.

    Parameters
    ----------
    lake, root
        Where to look.
    keep
        Remember what was read; a command that only looks does not write.
    """
    folder = lake.raw_folder(root)
    index = RawIndex(root, folder)
    known = lake.cached(CACHE)
    fresh = dict(known)
    code, *_ = accepted(code_of(header_facts), {"ROOTS.code": {root}})
    for path in raw_paths(folder):
        stat = path.stat()
        name = str(path.relative_to(lake.root))
        entry = known.get(name)
        if entry is None or (entry["size"], entry["mtime_ns"]) != (stat.st_size, stat.st_mtime_ns) or entry.get("code") != code:
            try:
                facts = header_facts(path, root)
            except BadDbn as e:
                index.bad[path] = e
                continue
            entry = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "code": code, **facts}
            fresh[name] = entry
        index.files.append(RawFile(path, dt.date.fromisoformat(entry["date"]), tuple(entry["symbols"]), entry["size"], entry["mtime_ns"]))
    if keep and fresh != known:
        lake.cache(CACHE, fresh)
    return index


def raw_sha256(lake: Lake, raw: RawFile, *, keep: bool = True) -> str:
    """SHA-256 of a raw file; with `keep` remembered by size and time, so that a touched file is hashed once, not in every run."""
    name = str(raw.path.relative_to(lake.root))
    known = lake.cached(HASHES)
    entry = known.get(name)
    if isinstance(entry, list) and entry[:2] == [raw.size, raw.mtime_ns]:
        return str(entry[2])
    found = sha256_file(raw.path)
    if keep:
        lake.cache(HASHES, {**known, name: [raw.size, raw.mtime_ns, found]})
    return found
