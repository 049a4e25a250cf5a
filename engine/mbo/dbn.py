"""A Databento market-by-order file, streamed into contiguous columns; versions 1 to 3, zstd or raw."""

from __future__ import annotations

import datetime as dt
import os
import stat
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from engine.errors import BadDbn, NotOneDate, RawMissing, UnmappedInstrument, unreadable
from engine.vocab import NS, split_contract

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RECORD_BYTES = 56

CHUNK_RECORDS = 1 << 17
"""Records decoded at a time: 7 MB of them, small enough to stay near the cache, large enough to hide the calls."""

MOST_METADATA = 1 << 22
"""Most bytes of a file's metadata, some 27,000 symbols; a root has a hundred on a day. They take ten times as much once decoded."""

_DAY_NS = 86_400 * NS
_AGAIN = "fetch the file again (databento: batch download, or timeseries.get_range to a file)"


@dataclass(frozen=True, slots=True)
class MboColumns:
    """Records as contiguous 1-D arrays of one length, in file order.
    Prices are in 1e-9, times in ns since the epoch; `action` and `side` are positions in `engine.vocab.Action`, `Side`.
    """

    ts_event: NDArray[np.int64]
    ts_recv: NDArray[np.int64]
    order_id: NDArray[np.uint64]
    price: NDArray[np.int64]
    size: NDArray[np.uint32]
    flags: NDArray[np.uint8]
    action: NDArray[np.uint8]
    side: NDArray[np.uint8]
    instrument_id: NDArray[np.uint32]
    publisher_id: NDArray[np.uint16]
    channel_id: NDArray[np.uint8]
    ts_in_delta: NDArray[np.int32]
    sequence: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.ts_event)

    def rows(self, start: int, end: int) -> MboColumns:
        """Records ``[start, end)`` as views."""
        return MboColumns(*(getattr(self, name)[start:end] for name in COLUMN_TYPES))

    @classmethod
    def empty(cls, n: int) -> MboColumns:
        """Columns for `n` records, not filled."""
        return cls(*(np.empty(n, dtype) for dtype in COLUMN_TYPES.values()))


COLUMN_TYPES: dict[str, type[np.generic]] = {
    "ts_event": np.int64, "ts_recv": np.int64, "order_id": np.uint64, "price": np.int64, "size": np.uint32, "flags": np.uint8,
    "action": np.uint8, "side": np.uint8, "instrument_id": np.uint32, "publisher_id": np.uint16, "channel_id": np.uint8,
    "ts_in_delta": np.int32, "sequence": np.uint32,
}  # fmt: skip
"""Column names and types of `MboColumns`, in order."""


@dataclass(frozen=True)
class DbnMetadata:
    """What a DBN file says of itself, as it stands in the file; `end_ns` and `limit` are None where it names none.
    A recording of the live feed has schema None, `start_ns` 0 and no mappings: those come among its records.
    """

    path: Path
    version: int
    dataset: str
    schema: str | None
    stype_in: str | None
    start_ns: int
    end_ns: int | None
    limit: int | None
    record_bytes: int
    mappings: dict[str, list[dict[str, Any]]]

    @property
    def live(self) -> bool:
        """Whether the file was recorded from the live feed."""
        return self.schema is None

    def symbols(self, date: dt.date) -> dict[int, str]:
        """Instrument id to raw symbol on `date`, from mappings in either direction."""
        return _symbols(self.mappings, date)


@dataclass(frozen=True)
class DbnHeader:
    """A file's metadata: it covers ``[start_ns, end_ns)``, to the end of `date` where the metadata name no end.
    `symbols` maps instrument id to raw symbol on `date`, the UTC date of `start_ns`.
    """

    path: Path
    version: int
    dataset: str
    start_ns: int
    end_ns: int
    date: dt.date
    symbols: dict[int, str]

    def outrights(self, root: str | None = None) -> dict[int, str]:
        """Instrument id to symbol of the outright contracts, of `root` alone where given; spreads are left out."""
        split = ((instrument, symbol, split_contract(symbol)) for instrument, symbol in self.symbols.items())
        return {i: symbol for i, symbol, parts in split if parts is not None and (root is None or parts[0].code == root)}


def read_header(path: Path | str) -> DbnHeader:
    """The metadata of a DBN file.
    Raises RawMissing where `path` is no file, RawUnreadable where the system does not let us read it, BadDbn on an empty, truncated,
    corrupt or non-MBO file, or one of more than one UTC date.
    """
    path = Path(path)
    with _open(path) as raw:
        return _one_date(require_mbo(metadata_of(path, ByteSource(raw, path))))


@dataclass
class Tally:
    """What a stream has decoded so far, instruments that it leaves out included: records, and ``ts_recv`` of the last one."""

    records: int = 0
    last_ns: int = 0


def stream_columns(path: Path | str, *, chunk_records: int = CHUNK_RECORDS, root: str | None = None) -> Iterator[MboColumns]:
    """Decode a DBN file, zstd or raw, chunk by chunk in file order; outright contracts only, of `root` alone where given.
    Raises as `read_header`; BadDbn also names the record or byte at which a truncated or corrupt file ends. UnmappedInstrument where a
    record's instrument id has no symbol on the file's date.
    """
    header = read_header(path)
    outrights = header.outrights(root)
    known = np.array(sorted(header.symbols), np.uint32)
    keep = np.array([int(i) in outrights for i in known], np.bool_)
    yield from _columns(Path(path), known, keep, True, 0, None, chunk_records)


def stream_part(
    path: Path | str, instruments: Collection[int], *, first: int = 0, records: int | None = None, tally: Tally | None = None,
    chunk_records: int = CHUNK_RECORDS,
) -> Iterator[MboColumns]:  # fmt: skip
    """Decode the records ``[first, first + records)`` of a file, to its end where None, of the instruments with these ids alone; `tally`
    counts along. The file may hold several dates, or be a recording of the live feed, whose other messages are passed over.
    Raises RawMissing, BadDbn.
    """
    known = np.array(sorted(instruments), np.uint32)
    yield from _columns(Path(path), known, np.ones(len(known), np.bool_), False, first, records, chunk_records, tally)


def _columns(
    path: Path, known: NDArray[np.uint32], keep: NDArray[np.bool_], strict: bool, first: int, records: int | None, chunk_records: int,
    tally: Tally | None = None,
) -> Iterator[MboColumns]:  # fmt: skip
    """Columns of the records ``[first, first + records)`` of wanted instruments; `strict`: an unknown one is an error."""
    with _open(path) as raw:
        source = ByteSource(raw, path)
        metadata = require_mbo(metadata_of(path, source))
        end = None if records is None else first + records
        done = 0
        for found in mbo_words(metadata, source, chunk_records):
            words = found[max(first - done, 0) : None if end is None else max(end - done, 0)]
            before, done = done, done + len(found)
            if len(words):
                out = MboColumns.empty(len(words))
                kept, bad = split(words, known, keep, strict, *(getattr(out, name) for name in COLUMN_TYPES))
                if bad >= 0:
                    raise _bad_record(path, words[bad], max(before, first) + bad, metadata.record_bytes, known)
                if tally is not None:
                    tally.records, tally.last_ns = tally.records + len(words), int(words[-1, 5])
                if kept:
                    yield out.rows(0, kept)
            if end is not None and done >= end:
                return


def mbo_words(
    metadata: DbnMetadata,
    source: ByteSource,
    chunk_records: int = CHUNK_RECORDS,
    other: Callable[[bytes], object] = lambda record: None,
) -> Iterator[NDArray[np.uint64]]:
    """The file's records after its metadata as uint64 (records, words), up to `chunk_records` at a time in one buffer.

    In a file of schema mbo every record has one length, and the kernels look at what it is. In a recording of the live feed other messages
    stand between them, of other lengths: those are walked by their length byte and given to `other`.
    Raises BadDbn where the file is truncated or holds no records.
    """
    path, size = metadata.path, metadata.record_bytes
    head = 0xA000 | size // 4
    buffer = np.empty(max(chunk_records * size, 1 << 12), np.uint8)  # the longest message has 1,020 bytes
    done = left = 0
    while (filled := left + source.read_into(buffer.data[left:])) > left:
        at = 0
        while True:
            if at % 8:  # the kernels read whole words
                buffer[: filled - at] = buffer[at:filled].copy()
                at, filled = 0, filled - at
            n = (filled - at) // size
            words = buffer[at : at + n * size].view(np.uint64).reshape(n, size // 8)
            if metadata.live:
                others = np.flatnonzero((words[:, 0] & 0xFFFF) != head)
                n = int(others[0]) if len(others) else n
            if n:
                yield words[:n]
                done, at = done + n, at + n * size
            if not metadata.live or not (length := _other_length(metadata, buffer[at:filled], done)):
                break
            other(buffer[at : at + length].tobytes())
            at += length
        left = filled - at
        buffer[:left] = buffer[at:filled].copy()
    if left:
        raise BadDbn(f"{path}: truncated after record {done:,}: expected records of {size} bytes, found {left} bytes more; {_AGAIN}")
    if done == 0:
        date = dt.datetime.fromtimestamp(metadata.start_ns // NS, dt.UTC).date()
        closed = "" if metadata.live else f", or remove it if the venue was closed on {date}"
        raise BadDbn(f"{path}: holds no records; {_AGAIN}{closed}")


def _other_length(metadata: DbnMetadata, found: NDArray[np.uint8], done: int) -> int:
    """Bytes of the message at the start of `found`, which is no MBO record; 0 where more must be read to see it whole."""
    if len(found) < 2 or (found[1] == 0xA0 and int(found[0]) * 4 == metadata.record_bytes):
        return 0
    length = int(found[0]) * 4
    if length < 16 or bytes(found[:3]) == b"DBN":
        raise _bad_record(metadata.path, np.pad(found[:40], (0, 40)), done, metadata.record_bytes, np.empty(0, np.uint32))
    return length if length <= len(found) else 0


# ----------------------------------------------------------------------------
# A whole file looked at once, without decoding it: what it holds of which instrument on which UTC date

NO_BOUND = np.iinfo(np.int64).max


@dataclass
class Seen:
    """Records of one instrument on one UTC date: how many, the first and the last time of reception, a hash of them in their order, and
    one of the first record of the first and of the last instant.
    """

    records: int
    first_ns: int
    last_ns: int
    content: int
    first_mark: int
    last_mark: int


@dataclass
class SeenDate:
    """The records ``[first, first + records)`` of a file, which were received on one UTC date, by instrument."""

    date: dt.date
    first: int
    records: int
    instruments: dict[int, Seen]


@dataclass
class Survey:
    """What a whole market-by-order file holds: its metadata, its records by UTC date, and what a recording's messages map."""

    metadata: DbnMetadata
    records: int = 0
    dates: list[SeenDate] = field(default_factory=list)
    mapped: dict[int, str] = field(default_factory=dict)
    others: int = 0


def read_metadata(path: Path | str) -> DbnMetadata:
    """What a DBN file of any schema says of itself; RawMissing, BadDbn."""
    path = Path(path)
    with _open(path) as raw:
        return metadata_of(path, ByteSource(raw, path))


def count_records(path: Path | str, progress: Callable[[float], object] = lambda share: None) -> int:
    """Number of records of a DBN file, read and checked to its last byte; parameters and errors as `survey_file`."""
    return survey_file(path, progress).records


def survey_file(path: Path | str, progress: Callable[[float], object] = lambda share: None) -> Survey:
    """`survey` of a file; RawMissing where there is none."""
    path = Path(path)
    with _open(path) as raw:
        return survey(path, ByteSource(raw, path), progress)


def survey(
    path: Path,
    source: ByteSource,
    progress: Callable[[float], object] = lambda share: None,
    bounds: dict[tuple[dt.date, int], tuple[int, int]] | None = None,
) -> Survey:
    """Read a file to its last byte, once, checking it: whole zstd frames, whole records, all of them MBO, dates in order.

    Parameters
    ----------
    path
        The file's name in errors.
    source
        Its bytes.
    progress
        Called with the share of the file that has been read, 0 to 1.
    bounds
        (date, instrument id) to the times of reception, both inclusive, outside of which its records are not counted in `Seen`.

    Raises
    ------
    BadDbn
        As `stream_columns`; also where a record was received on an earlier date than one before it.
    """
    made = Survey(require_mbo(metadata_of(path, source)))
    size = made.metadata.record_bytes
    tally = _Tally(made, bounds or {})

    def other(record: bytes) -> None:
        made.others += 1
        mapping = mapped_symbol(record)
        if mapping is not None:
            made.mapped[mapping[0]] = mapping[1]

    for words in mbo_words(made.metadata, source, other=other):
        at = 0
        while at < len(words):
            n, why = tally.count(words[at:])
            made.records, at = made.records + n, at + n
            if why == DATE:
                tally.next_date(int(words[at, 5].view(np.int64)))
            elif why == INSTRUMENT:
                tally.meet(int(words[at, 0] >> np.uint64(32)))
            elif why == BAD:
                raise _bad_record(path, words[at], made.records, size, (words[at : at + 1, 0] >> np.uint64(32)).astype(np.uint32))
        progress(source.share())
    tally.close()
    return made


class _Tally:
    """Counts of the date that is being read, by instrument, in arrays that a kernel fills."""

    def __init__(self, made: Survey, bounds: dict[tuple[dt.date, int], tuple[int, int]]) -> None:
        self.made, self.bounds = made, bounds
        self.start_ns = self.first = 0
        self._clear()

    def _clear(self) -> None:
        self.ids = np.empty(0, np.uint32)
        self.counts = np.empty((0, 5), np.int64)  # records, first and last time of reception; the bounds
        self.hashes = np.empty((0, 3), np.uint64)  # of all records, of the first of the first instant, of the first of the last

    def count(self, words: NDArray[np.uint64]) -> tuple[int, int]:
        return tally_words(words, self.start_ns, self.start_ns + _DAY_NS, self.ids, self.counts, self.hashes)

    def meet(self, instrument: int) -> None:
        """Make room for an instrument that was not there before."""
        j = int(np.searchsorted(self.ids, instrument))
        low, high = self.bounds.get((self._date(), instrument), (-NO_BOUND, NO_BOUND))
        self.ids = np.insert(self.ids, j, instrument)
        self.counts = np.insert(self.counts, j, (0, NO_BOUND, -NO_BOUND, low, high), axis=0)
        self.hashes = np.insert(self.hashes, j, 0, axis=0)

    def _date(self) -> dt.date:
        return dt.datetime.fromtimestamp(self.start_ns // NS, dt.UTC).date()

    def next_date(self, ts_recv: int) -> None:
        """Go on with the date of a record that was received on another one than those before it."""
        start, path, done = ts_recv // _DAY_NS * _DAY_NS, self.made.metadata.path, self.made.records
        if start < self.start_ns:
            raise BadDbn(
                f"{path}: record {done:,} was received on {_utc_text(ts_recv)}, after records of {self._date()}: expected the order of "
                f"reception, which every file of Databento has; give the files that this one was made of"
            )
        self.close()
        self.start_ns, self.first = start, done

    def close(self) -> None:
        """Put the date's counts into the survey."""
        if len(self.ids):
            rows = zip(self.ids.tolist(), self.counts.tolist(), self.hashes.tolist())
            seen = {i: Seen(n, first, last, *hashes) for i, (n, first, last, _, _), hashes in rows if n}
            self.made.dates.append(SeenDate(self._date(), self.first, self.made.records - self.first, seen))
        self._clear()


def _utc_text(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns // NS, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def mapped_symbol(record: bytes) -> tuple[int, str] | None:
    """(instrument id, raw symbol) of a symbol mapping message (type 0x16) of any version; None of other records.
    By the layouts in the dbn sources: the two symbols have 22 characters in version 1, else 71, with their types before them.
    """
    if len(record) < 16 or record[1] != 0x16:
        return None
    body = record[16:]
    if len(record) < 176:  # version 1: stype_in_symbol, stype_out_symbol
        wanted, found = body[:22], body[22:44]
    else:
        wanted, found = body[1:72], body[73:144]
    texts = [b.split(b"\0")[0].decode("ascii", "replace") for b in (found, wanted)]
    symbol = next((t for t in texts if t and not t.isdecimal()), "")
    return (int.from_bytes(record[4:8], "little"), symbol) if symbol else None


ALL, DATE, INSTRUMENT, BAD = range(4)
"""Why `tally_words` came back: it is through; a record of another date; one of an instrument it has no room for; no MBO record."""


@nb.njit(cache=True, nogil=True, boundscheck=False)
def tally_words(words, day_start, day_end, ids, counts, hashes):
    """Count records by instrument until one is met that needs something first.

    words: uint64 (records, words per record): MBO records as in the file
    ids, counts, hashes: sorted instrument ids; per id int64 records, first and last ts_recv, bounds of ts_recv; uint64 hashes as in `Seen`
    Returns the number of records counted, and why it stopped (ALL, DATE, INSTRUMENT, BAD).
    """
    head = np.uint64(0xA000) | np.uint64(words.shape[1] * 2)
    j: Any = -1
    for i in range(words.shape[0]):
        w0 = words[i, 0]
        w4 = words[i, 4]
        action = _ACTIONS[(w4 >> np.uint64(48)) & np.uint64(0xFF)]
        side = _SIDES[w4 >> np.uint64(56)]
        if (w0 & np.uint64(0xFFFF)) != head or action == 255 or side == 255:
            return i, 3
        received = np.int64(words[i, 5])
        if received < day_start or received >= day_end:
            return i, 1
        instrument = np.uint32(w0 >> np.uint64(32))
        if j < 0 or ids[j] != instrument:
            j = np.searchsorted(ids, instrument)
            if j >= ids.shape[0] or ids[j] != instrument:
                return i, 2
        if received < counts[j, 3] or received > counts[j, 4]:
            continue
        # Products by odd constants, so that each word weighs otherwise; a sum in order, so that the order counts.
        mixed = (
            (w0 >> np.uint64(16)) * np.uint64(0x9E3779B97F4A7C15)
            ^ words[i, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
            ^ words[i, 2] * np.uint64(0x165667B19E3779F9)
            ^ words[i, 3] * np.uint64(0xD6E8FEB86659FD93)
            ^ w4 * np.uint64(0xA0761D6478BD642F)
            ^ words[i, 5] * np.uint64(0xE7037ED1A0B428DB)
            ^ words[i, 6] * np.uint64(0x8EBC6AF09C88C6E3)
        )
        hashes[j, 0] = (hashes[j, 0] ^ (mixed >> np.uint64(29)) ^ mixed) * np.uint64(0x9FB21C651E98DF25)
        counts[j, 0] += 1
        if received < counts[j, 1]:
            counts[j, 1], hashes[j, 1] = received, mixed
        if received > counts[j, 2]:
            counts[j, 2], hashes[j, 2] = received, mixed
    return words.shape[0], 0


# ----------------------------------------------------------------------------
# Metadata


def _open(path: Path) -> BufferedReader:
    try:
        # A pipe or a device would never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise RawMissing(f"{path}: expected a Databento file (.dbn or .dbn.zst), found no file; check the path")
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise RawMissing(f"{path}: expected a Databento file (.dbn or .dbn.zst), found no file; check the path") from None
    except OSError as error:
        raise unreadable(path, error) from error


def _one_date(metadata: DbnMetadata) -> DbnHeader:
    """The header of a file of one UTC date."""
    start = metadata.start_ns
    day = start // _DAY_NS * _DAY_NS
    end = metadata.end_ns if metadata.end_ns is not None else day + _DAY_NS
    date = dt.datetime.fromtimestamp(day // NS, dt.UTC).date()
    if metadata.live:
        raise NotOneDate(f"{metadata.path}: expected a file of one UTC date, found a recording of the live feed; add it to a lake")
    if end > day + _DAY_NS:
        raise NotOneDate(
            f"{metadata.path}: expected a file of one UTC date, found the span {_utc_text(start)} to {_utc_text(end)}; "
            f"add it to a lake, which splits it, or download it with split_duration='day'"
        )
    return DbnHeader(metadata.path, metadata.version, metadata.dataset, start, end, date, metadata.symbols(date))


def require_mbo(metadata: DbnMetadata) -> DbnMetadata:
    """`metadata` of schema mbo, or of a recording of the live feed; BadDbn of any other schema."""
    if metadata.schema not in ("mbo", None):
        raise BadDbn(f"{metadata.path}: expected schema mbo, found {metadata.schema}; download it with schema='mbo'")
    return metadata


def metadata_of(path: Path, source: ByteSource) -> DbnMetadata:
    """What a DBN file says of itself, of any schema, from its first bytes; BadDbn."""
    from databento_dbn import DBNError, Metadata, VersionUpgradePolicy

    prefix = source.read(8)
    if not prefix:
        raise BadDbn(f"{path}: is empty; {_AGAIN}")
    if prefix[:3] != b"DBN":
        raise BadDbn(f"{path}: expected a Databento file starting with 'DBN' (raw or inside zstd), found {prefix!r}; {_AGAIN}")
    version = prefix[3] if len(prefix) > 3 else 0
    if version not in (1, 2, 3):
        raise BadDbn(f"{path}: expected DBN version 1, 2 or 3, found {version}; update spymaster, or {_AGAIN}")
    length = int.from_bytes(prefix[4:8], "little")
    if length > MOST_METADATA:
        raise BadDbn(
            f"{path}: expected metadata of at most {MOST_METADATA >> 20} MB, found {length:,} bytes; if the file is not damaged, "
            f"download fewer symbols into one file, else {_AGAIN}"
        )
    body = source.read(length)
    if len(prefix) < 8 or len(body) < length:
        raise BadDbn(f"{path}: truncated in the metadata: expected {length + 8} bytes, found {len(prefix) + len(body)}; {_AGAIN}")
    try:
        read = Metadata.decode(prefix + body, VersionUpgradePolicy.AS_IS)  # type: ignore[arg-type]
        schema, stype_in = (str(v) if v is not None else None for v in (read.schema, read.stype_in))
        start, end, limit = int(read.start), None if read.end is None else int(read.end), read.limit
        record_bytes = RECORD_BYTES + 8 * bool(read.ts_out)
        mappings: Any = read.mappings
        return DbnMetadata(path, version, str(read.dataset), schema, stype_in, start, end, limit, record_bytes, mappings)
    except (DBNError, ValueError) as error:
        raise BadDbn(f"{path}: the metadata cannot be decoded ({error}); {_AGAIN}") from error


def _symbols(mappings: dict[str, list[dict[str, Any]]], date: dt.date) -> dict[int, str]:
    """Instrument id to raw symbol on `date`, from mappings in either direction; an interval that ends on its first date is that date's,
    where no other is.
    """
    found: dict[int, str] = {}
    of_empty: dict[int, str] = {}
    for key, intervals in mappings.items():
        for interval in intervals:
            first, end, value = interval["start_date"], interval["end_date"], interval["symbol"]
            within = found if first <= date < end else of_empty if first == end == date else None
            if within is not None and value.isdecimal():
                within[int(value)] = key
            elif within is not None and key.isdecimal() and value:
                within[int(key)] = value
    return of_empty | found


def _bad_record(path: Path, words: NDArray[np.uint64], record: int, record_bytes: int, known: NDArray[np.uint32]) -> BadDbn:
    raw = words.tobytes()
    at = f"{path}: record {record:,} (byte {record * record_bytes:,} of the records)"
    if raw[:3] == b"DBN":
        return BadDbn(
            f"{at}: a second Databento file begins here: two files were joined into one (as `cat a b` does), which is no file of "
            f"Databento's; give the files that it was made of"
        )
    if raw[0] * 4 != record_bytes or raw[1] != 0xA0:
        return BadDbn(
            f"{at}: expected an MBO record (type 0xa0, {record_bytes} bytes), "
            f"found type {raw[1]:#x}, {raw[0] * 4} bytes; the file is damaged, {_AGAIN}"
        )
    instrument = int.from_bytes(raw[4:8], "little")
    if instrument not in known:
        return UnmappedInstrument(
            f"{at}: instrument {instrument} has no symbol in the file's metadata (it maps {len(known)}); "
            f"download it with stype_in='parent' or 'raw_symbol', which brings the mappings"
        )
    return BadDbn(f"{at}: unknown action {raw[38:39]!r} or side {raw[39:40]!r}; the file is damaged, {_AGAIN}")


# ----------------------------------------------------------------------------
# Bytes of a file, decompressed on the way where they are zstd; a frame that ends early is an error, never a short read

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)

# A frame may ask for a window of gigabytes. Databento's ask for at most 8 MB; zstd's own command refuses more than 128 MB, too.
_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}


class ByteSource:
    """Read a raw or zstd file front to back; several zstd frames in a row read as one.

    However far a file expands, no more of it is in memory than is asked for and zstd's window.
    """

    def __init__(self, raw: BufferedReader[Any], path: Path, size: int | None = None) -> None:
        self._raw = raw
        self._path = path
        try:
            self._size = max(os.fstat(raw.fileno()).st_size if size is None else size, 1)
            magic = raw.peek(4)[:4]
        except OSError as error:
            raise unreadable(path, error) from error
        compressed = magic == ZSTD_MAGIC or int.from_bytes(magic, "little") in _SKIPPABLE
        self._file: Any = zstd.ZstdFile(raw, options=_OPTIONS) if compressed else raw

    def read(self, n: int) -> bytes:
        """Up to `n` bytes; fewer at the file's end."""
        blocks = []
        # A damaged length may ask for more than there is: only what comes is held.
        while n > 0 and (block := self._take(bytearray(min(n, 1 << 20)))):
            blocks.append(bytes(block))
            n -= len(block)
        return b"".join(blocks)

    def read_into(self, target: memoryview) -> int:
        """Fill `target` and return the number of bytes written; fewer than its length only at the file's end.
        Raises BadDbn, naming the compressed byte reached, where a zstd frame is corrupt or ends early, RawUnreadable where the disk fails.
        """
        filled = 0
        try:
            while filled < len(target) and (n := self._file.readinto(target[filled:])):
                filled += n
        except EOFError:
            at = self._raw.tell()
            raise BadDbn(f"{self._path}: truncated: the file ends at byte {at:,} inside a zstd frame; {_AGAIN}") from None
        except zstd.ZstdError as error:
            raise BadDbn(f"{self._path}: corrupt zstd data before byte {self._raw.tell():,} ({error}); {_AGAIN}") from error
        except OSError as error:
            raise unreadable(self._path, error) from error
        return filled

    def drain(self) -> int:
        """Read the rest; its length."""
        block, n = bytearray(1 << 20), 0
        while k := self.read_into(memoryview(block)):
            n += k
        return n

    def share(self) -> float:
        """Share of the file's bytes that have been read."""
        return self._raw.tell() / self._size

    def _take(self, buffer: bytearray) -> memoryview:
        return memoryview(buffer)[: self.read_into(memoryview(buffer))]


# ----------------------------------------------------------------------------
# One pass over raw records into columns (numba)

_ACTIONS = np.full(256, 255, np.uint8)
_ACTIONS[list(b"ACMRTFN")] = range(7)
_SIDES = np.full(256, 255, np.uint8)
_SIDES[list(b"BAN")] = range(3)


@nb.njit(cache=True, nogil=True, boundscheck=False)
def split(
    words, known, keep, strict,
    ts_event, ts_recv, order_id, price, size, flags, action, side, instrument_id, publisher_id, channel_id, ts_in_delta, sequence,
):  # fmt: skip
    """Split records into columns, keeping those of wanted instruments.

    words: uint64 (records, words per record): MBO records as in the file, little-endian
    known, keep: sorted instrument ids (uint32), and whether each is wanted
    strict: whether a record of another instrument is an error; else it is passed over
    ts_event, ...: outputs, at least as long as `words`
    Returns the number of records kept, and the first record that is not a good MBO record, or none of a known instrument (-1: none).
    """
    head = np.uint64(0xA000) | np.uint64(words.shape[1] * 2)  # record type 0xa0; length counts words of four bytes
    kept = 0
    last_id = np.uint64(0)
    last_keep = False
    have = False
    for i in range(words.shape[0]):
        w0 = words[i, 0]
        if (w0 & np.uint64(0xFFFF)) != head:
            return kept, i
        iid = w0 >> np.uint64(32)
        if not have or iid != last_id:
            j = np.searchsorted(known, np.uint32(iid))
            there = j < known.shape[0] and np.uint64(known[j]) == iid
            if strict and not there:
                return kept, i
            last_id = iid
            last_keep = there and keep[j]
            have = True
        w4 = words[i, 4]
        a = _ACTIONS[(w4 >> np.uint64(48)) & np.uint64(0xFF)]
        s = _SIDES[w4 >> np.uint64(56)]
        if a == 255 or s == 255:
            return kept, i
        if not last_keep:
            continue
        w6 = words[i, 6]
        ts_event[kept] = np.int64(words[i, 1])
        ts_recv[kept] = np.int64(words[i, 5])
        order_id[kept] = words[i, 2]
        price[kept] = np.int64(words[i, 3])
        size[kept] = np.uint32(w4 & np.uint64(0xFFFFFFFF))
        flags[kept] = np.uint8((w4 >> np.uint64(32)) & np.uint64(0xFF))
        channel_id[kept] = np.uint8((w4 >> np.uint64(40)) & np.uint64(0xFF))
        action[kept] = a
        side[kept] = s
        instrument_id[kept] = np.uint32(iid)
        publisher_id[kept] = np.uint16((w0 >> np.uint64(16)) & np.uint64(0xFFFF))
        ts_in_delta[kept] = np.int32(np.uint32(w6 & np.uint64(0xFFFFFFFF)))
        sequence[kept] = np.uint32(w6 >> np.uint64(32))
        kept += 1
    return kept, -1
