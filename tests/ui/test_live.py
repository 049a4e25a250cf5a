"""The page that follows a session under way, in a real browser: what it shows at an instant is what the pipeline has of that instant."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from engine.lake.store import Lake
from engine.live.alerts import alert_file, kept
from engine.live.day import LiveDay
from engine.live.journal import Journal, Recorder
from engine.sessions import NEW_YORK
from engine.vocab import NS
from tests.support.built import copy_of_built
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.support.lakes import ESZ5, MONDAY, TUESDAY, command, day_file, day_records, make_bronze, spymaster
from tests.ui.conftest import Server
from tests.ui.pages import opened, query, sentence, until

STARTS = utc_ns(TUESDAY, 14, 30)
"""09:30 New York: what came before was recorded in one go."""

SPEED = 30


def morning() -> np.ndarray:
    return busy_day(60_000, 7, date=TUESDAY, symbols=ESZ5, snapshot_orders=400, end_ns=utc_ns(TUESDAY, 17, 35))


def make_evening(folder: Path) -> None:
    """``lake`` with Monday's bronze and the recording of Monday and of Tuesday to 09:30, and Tuesday's file beside it."""
    lake = Lake(folder / "lake")
    day_file(lake.raw_folder("ES"), MONDAY)
    assert make_bronze(lake, MONDAY).status == "made"
    records = morning()
    write_dbn(folder / "tuesday.mbo.dbn.zst", records, symbols=ESZ5, start=utc_ns(TUESDAY), end=utc_ns(TUESDAY) + DAY_NS)
    recorder = Recorder(folder / "lake", "ES", feed="replayed")
    recorder.start()
    recorder.resume()
    monday = day_records(MONDAY)
    recorder.take(monday[:1].tobytes())
    recorder.say("mapping", symbols={str(i): s for i, s in ESZ5.items()})
    recorder.take(monday[1:].tobytes())
    recorder.take(records[records["ts_recv"] < STARTS].tobytes())
    recorder.close("the evening's end")
    # Kernels that are not compiled yet would keep the server from answering for a minute.
    LiveDay(lake, Journal(folder / "lake", "ES"), "ESZ5", TUESDAY).poll()


@dataclass
class Playing:
    """A recorder that plays Tuesday's file, and the server over its lake."""

    folder: Path
    recorder: subprocess.Popen[bytes]
    server: Server

    def start(self) -> None:
        words = ("live", "--from", self.folder / "tuesday.mbo.dbn.zst", "--speed", SPEED, "--lake", self.folder / "lake")
        with (self.folder / "recorder.log").open("ab") as log:
            self.recorder = subprocess.Popen(command(*words), stdout=log, stderr=log)

    def stop(self, number: int = signal.SIGINT) -> None:
        self.recorder.send_signal(number)
        self.recorder.wait(20)

    def serve(self, port: int | None = None) -> None:
        self.server = Server(self.folder / "lake", log=self.folder / "serve.log", port=port)

    def newest(self) -> str:
        """The clock, in New York, of the newest record."""
        last_ns = Journal(self.folder / "lake", "ES").status()["last_ns"]
        return f"{dt.datetime.fromtimestamp(last_ns // NS, NEW_YORK):%H:%M:%S}"


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playing]:
    folder = copy_of_built("live-evening-0930", make_evening, tmp_path_factory.mktemp("live"))
    made = Playing(folder, None, None)  # type: ignore[arg-type]
    made.start()
    try:
        made.serve()
        yield made
        made.server.stop()
    finally:
        if made.recorder.poll() is None:
            made.stop(signal.SIGKILL)


PICTURE = """() => {
  const models = Bokeh.documents.flatMap((d) => [...d._all_models.values()]);
  const plain = (v) => v === undefined || v === null ? null : v.shape || ArrayBuffer.isView(v) ? Array.from(v, plain) :
    Array.isArray(v) ? v.map(plain) : Number.isNaN(v) ? null : typeof v === "number" ? Math.fround(v) : v;
  const of = (name) => models.find((m) => m.type === "Figure" && m.name === name).renderers.map((r) =>
    [r.glyph.type, Object.fromEntries([...Object.entries(r.data_source.data)].map(([k, v]) => [k, plain(v)]))]);
  return JSON.stringify({chart: of("level_chart"), ladder: of("ladder"), conditions: of("conditions")});
}"""
"""Every source of the three figures."""

WORDS = """() => {
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  const found = all(document);
  const text = (cls) => found.filter((e) => e.classList?.contains(cls)).map((e) => e.innerText);
  return {say: text("sm-say"), when: text("sm-when"), chips: found.filter((e) => e.classList?.contains("chips")).map((e) => e.innerText)};
}"""


def shown(page: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a page that stands shows: the figures' sources, and the words around them."""
    figures = json.loads(page.evaluate(PICTURE))
    for _, source in figures["chart"]:
        if "edge" in source:
            del source["y"], source["tick"]  # names keep a distance that is the page's, not the market's
    return figures, page.evaluate(WORDS)


def badge(page: Any) -> str:
    return page.locator(".live .badge").inner_text()


def clock(page: Any) -> str:
    return page.locator(".transport time").inner_text()


@pytest.mark.long
def test_a_page_that_follows_outlives_its_recorder(playing: Playing, browser: Browser) -> None:
    with opened(browser, playing.server.url + "?level=pm_high&span=20") as (page, watch):
        until(page, lambda p: "REPLAYED LIVE" in badge(p), True)
        playing.stop(signal.SIGKILL)
        until(page, lambda p: p.locator(".live .badge").get_attribute("data-word"), "stopped")
        stood = clock(page)
        playing.start()
        until(page, lambda p: clock(p) > stood, True)
        until(page, lambda p: p.locator(".live .badge").get_attribute("data-word"), "live")
        assert clock(page) > stood
        assert not Journal(playing.folder / "lake", "ES").gaps(TUESDAY)
        assert not watch.errors


def kill_the_server(playing: Playing, page: Any) -> None:
    """Kill the page's server, start it again, and wait until the page follows again, by itself."""
    first = clock(page)
    page.evaluate("() => { window.before = true; }")
    playing.server.process.kill()
    playing.server.process.wait()
    page.get_by_role("alert").filter(has_text="goes on here as soon as the server is back").wait_for(timeout=15_000)
    playing.serve(playing.server.port)
    back = playing.newest()
    page.wait_for_function("() => window.before === undefined", timeout=30_000)
    page.locator(".live .badge").wait_for()
    # What was recorded without a server is there, too.
    until(page, lambda p: clock(p) > max(first, back), True)
    assert not page.locator(".live .back").is_visible()


def test_what_a_page_that_follows_shows_is_what_the_pipeline_has(playing: Playing, browser: Browser, tmp_path: Path) -> None:
    with opened(browser, playing.server.url + "?level=pm_high&span=20") as (page, watch):
        page.locator(".live .badge").wait_for()
        assert "REPLAYED" in badge(page)
        first = clock(page)
        page.wait_for_timeout(1500)
        assert clock(page) > first, "it goes on by itself"
        assert "t" not in query(page), "a link to what is followed names no time"
        assert not watch.errors
        kill_the_server(playing, page)
        watch.errors.clear()  # the browser's own, of a server that did not answer
        assert (query(page).get("level"), query(page).get("t")) == ("pm_high", None)
        # Alerts: told beside the badge, kept beside the journal, each leads to its moment.
        bell = page.locator(".live .bell")
        bell.filter(has_text="alerts").wait_for(timeout=60_000)
        bell.click()
        item = page.locator(".live .items button").filter(has_not_text="feed:").last  # of a feed that is late the moment is still to come
        item.wait_for()
        alert = item.inner_text()
        item.click()
        until(page, clock, alert[:8])
        assert alert[9:] in [a.text for a in kept(playing.folder / "lake" / "live" / "ES" / TUESDAY.isoformat() / alert_file("ESZ5"))]
        bell.click()
        page.locator(".sm-say").click()  # a space on a button would press that
        page.keyboard.press("g")
        page.locator(".live .back").wait_for(state="hidden")  # only then it follows: the alert's moment may be a late one
        until(page, lambda p: clock(p) >= "09:31:30", True)
        # Nothing of what was not recorded yet is in the browser.
        page.keyboard.press("Space")
        page.locator(".transport .play", has_text="Play").wait_for()
        until(page, lambda p: query(p).get("t") == clock(p), True)
        at, said = clock(page), sentence(page)
        page.locator(".live .back").wait_for()
        assert "behind, go live" in page.locator(".live .back").inner_text()
        page.wait_for_timeout(500)
        assert clock(page) == at
        # Scrubbed back, it is Replay of what was recorded; g goes on with the newest second.
        page.keyboard.press("ArrowLeft")
        until(page, lambda p: clock(p) < at, True)
        page.keyboard.press("g")
        until(page, lambda p: clock(p) > at, True)
        assert not page.locator(".live .back").is_visible()
        where = {**query(page), "t": at}
        assert not watch.errors
    address = "?" + "&".join(f"{k}={v}" for k, v in where.items())
    with opened(browser, playing.server.url + address) as (following, _):
        until(following, clock, at)
        playing.stop()
        # The same day through the pipeline, from the files that were sealed.
        sealed = tmp_path / "lake"
        shutil.copytree(playing.folder / "lake", sealed)
        spymaster("live", "seal", "--lake", sealed)
        spymaster("run", "--lake", sealed, "--layer", "silver", "--symbol", "ESZ5", "--dates", TUESDAY, "--session", "rth")
        server = Server(sealed, log=tmp_path / "serve.log")
        try:
            with opened(browser, server.url + address) as (page, _):
                until(page, clock, at)
                assert sentence(page) == said
                # What a figure has room for is drawn once the browser has said how large it is: neither page moves any more, and both
                # come to the same.
                for _ in range(60):
                    live, made = shown(following), shown(page)
                    if live == made:
                        break
                    page.wait_for_timeout(500)
                assert not page.locator(".live .badge").is_visible()
        finally:
            server.stop()
    assert live[1] == made[1]
    image = np.array([v for v in next(s for kind, s in made[0]["chart"] if kind == "Image")["image"][0] if v])
    assert np.unique(image).size > 20, "there is something to compare"
    for name in ("chart", "ladder", "conditions"):
        for a, b in zip(live[0][name], made[0][name], strict=True):
            assert a == b, f"{name}: {a[0]}"
