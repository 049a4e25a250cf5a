"""A price that the trader names, as a level: read from what was typed or stands in a link, checked, and put on the contract's grid."""

from __future__ import annotations

import re

from engine.errors import UnknownLevel
from engine.ladder import NO_TICK
from workbench import data
from workbench.plots.axes import price_text

PREFIX = "price:"

FAR_SHARE = 0.2
"""A price farther than this share from the session's last trade is taken for a slip of the hand."""

_NUMBER = re.compile(r"[-+]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?")
_ON_GRID = 1e-6


def last_price_tick(session: data.Session) -> int | None:
    """Tick of the session's last trade; None where nothing traded."""
    traded = session.ladder.last_tick[session.ladder.last_tick != NO_TICK]
    return int(traded[-1]) if traded.size else None


def own_price(text: str, session: data.Session) -> tuple[str, str]:
    """The level of a price, and what has to be said of it.

    Parameters
    ----------
    text : str
        A price such as ``6800.25``, ``27,200.25`` or ``price:6800.25``.

    Returns
    -------
    level_id : str
        ``price:<price>`` on the contract's grid with the digits that it needs; the lake's own id where it has a level at that price.
    said : str
        That the price was put on the grid; empty where it was on it.

    Raises
    ------
    UnknownLevel
        Where `text` is no price, not above zero, or farther than `FAR_SHARE` from the session's last trade.
    """
    size, last = session.tick_size, last_price_tick(session)
    wanted = text.removeprefix(PREFIX).strip()
    such = "6800.25" if last is None else price_text(last, size)
    if not _NUMBER.fullmatch(wanted):
        raise UnknownLevel(f"Any price: expected a number such as {such}, found “{wanted}”")
    price = float(wanted.replace(",", ""))
    if price <= 0:
        raise UnknownLevel(f"Any price: expected a price above zero such as {such}, found {wanted}")
    if last is not None and abs(price - last * size) > FAR_SHARE * abs(last * size):
        raise UnknownLevel(
            f"Any price: expected a price within {FAR_SHARE:.0%} of the session's last trade at {such}, found {wanted}; check the digits"
        )
    tick = session.ladder.root.to_tick(price)
    snapped = price_text(tick, size)
    said = "" if abs(price / size - tick) < _ON_GRID else f"{wanted} is between two ticks of {session.symbol}; {snapped} is shown"
    return _id_of(tick, session) or PREFIX + snapped, said


def _id_of(tick: int, session: data.Session) -> str | None:
    """The lake's own level at a fixed price."""
    there = session.levels
    own = there.filter(there["level_id"].str.starts_with(PREFIX) & (there["level_tick"] == tick))
    return str(own["level_id"][0]) if own.height else None


def last_price_text(session: data.Session) -> str:
    """Price of the session's last trade, on its grid; of the middle of its ladder where nothing traded."""
    last = last_price_tick(session)
    return price_text(session.ladder.tick_low + session.ladder.n_slots // 2 if last is None else last, session.tick_size)
