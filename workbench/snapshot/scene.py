"""Everything that a setup's picture shows, read once from ladder, levels and bars; no colours, no places."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import xarray as xr

from engine.bars import BAR_NS
from engine.errors import SessionError, UnknownProfile
from engine.features import pressure_cube
from engine.ladder import Ladder
from engine.lake.catalog import LADDER
from engine.lake.store import Lake
from engine.params import FeatureParams
from engine.retrieval.hints import brings_sessions
from engine.selection import route
from engine.session import Session, candles_at_level, level_title, tick_at
from engine.vocab import NS, known_roots
from workbench.plots import axes, heatmap
from workbench.plots.candles import LOOK_BACK, LOOK_FORWARD
from workbench.plots.conditions import condition_cells
from workbench.plots.decision import standing, statement
from workbench.plots.ladder import WALL_REACH, rows_at
from workbench.plots.levels import level_runs
from workbench.snapshot.state import PictureParams, SetupState


@dataclass(frozen=True)
class LevelName:
    """A level as it is named in the picture; not `known` is one that comes after the moment."""

    level_id: str
    title: str
    tick: int
    chosen: bool
    known: bool = True


@dataclass(frozen=True, eq=False)
class Scene:
    """One moment of one level, as it is drawn.

    Attributes
    ----------
    now_ns, end_ns : int
        The window of the moment, ``[now_ns, end_ns)``; ladder, conditions and sentence are read at its end.
    known : bool
        Whether the level has a value then; where not, its first value is drawn.
    span_ns : tuple of int
        ``[start, end)`` of the heatmap.
    cube : xr.Dataset
        The heatmap's slice with pressure; `top` is the top of its colour scale.
    rows : pl.DataFrame
        The ladder at the moment (`workbench.plots.ladder.rows_at`).
    vacuum : pl.DataFrame
        The level's windows of the heatmap's time; `row` is that of the moment, if any.
    bars : pl.DataFrame
        The candles drawn; the last one may be the moment's own, unfinished.
    levels : pl.DataFrame
        Steps of all levels, to the end of what is drawn; `names` say what they are called at the moment.
    """

    symbol: str
    date: dt.date
    tick_size: float
    level_id: str
    title: str
    k_ref: int
    known: bool
    now_ns: int
    end_ns: int
    span_ns: tuple[int, int]
    cube: xr.Dataset
    top: float
    rows: pl.DataFrame
    vacuum: pl.DataFrame
    row: dict[str, Any] | None
    tape: pl.DataFrame
    bars: pl.DataFrame
    setup: SetupBars
    levels: pl.DataFrame
    names: tuple[LevelName, ...]
    last_tick: int | None
    sentence: str
    simulated: bool
    features: FeatureParams
    picture: PictureParams

    @property
    def direction(self) -> str:
        """Approach of the moment's window."""
        return "approach_none" if self.row is None else str(self.row["approach"])

    def digest(self) -> str:
        """SHA-256 of the numbers drawn, whatever their colours, sizes and places."""
        h = hashlib.sha256()
        for name in ("bid_depth", "ask_depth", "long", "short", "bid_fill", "ask_fill", "book_valid", "window_start_ts_ns", "tick"):
            values = self.cube[name].to_numpy()
            if values.dtype.kind == "f":  # to 1e-6: a decay's last bits differ between machines, and no eye sees them
                values = np.nan_to_num(np.round(values * 1e6), nan=-1.0)
            h.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
        for frame in (self.bars, self.levels.select("level_id", "start_ts_ns", "end_ts_ns", "level_tick"), self.vacuum.select(DRAWN)):
            h.update(frame.write_csv(float_precision=6).encode())
        h.update(repr((self.symbol, self.date, self.level_id, self.k_ref, self.now_ns, self.end_ns, self.names, self.sentence)).encode())
        return h.hexdigest()

    def state(self, profile: str) -> SetupState:
        """What the picture carries."""
        same: dict[str, Any] = {k: getattr(self, k) for k in ("symbol", "level_id", "direction", "simulated", "features", "picture")}
        price = round(self.k_ref * self.tick_size, 9)
        return SetupState(
            session_date=self.date, profile=profile, price=price, ts_ns=self.now_ns, drawn_sha256=self.digest(), **same
        )  # fmt: skip

    def x(self, ts_ns: int) -> float:
        """Place of an instant on a time axis, ms of New York's clock."""
        return float(axes.x_ms(ts_ns, self.now_ns))

    def price(self, tick: float) -> str:
        """Price of `tick` in words."""
        return axes.price_text(tick, self.tick_size)

    def level_runs(self) -> list[tuple[float, float, int, bool]]:
        """(start, end, tick, whether chosen) of every stretch in which a level stays on one tick, the chosen level last."""
        runs = level_runs(self.levels).sort(pl.col("level_id") == self.level_id, maintain_order=True)
        return [
            (self.x(a), self.x(b), k, i == self.level_id)
            for i, a, b, k in runs.select("level_id", "start_ts_ns", "end_ts_ns", "level_tick").iter_rows()
        ]

    def conditions(self, direction: str) -> tuple[np.ndarray, np.ndarray]:
        """Cells of a direction's strip (`workbench.plots.conditions.condition_cells`) and how many are open, 0 where it is not known."""
        start = self.cube["window_start_ts_ns"].to_numpy()
        full = pl.DataFrame({"window_start_ts_ns": start}).join(self.vacuum, on="window_start_ts_ns", how="left")
        return condition_cells(full, direction), full[f"{direction}_open"].cast(pl.Float64).fill_null(0).to_numpy()


DRAWN = ("window_start_ts_ns", "level_tick", *(f"{d}_{i}" for d in ("down", "up") for i in (1, 2, 3, 4, "open")))
"""Columns of the level's windows that reach the picture."""


def make_scene(ladder: Ladder, levels: pl.DataFrame, bars: pl.DataFrame, *, simulated: bool = False, **moment: Any) -> Scene:
    """What the picture of a moment shows, from ``levels`` and ``bars_2m`` of the session.

    `simulated` says that the orders are made up; `moment` are the keywords of `session_scene`, which raises what is wrong.
    """
    return session_scene(Session(ladder.symbol, ladder.date, ladder, bars, levels, {}, simulated=simulated), **moment)


def session_scene(
    session: Session,
    *,
    level_id: str,
    ts_ns: int | None = None,
    clock_ns: int | None = None,
    features: FeatureParams | None = None,
    picture: PictureParams | None = None,
) -> Scene:
    """What the picture of a moment of a session shows.

    Parameters
    ----------
    level_id : str
        Such as ``pm_high`` or ``price:6800.25``; raises `UnknownLevel` where it is not there.
    ts_ns : int
        Any instant of the window, ns since the epoch; raises `SessionError` where it lies outside the session.
    clock_ns : int
        In its place the time on the clock, as the screen has it: the window is the last one that had ended then.
    """
    features, picture = features or FeatureParams(), picture or PictureParams()
    ladder = session.ladder
    w = features.window_s * NS
    if (ts_ns is None) == (clock_ns is None):
        raise ValueError("session_scene: expected ts_ns or clock_ns, found both or neither")
    now = (ts_ns if ts_ns is not None else clock_ns - w) // w * w  # type: ignore[operator]
    first, last = -(-ladder.start_ns // w) * w, ladder.end_ns // w * w
    if not first <= now < last:
        begin, close = axes.clock(ladder.start_ns), axes.clock(ladder.end_ns)
        raise SessionError(
            f"{ladder.symbol} {ladder.date}: expected a moment from {begin} to {close} New York, found {axes.clock(clock_ns or now)}"
        )
    frame, levels = session.level(level_id), session.levels_with(level_id)
    tick, title, z = tick_at(frame, now), level_title(level_id), features.zones
    k = tick if tick is not None else int(frame["level_tick"][0])
    end = now + w
    horizon = min(end + picture.after_min * 60 * NS, last) if picture.hindsight else end
    # Whole windows around the moment, never beyond the session.
    start = max((end - picture.before_min * 60 * NS) // w * w, first)
    shown = pl.col("window_start_ts_ns").is_between(start, horizon, closed="left")
    reach = max(picture.rows, z.far, WALL_REACH)
    cube = pressure_cube(ladder, start, horizon, k - reach, k + reach, window_s=features.window_s, half_life_s=picture.half_life_s)
    vacuum = session.windows(level_id, features).filter(shown)
    row = next(iter(vacuum.filter(pl.col("window_start_ts_ns") == now).iter_rows(named=True)), None)
    rows = rows_at(cube, (now - start) // w, k)
    if tick is None:
        why = f"not known yet at {axes.clock(now)}; it stands from {axes.clock(int(frame['start_ts_ns'][0]))} on"
    else:
        valid = row is not None and bool(row["book_valid"] or row["book_near"])
        why = "nothing has traded yet" if valid else f"the book is not valid at {axes.clock(now)}"
    said = statement(standing(session, level_id, tick, end, row=row, near=z.near, why=why))
    layer = heatmap.LAYERS[picture.layer]
    seen = cube.isel(window=slice(0, (end - start) // w))
    bars, setup = _candles(session, frame, now, end, picture)
    limit = max(horizon, *bars["window_end_ts_ns"].tail(1).to_list(), 0) if picture.hindsight else end
    steps = levels.filter(pl.col("start_ts_ns") < limit).with_columns(pl.min_horizontal("end_ts_ns", pl.lit(limit)).alias("end_ts_ns"))
    return Scene(
        symbol=ladder.symbol, date=ladder.date, tick_size=session.tick_size, level_id=level_id, title=title, k_ref=k,
        known=tick is not None, now_ns=now, end_ns=end, span_ns=(start, horizon), cube=cube,
        # Of what was there at the moment: what came later must not change its colours.
        top=heatmap.scale_top(heatmap.values(seen, layer), layer),
        rows=rows, vacuum=vacuum, row=row, tape=ladder.tape.filter(shown), bars=bars, setup=setup, levels=steps,
        names=_names(levels, level_id, now, limit), last_tick=session.last_tick(end), sentence=said, simulated=session.simulated,
        features=features, picture=picture,
    )  # fmt: skip


def _candles(session: Session, frame: pl.DataFrame, now: int, end: int, picture: PictureParams) -> tuple[pl.DataFrame, SetupBars]:
    bar = now // BAR_NS * BAR_NS
    bars = session.bars if picture.hindsight else session.candles().until((end - session.ladder.start_ns) // NS)
    setup = setup_bars(bars, frame, now, session.ladder.tape)
    # The look-forward belongs to the picture, however few candles were asked for.
    last = max(bar + picture.bars_after * BAR_NS, (setup.forward_ns or (0, 0))[1] - BAR_NS)
    return bars.filter(pl.col("window_start_ts_ns").is_between(bar - picture.bars_before * BAR_NS, last)), setup


def _names(levels: pl.DataFrame, chosen: str, now: int, end_ns: int) -> tuple[LevelName, ...]:
    """Levels by their tick at the moment; those that come later in what is drawn, with the time from which they are known."""
    found = []
    for frame in levels.partition_by("level_id", maintain_order=True):
        level_id, begin, first = frame.select("level_id", "start_ts_ns", "level_tick").row(0)
        title, tick = level_title(level_id), tick_at(frame, now)
        if tick is not None:
            found.append(LevelName(level_id, title, tick, level_id == chosen))
        elif now < begin < end_ns:
            later = f"{title} from {axes.clock(begin, seconds=False)}"
            found.append(LevelName(level_id, later, first, level_id == chosen, known=False))
    return tuple(found)


# ----------------------------------------------------------------------------
# Trigger candle, confirmation candle, look-back and look-forward around a moment, as the setup pictures mark them

AHEAD, BEHIND = 3, 6
"""How many candles after the moment's own, and before it, may be its trigger."""


@dataclass(frozen=True)
class SetupBars:
    """Starts of the candles that make a setup, ns since the epoch; None where there is none (yet).

    Attributes
    ----------
    trigger_ns, confirmation_ns : int or None
        The candle that touches or crosses the level, and the next one, at whose close the setup is read.
    crossed : str
        What the trigger did, such as ``crossed above`` or ``touched from below``; empty without one.
    back_ns, forward_ns : tuple of int or None
        ``[start, end)`` of the look-back and of the look-forward.
    """

    trigger_ns: int | None
    confirmation_ns: int | None
    crossed: str
    back_ns: tuple[int, int]
    forward_ns: tuple[int, int] | None


def setup_bars(bars: pl.DataFrame, level: pl.DataFrame, now_ns: int, tape: pl.DataFrame | None = None) -> SetupBars:
    """The setup that the moment belongs to, from ``bars_2m`` and the steps of one level.

    Its trigger is the moment's own candle or the next within `AHEAD` that touches the level, else the last within
    `BEHIND`; without one the look-back ends with the moment's candle and nothing is looked forward to. The seconds of `tape`
    say which side a candle came from that opens at the level.
    """
    own = now_ns // BAR_NS * BAR_NS
    met, start = candles_at_level(bars, level, tape), pl.col("window_start_ts_ns")
    ahead = met.filter(start.is_between(own, own + AHEAD * BAR_NS)).head(1)
    behind = met.filter(start.is_between(own - BEHIND * BAR_NS, own, closed="left")).tail(1)

    def back_to(bar: int) -> tuple[int, int]:
        return bar - (LOOK_BACK - 1) * BAR_NS, bar + BAR_NS

    hit = ahead if ahead.height else behind
    if hit.height == 0:
        return SetupBars(None, None, "", back_to(own), None)
    trigger, k, side = hit.select("window_start_ts_ns", "level_tick", "side").row(0)
    crossed = _crossed(side, bars.filter(start == trigger)["close_tick"][0] - k)
    confirmation, closes = trigger + BAR_NS, trigger + 2 * BAR_NS
    there = bars["window_start_ts_ns"]
    if confirmation not in there:
        return SetupBars(trigger, None, crossed, back_to(trigger), None)
    forward = (closes, closes + LOOK_FORWARD * BAR_NS) if (there >= closes).any() else None
    return SetupBars(trigger, confirmation, crossed, back_to(confirmation), forward)


def _crossed(side: int, beyond: int) -> str:
    """What a candle did that came from `side` of the level and closed `beyond` ticks above it."""
    if side == 0:
        return "stood at"
    if side * beyond < 0:
        return "crossed above" if side < 0 else "crossed below"
    return "touched from below" if side < 0 else "touched from above"


# ----------------------------------------------------------------------------
# A scene from the lake: which contract a root means, and the session read


def contract_of(lake: Lake, symbol: str | None, date: dt.date) -> str:
    """The contract that `symbol` (a contract, a root, or none) means on a session date.

    Raises `SessionError` where there is none, or more than one and no selection map says which.
    """
    if symbol is not None and symbol not in known_roots():
        return symbol
    there = [s for s, d in lake.partitions(LADDER) if d == date and (symbol is None or s.startswith(symbol)) and lake.has(LADDER, s, d)]
    if len(there) == 1:
        return there[0]
    if not there:
        known = sorted({d.isoformat() for _, d in lake.partitions(LADDER)})
        found = f"sessions {', '.join(known[-5:])}" if known else "no session at all"
        raise SessionError(
            f"lake {lake.root}: expected a ladder of {symbol or 'any contract'} on {date}, found {found}; "
            f"`{lake.session_command(symbol or next(iter(lake.raw_roots()), 'ES'), date)}` makes one"
        )
    if symbol is None:
        raise SessionError(f"lake {lake.root}: {date} has ladders of {', '.join(there)}; say which with --symbol")
    chosen, left = route(lake, symbol, [date])
    if not chosen:
        raise SessionError(f"--symbol {symbol} on {date}: {left.get(date, 'not selected')}; name a contract such as {there[0]}")
    return chosen[0][0]


def profile_of(lake: Lake) -> str:
    """Session profile of the lake's silver; raises `UnknownProfile` where it has none yet."""
    profile = lake.profile()
    if profile is None:
        raise UnknownProfile(f"lake {lake.root}: expected silver of a session profile, found none; {brings_sessions(lake, None)}")
    return profile


def scene_of(lake: Lake, symbol: str, date: dt.date, **moment: Any) -> Scene:
    """The scene of a moment, read from the lake; `moment` as in `make_scene`.

    Raises what `session_scene` does, and `PartitionMissing` where ladder, tape, bars or levels are not there.
    """
    return session_scene(Session.open(lake, symbol, date, whole=True), **moment)
