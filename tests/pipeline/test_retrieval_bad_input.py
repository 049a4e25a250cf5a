"""Bad input of retrieval, and the commands that errors name for it: what is missing, too little, or of other parameters."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.errors import ContractError, NoData, PartitionMissing
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.params import GoldParams, RetrievalParams, SetupParams
from engine.retrieval.audit_store import audit_command
from engine.retrieval.dataset import VECTORS, gold_events
from engine.retrieval.hints import gold_command
from engine.retrieval.index import build_index, index_root, open_index
from engine.retrieval.neighbours import neighbours, trigger_query
from tests.support.lakes import leftovers
from tests.support.retrieval import SYMBOL, gold_frame, write_gold


def test_the_command_that_makes_an_audit_has_its_knobs(tmp_lake: Path) -> None:
    lake, start = Lake(tmp_lake), f"spymaster audit --lake {tmp_lake}"
    assert audit_command(lake, None) == audit_command(lake, None, RetrievalParams(kinds=("window",))) == start
    found = audit_command(lake, "ES", RetrievalParams(cap=5, horizon="h2", k_grid=(50, 100)))
    assert found == f"""{start} --symbol ES --horizon h2 --params <(echo '{{"retrieval": {{"cap": 5, "k_grid": [50, 100]}}}}')"""


def test_the_command_that_makes_gold_again_has_the_knobs_that_it_was_made_with(tmp_lake: Path) -> None:
    frame = gold_frame(40)
    lake = write_gold(tmp_lake, frame)
    dates = [d for _, d in lake.partitions(VECTORS)]
    values = {"setups": SetupParams(arm_ticks=6).model_dump(mode="json"), "gold": GoldParams().model_dump(mode="json")}
    first = frame.filter(pl.col("session_date") == dates[0]).sort("window_end_ts_ns", "level_id", "kind")
    lake.write(VECTORS, SYMBOL, dates[0], first, Lineage("triggers", "p", "a", {}, "rth", values))
    made = gold_command(lake, (SYMBOL, dates[0]), dates, gold={"representation": "blocks"})
    start = f"spymaster run --lake {lake.root} --layer gold --symbol {SYMBOL} --dates {dates[0]}:{dates[1]} --session rth"
    assert made == f"""{start} --params <(echo '{{"gold": {{"representation": "blocks"}}, "setups": {{"arm_ticks": 6}}}}')"""
    assert gold_command(lake, (SYMBOL, dates[1]), dates) == start
    # Of two sessions the first stands for most.
    with pytest.raises(ContractError, match=r"expected the same parameters in all 2 sessions, .* rebuilds them as most are") as refused:
        gold_events(lake)
    assert f"`{gold_command(lake, (SYMBOL, dates[0]), dates)}`" in str(refused.value)


def test_no_index_and_no_gold_say_what_makes_them(tmp_lake: Path) -> None:
    lake = Lake(tmp_lake)
    with pytest.raises(PartitionMissing, match=f"`spymaster index --lake {tmp_lake} --name default` makes it"):
        open_index(lake)
    with pytest.raises(NoData, match=r"add and run more dates, `spymaster add FILES --lake .*` and `spymaster run --lake"):
        build_index(lake)


def test_too_few_events_make_no_index_and_leave_nothing(tmp_lake: Path) -> None:
    lake = write_gold(tmp_lake, gold_frame(60))
    with pytest.raises(NoData, match=r"too few events: expected at least 150 with an outcome in 10 sessions of history, found 48 in 3"):
        build_index(lake)
    assert not (index_root(lake) / "default").exists()
    assert leftovers(tmp_lake) == []


@pytest.mark.parametrize("value", [None, 0.0])
def test_gold_whose_vectors_point_nowhere_makes_no_index(tmp_lake: Path, value: float | None) -> None:
    frame = gold_frame(400)
    vector = None if value is None else [value] * int(frame["vector_dim"][0])
    lake = write_gold(tmp_lake, frame.with_columns(pl.lit(vector, pl.List(pl.Float32)).alias("vector")))
    with pytest.raises(NoData, match=r"too few events: expected at least 150 with an outcome in 10 sessions of history, found 0 in 0"):
        build_index(lake)
    symbol, date = lake.partitions(VECTORS)[15]
    a_trigger = str(lake.read(VECTORS, symbol, date)["trigger_id"][0])
    with pytest.raises(NoData, match="found 0 in 0"):
        neighbours(lake, trigger_query(lake, a_trigger))
    assert not (index_root(lake) / "default").exists()
