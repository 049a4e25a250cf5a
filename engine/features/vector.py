"""The vector of a trigger: its history of windows around its own level (features.md section 5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from engine.errors import ContractError
from engine.features import vacuum
from engine.features.sums import SideSums, WindowSums
from engine.ladder import NO_TICK, Ladder
from engine.lake.manifest import canonical, sha256_text
from engine.params import FeatureParams
from engine.sessions import span_text
from engine.setups.timeline import HISTORY
from engine.vocab import NS, Approach

# ----------------------------------------------------------------------------
# The `blocks` representation: the original schema of windows, means, deltas and differences (features.md section 5)

DERIVATIVES = ("", "d1_", "d2_", "d3_")
MEANS = (3, 9, 24)
BLOCKS = ("w0", *(f"w{n}_mean" for n in MEANS), *(f"w{n}_delta" for n in MEANS))

REACH = len(DERIVATIVES) - 1
"""Windows before the history that the differences of its first window touch."""

FROM_ABOVE = (
    "f1_ask_com_disp_log", "f1_ask_slope_convex_log", "f1_ask_slope_inner_log", "f1_ask_at_share_delta", "f1_ask_near_share_delta",
    "f1_ask_reprice_away_share_rest", "f2_ask_pull_add_log_rest", "f2_ask_pull_intensity_log_rest", "f2_ask_at_pull_share_rest",
    "f2_ask_near_pull_share_rest", "f3_bid_com_disp_log", "f3_bid_slope_convex_log", "f3_bid_slope_inner_log", "f3_bid_at_share_delta",
    "f3_bid_near_share_delta", "f3_bid_reprice_away_share_rest", "f4_bid_pull_add_log_rest", "f4_bid_pull_intensity_log_rest",
    "f4_bid_at_pull_share_rest", "f4_bid_near_pull_share_rest", "f5_vacuum_expansion_log", "f6_vacuum_decay_log", "f7_vacuum_total_log",
)  # fmt: skip
"""Vacuum features of a vector from above. Named one by one: a feature that is registered later changes no vector of a lake."""

FROM_BELOW = (
    "u1_ask_com_disp_log", "u2_ask_slope_convex_log", "u2_ask_slope_inner_log", "u3_ask_at_share_decay", "u3_ask_near_share_decay",
    "u4_ask_reprice_away_share_rest", "u5_ask_pull_add_log_rest", "u6_ask_pull_intensity_log_rest", "u7_ask_at_pull_share_rest",
    "u7_ask_near_pull_share_rest", "u8_bid_com_approach_log", "u9_bid_slope_support_log", "u9_bid_slope_inner_log", "u10_bid_at_share_rise",
    "u10_bid_near_share_rise", "u11_bid_reprice_toward_share_rest", "u12_bid_add_pull_log_rest", "u13_bid_add_intensity_log",
    "u14_bid_far_pull_share_rest", "u15_up_expansion_log", "u16_up_flow_log", "u17_up_total_log",
)  # fmt: skip
"""Vacuum features of a vector from below."""

TAPE_PRIMITIVES = (
    "t1_aggressor_imbalance", "t2_absorption_at_log", "t3_replenish_at_log", "t4_fill_intensity_log", "t5_ofi",
    "t6_path_depth_log", "t7_path_pull_add_log", "t8_speed", "t9_distance",
)  # fmt: skip
"""Tape features in the trigger's direction of travel."""

TAPE = (*TAPE_PRIMITIVES, "t10_ask_com_touch_log", "t11_bid_com_touch_log")
"""Tape features of both."""


def base_names(approach: str) -> tuple[str, ...]:
    """Features of a vector of `approach`: those from above or from below, and the tape."""
    return (*(FROM_BELOW if approach == Approach.UP else FROM_ABOVE), *TAPE)


def blocks_names(approach: str) -> tuple[str, ...]:
    """Names of all dimensions ``{block}_{derivative_}{feature}``: block outermost, then feature, then base, d1, d2, d3."""
    return tuple(f"{block}_{d}{name}" for block in BLOCKS for name in base_names(approach) for d in DERIVATIVES)


def blocks(history: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Vectors from windows, float64 ``(n, dimensions)``.
    NaN where a difference touches an invalid window; a difference that reaches before the session's first window is 0. `history` ``(n,
    HISTORY + REACH, features)`` has the oldest window first, NaN in an invalid one and anything in those before the session's first, of
    which there are `before` ``(n,)``.
    """
    n, _, n_features = history.shape
    x = np.empty((n, HISTORY, n_features, len(DERIVATIVES)))
    level = history
    for k in range(len(DERIVATIVES)):
        # `level` has lost k windows at its start: its window j is the history's j + k.
        x[..., k] = level[:, REACH - k :]
        if k:
            first = np.arange(HISTORY) + REACH - before[:, None]  # position in the session
            x[first < k, :, k] = 0.0
        level = np.diff(level, axis=1)
    out = np.empty((n, len(BLOCKS), n_features, len(DERIVATIVES)))
    out[:, 0] = x[:, -1]
    for i, m in enumerate(MEANS):
        out[:, 1 + i] = x[:, -m:].mean(axis=1)
        out[:, 1 + len(MEANS) + i] = (x[:, -1] - x[:, -m]) / (m - 1)
    return out.reshape(n, -1)


REPRESENTATIONS = ("means", "blocks", "wall")
"""Those that a trigger can have: the first two are vectors of its windows, `wall` are features of its moment
(`engine.features.wall_table`); `learned` is fitted on `means` or `wall` where vectors are compared."""

WALL = (
    "w1_orders_share_end", "w1_orders_share_30s", "w1_orders_share_approach", "w2_adds_share_30s", "w2_adds_share_approach",
    "w3_pulls_per_order_30s", "w3_pulls_per_order_approach", "w4_behind_pulls_per_order_30s", "w4_behind_pulls_per_order_approach",
    "w5_opposite_pulled_30s", "w5_opposite_pulled_approach", "w6_added_share_30s", "w6_added_share_approach", "w7_pulled_30s",
    "w7_pulled_approach", "w8_behind_pulled_30s", "w8_behind_pulled_approach", "w9_approach_log",
    "w10_own_orders_share_end", "w10_own_orders_share_30s", "w10_own_orders_share_approach", "w11_own_adds_share_30s",
    "w11_own_adds_share_approach", "w12_own_pulls_per_order_30s", "w12_own_pulls_per_order_approach",
)  # fmt: skip
"""Features of the `wall` representation, the same for both approaches."""

NEEDED = ("window_end_ts_ns", "level_tick", "approach", "distance_ticks", "sigma", "message_rate", "trade_rate")
"""Columns of a trigger that its vector is made of."""

CHUNK = 64
"""Levels that one pass over the ladder takes; more would need much memory at once."""

_BLOCK = re.compile(rf"^({'|'.join(BLOCKS)}|b\d+)_(d[1-3]_)?")


def _known(representation: str) -> str:
    if representation not in REPRESENTATIONS:
        raise ContractError(f"representation {representation!r}: expected one of {', '.join(REPRESENTATIONS)}")
    return representation


def vector_names(representation: str, approach: str) -> tuple[str, ...]:
    """Name of every dimension, in the vector's order; `means` and `wall` have the same names for both approaches."""
    return {"means": means_names, "wall": lambda: WALL}.get(_known(representation), lambda: blocks_names(approach))()


def feature_of(name: str) -> str:
    """The base feature of a dimension, without its block and derivative."""
    return _BLOCK.sub("", name)


def family_of(name: str) -> str:
    """What a dimension is about: ``f``, ``u``, ``t``, ``w``; ``ahead``, ``behind`` (sides of `means`) or ``magnitude``."""
    feature = feature_of(name)
    found = re.match(r"^(?:([futw])\d+|(ahead|behind))_", feature)
    return (found[1] or found[2]) if found else "magnitude"


def part_of(name: str) -> str:
    """As `family_of`; of the wall, all of which is one family, which feature: ``w1``."""
    return name.partition("_")[0] if name in WALL else family_of(name)


def feature_list(representation: str, approach: str) -> dict[str, Any]:
    """Content of ``feature_list.json``: every dimension by name, and a hash of all of it."""
    names = vector_names(representation, approach)
    body: dict[str, Any] = {
        "representation": representation,
        "approach": approach,
        "history_windows": HISTORY,
        "vector_dim": len(names),
        "dimensions": [{"name": n, "feature": feature_of(n), "family": family_of(n)} for n in names],
    }
    return body | {"hash": sha256_text(canonical(body))}


def trigger_vectors(
    ladder: Ladder, triggers: pl.DataFrame, representation: str = "means", params: FeatureParams | None = None
) -> pl.Series:
    """The raw vector of each trigger, before any normalisation, as a List(Float32) series ``vector``.

    Null where there are not 24 windows of history with a valid book and a valid second before each, or a value of it is not known. The
    windows of its history are taken around the trigger's own level, also where the level moved since. `triggers` has `NEEDED`, in any
    order; they may be moments or prices that are triggers of no table.
    Raises ContractError on an unknown representation, a missing column, an approach that is none, or a moment outside the ladder.
    """
    if _known(representation) == "wall":
        raise ContractError(
            f"representation {representation!r}: expected means or blocks; `engine.features.wall_table` makes wall features"
        )
    params = params or FeatureParams()
    lacking = [c for c in NEEDED if c not in triggers.columns]
    if lacking:
        raise ContractError(f"triggers for vectors of {ladder.symbol} {ladder.date}: missing {', '.join(lacking)}")
    parts = [pl.DataFrame(schema={"row": pl.Int64, "vector": pl.List(pl.Float32)})]
    for rows, made in _vectors(ladder, triggers, representation, params):
        known = ~np.isnan(made).any(axis=1)
        parts.append(pl.DataFrame({"row": rows[known], "vector": as_lists(made[known])}))
    return pl.DataFrame({"row": np.arange(triggers.height)}).join(pl.concat(parts), on="row", how="left", maintain_order="left")["vector"]


def as_lists(matrix: np.ndarray) -> pl.Series:
    """Rows of a matrix as a List(Float32) series."""
    flat = pl.Series("vector", matrix.astype(np.float32).ravel())
    return flat.reshape(matrix.shape).arr.to_list() if matrix.size else pl.Series("vector", [], dtype=pl.List(pl.Float32))


def _vectors(ladder: Ladder, triggers: pl.DataFrame, representation: str, params: FeatureParams) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, matrix) of all triggers, pass by pass; NaN where a value is not known."""
    first, n_windows = ladder.windows(params.window_s)
    window, enough = windows_of(ladder, triggers, params)
    approach = triggers["approach"].to_numpy()
    sign = np.where(approach == Approach.UP.value, 1, -1)
    around, of_row = np.unique(np.stack([sign, triggers["level_tick"].to_numpy()]), axis=1, return_inverse=True)
    of_row = of_row.reshape(-1)
    history = HISTORY + (REACH if representation == "blocks" else 0)
    for begin in range(0, around.shape[1], CHUNK):
        rows = np.flatnonzero((of_row >= begin) & (of_row < begin + CHUNK) & enough)
        if rows.size == 0:
            continue
        group, at = of_row[rows] - begin, window[rows, None] - np.arange(history - 1, -1, -1)
        tick = around[1, begin : begin + CHUNK]
        k_ref = np.full((tick.size, n_windows), NO_TICK, np.int64)
        there = np.maximum(at, 0)
        k_ref[group[:, None], there] = tick[group, None]
        travel = np.repeat(around[0, begin : begin + CHUNK, None], n_windows, axis=1).astype(np.int8)
        sums = WindowSums(ladder, k_ref, first, params, travel if representation == "means" else None)
        cell = np.full(k_ref.shape, -1, np.int64)
        cell[sums.level, sums.window] = np.arange(sums.level.size)
        cells = cell[group[:, None], there]
        if representation == "means":
            yield rows, means(primitives(sums)[cells], _magnitudes(triggers[rows], params))
            continue
        for which in (Approach.UP.value, Approach.DOWN.value):
            mine = np.flatnonzero(approach[rows] == which)
            if mine.size:
                values = np.stack([np.where(sums.valid, sums[name], np.nan) for name in base_names(which)], axis=1)
                yield rows[mine], blocks(values[cells[mine]], (at[mine] < 0).sum(axis=1))


def windows_of(ladder: Ladder, triggers: pl.DataFrame, params: FeatureParams) -> tuple[np.ndarray, np.ndarray]:
    """Number of each trigger's window in the ladder, and whether a vector's history is known there (24 windows of a valid book).

    Raises ContractError where a moment is outside the ladder, or an approach is none.
    """
    first, n_windows = ladder.windows(params.window_s)
    length = params.window_s * NS
    window = (triggers["window_end_ts_ns"].to_numpy() - (ladder.start_ns + first * NS)) // length - 1
    if window.size and (window.min() < 0 or window.max() >= n_windows):
        raise ContractError(
            f"triggers for vectors of {ladder.symbol} {ladder.date}: expected windows within "
            f"{span_text(ladder.start_ns, ladder.end_ns, ladder.date)}"
        )
    if not triggers["approach"].is_in([Approach.UP.value, Approach.DOWN.value]).all():
        raise ContractError(f"triggers for vectors of {ladder.symbol} {ladder.date}: expected approach_up or approach_down in every row")
    return window, _enough(ladder, first, n_windows, params.window_s)[window]


def _enough(ladder: Ladder, first: int, n_windows: int, window_s: int) -> np.ndarray:
    """Windows that end 24 in a row with a valid book and a valid second before each.
    Before the session's first second the book is known by conservation, if that second is valid.
    """
    valid = np.append(True, ladder.valid)
    begin = first + window_s * np.arange(n_windows)
    good = np.array([valid[b : b + window_s + 1].all() for b in begin])
    run = np.append(0, np.cumsum(good))
    out = np.zeros(n_windows, bool)
    out[HISTORY - 1 :] = run[HISTORY:] - run[: n_windows + 1 - HISTORY] == HISTORY
    return out


def _magnitudes(triggers: pl.DataFrame, params: FeatureParams) -> np.ndarray:
    distance = np.abs(triggers["distance_ticks"].cast(pl.Float64).to_numpy()) / params.zones.far
    logs = [np.log1p(triggers[c].cast(pl.Float64).fill_null(np.nan).to_numpy()) for c in ("sigma", "message_rate", "trade_rate")]
    return np.stack([distance, *logs], axis=1)


# ----------------------------------------------------------------------------
# The `means` representation: independent primitives in the frame of travel, averaged over bins (features.md section 5)

BINS = 8
"""Bins of `HISTORY` / `BINS` windows each (15 s of 5 s windows); bin 0 is the oldest."""


@dataclass(frozen=True)
class SidePrimitive:
    """A function of one side's sums; it is in the vector twice, as ``ahead_{name}`` and ``behind_{name}``.
    A mean over windows has the unit and the range of what it is the mean of.
    """

    name: str
    formula: str
    unit: str
    range: str
    meaning: str
    function: Callable[[SideSums], np.ndarray]


SIDE_PRIMITIVES = (
    SidePrimitive(
        "com_disp_log", "ln((com_end + 1) / (com_start + 1))", "log ratio", "[-ln(far + 2), ln(far + 2)]",
        "moves away from the level", vacuum.com_disp_log,
    ),
    SidePrimitive(
        "slope_convex_log", "ln((D_far + 1) / (D_near + 1)) at the end", "log ratio", "(-inf, inf)",
        "stands far rather than near", vacuum.slope_convex_log,
    ),
    SidePrimitive(
        "slope_inner_log", "ln((D_near + 1) / (D_at + 1)) at the end", "log ratio", "(-inf, inf)",
        "stands near rather than at it", vacuum.slope_inner_log,
    ),
    SidePrimitive("at_share_delta", "D_at / (D + 1), end minus start", "share", "(-1, 1)", "gathers at the level", vacuum.at_share_delta),
    SidePrimitive(
        "near_share_delta", "D_near / (D + 1), end minus start", "share", "(-1, 1)",
        "gathers near the level", vacuum.near_share_delta,
    ),
    SidePrimitive(
        "reprice_away_share_rest", "(R_away + 0.5) / (R_away + R_toward + 1)", "share", "(0, 1)",
        "is repriced away", vacuum.reprice_away_share_rest,
    ),
    SidePrimitive(
        "pull_add_log_rest", "ln((P + 1) / (A + 1))", "log ratio", "(-inf, inf)",
        "is pulled (rested) more than added", vacuum.pull_add_log_rest,
    ),
    SidePrimitive(
        "pull_intensity_log_rest", "ln(1 + P / (D_start + 1))", "log ratio", "[0, inf)",
        "is pulled, for its size", vacuum.pull_intensity_log_rest,
    ),
    SidePrimitive("at_pull_share_rest", "P_at / (P + 1)", "share", "[0, 1)", "is pulled at the level", vacuum.at_pull_share_rest),
    SidePrimitive("near_pull_share_rest", "P_near / (P + 1)", "share", "[0, 1)", "is pulled near the level", vacuum.near_pull_share_rest),
    SidePrimitive("far_pull_share_rest", "P_far / (P + 1)", "share", "[0, 1)", "is pulled far from the level", vacuum.far_pull_share_rest),
    SidePrimitive(
        "pull_add_log", "ln((pull + 1) / (add + 1)), all pulls", "log ratio", "(-inf, inf)",
        "is pulled more than added", vacuum.pull_add_log,
    ),
    SidePrimitive(
        "add_intensity_log", "ln(1 + A / (D_start + 1))", "log ratio", "[0, inf)",
        "is added to, for its size", vacuum.add_intensity_log,
    ),
    SidePrimitive(
        "com_touch_log", "ln((com' end + 1) / (com' start + 1))", "log ratio", "[-ln(touch + 1), ln(touch + 1)]",
        "retreats from its own best price", vacuum.com_touch_log,
    ),
)  # fmt: skip

MAGNITUDES: dict[str, tuple[str, str, str]] = {
    "distance": ("abs(d) / far bound at the trigger", "far bounds", "[0, inf)"),
    "volatility_log": ("ln(1 + sigma)", "log of ticks per sqrt(second)", "[0, inf)"),
    "message_rate_log": ("ln(1 + messages per second over the history)", "log of messages per second", "[0, inf)"),
    "trade_rate_log": ("ln(1 + trades per second over the history)", "log of trades per second", "[0, inf)"),
}
"""Formula, unit and range of the last dimensions."""


def primitive_names() -> tuple[str, ...]:
    """Names of the primitives of one bin, in order: ahead, behind, tape."""
    return (*(f"{way}_{p.name}" for way in ("ahead", "behind") for p in SIDE_PRIMITIVES), *TAPE_PRIMITIVES)


def means_names() -> tuple[str, ...]:
    """Names of all dimensions: bin outermost, then primitive; then the magnitudes."""
    return (*(f"b{b}_{name}" for b in range(BINS) for name in primitive_names()), *MAGNITUDES)


def primitives(sums: WindowSums) -> np.ndarray:
    """Values of all primitives, float64 ``(rows, primitives)``; `sums` has the trigger's travel, +1 or -1 in every row."""
    both = [(p.function(sums.ask), p.function(sums.bid)) for p in SIDE_PRIMITIVES]
    ahead = [np.where(sums.up, ask, bid) for ask, bid in both]
    behind = [np.where(sums.up, bid, ask) for ask, bid in both]
    return np.stack([*ahead, *behind, *(sums[t] for t in TAPE_PRIMITIVES)], axis=1)


def means(history: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
    """Vectors ``(n, dimensions)`` from windows ``(n, HISTORY, primitives)``, oldest first, and magnitudes ``(n, 4)``."""
    n, _, p = history.shape
    binned = history.reshape(n, BINS, HISTORY // BINS, p).mean(axis=2)
    return np.concatenate([binned.reshape(n, BINS * p), magnitudes], axis=1)
