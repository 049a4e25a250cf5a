"""From the journal to raw files: what was recorded of a UTC date as a file like Databento's, and how it compares with a downloaded one.

A date is sealed in pieces, each of the records since the one before. The first piece of a date that goes on from the day before begins with
the book at midnight as a snapshot, as Databento's own files do, made of that day's sealed records. Beside a piece stands ``.live.json``:
its hash, how many records are such a snapshot's, the gaps, and the hash of the file that it follows without a record missing (`continues`).
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import zstandard
from numpy.typing import NDArray

from engine.errors import SessionError
from engine.lake.catalog import LADDER, TAPE
from engine.lake.lock import alone
from engine.lake.manifest import sha256_file
from engine.lake.store import Lake
from engine.lake.writer import fsync_path, writing
from engine.live.gateway import Recording, RestingOrders
from engine.live.journal import MBO, Journal, at_lake
from engine.sessions import clock_text, utc_day
from engine.stages.raw import ContractPart, DatePart, Facts, outrights, raw_paths, write_facts
from engine.vocab import F_SNAPSHOT, NS

NOTE = ".live.json"
"""Added to the name of a sealed file."""

CHUNK = 1 << 17


@dataclass(frozen=True)
class Sealed:
    """A sealed file: its path, and what stands beside it."""

    path: Path
    sha256: str
    date: dt.date
    first: int
    records: int
    head: int
    start_ns: int
    end_ns: int
    gaps: list[list[Any]]
    continues: str | None


def sealed_files(lake: Lake, root: str) -> list[Sealed]:
    """The sealed files of a root, in order."""
    found = []
    for path in raw_paths(lake.raw_folder(root)):
        note = path.with_name(path.name + NOTE)
        if note.exists():
            said = json.loads(note.read_text(encoding="utf-8"))
            found.append(Sealed(path, **{**said, "date": dt.date.fromisoformat(said["date"])}))
    return sorted(found, key=lambda s: (s.date, s.first))


def seal(lake: Lake, root: str, dataset: str, before: dt.date | None = None) -> list[Sealed]:
    """Seal everything of a root's journal that is not sealed yet, date by date, of dates before one where given; the new files.
    Raises LakeWriteFailed; LakeBusy where another process seals it.
    """
    journal = Journal(lake.root, root)
    made = []
    with alone(journal.folder / ".sealing", f"{journal.folder}: another process seals what was recorded; wait for its end"):
        for date in journal.dates():
            there = sealed_files(lake, root)
            done = sum(s.records - s.head for s in there if s.date == date)
            if journal.count(date) > done and (before is None or date < before):
                made.append(_seal_piece(lake, journal, date, done, there, dataset))
    return made


def _seal_piece(lake: Lake, journal: Journal, date: dt.date, first: int, before: list[Sealed], dataset: str) -> Sealed:
    end = journal.count(date)
    midnight, next_midnight = utc_day(date)
    gaps = [e for e in journal.events(date) if e["what"] == "gap" and first <= e["record"] < end]
    start_gap = next((g for g in gaps if g["record"] == first), None)
    begin = journal.records(date, first, first + 1)[0]
    previous = before[-1] if before else None
    # What a snapshot begins stands for itself: nothing before it is known to be followed.
    follows = previous is not None and start_gap is None and not begin["flags"] & F_SNAPSHOT
    if follows and previous is not None:
        sealed_to = previous.first + previous.records - previous.head
        follows = sealed_to == (first if previous.date == date else journal.count(previous.date))
    head = b""
    if follows and previous is not None and previous.date < date:
        of_day = [s.path for s in before if s.date == previous.date]
        recording = Recording.read(of_day)
        orders = RestingOrders(recording.records)
        orders.advance(len(recording.records))
        head = orders.snapshot(midnight, sorted(recording.symbols))
    last = journal.records(date, end - 1)[0]
    later = next((d for d in journal.dates() if d > date and journal.count(d)), None)
    goes_on = later is not None and not journal.records(later, 0, 1)["flags"][0] & F_SNAPSHOT
    start_ns = (midnight if head else previous.end_ns) if follows and previous is not None else int(begin["ts_recv"])
    end_ns = next_midnight if goes_on else max(int(last["ts_recv"]) // NS * NS, start_ns + 1)
    symbols = journal.symbols(date)
    n_pieces = sum(s.date == date for s in before)
    name = f"{journal.root}-live-{dataset.lower().replace('.', '-')}-{date:%Y%m%d}{f'-{n_pieces + 1}' if n_pieces else ''}.mbo.dbn.zst"
    path = lake.raw_folder(journal.root) / name
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{name}.part")
        try:
            with part.open("wb") as out:
                out.write(
                    zstandard.ZstdCompressor(level=3, write_checksum=True).compress(_metadata(symbols, date, start_ns, end_ns, dataset))
                )
                with zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(out, closefd=False) as body:
                    body.write(head)
                    for at in range(first, end, CHUNK):
                        body.write(journal.records(date, at, min(at + CHUNK, end)).tobytes())
            n_head = len(head) // MBO.itemsize
            sealed = Sealed(
                path, sha256_file(part), date, first, end - first + n_head, n_head, start_ns, end_ns,
                [[g["from_ns"], g["to_ns"], g["reason"]] for g in gaps if g is not start_gap],
                previous.sha256 if follows and previous is not None else None,
            )  # fmt: skip
            note = path.with_name(name + NOTE)
            said = {k: v for k, v in vars(sealed).items() if k != "path"} | {"date": date.isoformat()}
            note_part = note.with_name(f".{note.name}.part")
            note_part.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
            for each in (part, note_part):
                fsync_path(each)
            # What the header does not say is there before the file is: a process that is ended here leaves no file without its gaps.
            inner = [g for g in gaps if g is not start_gap]
            if inner:
                stat = part.stat()
                write_facts(lake, path, _facts(journal, sealed, symbols, inner, dataset, stat))
            os.replace(note_part, note)
            os.replace(part, path)
            fsync_path(path.parent)
        finally:
            part.unlink(missing_ok=True)
    return sealed


def _metadata(symbols: dict[int, str], date: dt.date, start_ns: int, end_ns: int, dataset: str) -> bytes:
    import databento_dbn

    dbn: Any = databento_dbn
    day = date + dt.timedelta(days=1)
    mappings = [
        SimpleNamespace(raw_symbol=symbol, intervals=[SimpleNamespace(start_date=date, end_date=day, symbol=str(instrument))])
        for instrument, symbol in sorted(symbols.items())
    ]
    made = dbn.Metadata(
        dataset=dataset, start=start_ns, end=end_ns, stype_in=dbn.SType.RAW_SYMBOL, stype_out=dbn.SType.INSTRUMENT_ID, version=3,
        schema=dbn.Schema.MBO, symbols=[symbols[i] for i in sorted(symbols)], mappings=mappings, ts_out=False,
    )  # fmt: skip
    return bytes(made)


def _facts(
    journal: Journal, sealed: Sealed, symbols: dict[int, str], gaps: list[dict[str, Any]], dataset: str, stat: os.stat_result
) -> Facts:
    """What the header does not say of a file with gaps: the spans between them, and their records."""
    cuts = [sealed.first, *(g["record"] for g in gaps), sealed.first + sealed.records - sealed.head]
    starts = [sealed.start_ns, *(g["to_ns"] for g in gaps)]
    ends = [*(g["from_ns"] for g in gaps), sealed.end_ns]
    by_symbol: dict[str, list[int]] = {}
    for instrument, symbol in sorted(symbols.items()):
        if symbol in outrights((symbol,), journal.root):
            by_symbol.setdefault(symbol, []).append(instrument)
    parts = []
    for k, (start, end) in enumerate(zip(starts, ends)):
        records = journal.records(sealed.date, cuts[k], cuts[k + 1])
        contracts = {}
        for symbol, ids in by_symbol.items():
            mine = records["ts_recv"][np.isin(records["instrument_id"], ids)]
            span = (int(mine.min()), int(mine.max())) if len(mine) else (start, start)
            contracts[symbol] = ContractPart(tuple(ids), len(mine), *span)
        head = sealed.head if k == 0 else 0
        at = cuts[k] - sealed.first + (0 if k == 0 else sealed.head)
        parts.append(DatePart(sealed.date.isoformat(), start, end, at, len(records) + head, contracts))
    return Facts(stat.st_size, stat.st_mtime_ns, sealed.sha256, dataset, sealed.records, False, "messages", {}, tuple(parts))


# ----------------------------------------------------------------------------
# What a downloaded file says of the same time


def differing_seconds(lake: Lake, root: str, date: dt.date) -> list[tuple[int, int, int, int]]:
    """Spans ``[start, end)`` in ns of the seconds in which the sealed and the downloaded files of a date have other records, within the
    time that was sealed, with the number of records in each. Raises SessionError where one of the two is not there.
    """
    sealed = [s for s in sealed_files(lake, root) if s.date == date]
    mine = {s.path for s in sealed}
    others = [p for p in raw_paths(lake.raw_folder(root)) if p not in mine and f"{date:%Y%m%d}" in p.name]
    if not sealed or not others:
        what = "sealed" if not sealed else "downloaded"
        raise SessionError(
            f"{root} {date}: expected a sealed and a downloaded file of the date in {lake.raw_folder(root)}, found no {what} one"
        )
    a, b = (_by_second(Recording.read(paths).records) for paths in ([s.path for s in sealed], others))
    spans = [(s.start_ns // NS + 1, s.end_ns // NS) for s in sealed]
    gaps = [(g[0] // NS, -(-g[1] // NS)) for s in sealed for g in s.gaps]
    found: list[list[int]] = []
    for second in sorted({*a, *b}):
        if not any(x <= second < y for x, y in spans) or any(x <= second < y for x, y in gaps) or a.get(second) == b.get(second):
            continue
        counts = [side.get(second, (0, 0))[0] for side in (a, b)]
        if found and found[-1][1] == second * NS:
            found[-1] = [found[-1][0], (second + 1) * NS, found[-1][2] + counts[0], found[-1][3] + counts[1]]
        else:
            found.append([second * NS, (second + 1) * NS, *counts])
    return [(f[0], f[1], f[2], f[3]) for f in found]


def _by_second(records: NDArray[np.void]) -> dict[int, tuple[int, int]]:
    """(number, hash) of the live records of every second of reception."""
    found: dict[int, tuple[int, int]] = {}
    for at in range(0, len(records), CHUNK):
        part = np.array(records[at : at + CHUNK])
        part = part[(part["flags"] & F_SNAPSHOT) == 0]
        words = part.view(np.uint64).reshape(len(part), MBO.itemsize // 8)
        weights = np.arange(1, words.shape[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = ((words ^ (words >> np.uint64(29))) * weights).sum(axis=1, dtype=np.uint64)
        second = part["ts_recv"] // NS
        for s in np.unique(second).tolist():
            of = second == s
            n, total = found.get(s, (0, 0))
            found[s] = (n + int(of.sum()), (total + int(mixed[of].sum(dtype=np.uint64))) % (1 << 64))
    return found


# ----------------------------------------------------------------------------
# The journal goes once nothing depends on it


def clear(lake: Lake, root: str, profile: str) -> Iterator[tuple[dt.date, str]]:
    """Remove the journal of dates that are sealed, over, and of which silver is what was seen live; (date, what was done) of each.

    A date stays where its sealed files are not its records byte for byte, or no session of it was made, or one differs.
    """
    from engine.live.day import LiveDay

    journal = Journal(lake.root, root)
    dates = [d for d in journal.dates() if journal.count(d)]
    for date in dates[:-1]:
        sealed = [s for s in sealed_files(lake, root) if s.date == date]
        if sum(s.records - s.head for s in sealed) != journal.count(date) or not all(_same_bytes(journal, s) for s in sealed):
            yield date, "stays: it is not sealed as a whole"
            continue
        sessions = [(symbol, d) for symbol, d in lake.partitions(LADDER) if d == date and symbol.startswith(root)]
        if not sessions:
            yield date, f"stays: no session of it was made; `spymaster run --symbol {root} --dates {date}{at_lake(lake.root)}` makes one"
            continue
        why = ""
        for symbol, d in sessions:
            live = LiveDay(lake, journal, symbol, d, profile)
            live.poll()
            rows, tape = live.ladder.frames()
            there = lake.read(TAPE, symbol, d)
            if not _same(rows, tape, lake.read(LADDER, symbol, d), there):
                where = f"`spymaster live compare {d}{at_lake(lake.root)}` says where it differs"
                why = f"stays: silver of {symbol} is not what was seen live; {where}"
        if why:
            yield date, why
        elif date == dates[-2]:
            yield date, "stays until the next day is over: its session began in it"
        else:
            # What is in no sealed file stays: events, alerts, and the trades of before the recording was joined.
            journal.path(date).unlink()
            yield date, "removed: its sealed files are its records, and silver is what was seen live"


def _same(rows: pl.DataFrame, tape: pl.DataFrame, made_rows: pl.DataFrame, made_tape: pl.DataFrame) -> bool:
    """Whether a ladder seen live and one made of sealed files agree: in every second that is valid in both, but for which orders had rested
    at midnight of UTC, which a snapshot does not know.
    """
    invalid = made_tape.filter(~pl.col("book_valid"))["window_start_ts_ns"].implode()
    both = ~pl.col("window_start_ts_ns").is_in(invalid) & (pl.col("window_start_ts_ns") < tape["window_end_ts_ns"].max())
    flows = [c for c in rows.columns if "rest" not in c]
    midnight = tape["window_start_ts_ns"] // NS % (24 * 3600) == 0
    seen = tape.filter(pl.col("book_valid") & ~midnight)["window_start_ts_ns"]
    made = made_tape.filter(pl.col("book_valid"))["window_start_ts_ns"]
    # Silver in which few seconds are valid would agree with anything.
    if seen.is_empty() or not seen.is_in(made.implode()).all():
        return False
    same_rows = rows.filter(both).select(flows).equals(made_rows.filter(both).select(flows))
    return same_rows and tape.filter(both).equals(made_tape.filter(both))


def _same_bytes(journal: Journal, sealed: Sealed) -> bool:
    if sha256_file(sealed.path) != sealed.sha256:
        return False
    records = Recording.read([sealed.path]).records[sealed.head :]
    for at in range(0, len(records), CHUNK):
        want = journal.records(sealed.date, sealed.first + at, min(sealed.first + at + CHUNK, sealed.first + len(records)))
        if records[at : at + CHUNK].tobytes() != want.tobytes():
            return False
    return True


def sealing_text(made: list[Sealed]) -> list[str]:
    """A line for each new file."""
    lines = []
    for s in made:
        gaps = f", {len(s.gaps)} gap{'s' if len(s.gaps) != 1 else ''}" if s.gaps else ""
        lines.append(
            f"{s.path.name}: {s.records - s.head:,} records, {clock_text(s.start_ns // NS * NS)} to {clock_text(s.end_ns)} New York{gaps}"
        )
    return lines
