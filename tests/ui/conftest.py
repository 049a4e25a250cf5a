"""A real `panel serve` on loopback, a real Chromium, and lakes made by the pipeline from files of orders."""

from __future__ import annotations

import datetime as dt
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support import forked
from tests.support.built import copy_of_built
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.support.lakes import spymaster
from tests.support.similar_lake import similar_lake
from workbench.state import clock_text

ROOT = Path(__file__).resolve().parents[2]
DATE = dt.date(2025, 11, 4)
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip


def chromium() -> str | None:
    """Path of the system's Chromium, that without windows first: it does the same with a third less work."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next((p for name in names if (p := shutil.which(name))), None)


def generated_lake(folder: Path, messages: int, seed: int = 3) -> Path:
    """A lake with one New York morning of a made-up market, through the whole pipeline."""

    def make(place: Path) -> None:
        records = busy_day(messages, seed, date=DATE, start_ns=utc_ns(DATE, 9), end_ns=utc_ns(DATE, 17, 35), symbols={17077: "ESZ5"})
        file = write_dbn(
            place / "glbx-mdp3-20251104.mbo.dbn.zst", records, symbols={17077: "ESZ5"}, start=utc_ns(DATE), end=utc_ns(DATE) + DAY_NS
        )
        spymaster("add", file, "--lake", place / "lake")
        run = ("run", "--lake", place / "lake", "--layer", "all", "--symbol", "ESZ5", "--dates", DATE, "--session", "rth")
        spymaster(*run)

    return copy_of_built(f"generated-lake-{messages}-{seed}", make, folder) / "lake"


class Server:
    """The server of `spymaster serve` in a process of its own, without a secret where `token` is empty.

    `code` is Python to run in the place of ``-m workbench``, `root` the sources, `port` that of one that was killed.
    """

    def __init__(
        self, lake: Path, *, log: Path, warm: bool = True, code: str | None = None, root: Path = ROOT, token: str = "", hosts: str = "",
        port: int | None = None,
    ) -> None:  # fmt: skip
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = port or s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/app"
        arguments = ["serve", "workbench/app.py", "--address", "127.0.0.1", "--port", str(self.port), "--allow-websocket-origin", "*"]
        arguments += ["--warm"] * warm
        self.log = log
        # Sets are sent in the order of their hashes: two servers shall send the same of the same.
        env = {**os.environ, "SPYMASTER_LAKE": str(lake), "PYTHONHASHSEED": "0", "PYTHONPATH": str(root)}
        env |= {"SPYMASTER_TOKEN": token, "SPYMASTER_HOSTS": hosts, "XDG_STATE_HOME": str(log.parent)}
        self.process = forked.started(arguments, code, root, env, log, forked=root == ROOT)
        self._wait()

    def _wait(self) -> None:
        for _ in range(240):
            if self.process.poll() is not None:
                raise AssertionError(f"panel serve ended: {self.log.read_text()}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/liveness", timeout=2):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.25)
        self.stop()
        raise AssertionError(f"panel serve did not answer: {self.log.read_text()}")

    def tells(self, word: str) -> str:
        """The line, beginning with `word`, that its `code` prints at SIGUSR1."""
        before = self.log.read_text().count(word)
        os.kill(self.process.pid, signal.SIGUSR1)
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", "/nothing")  # the server's loop wakes up for it
            assert connection.getresponse().status == 404
        for _ in range(100):
            lines = [line for line in self.log.read_text().splitlines() if line.startswith(word)]
            if len(lines) > before:
                return lines[-1]
            time.sleep(0.1)
        raise AssertionError(f"the server printed no line with {word}: {self.log.read_text()}")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def launched() -> Iterator[Browser]:
    """The system's Chromium, as the tests, the benches and the pictures of the docs run it."""
    path = chromium()
    if path is None:
        raise SystemExit("no Chromium on this machine; `make browser` installs it")
    with sync_playwright() as p:
        made = p.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield made
        made.close()


@pytest.fixture(scope="session")
def empty_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake in which nothing is: its page is there at once. For tests of who may ask."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="session")
def made_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated lake, small."""
    return generated_lake(tmp_path_factory.mktemp("made"), 60_000)


@pytest.fixture(scope="session")
def made_server(made_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The workbench over the generated lake."""
    server = Server(made_lake, log=tmp_path_factory.mktemp("log") / "serve.log")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def served(made_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """The workbench over a lake with a past, and the moment to ask about."""
    folder = tmp_path_factory.mktemp("similar")
    lake, trigger = similar_lake(made_lake, folder, DATE)
    server = Server(lake, log=folder / "serve.log")
    moment = {
        "contract": "ESZ5", "session": DATE.isoformat(), "level": trigger["level_id"], "t": clock_text(int(trigger["window_end_ts_ns"])),
        "from": trigger["approach"],
    }  # fmt: skip
    yield server, moment
    server.stop()


@pytest.fixture(scope="session")
def real_server(real_dbn: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The workbench over a lake from the real file."""
    folder = tmp_path_factory.mktemp("real")
    lake = folder / "lake"
    spymaster("add", real_dbn, "--lake", lake)
    spymaster("run", "--lake", lake, "--layer", "all", "--symbol", "ESH4", "--dates", "2023-12-25", "--session", "globex_open")
    server = Server(lake, log=folder / "serve.log")
    yield server
    server.stop()
