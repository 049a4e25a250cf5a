"""Every feature equals its slow twin to 1e-12; mirrored markets give mirrored features."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.features import feature_names, level_windows, table_features
from engine.ladder import Ladder
from engine.levels import LEVEL_SCHEMA
from engine.params import ApproachParams, FeatureParams, ZoneParams
from engine.vocab import LADDER_COLUMNS
from tests.reference import feature_twin
from tests.reference.ladder_twin import TwinLadder
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames

SECONDS = 90


def steps(spans: list[tuple[str, int, int, int]]) -> pl.DataFrame:
    """LEVELS frame from (id, start second, end second, tick)."""
    rows = [(i, (START_S + a) * NS, (START_S + b) * NS, k * 0.25, k) for i, a, b, k in spans]
    return pl.DataFrame(rows, schema=LEVEL_SCHEMA, orient="row")


@st.composite
def zone_params(draw: st.DrawFn) -> ZoneParams:
    at = draw(st.integers(0, 4))
    near = at + draw(st.integers(1, 4))
    mid = near + draw(st.integers(1, 10))
    return ZoneParams(at=at, near=near, mid=mid, far=mid + draw(st.integers(1, 10)))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    window_s=st.integers(1, 11),
    zones=zone_params(),
    touch_ticks=st.integers(1, 30),
    offset=st.integers(-45, 45),
    cut=st.integers(1, SECONDS - 1),
    reach=st.integers(1, 25),
    back=st.integers(1, 4),
)
def test_features_equal_twin(
    seed: int, window_s: int, zones: ZoneParams, touch_ticks: int, offset: int, cut: int, reach: int, back: int
) -> None:
    rows, tape = make_frames(SECONDS, seed, span=30, invalid_share=0.04, one_sided_share=0.5, quiet_start=seed % 4 * 4, move=0.5)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    twin = TwinLadder(rows.to_dicts(), tape.to_dicts())
    # A level that steps at `cut` and one that has a value for the second half only, beside each other.
    frame = steps([("a", 0, cut, 20_000 + offset), ("a", cut, SECONDS, 20_003), ("b", SECONDS // 2, SECONDS, 19_999)])
    params = FeatureParams(window_s=window_s, zones=zones, touch_ticks=touch_ticks)
    table = level_windows(ladder, frame, params, ApproachParams(max_distance_ticks=reach, lookback_windows=back))
    twin_zones = feature_twin.Zones(zones.at, zones.near, zones.mid, zones.far)
    starts = [s for s in range(START_S, START_S + SECONDS) if s % window_s == 0 and s + window_s <= START_S + SECONDS]
    last = [twin.tape[s + window_s - 1]["last_tick"] for s in starts]
    found = iter(table.to_dicts())
    for level_id, level in (("a", lambda s: 20_000 + offset if s < START_S + cut else 20_003), ("b", lambda s: 19_999)):
        for t, s in enumerate(starts):
            if level_id == "b" and s < START_S + SECONDS // 2:
                continue
            row = next(found)
            k_ref = level(s)
            assert (row["level_id"], row["window_start_ts_ns"], row["level_tick"]) == (level_id, s * NS, k_ref)
            assert row["window_end_ts_ns"] == (s + window_s) * NS
            assert row["distance_ticks"] == (None if last[t] is None else last[t] - k_ref)
            assert row["approach"] == feature_twin.approach(last, k_ref, t, reach, back)
            assert row["book_valid"] == twin.valid(s, window_s)
            expected = feature_twin.Window(twin, s, window_s, k_ref, twin_zones, touch_ticks).row()
            assert set(expected) == {f.name for f in table_features()}
            for name, value in expected.items():
                if isinstance(value, float):
                    assert math.isclose(row[name], value, rel_tol=1e-12, abs_tol=1e-12), (name, s)
                else:
                    assert row[name] == value, (name, s)
    assert next(found, None) is None


def mirror(rows: pl.DataFrame, tape: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same market upside down: tick -k, bids for asks."""
    swapped = {name: name.replace("bid_", "@").replace("ask_", "bid_").replace("@", "ask_") for name in LADDER_COLUMNS}
    rows = rows.select(
        "window_start_ts_ns", "window_end_ts_ns", -pl.col("tick"), "keyframe", *(pl.col(b).alias(a) for a, b in swapped.items())
    )
    tape = tape.with_columns(
        best_bid_tick=-pl.col("best_ask_tick"), best_ask_tick=-pl.col("best_bid_tick"), last_tick=-pl.col("last_tick"),
        high_tick=-pl.col("low_tick"), low_tick=-pl.col("high_tick"), buy_volume="sell_volume", sell_volume="buy_volume",
        bid_size="ask_size", ask_size="bid_size", ofi=-pl.col("ofi"),
    )  # fmt: skip
    return rows.sort("window_start_ts_ns", "tick"), tape


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), offset=st.integers(-40, 40), window_s=st.integers(1, 9))
def test_mirrored_market_gives_mirrored_features(seed: int, offset: int, window_s: int) -> None:
    rows, tape = make_frames(SECONDS, seed, span=30, invalid_share=0.04, one_sided_share=0.5, quiet_start=3, move=0.5)
    params = FeatureParams(window_s=window_s)
    level = 20_000 + offset
    a = level_windows(Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE), steps([("x", 0, SECONDS, level)]), params)
    b = level_windows(Ladder.from_frames(*mirror(rows, tape), symbol=SYMBOL, date=DATE), steps([("x", 0, SECONDS, -level)]), params)
    pairs = {n: n for n in feature_names("tape")}
    pairs |= {"t10_ask_com_touch_log": "t11_bid_com_touch_log", "t11_bid_com_touch_log": "t10_ask_com_touch_log"}
    for name in feature_names("vacuum_down"):
        pairs[name] = name
        for one, other in (("f1_ask", "f3_bid"), ("f3_bid", "f1_ask"), ("f2_ask", "f4_bid"), ("f4_bid", "f2_ask")):
            if name.startswith(one):
                pairs[name] = other + name[len(one) :]
    pairs |= {"ask_pull_add_log": "bid_pull_add_log", "down_open": "down_open"}
    for name, other in pairs.items():
        left, right = a[name].cast(pl.Float64).to_numpy(), b[other].cast(pl.Float64).to_numpy()
        assert np.allclose(left, right, rtol=0, atol=1e-12, equal_nan=True), name
    assert a["distance_ticks"].to_list() == [None if d is None else -d for d in b["distance_ticks"]]
    turned = {"approach_up": "approach_down", "approach_down": "approach_up", "approach_none": "approach_none"}
    assert a["approach"].to_list() == [turned[x] for x in b["approach"]]
