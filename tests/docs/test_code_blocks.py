"""Every fenced code block of README, CONTRIBUTING and docs/ runs, in the order in which it stands, over a small generated lake."""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from engine.lake.catalog import TRIGGERS
from engine.lake.store import Lake
from tests.docs.blocks import DOCUMENTS, LANGUAGES, ROOT, Block, blocks_of
from tests.docs.test_add_one_thing import PROMISES
from tests.support.databento_server import Account, Market, Server
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.support.deliveries import orders
from tests.support.lakes import spymaster

FIRST, LAST = dt.date(2025, 10, 15), dt.date(2025, 11, 6)
"""So few sessions that similar setups of the one that is asked about can just be searched; the map to contracts lacks two at either end."""

DOWNLOADED = [dt.date(2025, 11, 10), dt.date(2025, 11, 11), dt.date(2025, 11, 12)]
ASKED = dt.date(2025, 11, 4)
"""The session that the documents ask about."""

INSTEAD: dict[str, dict[str, str]] = {
    "README.md": {
        # A reader's files and contract, and what they are in the generated lake.
        "~/Downloads/GLBX-20231225/": "files",
        "ESH4": "ESZ5",
        "2023-12-25": "2025-11-04",
        "dt.date(2023, 12, 25)": "dt.date(2025, 11, 4)",
        "globex_open": "rth",
        "19250, 19290": "27180, 27220",
        # The lakes of `tests.support.lakes.make_thin_lake` are rebuilt with their whole audit.
        "rebuild --lake lake": "rebuild --lake lake --no-audit",
        "audit --lake lake": "audit --lake lake --only means --workers 1",
    },
    "CONTRIBUTING.md": {
        # The sources are not written to; a generated file that is not current fails all the same.
        "contracts --write": "contracts --check",
    },
    "docs/RETRIEVAL.md": {
        "2025-11-04/ESZ5/pm_high/approach_up/arm/1762268405000000000": "TRIGGER",
        "--synthetic 2000": "--synthetic 260 --workers 1",
        # README's is of the same lake, and of `means`.
        "audit --lake lake": "audit --lake lake --only pi --workers 1",
    },
    "docs/SIMULATOR.md": {
        # One thin day instead of two months.
        "2025-09-01:2025-10-31": "2025-09-03",
        "--rate 0.10": "--rate 0.02",
        "--seeds 20": "--seeds 1",
        "FILE...": "FILES",
    },
}
"""Document -> what stands in it -> what runs in its place; everything else runs as it stands. TRIGGER and FILES are found in the lake."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a month of generated DBN files in ``files``, and in ``lake`` what `spymaster add` and `rebuild` make of them."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "files").mkdir()
    for date in (FIRST + dt.timedelta(days=i) for i in range((LAST - FIRST).days + 1)):
        if date.weekday() < 5:
            spans = {"start_ns": utc_ns(date, 12), "end_ns": utc_ns(date, 17, 35)}
            records = busy_day(120_000, date.toordinal(), date=date, snapshot_orders=200, **spans)
            path = folder / "files" / f"glbx-mdp3-{date:%Y%m%d}.mbo.dbn.zst"
            write_dbn(path, records, symbols={17077: "ESZ5"}, start=utc_ns(date), end=utc_ns(date) + DAY_NS)
    spymaster("add", folder / "files", "--lake", folder / "lake")
    spymaster("rebuild", "--lake", folder / "lake", "--no-audit")
    return folder


def environment() -> dict[str, str]:
    """That of a reader: the sources on the path, no lake chosen."""
    return {**{k: v for k, v in os.environ.items() if k not in ("SPYMASTER_LAKE", "LEVEL_ID")}, "PYTHONPATH": str(ROOT)}


def run(arguments: list[str], folder: Path) -> None:
    """`spymaster` with these arguments, in `folder`."""
    with patch.dict(os.environ, environment(), clear=True):
        spymaster(*arguments, cwd=folder)


def serve(arguments: list[str], folder: Path) -> None:
    """`spymaster serve` or `demo`, on a free port, until the address that it prints has answered."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "engine.cli", *arguments, "--port", str(port)]
    log = folder / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        for _ in range(2400):  # a busy machine takes minutes for a demo
            assert process.poll() is None, f"spymaster {' '.join(arguments)} ended: {log.read_text()}"
            address = re.search(r"^http://\S+", log.read_text(), re.M)
            if address is not None and answers(address[0]):
                return
            time.sleep(0.25)
        raise AssertionError(f"spymaster {' '.join(arguments)}: no address answered: {log.read_text()}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(120)


def download(arguments: list[str], folder: Path) -> None:
    """`spymaster download` from a server of ours that has three days, into a lake of its own; a reader is asked, here an option agrees."""
    here = folder / "downloads"
    here.mkdir()
    market = Market({d: orders(utc_ns(d), utc_ns(d) + DAY_NS, {17077: 250_000_000}) for d in DOWNLOADED})
    with Server(Account(market), here) as server, patch.dict(os.environ, environment(), clear=True):
        done = spymaster(*arguments, "--max-usd", "1", cwd=here, env=server.env)
    assert done.stdout.count("added ") == len(DOWNLOADED)


def answers(address: str) -> bool:
    """Whether the page is there."""
    try:
        with urllib.request.urlopen(address, timeout=60) as page:
            return page.status == 200 and b"spymaster" in page.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def sh(block: Block, text: str, folder: Path) -> None:
    """Every line of a shell block."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["uv", "run"]:
            words = words[2:]
        if not words:
            continue
        if words[0] == "make":
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        elif words[0] != "spymaster":
            raise AssertionError(f"{block.where}: expected make, spymaster or uv run spymaster, found {line!r}")
        elif words[1] in ("serve", "demo"):
            serve(words[1:], folder)
        elif words[1] == "download":
            download(words[1:], folder)
        else:
            run(words[1:], folder)


def python(block: Block, text: str, folder: Path) -> None:
    """A Python block, as a script of its own."""
    done = subprocess.run([sys.executable, "-c", text], cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"{block.where}:\n{text}\n{done.stderr}"


def added(block: Block, text: str, folder: Path) -> None:
    """A block that adds to the sources: `test_add_one_thing` applies every one under these headings."""
    assert block.heading in PROMISES, f"{block.where}: expected a heading of {', '.join(PROMISES)}, found {block.heading!r}"
    assert block.file, f"{block.where}: expected the file's name in the block's first line"


def shown(block: Block, text: str, folder: Path) -> None:
    """Plain text is only to be read."""


RUNNERS: dict[str, Callable[[Block, str, Path], None]] = {"sh": sh, "python": python, "diff": added, "json": added, "text": shown}


def test_every_block_says_what_it_is() -> None:
    found = [b for d in DOCUMENTS for b in blocks_of(d)]
    assert len(found) >= 20
    assert {b.where: b.language for b in found if b.language not in LANGUAGES} == {}
    assert set(RUNNERS) == set(LANGUAGES)
    with_blocks = {str(b.document.relative_to(ROOT)) for b in found if b.language in ("sh", "python")}
    assert with_blocks == set(INSTEAD)


@pytest.mark.parametrize("document", sorted(INSTEAD))
def test_the_blocks_of_a_document_run(home: Path, tmp_path: Path, document: str) -> None:
    # What simulates fills a lake of its own.
    folder = tmp_path if document == "docs/SIMULATOR.md" else home
    instead = INSTEAD[document]
    used = set()
    for block in blocks_of(ROOT / document):
        text = block.text
        for stands, runs in instead.items():
            if stands in text:
                used.add(stands)
                text = text.replace(stands, runs)
        if "TRIGGER" in text:
            text = text.replace("TRIGGER", a_trigger(home / "lake"))
        lines = text.splitlines(keepends=True) if block.language == "sh" else [text]
        for line in lines:
            if "FILES" in line:
                line = line.replace("FILES", shlex.join(str(p) for p in sorted(folder.rglob("*.dbn.zst"))))
            runner = added if block.file else RUNNERS[block.language]
            runner(block, line, folder)
    assert used == set(instead), f"{document}: what stands in none of its blocks: {sorted(set(instead) - used)}"


def a_trigger(lake: Path) -> str:
    """Id of an armed approach of the session that is asked about, with a vector."""
    triggers = Lake(lake).read(TRIGGERS, "ESZ5", ASKED)
    armed = triggers.filter((triggers["kind"] == "arm") & triggers["vector"].is_not_null())
    return str(armed["trigger_id"][-1])
