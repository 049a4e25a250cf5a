"""A Databento market-by-order file, streamed into contiguous columns; versions 1 to 3, zstd or raw."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numba as nb
import numpy as np
from numpy.typing import NDArray

from engine.errors import BadDbn, RawMissing, UnmappedInstrument
from engine.vocab import NS, split_contract

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from databento_dbn import Metadata

RECORD_BYTES = 56

CHUNK_RECORDS = 1 << 17
"""Records decoded at a time: 7 MB of them, small enough to stay near the cache, large enough to hide the calls."""

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
class DbnHeader:
    """A file's metadata: it covers ``[start_ns, end_ns)``, to the end of `date` where the metadata name no end.
    `symbols` maps instrument id to raw symbol on `date`, the UTC date of `start_ns`; `limit` is the most records that were asked for.
    """

    path: Path
    version: int
    dataset: str
    start_ns: int
    end_ns: int
    date: dt.date
    symbols: dict[int, str]
    limit: int | None = None

    def outrights(self, root: str | None = None) -> dict[int, str]:
        """Instrument id to symbol of the outright contracts, of `root` alone where given; spreads are left out."""
        split = ((instrument, symbol, split_contract(symbol)) for instrument, symbol in self.symbols.items())
        return {i: symbol for i, symbol, parts in split if parts is not None and (root is None or parts[0].code == root)}


def read_header(path: Path | str) -> DbnHeader:
    """The metadata of a DBN file.
    Raises RawMissing where `path` is no file, BadDbn on an empty, truncated, corrupt or non-MBO file, or one of more than one UTC date.
    """
    path = Path(path)
    with _open(path) as raw:
        return _header(path, ByteSource(raw, path))[0]


@dataclass
class Tally:
    """What a stream has decoded so far, instruments that it leaves out included: records, and ``ts_recv`` of the last one."""

    records: int = 0
    last_ns: int = 0


def stream_columns(
    path: Path | str, *, chunk_records: int = CHUNK_RECORDS, root: str | None = None, tally: Tally | None = None
) -> Iterator[MboColumns]:
    """Decode a DBN file, zstd or raw, chunk by chunk in file order; outright contracts only, of `root` alone where given.
    `tally` counts along.
    Raises as `read_header`; BadDbn also names the record or byte at which a truncated or corrupt file ends. UnmappedInstrument where a
    record's instrument id has no symbol on the file's date.
    """
    path = Path(path)
    header, record_bytes, _, chunks = _open_records(path, chunk_records)
    outrights = header.outrights(root)
    known = np.array(sorted(header.symbols), np.uint32)
    keep = np.array([int(i) in outrights for i in known], np.bool_)
    done = 0
    for words in chunks:
        out = MboColumns.empty(len(words))
        kept, bad = split(words, known, keep, *(getattr(out, name) for name in COLUMN_TYPES))
        if bad >= 0:
            raise _bad_record(path, words[bad], done + bad, record_bytes, known)
        if tally is not None:
            tally.records, tally.last_ns = done + len(words), int(words[-1, 5])
        if kept:
            yield out.rows(0, kept)
        done += len(words)


def count_records(path: Path | str, progress: Callable[[float], object] = lambda share: None) -> int:
    """Number of records of a DBN file, read and checked to its last byte: whole zstd frames, whole records, all of them MBO.

    Parameters
    ----------
    path
        As `stream_columns`.
    progress
        Called with the share of the file that has been read, 0 to 1.

    Raises
    ------
    RawMissing, BadDbn
        As `stream_columns`; instruments without a symbol are not looked at.
    """
    path = Path(path)
    header, record_bytes, source, chunks = _open_records(path, CHUNK_RECORDS)
    head = 0xA000 | record_bytes // 4
    done = 0
    for words in chunks:
        action, side = _ACTIONS[words[:, 4] >> 48 & 0xFF], _SIDES[words[:, 4] >> 56]
        wrong = np.flatnonzero(((words[:, 0] & 0xFFFF) != head) | (action == 255) | (side == 255))
        if len(wrong):
            known = np.array(sorted(header.symbols), np.uint32)
            raise _bad_record(path, words[wrong[0]], done + int(wrong[0]), record_bytes, known)
        done += len(words)
        progress(source.share())
    return done


def _open_records(path: Path, chunk_records: int) -> tuple[DbnHeader, int, ByteSource, Iterator[NDArray[np.uint64]]]:
    """Header, bytes per record, and the records as uint64 (records, words), `chunk_records` at a time in one buffer."""
    raw = _open(path)
    try:
        source = ByteSource(raw, path)
        header, record_bytes = _header(path, source)
    except BaseException:
        raw.close()
        raise

    def chunks() -> Iterator[NDArray[np.uint64]]:
        buffer = np.empty(chunk_records * record_bytes, np.uint8)
        done = 0
        with raw:
            while filled := source.read_into(buffer.data):
                n, rest = divmod(filled, record_bytes)
                if n:
                    yield buffer[: n * record_bytes].view(np.uint64).reshape(n, record_bytes // 8)
                    done += n
                if rest:
                    raise BadDbn(
                        f"{path}: truncated after record {done:,}: expected records of {record_bytes} bytes, found {rest} bytes more; "
                        f"{_AGAIN}"
                    )
        if done == 0:
            raise BadDbn(f"{path}: holds no records; {_AGAIN}, or remove it if the venue was closed on {header.date}")

    return header, record_bytes, source, chunks()


def _open(path: Path) -> BinaryIO:
    if not path.is_file():
        raise RawMissing(f"{path}: expected a Databento file (.dbn or .dbn.zst), found no file; check the path")
    try:
        return path.open("rb")
    except OSError as error:
        raise BadDbn(f"{path}: cannot be opened: {error}; let this user read it") from error


def _header(path: Path, source: ByteSource) -> tuple[DbnHeader, int]:
    """Header, and bytes per record (live files append a send time)."""
    metadata = _metadata(path, source)
    start = int(metadata.start)
    day = start // _DAY_NS * _DAY_NS
    end = int(metadata.end) if metadata.end is not None else day + _DAY_NS
    date = dt.datetime.fromtimestamp(day // NS, dt.UTC).date()
    if end > day + _DAY_NS:
        raise BadDbn(
            f"{path}: expected a file of one UTC date, found one from {_utc_text(start)} to {_utc_text(end)}; "
            f"download it with split_duration='day', or one day at a time"
        )
    limit = None if metadata.limit is None else int(metadata.limit)
    header = DbnHeader(path, metadata.version, metadata.dataset, start, end, date, _symbols(metadata, date), limit)
    return header, RECORD_BYTES + 8 * bool(metadata.ts_out)


def _utc_text(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns // NS, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _metadata(path: Path, source: ByteSource) -> Metadata:
    from databento_dbn import DBNError, Metadata, Schema, VersionUpgradePolicy

    prefix = source.read(8)
    if not prefix:
        raise BadDbn(f"{path}: is empty; {_AGAIN}")
    if prefix[:3] != b"DBN":
        raise BadDbn(f"{path}: expected a Databento file starting with 'DBN' (raw or inside zstd), found {prefix!r}; {_AGAIN}")
    version = prefix[3] if len(prefix) > 3 else 0
    if version not in (1, 2, 3):
        raise BadDbn(f"{path}: expected DBN version 1, 2 or 3, found {version}; update spymaster, or {_AGAIN}")
    length = int.from_bytes(prefix[4:8], "little")
    # A damaged length must not make us ask for 4 GB: 64 MB is far above the metadata of every CME symbol there is.
    body = source.read(min(length, 1 << 26))
    if len(prefix) < 8 or len(body) < length:
        raise BadDbn(f"{path}: truncated in the metadata: expected {length + 8} bytes, found {len(prefix) + len(body)}; {_AGAIN}")
    try:
        metadata = Metadata.decode(prefix + body, VersionUpgradePolicy.AS_IS)  # type: ignore[arg-type]
    except (DBNError, ValueError) as error:
        raise BadDbn(f"{path}: the metadata cannot be decoded ({error}); {_AGAIN}") from error
    if metadata.schema != Schema.MBO:
        raise BadDbn(f"{path}: expected schema mbo, found {metadata.schema or 'a mix'}; download it with schema='mbo'")
    return metadata


def _symbols(metadata: Metadata, date: dt.date) -> dict[int, str]:
    """Instrument id to raw symbol on `date`, from mappings in either direction."""
    found: dict[int, str] = {}
    for key, intervals in metadata.mappings.items():
        for interval in intervals:
            if interval["start_date"] <= date < interval["end_date"]:
                value = interval["symbol"]
                if value.isdecimal():
                    found[int(value)] = key
                elif key.isdecimal() and value:
                    found[int(key)] = value
    return found


def _bad_record(path: Path, words: NDArray[np.uint64], record: int, record_bytes: int, known: NDArray[np.uint32]) -> BadDbn:
    raw = words.tobytes()
    at = f"{path}: record {record:,} (byte {record * record_bytes:,} of the records)"
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

    def __init__(self, raw: BinaryIO, path: Path) -> None:
        self._raw = raw
        self._path = path
        magic = raw.read(4)
        raw.seek(0)
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
        Raises BadDbn, naming the compressed byte reached, where it cannot be read, or a zstd frame is corrupt or ends early.
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
            raise BadDbn(f"{self._path}: cannot be read: {error}; check the disk, or {_AGAIN}") from error
        return filled

    def share(self) -> float:
        """Share of the file's bytes that have been read."""
        return self._raw.tell() / max(os.fstat(self._raw.fileno()).st_size, 1)

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
    words, known, keep,
    ts_event, ts_recv, order_id, price, size, flags, action, side, instrument_id, publisher_id, channel_id, ts_in_delta, sequence,
):  # fmt: skip
    """Split records into columns, keeping those of wanted instruments.

    words: uint64 (records, words per record): MBO records as in the file, little-endian
    known, keep: sorted instrument ids of the metadata (uint32), and whether each is wanted
    ts_event, ...: outputs, at least as long as `words`
    Returns the number of records kept, and the first record that is not a good MBO record of a known instrument (-1: none).
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
            if j >= known.shape[0] or np.uint64(known[j]) != iid:
                return kept, i
            last_id = iid
            last_keep = keep[j]
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
