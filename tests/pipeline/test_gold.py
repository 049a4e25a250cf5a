"""Gold in the lake: what is made, that it is right about its session, what makes it stale, and that history decides signals."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import ContractError
from engine.features.events import data_end_ns, file_span, session_events
from engine.features.vector import WALL, vector_names
from engine.lake.catalog import BRONZE_MBO, SIGNALS, STREAM, TRIGGERS, VACUUM, WALLS, dataset
from engine.lake.contract import enforce_contract
from engine.lake.store import Lake
from engine.params import GoldParams, RunParams, SetupParams
from engine.pipeline import lake_state, plan_sessions
from engine.retrieval.dataset import audit_events, gold_events
from engine.retrieval.events import Events
from engine.retrieval.statistics import condition_events
from engine.sessions import session_windows
from engine.setups import trigger_schema
from engine.stages.base import why_stale
from engine.stages.gold import SIGNAL_STAGES, TRIGGER_STAGES
from engine.stages.task import GROUPS, Group, Receipt, TaskSpec, run_partition
from tests.support.lakes import MONDAY, TUESDAY, leftovers, make_silver, report, spymaster

SYMBOL = "ESZ5"


def make(lake: Lake, group: Group, date: dt.date = TUESDAY, params: RunParams | None = None) -> Receipt:
    spec = TaskSpec(str(lake.root), date, (SYMBOL,), profile="rth", params=(params or RunParams()).model_dump_json(), group=group)
    return run_partition(spec)


@pytest.fixture(scope="module")
def gold_lake(whole_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with Monday's and Tuesday's gold; only to be read or copied."""
    root = tmp_path_factory.mktemp("gold") / "lake"
    shutil.copytree(whole_lake.root, root, copy_function=shutil.copy2)
    lake = Lake(root)
    assert make_silver(lake, MONDAY).status == "made"
    for group in ("triggers", "signals"):
        for date in (MONDAY, TUESDAY):
            receipt = make(lake, group, date)
            assert receipt.status == "made", receipt
    return lake


@pytest.fixture
def copied_gold(gold_lake: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(gold_lake.root, tmp_path / "copy", copy_function=shutil.copy2)
    return Lake(tmp_path / "copy")


def test_triggers_satisfy_what_their_readers_expect(gold_lake: Lake) -> None:
    frame = gold_lake.read(TRIGGERS, SYMBOL, TUESDAY)
    assert frame.height > 0
    assert tuple(frame.columns) == (*trigger_schema(), "representation", "vector_dim", "vector")
    assert frame["trigger_id"].n_unique() == frame.height
    assert frame.select("window_end_ts_ns", "level_id", "kind").equals(
        frame.select("window_end_ts_ns", "level_id", "kind").sort("window_end_ts_ns", "level_id", "kind")
    )
    assert set(frame["representation"]) == {"means"}
    made = frame.filter(pl.col("vector").is_not_null())
    assert set(made["vector"].list.len()) == {len(vector_names("means", "approach_up"))}
    assert made["vector"].explode().is_finite().all()
    assert (frame.filter(pl.col("touched"))["touch_ts_ns"] >= frame.filter(pl.col("touched"))["window_end_ts_ns"]).all()
    # What the table of a level's windows says of the same moments.
    windows = gold_lake.read(VACUUM, SYMBOL, TUESDAY, ("window_end_ts_ns", "level_id", "level_tick", "distance_ticks", "approach"))
    both = frame.filter(pl.col("kind") == "window").join(windows, on=["window_end_ts_ns", "level_id"], how="left", suffix="_there")
    for name in ("level_tick", "distance_ticks", "approach"):
        assert (both[name] == both[f"{name}_there"]).all(), name


def test_on_the_fly_they_are_the_same_and_in_any_representation(gold_lake: Lake) -> None:
    kept = gold_lake.read(TRIGGERS, SYMBOL, TUESDAY)
    made = session_events(gold_lake, SYMBOL, TUESDAY, representations=("means", "blocks"))
    assert made["means"].equals(kept)
    assert made["blocks"]["trigger_id"].equals(kept["trigger_id"])
    for approach in ("approach_up", "approach_down"):
        lengths = made["blocks"].filter(pl.col("approach") == approach)["vector"].drop_nulls().list.len().unique().to_list()
        assert lengths in ([], [len(vector_names("blocks", approach))])
    arms = session_events(gold_lake, SYMBOL, TUESDAY, ("arm",), ("means",))["means"]
    assert arms.equals(kept.filter(pl.col("kind") == "arm"))
    # Wall features are a table of their own, row for row.
    walls = gold_lake.read(WALLS, SYMBOL, TUESDAY)
    assert walls["trigger_id"].equals(kept["trigger_id"])
    wall = session_events(gold_lake, SYMBOL, TUESDAY, representations=("wall",))["wall"]
    known = wall["vector"].is_not_null()
    assert known.sum() > 100
    assert known.equals(kept["vector"].is_not_null())
    np.testing.assert_array_equal(walls.filter(known).select(WALL).to_numpy(), np.array(wall.filter(known)["vector"].to_list(), np.float32))
    assert walls.filter(~known).select(pl.all_horizontal(pl.col(WALL).is_null()).all()).item()
    events = gold_events(gold_lake, SYMBOL)["mirrored"]
    assert events.names == (*vector_names("means", "approach_up"), *WALL)
    assert np.isfinite(events.only(WALL).matrix).all(axis=1).sum() > 100


def test_signals_and_stream_of_a_short_history_say_that_nothing_is_comparable(gold_lake: Lake) -> None:
    signals, triggers = gold_lake.read(SIGNALS, SYMBOL, TUESDAY), gold_lake.read(TRIGGERS, SYMBOL, TUESDAY)
    assert signals["trigger_id"].equals(triggers["trigger_id"])
    assert signals["nothing_comparable"].all()
    assert not signals["fire_flag"].any()
    assert (signals["reason"] != "").all()
    assert gold_lake.notes(SIGNALS, SYMBOL, TUESDAY)["history_sessions"] == 1
    assert gold_lake.notes(SIGNALS, SYMBOL, MONDAY)["history_sessions"] == 0
    stream = gold_lake.read(STREAM, SYMBOL, TUESDAY)
    windows = gold_lake.read(VACUUM, SYMBOL, TUESDAY, ("window_start_ts_ns", "level_id", "approach"))
    assert stream.height == windows.height
    assert set(stream["state"]) <= {"IDLE", "TRACK", "WATCH"}
    assert ((stream["state"] == "IDLE") == (stream["approach"] == "approach_none")).all()
    assert stream["episode_id"].drop_nulls().len() == triggers.filter(pl.col("kind") == "window").height


def test_a_second_time_nothing_is_made_and_parameters_make_only_what_reads_them_anew(copied_gold: Lake) -> None:
    for group in GROUPS:
        assert make(copied_gold, group).status == "current", group
    other = RunParams(setups=SetupParams(barrier=6))
    assert make(copied_gold, "silver", params=other).status == "current"
    assert make(copied_gold, "triggers", params=other).made == ("triggers", "walls")
    assert set(copied_gold.read(TRIGGERS, SYMBOL, TUESDAY)["barrier_ticks"]) == {6}
    # Monday's outcomes are still of a barrier of 8: they are no history of these, and the command that makes them alike is named.
    receipt = make(copied_gold, "signals", params=other)
    assert (receipt.status, receipt.error) == ("failed", "ContractError")
    assert "setups.barrier = 6 in" in receipt.message or "setups.barrier = 8 in" in receipt.message
    assert f"spymaster run --lake {copied_gold.root} --layer gold --symbol ESZ5 --dates {MONDAY}:{TUESDAY} --session rth" in receipt.message
    assert make(copied_gold, "triggers", MONDAY, other).made == ("triggers", "walls")
    assert make(copied_gold, "signals", params=other).made == ("signals", "stream")
    blocks = RunParams(gold=GoldParams(representation="blocks", kinds=("arm",)))
    assert make(copied_gold, "triggers", params=blocks).status == "made"
    frame = copied_gold.read(TRIGGERS, SYMBOL, TUESDAY)
    assert set(frame["kind"]) <= {"arm"}
    assert set(frame["representation"]) <= {"blocks"}
    # Monday's gold is of another representation: it is refused by name, not compared.
    receipt = make(copied_gold, "signals", params=blocks)
    assert receipt.status == "failed"
    assert "expected the same parameters in all 2 sessions, found gold." in receipt.message


def test_what_is_made_on_the_fly_is_made_with_the_knobs_of_gold(copied_gold: Lake) -> None:
    other = RunParams(setups=SetupParams(barrier=5, arm_ticks=6))
    assert make(copied_gold, "triggers", params=other).status == "made"
    for pooled in (audit_events, gold_events, condition_events):
        with pytest.raises(ContractError, match=r"expected the same parameters in all 2 sessions, found setups\.arm_ticks"):
            pooled(copied_gold, SYMBOL)
    assert make(copied_gold, "triggers", MONDAY, other).status == "made"
    kept = copied_gold.read(TRIGGERS, SYMBOL, TUESDAY).filter(kind="arm")
    events, *_ = audit_events(copied_gold, SYMBOL, blocks=False)
    made = events.frame.filter(session_date=TUESDAY)
    assert set(made["barrier_ticks"]) == {5}
    assert made.drop("decided_until_ts_ns").equals(kept.drop("representation", "vector_dim", "vector"))
    assert gold_events(copied_gold, SYMBOL, kinds=("arm",))["mirrored"].frame.equals(events.frame)


def test_a_later_session_changes_no_signal_and_an_earlier_one_makes_it_stale(copied_gold: Lake) -> None:
    signals = SIGNAL_STAGES[0]
    tuesday = copied_gold.path(TRIGGERS, SYMBOL, TUESDAY)
    assert why_stale(copied_gold, signals, SYMBOL, MONDAY, "rth", RunParams()) is None
    shutil.rmtree(tuesday)
    assert why_stale(copied_gold, signals, SYMBOL, MONDAY, "rth", RunParams()) is None
    assert make(copied_gold, "triggers").status == "made"
    assert why_stale(copied_gold, signals, SYMBOL, TUESDAY, "rth", RunParams()) is None
    shutil.rmtree(copied_gold.path(TRIGGERS, SYMBOL, MONDAY))
    assert "is gone" in (why_stale(copied_gold, signals, SYMBOL, TUESDAY, "rth", RunParams()) or "")
    assert make(copied_gold, "signals").made[0] == "signals"
    assert copied_gold.notes(SIGNALS, SYMBOL, TUESDAY)["history_sessions"] == 0
    assert make(copied_gold, "triggers", MONDAY).status == "made"
    assert "appeared" in (why_stale(copied_gold, signals, SYMBOL, TUESDAY, "rth", RunParams()) or "")


def test_gold_without_silver_is_left_out_or_a_problem_that_says_what_makes_it(whole_lake: Lake) -> None:
    plan = plan_sessions(whole_lake, [(SYMBOL, MONDAY)], "rth", RunParams(), group="triggers", overwrite=False, must=False)
    assert (plan.todo, list(plan.left_out.values())) == ([], [f"no silver of {SYMBOL} on {MONDAY}"])
    plan = plan_sessions(whole_lake, [(SYMBOL, MONDAY)], "rth", RunParams(), group="triggers", overwrite=False, must=True)
    assert f"--layer silver --symbol {SYMBOL} --dates {MONDAY}" in plan.problems[0].message


def test_data_that_end_early_end_the_labels(copied_gold: Lake) -> None:
    frame = copied_gold.read(TRIGGERS, SYMBOL, TUESDAY)
    bronze = copied_gold.notes(BRONZE_MBO, SYMBOL, TUESDAY)
    assert data_end_ns([(0, 10), (10, 20), (25, 30)], 5, 40) == 20
    assert data_end_ns([(0, 50)], 5, 40) == 40
    assert data_end_ns([(10, 50)], 5, 40) == 40
    assert data_end_ns([(0, 3), (45, 50)], 5, 40) == 5
    assert bronze["dbn_end_ns"] > frame["window_end_ts_ns"].max()
    ladder_end = frame["window_end_ts_ns"].max()
    late = frame.filter(pl.col("touch_ts_ns") > ladder_end - 60 * 10**9)
    assert late["outcome_h6"].is_null().all()


def test_of_the_last_triggers_before_the_data_end_none_says_whether_it_touched(gold_lake: Lake) -> None:
    events = gold_events(gold_lake, SYMBOL)["mirrored"]
    end = data_end_ns([file_span(gold_lake.notes(BRONZE_MBO, SYMBOL, TUESDAY), TUESDAY)], *ladder_span(TUESDAY))
    mine = (events.frame["session_date"] == TUESDAY).to_numpy()
    late = events.frame["window_end_ts_ns"].to_numpy() > end - 120 * 10**9
    # The touched among them are left out as well: the untouched cannot be told, and only yes would ever be heard.
    assert set(events.touches()[mine & late]) <= {-1}
    early = events.touches()[mine & ~late]
    assert {0, 1} <= set(early)
    bare = Events(events.matrix, events.names, "means", events.frame.drop("decided_until_ts_ns"))
    assert (bare.touches()[mine & ~late] == early).all()


def ladder_span(date: dt.date) -> tuple[int, int]:
    w = session_windows(date, "rth")
    return w.ladder_start_ns, w.ladder_end_ns


def test_the_contract_refuses_what_is_not_a_vector(gold_lake: Lake) -> None:
    frame = gold_lake.read(TRIGGERS, SYMBOL, TUESDAY)
    contract = dataset(TRIGGERS).contract()
    with pytest.raises(ContractError, match=r"vector: expected List\(Float32\), found List\(Float64\)"):
        enforce_contract(frame.with_columns(pl.col("vector").cast(pl.List(pl.Float64))), contract, "here")
    holed = frame.with_columns(vector=pl.lit([1.0, None], pl.List(pl.Float32)))
    with pytest.raises(ContractError, match="vector: expected no null in a list"):
        enforce_contract(holed, contract, "here")
    with pytest.raises(ContractError, match="touched: expected no null"):
        enforce_contract(frame.with_columns(touched=pl.lit(None, pl.Boolean)), contract, "here")


def test_lake_shows_gold_and_no_trigger_makes_an_empty_partition(copied_gold: Lake) -> None:
    state = {(s.dataset, s.date): s.stale for s in lake_state(copied_gold) if s.dataset.startswith("gold")}
    assert state == {(k, d): "" for k in (TRIGGERS, WALLS, SIGNALS, STREAM) for d in (MONDAY, TUESDAY)}
    stage = TRIGGER_STAGES[0]
    assert stage.layer == "gold"
    # A price where the market never was.
    from engine.params import LevelParams

    far = RunParams(levels=LevelParams(level_ids=("price:100",)))
    assert make(copied_gold, "silver", params=far).status == "made"
    for group in ("triggers", "signals"):
        assert make(copied_gold, group, params=far).status == "made", group
    assert copied_gold.read(TRIGGERS, SYMBOL, TUESDAY).is_empty()
    assert copied_gold.read(SIGNALS, SYMBOL, TUESDAY).is_empty()
    assert set(copied_gold.read(STREAM, SYMBOL, TUESDAY)["state"]) == {"IDLE"}


def test_the_commands_make_gold_and_rebuild_is_resumable(copied_gold: Lake) -> None:
    for key in (TRIGGERS, SIGNALS, STREAM):
        shutil.rmtree(copied_gold.path(key, SYMBOL, TUESDAY))
    run = report("run", "--lake", copied_gold.root, "--layer", "gold", "--symbol", SYMBOL, "--dates", TUESDAY, "--workers", 1)
    assert [(m["name"], m["made"]) for m in run["made"]] == [
        (f"triggers {SYMBOL} {TUESDAY}", ["triggers"]),
        (f"signals {SYMBOL} {TUESDAY}", ["signals", "stream"]),
    ]
    shutil.rmtree(copied_gold.path(STREAM, SYMBOL, TUESDAY))
    again = report("rebuild", "--lake", copied_gold.root, "--symbol", SYMBOL, "--workers", 1)
    assert [m["made"] for m in again["made"]] == [["stream"]]
    assert any(line.startswith("no audit: too few events") for line in again["said"])
    assert any(line.startswith("no index: ") for line in again["said"])
    assert not leftovers(copied_gold.root)
    failed = spymaster("rebuild", "--lake", copied_gold.root / "none", check=False)
    assert failed.returncode == 1
    assert "expected raw files, found none; `spymaster add" in failed.stderr


def test_session_triggers_of_the_lakes_trades_use_bronze_as_bars_do(gold_lake: Lake) -> None:
    made = session_events(gold_lake, SYMBOL, TUESDAY, ("touch",), ("means",))["means"]
    trades = gold_lake.read(BRONZE_MBO, SYMBOL, TUESDAY).filter(pl.col("action") == "T")
    times = set(trades["ts_event"].cum_max().to_list())
    assert set(made["touch_ts_ns"].to_list()) <= times
