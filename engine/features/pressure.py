"""Pressure at a price: who pushes which way, per price row and window (features.md section 7)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import ContractError
from engine.features.registry import feature
from engine.vocab import NS

if TYPE_CHECKING:
    import xarray as xr

    from engine.ladder import Ladder

_ROW = {"family": "pressure", "unit": "contracts"}


@feature("long", formula="bid_add + ask_pull + ask_fill", range="[0, inf)", meaning="Flow that pushes price up", **_ROW)
def long(cube: Any) -> Any:
    """Flow that pushes up."""
    return cube["bid_add"] + cube["ask_pull"] + cube["ask_fill"]


@feature("short", formula="ask_add + bid_pull + bid_fill", range="[0, inf)", meaning="Flow that pushes price down", **_ROW)
def short(cube: Any) -> Any:
    """Flow that pushes down."""
    return cube["ask_add"] + cube["bid_pull"] + cube["bid_fill"]


@feature(
    "net",
    family="pressure",
    formula="(long - short) / (long + short + 1)",
    unit="share",
    range="(-1, 1)",
    meaning="Which way flow pushes, on balance",
)
def net(cube: Any) -> Any:
    """Balance of long and short flow."""
    return (cube["long"] - cube["short"]) / (cube["long"] + cube["short"] + 1)


@feature("bid_change", formula="bid_depth - bid_depth_start", range="(-inf, inf)", meaning="Change of the resting bids", **_ROW)
def bid_change(cube: Any) -> Any:
    """Change of resting bids over the window."""
    return cube["bid_depth"] - cube["bid_depth_start"]


@feature("ask_change", formula="ask_depth - ask_depth_start", range="(-inf, inf)", meaning="Change of the resting asks", **_ROW)
def ask_change(cube: Any) -> Any:
    """Change of resting asks over the window."""
    return cube["ask_depth"] - cube["ask_depth_start"]


def pressure(cube: xr.Dataset, half_life_s: float = 0.0) -> xr.Dataset:
    """`cube` with ``long, short, net, bid_change, ask_change`` beside its variables.

    Parameters
    ----------
    cube : xr.Dataset
        From `engine.ladder.Ladder.cube`.
    half_life_s : float
        Above 0, `long` and `short` are sums over the cube's windows so far, each weighted by ``2 ** (-age / half_life_s)``;
        flow before the cube's first window does not count.

    Returns
    -------
    xr.Dataset
        float64 ``(window, tick)``: `long`, `short` (contracts), `net`, `bid_change`, `ask_change`. NaN in windows that are
        not valid: a clear or a snapshot yields no features, and its flows enter no decayed sum.

    Raises
    ------
    ContractError
        On a half-life below 0.
    """
    if half_life_s < 0:
        raise ContractError(f"pressure: expected half_life_s >= 0, found {half_life_s}")
    valid = cube["book_valid"].to_numpy()
    data = {name: cube[name].to_numpy() for name in _INPUTS}
    for name, function in (("long", long), ("short", short)):
        flow = np.where(valid[:, None], function(data), 0).astype(np.float64)
        data[name] = _decayed(flow, 0.5 ** (cube.attrs["window_s"] / half_life_s)) if half_life_s > 0 else flow
    for name, function in (("net", net), ("bid_change", bid_change), ("ask_change", ask_change)):
        data[name] = function(data)
    out = {name: (("window", "tick"), np.where(valid[:, None], data[name], np.nan)) for name in _OUTPUTS}
    return cube.assign(out)


LEAD_HALF_LIVES = 6
"""Flow this many half-lives old counts 1/64 of what it was; older flow is left out of a decayed sum."""


def pressure_cube(
    ladder: Ladder,
    start_ns: int,
    end_ns: int,
    tick_low: int,
    tick_high: int,
    *,
    window_s: int = 1,
    step_ticks: int = 1,
    half_life_s: float = 0.0,
) -> xr.Dataset:
    """A slice of `ladder` with `pressure`, its decayed sums begun `LEAD_HALF_LIVES` before it (or where the session begins).

    So a window's pressure hardly depends on where the slice starts: what is missing of a decayed sum is less than 1/64 of what
    stood there before the lead.

    Parameters
    ----------
    start_ns, end_ns, tick_low, tick_high, window_s, step_ticks
        As `engine.ladder.Ladder.cube`.
    half_life_s : float
        As `pressure`.

    Raises
    ------
    SessionError
        Where the slice is empty.
    ContractError
        On a half-life below 0.
    """
    lead_ns = math.ceil(LEAD_HALF_LIVES * half_life_s / window_s) * window_s * NS if half_life_s > 0 else 0
    first, _ = ladder.windows(window_s, start_ns, end_ns)
    cube = pressure(ladder.cube(start_ns - lead_ns, end_ns, tick_low, tick_high, window_s=window_s, step_ticks=step_ticks), half_life_s)
    begin = int(np.searchsorted(cube["window_start_ts_ns"].to_numpy(), ladder.start_ns + first * NS))
    return cube.isel(window=slice(begin, None)) if begin else cube


_INPUTS = (
    "bid_add",
    "ask_add",
    "bid_pull",
    "ask_pull",
    "bid_fill",
    "ask_fill",
    "bid_depth",
    "ask_depth",
    "bid_depth_start",
    "ask_depth_start",
)
_OUTPUTS = ("long", "short", "net", "bid_change", "ask_change")


def _decayed(flow: np.ndarray, keep: float) -> np.ndarray:
    out = flow.copy()
    for w in range(1, len(out)):
        out[w] += keep * out[w - 1]
    return out
