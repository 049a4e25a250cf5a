"""Tasks of a run on a Dask cluster, in the place of this machine's processes: the same specs go out and the same receipts come back.

Dask (`distributed`, the extra ``dask``) runs a task at least once: one whose worker is lost is run again by another, and a node that is
cut off may go on with what another has begun anew. That is safe, since a partition is whole or absent, and the second writer puts the same
bytes in the place of the first one's. What goes on after its run has ended commits nothing: the run's token in the lake is gone.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ClusterUnfit, RunFailed
from engine.lake.store import RUN_FILE, Lake
from engine.lake.writer import commit_only_where, fsync_path
from engine.runner import Machines
from engine.vocab import known_roots

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
"""The address that stands for a cluster of this machine alone."""

PACKAGES = (
    "distributed",
    "databento-dbn",
    "exchange-calendars",
    "lightgbm",
    "numba",
    "numpy",
    "polars",
    "scikit-learn",
    "scipy",
    "zstandard",
)
"""Whose versions must be the same everywhere: they decide about bytes, or about what can be sent."""

SETTINGS = ("MBO_INDEX_DIR", "MBO_SELECTION_PATH")
"""Variables of the environment that say where a task reads and writes."""

CONNECT_S, WORKERS_S, LOOK_S, ANSWER_S = 10, 30, 5, 30
"""How long a scheduler has to answer, and a worker to be there; how often a run asks who is there, and how long it waits for that."""

TOPIC = "spymaster"
"""Under which a worker tells of itself."""

THREADS = "`dask worker ADDRESS --nworkers auto --nthreads 1` gives each task a process of its own"


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of the engine's sources and tables, 12 hexadecimal digits; comments count, unlike in what makes a partition stale."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".yaml", ".json", ".avsc") and "__pycache__" not in p.parts):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def about() -> dict[str, str]:
    """What this process runs, by name: equal everywhere, or a process is not used."""
    roots = hashlib.sha256(repr(sorted(known_roots().items())).encode()).hexdigest()[:12]
    return {
        "Python": platform.python_version(), **{p: version(p) for p in PACKAGES}, "code of the engine": code_digest(), "roots": roots,
        **{name: os.environ.get(name, "") for name in SETTINGS},
    }  # fmt: skip


def about_worker(lake: str) -> tuple[dict[str, str], str]:
    """`about`, and the token of the run as the worker finds it in the lake; a sentence where it cannot be read."""
    return about(), token_in(lake)


def token_in(lake: str) -> str:
    """The token of the run that a lake's tasks are of; a sentence in its place where there is none."""
    try:
        return Path(lake, RUN_FILE).read_text(encoding="ascii")
    except OSError as e:
        return f"{lake}/{RUN_FILE}: {e.strerror}"


_own = lru_cache(maxsize=1)(about)


def _checked(expected: dict[str, str], lake: str, token: str, function: Callable[..., Any], *args: object) -> Any:
    """On a worker: ``function(*args)``, once it was compared (it may have come after the others were asked) and while its run goes on."""
    from distributed import Reschedule, get_worker

    if wrong := _differences(expected, _own()):
        worker = get_worker()
        worker.log_event(TOPIC, (worker.address, wrong))
        # To another one; and not back to this at once, which has nothing else to do.
        time.sleep(1.0)
        raise Reschedule

    def goes_on() -> None:
        if token_in(lake) != token:
            raise RunFailed(f"the run that wanted it has ended: {token_in(lake)}")

    goes_on()
    commit_only_where(goes_on)
    try:
        return function(*args)
    finally:
        commit_only_where(None)


def _differences(expected: dict[str, str], found: dict[str, str]) -> str:
    return ", ".join(f"{k}: expected {v}, found {found.get(k, 'nothing')}" for k, v in expected.items() if found.get(k) != v)


def _executor(client: Client, lost: str, checks: tuple[object, ...]) -> Executor:
    """An executor whose tasks run on the cluster; a task that lost too many workers breaks it as a dead process breaks a pool."""
    from distributed import KilledWorker
    from distributed.cfexecutor import ClientExecutor

    class DaskExecutor(ClientExecutor):  # type: ignore[misc]
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # type: ignore[override]
            answered: Future[Any] = Future()

            def settle(inner: Future[Any]) -> None:
                error = RunFailed(lost) if inner.cancelled() else inner.exception()
                if isinstance(error, KilledWorker):
                    error = BrokenExecutor(str(error))
                if error is None:
                    answered.set_result(inner.result())
                else:
                    answered.set_exception(error)

            try:
                # Never `pure`: a task whose answer is kept from an earlier run would make nothing. No retries: an error is a receipt.
                super().submit(_checked, *checks, fn, *args, pure=False, retries=0).add_done_callback(settle)
            except Exception as e:  # a closed client has an error of its own for each way in which it was closed
                if client.status == "running":
                    raise
                raise RunFailed(lost) from e
            return answered

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            # Dask's own waits for all, or cancels what has not begun; what runs then goes on there, and commits nothing.
            with suppress(*([Exception] if cancel_futures else [])):  # of a scheduler that is gone there is nothing to cancel
                super().shutdown(wait=wait and not cancel_futures)

    return DaskExecutor(client)


class _Watch:
    """How many workers there are by now, looked at every `LOOK_S`; raises `RunFailed` where no result can come any more."""

    def __init__(self, client: Client, lost: str, say: Callable[[str], None]) -> None:
        self._client, self._lost, self._say = client, lost, say
        self._unlike: dict[str, str] = {}
        self._many, self._looked, self._seen = 0, 0.0, time.monotonic()
        client.subscribe_topic(TOPIC, self._told)

    def _told(self, event: tuple[object, tuple[str, str]]) -> None:
        worker, wrong = event[1]
        if worker not in self._unlike:
            self._unlike[worker] = wrong
            self._say(f"a worker that came later is not used: {worker}: {wrong}")

    def __call__(self) -> int:
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return self._many
        self._looked = now
        try:
            identity = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S)  # type: ignore[union-attr]
        except Exception as e:  # of each way of losing it there is an error of its own
            raise RunFailed(self._lost) from e
        fit = set(identity["workers"]) - set(self._unlike)
        if fit:
            self._seen = now
        elif now - self._seen > WORKERS_S:
            raise RunFailed(
                f"no worker that can be used is left for {WORKERS_S} s; what was committed stays, and the same command goes on from there"
            )
        self._many = max(len(fit), 1)
        return self._many


@contextmanager
def cluster(address: str, lake: Lake, workers: int | None = None, say: Callable[[str], None] = print) -> Iterator[Machines]:
    """Context manager of a cluster's machines, for `engine.runner.run_tasks`.

    Parameters
    ----------
    address
        Of a scheduler, such as ``tcp://10.0.0.5:8786``, or ``local`` for one of this machine alone, that ends with the run.
    lake
        Under its lock; its folder must be the same one on every machine.
    workers
        Processes of the cluster ``local``; of another one they are whatever it has.
    say
        Called with what the user should know meanwhile.

    Raises
    ------
    ClusterUnfit
        Where Dask is not installed, no scheduler or worker answers, or one differs from this process in Python, packages, code or lake.
    """
    try:
        import distributed
    except ImportError as e:
        raise ClusterUnfit(f"--cluster needs Dask, which is not installed ({e}); `pip install 'spymaster[dask]'` brings it") from e
    root, token = str(lake.root.resolve()), secrets.token_hex(16)
    lost = f"the Dask scheduler at {address} is gone; what was committed stays, and the same command goes on from there once it is back"
    here = _local(workers) if address == LOCAL else None
    client = None
    try:
        client = _connected(here or address, address)
        mark = lake.root / RUN_FILE
        mark.write_text(token, encoding="ascii")
        fsync_path(mark)
        expected = about()
        failures = _fit(client, expected, root, token, address)
        watch = _Watch(client, lost, say)
        # Dask itself runs a task on another worker after each loss, and blames all that the lost one had: the second time it runs alone.
        died = f"{2 * (failures + 1)} workers were lost while they ran it, perhaps out of memory"
        yield Machines(watch(), lambda _: _executor(client, lost, (expected, root, token)), 2, died, watch)
    finally:
        (lake.root / RUN_FILE).unlink(missing_ok=True)
        with suppress(OSError, distributed.client.ClosedClientError):  # of a scheduler that is gone
            if client is not None:
                client.close(timeout=CONNECT_S)
            if here is not None:
                here.close(timeout=CONNECT_S)


def _connected(to: object, address: str) -> Client:
    """A client of the scheduler."""
    from distributed import Client

    try:
        return Client(to, timeout=CONNECT_S, set_as_default=False)
    except Exception as e:  # a TypeError of an unknown protocol, a MemoryError of a port on which something else talks
        wanted = f"expected a Dask scheduler that answers within {CONNECT_S} s"
        raise ClusterUnfit(f"--cluster {address}: {wanted}, found none ({type(e).__name__}: {e}); `dask scheduler` starts one") from e


def _local(workers: int | None) -> Any:
    """A cluster of this machine; its processes leave Ctrl-C to this one."""
    from distributed import LocalCluster

    threads = max(1, (os.cpu_count() or 1) // (workers or os.cpu_count() or 1))
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
    try:
        return LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1",
            env={"POLARS_MAX_THREADS": str(threads)},
        )  # fmt: skip
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)


def _failures() -> int:
    import dask

    return int(dask.config.get("distributed.scheduler.allowed-failures"))


def _fit(client: Client, expected: dict[str, str], lake: str, token: str, address: str) -> int:
    """After how many losses the scheduler gives a task up; raises ClusterUnfit, naming whatever cannot be used and why."""
    try:
        wrong, failures = _differences(expected, client.run_on_scheduler(about)), client.run_on_scheduler(_failures)
    except Exception as e:  # it has no engine, or another one
        wrong, failures = f"{type(e).__name__}: {e}", 0
    if wrong:
        raise ClusterUnfit(f"--cluster {address}: the scheduler cannot be used; install there what this machine has: {wrong}")
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError as e:
        start = f"`dask worker {address} --nworkers auto --nthreads 1` starts one for each core"
        raise ClusterUnfit(f"--cluster {address}: expected a worker within {WORKERS_S} s, found none; {start}") from e
    found = client.run(about_worker, lake, on_error="return")
    threads = {w: int(seen["nthreads"]) for w, seen in client.scheduler_info(n_workers=-1)["workers"].items() if w in found}
    bad = []
    for worker, said in found.items():
        if isinstance(said, BaseException):
            bad.append(f"{worker}: {type(said).__name__}: {said}")
        elif wrong := _differences(expected, said[0]):
            bad.append(f"{worker}: {wrong}")
        elif said[1] != token:
            bad.append(f"{worker}: it does not see the lake {lake} that this machine writes: {said[1]}")
        elif threads.get(worker, 1) != 1:
            bad.append(f"{worker}: expected 1 thread, found {threads[worker]}; {THREADS}")
    if bad:
        more = [f"and {len(bad) - 10} more"] if len(bad) > 10 else []
        head = f"--cluster {address}: {len(bad)} of {len(found)} workers cannot be used; install on all machines what this one has:"
        raise ClusterUnfit("\n  ".join([head, *bad[:10], *more]))
    return int(failures)
