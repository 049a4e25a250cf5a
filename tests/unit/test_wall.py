"""Wall features: equality with a slow twin, mirror image, no look-ahead."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.features import feature_names, features
from engine.features.vector import WALL, vector_names
from engine.features.wall_table import wall_table, wall_values, wall_vectors
from engine.ladder import Ladder
from engine.params import FeatureParams
from tests.property.test_feature_properties import mirror
from tests.reference.ladder_twin import TwinLadder
from tests.reference.wall_twin import wall_features
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames

UP, DOWN = "approach_up", "approach_down"
MID = 20_000


def moments(rows: list[tuple[int, int, str]]) -> pl.DataFrame:
    """(second of the session, level tick, approach) as triggers."""
    frame = pl.DataFrame(rows, schema=["second", "level_tick", "approach"], orient="row")
    rates = {c: pl.lit(1.0) for c in ("sigma", "message_rate", "trade_rate")}
    return frame.with_columns(window_end_ts_ns=(START_S + pl.col("second")) * NS, distance_ticks=pl.lit(-3, pl.Int32), **rates)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), invalid=st.sampled_from([0.0, 0.02]), move=st.sampled_from([0.1, 0.8]))
def test_wall_features_equal_their_twin(seed: int, invalid: float, move: float) -> None:
    rows, tape = make_frames(120, seed, span=30, invalid_share=invalid, move=move, quiet_start=seed % 3)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    twin = TwinLadder(rows.to_dicts(), tape.to_dicts())
    rng = np.random.default_rng(seed)
    asked = [(int(s), MID + int(rng.integers(-14, 15)), way) for s in (1, 9, 31, 77, 120) for way in (UP, DOWN)]
    found = wall_values(ladder, moments(asked), FeatureParams())
    for (second, level, way), values in zip(asked, found, strict=True):
        wanted = wall_features(twin, START_S + second, level, way == UP)
        assert dict(zip(WALL, values.tolist(), strict=True)) == pytest.approx(wanted, abs=1e-12)


def test_the_vector_is_of_all_features_of_the_family() -> None:
    assert vector_names("wall", UP) == vector_names("wall", DOWN) == WALL
    assert set(WALL) == set(feature_names("wall"))
    assert all(f.dtype == "float64" for f in features("wall"))


def test_a_market_upside_down_has_the_same_wall() -> None:
    rows, tape = make_frames(200, 3, move=0.6)
    here, there = (Ladder.from_frames(*f, symbol=SYMBOL, date=DATE) for f in ((rows, tape), mirror(rows, tape)))
    asked = [(s, MID + n, UP) for s in (150, 200) for n in (-3, 0, 4)]
    turned = [(s, -k, DOWN) for s, k, _ in asked]
    a, b = (wall_values(ladder, moments(m), FeatureParams()) for ladder, m in ((here, asked), (there, turned)))
    assert np.allclose(a, b)
    assert a.std(axis=0).max() > 0.1


def test_a_wall_never_looks_ahead() -> None:
    rows, tape = make_frames(240, 8, move=0.5)
    asked = moments([(200, MID + 2, UP), (200, MID - 2, DOWN), (150, MID, UP)])
    cut = (START_S + 200) * NS
    whole, until = (
        wall_vectors(Ladder.from_frames(*f, symbol=SYMBOL, date=DATE), asked)
        for f in ((rows, tape), tuple(f.filter(pl.col("window_start_ts_ns") < cut) for f in (rows, tape)))
    )
    assert whole.null_count() == 0
    assert whole.to_list() == until.to_list()


def test_a_moment_without_a_history_has_no_wall() -> None:
    rows, tape = make_frames(240, 8)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    made = wall_vectors(ladder, moments([(60, MID, UP), (200, MID, UP)]))
    assert made.is_null().to_list() == [True, False]
    ids = moments([(60, MID, UP), (200, MID, UP)]).with_columns(trigger_id=pl.Series(["a", "b"]))
    table = wall_table(ladder, ids)
    assert table.columns == ["trigger_id", *WALL]
    assert [list(r) for r in table.drop("trigger_id").rows()] == [[None] * len(WALL), made.to_list()[1]]
