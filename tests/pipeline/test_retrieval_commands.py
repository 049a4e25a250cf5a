"""The commands of retrieval, as a user runs them."""

from __future__ import annotations

import json

import polars as pl
import pytest

from engine.cli import main
from engine.errors import SessionError
from engine.lake.store import Lake
from engine.retrieval.dataset import VECTORS
from engine.retrieval.index import build_index, open_index
from tests.support.lakes import report
from tests.support.retrieval import SYMBOL, gold_frame, write_gold


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with gold of twenty sessions."""
    return write_gold(tmp_path_factory.mktemp("commands") / "lake", gold_frame(400))


def a_trigger(lake: Lake, session: int, row: int = 0) -> str:
    symbol, date = lake.partitions(VECTORS)[session]
    return str(lake.read(VECTORS, symbol, date)["trigger_id"][row])


def said(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """What the command line prints, run in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in args])
    assert stop.value.code == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """What the command line says where it refuses, run in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in args])
    assert stop.value.code == 1
    found = capsys.readouterr()
    assert "break" not in found.out
    return found.err


def test_commands(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    made = report("index", "--lake", lake.root, "--name", "cli")
    assert made["pools"]["all/mirrored"]["count"] == 320
    assert "current" in said(capsys, "index", "--lake", lake.root, "--name", "cli", "--check")
    trigger = a_trigger(lake, 15)
    ask = ("neighbours", "--lake", lake.root, "--trigger", trigger)
    assert len(json.loads(said(capsys, *ask, "--mode", "all", "--name", "cli", "--show", 3, "--json"))["neighbours"]) == 3
    shown = said(capsys, *ask)
    assert "neighbours (" in shown or "nothing comparable" in shown
    made_up = said(capsys, *ask, "--mode", "all", "--name", "cli", "--set", "distance=0.3")
    assert "made up: distance=0.3; compared by learned; as it was for the reference: level_id, approach, seconds_into_session" in made_up
    assert "whole ticks" in refused(capsys, *ask, "--set", "distance=0.33")
    # Too few events: no histogram, and the number that there are.
    early = ("--trigger", a_trigger(lake, 2))
    assert "too few events: expected at least 150" in refused(capsys, "neighbours", "--lake", lake.root, *early)
    for option, value in (("--show", "-1"), ("--price", "nan"), ("--price", "-5")):
        assert f"{option} " in refused(capsys, "neighbours", "--lake", lake.root, "--trigger", trigger, option, value)
    for wrong in (("--symbol", SYMBOL), ("--trigger", trigger, "--set", "nonsense"), ("--trigger", trigger, "--set", "x=1")):
        assert "expected" in refused(capsys, "neighbours", "--lake", lake.root, *wrong)
    frame = gold_frame(400).filter(pl.col("session_date") == pl.col("session_date").min())
    write_gold(lake.root, frame.with_columns(pl.lit("CHOP").alias("outcome_h1")))
    for use in (("index", "--lake", lake.root, "--name", "cli", "--check"), (*ask, "--mode", "all", "--name", "cli")):
        assert f"`spymaster index --lake {lake.root} --name cli` rebuilds it" in refused(capsys, *use).replace("\n", "")
    gone = ("neighbours", "--lake", lake.root, "--trigger", trigger.replace(trigger[:10], "2031-01-02"))
    assert "--dates 2031-01-02" in refused(capsys, *gone)
    assert "expected some of arm" in refused(capsys, "index", "--lake", lake.root, "--kinds", "magic")


@pytest.mark.parametrize("name", ["", ".", "..", "../gold", "a/b", ".tmp-x", "/tmp/x"])
def test_an_index_name_that_is_a_path_replaces_nothing(lake: Lake, name: str) -> None:
    before = sorted(lake.root.rglob("*"))
    for use in (build_index, open_index):
        with pytest.raises(SessionError, match=r"index name .*: expected letters"):
            use(lake, name=name)
    assert sorted(lake.root.rglob("*")) == before


def test_audit_command_on_tier_a(capsys: pytest.CaptureFixture[str]) -> None:
    found = report("audit", "--synthetic", 300, "--strength", 2.0, "--seed", 3, "--only", "learned")
    assert found["representations"]["learned"]["share_of_attainable"] > 0.3
    text = said(capsys, "audit", "--synthetic", 300, "--strength", 0, "--only", "learned", "--diagram")
    assert "no edge found" in text
    assert "reliability of class/learned" in text
    assert "--only magic: expected some of" in refused(capsys, "audit", "--synthetic", 300, "--only", "magic")
    assert "--growth -1" in refused(capsys, "audit", "--synthetic", 300, "--growth", "-1")
    for option, value in (("--seed", -1), ("--strength", -1.5), ("--strength", "nan"), ("--horizon", "h2")):
        assert f"{option} {value}: " in refused(capsys, "audit", "--synthetic", 300, option, value)
    assert "too few events for an audit" in refused(capsys, "audit", "--synthetic", 40)
