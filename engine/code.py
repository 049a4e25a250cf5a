"""The code version of what is made: a hash of the source files it depends on, found by reading their imports, not by importing."""

from __future__ import annotations

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

from engine.errors import UnknownDataset

PACKAGE = Path(__file__).resolve().parent

# The machinery moves rows and does not make them: a change there is no reason to rebuild a lake.
NOT_FOLLOWED = ("engine.lake", "engine.stages")


def _source(module: str) -> Path | None:
    inside = module.split(".")[1:]
    folder = PACKAGE.joinpath(*inside)
    if inside and folder.with_suffix(".py").is_file():
        return folder.with_suffix(".py")
    init = folder / "__init__.py"
    return init if init.is_file() else None


@lru_cache(maxsize=512)
def _imports(path: Path, module: str) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, base] if base else package)
            # `from engine.mbo import replay` may name a module; a name that is none resolves to no file and is dropped.
            found.update((base, *(f"{base}.{a.name}" for a in node.names)))
    return frozenset(f for f in found if f.startswith("engine."))


def sources(modules: tuple[str, ...], without: tuple[str, ...] = ()) -> dict[str, Path]:
    """Modules of the engine that `modules` import, directly or not, themselves included, and their files.

    Parameters
    ----------
    without
        Beginnings of names that are left out, with all that only they import.
    """
    out: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        module = todo.pop()
        path = _source(module)
        if path is None or module in out or module.startswith(without):
            continue
        out[module] = path
        if module in modules and module.startswith(NOT_FOLLOWED):
            continue
        todo += [m for m in _imports(path, module) if not m.startswith(NOT_FOLLOWED)]
        parent = module.rpartition(".")[0]
        if "." in parent:
            todo.append(parent)
    return dict(sorted(out.items()))


@lru_cache(maxsize=64)
def code_hash(modules: tuple[str, ...], without: tuple[str, ...] = ()) -> str:
    """SHA-256 over the names and the text of all files that `modules` depend on, less those `without` (`sources`).

    Raises
    ------
    UnknownDataset
        Where a declared module has no file: its changes would go unseen.
    """
    found = sources(modules, without)
    gone = [m for m in modules if m not in found]
    if gone:
        raise UnknownDataset(f"declared as code: the module {', '.join(gone)}, which has no file under {PACKAGE}: mend its `code`")
    h = hashlib.sha256()
    for module, path in found.items():
        h.update(module.encode() + b"\0" + path.read_bytes() + b"\0")
    return h.hexdigest()
