"""What hands expect of the page: keys over the page, own levels by a click, and the place where one left."""

from __future__ import annotations

import re

from tests.ui.conftest import DATE, Server
from tests.ui.pages import FIGURES, Watch, opened, query, sentence, until


def seconds(clock: str) -> float:
    h, m, s = clock.split(":")
    return int(h) * 3600 + int(m) * 60 + float(s)


def test_time_and_sales_and_what_is_copied(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?session={DATE}&level=vwap&t=10:05:00") as (page, watch):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        clipboard = "() => navigator.clipboard.readText()"
        page.keyboard.press("t")
        lines = page.locator("tr.bought, tr.sold")
        lines.first.wait_for(timeout=30_000)
        until(page, lambda p: query(p).get("tape"), "on")

        def newest(p) -> float:
            return seconds(lines.first.locator("td").first.inner_text())

        # Every line came before the clock, the newest first, and nothing later is in the page.
        times = [seconds(t) for t in lines.locator("td:first-child").all_inner_texts()]
        assert times == sorted(times, reverse=True)
        assert times[0] < seconds("10:05:00")
        page.keyboard.press("ArrowRight")
        until(page, lambda p: newest(p) > times[0], True)
        assert newest(page) < seconds("10:05:05")
        page.get_by_label("Time and sales, least contracts").select_option("10")
        until(page, lambda p: {int(t) >= 10 for t in lines.locator("td:nth-child(3)").all_inner_texts()}, {True})

        page.keyboard.press("Escape")
        page.locator(".sm-brand").click()
        told = page.locator(".copied")
        for key, said in (("l", "Link to 10:05:05 copied"), ("s", "Sentence of 10:05:05 copied"), ("d", "rows of 10:05:05 copied")):
            page.keyboard.press(key)
            until(page, lambda _, said=said: said in told.inner_text(), True)
            text = page.evaluate(clipboard)
            if key == "l":
                assert text.startswith(f"{made_server.url}?")
                assert "level=vwap&t=10:05:05" in text
            elif key == "s":
                assert text == sentence(page)
            else:
                head, *rows = text.splitlines()
                assert {"tick", "side", "long", "short", "change"} <= set(head.split("\t"))
                assert len(rows) > 20
        page.keyboard.press("Shift+T")
        until(page, lambda _: re.search(r"[\d,]+ rows of 10:05:05", told.inner_text()) is not None, True)
        until(page, lambda p: p.evaluate(clipboard).startswith("time\t"), True)
        # It plays, and lines come with it.
        before = newest(page)
        page.get_by_label("Speed").select_option("60x")
        page.locator(".sm-brand").click()
        page.keyboard.press("Space")
        until(page, lambda p: newest(p) > before, True)
        page.keyboard.press("Space")
        until(page, lambda p: p.get_by_label("Play or pause (space)").inner_text(), "Play")
        assert newest(page) < seconds(page.locator("time").inner_text())
        page.keyboard.press("t")
        until(page, lambda _: lines.count(), 0)
        assert watch.errors == []


def test_panels_in_windows_of_their_own_follow_the_clock(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?session={DATE}&level=vwap&t=10:05:00") as (page, watch):
        page.locator("time", has_text="10:05:00").wait_for()
        page.keyboard.press("w")
        assert (
            page.evaluate(
                "() => { let e = document.activeElement; while (e.shadowRoot) e = e.shadowRoot.activeElement; return e.className; }"
            )
            == "windows"
        )

        def window(panel: str):
            with page.expect_popup() as opens:
                page.get_by_label("A panel in a window of its own").select_option(panel)
            made = opens.value
            watches.append(Watch(made))
            made.locator("time", has_text=":").wait_for(timeout=60_000)
            return made

        def clock(p) -> str:
            return p.locator("time").inner_text()

        watches = [watch]
        ladder, tape = window("ladder"), window("tape")
        assert ladder.title() == "Ladder · spymaster"
        names = ladder.evaluate(f"() => ({FIGURES})().map((m) => m.name)")
        assert names == ["ladder"]
        assert not ladder.get_by_role("tab", name="Research").is_visible()
        assert (query(ladder)["panel"], query(tape)["panel"]) == ("ladder", "tape")
        assert query(ladder)["clock"] == query(tape)["clock"]
        assert "clock" not in query(page)
        # The page's keys move all, and so do those of a window; each in front, since a browser paints no page that is hidden.
        page.bring_to_front()
        page.locator(".sm-brand").click()
        page.keyboard.press("ArrowRight")
        for p in (page, ladder, tape):
            until(p, clock, "10:05:05")
        ladder.bring_to_front()
        ladder.keyboard.press("Shift+ArrowLeft")
        for p in (page, ladder, tape):
            until(p, clock, "10:04:05")
        ladder.keyboard.press("1")
        until(page, lambda p: sentence(p).startswith("PM High"), True)
        until(ladder, lambda p: sentence(p).startswith("PM High"), True)
        # It plays: no window is ahead of the page, all stand at the same moment when it stops.
        page.bring_to_front()
        page.get_by_label("Speed").select_option("5x")
        page.locator(".sm-brand").click()
        page.keyboard.press("Space")
        until(tape, lambda p: seconds(clock(p)) > seconds("10:04:30"), True)
        for _ in range(5):
            there = clock(tape)
            # Two browsers paint one moment, each when it can: the page may be half a second behind the window.
            assert seconds(there) <= seconds(clock(page)) + 0.5 * 5
        page.keyboard.press("Space")
        until(page, lambda p: p.get_by_label("Play or pause (space)").inner_text(), "Play")
        now = clock(page)
        for p in (ladder, tape):
            until(p, clock, now)
        newest = tape.locator("tr.bought, tr.sold").first.locator("td").first
        assert seconds(newest.inner_text()) < seconds(now)
        # The page is loaded again, and finds its windows; a window is not where the page was left.
        page.reload()
        page.locator("time", has_text=now).wait_for(timeout=60_000)
        page.keyboard.press("ArrowLeft")
        later = f"{now[:3]}"
        until(page, lambda p: clock(p) != now and clock(p).startswith(later[:2]), True)
        until(tape, clock, clock(page))
        assert "panel" not in page.evaluate("() => localStorage.getItem('spymaster:left') || ''")
        for p in (ladder, tape):
            p.close()
        assert [w.errors for w in watches] == [[], [], []]


def test_own_levels_keys_and_the_place_where_one_left(browser, made_server: Server) -> None:
    with opened(browser, f"{made_server.url}?session={DATE}&level=pm_high&t=10:05:00&layer=pull") as (page, watch):
        keys = page.get_by_role("dialog", name="Keys of this view")
        page.keyboard.press("?")
        keys.wait_for()
        assert "play, pause" in keys.inner_text()
        page.keyboard.press("Space")
        page.keyboard.press("Escape")
        assert not keys.is_visible()
        page.get_by_role("button", name="Play or pause (space)").get_by_text("Play").wait_for()

        chart = page.evaluate(
            """() => { const v = [...Bokeh.index.query((v) => v.model.name === "level_chart")][0], f = v.model.inner_width;
            const r = v.el.getBoundingClientRect(); return [r.left + 90 + f / 2, r.top + r.height * 0.4]; }"""
        )
        page.keyboard.down("Shift")
        page.mouse.click(*chart)
        page.keyboard.up("Shift")
        until(page, lambda p: query(p).get("level", "").startswith("price:"), True)
        level = query(page)["level"]
        assert query(page)["t"] == "10:05:00"

        page.get_by_role("button", name=re.compile("^Drawer")).click()
        field = page.get_by_label("Price, name, note: adds or changes one")
        field.fill(f"{level.removeprefix('price:')}, Desk line, from the morning note")
        field.press("Enter")
        until(page, lambda p: sentence(p).startswith("Desk line"), True)
        field.fill("?")
        assert not keys.is_visible()
        page.get_by_role("button", name="Remove", exact=True).click()
        until(page, lambda p: sentence(p).startswith("Price "), True)
        page.get_by_role("button", name="Undo", exact=True).click()
        until(page, lambda p: sentence(p).startswith("Desk line"), True)

        # A note, with its picture a moment later; one that is written while it plays opens its own moment.
        note, notes = page.get_by_label("Note at this moment"), page.locator(".note")
        note.fill("asks pulled twice")
        note.press("Enter")
        until(page, lambda _: notes.count(), 1)
        assert "10:05:00 Desk line" in notes.first.inner_text()
        assert note.input_value() == ""
        until(page, lambda _: notes.first.get_by_role("link", name="picture").count(), 1)
        page.get_by_label("Speed").select_option("10x")
        page.get_by_role("button", name="Play or pause (space)").click()
        until(page, lambda p: p.locator("time").inner_text() > "10:05:10", True)
        note.fill("while it plays")
        note.press("Enter")
        until(page, lambda _: notes.count(), 2)
        page.get_by_role("button", name="Play or pause (space)").click()
        link = notes.first.get_by_role("link").first
        at = re.search(r"t=([\d:]+)", link.get_attribute("href") or "")
        assert at is not None
        assert "10:05:10" <= at[1] <= page.locator("time").inner_text()
        page.get_by_label("Find").fill("twice")
        page.get_by_label("Find").press("Enter")
        until(page, lambda _: notes.count(), 1)
        assert "1 of 2 notes" in page.locator(".m", has_text="of 2 notes").inner_text()
        link = notes.first.get_by_role("link").first
        link.click()
        page.locator("time", has_text="10:05:00").wait_for(timeout=60_000)
        until(page, lambda p: query(p).get("t"), "10:05:00")

        page.goto(made_server.url)
        until(page, lambda p: (query(p).get("level"), query(p).get("layer"), query(p).get("t")), (level, "pull", "10:05:00"))
        until(page, lambda p: sentence(p).startswith("Desk line"), True)
        page.get_by_role("button", name=re.compile("^Drawer")).click()
        page.get_by_role("button", name="Remove", exact=True).click()
        until(page, lambda p: sentence(p).startswith("Price "), True)
        assert watch.errors == []
