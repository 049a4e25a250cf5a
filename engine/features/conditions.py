"""The conditions of a fall away from a level and of a rise through it (features.md section 6): a hypothesis, shown as one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.features.registry import feature
from engine.features.sums import SideSums, WindowSums


def _pull_add_log(side: SideSums) -> np.ndarray:
    return np.log((side.pull.sum(axis=1) + 1) / (side.add.sum(axis=1) + 1))


@feature(
    "ask_pull_add_log",
    family="condition",
    formula="ln((pull + 1) / (add + 1)) over the four zones, asks",
    unit="log ratio",
    range="(-inf, inf)",
    meaning="Asks above are pulled faster than added: all pulls against all adds",
)
def ask_pull_add_log(sums: WindowSums) -> np.ndarray:
    """All ask pulls against all ask adds."""
    return _pull_add_log(sums.ask)


@feature(
    "bid_pull_add_log",
    family="condition",
    formula="ln((pull + 1) / (add + 1)) over the four zones, bids",
    unit="log ratio",
    range="(-inf, inf)",
    meaning="Bids below are pulled faster than added: all pulls against all adds",
)
def bid_pull_add_log(sums: WindowSums) -> np.ndarray:
    """All bid pulls against all bid adds."""
    return _pull_add_log(sums.bid)


CONDITIONS: tuple[tuple[str, str, int, str], ...] = (
    ("down_1", "f1_ask_com_disp_log", 1, "The asks above move higher"),
    ("down_2", "ask_pull_add_log", 1, "Sells above are pulled faster than added"),
    ("down_3", "f3_bid_com_disp_log", 1, "The bids below move lower"),
    ("down_4", "bid_pull_add_log", 1, "Buys below are pulled faster than added"),
    ("up_1", "u1_ask_com_disp_log", 1, "The asks above move higher"),
    ("up_2", "ask_pull_add_log", 1, "Sells above are pulled faster than added"),
    ("up_3", "u8_bid_com_approach_log", 1, "The bids below move higher"),
    ("up_4", "bid_pull_add_log", -1, "Buys below are added faster than pulled"),
)
"""Condition, the feature whose sign decides it (its strength), the sign that opens it, and what it says."""


def _condition(strength: str, sign: int) -> Callable[[WindowSums], np.ndarray]:
    return lambda sums: sign * sums[strength] > 0


def _count(direction: str) -> Callable[[WindowSums], np.ndarray]:
    names = [name for name, *_ in CONDITIONS if name.startswith(direction)]
    return lambda sums: sum((sums[n].astype(np.int8) for n in names), np.zeros(sums.k_ref.size, np.int8))


for _name, _strength, _sign, _meaning in CONDITIONS:
    feature(
        _name,
        family="condition",
        formula=f"`{_strength}` {'>' if _sign > 0 else '<'} 0",
        unit="",
        range="true, false",
        meaning=_meaning,
        dtype="boolean",
    )(_condition(_strength, _sign))
for _direction, _text in (("down", "of a fall away from the level"), ("up", "of a rise through the level")):
    feature(
        f"{_direction}_open",
        family="condition",
        formula=f"count of `{_direction}_1` to `{_direction}_4`",
        unit="conditions",
        range="0 to 4",
        meaning=f"How many conditions {_text} are open",
        dtype="int8",
    )(_count(_direction))
