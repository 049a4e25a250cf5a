"""What a lake holds beside its partitions: the session profile, raw files, the selection map, small caches, the lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import LakeBusy, LakeWriteFailed, PartitionCorrupt, UnknownProfile
from engine.lake.catalog import RAW_MBO_TEMPLATE, SELECTION_PATH
from engine.lake.writer import link_or_copy, write_frame, write_whole

if TYPE_CHECKING:
    import polars as pl

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
