"""Shared by the commands: options, parsing of dates, and output as text, tables and JSON."""

from __future__ import annotations

import datetime as dt
import json as jsonlib
import os
import sys
from collections.abc import Container, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engine.errors import SessionError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LakeDir = Annotated[Path, Parameter(name="--lake", env_var="SPYMASTER_LAKE", help="The lake's folder.")]

JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), help="Print a JSON report on standard output instead of tables.")]


EARLIEST = dt.date(2005, 1, 1)
"""First date of the exchange's calendar, before any market-by-order data."""

DAYS_AHEAD = 364
"""Days from today that the exchange's calendar covers."""


def require(holds: bool, otherwise: str) -> None:
    """Raise `SessionError` with the text `otherwise` where a condition of a command's arguments does not hold."""
    if not holds:
        raise SessionError(otherwise)


def processes(workers: int | None) -> int:
    """The number of processes of ``--workers``: one per core where None; raises `SessionError` below 1."""
    require(workers is None or workers >= 1, f"--workers {workers}: expected at least 1")
    return workers or os.cpu_count() or 1


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError:
        raise SessionError(f"date {text!r}: expected YYYY-MM-DD") from None


def parse_dates(dates: str | None, start_date: str | None, end_date: str | None) -> tuple[list[dt.date], bool]:
    """Dates of ``A:B`` (inclusive), ``A`` or ``A,B,C``, or of --start-date and --end-date: (sorted and unique, whether one was named on its
    own, so that missing data are an error). Raises `SessionError`.
    """
    if dates is None and start_date is not None:
        dates = f"{start_date}:{end_date or start_date}"
    elif dates is None or start_date is not None or end_date is not None:
        raise SessionError("dates: expected --dates A:B, --dates A,B,C or --start-date A --end-date B, one of them")
    found: set[dt.date] = set()
    must = False
    latest = dt.date.today() + dt.timedelta(days=DAYS_AHEAD)
    for item in dates.split(","):
        first, colon, last = item.partition(":")
        a = _day(first)
        b = _day(last) if colon else a
        require(a <= b, f"dates {item!r}: expected the first date before the last")
        require(a >= EARLIEST and b <= latest, f"dates {item!r}: expected dates from {EARLIEST} to {latest}, which the calendar covers")
        must = must or a == b
        found.update(a + dt.timedelta(days=i) for i in range((b - a).days + 1))
    return sorted(found), must


def print_json(value: Any) -> None:
    """Write a report to standard output."""
    sys.stdout.write(jsonlib.dumps(value, indent=1, default=str) + "\n")


def print_line(text: str, console: Console | None = None, style: str | None = None) -> None:
    """Print a line verbatim: without markup, highlighting or wrapping."""
    from rich.console import Console

    (console or Console()).print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def wide_console() -> Console:
    """A console on standard output, 160 columns wide in a pipe, where rich would cut tables at 80."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


def text_table(columns: Iterable[str], left: Container[str] = (), title: str | None = None, fold: bool = False) -> Table:
    """A table without a box; columns are right-justified except those in `left`."""
    from rich.table import Table

    table = Table(title=title, box=None)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold" if fold else "ellipsis")
    return table


def size_text(size: float) -> str:
    """A size in bytes as text with a unit."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
