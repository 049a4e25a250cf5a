"""Batch jobs of Databento: what was ordered is written down before it is sent, so that nothing is ordered twice, and fetched from there."""

from __future__ import annotations

import datetime as dt
import json as jsonlib
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.commands.common import require
from engine.commands.databento_client import DATASET, Client
from engine.errors import DownloadFailed, PartitionCorrupt
from engine.lake.manifest import NOT_JSON, sha256_file, small_text
from engine.lake.writer import write_text_atomic

UNDER_WAY = ("received", "queued", "processing")

LOOKS, LOOK_AGAIN = 3, 3.0
"""An order that may have been taken is looked for so often, with so many seconds between, before it is sent again."""

LISTED_AFTER = dt.timedelta(seconds=30)
"""An order that was sent longer ago is listed, if it was taken: it is looked for once."""

ABSENT_FOR = 60.0
"""Seconds for which a job may be unknown to Databento before that is an error."""

CLOCK_OFF = dt.timedelta(days=1)
"""This machine's clock and Databento's may differ by so much."""


class JobFailed(DownloadFailed):
    """A batch job whose files cannot be had; others may be."""


@dataclass
class Job:
    """A batch job: what was ordered, when, at what cost, its id once Databento has told it, and whether all of its files are here."""

    schema: str
    start: str
    end: str
    ordered: str
    cost: float
    id: str | None = None
    fetched: bool = False

    @property
    def dates(self) -> set[dt.date]:
        """UTC dates that it covers."""
        first, end = dt.date.fromisoformat(self.start), dt.date.fromisoformat(self.end)
        return {first + dt.timedelta(days=i) for i in range((end - first).days)}

    @property
    def name(self) -> str:
        """How errors and lines name it."""
        return f"the batch job {self.id or '(no id yet)'} ({self.schema} {self.start} to {self.end})"


class Jobs:
    """The batch jobs of a root that were ordered and are not in the lake yet, in the file ``jobs.json`` of `folder`.

    folder: where their files are fetched to, each job's in one of its own
    say: called with what the user should know
    paid: USD of what this object ordered
    """

    def __init__(self, folder: Path, client: Client, root: str, say: Callable[[str], object]) -> None:
        self.folder, self.client, self.root, self.say = folder, client, root, say
        self.paid = 0.0

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "jobs.json"

    def read(self) -> list[Job]:
        """The jobs; DownloadFailed where the file is none of ours."""
        try:
            return [Job(**j) for j in jsonlib.loads(small_text(self.path, str(self.path)))]
        except FileNotFoundError:
            return []
        except (*NOT_JSON, PartitionCorrupt) as e:
            raise DownloadFailed(
                f"{self.path}: expected the batch jobs that were ordered, found {e}; they are at https://databento.com/portal/batch: "
                f"download them there, `spymaster add` them, and remove this file"
            ) from e

    def _write(self, jobs: list[Job]) -> None:
        write_text_atomic(self.path, jsonlib.dumps([asdict(j) for j in jobs], indent=1) + "\n")

    def _others(self, job: Job) -> list[Job]:
        return [j for j in self.read() if (j.schema, j.start, j.end) != (job.schema, job.start, job.end)]

    def _remember(self, job: Job) -> None:
        """Write a job down, in the place of what was written of it before."""
        self._write([*self._others(job), job])

    def sweep(self) -> None:
        """Remove what killed runs left of files that are in the lake."""
        for away in self.folder.glob(".removed-*"):
            shutil.rmtree(away)

    def drop(self, job: Job) -> None:
        """Remember a job no longer."""
        self._write(self._others(job))

    # --- ordering

    def order(self, schema: str, start: dt.date, end: dt.date, cost: float) -> Job:
        """Write down that the UTC dates ``[start, end)`` of a schema shall be ordered, which `fetch` does."""
        job = Job(schema, start.isoformat(), end.isoformat(), dt.datetime.now(dt.UTC).isoformat(), cost)
        self._remember(job)
        return job

    def _submit(self, job: Job) -> None:
        """Send an order that was agreed to in this run, and no earlier one can have sent."""
        import databento

        batch, sends, refused = self.client.historical.batch, 0, False

        def submit() -> str:
            nonlocal sends, refused
            refused = False
            # An answer that was lost on the way may be of an order that was taken: it is looked for before it is repeated.
            found = self._at_databento(job, LOOKS if sends else 1)
            if found is None:
                sends += 1
                try:
                    found = batch.submit_job(
                        dataset=DATASET, symbols=[f"{self.root}.FUT"], stype_in="parent", schema=job.schema, start=job.start, end=job.end,
                        encoding="dbn", compression="zstd", split_duration="day",
                    )  # fmt: skip
                except databento.BentoHttpError as e:
                    refused = e.http_status < 500 and e.http_status != 429
                    raise
            return str(found["id"])

        try:
            job.id = self.client.ask(job.name, submit)
        except DownloadFailed as e:
            if refused and sends == 1:
                self.drop(job)  # it was refused the only time that it was sent: there is no such job
            elif refused:
                raise JobFailed(
                    f"{e}; whether the order was taken before is not known: where https://databento.com/portal/batch does not have it, "
                    f"remove it from {self.path}"
                ) from None
            raise
        if sends:
            self.paid += job.cost
        else:
            self.say(f"{job.name} had been ordered before: it is not paid again")
        self._remember(job)

    def _find(self, job: Job) -> bool:
        """Find the id of an order that an earlier run was to send; False where Databento has none, and the order is let go of: what it was
        for has its price told, and is agreed to, anew.
        """
        self.say(f"{job.name}: an earlier run was to order it, and did not hear whether that was taken")
        old = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(job.ordered) > LISTED_AFTER
        found = self.client.ask(job.name, lambda: self._at_databento(job, 1 if old else LOOKS))
        if found is None:
            self.say(f"{job.name} was not taken, nor paid: it is let go of")
            self.drop(job)
            return False
        job.id = str(found["id"])
        self.say(f"{job.name} had been ordered before: it is not paid again")
        self._remember(job)
        return True

    def _at_databento(self, job: Job, looks: int) -> dict[str, Any] | None:
        """The job at Databento that asks for the same as this one and is not remembered yet, which a run ordered that did not hear its id;
        None where there is none.
        """
        batch = self.client.historical.batch
        since = dt.datetime.fromisoformat(job.ordered) - CLOCK_OFF
        known = {j.id for j in self.read()}
        for look in range(looks):
            if look:
                time.sleep(LOOK_AGAIN)  # an order may be listed late
            for found in batch.list_jobs(states=",".join((*UNDER_WAY, "done", "expired")), since=since):
                if found["id"] in known:
                    continue
                if "schema" not in found and hasattr(batch, "get_job_details"):
                    found = batch.get_job_details(found["id"])
                if self._is_same(job, found):
                    return found
        return None

    def _is_same(self, job: Job, found: dict[str, Any]) -> bool:
        """Whether a job at Databento brings what this one asks for."""
        symbols = found.get("symbols")
        asked = found | {"symbols": ",".join(symbols) if isinstance(symbols, list) else symbols}
        wanted = {"dataset": DATASET, "schema": job.schema, "symbols": f"{self.root}.FUT"}
        form = {"stype_in": "parent", "encoding": "dbn", "compression": "zstd", "split_duration": "day"}
        same = all(asked.get(k) == v for k, v in wanted.items()) and all(asked.get(k, v) == v for k, v in form.items())
        midnight = "T00:00:00"  # a job may have been ordered over a part of a date
        spans = ((str(asked.get("start")), job.start), (str(asked.get("end")), job.end))
        whole = all(text[:19].replace(" ", "T") in (date, date + midnight) for text, date in spans)
        return same and whole and not asked.get("limit") and not asked.get("split_symbols")

    # --- fetching

    def fetch(self, job: Job, *, fresh: bool = False) -> Path | None:
        """Wait for a job and fetch its files, checked by their hashes: the folder that they are in; None where the user has removed it, or
        where Databento never took the order, and the job is remembered no longer. A `fresh` one, agreed to in this run, is ordered first.
        Raises JobFailed.
        """
        if job.id is None:
            if fresh:
                self._submit(job)
            elif not self._find(job):
                return None
        assert job.id is not None
        folder, job_id, batch = self.folder / job.id, job.id, self.client.historical.batch
        if job.fetched:
            if not folder.exists():
                self.say(f"{job.name}: its files are not in {self.folder} any more: it is let go of")
                self.drop(job)
                return None
            return folder
        self._wait(job)
        for file in self.client.ask(job.name, lambda: batch.list_files(job_id)):
            self._fetch_file(job_id, file)
        job.fetched = True
        self._remember(job)
        return folder

    def remove(self, job: Job, folder: Path) -> None:
        """Remove a job's files and remember it no longer: they are in the lake."""
        away = folder.with_name(f".removed-{folder.name}")
        folder.rename(away)  # in one step, so that a run that is killed leaves all of the files or none
        self.drop(job)
        shutil.rmtree(away)

    def _wait(self, job: Job) -> None:
        """Wait until the job is done; JobFailed where it never will be."""
        wait, absent = 0.2, 0.0
        while (state := self._state(job)) != "done":
            if state == "expired":
                self.drop(job)
                raise JobFailed(
                    f"{job.name} has expired: Databento keeps files for 30 days. It was paid, and is forgotten now: run again to order its "
                    f"dates anew, which costs again"
                )
            if state is None and absent >= ABSENT_FOR:
                raise JobFailed(
                    f"{job.name}, ordered {job.ordered[:16]} UTC for USD {job.cost:.2f}, is not among the jobs of this account: it is not "
                    f"ordered anew, which would cost again. Run again with the key of the account that ordered it; or look for it at "
                    f"https://databento.com/portal/batch, and remove it from {self.path} to let go of it"
                )
            if state is not None and state not in UNDER_WAY:
                raise JobFailed(f"{job.name} is {state}, as Databento says: look at https://databento.com/portal/batch, and run again")
            if wait == 0.2:
                what = "is not among the account's jobs yet" if state is None else f"is {state}"
                self.say(f"{job.name} {what}; if this is stopped, the same command goes on")
            time.sleep(wait)
            absent = absent + wait if state is None else 0.0
            wait = min(wait * 1.5, 30.0)

    def _state(self, job: Job) -> str | None:
        """The job's state, or None where Databento does not know it."""
        import databento

        batch = self.client.historical.batch

        def state() -> str | None:
            listed = {f["id"]: f for f in batch.list_jobs(states=",".join((*UNDER_WAY, "done", "expired")))}
            if job.id in listed:
                return str(listed[job.id]["state"])
            if not hasattr(batch, "get_job_details"):
                return None
            try:
                return str(batch.get_job_details(str(job.id))["state"])
            except databento.BentoHttpError as e:
                if e.http_status in (400, 404, 422):
                    return None
                raise

        return self.client.ask(job.name, state)

    def _fetch_file(self, job_id: str, file: dict[str, Any]) -> None:
        """Download a file of a job, from where a part of it ends; JobFailed where its hash is another one's twice."""
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
                raise JobFailed(f"{name} of {job_id}: expected {size} bytes with SHA-256 {digest[:12]}, found {found[:12]}; run again")
