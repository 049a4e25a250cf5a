"""What streams have brought of a UTC date so far: whole files that follow each other, the last of them up to where a stream broke."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BadDbn, DownloadFailed
from engine.lake.writer import fsync_path

SCHEMAS = {"mbo": 40, "definition": 16, "statistics": 16, "tbbo": 32, "bbo-1m": 32}
"""Schemas that are downloaded, and the byte of their records at which the time stands by which Databento cuts requests."""

_WHOLE, _PART, _MARK = ".dbn.zst", ".part", ".complete"


@dataclass(frozen=True)
class Pieces:
    """The pieces of a date: files ``STEM.N.dbn.zst`` in `folder`, which are whole, ``STEM.N.part`` of a stream that runs or broke, and
    ``STEM.complete`` where all has come.
    """

    folder: Path
    stem: str
    schema: str

    @staticmethod
    def complete(folder: Path) -> list[Pieces]:
        """Those that have come to their end, in the order of their dates."""
        stems = sorted(mark.name.removesuffix(_MARK) for mark in folder.glob(f"*{_MARK}"))
        return [Pieces(folder, stem, stem.split(".")[1]) for stem in stems]

    @property
    def date(self) -> dt.date:
        """The UTC date."""
        return dt.datetime.strptime(self.stem.split(".")[0][-8:], "%Y%m%d").date()

    @property
    def files(self) -> list[Path]:
        """The whole pieces, in order."""
        return sorted(self.folder.glob(f"{self.stem}.*{_WHOLE}"), key=_number)

    @property
    def where(self) -> str:
        """How a line names the files."""
        return str(self.folder / f"{self.stem}.*")

    def received_to(self, start_ns: int, end_ns: int) -> int:
        """Up to when of ``[start_ns, end_ns)`` the date is here; what a stream that broke had brought is made a piece of its own, up to its
        last whole instant. Raises DownloadFailed where not even what was saved of it can be read.
        """
        from engine.mbo.dbn import read_metadata

        saved: Path | None = None
        while True:
            for part in sorted(self.folder.glob(f"{self.stem}.*{_PART}")):
                piece = part.with_name(part.name.removesuffix(_PART) + _WHOLE)
                if not piece.exists():
                    salvage(part, piece, SCHEMAS[self.schema])
                    saved = piece
                part.unlink()
            files = self.files
            if not files:
                return start_ns
            try:
                return min(read_metadata(files[-1]).end_ns or end_ns, end_ns)
            except BadDbn as e:
                if files[-1] == saved:
                    raise DownloadFailed(f"{saved}: {e}; it is kept: move it away to have its date asked for anew") from e
                self._damaged(files[-1])

    def next_part(self) -> Path:
        """Where the stream of what follows is written."""
        return self.folder / f"{self.stem}.{len(self.files)}{_PART}"

    def close(self, part: Path) -> None:
        """Make a piece of a part that came to its end; it is on the disk before it has the name of a whole one."""
        fsync_path(part)
        part.rename(part.with_name(part.name.removesuffix(_PART) + _WHOLE))

    def end(self) -> bool:
        """Mark the date as complete; False where its last piece is damaged, which is a part again then."""
        from engine.stages.intake import is_whole

        for piece in self.files[-1:]:
            if not is_whole(piece):
                self._damaged(piece)
                return False
        (self.folder / f"{self.stem}{_MARK}").touch()
        return True

    def remove(self) -> None:
        """Remove all: it is in the lake."""
        for piece in self.files:
            piece.unlink()
        (self.folder / f"{self.stem}{_MARK}").unlink()

    @staticmethod
    def _damaged(piece: Path) -> None:
        piece.rename(piece.with_name(piece.name.removesuffix(_WHOLE) + _PART))


def _number(piece: Path) -> int:
    """The number of a piece, which stands before its ending."""
    return int(piece.name.removesuffix(_WHOLE).rpartition(".")[2])


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
