"""Nothing that is known at t changes when what comes after t is taken away: levels and features."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bars import bars_2m
from engine.features import level_windows
from engine.ladder import Ladder
from engine.levels import LevelInputs, build_levels
from engine.params import FeatureParams, LevelParams
from engine.sessions import SessionWindows, session_windows
from engine.vocab import ROOTS
from tests.property.test_feature_properties import steps
from tests.reference import levels_twin
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames

IDS = LevelParams().level_ids
TRADES = {"ts_event": pl.Int64, "tick": pl.Int32, "size": pl.UInt32, "side": pl.UInt8}


def make_trades(seed: int, start_ns: int, end_ns: int, n: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    ts = np.sort(rng.integers(start_ns, end_ns, n))
    # Some exactly at whole seconds and two-minute bounds, where half-open spans are decided.
    ts[::7] -= ts[::7] % NS
    ts[::31] -= ts[::31] % (120 * NS)
    ts = np.sort(np.maximum(ts, start_ns))
    tick = 20_000 + np.cumsum(rng.integers(-2, 3, n))
    return pl.DataFrame({"ts_event": ts, "tick": tick, "size": rng.integers(1, 9, n), "side": rng.integers(0, 3, n)}, schema=TRADES)


def inputs(w: SessionWindows, trades: pl.DataFrame, trades_pd: pl.DataFrame | None) -> LevelInputs:
    return LevelInputs(w, ROOTS["ES"], trades, trades_pd, "none", bars_2m(trades, w.globex_start_ns, w.ladder_end_ns))


def value(frame: pl.DataFrame, level_id: str, moment: int) -> tuple[float, int] | None:
    row = frame.filter((pl.col("level_id") == level_id) & (pl.col("start_ts_ns") <= moment) & (pl.col("end_ts_ns") > moment))
    assert row.height <= 1
    return (row["price"][0], row["level_tick"][0]) if row.height else None


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000),
    profile=st.sampled_from(["rth", "globex_open"]),
    share=st.floats(0.02, 0.98),
    n=st.sampled_from([5, 400, 4000]),
)
def test_levels_equal_twin_and_never_look_ahead(seed: int, profile: str, share: float, n: int) -> None:
    w = session_windows(dt.date(2026, 1, 6), profile)
    trades = make_trades(seed, w.globex_start_ns, w.ladder_end_ns, n)
    trades_pd = make_trades(seed + 1, w.globex_start_ns - 9 * 3600 * NS, w.globex_start_ns - 3600 * NS, 50)
    frame, absent = build_levels(inputs(w, trades, trades_pd), LevelParams())
    assert set(frame["level_id"]) | set(absent) == set(IDS)
    assert not set(frame["level_id"]) & set(absent)
    cut = w.ladder_start_ns + int(share * (w.ladder_end_ns - w.ladder_start_ns))
    before, _ = build_levels(inputs(w, trades.filter(pl.col("ts_event") < cut), trades_pd), LevelParams())
    started = pl.col("start_ts_ns") < cut
    columns = ("level_id", "start_ts_ns", "price", "level_tick")
    assert frame.filter(started).select(columns).equals(before.filter(started).select(columns))

    listed = list(zip(*(trades[c].to_list() for c in ("ts_event", "tick", "size"))))
    listed_pd = list(zip(*(trades_pd[c].to_list() for c in ("ts_event", "tick", "size"))))
    rng = np.random.default_rng(seed)
    moments = [w.ladder_start_ns, w.trading_start_ns, w.opening_range_end_ns, w.ladder_end_ns - 1, cut]
    moments += rng.integers(w.ladder_start_ns, w.ladder_end_ns, 12).tolist()
    for moment in moments:
        for level_id in IDS:
            found, expected = value(frame, level_id, moment), levels_twin.value_at(level_id, moment, w, listed, listed_pd, 0.25)
            if expected is None:
                assert found is None, level_id
            else:
                assert found is not None, level_id
                assert abs(found[0] - expected) < 1e-8, level_id
                assert found[1] == levels_twin.nearest_tick(expected, 0.25), level_id


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(12, 88), window_s=st.integers(1, 9))
def test_features_never_look_ahead(seed: int, cut: int, window_s: int) -> None:
    rows, tape = make_frames(90, seed, span=30, invalid_share=0.05, one_sided_share=0.5, move=0.5)
    frame = steps([("a", 0, 40, 20_002), ("a", 40, 90, 19_998), ("b", 30, 90, 20_010)])
    params = FeatureParams(window_s=window_s)
    past = pl.col("window_start_ts_ns") < (START_S + cut) * NS
    whole = level_windows(Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE), frame, params)
    ladder = Ladder.from_frames(rows.filter(past), tape.filter(past), symbol=SYMBOL, date=DATE)
    short = level_windows(ladder, frame, params)
    assert whole.filter(pl.col("window_end_ts_ns") <= (START_S + cut) * NS).equals(short)
    first = ladder.cube(ladder.start_ns, ladder.end_ns, 19_980, 20_020)
    whole_cube = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE).cube(ladder.start_ns, ladder.end_ns, 19_980, 20_020)
    assert first.equals(whole_cube)
