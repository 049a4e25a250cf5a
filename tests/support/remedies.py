"""The commands that the sources print as advice, each as a template with ``{}`` where a value is filled in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

_COMMAND = re.compile(r"(?:(?<=`)|(?<=>)|^)spymaster [a-z][^`<\n]*", re.MULTILINE)


def printed_commands() -> set[str]:
    """``path: template`` of every text of the sources that is, or quotes, a ``spymaster`` command.
    Docstrings and the help of options are none of it: they are read at leisure, not in need.
    """
    found = set()
    for package in ("engine", "workbench"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for text in _texts(ast.parse(path.read_text(encoding="utf-8"))):
                found |= {f"{path.relative_to(ROOT)}: {command.strip()}" for command in _COMMAND.findall(text)}
    return found


def _texts(node: ast.AST) -> Iterator[str]:
    """The texts below a node, joined ones as one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue  # a docstring
        if isinstance(child, ast.keyword) and child.arg == "help":
            continue
        if isinstance(child, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in child.values)
            for value in child.values:
                yield from () if isinstance(value, ast.Constant) else _texts(value)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        else:
            yield from _texts(child)


def pattern(printed: str) -> re.Pattern[str]:
    """What a command of a ``path: template`` looks like once it is printed."""
    template = printed.partition(": ")[2]
    return re.compile(re.escape(template).replace(r"\{\}", ".*"), re.DOTALL)
