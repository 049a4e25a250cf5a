"""Sessions that the server has read, what was computed of each, and the caches of both; all of it goes with its session."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
import panel as pn
import polars as pl

from engine.errors import EngineError, PartitionCorrupt, PartitionMissing, UnknownLevel
from engine.features import level_windows, pressure_cube
from engine.ladder import COLUMNS, NO_TICK, Ladder
from engine.lake.catalog import BARS, LADDER, LEVELS, TAPE, TRIGGERS
from engine.lake.store import Lake, input_key
from engine.levels import level_ids, price_level, title
from engine.params import ApproachParams, FeatureParams, SetupParams
from engine.setups.timeline import ticks_at
from engine.vocab import NS, TriggerKind
from workbench.plots import heatmap, volume
from workbench.plots.heatmap import LAYERS, Layer
from workbench.plots.ladder import rows_at as ladder_rows
from workbench.plots.levels import level_runs
from workbench.plots.overview import DayImage, day_image
from workbench.plots.replay_wall import Mini, mini

if TYPE_CHECKING:
    import xarray as xr


# ----------------------------------------------------------------------------
# What was computed of a session is kept with the session, and goes with it

P = ParamSpec("P")

T = TypeVar("T")


class SessionCache(Protocol):
    """What has a place for what is computed of it."""

    @property
    def kept(self) -> dict[Hashable, OrderedDict[Any, Any]]:
        """By function, then by its other arguments."""


S = TypeVar("S", bound=SessionCache)


def cached_with_session(most: int) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T]]:
    """As `functools.lru_cache` with `most` answers a session, the function's first argument.

    A cache of the module would keep every session alive that it has an answer of, a ladder of 100 MB and more each.
    """

    def keep(function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
        @wraps(function)
        def answer(session: S, /, *args: P.args, **more: P.kwargs) -> T:
            answers = session.kept.setdefault(function, OrderedDict())
            key = (args, tuple(sorted(more.items())))
            if key in answers:
                answers.move_to_end(key)
                return answers[key]  # type: ignore[no-any-return]
            found = answers[key] = function(session, *args, **more)
            while len(answers) > most:
                answers.popitem(last=False)
            return found

        return answer

    return keep


# ----------------------------------------------------------------------------
# Reads the lake through the engine, and keeps what was read; computes no feature of its own

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
    """What `workbench.session_cache` keeps of it."""
    root: str = ""
    """The lake's folder."""

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
    return Session(symbol, date, ladder, bars, levels, absent, tuple(notes), mark, simulated, _touches(lake, symbol, date), root=root)


def _touches(lake: Lake, symbol: str, date: dt.date) -> pl.DataFrame | None:
    if not lake.has(TRIGGERS, symbol, date):
        return None
    made_from = lake.manifest(TRIGGERS, symbol, date).lineage.inputs
    if made_from.get(input_key(LADDER, symbol, date)) != lake.manifest(LADDER, symbol, date).digest():
        return None  # of an older ladder: its touches may not be those on the screen
    return lake.read(TRIGGERS, symbol, date, ["level_id", "touch_ts_ns"], pl.col("kind") == "touch")


@cached_with_session(24)
def touch_times(session: Session, level_id: str) -> np.ndarray:
    """Instants (ns) at which price touched the level by features.md section 8, as gold has them; of the whole session.

    Of a price of the trader's own, and where the lake has no gold of the session, they are found by the same function.

    Raises
    ------
    UnknownLevel
    """
    from engine.features.events import lake_triggers

    levels = level_frame(session, level_id)
    found = session.touches
    if found is None or level_id not in session.levels["level_id"]:
        found = lake_triggers(open_lake(session.root), session.ladder, (TriggerKind.TOUCH.value,), levels=levels)
    return np.sort(found.filter(pl.col("level_id") == level_id)["touch_ts_ns"].to_numpy())


def ordered_level_ids(session: Session) -> list[str]:
    """Key levels in the screen's order: those under the keys first, fixed prices of the lake last."""
    known = list(level_ids())
    rest = [i for i in known if i not in KEY_LEVELS]
    extra = [i for i in session.levels["level_id"].unique(maintain_order=True).to_list() if i not in known]
    return [*(k for k in KEY_LEVELS if k in known), *rest, *extra]


def level_title(level_id: str) -> str:
    """The level in words, such as ``PM High``."""
    return "Price" if level_id.startswith("price:") else title(level_id)


@cached_with_session(24)
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


@cached_with_session(24)
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


@cached_with_session(48)
def vacuum(session: Session, level_id: str, params: FeatureParams) -> pl.DataFrame:
    """The level's windows with features, conditions and approach, made from the ladder by the engine with `params`."""
    return level_windows(session.ladder, level_frame(session, level_id), params, ApproachParams())


@cached_with_session(12)
def cube(session: Session, start_ns: int, end_ns: int, low: int, high: int, window_s: int, step: int, half_life_s: float) -> xr.Dataset:
    """A slice of the ladder with the pressure at each price."""
    return pressure_cube(session.ladder, start_ns, end_ns, low, high, window_s=window_s, step_ticks=step, half_life_s=half_life_s)


@cached_with_session(64)
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


# ----------------------------------------------------------------------------
# The ends of the heatmap's colour scales: of a whole session, so that colours mean the same wherever one looks


@cached_with_session(32)
def scale_top(session: Session, layer: Layer, window_s: int, step: int, half_life_s: float) -> float | None:
    """End of the layer's colour scale for the whole session; None where the session has nothing to sample."""
    if layer.kind == "signed":
        return 1.0
    # Resting size is that of a window's end, however long the window: one set of samples serves them all.
    faded = half_life_s if layer.kind in ("long", "short") else 0.0
    parts = samples(session, FeatureParams().window_s if layer.key == "depth" else window_s, step, faded)
    return heatmap.scale_top(np.concatenate([heatmap.values(c, layer).ravel() for c in parts]), layer) if parts else None


@cached_with_session(4)
def samples(session: Session, window_s: int, step: int, half_life_s: float) -> tuple[xr.Dataset, ...]:
    """Six short slices around the last trade, spread over the session: what a colour scale is set by, whatever is on screen."""
    lad = session.ladder
    traded = np.flatnonzero((lad.last_tick != NO_TICK) & lad.valid)
    if traded.size == 0:
        traded = np.arange(lad.seconds)
    out = []
    for s in traded[(np.linspace(0.05, 0.95, 6) * (traded.size - 1)).astype(int)].tolist():
        mid = int(lad.last_tick[s])
        begin = lad.start_ns + s * NS
        if mid == NO_TICK:
            continue
        try:
            out.append(
                pressure_cube(
                    lad, begin - 60 * NS, begin + 60 * NS, mid - 20, mid + 20, window_s=window_s, step_ticks=step, half_life_s=half_life_s
                )
            )
        except EngineError:
            continue  # a sample that falls off the session's end; the others set the scale
    return tuple(out)


# ----------------------------------------------------------------------------
# What a session had done up to a moment: volume at price, cumulative delta, tests of a level; and its whole day as one image

ADD, FILL = ([COLUMNS.index(f"{side}_{name}") for side in ("bid", "ask")] for name in ("add", "fill"))


def _seconds(session: Session, end_ns: int) -> int:
    """Seconds of the session that have passed at `end_ns`."""
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


def tests_before(session: Session, level_id: str, end_ns: int) -> int | None:
    """How often the level was touched before `end_ns`, as the session's triggers count it; None where there are none of this level.

    A touch ends an approach: ``touch_number`` of features.md section 8 is one more than this.
    """
    if session.touches is None or level_id not in session.levels["level_id"]:
        return None
    return session.touches.filter((pl.col("level_id") == level_id) & (pl.col("touch_ts_ns") < end_ns)).height


@cached_with_session(64)
def confluent(session: Session, level_id: str, now_ns: int) -> list[str]:
    """Titles of the other levels within `SetupParams.confluence_ticks` of this one in the window that begins at `now_ns`."""
    k = tick_at(level_frame(session, level_id), now_ns)
    if k is None:
        return []
    at = {
        i: int(ticks_at(session.levels, i, np.array([now_ns]), session.ladder)[0])
        for i in ordered_level_ids(session)
        if i != level_id and i in set(session.levels["level_id"])
    }
    near = SetupParams().confluence_ticks
    return [level_title(i) for i, tick in at.items() if tick != NO_TICK and abs(tick - k) <= near]


@cached_with_session(1)
def day(session: Session) -> DayImage:
    """All orders and trades of the session."""
    lad = session.ladder
    low, high = price_span(session)
    added, traded = (lad.values[:, c].sum(axis=1) for c in (ADD, FILL))
    reach = max(high - low, 8) // 3
    return day_image(lad.second, lad.tick, added, traded, lad.seconds, low - reach, high + reach)


def price_span(session: Session) -> tuple[int, int]:
    """Lowest and highest tick at which the session traded; those of its levels where it did not."""
    last = session.ladder.last_tick[session.ladder.last_tick != NO_TICK]
    if last.size == 0:
        last = session.levels["level_tick"].to_numpy()
    if last.size == 0:
        return 0, 1
    return int(last.min()), int(last.max())


# ----------------------------------------------------------------------------
# Short stretches of the lake's sessions around a level: what small replays are made from. Kept for all tabs, never written to

CLIP_COLUMNS = 300
"""About as many windows as a small replay has pixels."""


@dataclass(frozen=True)
class Stretch:
    """How much is shown on both sides of the instant and of the level, and of what.

    Attributes
    ----------
    before_s, after_s : int
    reach : int
        Ticks.
    layer : str
        Key of `workbench.plots.heatmap.LAYERS`.
    half_life_s : float
        Of the flows behind ``long, short, net``.
    least_s : int
        Shortest window.
    """

    before_s: int
    after_s: int
    reach: int
    layer: str
    half_life_s: float
    least_s: int = 1

    @property
    def window_s(self) -> int:
        """Length of a window: the shortest, not below `least_s`, with which `COLUMNS` suffice."""
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
    # The values alone are kept: a slice with all its channels is thirty times as large.
    return Mini(made.values.copy(), made.ticks, made.ends_s, made.last)


@lru_cache(maxsize=2)
def _ladder(root: str, symbol: str, date: dt.date, stamp: str) -> Ladder:
    return Ladder.open(open_lake(root), symbol, date)
