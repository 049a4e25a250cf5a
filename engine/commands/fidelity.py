"""``spymaster fidelity``: how much a file's market is like a market."""

from __future__ import annotations

import math
import os
from importlib import import_module
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.commands.common import JsonFlag, print_json
from engine.errors import SessionError

REPORT = "workbench.reports.fidelity"
"""Who draws: the engine knows no screen and hands plain frames over, by name, only where a report was asked for."""


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
    if not files and seeds < 1:
        raise SessionError(f"--seeds {seeds}: expected at least 1")
    from engine.simulate.curves import curves
    from engine.simulate.fidelity import file_facts, fresh_sessions, gate_table, pool, simulated_facts

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
    from rich.table import Table

    table = Table(title=title, box=None)
    for name in ("fact", "value", "at least", "at most", ""):
        table.add_column(name, justify="left" if name == "fact" else "right")
    for r in gates.iter_rows(named=True):
        value = "not measurable" if math.isnan(r["value"]) else f"{r['value']:.3f}"
        bounds = ["" if r[k] is None else f"{r[k]:g}" for k in ("low", "high")]
        table.add_row(r["title"], value, *bounds, "holds" if r["holds"] else "does not hold")
    Console().print(table)
    if html is not None:
        Console().print(f"report: {html}", highlight=False, markup=False, soft_wrap=True)
