"""``spymaster contracts``: show the contracts, and write those that the feature register generates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.commands.common import JsonFlag, print_json
from engine.errors import ContractError

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
    """Path and text of every file that the feature register generates."""
    from engine.features.registry import KEYS, feature_reference, table_features
    from engine.lake.catalog import VACUUM, dataset
    from engine.lake.contract import CONTRACTS_DIR, Field, render_contract

    fields = [Field(k.name, _DTYPES[k.dtype], k.nullable, k.unit, k.meaning) for k in KEYS]
    fields += [Field(f.name, _DTYPES[f.dtype], True, f.unit, f"{f.meaning}: {f.formula}") for f in table_features()]
    table = dataset(VACUUM)
    doc = "Features and conditions of every level in every window; generated from the feature register by `spymaster contracts --write`"
    text = render_contract(table.table, f"spymaster.{table.layer}.{table.product_type}", doc, fields)
    docs = Path(__file__).resolve().parents[2] / "docs" / "FEATURES.md"
    return {CONTRACTS_DIR / table.contract_path: text, docs: feature_reference()}
