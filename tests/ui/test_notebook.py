"""The notebooks run from top to bottom: over a generated lake, from the real file, over gold of a known law."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.retrieval import gold_frame, write_gold
from workbench.queries import hit_rates

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
LEVEL, SIMILAR = FOLDER / "01_from_file_to_level.ipynb", FOLDER / "02_do_similar_setups_resolve_alike.ipynb"
COMPARE = FOLDER / "03_compare_setups.ipynb"


def run(monkeypatch: pytest.MonkeyPatch, path: Path = LEVEL, *, keep: nbformat.NotebookNode | None = None, **env: str) -> list[str]:
    """Run a notebook (`keep`, where the caller wants its outputs) with `env`; returns what it printed."""
    for name in ("SPYMASTER_LAKE", "SPYMASTER_REAL_DBN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    notebook = keep or nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER.parent)}}).execute()
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert sum("application/vnd.bokehjs_exec.v0+json" in o.get("data", {}) for o in outputs) >= 3
    return [o["text"] for o in outputs if o.output_type == "stream"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda p: p.stem)
def test_is_committed_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert all(not c.outputs and c.execution_count is None for c in notebook.cells if c.cell_type == "code")


def test_runs_on_a_generated_lake(monkeypatch: pytest.MonkeyPatch, made_lake: Path) -> None:
    assert any("PM High" in text for text in run(monkeypatch, SPYMASTER_LAKE=str(made_lake)))


@pytest.mark.long
def test_runs_from_the_real_file(monkeypatch: pytest.MonkeyPatch, real_dbn: Path) -> None:
    assert any("PM High 4808.00, approach from" in text for text in run(monkeypatch, SPYMASTER_REAL_DBN=str(real_dbn)))


def test_setups_are_compared_and_the_page_stands_in_a_cell(monkeypatch: pytest.MonkeyPatch, made_lake: Path) -> None:
    notebook = nbformat.read(COMPARE, as_version=4)
    said = run(monkeypatch, COMPARE, keep=notebook, SPYMASTER_LAKE=str(made_lake), OMP_NUM_THREADS="1")
    # Touches are counted as the Research view counts them, the end of the data included.
    usual = hit_rates(str(made_lake), "h1", "ESZ5").filter(level_id="all").row(0, named=True)
    assert any(f"{usual['touched']} of {usual['decided']} decided ({usual['armed']} armed)" in text for text in said)
    # One session is too few for a difference map, and that is said.
    assert any("too few to compare" in text for text in said)
    last = next(
        o for c in reversed(notebook.cells) if c.cell_type == "code" for o in reversed(c.outputs) if o.output_type == "execute_result"
    )
    page = last["data"]["text/html"]
    assert "level_chart" in page
    assert "PM High" in page
    assert "https://cdn" not in page
    assert not [
        o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "stream" and o["name"] == "stderr"
    ]


def test_similar_setups_of_a_known_law(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lake = write_gold(tmp_path / "lake", gold_frame(600))
    said = "".join(run(monkeypatch, SIMILAR, SPYMASTER_LAKE=str(lake.root), OMP_NUM_THREADS="1"))
    assert "neighbours of" in said
    assert "usually, at this distance and hour" in said
    assert "edge" in said
