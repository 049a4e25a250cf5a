"""``spymaster demo``: from a folder of DBN files to the screen, in one command."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from engine.commands.common import LakeDir
from engine.errors import SessionError

if TYPE_CHECKING:
    from engine.lake.store import Lake

SIMULATED = "2025-10-06:2025-10-08"
"""UTC dates of the simulated market that stands in where there are no files."""


def demo(
    *,
    dbn: Annotated[Path | None, Parameter(help="DBN file, or folder of them; what the lake has already where none is given.")] = None,
    lake: LakeDir = Path("lake"),
    session: Annotated[Literal["auto", "rth", "globex_open"], Parameter(help="Session profile; auto: the one with most trades.")] = "auto",
    port: Annotated[int, Parameter(help="Port on this machine.")] = 5006,
    serve: Annotated[bool, Parameter(help="Serve the screen at the end.")] = True,
) -> None:
    """Add DBN files to the lake, run the whole pipeline for every root in it, and serve the screen.

    Without files, given or in the lake, a few days of a simulated market stand in.

    Examples
    --------
    ::

        spymaster demo --dbn ~/databento/GLBX-20231225/
        spymaster demo --lake /data/lake --no-serve
    """
    from engine.commands.add import add
    from engine.commands.run import run
    from engine.commands.serve import serve as serve_screen
    from engine.lake.store import Lake
    from engine.stages.raw import raw_index

    place = Lake(lake)
    if dbn is not None:
        add([dbn], lake=lake)
    elif not place.raw_roots():
        from engine.commands.simulate import simulate

        sys.stderr.write(f"no raw files in {lake}: simulating {SIMULATED}; `--dbn FOLDER` takes your own files\n")
        simulate(dates=SIMULATED, thin_after="12:35", lake=lake)
    roots = place.raw_roots()
    spans = {}
    for root in roots:
        dates = raw_index(place, root).dates(root)
        if dates:
            spans[root] = (dates[0] - dt.timedelta(days=1), dates[-1])
            run(symbol=root, dates=f"{dates[0]}:{dates[-1]}", layer="bronze", lake=lake)
    profile = session if session != "auto" else place.profile() or _busiest_profile(place, roots)
    for root, (first, last) in spans.items():
        run(symbol=root, dates=f"{first}:{last}", layer="all", session=profile, lake=lake)  # type: ignore[arg-type]
    if serve:
        serve_screen(lake=lake, port=port)


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
