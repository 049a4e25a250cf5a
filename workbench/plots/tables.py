"""A table in the page's type: numbers to the right, a note in the tooltip, everything escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import polars as pl

from workbench.assets import style

Row = dict[str, Any]

CSS = style("tables")


@dataclass(frozen=True)
class Column:
    """A column: its head, what a row shows in it, the tooltip of its head, and whether it is text."""

    head: str
    show: Callable[[Row], str]
    note: str = ""
    text: bool = False
    wide: bool = False


def table_html(
    columns: Sequence[Column], rows: pl.DataFrame | Iterable[Row], *, caption: str = "", mark: Callable[[Row], str] | None = None
) -> str:
    """`rows` as an HTML table; `mark` gives the class of a row: ``few`` (pale), ``strong``, ``bad``, or nothing.

    Examples
    --------
    >>> html = table_html([Column("level", lambda r: r["level"], text=True)], [{"level": "<b>PM</b>"}])
    >>> "&lt;b&gt;PM" in html
    True
    """
    heads = "".join(f"<th scope='col'{_attributes(c, c.note)}>{escape(c.head)}</th>" for c in columns)
    body = ""
    for r in rows.iter_rows(named=True) if isinstance(rows, pl.DataFrame) else rows:
        name = mark(r) if mark is not None else ""
        cells = "".join(f"<td{_attributes(c)}>{escape(c.show(r))}</td>" for c in columns)
        body += f"<tr class='{name}'>{cells}</tr>" if name else f"<tr>{cells}</tr>"
    top = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<div class='sm-scroll'><table class='sm-table'>{top}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"


def _attributes(c: Column, note: str = "") -> str:
    names = " ".join(n for n, on in (("l", c.text), ("w", c.wide)) if on)
    return (f" class='{names}'" if names else "") + (f' title="{escape(note)}"' if note else "")


def number(key: str, form: str = ",") -> Callable[[Row], str]:
    """A cell with the number `key`, a dash where it is null.

    Examples
    --------
    >>> number("n")({"n": 1240}), number("skill", "+.3f")({"skill": None})
    ('1,240', '–')
    """
    return lambda r: "–" if r[key] is None else format(r[key], form).replace("-", "−")


def share(key: str, low: str, high: str, form: str = ".0%", *, between: str = "–") -> Callable[[Row], str]:
    """A cell with a share and its interval: ``35% [24–48]``.

    Examples
    --------
    >>> share("p", "a", "b")({"p": 0.35, "a": 0.24, "b": 0.48})
    '35% [24–48]'
    """

    def show(r: Row) -> str:
        if r[key] is None:
            return "–"
        span = "" if r[low] is None else " [" + between.join(format(r[k], form).rstrip("%") for k in (low, high)) + "]"
        return format(r[key], form) + span

    return show


def count_of(count: str, of: str, low: str, high: str) -> Callable[[Row], str]:
    """A cell with counts first and the interval after: ``14 of 40 [24–48%]``.

    Examples
    --------
    >>> count_of("k", "n", "a", "b")({"k": 14, "n": 40, "a": 0.24, "b": 0.48})
    '14 of 40 [24–48%]'
    """

    def show(r: Row) -> str:
        between = "" if r[low] is None else f" [{100 * r[low]:.0f}–{r[high]:.0%}]"
        return f"{r[count]:,} of {r[of]:,}{between}"

    return show
