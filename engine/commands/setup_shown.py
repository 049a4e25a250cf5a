"""Which setup the demo opens on: a touch of a key level, from well away, that price answered."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from engine.sessions import NEW_YORK
from engine.vocab import NS

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

LEVELS_SHOWN = ("pm_high", "pm_low", "or_high", "or_low")
SESSIONS_LOOKED_AT = 5
AWAY_TICKS, BEFORE_S, AFTER_S, HISTORY_S = 8, 90, 180, 1800
"""A setup comes from this far, in this time; price then has this long to answer, and the chart this much to show."""
WINDOW_NS = 5 * NS


def setup_worth_a_look(lake: Lake) -> dict[str, str] | None:
    """Contract, session, level and clock time (as the page's URL has them) of the newest sessions' clearest answer; None without one."""
    from engine.lake.catalog import LEVELS, TAPE

    found: list[tuple[float, dict[str, str]]] = []
    sessions = sorted(lake.partitions(TAPE), key=lambda p: p[1])[-SESSIONS_LOOKED_AT:]
    for symbol, date in sessions:
        if not (lake.has(TAPE, symbol, date) and lake.has(LEVELS, symbol, date)):
            continue
        tape = lake.read(TAPE, symbol, date, ("window_start_ts_ns", "last_tick"))
        levels = lake.read(LEVELS, symbol, date)
        for level_id in LEVELS_SHOWN:
            for row in levels.filter(levels["level_id"] == level_id).iter_rows(named=True):
                answer, at = clearest_answer(tape, row["level_tick"], row["start_ts_ns"])
                if at is not None:
                    clock = dt.datetime.fromtimestamp(at // NS, NEW_YORK).strftime("%H:%M:%S")
                    found.append((answer, {"contract": symbol, "session": date.isoformat(), "level": level_id, "t": clock}))
    return max(found, key=lambda f: f[0])[1] if found else None


def clearest_answer(tape: pl.DataFrame, level_tick: int, known_ts_ns: int) -> tuple[float, int | None]:
    """How far price went from a level within `AFTER_S` of touching it, in ticks, and the start of the touch's window.

    Of all touches that came from `AWAY_TICKS` or more away within `BEFORE_S`, with `HISTORY_S` of tape before them, the one
    with the longest way; ``(0, None)`` where there is none.
    """
    import numpy as np

    seconds = tape["window_start_ts_ns"].to_numpy()
    distance = tape["last_tick"].fill_null(strategy="forward").fill_null(level_tick).to_numpy() - level_tick
    best: tuple[float, int | None] = (0.0, None)
    touching = np.flatnonzero((distance == 0) & (seconds >= known_ts_ns))
    for i in touching.tolist():
        if i < HISTORY_S or i + AFTER_S >= len(distance):
            continue
        before = distance[i - BEFORE_S : i]
        came = np.abs(before).max() >= AWAY_TICKS and not (before[-20:] == 0).any() and ((before > 0).all() or (before < 0).all())
        way = float(np.abs(distance[i : i + AFTER_S]).max())
        if came and way > best[0]:
            best = (way, int(seconds[i] // WINDOW_NS * WINDOW_NS))
    return best
