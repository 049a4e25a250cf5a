"""The sessions that the server has in memory (`engine.session.Session`), and what only the screen needs of each."""

from __future__ import annotations

import datetime as dt
from collections import deque
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import panel as pn
import polars as pl

from engine.features import pressure_cube
from engine.ladder import NO_TICK, Ladder
from engine.lake.catalog import TAPE
from engine.levels import level_ids
from engine.params import SetupParams
from engine.session import Session, cached_with_session, level_title, levels_so_far, tick_at
from engine.setups.timeline import ticks_at
from engine.vocab import LADDER_COLUMNS, NS
from workbench import live
from workbench.lakes import open_lake, stamp
from workbench.plots import volume
from workbench.plots.heatmap import LAYERS
from workbench.plots.ladder import rows_at as ladder_rows
from workbench.plots.levels import level_runs
from workbench.plots.replay_wall import Mini, mini

# ----------------------------------------------------------------------------
# Which sessions the lake has, and those in memory

KEY_LEVELS = ("pm_high", "pm_low", "or_high", "or_low", "vwap")
"""Levels under the keys 1-5; the others follow them on the screen."""


def load(root: str, symbol: str, date: dt.date) -> Session:
    """The session, from memory while the lake is unchanged; one that is under way from its journal.

    Raises
    ------
    PartitionMissing
        Where the ladder or its tape is not there; bars and levels may be missing, and are then named in `notes`.
    """
    under_way = live.session_of(root, symbol, date)
    if under_way is not None:
        return under_way
    key = (root, symbol, date, stamp(root, symbol, date))
    session = _load(*key)
    if key in _SEEN:
        _SEEN.remove(key)
    _SEEN.append(key)
    return session


SESSIONS_IN_MEMORY = 6
_SEEN: deque[tuple[str, str, dt.date, str]] = deque(maxlen=SESSIONS_IN_MEMORY)
"""What `_load` holds, oldest use first: as many, and forgotten in the same order."""


def in_memory(root: str, symbol: str, date: dt.date) -> bool:
    """Whether `load` would answer at once, so that a page can be drawn before it is sent."""
    return live.session_of(root, symbol, date) is not None or (root, symbol, date, stamp(root, symbol, date)) in _SEEN


@pn.cache(max_items=SESSIONS_IN_MEMORY, policy="LRU")
def _load(root: str, symbol: str, date: dt.date, mark: str) -> Session:
    return Session.open(open_lake(root), symbol, date, stamp=mark)


def ordered_level_ids(session: Session) -> list[str]:
    """Key levels in the screen's order: those under the keys first, fixed prices of the lake last."""
    known = list(level_ids())
    of_lake = session.levels["level_id"].unique(maintain_order=True).to_list()
    return list(dict.fromkeys([*(k for k in KEY_LEVELS if k in known), *known, *of_lake]))


@cached_with_session(24, levels_so_far)
def runs(session: Session, level_id: str) -> pl.DataFrame:
    """All level lines of the session (`workbench.plots.levels.level_runs`), with a trader's own price among them if `level_id` is one."""
    return level_runs(session.levels_with(level_id))


@cached_with_session(64)
def ladder_at(session: Session, now_ns: int, k_ref: int, reach: int, window_s: int, step: int, half_life_s: float) -> pl.DataFrame:
    """The ladder (`workbench.plots.ladder.rows_at`) of the window that ends at `now_ns`, `reach` ticks around the level.

    Where the session has no whole window before it: of what there is.
    """
    now_ns = max(now_ns, session.ladder.start_ns + NS)
    w = min(window_s, (now_ns - session.ladder.start_ns) // NS)
    span = (now_ns - w * NS, now_ns, k_ref - reach, k_ref + reach)
    return ladder_rows(pressure_cube(session.ladder, *span, window_s=w, step_ticks=step, half_life_s=half_life_s), 0, k_ref)


# ----------------------------------------------------------------------------
# What a session had done up to a moment: volume at price, cumulative delta, levels close to each other

FILL = [LADDER_COLUMNS.index(f"{side}_fill") for side in ("bid", "ask")]


def _seconds(session: Session, end_ns: int) -> int:
    lad = session.ladder
    return min(max((end_ns - lad.start_ns) // NS, 0), lad.seconds)


@cached_with_session(16)
def volume_at_price(session: Session, end_ns: int) -> pl.DataFrame:
    """Contracts bought and sold at each price before `end_ns` (`workbench.plots.volume.volume_at_price`)."""
    lad = session.ladder
    n = int(lad.offset[_seconds(session, end_ns)])
    bid, ask = (lad.values[:n, c] for c in FILL)
    return volume.volume_at_price(lad.tick[:n], bid, ask)


def delta_tape(session: Session, end_ns: int) -> pl.DataFrame:
    """The seconds before `end_ns`, as `workbench.plots.volume.delta_data` wants them."""
    return session.ladder.tape.select("window_start_ts_ns", "buy_volume", "sell_volume").head(_seconds(session, end_ns))


@cached_with_session(64)
def confluent(session: Session, level_id: str, now_ns: int) -> list[str]:
    """Titles of the other levels within `SetupParams.confluence_ticks` of this one in the second before `now_ns`."""
    k = tick_at(session.level(level_id), now_ns - 1)
    if k is None:
        return []
    there = set(session.levels["level_id"]) - {level_id}
    others = [i for i in ordered_level_ids(session) if i in there]
    ticks = (int(ticks_at(session.levels, i, np.array([now_ns - 1]), session.ladder)[0]) for i in others)
    near = SetupParams().confluence_ticks
    return [level_title(i) for i, tick in zip(others, ticks) if tick != NO_TICK and abs(tick - k) <= near]


# ----------------------------------------------------------------------------
# Short stretches of the lake's sessions around a level: what small replays are made from. Shared by all tabs, never written to

CLIP_COLUMNS = 300
"""About as many windows as a small replay has pixels."""


@dataclass(frozen=True)
class Stretch:
    """How much is shown on both sides of the instant and of the level (`reach`, in ticks), and of what."""

    before_s: int
    after_s: int
    reach: int
    layer: str  # key of `workbench.plots.heatmap.LAYERS`
    half_life_s: float  # of the flows behind ``long, short, net``
    least_s: int = 1

    @property
    def window_s(self) -> int:
        """Length of a window: the shortest, not below `least_s`, with which `CLIP_COLUMNS` suffice."""
        return max(self.least_s, -(-(self.before_s + self.after_s) // CLIP_COLUMNS))


def clip(root: str, symbol: str, date: dt.date, level_tick: int, zero_ns: int, stretch: Stretch) -> Mini:
    """The stretch around `zero_ns` of a session.

    Raises
    ------
    PartitionMissing, PartitionCorrupt
        Where the session's ladder is not in the lake, with the command that makes it.
    SessionError
        Where the stretch is outside the session.
    """
    return _clip(root, symbol, date, stamp(root, symbol, date), level_tick, zero_ns, stretch)


@lru_cache(maxsize=512)
def _clip(root: str, symbol: str, date: dt.date, stamp: str, level_tick: int, zero_ns: int, stretch: Stretch) -> Mini:
    ladder, layer, w = _ladder(root, symbol, date, stamp), LAYERS[stretch.layer], stretch.window_s
    begin, end = zero_ns - stretch.before_s * NS, zero_ns + stretch.after_s * NS
    low, high = level_tick - stretch.reach, level_tick + stretch.reach
    if layer.key in ("long", "short", "net"):
        cube = pressure_cube(ladder, begin, end, low, high, window_s=w, half_life_s=stretch.half_life_s)
    else:
        cube = ladder.cube(begin, end, low, high, window_s=w)
    seconds = (cube["window_end_ts_ns"].to_numpy() - ladder.start_ns) // NS - 1
    made = mini(cube, ladder.last_tick[np.minimum(seconds, ladder.seconds - 1)], level_tick=level_tick, zero_ns=zero_ns, layer=layer)
    # The values alone are stored: a slice with all its channels is thirty times as large.
    return Mini(made.values.copy(), made.ticks, made.ends_s, made.last)


@lru_cache(maxsize=2)
def _ladder(root: str, symbol: str, date: dt.date, stamp: str) -> Ladder:
    return Ladder.open(open_lake(root), symbol, date)


def last_ticks(root: str, symbol: str, date: dt.date, begin_ns: int, end_ns: int) -> np.ndarray:
    """The last trade at the end of each whole second of ``[begin, end)``, ticks, float64; NaN before the first and beyond the session.

    Raises
    ------
    PartitionMissing, PartitionCorrupt
        Where the session's tape is not in the lake, with the command that makes it.
    """
    return _last_ticks(root, symbol, date, stamp(root, symbol, date), begin_ns // NS, end_ns // NS)


@lru_cache(maxsize=256)
def _last_ticks(root: str, symbol: str, date: dt.date, stamp: str, begin_s: int, end_s: int) -> np.ndarray:
    start = pl.col("window_start_ts_ns")
    inside = start.is_between(begin_s * NS, end_s * NS, closed="left")
    tape = open_lake(root).read(TAPE, symbol, date, ["window_start_ts_ns", "last_tick"], inside)
    out = np.full(end_s - begin_s, np.nan)
    out[tape["window_start_ts_ns"].to_numpy() // NS - begin_s] = tape["last_tick"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return out
