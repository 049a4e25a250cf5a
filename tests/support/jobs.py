"""Tasks for the runner's tests, in a module of their own so that spawned processes can import them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """A task that leaves one line per start in ``folder/name``, and then does what `what` says."""

    folder: str
    name: str
    what: str = "work"

    def starts(self) -> int:
        """How often it was started."""
        path = Path(self.folder) / self.name
        return len(path.read_text().splitlines()) if path.exists() else 0


def do(job: Job) -> str:
    """Do a job: ``work``, ``die`` (always), ``die once``, ``slow``."""
    with (Path(job.folder) / job.name).open("a") as f:
        f.write(f"{os.getpid()}\n")
    if job.what == "die" or (job.what == "die once" and job.starts() == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if job.what == "slow":
        time.sleep(60)
    return f"{job.name} done"


def ended(*_: object) -> None:
    """Be ended, as by a system short of memory, whatever was asked."""
    os.kill(os.getpid(), signal.SIGKILL)


def impatient() -> None:
    """Fail with the error that waiting knows, too."""
    raise TimeoutError("of its own")
