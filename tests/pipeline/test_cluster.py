"""A run on a real Dask scheduler with real workers, on loopback, some of which are killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engine.cluster import cluster, token_in
from engine.errors import ClusterUnfit, RunFailed
from engine.lake.catalog import BRONZE_MBO
from engine.lake.store import RUN_FILE, Lake
from engine.lake.writer import commit_only_where
from engine.runner import Machines, run_tasks
from engine.stages.raw import raw_index
from engine.stages.task import TaskSpec, run_partition
from tests.support.jobs import Job, do
from tests.support.lakes import MONDAY, TUESDAY, command, digests, spymaster

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Dask:
    """A scheduler and its workers, started from the command line in `folder`."""

    folder: Path
    port: int = 0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return f"tcp://127.0.0.1:{self.port}"

    def _start(self, *words: object, root: Path = ROOT) -> subprocess.Popen[bytes]:
        env = {**os.environ, "PYTHONPATH": str(root), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
        with (self.folder / "dask.log").open("ab") as log:
            args = [sys.executable, "-m", *map(str, words), "--no-dashboard"]
            made = subprocess.Popen(args, cwd=self.folder, env=env, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(made)
        return made

    def scheduler(self, *, root: Path = ROOT) -> subprocess.Popen[bytes]:
        """Start the scheduler, on the port that it had before where it had one."""
        if not self.port:
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                self.port = s.getsockname()[1]
        return self._start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", self.port, root=root)

    def worker(self, *, threads: int = 1, root: Path = ROOT) -> subprocess.Popen[bytes]:
        """Start a worker under its nanny, which starts another process where that one dies."""
        words = ("--nthreads", threads, "--local-directory", self.folder / "space", "--death-timeout", 60)
        return self._start("distributed.cli.dask_worker", self.address, *words, root=root)

    def stop(self) -> None:
        """Kill everything."""
        for process in self.processes:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started, as a lost node."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def another_version(folder: Path) -> Path:
    """A copy of the sources that differs by a comment."""
    for name in ("engine", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "engine" / "vocab.py").write_text((ROOT / "engine" / "vocab.py").read_text() + "\n# another version\n")
    return folder


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    (tmp_path / "dask").mkdir()
    made = Dask(tmp_path / "dask")
    yield made
    made.stop()


def test_a_cluster_makes_the_bytes_that_this_machine_makes_and_unfit_workers_are_named(
    dask: Dask, lake_with: Callable[..., Lake], whole_lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_with(MONDAY, TUESDAY)
    dask.scheduler()
    dask.worker()
    words = ("run", "--symbol", "ESZ5", "--dates", f"{MONDAY},{TUESDAY}", "--layer", "silver", "--cluster", dask.address)
    # Workers have another folder than the command, whose lake is named from its own.
    monkeypatch.chdir(lake.root.parent)
    done = spymaster(*words, "--lake", lake.root.name, cwd=lake.root.parent, check=False)
    assert "1 workers of the cluster" in done.stderr
    here, there = digests(whole_lake.root), digests(lake.root)
    assert {k: there[k] for k in here} == here
    # The next command finds the workers as the one before left them.
    again = subprocess.run(command(*words, "--lake", lake.root), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "0 failed" in again.stderr
    # Another version of the engine on one of the machines, and one whose tasks would share a process.
    dask.worker(root=another_version(tmp_path / "other"))
    dask.worker(threads=2)
    lines: list[str] = []
    for _ in range(200):  # until both are there
        try:
            with lake.lock(), cluster(dask.address, lake):
                time.sleep(0.1)
        except ClusterUnfit as e:
            lines = str(e).splitlines()
            if len(lines) == 3:
                break
    assert lines[0].startswith(f"--cluster {dask.address}: 2 of 3 workers cannot be used; install on all machines what this one has:")
    assert sum("code of the engine: expected " in line for line in lines) == 1
    assert sum("expected 1 thread, found 2; `dask worker ADDRESS --nworkers auto --nthreads 1`" in line for line in lines) == 1


def test_where_there_is_no_cluster_it_says_what_starts_one(tmp_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.cluster.CONNECT_S", 1)
    monkeypatch.setattr("engine.cluster.WORKERS_S", 0.5)
    lake = Lake(tmp_lake)
    for address in ("tcp://127.0.0.1:9", "nonsense://x", "tls://127.0.0.1:9"):
        with pytest.raises(ClusterUnfit, match=r"`dask scheduler` starts one"), lake.lock(), cluster(address, lake):
            pass
    words = ("--symbol", "ESZ5", "--dates", MONDAY, "--lake", tmp_lake, "--workers", "3", "--cluster", "tcp://h:1")
    assert "--workers 3: --cluster tcp://h:1 has its own; give one of the two" in spymaster("run", *words, check=False).stderr


@pytest.mark.long
def test_who_comes_later_is_compared_and_who_is_missed_is_said(
    dask: Dask, tmp_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cluster.LOOK_S", 0.2)
    monkeypatch.setattr("engine.cluster.WORKERS_S", 3)
    lake, folder = Lake(tmp_lake), tmp_path / "jobs"
    folder.mkdir()
    dask.scheduler()
    worker = dask.worker()
    said: list[str] = []
    with lake.lock(), cluster(dask.address, lake, say=said.append) as machines:
        unlike = dask.worker(root=another_version(tmp_path / "other"))
        for n in range(60):
            results, poison = ran(machines, [Job(str(folder), f"a{n}-{i}") for i in range(8)])
            assert (len(results), poison) == (8, {})
            if said:
                break
        assert len(said) == 1
        assert "a worker that came later is not used" in said[0]
        assert "code of the engine: expected" in said[0]
        kill(unlike)
        kill(worker)
        with pytest.raises(RunFailed, match="no worker that can be used is left for 3 s"):
            ran(machines, [Job(str(folder), "b")])


@pytest.mark.long
def test_a_scheduler_that_is_gone_or_unlike_is_a_sentence(dask: Dask, tmp_lake: Path, tmp_path: Path) -> None:
    lake = Lake(tmp_lake)
    scheduler = dask.scheduler(root=another_version(tmp_path / "other"))
    dask.worker()
    lacks = pytest.raises(ClusterUnfit, match="the scheduler cannot be used; install there what this machine has")
    with lacks, lake.lock(), cluster(dask.address, lake):
        pass
    kill(scheduler)
    scheduler = dask.scheduler()
    dask.worker()  # one ends with the scheduler that it was of
    with lake.lock(), cluster(dask.address, lake) as machines:
        kill(scheduler)
        with pytest.raises(RunFailed, match=r"the Dask scheduler at .* is gone"):
            ran(machines, [Job(str(tmp_path), "a")])


def test_a_task_whose_run_has_ended_commits_nothing(lake_with: Callable[..., Lake]) -> None:
    lake = lake_with(MONDAY)
    (raw, symbols), *_ = raw_index(lake, "ES").of("ESZ5", MONDAY)
    spec = TaskSpec(str(lake.root), MONDAY, symbols, raw=raw)
    (lake.root / RUN_FILE).write_text("token")
    commit_only_where(lambda: check_token(lake.root))
    try:
        assert run_partition(spec).status == "made"
        (lake.root / RUN_FILE).unlink()
        late = run_partition(replace(spec, overwrite=True))
        assert (late.status, late.error) == ("failed", "RunFailed")
    finally:
        commit_only_where(None)
    assert lake.has(BRONZE_MBO, "ESZ5", MONDAY)
    with lake.lock():
        assert lake.clean() == []


def check_token(root: Path) -> None:
    if token_in(str(root)) != "token":
        raise RunFailed("ended")


def ran(m: Machines, jobs: list[Job]) -> tuple[dict[str, str], dict[str, int]]:
    results: dict[str, str] = {}
    poison: dict[str, int] = {}
    run_tasks(
        do, jobs, workers=m.workers, make_executor=m.make_executor, max_deaths=m.max_deaths, watch=m.watch,
        on_result=lambda j, r: results.__setitem__(j.name, r), on_poison=lambda j, n: poison.__setitem__(j.name, n),
    )  # fmt: skip
    return results, poison


@pytest.mark.long
def test_lost_workers_cost_no_task_and_what_kills_them_is_named(dask: Dask, tmp_lake: Path, tmp_path: Path) -> None:
    dask.scheduler()
    dask.worker()
    second = dask.worker()
    lake, folder = Lake(tmp_lake), tmp_path / "jobs"
    folder.mkdir()
    jobs = [Job(str(folder), f"j{i}") for i in range(12)]
    jobs[1:1] = [Job(str(folder), "poison", "die"), Job(str(folder), "unlucky", "die once")]
    with lake.lock(), cluster(dask.address, lake) as machines:
        results, poison = ran(machines, jobs)
        assert set(results) == {"unlucky", *(f"j{i}" for i in range(12))}
        assert set(poison) == {"poison"}
        # A node that is lost, with all that runs on it.
        kill(second)
        results, poison = ran(machines, [Job(str(folder), f"k{i}") for i in range(12)])
        assert (len(results), poison) == (12, {})


@pytest.mark.long
def test_a_run_that_loses_its_scheduler_says_so_and_goes_on(dask: Dask, lake_with: Callable[..., Lake], whole_lake: Lake) -> None:
    lake = lake_with(MONDAY, TUESDAY)
    scheduler = dask.scheduler()
    worker = dask.worker()
    dates = f"{MONDAY},{TUESDAY}"
    words = ("run", "--symbol", "ESZ5", "--dates", dates, "--layer", "silver", "--lake", lake.root, "--cluster", dask.address)
    run = subprocess.Popen(command(*words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(600):
        if list(lake.root.rglob("_SUCCESS")) or run.poll() is not None:
            break
        time.sleep(0.05)
    kill(scheduler)
    said = run.communicate(timeout=120)[0]
    assert run.returncode == 1, said
    assert f"the Dask scheduler at {dask.address} is gone" in " ".join(said.split())
    kill(worker)
    made = digests(lake.root)
    assert made
    dask.scheduler()
    dask.worker()
    again = spymaster(*words)
    assert "0 failed" in again.stderr
    here, there = digests(whole_lake.root), digests(lake.root)
    assert {k: there[k] for k in here} == here
    assert {k: there[k] for k in made} == made, "what was committed is not made again"


def test_the_cluster_of_this_machine_ends_with_the_run(lake_with: Callable[..., Lake]) -> None:
    lake = lake_with(MONDAY)
    with lake.lock(), cluster("local", lake, 1) as machines:
        assert machines.workers == 1
        results, _ = ran(machines, [Job(str(lake.root), "job")])
        pid = int((lake.root / "job").read_text())
    assert results == {"job": "job done"}
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"worker {pid} outlives the run")
