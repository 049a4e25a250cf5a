"""Options whose files are gone, harmed or cannot be read: what was made of them stays, and futures go on without them."""

from __future__ import annotations

import datetime as dt
import shutil

import pytest

from engine.commands.run import run
from engine.errors import RunFailed
from engine.lake.catalog import BRONZE_MBO, CHAIN, FLOW, LEVELS, MARKS, OPTION_LEVELS, OPTION_TABLES, PROFILE, RAW_OPTION_TEMPLATE, VACUUM
from engine.lake.store import Lake
from engine.params import RunParams
from engine.pipeline import lake_state, option_dates, plan_options, plan_sessions
from engine.stages.task import Receipt, TaskSpec, is_current, run_partition
from tests.support.lakes import TUESDAY
from tests.support.options import options_beside

SYMBOL = "ESZ5"
MADE = (CHAIN, MARKS, FLOW, PROFILE, OPTION_LEVELS)


def spec(lake: Lake, *, overwrite: bool = False) -> TaskSpec:
    return TaskSpec(str(lake.root), TUESDAY, (SYMBOL,), profile="rth", params=RunParams().model_dump_json(), overwrite=overwrite)


def make_option_bronze(lake: Lake) -> list[Receipt]:
    dates: list[dt.date] = option_dates([TUESDAY], SYMBOL, "rth")
    return [run_partition(t) for t in plan_options(lake, SYMBOL, dates, overwrite=False).todo]


def test_a_harmed_input_is_a_failure_of_its_own_and_what_was_made_outlives_its_files(copied_lake, tmp_path) -> None:
    lake = copied_lake
    options_beside(lake, SYMBOL, TUESDAY)
    assert {r.status for r in make_option_bronze(lake)} == {"made"}
    quotes = lake.path(OPTION_TABLES["bbo_1m"], "ES", TUESDAY)
    part = min(quotes.glob("*.parquet"))
    whole = part.read_bytes()
    part.write_bytes(b"harmed" * 1000)
    for key in (LEVELS, VACUUM):
        shutil.rmtree(lake.path(key, SYMBOL, TUESDAY))
    receipt = run_partition(spec(lake))
    assert (receipt.status, receipt.made) == ("made", ("chain", "levels", "vacuum")), receipt
    assert receipt.beside is not None
    assert (receipt.beside.status, receipt.beside.name) == ("failed", f"options {SYMBOL} {TUESDAY}")
    assert receipt.beside.message.startswith("marks: ")
    assert not lake.has(PROFILE, SYMBOL, TUESDAY), "nothing is made of what failed"
    part.write_bytes(whole)
    manifest = quotes / "_MANIFEST.json"
    text = manifest.read_text()
    manifest.write_text("no manifest")
    plan = plan_sessions(lake, [(SYMBOL, TUESDAY)], "rth", RunParams(), overwrite=False, must=True)
    assert plan.todo == [spec(lake)], "planning goes on"
    receipt = run_partition(spec(lake))
    assert (receipt.status, receipt.beside.error) == ("current", "PartitionCorrupt")
    manifest.write_text(text)
    receipt = run_partition(spec(lake))
    assert (receipt.made, receipt.beside) == (("marks", "option_flow", "profile", "levels", "vacuum"), None)

    digests = {key: lake.manifest(key, SYMBOL, TUESDAY).digest() for key in (*MADE, LEVELS)}
    assert lake.manifest(MARKS, SYMBOL, TUESDAY).rows > 1000

    def same() -> None:
        assert is_current(spec(lake))
        assert {s.dataset: s.stale for s in lake_state(lake, RunParams()) if s.stale} == {}
        run_partition(spec(lake, overwrite=True))
        assert {key: lake.manifest(key, SYMBOL, TUESDAY).digest() for key in digests} == digests

    shutil.move(lake.option_folder("ES", "bbo_1m"), tmp_path / "raw")
    shutil.move(quotes, tmp_path / "quotes")
    assert make_option_bronze(lake) == []
    same()
    for table, key in OPTION_TABLES.items():
        shutil.rmtree(lake.option_folder("ES", table), ignore_errors=True)
        shutil.rmtree(lake.path(key, "ES", TUESDAY), ignore_errors=True)
    same()
    for key in (MARKS, PROFILE):
        shutil.rmtree(lake.path(key, SYMBOL, TUESDAY))
    assert is_current(spec(lake)), "without definitions nothing of options is made"
    assert run_partition(spec(lake)).status == "current"
    assert not lake.has(MARKS, SYMBOL, TUESDAY)


def test_a_folder_of_options_that_cannot_be_read_does_not_stop_the_future(copied_lake) -> None:
    lake = copied_lake
    shutil.rmtree(lake.path(BRONZE_MBO, SYMBOL, TUESDAY))
    folder = lake.root / RAW_OPTION_TEMPLATE.format(root="ES", table="statistics")
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder)
    with pytest.raises(
        RunFailed, match=r"(?s)1 of 2 tasks failed:.*failed bronze ES options statistics: RawUnreadable: .*table=statistics_dbn"
    ):
        run(symbol="ES", dates=str(TUESDAY), lake=lake.root, layer="bronze", workers=1)
    assert lake.has(BRONZE_MBO, SYMBOL, TUESDAY)
