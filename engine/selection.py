"""The selection map: the contract that a root means on each session date (lake.md, Contract-day selection)."""

from __future__ import annotations

import datetime as dt
import statistics
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

from engine.errors import PartitionCorrupt, SessionError
from engine.lake.catalog import BRONZE_MBO
from engine.lake.store import Lake
from engine.params import SelectionParams
from engine.sessions import profile_named, rth_span, session_windows, utc_dates
from engine.stages.bronze import session_trades
from engine.vocab import Root, root_of, split_contract

if TYPE_CHECKING:
    import polars as pl

COLUMNS = (
    "session_date", "dominant_symbol", "dominance_ratio", "total_trade_count", "trade_count_dominant", "run_id", "run_pos", "run_len",
    "median_trade_count_run", "trade_count_ratio", "include_flag", "selected_symbol",
)  # fmt: skip

MAX_GAP_DAYS = 4
"""Maximum of calendar days between two sessions of one run: a weekend with a holiday on either side."""


@dataclass(frozen=True)
class DayCount:
    """Trades of one session, by contract."""

    date: dt.date
    trades: dict[str, int]


def counted_span(date: dt.date, profile: str, root: Root) -> tuple[int, int] | None:
    """Span (ns) of a date in which trades are counted: the market's regular hours for sessions of the day, else the profile's trading
    window; None without a session.
    """
    if profile_named(profile).globex_days_back == 1:
        return rth_span(date, root.market, root.hours)
    w = session_windows(date, profile, root)
    return w.trading_start_ns, w.trading_end_ns


def count_days(lake: Lake, root: str, profile: str) -> list[DayCount]:
    """Trades per session date and contract, from the manifests of bronze; dates without trades are omitted."""
    notes = {}
    for symbol, date in lake.partitions(BRONZE_MBO):
        parts = split_contract(symbol)
        if parts is not None and parts[0].code == root and lake.has(BRONZE_MBO, symbol, date):
            notes[symbol, date] = lake.notes(BRONZE_MBO, symbol, date)
    utc = sorted({d for _, d in notes})
    symbols = sorted({s for s, _ in notes})
    out = []
    for date in sorted({d - dt.timedelta(days=back) for d in utc for back in (0, 1)}):
        span = counted_span(date, profile, root_of(root))
        if span is None:
            continue
        days = utc_dates(*span)
        found = {s: session_trades([notes[s, d] for d in days if (s, d) in notes], *span) for s in symbols}
        trades = {s: n for s, n in found.items() if n > 0}
        if trades:
            out.append(DayCount(date, trades))
    return out


def select(days: list[DayCount], params: SelectionParams) -> list[dict[str, object]]:
    """One row per session date, with `COLUMNS`; ``selected_symbol`` is None where ``include_flag`` is false."""
    rows: list[dict[str, object]] = []
    runs: list[list[int]] = []
    picked: list[tuple[DayCount, str, int, int]] = []
    for day in sorted(days, key=lambda d: d.date):
        # Ties go to the first contract in the alphabet, so that a rerun agrees.
        symbol = min(day.trades, key=lambda s: (-day.trades[s], s))
        before = picked[-1] if picked else None
        if before is None or before[1] != symbol or (day.date - before[0].date).days > MAX_GAP_DAYS:
            runs.append([])
        runs[-1].append(len(picked))
        picked.append((day, symbol, day.trades[symbol], sum(day.trades.values())))
    for run_id, members in enumerate(runs):
        median = float(statistics.median(picked[i][2] for i in members))
        trimmed = params.trim_days if len(members) > params.trim_longer_than else 0
        for pos, i in enumerate(members):
            day, symbol, dominant, total = picked[i]
            include = (
                dominant / total >= params.dominance
                and trimmed <= pos < len(members) - trimmed
                and dominant / median >= params.liquidity_floor
            )
            values = (
                day.date, symbol, dominant / total, total, dominant, run_id, pos, len(members), median, dominant / median, include,
                symbol if include else None,
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, values)))
    return rows


def selection_frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    """The selection map as a frame."""
    import polars as pl

    types = (
        pl.Date, pl.String, pl.Float64, pl.Int64, pl.Int64, pl.Int32, pl.Int32, pl.Int32, pl.Float64, pl.Float64, pl.Boolean, pl.String,
    )  # fmt: skip
    return pl.DataFrame(rows, schema=dict(zip(COLUMNS, types)), orient="row")


def make_selection(lake: Lake, root: str, profile: str, params: SelectionParams) -> pl.DataFrame:
    """The selection map of `root`, made from bronze and written to the lake; SessionError where bronze has no trade of it."""
    days = count_days(lake, root, profile)
    if not days:
        raise SessionError(
            f"selection of {root}: expected bronze with trades in the {profile} sessions, found none in {lake.root}; "
            f"`spymaster run --lake {quote(str(lake.root))} --layer bronze --symbol {root} --dates A:B` makes bronze"
        )
    frame = selection_frame(select(days, params))
    try:
        others = [r for r in read_selection(lake, root) if _root(r) != root]
    except PartitionCorrupt:
        # An unreadable map is replaced; other roots must be selected again with this command.
        others = []
    lake.write_selection(selection_frame([*others, *frame.iter_rows(named=True)]))
    return frame


def _root(row: dict[str, object]) -> str:
    parts = split_contract(str(row["dominant_symbol"]))
    return parts[0].code if parts is not None else ""


def read_selection(lake: Lake, root: str) -> list[dict[str, Any]]:
    """Rows of the selection map of all roots, empty where there is no map; PartitionCorrupt where it cannot be read, or lacks a column."""
    import polars as pl

    path = lake.selection_path()
    if not path.is_file():
        return []
    try:
        frame = pl.read_parquet(path, glob=False)
        faults = [c for c in COLUMNS if c not in frame.columns]
        if faults:
            raise PartitionCorrupt(
                f"{path}: expected the columns of a selection map, missing: {', '.join(faults)}; {_repair_hint(lake, root)}"
            )
        return list(frame.iter_rows(named=True))
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as e:
        raise PartitionCorrupt(f"{path}: expected a selection map, it cannot be read: {e}; {_repair_hint(lake, root)}") from e


def _repair_hint(lake: Lake, root: str) -> str:
    return f"`{_select_command(lake, root)}` rebuilds it"


def _select_command(lake: Lake, root: str) -> str:
    return f"spymaster select --lake {quote(str(lake.root))} --symbol {root} --session {lake.profile() or 'rth'}"


def route(lake: Lake, root: str, dates: list[dt.date]) -> tuple[list[tuple[str, dt.date]], dict[dt.date, str]]:
    """(contract, date) of the dates that the map includes, and the reason by date for the others; SessionError where there is no map."""
    path = lake.selection_path()
    rows = {r["session_date"]: r for r in read_selection(lake, root) if _root(r) == root}
    if not rows:
        raise SessionError(
            f"--symbol {root}: expected the selection map {path} to say which contract each date means, found no row of {root}; "
            f"`{_select_command(lake, root)}` makes it, or name a contract such as {root}H4"
        )
    chosen: list[tuple[str, dt.date]] = []
    left: dict[dt.date, str] = {}
    for date in dates:
        row = rows.get(date)
        if row is None:
            left[date] = f"not in the selection map {path}"
        elif not row["include_flag"]:
            left[date] = (
                f"left out by the selection map: {row['dominant_symbol']} has {row['dominance_ratio']:.0%} of the trades, day "
                f"{row['run_pos'] + 1} of {row['run_len']} of its run, {row['trade_count_ratio']:.0%} of the run's median"
            )
        else:
            chosen.append((str(row["selected_symbol"]), date))
    return chosen, left
