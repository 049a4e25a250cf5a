"""Windows on one clock: they show what the page that holds it shows, ask it for what their keys ask for, and know nothing later."""

from __future__ import annotations

import gc
import weakref

import pytest

from engine.vocab import NS
from tests.ui.conftest import DATE, generated_lake
from workbench import lakes, session_cache
from workbench.page import Shell
from workbench.state import PANELS, LevelState
from workbench.views import shared_clock
from workbench.views.level import LevelView


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(generated_lake(tmp_path_factory.mktemp("clock"), 20_000))


def page(lake: str, second: int, **values: object) -> LevelView:
    state, there = LevelState(), lakes.contracts(lake)
    state.param["contract"].objects, state.param["session"].objects = list(there), there["ESZ5"]
    start_ns = session_cache.load(lake, "ESZ5", DATE).ladder.start_ns
    state.param.update(contract="ESZ5", session=str(DATE), level="vwap", cursor_ts_ns=start_ns + second * NS, **values)
    view = LevelView(lake, state, [])
    view.start()
    painted(view)
    return view


def painted(view: LevelView) -> None:
    """As a browser says that it has painted what it got."""
    view.player.deck.painted = view.player.clock.sent


def act(view: LevelView, name: str, value: object) -> None:
    n = view.player.answered + 1
    view.player.deck.acted = {"name": name, "value": value, "n": n}
    assert view.player.deck.now["answered"] == n


def at(view: LevelView) -> tuple[str, int]:
    frame = view.player.frame
    assert frame is not None
    assert view.player.deck.now["at"] == frame.t
    return frame.look.level_id, frame.t


@pytest.mark.parametrize("panel", PANELS)
def test_a_window_shows_the_moment_of_the_page_that_holds_the_clock(lake: str, panel: str) -> None:
    holder = page(lake, 2000)
    window = page(lake, 1500, panel=panel, clock=panel)
    assert at(window) == ("vwap", 1500)  # nobody holds it yet
    act(holder, "share", panel)
    assert at(window) == ("vwap", 2000)
    painted(window)
    act(holder, "step", 30)
    assert at(window) == ("vwap", 2030)
    painted(window)
    holder._choose_level("pm_high")
    holder._show()
    painted(window)
    assert at(window) == ("pm_high", 2030)
    assert window.state.cursor_ts_ns == holder.state.cursor_ts_ns
    if panel == "tape":
        assert window.tape.lines.html.count("<tr class") > 0


def test_keys_of_a_window_are_obeyed_by_the_holder_and_come_back(lake: str) -> None:
    holder, window = page(lake, 2000), page(lake, 1000, panel="ladder", clock="keys")
    act(holder, "share", "keys")
    painted(window)
    act(window, "step", -10)
    assert at(holder) == at(window) == ("vwap", 1990)
    painted(window)
    act(window, "play", True)
    assert holder.player.clock.playing
    assert window.player.deck.now["playing"]
    assert not window.player.clock.playing  # it has no clock that runs
    painted(window)
    act(window, "play", False)
    assert not holder.player.clock.playing
    # What came after is shown by the holder alone.
    painted(window)
    act(window, "reveal", True)
    assert holder.player.revealed
    assert window.player.frame is not None
    assert window.player.frame.seen == window.player.frame.t
    # A copy is the window's own.
    act(window, "copy", "link")
    assert window.player.deck.copied["what"] == "link"
    assert holder.player.deck.copied == {}


def test_a_window_whose_browser_is_behind_shows_the_newest_once_it_has_painted(lake: str) -> None:
    holder, window = page(lake, 2000), page(lake, 1000, panel="ladder", clock="slow")
    act(holder, "share", "slow")
    sent = window.player.clock.sent
    for _ in range(6):
        painted(holder)
        act(holder, "step", 10)
    assert window.player.clock.sent - sent <= 2
    painted(window)
    assert at(window) == at(holder) == ("vwap", 2060)


def test_a_window_knows_no_more_than_a_drill_of_the_holder_lets_play(lake: str) -> None:
    holder, window = page(lake, 2000), page(lake, 1000, panel="tape", clock="drill")
    act(holder, "share", "drill")
    painted(window)
    holder.player.limit(holder.player.start_ns + 2050 * NS)
    act(window, "end", 0)
    assert at(holder) == at(window) == ("vwap", 2050)
    # Nor by the button at the badge, or an alert.
    painted(window)
    window.live.badge.back += 1
    assert at(holder) == at(window) == ("vwap", 2050)
    painted(window)
    window.live.badge.jump = str(holder.player.start_ns + 2500 * NS)
    assert at(holder) == at(window) == ("vwap", 2050)


def test_a_window_goes_on_by_itself_when_the_holder_is_gone_and_none_is_kept(lake: str) -> None:
    holder, window = page(lake, 2000), page(lake, 1000, panel="ladder", clock="gone")
    act(holder, "share", "gone")
    painted(window)
    clock = shared_clock.named(lake, "gone")
    clock.leave(holder)
    act(window, "step", 5)
    assert at(window) == ("vwap", 2005)
    assert at(holder) == ("vwap", 2000)
    again = page(lake, 3000)
    act(again, "share", "gone")
    assert at(window) == ("vwap", 3000)
    # A clock that no page has any more is forgotten with them.
    seen = weakref.ref(clock)
    for view in (holder, window, again):
        view.clock = None
    del clock
    gc.collect()
    assert seen() is None


def test_a_window_has_one_panel_and_the_clock(lake: str) -> None:
    window = page(lake, 1000, panel="ladder", clock="x")
    ladder = window.pictures.figures[-2]
    shown = [p.object for p in window.charts.objects if hasattr(p, "object") and p.object in window.pictures.figures]
    assert shown == [ladder]
    assert window.charts in window.drawing.objects
    assert window.player.deck in window.drawing.objects
    assert window.player.deck.window == "Ladder"
    assert window.state.query()["panel"] == "ladder"
    assert "clock" not in page(lake, 1000).state.query()


@pytest.mark.parametrize(("view", "panel", "whole"), [("level", "", True), ("level", "tape", False), ("research", "tape", True)])
def test_only_a_panel_of_the_level_view_is_without_the_bar_above(lake: str, view: str, panel: str, whole: bool) -> None:
    state, there = LevelState(), lakes.contracts(lake)
    state.param["view"].objects = ["level", "research"]
    state.param["contract"].objects, state.param["session"].objects = list(there), there["ESZ5"]
    state.param.update(contract="ESZ5", session=str(DATE), view=view, panel=panel)
    header = Shell(lake, state, []).page()[0]
    assert header.visible == whole
