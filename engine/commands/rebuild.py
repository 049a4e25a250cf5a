"""``spymaster rebuild``: all layers from the raw files to signals, with audit and index."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, parse_dates
from engine.commands.run import Cluster, LevelIds, Overwrite, Run, SessionName, Symbol, Workers, processes_of, read_params
from engine.errors import EngineError, NoData, PartitionCorrupt, PartitionMissing, RawMissing, StaleIndex
from engine.sessions import profile_text

if TYPE_CHECKING:
    from engine.lake.store import Lake
    from engine.params import AuditParams
    from engine.retrieval.audit_store import Choice


def rebuild(
    *,
    symbol: Symbol = "ES",
    dates: Annotated[str | None, Parameter(help="A:B inclusive, A, or A,B,C; all that have a raw file where not given.")] = None,
    session: SessionName = "rth",
    lake: LakeDir = Path("lake"),
    name: Annotated[str, Parameter(help="The index's folder under indexes/ (MBO_INDEX_DIR overrides that).")] = "default",
    workers: Workers = None,
    cluster: Cluster = None,
    overwrite: Overwrite = False,
    level_ids: LevelIds = None,
    params: Annotated[Path | None, Parameter(help="JSON of parameters by group, as for `spymaster run`.")] = None,
    audit: Annotated[bool, Parameter(help="Audit first, unless the stored one is current: it chooses the index's representation.")] = True,
    json: JsonFlag = False,
) -> None:
    """Bring everything up to date: bronze, silver, trigger vectors, audit, seed statistics and index, signals and pressure stream.

    The index is of the representation that wins in the audit; its manifest says which, and by what figures.

    Current partitions are skipped, so a rebuild that was stopped goes on where it was. MBO_SELECTION_PATH, MBO_INDEX_DIR and LEVEL_ID
    override the paths of the selection map and the indexes, and the levels.

    Examples
    --------
    ::

        spymaster rebuild
        spymaster rebuild --symbol ES --dates 2025-10-01:2026-01-08 --workers 8
    """
    from engine.lake.store import Lake
    from engine.retrieval.index import check_market

    place = Lake(lake.resolve() if cluster else lake)  # other machines have a working folder of their own
    wanted, must = (_all_dates(place, symbol), False) if dates is None else parse_dates(dates, None, None)
    many = processes_of(workers, cluster)
    given = read_params(params, level_ids)
    job = _Rebuild(
        place, symbol, wanted, must, profile_text(session), given, many, overwrite, json, cluster=cluster or "", name=name, audit=audit
    )
    check_market(job.lake, job.name, job.market)
    with place.lock():
        job.go("all")


def _all_dates(lake: Lake, symbol: str) -> list[dt.date]:
    """All dates from the first to the last raw file; those without data are left out later."""
    from engine.stages.raw import raw_index
    from engine.vocab import root_of

    found = raw_index(lake, root_of(symbol).code).dates(symbol)
    if not found:
        command = f"`spymaster add FILE --lake {quote(str(lake.root))}`"
        raise RawMissing(f"{symbol} in {lake.root}: expected raw files, found none; {command} puts one there")
    # A morning session has the UTC date of its file, an evening session that date or the one before.
    first, last = found[0] - dt.timedelta(days=1), found[-1]
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


@dataclass(eq=False)
class _Rebuild(Run):
    """A run of all layers, with audit and index before the signals."""

    name: str = "default"
    audit: bool = True

    @property
    def market(self) -> str:
        from engine.vocab import root_of

        return root_of(self.symbol).code

    def before(self, group: str) -> None:
        if group == "signals":
            if self.audit:
                self._audit()
            self._index()
        super().before(group)

    def _audit(self) -> None:
        from engine.commands.retrieval import audit_data, audit_processes, progress_bars, progress_step
        from engine.params import AuditParams
        from engine.retrieval.audit import audit as run_audit
        from engine.retrieval.audit_store import audit_inputs, write_audit
        from engine.retrieval.walk_forward import REPRESENTATIONS
        from engine.simulate.market_audit import told

        params = AuditParams(retrieval=self.params.retrieval.model_copy(update={"kinds": ("arm",)}))
        try:
            verdict = None if self.overwrite else self._current_audit(params)
            if verdict is not None:
                self.say(f"audit: current; {verdict}")
                return
            made = audit_inputs(self.lake, self.market)
            with progress_bars() as bars, audit_processes(self.workers) as executor:
                data = told(self.lake.root, audit_data(self.lake.root, self.market, REPRESENTATIONS, bars), params)
                found = run_audit(data, params, progress=progress_step(bars, "audit"), executor=executor)
        except NoData as e:
            self.say(f"no audit: {e}")
            return
        except EngineError as e:
            self.fail("audit", e)
            return
        write_audit(self.lake.root, found, made)
        self.say(f"made the audit: {found.verdict}")

    def _current_audit(self, params: AuditParams) -> str | None:
        """Verdict of the stored audit; None where there is none, or it is stale or partial."""
        from engine.retrieval.audit_store import read_audit, why_audit_partial, why_audit_unusable
        from engine.retrieval.dataset import representation_of

        try:
            report = read_audit(self.lake.root)[1]
        except (PartitionMissing, PartitionCorrupt):
            return None
        made = representation_of(self.lake, self.market)
        if report["stale"] or why_audit_partial(report) or why_audit_unusable(report, self.lake, self.market, made, params.retrieval):
            return None
        return str(report["verdict"])

    def _index(self) -> None:
        from engine.commands.retrieval import progress_bars, progress_step
        from engine.retrieval.audit_store import audit_choice
        from engine.retrieval.dataset import representation_of
        from engine.retrieval.index import build_index

        try:
            choice, said = audit_choice(self.lake, self.market, representation_of(self.lake, self.market), self.params.retrieval)
            why = "--overwrite" if self.overwrite else self._stale_index(choice, said)
            if not why:
                self.say(f"index {self.name}: current")
                return
            with progress_bars() as bars:
                params, step = self.params.retrieval, progress_step(bars, "index")
                made = build_index(self.lake, name=self.name, symbol=self.market, params=params, choice=choice, progress=step)
        except NoData as e:
            self.say(f"no index: {e}")
        except EngineError as e:
            self.fail(f"index {self.name}", e)
        else:
            self.say(f"made the index {self.name}: {sum(p['count'] for p in made['pools'].values()):,} events, {len(made['pools'])} pools")
            self.say(f"representation: {made['chosen']['said']}")
            if said != made["chosen"]["said"]:
                self.say(said)

    def _stale_index(self, choice: Choice | None, said: str) -> str:
        """Why the index must be rebuilt, empty where it is current; `choice` and `said` are from `audit_choice`."""
        from engine.retrieval.index import check_index, read_index_manifest

        try:
            manifest = read_index_manifest(self.lake, self.name)
            check_index(self.lake, manifest, self.params.retrieval)
        except (PartitionMissing, StaleIndex) as e:
            return str(e)
        claimed = manifest["chosen"]["audit"]
        if choice is None:
            # An index must not name an audit that is not in this lake.
            return f"it was chosen by the audit {claimed[:12]}; {said}" if claimed else ""
        return f"the audit {str(choice.audit)[:12]} chose {choice.representation}" if claimed != choice.audit else ""
