"""Tasks of a run on a Dask cluster, in the place of this machine's processes: the same specs go out and the same receipts come back.

Dask (`distributed`, the extra ``dask``) runs a task at least once: one whose worker is lost is run again by another, and a node that is
cut off may go on with what another has begun anew. That is safe, since a partition is whole or absent, and the second writer puts the same
bytes in the place of the first one's.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ClusterUnfit, RunFailed
from engine.lake.store import LOCK_FILE, Lake
from engine.runner import Machines

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
"""The address that stands for a cluster of this machine alone."""

PACKAGES = ("distributed", "numba", "numpy", "polars")
"""Whose versions must be the same everywhere: they decide about bytes, or about what can be sent."""

CONNECT_S, WORKERS_S = 10, 30
"""How long a scheduler has to answer, and the first worker to be there, seconds."""

THREADS = "`dask worker ADDRESS --nworkers auto --nthreads 1` gives each task a process of its own"


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of the engine's sources and tables, 12 hexadecimal digits; comments count, unlike in what makes a partition stale."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".yaml", ".json", ".avsc") and "__pycache__" not in p.parts):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def about(lake: str) -> dict[str, str]:
    """What this process runs, by name, and who holds the lock of the lake as it sees it: equal on every worker, or none of them is used."""
    try:
        held = Path(lake, LOCK_FILE).read_text(encoding="ascii").strip()
        seen = f"{lake}, held by process {held}"
    except OSError as e:
        seen = f"{lake} cannot be read: {e.strerror}"
    return {"Python": platform.python_version(), **{p: version(p) for p in PACKAGES}, "code of the engine": code_digest(), "lake": seen}


_about = lru_cache(maxsize=4)(about)


def _checked(expected: dict[str, str], function: Callable[..., Any], *args: object) -> Any:
    """On a worker: ``function(*args)``, once what it runs was compared; a worker may have come after the others were asked."""
    found = _about(expected["lake"].partition(", held by ")[0])
    if found != expected:
        raise ClusterUnfit(f"a worker that came later is not used: {_differences(expected, found)}")
    return function(*args)


def _differences(expected: dict[str, str], found: dict[str, str]) -> str:
    return ", ".join(f"{k}: expected {v}, found {found.get(k, 'nothing')}" for k, v in expected.items() if found.get(k) != v)


def _executor(client: Client, expected: dict[str, str]) -> Executor:
    """An executor whose tasks run on the cluster; a task that lost too many workers breaks it as a dead process breaks a pool."""
    from distributed import KilledWorker
    from distributed.cfexecutor import ClientExecutor

    address = client.scheduler.address if client.scheduler is not None else "?"

    class DaskExecutor(ClientExecutor):  # type: ignore[misc]
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # type: ignore[override]
            # Never `pure`: a task whose answer is kept from an earlier run would make nothing. No retries: an error is a receipt.
            answered: Future[Any] = Future()

            def settle(inner: Future[Any]) -> None:
                error = RunFailed(f"{LOST.format(address=address)}") if inner.cancelled() else inner.exception()
                if isinstance(error, KilledWorker):
                    error = BrokenExecutor(str(error))
                if error is None:
                    answered.set_result(inner.result())
                else:
                    answered.set_exception(error)

            super().submit(_checked, expected, fn, *args, pure=False, retries=0).add_done_callback(settle)
            return answered

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            # Dask's own waits for all, or cancels what has not begun; what runs goes on to its end there.
            super().shutdown(wait=wait and not cancel_futures)

    return DaskExecutor(client)


LOST = "the Dask scheduler at {address} is gone; what was committed stays, and the same command goes on from there once it is back"


@contextmanager
def cluster(address: str, lake: Lake, workers: int | None = None) -> Iterator[Machines]:
    """Context manager of a cluster's machines, for `engine.runner.run_tasks`.

    Parameters
    ----------
    address
        Of a scheduler, such as ``tcp://10.0.0.5:8786``, or ``local`` for one of this machine alone, that ends with the run.
    lake
        Under its lock; its folder must be the same one on every machine.
    workers
        Processes of the cluster ``local``; of another one they are whatever it has.

    Raises
    ------
    ClusterUnfit
        Where Dask is not installed, no scheduler or worker answers, or a worker differs from this process in Python, packages, code or
        lake.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as e:
        raise ClusterUnfit(f"--cluster needs Dask, which is not installed ({e}); `pip install 'spymaster[dask]'` brings it") from e
    here = None
    try:
        if address == LOCAL:
            here = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1")
        client = Client(here or address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as e:  # TimeoutError is one of the former, an address that is none the latter
        wanted = f"expected a Dask scheduler that answers within {CONNECT_S} s"
        raise ClusterUnfit(f"--cluster {address}: {wanted}, found none ({e}); `dask scheduler` starts one") from e
    try:
        expected = about(str(lake.root.resolve()))
        many = _fit(client, expected, address)
        # Dask itself runs a task on another worker after each loss, and blames all that the lost one had: the second time it runs alone.
        losses = 2 * (int(_setting("distributed.scheduler.allowed-failures")) + 1)
        died = f"{losses} workers were lost while they ran it, perhaps out of memory"
        yield Machines(many, lambda _: _executor(client, expected), 2, died)
    finally:
        client.close()
        if here is not None:
            here.close()


def _setting(name: str) -> Any:
    import dask

    return dask.config.get(name)


def _fit(client: Client, expected: dict[str, str], address: str) -> int:
    """How many tasks the cluster runs at once; raises ClusterUnfit, naming each worker that cannot be used and why."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError as e:
        start = f"`dask worker {address} --nworkers auto --nthreads 1` starts one for each core"
        raise ClusterUnfit(f"--cluster {address}: expected a worker within {WORKERS_S} s, found none; {start}") from e
    lake = expected["lake"].partition(", held by ")[0]
    found = client.run(about, lake, on_error="return")
    threads = {w: int(seen["nthreads"]) for w, seen in client.scheduler_info(n_workers=-1)["workers"].items() if w in found}
    bad = []
    for worker, said in found.items():
        if isinstance(said, BaseException):
            bad.append(f"{worker}: {type(said).__name__}: {said}")
        elif said != expected:
            bad.append(f"{worker}: {_differences(expected, said)}")
        elif threads.get(worker, 1) != 1:
            bad.append(f"{worker}: expected 1 thread, found {threads[worker]}; {THREADS}")
    if bad:
        more = [f"and {len(bad) - 10} more"] if len(bad) > 10 else []
        head = f"--cluster {address}: {len(bad)} of {len(found)} workers cannot be used; install on all machines what this one has:"
        raise ClusterUnfit("\n  ".join([head, *bad[:10], *more]))
    return len(found)
