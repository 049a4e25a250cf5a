"""The physics and the lake: market-by-order replay, the price ladder, levels, features. Knows no screen."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__version__ = "0.1.0"

KERNEL_SOURCES = (
    "mbo/*.py",
    "ladder_kernels.py",
    "setups/*.py",
    "features/kernels.py",
    "features/sums.py",
    "retrieval/kernels.py",
    "simulate/actions.py",
    "simulate/counting.py",
    "simulate/market.py",
    "simulate/merging.py",
    "simulate/model.py",
    "simulate/opening.py",
    "simulate/orders.py",
    "simulate/regimes.py",
    "simulate/rng.py",
    "vocab.py",
)
"""Where the numba kernels stand, and what is compiled into them."""


def _kernel_cache() -> Path:
    """Folder of the compiled kernels, named by their sources.

    Numba's own cache looks at the file of the compiled function alone: a kernel that calls one in another file would go on
    running the old code after an edit or an upgrade there, and would write wrong numbers into the lake.
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
