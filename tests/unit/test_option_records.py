"""Files of an option chain: what Databento's own reader finds in them, older versions, and what is no such file."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import BadDbn
from engine.lake.catalog import OPTION_TABLES, dataset
from engine.options.records import frame_of, layout, read_records
from engine.simulate.options import TABLES
from engine.stages.option_bronze import of_root, spreads_of
from tests.support.options import downgraded, option_day, option_file, records_of


@pytest.mark.parametrize("table", TABLES)
def test_databento_reads_the_same_records(table, tmp_path) -> None:
    databento = pytest.importorskip("databento")
    records = records_of(table)
    path = option_file(tmp_path, table, records)
    found = np.concatenate(list(read_records(path, table)))
    assert found.tobytes() == records.tobytes()
    store = databento.DBNStore.from_file(path)
    for made, theirs in zip(found[:50], store):
        assert made["instrument_id"] == theirs.instrument_id
        if table == "definition":
            assert made["raw_symbol"].decode() == theirs.raw_symbol
            assert made["strike_price"] == theirs.strike_price
            assert made["expiration"] == theirs.expiration
            assert made["underlying"].decode() == theirs.underlying
        elif table == "statistics":
            assert (made["stat_type"], made["quantity"], made["ts_ref"]) == (theirs.stat_type, theirs.quantity, theirs.ts_ref)
        else:
            assert (made["ts_recv"], made["side"].decode()) == (theirs.ts_recv, str(theirs.side))
            assert made["bid_px_00"] == theirs.levels[0].bid_px


@pytest.mark.parametrize(
    ("table", "version", "size"), [("definition", 1, 360), ("definition", 2, 400), ("statistics", 1, 64), ("statistics", 2, 64)]
)
def test_older_versions_are_read_by_their_own_layout(table, version, size, tmp_path) -> None:
    records = records_of(table)
    assert layout(table, version).itemsize == size
    (found,) = read_records(option_file(tmp_path, table, downgraded(records, table, version), version=version), table)
    held = [n for n in layout(table, version).names if n in found.dtype.names and n != "length"]
    assert all((found[n] == records[n]).all() for n in held)
    if table == "definition":
        assert {"strike_price", "expiration", "underlying", "raw_symbol", "instrument_class"} <= set(held)
        assert (found["leg_price"] == 2**63 - 1).all(), "what an older version has not is undefined"
    assert int(found["length"][0]) * 4 == layout(table, 3).itemsize


@pytest.mark.parametrize("table", TABLES)
def test_bronze_has_every_column_under_its_own_name(table) -> None:
    records = records_of(table)
    rows = frame_of(records, table)
    assert rows.schema == dataset(OPTION_TABLES[table]).contract().schema()
    assert rows.height == len(records)
    named = [n for n in records.dtype.names if n != "length" and not n.startswith("_")]
    assert rows.columns == named, "all of version 3"
    assert rows["ts_recv"].to_list()[:3] == records["ts_recv"].tolist()[:3]
    if table == "statistics":
        undefined = records["ts_ref"] == 2**64 - 1
        assert rows["ts_ref"].is_null().to_list() == undefined.tolist()


def test_what_is_no_such_file_is_named(tmp_path) -> None:
    records = records_of("statistics")
    good = option_file(tmp_path, "statistics", records)
    with pytest.raises(BadDbn, match="expected schema tbbo, found statistics"):
        list(read_records(good, "tbbo"))
    with pytest.raises(BadDbn, match=r"record 0: expected 80 bytes of type 24, found 80 of type 1"):
        list(read_records(option_file(tmp_path, "statistics", records_of("tbbo"), name="mixed"), "statistics"))
    cut = np.frombuffer(records.tobytes()[:-30], np.uint8).reshape(1, -1)
    with pytest.raises(BadDbn, match=r"truncated after record 3,851: expected records of 80 bytes, found 50 bytes more"):
        list(read_records(option_file(tmp_path, "statistics", cut, name="cut"), "statistics"))


def test_only_options_of_the_root_and_their_spreads_are_bronze() -> None:
    records = records_of("definition").copy()
    assert of_root(records, "ES", spreads_of([records], "ES")).all()
    assert not of_root(records, "NQ", spreads_of([records], "NQ")).any()
    records["underlying"][:100] = b"NQU5"  # another root's, a future, and one without an underlying
    records["instrument_class"][100] = b"F"
    records["underlying"][101] = b""
    use = of_root(records, "ES", spreads_of([records], "ES"))
    assert not use[:102].any()
    assert use[102:-60].all()
    backwards = records[::-1]
    assert (spreads_of([backwards[:100], backwards[100:]], "ES") == spreads_of([records], "ES")).all(), "legs in another chunk"


def test_the_chain_looks_like_one() -> None:
    day = option_day()
    chain = day.chain
    assert 1500 < len(chain) < 3000
    assert len(set(chain.instrument_id.tolist())) == len(chain), "an id is one contract"
    assert 0.5 < chain.oi.sum() / 1_200_000 <= 1
    inside = chain.right * (6800 - chain.strike) > 0
    assert chain.oi[inside].sum() < 0.5 * chain.oi[~inside].sum()
    quotes = records_of("bbo_1m")
    there = (quotes["bid_sz_00"] > 0) & (quotes["ask_sz_00"] > 0)
    assert 0.5 < there.mean() < 1
    crossed = there & (quotes["bid_px_00"] >= quotes["ask_px_00"])
    assert 0 < crossed.mean() < 0.01, "a few are crossed"
    assert (np.abs(chain.dealers) <= chain.oi).all()
