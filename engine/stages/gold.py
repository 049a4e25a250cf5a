"""Gold stages: triggers with outcomes and vectors; their wall features; signals (forecasts from earlier sessions); the pressure stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.lake.catalog import BRONZE_MBO, LADDER, LEVELS, SIGNALS, STREAM, TAPE, TRIGGERS, VACUUM, WALLS
from engine.stages.base import Output, Ref, Stage, StageInputs, StageIO
from engine.stages.silver import ladder_refs, trades_of
from engine.vocab import Approach, Outcome, TriggerKind, root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.retrieval.model import Fits

VECTOR_FAMILIES = ("vacuum_down", "vacuum_up", "tape")
"""Families of features in vectors."""


def make_triggers(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``triggers``: triggers of all levels with outcomes and vectors."""
    from engine.features.events import data_end_ns, file_span, with_vectors
    from engine.ladder import Ladder
    from engine.setups import session_triggers

    w, p = inputs.windows, inputs.params
    ladder = Ladder.from_frames(inputs.frame(LADDER), inputs.frame(TAPE), symbol=inputs.symbol, date=w.date)
    days = inputs.present(BRONZE_MBO)
    spans = [file_span(inputs.notes(BRONZE_MBO, d), d) for d in days]
    triggers = session_triggers(
        ladder,
        inputs.frame(LEVELS),
        trades_of(inputs, days),
        p.setups,
        kinds=p.gold.kinds,
        approach=p.approach,
        window_s=p.features.window_s,
        trading_start_ns=w.trading_start_ns,
        data_end_ns=data_end_ns(spans, ladder.start_ns, ladder.end_ns),
    )
    frame = with_vectors(ladder, triggers, p.gold.representation, p.features)
    without = frame["vector"].null_count()
    return {TRIGGERS: Output(frame, {"without_vector": without, "by_kind": dict(sorted(frame["kind"].value_counts().iter_rows()))})}


def make_walls(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``walls``: the wall features of every trigger."""
    from engine.features.wall_table import wall_table
    from engine.ladder import Ladder

    ladder = Ladder.from_frames(inputs.frame(LADDER), inputs.frame(TAPE), symbol=inputs.symbol, date=inputs.windows.date)
    triggers = inputs.frame(TRIGGERS, ("trigger_id", "window_end_ts_ns", "level_tick", "approach"))
    return {WALLS: Output(wall_table(ladder, triggers, inputs.params.features))}


def make_signals(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``signals``: forecasts of the session's triggers from earlier sessions, and which of them fire."""
    import polars as pl

    from engine.retrieval.dataset import MIRROR, groups_of, names_of, read_triggers, require_same_params, with_decided_until, with_walls
    from engine.retrieval.events import events_from_frame
    from engine.retrieval.forecast import apply_signal_rule, forecast_frame, forecast_table
    from engine.retrieval.kept import as_days, before_session, kept_fits
    from engine.retrieval.model import forecast as forecast_by

    p = inputs.params
    own = (inputs.symbol, inputs.windows.date)
    require_same_params(inputs.lake, [*inputs.earlier, own])
    triggers = with_decided_until(inputs.lake, *own, with_walls(inputs.frame(TRIGGERS), inputs.frame(WALLS)))
    groups = groups_of(p.gold.representation)
    fits: dict[str, Fits | None] = dict.fromkeys(groups)
    before = before_session(inputs.earlier, own[1], p.retrieval.embargo_sessions)
    if p.retrieval.pool == "all":
        fits = {g: kept_fits(inputs.lake, root_of(inputs.symbol).code, g, before, p.retrieval) for g in groups}
    # Of the embargoed sessions nothing is read: whether they have wall features is no matter of this session's.
    fresh = before and any(kept is None for kept in fits.values())
    earlier = [read_triggers(inputs.lake, before, p.retrieval.kinds)] if fresh else []
    history = pl.concat([triggers.clear(), *earlier], how="diagonal")

    def forecast(past: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        made = []
        for group, kept in fits.items():
            mine = pl.lit(True) if group == MIRROR else pl.col("approach") == group
            names = names_of(p.gold.representation, group)
            known, asked = (events_from_frame(f.filter(mine), names) for f in (past, queries))
            if kept is None or not len(asked):
                made.append(forecast_frame(known, asked, p.retrieval, days=as_days(inputs.earlier)))
            else:
                made.append(forecast_table(kept[0], forecast_by(kept[0], asked), asked, kept[1]))
        return pl.concat(made)

    signals = session_signals(history, triggers, forecast, lambda seen: apply_signal_rule(seen, p.fire, window_s=p.features.window_s))
    return {SIGNALS: Output(signals, {"fires": int(signals["fire_flag"].sum()), "history_sessions": len(inputs.earlier)})}


def make_stream(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``stream``: pressure and state in every window of every level."""
    from engine.features.pressure import KEYS, pressure_stream, stream_features

    windows = inputs.frame(VACUUM, (*KEYS, *stream_features()))
    return {STREAM: Output(pressure_stream(windows, window_signals(inputs.frame(SIGNALS)), inputs.params.stream))}


TRIGGER_STAGES: tuple[Stage, ...] = (
    Stage(
        name="triggers",
        io=StageIO((BRONZE_MBO, LADDER, TAPE, LEVELS), (TRIGGERS,)),
        param_groups=("features", "approach", "setups", "gold"),
        refs=lambda w, params: (Ref(LADDER, w.date), Ref(TAPE, w.date), Ref(LEVELS, w.date), *ladder_refs(w, params)),
        run=make_triggers,
        entries=lambda values: {"_FEATURES.name": None, "_FEATURES.family": VECTOR_FAMILIES},
    ),
    Stage(
        name="walls",
        io=StageIO((LADDER, TAPE, TRIGGERS), (WALLS,)),
        param_groups=("features",),
        refs=lambda w, params: (Ref(LADDER, w.date), Ref(TAPE, w.date), Ref(TRIGGERS, w.date)),
        run=make_walls,
        entries=lambda values: {"_FEATURES.name": None, "_FEATURES.family": ("wall",)},
    ),
)

SIGNAL_STAGES: tuple[Stage, ...] = (
    Stage(
        name="signals",
        io=StageIO((TRIGGERS, WALLS), (SIGNALS,)),
        param_groups=("features", "gold", "retrieval", "fire"),
        refs=lambda w, params: (Ref(TRIGGERS, w.date), Ref(WALLS, w.date)),
        run=make_signals,
        packages=("scikit-learn", "faiss-cpu"),
        history=(TRIGGERS, WALLS),
    ),
    Stage(
        name="stream",
        io=StageIO((VACUUM, SIGNALS), (STREAM,)),
        param_groups=("stream",),
        refs=lambda w, params: (Ref(VACUUM, w.date), Ref(SIGNALS, w.date)),
        run=make_stream,
    ),
)


# ----------------------------------------------------------------------------
# Signals: the forecast of each trigger from earlier sessions, as a pure function

KEYS = (
    "trigger_id", "episode_id", "level_id", "approach", "kind", "window_start_ts_ns", "window_end_ts_ns", "level_tick",
    "distance_ticks",
)  # fmt: skip
"""Columns that a signal takes from its trigger."""

NOT_IN_STREAM = (
    "trigger_id", "kind", "reason", "neighbours", "best_similarity", "excursion_ahead_q50_ticks", "excursion_behind_q50_ticks",
    *(f"{side}_{c}" for side in ("low", "high", "edge_low", "edge_high") for c in ("reject", "chop", "break")),
)  # fmt: skip
"""Columns of a signal that are not in the pressure stream."""

SIGNAL_OUTCOME = {
    f"break/{Approach.UP}": Outcome.BREAK_UP.value,
    f"reject/{Approach.UP}": Outcome.REJECT_DOWN.value,
    f"break/{Approach.DOWN}": Outcome.BREAK_DOWN.value,
    f"reject/{Approach.DOWN}": Outcome.REJECT_UP.value,
}

Forecast = Callable[["pl.DataFrame", "pl.DataFrame"], "pl.DataFrame"]
"""History and queries (rows of ``mbo_trigger_vectors``) to one row per query with its ``trigger_id``."""

Fire = Callable[["pl.DataFrame"], "pl.Series"]
"""Signals of a session to their fire flags."""


def session_signals(history: pl.DataFrame, triggers: pl.DataFrame, forecast: Forecast, fire: Fire) -> pl.DataFrame:
    """Forecast and fire flag of every trigger of a session, in their order: `KEYS`, the forecast's columns, ``fire_flag``, ``signal``.
    `fire` gets only the `window` triggers, so that each window counts once (all triggers where there are none); other triggers take the
    flag of the same window and episode.
    """
    import polars as pl

    made = forecast(history, triggers)
    signals = triggers.select(KEYS).join(made, on="trigger_id", how="left", validate="1:1", maintain_order="left")
    windows = signals.filter(pl.col("kind") == TriggerKind.WINDOW.value)
    seen = windows if windows.height else signals
    flags = seen.select("episode_id", "window_end_ts_ns").with_columns(fire(seen).alias("fire_flag"))
    flags = flags.group_by("episode_id", "window_end_ts_ns").agg(pl.col("fire_flag").any())
    says = pl.concat_str("c_top1", pl.lit("/"), "approach").replace_strict(SIGNAL_OUTCOME, default=None)
    return signals.join(flags, on=["episode_id", "window_end_ts_ns"], how="left", maintain_order="left").with_columns(
        pl.col("fire_flag").fill_null(False), pl.when(pl.col("fire_flag")).then(says).cast(pl.String).alias("signal")
    )


def window_signals(signals: pl.DataFrame) -> pl.DataFrame:
    """The signals of `window` triggers without `NOT_IN_STREAM`: at most one per level and window."""
    import polars as pl

    return signals.filter(pl.col("kind") == TriggerKind.WINDOW.value).drop(NOT_IN_STREAM)
