"""The one place that reads and writes the lake: whole partitions, trusted only with a manifest and ``_SUCCESS``."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ContractError, LakeWriteFailed, PartitionChanged, PartitionCorrupt, PartitionMissing
from engine.lake.catalog import SELECTION_PATH, Dataset, dataset, datasets
from engine.lake.folder import AUDIT_DIR, CACHE_DIR, PROFILE_FILE, LakeFolder
from engine.lake.manifest import Lineage, Manifest, read_manifest, sha256_file
from engine.lake.reader import read_part
from engine.lake.writer import PartitionWriter, recover

if TYPE_CHECKING:
    import polars as pl

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
                f"lake {self.root}: cannot remove what a killed run left: {e}; mend the folder's rights, run again"
            ) from e
