"""What the lake's data are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from engine.errors import NoData
from engine.lake.catalog import LADDER, datasets
from engine.vocab import root_of
from workbench.data import open_lake
from workbench.research.asked import Progress, market, nothing

if TYPE_CHECKING:
    from engine.pipeline import PartitionState


@dataclass(frozen=True, eq=False)
class Quality:
    """What is known of a market's data.

    Attributes
    ----------
    sessions, gaps
        `engine.lake.quality.quality_table`.
    selection
        The selection map.
    stale
        ``dataset, symbol, session_date, stale``: partitions that the next run would make again.
    datasets
        ``dataset, partitions, rows, columns, holds``: every dataset of the catalog that has a partition of the market.
    """

    sessions: pl.DataFrame
    gaps: pl.DataFrame
    selection: pl.DataFrame
    stale: pl.DataFrame
    datasets: pl.DataFrame


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
    held = [s for s in lake_state(lake) if root_of(s.symbol).code == of]
    states = [s for s in held if s.stale]
    schema = {"dataset": pl.String, "symbol": pl.String, "session_date": pl.Date, "stale": pl.String}
    stale = pl.DataFrame([(s.dataset, s.symbol, s.date, s.stale) for s in states], schema=schema, orient="row")
    of_market = [r for r in read_selection(lake, of) if root_of(r["dominant_symbol"]).code == of]
    return Quality(sessions, gaps, selection_frame(of_market), stale, _datasets(held))


def _datasets(held: list[PartitionState]) -> pl.DataFrame:
    """A row per dataset of the catalog that has a partition among `held`."""
    rows = []
    for key, dataset in datasets().items():
        mine = [s.rows for s in held if s.dataset == key]
        if mine:
            contract = dataset.contract()
            rows.append((key, len(mine), sum(mine), len(contract.fields), contract.doc))
    schema = {"dataset": pl.String, "partitions": pl.Int64, "rows": pl.Int64, "columns": pl.Int64, "holds": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")
