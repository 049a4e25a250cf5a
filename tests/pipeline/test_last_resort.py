"""What nobody foresaw, a stop, too few files and what the dead left: a sentence, an exit code, and nothing half-written."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import cli, errors
from engine.lake.catalog import LADDER
from engine.lake.manifest import MANIFEST
from engine.lake.store import Lake
from engine.lake.writer import write_text_atomic
from tests.support.lakes import ROOT, TUESDAY, command, leftovers, report, spymaster


def test_a_defect_is_a_sentence_and_its_traceback_is_in_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("a defect for this test")

    monkeypatch.setattr("engine.pipeline.lake_state", broken)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["lake", "--lake", str(tmp_path)])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    log = tmp_path / "state" / "spymaster" / "spymaster-errors.log"
    assert said == (
        f"Defect: ZeroDivisionError: a defect for this test: this was not expected. Nothing was written half. Please report it with {log}\n"
    )
    text = log.read_text()
    assert f"spymaster lake --lake {tmp_path}" in text
    assert 'raise ZeroDivisionError("a defect for this test")' in text
    # Where not even the log can be written, the traceback is in the message.
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    assert errors.defect_text(ZeroDivisionError("x"), "a test").endswith("Please report it:\nZeroDivisionError: x\n")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "--dates", "2025-10-01:2025-10-31", "--rate", "0.05"),
        ("audit", "--synthetic", "30000"),
        ("demo", "--no-serve"),
    ],
    ids=lambda words: words[0],
)
def test_every_command_ends_alike_by_either_signal(tmp_lake: Path, tmp_path: Path, words: tuple[str, ...], signum: int):
    place = () if words[0] == "audit" else ("--lake", tmp_lake)
    process = subprocess.Popen(
        command(*words, *place), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(6)
    assert process.poll() is None, process.communicate()
    if signum == signal.SIGINT:
        os.killpg(process.pid, signum)  # as the terminal does
    else:
        process.send_signal(signum)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "stopped" in said
    assert "Traceback" not in said
    assert not leftovers(tmp_lake)


@pytest.mark.parametrize("limit", [8, 12, 16, 20])
def test_too_few_files_are_a_sentence_and_harm_nothing(copied_lake: Lake, limit: int):
    before = {p: p.read_bytes() for p in copied_lake.root.rglob(MANIFEST)}
    done = subprocess.run(
        command("run", "--lake", copied_lake.root, "--symbol", "ESZ5", "--dates", "2025-11-03:2025-11-04", "--overwrite", "--workers", "1"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert "ulimit -n" in done.stderr
        assert {p: p.read_bytes() for p in copied_lake.root.rglob(MANIFEST)} == before
    assert copied_lake.verify(LADDER, "ESZ5", TUESDAY)


def test_verify_exits_with_an_error_where_a_file_is_corrupt(copied_lake: Lake):
    assert spymaster("lake", "--lake", copied_lake.root, "--verify").returncode == 0
    part = next((copied_lake.path(LADDER, "ESZ5", TUESDAY)).glob("*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert spymaster("lake", "--lake", copied_lake.root).returncode == 0, "only --verify reads the files"
    done = spymaster("lake", "--lake", copied_lake.root, "--verify", check=False)
    assert done.returncode == 1
    assert "1 partitions are corrupt:\n  silver.future_mbo.mbo_price_ladder_1s ESZ5 2025-11-04: " in done.stderr
    state = report("lake", "--lake", copied_lake.root, "--verify", check=False)
    assert [p["dataset"] for p in state["partitions"] if p["corrupt"]] == [LADDER]


@pytest.mark.parametrize("dates", ["1800-01-01", "9999-12-31", "2025-10-01:9999-12-31", "0001-01-01:2025-10-01"])
def test_dates_that_no_calendar_has_are_a_sentence(tmp_lake: Path, dates: str):
    done = spymaster("run", "--lake", tmp_lake, "--symbol", "ES", "--dates", dates, check=False)
    assert done.returncode == 1
    assert f"SessionError: dates '{dates}': expected dates from 2005-01-01 to " in done.stderr


@pytest.mark.parametrize("symbol", ["ESH4\n", "ESH4 ", "ESH٤", "xESH4", "ESH4/..", ""])
def test_symbols_are_matched_whole(tmp_lake: Path, symbol: str):
    done = spymaster("run", "--lake", tmp_lake, "--symbol", symbol, "--dates", "2025-10-01", check=False)
    assert done.returncode == 1
    assert f"symbol {symbol!r}: expected a root" in done.stderr


def test_what_a_dead_writer_left_beside_a_file_goes_with_the_next_write(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path = tmp_path / "SETUP_[1].json"
    names: dict[str, bool] = {
        f".tmp-{path.name}-{dead.pid}-abcd": False,
        f".tmp-{path.name}-{os.getpid()}-abcd": True,  # another write of a process that lives
        f".tmp-SETUP_1.json-{dead.pid}-abcd": True,  # of another file
    }
    for name in names:
        (tmp_path / name).touch()
    write_text_atomic(path, "{}")
    assert path.read_text() == "{}"
    assert {n: (tmp_path / n).exists() for n in names} == names


@pytest.mark.parametrize(
    "make", [lambda p: p.mkdir(), lambda p: p.touch(), lambda p: p.symlink_to("/nowhere")], ids=["folder", "file", "link"]
)
def test_the_next_run_sweeps_whatever_a_dead_worker_left(copied_lake: Lake, make: Callable[[Path], object]):
    table = copied_lake.path(LADDER, "ESZ5", TUESDAY).parent
    make(table / ".tmp-dt=2025-11-04-1-abcd")
    make(table / ".old-dt=2025-11-04-abcd")
    assert len(copied_lake.clean()) == 2
    assert not leftovers(copied_lake.root)
    assert copied_lake.verify(LADDER, "ESZ5", TUESDAY)
