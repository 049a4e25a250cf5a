"""Vocabulary of the data: actions, sides, flags, outcomes, and the roots of supported contracts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from engine.errors import UnknownRoot

PRICE_SCALE = 1_000_000_000
"""Databento's fixed-point price unit: 1e-9 of a price."""

UNDEF_PRICE = 2**63 - 1
F_LAST = 0x80
F_SNAPSHOT = 0x20
F_MAYBE_BAD_BOOK = 0x04

NS = 1_000_000_000
"""Nanoseconds in a second."""


class Action(StrEnum):
    """Action of an MBO record; the code in columns is the position here."""

    ADD = "A"
    CANCEL = "C"
    MODIFY = "M"
    CLEAR = "R"
    TRADE = "T"
    FILL = "F"
    NONE = "N"


class Side(StrEnum):
    """Side of an order, or of a trade's aggressor; the code in columns is the position here."""

    BID = "B"
    ASK = "A"
    NONE = "N"


class Approach(StrEnum):
    """Direction in which price approaches a level (features.md section 8)."""

    UP = "approach_up"
    DOWN = "approach_down"
    NONE = "approach_none"


class Outcome(StrEnum):
    """Outcome after a touch of a level (features.md section 8)."""

    BREAK_UP = "BREAK_UP"
    REJECT_DOWN = "REJECT_DOWN"
    BREAK_DOWN = "BREAK_DOWN"
    REJECT_UP = "REJECT_UP"
    CHOP = "CHOP"
    NO_TOUCH = "NO_TOUCH"


class TriggerKind(StrEnum):
    """Kind of a trigger (features.md section 8)."""

    WINDOW = "window"
    ARM = "arm"
    TOUCH = "touch"
    CANDLE = "candle"


class State(StrEnum):
    """State of a level in a window (features.md section 9)."""

    IDLE = "IDLE"
    TRACK = "TRACK"
    WATCH = "WATCH"
    ARMED = "ARMED"
    FIRE = "FIRE"


LADDER_CHANNELS = ("depth", "orders", "add", "pull", "fill", "pull_rest", "away_rest", "toward_rest")
"""Channels of the price ladder; each is there for bids and for asks (``bid_depth``, ``ask_depth``, ...)."""

LADDER_COLUMNS = tuple(f"{side}_{channel}" for channel in LADDER_CHANNELS for side in ("bid", "ask"))
"""The ladder's sixteen channel columns in the order in which the kernels write and read them."""

ACTION_CODES = {a.value: i for i, a in enumerate(Action)}
SIDE_CODES = {s.value: i for i, s in enumerate(Side)}


@dataclass(frozen=True)
class Root:
    """A root of contracts: tick size (in price), multiplier (currency per point), contract months."""

    code: str
    name: str
    tick_size: float
    multiplier: float
    months: str

    @property
    def tick_fixed(self) -> int:
        """Tick size in Databento's 1e-9 fixed-point units."""
        return round(self.tick_size * PRICE_SCALE)

    def to_tick(self, price: float) -> int:
        """Nearest tick of `price`, ties up (features.md section 2)."""
        # 6800.125 is exact in binary, 71.005 is not; adding 1e-9 makes both ties round up.
        return int((price / self.tick_size + 0.5 + 1e-9) // 1)

    def to_price(self, tick: int) -> float:
        """Price of `tick`, rounded to the 1e-9 that Databento prices carry."""
        return round(tick * self.tick_size, 9)


QUARTERLY = "HMUZ"
ALL_MONTHS = "FGHJKMNQUVXZ"

ROOTS: dict[str, Root] = {
    r.code: r
    for r in (
        Root("ES", "E-mini S&P 500", 0.25, 50.0, QUARTERLY),
        Root("MES", "Micro E-mini S&P 500", 0.25, 5.0, QUARTERLY),
        Root("NQ", "E-mini Nasdaq-100", 0.25, 20.0, QUARTERLY),
        Root("MNQ", "Micro E-mini Nasdaq-100", 0.25, 2.0, QUARTERLY),
        Root("RTY", "E-mini Russell 2000", 0.10, 50.0, QUARTERLY),
        Root("YM", "E-mini Dow", 1.0, 5.0, QUARTERLY),
        Root("CL", "Crude Oil", 0.01, 1000.0, ALL_MONTHS),
        Root("GC", "Gold", 0.10, 100.0, ALL_MONTHS),
    )
}

_OUTRIGHT = re.compile(r"(?P<root>[A-Z0-9]{1,3}?)(?P<month>[FGHJKMNQUVXZ])(?P<year>[0-9]{1,2})")


def split_contract(symbol: str) -> tuple[Root, str, str] | None:
    """(root, month letter, year digits) of an outright's symbol (``ESZ5``, ``ESZ25``); None for spreads, unknown roots and months."""
    m = _OUTRIGHT.fullmatch(symbol)
    if m is None:
        return None
    root = ROOTS.get(m["root"])
    if root is None or m["month"] not in root.months:
        return None
    return root, m["month"], m["year"]


def root_of(symbol: str) -> Root:
    """Root of a contract (``ESH4``) or of a root's own code (``ES``); UnknownRoot for others."""
    if symbol in ROOTS:
        return ROOTS[symbol]
    parts = split_contract(symbol)
    if parts is None:
        raise UnknownRoot(
            f"symbol {symbol!r}: expected a root ({', '.join(ROOTS)}) or an outright contract of one such as ESH4; "
            f"add a root in engine/vocab.py"
        )
    return parts[0]
