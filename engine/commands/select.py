"""``spymaster select``: the map from a root and a date to a contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, print_json


def select(
    *,
    symbol: Annotated[str, Parameter(help="A root, such as ES.")],
    lake: LakeDir = Path("lake"),
    session: Annotated[Literal["rth", "globex_open"], Parameter(help="Session profile whose trades are counted.")] = "rth",
    dominance: Annotated[float, Parameter(help="Least share of all trades the chosen contract must have.")] = 0.80,
    trim_days: Annotated[int, Parameter(help="Days dropped at both ends of a contract's run.")] = 2,
    trim_longer_than: Annotated[int, Parameter(help="Only runs longer than this are trimmed, days.")] = 4,
    liquidity_floor: Annotated[float, Parameter(help="Least share of the run's median trade count.")] = 0.50,
    json: JsonFlag = False,
) -> None:
    """Make the selection map from bronze: per session date the contract with most trades, and whether the date is used.

    Examples
    --------
    ::

        spymaster run --layer bronze --symbol ES --dates 2025-10-01:2026-01-08
        spymaster select --symbol ES
    """
    from engine.errors import SessionError
    from engine.lake.store import Lake
    from engine.params import SelectionParams
    from engine.pipeline import is_root
    from engine.selection import make_selection

    if not is_root(symbol):
        raise SessionError(f"--symbol {symbol}: expected a root such as ES; a contract needs no selection map")
    try:
        params = SelectionParams(
            dominance=dominance, trim_days=trim_days, trim_longer_than=trim_longer_than, liquidity_floor=liquidity_floor
        )
    except ValueError as e:
        raise SessionError(f"selection thresholds: {e}") from e
    place = Lake(lake)
    with place.lock():
        frame = make_selection(place, symbol, session, params)
    rows = list(frame.iter_rows(named=True))
    if json:
        print_json({"path": str(place.selection_path()), "rows": rows})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for name in ("date", "contract", "share", "trades", "day of run", "of median", "used"):
        table.add_column(name, justify="left" if name in ("date", "contract", "used") else "right")
    for r in rows:
        table.add_row(
            str(r["session_date"]), r["dominant_symbol"], f"{r['dominance_ratio']:.1%}", f"{r['trade_count_dominant']:,}",
            f"{r['run_pos'] + 1}/{r['run_len']}", f"{r['trade_count_ratio']:.0%}", "yes" if r["include_flag"] else "no",
        )  # fmt: skip
    Console().print(table)
    Console().print(
        f"{sum(r['include_flag'] for r in rows)} of {len(rows)} session dates are used: {place.selection_path()}",
        markup=False,
        soft_wrap=True,
    )
