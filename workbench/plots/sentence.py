"""The state of a level in the trader's words, made from the numbers that are on the screen and from nothing else."""

from __future__ import annotations

import polars as pl

from workbench.plots.axes import price_text, short_price_text
from workbench.plots.ladder import WALL_REACH

FROM = {"approach_up": "approach from below", "approach_down": "approach from above", "approach_none": "no approach"}


def ticks_text(n: int) -> str:
    """``1 tick away``, ``3 ticks away``, ``at the level``."""
    return "at the level" if n == 0 else f"{abs(n)} tick{'' if abs(n) == 1 else 's'} away"


def tests_text(before: int, *, coming: bool) -> str:
    """Which test of the level this is: ``3rd test`` while price comes to it, else ``tested twice``, ``not tested yet``."""
    if coming:
        n = before + 1
        end = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
        return f"{n}{end} test"
    return {0: "not tested yet", 1: "tested once", 2: "tested twice"}.get(before, f"tested {before} times")


def outpaced(rows: pl.DataFrame, k_ref: int, within: int, tick_size: float) -> str:
    """Which prices near the level see more long than short (or the reverse): the side that holds more of them is named.

    Parameters
    ----------
    rows : pl.DataFrame
        `workbench.plots.ladder.rows_at`.
    within : int
        Only rows this many ticks from the level.
    """
    # Tick and lead of each row, by the side that leads it; a few dozen rows are quicker as numbers than as a query.
    sides: dict[str, list[tuple[int, float]]] = {"long": [], "short": []}
    for tick, long, short in rows.select("tick", "long", "short").iter_rows():
        if abs(tick - k_ref) <= within and long != short:
            sides["long" if long > short else "short"].append((tick, abs(long - short)))
    if not any(sides.values()):
        return f"no flow within {within} ticks"
    # A tie in rows goes to the side whose rows carry more contracts.
    name = max(sides, key=lambda s: (len(sides[s]), sum(lead for _, lead in sides[s])))
    other = "short" if name == "long" else "long"
    best = sorted(tick for tick, _ in sorted(sides[name], key=lambda r: -r[1])[:3])
    prices = ", ".join(short_price_text(k, tick_size) for k in best)
    more = len(sides[name]) - len(best)
    return f"{name} outpaces {other} at {prices}" + (f" and {more} more" if more else "")


def wall(rows: pl.DataFrame, k_ref: int, within: int, approach: str, distance: int | None, tick_size: float) -> str:
    """The heaviest resting row that price has to go through: sells above on the way up, buys below on the way down.

    Of equally heavy ones it is the one nearest to the level, of those the lower.
    """
    up = approach == "approach_up" or (approach == "approach_none" and (distance or 0) <= 0)
    side, word = ("ask", "sells") if up else ("bid", "buys")
    ahead = [r for r in rows.iter_rows(named=True) if r["side"] == side and abs(r["tick"] - k_ref) <= within]
    if not ahead:
        return f"no resting {word} within {within} ticks"
    top = max(ahead, key=lambda r: (r["rest"], -abs(r["tick"] - k_ref), -r["tick"]))
    trend = "growing" if top["change"] > 0 else "shrinking" if top["change"] < 0 else "unchanged"
    text = f"at {short_price_text(int(top['tick']), tick_size)} resting {word} {top['rest']:,.0f} ({top['times']:.1f}x the median), {trend}"
    return text if top["wall"] else f"no wall ahead: the most is {text}"


def sentence(
    title: str,
    level_tick: int,
    rows: pl.DataFrame,
    *,
    approach: str | None,
    distance: int | None,
    near: int,
    far: int,
    tick_size: float,
    why: str = "",
    tests: int | None = None,
    confluent: list[str] | None = None,
) -> str:
    """One sentence, such as ``PM High 6800.00, approach from below, 3 ticks away: long outpaces short at 6799, 6800, 6801; at
    6802 resting sells 1,240 (4.1x the median), growing.``

    Parameters
    ----------
    approach, distance
        Of the window at the cursor; None where there is none (before the first trade, or the book not valid).
    near, far : int
        Outer bounds of the zones: flow is compared within `near`, the wall is looked for within `far`, at most
        `workbench.plots.ladder.WALL_REACH`.
    why : str
        What is said where there is no approach or distance.
    tests : int or None
        How often the level was touched before; None where that is not known.
    confluent : list of str
        Titles of the levels that stand by it.
    """
    head = f"{title} {price_text(level_tick, tick_size)}"
    if confluent:
        head += f", confluent with {' and '.join([', '.join(confluent[:-1]), confluent[-1]] if confluent[1:] else confluent)}"
    if tests is not None:
        head += f", {tests_text(tests, coming=approach not in (None, 'approach_none'))}"
    if approach is None or distance is None:
        return f"{head}: no reading, {why or 'there is none at this time'}."
    side = "" if distance == 0 else " below" if distance < 0 else " above"
    away = (
        ticks_text(distance)
        if distance == 0 or approach != "approach_none"
        else f"price {abs(distance)} tick{'s'[: abs(distance) != 1]}{side}"
    )
    flow = outpaced(rows, level_tick, near, tick_size)
    return f"{head}, {FROM[approach]}, {away}: {flow}; {wall(rows, level_tick, min(far, WALL_REACH), approach, distance, tick_size)}."
