"""Plots are functions: what they make of a cube is checked here, how it looks in tests/ui."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from engine.features import pressure
from engine.ladder import Ladder
from tests.support.ladders import DATE, NS, SYMBOL, make_frames
from workbench.plots import axes, conditions, heatmap, ladder
from workbench.theme import DARK, LIGHT, THEMES, contrast, signed_palette, unsigned_palette


@pytest.fixture(scope="module")
def book() -> Ladder:
    return Ladder.from_frames(*make_frames(300, 7, invalid_share=0.02), symbol=SYMBOL, date=DATE)


@pytest.fixture(scope="module")
def cube(book: Ladder):
    return pressure(book.cube(book.start_ns, book.end_ns, 19_960, 20_040, window_s=5))


@pytest.mark.parametrize("layer", heatmap.LAYERS.values(), ids=heatmap.LAYERS.keys())
def test_codes_say_no_data_only_where_the_book_is_not_valid(cube, layer: heatmap.Layer) -> None:
    shown = heatmap.values(cube, layer)
    code = heatmap.codes(shown, layer, heatmap.scale_top(shown, layer))
    valid = cube["book_valid"].to_numpy()
    assert not valid.all()
    assert (code[~valid] == 0).all()
    assert (code[valid] > 0).all()


def test_codes_rise_with_the_value_and_hold_their_ends() -> None:
    depth, net = heatmap.LAYERS["depth"], heatmap.LAYERS["net"]
    values = np.array([0, 1, 50, 100, 400, 9_999], np.float32)
    assert heatmap.codes(values, depth, 400.0).tolist() == [1, 14, 91, 128, 255, 255]
    assert heatmap.codes(np.array([-1, -0.5, 0, 0.5, 1], np.float32), net, 1.0).tolist() == [1, 65, 128, 192, 255]


def test_heat_keeps_exact_values_and_places_rows_on_their_ticks(cube) -> None:
    layer = heatmap.LAYERS["add"]
    heat = heatmap.heat_data(cube, layer, 100.0)
    at = np.flatnonzero(cube["book_valid"].to_numpy())[3]
    expected = (cube["bid_add"] + cube["ask_add"]).to_numpy()[at]
    np.testing.assert_array_equal(heat["value"][0][:, at], expected)
    assert heat["image"][0].shape == (81, 60)
    assert heat["image"][0].dtype == np.uint8
    assert heat["y"][0] == 19_959.5
    assert heat["dh"][0] == 81


def test_new_york_clock_and_back() -> None:
    ts = round(dt.datetime(2025, 7, 1, 13, 41, 35, tzinfo=dt.UTC).timestamp()) * NS
    assert axes.clock(ts) == "09:41:35"
    assert axes.ns_of_x(float(axes.x_ms(ts, ts)), ts) == ts
    assert axes.clock(ts + 180 * 86_400 * NS) == "08:41:35"


def test_price_text_has_the_digits_of_the_grid() -> None:
    assert axes.price_text(27_225, 0.25) == "6806.25"
    assert axes.price_text(6_800, 1.0) == "6800"
    assert axes.price_text(7_105, 0.01) == "71.05"
    assert axes.short_price_text(27_200, 0.25) == "6800"


def test_ladder_rows_take_the_heavier_side_and_mark_few_walls(cube) -> None:
    at = int(np.flatnonzero(cube["book_valid"].to_numpy())[5])
    made = ladder.rows_at(cube, at, 20_000)
    assert made["tick"].is_sorted(descending=True)
    bid, ask = cube["bid_depth"].to_numpy()[at][::-1], cube["ask_depth"].to_numpy()[at][::-1]
    np.testing.assert_array_equal(made["rest"].to_numpy(), np.maximum(bid, ask))
    walls = made.filter("wall")
    assert (walls["times"] >= ladder.WALL_TIMES).all()
    assert walls.group_by("side").len()["len"].max() in (None, 1, 2, 3)


def test_ladder_of_an_invalid_window_is_empty(cube) -> None:
    at = int(np.flatnonzero(~cube["book_valid"].to_numpy())[0])
    made = ladder.rows_at(cube, at, 20_000)
    assert made["rest"].sum() == 0
    assert made["long"].sum() == 0


def test_conditions_strip_leaves_gaps_where_the_level_has_no_value() -> None:
    start = 1_000_000_000 * NS
    frame = pl.DataFrame(
        {"window_start_ts_ns": [start, start + 15 * NS]}
        | {f"{d}_{i}": [True, False] for d in ("down", "up") for i in range(1, 5)}
        | {"down_open": [4, 0], "up_open": [4, 0]}
    )
    cells, counts = conditions.strip_data(frame, 5, start)
    image = dict(zip(conditions.BASE, cells["image"]))
    assert image["down"].tolist() == [[2, 0, 0, 1]] * 4
    assert image["up"].tolist() == [[3, 0, 0, 1]] * 4
    assert len(counts["x"]) == len(counts["up"]) == len(counts["down"]) == 5


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES.keys())
def test_text_contrast_meets_wcag_aa(theme) -> None:
    for ink in (theme.text, theme.muted, theme.long, theme.short, theme.level, theme.error, theme.wall):
        for ground in (theme.page, theme.panel):
            assert contrast(ink, ground) >= 4.5, (theme.name, ink, ground)


def test_palettes_have_256_colours() -> None:
    for theme in (DARK, LIGHT):
        for name in ("perceptual", "cividis", "bookmap"):
            assert len(unsigned_palette(theme, name)) == 256
        assert len(signed_palette(theme)) == 256


def test_a_pooled_column_shows_of_each_price_the_window_with_the_most() -> None:
    nan = np.nan
    shown = np.array([[1.0, -5.0, nan], [3.0, 2.0, nan], [0.0, nan, 4.0]])
    np.testing.assert_array_equal(heatmap.pool_windows(shown, 2), [[3.0, -5.0, nan], [0.0, nan, 4.0]])
    np.testing.assert_array_equal(heatmap.pool_windows(shown, 1), shown)


def test_a_pooled_column_of_net_is_the_balance_of_all_its_windows() -> None:
    nan = np.nan
    long = np.array([[10.0, 0.0, nan], [0.0, 3.0, nan], [5.0, nan, 1.0]])
    short = np.array([[0.0, 4.0, nan], [30.0, 0.0, nan], [0.0, nan, 0.0]])
    made = heatmap.pool_net(long, short, 2)
    np.testing.assert_allclose(made, [[-20 / 41, -1 / 8, nan], [5 / 6, nan, 1 / 2]], rtol=1e-6)


def test_pooled_net_equals_that_of_longer_windows(book: Ladder) -> None:
    short, long = (pressure(book.cube(book.start_ns, book.end_ns, 19_960, 20_040, window_s=w)) for w in (5, 20))
    whole = long["book_valid"].to_numpy()
    assert whole.any()
    made = heatmap.pooled(short, heatmap.LAYERS["net"], 4)
    np.testing.assert_allclose(made[whole], long["net"].to_numpy()[whole], rtol=1e-5, atol=1e-6)
