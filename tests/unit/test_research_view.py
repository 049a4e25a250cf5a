"""Research without a browser: sections over a lake of a known law, work that is stopped, and the difference map's picture."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.errors import NoData
from tests.support.retrieval import gold_frame, write_gold
from workbench.plots import difference, research
from workbench.plots.outcomes import CLASSES
from workbench.state import SECTION_KEYS, LevelState
from workbench.theme import DARK, LIGHT
from workbench.views.background import BackgroundTask
from workbench.views.research import SECTIONS, ResearchView
from workbench.views.research_sections import dimension_of
from workbench.views.save import save_control


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> ResearchView:
    lake = write_gold(tmp_path_factory.mktemp("research") / "lake", gold_frame(400))
    made = ResearchView(str(lake.root), LevelState(section="levels"), [])
    made.start()
    return made


def test_the_urls_questions_are_the_views() -> None:
    assert tuple(s.key for s in SECTIONS) == SECTION_KEYS


def test_hit_rates_are_drawn_from_their_table(view: ResearchView) -> None:
    section = view.sections["levels"]
    table = section.answer
    assert "3 levels" in section.say.object
    points = section.panels.points["break"].data
    both = table.filter(pl.col("level_id") != "all").height + 2
    assert len(points["x"]) == both
    assert (
        sum(int(t.split("/")[0]) for t in section.panels.counts["break"].data["text"][:-2]) == table.filter(level_id="all")["n_break"].sum()
    )
    assert section.table.object.count("<tr") == table.height + 1


def test_what_is_missing_is_said_with_the_command_that_makes_it(view: ResearchView) -> None:
    for key, words in (("hypothesis", "spymaster run"), ("audit", "spymaster audit"), ("quality", "spymaster add")):
        view.state.section = key
        section = view.sections[key]
        assert section.card.visible
        assert not section.content.visible
        assert f"<code>{words}" in section.card.object
        with pytest.raises(NoData, match="nothing is shown"):
            section.exports()[0].make()
    view.state.section = "levels"
    assert [s.key for s in view.sections.values() if s.body.visible] == ["levels"]


def test_a_feature_is_chosen_in_steps_that_always_go_together(view: ResearchView) -> None:
    view.state.section = "features"
    section = view.sections["features"]
    names = section.answer[0]["mirrored"]
    assert section.answer[1] == "b7_ahead_pull_add_log"
    section.choice.block = "b3"
    assert section.answer[1] == "b3_ahead_pull_add_log"
    for family in ("t", "behind", "magnitude", "ahead"):
        section.choice.family = family
        assert section.answer[1] in names
        assert dimension_of(names, section.asking().choice) == section.answer[1]
    assert sum(len(s.data["x"]) > 0 for s in section.pictures.lines.values()) == 3
    assert "no value now" in section.say.object
    frame, state = section.exports()[0].make()
    assert frame.select(CLASSES).sum_horizontal().sum() == 400 - section.answer[2].distribution.left_out
    assert state["feature"] == section.answer[1]


def test_a_theme_repaints_what_is_in_front_and_the_others_when_they_come(view: ResearchView) -> None:
    view.state.section = "levels"
    view.state.theme = "light"
    levels, features = view.sections["levels"], view.sections["features"]
    assert levels.panels.figures["break"].border_fill_color == LIGHT.page
    assert set(levels.panels.points["break"].data["fill"]) == {LIGHT.long, LIGHT.short}
    assert features.pictures.classes.border_fill_color == DARK.page
    view.state.section = "features"
    assert features.pictures.classes.border_fill_color == LIGHT.page
    view.state.theme = "dark"


def test_a_stopped_question_is_asked_again_only_where_the_trader_wants_it(view: ResearchView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is stopped while it is under way; theme, other sections and other views come and go."""
    view.state.section = "levels"
    section = view.section
    n, asked = 0, []
    work = type(section).work

    def press() -> None:
        nonlocal n
        n += 1
        view.stop.changed = {"name": "stop", "value": 0, "n": n}

    def stopped_midway(self, what, progress):
        asked.append(what.horizon)
        if len(asked) == 1:
            press()
        return work(self, what, progress)

    monkeypatch.setattr(type(section), "work", stopped_midway)
    view.state.horizon = "h2"
    assert asked == ["h2"]
    assert view.working.visible
    assert view.stop.fields[0]["options"] == ["Ask again"]
    for act in (
        lambda: setattr(view.state, "theme", "light"),
        lambda: setattr(view.state, "section", "features"),
        lambda: setattr(view.state, "section", "levels"),
        lambda: (view.front(False), view.front(True)),
        lambda: setattr(view.state, "theme", "dark"),
    ):
        act()
        assert asked == ["h2"]
    assert view.working.visible
    assert view.stop.fields[0]["options"] == ["Ask again"]
    press()
    assert asked == ["h2", "h2"]
    assert not view.working.visible
    assert section.asked.horizon == "h2"
    asked.clear()
    view.state.horizon = "h3"
    view.state.theme = "light"
    view.state.horizon = "h4"
    assert asked == ["h3", "h4"]
    assert not view.working.visible
    view.state.param.update(horizon="h1", theme="dark")


def test_a_saved_file_leaves_the_server_once_the_browser_has_it(view: ResearchView) -> None:
    control = save_control(view.sections["levels"].exports)
    control.asked = {"which": 0, "kind": "csv", "n": 1}
    assert control.file["name"] == "hit_rates.csv"
    assert "8 rows" in control.said["text"]
    control.taken = 1
    assert control.file == {}
    with pytest.raises(ValueError, match="expected one of 1"):
        control.asked = {"which": 3, "kind": "csv", "n": 2}


def test_later_hands_over_an_answer_or_what_the_engine_says() -> None:
    got: list[object] = []
    later = BackgroundTask(lambda *a: None)
    later.start(lambda progress: progress(1, 2, "x") or 7, got.append, got.append)
    assert (got, later.busy) == ([7], False)

    def fails(progress) -> int:
        raise NoData("nothing")

    later.start(fails, got.append, lambda e: got.append(str(e)))
    assert got == [7, "nothing"]
    later.start(lambda progress: 1 / 0, got.append, lambda e: got.append(str(e)))
    assert "ZeroDivisionError" in str(got[2])


def test_a_difference_from_above_is_turned_back_to_prices() -> None:
    d = np.array([[0.4, -0.1, -0.2], [0.3, 0.0, 0.1]])
    shown = np.array([[True, False, True], [True, False, False]])
    parts = difference.difference_figure(DARK)
    for up in (True, False):
        difference.fill_difference(parts, d, d - 0.05, d + 0.05, shown, window_s=10, step_ticks=2, up=up, title="x")
        image = parts.cells.data["image"][0]
        expected = np.where(shown, d, np.nan).T
        np.testing.assert_allclose(image, expected if up else -expected[::-1], rtol=1e-6)
        low, high = parts.cells.data["low"][0], parts.cells.data["high"][0]
        known = np.isfinite(image)
        assert (low[known] < image[known]).all()
        assert (image[known] < high[known]).all()
        signs = sorted(zip(parts.signs.data["x"], parts.signs.data["y"], parts.signs.data["text"]))
        assert signs == ([(-15.0, -2.0, "+"), (-15.0, 2.0, "−"), (-5.0, -2.0, "+")] if up else
                         [(-15.0, -2.0, "+"), (-15.0, 2.0, "−"), (-5.0, 2.0, "−")])  # fmt: skip
        assert (parts.mapper.low, parts.mapper.high) == (-0.4, 0.4)


def test_few_events_are_pale_and_unknown_shares_make_no_point() -> None:
    rows = [("a", "break", "up", 29, 10, 0.34, None, None, None), ("a", "break", "down", 30, 10, 0.33, 0.2, 0.5, 0.4)]
    rows += [("b", "break", "up", 0, 0, None, None, None, 0.4)]
    parts = research.share_panels(DARK, {"break": "break"})
    research.fill_share_panels(parts, pl.DataFrame(rows, schema=research.SCHEMA, orient="row"), DARK)
    data = parts.points["break"].data
    assert data["alpha"] == [0.4, 1.0]
    assert data["said"] == ["a ▲: 10 of 29, 34%", "a ▼: 10 of 30, 33% [20%–50%], usually 40%"]
    assert (data["y"][0] > data["y"][1]) == (parts.counts["break"].data["y"][2] < data["y"][1])
    assert parts.references["break"].data["x"] == [0.4]
    assert parts.figures["break"].yaxis.major_label_overrides == {1: "a", 0: "b"}
