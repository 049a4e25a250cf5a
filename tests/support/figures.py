"""Figures that long tests print in one table at the end of a run, whichever process measured them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

KEY = "figures"

Say = Callable[[str, str], None]


def table(reports: Iterable[Any]) -> list[str]:
    """Lines of the table: what was done, and what was found."""
    rows = [row for report in reports for key, row in getattr(report, "user_properties", ()) if key == KEY]
    width = max((len(what) for what, _ in rows), default=0)
    return [f"{what:<{width}}  {found}" for what, found in sorted(rows)]
