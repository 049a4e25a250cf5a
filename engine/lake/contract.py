"""Avro contracts of datasets: names, order, types, nullability, unit and meaning of every column, enforced on every write and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ContractError

if TYPE_CHECKING:
    import polars as pl

CONTRACTS_DIR = Path(__file__).parent / "contracts"

# Avro has no unsigned and no short integers; they are logical types, which fastavro ignores.
_PLAIN = {"long": "Int64", "int": "Int32", "float": "Float32", "double": "Float64", "string": "String", "boolean": "Boolean"}
_LOGICAL = {"uint64": "UInt64", "uint32": "UInt32", "uint16": "UInt16", "uint8": "UInt8", "int16": "Int16", "int8": "Int8", "date": "Date"}

LIST = "ListFloat32"
"""A list of float32, without nulls in it."""


@dataclass(frozen=True)
class Field:
    """One column: `dtype` is a polars type's name, ``Enum`` with `symbols`, or `LIST`.
    A column that `came_later` (an Avro ``default``) is `default` in partitions of before, which stay valid.
    """

    name: str
    dtype: str
    nullable: bool
    unit: str
    doc: str
    symbols: tuple[str, ...] = ()
    came_later: bool = False
    default: Any = None

    def polars_dtype(self) -> pl.DataType:
        """The column's polars type."""
        import polars as pl

        if self.dtype == "Enum":
            return pl.Enum(list(self.symbols))
        if self.dtype == LIST:
            return pl.List(pl.Float32)
        return getattr(pl, self.dtype)()


@dataclass(frozen=True)
class Contract:
    """A parsed contract."""

    name: str
    doc: str
    fields: tuple[Field, ...]
    path: str

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in the contract's order."""
        return tuple(f.name for f in self.fields)

    def schema(self) -> dict[str, pl.DataType]:
        """Column names and polars types, in order."""
        return {f.name: f.polars_dtype() for f in self.fields}

    def fingerprint(self) -> str:
        """SHA-256 of names, order, types, nullability and units of the columns, without the wording of their meanings."""
        return _fingerprint(self.fields)

    def accepts(self, fingerprint: str) -> bool:
        """Whether a partition of that fingerprint satisfies the contract: its own, or that from before the columns that came later."""
        return fingerprint in (self.fingerprint(), _fingerprint(tuple(f for f in self.fields if not f.came_later)))

    def filled(self, frame: pl.LazyFrame, found: Collection[str]) -> pl.LazyFrame:
        """`frame`, which has the columns `found`, with the default of every column that came later and is not there."""
        import polars as pl

        late = [f for f in self.fields if f.came_later and f.name not in found]
        return frame.with_columns(pl.lit(f.default, f.polars_dtype()).alias(f.name) for f in late) if late else frame

    def check_columns(self, columns: tuple[str, ...], where: str) -> None:
        """Raise ContractError, naming them, where the contract lacks some of `columns`."""
        unknown = [c for c in columns if c not in self.names]
        if unknown:
            raise ContractError(f"{where}: no such column: {', '.join(unknown)}; the contract {self.path} has {', '.join(self.names)}")

    def empty(self) -> pl.DataFrame:
        """A frame with the contract's columns and no rows."""
        import polars as pl

        return pl.DataFrame(schema=self.schema())


def _fingerprint(fields: tuple[Field, ...]) -> str:
    text = json.dumps([[f.name, f.dtype, f.nullable, f.unit, list(f.symbols)] for f in fields], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _field(raw: dict[str, Any], path: Path) -> Field:
    kind: Any = raw["type"]
    nullable = isinstance(kind, list)
    if nullable:
        rest = [k for k in kind if k != "null"]
        if len(rest) != 1 or len(kind) != 2:
            raise ContractError(f"contract {path}: column {raw['name']!r}: expected one type or [null, type], found {kind!r}")
        kind = rest[0]
    symbols: tuple[str, ...] = ()
    dtype: str | None
    if isinstance(kind, dict) and kind.get("type") == "enum":
        dtype, symbols = "Enum", tuple(kind["symbols"])
    elif isinstance(kind, dict) and kind.get("type") == "array":
        dtype = LIST if kind.get("items") == "float" else None
    elif isinstance(kind, dict):
        dtype = _LOGICAL.get(kind.get("logicalType", ""))
    else:
        dtype = _PLAIN.get(kind)
    if dtype is None:
        known = ", ".join((*_PLAIN, *_LOGICAL, "enum", "array of float"))
        raise ContractError(f"contract {path}: column {raw['name']!r}: expected a type of {known}, found {raw['type']!r}")
    return Field(raw["name"], dtype, nullable, raw.get("unit", ""), raw.get("doc", ""), symbols, "default" in raw, raw.get("default"))


def parse_contract(path: Path) -> Contract:
    """The Avro schema in `path`; ContractError where there is no file, it is no JSON or no Avro record, or has an unsupported type."""
    from fastavro.schema import SchemaParseException, UnknownType, parse_schema

    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        parse_schema(raw)
    except FileNotFoundError:
        raise ContractError(f"contract {path}: expected an Avro schema, found no file; `git checkout {path}` brings it back") from None
    except (ValueError, KeyError, SchemaParseException, UnknownType) as e:
        raise ContractError(f"contract {path}: expected an Avro record schema, found {type(e).__name__}: {e}") from e
    if not isinstance(raw, dict) or raw.get("type") != "record" or "fields" not in raw:
        raise ContractError(f"contract {path}: expected an Avro record schema, found {str(raw)[:80]!r}")
    return Contract(raw["name"], raw.get("doc", ""), tuple(_field(f, path) for f in raw["fields"]), str(path))


@lru_cache(maxsize=64)
def load_contract(relative: str) -> Contract:
    """The contract at `relative` under ``engine/lake/contracts``, parsed once per process."""
    return parse_contract(CONTRACTS_DIR / relative)


def enforce_contract(frame: pl.DataFrame, contract: Contract, where: str, columns: tuple[str, ...] | None = None) -> pl.DataFrame:
    """`frame` in the contract's column order; `columns` are those expected of a projected read (all where None), `where` is for errors.
    Raises ContractError, naming every missing, extra, differently typed and unexpectedly null column.
    """
    expected = contract.schema()
    if columns is not None:
        contract.check_columns(columns, where)
        expected = {c: expected[c] for c in columns}
    faults: list[str] = []
    missing = [c for c in expected if c not in frame.columns]
    extra = [c for c in frame.columns if c not in expected]
    if missing:
        faults.append(f"missing: {', '.join(missing)}")
    if extra:
        faults.append(f"extra: {', '.join(extra)}")
    found = frame.schema
    faults += [f"{c}: expected {d}, found {found[c]}" for c, d in expected.items() if c in found and found[c] != d]
    nullable = {f.name for f in contract.fields if f.nullable}
    nulls = {c: frame.get_column(c).null_count() for c in expected if c in found and c not in nullable}
    faults += [f"{c}: expected no null, found {n}" for c, n in nulls.items() if n]
    lists = [f.name for f in contract.fields if f.dtype == LIST and found.get(f.name) == f.polars_dtype()]
    within = {c: frame.get_column(c).drop_nulls().list.explode().null_count() for c in lists if c in expected}
    faults += [f"{c}: expected no null in a list, found {n}" for c, n in within.items() if n]
    if faults:
        raise ContractError(f"{where} does not satisfy its contract {contract.path}: {'; '.join(faults)}")
    return frame.select(list(expected))


def render_contract(name: str, namespace: str, doc: str, fields: list[Field]) -> str:
    """Text of an ``.avsc`` file with one field a line, for generated contracts."""
    back = {v: k for k, v in _PLAIN.items()}
    logical = {v: k for k, v in _LOGICAL.items()}
    lines = []
    for f in fields:
        kind: Any
        if f.dtype == "Enum":
            kind = {"type": "enum", "name": f.name.title().replace("_", ""), "symbols": list(f.symbols)}
        elif f.dtype in back:
            kind = back[f.dtype]
        else:
            kind = {"type": "long" if "32" in f.dtype or "64" in f.dtype else "int", "logicalType": logical[f.dtype]}
        entry = {"name": f.name, "type": ["null", kind] if f.nullable else kind, "unit": f.unit, "doc": f.doc}
        if f.came_later:
            entry["default"] = f.default
        lines.append("    " + json.dumps(entry, ensure_ascii=False))
    head = {"type": "record", "name": name, "namespace": namespace, "doc": doc}
    top = "".join(f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)},\n" for k, v in head.items())
    return "{\n" + top + '  "fields": [\n' + ",\n".join(lines) + "\n  ]\n}\n"
