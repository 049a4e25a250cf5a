"""What price did after a touch (features.md section 8): hits of the barriers, labels by horizon, excursions."""

from __future__ import annotations

import numpy as np
from numba import njit

from engine.bars import BAR_NS
from engine.params import SetupParams
from engine.vocab import NS, Outcome

NEVER = np.iinfo(np.int64).max
"""A trade that never came, so that it sorts behind all that did."""

BREAKS = {1: Outcome.BREAK_UP, -1: Outcome.BREAK_DOWN}
REJECTS = {1: Outcome.REJECT_DOWN, -1: Outcome.REJECT_UP}


def barrier_ticks(sigma: np.ndarray, horizon_s: int, params: SetupParams) -> np.ndarray:
    """Barrier of a horizon in ticks: the knob, or ``max(2, round(0.82 * sigma * sqrt(T)))`` where that is ``auto``.

    Parameters
    ----------
    sigma : ndarray of float64
        Ticks per sqrt(second), NaN where unknown.

    Returns
    -------
    ndarray of int64
        0 where it is not known.
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


def reaches(
    time: np.ndarray, tick: np.ndarray, start: np.ndarray, level: np.ndarray, sign: np.ndarray, end_ns: np.ndarray, most: int
) -> np.ndarray:
    """When price first reached each distance from the level after a touch, with the travel and against it.

    Parameters
    ----------
    time, tick : ndarray of int64, shape (trades,)
    start : ndarray of int64, shape (touches,)
        The trade from which on it counts, itself included.
    level, sign : ndarray of int64, shape (touches,)
        Frozen level; +1 for travel up, -1 down.
    end_ns : ndarray of int64, shape (touches,)
        End of the longest horizon, exclusive.
    most : int
        Largest distance looked at, ticks.

    Returns
    -------
    ndarray of int64, shape (touches, 2, most + 1)
        Number of the trade; ahead, then behind; `NEVER` where it was not reached.
    """
    out = np.full((start.size, 2, most + 1), NEVER, np.int64)
    _reach(time, tick, start, level, sign, end_ns, out)
    return out


def outcomes(
    time: np.ndarray,
    tick: np.ndarray,
    start: np.ndarray,
    clock_ns: np.ndarray,
    level: np.ndarray,
    sign: np.ndarray,
    sigma: np.ndarray,
    data_end_ns: int,
    params: SetupParams,
    longest_s: int,
) -> dict[str, np.ndarray]:
    """Labels and hits of touches, one item each; a label whose horizon reaches past the data is "" (none), and so are its like.

    Parameters
    ----------
    time, tick : ndarray of int64, shape (trades,)
        In order; several trades may have the same time.
    start, clock_ns, level, sign : ndarray of int64, shape (touches,)
        First trade that counts, the clock's start, frozen level, direction of travel.
    sigma : ndarray of float64, shape (touches,)
        For an ``auto`` barrier.
    data_end_ns : int
        Where the session's data end.
    longest_s : int
        Horizons beyond this have no label.

    Returns
    -------
    dict
        ``outcome_h0`` ... (str, "" for none); ``barrier_ticks``; ``first_hit_ts_ns, second_hit_ts_ns, first_hit_bars,
        second_hit_bars, adverse_before_hit_ticks`` (-1 for none); ``excursion_up_ticks, excursion_down_ticks,
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
    reach = reaches(time, tick, touches[0], touches[1], touches[2], touches[3], most)[at.reshape(-1)]
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
