"""A query at any moment is the trigger that gold would have there; and at a price of one's own."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from engine.errors import PartitionMissing, SessionError
from engine.features.events import session_events
from engine.features.vector import WALL
from engine.features.wall_table import wall_vectors
from engine.ladder import Ladder
from engine.lake.catalog import LEVELS
from engine.lake.store import Lake
from engine.retrieval.neighbours import moment_events, touches_before
from engine.sessions import to_ns
from engine.vocab import NS
from tests.support.lakes import TUESDAY
from tests.support.setups import ladder_of, levels_of, ns, trades_frame

SYMBOL = "ESZ5"
SAME = ("approach", "level_tick", "distance_ticks", "sigma", "message_rate", "trade_rate", "seconds_into_session", "confluent_levels")


@pytest.fixture(scope="module")
def triggers(whole_lake: Lake) -> pl.DataFrame:
    made = session_events(whole_lake, SYMBOL, TUESDAY, ("window", "arm"), ("means",))["means"]
    return made.filter(pl.col("vector").is_not_null())


def test_a_moment_is_the_trigger_there(whole_lake: Lake, triggers: pl.DataFrame) -> None:
    assert triggers.height > 20
    for row in triggers.gather_every(max(triggers.height // 6, 1)).iter_rows(named=True):
        query = moment_events(whole_lake, SYMBOL, TUESDAY, row["level_id"], row["window_end_ts_ns"], approach=row["approach"])
        found = query.frame.to_dicts()[0]
        assert {c: found[c] for c in SAME} == {c: row[c] for c in SAME}
        np.testing.assert_array_equal(query.matrix[0, : -len(WALL)], np.array(row["vector"], np.float32))
        wall = wall_vectors(Ladder.open(whole_lake, SYMBOL, TUESDAY), query.frame)[0].to_numpy()
        np.testing.assert_array_equal(query.only(WALL).matrix[0], wall)
        # A moment within a window is answered by the window before it.
        later = moment_events(whole_lake, SYMBOL, TUESDAY, row["level_id"], row["window_end_ts_ns"] + 4 * NS, approach=row["approach"])
        assert later.frame.equals(query.frame)


def test_touches_before_the_moment_are_counted() -> None:
    # Up to 1000 at 60 s, away to 988, and up to it again at 180 s.
    path = [(t, 990 + t // 6) for t in range(0, 61, 6)] + [(t, 1000 - (t - 60) // 5) for t in range(65, 121, 5)]
    path += [(t, 988 + (t - 120) // 5) for t in range(120, 181, 5)]
    ladder, trades = ladder_of([(float(t), k) for t, k in path], 300), trades_frame([(float(t), k) for t, k in path])
    levels = levels_of([("price:250", 0, 300, 1000)])
    found = [touches_before(ladder, levels, "price:250", trades, ns(t)) for t in (55, 65, 175, 185)]
    assert found == [0, 1, 1, 2]


def test_a_price_of_one_s_own(whole_lake: Lake, triggers: pl.DataFrame) -> None:
    row = triggers.to_dicts()[triggers.height // 2]
    price = row["level_tick"] * 0.25
    end = row["window_end_ts_ns"]
    own = moment_events(whole_lake, SYMBOL, TUESDAY, f"price:{price:g}", end, price=price, approach=row["approach"])
    np.testing.assert_array_equal(own.matrix[0, : -len(WALL)], np.array(row["vector"], np.float32))
    assert own.level_kinds[0] == "price"
    # The level it stands on is now one of its confluent ones.
    assert own.frame["confluent_levels"][0] == row["confluent_levels"] + 1
    last = row["level_tick"] + row["distance_ticks"]
    above = moment_events(whole_lake, SYMBOL, TUESDAY, "price:mine", end, price=(last + 6) * 0.25)
    below = moment_events(whole_lake, SYMBOL, TUESDAY, "price:mine", end, price=(last - 6) * 0.25)
    assert (above.frame["approach"][0], below.frame["approach"][0]) == ("approach_up", "approach_down")
    at = moment_events(whole_lake, SYMBOL, TUESDAY, "price:mine", end, price=last * 0.25)
    assert at.frame["distance_ticks"][0] == 0
    assert at.frame["approach"][0] in ("approach_up", "approach_down")


def test_moments_that_cannot_be_asked(whole_lake: Lake) -> None:
    level = whole_lake.read(LEVELS, SYMBOL, TUESDAY)["level_id"][0]
    ten = to_ns(TUESDAY, dt.time(10, 30))
    with pytest.raises(PartitionMissing, match=r"spymaster run .*2031-01-02"):
        moment_events(whole_lake, SYMBOL, dt.date(2031, 1, 2), level, ten)
    with pytest.raises(SessionError, match=r"expected a level of .*found 'nowhere'"):
        moment_events(whole_lake, SYMBOL, TUESDAY, "nowhere", ten)
    for wrong in (ten - 86_400 * NS, ten + 86_400 * NS):
        with pytest.raises(SessionError, match="expected a moment within"):
            moment_events(whole_lake, SYMBOL, TUESDAY, level, wrong)
    # Before 24 windows of history there is no vector to compare: said so, not guessed.
    early = moment_events(whole_lake, SYMBOL, TUESDAY, "price:1", to_ns(TUESDAY, dt.time(9, 1)), price=6800.0, approach="approach_up")
    assert not early.usable[0]


def test_new_york_clock() -> None:
    assert to_ns(dt.date(2025, 11, 4), dt.time(9, 30)) == int(dt.datetime(2025, 11, 4, 14, 30, tzinfo=dt.UTC).timestamp()) * NS
    assert to_ns(dt.date(2025, 7, 1), dt.time(9, 30)) == int(dt.datetime(2025, 7, 1, 13, 30, tzinfo=dt.UTC).timestamp()) * NS
