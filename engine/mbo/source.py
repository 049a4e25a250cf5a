"""Bytes of a file, decompressed on the way where they are zstd; a frame that ends early is an error, never a short read."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import zstandard

from engine.errors import BadDbn

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_READ_BYTES = 1 << 18
_AGAIN = "fetch the file again"


class ByteSource:
    """Read a raw or zstd file front to back; several zstd frames in a row read as one."""

    def __init__(self, raw: BinaryIO, path: Path) -> None:
        self._raw = raw
        self._path = path
        magic = raw.read(4)
        raw.seek(0)
        self._zstd = magic == ZSTD_MAGIC or int.from_bytes(magic, "little") in _SKIPPABLE
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._ready = memoryview(b"")
        self._taken = 0

    def read(self, n: int) -> bytes:
        """Up to `n` bytes; fewer at the file's end."""
        buffer = bytearray(n)
        filled = self.read_into(memoryview(buffer))
        return bytes(buffer[:filled])

    def read_into(self, target: memoryview) -> int:
        """Fill `target` and return the number of bytes written; fewer than its length only at the file's end.

        Raises
        ------
        BadDbn
            Where a zstd frame is corrupt or ends before its last block, naming the compressed byte reached.
        """
        filled = 0
        while filled < len(target):
            if not self._ready:
                self._ready = memoryview(self._more())
                if not self._ready:
                    break
            n = min(len(target) - filled, len(self._ready))
            target[filled : filled + n] = self._ready[:n]
            self._ready = self._ready[n:]
            filled += n
        return filled

    def _more(self) -> bytes:
        """The next decompressed bytes; empty at the end."""
        if not self._zstd:
            return self._raw.read(_READ_BYTES)
        while True:
            if not self._compressed:
                self._compressed = self._raw.read(_READ_BYTES)
                self._taken += len(self._compressed)
                if not self._compressed:
                    if self._frame is not None:
                        raise BadDbn(f"{self._path}: truncated: the file ends at byte {self._taken:,} inside a zstd frame; {_AGAIN}")
                    return b""
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            try:
                out = self._frame.decompress(self._compressed)
            except zstandard.ZstdError as error:
                raise BadDbn(f"{self._path}: corrupt zstd data before byte {self._taken:,} ({error}); {_AGAIN}") from error
            if self._frame.eof:
                self._compressed = self._frame.unused_data
                self._frame = None
            else:
                self._compressed = b""
            if out:
                return out
