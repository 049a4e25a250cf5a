"""What another page in the trader's browser, a name that was rebound, and a stranger without the secret can do: nothing."""

from __future__ import annotations

import http.client
import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.ui.conftest import CHROMIUM_ARGS, Server, chromium
from workbench.access import MOST_WAITING, Access

SECRET = "the-secret-of-this-start"

COUNTING = (
    "import gc, signal, sys\n"
    "from bokeh.server.tornado import BokehTornado\n"
    "from panel.command import main\n"
    "from workbench import access\n"
    "access.install_from_environment()\n"
    "def tell(*_):\n"
    "    sessions = [s for t in gc.get_objects() if isinstance(t, BokehTornado) for s in t.get_sessions('/app')]\n"
    "    print('SESSIONS', len(sessions), 'VENV', 'venv.__main__' in sys.modules, flush=True)\n"
    "signal.signal(signal.SIGUSR1, tell)\n"
    # Long enough that none is forgotten while the test counts them.
    "main(['panel', *sys.argv[1:], '--unused-session-lifetime', '600000'])\n"
)
"""The server's command line, with a signal that asks how many pages it made."""

HELD = 3
"""Most pages that wait for a connection in the tests that ask for too many: each takes half a second to make."""

CAPPED = COUNTING.replace("access.install", f"access.MOST_WAITING = {HELD}\naccess.install")


def told(server: Server) -> tuple[int, bool]:
    """How many pages the server holds, and whether it imported the module that a foreign page named."""
    _, sessions, _, imported = server.tells("SESSIONS").split()
    return int(sessions), imported == "True"


@pytest.fixture(scope="module")
def guarded(made_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(made_lake, log=tmp_path_factory.mktemp("guarded") / "serve.log", code=COUNTING, token=SECRET)
    yield server
    server.stop()


ATTACKS = """<!doctype html><title>foreign</title><body><script>
const base = 'BASE', done = {};
const wait = (name, promise) => promise.then((v) => done[name] = v, () => done[name] = 'refused');
const image = (path) => new Promise((ok, no) => {
  const i = new Image(); i.onload = () => ok('loaded'); i.onerror = no; i.src = base + path; });
wait('image', image('/components/venv.__main__/a/b/c'));
wait('image of the page', image('/app'));
wait('script', new Promise((ok, no) => { const s = document.createElement('script'); s.onload = () => ok('loaded'); s.onerror = no;
  s.src = base + '/app/autoload.js?bokeh-autoload-element=x'; document.body.append(s); }));
wait('fetch', fetch(base + '/app', {credentials: 'include'}).then((r) => r.text()));
wait('fetch without cors', fetch(base + '/app', {credentials: 'include', mode: 'no-cors'}).then(() => 'sent'));
wait('post', fetch(base + '/app', {method: 'POST', credentials: 'include', mode: 'no-cors', body: 'x'}).then(() => 'sent'));
wait('websocket', new Promise((ok, no) => { const w = new WebSocket(base.replace('http', 'ws') + '/app/ws', ['bokeh', 'x']);
  w.onopen = () => ok('open'); w.onerror = no; }));
const frame = document.createElement('iframe'); frame.name = 'frame'; frame.src = base + '/app'; document.body.append(frame);
const inner = document.createElement('iframe'); inner.name = 'target'; document.body.append(inner);
const form = document.createElement('form'); form.action = base + '/app'; form.target = 'target'; document.body.append(form); form.submit();
window.results = done;
</script>"""


@pytest.fixture(scope="module")
def foreign(guarded: Server) -> Iterator[str]:
    """Another server on loopback, whose page tries what a page can try."""
    page = ATTACKS.replace("BASE", f"http://127.0.0.1:{guarded.port}").encode()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """A quiet server."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_foreign_page_reaches_nothing(browser: Browser, guarded: Server, foreign: str, name: str):
    """Neither from another site (localhost to 127.0.0.1) nor from another port of the same site, with the trader's cookie there."""
    context = browser.new_context()
    own = context.new_page()
    own.goto(f"{guarded.url}?token={SECRET}&level=pm_high")
    own.locator(".sm-say").wait_for(timeout=60_000)
    assert own.url.startswith(f"{guarded.url}?"), own.url
    assert SECRET not in own.url
    assert [(c["name"], c["httpOnly"], c["sameSite"]) for c in context.cookies()] == [(f"spymaster-{guarded.port}", True, "Strict")]
    before = told(guarded)
    page = context.new_page()
    page.goto(foreign.replace("127.0.0.1", name))
    page.wait_for_function("() => Object.keys(window.results).length === 7", timeout=30_000)
    page.wait_for_timeout(500)
    results = page.evaluate("window.results")
    # Without cors a request may be sent; its answer, a refusal, is opaque.
    assert {k: v for k, v in results.items() if v not in ("refused", "sent")} == {}
    shown = [f.evaluate("document.body ? document.body.innerText : ''") for f in page.frames[1:]]
    assert not [text for text in shown if "PM High" in text or "spymaster" in text.lower()], shown
    assert told(guarded) == before
    assert before[1] is False
    # A link from there leads to a sentence with a link, which the trader may follow.
    page.evaluate(f"location.href = '{guarded.url}'")
    page.get_by_text("another site's page led here").wait_for()
    assert told(guarded) == before
    page.get_by_role("link", name="Open spymaster").click()
    page.locator(".sm-say").wait_for(timeout=60_000)
    context.close()


def test_a_name_that_was_rebound_reads_nothing(browser: Browser, guarded: Server):
    args = [*CHROMIUM_ARGS, "--host-resolver-rules=MAP rebound.test 127.0.0.1", "--no-proxy-server"]
    rebound = browser.browser_type.launch(executable_path=chromium(), args=args)
    before = told(guarded)
    page = rebound.new_page()
    page.goto(f"http://rebound.test:{guarded.port}/app?token={SECRET}")
    assert "is not this server" in page.inner_text("body")
    opened = page.evaluate(
        "() => new Promise((ok) => { const w = new WebSocket(`ws://${location.host}/app/ws`, ['bokeh', 'x']);"
        " w.onopen = () => ok('open'); w.onerror = () => ok('refused'); })"
    )
    assert opened == "refused"
    # Pages of the tests before may have ended meanwhile.
    assert told(guarded) <= before
    rebound.close()


def answer(server: Server, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], str]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode()


def test_without_the_secret_no_page_is_made(guarded: Server):
    before = told(guarded)
    for i in range(40):
        status, _, body = answer(guarded, "/app" if i % 2 else f"/app?token=guess{i}")
        assert status == 403
        assert "secret of this start" in body
        assert SECRET not in body
    assert told(guarded) == before


def test_every_answer_forbids_frames_and_other_sites(guarded: Server):
    cookie = {"Cookie": f"spymaster-{guarded.port}={Access(SECRET).pass_for(guarded.port, time.time())}"}
    for path, status in (("/app", 200), ("/static/js/bokeh.min.js", 200), ("/nothing", 404), (f"/app?token={SECRET}", 200)):
        found, headers, _ = answer(guarded, path, cookie)
        assert found == status, path
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert not [h for h in headers if h.startswith("access-control-")]
        assert "http" not in headers["content-security-policy"], "no foreign host is allowed"


def test_pages_that_never_connect_are_capped(empty_lake: Path, tmp_path: Path):
    server = Server(empty_lake, log=tmp_path / "serve.log", code=CAPPED)
    try:
        # On a busy machine Bokeh's sweep forgets a few meanwhile; then so many more are answered, and no more are held.
        found: list[int] = []
        while 503 not in found and len(found) < 100:
            found.append(answer(server, "/app")[0])
        assert found[:HELD] == [200] * HELD
        assert found[-1] == 503
        assert set(found[HELD:-1]) <= {200}
        assert told(server)[0] <= HELD < MOST_WAITING == 20
    finally:
        server.stop()


def test_an_address_with_a_secret_is_printed_and_works(browser: Browser, made_lake: Path, tmp_path: Path):
    """The very command, from the address it prints to the page."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = tmp_path / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.cli", "serve", "--lake", str(made_lake), "--port", str(port), "--query", "level=or_high"],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(240):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                threading.Event().wait(0.25)
        url = next(line for line in log.read_text().splitlines() if line.startswith("http://"))
        assert f":{port}/app?token=" in url
        assert url.endswith("&level=or_high")
        page = browser.new_context().new_page()
        page.goto(url)
        page.locator(".sm-say").wait_for(timeout=60_000)
        assert "token" not in page.url
        assert "OR High" in page.locator(".sm-say").inner_text()
        page.reload()
        page.locator(".sm-say").wait_for(timeout=60_000)
        page.context.close()
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
