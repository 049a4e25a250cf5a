"""``spymaster live-demo``: a simulated morning as if it came live, with a fault now and then, into the screen; no key is needed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.commands.common import LakeDir, require

DATES = ("2025-10-27", "2025-10-28")
"""UTC dates that are simulated: the second one's morning is played, the first has its evening and the levels of the day before."""

SETTINGS = ("--seed", "11", "--rate", "0.15", "--thin-after", "12:35")

EARLIER = "08:59"

MARK = "made-by-live-demo"
"""File of a lake that this command made: of no other is anything removed."""


def live_demo(
    *,
    lake: LakeDir = Path("live-demo"),
    port: Annotated[int, Parameter(help="Port on this machine.")] = 5006,
    speed: Annotated[float, Parameter(help="How many times as fast as the market, 1 to 3600.")] = 1.0,
    at: Annotated[str, Parameter(help="New York time at which it begins, after 08:59.")] = "09:25",
    faults: Annotated[bool, Parameter(help="Have something go wrong every few minutes.")] = True,
    serve: Annotated[bool, Parameter(help="Serve the screen beside it.")] = True,
) -> None:
    """Play a simulated morning as a live feed into the screen, as the recorder and the page take Databento's; begun anew each time.

    Connections break, stall and lose records now and then: the badge says so, and what can be had again is. Ctrl-C ends it.

    Examples
    --------
    ::

        spymaster live-demo
        spymaster live-demo --speed 10 --at 09:50
    """
    from engine.commands.live import run_together
    from engine.lake.catalog import BRONZE_MBO
    from engine.lake.lock import alone
    from engine.lake.store import Lake
    from engine.live.journal import Journal, recording_lock

    store, played, mine = Lake(lake), lake / "played", lake / MARK
    empty = not lake.exists() or not any(lake.iterdir())
    require(empty or mine.exists(), f"{lake}: expected an empty folder, or one that live-demo made, found another; give another --lake")
    lake.mkdir(parents=True, exist_ok=True)
    mine.write_text("`spymaster live-demo` made this folder, and begins its recording anew each time.\n", encoding="utf-8")
    base = [sys.executable, "-m", "engine.cli"]
    if len(list(played.glob("*.dbn.zst"))) < len(DATES):
        shutil.rmtree(played, ignore_errors=True)  # what was interrupted is begun anew
        _run([*base, "simulate", "--dates", ":".join(DATES), "--out", str(played), *SETTINGS])
    if not store.partitions(BRONZE_MBO):
        store.raw_folder("ES").mkdir(parents=True, exist_ok=True)
        before = min(played.glob("*.dbn.zst"))
        shutil.copy(before, store.raw_folder("ES") / before.name)
        _run([*base, "run", "--layer", "bronze", "--symbol", "ES", "--dates", DATES[0], "--lake", str(lake)])
    with alone(*recording_lock(lake)):
        shutil.rmtree(Journal(lake, "ES").folder, ignore_errors=True)
    # The half hour before is there at once, as of a recorder that has run since then.
    files = [word for path in sorted(played.glob("*.dbn.zst")) for word in ("--from", str(path))]
    _run([*base, "live", *files, "--at", EARLIER, "--until", at, "--speed", "600", "--lake", str(lake)])
    recorder = ["live", *files, "--speed", f"{speed:g}", "--lake", str(lake), *(["--faults"] if faults else [])]
    run_together(recorder, lake, port if serve else None)


def _run(words: list[str]) -> None:
    """A command in a process of its own, which must end well."""
    import subprocess

    from engine.errors import RunFailed

    done = subprocess.run(words, check=False)
    if done.returncode:
        raise RunFailed(f"`spymaster {' '.join(words[3:])}` ended with exit code {done.returncode}; what it said stands above")
