"""The command line: every command is described with examples, starts light, and says what is wrong in one line."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import app
from engine.commands.common import parse_dates
from engine.commands.run import read_params
from engine.errors import SessionError

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "run", "rebuild", "simulate", "fidelity", "lake", "add", "select", "contracts", "index", "neighbours", "audit", "hypothesis", "demo",
    "snapshot", "compare", "serve", "download", "live", "live-demo", "morning", "gex",
)  # fmt: skip


def cli(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.cli", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "160", **env})


def test_help_names_every_command():
    text = cli("--help").stdout
    assert {name for name in app if not name.startswith("-")} == set(COMMANDS)
    for name in COMMANDS:
        assert name in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_examples_and_describes_every_option(name: str):
    text = cli(name, "--help").stdout
    assert f"spymaster {name}" in text
    assert ("--lake" in text) == (name not in ("contracts", "fidelity", "compare"))


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom engine.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'polars', 'numba', 'numpy', 'pydantic', 'xarray', 'exchange_calendars', 'databento', 'panel'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("run", "--symbol", "XX", "--dates", "2024-01-02"), "UnknownRoot: symbol 'XX'"),
        (("run", "--symbol", "ES", "--dates", "2024-13-02"), "SessionError: date '2024-13-02': expected YYYY-MM-DD"),
        (("run", "--symbol", "ES"), "SessionError: dates: expected --dates"),
        (("run", "--symbol", "ES", "--dates", "2024-01-02", "--product-type", "option"), "UnknownDataset: no stage makes"),
        (("run", "--symbol", "ES", "--dates", "2024-01-02", "--workers", "0"), "--workers 0: expected at least 1"),
        (("select", "--symbol", "ESH4"), "expected a root such as ES"),
        (("serve",), "expected a folder, found none"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(tmp_path: Path, args: tuple[str, ...], named: str):
    done = cli(*args, SPYMASTER_LAKE=str(tmp_path / "none"))
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none" / "silver").exists()


D = [dt.date(2024, 1, i) for i in range(1, 9)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("2024-01-02", None, None), ([D[1]], True)),
        (("2024-01-02:2024-01-04", None, None), (D[1:4], False)),
        (("2024-01-05,2024-01-02:2024-01-03", None, None), ([D[1], D[2], D[4]], True)),
        ((None, "2024-01-02", "2024-01-03"), (D[1:3], False)),
        ((None, "2024-01-02", None), ([D[1]], True)),
    ],
)
def test_dates(given, expected):
    assert parse_dates(*given) == expected


@pytest.mark.parametrize("given", [("2024-01-03:2024-01-02", None, None), ("2024-01-02", "2024-01-02", None), ("", None, None)])
def test_dates_that_are_none_are_refused(given):
    with pytest.raises(SessionError, match="expected"):
        parse_dates(*given)


def test_knobs_come_from_a_file_and_levels_by_name(tmp_path: Path):
    path = tmp_path / "parameters.json"
    path.write_text('{"replay": {"rest_ns": 250000000}}')
    params = read_params(path, "pm_high, price:6800.25")
    assert params.replay.rest_ns == 250_000_000
    assert params.levels.level_ids == ("pm_high", "price:6800.25")
    path.write_text('{"replay": {"rest": 1}}')
    with pytest.raises(SessionError, match=r"replay\.rest"):
        read_params(path, None)
