"""What streams have brought of a UTC date so far: whole files that follow each other, the last of them up to where a stream broke."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def number(piece: Path) -> int:
    """The number of a piece, which stands before its ending."""
    return int(piece.name.removesuffix(".dbn.zst").rpartition(".")[2])


def salvage(part: Path, piece: Path, time_at: int) -> None:
    """Make a whole file `piece` of what came of a stream that was interrupted: its records before the last instant, which may not be whole.
    Its metadata end there. Nothing is made where no record can be saved.

    part: a zstd DBN file that ends anywhere
    time_at: byte of a record at which the time stands by which requests are cut
    """
    import numpy as np
    import zstandard

    tmp, records = piece.with_name(f".tmp-{piece.name}"), piece.with_name(f".tmp-{piece.name}-records")
    last, saved = -1, 0
    # This reader gives what there is of a frame that is cut, where others raise.
    with part.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as source:

        def read(n: int) -> bytes:
            try:
                return source.read(n)
            except zstandard.ZstdError:
                return b""  # what follows is damaged, and asked for again

        head = read(8)
        length = int.from_bytes(head[4:8], "little")
        head += read(min(length, 1 << 26))
        if head[:3] != b"DBN" or len(head) < length + 8:
            return
        left, held = b"", b""
        with records.open("wb") as out, zstandard.ZstdCompressor(level=3).stream_writer(out, closefd=False) as body:
            while block := read(1 << 20):
                data = left + block
                size = max(data[0] * 4, 1)
                n = len(data) // size
                left = data[n * size :]
                if n:
                    rows = np.frombuffer(data, np.uint8, n * size).reshape(n, size)
                    times = np.ascontiguousarray(rows[:, time_at : time_at + 8]).view(np.int64)[:, 0]
                    if times[-1] > last:
                        same = int(np.searchsorted(times, times[-1]))
                        saved += body.write(held + data[: same * size])
                        held, last = data[same * size : n * size], int(times[-1])
                    else:
                        held += data[: n * size]
    if saved:
        with tmp.open("wb") as out, records.open("rb") as of:
            # The metadata are a frame of their own before the records; their end is known only now.
            out.write(zstandard.ZstdCompressor(level=3).compress(head[:34] + last.to_bytes(8, "little") + head[42:]))
            shutil.copyfileobj(of, out)
            out.flush()
            os.fsync(out.fileno())
        tmp.rename(piece)
    records.unlink()
