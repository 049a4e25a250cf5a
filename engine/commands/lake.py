"""``spymaster lake`` and ``contracts``: partitions of the lake and their staleness; contracts of its datasets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, print_json, size_text, text_table, wide_console
from engine.errors import ContractError, EngineError, PartitionCorrupt
from engine.lake.catalog import LADDER

if TYPE_CHECKING:
    from rich.console import Console

    from engine.lake.store import Lake
    from engine.pipeline import PartitionState


def option_lines(place: Lake) -> list[str]:
    """Which dates the raw files of options cover, by root, and which tables a date lacks that has others."""
    from engine.lake.catalog import OPTION_TABLES
    from engine.stages.option_bronze import option_days

    said = []
    for root in place.option_roots():
        bad: dict[Path, EngineError] = {}
        dates = {table: set(option_days(place, root, table, bad)) for table in OPTION_TABLES}
        every = sorted(set().union(*dates.values()))
        said.append(f"raw {root} options: {len(every)} dates" + (f", {every[0]} to {every[-1]}" if every else ""))
        said += [f"  unreadable {path}: {error}" for path, error in bad.items()]
        for table, there in dates.items():
            if lacking := [str(d) for d in every if d not in there]:
                more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
                said.append(f"  no {table} of {', '.join(lacking[:3])}{more}; put its file into {place.option_folder(root, table)}")
    return said


def lake(
    *,
    lake: LakeDir = Path("lake"),
    symbol: Annotated[str | None, Parameter(help="Only this contract.")] = None,
    verify: Annotated[bool, Parameter(negative=(), help="Hash every file against its manifest, too.")] = False,
    full: Annotated[bool, Parameter(name="--full", negative=(), help="A line for every partition, not for every table.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show what is in the lake and what is stale, with the reason; exit code 0 either way, but 1 where --verify finds corrupt files.

    Examples
    --------
    ::

        spymaster lake
        spymaster lake --full --verify
        spymaster lake --json | jq '.partitions[] | select(.stale != "")'
    """
    from engine.lake.store import Lake
    from engine.pipeline import lake_state
    from engine.stages.raw import condition_lines, raw_index, read_conditions

    place = Lake(lake)
    states = [s for s in lake_state(place, verify=verify) if symbol in (None, s.symbol)]
    corrupt = [s for s in states if verify and s.corrupt]
    raw = {root: raw_index(place, root, keep=False) for root in place.raw_roots()}
    if json:
        files = {r: [[str(f.path), f.date] for f in i.files] for r, i in raw.items()}
        unreadable = {str(p): str(e) for i in raw.values() for p, e in i.bad.items()}
        found = [asdict(s) for s in states]
        passed_over = {str(p): why for p, why in place.passed_over().items()}
        report = {"lake": str(lake), "profile": place.profile(), "raw": files, "unreadable": unreadable, "passed_over": passed_over}
        report["conditions"] = {str(d): c for d, c in read_conditions(place).items()}
        print_json({**report, "partitions": found})
        _require_whole(corrupt)
        return
    console = wide_console()
    for root, index in raw.items():
        dates = index.dates(root)
        span = f"{dates[0]} to {dates[-1]}" if dates else "none readable"
        console.print(f"raw {root}: {len({f.path for f in index.files})} files, {span}")
        for path, error in index.bad.items():
            console.print(f"  unreadable {path}: {error}", style="red", markup=False, soft_wrap=True)
    for text in option_lines(place):
        console.print(text, markup=False, soft_wrap=True)
    for line in condition_lines(place, {f.date for index in raw.values() for f in index.files}):
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    for path, why in place.passed_over().items():
        console.print(f"passed over {path}: {why}", style="yellow", markup=False, soft_wrap=True)
    where = f"--lake {quote(str(lake))}"
    if not states:
        first = "" if raw else f"`spymaster add FILE {where}` and "
        console.print(f"no partitions in {lake}; {first}`spymaster demo {where} --no-serve` make some", markup=False, soft_wrap=True)
        return
    console.print(f"session profile of silver: {place.profile() or 'none yet'}")
    if full:
        left = ("dataset", "symbol", "date", "state")
        table = text_table(("dataset", "symbol", "date", "rows", "size", "state"), left, fold=True)
        for s in states:
            table.add_row(s.dataset, s.symbol, str(s.date), f"{s.rows:,}", size_text(s.size), f"stale: {s.stale}" if s.stale else "current")
    else:
        left = ("dataset", "symbol", "from", "to")
        table = text_table(("dataset", "symbol", "partitions", "from", "to", "rows", "size", "stale"), left)
        groups: dict[tuple[str, str], list[PartitionState]] = {}
        for s in states:
            groups.setdefault((s.dataset, s.symbol), []).append(s)
        for (name, contract), of in groups.items():
            table.add_row(
                name, contract, str(len(of)), str(of[0].date), str(of[-1].date), f"{sum(s.rows for s in of):,}",
                size_text(sum(s.size for s in of)), str(sum(bool(s.stale) for s in of)),
            )  # fmt: skip
    console.print(table)
    _print_trust(console, [s for s in states if s.dataset == LADDER and not s.corrupt], where, full)
    stale = [s for s in states if s.stale]
    for s in stale[:10] if not full else []:
        console.print(f"stale {s.dataset} {s.symbol} {s.date}: {s.stale}", style="yellow", markup=False, soft_wrap=True)
    for s in states:
        absent = s.notes.get("absent")
        if isinstance(absent, dict) and (full or len(states) <= 20):
            for level_id, reason in absent.items():
                console.print(f"absent {level_id} {s.symbol} {s.date}: {reason}", style="dim", markup=False, soft_wrap=True)
    _require_whole(corrupt)


TRUST_TOLD = 10


def _print_trust(console: Console, ladders: list[PartitionState], where: str, full: bool) -> None:
    """What the sessions' data are worth: a line for each that has something to say (the newest only, unless `full`)."""
    from engine.lake.trust import UNKNOWN, trust_words

    records = [(s, record) for s in ladders if isinstance(record := s.notes.get("trust"), dict)]
    told = [(s, words) for s, record in reversed(records) if (words := trust_words(record, s.date)).lines]
    for s, words in told if full else told[:TRUST_TOLD]:
        console.print(f"trust {s.symbol} {s.date}: {words.text}", style="yellow", markup=False, soft_wrap=True)
    if len(told) > TRUST_TOLD and not full:
        console.print(
            f"and {len(told) - TRUST_TOLD} sessions more; `spymaster lake {where} --full` tells all",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    if len(records) < len(ladders):
        console.print(f"trust of {len(ladders) - len(records)} sessions: {UNKNOWN}", style="dim", markup=False, soft_wrap=True)


def _require_whole(corrupt: list[PartitionState]) -> None:
    """PartitionCorrupt that names every corrupt partition, where there is one."""
    if corrupt:
        names = "\n".join(f"  {s.dataset} {s.symbol} {s.date}: {s.stale}" for s in corrupt)
        raise PartitionCorrupt(f"{len(corrupt)} partitions are corrupt:\n{names}")


# ----------------------------------------------------------------------------
# ``spymaster contracts``: show the contracts, and write those generated from the feature registry

_DTYPES = {"float64": "Float64", "boolean": "Boolean", "int8": "Int8", "int32": "Int32", "int64": "Int64", "string": "String"}


def contracts(
    *,
    write: Annotated[bool, Parameter(negative=(), help="Write the generated contracts and docs/FEATURES.md.")] = False,
    check: Annotated[bool, Parameter(negative=(), help="Fail where a generated file differs from what would be written.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show every dataset's columns; with --write bring the generated contracts up to date with the feature register.

    Examples
    --------
    ::

        spymaster contracts
        spymaster contracts --write
    """
    if check or write:
        for path, text in generated().items():
            same = path.is_file() and path.read_text(encoding="utf-8") == text
            if check and not write and not same:
                raise ContractError(f"{path}: differs from the feature register; `spymaster contracts --write` writes it")
            if write and not same:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                print(f"wrote {path}")
        return
    from engine.lake.catalog import datasets

    if json:
        shown = {k: [[f.name, f.dtype, f.nullable, f.unit, f.doc] for f in d.contract().fields] for k, d in datasets().items()}
        print_json(shown)
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for key, dataset in datasets().items():
        contract = dataset.contract()
        table = Table(title=f"{key}: {contract.doc}", box=None, title_justify="left")
        for name in ("column", "type", "unit", "meaning"):
            table.add_column(name)
        for f in contract.fields:
            table.add_row(f.name, f.dtype + (" or null" if f.nullable else ""), f.unit, f.doc)
        console.print(table)


def generated() -> dict[Path, str]:
    """Path and text of every file generated from the feature registry."""
    from engine.features.reference_docs import feature_reference
    from engine.features.registry import KEYS, features, table_features
    from engine.features.vector import WALL
    from engine.lake.catalog import VACUUM, WALLS, dataset
    from engine.lake.contract import CONTRACTS_DIR, Field, render_contract

    fields = [
        Field(k.name, _DTYPES[k.dtype], k.nullable, k.unit, k.meaning, (), k.came_later, False if k.came_later else None) for k in KEYS
    ]
    fields += [Field(f.name, _DTYPES[f.dtype], True, f.unit, f"{f.meaning}: {f.formula}") for f in table_features()]
    walls = {f.name: Field(f.name, "Float32", True, f.unit, f"{f.meaning}: {f.formula}") for f in features("wall")}
    trigger = Field("trigger_id", "String", False, "", "The trigger, as in mbo_trigger_vectors")
    tables = {
        VACUUM: ("Features and conditions of every level in every window", fields),
        WALLS: ("Wall features of every trigger; null where its history is not known", [trigger, *(walls[n] for n in WALL)]),
    }
    out = {Path(__file__).resolve().parents[2] / "docs" / "FEATURES.md": feature_reference()}
    for key, (doc, columns) in tables.items():
        table = dataset(key)
        doc = f"{doc}; generated from the feature register by `spymaster contracts --write`"
        text = render_contract(table.table, f"spymaster.{table.layer}.{table.product_type}", doc, columns)
        out[CONTRACTS_DIR / table.contract_path] = text
    return out
