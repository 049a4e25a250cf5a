"""Stages of a session's options: the chain, its marks minute by minute, and the profile of gamma with its walls.

All are made for a contract's session, of the root's options that deliver this contract. A lake without options is not touched by them.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from engine.lake.catalog import CHAIN, FLOW, LEVELS, MARKS, OPTION_LEVELS, OPTION_TABLES, PROFILE, TAPE, dataset
from engine.params import LevelParams, RunParams
from engine.sessions import SessionWindows, to_ns, utc_dates
from engine.stages.base import Output, Ref, Stage, StageInputs, StageIO
from engine.vocab import root_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from engine.options.chain import OptionRecords
    from engine.options.marks import Marks
    from engine.options.profile import Book

DEFINITION, STATISTICS, TBBO, BBO = (OPTION_TABLES[t] for t in ("definition", "statistics", "tbbo", "bbo_1m"))
TAPE_COLUMNS = ("window_start_ts_ns", "best_bid_tick", "best_ask_tick", "book_valid")
LEVEL_IDS = ("call_wall", "put_wall", "zero_gamma")
LEVEL_SCOPE, LEVEL_RULE = "all", "hybrid"
OI_RULE = "oi"
"""Rule of walls: open interest is enough for them."""


def _days(w: SessionWindows) -> tuple[dt.date, ...]:
    """UTC dates of the trading day up to the session's end: open interest comes in its first hours."""
    return utc_dates(w.globex_start_ns, w.ladder_end_ns)


def _first(w: SessionWindows) -> dt.date:
    return utc_dates(w.ladder_start_ns, w.ladder_end_ns)[0]


def chain_refs(w: SessionWindows, params: RunParams) -> tuple[Ref, ...]:
    """Definitions of the session's own date, and what else its trading day has of definitions and statistics."""
    return (*definition_refs(w), *(Ref(STATISTICS, d, required=False) for d in _days(w)))


def definition_refs(w: SessionWindows) -> tuple[Ref, ...]:
    """Definitions of the trading day; those of the session's own date are required."""
    return tuple(Ref(DEFINITION, d, required=d == _first(w)) for d in _days(w))


def _records(inputs: StageInputs) -> list[OptionRecords]:
    import polars as pl

    from engine.options.chain import DEFINITION_COLUMNS, STATISTIC_COLUMNS, OptionRecords

    def whole(key: str, date: dt.date, columns: tuple[str, ...]) -> pl.DataFrame:
        return pl.concat(list(inputs.parts(key, date, columns)))

    defined, spoken = set(inputs.present(DEFINITION)), set(inputs.present(STATISTICS))
    nothing = dataset(DEFINITION).contract().empty().select(DEFINITION_COLUMNS)
    # A trading day's dates, also those with trades alone: an id is a contract on one date.
    return [
        OptionRecords(
            d,
            whole(DEFINITION, d, DEFINITION_COLUMNS) if d in defined else nothing,
            whole(STATISTICS, d, STATISTIC_COLUMNS) if d in spoken else None,
        )
        for d in _days(inputs.windows)
    ]


def make_chain(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``chain``: the options that are listed in the session, with their open interest and settlement."""
    from engine.options.chain import build_chain

    w = inputs.windows
    chain, left_out = build_chain(_records(inputs), w.date, w.ladder_start_ns, w.ladder_end_ns, trading_day_end(w))
    return {CHAIN: Output(chain, {"left_out": left_out})}


def trading_day_end(w: SessionWindows) -> int:
    """Midnight in New York after the trading day's date: what expires before it is ``0dte``. An evening's session is of the next date."""
    evening = w.globex_start_ns >= to_ns(w.date, dt.time())
    return to_ns(w.date + dt.timedelta(days=1 + evening), dt.time())


def marks_refs(w: SessionWindows, params: RunParams) -> tuple[Ref, ...]:
    """Chain with its definitions, tape, and the quotes of the session's own dates."""
    return (
        Ref(CHAIN, w.date), Ref(DEFINITION, _first(w)), Ref(TAPE, w.date),
        *(Ref(BBO, d, required=False) for d in utc_dates(w.ladder_start_ns, w.ladder_end_ns)),
    )  # fmt: skip


def make_marks(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``marks``: volatility and greeks of every expiry and strike, minute by minute."""
    import polars as pl

    from engine.options.chain import Counts, strikes_of
    from engine.options.marks import QUOTE_COLUMNS, mark, marks_frame, mids_of, minutes_of, usable

    w, params, counts = inputs.windows, inputs.params.options, Counts()
    chain = inputs.frame(CHAIN)
    strikes = strikes_of(chain, inputs.symbol)
    if not strikes.height:
        return {MARKS: Output(dataset(MARKS).contract().empty(), {"left_out": {"options on this contract": 0}})}
    counts.add(
        "contracts whose underlying is another future",
        chain["raw_symbol"].n_unique() - strikes.select("call", "put").unpivot()["value"].drop_nulls().len(),
    )
    found = [p for d in inputs.present(BBO) for p in inputs.parts(BBO, d, QUOTE_COLUMNS)]
    quotes = usable(pl.concat(found) if found else dataset(BBO).contract().empty().select(QUOTE_COLUMNS), params, counts)
    mids = mids_of(inputs.frame(TAPE, TAPE_COLUMNS), root_of(inputs.symbol).tick_size)
    marks = mark(strikes, chain, quotes, mids, minutes_of(w.ladder_start_ns, w.ladder_end_ns), params, counts)
    return {MARKS: Output(marks_frame(strikes, marks, params), {"left_out": counts.by_reason})}


def profile_refs(w: SessionWindows, params: RunParams) -> tuple[Ref, ...]:
    """Chain and marks, and the trading day's trades with the definitions of the spreads among them."""
    return (
        Ref(CHAIN, w.date), Ref(MARKS, w.date), *(Ref(TBBO, d, required=False) for d in _days(w)), *definition_refs(w),
    )  # fmt: skip


def make_profile(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``profile``: gamma by price, and the walls and the zero of gamma as steps of time."""
    import polars as pl

    from engine.options.chain import Counts, contracts_at, legs_of, names_of, net_trades, strikes_of
    from engine.options.marks import minutes_of
    from engine.options.profile import build_profile

    w, params, counts = inputs.windows, inputs.params.options, Counts()
    chain = inputs.frame(CHAIN)
    strikes = strikes_of(chain, inputs.symbol)
    if not strikes.height:
        why = dict.fromkeys(LEVEL_IDS, f"the chain has no options on {inputs.symbol}")
        empty = (dataset(key).contract().empty() for key in (PROFILE, OPTION_LEVELS))
        return {key: Output(frame, {"absent": why}) for key, frame in zip((PROFILE, OPTION_LEVELS), empty)}
    minutes = minutes_of(w.ladder_start_ns, w.ladder_end_ns)
    marks = marks_of(inputs.frame(MARKS, ("minute_ts_ns", "expiration_ts_ns", "strike", "f_mid", "iv")), strikes, minutes)
    columns = ("ts_recv", "instrument_id", "size", "side")
    trades = [p for d in inputs.present(TBBO) for p in inputs.parts(TBBO, d, columns, pl.col("ts_recv") >= w.globex_start_ns)]
    records = _records(inputs)
    net = net_trades(pl.concat(trades), legs_of(records, counts), names_of(records, chain), counts) if trades else None
    book = book_of(chain, strikes, net, minutes)
    contracts = contracts_at(chain, strikes, minutes)
    k, expiry = strikes["strike"].to_numpy(), strikes["expiration_ts_ns"].to_numpy()
    made = build_profile(k, expiry, strikes["expiry_bucket"].to_list(), contracts, marks, book, params)
    levels, absent = level_steps(made.walls, made.zero, book, minutes, w.ladder_end_ns)
    notes = {"left_out": counts.by_reason}
    return {PROFILE: Output(_profile_frame(made, minutes, book.oi_ns), notes), OPTION_LEVELS: Output(levels, notes | {"absent": absent})}


def flow_refs(w: SessionWindows, params: RunParams) -> tuple[Ref, ...]:
    """Chain and marks, the session's trades, and the definitions of the spreads among them."""
    dates = utc_dates(w.ladder_start_ns, w.ladder_end_ns)
    return (
        Ref(CHAIN, w.date), Ref(MARKS, w.date), *(Ref(TBBO, day, required=False) for day in dates), *definition_refs(w),
    )  # fmt: skip


def make_flow(inputs: StageInputs) -> dict[str, Output]:
    """Run of the stage ``option_flow``: what was bought and sold of calls and puts, by strike, in the session's windows."""
    import polars as pl

    from engine.options.chain import Counts, legs_of, names_of
    from engine.options.flow import flow_windows

    w, counts = inputs.windows, Counts()
    chain = inputs.frame(CHAIN).filter(pl.col("underlying") == inputs.symbol)
    columns, inside = (
        ("ts_recv", "instrument_id", "size", "side"),
        pl.col("ts_recv").is_between(w.ladder_start_ns, w.ladder_end_ns, closed="left"),
    )
    trades = [p for day in inputs.present(TBBO) for p in inputs.parts(TBBO, day, columns, inside)]
    if not trades or not chain.height:
        return {FLOW: Output(dataset(FLOW).contract().empty(), {"left_out": {}})}
    marks = inputs.frame(MARKS, ("minute_ts_ns", "expiration_ts_ns", "strike", "call_delta", "put_delta"))
    records = _records(inputs)
    frame = flow_windows(pl.concat(trades), legs_of(records, counts), names_of(records, chain), chain, marks, counts)
    return {FLOW: Output(frame, {"left_out": counts.by_reason})}


def marks_of(frame: pl.DataFrame, strikes: pl.DataFrame, minutes: np.ndarray) -> Marks:
    """The table of marks as arrays by minute and strike again; NaN where it has no row."""
    import numpy as np
    import polars as pl

    from engine.options.marks import MINUTE_NS, Marks

    number = strikes.select("expiration_ts_ns", "strike", pl.int_range(pl.len()).alias("row"))
    placed = frame.join(number, on=("expiration_ts_ns", "strike"))
    i = (placed["minute_ts_ns"].to_numpy() - minutes[0]) // MINUTE_NS
    shape = (len(minutes), strikes.height)
    iv, f_mid = np.full(shape, np.nan), np.full(len(minutes), np.nan)
    iv[i, placed["row"].to_numpy()] = placed["iv"].to_numpy()
    f_mid[i] = placed["f_mid"].to_numpy()
    none = np.full(shape, np.nan)
    return Marks(minutes, f_mid, iv, np.where(np.isnan(iv), -1, 0).astype(np.int8), none, none, np.full(shape, -1))


def book_of(chain: pl.DataFrame, strikes: pl.DataFrame, net: pl.DataFrame | None, minutes: np.ndarray) -> Book:
    """Open interest and flow by strike at every minute, of what was known before it began."""
    import numpy as np
    import polars as pl

    from engine.options.chain import row_numbers
    from engine.options.profile import Book

    shape = (2, len(minutes), strikes.height)
    oi, flow, when = np.zeros(shape), np.zeros(shape), np.full(len(minutes), -1)
    known = chain.filter(chain["oi_ts_ns"].is_not_null()).sort("oi_ts_ns")
    row, right = row_numbers(known["raw_symbol"], strikes)
    since = known.select(pl.max_horizontal("oi_ts_ns", "known_ts_ns")).to_series().to_list()
    for j, side, value, at in zip(row, right, known["oi"].to_list(), since):
        if j >= 0:
            i = int(np.searchsorted(minutes, at, side="right"))
            oi[0 if side > 0 else 1, i:, j] = value
            when[i:] = np.maximum(when[i:], at)
    if net is not None and net.height:
        row, right = row_numbers(net["raw_symbol"], strikes)
        first = np.searchsorted(minutes, net["ts_recv"].to_numpy(), side="right")
        use = (row >= 0) & (first < len(minutes))
        np.add.at(flow, (np.where(right > 0, 0, 1)[use], first[use], row[use]), -net["bought"].to_numpy()[use])
        flow = np.cumsum(flow, axis=1)
    return Book(oi[0], oi[1], flow[0], flow[1], when)


def _profile_frame(made: Any, minutes: np.ndarray, oi_ns: np.ndarray) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    from engine.options.profile import PARTS, SCOPES

    m, s, r = made.gamma.shape[:3]
    data: dict[str, Any] = {
        "minute_ts_ns": np.repeat(minutes, s * r), "scope": pl.Series(SCOPES).gather(np.tile(np.repeat(np.arange(s), r), m)),
        "price": np.broadcast_to(made.row_price[:, None, :], (m, s, r)).ravel(),
        **{part: made.gamma[..., j].ravel() for j, part in enumerate(PARTS)},
        "oi_as_of_ts_ns": pl.Series(np.repeat(oi_ns, s * r)).replace(-1, None),
        "contracts_used": np.repeat(made.used.ravel(), r).astype(np.int32),
        "contracts_dropped": np.repeat(made.dropped.ravel(), r).astype(np.int32),
    }  # fmt: skip
    return pl.DataFrame(data).filter(pl.col(PARTS[0]).is_not_nan())


def level_steps(walls: np.ndarray, zero: np.ndarray, book: Book, minutes: np.ndarray, end_ns: int) -> tuple[pl.DataFrame, dict[str, str]]:
    """(steps of every level, scope and rule; why a level is absent). Before the first open interest there is none of them."""
    import numpy as np
    import polars as pl

    from engine.options.profile import RULES, SCOPES, steps_of

    known = book.oi_ns >= 0
    rows: list[tuple[Any, ...]] = []
    for s, scope in enumerate(SCOPES):
        for j, level_id in enumerate(LEVEL_IDS[:2]):
            value = np.where(known, walls[:, s, j], np.nan)
            rows += [(level_id, scope, OI_RULE, *step) for step in steps_of(minutes, value, end_ns)]
        for j, rule in enumerate(RULES):
            value = zero[:, s, j] if rule == "flow" else np.where(known, zero[:, s, j], np.nan)
            rows += [(LEVEL_IDS[2], scope, rule, *step) for step in steps_of(minutes, value, end_ns)]
    schema = dataset(OPTION_LEVELS).contract().schema()
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    shown = set(frame.filter(_shown())["level_id"])
    reason = "no open interest was known in the session" if not known.any() else "gamma does not change its sign near the future"
    return frame, {i: reason for i in LEVEL_IDS if i not in shown}


def _shown() -> pl.Expr:
    import polars as pl

    return (pl.col("scope") == LEVEL_SCOPE) & pl.col("rule").is_in([OI_RULE, LEVEL_RULE])


def with_option_levels(inputs: StageInputs, made: dict[str, Output]) -> dict[str, Output]:
    """The levels of a session with those of its options: walls of open interest, and the zero of gamma under the rule `LEVEL_RULE`.

    Where the levels are named, those of options are made that are named among them; else all.
    """
    import numpy as np
    import polars as pl

    from engine.levels import LEVEL_SCHEMA, nearest_ticks

    w, root, asked = inputs.windows, root_of(inputs.symbol), inputs.params.levels.level_ids
    wanted = LEVEL_IDS if asked == LevelParams().level_ids else tuple(i for i in LEVEL_IDS if i in asked)
    steps = inputs.frame(OPTION_LEVELS).filter(_shown() & (pl.col("start_ts_ns") < w.ladder_end_ns) & pl.col("level_id").is_in(wanted))
    price = np.round(steps["price"].to_numpy(), 9)
    ours = pl.DataFrame(
        {
            **{c: steps[c] for c in ("level_id", "start_ts_ns", "end_ts_ns")}, "price": price, "level_tick": nearest_ticks(price, root),
        },
        schema=LEVEL_SCHEMA,
    ).sort(pl.col("level_id").replace_strict({i: j for j, i in enumerate(LEVEL_IDS)}), "start_ts_ns")  # fmt: skip
    levels = made[LEVELS]
    theirs = inputs.notes(OPTION_LEVELS, w.date).get("absent", {})
    absent = {k: v for k, v in levels.notes["absent"].items() if k not in LEVEL_IDS} | {k: v for k, v in theirs.items() if k in wanted}
    return made | {LEVELS: Output(pl.concat([levels.frame, ours]), levels.notes | {"absent": absent})}


STAGES: tuple[Stage, ...] = (
    Stage(name="chain", io=StageIO((DEFINITION, STATISTICS), (CHAIN,)), refs=chain_refs, run=make_chain, optional=True),
    Stage(
        name="marks",
        io=StageIO((CHAIN, DEFINITION, BBO), (MARKS,)),
        param_groups=("options",),
        refs=marks_refs,
        run=make_marks,
        optional=True,
    ),
    Stage(name="option_flow", io=StageIO((CHAIN, MARKS, TBBO, DEFINITION), (FLOW,)), refs=flow_refs, run=make_flow, optional=True),
    Stage(
        name="profile",
        io=StageIO((CHAIN, MARKS, TBBO, DEFINITION), (PROFILE, OPTION_LEVELS)),
        param_groups=("options",),
        refs=profile_refs,
        run=make_profile,
        optional=True,
    ),
)
