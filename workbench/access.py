"""Who may ask the page's server for anything: a guard before every request, so that another page in the trader's browser reaches nothing.

Everything is refused that is not expressly allowed, in this order: a method other than GET, a path that the page does not use, a ``Host``
that is not this server's (a name that was rebound to loopback), an ``Origin`` that is not this server's page (and a websocket without
one), a request that another site's page made (``Sec-Fetch-Site``) or that would be shown in a frame, and one without the secret of this
start. The secret comes once in the printed address and is kept in a cookie from then on. With a password Panel's sign-in page stands in
place of the secret. See SECURITY.md.
"""

from __future__ import annotations

import hmac
import html
import logging
import os
import re
import secrets
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from bokeh.server.tornado import BokehTornado
from bokeh.server.views.ws import WSHandler
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform, RequestHandler

log = logging.getLogger("spymaster.access")

PATHS = re.compile(
    r"/(app(/ws)?)?"
    r"|/favicon\.ico"
    r"|/static/js/[\w.-]+\.js"
    r"|/static/extensions/panel/[\w./@^%~-]+\.(?:js|css|svg|png|woff2?|ttf)"
)
"""What the page asks for: itself, its websocket, and the scripts and styles of Bokeh and Panel. Any other route is closed, new ones too."""

SIGN_IN = ("/login", "/logout")
"""Panel's pages of the password, which answer where there is one; the first one's form is the only thing that is posted."""

MOST_GUESSES = 10
"""Passwords that may be tried in a minute, by all browsers together."""

MOST_WAITING = 20
"""Pages that were made and have not connected yet; Bokeh forgets them after 15 s. More are refused until then."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer. Bokeh compiles its callbacks and Panel its components in the page, so scripts of the page itself must be allowed."""

TOKEN = "token"


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered: an HTTP status, and a sentence with what to do."""

    status: int
    reason: str


@dataclass(frozen=True)
class Access:
    """Who may talk to the server: a browser with the secret `token` of this start (any where it is empty), under a name of the server.

    `names` are host names, with or without a port, beside loopback and the address that the server is bound to. With `password` Panel asks
    for one, and its sign-in page answers.
    """

    token: str
    names: frozenset[str] = frozenset()
    password: bool = False

    def hosts(self, address: str, port: int) -> set[str]:
        """Values of a ``Host`` header that mean this server, for a request that arrived at `address` and `port`."""
        literal = f"[{address}]" if ":" in address else address
        plain = {"127.0.0.1", "localhost", "[::1]", literal, *self.names}
        return {name.lower() for name in (*(f"{n}:{port}" for n in plain), *self.names)}

    def refusal(self, request: HTTPServerRequest, address: str, port: int) -> Refusal | None:
        """Why `request` is not answered; None where it is."""
        hosts = self.hosts(address, port)
        header = request.headers.get
        upgrade = header("Upgrade", "").lower() == "websocket"
        signs_in = self.password and request.path in SIGN_IN
        posts = signs_in and request.method == "POST" and request.path == SIGN_IN[0]
        if request.method != "GET" and not posts:
            return Refusal(405, f"{request.method} is not answered here; expected GET")
        if (PATHS.fullmatch(request.path) is None and not signs_in) or ".." in request.path or upgrade != (request.path == "/app/ws"):
            return Refusal(404, "there is nothing here; the page is at /app")
        host = header("Host", "").lower()
        if host not in hosts:
            known = ", ".join(sorted(hosts))
            return Refusal(403, f"the host {host!r} is not this server ({known}); `spymaster serve --host NAME` lets it answer to a name")
        origin = header("Origin")
        if origin is None:
            if upgrade or posts:
                what = "a websocket" if upgrade else "a password"
                return Refusal(403, f"{what} without an Origin: expected one from this server's own page")
        elif urlsplit(origin).netloc.lower() not in hosts or urlsplit(origin).scheme not in ("http", "https"):
            return Refusal(403, f"the page of {origin!r} asked; expected this server's own page")
        if header("Sec-Fetch-Dest", "document") in ("iframe", "frame", "embed", "object"):
            return Refusal(403, "the page is not shown within another page; open it in a tab of its own")
        if self.token and self.holds(given_token(request)) and request.path == "/app":
            return None
        if header("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return Refusal(403, "another site's page led here; if you meant to come, follow the link below")
        if self.token and not self.holds(cookie(request, port)):
            return Refusal(403, "this browser does not have the secret of this start; open the address that `spymaster serve` printed")
        return None

    def holds(self, given: str) -> bool:
        """Whether `given` is the secret."""
        return hmac.compare_digest(given.encode(), self.token.encode())


def cookie_name(port: int) -> str:
    """Name of the cookie of a server on `port`, since a browser sends a cookie to all ports of a host."""
    return f"spymaster-{port}"


def cookie(request: HTTPServerRequest, port: int) -> str:
    """The secret in the browser's cookie; empty where it has none."""
    found = request.cookies.get(cookie_name(port))
    return found.value if found is not None else ""


def given_token(request: HTTPServerRequest) -> str:
    """The secret in the address; empty where there is none."""
    return dict(parse_qsl(request.query)).get(TOKEN, "")


def arrived_at(request: HTTPServerRequest) -> tuple[str, int]:
    """Local address and port at which a request arrived."""
    address, port, *_ = request.connection.stream.socket.getsockname()  # type: ignore[union-attr,attr-defined]
    return str(address).removeprefix("::ffff:"), int(port)


class _RefusedHandler(RequestHandler):
    """Answers a request that is refused with a sentence; no method of a handler is called after `prepare`."""

    def initialize(self, refusal: Refusal) -> None:
        self.refusal = refusal

    def prepare(self) -> None:
        self.set_status(self.refusal.status)
        link = ""
        if self.request.path == "/app":
            target = html.escape(f"/app?{self.request.query}" if self.request.query else "/app")
            link = f'<p><a href="{target}">Open spymaster</a></p>'
        self.finish(f"<!doctype html><title>spymaster</title><p>Refused: {html.escape(self.refusal.reason)}.</p>{link}")


class _SignInHandler(RequestHandler):
    """Puts the secret of the address into a cookie, and leads to the same address without it.

    The page that follows is asked for by this one, so that a strict cookie goes with it whoever led here.
    """

    def prepare(self) -> None:
        _, port = arrived_at(self.request)
        secure = self.request.protocol == "https"
        self.set_cookie(cookie_name(port), given_token(self.request), path="/", httponly=True, samesite="Strict", secure=secure)
        rest = urlencode([(k, v) for k, v in parse_qsl(self.request.query) if k != TOKEN], safe=":/,")
        target = html.escape(f"/app?{rest}" if rest else "/app")
        self.finish(f'<!doctype html><title>spymaster</title><meta http-equiv="refresh" content="0;url={target}">')


class _Headers(OutputTransform):
    """Puts `HEADERS` on every answer, and takes away what would let another site read it."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self.request = request

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        for name in [n for n in headers if n.lower().startswith("access-control-")]:
            del headers[name]
        headers.update(HEADERS)
        if self.request.path in SIGN_IN:
            # Under no-referrer a browser would send the form of this page as from nowhere (``Origin: null``).
            headers["Referrer-Policy"] = "same-origin"
        return status_code, headers, chunk


_answer = BokehTornado.find_handler
_access: list[Access] = []


def _find_handler(self: Any, request: HTTPServerRequest, **kwargs: Any) -> Any:
    """What answers a request: Bokeh's handler where `Access` lets it, else a refusal."""
    access = _access[0]
    if _Headers not in self.transforms:
        self.add_transform(_Headers)
    address, port = arrived_at(request)
    refusal = access.refusal(request, address, port)
    signs_in = refusal is None and request.path == "/app" and bool(access.token) and access.holds(given_token(request))
    if refusal is None and request.path == "/app" and not signs_in:
        waiting = sum(session.connection_count == 0 for session in self.get_sessions("/app"))
        if waiting >= MOST_WAITING:
            refusal = Refusal(503, f"{waiting} pages were asked for and have not connected yet; try again in a minute")
    if refusal is None and request.method == "POST" and _too_many_guesses(time.monotonic()):
        refusal = Refusal(429, f"{MOST_GUESSES} passwords were tried within a minute; try again in a minute")
    if refusal is not None:
        _log_once(refusal.status, refusal.reason)
        return self.get_handler_delegate(request, _RefusedHandler, {"refusal": refusal})
    if signs_in:
        return self.get_handler_delegate(request, _SignInHandler)
    return _answer(self, request, **kwargs)


@cache
def _log_once(status: int, reason: str) -> None:
    log.warning("refused (%d): %s", status, reason)


_guesses: deque[float] = deque(maxlen=MOST_GUESSES)


def _too_many_guesses(now: float) -> bool:
    """Whether one more password would be more than `MOST_GUESSES` in a minute; counts it where not."""
    if len(_guesses) == MOST_GUESSES and now - _guesses[0] < 60:
        return True
    _guesses.append(now)
    return False


def installed() -> bool:
    """Whether every request passes the guard."""
    return bool(_access)


def install(token: str | None = None, names: Iterable[str] = (), *, password: bool = False) -> Access:
    """The guard, now before every request that this process answers (`Access`); where `token` is None, a new one is printed."""
    if not _access:
        if token is None:
            token = secrets.token_urlsafe(24)
            print(f"open the page with ?{TOKEN}={token} behind its address", file=sys.stderr, flush=True)
        _access.append(Access(token, frozenset(n.lower() for n in names if n), password))
        BokehTornado.find_handler = _find_handler
        # Bokeh's own check does not know a host such as [::1]:5006; what comes so far has passed this one.
        WSHandler.check_origin = lambda self, origin: True
    return _access[0]


def install_from_environment() -> Access:
    """`install` as `spymaster serve` says, by ``SPYMASTER_TOKEN`` (empty: none), ``SPYMASTER_HOSTS`` (commas) and Panel's password."""
    password = bool(os.environ.get("PANEL_BASIC_AUTH"))
    return install(os.environ.get("SPYMASTER_TOKEN"), os.environ.get("SPYMASTER_HOSTS", "").split(","), password=password)
