"""`Lake`: reading and writing partitions, which are valid only with a manifest and ``_SUCCESS``; raw files, caches and the lock."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from engine.errors import (
    OUT_OF_FILES,
    ContractError,
    LakeWriteFailed,
    PartitionChanged,
    PartitionCorrupt,
    PartitionMissing,
    UnknownProfile,
)
from engine.lake.catalog import RAW_MBO_TEMPLATE, RAW_OPTION_TEMPLATE, SELECTION_PATH, Dataset, dataset, datasets, raw_name_fault
from engine.lake.contract import Contract, enforce_contract
from engine.lake.lock import alone
from engine.lake.manifest import NOT_JSON, Lineage, Manifest, read_manifest, sha256_file, small_text
from engine.lake.writer import PartitionWriter, fsync_path, recover, sweep, write_parquet_atomic, write_text_atomic

if TYPE_CHECKING:
    import polars as pl

# ----------------------------------------------------------------------------
# Everything but partitions: the session profile, raw files, the selection map, small caches, the lock

PROFILE_FILE = "silver/_PROFILE.json"
LOCK_FILE = ".lock"

RUN_FILE = ".run"
"""Beside the lock, the token of a run whose tasks are on other machines: without it they begin nothing, and commit nothing."""
CACHE_DIR = ".cache"
QUARANTINE_DIR = "raw/.quarantine"
AUDIT_DIR = "audit"


class LakeFolder:
    """A lake's folder, which need not exist yet; `engine.lake.store.Lake` adds the partitions."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def profile(self) -> str | None:
        """The one session profile of this lake's silver and gold; None before the first silver partition."""
        path = self.root / PROFILE_FILE
        try:
            return str(json.loads(small_text(path, str(path)))["profile"])
        except FileNotFoundError:
            return None
        except (*NOT_JSON, PartitionCorrupt) as e:
            if isinstance(e.__cause__, PermissionError):
                raise PartitionCorrupt(f"{path}: cannot be read: {e.__cause__.strerror}; let this user read it (`chmod u+r`)") from e
            raise PartitionCorrupt(
                f'{path}: expected {{"profile": name}}, found {e!r}; write the session profile of this lake\'s silver to it, '
                f'for the cash session with `echo \'{{"profile": "rth"}}\' > {path}`'
            ) from e

    def claim_profile(self, profile: str) -> None:
        """Record `profile` as the lake's session profile; UnknownProfile where the lake has another already."""
        held = self.profile()
        if held is None:
            write_text_atomic(self.root / PROFILE_FILE, json.dumps({"profile": profile}) + "\n")
        elif held != profile:
            raise UnknownProfile(
                f"lake {self.root}: expected session profile {profile!r}, found silver of {held!r}, and a lake has only one; use "
                f"`--session {held}` or another `--lake`"
            )

    def raw_folder(self, root_symbol: str) -> Path:
        """Folder of the market-by-order files of a root."""
        return self.root / RAW_MBO_TEMPLATE.format(root=root_symbol)

    def option_folder(self, root_symbol: str, table: str) -> Path:
        """Folder of a table's files of a root's options."""
        return self.root / RAW_OPTION_TEMPLATE.format(root=root_symbol, table=table)

    def option_roots(self) -> list[str]:
        """Roots that have raw files of options."""
        base = self.root / RAW_OPTION_TEMPLATE.partition("symbol={root}")[0]
        return [e.name.removeprefix("symbol=") for e in _entries(base) if e.name.startswith("symbol=")]

    def raw_roots(self) -> list[str]:
        """Roots that have a raw folder."""
        base = self.root / RAW_MBO_TEMPLATE.partition("symbol={root}")[0]
        return [e.name.removeprefix("symbol=") for e in _entries(base) if e.name.startswith("symbol=")]

    def quarantine_raw(self, path: Path) -> Path:
        """Move a bad raw file out of the way (call it under the lock), to ``raw/.quarantine/`` under the folders it was in.
        Returns its new path; raises LakeWriteFailed.
        """
        place = self.root / QUARANTINE_DIR / path.relative_to(self.root / "raw")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            while os.path.lexists(place):
                place = place.with_name(f"{path.name}.{secrets.token_hex(4)}")
            path.rename(place)
            fsync_path(place.parent)
        except OSError as e:
            raise LakeWriteFailed(f"{path}: cannot be moved to {place}: {e}; fix the folder's permissions, then add again") from e
        return place

    def read_cache(self, name: str) -> dict[str, Any]:
        """Content of a small JSON cache; empty where there is none."""
        try:
            value = json.loads(small_text(self.root / CACHE_DIR / name, name))
        except (OSError, PartitionCorrupt, ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def write_cache(self, name: str, value: dict[str, Any]) -> None:
        """Write a small JSON cache, where that can be written; without it the same is found again, slower."""
        with suppress(LakeWriteFailed):
            write_text_atomic(self.root / CACHE_DIR / name, json.dumps(value, indent=1, sort_keys=True) + "\n")

    def selection_path(self) -> Path:
        """Path of the selection map; ``MBO_SELECTION_PATH`` overrides it."""
        return Path(os.environ.get("MBO_SELECTION_PATH") or self.root / SELECTION_PATH)

    def write_selection(self, frame: pl.DataFrame) -> Path:
        """Write the selection map atomically."""
        return write_parquet_atomic(self.selection_path(), frame)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Context manager that holds the lake's write lock, which the system releases with the process, however it ends.
        Raises LakeBusy, naming the process, where another one holds it, LakeWriteFailed where there can be none.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise LakeWriteFailed(f"lake {self.root}: cannot be written: {e}; give a writable folder with --lake") from e
        with alone(self.root / LOCK_FILE, f"lake {self.root}: process {{pid}} is writing it; wait for it, or stop it"):
            (self.root / RUN_FILE).unlink(missing_ok=True)  # of a run that was killed: what it left on other machines is not wanted
            yield


_INPUT = re.compile(r"([^/]+)/([^/]+)/([0-9]{4}-[0-9]{2}-[0-9]{2})")


def _partition_date(name: str) -> dt.date | None:
    """Date of the folder ``dt=YYYY-MM-DD``; None where it is not such a name."""
    try:
        return dt.date.fromisoformat(name.removeprefix("dt=")) if re.fullmatch(r"dt=[0-9]{4}(-[0-9]{2}){2}", name) else None
    except ValueError:
        return None


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted; empty where it is no folder or cannot be listed, which `Lake.passed_over` names."""
    try:
        return sorted(folder.iterdir())
    except OSError as e:
        if e.errno in OUT_OF_FILES:
            raise
        return []


def _not_listed(root: Path, template: str) -> Iterator[Path]:
    """Yield the folders along a path of the catalog, ``{...}`` being anything, that this user cannot list."""
    folders = [root]
    for part in (*Path(template).parts, "."):
        yield from (f for f in folders if os.path.isdir(f) and not os.access(f, os.R_OK | os.X_OK))
        head, variable, _ = part.partition("{")
        folders = [e for f in folders for e in (_entries(f) if variable else [f / part]) if e.name.startswith(head)]


def input_key(key: str, symbol: str, date: dt.date) -> str:
    """Name of a partition in a lineage's inputs: ``dataset/symbol/date``."""
    return f"{key}/{symbol}/{date.isoformat()}"


class Lake(LakeFolder):
    """A lake on disk: reads and writes of partitions, on top of `LakeFolder`."""

    # --- contents

    def path(self, key: str, symbol: str, date: dt.date) -> Path:
        """Folder of a partition."""
        return self.root / dataset(key).partition(symbol, date)

    def _label(self, key: str, symbol: str, date: dt.date) -> str:
        return f"{key} {symbol} {date} in {self.root}"

    def repair_command(self, key: str, symbol: str, date: dt.date, *, overwrite: bool = False) -> str:
        """The command that rebuilds a partition; with `overwrite` also one that looks current, such as one with a corrupt part."""
        d = dataset(key)
        session = f" --session {self.profile() or 'rth'}" if d.layer != "bronze" else ""
        return (
            f"spymaster run --lake {quote(str(self.root))} --product-type {d.product_type} --layer {d.layer} "
            f"--symbol {symbol} --dates {date.isoformat()}{session}{' --overwrite' if overwrite else ''}"
        )

    def session_command(self, symbol: str, date: object) -> str:
        """The command that makes every layer of a session from the raw files, of the profile that the lake holds."""
        session = f" --session {self.profile() or 'rth'}"
        return f"spymaster run --lake {quote(str(self.root))} --layer all --symbol {symbol} --dates {date}{session}"

    def find_manifest(self, key: str, symbol: str, date: dt.date) -> Manifest | None:
        """The partition's manifest, or None where there is no such folder; PartitionCorrupt where it is invalid."""
        label, folder = self._label(key, symbol, date), self.path(key, symbol, date)
        try:
            found = read_manifest(folder, label)
            if found is not None and (found.dataset, found.symbol, found.date) != (key, symbol, date.isoformat()):
                raise PartitionCorrupt(f"{label}: found the partition {found.dataset} {found.symbol} {found.date} in its folder")
            if found is not None and not os.path.realpath(folder).startswith(os.path.realpath(self.root) + os.sep):
                raise PartitionCorrupt(f"{label}: expected a folder in the lake, found a link out of it, to {os.path.realpath(folder)}")
            return found
        except PartitionCorrupt as e:
            raise PartitionCorrupt(f"{e}; `{self.repair_command(key, symbol, date)}` rebuilds it") from e

    def manifest(self, key: str, symbol: str, date: dt.date) -> Manifest:
        """The partition's manifest; PartitionMissing names the command that makes the partition."""
        found = self.find_manifest(key, symbol, date)
        if found is None:
            command = self.repair_command(key, symbol, date)
            raise PartitionMissing(f"{self._label(key, symbol, date)}: no such partition; `{command}` makes it")
        return found

    def has(self, key: str, symbol: str, date: dt.date) -> bool:
        """Whether there is a valid partition."""
        try:
            return self.find_manifest(key, symbol, date) is not None
        except PartitionCorrupt:
            return False

    def notes(self, key: str, symbol: str, date: dt.date) -> dict[str, Any]:
        """The stage's notes in the manifest, such as ``{"absent": {"on_high": reason}}``."""
        return self.manifest(key, symbol, date).notes

    def is_simulated(self, key: str, symbol: str, date: dt.date) -> bool:
        """Whether a partition is derived from a simulated market, at least in part; pictures of it are labelled so.
        Partitions from before the manifests had a ``simulated`` note are judged by their inputs, down to the name of the raw file, which
        contains "simulated". Missing or invalid inputs are ignored.
        """
        waiting, met = [self.manifest(key, symbol, date)], {(key, symbol, date)}
        while waiting:
            manifest = waiting.pop()
            names = () if "simulated" in manifest.notes else manifest.lineage.inputs
            if manifest.notes.get("simulated") or any(n.startswith("raw/") and "simulated" in n.rpartition("/")[2] for n in names):
                return True
            made_of = (m.groups() for name in names if (m := _INPUT.fullmatch(name)) and m[1] in datasets())
            new = {(k, s, dt.date.fromisoformat(d)) for k, s, d in made_of} - met
            met |= new
            waiting += [self.manifest(*i) for i in sorted(new) if self.has(*i)]
        return False

    def tables(self, key: str) -> Iterator[tuple[str, Path]]:
        """Yield (symbol, folder) of every symbol that has the dataset's table."""
        before, _, after = dataset(key).path.partition("symbol={symbol}")
        base, tail = self.root / before, after.strip("/").rpartition("/")[0]
        for entry in _entries(base):
            table = entry / tail
            if entry.name.startswith("symbol=") and os.path.isdir(table):
                yield entry.name.removeprefix("symbol="), table

    def partitions(self, key: str, symbol: str | None = None) -> list[tuple[str, dt.date]]:
        """(symbol, date) of every partition folder of a dataset, sorted; `has` says whether one is valid."""
        out = []
        for found, table in self.tables(key):
            if symbol is None or symbol == found:
                out += [(found, date) for e in _entries(table) if (date := _partition_date(e.name)) is not None]
        return out

    def passed_over(self) -> dict[Path, str]:
        """Paths among the partitions and the raw files that are neither, and why nothing reads them."""
        found: dict[Path, str] = {}
        for key in datasets():
            for _, table in self.tables(key):
                for entry in _entries(table):
                    if _partition_date(entry.name) is None and not entry.name.startswith("."):
                        found[entry] = "expected a folder named dt=YYYY-MM-DD"
        for root in self.raw_roots():
            for entry in _entries(self.raw_folder(root)):
                if os.path.isdir(entry):
                    found[entry] = "expected a DBN file, found a folder"
                elif not os.path.isfile(entry):
                    found[entry] = "expected a DBN file, found no file"
                elif (fault := raw_name_fault(entry.name)) and not entry.name.startswith(".") and not entry.name.endswith(".live.json"):
                    found[entry] = fault
        paths = (RAW_MBO_TEMPLATE, *(dataset(key).path.rpartition("/")[0] for key in datasets()))
        return found | {folder: "cannot be listed by this user" for path in paths for folder in _not_listed(self.root, path)}

    # --- reading

    def read_parts(
        self, key: str, symbol: str, date: dt.date, columns: Sequence[str] | None = None, where: pl.Expr | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the partition's parts in order, so that a large day needs little memory; `columns` in that order, rows of `where`.
        Raises PartitionMissing where there is no such partition or it is invalid, ContractError where its columns are not the contract's,
        and PartitionChanged where a run rebuilt it meanwhile, so that the parts would be of two versions.
        """
        d = dataset(key)
        manifest = self.manifest(key, symbol, date)
        contract = d.contract()
        label = self._label(key, symbol, date)
        if not contract.accepts(manifest.contract):
            raise ContractError(
                f"{label}: was written under another contract than {contract.path} is now; if that was edited by hand, undo it, else "
                f"`{self.repair_command(key, symbol, date)}` rebuilds the partition"
            )
        wanted = tuple(columns) if columns is not None else None
        if wanted is not None:
            contract.check_columns(wanted, label)
        command = self.repair_command(key, symbol, date, overwrite=True)
        for part in manifest.files:
            try:
                frame = read_part(self.path(key, symbol, date) / part.name, part.rows, contract, label, wanted, where)
            except (ContractError, PartitionCorrupt) as e:
                # A run that swapped the partition removed the files being read: PartitionChanged, not corruption.
                self._require_unchanged(key, symbol, date, manifest, label)
                raise type(e)(f"{e}; `{command}` rebuilds it") from e
            yield frame
        self._require_unchanged(key, symbol, date, manifest, label)

    def _require_unchanged(self, key: str, symbol: str, date: dt.date, manifest: Manifest, label: str) -> None:
        now = self.find_manifest(key, symbol, date)
        if now is None or now.digest() != manifest.digest():
            raise PartitionChanged(
                f"{label}: was rebuilt while it was read: expected manifest {manifest.digest()[:12]} to the end, found "
                f"{now.digest()[:12] if now else 'none'}; read it again, or run `{self.repair_command(key, symbol, date)}`"
            )

    def read(
        self, key: str, symbol: str, date: dt.date, columns: Sequence[str] | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """The whole partition as one frame; parameters and errors as `read_parts`, but a rebuilt partition is read once more."""
        import polars as pl

        try:
            return pl.concat(list(self.read_parts(key, symbol, date, columns, where)))
        except PartitionChanged:
            return pl.concat(list(self.read_parts(key, symbol, date, columns, where)))

    def verify(self, key: str, symbol: str, date: dt.date) -> Manifest:
        """The partition's manifest, after comparing the hash of every file with it; PartitionCorrupt names the first file that differs."""
        manifest = self.manifest(key, symbol, date)
        for part in manifest.files:
            try:
                found = sha256_file(self.path(key, symbol, date) / part.name)
            except OSError as e:
                raise PartitionCorrupt(f"{self._label(key, symbol, date)}: {part.name} cannot be read: {e}") from e
            if found != part.sha256:
                raise PartitionCorrupt(
                    f"{self._label(key, symbol, date)}: {part.name}: expected SHA-256 {part.sha256[:12]}, found {found[:12]}; "
                    f"`{self.repair_command(key, symbol, date, overwrite=True)}` rebuilds it"
                )
        return manifest

    # --- writing

    def writer(self, key: str, symbol: str, date: dt.date, lineage: Lineage) -> PartitionWriter:
        """A context manager that writes one partition atomically."""
        d: Dataset = dataset(key)
        if d.layer != "bronze":
            if lineage.profile is None:
                raise ContractError(f"{key}: expected a session profile in the lineage of a {d.layer} partition, found none")
            self.claim_profile(lineage.profile)
        return PartitionWriter(self.root, d, symbol, date, lineage)

    def write(
        self, key: str, symbol: str, date: dt.date, frame: pl.DataFrame, lineage: Lineage, notes: dict[str, Any] | None = None
    ) -> Manifest:
        """Write `frame` as the whole partition and return its manifest."""
        with self.writer(key, symbol, date, lineage) as w:
            w.notes.update(notes or {})
            w.add(frame)
        assert w.manifest is not None
        return w.manifest

    def clean(self) -> list[str]:
        """Remove what killed runs left behind (call it under the lock), LakeWriteFailed where that fails; returns the paths handled."""
        tables = [table for key in datasets() for _, table in self.tables(key)]
        # These are also written without the lock: what is of a process that lives stays.
        shared = [(self.root / PROFILE_FILE).parent, self.root / CACHE_DIR, (self.root / SELECTION_PATH).parent, self.root / AUDIT_DIR]
        shared += [self.raw_folder(root) for root in self.raw_roots()]
        try:
            return [line for table in tables for line in recover(table)] + [line for folder in shared for line in sweep(folder)]
        except OSError as e:
            raise LakeWriteFailed(
                f"lake {self.root}: cannot remove what a killed run left: {e}; fix the folder's permissions, run again"
            ) from e


def read_part(
    path: Path, rows: int, contract: Contract, where_from: str, columns: tuple[str, ...] | None = None, where: pl.Expr | None = None
) -> pl.DataFrame:
    """The rows of a part file, checked against its contract; its footer must have `rows`, as the manifest says, before any is read.
    Raises PartitionCorrupt where it cannot be read or has another number of rows, ContractError where its columns are not the contract's.
    """
    import polars as pl

    try:
        lazy = pl.scan_parquet(path, glob=False)
        counted = lazy.select(pl.len()).collect().item()  # of the footer
        if counted != rows:
            raise PartitionCorrupt(f"{where_from}: {path.name}: expected {rows} rows as its manifest says, found {counted}")
        lazy = contract.filled(lazy, lazy.collect_schema().names())
        found = lazy.collect_schema()
        if columns is not None:
            # A projected read checks the whole schema too, so that an unexpected column is named.
            enforce_contract(pl.DataFrame(schema=found), contract, where_from)
        if where is not None:
            lazy = lazy.filter(where)
        frame = (lazy.select(columns) if columns is not None else lazy).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as e:
        raise PartitionCorrupt(f"{where_from}: {path.name} cannot be read: {e}") from e
    return enforce_contract(frame, contract, where_from, columns)
