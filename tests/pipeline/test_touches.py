"""One definition of a touch: gold, the session, replay's stops, the sentence, the drill and pictures agree on every one."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.bars import BAR_NS
from engine.commands.run import run
from engine.commands.simulate import simulate
from engine.errors import PartitionMissing
from engine.lake.catalog import TRIGGERS
from engine.lake.store import Lake
from engine.session import Session, candles_at_level
from engine.vocab import NS
from workbench import session_cache
from workbench.snapshot.scene import session_scene
from workbench.views import drill, known

SYMBOL = "ESU5"
BEFORE, DATE = dt.date(2025, 9, 2), dt.date(2025, 9, 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with one session of the simulated market, all layers."""
    lake = tmp_path_factory.mktemp("touches") / "lake"
    simulate(dates=f"{BEFORE}:{DATE}", lake=lake, rate=0.02, workers=1)
    run(symbol="ES", dates=str(DATE), lake=lake, layer="all", workers=1)
    return lake


@pytest.fixture(scope="module")
def gold(made: Path) -> dict[str, np.ndarray]:
    """Times of the touches by level, as gold has them."""
    rows = Lake(made).read(TRIGGERS, SYMBOL, DATE, ["level_id", "touch_ts_ns"], pl.col("kind") == "touch")
    return {i: np.sort(rows.filter(pl.col("level_id") == i)["touch_ts_ns"].to_numpy()) for i in rows["level_id"].unique()}


def test_everyone_counts_the_touches_that_gold_has(made: Path, gold: dict[str, np.ndarray]):
    session = session_cache.load(str(made), SYMBOL, DATE)
    levels = session.levels["level_id"].unique().to_list()
    assert sum(t.size for t in gold.values()) > 20
    asked = drill.questions(str(made), "h1")
    for level_id in levels:
        times = gold.get(level_id, np.array([], np.int64))
        assert session.touches(level_id).tolist() == times.tolist()
        stops = known.touches(session, level_id)
        assert stops.tolist() == ((times - session.ladder.start_ns) // NS).tolist()
        for at in (session.ladder.start_ns, *times.tolist(), session.ladder.end_ns):
            assert session.touches_before(level_id, at) == int((times < at).sum())
        # The drill asks of those whose outcome the data tell.
        assert {q.touch_ts_ns for q in asked if q.level_id == level_id} <= set(times.tolist())


def test_pictures_mark_the_candles_that_gold_has(made: Path):
    """A picture's trigger is a candle trigger of features.md section 8; gold has those whose confirmation the data still hold."""
    lake = Lake(made)
    session = Session.open(lake, SYMBOL, DATE, whole=True)
    rows = lake.read(TRIGGERS, SYMBOL, DATE, ["level_id", "approach", "touch_ts_ns"], pl.col("kind") == "candle")
    assert rows.height > 20
    end = int(session.bars["window_end_ts_ns"][-1]) - BAR_NS
    for level_id in session.levels["level_id"].unique().to_list():
        mine = rows.filter(pl.col("level_id") == level_id)
        expected = {(t - 2 * BAR_NS, -1 if a == "approach_up" else 1) for a, t in mine.select("approach", "touch_ts_ns").iter_rows()}
        found = candles_at_level(session.bars, session.level(level_id), session.ladder.tape)
        confirmed = found.filter((pl.col("window_start_ts_ns") < end - BAR_NS + 1) & (pl.col("side") != 0))
        assert set(confirmed.select("window_start_ts_ns", "side").iter_rows()) == expected
        # The picture of the moment in which a candle begins shows it as its trigger.
        for start, side in sorted(expected)[:2]:
            setup = session_scene(session, level_id=level_id, ts_ns=start).setup
            assert setup.trigger_ns == start
            assert setup.crossed in ({"crossed above", "touched from below"} if side < 0 else {"crossed below", "touched from above"})


def test_without_gold_the_same_touches_are_found(made: Path, gold: dict[str, np.ndarray], tmp_path: Path):
    lake = Path(shutil.copytree(made, tmp_path / "lake"))
    shutil.rmtree(lake / "gold")
    session = session_cache.load(str(lake), SYMBOL, DATE)
    assert session.gold_touches is None
    found = {i: session.touches(i) for i in session.levels["level_id"].unique()}
    assert {i: t.tolist() for i, t in found.items() if t.size} == {i: t.tolist() for i, t in gold.items()}
    # Without trades they cannot be found: that is said, and is not "no touch".
    shutil.rmtree(lake / "bronze")
    session = Session.open(Lake(lake), SYMBOL, DATE)
    with pytest.raises(PartitionMissing, match="spymaster"):
        session.touches("vwap")
    assert known.marked_touches(session, "vwap").size == 0


def test_a_price_of_ones_own_is_touched_by_the_same_rule(made: Path, gold: dict[str, np.ndarray]):
    session = session_cache.load(str(made), SYMBOL, DATE)
    fixed = session.levels.filter(pl.col("level_id").is_in(("pm_high", "pm_low")))
    for level_id, tick, start in fixed.select("level_id", "level_tick", "start_ts_ns").unique().iter_rows():
        own = session.touches(f"price:{session.ladder.root.to_price(tick):.10g}")
        # The level is known from the end of the premarket on, the price all along.
        known = gold.get(level_id, np.array([], np.int64))
        late = start + 1800 * NS
        assert own[own > late].tolist() == known[known > late].tolist()
