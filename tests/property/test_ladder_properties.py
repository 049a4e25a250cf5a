"""The cube equals its slow twin on any slice and regrid, and the ladder's laws hold."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ladder import Ladder
from engine.vocab import LADDER_CHANNELS
from tests.reference.ladder_twin import TwinLadder
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames

SECONDS = 150


@lru_cache(maxsize=8)
def ladder_and_twin(seed: int) -> tuple[Ladder, TwinLadder]:
    rows, tape = make_frames(SECONDS, seed, span=24, invalid_share=0.05, one_sided_share=0.5, quiet_start=seed % 3)
    return Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE), TwinLadder(rows.to_dicts(), tape.to_dicts())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 5),
    start=st.integers(-20, SECONDS - 12),
    length=st.integers(1, 40),
    low=st.integers(19_970, 20_020),
    height=st.integers(0, 20),
    window_s=st.integers(1, 7),
    step=st.integers(1, 5),
)
def test_cube_equals_twin(seed: int, start: int, length: int, low: int, height: int, window_s: int, step: int) -> None:
    ladder, twin = ladder_and_twin(seed)
    begin, end = START_S + start, START_S + start + length
    # The windows that meet the slice, whole inside the session, worked out without the ladder's own arithmetic.
    windows = [
        w
        for w in range(START_S - 50, START_S + SECONDS + 50)
        if w % window_s == 0 and w >= START_S and w + window_s <= START_S + SECONDS and w < end and max(begin, START_S) < w + window_s
    ]
    if not windows or end <= START_S:
        return
    cube = ladder.cube(begin * NS, end * NS, low, low + height, window_s=window_s, step_ticks=step)
    price_rows = sorted({k - k % step for k in range(low, low + height + 1)})
    assert (cube["window_start_ts_ns"].to_numpy() // NS).tolist() == windows
    assert cube["tick"].to_numpy().tolist() == price_rows
    assert cube["book_valid"].to_numpy().tolist() == [twin.valid(w, window_s) for w in windows]
    for i, w in enumerate(windows):
        for j, tick in enumerate(price_rows):
            expected = twin.cell(w, window_s, tick, step)
            assert {name: int(cube[name][i, j]) for name in expected} == expected


@pytest.mark.parametrize("seed", range(4))
def test_conservation_holds_and_a_broken_row_is_found(seed: int) -> None:
    rows, tape = make_frames(SECONDS, seed, span=24, invalid_share=0.05, one_sided_share=0.3)
    assert Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE).conserve().is_empty()
    valid = tape.filter("book_valid")["window_start_ts_ns"]
    candidates = rows.with_row_index().filter(pl.col("window_start_ts_ns").is_in(valid.implode()) & (pl.col("bid_add") > 0))
    candidates = candidates.filter(pl.col("window_start_ts_ns") > START_S * NS)
    victim = candidates["index"][seed * 7]
    broken = rows.with_row_index().with_columns(bid_add=pl.col("bid_add") + (pl.col("index") == victim).cast(pl.Int32)).drop("index")
    found = Ladder.from_frames(broken, tape, symbol=SYMBOL, date=DATE).conserve()
    assert found.select("window_start_ts_ns", "tick", "side").rows() == [(rows["window_start_ts_ns"][victim], rows["tick"][victim], "bid")]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 5), window_s=st.integers(1, 30), step=st.integers(1, 8))
def test_regrid_conserves_every_flow(seed: int, window_s: int, step: int) -> None:
    """Summing the fine cube over a coarse cell gives the coarse cube, and its law holds where the book was valid."""
    ladder, _ = ladder_and_twin(seed)
    coarse = ladder.cube(ladder.start_ns, ladder.end_ns, 19_980, 20_019, window_s=window_s, step_ticks=step)
    begin, end = int(coarse["window_start_ts_ns"][0]), int(coarse["window_end_ts_ns"][-1])
    low, high = int(coarse["tick"][0]), int(coarse["tick"][-1]) + step - 1
    fine = ladder.cube(begin, end, low, high)
    n_windows, n_rows = coarse["bid_add"].shape
    for name in [f"{s}_{c}" for s in ("bid", "ask") for c in LADDER_CHANNELS]:
        cells = fine[name].to_numpy().reshape(n_windows, window_s, n_rows, step)
        expected = cells[:, -1].sum(axis=2) if name.endswith(("depth", "orders")) else cells.sum(axis=(1, 3))
        assert np.array_equal(coarse[name].to_numpy(), expected), name
    valid = coarse["book_valid"].to_numpy()
    for side in ("bid", "ask"):
        law = coarse[f"{side}_depth_start"] + coarse[f"{side}_add"] - coarse[f"{side}_pull"] - coarse[f"{side}_fill"]
        assert np.array_equal(law.to_numpy()[valid], coarse[f"{side}_depth"].to_numpy()[valid])
