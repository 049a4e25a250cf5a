"""The one place that reads and writes the lake: whole partitions, trusted only with a manifest and ``_SUCCESS``."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ContractError, LakeBusy, LakeWriteFailed, PartitionChanged, PartitionCorrupt, PartitionMissing, UnknownProfile
from engine.lake.catalog import RAW_MBO_TEMPLATE, SELECTION_PATH, Dataset, dataset, datasets
from engine.lake.contract import Contract, enforce_contract
from engine.lake.manifest import Lineage, Manifest, read_manifest, sha256_file
from engine.lake.writer import PartitionWriter, link_or_copy, recover, write_frame, write_whole

if TYPE_CHECKING:
    import polars as pl


# ----------------------------------------------------------------------------
# What a lake holds beside its partitions: the session profile, raw files, the selection map, small caches, the lock

PROFILE_FILE = "silver/_PROFILE.json"

LOCK_FILE = ".lock"

CACHE_DIR = ".cache"

AUDIT_DIR = "audit"


class LakeFolder:
    """A lake's folder; `engine.lake.store.Lake` adds the partitions.

    Parameters
    ----------
    root
        The lake's folder; it need not exist yet.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def profile(self) -> str | None:
        """The one session profile of this lake's silver and gold; None before the first silver partition."""
        path = self.root / PROFILE_FILE
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["profile"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as e:
            raise PartitionCorrupt(
                f'{path}: expected {{"profile": name}}, found {e!r}; write the session profile that this lake\'s silver holds there again, '
                f'for silver of the cash session with `echo \'{{"profile": "rth"}}\' > {path}`'
            ) from e

    def claim_profile(self, profile: str) -> None:
        """Record `profile` as the lake's, or refuse another one.

        Raises
        ------
        UnknownProfile
            Where the lake's silver holds another profile.
        """
        held = self.profile()
        if held is None:
            write_whole(self.root / PROFILE_FILE, json.dumps({"profile": profile}) + "\n")
        elif held != profile:
            raise UnknownProfile(
                f"lake {self.root} holds the session profile {held!r} in silver, and a lake holds one: dates and windows of {profile!r} "
                f"would stand beside it as if they were the same; use `--session {held}` or another `--lake`"
            )

    def raw_folder(self, root_symbol: str) -> Path:
        """Where the market-by-order files of a root lie."""
        return self.root / RAW_MBO_TEMPLATE.format(root=root_symbol)

    def raw_roots(self) -> list[str]:
        """Roots that have a raw folder."""
        before = RAW_MBO_TEMPLATE.partition("symbol={root}")[0]
        base = self.root / before
        return sorted(e.name.removeprefix("symbol=") for e in base.iterdir() if e.name.startswith("symbol=")) if base.is_dir() else []

    def add_raw(self, source: Path, root_symbol: str) -> Path | None:
        """Put a file into the root's raw folder, as a hard link where it can be one; None where it is there already.

        Raises
        ------
        LakeWriteFailed
            Where another file of the same name is there (raw is never overwritten), or the folder cannot be written.
        """
        place = self.raw_folder(root_symbol) / source.name
        return place if link_or_copy(source, place) else None

    def cached(self, name: str) -> dict[str, Any]:
        """A small JSON cache; empty where there is none. Nothing depends on it but speed."""
        try:
            value = json.loads((self.root / CACHE_DIR / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def cache(self, name: str, value: dict[str, Any]) -> None:
        """Keep a small JSON cache."""
        write_whole(self.root / CACHE_DIR / name, json.dumps(value, indent=1, sort_keys=True) + "\n")

    def selection_path(self) -> Path:
        """Where the selection map lies; ``MBO_SELECTION_PATH`` overrides it."""
        return Path(os.environ.get("MBO_SELECTION_PATH") or self.root / SELECTION_PATH)

    def write_selection(self, frame: pl.DataFrame) -> Path:
        """Write the selection map, in one step."""
        return write_frame(self.selection_path(), frame)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lake against other runs; the system drops the lock with the process, however that ends.

        Raises
        ------
        LakeBusy
            Naming the process that holds it.
        """
        path = self.root / LOCK_FILE
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = path.open("a+", encoding="utf-8")
        except OSError as e:
            raise LakeWriteFailed(f"lake {self.root}: cannot be written: {e}; give a writable folder with --lake") from e
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                handle.seek(0)
                raise LakeBusy(f"lake {self.root}: process {handle.read() or '?'} is writing it; wait for it, or stop it") from e
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield


_INPUT = re.compile(r"^([^/]+)/([^/]+)/(\d{4}-\d{2}-\d{2})$")

_PARTITION = re.compile(r"^dt=(\d{4}-\d{2}-\d{2})$")


def input_key(key: str, symbol: str, date: dt.date) -> str:
    """How a partition is named in a lineage's inputs."""
    return f"{key}/{symbol}/{date.isoformat()}"


class Lake(LakeFolder):
    """A lake on disk: its partitions, and what `LakeFolder` has beside them."""

    # --- what is there

    def path(self, key: str, symbol: str, date: dt.date) -> Path:
        """Folder of a partition."""
        return self.root / dataset(key).partition(symbol, date)

    def _where(self, key: str, symbol: str, date: dt.date) -> str:
        return f"{key} {symbol} {date} in {self.root}"

    def mend(self, key: str, symbol: str, date: dt.date, *, overwrite: bool = False) -> str:
        """The command that makes a partition; with `overwrite` also one that looks current, such as one with a harmed part."""
        d = dataset(key)
        session = f" --session {self.profile() or 'rth'}" if d.layer != "bronze" else ""
        return (
            f"spymaster run --lake {self.root} --product-type {d.product_type} --layer {d.layer} "
            f"--symbol {symbol} --dates {date.isoformat()}{session}{' --overwrite' if overwrite else ''}"
        )

    def find_manifest(self, key: str, symbol: str, date: dt.date) -> Manifest | None:
        """The partition's manifest, or None where there is no such folder; PartitionCorrupt where it cannot be trusted."""
        try:
            return read_manifest(self.path(key, symbol, date), self._where(key, symbol, date))
        except PartitionCorrupt as e:
            raise PartitionCorrupt(f"{e}; `{self.mend(key, symbol, date)}` rebuilds it") from e

    def manifest(self, key: str, symbol: str, date: dt.date) -> Manifest:
        """The partition's manifest.

        Raises
        ------
        PartitionMissing
            With the command that makes the partition.
        """
        found = self.find_manifest(key, symbol, date)
        if found is None:
            raise PartitionMissing(f"{self._where(key, symbol, date)}: no such partition; `{self.mend(key, symbol, date)}` makes it")
        return found

    def has(self, key: str, symbol: str, date: dt.date) -> bool:
        """Whether a partition is there that a reader may trust."""
        try:
            return self.find_manifest(key, symbol, date) is not None
        except PartitionCorrupt:
            return False

    def notes(self, key: str, symbol: str, date: dt.date) -> dict[str, Any]:
        """What the stage noted beside the rows, such as ``{"absent": {"on_high": reason}}``."""
        return self.manifest(key, symbol, date).notes

    def is_simulated(self, key: str, symbol: str, date: dt.date) -> bool:
        """Whether a partition comes of a simulated market, wholly or in part; every picture of it must say so.

        A partition that was made before such marks were written is judged by what it was made from, down to the raw file's name,
        in which the simulator's word has always stood. An input that is gone, or cannot be trusted, says nothing.
        """
        manifest = self.manifest(key, symbol, date)
        if "simulated" in manifest.notes:
            return bool(manifest.notes["simulated"])
        if any(name.startswith("raw/") and "simulated" in name.rpartition("/")[2] for name in manifest.lineage.inputs):
            return True
        made_of = (m.groups() for name in manifest.lineage.inputs if (m := _INPUT.match(name)) and m[1] in datasets())
        inputs = [(k, s, dt.date.fromisoformat(d)) for k, s, d in made_of]
        return any(self.has(*i) and self.is_simulated(*i) for i in inputs)

    def tables(self, key: str) -> Iterator[tuple[str, Path]]:
        """(symbol, folder) of every symbol that has the dataset's table."""
        before, _, after = dataset(key).path.partition("symbol={symbol}")
        tail = after.strip("/").rpartition("/")[0]
        base = self.root / before
        if base.is_dir():
            for entry in sorted(base.iterdir()):
                table = entry / tail
                if entry.name.startswith("symbol=") and table.is_dir():
                    yield entry.name.removeprefix("symbol="), table

    def partitions(self, key: str, symbol: str | None = None) -> list[tuple[str, dt.date]]:
        """(symbol, date) of every partition folder of a dataset, sorted; whether each can be trusted is `has`'s to say."""
        out = []
        for found, table in self.tables(key):
            if symbol is None or symbol == found:
                dates = (_PARTITION.match(e.name) for e in sorted(table.iterdir()))
                out += [(found, dt.date.fromisoformat(m[1])) for m in dates if m]
        return out

    # --- reading

    def read_parts(
        self, key: str, symbol: str, date: dt.date, columns: Sequence[str] | None = None, where: pl.Expr | None = None
    ) -> Iterator[pl.DataFrame]:
        """The partition's parts in order, so that a day of any size streams through little memory.

        Parameters
        ----------
        key, symbol, date
            The partition.
        columns
            Only these, in this order; all where None.
        where
            Rows to keep.

        Raises
        ------
        PartitionMissing
            Where there is no such partition, or it cannot be trusted.
        ContractError
            Where its columns are not the contract's.
        PartitionChanged
            Where a run rebuilt the partition meanwhile: its parts would be of two versions.
        """
        d = dataset(key)
        manifest = self.manifest(key, symbol, date)
        contract = d.contract()
        label = self._where(key, symbol, date)
        if manifest.contract != contract.fingerprint():
            raise ContractError(
                f"{label}: was written under another contract than {contract.path} is now; if that was edited by hand, undo it, else "
                f"`{self.mend(key, symbol, date)}` rebuilds the partition"
            )
        wanted = tuple(columns) if columns is not None else None
        if wanted is not None:
            contract.check_columns(wanted, label)
        mend = self.mend(key, symbol, date, overwrite=True)
        for part in manifest.files:
            try:
                frame = read_part(self.path(key, symbol, date) / part.name, part.rows, contract, label, wanted, where)
            except (ContractError, PartitionCorrupt) as e:
                # A run that swaps the partition takes its files away from under the reader: that is no harm to mend.
                self._unchanged(key, symbol, date, manifest, label)
                raise type(e)(f"{e}; `{mend}` rebuilds it") from e
            yield frame
        self._unchanged(key, symbol, date, manifest, label)

    def _unchanged(self, key: str, symbol: str, date: dt.date, manifest: Manifest, label: str) -> None:
        now = self.find_manifest(key, symbol, date)
        if now is None or now.digest() != manifest.digest():
            raise PartitionChanged(
                f"{label}: was rebuilt while it was read: expected manifest {manifest.digest()[:12]} to the end, found "
                f"{now.digest()[:12] if now else 'none'}; read it again, or run `{self.mend(key, symbol, date)}`"
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
        """Hash every file of the partition against its manifest.

        Raises
        ------
        PartitionCorrupt
            Naming the first file that differs.
        """
        manifest = self.manifest(key, symbol, date)
        for part in manifest.files:
            found = sha256_file(self.path(key, symbol, date) / part.name)
            if found != part.sha256:
                raise PartitionCorrupt(
                    f"{self._where(key, symbol, date)}: {part.name}: expected SHA-256 {part.sha256[:12]}, found {found[:12]}; "
                    f"`{self.mend(key, symbol, date, overwrite=True)}` rebuilds it"
                )
        return manifest

    # --- writing

    def writer(self, key: str, symbol: str, date: dt.date, lineage: Lineage) -> PartitionWriter:
        """A context manager that writes one partition, whole or not at all."""
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
        """Remove what killed runs left, under the lock; returns what was mended.

        Raises
        ------
        LakeWriteFailed
            Where something cannot be removed.
        """
        tables = [table for key in datasets() for _, table in self.tables(key)]
        single = [(self.root / PROFILE_FILE).parent, self.root / CACHE_DIR, (self.root / SELECTION_PATH).parent, self.root / AUDIT_DIR]
        try:
            return [line for folder in (*tables, *single) for line in recover(folder)]
        except OSError as e:
            raise LakeWriteFailed(
                f"lake {self.root}: cannot remove what a killed run left: {e}; fix the folder's permissions, run again"
            ) from e


# ----------------------------------------------------------------------------
# How one part file of a partition is read and checked. Used by ``store.py`` only


def read_part(
    path: Path, rows: int, contract: Contract, where_from: str, columns: tuple[str, ...] | None = None, where: pl.Expr | None = None
) -> pl.DataFrame:
    """The rows of a part file, under its contract.

    Parameters
    ----------
    path
        The parquet file.
    rows
        Rows it has by its manifest; looked at where all rows are read.
    contract
        What it must satisfy.
    where_from
        Dataset and partition, for errors.
    columns
        Only these, in this order; all where None.
    where
        Rows to keep.

    Raises
    ------
    PartitionCorrupt
        Where it cannot be read, or has another number of rows.
    ContractError
        Where its columns are not the contract's.
    """
    import polars as pl

    try:
        lazy = pl.scan_parquet(path)
        found = lazy.collect_schema()
        if columns is not None:
            # A projected read looks at the whole schema too: a column that is not the contract's is refused by name.
            enforce_contract(pl.DataFrame(schema=found), contract, where_from)
        if where is not None:
            lazy = lazy.filter(where)
        frame = (lazy.select(columns) if columns is not None else lazy).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as e:
        raise PartitionCorrupt(f"{where_from}: {path.name} cannot be read: {e}") from e
    if where is None and frame.height != rows:
        raise PartitionCorrupt(f"{where_from}: {path.name}: expected {rows} rows as its manifest says, found {frame.height}")
    return enforce_contract(frame, contract, where_from, columns)
