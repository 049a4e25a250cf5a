"""Sharing on purpose: a password, TLS, a server that comes back; by the real command and a real browser."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support import forked
from tests.ui.conftest import DATE, ROOT
from tests.ui.pages import query, until, until_changed

PASSWORD = "a-long-password"


COMMAND = "from engine.cli import main; main()"
"""``spymaster``, whose libraries are there; the server that it becomes is a program of its own."""


class Serving:
    """``spymaster serve`` as a user starts it, on a free port (or `port`), with a home of its own."""

    def __init__(self, lake: Path, home: Path, *options: str, port: int = 0, password: str | None = None) -> None:
        if not port:
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                port = s.getsockname()[1]
        self.lake, self.home, self.port = lake, home, port
        self._start(options, password)

    def _start(self, options: tuple[str, ...], password: str | None) -> None:
        self.log, self.asked = self.home / f"serve-{time.monotonic_ns()}.log", (options, password)
        env = {k: v for k, v in os.environ.items() if not k.startswith("SPYMASTER_")}
        env |= {"XDG_STATE_HOME": str(self.home), "NO_COLOR": "1", "PYTHONHASHSEED": "0"} | (
            {"SPYMASTER_PASSWORD": password} if password else {}
        )
        arguments = ["serve", "--lake", str(self.lake), "--port", str(self.port), *options]
        self.process = forked.started(arguments, COMMAND, ROOT, env, self.log, forked=True)

    def again(self, *options: str, password: str | None = None) -> Serving:
        """Itself, ended and started again: on the same port, in the same home."""
        self.kill()
        self._start(options, password)
        return self.ready()

    def like(self, *options: str, password: str | None = None) -> Serving:
        """Itself, started again only where a test ended it or left it with something else."""
        same = self.process.poll() is None and self.asked == (options, password)
        return self if same else self.again(*options, password=password)

    def ready(self) -> Serving:
        """Itself, once it answers."""
        for _ in range(1_800):
            assert self.process.poll() is None, self.log.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return self
        raise AssertionError(f"it does not answer: {self.log.read_text()}")

    @property
    def addresses(self) -> list[str]:
        """Addresses that it printed."""
        return re.findall(r"^https?://\S+", self.log.read_text(), re.M)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers of an answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace"), {k.lower(): v for k, v in answer.getheaders()}


@contextmanager
def serving(lake: Path, home: Path, *options: str, port: int = 0, password: str | None = None) -> Iterator[Serving]:
    server = Serving(lake, home, *options, port=port, password=password)
    try:
        yield server.ready()
    finally:
        server.kill()


def refused(lake: Path, home: Path, *options: str, password: str | None = None) -> str:
    """What is said by a command that does not serve."""
    server = Serving(lake, home, *options, password=password)
    assert server.process.wait(60) == 1
    return server.log.read_text()


def test_a_bind_beyond_loopback_needs_a_password_or_the_flag(empty_lake: Path, tmp_path: Path) -> None:
    assert "it needs a password: add --password" in refused(empty_lake, tmp_path, "--address", "0.0.0.0")
    assert "SPYMASTER_PASSWORD" in refused(empty_lake, tmp_path, "--address", "0.0.0.0", "--password")
    assert "at most 200, found 3" in refused(empty_lake, tmp_path, "--address", "0.0.0.0", "--password", password="abc")
    with serving(empty_lake, tmp_path, "--address", "0.0.0.0", "--no-password") as server:
        said = server.log.read_text()
        assert "Shared: everyone on any network of this machine who has this address can see" in said
        assert "Not encrypted: whoever can read that network can read the secret and the screen." in said
        assert all("0.0.0.0" not in a and "127.0.0.1" not in a and "token=" in a for a in server.addresses)
        # The names that it printed are names that it answers to.
        for address in server.addresses:
            host = address.split("/")[2]
            if not host.replace(":", ".").replace(".", "").isdigit():
                assert server.ask("/app", Host=host)[0] == 403
                assert "does not have the secret" in server.ask("/app", Host=host)[1]
        assert "is not this server" in server.ask("/app", Host=f"elsewhere.example:{server.port}")[1]


def test_a_password_is_asked_for_once_and_guards_everything(browser: Browser, made_lake: Path, tmp_path: Path) -> None:
    with serving(made_lake, tmp_path, "--password", password=PASSWORD) as server:
        assert "token=" not in server.addresses[0]
        own = f"http://127.0.0.1:{server.port}"
        status, _, headers = server.ask("/app")
        assert (status, headers["location"].split("?")[0]) == (302, "./login")
        assert server.ask("/login", "POST", "username=x&password=y")[0] == 403, "a form of another page"
        assert server.ask("/login", "POST", "username=x&password=y", Origin="http://evil.example")[0] == 403
        assert server.ask("/app", "POST", "x", Origin=own)[0] == 405
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "x" * 22 + "=="}
        assert server.ask("/app/ws", Origin=own, **upgrade)[0] in (302, 403)
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{server.addresses[0]}?t=10:05:00&level=pm_high")
        page.get_by_label("Password").fill("not-the-password")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").filter(has_text="not the password").wait_for()
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.locator(".sm-say").wait_for(timeout=60_000)
        until(page, lambda p: query(p).get("t"), "10:05:00", 30_000)
        cookies = {c["name"]: c for c in context.cookies()}
        assert cookies["user"]["httpOnly"]
        assert PASSWORD not in page.content()
        assert cookies["user"]["value"] not in page.content(), "scripts of the page could read the sign-in"
        context.close()
        form = {"Origin": own, "Content-Type": "application/x-www-form-urlencoded"}
        # Ten within a minute, however long the browser took for its own.
        assert any(server.ask("/login", "POST", "username=x&password=y", **form)[0] == 429 for _ in range(200))
        assert stat.S_IMODE((tmp_path / "spymaster" / "key").stat().st_mode) == 0o600


def test_tls(empty_lake: Path, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True,
    )  # fmt: skip
    assert "expected both or none" in refused(empty_lake, tmp_path, "--cert", str(cert))
    assert "PEM files" in refused(empty_lake, tmp_path, "--cert", str(key), "--key", str(cert))
    with serving(empty_lake, tmp_path, "--cert", str(cert), "--key", str(key)) as server:
        address = server.addresses[0]
        assert address.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=cert)
        with closing(http.client.HTTPSConnection("127.0.0.1", server.port, context=trusted, timeout=30)) as connection:
            connection.request("GET", "/app?" + address.partition("?")[2])
            answer = connection.getresponse()
            assert answer.status == 200
            cookie = answer.getheader("Set-Cookie") or ""
            assert "Secure" in cookie
            assert "HttpOnly" in cookie
        with pytest.raises((http.client.HTTPException, OSError)):
            server.ask("/app")


class Wire:
    """A port of loopback that hands bytes to another one and back, and can be cut."""

    def __init__(self, target: int) -> None:
        self.target, self.cut = target, False
        self.ends: list[socket.socket] = []
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port = self.door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.door.accept()
            except OSError:
                return
            if self.cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.target))
            self.ends += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(a, b), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def break_all(self) -> None:
        """Cut it, and let nothing through until `cut` is false again."""
        self.cut = True
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    made = Wire(port)
    yield made
    made.door.close()


@pytest.fixture(scope="module")
def behind(wire: Wire, made_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that is reached directly and by the wire."""
    with serving(made_lake, tmp_path_factory.mktemp("behind"), "--host", f"127.0.0.1:{wire.port}", port=wire.target) as server:
        yield server


def test_where_only_the_connection_broke_the_page_goes_on_where_it_was(browser: Browser, wire: Wire, behind: Serving) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(behind.addresses[0].replace(f":{wire.target}", f":{wire.port}") + "&t=10:05:00")
    page.locator(".sm-say").wait_for(timeout=60_000)
    until(page, lambda p: query(p).get("t"), "10:05:00", 30_000)
    page.keyboard.press("ArrowRight")
    until_changed(page, lambda p: query(p).get("t"), "10:05:00", 30_000)
    page.wait_for_timeout(1_000)
    asked = query(page)
    page.evaluate("() => { window.before = true; }")
    lost = page.get_by_role("alert").filter(has_text="connection to the server is lost")
    wire.break_all()
    lost.wait_for(timeout=30_000)
    page.wait_for_timeout(2_000)
    wire.cut = False
    page.wait_for_function("() => window.before === undefined", timeout=60_000)
    page.locator(".sm-say").wait_for(timeout=60_000)
    until(page, query, asked, 30_000)
    page.keyboard.press("ArrowRight")
    until_changed(page, lambda p: query(p).get("t"), asked["t"], 30_000)
    context.close()


def test_a_server_that_was_killed_and_started_again_keeps_the_page(browser: Browser, behind: Serving) -> None:
    context = browser.new_context()
    try:
        first = behind.addresses[0]
        page = context.new_page()
        page.goto(f"{first}&t=10:05:00&level=pm_low&window=10&session={DATE}")
        page.locator(".sm-say").wait_for(timeout=60_000)
        until(page, lambda p: (query(p).get("level"), query(p).get("token")), ("pm_low", None), 30_000)
        page.keyboard.press("ArrowRight")
        until_changed(page, lambda p: query(p).get("t"), "10:05:00", 30_000)
        page.wait_for_timeout(1_000)
        asked = query(page)
        page.evaluate("() => { window.before = true; }")
        behind.kill()
        page.get_by_role("alert").filter(has_text="goes on here as soon as the server is back").wait_for(timeout=30_000)
        behind.again()
        assert behind.addresses[0] != first, "each start has a secret of its own; the browser keeps a pass"
        page.wait_for_function("() => window.before === undefined", timeout=60_000)
        page.locator(".sm-say").wait_for(timeout=60_000)
        until(page, query, asked, 30_000)
        # With new secrets the old page says what to do.
        behind.again("--new-secret")
        page.get_by_role("alert").filter(has_text="open the address that it printed").wait_for(timeout=60_000)
    finally:
        context.close()
