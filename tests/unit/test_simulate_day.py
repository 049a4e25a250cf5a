import datetime as dt
import hashlib
import itertools
import json

import databento as db
import numpy as np
import polars as pl
import pytest
from numba import njit
from numba.core.errors import TypingError

from engine.commands.simulate import simulate
from engine.errors import DuplicateRaw, SessionError
from engine.ladder import Ladder
from engine.mbo.dbn import read_header, stream_columns
from engine.mbo.replay import LadderReplay
from engine.params import SimParams
from engine.sessions import to_ns
from engine.simulate.calendar import utc_midnight
from engine.simulate.day import Day
from engine.simulate.dbn import DATASET, DayTask, file_name, run_day, truth_path, write_day
from engine.simulate.regimes import LOG_ROWS, N_LOG
from engine.simulate.rng import kernel
from engine.vocab import NS
from workbench.lakes import planted_strength, simulated_text

DATE = dt.date(2025, 9, 3)
PARAMS = SimParams(seed=11, rate=0.03, kappa=1.0)


def records(date=DATE, params=PARAMS, **options):
    return np.concatenate(list(Day(date, params, **options).chunks()))


@pytest.fixture(scope="module")
def stream():
    return records()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    n = write_day(folder, folder / "truth", DATE, PARAMS)
    return folder / file_name("ES", DATE), n


def test_a_file_is_the_same_to_the_byte_for_its_seed(written, tmp_path):
    path, n = written
    assert write_day(tmp_path, tmp_path / "truth", DATE, PARAMS) == n
    digests = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, tmp_path / path.name)}
    assert len(digests) == 1


def test_files_are_the_same_to_the_byte_from_any_number_of_processes(tmp_path, capsys):
    """One process for all days, one for each: neither the process nor what it did before is in a file."""
    for workers in (1, 2):
        simulate(dates="2025-09-07,2025-09-14", seed=3, rate=0.02, out=tmp_path / str(workers), workers=workers)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / k).glob("*.dbn.zst")} for k in "12")
    assert len(one) == 2
    assert one == two


def makes_an_array():
    return np.zeros(3)[0]


def test_a_market_kernel_that_would_make_an_array_is_not_compiled():
    """Uncounted, it could never be freed. That numba refuses it shows that the option is at work; otherwise it would compile."""
    assert njit(makes_an_array)() == 0.0
    with pytest.raises(TypingError):
        kernel(makes_an_array)()


def test_another_seed_is_another_market(stream):
    assert not np.array_equal(stream[:5000], records(params=SimParams(seed=12, rate=0.03))[:5000])


def test_kappa_zero_is_bit_identical_to_no_levels():
    params = SimParams(seed=11, rate=0.03, kappa=0.0)
    with_levels = Day(DATE, params)
    a = np.concatenate(list(with_levels.chunks()))
    assert len(with_levels.truth()) > 0, "levels were watched"
    assert np.array_equal(a, records(params=params, with_levels=False))


def test_regimes_change_the_stream_only_from_the_first_approach_on(stream):
    null = Day(DATE, SimParams(seed=11, rate=0.03, kappa=0.0))
    calm = np.concatenate(list(null.chunks()))
    first = null.truth()["start_ts_ns"].min()
    before = stream[:, 1] < first
    assert np.array_equal(stream[before], calm[: before.sum()])
    assert len(stream) != len(calm) or not np.array_equal(stream, calm)


def test_databento_reads_the_file_and_its_metadata(written):
    path, n = written
    store = db.DBNStore.from_file(path)
    assert store.metadata.dataset == DATASET
    assert "SIM" in DATASET
    rows = store.to_ndarray()
    assert len(rows) == n
    assert set(np.unique(rows["action"])) == {b"A", b"C", b"M", b"R", b"T", b"F"}
    mapped = {int(v[0]["symbol"]): k for k, v in store.mappings.items()}
    assert set(mapped) == set(np.unique(rows["instrument_id"]).tolist())
    assert sorted(mapped.values()) == ["ESU5", "ESU5-ESZ5", "ESZ5"]
    header = read_header(path)
    assert header.date == DATE
    assert sorted(header.outrights("ES").values()) == ["ESU5", "ESZ5"]


def test_a_day_begins_with_a_clear_and_a_snapshot_of_each_instrument(stream):
    flags = (stream[:, 4] >> 32) & 0xFF
    action = (stream[:, 4] >> 48) & 0xFF
    snapshot = (flags & 0x20) != 0
    assert snapshot[: snapshot.sum()].all()
    head = stream[: snapshot.sum()]
    assert (head[:, 5] == utc_midnight(DATE)).all()
    assert (head[:, 1] < utc_midnight(DATE)).all()
    assert [int(a) for a in action[: len(head)]].count(ord("R")) == 3
    assert (flags[: len(head)] == 168).sum() == 3
    assert flags[len(head) - 1] == 168
    assert set(np.unique(flags[len(head) :])) == {0, 130}


def test_nothing_happens_in_the_maintenance_hour(stream):
    live = stream[((stream[:, 4] >> 32) & 0x20) == 0]
    close, reopen = to_ns(DATE, dt.time(17)), to_ns(DATE, dt.time(18))
    assert ((live[:, 1] >= close) & (live[:, 1] < reopen)).sum() == 0
    assert (live[:, 1] >= reopen).sum() > 100
    assert ((live[:, 1] >= close - 600 * NS) & (live[:, 1] < close)).sum() > 10


def test_a_sunday_builds_its_book_before_the_open():
    sunday = dt.date(2025, 9, 7)
    rows = records(sunday)
    action = (rows[:, 4] >> 48) & 0xFF
    assert (((rows[:, 4] >> 32) & 0x20) == 0).all()
    opened = to_ns(sunday, dt.time(18))
    before = action[rows[:, 1] < opened]
    assert set(before) == {ord("R"), ord("A")}
    assert rows[0, 1] >= opened - 15 * 60 * NS
    assert (action[rows[:, 1] >= opened] == ord("T")).any()


def test_files_made_apart_connect():
    """The last price of a day and the first of the next differ by the bridge's last seconds and the day's carry."""
    ends = []
    for date in (dt.date(2025, 9, 4), dt.date(2025, 9, 5), dt.date(2025, 9, 7)):
        day = Day(date, PARAMS)
        rows = np.concatenate(list(day.chunks()))
        number = next(k for k, v in day.symbols.items() if v == "ESU5")
        trades = rows[((rows[:, 0] >> 32) == number) & (((rows[:, 4] >> 48) & 0xFF) == ord("T"))]
        ends.append((trades[0, 3] / 250_000_000, trades[-1, 3] / 250_000_000))
    for (_, last), (first, _) in itertools.pairwise(ends):
        assert abs(first - last) < 25  # a day moves by a hundred and more


def test_the_replay_finds_no_crossed_state_and_the_conservation_law_holds(written):
    path, _ = written
    header = read_header(path)
    start, end = to_ns(DATE, dt.time(9, 15)), to_ns(DATE, dt.time(10, 30))
    replay = LadderReplay(header.outrights("ES"), start, end, open_ns=header.start_ns)
    replay.begin_file(header.end_ns)
    for chunk in stream_columns(path):
        replay.feed(chunk)
    done = replay.finish()
    for contract in done.values():
        for count in ("crossed_after_open", "unknown_cancels", "unknown_modifies", "off_tick", "bad_book_records"):
            assert contract.stats[count] == 0, (contract.symbol, count)
        assert contract.tape["book_valid"].all()
        assert Ladder.from_frames(contract.rows, contract.tape, symbol=contract.symbol, date=DATE).conserve().height == 0
    assert done["ESU5"].tape["trades"].sum() > 20 * done["ESZ5"].tape["trades"].sum() > 0


def test_prices_of_the_two_contracts_stay_a_carry_apart(stream):
    day = Day(DATE, PARAMS)
    number = {v: k for k, v in day.symbols.items()}
    trades = stream[((stream[:, 4] >> 48) & 0xFF) == ord("T")]
    front, following, spread = (trades[(trades[:, 0] >> 32) == number[s]] for s in ("ESU5", "ESZ5", "ESU5-ESZ5"))
    before = np.searchsorted(front[:, 1], following[:, 1]) - 1
    apart = (following[before >= 0, 3] - front[before[before >= 0], 3]) / 1e9
    carry = np.median(spread[:, 3]) / 1e9
    assert abs(np.median(apart) - carry) < 0.5
    assert np.abs(spread[:, 3] / 1e9 - carry).max() < 1.0


def test_truth_names_every_approach_and_no_record_knows_of_it(written):
    path, _ = written
    truth = pl.read_parquet(path.parent / "truth" / f"{DATE}.parquet")
    assert truth.height > 0
    assert set(truth["level_id"]) <= {"pm_high", "pm_low", "or_high", "or_low"}
    opening = truth.filter(pl.col("level_id").str.starts_with("or_"))["start_ts_ns"]
    assert (opening >= to_ns(DATE, dt.time(9, 45))).all()
    touched = truth.drop_nulls("touch_ts_ns")
    assert (touched["touch_ts_ns"] >= touched["start_ts_ns"]).all()
    assert (touched["outcome"] != "untouched").all()


def test_a_run_goes_on_where_it_was_and_overwrites_nothing(tmp_path):
    sunday = dt.date(2025, 9, 7)
    task = DayTask(sunday, tmp_path / "raw", tmp_path / "truth", PARAMS)
    first = run_day(task)
    assert first.records > 0
    assert run_day(task).records == 0
    other = run_day(DayTask(sunday, tmp_path / "raw", tmp_path / "truth", SimParams(seed=5, rate=0.03)))
    assert other.error.startswith(DuplicateRaw.__name__)
    (tmp_path / "truth" / f"{sunday}.json").unlink()  # killed between the file and its receipt
    assert run_day(task).records == first.records
    truth_path(task).unlink()
    assert run_day(task).records == first.records
    assert truth_path(task).exists()
    receipt = tmp_path / "truth" / f"{sunday}.json"
    receipt.write_text(json.dumps({**json.loads(receipt.read_text()), "code": "of another simulator"}))
    assert "of other code" in run_day(task).error


def test_more_approaches_than_the_log_holds_are_not_dropped_in_silence():
    day = Day(DATE, PARAMS)
    day.levels.now[N_LOG] = LOG_ROWS + 1
    with pytest.raises(SessionError, match="1025"):
        day.truth()


MOVING = SimParams(seed=11, rate=0.03, kappa=2.0, rearm_ticks=6, moving=True)


def test_what_came_later_is_in_no_digest_by_default():
    assert PARAMS.digest() == SimParams(**PARAMS.model_dump(exclude={"wall", "rearm_ticks", "moving"})).digest()
    assert len({PARAMS.model_copy(update=u).digest() for u in ({}, {"wall": (0,)}, {"rearm_ticks": 6}, {"moving": True})}) == 4


def test_moving_levels_have_regimes_where_vwap_and_the_average_are():
    """Against levels worked out again from the day's trades; a level stands still while it is approached, and steps twice a minute."""
    day = Day(DATE, MOVING)
    rows = np.concatenate(list(day.chunks()))
    trades = rows[((rows[:, 4] >> 48) & 0xFF == ord("T")) & (rows[:, 0] >> 32 == day.main_id)]
    ts, tick, size = trades[:, 1], trades[:, 3] // day.tick_fixed, trades[:, 4] & 0xFFFFFFFF
    truth = day.truth()
    found = truth.filter(pl.col("level_id").is_in(["vwap", "sma_200"]))
    assert found["level_id"].n_unique() == 2
    open_ns = to_ns(DATE, dt.time(9, 30))
    for row in found.iter_rows(named=True):
        known = row["start_ts_ns"] // (30 * NS) * 30 * NS
        if truth.filter((pl.col("level_id") == row["level_id"]) & pl.col("end_ts_ns").is_between(known, row["start_ts_ns"])).height:
            continue  # it was approached when it would have stepped
        if row["level_id"] == "vwap":
            use = (ts >= open_ns) & (ts < known)
            expected = np.average(tick[use], weights=size[use])
        else:
            bar = ts // (120 * NS)
            last = np.flatnonzero(np.append(bar[1:] != bar[:-1], True) & ((bar + 1) * 120 * NS <= known))
            expected = tick[last][-200:].mean()
        assert abs(row["level_tick"] - expected) <= 1, row
    usual = Day(DATE, PARAMS)
    for _ in usual.chunks():
        pass
    assert truth.height > 1.5 * usual.truth().height, "price need not go as far away before the next regime"


def test_the_strength_of_a_lakes_regimes_is_told_by_its_truth(tmp_path):
    assert planted_strength(tmp_path) is None
    folder = tmp_path / "truth" / "symbol=ES"
    folder.mkdir(parents=True)
    Day(DATE, PARAMS).truth().write_parquet(folder / "2025-09-02.parquet")
    assert planted_strength(tmp_path) is None, "a day without an approach says nothing"
    row = {
        "symbol": "ESZ5",
        "level_id": "vwap",
        "level_tick": 1,
        "approach": "approach_up",
        "regime": "hold",
        "start_ts_ns": 1,
        "end_ts_ns": 2,
    }
    pl.DataFrame([{**row, "kappa": 2.5}]).write_parquet(folder / "2025-09-01.parquet")
    assert planted_strength(tmp_path) == 2.5
    assert simulated_text(str(tmp_path)) == "SIMULATED MARKET, PLANTED STRENGTH 2.5"
    assert simulated_text(str(tmp_path / "none")) == "SIMULATED MARKET"
