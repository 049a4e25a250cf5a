"""The page's server in a fork of a process that has its libraries: reading them takes two seconds and a half at every start.

What runs then is the same: ``python -m workbench`` with its arguments and environment, or the text that a test gives in its place, such as
`spymaster serve`, which makes way for a server that is a program of its own. So are those of the benches and the pictures of the docs.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

LIBRARIES = ["engine.cli", "panel.command", "workbench.access", "workbench.app"]
"""Importing them begins no thread of Python, and nothing that a fork would have to share: `_run` sees to that."""

_forking = False


def use() -> None:
    """From now on servers are forked; until this is called (in the benches) each is a program of its own."""
    global _forking
    _forking = True


class Fork:
    """A running server, with what tests ask of a `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], code: str | None, root: Path, env: Mapping[str, str], log: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LIBRARIES)
        self._process = context.Process(target=_run, args=(tuple(arguments), code, root, dict(env), log))
        # The hashes of the process that is forked are those of its forks.
        with patch.dict(os.environ, {"PYTHONHASHSEED": "0"}):
            self._process.start()
        atexit.register(self._process.kill)  # else Python would wait for one that a test left
        self.pid = self._process.pid
        self.terminate, self.kill = self._process.terminate, self._process.kill

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; `subprocess.TimeoutExpired` where it still runs after `timeout` seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the server", timeout or 0)
        return self._process.exitcode


def started(
    arguments: Sequence[str], code: str | None, root: Path, env: Mapping[str, str], log: Path, *, forked: bool
) -> subprocess.Popen[bytes] | Fork:
    """``python -m workbench`` (or `code`) with `arguments` in `root`, whose output goes to `log`; forked where it may be."""
    log.touch()
    if _forking and forked:
        return Fork(arguments, code, root, env, log)
    program = ["-m", "workbench"] if code is None else ["-c", code]
    with log.open("w") as out:
        return subprocess.Popen([sys.executable, *program, *arguments], cwd=root, env=dict(env), stdout=out, stderr=subprocess.STDOUT)


def _run(arguments: tuple[str, ...], code: str | None, root: Path, env: dict[str, str], log: Path) -> None:
    """In the fork: be the program."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    assert os.environ["PYTHONHASHSEED"] == env["PYTHONHASHSEED"], "sets would be sent in another order"
    os.environ.clear()
    os.environ.update(env)
    os.chdir(root)
    sys.argv = ["-c" if code else "workbench", *arguments]
    # Worker processes import what a program was started from: `-c` gives them nothing, `-m` its module.
    sys.modules["__main__"] = ModuleType("__main__")
    if code is None:
        runpy.run_module("workbench", run_name="__main__", alter_sys=True)
    else:
        exec(compile(code, "<string>", "exec"), sys.modules["__main__"].__dict__)
