"""Everything that a setup's picture shows, read once from ladder, levels and bars; no colours, no places."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr

from engine.errors import SessionError, UnknownLevel, UnknownProfile
from engine.features import level_windows, pressure_cube
from engine.ladder import NO_TICK, Ladder
from engine.lake.catalog import BARS, LADDER, LEVELS
from engine.lake.store import Lake
from engine.levels import level_ids, price_level, title
from engine.params import ApproachParams, FeatureParams
from engine.selection import route
from engine.vocab import NS, ROOTS
from workbench.plots import axes, heatmap
from workbench.plots.ladder import WALL_REACH, rows_at
from workbench.plots.words import sentence
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
    layer = heatmap.LAYERS[picture.layer]
    seen = cube.isel(window=slice(0, (end - start) // w))
    kept, setup = _candles(ladder, bars, frame, now, end, picture)
    limit = max(horizon, *kept["window_end_ts_ns"].tail(1).to_list(), 0) if picture.hindsight else end
    last_tick = int(ladder.last_tick[(end - ladder.start_ns) // NS - 1])
    return Scene(
        symbol=ladder.symbol, date=ladder.date, tick_size=ladder.root.tick_size, level_id=level_id, title=level_name(level_id), k_ref=k,
        known=tick is not None, now_ns=now, end_ns=end, span_ns=(start, horizon), cube=cube,
        # Of what was there at the moment: what came later must not change its colours.
        top=heatmap.scale_top(heatmap.values(seen, layer), layer),
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


# ----------------------------------------------------------------------------
# Trigger candle, confirmation candle, look-back and look-forward around a moment, as the setup pictures mark them

BAR_NS = 120 * NS

LOOK_BACK, LOOK_FORWARD = 6, 3
"""Candles read before the confirmation's close (itself included), and candles whose course is the outcome."""

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
        What the trigger did: ``crossed above``, ``crossed below``, ``touched from below``, ``touched from above``; empty without one.
    back_ns, forward_ns : tuple of int or None
        ``[start, end)`` of the look-back and of the look-forward.
    """

    trigger_ns: int | None
    confirmation_ns: int | None
    crossed: str
    back_ns: tuple[int, int]
    forward_ns: tuple[int, int] | None


def bars_until(bars: pl.DataFrame, tape: pl.DataFrame, end_ns: int) -> pl.DataFrame:
    """`bars` as they stood at `end_ns`: the one under way is made from the seconds before it, later ones are gone.

    Parameters
    ----------
    bars : pl.DataFrame
        ``bars_2m``.
    tape : pl.DataFrame
        ``mbo_tape_1s``; a bar that began before the tape did counts from the tape's start.
    end_ns : int
        Whole second.
    """
    done = bars.filter(pl.col("window_end_ts_ns") <= end_ns)
    start = end_ns // BAR_NS * BAR_NS
    under_way = bars.filter(pl.col("window_start_ts_ns") == start)
    part = tape.filter(pl.col("window_start_ts_ns").is_between(start, end_ns, closed="left") & (pl.col("trades") > 0))
    if start == end_ns or under_way.height == 0 or part.height == 0:
        return done
    now = part.select(
        pl.col("high_tick").max(), pl.col("low_tick").min(), pl.col("last_tick").last().alias("close_tick"),
        (pl.col("buy_volume") + pl.col("sell_volume")).sum().alias("volume"), pl.col("buy_volume", "sell_volume").sum(),
        pl.col("trades").sum(),
    )  # fmt: skip
    # The bar's first trade came before the tape's last, so that its open is no look ahead.
    whole = under_way.with_columns(now[c].cast(bars.schema[c]).alias(c) for c in now.columns if c in bars.columns)
    return pl.concat([done, whole.select(bars.columns)])


def touches(bars: pl.DataFrame, level: pl.DataFrame) -> pl.DataFrame:
    """The bars that meet a level, with ``crossed`` in words.

    The level's tick is that at the bar's start, and a bar meets it when it lies within its low and high, as in
    `engine.setups.timeline`. The side price came from is that of the bar's open, else of the close before.
    """
    at = bars.sort("window_start_ts_ns").join_asof(
        level.sort("start_ts_ns").select("start_ts_ns", "end_ts_ns", pl.col("level_tick").cast(pl.Int64).alias("k")),
        left_on="window_start_ts_ns", right_on="start_ts_ns",
    )  # fmt: skip
    k, close = pl.col("k"), pl.col("close_tick").cast(pl.Int64)
    side = (pl.col("open_tick").cast(pl.Int64) - k).sign()
    before = (close.shift() - k).sign().fill_null(0)
    side = pl.when(side == 0).then(before).otherwise(side)
    hit = (pl.col("low_tick") <= k) & (pl.col("high_tick") >= k) & (pl.col("window_start_ts_ns") < pl.col("end_ts_ns"))
    name = (
        pl.when((side < 0) & (close > k)).then(pl.lit("crossed above"))
        .when((side > 0) & (close < k)).then(pl.lit("crossed below"))
        .when(side < 0).then(pl.lit("touched from below"))
        .when(side > 0).then(pl.lit("touched from above"))
        .otherwise(pl.lit("stood at"))
    )  # fmt: skip
    return at.with_columns(name.alias("crossed"), hit.alias("hit")).filter("hit").select("window_start_ts_ns", "crossed")


def setup_bars(bars: pl.DataFrame, level: pl.DataFrame, now_ns: int) -> SetupBars:
    """The setup that the moment belongs to.

    Its trigger is the moment's own candle or the next within `AHEAD` that touches the level, else the last within
    `BEHIND`; without one the look-back ends with the moment's candle and nothing is looked forward to.

    Parameters
    ----------
    bars : pl.DataFrame
        ``bars_2m``.
    level : pl.DataFrame
        Steps of one level (LEVELS frame).
    """
    own = now_ns // BAR_NS * BAR_NS
    found = touches(bars, level)
    ahead = found.filter(pl.col("window_start_ts_ns").is_between(own, own + AHEAD * BAR_NS)).head(1)
    behind = found.filter(pl.col("window_start_ts_ns").is_between(own - BEHIND * BAR_NS, own, closed="left")).tail(1)
    hit = ahead if ahead.height else behind
    if hit.height == 0:
        return SetupBars(None, None, "", (own - (LOOK_BACK - 1) * BAR_NS, own + BAR_NS), None)
    trigger = int(hit["window_start_ts_ns"][0])
    confirmation = trigger + BAR_NS
    closes = confirmation + BAR_NS
    back = (closes - LOOK_BACK * BAR_NS, closes)
    there = bars["window_start_ts_ns"]
    if confirmation not in there:
        return SetupBars(trigger, None, str(hit["crossed"][0]), (trigger - (LOOK_BACK - 1) * BAR_NS, trigger + BAR_NS), None)
    forward = (closes, closes + LOOK_FORWARD * BAR_NS) if (there >= closes).any() else None
    return SetupBars(trigger, confirmation, str(hit["crossed"][0]), back, forward)


# ----------------------------------------------------------------------------
# Arrays that the panels draw: level runs, best prices, condition cells; instants as ms of New York's clock


def x_of(ts_ns: int, scene: Scene) -> float:
    """Place of an instant on a time axis."""
    return float(axes.x_ms(ts_ns, scene.now_ns))


def level_runs(scene: Scene) -> list[tuple[float, float, int, bool]]:
    """(start, end, tick, whether chosen) of every stretch in which a level keeps its tick, the chosen level last."""
    moved = pl.col("level_id").ne_missing(pl.col("level_id").shift()) | pl.col("level_tick").ne_missing(pl.col("level_tick").shift())
    runs = (
        scene.levels.group_by(moved.cum_sum().alias("run"), maintain_order=True)
        .agg(pl.col("level_id", "start_ts_ns", "level_tick").first(), pl.col("end_ts_ns").last())
        .sort(pl.col("level_id") == scene.level_id, maintain_order=True)
    )
    return [
        (x_of(a, scene), x_of(b, scene), k, i == scene.level_id)
        for i, a, b, k in runs.select("level_id", "start_ts_ns", "end_ts_ns", "level_tick").iter_rows()
    ]


def best_prices(scene: Scene) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Edges of the windows, and the best bid and ask at each window's end; NaN where a side is empty or the book not valid.

    The last value stands twice, so that a step drawn from edge to edge ends with its window.
    """
    w = scene.features.window_s
    at = scene.tape.gather_every(w, offset=w - 1)
    ok = scene.cube["book_valid"].to_numpy().astype(bool)
    edges = np.append(scene.cube["window_start_ts_ns"].to_numpy(), scene.span_ns[1])
    out = {}
    for side in ("bid", "ask"):
        tick = at[f"best_{side}_tick"].cast(pl.Int64).fill_null(NO_TICK).to_numpy()
        best = np.where(ok & (tick != NO_TICK), tick.astype(float), np.nan)
        out[side] = np.append(best, best[-1])
    return np.asarray(axes.x_ms(edges, scene.now_ns)), out


def invalid_stretches(scene: Scene) -> list[tuple[float, float]]:
    """Stretches of the heatmap in which the book is not valid."""
    begin, end = (scene.cube[f"window_{e}_ts_ns"].to_numpy() for e in ("start", "end"))
    spans = heatmap.invalid_spans(scene.cube["book_valid"].to_numpy())
    return [(x_of(int(begin[a]), scene), x_of(int(end[b - 1]), scene)) for a, b in spans]


def condition_cells(scene: Scene, direction: str) -> tuple[np.ndarray, np.ndarray]:
    """Cells of a direction's strip and its count.

    Returns
    -------
    cells : ndarray of uint8, shape (4, windows)
        0 not known, 1 shut, 2 open; row 0 is condition 4, the lowest of the strip.
    count : ndarray of float, shape (windows,)
        How many are open, 0 where it is not known.
    """
    start = scene.cube["window_start_ts_ns"].to_numpy()
    full = pl.DataFrame({"window_start_ts_ns": start}).join(scene.vacuum, on="window_start_ts_ns", how="left")
    cells = full.select(pl.col(f"{direction}_{i}").cast(pl.UInt8).add(1).fill_null(0) for i in (4, 3, 2, 1)).to_numpy().T
    return np.ascontiguousarray(cells, dtype=np.uint8), full[f"{direction}_open"].cast(pl.Float64).fill_null(0).to_numpy()


# ----------------------------------------------------------------------------
# A scene from the lake: which contract a root means, whether the orders are simulated, and the four partitions read

"""Stands in the name of every raw file that `spymaster simulate` writes."""


def contract_of(lake: Lake, symbol: str | None, date: dt.date) -> str:
    """The contract that `symbol` (a contract, a root, or none) means on a session date.

    Raises
    ------
    SessionError
        Where there is none, or more than one and no selection map says which.
    """
    if symbol is not None and symbol not in ROOTS:
        return symbol
    there = [s for s, d in lake.partitions(LADDER) if d == date and (symbol is None or s.startswith(symbol)) and lake.has(LADDER, s, d)]
    if len(there) == 1:
        return there[0]
    if not there:
        known = sorted({d.isoformat() for _, d in lake.partitions(LADDER)})
        found = f"sessions {', '.join(known[-5:])}" if known else "no session at all"
        raise SessionError(
            f"lake {lake.root}: expected a ladder of {symbol or 'any contract'} on {date}, found {found}; "
            f"`spymaster run --lake {lake.root} --symbol {symbol or 'ES'} --dates {date}` makes one"
        )
    if symbol is None:
        raise SessionError(f"lake {lake.root}: {date} has ladders of {', '.join(there)}; say which with --symbol")
    chosen, left = route(lake, symbol, [date])
    if not chosen:
        raise SessionError(f"--symbol {symbol} on {date}: {left.get(date, 'not selected')}; name a contract such as {there[0]}")
    return chosen[0][0]


def profile_of(lake: Lake) -> str:
    """Session profile of the lake's silver.

    Raises
    ------
    UnknownProfile
        Where it has none yet.
    """
    profile = lake.profile()
    if profile is None:
        raise UnknownProfile(f"lake {lake.root}: expected silver of a session profile, found none; `spymaster run` makes it")
    return profile


def scene_of(
    lake: Lake,
    symbol: str,
    date: dt.date,
    *,
    level_id: str,
    ts_ns: int,
    features: FeatureParams | None = None,
    picture: PictureParams | None = None,
) -> Scene:
    """The scene of a moment, read from the lake.

    Raises
    ------
    PartitionMissing
        Where ladder, tape, bars or levels are not there, with the command that makes them.
    UnknownLevel, SessionError
        As `make_scene`.
    """
    ladder = Ladder.open(lake, symbol, date)
    levels, bars = (lake.read(key, symbol, date) for key in (LEVELS, BARS))
    return make_scene(
        ladder, levels, bars, level_id=level_id, ts_ns=ts_ns, features=features, picture=picture,
        simulated=lake.is_simulated(LADDER, symbol, date), absent=dict(lake.notes(LEVELS, symbol, date).get("absent", {})),
    )  # fmt: skip
