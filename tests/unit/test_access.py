"""Which requests the page's server answers; the browser's side of it is in ``tests/ui/test_foreign_pages.py``."""

from __future__ import annotations

import logging
import time

import pytest
from bokeh.server.tornado import BokehTornado
from panel.io.server import get_static_routes
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from workbench import access as guard
from workbench.access import HEADERS, MOST_ADDRESSES, MOST_GUESSES, PATHS, WEEK_S, Access, Guesses, cookie_name

SECRET = "s3cret"
PORT = 5006
OWN = {"Host": "127.0.0.1:5006"}
PASS = Access(SECRET).pass_for(PORT, time.time())
KNOWN = {**OWN, "Cookie": f"{cookie_name(PORT)}={PASS}"}
FORM = "application/x-www-form-urlencoded"
POSTED = {**OWN, "Origin": "http://127.0.0.1:5006", "Content-Type": FORM}
SOCKET = {"Upgrade": "websocket", "Origin": "http://127.0.0.1:5006"}


def request_of(path: str, headers: dict[str, str], method: str = "GET", scheme: str = "http") -> HTTPServerRequest:
    request = HTTPServerRequest(headers=HTTPHeaders(headers), start_line=RequestStartLine(method, path, "HTTP/1.1"))
    request.protocol = scheme
    return request


def refused(
    path: str,
    headers: dict[str, str],
    *,
    method: str = "GET",
    access: Access | None = None,
    address: str = "127.0.0.1",
    port: int = PORT,
    scheme: str = "http",
) -> int:
    """Status of the refusal; 0 where the request is answered."""
    refusal = (access or Access(SECRET)).refusal(request_of(path, headers, method, scheme), address, port)
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
        ("/app", {**OWN, "Cookie": f"{cookie_name(PORT)}={SECRET}"}, 403),
        ("/app", {**OWN, "Cookie": f"{cookie_name(PORT)}="}, 403),
        ("/app", {**OWN, "Cookie": f"{cookie_name(PORT)}=-"}, 403),
        ("/app", {**OWN, "Cookie": f"{cookie_name(PORT)}={PASS}0"}, 403),
        ("/app", {**OWN, "Cookie": f"{cookie_name(PORT)}=1{PASS}"}, 403),
        ("/app", {**OWN, "Cookie": f"{cookie_name(PORT + 1)}={PASS}"}, 403),
        ("/app?token=other", KNOWN, 0),
        (f"/app?token={PASS}", OWN, 403),
        ("/app", {**KNOWN, "Content-Length": "5"}, 400),
        ("/app", {**KNOWN, "Content-Length": "0"}, 0),
        ("/app", {**KNOWN, "Transfer-Encoding": "chunked"}, 400),
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
        ("/app/ws", {**KNOWN, **SOCKET, "Origin": "http://["}, 403),
        ("/app/ws", {**KNOWN, **SOCKET, "Origin": "http://127.0.0.1:5006.evil.example"}, 403),
        ("/app/ws", {**KNOWN, **SOCKET, "Origin": "http://127.0.0.1:5006@evil.example"}, 403),
        ("/app/ws", {**KNOWN, **SOCKET, "Origin": "https://127.0.0.1:5006"}, 403),
        ("/app", {**KNOWN, "Origin": "http://[::1"}, 403),
        ("/app", {**KNOWN, "Host": "["}, 403),
        # The one that tornado lets pass: Origin and Host agree with each other.
        ("/app/ws", {**KNOWN, **SOCKET, "Host": "evil.example:5006", "Origin": "http://evil.example:5006"}, 403),
        ("/app/ws", KNOWN, 404),
        ("/app", {**KNOWN, "Upgrade": "websocket", "Origin": "http://127.0.0.1:5006"}, 404),
        ("/static/js/bokeh.min.js", KNOWN, 0),
        ("/static/js/bokeh.min.js", OWN, 403),
        ("/static/extensions/panel/panel.min.js", {**KNOWN, "Origin": "http://localhost:5006", "Sec-Fetch-Site": "same-origin"}, 0),
        ("/static/extensions/panel/../../../../../etc/passwd.js", KNOWN, 404),
        ("/static/extensions/panel/%2e%2e/%2e%2e/secret.js", KNOWN, 404),
        ("/static/extensions/panel/%2E./%2e%2E/secret.js", KNOWN, 404),
        ("/static/extensions/panel/%00.js", KNOWN, 404),
        ("/static/js/%2e%2e/secret.js", KNOWN, 404),
        ("/static/extensions/panel/bundled/reactiveesm/es-module-shims@%5E1.10.0/dist/es-module-shims.min.js", KNOWN, 0),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, 403),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "empty"}, 403),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 403),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "iframe"}, 403),
        (f"/app?token={SECRET}", {**OWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 0),
        (f"/app?token={SECRET}", {**OWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}, 403),
        (f"/app?token={SECRET}", {**OWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "fencedframe"}, 403),
        ("/app", {**KNOWN, "Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"}, 0),
    ],
    ids=lambda v: v.replace(PASS, "PASS") if isinstance(v, str) else None,  # a pass says the time, a name must not
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


@pytest.mark.parametrize(
    ("port", "scheme", "headers", "status"),
    [
        (80, "http", {"Host": "127.0.0.1"}, 0),
        (80, "http", {"Host": "desk.example"}, 0),
        (80, "http", {"Host": "127.0.0.1:80"}, 0),
        (80, "http", {"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}, 0),
        (80, "http", {"Host": "127.0.0.1", "Origin": "https://127.0.0.1"}, 403),  # a program on port 443
        (443, "https", {"Host": "[::1]"}, 0),
        (443, "https", {"Host": "127.0.0.1", "Origin": "https://127.0.0.1"}, 0),
        (443, "https", {"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}, 403),
        (443, "http", {"Host": "127.0.0.1"}, 403),
        (80, "https", {"Host": "127.0.0.1"}, 403),
        (PORT, "http", {"Host": "127.0.0.1"}, 403),
        (80, "http", {"Host": "evil.example"}, 403),
        # A proxy at the name that was given may encrypt.
        (PORT, "http", {"Host": "desk.example", "Origin": "https://desk.example"}, 0),
    ],
)
def test_a_port_that_browsers_do_not_name(port: int, scheme: str, headers: dict[str, str], status: int):
    access = Access("", frozenset({"desk.example"}))
    assert refused("/app", headers, access=access, port=port, scheme=scheme) == status


def test_a_pass_is_good_for_a_week_on_its_port_and_for_its_key():
    now = 1_700_000_000.0

    def known(access: Access, port: int, at: float) -> bool:
        return access.age(request_of("/app", {**OWN, "Cookie": f"{cookie_name(port)}={given}"}), port, at) is not None

    started, again, another = Access("one", cookie_key="kept"), Access("two", cookie_key="kept"), Access("one", cookie_key="new")
    given = started.pass_for(PORT, now)
    assert known(started, PORT, now)
    assert known(again, PORT, now + WEEK_S - 2), "a server that was started again"
    assert not known(again, PORT, now + WEEK_S + 2)
    assert not known(started, PORT, now - 60), "a pass of the future"
    assert not known(another, PORT, now)
    assert not known(started, PORT + 1, now)
    assert "kept" not in repr(started)


@pytest.mark.parametrize(
    ("leads_to", "status"),
    [
        ("/", 0),
        ("/app", 0),
        ("/app?t=10:05:00&level=pm_high", 0),
        ("/app%3Ft%3D10%3A05%3A00", 0),
        ("", 400),
        ("//evil.example", 400),
        ("/%5Cevil.example", 400),
        ("/\\evil.example", 400),
        ("http://evil.example", 400),
        ("/app%0d%0aSet-Cookie:x", 400),
        ("/app?%0d%0aSet-Cookie:x", 400),
        ("/app?x%0a", 400),
        ("/app?%5Cevil", 400),
        ("/app/../x", 400),
        ("/logout", 400),
        ("/app&next=//evil.example", 400),
        ("//evil.example&next=/app", 400),
    ],
)
def test_the_sign_in_leads_to_the_page_only(leads_to: str, status: int):
    access = Access("", password=True)
    assert refused(f"/login?next={leads_to}", OWN, access=access) == status
    assert refused(f"/login?next={leads_to}", POSTED, access=access, method="POST") == status


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/login", POSTED, 0),
        ("/login", {**POSTED, "Content-Type": f"{FORM}; charset=utf-8"}, 0),
        ("/login", {**POSTED, "Content-Type": "multipart/form-data; boundary=x"}, 415),
        ("/login", {**POSTED, "Content-Type": ""}, 415),
        ("/login", {**POSTED, "Content-Encoding": "gzip"}, 415),
        ("/login?x=" + "y" * 4094, POSTED, 0),
        ("/login?x=" + "y" * 4095, POSTED, 414),
        ("/logout", POSTED, 405),
    ],
    ids=lambda v: v[:20] if isinstance(v, str) else None,
)
def test_a_short_plain_form_is_all_that_is_posted(path: str, headers: dict[str, str], status: int):
    assert refused(path, headers, access=Access("", password=True), method="POST") == status


def test_an_address_has_an_end():
    assert [refused("/app?x=" + "y" * n, KNOWN) for n in (8190, 8191)] == [0, 414]


@pytest.mark.parametrize("path", ["/logout", "/login/", "/login/x"])
def test_no_other_page_of_panel_s_sign_in_answers(path: str):
    assert refused(path, OWN, access=Access("", password=True)) == 404


def test_only_wrong_passwords_count_and_each_address_for_itself():
    guesses = Guesses()
    for i in range(MOST_GUESSES):
        assert not guesses.too_many("192.0.2.7", 100.0 + i)
        guesses.wrong("192.0.2.7", 100.0 + i)
    assert guesses.too_many("192.0.2.7", 110.0)
    assert guesses.too_many("::ffff:192.0.2.7", 110.0), "the same machine"
    assert not guesses.too_many("192.0.2.8", 110.0), "somebody else"
    assert not guesses.too_many("192.0.2.7", 160.5), "a minute later"
    for i in range(MOST_GUESSES):
        guesses.wrong(f"2001:db8::{i}", 110.0)
    assert guesses.too_many("2001:db8::ffff%eth0", 110.0), "one network of IPv6"
    assert not guesses.too_many("2001:db8:0:1::1", 110.0)
    for i in range(3 * MOST_ADDRESSES):
        guesses.wrong(f"10.0.{i // 256}.{i % 256}", 120.0)
    assert len(guesses._tried) == MOST_ADDRESSES


def test_refusals_are_logged_once_in_short_and_not_without_end(caplog: pytest.LogCaptureFixture):
    guard._lines.clear()
    with caplog.at_level("WARNING", "spymaster.access"):
        for i in range(1000):
            guard._log_refusal(guard.Refusal(403, f"a host {i}\r\n\x1b[31m forged" + "x" * 5000))
            guard._log_refusal(guard.Refusal(403, f"a host {i}\r\n\x1b[31m forged" + "x" * 5000))
        assert len(caplog.messages) == guard.MOST_LINES
        assert all(len(m) < 300 and m.isprintable() for m in caplog.messages)
        guard._lines[0] = guard._lines[0][0] - 3601, guard._lines[0][1]
        guard._log_refusal(guard.Refusal(403, "an hour later"))
    assert "an hour later" in caplog.messages[-1]


def test_what_tornado_logs_has_no_words_of_others_and_an_end():
    def logged(text: str, *args: object) -> str | None:
        record = logging.LogRecord("tornado.general", logging.WARNING, __file__, 1, text, args, None)
        return record.getMessage() if guard._of_tornado(record) else None

    guard._lines.clear()
    long = "x" * 20_000
    found = logged("%d %s: %s", 400, f"POST /login?{long} (192.0.2.7)", "Invalid body: \n%s")
    assert found == "400 POST /login? (192.0.2.7): Invalid body: ?"
    assert logged("Tampered cookie %r", long) == "Tampered cookie ?"
    assert logged("Tampered cookie %r", long[1:]) is None, "it was said"
    assert len(logged(long) or "") == 200
    assert sum(logged("line %d", i) is not None for i in range(1000)) == guard.MOST_LINES - 3
    guard._lines.clear()


def test_every_cookie_is_strict_and_every_answer_forbids_frames():
    headers = HTTPHeaders()
    headers.add("Set-Cookie", "user=x; expires=Sat, 28 Nov 2026; HttpOnly; Path=/; SameSite=None")
    headers.add("Access-Control-Allow-Origin", "*")
    for scheme, secure in (("http", False), ("https", True)):
        request = request_of("/login", OWN, scheme=scheme)
        _, found, _ = guard._Headers(request).transform_first_chunk(200, headers.copy(), b"", True)
        found.add("Set-Cookie", "next_url=/app; Path=/")  # tornado adds them after all transforms
        for cookie in found.get_list("Set-Cookie"):
            parts = [p.lower() for p in cookie.split("; ")]
            assert parts.count("samesite=strict") == parts.count("httponly") == 1
            assert not [p for p in parts if p.startswith("samesite=") and p != "samesite=strict"]
            assert parts.count("secure") == secure
        assert len(found.get_list("Set-Cookie")) == 2
        assert found.get_list("Set-Cookie")[0].startswith("user=x; expires=Sat, 28 Nov 2026; Path=/")
        assert "Access-Control-Allow-Origin" not in found
        assert HEADERS.items() - found.items() == {("Referrer-Policy", "no-referrer")}


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
