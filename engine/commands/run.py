"""``spymaster run`` and ``select``: the layers made from the raw files, and the selection map."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, parse_dates, print_json, print_line, processes, require, text_table
from engine.errors import EngineError, NoData, PartitionMissing, RawMissing, RunFailed, SessionError
from engine.sessions import profile_text
from engine.vocab import root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake
    from engine.params import RunParams
    from engine.pipeline import Plan
    from engine.runner import Machines, Named
    from engine.stages.raw import RawIndex
    from engine.stages.task import Receipt, TaskSpec

S = TypeVar("S", bound="Named")
R = TypeVar("R")

SessionName = Annotated[
    str,
    Parameter(
        help="Session profile, of which a lake holds one: rth (the morning), afternoon, day, globex_open, or a file such as own.yaml."
    ),
]
Symbol = Annotated[str, Parameter(help="A root (ES) or a contract (ESH4).")]
Workers = Annotated[int | None, Parameter(help="Processes; by default one per core.")]
Cluster = Annotated[
    str | None, Parameter(help="Address of a Dask scheduler, tcp://HOST:8786, whose workers run the tasks; local starts one here.")
]
Overwrite = Annotated[bool, Parameter(negative=(), help="Rebuild everything, also what is current.")]
LevelIds = Annotated[str | None, Parameter(env_var="LEVEL_ID", help="Levels, comma separated; price:6800.25 is one.")]


def run(
    *,
    symbol: Symbol,
    dates: Annotated[str | None, Parameter(help="A:B inclusive, A, or A,B,C; YYYY-MM-DD. UTC for bronze, else New York.")] = None,
    start_date: Annotated[str | None, Parameter(help="First date, instead of --dates.")] = None,
    end_date: Annotated[str | None, Parameter(help="Last date, with --start-date.")] = None,
    layer: Annotated[
        Literal["bronze", "silver", "gold", "all"],
        Parameter(help="What to make; silver: missing bronze too; all: what it reads too."),
    ] = "all",
    product_type: Annotated[str, Parameter(help="Product type; future_option: bronze and stages of options alone.")] = "future_mbo",
    session: SessionName = "rth",
    lake: LakeDir = Path("lake"),
    workers: Workers = None,
    cluster: Cluster = None,
    overwrite: Overwrite = False,
    level_ids: LevelIds = None,
    params: Annotated[Path | None, Parameter(help="JSON of parameters by group, such as replay, levels, setups, retrieval.")] = None,
    json: JsonFlag = False,
) -> None:
    """Make bronze, silver and gold from the raw files in the lake; what is current is left as it is.

    Examples
    --------
    Everything for one contract and one session date::

        spymaster run --symbol ESH4 --dates 2023-12-25 --session globex_open

    Silver of the selected contracts of a range of dates, on eight processes::

        spymaster run --layer silver --symbol ES --dates 2025-10-01:2026-01-08 --workers 8

    The same on an existing Dask cluster, whose machines have the lake's folder (docs/SCALE.md)::

        spymaster run --symbol ES --dates 2025-10-01:2026-01-08 --cluster tcp://10.0.0.5:8786
    """
    from engine.lake.store import Lake
    from engine.pipeline import build_pipeline, check_symbol

    wanted, must = parse_dates(dates, start_date, end_date)
    check_symbol(symbol)
    build_pipeline(product_type, layer)
    profile = profile_text(session)
    given, many = read_params(params, level_ids), processes_of(workers, cluster)
    place = Lake(lake.resolve() if cluster else lake)  # other machines have a working folder of their own
    job = Run(place, symbol, wanted, must, profile, given, many, overwrite, json, product_type, cluster or "")
    with job.lake.lock():
        job.go(layer)


def read_params(path: Path | None, level_ids: str | None) -> RunParams:
    """Parameters of a JSON file, with the levels `level_ids` where given.

    Raises `SessionError`: names the file, the parameter, what was expected and what was found.
    """
    import json as jsonlib

    from pydantic import ValidationError

    from engine.params import RunParams

    values = {}
    try:
        if path is not None:
            values = jsonlib.loads(path.read_text(encoding="utf-8"))
        if level_ids:
            values = {**values, "levels": {**values.get("levels", {}), "level_ids": level_ids.replace(",", " ").split()}}
        return RunParams.model_validate(values)
    except (OSError, ValueError, AttributeError, ValidationError) as e:
        example = {"replay": {"rest_ns": 500000000}}
        raise SessionError(f"--params {path}: expected a JSON object of parameters such as {example}: {e}") from e


def processes_of(workers: int | None, cluster: str | None) -> int:
    """The number of processes of ``--workers``; raises `SessionError` where there are those of an existing cluster in their place."""
    require(workers is None or cluster in (None, "local"), f"--workers {workers}: --cluster {cluster} has its own; give one of the two")
    return processes(workers)


FEW_SESSIONS = 5
"""A run of so many sessions says of all of them what their data are worth, a larger one of those that it made."""


@dataclass(eq=False)
class Run:
    """One run of the pipeline: plan, execute, report."""

    lake: Lake
    symbol: str
    dates: list[dt.date]
    must: bool
    profile: str
    params: RunParams
    workers: int
    overwrite: bool
    json: bool
    product_type: str = "future_mbo"
    cluster: str = ""
    receipts: list[Receipt] = field(default_factory=list, init=False)
    left_out: dict[str, str] = field(default_factory=dict, init=False)
    current: int = field(default=0, init=False)
    current_sessions: int = field(default=0, init=False)
    said: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        from rich.console import Console

        from engine.runner import this_machine

        self.console: Console = Console(stderr=True)
        self.machines: Machines = this_machine(self.workers)

    def say(self, text: str) -> None:
        """Print a line, and add it to the report."""
        self.said.append(text)
        print_line(text, self.console)

    @contextmanager
    def on_machines(self) -> Iterator[None]:
        """Context manager in which tasks run on the cluster that was asked for, or in processes that successive groups share."""
        from engine.runner import reuse_workers

        if not self.cluster:
            with reuse_workers():
                yield
            return
        from engine.cluster import cluster

        with cluster(self.cluster, self.lake, self.workers, self.say) as self.machines:
            self.say(f"{self.machines.workers} workers of the cluster {self.cluster} run what this one has: Python, packages, code, lake")
            yield

    def go(self, layer: str) -> None:
        """Run the layer and report; RunFailed where a task failed."""
        started = time.perf_counter()
        for line in self.lake.clean():
            self.say(f"cleaned up after a killed run: {line}")
        try:
            with self.on_machines():
                if layer in ("bronze", "silver", "all"):
                    self._bronze(layer)
                if layer != "bronze":
                    self._layers(layer)
        except KeyboardInterrupt:
            self.lake.clean()
            self.say(f"stopped; {len(self.receipts)} tasks are done and kept, nothing is half-written. The same command goes on from here")
            raise
        self._report(time.perf_counter() - started)

    def _bronze(self, layer: str) -> None:
        """Bring bronze up to date; for silver alone make only what has none, of the raw files that are there."""
        from engine.pipeline import option_dates, plan_options

        if self.product_type == "future_mbo":
            self._bronze_of_futures(layer)
        silver = layer == "silver"
        options = self.dates if layer == "bronze" else option_dates(self.dates, self.symbol, self.profile)
        plan = plan_options(self.lake, self.symbol, options, overwrite=self.overwrite and not silver, only_missing=silver)
        self._work(plan, "bronze")

    def _bronze_of_futures(self, layer: str) -> None:
        from engine.lake.catalog import BRONZE_MBO
        from engine.pipeline import bronze_dates, plan_bronze
        from engine.stages.raw import condition_lines, raw_index
        from engine.vocab import root_of

        index = raw_index(self.lake, root_of(self.symbol).code)
        dates, must, overwrite = self.dates, self.must, self.overwrite
        if layer != "bronze":
            if self.must and layer == "all":
                self._drop_dates_without_raw(index)
            dates, must = bronze_dates(self.lake, self.symbol, self.dates, self.profile, self.params, index), False
        if layer == "silver":
            there = {d for s, d in self.lake.partitions(BRONZE_MBO) if self.symbol in (s, root_of(s).code)}
            dates, overwrite = [d for d in dates if d not in there], False
        for line in condition_lines(self.lake, set(dates) & set(index.dates(self.symbol))):
            self.say(line)
        plan = plan_bronze(self.lake, self.symbol, dates, overwrite=overwrite, must=must, index=index)
        self._work(plan, "bronze")

    def _drop_dates_without_raw(self, index: RawIndex) -> None:
        """Fail dates that have neither raw nor bronze with an error about the raw file, and drop them from the run."""
        from engine.lake.catalog import BRONZE_MBO
        from engine.sessions import session_windows, utc_dates
        from engine.stages.task import failed

        have = {*index.dates(self.symbol), *(d for _, d in self.lake.partitions(BRONZE_MBO))}
        for date in list(self.dates):
            try:
                w = session_windows(date, self.profile, root_of(self.symbol))
            except NoData:
                continue  # `plan_sessions` says why
            needed = utc_dates(w.ladder_start_ns, w.ladder_end_ns)
            if not have.intersection(needed):
                try:
                    index.of(self.symbol, needed[0])
                except RawMissing as e:
                    self.receipts.append(failed(f"silver {self.symbol} {date}", e))
                    self.dates.remove(date)

    def _sessions(self, layer: str) -> list[tuple[str, dt.date]]:
        from engine.params import SelectionParams
        from engine.pipeline import is_root
        from engine.selection import make_selection, route

        if not self.dates:
            return []
        if not is_root(self.symbol):
            return [(self.symbol, d) for d in self.dates]
        if self.product_type == "future_option" and not self._has_tape():
            return []
        if layer == "all" and not self.lake.selection_path().is_file():
            frame = make_selection(self.lake, self.symbol, self.profile, SelectionParams())
            again = f"`spymaster select --lake {quote(str(self.lake.root))} --symbol {self.symbol} --session {self.profile}` rebuilds it"
            self.say(f"made the selection map {self.lake.selection_path()}: {frame.height} session dates; {again}")
        chosen, left = route(self.lake, self.symbol, self.dates)
        self.left_out.update({f"silver {self.symbol} {d}": why for d, why in left.items()})
        return chosen

    def _has_tape(self) -> bool:
        """Whether a session of the root's futures is made, whose contract and prices options need; says what makes one where none is."""
        from engine.lake.catalog import TAPE

        code = root_of(self.symbol).code
        if any(root_of(s).code == code for s, _ in self.lake.partitions(TAPE)):
            return True
        again = self.lake.session_command(self.symbol, f"{self.dates[0]}:{self.dates[-1]}")
        self.say(
            f"no session of {code} futures is made, whose contract and prices chain and marks need; with their raw files in place `{again}`"
        )
        return False

    def _options(self, sessions: list[tuple[str, dt.date]]) -> None:
        """Make of options what they give of sessions; those without a tape have no marks."""
        from engine.lake.catalog import TAPE
        from engine.pipeline import plan_sessions

        for symbol, date in sessions:
            if not self.lake.has(TAPE, symbol, date):
                self.left_out[f"marks {symbol} {date}"] = (
                    f"no tape of {symbol} on {date}; `{self.lake.session_command(symbol, date)}` makes it"
                )
        plan = plan_sessions(self.lake, sessions, self.profile, self.params, group="options", overwrite=self.overwrite, must=self.must)
        self._work(plan, "options")

    def _layers(self, layer: str) -> None:
        from engine.pipeline import groups_of, plan_sessions

        sessions = self._sessions(layer)
        if self.product_type == "future_option":
            self._options(sessions)
            return
        for group in groups_of(layer):
            self.before(group)
            # Failures of silver are reported once; gold is made for the sessions that have silver.
            must = self.must and (group == "silver" or layer == "gold")
            plan = plan_sessions(self.lake, sessions, self.profile, self.params, group=group, overwrite=self.overwrite, must=must)
            if layer == "all" and group != "silver":
                plan.left_out.clear()
            self._work(plan, group)
            if group == "silver":
                self._tell_trust(sessions)

    def _tell_trust(self, sessions: list[tuple[str, dt.date]]) -> None:
        """Say which sessions have seconds without a valid book, and why: all that were made, and those of a run of a few."""
        from engine.lake.trust import trust_record, trust_words

        made = {r.name for r in self.receipts if r.status == "made"}
        for symbol, date in sessions:
            if f"silver {symbol} {date}" not in made and len(sessions) > FEW_SESSIONS:
                continue
            try:
                record = trust_record(self.lake, symbol, date)
            except PartitionMissing:
                continue  # its own failure says why
            words = trust_words(record, date)
            if record is not None and words.lines:
                self.say(f"  {symbol} {date}: {words.text}")

    def before(self, group: str) -> None:
        """What is made before a group of stages: before the signals the fits that they, and later questions, are answered by."""
        if group == "signals":
            self._fits()

    def _fits(self) -> None:
        from engine.retrieval.kept import FitMade, FitTask, fits_to_make, make_fit
        from engine.stages.task import Receipt

        try:
            todo = fits_to_make(self.lake, root_of(self.symbol).code, self.params.retrieval)
        except NoData:
            return  # no triggers: the stages say so
        except EngineError as e:
            self.fail("fits", e)
            return
        made: list[str] = []
        short: dict[str, str] = {}

        def done(task: FitTask, found: FitMade) -> None:
            if found.short:
                short[task.name] = found.message.partition(";")[0]
            elif found.error:
                words = f"{found.message}; until it is made, questions of that history are fitted when they are asked"
                self.receipts.append(Receipt(f"fit {task.name}", "failed", error=found.error, message=words))
            else:
                made.append(task.name)

        def poison(task: FitTask, deaths: int) -> None:
            done(task, FitMade("WorkerDied", self.machines.died))

        self._run_tasks(make_fit, todo, done, poison)
        if made:
            self.say(f"made {len(made)} fits that answers walking forward are kept in, the last of sessions up to {max(made)[-10:]}")
        if short:
            self.say(f"{len(short)} histories are too short for a fit, the last of sessions up to {max(short)[-10:]}: {short[max(short)]}")

    def fail(self, name: str, error: EngineError) -> None:
        """Count something as failed, by name, that other work goes on without: the report names it and the command fails at its end."""
        from engine.stages.task import failed

        self.receipts.append(failed(name, error))

    def _work(self, plan: Plan, what: str) -> None:
        self.current += plan.current
        self.current_sessions += plan.current if what != "bronze" else 0
        self.receipts += plan.problems
        self.left_out.update(plan.left_out)
        for warning in plan.warnings:
            self.say(warning)
        if not plan.todo:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        from engine.stages.task import Receipt, run_partition

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            bar = progress.add_task(what, total=len(plan.todo))

            def done(spec: TaskSpec, receipt: Receipt) -> None:
                progress.advance(bar)
                for found in (receipt, receipt.beside):
                    if found is not None:
                        self.receipts.append(found)
                        print_line(_line(found), self.console)

            def poison(spec: TaskSpec, deaths: int) -> None:
                done(spec, Receipt(spec.name, "failed", error="WorkerDied", message=self.machines.died))

            self._run_tasks(run_partition, plan.todo, done, poison)

    def _run_tasks(
        self, function: Callable[[S], R], specs: Iterable[S], done: Callable[[S, R], None], poison: Callable[[S, int], None]
    ) -> None:
        from engine.runner import run_tasks

        m = self.machines
        run_tasks(
            function, specs, workers=m.workers, make_executor=m.make_executor, max_deaths=m.max_deaths, watch=m.watch, on_result=done,
            on_poison=poison,
        )  # fmt: skip

    def _report(self, seconds: float) -> None:
        made, empty, bad = ([r for r in self.receipts if r.status == status] for status in ("made", "empty", "failed"))
        current = self.current + sum(r.status == "current" for r in self.receipts)
        if self.json:
            receipts = [[asdict(r) for r in of] for of in (made, empty, bad)]
            print_json({
                "lake": str(self.lake.root), "made": receipts[0], "current": current, "empty": receipts[1], "failed": receipts[2],
                "left_out": self.left_out, "said": self.said, "seconds": round(seconds, 3),
            })  # fmt: skip
        why = next(iter(self.left_out.values()), "")
        left = f", {len(self.left_out)} left out ({why})" if self.left_out else ""
        tail = f", {len(empty)} without data" if empty else ""
        print_line(f"{len(made)} made, {current} current, {len(bad)} failed{tail}{left}; {seconds:.1f} s", self.console)
        if bad:
            raise RunFailed(f"{len(bad)} of {len(bad) + len(made) + current} tasks failed:\n" + "\n".join(_line(r) for r in bad))
        # Bronze of a date is no session: one that its file does not touch is no success.
        of_sessions = [r for r in self.receipts if r.status in ("made", "current") and not r.name.startswith("bronze ")]
        if (not made and not current) or (empty and not of_sessions and not self.current_sessions):
            reason = empty[0].message if empty else why or f"no raw file and no bronze in {self.lake.root}"
            raise SessionError(f"{self.symbol} {self.dates[0]}..{self.dates[-1]}: no data on any of these dates: {reason}")


def _line(receipt: Receipt) -> str:
    if receipt.status in ("failed", "empty"):
        return f"  {receipt.status} {receipt.name}: {receipt.error}: {receipt.message}"
    return f"  {receipt.status} {receipt.name}: {receipt.rows:,} rows, {receipt.seconds:.1f} s"


# ----------------------------------------------------------------------------
# ``spymaster select``: the map from a root and a date to a contract


def select(
    *,
    symbol: Annotated[str, Parameter(help="A root, such as ES.")],
    lake: LakeDir = Path("lake"),
    session: SessionName = "rth",
    dominance: Annotated[float, Parameter(help="Least share of all trades the chosen contract must have.")] = 0.80,
    trim_days: Annotated[int, Parameter(help="Days dropped at both ends of a contract's run.")] = 2,
    trim_longer_than: Annotated[int, Parameter(help="Only runs longer than this are trimmed, days.")] = 4,
    liquidity_floor: Annotated[float, Parameter(help="Least share of the run's median trade count.")] = 0.50,
    json: JsonFlag = False,
) -> None:
    """Make the selection map from bronze: per session date the contract with most trades, and whether the date is used.

    Examples
    --------
    ::

        spymaster run --layer bronze --symbol ES --dates 2025-10-01:2026-01-08
        spymaster select --symbol ES
    """
    from engine.lake.store import Lake
    from engine.params import SelectionParams
    from engine.pipeline import is_root
    from engine.selection import make_selection

    require(is_root(symbol), f"--symbol {symbol}: expected a root such as ES; a contract needs no selection map")
    try:
        params = SelectionParams(
            dominance=dominance, trim_days=trim_days, trim_longer_than=trim_longer_than, liquidity_floor=liquidity_floor
        )
    except ValueError as e:
        raise SessionError(f"selection thresholds: {e}") from e
    place = Lake(lake)
    with place.lock():
        frame = make_selection(place, symbol, profile_text(session), params)
    rows = list(frame.iter_rows(named=True))
    if json:
        print_json({"path": str(place.selection_path()), "rows": rows})
        return
    from rich.console import Console

    table = text_table(("date", "contract", "share", "trades", "day of run", "of median", "used"), ("date", "contract", "used"))
    for r in rows:
        table.add_row(
            str(r["session_date"]), r["dominant_symbol"], f"{r['dominance_ratio']:.1%}", f"{r['trade_count_dominant']:,}",
            f"{r['run_pos'] + 1}/{r['run_len']}", f"{r['trade_count_ratio']:.0%}", "yes" if r["include_flag"] else "no",
        )  # fmt: skip
    Console().print(table)
    used = f"{sum(r['include_flag'] for r in rows)} of {len(rows)} session dates are used: {place.selection_path()}"
    Console().print(used, markup=False, soft_wrap=True)
