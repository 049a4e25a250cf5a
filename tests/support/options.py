"""A simulated day of options on a future that walks by itself, and what is in its files."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import databento_dbn as dbn
import numpy as np
import polars as pl

from engine.lake.catalog import RAW_OPTION_TEMPLATE, TAPE
from engine.lake.store import Lake
from engine.options.chain import Counts, OptionRecords, build_chain, contracts_at, legs_of, names_of, net_trades, strikes_of
from engine.options.marks import Marks, Mids, mark, mids_of, minutes_of, usable
from engine.options.profile import Profile, build_profile
from engine.options.records import SCHEMAS, frame_of, layout
from engine.params import OptionParams, SimParams
from engine.simulate import calendar as cal
from engine.simulate.dbn import write_file
from engine.simulate.options import TABLES, OptionDay
from engine.stages.options import book_of
from tests.support.built import copy_of_built
from tests.support.dbn_files import metadata_bytes
from tests.support.lakes import spymaster

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


def option_file(
    folder: Path, table: str, records: np.ndarray, *, name: str = "day", version: int = 3, dataset: str = "GLBX.MDP3",
    span: tuple[int, int] = (START_NS, START_NS + DAY_NS),
) -> Path:  # fmt: skip
    """A file of these records, whatever version they are of, as `version`; its metadata say that it covers `span`."""
    schema = dbn.Schema.from_str(SCHEMAS[table])
    metadata = metadata_bytes({1: "ESU5"}, *span, version=version, schema=schema, dataset=dataset)
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


def option_raw(lake: Path) -> None:
    """The four files of the day in a lake's raw folders."""
    for table in TABLES:
        option_file(lake / RAW_OPTION_TEMPLATE.format(root="ES", table=table), table, records_of(table), dataset="GLBX.MDP3.SIM")


def options_beside(lake: Lake, symbol: str, date: dt.date) -> None:
    """Raw files of options on a future whose session the lake has, around the mids of its tape."""
    tape = lake.read(TAPE, symbol, date)
    known = mids_of(tape, 0.25)
    mids = np.full(1440, known.mid[~np.isnan(known.mid)][0])
    minute = (known.start_ns - cal.utc_midnight(date)) // (60 * 10**9)
    inside = known.mid[59::60]
    mids[minute + 1 : minute + 1 + len(inside)] = np.where(np.isnan(inside), mids[0], inside)
    day = OptionDay(date, SimParams(root="ES", thin_after=dt.time(10)), cal.activity(date, dt.time(10)), mids)
    for table in TABLES:
        day.write(lake.option_folder("ES", table), table)


@dataclass(frozen=True)
class Made:
    """What the stages make of a simulated day, without a lake."""

    chain: pl.DataFrame
    strikes: pl.DataFrame
    marks: Marks
    profile: Profile


def made_of(
    day: OptionDay, mids: Mids, end_ns: int, cut_ns: int, params: OptionParams, changed: dict[str, pl.DataFrame] | None = None
) -> Made:
    """Chain, marks and profile of a session that begins with `mids`, of what was received before an instant; `changed` are other tables."""
    tables = {"definition": day.definitions(), "statistics": day.statistics(), "tbbo": day._trades, "bbo_1m": day._quotes}
    whole = {t: frame_of(records, t) for t, records in tables.items()} | (changed or {})
    f = {t: frame.filter(pl.col("ts_recv") < cut_ns) for t, frame in whole.items()}
    records = OptionRecords(day.date, f["definition"], f["statistics"])
    chain, _ = build_chain([records], day.date, mids.start_ns, end_ns, day.start_ns + 28 * 3600 * 10**9)
    strikes = strikes_of(chain, cal.listed(day.root, day.date)[0].symbol)
    known = Mids(mids.start_ns, np.where(mids.start_ns + (np.arange(len(mids.mid)) + 1) * 10**9 <= cut_ns, mids.mid, np.nan))
    minutes = minutes_of(mids.start_ns, end_ns)
    marks = mark(strikes, chain, usable(f["bbo_1m"], params, Counts()), known, minutes, params, Counts())
    net = net_trades(f["tbbo"], legs_of([records], Counts()), names_of([records], chain), Counts())
    book = book_of(chain, strikes, net, minutes)
    k, expiry = strikes["strike"].to_numpy(), strikes["expiration_ts_ns"].to_numpy()
    contracts = contracts_at(chain, strikes, minutes)
    return Made(chain, strikes, marks, build_profile(k, expiry, strikes["expiry_bucket"].to_list(), contracts, marks, book, params))


def morning(seed: int, date: dt.date = DATE) -> tuple[OptionDay, Mids, int]:
    """A day of another seed, the mids of its morning from 09:00 to 12:30 New York, and that session's end."""
    steps = np.random.default_rng(seed).normal(0, 1.0, 1440)
    mids = np.round((6800 + np.cumsum(steps)) * 8) / 8
    until = dt.time(12, 35)
    day = OptionDay(date, SimParams(root="ES", seed=seed, thin_after=until), cal.activity(date, until), mids)
    start, end = day.start_ns + 13 * 3600 * 10**9, day.start_ns + 16 * 3600 * 10**9 + 1800 * 10**9
    second = (np.array([start, end]) - day.start_ns) // 10**9
    return day, Mids(start, np.repeat(mids, 60)[second[0] : second[1]]), end


def lake_with_options(made: Path, folder: Path, symbol: str, date: dt.date) -> Path:
    """A copy of the lake `made` whose session of `date` has options, through the whole pipeline of options; its levels stay as they are."""

    def make(place: Path) -> None:
        shutil.copytree(made, place / "lake")
        options_beside(Lake(place / "lake"), symbol, date)
        spymaster("run", "--lake", place / "lake", "--symbol", "ES", "--dates", date, "--product-type", "future_option", "--session", "rth")

    return copy_of_built(f"lake-with-options-{made.name}-{symbol}-{date}", make, folder) / "lake"
