"""What exactly is on the screen: state and session resolved to instants, ticks and steps."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from engine.params import FeatureParams
from engine.vocab import NS, Root
from workbench import data
from workbench.plots import axes
from workbench.state import LevelState, dollar_ticks

CURSOR_AT = 0.86
"""Where the cursor stands in the chart when the chart is moved to it: near the right edge, with a little of what came after."""


@dataclass(frozen=True)
class Look:
    """One resolved view of a session around a level."""

    session: data.Session
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


def resolve(session: data.Session, state: LevelState, shown: tuple[int, int] | None, *, follow: bool = True) -> Look:
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
    frame = data.level_frame(session, state.level)
    vacuum = data.vacuum(session, state.level, params)
    w = params.window_s * NS
    first, last = -(-session.ladder.start_ns // w) * w, session.ladder.end_ns // w * w - w
    now = state.cursor_ts_ns if state.cursor_ts_ns is not None else first_cursor(vacuum, last)
    now = min(max(now // w * w, first), last)
    tick = data.tick_at(frame, now)
    begin, end = _span(state.span_min, shown, now, session.ladder.start_ns, session.ladder.end_ns, follow)
    k_ref = tick if tick is not None else int(frame["level_tick"][0])
    return Look(
        session, state.level, data.level_title(state.level), frame, vacuum, params, now, k_ref, tick is not None,
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


def level_items(look: Look, last: int | None) -> list[dict[str, object]]:
    """Chips of the levels: those that are there with price and distance from the last trade, then the absent with the reason."""
    s = look.session
    there = set(s.levels["level_id"].to_list())
    ids = data.ordered_level_ids(s)
    items: list[dict[str, object]] = []
    for i in [
        *(x for x in ids if x in there),
        *([look.level_id] if look.level_id not in ids else []),
        *(x for x in ids if x not in there),
    ]:
        item: dict[str, object] = {"id": i, "label": data.level_title(i)}
        if i in data.KEY_LEVELS:
            item["key"] = str(data.KEY_LEVELS.index(i) + 1)
        if i not in there and i != look.level_id:
            item["absent"] = s.absent.get(i, "the lake has no row of it")
        else:
            frame = data.level_frame(s, i)
            tick = data.tick_at(frame, look.now_ns)
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
