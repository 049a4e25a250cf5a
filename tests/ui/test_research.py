"""The Research view in a real browser: every question, both themes, what is missing, and files that read back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.ui.pages import Watch, new_page, query, until, until_changed
from workbench.export import read_state

SECTIONS = {
    "hypothesis": "Four conditions", "audit": "Audit", "levels": "Hit rates", "walls": "Walls", "features": "Features",
    "quality": "Data quality",
}  # fmt: skip
AT = "session=2025-11-04&contract=ESZ5&t=10:05:00"


def say(page: Any) -> str:
    """The sentence of the section in front."""
    return page.locator(".sm-say:visible").first.inner_text()


def settled(page: Any) -> str:
    """Wait until the section has its answer; returns its sentence."""
    page.locator(".sm-say:visible").first.wait_for(timeout=60_000)
    until(page, lambda p: not say(p).endswith("reading"), True, 60_000)
    return say(page)


def choose(page: Any, section: str) -> None:
    """Bring a section to the front."""
    page.get_by_role("radio", name=SECTIONS[section]).click()
    until(page, lambda p: query(p).get("about", "hypothesis"), section)


@pytest.fixture(scope="module")
def page(browser: Any, made_server: Any):
    """One tab for all of it, as a reader would."""
    tab = new_page(browser)
    watch = Watch(tab)
    tab.goto(f"{made_server.url}?view=research&{AT}")
    yield tab, watch, f"127.0.0.1:{made_server.port}"
    tab.close()


def test_every_question_is_answered_in_both_themes(page) -> None:
    tab, watch, host = page
    first = settled(tab)
    assert first.startswith(("Each further open condition", "Four conditions"))
    said = [first]
    for key in list(SECTIONS)[1:]:
        choose(tab, key)
        said.append(settled(tab))
    assert len(set(said)) == 6
    assert said[5].startswith("Data quality: 1 sessions, a valid book in ")
    assert tab.locator("table.sm-table:visible tbody tr").count() >= 1
    dark = tab.evaluate("() => getComputedStyle(document.body).backgroundColor")
    tab.get_by_role("button", name="Light or dark theme").click()
    until_changed(tab, lambda p: p.evaluate("() => getComputedStyle(document.body).backgroundColor"), dark)
    for name in ("Hit rates", "Four conditions"):
        tab.get_by_role("radio", name=name).click()
        settled(tab)
    figures = """() => Bokeh.documents.flatMap((d) => [...d._all_models.values()])
      .filter((m) => m.type === 'Figure' && m.name === 'research_break').map((f) => f.border_fill_color.value ?? f.border_fill_color)"""
    until(tab, lambda p: set(map(str.lower, p.evaluate(figures))), {"#ffffff"})
    assert watch.errors == []
    assert watch.hosts == {host}


def test_a_missing_audit_names_the_command_that_makes_it(page) -> None:
    tab, watch, _ = page
    tab.get_by_role("radio", name="Audit").click()
    tab.locator("[role=alert]:visible code", has_text="spymaster audit --lake").first.wait_for(timeout=30_000)
    assert watch.errors == []


def test_features_chooses_its_moment_itself(page) -> None:
    tab, watch, _ = page
    tab.get_by_role("radio", name="Features").click()
    settled(tab)
    clock = tab.get_by_role("textbox", name="Moment, New York").locator("visible=true")
    clock.fill("10:20:00")
    clock.press("Enter")
    until(tab, lambda p: query(p).get("t"), "10:20:00")
    until(tab, lambda p: "10:20:00" in say(p) or "no value now" in say(p), True, 30_000)
    clock.fill("half past ten")
    clock.press("Enter")
    tab.get_by_role("alert").get_by_text("expected New York time as HH:MM:SS").wait_for(timeout=20_000)
    assert clock.input_value() == "10:20:00"
    assert query(tab)["t"] == "10:20:00"
    assert watch.errors == []


def saved(tab: Any, kind: str, label: str) -> tuple[bytes, str]:
    """What a click on a button of the drawer hands out."""
    box = tab.get_by_label("Table to save").locator("visible=true")
    box.select_option(label=label)
    with tab.expect_download(timeout=30_000) as got:
        tab.get_by_role("button", name=kind, exact=True).locator("visible=true").click()
    return Path(got.value.path()).read_bytes(), got.value.suggested_filename


def test_what_is_shown_is_saved_and_read_back(page) -> None:
    tab, watch, _ = page
    tab.get_by_role("radio", name="Hit rates").click()
    until(tab, lambda p: query(p).get("about"), "levels")
    settled(tab)
    tab.get_by_role("button", name="Drawer").click()
    label = "Hit rates: levels, directions: touches, reject, chop, break"
    csv, name = saved(tab, "CSV", label)
    assert name == "hit_rates.csv"
    frame = pl.read_csv(io.BytesIO(csv), comment_prefix="#")
    until(tab, lambda p: p.locator("table.sm-table:visible tbody tr").count(), frame.height)
    assert read_state(csv, "csv")["horizon"] == "h1"
    parquet, _ = saved(tab, "Parquet", label)
    back = pl.read_parquet(io.BytesIO(parquet))
    assert back["n_break"].to_list() == frame["n_break"].to_list()
    tab.get_by_role("tab", name="Level").click()
    tab.locator(".sm-say:visible b").first.wait_for(timeout=30_000)
    until(tab, lambda p: p.get_by_label("Table to save").locator("visible=true").count(), 1)
    cube, name = saved(tab, "Parquet", "Time x price, as shown")
    state = read_state(cube, "parquet")
    assert name == "cube_ESZ5_2025-11-04_pm_high.parquet"
    assert (state["level"], state["contract"], state["window_s"], state["simulated"]) == ("pm_high", "ESZ5", 5, False)
    frame = pl.read_parquet(io.BytesIO(cube))
    assert frame["window_start_ts_ns"].min() >= state["shown_start_ts_ns"]
    assert frame["tick"].n_unique() > 30
    assert watch.errors == []


SHOWN_THOUGH_HIDDEN = (
    """() => [...Bokeh.index.query((v) => v.model.visible === false && v.model.data && v.el.getClientRects().length > 0)].length"""
)


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_hidden_takes_no_room_and_no_key(page, section: str) -> None:
    """Neither as the page opens nor when another section was in front before."""
    tab, _, _ = page
    if section == "hypothesis":
        tab.goto(tab.url.split("?")[0] + f"?view=research&about={section}&{AT}")
    else:
        choose(tab, section)
    settled(tab)
    assert tab.evaluate(SHOWN_THOUGH_HIDDEN) == 0
