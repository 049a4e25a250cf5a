"""Small markets of hand-made trades for the tests of setups: a ladder whose tape follows them, and levels as steps."""

from __future__ import annotations

import polars as pl

from engine.ladder import Ladder
from engine.levels import LEVEL_SCHEMA
from tests.support.ladders import DATE, NS, START_S, SYMBOL, rows_from, tape_from

Trade = tuple[float, int]
"""Second after the session's start (fractions allowed) and tick."""


def trades_frame(trades: list[Trade]) -> pl.DataFrame:
    """Trades in the columns that bronze gives."""
    schema = {"ts_event": pl.Int64, "tick": pl.Int32, "size": pl.UInt32, "side": pl.UInt8}
    return pl.DataFrame([(START_S * NS + round(s * NS), k, 1, 0) for s, k in trades], schema=schema, orient="row")


def ladder_of(trades: list[Trade], seconds: int) -> Ladder:
    """A ladder of `seconds` seconds whose last trades are those of `trades`; its book is one far-off order a side."""
    by_second: dict[int, list[int]] = {}
    for t, k in trades:
        by_second.setdefault(int(t), []).append(k)
    tape, last = [], None
    for s in range(seconds):
        here = by_second.get(s, [])
        last = here[-1] if here else last
        tape.append({"last_tick": last, "trades": len(here), "messages": 3 * len(here)})
    rows = rows_from([{"s": 0, "tick": 1, "bid_depth": 1, "bid_add": 1}])
    return Ladder.from_frames(rows, tape_from(tape), symbol=SYMBOL, date=DATE)


def levels_of(steps: list[tuple[str, float, float, int]]) -> pl.DataFrame:
    """Levels from (id, start second, end second, tick)."""
    rows = [(i, START_S * NS + round(a * NS), START_S * NS + round(b * NS), k * 0.25, k) for i, a, b, k in steps]
    return pl.DataFrame(rows, schema=LEVEL_SCHEMA, orient="row")


def ns(second: float) -> int:
    """Ns since the epoch of a second after the session's start."""
    return START_S * NS + round(second * NS)
