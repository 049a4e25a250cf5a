"""Signals: the forecast of each trigger from the sessions before, as a pure function of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.vocab import Approach, Outcome, TriggerKind

if TYPE_CHECKING:
    import polars as pl

KEYS = (
    "trigger_id", "episode_id", "level_id", "approach", "kind", "window_start_ts_ns", "window_end_ts_ns", "level_tick",
    "distance_ticks",
)  # fmt: skip
"""Columns that a signal takes from its trigger."""

NOT_IN_STREAM = (
    "trigger_id", "kind", "reason", "neighbours", "best_similarity", "excursion_ahead_q50_ticks", "excursion_behind_q50_ticks",
)  # fmt: skip
"""Columns of a signal that do not stand in the pressure stream."""

SAYS = {
    ("break", Approach.UP.value): Outcome.BREAK_UP.value,
    ("reject", Approach.UP.value): Outcome.REJECT_DOWN.value,
    ("break", Approach.DOWN.value): Outcome.BREAK_DOWN.value,
    ("reject", Approach.DOWN.value): Outcome.REJECT_UP.value,
}

Forecast = Callable[["pl.DataFrame", "pl.DataFrame"], "pl.DataFrame"]
"""History and queries (rows of ``mbo_trigger_vectors``) to one row per query with its ``trigger_id``."""

Fire = Callable[["pl.DataFrame"], "pl.Series"]
"""Signals of a session to which of them fire."""


def session_signals(history: pl.DataFrame, triggers: pl.DataFrame, forecast: Forecast, fire: Fire) -> pl.DataFrame:
    """Forecast and fire flag of every trigger of a session.

    Parameters
    ----------
    history : pl.DataFrame
        Triggers of earlier sessions.
    triggers : pl.DataFrame
        The session's.
    forecast, fire
        How a forecast is made of both, and which signals fire. The fire rule sees the `window` triggers alone, each window
        once; where a table has none, it sees all. Another trigger at the same window of the same episode has its flag.

    Returns
    -------
    pl.DataFrame
        `KEYS`, the forecast's columns, ``fire_flag``, ``signal``; in the order of `triggers`.
    """
    import polars as pl

    made = forecast(history, triggers)
    signals = triggers.select(KEYS).join(made, on="trigger_id", how="left", validate="1:1", maintain_order="left")
    windows = signals.filter(pl.col("kind") == TriggerKind.WINDOW.value)
    seen = windows if windows.height else signals
    flags = seen.select("episode_id", "window_end_ts_ns").with_columns(fire(seen).alias("fire_flag"))
    flags = flags.group_by("episode_id", "window_end_ts_ns").agg(pl.col("fire_flag").any())
    says = pl.concat_str("c_top1", pl.lit("/"), "approach").replace_strict({f"{c}/{a}": o for (c, a), o in SAYS.items()}, default=None)
    return signals.join(flags, on=["episode_id", "window_end_ts_ns"], how="left", maintain_order="left").with_columns(
        pl.col("fire_flag").fill_null(False), pl.when(pl.col("fire_flag")).then(says).cast(pl.String).alias("signal")
    )


def window_signals(signals: pl.DataFrame) -> pl.DataFrame:
    """The signals of `window` triggers without what the stream leaves out: one per level and window at most."""
    import polars as pl

    return signals.filter(pl.col("kind") == TriggerKind.WINDOW.value).drop(NOT_IN_STREAM)
