"""Vocabulary of the data: actions, sides, flags, outcomes, and the roots of supported contracts."""

from __future__ import annotations

import datetime as dt
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

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
    """A root of contracts: tick size (in price), multiplier (currency per point), contract months, and its market's name
    (`engine.sessions.MARKETS`), which has the calendar and the regular hours, New York, where it has none of its own in `hours`.
    """

    code: str
    name: str
    tick_size: float
    multiplier: float
    months: str
    market: str
    hours: tuple[dt.time, dt.time] | None = None

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

SILVER, COPPER = (dt.time(8, 25), dt.time(13, 25)), (dt.time(8, 10), dt.time(13))
PLATINUM, PALLADIUM = (dt.time(8, 20), dt.time(13, 5)), (dt.time(8, 30), dt.time(13))
"""Regular hours of the metals that have not gold's."""

ROOTS: dict[str, Root] = {
    r.code: r
    for r in (
        Root("ES", "E-mini S&P 500", 0.25, 50.0, QUARTERLY, "equity"),
        Root("MES", "Micro E-mini S&P 500", 0.25, 5.0, QUARTERLY, "equity"),
        Root("NQ", "E-mini Nasdaq-100", 0.25, 20.0, QUARTERLY, "equity"),
        Root("MNQ", "Micro E-mini Nasdaq-100", 0.25, 2.0, QUARTERLY, "equity"),
        Root("RTY", "E-mini Russell 2000", 0.10, 50.0, QUARTERLY, "equity"),
        Root("M2K", "Micro E-mini Russell 2000", 0.10, 5.0, QUARTERLY, "equity"),
        Root("YM", "E-mini Dow", 1.0, 5.0, QUARTERLY, "equity"),
        Root("MYM", "Micro E-mini Dow", 1.0, 0.5, QUARTERLY, "equity"),
        Root("EMD", "E-mini S&P MidCap 400", 0.10, 100.0, QUARTERLY, "equity"),
        Root("CL", "Crude Oil", 0.01, 1000.0, ALL_MONTHS, "energy"),
        Root("MCL", "Micro Crude Oil", 0.01, 100.0, ALL_MONTHS, "energy"),
        Root("QM", "E-mini Crude Oil", 0.025, 500.0, ALL_MONTHS, "energy"),
        Root("BZ", "Brent Last Day", 0.01, 1000.0, ALL_MONTHS, "energy"),
        Root("NG", "Henry Hub Natural Gas", 0.001, 10_000.0, ALL_MONTHS, "energy"),
        Root("QG", "E-mini Natural Gas", 0.005, 2500.0, ALL_MONTHS, "energy"),
        Root("MNG", "Micro Henry Hub Natural Gas", 0.001, 1000.0, ALL_MONTHS, "energy"),
        Root("RB", "RBOB Gasoline", 0.0001, 42_000.0, ALL_MONTHS, "energy"),
        Root("HO", "NY Harbor ULSD", 0.0001, 42_000.0, ALL_MONTHS, "energy"),
        Root("GC", "Gold", 0.10, 100.0, ALL_MONTHS, "metals"),
        Root("MGC", "Micro Gold", 0.10, 10.0, ALL_MONTHS, "metals"),
        Root("SI", "Silver", 0.005, 5000.0, ALL_MONTHS, "metals", SILVER),
        Root("SIL", "Micro Silver", 0.005, 1000.0, ALL_MONTHS, "metals", SILVER),
        Root("HG", "Copper", 0.0005, 25_000.0, ALL_MONTHS, "metals", COPPER),
        Root("MHG", "Micro Copper", 0.0005, 2500.0, ALL_MONTHS, "metals", COPPER),
        Root("PL", "Platinum", 0.10, 50.0, ALL_MONTHS, "metals", PLATINUM),
        Root("PA", "Palladium", 0.50, 100.0, ALL_MONTHS, "metals", PALLADIUM),
        # Notes and bonds trade in fractions of a 32nd of a point.
        Root("ZT", "2-Year T-Note", 1 / 256, 2000.0, QUARTERLY, "rates"),
        Root("ZF", "5-Year T-Note", 1 / 128, 1000.0, QUARTERLY, "rates"),
        Root("ZN", "10-Year T-Note", 1 / 64, 1000.0, QUARTERLY, "rates"),
        Root("TN", "Ultra 10-Year T-Note", 1 / 64, 1000.0, QUARTERLY, "rates"),
        Root("ZB", "T-Bond", 1 / 32, 1000.0, QUARTERLY, "rates"),
        Root("UB", "Ultra T-Bond", 1 / 32, 1000.0, QUARTERLY, "rates"),
        # The nearest month's tick, of which the others' is a multiple: docs/DATA.md says what that means for them.
        Root("SR3", "Three-Month SOFR", 0.0025, 2500.0, ALL_MONTHS, "rates"),
        Root("ZQ", "30 Day Federal Funds", 0.0025, 4167.0, ALL_MONTHS, "rates"),
        Root("6E", "Euro FX", 0.00005, 125_000.0, ALL_MONTHS, "fx"),
        Root("M6E", "Micro EUR/USD", 0.0001, 12_500.0, QUARTERLY, "fx"),
        Root("6B", "British Pound", 0.0001, 62_500.0, ALL_MONTHS, "fx"),
        Root("M6B", "Micro GBP/USD", 0.0001, 6250.0, QUARTERLY, "fx"),
        Root("6J", "Japanese Yen", 0.0000005, 12_500_000.0, ALL_MONTHS, "fx"),
        Root("6A", "Australian Dollar", 0.00005, 100_000.0, ALL_MONTHS, "fx"),
        Root("M6A", "Micro AUD/USD", 0.0001, 10_000.0, QUARTERLY, "fx"),
        Root("6C", "Canadian Dollar", 0.00005, 100_000.0, ALL_MONTHS, "fx"),
        Root("6S", "Swiss Franc", 0.00005, 125_000.0, ALL_MONTHS, "fx"),
        Root("6N", "New Zealand Dollar", 0.00005, 100_000.0, ALL_MONTHS, "fx"),
        Root("6M", "Mexican Peso", 0.00001, 500_000.0, ALL_MONTHS, "fx"),
    )
}
"""Roots that are known without a file of one's own; `known_roots` has those of such a file, too."""

OWN_ROOTS = "SPYMASTER_ROOTS"
"""Environment variable with the path of a file of one's own roots; without it ``~/.config/spymaster/roots.yaml``."""

OWN_ROOT_EXAMPLE = "HE: {name: Lean Hogs, tick: 0.025, multiplier: 400, months: GJKMNQVZ, market: metals, hours: 09:30-14:05}"


def own_roots_path() -> Path:
    """The file in which a user adds roots; it need not be there."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get(OWN_ROOTS) or folder / "spymaster" / "roots.yaml")


def own_roots() -> dict[str, Root]:
    """Roots of the user's own file, `OWN_ROOT_EXAMPLE` a line; UnknownRoot where it cannot be understood, or has one of `ROOTS`."""
    path = own_roots_path()
    try:
        stat = path.stat()
    except OSError:
        return {}
    return _read_roots(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read_roots(path: Path, mtime_ns: int, size: int) -> dict[str, Root]:
    import yaml

    found = {}
    try:
        for code, raw in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).items():
            hours = _hours(str(raw["hours"])) if "hours" in raw else None
            numbers = float(raw["tick"]), float(raw["multiplier"])
            root = Root(str(code), str(raw["name"]), *numbers, str(raw["months"]), str(raw["market"]), hours)
            if root.code in ROOTS:
                raise ValueError(f"{code}: is known without this file, as {ROOTS[root.code].name}; take that line out")
            usable = _CODE.fullmatch(root.code) and root.tick_fixed > 0 and abs(root.tick_fixed / PRICE_SCALE - root.tick_size) < 1e-12
            if (
                not usable
                or root.multiplier <= 0
                or not root.months
                or set(root.months) - set(ALL_MONTHS)
                or root.market not in MARKET_NAMES
            ):
                raise ValueError(f"{code}: {raw}")
            found[root.code] = root
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as e:
        raise UnknownRoot(
            f"{path}: expected lines such as `{OWN_ROOT_EXAMPLE}` (a tick of whole 1e-9, months of {ALL_MONTHS}, a market of "
            f"{', '.join(MARKET_NAMES)}, and where it has others than its market's, its regular hours in New York), "
            f"found {type(e).__name__}: {e}"
        ) from e
    return found


def _hours(text: str) -> tuple[dt.time, dt.time]:
    """Regular hours from a text such as ``09:30-14:05``; ValueError where it is none."""
    found = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", text)
    if found is None or not found[1] < found[2] <= "17:00":  # Globex closes at 17:00
        raise ValueError(f"hours {text!r}")
    return dt.time.fromisoformat(found[1]), dt.time.fromisoformat(found[2])


MARKET_NAMES = ("equity", "energy", "metals", "rates", "fx")

_CODE = re.compile(r"[A-Z0-9]{1,3}")


def known_roots() -> dict[str, Root]:
    """All roots by code, the user's own among them."""
    return ROOTS | own_roots()


_OUTRIGHT = re.compile(r"(?P<root>[A-Z0-9]{1,3}?)(?P<month>[FGHJKMNQUVXZ])(?P<year>[0-9]{1,2})")


def split_contract(symbol: str) -> tuple[Root, str, str] | None:
    """(root, month letter, year digits) of an outright's symbol (``ESZ5``, ``ESZ25``); None for spreads, unknown roots and months."""
    m = _OUTRIGHT.fullmatch(symbol)
    if m is None:
        return None
    root = ROOTS.get(m["root"]) or own_roots().get(m["root"])
    if root is None or m["month"] not in root.months:
        return None
    return root, m["month"], m["year"]


def root_of(symbol: str) -> Root:
    """Root of a contract (``ESH4``) or of a root's own code (``ES``); UnknownRoot for others."""
    known = ROOTS.get(symbol) or own_roots().get(symbol)
    if known is not None:
        return known
    parts = split_contract(symbol)
    if parts is None:
        raise UnknownRoot(
            f"symbol {symbol!r}: expected a root ({', '.join(known_roots())}) or an outright contract of one such as ESH4; "
            f"add a root in engine/vocab.py, or, with its tick, multiplier and months, in {own_roots_path()}: `{OWN_ROOT_EXAMPLE}`"
        )
    return parts[0]
