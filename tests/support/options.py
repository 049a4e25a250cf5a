"""A simulated day of options on a future that walks by itself, and what is in its files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import cache
from pathlib import Path

import databento_dbn as dbn
import numpy as np

from engine.lake.catalog import RAW_OPTION_TEMPLATE
from engine.options.records import SCHEMAS, layout
from engine.params import SimParams
from engine.simulate import calendar as cal
from engine.simulate.dbn import write_file
from engine.simulate.options import TABLES, OptionDay
from tests.support.dbn_files import metadata_bytes

DATE = dt.date(2025, 9, 3)
DAY_NS = 86_400 * 10**9
START_NS = cal.utc_midnight(DATE)


@cache
def option_day(until: dt.time = dt.time(10, 30)) -> OptionDay:
    """The options of a day whose future is worth about 6,800 points; busy from 04:00 New York until then."""
    steps = np.random.default_rng(5).normal(0, 0.8, 1440)
    mids = np.round((6800 + np.cumsum(steps)) * 8) / 8
    return OptionDay(DATE, SimParams(root="ES", seed=7, thin_after=until), cal.activity(DATE, until), mids)


@cache
def records_of(table: str) -> np.ndarray:
    """A table's records of that day."""
    day = option_day()
    made = {"definition": day.definitions, "statistics": day.statistics, "tbbo": lambda: day._trades, "bbo_1m": lambda: day._quotes}
    return made[table]()


def option_file(folder: Path, table: str, records: np.ndarray, *, name: str = "day", version: int = 3, dataset: str = "GLBX.MDP3") -> Path:
    """A file of these records, whatever version they are of, as `version`."""
    schema = dbn.Schema.from_str(SCHEMAS[table])
    metadata = metadata_bytes({1: "ESU5"}, START_NS, START_NS + DAY_NS, version=version, schema=schema, dataset=dataset)
    path = folder / f"{name}.{SCHEMAS[table]}.dbn.zst"
    write_file(path, metadata, (np.frombuffer(records.tobytes(), np.uint8).reshape(len(records), -1),))
    return path


def downgraded(records: np.ndarray, table: str, version: int) -> np.ndarray:
    """Records of version 3 in an older layout, as far as it can hold them."""
    old = layout(table, version)
    made = np.zeros(len(records), old)
    for name in old.names or ():
        if name in (records.dtype.names or ()):
            values = records[name]
            made[name] = np.minimum(values, 2**31 - 1) if name == "quantity" else values
    made["length"] = old.itemsize // 4
    return made


def option_raw(lake: Path, change: Callable[[str, np.ndarray], np.ndarray] = lambda table, records: records) -> None:
    """The four files of the day in a lake's raw folders; `change` may harm a table's records before."""
    for table in TABLES:
        folder = lake / RAW_OPTION_TEMPLATE.format(root="ES", table=table)
        option_file(folder, table, change(table, records_of(table).copy()), dataset="GLBX.MDP3.SIM")
