"""The wall, the histogram, the excursions and why-similar: what reaches the figures."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from bokeh.models import Label, Title

from engine.features import pressure
from engine.ladder import NO_TICK, Ladder
from tests.support.ladders import DATE, NS, SYMBOL, make_frames
from workbench.plots import coding, neighbours, outcomes
from workbench.theme import DARK, LIGHT, THEMES, contrast

ZERO_S, LEVEL = 150, 20_003


@pytest.fixture(scope="module")
def book() -> Ladder:
    return Ladder.from_frames(*make_frames(300, 5), symbol=SYMBOL, date=DATE)


@pytest.fixture(scope="module")
def replay(book: Ladder):
    cube = pressure(book.cube(book.start_ns, book.end_ns, LEVEL - 16, LEVEL + 16, window_s=5))
    return cube, book.last_tick[4::5]


def mini(book: Ladder, replay, **more):
    cube, last = replay
    return neighbours.mini_data(cube, last, level_tick=LEVEL, zero_ns=book.start_ns + ZERO_S * NS, top=100.0, **more)


def test_a_small_replay_counts_from_its_touch_and_its_level(book: Ladder, replay) -> None:
    heat, path = mini(book, replay)
    assert (heat["x"], heat["dw"]) == ([-150.0], [300.0])
    assert (heat["y"], heat["dh"]) == ([-16.5], [33.0])
    assert heat["image"][0].shape == (33, 60)
    known = replay[1] != NO_TICK
    np.testing.assert_array_equal(path["y"][known], replay[1][known] - LEVEL)
    assert np.isnan(path["y"][~known]).all()
    assert path["x"][0] == -145.0


def test_a_mirrored_replay_is_the_other_one_upside_down(book: Ladder, replay) -> None:
    (heat, path), (turned, back) = mini(book, replay), mini(book, replay, mirror=True)
    np.testing.assert_array_equal(turned["image"][0], heat["image"][0][::-1])
    np.testing.assert_array_equal(back["y"], -path["y"])
    net, turned_net = mini(book, replay, layer="net")[0]["image"][0], mini(book, replay, layer="net", mirror=True)[0]["image"][0]
    # 128 is zero: what pushed up pushes down in the mirror; a half code rounds up in both.
    np.testing.assert_allclose(turned_net[::-1].astype(int), 256 - net.astype(int), atol=1)


def test_a_replay_cut_at_a_time_holds_nothing_later(book: Ladder, replay) -> None:
    whole, part = mini(book, replay), mini(book, replay, until_s=-52.0)
    assert part[1]["x"][-1] == -55.0
    assert part[0]["dw"] == [95.0]
    np.testing.assert_array_equal(part[0]["image"][0], whole[0]["image"][0][:, :19])
    np.testing.assert_array_equal(part[1]["y"], whole[1]["y"][:19])
    assert mini(book, replay, until_s=-149.0)[0]["image"] == []


def test_one_scale_serves_a_query_and_its_neighbours(replay) -> None:
    cube = replay[0]
    heavy = cube.assign(ask_depth=cube["ask_depth"] * 50)
    alone, both = neighbours.shared_top([cube]), neighbours.shared_top([cube, heavy])
    assert both > alone
    assert neighbours.shared_top([]) == coding.nice_top(0)


def test_the_scrubber_covers_what_comes_later_in_every_replay(book: Ladder, replay) -> None:
    made = neighbours.wall(DARK, 4)
    for i, m in enumerate(made.minis):
        neighbours.fill_mini(m, *mini(book, replay), neighbours.mini_title(i + 1, "2026-01-05", "ESH6", "PM High", 0.934, ""))
    neighbours.scrub(made, 42.0)
    assert {m.veil.left for m in made.minis} == {42.0}
    assert {m.cursor.location for m in made.minis} == {42.0}
    assert all(m.veil.fill_alpha == 1.0 for m in made.minis)
    assert all(m.figure.x_range is made.x_range and m.figure.y_range is made.y_range for m in made.minis)
    assert made.minis[0].figure.title.text == "1  2026-01-05  ESH6  PM High  0.93"
    neighbours.empty_mini(made.minis[0])
    assert made.minis[0].figure.title.text == ""
    assert len(made.minis[0].path.data["x"]) == 0
    neighbours.dress_wall(made, LIGHT)
    assert made.minis[0].veil.fill_color == LIGHT.page


# --- outcomes


def horizon(minutes: float, counts: tuple[int, int, int], n_eff: float = 40.0, **more: object) -> list[dict[str, object]]:
    given = {"p": 0.3, "low": 0.2, "high": 0.4, "reference": 0.35, **more}
    common = {"minutes": minutes, "of": sum(counts), "n_eff": n_eff, **given}
    return [{"outcome": c, "count": n, **common} for c, n in zip(outcomes.CLASSES, counts)]


SCHEMA = {
    "minutes": pl.Float64, "outcome": pl.String, "count": pl.Int64, "of": pl.Int64, "n_eff": pl.Float64, "p": pl.Float64, "low": pl.Float64,
    "high": pl.Float64, "reference": pl.Float64,
}  # fmt: skip


def frame(*horizons: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame([r for h in horizons for r in h], schema=SCHEMA)


def test_counts_leave_out_what_is_not_known_or_never_touched() -> None:
    found = pl.DataFrame(
        {
            "weight": [1.0, 1.0, 1.0, 1.0, 3.0],
            "outcome_h0": ["BREAK_UP", "REJECT_DOWN", "CHOP", None, "BREAK_DOWN"],
            "outcome_h1": ["BREAK_UP", "NO_TOUCH", "REJECT_UP", None, None],
        }
    )
    rows = outcomes.outcome_counts(found, (1, 2))
    assert rows.columns == list(outcomes.OUTCOME_COLUMNS)
    assert rows["count"].to_list() == [1, 1, 2, 1, 0, 1]
    assert rows["of"].to_list() == [4] * 3 + [2] * 3
    assert rows["n_eff"].to_list() == pytest.approx([36 / 12] * 3 + [2.0] * 3)
    assert outcomes.outcome_data(rows, DARK, "approach_up")["said"][2] == "break ▲ 2 of 4"


def test_bars_are_counts_in_the_order_of_the_classes() -> None:
    rows = frame(horizon(2, (14, 7, 19)), horizon(1, (10, 20, 10))).sample(fraction=1, shuffle=True, seed=1)
    data = outcomes.outcome_data(rows, DARK, "approach_up")
    assert data["x"] == [(m, c) for m in ("1 min", "2 min") for c in outcomes.CLASSES]
    assert data["text"] == ["10", "20", "10", "14", "7", "19"]
    assert data["share"][3:] == [14 / 40, 7 / 40, 19 / 40]
    assert data["said"][5] == "break ▲ 19 of 40, 30% [20%–40%], usually 35%"
    assert all(over > max(s, h) for over, s, h in zip(data["over"], data["share"], data["high"]))


def test_few_neighbours_are_grey_and_unknown_shares_are_not_drawn() -> None:
    rows = frame(horizon(1, (4, 3, 3), n_eff=9.0, p=None, low=None, high=None, reference=None), horizon(2, (14, 7, 19)))
    data = outcomes.outcome_data(rows, DARK, "approach_up")
    assert max(data["alpha"][:3]) < min(data["alpha"][3:])
    assert np.isnan(data["p"][:3]).all()
    assert data["said"][0] == "reject ▼ 4 of 10"
    assert outcomes.outcome_data(frame(horizon(1, (0, 0, 0))), DARK, "approach_up")["share"] == [0.0, 0.0, 0.0]


def test_blue_is_where_price_goes_up_from_either_side() -> None:
    up, down = (outcomes.class_colours(DARK, a) for a in ("approach_up", "approach_down"))
    assert (up["break"], up["reject"]) == (DARK.long, DARK.short)
    assert (down["break"], down["reject"]) == (DARK.short, DARK.long)
    assert outcomes.class_words("approach_down") == {"reject": "reject ▲", "chop": "chop", "break": "break ▼"}


def test_nothing_comparable_is_said_and_no_bar_is_drawn() -> None:
    fig = outcomes.outcome_figure(frame(horizon(1, (4, 3, 3))), DARK, "approach_up", nothing="too few events")
    assert not fig.renderers
    assert [x.text for x in fig.select({"type": Label})] == ["nothing comparable: too few events"]


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_the_histogram_keeps_every_bar_in_sight_and_its_words_readable(theme) -> None:
    fig = outcomes.outcome_figure(frame(horizon(1, (40, 0, 0), high=1.0)), theme, "approach_up", rule="8 ticks")
    assert fig.y_range.end >= 1.0
    words = [t for t in fig.select({"type": Title}) if t.text]
    assert {t.text for t in words} == {outcomes.KEY, "8 ticks"}
    assert all(contrast(t.text_color, theme.page) >= 4.5 for t in words)


FOUND = pl.DataFrame(
    {
        "approach": ["approach_up", "approach_down", "approach_up", "approach_up"],
        "excursion_up_ticks": [9, 3, 2, None], "excursion_down_ticks": [-2, -11, -8, None],
        "outcome_class": ["break", "break", "reject", "chop"], "why_ahead": [0.5, 0.3, 0.4, 0.4], "why_t": [0.2, 0.6, 0.1, 0.1],
        "why_magnitude": [-0.1, 0.0, -0.1, 0.0],
    }
)  # fmt: skip


def test_excursions_are_in_the_frame_of_travel() -> None:
    data = outcomes.excursion_data(FOUND, "approach_up", DARK)
    dots = dict(zip(("reject", "break"), ([], [])))
    for x, y in zip(data["dots"]["x"], data["dots"]["y"]):
        dots["reject" if y < 0.5 else "break"].append(x)
    # Of the one from above, 11 ticks down are 11 ticks on, and 3 up are 3 back; the one without a touch has none.
    assert sorted(dots["break"]) == [-3.0, -2.0, 9.0, 11.0]
    assert sorted(dots["reject"]) == [-8.0, 2.0]
    assert data["medians"]["x"] == [-8.0, 2.0, -2.5, 10.0]


def test_equal_excursions_stand_side_by_side_in_their_row() -> None:
    many = pl.concat([FOUND[:1]] * 30)
    data = outcomes.excursion_data(many, "approach_up", DARK)["dots"]
    ahead = [y for x, y in zip(data["x"], data["y"]) if x == 9.0]
    assert len(set(ahead)) == 30
    assert max(abs(y - 2) for y in ahead) <= 0.31
    assert outcomes.excursion_data(FOUND.clear(), "approach_up", DARK)["dots"]["x"] == []


def test_why_similar_is_the_mean_or_one_neighbours() -> None:
    mean = outcomes.why_rows(FOUND)
    assert mean["family"].to_list() == ["ahead", "t", "magnitude"]
    assert mean["share"].to_list() == pytest.approx([0.4, 0.25, -0.05])
    assert outcomes.why_rows(FOUND, 1)["family"].to_list() == ["t", "ahead", "magnitude"]
    fig = outcomes.why_figure(mean, DARK)
    assert fig.xaxis.axis_label == "part of the cosine, 0.60 in all"
    assert fig.y_range.factors == ["magnitude", "tape", "book ahead"]
    assert fig.x_range.start < -0.05
    assert fig.x_range.end > 0.4
    assert outcomes.why_rows(FOUND.select("approach")).height == 0
