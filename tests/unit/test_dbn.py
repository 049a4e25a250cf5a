"""DBN files in: every version, raw and zstd, several instruments; and files that are no good."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import databento
import databento_dbn as dbn
import numpy as np
import pytest
import zstandard

from engine.errors import BadDbn, RawMissing, UnmappedInstrument
from engine.mbo.dbn import COLUMN_TYPES, MboColumns, read_header, stream_columns
from tests.support.dbn_files import DAY_NS, MBO, busy_day, metadata_bytes, utc_ns, write_dbn

DATE = dt.date(2025, 11, 4)
START = utc_ns(DATE)
SYMBOLS = {101: "ESZ5", 102: "ESH6", 201: "ESZ5-ESH6", 301: "CLZ25"}
ACTIONS, SIDES = "ACMRTFN", "BAN"


@pytest.fixture(scope="module")
def day() -> np.ndarray:
    records = busy_day(4000, 3, date=DATE, symbols={101: "ESZ5", 102: "ESH6"}, snapshot_orders=300)
    records["instrument_id"][5::11] = 201
    records["instrument_id"][6::13] = 301
    records["ts_in_delta"][::2] = -7
    return records


def gather(path: Path, **options: object) -> MboColumns:
    chunks = list(stream_columns(path, **options))  # type: ignore[arg-type]
    return MboColumns(*(np.concatenate([getattr(c, name) for c in chunks]) for name in COLUMN_TYPES))


def check_same(columns: MboColumns, records: np.ndarray) -> None:
    assert len(columns) == len(records)
    for name, dtype in COLUMN_TYPES.items():
        got = getattr(columns, name)
        assert got.dtype == dtype
        assert got.flags.c_contiguous
        want = records[name]
        if name in ("action", "side"):
            letters = ACTIONS if name == "action" else SIDES
            want = np.array([letters.index(chr(code)) for code in want])
        np.testing.assert_array_equal(got, want, err_msg=name)


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("compress", [True, False])
def test_outrights_of_every_version_in_file_order(tmp_path: Path, day: np.ndarray, version: int, compress: bool) -> None:
    path = write_dbn(tmp_path / "a.dbn", day, symbols=SYMBOLS, start=START, end=START + DAY_NS, version=version, compress=compress)
    header = read_header(path)
    assert (header.version, header.dataset, header.date) == (version, "GLBX.MDP3", DATE)
    assert (header.start_ns, header.end_ns) == (START, START + DAY_NS)
    assert header.symbols == SYMBOLS
    assert header.outrights() == {101: "ESZ5", 102: "ESH6", 301: "CLZ25"}
    check_same(gather(path, chunk_records=777), day[day["instrument_id"] != 201])
    check_same(gather(path, root="ES"), day[np.isin(day["instrument_id"], [101, 102])])


def test_file_reads_as_databento_reads_it(tmp_path: Path, day: np.ndarray) -> None:
    path = write_dbn(tmp_path / "a.dbn.zst", day, symbols=SYMBOLS, start=START, end=START + DAY_NS)
    theirs = databento.DBNStore.from_file(path).to_ndarray()
    ours = gather(path, chunk_records=1000)
    kept = theirs[theirs["instrument_id"] != 201]
    for name in COLUMN_TYPES:
        if name not in ("action", "side"):
            np.testing.assert_array_equal(getattr(ours, name), kept[name].astype(COLUMN_TYPES[name]))


def test_real_file(real_dbn: Path) -> None:
    header = read_header(real_dbn)
    assert (header.version, header.date, header.symbols) == (1, dt.date(2023, 12, 25), {17077: "ESH4"})
    columns = gather(real_dbn)
    assert len(columns) == 68_792
    assert int(((columns.flags & 32) == 0).sum()) == 60_067


def test_end_absent_is_the_end_of_the_day(tmp_path: Path, day: np.ndarray) -> None:
    path = write_dbn(tmp_path / "a.dbn", day, symbols=SYMBOLS, start=START + 5, end=None)
    assert read_header(path).end_ns == START + DAY_NS


def test_live_records_with_send_time(tmp_path: Path, day: np.ndarray) -> None:
    longer = np.zeros(len(day), np.dtype([("r", MBO), ("ts_out", "<i8")]))
    longer["r"] = day
    longer["r"]["length"] = 16
    path = tmp_path / "a.dbn"
    path.write_bytes(metadata_bytes(SYMBOLS, START, START + DAY_NS, ts_out=True) + longer.tobytes())
    check_same(gather(path), day[day["instrument_id"] != 201])


# ---- files that are no good


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(RawMissing, match=r"none\.dbn.*check the path"):
        read_header(tmp_path / "none.dbn")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a.dbn.zst").write_bytes(b"")
    with pytest.raises(BadDbn, match=r"a\.dbn\.zst: is empty; fetch"):
        read_header(tmp_path / "a.dbn.zst")


def test_not_dbn(tmp_path: Path) -> None:
    (tmp_path / "a.dbn").write_text("window,price\n1,2\n")
    with pytest.raises(BadDbn, match=r"a\.dbn: expected .*'DBN'.* found b'window,p'"):
        read_header(tmp_path / "a.dbn")


def test_version_4(tmp_path: Path) -> None:
    (tmp_path / "a.dbn").write_bytes(b"DBN\x04" + bytes(200))
    with pytest.raises(BadDbn, match="version 1, 2 or 3, found 4"):
        read_header(tmp_path / "a.dbn")


@pytest.mark.parametrize("compress", [True, False])
def test_no_records(tmp_path: Path, compress: bool) -> None:
    path = write_dbn(tmp_path / "a.dbn", np.zeros(0, MBO), symbols=SYMBOLS, start=START, end=START + DAY_NS, compress=compress)
    with pytest.raises(BadDbn, match=r"a\.dbn: holds no records"):
        list(stream_columns(path))


def test_truncated_metadata(tmp_path: Path) -> None:
    head = metadata_bytes(SYMBOLS, START, START + DAY_NS)
    for n in (3, 6, 100, len(head) - 1):
        (tmp_path / "a.dbn").write_bytes(head[:n])
        with pytest.raises(BadDbn, match=r"a\.dbn: "):
            read_header(tmp_path / "a.dbn")


def test_damaged_metadata(tmp_path: Path) -> None:
    head = bytearray(metadata_bytes(SYMBOLS, START, START + DAY_NS))
    head[120:] = b"\xff" * (len(head) - 120)
    (tmp_path / "a.dbn").write_bytes(head)
    with pytest.raises(BadDbn, match="metadata cannot be decoded"):
        read_header(tmp_path / "a.dbn")


def test_other_schema(tmp_path: Path) -> None:
    (tmp_path / "a.dbn").write_bytes(metadata_bytes(SYMBOLS, START, START + DAY_NS, schema=dbn.Schema.TRADES))
    with pytest.raises(BadDbn, match="expected schema mbo, found trades; download it with schema='mbo'"):
        read_header(tmp_path / "a.dbn")


def test_several_dates_in_one_file(tmp_path: Path, day: np.ndarray) -> None:
    path = write_dbn(tmp_path / "a.dbn", day, symbols=SYMBOLS, start=START, end=START + 2 * DAY_NS)
    with pytest.raises(BadDbn, match="split_duration='day'"):
        read_header(path)


def test_truncated_raw_names_the_record(tmp_path: Path, day: np.ndarray) -> None:
    path = write_dbn(tmp_path / "a.dbn", day, symbols=SYMBOLS, start=START, end=START + DAY_NS, compress=False)
    path.write_bytes(path.read_bytes()[:-17])
    with pytest.raises(BadDbn, match=rf"a\.dbn: truncated after record {len(day) - 1:,}: .* found 39 bytes more"):
        list(stream_columns(path, chunk_records=500))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_truncated_zstd_is_an_error_wherever_it_ends(tmp_path: Path, day: np.ndarray, share: float) -> None:
    path = write_dbn(tmp_path / "a.dbn.zst", day, symbols=SYMBOLS, start=START, end=START + DAY_NS)
    whole = path.read_bytes()
    n = int(len(whole) * share)
    path.write_bytes(whole[:n])
    with pytest.raises(BadDbn, match=rf"truncated: the file ends at byte {n:,} inside a zstd frame"):
        list(stream_columns(path))


def test_corrupt_zstd(tmp_path: Path, day: np.ndarray) -> None:
    path = write_dbn(tmp_path / "a.dbn.zst", day, symbols=SYMBOLS, start=START, end=START + DAY_NS)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(BadDbn, match=r"a\.dbn\.zst: corrupt zstd data before byte"):
        list(stream_columns(path))


def test_frames_that_split_a_record_read_as_one(tmp_path: Path, day: np.ndarray) -> None:
    plain = metadata_bytes(SYMBOLS, START, START + DAY_NS) + day.tobytes()
    pack = zstandard.ZstdCompressor().compress
    (tmp_path / "a.dbn.zst").write_bytes(pack(plain[:1001]) + pack(plain[1001:50_000]) + pack(plain[50_000:]))
    check_same(gather(tmp_path / "a.dbn.zst"), day[day["instrument_id"] != 201])


def test_unmapped_instrument(tmp_path: Path, day: np.ndarray) -> None:
    records = day.copy()
    records["instrument_id"][1234] = 999
    path = write_dbn(tmp_path / "a.dbn", records, symbols=SYMBOLS, start=START, end=START + DAY_NS)
    with pytest.raises(UnmappedInstrument, match=r"record 1,234 .*instrument 999 has no symbol"):
        list(stream_columns(path, chunk_records=1000))


def test_mapping_of_another_date_does_not_count(tmp_path: Path, day: np.ndarray) -> None:
    path = tmp_path / "a.dbn"
    other = bytearray(metadata_bytes(SYMBOLS, START + 30 * DAY_NS, START + 31 * DAY_NS))
    # The start date of the query stands 24 bytes into the metadata (dataset 16, schema 2 after the 8 of the prefix).
    other[26:34] = START.to_bytes(8, "little")
    other[34:42] = (START + DAY_NS).to_bytes(8, "little")
    path.write_bytes(bytes(other) + day.tobytes())
    assert read_header(path).symbols == {}
    with pytest.raises(UnmappedInstrument, match=r"record 0 .*it maps 0"):
        list(stream_columns(path))


@pytest.mark.parametrize(
    ("field", "value", "reason"), [("rtype", 1, "expected an MBO record"), ("action", 90, "unknown action b'Z'"), ("side", 0, "side")]
)
def test_damaged_record(tmp_path: Path, day: np.ndarray, field: str, value: int, reason: str) -> None:
    records = day.copy()
    records[field][2500] = value
    path = write_dbn(tmp_path / "a.dbn", records, symbols=SYMBOLS, start=START, end=START + DAY_NS)
    with pytest.raises(BadDbn, match=rf"record 2,500 .*{reason}"):
        list(stream_columns(path, chunk_records=1000))
