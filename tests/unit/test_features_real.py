"""On the real file: the law holds everywhere, and features and carried book equal their twins."""

from __future__ import annotations

import datetime as dt
import math
import random
from pathlib import Path

import polars as pl
import pytest

from engine.features import level_steps, level_windows
from engine.ladder import Ladder
from engine.mbo.dbn import read_header, stream_columns
from engine.mbo.replay import LadderReplay
from engine.sessions import session_windows
from tests.reference import feature_twin
from tests.reference.ladder_twin import TwinLadder


@pytest.fixture(scope="module")
def frames(real_dbn: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    header = read_header(real_dbn)
    w = session_windows(dt.date(2023, 12, 25), "globex_open")
    replay = LadderReplay(header.symbols, w.ladder_start_ns, w.ladder_end_ns, open_ns=w.globex_start_ns)
    replay.begin_file(header.end_ns)
    for columns in stream_columns(real_dbn):
        replay.feed(columns)
    contract = replay.finish()["ESH4"]
    return contract.rows, contract.tape


@pytest.fixture(scope="module")
def ladder(frames: tuple[pl.DataFrame, pl.DataFrame]) -> Ladder:
    return Ladder.from_frames(*frames, symbol="ESH4", date=dt.date(2023, 12, 25))


def test_conservation_holds_everywhere(ladder: Ladder) -> None:
    assert ladder.conserve().rows() == []
    assert ladder.valid.sum() == 4200  # 22:50 to 24:00 UTC, where the file ends


def test_features_and_book_equal_their_twins(ladder: Ladder, frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    rows, tape = frames
    twin = TwinLadder(rows.to_dicts(), tape.to_dicts())
    last = int(ladder.last_tick[-1])
    levels = pl.concat([level_steps(f"p{d}", (last + d) / 4, ladder) for d in (-30, -6, 0, 9)])
    table = level_windows(ladder, levels).filter("book_valid")
    assert table.height == 4 * 840
    for row in table.sample(40, seed=1).to_dicts():
        expected = feature_twin.Window(twin, row["window_start_ts_ns"] // 10**9, 5, row["level_tick"], feature_twin.Zones()).row()
        for name, value in expected.items():
            assert row[name] == value or math.isclose(row[name], value, rel_tol=1e-12, abs_tol=1e-12), name
    choose = random.Random(1)
    for _ in range(10):
        second = choose.randrange(1, 4200)
        state, book = ladder.state_before(second, last - 200, 401), twin.book(ladder.start_ns // 10**9 + second - 1)
        for i in range(401):
            expected = [book.get((side, what, last - 200 + i), 0) for what in ("depth", "orders") for side in ("bid", "ask")]
            assert state[i].tolist() == expected
