"""Kernels compiled before several processes need them."""

from __future__ import annotations

import datetime as dt

from engine.commands.demo import Kernels, compile_kernels
from engine.runner import spawned_pool


def compile_market() -> str:
    """Compile the kernels of the tests' own market."""
    from tests.support.dbn_files import busy_day

    busy_day(1_000, 1, date=dt.date(2025, 11, 4))
    return ""


def compile_all() -> None:
    """Fill the cache of compiled kernels; what cannot be compiled says so in the tests that need it."""
    with spawned_pool(2) as pool:
        done = [pool.submit(compile_kernels, Kernels(name)) for name in ("simulator", "pipeline")]
        done.append(pool.submit(compile_market))
        for each in done:
            each.exception()
