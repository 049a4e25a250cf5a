"""Pressure at a price: who pushes which way, per price row and window (features.md section 7)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.errors import ContractError
from engine.features.registry import feature
from engine.ladder import known_cells
from engine.params import StreamParams
from engine.vocab import NS, Approach, State

if TYPE_CHECKING:
    import xarray as xr

    from engine.ladder import Ladder

_ROW = {"family": "pressure", "unit": "contracts"}


@feature("long", formula="bid_add + ask_pull + ask_fill", range="[0, inf)", meaning="Flow that pushes price up", **_ROW)
def long(cube: Any) -> Any:
    """Flow that pushes up."""
    return cube["bid_add"] + cube["ask_pull"] + cube["ask_fill"]


@feature("short", formula="ask_add + bid_pull + bid_fill", range="[0, inf)", meaning="Flow that pushes price down", **_ROW)
def short(cube: Any) -> Any:
    """Flow that pushes down."""
    return cube["ask_add"] + cube["bid_pull"] + cube["bid_fill"]


@feature(
    "net", family="pressure", formula="(long - short) / (long + short + 1)", unit="share", range="(-1, 1)",
    meaning="Which way flow pushes, on balance",
)  # fmt: skip
def net(cube: Any) -> Any:
    """Balance of long and short flow."""
    return (cube["long"] - cube["short"]) / (cube["long"] + cube["short"] + 1)


@feature("bid_change", formula="bid_depth - bid_depth_start", range="(-inf, inf)", meaning="Change of the resting bids", **_ROW)
def bid_change(cube: Any) -> Any:
    """Change of resting bids over the window."""
    return cube["bid_depth"] - cube["bid_depth_start"]


@feature("ask_change", formula="ask_depth - ask_depth_start", range="(-inf, inf)", meaning="Change of the resting asks", **_ROW)
def ask_change(cube: Any) -> Any:
    """Change of resting asks over the window."""
    return cube["ask_depth"] - cube["ask_depth_start"]


def pressure(cube: xr.Dataset, half_life_s: float = 0.0) -> xr.Dataset:
    """`cube` (`engine.ladder.Ladder.cube`) with float64 ``long, short`` (contracts), ``net, bid_change, ask_change`` beside its variables.

    With `half_life_s` above 0, `long` and `short` are sums over the cube's windows so far, each weighted by ``2 ** (-age / half_life_s)``;
    flow before the cube's first window does not count. NaN where the book is not known (`engine.ladder.known_cells`): a clear or a snapshot
    yields no features, and its flows enter no decayed sum. Raises ContractError on a half-life below 0.
    """
    if half_life_s < 0:
        raise ContractError(f"pressure: expected half_life_s >= 0, found {half_life_s}")
    known = known_cells(cube)
    data = {name: cube[name].to_numpy() for name in _INPUTS}
    for name, function in (("long", long), ("short", short)):
        flow = np.where(known, function(data), 0).astype(np.float64)
        data[name] = _decayed(flow, 0.5 ** (cube.attrs["window_s"] / half_life_s)) if half_life_s > 0 else flow
    for name, function in (("net", net), ("bid_change", bid_change), ("ask_change", ask_change)):
        data[name] = function(data)
    out = {name: (("window", "tick"), np.where(known, data[name], np.nan)) for name in _OUTPUTS}
    return cube.assign(out)


LEAD_HALF_LIVES = 6
"""Flow this many half-lives old counts 1/64 of what it was; older flow is left out of a decayed sum."""


def pressure_cube(
    ladder: Ladder, start_ns: int, end_ns: int, tick_low: int, tick_high: int, *, window_s: int = 1, step_ticks: int = 1,
    half_life_s: float = 0.0,
) -> xr.Dataset:  # fmt: skip
    """A slice of `ladder` with `pressure`, its decayed sums begun `LEAD_HALF_LIVES` before it (or where the session begins).
    So a window's pressure hardly depends on where the slice starts: what is missing of a decayed sum is less than 1/64 of what it was
    before the lead. Arguments and errors are those of `engine.ladder.Ladder.cube` and `pressure`.
    """
    lead_ns = math.ceil(LEAD_HALF_LIVES * half_life_s / window_s) * window_s * NS if half_life_s > 0 else 0
    first, _ = ladder.windows(window_s, start_ns, end_ns)
    cube = pressure(ladder.cube(start_ns - lead_ns, end_ns, tick_low, tick_high, window_s=window_s, step_ticks=step_ticks), half_life_s)
    begin = int(np.searchsorted(cube["window_start_ts_ns"].to_numpy(), ladder.start_ns + first * NS))
    return cube.isel(window=slice(begin, None)) if begin else cube


_INPUTS = (
    "bid_add", "ask_add", "bid_pull", "ask_pull", "bid_fill", "ask_fill", "bid_depth", "ask_depth", "bid_depth_start", "ask_depth_start",
)  # fmt: skip

_OUTPUTS = ("long", "short", "net", "bid_change", "ask_change")


def _decayed(flow: np.ndarray, keep: float) -> np.ndarray:
    out = flow.copy()
    for w in range(1, len(out)):
        out[w] += keep * out[w - 1]
    return out


# ----------------------------------------------------------------------------
# The pressure stream: per level and window, pressure on both sides as scores in [0, 1] (features.md section 9)

SIDES = ("above", "below")
PARTS = ("retreat", "flow", "localisation", "shock")

KEYS = ("window_start_ts_ns", "window_end_ts_ns", "level_id", "level_tick", "distance_ticks", "approach")
"""Columns that the stream takes from the table of a level's windows."""


@dataclass(frozen=True)
class Side:
    """What the four parts of one side's score are made of; shock is the second difference of `flow`."""

    retreat: str
    flow: str
    localisation: str
    centre: float


FROM_BELOW = {
    "above": Side("u1_ask_com_disp_log", "u5_ask_pull_add_log_rest", "u7_ask_near_pull_share_rest", 0.5),
    "below": Side("u8_bid_com_approach_log", "u12_bid_add_pull_log_rest", "u10_bid_near_share_rise", 0.0),
}

FROM_ABOVE = {
    "above": Side("f1_ask_com_disp_log", "f2_ask_pull_add_log_rest", "f2_ask_near_pull_share_rest", 0.5),
    "below": Side("f3_bid_com_disp_log", "f4_bid_pull_add_log_rest", "f4_bid_near_pull_share_rest", 0.5),
}
"""By the side on which price is."""


def stream_features() -> tuple[str, ...]:
    """Features that the stream reads."""
    sides = [*FROM_BELOW.values(), *FROM_ABOVE.values()]
    return tuple(dict.fromkeys(name for s in sides for name in (s.retreat, s.flow, s.localisation)))


def _s(x: pl.Expr) -> pl.Expr:
    return 1 / (1 + (-x).exp())


def _shock(name: str) -> pl.Expr:
    """Second difference over consecutive windows of a level: null after a gap, 0 where it reaches before the level's first window."""
    length = pl.col("window_end_ts_ns") - pl.col("window_start_ts_ns")
    back = pl.col("window_start_ts_ns") - pl.col("window_start_ts_ns").shift(2).over("level_id")
    x = pl.col(name)
    difference = x - 2 * x.shift(1).over("level_id") + x.shift(2).over("level_id")
    return pl.when(back.is_null()).then(x * 0.0).when(back == 2 * length).then(difference)


def _part(part: str, side: Side) -> pl.Expr:
    if part == "shock":
        return _s(_shock(side.flow))
    return _s(pl.col(getattr(side, part)) - (side.centre if part == "localisation" else 0.0))


def pressure_stream(windows: pl.DataFrame, signals: pl.DataFrame, params: StreamParams | None = None) -> pl.DataFrame:
    """Pressure above and below each level, window by window, and the state of each; in time order, then by level.

    windows: `KEYS` and `stream_features` of the table ``mbo_level_vacuum_5s``
    signals: one row per (level, window) at most: ``level_id, window_end_ts_ns, fire_flag, margin`` and other columns for the result
    Returns `KEYS`; per side ``{side}_retreat, _flow, _localisation, _shock, _score``; ``vacuum_score``; the columns of `signals`;
    ``fire_flag`` (false where there is no signal) and ``state``. Scores are null where the book is not valid or price is at the level,
    where there is no side to come from.
    """
    p = params or StreamParams()
    below, above = pl.col("distance_ticks") < 0, pl.col("distance_ticks") > 0
    parts = [
        pl.when(below).then(_part(part, FROM_BELOW[side])).when(above).then(_part(part, FROM_ABOVE[side])).alias(f"{side}_{part}")
        for side in SIDES
        for part in PARTS
    ]
    scores = [(pl.sum_horizontal([f"{s}_{part}" for part in PARTS], ignore_nulls=False) / 4).alias(f"{s}_score") for s in SIDES]
    extra = [c for c in signals.columns if c not in KEYS]
    scored = (
        windows.sort("level_id", "window_start_ts_ns")
        .with_columns(parts)
        .with_columns(scores)
        .with_columns(((pl.col("above_score") + pl.col("below_score")) / 2).alias("vacuum_score"))
        .join(signals.select("level_id", "window_end_ts_ns", *extra), on=["level_id", "window_end_ts_ns"], how="left")
        .with_columns(pl.col("fire_flag").fill_null(False))
    )
    vacuum = pl.col("vacuum_score")
    state = (
        pl.when(pl.col("approach") == Approach.NONE.value)
        .then(pl.lit(State.IDLE.value))
        .when(pl.col("fire_flag"))
        .then(pl.lit(State.FIRE.value))
        .when((vacuum >= p.armed_score) & (pl.col("margin") >= p.armed_margin))
        .then(pl.lit(State.ARMED.value))
        .when(vacuum >= p.watch_score)
        .then(pl.lit(State.WATCH.value))
        .otherwise(pl.lit(State.TRACK.value))
        .alias("state")
    )
    named = [f"{side}_{part}" for side in SIDES for part in (*PARTS, "score")]
    rest = [c for c in extra if c not in ("fire_flag", "signal")]
    last = [c for c in ("fire_flag", "signal") if c in scored.columns]
    return scored.with_columns(state).select(*KEYS, *named, "vacuum_score", *rest, *last, "state").sort("window_start_ts_ns", "level_id")
