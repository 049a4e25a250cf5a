"""A scene from the lake: which contract a root means, whether the orders are simulated, and the four partitions read."""

from __future__ import annotations

import datetime as dt

from engine.errors import SessionError, UnknownProfile
from engine.ladder import Ladder
from engine.lake.catalog import BARS, LADDER, LEVELS
from engine.lake.store import Lake
from engine.params import FeatureParams
from engine.selection import route
from engine.vocab import ROOTS
from workbench.snapshot.params import PictureParams
from workbench.snapshot.scene import Scene, make_scene

"""Stands in the name of every raw file that `spymaster simulate` writes."""


def contract_of(lake: Lake, symbol: str | None, date: dt.date) -> str:
    """The contract that `symbol` (a contract, a root, or none) means on a session date.

    Raises
    ------
    SessionError
        Where there is none, or more than one and no selection map says which.
    """
    if symbol is not None and symbol not in ROOTS:
        return symbol
    there = [s for s, d in lake.partitions(LADDER) if d == date and (symbol is None or s.startswith(symbol)) and lake.has(LADDER, s, d)]
    if len(there) == 1:
        return there[0]
    if not there:
        known = sorted({d.isoformat() for _, d in lake.partitions(LADDER)})
        found = f"sessions {', '.join(known[-5:])}" if known else "no session at all"
        raise SessionError(
            f"lake {lake.root}: expected a ladder of {symbol or 'any contract'} on {date}, found {found}; "
            f"`spymaster run --lake {lake.root} --symbol {symbol or 'ES'} --dates {date}` makes one"
        )
    if symbol is None:
        raise SessionError(f"lake {lake.root}: {date} has ladders of {', '.join(there)}; say which with --symbol")
    chosen, left = route(lake, symbol, [date])
    if not chosen:
        raise SessionError(f"--symbol {symbol} on {date}: {left.get(date, 'not selected')}; name a contract such as {there[0]}")
    return chosen[0][0]


def profile_of(lake: Lake) -> str:
    """Session profile of the lake's silver.

    Raises
    ------
    UnknownProfile
        Where it has none yet.
    """
    profile = lake.profile()
    if profile is None:
        raise UnknownProfile(f"lake {lake.root}: expected silver of a session profile, found none; `spymaster run` makes it")
    return profile


def scene_of(
    lake: Lake,
    symbol: str,
    date: dt.date,
    *,
    level_id: str,
    ts_ns: int,
    features: FeatureParams | None = None,
    picture: PictureParams | None = None,
) -> Scene:
    """The scene of a moment, read from the lake.

    Raises
    ------
    PartitionMissing
        Where ladder, tape, bars or levels are not there, with the command that makes them.
    UnknownLevel, SessionError
        As `make_scene`.
    """
    ladder = Ladder.open(lake, symbol, date)
    levels, bars = (lake.read(key, symbol, date) for key in (LEVELS, BARS))
    return make_scene(
        ladder, levels, bars, level_id=level_id, ts_ns=ts_ns, features=features, picture=picture,
        simulated=lake.is_simulated(LADDER, symbol, date), absent=dict(lake.notes(LEVELS, symbol, date).get("absent", {})),
    )  # fmt: skip
