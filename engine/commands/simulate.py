"""``spymaster simulate`` and ``fidelity``: simulated markets as Databento files, and their stylised facts against gates."""

from __future__ import annotations

import datetime as dt
import math
import os
from importlib import import_module
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, parse_dates, print_json, print_line, require, text_table
from engine.errors import RunFailed, SessionError


def simulate(
    *,
    dates: Annotated[str, Parameter(help="A:B inclusive, or A, or A,B,C; UTC dates. Dates on which Globex is shut get no file.")],
    root: Annotated[str, Parameter(name=["--root", "--symbol"], help="Root of the contracts.")] = "ES",
    seed: Annotated[int, Parameter(help="Seed; the files are the same to the byte for the same seed and settings.")] = 7,
    rate: Annotated[float, Parameter(help="Message rate: 1 is a busy day, 0.10 the demo's.")] = 0.10,
    kappa: Annotated[float, Parameter(help="Strength of the regimes at levels; 0 for none.")] = 1.0,
    gamma: Annotated[float, Parameter(help="How far a regime moves price after the touch; 0 leaves only footprints.")] = 0.5,
    round_ticks: Annotated[int, Parameter(help="Every so many ticks a round price has regimes too (ES: 100 is 25 points).")] = 0,
    rearm_ticks: Annotated[int, Parameter(help="So far from a level price must have been before a new regime begins there.")] = 14,
    moving: Annotated[bool, Parameter(negative=(), help="VWAP and the 200-bar average have regimes, too.")] = False,
    thin_after: Annotated[str | None, Parameter(help="New York time, such as 12:35; after it, and until 04:00, the day is thin.")] = None,
    options: Annotated[bool, Parameter(negative=(), help="Options on the future, too: definitions, statistics, trades, quotes.")] = False,
    lake: LakeDir = Path("lake"),
    out: Annotated[Path | None, Parameter(help="Folder for the files; the lake's raw folder where not given.")] = None,
    workers: Annotated[int | None, Parameter(help="Processes; as many as cores where not given.")] = None,
    overwrite: Annotated[bool, Parameter(negative=(), help="Make files again that are there.")] = False,
    json: JsonFlag = False,
) -> None:
    """Simulate one DBN file per UTC day: two contracts, their spread, and regimes at levels whose truth is written to truth/.

    A run that was stopped goes on where it was: files that are there are kept.

    Examples
    --------
    ::

        spymaster simulate --dates 2025-09-01:2025-10-31 --seed 7
        spymaster simulate --dates 2025-09-03 --rate 1 --out /data/busy
        spymaster simulate --dates 2025-09-02:2025-09-03 --thin-after 12:35 --options
    """
    from pydantic import ValidationError

    from engine.lake.store import Lake
    from engine.params import SimParams
    from engine.runner import run_tasks
    from engine.simulate.calendar import open_spans
    from engine.simulate.dbn import DayReceipt, DayTask, run_day
    from engine.simulate.options import run_day_with_options
    from engine.vocab import ROOTS

    require(root in ROOTS, f"--root {root}: expected one of {', '.join(ROOTS)}")
    try:
        thin = None if thin_after is None else dt.time.fromisoformat(thin_after)
        params = SimParams(
            root=root, seed=seed, rate=rate, kappa=kappa, gamma=gamma, round_ticks=round_ticks, thin_after=thin, rearm_ticks=rearm_ticks,
            moving=moving,
        )  # fmt: skip
    except (ValidationError, ValueError) as e:
        raise SessionError(f"simulator settings: {e}") from e
    days = [d for d in parse_dates(dates, None, None)[0] if open_spans(d)]
    require(bool(days), f"--dates {dates}: expected a day on which Globex trades, found none")
    folder = out if out is not None else Lake(lake).raw_folder(root)
    parts = folder.resolve().parts
    truth = (Path(*parts[: parts.index("raw")]) if "raw" in parts else folder) / "truth" / f"symbol={root}"
    tasks = [DayTask(d, folder, truth, params, overwrite) for d in days]
    receipts: list[DayReceipt] = []

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("simulate"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(tasks))

        def done(task: DayTask, receipt: DayReceipt) -> None:
            receipts.append(receipt)
            progress.update(bar, advance=1, description=task.name)

        def poison(task: DayTask, deaths: int) -> None:
            done(task, DayReceipt(task.name, 0, 0.0, f"its process died {deaths} times"))

        run_tasks(
            run_day_with_options if options else run_day,
            tasks,
            workers=min(len(tasks), workers or os.cpu_count() or 1),
            on_result=done,
            on_poison=poison,
        )
    failed = [f"{r.name}: {r.error}" for r in receipts if r.error]
    written, records = sum(r.records > 0 for r in receipts), sum(r.records for r in receipts)
    if json:
        counts = {"files": len(receipts), "written": written, "records": records}
        print_json({"out": str(folder), "truth": str(truth), **counts, "failed": failed})
    else:
        current = len(receipts) - written - len(failed)
        print_line(f"{written} files simulated ({records:,} records), {current} kept: {folder}")
    if failed:
        raise RunFailed(f"{len(failed)} of {len(receipts)} files were not simulated:\n" + "\n".join(failed))


# ----------------------------------------------------------------------------
# ``spymaster fidelity``: stylised facts of files against their gates

REPORT = "workbench.reports.fidelity"
"""Module that writes the HTML report, imported by name since the engine must not depend on the workbench."""


def fidelity(
    files: Annotated[list[Path] | None, Parameter(help="DBN market-by-order files, real or simulated.")] = None,
    /,
    *,
    symbol: Annotated[str | None, Parameter(help="Contract; the file's busiest where not given.")] = None,
    seeds: Annotated[int, Parameter(help="Without files: simulate this many sessions and measure those.")] = 10,
    rate: Annotated[float, Parameter(help="Without files: message rate of the simulated sessions.")] = 0.10,
    first_seed: Annotated[int, Parameter(help="Without files: the first seed.")] = 1,
    kappa: Annotated[float, Parameter(help="Without files: strength of the regimes at levels.")] = 0.0,
    workers: Annotated[int | None, Parameter(help="Without files: processes; as many as cores where not given.")] = None,
    html: Annotated[Path | None, Parameter(help="Write the report with its plots to this file.")] = None,
    json: JsonFlag = False,
) -> None:
    """Measure every stylised fact of the simulator's specification on files, or on fresh simulated sessions, against its gate.

    A file is measured over the cash session of its date, or over all of it where it has none. Several are pooled.

    Examples
    --------
    ::

        spymaster fidelity glbx-mdp3-20251003.mbo.dbn.zst --html fidelity.html
        spymaster fidelity --seeds 5 --rate 1
    """
    require(bool(files) or seeds >= 1, f"--seeds {seeds}: expected at least 1")
    from engine.simulate.fidelity import curves, file_facts, fresh_sessions, gate_table, pool, simulated_facts

    if files:
        facts = [file_facts(path, symbol=symbol) for path in files]
        title = f"Fidelity of {', '.join(p.name for p in files[:3])}{' and more' if len(files) > 3 else ''}"
    else:
        from engine.runner import spawned_pool

        dates, numbers = fresh_sessions(seeds, first_seed)
        with spawned_pool(min(seeds, workers or os.cpu_count() or 1)) as processes:
            facts = list(processes.map(simulated_facts, dates, numbers, [rate] * seeds, [kappa] * seeds))
        title = f"Fidelity of {seeds} simulated sessions at rate {rate:g}"
    pooled = pool(facts)
    gates = gate_table(pooled)
    if html is not None:
        count = f"{len(facts)} session{'s' if len(facts) != 1 else ''}"
        summary = f"{count}, {pooled['messages_per_s']:.0f} messages and {pooled['trades_per_s']:.2f} trades per second."
        import_module(REPORT).write_report(html, title, summary, gates, curves(facts, pooled))
    if json:
        clean = {k: None if math.isnan(v) else v for k, v in pooled.items()}
        print_json({"title": title, "sessions": len(facts), "gates": gates.fill_nan(None).to_dicts(), "facts": clean})
        return
    from rich.console import Console

    table = text_table(("fact", "value", "at least", "at most", ""), ("fact",), title)
    for r in gates.iter_rows(named=True):
        value = "not measurable" if math.isnan(r["value"]) else f"{r['value']:.3f}"
        bounds = ["" if r[k] is None else f"{r[k]:g}" for k in ("low", "high")]
        table.add_row(r["title"], value, *bounds, "holds" if r["holds"] else "does not hold")
    Console().print(table)
    if html is not None:
        print_line(f"report: {html}")
