"""``spymaster serve``: the screen, on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.commands.common import LakeDir
from engine.errors import EngineError

APP = Path(__file__).resolve().parents[2] / "workbench" / "app.py"


def serve(
    *,
    lake: LakeDir = Path("lake"),
    port: Annotated[int, Parameter(help="Port on this machine.")] = 5006,
    address: Annotated[str, Parameter(help="Address to bind to; anything but loopback shows the screen to others.")] = "127.0.0.1",
    show: Annotated[bool, Parameter(negative=(), help="Open a browser.")] = False,
    query: Annotated[str, Parameter(help="What the printed address opens on, such as level=or_high&t=10:31:05.")] = "",
) -> None:
    """Serve the screen, bound to loopback unless told otherwise; Ctrl-C ends it.

    Examples
    --------
    ::

        spymaster serve
        spymaster serve --lake /data/lake --port 5007 --show
    """
    if not lake.is_dir():
        raise EngineError(f"lake {lake}: expected a folder, found none; `spymaster add FILE --lake {lake}` starts one")
    command = [sys.executable, "-m", "panel", "serve", str(APP), "--address", address, "--port", str(port), "--warm"]
    # Bokeh refuses a websocket from a host it was not told of.
    command += ["--allow-websocket-origin", f"{address}:{port}", "--allow-websocket-origin", f"localhost:{port}"]
    if show:
        command.append("--show")
    environment = {**os.environ, "SPYMASTER_LAKE": str(lake.resolve())}
    print(f"http://{address}:{port}/app{'?' if query else ''}{query}", file=sys.stderr, flush=True)
    os.execve(sys.executable, command, environment)
