"""Wall features: the orders that wait at a level against those behind it, in the frame of travel, once per moment.

Most of them count orders and cells of the ladder (a tick in a second) in which something was added or pulled, rather than contracts: sizes
of orders are so uneven that a few large ones drown what the many do.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit

from engine.features.registry import feature
from engine.ladder import NO_TICK, Ladder
from engine.params import FeatureParams
from engine.vocab import NS, Approach

THIRTY, SINCE = range(2)
"""Spans before the moment over which flows are summed: 30 s, and since the approach began. Measured on simulated mornings: 60 and 120 s
beside them add nothing, and 10 s tell of the next ticks, at every price alike, and not of the level."""

APPROACH_TICKS, LONGEST_S = 10, 300
"""The approach began after the last second that ended with the last trade so many ticks or more in front of the level, at most so long
ago."""

TOUCH_TICKS = 4
"""Ticks from the other side's best price that are its touch."""

FLOWS = (
    "at_adds", "side_adds", "at_pulls", "behind_pulls", "at_added", "behind_added", "at_pulled", "behind_pulled", "opposite_pulled",
    "at_orders", "behind_orders", "at_depth", "behind_depth", "own_adds", "behind_adds", "own_pulls", "own_orders",
)  # fmt: skip
"""Columns of the kernel's sums per span. The wall is the zone `at` of the defending side (asks for travel up), `own` the level's own tick
alone, `behind` its zones `near` and `mid`, `side` all of that side. ``adds``, ``pulls``: cells with an add, with a pull; ``added``,
``pulled``: contracts; orders and depth: sums over the ends of the span's seconds."""


class WallSums:
    """What the wall features of moments are made of: ``sums["at_adds", THIRTY]`` is float64 ``(n,)``.

    Flows are sums over a span, orders and depth means over the ends of its seconds (`FLOWS`). `at_orders_end`, `behind_orders_end` and
    `own_orders_end` are those at the moment, `opposite_size` ``(n, spans)`` the mean size at the other side's best price, `since_s` the
    seconds since the approach began.
    """

    def __init__(self, sums: np.ndarray, ends: np.ndarray, opposite_size: np.ndarray, seconds: np.ndarray) -> None:
        self._sums, self._seconds = sums, seconds
        self.at_orders_end, self.behind_orders_end, self.own_orders_end = ends.astype(np.float64).T
        self.opposite_size = opposite_size
        self.since_s = seconds[:, SINCE].astype(np.float64)

    def __getitem__(self, key: tuple[str, int]) -> np.ndarray:
        name, span = key
        found = self._sums[:, span, FLOWS.index(name)].astype(np.float64)
        return found / self._seconds[:, span] if name.endswith(("_orders", "_depth")) else found


def wall_sums(ladder: Ladder, moments: pl.DataFrame, params: FeatureParams) -> WallSums:
    """Sums of moments: rows with ``window_end_ts_ns``, ``level_tick`` and ``approach`` within the ladder.

    A span that would reach before the session or into a second whose book is not valid begins after that.
    """
    zones, sign = params.zones, np.where(moments["approach"].to_numpy() == Approach.UP.value, 1, -1)
    end = (moments["window_end_ts_ns"].to_numpy() - ladder.start_ns) // NS
    level = moments["level_tick"].to_numpy().astype(np.int64)
    invalid = np.append(np.where(ladder.valid, -1, np.arange(ladder.seconds)), -1)
    known_from = np.append(0, np.maximum.accumulate(invalid)[:-1] + 1)  # before second s, the book is known from known_from[s] on
    start = np.empty((end.size, 2), np.int64)
    approach_starts(ladder.last_tick, NO_TICK, end, level, sign, APPROACH_TICKS, LONGEST_S, start[:, SINCE])
    start[:, THIRTY] = end - 30
    start = np.minimum(np.maximum(start, known_from[end][:, None]), end[:, None] - 1)
    sums, ends = np.zeros((end.size, 2, len(FLOWS)), np.int64), np.zeros((end.size, 3), np.int64)
    best = ladder.best_bid_tick.astype(np.int64), ladder.best_ask_tick.astype(np.int64)
    for i in range(end.size):
        first, low = int(start[i].min()), int(level[i]) - zones.mid
        book = ladder.state_before(first, low, 2 * zones.mid + 1)
        _sum_row(
            ladder.offset, ladder.tick, ladder.values, *best, NO_TICK, book, low, start[i], end[i], level[i], sign[i], zones.at, zones.mid,
            TOUCH_TICKS, sums[i], ends[i],
        )  # fmt: skip
    size = np.stack([np.append(0, np.cumsum(ladder.tape[c].to_numpy(), dtype=np.float64)) for c in ("ask_size", "bid_size")])
    other = (sign > 0).astype(np.int64)[:, None]  # bids stand opposite to travel up
    seconds = end[:, None] - start
    return WallSums(sums, ends, (size[other, end[:, None]] - size[other, start]) / seconds, seconds)


def _log_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.log((a + 1) / (b + 1)))


@feature(
    "w1_orders_share_end", family="wall", formula="ln((N_at + 1) / (N_behind + 1)) at the moment", unit="log ratio",
    range="(-inf, inf)", meaning="More orders wait at the level than behind it",
)  # fmt: skip
def w1_orders_share_end(sums: WallSums) -> np.ndarray:
    """Orders at the level against those behind it, at the moment."""
    return _log_ratio(sums.at_orders_end, sums.behind_orders_end)


@feature(
    "w1_orders_share_30s", family="wall", formula="ln((N_at + 1) / (N_behind + 1)), means over the span", unit="log ratio",
    range="(-inf, inf)", meaning="More orders waited at the level than behind it: the last 30 s",
)  # fmt: skip
def w1_orders_share_30s(sums: WallSums) -> np.ndarray:
    """Orders at the level against those behind it, the last 30 s."""
    return _log_ratio(sums["at_orders", THIRTY], sums["behind_orders", THIRTY])


@feature(
    "w1_orders_share_approach", family="wall", formula="ln((N_at + 1) / (N_behind + 1)), means over the span", unit="log ratio",
    range="(-inf, inf)", meaning="More orders waited at the level than behind it: the time since the approach began",
)  # fmt: skip
def w1_orders_share_approach(sums: WallSums) -> np.ndarray:
    """Orders at the level against those behind it, the time since the approach began."""
    return _log_ratio(sums["at_orders", SINCE], sums["behind_orders", SINCE])


@feature(
    "w2_adds_share_30s", family="wall", formula="ln((a_at + 1) / (a_side - a_at + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The defending side's adds came at the level rather than elsewhere: the last 30 s",
)  # fmt: skip
def w2_adds_share_30s(sums: WallSums) -> np.ndarray:
    """Cells with adds at the level against those elsewhere on its side, the last 30 s."""
    return _log_ratio(sums["at_adds", THIRTY], sums["side_adds", THIRTY] - sums["at_adds", THIRTY])


@feature(
    "w2_adds_share_approach", family="wall", formula="ln((a_at + 1) / (a_side - a_at + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The defending side's adds came at the level rather than elsewhere: the time since the approach began",
)  # fmt: skip
def w2_adds_share_approach(sums: WallSums) -> np.ndarray:
    """Cells with adds at the level against those elsewhere on its side, the time since the approach began."""
    return _log_ratio(sums["at_adds", SINCE], sums["side_adds", SINCE] - sums["at_adds", SINCE])


@feature(
    "w3_pulls_per_order_30s", family="wall", formula="ln((p_at + 1) / (N_at + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The orders at the level were pulled often, for their number: the last 30 s",
)  # fmt: skip
def w3_pulls_per_order_30s(sums: WallSums) -> np.ndarray:
    """Cells with pulls at the level per order there, the last 30 s."""
    return _log_ratio(sums["at_pulls", THIRTY], sums["at_orders", THIRTY])


@feature(
    "w3_pulls_per_order_approach", family="wall", formula="ln((p_at + 1) / (N_at + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The orders at the level were pulled often, for their number: the time since the approach began",
)  # fmt: skip
def w3_pulls_per_order_approach(sums: WallSums) -> np.ndarray:
    """Cells with pulls at the level per order there, the time since the approach began."""
    return _log_ratio(sums["at_pulls", SINCE], sums["at_orders", SINCE])


@feature(
    "w4_behind_pulls_per_order_30s", family="wall", formula="ln((p_behind + 1) / (N_behind + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The orders behind the level were pulled often, for their number: the last 30 s",
)  # fmt: skip
def w4_behind_pulls_per_order_30s(sums: WallSums) -> np.ndarray:
    """Cells with pulls behind the level per order there, the last 30 s."""
    return _log_ratio(sums["behind_pulls", THIRTY], sums["behind_orders", THIRTY])


@feature(
    "w4_behind_pulls_per_order_approach", family="wall", formula="ln((p_behind + 1) / (N_behind + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The orders behind the level were pulled often, for their number: the time since the approach began",
)  # fmt: skip
def w4_behind_pulls_per_order_approach(sums: WallSums) -> np.ndarray:
    """Cells with pulls behind the level per order there, the time since the approach began."""
    return _log_ratio(sums["behind_pulls", SINCE], sums["behind_orders", SINCE])


@feature(
    "w5_opposite_pulled_30s", family="wall", formula="ln((P_opposite + 1) / (best size + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The other side is pulled from its touch, for its size: the last 30 s",
)  # fmt: skip
def w5_opposite_pulled_30s(sums: WallSums) -> np.ndarray:
    """Contracts pulled at the other touch against the size at its best price, the last 30 s."""
    return _log_ratio(sums["opposite_pulled", THIRTY], sums.opposite_size[:, THIRTY])


@feature(
    "w5_opposite_pulled_approach", family="wall", formula="ln((P_opposite + 1) / (best size + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The other side is pulled from its touch, for its size: the time since the approach began",
)  # fmt: skip
def w5_opposite_pulled_approach(sums: WallSums) -> np.ndarray:
    """Contracts pulled at the other touch against the size at its best price, the time since the approach began."""
    return _log_ratio(sums["opposite_pulled", SINCE], sums.opposite_size[:, SINCE])


@feature(
    "w6_added_share_30s", family="wall", formula="ln((A_at + 1) / (A_behind + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="More contracts were added at the level than behind it: the last 30 s",
)  # fmt: skip
def w6_added_share_30s(sums: WallSums) -> np.ndarray:
    """Contracts added at the level against those behind it, the last 30 s."""
    return _log_ratio(sums["at_added", THIRTY], sums["behind_added", THIRTY])


@feature(
    "w6_added_share_approach", family="wall", formula="ln((A_at + 1) / (A_behind + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="More contracts were added at the level than behind it: the time since the approach began",
)  # fmt: skip
def w6_added_share_approach(sums: WallSums) -> np.ndarray:
    """Contracts added at the level against those behind it, the time since the approach began."""
    return _log_ratio(sums["at_added", SINCE], sums["behind_added", SINCE])


@feature(
    "w7_pulled_30s", family="wall", formula="ln((P_at + 1) / (D_at + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="Much was pulled at the level, for its depth: the last 30 s",
)  # fmt: skip
def w7_pulled_30s(sums: WallSums) -> np.ndarray:
    """Contracts pulled at the level against the depth there, the last 30 s."""
    return _log_ratio(sums["at_pulled", THIRTY], sums["at_depth", THIRTY])


@feature(
    "w7_pulled_approach", family="wall", formula="ln((P_at + 1) / (D_at + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="Much was pulled at the level, for its depth: the time since the approach began",
)  # fmt: skip
def w7_pulled_approach(sums: WallSums) -> np.ndarray:
    """Contracts pulled at the level against the depth there, the time since the approach began."""
    return _log_ratio(sums["at_pulled", SINCE], sums["at_depth", SINCE])


@feature(
    "w8_behind_pulled_30s", family="wall", formula="ln((P_behind + 1) / (D_behind + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="Much was pulled behind the level, for its depth: the last 30 s",
)  # fmt: skip
def w8_behind_pulled_30s(sums: WallSums) -> np.ndarray:
    """Contracts pulled behind the level against the depth there, the last 30 s."""
    return _log_ratio(sums["behind_pulled", THIRTY], sums["behind_depth", THIRTY])


@feature(
    "w8_behind_pulled_approach", family="wall", formula="ln((P_behind + 1) / (D_behind + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="Much was pulled behind the level, for its depth: the time since the approach began",
)  # fmt: skip
def w8_behind_pulled_approach(sums: WallSums) -> np.ndarray:
    """Contracts pulled behind the level against the depth there, the time since the approach began."""
    return _log_ratio(sums["behind_pulled", SINCE], sums["behind_depth", SINCE])


@feature(
    "w9_approach_log", family="wall", formula="ln(1 + seconds since the approach began)", unit="log seconds",
    range="[0, inf)", meaning="The approach is old",
)  # fmt: skip
def w9_approach_log(sums: WallSums) -> np.ndarray:
    """Log of the seconds since the approach began."""
    return np.asarray(np.log1p(sums.since_s))


@feature(
    "w10_own_orders_share_end", family="wall", formula="ln((N_own + 1) / (N_behind + 1)) at the moment", unit="log ratio",
    range="(-inf, inf)", meaning="More orders wait at the level's own price than behind it",
)  # fmt: skip
def w10_own_orders_share_end(sums: WallSums) -> np.ndarray:
    """Orders at the level's own tick against those behind it, at the moment: a wall may stand at that price alone."""
    return _log_ratio(sums.own_orders_end, sums.behind_orders_end)


@feature(
    "w10_own_orders_share_30s", family="wall", formula="ln((N_own + 1) / (N_behind + 1)), means over the span", unit="log ratio",
    range="(-inf, inf)", meaning="More orders waited at the level's own price than behind it: the last 30 s",
)  # fmt: skip
def w10_own_orders_share_30s(sums: WallSums) -> np.ndarray:
    """Orders at the level's own tick against those behind it, the last 30 s."""
    return _log_ratio(sums["own_orders", THIRTY], sums["behind_orders", THIRTY])


@feature(
    "w10_own_orders_share_approach", family="wall", formula="ln((N_own + 1) / (N_behind + 1)), means over the span", unit="log ratio",
    range="(-inf, inf)", meaning="More orders waited at the level's own price than behind it: the time since the approach began",
)  # fmt: skip
def w10_own_orders_share_approach(sums: WallSums) -> np.ndarray:
    """Orders at the level's own tick against those behind it, the time since the approach began."""
    return _log_ratio(sums["own_orders", SINCE], sums["behind_orders", SINCE])


@feature(
    "w11_own_adds_share_30s", family="wall", formula="ln((a_own + 1) / (a_behind + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="Adds came at the level's own price rather than behind it: the last 30 s",
)  # fmt: skip
def w11_own_adds_share_30s(sums: WallSums) -> np.ndarray:
    """Cells with adds at the level's own tick against those behind it, the last 30 s."""
    return _log_ratio(sums["own_adds", THIRTY], sums["behind_adds", THIRTY])


@feature(
    "w11_own_adds_share_approach", family="wall", formula="ln((a_own + 1) / (a_behind + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="Adds came at the level's own price rather than behind it: the time since the approach began",
)  # fmt: skip
def w11_own_adds_share_approach(sums: WallSums) -> np.ndarray:
    """Cells with adds at the level's own tick against those behind it, the time since the approach began."""
    return _log_ratio(sums["own_adds", SINCE], sums["behind_adds", SINCE])


@feature(
    "w12_own_pulls_per_order_30s", family="wall", formula="ln((p_own + 1) / (N_own + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The orders at the level's own price were pulled often, for their number: the last 30 s",
)  # fmt: skip
def w12_own_pulls_per_order_30s(sums: WallSums) -> np.ndarray:
    """Cells with pulls at the level's own tick per order there, the last 30 s."""
    return _log_ratio(sums["own_pulls", THIRTY], sums["own_orders", THIRTY])


@feature(
    "w12_own_pulls_per_order_approach", family="wall", formula="ln((p_own + 1) / (N_own + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The orders at the level's own price were pulled often, for their number: since the approach began",
)  # fmt: skip
def w12_own_pulls_per_order_approach(sums: WallSums) -> np.ndarray:
    """Cells with pulls at the level's own tick per order there, the time since the approach began."""
    return _log_ratio(sums["own_pulls", SINCE], sums["own_orders", SINCE])


# ----------------------------------------------------------------------------
# Numba kernels; their inputs are validated before


@njit(cache=True)
def approach_starts(
    last: np.ndarray, no_tick: int, end: np.ndarray, level: np.ndarray, sign: np.ndarray, ticks: int, longest: int, start: np.ndarray
) -> None:
    """Fill `start`: the second after the last one before `end` whose `last` trade is `ticks` or more in front of the level, or `longest`
    seconds before the end."""
    for i in range(end.size):
        s = end[i] - 1
        while s >= 0 and s >= end[i] - longest and (last[s] == no_tick or sign[i] * (last[s] - level[i]) > -ticks):
            s -= 1
        start[i] = s + 1


@njit(cache=True)
def _sum_row(
    offset: np.ndarray, tick: np.ndarray, values: np.ndarray, best_bid: np.ndarray, best_ask: np.ndarray, no_tick: int, book: np.ndarray,
    low: int, start: np.ndarray, end: int, level: int, sign: int, at: int, mid: int, touch: int, sums: np.ndarray, ends: np.ndarray,
) -> None:  # fmt: skip
    """Fill `sums` ``(spans, FLOWS)`` and `ends` of one moment, zeroed by the caller. `book` ``(ticks, 4)`` is the state from tick `low` on
    before the earliest second of `start`; it is advanced in place."""
    side = 1 if sign > 0 else 0
    other = 1 - side
    orders_at = orders_behind = orders_own = 0
    for s in range(start.min(), end):
        opposite = best_bid[s] if sign > 0 else best_ask[s]
        for r in range(offset[s], offset[s + 1]):
            slot = tick[r] - low
            if 0 <= slot < book.shape[0]:
                for c in range(4):
                    book[slot, c] = values[r, c]
            n = sign * (tick[r] - level)
            add, pull = values[r, 4 + side], values[r, 6 + side]
            away = sign * (opposite - tick[r])
            for j in range(start.size):
                if s < start[j]:
                    continue
                out = sums[j]
                if add > 0:
                    out[1] += 1
                if n == 0:
                    out[13] += 1 if add > 0 else 0
                    out[15] += 1 if pull > 0 else 0
                if 0 <= n <= at:
                    out[0] += 1 if add > 0 else 0
                    out[2] += 1 if pull > 0 else 0
                    out[4] += add
                    out[6] += pull
                elif at < n <= mid:
                    out[3] += 1 if pull > 0 else 0
                    out[5] += add
                    out[7] += pull
                    out[14] += 1 if add > 0 else 0
                if opposite != no_tick and 0 <= away < touch:
                    out[8] += values[r, 6 + other]
        orders_at = orders_behind = depth_at = depth_behind = 0
        orders_own = book[level - low, 2 + side]
        for n in range(mid + 1):
            slot = level + sign * n - low
            if n <= at:
                depth_at += book[slot, side]
                orders_at += book[slot, 2 + side]
            else:
                depth_behind += book[slot, side]
                orders_behind += book[slot, 2 + side]
        for j in range(start.size):
            if s < start[j]:
                continue
            out = sums[j]
            out[9] += orders_at
            out[10] += orders_behind
            out[11] += depth_at
            out[12] += depth_behind
            out[16] += orders_own
    ends[0], ends[1], ends[2] = orders_at, orders_behind, orders_own
