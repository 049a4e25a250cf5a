"""Market-by-order replay, the price ladder, levels, features, the lake and retrieval; independent of the workbench.

`__all__` is the interface for notebooks and scripts. A name is imported when it is first used, so that ``import engine`` alone
loads neither polars nor numba.

Examples
--------
>>> import engine as spy
>>> spy.NS, spy.root_of("ESZ5").tick_size
(1000000000, 0.25)
>>> lake = spy.Lake("lake")
>>> symbol, date = lake.partitions(spy.LADDER)[-1]  # doctest: +SKIP
>>> ladder = spy.Ladder.open(lake, symbol, date)  # doctest: +SKIP
>>> windows = spy.level_windows(ladder, lake.read(spy.LEVELS, symbol, date))  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.errors import EngineError
    from engine.features.pressure import pressure
    from engine.features.windows import level_windows
    from engine.ladder import Ladder
    from engine.lake.catalog import BARS, BRONZE_MBO, LADDER, LEVELS, SIGNALS, STREAM, TAPE, TRIGGERS, VACUUM
    from engine.lake.store import Lake
    from engine.levels import build_levels, level_ids, price_level
    from engine.params import FeatureParams, LevelParams, PressureParams, SetupParams
    from engine.retrieval.audit import audit
    from engine.retrieval.dataset import gold_events
    from engine.retrieval.difference import DifferenceParams, difference_map, neighbour_pressure
    from engine.retrieval.neighbours import edited, moment_events, neighbours, trigger_query
    from engine.retrieval.statistics import condition_events, condition_table
    from engine.retrieval.walk_forward import AuditData
    from engine.session import Session
    from engine.sessions import NEW_YORK, session_windows, to_ns
    from engine.vocab import NS, root_of

__version__ = "0.1.0"

_FROM: dict[str, tuple[str, ...]] = {
    "engine.errors": ("EngineError",),
    "engine.features.pressure": ("pressure",),
    "engine.features.windows": ("level_windows",),
    "engine.ladder": ("Ladder",),
    "engine.lake.catalog": ("BARS", "BRONZE_MBO", "LADDER", "LEVELS", "SIGNALS", "STREAM", "TAPE", "TRIGGERS", "VACUUM"),
    "engine.lake.store": ("Lake",),
    "engine.levels": ("build_levels", "level_ids", "price_level"),
    "engine.params": ("FeatureParams", "LevelParams", "PressureParams", "SetupParams"),
    "engine.retrieval.audit": ("audit",),
    "engine.retrieval.dataset": ("gold_events",),
    "engine.retrieval.difference": ("DifferenceParams", "difference_map", "neighbour_pressure"),
    "engine.retrieval.neighbours": ("edited", "moment_events", "neighbours", "trigger_query"),
    "engine.retrieval.statistics": ("condition_events", "condition_table"),
    "engine.retrieval.walk_forward": ("AuditData",),
    "engine.session": ("Session",),
    "engine.sessions": ("NEW_YORK", "session_windows", "to_ns"),
    "engine.vocab": ("NS", "root_of"),
}
"""Module to its names in `__all__`."""

_MODULE_OF = {name: module for module, names in _FROM.items() for name in names}

__all__ = [
    "BARS", "BRONZE_MBO", "LADDER", "LEVELS", "NEW_YORK", "NS", "SIGNALS", "STREAM", "TAPE", "TRIGGERS", "VACUUM", "AuditData",
    "DifferenceParams", "EngineError", "FeatureParams", "Ladder", "Lake", "LevelParams", "PressureParams", "Session", "SetupParams",
    "audit", "build_levels", "condition_events", "condition_table", "difference_map", "edited", "gold_events", "level_ids", "level_windows",
    "moment_events", "neighbour_pressure", "neighbours", "pressure", "price_level", "root_of", "session_windows", "to_ns", "trigger_query",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The public object `name`, imported on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: expected one of {', '.join(__all__)}")
    found = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


KERNEL_SOURCES = (
    "mbo/*.py", "ladder.py", "options/black76.py", "setups/*.py", "features/sums.py", "features/wall.py", "retrieval/search.py",
    "simulate/actions.py", "simulate/day.py", "simulate/fidelity.py", "simulate/market.py", "simulate/model.py", "simulate/orders.py",
    "simulate/regimes.py", "simulate/rng.py", "vocab.py",
)  # fmt: skip
"""Files with numba kernels, and with constants that are compiled into them."""


def _kernel_cache() -> Path:
    """Folder of the numba cache, named by a hash of `KERNEL_SOURCES`.
    Numba's own cache only checks the file of the compiled function: after an edit of a kernel in another file, callers used its old code.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for pattern in KERNEL_SOURCES:
        for path in sorted(here.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "spymaster" / "kernels" / digest.hexdigest()[:16]


if "NUMBA_CACHE_DIR" not in os.environ and os.access(Path.home(), os.W_OK):
    os.environ["NUMBA_CACHE_DIR"] = str(_kernel_cache())
