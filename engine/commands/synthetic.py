"""Triggers from a known law, for an audit whose right answer is a number."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

    from engine.retrieval.audit import AuditData
    from engine.simulate.tier_a import Sample

FIRST = dt.date(2020, 1, 1)
BINS = 8
SPANS = (3, 9, 24)
OUTCOMES = np.array(["BREAK_UP", "REJECT_DOWN", "CHOP"], object)
"""Outcome of a label of tier A, at a level approached from below."""

TO_CLASSES = (1, 2, 0)
"""Tier A's columns (break, reject, chop) in retrieval's order (reject, chop, break)."""


@dataclass(frozen=True)
class Synthetic:
    """Triggers of a sample, and the sample they were made of."""

    data: AuditData
    sample: Sample


def synthetic_events(n: int, strength: float, seed: int, *, per_session: int = 20, permute: bool = False) -> Synthetic:
    """`n` triggers of tier A in both representations.

    Parameters
    ----------
    strength
        Standard deviation of the scores behind the labels; 0 makes labels of which no path knows anything.
    permute
        Deal the days' labels out to other days: paths and labels stay what they were, and know nothing of each other.
    """
    from engine.retrieval.audit import AuditData
    from engine.retrieval.events import Events
    from engine.retrieval.permute import permute_days
    from engine.simulate.tier_a import Law, draw

    law = Law(strength=strength)
    sample = draw(law, n, seed, per_session=per_session)
    frame = _frame(sample.labels, sample.sessions, seed)
    means, mean_names = means_of(sample.paths)
    blocks, block_names = blocks_of(sample.paths)
    parts = [Events(means, mean_names, "means", frame), Events(blocks, block_names, "blocks", frame)]
    if permute:
        # The exact law of dealt-out labels given a path is not the sample's any more.
        parts = permute_days(parts, seed)
        return Synthetic(AuditData(parts[0], parts[1:]), sample)
    return Synthetic(AuditData(parts[0], parts[1:], sample.posterior[:, TO_CLASSES]), sample)


def means_of(paths: NDArray[np.float64]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Means over 8 bins of a path: ``(n, 8 * features)`` and names."""
    n, windows, features = paths.shape
    bins = paths.reshape(n, BINS, windows // BINS, features).mean(axis=2)
    names = tuple(f"b{b}_x{f}" for b in range(BINS) for f in range(features))
    return bins.reshape(n, -1).astype(np.float32), names


def blocks_of(paths: NDArray[np.float64]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The original schema of a path (features.md section 5): seven blocks of each feature and its three differences."""
    steps = [paths]
    for _ in range(3):
        # A difference that reaches before the first window is 0.
        steps.append(np.diff(steps[-1], axis=1, prepend=steps[-1][:, :1]))
    x = np.stack(steps, axis=-1)
    last = x[:, -1]
    parts = {"w0": last}
    parts |= {f"w{k}_mean": x[:, -k:].mean(axis=1) for k in SPANS}
    parts |= {f"w{k}_delta": (last - x[:, -k]) / (k - 1) for k in SPANS}
    names = tuple(f"{b}_{d}x{f}" for b in parts for f in range(paths.shape[2]) for d in ("", "d1_", "d2_", "d3_"))
    return np.stack(list(parts.values()), axis=1).reshape(len(paths), -1).astype(np.float32), names


def _frame(labels: NDArray[np.int64], sessions: NDArray[np.int64], seed: int) -> pl.DataFrame:
    """The triggers' columns; covariates are drawn apart from paths and labels, so that the reference has nothing to find."""
    import polars as pl

    n = len(labels)
    rng = np.random.default_rng([seed, 2])
    reach = rng.integers(1, 12, (2, n))
    rates = np.random.default_rng([seed, 3]).lognormal([4.0, 1.0], 0.4, (n, 2))
    return pl.DataFrame(
        {
            "trigger_id": [f"synthetic/{i}" for i in range(n)],
            "episode_id": [f"synthetic/{i}" for i in range(n)],
            "session_date": [FIRST + dt.timedelta(days=int(s)) for s in sessions],
            "level_id": rng.choice(["pm_high", "or_high", "vwap"], n),
            "approach": ["approach_up"] * n,
            "kind": ["arm"] * n,
            "window_end_ts_ns": np.arange(n, dtype=np.int64) * 1_000_000_000,
            "distance_ticks": -rng.integers(1, 5, n).astype(np.int32),
            "sigma": np.exp(rng.normal(-0.2, 0.3, n)),
            "seconds_into_session": rng.integers(0, 10_800, n).astype(np.int32),
            "touch_number": rng.integers(1, 6, n).astype(np.int16),
            "confluent_levels": rng.integers(0, 3, n).astype(np.int16),
            "message_rate": rates[:, 0],
            "trade_rate": rates[:, 1],
            "touched": np.ones(n, bool),
            "outcome_h1": OUTCOMES[labels].tolist(),
            "seconds_to_touch": rng.exponential(20, n),
            "seconds_to_resolve": rng.exponential(40, n),
            "whipsaw_flag": rng.random(n) < 0.2,
            "excursion_up_ticks": reach[0].astype(np.int32),
            "excursion_down_ticks": reach[1].astype(np.int32),
            "adverse_before_hit_ticks": (reach[1] // 2).astype(np.int32),
        }
    )
