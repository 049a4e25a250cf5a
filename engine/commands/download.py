"""``spymaster download``: market data of Databento, asked for once, paid once, into the lake."""

from __future__ import annotations

import datetime as dt
import json as jsonlib
import os
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, parse_dates, print_json, print_line, require, size_text, text_table, wide_console
from engine.errors import DownloadFailed, LakeWriteFailed, PartitionCorrupt, RunFailed, remedy
from engine.lake.manifest import NOT_JSON, sha256_file, small_text
from engine.lake.writer import write_text_atomic
from engine.vocab import NS, root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake

T = TypeVar("T")

DATASET = "GLBX.MDP3"
SCHEMAS = {"mbo": 40, "definition": 16, "statistics": 16, "tbbo": 32, "bbo-1m": 32}
"""Schemas that are downloaded, and the byte of their records at which the time stands by which Databento cuts requests."""

GATEWAY = "SPYMASTER_DATABENTO_GATEWAY"
"""Environment variable with another address than Databento's, such as a proxy's; the connection is TLS always."""

FOLDER = "raw/.download"
DAY_NS = 86_400 * NS
TRIES, LONGEST_WAIT = 5, 60.0
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


def api_key() -> str:
    """The key, from the environment or the keyring; DownloadFailed without one. It is never printed."""
    key = os.environ.get("DATABENTO_API_KEY", "").strip() or _keyring()
    if not key:
        raise DownloadFailed(
            "expected Databento's API key in the environment variable DATABENTO_API_KEY, found none; "
            "`read -rs DATABENTO_API_KEY && export DATABENTO_API_KEY` asks for it without showing it; https://databento.com/portal/keys "
            "has it"
        )
    if not key.isascii() or not key.isprintable() or len(key) < 6:
        raise DownloadFailed("DATABENTO_API_KEY: expected a key of printable characters such as db-..., found something else")
    return key


def _keyring() -> str:
    """The key of the system's keyring, where the package keyring is installed and has one; else empty."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return ""
    try:
        found = keyring.get_credential("databento", None)
    except KeyringError as e:
        raise DownloadFailed(f"the system's keyring cannot be read: {e}; unlock it, or put the key into DATABENTO_API_KEY") from e
    return (found.password if found is not None else "").strip()


# ----------------------------------------------------------------------------
# Databento, with its errors by name


class Client:
    """Databento's own client; what it is asked is asked again where that may help, and errors come as DownloadFailed."""

    def __init__(self, key: str) -> None:
        import logging

        import databento

        logging.getLogger("databento").setLevel(logging.WARNING)  # its messages of the level DEBUG hold parts of the key
        self._key = key
        gateway = os.environ.get(GATEWAY)
        self.historical = databento.Historical(key, gateway) if gateway else databento.Historical(key)

    def __repr__(self) -> str:
        return "Client()"

    def ask(self, doing: str, call: Callable[[], T]) -> T:
        """What `call` returns, tried again after refusals that pass (429, 5xx, a broken connection); `doing` is how errors name it."""
        import databento
        import requests

        wait = 1.0
        for left in range(TRIES - 1, -1, -1):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what they say is checked here, by hash and by count
                    return call()
            except databento.BentoHttpError as e:
                if not left or not (e.http_status == 429 or e.http_status >= 500):
                    raise self._named(doing, e.http_status, ": ".join(str(e).splitlines())) from None
                asked = str(e.headers.get("Retry-After", ""))
                wait = float(asked) if asked.isdecimal() else wait
            except (databento.BentoError, requests.RequestException) as e:
                if not left or isinstance(e, requests.exceptions.SSLError):
                    why = f"{doing}: the connection to Databento failed: {e}; check the network, and run again"
                    raise DownloadFailed(self._hide(why)) from None
            except (KeyError, TypeError, ValueError, RuntimeError) as e:
                raise DownloadFailed(
                    self._hide(f"{doing}: Databento's answer is not understood: {type(e).__name__}: {e}; `uv sync --upgrade` may help")
                ) from None
            time.sleep(min(wait, LONGEST_WAIT))
            wait *= 2
        raise AssertionError("unreachable")

    def _named(self, doing: str, status: int, text: str) -> DownloadFailed:
        why = {
            401: "the key was refused; check DATABENTO_API_KEY at https://databento.com/portal/keys",
            402: "Databento wants payment: the account has no credit or no payment method; https://databento.com/portal/billing",
            403: "the account may not have these data; its subscription or licence at https://databento.com/portal",
            404: "Databento does not know this; run again with other dates or another symbol",
            422: "the request was refused as it is; run again with other dates, schemas or another symbol",
            429: "too many requests; wait a minute, then run again: what was received is kept",
        }.get(status, "Databento's server failed; wait, then run again: what was received is kept" if status >= 500 else "refused")
        return DownloadFailed(self._hide(f"{doing}: {why}. Databento says: {text}"))

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "(the key)")


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


@dataclass
class Job:
    """A batch job: what was ordered, when, at what cost, and its id once Databento has told it."""

    schema: str
    start: str
    end: str
    ordered: str
    cost: float
    id: str | None = None

    @property
    def dates(self) -> set[dt.date]:
        """UTC dates that it covers."""
        first, end = dt.date.fromisoformat(self.start), dt.date.fromisoformat(self.end)
        return {first + dt.timedelta(days=i) for i in range((end - first).days)}


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
        for job in self._jobs():
            self._finish_job(job)
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
                "paid_usd": round(self.paid, 6),
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
                    self._order(run)

    def _stem(self, schema: str, date: dt.date) -> Path:
        return self.folder / f"glbx-mdp3-{date:%Y%m%d}.{schema}.{self.root}"

    def _pieces(self, schema: str, date: dt.date) -> list[Path]:
        stem = self._stem(schema, date)
        return sorted(stem.parent.glob(f"{stem.name}.*.dbn.zst"), key=_number)

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
            pieces = sorted(self.folder.glob(f"{stem}.*.dbn.zst"), key=_number)
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

    # --- batch jobs

    @property
    def _ledger(self) -> Path:
        return self.folder / "jobs.json"

    def _jobs(self) -> list[Job]:
        try:
            return [Job(**j) for j in jsonlib.loads(small_text(self._ledger, str(self._ledger)))]
        except FileNotFoundError:
            return []
        except (*NOT_JSON, PartitionCorrupt) as e:
            raise DownloadFailed(
                f"{self._ledger}: expected the batch jobs that were ordered, found {e}; they are at https://databento.com/portal/batch: "
                f"download them there, `spymaster add` them, and remove this file"
            ) from e

    def _remember(self, jobs: list[Job]) -> None:
        write_text_atomic(self._ledger, jsonlib.dumps([asdict(j) for j in jobs], indent=1) + "\n")

    def _order(self, run: list[Request]) -> None:
        """Order a batch job, remembered before and after, and fetch it."""
        start, end = run[0].date.isoformat(), (run[-1].date + dt.timedelta(days=1)).isoformat()
        now = dt.datetime.now(dt.UTC).isoformat()
        job = Job(run[0].schema, start, end, now, sum(r.cost for r in run))
        self._remember([*self._jobs(), job])
        self._submit(job)
        self._finish_job(job)

    def _submit(self, job: Job) -> None:
        batch = self.client.historical.batch

        def submit() -> dict[str, Any]:
            # An answer that was lost on the way may be of an order that was taken: it is looked for before it is repeated.
            found = self._ordered(job)
            return found or batch.submit_job(
                dataset=DATASET, symbols=[f"{self.root}.FUT"], stype_in="parent", schema=job.schema, start=job.start, end=job.end,
                encoding="dbn", compression="zstd", split_duration="day",
            )  # fmt: skip

        job.id = str(self.client.ask(f"the batch job {job.schema} {job.start} to {job.end}", submit)["id"])
        self.paid += job.cost
        self._remember([*(j for j in self._jobs() if (j.schema, j.start, j.end) != (job.schema, job.start, job.end)), job])

    def _ordered(self, job: Job) -> dict[str, Any] | None:
        """The job at Databento that is this one, ordered by a run that did not live to hear its id; None where there is none."""
        batch = self.client.historical.batch
        since = dt.datetime.fromisoformat(job.ordered) - dt.timedelta(minutes=5)
        known = {j.id for j in self._jobs()}
        for found in batch.list_jobs(states="received,queued,processing,done", since=since):
            if found["id"] in known:
                continue
            if "schema" not in found and hasattr(batch, "get_job_details"):
                found = batch.get_job_details(found["id"])
            asked = (
                found.get("dataset"),
                found.get("schema"),
                found.get("symbols"),
                str(found.get("start"))[:10],
                str(found.get("end"))[:10],
            )
            if asked == (DATASET, job.schema, f"{self.root}.FUT", job.start, job.end):
                return found
        return None

    def _finish_job(self, job: Job) -> None:
        """Wait for a batch job, fetch its files, check them by their hashes, and put them into the lake."""
        if job.id is None:
            self._submit(job)
        assert job.id is not None
        batch, what, job_id = self.client.historical.batch, f"the batch job {job.id}", job.id
        wait = 0.2
        while (state := self._state(job)) not in ("done", "expired"):
            if wait == 0.2:
                self.say(f"{what} ({job.schema} {job.start} to {job.end}) is {state}; if this is stopped, the same command goes on")
            time.sleep(wait)
            wait = min(wait * 1.5, 30.0)
        if state == "expired":
            self._remember([j for j in self._jobs() if j.id != job.id])
            raise DownloadFailed(f"{what} has expired: Databento keeps files for 30 days; run again, which asks for its dates anew")
        files = self.client.ask(what, lambda: batch.list_files(job_id))
        for file in files:
            self._fetch_file(job_id, file)
        self._add([self.folder / job_id])
        shutil.rmtree(self.folder / job_id)
        self._remember([j for j in self._jobs() if j.id != job.id])

    def _state(self, job: Job) -> str:
        batch = self.client.historical.batch
        states = "received,queued,processing,done,expired"
        found = self.client.ask(f"the batch job {job.id}", lambda: batch.list_jobs(states=states))
        return next((str(f["state"]) for f in found if f["id"] == job.id), "expired")

    def _fetch_file(self, job_id: str, file: dict[str, Any]) -> None:
        """Download a file of a job, from where a part of it ends; DownloadFailed where its hash is another one's twice."""
        name, size = str(file["filename"]), int(file["size"])
        require(name == Path(name).name and not name.startswith("."), f"{job_id}: expected the name of a file, found {name!r}")
        kind, _, digest = str(file["hash"]).partition(":")
        place = self.folder / job_id / name
        for left in (1, 0):
            if place.exists() and place.stat().st_size > size:
                place.unlink()
            self.client.ask(name, lambda: self.client.historical.batch.download(job_id, self.folder, name))
            found = sha256_file(place) if kind == "sha256" else digest
            if place.stat().st_size == size and found == digest:
                return
            place.unlink()
            if not left:
                raise DownloadFailed(f"{name} of {job_id}: expected {size} bytes with SHA-256 {digest[:12]}, found {found[:12]}; run again")


def _number(piece: Path) -> int:
    """The number of a piece, which stands before its ending."""
    return int(piece.name.removesuffix(".dbn.zst").rpartition(".")[2])


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
