"""Fits that are kept: models of the history up to a session, made by a run ahead of the question (``indexes/fit-{market}-{date}/``).

Everything is fitted again when history has grown by `engine.retrieval.model.GROWTH`; sessions that came since are placed by that fit as
queries are, and may be neighbours. So a session that is added costs a placing or one fit, and all fits of a lake together a small multiple
of the last one.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import NoData, PartitionMissing, StaleIndex
from engine.lake.writer import recover
from engine.params import RetrievalParams
from engine.retrieval.dataset import VECTORS, events_by_group, poolable_sessions, read_triggers
from engine.retrieval.forecast import before_embargo, candidates
from engine.retrieval.index import build_index, check_index, index_folder, index_root, open_index, open_touch, read_index_manifest
from engine.retrieval.model import Fits, extended, fitted_sessions

if TYPE_CHECKING:
    from engine.lake.store import Lake
    from engine.retrieval.dataset import Sessions


def kept_name(market: str, through: dt.date) -> str:
    """Name of the fit on a market's sessions up to `through`, as an index."""
    return f"fit-{market.lower()}-{through}"


def fit_days(days: Sequence[dt.date], least: int) -> list[dt.date]:
    """The last sessions of the histories that are fitted on, of a lake whose sessions are `days`, rising."""
    counts = dict.fromkeys(fitted_sessions(n, least) for n in range(least, len(days) + 1))
    return [days[n - 1] for n in counts]


@dataclass(frozen=True)
class FitTask:
    """One fit to make: of a market's sessions up to `through`, with parameters as JSON; picklable."""

    lake: str
    market: str
    through: dt.date
    params: str

    @property
    def name(self) -> str:
        """The fit's name."""
        return kept_name(self.market, self.through)


def fits_to_make(lake: Lake, market: str, params: RetrievalParams) -> list[FitTask]:
    """The fits of a market's gold that are missing or stale; those of no use any more are removed. The caller holds the lake's lock.

    Raises as `engine.retrieval.dataset.poolable_sessions`.
    """
    days = sorted({d for _, d in poolable_sessions(lake, VECTORS, market)})
    wanted = {kept_name(market, day): day for day in fit_days(days, params.min_sessions)}
    if index_root(lake).is_dir():
        recover(index_root(lake))
        for name in kept_names(lake, market) - wanted.keys():
            shutil.rmtree(index_folder(lake, name))
    text = params.model_dump_json()
    return [FitTask(str(lake.root), market, day, text) for name, day in wanted.items() if not is_kept(lake, name, params)]


@dataclass(frozen=True)
class FitMade:
    """What came of a `FitTask`: no `error` where it was made, else the error's type and words; `short` where its history is too short."""

    error: str = ""
    message: str = ""
    short: bool = False


def make_fit(task: FitTask) -> FitMade:
    """Make a fit. An error is part of what is returned: other fits, and the signals, go on without this one."""
    from engine.lake.store import Lake

    params = RetrievalParams.model_validate_json(task.params)
    try:
        build_index(Lake(task.lake), name=task.name, symbol=task.market, params=params, through=task.through)
    except Exception as e:  # also bugs: the run names the fit
        return FitMade(type(e).__name__, str(e), isinstance(e, NoData))
    return FitMade()


def kept_names(lake: Lake, market: str) -> set[str]:
    """Names of the fits of a market that are there, current or not."""
    form = re.compile(rf"fit-{re.escape(market.lower())}-\d{{4}}-\d\d-\d\d")
    root = index_root(lake)
    return {p.name for p in root.iterdir() if form.fullmatch(p.name)} if root.is_dir() else set()


def is_kept(lake: Lake, name: str, params: RetrievalParams) -> bool:
    """Whether a fit is there and current."""
    try:
        check_index(lake, read_index_manifest(lake, name), params)
    except (PartitionMissing, StaleIndex, NoData):
        return False
    return True


def kept_fits(lake: Lake, market: str, group: str, sessions: Sessions, params: RetrievalParams) -> Fits | None:
    """Models of the classes and of the touch for queries after the `sessions` of a market's gold, by the fit that is kept of the first of
    them; None where none is, or it is not current, or of other parameters. Only the sessions after it are read.
    """
    if len({d for _, d in sessions}) < params.min_sessions:
        return None
    name = name_for(market, sessions, params)
    through = dt.date.fromisoformat(name[-10:])
    try:
        model = open_index(lake, name, stem=group, params=params)
        touch = open_touch(lake, name, stem=group)
    except (PartitionMissing, StaleIndex, NoData):
        return None
    later = [(s, d) for s, d in sessions if d > through]
    if not later:
        return model, touch
    found = events_by_group(read_triggers(lake, later, params.kinds)).get(group)
    if found is None or any(not set(m.names) <= set(found.names) for m in (model, touch) if m is not None):
        return None  # gold of another representation, or sessions without wall features
    return extended((model, touch), candidates(found, params))


def name_for(market: str, sessions: Sessions, params: RetrievalParams) -> str:
    """Name of the fit for queries after the `sessions` of a market, of which there are as many as a forecast needs."""
    days = sorted({d for _, d in sessions})
    return kept_name(market, days[fitted_sessions(len(days), params.min_sessions) - 1])


def before_session(sessions: Sessions, date: dt.date, embargo: int) -> list[tuple[str, dt.date]]:
    """The sessions before `date`, and before the embargo of so many of them."""
    end = before_embargo(as_days(sessions), np.datetime64(date), embargo).astype(object)
    return sorted(((s, d) for s, d in sessions if d < end), key=lambda p: (p[1], p[0]))


def as_days(sessions: Sessions) -> np.ndarray:
    """The sessions' dates, rising, each once."""
    return np.array(sorted({d for _, d in sessions}), "datetime64[D]")
