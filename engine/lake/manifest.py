"""Manifests of partitions (rows, files, contract, parameters, code, inputs, notes), and their hashes.
Nothing here imports polars, so that a run that finds everything current starts fast.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from engine.errors import OUT_OF_FILES, PartitionCorrupt

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MANIFEST = "_MANIFEST.json"
SUCCESS = "_SUCCESS"
FORMAT = 1


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the form that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_text(text: str) -> str:
    """SHA-256 of `text` in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in hex, read in blocks."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@dataclass(frozen=True)
class PartFile:
    """One parquet file of a partition."""

    name: str
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Lineage:
    """Provenance of a partition; with an equal lineage a rebuild gives the same rows.

    params, values: hash of the parameters that the stage reads, and the parameters
    code: code version of the stage (`engine.provenance`)
    inputs: ``dataset/symbol/date`` to the input manifest's digest, None where it was absent; ``raw/...`` to the file's SHA-256
    profile: session profile of silver and gold
    """

    stage: str
    params: str
    code: str
    inputs: dict[str, str | None]
    profile: str | None = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A partition's manifest; `observed` (sizes and times of raw files) is excluded from the digest."""

    dataset: str
    symbol: str
    date: str
    rows: int
    files: tuple[PartFile, ...]
    contract: str
    lineage: Lineage
    notes: dict[str, Any] = field(default_factory=dict)
    observed: dict[str, Any] = field(default_factory=dict)

    def _hashed(self) -> dict[str, Any]:
        # Not `asdict`: it copies every value, and a command reads thousands of manifests.
        body = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "observed"}
        return {**body, "files": [vars(f) for f in self.files], "lineage": vars(self.lineage), "format": FORMAT}

    @cached_property
    def _digest(self) -> str:
        return sha256_text(canonical(self._hashed()))

    def digest(self) -> str:
        """SHA-256 of everything but `observed`."""
        return self._digest

    def to_json(self) -> str:
        """The manifest file's text."""
        return json.dumps({**self._hashed(), "observed": self.observed, "digest": self.digest()}, indent=1, sort_keys=True) + "\n"


MOST_BYTES = 1 << 24
"""Most bytes of a manifest or ``_SUCCESS``; a year of inputs takes a hundredth of it."""

NOT_JSON = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a JSON object of known fields raises where the file, or what it holds, is something else."""

_PART = re.compile(r"[A-Za-z0-9_-]+\.parquet")

_INPUT = re.compile(r"raw/.+|[^/]+/[^/]+/([0-9]{4}-[0-9]{2}-[0-9]{2})")


@cache
def _models() -> tuple[TypeAdapter[Manifest], dict[bool, TypeAdapter[Any]]]:
    """Strict models of a manifest, and of its notes: those of bronze of futures (True) and of the other datasets."""
    from typing import NotRequired

    from pydantic import Field, StringConstraints, TypeAdapter  # slow to import
    from typing_extensions import TypedDict

    count = Annotated[int, Field(ge=0, lt=1 << 63)]
    slots = dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")], count]
    record = {
        "session": list[count], "why_not": dict[str, count], "spans": list[list[str | count]], "near_spans": list[list[count]],
        "unknown": dict[str, dict[str, count]], "records_end_ns": count | None, "files": list[dict[str, str | count | list[count]]],
        **dict.fromkeys(("seconds", "valid", "near", "records", "crossed_seconds", "locked_seconds"), count),
        **dict.fromkeys(("off_grid_trades", "unplaced_fills", "unplaced_filled"), count),
    }  # fmt: skip
    trust = TypedDict("Trust", record, total=False)  # type: ignore[misc]
    everywhere = {"absent": NotRequired[dict[str, str]], "simulated": NotRequired[bool], "trust": NotRequired[trust]}
    raw = {"dbn_start_ns": count, "dbn_end_ns": count, "trades_by_slot": slots, "instrument_ids": NotRequired[list[count]]}
    raw |= {"spans": NotRequired[list[list[count]]], "limit": NotRequired[count], "condition": NotRequired[str]}
    of_bronze, of_others = TypedDict("BronzeNotes", {**everywhere, **raw}), TypedDict("Notes", everywhere)  # type: ignore[operator]
    return TypeAdapter(Manifest), {True: TypeAdapter(of_bronze), False: TypeAdapter(of_others)}


def parse_manifest(text: str, where: str) -> Manifest:
    """The manifest in `text`; PartitionCorrupt where it is none of this format, or does not match its own digest."""
    try:
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise PartitionCorrupt(f"{where}: expected a manifest of format {FORMAT}, found {raw['format']!r}")
        model, notes = _models()
        manifest = model.validate_json(text, strict=True)
        notes[manifest.dataset.startswith("bronze.future_mbo.")].validate_python(manifest.notes, strict=True)
        same = manifest.digest() == raw["digest"]
    except NOT_JSON as e:
        raise PartitionCorrupt(f"{where}: expected a manifest, found {type(e).__name__}: {str(e)[:300]}") from e
    if not same:
        raise PartitionCorrupt(f"{where}: the manifest does not match its own digest: it was changed after it was written")
    if not manifest.files or sum(part.rows for part in manifest.files) != manifest.rows:
        held = ", ".join(f"{part.rows:,}" for part in manifest.files) or "no file"
        raise PartitionCorrupt(f"{where}: expected files that hold its {manifest.rows:,} rows together, found {held}")
    for part in manifest.files:
        if _PART.fullmatch(part.name) is None:
            raise PartitionCorrupt(f"{where}: expected files such as part-00000.parquet in its own folder, found {part.name!r}")
    for name in manifest.lineage.inputs:
        if not _is_input(name):
            raise PartitionCorrupt(f"{where}: expected inputs such as silver.future_mbo.levels/ESZ5/2025-11-04, found {name!r}")
    return manifest


def _is_input(name: str) -> bool:
    found = _INPUT.fullmatch(name)
    try:
        return found is not None and (found[1] is None or bool(dt.date.fromisoformat(found[1])))
    except ValueError:
        return False


def small_text(path: Path, where: str) -> str:
    """Text of a small regular file of the lake; FileNotFoundError where there is none, PartitionCorrupt where it is anything else."""
    try:
        # A pipe or a device would never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise PartitionCorrupt(f"{where}: expected a file {path.name}, found something else of that name")
        with path.open("rb") as f:
            content = f.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise PartitionCorrupt(f"{where}: expected {path.name} of a few KB, found more than {MOST_BYTES >> 20} MB")
        return content.decode()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as e:
        # A process without file descriptors learns nothing of the partition, and must not take it for corrupt.
        if isinstance(e, OSError) and e.errno in OUT_OF_FILES:
            raise
        raise PartitionCorrupt(f"{where}: {path.name} cannot be read: {e}") from e


def read_manifest(folder: Path, where: str) -> Manifest | None:
    """The manifest of the partition in `folder`; None where there is no committed partition.
    Raises PartitionCorrupt where ``_SUCCESS`` or the manifest is missing, or they do not match each other or the files.
    """
    try:
        text = small_text(folder / MANIFEST, where)
    except FileNotFoundError:
        if os.path.lexists(folder):
            raise PartitionCorrupt(f"{where}: expected {MANIFEST}, found a folder without it") from None
        return None
    manifest = parse_manifest(text, where)
    try:
        success = small_text(folder / SUCCESS, where).strip()
    except FileNotFoundError:
        raise PartitionCorrupt(f"{where}: expected {SUCCESS}, found none: the partition was not committed") from None
    if success != manifest.digest():
        raise PartitionCorrupt(f"{where}: {SUCCESS} does not match the manifest")
    for part in manifest.files:
        path = folder / part.name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise PartitionCorrupt(f"{where}: expected file {part.name} as its manifest says, found none") from None
        except OSError as e:
            raise PartitionCorrupt(f"{where}: file {part.name} cannot be read: {e}") from e
        if path.is_symlink() or not path.is_file():
            raise PartitionCorrupt(f"{where}: expected a file {part.name} of its own, found a link or a folder")
        if size != part.size:
            raise PartitionCorrupt(f"{where}: file {part.name}: expected {part.size} bytes as its manifest says, found {size}")
    return manifest
