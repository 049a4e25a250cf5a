"""The order-stream model's constants and tables: what simulator.md gives, and what was measured beyond it.

Prices in ticks, time in seconds, rates per second. `rho` is the rate scale: 1 is a busy ES day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Volatility: y is the sum of three Ornstein-Uhlenbeck processes.
Y_SD = (0.40, 0.40, 0.25)
Y_TAU = (15.0, 150.0, 1500.0)
Y_VAR = sum(s * s for s in Y_SD)
SIGMA = 0.8
NOISE_SHARE = 0.6
MEAN_PULL = 0.06
JUMPS_PER_S = 1.0 / 3600.0
JUMP_SD = 2.0 / 0.8

# The signal that quotes follow: x = P + n - mid.
SIGNAL_SD, SIGNAL_TAU, X_CLIP = 0.15, 1.0, 4.0
EDGE_SLOPE = 8.0

# Orders: adds, life times, pulls.
ADD_RATE, REFILL_RATE, GAP_RATE = 330.0, 150.0, 250.0
REACH = 40
CLASS_RATE = (8.0, 1.2, 0.15, 0.02, 0.002)
CLASS_BIRTH = (0.48, 0.30, 0.17, 0.045, 0.005)
CANCEL_POWER = 1.15
MODIFY_SHARE, SIZE_DOWN_SHARE = 0.18, 0.40
PARTIAL_CANCEL_SHARE = 0.15  # of the size-downs; CME writes both forms
PULL_RATE, PULL_SLOPE, PULL_SLOPE_THIN, PULL_X, PULL_DEEPER = 10.0, 5.0, 10.0, 0.8, 0.18

# Aggression and its impact.
MARKET_RATE, HAWKES_BRANCH, HAWKES_DECAY = 4.0, 0.5, 5.0
INFORMED_RATE, INFORMED_X, INFORMED_CAP = 6.0, 0.4, 1.5
META_ORDERS, META_TAIL = 4, 1.50
REPEAT_SHARE, REPEAT_S = 0.3, 0.1
SWEEP_SHARE = 0.15
IMPACT_SHARE = 0.4
IMPACT_BASE, IMPACT_LOG = 0.48, 0.45
"""Impact grows with the log of size; about 1 in the mean square over the sizes there are."""

EMA_GAIN = (0.5, 0.125, 0.03, 0.008)
EMA_WEIGHT_THIN = (0.127, 0.354, 0.154, 0.180)
EMA_WEIGHT_FULL = (0.369, 0.019, 0.360, 0.095)
"""How the next sign is predicted, up to a 15% rate and at full rate (log-linear between). The second is the least-squares fit to four
million signs of the process itself: what is left autocorrelated of the surprises goes straight into the variance ratio (1.14 at full
rate with the weights first given). The first lies half way from those to its own fit, because thin books pull the ratio down."""

ICEBERG_SHARE = 0.02
QUANTILES = 4096


def distance_table() -> np.ndarray:
    """``(QUANTILES,)`` int32: ticks from the own best at which an add comes, by quantile."""
    weight = np.array([0.45] + [0.1155 / (1 + 0.35 * (i - 1)) ** 1.25 for i in range(1, REACH)])
    edge = np.cumsum(weight / weight.sum())
    return np.searchsorted(edge, (np.arange(QUANTILES) + 0.5) / QUANTILES).astype(np.int32)


def birth_table() -> np.ndarray:
    """``(REACH, 5)`` cumulative probability of the life-time class by distance: deep orders live longer."""
    i = np.minimum(np.arange(REACH), 12)[:, None]
    c = np.arange(5)[None, :]
    weight = np.array(CLASS_BIRTH)[None, :] * np.exp(0.08 * i * (c - 1))
    return np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1)


def size_params(rho: float) -> tuple[float, float, float]:
    """``(szmul, sd of d, dvol)`` at a rate, log-linear in `rho` between the three rates that the model was measured at."""
    at = np.log([0.10, 0.15, 1.0])
    x = math.log(min(max(rho, 0.10), 1.0))
    return (
        float(np.interp(x, at, [2.5, 2.0, 1.0])),
        float(np.interp(x, at, [0.25, 0.30, 0.40])),
        float(np.interp(x, at, [0.30, 0.35, 0.50])),
    )


# Parameters of one instrument's run, as the kernel takes them (float64).
(
    RHO, SZMUL, D_SD, DVOL, FOLLOW, KAPPA, GAMMA, IMPACT, REFILL_N, SMALL_TOUCH, D_TAU, ANCHOR_SCALE, ANCHOR_OFFSET,
    PULL_STEEP, GRID_S, EMA_W,
) = range(16)  # fmt: skip
WALL, WALL_TICKS, REARM_TICKS = 19, 20, 21
"""Bits of the ticks beyond the level at which regimes show, how many there are, and how far price must have been from a level before it is
approached again; after the four words of `EMA_W`."""

WALL_REACH = 16
PAR_WORDS = 24

# Float state of one instrument.
Y0, P_, N_, D_BID, D_ASK, HAWKES, EMA0, TARGET, VAR_LEFT, SLOW_S = 0, 3, 4, 5, 6, 7, 8, 12, 13, 14
FLOAT_WORDS = 32


def parameters(
    rho: float, *, follow: float = 0.0, kappa: float = 0.0, gamma: float = 0.5, wall: Sequence[int] = (0, 1, 2), rearm_ticks: int = 14
) -> np.ndarray:
    """The kernel's parameter vector; ``follow`` > 0 makes an instrument whose price follows an anchor at that rate."""
    par = np.zeros(PAR_WORDS)
    par[RHO] = rho
    par[SZMUL], par[D_SD], par[DVOL] = size_params(rho)
    par[FOLLOW] = follow
    par[KAPPA], par[GAMMA] = kappa, gamma
    par[WALL], par[WALL_TICKS] = sum(1 << k for k in set(wall)), len(set(wall))
    par[REARM_TICKS] = rearm_ticks
    par[IMPACT] = 0.0 if follow else math.sqrt(IMPACT_SHARE) * SIGMA / math.sqrt(0.85 * 8 * rho)
    par[REFILL_N] = max(3.0, 25.0 * math.sqrt(rho))
    par[SMALL_TOUCH] = 30.0 * par[SZMUL]
    par[D_TAU] = 30.0
    par[PULL_STEEP] = PULL_SLOPE_THIN if follow else PULL_SLOPE  # a contract nobody trades is not pulled about either
    full = min(1.0, max(0.0, math.log(rho / 0.15) / math.log(1 / 0.15)))
    par[EMA_W : EMA_W + 4] = (1 - full) * np.array(EMA_WEIGHT_THIN) + full * np.array(EMA_WEIGHT_FULL)
    par[GRID_S] = 0.2 if follow else 0.02
    return par
