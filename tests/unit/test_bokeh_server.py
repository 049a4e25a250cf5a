"""What the server replaces or reads of Bokeh, Panel and tornado is there as it was: a new version fails here by name."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bokeh.application import Application
from bokeh.server.contexts import ApplicationContext
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.ws import WSHandler
from panel.auth import BasicLoginHandler
from panel.reactive import Syncable
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine, ResponseStartLine
from tornado.netutil import bind_sockets

from workbench import access, bokeh_server


def run(asked: Coroutine[Any, Any, Any]) -> Any:
    """What `asked` returns, in a thread of its own: in this one the browser of other tests may run a loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asked).result()


@pytest.mark.parametrize(
    ("owner", "name", "parameters", "waits"),
    [
        (BokehTornado, "find_handler", ["self", "request", "**kwargs"], False),
        (BokehTornado, "log_request", ["self", "handler"], False),
        (ApplicationContext, "create_session_if_needed", ["self", "session_id", "request", "token"], True),
        (WSHandler, "check_origin", ["self", "origin"], False),
        (WSHandler, "open", ["self"], False),
        (WSHandler, "set_nodelay", ["self", "value"], False),
        (BasicLoginHandler, "_validate", ["self", "username", "password"], False),
    ],
    ids=lambda v: v if isinstance(v, str) else getattr(v, "__name__", ""),
)
def test_a_method_is_there_with_its_parameters(owner: type, name: str, parameters: list[str], waits: bool):
    method = getattr(owner, name, None)
    assert callable(method), f"{owner.__name__}.{name} is gone"
    found = [str(p).split(":")[0].split("=")[0].strip() for p in inspect.signature(method).parameters.values()]
    assert (found, inspect.iscoroutinefunction(method)) == (parameters, waits), f"{owner.__name__}.{name}"


@pytest.mark.parametrize(
    ("replacement", "of"),
    [
        (access._find_handler, bokeh_server.find_handler),
        (access._log_request, BokehTornado.log_request),
        (access._create_session, bokeh_server.make_session),
        (access._is_password, BasicLoginHandler._validate),
        (bokeh_server._open, bokeh_server._opened),
    ],
    ids=lambda v: v.__name__,
)
def test_what_takes_its_place_takes_the_same(replacement: Any, of: Any):
    assert len(inspect.signature(replacement).parameters) == len(inspect.signature(of).parameters)
    assert inspect.iscoroutinefunction(replacement) == inspect.iscoroutinefunction(of)


def test_an_attribute_is_there():
    assert isinstance(Syncable._debounce, int), "Syncable._debounce"
    for name in ("include_headers", "include_cookies"):
        assert isinstance(inspect.getattr_static(BokehTornado, name, None), property), f"BokehTornado.{name}"


def test_a_context_says_which_sessions_it_has():
    async def asked() -> tuple[list[bool], list[int]]:
        server = BokehTornado({"/app": Application()})
        context = bokeh_server.page_context(server)
        has, wait = [bokeh_server.has_session(context, "a")], [bokeh_server.unconnected(context)]
        session = await bokeh_server.make_session(
            context,
            "a",
            HTTPServerRequest(start_line=RequestStartLine("GET", "/app", "HTTP/1.1"), headers=HTTPHeaders({"Host": "localhost"})),
        )
        assert list(context.sessions) == [session]
        has, wait = [*has, bokeh_server.has_session(context, "a")], [*wait, bokeh_server.unconnected(context)]
        return has, wait

    assert run(asked()) == ([False, True], [0, 1])


def test_a_request_says_where_it_arrived():
    async def asked() -> int:
        sockets = bind_sockets(0, "127.0.0.1")

        def answer(request: HTTPServerRequest) -> None:
            seen.append(bokeh_server.arrived_at(request))
            request.connection.write_headers(ResponseStartLine("HTTP/1.1", 204, "No Content"), HTTPHeaders())
            request.connection.finish()

        server = HTTPServer(answer)
        server.add_sockets(sockets)
        port = sockets[0].getsockname()[1]
        await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/")
        server.stop()
        return port

    seen: list[tuple[str, int] | None] = []
    assert [("127.0.0.1", run(asked()))] == seen
