"""What the questions share: the state of the lake that an answer is of, the market, and progress past a cache."""

from __future__ import annotations

from collections.abc import Callable

from engine.lake.catalog import LADDER
from engine.lake.manifest import sha256_text
from engine.vocab import root_of
from workbench.data import open_lake

Progress = Callable[[int, int, str], None]


def nothing(done: int, of: int, what: str) -> None:
    """Progress that nobody watches."""


def stamp(root: str, *keys: str) -> str:
    """What the lake says of some datasets now: another one means that what was computed is of another lake."""
    lake = open_lake(root)
    parts = []
    for key in keys:
        for symbol, date in lake.partitions(key):
            found = lake.find_manifest(key, symbol, date)
            parts.append(f"{key}/{symbol}/{date}/{found.digest() if found else ''}")
    return sha256_text("\n".join(parts))


class Watched:
    """Carries a progress callback past a cache."""

    def __init__(self, progress: Progress) -> None:
        self.tell = progress

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        # The cache keeps this object, and so would keep the page that watched.
        self.tell = nothing

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Watched)


def market(contract: str | None) -> str | None:
    """Root of a contract; None where none is chosen."""
    return root_of(contract).code if contract else None


def simulated(root: str, of: str | None = None) -> bool:
    """Whether any session of the market (of the lake where None) is simulated: then what is counted over it is, too."""
    lake = open_lake(root)
    return any(
        lake.has(LADDER, s, d) and lake.is_simulated(LADDER, s, d) for s, d in lake.partitions(LADDER) if of in (None, root_of(s).code)
    )
