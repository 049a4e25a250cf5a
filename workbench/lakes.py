"""The lake behind the page: its contracts, and stamps that tell when it changed; without Panel, since worker processes need it, too."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from engine.errors import PartitionCorrupt
from engine.lake.catalog import BARS, LADDER, LEVELS, ORDER_EVENTS, TAPE
from engine.lake.manifest import sha256_text
from engine.lake.store import Lake
from workbench import live


def open_lake(root: str) -> Lake:
    """The lake at `root`."""
    return Lake(Path(root))


def simulated_text(root: str) -> str:
    """What a page says of a simulated market: that it is one, and how strong the regimes planted in it are."""
    planted = planted_strength(Path(root))
    return "SIMULATED MARKET" + ("" if planted is None else f", PLANTED STRENGTH {planted:g}")


def planted_strength(lake: Path) -> float | None:
    """Strength (kappa) of the regimes in a lake's simulated files, by the newest truth beside them; None where none is there."""
    for path in sorted(lake.glob("truth/*/*.parquet"), key=lambda p: p.name)[::-1]:
        found = pl.read_parquet(path, columns=["kappa"])["kappa"]
        if len(found):
            return float(found[0])
    return None


def contracts(root: str) -> dict[str, list[str]]:
    """Contract -> session dates that have a ladder a reader may trust, newest first, one that is under way among them.

    The contract of a session under way comes first; the others by their newest session, then by the rows of its ladder: the market trades
    the one that has most.
    """
    lake = open_lake(root)
    found: dict[str, dict[str, int]] = {}  # contract -> date -> rows, newest first
    for symbol, date in sorted(lake.partitions(LADDER), key=lambda p: p[1], reverse=True):
        try:
            manifest = lake.find_manifest(LADDER, symbol, date)
        except PartitionCorrupt:
            continue  # `spymaster lake` names it
        if manifest is not None:
            found.setdefault(symbol, {})[date.isoformat()] = manifest.rows
    newest = sorted(found, key=lambda symbol: next(iter(found[symbol].items())), reverse=True)
    there = {symbol: list(found[symbol]) for symbol in newest}
    for session in live.sessions(root):
        day = session.date.isoformat()
        others = [d for d in there.pop(session.symbol, []) if d != day]
        there = {session.symbol: sorted([day, *others], reverse=True), **there}
    return there


def stamp(root: str, symbol: str, date: dt.date) -> str:
    """What the lake says of the session's partitions now; another stamp than a `Session` has means that it is stale."""
    lake = open_lake(root)
    manifests = (lake.find_manifest(key, symbol, date) for key in (LADDER, TAPE, BARS, LEVELS, ORDER_EVENTS))
    return "/".join(m.digest()[:16] if m else "-" for m in manifests)


def dataset_stamp(root: str, *keys: str) -> str:
    """What the lake says of some datasets now: another one means that what was computed is of another lake."""
    lake = open_lake(root)
    found = [(key, s, d, lake.find_manifest(key, s, d)) for key in keys for s, d in lake.partitions(key)]
    return sha256_text("\n".join(f"{key}/{s}/{d}/{m.digest() if m else ''}" for key, s, d, m in found))
