"""Worker processes beside the server, so that a fit of some seconds does not hold up the page."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

from engine.errors import RunFailed
from engine.runner import stop

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

T = TypeVar("T")

log = logging.getLogger(__name__)

CLOSED = "the server ends; what compares setups is closed"

POLL_S = 0.1
"""How often `wanted` is called while a question waits."""


class WorkerTask:
    """One process, started when it is first asked, and again where it was ended."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._line: deque[object] = deque()
        self._running: Future[Any] | None = None
        self._executor: ProcessPoolExecutor | None = None
        self._closed = False

    def ask(self, wanted: Callable[[], object], work: Callable[..., T], *args: object) -> T:
        """What ``work(*args)`` returns in the process.

        `wanted` is called again and again while this waits; it raises where the answer is not wanted any more. What has begun by then goes
        on to its end in the process, and the next one waits for that.

        Raises
        ------
        RunFailed
            Where the process was ended, or could not be started; the next question starts another.
        """
        future, executor = self._begun(wanted, work, args)
        # Not `result(timeout)`: work that raises a TimeoutError of its own would look like an answer that is not there yet. And not
        # `wait(...).done`: of what `close` cancelled before the process had it, `wait` is never told.
        while not future.done():
            wait([future], POLL_S)
            wanted()
        with self._turn:
            self._turn.notify_all()
        try:
            return future.result()
        except CancelledError as e:
            raise RunFailed(CLOSED) from e
        except BrokenProcessPool as e:
            self._end(executor)
            if self._closed:
                raise RunFailed(CLOSED) from e
            what = "the process that compares setups was ended, as a system short of memory does"
            raise RunFailed(f"{what}; change anything to ask again") from e

    def _begun(
        self, wanted: Callable[[], object], work: Callable[..., T], args: tuple[object, ...]
    ) -> tuple[Future[T], ProcessPoolExecutor | None]:
        ticket = object()
        with self._turn:
            self._line.append(ticket)
        try:
            while True:
                wanted()
                with self._turn:
                    if self._line[0] is ticket and (self._running is None or self._running.done()):
                        # No callback at its end: it would be called with the executor's lock held, and wait for this one here.
                        self._running = made = self._submit(work, args)
                        return made, self._executor
                    self._turn.wait(POLL_S)
        finally:
            with self._turn:
                self._line.remove(ticket)
                self._turn.notify_all()

    def _submit(self, work: Callable[..., T], args: tuple[object, ...]) -> Future[T]:
        if self._closed:
            raise RunFailed(CLOSED)
        try:
            if self._executor is not None:
                try:
                    return self._executor.submit(work, *args)
                except BrokenProcessPool:
                    log.warning("the process that compares setups was ended while it had nothing to do; another one is started")
                    self._end(self._executor)
            # Spawned, since a fork would copy locks that threads hold.
            self._executor = ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), initializer=_begin)
            return self._executor.submit(work, *args)
        except OSError as e:
            self._end(self._executor)
            raise RunFailed(f"a process to compare setups could not be started: {e}; change anything to ask again") from e

    def _end(self, executor: ProcessPoolExecutor | None) -> None:
        """Shut `executor` down; where another one has taken its place already, that goes on."""
        with self._turn:
            if executor is not None:
                executor.shutdown(wait=False)
            if executor is self._executor:
                self._executor = None

    def close(self) -> None:
        """Kill the process, whatever it does; whoever waits for it, and whoever asks from now on, is told so."""
        with self._turn:
            executor, self._executor, self._closed = self._executor, None, True
        if executor is not None:
            stop(executor)


def _begin() -> None:
    """In the new process: give way to the screen, and end with the server, however that ends."""
    if hasattr(os, "nice"):
        os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the server says good-bye, once
    server = parent_process()
    if server is not None:
        threading.Thread(target=_end_with, args=(server,), daemon=True).start()


def _end_with(server: BaseProcess) -> None:
    server.join()
    os._exit(0)


PROCESSES = max(1, min(4, (os.cpu_count() or 2) // 2))
"""Half of the cores: the others are the page's."""

_ALL = [WorkerTask() for _ in range(PROCESSES)]


def close_all() -> None:
    """Kill all processes: Python would wait for what they do, some ten seconds after Ctrl-C."""
    for task in _ALL:
        task.close()


def process_of(key: str) -> WorkerTask:
    """The process that serves `key`, always the same: what it fitted for a key is there, and is not fitted twice."""
    return _ALL[crc32(key.encode()) % PROCESSES]
