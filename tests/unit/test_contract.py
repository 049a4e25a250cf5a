"""Contracts: what is read from Avro, what is refused, and that generated ones are current."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from engine.commands.lake import generated
from engine.errors import ContractError, UnknownDataset
from engine.lake.catalog import BARS, BRONZE_MBO, LEVELS, VACUUM, dataset, datasets
from engine.lake.contract import enforce_contract, parse_contract


def level_row() -> pl.DataFrame:
    values = {"level_id": ["pm_high"], "start_ts_ns": [1], "end_ts_ns": [2], "price": [1.5], "level_tick": [6]}
    return pl.DataFrame(values, schema=dataset(LEVELS).contract().schema())


def test_every_dataset_has_a_contract_whose_columns_have_a_meaning():
    for key, d in datasets().items():
        contract = d.contract()
        assert contract.name == d.table, key
        assert all(f.doc for f in contract.fields), key


def test_types_of_bronze_are_databentos():
    schema = dataset(BRONZE_MBO).contract().schema()
    assert schema["order_id"] == pl.UInt64
    assert schema["flags"] == pl.UInt8
    assert schema["side"] == pl.Enum(["B", "A", "N"])
    assert list(schema)[:4] == ["ts_event", "ts_recv", "order_id", "price"]


def test_generated_contracts_are_current():
    for path, text in generated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is not current; run `spymaster contracts --write`"


def test_the_vacuum_contract_is_what_the_engine_makes():
    from engine.features.windows import window_schema

    assert dict(dataset(VACUUM).contract().schema()) == dict(window_schema())


def test_columns_come_back_in_the_contracts_order():
    frame = level_row()
    shuffled = frame.select(sorted(frame.columns))
    assert enforce_contract(shuffled, dataset(LEVELS).contract(), "here").columns == frame.columns


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda f: f.drop("price"), "missing: price"),
        (lambda f: f.with_columns(colour=pl.lit(1)), "extra: colour"),
        (lambda f: f.with_columns(pl.col("level_tick").cast(pl.Int64)), "level_tick: expected Int32, found Int64"),
        (lambda f: f.with_columns(price=pl.lit(None, pl.Float64)), "price: expected no null, found 1"),
    ],
)
def test_a_frame_that_differs_is_refused_by_name(change, named):
    with pytest.raises(ContractError, match=named):
        enforce_contract(change(level_row()), dataset(LEVELS).contract(), "levels here")


def test_a_projection_of_an_unknown_column_is_refused():
    with pytest.raises(ContractError, match="no such column: colour"):
        enforce_contract(level_row(), dataset(LEVELS).contract(), "here", ("colour",))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "expected an Avro record schema"),
        ('{"type": "record", "name": "x"}', "expected an Avro record schema"),
        ('"long"', "expected an Avro record schema"),
        ('{"type": "record", "name": "x", "fields": [{"name": "a", "type": "bytes"}]}', "column 'a': expected a type of"),
        ('{"type": "record", "name": "x", "fields": [{"name": "a", "type": ["null", "int", "long"]}]}', "one type or"),
    ],
)
def test_a_contract_that_is_none_is_refused_with_its_path(tmp_path: Path, text: str, named: str):
    path = tmp_path / "x.avsc"
    path.write_text(text)
    with pytest.raises(ContractError, match=named) as e:
        parse_contract(path)
    assert str(path) in str(e.value)


def test_a_contract_file_that_is_gone_is_named(tmp_path: Path):
    with pytest.raises(ContractError, match="found no file"):
        parse_contract(tmp_path / "gone.avsc")


def test_the_fingerprint_follows_types_and_units_but_not_wording(tmp_path: Path):
    source = Path(dataset(BARS).contract().path)
    original = dataset(BARS).contract().fingerprint()

    def edited(change) -> str:
        raw = json.loads(source.read_text())
        change(raw["fields"][2])
        path = tmp_path / "x.avsc"
        path.write_text(json.dumps(raw))
        return parse_contract(path).fingerprint()

    assert edited(lambda f: f.update(doc="other words")) == original
    assert edited(lambda f: f.update(unit="feet")) != original
    assert edited(lambda f: f.update(type="long")) != original
    assert edited(lambda f: f.update(type=["null", f["type"]])) != original


def test_an_unknown_dataset_names_the_known_ones():
    with pytest.raises(UnknownDataset, match=r"silver\.future_mbo\.levels"):
        dataset("silver.future_mbo.level")
