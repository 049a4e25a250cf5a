"""Raw files of options through the pipeline, beside a lake of futures that they leave as it is."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path

import databento_dbn as dbn
import numpy as np
import polars as pl
import pytest
import zstandard

from engine.commands.add import add
from engine.commands.gex import _levels, contract_of, gex
from engine.commands.lake import lake as show_lake
from engine.commands.lake import option_lines
from engine.commands.run import run
from engine.commands.simulate import simulate
from engine.errors import BadDbn, NoData, RawMissing, RunFailed, SessionError
from engine.lake.catalog import (
    CHAIN,
    FLOW,
    LEVELS,
    MARKS,
    OPTION_LEVELS,
    OPTION_TABLES,
    PROFILE,
    RAW_OPTION_TEMPLATE,
    VACUUM,
    dataset,
    datasets,
)
from engine.lake.store import Lake
from engine.options.flow import FLOW_COLUMNS
from engine.options.products import PARENTS, option_roots, parents_of
from engine.options.records import SCHEMAS, read_records
from engine.params import LevelParams, RunParams, SelectionParams
from engine.pipeline import build_pipeline, lake_state, option_dates, plan_options
from engine.selection import make_selection
from engine.sessions import session_windows, to_ns
from engine.simulate.dbn import write_file
from engine.simulate.option_chain import expiries
from engine.stages.option_bronze import build_options, option_day
from engine.stages.task import SILVER, TaskSpec, is_current, run_partition
from engine.vocab import ROOTS
from tests.support.dbn_files import metadata_bytes
from tests.support.lakes import TUESDAY
from tests.support.options import DATE, DAY_NS, START_NS, option_file, option_raw, options_beside, records_of
from tests.support.options import option_day as records_day


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
    run(symbol="ES", dates=str(DATE), lake=tmp_lake, product_type="future_option", workers=1)
    said = capsys.readouterr().err
    assert "0 made, 4 current" in said
    assert (
        "no session of ES futures is made, whose contract and prices chain and marks need; with their raw files in place `spymaster run"
        in said
    )
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


def test_files_that_split_a_date_by_time_lose_nothing(tmp_lake) -> None:
    lake = Lake(tmp_lake)
    records = records_of("statistics")
    at, noon = records["ts_recv"], START_NS + DAY_NS // 2
    end = int(at[at >= noon].min()) + 1  # the first settlements are in both
    folder = lake.option_folder("ES", "statistics")
    option_file(folder, "statistics", records[at < end], name="a", span=(START_NS, end))
    option_file(folder, "statistics", records[at >= noon], name="b", span=(noon, START_NS + DAY_NS))
    assert set(records[at < noon]["instrument_id"]) & set(records[at >= end]["instrument_id"])
    build_options(lake, option_day(lake, "ES", "statistics", DATE))
    manifest = lake.manifest(OPTION_TABLES["statistics"], "ES", DATE)
    assert manifest.rows == len(records)
    assert manifest.notes["left_out"] == {"in an earlier file as well": int(((at >= noon) & (at < end)).sum())}


def test_spreads_whose_legs_another_file_defines_are_kept(tmp_lake) -> None:
    lake = Lake(tmp_lake)
    records = records_of("definition").copy()
    of_leg = records["leg_count"] > 0
    records["underlying"][of_leg] = b""
    folder = lake.option_folder("ES", "definition")
    option_file(folder, "definition", records[of_leg], name="a-spreads")
    option_file(folder, "definition", records[~of_leg], name="b-options")
    build_options(lake, option_day(lake, "ES", "definition", DATE))
    manifest = lake.manifest(OPTION_TABLES["definition"], "ES", DATE)
    assert (manifest.rows, manifest.notes["left_out"]) == (len(records), {})


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
    assert [s.name for s in build_pipeline("future_option", "all")] == ["option_bronze", "chain", "marks", "option_flow", "profile"]
    assert "option_bronze" not in [s.name for s in build_pipeline("future_mbo", "all")]


def test_options_add_their_levels_and_change_nothing_else(copied_lake, capsys) -> None:
    lake, symbol = copied_lake, "ESZ5"
    parts = {key: lake.manifest(key, symbol, TUESDAY) for key in datasets() if lake.has(key, symbol, TUESDAY)}
    spec = TaskSpec(str(lake.root), TUESDAY, (symbol,), profile="rth", params=RunParams().model_dump_json())
    assert is_current(spec), "a lake without options lacks nothing"
    options_beside(lake, symbol, TUESDAY)
    plan = plan_options(lake, symbol, option_dates([TUESDAY], symbol, "rth"), overwrite=False)
    assert [t.name for t in plan.todo] == [f"bronze ES options {t} {TUESDAY}" for t in OPTION_TABLES]
    assert {run_partition(t).status for t in plan.todo} == {"made"}
    assert not is_current(spec)
    receipt = run_partition(spec)
    assert receipt.made == ("chain", "marks", "option_flow", "profile", "levels", "vacuum"), receipt
    assert is_current(spec)
    levels = lake.read(LEVELS, symbol, TUESDAY)
    walls = levels.filter(pl.col("level_id").is_in(["call_wall", "put_wall"]))
    assert set(walls["level_id"]) == {"call_wall", "put_wall"}
    assert (walls["price"] % 5 == 0).all()
    w = session_windows(TUESDAY, "rth")
    assert levels["start_ts_ns"].min() >= w.ladder_start_ns
    assert walls["start_ts_ns"].min() >= w.ladder_start_ns + 2 * 60 * 10**9, "known from the end of the first minute that has quotes"
    marks = lake.read(MARKS, symbol, TUESDAY)
    assert (marks["quote_ts_ns"].drop_nulls() < marks.filter(pl.col("quote_ts_ns").is_not_null())["minute_ts_ns"]).all()
    profile = lake.read(PROFILE, symbol, TUESDAY)
    assert profile.group_by("minute_ts_ns", "scope").len()["len"].unique().to_list() == [161]
    assert set(profile["scope"]) == {"0dte", "week", "all"}
    assert (profile["oi_as_of_ts_ns"] < profile["minute_ts_ns"]).all()
    assert lake.is_simulated(PROFILE, symbol, TUESDAY)
    flow, chain = lake.read(FLOW, symbol, TUESDAY), lake.read(CHAIN, symbol, TUESDAY)
    of_session = pl.col("ts_recv").is_between(w.ladder_start_ns, w.ladder_end_ns, closed="left") & pl.col("instrument_id").is_in(
        chain.filter(pl.col("underlying") == symbol)["instrument_id"].to_list()
    )
    trades = lake.read(OPTION_TABLES["tbbo"], "ES", TUESDAY, where=of_session)
    assert flow.select(pl.sum_horizontal(*FLOW_COLUMNS)).sum().item() == trades["size"].sum() > 0
    assert "call_wall" not in lake.notes(LEVELS, symbol, TUESDAY)["absent"]
    assert all(lake.manifest(k, symbol, TUESDAY).digest() == m.digest() for k, m in parts.items() if k not in (LEVELS, VACUUM))
    capsys.readouterr()
    gex(symbol="ES", date=str(TUESDAY), time="09:45", scope="week", lake=lake.root, json=True)
    said = json.loads(capsys.readouterr().out)
    of_minute = profile.filter((pl.col("scope") == "week") & (pl.col("minute_ts_ns") == to_ns(TUESDAY, dt.time(9, 45))))
    assert (said["time"], said["symbol"], said["oi"]) == ("09:45", symbol, "known at 01:00")
    for row in said["profile"]:
        there = of_minute.row(by_predicate=pl.col("price") == row["price"], named=True)
        four = [there[p] for p in ("call_gamma", "put_gamma", "call_flow_gamma", "put_flow_gamma")]
        assert row["gamma"] == pytest.approx(four[0] - four[1] + four[2] + four[3])
    assert set(said["rules"]) == {"naive", "flow", "hybrid"}
    assert [level["level_id"] for level in said["levels"]] == ["call_wall", "put_wall", "zero_gamma"]
    gex(symbol=symbol, date=str(TUESDAY), lake=lake.root)
    text = capsys.readouterr().out
    assert "unit: ES contracts a point; rule hybrid; the sign is an assumption" in text
    assert "call_wall (open interest): none near" not in text, "in the session's last minute, too"
    with pytest.raises(NoData, match="the first minute with marks is"):
        gex(symbol="ES", date=str(TUESDAY), time="04:00", lake=lake.root)
    with pytest.raises(NoData, match=r"expected options of that session, found none \(last with options: 2025-11-04\)"):
        gex(symbol="ES", date="2025-11-05", lake=lake.root)
    # Without the options everything is again what it was, to the byte.
    for folder in ("bronze", "silver", "gold"):
        for path in (lake.root / folder).rglob("product_type=future_option"):
            shutil.rmtree(path)
    assert not is_current(spec)
    assert run_partition(spec).made == ("levels", "vacuum")
    assert {k: lake.manifest(k, symbol, TUESDAY).digest() for k in parts} == {k: m.digest() for k, m in parts.items()}
    # The pipeline of options makes nothing else.
    capsys.readouterr()
    run(symbol=symbol, dates=str(TUESDAY), lake=lake.root, product_type="future_option", workers=1)
    assert "5 made, 0 current, 0 failed" in capsys.readouterr().err, "bronze of four tables, and what is made of them"
    assert all(lake.has(k, symbol, TUESDAY) for k in (CHAIN, MARKS, FLOW, PROFILE, OPTION_LEVELS))
    assert {k: lake.manifest(k, symbol, TUESDAY).digest() for k in parts} == {k: m.digest() for k, m in parts.items()}
    # Levels that are named are all that is made.
    for asked, found in ((("vwap", "put_wall"), {"vwap", "put_wall"}), (("vwap",), {"vwap"})):
        named = RunParams(levels=LevelParams(level_ids=asked)).model_dump_json()
        assert run_partition(TaskSpec(str(lake.root), TUESDAY, (symbol,), profile="rth", params=named)).status == "made"
        assert set(lake.read(LEVELS, symbol, TUESDAY)["level_id"]) == found
    # Of a root it is the selected contract's options that are shown, not those of the first by name.
    assert contract_of(lake, "ES", TUESDAY) == symbol
    shutil.copytree(lake.path(PROFILE, symbol, TUESDAY), lake.path(PROFILE, "ESH6", TUESDAY))
    with pytest.raises(SessionError, match="expected the selection map"):
        contract_of(lake, "ES", TUESDAY)
    make_selection(lake, "ES", "rth", SelectionParams())
    assert contract_of(lake, "ES", TUESDAY) == symbol
    assert contract_of(lake, "ESH6", TUESDAY) == "ESH6"


def test_a_step_that_ended_is_not_shown() -> None:
    steps = [
        ("call_wall", "all", "oi", 10, 20, 6800.0),
        ("put_wall", "all", "oi", 10, 20, 6700.0),
        ("put_wall", "all", "oi", 20, 30, 6690.0),
    ]
    frame = pl.DataFrame(steps, schema=dataset(OPTION_LEVELS).contract().schema(), orient="row")
    assert [level["price"] for level in _levels(frame, 20, "all", "hybrid")] == [None, 6690.0, None]
    assert [level["price"] for level in _levels(frame, 19, "all", "hybrid")] == [6800.0, 6700.0, None]


def test_the_code_of_option_levels_counts_only_where_there_are_options() -> None:
    levels = next(s for s in SILVER if s.name == "levels")
    values = levels.values(RunParams())
    plain = levels.code_versions("ESZ5", "rth", values)
    assert levels.code_versions("ESZ5", "rth", values, ["bronze.future_mbo.mbo/ESZ5/2025-11-04"]) == plain
    assert levels.code_versions("ESZ5", "rth", values, [f"{OPTION_LEVELS}/ESZ5/2025-11-04"])[0] not in plain


def test_add_takes_the_four_schemas_by_what_they_hold(tmp_lake, tmp_path, capsys) -> None:
    got = tmp_path / "got"
    for n, table in enumerate(OPTION_TABLES):
        day = records_day()
        day.write(got, table)
        (file,) = got.glob(f"*.{SCHEMAS[table]}.dbn.zst")
        file.rename(got / f"delivery-{n}.dbn.zst")
    futures = metadata_bytes({1: "ESU5"}, START_NS, START_NS + DAY_NS, schema=dbn.Schema.from_str("statistics"))
    write_file(got / "futures.dbn.zst", futures, (np.frombuffer(records_of("statistics").tobytes(), np.uint8).reshape(-1, 80),))
    add([got], lake=tmp_lake)
    said = capsys.readouterr().out
    assert "bbo-1m of options on ES" in said
    assert "passed over" in said, "statistics of futures are not read"
    lake = Lake(tmp_lake)
    assert [len(list(lake.option_folder("ES", t).iterdir())) for t in OPTION_TABLES] == [1, 1, 1, 1]
    for table in OPTION_TABLES:
        assert option_day(lake, "ES", table, DATE).paths == tuple(lake.option_folder("ES", table).iterdir())
    capsys.readouterr()
    assert option_lines(lake) == ["raw ES options: 1 dates, 2025-09-03 to 2025-09-03"]
    (quotes,) = lake.option_folder("ES", "bbo_1m").iterdir()
    quotes.unlink()
    assert option_lines(lake)[1:] == [f"  no bbo_1m of 2025-09-03; put its file into {quotes.parent}"]
    (quotes.parent / "bad.dbn.zst").write_bytes(b"no file of Databento's")
    assert option_lines(lake)[1].startswith(f"  unreadable {quotes.parent / 'bad.dbn.zst'}: ")
    (warning,) = plan_options(lake, "ES", [DATE], overwrite=False).warnings
    assert "passed over a raw file of options that cannot be read" in warning
    (quotes.parent / "bad.dbn.zst").unlink()
    show_lake(lake=tmp_lake)
    assert "raw ES options: 1 dates" in capsys.readouterr().out
    add([got], lake=tmp_lake)
    assert "there already" in capsys.readouterr().out
    cut = got / "delivery-0.dbn.zst"
    whole = zstandard.ZstdDecompressor().stream_reader(cut.read_bytes()).read()
    cut.write_bytes(whole[:-100])
    with pytest.raises(RunFailed, match="truncated"):
        add([cut], lake=tmp_lake)


def test_products_belong_to_roots() -> None:
    assert option_roots(["E1CU5 C6800", "EW3.OPT", "EYCZ5 P5000"]) == {"ES"}
    assert option_roots(["ESU5", "ES.FUT", "UD:1V: VT 0903001", "ZZ.OPT"]) == set()
    assert {"ES.OPT", "EW.OPT", "EW4.OPT", "E5D.OPT"} <= set(parents_of("ES"))
    assert parents_of("NQ") == ("NQ.OPT",)
    assert {e.product for month in range(1, 13) for e in expiries(ROOTS["ES"], dt.date(2025, month, 3))} <= set(PARENTS["ES"])


def test_futures_are_simulated_to_the_byte_with_and_without_options(tmp_lake, tmp_path, capsys) -> None:
    simulate(dates="2025-09-07", out=tmp_path / "plain", rate=0.02, workers=1)
    for said in ("1 files simulated", "0 files simulated"):
        capsys.readouterr()
        simulate(dates="2025-09-07", lake=tmp_lake, rate=0.02, workers=1, options=True)
        assert said in capsys.readouterr().out
    (plain,) = (tmp_path / "plain").glob("*.dbn.zst")
    lake = Lake(tmp_lake)
    assert (lake.raw_folder("ES") / plain.name).read_bytes() == plain.read_bytes()
    sunday = dt.date(2025, 9, 7)
    found = {t: list(read_records(option_day(lake, "ES", t, sunday).paths[0], t)) for t in OPTION_TABLES}
    assert found.pop("tbbo") == [], "a file without records is one"
    tables = {t: np.concatenate(records) for t, records in found.items()}
    truth = pl.read_parquet(tmp_lake / "truth" / "symbol=ES" / f"{sunday}.options.parquet")
    assert set(truth["instrument_id"]) <= set(tables["definition"]["instrument_id"].tolist())
    assert (tables["statistics"]["stat_type"] == 9).all(), "a Sunday settles nothing"
    assert len(tables["bbo_1m"]) > 5000
    assert (truth["dealers_start"] == truth["dealers_end"]).all(), "nothing traded"
    build_options(lake, option_day(lake, "ES", "tbbo", sunday))
    assert lake.manifest(OPTION_TABLES["tbbo"], "ES", sunday).rows == 0
