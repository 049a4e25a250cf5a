"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import built, figures, forked

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Read by the libraries when they are first imported: more threads than cores contend, and a fit takes ten times as long.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

REAL_DBN = "esh4-glbx-mdp3-20231225.mbo.dbn.zst"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before workers begin, all kernels are compiled once, side by side: each worker would compile its own."""
    if session.config.getoption("numprocesses", None) and not hasattr(session.config, "workerinput"):
        from tests.support.kernels import compile_all

        compile_all()


SLOW_FIRST = ("ui", "docs", "pipeline", "property", "unit")
"""Folders of tests, those with the longest files first: a long file that begins last leaves the other core idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow folders first; within a folder the order stays."""
    place = {name: i for i, name in enumerate(SLOW_FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("/")[1], len(place)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """After the tests, the figures that they measured."""
    lines = figures.table(report for each in terminalreporter.stats.values() for report in each if getattr(report, "when", "") == "call")
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> figures.Say:
    """A function that puts a row into the table of figures at the end: what was done, and what was found."""
    return lambda what, found: record_property(figures.KEY, (what, found))


@pytest.fixture(scope="session")
def real_dbn() -> Path:
    """A real GLBX.MDP3 market-by-order file; licensed, so it stands outside the project and may be absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / REAL_DBN
    path = Path(os.environ.get("SPYMASTER_REAL_DBN", default))
    if not path.exists():
        pytest.skip(f"no real market data at {path}; set SPYMASTER_REAL_DBN to a file such as {REAL_DBN}")
    return path


@pytest.fixture(scope="session", autouse=True)
def _shared_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is built once is shared by the processes of this run."""
    base = tmp_path_factory.getbasetemp()
    built.use((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built")
    forked.use()


@pytest.fixture
def tmp_lake(tmp_path: Path) -> Path:
    """An empty folder for a lake."""
    lake = tmp_path / "lake"
    lake.mkdir()
    return lake


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, one for all tests of a process; skipped, with the reason, where there is none."""
    from tests.ui.conftest import chromium, launched

    if chromium() is None:
        pytest.skip("no Chromium on this machine; `make browser` installs it")
    with launched() as made:
        yield made
