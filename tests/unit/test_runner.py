"""The runner with real processes that really die."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.runner import reuse_workers, run_tasks
from engine.stages.task import Receipt, failed
from tests.support.jobs import Job, do

ROOT = Path(__file__).parents[2]


def run(jobs: list[Job], workers: int = 2, **options: object) -> tuple[dict[str, str], dict[str, int]]:
    results: dict[str, str] = {}
    poison: dict[str, int] = {}
    run_tasks(
        do,
        jobs,
        workers=workers,
        on_result=lambda j, r: results.__setitem__(j.name, r),
        on_poison=lambda j, n: poison.__setitem__(j.name, n),
        **options,  # type: ignore[arg-type]
    )
    return results, poison


def test_a_dead_worker_costs_no_task_and_a_poison_task_is_named(tmp_path: Path):
    jobs = [Job(str(tmp_path), f"j{i}") for i in range(6)]
    jobs[1:1] = [Job(str(tmp_path), "poison", "die"), Job(str(tmp_path), "unlucky", "die once")]
    results, poison = run(jobs)
    assert set(results) == {"unlucky", *(f"j{i}" for i in range(6))}
    assert poison == {"poison": 3}
    assert Job(str(tmp_path), "poison").starts() <= 3


def pids(folder: Path, names: list[str]) -> set[int]:
    return {int(line) for n in names for line in (folder / n).read_text().split()}


def test_processes_are_kept_from_one_run_to_the_next_but_for_those_that_broke(tmp_path: Path):
    names = [[f"{k}{i}" for i in range(8)] for k in "abc"]
    with reuse_workers():
        run([Job(str(tmp_path), n) for n in names[0]])
        with reuse_workers():  # one within another ends nothing
            run([Job(str(tmp_path), n) for n in names[1]])
        first, second = pids(tmp_path, names[0]), pids(tmp_path, names[1])
        assert len(first | second) <= 2
        assert all(is_alive(p) for p in first)
        results, poison = run([Job(str(tmp_path), n, "die once" if n == "c0" else "work") for n in names[2]])
        assert len(results) == 8
        assert not poison
        assert not any(is_alive(p) for p in first)
    wait_until(lambda: not any(is_alive(p) for p in pids(tmp_path, names[2])))
    run([Job(str(tmp_path), "after")])
    assert pids(tmp_path, ["after"]).isdisjoint(first | pids(tmp_path, names[2]))


def test_processes_that_die_while_they_have_nothing_to_do_are_replaced(tmp_path: Path):
    with reuse_workers():
        run([Job(str(tmp_path), f"a{i}") for i in range(6)])
        first = pids(tmp_path, [f"a{i}" for i in range(6)])
        os.kill(min(first), signal.SIGKILL)
        wait_until(lambda: not is_alive(min(first)))
        time.sleep(0.5)  # until the executor has seen it
        results, poison = run([Job(str(tmp_path), f"b{i}") for i in range(6)])
        assert len(results) == 6
        assert not poison
        assert pids(tmp_path, [f"b{i}" for i in range(6)]).isdisjoint(first)


def test_an_interrupt_ends_kept_processes_too(tmp_path: Path):
    def interrupt(job: Job, result: str) -> None:
        raise KeyboardInterrupt

    def two_stages() -> None:
        with reuse_workers():
            run([Job(str(tmp_path), f"a{i}") for i in range(4)])
            run_tasks(do, [Job(str(tmp_path), "b")], workers=2, on_result=interrupt, on_poison=lambda j, n: None)

    with pytest.raises(KeyboardInterrupt):
        two_stages()
    assert not any(is_alive(p) for p in pids(tmp_path, [*(f"a{i}" for i in range(4)), "b"]))


def test_any_executor_will_do(tmp_path: Path):
    results, poison = run([Job(str(tmp_path), f"j{i}") for i in range(5)], make_executor=ThreadPoolExecutor)
    assert len(results) == 5
    assert not poison


def test_submission_is_bounded(tmp_path: Path):
    class Counting(ThreadPoolExecutor):
        most = 0

        def submit(self, fn, /, *args, **kwargs):
            future = super().submit(fn, *args, **kwargs)
            Counting.most = max(Counting.most, self._work_queue.qsize())
            return future

    run([Job(str(tmp_path), f"j{i}") for i in range(40)], workers=2, make_executor=Counting)
    assert Counting.most <= 4


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path):
    code = (
        "from tests.support.jobs import Job, do\nfrom engine.runner import reuse_workers, run_tasks\n"
        "if __name__ == '__main__':\n"
        "  with reuse_workers():\n"
        f"    run_tasks(do, [Job({str(tmp_path)!r}, 'slow', 'slow')], workers=1, on_result=print, on_poison=print)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    started = tmp_path / "slow"
    wait_until(lambda: started.exists() and started.read_text().endswith("\n"))
    worker = int(started.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not is_alive(worker))


def wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail("what was waited for did not come")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_receipt_stays_under_a_kilobyte():
    receipt = failed("silver ESH4 2024-01-02", ValueError("é" * 5000), "ladder")
    assert len(pickle.dumps(receipt)) < 1024
    assert receipt.message.startswith("ladder: éé")
    assert len(pickle.dumps(Receipt("silver ESH4 2024-01-02", "made", 10**9, ("ladder", "bars", "levels", "vacuum"), 1.5))) < 1024
