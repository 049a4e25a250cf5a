"""The clock of the Level view in a real browser: it stands, plays and jumps; nothing that was received depends on what comes later."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.support.lakes import spymaster
from tests.ui.conftest import DATE, Server
from tests.ui.pages import Watch, new_page, query, until
from workbench.state import clock_text

DAY = "view=replay&session=2025-11-04&contract=ESZ5"
CUT_NS = utc_ns(DATE, 14, 52)  # 09:52:00 New York
STEPS = 6
PLAYED = ("09:51:40", "09:51:44")
"""From where the replay plays to where it is paused, at half speed: a machine under load has two seconds to pause it in time."""


def opened(browser: Any, url: str, *, width: int = 1440, height: int = 900, listen: Any = None) -> tuple[Any, Watch]:
    page = new_page(browser, width=width, height=height)
    watch = Watch(page)
    if listen is not None:
        page.on("websocket", lambda w: w.on("framereceived", lambda f: listen(f)))
    page.goto(url)
    page.locator("time", has_text=":").wait_for(timeout=60_000)
    page.wait_for_timeout(300)
    return page, watch


def clock(page: Any) -> str:
    return page.locator("time").inner_text()


def until_clock(page: Any, wanted: str) -> None:
    until(page, clock, wanted, 20_000)


IMAGE = """() => {
  const f = Bokeh.documents.flatMap((d) => [...d._all_models.values()]).find((m) => m.type === 'Figure' && m.name === 'level_chart');
  const s = f.renderers.find((r) => r.glyph.type === 'Image').data_source, image = s.get_column('image')[0], [rows, n] = image.shape;
  let last = -1;
  for (let c = 0; c < n; c++) for (let r = 0; r < rows; r++) if (image[r * n + c] > 0) last = c;
  return {end: s.get_column('x')[0] + (last + 1) * s.get_column('dw')[0] / n, column: s.get_column('dw')[0] / n};
}"""


def test_plays_steps_and_jumps(browser, made_server: Server) -> None:
    page, watch = opened(browser, f"{made_server.url}?{DAY}&t=10:05:00&level=vwap")
    assert clock(page) == "10:05:00"
    until(page, lambda p: query(p).get("view"), None)  # a link to what was a view of its own
    page.keyboard.press("ArrowRight")
    until_clock(page, "10:05:05")
    until(page, lambda p: query(p).get("t"), "10:05:05")
    page.keyboard.press("Shift+ArrowLeft")
    until_clock(page, "10:04:05")
    page.keyboard.press(".")
    until_clock(page, "10:04:06")
    page.get_by_label("Speed").select_option("30x")
    page.locator("body").click(position={"x": 700, "y": 890})
    page.keyboard.press("Space")
    until(page, lambda p: clock(p) > "10:06:00", True, 20_000)
    page.keyboard.press("Space")
    until(page, lambda p: p.get_by_label("Play or pause (space)").inner_text(), "Play")
    stopped = clock(page)
    page.wait_for_timeout(400)
    assert clock(page) == stopped
    until(page, lambda p: query(p).get("t"), stopped)
    page.keyboard.press("Home")
    until_clock(page, "09:30:01")
    page.keyboard.press("]")
    until(page, lambda p: clock(p) > "09:30:01", True)
    first = clock(page)
    # Gold has one touch of this level in this morning: nothing later is jumped to, and it is found again from behind.
    page.keyboard.press("]")
    page.get_by_text("No later touch of VWAP in this session").wait_for()
    assert clock(page) == first
    page.keyboard.press("Shift+ArrowRight")
    until(page, lambda p: clock(p) > first, True)
    page.keyboard.press("[")
    until_clock(page, first)
    assert watch.errors == []
    assert watch.hosts == {f"127.0.0.1:{made_server.port}"}
    page.close()


def test_no_key_is_lost_at_twenty_a_second_and_those_of_a_tab_are_its_own(browser, made_server: Server) -> None:
    page, watch = opened(browser, f"{made_server.url}?{DAY}&t=10:05:00&level=vwap")
    layer = query(page).get("layer")
    for i in range(30):
        page.keyboard.press(("ArrowRight", ".", "ArrowDown")[i % 3])
        page.wait_for_timeout(50)
    until_clock(page, "10:06:00")  # ten windows of five seconds, and ten seconds
    until(page, lambda p: query(p).get("layer"), "fill")  # ten of seven layers on
    assert layer is None
    # Keys are the view's after a click on its tab.
    page.get_by_role("tab", name="Compare").click()
    page.locator(".drop:visible").wait_for(timeout=30_000)
    page.get_by_role("tab", name="Level").click()
    page.locator("time:visible").wait_for(timeout=30_000)
    page.keyboard.press("ArrowRight")
    until_clock(page, "10:06:05")
    page.keyboard.press("Space")
    until(page, lambda p: clock(p) > "10:06:05", True, 20_000)
    page.keyboard.press("Space")
    until(page, lambda p: p.get_by_label("Play or pause (space)").inner_text(), "Play")
    assert "view" not in query(page)
    # With the focus on a tab, as the Tab key gives it, the arrows are the tabs'.
    page.get_by_role("tab", name="Level").focus()
    page.keyboard.press("ArrowRight")
    until(page, lambda p: query(p).get("view"), "neighbours")
    assert watch.errors == []
    page.close()


OVER = "() => [document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]"


def test_fits_the_screen_ends_at_its_time_and_has_what_came_after_only_while_it_is_asked_for(browser, made_server: Server) -> None:
    page, watch = opened(browser, f"{made_server.url}?{DAY}&t=10:05:00&level=vwap&theme=light")
    now = 1000.0 * (utc_ns(DATE, 10, 5) // 1_000_000_000)  # the axis has New York's clock
    assert max(page.evaluate(OVER)) <= 0
    known = page.evaluate(IMAGE)
    assert now <= known["end"] < now + known["column"]
    page.keyboard.press("h")
    until(page, lambda p: p.evaluate(IMAGE)["end"] > now + 60_000, True)
    assert page.get_by_role("button", name="Show what came after the moment").get_attribute("aria-pressed") == "true"
    assert page.get_by_role("button", name="Show what came after the moment").inner_text() == "Hide after"
    page.keyboard.press("h")
    until(page, lambda p: p.evaluate(IMAGE), known)
    page.set_viewport_size({"width": 2560, "height": 1440})
    page.get_by_role("button", name="Light or dark theme").click()
    until(page, lambda p: query(p).get("theme", "dark"), "dark")
    until(page, lambda p: max(p.evaluate(OVER)) <= 0, True)
    wide = page.evaluate(IMAGE)
    assert now <= wide["end"] < now + wide["column"]
    page.get_by_role("button", name="Show what came after the moment").click()
    until(page, lambda p: p.evaluate(IMAGE)["end"] > now + 60_000, True)
    page.keyboard.press("ArrowRight")
    until(page, lambda p: p.evaluate(IMAGE)["end"] <= now + 5_000 + wide["column"], True)
    assert watch.errors == []
    page.close()


def test_drill_says_what_is_missing(browser, made_lake: Path, tmp_path: Path) -> None:
    lake = Path(shutil.copytree(made_lake, tmp_path / "lake"))
    shutil.rmtree(lake / "gold")
    server = Server(lake, log=tmp_path / "serve.log", warm=False)
    try:
        page, watch = opened(browser, f"{server.url}?{DAY}&t=10:05:00")
        page.get_by_role("button", name=re.compile("Blind drill")).click()
        told = page.locator(".drill")
        told.wait_for()
        until(page, lambda _: "spymaster run" in told.inner_text(), True)
        assert watch.errors == []
        page.close()
    finally:
        server.stop()


COUNTED = ("docid", "msgid", "session_id", "token", "reqid", "port", "n", "answered")
"""What differs from run to run whatever is shown: ids, the server's port, the number of a frame and of those before it."""


def plain(value: Any) -> Any:
    """`value` with what differs from run to run (ids, tokens, times of the server) taken out."""
    if isinstance(value, dict):
        if value.get("type") == "map":  # a dictionary's pairs
            value = {**value, "entries": [e for e in value.get("entries", []) if e[0] not in COUNTED]}
        return {k: plain(v) for k, v in value.items() if k not in COUNTED}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, str):
        value = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\bp\d{3,}\b|\b[0-9a-f]{32,64}\b", "", value)
        # Names of parameterized objects are counted on in a process.
        value = re.sub(r"\b[A-Z][A-Za-z]+\d{5}\b", "", value)
        # How often the figures were painted before: one that takes its room later is painted once more.
        value = re.sub(r'"(run|base)":\d+', r'"\1":0', value)
        return re.sub(r"127\.0\.0\.1:\d+|/tmp/\S+?/lake", "", value)
    return value


PAN = """() => {
  const view = [...Bokeh.index.query((v) => v.model.name === 'level_chart')][0], x = view.model.x_range;
  x.setv({start: x.start - 240_000, end: x.end - 60_000});
  view.trigger_ranges_update_event([view.model.x_range], []);
}"""


def received(browser: Any, lake: Path, log: Path) -> list[str]:
    """Everything that the page was sent on the way to `CUT_NS`, played and stepped, in order, ids taken out."""
    frames: list[Any] = []
    server = Server(lake, log=log)
    try:
        page, watch = opened(browser, f"{server.url}?{DAY}&t={PLAYED[0]}&level=vwap", listen=frames.append)
        page.wait_for_timeout(2000)
        page.get_by_label("Speed").select_option("0.5x")
        page.locator("body").click(position={"x": 700, "y": 890})
        before = len(frames)
        page.keyboard.press("Space")
        until_clock(page, PLAYED[1])
        page.keyboard.press("Space")
        until(page, lambda p: p.get_by_label("Play or pause (space)").inner_text(), "Play")
        assert clock(page) == PLAYED[1]
        assert len(frames) - before >= 4  # each second came as it was played
        for i in range(2):
            page.keyboard.press("ArrowRight")
            until_clock(page, f"09:51:{49 + 5 * i}")
            page.wait_for_timeout(600)
        for i in range(1, STEPS + 1):
            page.keyboard.press(".")
            until_clock(page, f"09:51:{54 + i}" if i < 6 else "09:52:00")
            page.wait_for_timeout(600)
        page.keyboard.press("2")
        page.wait_for_timeout(800)
        # Another layer, volume and delta, and a stretch that was panned to.
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(800)
        page.get_by_role("button", name="Drawer").click()
        page.get_by_role("group", name=re.compile("Volume profile")).get_by_role("button", name="On").click()
        page.wait_for_timeout(800)
        page.evaluate(PAN)
        page.wait_for_timeout(800)
        assert watch.errors == []
        page.close()
    finally:
        server.stop()
    out: list[str] = []
    for f in frames:
        if isinstance(f, bytes):
            out.append(f.hex())
            continue
        try:
            message = json.loads(f)
        except ValueError:
            continue  # the token's echo
        if set(message) & {"msgid", "msgtype"} or set(message) <= {"id", "num_buffers", "reqid"}:
            continue  # headers
        for part in message.get("events", [message]):
            # The address is written half a second after the last change: a busy machine writes some that a quiet one passes over.
            if part.get("attr") == "search":
                assert parse_qs(part["new"])["t"][0] <= clock_text(CUT_NS), "an address tells of a time to come"
                continue
            # Event by event: which of them share a message is a matter of milliseconds.
            out.append(json.dumps(without_ids(plain(part)), sort_keys=True))
    return out


def without_ids(value: Any) -> Any:
    """Drop the ids of models and of buffers, which are counted on in a server."""
    if isinstance(value, dict):
        return {k: without_ids(v) for k, v in value.items() if k != "id"}
    return [without_ids(v) for v in value] if isinstance(value, list) else value


def around(a: str, b: str) -> tuple[str, str]:
    """Where two texts part."""
    i = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return a[max(i - 120, 0) : i + 80], b[max(i - 120, 0) : i + 80]


@pytest.fixture(scope="module")
def two_lakes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A generated morning, and the same with its raw file cut off at `CUT_NS`."""
    records = busy_day(40_000, 5, date=DATE, start_ns=utc_ns(DATE, 9), end_ns=utc_ns(DATE, 15, 30), symbols={17077: "ESZ5"})
    lakes = []
    for name, part in (("full", records), ("cut", records[records["ts_recv"] < CUT_NS])):
        folder = tmp_path_factory.mktemp(name)
        file = write_dbn(
            folder / "glbx-mdp3-20251104.mbo.dbn.zst", part, symbols={17077: "ESZ5"}, start=utc_ns(DATE), end=utc_ns(DATE) + DAY_NS
        )
        spymaster("add", file, "--lake", folder / "lake")
        spymaster("run", "--lake", folder / "lake", "--layer", "all", "--symbol", "ESZ5", "--dates", DATE, "--session", "rth")
        lakes.append(folder / "lake")
    return lakes[0], lakes[1]


def test_nothing_received_depends_on_what_comes_later(browser, two_lakes: tuple[Path, Path], tmp_path: Path) -> None:
    # What comes from the future comes each time, and never from the lake that has none; a message that a busy machine split or joined
    # comes from either lake, in one attempt or another.
    sent: list[list[set[str]]] = [[], []]
    for attempt in range(6):
        full, cut = (received(browser, lake, tmp_path / f"{attempt}-{i}.log") for i, lake in enumerate(two_lakes))
        for of, messages in zip(sent, (full, cut)):
            of.append(set(messages))
        only = [sorted(set.intersection(*a) - set.union(*b)) for a, b in (sent, sent[::-1])]
        if only == [[], []]:
            break
    assert len(full) > 10
    # The picture itself is in it: bytes of the heatmap, and the clock of the last step.
    assert sum(len(f) for f in full) > 50_000
    assert any("09:52:00" in f for f in full)
    assert [around(a, b) for a, b in zip(*only)] == []
    assert [len(x) for x in only] == [0, 0]
