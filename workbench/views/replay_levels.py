"""Chips of the levels in Replay: what is known at its time, what is not known yet and from when on it will be, what the session lacks."""

from __future__ import annotations

from dataclasses import dataclass

from engine.sessions import PROFILES, SessionWindows, session_windows
from engine.vocab import NS
from workbench import data
from workbench.plots import axes
from workbench.views import replay_past as past

KNOWN_FROM = {
    "pm_high": "premarket_end_ns", "pm_low": "premarket_end_ns", "or_high": "opening_range_end_ns", "or_low": "opening_range_end_ns",
    "vwap": "trading_start_ns",
}  # fmt: skip
"""Key level -> the instant of the session's calendar from which it can be known (lake.md, Levels); VWAP with the first trade after it."""


@dataclass(frozen=True)
class Unknown:
    """Why a level has no value: `yet` where its time has not come; `why` in words."""

    yet: bool
    why: str


def unknown(session: data.Session, level_id: str, t: int) -> Unknown:
    """Why a key level has no value at second `t`: told by the session's calendar and what traded before, not by what becomes of it.

    Parameters
    ----------
    level_id : str
        A key level without a value at `t` (`replay_past.known_levels`).
    t : int
        Seconds since the ladder's start.
    """
    windows = windows_of(session)
    if windows is None or level_id not in KNOWN_FROM:
        return Unknown(False, "not known at the replay's time")
    start, now = session.ladder.start_ns, session.ladder.start_ns + t * NS
    begin = getattr(windows, KNOWN_FROM[level_id])
    clock = axes.clock(begin, seconds=False)
    if level_id == "vwap":
        # The second that ends now gives it a value from now on: what is asked for is what stood before.
        first, last = max((begin - start) // NS, 0), max(t - 1, 0)
        traded = session.ladder.tape.select("buy_volume", "sell_volume")[first:last].sum_horizontal().sum() if last > first else 0
        return (
            Unknown(False, f"not known, though there were trades since {clock}")
            if traded
            else Unknown(True, f"known from {clock}, with the first trade")
        )
    return Unknown(True, f"known from {clock}") if now <= begin else Unknown(False, f"it would be known from {clock}")


def windows_of(session: data.Session) -> SessionWindows | None:
    """The calendar of the session's profile: the one in whose session its ladder begins; None where it begins in none."""
    found = (session_windows(session.date, name) for name in PROFILES)
    return next((w for w in found if w.ladder_start_ns <= session.ladder.start_ns < w.ladder_end_ns), None)


def known_items(session: data.Session, chosen: str, t: int, last: int | None) -> list[dict[str, object]]:
    """Chips of the levels that are known at second `t`; the key levels that are not stand there without a price."""
    now = session.ladder.start_ns + t * NS
    known = past.known_levels(session, t)
    keys = list(data.KEY_LEVELS)
    ids = dict.fromkeys([*keys, *known, chosen])
    items: list[dict[str, object]] = []
    for i in ids:
        item: dict[str, object] = {"id": i, "label": data.level_title(i)}
        if i in keys:
            item["key"] = str(keys.index(i) + 1)
        tick = data.tick_at(data.level_frame(session, i), now - 1) if i in known or i == chosen else None
        if tick is not None:
            item["detail"] = axes.price_text(tick, session.tick_size)
            item["mark"] = "" if last is None else f"{tick - last:+d}t".replace("-", "−").replace("+0t", "0t")
            item["title"] = "ticks from the last trade to the level"
        elif i == chosen:
            item["mark"] = "not yet"
        else:
            lacks = unknown(session, i, t)
            item["absent"] = lacks.why
            if lacks.yet:
                item["word"] = "not yet"
        items.append(item)
    return items
