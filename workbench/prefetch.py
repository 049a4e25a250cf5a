"""What a server reads before the first visitor, and the interpreter's memory after it."""

from __future__ import annotations

import datetime as dt
import gc
from functools import lru_cache

from engine.errors import EngineError
from engine.params import FeatureParams
from workbench import lakes, session_cache, similar


@lru_cache(maxsize=1)
def prefetch_newest_session(root: str) -> str | None:
    """``CONTRACT DATE`` of the newest session of the lake, read now with everything that a first look computes from it.

    None where the lake holds nothing that can be shown (the page says what is wrong).
    """
    read = None
    try:
        there = lakes.contracts(root)
        if there:
            symbol = next(iter(there))
            session = session_cache.load(root, symbol, dt.date.fromisoformat(there[symbol][0]))
            for level_id in dict.fromkeys(session.levels["level_id"]):
                session.windows(level_id, FeatureParams())
            session.candles()
            similar.start_in_worker(root, symbol, session.date)
            read = f"{symbol} {session.date}"
    except EngineError as e:
        print(f"workbench: nothing read ahead: {e}")
    freeze_garbage_collector()
    return read


@lru_cache(maxsize=1)
def freeze_garbage_collector() -> None:
    """Exclude what is alive now from garbage collection.

    Libraries and sessions are some million objects that live as long as the server; walking them all takes a fifth of a second, in the
    middle of whatever the trader has just asked for.
    """
    gc.collect()
    gc.freeze()
