"""Planning runs: which stages in which order, the tasks for a layer and dates, and which partitions are stale."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from engine.errors import EngineError, NoData, PartitionCorrupt, PartitionMissing, RawMissing, UnknownDataset, UnknownRoot
from engine.lake.catalog import BRONZE_MBO, OPTION_TABLES, dataset, datasets
from engine.lake.store import Lake
from engine.params import RunParams
from engine.sessions import profile_named, session_windows, utc_dates
from engine.stages import bronze, option_bronze
from engine.stages.base import StageIO, params_hash, why_stale
from engine.stages.raw import RawIndex, raw_index
from engine.stages.task import GROUPS, STAGES, Group, Receipt, TaskSpec, failed, is_current, stages_of
from engine.vocab import known_roots, root_of

LAYERS = ("bronze", "silver", "gold", "all")
PRODUCT_TYPES = ("future_mbo", "future_option")


@dataclass(frozen=True)
class Step:
    """One stage of a pipeline: its name and what it declares."""

    name: str
    io: StageIO


def build_pipeline(product_type: str, layer: str) -> tuple[Step, ...]:
    """The stages of a layer (one of `LAYERS`), each after those that make its inputs; UnknownDataset without any."""
    steps = [
        Step(bronze.STAGE, StageIO(("raw",), (BRONZE_MBO,))), Step(option_bronze.STAGE, StageIO(("raw",), tuple(OPTION_TABLES.values()))),
        *(Step(s.name, s.io) for s in STAGES),
    ]  # fmt: skip
    steps = [s for s in steps if dataset(s.io.outputs[0]).product_type == product_type]
    if layer != "all":
        steps = [s for s in steps if dataset(s.io.outputs[0]).layer == layer]
    if not steps:
        raise UnknownDataset(
            f"no stage makes layer {layer!r} of product type {product_type!r}: expected --product-type {' or '.join(PRODUCT_TYPES)} "
            f"and --layer {', '.join(LAYERS[:-1])} or all"
        )
    ordered: list[Step] = []
    while steps:
        waiting = {o for s in steps for o in s.io.outputs}
        ready = [s for s in steps if not waiting.intersection(s.io.inputs)]
        if not ready:
            raise UnknownDataset(
                f"stages {', '.join(s.name for s in steps)} depend on each other's outputs in a circle; change their StageIO"
            )
        ordered += ready
        steps = [s for s in steps if s not in ready]
    return tuple(ordered)


def groups_of(layer: str) -> tuple[Group, ...]:
    """Groups of stages of a layer after bronze, in order; all groups for ``all``."""
    return tuple(g for g, stages in GROUPS.items() if layer in ("all", stages[0].layer))


@dataclass
class Plan:
    """Tasks to run, the number of current ones, failures of planning, and warnings for the user."""

    todo: list[TaskSpec] = field(default_factory=list)
    current: int = 0
    problems: list[Receipt] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def take(self, spec: TaskSpec) -> None:
        """Add a task to `todo`, or count it where it is current."""
        if is_current(spec):
            self.current += 1
        else:
            self.todo.append(spec)


def check_symbol(symbol: str) -> str:
    """`symbol` if it is a root or an outright contract, else UnknownRoot."""
    root_of(symbol)
    return symbol


def is_root(symbol: str) -> bool:
    """Whether `symbol` names a root, not a contract."""
    return symbol in known_roots()


def plan_bronze(lake: Lake, symbol: str, dates: list[dt.date], *, overwrite: bool, must: bool, index: RawIndex | None = None) -> Plan:
    """Plan of the tasks that bring bronze of `symbol` (a root or a contract) on UTC `dates` up to date.
    `overwrite` rebuilds also what is current; `must` makes a date without a raw file a failure: not so in a range, whose weekends have
    none.
    """
    plan = Plan()
    index = index or raw_index(lake, root_of(symbol).code)
    # The date of an unreadable file is unknown, so it is only a warning here; `RawIndex.of` mentions it for dates without a file.
    plan.warnings += [f"passed over a raw file that cannot be read: {error}" for error in index.bad.values()]
    for date in dates:
        try:
            files = index.of(symbol, date)
        except EngineError as e:
            if must or not isinstance(e, RawMissing):
                plan.problems.append(failed(f"bronze {symbol} {date}", e))
            else:
                plan.left_out[f"bronze {symbol} {date}"] = str(e)
        else:
            for raw, symbols in files:
                plan.take(TaskSpec(str(lake.root), date, symbols, raw=raw, overwrite=overwrite))
    return plan


def plan_options(lake: Lake, symbol: str, dates: list[dt.date], *, overwrite: bool, only_missing: bool = False) -> Plan:
    """Plan of the tasks that bring bronze of the options of a root, or of a contract's root, on UTC `dates` up to date; empty where the
    lake has no raw files of options. `only_missing` leaves what is there.
    """
    plan = Plan()
    root = root_of(symbol).code
    for table, key in OPTION_TABLES.items():
        # Whatever is wrong with options is a failure of its own: futures go on without them.
        bad: dict[Path, EngineError] = {}
        try:
            days = option_bronze.option_days(lake, root, table, bad)
        except EngineError as e:
            plan.problems.append(failed(f"bronze {root} options {table}", e))
            continue
        plan.warnings += [f"passed over a raw file of options that cannot be read: {error}" for error in bad.values()]
        there = {d for _, d in lake.partitions(key, root)} if only_missing else set()
        for date in (d for d in dates if d in days and d not in there):
            spec = TaskSpec(str(lake.root), date, (root,), options=days[date], overwrite=overwrite)
            try:
                plan.take(spec)
            except (EngineError, OSError) as e:
                plan.problems.append(failed(spec.name, e))
    return plan


def option_dates(dates: list[dt.date], symbol: str, profile: str) -> list[dt.date]:
    """UTC dates whose options the sessions `dates` read: those of their trading days, from the evening before."""
    found: set[dt.date] = set()
    for date in dates:
        try:
            windows = session_windows(date, profile, root_of(symbol))
        except NoData:
            continue  # `plan_sessions` says why
        found.update(utc_dates(windows.globex_start_ns, windows.ladder_end_ns))
    return sorted(found)


def plan_sessions(
    lake: Lake, sessions: list[tuple[str, dt.date]], profile: str, params: RunParams, *, group: Group = "silver", overwrite: bool,
    must: bool,
) -> Plan:  # fmt: skip
    """Plan of the tasks of a group of stages for (contract, session date) pairs.
    Pairs without a required input of the group's first stage are left out, or failures where `must`.
    """
    profile_named(profile)
    if lake.profile() is not None:
        lake.claim_profile(profile)
    plan = Plan()
    text = params.model_dump_json()
    for symbol, date in sessions:
        spec = TaskSpec(str(lake.root), date, (symbol,), profile=profile, params=text, overwrite=overwrite, group=group)
        try:
            windows = session_windows(date, profile, root_of(symbol))
        except NoData as e:
            plan.left_out[spec.name] = str(e)
            continue
        needed = next(r for r in stages_of(group)[0].refs(windows, params) if r.required)
        owner = dataset(needed.key).owner(symbol)
        try:
            lake.manifest(needed.key, owner, needed.date)
        except PartitionMissing as e:
            if must or isinstance(e, PartitionCorrupt):
                plan.problems.append(failed(spec.name, e))
            else:
                plan.left_out[spec.name] = f"no {dataset(needed.key).layer} of {owner} on {needed.date}"
        else:
            plan.take(spec)
    return plan


def bronze_dates(lake: Lake, symbol: str, dates: list[dt.date], profile: str, params: RunParams, index: RawIndex) -> list[dt.date]:
    """UTC dates with a raw file whose bronze the sessions `dates` read.
    Where a session's levels exist, made by the same code and parameters, their lineage has those dates; else they come from the trading
    calendar, which takes seconds to load.
    """
    have = set(index.dates(symbol))
    wanted: set[dt.date] = set()
    levels = next(s for s in STAGES if s.name == "levels")
    key = levels.io.outputs[0]
    values = levels.values(params)
    same = (params_hash(values), profile)
    symbols = [s for s, _ in lake.tables(key)] if is_root(symbol) else [symbol]
    for date in dates:
        try:
            windows = session_windows(date, profile, root_of(symbol))
        except NoData:
            continue  # `plan_sessions` says why
        if not have.intersection(utc_dates(windows.ladder_start_ns, windows.ladder_end_ns)):
            continue
        recorded: set[dt.date] = set()
        for s in symbols:
            try:
                manifest = lake.find_manifest(key, s, date)
            except PartitionCorrupt:
                continue
            line = manifest.lineage if manifest is not None else None
            if (
                line is not None
                and (line.params, line.profile) == same
                and line.code in levels.code_versions(s, profile, values, line.inputs)
            ):
                recorded |= {dt.date.fromisoformat(k.rsplit("/", 1)[1]) for k in line.inputs if k.startswith(BRONZE_MBO)}
        wanted |= recorded or {r.date for stage in STAGES for r in stage.refs(windows, params) if r.key == BRONZE_MBO}
    return sorted(wanted & have)


@dataclass(frozen=True)
class PartitionState:
    """A partition as `spymaster lake` shows it; `stale` is the reason why it is stale or `corrupt`, empty where it is current."""

    dataset: str
    symbol: str
    date: dt.date
    rows: int
    size: int
    stale: str
    notes: dict[str, object]
    corrupt: bool = False


def lake_state(lake: Lake, params: RunParams | None = None, *, verify: bool = False) -> list[PartitionState]:
    """State of every partition of the lake; parameters are compared where given, `verify` hashes every file."""
    stage_of = {o: s for s in STAGES for o in s.io.outputs}
    indexes = {root: raw_index(lake, root, keep=False) for root in lake.raw_roots()}
    option_days = cache(lambda root, table: option_bronze.option_days(lake, root, table))  # a folder is listed once
    out = []
    for key in datasets():
        for symbol, date in lake.partitions(key):
            rows = size = 0
            corrupt = False
            notes: dict[str, object] = {}
            try:
                manifest = (lake.verify if verify else lake.manifest)(key, symbol, date)
                rows, size, notes = manifest.rows, sum(f.size for f in manifest.files), manifest.notes
                if key == BRONZE_MBO:
                    stale = _bronze_stale(lake, symbol, date, indexes)
                elif key in OPTION_TABLES.values():
                    day = option_days(symbol, dataset(key).table).get(date)
                    # As of futures: without its raw file it counts as current.
                    stale = "" if day is None else option_bronze.why_stale_options(lake, day, keep=False) or ""
                else:
                    stale = why_stale(lake, stage_of[key], symbol, date, lake.profile() or "", params) or ""
            except EngineError as e:
                stale, corrupt = str(e), isinstance(e, PartitionCorrupt)
            out.append(PartitionState(key, symbol, date, rows, size, stale, notes, corrupt))
    return out


def _bronze_stale(lake: Lake, symbol: str, date: dt.date, indexes: dict[str, RawIndex]) -> str:
    try:
        root = root_of(symbol).code
        files = indexes[root].of(symbol, date)
    except (RawMissing, KeyError, UnknownRoot):
        # Bronze without its raw file counts as current: raw files may have been moved to another disk.
        return ""
    return bronze.why_stale_bronze(lake, symbol, files[0][0], keep=False) or ""
