"""Tasks for worker processes: a picklable spec in, a small receipt back, never data."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, replace
from typing import Literal

from engine.errors import NoData
from engine.lake.store import Lake
from engine.params import RunParams
from engine.stages import gold, options, silver
from engine.stages.base import Stage, build, is_there_to_make, why_stale
from engine.stages.bronze import build_bronze, why_stale_bronze
from engine.stages.option_bronze import OptionDay, build_options, why_stale_options
from engine.stages.raw import RawDay

Status = Literal["made", "current", "empty", "failed"]
Group = Literal["silver", "triggers", "signals", "options"]

SILVER = (*silver.STAGES[:2], *options.STAGES, *silver.STAGES[2:])
"""What is made of options reads the tape, and gives some of the levels."""

GROUPS: dict[Group, tuple[Stage, ...]] = {
    "silver": SILVER,
    "triggers": gold.TRIGGER_STAGES,
    "signals": gold.SIGNAL_STAGES,
}
"""Stages that one task runs in order; a group starts when the previous one is done for all sessions."""


def stages_of(group: Group) -> tuple[Stage, ...]:
    """Stages of a group; ``options`` are those of silver that are made of options, alone."""
    return options.STAGES if group == "options" else GROUPS[group]


STAGES = tuple(stage for stages in GROUPS.values() for stage in stages)
"""All stages after bronze."""

MESSAGE_BYTES = 600


@dataclass(frozen=True)
class TaskSpec:
    """A UTC date of raw records to convert (`raw`, `symbols`; of options `options`), or a group of stages of a contract's session
    (`symbols`, `profile`).
    """

    lake: str
    date: dt.date
    symbols: tuple[str, ...]
    raw: RawDay | None = None
    options: OptionDay | None = None
    profile: str = ""
    params: str = "{}"
    overwrite: bool = False
    group: Group = "silver"

    @property
    def name(self) -> str:
        """Name of the task in progress bars and reports."""
        if self.options is not None:
            return f"bronze {self.options.root} options {self.options.table} {self.date}"
        symbols = self.symbols[0] if len(self.symbols) == 1 else f"{len(self.symbols)} contracts"
        return f"{'bronze' if self.raw else self.group} {symbols} {self.date}"


@dataclass(frozen=True)
class Receipt:
    """Result of a task; under 1 KB when pickled, with a failure beside it under 2.

    beside: the failure of what may be missing (`Stage.optional`), without which the task went on
    """

    name: str
    status: Status
    rows: int = 0
    made: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    message: str = ""
    beside: Receipt | None = None


def _clip(text: str) -> str:
    data = text.encode()
    return text if len(data) <= MESSAGE_BYTES else data[: MESSAGE_BYTES - 3].decode(errors="ignore") + "..."


def failed(name: str, error: BaseException, stage: str = "", seconds: float = 0.0) -> Receipt:
    """The receipt of a task that raised `error`."""
    return Receipt(name, "failed", seconds=seconds, error=type(error).__name__, message=_clip(f"{stage}: {error}" if stage else str(error)))


def is_current(spec: TaskSpec) -> bool:
    """Whether all outputs of the task are current; reads manifests only."""
    if spec.overwrite:
        return False
    lake = Lake(spec.lake)
    if spec.raw is not None:
        return all(why_stale_bronze(lake, s, spec.raw) is None for s in spec.symbols)
    if spec.options is not None:
        return why_stale_options(lake, spec.options) is None
    params = RunParams.model_validate_json(spec.params)
    of = (spec.symbols[0], spec.date, spec.profile, params)
    return all(why_stale(lake, stage, *of) is None for stage in stages_of(spec.group) if is_there_to_make(lake, stage, *of))


def run_partition(spec: TaskSpec) -> Receipt:
    """Run a task and return its receipt; outputs that are current are skipped, so running it again after a crash is safe.
    Errors become receipts and are not retried, since the same input would fail again.
    """
    started = time.perf_counter()
    lake = Lake(spec.lake)
    stage_name = ""
    rows = 0
    made: list[str] = []
    beside: Receipt | None = None
    try:
        if spec.raw is not None:
            written = build_bronze(lake, spec.raw, spec.symbols, overwrite=spec.overwrite)
            if written is not None:
                rows, made = written, ["bronze"]
        elif spec.options is not None:
            written = build_options(lake, spec.options, overwrite=spec.overwrite)
            if written is not None:
                rows, made = written, ["bronze"]
        else:
            params = RunParams.model_validate_json(spec.params)
            for stage in stages_of(spec.group):
                stage_name = stage.name
                # What is made of options stands one on the other: after a failure the later ones would be made of old ones.
                if stage.optional and beside is not None:
                    continue
                try:
                    if not is_there_to_make(lake, stage, spec.symbols[0], spec.date, spec.profile, params):
                        continue
                    written = build(lake, stage, spec.symbols[0], spec.date, spec.profile, params, overwrite=spec.overwrite)
                except Exception as e:
                    if not stage.optional or spec.group == "options":
                        raise
                    beside = failed(f"options {spec.symbols[0]} {spec.date}", e, stage.name)
                    continue
                if written is not None:
                    rows += written
                    made.append(stage.name)
    except NoData as e:
        seconds = time.perf_counter() - started
        return Receipt(spec.name, "empty", rows, tuple(made), seconds, type(e).__name__, _clip(str(e)), beside)
    except Exception as e:  # also bugs: the receipt names the partition, and other tasks go on
        return replace(failed(spec.name, e, stage_name, time.perf_counter() - started), rows=rows, made=tuple(made), beside=beside)
    return Receipt(spec.name, "made" if made else "current", rows, tuple(made), time.perf_counter() - started, beside=beside)
