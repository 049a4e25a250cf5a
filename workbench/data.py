"""Reads the lake through the engine, and keeps what was read; computes no feature of its own.

What is cached is shared by all browser tabs of a server and never written to.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn
import polars as pl

from engine.errors import PartitionCorrupt, PartitionMissing, UnknownLevel
from engine.features import level_windows, pressure_cube
from engine.ladder import NO_TICK, Ladder
from engine.lake.catalog import BARS, LADDER, LEVELS, TAPE, TRIGGERS
from engine.lake.store import Lake, input_key
from engine.levels import level_ids, price_level, title
from engine.params import ApproachParams, FeatureParams
from engine.vocab import NS
from workbench.kept import kept_with_session
from workbench.plots.ladder import rows_at as ladder_rows
from workbench.plots.levels import level_runs

if TYPE_CHECKING:
    import xarray as xr

KEY_LEVELS = ("pm_high", "pm_low", "or_high", "or_low", "vwap")
"""Levels under the keys 1-5; the others follow them on the screen."""

CELLS = 64_000
"""Cells of a picture that still paint in one frame (about 800 windows of 81 prices)."""


@dataclass(frozen=True, eq=False)
class Session:
    """One session of one contract, as read; compared by identity, so that caches keyed by it are cheap."""

    symbol: str
    date: dt.date
    ladder: Ladder
    bars: pl.DataFrame
    levels: pl.DataFrame
    absent: dict[str, str]
    notes: tuple[str, ...]
    stamp: str
    simulated: bool
    touches: pl.DataFrame | None = None
    """``level_id, touch_ts_ns`` of every touch; None where gold has no triggers of this very ladder."""
    kept: dict[Hashable, OrderedDict[Any, Any]] = field(default_factory=dict, repr=False)
    """What `workbench.kept` keeps of it."""

    @property
    def tick_size(self) -> float:
        """Price of one tick."""
        return self.ladder.root.tick_size

    @property
    def day_ns(self) -> int:
        """The instant whose offset New York's clock is shown with."""
        return self.ladder.start_ns


def open_lake(root: str) -> Lake:
    """The lake at `root`."""
    return Lake(Path(root))


def contracts(root: str) -> dict[str, list[str]]:
    """Contract -> session dates that have a ladder a reader may trust, newest first.

    Contracts stand by their newest session; where several have that, the one with most in its ladder comes first, for it is the
    one that the market trades.
    """
    lake = open_lake(root)
    found: dict[str, dict[str, int]] = {}  # contract -> date -> rows, newest first
    for symbol, date in sorted(lake.partitions(LADDER), key=lambda p: p[1], reverse=True):
        try:
            manifest = lake.find_manifest(LADDER, symbol, date)
        except PartitionCorrupt:
            continue  # `spymaster lake` names it
        if manifest is not None:
            found.setdefault(symbol, {})[date.isoformat()] = manifest.rows
    newest = sorted(found, key=lambda symbol: next(iter(found[symbol].items())), reverse=True)
    return {symbol: list(found[symbol]) for symbol in newest}


def stamp(root: str, symbol: str, date: dt.date) -> str:
    """What the lake says of the session's partitions now; another stamp than a `Session` has means that it is stale."""
    lake = open_lake(root)
    parts = []
    for key in (LADDER, TAPE, BARS, LEVELS):
        found = lake.find_manifest(key, symbol, date)
        parts.append(found.digest()[:16] if found else "-")
    return "/".join(parts)


def load(root: str, symbol: str, date: dt.date) -> Session:
    """The session, from memory while the lake is unchanged.

    Raises
    ------
    PartitionMissing
        Where the ladder or its tape is not there; bars and levels may be missing, and are then named in `notes`.
    """
    mark = stamp(root, symbol, date)
    session = _load(root, symbol, date, mark)
    key = (root, symbol, date, mark)
    if key in _SEEN:
        _SEEN.remove(key)
    _SEEN.append(key)
    return session


KEPT = 6
"""Sessions in memory."""

_SEEN: deque[tuple[str, str, dt.date, str]] = deque(maxlen=KEPT)
"""What `_load` holds, oldest use first: as many as it keeps, forgotten in the same order."""


def in_memory(root: str, symbol: str, date: dt.date) -> bool:
    """Whether `load` would answer at once, so that a page can be drawn before it is sent."""
    return (root, symbol, date, stamp(root, symbol, date)) in _SEEN


@pn.cache(max_items=KEPT, policy="LRU")
def _load(root: str, symbol: str, date: dt.date, mark: str) -> Session:
    lake = open_lake(root)
    ladder = Ladder.open(lake, symbol, date)
    notes: list[str] = []
    try:
        bars = lake.read(BARS, symbol, date)
    except PartitionMissing as e:
        times = dict.fromkeys(("window_start_ts_ns", "window_end_ts_ns"), pl.Int64)
        bars = pl.DataFrame(schema={**times, **dict.fromkeys(("open_tick", "high_tick", "low_tick", "close_tick"), pl.Int32)})
        notes.append(f"No candles: {e}")
    absent: dict[str, str] = {}
    try:
        levels = lake.read(LEVELS, symbol, date)
        absent = dict(lake.notes(LEVELS, symbol, date).get("absent", {}))
    except PartitionMissing as e:
        levels = pl.DataFrame(
            schema={"level_id": pl.String, "start_ts_ns": pl.Int64, "end_ts_ns": pl.Int64, "price": pl.Float64, "level_tick": pl.Int32}
        )
        notes.append(f"No key levels: {e}")
    simulated = lake.is_simulated(LADDER, symbol, date)
    return Session(symbol, date, ladder, bars, levels, absent, tuple(notes), mark, simulated, _touches(lake, symbol, date))


def _touches(lake: Lake, symbol: str, date: dt.date) -> pl.DataFrame | None:
    if not lake.has(TRIGGERS, symbol, date):
        return None
    made_from = lake.manifest(TRIGGERS, symbol, date).lineage.inputs
    if made_from.get(input_key(LADDER, symbol, date)) != lake.manifest(LADDER, symbol, date).digest():
        return None  # of an older ladder: its touches may not be those on the screen
    return lake.read(TRIGGERS, symbol, date, ["level_id", "touch_ts_ns"], pl.col("kind") == "touch")


def ordered_level_ids(session: Session) -> list[str]:
    """Key levels in the screen's order: those under the keys first, fixed prices of the lake last."""
    known = list(level_ids())
    rest = [i for i in known if i not in KEY_LEVELS]
    extra = [i for i in session.levels["level_id"].unique(maintain_order=True).to_list() if i not in known]
    return [*(k for k in KEY_LEVELS if k in known), *rest, *extra]


def level_title(level_id: str) -> str:
    """The level in words, such as ``PM High``."""
    return "Price" if level_id.startswith("price:") else title(level_id)


@kept_with_session(24)
def level_frame(session: Session, level_id: str) -> pl.DataFrame:
    """The level's steps (LEVELS schema); of ``price:X`` over the whole session.

    Raises
    ------
    UnknownLevel
        Where there is no such level, or it is absent from this session, with the reason.
    """
    if level_id.startswith("price:"):
        own = session.levels.filter(pl.col("level_id") == level_id)
        return own if own.height else price_level(level_id, session.ladder.start_ns, session.ladder.end_ns, session.ladder.root)
    frame = session.levels.filter(pl.col("level_id") == level_id)
    if frame.height == 0:
        if level_id not in level_ids():
            raise UnknownLevel(f"level {level_id!r}: expected one of {', '.join(level_ids())} or price:6800.25")
        reason = session.absent.get(level_id, "the lake has no row of it")
        raise UnknownLevel(f"{level_title(level_id)} is absent from {session.symbol} {session.date}: {reason}")
    return frame


@kept_with_session(24)
def runs(session: Session, level_id: str) -> pl.DataFrame:
    """All level lines of the session as `workbench.plots.levels.level_runs`, with a trader's own price among them if `level_id` is one."""
    own = level_id not in session.levels["level_id"]
    return level_runs(pl.concat([session.levels, level_frame(session, level_id)]) if own else session.levels)


def tick_at(frame: pl.DataFrame, ts_ns: int) -> int | None:
    """The level's tick at `ts_ns`; None before it is known."""
    i = int(np.searchsorted(frame["start_ts_ns"].to_numpy(), ts_ns, side="right")) - 1
    return int(frame["level_tick"][i]) if i >= 0 and ts_ns < frame["end_ts_ns"][i] else None


def last_tick(session: Session, end_ts_ns: int) -> int | None:
    """The last trade's tick at the end of the window that ends at `end_ts_ns`; None before the first trade."""
    s = (end_ts_ns - session.ladder.start_ns) // NS - 1
    if not 0 <= s < session.ladder.seconds:
        return None
    tick = int(session.ladder.last_tick[s])
    return None if tick == NO_TICK else tick


def best_ticks(session: Session, ts_ns: int) -> dict[str, int]:
    """Ticks of the best ``bid`` and ``ask`` at the end of the second of `ts_ns`; empty where the book is not valid or has one side only."""
    lad = session.ladder
    s = (ts_ns - lad.start_ns) // NS
    if not 0 <= s < lad.seconds or not lad.valid[s]:
        return {}
    ticks = {"bid": int(lad.best_bid_tick[s]), "ask": int(lad.best_ask_tick[s])}
    return ticks if NO_TICK not in ticks.values() else {}


@kept_with_session(48)
def vacuum(session: Session, level_id: str, params: FeatureParams) -> pl.DataFrame:
    """The level's windows with features, conditions and approach, made from the ladder by the engine with `params`."""
    return level_windows(session.ladder, level_frame(session, level_id), params, ApproachParams())


@kept_with_session(12)
def cube(session: Session, start_ns: int, end_ns: int, low: int, high: int, window_s: int, step: int, half_life_s: float) -> xr.Dataset:
    """A slice of the ladder with the pressure at each price."""
    return pressure_cube(session.ladder, start_ns, end_ns, low, high, window_s=window_s, step_ticks=step, half_life_s=half_life_s)


@kept_with_session(64)
def rows_at(session: Session, now_ns: int, k_ref: int, reach: int, window_s: int, step: int, half_life_s: float) -> pl.DataFrame:
    """The ladder of the window that begins at `now_ns`, `reach` ticks around the level: as `workbench.plots.ladder.rows_at`."""
    one = pressure_cube(
        session.ladder, now_ns, now_ns + window_s * NS, k_ref - reach, k_ref + reach, window_s=window_s, step_ticks=step,
        half_life_s=half_life_s,
    )  # fmt: skip
    return ladder_rows(one, 0, k_ref)


def pooled(start_ns: int, end_ns: int, rows: int, window_s: int) -> int:
    """How many windows one column of the picture stands for, so that all of ``[start_ns, end_ns)`` is within `CELLS`."""
    windows = -(-(end_ns - start_ns) // (window_s * NS))
    return -(-windows // max(CELLS // max(rows, 1), 60))


def loaded_span(session: Session, start_ns: int, end_ns: int, rows: int, window_s: int) -> tuple[int, int]:
    """The longest stretch around ``[start_ns, end_ns)`` that `CELLS` allows, whole windows, inside the session."""
    w = window_s * NS
    lo, hi = -(-session.ladder.start_ns // w) * w, session.ladder.end_ns // w * w
    room = max(CELLS // max(rows, 1), 60) * w * pooled(start_ns, end_ns, rows, window_s)
    if hi - lo <= room:
        return lo, hi
    # Half of the room stays on the side that the trader came from, so that panning either way stays in memory.
    start = (start_ns + end_ns) // 2 - room // 2
    start = int(min(max(start, lo), hi - room)) // w * w
    return start, start + room
