"""Record that the code as it is makes the same rows as an earlier version did, so that lakes made by that one stay current.

``python -m tests.support.same_rows OLD... NEW [--write]``: OLD are lakes made by earlier versions, NEW one made by this version from the
same raw files (``spymaster rebuild``). Every partition, the audit, the index and the simulated files are compared; only where all are
equal is ``engine/earlier_code.json`` written, which maps each code hash in them to what `engine.provenance` says of the code now.

``--carry SOURCES``: OLD were made by the code in that folder (a checkout's ``engine``). What the list says is the same as that code's rows,
is then the same as this version's, and stays in it: lakes of two versions before are not needed again.

``--carry SOURCES --roots NQ,CL``: nothing is compared. Where the list says of that code that it makes the same rows of ES, it says so of
these roots, too, as far as their own entries are the same in both: the code is one, and knows a root by its entry alone.

``--stages bars,levels``: only these stages, bronze and the simulated files are compared and recorded, where the others make other rows now
on purpose. The list keeps what it says of those, which holds no longer than their code is the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine import provenance
from engine.lake.catalog import BRONZE_MBO, dataset, datasets
from engine.lake.store import Lake
from engine.params import RunParams
from engine.provenance import CodeVersion, Program, accepted, code_of, trace
from engine.retrieval.audit import audit
from engine.retrieval.dataset import audit_events, gold_events
from engine.retrieval.index import write_index_files
from engine.sessions import PROFILES, session_windows
from engine.simulate.dbn import write_day
from engine.stages import bronze
from engine.stages.base import Stage
from engine.stages.task import STAGES
from engine.vocab import root_of

CHANGES_WITH_CODE = ("code", "inputs", "made_of", "digest", "audit", "said", "mtime", "sha256", "size", "manifest")
"""Keys of a report or an index's manifest that tell of the code or of hashes of what tells of it."""


CAME_LATER = ("trust", "limit")
"""Notes that partitions of before have not, and stay current without."""


def plain(value: Any) -> Any:
    """A JSON value without what changes with the code."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in CHANGES_WITH_CODE}
    return [plain(v) for v in value] if isinstance(value, list) else value


def older(notes: dict[str, Any]) -> dict[str, Any]:
    """Notes without those that an earlier version had not."""
    return {k: v for k, v in notes.items() if k not in CAME_LATER}


def differences(old: Lake, new: Lake, stages: tuple[Stage, ...] = STAGES) -> Iterator[str]:
    """What is not the same in two lakes, a line each; audit and index count where all of the stages do."""
    made = {key for stage in stages for key in stage.io.outputs} | {BRONZE_MBO}
    for key in (k for k in datasets() if k in made):
        mine, theirs = set(new.partitions(key)), set(old.partitions(key))
        for symbol, date in sorted(mine ^ theirs):
            yield f"{key} {symbol} {date}: in one of the lakes only"
        for symbol, date in sorted(mine & theirs):
            a, b = old.manifest(key, symbol, date), new.manifest(key, symbol, date)
            if [f.sha256 for f in a.files] != [f.sha256 for f in b.files] and not old.read(key, symbol, date).equals(
                new.read(key, symbol, date)
            ):
                yield f"{key} {symbol} {date}: other rows"
            contracts = a.contract == b.contract or dataset(key).contract().accepts(a.contract)
            if not contracts or (older(a.notes), a.lineage.params) != (older(b.notes), b.lineage.params):
                yield f"{key} {symbol} {date}: other notes, contract or parameters"
    files = ("audit/mbo_audit.json", "indexes/default/manifest.json", "indexes/default/models.json", "indexes/default/norm_stats.json")
    whole = stages == STAGES
    for name in files if whole else ():
        a, b = (plain(json.loads((lake.root / name).read_text())) for lake in (old, new))
        if a != b:
            yield f"{name}: other content"
    for path in (sorted((old.root / "indexes").rglob("*.index")) if whole else []) + sorted((old.root / "raw").rglob("*.dbn.zst")):
        twin = new.root / path.relative_to(old.root)
        if not twin.is_file() or twin.read_bytes() != path.read_bytes():
            yield f"{path.relative_to(old.root)}: other bytes"


Functions = tuple[Callable[..., Any], ...]

BRONZE: Functions = (bronze.convert,)
AUDIT: Functions = (audit_events, audit)
INDEX: Functions = (gold_events, write_index_files)
SIMULATED: Functions = (write_day,)


def of_stage(stage: Stage) -> Functions:
    """What a stage's rows depend on."""
    return stage.run, session_windows, root_of


def codes(lake: Lake, stages: tuple[Stage, ...] = STAGES) -> Iterator[tuple[str, CodeVersion, dict[str, str]]]:
    """Code hashes that a lake holds, the code that makes the same now, and the versions of packages that count."""
    for symbol, date in lake.partitions(BRONZE_MBO):
        yield lake.manifest(BRONZE_MBO, symbol, date).lineage.code, code_of(*BRONZE), {}
    for stage in stages:
        now = code_of(*of_stage(stage))
        for key in stage.io.outputs:
            for symbol, date in lake.partitions(key):
                lineage = lake.manifest(key, symbol, date).lineage
                yield lineage.code, now, stage.counting(symbol, lineage.profile or "rth")
    for receipt in sorted((lake.root / "truth").rglob("*.json")):
        yield json.loads(receipt.read_text())["code"], code_of(*SIMULATED), {}
    if stages != STAGES:
        return
    yield json.loads((lake.root / "audit/mbo_audit.json").read_text())["made_of"]["code"], code_of(*AUDIT), {}
    yield json.loads((lake.root / "indexes/default/manifest.json").read_text())["code"], code_of(*INDEX), {}


def record(version: CodeVersion, packages: dict[str, str]) -> dict[str, Any]:
    """What the list says of code that makes the same rows."""
    entries = {k: h for k, (_, h, _) in sorted(version.entries.items())}
    return {"epoch": provenance.EPOCH, "core": version.core, "packages": packages, "entries": entries}


def carried(sources: Path, stages: tuple[Stage, ...] = STAGES) -> dict[str, Any]:
    """Entries of the list that hold for the code in `sources`, as they hold for the code now."""
    program = Program(sources)
    found: dict[str, Any] = {}
    for functions in (BRONZE, *(of_stage(s) for s in stages), *((AUDIT, INDEX) if stages == STAGES else ()), SIMULATED):
        names = tuple((f.__module__, f.__qualname__) for f in functions)
        if any(n not in getattr(program.module(m), "bound", ()) for m, n in names):
            continue  # a stage that the old code has not
        before, now = trace(program, names), code_of(*functions)
        for digest, was in json.loads(provenance.EARLIER.read_text()).items():
            if was == record(before, was["packages"]):
                found[digest] = record(now, was["packages"])
    return found


def made_by(version: CodeVersion, stage: Stage, code: str, profile: str) -> tuple[str, dict[str, str]]:
    """The hash that a root's sessions of a profile have from that code, and the registered entries that it counts."""
    symbol = f"{code}Z5"
    chosen = stage.selection(symbol, profile, stage.values(RunParams()))
    return accepted(version, chosen, stage.counting(symbol, profile))[0], version.selected(chosen)


def of_other_roots(sources: Path, roots: list[str], table: dict[str, Any]) -> dict[str, Any]:
    """Entries of the list that hold for `roots`, since they hold for ES and the code in `sources`."""
    program = Program(sources)
    found: dict[str, Any] = {}
    for stage in STAGES:
        functions = of_stage(stage)
        names = tuple((f.__module__, f.__qualname__) for f in functions)
        if any(n not in getattr(program.module(m), "bound", ()) for m, n in names):
            continue
        before, now = trace(program, names), code_of(*functions)
        for profile in PROFILES if before.core != now.core else ():
            digest, _ = made_by(before, stage, "ES", profile)
            if table.get(digest) != record(now, stage.counting("ESZ5", profile)):
                continue
            for code in roots:
                digest, entries = made_by(before, stage, code, profile)
                if made_by(now, stage, code, profile)[1].items() >= entries.items():
                    found[digest] = record(now, stage.counting(f"{code}Z5", profile))
    return found


def main() -> int:
    """Compare lakes with the last one, and record the hashes of the others where they are the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, nargs="*")
    parser.add_argument("new", type=Path, nargs="?")
    parser.add_argument("--write", action="store_true", help="write engine/earlier_code.json")
    parser.add_argument(
        "--carry", type=Path, metavar="SOURCES", help="the engine folder that made OLD: what was the same as its rows stays"
    )
    parser.add_argument("--stages", help="only these, comma separated")
    parser.add_argument("--roots", help="with --carry: what the list says of ES holds for these, comma separated")
    given = parser.parse_args()
    if given.roots:
        table = json.loads(provenance.EARLIER.read_text())
        return written(table | of_other_roots(given.carry, given.roots.split(","), table), write=given.write)
    names = [s.name for s in STAGES] if given.stages is None else given.stages.split(",")
    stages = tuple(s for s in STAGES if s.name in names)
    earlier, new = [Lake(path) for path in given.old], Lake(given.new)
    found = [f"{old.root}: {line}" for old in earlier for line in differences(old, new, stages)]
    what = "every partition, the audit, the index" if stages == STAGES else f"bronze, {', '.join(s.name for s in stages)}"
    print("\n".join(found) or f"{what} and the raw files are the same")
    if found:
        return 1
    table = json.loads(provenance.EARLIER.read_text()) if stages != STAGES else {}
    table |= carried(given.carry, stages) if given.carry else {}
    table |= {digest: record(now, packages) for old in earlier for digest, now, packages in codes(old, stages)}
    return written(table, write=given.write)


def written(table: dict[str, Any], *, write: bool) -> int:
    """Write the list where it is wanted, and say how long it is."""
    if write:
        provenance.EARLIER.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    print(f"{len(table)} hashes of earlier code{' written to ' + provenance.EARLIER.name if write else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
