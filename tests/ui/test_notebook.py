"""The notebook runs from top to bottom, over a generated lake and from the real file."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "01_from_file_to_level.ipynb"


def run(monkeypatch: pytest.MonkeyPatch, **env: str) -> list[str]:
    """Run the notebook with `env`; returns what it printed."""
    for name in ("SPYMASTER_LAKE", "SPYMASTER_REAL_DBN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parents[1])}}).execute()
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert sum("application/vnd.bokehjs_exec.v0+json" in o.get("data", {}) for o in outputs) >= 3
    return [o["text"] for o in outputs if o.output_type == "stream"]


def test_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not c.outputs and c.execution_count is None for c in notebook.cells if c.cell_type == "code")


def test_runs_on_a_generated_lake(monkeypatch: pytest.MonkeyPatch, made_lake: Path) -> None:
    assert any("PM High" in text for text in run(monkeypatch, SPYMASTER_LAKE=str(made_lake)))


def test_runs_from_the_real_file(monkeypatch: pytest.MonkeyPatch, real_dbn: Path) -> None:
    assert any("PM High 4808.00, approach from" in text for text in run(monkeypatch, SPYMASTER_REAL_DBN=str(real_dbn)))
