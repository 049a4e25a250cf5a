"""From the simulator through the whole pipeline, which never sees the truth."""

import datetime as dt
import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

import engine
from engine.commands.run import run
from engine.commands.simulate import fidelity, simulate
from engine.errors import RunFailed, SessionError
from engine.lake.catalog import datasets
from engine.lake.store import Lake

DATE = dt.date(2025, 9, 3)


def test_the_pipeline_runs_without_the_truth_and_finds_the_same_levels(tmp_lake, capsys):
    simulate(dates="2025-09-02:2025-09-03", lake=tmp_lake, rate=0.02, workers=1)
    assert "2 files simulated" in capsys.readouterr().out
    truth = pl.read_parquet(tmp_lake / "truth" / "symbol=ES" / f"{DATE}.parquet")
    shutil.rmtree(tmp_lake / "truth")
    run(symbol="ES", dates=str(DATE), lake=tmp_lake, workers=1)
    lake = Lake(tmp_lake)
    levels = lake.read("silver.future_mbo.levels", "ESU5", DATE)
    known = dict(truth.select("level_id", "level_tick").unique().iter_rows())
    assert known
    for level_id, tick in known.items():
        assert levels.filter(pl.col("level_id") == level_id)["level_tick"].unique().to_list() == [tick]
    assert set(levels["level_id"]) >= {"pm_high", "or_low", "pd_close", "on_high", "sma_200", "vwap"}
    assert lake.read("silver.future_mbo.mbo_tape_1s", "ESU5", DATE)["book_valid"].all()
    assert lake.notes("bronze.future_mbo.mbo", "ESU5", DATE)["dataset"] == "GLBX.MDP3.SIM"
    made = [key for key in datasets() if lake.has(key, "ESU5", DATE)]
    assert len(made) >= 6
    assert all(lake.is_simulated(key, "ESU5", DATE) for key in made), "simulated is said in every layer"
    assert lake.read("silver.future_mbo.mbo_level_vacuum_5s", "ESU5", DATE).height > 1000


def test_no_module_of_the_pipeline_speaks_of_the_truth():
    root = Path(engine.__file__).parent
    allowed = {root / "commands" / "simulate.py", *(root / "simulate").glob("*.py")}
    readers = [
        p
        for p in root.rglob("*.py")
        if p not in allowed and re.search(r"\btruth/|[\"']truth[\"']|engine\.simulate\.(regimes|marks)", p.read_text())
    ]
    assert readers == []


def test_what_cannot_be_simulated_is_said(tmp_lake):
    with pytest.raises(SessionError, match="found none"):
        simulate(dates="2025-09-06", lake=tmp_lake)
    with pytest.raises(SessionError, match="rate"):
        simulate(dates="2025-09-03", lake=tmp_lake, rate=50)
    with pytest.raises(SessionError, match="--root"):
        simulate(dates="2025-09-03", lake=tmp_lake, root="ZZ")


def test_a_file_of_other_settings_is_kept(tmp_lake):
    simulate(dates="2025-09-07", lake=tmp_lake, rate=0.02, workers=1)
    with pytest.raises(RunFailed, match="overwrite"):
        simulate(dates="2025-09-07", lake=tmp_lake, rate=0.03, workers=1)


def test_the_report_of_a_file_is_written_by_the_command(tmp_path, capsys):
    simulate(dates="2025-09-03", out=tmp_path / "raw", rate=0.03, round_ticks=100, workers=1)
    truth = pl.read_parquet(tmp_path / "truth" / "symbol=ES" / "2025-09-03.parquet")
    assert truth["level_id"].str.starts_with("price:").any(), "round prices have regimes where asked for"
    (file,) = (tmp_path / "raw").glob("*.dbn.zst")
    capsys.readouterr()
    fidelity([file], html=tmp_path / "report.html", json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["sessions"] == 1
    assert {g["fact"] for g in found["gates"] if g["holds"]} >= {"spread_share", "crossed", "response"}
    assert file.name in (tmp_path / "report.html").read_text()
    with pytest.raises(SessionError, match="--seeds"):
        fidelity(seeds=0)
