"""What the server replaces or reads in Bokeh, Panel and tornado that none of them documents, in one place: a test checks each by name.

Importing this replaces nothing; `workbench.access` says who may ask, `workbench.app` how changes are sent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bokeh.server.contexts import ApplicationContext
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.ws import WSHandler
from panel.auth import BasicLoginHandler
from panel.reactive import Syncable
from tornado.httputil import HTTPServerRequest

find_handler, make_session, _opened = BokehTornado.find_handler, ApplicationContext.create_session_if_needed, WSHandler.open
"""Bokeh's own: what answers a request, and the session that a page is made in."""


@wraps(_opened)
def _open(self: Any) -> Any:
    # Bokeh writes a change as three small messages. With Nagle's algorithm the second waits until the browser's side has
    # acknowledged the first, which the kernel puts off by 40 ms: longer than all else between an act and its picture.
    self.set_nodelay(True)
    return _opened(self)


def send_at_once() -> None:
    """Send the changes of pages that are opened from now on without Nagle's algorithm, and after 2 ms."""
    WSHandler.open = _open
    # Panel waits 50 ms before it sends a change, a third of the time in which the picture shall have followed. 2 ms still
    # gather the changes of one act, and those that queue up behind a repaint.
    Syncable._debounce = 2


def guard(
    answer: Callable[..., Any], log: Callable[..., None], session: Callable[..., Any], password: Callable[..., bool] | None = None
) -> None:
    """Let `answer` find what answers a request, `log` log it, `session` make a page's session, and `password`, if given, judge one."""
    BokehTornado.find_handler, BokehTornado.log_request, ApplicationContext.create_session_if_needed = answer, log, session
    # Bokeh writes the request into the page, where scripts could read its cookies; the page needs nothing of either.
    BokehTornado.include_headers = BokehTornado.include_cookies = property(lambda self: [])
    # Bokeh's own check does not know a host such as [::1]:5006; what comes so far has passed the guard.
    WSHandler.check_origin = lambda self, origin: True
    if password is not None:
        # Panel's own takes a password that is the name of a file for a list of passwords, and counts nothing.
        BasicLoginHandler._validate = password  # type: ignore[method-assign]


def page_context(server: BokehTornado) -> ApplicationContext:
    """What makes the page's sessions."""
    return server._applications["/app"]


def has_session(context: ApplicationContext, session_id: Any) -> bool:
    """Whether the session is there, or being made."""
    return session_id in context._sessions or session_id in context._pending_sessions


def unconnected(context: ApplicationContext) -> int:
    """How many sessions wait for their page to connect."""
    return sum(session.connection_count == 0 for session in context.sessions)


def arrived_at(request: HTTPServerRequest) -> tuple[str, int] | None:
    """Local address and port at which a request arrived; None where the browser has hung up."""
    socket = request.connection.stream.socket  # type: ignore[union-attr,attr-defined]
    if socket is None:
        return None
    address, port, *_ = socket.getsockname()
    return str(address).removeprefix("::ffff:"), int(port)
