"""Compiled kernels never outlive their sources."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import engine

PACKAGE = Path(engine.__file__).parent


DECORATORS = {"njit", "kernel", "intrinsic", "vectorize", "guvectorize"}


def hashed_sources() -> set[Path]:
    return {p for pattern in engine.KERNEL_SOURCES for p in PACKAGE.glob(pattern)}


def kernels_of(tree: ast.Module) -> list[ast.FunctionDef]:
    """Functions that numba compiles: those under one of `DECORATORS`, called or not."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = {ast.unparse(d.func if isinstance(d, ast.Call) else d).split(".")[-1] for d in node.decorator_list}
            if names & DECORATORS:
                found.append(node)
    return found


def test_every_kernel_is_among_the_hashed_sources():
    kernels = {p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py" and ("njit" in p.read_text() or "intrinsic" in p.read_text())}
    kernels |= {p for p in PACKAGE.rglob("*.py") if kernels_of(ast.parse(p.read_text()))}
    assert PACKAGE / "simulate" / "orders.py" in kernels, "a file whose kernels are made by a decorator of the house"
    assert kernels <= hashed_sources()


def test_what_a_kernel_takes_from_other_files_is_among_the_hashed_sources():
    """Functions and constants of other files are compiled into a kernel; an edit there must move the cache too."""
    hashed, missing, seen = hashed_sources(), set(), 0
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        used = {n.id for kernel in kernels_of(tree) for n in ast.walk(kernel) if isinstance(n, ast.Name)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("engine"):
                continue
            module = PACKAGE.parent.joinpath(*node.module.split("."))
            for alias in node.names:
                if (alias.asname or alias.name) in used:
                    source = next(p for p in (module / f"{alias.name}.py", module.with_suffix(".py"), module / "__init__.py") if p.exists())
                    seen += 1
                    if source not in hashed:
                        missing.add(f"{path.name}: {alias.name} of {source.relative_to(PACKAGE)}")
    assert seen > 50
    assert not missing


def test_the_cache_moves_when_a_kernel_source_changes(tmp_path: Path):
    copy = tmp_path / "engine"
    (copy / "mbo").mkdir(parents=True)
    (copy / "__init__.py").write_text((PACKAGE / "__init__.py").read_text())
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}

    def folder(source: str) -> str:
        (copy / "mbo" / "table.py").write_text(source)
        code = "import engine, os; print(os.environ['NUMBA_CACHE_DIR'])"
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
        ).stdout

    first = folder("SIZE = 1\n")
    assert folder("SIZE = 2\n") != first
    assert folder("SIZE = 1\n") == first
