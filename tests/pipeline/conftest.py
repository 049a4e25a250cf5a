"""Raw days shared by the pipeline's tests; a test links them into a lake of its own."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.lake.store import Lake
from tests.support.built import copy_of_built
from tests.support.lakes import MONDAY, RAW, TUESDAY, WEDNESDAY, day_file, make_whole_lake


@pytest.fixture(scope="session")
def raw_days(tmp_path_factory: pytest.TempPathFactory) -> dict[dt.date, Path]:
    """DBN files of three days of ESZ5."""
    folder = tmp_path_factory.mktemp("raw")
    return {d: day_file(folder, d) for d in (MONDAY, TUESDAY, WEDNESDAY)}


@pytest.fixture
def lake_with(raw_days: dict[dt.date, Path], tmp_lake: Path) -> Callable[..., Lake]:
    """A function that gives a lake with the raw files of some dates."""

    def make(*dates: dt.date) -> Lake:
        folder = tmp_lake / RAW
        folder.mkdir(parents=True, exist_ok=True)
        for date in dates:
            os.link(raw_days[date], folder / raw_days[date].name)
        return Lake(tmp_lake)

    return make


@pytest.fixture(scope="session")
def whole_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with Monday's and Tuesday's bronze and Tuesday's silver; only to be read or copied."""
    return Lake(copy_of_built("whole-lake", make_whole_lake, tmp_path_factory.mktemp("whole")) / "lake")


@pytest.fixture
def copied_lake(whole_lake: Lake, tmp_path: Path) -> Lake:
    """A copy of `whole_lake` that a test may harm."""
    shutil.copytree(whole_lake.root, tmp_path / "copy", copy_function=shutil.copy2)
    return Lake(tmp_path / "copy")
