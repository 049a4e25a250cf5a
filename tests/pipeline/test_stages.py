"""From a raw file to silver in this process: what is made, what is skipped, what is stale."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import SessionError
from engine.lake.catalog import BARS, BRONZE_MBO, LADDER, LEVELS, ORDER_EVENTS, TAPE, VACUUM
from engine.lake.store import Lake
from engine.params import LevelParams, OrderParams, ReplayParams, RunParams
from engine.pipeline import build_pipeline, lake_state
from engine.sessions import session_windows
from engine.stages import base
from engine.stages.base import why_stale
from engine.stages.silver import STAGES
from tests.support.dbn_files import DAY_NS, utc_ns, write_dbn
from tests.support.lakes import ESZ5, MONDAY, RAW, TUESDAY, day_records, digests, leftovers, make_bronze, make_silver


def stage(name: str) -> base.Stage:
    return next(s for s in STAGES if s.name == name)


def test_the_pipeline_is_ordered_by_what_the_stages_declare():
    silver, gold = ["ladder", "bars", "levels", "orders", "vacuum"], ["triggers", "walls", "signals", "stream"]
    assert [s.name for s in build_pipeline("future_mbo", "all")] == ["bronze", *silver, *gold]
    assert [s.name for s in build_pipeline("future_mbo", "gold")] == gold
    assert [s.name for s in build_pipeline("future_mbo", "bronze")] == ["bronze"]


def test_bronze_holds_every_record_in_file_order(whole_lake: Lake):
    records = day_records(TUESDAY)
    frame = whole_lake.read(BRONZE_MBO, "ESZ5", TUESDAY)
    assert frame.height == len(records)
    for name in ("ts_event", "ts_recv", "order_id", "price", "size", "flags", "instrument_id", "channel_id", "ts_in_delta", "sequence"):
        np.testing.assert_array_equal(frame[name].to_numpy(), records[name], err_msg=name)
    for name in ("action", "side"):
        assert "".join(frame[name].to_list()) == records[name].tobytes().decode(), name


def test_bronze_is_written_in_parts_of_one_table(tmp_lake: Path, monkeypatch: pytest.MonkeyPatch):
    from engine.stages import bronze

    monkeypatch.setattr(bronze, "PART_ROWS", 1000)
    start = utc_ns(MONDAY)
    symbols = {1: "ESZ5", 2: "ESH6", 3: "ESZ5-ESH6"}
    records = day_records(MONDAY, 6000, {1: "ESZ5", 2: "ESH6"})
    records["instrument_id"][-5:] = 3
    write_dbn(tmp_lake / RAW / "a.dbn", records, symbols=symbols, start=start, end=start + DAY_NS, compress=False)
    lake = Lake(tmp_lake)
    receipt = make_bronze(lake, MONDAY, "ES")
    assert receipt.status == "made", receipt
    for instrument, symbol in ((1, "ESZ5"), (2, "ESH6")):
        own = records[records["instrument_id"] == instrument]
        manifest = lake.manifest(BRONZE_MBO, symbol, MONDAY)
        assert [f.rows for f in manifest.files[:-1]] == [1000] * (len(own) // 1000)
        np.testing.assert_array_equal(lake.read(BRONZE_MBO, symbol, MONDAY)["sequence"].to_numpy(), own["sequence"])
        assert sum(manifest.notes["trades_by_slot"].values()) == (own["action"] == ord("T")).sum()
    assert lake.partitions(BRONZE_MBO) == [("ESH6", MONDAY), ("ESZ5", MONDAY)]


def test_silver_satisfies_what_its_readers_expect(whole_lake: Lake):
    w = session_windows(TUESDAY, "rth")
    tape = whole_lake.read(TAPE, "ESZ5", TUESDAY)
    assert tape["window_start_ts_ns"].to_list() == list(range(w.ladder_start_ns, w.ladder_end_ns, 10**9))
    assert tape["book_valid"].all()
    bars = whole_lake.read(BARS, "ESZ5", TUESDAY)
    assert bars["window_start_ts_ns"][0] >= w.globex_start_ns
    trades = whole_lake.read(BRONZE_MBO, "ESZ5", TUESDAY).filter(pl.col("action") == "T")
    trades = pl.concat([whole_lake.read(BRONZE_MBO, "ESZ5", MONDAY).filter(pl.col("action") == "T"), trades])
    inside = trades.filter(pl.col("ts_event").is_between(w.globex_start_ns, w.ladder_end_ns, closed="left"))
    assert bars["volume"].sum() == inside["size"].sum()
    levels = whole_lake.read(LEVELS, "ESZ5", TUESDAY)
    absent = whole_lake.notes(LEVELS, "ESZ5", TUESDAY)["absent"]
    assert set(levels["level_id"]) | set(absent) == set(LevelParams().level_ids)
    before = session_windows(MONDAY, "rth")
    rth = pl.col("ts_event").is_between(before.trading_start_ns, before.trading_start_ns + 23_400 * 10**9, closed="left")
    previous = trades.filter(rth)
    assert levels.filter(level_id="pd_high")["price"].to_list() == [previous["price"].max() / 1e9]
    premarket = trades.filter(pl.col("ts_event").is_between(w.premarket_start_ns, w.premarket_end_ns, closed="left"))
    assert levels.filter(level_id="pm_low")["price"].to_list() == [premarket["price"].min() / 1e9]
    vacuum = whole_lake.read(VACUUM, "ESZ5", TUESDAY)
    assert set(vacuum["level_id"]) == set(levels["level_id"])
    assert vacuum["f1_ask_com_disp_log"].is_not_null().any()


def test_a_second_run_makes_nothing(whole_lake: Lake):
    before = digests(whole_lake.root)
    assert make_bronze(whole_lake, TUESDAY).status == "current"
    assert make_silver(whole_lake, TUESDAY).status == "current"
    assert digests(whole_lake.root) == before


def test_the_same_input_gives_the_same_lake(whole_lake: Lake, copied_lake: Lake):
    for key in (LADDER, TAPE, BARS, LEVELS, VACUUM, ORDER_EVENTS):
        for part in copied_lake.path(key, "ESZ5", TUESDAY).iterdir():
            part.unlink()
    assert make_silver(copied_lake, TUESDAY).status == "made"
    assert digests(copied_lake.root) == digests(whole_lake.root)


def test_a_lake_of_before_order_events_lacks_them_and_nothing_else(whole_lake: Lake, copied_lake: Lake):
    shutil.rmtree(copied_lake.path(ORDER_EVENTS, "ESZ5", TUESDAY).parent)
    assert [s.dataset for s in lake_state(copied_lake) if s.stale] == []
    assert make_silver(copied_lake, TUESDAY).made == ("orders",)
    assert digests(copied_lake.root) == digests(whole_lake.root)
    params = RunParams(orders=OrderParams(least_size=1))
    assert make_silver(copied_lake, TUESDAY, params=params).made == ("orders",)
    assert copied_lake.read(ORDER_EVENTS, "ESZ5", TUESDAY).height > whole_lake.read(ORDER_EVENTS, "ESZ5", TUESDAY).height


def test_other_parameters_remake_only_what_reads_them(copied_lake: Lake):
    two = RunParams(levels=LevelParams(level_ids=("pm_high", "price:6800.25")))
    receipt = make_silver(copied_lake, TUESDAY, params=two)
    assert receipt.made == ("levels", "vacuum")
    assert set(copied_lake.read(VACUUM, "ESZ5", TUESDAY)["level_id"]) == {"pm_high", "price:6800.25"}
    assert make_silver(copied_lake, TUESDAY, params=two).status == "current"
    assert "ladder" in make_silver(copied_lake, TUESDAY, params=RunParams(replay=ReplayParams(rest_ns=1))).made


def test_other_code_makes_a_stage_stale_and_says_so(copied_lake: Lake, monkeypatch: pytest.MonkeyPatch):
    real = base.accepted
    bars = base.code_of(stage("bars").run, base.session_windows, base.root_of)
    monkeypatch.setattr(base, "accepted", lambda version, *rest: ("other",) if version == bars else real(version, *rest))
    stale = {s.dataset: s.stale for s in lake_state(copied_lake) if s.stale}
    assert stale == {BARS: "the code changed"}
    assert make_silver(copied_lake, TUESDAY).made == ("bars", "levels", "vacuum")


def test_an_input_that_appears_or_changes_makes_its_readers_stale(raw_days: dict[dt.date, Path], lake_with):
    lake = lake_with(TUESDAY)
    make_bronze(lake, TUESDAY)
    assert make_silver(lake, TUESDAY).status == "made"
    absent = lake.notes(LEVELS, "ESZ5", TUESDAY)["absent"]
    assert {"pd_high", "pd_low", "pd_close", "on_high", "on_low", "sma_200"} <= set(absent)
    assert "2025-11-03" in absent["pd_high"]
    os.link(raw_days[MONDAY], lake.root / RAW / raw_days[MONDAY].name)
    assert make_bronze(lake, MONDAY).status == "made"
    assert "appeared" in (why_stale(lake, stage("levels"), "ESZ5", TUESDAY, "rth", RunParams()) or "")
    assert why_stale(lake, stage("ladder"), "ESZ5", TUESDAY, "rth", RunParams()) is None
    assert make_silver(lake, TUESDAY).made == ("bars", "levels", "vacuum")
    assert "pd_high" not in lake.notes(LEVELS, "ESZ5", TUESDAY)["absent"]


def test_a_touched_raw_file_is_hashed_and_a_changed_one_converted_again(copied_lake: Lake):
    raw = min((copied_lake.root / RAW).iterdir())
    os.utime(raw, ns=(1, 1))
    assert make_bronze(copied_lake, MONDAY).status == "current"
    start = utc_ns(MONDAY)
    write_dbn(raw, day_records(MONDAY, 5000), symbols=ESZ5, start=start, end=start + DAY_NS)
    assert make_bronze(copied_lake, MONDAY).status == "made"
    assert not leftovers(copied_lake.root)


def test_globex_open_reads_the_day_after_too(raw_days: dict[dt.date, Path], lake_with):
    lake = lake_with(MONDAY, TUESDAY)
    make_bronze(lake, MONDAY)
    assert make_silver(lake, MONDAY, "globex_open").status == "made"
    alone = lake.read(TAPE, "ESZ5", MONDAY)
    midnight = utc_ns(TUESDAY)
    assert not alone.filter(pl.col("window_start_ts_ns") >= midnight)["book_valid"].any()
    assert alone.filter(pl.col("window_start_ts_ns") < midnight)["book_valid"].any()
    assert lake.notes(LADDER, "ESZ5", MONDAY)["missing_days"] == ["2025-11-04"]
    make_bronze(lake, TUESDAY)
    assert make_silver(lake, MONDAY, "globex_open").status == "made"
    both = lake.read(TAPE, "ESZ5", MONDAY)
    assert both.filter(pl.col("window_start_ts_ns") > midnight + 60 * 10**9)["book_valid"].any()


def test_a_stage_that_makes_other_than_it_declared_is_refused(copied_lake: Lake):
    wrong = dataclasses.replace(stage("bars"), run=stage("ladder").run, param_groups=("replay",))
    with pytest.raises(SessionError, match=r"declared silver\.future_mbo\.bars_2m"):
        base.build(copied_lake, wrong, "ESZ5", TUESDAY, "rth", RunParams())
