"""What regimes leave in the ladder: a few plain numbers per approach of a simulated market, and whether they separate regimes."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.mbo.dbn import MboColumns
from engine.mbo.replay import LadderReplay, ReplayedContract
from engine.params import SimParams
from engine.sessions import to_ns
from engine.simulate.day import Day
from engine.simulate.fidelity import main_columns
from engine.vocab import ACTION_CODES, NS, root_of

MARKS = ("wall_add", "wall_pull", "wall_depth", "replenish", "opposite_pull")
"""Log ratios: adds at the wall to adds within ten ticks beyond it; size pulled from the wall to its depth; the wall's depth to that
beyond it; size that icebergs showed again at the wall to what traded there; pulls within two ticks of the other side's touch to its
depth."""

_ADD, _MODIFY, _FILL = (ACTION_CODES[a] for a in "AMF")
WALL_TICKS, BEYOND_TICKS, BEFORE_S, AFTER_S = 3, 13, 60, 60


def refreshes(columns: list[MboColumns], tick_fixed: int) -> pl.DataFrame:
    """Sizes that icebergs showed again: second, tick and size of each modify above what the fills of its event left (mbo.md, 10)."""
    frame = pl.DataFrame({n: np.concatenate([getattr(c, n) for c in columns]) for n in ("ts_event", "order_id", "price", "size", "action")})
    filled = pl.when(pl.col("action") == _FILL).then(pl.col("size")).otherwise(0).sum().over("order_id", "ts_event")
    book = frame.with_columns(filled=filled.cast(pl.Int64), size=pl.col("size").cast(pl.Int64)).filter(
        pl.col("action").is_in([_ADD, _MODIFY])
    )
    left = pl.col("size").shift(1).over("order_id") - pl.col("filled")
    found = book.with_columns(left=left).filter((pl.col("action") == _MODIFY) & (pl.col("filled") > 0) & (pl.col("size") > pl.col("left")))
    return found.select(
        second=pl.col("ts_event") // NS, tick=pl.col("price") // tick_fixed, size=pl.col("size") - pl.max_horizontal("left", 0)
    )


def approach_marks(contract: ReplayedContract, truth: pl.DataFrame, shown_again: pl.DataFrame) -> pl.DataFrame:
    """`MARKS` of each touched approach inside the ladder, with its regime and outcome.

    `replenish` is read in the minute after the touch, when there is aggression to absorb, the others in the minute before it.
    """
    rows, tape = contract.rows, contract.tape
    second = rows["window_start_ts_ns"].to_numpy() // NS
    tick = rows["tick"].to_numpy()
    shown_second, shown_tick, shown_size = (shown_again[n].to_numpy() for n in ("second", "tick", "size"))
    column = {n: rows[n].to_numpy() for n in rows.columns[4:]}
    first = int(tape["window_start_ts_ns"][0]) // NS
    best = {side: tape[f"best_{side}_tick"].fill_null(strategy="forward").to_numpy() for side in ("bid", "ask")}
    out = []
    for a in truth.drop_nulls("touch_ts_ns").iter_rows(named=True):
        touch, level, up = a["touch_ts_ns"] // NS, a["level_tick"], a["approach"] == "approach_up"
        begin = max(first, touch - BEFORE_S, a["start_ts_ns"] // NS)
        if begin < first or touch <= first or touch + AFTER_S >= first + tape.height or touch - begin < 2:
            continue
        side, other, sign = ("ask", "bid", 1) if up else ("bid", "ask", -1)
        lo, hi = np.searchsorted(second, [begin, touch])
        beyond = sign * (tick[lo:hi] - level)
        wall, deep = _within(beyond, 0, WALL_TICKS), _within(beyond, WALL_TICKS, BEYOND_TICKS)
        near = np.abs(tick[lo:hi] - best[other][second[lo:hi] - first]) <= 2

        def total(name: str, mask: NDArray[np.bool_], lo: int = lo, hi: int = hi) -> float:
            return float(column[name][lo:hi][mask].sum())

        after_lo, after_hi = np.searchsorted(second, [touch, touch + AFTER_S])
        at_wall = _within(sign * (tick[after_lo:after_hi] - level), 0, WALL_TICKS)
        shown = _within(shown_second, touch, touch + AFTER_S) & _within(sign * (shown_tick - level), 0, WALL_TICKS)
        ratios = (
            (total(f"{side}_add", wall), total(f"{side}_add", deep)),
            (total(f"{side}_pull", wall), total(f"{side}_depth", wall)),
            (total(f"{side}_depth", wall), total(f"{side}_depth", deep)),
            (float(shown_size[shown].sum()), total(f"{side}_fill", at_wall, after_lo, after_hi)),
            (total(f"{other}_pull", near), total(f"{other}_depth", near)),
        )
        marks = {name: math.log((1 + x) / (1 + y)) for name, (x, y) in zip(MARKS, ratios)}
        out.append({"regime": a["regime"], "outcome": a["outcome"], **marks})
    return pl.DataFrame(out, schema={"regime": pl.String, "outcome": pl.String, **dict.fromkeys(MARKS, pl.Float64)})


def _within(x: NDArray[Any], low: int, high: int) -> NDArray[np.bool_]:
    return (x >= low) & (x < high)


def auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Area under the ROC curve and its standard error (Hanley and McNeil 1982); NaN where a class is empty."""
    n, k = int(positive.sum()), int((~positive).sum())
    if n == 0 or k == 0:
        return math.nan, math.nan
    a, b = score[positive][:, None], score[~positive][None, :]
    area = float((a > b).mean() + 0.5 * (a == b).mean())
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    variance = (area * (1 - area) + (n - 1) * (q1 - area * area) + (k - 1) * (q2 - area * area)) / (n * k)
    return area, math.sqrt(max(variance, 0.0))


def auc_interval(area: float, error: float) -> tuple[float, float]:
    """95% interval of an AUC, made on the logit scale (Pepe 2003, section 5.2).

    With seven approaches against eleven the plain ``area +- 1.96 error`` leaves 0.5 out too often: the error shrinks away from 0.5.
    """
    if not 0.0 < area < 1.0:
        return (math.nan, math.nan) if math.isnan(area) else (area, area)
    centre, half = math.log(area / (1 - area)), 1.96 * error / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-z)) for z in (centre - half, centre + half))
    return low, high


def distinguishable(
    marks: pl.DataFrame, fit: pl.DataFrame, first: tuple[str, ...] = ("hold", "absorb"), second: tuple[str, ...] = ("pull", "spoof")
) -> tuple[float, float]:
    """AUC and its standard error on `marks` of a linear discriminant between two groups of regimes, fitted to `fit`.

    The fit must come from other sessions: neighbouring approaches of one session are alike, so that halves of a session agree by chance,
    and a null would come out above 0.5.
    """

    def split(frame: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        chosen = frame.filter(pl.col("regime").is_in(first + second))
        return chosen.select(MARKS).to_numpy(), chosen["regime"].is_in(first).to_numpy()

    (x, y), (u, v) = split(marks), split(fit)
    if min(y.sum(), (~y).sum()) < 3 or min(v.sum(), (~v).sum()) < 6:
        return math.nan, math.nan
    scale = np.maximum(u.std(axis=0), 1e-9)
    u, x = u / scale, x / scale
    w = np.linalg.solve(np.cov(u.T) + 0.1 * np.eye(u.shape[1]), u[v].mean(axis=0) - u[~v].mean(axis=0))
    return auc(x @ w, y)


def simulated_marks(date: dt.date, seed: int, rate: float, kappa: float, gamma: float = 0.5, *, round_ticks: int = 30) -> pl.DataFrame:
    """Marks of a simulated morning (09:30-12:30 New York) with a level at every `round_ticks` ticks."""
    end = dt.time(12, 30)
    day = Day(date, SimParams(seed=seed, rate=rate, kappa=kappa, gamma=gamma, round_ticks=round_ticks, thin_after=end))
    span = to_ns(date, dt.time(9, 30)), to_ns(date, end)
    replay = LadderReplay({day.main_id: day.main_symbol}, *span)
    chunks = list(main_columns(day, span[1]))
    for chunk in chunks:
        replay.feed(chunk)
    shown_again = refreshes(chunks, root_of(day.main_symbol).tick_fixed)
    return approach_marks(replay.finish()[day.main_symbol], day.truth(), shown_again)
