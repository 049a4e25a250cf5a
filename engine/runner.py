"""Run tasks in parallel on any ``concurrent.futures.Executor``, and outlive the death of workers.

The rules: a bounded window of tasks is submitted; what a dead process had not committed is submitted again; a task that
alone breaks its executor several times is poison and is named while the others finish; an exception is never retried.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from typing import Generic, Protocol, TypeVar

MAX_DEATHS = 3
"""A task whose process died this often is poison."""


class Named(Protocol):
    """A task that can be named."""

    @property
    def name(self) -> str:
        """The task's name."""
        ...


S = TypeVar("S", bound=Named)

R = TypeVar("R")


@dataclass
class _Pending(Generic[S]):
    spec: S
    deaths: int = 0


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def worker_init(threads: int) -> None:
    """Set up a worker: the parent alone answers Ctrl-C, and a worker outlives no killed parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Libraries read these once, at their import, which comes with the first task; as many threads as cores in every process would
    # contend (two workers fitted a session's forecast in 16 s each instead of 3).
    for library in ("POLARS_MAX", "OMP_NUM", "OPENBLAS_NUM"):
        os.environ.setdefault(f"{library}_THREADS", str(threads))
    threading.Thread(target=_die_with_parent, daemon=True, name="die-with-parent").start()


def spawned_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of spawned processes: forking a process that runs threads (polars, numba) may hang."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=worker_init, initargs=(threads,))


_kept: dict[int, Executor] | None = None
"""Executors by their number of workers, within `reuse_workers`."""


@contextmanager
def reuse_workers() -> Iterator[None]:
    """Within it every `run_tasks` goes on with the processes of the one before: new ones load libraries and kernels anew, for seconds.

    One within another changes nothing. Only `spawned_pool` is kept, and never one that broke.
    """
    global _kept
    if _kept is not None:
        yield
        return
    _kept = {}
    try:
        yield
    except BaseException:
        for executor in _kept.values():
            stop(executor)
        raise
    else:
        for executor in _kept.values():
            executor.shutdown(wait=True)
    finally:
        _kept = None


def stop(executor: Executor) -> None:
    """End an executor without waiting for what it runs; its processes are killed, and lose only what was not committed."""
    processes = list((getattr(executor, "_processes", None) or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def run_tasks(
    function: Callable[[S], R],
    specs: Iterable[S],
    *,
    workers: int,
    on_result: Callable[[S, R], None],
    on_poison: Callable[[S, int], None],
    make_executor: Callable[[int], Executor] = spawned_pool,
    max_deaths: int = MAX_DEATHS,
) -> None:
    """Run ``function(spec)`` for every spec.

    Parameters
    ----------
    function
        Importable at top level; it and the specs are picklable. It returns its errors in its result.
    specs
        The tasks.
    workers
        Processes; at most twice as many tasks are under way or waiting in the executor.
    on_result, on_poison
        Told of each task once, in this process: its result, or how often its process died.
    make_executor
        Makes an executor of so many workers; called again whenever one broke.
    max_deaths
        Deaths after which a task is given up.

    Raises
    ------
    KeyboardInterrupt
        After the workers were killed; what they had not committed is left to the lake's next `clean`.
    """
    queue: deque[_Pending[S]] = deque(_Pending(s) for s in specs)
    suspects: deque[_Pending[S]] = deque()
    while queue or suspects:
        # Which of several tasks under way killed the process is unknown: each suspect runs alone, after the others.
        alone = not queue
        batch: Sequence[_Pending[S]] = [suspects.popleft()] if alone else list(queue)
        if not alone:
            queue.clear()
        dead, rest = _run_until_broken(function, batch, 1 if alone else workers, make_executor, on_result)
        queue.extend(rest)
        for pending in dead:
            pending.deaths += 1
            if pending.deaths >= max_deaths:
                on_poison(pending.spec, pending.deaths)
            else:
                suspects.append(pending)


def _run_until_broken(
    function: Callable[[S], R],
    batch: Sequence[_Pending[S]],
    workers: int,
    make_executor: Callable[[int], Executor],
    on_result: Callable[[S, R], None],
) -> tuple[list[_Pending[S]], list[_Pending[S]]]:
    """Run a batch on one executor; returns the tasks under way when it broke, and those not yet submitted."""
    todo = deque(batch)
    under_way: dict[Future[R], _Pending[S]] = {}
    dead: list[_Pending[S]] = []
    broke = False
    keep = _kept if make_executor is spawned_pool else None
    executor = None if keep is None else keep.get(workers)
    if executor is None:
        executor = make_executor(min(workers, len(batch)) if keep is None else workers)
    if keep is not None:
        keep[workers] = executor
    try:
        while todo or under_way:
            while todo and len(under_way) < 2 * workers and not (dead or broke):
                pending = todo.popleft()
                try:
                    under_way[executor.submit(function, pending.spec)] = pending
                except BrokenExecutor:
                    # A process died while it had nothing to do: no task is to blame, and the next one needs new processes.
                    todo.appendleft(pending)
                    broke = True
            if not under_way:
                break
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                pending = under_way.pop(future)
                try:
                    result = future.result()
                except BrokenExecutor:
                    dead.append(pending)
                else:
                    on_result(pending.spec, result)
    except BaseException:
        if keep is not None:
            del keep[workers]
        stop(executor)
        raise
    if dead or broke:
        if keep is not None:
            del keep[workers]
        stop(executor)
    elif keep is None:
        executor.shutdown(wait=True)
    return dead, list(todo)
