"""Gold: a session's triggers with outcomes and vectors; then their signals, from earlier sessions, and the pressure stream."""

from __future__ import annotations

from engine.lake.catalog import BRONZE_MBO, LADDER, LEVELS, SIGNALS, STREAM, TAPE, TRIGGERS, VACUUM
from engine.sessions import SessionWindows, utc_dates
from engine.stages.base import Output, Ref, RunParams, Stage, StageInputs, StageIO
from engine.vocab import root_of

VECTOR_FAMILIES = ("vacuum_down", "vacuum_up", "tape")
"""Families of features that a vector can be made of."""


def _trigger_refs(w: SessionWindows, params: RunParams) -> tuple[Ref, ...]:
    silver = (Ref(LADDER, w.date), Ref(TAPE, w.date), Ref(LEVELS, w.date))
    first, *rest = utc_dates(w.ladder_start_ns, w.ladder_end_ns)
    return (*silver, Ref(BRONZE_MBO, first), *(Ref(BRONZE_MBO, d, required=False) for d in rest))


def make_triggers(inputs: StageInputs) -> dict[str, Output]:
    """Triggers of all levels with outcomes and vectors."""
    from engine.bars import BRONZE_TRADE_COLUMNS, is_trade, trade_rows
    from engine.features.events import data_end_ns, file_span, with_vectors
    from engine.ladder import Ladder
    from engine.setups import session_triggers

    w, p = inputs.windows, inputs.params
    ladder = Ladder.from_frames(inputs.frame(LADDER), inputs.frame(TAPE), symbol=inputs.symbol, date=w.date)
    days = inputs.present(BRONZE_MBO)
    parts = (part for d in days for part in inputs.parts(BRONZE_MBO, d, BRONZE_TRADE_COLUMNS, is_trade()))
    spans = [file_span(inputs.notes(BRONZE_MBO, d), d) for d in days]
    triggers = session_triggers(
        ladder,
        inputs.frame(LEVELS),
        trade_rows(parts, root_of(inputs.symbol)),
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


def make_signals(inputs: StageInputs) -> dict[str, Output]:
    """Forecasts of the session's triggers from the sessions before it, and which of them fire."""
    import polars as pl

    from engine.retrieval.alike import same_knobs
    from engine.retrieval.events import events_from_frame
    from engine.retrieval.fire import fire_flags
    from engine.retrieval.forecast import forecast_frame
    from engine.retrieval.gold import MIRROR, groups_of, names_of, read_triggers, until_decided
    from engine.stages.signals import session_signals

    p = inputs.params
    own = (inputs.symbol, inputs.windows.date)
    same_knobs(inputs.lake, [*inputs.earlier, own])
    triggers = until_decided(inputs.lake, *own, inputs.frame(TRIGGERS))
    earlier = [read_triggers(inputs.lake, inputs.earlier, p.retrieval.kinds)] if inputs.earlier else []
    history = pl.concat([triggers.clear(), *earlier])

    def forecast(past: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        made = []
        for group in groups_of(p.gold.representation):
            mine = pl.lit(True) if group == MIRROR else pl.col("approach") == group
            names = names_of(p.gold.representation, group)
            known, asked = (events_from_frame(f.filter(mine), names) for f in (past, queries))
            made.append(forecast_frame(known, asked, p.retrieval))
        return pl.concat(made)

    signals = session_signals(history, triggers, forecast, lambda seen: fire_flags(seen, p.fire, window_s=p.features.window_s))
    return {SIGNALS: Output(signals, {"fires": int(signals["fire_flag"].sum()), "history_sessions": len(inputs.earlier)})}


def make_stream(inputs: StageInputs) -> dict[str, Output]:
    """Pressure and state of every level's windows."""
    from engine.features.stream import KEYS, pressure_stream, stream_features
    from engine.stages.signals import window_signals

    windows = inputs.frame(VACUUM, (*KEYS, *stream_features()))
    return {STREAM: Output(pressure_stream(windows, window_signals(inputs.frame(SIGNALS)), inputs.params.stream))}


TRIGGER_STAGES: tuple[Stage, ...] = (
    Stage(
        name="triggers",
        io=StageIO((BRONZE_MBO, LADDER, TAPE, LEVELS), (TRIGGERS,)),
        knobs=("features", "approach", "setups", "gold"),
        refs=_trigger_refs,
        run=make_triggers,
        entries=lambda values: {"_FEATURES.name": None, "_FEATURES.family": VECTOR_FAMILIES},
    ),
)

SIGNAL_STAGES: tuple[Stage, ...] = (
    Stage(
        name="signals",
        io=StageIO((TRIGGERS,), (SIGNALS,)),
        knobs=("features", "gold", "retrieval", "fire"),
        refs=lambda w, params: (Ref(TRIGGERS, w.date),),
        run=make_signals,
        packages=("scikit-learn", "faiss-cpu"),
        history=TRIGGERS,
    ),
    Stage(
        name="stream",
        io=StageIO((VACUUM, SIGNALS), (STREAM,)),
        knobs=("stream",),
        refs=lambda w, params: (Ref(VACUUM, w.date), Ref(SIGNALS, w.date)),
        run=make_stream,
    ),
)
