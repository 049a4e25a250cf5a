"""What was given: files, folders and zip archives, opened up; what kind of file each is, told by its first bytes; and a file read once."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from engine.errors import BadDbn, unreadable
from engine.lake.writer import writing

if TYPE_CHECKING:
    from engine.mbo.dbn import ByteSource


@dataclass(frozen=True)
class Found:
    """A file that was given, as it is or as a member of an archive.

    label: how errors name it
    name: its own name
    folder: what it lies in, so that the files of one batch job find each other
    size: bytes
    on_disk: it, or the archive that it is a member of
    path: where it is on disk; None of a member of an archive
    named: whether the user named it, and not a folder or an archive that holds it
    """

    label: str
    name: str
    folder: str
    size: int
    on_disk: Path
    path: Path | None
    named: bool
    open: Callable[[], Any]

    @contextmanager
    def source(self) -> Iterator[ByteSource]:
        """Context manager with the file's bytes, decompressed on the way."""
        from engine.mbo.dbn import ByteSource

        with self.open() as raw:
            yield ByteSource(io.BufferedReader(raw), Path(self.label), self.size)


def walk(sources: list[Path], faults: list[str]) -> Iterator[Found]:
    """The files among `sources`, folders and archives opened, in the order of their names; what cannot be opened, is not there or holds no
    file is added to `faults`. Hidden files in a folder are no delivery.
    """
    for source in sources:
        given, known = 0, len(faults)
        for found in _walk_one(source, faults):
            given += 1
            yield found
        if not given and len(faults) == known:
            faults.append(f"RawMissing: {source}: expected files that end in .dbn or .dbn.zst, found none; check the path")


def _walk_one(source: Path, faults: list[str]) -> Iterator[Found]:
    try:
        folder = stat.S_ISDIR(source.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        faults.append(f"RawMissing: {source}: expected a DBN file or a folder of them, found nothing there; check the path")
    except OSError as e:
        faults.append(f"RawUnreadable: {unreadable(source, e)}")
    else:
        yield from _in_folder(source, faults, set()) if folder else _opened(source, True, faults)


def _in_folder(folder: Path, faults: list[str], met: set[tuple[int, int]]) -> Iterator[Found]:
    """The files in a folder and in those within it, each folder once, however many links lead to it (`met`)."""
    try:
        place = folder.stat()
        entries = sorted((e for e in folder.iterdir() if not e.name.startswith(".")), key=lambda e: (e.is_dir(), e.name))
    except OSError as e:
        faults.append(f"RawUnreadable: {unreadable(folder, e)}")
        return
    if (place.st_dev, place.st_ino) in met:
        return
    met.add((place.st_dev, place.st_ino))
    for entry in entries:
        if entry.is_dir():
            yield from _in_folder(entry, faults, met)
        elif entry.is_file():
            yield from _opened(entry, False, faults)
        elif entry.is_symlink() and not entry.exists():
            faults.append(f"RawMissing: {entry}: expected a file, found a link to {os.readlink(entry)}, where nothing is; fetch that")


def _opened(path: Path, named: bool, faults: list[str]) -> Iterator[Found]:
    """The file itself, or the members of the archive that it is."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device would never end
            faults.append(f"RawMissing: {path}: expected a file, found something else; check the path")
            return
        with path.open("rb") as f:
            archive = f.read(4) == b"PK\x03\x04"
        if not archive:
            yield one_file(path, named)
            return
        with zipfile.ZipFile(path) as members:
            for info in sorted(members.infolist(), key=lambda i: i.filename):
                inside = PurePosixPath(info.filename)
                if info.is_dir() or any(part.startswith((".", "__MACOSX")) for part in inside.parts):
                    continue
                label, folder = f"{path}:{info.filename}", f"{path}:{inside.parent}"

                def member(info: zipfile.ZipInfo = info) -> BinaryIO:
                    return zipfile.ZipFile(path).open(info)  # type: ignore[return-value]

                yield Found(label, inside.name, folder, info.file_size, path, None, False, member)
    except OSError as e:
        faults.append(f"RawUnreadable: {unreadable(path, e)}")
    except (zipfile.BadZipFile, NotImplementedError) as e:
        faults.append(f"BadDbn: {path}: cannot be opened as a zip archive: {e}; download it again")


def one_file(path: Path, named: bool = True) -> Found:
    """A file on disk as a delivery."""
    return Found(str(path), path.name, str(path.parent), path.stat().st_size, path, path, named, lambda: path.open("rb"))


def kind_of(found: Found) -> str:
    """``dbn``, ``json``, or what else the file is, in words. Raises RawUnreadable; BadDbn of a member that cannot be unpacked."""
    try:
        with found.source() as source:
            head = source.read(512)
    except BadDbn:
        return "dbn"  # a damaged frame: reading it says what is wrong
    except OSError as e:
        raise unreadable(found.on_disk, e) from e
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as e:  # encrypted, of another method, damaged
        raise BadDbn(f"{found.label}: cannot be unpacked: {e}; unpack the archive yourself, and give the folder") from e
    if not head:
        return "an empty file"
    for magic, what in _KINDS.items():
        if head.startswith(magic):
            return what
    if head[257:262] == b"ustar":
        return _ARCHIVE
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb'\{\s*"(hd|ts_recv|ts_event)"', text):
        return "a JSON file of Databento's records: download it with encoding='dbn'"
    if text[:1] in (b"{", b"["):
        return "json"
    if re.match(rb"(ts_recv|ts_event|rtype|publisher_id)[,\r\n]", text):
        return "a CSV file of Databento: download it with encoding='dbn'"
    return f"not a Databento file: it begins with {head[:8]!r}"


_ARCHIVE = "an archive of another kind than zip: unpack it, and give the folder"
_KINDS = {
    b"DBN": "dbn",
    b"\x1f\x8b": _ARCHIVE, b"BZh": _ARCHIVE, b"\xfd7zXZ": _ARCHIVE, b"7z\xbc\xaf": _ARCHIVE,
    b"PK\x03\x04": "a zip archive inside another: unpack it", b"PK\x05\x06": "a zip archive with nothing in it",
    b"PAR1": "a parquet file: give the DBN file that it was made of",
    b"\x0e\xa0": "records of a Databento file without its metadata (a fragment): give the whole file",
}  # fmt: skip


class Reading(io.RawIOBase):
    """A file as it is read for the first and only time: its bytes are hashed, and copied to `copy` where one is given."""

    def __init__(self, raw: BinaryIO, copy: BinaryIO | None = None) -> None:
        super().__init__()
        self._raw, self._copy = raw, copy
        self._hash = hashlib.sha256()
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill `target`; the number of bytes, 0 at the end. LakeWriteFailed where the copy cannot be written."""
        view = memoryview(target).cast("B")
        n = self._raw.readinto(view)  # type: ignore[attr-defined]
        self._hash.update(view[:n])
        if self._copy is not None:
            with writing(Path(self._copy.name)):
                at = 0
                while at < n:
                    at += self._copy.write(view[at:n])
        self._at += n
        return int(n)

    def tell(self) -> int:
        """Bytes read."""
        return self._at

    def sha256(self) -> str:
        """The hash of what was read, in hex."""
        return self._hash.hexdigest()


READ_BYTES = 1 << 20
