"""Who may ask the page's server for anything: a guard before every request, so that another page in the trader's browser reaches nothing.

Everything is refused that is not expressly allowed, in this order: a method other than GET, a path that the page does not use, a ``Host``
that is not this server's (a name that was rebound to loopback), an ``Origin`` that is not this server's page (and a websocket without
one), a request that another site's page made (``Sec-Fetch-Site``) or that would be shown in a frame, and one without the secret of this
start. The secret comes once in the printed address; from then on the browser has a pass in a cookie, which is good for a week, and for the
next server on this port, too. With a password Panel's sign-in page stands in place of both. See SECURITY.md.
"""

from __future__ import annotations

import hmac
import html
import ipaddress
import logging
import os
import re
import secrets
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from bokeh.protocol.exceptions import ProtocolError
from bokeh.server.contexts import ApplicationContext
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import HTTPError, OutputTransform, RequestHandler

from workbench import bokeh_server

log = logging.getLogger("spymaster.access")

PATHS = re.compile(
    r"/(app(/ws)?)?"
    r"|/favicon\.ico"
    r"|/static/js/[\w.-]+\.js"
    r"|/static/extensions/panel/(?:[\w./@^~-]|%5E)+\.(?:js|css|svg|png|woff2?|ttf)"
)
"""What the page asks for: itself, its websocket, and the scripts and styles of Bokeh and Panel. Any other route is closed, new ones too."""

SIGN_IN = "/login"
"""Panel's page of the password, which answers where there is one; its form is the only thing that is posted."""

NEXT = re.compile(r"/|/app(\?[!-\[\]-~]*)?")
"""Where the sign-in page may lead: to the page, with printable characters but the backslash behind it."""

LONGEST_BODY, LONGEST_QUERY = 4096, 8192
"""Bytes of what is posted (a password needs less), and behind the ``?`` of an address; of the sign-in's half of that."""

MOST_GUESSES, GUESSES_S = 10, 60
"""Wrong passwords that one address may try, within so many seconds."""

MOST_ADDRESSES = 1000
"""Addresses whose wrong passwords are counted; the one that tried longest ago gives way to a new one."""

MOST_WAITING = 20
"""Pages that are being made, or were and have not connected yet; Bokeh forgets them after 15 s. More are refused until then."""

MOST_LINES = 64
"""Lines about what was asked for that are logged in an hour."""

WEEK_S = 7 * 24 * 3600
"""How long a browser's pass is good, in seconds; one that is older than a day is renewed when the page is opened."""

DEFAULT_PORTS = {"http": 80, "https": 443}
"""Ports that a browser does not name."""

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
    "X-Spymaster": "yes",
}
"""Of every answer; by the last one a page whose server is gone knows it from another program on its port. Bokeh compiles its callbacks and
Panel its components in the page, so scripts of the page itself must be allowed."""

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
    for one, and its sign-in page answers. `cookie_key` signs the passes that browsers get for the secret; where it is empty, `token` does.
    """

    token: str
    names: frozenset[str] = frozenset()
    password: bool = False
    cookie_key: str = field(default="", repr=False)

    def hosts(self, address: str, port: int, scheme: str = "http") -> set[str]:
        """Values of a ``Host`` header that mean this server, for a request that arrived at `address` and `port`."""
        literal = f"[{address}]" if ":" in address else address
        plain = {"127.0.0.1", "localhost", "[::1]", literal, *self.names}
        known = {*(f"{n}:{port}" for n in plain), *self.names}
        return {name.lower() for name in (known | plain if port == DEFAULT_PORTS.get(scheme) else known)}

    def origins(self, address: str, port: int, scheme: str = "http") -> set[str]:
        """Values of an ``Origin`` header that mean this server's page; what a name was given for may be a proxy that encrypts."""
        named = {n.lower() for name in self.names for n in (name, f"{name}:{port}")}
        return {f"{scheme}://{h}" for h in self.hosts(address, port, scheme)} | {f"{s}://{n}" for s in DEFAULT_PORTS for n in named}

    def refusal(self, request: HTTPServerRequest, address: str, port: int) -> Refusal | None:
        """Why `request` is not answered; None where it is."""
        hosts = self.hosts(address, port, request.protocol)
        header = request.headers.get
        upgrade = header("Upgrade", "").lower() == "websocket"
        signs_in = self.password and request.path == SIGN_IN
        posts = signs_in and request.method == "POST"
        if request.method != "GET" and not posts:
            return Refusal(405, f"{request.method} is not answered here; expected GET")
        if request.method == "GET" and (header("Content-Length", "0") != "0" or header("Transfer-Encoding")):
            return Refusal(400, "a GET with a body is not answered here")
        if len(request.query) > (LONGEST_QUERY // 2 if signs_in else LONGEST_QUERY):
            return Refusal(414, "the address is too long; open /app")
        path = request.path
        if (PATHS.fullmatch(path) is None and not signs_in) or ".." in unquote(path) or upgrade != (path == "/app/ws"):
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
        elif origin.lower() not in self.origins(address, port, request.protocol):
            return Refusal(403, f"the page of {origin!r} asked; expected this server's own page")
        if header("Sec-Fetch-Dest", "document") in ("iframe", "frame", "fencedframe", "embed", "object"):
            return Refusal(403, "the page is not shown within another page; open it in a tab of its own")
        if self.token and self.holds(given_token(request) or "") and path == "/app":
            return None
        if header("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return Refusal(403, "another site's page led here; if you meant to come, follow the link below")
        if self.token and self.age(request, port, time.time()) is None:
            return Refusal(403, "this browser does not have the secret of this start; open the address that `spymaster serve` printed")
        kind = header("Content-Type", "").partition(";")[0].strip().lower()
        if posts and (kind != "application/x-www-form-urlencoded" or header("Content-Encoding")):
            return Refusal(415, "expected a plain form")
        if signs_in and not all(NEXT.fullmatch(v) for k, v in parse_qsl(request.query, keep_blank_values=True) if k == "next"):
            return Refusal(400, "the sign-in page leads to this server's own page only; open /app")
        return None

    def holds(self, given: str) -> bool:
        """Whether `given` is the secret."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def pass_for(self, port: int, now: float) -> str:
        """What the cookie of a browser that has the secret holds: the time `now` in seconds since the epoch, and its signature."""
        return f"{now:.0f}-{self._signature(port, f'{now:.0f}')}"

    def age(self, request: HTTPServerRequest, port: int, now: float) -> float | None:
        """Seconds since the browser's pass for `port` was given; None where it has none that is good."""
        found = request.cookies.get(cookie_name(port))
        given, _, signature = (found.value if found is not None else "").partition("-")
        signed = hmac.compare_digest(signature.encode(), self._signature(port, given).encode())
        age = now - int(given) if signed and given.isascii() and given.isdigit() else -WEEK_S
        return age if -1 <= age < WEEK_S else None

    def _signature(self, port: int, given: str) -> str:
        return hmac.new((self.cookie_key or self.token).encode(), f"pass {port} {given}".encode(), "sha256").hexdigest()


def cookie_name(port: int) -> str:
    """Name of the cookie of a server on `port`, since a browser sends a cookie to all ports of a host."""
    return f"spymaster-{port}"


def given_token(request: HTTPServerRequest) -> str | None:
    """The secret in the address; None where there is none."""
    return dict(parse_qsl(request.query, keep_blank_values=True)).get(TOKEN)


class Guesses:
    """Wrong passwords within the last minute by the address that tried them, so that nobody's guesses lock out another."""

    def __init__(self) -> None:
        self._tried: OrderedDict[str, deque[float]] = OrderedDict()

    @staticmethod
    def _who(address: str) -> str:
        """What one machine has: an address, of IPv6 the network, within which it may choose."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return ""
        if isinstance(ip, ipaddress.IPv6Address):
            return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
        return str(ip)

    def too_many(self, address: str, now: float) -> bool:
        """Whether `address` has to wait."""
        tried = self._tried.get(self._who(address))
        return tried is not None and len(tried) == MOST_GUESSES and now - tried[0] < GUESSES_S

    def wrong(self, address: str, now: float) -> None:
        """Count a wrong password."""
        who = self._who(address)
        self._tried.setdefault(who, deque(maxlen=MOST_GUESSES)).append(now)
        self._tried.move_to_end(who)
        if len(self._tried) > MOST_ADDRESSES:
            self._tried.popitem(last=False)


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
    """Gives a browser a pass where its address has the secret, and leads to the same address without it.

    The page that follows is asked for by this one, so that a strict cookie goes with it whoever led here.
    """

    def initialize(self, access: Access, port: int) -> None:
        self.access, self.port = access, port

    def prepare(self) -> None:
        if self.access.token and self.access.holds(given_token(self.request) or ""):
            self.set_cookie(cookie_name(self.port), self.access.pass_for(self.port, time.time()), path="/", max_age=WEEK_S)
        rest = urlencode([(k, v) for k, v in parse_qsl(self.request.query) if k != TOKEN], safe=":/,")
        target = html.escape(f"/app?{rest}" if rest else "/app")
        self.finish(f'<!doctype html><title>spymaster</title><meta http-equiv="refresh" content="0;url={target}">')


class _StrictCookies(HTTPHeaders):
    """Headers whose cookies, Panel's too, go with requests of this server's own pages only, and not to scripts.

    Tornado adds the cookies after all transforms, so that these cannot do it.
    """

    def __init__(self, headers: HTTPHeaders, *, secure: bool) -> None:
        self.kept = ("HttpOnly", "SameSite=Strict", *(("Secure",) if secure else ()))
        super().__init__(headers)

    def add(self, name: str, value: str, **kwargs: Any) -> None:
        if name.lower() == "set-cookie":
            said = [p for p in value.split("; ") if p.partition("=")[0].lower() not in ("httponly", "samesite", "secure")]
            value = "; ".join((*said, *self.kept))
        super().add(name, value, **kwargs)


class _Headers(OutputTransform):
    """Puts `HEADERS` on every answer, makes its cookies strict, and takes away what would let another site read it."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self.request = request

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        for name in [n for n in headers if n.lower().startswith("access-control-")]:
            del headers[name]
        headers.update(HEADERS)
        if self.request.path == SIGN_IN:
            # Under no-referrer a browser would send the form of this page as from nowhere (``Origin: null``).
            headers["Referrer-Policy"] = "same-origin"
        strict = _StrictCookies(headers, secure=self.request.protocol == "https")
        here, now = bokeh_server.arrived_at(self.request) if self.request.path == "/app" and status_code == 200 else None, time.time()
        if here is not None and _access[0].token and (_access[0].age(self.request, here[1], now) or 0) > WEEK_S / 7:
            strict.add("Set-Cookie", f"{cookie_name(here[1])}={_access[0].pass_for(here[1], now)}; Max-Age={WEEK_S}; Path=/")
        return status_code, strict, chunk


_access: list[Access] = []
_guesses = Guesses()
_making: list[str] = []


def _waiting(context: ApplicationContext) -> Refusal | None:
    """Why no page is made now; None where one may be."""
    waiting = len(_making) + bokeh_server.unconnected(context)
    if waiting < MOST_WAITING:
        return None
    return Refusal(503, f"{waiting} pages were asked for and have not connected yet; try again in a minute")


async def _create_session(self: ApplicationContext, session_id: Any, request: Any = None, token: str | None = None) -> Any:
    """Bokeh's session, if fewer than `MOST_WAITING` wait: the one place where pages are made, however many are asked for at once."""
    if bokeh_server.has_session(self, session_id):
        return await bokeh_server.make_session(self, session_id, request, token)
    refusal = _waiting(self)
    if refusal is not None:
        if request is not None and request.headers.get("Upgrade"):
            raise ProtocolError(refusal.reason)
        raise HTTPError(refusal.status, reason="Too many pages wait; try again in a minute")
    _making.append(session_id)
    try:
        return await bokeh_server.make_session(self, session_id, request, token)
    finally:
        _making.remove(session_id)


def _find_handler(self: Any, request: HTTPServerRequest, **kwargs: Any) -> Any:
    """What answers a request: Bokeh's handler where `Access` lets it, else a refusal."""
    access = _access[0]
    request.connection.set_max_body_size(LONGEST_BODY)  # type: ignore[union-attr,attr-defined]
    if _Headers not in self.transforms:
        self.add_transform(_Headers)
    here = bokeh_server.arrived_at(request)
    if here is None:
        return self.get_handler_delegate(request, _RefusedHandler, {"refusal": Refusal(400, "the connection is closed")})
    refusal = access.refusal(request, *here)
    signs_in = request.path == "/app" and given_token(request) is not None
    if refusal is None and request.path == "/app" and not signs_in:
        refusal = _waiting(bokeh_server.page_context(self))
    if refusal is None and request.method == "POST" and _guesses.too_many(request.remote_ip or "", time.monotonic()):
        refusal = Refusal(429, f"{MOST_GUESSES} wrong passwords came from your address within a minute; try again in a minute")
    if refusal is not None:
        _log_refusal(refusal)
        return self.get_handler_delegate(request, _RefusedHandler, {"refusal": refusal})
    if signs_in:
        return self.get_handler_delegate(request, _SignInHandler, {"access": access, "port": here[1]})
    leads_to = request.cookies.get("next_url")
    if leads_to is not None and NEXT.fullmatch(leads_to.value) is None:
        # Another port of this host can put a cookie here; the sign-in goes to the page then.
        del request.cookies["next_url"]
    return bokeh_server.find_handler(self, request, **kwargs)


_lines: deque[tuple[float, str]] = deque(maxlen=MOST_LINES)
WORDS_OF_OTHERS = re.compile(r"\?\S*|'[^']*'?|(?s:(?<=body: ).*)")


def _is_logged(text: str) -> bool:
    """Whether to log `text`: it was not among the last lines, and fewer than `MOST_LINES` others were within an hour."""
    now = time.monotonic()
    if text in (line for _, line in _lines) or (len(_lines) == MOST_LINES and now - _lines[0][0] <= 3600):
        return False
    _lines.append((now, text))
    return True


def _in_short(text: str) -> str:
    # Without control characters, since whoever asked chose some of the words.
    return "".join(c if c.isprintable() else "?" for c in text[:200])


def _log_refusal(refusal: Refusal) -> None:
    if _is_logged(text := f"refused ({refusal.status}): {_in_short(refusal.reason)}"):
        log.warning("%s", text)


def _of_tornado(record: logging.LogRecord) -> bool:
    """Whether a line of tornado's is logged; its addresses, cookies and forms go out of it."""
    record.msg, record.args = _in_short(WORDS_OF_OTHERS.sub("?", record.getMessage())), ()
    return _is_logged(record.msg)


def _log_request(_self: Any, handler: RequestHandler) -> None:
    """Log an answer only where the server broke: an address may carry the secret, and a stranger's requests would fill the disk."""
    text = f"500 {handler.request.method} {_in_short(handler.request.path)}"
    if handler.get_status() == 500 and _is_logged(text):
        log.error("%s", text)


def _is_password(handler: RequestHandler, _username: str, password: str) -> bool:
    """Whether `password` opens the page; wrong ones are counted here, where no two requests can be between the check and the count."""
    address, now = handler.request.remote_ip or "", time.monotonic()
    if _guesses.too_many(address, now):
        raise HTTPError(429)
    right = hmac.compare_digest(password.encode(), os.fsencode(os.environ["PANEL_BASIC_AUTH"]))
    if not right:
        _guesses.wrong(address, now)
    return right


def installed() -> bool:
    """Whether every request passes the guard."""
    return bool(_access)


def install(token: str | None = None, names: Iterable[str] = (), *, password: bool = False, cookie_key: str = "") -> Access:
    """The guard, now before every request that this process answers (`Access`); where `token` is None, a new one is printed."""
    if not _access:
        if token is None:
            token = secrets.token_urlsafe(24)
            print(f"open the page with ?{TOKEN}={token} behind its address", file=sys.stderr, flush=True)
        _access.append(Access(token, frozenset(n.lower() for n in names if n), password, cookie_key))
        for name in ("tornado.general", "tornado.application"):
            logging.getLogger(name).addFilter(_of_tornado)
        bokeh_server.guard(_find_handler, _log_request, _create_session, _is_password if password else None)
    return _access[0]


def install_from_environment() -> Access:
    """`install` as `spymaster serve` says, by ``SPYMASTER_TOKEN`` (empty: none), ``SPYMASTER_HOSTS`` (commas), ``SPYMASTER_COOKIE_KEY`` and
    Panel's password."""
    env = os.environ.get
    names = env("SPYMASTER_HOSTS", "").split(",")
    return install(env("SPYMASTER_TOKEN"), names, password=bool(env("PANEL_BASIC_AUTH")), cookie_key=env("SPYMASTER_COOKIE_KEY", ""))
