"""``python -m tests.bench.growth_of_fits 20 60 250``: what a lake of so many sessions costs, in CPU seconds of one thread.

Sessions are feature-level: gold and wall features of a known law, 60 armed setups a session, without ladders. Printed are all fits of a
lake together, one more session, the index, and the first question of a process that has imported everything, and the exponent between
each two sizes: 1 is linear.
"""

from __future__ import annotations

import itertools
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from engine.lake.store import Lake
from engine.params import RetrievalParams
from engine.retrieval.dataset import VECTORS
from engine.retrieval.index import build_index
from engine.retrieval.kept import FitTask, fits_to_make, make_fit
from engine.retrieval.neighbours import neighbours, trigger_query
from tests.support.retrieval import gold_frame, write_gold, write_walls

PER_SESSION = 60
STRENGTH = 0.7


def seconds(what: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    what()
    return time.process_time() - start


def of_size(sessions: int, folder: Path) -> dict[str, float]:
    """Figures of a lake of so many sessions."""
    frame = gold_frame(PER_SESSION * sessions, per_session=PER_SESSION, strength=STRENGTH)
    lake = write_gold(folder / "lake", frame)
    write_walls(lake, frame)
    params = RetrievalParams()
    todo: list[FitTask] = []
    found = {"sessions": float(sessions), "setups": float(frame.height)}
    found["what is to fit"] = seconds(lambda: todo.extend(fits_to_make(lake, "ES", params)))
    each = [seconds(lambda t=t: make_fit(t)) for t in todo]  # type: ignore[misc]  # a default in a lambda
    found |= {"fits": float(len(todo)), "all fits": sum(each), "the last fit": each[-1], "a look that finds all current": 0.0}
    found["a look that finds all current"] = seconds(lambda: fits_to_make(lake, "ES", params))
    found["index"] = seconds(lambda: build_index(lake, symbol="ES"))
    last = frame.filter(pl.col("session_date") == frame["session_date"].max())["trigger_id"]
    query = trigger_query(Lake(lake.root), last[0])
    neighbours(lake, trigger_query(lake, frame["trigger_id"][PER_SESSION * 12]))  # imports, kernels
    found["first answer"] = seconds(lambda: neighbours(Lake(lake.root), query))
    found["memory, GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    assert len(lake.partitions(VECTORS)) == sessions
    return found


def main() -> None:
    """Print the figures of each size, and the exponents between them."""
    sizes = [int(a) for a in sys.argv[1:]] or [20, 60]
    rows = []
    for sessions in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(of_size(sessions, Path(folder)))
        print("  ".join(f"{k} {v:,.2f}" for k, v in rows[-1].items()), flush=True)
    for a, b in itertools.pairwise(rows):
        grown = math.log(b["sessions"] / a["sessions"])
        told = (
            f"{k} {math.log(max(b[k], 1e-9) / max(a[k], 1e-9)) / grown:.2f}" for k in ("all fits", "the last fit", "index", "first answer")
        )
        print(f"exponents {a['sessions']:.0f} to {b['sessions']:.0f} sessions: " + ", ".join(told))
    assert np.isfinite(rows[-1]["first answer"])


if __name__ == "__main__":
    main()
