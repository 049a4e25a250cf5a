"""Long work beside the page: in a thread, with its progress told, and given up when it is no longer wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import panel as pn

from engine.errors import EngineError, RunFailed

T = TypeVar("T")
Progress = Callable[[int, int, str], None]

TELL_EVERY_S = 0.25
_POOL = ThreadPoolExecutor(max_workers=2, thread_name_prefix="later")


class GivenUp(Exception):
    """Raised inside work that was stopped, by its own progress."""


class Later:
    """One piece of work at a time; a new one takes the place of the one before.

    Parameters
    ----------
    tell
        Called in the page's own loop with (done, of, what) while work goes on; ``of`` is 0 where its end is not known.
    """

    def __init__(self, tell: Progress) -> None:
        self.tell = tell
        self._number = 0
        self._stop = threading.Event()

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._number % 2 == 1

    def stop(self) -> None:
        """Give up what is under way; its answer is not wanted any more."""
        if self.busy:
            self._stop.set()
            self._number += 1

    def start(self, work: Callable[[Progress], T], done: Callable[[T], None], failed: Callable[[EngineError], None]) -> None:
        """Do `work` and hand its answer to `done`, in the page's loop; what the engine has to say goes to `failed`.

        Without a page (a script, a notebook's first call) it is done at once.
        """
        self.stop()
        self._number += 1
        number, stop, doc = self._number, threading.Event(), pn.state.curdoc
        self._stop = stop
        last = 0.0

        def progress(of: int, total: int, what: str) -> None:
            nonlocal last
            if stop.is_set():
                raise GivenUp
            now = time.monotonic()
            if doc is not None and (now - last > TELL_EVERY_S or total == 0):
                last = now
                doc.add_next_tick_callback(lambda: self.tell(of, total, what) if number == self._number else None)

        def run() -> Callable[[], None]:
            try:
                answer = work(progress)
            except EngineError as e:
                error = e
                return lambda: failed(error)
            return lambda: done(answer)

        def deliver(end: Callable[[], None]) -> None:
            if number == self._number:
                self._number += 1
                with pn.io.hold():
                    end()

        if doc is None:
            deliver(run())
            return

        def in_thread() -> None:
            end: Callable[[], None]
            try:
                end = run()
            except GivenUp:
                return
            except Exception as e:
                end = _defect(e, failed)
            doc.add_next_tick_callback(lambda: deliver(end))

        _POOL.submit(in_thread)


def _defect(error: Exception, failed: Callable[[EngineError], None]) -> Callable[[], None]:
    """Something that nobody foresaw: the trader is told, and it is raised again where the server logs it, instead of vanishing."""

    def end() -> None:
        failed(RunFailed(f"this could not be computed ({type(error).__name__}: {error}); the server's log says where"))
        raise error

    return end
