"""How often each level is touched, broken, rejected."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from engine.lake.catalog import TRIGGERS
from workbench.data import open_lake
from workbench.research.asked import Progress, Watched, market, nothing, stamp


def hit_rates(root: str, horizon: str, contract: str | None = None, progress: Progress = nothing) -> pl.DataFrame:
    """`engine.retrieval.hit_rates.hit_rates` of the contract's market in the lake (of the only one where None).

    Raises
    ------
    NoData
        Where the lake has no gold, with the command that makes it.
    """
    with Watched(progress) as watched:
        return _hit_rates(root, horizon, market(contract), stamp(root, TRIGGERS), watched)


@lru_cache(maxsize=8)
def _hit_rates(root: str, horizon: str, of: str | None, mark: str, watched: Watched) -> pl.DataFrame:
    from engine.retrieval.alike import one_market, same_knobs
    from engine.retrieval.gold import sessions_in, until_decided
    from engine.retrieval.hit_rates import NEEDED
    from engine.retrieval.hit_rates import hit_rates as rates
    from engine.retrieval.params import HORIZONS

    lake = open_lake(root)
    columns = list(dict.fromkeys([*NEEDED, "window_end_ts_ns", *(f"outcome_{h}" for h in HORIZONS)]))
    sessions = sessions_in(lake, TRIGGERS, of)
    one_market(lake, sessions, of)
    same_knobs(lake, sessions)
    parts = []
    for i, (symbol, date) in enumerate(sessions):
        parts.append(until_decided(lake, symbol, date, lake.read(TRIGGERS, symbol, date, columns)))
        watched.tell(i + 1, len(sessions), str(date))
    return rates(pl.concat(parts), horizon)
