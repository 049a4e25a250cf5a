"""The layout of the vectors, written out: a feature that is registered later changes no vector of a lake."""

from __future__ import annotations

import pytest

from engine.features import feature, feature_names, registry
from engine.features.vector import base_names, feature_list, vector_names

TAPE = (
    "t1_aggressor_imbalance", "t2_absorption_at_log", "t3_replenish_at_log", "t4_fill_intensity_log", "t5_ofi", "t6_path_depth_log",
    "t7_path_pull_add_log", "t8_speed", "t9_distance", "t10_ask_com_touch_log", "t11_bid_com_touch_log",
)  # fmt: skip
FROM_ABOVE = (
    "f1_ask_com_disp_log", "f1_ask_slope_convex_log", "f1_ask_slope_inner_log", "f1_ask_at_share_delta", "f1_ask_near_share_delta",
    "f1_ask_reprice_away_share_rest", "f2_ask_pull_add_log_rest", "f2_ask_pull_intensity_log_rest", "f2_ask_at_pull_share_rest",
    "f2_ask_near_pull_share_rest", "f3_bid_com_disp_log", "f3_bid_slope_convex_log", "f3_bid_slope_inner_log",
    "f3_bid_at_share_delta", "f3_bid_near_share_delta", "f3_bid_reprice_away_share_rest", "f4_bid_pull_add_log_rest",
    "f4_bid_pull_intensity_log_rest", "f4_bid_at_pull_share_rest", "f4_bid_near_pull_share_rest", "f5_vacuum_expansion_log",
    "f6_vacuum_decay_log", "f7_vacuum_total_log",
)  # fmt: skip
FROM_BELOW = (
    "u1_ask_com_disp_log", "u2_ask_slope_convex_log", "u2_ask_slope_inner_log", "u3_ask_at_share_decay", "u3_ask_near_share_decay",
    "u4_ask_reprice_away_share_rest", "u5_ask_pull_add_log_rest", "u6_ask_pull_intensity_log_rest", "u7_ask_at_pull_share_rest",
    "u7_ask_near_pull_share_rest", "u8_bid_com_approach_log", "u9_bid_slope_support_log", "u9_bid_slope_inner_log",
    "u10_bid_at_share_rise", "u10_bid_near_share_rise", "u11_bid_reprice_toward_share_rest", "u12_bid_add_pull_log_rest",
    "u13_bid_add_intensity_log", "u14_bid_far_pull_share_rest", "u15_up_expansion_log", "u16_up_flow_log", "u17_up_total_log",
)  # fmt: skip
SIDE = (
    "com_disp_log", "slope_convex_log", "slope_inner_log", "at_share_delta", "near_share_delta", "reprice_away_share_rest",
    "pull_add_log_rest", "pull_intensity_log_rest", "at_pull_share_rest", "near_pull_share_rest", "far_pull_share_rest",
    "pull_add_log", "add_intensity_log", "com_touch_log",
)  # fmt: skip
BLOCKS = ("w0", "w3_mean", "w9_mean", "w24_mean", "w3_delta", "w9_delta", "w24_delta")

HASHES = {
    ("means", "approach_down"): "3a53974d474d7f6a0c1e634bac8f3d4d0ab78cdf0cdd7c42e6d659673b49cd6f",
    ("means", "approach_up"): "3fd456bf27bc23c6318db0131ff1ff35185860529be240ab06687d590870c70d",
    ("blocks", "approach_down"): "b91c1bce16f5a427d6c9f0c8941c6915c19cba7efe88a6e6cebaf7ea3ff64c60",
    ("blocks", "approach_up"): "087985e74094e8149908f5bbd6c4a17c1f644909f60876abf1eafbdbfb44f8d9",
}
"""Of the feature lists as lakes and indexes have them."""


def check_layout() -> None:
    """Every vector has the dimensions that are written out here."""
    for approach, vacuum in (("approach_down", FROM_ABOVE), ("approach_up", FROM_BELOW)):
        assert base_names(approach) == (*vacuum, *TAPE)
        expected = tuple(f"{b}_{d}{n}" for b in BLOCKS for n in (*vacuum, *TAPE) for d in ("", "d1_", "d2_", "d3_"))
        assert vector_names("blocks", approach) == expected
        primitives = (*(f"{way}_{n}" for way in ("ahead", "behind") for n in SIDE), *TAPE[:9])
        ends = ("distance", "volatility_log", "message_rate_log", "trade_rate_log")
        assert vector_names("means", approach) == (*(f"b{b}_{n}" for b in range(8) for n in primitives), *ends)
    assert {key: feature_list(*key)["hash"] for key in HASHES} == HASHES


def test_the_vectors_are_as_they_were() -> None:
    check_layout()
    assert {*FROM_ABOVE, *FROM_BELOW, *TAPE} <= set(feature_names())


@pytest.mark.parametrize("family", ["vacuum_down", "vacuum_up", "tape", "condition"])
def test_a_new_feature_changes_no_vector(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    feature_names()  # registers those of the package
    monkeypatch.setattr(registry, "_FEATURES", dict(registry._FEATURES))
    feature("x99_new", family=family, formula="0", unit="", range="0", meaning="new")(lambda sums: sums.k_ref * 0.0)
    assert feature_names(family)[-1] == "x99_new"
    check_layout()
