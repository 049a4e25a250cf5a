"""What a server does once, at its start where it is told to be warm: read the newest session, and settle the interpreter's memory."""

from __future__ import annotations

import datetime as dt
import gc
from functools import lru_cache

from engine.errors import EngineError
from engine.params import FeatureParams
from workbench import data, past, scales, similar
from workbench.plots.coding import LAYERS


@lru_cache(maxsize=1)
def up(root: str) -> str | None:
    """Read the newest session of the lake at `root` and everything that a first look computes from it.

    Returns
    -------
    str or None
        ``CONTRACT DATE`` of what was read; None where the lake holds nothing that can be shown (the page says what is wrong).
    """
    read = None
    try:
        there = data.contracts(root)
        if there:
            symbol = next(iter(there))
            session = data.load(root, symbol, dt.date.fromisoformat(there[symbol][0]))
            for level_id in dict.fromkeys(session.levels["level_id"]):
                data.vacuum(session, level_id, FeatureParams())
            scales.scale_top(session, LAYERS["depth"], FeatureParams().window_s, 1, 0.0)
            past.day(session)
            similar.begin_aside(root, symbol, session.date)
            read = f"{symbol} {session.date}"
    except EngineError as e:
        print(f"workbench: nothing read ahead: {e}")
    settle()
    return read


@lru_cache(maxsize=1)
def settle() -> None:
    """Set what is alive now aside from garbage collection.

    Libraries and sessions are some million objects that live as long as the server; walking them all takes a fifth of a
    second, in the middle of whatever the trader has just asked for.
    """
    gc.collect()
    gc.freeze()
