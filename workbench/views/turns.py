"""Whose turn it is among the pages of a server: work waits in line, and no page can keep the others from theirs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

OF_A_PAGE = 2
"""Most that run for one page: what it wants now need not wait for what it gave up, which goes on to its next progress."""


@dataclass(frozen=True, eq=False)
class Job:
    """Something to do for a page (any object that stands for it); `act` tells its own failures."""

    page: object
    act: Callable[[], None]


class Turns:
    """At most `most` jobs at a time: first of the page that has the fewest running, and among those the one that came first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._pool = ThreadPoolExecutor(max_workers=most, thread_name_prefix="later")

    def put(self, job: Job) -> None:
        """Let `job` be done when it is its turn."""
        with self._lock:
            self._waiting.append(job)
            self._begin()

    def drop(self, job: Job) -> None:
        """Forget `job` where it has not begun."""
        with self._lock:
            if job in self._waiting:
                self._waiting.remove(job)

    def _begin(self) -> None:
        while len(self._running) < self.most and (job := self._next()) is not None:
            self._waiting.remove(job)
            self._running.append(job)
            self._pool.submit(self._run, job)

    def _next(self) -> Job | None:
        def has(job: Job) -> int:
            return sum(r.page is job.page for r in self._running)

        return min((j for j in self._waiting if has(j) < OF_A_PAGE), key=has, default=None)

    def _run(self, job: Job) -> None:
        try:
            job.act()
        finally:
            with self._lock:
                self._running.remove(job)
                self._begin()


TURNS = Turns(max(4, 2 * (os.cpu_count() or 2)))
"""Twice the cores: most of what runs waits for another process (`workbench.aside`)."""
