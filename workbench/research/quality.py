"""What the lake's data are worth."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from engine.errors import NoData
from engine.lake.catalog import LADDER
from engine.vocab import root_of
from workbench.data import open_lake
from workbench.research.asked import Progress, market, nothing


@dataclass(frozen=True, eq=False)
class Quality:
    """Sessions and their gaps (`engine.lake.quality.quality_table`), the selection map, and partitions that are stale."""

    sessions: pl.DataFrame
    gaps: pl.DataFrame
    selection: pl.DataFrame
    stale: pl.DataFrame


def quality(root: str, contract: str | None = None, progress: Progress = nothing) -> Quality:
    """What the data of the contract's market are worth: every session's book, the selection map, and what is stale.

    Raises
    ------
    NoData
        Where the market has no session at all.
    """
    from engine.lake.quality import quality_table
    from engine.pipeline import lake_state
    from engine.selection import read_selection, selection_frame

    lake = open_lake(root)
    of = market(contract) or next((root_of(s).code for s, _ in sorted(lake.partitions(LADDER))), None)
    sessions, gaps = quality_table(lake, progress, symbol=of)
    if of is None or not sessions.height:
        where = f"{LADDER} of {of or 'any market'} in {root}"
        raise NoData(f"{where}: expected sessions, found none; `spymaster run --lake {root} --layer all` makes them")
    progress(0, 0, "what is stale")
    states = [s for s in lake_state(lake) if s.stale and root_of(s.symbol).code == of]
    schema = {"dataset": pl.String, "symbol": pl.String, "session_date": pl.Date, "stale": pl.String}
    stale = pl.DataFrame([(s.dataset, s.symbol, s.date, s.stale) for s in states], schema=schema, orient="row")
    of_market = [r for r in read_selection(lake, of) if root_of(r["dominant_symbol"]).code == of]
    return Quality(sessions, gaps, selection_frame(of_market), stale)
