"""Viewport of the Level view: state and session resolved to instants, ticks and steps; values of a URL brought into the session."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Any

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
from workbench.plots.words import sentence
from workbench.state import LevelState, dollar_ticks

CURSOR_AT = 0.86
"""Where the cursor is in the chart when the chart is moved to it: near the right edge, with a little of what came after."""


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

    def sentence(self, row: dict[str, object] | None, rows: pl.DataFrame, *, why: str = "", **more: Any) -> str:
        """The level in a sentence (`workbench.plots.words.sentence`): its window `row`, and the ladder's `rows`.

        `why` is why nothing can be said; where it is empty, what the book or the trades lack.
        """
        zones, valid = self.params.zones, row if row is not None and (row["book_valid"] or row["book_near"]) else None
        lacks = self._book_lacks() if valid is None else "nothing has traded yet"
        return sentence(
            self.title, self.k_ref, rows, tick_size=self.session.tick_size, near=zones.near, far=zones.far,
            approach=None if valid is None else str(valid["approach"]),
            distance=None if valid is None else valid["distance_ticks"],  # type: ignore[arg-type]
            why=why or lacks, **more,
        )  # fmt: skip

    def _book_lacks(self) -> str:
        why = self.session.why_not_known(self.now_ns, self.now_ns + self.window_ns)
        return f"the book is not valid at {axes.clock(self.now_ns)}" + (f": {why}" if why else "")


def step_ticks(state: LevelState, root: Root) -> int:
    """Ticks in a price row: one, or a dollar where that makes a row."""
    return 1 if state.step == "tick" else dollar_ticks(root) or 1


def to_window(session: Session, ts_ns: int, window_s: int) -> int:
    """Start of the window in which an instant lies, or of the session's first or last whole window, ns."""
    w, lad = window_s * NS, session.ladder
    return min(max(ts_ns // w * w, -(-lad.start_ns // w) * w), lad.end_ns // w * w - w)


def first_cursor(vacuum: pl.DataFrame, last_ns: int) -> int:
    """Where to look first: the window of an approach that came nearest to the level, the latest of them; else the last valid window."""
    known = pl.col("book_valid") | pl.col("book_near")
    near = vacuum.filter(known & (pl.col("approach") != "approach_none"))
    near = near.sort(pl.col("distance_ticks").abs(), -pl.col("window_start_ts_ns"))
    if near.height:
        return int(near["window_start_ts_ns"][0])
    valid = vacuum.filter(known)["window_start_ts_ns"]
    return int(valid[-1]) if valid.len() else last_ns


def resolve(session: Session, state: LevelState, shown: tuple[int, int] | None, *, follow: bool = True) -> Viewport:
    """The viewport that `state` asks for; an UnknownLevel where the session does not have its level.

    Parameters
    ----------
    shown : tuple of int or None
        The stretch ``[start, end)`` that the chart shows already.
    follow
        Whether the cursor has just moved: the chart then goes after it. Else what is shown stays, wherever the cursor is.
    """
    params = FeatureParams(window_s=state.window_s, zones=state.zones())
    frame, vacuum, lad = session.level(state.level), session.windows(state.level, params), session.ladder
    wanted = first_cursor(vacuum, lad.end_ns) if state.cursor_ts_ns is None else state.cursor_ts_ns
    now = to_window(session, wanted, params.window_s)
    tick = tick_at(frame, now)
    k_ref = tick if tick is not None else int(frame["level_tick"][0])
    return Viewport(
        session, state.level, level_title(state.level), frame, vacuum, params, now, k_ref, tick is not None,
        step_ticks(state, lad.root), state.rows, *_span(state.span_min, shown, now, lad.start_ns, lad.end_ns, follow),
    )  # fmt: skip


def _span(minutes: int, shown: tuple[int, int] | None, now: int, first: int, last: int, follow: bool) -> tuple[int, int]:
    if minutes == 0 and shown is None:
        return first, last
    if shown is not None and (not follow or shown[0] <= now < shown[1]):
        return shown
    length = min(minutes * 60 * NS if shown is None else shown[1] - shown[0], last - first)
    start = min(max(now - int(length * CURSOR_AT), first), last - length)
    return start, start + length


# ----------------------------------------------------------------------------
# Levels on the page: their chips, and the names beside the chart


AWAY = "ticks from the last trade to the level"


def level_chip(level_id: str, **more: object) -> dict[str, object]:
    """A level's chip: its name, its key of the keyboard, and what `more` says of it."""
    keys = session_cache.KEY_LEVELS
    key = {"key": str(keys.index(level_id) + 1)} if level_id in keys else {}
    return {"id": level_id, "label": level_title(level_id), **key, **more}


def placed_chip(level_id: str, tick: int, last: int | None, tick_size: float) -> dict[str, object]:
    """The chip of a level at `tick`, with its price and its distance from the last trade at `last`."""
    mark = "" if last is None else f"{tick - last:+d}t".replace("-", "−").replace("+0t", "0t")
    return level_chip(level_id, detail=price_text(tick, tick_size), mark=mark, title=AWAY)


def level_items(look: Viewport, last: int | None) -> list[dict[str, object]]:
    """Chips of the levels: those that are there with price and distance from the last trade, then the absent with the reason."""
    s, chosen = look.session, look.level_id
    ids, there = session_cache.ordered_level_ids(s), set(s.levels["level_id"])

    def chip(i: str) -> dict[str, object]:
        if i not in there and i != chosen:
            return level_chip(i, absent=s.absent.get(i, "the lake has no row of it"))
        frame = s.level(i)
        tick, begin = tick_at(frame, look.now_ns), int(frame["start_ts_ns"][0])
        if tick is not None:
            return placed_chip(i, tick, last, s.tick_size)
        # Its price comes with the time from which it is known, not before.
        title = f"Not yet: known from {axes.clock(begin)}" if look.now_ns < begin else AWAY
        return level_chip(i, detail="", mark="not yet", title=title)

    return [chip(i) for i in dict.fromkeys([*(i for i in ids if i in there), chosen, *ids])]


def named_levels(session: Session, ids: Iterable[str], chosen: str, at_ns: int) -> list[tuple[str, int, bool]]:
    """Title and tick at an instant of each level that has one then, and whether it is the one chosen, which comes last if not in `ids`."""
    ticks = {i: tick_at(session.level(i), at_ns) for i in dict.fromkeys([*ids, chosen])}
    return [(level_title(i), tick, i == chosen) for i, tick in ticks.items() if tick is not None]


# ----------------------------------------------------------------------------
# What of a state a session has: its level and its cursor brought into it, and the sentences that say what was changed

HALF_DAY_NS = 12 * 3600 * NS


def clamp_to_session(state: LevelState, session: Session) -> list[str]:
    """Bring `state` into `session`, silently for those who watch it; returns what the trader has to know."""
    with discard_events(state):
        return [*_clamp_cursor(state, session), *_clamp_level(state, session)]


def forget_time(state: LevelState, names: Set[str]) -> None:
    """Take back a cursor that did not come with the other session: a time of one says nothing in another."""
    if names & {"contract", "session"} and "cursor_ts_ns" not in names:
        with discard_events(state):
            state.cursor_ts_ns = None


def on_grid(state: LevelState, session: Session) -> list[str]:
    """Put a price that the state names on the contract's grid; returns what the trader has to know.

    An UnknownLevel where it cannot be meant.
    """
    if not state.level.startswith(PREFIX):
        return []
    with discard_events(state):
        state.level, said = own_price(state.level, session)
    return [said] if said else []


def _clamp_cursor(state: LevelState, session: Session) -> list[str]:
    """A time of another session is forgotten; one of this day outside of the session is moved into it when it is drawn."""
    ts, lad = state.cursor_ts_ns, session.ladder
    if ts is None or lad.start_ns <= ts < lad.end_ns:
        return []
    if lad.start_ns - HALF_DAY_NS < ts < lad.end_ns + HALF_DAY_NS:
        span = f"{axes.clock(lad.start_ns)} to {axes.clock(lad.end_ns)}"
        return [f"{axes.clock(ts)} lies outside the session ({span} New York); the cursor stands at its nearest end"]
    state.cursor_ts_ns = None
    return []


def _clamp_level(state: LevelState, session: Session) -> list[str]:
    """The state's level as this session has it; another takes its place where there is none."""
    try:
        said = on_grid(state, session)
        session.level(state.level)
    except EngineError as e:
        state.level = stand_in(session, last_price_text(session))
        return [f"{e}; {level_title(state.level)} stands in its place"]
    return said


def stand_in(session: Session, price: str) -> str:
    """The first level that the session has; the level at `price` where it has none."""
    return next((i for i in session_cache.ordered_level_ids(session) if session.has_level(i)), PREFIX + price)


# ----------------------------------------------------------------------------
# A price that the trader names, as a level: read from what was typed or is in a link, checked, and put on the contract's grid

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
    """The level of a price such as ``6800.25``, ``27,200.25`` or ``price:6800.25``, and what has to be said of it.

    It is ``price:<price>`` on the contract's grid with the digits that it needs; the lake's own id where it has a level at that price.
    Nothing has to be said where the price was on the grid. An UnknownLevel where `text` is no price, not above zero, or farther than
    `FAR_SHARE` from the session's last trade.
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
    fixed = session.levels.filter(pl.col("level_id").str.starts_with(PREFIX) & (pl.col("level_tick") == tick))["level_id"]
    return str(fixed[0]) if fixed.len() else PREFIX + snapped, said


def last_price_text(session: Session) -> str:
    """Price of the session's last trade, on its grid; of the middle of its ladder where nothing traded."""
    last = last_price_tick(session)
    return price_text(session.ladder.tick_low + session.ladder.n_slots // 2 if last is None else last, session.tick_size)
