"""A lock file that one process holds, and that the system releases with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import LakeBusy
from engine.lake.writer import writing


def locked(path: Path, busy: str, wait_s: float = 0.0) -> int:
    """File descriptor of a lock file, held until it is closed or the process ends; raises LakeWriteFailed, and LakeBusy with `busy`, in
    which ``{pid}`` is the process that holds it, once it has been waited for so long.
    """
    until = time.monotonic() + wait_s
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not _taken(fd, last=time.monotonic() >= until):
            time.sleep(0.002)
    except OSError as e:
        pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "?"
        os.close(fd)
        raise LakeBusy(busy.replace("{pid}", pid)) from e
    with suppress(OSError):  # on a full disk it is held, and does not say by whom
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _taken(fd: int, last: bool) -> bool:
    """Whether the lock is this process's now; the `last` time it raises OSError where it is not."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if last:
            raise
        return False
    return True


@contextmanager
def alone(path: Path, busy: str, wait_s: float = 0.0) -> Iterator[None]:
    """Context manager in which this process alone holds a lock file; raises as `locked`."""
    fd = locked(path, busy, wait_s)
    try:
        yield
    finally:
        os.close(fd)
