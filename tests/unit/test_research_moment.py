"""The moment that Research > Features looks at is chosen in the section; the tab's state, and with it the URL, holds it."""

from __future__ import annotations

import pytest

from tests.ui.conftest import DATE, generated_lake
from workbench.state import LevelState, clock_text
from workbench.views.research import ResearchView


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> ResearchView:
    """Features over a small generated lake, without a moment."""
    lake = generated_lake(tmp_path_factory.mktemp("moment"), 20_000)
    st = LevelState(section="features", level="vwap", window_s=10)
    st.param["contract"].objects, st.param["session"].objects = ["ESZ5"], [str(DATE)]
    st.param.update(contract="ESZ5", session=str(DATE))
    made = ResearchView(str(lake), st, [])
    made.start()
    return made


def put(view: ResearchView, which: str, value: object) -> None:
    form = getattr(view.sections["features"].moment, which)
    n = form.answered + 1
    form.changed = {"name": which, "value": value, "n": n}
    assert form.answered == n


def test_a_moment_is_chosen_here_and_the_state_holds_it(view: ResearchView) -> None:
    section, st = view.sections["features"], view.state
    assert "type a New York time" in section.say.object
    put(view, "time", "10:05:07")
    assert clock_text(st.cursor_ts_ns) == "10:05:07"
    assert st.query()["t"] == "10:05:07"
    assert section.moment.time.values == {"time": "10:05:07"}
    assert clock_text(section.asked.moment[3]) == "10:05:00"  # the end of the last window that had ended
    assert section.asked.cursor_ts_ns == st.cursor_ts_ns
    assert "no moment is chosen" not in section.say.object
    put(view, "time", "10:06")
    assert clock_text(st.cursor_ts_ns) == "10:06:00"
    st.cursor_ts_ns -= 60 * 10**9  # as another view would
    assert section.moment.time.values == {"time": "10:05:00"}
    put(view, "level", section.moment.levels.index("pm_low"))
    assert (st.level, section.asked.level) == ("pm_low", "pm_low")
    put(view, "time", "")
    assert st.cursor_ts_ns is None
    assert "type a New York time" in section.say.object


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ten", "Moment “ten”: expected New York time as HH:MM:SS"),
        ("25:00:00", "expected New York time as HH:MM:SS"),
        ("08:59:59", "Moment 08:59:59: expected a time within the session of 2025-11-04 (09:00:00 to 12:30:00 New York)"),
        ("12:30:01", "expected a time within the session"),
    ],
)
def test_what_is_no_moment_is_refused_in_words_and_the_moment_stays(view: ResearchView, text: str, said: str) -> None:
    put(view, "time", "10:05:00")
    at = view.state.cursor_ts_ns
    put(view, "time", text)
    assert view.state.cursor_ts_ns == at
    (line,) = view.notices.banner.lines
    assert said in line
    assert line.endswith("; the moment stays 10:05:00")
    put(view, "time", "10:07:00")
    assert view.notices.banner.lines == []
