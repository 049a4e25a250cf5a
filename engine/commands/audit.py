"""``spymaster audit``: are similar setups worth reading, and by how much?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, print_json
from engine.errors import LakeBusy, RunFailed, SessionError

if TYPE_CHECKING:
    from engine.retrieval.audit import AuditData, Report
    from engine.retrieval.params import AuditParams

WORTH_PROCESSES = 1000
Horizon = Literal["h0", "h1", "h2", "h3", "h4", "h5", "h6"]


def audit(
    *,
    lake: LakeDir = Path("lake"),
    symbol: Annotated[str | None, Parameter(help="A root or a contract; all where not given.")] = None,
    synthetic: Annotated[int | None, Parameter(help="Instead of a lake: so many events of a known law.")] = None,
    strength: Annotated[float, Parameter(help="With --synthetic: how much the paths know of the labels; 0 is nothing.")] = 1.0,
    seed: Annotated[int, Parameter(help="With --synthetic: seed of paths and labels.")] = 0,
    permute: Annotated[bool, Parameter(negative=(), help="Deal each day's outcomes out to another day: there must be no edge.")] = False,
    horizon: Annotated[Horizon | None, Parameter(help="Outcome horizon; usually h1, two minutes after the touch.")] = None,
    params: Annotated[Path | None, Parameter(help="JSON of knobs by group, as for `spymaster run`; `retrieval` is read.")] = None,
    only: Annotated[str | None, Parameter(help="Only these, comma separated: blocks_original, blocks, means, learned, lightgbm.")] = None,
    growth: Annotated[float, Parameter(help="Refit when history has grown by this share; 0 refits every session, slowly.")] = 0.15,
    keep: Annotated[bool, Parameter(help="Keep the result as a table in the lake, for the Research view.")] = True,
    diagram: Annotated[bool, Parameter(negative=(), help="Print the reliability diagram of the learned neighbours, too.")] = False,
    workers: Annotated[int | None, Parameter(help="Processes; by default one per core, or one for few events.")] = None,
    json: JsonFlag = False,
) -> None:
    """Walk forward by session and score neighbours against what setups at this distance, hour and volatility usually do.

    Everything is fitted on sessions before the day before the scored one; only armed episodes count, one event each.
    `no edge found` is a result, and comes with the number of episodes that an edge of the size found would need.

    The result is kept in the lake. One of --only some representations, or of another --growth, is printed and not kept where a whole one
    is: it chooses no representation.

    Examples
    --------
    A lake, and a market of known laws::

        spymaster audit --lake lake
        spymaster audit --synthetic 2000 --strength 1.0 --seed 3

    Nothing may be found where nothing is::

        spymaster audit --synthetic 2000 --strength 0
        spymaster audit --synthetic 2000 --permute --only learned --json | jq .verdict
    """
    from pydantic import ValidationError

    from engine.commands.run import read_params
    from engine.retrieval.audit import REPRESENTATIONS, AuditData
    from engine.retrieval.audit import audit as run_audit
    from engine.retrieval.params import AuditParams

    names = [n.strip() for n in only.split(",")] if only else list(REPRESENTATIONS)
    unknown = [n for n in names if n not in REPRESENTATIONS]
    if unknown:
        raise SessionError(f"--only {','.join(unknown)}: expected some of {', '.join(REPRESENTATIONS)}")
    if synthetic is not None and synthetic < 1:
        raise SessionError(f"--synthetic {synthetic}: expected at least 1 event")
    if workers is not None and workers < 1:
        raise SessionError(f"--workers {workers}: expected at least 1")
    if seed < 0:
        raise SessionError(f"--seed {seed}: expected 0 or more")
    if not 0 <= strength < float("inf"):
        raise SessionError(f"--strength {strength}: expected a finite number from 0 on")
    retrieval = read_params(params, None).retrieval.model_copy(update={} if horizon is None else {"horizon": horizon})
    if synthetic is not None and retrieval.horizon != "h1":
        raise SessionError(f"--horizon {retrieval.horizon}: the known law has one horizon, h1; expected no other with --synthetic")
    try:
        knobs = AuditParams(retrieval=retrieval, refit_growth=growth)
    except ValidationError as e:
        raise SessionError(f"--growth {growth}: {e.errors()[0]['msg'].lower()}") from e
    made: dict[str, Any] = {}
    with _bars() as bars:
        data: AuditData
        if synthetic is not None:
            from engine.commands.synthetic import synthetic_events

            data = synthetic_events(synthetic, strength, seed, permute=permute).data
        else:
            from engine.lake.store import Lake
            from engine.retrieval.kept import made_of

            # Before the audit reads: what changes meanwhile makes it stale.
            made = made_of(Lake(lake), symbol)
            data = lake_data(lake, symbol, names, bars)
            if permute:
                from engine.retrieval.permute import permute_days

                means, *blocks = permute_days([data.means, *data.blocks], seed)
                data = AuditData(means, blocks)
        # A few hundred events are done before a process has started.
        usual = os.cpu_count() or 1 if len(data.means) >= WORTH_PROCESSES else 1
        with side_by_side(workers or usual) as executor:
            report = run_audit(data, knobs, only=names, progress=_step(bars, "audit"), executor=executor)
    kept, why, busy = None, "", None
    if synthetic is None and keep and not permute:
        from engine.lake.store import Lake
        from engine.retrieval.table import keep_audit

        try:
            with Lake(lake).lock():
                kept, why = keep_audit(lake, report, made)
        except LakeBusy as e:
            # Minutes of work are told before it is said that they could not be kept.
            busy, why = e, f"printed, not kept: {e}"
    if json:
        source: dict[str, Any] = {"lake": str(lake)} if synthetic is None else {"synthetic": synthetic, "strength": strength, "seed": seed}
        print_json({**source, "permuted": permute, **report.to_json(), "table": str(kept) if kept else None, "not_kept": why})
    else:
        _print(report, knobs, diagram)
    if busy is not None:
        raise LakeBusy(f"the audit is {why}; then run it again") from busy
    if not json and (kept or why):
        from rich.console import Console

        Console().print(f"kept in {kept}" if kept else why, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def side_by_side(workers: int) -> Iterator[Executor | None]:
    """Processes for an audit's representations; none where there is to be but one.

    Raises
    ------
    RunFailed
        Where one of them died.
    """
    from engine.runner import spawned_pool, stop

    if workers == 1:
        yield None
        return
    pool = spawned_pool(workers)
    try:
        yield pool
    except BrokenExecutor as e:
        stop(pool)
        raise RunFailed("a process of the audit died, perhaps out of memory (`dmesg | tail`); try --workers 1") from e
    except BaseException:
        # What is queued would all be walked first, and nobody waits for it any more.
        stop(pool)
        raise
    pool.shutdown(wait=True)


def lake_data(lake: Path, symbol: str | None, names: Sequence[str], bars: Any) -> AuditData:
    """The lake's armed events in the representations that `names` need."""
    from engine.lake.store import Lake
    from engine.retrieval.audit import AuditData
    from engine.retrieval.gold import audit_events

    return AuditData(*audit_events(Lake(lake), symbol, blocks=any(n.startswith("blocks") for n in names), progress=_step(bars, "triggers")))


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return nullcontext()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _step(bars: Any, what: str) -> Any:
    if bars is None:
        return None
    task = None

    def step(done: int, total: int, name: str) -> None:
        nonlocal task
        if task is None:
            task = bars.add_task(what, total=total)
        bars.update(task, completed=done, description=f"{what} {name}")

    return step


def _print(report: Report, params: AuditParams, diagram: bool) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    # Into a pipe rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 160)
    for target, title in (("class", f"break, reject or chop within {report.horizon} of a touch"), ("touch", "touch or none")):
        rows = [r for r in report.rows if r.target == target]
        if not rows:
            continue
        known = any(r.attainable is not None for r in rows)
        table = Table(title=title, box=None)
        extra = ("of attainable",) if known else ()
        for head in ("", "log loss", "skill", "95% interval", *extra, "Brier", "RPS", "ECE", "perfect 95%", "events", "abstained"):
            table.add_column(head, justify="left" if head == "" else "right")
        for r in rows:
            between = "" if r.representation == "pi" else f"{r.skill_low:+.3f} to {r.skill_high:+.3f}"
            share = ("",) if r.share_of_attainable is None else (f"{r.share_of_attainable:.2f}",)
            cells = (f"{r.brier:.3f}", f"{r.rps:.3f}", f"{r.ece:.3f}", f"{r.ece_perfect_95:.3f}", f"{r.events:,}", f"{r.abstained:,}")
            table.add_row(r.representation, f"{r.log_loss:.4f}", f"{r.skill:+.3f}", between, *(share if known else ()), *cells)
        console.print(table)
    console.print(
        f"{report.scored_sessions} of {report.sessions} sessions scored, from {report.first_scored} on; refitted {report.refits} times, "
        f"when history had grown by {params.refit_growth:.0%}; skill is 1 - log loss / log loss of pi on the events it answered; "
        f"intervals from {params.draws:,} draws of whole sessions, each by itself: {report.comparisons} comparisons were made",
        highlight=False,
        soft_wrap=True,
    )
    console.print(report.verdict, style="bold", highlight=False, markup=False, soft_wrap=True)
    if report.choices:
        chosen = report.choices["any"]
        tie = f", with which {chosen['best']} ties: the simpler serves" if chosen["tie"] else ""
        console.print(f"serves by default: {chosen['representation']}{tie}", highlight=False, markup=False, soft_wrap=True)
    if diagram:
        for name, points in report.diagrams.items():
            if name in ("class/learned", "touch/learned"):
                table = Table(title=f"reliability of {name}", box=None)
                for head in ("events", "forecast", "observed"):
                    table.add_column(head, justify="right")
                for p in points:
                    table.add_row(f"{p['events']:.0f}", f"{p['forecast']:.3f}", f"{p['observed']:.3f}")
                console.print(table)
