"""``spymaster download``: market data of Databento, asked for once, paid once, into the lake."""

from __future__ import annotations

import datetime as dt
import shlex
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engine.commands.batch_jobs import Job, Jobs
from engine.commands.common import JsonFlag, LakeDir, parse_dates, print_json, print_line, require, size_text, text_table, wide_console
from engine.commands.databento_client import DATASET, TRIES, Client, api_key
from engine.commands.pieces import number, salvage
from engine.errors import DownloadFailed, LakeWriteFailed, RunFailed, remedy
from engine.vocab import NS, root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake

SCHEMAS = {"mbo": 40, "definition": 16, "statistics": 16, "tbbo": 32, "bbo-1m": 32}
"""Schemas that are downloaded, and the byte of their records at which the time stands by which Databento cuts requests."""

FOLDER = "raw/.download"
DAY_NS = 86_400 * NS
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
    batch job that was ordered is remembered, and nothing is paid twice.

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
    client = Client(api_key())
    job = Download(Lake(lake), client, symbol, wanted, max_usd, round(stream_gb * 1e9), json)
    try:
        with job.alone():
            job.go(parse_dates(dates, None, None)[0] if dates is not None else sessions_back(client, last or 1))
    except OSError as e:
        raise LakeWriteFailed(f"{job.folder}: {e}; {remedy(e)}: what was received is kept") from e


def sessions_back(client: Client, n: int) -> list[dt.date]:
    """The UTC dates that the last `n` complete sessions need, with the regular hours before the first; Saturdays have none."""
    from engine.sessions import rth_span

    found = client.ask("the span of the data", lambda: client.historical.metadata.get_dataset_range(DATASET))
    first, end = dt.date.fromisoformat(str(found["start"])[:10]), dt.date.fromisoformat(str(found["end"])[:10])
    days: list[dt.date] = []
    date = end - dt.timedelta(days=1)
    while len(days) <= n and date >= first:
        if rth_span(date) is not None:
            days.append(date)
        date -= dt.timedelta(days=1)
    require(bool(days), f"expected sessions from {first} to {end}, which Databento has, found none")
    every = (days[-1] + dt.timedelta(days=k) for k in range((days[0] - days[-1]).days + 1))
    return [d for d in every if d.weekday() != 5]


# ----------------------------------------------------------------------------
# What to ask for


@dataclass
class Request:
    """A schema of one UTC date from `start_ns` on, which is later than its start where a part is here: billed bytes, and cost in USD."""

    schema: str
    date: dt.date
    start_ns: int
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
        return day_ns(self.date) + DAY_NS


def day_ns(date: dt.date) -> int:
    """The UTC date's start in ns."""
    return int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()) * NS


def time_text(ns: int) -> str:
    """A UTC time as requests name it: ``2025-11-04``, or ``2025-11-04T14:30:00.000000001``."""
    at = dt.datetime.fromtimestamp(ns // NS, dt.UTC)
    return f"{at:%Y-%m-%d}" if ns % DAY_NS == 0 else f"{at:%Y-%m-%dT%H:%M:%S}.{ns % NS:09d}"


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

    def __post_init__(self) -> None:
        self.folder = self.lake.root / FOLDER / self.root
        self.jobs = Jobs(self.folder, self.client, self.root, self.say)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Context manager in which no other process downloads the same root into the same lake: both would pay."""
        import fcntl

        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                raise DownloadFailed(f"{self.folder}: another process downloads {self.root} into this lake; wait for it") from e
            yield

    def say(self, text: str) -> None:
        """Print a line to standard error, and add it to the report."""
        self.said.append(text)
        sys.stderr.write(text + "\n")

    def go(self, dates: list[dt.date]) -> None:
        """Finish what was begun, then ask for what is missing of `dates`, and fetch it."""
        self._take_received()
        for job in self.jobs.read():
            self._take_job(job)
        requests = self._priced(self._conditions(dates))
        if requests:
            self._require_consent(requests)
            self._fetch(requests)
        else:
            self.say(f"nothing to ask for: the lake has what there is of {', '.join(self.schemas)} on these dates")
        if self.json:
            report = {
                "lake": str(self.lake.root),
                "symbol": self.root,
                "paid_usd": round(self.paid + self.jobs.paid, 6),
                "added": self.added,
                "said": self.said,
            }
            print_json(report)
        elif self.added:
            print_line(
                f"`spymaster demo --lake {shlex.quote(str(self.lake.root))}` makes every layer of what is there, and serves the screen"
            )

    # --- what is there

    def _has(self, schema: str) -> set[dt.date]:
        """UTC dates of the schema that the lake has."""
        from engine.stages.raw import raw_index

        if schema == "mbo":
            return set(raw_index(self.lake, self.root).dates(self.root))
        table = self.lake.raw_folder(self.root).with_name(f"table={schema.replace('-', '_')}_dbn")
        names = [p.name for p in table.iterdir()] if table.is_dir() else []
        digits = (name[i : i + 8] for name in names for i in range(len(name) - 7) if name[i : i + 8].isdecimal())
        return {dt.datetime.strptime(d, "%Y%m%d").date() for d in digits if d.startswith("20")}

    def _conditions(self, dates: list[dt.date]) -> list[Request]:
        """What is missing of `dates`, with Databento's word on each date; dates that it has no data of are left out, and named."""
        from engine.stages.raw import write_conditions

        there = {schema: self._has(schema) for schema in self.schemas}
        missing = [(s, d) for d in dates for s in self.schemas if d not in there[s]]
        if not missing:
            return []
        first, last = min(d for _, d in missing), max(d for _, d in missing)
        metadata = self.client.historical.metadata
        found = self.client.ask(
            "the condition of the dates",
            lambda: metadata.get_dataset_condition(DATASET, start_date=first.isoformat(), end_date=last.isoformat()),
        )
        said = {dt.date.fromisoformat(str(f["date"])): str(f["condition"]) for f in found}
        write_conditions(self.lake, {d: c for d, c in said.items() if c not in ("missing", "pending")})
        for word in ("missing", "pending"):
            of = sorted({str(d) for _, d in missing if said.get(d) == word})
            if of:
                self.say(f"Databento calls {', '.join(of)} {word}: not asked for")
        asked = [
            Request(s, d, self._received_to(s, d), condition=said.get(d, "available"))
            for s, d in missing
            if said.get(d) not in ("missing", "pending")
        ]
        for r in asked:
            if r.start_ns >= r.end_ns:  # all of it had come, and the run was killed before it could say so
                self._complete(r)
        return [r for r in asked if r.start_ns < r.end_ns]

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
        table = text_table(("date", "condition", "schema", "size", "USD"), ("date", "condition", "schema"))
        for r in requests:
            since = f" from {dt.datetime.fromtimestamp(r.start_ns // NS, dt.UTC):%H:%M} on" if r.start_ns > day_ns(r.date) else ""
            table.add_row(str(r.date), r.condition, r.schema + since, size_text(r.size), f"{r.cost:.2f}")
        table.add_row("total", f"{len({r.date for r in requests})} dates", "", size_text(size), f"{cost:.2f}")
        console = wide_console()
        console.file = sys.stderr
        console.print(table)
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

    # --- streams

    def _fetch(self, requests: list[Request]) -> None:
        for schema in self.schemas:
            mine = [r for r in requests if r.schema == schema]
            if sum(r.size for r in mine) <= self.stream_bytes:
                for r in mine:
                    self._stream(r)
            else:
                for run in runs_of(mine):
                    end = run[-1].date + dt.timedelta(days=1)
                    self._take_job(self.jobs.order(run[0].schema, run[0].date, end, sum(r.cost for r in run)))

    def _stem(self, schema: str, date: dt.date) -> Path:
        return self.folder / f"glbx-mdp3-{date:%Y%m%d}.{schema}.{self.root}"

    def _pieces(self, schema: str, date: dt.date) -> list[Path]:
        stem = self._stem(schema, date)
        return sorted(stem.parent.glob(f"{stem.name}.*.dbn.zst"), key=number)

    def _received_to(self, schema: str, date: dt.date) -> int:
        """Up to when (ns) the date is here; what a killed run had received is made a piece of its own, up to its last whole instant."""
        stem = self._stem(schema, date)
        for part in sorted(stem.parent.glob(f"{stem.name}.*.part")):
            piece = part.with_name(part.name.removesuffix(".part") + ".dbn.zst")
            if not piece.exists():
                salvage(part, piece, SCHEMAS[schema])
            part.unlink()
        pieces = self._pieces(schema, date)
        if not pieces:
            return day_ns(date)
        from engine.mbo.dbn import read_metadata

        return min(read_metadata(pieces[-1]).end_ns or day_ns(date) + DAY_NS, day_ns(date) + DAY_NS)

    def _stream(self, r: Request) -> None:
        """Stream what is missing of a date, and put the date into the lake."""
        timeseries = self.client.historical.timeseries
        for left in range(TRIES - 1, -1, -1):
            start = self._received_to(r.schema, r.date)
            if start < r.end_ns:
                part = self._stem(r.schema, r.date).with_name(
                    f"{self._stem(r.schema, r.date).name}.{len(self._pieces(r.schema, r.date))}.part"
                )
                try:
                    self.client.ask(r.name, lambda part=part, start=start: self._stream_part(timeseries, r, start, part))  # type: ignore[misc]
                except _Interrupted as e:
                    if not left or shutil.disk_usage(self.folder).free < 1 << 26:
                        raise DownloadFailed(f"{r.name}: {e}; check network and disk, and run again: what was received is kept") from None
                    continue
                part.rename(part.with_name(part.name.removesuffix(".part") + ".dbn.zst"))
            if self._complete(r):
                self.paid += r.cost
                return
        raise DownloadFailed(f"{r.name}: came damaged {TRIES} times; run again: what is whole of it is kept")

    def _complete(self, r: Request) -> bool:
        """Put a date into the lake that has come to its end; False where its last piece came damaged, which is missing then."""
        from engine.stages.intake import is_whole

        for piece in self._pieces(r.schema, r.date)[-1:]:
            if not is_whole(piece):
                piece.rename(piece.with_name(piece.name.removesuffix(".dbn.zst") + ".part"))
                return False
        stem = self._stem(r.schema, r.date)
        stem.with_name(f"{stem.name}.complete").touch()
        self._take_received()
        return True

    def _stream_part(self, timeseries: Any, r: Request, start: int, part: Path) -> None:
        import databento
        import requests

        part.unlink(missing_ok=True)
        try:
            timeseries.get_range(
                dataset=DATASET, symbols=[f"{self.root}.FUT"], stype_in="parent", schema=r.schema,
                start=time_text(start), end=time_text(r.end_ns), path=part,
            )  # fmt: skip
        except databento.BentoHttpError:
            raise
        except (databento.BentoError, requests.RequestException, OSError) as e:
            if part.exists() and part.stat().st_size:  # its bytes are kept, and only what follows is asked for
                raise _Interrupted(str(e)) from e
            raise

    def _take_received(self) -> None:
        """Put the dates that are complete into the lake."""
        for mark in sorted(self.folder.glob("*.complete")):
            stem = mark.name.removesuffix(".complete")
            pieces = sorted(self.folder.glob(f"{stem}.*.dbn.zst"), key=number)
            if pieces:
                self._add(pieces)
            for piece in pieces:
                piece.unlink()
            mark.unlink()

    def _add(self, paths: list[Path]) -> None:
        from engine.commands.add import take, tell

        intake = take(self.lake, paths, stored=tuple(s for s in SCHEMAS if s != "mbo"))
        placed = [line for line in intake.lines if line.place]
        self.added += [{"what": line.what, "place": line.place, "dates": ", ".join(map(str, line.dates))} for line in placed]
        if not self.json:
            tell(intake)
        else:
            self.said += [text for line in intake.lines for text in line.said]
        if intake.faults:
            raise RunFailed("what was downloaded could not be added:\n" + "\n".join(intake.faults))

    def _take_job(self, job: Job) -> None:
        """Fetch a batch job, and put its files into the lake."""
        folder = self.jobs.fetch(job)
        self._add([folder])
        shutil.rmtree(folder)
        self.jobs.drop(job)


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
