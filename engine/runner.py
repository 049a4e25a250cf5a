"""Running tasks in parallel on a ``concurrent.futures.Executor``, tolerant of dying workers.
A bounded number of tasks is submitted at a time. Tasks of a process that died are submitted again; one that kills its process `MAX_DEATHS`
times on its own is reported as poison while the others finish. Exceptions are never retried.
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
"""Deaths of its process after which a task is given up as poison."""


class Named(Protocol):
    """A task with a name."""

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
    """Initialise a worker process: it ignores Ctrl-C, limits library threads, and exits when its parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Read by the libraries at import, with the first task. With as many threads as cores in every process they would contend (two
    # workers fitted a session's forecast in 16 s each instead of 3).
    for library in ("POLARS_MAX", "OMP_NUM", "OPENBLAS_NUM"):
        os.environ.setdefault(f"{library}_THREADS", str(threads))
    threading.Thread(target=_die_with_parent, daemon=True, name="die-with-parent").start()


def spawned_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of spawned processes; forking a process with threads (polars, numba) may hang."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=worker_init, initargs=(threads,))


@dataclass(frozen=True)
class Machines:
    """Where the tasks of a run are computed.

    Attributes
    ----------
    workers : int
        Tasks that run at once.
    make_executor : callable
        An executor for so many of them.
    max_deaths : int
        How often an executor may break over a task that runs alone, until it is poison.
    died : str
        What is said of poison.
    watch : callable or None
        Asked again and again while a result is waited for: how many run at once by now. It raises where none can come any more.
    """

    workers: int
    make_executor: Callable[[int], Executor]
    max_deaths: int
    died: str
    watch: Callable[[], int] | None = None


def this_machine(workers: int) -> Machines:
    """So many processes of this machine."""
    died = f"its process died {MAX_DEATHS} times, perhaps out of memory (`dmesg | tail`); try --workers 1"
    return Machines(workers, spawned_pool, MAX_DEATHS, died)


_pools: dict[int, Executor] | None = None
"""Executors by number of workers, within `reuse_workers`."""


@contextmanager
def reuse_workers() -> Iterator[None]:
    """Context manager in which successive `run_tasks` share their processes, since new ones take seconds to load libraries and kernels.
    Nesting has no effect. Only executors of `spawned_pool` are shared, and none that broke.
    """
    global _pools
    if _pools is not None:
        yield
        return
    _pools = {}
    try:
        yield
    except BaseException:
        for executor in _pools.values():
            stop(executor)
        raise
    else:
        for executor in _pools.values():
            executor.shutdown(wait=True)
    finally:
        _pools = None


def stop(executor: Executor) -> None:
    """Kill an executor's processes without waiting for their tasks; only uncommitted work is lost."""
    processes = list((getattr(executor, "_processes", None) or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def wait_for_some(futures: Iterable[Future[R]], watch: Callable[[], object] | None = None) -> set[Future[R]]:
    """Those of `futures` that are done, once there is one; Ctrl-C and SIGTERM are heeded meanwhile, and `watch` is called.

    Polars puts a handler of its own before Python's, after which the system restarts a wait without an end instead of breaking it off, and
    the signal would be heeded with the next result only. A wait with an end comes back.
    """
    pending = set(futures)
    while not (done := wait(pending, timeout=0.5, return_when=FIRST_COMPLETED).done):
        if watch is not None:
            watch()
    return done


def run_tasks(
    function: Callable[[S], R], specs: Iterable[S], *, workers: int, on_result: Callable[[S, R], None], on_poison: Callable[[S, int], None],
    make_executor: Callable[[int], Executor] = spawned_pool, max_deaths: int = MAX_DEATHS, watch: Callable[[], int] | None = None,
) -> None:  # fmt: skip
    """Run ``function(spec)`` for every spec; both are picklable, and the function's result includes expected errors.

    At most twice as many tasks as `workers`, or as `watch` says by now, are submitted at a time. `on_result` or `on_poison` is called once
    per task, in this process, with its result, or with the number of deaths of its process; `make_executor` again whenever an executor
    broke. On KeyboardInterrupt the workers are killed; what they had not committed is left to the lake's next `clean`.
    """
    queue = [_Pending(s) for s in specs]
    suspects: deque[_Pending[S]] = deque()
    while queue or suspects:
        # Which of several running tasks killed the process is unknown, so each suspect runs alone, after the others.
        batch = queue or [suspects.popleft()]
        dead, queue = _run_until_broken(function, batch, workers if queue else 1, make_executor, on_result, watch)
        for pending in dead:
            pending.deaths += 1
            if pending.deaths >= max_deaths:
                on_poison(pending.spec, pending.deaths)
            else:
                suspects.append(pending)


def _run_until_broken(
    function: Callable[[S], R], batch: Sequence[_Pending[S]], workers: int, make_executor: Callable[[int], Executor],
    on_result: Callable[[S, R], None], watch: Callable[[], int] | None,
) -> tuple[list[_Pending[S]], list[_Pending[S]]]:  # fmt: skip
    """Run a batch on one executor; returns the tasks that were running when it broke, and those not yet submitted."""
    todo = deque(batch)
    under_way: dict[Future[R], _Pending[S]] = {}
    dead: list[_Pending[S]] = []
    broke = False
    shared = _pools if make_executor is spawned_pool else None
    if shared is None:
        executor = make_executor(min(workers, len(batch)))
    else:
        executor = shared.get(workers) or make_executor(workers)
        shared[workers] = executor
    try:
        while todo or under_way:
            workers = workers if watch is None else watch()
            while todo and len(under_way) < 2 * workers and not (dead or broke):
                pending = todo.popleft()
                try:
                    under_way[executor.submit(function, pending.spec)] = pending
                except BrokenExecutor:
                    # An idle process died: no task is to blame, but a new executor is needed.
                    todo.appendleft(pending)
                    broke = True
            if not under_way:
                break
            done = wait_for_some(under_way, watch)
            for future in done:
                pending = under_way.pop(future)
                try:
                    result = future.result()
                except BrokenExecutor:
                    dead.append(pending)
                else:
                    on_result(pending.spec, result)
    except BaseException:
        if shared is not None:
            del shared[workers]
        stop(executor)
        raise
    if dead or broke:
        if shared is not None:
            del shared[workers]
        stop(executor)
    elif shared is None:
        executor.shutdown(wait=True)
    return dead, list(todo)
