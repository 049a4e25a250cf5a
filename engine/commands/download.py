"""``spymaster download``: market data of Databento, asked for once, paid once, into the lake."""

from __future__ import annotations

import datetime as dt
import json as jsonlib
import math
import shlex
import shutil
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engine.commands.batch_jobs import Job, JobFailed, Jobs
from engine.commands.common import JsonFlag, LakeDir, parse_dates, print_json, print_line, require, size_text, text_table, wide_console
from engine.commands.databento_client import DATASET, TRIES, Client
from engine.commands.pieces import SCHEMAS, Pieces
from engine.errors import BadDbn, DownloadFailed, EngineError, LakeWriteFailed, PartitionCorrupt, RawMissing, remedy
from engine.lake.lock import alone
from engine.lake.manifest import NOT_JSON, small_text
from engine.lake.writer import write_text_atomic
from engine.live.key import api_key
from engine.sessions import GLOBEX_CLOSE, GLOBEX_OPEN, to_ns, utc_dates, utc_day
from engine.vocab import NS, Root, root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake
    from engine.mbo.dbn import DbnMetadata

FOLDER = "raw/.download"
MOST_SYMBOLS = 2000
"""Symbols that a request may list: a file that names more is of all there are."""

ROOM = 0.5
"""Disk space wanted for a byte of the billed (uncompressed) size: files of orders take a third to a half of it as zstd."""


def download(
    *,
    symbol: Annotated[str, Parameter(help="A root, such as ES: all of its contracts.")],
    dates: Annotated[str | None, Parameter(help="UTC dates, A:B inclusive, A, or A,B,C.")] = None,
    last: Annotated[int | None, Parameter(help="So many sessions back from the newest that is complete, instead of --dates.")] = None,
    schemas: Annotated[str, Parameter(help="Comma separated: mbo, definition, statistics, tbbo, bbo-1m.")] = "mbo",
    lake: LakeDir = Path("lake"),
    max_usd: Annotated[float | None, Parameter(help="Pay so much at most, without being asked; required without a terminal.")] = None,
    stream_gb: Annotated[float, Parameter(help="Up to this size data are streamed; more comes as a batch job.")] = 2.0,
    json: JsonFlag = False,
) -> None:
    """Download a root's data from Databento into the lake: condition, size and cost first, then a question, then each date once.

    The key is in the environment variable ``DATABENTO_API_KEY``, or in the system's keyring under ``databento`` (with the package keyring).
    Dates that the lake has are not asked for. The same command goes on where an interrupted one stopped: what was received is kept, a
    batch job that was ordered is remembered and not paid again; of a stream that broke, what was on its way is sent, and billed, again.

    Examples
    --------
    ::

        spymaster download --symbol ES --last 60
        spymaster download --symbol ES --dates 2025-10-01:2025-10-31 --schemas mbo,definition --max-usd 50
    """
    from engine.lake.store import Lake

    root = root_of(symbol)
    require(root.code == symbol, f"--symbol {symbol}: expected a root such as {root.code}, whose contracts come together")
    wanted = tuple(s.strip() for s in schemas.split(",") if s.strip())
    unknown = [s for s in wanted if s not in SCHEMAS]
    require(bool(wanted) and not unknown, f"--schemas {schemas}: expected some of {', '.join(SCHEMAS)}, found {', '.join(unknown)}")
    require((dates is None) != (last is None), "expected --dates or --last, one of them")
    require(last is None or last >= 1, f"--last {last}: expected at least 1")
    for name, value in (("--max-usd", max_usd), ("--stream-gb", stream_gb)):
        require(value is None or (math.isfinite(value) and value >= 0), f"{name} {value}: expected a number that is 0 or more")
    client = Client(api_key())
    job = Download(Lake(lake), client, symbol, wanted, max_usd, round(stream_gb * 1e9), json)
    try:
        busy = f"{job.folder}: the process {{pid}} downloads {job.root} into this lake, and both would pay; wait for it"
        with alone(job.folder / ".lock", busy), client.quiet():
            job.go(parse_dates(dates, None, None)[0] if dates is not None else sessions_back(client, root, last or 1))
    except OSError as e:
        raise LakeWriteFailed(f"{job.folder}: {e}; {remedy(e)}: what was received is kept") from e


def sessions_back(client: Client, root: Root, n: int) -> list[dt.date]:
    """The UTC dates that the last `n` complete sessions of a root's market need, with the regular hours before the first; Saturdays have
    none.
    """
    from engine.sessions import rth_span

    found = client.ask("the span of the data", lambda: client.historical.metadata.get_dataset_range(DATASET))
    first, end = dt.date.fromisoformat(str(found["start"])[:10]), dt.date.fromisoformat(str(found["end"])[:10])
    days: list[dt.date] = []
    date = end - dt.timedelta(days=1)
    while len(days) <= n and date >= first:
        if rth_span(date, root.market) is not None:
            days.append(date)
        date -= dt.timedelta(days=1)
    require(bool(days), f"expected sessions from {first} to {end}, which Databento has, found none")
    every = (days[-1] + dt.timedelta(days=k) for k in range((days[0] - days[-1]).days + 1))
    return [d for d in every if d.weekday() != 5]


# ----------------------------------------------------------------------------
# What to ask for


@dataclass
class Request:
    """A schema of one UTC date from `start_ns` on, which is later than its start where a stream had begun: billed bytes, and cost in USD.
    `part` says what of it the lake has; empty where that is nothing.
    """

    schema: str
    date: dt.date
    start_ns: int
    part: str = ""
    size: int = 0
    cost: float = 0.0
    condition: str = "available"

    @property
    def name(self) -> str:
        """How errors and lines name it."""
        return f"{self.schema} of {self.date}"

    @property
    def end_ns(self) -> int:
        """End of the date."""
        return utc_day(self.date)[1]

    @property
    def begun(self) -> bool:
        """Whether a stream has brought some of it."""
        return self.start_ns > utc_day(self.date)[0]


@dataclass(frozen=True)
class Covered:
    """A span of time that a file in the lake covers, and whether it has all contracts of the root."""

    start_ns: int
    end_ns: int
    every: bool


def globex_hours(date: dt.date) -> list[tuple[int, int]]:
    """The spans of a UTC date in which Globex may trade: from 18:00 to 17:00 New York, Sunday to Friday; of a Saturday none."""
    start, end = utc_day(date)
    spans = []
    for day in (date, date + dt.timedelta(days=1)):
        if day.weekday() < 5:
            opens, closes = to_ns(day - dt.timedelta(days=1), GLOBEX_OPEN), to_ns(day, GLOBEX_CLOSE)
            spans.append((max(start, opens), min(end, closes)))
    return [(a, b) for a, b in spans if a < b]


def lacks(date: dt.date, covered: list[Covered]) -> str | None:
    """What the lake has of a date that it has a part of only; empty where that is nothing, None where it has all.
    Hours in which nothing is traded need not be covered.
    """
    if not covered:
        return ""
    at = utc_day(date)[0]
    holes = globex_hours(date)
    for c in sorted((c for c in covered if c.every), key=lambda c: c.start_ns):
        holes = [h for a, b in holes for h in ((a, min(b, c.start_ns)), (max(a, c.end_ns), b)) if h[0] < h[1]]
    if not holes:
        return None
    if not any(c.every for c in covered):
        return "some contracts"
    spans = sorted((max(c.start_ns, at), min(c.end_ns, utc_day(date)[1])) for c in covered if c.every)
    return ", ".join(f"{_clock(a)} to {_clock(b)}" for a, b in spans[:3]) + (" and more" if len(spans) > 3 else "") + " UTC"


def _clock(ns: int) -> str:
    """The time of day, UTC."""
    return f"{dt.datetime.fromtimestamp(ns // NS, dt.UTC):%H:%M}"


def time_text(ns: int) -> str:
    """A UTC time as requests name it: ``2025-11-04``, or ``2025-11-04T14:30:00.000000001``."""
    at = dt.datetime.fromtimestamp(ns // NS, dt.UTC)
    return f"{at:%Y-%m-%d}" if ns % (86_400 * NS) == 0 else f"{at:%Y-%m-%dT%H:%M:%S}.{ns % NS:09d}"


@dataclass(eq=False)
class Download:
    """One run: finish what was begun, ask what the rest costs, ask the user, fetch, add to the lake."""

    lake: Lake
    client: Client
    root: str
    schemas: tuple[str, ...]
    max_usd: float | None
    stream_bytes: int
    json: bool
    said: list[str] = field(default_factory=list, init=False)
    paid: float = field(default=0.0, init=False)
    added: list[dict[str, str]] = field(default_factory=list, init=False)
    faults: list[str] = field(default_factory=list, init=False)
    let_go: set[tuple[str, dt.date]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.folder = self.lake.root / FOLDER / self.root
        self.jobs = Jobs(self.folder, self.client, self.root, self.say)

    def say(self, text: str) -> None:
        """Print a line to standard error, and add it to the report."""
        self.said.append(text)
        sys.stderr.write(text + "\n")

    def go(self, dates: list[dt.date]) -> None:
        """Finish what was begun, then ask for what is missing of `dates`, and fetch it. What cannot be had or added does not stop the rest;
        DownloadFailed names it at the end.
        """
        try:
            self.jobs.sweep()
            for pieces in Pieces.complete(self.folder):
                self._take_pieces(pieces)
            for job in self.jobs.read():
                self._take_job(job)
            requests = self._priced(self._missing(dates))
            if requests:
                self._require_consent(requests)
                self._fetch(requests)
            elif not self.faults:
                self.say(f"nothing to ask for: the lake has what there is of {', '.join(self.schemas)} on these dates")
        except (EngineError, OSError):
            for fault in self.faults:
                self.say(fault)
            raise
        self._report()
        if self.faults:
            raise DownloadFailed("\n".join(self.faults))

    def _report(self) -> None:
        if self.json:
            report = {
                "lake": str(self.lake.root),
                "symbol": self.root,
                "paid_usd": round(self.paid + self.jobs.paid, 6),
                "added": self.added,
                "said": self.said,
                "failed": self.faults,
            }
            print_json(report)
        elif self.added:
            print_line(
                f"`spymaster demo --lake {shlex.quote(str(self.lake.root))}` makes every layer of what is there, and serves the screen"
            )

    # --- what is there

    def _covered(self, schema: str, dates: list[dt.date]) -> dict[dt.date, list[Covered]]:
        """What the lake has of each of `dates`, by what the files say of themselves."""
        from engine.mbo.dbn import read_metadata
        from engine.stages.raw import raw_index, raw_paths

        found: dict[dt.date, list[Covered]] = {d: [] for d in dates}
        every: dict[Path, bool] = {}
        if schema == "mbo":
            for part in raw_index(self.lake, self.root).files:
                if part.date in found and part.contracts:
                    if part.path not in every:
                        try:
                            every[part.path] = _asked_for_all(read_metadata(part.path))
                        except BadDbn:
                            every[part.path] = False  # damaged since: a whole one will take its place
                    last = max(c.last_ns for c in part.contracts.values())
                    end = part.end_ns if part.limit is None else min(part.end_ns, last)
                    found[part.date].append(Covered(part.start_ns, end, every[part.path]))
            return found
        for path in raw_paths(self.lake.raw_folder(self.root).with_name(f"table={schema.replace('-', '_')}_dbn")):
            try:
                metadata = read_metadata(path)
            except BadDbn:
                continue  # what it covers is not known: it is asked for again
            start = metadata.start_ns
            end = metadata.end_ns or utc_day(utc_dates(start, start + 1)[0])[1]
            for date in found.keys() & set(utc_dates(start, max(end, start + 1))):
                found[date].append(Covered(start, end, _asked_for_all(metadata) and metadata.limit is None))
        return found

    def _received(self) -> dict[str, list[str]]:
        """Dates by schema that were bought whole and are in the lake; nothing where that is not known: then the files tell."""
        path = self.folder / "received.json"
        try:
            return {str(schema): [str(d) for d in dates] for schema, dates in jsonlib.loads(small_text(path, str(path))).items()}
        except (*NOT_JSON, PartitionCorrupt):
            return {}

    def _note_received(self, schema: str, dates: Iterable[dt.date]) -> None:
        known = self._received()
        known[schema] = sorted({*known.get(schema, []), *(d.isoformat() for d in dates)})
        write_text_atomic(self.folder / "received.json", jsonlib.dumps(known, indent=1) + "\n")

    def _held(self, dates: list[dt.date]) -> set[tuple[str, dt.date]]:
        """Schemas and dates that were paid, and are not in the lake yet: they are not asked for again."""
        held = {(job.schema, date) for job in self.jobs.read() for date in job.dates}
        stems = {pieces.stem for pieces in Pieces.complete(self.folder)}
        return held | self.let_go | {(s, d) for s in self.schemas for d in dates if self._pieces(s, d).stem in stems}

    def _missing(self, dates: list[dt.date]) -> list[Request]:
        """What is missing of `dates`, with Databento's word on each date; dates that it has no data of are left out, and named."""
        from engine.stages.raw import write_conditions

        there = {schema: self._covered(schema, dates) for schema in self.schemas}
        held = self._held(dates)
        bought = self._received()
        parts = {
            (s, d): lacks(d, there[s][d])
            for d in dates
            for s in self.schemas
            if (s, d) not in held and not (there[s][d] and d.isoformat() in bought.get(s, []))
        }
        missing = {key: part for key, part in parts.items() if part is not None}
        if not missing:
            return []
        first, last = min(d for _, d in missing), max(d for _, d in missing)
        metadata = self.client.historical.metadata
        found = self.client.ask(
            "the condition of the dates",
            lambda: metadata.get_dataset_condition(DATASET, start_date=first.isoformat(), end_date=last.isoformat()),
        )
        said = {dt.date.fromisoformat(str(f["date"])): str(f["condition"]) for f in found}
        with self.lake.lock():
            write_conditions(self.lake, {d: c for d, c in said.items() if c not in ("missing", "pending")})
        for word in ("missing", "pending"):
            of = sorted({str(d) for _, d in missing if said.get(d) == word})
            if of:
                self.say(f"Databento calls {', '.join(of)} {word}: not asked for")
        requests = []
        for (schema, date), part in missing.items():
            if said.get(date) in ("missing", "pending"):
                continue
            pieces, (start, end) = self._pieces(schema, date), utc_day(date)
            r = Request(schema, date, pieces.received_to(start, end), part, condition=said.get(date, "available"))
            if r.start_ns >= end:  # all of it had come, and the run was killed before it could say so
                if pieces.end():
                    self._take_pieces(pieces)
                    continue
                r.start_ns = pieces.received_to(start, end)
            requests.append(r)
        return requests

    def _priced(self, requests: list[Request]) -> list[Request]:
        """The requests with size and cost; those that hold nothing (Saturdays, holidays) are left out."""
        metadata = self.client.historical.metadata

        def price(r: Request) -> Request:
            options: dict[str, Any] = {
                "dataset": DATASET, "symbols": [f"{self.root}.FUT"], "stype_in": "parent", "schema": r.schema,
                "start": time_text(r.start_ns), "end": time_text(r.end_ns),
            }  # fmt: skip
            r.size = int(self.client.ask(f"the size of {r.name}", lambda: metadata.get_billable_size(**options)))
            r.cost = float(self.client.ask(f"the cost of {r.name}", lambda: metadata.get_cost(**options))) if r.size else 0.0
            return r

        with ThreadPoolExecutor(8) as pool:
            return [r for r in pool.map(price, requests) if r.size]

    def _require_consent(self, requests: list[Request]) -> None:
        """Show what it costs and ask; DownloadFailed where the answer is no, the price is too high, or the disk too small."""
        cost, size = sum(r.cost for r in requests), sum(r.size for r in requests)
        disk = shutil.disk_usage(self.folder)
        table = text_table(("date", "condition", "schema", "in the lake", "size", "USD"), ("date", "condition", "schema", "in the lake"))
        for r in requests:
            since = f" from {_clock(r.start_ns)} on" if r.begun else ""
            table.add_row(str(r.date), r.condition, r.schema + since, r.part, size_text(r.size), f"{r.cost:.2f}")
        table.add_row("total", f"{len({r.date for r in requests})} dates", "", "", size_text(size), f"{cost:.2f}")
        console = wide_console()
        console.file = sys.stderr
        console.print(table)
        parts = [r for r in requests if r.part]
        if parts:
            more = f" (and {len(parts) - 1} other dates in part)" if len(parts) > 1 else ""
            self.say(
                f"the lake has a part of {parts[0].name} only, {parts[0].part}{more}: all of it is asked for, and takes the place of files "
                f"whose every record it holds"
            )
        self.say(f"{self.root}.FUT: {size_text(size)} uncompressed for USD {cost:.2f}; {size_text(disk.free)} free in {self.lake.root}")
        if size * ROOM > disk.free:
            raise DownloadFailed(
                f"expected about {size_text(size * ROOM)} free on the disk, found {size_text(disk.free)}; free some, run again"
            )
        if self.max_usd is not None:
            if cost > self.max_usd:
                raise DownloadFailed(
                    f"the price is USD {cost:.2f}, above --max-usd {self.max_usd:g}: nothing was asked for; take fewer dates"
                )
            return
        if not sys.stdin.isatty():
            raise DownloadFailed(f"the price is USD {cost:.2f}, and nobody is there to be asked: --max-usd {cost + 0.005:.2f} consents")
        sys.stderr.write(f"Pay USD {cost:.2f}? Type yes: ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() != "yes":
            raise DownloadFailed("not agreed to: nothing was asked for, nothing is paid")

    # --- fetching

    def _fetch(self, requests: list[Request]) -> None:
        """Stream or order; what a stream has begun goes on as one, so that no more is paid than was agreed to."""
        for schema in self.schemas:
            mine = [r for r in requests if r.schema == schema]
            whole = [r for r in mine if not r.begun]
            order = sum(r.size for r in whole) > self.stream_bytes
            for r in mine:
                if r.begun or not order:
                    self._stream(r)
            for run in runs_of(whole) if order else ():
                end = run[-1].date + dt.timedelta(days=1)
                self._take_job(self.jobs.order(schema, run[0].date, end, sum(r.cost for r in run)), fresh=True)

    def _pieces(self, schema: str, date: dt.date) -> Pieces:
        return Pieces(self.folder, f"glbx-mdp3-{date:%Y%m%d}.{schema}.{self.root}", schema)

    def _stream(self, r: Request) -> None:
        """Stream what is missing of a date, and put the date into the lake."""
        pieces = self._pieces(r.schema, r.date)
        for left in range(TRIES - 1, -1, -1):
            start = pieces.received_to(*utc_day(r.date))
            if start < r.end_ns:
                part = pieces.next_part()
                try:
                    self.client.ask(r.name, lambda part=part, start=start: self._stream_part(r, start, part))  # type: ignore[misc]
                except _Interrupted as e:
                    if not left or shutil.disk_usage(self.folder).free < 1 << 26:
                        raise DownloadFailed(f"{r.name}: {e}; check network and disk, and run again: what was received is kept") from None
                    continue
                pieces.close(part)
            if pieces.end():
                self.paid += r.cost
                self._take_pieces(pieces)
                return
        raise DownloadFailed(f"{r.name}: came damaged {TRIES} times; run again: what is whole of it is kept")

    def _stream_part(self, r: Request, start: int, part: Path) -> None:
        import databento
        import requests

        part.unlink(missing_ok=True)
        try:
            self.client.historical.timeseries.get_range(
                dataset=DATASET, symbols=[f"{self.root}.FUT"], stype_in="parent", schema=r.schema,
                start=time_text(start), end=time_text(r.end_ns), path=part,
            )  # fmt: skip
        except databento.BentoHttpError:
            raise
        except (databento.BentoError, requests.RequestException, OSError) as e:
            if part.exists() and part.stat().st_size:  # its bytes are kept, and only what follows is asked for
                raise _Interrupted(str(e)) from e
            raise

    # --- into the lake

    def _take_pieces(self, pieces: Pieces) -> None:
        """Put a date that has come into the lake."""
        if not pieces.files:
            self.say(f"{pieces.where}: the files are not there any more: {pieces.schema} of {pieces.date} is let go of")
            pieces.remove()
        elif self._add(pieces.files, pieces.where):
            self._note_received(pieces.schema, [pieces.date])
            pieces.remove()

    def _take_job(self, job: Job, *, fresh: bool = False) -> None:
        """Fetch a batch job, and put its files into the lake; `fresh` where it is yet to be ordered."""
        try:
            folder = self.jobs.fetch(job, fresh=fresh)
        except JobFailed as e:
            self.faults.append(str(e))
            self.let_go |= {(job.schema, date) for date in job.dates}
            return
        if folder is not None and self._add([folder], str(folder)):
            self._note_received(job.schema, job.dates)
            self.jobs.remove(job, folder)

    def _add(self, paths: list[Path], where: str) -> bool:
        """Put files into the lake; False where that failed for some, which is told at the end: they are kept."""
        from engine.commands.add import take, tell

        # A date in part that the lake has was named before the price was agreed to: the whole one takes its place.
        try:
            intake = take(self.lake, paths, replace=True, stored=tuple(s for s in SCHEMAS if s != "mbo"))
        except RawMissing as e:
            return self._keep(where, [str(e)])
        placed = [line for line in intake.lines if line.place]
        self.added += [{"what": line.what, "place": line.place, "dates": ", ".join(map(str, line.dates))} for line in placed]
        if not self.json:
            tell(intake)
        else:
            self.said += [text for line in intake.lines for text in line.said]
        return self._keep(where, intake.faults) if intake.faults else True

    def _keep(self, where: str, reasons: list[str]) -> bool:
        """Tell at the end why files could not be added; False."""
        why = "\n".join(reasons)
        self.faults.append(
            f"what was downloaded to {where} could not be added:\n{why}\nIt is kept: move what is in its way out of the lake, and run "
            f"again, which pays nothing for it; or remove {where} to let go of it"
        )
        return False


def _asked_for_all(metadata: DbnMetadata) -> bool:
    """Whether a file is of a request for all contracts: by parent symbol, or of more symbols than a request may list."""
    return metadata.stype_in == "parent" or len(metadata.mappings) > MOST_SYMBOLS


class _Interrupted(Exception):
    """A stream that broke after some of it had come."""


def runs_of(requests: list[Request]) -> list[list[Request]]:
    """The requests in runs of dates that follow each other, so that a job over a run's dates orders nothing else."""
    made: list[list[Request]] = []
    for r in sorted(requests, key=lambda r: r.date):
        if made and (r.date - made[-1][-1].date).days == 1:
            made[-1].append(r)
        else:
            made.append([r])
    return made
