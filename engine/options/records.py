"""Databento files of an option chain: definitions, statistics, trades with the quote before them, quotes of each minute; versions 1 to 3.

A file is read by the layout of its version, which `databento_dbn` has, and comes out in that of version 3; what an earlier version had not
is undefined in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import BadDbn
from engine.lake.catalog import OPTION_TABLES, dataset
from engine.mbo.dbn import ByteSource, DbnMetadata, metadata_of
from engine.vocab import UNDEF_PRICE

if TYPE_CHECKING:
    import polars as pl

SCHEMAS = {"definition": "definition", "statistics": "statistics", "tbbo": "tbbo", "bbo_1m": "bbo-1m"}
"""Databento's name of each table."""

RTYPES = {"definition": 19, "statistics": 24, "tbbo": 1, "bbo_1m": 196}
VERSIONS = (1, 2, 3)
CHUNK_RECORDS = 1 << 16
UNDEF_NS = 2**64 - 1
UNDEF_INT32 = 2**31 - 1
UNDEF_QUANTITY = 2**63 - 1

_NO_PRICE = ("leg_price", "leg_delta", "strike_price")
_AGAIN = "fetch the file again (databento: batch download, or timeseries.get_range to a file)"


@lru_cache(maxsize=16)
def layout(table: str, version: int) -> np.dtype[Any]:
    """Layout of a table's records in a version of DBN."""
    import databento_dbn as dbn

    names = {"definition": "InstrumentDefMsg", "statistics": "StatMsg", "tbbo": "MBP1Msg", "bbo_1m": "BBOMsg"}
    older = {("definition", 1): "V1", ("definition", 2): "V2", ("statistics", 1): "V1", ("statistics", 2): "V1"}
    fields = getattr(dbn, names[table] + older.get((table, version), ""))._dtypes
    return np.dtype([(name, f"<{kind}" if kind[0] in "iu" else kind) for name, kind in fields])


def upgraded(records: np.ndarray, table: str) -> np.ndarray:
    """Records of any version in the layout of version 3."""
    new = layout(table, 3)
    if records.dtype == new:
        return records
    out = np.zeros(len(records), new)
    for name in new.names or ():
        if name in (records.dtype.names or ()):
            out[name] = records[name]
        elif name in _NO_PRICE:
            out[name] = UNDEF_PRICE
    out["length"] = new.itemsize // 4
    if table == "statistics":
        out["quantity"][records["quantity"] == UNDEF_INT32] = UNDEF_QUANTITY
    return out


def table_of(metadata: DbnMetadata) -> str | None:
    """The table that a file is of, by its schema; None where it is none of an option chain's."""
    return next((t for t, schema in SCHEMAS.items() if schema == metadata.schema), None)


def read_records(path: Path, table: str) -> Iterator[np.ndarray]:
    """Yield the records of a file in the layout of version 3, chunk by chunk.

    Raises BadDbn where the file is of another schema or truncated, or a record is none of the table's.
    """
    with path.open("rb") as raw:
        source = ByteSource(raw, path)
        metadata = metadata_of(path, source)
        if metadata.schema != SCHEMAS[table]:
            raise BadDbn(f"{path}: expected schema {SCHEMAS[table]}, found {metadata.schema}; move it to the folder of its own table")
        if metadata.version not in VERSIONS:
            raise BadDbn(
                f"{path}: expected DBN version 1, 2 or 3, found {metadata.version}; `uv sync --upgrade-package databento` may know it"
            )
        plain = layout(table, metadata.version)
        size = plain.itemsize
        buffer, done, left = np.empty(CHUNK_RECORDS * size, np.uint8), 0, 0
        while (filled := left + source.read_into(buffer.data[left:])) > left:
            n = filled // size
            records = buffer[: n * size].view(plain)
            wrong = np.flatnonzero((records["length"] != size // 4) | (records["rtype"] != RTYPES[table]))
            if len(wrong):
                bad = records[wrong[0]]
                raise BadDbn(
                    f"{path}: record {done + int(wrong[0]):,}: expected {size} bytes of type {RTYPES[table]}, "
                    f"found {int(bad['length']) * 4} of type {int(bad['rtype'])}; {_AGAIN}"
                )
            if n:
                yield upgraded(records, table).copy()
            done, left = done + n, filled - n * size
            buffer[:left] = buffer[n * size : filled].copy()
    if left:
        raise BadDbn(f"{path}: truncated after record {done:,}: expected records of {size} bytes, found {left} bytes more; {_AGAIN}")


def frame_of(records: np.ndarray, table: str) -> pl.DataFrame:
    """Records as a frame under the table's bronze contract; undefined times are null."""
    import polars as pl

    data: dict[str, Any] = {}
    for column in dataset(OPTION_TABLES[table]).contract().fields:
        values = records[column.name]
        if column.dtype == "Enum":
            codes = np.full(256, len(column.symbols))
            codes[[ord(s) for s in column.symbols]] = range(len(column.symbols))
            letters = pl.Series([*column.symbols, None], dtype=column.polars_dtype())  # null: a letter that DBN has not
            data[column.name] = letters.gather(codes[np.ascontiguousarray(values).view(np.uint8)])
        elif column.dtype == "String":
            data[column.name] = pl.Series(np.char.decode(values, "latin-1").tolist(), dtype=pl.String)
        elif values.dtype == np.uint64 and column.dtype == "Int64":
            made = pl.Series(values.astype(np.int64))
            data[column.name] = (
                pl.select(pl.when(pl.lit(pl.Series(values != UNDEF_NS))).then(made)).to_series() if column.nullable else made
            )
        else:
            data[column.name] = np.ascontiguousarray(values)
    return pl.DataFrame(data)
