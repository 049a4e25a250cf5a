"""Make DBN files for tests and benches: any MBO records, and a plausible busy day of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace

import databento_dbn as dbn
import numpy as np
import zstandard

from tests.support.busy_market import simulate

NS = 1_000_000_000
DAY_NS = 86_400 * NS
F_LAST, F_SNAPSHOT, F_BAD_TS_RECV, F_MAYBE_BAD_BOOK = 128, 32, 8, 4
UNDEF_PRICE = 2**63 - 1

MBO = np.dtype(
    [
        ("length", "u1"), ("rtype", "u1"), ("publisher_id", "<u2"), ("instrument_id", "<u4"), ("ts_event", "<i8"),
        ("order_id", "<u8"), ("price", "<i8"), ("size", "<u4"), ("flags", "u1"), ("channel_id", "u1"), ("action", "u1"),
        ("side", "u1"), ("ts_recv", "<i8"), ("ts_in_delta", "<i4"), ("sequence", "<u4"),
    ]
)  # fmt: skip
"""An MBO record as it stands in a file; `action` and `side` hold the letter's code."""


def make_records(rows: Iterable[Mapping[str, object]]) -> np.ndarray:
    """Records from dicts; action and side are letters, what is not given is 0 (`ts_recv`: 1 us after `ts_event`)."""
    rows = list(rows)
    out = np.zeros(len(rows), MBO)
    out["length"], out["rtype"], out["publisher_id"] = 14, 0xA0, 1
    out["sequence"] = np.arange(len(rows))
    for i, row in enumerate(rows):
        out[i]["ts_recv"] = row.get("ts_event", 0) + 1000  # type: ignore[operator]
        for name, value in row.items():
            out[i][name] = ord(value) if isinstance(value, str) else value
    return out


def utc_ns(date: dt.date, hour: int = 0, minute: int = 0) -> int:
    """Ns since the epoch of a UTC clock time."""
    return round(dt.datetime(date.year, date.month, date.day, hour, minute, tzinfo=dt.UTC).timestamp()) * NS


def metadata_bytes(
    symbols: Mapping[int, str],
    start: int,
    end: int | None,
    *,
    version: int = 3,
    schema: dbn.Schema | None = dbn.Schema.MBO,
    ts_out: bool = False,
    dataset: str = "GLBX.MDP3",
    limit: int | None = None,
) -> bytes:
    """Encoded metadata that map each instrument id to its symbol on the UTC dates of ``[start, end)``."""
    first = dt.datetime.fromtimestamp(start // NS, dt.UTC).date()
    last = dt.datetime.fromtimestamp(((end or start + 1) - 1) // NS, dt.UTC).date() + dt.timedelta(days=1)
    mappings = [
        SimpleNamespace(raw_symbol=symbol, intervals=[SimpleNamespace(start_date=first, end_date=last, symbol=str(instrument))])
        for instrument, symbol in symbols.items()
    ]
    return bytes(
        dbn.Metadata(
            dataset=dataset, start=start, end=end, stype_in=dbn.SType.RAW_SYMBOL, stype_out=dbn.SType.INSTRUMENT_ID,
            schema=schema, symbols=list(symbols.values()), mappings=mappings, version=version, ts_out=ts_out,
            limit=limit,
        )
    )  # fmt: skip


def write_dbn(
    path: Path | str,
    records: np.ndarray,
    *,
    symbols: Mapping[int, str],
    start: int,
    end: int | None,
    version: int = 3,
    compress: bool = True,
    level: int = 3,
    dataset: str = "GLBX.MDP3",
    limit: int | None = None,
) -> Path:
    """Write `records` (dtype `MBO`) as a DBN file, like Databento's: metadata and records in zstd frames of their own."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    head = metadata_bytes(symbols, start, end, version=version, dataset=dataset, limit=limit)
    if not compress:
        with path.open("wb") as out:
            out.write(head)
            records.tofile(out)
        return path
    packer = zstandard.ZstdCompressor(level=level, write_checksum=True)
    with path.open("wb") as out:
        out.write(packer.compress(head))
        with packer.stream_writer(out, closefd=False) as body:
            for i in range(0, len(records), 1 << 16):
                body.write(records[i : i + (1 << 16)].tobytes())
    return path


def busy_day(
    n_messages: int = 5_000_000,
    seed: int = 1,
    *,
    date: dt.date = dt.date(2025, 11, 4),
    start_ns: int | None = None,
    end_ns: int | None = None,
    symbols: Mapping[int, str] | None = None,
    price: float = 6800.0,
    tick: float = 0.25,
    snapshot_orders: int = 4000,
) -> np.ndarray:
    """A plausible day of one or two outright contracts, in file order: about `n_messages` live records after a snapshot each.

    ``R`` and the snapshot come at 00:00 UTC of `date`; live events follow in ``[start_ns, end_ns)`` (default: 00:01 to 24:00 UTC),
    crowded as by day: six times denser in the New York morning (14:30 to 17:30 UTC) than at night. Executions read ``T``,
    ``F``..., then the ``C``/``M`` that carry them out, with ``F_LAST`` on an event's last record; the best prices never cross. The
    first symbol has 85% of the messages.
    """
    symbols = symbols or {17077: "ESZ5"}
    day = utc_ns(date)
    start = day + 60 * NS if start_ns is None else start_ns
    end = day + DAY_NS if end_ns is None else end_ns
    share = [1.0] if len(symbols) == 1 else [0.85] + [0.15 / (len(symbols) - 1)] * (len(symbols) - 1)
    parts = []
    for k, instrument in enumerate(symbols):
        n = int(n_messages * share[k])
        out = np.zeros(n + snapshot_orders + 4096, MBO)
        times = _event_times(n, start, end, seed + k)
        used = simulate(out, times, n, seed + k, day, round(price / tick) + 240 * k, round(tick * NS), snapshot_orders, instrument)
        parts.append(out[:used])
    if len(parts) == 1:
        return parts[0]
    day_records = np.concatenate(parts)
    return day_records[np.argsort(day_records["ts_recv"], kind="stable")]


def _event_times(n: int, start: int, end: int, seed: int) -> np.ndarray:
    """Sorted ns times in ``[start, end)``, denser in the New York morning and in bursts."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(start, end, 2001)
    hour = (grid[:-1] / NS % 86_400) / 3600
    rate = 1.0 + 5.0 * ((hour >= 14.5) & (hour < 17.5)) + 1.0 * ((hour >= 13.5) & (hour < 21))
    cumulative = np.concatenate([[0.0], np.cumsum(rate)])
    steps = rng.exponential(1.0, n) * rng.choice([0.05, 1.0, 4.0], n, p=[0.6, 0.3, 0.1])
    position = np.cumsum(steps)
    times = np.interp(position / (position[-1] * 1.000001) * cumulative[-1], cumulative, grid)
    return times.astype(np.int64)
