"""``spymaster add``: raw files into the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, print_json
from engine.errors import BadDbn, EngineError, RawMissing, RunFailed
from engine.vocab import split_contract


def add(
    sources: Annotated[list[Path], Parameter(help="DBN files (.dbn, .dbn.zst), or folders of them.")],
    /,
    *,
    lake: LakeDir = Path("lake"),
    json: JsonFlag = False,
) -> None:
    """Check Databento market-by-order files and put them into the lake's raw folder; a file that is there is never overwritten.

    A file goes under the root of the outright contracts its metadata map, as a hard link where the disk allows, else as a copy.

    Examples
    --------
    ::

        spymaster add ~/databento/GLBX-20231225/
        spymaster add esh4-glbx-mdp3-20231225.mbo.dbn.zst --lake /data/lake
    """
    from engine.lake.store import Lake
    from engine.stages.raw import raw_paths

    place = Lake(lake)
    files: list[Path] = []
    for source in sources:
        if not source.exists():
            raise RawMissing(f"{source}: expected a DBN file or a folder of them, found nothing there")
        files += raw_paths(source) if source.is_dir() else [source]
    if not files:
        raise RawMissing(f"{', '.join(map(str, sources))}: expected files that end in .dbn or .dbn.zst, found none")
    report: list[dict[str, str]] = []
    faults: list[str] = []
    for path in files:
        try:
            report += _add_one(place, path)
        except EngineError as e:
            faults.append(f"{type(e).__name__}: {e}")
    if json:
        print_json({"lake": str(lake), "added": report, "failed": faults})
    else:
        from rich.console import Console

        for line in report:
            Console().print(
                f"{line['what']} {line['place']}: {line['date']} {line['contracts']}", highlight=False, markup=False, soft_wrap=True
            )
    if faults:
        raise RunFailed(f"{len(faults)} of {len(files)} files were not added:\n" + "\n".join(faults))


def _add_one(place: object, path: Path) -> list[dict[str, str]]:
    from engine.lake.store import Lake
    from engine.mbo.dbn import read_header
    from engine.stages.raw import outrights

    assert isinstance(place, Lake)
    header = read_header(path)
    symbols = set(header.symbols.values())
    roots = sorted({parts[0].code for s in symbols if (parts := split_contract(s)) is not None})
    if not roots:
        found = ", ".join(sorted(symbols)[:5]) or "none"
        raise BadDbn(f"{path}: expected an outright contract of a known root among its symbols, found {found}")
    out = []
    for root in roots:
        added = place.add_raw(path, root)
        where = added or place.raw_folder(root) / path.name
        contracts = ", ".join(outrights(symbols, root))
        out.append({"what": "added" if added else "there already", "place": str(where), "date": str(header.date), "contracts": contracts})
    return out
