"""The figures of reliability, a table at the end of ``make check-long``: kills, harmed files, memory, full disks. Nothing is lost."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.lake.store import Lake
from engine.mbo.dbn import count_records, read_header, stream_columns
from tests.support.built import copy_of_built
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.support.figures import Say, share_of
from tests.support.lakes import ESZ5, MONDAY, ROOT, THIN_DATES, command, day_file, digests, leftovers, make_thin_lake, report, spymaster

pytestmark = pytest.mark.long

KILLS = share_of(12, 3)
"""Of each command, a third by each of the three signals, at times that spread over its usual length."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of eight thin simulated sessions with all layers, audit and index; only to be read or copied."""
    return copy_of_built("thin-lake", make_thin_lake, tmp_path_factory.mktemp("thin")) / "lake"


def without(*names: str):
    def remove(lake: Path) -> None:
        for name in names:
            shutil.rmtree(lake / name, ignore_errors=True)

    return remove


FILE = "a file of another disk, where there is one, so that it is copied"

EARLY = "a file of parameters with which eight sessions are enough for an audit or an index"

COMMANDS = {
    "run bronze": (
        ("run", "--symbol", "ESZ5", "--dates", THIN_DATES, "--layer", "bronze"),
        without("bronze", "silver", "gold", "audit", "indexes"),
    ),
    "run silver": (("run", "--symbol", "ESZ5", "--dates", THIN_DATES, "--layer", "silver"), without("silver", "gold", "audit", "indexes")),
    "run gold": (("run", "--symbol", "ESZ5", "--dates", THIN_DATES, "--layer", "gold"), without("gold", "audit", "indexes")),
    "rebuild": (("rebuild", "--symbol", "ESZ5"), without("bronze", "silver", "gold", "audit", "indexes")),
    "select": (("select", "--symbol", "ES"), without("selection")),
    "audit": (("audit", "--symbol", "ESZ5", "--params", EARLY), without("audit")),
    "index": (("index", "--symbol", "ESZ5", "--params", EARLY), without("indexes")),
    "add": (("add", FILE), without("silver", "gold", "audit", "indexes")),
    "simulate": (("simulate", "--dates", "2025-10-02:2025-10-03", "--rate", "0.02", "--seed", "5"), without()),
}


def started(words: tuple[str, ...], lake: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words, "--lake", lake), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def files_of(lake: Path) -> dict[str, bytes]:
    """What a command makes beside partitions: raw files."""
    return {p.name: p.read_bytes() for p in sorted((lake / "raw").rglob("*.dbn.zst"))}


@pytest.mark.parametrize("name", COMMANDS)
def test_kills(whole: Path, tmp_path: Path, name: str, say: Say, request: pytest.FixtureRequest):
    words, prepare = COMMANDS[name]
    if FILE in words:
        elsewhere = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
        folder = Path(tempfile.mkdtemp(dir=elsewhere))
        request.addfinalizer(lambda: shutil.rmtree(folder))
        file = day_file(folder, MONDAY, 400_000)
        words = tuple(str(file) if w == FILE else w for w in words)
    if EARLY in words:
        (tmp_path / "early.json").write_text('{"retrieval": {"min_sessions": 4, "min_events": 60}}')
        words = tuple(str(tmp_path / "early.json") if w == EARLY else w for w in words)
    clean = tmp_path / "clean"
    shutil.copytree(whole, clean)
    prepare(clean)
    begun = time.monotonic()
    process = started(words, clean)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    usual = time.monotonic() - begun
    expected, raw = digests(clean), files_of(clean)
    rng = random.Random(name)
    met = 0
    for i in range(KILLS):
        lake = tmp_path / f"lake-{i}"
        shutil.copytree(whole, lake)
        prepare(lake)
        before = digests(lake)
        signum = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[i % 3]
        process = started(words, lake)
        time.sleep(usual * (i + rng.random()) / KILLS)
        met += process.poll() is None
        if process.poll() is None:
            os.killpg(process.pid, signum)
        _, said = process.communicate(timeout=120)
        assert "Traceback" not in said or signum == signal.SIGKILL, said
        # What is there is whole, what was there is there, and nothing is there that an undisturbed command would not have made.
        assert spymaster("lake", "--lake", lake, "--verify", check=False).returncode == 0
        left = digests(lake)
        assert {k: left.get(k) for k in before} == before
        assert left.items() <= expected.items()
        assert {k: v for k, v in files_of(lake).items() if k in raw} == {k: raw[k] for k in files_of(lake)}
        # The same command goes on from there, and ends where it would have.
        done = spymaster(*words, "--lake", lake, check=False)
        assert done.returncode == 0, done.stderr
        assert digests(lake) == expected
        assert files_of(lake) == raw
        if name != "simulate":
            Lake(lake).clean()
        assert not leftovers(lake)
        shutil.rmtree(lake)
    assert met >= KILLS / 3, "too few of the kills came before the end to prove anything"
    say(f"kills of `spymaster {name}`", f"{KILLS} in up to {usual:.1f} s, {met} before its end: nothing lost, the next run ends alike")


def test_three_thousand_harmed_files(tmp_path: Path, say: Say):
    start = utc_ns(MONDAY)
    records = busy_day(1_500, 7, date=MONDAY, symbols=ESZ5, snapshot_orders=50)
    whole = [
        write_dbn(tmp_path / n, records, symbols=ESZ5, start=start, end=start + DAY_NS, compress=n.endswith("zst"))
        for n in ("a.dbn", "b.dbn.zst")
    ]
    rng = random.Random(3)
    refused = read = 0
    times = share_of(3_000)
    for i in range(times):
        content = bytearray(whole[i % 2].read_bytes())
        for _ in range(rng.choice((1, 1, 3, 20))):
            way, at = rng.choice(("bit", "byte", "cut", "zeros", "twice", "noise")), rng.randrange(max(len(content), 1))
            if way == "bit":
                content[at : at + 1] = bytes([content[at] ^ (1 << rng.randrange(8))]) if content else b""
            elif way == "byte":
                content[at : at + 1] = rng.randbytes(1)
            elif way == "cut":
                del content[at:]
            elif way == "zeros":
                content[at : at + 64] = bytes(64)
            elif way == "twice":
                content[at:at] = content[at : at + 200]
            else:
                content[at : at + 16] = rng.randbytes(16)
        path = tmp_path / "harmed.dbn.zst"
        path.write_bytes(content)
        for reader in (read_header, count_records, lambda p: list(stream_columns(p))):
            try:
                reader(path)
                read += 1
            except EngineError:
                refused += 1
            except BaseException as e:
                e.add_note(f"file {i} of seed 3")
                raise
    say("raw files harmed", f"{times:,}, each read three ways: {refused:,} refused by name, {read:,} read, none without a name")


def test_full_disks(whole: Path, tmp_path: Path, say: Say):
    words = ("run", "--symbol", "ESZ5", "--dates", THIN_DATES, "--overwrite")
    sizes = [1_000, 5_000, 20_000, 60_000, 150_000, 400_000, 800_000, 1_500_000]
    met = 0
    for size in sizes:
        lake = tmp_path / f"lake-{size}"
        shutil.copytree(whole, lake)
        before = digests(lake)
        done = subprocess.run(
            command(*words, "--lake", lake), cwd=ROOT, capture_output=True, text=True,
            preexec_fn=lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        if done.returncode:
            met += 1
            assert "could not be written" in done.stderr
        assert spymaster("lake", "--lake", lake, "--verify", check=False).returncode == 0
        assert set(digests(lake)) == set(before)
        spymaster(*words, "--lake", lake)
        assert digests(lake) == before
        assert not leftovers(lake)
        shutil.rmtree(lake)
    assert met
    say("files limited", f"{len(sizes)} runs whose files may not grow beyond 1 KB to 1.5 MB, {met} of them failed by name: nothing lost")


def test_a_full_disk(whole: Path, tmp_path: Path, say: Say, request: pytest.FixtureRequest):
    """A real one: a file system in memory that holds the lake, what the workers write beside it, and a file that fills the rest."""
    disk = tmp_path / "disk"
    disk.mkdir()
    megabytes = sum(p.stat().st_size for p in whole.rglob("*") if p.is_file()) // 1_000_000 + 60
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    request.addfinalizer(lambda: subprocess.run(["umount", disk], check=True))
    lake = disk / "lake"
    shutil.copytree(whole, lake)
    before = digests(lake)
    filler = disk / "filler"
    words = ("run", "--symbol", "ESZ5", "--dates", THIN_DATES, "--overwrite", "--lake", lake)
    for left in (0, 20_000, 60_000):
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - left))
        done = spymaster(*words, check=False)
        assert done.returncode, f"{left} bytes were enough"
        assert "No space left on device" in done.stderr
        assert "could not be written" in done.stderr
        assert "Traceback" not in done.stderr
        assert digests(lake) == before
        filler.unlink()
        assert spymaster("lake", "--lake", lake, "--verify", check=False).returncode == 0
    spymaster(*words)
    assert digests(lake) == before
    assert not leftovers(lake)
    say("full disks", f"3 runs on a disk of {megabytes} MB that was full: each failed by name, nothing lost")


PEAK = """
import resource, sys
from engine.cli import main
from tests.support.figures import memory_mb
try:
    main(sys.argv[1:])
finally:
    print("PEAK", max(memory_mb("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024))
"""


def test_memory_peaks(tmp_path: Path, say: Say):
    file = write_dbn(
        tmp_path / "big.dbn.zst",
        busy_day(4_000_000, 9, date=MONDAY, symbols=ESZ5),
        symbols=ESZ5,
        start=utc_ns(MONDAY),
        end=utc_ns(MONDAY) + DAY_NS,
    )
    lake = tmp_path / "lake"
    peaks: dict[str, int] = {}
    for words in (("add", str(file)), ("run", "--symbol", "ESZ5", "--dates", "2025-11-03", "--workers", "1"), ("lake", "--verify")):
        done = subprocess.run([sys.executable, "-c", PEAK, *words, "--lake", str(lake)], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks[words[0]] = int(done.stdout.rpartition("PEAK")[2])
    assert max(peaks.values()) < 2_000, peaks
    assert report("lake", "--lake", lake)["partitions"]
    said = ", ".join(f"{name} {mb:,} MB" for name, mb in peaks.items())
    say("memory peaks", f"a day of 4 M messages: {said}")
