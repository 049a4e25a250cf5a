"""Processes beside the server: one question at a time, none that nobody wants, and another process where one was ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.errors import RunFailed
from tests.support import jobs
from workbench import similar
from workbench.similar import nothing
from workbench.workers import CLOSED, WorkerTask


@pytest.fixture(scope="module")
def aside() -> Iterator[WorkerTask]:
    made = WorkerTask()
    yield made
    made._end(made._executor)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.01)


def test_an_ended_process_is_told_and_another_one_answers(aside: WorkerTask) -> None:
    first = aside.ask(nothing, os.getpid)
    assert first != os.getpid()
    assert aside.ask(nothing, os.getpid) == first
    with pytest.raises(RunFailed, match="was ended"):
        aside.ask(nothing, jobs.ended)
    second = aside.ask(nothing, os.getpid)
    assert second != first
    # Ended while it had nothing to do: nothing is lost, and nothing is to be told.
    os.kill(second, signal.SIGKILL)
    assert aside._executor is not None
    until(lambda: bool(aside._executor._broken))
    assert aside.ask(nothing, os.getpid) != second


def test_an_error_of_the_work_is_its_own(aside: WorkerTask) -> None:
    with pytest.raises(TimeoutError, match="of its own"):
        aside.ask(nothing, jobs.impatient)


def test_a_server_that_ends_does_not_wait_for_what_is_compared() -> None:
    """The work takes an hour."""
    made = WorkerTask()
    pid = made.ask(nothing, os.getpid)
    told: list[str] = []

    def ask(work: Callable[..., object], *args: object) -> None:
        with pytest.raises(RunFailed) as refused:
            made.ask(nothing, work, *args)
        told.append(str(refused.value))

    waiting = [threading.Thread(target=ask, args=(time.sleep, 3600)) for _ in range(2)]  # one that runs, one that waits for its turn
    for thread in waiting:
        thread.start()
    until(lambda: made._running is not None and not made._running.done())
    made.close()
    for thread in waiting:
        thread.join(30)
    assert not any(thread.is_alive() for thread in waiting)
    ask(os.getpid)
    assert told == [CLOSED] * 3
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    made.close()


def test_a_question_that_the_process_has_not_got_yet_ends_with_the_server(tmp_path: Path) -> None:
    """The executor's own thread is held up, so that the question stays with it until it is closed."""
    go, held = tmp_path / "go", threading.Event()
    os.mkfifo(go)
    made = WorkerTask()
    made.ask(nothing, os.getpid)
    assert made._executor is not None
    holds_up = made._executor.submit(Path.read_bytes, go)
    holds_up.add_done_callback(lambda _: held.wait(30))
    go.write_bytes(b"go")
    told: list[str] = []

    def ask() -> None:
        with pytest.raises(RunFailed) as refused:
            made.ask(nothing, os.getpid)
        told.append(str(refused.value))

    until(holds_up.done)
    waiting = threading.Thread(target=ask)
    waiting.start()
    until(lambda: made._running is not None and not made._running.done())
    made.close()
    held.set()
    waiting.join(30)
    assert told == [CLOSED]


class Unwanted(Exception):
    pass


def test_what_nobody_wants_any_more_is_not_begun(aside: WorkerTask, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    got: list[bytes] = []
    # It reads until somebody writes: so long nothing else has its turn.
    slow = threading.Thread(target=lambda: got.append(aside.ask(nothing, Path.read_bytes, go)))
    slow.start()
    until(lambda: aside._running is not None and not aside._running.done())
    asked: list[str] = []

    def unwanted() -> None:
        if asked:
            raise Unwanted
        asked.append("once")

    with pytest.raises(Unwanted):
        aside.ask(unwanted, (tmp_path / "begun").mkdir)
    after = threading.Thread(target=lambda: got.append(aside.ask(nothing, bytes)))
    after.start()
    until(lambda: len(aside._line) == 1)
    assert got == []
    go.write_bytes(b"gone on")
    slow.join(30)
    after.join(30)
    assert got == [b"gone on", b""]
    assert not (tmp_path / "begun").exists()


def test_one_who_waits_for_what_runs_may_leave(aside: WorkerTask, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)

    def unwanted() -> None:
        if aside._running is not None and not aside._running.done():
            raise Unwanted

    with pytest.raises(Unwanted):
        aside.ask(unwanted, Path.read_bytes, go)
    go.write_bytes(b"")
    assert aside.ask(nothing, bytes) == b""


def test_a_process_that_ends_while_it_fits_ahead_is_told(
    aside: WorkerTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import datetime as dt

    monkeypatch.setattr(similar, "AHEAD_AFTER_S", 0.0)
    monkeypatch.setattr(similar, "process_of", lambda key: aside)
    monkeypatch.setattr(similar, "_fit_ahead", jobs.ended)
    similar.start_in_worker("lake", "ESZ5", dt.date(2025, 10, 28))
    until(lambda: "nothing was fitted ahead: the process that compares setups was ended" in caplog.text)
    assert aside.ask(nothing, bytes) == b""
