"""Vectors: layout, names, history, mirror image, and equality with a slow twin (features.md section 5)."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ContractError
from engine.features import feature_names, level_steps, level_windows
from engine.features.vector import (
    as_lists,
    base_names,
    family_of,
    feature_list,
    feature_of,
    primitive_names,
    trigger_vectors,
    vector_names,
)
from engine.ladder import Ladder
from engine.params import FeatureParams
from tests.property.test_feature_properties import mirror
from tests.reference.ladder_twin import TwinLadder
from tests.reference.vector_twin import Vectors
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames

UP, DOWN = "approach_up", "approach_down"


def vector_matrix(vectors: pl.Series, dimensions: int) -> np.ndarray:
    """``(rows, dimensions)`` float32 of vectors; ContractError where one is null or has another length."""
    if vectors.null_count() or (vectors.list.len() != dimensions).any():
        raise ContractError(f"vectors: expected {dimensions} numbers in every row, found null or other lengths")
    return vectors.explode().to_numpy().astype(np.float32, copy=False).reshape(-1, dimensions)


SECONDS = 70


def triggers(rows: list[tuple[int, int, str]], window_s: int) -> pl.DataFrame:
    """(window, level tick, approach) as triggers; what else they have depends on the row."""
    first = -(-START_S // window_s) * window_s
    frame = pl.DataFrame(rows, schema=["window", "level_tick", "approach"], orient="row")
    index = pl.int_range(pl.len())
    return frame.with_columns(
        window_end_ts_ns=(first + (pl.col("window") + 1) * window_s) * NS,
        distance_ticks=(index - 3).cast(pl.Int32),
        sigma=0.3 + index.cast(pl.Float64),
        message_rate=10.0 + index,
        trade_rate=1.5 * index,
    )


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), window_s=st.sampled_from([1, 2]), invalid=st.sampled_from([0.0, 0.01]))
def test_vectors_equal_twin(seed: int, window_s: int, invalid: float) -> None:
    rows, tape = make_frames(SECONDS, seed, span=30, invalid_share=invalid, move=0.5, quiet_start=seed % 3)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    twin = Vectors(TwinLadder(rows.to_dicts(), tape.to_dicts()), window_s)
    rng = np.random.default_rng(seed)
    windows = [22, 23, 26, 28, *rng.integers(27, len(twin.starts), 2).tolist()]
    moments = [(int(w), 20_000 + int(rng.integers(-12, 13)), str(rng.choice([UP, DOWN]))) for w in windows]
    frame = triggers(moments, window_s)
    params = FeatureParams(window_s=window_s)
    means, blocks = (trigger_vectors(ladder, frame, r, params).to_list() for r in ("means", "blocks"))
    for i, (w, k, approach) in enumerate(moments):
        if not twin.history_is_good(w):
            assert means[i] is None
            assert blocks[i] is None
            continue
        expected = twin.means(w, k, approach == UP, frame.row(i, named=True))
        compare(means[i], [expected[n] for n in vector_names("means", approach)], vector_names("means", approach))
        names = vector_names("blocks", approach)
        compare(blocks[i], [twin.block(*parse(n), w, k, order(n)) for n in names], names)


def parse(name: str) -> tuple[str, str]:
    block = next(b for b in ("w0", "w3_mean", "w9_mean", "w24_mean", "w3_delta", "w9_delta", "w24_delta") if name.startswith(f"{b}_"))
    rest = name.removeprefix(f"{block}_")
    return block, rest[3:] if rest[:3] in ("d1_", "d2_", "d3_") else rest


def order(name: str) -> int:
    rest = name.removeprefix(f"{parse(name)[0]}_")
    return int(rest[1]) if rest[:3] in ("d1_", "d2_", "d3_") else 0


def compare(found: list[float] | None, expected: list[float | None], names: tuple[str, ...]) -> None:
    if None in expected:
        assert found is None
        return
    assert found is not None
    for value, wanted, name in zip(found, expected, names, strict=True):
        assert wanted is not None
        assert math.isclose(value, wanted, rel_tol=3e-6, abs_tol=3e-6), name  # kept as float32


def test_a_named_dimension_read_back_is_its_feature() -> None:
    rows, tape = make_frames(400, 5, move=0.5)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    table = level_windows(ladder, level_steps("price:5000.5", 5000.5, ladder))
    t = 60
    for approach in (UP, DOWN):
        names = vector_names("blocks", approach)
        matrix = vector_matrix(trigger_vectors(ladder, triggers([(t, 20_002, approach)], 5), "blocks"), len(names))
        for feature in ("t2_absorption_at_log", "u13_bid_add_intensity_log" if approach == UP else "f4_bid_pull_add_log_rest"):
            x = table[feature].to_numpy()

            def read(name: str, matrix: np.ndarray = matrix, names: tuple[str, ...] = names) -> float:
                return float(matrix[0, names.index(name)])

            assert read(f"w0_{feature}") == pytest.approx(x[t], rel=1e-6)
            assert read(f"w0_d2_{feature}") == pytest.approx(x[t] - 2 * x[t - 1] + x[t - 2], rel=1e-5)
            assert read(f"w9_mean_{feature}") == pytest.approx(x[t - 8 : t + 1].mean(), rel=1e-5)
            assert read(f"w24_delta_{feature}") == pytest.approx((x[t] - x[t - 23]) / 23, rel=1e-4)
            assert read(f"w3_mean_d1_{feature}") == pytest.approx((x[t] - x[t - 3]) / 3, rel=1e-4)
    names = vector_names("means", UP)
    made = trigger_vectors(ladder, triggers([(t, 20_002, UP)], 5), "means").to_list()[0]
    assert made[names.index("b7_t9_distance")] == pytest.approx(table["t9_distance"].to_numpy()[t - 2 : t + 1].mean(), rel=1e-6)
    oldest = table["ask_pull_add_log"].to_numpy()[t - 23 : t - 20]
    assert made[names.index("b0_ahead_pull_add_log")] == pytest.approx(oldest.mean(), rel=1e-5)


def test_the_layout_is_block_then_feature_then_difference() -> None:
    names = vector_names("blocks", DOWN)
    assert names[:5] == (
        "w0_f1_ask_com_disp_log", "w0_d1_f1_ask_com_disp_log", "w0_d2_f1_ask_com_disp_log", "w0_d3_f1_ask_com_disp_log",
        "w0_f1_ask_slope_convex_log",
    )  # fmt: skip
    per_block = 4 * (23 + 11)
    assert names[per_block] == "w3_mean_f1_ask_com_disp_log"
    assert [n.rpartition("_f1_ask_com_disp_log")[0] for n in names[::per_block]] == [
        "w0", "w3_mean", "w9_mean", "w24_mean", "w3_delta", "w9_delta", "w24_delta",
    ]  # fmt: skip
    assert len(names) == 7 * per_block
    # Of the register those that blocks.py names: `test_vector_layout` has them written out.
    assert base_names(UP) == tuple(n for n in (*feature_names("vacuum_up"), *feature_names("tape")) if n in base_names(UP))
    assert vector_names("means", UP) == vector_names("means", DOWN)
    assert len(vector_names("means", UP)) == 8 * len(primitive_names()) + 4


def test_every_dimension_has_a_family_and_the_list_is_complete() -> None:
    known = {*feature_names(), *primitive_names()}
    for representation in ("means", "blocks"):
        for approach in (UP, DOWN):
            content = feature_list(representation, approach)
            assert json.loads(json.dumps(content)) == content
            assert [d["name"] for d in content["dimensions"]] == list(vector_names(representation, approach))
            assert len(set(vector_names(representation, approach))) == content["vector_dim"]
            for d in content["dimensions"]:
                assert d["family"] == "magnitude" or d["feature"] in known
    assert family_of("w24_mean_d3_t10_ask_com_touch_log") == "t"
    assert family_of("w3_delta_u17_up_total_log") == "u"
    assert feature_of("w0_f7_vacuum_total_log") == "f7_vacuum_total_log"
    assert [family_of(n) for n in ("b7_ahead_com_disp_log", "b0_behind_pull_add_log", "volatility_log", "distance")] == [
        "ahead", "behind", "magnitude", "magnitude",
    ]  # fmt: skip
    assert feature_list("blocks", UP)["hash"] != feature_list("blocks", DOWN)["hash"]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), offset=st.integers(-15, 15), up=st.booleans())
def test_means_of_a_market_upside_down_are_the_same(seed: int, offset: int, up: bool) -> None:
    rows, tape = make_frames(140, seed, span=30, move=0.5, one_sided_share=0.5, invalid_share=0.002)
    frame = triggers([(w, 20_000 + offset, UP if up else DOWN) for w in (23, 24, 27)], 5)
    upside_down = frame.with_columns(
        level_tick=-pl.col("level_tick"),
        approach=pl.lit(DOWN if up else UP),
        distance_ticks=-pl.col("distance_ticks"),
    )
    found = trigger_vectors(Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE), frame)
    other = trigger_vectors(Ladder.from_frames(*mirror(rows, tape), symbol=SYMBOL, date=DATE), upside_down)
    assert found.is_null().to_list() == other.is_null().to_list()
    for a, b in zip(found.drop_nulls(), other.drop_nulls()):
        np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), rtol=1e-6, atol=1e-7)


def test_a_moving_level_shares_nothing_with_its_windows_table() -> None:
    """Each trigger's history is taken around its own level: two levels at one moment, and one level at two, do not mix."""
    rows, tape = make_frames(400, 9, move=0.5)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    frame = triggers([(40, 20_003, UP), (40, 19_997, UP), (41, 20_003, UP), (40, 20_003, DOWN)], 5)
    together = trigger_vectors(ladder, frame).to_list()
    alone = [trigger_vectors(ladder, frame[i])[0].to_list() for i in range(4)]
    assert together == alone
    assert len({tuple(v) for v in alone}) == 4


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), w=st.integers(27, 40))
def test_vectors_never_look_ahead(seed: int, w: int) -> None:
    rows, tape = make_frames(250, seed, span=30, move=0.5)
    frame = triggers([(w, 20_003, UP), (w, 19_990, DOWN)], 5)
    past = pl.col("window_end_ts_ns") <= frame["window_end_ts_ns"][0]
    whole = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    short = Ladder.from_frames(rows.filter(past), tape.filter(past), symbol=SYMBOL, date=DATE)
    for representation in ("means", "blocks"):
        assert trigger_vectors(whole, frame, representation).equals(trigger_vectors(short, frame, representation))


def test_unknown_volatility_and_a_short_history_give_no_vector() -> None:
    rows, tape = make_frames(200, 9, move=0.5)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    frame = triggers([(22, 20_003, UP), (30, 20_003, UP), (31, 20_003, UP)], 5).with_columns(
        sigma=pl.when(pl.int_range(pl.len()) < 2).then(pl.col("sigma"))
    )
    assert trigger_vectors(ladder, frame).is_null().to_list() == [True, False, True]
    assert trigger_vectors(ladder, frame, "blocks").is_null().to_list() == [True, False, False]
    assert trigger_vectors(ladder, frame.clear()).to_list() == []


def test_bad_input_is_named() -> None:
    rows, tape = make_frames(200, 9)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    frame = triggers([(24, 20_003, UP)], 5)
    with pytest.raises(ContractError, match="expected one of means, blocks"):
        trigger_vectors(ladder, frame, "learned")
    with pytest.raises(ContractError, match="missing sigma"):
        trigger_vectors(ladder, frame.drop("sigma"))
    with pytest.raises(ContractError, match="expected windows within"):
        trigger_vectors(ladder, triggers([(300, 20_003, UP)], 5))
    with pytest.raises(ContractError, match="approach_up or approach_down"):
        trigger_vectors(ladder, frame.with_columns(approach=pl.lit("approach_none")))
    with pytest.raises(ContractError, match="expected 3 numbers"):
        vector_matrix(as_lists(np.ones((2, 4))), 3)
