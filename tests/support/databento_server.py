"""Databento's historical API on loopback, over TLS: what its own client asks, from made-up days; it keeps the account's bill."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import os
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import databento_dbn as dbn
import numpy as np
import zstandard

from engine.cli import main
from engine.commands import batch_jobs
from tests.support.dbn_files import DAY_NS, utc_ns
from tests.support.deliveries import head, mapped

KEY = "db-PlantedKeyOfTheTests0123456789"
NAMES = {17077: "ESZ5"}
USD_PER_BYTE = 1e-5
CHUNK = 8192


@dataclass
class Market:
    """What the server has: MBO records by date, and the condition of dates; `stype_in` is what its files say of the request."""

    days: dict[dt.date, np.ndarray]
    conditions: dict[dt.date, str] = field(default_factory=dict)
    stype_in: dbn.SType = dbn.SType.PARENT

    def part(self, schema: str, start: int, end: int) -> bytes:
        """The records that were received in ``[start, end)``."""
        if schema == "definition":
            whole = {d: self._definition(d) for d in self.days}
            return b"".join(b for d, b in whole.items() if start <= utc_ns(d) < end)
        of = [r[(r["ts_recv"] >= start) & (r["ts_recv"] < end)] for d, r in sorted(self.days.items())]
        return b"".join(r.tobytes() for r in of)

    @staticmethod
    def _definition(date: dt.date) -> bytes:
        message = dbn.InstrumentDefMsg(
            publisher_id=1, instrument_id=17077, ts_event=utc_ns(date), ts_recv=utc_ns(date), min_price_increment=250_000_000,
            display_factor=10**9, raw_symbol="ESZ5", group="ES", exchange="XCME", instrument_class=dbn.InstrumentClass.FUTURE,
            match_algorithm=dbn.MatchAlgorithm.FIFO, security_update_action=dbn.SecurityUpdateAction.ADD, security_type="FUT", asset="ES",
            expiration=utc_ns(date + dt.timedelta(days=45)),
        )  # fmt: skip
        return bytes(message)

    def metadata(self, schema: str, start: int, end: int) -> bytes:
        """Encoded metadata of a request."""
        first = dt.datetime.fromtimestamp(start / 1e9, dt.UTC).date()
        days = max((end - utc_ns(first) + DAY_NS - 1) // DAY_NS, 1)
        return head(start, end, mapped(first, NAMES, days), schema=dbn.Schema.from_str(schema), stype_in=self.stype_in)

    def file(self, schema: str, date: dt.date) -> bytes:
        """A day's file as a batch job has it."""
        start = utc_ns(date)
        pack = zstandard.ZstdCompressor(level=3).compress
        return pack(self.metadata(schema, start, start + DAY_NS)) + pack(self.part(schema, start, start + DAY_NS))


@dataclass
class Account:
    """What was asked and what it cost: `streamed` bytes of records, ``jobs`` by id, and every request's path and parameters.

    trouble: for a path, statuses (and headers) with which the next requests are answered; None for one that goes well
    pause: seconds between the chunks of an answer
    break_after: bytes of a stream after which the connection is closed, once for each number in the list
    lose_answer: the next order of a job is taken, and its answer lost
    harm: names of files whose next download is damaged
    short: the list of jobs names no more than id, state and time
    skew: Databento's clock less ours
    late: so many lists of jobs do not have the jobs yet that were ordered here
    unlisted: ids of jobs that no list has, though their details are known
    """

    market: Market
    streamed: int = 0
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    trouble: dict[str, list[tuple[int, dict[str, str]] | None]] = field(default_factory=dict)
    pause: float = 0.0
    break_after: list[int] = field(default_factory=list)
    lose_answer: bool = False
    harm: set[str] = field(default_factory=set)
    short: bool = False
    skew: dt.timedelta = dt.timedelta()
    late: int = 0
    unlisted: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def job(self, number: str, first: dt.date, end: dt.date, **other: str) -> dict[str, Any]:
        """A job of the account, as one that `download` orders but for `other`."""
        midnight = "T00:00:00.000000000Z"
        made = {
            "id": number, "dataset": "GLBX.MDP3", "schema": "mbo", "symbols": "ES.FUT", "stype_in": "parent", "encoding": "dbn",
            "compression": "zstd", "split_duration": "day", "start": f"{first}{midnight}", "end": f"{end}{midnight}", "state": "queued",
            "ts_received": (dt.datetime.now(dt.UTC) + self.skew).isoformat(),
        }  # fmt: skip
        self.jobs[number] = made | other
        return self.jobs[number]

    def count(self, path: str) -> int:
        """Number of requests of a path."""
        return sum(p == path for p, _ in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    account: Account

    def log_message(self, *_: object) -> None:
        """Nothing: the account has it."""

    def do_GET(self) -> None:
        self._answer({k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._answer({k: v[0] for k, v in parse_qs(body).items()})

    def _answer(self, asked: dict[str, str]) -> None:
        path = urlsplit(self.path).path.removeprefix("/v0/")
        with self.account.lock:
            self.account.asked.append((path, asked))
            trouble = self.account.trouble.get(path, [])
            refusal = trouble.pop(0) if trouble else None
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(f"{KEY}:".encode()).decode():
            refusal = (401, {})
        try:
            if refusal is not None:
                status, headers = refusal
                case = {"case": f"case_{status}", "message": "as the test wants it", "docs": "", "status_code": status}
                self._json({"detail": case}, status, headers)
            elif path.startswith("batch/download/"):
                self._file(*map(unquote, path.removeprefix("batch/download/").split("/")))
            else:
                getattr(self, "_" + path.replace(".", "_"))(asked)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    # --- metadata

    def _metadata_get_dataset_range(self, asked: dict[str, str]) -> None:
        days = sorted(self.account.market.days)
        end = days[-1] + dt.timedelta(days=1)
        self._json({"start": f"{days[0]}T00:00:00.000000000Z", "end": f"{end}T00:00:00.000000000Z", "schema": {}})

    def _metadata_get_dataset_condition(self, asked: dict[str, str]) -> None:
        first, last = (dt.date.fromisoformat(asked[k]) for k in ("start_date", "end_date"))
        dates = [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]
        conditions = self.account.market.conditions
        self._json([{"date": str(d), "condition": conditions.get(d, "available"), "last_modified_date": str(d)} for d in dates])

    def _size(self, asked: dict[str, str]) -> int:
        assert asked["symbols"] == "ES.FUT"
        assert asked["stype_in"] == "parent"
        return len(self.account.market.part(asked["schema"], _ns(asked["start"]), _ns(asked["end"])))

    def _metadata_get_billable_size(self, asked: dict[str, str]) -> None:
        self._json(self._size(asked))

    def _metadata_get_cost(self, asked: dict[str, str]) -> None:
        self._json(self._size(asked) * USD_PER_BYTE)

    # --- streams

    def _timeseries_get_range(self, asked: dict[str, str]) -> None:
        start, end, account = _ns(asked["start"]), _ns(asked["end"]), self.account
        records = account.market.part(asked["schema"], start, end)
        packer = zstandard.ZstdCompressor(level=3).compressobj()
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        first = zstandard.ZstdCompressor(level=3).compress(account.market.metadata(asked["schema"], start, end))
        self._chunk(first)
        cut = account.break_after.pop(0) if account.break_after else None
        sent = 0
        while sent < len(records):
            block = records[sent : sent + CHUNK]
            self._chunk(packer.compress(block) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
            sent += len(block)
            with account.lock:
                account.streamed += len(block)
            if cut is not None and sent >= cut:
                self.connection.close()
                self.close_connection = True
                return
            time.sleep(account.pause)
        self._chunk(packer.flush())
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    # --- batch jobs

    def _batch_submit_job(self, asked: dict[str, str]) -> None:
        account = self.account
        start, end = _ns(asked["start"]), _ns(asked["end"])
        assert (asked["encoding"], asked["compression"], asked["split_duration"]) == ("dbn", "zstd", "day")
        with account.lock:
            number = f"GLBX-20251120-{len(account.jobs):010d}"
            fields = ("dataset", "schema", "symbols", "stype_in", "start", "end", "encoding", "compression", "split_duration")
            received = (dt.datetime.now(dt.UTC) + account.skew).isoformat()
            job = {k: asked[k] for k in fields} | {"id": number, "state": "received", "ts_received": received}
            job["cost_usd"] = len(account.market.part(asked["schema"], start, end)) * USD_PER_BYTE
            account.jobs[number] = job
            lost, account.lose_answer = account.lose_answer, False
        if lost:
            self.connection.close()
            self.close_connection = True
            return
        self._json(job)

    def _batch_list_jobs(self, asked: dict[str, str]) -> None:
        steps = ["received", "queued", "processing", "done"]
        since = dt.datetime.fromisoformat(asked.get("since", "2000-01-01T00:00:00+00:00"))
        with self.account.lock:
            listed: list[dict[str, Any]] = []
            late = self.account.late > 0 and bool(self.account.jobs)
            self.account.late -= late
            for job in self.account.jobs.values():
                if late or job["id"] in self.account.unlisted or dt.datetime.fromisoformat(job["ts_received"]) < since:
                    continue
                listed.append({k: job[k] for k in ("id", "state", "ts_received")} if self.account.short else dict(job))
                if job["state"] in steps[:-1]:
                    job["state"] = steps[steps.index(job["state"]) + 1]
        self._json([j for j in listed if j["state"] in asked["states"].split(",")])

    def _batch_get_job_details(self, asked: dict[str, str]) -> None:
        job = self.account.jobs.get(asked["job_id"])
        self._json(job or {"detail": "no such job"}, 200 if job else 404)

    def _files(self, job_id: str) -> dict[str, bytes]:
        job, market = self.account.jobs[job_id], self.account.market
        start, end = (dt.date.fromisoformat(job[k][:10]) for k in ("start", "end"))
        dates = [start + dt.timedelta(days=i) for i in range((end - start).days)]
        schema = job["schema"]
        files = {f"glbx-mdp3-{d:%Y%m%d}.{schema}.dbn.zst": market.file(schema, d) for d in dates if d in market.days}
        conditions = [{"date": str(d), "condition": market.conditions.get(d, "available"), "last_modified_date": None} for d in dates]
        listed = [{"filename": n, "size": len(c), "hash": _hash(c), "urls": {}} for n, c in files.items()]
        extra = {"condition.json": conditions, "metadata.json": {"query": job}, "manifest.json": {"job_id": job_id, "files": listed}}
        return files | {name: json.dumps(value).encode() for name, value in extra.items()}

    def _batch_list_files(self, asked: dict[str, str]) -> None:
        job_id = asked["job_id"]
        here = f"https://{self.headers['Host']}/v0/batch/download/{job_id}/"
        files = self._files(job_id).items()
        self._json([{"filename": n, "size": len(c), "hash": _hash(c), "urls": {"https": here + n, "ftp": ""}} for n, c in files])

    def _file(self, job_id: str, name: str) -> None:
        content = self._files(job_id)[name]
        if name in self.account.harm:
            self.account.harm.discard(name)
            content = content[:-9] + bytes(9)
        first = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) if "Range" in self.headers else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        for at in range(first, len(content), CHUNK):
            self.wfile.write(content[at : at + CHUNK])
            time.sleep(self.account.pause)


def _ns(text: str) -> int:
    whole, _, part = text.removesuffix("Z").replace("+00:00", "").partition(".")
    at = dt.datetime.fromisoformat(whole).replace(tzinfo=dt.UTC)
    return round(at.timestamp()) * 10**9 + int((part or "0").ljust(9, "0"))


def _hash(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Server:
    """The server, as a context manager; `env` is what a process needs to reach it."""

    def __init__(self, account: Account, folder: Path) -> None:
        self.account, self.folder = account, folder

    def __enter__(self) -> Server:
        handler = type("Handler", (_Handler,), {"account": self.account})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._certificate)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @cached_property
    def _certificate(self) -> tuple[Path, Path]:
        cert, key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True, capture_output=True,
        )  # fmt: skip
        return cert, key

    @property
    def env(self) -> dict[str, str]:
        """Environment of a process that asks this server."""
        return {
            "DATABENTO_API_KEY": KEY,
            "SPYMASTER_DATABENTO_GATEWAY": f"https://localhost:{self._http.server_port}",
            "REQUESTS_CA_BUNDLE": str(self._certificate[0]),
        }


def run_alone(words: list[str], env: dict[str, str]) -> None:
    """The command line as the whole of a process that another one has begun: it ends with its exit code."""
    os.environ.update(env)
    batch_jobs.LOOK_AGAIN = 0.05
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        main(words)
    except SystemExit as e:
        os._exit(int(e.code is not None and e.code != 0))
    os._exit(0)
