"""The connection to the browser without Nagle's algorithm, so that a message is sent at once."""

from __future__ import annotations

from functools import wraps
from typing import Any

from bokeh.server.views.ws import WSHandler

_opened = WSHandler.open


@wraps(_opened)
def _open(self: Any) -> Any:
    # Bokeh writes a change as three small messages. With Nagle's algorithm the second waits until the browser's side has
    # acknowledged the first, which the kernel puts off by 40 ms: longer than all else between an act and its picture.
    self.set_nodelay(True)
    return _opened(self)


def disable_nagle() -> None:
    """Switch Nagle's algorithm off for the pages that are opened from now on."""
    WSHandler.open = _open
