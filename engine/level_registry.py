"""What a level is made of and how one is registered; the levels themselves are in `engine.levels`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from engine.bars import trades_between
from engine.errors import UnknownLevel
from engine.sessions import SessionWindows
from engine.vocab import Root


@dataclass(frozen=True)
class Gap:
    """A span ``[start_ns, end_ns)`` for which there is no data, and why (a missing UTC file, say)."""

    start_ns: int
    end_ns: int
    reason: str


@dataclass(frozen=True)
class LevelInputs:
    """What levels are made of.

    Attributes
    ----------
    windows, root
        The session's spans, and the contract's root.
    trades_session : pl.DataFrame
        ``ts_event, tick, size, side`` of all trades from the Globex open (``windows.globex_start_ns``) to the ladder's
        end, in file order. Trades outside are passed over.
    trades_pd : pl.DataFrame or None
        The same of the previous full RTH session, already cut to its span; None where there is none.
    pd_reason : str
        Why `trades_pd` is None.
    bars : pl.DataFrame
        `engine.bars.bars_2m` of the Globex day.
    gaps : tuple of Gap
        Spans of the Globex day without data. A level whose window meets one is absent with the gap's reason; one that
        steps on ends where the gap begins.
    """

    windows: SessionWindows
    root: Root
    trades_session: pl.DataFrame
    trades_pd: pl.DataFrame | None
    pd_reason: str
    bars: pl.DataFrame
    gaps: tuple[Gap, ...] = field(default=())

    def gap_in(self, start_ns: int, end_ns: int) -> Gap | None:
        """The first gap that meets the span."""
        met = [g for g in self.gaps if g.start_ns < end_ns and start_ns < g.end_ns]
        return min(met, key=lambda g: g.start_ns, default=None)

    def trades_in(self, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Trades of the span; a trade's time is the latest ``ts_event`` so far, as in the replay."""
        return trades_between(self.trades_session, start_ns, end_ns)


@dataclass(frozen=True)
class Steps:
    """A step function: ``price[i]`` holds from ``start_ts_ns[i]`` (rising) to the next start, the last one to `end_ns`."""

    start_ts_ns: np.ndarray
    price: np.ndarray
    end_ns: int


LevelFunction = Callable[[LevelInputs], Steps | str]


@dataclass(frozen=True)
class LevelSpec:
    """A registered level: id, title on the screen, meaning, and the function that makes it."""

    level_id: str
    title: str
    meaning: str
    function: LevelFunction


LEVELS: dict[str, LevelSpec] = {}
_PRICE = re.compile(r"^price:(?P<price>[-+]?\d+(\.\d+)?)$")


def level(level_id: str, title: str, meaning: str) -> Callable[[LevelFunction], LevelFunction]:
    """Register a level function under `level_id`."""

    def register(function: LevelFunction) -> LevelFunction:
        if level_id in LEVELS:
            raise UnknownLevel(f"level {level_id!r}: expected a new id, it is registered already")
        LEVELS[level_id] = LevelSpec(level_id, title, meaning, function)
        return function

    return register


def level_ids() -> tuple[str, ...]:
    """Ids of all registered levels; ``price:<price>`` is one too, for any price."""
    return tuple(LEVELS)


def parse_level_id(level_id: str) -> tuple[str, float | None]:
    """``("price", 6800.25)`` for ``price:6800.25``, ``(level_id, None)`` for a registered level.

    Raises
    ------
    UnknownLevel
        Naming the known ids.
    """
    if level_id in LEVELS:
        return level_id, None
    m = _PRICE.match(level_id)
    if m is None:
        raise UnknownLevel(f"level {level_id!r}: expected one of {', '.join(LEVELS)}, or price:<price> such as price:6800.25")
    return "price", float(m["price"])


def title(level_id: str) -> str:
    """Name of a level on the screen (``PM High``); a fixed price is its own name."""
    name, price = parse_level_id(level_id)
    return LEVELS[name].title if price is None else f"{price:.10g}"


def meaning(level_id: str) -> str:
    """One sentence on what the level is and from when on it is known."""
    name, price = parse_level_id(level_id)
    return LEVELS[name].meaning if price is None else "A price the trader chose; it stands for the whole session."
