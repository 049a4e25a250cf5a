"""The pressure stream: per level and window, pressure on both sides as scores in [0, 1] (features.md section 9)."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from engine.params import StreamParams
from engine.vocab import Approach, State

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
"""By the side on which price stands."""


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
    """Pressure above and below each level, window by window, and the state of each.

    Parameters
    ----------
    windows : pl.DataFrame
        `KEYS` and `stream_features` of the table ``mbo_level_vacuum_5s``.
    signals : pl.DataFrame
        One row per (level, window) at most: ``level_id, window_end_ts_ns, fire_flag, margin`` and whatever else is to stand
        beside the scores.
    params : StreamParams

    Returns
    -------
    pl.DataFrame
        `KEYS`; per side ``{side}_retreat, _flow, _localisation, _shock, _score``; ``vacuum_score``; the columns of
        `signals`; ``fire_flag`` (false where there is no signal) and ``state``; in time order, then by level. Scores are null
        where the book is not valid or price stands at the level, where there is no side to come from.
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
