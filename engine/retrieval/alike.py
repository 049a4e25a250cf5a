"""What may be pooled: sessions of one market whose gold was made with the same knobs; and until when a touch could still be told."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import ContractError, SessionError
from engine.lake.catalog import BRONZE_MBO, TRIGGERS
from engine.lake.manifest import canonical
from engine.params import FeatureParams, SetupParams
from engine.retrieval.mend import gold_command
from engine.vocab import NS, root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

Sessions = Sequence[tuple[str, dt.date]]


def one_market(lake: Lake, sessions: Sessions, symbol: str | None) -> None:
    """Refuse to pool several markets; contracts of one root pool.

    Raises
    ------
    SessionError
        Where `symbol` is None and the sessions are of several roots.
    """
    roots = sorted({root_of(s).code for s, _ in sessions})
    if symbol is None and len(roots) > 1:
        raise SessionError(
            f"{lake.root}: expected the sessions of one market, found {', '.join(roots)}: a tick is another thing in each, and their "
            f"setups are no likes; `--symbol {roots[0]}` takes one"
        )


def refuse_mixed(ids: pl.Series, what: str) -> None:
    """Refuse rows of several markets in one table; which market a row is of stands in its ``{date}/{symbol}/...`` id.

    Raises
    ------
    ContractError
        Naming `what` was asked, and the markets.
    """
    roots = sorted({root_of(s).code for s in ids.str.extract(r"^\d{4}-\d{2}-\d{2}/([^/]+)/").drop_nulls().unique().to_list()})
    if len(roots) > 1:
        raise ContractError(
            f"{what}: expected rows of one market, found {', '.join(roots)}: a tick is another thing in each; read those of one, as "
            f"`gold_events(lake, {roots[0]!r})` or `--symbol {roots[0]}` does"
        )


def same_knobs(lake: Lake, sessions: Sessions) -> None:
    """Refuse to pool gold that was made with several sets of knobs; sessions without gold are passed over.

    Raises
    ------
    ContractError
        Naming a session that differs from most, the knob, both values, and the command that makes them alike.
    """
    found = [(s, d, m.lineage.values) for s, d in sessions if (m := lake.find_manifest(TRIGGERS, s, d)) is not None]
    kinds = Counter(canonical(v) for _, _, v in found)
    if len(kinds) < 2:
        return
    usual = kinds.most_common(1)[0][0]
    known = next(v for _, _, v in found if canonical(v) == usual)
    odd = [(s, d, v) for s, d, v in found if canonical(v) != usual]
    symbol, date, values = odd[0]
    mine, others = _flat(values), _flat(known)
    knob = next(k for k in sorted(mine.keys() | others.keys()) if mine.get(k) != others.get(k))
    more = f" and {len(odd) - 1} more sessions" if len(odd) > 1 else ""
    like = next((s, d) for s, d, v in found if canonical(v) == usual)
    raise ContractError(
        f"{TRIGGERS} in {lake.root}: expected the same knobs in all {len(found)} sessions, found {knob} = {mine.get(knob)} in {symbol} "
        f"{date}{more} and {others.get(knob)} in the others: their outcomes are of different kinds; "
        f"`{gold_command(lake, like, [d for _, d, _ in found])}` makes them as most are"
    )


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for k, v in values.items():
        out |= _flat(v, f"{before}{k}.") if isinstance(v, dict) else {f"{before}{k}": v}
    return out


def decided_until_ns(lake: Lake, symbol: str, date: dt.date, setups: SetupParams, features: FeatureParams) -> int:
    """The last window end at which it can be told whether an untouched episode stays so: a touch may come for that long after it.

    Of the triggers after it only the touched ones would ever be known, and every one of those says yes.

    Each episode is decided `wait_windows` after its own last window, which no trigger knows while the episode lasts; so the cut is one
    length for all, by the trigger's time alone, and never by what became of it: a cut by the episode's end would sort by outcome, for a
    touch ends the episode. What it leaves in are triggers whose episode goes on into the last two minutes and stays untouched; those say
    nothing. They are few: none of 2,526 armed ones in 20 simulated sessions, whose latest touch came 117 s after its trigger. Nothing is
    known too early by it: a forecast is made from sessions before the query's, less an embargo, whose data had all ended by then.

    Parameters
    ----------
    symbol, date
        A session whose triggers are in the lake or can be made; where its bronze is gone, its data are taken to reach its end.
    setups, features
        The knobs it was made with.
    """
    from engine.features.events import data_end_ns, file_span
    from engine.sessions import session_windows, utc_dates

    w = session_windows(date, lake.profile() or "rth")
    days = [d for d in utc_dates(w.ladder_start_ns, w.ladder_end_ns) if lake.find_manifest(BRONZE_MBO, symbol, d) is not None]
    spans = [file_span(lake.notes(BRONZE_MBO, symbol, d), d) for d in days]
    end = data_end_ns(spans, w.ladder_start_ns, w.ladder_end_ns) if spans else w.ladder_end_ns
    return end - max(setups.wait_windows, setups.gap_windows) * features.window_s * NS
