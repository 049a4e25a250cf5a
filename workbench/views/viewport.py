"""Viewport of the Level view: state and session resolved to instants, ticks and steps; values of a URL brought into the session."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl
from param.parameterized import discard_events

from engine.errors import EngineError, UnknownLevel
from engine.ladder import NO_TICK
from engine.params import FeatureParams
from engine.session import Session, level_title, tick_at
from engine.vocab import NS, Root
from workbench import session_cache
from workbench.plots import axes
from workbench.plots.axes import price_text
from workbench.state import LevelState, dollar_ticks

# ----------------------------------------------------------------------------
# What exactly is on the screen: state and session resolved to instants, ticks and steps

CURSOR_AT = 0.86
"""Where the cursor stands in the chart when the chart is moved to it: near the right edge, with a little of what came after."""


@dataclass(frozen=True)
class Viewport:
    """One resolved view of a session around a level."""

    session: Session
    level_id: str
    title: str
    frame: pl.DataFrame
    vacuum: pl.DataFrame
    params: FeatureParams
    now_ns: int
    k_ref: int
    known: bool
    step: int
    rows: int
    start_ns: int
    end_ns: int

    @property
    def window_ns(self) -> int:
        """Length of a window, ns."""
        return self.params.window_s * NS

    @property
    def low(self) -> int:
        """Lowest tick that is loaded."""
        return self.k_ref - self._reach

    @property
    def high(self) -> int:
        """Highest tick that is loaded."""
        return self.k_ref + self._reach

    @property
    def _reach(self) -> int:
        # Twice what is shown, so that panning up and down does not show an empty edge at once; bounded, as it is repainted whole.
        return max(min(2 * self.rows, 60), self.rows + 4)

    def row(self) -> dict[str, object] | None:
        """The level's vacuum row of the window at the cursor."""
        starts = self.vacuum["window_start_ts_ns"]
        i = int(starts.search_sorted(self.now_ns, side="left"))
        return self.vacuum.row(i, named=True) if i < starts.len() and starts[i] == self.now_ns else None


def step_ticks(state: LevelState, root: Root) -> int:
    """Ticks in a price row: one, or a dollar where that makes a row."""
    return 1 if state.step == "tick" else dollar_ticks(root) or 1


def first_cursor(vacuum: pl.DataFrame, last_ns: int) -> int:
    """Where to look first: the window of an approach that came nearest to the level, the latest of them; else the last valid window."""
    near = vacuum.filter(pl.col("book_valid") & (pl.col("approach") != "approach_none"))
    near = near.sort(pl.col("distance_ticks").abs(), -pl.col("window_start_ts_ns"))
    if near.height:
        return int(near["window_start_ts_ns"][0])
    valid = vacuum.filter("book_valid")["window_start_ts_ns"]
    return int(valid[-1]) if valid.len() else last_ns


def resolve(session: Session, state: LevelState, shown: tuple[int, int] | None, *, follow: bool = True) -> Viewport:
    """The look that `state` asks for.

    Parameters
    ----------
    shown : tuple of int or None
        The stretch ``[start, end)`` that the chart shows already.
    follow
        Whether the cursor has just moved: the chart then goes after it. Else what is shown stays, wherever the cursor is.

    Raises
    ------
    UnknownLevel
        Where the level is not there.
    """
    params = FeatureParams(window_s=state.window_s, zones=state.zones())
    frame = session.level(state.level)
    vacuum = session.windows(state.level, params)
    w = params.window_s * NS
    first, last = -(-session.ladder.start_ns // w) * w, session.ladder.end_ns // w * w - w
    now = state.cursor_ts_ns if state.cursor_ts_ns is not None else first_cursor(vacuum, last)
    now = min(max(now // w * w, first), last)
    tick = tick_at(frame, now)
    begin, end = _span(state.span_min, shown, now, session.ladder.start_ns, session.ladder.end_ns, follow)
    k_ref = tick if tick is not None else int(frame["level_tick"][0])
    return Viewport(
        session, state.level, level_title(state.level), frame, vacuum, params, now, k_ref, tick is not None,
        step_ticks(state, session.ladder.root), state.rows, begin, end,
    )  # fmt: skip


def _span(minutes: int, shown: tuple[int, int] | None, now: int, first: int, last: int, follow: bool) -> tuple[int, int]:
    if minutes == 0 and shown is None:
        return first, last
    if shown is not None and (not follow or shown[0] <= now < shown[1]):
        return shown
    length = min(minutes * 60 * NS if shown is None else shown[1] - shown[0], last - first)
    start = min(max(now - int(length * CURSOR_AT), first), last - length)
    return start, start + length


def level_items(look: Viewport, last: int | None) -> list[dict[str, object]]:
    """Chips of the levels: those that are there with price and distance from the last trade, then the absent with the reason."""
    s = look.session
    there = set(s.levels["level_id"].to_list())
    ids = session_cache.ordered_level_ids(s)
    items: list[dict[str, object]] = []
    for i in [
        *(x for x in ids if x in there),
        *([look.level_id] if look.level_id not in ids else []),
        *(x for x in ids if x not in there),
    ]:
        item: dict[str, object] = {"id": i, "label": level_title(i)}
        if i in session_cache.KEY_LEVELS:
            item["key"] = str(session_cache.KEY_LEVELS.index(i) + 1)
        if i not in there and i != look.level_id:
            item["absent"] = s.absent.get(i, "the lake has no row of it")
        else:
            frame = s.level(i)
            tick = tick_at(frame, look.now_ns)
            # Its price comes with the time from which it is known, not before.
            item["detail"] = "" if tick is None else axes.price_text(tick, s.tick_size)
            item["mark"] = (
                "not yet" if tick is None else "" if last is None else f"{tick - last:+d}t".replace("-", "−").replace("+0t", "0t")
            )
            later = tick is None and look.now_ns < int(frame["start_ts_ns"][0])
            clock = axes.clock(int(frame["start_ts_ns"][0]))
            item["title"] = f"Not yet: known from {clock}" if later else "ticks from the last trade to the level"
        items.append(item)
    return items


# ----------------------------------------------------------------------------
# What of a state holds in a session: its level and its cursor brought into it, and the sentences that say what was changed

HALF_DAY_NS = 12 * 3600 * NS


def clamp_to_session(state: LevelState, session: Session) -> list[str]:
    """Bring `state` into `session`, silently for those who watch it; returns what the trader has to be told."""
    with discard_events(state):
        return [*_cursor(state, session), *_level(state, session)]


def on_grid(state: LevelState, session: Session) -> list[str]:
    """Put a price that the state names on the contract's grid, wherever it comes from; returns what the trader has to be told.

    Raises
    ------
    UnknownLevel
        Where it cannot be meant.
    """
    if not state.level.startswith(PREFIX):
        return []
    with discard_events(state):
        state.level, said = own_price(state.level, session)
    return [said] if said else []


def _cursor(state: LevelState, session: Session) -> list[str]:
    """A time of another session is forgotten; one of this day outside of the session is moved into it when it is drawn."""
    ts, lad = state.cursor_ts_ns, session.ladder
    if ts is None or lad.start_ns <= ts < lad.end_ns:
        return []
    if lad.start_ns - HALF_DAY_NS < ts < lad.end_ns + HALF_DAY_NS:
        span = f"{axes.clock(lad.start_ns)} to {axes.clock(lad.end_ns)}"
        return [f"{axes.clock(ts)} lies outside the session ({span} New York); the cursor stands at its nearest end"]
    state.cursor_ts_ns = None
    return []


def _level(state: LevelState, session: Session) -> list[str]:
    """The state's level as this session has it; another stands in where it has none."""
    try:
        said = on_grid(state, session)
        session.level(state.level)
    except EngineError as e:
        there = set(session.levels["level_id"])
        state.level = next((i for i in session_cache.ordered_level_ids(session) if i in there), PREFIX + last_price_text(session))
        return [f"{e}; {level_title(state.level)} stands in its place"]
    return said


# ----------------------------------------------------------------------------
# A price that the trader names, as a level: read from what was typed or stands in a link, checked, and put on the contract's grid

PREFIX = "price:"

FAR_SHARE = 0.2
"""A price farther than this share from the session's last trade is taken for a slip of the hand."""

_NUMBER = re.compile(r"[-+]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?")

_ON_GRID = 1e-6


def last_price_tick(session: Session) -> int | None:
    """Tick of the session's last trade; None where nothing traded."""
    traded = session.ladder.last_tick[session.ladder.last_tick != NO_TICK]
    return int(traded[-1]) if traded.size else None


def own_price(text: str, session: Session) -> tuple[str, str]:
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


def _id_of(tick: int, session: Session) -> str | None:
    """The lake's own level at a fixed price."""
    there = session.levels
    own = there.filter(there["level_id"].str.starts_with(PREFIX) & (there["level_tick"] == tick))
    return str(own["level_id"][0]) if own.height else None


def last_price_text(session: Session) -> str:
    """Price of the session's last trade, on its grid; of the middle of its ladder where nothing traded."""
    last = last_price_tick(session)
    return price_text(session.ladder.tick_low + session.ladder.n_slots // 2 if last is None else last, session.tick_size)
