"""Silver stages: ladder and tape, bars, levels, the features at the levels, and what single orders did."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from engine.errors import NoData
from engine.lake.catalog import BARS, BRONZE_MBO, LADDER, LEVELS, OPTION_LEVELS, ORDER_EVENTS, TAPE, VACUUM
from engine.params import RunParams
from engine.sessions import SessionWindows, clock_text, closed_span, previous_full_rth, span_text, utc_dates, utc_day
from engine.stages import options
from engine.stages.base import Output, Ref, Stage, StageInputs, StageIO
from engine.vocab import root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.manifest import Manifest
    from engine.levels import Gap
    from engine.mbo.dbn import MboColumns
    from engine.mbo.orders import OrderReplay
    from engine.mbo.replay import LadderReplay, ReplayedContract
    from engine.mbo.trust import Span

# Columns that the replay reads.
REPLAY_COLUMNS = ("ts_event", "ts_recv", "order_id", "price", "size", "flags", "action", "side")
THE_CONTRACT = 1

TABLE_FAMILIES = ("vacuum_down", "vacuum_up", "tape", "condition")
"""Families of features in the table of windows (`engine.features.registry.table_features`)."""


def ladder_refs(w: SessionWindows, params: RunParams) -> tuple[Ref, ...]:
    """Bronze of the ladder's span: the first file builds the book and is required, a missing later one only leaves its seconds invalid."""
    first, *rest = utc_dates(w.ladder_start_ns, w.ladder_end_ns)
    return (Ref(BRONZE_MBO, first), *(Ref(BRONZE_MBO, d, required=False) for d in rest))


def _globex_refs(w: SessionWindows, params: RunParams) -> tuple[Ref, ...]:
    needed = {r.date for r in ladder_refs(w, params) if r.required}
    return tuple(Ref(BRONZE_MBO, d, d in needed) for d in utc_dates(w.globex_start_ns, w.ladder_end_ns))


def _level_refs(w: SessionWindows, params: RunParams) -> tuple[Ref, ...]:
    refs = _globex_refs(w, params)
    known = {r.date for r in refs}
    _, start, end = previous_full_rth(w, params.levels.sessions_back)
    before = (Ref(BRONZE_MBO, d, required=False) for d in utc_dates(start, end) if d not in known)
    return (*refs, *before, Ref(BARS, w.date), Ref(OPTION_LEVELS, w.date, required=False))


def _mbo_columns(frame: pl.DataFrame) -> MboColumns:
    import numpy as np

    from engine.mbo.dbn import MboColumns

    n = frame.height
    # Not read by the replay; untouched zeros cost no memory.
    dtypes = (("publisher_id", "u2"), ("channel_id", "u1"), ("ts_in_delta", "i4"), ("sequence", "u4"))
    unread = {name: np.zeros(n, dtype) for name, dtype in dtypes}
    # A partition has one contract, whatever instrument id the venue gave it on that date.
    unread["instrument_id"] = np.full(n, THE_CONTRACT, np.uint32)
    read = {}
    for name in REPLAY_COLUMNS:
        column = frame.get_column(name)
        read[name] = (column.to_physical() if name in ("action", "side") else column).to_numpy()
    return MboColumns(**read, **unread)


MOST_GAPS = 8
"""Most spans of missing records that a replay is told of; where there are more, the last of them is told without being acted on."""


def make_ladder(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``ladder``: replay the records once, into the ladder and the tape; once more for every span of missing records, so
    that the book is forgotten there as at a file that starts without a snapshot.
    """
    days = inputs.present(BRONZE_MBO)
    notes = [inputs.notes(BRONZE_MBO, day) for day in days]
    made, _ = replayed_whole(inputs, days)
    missing = sorted(d.isoformat() for (k, d), m in inputs.manifests.items() if m is None)
    files = [
        {"date": d.isoformat(), "span": [n["dbn_start_ns"], n["dbn_end_ns"]], **{k: n[k] for k in FILE_FACTS if k in n}}
        for d, n in zip(days, notes)
    ]
    facts = {"stats": made.stats, "missing_days": missing, "trust": made.trust.record | {"files": files}}
    return {LADDER: Output(made.rows, facts), TAPE: Output(made.tape, facts)}


FILE_FACTS = ("limit", "condition")
"""Notes of bronze that a trust record repeats: the request's limit where it was reached, and the venue's condition on the date."""


def replayed_whole(inputs: StageInputs, days: list[dt.date]) -> tuple[ReplayedContract, tuple[Span, ...]]:
    """The session's ladder and tape, and the spans of missing records that its replay was told of.
    Raises NoData where the files hold no record of the session.
    """
    w = inputs.windows
    notes = [inputs.notes(BRONZE_MBO, day) for day in days]
    if all(n["dbn_end_ns"] <= w.ladder_start_ns or n["dbn_start_ns"] >= w.ladder_end_ns for n in notes):
        raise _nothing_in(inputs, days)
    lost: tuple[Span, ...] = ()
    while True:
        made = _replayed(inputs, days, lost)
        if not made.stats["records"] or not made.trust.record["records"]:
            raise _nothing_in(inputs, days)
        if made.trust.missing is None or len(lost) == MOST_GAPS:
            return made, lost
        lost = (*lost, made.trust.missing)


def _replayed(inputs: StageInputs, days: list[dt.date], lost: tuple[Span, ...]) -> ReplayedContract:
    from engine.mbo.replay import LadderReplay

    w, params = inputs.windows, inputs.params
    # A crossed book is normal before the venue opens, and an error after it.
    open_ns = max(w.ladder_start_ns, w.globex_start_ns)
    replay = LadderReplay(
        {THE_CONTRACT: inputs.symbol}, w.ladder_start_ns, w.ladder_end_ns, params.replay, open_ns=open_ns, trust=params.trust, lost=lost,
        closed=closed_span(w),
    )  # fmt: skip
    feed_records(replay, inputs, days)
    return replay.finish()[inputs.symbol]


def feed_records(replay: LadderReplay | OrderReplay, inputs: StageInputs, days: list[dt.date]) -> None:
    """Feed the records of `days` to a replay, file by file."""
    for day in days:
        spans = covered_spans(inputs.notes(BRONZE_MBO, day))
        replay.begin_file(spans[0][1], spans[0][0])
        for part, begun in by_span(inputs.parts(BRONZE_MBO, day, REPLAY_COLUMNS), spans):
            for start, end in begun:  # after a hole the book is unknown, as at the start of a file
                replay.begin_file(end, start)
            replay.feed(_mbo_columns(part))


def _nothing_in(inputs: StageInputs, days: list[dt.date]) -> NoData:
    """What the files cover and what the session needs."""
    w = inputs.windows
    spans = (inputs.notes(BRONZE_MBO, d) for d in days)
    covered = " and ".join(span_text(n["dbn_start_ns"], n["dbn_end_ns"], w.date) for n in spans)
    return NoData(
        f"{inputs.symbol} {w.date}: the session needs records from {span_text(w.ladder_start_ns, w.ladder_end_ns, w.date)}, "
        "and there is none: "
        f"its raw files cover {covered}; take another session (--session, --dates), or add a file that covers it and run "
        f"`{inputs.lake.repair_command(BRONZE_MBO, inputs.symbol, days[0], overwrite=True)}`"
    )


def ladder_differs(manifest: Manifest) -> bool:
    """Whether a ladder of accepted earlier code would have other rows now: one without a trust record where it had a book that was crossed
    or began unknown, or unknown orders; another where a file that begins where the one before ended had begun cold.
    """
    if "trust" in manifest.notes:
        trust = manifest.notes["trust"]
        spans = [f["span"] for f in trust.get("files", [])]
        return "cold_start" in trust.get("why_not", ()) and any(a[1] == b[0] for a, b in pairwise(spans))
    stats = manifest.notes.get("stats", {})
    files = sum(digest is not None for digest in manifest.lineage.inputs.values())
    unknown = stats.get("unknown_cancels", 1) + stats.get("unknown_modifies", 1) + stats.get("crossed_after_open", 1)
    return unknown > 0 or stats.get("clears", 0) < files


def covered_spans(notes: dict[str, Any]) -> list[tuple[int, int]]:
    """The spans ``[start, end)`` in ns that the raw files of a date cover, by the notes of its bronze; holes lie between them."""
    return [(a, b) for a, b in notes.get("spans") or [(notes["dbn_start_ns"], notes["dbn_end_ns"])]]


def by_span(parts: Iterable[pl.DataFrame], spans: list[tuple[int, int]]) -> Iterator[tuple[pl.DataFrame, list[tuple[int, int]]]]:
    """Yield the records of `parts`, cut where another of the covered `spans` begins, with the spans that begin before each."""
    import numpy as np

    starts, at = np.array([start for start, _ in spans], np.int64), 0
    for part in parts:
        if at == len(spans) - 1:
            yield part, []
            continue
        received = part.get_column("ts_recv").to_numpy()
        of = np.maximum.accumulate(np.maximum(np.searchsorted(starts, received, side="right") - 1, at))
        for k in np.unique(of).tolist():
            yield part.filter(of == k), spans[at + 1 : k + 1]
            at = k


def trades_of(inputs: StageInputs, days: list[dt.date]) -> pl.DataFrame:
    """``ts_event, tick, size, side`` (code) of the trades of `days`, in file order, without those off the tick grid."""
    from engine.bars import BRONZE_TRADE_COLUMNS, is_trade, trade_rows

    parts = (p for d in days for p in inputs.parts(BRONZE_MBO, d, BRONZE_TRADE_COLUMNS, is_trade()))
    return trade_rows(parts, root_of(inputs.symbol))


def days_in(inputs: StageInputs, start_ns: int, end_ns: int) -> list[dt.date]:
    """UTC dates of the span with bronze."""
    return [d for d in inputs.present(BRONZE_MBO) if d in utc_dates(start_ns, end_ns)]


def gaps_in(inputs: StageInputs, start_ns: int, end_ns: int) -> tuple[Gap, ...]:
    """Spans of ``[start_ns, end_ns)`` without data: dates without a file, and times outside a file's range."""
    from engine.levels import Gap

    gaps = []
    for day in utc_dates(start_ns, end_ns):
        first, last = utc_day(day)
        manifest = inputs.manifests.get((BRONZE_MBO, day))
        if manifest is None:
            gaps.append(Gap(first, last, f"no raw file of the UTC date {day} is in bronze for {inputs.symbol}"))
            continue
        spans = covered_spans(manifest.notes)
        begins, ends = spans[0][0], spans[-1][1]
        if begins > first:
            gaps.append(Gap(first, begins, f"the raw file of the UTC date {day} starts at {clock_text(begins)} New York"))
        for (_, before), (after, _) in pairwise(spans):
            gaps.append(Gap(before, after, f"no raw file of the UTC date {day} covers {span_text(before, after)}"))
        if ends < last:
            limit = manifest.notes.get("limit")
            by = f", where the request's limit of {limit:,} records was reached" if limit is not None else ""
            gaps.append(Gap(ends, last, f"the raw file of the UTC date {day} ends at {clock_text(ends)} New York{by}"))
    met = [g for g in gaps if g.start_ns < end_ns and start_ns < g.end_ns]
    return tuple(Gap(max(g.start_ns, start_ns), min(g.end_ns, end_ns), g.reason) for g in met)


def make_bars(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``bars``: two-minute bars of the Globex day."""
    from engine.bars import bars_2m

    w = inputs.windows
    trades = trades_of(inputs, days_in(inputs, w.globex_start_ns, w.ladder_end_ns))
    gaps = [[g.start_ns, g.end_ns, g.reason] for g in gaps_in(inputs, w.globex_start_ns, w.ladder_end_ns)]
    return {BARS: Output(bars_2m(trades, w.globex_start_ns, w.ladder_end_ns), {"gaps": gaps})}


def make_levels(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``levels``: levels as step functions; levels that cannot be known are absent, with the reason in the notes."""
    from engine.bars import trades_between
    from engine.levels import LevelInputs, build_levels

    w = inputs.windows
    trades = trades_of(inputs, days_in(inputs, w.globex_start_ns, w.ladder_end_ns))
    date, start, end = previous_full_rth(w, inputs.params.levels.sessions_back)
    lacking = gaps_in(inputs, start, end)
    before = None if lacking else trades_between(trades_of(inputs, days_in(inputs, start, end)), start, end)
    level_inputs = LevelInputs(
        windows=w,
        root=root_of(inputs.symbol),
        trades_session=trades,
        trades_pd=before,
        pd_reason=f"the previous RTH session is {date}: {lacking[0].reason}" if lacking else "",
        bars=inputs.frame(BARS),
        gaps=gaps_in(inputs, w.globex_start_ns, w.ladder_end_ns),
    )
    frame, absent = build_levels(level_inputs, inputs.params.levels)
    return {LEVELS: Output(frame, {"absent": absent})}


def make_vacuum(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``vacuum``: features and conditions in every window of every level."""
    from engine.features.windows import level_windows
    from engine.ladder import Ladder

    ladder = Ladder.from_frames(inputs.frame(LADDER), inputs.frame(TAPE), symbol=inputs.symbol, date=inputs.windows.date)
    return {VACUUM: Output(level_windows(ladder, inputs.frame(LEVELS), inputs.params.features, inputs.params.approach))}


def make_orders(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``orders``: what single orders did. Where records are missing all orders are forgotten, as the ladder's are."""
    from engine.mbo.orders import OrderReplay

    w = inputs.windows
    days = inputs.present(BRONZE_MBO)
    why_not = inputs.notes(TAPE, w.date).get("trust", {}).get("why_not", {})
    lost: tuple[Span, ...] = ()
    if "gap" in why_not or "after_gap" in why_not:  # rare, and the ladder's notes do not say which spans they were
        _, lost = replayed_whole(inputs, days)
    replay = OrderReplay({THE_CONTRACT: inputs.symbol}, w.ladder_start_ns, w.ladder_end_ns, inputs.params.orders, lost=tuple(sorted(lost)))
    feed_records(replay, inputs, days)
    return {ORDER_EVENTS: Output(replay.finish()[inputs.symbol])}


def level_ids_of(values: dict[str, Any]) -> list[str]:
    """The levels that recorded parameters ask for. Raises TypeError where they are no list."""
    found = values["levels"]["level_ids"]
    if not isinstance(found, list):
        raise TypeError(f"level_ids: expected a list, found {found!r}")
    return found


STAGES: tuple[Stage, ...] = (
    Stage(
        name="ladder",
        io=StageIO((BRONZE_MBO,), (LADDER, TAPE)),
        param_groups=("replay",),
        later_groups=("trust",),
        refs=ladder_refs,
        run=make_ladder,
        differs=ladder_differs,
    ),
    Stage(name="bars", io=StageIO((BRONZE_MBO,), (BARS,)), refs=_globex_refs, run=make_bars),
    Stage(
        name="levels",
        io=StageIO((BRONZE_MBO, BARS), (LEVELS,)),
        param_groups=("levels",),
        refs=_level_refs,
        run=make_levels,
        later_inputs=(OPTION_LEVELS,),
        later_run=options.with_option_levels,
        entries=lambda values: {"LEVELS.level_id": level_ids_of(values)},
        # The calendar decides which RTH session was the previous one, and when it closed.
        packages=("exchange-calendars",),
    ),
    Stage(
        name="vacuum",
        io=StageIO((LADDER, TAPE, LEVELS), (VACUUM,)),
        param_groups=("features", "approach"),
        refs=lambda w, params: (Ref(LADDER, w.date), Ref(TAPE, w.date), Ref(LEVELS, w.date)),
        run=make_vacuum,
        entries=lambda values: {"_FEATURES.family": TABLE_FAMILIES},
    ),
    Stage(
        name="orders",
        io=StageIO((BRONZE_MBO, TAPE), (ORDER_EVENTS,)),
        param_groups=("orders",),
        later_groups=("replay", "trust"),
        refs=lambda w, params: (*ladder_refs(w, params), Ref(TAPE, w.date)),
        run=make_orders,
    ),
)
