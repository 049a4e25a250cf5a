"""A lock file that one process holds, and that the system releases with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import LakeBusy
from engine.lake.writer import writing


def locked(path: Path, busy: str) -> int:
    """File descriptor of a lock file, held until it is closed or the process ends; raises LakeWriteFailed, and LakeBusy with `busy`, in
    which ``{pid}`` is the process that holds it.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "?"
        os.close(fd)
        raise LakeBusy(busy.replace("{pid}", pid)) from e
    with suppress(OSError):  # on a full disk it is held, and does not say by whom
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


@contextmanager
def alone(path: Path, busy: str) -> Iterator[None]:
    """Context manager in which this process alone holds a lock file; raises as `locked`."""
    fd = locked(path, busy)
    try:
        yield
    finally:
        os.close(fd)
