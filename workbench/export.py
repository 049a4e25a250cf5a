"""What is shown, as a file that says where it comes from: CSV with the state in its first line, or parquet with it in the metadata."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from engine.errors import ContractError

if TYPE_CHECKING:
    import xarray as xr

Kind = Literal["csv", "parquet"]

KEY = "spymaster:state"
"""Name of the state in parquet's metadata, and mark of a CSV's first line."""

MIME = {"csv": "text/csv;charset=utf-8", "parquet": "application/vnd.apache.parquet"}

MAX_CELLS = 40_000_000
"""Numbers in one file: what a browser still takes in one piece."""


@dataclass(frozen=True)
class Table:
    """Something that can be saved under the file name's `key` and the trader's `label`.

    `make` returns the frame, and the state it is of (JSON values); it raises an EngineError where there is nothing to save yet.
    """

    key: str
    label: str
    make: Callable[[], tuple[pl.DataFrame, Mapping[str, Any]]]


MAX_COPIED = 50_000
"""Rows on the clipboard: what a page still takes at once while it follows; all of them can be saved as a file."""


def to_text(frame: pl.DataFrame, clock: str) -> tuple[str, str]:
    """The rows as a spreadsheet takes them from the clipboard, the last ones where there are too many, and what is said of that."""
    last = frame.tail(MAX_COPIED)
    rows = f"{frame.height:,} rows" if last.height == frame.height else f"The last {last.height:,} of {frame.height:,} rows"
    return last.write_csv(separator="\t"), f"{rows} of {clock} copied"


def to_bytes(frame: pl.DataFrame, state: Mapping[str, Any], kind: Kind) -> bytes:
    """`frame` as a file, with its `state` (contract, session, level, window, ...: JSON values).

    ``csv``: UTF-8, the state in a first line ``# spymaster:state {...}`` (polars passes over it with ``comment_prefix="#"``, pandas with
    ``comment="#"``), lists (vectors) as JSON texts. ``parquet``: the state in the file's key-value metadata.

    Raises
    ------
    ContractError
        On another kind, or a frame too large for a browser.
    """
    if frame.height * max(frame.width, 1) > MAX_CELLS:
        raise ContractError(
            f"export: expected at most {MAX_CELLS:,} numbers, found {frame.height:,} x {frame.width}; choose less time or rows"
        )
    text = json.dumps(dict(state), sort_keys=True, default=str)
    out = io.BytesIO()
    if kind == "csv":
        lists = [s for s in frame if isinstance(s.dtype, pl.List)]
        texts = [pl.Series(s.name, [None if v is None else json.dumps(list(v)) for v in s], dtype=pl.String) for s in lists]
        # A line break inside a JSON text is escaped: the state is one line, whatever is in it.
        out.write(f"# {KEY} {text}\n".encode())
        frame.with_columns(texts).write_csv(out)
    elif kind == "parquet":
        frame.write_parquet(out, compression="zstd", metadata={KEY: text})
    else:
        raise ContractError(f"export: expected csv or parquet, found {kind!r}")
    return out.getvalue()


def read_state(data: bytes, kind: Kind) -> dict[str, Any]:
    """The state that a saved file carries; ContractError where it carries none."""
    if kind == "csv":
        first = data.split(b"\n", 1)[0].decode("utf-8", "replace")
        text = first.removeprefix(f"# {KEY} ") if first.startswith(f"# {KEY} ") else None
    else:
        try:
            text = pl.read_parquet_metadata(io.BytesIO(data)).get(KEY)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as e:
            raise ContractError(f"export: expected a file saved here, found one that cannot be read: {e}") from e
    if text is None:
        raise ContractError("export: expected a file saved here, found one without a state")
    return dict(json.loads(text))


def file_name(key: str, state: Mapping[str, Any], kind: Kind) -> str:
    """Such as ``windows_ESZ5_2025-10-07_pm_high.csv``; only letters, digits and ``._-``."""
    words = [key, *(str(state[k]) for k in ("contract", "session", "level") if state.get(k))]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "_".join(words))[:120] + f".{kind}"


def cube_frame(cube: xr.Dataset) -> pl.DataFrame:
    """A cube as one row per window and price: its coordinates, then every variable; rows run through prices first."""
    windows, ticks = cube.sizes["window"], cube.sizes["tick"]
    columns: dict[str, Any] = {n: cube[n].to_numpy().repeat(ticks) for n in ("window_start_ts_ns", "window_end_ts_ns")}
    for name in ("tick", "price"):
        columns[name] = pl.Series(name, cube[name].to_numpy()).gather(list(range(ticks)) * windows)
    for key, values in cube.data_vars.items():
        of_window = values.dims == ("window",)
        columns[str(key)] = values.to_numpy().repeat(ticks) if of_window else values.to_numpy().ravel()
    return pl.DataFrame(columns)
