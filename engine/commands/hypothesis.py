"""``spymaster hypothesis``: what followed, by how many of the four conditions were open."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, print_json


def hypothesis(
    *,
    lake: LakeDir = Path("lake"),
    symbol: Annotated[str | None, Parameter(help="A root or a contract; all where not given.")] = None,
    horizon: Annotated[Literal["h0", "h1", "h2", "h3", "h4", "h5", "h6"], Parameter(help="Outcome horizon; h1 is 2 minutes.")] = "h1",
    stratum: Annotated[
        Literal["against", "still", "with", "all"] | None, Parameter(help="Only this stratum of price's own move in the window.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Count outcomes of armed episodes by the number of conditions open in the direction of travel.

    Conditions 1 and 3 follow price mechanically, so the counts are also split by price's own move in the window: against the
    travel, still, or with it. Beside each share stand its interval (whole sessions resampled) and what the reference forecast said.

    Examples
    --------
    ::

        spymaster hypothesis --lake lake
        spymaster hypothesis --stratum still
        spymaster hypothesis --json | jq '.rows[] | select(.direction == "up" and .stratum == "all")'
    """
    from engine.commands.audit import _bars, _step
    from engine.lake.store import Lake
    from engine.retrieval.gold import condition_events
    from engine.retrieval.hypothesis import condition_table
    from engine.retrieval.params import AuditParams, RetrievalParams

    with _bars() as bars:
        events, conditions = condition_events(Lake(lake), symbol, progress=_step(bars, "conditions"))
    table = condition_table(events, conditions, AuditParams(retrieval=RetrievalParams(horizon=horizon)))
    rows = [r for r in table.to_dicts() if stratum in (None, r["stratum"])]
    if json:
        print_json({"lake": str(lake), "horizon": horizon, "rows": rows})
        return
    _print(rows, horizon)


def _print(rows: list[dict[str, Any]], horizon: str) -> None:
    from rich.console import Console
    from rich.table import Table

    # Into a pipe rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table(title=f"what followed within {horizon} of the touch, by open conditions (reference in brackets)", box=None)
    for head in ("direction", "price's own move", "open", "events", "days", "break", "reject", "chop", "t10", "t11"):
        table.add_column(head, justify="left" if head in ("direction", "price's own move") else "right")
    for r in rows:
        if r["events"]:
            shares = [_share(r, c) for c in ("break", "reject", "chop")]
            book = ["" if r[t] is None else f"{r[t]:+.3f}" for t in ("t10", "t11")]
            table.add_row(r["direction"], r["stratum"], str(r["open"]), f"{r['events']:,}", str(r["sessions"]), *shares, *book)
    console.print(table)
    if rows:
        console.print(
            f"95% intervals, whole sessions resampled, each by itself: {rows[0]['comparisons']} rows were looked at; t10, t11: the "
            "retreat of asks and bids in the book's own frame, free of price's motion",
            highlight=False,
            soft_wrap=True,
        )


def _share(row: dict[str, Any], name: str) -> str:
    between = "" if row[f"low_{name}"] is None else f" {row[f'low_{name}']:.0%}-{row[f'high_{name}']:.0%}"
    usual = "" if row[f"pi_{name}"] is None else f" ({row[f'pi_{name}']:.0%})"
    return f"{row[f'share_{name}']:.0%}{between}{usual}"
