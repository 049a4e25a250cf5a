"""A UTC day of simulated options as Databento files: definitions, statistics, trades and quotes, beside the futures' file of the day.

Futures are what they are without options, to the byte. Options are quoted around the simulated mid of their future, once a minute in the
hours in which it is busy, else every quarter of an hour.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DuplicateRaw, EngineError
from engine.lake.writer import write_parquet_atomic, write_text_atomic
from engine.options.records import RTYPES, SCHEMAS, layout
from engine.params import SimParams
from engine.provenance import accepted, code_of
from engine.simulate import calendar as cal
from engine.simulate import orders as o
from engine.simulate.day import Day
from engine.simulate.dbn import (
    DATASET,
    DBN_VERSION,
    DayReceipt,
    DayTask,
    MappedInterval,
    SymbolMapping,
    file_name,
    is_done,
    metadata_bytes,
    write_file,
    write_receipt,
)
from engine.simulate.option_chain import Chain, fair, level_of_volatility, make_chain
from engine.vocab import NS, UNDEF_PRICE, root_of

MINUTE_NS = 60 * NS
BUSY = 0.15
"""Activity from which on options are quoted every minute."""

QUIET_MINUTES = 15
TRADES_PER_MINUTE = 150.0
TABLES = ("definition", "statistics", "tbbo", "bbo_1m")
SIGNED, ACCURATE = 0.75, 0.90
"""Share of trades that have an aggressor, and of those the share whose recorded side is the customer's."""

UNDEF_TS = np.uint64(2**64 - 1)
OI_AT_NS, CLOSE_AT = 6 * 3600 * NS, 21 * 3600 * NS
OPEN_INTEREST, SETTLEMENT, CLEARED_VOLUME = 9, 3, 6
SPREADS = 24


def option_file_name(root: str, date: dt.date, table: str) -> str:
    """Name of a simulated table's file."""
    return f"{root.lower()}-simulated-glbx-mdp3-{date:%Y%m%d}.{SCHEMAS[table]}.dbn.zst"


def write_day_with_options(out: Path, truth: Path, date: dt.date, params: SimParams) -> int:
    """Records written: as `engine.simulate.dbn.write_day`, and a file of each option table in the folders of the root's options."""
    day = Day(date, params)
    metadata = metadata_bytes(date, params.root, day.symbols, day.start_ns, day.end_ns)
    n = write_file(out / file_name(params.root, date), metadata, day.chunks())
    write_parquet_atomic(truth / f"{date.isoformat()}.parquet", day.truth())
    made = OptionDay(date, params, day.activity, minute_mids(day))
    for table in TABLES:
        n += made.write(option_folder(out, params.root, table), table)
    write_parquet_atomic(truth / f"{date.isoformat()}.options.parquet", made.truth())
    return n


def _receipt(task: DayTask) -> Path:
    return task.truth / f"{task.date.isoformat()}.options.json"


def option_codes(root: str) -> tuple[str, ...]:
    """Hashes of simulators that make the same files of options, the present one first."""
    return accepted(code_of(write_day_with_options), {"ROOTS.code": {root}})


def are_done(task: DayTask) -> bool:
    """Whether the files of the task's day, futures and options, are there, made from the same parameters by the same simulator.
    Raises DuplicateRaw where they were made otherwise.
    """
    root = task.params.root
    files = [option_folder(task.out, root, t) / option_file_name(root, task.date, t) for t in TABLES]
    if not is_done(task) or task.overwrite or not all(f.exists() for f in files) or not _receipt(task).exists():
        return False
    made = json.loads(_receipt(task).read_text())
    if made["params"] == task.params.digest() and made["code"] in option_codes(root):
        return True
    raise DuplicateRaw(
        f"{files[0]}: expected no file, or one of the same parameters and simulator, found one of others; use --overwrite or another --out"
    )


def run_day_with_options(task: DayTask) -> DayReceipt:
    """As `engine.simulate.dbn.run_day`, with the day's options."""
    start = time.perf_counter()
    try:
        if are_done(task):
            return DayReceipt(task.name, 0, 0.0)
        n = write_day_with_options(task.out, task.truth, task.date, task.params)
        write_receipt(task, n)
        receipt = {"params": task.params.digest(), "code": option_codes(task.params.root)[0]}
        write_text_atomic(_receipt(task), json.dumps(receipt) + "\n")
    except (EngineError, OSError) as e:
        return DayReceipt(task.name, 0, time.perf_counter() - start, f"{type(e).__name__}: {e}")
    return DayReceipt(task.name, n, time.perf_counter() - start)


def option_folder(futures: Path, root: str, table: str) -> Path:
    """Where a table's files go when the futures' go to `futures`: the lake's own folder of it, else one beside them."""
    parts = futures.resolve().parts
    if "raw" not in parts:
        return futures / f"table={table}_dbn"
    lake = Path(*parts[: parts.index("raw")])
    return lake / f"raw/source=databento/product_type=future_option/symbol={root}/table={table}_dbn"


def minute_mids(day: Day) -> NDArray[np.float64]:
    """Mid of the main contract at the start of each minute of the date, in points; NaN before the first."""
    seconds = np.maximum(60 * np.arange(1440) - 1, 0)  # the last second before the minute
    ticks = day.second_mids[seconds] + int(day.books[0].st[o.TICK0])
    open_ = day.activity[:1440] > 0
    mids = np.where(open_, ticks * root_of(day.params.root).tick_size, np.nan)
    last = np.maximum.accumulate(np.where(np.isnan(mids), -1, np.arange(1440)))
    return np.where(last >= 0, mids[np.maximum(last, 0)], np.nan)


class OptionDay:
    """The options of one simulated day, whose main contract has these mids (`minute_mids`) and activity a minute."""

    def __init__(self, date: dt.date, params: SimParams, activity: NDArray[np.float64], mids: NDArray[np.float64]) -> None:
        self.date, self.start_ns, self.params = date, cal.utc_midnight(date), params
        self.root = root_of(params.root)
        self.activity, self.mids = activity[:1440], mids
        first = self.mids[~np.isnan(self.mids)][0]
        front, following = cal.listed(self.root, self.date)
        main = front if front.share >= following.share else following
        self.chain: Chain = make_chain(self.root, self.date, float(first), self.params.seed, main)
        self.level = level_of_volatility(self.params.seed, self.date)
        self.rng = np.random.default_rng([self.params.seed, self.date.toordinal(), 17])
        self.bought = np.zeros(len(self.chain))  # by customers, so far
        self._quotes, self._trades = self._through_the_day()

    # --- what each table holds

    def write(self, folder: Path, table: str) -> int:
        """Write a table's file; its records."""
        made = {"definition": self.definitions, "statistics": self.statistics, "tbbo": lambda: self._trades, "bbo_1m": lambda: self._quotes}
        records = made[table]()
        return write_file(folder / option_file_name(self.root.code, self.date, table), self._metadata(table), (_words(records),))

    def _metadata(self, table: str) -> bytes:
        import databento_dbn as dbn

        until = self.date + dt.timedelta(days=1)
        names = dict(zip(self.chain.instrument_id.tolist(), self.chain.symbol))
        mappings = [
            SymbolMapping(raw, [MappedInterval(self.date, until, str(number))])
            for number, raw in sorted(names.items(), key=lambda kv: kv[1])
        ]
        products = sorted({e.product for e in self.chain.expiries})
        return dbn.Metadata(
            dataset=DATASET, start=self.start_ns, end=self.start_ns + cal.DAY_NS, stype_in=dbn.SType.PARENT,  # type: ignore[arg-type]
            stype_out=dbn.SType.INSTRUMENT_ID, schema=dbn.Schema.from_str(SCHEMAS[table]),  # type: ignore[arg-type]
            symbols=[f"{p}.OPT" for p in products], partial=[], not_found=[], mappings=mappings, version=DBN_VERSION,  # type: ignore[arg-type]
        ).encode()  # fmt: skip

    def _records(self, table: str, n: int) -> np.ndarray:
        records = np.zeros(n, layout(table, 3))
        records["length"], records["rtype"], records["publisher_id"] = records.dtype.itemsize // 4, RTYPES[table], 1
        return records

    def definitions(self) -> np.ndarray:
        """A definition of each contract at the start of the date, then those of some vertical spreads, a record per leg."""
        c = self.chain
        made = self._records("definition", len(c) + 2 * SPREADS)
        for name in ("min_price_increment", "leg_price", "leg_delta", "high_limit_price", "low_limit_price", "max_price_variation"):
            made[name] = UNDEF_PRICE
        made["contract_multiplier"], made["strike_price"] = 2**31 - 1, UNDEF_PRICE
        made["ts_event"] = made["ts_recv"] = self.start_ns
        made["display_factor"], made["unit_of_measure_qty"] = NS // 100, int(self.root.multiplier) * NS
        made["currency"], made["exchange"], made["asset"], made["group"] = b"USD", b"XCME", self.root.code.encode(), b"EW"
        made["security_update_action"], made["match_algorithm"] = b"A", b"F"
        of = made[: len(c)]
        of["instrument_id"] = of["raw_instrument_id"] = c.instrument_id
        of["expiration"], of["activation"] = c.expiration_ns, self.start_ns - 90 * cal.DAY_NS
        of["strike_price"] = np.round(c.strike * 1e9).astype(np.int64)
        under = [e.underlying for e in c.expiries]
        of["underlying_id"] = np.array([u.instrument_id for u in under])[c.expiry]
        of["underlying"] = np.array([u.symbol.encode() for u in under])[c.expiry]
        of["instrument_class"] = np.where(c.right > 0, b"C", b"P")
        style = np.array([e.exercise.encode() for e in c.expiries])[c.expiry]
        of["cfi"] = np.char.add(np.char.add(np.where(c.right > 0, b"OC", b"OP"), style), b"FPS")
        of["security_type"], of["raw_symbol"] = b"OOF", np.array([s.encode() for s in c.symbol])
        of["user_defined_instrument"] = b"N"
        for j in range(SPREADS):
            legs = made[len(c) + 2 * j : len(c) + 2 * j + 2]
            a = (j * 97) % (len(c) - 2)
            which = np.array([a, a + 2])
            legs["instrument_id"] = legs["raw_instrument_id"] = (1 << 30) + self.date.toordinal() * 64 + j
            legs["raw_symbol"], legs["security_type"], legs["instrument_class"] = (
                f"UD:1V: VT {self.date:%m%d}{j:03d}".encode(),
                b"OOF",
                b"T",
            )
            legs["user_defined_instrument"], legs["secsubtype"] = b"Y", b"VT"
            legs["expiration"], legs["leg_count"], legs["leg_index"] = self.start_ns + cal.DAY_NS, 2, (0, 1)
            legs["leg_instrument_id"] = c.instrument_id[which]
            legs["leg_raw_symbol"] = np.array([c.symbol[k].encode() for k in which])
            legs["leg_ratio_qty_numerator"] = legs["leg_ratio_qty_denominator"] = 1
            legs["leg_side"], legs["leg_instrument_class"] = (b"B", b"A"), np.where(c.right[which] > 0, b"C", b"P")
        return made

    def statistics(self) -> np.ndarray:
        """Open interest of the day before at 06:00 UTC, and settlements after 21:00."""
        c, n = self.chain, len(self.chain)
        made = self._records("statistics", 2 * n)
        made["ts_ref"], made["price"], made["quantity"] = UNDEF_TS, UNDEF_PRICE, 2**63 - 1
        made["update_action"] = 1
        made["instrument_id"] = np.tile(c.instrument_id, 2)
        oi, settled = made[:n], made[n:]
        oi["ts_event"] = oi["ts_recv"] = self.start_ns + OI_AT_NS + np.arange(n) * 1000
        oi["ts_ref"], oi["stat_type"], oi["quantity"] = self.start_ns - cal.DAY_NS, OPEN_INTEREST, c.oi
        value, *_ = fair(c, self._mid_at(1259), self.start_ns + 20 * 3600 * NS, self.level)
        settled["ts_event"] = settled["ts_recv"] = self.start_ns + CLOSE_AT + np.arange(n) * 1000
        settled["ts_ref"], settled["stat_type"], settled["stat_flags"] = self.start_ns, SETTLEMENT, 1
        tick = np.where(value < 5, 0.05, 0.25)
        fixed = np.round(np.maximum(np.round(value / tick) * tick, 0.05) * 1e9)
        settled["price"] = np.where(np.isnan(value), UNDEF_PRICE, np.nan_to_num(fixed).astype(np.int64))
        # A Sunday settles nothing.
        return made[:n] if self.date.weekday() == 6 else made

    def _mid_at(self, minute: int) -> float:
        known = self.mids[: minute + 1]
        return float(known[~np.isnan(known)][-1]) if (~np.isnan(known)).any() else float(self.mids[~np.isnan(self.mids)][0])

    def truth(self) -> pl.DataFrame:
        """What dealers hold of each contract at the start of the date and at its end, and its volatility at the money; nothing of it is in
        the files.
        """
        c = self.chain
        return pl.DataFrame({
            "instrument_id": c.instrument_id, "raw_symbol": c.symbol, "dealers_start": c.dealers, "dealers_end": c.dealers - self.bought,
            "expiration_ts_ns": c.expiration_ns, "strike": c.strike, "right": c.right, "level": np.full(len(c), self.level),
        })  # fmt: skip

    # --- quotes and trades

    def _through_the_day(self) -> tuple[np.ndarray, np.ndarray]:
        c = self.chain
        quotes, trades = [], []
        near = np.exp(-np.abs(c.strike - self.mids[~np.isnan(self.mids)][0]) / 25.0) / (1 + (c.expiration_ns - self.start_ns) / cal.DAY_NS)
        weight = near * np.where(np.round(c.strike) % 25 == 0, 2.0, 1.0)
        for minute in range(1440):
            busy = self.activity[minute] >= BUSY
            if self.activity[minute] <= 0 or not (busy or minute % QUIET_MINUTES == 0):
                continue
            now = self.start_ns + minute * MINUTE_NS
            value, *_ = fair(c, self._mid_at(minute), now, self.level)
            listed = c.expiration_ns > now
            bid, ask = _around(value)
            quote = self._quote_records(now, bid, ask, listed)
            quotes.append(quote)
            n = self.rng.poisson(TRADES_PER_MINUTE * self.activity[minute]) if busy else 0
            if n and listed.any():
                trades.append(self._trade_records(now, n, weight * listed, bid, ask))
        return np.concatenate(quotes), np.concatenate([self._records("tbbo", 0), *trades])

    def _quote_records(self, now: int, bid: NDArray[np.float64], ask: NDArray[np.float64], listed: NDArray[np.bool_]) -> np.ndarray:
        """Quotes at a minute's start, which is the end of the one before: some are empty, crossed or do not come."""
        u = self.rng.random(len(listed))
        which = np.flatnonzero(listed & (u > 0.01))
        made = self._records("bbo_1m", len(which))
        made["instrument_id"], made["ts_recv"], made["ts_event"] = self.chain.instrument_id[which], now, now - 3 * NS
        made["price"], made["side"] = UNDEF_PRICE, b"N"
        low, high = bid[which], ask[which]
        crossed = (u[which] < 0.012) & (low > 0.5)
        low = np.where(crossed, high + 0.25, low)
        none = (low <= 0) | ((u[which] > 0.012) & (u[which] < 0.02))
        made["bid_px_00"] = np.where(none, UNDEF_PRICE, np.round(low * 1e9).astype(np.int64))
        made["ask_px_00"] = np.round(high * 1e9).astype(np.int64)
        made["bid_sz_00"] = np.where(none, 0, self.rng.integers(1, 60, len(which)))
        made["ask_sz_00"] = self.rng.integers(1, 60, len(which))
        made["bid_ct_00"], made["ask_ct_00"] = made["bid_sz_00"] > 0, 1
        return made

    def _trade_records(
        self, now: int, n: int, weight: NDArray[np.float64], bid: NDArray[np.float64], ask: NDArray[np.float64]
    ) -> np.ndarray:
        """Trades within a minute: customers buy at the ask or sell at the bid, most of them with a side that is recorded right."""
        which = self.rng.choice(len(weight), n, p=weight / weight.sum())
        at = np.sort(now + self.rng.integers(0, MINUTE_NS - NS, n))
        size = np.minimum(np.ceil(self.rng.exponential(6.0, n)), 400).astype(np.int64)
        # Customers buy puts and sell calls a little more often than not, as what they hold says.
        buys = self.rng.random(n) < 0.5 - 0.06 * self.chain.right[which]
        self.bought += np.bincount(which, np.where(buys, size, -size), len(weight))
        signed = self.rng.random(n) < SIGNED
        shown = buys ^ (self.rng.random(n) >= ACCURATE)
        made = self._records("tbbo", n)
        made["instrument_id"], made["ts_event"], made["ts_recv"] = self.chain.instrument_id[which], at, at + 150_000
        low, high = np.maximum(bid[which], 0.0), ask[which]
        price = np.where(signed, np.where(shown, high, low), 0.5 * (low + high))
        made["price"], made["size"] = np.round(np.maximum(price, 0.05) * 1e9).astype(np.int64), size
        made["action"], made["side"], made["flags"] = b"T", np.where(signed, np.where(shown, b"B", b"A"), b"N"), 128
        made["sequence"] = np.arange(n) + now // MINUTE_NS % 1440 * 4096
        made["bid_px_00"] = np.where(low > 0, np.round(low * 1e9).astype(np.int64), UNDEF_PRICE)
        made["ask_px_00"] = np.round(high * 1e9).astype(np.int64)
        made["bid_sz_00"], made["ask_sz_00"] = 10 * (low > 0), 10
        made["bid_ct_00"], made["ask_ct_00"] = 1 * (low > 0), 1
        return made


def _around(value: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bid and ask around a price, on the grid of ticks: 0.05 below 5 points, 0.25 from there on."""
    value = np.nan_to_num(value)
    tick = np.where(value < 5, 0.05, 0.25)
    half = np.maximum(0.5 * tick, 0.006 * value)
    return np.round(np.floor((value - half) / tick + 1e-9) * tick, 9), np.round(
        np.maximum(np.ceil((value + half) / tick - 1e-9), 1) * tick, 9
    )


def _words(records: np.ndarray) -> NDArray[np.int64]:
    return np.ascontiguousarray(records).view(np.int64).reshape(len(records), records.dtype.itemsize // 8)
