"""The Level view in a real browser: it shows, it reacts, it keeps its state in the URL, it asks no one else."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from engine.live.journal import Recorder
from engine.vocab import NS
from tests.support.dbn_files import busy_day, utc_ns
from tests.ui.conftest import DATE, Server
from tests.ui.pages import heat, new_page, opened, query, sentence, until, until_changed
from workbench.state import LevelState
from workbench.views.level import LevelView

DAY = "session=2025-11-04&contract=ESZ5"

COVER = """() => {
  const v = [...Bokeh.index.query((v) => v.model.name === "level_chart")][0], f = v.model, box = v.el.getBoundingClientRect();
  const s = f.renderers.find((r) => r.glyph.type === "Image").data_source.data;
  return {x0: f.x_range.start, x1: f.x_range.end, y0: f.y_range.start, y1: f.y_range.end, bounds: f.x_range.bounds,
          from: s.x[0], to: s.x[0] + s.dw[0], left: box.left, top: box.top};
}"""
"""What the chart shows, what its image covers, and where it stands on the page."""


def fits(page: Any, height: int) -> None:
    """Nothing of the page is beyond its window, and the chart has its share of it."""
    over = "() => [document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]"
    until(page, lambda p: max(p.evaluate(over)) <= 0, True)
    inner = "() => [...Bokeh.documents[0]._all_models.values()].find((m) => m.name === 'level_chart').inner_height"
    until(page, lambda p: p.evaluate(inner) > height * 0.25, True)


TICKS = """() => {
  const all = [...Bokeh.documents[0]._all_models.values()].filter((m) => m.type === "DatetimeAxis" || m.type === "LinearAxis");
  const now = all.map((a) => a.ticker).filter((t) => t.type === "AdaptiveTicker");
  return now.map((t) => t.get_ticks_no_defaults(1, 1761642225000, 0, t.desired_num_ticks).major.length);
}"""
"""How many ticks each axis has of a range of which one end has come."""


def test_shows_fits_the_screen_and_asks_nobody_else(browser, made_server: Server) -> None:
    with opened(browser, made_server.url) as (page, watch):
        seen = heat(page)
        assert min(seen["shape"]) > 30
        assert seen["sum"] > 0
        assert re.match(r"PM High \d+\.\d\d, .+(outpaces|even within 5 ticks).+(sells|buys)", sentence(page))
        assert page.get_by_role("radio", name=re.compile("PM High")).get_attribute("aria-checked") == "true"
        until(page, lambda p: query(p).get("level"), "pm_high")
        fits(page, 900)
        # A million of them stopped the page for half a minute.
        found = page.evaluate(TICKS)
        assert len(found) >= 3
        assert max(found) < 50
        page.set_viewport_size({"width": 2560, "height": 1440})
        fits(page, 1440)
        assert watch.hosts == {f"127.0.0.1:{made_server.port}"}
        assert watch.errors == []


@pytest.fixture(scope="module")
def plain(browser, made_server: Server) -> dict[str, Any]:
    """The heatmap of the `add` layer with every other setting at its default."""
    with opened(browser, f"{made_server.url}?{DAY}&t=10:05:00&layer=add") as (page, _):
        return heat(page)


QUICK, LONG = ("layer=net", "level=price:6790"), ("layer=long", "step=dollar", "rows=30", "level=vwap")


@pytest.mark.parametrize("changed", [*QUICK, *(pytest.param(c, marks=pytest.mark.long) for c in LONG)])
def test_each_setting_changes_the_heatmap(browser, made_server: Server, plain: dict[str, Any], changed: str) -> None:
    before = plain
    with opened(browser, f"{made_server.url}?{DAY}&t=10:05:00&layer=add&{changed}".replace("layer=add&layer", "layer")) as (page, watch):
        after = heat(page)
        assert (after["sum"], after["shape"], after["y0"]) != (before["sum"], before["shape"], before["y0"])
        assert watch.errors == []


LAST_CANDLE = """() => {
  const view = [...Bokeh.index.query((v) => v.model.name === "candles")][0], at = view.el.getBoundingClientRect();
  const x = [...view.model.renderers.find((r) => r.data_source.name === "candles").data_source.get_column("x")].at(-2);
  return [at.left + view.frame.x_scale.compute(x), at.top + view.frame.bbox.top + 20];
}"""
"""A place in the column of the last candle but one, well above it."""


def test_chips_prices_keys_and_clicks(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?{DAY}&t=10:05:00") as (page, watch):
        page.get_by_role("main").wait_for()
        for name in ("Heatmap", "Pressure ladder", "four conditions"):
            page.get_by_role("figure", name=re.compile(name)).wait_for()
        # Chips and keys choose levels and layers.
        before = heat(page)
        page.get_by_role("radio", name=re.compile("PM Low")).click()
        after = until_changed(page, heat, before)
        assert after["y0"] < before["y0"]
        until(page, lambda p: query(p).get("level"), "pm_low")
        page.keyboard.press("1")
        until_changed(page, lambda p: sentence(p)[:7], "PM Low ")
        assert heat(page)["y0"] == before["y0"]
        page.get_by_role("radio", name="Net", exact=True).click()
        assert until_changed(page, heat, before)["sum"] != before["sum"]
        page.keyboard.press("ArrowUp")
        until(page, lambda p: query(p).get("layer"), "short")
        until(page, lambda p: query(p).get("level"), "pm_high")
        # Any price.
        box = page.get_by_role("textbox").first
        box.fill("6790.25")
        box.press("Enter")
        until_changed(page, lambda p: query(p).get("level"), "pm_high")
        assert query(page)["level"] == "price:6790.25"
        assert sentence(page).startswith("Price 6790.25")
        box.fill("67902.5")
        box.press("Enter")
        page.get_by_role("alert").filter(has_text="within 20%").wait_for()
        assert query(page)["level"] == "price:6790.25"
        box.fill("6,791.30")
        box.press("Enter")
        page.get_by_role("alert").filter(has_text="6791.25 is shown").wait_for()
        until(page, lambda p: query(p).get("level"), "price:6791.25")
        # The keyboard reaches every chip.
        page.get_by_role("radio", name=re.compile("PM High")).focus()
        page.keyboard.press("Space")
        until(page, lambda p: query(p).get("level"), "pm_high")
        page.keyboard.press("ArrowRight")
        until(page, lambda p: query(p).get("level"), "pm_low")
        page.keyboard.press("End")
        until_changed(page, lambda p: query(p).get("level"), "pm_low")
        # Arrows and clicks move the cursor, and a candle reads out.
        page.evaluate(
            "() => { let e = document.activeElement; while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; e?.blur(); }"
        )
        page.mouse.move(*page.evaluate(LAST_CANDLE))
        page.get_by_text(re.compile(r"^10:02, open [\d.]+, high [\d.]+, low [\d.]+, close [\d.]+, volume [\d,]+$")).wait_for()
        page.keyboard.press("ArrowRight")
        until_changed(page, lambda p: query(p).get("t"), "10:05:00")
        assert query(page)["t"] == "10:05:05"
        page.keyboard.press("Shift+ArrowLeft")
        until_changed(page, lambda p: query(p).get("t"), "10:05:05")
        assert query(page)["t"] == "10:04:05"
        page.mouse.click(720, 420)
        until_changed(page, lambda p: query(p).get("t"), "10:04:05")
        assert watch.errors == []


def test_controls_in_the_drawer_repaint_and_so_does_the_theme(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?{DAY}&t=10:05:00") as (page, watch):
        first = heat(page)
        page.get_by_role("button", name="Drawer").click()
        slider = page.get_by_role("slider", name="Window, seconds")
        slider.wait_for()
        # A session without options has nothing of them, but for what makes them.
        page.get_by_text("The lake has no options of this session").wait_for()
        assert page.evaluate("() => [...Bokeh.index.query((v) => v.model.name === 'hedge')].length") == 0
        assert not page.get_by_label("Expiries that count").is_visible()
        assert "hedgers" not in sentence(page)
        slider.focus()
        page.keyboard.press("ArrowRight")
        until_changed(page, lambda p: query(p).get("window"), None)
        assert query(page)["window"] == "6"
        # A dragged slider ends where it was let go.
        for _ in range(12):
            page.keyboard.press("ArrowRight")
        until(page, lambda p: query(p).get("window"), "18")
        assert slider.input_value() == "18"
        page.get_by_role("button", name="$1").click()
        until_changed(page, lambda p: query(p).get("step"), None)
        assert query(page)["step"] == "dollar"
        assert heat(page)["shape"] != first["shape"]
        # Buckets that do not rise go back, and what follows is drawn.
        before = heat(page)
        near = page.get_by_role("slider", name="Near")
        near.wait_for()
        near.focus()
        page.keyboard.press("Home")
        page.get_by_role("alert").filter(has_text="must rise").wait_for()
        until(page, lambda _: near.input_value(), "5")
        page.get_by_role("radio", name="Add", exact=True).click()
        assert until_changed(page, heat, before)["sum"] != before["sum"]
        until(page, lambda p: p.get_by_role("alert").count(), 0)
        near.focus()
        page.keyboard.press("ArrowRight")
        until(page, lambda p: query(p).get("near"), "6")
        dark = heat(page)
        page.get_by_role("button", name="theme").click()
        light = until_changed(page, heat, dark)
        assert light["background"] != dark["background"]
        until_changed(page, lambda p: query(p).get("theme"), None)
        assert query(page)["theme"] == "light"
        assert page.evaluate("() => document.documentElement.dataset.smTheme") == "light"
        assert watch.errors == []


def test_url_round_trip(browser, made_server: Server) -> None:
    asked = (
        "contract=ESZ5&session=2025-11-04&level=or_high&t=10:20:30&window=10&at=1&near=4&mid=9&far=15&layer=net&half=15&rows=24&span=60"
        "&theme=light&map=bookmap&step=dollar"
    )
    with opened(browser, f"{made_server.url}?{asked}") as (page, _):
        page.wait_for_timeout(1_000)
        assert query(page) == dict(pair.split("=") for pair in asked.split("&"))


def test_bad_url_values_say_so_and_fall_back(browser, made_server: Server) -> None:
    with opened(
        browser,
        f"{made_server.url}?{DAY}&window=99&layer=magic&t=noon&near=1&level=nonsense&zoom=2".replace("contract=ESZ5", "contract=CLZ5"),
    ) as (page, watch):
        said = page.get_by_role("alert").inner_text()
        for word in ("window “99”", "layer “magic”", "t “noon”", "buckets", "nonsense", "“zoom”", "contract “CLZ5”"):
            assert word in said, word
        assert heat(page)["sum"] > 0
        assert until_changed(page, lambda p: query(p).get("level"), "nonsense") == "pm_high"
        page.get_by_role("button", name="Close this notice").click()
        until(page, lambda p: p.get_by_role("alert").count(), 0)
        assert watch.errors == []


def test_empty_lake_says_how_to_fill_it(browser, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    server = Server(tmp_path / "lake", log=tmp_path / "serve.log", warm=False)
    try:
        page = new_page(browser)
        page.goto(server.url)
        card = page.locator(".sm-card")
        card.get_by_role("heading", name="No session in the lake yet").wait_for(timeout=30_000)
        assert "spymaster add --lake" in card.inner_text()
        assert "spymaster demo --lake" in card.inner_text()
        before_the_session(page, tmp_path / "lake")
        page.close()
    finally:
        server.stop()


def before_the_session(page: Any, lake: Path) -> None:
    """A recorder begins, and the page says what its session needs and when it begins, by itself; then it opens."""
    recorder, until_s = Recorder(lake, "ES", feed="replayed"), 90
    recorder.clock = {"data_ns": utc_ns(DATE, 14) - until_s * NS, "wall_ns": time.time_ns(), "speed": 1.0}
    recorder.start()
    recorder.resume()
    card = page.locator(".needs")
    # A status that is five seconds old says that nothing records.
    until(page, lambda _: recorder.write_status() or card.get_by_text("begins at 09:00 New York").is_visible(), True)
    assert not page.locator(".sm-card").is_visible()
    items = {li.locator("b").inner_text(): li for li in card.locator("li").all()}
    assert list(items) == ["key", "the day before", "disk", "clock", "recorder", "contract", "options"]
    before = items["the day before"]
    assert before.locator(".sign").inner_text() == "!"
    assert before.locator(".word").inner_text() == "goes on without"
    assert "--dates 2025-11-03:2025-11-03" in before.locator("code").inner_text()
    assert (items["key"].locator(".sign").inner_text(), items["key"].locator(".word").inner_text()) == ("✓", "ok")
    assert re.fullmatch(r"in [01]:\d\d", card.get_by_role("timer").inner_text())
    # The first seconds are recorded: the picture is there without a reload, and a link to it names it.
    page.evaluate("() => { window.before = true; }")
    records = busy_day(2_000, 5, date=DATE, symbols={1: "ESZ5"}, snapshot_orders=100, start_ns=utc_ns(DATE, 14), end_ns=utc_ns(DATE, 14, 1))
    recorder.take(records[:1].tobytes())
    recorder.say("mapping", symbols={"1": "ESZ5"})
    recorder.take(records[1:].tobytes())
    recorder.write_status()
    page.locator(".live .badge").wait_for(timeout=30_000)
    card.wait_for(state="hidden")
    assert sentence(page)
    until(page, lambda p: query(p).get("session"), DATE.isoformat())
    assert page.evaluate("() => window.before")
    recorder.close("the test's end")


def test_real_file(browser, real_server: Server) -> None:
    with opened(browser, real_server.url) as (page, watch):
        until(page, lambda p: query(p).get("contract"), "ESH4")
        assert re.match(r"PM High 4808\.00, approach from (above|below): ", sentence(page))
        assert heat(page)["sum"] > 0
        page.keyboard.press("End")
        until_changed(page, sentence, sentence(page))
        # The file ends at 19:00 New York: what lies after it is not shown as a book.
        assert "the book is not valid" in sentence(page)
        assert watch.errors == []
        assert watch.hosts == {f"127.0.0.1:{real_server.port}"}


def test_ticks_are_counted_from_the_level_where_the_page_stood_before_the_picture(browser, made_lake: Path, tmp_path: Path) -> None:
    server = Server(made_lake, log=tmp_path / "serve.log", warm=False)
    try:
        with opened(browser, f"{server.url}?{DAY}&t=10:05:00") as (page, watch):
            find = "() => [...Bokeh.documents[0]._all_models.values()].find((m) => m.name === 'distance')"
            until(page, lambda p: p.evaluate(f"() => {{ const d = ({find})(); return Math.round(d.start + d.end); }}"), 0)
            assert watch.errors == []
    finally:
        server.stop()


def covered(c: dict[str, Any]) -> bool:
    """Whether the image covers all of what the chart shows of the session, which ends five minutes inside of the axis' bounds."""
    margin = 5 * 60_000
    return c["from"] <= max(c["x0"], c["bounds"][0] + margin) and min(c["x1"], c["bounds"][1] - margin) <= c["to"]


def test_what_is_panned_to_stays_and_is_loaded_until_the_cursor_moves(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?{DAY}&t=12:00:00&span=60&rows=30") as (page, watch):
        before = page.evaluate(COVER)
        # A page that is busy takes only the end of a drag for one.
        for _ in range(12):
            page.mouse.move(before["left"] + 110, before["top"] + 160)
            page.mouse.down()
            page.mouse.move(before["left"] + 780, before["top"] + 160, steps=3)
            page.mouse.up()
            page.wait_for_timeout(300)
            if page.evaluate(COVER)["x0"] < before["x0"] - 1.9 * 3_600_000:
                break
        until(page, lambda p: p.evaluate(COVER)["x0"] < before["x0"] - 1.9 * 3_600_000, True)
        until(page, lambda p: covered(p.evaluate(COVER)), True)
        there = page.evaluate(COVER)
        page.keyboard.press("2")
        until_changed(page, lambda p: p.evaluate(COVER)["y0"], there["y0"])
        assert page.evaluate(COVER)["x0"] == there["x0"]
        # Reset comes back to the level that is chosen now.
        level = page.evaluate(COVER)
        page.evaluate("() => { [...Bokeh.index.query((v) => v.model.name === 'level_chart')][0].model.y_range.start += 5 }")
        page.evaluate("() => [...Bokeh.index.query((v) => v.model.name === 'level_chart')][0].reset()")
        back = page.evaluate(COVER)
        assert (back["y0"], back["y1"]) == (level["y0"], level["y1"])
        # However far the wheel turns, time ends a little beyond the session.
        page.mouse.move(before["left"] + 400, before["top"] + 160)
        for _ in range(25):
            page.mouse.wheel(0, 400)
        page.wait_for_timeout(800)
        wide = page.evaluate(COVER)
        assert wide["bounds"][0] <= wide["x0"]
        assert wide["x1"] <= wide["bounds"][1]
        page.keyboard.press("ArrowRight")
        until(page, lambda p: query(p).get("t"), "12:00:05")
        assert watch.errors == []


def test_a_lost_server_is_said(browser, made_lake: Path, tmp_path: Path) -> None:
    server = Server(made_lake, log=tmp_path / "serve.log", warm=False)
    try:
        with opened(browser, f"{server.url}?{DAY}&t=10:05:00") as (page, _):
            lost = page.get_by_role("alert").filter(has_text="connection to the server is lost")
            assert lost.count() == 0
            server.stop()
            lost.wait_for(timeout=15_000)
            assert lost.get_by_role("button", name="Reload").is_visible()
    finally:
        server.stop()


def test_what_cannot_be_read_leaves_state_and_screen_together(made_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(made_lake, lake)
    state = LevelState()
    day, gone = DATE.isoformat(), (DATE + dt.timedelta(days=1)).isoformat()
    state.param["contract"].objects, state.param["session"].objects = ["ESZ5"], [day, gone]
    state.param.update(contract="ESZ5", session=day, level="pm_low")
    view = LevelView(str(lake), state, [])
    view.start()
    assert view.look is not None
    drawn = view.look.now_ns
    state.session = gone
    assert (state.session, state.level, state.cursor_ts_ns, view.look.session.date) == (day, "pm_low", drawn, DATE)
    said = list(view.notices.banner.lines)
    assert any(gone in line for line in said)
    view.guard(lambda: None, keep=True)  # what follows of itself takes no words away
    assert view.notices.banner.lines == said
    state.layer = "add"
    assert view.notices.banner.lines == []
    for manifest in lake.glob("silver/**/table=mbo_price_ladder_1s/**/_SUCCESS"):
        manifest.write_text("not a digest")
    view._check_stale()
    assert "cannot be read" in view.notices.banner.reload
    state.layer = "pull"
    assert "cannot be read" in view.notices.banner.reload
