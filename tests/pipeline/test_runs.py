"""The command line on real files with real processes: whole runs, reruns, kills, Ctrl-C."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.lake.catalog import LADDER, LEVELS, TAPE, VACUUM
from engine.lake.store import Lake
from tests.support.lakes import MONDAY, ROOT, TUESDAY, WEDNESDAY, command, day_file, digests, leftovers, make_silver, report, spymaster

LakeWith = Callable[..., Lake]


def test_from_files_to_silver_and_a_rerun_that_makes_nothing(raw_days: dict[dt.date, Path], tmp_lake: Path):
    added = report("add", raw_days[MONDAY].parent, "--lake", tmp_lake)
    assert [a["what"] for a in added["added"]] == ["added"] * 3
    run = ("run", "--lake", tmp_lake, "--symbol", "ES", "--dates", "2025-11-03:2025-11-09", "--workers", 2)
    first = report(*run)
    assert not first["failed"]
    assert "made the selection map" in first["said"][0]
    tasks = ("bronze", "silver", "triggers", "signals")
    assert {r["name"] for r in first["made"]} == {f"{task} ESZ5 2025-11-0{d}" for task in tasks for d in (3, 4, 5)}
    lake = Lake(tmp_lake)
    assert lake.partitions(VACUUM) == [("ESZ5", MONDAY), ("ESZ5", TUESDAY), ("ESZ5", WEDNESDAY)]
    before = digests(tmp_lake)
    again = report(*run)
    assert (again["made"], again["current"], digests(tmp_lake)) == ([], 12, before)
    shown = report("lake", "--lake", tmp_lake, "--verify")
    assert len(shown["partitions"]) == 3 + 3 * 10
    assert not [p for p in shown["partitions"] if p["stale"]]
    # A contract edited, a partition harmed: shown as stale, and mended by the same command.
    (lake.path(TAPE, "ESZ5", TUESDAY) / "_SUCCESS").unlink()
    stale = [p for p in report("lake", "--lake", tmp_lake)["partitions"] if p["stale"]]
    assert {(p["dataset"], p["date"]) for p in stale} >= {(TAPE, "2025-11-04")}
    assert [r["name"] for r in report(*run)["made"]] == ["silver ESZ5 2025-11-04"]
    assert digests(tmp_lake) == before


def test_another_profile_is_refused_with_the_reason(whole_lake: Lake):
    before = digests(whole_lake.root)
    done = spymaster("run", "--lake", whole_lake.root, "--symbol", "ESZ5", "--dates", "2025-11-03", "--session", "globex_open", check=False)
    assert done.returncode == 1
    assert "found silver of 'rth'" in done.stderr
    assert digests(whole_lake.root) == before


def test_a_second_run_beside_one_is_refused(lake_with: LakeWith):
    lake = lake_with(MONDAY)
    with lake.lock():
        done = spymaster("run", "--lake", lake.root, "--layer", "bronze", "--symbol", "ES", "--dates", "2025-11-03", check=False)
    assert done.returncode == 1
    assert f"LakeBusy: lake {lake.root}: process {os.getpid()}" in done.stderr


@pytest.fixture(scope="session")
def big_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days that take a moment to convert, so that a kill meets the middle."""
    folder = tmp_path_factory.mktemp("big")
    for date in (MONDAY, TUESDAY):
        day_file(folder, date, 600_000)
    return folder


def start_and_wait_for_a_half_written_partition(lake: Path) -> subprocess.Popen[str]:
    run = command("run", "--lake", lake, "--layer", "all", "--symbol", "ESZ5", "--dates", "2025-11-03:2025-11-04", "--workers", 2)
    # A process group of its own, so that a signal to it reaches parent and workers alike, as a terminal's Ctrl-C does.
    process = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 120
    while not list(lake.glob("bronze/**/.tmp-*/part-00000.parquet")):
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"the run ended before it was met in the middle: {process.communicate()}")
        time.sleep(0.002)
    return process


def alive_of_group(group: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, pgrp = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(pgrp) == group and state != "Z":
                found.append(int(entry.name))
    return found


def wait_for_group(group: int) -> None:
    end = time.monotonic() + 60
    while alive_of_group(group):
        if time.monotonic() > end:
            pytest.fail(f"still alive: {alive_of_group(group)}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def undisturbed(big_days: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run that nobody disturbs makes of the big days."""
    lake = tmp_path_factory.mktemp("undisturbed") / "lake"
    spymaster("add", big_days, "--lake", lake)
    spymaster("run", "--lake", lake, "--symbol", "ESZ5", "--dates", "2025-11-03:2025-11-04")
    return digests(lake)


def test_kill_9_leaves_nothing_half_visible_and_the_next_run_repairs(big_days: Path, tmp_lake: Path, undisturbed: dict[str, str]):
    spymaster("add", big_days, "--lake", tmp_lake)
    process = start_and_wait_for_a_half_written_partition(tmp_lake)
    process.kill()
    process.communicate()
    wait_for_group(process.pid)
    assert leftovers(tmp_lake)
    shown = report("lake", "--lake", tmp_lake, "--verify")["partitions"]
    assert not [p for p in shown if p["stale"]]
    assert set(digests(tmp_lake)) < set(undisturbed)
    repaired = report("run", "--lake", tmp_lake, "--symbol", "ESZ5", "--dates", "2025-11-03:2025-11-04")
    assert any(line.startswith("cleaned up after a killed run") for line in repaired["said"])
    assert not leftovers(tmp_lake)
    assert digests(tmp_lake) == undisturbed


@pytest.mark.parametrize("signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_stopped_run_leaves_a_clean_lake(big_days: Path, tmp_lake: Path, signum: signal.Signals):
    spymaster("add", big_days, "--lake", tmp_lake)
    process = start_and_wait_for_a_half_written_partition(tmp_lake)
    if signum == signal.SIGINT:
        os.killpg(process.pid, signum)
    else:
        process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "nothing is half-written" in err
    wait_for_group(process.pid)
    assert not leftovers(tmp_lake)
    assert not [p for p in report("lake", "--lake", tmp_lake)["partitions"] if p["stale"]]
    with Lake(tmp_lake).lock():
        pass


@pytest.mark.parametrize("signum", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_silver_that_was_interrupted_is_made_by_the_next_run(copied_lake: Lake, whole_lake: Lake, signum: signal.Signals):
    shutil.rmtree(copied_lake.root / "silver")
    run = command("run", "--lake", copied_lake.root, "--layer", "silver", "--symbol", "ESZ5", "--dates", f"{TUESDAY}", "--workers", 1)
    process = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 120
    while not (copied_lake.path(LADDER, "ESZ5", TUESDAY) / "_SUCCESS").exists():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"the run ended before it was met in silver: {process.communicate()}")
        time.sleep(0.001)
    os.killpg(process.pid, signum)
    process.communicate(timeout=60)
    wait_for_group(process.pid)
    # The ladder is there, what is made of it later is not; and what is there can be trusted, each as it would be undisturbed.
    left = digests(copied_lake.root)
    assert not copied_lake.has(VACUUM, "ESZ5", TUESDAY)
    assert left.items() < digests(whole_lake.root).items()
    if signum == signal.SIGINT:
        assert not leftovers(copied_lake.root)
    copied_lake.clean()
    assert make_silver(copied_lake, TUESDAY).status == "made"
    assert not leftovers(copied_lake.root)
    assert digests(copied_lake.root) == digests(whole_lake.root)


def test_the_real_file(real_dbn: Path, tmp_lake: Path):
    report("add", real_dbn, "--lake", tmp_lake)
    made = report("run", "--lake", tmp_lake, "--symbol", "ESH4", "--dates", "2023-12-25", "--session", "globex_open")
    assert not made["failed"]
    lake = Lake(tmp_lake)
    day = dt.date(2023, 12, 25)
    stats = lake.notes(LADDER, "ESH4", day)["stats"]
    assert stats["live_records"] == 60_067
    assert stats["crossed_after_open"] == 0
    assert {"pm_high", "pm_low", "or_high", "or_low", "vwap"} == set(lake.read(LEVELS, "ESH4", day)["level_id"])
    assert lake.read(VACUUM, "ESH4", day).height > 0
