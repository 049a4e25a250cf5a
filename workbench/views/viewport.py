"""What is looked at: state and session resolved to an instant, ticks and steps; values of a URL brought into the session."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import polars as pl
from param.parameterized import discard_events

from engine.errors import EngineError
from engine.levels import level_ids
from engine.params import FeatureParams
from engine.session import Session, level_title, tick_at
from engine.vocab import NS, Root
from workbench import own_levels, session_cache
from workbench.options import lead_at
from workbench.own_levels import PREFIX, own_price, traded_tick
from workbench.plots import axes
from workbench.plots.axes import price_text
from workbench.plots.decision import Standing, standing
from workbench.state import LevelState, clock_text, dollar_ticks


@dataclass(frozen=True)
class Viewport:
    """One resolved view of a session around a level at the instant `now_ns`: what ended by then is known, the rest is not.

    Attributes
    ----------
    frame, windows : pl.DataFrame
        Steps of the level; its windows of the whole session, of which `row` gives the last known one.
    k_ref, known : int, bool
        The level's tick in the second before the instant, and whether it had one; where not, a tick to look around.
    rule, scope : str
        What dealers are assumed to hold of the options, and the expiries that count.
    """

    session: Session
    level_id: str
    title: str
    frame: pl.DataFrame
    windows: pl.DataFrame
    params: FeatureParams
    now_ns: int
    k_ref: int
    known: bool
    step: int
    rows: int
    rule: str = "hybrid"
    scope: str = "all"

    @property
    def window_ns(self) -> int:
        """Length of a window, ns."""
        return self.params.window_s * NS

    @property
    def end_ns(self) -> int:
        """The end of the last window that had ended, ns since the epoch: what is said of the instant is read there."""
        return self.now_ns // self.window_ns * self.window_ns

    @property
    def second(self) -> int:
        """Whole seconds of the session that have passed."""
        return int(self.now_ns - self.session.ladder.start_ns) // NS

    def row(self) -> dict[str, object] | None:
        """The level's last window that had ended; None where the level had none just before the instant."""
        starts = self.windows["window_start_ts_ns"]
        i = int(starts.search_sorted(self.now_ns - self.window_ns, side="right")) - 1
        return self.windows.row(i, named=True) if i >= 0 and self.now_ns - self.window_ns < starts[i] + self.window_ns else None

    def standing(self) -> Standing:
        """What is known of the level, for the decision bar and the sentence (`workbench.plots.decision`): at the end of the last window
        that had ended, as all that is said of the instant; but the last price is that of the instant.
        """
        s, near, row, at = self.session, self.params.zones.near, self.row(), axes.clock(self.now_ns)
        if not self.known:
            return standing(s, self.level_id, None, self.now_ns, row=None, near=near, why=f"not known yet at {at}")
        valid = row is not None and bool(row["book_valid"] or row["book_near"])
        why = "nothing has traded yet" if valid else self._book_lacks()
        if row is None:
            why = f"no window has ended since it is known, by {at}"
        k = self.k_ref if row is None else int(row["level_tick"])  # type: ignore[call-overload]
        beside = session_cache.confluent(s, self.level_id, self.now_ns)
        stands = standing(s, self.level_id, k, self.end_ns, row=row, near=near, step_ticks=self.step, why=why, confluent=beside)
        lead = lead_at(s, self.end_ns, k * s.tick_size, self.scope, self.rule)
        return replace(stands, title=self.title, last_tick=s.last_tick(self.now_ns), options=lead)

    def _book_lacks(self) -> str:
        why = self.session.why_not_known(self.now_ns - self.window_ns, self.now_ns)
        return f"the book is not valid at {axes.clock(self.now_ns)}" + (f": {why}" if why else "")


def step_ticks(state: LevelState, root: Root) -> int:
    """Ticks in a price row: one, or a dollar where that makes a row."""
    return 1 if state.step == "tick" else dollar_ticks(root) or 1


def to_session(session: Session, ts_ns: int) -> int:
    """The whole second of an instant, or that of the session's nearest end at which something is known, ns since the epoch."""
    lad = session.ladder
    return lad.start_ns + min(max((ts_ns - lad.start_ns) // NS, 1), session.known_seconds) * NS


def first_moment(windows: pl.DataFrame, window_ns: int, last_ns: int) -> int:
    """Where to look first: the end of the approach's window that came nearest to the level, the latest of them; else of the last known."""
    known = pl.col("book_valid") | pl.col("book_near")
    near = windows.filter(known & (pl.col("approach") != "approach_none"))
    near = near.sort(pl.col("distance_ticks").abs(), -pl.col("window_start_ts_ns"))
    if near.height:
        return int(near["window_start_ts_ns"][0]) + window_ns
    valid = windows.filter(known)["window_start_ts_ns"]
    return int(valid[-1]) + window_ns if valid.len() else last_ns


def resolve(session: Session, state: LevelState, *, at_ns: int | None = None, level_id: str | None = None) -> Viewport:
    """What `state` asks for, at `at_ns` or its own moment, of `level_id` or its own level; an UnknownLevel where it is lacking."""
    params, level_id = FeatureParams(window_s=state.window_s, zones=state.zones()), level_id or state.level
    frame, windows, lad = session.level(level_id), session.windows(level_id, params), session.ladder
    wanted = state.cursor_ts_ns if at_ns is None else at_ns
    if wanted is None:
        # A session under way is looked at where it is.
        wanted = lad.end_ns if session.under_way else first_moment(windows, params.window_s * NS, lad.end_ns)
    now = to_session(session, wanted)
    # Of the second that has just ended: what begins now is not known yet.
    tick = tick_at(frame, now - 1)
    around = tick if tick is not None else session.last_tick(now)
    return Viewport(
        session, level_id, own_levels.title(session, level_id), frame, windows, params, now,
        around if around is not None else lad.tick_low + lad.n_slots // 2, tick is not None, step_ticks(state, lad.root), state.rows,
        state.rule, state.scope,
    )  # fmt: skip


def link_to(look: Viewport, state: LevelState) -> str:
    """The address's query that opens the moment looked at, also while the clock plays and the state stands where it started."""
    s = look.session
    moment = {"contract": s.symbol, "session": s.date.isoformat(), "level": look.level_id, "t": clock_text(look.now_ns)}
    return urlencode({**state.query(), **moment}, safe=":")


# ----------------------------------------------------------------------------
# Levels on the page: their chips, and the names beside the chart


AWAY = "ticks from the last trade to the level"


def level_chip(level_id: str, **more: object) -> dict[str, object]:
    """A level's chip: its name, its key of the keyboard, and what `more` says of it in their place."""
    keys = session_cache.KEY_LEVELS
    key = {"key": str(keys.index(level_id) + 1)} if level_id in keys else {}
    return {"id": level_id, "label": level_title(level_id), **key, **more}


def placed_chip(level_id: str, tick: int, last: int | None, tick_size: float, **more: object) -> dict[str, object]:
    """The chip of a level at `tick`, with its price and its distance from the last trade at `last`, and what `more` says in their place."""
    mark = "" if last is None else f"{tick - last:+d}t".replace("-", "−").replace("+0t", "0t")
    return level_chip(level_id, detail=price_text(tick, tick_size), mark=mark, **{"title": AWAY, **more})


def named_levels(session: Session, ids: Iterable[str], chosen: str, at_ns: int) -> list[tuple[str, int, bool]]:
    """Title and tick at an instant of each level that has one then, and whether it is the one chosen, which comes last if not in `ids`."""
    mine = own_levels.of_session(session)
    ticks = {i: own_levels.tick_of(session, mine, i, at_ns) for i in dict.fromkeys([*ids, chosen])}
    return [(own_levels.title_among(mine, i), tick, i == chosen) for i, tick in ticks.items() if tick is not None]


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
        state.level, said = own_price(state.level, session, _second_of(state, session))
    return [said] if said else []


def _second_of(state: LevelState, session: Session) -> int:
    """Seconds of the session that have passed at the state's moment; none where it names none."""
    return 0 if state.cursor_ts_ns is None else int(state.cursor_ts_ns - session.ladder.start_ns) // NS


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
        # Why one of the levels is absent is known only at the session's end: it is not said here.
        lacks = "not known yet" if session.under_way else f"not in the session of {session.date}"
        why = f"{level_title(state.level)} is {lacks}" if state.level in level_ids() else str(e)
        state.level = stand_in(session, price_text(traded_tick(session, _second_of(state, session)), session.tick_size))
        return [f"{why}; {level_title(state.level)} stands in its place"]
    return said


def stand_in(session: Session, price: str) -> str:
    """The first level that the session has; the level at `price` where it has none."""
    return next((i for i in session_cache.ordered_level_ids(session) if session.has_level(i)), PREFIX + price)
