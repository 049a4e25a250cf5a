"""Figures that long tests print in one table at the end of a run, whichever process measured them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

KEY = "figures"

Say = Callable[[str, str], None]

SHARE = float(os.environ.get("SPYMASTER_LONG_SHARE", "1"))
"""Share of the repetitions and minutes of the long tests; less than 1 to try them."""


def share_of(most: int, least: int = 1) -> int:
    """So many of `most` repetitions or minutes as are asked for."""
    return max(least, round(most * SHARE))


def memory_mb(what: str, pid: int | str = "self") -> int:
    """Megabytes of a process: ``VmHWM``, the most it has had, or ``VmRSS``, what it has.

    Not `resource.getrusage`, whose peak a process inherits from the one that started it.
    """
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in status if line.startswith(f"{what}:"))


def table(reports: Iterable[Any]) -> list[str]:
    """Lines of the table: what was done, and what was found."""
    rows = [row for report in reports for key, row in getattr(report, "user_properties", ()) if key == KEY]
    width = max((len(what) for what, _ in rows), default=0)
    return [f"{what:<{width}}  {found}" for what, found in sorted(rows)]
