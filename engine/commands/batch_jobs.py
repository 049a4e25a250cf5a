"""Batch jobs of Databento: what was ordered is written down before it is sent, so that nothing is ordered twice, and fetched from there."""

from __future__ import annotations

import datetime as dt
import json as jsonlib
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

    def _remember(self, job: Job) -> None:
        """Write a job down, in the place of what was written of it before."""
        self._write([*(j for j in self.read() if (j.schema, j.start, j.end) != (job.schema, job.start, job.end)), job])

    def drop(self, job: Job) -> None:
        """Remember a job no longer."""
        self._write([j for j in self.read() if (j.schema, j.start, j.end) != (job.schema, job.start, job.end)])

    def order(self, schema: str, start: dt.date, end: dt.date, cost: float) -> Job:
        """Order the UTC dates ``[start, end)`` of a schema, remembered before and after."""
        job = Job(schema, start.isoformat(), end.isoformat(), dt.datetime.now(dt.UTC).isoformat(), cost)
        self._remember(job)
        self.submit(job)
        return job

    def submit(self, job: Job) -> None:
        """Send an order that has no id yet, unless Databento has it already."""
        batch = self.client.historical.batch

        def submit() -> dict[str, Any]:
            # An answer that was lost on the way may be of an order that was taken: it is looked for before it is repeated.
            found = self._at_databento(job)
            return found or batch.submit_job(
                dataset=DATASET, symbols=[f"{self.root}.FUT"], stype_in="parent", schema=job.schema, start=job.start, end=job.end,
                encoding="dbn", compression="zstd", split_duration="day",
            )  # fmt: skip

        job.id = str(self.client.ask(f"the batch job {job.schema} {job.start} to {job.end}", submit)["id"])
        self.paid += job.cost
        self._remember(job)

    def _at_databento(self, job: Job) -> dict[str, Any] | None:
        """The job at Databento that is this one, ordered by a run that did not live to hear its id; None where there is none."""
        batch = self.client.historical.batch
        since = dt.datetime.fromisoformat(job.ordered) - dt.timedelta(minutes=5)
        known = {j.id for j in self.read()}
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

    def fetch(self, job: Job) -> Path:
        """Wait for a job and fetch its files, checked by their hashes: the folder that they are in."""
        if job.id is None:
            self.submit(job)
        assert job.id is not None
        batch, what, job_id = self.client.historical.batch, f"the batch job {job.id}", job.id
        wait = 0.2
        while (state := self._state(job)) not in ("done", "expired"):
            if wait == 0.2:
                self.say(f"{what} ({job.schema} {job.start} to {job.end}) is {state}; if this is stopped, the same command goes on")
            time.sleep(wait)
            wait = min(wait * 1.5, 30.0)
        if state == "expired":
            self.drop(job)
            raise DownloadFailed(f"{what} has expired: Databento keeps files for 30 days; run again, which asks for its dates anew")
        files = self.client.ask(what, lambda: batch.list_files(job_id))
        for file in files:
            self._fetch_file(job_id, file)
        return self.folder / job_id

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
