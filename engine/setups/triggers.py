"""The triggers of a session and what came of them (features.md section 8), as one pure function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from engine.bars import BAR_NS
from engine.errors import ContractError
from engine.ladder import NO_TICK, Ladder
from engine.params import ApproachParams, SetupParams
from engine.setups.approach import approaches
from engine.setups.candle import find_candles
from engine.setups.episodes import Episodes, find_episodes
from engine.setups.outcome import barrier_ticks, outcomes
from engine.setups.steps import ticks_at
from engine.setups.timeline import Timeline
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
    ladder: Ladder,
    levels: pl.DataFrame,
    trades: pl.DataFrame,
    params: SetupParams | None = None,
    *,
    kinds: Sequence[str] = KINDS,
    approach: ApproachParams | None = None,
    window_s: int = 5,
    trading_start_ns: int | None = None,
    data_end_ns: int | None = None,
) -> pl.DataFrame:
    """Every trigger of a session with its labels.

    Parameters
    ----------
    ladder : Ladder
    levels : pl.DataFrame
        ``level_id, start_ts_ns, end_ts_ns, price, level_tick``.
    trades : pl.DataFrame
        ``ts_event, tick, size, side`` in file order, from before the ladder's start on; others are passed over.
    params, approach, window_s
        Knobs of section 8, and the length of a window.
    kinds : sequence of str
        Which of `KINDS`.
    trading_start_ns : int
        For ``seconds_into_session``; the ladder's start where None.
    data_end_ns : int
        Where the session's data end, if before the ladder does.

    Returns
    -------
    pl.DataFrame
        `trigger_schema`, sorted by ``window_end_ts_ns, level_id, kind``. What is known at the window's end: everything up
        to and with ``armed``. The rest are labels. ``touched`` is false with null outcomes where the data end before an
        untouched episode is decided. A candle trigger belongs to no approach: its ``episode_id`` counts candles (``c1``),
        its clock starts at the confirming close, and its level is that of the candle's start.

    Raises
    ------
    ContractError
        On an unknown kind, overlapping spans of one level, or a missing column.
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
    """How many of the other levels stand within `ticks` of a row's level in its window."""
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
    candles = find_candles(time.bars, time.tick, level)
    close = candles.start_ns + 2 * BAR_NS
    window = np.searchsorted(time.ends, close, side="right") - 1
    kept = (close <= time.data_end_ns) & (window >= 0)
    window, close, frozen = window[kept], close[kept], candles.level[kept]
    n = window.size
    return {
        "kind": np.full(n, TriggerKind.CANDLE.value, dtype=object),
        "window": window,
        "number": 1 + np.arange(n),
        "sign": candles.sign[kept],
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
    # Numbers that are never negative stand as -1 where there is none.
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
