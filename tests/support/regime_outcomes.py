"""What regimes do to outcomes: every touch of a level in simulated cash sessions, judged by trades, and the table of it."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl

from engine.params import SimParams
from engine.sessions import to_ns
from engine.simulate.day import Day
from engine.simulate.oracle import OUTCOMES, UNTOUCHED, outcome_of, trades_of
from engine.simulate.regimes import DRIFT, DRIFT_TICKS, PRIORS, REGIMES
from engine.vocab import NS

LEVEL_EVERY_TICKS = 40
HORIZON_S, BARRIER_TICKS, RESPONSE_S = 180, 8, 10

EXPECTED = {"hold": "reject", "absorb": "reject", "pull": "break", "spoof": "break", "chop": "reject"}
"""What a known regime lets one expect. Chop leans neither way, but that the mid is half a tick before the level at the touch."""


def touches(date: dt.date, seed: int, rate: float, kappa: float, gamma: float = 0.5) -> pl.DataFrame:
    """Touches of the cash session of a day with a level at every fortieth tick.

    Columns: ``regime``; ``outcome`` from the touch by the first trade at or beyond the level to the first trade eight ticks beyond it
    (break) or back (reject) within 180 s, else chop; ``by_mid``, the same where touch and barriers are looked at on the mid, on the
    kernel's time grid, as `truth` has it; ``went``, ticks beyond the level of the last trade ten seconds after the touch.
    """
    close = dt.time(16)
    day = Day(date, SimParams(seed=seed, rate=rate, kappa=kappa, gamma=gamma, round_ticks=LEVEL_EVERY_TICKS, thin_after=close))
    start, end = to_ns(date, dt.time(9, 30)), to_ns(date, close)
    parts = [trades_of(rows, day.main_id, day.tick_fixed) for rows in day.run_main(end)]
    ts, tick = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    out = []
    truth = day.truth().filter((pl.col("start_ts_ns") >= start) & pl.col("level_id").str.starts_with("price:"))
    for a in truth.iter_rows(named=True):
        sign = 1 if a["approach"] == "approach_up" else -1
        lo = int(np.searchsorted(ts, a["start_ts_ns"]))
        hi = int(np.searchsorted(ts, a["end_ts_ns"] + HORIZON_S * NS, "right"))
        found = outcome_of(
            ts[lo:hi] - a["start_ts_ns"], tick[lo:hi], a["level_tick"], sign,
            wait_s=1 + (a["end_ts_ns"] - a["start_ts_ns"]) // NS, horizon_s=HORIZON_S, barrier_ticks=BARRIER_TICKS,
        )  # fmt: skip
        if found == UNTOUCHED or a["end_ts_ns"] + HORIZON_S * NS > end:
            continue
        beyond = sign * (tick[lo:hi] - a["level_tick"])
        touch = lo + int(np.argmax(beyond >= 0))
        went = int(beyond[int(np.searchsorted(ts, ts[touch] + RESPONSE_S * NS)) - 1 - lo])
        out.append({"regime": a["regime"], "outcome": OUTCOMES[found], "by_mid": a["outcome"], "went": went})
    return pl.DataFrame(out, schema={"regime": pl.String, "outcome": pl.String, "by_mid": pl.String, "went": pl.Int64})


def shares(frame: pl.DataFrame, column: str = "outcome") -> dict[str, float]:
    """Shares of break, reject and chop; rejects among the decided; two-way accuracy where the regime is known; each with the count
    (``n``, ``n_decided``) that its binomial error is taken from."""
    touched = frame.filter(pl.col(column).is_in(["break", "reject", "chop"]))
    decided = touched.filter(pl.col(column) != "chop")
    outcome = touched[column].to_numpy()
    right = decided[column] == decided["regime"].replace_strict(EXPECTED, return_dtype=pl.String)
    return {
        **{k: float((outcome == k).mean()) if len(outcome) else math.nan for k in ("break", "reject", "chop")},
        "reject_of_decided": float((decided[column].to_numpy() == "reject").mean()) if decided.height else math.nan,
        "accuracy": float(right.to_numpy().mean()) if decided.height else math.nan,
        "n": float(touched.height),
        "n_decided": float(decided.height),
    }


def expected_shares(kappa: float, gamma: float, gain: float = 1.0, start_ticks: float = 0.5) -> dict[str, float]:
    """What a plain diffusion would do: probability of reject by regime and over all of them, and the accuracy with the regime known.

    Scale functions of a diffusion whose drift over variance is ``-kappa gamma xi / 4`` per tick within four ticks of the level and
    nought beyond (Karlin and Taylor 1981, section 15.3); started `start_ticks` before the level, with barriers at eight ticks.
    """
    x = np.linspace(-BARRIER_TICKS, BARRIER_TICKS, 3201)
    inside = np.clip(x, -DRIFT_TICKS, DRIFT_TICKS)
    out = {}
    for regime, xi in zip(REGIMES, DRIFT):
        scale = np.exp(2.0 * gain * kappa * gamma * xi / DRIFT_TICKS * inside)
        total = np.concatenate([[0.0], np.cumsum(0.5 * (scale[1:] + scale[:-1]))])
        out[regime] = float(1.0 - np.interp(-start_ticks, x, total) / total[-1])
    right = [p if EXPECTED[r] == "reject" else 1.0 - p for r, p in out.items()]
    return {**out, "reject_of_decided": float(np.dot(PRIORS, list(out.values()))), "accuracy": float(np.dot(PRIORS, right))}


def same_shares(counts: tuple[float, ...], others: tuple[float, ...]) -> float:
    """Probability of a difference at least as large between two samples of the same outcomes (chi-square of homogeneity).

    `counts` and `others` have the count of each outcome, none of which is nought in both.
    """
    from scipy.stats import chi2_contingency

    return float(chi2_contingency(np.array([counts, others])).pvalue)
