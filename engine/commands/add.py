"""``spymaster add``: what Databento delivered, into the lake's raw folder."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, print_json, print_line
from engine.errors import RunFailed

if TYPE_CHECKING:
    from engine.lake.store import Lake
    from engine.stages.intake import Intake, Line


def add(
    sources: Annotated[list[Path], Parameter(help="Files, folders (also nested), zip archives; by what is inside, not by name.")],
    /,
    *,
    lake: LakeDir = Path("lake"),
    link: Annotated[bool, Parameter(negative=(), help="Hard-link, do not copy: what writes into yours harms the lake's.")] = False,
    replace: Annotated[bool, Parameter(negative=(), help="A file that holds all of one that is there, and more, takes its place.")] = False,
    json: JsonFlag = False,
) -> None:
    """Read what Databento delivered to its end, once, and put it into the lake's raw folder, byte for byte as it came.

    Taken are market-by-order files of any version, zstd or raw, in one piece or in parts: a file of several UTC dates is split at 00:00
    UTC, parts of a date (by hour, by size, by symbol) are joined in the order of their records; recordings of the live feed; folders of
    folders, and zip archives of batch jobs; and definitions, statistics, tbbo and bbo-1m of options. `condition.json`, `symbology.json`,
    `manifest.json` and definition files beside them are used.
    A file goes under the root of its outright contracts, as a copy that shares its blocks where the file system can. The same day twice is
    refused, naming the file that is there: that is never replaced (but with --replace); a damaged one is moved to ``raw/.quarantine/``.
    A file that cannot be added does not stop the others.

    Examples
    --------
    ::

        spymaster add ~/databento/GLBX-20231225/
        spymaster add GLBX-20251105-AAAA.zip --lake /data/lake
        spymaster add es-continuous.dbn.zst definition.dbn.zst
    """
    from engine.lake.store import Lake

    place = Lake(lake)
    intake = take(place, sources, link=link, replace=replace)
    if json:
        print_json({"lake": str(lake), "added": [_json(line) for line in intake.lines], "failed": intake.faults})
    else:
        tell(intake)
        if any(line.contracts for line in intake.lines):
            print_line(f"`spymaster demo --lake {shlex.quote(str(lake))}` makes every layer of what is there, and serves the screen")
    failed = failure(intake)
    if failed is not None:
        raise failed


def take(
    place: Lake, sources: list[Path], *, link: bool = False, replace: bool = False, stored: tuple[str, ...] = ("definition",)
) -> Intake:
    """Take deliveries into a lake, with a bar on a terminal; what became of them. Raises RawMissing."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from engine.stages.intake import Intake

    intake = Intake(place, link=link, replace=replace, stored=stored)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        intake.take(sources, lambda name, share: bar.update(task, description=f"checking {name}", completed=share))
    return intake


def tell(intake: Intake) -> None:
    """Print what became of the deliveries, and of their dates what Databento says of them."""
    from engine.stages.raw import condition_lines

    for line in intake.lines:
        if line.contracts:
            print_line(f"{line.what} {line.place}: {_dates(line)} {', '.join(line.contracts)}, {line.records:,} records")
        else:
            print_line(f"{line.what} {line.place or line.source}")
        for text in line.said:
            print_line(f"  {text}")
        for moved in line.replaced:
            print_line(f"  instead of the file that is now {moved}")
    for text in condition_lines(intake.lake, {d for line in intake.lines for d in line.dates}):
        print_line(text)


def failure(intake: Intake) -> RunFailed | None:
    """The error that names every file that was not taken, or says that nothing was taken at all; None where all went well."""
    if intake.faults:
        return RunFailed(f"{len(intake.faults)} of {intake.files} files were not added:\n" + "\n".join(intake.faults))
    if not any(line.what in ("added", "there already") for line in intake.lines):
        reasons = "\n".join(f"{line.source}: {'; '.join(line.said)}" for line in intake.lines)
        return RunFailed(f"nothing was added:\n{reasons}")
    return None


def _dates(line: Line) -> str:
    if len(line.dates) <= 3:
        return ", ".join(map(str, line.dates))
    return f"{line.dates[0]} to {line.dates[-1]} ({len(line.dates)} dates)"


def _json(line: Line) -> dict[str, Any]:
    said = asdict(line) | {"date": _dates(line), "contracts": ", ".join(line.contracts), "records": str(line.records)}
    del said["dates"], said["replaced"]
    return said | ({"replaced": ", ".join(line.replaced)} if line.replaced else {})
