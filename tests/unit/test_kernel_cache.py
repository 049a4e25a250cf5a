"""Compiled kernels never outlive their sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import engine

PACKAGE = Path(engine.__file__).parent


def test_every_kernel_is_among_the_hashed_sources():
    hashed = {p for pattern in engine.KERNEL_SOURCES for p in PACKAGE.glob(pattern)}
    kernels = {p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py" and ("njit" in p.read_text() or "intrinsic" in p.read_text())}
    assert kernels
    assert kernels <= hashed


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
