"""Atomic writes: a partition (parts in a temporary folder, manifest, ``_SUCCESS`` last, then one swap), and single files."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from engine.errors import LakeWriteFailed, NameTaken, remedy
from engine.lake.catalog import Dataset
from engine.lake.contract import enforce_contract
from engine.lake.manifest import MANIFEST, SUCCESS, Lineage, Manifest, PartFile, sha256_file, sha256_text

if TYPE_CHECKING:
    import polars as pl

TMP_PREFIX = ".tmp-"
OLD_PREFIX = ".old-"

# Measured on 1M bronze rows: zstd 1 writes in 0.22 core-s and 18 MB, no compression 0.17 s and 31 MB, lz4 0.20 s and 25 MB,
# zstd 3 0.30 s and 15 MB; all are read back in 0.05-0.08 s.
COMPRESSION: Literal["zstd"] = "zstd"
COMPRESSION_LEVEL = 1
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_FICLONE = 0x40049409
"""Number of the system call that makes a file share another's blocks until either is written (btrfs, XFS, bcachefs)."""


def fsync_path(path: Path) -> None:
    """Flush a file or a folder to disk, so that a swapped partition survives a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# ----------------------------------------------------------------------------
# Temporary names, which say who writes: a file of a process that died may be removed, one of another that writes just now may not

_TEMPORARY = re.compile(r"-([0-9]+)\.([0-9a-f]{8})-[0-9a-f]{8}\Z")
_STALE_SECONDS = 86_400
"""Age at which a temporary file counts as left behind where its process cannot be asked: no single write takes a day."""


@cache
def _here() -> str:
    """Hash of the host, its start and the container, within which a process id means one process."""
    parts = [platform.node()]
    for read in (lambda: Path("/proc/sys/kernel/random/boot_id").read_text(), lambda: os.readlink("/proc/self/ns/pid")):
        with suppress(OSError):  # not Linux: a host's name must do
            parts.append(read())
    return sha256_text("\n".join(parts))[:8]


def temporary(path: Path) -> Path:
    """A new name beside `path` for what shall become `path`; `sweep` knows from it whether its process lives."""
    return path.with_name(f"{TMP_PREFIX}{path.name}-{os.getpid()}.{_here()}-{secrets.token_hex(4)}")


def _is_left(entry: Path) -> bool:
    """Whether nobody writes a temporary file any more: its process is dead, or, where that is another host's, it is a day old."""
    found = _TEMPORARY.search(entry.name)
    if found is not None and found[2] == _here():
        return not _runs(int(found[1]))
    return time.time() - entry.lstat().st_mtime > _STALE_SECONDS


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # another user's
    return True


def sweep(folder: Path, name: str = "") -> list[str]:
    """Remove the temporary files in `folder` that nobody writes any more, with `name` only those for that file; returns their paths.

    Safe beside processes that write there. What cannot be looked at or removed stays.
    """
    done: list[str] = []
    with suppress(OSError):
        for left in folder.glob(f"{TMP_PREFIX}{glob.escape(name)}{'-' if name else ''}*"):
            with suppress(OSError):
                if _is_left(left):
                    _remove(left)
                    done.append(str(left))
    return done


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


# ----------------------------------------------------------------------------
# Single files


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Context manager in which what the system refuses is LakeWriteFailed of `path`."""
    try:
        yield
    except OSError as e:
        raise LakeWriteFailed(f"{path}: could not be written: {e}; {remedy(e)}") from e


def _replace(path: Path, write: Callable[[Path], object], errors: tuple[type[Exception], ...] = (OSError,)) -> None:
    """Call `write` with a temporary path and rename that to `path`; `errors` become LakeWriteFailed."""
    tmp = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        write(tmp)
        fsync_path(tmp)
        tmp.replace(path)
        fsync_path(path.parent)
    except errors as e:
        raise LakeWriteFailed(f"{path}: could not be written: {e}; {remedy(e)}") from e
    finally:
        with suppress(OSError):  # renamed already; or the folder cannot be used, which the error above reports
            tmp.unlink(missing_ok=True)


def write_text_atomic(path: Path, text: str) -> None:
    """Write the text file `path`, replacing it atomically."""
    _replace(path, lambda tmp: tmp.write_text(text, encoding="utf-8"))


def append_line(path: Path, record: Mapping[str, object]) -> None:
    """Add `record` to the file `path` as a line of JSON, whole or not at all; a LakeWriteFailed where it cannot be written."""
    line = (json.dumps(dict(record), sort_keys=True, allow_nan=False) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write at the file's end: two pages that write at once write two lines, never a mixture.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # A writer that was stopped may have left half a line: it must not swallow this one.
            if os.fstat(fd).st_size and not path.read_bytes().endswith(b"\n"):
                line = b"\n" + line
            os.write(fd, line)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as e:
        raise LakeWriteFailed(f"{path}: could not be written: {e}; {remedy(e)}") from e


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write the file `path`, replacing it atomically."""
    _replace(path, lambda tmp: tmp.write_bytes(content))


def write_parquet_atomic(path: Path, frame: pl.DataFrame) -> Path:
    """Write the parquet file `path`, replacing it atomically; returns `path`."""
    import polars as pl

    _replace(path, frame.write_parquet, (OSError, pl.exceptions.PolarsError))
    return path


def put_raw(source: Path, place: Path, *, own: bool) -> bool:
    """Give a raw file the name `place`, by a hard link; returns False where it is there already.

    own: the file is the lake's, and is copied where its file system has no links; else it is the user's, who wanted a link
    Raises NameTaken where anything else has that name, LakeWriteFailed where the folder cannot be written or a link is not possible.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), place)  # fails where the name is taken, even by a link that leads nowhere
        except FileExistsError:
            raise
        except OSError:
            if not own:
                raise
            _copy_new(source, place)
        fsync_path(place.parent)
    except FileExistsError:
        if _is_same(source, place):
            return False
        raise NameTaken(f"{place}: another file of this name is there, and raw files are never overwritten; rename {source}") from None
    except OSError as e:
        helps = "leave out --link" if not own and e.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK) else remedy(e)
        raise LakeWriteFailed(f"{place}: could not be written: {e}; {helps}") from e
    return True


def _copy_new(source: Path, place: Path) -> None:
    """Copy a file to `place`, whole or not at all; FileExistsError where something has that name, if only since a moment ago."""
    sweep(place.parent, place.name)
    tmp = temporary(place)
    try:
        shutil.copyfile(source, tmp)
        fsync_path(tmp)
        place.open("xb").close()  # the name is taken by an empty file, which is ours to replace
        tmp.replace(place)
    finally:
        tmp.unlink(missing_ok=True)


def clone(source: Path, new: Path) -> bool:
    """Whether the empty file `new` now shares the blocks of `source`, each with its own content from here on."""
    with source.open("rb") as old, new.open("r+b") as out, suppress(OSError):  # another disk, or a file system that cannot
        fcntl.ioctl(out.fileno(), _FICLONE, old.fileno())
        return True
    return False


def _is_same(source: Path, place: Path) -> bool:
    """Whether `place` is a file with the content of `source`; False where that cannot be told."""
    try:
        if not place.is_file():
            return False
        return place.samefile(source) or (place.stat().st_size == source.stat().st_size and sha256_file(place) == sha256_file(source))
    except OSError:
        return False


# ----------------------------------------------------------------------------
# Partitions


SWAPS = 20
"""How often `swap_in` begins anew where another writer of the same folder is between two of its steps."""


def swap_in(new: Path, place: Path) -> None:
    """Replace the folder `place` by `new`, atomically where the file system can exchange two folders; of several writers the last stays."""
    for left in reversed(range(SWAPS)):
        try:
            _swap(new, place)
            return
        except OSError as e:
            if not left or e.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or not new.is_dir():
                raise


def _swap(new: Path, place: Path) -> None:
    if not os.path.lexists(place):
        new.rename(place)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    exchange = getattr(libc, "renameat2", None)
    if exchange is not None and exchange(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(place), _RENAME_EXCHANGE) == 0:
        # If the old folder cannot be removed now, `recover` of the next run does it.
        shutil.rmtree(new, ignore_errors=True)
        return
    # Without exchange: rename the old folder first; `recover` restores it if the process dies between the two renames.
    old = place.with_name(f"{OLD_PREFIX}{place.name}-{secrets.token_hex(4)}")
    place.rename(old)
    try:
        new.rename(place)
    except BaseException:
        # Another writer's may be there already.
        if not os.path.lexists(place):
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(table: Path) -> list[str]:
    """Clean a folder after a killed run (delete temporary files, restore renamed folders); returns the paths handled.
    For folders that are written under the lake's lock alone: whatever is temporary there is of a run that has ended.
    """
    done: list[str] = []
    for entry in sorted(table.iterdir()) if table.is_dir() else []:
        if entry.name.startswith(OLD_PREFIX):
            place = entry.with_name(entry.name.removeprefix(OLD_PREFIX).rsplit("-", 1)[0])
            if not os.path.lexists(place):
                entry.rename(place)
            else:
                _remove(entry)
            done.append(str(entry))
        elif entry.name.startswith(TMP_PREFIX):
            # Under another name first: a writer elsewhere, whose run has ended, must not put a folder in place that is being emptied.
            gone = entry.with_name(f"{TMP_PREFIX}gone-{secrets.token_hex(4)}")
            with suppress(FileNotFoundError):
                entry.rename(gone)
                _remove(gone)
            done.append(str(entry))
    return done


_may_commit: Callable[[], None] | None = None


def commit_only_where(check: Callable[[], None] | None) -> None:
    """From now on this process asks `check` before it puts a partition in place; what it raises is what becomes of the partition."""
    global _may_commit
    _may_commit = check


class PartitionWriter:
    """Context manager that writes one partition atomically: commits on a normal exit, discards on an error."""

    def __init__(self, root: Path, dataset: Dataset, symbol: str, date: Any, lineage: Lineage) -> None:
        self.dataset = dataset
        self.symbol = symbol
        self.date = date
        self.lineage = lineage
        self.notes: dict[str, Any] = {}
        self.observed: dict[str, Any] = {}
        self.manifest: Manifest | None = None
        self._place = root / dataset.partition(symbol, date)
        self._tmp = temporary(self._place)
        self._parts: list[PartFile] = []

    @property
    def where(self) -> str:
        """Dataset and partition, for errors."""
        return f"{self.dataset.key} {self.symbol} {self.date}"

    def __enter__(self) -> Self:
        try:
            self._tmp.mkdir(parents=True)
        except OSError as e:
            raise self._failed(e) from e
        return self

    def add(self, frame: pl.DataFrame) -> None:
        """Write `frame` as the next part.
        Raises ContractError where it does not satisfy the dataset's contract, LakeWriteFailed where the disk is full or not writable.
        """
        import polars as pl

        contract = self.dataset.contract()
        frame = enforce_contract(contract.filled(frame.lazy(), frame.columns).collect(), contract, self.where)
        name = f"part-{len(self._parts):05d}.parquet"
        path = self._tmp / name
        try:
            # No statistics: no reader filters by them, and they cost a pass over every column.
            frame.write_parquet(path, compression=COMPRESSION, compression_level=COMPRESSION_LEVEL, statistics=False)
            fsync_path(path)
            self._parts.append(PartFile(name, frame.height, path.stat().st_size, sha256_file(path)))
        except (OSError, pl.exceptions.PolarsError) as e:
            raise self._failed(e) from e

    def _failed(self, e: BaseException) -> LakeWriteFailed:
        return LakeWriteFailed(
            f"{self.where}: could not be written to {self._place.parent}: {e}; the partition is unchanged. "
            f"`df -h {self._place.anchor}` says what is free; {remedy(e)}"
        )

    def _commit(self) -> None:
        if not self._parts:
            self.add(self.dataset.contract().empty())
        self.manifest = Manifest(
            dataset=self.dataset.key,
            symbol=self.symbol,
            date=self.date.isoformat(),
            rows=sum(p.rows for p in self._parts),
            files=tuple(self._parts),
            contract=self.dataset.contract().fingerprint(),
            lineage=self.lineage,
            notes=self.notes,
            observed=self.observed,
        )
        try:
            for name, text in ((MANIFEST, self.manifest.to_json()), (SUCCESS, self.manifest.digest() + "\n")):
                (self._tmp / name).write_text(text, encoding="utf-8")
                fsync_path(self._tmp / name)
            fsync_path(self._tmp)
            if _may_commit is not None:
                _may_commit()
            swap_in(self._tmp, self._place)
            fsync_path(self._place.parent)
        except OSError as e:
            raise self._failed(e) from e

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            # After a commit it has been renamed; after a failure, Ctrl-C included, it must be removed.
            shutil.rmtree(self._tmp, ignore_errors=True)
