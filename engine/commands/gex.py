"""``spymaster gex``: gamma of the options around a price at a minute, under each rule, with walls, zero gamma and what was left out."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, print_json, print_line, require, text_table
from engine.errors import NoData
from engine.vocab import NS, root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

EVERY, AROUND = 5, 40


def gex(
    *,
    symbol: Annotated[str, Parameter(help="A root, of which the selected contract is taken (ES), or a contract (ESZ5).")],
    date: Annotated[str, Parameter(help="Session date, YYYY-MM-DD.")],
    time: Annotated[str | None, Parameter(help="New York time, HH:MM; the session's last minute where not given.")] = None,
    rule: Annotated[
        Literal["naive", "flow", "hybrid"],
        Parameter(help="Who is assumed to hold what: dealers hold calls and owe puts, flow alone, both."),
    ] = "hybrid",
    scope: Annotated[Literal["0dte", "week", "all"], Parameter(help="Expiries that count.")] = "all",
    lake: LakeDir = Path("lake"),
    json: JsonFlag = False,
) -> None:
    """Print what hedgers of the options would trade around the price, as it was known at a minute, and what was left out.

    The unit is ES contracts (contracts of the root) a point of the future: positive is sold as price rises, negative bought.

    Examples
    --------
    ::

        spymaster gex --symbol ES --date 2025-09-03 --time 10:30
        spymaster gex --symbol ESU5 --date 2025-09-03 --rule naive --scope 0dte --json
    """
    from engine.lake.store import Lake

    try:
        day, clock = dt.date.fromisoformat(date), None if time is None else dt.time.fromisoformat(time)
    except ValueError:
        require(False, f"--date {date} --time {time}: expected YYYY-MM-DD and HH:MM")
    place = Lake(lake)
    found = gamma_at(place, contract_of(place, symbol, day), day, clock, rule, scope)
    if json:
        print_json(found)
        return
    unit = f"{root_of(found['symbol']).code} contracts a point"
    print_line(
        f"{found['symbol']} {date} {found['time']} New York, future {found['future']:.2f}, expiries {scope}, open interest {found['oi']}"
    )
    print_line(f"unit: {unit}; rule {rule}; the sign is an assumption: " + ", ".join(f"{r} {g:+,.0f}" for r, g in found["rules"].items()))
    if found["disagree"]:
        print_line("the rules disagree on the sign of gamma at the price")
    for level in found["levels"]:
        price = "none near" if level["price"] is None else f"{level['price']:,.2f}" + (" +-3" if level["level_id"] == "zero_gamma" else "")
        print_line(f"{level['level_id']} ({level['rule']}): {price}")
    from rich.console import Console

    table = text_table(("price", "calls", "puts", "flow of calls", "flow of puts", rule), ())
    for row in found["profile"]:
        values = (row["call_gamma"], row["put_gamma"], row["call_flow_gamma"], row["put_flow_gamma"], row["gamma"])
        table.add_row(f"{row['price']:,.0f}", *(f"{v:,.1f}" for v in values))
    Console().print(table)
    dropped = "; ".join(f"{why}: {n:,}" for why, n in found["left_out"].items()) or "nothing"
    print_line(f"{found['contracts_used']:,} contracts used, {found['contracts_dropped']:,} without a volatility; left out: {dropped}")


def contract_of(lake: Lake, symbol: str, date: dt.date) -> str:
    """The contract itself, or of a root the one that the selection map has on a date, without a map the only one. Raises NoData."""
    from engine.lake.catalog import PROFILE
    from engine.pipeline import is_root
    from engine.selection import route

    there = sorted(s for s, d in lake.partitions(PROFILE) if d == date and symbol in (s, root_of(s).code))
    if is_root(symbol) and there and (len(there) > 1 or lake.selection_path().is_file()):
        chosen, left = route(lake, symbol, [date])
        if left:
            raise NoData(f"{symbol} {date}: {left[date]}; expected a date that the map has, or a contract such as {there[0]}")
        there = [s for s, _ in chosen if s in there]
    if not there:
        known = ", ".join(str(d) for d in sorted({d for s, d in lake.partitions(PROFILE) if symbol in (s, root_of(s).code)})[-3:]) or "none"
        raise NoData(
            f"{symbol} {date}: expected options of that session, found none (last with options: {known}); with their raw files in place "
            f"`{lake.session_command(symbol, date)}` makes them (docs/GAMMA.md)"
        )
    return there[0]


def gamma_at(lake: Lake, symbol: str, date: dt.date, time: dt.time | None, rule: str, scope: str) -> dict[str, Any]:
    """What `gex` prints: gamma by price, rule and part at the last minute that was known by `time`, levels, and what was left out."""
    import numpy as np
    import polars as pl

    from engine.lake.catalog import CHAIN, MARKS, OPTION_LEVELS, PROFILE
    from engine.options.profile import PARTS, RULES
    from engine.options.reading import rules_disagree
    from engine.sessions import clock_text, session_windows, to_ns

    profile = lake.read(PROFILE, symbol, date).filter(pl.col("scope") == scope)
    until = profile["minute_ts_ns"].max() if time is None else to_ns(date, time)
    known = profile.filter(pl.col("minute_ts_ns") <= until)
    if not known.height:
        first = profile["minute_ts_ns"].min()
        begins = f"the first minute with marks is {clock_text(int(first))}" if first is not None else "the session has no marks"  # type: ignore[arg-type]
        raise NoData(f"{symbol} {date} {time}: expected a minute with marks by then, found none: {begins} New York")
    minute = int(known["minute_ts_ns"].max())  # type: ignore[arg-type]
    now = known.filter(pl.col("minute_ts_ns") == minute).sort("price")
    sums = {r: now.select(sum((pl.col(p) * w for p, w in zip(PARTS, weights)), pl.lit(0.0))).to_series() for r, weights in RULES.items()}
    future = float(lake.read(MARKS, symbol, date, ("minute_ts_ns", "f_mid"), pl.col("minute_ts_ns") == minute)["f_mid"][0])
    at = int(np.argmin(np.abs(now["price"].to_numpy() - future)))
    shown = now.with_columns(sums[rule].alias("gamma")).filter(
        ((pl.col("price") % EVERY) == 0) & ((pl.col("price") - future).abs() <= AROUND)
    )
    left_out: dict[str, int] = {}
    for key in (CHAIN, MARKS, PROFILE):
        left_out |= lake.notes(key, symbol, date).get("left_out", {})
    at_price = {r: round(float(g[at]), 3) for r, g in sums.items()}
    oi_ns = now["oi_as_of_ts_ns"][0]
    windows = session_windows(date, lake.manifest(PROFILE, symbol, date).lineage.profile or "rth", root_of(symbol))
    return {
        "symbol": symbol, "date": date.isoformat(), "time": clock_text(minute, date), "scope": scope, "rule": rule, "future": future,
        "oi": "of none yet" if oi_ns is None else f"known at {clock_text(int(oi_ns), date)}", "rules": at_price,
        "disagree": rules_disagree(at_price),
        "levels": _levels(lake.read(OPTION_LEVELS, symbol, date), min(minute + 60 * NS, windows.ladder_end_ns - 1), scope, rule),
        "profile": shown.select("price", *PARTS, "gamma").to_dicts(),
        "contracts_used": int(now["contracts_used"][0]), "contracts_dropped": int(now["contracts_dropped"][0]), "left_out": left_out,
    }  # fmt: skip


def _levels(steps: pl.DataFrame, at: int, scope: str, rule: str) -> list[dict[str, Any]]:
    """The walls, and the zero of gamma under a rule, at an instant: what a minute made holds from the minute's end on."""
    import polars as pl

    now = steps.filter(
        (pl.col("scope") == scope) & (pl.col("start_ts_ns") <= at) & (pl.col("end_ts_ns") > at) & pl.col("rule").is_in(["oi", rule])
    )
    price = dict(now.sort("start_ts_ns").select("level_id", "price").iter_rows())
    return [
        {"level_id": i, "rule": rule if i == "zero_gamma" else "open interest", "price": price.get(i)}
        for i in ("call_wall", "put_wall", "zero_gamma")
    ]
