"""What the data are worth, from the raw file to the words: cold files, limits, sessions that no file touches, lakes of before."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.features.near import reach_of, sides_of
from engine.features.registry import table_features
from engine.lake.catalog import BARS, BRONZE_MBO, LADDER, TAPE, VACUUM, dataset
from engine.lake.manifest import Lineage, Manifest
from engine.lake.quality import quality_table
from engine.lake.store import Lake, read_part
from engine.lake.trust import record_until, trust_record, trust_words
from engine.params import RunParams, TrustParams
from engine.session import Session
from engine.stages.silver import STAGES, ladder_differs
from tests.support.dbn_files import DAY_NS, F_SNAPSHOT, busy_day, utc_ns, write_dbn
from tests.support.lakes import ESZ5, RAW, TUESDAY, WEDNESDAY, make_bronze, make_silver, spymaster

NINE, NOON_30 = utc_ns(TUESDAY, 14), utc_ns(TUESDAY, 17, 30)
"""The ladder of the session, 09:00 to 12:30 New York."""


def records_from(start_ns: int, messages: int, *, snapshot: bool = True, end_ns: int = NOON_30) -> np.ndarray:
    records = busy_day(messages, 3, date=TUESDAY, symbols=ESZ5, snapshot_orders=400, start_ns=start_ns, end_ns=end_ns)
    return records if snapshot else records[(records["flags"] & F_SNAPSHOT) == 0]


def lake_of(root: Path, records: np.ndarray, start_ns: int, end_ns: int, *, limit: int | None = None, silver: bool = True) -> Lake:
    write_dbn(root / RAW / "a.mbo.dbn.zst", records, symbols=ESZ5, start=start_ns, end=end_ns, limit=limit)
    lake = Lake(root)
    assert make_bronze(lake, TUESDAY).status == "made"
    if silver:
        receipt = make_silver(lake, TUESDAY)
        assert receipt.status == "made", receipt
    return lake


def record_of(lake: Lake) -> dict[str, Any]:
    record = trust_record(lake, "ESZ5", TUESDAY)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    start = NINE - 1800 * 10**9
    records = records_from(start, 60_000, snapshot=False)
    return lake_of(tmp_path_factory.mktemp("cold"), records, start, utc_ns(TUESDAY) + DAY_NS)


def test_a_file_without_a_snapshot_is_known_near_the_touch(cold: Lake):
    record = record_of(cold)
    assert record["why_not"] == {"cold_start": 12_600}
    assert record["near"] > 6_000
    tape = cold.read(TAPE, "ESZ5", TUESDAY)
    assert not tape["book_valid"].any()
    assert tape["near_ticks"].is_not_null().sum() == record["near"]
    words = trust_words(record, TUESDAY)
    assert words.level == "part"
    assert "starts without a snapshot" in words.text
    assert "00:00 UTC" in words.advice
    assert words.chip.startswith("book known near the touch in")


def test_features_are_there_where_their_zones_are_known(cold: Lake):
    vacuum = cold.read(VACUUM, "ESZ5", TUESDAY)
    assert not vacuum["book_valid"].any()
    near = vacuum.filter("book_near")
    assert near.height
    ladder = Session.open(cold, "ESZ5", TUESDAY).ladder
    names = [f.name for f in table_features()]
    rest = vacuum.filter(~pl.col("book_near"))
    assert rest.select(pl.all_horizontal(pl.col(names).is_null()).all()).item()
    assert near.select("t8_speed").drop_nulls().height > 0.9 * near.height
    # By hand, for every row: the book of each second of the window, and of the one before it.
    reach = {"at": 2, "near": 5, "far": 20, "level": 0}
    for row in near.sample(400, seed=1).iter_rows(named=True):
        first = (row["window_start_ts_ns"] - ladder.start_ns) // 10**9
        seconds = range(max(first - 1, 0), first + 5)
        band = [(int(ladder.best_bid_tick[s]), int(ladder.best_ask_tick[s]), int(ladder.near_ticks[s])) for s in seconds]
        assert all(n >= 0 for *_, n in band)
        k = row["level_tick"]
        for name in ("f1_ask_com_disp_log", "f1_ask_slope_inner_log", "f3_bid_com_disp_log", "down_1", "up_4", "f5_vacuum_expansion_log"):
            asks, bids = sides_of(name)
            far = reach[reach_of(name)]
            known = all((not asks or k + far <= a + n) and (not bids or k - far >= b - n) for b, a, n in band)
            assert (row[name] is not None) == known, (name, k, band)


def test_pictures_show_the_band_and_hatch_the_rest(cold: Lake):
    session = Session.open(cold, "ESZ5", TUESDAY)
    lad = session.ladder
    s = int(np.flatnonzero(lad.near_ticks >= 3)[-1])
    bid, ask, near = int(lad.best_bid_tick[s]), int(lad.best_ask_tick[s]), int(lad.near_ticks[s])
    start = lad.start_ns + s * 10**9
    cube = session.cube(start, start + 10**9, bid - near - 5, ask + near + 5, 1, 1, 0.0)
    shown = np.isfinite(cube["long"].to_numpy()[0])
    known = lad.known_span(s, 1, 1)
    assert cube["tick"].to_numpy()[shown].tolist() == list(range(int(known[0][0]), int(known[1][0]) + 1))
    assert 0 < shown.sum() <= ask - bid + 1 + 2 * near
    assert session.why_not_known(start, start + 10**9).startswith("cold start")
    assert set(session.best_ticks(start)) == {"bid", "ask"}


def test_every_command_says_so(cold: Lake, tmp_path: Path):
    text = spymaster("run", "--lake", cold.root, "--layer", "silver", "--symbol", "ESZ5", "--dates", TUESDAY).stderr
    assert "starts without a snapshot" in text
    assert "starts without a snapshot" in spymaster("lake", "--lake", cold.root).stdout
    sessions, gaps = quality_table(cold)
    assert "starts without a snapshot" in sessions["trust"][0]
    assert sessions["near_share"][0] > 0.4
    assert gaps["why"].to_list() == ["cold start: the raw file starts without a snapshot"]


def test_nothing_after_a_reached_limit_is_valid(tmp_path: Path):
    ten = NINE + 3600 * 10**9
    records = records_from(utc_ns(TUESDAY, 9), 8000, end_ns=ten)
    last = int(records["ts_recv"][-1])
    lake = lake_of(tmp_path, records, utc_ns(TUESDAY), utc_ns(TUESDAY) + DAY_NS, limit=len(records))
    record = record_of(lake)
    lost = 12_600 - (last // 10**9 - NINE // 10**9)
    assert record["why_not"] == {"after_end": lost}
    assert record["spans"] == [["after_end", last // 10**9 * 10**9, NOON_30]]
    assert f"the request's limit of {len(records):,} records was reached at 09:59" in trust_words(record, TUESDAY).text
    gaps = lake.notes(BARS, "ESZ5", TUESDAY)["gaps"]
    assert [why for *_, why in gaps if "ends at 2025-11-04 09:59" in why and f"limit of {len(records):,} records" in why]


def test_what_another_file_brings_after_a_reached_limit_is_valid(tmp_path: Path):
    """Two requests of one date: the first reached its limit at 10:00, the second begins there."""
    records = records_from(utc_ns(TUESDAY, 9), 8000)
    n = int(np.searchsorted(records["ts_recv"], NINE + 3600 * 10**9))
    rest, midnight = int(records["ts_recv"][n - 1]) + 1, utc_ns(TUESDAY) + DAY_NS
    write_dbn(tmp_path / "1.dbn.zst", records[:n], symbols=ESZ5, start=utc_ns(TUESDAY), end=midnight, limit=n)
    write_dbn(tmp_path / "2.dbn.zst", records[n:], symbols=ESZ5, start=rest, end=midnight)
    lake = Lake(tmp_path / "lake")
    spymaster("add", tmp_path / "1.dbn.zst", tmp_path / "2.dbn.zst", "--lake", lake.root)
    assert make_bronze(lake, TUESDAY).status == "made"
    notes = lake.notes(BRONZE_MBO, "ESZ5", TUESDAY)
    assert (notes["dbn_end_ns"], "limit" in notes) == (midnight, False)
    assert make_silver(lake, TUESDAY).status == "made"
    assert record_of(lake)["why_not"] == {}


def test_a_limit_that_was_reached_on_the_second_date_is_none_of_the_first(tmp_path: Path):
    first = records_from(utc_ns(TUESDAY, 9), 8000)
    second = first.copy()
    for column in ("ts_recv", "ts_event"):
        second[column] += DAY_NS
    both, midnight = np.concatenate([first, second]), utc_ns(TUESDAY) + DAY_NS
    write_dbn(tmp_path / "a.dbn.zst", both, symbols=ESZ5, start=utc_ns(TUESDAY), end=midnight + DAY_NS, limit=len(both))
    lake = Lake(tmp_path / "lake")
    spymaster("add", tmp_path / "a.dbn.zst", "--lake", lake.root)
    ends = {}
    for date in (TUESDAY, WEDNESDAY):
        assert make_bronze(lake, date).status == "made"
        notes = lake.notes(BRONZE_MBO, "ESZ5", date)
        ends[date] = (notes["dbn_end_ns"], notes.get("limit"))
    assert ends == {TUESDAY: (midnight, None), WEDNESDAY: (int(second["ts_recv"][-1]) + 1, len(both))}


def test_a_limit_that_was_not_reached_means_nothing(tmp_path: Path):
    records = records_from(utc_ns(TUESDAY, 9), 8000)
    lake = lake_of(tmp_path, records, utc_ns(TUESDAY), utc_ns(TUESDAY) + DAY_NS, limit=len(records) + 1)
    assert record_of(lake)["why_not"] == {}


HALF_DAY = dt.date(2025, 11, 28)


def half_day(root: Path) -> Lake:
    """The day after Thanksgiving, on which Globex stops at 13:15 New York."""
    records = busy_day(16_000, 3, date=HALF_DAY, symbols=ESZ5, snapshot_orders=400, end_ns=utc_ns(HALF_DAY, 18, 15))
    midnight = utc_ns(HALF_DAY)
    write_dbn(root / RAW / "a.mbo.dbn.zst", records, symbols=ESZ5, start=midnight, end=midnight + DAY_NS)
    lake = Lake(root)
    assert make_bronze(lake, HALF_DAY).status == "made"
    return lake


def test_a_half_day_has_a_half_session(tmp_path: Path):
    lake = half_day(tmp_path)
    assert make_silver(lake, HALF_DAY, "day").status == "made"
    record = trust_record(lake, "ESZ5", HALF_DAY)
    assert record is not None
    assert record["session"] == [utc_ns(HALF_DAY, 14), utc_ns(HALF_DAY, 18)]
    assert (record["why_not"], trust_words(record, HALF_DAY).level) == ({}, "good")


def test_a_session_of_one_s_own_beyond_a_half_day_blames_no_file(tmp_path: Path):
    lake = half_day(tmp_path)
    assert make_silver(lake, HALF_DAY, "lunch@04:00-09:30,09:30-14:00,11:00,15,1").status == "made"
    record = trust_record(lake, "ESZ5", HALF_DAY)
    assert record is not None
    assert list(record["why_not"]) == ["closed"]
    words = trust_words(record, HALF_DAY)
    assert (words.level, words.chip, words.lines) == ("good", "", ())
    assert "to 14:00 New York): the market is closed: a holiday or a half-day" in words.text


def test_no_session_of_the_regular_hours_is_made_of_a_holiday(tmp_path: Path):
    holiday = dt.date(2025, 11, 27)
    midnight = utc_ns(holiday)
    records = busy_day(4000, 3, date=holiday, symbols=ESZ5, snapshot_orders=400, end_ns=utc_ns(holiday, 18))
    write_dbn(tmp_path / RAW / "a.mbo.dbn.zst", records, symbols=ESZ5, start=midnight, end=midnight + DAY_NS)
    asked = ("run", "--lake", tmp_path, "--symbol", "ESZ5", "--dates", holiday)
    done = spymaster(*asked, "--session", "day", check=False)
    assert done.returncode == 1
    assert "no data on any of these dates: 2025-11-27: expected regular hours of the equity market" in done.stderr
    assert not Lake(tmp_path).partitions(LADDER)
    spymaster(*asked, "--layer", "bronze")
    assert make_silver(Lake(tmp_path), holiday, "day").status == "empty"
    assert make_silver(Lake(tmp_path), holiday).status == "made"


def test_a_session_that_no_file_touches_is_not_made(tmp_path: Path):
    start, end = utc_ns(TUESDAY, 20, 30), utc_ns(TUESDAY, 23)
    lake = lake_of(tmp_path, records_from(start, 2000, end_ns=end), start, end, silver=False)
    done = spymaster("run", "--lake", lake.root, "--symbol", "ESZ5", "--dates", TUESDAY, check=False)
    assert done.returncode == 1
    assert "the session needs records from 09:00 to 12:30 New York" in done.stderr
    assert "cover 15:30 to 18:00 New York" in done.stderr
    assert not lake.partitions(LADDER)


def test_no_word_of_a_record_is_in_nanoseconds(tmp_path: Path):
    start = utc_ns(TUESDAY, 14, 35)
    lake = lake_of(tmp_path, records_from(start, 4000), start, utc_ns(TUESDAY) + DAY_NS)
    said = spymaster("lake", "--lake", lake.root, "--full").stdout
    assert "starts at 2025-11-04 09:35 New York" in said
    assert not [w for w in said.split() if sum(c.isdigit() for c in w) >= 16 and "=" not in w and "-" not in w]
    assert record_of(lake)["why_not"]["outside"] == 2100


# ----------------------------------------------------------------------------
# A lake of the version before: its rows stay, and what it does not know is said to be unknown

TAPE_BEFORE = "cf81437a893ebee57539547633e52cc148f0e90bfe2242a44d934f00909adc25"
VACUUM_BEFORE = "f4540108426c3bd4f67f069cf45fca3499e46d160d51a8d0f190ad0a510d3cf9"
"""Fingerprints of the two contracts before they had `near_ticks` and `book_near`."""


def test_partitions_of_before_are_read_with_the_default_of_what_came_later(cold: Lake, tmp_path: Path):
    for key, before, column, value in ((TAPE, TAPE_BEFORE, "near_ticks", None), (VACUUM, VACUUM_BEFORE, "book_near", False)):
        contract = dataset(key).contract()
        assert contract.accepts(before)
        assert not contract.accepts("0" * 64)
        old = cold.read(key, "ESZ5", TUESDAY).drop(column)
        old.write_parquet(tmp_path / "part.parquet")
        for columns in (None, ("window_start_ts_ns", column)):
            found = read_part(tmp_path / "part.parquet", old.height, contract, "here", columns)
            assert found[column].to_list() == [value] * old.height


@pytest.mark.parametrize(
    ("stats", "differs"),
    [
        ({}, False),
        ({"crossed_after_open": 3}, True),
        ({"unknown_modifies": 1}, True),
        ({"clears": 0}, True),
    ],
)
def test_a_ladder_of_before_stays_unless_its_rows_would_be_others(stats: dict[str, int], differs: bool):
    notes = {"stats": {"crossed_after_open": 0, "unknown_cancels": 0, "unknown_modifies": 0, "clears": 1, **stats}}
    line = Lineage("ladder", "p", "c", {"bronze.future_mbo.mbo/ESZ5/2025-11-04": "x", "bronze.future_mbo.mbo/ESZ5/2025-11-05": None}, "rth")
    manifest = Manifest(LADDER, "ESZ5", "2025-11-04", 1, (), "f", line, notes)
    assert ladder_differs(manifest) == differs
    assert not ladder_differs(replace(manifest, notes={**notes, "trust": {}}))


def test_a_parameter_of_trust_counts_only_where_it_is_another():
    ladder = next(s for s in STAGES if s.name == "ladder")
    assert set(ladder.values(RunParams())) == {"replay"}
    assert set(ladder.values(RunParams(trust=TrustParams(near_share=0.02)))) == {"replay", "trust"}


def test_what_was_not_recorded_is_unknown():
    words = trust_words(None, dt.date(2025, 11, 4))
    assert (words.level, words.chip) == ("unknown", "book: trust unknown")
    assert "before its trust was recorded" in words.text


def test_every_view_has_a_chip(cold: Lake):
    from workbench.views.components import trust_chip

    words = trust_words(record_of(cold), TUESDAY)
    chip = trust_chip(words)
    assert "book known near the touch in" in chip
    assert "starts without a snapshot" in chip
    assert trust_chip(replace(words, chip="")) == ""


def test_the_page_says_nothing_by_the_moment_of_another_session(cold: Lake):
    from workbench.page import Shell
    from workbench.state import LevelState

    state = LevelState()
    state.param["contract"].objects, state.param["session"].objects = ["ESZ5"], [str(TUESDAY)]
    state.param.update(contract="ESZ5", session=str(TUESDAY), cursor_ts_ns=NOON_30 + 7 * DAY_NS)
    shell = Shell(str(cold.root), state, [])
    assert shell.trust.object == ""
    state.cursor_ts_ns = NINE + 1800 * 10**9
    assert "of the session so far" in shell.trust.object
    state.cursor_ts_ns = NINE - DAY_NS
    # The view with the clock brings it into the session, and the chip is of where the clock stands.
    assert state.cursor_ts_ns == NINE + 10**9
    assert "0 of 1 s have a valid book" in shell.trust.object


def test_a_record_up_to_an_instant_is_that_of_a_file_which_ends_there(tmp_path: Path):
    start = NINE - 1800 * 10**9
    records = records_from(start, 60_000, snapshot=False)
    until = NINE + 5400 * 10**9
    cut = records[records["ts_recv"] < until]
    whole, part = (lake_of(tmp_path / name, r, start, utc_ns(TUESDAY) + DAY_NS) for name, r in (("whole", records), ("part", cut)))
    for t in (NINE, NINE + 10**9, NINE + 1200 * 10**9, until):
        found = [trust_words(record_of(lake), TUESDAY, until_ns=t) for lake in (whole, part)]
        assert found[0] == found[1]
    assert found[0].chip.endswith("of the session so far")
    record, tape = record_until(record_of(whole), until), whole.read(TAPE, "ESZ5", TUESDAY).head(5400)
    assert (record["seconds"], record["valid"]) == (5400, tape["book_valid"].sum())
    assert record["near"] == tape["near_ticks"].is_not_null().sum() > 0
    assert "after the raw file's end" in trust_words(record_of(part), TUESDAY).text


@pytest.mark.parametrize(
    ("valid", "near", "chip"),
    [
        (12_599, 0, "book known in 99% of the session"),
        (6_299, 0, "book known in 49% of the session"),
        (12, 0, "book known in less than 1% of the session"),
        (0, 12_599, "book known near the touch in 99% of the session"),
        (0, 12_600, "book known near the touch in 100% of the session"),
        (0, 0, "book not known"),
    ],
)
def test_no_share_of_a_session_that_lost_seconds_is_all_of_it(cold: Lake, valid: int, near: int, chip: str):
    record = record_of(cold) | {"valid": valid, "near": near, "why_not": {"gap": 12_600 - valid}, "spans": []}
    assert trust_words(record, TUESDAY).chip == chip


def test_of_a_record_with_too_many_spans_no_more_is_said_than_is_known():
    spans = [["gap", NINE + 10 * i * 10**9, NINE + (10 * i + 4) * 10**9] for i in range(900)]
    record = {"session": [NINE, NOON_30], "seconds": 12_600, "valid": 9_000, "near": 0, "why_not": {"gap": 3_600}, "near_spans": []}
    cut = record_until(record | {"spans": spans[:500]}, NOON_30)
    assert (cut["seconds"], cut["valid"]) == (4_994, 2_994)
    whole = record_until(record | {"spans": spans}, NINE + 6_000 * 10**9)
    assert (whole["seconds"], whole["valid"]) == (6_000, 3_600)


def test_hidden_fills_alone_are_no_fault(cold: Lake):
    record = record_of(cold) | {"valid": 12_600, "near": 0, "why_not": {}, "spans": [], "crossed_seconds": 0, "locked_seconds": 0}
    record |= {"unknown": {"cancels": {}, "modifies": {}}, "off_grid_trades": 0, "unplaced_fills": 7}
    words = trust_words(record, TUESDAY)
    assert (words.chip, words.level, words.lines) == ("", "good", ())
    assert words.text == "7 fills of orders never seen"
