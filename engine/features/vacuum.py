"""Vacuum features: how resting orders leave the way of price (features.md section 3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.features.registry import feature
from engine.features.sums import AT, FAR, NEAR, SideSums, WindowSums

SideFunction = Callable[[SideSums], np.ndarray]
LOG, SHARE, DELTA = ("log ratio", "(-inf, inf)"), ("share", "[0, 1)"), ("share", "(-1, 1)")


def both_sides(
    name: str, numbers: tuple[str, str], formula: str, scale: tuple[str, str], meaning: str
) -> Callable[[SideFunction], SideFunction]:
    """Register a function of one side's sums for asks and for bids: ``{numbers[0]}_ask_{name}``, ``{numbers[1]}_bid_{name}``."""

    def register(function: SideFunction) -> SideFunction:
        for number, side in zip(numbers, ("ask", "bid"), strict=True):

            def of_side(sums: WindowSums, side: str = side) -> np.ndarray:
                return function(getattr(sums, side))

            _PENDING.append((f"{number}_{side}_{name}", f"{formula}, {side}s", scale, meaning.format(side=side), of_side))
        return function

    return register


_PENDING: list[tuple] = []
SHAPE = ("f1", "f3")
FLOW = ("f2", "f4")


@both_sides(
    "com_disp_log",
    SHAPE,
    "ln((com_end + 1) / (com_start + 1))",
    ("log ratio", "[-ln(far + 2), ln(far + 2)]"),
    "The {side}s' centre of mass moves away from the level (positive)",
)
def com_disp_log(s: SideSums) -> np.ndarray:
    """Log displacement of the centre of mass."""
    return np.log((s.com_end + 1) / (s.com_start + 1))


@both_sides(
    "slope_convex_log", SHAPE, "ln((D_far + 1) / (D_near + 1)) at the end", LOG, "More {side} depth far from the level than near it"
)
def slope_convex_log(s: SideSums) -> np.ndarray:
    """Far against near depth at the end."""
    return np.log((s.end[:, FAR] + 1) / (s.end[:, NEAR] + 1))


@both_sides("slope_inner_log", SHAPE, "ln((D_near + 1) / (D_at + 1)) at the end", LOG, "More {side} depth near the level than at it")
def slope_inner_log(s: SideSums) -> np.ndarray:
    """Near against at depth at the end."""
    return np.log((s.end[:, NEAR] + 1) / (s.end[:, AT] + 1))


def _share_delta(s: SideSums, zone: int) -> np.ndarray:
    return s.end[:, zone] / (s.end.sum(axis=1) + 1) - s.start[:, zone] / (s.start.sum(axis=1) + 1)


@both_sides("at_share_delta", SHAPE, "D_at / (D + 1), end minus start", DELTA, "The share of {side} depth at the level grows")
def at_share_delta(s: SideSums) -> np.ndarray:
    """Change of the share of depth at the level."""
    return _share_delta(s, AT)


@both_sides("near_share_delta", SHAPE, "D_near / (D + 1), end minus start", DELTA, "The share of {side} depth near the level grows")
def near_share_delta(s: SideSums) -> np.ndarray:
    """Change of the share of depth near the level."""
    return _share_delta(s, NEAR)


@both_sides(
    "reprice_away_share_rest",
    SHAPE,
    "(R_away + 0.5) / (R_away + R_toward + 1)",
    ("share", "(0, 1)"),
    "Rested {side}s that are repriced go away from the market rather than toward it; 0.5 where none is",
)
def reprice_away_share_rest(s: SideSums) -> np.ndarray:
    """Share of rested reprices that go away from the market."""
    return (s.away + 0.5) / (s.away + s.toward + 1)


@both_sides("pull_add_log_rest", FLOW, "ln((P + 1) / (A + 1))", LOG, "More rested {side}s pulled than added")
def pull_add_log_rest(s: SideSums) -> np.ndarray:
    """Rested pulls against adds."""
    return np.log((s.rest.sum(axis=1) + 1) / (s.add.sum(axis=1) + 1))


@both_sides(
    "pull_intensity_log_rest", FLOW, "ln(1 + P / (D_start + 1))", ("log ratio", "[0, inf)"), "Rested {side} pulls against what stood there"
)
def pull_intensity_log_rest(s: SideSums) -> np.ndarray:
    """Rested pulls against the depth at the start."""
    return np.log(1 + s.rest.sum(axis=1) / (s.start.sum(axis=1) + 1))


@both_sides("at_pull_share_rest", FLOW, "P_at / (P + 1)", SHARE, "Share of rested {side} pulls that happen at the level")
def at_pull_share_rest(s: SideSums) -> np.ndarray:
    """Share of rested pulls at the level."""
    return s.rest[:, AT] / (s.rest.sum(axis=1) + 1)


@both_sides("near_pull_share_rest", FLOW, "P_near / (P + 1)", SHARE, "Share of rested {side} pulls that happen near the level")
def near_pull_share_rest(s: SideSums) -> np.ndarray:
    """Share of rested pulls near the level."""
    return s.rest[:, NEAR] / (s.rest.sum(axis=1) + 1)


def pull_add_log(s: SideSums) -> np.ndarray:
    """All pulls against all adds."""
    return np.log((s.pull.sum(axis=1) + 1) / (s.add.sum(axis=1) + 1))


def add_intensity_log(s: SideSums) -> np.ndarray:
    """Adds against the depth at the start."""
    return np.log(1 + s.add.sum(axis=1) / (s.start.sum(axis=1) + 1))


def far_pull_share_rest(s: SideSums) -> np.ndarray:
    """Share of rested pulls in the far zone."""
    return s.rest[:, FAR] / (s.rest.sum(axis=1) + 1)


def com_touch_log(s: SideSums) -> np.ndarray:
    """Log displacement of the centre of mass in the book's own frame."""
    return np.log((s.touch_end + 1) / (s.touch_start + 1))


# The table's order is family by family (f1, f2, f3, f4), while each shape above is written once for both sides.
for _name, _formula, (_unit, _range), _meaning, _function in sorted(_PENDING, key=lambda p: p[0][:2]):
    feature(_name, family="vacuum_down", formula=_formula, unit=_unit, range=_range, meaning=_meaning)(_function)


def combined(
    name: str, family: str, parts: tuple[str, ...], meaning: str, *, sign: int = 1, plus: float = 0.0, scale: tuple[str, str] = LOG
) -> None:
    """Register ``plus + sign * (sum of other features)``."""

    def function(sums: WindowSums) -> np.ndarray:
        total = sum((sums[p] for p in parts[1:]), sums[parts[0]])
        return total if sign > 0 and plus == 0 else plus + sign * total

    formula = " + ".join(f"`{p}`" for p in parts)
    lead = f"{plus:g} " if plus else ""
    text = formula if sign > 0 and not plus else f"{lead}- {formula}"
    feature(name, family=family, formula=text, unit=scale[0], range=scale[1], meaning=meaning)(function)


combined("f5_vacuum_expansion_log", "vacuum_down", ("f1_ask_com_disp_log", "f3_bid_com_disp_log"), "Both sides move away from the level")
combined(
    "f6_vacuum_decay_log",
    "vacuum_down",
    ("f2_ask_pull_add_log_rest", "f4_bid_pull_add_log_rest"),
    "Both sides are pulled faster than added",
)
combined("f7_vacuum_total_log", "vacuum_down", ("f5_vacuum_expansion_log", "f6_vacuum_decay_log"), "Expansion and decay together")

_AWAY, _RISING = ("share", "(0, 1)"), ("log ratio", "[0, inf)")

for _name, _part, _sign, _plus, _scale, _meaning in (
    ("u1_ask_com_disp_log", "f1_ask_com_disp_log", 1, 0.0, LOG, "The asks' centre of mass moves up, away from the level"),
    ("u2_ask_slope_convex_log", "f1_ask_slope_convex_log", 1, 0.0, LOG, "More ask depth far above the level than near it"),
    ("u2_ask_slope_inner_log", "f1_ask_slope_inner_log", 1, 0.0, LOG, "More ask depth near the level than at it"),
    ("u3_ask_at_share_decay", "f1_ask_at_share_delta", -1, 0.0, DELTA, "The share of asks at the level shrinks"),
    ("u3_ask_near_share_decay", "f1_ask_near_share_delta", -1, 0.0, DELTA, "The share of asks near the level shrinks"),
    ("u4_ask_reprice_away_share_rest", "f1_ask_reprice_away_share_rest", 1, 0.0, _AWAY, "Rested asks that are repriced go up"),
    ("u5_ask_pull_add_log_rest", "f2_ask_pull_add_log_rest", 1, 0.0, LOG, "More rested asks pulled than added"),
    ("u6_ask_pull_intensity_log_rest", "f2_ask_pull_intensity_log_rest", 1, 0.0, _RISING, "Rested ask pulls against depth"),
    ("u7_ask_at_pull_share_rest", "f2_ask_at_pull_share_rest", 1, 0.0, SHARE, "Share of rested ask pulls at the level"),
    ("u7_ask_near_pull_share_rest", "f2_ask_near_pull_share_rest", 1, 0.0, SHARE, "Share of rested ask pulls near the level"),
    ("u8_bid_com_approach_log", "f3_bid_com_disp_log", -1, 0.0, LOG, "The bids' centre of mass moves up, toward the level"),
    ("u9_bid_slope_support_log", "f3_bid_slope_convex_log", -1, 0.0, LOG, "More bid depth near the level than far below it"),
    ("u9_bid_slope_inner_log", "f3_bid_slope_inner_log", -1, 0.0, LOG, "More bid depth at the level than near it"),
    ("u10_bid_at_share_rise", "f3_bid_at_share_delta", 1, 0.0, DELTA, "The share of bids at the level grows"),
    ("u10_bid_near_share_rise", "f3_bid_near_share_delta", 1, 0.0, DELTA, "The share of bids near the level grows"),
    ("u11_bid_reprice_toward_share_rest", "f3_bid_reprice_away_share_rest", -1, 1.0, _AWAY, "Rested bids that are repriced go up"),
    ("u12_bid_add_pull_log_rest", "f4_bid_pull_add_log_rest", -1, 0.0, LOG, "More bids added than rested bids pulled"),
):
    combined(_name, "vacuum_up", (_part,), _meaning, sign=_sign, plus=_plus, scale=_scale)


@feature(
    "u13_bid_add_intensity_log", family="vacuum_up", formula="ln(1 + A / (D_start + 1)), bids", unit="log ratio", range="[0, inf)",
    meaning="Bids added against what stood there",
)  # fmt: skip
def u13_bid_add_intensity_log(sums: WindowSums) -> np.ndarray:
    """Bid adds against the depth at the start."""
    return add_intensity_log(sums.bid)


@feature(
    "u14_bid_far_pull_share_rest", family="vacuum_up", formula="P_far / (P + 1), bids", unit="share", range="[0, 1)",
    meaning="Share of rested bid pulls that happen far below the level",
)  # fmt: skip
def u14_bid_far_pull_share_rest(sums: WindowSums) -> np.ndarray:
    """Share of rested bid pulls in the far zone."""
    return far_pull_share_rest(sums.bid)


combined("u15_up_expansion_log", "vacuum_up", ("u1_ask_com_disp_log", "u8_bid_com_approach_log"), "Asks move up and bids follow")
combined("u16_up_flow_log", "vacuum_up", ("u5_ask_pull_add_log_rest", "u12_bid_add_pull_log_rest"), "Asks are pulled and bids added")
combined("u17_up_total_log", "vacuum_up", ("u15_up_expansion_log", "u16_up_flow_log"), "Expansion and flow together")
