"""Manifests of partitions (rows, files, contract, parameters, code, inputs, notes), and their hashes.
Nothing here imports polars, so that a run that finds everything current starts fast.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from engine.errors import PartitionCorrupt

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
        body = asdict(self)
        del body["observed"]
        body["format"] = FORMAT
        return body

    def digest(self) -> str:
        """SHA-256 of everything but `observed`."""
        return sha256_text(canonical(self._hashed()))

    def to_json(self) -> str:
        """The manifest file's text."""
        return json.dumps({**self._hashed(), "observed": self.observed, "digest": self.digest()}, indent=1, sort_keys=True) + "\n"


def parse_manifest(text: str, where: str) -> Manifest:
    """The manifest in `text`; PartitionCorrupt where it is none of this format, or does not match its own digest."""
    try:
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise PartitionCorrupt(f"{where}: expected a manifest of format {FORMAT}, found {raw['format']!r}")
        values = {f.name: raw[f.name] for f in fields(Manifest)}
        parts = tuple(PartFile(**f) for f in raw["files"])
        manifest = Manifest(**(values | {"files": parts, "lineage": Lineage(**raw["lineage"])}))
        claimed = raw["digest"]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise PartitionCorrupt(f"{where}: expected a manifest, found {type(e).__name__}: {e}") from e
    if manifest.digest() != claimed:
        raise PartitionCorrupt(f"{where}: the manifest does not match its own digest: it was changed after it was written")
    return manifest


def read_manifest(folder: Path, where: str) -> Manifest | None:
    """The manifest of the partition in `folder`; None where there is no committed partition.
    Raises PartitionCorrupt where ``_SUCCESS`` or the manifest is missing, or they do not match each other or the files.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        if folder.exists():
            raise PartitionCorrupt(f"{where}: expected {MANIFEST}, found a folder without it") from None
        return None
    manifest = parse_manifest(text, where)
    try:
        success = (folder / SUCCESS).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise PartitionCorrupt(f"{where}: expected {SUCCESS}, found none: the partition was not committed") from None
    if success != manifest.digest():
        raise PartitionCorrupt(f"{where}: {SUCCESS} does not match the manifest")
    for part in manifest.files:
        try:
            size = (folder / part.name).stat().st_size
        except FileNotFoundError:
            raise PartitionCorrupt(f"{where}: expected file {part.name} as its manifest says, found none") from None
        if size != part.size:
            raise PartitionCorrupt(f"{where}: file {part.name}: expected {part.size} bytes as its manifest says, found {size}")
    return manifest
