"""What the subcommands share: dates, the console, receipts as tables and JSON."""

from __future__ import annotations

import datetime as dt
import json as jsonlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engine.errors import SessionError

if TYPE_CHECKING:
    from engine.stages.task import Receipt

LakeDir = Annotated[Path, Parameter(name="--lake", env_var="SPYMASTER_LAKE", help="The lake's folder.")]

JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), help="Print a JSON report on standard output instead of tables.")]


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError:
        raise SessionError(f"date {text!r}: expected YYYY-MM-DD") from None


def parse_dates(dates: str | None, start_date: str | None, end_date: str | None) -> tuple[list[dt.date], bool]:
    """Dates of ``A:B`` (inclusive), ``A`` or ``A,B,C``, or of --start-date and --end-date.

    Returns
    -------
    dates : list of date
        Rising, each once.
    must : bool
        Whether each was named, so that one without data is an error; in a range it is not.

    Raises
    ------
    SessionError
    """
    if dates is None and start_date is not None:
        dates = f"{start_date}:{end_date or start_date}"
    elif dates is None or start_date is not None or end_date is not None:
        raise SessionError("dates: expected --dates A:B, --dates A,B,C or --start-date A --end-date B, one of them")
    found: set[dt.date] = set()
    must = False
    for item in dates.split(","):
        first, colon, last = item.partition(":")
        a = _day(first)
        b = _day(last) if colon else a
        if b < a:
            raise SessionError(f"dates {item!r}: expected the first date before the last")
        must = must or a == b
        found.update(a + dt.timedelta(days=i) for i in range((b - a).days + 1))
    return sorted(found), must


def print_json(value: Any) -> None:
    """Write a report to standard output."""
    sys.stdout.write(jsonlib.dumps(value, indent=1, default=str) + "\n")


def receipt_json(receipts: Sequence[Receipt]) -> list[dict[str, Any]]:
    """Receipts for a JSON report."""
    return [asdict(r) for r in receipts]


def size_text(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
