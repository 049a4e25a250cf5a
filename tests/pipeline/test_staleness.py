"""What decides whether a partition is current beyond its inputs, and trades whose time or price is out of order."""

from __future__ import annotations

import datetime as dt
import json
import os
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest

from engine.bars import nearest_tick
from engine.lake.catalog import BARS, BRONZE_MBO, LEVELS, dataset
from engine.lake.manifest import Lineage
from engine.lake.store import CACHE_DIR, Lake
from engine.params import RunParams
from engine.pipeline import lake_state
from engine.sessions import session_windows, to_ns
from engine.stages import base
from engine.stages.raw import HEADER_CACHE, raw_index
from engine.stages.silver import STAGES
from engine.vocab import NS, ROOTS
from tests.support.lakes import MONDAY, RAW, TUESDAY, make_bronze

TICK = ROOTS["ES"].tick_fixed
DAY = 86_400 * NS


def test_another_exchange_calendar_makes_the_levels_stale(copied_lake: Lake, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(base, "version", lambda package: "0.0" if package == "exchange-calendars" else version(package))
    assert {s.dataset: s.stale for s in lake_state(copied_lake) if s.stale} == {LEVELS: "the code changed"}


def test_an_index_of_headers_read_by_other_code_is_read_again(copied_lake: Lake):
    path = copied_lake.root / CACHE_DIR / HEADER_CACHE
    before = raw_index(copied_lake, "ES").files
    known = json.loads(path.read_text())
    for entry in known.values():
        entry["contracts"] = {"ESH6": [17077]}
    path.write_text(json.dumps(known))
    assert {f.symbols for f in raw_index(copied_lake, "ES").files} == {("ESH6",)}
    path.write_text(json.dumps({name: {**entry, "code": "of yesterday"} for name, entry in known.items()}))
    assert raw_index(copied_lake, "ES").files == before


def test_a_touched_raw_file_is_hashed_once(copied_lake: Lake):
    raw = min((copied_lake.root / RAW).iterdir())
    content = raw.read_bytes()
    os.utime(raw, ns=(1, 1))
    assert make_bronze(copied_lake, MONDAY).status == "current"
    # Other bytes under the same size and time: only a second hash would find them.
    raw.write_bytes(content[:-1] + bytes([content[-1] ^ 0xFF]))
    os.utime(raw, ns=(1, 1))
    assert make_bronze(copied_lake, MONDAY).status == "current"
    os.utime(raw, ns=(2, 2))
    assert make_bronze(copied_lake, MONDAY).status == "failed"


def test_a_price_off_the_grid_takes_the_nearest_tick_ties_up():
    prices = {
        0: 0,
        TICK: 1,
        TICK - 1: 1,
        TICK // 2: 1,
        TICK // 2 - 1: 0,
        -(TICK // 2): 0,
        -(TICK // 2) - 1: -1,
        -TICK: -1,
        -3 * TICK - 1: -3,
    }
    frame = pl.DataFrame({"price": list(prices)}, schema={"price": pl.Int64})
    assert frame.select(nearest_tick(pl.col("price"), TICK))["price"].to_list() == list(prices.values())


def bronze_day(lake: Lake, date: dt.date, trades: list[tuple[int, int]]) -> None:
    """A day of trades (time, fixed-point price) and no other record."""
    contract = dataset(BRONZE_MBO).contract()
    rows = {f.name: [0] * len(trades) for f in contract.fields}
    rows |= {
        "ts_event": [t for t, _ in trades],
        "ts_recv": [t for t, _ in trades],
        "price": [p for _, p in trades],
        "size": [1] * len(trades),
    }
    named = {"action": ["T"] * len(trades), "side": ["B"] * len(trades)}
    start = int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()) * NS
    notes = {"dbn_start_ns": start, "dbn_end_ns": start + DAY, "trades_by_slot": {}}
    frame = pl.DataFrame({**rows, **named}, schema=contract.schema())
    lake.write(BRONZE_MBO, "ESZ5", date, frame, Lineage("bronze", "", "", {}), notes)


def test_levels_and_bars_take_trades_as_the_replay_does(tmp_path: Path):
    lake = Lake(tmp_path)
    close = to_ns(MONDAY, dt.time(16))
    # In the file's order: the close, a trade after it, and one with an older time that came later still; the last has no int32 tick.
    late = [(close - NS, 100 * TICK), (close + NS, 300 * TICK), (close - 2 * NS, 900 * TICK), (close + 2 * NS, 2**62)]
    bronze_day(lake, MONDAY, late)
    w = session_windows(TUESDAY, "rth")
    bronze_day(lake, TUESDAY, [(w.premarket_start_ns, 200 * TICK + TICK // 2), (w.premarket_start_ns + 1, -(200 * TICK) - TICK // 2 - 1)])
    for name in ("bars", "levels"):
        base.build(lake, next(s for s in STAGES if s.name == name), "ESZ5", TUESDAY, "rth", RunParams())
    ticks = dict(lake.read(LEVELS, "ESZ5", TUESDAY).select("level_id", "level_tick").unique().iter_rows())
    assert (ticks["pd_high"], ticks["pd_close"]) == (100, 100)
    assert (ticks["pm_high"], ticks["pm_low"]) == (201, -201)
    bar = lake.read(BARS, "ESZ5", TUESDAY).row(0, named=True)
    assert (bar["open_tick"], bar["close_tick"]) == (201, -201)
