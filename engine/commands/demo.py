"""``spymaster demo``: from a folder of DBN files to the screen, in one command."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlencode

from cyclopts import Parameter

from engine.commands.common import LakeDir
from engine.errors import SessionError

if TYPE_CHECKING:
    from engine.lake.store import Lake

SIMULATED = "2025-10-01:2025-10-28"
"""UTC dates of the simulated market that stands in where there are no files: twenty sessions."""
RATE, THIN_AFTER = 0.10, "12:35"


def demo(
    *,
    dbn: Annotated[Path | None, Parameter(help="DBN file, or folder of them; what the lake has already where none is given.")] = None,
    lake: LakeDir = Path("lake"),
    session: Annotated[Literal["auto", "rth", "globex_open"], Parameter(help="Session profile; auto: the one with most trades.")] = "auto",
    port: Annotated[int, Parameter(help="Port on this machine.")] = 5006,
    serve: Annotated[bool, Parameter(help="Serve the screen at the end.")] = True,
) -> None:
    """Add DBN files to the lake, run the whole pipeline for every root in it, and serve the screen.

    Without files, given or in the lake, twenty sessions of a simulated market stand in. The page opens on a setup worth a look.

    Examples
    --------
    ::

        spymaster demo --dbn ~/databento/GLBX-20231225/
        spymaster demo --lake /data/lake --no-serve
    """
    from engine.commands.serve import serve as serve_screen
    from engine.commands.setup_shown import setup_worth_a_look
    from engine.lake.store import Lake
    from engine.runner import keep_workers

    place = Lake(lake)
    with keep_workers():
        _fill(place, dbn, session)
    query = setup_worth_a_look(place) or {}
    if query:
        sys.stderr.write(f"opens on {' '.join(query.values())} New York\n")
    if serve:
        serve_screen(lake=lake, port=port, query=urlencode(query, safe=":"))


def _fill(place: Lake, dbn: Path | None, session: str) -> None:
    """Raw files, given or simulated where the lake has none, through the whole pipeline."""
    from engine.commands.add import add
    from engine.commands.run import run
    from engine.stages.raw import raw_index

    lake = place.root
    made_up = False
    if dbn is not None:
        add([dbn], lake=lake)
    elif not place.raw_roots():
        _simulate(lake)
        made_up = True
    roots = place.raw_roots()
    spans = {}
    for root in roots:
        dates = raw_index(place, root).dates(root)
        if dates:
            spans[root] = (dates[0] - dt.timedelta(days=1), dates[-1])
            run(symbol=root, dates=f"{dates[0]}:{dates[-1]}", layer="bronze", lake=lake)
    if made_up:
        _select_all(place)
    profile = session if session != "auto" else place.profile() or _busiest_profile(place, roots)
    for root, (first, last) in spans.items():
        run(symbol=root, dates=f"{first}:{last}", layer="all", session=profile, lake=lake)  # type: ignore[arg-type]


def _simulate(lake: Path) -> None:
    """Twenty sessions of a simulated market, after the kernels of a fresh clone are compiled, two sets at once."""
    from engine.commands.simulate import simulate
    from engine.commands.warm import Kernels, compile_kernels
    from engine.runner import run_tasks

    sys.stderr.write(f"no raw files in {lake}: simulating {SIMULATED}; `--dbn FOLDER` takes your own files\n")
    trouble: list[str] = []
    run_tasks(
        compile_kernels,
        [Kernels("simulator"), Kernels("pipeline")],
        workers=2,
        on_result=lambda spec, said: trouble.append(said),
        on_poison=lambda spec, deaths: trouble.append(f"compiling the {spec.name}: its process died {deaths} times"),
    )
    for line in filter(None, trouble):  # what really cannot be run will say so again where it is needed
        sys.stderr.write(f"compiling kernels: {line}\n")
    simulate(dates=SIMULATED, rate=RATE, thin_after=THIN_AFTER, lake=lake)


def _select_all(lake: Lake) -> None:
    """The selection map of a simulated month: its first and last days are cut by no roll, so none is trimmed."""
    from engine.params import SelectionParams
    from engine.selection import make_selection

    for root in lake.raw_roots():
        with lake.lock():
            make_selection(lake, root, "rth", SelectionParams(trim_days=0))


def _busiest_profile(lake: Lake, roots: list[str]) -> str:
    """The session profile in which the lake's bronze has most trades; `rth` where they are equal."""
    from engine.selection import count_days
    from engine.sessions import PROFILES

    trades = {p: sum(sum(d.trades.values()) for root in roots for d in count_days(lake, root, p)) for p in PROFILES}
    best = max(trades, key=lambda p: trades[p])
    if trades[best] == 0:
        raise SessionError(f"lake {lake.root}: expected trades in a session ({', '.join(trades)}), found none in its bronze")
    counts = ", ".join(f"{p} {n:,}" for p, n in trades.items())
    sys.stderr.write(f"session profile {best} (trades: {counts})\n")
    return best
