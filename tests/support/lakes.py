"""Small raw days and lakes for the pipeline's tests, and the command line run as a user runs it."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from engine import runner
from engine.cli import main
from engine.lake.store import Lake
from engine.params import RunParams
from engine.stages.raw import raw_index
from engine.stages.task import Receipt, TaskSpec, run_partition
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn

ROOT = Path(__file__).parents[2]
MONDAY = dt.date(2025, 11, 3)
TUESDAY = dt.date(2025, 11, 4)
WEDNESDAY = dt.date(2025, 11, 5)
ESZ5 = {17077: "ESZ5"}
RAW = "raw/source=databento/product_type=future/symbol=ES/table=market_by_order_dbn"


def day_records(date: dt.date, messages: int = 12_000, symbols: dict[int, str] | None = None) -> np.ndarray:
    """A plausible day, small: its rate is highest in the New York morning."""
    return busy_day(messages, date.toordinal(), date=date, symbols=symbols or ESZ5, snapshot_orders=400)


def day_file(
    folder: Path, date: dt.date, messages: int = 12_000, symbols: dict[int, str] | None = None, dataset: str = "GLBX.MDP3"
) -> Path:
    """The day as a DBN file."""
    symbols = symbols or ESZ5
    start = utc_ns(date)
    path = folder / f"glbx-mdp3-{date:%Y%m%d}.mbo.dbn.zst"
    folder.mkdir(parents=True, exist_ok=True)
    return write_dbn(path, day_records(date, messages, symbols), symbols=symbols, start=start, end=start + DAY_NS, dataset=dataset)


_workers: dict[int, Executor] = {}


@contextmanager
def shared_workers() -> Iterator[None]:
    """Within it runs go on with the worker processes of the runs before, as the groups of one run do: new ones take seconds to load."""
    with patch.object(runner, "_pools", _workers):
        yield


def spymaster(*args: object, check: bool = True, env: dict[str, str] | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process, and with real workers; `command` is for those that need a process of their own.

    What it printed comes back as of a process. An exception that the command line does not answer is the test's.
    """
    words = [str(a) for a in args]
    out, err, code = io.StringIO(), io.StringIO(), 0
    # Workers have the environment and the folder in which they were begun.
    workers = nullcontext() if env or cwd != ROOT else shared_workers()
    with patch.dict(os.environ, {"COLUMNS": "80", **(env or {})}), chdir(cwd), redirect_stdout(out), redirect_stderr(err), workers:
        try:
            main(words)
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else int(e.code is not None)
    done = subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
    if check and done.returncode != 0:
        raise AssertionError(f"spymaster {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def command(*args: object) -> list[str]:
    """The command line as an argument list."""
    return [sys.executable, "-m", "engine.cli", *map(str, args)]


def as_plain_user(*args: object) -> list[str]:
    """`command` in a process that permissions hold for, root's too."""
    if os.geteuid() != 0:
        return command(*args)
    less = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}", *command(*args)]


def report(*args: object, check: bool = True) -> dict[str, Any]:
    """Run a command with --json and return its report."""
    done = spymaster(*args, "--json", check=check)
    return json.loads(done.stdout)


def make_bronze(lake: Any, date: dt.date, symbol: str = "ESZ5") -> Receipt:
    """Convert a date in this process."""
    (raw, symbols), *_ = raw_index(lake, "ES").of(symbol, date)
    return run_partition(TaskSpec(str(lake.root), date, symbols, raw=raw))


def make_silver(lake: Any, date: dt.date, profile: str = "rth", params: RunParams | None = None, symbol: str = "ESZ5") -> Receipt:
    """Make a session in this process."""
    params = params or RunParams()
    return run_partition(TaskSpec(str(lake.root), date, (symbol,), profile=profile, params=params.model_dump_json()))


def make_whole_lake(folder: Path) -> None:
    """``lake`` in `folder`: Monday's and Tuesday's bronze and Tuesday's silver."""
    lake = Lake(folder / "lake")
    for date in (MONDAY, TUESDAY):
        day_file(lake.raw_folder("ES"), date)
        assert make_bronze(lake, date).status == "made"
    receipt = make_silver(lake, TUESDAY)
    assert receipt.status == "made", receipt


THIN_DATES = "2025-09-22:2025-10-01"


def make_thin_lake(folder: Path) -> None:
    """``lake`` in `folder`: eight thin simulated sessions of ESZ5 with all layers, audit and index."""
    lake = folder / "lake"
    spymaster("simulate", "--dates", THIN_DATES, "--lake", lake, "--rate", "0.02", "--seed", "5", "--thin-after", "12:35")
    spymaster("rebuild", "--lake", lake, "--symbol", "ESZ5")


def leftovers(root: Path) -> list[str]:
    """What a killed run left behind: temporary and stepped-aside folders and files."""
    return [str(p) for p in root.rglob(".*") if p.name.startswith((".tmp-", ".old-"))]


def digests(root: Path) -> dict[str, str]:
    """Digest of every committed partition by its folder."""
    return {str(p.parent.relative_to(root)): p.read_text().strip() for p in sorted(root.rglob("_SUCCESS"))}
