"""Data quality of sessions: seconds with a valid book and why others have none, trades, absent levels and why."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import EngineError
from engine.lake.catalog import LADDER, LEVELS, TAPE, TRIGGERS
from engine.lake.trust import REASON_WORDS, UNKNOWN, record_in, trust_words
from engine.vocab import NS, root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

COLUMNS = (
    "symbol", "session_date", "start_ts_ns", "end_ts_ns", "seconds", "valid_share", "near_share", "longest_gap_s", "trade_seconds_share",
    "messages", "trades", "volume_qty", "ladder_rows", "levels", "absent", "absent_why", "triggers", "simulated", "trust", "trouble",
)  # fmt: skip


def quality_table(lake: Lake, progress: Any = None, *, symbol: str | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(sessions, gaps): data quality of the ladder's sessions, of the contract or root `symbol` where given.

    sessions: `COLUMNS`, newest first; ``valid_share`` of the seconds have a valid book, ``longest_gap_s`` is the longest run without one,
        ``near_share`` one that is known near the touch alone; ``trust`` is the trust record in words, empty where there is nothing to say;
        ``triggers`` counts rows of gold (null without), ``trouble`` is why a session cannot be read (other columns null)
    gaps: ``symbol, session_date, start_ts_ns, end_ts_ns, why`` of every run of seconds without a valid book
    `progress` is called with (done, of, date) after each session.
    """
    import polars as pl

    rows: list[dict[str, Any]] = []
    gaps: list[dict[str, Any]] = []
    asked = [(s, d) for s, d in lake.partitions(LADDER) if symbol is None or symbol in (s, root_of(s).code)]
    sessions = sorted(asked, key=lambda p: (p[1], p[0]), reverse=True)
    for i, (symbol, date) in enumerate(sessions):
        try:
            row, found = session_quality(lake, symbol, date)
        except EngineError as e:
            row, found = {"symbol": symbol, "session_date": date, "trouble": str(e)}, []
        rows.append(row)
        gaps += [{"symbol": symbol, "session_date": date, "start_ts_ns": a, "end_ts_ns": b, "why": why} for a, b, why in found]
        if progress is not None:
            progress(i + 1, len(sessions), str(date))
    gap_schema = {"symbol": pl.String, "session_date": pl.Date, "start_ts_ns": pl.Int64, "end_ts_ns": pl.Int64, "why": pl.String}
    return pl.DataFrame(rows, schema=_schema()), pl.DataFrame(gaps, schema=gap_schema)


def session_quality(lake: Lake, symbol: str, date: dt.date) -> tuple[dict[str, Any], list[tuple[int, int, str]]]:
    """One row of `quality_table`, and ``(start, end, why)`` in ns of the spans without a valid book; EngineError where the tape cannot be
    read.
    """
    columns = ["window_start_ts_ns", "trades", "buy_volume", "sell_volume", "messages", "book_valid", "near_ticks"]
    tape = lake.read(TAPE, symbol, date, columns)
    start = tape["window_start_ts_ns"].to_numpy()
    valid = tape["book_valid"].to_numpy().astype(bool)
    spans = invalid_spans(start, valid)
    levels, gold = lake.find_manifest(LEVELS, symbol, date), lake.find_manifest(TRIGGERS, symbol, date)
    absent: dict[str, str] = dict(levels.notes.get("absent", {})) if levels is not None else {}
    names = lake.read(LEVELS, symbol, date, ["level_id"])["level_id"].n_unique() if levels is not None else None
    ladder = lake.manifest(LADDER, symbol, date)
    record = record_in(ladder)
    row = {
        "symbol": symbol,
        "session_date": date,
        "start_ts_ns": int(start[0]) if start.size else None,
        "end_ts_ns": int(start[-1]) + NS if start.size else None,
        "seconds": start.size,
        "valid_share": float(valid.mean()) if start.size else None,
        "near_share": float((tape["near_ticks"].fill_null(-1) >= 0).mean()) if start.size else None,  # type: ignore[arg-type]
        "longest_gap_s": max(((b - a) // NS for a, b in spans), default=0),
        "trade_seconds_share": float((tape["trades"].to_numpy() > 0).mean()) if start.size else None,
        "messages": int(tape["messages"].sum()),
        "trades": int(tape["trades"].sum()),
        "volume_qty": int(tape["buy_volume"].sum()) + int(tape["sell_volume"].sum()),
        "ladder_rows": ladder.rows,
        "levels": names,
        "absent": len(absent),
        "absent_why": "; ".join(f"{k}: {v}" for k, v in absent.items()),
        "triggers": gold.rows if gold is not None else None,
        "simulated": lake.is_simulated(LADDER, symbol, date),
        "trust": trust_words(record, date).text,
        "trouble": "",
    }
    return row, [(a, b, _why(record, a, b)) for a, b in spans]


def _why(record: dict[str, Any] | None, start_ns: int, end_ns: int) -> str:
    """Why a span has no valid book, by the trust record."""
    if record is None:
        return UNKNOWN
    met = [reason for reason, a, b in record["spans"] if a < end_ns and start_ns < b]
    return "; ".join(dict.fromkeys(REASON_WORDS.get(reason, reason) for reason in met))


def invalid_spans(start_ts_ns: np.ndarray, valid: np.ndarray) -> list[tuple[int, int]]:
    """Spans ``[start, end)`` in ns of the runs of invalid seconds; `start_ts_ns` are consecutive whole seconds."""
    edge = np.diff(np.concatenate(([True], valid, [True])).astype(np.int8))
    first, after = np.flatnonzero(edge == -1), np.flatnonzero(edge == 1)
    return [(int(start_ts_ns[a]), int(start_ts_ns[b - 1]) + NS) for a, b in zip(first, after)]


def _schema() -> dict[str, Any]:
    import polars as pl

    shares = dict.fromkeys(("valid_share", "near_share", "trade_seconds_share"), pl.Float64)
    other = {"session_date": pl.Date, "simulated": pl.Boolean, **shares}
    text = dict.fromkeys(("symbol", "absent_why", "trust", "trouble"), pl.String)
    return {c: (other | text).get(c, pl.Int64) for c in COLUMNS}
