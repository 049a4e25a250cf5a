"""What of a state holds in a session: its level and its cursor brought into it, and the sentences that say what was changed."""

from __future__ import annotations

from param.parameterized import discard_events

from engine.errors import EngineError
from engine.vocab import NS
from workbench import data
from workbench.plots import axes
from workbench.state import LevelState
from workbench.views.own_price import PREFIX, last_price_text, own_price

HALF_DAY_NS = 12 * 3600 * NS


def arrive(state: LevelState, session: data.Session) -> list[str]:
    """Bring `state` into `session`, silently for those who watch it; returns what the trader has to be told."""
    with discard_events(state):
        return [*_cursor(state, session), *_level(state, session)]


def on_grid(state: LevelState, session: data.Session) -> list[str]:
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


def _cursor(state: LevelState, session: data.Session) -> list[str]:
    """A time of another session is forgotten; one of this day outside of the session is moved into it when it is drawn."""
    ts, lad = state.cursor_ts_ns, session.ladder
    if ts is None or lad.start_ns <= ts < lad.end_ns:
        return []
    if lad.start_ns - HALF_DAY_NS < ts < lad.end_ns + HALF_DAY_NS:
        span = f"{axes.clock(lad.start_ns)} to {axes.clock(lad.end_ns)}"
        return [f"{axes.clock(ts)} lies outside the session ({span} New York); the cursor stands at its nearest end"]
    state.cursor_ts_ns = None
    return []


def _level(state: LevelState, session: data.Session) -> list[str]:
    """The state's level as this session has it; another stands in where it has none."""
    try:
        said = on_grid(state, session)
        data.level_frame(session, state.level)
    except EngineError as e:
        there = set(session.levels["level_id"])
        state.level = next((i for i in data.ordered_level_ids(session) if i in there), PREFIX + last_price_text(session))
        return [f"{e}; {data.level_title(state.level)} stands in its place"]
    return said
