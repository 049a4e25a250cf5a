"""Small replays, the histogram and the table of outcomes, excursions and why-similar: what reaches the page."""

from __future__ import annotations

import base64
import re

import numpy as np
import polars as pl
import pytest
from bokeh.models import Label, Title

from engine.features import pressure
from engine.ladder import NO_TICK, Ladder
from engine.session import nice_top
from tests.support.ladders import DATE, NS, SYMBOL, make_frames
from workbench.plots import heatmap, outcomes, replay_wall
from workbench.theme import DARK, LIGHT, THEMES, contrast

ZERO_S, LEVEL = 150, 20_003


@pytest.fixture(scope="module")
def book() -> Ladder:
    return Ladder.from_frames(*make_frames(300, 5), symbol=SYMBOL, date=DATE)


@pytest.fixture(scope="module")
def replay(book: Ladder):
    cube = pressure(book.cube(book.start_ns, book.end_ns, LEVEL - 16, LEVEL + 16, window_s=5))
    return cube, book.last_tick[4::5]


def mini(book: Ladder, replay, layer: str = "depth") -> replay_wall.Mini:
    cube, last = replay
    return replay_wall.mini(cube, last, level_tick=LEVEL, zero_ns=book.start_ns + ZERO_S * NS, layer=heatmap.LAYERS[layer])


def test_a_small_replay_counts_from_its_touch_and_its_level(book: Ladder, replay) -> None:
    m = mini(book, replay)
    assert (m.ticks[0], m.ticks[-1]) == (-16, 16)
    assert (m.ends_s[0], m.ends_s[-1], m.window_s) == (-145.0, 150.0, 5.0)
    assert m.values.shape == (60, 33)
    known = replay[1] != NO_TICK
    np.testing.assert_array_equal(m.last[known], replay[1][known] - LEVEL)
    assert np.isnan(m.last[~known]).all()


def test_a_mirrored_replay_is_the_other_one_upside_down(book: Ladder, replay) -> None:
    m, net = mini(book, replay), mini(book, replay, "net")
    turned = m.mirrored(signed=False)
    np.testing.assert_array_equal(turned.values, m.values[:, ::-1])
    np.testing.assert_array_equal(turned.last, -m.last)
    np.testing.assert_array_equal(turned.ticks, m.ticks)
    # What pushed up pushes down in the mirror.
    np.testing.assert_array_equal(net.mirrored(signed=True).values, -net.values[:, ::-1])


def test_a_replay_cut_at_a_time_holds_nothing_later(book: Ladder, replay) -> None:
    whole, part = mini(book, replay), mini(book, replay).until(-52.0)
    assert part.ends_s[-1] == -55.0
    np.testing.assert_array_equal(part.values, whole.values[:19])
    np.testing.assert_array_equal(part.last, whole.last[:19])
    empty = whole.until(-149.0)
    assert replay_wall.packed(empty, signed=False)["n"] == 0


def test_one_scale_serves_a_query_and_its_neighbours(book: Ladder, replay) -> None:
    cube, last = replay
    heavy = mini(book, (cube.assign(ask_depth=cube["ask_depth"] * 50), last))
    layer = heatmap.LAYERS["depth"]
    alone, both = replay_wall.shared_top([mini(book, replay)], layer), replay_wall.shared_top([mini(book, replay), heavy], layer)
    assert both > alone
    assert replay_wall.shared_top([], layer) == nice_top(0)


def unpacked(card: dict[str, object], key: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(str(card[key])), kind)


def test_the_page_gets_exact_sizes_and_prices(book: Ladder, replay) -> None:
    m = mini(book, replay)
    m.values[3] = np.nan
    card = replay_wall.packed(m, signed=False)
    sizes = unpacked(card, "sizes", "<u2").reshape(card["rows"], card["n"])
    assert (sizes[:, 3] == replay_wall.NO_SIZE).all()
    keep = np.arange(60) != 3
    np.testing.assert_array_equal(sizes[:, keep], m.values[keep].T)
    path = unpacked(card, "path", "<i2")
    np.testing.assert_array_equal(path == replay_wall.NO_PRICE, np.isnan(m.last))
    np.testing.assert_array_equal(path[~np.isnan(m.last)], m.last[~np.isnan(m.last)])
    assert (card["low"], card["start"], card["step"]) == (-16, -150.0, 5.0)


def test_shares_travel_as_thousandths(book: Ladder, replay) -> None:
    net = mini(book, replay, "net")
    got = unpacked(replay_wall.packed(net, signed=True), "sizes", "<u2").reshape(33, 60).T
    there = np.isfinite(net.values)
    np.testing.assert_allclose((got[there].astype(float) - replay_wall.SHARE_UNIT) / replay_wall.SHARE_UNIT, net.values[there], atol=6e-4)
    assert (got[~there] == replay_wall.NO_SIZE).all()


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


def test_figures_beside_the_wall_are_patched_not_made_anew() -> None:
    fig = outcomes.excursion_figure(FOUND, "approach_up", DARK, barrier=8)
    models = set(fig.references())
    outcomes.paint_excursions(fig, FOUND[:1], "approach_down", LIGHT, barrier=None)
    outcomes.theme_excursions(fig, LIGHT)
    assert set(fig.references()) == models
    assert fig.select_one({"name": "dots"}).data_source.data["x"] == [-2.0, 9.0]
    assert not any(s.visible for s in fig.select({"name": "barrier"}))
    assert fig.yaxis[0].major_label_overrides[2] == "break ▼"
    reasons = outcomes.why_figure(outcomes.why_rows(FOUND), DARK)
    models = set(reasons.references())
    outcomes.paint_why(reasons, outcomes.why_rows(FOUND, 1), "one of them")
    outcomes.theme_why(reasons, LIGHT)
    assert set(reasons.references()) == models
    assert reasons.xaxis.axis_label == "part of the cosine, 0.90 in all (one of them)"
    assert reasons.y_range.factors == ["magnitude", "book ahead", "tape"]


# --- the table


def facts(**more: object) -> outcomes.Facts:
    given = {
        "level": "PM <High>", "approach": "approach_up", "horizon": "h1", "whose": "walk-forward, 18 sessions before",
        "rule": outcomes.rule_words(8), "neighbours": 40, "days": 18, "n_eff": 36.0, "p_touch": 0.62, "pi_touch": 0.58,
    }  # fmt: skip
    return outcomes.Facts(**{**given, **more})


def rows_of(**more: object) -> pl.DataFrame:
    made = frame(horizon(1, (5, 30, 5), **more), horizon(2, (19, 7, 14), **more), horizon(4, (20, 2, 18), **more))
    return made.with_columns(pl.Series("horizon", [f"h{i}" for i in range(3) for _ in range(3)]))


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)))


def test_the_table_says_the_posterior_first_then_counts_and_what_is_usual() -> None:
    said = text(outcomes.outcome_html(rows_of(), facts(), DARK))
    assert "After a touch of PM &lt;High&gt; from below" in said
    assert "touch 62% , usual 58%" in said
    assert re.search(r"break ▲ 30% \[20–40\] 14 of 40 , usual 35%", said)
    assert said.index("break ▲") < said.index("chop") < said.index("reject ▼")
    assert "40 setups, 18 days, n_eff 36" in said
    assert "a trade 8 ticks beyond is a break, 8 ticks back a reject, neither chop" in said
    assert "grey" not in said
    # Every horizon has its bar for each class, with its counts for the pointer.
    html = outcomes.outcome_html(rows_of(), facts(), DARK)
    assert len(re.findall("class='bar'", html)) == 9
    assert "break ▲ 5 of 40 within 1 min, usually 35%, expected 30% [20%–40%]" in html
    down = text(outcomes.outcome_html(rows_of(), facts(approach="approach_down"), DARK))
    assert down.index("reject ▲") < down.index("break ▼")


def test_few_neighbours_are_grey_in_the_table() -> None:
    html = outcomes.outcome_html(rows_of(n_eff=12.0), facts(n_eff=12.0), LIGHT)
    assert len(re.findall("class='bar dim'", html)) == 9
    assert "fewer than 30: grey" in text(html)


def test_nothing_comparable_takes_the_tables_place() -> None:
    html = outcomes.outcome_html(rows_of(), facts(nothing="too few neighbours (n_eff 8, best similarity 0.310)"), DARK)
    said = text(html)
    assert "Nothing comparable: too few neighbours (n_eff 8, best similarity 0.310)" in said
    assert "Usual at this distance and hour, within 2 min:" in said
    assert "<table" not in html


def test_rule_of_a_barrier_that_volatility_sets() -> None:
    assert "as many ticks as volatility sets" in outcomes.rule_words("auto")
