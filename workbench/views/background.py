"""Background tasks of the page: threads with progress and cancellation, and a queue that serves all tabs in turn."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import panel as pn

from engine.errors import EngineError, RunFailed

T = TypeVar("T")

Progress = Callable[[int, int, str], None]

Failed = Callable[[EngineError], None]

log = logging.getLogger(__name__)

TELL_EVERY_S = 0.25

OF_A_PAGE = 2
"""Most that run for one page: what it wants now need not wait for what it gave up, which goes on to its next progress."""


class GivenUp(Exception):
    """Raised inside work that was stopped, by its own progress."""


class BackgroundTask:
    """One piece of work at a time; a new one takes the place of the one before.

    `tell` is called in the page's own loop with (done, of, what) while work goes on; ``of`` is 0 where its end is not known.
    """

    def __init__(self, tell: Progress) -> None:
        self.tell = tell
        self._stop: threading.Event | None = None
        self._job: Job | None = None
        self._page: Any = None

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._stop is not None

    def stop(self) -> None:
        """Give up what is under way, its answer is not wanted any more: not begun, or ended at its next progress."""
        if self._stop is not None:
            self._stop.set()
        if self._job is not None:
            TURNS.drop(self._job)
        self._stop = self._job = None

    def start(self, work: Callable[[Progress], T], done: Callable[[T], None], failed: Failed) -> None:
        """Do `work` and give its answer to `done`, in the page's loop; what the engine has to say goes to `failed`, and so does a defect.

        The progress that `work` is given raises where it is not wanted any more; with no words and no number it does nothing else.
        Without a page (a script, a notebook's first call) all is done at once.
        """
        self.stop()
        stop, doc = threading.Event(), pn.state.curdoc
        self._stop = stop

        def deliver(end: Callable[[], None]) -> None:
            if self._stop is stop:
                self._stop = self._job = None
                with pn.io.hold():
                    end()

        if doc is None:
            try:
                end = _ending(work, lambda done, of, what: None, done, failed)
            except BaseException:
                self._stop = None
                raise
            deliver(end)
            return
        if doc is not self._page:
            # A closed page wants nothing any more.
            self._page = doc
            doc.on_session_destroyed(self._gone)
        progress = self._progress(doc, stop)

        def in_thread() -> None:
            try:
                progress(0, 0, "")
                end = _ending(work, progress, done, failed)
            except GivenUp:
                return
            doc.add_next_tick_callback(lambda: deliver(end))

        self._job = Job(doc, in_thread)
        TURNS.put(self._job)

    def _gone(self, session_context: Any) -> None:
        self.stop()

    def _progress(self, doc: Any, stop: threading.Event) -> Progress:
        last, said = 0.0, ""

        def progress(done: int, of: int, what: str) -> None:
            nonlocal last, said
            if stop.is_set():
                raise GivenUp
            now = time.monotonic()
            # Words without a number are passed on when they are new: nothing may follow them for long.
            news = what != said if of == 0 else now - last > TELL_EVERY_S
            if news and (of or what):
                last, said = now, what
                doc.add_next_tick_callback(lambda: self.tell(done, of, what) if self._stop is stop else None)

        return progress


def _ending(work: Callable[[Progress], T], progress: Progress, done: Callable[[T], None], failed: Failed) -> Callable[[], None]:
    """Do `work`; returns what is to be done in the page's loop then."""
    try:
        answer = work(progress)
    except GivenUp:
        raise
    except Exception as e:
        error = e
        return lambda: _report(error, failed)

    def end() -> None:
        try:
            done(answer)
        except Exception as e:
            _report(e, failed)

    return end


def _report(error: Exception, failed: Failed) -> None:
    """Give what the engine has to say to `failed`; of something that nobody foresaw the trader is told, and the server logs it.

    A defect is not raised again: what a callback of a document raises leaves Bokeh's stack of current documents as it is, for good.
    """
    if not isinstance(error, EngineError):
        log.error("a question of the page", exc_info=error)
        error = RunFailed(f"this could not be computed ({type(error).__name__}: {error}); the server's log says where")
    failed(error)


@dataclass(frozen=True, eq=False)
class Job:
    """Something to do for a page (any object that stands for it); `act` tells its own failures."""

    page: object
    act: Callable[[], None]


class FairQueue:
    """At most `most` jobs at a time: first of the page that has the fewest running, and among those the one that came first.

    So no page can keep the others of a server from their turn.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._pool = ThreadPoolExecutor(max_workers=most, thread_name_prefix="later")

    def put(self, job: Job) -> None:
        """Do `job` when it is its turn."""
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


TURNS = FairQueue(max(4, 2 * (os.cpu_count() or 2)))
"""Twice the cores: most of what runs waits for another process (`workbench.workers`)."""
