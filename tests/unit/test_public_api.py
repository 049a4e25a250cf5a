"""The interface for notebooks: `engine` and `workbench.plots` name it, import it when it is used, and notebooks use nothing else."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

import engine
from workbench import notebook, plots

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("polars", "numba", "numpy", "pydantic", "xarray", "exchange_calendars", "databento", "sklearn", "bokeh", "panel")
OPEN = ("engine", "workbench.plots", "workbench.notebook")
"""Modules that a notebook may import of the project."""


def of_project(source: str) -> set[str]:
    """Modules of the project that the source imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "workbench":
            found.update(f"workbench.{a.name}" for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {m for m in found if m.split(".")[0] in ("engine", "workbench")}


@pytest.mark.parametrize(
    "statement", ["import engine", "import engine as spy\nspy.NS\ndir(spy)", "from workbench import plots\ndir(plots)"]
)
def test_an_import_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [engine, plots, notebook], ids=lambda m: m.__name__)
def test_every_name_is_there_and_is_listed(module: ModuleType) -> None:
    assert len(set(module.__all__)) == len(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize("module", [engine, plots], ids=lambda m: m.__name__)
def test_type_checkers_see_the_same_names(module: ModuleType) -> None:
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    (guarded,) = [n for n in tree.body if isinstance(n, ast.If) and isinstance(n.test, ast.Name) and n.test.id == "TYPE_CHECKING"]
    seen = {a.asname or a.name: n.module for n in guarded.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert sorted(seen) == sorted(module.__all__)
    for name, found in seen.items():
        assert getattr(module, name) is getattr(sys.modules[found], name)
    # A name that a module of the package has, too, would be one or the other by the order of imports.
    inside = Path(module.__file__ or "").parent
    assert not {p.stem for p in inside.iterdir()} & set(module.__all__)


@pytest.mark.parametrize("module", [engine, plots], ids=lambda m: m.__name__)
def test_the_examples_run(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert (done.failed, done.attempted > 0) == (0, True)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_import_nothing_deeper(path: Path) -> None:
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    found = of_project("\n".join(cells))
    assert "engine" in found
    assert found <= set(OPEN)


def test_documents_import_nothing_deeper() -> None:
    from tests.docs.blocks import DOCUMENTS, blocks_of

    scripts = [b for d in DOCUMENTS for b in blocks_of(d) if b.language == "python" and not b.file]
    assert scripts
    assert {b.where: of_project(b.text) - set(OPEN) for b in scripts if of_project(b.text) - set(OPEN)} == {}
