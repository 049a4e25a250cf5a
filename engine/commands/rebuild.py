"""``spymaster rebuild``: the whole sequence, from the raw files to signals, for all levels and both directions."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, parse_dates
from engine.commands.run import Run, read_params
from engine.errors import NoData, PartitionMissing, RawMissing, SessionError, StaleIndex

if TYPE_CHECKING:
    from engine.lake.store import Lake


def rebuild(
    *,
    symbol: Annotated[str, Parameter(help="A root (ES) or a contract (ESH4).")] = "ES",
    dates: Annotated[str | None, Parameter(help="A:B inclusive, A, or A,B,C; all that have a raw file where not given.")] = None,
    session: Annotated[Literal["rth", "globex_open"], Parameter(help="Session profile; a lake holds one.")] = "rth",
    lake: LakeDir = Path("lake"),
    name: Annotated[str, Parameter(help="The index's folder under indexes/ (MBO_INDEX_DIR overrides that).")] = "default",
    workers: Annotated[int | None, Parameter(help="Processes; by default one per core.")] = None,
    overwrite: Annotated[bool, Parameter(negative=(), help="Make everything anew, also what is current.")] = False,
    level_ids: Annotated[str | None, Parameter(env_var="LEVEL_ID", help="Levels, comma separated; price:6800.25 is one.")] = None,
    params: Annotated[Path | None, Parameter(help="JSON of knobs by group, as for `spymaster run`.")] = None,
    json: JsonFlag = False,
) -> None:
    """Bring everything up to date: bronze, silver, trigger vectors, seed statistics and index, signals and pressure stream.

    What is current is left as it is, so that a rebuild that was stopped goes on where it was. MBO_SELECTION_PATH, MBO_INDEX_DIR
    and LEVEL_ID override where the selection map and the indexes lie, and which levels are made.

    Examples
    --------
    ::

        spymaster rebuild
        spymaster rebuild --symbol ES --dates 2025-10-01:2026-01-08 --workers 8
    """
    from engine.lake.store import Lake

    place = Lake(lake)
    wanted, must = (_all_dates(place, symbol), False) if dates is None else parse_dates(dates, None, None)
    if workers is not None and workers < 1:
        raise SessionError(f"--workers {workers}: expected at least 1")
    knobs = read_params(params, level_ids)
    job = _Rebuild(place, symbol, wanted, must, session, knobs, workers or os.cpu_count() or 1, overwrite, json)
    job.name = name
    with place.lock():
        job.go("all")


def _all_dates(lake: Lake, symbol: str) -> list[dt.date]:
    """Every date from the first raw file's to the last's; those without data are left out later."""
    from engine.stages.raw import raw_index
    from engine.vocab import root_of

    found = raw_index(lake, root_of(symbol).code).dates(symbol)
    if not found:
        raise RawMissing(f"{symbol} in {lake.root}: expected raw files, found none; `spymaster add FILE --lake {lake.root}` puts one there")
    # A session of the morning lies on its file's UTC date, one of the evening on that or the date before.
    first, last = found[0] - dt.timedelta(days=1), found[-1]
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


class _Rebuild(Run):
    """A run of all layers that makes the index where the signals need it to stand."""

    name: str = "default"

    def before(self, group: str) -> None:
        """Make the index between the trigger vectors and the signals, unless it is current."""
        if group != "signals":
            return
        why = "--overwrite" if self.overwrite else self._stale_index()
        if not why:
            self.say(f"index {self.name}: current")
            return
        from engine.commands.audit import _bars, _step
        from engine.retrieval.index import build_index

        try:
            with _bars() as bars:
                made = build_index(self.lake, name=self.name, params=self.params.retrieval, progress=_step(bars, "index"))
        except NoData as e:
            self.say(f"no index: {e}")
        else:
            self.say(f"made the index {self.name}: {sum(p['count'] for p in made['pools'].values()):,} events, {len(made['pools'])} pools")

    def _stale_index(self) -> str:
        from engine.retrieval.open import check_index, read_index_manifest

        try:
            check_index(self.lake, read_index_manifest(self.lake, self.name), self.params.retrieval)
        except (PartitionMissing, StaleIndex) as e:
            return str(e)
        return ""
