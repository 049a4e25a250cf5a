"""Difference map: net pressure before a touch, of neighbours that broke minus those that rejected, by time and price."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from engine.errors import ContractError
from engine.params import Params
from engine.retrieval.events import Progress
from engine.retrieval.scores import few_sessions
from engine.vocab import NS, Approach

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

LONG = ("bid_add", "ask_pull", "ask_fill")
SHORT = ("ask_add", "bid_pull", "bid_fill")

NEEDED = ("trigger_id", "session_date", "approach", "level_tick", "touch_ts_ns", "outcome_class")
"""Columns of the neighbours' table that are required."""


class DifferenceParams(Params):
    """Window, price range and interval of a difference map."""

    before_s: int = Field(120, ge=10, le=600, description="Seconds before the touch")
    window_s: int = Field(10, ge=1, le=60, description="Seconds summed into a window, counted back from the touch")
    reach: int = Field(16, ge=2, le=60, description="Ticks on both sides of the level")
    step_ticks: int = Field(1, ge=1, le=8, description="Ticks summed into a row; the level is in the middle one")
    draws: int = Field(2000, ge=200, le=100_000, description="Bootstrap draws of whole sessions")
    mass: float = Field(0.95, gt=0, lt=1, description="Mass of a cell's interval")
    min_sessions: int = Field(5, ge=2, le=1000, description="Sessions of either group below which nothing is compared")
    seed: int = Field(0, ge=0, description="Seed of the draws")

    @property
    def windows(self) -> int:
        """Windows before the touch."""
        return self.before_s // self.window_s

    @property
    def rows(self) -> int:
        """Price rows, the level's in the middle."""
        return 2 * (self.reach // self.step_ticks) + 1


@dataclass(frozen=True, eq=False)
class DifferenceMap:
    """Mean net pressure of neighbours that broke minus that of those that rejected, in the frame of travel.

    Attributes
    ----------
    difference, low, high : float64 ``(windows, rows)``
        Oldest window first, lowest row first: a row above the middle lies beyond the level, and a positive value pushes with the
        travel. NaN where a group has no valid window.
    shown : bool ``(windows, rows)``
        Cells whose interval does not cover 0.
    left_out : int
        Neighbours that broke or rejected but have no ladder around their touch.
    reason : str
        Why there is no comparison; empty where there is one.
    """

    difference: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    shown: NDArray[np.bool_]
    breaks: int
    rejects: int
    break_sessions: int
    reject_sessions: int
    left_out: int
    reason: str
    params: DifferenceParams

    @property
    def compared(self) -> int:
        """Number of cells with a difference."""
        return int(np.isfinite(self.difference).sum())

    def to_frame(self) -> pl.DataFrame:
        """One row per cell: ``seconds_from_touch`` (window start), ``ticks_beyond_level`` (row middle), the numbers, ``shown``."""
        import polars as pl

        p = self.params
        second, tick = np.meshgrid(np.arange(-p.windows, 0) * p.window_s, row_ticks(p), indexing="ij")
        columns = {"seconds_from_touch": second, "ticks_beyond_level": tick}
        columns |= {k: getattr(self, k) for k in ("difference", "low", "high", "shown")}
        frame = pl.DataFrame({k: v.ravel() for k, v in columns.items()})
        return frame.with_columns(pl.col("difference", "low", "high").fill_nan(None))


def row_ticks(params: DifferenceParams) -> NDArray[np.int64]:
    """Distance of each row's middle from the level in ticks, lowest first."""
    half = params.rows // 2
    return np.arange(-half, half + 1, dtype=np.int64) * params.step_ticks


def net_before_touch(
    rows: pl.DataFrame, tape: pl.DataFrame, level_tick: int, touch_ts_ns: int, up: bool, params: DifferenceParams
) -> NDArray[np.float64]:
    """Net pressure before one touch, aligned to it, ``(windows, rows)``; NaN in windows with a second that is missing or has no valid book.

    Per cell ``(long - short) / (long + short + 1)`` with ``long = bid_add + ask_pull + ask_fill`` and
    ``short = ask_add + bid_pull + bid_fill`` (features.md section 7); for an approach from above (not `up`), price and sign are mirrored.

    `rows` of ``mbo_price_ladder_1s`` have ``window_start_ts_ns, tick`` and the six flows, `tape` of ``mbo_tape_1s`` has
    ``window_start_ts_ns, book_valid``. The second of the touch is excluded.
    """
    import polars as pl

    p, c = params, pl.col
    end = touch_ts_ns // NS * NS
    begin = end - p.windows * p.window_s * NS
    inside = (c("window_start_ts_ns") >= begin) & (c("window_start_ts_ns") < end)
    sign, half = 1 if up else -1, p.rows // 2
    # The level's row holds the ticks around it: with steps of three those one below to one above.
    row = (((c("tick") - level_tick) * sign + p.step_ticks // 2).floordiv(p.step_ticks) + half).cast(pl.Int64)
    flows = (
        rows.filter(inside)
        .select(
            ((c("window_start_ts_ns") - begin) // (p.window_s * NS)).alias("w"), row.alias("r"),
            pl.sum_horizontal(LONG).cast(pl.Float64).alias("long"), pl.sum_horizontal(SHORT).cast(pl.Float64).alias("short"),
        )
        .filter(c("r").is_between(0, p.rows - 1))
    )  # fmt: skip
    long, short = np.zeros((2, p.windows, p.rows))
    for flow, name in ((long, "long"), (short, "short")):
        np.add.at(flow, (flows["w"].to_numpy(), flows["r"].to_numpy()), flows[name].to_numpy())
    seconds = tape.filter(inside & c("book_valid"))["window_start_ts_ns"].to_numpy()
    valid = np.bincount((seconds - begin) // (p.window_s * NS), minlength=p.windows) == p.window_s
    net = sign * (long - short) / (long + short + 1)
    net[~valid] = np.nan
    return np.asarray(net)


def neighbour_pressure(
    lake: Lake, found: pl.DataFrame, params: DifferenceParams | None = None, progress: Progress | None = None
) -> NDArray[np.float64]:
    """`net_before_touch` of every neighbour of the table `found` (columns `NEEDED`), ``(neighbours, windows, rows)``; all NaN where its
    ladder does not cover the span.

    Raises `PartitionMissing` where the ladder of a neighbour's session is not in the lake (names the command that makes it),
    `ContractError` where a column is missing.
    """
    import polars as pl

    from engine.lake.catalog import LADDER, TAPE

    lacking = [c for c in NEEDED if c not in found.columns]
    if lacking:
        raise ContractError(f"difference map: neighbours miss columns {', '.join(lacking)}; the table mbo_trigger_vectors has them")
    p = params or DifferenceParams()
    out = np.full((found.height, p.windows, p.rows), np.nan)
    sessions: dict[tuple[str, dt.date], list[int]] = {}
    for i, (trigger, date) in enumerate(found.select("trigger_id", "session_date").iter_rows()):
        sessions.setdefault((trigger.split("/")[1], date), []).append(i)
    start = pl.col("window_start_ts_ns")
    for done, ((symbol, date), members) in enumerate(sessions.items()):
        touches = found[members].drop_nulls("touch_ts_ns")
        if touches.height:
            spans = [start.is_between(t - (p.before_s + 1) * NS, t) for t in touches["touch_ts_ns"].to_list()]
            rows = lake.read(LADDER, symbol, date, ["window_start_ts_ns", "tick", *LONG, *SHORT], pl.any_horizontal(spans))
            tape = lake.read(TAPE, symbol, date, ["window_start_ts_ns", "book_valid"], pl.any_horizontal(spans))
            for i in members:
                row = found.row(i, named=True)
                if row["touch_ts_ns"] is not None:
                    up = row["approach"] == Approach.UP.value
                    out[i] = net_before_touch(rows, tape, row["level_tick"], row["touch_ts_ns"], up, p)
        if progress is not None:
            progress(done + 1, len(sessions), str(date))
    return out


def difference_map(
    pressure: NDArray[np.float64], outcomes: list[str], sessions: NDArray[np.generic], params: DifferenceParams | None = None
) -> DifferenceMap:
    """The difference map: mean pressure of neighbours that broke minus that of those that rejected, with intervals.

    A cell's interval is the percentile bootstrap over whole sessions, drawn once for both groups, since neighbours of one session are not
    independent (Cameron, Gelbach, Miller 2008). It is widened about the difference by `few_sessions` of the group with fewer sessions.

    `pressure` is that of `neighbour_pressure`; `outcomes` and `sessions` are of the same neighbours, of which classes other than ``break``
    and ``reject`` are ignored. Raises `ContractError` where their lengths differ, or `pressure` has other windows and rows than `params`.
    """
    p = params or DifferenceParams()
    if not len(pressure) == len(outcomes) == len(sessions):
        raise ContractError(f"difference map: expected as many outcomes and sessions as neighbours, found {len(outcomes)}, {len(sessions)}")
    shape = (p.windows, p.rows)
    if pressure.shape[1:] != shape:
        raise ContractError(f"difference map: expected pressure of {shape} windows and rows, found {pressure.shape[1:]}")
    kind = np.array(outcomes, object)
    there = np.isfinite(pressure).any(axis=(1, 2)) if len(pressure) else np.zeros(0, bool)
    broke, rejected = (there & (kind == c) for c in ("break", "reject"))
    days = [len(np.unique(sessions[g])) for g in (broke, rejected)]
    left_out = int((~there & np.isin(kind, ["break", "reject"])).sum())
    many_broke, many_rejected = int(broke.sum()), int(rejected.sum())
    nothing = np.full(shape, np.nan)
    empty = DifferenceMap(nothing, nothing, nothing, np.zeros(shape, bool), many_broke, many_rejected, days[0], days[1], left_out, "", p)
    if min(days) < p.min_sessions:
        reason = (
            f"too few to compare: {many_broke} that broke in {days[0]} sessions, {many_rejected} that rejected in {days[1]}; "
            f"at least {p.min_sessions} sessions of either are needed"
        )
        return replace(empty, reason=reason)
    use = broke | rejected
    names, code = np.unique(sessions[use], return_inverse=True)
    drawn = np.random.default_rng(p.seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=p.draws).astype(float)
    means, resampled = [], []
    for group in (broke[use], rejected[use]):
        values = pressure[use][group].reshape(int(group.sum()), -1)
        known = np.isfinite(values)
        sums, counts = np.zeros((2, len(names), values.shape[1]))
        np.add.at(sums, code[group], np.where(known, values, 0))
        np.add.at(counts, code[group], known)
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append(sums.sum(axis=0) / counts.sum(axis=0))
            resampled.append((drawn @ sums) / (drawn @ counts))
    difference, spread = means[0] - means[1], resampled[0] - resampled[1]
    low, high = np.full((2, *difference.shape), np.nan)
    cells = np.isfinite(difference)
    tail = (1 - p.mass) / 2
    # A draw without a session of one of the groups gives NaN.
    plain = np.nanquantile(spread[:, cells], [tail, 1 - tail], axis=0)
    low[cells], high[cells] = difference[cells] + few_sessions(min(days), p.mass) * (plain - difference[cells])
    with np.errstate(invalid="ignore"):
        shown = (low > 0) | (high < 0)
    found = {"difference": difference, "low": low, "high": high, "shown": shown}
    return replace(empty, **{k: v.reshape(shape) for k, v in found.items()})  # type: ignore[arg-type]
