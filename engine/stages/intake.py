"""What comes from outside into the lake's raw folder: files, folders and zip archives, by what is inside them, never by their names.

Market-by-order and definition files are told by their metadata; ``symbology.json``, ``condition.json`` and ``manifest.json`` of a batch job
by their shape. Every market-by-order file is read to its end once, in one pass that copies it (unless a link was asked for), hashes it,
checks it, and counts its records by UTC date and instrument (`engine.mbo.dbn.survey`); then its contracts are named, and under the lake's
lock what is there already is compared, and the file is put under each root, as it came, with its facts (`engine.stages.raw`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import os
import shlex
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BadDbn, DuplicateRaw, EngineError, NameTaken, RawMissing, UnmappedInstrument, unreadable
from engine.lake.catalog import RAW_SUFFIXES
from engine.lake.manifest import MOST_BYTES
from engine.lake.store import Lake
from engine.lake.writer import clone, fsync_path, put_raw, sweep, temporary, writing
from engine.sessions import utc_dates
from engine.stages.deliveries import READ_BYTES, Found, Reading, kind_of, one_file, walk
from engine.stages.raw import (
    INTAKE_DIR,
    ContractPart,
    DatePart,
    Facts,
    RawPart,
    facts_path,
    overlap,
    parts_of,
    raw_index,
    raw_sha256,
    read_facts,
    write_conditions,
    write_facts,
)
from engine.stages.symbology import Named, Names, definition_names, name_instruments, symbology_names, why_no_root, why_unnamed
from engine.vocab import NS, known_roots, split_contract

if TYPE_CHECKING:
    from engine.mbo.dbn import DbnMetadata, Survey

DATASETS = ("GLBX.MDP3", "GLBX.MDP3.SIM")
STORED = ("definition", "statistics", "tbbo", "bbo-1m")
"""Schemas besides mbo that `spymaster download` brings and the lake keeps; of these definitions are read, to name instruments."""

_DAY_NS = 86_400 * NS


class OtherSchema(BadDbn):
    """A Databento file of another schema than market-by-order."""


class NotDatabento(BadDbn):
    """A file that is no Databento binary file."""


@dataclass
class Look:
    """What one pass over a market-by-order file gave: what it holds, its hash, and the lake's copy of it; None where it shall be linked."""

    found: Found
    survey: Survey
    sha256: str
    copy: Path | None

    def done(self) -> None:
        """Remove the copy: what was put into the lake is a link to it."""
        if self.copy is not None:
            self.copy.unlink(missing_ok=True)


@dataclass
class Line:
    """What became of a delivery under one root: ``added``, ``there already``, ``used`` (its names) or ``passed over``.

    dates: UTC dates that it holds
    said: what a user should know of it, in sentences
    replaced: files that gave way, where they are now
    """

    what: str
    source: str
    place: str = ""
    root: str = ""
    dates: list[dt.date] = field(default_factory=list)
    contracts: tuple[str, ...] = ()
    records: int = 0
    said: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


Progress = Callable[[str, float], object]
"""Called with the name of the file that is being read, and the share of all bytes that have been read."""


class Intake:
    """Takes deliveries into the raw folder of `lake`; `lines` and `faults` (error and sentence) say what became of them.

    lake: where to
    link: files are hard-linked, not copied; what is in an archive is copied all the same
    replace: a file that holds all that whole files there hold of its dates, and more, takes their place
    stored: schemas besides mbo that are put into the lake, not passed over
    """

    def __init__(self, lake: Lake, *, link: bool = False, replace: bool = False, stored: tuple[str, ...] = ("definition",)) -> None:
        self.lake, self.link, self.replace, self.stored = lake, link, replace, stored
        self.lines: list[Line] = []
        self.faults: list[str] = []
        self.files = 0
        self._names: list[Names] = []
        self._given: dict[str, set[str]] = {}
        self._hashes: dict[str, dict[str, str]] = {}
        self._moved: dict[Path, Path] = {}
        self._shelves: dict[str, _Shelf] = {}
        self._definitions = _StoredDefinitions(lake)

    def take(self, sources: list[Path], progress: Progress = lambda name, share: None) -> None:
        """Take every file among `sources`, folders and archives; a file that cannot be taken does not stop the others.
        Raises RawMissing where nothing was found that could be one.
        """
        texts: list[Found] = []
        others: list[tuple[Found, DbnMetadata]] = []
        books: list[Found] = []
        absent: list[str] = []
        for found in walk(sources, absent):
            self.files += 1
            self._given.setdefault(found.folder, set()).add(found.name)
            with self._faults_of(found):
                metadata = self._first_look(found)
                if metadata is None:
                    texts.append(found)
                elif metadata.schema in self.stored or _options_in(metadata):
                    others.append((found, metadata))
                else:
                    books.append(found)
        self.faults += absent
        self.files += len(absent)
        # What manifests say of the other files first, then what names instruments.
        for take in (self._take_manifest, self._take_text):
            for found in texts:
                with self._faults_of(found):
                    take(found)
        for found, metadata in others:
            with self._faults_of(found):
                self._store(found, metadata)
        total, done = max(sum(f.size for f in books), 1), 0
        for found in books:

            def reached(share: float, found: Found = found, before: int = done) -> None:
                progress(found.name, (before + share * found.size) / total)

            with self._faults_of(found):
                self._take_book(found, reached)
            done += found.size
        self._missing_of_manifests()
        if not self.lines and not self.faults:
            raise RawMissing(
                f"{', '.join(map(str, sources))}: expected files that end in {' or '.join(RAW_SUFFIXES)}, found none; check the path"
            )

    @contextmanager
    def _faults_of(self, found: Found) -> Iterator[None]:
        try:
            yield
        except (OtherSchema, NotDatabento) as e:
            # In a folder such files are company of others; where the user names one, it was meant.
            if found.named:
                self._fault(e)
            else:
                self.lines.append(Line("passed over", found.label, said=[str(e).removeprefix(f"{found.label}: ")]))
        except (EngineError, OSError, zipfile.BadZipFile) as e:
            self._fault(e)
        finally:
            self._moved.clear()

    def _fault(self, error: BaseException) -> None:
        moved = "".join(f"; the damaged {old} had been moved to {new}" for old, new in self._moved.items())
        self.faults.append(f"{type(error).__name__}: {error}{moved}")

    # --- what a file is

    def _first_look(self, found: Found) -> DbnMetadata | None:
        """The metadata of a market-by-order file, or of another one that the lake keeps; None of a JSON file. Raises for all else."""
        kind = kind_of(found)
        if kind == "json":
            return None
        if kind == "an empty file":
            raise BadDbn(f"{found.label}: is empty; fetch the file again (databento: batch download, or timeseries.get_range to a file)")
        if kind != "dbn":
            raise (BadDbn if "archive" in kind or "fragment" in kind else NotDatabento)(f"{found.label}: {kind}")
        from engine.mbo.dbn import metadata_of

        with found.source() as source:
            metadata = metadata_of(Path(found.label), source)
        if metadata.dataset not in DATASETS:
            raise BadDbn(f"{found.label}: expected a file of {DATASETS[0]} (CME Globex), found one of {metadata.dataset}, another venue's")
        if metadata.schema not in ("mbo", None, *self.stored) and not _options_in(metadata):
            raise OtherSchema(
                f"{found.label}: expected schema mbo, found {metadata.schema}; download it with schema='mbo': a book is made of every "
                f"order, which {metadata.schema} does not hold"
            )
        return metadata

    def _take_manifest(self, found: Found) -> None:
        """Note the hashes of a batch job's files where that is what a JSON file has; what cannot be read is said by `_take_text`."""
        with suppress(EngineError, OSError, zipfile.BadZipFile), self._json(found) as (value, _):
            if (listed := _listed(value)) is not None:
                self._hashes.setdefault(found.folder, {}).update(listed)

    def _take_text(self, found: Found) -> None:
        """Use a JSON file of a batch job, which is as its manifest says."""
        with self._json(found) as (value, sha256):
            self._require_as_made(found, sha256)
            if isinstance(value, dict) and isinstance(value.get("result"), dict):
                self._names.append(symbology_names(found.label, found.folder, value))
            elif isinstance(value, list) and value and all("condition" in v for v in value):
                said = {dt.date.fromisoformat(v["date"]): str(v["condition"]) for v in value if v.get("date") and v["condition"]}
                with self.lake.lock():
                    write_conditions(self.lake, said)
            elif _listed(value) is None and found.named:
                raise NotDatabento(
                    f"{found.label}: expected a symbology.json, condition.json or manifest.json of Databento, found other JSON"
                )

    @contextmanager
    def _json(self, found: Found) -> Iterator[tuple[Any, str]]:
        """What a JSON file holds, and the SHA-256 of its bytes; NotDatabento where it is none, or not what is looked for in it."""
        with found.source() as source:
            text = source.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise NotDatabento(f"{found.label}: expected a JSON file of at most {MOST_BYTES >> 20} MB, found a larger one")
        try:
            yield json.loads(text), hashlib.sha256(text).hexdigest()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise NotDatabento(f"{found.label}: expected a JSON file of Databento, found {type(e).__name__}: {str(e)[:200]}") from e

    def _store(self, found: Found, metadata: DbnMetadata) -> None:
        """Put a file of another schema under each root that it is about, and learn the names that definitions give."""
        symbols = _symbols_in(metadata)
        dates: list[dt.date] = []
        look = self._read(found, lambda source: source.drain())
        try:
            self._require_as_made(found, look.sha256)
            if metadata.schema == "definition":
                names, dates = definition_names(found)
                self._names.append(names)
                symbols = {s for of in names.by_id.values() for s, _, _ in of}
            optional = _options_in(metadata)
            for root in sorted(optional):
                name = str(metadata.schema).replace("-", "_")
                if name == "definition":
                    self._require_options(look)
                with self.lake.lock():
                    place, added = self._put(look, self.lake.option_folder(root, name) / place_name(found.name))
                covered = _dates_of(metadata)
                line = Line("added" if added else "there already", found.label, str(place), root, covered)
                line.said.append(f"{metadata.schema} of options on {root}")
                self.lines.append(line)
            roots = sorted({parts[0].code for s in symbols if (parts := split_contract(s)) is not None})
            for root in roots:
                table = self.lake.raw_folder(root).with_name(f"table={str(metadata.schema).replace('-', '_')}_dbn")
                with self.lake.lock():
                    place, added = self._put(look, table / place_name(found.name))
                line = Line("added" if added else "there already", found.label, str(place), root, dates)
                line.said.append(f"{metadata.schema}: {'it names the instruments of other files' if dates else 'stored'}")
                self.lines.append(line)
        finally:
            look.done()
        if not roots and not optional:
            raise OtherSchema(f"{found.label}: schema {metadata.schema}, of no known root ({', '.join(known_roots())})")

    def _require_options(self, look: Look) -> None:
        """Raise BadDbn where a definition file of options is damaged within its records."""
        from engine.options.records import read_records

        path = look.copy or look.found.path
        assert path is not None
        for _ in read_records(path, "definition"):
            pass

    # --- a market-by-order file

    def _take_book(self, found: Found, progress: Callable[[float], object]) -> None:
        from engine.mbo.dbn import survey

        known = self._known(found)
        if known:
            self.lines += known
            return
        look = self._read(found, lambda source: survey(Path(found.label), source, progress))
        try:
            self._require_as_made(found, look.sha256)
            named = self._name(found, look.survey)
            with self.lake.lock():
                self._commit(found, look, named)
        finally:
            look.done()

    def _known(self, found: Found) -> list[Line]:
        """Lines of a file that is linked into the lake already, by which its bytes are known: it is not read again."""
        if found.path is None:
            return []
        inode = found.path.stat().st_ino
        lines = []
        for root in self.lake.raw_roots():
            folder = self.lake.raw_folder(root)
            if not folder.is_dir():
                continue
            # A folder's listing has the inodes; a file is looked at only where its own fits.
            listed = sorted((e for e in os.scandir(folder) if e.inode() == inode or e.is_symlink()), key=lambda e: e.name)
            for entry in (Path(e.path) for e in listed if os.path.isfile(e.path)):
                if entry.samefile(found.path) and (facts := read_facts(self.lake, entry)) is not None:
                    self._require_as_made(found, facts.sha256)
                    if facts.unmapped and self._names:
                        return []  # what was not known then may be known now
                    lines.append(_line("there already", found, entry, root, facts))
        return lines

    def _read(self, found: Found, read: Callable[[Any], Any], *, copied: bool = True) -> Look:
        """Read a file to its end, once, and copy it on the way unless it shall be linked; with `copied` false it is in the lake already."""
        from engine.mbo.dbn import ByteSource

        copy = self._staging() if copied and not (self.link and found.path is not None) else None
        try:
            with ExitStack() as stack:
                # Where the file system can share its blocks, the lake's own copy is the one that is read.
                shared = copy is not None and found.path is not None and clone(found.path, copy)
                raw = stack.enter_context(copy.open("rb") if copy is not None and shared else found.open())
                into = stack.enter_context(copy.open("wb", buffering=0)) if copy is not None and not shared else None
                reading = Reading(raw, into)
                buffered: Any = io.BufferedReader(reading, READ_BYTES)
                made = read(ByteSource(buffered, Path(found.label), found.size))
            if copy is not None:
                with writing(copy):
                    fsync_path(copy)
            return Look(found, made, reading.sha256(), copy)
        except BaseException as e:
            if copy is not None:
                copy.unlink(missing_ok=True)
            if isinstance(e, zipfile.BadZipFile | zlib.error):
                raise BadDbn(f"{found.label}: is damaged in the archive: {e}; download the archive again") from e
            if isinstance(e, OSError):
                raise unreadable(Path(found.label), e) from e
            raise

    def _staging(self) -> Path:
        """Where a copy is made that will get its names once it is whole; what killed runs left there is removed. LakeWriteFailed."""
        folder = self.lake.root / INTAKE_DIR
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder, "delivery")
            copy = temporary(folder / "delivery")
            copy.open("xb").close()
        return copy

    def _require_as_made(self, found: Found, sha256: str) -> None:
        """BadDbn where the manifest of the batch job has another hash of the file than `sha256`."""
        said = self._hashes.get(found.folder, {}).get(found.name, "")
        kind, _, digest = said.partition(":")
        if kind == "sha256" and digest != sha256:
            raise BadDbn(
                f"{found.label}: expected SHA-256 {digest[:12]} as manifest.json says, found {sha256[:12]}: it is not the file that "
                f"Databento made; download it again"
            )

    def _missing_of_manifests(self) -> None:
        """Say which files of a batch job were not given, though its manifest lists them."""
        for folder, names in self._hashes.items():
            if missing := sorted(names.keys() - self._given[folder]):
                text = f"manifest.json also lists {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}: not given"
                self.lines.append(Line("passed over", folder, said=[text]))

    def _name(self, found: Found, survey: Survey) -> Named:
        """The file's instruments by name; by definitions in the lake where nothing else knows them."""
        named = name_instruments(survey, found.folder, self._names)
        if named.unmapped and (stored := self._definitions.names(survey.dates[-1].date)):
            named = name_instruments(survey, found.folder, [*self._names, *stored])
        symbols = {s for of in named.symbols.values() for s in of.values()}
        if any(split_contract(s) for s in symbols):
            return named
        if not symbols:
            raise UnmappedInstrument(why_unnamed(survey.metadata, found.label, self.lake.root))
        raise BadDbn(why_no_root(symbols, found.label))

    def _commit(self, found: Found, look: Look, named: Named) -> None:
        """Compare with what is there, under every root, and only then put the file under each. What gives way goes last: where that is
        interrupted both are there, and the same command goes on.
        """
        source = look.copy or found.path
        assert source is not None
        roots = sorted({p[0].code for of in named.symbols.values() for s in of.values() if (p := split_contract(s)) is not None})
        plans = []
        for root in roots:
            facts = make_facts(look, named, root, source)
            there, yields = self._compare(found, look, facts, root, source)
            plans.append((root, facts, there, yields))
        for root, facts, there, yields in plans:
            replaced: list[str] = []
            place, added = (there, False) if there else self._put(look, self.lake.raw_folder(root) / place_name(found.name), replaced)
            facts = replace(facts, mtime_ns=place.stat().st_mtime_ns)
            if read_facts(self.lake, place) != facts:
                write_facts(self.lake, place, facts)
            replaced += [str(self._quarantine(path)) for path in yields if path not in self._moved]
            self._shelf(root).changed(place, parts_of(place, facts), self._moved)
            line = _line("added" if added else "there already", found, place, root, facts)
            line.replaced = replaced
            self.lines.append(line)

    def _compare(self, found: Found, look: Look, facts: Facts, root: str, source: Path) -> tuple[Path | None, list[Path]]:
        """(the same file in the lake, if it is there; the files that give way to this one); DuplicateRaw where a whole one would stay."""
        shelf = self._shelf(root, fresh=True)
        same = next((p for p in shelf.like(facts) if _is_same(p, source, look.sha256, self.lake)), None)
        if same is not None and not self.replace:
            return same, []
        mine = {(d.date, s): c for d in facts.dates for s, c in d.contracts.items()}
        yields = []
        for path, parts in shelf.on({dt.date.fromisoformat(d.date) for d in facts.dates}):
            if path == same or not _both(mine, parts):
                continue
            # Read now: it may be damaged, and a file without facts claims more than it holds.
            whole = self._surveyed(path, root)
            if whole is None:
                yields.append(path)
                continue
            both = _both(mine, whole)
            if not both:
                continue
            if self.replace and self._holds_all(found, look, mine, whole):
                yields.append(path)
                continue
            if same is None:
                raise DuplicateRaw(self._why_duplicate(found, path, both, mine, whole))
        return same, yields

    def _shelf(self, root: str, *, fresh: bool = False) -> _Shelf:
        """The raw files of a root; with `fresh` read again where the folder has changed since. Call it under the lake's lock."""
        folder = self.lake.raw_folder(root)
        shelf = self._shelves.get(root)
        if shelf is None or (fresh and shelf.seen != _seen(folder)):
            seen = _seen(folder)
            shelf = self._shelves[root] = _Shelf(folder, seen, raw_index(self.lake, root).files)
        return shelf

    def _why_duplicate(
        self, found: Found, path: Path, both: list[tuple[dt.date, str]], mine: dict[tuple[str, str], ContractPart], whole: list[RawPart]
    ) -> str:
        theirs = {(p.date, s): c for p in whole for s, c in p.contracts.items()}
        pairs = ((mine[d.isoformat(), s], theirs[d, s]) for d, s in both)
        same = all((a.records, a.content) == (b.records, b.content) for a, b in pairs)
        contracts, dates = sorted({s for _, s in both}), sorted({d for d, _ in both})
        text = f"{found.label}: not added: {', '.join(contracts)} of {', '.join(map(str, dates))} is there already: {path}"
        if same:
            return f"{text}, with the same records"
        if self.replace:
            return f"{text}, which holds records that this file does not; it stays"
        words = map(shlex.quote, (str(found.on_disk), "--lake", str(self.lake.root)))
        command = f"`spymaster add --replace {' '.join(words)}`"
        return f"{text}; if this file holds all of that and more, {command} takes it"

    def _surveyed(self, path: Path, root: str) -> list[RawPart] | None:
        """The parts of a raw file, read to its end now, with facts from now on; None where it is damaged."""
        from engine.mbo.dbn import survey

        label = one_file(path)
        try:
            look = self._read(label, lambda source: survey(path, source), copied=False)
        except BadDbn:
            return None
        facts = make_facts(look, self._name(label, look.survey), root, path)
        write_facts(self.lake, path, facts)
        self._shelf(root).put(path, parts_of(path, facts))
        return parts_of(path, facts)

    def _holds_all(self, found: Found, look: Look, mine: dict[tuple[str, str], ContractPart], whole: list[RawPart]) -> bool:
        """Whether the file holds every record of another: of each contract and date the same ones, in the other's span of time."""
        from engine.mbo.dbn import ByteSource, survey

        theirs = {(p.date, s): c for p in whole for s, c in p.contracts.items() if c.records}
        if any((d.isoformat(), s) not in mine for d, s in theirs):
            return False
        bounds = {(d, i): (c.first_ns, c.last_ns) for (d, s), c in theirs.items() for i in mine[d.isoformat(), s].ids}
        path = look.copy or found.path
        assert path is not None
        with path.open("rb") as f:
            again = survey(path, ByteSource(f, path), bounds=bounds)
        within = {(d.date, i): seen for d in again.dates for i, seen in d.instruments.items()}
        for (d, s), c in theirs.items():
            seen = _contract_part(tuple(mine[d.isoformat(), s].ids), [within.get((d, i)) for i in mine[d.isoformat(), s].ids])
            if (seen.records, seen.content) != (c.records, c.content):
                return False
        return True

    def _put(self, look: Look, place: Path, replaced: list[str] | None = None) -> tuple[Path, bool]:
        """Put the file at `place`, or where another whole file has that name, under a free one: (where it is, whether it was put now)."""
        source = look.copy or look.found.path
        assert source is not None
        name = place
        for n in range(2, 1000):
            try:
                return name, put_raw(source, name, own=look.copy is not None)
            except NameTaken:
                if not name.is_file():
                    raise
                if not is_whole(name):
                    moved = self._quarantine(name)
                    if replaced is not None:
                        replaced.append(str(moved))
                    continue
                name = place.with_name(f"{n}-{place.name}")
        raise NameTaken(f"{place}: a thousand files of this name are there; rename {source}")

    def _quarantine(self, path: Path) -> Path:
        moved = self._moved[path] = self.lake.quarantine_raw(path)
        facts_path(self.lake, path).unlink(missing_ok=True)
        return moved


def _symbols_in(metadata: DbnMetadata) -> set[str]:
    """Symbols that metadata map, in either direction."""
    return {s for key in metadata.mappings for s in (key, *(i["symbol"] for i in metadata.mappings[key]))}


def _options_in(metadata: DbnMetadata) -> set[str]:
    """Roots of the options that a file of one of an option chain's schemas is about; none of another schema."""
    from engine.options.products import option_roots
    from engine.options.records import table_of

    return option_roots(_symbols_in(metadata)) if table_of(metadata) is not None else set()


def _dates_of(metadata: DbnMetadata) -> list[dt.date]:
    """UTC dates that a file covers, by its metadata."""
    return list(utc_dates(metadata.start_ns, max(metadata.end_ns or 0, metadata.start_ns + 1)))


def _listed(value: Any) -> dict[str, str] | None:
    """Hashes by name of the files that a batch job's manifest lists; None of another JSON value. Raises KeyError, AttributeError."""
    if isinstance(value, dict) and isinstance(value.get("files"), list):
        return {str(f["filename"]): str(f.get("hash", "")) for f in value["files"]}
    return None


def _seen(folder: Path) -> tuple[int, frozenset[str]]:
    """When a folder was changed, and the names in it: two changes within a tick of the clock have one time."""
    try:
        return folder.stat().st_mtime_ns, frozenset(os.listdir(folder))
    except FileNotFoundError:
        return 0, frozenset()


class _Shelf:
    """The raw files of a root, read once for all files that are added; `seen` is the folder's state (`_seen`) of which they are."""

    def __init__(self, folder: Path, seen: tuple[int, frozenset[str]], parts: Iterable[RawPart]) -> None:
        self.folder, self.seen = folder, seen
        self._parts: dict[Path, list[RawPart]] = {}
        self._dates: dict[dt.date, set[Path]] = {}
        self._sizes: dict[int, set[Path]] = {}
        for part in parts:
            self._parts.setdefault(part.path, []).append(part)
            self._enter(part)

    def _enter(self, part: RawPart) -> None:
        self._dates.setdefault(part.date, set()).add(part.path)
        self._sizes.setdefault(part.size, set()).add(part.path)

    def like(self, facts: Facts) -> list[Path]:
        """The files that may have the bytes of the one with these facts, sorted: of its size, and of no other hash."""
        same = (None, facts.sha256)
        return sorted(p for p in self._sizes.get(facts.size, ()) if p in self._parts and self._parts[p][0].sha256 in same)

    def on(self, dates: set[dt.date]) -> list[tuple[Path, list[RawPart]]]:
        """The files that hold any of the dates, sorted, with their parts of all dates."""
        paths = {p for d in dates for p in self._dates.get(d, ())}
        return [(p, self._parts[p]) for p in sorted(paths) if p in self._parts]

    def put(self, path: Path, parts: list[RawPart]) -> None:
        """Note the parts of a file: a new one, or one that was read again."""
        self._parts[path] = parts
        for part in parts:
            self._enter(part)

    def changed(self, new: Path, parts: list[RawPart], gone: Iterable[Path]) -> None:
        """Note a file that was put there and those that were moved away. Where the folder has changed otherwise, too, it is read again."""
        for path in gone:
            self._parts.pop(path, None)
        self.put(new, parts)
        names = (self.seen[1] - {p.name for p in gone if p.parent == self.folder}) | {new.name}
        now = _seen(self.folder)
        self.seen = now if now[1] == names else (0, frozenset())


class _StoredDefinitions:
    """The names that the definition files in a lake give, each file read once."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._starts: dict[tuple[Path, int], int] = {}
        self._names: dict[tuple[Path, int], Names] = {}
        self._firsts: dict[tuple[int, str, dt.date], dt.date] = {}

    def names(self, last: dt.date) -> list[Names]:
        """Those of files that begin by `last`: later ones name nothing of it."""
        from engine.mbo.dbn import metadata_of

        end_ns = int(dt.datetime.combine(last, dt.time(), dt.UTC).timestamp()) * NS + _DAY_NS
        folders = (self._lake.raw_folder(r).with_name("table=definition_dbn") for r in self._lake.raw_roots())
        out = []
        for path in (p for f in folders if f.is_dir() for p in sorted(f.iterdir()) if p.name.endswith(RAW_SUFFIXES)):
            key = (path, path.stat().st_mtime_ns)
            if key not in self._starts:
                with one_file(path).source() as source:
                    self._starts[key] = metadata_of(path, source).start_ns
            if self._starts[key] >= end_ns:
                continue
            if key not in self._names:
                self._names[key] = self._new(definition_names(one_file(path))[0])
            out.append(self._names[key])
        return out

    def _new(self, names: Names) -> Names:
        """What earlier files have not said: every date's file defines the same instruments again, until they expire."""
        for instrument, spans in list(names.by_id.items()):
            new = []
            for symbol, first, end in spans:
                if self._firsts.get((instrument, symbol, end), dt.date.max) > first:
                    self._firsts[instrument, symbol, end] = first
                    new.append((symbol, first, end))
            if new:
                names.by_id[instrument] = new
            else:
                del names.by_id[instrument]
        return names


def is_whole(path: Path) -> bool:
    """Whether a Databento file is whole to its last byte, one of market-by-order data also in its records. Raises RawUnreadable."""
    from engine.mbo.dbn import ByteSource, count_records, metadata_of

    try:
        with path.open("rb") as raw:
            source = ByteSource(raw, path)
            if metadata_of(path, source).schema not in ("mbo", None):
                return source.drain() > 0
        return count_records(path) > 0
    except BadDbn:
        return False
    except OSError as e:
        raise unreadable(path, e) from e


def place_name(name: str) -> str:
    """The name under which a file is put into the raw folder: its own, made readable where no run would read it."""
    name = os.fsencode(name).decode("utf-8", "replace").replace("\ufffd", "_").lstrip(".") or "delivery"
    name = "".join(c if c.isprintable() else "_" for c in name)
    for suffix in sorted(RAW_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] + suffix
    return f"{name}.dbn.zst" if name.lower().endswith(".zst") else f"{name}.dbn"


def _both(mine: dict[tuple[str, str], ContractPart], parts: list[RawPart]) -> list[tuple[dt.date, str]]:
    """The dates and contracts of which both hold the same time."""
    theirs = ((p.date, s, c) for p in parts for s, c in p.contracts.items())
    return sorted((d, s) for d, s, c in theirs if (d.isoformat(), s) in mine and overlap(mine[d.isoformat(), s], c))


def _is_same(path: Path, source: Path, sha256: str, lake: Lake) -> bool:
    """Whether a raw file has the bytes of the new one."""
    if path.samefile(source):
        return True
    if path.stat().st_size != source.stat().st_size:
        return False
    facts = read_facts(lake, path)
    return (facts.sha256 if facts else raw_sha256(lake, path)) == sha256


def _line(what: str, found: Found, place: Path, root: str, facts: Facts) -> Line:
    contracts = tuple(sorted({s for d in facts.dates for s in d.contracts}))
    line = Line(what, found.label, str(place), root, [dt.date.fromisoformat(d.date) for d in facts.dates], contracts, facts.records)
    if facts.names == "messages":
        line.said.append("a recording of the live feed")
    elif facts.names != "metadata":
        line.said.append(f"its contracts are named by {facts.names}")
    if facts.unmapped:
        n, worst = sum(facts.unmapped.values()), sorted(facts.unmapped.items(), key=lambda u: -u[1])[:3]
        ids = ", ".join(i for i, _ in worst) + (" and others" if len(facts.unmapped) > 3 else "")
        line.said.append(f"{n:,} of {facts.records:,} records are left out: no symbol is known of instrument {ids}")
    if place.name != found.name:
        line.said.append(f"stored as {place.name}")
    return line


def _contract_part(ids: tuple[int, ...], seen: list[Any]) -> ContractPart:
    """A contract's records of several instrument ids as one part."""
    there = [s for s in seen if s is not None]
    content = 0
    for s in there:
        content = (content * 31 + s.content) % (1 << 64)
    if not there:
        return ContractPart(ids, 0, 0, 0)
    first, last = min(there, key=lambda s: s.first_ns), max(there, key=lambda s: s.last_ns)
    return ContractPart(ids, sum(s.records for s in there), first.first_ns, last.last_ns, content, first.first_mark, last.last_mark)


def make_facts(look: Look, named: Named, root: str, path: Path) -> Facts:
    """What is known of a file under `root`: its dates, their spans and contracts."""
    survey, stat = look.survey, path.stat()
    metadata, dates = survey.metadata, []
    limited = metadata.limit is not None and survey.records >= metadata.limit
    for n, seen in enumerate(survey.dates):
        by_symbol: dict[str, list[int]] = {}
        mapped = {**metadata.symbols(seen.date), **named.symbols[seen.date]}
        for instrument, symbol in sorted(mapped.items()):
            if (parts := split_contract(symbol)) is not None and parts[0].code == root:
                by_symbol.setdefault(symbol, []).append(instrument)
        contracts = {s: _contract_part(tuple(ids), [seen.instruments.get(i) for i in ids]) for s, ids in by_symbol.items()}
        start, end = _span(survey, n, limited)
        dates.append(DatePart(seen.date.isoformat(), start, end, seen.first, seen.records, contracts))
    day = metadata.start_ns // _DAY_NS * _DAY_NS
    one_date = len(dates) == 1 and (metadata.end_ns or 0) <= day + _DAY_NS and dates[0].start_ns // _DAY_NS * _DAY_NS == day
    plain = one_date and not metadata.live and metadata.limit is None and named.by == "metadata"
    return Facts(
        stat.st_size, stat.st_mtime_ns, look.sha256, metadata.dataset, survey.records, plain, named.by,
        {str(i): n for i, n in sorted(named.unmapped.items())}, tuple(dates), metadata.limit if limited else None,
    )  # fmt: skip


def _span(survey: Survey, n: int, limited: bool) -> tuple[int, int]:
    """The span ``[start, end)`` of the n-th date that the file covers: its metadata's, cut to the date; of a recording from its first to
    its last record; and where the request's limit was reached, to the last record.
    """
    seen, metadata = survey.dates[n], survey.metadata
    start = int(dt.datetime.combine(seen.date, dt.time(), dt.UTC).timestamp()) * NS
    end = start + _DAY_NS
    first = min(s.first_ns for s in seen.instruments.values())
    last = max(s.last_ns for s in seen.instruments.values()) + 1
    if metadata.live:
        return (first if n == 0 else start, last if n == len(survey.dates) - 1 else end)
    if metadata.end_ns is not None:
        end = min(end, max(metadata.end_ns, last))
    if limited and n == len(survey.dates) - 1:
        end = last
    return min(max(start, metadata.start_ns), end - 1), end
