"""How one part file of a partition is read and checked. Used by ``store.py`` only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import PartitionCorrupt
from engine.lake.contract import Contract, enforce_contract

if TYPE_CHECKING:
    import polars as pl


def read_part(
    path: Path, rows: int, contract: Contract, where_from: str, columns: tuple[str, ...] | None = None, where: pl.Expr | None = None
) -> pl.DataFrame:
    """The rows of a part file, under its contract.

    Parameters
    ----------
    path
        The parquet file.
    rows
        Rows it has by its manifest; looked at where all rows are read.
    contract
        What it must satisfy.
    where_from
        Dataset and partition, for errors.
    columns
        Only these, in this order; all where None.
    where
        Rows to keep.

    Raises
    ------
    PartitionCorrupt
        Where it cannot be read, or has another number of rows.
    ContractError
        Where its columns are not the contract's.
    """
    import polars as pl

    try:
        lazy = pl.scan_parquet(path)
        found = lazy.collect_schema()
        if columns is not None:
            # A projected read looks at the whole schema too: a column that is not the contract's is refused by name.
            enforce_contract(pl.DataFrame(schema=found), contract, where_from)
        if where is not None:
            lazy = lazy.filter(where)
        frame = (lazy.select(columns) if columns is not None else lazy).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as e:
        raise PartitionCorrupt(f"{where_from}: {path.name} cannot be read: {e}") from e
    if where is None and frame.height != rows:
        raise PartitionCorrupt(f"{where_from}: {path.name}: expected {rows} rows as its manifest says, found {frame.height}")
    return enforce_contract(frame, contract, where_from, columns)
