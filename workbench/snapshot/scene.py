"""Everything that a setup's picture shows, read once from ladder, levels and bars; no colours, no places."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr

from engine.errors import SessionError, UnknownLevel
from engine.features import level_windows, pressure_cube
from engine.ladder import NO_TICK, Ladder
from engine.levels import level_ids, price_level, title
from engine.params import ApproachParams, FeatureParams
from engine.vocab import NS
from workbench.plots import axes, coding
from workbench.plots.ladder import WALL_REACH, rows_at
from workbench.plots.sentence import sentence
from workbench.snapshot.bars import BAR_NS, SetupBars, bars_until, setup_bars
from workbench.snapshot.params import PictureParams
from workbench.snapshot.state import SetupState

__all__ = ["Scene", "SetupBars", "make_scene", "setup_bars"]


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
        Whether the level has a value then; where not, its first value stands in.
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
    span_ns : tuple of int
        ``[start, end)`` of the heatmap.
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
    row: dict[str, object] | None
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
        return SetupState(
            session_date=self.date,
            profile=profile,
            symbol=self.symbol,
            level_id=self.level_id,
            price=round(self.k_ref * self.tick_size, 9),
            ts_ns=self.now_ns,
            direction=self.direction,  # type: ignore[arg-type]
            simulated=self.simulated,
            features=self.features,
            picture=self.picture,
            drawn_sha256=self.digest(),
        )


DRAWN = ("window_start_ts_ns", "level_tick", *(f"{d}_{i}" for d in ("down", "up") for i in (1, 2, 3, 4, "open")))
"""Columns of the level's windows that reach the picture."""


def level_rows(ladder: Ladder, levels: pl.DataFrame, level_id: str, absent: dict[str, str] | None = None) -> pl.DataFrame:
    """Steps of one level; of ``price:X`` over the whole session.

    Raises
    ------
    UnknownLevel
        Where there is no such level, or it is absent from this session, with the reason.
    """
    own = levels.filter(pl.col("level_id") == level_id)
    if own.height:
        return own
    if level_id.startswith("price:"):
        return price_level(level_id, ladder.start_ns, ladder.end_ns, ladder.root)
    if level_id not in level_ids():
        raise UnknownLevel(f"level {level_id!r}: expected one of {', '.join(level_ids())} or price:6800.25")
    reason = (absent or {}).get(level_id, "the lake has no row of it")
    raise UnknownLevel(f"{title(level_id)} is absent from {ladder.symbol} {ladder.date}: {reason}")


def level_name(level_id: str) -> str:
    """The level in words, such as ``PM High``."""
    return "Price" if level_id.startswith("price:") else title(level_id)


def tick_at(frame: pl.DataFrame, ts_ns: int) -> int | None:
    """The level's tick at `ts_ns`; None where it has none."""
    i = int(frame["start_ts_ns"].search_sorted(ts_ns, side="right")) - 1
    return int(frame["level_tick"][i]) if i >= 0 and ts_ns < frame["end_ts_ns"][i] else None


def make_scene(
    ladder: Ladder,
    levels: pl.DataFrame,
    bars: pl.DataFrame,
    *,
    level_id: str,
    ts_ns: int,
    features: FeatureParams | None = None,
    picture: PictureParams | None = None,
    simulated: bool = False,
    absent: dict[str, str] | None = None,
) -> Scene:
    """Read what the picture of a moment shows.

    Parameters
    ----------
    ladder : Ladder
    levels, bars : pl.DataFrame
        ``levels`` and ``bars_2m`` of the session.
    level_id : str
        Such as ``pm_high`` or ``price:6800.25``.
    ts_ns : int
        Any instant of the window, ns since the epoch.
    simulated : bool
        Whether the orders are made up; the picture says so.
    absent : dict of str to str
        Why levels are not in `levels`, as the lake's notes say.

    Raises
    ------
    UnknownLevel
        Where the level is not there.
    SessionError
        Where the moment lies outside the session.
    """
    features, picture = features or FeatureParams(), picture or PictureParams()
    w = features.window_s * NS
    now = ts_ns // w * w
    first, last = -(-ladder.start_ns // w) * w, ladder.end_ns // w * w
    if not first <= now < last:
        begin, close = axes.clock(ladder.start_ns), axes.clock(ladder.end_ns)
        raise SessionError(f"{ladder.symbol} {ladder.date}: expected a moment from {begin} to {close} New York, found {axes.clock(ts_ns)}")
    frame = level_rows(ladder, levels, level_id, absent)
    if level_id not in levels["level_id"]:
        levels = pl.concat([levels, frame.select(levels.columns)])
    tick = tick_at(frame, now)
    k = tick if tick is not None else int(frame["level_tick"][0])
    end = now + w
    horizon = min(end + picture.after_min * 60 * NS, last) if picture.hindsight else end
    # Whole windows around the moment, never beyond the session.
    start = max((end - picture.before_min * 60 * NS) // w * w, first)
    reach = max(picture.rows, features.zones.far, WALL_REACH)
    cube = pressure_cube(ladder, start, horizon, k - reach, k + reach, window_s=features.window_s, half_life_s=picture.half_life_s)
    vacuum = level_windows(ladder, frame, features, ApproachParams())
    vacuum = vacuum.filter(pl.col("window_start_ts_ns").is_between(start, horizon, closed="left"))
    row = next(iter(vacuum.filter(pl.col("window_start_ts_ns") == now).iter_rows(named=True)), None)
    rows = rows_at(cube, (now - start) // w, k)
    layer = coding.LAYERS[picture.layer]
    seen = cube.isel(window=slice(0, (end - start) // w))
    kept, setup = _candles(ladder, bars, frame, now, end, picture)
    limit = max(horizon, *kept["window_end_ts_ns"].tail(1).to_list(), 0) if picture.hindsight else end
    last_tick = int(ladder.last_tick[(end - ladder.start_ns) // NS - 1])
    return Scene(
        symbol=ladder.symbol, date=ladder.date, tick_size=ladder.root.tick_size, level_id=level_id, title=level_name(level_id), k_ref=k,
        known=tick is not None, now_ns=now, end_ns=end, span_ns=(start, horizon), cube=cube,
        # Of what was there at the moment: what came later must not change its colours.
        top=coding.scale_top(coding.values(seen, layer), layer),
        rows=rows, vacuum=vacuum, row=row,
        tape=ladder.tape.filter(pl.col("window_start_ts_ns").is_between(start, horizon, closed="left")),
        bars=kept, setup=setup, levels=_steps_until(levels, limit), names=_names(levels, level_id, now, limit),
        last_tick=None if last_tick == NO_TICK else last_tick,
        sentence=_sentence(level_id, k, tick is not None, rows, row, frame, now, features, ladder.root.tick_size),
        simulated=simulated, features=features, picture=picture,
    )  # fmt: skip


def _candles(
    ladder: Ladder, bars: pl.DataFrame, frame: pl.DataFrame, now: int, end: int, picture: PictureParams
) -> tuple[pl.DataFrame, SetupBars]:
    bar = now // BAR_NS * BAR_NS
    if not picture.hindsight:
        bars = bars_until(bars, ladder.tape, end)
    setup = setup_bars(bars, frame, now)
    # The look-forward belongs to the picture, however few candles were asked for.
    last = max(bar + picture.bars_after * BAR_NS, (setup.forward_ns or (0, 0))[1] - BAR_NS)
    return bars.filter(pl.col("window_start_ts_ns").is_between(bar - picture.bars_before * BAR_NS, last)), setup


def _steps_until(levels: pl.DataFrame, end_ns: int) -> pl.DataFrame:
    return levels.filter(pl.col("start_ts_ns") < end_ns).with_columns(pl.min_horizontal("end_ts_ns", pl.lit(end_ns)).alias("end_ts_ns"))


def _names(levels: pl.DataFrame, chosen: str, now: int, end_ns: int) -> tuple[LevelName, ...]:
    """Levels by their tick at the moment; those that come later in what is drawn, with the time from which they stand."""
    found = []
    for level_id in levels["level_id"].unique(maintain_order=True).to_list():
        frame = levels.filter(pl.col("level_id") == level_id)
        tick, begin = tick_at(frame, now), int(frame["start_ts_ns"][0])
        if tick is not None:
            found.append(LevelName(level_id, level_name(level_id), tick, level_id == chosen))
        elif now < begin < end_ns:
            later = f"{level_name(level_id)} from {axes.clock(begin, seconds=False)}"
            found.append(LevelName(level_id, later, int(frame["level_tick"][0]), level_id == chosen, known=False))
    return tuple(found)


def _sentence(
    level_id: str,
    k: int,
    known: bool,
    rows: pl.DataFrame,
    row: dict[str, object] | None,
    frame: pl.DataFrame,
    now: int,
    features: FeatureParams,
    tick_size: float,
) -> str:
    name, z = level_name(level_id), features.zones
    if not known:
        return f"{name}: not known yet at {axes.clock(now)}; it stands from {axes.clock(int(frame['start_ts_ns'][0]))} on."
    valid = row is not None and bool(row["book_valid"])
    return sentence(
        name, k, rows, tick_size=tick_size, near=z.near, far=z.far,
        approach=str(row["approach"]) if row is not None and valid else None,
        distance=row["distance_ticks"] if row is not None and valid else None,  # type: ignore[arg-type]
        why="nothing has traded yet" if valid else f"the book is not valid at {axes.clock(now)}",
    )  # fmt: skip
