"""What nobody foresaw, a stop, too few files and what the dead left: a sentence, an exit code, and nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from engine import cli, errors
from engine.lake.catalog import BRONZE_MBO, LADDER
from engine.lake.manifest import MANIFEST
from engine.lake.store import CACHE_DIR, Lake
from engine.lake.writer import temporary, write_text_atomic
from engine.stages.raw import raw_index
from tests.support.lakes import RAW, ROOT, TUESDAY, as_plain_user, command, leftovers, report, spymaster


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


def test_a_panic_of_polars_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """It is no `Exception`."""

    def panics(*args: object, **kwargs: object) -> None:
        raise pl.exceptions.PanicException("index out of bounds")

    monkeypatch.setattr("engine.pipeline.lake_state", panics)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["lake", "--lake", str(tmp_path)])
    assert ended.value.code == 1
    assert "Defect: PanicException: index out of bounds: this was not expected" in capsys.readouterr().err


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot even say it")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the log of defects, which is not there yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    monkeypatch.setattr(errors, "_times", {})
    return tmp_path / "state" / "spymaster"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a name \udcff that is no text"), "ValueError: a name \\udcff that is no text: "),
        (Broken(), "Broken: it cannot even say what it is: "),
        (ValueError("x" * 10**7), "ValueError: xxx"),
    ],
    ids=["no text", "broken", "long"],
)
def test_a_defect_is_said_whatever_it_is(state: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str):
    text = errors.defect_text(error, "a test \udcfe")
    assert text.startswith(f"Defect: {said}")
    assert text.endswith(f"Please report it with {state / errors.LOG}")
    assert len(text.encode()) < 10_000, "a browser and a log take it"
    assert type(error).__name__ in (state / errors.LOG).read_text()
    assert (state / errors.LOG).stat().st_size < 200_000
    # Without a home, a folder for temporary files or anything else to write to.
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/proc/none"])
    assert errors.defect_text(error, "a test").startswith(f"Defect: {said}")


def _foreign(path: Path) -> None:
    path.touch()
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.symlink_to(p.parent.parent / "elsewhere"),
        os.mkfifo,
        Path.mkdir,
        lambda p: os.link(p.parent.parent / "other", p),
        pytest.param(_foreign, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")),
    ],
    ids=["link", "pipe", "folder", "hard link", "another user's"],
)
def test_the_log_is_written_only_to_a_file_of_ones_own(state: Path, make: Callable[[Path], object]):
    state.mkdir(parents=True)
    (state.parent / "other").write_text("of something else")
    make(state / errors.LOG)
    text = errors.defect_text(ValueError("x"), "a test")
    assert text.endswith("Please report it:\nValueError: x\n")
    assert not (state.parent / "elsewhere").exists()
    assert (state.parent / "other").read_text() == "of something else"


def test_the_log_is_private_and_does_not_grow(state: Path):
    log = state / errors.LOG
    errors.defect_text(ValueError("first"), "a test")
    assert log.stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700
    log.chmod(0o666)  # as of an earlier version
    with log.open("a") as f:
        f.write("y" * errors.LOG_BYTES)
    errors.defect_text(KeyError("second"), "a test")
    assert "second" in log.read_text()
    assert "first" in log.with_name(f"{errors.LOG}.1").read_text()
    assert log.stat().st_size < 10_000
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_defect_that_comes_again_and_again_is_logged_ever_less(state: Path):
    for i in range(1000):
        try:
            raise ValueError(f"number {i}")
        except ValueError as e:
            said = errors.defect_text(e, "a page that is drawn ten times a second")
        assert f"number {i}: this was not expected." in said
    text = (state / errors.LOG).read_text()
    assert text.count("Traceback") == 10  # the 1st, 2nd, 4th ... 512th
    assert "(met 512 times)" in text
    errors.defect_text(KeyError("another"), "a test")
    assert "KeyError: 'another'" in (state / errors.LOG).read_text()


SIMULATE = ("simulate", "--dates", "2025-10-01:2025-10-31", "--rate", "0.05")
AUDIT = ("audit", "--synthetic", "30000")
DEMO = ("demo", "--no-serve")
SERVE = ("serve", "--no-token", "--port", str(20_000 + os.getpid() % 10_000))
TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize(
    ("words", "sign", "signum"),
    [
        (SIMULATE, "a file", INT),
        (AUDIT, "polars", TERM),
        (AUDIT, "polars", INT),
        (DEMO, "a file", TERM),
        (SERVE, "polars", TERM),
        (SERVE, "polars", INT),
        # The handler of signals is one for all commands, and each of those with processes of their own has met it above.
        pytest.param(SIMULATE, "a file", TERM, marks=pytest.mark.long),
        pytest.param(DEMO, "a file", INT, marks=pytest.mark.long),
        pytest.param(DEMO, "polars", TERM, marks=pytest.mark.long, id="demo-from its files on-15"),
        pytest.param(DEMO, "polars", INT, marks=pytest.mark.long, id="demo-from its files on-2"),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else given,
)
def test_every_command_ends_alike_by_either_signal(tmp_lake: Path, words: tuple[str, ...], sign: str, signum: int):
    """Once it is at work: it takes SIGTERM, and has begun a file, or loaded the library that it works with."""
    place = () if words[0] == "audit" else ("--lake", tmp_lake)
    # Tests that were started in the background ignore Ctrl-C, and so would what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command(*words, *place), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    proc = Path(f"/proc/{process.pid}")

    def at_work() -> bool:
        caught = int((proc / "status").read_text().partition("SigCgt:")[2].split()[0], 16)
        begun = any(p.is_file() for p in tmp_lake.rglob("*")) if sign == "a file" else sign in (proc / "maps").read_text()
        return bool(caught >> (signal.SIGTERM - 1) & 1) and begun

    for _ in range(2400):
        if process.poll() is not None or at_work():
            break
        time.sleep(0.05)
    time.sleep(1)  # more libraries are loaded after the first
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


DROPPED = """
import ctypes, os, signal, time
from engine.cli import terminable

def called():
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(100_000):
        pass

try:
    with terminable([]):
        ctypes.CFUNCTYPE(None)(called)()
        print("it goes on")
        time.sleep(60)
except KeyboardInterrupt:
    print("stopped")
"""


def test_a_signal_that_falls_into_a_callback_of_a_library_stops_all_the_same():
    done = subprocess.run([sys.executable, "-c", DROPPED], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.stdout.split("\n") == ["it goes on", "stopped", ""]
    assert done.stderr == ""


IN_A_STRING = """
import os, signal, sys
from contextlib import suppress
from engine.cli import terminable

with suppress(KeyboardInterrupt), terminable([]):
    exec(f"import os; os.kill({os.getpid()}, {signal.SIGTERM}); [None for _ in range(10**6)]")
    print("it goes on")
print("stopped")
sys.exit(130)
"""


def test_a_signal_that_falls_into_code_made_from_a_string_leaves_the_exit_code(tmp_path: Path):
    (tmp_path / "stopping.py").write_text(IN_A_STRING)
    path = f"{ROOT}{os.pathsep}{tmp_path}"
    given = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": path}, "capture_output": True, "text": True, "timeout": 50}
    done = subprocess.run([sys.executable, "-m", "stopping"], **given)
    assert (done.returncode, done.stdout, done.stderr) == (130, "stopped\n", "")


@pytest.mark.parametrize("limit", [8, pytest.param(12, marks=pytest.mark.long), pytest.param(16, marks=pytest.mark.long), 20])
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


TEMPORARY = "from pathlib import Path; import sys; from engine.lake.writer import temporary; print(temporary(Path(sys.argv[1])))"


def of_the_dead(path: Path) -> Path:
    """A temporary name that a process which is dead by now had for `path`."""
    done = subprocess.run([sys.executable, "-c", TEMPORARY, path], cwd=ROOT, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def of_another_host(path: Path) -> Path:
    """The same name with the same process id, as another host, another start of this one, or another container gives it."""
    here = path.name.rpartition("-")[0].rpartition(".")[2]
    assert len(here) == 8
    return path.with_name(path.name.replace(here, f"{int(here, 16) ^ 1:08x}"))


def test_what_a_dead_writer_left_beside_a_file_goes_with_the_next_write(tmp_path: Path):
    path = tmp_path / "SETUP_[1].json"
    dead, alive = of_the_dead(path), temporary(path)
    aged = of_another_host(temporary(path))
    legacy = tmp_path / f".tmp-{path.name}-{os.getpid()}-abcd"
    stays = {
        dead: False,
        alive: True,  # another write of a process that lives
        of_another_host(dead): True,  # a number that says nothing here
        of_another_host(alive): True,
        aged: False,
        legacy: False,
        of_the_dead(tmp_path / "SETUP_1.json"): True,  # of another file
        temporary(path): True,
    }
    for left in stays:
        left.touch()
    for old in (aged, legacy, list(stays)[-1]):
        os.utime(old, (time.time() - 90_000,) * 2)
    write_text_atomic(path, "{}")
    assert path.read_text() == "{}"
    assert {p: p.exists() for p in stays} == stays


def test_a_run_sweeps_what_the_dead_left_and_spares_who_writes_beside_it(copied_lake: Lake):
    """The caches and the raw files are written without the lake's lock, by a page and by `add`."""
    raw = copied_lake.root / RAW / "glbx.dbn.zst"
    caches = copied_lake.root / CACHE_DIR
    caches.mkdir(exist_ok=True)
    dead = [of_the_dead(raw), of_the_dead(caches / "raw_index.json")]
    alive = [temporary(raw), temporary(caches / "raw_index.json")]
    for left in (*dead, *alive):
        left.touch()
    assert set(map(str, dead)) == set(copied_lake.clean())
    assert [p.exists() for p in (*dead, *alive)] == [False, False, True, True]


def test_a_cache_that_cannot_be_written_is_no_failure(copied_lake: Lake):
    """A read-only lake, a full disk: the headers are read again."""
    shutil.rmtree(copied_lake.root / CACHE_DIR, ignore_errors=True)
    (copied_lake.root / CACHE_DIR).write_text("in the way")
    assert len(raw_index(copied_lake, "ES").files) == 2
    # A pipe would never end.
    (copied_lake.root / CACHE_DIR).unlink()
    (copied_lake.root / CACHE_DIR).mkdir()
    os.mkfifo(copied_lake.root / CACHE_DIR / "raw_index.json")
    assert len(raw_index(copied_lake, "ES", keep=False).files) == 2


@pytest.mark.parametrize("part", ["table", "symbol", "layer", "raw"])
def test_what_this_user_cannot_list_is_named_and_the_rest_is_read(copied_lake: Lake, part: str):
    table = copied_lake.path(LADDER, "ESZ5", TUESDAY).parent
    symbol = next(p for p in table.parents if p.name == "symbol=ESZ5")
    locked = {"table": table, "symbol": symbol, "layer": copied_lake.root / "bronze", "raw": copied_lake.root / RAW}[part]
    locked.chmod(0)
    done = subprocess.run(as_plain_user("lake", "--lake", copied_lake.root, "--json"), cwd=ROOT, capture_output=True, text=True)
    locked.chmod(0o700)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["passed_over"] == {str(locked): "cannot be listed by this user"}
    assert [p["dataset"] for p in found["partitions"]].count(BRONZE_MBO) == (0 if part == "layer" else 2)
    assert (LADDER in [p["dataset"] for p in found["partitions"]]) == (part in ("raw", "layer"))


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
