"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_DBN = "esh4-glbx-mdp3-20231225.mbo.dbn.zst"


@pytest.fixture(scope="session")
def real_dbn() -> Path:
    """A real GLBX.MDP3 market-by-order file; licensed, so it stands outside the project and may be absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / REAL_DBN
    path = Path(os.environ.get("SPYMASTER_REAL_DBN", default))
    if not path.exists():
        pytest.skip(f"no real market data at {path}; set SPYMASTER_REAL_DBN to a file such as {REAL_DBN}")
    return path


@pytest.fixture
def tmp_lake(tmp_path: Path) -> Path:
    """An empty folder for a lake."""
    lake = tmp_path / "lake"
    lake.mkdir()
    return lake
