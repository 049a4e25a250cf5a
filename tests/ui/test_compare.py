"""The Compare view in a real browser: a picture saved here opens its moment, a foreign one is typed in once, a harmed one refused."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.support.lakes import spymaster
from tests.ui.conftest import Server
from tests.ui.pages import Watch, new_page, query, until

MOMENT = {"level": "pm_high", "t": "10:05:00"}


@pytest.fixture(scope="module")
def own_server(made_lake: Path, tmp_path_factory: pytest.TempPathFactory):
    """The workbench over a copy of the generated lake: pictures that are dropped are kept in it."""
    folder = tmp_path_factory.mktemp("compare")
    shutil.copytree(made_lake, folder / "lake")
    server = Server(folder / "lake", log=folder / "serve.log", warm=False)
    yield server, folder
    server.stop()


def say(page) -> str:
    return page.locator(".sm-say:visible").inner_text()


def opened(browser, url: str):
    page = new_page(browser)
    watch = Watch(page)
    page.goto(url)
    page.locator(".drop").wait_for(timeout=30_000)
    return page, watch


def places(page) -> list[str]:
    """Which place of each picture is enlarged."""
    return page.locator(".detail:visible").evaluate_all("a => a.map((e) => e.style.backgroundPosition)")


def enlarged(page) -> None:
    """Two pictures beside each other leave no height unused: the same place of both is enlarged below, and pointer and keys move it."""
    left = page.evaluate("() => innerHeight") - page.locator(".detail").first.bounding_box()["y"]
    boxes = [d.bounding_box() for d in page.locator(".detail:visible").all()]
    assert len(boxes) == 2
    assert all(left * 0.8 < b["height"] for b in boxes)
    at = places(page)
    assert at[0] == at[1]
    frames = page.locator(".frame.pic")
    box = frames.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
    until(page, lambda p: (places(p)[0] == places(p)[1]) and places(p) != at, True)
    at = places(page)
    frames.nth(1).focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    until(page, lambda p: (places(p)[0] == places(p)[1]) and places(p) != at, True)


def test_own_picture_opens_its_moment(browser, own_server) -> None:
    server, folder = own_server
    picture = folder / "SETUP_own.png"
    spymaster("snapshot", "--lake", folder / "lake", "--level", "pm_low", "--ts", "2025-11-04 10:20:00", "--window", "10", "--out", picture)
    page, watch = opened(browser, f"{server.url}?view=compare&session=2025-11-04&contract=ESZ5&theme=light")
    page.locator(".drop input").set_input_files(picture)
    until(page, lambda p: p.locator("figure img").evaluate_all("a => a.filter((e) => e.src && e.naturalWidth > 0).length"), 2, 40_000)
    until(page, lambda p: (query(p).get("level"), query(p).get("t"), query(p).get("window")), ("pm_low", "10:20:00", "10"))
    assert "the same numbers" in page.locator("figcaption").nth(1).inner_text()
    first, second = page.locator("figure img").evaluate_all("a => a.map((e) => e.src)")
    pixels = [Image.open(io.BytesIO(base64.b64decode(s.split(",")[1]))).convert("RGB").tobytes() for s in (first, second)]
    assert pixels[0] == pixels[1]
    enlarged(page)
    page.get_by_role("button", name="Swipe").click()
    page.locator(".stage.swipe").wait_for()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the current setup as PNG").click()
    from workbench.snapshot import read_state

    state = read_state(Path(saved.value.path()).read_bytes())
    assert state is not None
    assert (state.level_id, state.features.window_s) == ("pm_low", 10)
    assert watch.errors == []
    assert watch.hosts == {f"127.0.0.1:{server.port}"}
    page.close()


def test_foreign_picture_is_typed_in_once(browser, own_server) -> None:
    server, folder = own_server
    picture = folder / "<b>shot.png"
    Image.new("RGB", (320, 200), (90, 20, 20)).save(picture)
    page, watch = opened(browser, f"{server.url}?view=compare&session=2025-11-04&contract=ESZ5")
    page.locator(".drop input").set_input_files(picture)
    clock = page.get_by_role("textbox", name="New York time")
    clock.wait_for()
    assert page.locator("figcaption").first.inner_text() == "<b>shot.png"
    clock.fill("10:05:00")
    clock.press("Tab")
    page.get_by_role("button", name="Keep and draw").click()
    until(page, lambda p: query(p).get("t"), "10:05:00")
    until(page, lambda p: p.locator("figure img").evaluate_all("a => a.filter((e) => e.src && e.naturalWidth > 0).length"), 2, 40_000)
    kept = list((folder / "lake" / "pictures").glob("SETUP_*.png.json"))
    assert len(kept) == 1
    page.reload()
    page.locator(".drop").wait_for(timeout=30_000)
    page.locator("figcaption", has_text="SETUP_").first.wait_for(timeout=30_000)
    page.locator(".drop input").set_input_files(picture)
    page.locator("figcaption", has_text="<b>shot.png").wait_for(timeout=30_000)
    until(page, lambda p: say(p).startswith("PM High"), True, 30_000)
    assert not page.get_by_role("textbox", name="New York time").is_visible()
    assert watch.errors == []
    page.close()


def pictures(page) -> int:
    return page.locator("figure img").evaluate_all("a => a.filter((e) => e.src && e.naturalWidth > 0).length")


def captions(page) -> list[str]:
    return page.locator("figcaption").all_inner_texts()


def test_url_opens_its_moment_and_a_kept_picture_stands_beside_another(browser, own_server) -> None:
    server, folder = own_server
    kept = folder / "lake" / "pictures"
    if kept.exists():
        shutil.rmtree(kept)
    # A picture of another moment is there: the link is not taken from its own for it.
    other = kept / "SETUP_other.png"
    kept.mkdir()
    spymaster("snapshot", "--lake", folder / "lake", "--level", "pm_low", "--ts", "2025-11-04 10:20:00", "--out", other)
    link = f"{server.url}?view=compare&session=2025-11-04&contract=ESZ5&level=vwap&t=10:05:00&window=10&theme=light"
    page, watch = opened(browser, link)
    until(page, pictures, 1, 40_000)
    assert "ESZ5 2025-11-04 10:05:00, VWAP" in captions(page)[1]
    asked = {"session": "2025-11-04", "level": "vwap", "t": "10:05:00", "window": "10"}
    until(page, lambda p: {k: query(p).get(k) for k in asked}, asked)
    assert "spymaster snapshot --lake" in page.locator(".guide pre").inner_text()
    page.locator(".guide button", has_text="Keep this moment").click()
    until(page, lambda p: pictures(p) == 2 and "the same numbers" in captions(p)[1], True, 40_000)
    assert (kept / "SETUP_ESZ5_2025-11-04_100500_vwap.png").exists()
    # Another moment takes the place at the right; the picture stays, and the way back to its moment is offered.
    page.goto(f"{link.replace('10:05:00', '10:20:00').replace('vwap', 'pm_low')}&window=5")
    until(page, lambda p: pictures(p) == 2 and "SETUP_other.png" in captions(p)[0], True, 40_000)
    page.get_by_role("radio", name="SETUP_ESZ5_2025-11-04_100500_vwap.png").click()
    until(page, lambda p: (query(p).get("t"), query(p).get("level")), ("10:05:00", "vwap"))
    until(page, lambda p: "the same numbers" in captions(p)[1], True, 40_000)
    page.get_by_role("tab", name="Level").click()
    page.locator(".chips [data-id=pm_low]:visible").wait_for(timeout=40_000)
    page.keyboard.press("2")
    until(page, lambda p: query(p).get("level"), "pm_low")
    page.get_by_role("tab", name="Compare").click()
    until(page, lambda p: "another moment than the picture's" in captions(p)[1], True, 40_000)
    page.get_by_role("button", name="To the picture's moment").click()
    until(page, lambda p: "the same numbers" in captions(p)[1], True, 40_000)
    assert query(page)["level"] == "vwap"
    assert watch.errors == []
    page.close()


def test_link_without_a_time_opens_an_approach_from_its_side(browser, own_server) -> None:
    server, _ = own_server
    page, watch = opened(browser, f"{server.url}?view=compare&session=2025-11-04&contract=ESZ5&level=vwap&from=approach_up")
    until(page, lambda p: pictures(p) >= 1 and "from below" in say(p), True, 40_000)
    assert query(page)["from"] == "approach_up"
    assert watch.errors == []
    page.close()


def test_harmed_picture_is_refused(browser, own_server) -> None:
    server, folder = own_server
    bad = folder / "SETUP_bad.png"
    whole = io.BytesIO()
    Image.effect_noise((200, 200), 60).save(whole, format="PNG")
    bad.write_bytes(whole.getvalue()[:900])
    page, watch = opened(browser, f"{server.url}?view=compare")
    page.locator(".drop input").set_input_files(bad)
    said = page.get_by_role("alert").get_by_text("SETUP_bad.png: expected a whole PNG picture")
    said.wait_for(timeout=20_000)
    page.get_by_role("button", name="Close this notice").click()
    said.wait_for(state="hidden", timeout=20_000)
    assert watch.errors == []
    page.close()
