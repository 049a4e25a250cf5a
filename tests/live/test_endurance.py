"""A whole day leaves recorder and page as large as they were in the morning, but for what a day's ladder is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.vocab import NS
from tests.support.lakes import ROOT
from tests.support.live_growth import CLOSES, OPENS, write_source

SERVER_MB, RECORDER_MB = 250, 20
"""Most that they may grow after a tenth of the day."""


def cost(*words: object) -> dict[str, Any]:
    """What a process of its own says that the day cost it."""
    command = [sys.executable, "-m", "tests.support.live_growth", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("messages", "step"), [(20_000, 2_500), pytest.param(19_600_000, 40_000, marks=pytest.mark.long)])
def test_a_day_does_not_grow_what_records_and_follows_it(tmp_path: Path, messages: int, step: int) -> None:
    source, lake = tmp_path / "day.bin", tmp_path / "lake"
    write_source(source, messages)
    recorded = cost("record", source, lake)
    assert recorded["records"] > messages
    assert recorded["most_mb"] - recorded["at_a_tenth_mb"] <= RECORDER_MB
    followed = cost("follow", lake, "day", step)
    assert followed["most_mb"] - followed["at_a_tenth_mb"] <= SERVER_MB
    # All of the day was there: its last second is still under way.
    seconds = (CLOSES - OPENS) // NS
    assert followed["records"] == recorded["records"]
    assert followed["seconds"] >= 0.95 * seconds
    assert followed["valid"] >= 0.9 * seconds
    assert followed["alerts"] > 0
