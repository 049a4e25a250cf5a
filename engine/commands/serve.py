"""``spymaster serve``: the screen, on this machine."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.commands.common import LakeDir
from engine.errors import EngineError

APP = Path(__file__).resolve().parents[2] / "workbench" / "app.py"


def open_when_serving(url: str, address: str, port: int) -> None:
    """Start a process that opens `url` in a browser once the server answers, waiting at most a minute."""
    waits = (
        "import socket, sys, time, webbrowser\n"
        "for _ in range(240):\n"
        "    try:\n"
        "        socket.create_connection((sys.argv[2], int(sys.argv[3])), 1).close()\n"
        "    except OSError:\n"
        "        time.sleep(0.25)\n"
        "    else:\n"
        "        webbrowser.open(sys.argv[1])\n"
        "        break\n"
    )
    subprocess.Popen([sys.executable, "-c", waits, url, address, str(port)])


def serve(
    *,
    lake: LakeDir = Path("lake"),
    port: Annotated[int, Parameter(help="Port on this machine.")] = 5006,
    address: Annotated[str, Parameter(help="Address to bind to; anything but loopback shows the screen to others.")] = "127.0.0.1",
    show: Annotated[bool, Parameter(negative=(), help="Open a browser.")] = False,
    host: Annotated[list[str] | None, Parameter(negative=(), help="A name by which the page may be reached, too; repeatable.")] = None,
    token: Annotated[bool, Parameter(help="Ask each browser once for the secret that the printed address carries.")] = True,
    query: Annotated[str, Parameter(help="What the printed address opens on, such as level=or_high&t=10:31:05.")] = "",
) -> None:
    """Serve the screen, bound to loopback unless told otherwise; Ctrl-C ends it.

    Examples
    --------
    ::

        spymaster serve
        spymaster serve --lake /data/lake --port 5007 --show
        spymaster serve --host desk.example --no-token
    """
    if not lake.is_dir():
        raise EngineError(f"lake {lake}: expected a folder, found none; `spymaster add FILE --lake {lake}` starts one")
    command = [sys.executable, "-m", "workbench", "serve", str(APP), "--address", address, "--port", str(port), "--warm"]
    # `workbench.access` checks the host of every request, so Bokeh's own check is not needed.
    command += ["--allow-websocket-origin", "*"]
    # Bokeh writes cookies into the page, where scripts could read this one.
    command += ["--exclude-cookies", f"spymaster-{port}"]
    secret = secrets.token_urlsafe(24) if token else ""
    environment = {**os.environ, "SPYMASTER_LAKE": str(lake.resolve()), "SPYMASTER_TOKEN": secret, "SPYMASTER_HOSTS": ",".join(host or ())}
    options = "&".join(filter(None, (f"token={secret}" if token else "", query)))
    url = f"http://{address}:{port}/app{'?' if options else ''}{options}"
    print(url, file=sys.stderr, flush=True)
    if show:
        open_when_serving(url, address, port)
    os.execve(sys.executable, command, environment)
