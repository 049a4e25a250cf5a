"""Which requests the page's server answers; the browser's side of it is in ``tests/ui/test_foreign_pages.py``."""

from __future__ import annotations

import pytest
from bokeh.server.tornado import BokehTornado
from panel.io.server import get_static_routes
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from workbench.access import PATHS, Access, cookie_name

SECRET = "s3cret"
PORT = 5006
OWN = {"Host": "127.0.0.1:5006"}
KNOWN = {**OWN, "Cookie": f"{cookie_name(PORT)}={SECRET}"}
SOCKET = {"Upgrade": "websocket", "Origin": "http://127.0.0.1:5006"}


def refused(path: str, headers: dict[str, str], *, method: str = "GET", access: Access | None = None, address: str = "127.0.0.1") -> int:
    """Status of the refusal; 0 where the request is answered."""
    request = HTTPServerRequest(headers=HTTPHeaders(headers), start_line=RequestStartLine(method, path, "HTTP/1.1"))
    refusal = (access or Access(SECRET)).refusal(request, address, PORT)
    return refusal.status if refusal else 0


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/app", KNOWN, 0),
        ("/app?level=or_high", KNOWN, 0),
        ("/app", OWN, 403),
        (f"/app?token={SECRET}&level=or_high", OWN, 0),
        ("/app?token=other", OWN, 403),
        ("/app?token=", OWN, 403),
        ("/app", {**OWN, "Cookie": f"{cookie_name(PORT)}=other"}, 403),
        ("/app", {**OWN, "Cookie": f"{cookie_name(PORT + 1)}={SECRET}"}, 403),
        ("/app", {**KNOWN, "Host": "localhost:5006"}, 0),
        ("/app", {**KNOWN, "Host": "LOCALHOST:5006"}, 0),
        ("/app", {**KNOWN, "Host": "[::1]:5006"}, 0),
        ("/app", {**KNOWN, "Host": "localhost"}, 403),
        ("/app", {**KNOWN, "Host": "localhost:5007"}, 403),
        ("/app", {**KNOWN, "Host": "evil.example:5006"}, 403),
        ("/app", {**KNOWN, "Host": "127.0.0.1:5006.evil.example"}, 403),
        ("/app", {**KNOWN, "Host": ""}, 403),
        ("/app/ws", {**KNOWN, **SOCKET}, 0),
        ("/app/ws", {**OWN, **SOCKET}, 403),
        ("/app/ws", {**KNOWN, "Upgrade": "websocket"}, 403),
        ("/app/ws", {**KNOWN, **SOCKET, "Origin": "http://evil.example"}, 403),
        ("/app/ws", {**KNOWN, **SOCKET, "Origin": "http://127.0.0.1:8000"}, 403),
        ("/app/ws", {**KNOWN, **SOCKET, "Origin": "null"}, 403),
        # The one that tornado lets pass: Origin and Host agree with each other.
        ("/app/ws", {**KNOWN, **SOCKET, "Host": "evil.example:5006", "Origin": "http://evil.example:5006"}, 403),
        ("/app/ws", KNOWN, 404),
        ("/app", {**KNOWN, "Upgrade": "websocket", "Origin": "http://127.0.0.1:5006"}, 404),
        ("/static/js/bokeh.min.js", KNOWN, 0),
        ("/static/js/bokeh.min.js", OWN, 403),
        ("/static/extensions/panel/panel.min.js", {**KNOWN, "Origin": "http://localhost:5006", "Sec-Fetch-Site": "same-origin"}, 0),
        ("/static/extensions/panel/../../../../../etc/passwd.js", KNOWN, 404),
        ("/static/extensions/panel/bundled/reactiveesm/es-module-shims@%5E1.10.0/dist/es-module-shims.min.js", KNOWN, 0),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, 403),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "empty"}, 403),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 403),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "iframe"}, 403),
        (f"/app?token={SECRET}", {**OWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 0),
        (f"/app?token={SECRET}", {**OWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}, 403),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"}, 0),
    ],
)
def test_a_request_is_answered_only_for_the_page_of_this_server(path: str, headers: dict[str, str], status: int):
    assert refused(path, headers) == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
def test_only_get_is_answered(method: str):
    assert refused("/app", KNOWN, method=method) == 405


def test_without_a_secret_the_host_and_the_origin_still_count():
    access = Access("")
    assert refused("/app", OWN, access=access) == 0
    assert refused("/app", {"Host": "evil.example:5006"}, access=access) == 403
    assert refused("/app/ws", {**OWN, **SOCKET, "Origin": "http://evil.example"}, access=access) == 403
    assert refused("/app/ws", {**OWN, "Upgrade": "websocket"}, access=access) == 403


def test_a_bound_address_and_names_that_were_given_are_hosts():
    access = Access("", frozenset({"desk.example", "proxy.example:8443"}))
    for host, status in (
        ("desk.example", 0),
        ("desk.example:5006", 0),
        ("desk.example:5007", 403),
        ("proxy.example:8443", 0),
        ("proxy.example", 403),
        ("192.0.2.7:5006", 0),
        ("192.0.2.8:5006", 403),
    ):
        assert refused("/app", {"Host": host}, access=access, address="192.0.2.7") == status, host


ANSWERED = {"/app": True, "/app/ws": True, "/": True, "/favicon.ico": True}
CLOSED = (
    "/app/metadata",
    "/app/autoload.js",
    "/components/venv.__main__/a/b/c",
    "/static/extensions/../app.py",
    "/static/js/../../secret.js",
    "/static/",
    "/static/extensions/other/x.js",
    "/liveness",
    "/admin",
    "/app/static/js/x.js",
    "/login",
    "/rest/",
)


def test_the_routes_that_answer_are_these():
    assert {path: PATHS.fullmatch(path) is not None for path in ANSWERED} == ANSWERED
    assert [path for path in CLOSED if refused(path, KNOWN) != 404] == []


def test_every_route_of_bokeh_and_panel_is_known():
    """A new version that adds a route fails here: it is closed, and somebody should know of it."""
    from bokeh.application import Application

    tornado = BokehTornado({"/app": Application()}, extra_patterns=get_static_routes({}))
    routes = {rule.matcher.regex.pattern for rule in tornado.wildcard_router.rules}
    assert routes == {
        r"/app/?$",
        r"/app/ws$",
        r"/app/metadata$",
        r"/app/autoload.js$",
        r"/app/static/(.*)$",
        r"/favicon.ico$",
        r"/static/extensions/(.*)$",
        r"/static/(.*)$",
        r"/?$",
        r"/components/(.*)$",
    }
