"""Raw files of options through the pipeline, beside a lake of futures that they leave as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.commands.run import run
from engine.errors import BadDbn, RawMissing
from engine.lake.catalog import OPTION_TABLES, RAW_OPTION_TEMPLATE
from engine.lake.store import Lake
from engine.pipeline import build_pipeline, lake_state
from engine.stages.option_bronze import build_options, option_day
from tests.support.options import DATE, option_file, option_raw, records_of


def bronze(lake: Path) -> None:
    run(symbol="ES", dates=str(DATE), lake=lake, layer="bronze", product_type="future_option", workers=1)


def test_bronze_of_the_four_tables_is_made_once(tmp_lake, capsys) -> None:
    option_raw(tmp_lake)
    bronze(tmp_lake)
    lake = Lake(tmp_lake)
    for table, key in OPTION_TABLES.items():
        manifest = lake.manifest(key, "ES", DATE)
        assert manifest.rows == len(records_of(table))
        assert manifest.notes["simulated"]
        assert manifest.notes["left_out"] == {}
    assert [s.stale for s in lake_state(lake)] == [""] * 4
    capsys.readouterr()
    bronze(tmp_lake)
    assert "0 made, 4 current" in capsys.readouterr().err
    folder = tmp_lake / RAW_OPTION_TEMPLATE.format(root="ES", table="statistics")
    option_file(folder, "statistics", records_of("statistics")[:10])
    bronze(tmp_lake)
    assert "1 made, 3 current" in capsys.readouterr().err, "a file that changed is read again"
    assert lake.manifest(OPTION_TABLES["statistics"], "ES", DATE).rows == 10


def test_what_two_files_hold_is_taken_once_and_counted(tmp_lake) -> None:
    option_raw(tmp_lake)
    folder = tmp_lake / RAW_OPTION_TEMPLATE.format(root="ES", table="definition")
    later = records_of("definition")[:50].copy()
    later["raw_symbol"] = b"LATER"
    option_file(folder, "definition", later, name="more")
    other = records_of("definition")[:7].copy()
    other["instrument_id"] += 1 << 20
    other["underlying"] = b"NQU5"
    option_file(folder, "definition", other, name="nq")
    lake = Lake(tmp_lake)
    build_options(lake, option_day(lake, "ES", "definition", DATE))
    manifest = lake.manifest(OPTION_TABLES["definition"], "ES", DATE)
    assert manifest.rows == len(records_of("definition"))
    assert manifest.notes["left_out"] == {"in an earlier file as well": 50, "of another root or no option": 7}


def test_a_broken_file_leaves_nothing(tmp_lake) -> None:
    folder = tmp_lake / RAW_OPTION_TEMPLATE.format(root="ES", table="statistics")
    option_file(folder, "statistics", np.frombuffer(records_of("statistics").tobytes()[:-1], np.uint8).reshape(1, -1))
    lake = Lake(tmp_lake)
    with pytest.raises(BadDbn, match="truncated after record"):
        build_options(lake, option_day(lake, "ES", "statistics", DATE))
    assert not lake.has(OPTION_TABLES["statistics"], "ES", DATE)
    assert not list(tmp_lake.rglob("*.parquet"))
    with pytest.raises(RawMissing, match=r"expected a tbbo file of that UTC date in .*table=tbbo_dbn, found none \(0 other dates\)"):
        option_day(lake, "ES", "tbbo", DATE)


def test_the_pipeline_of_options_stands_by_itself() -> None:
    assert [s.name for s in build_pipeline("future_option", "bronze")] == ["option_bronze"]
    assert "option_bronze" not in [s.name for s in build_pipeline("future_mbo", "all")]
