"""Every bad input of the field: an error that names it, the others finish, and nothing half-written stays."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import resource
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import DuplicateRaw, NoData, PartitionCorrupt, PartitionMissing, RawMissing, SessionError
from engine.lake.catalog import BRONZE_MBO, LADDER, LEVELS, TAPE, VACUUM
from engine.lake.store import Lake
from engine.params import LevelParams, ReplayParams, RunParams, SelectionParams
from engine.pipeline import plan_bronze, plan_sessions
from engine.selection import make_selection, route
from engine.stages import task
from engine.stages.base import Ref
from engine.stages.raw import raw_index
from engine.stages.silver import STAGES
from tests.support.dbn_files import DAY_NS, utc_ns, write_dbn
from tests.support.lakes import (
    ESZ5,
    MONDAY,
    RAW,
    ROOT,
    TUESDAY,
    WEDNESDAY,
    command,
    day_records,
    digests,
    leftovers,
    make_bronze,
    make_silver,
    report,
    spymaster,
)  # fmt: skip

LakeWith = Callable[..., Lake]


def run_bronze(lake: Lake, dates: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return spymaster("run", "--lake", lake.root, "--layer", "bronze", "--symbol", "ES", "--dates", dates, check=False, **kwargs)


def test_a_missing_file_to_add_is_named(tmp_lake: Path):
    done = spymaster("add", tmp_lake / "gone.dbn.zst", "--lake", tmp_lake, check=False)
    assert done.returncode == 1
    assert "gone.dbn.zst: expected a DBN file" in done.stderr


def test_a_named_date_without_a_file_is_an_error_and_in_a_range_it_is_not(lake_with: LakeWith):
    lake = lake_with(MONDAY)
    assert make_bronze(lake, MONDAY).status == "made"
    done = run_bronze(lake, "2025-11-08")
    assert done.returncode == 1
    assert "RawMissing: ES 2025-11-08" in done.stderr
    assert "spymaster add FILE" in done.stderr
    ranged = report("run", "--lake", lake.root, "--layer", "bronze", "--symbol", "ES", "--dates", "2025-11-01:2025-11-08")
    assert ranged["current"] == 1
    assert len(ranged["left_out"]) == 7
    whole = spymaster("run", "--lake", lake.root, "--symbol", "ESZ5", "--dates", "2025-11-12", check=False)
    assert whole.returncode == 1
    assert "RawMissing: ESZ5 2025-11-12: expected a .dbn or .dbn.zst file" in whole.stderr
    empty = run_bronze(lake, "2025-12-01:2025-12-03")
    assert empty.returncode == 1
    assert "no data on any of these dates" in empty.stderr


def test_a_session_whose_file_is_missing_names_the_command(lake_with: LakeWith):
    lake = lake_with(MONDAY)
    make_bronze(lake, MONDAY)
    plan = plan_sessions(lake, [("ESZ5", TUESDAY)], "rth", RunParams(), overwrite=False, must=True)
    assert plan.problems[0].error == "PartitionMissing"
    mend = f"spymaster run --lake {lake.root} --product-type future_mbo --layer bronze --symbol ESZ5 --dates 2025-11-04"
    assert mend in plan.problems[0].message
    with pytest.raises(PartitionMissing):
        lake.read(BRONZE_MBO, "ESZ5", TUESDAY)


def harm(lake: Lake, raw: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    path = lake.root / RAW / name
    path.write_bytes(change(raw.read_bytes()))
    return path


@pytest.mark.parametrize(
    "change",
    [lambda b: b[: len(b) // 2], lambda b: b[:-1], lambda b: b[:20_000] + bytes(40) + b[20_040:]],
    ids=["half", "a byte short", "corrupt"],
)
def test_a_truncated_or_corrupt_file_is_named_and_the_other_days_are_made(raw_days: dict[dt.date, Path], lake_with: LakeWith, change):
    lake = lake_with(MONDAY)
    path = harm(lake, raw_days[TUESDAY], "broken.dbn.zst", change)
    receipts = {d: make_bronze(lake, d) for d in (TUESDAY, MONDAY)}
    assert receipts[MONDAY].status == "made"
    assert (receipts[TUESDAY].status, receipts[TUESDAY].error) == ("failed", "BadDbn")
    assert str(path) in receipts[TUESDAY].message
    assert lake.partitions(BRONZE_MBO) == [("ESZ5", MONDAY)]
    assert not leftovers(lake.root)


@pytest.mark.parametrize(("content", "named"), [(b"", "is empty"), (b"no databento file at all", "expected a Databento file")])
def test_a_file_whose_header_cannot_be_read_fails_only_dates_that_lack_a_file(lake_with: LakeWith, content: bytes, named: str):
    lake = lake_with(MONDAY)
    (lake.root / RAW / "odd.dbn.zst").write_bytes(content)
    made = report("run", "--lake", lake.root, "--layer", "bronze", "--symbol", "ES", "--dates", "2025-11-03")
    assert "odd.dbn.zst" in made["said"][0]
    assert named in made["said"][0]
    lacking = run_bronze(lake, "2025-11-04")
    assert lacking.returncode == 1
    assert "RawMissing: ES 2025-11-04" in lacking.stderr
    assert f"1 that cannot be read: {lake.root / RAW / 'odd.dbn.zst'}" in lacking.stderr
    assert lake.partitions(BRONZE_MBO) == [("ESZ5", MONDAY)]
    assert "odd.dbn.zst" in spymaster("lake", "--lake", lake.root).stdout


def test_another_schema_is_refused(tmp_path: Path, tmp_lake: Path):
    import databento_dbn as dbn

    from tests.support.dbn_files import metadata_bytes

    path = tmp_path / "trades.dbn"
    start = utc_ns(MONDAY)
    path.write_bytes(metadata_bytes(ESZ5, start, start + DAY_NS, schema=dbn.Schema.TRADES))
    done = spymaster("add", path, "--lake", tmp_lake, check=False)
    assert done.returncode == 1
    assert "expected schema mbo, found trades" in done.stderr
    assert not list(tmp_lake.rglob("*.dbn"))


def test_an_instrument_without_mapping_is_left_out_and_the_contract_is_made(tmp_lake: Path):
    records = day_records(MONDAY, 3000)
    records["instrument_id"][2000] = 4711
    start = utc_ns(MONDAY)
    write_dbn(tmp_lake / RAW / "a.dbn", records, symbols=ESZ5, start=start, end=start + DAY_NS, compress=False)
    lake = Lake(tmp_lake)
    assert make_bronze(lake, MONDAY).rows == len(records) - 1
    made = lake.read(BRONZE_MBO, "ESZ5", MONDAY)
    assert made["sequence"].to_list() == np.delete(records["sequence"], 2000).tolist()
    assert not leftovers(tmp_lake)


def test_two_files_for_a_date_are_refused_and_other_dates_are_not(raw_days: dict[dt.date, Path], lake_with: LakeWith):
    lake = lake_with(MONDAY, TUESDAY)
    shutil.copy(raw_days[MONDAY], lake.root / RAW / "again.dbn.zst")
    with pytest.raises(DuplicateRaw, match=r"again\.dbn\.zst and .*glbx-mdp3-20251103"):
        raw_index(lake, "ES").of("ES", MONDAY)
    plan = plan_bronze(lake, "ES", [MONDAY, TUESDAY], overwrite=False, must=True)
    assert [p.error for p in plan.problems] == ["DuplicateRaw"]
    assert [t.date for t in plan.todo] == [TUESDAY]


def test_two_files_with_different_contracts_of_a_date_are_two_files(tmp_lake: Path):
    start = utc_ns(MONDAY)
    for instrument, symbol in ((1, "ESZ5"), (2, "ESH6")):
        symbols = {instrument: symbol}
        records = day_records(MONDAY, 2000, symbols)
        write_dbn(tmp_lake / RAW / f"{symbol}.dbn.zst", records, symbols=symbols, start=start, end=start + DAY_NS)
    assert [s for _, s in raw_index(Lake(tmp_lake), "ES").of("ES", MONDAY)] == [("ESH6",), ("ESZ5",)]
    with pytest.raises(RawMissing, match="expected a file that maps ESM6"):
        raw_index(Lake(tmp_lake), "ES").of("ESM6", MONDAY)


def test_a_file_that_is_there_is_never_overwritten(raw_days: dict[dt.date, Path], lake_with: LakeWith, tmp_path: Path):
    lake = lake_with(MONDAY)
    assert report("add", raw_days[MONDAY], "--lake", lake.root)["added"][0]["what"] == "there already"
    other = tmp_path / raw_days[MONDAY].name
    shutil.copy(raw_days[TUESDAY], other)
    # Another day under the same name is taken under a free one.
    done = spymaster("add", other, "--lake", lake.root)
    assert f"stored as 2-{other.name}" in done.stdout
    assert (lake.root / RAW / other.name).read_bytes() == raw_days[MONDAY].read_bytes()
    assert (lake.root / RAW / f"2-{other.name}").read_bytes() == raw_days[TUESDAY].read_bytes()


def test_a_day_with_no_premarket_trade_lacks_that_level_with_the_reason(tmp_lake: Path):
    records = day_records(TUESDAY)
    premarket = (records["ts_event"] >= utc_ns(TUESDAY, 9)) & (records["ts_event"] < utc_ns(TUESDAY, 14, 30))
    kept = records[~(premarket & (records["action"] != ord("A")))]
    start = utc_ns(TUESDAY)
    write_dbn(tmp_lake / RAW / "a.dbn.zst", kept, symbols=ESZ5, start=start, end=start + DAY_NS)
    lake = Lake(tmp_lake)
    make_bronze(lake, TUESDAY)
    assert make_silver(lake, TUESDAY).status == "made"
    absent = lake.notes(LEVELS, "ESZ5", TUESDAY)["absent"]
    assert "no trade in the premarket window" in absent["pm_high"]
    assert "no trade in the premarket window" in absent["pm_low"]
    assert {"or_high", "or_low", "vwap"} <= set(lake.read(LEVELS, "ESZ5", TUESDAY)["level_id"])
    assert "pm_high" in spymaster("lake", "--lake", lake.root).stdout


def test_a_date_with_no_record_of_the_contract_has_no_silver(tmp_lake: Path):
    start = utc_ns(TUESDAY)
    symbols = {**ESZ5, 2: "ESH6"}
    write_dbn(tmp_lake / RAW / "a.dbn.zst", day_records(TUESDAY, 3000), symbols=symbols, start=start, end=start + DAY_NS)
    lake = Lake(tmp_lake)
    make_bronze(lake, TUESDAY, "ES")
    assert lake.manifest(BRONZE_MBO, "ESH6", TUESDAY).rows == 0
    receipt = make_silver(lake, TUESDAY, symbol="ESH6")
    assert (receipt.status, receipt.error) == ("empty", NoData.__name__)
    assert "the session needs records from 09:00 to 12:30 New York, and there is none" in receipt.message
    assert f"`spymaster run --lake {tmp_lake} --product-type future_mbo --layer bronze --symbol ESH6" in receipt.message
    assert not lake.partitions(LADDER)


def test_a_contract_edited_by_hand_is_refused_by_name_and_the_code_is_not_harmed(copied_lake: Lake, tmp_path: Path):
    # A checkout of its own, so that the edit is a real one and meets a real process.
    shutil.copytree(ROOT / "engine", tmp_path / "engine", ignore=shutil.ignore_patterns("__pycache__"))
    contract = tmp_path / "engine/lake/contracts/silver/mbo_level_vacuum_5s.avsc"
    contract.write_text(contract.read_text().replace('"f7_vacuum_total_log"', '"f7_vacuum_total"'))
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = command("run", "--lake", copied_lake.root, "--layer", "silver", "--symbol", "ESZ5", "--dates", "2025-11-04")
    before = digests(copied_lake.root)
    done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ContractError" in done.stderr
    assert "missing: f7_vacuum_total; extra: f7_vacuum_total_log" in done.stderr
    assert digests(copied_lake.root) == before
    checked = subprocess.run(command("contracts", "--check"), cwd=tmp_path, env=env, capture_output=True, text=True)
    assert checked.returncode == 1
    assert "differs from the feature register" in checked.stderr


def test_an_input_without_success_is_named_and_rebuilt_with_its_readers(copied_lake: Lake):
    (copied_lake.path(BRONZE_MBO, "ESZ5", TUESDAY) / "_SUCCESS").unlink()
    receipt = make_silver(copied_lake, TUESDAY)
    assert receipt.status == "failed"
    assert "expected _SUCCESS" in receipt.message
    assert "--layer bronze --symbol ESZ5 --dates 2025-11-04" in receipt.message
    assert make_bronze(copied_lake, TUESDAY).status == "made"
    assert make_silver(copied_lake, TUESDAY).status == "current"


def test_the_printed_command_mends_a_part_that_cannot_be_read(copied_lake: Lake):
    part = copied_lake.path(LEVELS, "ESZ5", TUESDAY) / "part-00000.parquet"
    whole = part.read_bytes()
    # Of the same size, so that the manifest finds nothing: a run without --overwrite would call it current.
    part.write_bytes(whole[:-200] + bytes(b ^ 0xFF for b in whole[-200:-8]) + whole[-8:])
    with pytest.raises(PartitionCorrupt, match="cannot be read") as e:
        copied_lake.read(LEVELS, "ESZ5", TUESDAY)
    printed = shlex.split(str(e.value).split("`")[-2])
    assert (printed[0], printed[-1]) == ("spymaster", "--overwrite")
    spymaster(*printed[1:])
    assert copied_lake.read(LEVELS, "ESZ5", TUESDAY).height > 0
    assert part.read_bytes() == whole


def test_a_session_that_fails_after_some_stages_is_no_empty_one(copied_lake: Lake, monkeypatch: pytest.MonkeyPatch):
    def no_calendar(*_: object) -> tuple[Ref, ...]:
        raise SessionError("expected a previous RTH session")

    # Of the errors of a session only one without a record is no failure; here the calendar ends.
    stages = tuple(dataclasses.replace(s, refs=no_calendar) if s.name == "levels" else s for s in STAGES)
    monkeypatch.setattr(task, "GROUPS", {"silver": stages})
    params = RunParams(replay=ReplayParams(rest_ns=1), levels=LevelParams(sessions_back=2))
    receipt = make_silver(copied_lake, TUESDAY, params=params)
    assert (receipt.status, receipt.error, receipt.made) == ("failed", "SessionError", ("ladder",))
    assert "expected a previous RTH session" in receipt.message
    assert receipt.rows == sum(copied_lake.manifest(key, "ESZ5", TUESDAY).rows for key in (LADDER, TAPE))


def test_a_selection_map_that_cannot_be_read_is_named_and_mended_by_the_printed_command(copied_lake: Lake):
    path = copied_lake.selection_path()
    path.parent.mkdir()
    for content in (b"PAR1 but not really", None):
        if content is None:
            pl.DataFrame({"session_date": [TUESDAY]}).write_parquet(path)
        else:
            path.write_bytes(content)
        with pytest.raises(PartitionCorrupt, match="expected") as e:
            route(copied_lake, "ES", [TUESDAY])
        assert f"`spymaster select --lake {copied_lake.root} --symbol ES --session rth`" in str(e.value)
    make_selection(copied_lake, "ES", "rth", SelectionParams())
    assert route(copied_lake, "ES", [TUESDAY])[0] == [("ESZ5", TUESDAY)]


def test_a_manifest_that_does_not_match_is_rebuilt(copied_lake: Lake):
    path = copied_lake.path(TAPE, "ESZ5", TUESDAY) / "_MANIFEST.json"
    manifest = json.loads(path.read_text())
    manifest["lineage"]["code"] = "by hand"
    path.write_text(json.dumps(manifest))
    receipt = make_silver(copied_lake, TUESDAY)
    assert receipt.made == ("ladder",)
    assert copied_lake.has(TAPE, "ESZ5", TUESDAY)


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_full_disk_fails_by_name_keeps_what_was_there_and_is_mended_by_the_next_run(copied_lake: Lake):
    # Files may not grow beyond 100 KB in this run: the write of bronze fails in its middle as on a full disk.
    before = digests(copied_lake.root)
    run = command("run", "--lake", copied_lake.root, "--symbol", "ESZ5", "--dates", "2025-11-04", "--overwrite")
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, preexec_fn=limited)
    assert done.returncode == 1
    assert "LakeWriteFailed" in done.stderr
    assert "the partition is unchanged" in done.stderr
    assert digests(copied_lake.root) == before
    assert not leftovers(copied_lake.root)
    again = report("run", "--lake", copied_lake.root, "--symbol", "ESZ5", "--dates", "2025-11-04", "--overwrite")
    assert not again["failed"]
    assert {k: v for k, v in digests(copied_lake.root).items() if not k.startswith("gold")} == before
    assert copied_lake.read(VACUUM, "ESZ5", TUESDAY).height > 0


def test_dates_outside_the_selection_map_are_left_out_with_the_reason(copied_lake: Lake):
    spymaster("select", "--symbol", "ES", "--lake", copied_lake.root)
    done = spymaster("run", "--lake", copied_lake.root, "--layer", "silver", "--symbol", "ES", "--dates", f"{WEDNESDAY}", check=False)
    assert done.returncode == 1
    assert "not in the selection map" in done.stderr


def test_a_root_without_a_selection_map_names_the_command(copied_lake: Lake):
    done = spymaster("run", "--lake", copied_lake.root, "--layer", "silver", "--symbol", "ES", "--dates", f"{TUESDAY}", check=False)
    assert done.returncode == 1
    assert f"spymaster select --lake {copied_lake.root} --symbol ES" in done.stderr
