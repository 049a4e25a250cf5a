"""The triggers of a session and what came of them (features.md section 8), as one pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from engine.bars import BAR_NS
from engine.errors import ContractError
from engine.ladder import NO_TICK, Ladder
from engine.params import ApproachParams, SetupParams
from engine.setups.approach import DOWN, UP, approaches
from engine.setups.timeline import Timeline, find_candles, ticks_at
from engine.vocab import NS, Approach, Outcome, TriggerKind

KINDS = tuple(k.value for k in TriggerKind)
_I32, _I64, _F64, _S = pl.Int32(), pl.Int64(), pl.Float64(), pl.String()


def trigger_schema() -> pl.Schema:
    """Columns of `session_triggers`, in the order of the table ``mbo_trigger_vectors``."""
    columns: dict[str, pl.DataType] = {
        "trigger_id": _S, "episode_id": _S, "session_date": pl.Date(), "level_id": _S, "approach": _S, "kind": _S,
        "window_start_ts_ns": _I64, "window_end_ts_ns": _I64, "level_tick": _I32, "distance_ticks": _I32, "sigma": _F64,
        "barrier_ticks": _I32, "message_rate": _F64, "trade_rate": _F64, "seconds_into_session": _I32,
        "touch_number": pl.Int16(), "confluent_levels": pl.Int16(), "armed": pl.Boolean(), "touched": pl.Boolean(),
        "touch_ts_ns": _I64, "seconds_to_touch": _F64,
    }  # fmt: skip
    columns |= {f"outcome_h{h}": _S for h in range(7)}
    columns |= {
        "first_hit_ts_ns": _I64, "first_hit_bars": _I32, "second_hit_ts_ns": _I64, "second_hit_bars": _I32,
        "whipsaw_flag": pl.Boolean(), "excursion_up_ticks": _I32, "excursion_down_ticks": _I32,
        "adverse_before_hit_ticks": _I32, "seconds_to_resolve": _F64,
    }  # fmt: skip
    return pl.Schema(columns)


def session_triggers(
    ladder: Ladder, levels: pl.DataFrame, trades: pl.DataFrame, params: SetupParams | None = None, *, kinds: Sequence[str] = KINDS,
    approach: ApproachParams | None = None, window_s: int = 5, trading_start_ns: int | None = None, data_end_ns: int | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Every trigger of a session with its labels: `trigger_schema`, sorted by ``window_end_ts_ns, level_id, kind``.

    Columns up to and with ``armed`` are known at the window's end, the rest are labels. ``touched`` is false with null outcomes where the
    data end before an untouched episode is decided. A candle trigger belongs to no approach: its ``episode_id`` counts candles (``c1``),
    its clock starts at the confirming close, and its level is that of the candle's start.
    levels: ``level_id, start_ts_ns, end_ts_ns, price, level_tick``
    trades: ``ts_event, tick, size, side`` in file order, from before the ladder's start on; others are ignored
    trading_start_ns: for ``seconds_into_session``; the ladder's start where None
    data_end_ns: where the session's data end, if before the ladder does
    Raises ContractError on an unknown kind, overlapping spans of one level, or a missing column.
    """
    unknown = [k for k in kinds if k not in KINDS]
    if unknown:
        raise ContractError(f"trigger kinds: expected some of {', '.join(KINDS)}, found {', '.join(unknown)}")
    params = params or SetupParams()
    time = Timeline(ladder, trades, window_s, data_end_ns)
    ids = levels["level_id"].unique(maintain_order=True).to_list()
    k_ref = np.stack([ticks_at(levels, i, time.starts, ladder) for i in ids]) if ids else np.zeros((0, time.starts.size), np.int64)
    code = approaches(time.last, k_ref, approach or ApproachParams())
    parts: list[dict[str, np.ndarray]] = []
    for v, level_id in enumerate(ids):
        found = find_episodes(code[v], time.last, k_ref[v], time.offset, time.tick, ticks_at(levels, level_id, time.time, ladder), params)
        rows = [_rows(k, found, k_ref[v], time, params) for k in kinds if k != TriggerKind.CANDLE]
        if TriggerKind.CANDLE in kinds:
            rows.append(_candle_rows(ticks_at(levels, level_id, time.bars.start_ns, ladder), found, time))
        for row in rows:
            row["level"] = np.full(row["window"].size, v)
            row["confluent"] = _confluent(np.delete(k_ref, v, axis=0)[:, row["window"]], row["tick"], params.confluence_ticks)
        parts += [r for r in rows if r["window"].size]
    if not parts:
        return trigger_schema().to_frame()
    table = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    in_data = time.ends[table["window"]] <= time.data_end_ns
    table = {name: values[in_data] for name, values in table.items()}
    return _frame(table, ids, time, params, trading_start_ns if trading_start_ns is not None else ladder.start_ns)


def _confluent(others: np.ndarray, tick: np.ndarray, ticks: int) -> np.ndarray:
    """How many of the other levels are within `ticks` of a row's level in its window."""
    return ((others != NO_TICK) & (np.abs(others - tick) <= ticks)).sum(axis=0)


def _touch_times(found: Episodes, time: Timeline) -> np.ndarray:
    return time.time[found.touch[found.touch >= 0]]


def _rows(kind: str, found: Episodes, k_ref: np.ndarray, time: Timeline, params: SetupParams) -> dict[str, np.ndarray]:
    """Rows of a kind that belongs to an episode: its window always ends by the touch."""
    touched = found.touch >= 0
    if kind == TriggerKind.WINDOW:
        window = np.flatnonzero(found.of_window >= 0)
        episode = found.of_window[window]
    elif kind == TriggerKind.ARM:
        episode = np.flatnonzero(found.arm >= 0)
        window = found.arm[episode]
    else:
        episode = np.flatnonzero(touched)
        window = np.searchsorted(time.offset, found.touch[episode], side="right") - 2
        known = k_ref[window] != NO_TICK
        episode, window = episode[known], window[known]
    number = np.where(found.sign > 0, np.cumsum(found.sign > 0), np.cumsum(found.sign < 0))
    last_chance = found.last + max(params.wait_windows, params.gap_windows)
    over = (last_chance < time.ends.size) & (time.ends[np.minimum(last_chance, time.ends.size - 1)] <= time.data_end_ns)
    start = found.touch[episode]
    here = touched[episode]
    clock = np.full(episode.size, -1, np.int64)
    clock[here] = time.time[start[here]]
    return {
        "kind": np.full(window.size, kind, dtype=object),
        "window": window,
        "number": number[episode],
        "sign": found.sign[episode],
        "tick": k_ref[window],
        "armed": (found.arm[episode] >= 0) & (found.arm[episode] <= window),
        "touched": here,
        "decided": (found.closed | over)[episode],
        "start": start,
        "clock": clock,
        "frozen": found.touch_tick[episode],
        "touches": 1 + np.searchsorted(_touch_times(found, time), time.ends[window], side="left"),
    }


def _candle_rows(level: np.ndarray, found: Episodes, time: Timeline) -> dict[str, np.ndarray]:
    """Rows of the candle kind: the clock starts at the confirming close, whatever price did meanwhile."""
    start, frozen, sign = find_candles(time.bars, time.tick, level)
    close = start + 2 * BAR_NS
    window = np.searchsorted(time.ends, close, side="right") - 1
    inside = (close <= time.data_end_ns) & (window >= 0)
    window, close, frozen = window[inside], close[inside], frozen[inside]
    n = window.size
    return {
        "kind": np.full(n, TriggerKind.CANDLE.value, dtype=object),
        "window": window,
        "number": 1 + np.arange(n),
        "sign": sign[inside],
        "tick": frozen,
        "armed": np.zeros(n, bool),
        "touched": np.ones(n, bool),
        "decided": np.ones(n, bool),
        "start": np.searchsorted(time.time, close, side="left"),
        "clock": close,
        "frozen": frozen,
        "touches": np.maximum(np.searchsorted(_touch_times(found, time), close - BAR_NS, side="left"), 1),
    }


def _frame(rows: dict[str, np.ndarray], ids: list[str], time: Timeline, params: SetupParams, trading_start_ns: int) -> pl.DataFrame:
    window, sign = rows["window"], rows["sign"]
    end = time.ends[window]
    candle = rows["kind"] == TriggerKind.CANDLE.value
    approach = np.where(sign > 0, Approach.UP.value, Approach.DOWN.value)
    level_id = np.array(ids, dtype=object)[rows["level"]]
    episode = [f"{'c' if c else ''}{n}" for c, n in zip(candle, rows["number"])]
    session = f"{time.ladder.date}/{time.ladder.symbol}"
    sigma = time.sigma(params)[window]
    data = {
        "trigger_id": [f"{session}/{v}/{a}/{k}/{t}" for v, a, k, t in zip(level_id, approach, rows["kind"], end)],
        "episode_id": [f"{session}/{v}/{a}/{n}" for v, a, n in zip(level_id, approach, episode)],
        "session_date": [time.ladder.date] * window.size,
        "level_id": level_id.tolist(),
        "approach": approach.tolist(),
        "kind": rows["kind"].tolist(),
        "window_start_ts_ns": time.starts[window],
        "window_end_ts_ns": end,
        "level_tick": rows["tick"],
        "distance_ticks": time.last[window] - rows["tick"],
        "sigma": sigma,
        "message_rate": time.rate("messages")[window],
        "trade_rate": time.rate("trades")[window],
        "seconds_into_session": (end - trading_start_ns) // NS,
        "touch_number": rows["touches"],
        "confluent_levels": rows["confluent"],
        "armed": rows["armed"],
        "touched": rows["touched"],
        "touch_ts_ns": rows["clock"],
        "seconds_to_touch": np.where(rows["touched"], (rows["clock"] - end) / NS, np.nan),
    }
    data |= _labels(rows, sigma, candle, time, params)
    schema = trigger_schema()
    labels = [n for n in schema if n.startswith("outcome_")]
    # Numbers that are never negative are -1 where there is none.
    marked = [n for n in schema if n.endswith(("_ts_ns", "_bars", "_flag", "barrier_ticks")) or n.startswith(("excursion", "adverse"))]
    return (
        pl.DataFrame({name: pl.Series(data[name], strict=False) for name in schema})
        .with_columns(pl.when(pl.col(n) != "").then(pl.col(n)).alias(n) for n in labels)
        .with_columns(pl.when(pl.col(n) >= 0).then(pl.col(n)).alias(n) for n in marked)
        .with_columns(pl.col(pl.Float64).fill_nan(None))
        .cast(schema)
        .sort("window_end_ts_ns", "level_id", "kind", "episode_id")
    )


def _labels(
    rows: dict[str, np.ndarray], sigma: np.ndarray, candle: np.ndarray, time: Timeline, params: SetupParams
) -> dict[str, np.ndarray]:
    """Labels of all rows: those of touches by what price did, those of the others by whether the touch is ruled out."""
    n = candle.size
    shown = barrier_ticks(sigma, params.horizons_s[params.shown_horizon], params)
    out: dict[str, np.ndarray] = {"barrier_ticks": np.where(shown > 0, shown, -1)}
    untouched = np.where(rows["decided"], Outcome.NO_TOUCH.value, "").astype(object)
    out |= {f"outcome_h{h}": untouched.copy() for h in range(len(params.horizons_s))}
    for longest, chosen in ((params.horizons_s[-1], ~candle), (params.candle_bars * BAR_NS // NS, candle)):
        here = np.flatnonzero(chosen & rows["touched"])
        start, clock, frozen, sign = (rows[c][here] for c in ("start", "clock", "frozen", "sign"))
        made = outcomes(time.time, time.tick, start, clock, frozen, sign, sigma[here], time.data_end_ns, params, longest)
        for name, values in made.items():
            out.setdefault(name, np.full(n, np.nan if values.dtype == np.float64 else -1, values.dtype))[here] = values
    return out


# ----------------------------------------------------------------------------
# What price did after a touch (features.md section 8): hits of the barriers, labels by horizon, excursions

NEVER = np.iinfo(np.int64).max
"""A trade that never came, so that it sorts behind all that did."""

BREAKS = {1: Outcome.BREAK_UP, -1: Outcome.BREAK_DOWN}
REJECTS = {1: Outcome.REJECT_DOWN, -1: Outcome.REJECT_UP}


def barrier_ticks(sigma: np.ndarray, horizon_s: int, params: SetupParams) -> np.ndarray:
    """Barrier of a horizon in ticks, int64, 0 where `sigma` (ticks per sqrt(second)) is NaN: the parameter, or ``max(2, round(0.82 * sigma
    * sqrt(T)))`` where that is ``auto``.
    """
    if params.barrier != "auto":
        return np.full(sigma.size, params.barrier, np.int64)
    raw = np.round(0.82 * sigma * np.sqrt(horizon_s))
    return np.where(np.isnan(sigma), 0, np.maximum(np.nan_to_num(raw), 2)).astype(np.int64)


@njit(cache=True)
def _reach(
    time: np.ndarray, tick: np.ndarray, start: np.ndarray, level: np.ndarray, sign: np.ndarray, end: np.ndarray, out: np.ndarray
) -> None:
    """Fill ``out[touch, 0 ahead | 1 behind, x]`` with the first trade `x` ticks or more that way; whatever was not reached stays."""
    most = out.shape[2] - 1
    for r in range(start.size):
        far = np.full(2, -1, np.int64)
        for i in range(start[r], time.size):
            if time[i] >= end[r]:
                break
            move = sign[r] * (tick[i] - level[r])
            for way in range(2):
                x = min(move if way == 0 else -move, most)
                for y in range(far[way] + 1, x + 1):
                    out[r, way, y] = i
                far[way] = max(far[way], x)


def outcomes(
    time: np.ndarray, tick: np.ndarray, start: np.ndarray, clock_ns: np.ndarray, level: np.ndarray, sign: np.ndarray, sigma: np.ndarray,
    data_end_ns: int, params: SetupParams, longest_s: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Labels and hits of touches, one item each; a label whose horizon reaches beyond the data is "" (none).

    time, tick: trades in order, several of which may have the same time
    start, clock_ns, level, sign, sigma: of each touch the first trade that counts, the clock's start, the frozen level, the direction of
        travel, and the volatility for an ``auto`` barrier
    Returns ``outcome_h0`` ... (str, "" for none, also of horizons beyond `longest_s`); ``barrier_ticks``; ``first_hit_ts_ns,
    second_hit_ts_ns, first_hit_bars, second_hit_bars, adverse_before_hit_ticks`` (-1 for none); ``excursion_up_ticks, excursion_down_ticks,
    whipsaw_flag`` (-1 for not known); ``seconds_to_resolve`` (NaN for none).
    """
    shown = barrier_ticks(sigma, params.horizons_s[params.shown_horizon], params)
    by_horizon = [barrier_ticks(sigma, h, params) for h in params.horizons_s]
    span_s = min(longest_s, params.horizons_s[-1])
    end_ns = np.minimum(clock_ns + span_s * NS, data_end_ns)
    low, high = (int(tick.min()), int(tick.max())) if tick.size else (0, 0)
    widest = int(max(high - level.min(initial=low), level.max(initial=high) - low, 0)) if start.size else 0
    most = max([widest, 1, *(int(b.max(initial=0)) for b in by_horizon)])
    # Many triggers share a touch: price is followed once for each.
    touches, at = np.unique(np.stack([start, level, sign, end_ns]), axis=1, return_inverse=True)
    reach = np.full((touches.shape[1], 2, most + 1), NEVER, np.int64)
    _reach(time, tick, touches[0], touches[1], touches[2], touches[3], reach)
    reach = reach[at.reshape(-1)]
    at = np.arange(start.size)
    stamp = np.append(time, NEVER)

    def when(trade: np.ndarray) -> np.ndarray:
        return stamp[np.minimum(trade, time.size)]

    out: dict[str, np.ndarray] = {"barrier_ticks": np.where(shown > 0, shown, -1)}
    names = {s: np.array([Outcome.CHOP.value, BREAKS[s].value, REJECTS[s].value], dtype=object) for s in (1, -1)}
    for h, (seconds, barrier) in enumerate(zip(params.horizons_s, by_horizon)):
        finish = clock_ns + seconds * NS
        broke, rejected = reach[at, 0, barrier], reach[at, 1, barrier]
        code = np.where((broke < rejected) & (when(broke) < finish), 1, np.where((rejected < broke) & (when(rejected) < finish), 2, 0))
        label = np.where(sign > 0, names[1][code], names[-1][code])
        known = (finish <= data_end_ns) & (barrier > 0) & (seconds <= longest_s)
        out[f"outcome_h{h}"] = np.where(known, label, "")
    ahead, behind = reach[at, 0, shown], reach[at, 1, shown]
    first, second = np.minimum(ahead, behind), np.maximum(ahead, behind)
    measured = shown > 0
    for name, trade in (("first", first), ("second", second)):
        hit = measured & (trade != NEVER)
        out[f"{name}_hit_ts_ns"] = np.where(hit, when(trade), -1)
        out[f"{name}_hit_bars"] = np.where(hit, when(trade) // BAR_NS - clock_ns // BAR_NS, -1)
    hit = measured & (first != NEVER)
    # What price did against the hit before it: the furthest distance the other way that came earlier.
    other = np.where((ahead < behind)[:, None], reach[:, 1], reach[:, 0])
    out["adverse_before_hit_ticks"] = np.where(hit, np.maximum((other < first[:, None]).sum(axis=1) - 1, 0), -1)
    out["seconds_to_resolve"] = np.where(hit, (when(first) - clock_ns) / NS, np.nan)
    whole = clock_ns + span_s * NS <= data_end_ns
    gone = np.maximum((reach != NEVER).sum(axis=2) - 1, 0)
    up, down = np.where(sign > 0, gone[:, 0], gone[:, 1]), np.where(sign > 0, gone[:, 1], gone[:, 0])
    out["excursion_up_ticks"], out["excursion_down_ticks"] = np.where(whole, up, -1), np.where(whole, down, -1)
    out["whipsaw_flag"] = np.where(whole & measured, (second != NEVER).astype(np.int64), -1)
    return out


# ----------------------------------------------------------------------------
# Episodes of a level and their touches (features.md section 8): one pass over windows and trades


@dataclass(frozen=True)
class Episodes:
    """The episodes of one level in a session, in time order, one item per episode; -1 where there is none.

    first, last: first and last window of the approach; windows between them without it are part of the episode
    sign: +1 for an approach from below, -1 from above
    arm: first window within the arming distance
    touch, touch_tick: the trade that touches the level, and the level's tick then, at which it is frozen
    closed: whether a later episode began before a touch, so that none can come any more
    of_window: per window, the episode whose approach it is
    """

    first: np.ndarray
    last: np.ndarray
    sign: np.ndarray
    arm: np.ndarray
    touch: np.ndarray
    touch_tick: np.ndarray
    closed: np.ndarray
    of_window: np.ndarray


@njit(cache=True)
def _pass(
    code: np.ndarray, last_tick: np.ndarray, k_ref: np.ndarray, offset: np.ndarray, tick: np.ndarray, level_at: np.ndarray, arm_ticks: int,
    gap: int, wait: int, up: int, down: int, no_tick: int, table: np.ndarray, of_window: np.ndarray,
) -> int:  # fmt: skip
    """Fill ``table[episode] = (first, last, sign, arm, touch, touch tick, closed)`` and `of_window`; returns how many there are."""
    n = 0
    is_open = False
    disarmed = False
    for w in range(code.size):
        e = n - 1
        if n > 0 and table[e, 4] < 0 and w > table[e, 0] and (is_open or w <= table[e, 1] + wait):
            sign = table[e, 2]
            for i in range(max(offset[w], 1), offset[w + 1]):
                level = level_at[i]
                # From the approach side: the trade before was there by the level of now, so that a level's step is no touch.
                if level != no_tick and sign * (level - tick[i - 1]) > 0 and sign * (level - tick[i]) <= 0:
                    table[e, 4] = i
                    table[e, 5] = level
                    is_open = False
                    disarmed = True
                    break
        known = k_ref[w] != no_tick and last_tick[w] != no_tick
        d = last_tick[w] - k_ref[w] if known else 0
        if disarmed and known and abs(d) > arm_ticks:
            disarmed = False
        sign = 1 if code[w] == up else (-1 if code[w] == down else 0)
        if is_open and (d * table[e, 2] > 0 or (sign != table[e, 2] and w - table[e, 1] >= gap)):
            is_open = False
        if sign == 0 or disarmed:
            continue
        if is_open:
            table[e, 1] = w
        else:
            if n > 0 and table[e, 4] < 0:
                table[e, 6] = 1
            e = n
            n += 1
            table[e, 0], table[e, 1], table[e, 2], table[e, 3], table[e, 4] = w, w, sign, -1, -1
            is_open = True
        of_window[w] = e
        if table[e, 3] < 0 and abs(d) <= arm_ticks:
            table[e, 3] = w
    return n


def find_episodes(
    code: np.ndarray, last_tick: np.ndarray, k_ref: np.ndarray, offset: np.ndarray, tick: np.ndarray, level_at: np.ndarray,
    params: SetupParams,
) -> Episodes:  # fmt: skip
    """Episodes of one level.

    code, last_tick, k_ref: per window its approach (position in `APPROACHES`), last trade at its end, level at its start (or `NO_TICK`)
    offset: first trade of each window, and the end of the last
    tick, level_at: of each trade its tick, and the level's tick at its time
    """
    n_windows = code.size
    table = np.zeros((n_windows + 1, 7), np.int64)
    of_window = np.full(n_windows, -1, np.int64)
    n = _pass(
        code.astype(np.int64), last_tick.astype(np.int64), k_ref, offset, tick, level_at,
        params.arm_ticks, params.gap_windows, params.wait_windows, UP, DOWN, NO_TICK, table, of_window,
    )  # fmt: skip
    first, last, sign, arm, touch, touch_tick, closed = table[:n].T
    return Episodes(first, last, sign, arm, touch, touch_tick, closed == 1, of_window)
