"""The difference map: alignment, mirror, validity, the bootstrap against its slow twin, and what it refuses to show."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import ContractError, PartitionMissing
from engine.lake.catalog import LADDER, TAPE
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.retrieval.difference import DifferenceParams, difference_map, neighbour_pressure, net_before_touch, row_ticks
from tests.reference import difference_twin
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames

P = DifferenceParams(before_s=30, window_s=5, reach=4, draws=200, min_sessions=3)
SMALL = DifferenceParams(before_s=10, window_s=5, reach=2, step_ticks=2)
LEVEL, TOUCH_S = 20_001, START_S + 71


@pytest.fixture(scope="module")
def frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    return make_frames(90, 4, invalid_share=0.06, span=20)


@pytest.mark.parametrize("up", [True, False])
def test_net_pressure_before_a_touch_is_its_twin(frames, up: bool) -> None:
    rows, tape = frames
    found = net_before_touch(rows, tape, LEVEL, TOUCH_S * NS + 123, up, P)
    slow = difference_twin.net_before(
        rows.with_columns((pl.col("window_start_ts_ns") // NS).alias("second")).to_dicts(),
        {int(t) // NS: bool(v) for t, v in tape.select("window_start_ts_ns", "book_valid").iter_rows()},
        LEVEL, TOUCH_S, up, 6, 5, 4,
    )  # fmt: skip
    np.testing.assert_allclose(found, np.array(slow, float), atol=1e-12)
    assert 0 < np.isnan(found).all(axis=1).sum() < 6
    assert np.nanmax(np.abs(found)) > 0.1


def test_nothing_of_the_touch_second_or_after_is_looked_at(frames) -> None:
    rows, tape = frames
    cut = pl.col("window_start_ts_ns") < TOUCH_S * NS
    whole, part = (net_before_touch(r, t, LEVEL, TOUCH_S * NS, True, P) for r, t in ((rows, tape), (rows.filter(cut), tape.filter(cut))))
    np.testing.assert_array_equal(whole, part)


def test_a_step_of_ticks_keeps_the_level_in_the_middle_of_its_row() -> None:
    p = DifferenceParams(before_s=10, window_s=10, reach=7, step_ticks=3)
    flows = dict.fromkeys(("bid_add", "ask_pull", "ask_fill", "ask_add", "bid_pull", "bid_fill"), 0)
    at = [(START_S * NS, LEVEL + d, flows | {"bid_add": 10 ** (d + 1)}) for d in (-1, 0, 1, 2)]
    rows = pl.DataFrame([{"window_start_ts_ns": t, "tick": k, **f} for t, k, f in at])
    tape = pl.DataFrame({"window_start_ts_ns": [(START_S + s) * NS for s in range(10)], "book_valid": [True] * 10})
    net = net_before_touch(rows, tape, LEVEL, (START_S + 10) * NS, True, p)
    assert row_ticks(p).tolist() == [-6, -3, 0, 3, 6]
    assert net[0, 2] == pytest.approx(111 / 112)
    assert net[0, 3] == pytest.approx(1000 / 1001)


def sample(seed: int, n: int = 40, sessions: int = 8, effect: float = 0.8) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Neighbours of which those that broke were pushed in one cell."""
    rng = np.random.default_rng(seed)
    kind = [("break", "reject", "chop")[i % 3] for i in range(n)]
    values = rng.normal(0, 0.3, (n, 2, 3))
    values[[k == "break" for k in kind], 1, 2] += effect
    values[5, 0, 0] = np.nan
    return values, kind, rng.integers(0, sessions, n)


def test_the_bootstrap_is_its_twin() -> None:
    values, kind, session = sample(2)
    p = SMALL.model_copy(update={"draws": 200, "min_sessions": 2, "seed": 9})
    found = difference_map(values, kind, session, p)
    use = np.array([k != "chop" for k in kind])
    names = np.unique(session[use])
    drawn = np.random.default_rng(9).multinomial(len(names), np.full(len(names), 1 / len(names)), size=200)
    draws = [{str(s): int(n) for s, n in zip(names, row)} for row in drawn]
    for w, r in ((0, 0), (0, 2), (1, 1), (1, 2)):
        cell = [(None if np.isnan(v) else float(v), k, str(s)) for v, k, s in zip(values[:, w, r], kind, session) if k != "chop"]
        slow = difference_twin.interval(cell, draws, p.mass)
        assert (found.difference[w, r], found.low[w, r], found.high[w, r]) == pytest.approx(slow, abs=1e-12)


def test_only_what_an_interval_sets_apart_from_nothing_is_shown() -> None:
    found = difference_map(*sample(3), SMALL)
    assert found.shown[1, 2]
    assert found.difference[1, 2] > 0.4
    np.testing.assert_array_equal(found.shown, (found.low > 0) | (found.high < 0))
    assert (found.breaks, found.rejects, found.compared) == (14, 13, 6)
    quick = SMALL.model_copy(update={"draws": 500})
    nothing = [difference_map(*sample(s, effect=0.0), quick).shown.sum() for s in range(100)]
    # 600 cells without an effect, 30 of them by chance; a plain bootstrap of so few sessions shows 75.
    assert 10 <= sum(nothing) <= 45


def test_too_few_sessions_are_said_not_drawn() -> None:
    values, kind, session = sample(4, sessions=4)
    found = difference_map(values, kind, session, SMALL)
    assert "too few to compare" in found.reason
    assert "in 4 sessions" in found.reason
    assert not found.shown.any()
    assert np.isnan(found.difference).all()
    assert found.to_frame()["difference"].null_count() == found.to_frame().height == 6
    assert "too few" in difference_map(np.zeros((0, 2, 3)), [], np.zeros(0, int), SMALL).reason
    with pytest.raises(ContractError, match="as many outcomes"):
        difference_map(values, kind[:-1], session, SMALL)
    with pytest.raises(ContractError, match="windows and rows"):
        difference_map(values, kind, session)


def test_neighbours_are_read_from_their_own_sessions(tmp_path: Path, frames) -> None:
    rows, tape = frames
    lake = Lake(tmp_path / "lake")
    for key, frame in ((LADDER, rows), (TAPE, tape)):
        lake.write(key, SYMBOL, DATE, frame, Lineage("ladder", "p", "c", {}, "rth"))
    columns = {
        "trigger_id": [f"{DATE}/{SYMBOL}/pm_high/{a}/arm/1" for a in ("approach_up", "approach_down", "approach_up")],
        "session_date": [DATE] * 3,
        "approach": ["approach_up", "approach_down", "approach_up"],
        "level_tick": [LEVEL, LEVEL + 1, LEVEL],
        "touch_ts_ns": [TOUCH_S * NS, TOUCH_S * NS + 5, None],
        "outcome_class": ["break", "reject", "chop"],
    }
    found = pl.DataFrame(columns)
    said: list[tuple[int, int, str]] = []
    pressure = neighbour_pressure(lake, found, P, lambda *a: said.append(a))
    np.testing.assert_array_equal(pressure[0], net_before_touch(rows, tape, LEVEL, TOUCH_S * NS, True, P))
    np.testing.assert_array_equal(pressure[1], net_before_touch(rows, tape, LEVEL + 1, TOUCH_S * NS, False, P))
    assert np.isnan(pressure[2]).all()
    assert said == [(1, 1, str(DATE))]
    frame = difference_map(pressure, columns["outcome_class"], np.arange(3), P).to_frame()
    assert frame.height == 6 * 9
    assert frame["seconds_from_touch"].to_list()[:1] == [-30]
    away = found.with_columns(pl.lit(f"{DATE}/ESM6/pm_high/approach_up/arm/1").alias("trigger_id"))
    with pytest.raises(PartitionMissing, match="spymaster run"):
        neighbour_pressure(lake, away, P)
    with pytest.raises(ContractError, match="touch_ts_ns"):
        neighbour_pressure(lake, found.drop("touch_ts_ns"), P)
    assert isinstance(DATE, dt.date)
