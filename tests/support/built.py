"""What several test files need and none may change is built once for a whole run, all of its processes included."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

_folder: Path | None = None


def use(folder: Path) -> None:
    """Share what is built within `folder`; until this is called (in the benches) nothing is shared."""
    global _folder
    _folder = folder


def copy_of_built(name: str, make: Callable[[Path], object], folder: Path) -> Path:
    """`folder` with what `make` puts into an empty folder; `name` says the recipe, arguments included.

    The first process that asks for a recipe makes it, the others wait for it; each gets a copy, which it may harm. The sources do not
    change within a run, so that the name alone is the key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if _folder is None:
        make(folder)
        return folder
    done = _folder / name
    _folder.mkdir(parents=True, exist_ok=True)
    with (_folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            half = _folder / f"{name}.half-{os.getpid()}"
            half.mkdir()
            make(half)
            half.rename(done)
    shutil.copytree(done, folder, dirs_exist_ok=True)
    return folder
