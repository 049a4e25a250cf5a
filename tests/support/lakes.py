"""Small raw days and lakes for the pipeline's tests, and the command line run as a user runs it."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from engine.params import RunParams
from engine.stages.bronze import raw_index
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
    return write_dbn(path, day_records(date, messages, symbols), symbols=symbols, start=start, end=start + DAY_NS, dataset=dataset)


def spymaster(*args: object, check: bool = True, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    done = subprocess.run(command(*args), capture_output=True, text=True, cwd=ROOT, env={**os.environ, **(env or {})})
    if check and done.returncode != 0:
        raise AssertionError(f"spymaster {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def command(*args: object) -> list[str]:
    """The command line as an argument list."""
    return [sys.executable, "-m", "engine.cli", *map(str, args)]


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


def leftovers(root: Path) -> list[str]:
    """What a killed run left behind: temporary and stepped-aside folders and files."""
    return [str(p) for p in root.rglob(".*") if p.name.startswith((".tmp-", ".old-"))]


def digests(root: Path) -> dict[str, str]:
    """Digest of every committed partition by its folder."""
    return {str(p.parent.relative_to(root)): p.read_text().strip() for p in sorted(root.rglob("_SUCCESS"))}
