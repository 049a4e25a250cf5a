"""A file that begins where the one before ended goes on with its book: cut anywhere, files make what one file makes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.lake.catalog import LADDER, ORDER_EVENTS, TAPE
from engine.lake.manifest import Manifest
from engine.lake.store import Lake
from engine.params import OrderParams, ReplayParams
from engine.stages.silver import ladder_differs
from engine.vocab import NS
from tests.support.dbn_files import DAY_NS, F_SNAPSHOT, busy_day, utc_ns, write_dbn
from tests.support.lakes import ESZ5, TUESDAY, WEDNESDAY, make_bronze, make_silver, spymaster
from tests.support.replaying import File, order_events, replay_files, twin_frames, twin_of_files, twin_order_events

MIDNIGHT = utc_ns(WEDNESDAY)
START, END = MIDNIGHT - 2 * 3600 * NS, MIDNIGHT + 3 * 3600 * NS
ID, SYMBOL = next(iter(ESZ5.items()))


@pytest.fixture(scope="module")
def records() -> np.ndarray:
    """From 17:00 New York to 22:00, over midnight of UTC at 19:00: the book of 17:00, and no snapshot after it."""
    made = busy_day(6_000, 9, date=TUESDAY, start_ns=START, end_ns=END, symbols=ESZ5, snapshot_orders=300)
    # What was sent in the last second of a date may be received on the next one.
    late = np.flatnonzero((made["ts_recv"] >= MIDNIGHT) & (made["flags"] & F_SNAPSHOT == 0))[:3]
    made["ts_event"][late], made["ts_recv"][late] = MIDNIGHT - 1_000_000, MIDNIGHT + np.arange(3)
    return made


def cut(records: np.ndarray, at: list[int]) -> list[File]:
    """The records as files that begin where the one before ended."""
    edges = [utc_ns(TUESDAY), *sorted(at), END]
    received = records["ts_recv"]
    return [File(records[(received >= a) & (received < b)], a, b) for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("seed", range(3))
def test_files_cut_anywhere_make_what_one_file_makes(records: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    span = (MIDNIGHT - 1800 * NS, MIDNIGHT + 1800 * NS)
    at = [MIDNIGHT, *rng.integers(span[0] - 600 * NS, span[1], 2 * seed).tolist()]
    whole, parts = cut(records, []), cut(records, at)
    chunks = rng.integers(0, len(records), 4).tolist()
    one = replay_files(whole, [], ESZ5, *span, ReplayParams())[SYMBOL]
    several = replay_files(parts, chunks, ESZ5, *span, ReplayParams())[SYMBOL]
    assert one.tape["book_valid"].all()
    assert several.rows.equals(one.rows)
    assert several.tape.equals(one.tape)
    assert several.stats == one.stats
    for made, twin in zip((several.rows, several.tape), twin_frames(twin_of_files(parts, ID, 250_000_000, *span, ReplayParams()))):
        shared = [c for c in made.columns if c in twin.columns]
        assert made.select(shared).equals(twin.select(shared).cast(made.select(shared).schema))
    asked = OrderParams(least_size=5)
    events = order_events(parts, chunks, ESZ5, *span, asked)[SYMBOL]
    assert events.height > 20
    assert events.equals(order_events(whole, [], ESZ5, *span, asked)[SYMBOL])
    twin_events = twin_order_events(parts, ID, 250_000_000, *span, asked)
    assert events.select(twin_events.columns).equals(twin_events.cast(events.select(twin_events.columns).schema))


def test_a_second_file_that_begins_later_starts_cold(records: np.ndarray) -> None:
    span = (MIDNIGHT - 1800 * NS, MIDNIGHT + 1800 * NS)
    first, second = cut(records, [MIDNIGHT])
    later = File(second.records, MIDNIGHT + 1, END)
    valid = replay_files([first, later], [], ESZ5, *span, ReplayParams())[SYMBOL].tape["book_valid"]
    assert valid[:1800].all()
    assert not valid[1800:].any()


def test_a_session_over_midnight_is_that_of_one_stream(records: np.ndarray, tmp_path: Path) -> None:
    """A recording of a live stream that goes on over midnight in one file, and the same as a file of each date."""
    (whole,) = cut(records, [])
    lakes = []
    for name, files in (("recorded", [whole]), ("dates", cut(records, [MIDNIGHT]))):
        lake = Lake(tmp_path / name)
        for k, f in enumerate(files):
            end = f.end_ns if f.end_ns == MIDNIGHT else MIDNIGHT + DAY_NS
            path = write_dbn(tmp_path / f"{name}-{k}.mbo.dbn.zst", f.records, symbols=ESZ5, start=f.start_ns or 0, end=end)
            spymaster("add", path, "--lake", lake.root)
        for date in (TUESDAY, WEDNESDAY):
            assert make_bronze(lake, date).status == "made"
        assert make_silver(lake, TUESDAY, "globex_open").status == "made"
        lakes.append(lake)
    tapes = [lake.read(TAPE, SYMBOL, TUESDAY) for lake in lakes]
    start = tapes[0]["window_start_ts_ns"][0]
    want = replay_files([whole], [], ESZ5, start, tapes[0]["window_end_ts_ns"][-1], ReplayParams())[SYMBOL]
    assert start < MIDNIGHT - 1800 * NS
    assert want.tape["book_valid"].all()
    flows = [c for c in want.tape.columns if c != "near_ticks"]
    for lake, tape in zip(lakes, tapes):
        assert tape.select(flows).equals(want.tape.select(flows))
        assert lake.read(LADDER, SYMBOL, TUESDAY).equals(want.rows)
    orders = [lake.read(ORDER_EVENTS, SYMBOL, TUESDAY) for lake in lakes]
    assert orders[0].height
    assert orders[0].equals(orders[1])
    # A ladder of before stays current, but for one in which such a file had begun cold.
    manifest = lakes[1].manifest(LADDER, SYMBOL, TUESDAY)
    assert not ladder_differs(manifest)
    trust = manifest.notes["trust"]
    assert ladder_differs(with_trust(manifest, {**trust, "why_not": {"cold_start": 900}}))
    apart = [{**f, "span": [a + k, b]} for k, (f, (a, b)) in enumerate((f, f["span"]) for f in trust["files"])]
    assert not ladder_differs(with_trust(manifest, {**trust, "why_not": {"cold_start": 900}, "files": apart}))


def with_trust(manifest: Manifest, trust: dict[str, object]) -> Manifest:
    return replace(manifest, notes={**manifest.notes, "trust": trust})
