"""The real ``spymaster serve`` against what somebody who wants in would send: what its page tells, what it costs, and what it leads to."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.ui.conftest import ROOT, Server
from tests.ui.pages import query, until
from tests.ui.test_foreign_pages import CAPPED, HELD, told
from tests.ui.test_sharing import PASSWORD, Serving, refused, serving
from workbench.access import Access

MINE = "username=trader&password=" + PASSWORD


@pytest.fixture(scope="module")
def token_server(empty_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(empty_lake, tmp_path_factory.mktemp("token")) as server:
        yield server


@pytest.fixture
def by_token(token_server: Serving) -> Serving:
    """One server for all tests, which may end it or start it anew."""
    return token_server.like()


@pytest.fixture(scope="module")
def password_server(empty_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(empty_lake, tmp_path_factory.mktemp("password"), "--password", password=PASSWORD) as server:
        yield server


@pytest.fixture
def by_password(password_server: Serving) -> Serving:
    """The same with a password."""
    return password_server.like("--password", password=PASSWORD)


@pytest.fixture(scope="module")
def open_server(empty_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One that asks for no secret, and whose environment has settings of Bokeh and Panel."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("BOKEH_RESOURCES", "cdn"),
            ("PANEL_BASIC_AUTH", "foo"),
            ("BOKEH_MINIFIED", "no"),
            ("PANEL_NPM_CDN", "http://x.example"),
        ):
            patch.setenv(name, value)
        server = Serving(empty_lake, tmp_path_factory.mktemp("open"), "--no-token")
    try:
        yield server.ready()
    finally:
        server.kill()


def own(server: Serving) -> str:
    return f"http://127.0.0.1:{server.port}"


def answered(
    server: Serving, path: str, method: str = "GET", body: str | None = None, source: str = "127.0.0.1", **headers: str
) -> tuple[int, str, http.client.HTTPMessage]:
    """Status, text and all headers of the answer to a request from an address of loopback."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60, source_address=(source, 0))) as connection:
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(method, path, body, form | {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace"), answer.headers


def cookies_of(headers: http.client.HTTPMessage) -> dict[str, str]:
    """Cookies that an answer sets."""
    return dict(c.partition(";")[0].split("=", 1) for c in headers.get_all("Set-Cookie") or ())


def signed_in(server: Serving, source: str = "127.0.0.1") -> dict[str, str]:
    """The cookies of a browser at `source` that knows the password."""
    status, _, headers = answered(server, "/login", "POST", MINE, source=source, Origin=own(server))
    assert (status, headers["Location"]) == (302, "/")
    return cookies_of(headers)


def pass_of(server: Serving) -> dict[str, str]:
    """The cookie of a browser that opened the printed address."""
    status, _, headers = answered(server, "/app?" + server.addresses[0].partition("?")[2])
    assert status == 200
    return cookies_of(headers)


def as_header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{k}={v}" for k, v in cookies.items())


def unpacked(page: str) -> str:
    """Everything that the page's session token says, without Bokeh's own reader."""

    def decoded(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    (token,) = set(re.findall(r'"token":\s*"([\w.-]+)"', page))
    outer = json.loads(decoded(token.split(".")[0]))
    inner = zlib.decompress(decoded(outer.pop("__bk__zlib_"))).decode()
    assert "arguments" in json.loads(inner)
    return json.dumps(outer) + inner


@pytest.mark.parametrize("others", [{}, {"jupyter": "cookie-of-another-port"}], ids=["own cookies only", "another port's too"])
@pytest.mark.parametrize("way", ["token", "password"])
def test_the_page_tells_its_scripts_neither_cookie_nor_secret(
    by_token: Serving, by_password: Serving, way: str, others: dict[str, str]
) -> None:
    server = by_token if way == "token" else by_password
    cookies = pass_of(server) if way == "token" else signed_in(server)
    assert cookies
    sent = as_header(cookies | others)
    status, page, _ = answered(server, "/app?level=or_high", Cookie=sent, Authorization="Basic of-a-proxy", X_Forwarded_Access_Token="hush")
    assert status == 200
    told = page + unpacked(page)
    assert "or_high" in unpacked(page).replace(base64.b64encode(b"or_high").decode().rstrip("="), "or_high")
    environment = dict(e.split("=", 1) for e in Path(f"/proc/{server.process.pid}/environ").read_text().split("\0") if "=" in e)
    secrets = {environment.get(k, "") for k in ("SPYMASTER_TOKEN", "SPYMASTER_COOKIE_KEY", "PANEL_COOKIE_SECRET", "BOKEH_SECRET_KEY")}
    for secret in {PASSWORD, *cookies.values(), *others.values(), "of-a-proxy", "hush", *secrets} - {"", '""'}:
        assert secret not in told
    for name in {*cookies, *others}:
        assert not re.search(rf"\b{re.escape(name)}=", told), name


def test_an_old_address_leaves_no_secret_in_the_page(by_token: Serving, by_password: Serving) -> None:
    """Neither the secret of this start nor one of before, whatever the server asks for now."""
    for server, cookies in ((by_token, pass_of(by_token)), (by_password, signed_in(by_password))):
        status, page, _ = answered(server, "/app?token=of-before&level=or_high", Cookie=as_header(cookies))
        assert status == 200
        assert "of-before" not in page
        assert 'content="0;url=/app?level=or_high"' in page


def test_every_cookie_is_for_this_server_s_own_pages(by_token: Serving, by_password: Serving) -> None:
    answers = (
        answered(by_token, "/app?" + by_token.addresses[0].partition("?")[2]),
        answered(by_password, "/login?next=/app"),
        answered(by_password, "/login", "POST", MINE, Origin=own(by_password)),
    )
    assert "Max-Age=604800" in answers[0][2]["Set-Cookie"].split("; ")
    for _, _, headers in answers:
        assert headers.get_all("Set-Cookie")
        for cookie in headers.get_all("Set-Cookie") or ():
            assert {"SameSite=Strict", "HttpOnly"} <= set(cookie.split("; ")), cookie


def test_a_pass_is_renewed_when_the_page_is_opened(by_token: Serving) -> None:
    environment = Path(f"/proc/{by_token.process.pid}/environ").read_text()
    (key,) = re.findall(r"SPYMASTER_COOKIE_KEY=(\w+)", environment)
    name = f"spymaster-{by_token.port}"
    for age_s, renewed in ((3_600, False), (2 * 86_400, True), (8 * 86_400, False)):
        old = Access("", cookie_key=key).pass_for(by_token.port, time.time() - age_s)
        status, _, headers = answered(by_token, "/app", Cookie=f"{name}={old}")
        assert status == (200 if age_s < 7 * 86_400 else 403)
        assert (name in cookies_of(headers)) is renewed
        if renewed:
            assert {"Max-Age=604800", "HttpOnly", "SameSite=Strict"} <= set(headers["Set-Cookie"].split("; "))
            assert answered(by_token, "/favicon.ico", Cookie=as_header(cookies_of(headers)))[0] == 200


def test_a_session_that_the_server_did_not_make_is_none(by_token: Serving) -> None:
    """A page whose id another one chose could be watched by it."""
    cookie = as_header(pass_of(by_token))
    forged = base64.urlsafe_b64encode(json.dumps({"session_id": "chosen", "session_expiry": 4_000_000_000}).encode()).decode().rstrip("=")
    for path in ("/app?bokeh-session-id=chosen", f"/app?bokeh-token={forged}"):
        assert answered(by_token, path, Cookie=cookie)[0] == 403
    assert answered(by_token, "/app", Cookie=cookie, Bokeh_Session_Id="chosen")[0] == 403
    assert answered(by_token, "/app", Cookie=cookie)[0] == 200


def test_the_sign_in_leads_nowhere_else(by_password: Serving) -> None:
    for elsewhere in ("//evil.example", "/%5Cevil.example", "http://evil.example", "/app%0d%0aX:y", "/logout"):
        status, said, headers = answered(by_password, f"/login?next={elsewhere}")
        assert status == 400
        assert "own page only" in said
        assert "Set-Cookie" not in headers
    # A program on another port of this host can put a cookie here.
    for cookie in ("//evil.example", "/\\evil.example", '"/app\\015\\012X:y"', "/logout"):
        status, _, headers = answered(by_password, "/login", "POST", MINE, Origin=own(by_password), Cookie=f"next_url={cookie}")
        assert (status, headers["Location"]) == (302, "/")
    status, _, headers = answered(by_password, "/login", "POST", MINE, Origin=own(by_password), Cookie="next_url=/app?t=10:05:00")
    assert (status, headers["Location"]) == (302, "/app?t=10:05:00")


PATIENT = """import sys
from panel.command import main
from workbench import access
access.GUESSES_S = 86_400
access.install_from_environment()
main(["panel", *sys.argv[1:]])
"""
"""The server's command line, with wrong passwords that count for a day: the test may take its time."""


def test_guesses_lock_out_only_who_guessed(empty_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANEL_BASIC_AUTH", PASSWORD)
    monkeypatch.setenv("PANEL_COOKIE_SECRET", "of this test")
    by_password = Server(empty_lake, log=tmp_path / "serve.log", code=PATIENT)

    def status(password: str, source: str) -> int:
        return answered(by_password, "/login", "POST", f"username=x&password={password}", source=source, Origin=own(by_password))[0]

    try:
        assert [status(PASSWORD, "127.0.0.4") for _ in range(15)] == [302] * 15, "right ones do not count"
        with ThreadPoolExecutor(15) as pool:
            found = list(pool.map(lambda i: status(f"guess-{i}", "127.0.0.5"), range(30)))
        assert sorted(found) == [302] * 10 + [429] * 20
        assert status(PASSWORD, "127.0.0.5") == 429, "else it could go on guessing"
        assert status(PASSWORD, "127.0.0.4") == 302
    finally:
        by_password.stop()


def raw(server: Serving | Server, text: str, timeout: float = 20) -> bytes:
    """What is answered to `text` as it stands."""
    with socket.create_connection(("127.0.0.1", server.port), timeout) as s:
        s.sendall(text.replace("\n", "\r\n").encode("latin1"))
        return s.recv(1 << 16)


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", "http://evil.example"])
def test_a_long_body_is_refused_before_it_comes(by_password: Serving, origin: str) -> None:
    head = f"POST /login HTTP/1.1\nHost: 127.0.0.1:{by_password.port}\nOrigin: {origin.format(port=by_password.port)}\n"
    # Nothing of it is sent: a server that waited for it would not answer.
    assert raw(by_password, head + "Content-Length: 50000000\n\n").startswith(b"HTTP/1.1 400")
    assert raw(by_password, head + "Transfer-Encoding: chunked\n\n2000\n" + "x" * 0x2000 + "\n").startswith(b"HTTP/1.1 400")


def test_a_stranger_does_not_fill_the_log(by_password: Serving) -> None:
    before = len(by_password.log.read_text())
    for i in range(40):
        mark = f"stranger{i}"
        for path, body in (
            (f"/login?{mark}={'x' * 3_900}", "username=%ff&=&" + "&".join(f"a{j}" for j in range(1_000))),
            (f"/login?{mark}={'x' * 20_000}", MINE),
            (f"/login?{mark}", f"{mark}=%"),
        ):
            # A refusal does not wait for the whole body: the connection may be closed before its words are read.
            with suppress(ConnectionResetError):
                answered(by_password, path, "POST", body, Origin=own(by_password), Cookie=f"user={mark}|{'x' * 2_000}")
        answered(by_password, "/login", "POST", "x" * 500, Origin=own(by_password), Content_Type=f"multipart/form-data; boundary={mark}")
        answered(by_password, "/login", "POST", "x" * 500, Origin=own(by_password), Content_Encoding=mark)
        answered(by_password, f"/app?{mark}", Cookie=f"user=2|1:0|{i}:{mark}|4:user|{'x' * 2_000}")
    said = by_password.log.read_text()[before:]
    assert "stranger" not in said, said[:2_000]
    assert len(said) < 20_000
    assert answered(by_password, "/login")[0] == 200


def test_strange_requests_are_refused_without_a_traceback(by_token: Serving) -> None:
    host = f"Host: 127.0.0.1:{by_token.port}\n"
    cookie = f"Cookie: {as_header(pass_of(by_token))}\n"
    for head, status in (
        (f"GET /app HTTP/1.1\n{host}{cookie}Origin: http://[\n", 403),
        (f"GET /app HTTP/1.1\nHost: [\n{cookie}", 403),
        (f"GET /app HTTP/1.1\nHost: \xff\n{cookie}", 400),
        (f"GET /app?token=\xff%ff HTTP/1.1\n{host}", 403),
        (f"GET /app?token=%ff HTTP/1.1\n{host}{cookie}", 200),
        (f"GET /%ff%2e%2e/app HTTP/1.1\n{host}{cookie}", 404),
        (f"GET /app HTTP/1.1\n{host}Cookie: spymaster-{by_token.port}=\xff-\xff\n", 403),
        (f"GET /app HTTP/1.1\n{host}Cookie: spymaster-{by_token.port}=\xb2-{'0' * 64}\n", 403),
        (f"GET /app HTTP/1.1\n{host}{cookie}Content-Length: 5000\n", 400),
        (f"GET /app?t=%ff&level=%c3&view=%80 HTTP/1.1\n{host}{cookie}", 200),
    ):
        found = raw(by_token, head + "\n", 60)
        assert found.startswith(f"HTTP/1.1 {status}".encode()), (head, found[:300])
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", by_token.port)) as s:
            s.sendall(f"GET /app?token=guess HTTP/1.1\r\n{host.strip()}\r\n\r\n".encode())
    assert by_token.ask("/favicon.ico")[0] == 403, "it still answers"
    log = by_token.log.read_text()
    assert "Traceback" not in log, log
    assert "guess" not in log, "a stranger could fill the disk"
    (secret,) = re.findall(r"token=([\w-]+)", by_token.addresses[0])
    assert log.count(secret) == 1, "the printed address is the one place that has it"


def test_pages_that_are_asked_for_at_once_are_capped(empty_lake: Path, tmp_path: Path) -> None:
    server = Server(empty_lake, log=tmp_path / "serve.log", code=CAPPED)  # it forgets no page meanwhile
    try:
        answers: list[bytes] = []
        asked = [socket.create_connection(("127.0.0.1", server.port), 120) for _ in range(3 * HELD)]
        text = f"GET /app HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n".encode()
        for s in asked:
            s.sendall(text[:-2])
        for s in asked:  # the server meets all of them before the first page is made
            s.sendall(text[-2:])
        for s in asked:
            answers.append(s.recv(12)[9:12])
            s.close()
        assert (answers.count(b"200"), answers.count(b"503")) == (HELD, 2 * HELD)
        assert told(server)[0] == HELD
        assert "Traceback" not in server.log.read_text()
    finally:
        server.stop()


def test_a_changed_password_ends_the_sign_ins_of_before(by_password: Serving) -> None:
    cookie = as_header(signed_in(by_password, "127.0.0.6"))  # from where no test has guessed
    assert answered(by_password, "/app", Cookie=cookie)[0] == 200
    by_password.again("--password", password=PASSWORD)
    assert answered(by_password, "/app", Cookie=cookie)[0] == 200, "the same password keeps the page"
    by_password.again("--password", password=PASSWORD + "-of-today")
    assert answered(by_password, "/app", Cookie=cookie)[0] == 302


def test_a_browser_is_known_at_the_next_start_but_an_old_address_is_not(by_token: Serving) -> None:
    old, cookie = by_token.addresses[0].partition("?")[2], as_header(pass_of(by_token))
    by_token.again()
    assert by_token.addresses[0].partition("?")[2] != old
    assert answered(by_token, "/app?" + old)[0] == 403
    assert answered(by_token, "/favicon.ico", Cookie=cookie)[0] == 200
    by_token.again("--new-secret", "--no-token")
    assert answered(by_token, "/favicon.ico")[0] == 200
    by_token.again()
    assert answered(by_token, "/favicon.ico", Cookie=cookie)[0] == 403


def test_what_the_environment_has_for_bokeh_and_panel_is_not_taken(open_server: Serving) -> None:
    status, page, _ = answered(open_server, "/app")
    assert status == 200
    assert re.findall(r"(?:src|href)=[\"']?(?:https?:)?//[^\"' >]+", page) == []
    environment = Path(f"/proc/{open_server.process.pid}/environ").read_text().split("\0")
    families = {e.partition("=")[0] for e in environment if e.startswith(("BOKEH_", "PANEL_"))}
    assert families == {"BOKEH_SIGN_SESSIONS", "BOKEH_SECRET_KEY"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--port 70000: expected a number from 1 to 65535"),
        (("--address", ""), "expected an address such as 127.0.0.1"),
        (("--address", "0"), "expected an address such as 127.0.0.1"),
        (("--address", "fe80::1%eth0"), "no address with a zone"),
        (("--address", "192.0.2.9", "--no-password"), "no server can listen there"),
        (("--host", "https://desk.example"), "a name without https:// and /"),
        (("--host", "desk.example/app"), "a name without https:// and /"),
    ],
    ids=lambda v: " ".join(v) or "port" if isinstance(v, tuple) else "",
)
def test_where_no_server_can_listen_or_answer_nothing_else_is_printed(
    empty_lake: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    server = Serving(empty_lake, tmp_path, *options, port=0 if options else 70_000)
    assert server.process.wait(120) == 1
    found = server.log.read_text()
    assert said in found
    assert found.startswith("SessionError: ")
    assert len(found.splitlines()) == 1


def test_a_port_that_is_taken_is_a_sentence_and_no_address(empty_lake: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = Serving(empty_lake, tmp_path, port=other.getsockname()[1])
        assert server.process.wait(60) == 1
    assert "no server can listen there: Address already in use" in server.log.read_text()
    assert server.addresses == []


def test_without_a_token_the_rest_of_the_guard_stands(open_server: Serving) -> None:
    assert "token" not in open_server.log.read_text()
    assert not (open_server.home / "spymaster").exists(), "no key is needed"
    assert answered(open_server, "/app")[0] == 200
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "x" * 22 + "=="}
    assert answered(open_server, "/app/ws", **upgrade)[0] == 403
    assert answered(open_server, "/app/ws", Origin="http://evil.example", **upgrade)[0] == 403
    for headers in ({"Host": "evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://evil.example"}):
        assert answered(open_server, "/app", **headers)[0] == 403
    assert answered(open_server, "/components/venv.__main__/a/b/c")[0] == 404


ROUTES = """import json, signal, sys
from bokeh.server.tornado import BokehTornado
from panel.command import main
from workbench import access
access.install_from_environment()
start = BokehTornado.start
def listed(self):
    start(self)
    print("ROUTES", json.dumps(sorted(r.matcher.regex.pattern for r in self.wildcard_router.rules)), flush=True)
BokehTornado.start = listed
main(["panel", *sys.argv[1:]])
"""


def test_the_routes_of_the_running_server(empty_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A route that a new version of Panel or Bokeh adds fails here; what answers is asked for, one by one."""
    monkeypatch.setenv("PANEL_BASIC_AUTH", PASSWORD)
    monkeypatch.setenv("PANEL_COOKIE_SECRET", "of this test")
    server = Server(empty_lake, log=tmp_path / "serve.log", code=ROUTES)
    examples = {
        r"/app/?$": ("/app", 302), r"/app/ws$": ("/app/ws", 404), r"/app/metadata$": ("/app/metadata", 404),
        r"/app/autoload.js$": ("/app/autoload.js", 404), r"/app/static/(.*)$": ("/app/static/js/bokeh.min.js", 404),
        r"/favicon.ico$": ("/favicon.ico", 200), r"/static/extensions/(.*)$": ("/static/extensions/panel/panel.min.js", 200),
        r"/static/(.*)$": ("/static/js/bokeh.min.js", 200), r"/?$": ("/", 302), r"/components/(.*)$": ("/components/a/b/c", 404),
        r"/login$": ("/login", 200), r"/logout$": ("/logout", 404),
    }  # fmt: skip
    try:
        (line,) = [line for line in server.log.read_text().splitlines() if line.startswith("ROUTES")]
        assert set(json.loads(line.partition(" ")[2])) == set(examples)
        for path, status in examples.values():
            assert raw(server, f"GET {path} HTTP/1.1\nHost: 127.0.0.1:{server.port}\n\n").startswith(f"HTTP/1.1 {status}".encode()), path
    finally:
        server.stop()


RECORD = """#!{python}
import pathlib, stat, sys, urllib.parse
path = pathlib.Path(urllib.parse.urlsplit(sys.argv[1]).path)
modes = [oct(stat.S_IMODE(p.stat().st_mode)) for p in (path, path.parent)] if path.is_file() else []
pathlib.Path({out!r}).write_text(repr((sys.argv[1:], modes, path.read_text() if modes else "")))
"""


def recording(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the browser that ``--show`` starts from now on writes its command line and the file that it was given."""
    out, browser = folder / "opened", folder / "browser"
    browser.write_text(RECORD.format(python=sys.executable, out=str(out)))
    browser.chmod(0o700)
    (folder / "tmp").mkdir()
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    return out


def opened(out: Path) -> tuple[list[str], list[str], str]:
    for _ in range(600):
        if out.exists() and out.read_text():
            return eval(out.read_text())
        time.sleep(0.1)
    raise AssertionError("no browser was started")


def test_show_hands_the_secret_to_no_command_line(
    browser: Browser, made_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = recording(tmp_path, monkeypatch)
    with serving(made_lake, tmp_path, "--show", "--query", "level=pm_high&t=10:05:00") as server:
        argv, modes, text = opened(out)
        (secret,) = re.findall(r"token=([\w-]+)", server.addresses[0])
        assert secret in text
        assert argv[0].startswith("file://")
        assert "If no browser shows the page" in server.log.read_text()
        assert secret not in argv[0]
        assert modes == ["0o600", "0o700"]
        for pid in (p for p in Path("/proc").iterdir() if p.name.isdigit()):
            try:
                assert secret not in (pid / "cmdline").read_text(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
        page = browser.new_context().new_page()
        page.goto(argv[0])
        page.locator(".sm-say").wait_for(timeout=60_000)
        until(page, lambda p: (query(p).get("level"), query(p).get("token")), ("pm_high", None), 30_000)
        page.context.close()
        server.process.terminate()
        server.process.wait(30)
        assert list((tmp_path / "tmp").glob("spymaster-*")) == [], "it ends with the server"


def test_show_opens_nothing_where_another_program_has_the_port(empty_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = recording(tmp_path, monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = Serving(empty_lake, tmp_path, "--show", port=other.getsockname()[1])
        assert server.process.wait(60) != 0
        time.sleep(1.5)  # a helper that looks for an answer on the port would have found one by now
        assert not out.exists()
        other.settimeout(0.1)
        with pytest.raises(TimeoutError):
            other.accept()


def test_a_password_that_nobody_can_type_in_is_a_sentence(empty_lake: Path, tmp_path: Path) -> None:
    for password, said in (("short", "at least 8"), ("x" * 201, "at most 200"), ("ends with a space ", "no space at either end")):
        assert said in refused(empty_lake, tmp_path, "--password", password=password)
    command = [sys.executable, "-m", "engine.cli", "serve", "--lake", str(empty_lake), "--password"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SPYMASTER_")} | {"NO_COLOR": "1", "TERM": "dumb"}
    closed = subprocess.run(["sh", "-c", '"$@" <&-', "sh", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert closed.returncode == 1
    # At a terminal, with Ctrl-D.
    child, terminal = pty.fork()
    if not child:
        os.chdir(ROOT)
        os.execve(sys.executable, command, environment)
    said = b""
    while b"Password for the screen" not in said:
        said += os.read(terminal, 4096)
    os.write(terminal, b"\x04")
    try:
        while more := os.read(terminal, 4096):
            said += more
    except OSError:
        pass  # the terminal is gone with its last program
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    os.close(terminal)
    for text in (closed.stdout + closed.stderr, said.decode()):
        assert "SPYMASTER_PASSWORD" in text
        assert "Traceback" not in text


def test_a_server_that_listens_and_says_nothing_does_not_hold_the_page(browser: Browser, by_token: Serving) -> None:
    context = browser.new_context()
    held: list[socket.socket] = []
    try:
        page = context.new_page()
        page.goto(f"{by_token.addresses[0]}&t=10:05:00")
        page.locator(".sm-card").wait_for(timeout=60_000)
        page.evaluate("() => { window.before = true; }")
        by_token.kill()
        with socket.create_server(("127.0.0.1", by_token.port)) as mute:
            page.get_by_role("alert").filter(has_text="connection to the server is lost").wait_for(timeout=30_000)
            mute.settimeout(1)
            until_s = time.monotonic() + 8
            while time.monotonic() < until_s:
                try:
                    held.append(mute.accept()[0])
                except TimeoutError:
                    page.wait_for_timeout(100)
        assert held, "the page asks whether the server is back"
        asked: list[str] = []

        class Another(http.server.BaseHTTPRequestHandler):
            """Another program on the port, which answers whatever is asked."""

            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """A quiet server."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", by_token.port), Another) as another:
            threading.Thread(target=another.serve_forever, daemon=True).start()
            for _ in range(600):
                if len(asked) >= 3:
                    break
                page.wait_for_timeout(100)
            another.shutdown()
        assert set(asked) == {"/favicon.ico"}, "another program gets no page"
        assert len(asked) >= 3
        assert page.evaluate("() => window.before")
        by_token.again()
        page.wait_for_function("() => window.before === undefined", timeout=60_000)
    finally:
        for s in held:
            s.close()
        context.close()
