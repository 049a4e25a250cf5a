"""Tape features: trading, in the frame of travel (features.md section 4)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.features.registry import feature
from engine.features.sums import AT, NEAR, WindowSums
from engine.features.vacuum import com_touch_log, pull_add_log


@feature(
    "t1_aggressor_imbalance", family="tape", formula="(V_ahead - V_behind) / (V_ahead + V_behind + 1)", unit="share", range="(-1, 1)",
    meaning="Aggressive volume within the far bound of the level goes with the travel",
)  # fmt: skip
def t1_aggressor_imbalance(sums: WindowSums) -> np.ndarray:
    """Aggressive volume with against that against the travel: fills of asks are buying, of bids selling."""
    buying, selling = sums.ask.volume, sums.bid.volume
    signed = np.where(sums.up, buying - selling, selling - buying)
    return sums.travelling(signed / (buying + selling + 1))


@feature(
    "t2_absorption_at_log", family="tape", formula="ln((fill_at + 1) / (max(D_at_start - D_at_end, 0) + 1))", unit="log ratio",
    range="(-inf, inf)", meaning="The defending side at the level trades more than its depth shrinks: it is refilled",
)  # fmt: skip
def t2_absorption_at_log(sums: WindowSums) -> np.ndarray:
    """Fills at the level against the loss of depth there, defending side."""
    lost = np.maximum(sums.defending("start")[:, AT] - sums.defending("end")[:, AT], 0)
    return sums.travelling(np.log((sums.defending("fill")[:, AT] + 1) / (lost + 1)))


@feature(
    "t3_replenish_at_log", family="tape", formula="ln((add_at + 1) / (fill_at + 1))", unit="log ratio", range="(-inf, inf)",
    meaning="The defending side at the level adds more than it trades",
)  # fmt: skip
def t3_replenish_at_log(sums: WindowSums) -> np.ndarray:
    """Adds against fills at the level, defending side."""
    return sums.travelling(np.log((sums.defending("add")[:, AT] + 1) / (sums.defending("fill")[:, AT] + 1)))


@feature(
    "t4_fill_intensity_log", family="tape", formula="ln(1 + (fill_at + fill_near) / (D_at_start + D_near_start + 1))", unit="log ratio",
    range="[0, inf)", meaning="How much of the defending side at and near the level is traded into",
)  # fmt: skip
def t4_fill_intensity_log(sums: WindowSums) -> np.ndarray:
    """Fills at and near the level against the depth at the start, defending side."""
    fill, start = sums.defending("fill"), sums.defending("start")
    return sums.travelling(np.log(1 + (fill[:, AT] + fill[:, NEAR]) / (start[:, AT] + start[:, NEAR] + 1)))


@feature(
    "t5_ofi", family="tape", formula="travel * OFI / mean size at the best prices", unit="ratio", range="(-inf, inf)",
    meaning="Order-flow imbalance at the best prices (Cont, Kukanov, Stoikov 2014) with the travel; null where no size stands there",
)  # fmt: skip
def t5_ofi(sums: WindowSums) -> np.ndarray:
    """Best-level order-flow imbalance over the mean of (bid size + ask size) / 2 at the ends of the window's seconds."""
    size = np.where(sums.mean_size > 0, sums.mean_size, np.nan)
    return sums.travelling(sums.travel * sums.ofi / size)


@feature(
    "t6_path_depth_log", family="tape", formula="ln((path depth + 1) / (depth over as many ticks behind the market + 1)) at the end",
    unit="log ratio", range="(-inf, inf)",
    meaning="More stands between the market and the level than behind the market; 0 on an empty path",
)  # fmt: skip
def t6_path_depth_log(sums: WindowSums) -> np.ndarray:
    """Depth on the path against the depth behind the market."""
    return sums.travelling(np.log((sums.path_end + 1) / (sums.behind_end + 1)))


@feature(
    "t7_path_pull_add_log", family="tape", formula="ln((pull + 1) / (add + 1)) on the path", unit="log ratio", range="(-inf, inf)",
    meaning="The path is pulled faster than it is added to",
)  # fmt: skip
def t7_path_pull_add_log(sums: WindowSums) -> np.ndarray:
    """Pulls against adds on the path that the market at the window's start has before it."""
    return sums.travelling(np.log((sums.path_pull + 1) / (sums.path_add + 1)))


@feature(
    "t8_speed", family="tape", formula="sign * ln(1 + abs(move in ticks)), signed by travel", unit="log ticks", range="(-inf, inf)",
    meaning="The last trade moves toward (positive) or back from the level over the window",
)  # fmt: skip
def t8_speed(sums: WindowSums) -> np.ndarray:
    """Signed log move of the last trade."""
    move = sums.last_end - sums.last_start
    return sums.travelling(sums.travel * np.sign(move) * np.log(1 + np.abs(move)))


@feature(
    "t9_distance", family="tape", formula="abs(d) / far bound at the end", unit="far bounds", range="[0, inf)",
    meaning="Distance of the last trade from the level",
)  # fmt: skip
def t9_distance(sums: WindowSums) -> np.ndarray:
    """Distance of the last trade from the level over the far bound (20 ticks by default)."""
    return np.abs(sums.last_end - sums.k_ref) / sums.params.zones.far


@feature(
    "t10_ask_com_touch_log", family="tape", formula="ln((com' end + 1) / (com' start + 1)), asks", unit="log ratio",
    range="[-ln(touch + 1), ln(touch + 1)]", meaning="The asks retreat from their own best price",
)  # fmt: skip
def t10_ask_com_touch_log(sums: WindowSums) -> np.ndarray:
    """Log displacement of the asks' centre of mass in the book's own frame."""
    return com_touch_log(sums.ask)


@feature(
    "t11_bid_com_touch_log", family="tape", formula="ln((com' end + 1) / (com' start + 1)), bids", unit="log ratio",
    range="[-ln(touch + 1), ln(touch + 1)]", meaning="The bids retreat from their own best price",
)  # fmt: skip
def t11_bid_com_touch_log(sums: WindowSums) -> np.ndarray:
    """Log displacement of the bids' centre of mass in the book's own frame."""
    return com_touch_log(sums.bid)


# ----------------------------------------------------------------------------
# The conditions of a fall away from a level and of a rise through it (features.md section 6): a hypothesis, shown as one


@feature(
    "ask_pull_add_log", family="condition", formula="ln((pull + 1) / (add + 1)) over the four zones, asks", unit="log ratio",
    range="(-inf, inf)", meaning="Asks above are pulled faster than added: all pulls against all adds",
)  # fmt: skip
def ask_pull_add_log(sums: WindowSums) -> np.ndarray:
    """All ask pulls against all ask adds."""
    return pull_add_log(sums.ask)


@feature(
    "bid_pull_add_log", family="condition", formula="ln((pull + 1) / (add + 1)) over the four zones, bids", unit="log ratio",
    range="(-inf, inf)", meaning="Bids below are pulled faster than added: all pulls against all adds",
)  # fmt: skip
def bid_pull_add_log(sums: WindowSums) -> np.ndarray:
    """All bid pulls against all bid adds."""
    return pull_add_log(sums.bid)


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
        _name, family="condition", formula=f"`{_strength}` {'>' if _sign > 0 else '<'} 0", unit="", range="true, false",
        meaning=_meaning, dtype="boolean",
    )(_condition(_strength, _sign))  # fmt: skip

for _direction, _text in (("down", "of a fall away from the level"), ("up", "of a rise through the level")):
    feature(
        f"{_direction}_open", family="condition", formula=f"count of `{_direction}_1` to `{_direction}_4`", unit="conditions",
        range="0 to 4", meaning=f"How many conditions {_text} are open", dtype="int8",
    )(_count(_direction))  # fmt: skip
