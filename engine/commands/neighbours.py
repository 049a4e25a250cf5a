"""``spymaster neighbours``: what similar setups did."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, parse_dates, print_json
from engine.errors import SessionError

if TYPE_CHECKING:
    from engine.lake.store import Lake
    from engine.retrieval.events import Events
    from engine.retrieval.neighbours import Neighbours

Mode = Literal["walk_forward", "all"]
Pool = Literal["all", "kind", "level"]
Horizon = Literal["h0", "h1", "h2", "h3", "h4", "h5", "h6"]
SHOWN = ("session_date", "level_id", "approach", "similarity", "weight", "outcome_class")


def neighbours(
    *,
    lake: LakeDir = Path("lake"),
    trigger: Annotated[str | None, Parameter(help="A trigger_id of gold; or else a moment:")] = None,
    symbol: Annotated[str | None, Parameter(help="Contract (ESZ5) of the moment.")] = None,
    date: Annotated[str | None, Parameter(help="Session date of the moment, YYYY-MM-DD.")] = None,
    time: Annotated[str | None, Parameter(help="New York time of the moment, HH:MM or HH:MM:SS.")] = None,
    level: Annotated[str | None, Parameter(help="Level of the moment, such as pm_high.")] = None,
    price: Annotated[float | None, Parameter(help="A price of your own instead of a level.")] = None,
    approach: Annotated[Literal["up", "down"] | None, Parameter(help="From below or from above; by default where price stands.")] = None,
    set: Annotated[list[str] | None, Parameter(name="--set", negative=(), help="Make a setup up: dimension=value, raw; repeat.")] = None,
    mode: Annotated[Mode, Parameter(help="Sessions before the query's, or all others (from the index).")] = "walk_forward",
    pool: Annotated[Pool | None, Parameter(help="Candidates: all levels, the level's kind, or itself alone.")] = None,
    horizon: Annotated[Horizon | None, Parameter(help="Outcome horizon; h1 is 2 minutes.")] = None,
    name: Annotated[str, Parameter(help="The index, in mode all.")] = "default",
    show: Annotated[int, Parameter(help="Neighbours to list.")] = 10,
    json: JsonFlag = False,
) -> None:
    """Find the setups of other sessions most like one, and what they did, beside what setups at that distance and hour usually do.

    Examples
    --------
    A trigger, a moment, and a price of your own::

        spymaster neighbours --trigger 2025-11-04/ESZ5/pm_high/approach_up/arm/1762268405000000000
        spymaster neighbours --symbol ESZ5 --date 2025-11-04 --time 10:31:05 --level pm_high
        spymaster neighbours --symbol ESZ5 --date 2025-11-04 --time 10:31:05 --price 6800.25 --mode all

    The same moment with another order flow ahead::

        spymaster neighbours --symbol ESZ5 --date 2025-11-04 --time 10:31:05 --level pm_high --set b7_ahead_pull_add_log=1.5
    """
    from engine.lake.store import Lake
    from engine.retrieval.edit import KEPT, edited
    from engine.retrieval.gold import knobs_of
    from engine.retrieval.neighbours import neighbours as find
    from engine.retrieval.params import RetrievalParams

    if show < 0:
        raise SessionError(f"--show {show}: expected 0 or more")
    if price is not None and not 0 < price < float("inf"):
        raise SessionError(f"--price {price}: expected a finite price above 0")
    place = Lake(lake)
    query = _query(place, trigger, symbol, date, time, level, price, approach)
    kept = None
    if set:
        # The far bound of a distance is the one that the session's gold was made with.
        session, contract = query.frame["session_date"][0], query.frame["trigger_id"][0].split("/")[1]
        query = edited(query, _values(set), knobs_of(place, contract, session).features)
        kept = f"made up: {', '.join(set)}; as it was for the reference: {', '.join(KEPT)}"
    params = RetrievalParams(horizon=horizon) if horizon else None
    found = find(place, query, mode=mode, params=params, pool=pool, name=name)
    if json:
        rows = found.found.head(show).select(*SHOWN, "trigger_id", "window_end_ts_ns").to_dicts()
        facts = {"counts": found.counts, "sessions": found.sessions, "mode": mode, "made_up": kept}
        print_json({"forecast": found.forecast.to_dicts()[0], **facts, "neighbours": rows})
        return
    if kept:
        from rich.console import Console

        Console().print(kept, highlight=False, markup=False, soft_wrap=True)
    _print(found, show)


def _query(
    lake: Lake,
    trigger: str | None,
    symbol: str | None,
    date: str | None,
    time: str | None,
    level: str | None,
    price: float | None,
    approach: str | None,
) -> Events:
    from engine.retrieval.gold import representation_of
    from engine.retrieval.moment import moment_events
    from engine.retrieval.neighbours import trigger_query
    from engine.vocab import root_of

    if trigger is not None:
        return trigger_query(lake, trigger)
    if symbol is None or date is None or time is None or (level is None) == (price is None):
        raise SessionError("expected --trigger, or --symbol, --date, --time and one of --level and --price")
    day = parse_dates(date, None, None)[0][0]
    try:
        clock = dt.time.fromisoformat(time)
    except ValueError:
        raise SessionError(f"--time {time!r}: expected HH:MM or HH:MM:SS, New York time") from None
    level_id = level if level is not None else f"price:{price:g}"
    side = None if approach is None else f"approach_{approach}"
    made = representation_of(lake, root_of(symbol).code)
    return moment_events(lake, symbol, day, level_id, new_york_ns(day, clock), price=price, approach=side, representation=made)


def new_york_ns(session: dt.date, clock: dt.time) -> int:
    """A New York clock time on a session's date, as ns since the epoch."""
    from zoneinfo import ZoneInfo

    return int(dt.datetime.combine(session, clock, ZoneInfo("America/New_York")).timestamp()) * 1_000_000_000


def _values(items: list[str]) -> dict[str, float]:
    out = {}
    for item in items:
        name, equals, value = item.partition("=")
        try:
            out[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise SessionError(f"--set {item!r}: expected dimension=value, such as b7_ahead_pull_add_log=1.5")
    return out


def _print(found: Neighbours, show: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    f: dict[str, Any] = found.forecast.to_dicts()[0]

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    if f["nothing_comparable"]:
        # A histogram of too few, or of setups that are nothing like this one, would be read as if it meant something.
        say(f"nothing comparable: {f['reason']} (n_eff {f['n_eff']:.0f}, best similarity {f['best_similarity'] or 0:.2f})")
        say(f"setups at this distance and hour: break {f['pi_break']:.0%}, reject {f['pi_reject']:.0%}, chop {f['pi_chop']:.0%}")
        return
    counts = ", ".join(f"{v} {k}" for k, v in found.counts.items())
    say(f"{f['neighbours']} neighbours ({counts}) of {f['distinct_days']} days, n_eff {f['n_eff']:.0f}, of {found.sessions} sessions")
    table = Table(box=None)
    for head in ("", "forecast", "usually"):
        table.add_column(head, justify="left" if head == "" else "right")
    for c in ("break", "reject", "chop"):
        table.add_row(c, f"{f[f'p_{c}']:.1%}", f"{f[f'pi_{c}']:.1%}")
    if f["p_touch"] is not None:
        table.add_row("touch", f"{f['p_touch']:.1%}", f"{f['pi_touch']:.1%}")
    console.print(table)
    say(f"{f['c_top1']}: 80% interval {f['interval_low']:.1%} to {f['interval_high']:.1%}")
    listed = Table(box=None)
    for head in SHOWN:
        listed.add_column(head)
    for r in found.found.head(show).iter_rows(named=True):
        listed.add_row(*(f"{r[c]:.3f}" if isinstance(r[c], float) else str(r[c]) for c in SHOWN))
    console.print(listed)
