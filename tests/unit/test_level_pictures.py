"""The Level view's pictures and what they are read from: best prices, walls, names, the overview, volume and delta."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import xarray as xr

from engine.ladder import Ladder
from engine.lake.catalog import LADDER
from engine.session import Session
from engine.vocab import ROOTS
from tests.support.ladders import DATE, NS, SYMBOL, make_frames
from workbench import lakes, session_cache
from workbench.plots import candles, heatmap, ladder, levels, volume
from workbench.plots.heatmap import legend_html
from workbench.state import LevelState, dollar_ticks
from workbench.theme import DARK


@pytest.fixture(scope="module")
def book() -> Ladder:
    return Ladder.from_frames(*make_frames(600, 7, invalid_share=0.02), symbol=SYMBOL, date=DATE)


def session_of(book: Ladder, steps: pl.DataFrame | None = None, touches: pl.DataFrame | None = None) -> Session:
    none = pl.DataFrame()
    return Session(SYMBOL, DATE, book, none, none if steps is None else steps, {}, (), "", False, touches)


@pytest.mark.parametrize("window_s", [1, 5, 30])
def test_best_prices_of_a_window_are_those_of_the_book_that_its_column_shows(book: Ladder, window_s: int) -> None:
    cube = book.cube(book.start_ns, book.end_ns, 19_940, 20_060, window_s=window_s)
    made = heatmap.quote_data(book.tape, book.start_ns, window_s)
    x = np.asarray(made["x"])
    assert x.size == cube.sizes["window"] + 1
    assert np.diff(x).tolist() == [window_s * 1000.0] * cube.sizes["window"]
    heat = heatmap.heat_data(cube, heatmap.LAYERS["depth"], 100.0)
    assert (x[0], x[-1]) == (heat["x"][0], heat["x"][0] + heat["dw"][0])
    valid, tick = cube["book_valid"].to_numpy(), cube["tick"].to_numpy()
    for side, best in (("bid", np.max), ("ask", np.min)):
        depth = cube[f"{side}_depth"].to_numpy()
        line = np.asarray(made[side])
        assert np.isnan(line[:-1][~valid]).all()
        for w in np.flatnonzero(valid):
            assert line[w] == best(tick[depth[w] > 0])
        np.testing.assert_equal(line[-1], line[-2])


def resting(sizes: dict[int, int], low: int, high: int) -> xr.Dataset:
    """One window with asks of `sizes` from tick `low` to `high`, one contract where nothing is said."""
    ticks = np.arange(low, high + 1)
    ask = np.array([[sizes.get(int(k), 1) for k in ticks]])
    nothing = np.zeros_like(ask, dtype=float)
    parts = {"ask_depth": ask, "bid_depth": nothing} | dict.fromkeys(("long", "short", "net", "bid_change", "ask_change"), nothing)
    variables = {k: (("window", "tick"), v) for k, v in parts.items()}
    known = {"book_valid": ("window", [True]), "known_low": ("window", [low]), "known_high": ("window", [high])}
    return xr.Dataset({**variables, **known}, coords={"tick": ticks}, attrs={"step_ticks": 1})


def test_walls_do_not_depend_on_how_many_rows_are_read() -> None:
    sizes = {105: 40, 119: 30} | dict.fromkeys(range(121, 160), 50)
    near, far = (ladder.rows_at(resting(sizes, 100 - r, 100 + r), 0, 100) for r in (20, 60))
    both = far.filter(pl.col("tick").is_between(80, 120))
    assert near.equals(both)
    assert far.filter("wall")["tick"].to_list() == [119, 105], "what rests farther than 20 ticks away is no wall of this level"
    assert far.filter(pl.col("tick") == 105)["times"].item() == 40.0


def test_of_equal_walls_the_one_nearer_to_the_level_counts() -> None:
    sizes = {107: 40, 108: 40, 93: 40, 92: 40, 115: 40}
    rows = ladder.rows_at(resting(sizes, 80, 120), 0, 100)
    assert rows.filter("wall")["tick"].to_list() == [115, 107, 93]


def test_whole_rows_at_both_edges() -> None:
    assert heatmap.price_bounds(100, 16, 1) == (83.5, 116.5)
    low, high = heatmap.price_bounds(101, 16, 4)
    assert (low, high) == (83.5, 119.5)
    assert (low + 0.5) % 4 == (high + 0.5) % 4 == 0


def test_a_level_not_known_yet_has_no_zones() -> None:
    assert levels.zone_data(None, (2, 5, 14, 20))["y"] == []
    assert len(levels.zone_data(100, (2, 5, 14, 20))["y"]) == 8


def test_the_ladder_marks_the_level_only_where_it_is_known() -> None:
    parts = ladder.ladder_figure(DARK, 0.25)
    assert not parts.level.visible
    ladder.mark_level(parts, 100)
    assert (parts.level.visible, parts.level.bottom, parts.level.top) == (True, 99.5, 100.5)
    ladder.mark_level(parts, None)
    assert not parts.level.visible


def test_the_legend_says_half_life_and_pooled_windows() -> None:
    palette = ["#000000"] * 256
    said = legend_html(heatmap.LAYERS["long"], 100.0, palette, DARK, 5, 20.0, 3)
    assert "half-life 20 s" in said
    assert "most of 3 windows of 5 s" in said
    assert "half-life" not in legend_html(heatmap.LAYERS["add"], 100.0, palette, DARK, 5, 20.0)
    assert "per 15 s column" in legend_html(heatmap.LAYERS["net"], 1.0, palette, DARK, 5, 0.0, 3)


def test_a_dollar_is_a_dollar_or_is_not_offered() -> None:
    found = {code: dollar_ticks(root) for code, root in ROOTS.items()}
    assert {k: found[k] for k in ("ES", "NQ", "CL", "YM", "GC", "RTY")} == {"ES": 4, "NQ": 4, "CL": None, "YM": None, "GC": 10, "RTY": 10}
    state = LevelState()
    state.param["contract"].objects = ["ESZ5", "CLZ5"]
    state.contract = "ESZ5"
    state.step = "dollar"
    state.contract = "CLZ5"
    assert (state.step, list(state.param["step"].objects)) == ("tick", ["tick"])
    said = state.read_query({"step": "dollar"})
    assert len(said) == 1
    assert "dollar" in said[0]
    state.contract = "ESZ5"
    assert list(state.param["step"].objects) == ["tick", "dollar"]
    state.step = "dollar"
    bad = state.read_query({"contract": "CLZ5", "step": "dollar"})
    assert state.step == "tick"
    assert "CLZ5" in bad[0]


def test_contracts_stand_by_their_newest_session_then_by_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {("ESZ5", 3): 900, ("ESZ5", 2): 10, ("ESH6", 3): 40, ("ESH6", 1): 5_000, ("ESU5", 1): 9_000}

    class Lake:
        def partitions(self, key: str) -> list[tuple[str, dt.date]]:
            assert key == LADDER
            return sorted((s, dt.date(2025, 12, d)) for s, d in held)

        def find_manifest(self, key: str, symbol: str, date: dt.date) -> SimpleNamespace:
            return SimpleNamespace(rows=held[symbol, date.day])

    monkeypatch.setattr(lakes, "open_lake", lambda root: Lake())
    assert lakes.contracts("") == {
        "ESZ5": ["2025-12-03", "2025-12-02"], "ESH6": ["2025-12-03", "2025-12-01"], "ESU5": ["2025-12-01"],
    }  # fmt: skip


# --- the day overview


def test_volume_and_delta_end_at_the_cursor(book: Ladder) -> None:
    session = session_of(book)
    end = book.start_ns + 300 * NS
    made = session_cache.volume_at_price(session, end)
    fills = {k: book.cube(book.start_ns, end, 19_900, 20_100)[f"{k}_fill"].sum("window").to_numpy() for k in ("bid", "ask")}
    full = dict(zip(range(19_900, 20_101), zip(fills["ask"].tolist(), fills["bid"].tolist())))
    assert {t: (b, s) for t, b, s in made.iter_rows()} == {t: v for t, v in full.items() if sum(v)}
    later = session_cache.volume_at_price(session, book.end_ns)
    assert later["bought"].sum() > made["bought"].sum() > 0
    assert session_cache.volume_at_price(session, book.start_ns).height == 0
    line, (low, high) = volume.delta_data(session_cache.delta_tape(session, end), book.start_ns, book.start_ns, 5)
    tape = book.tape.head(300)
    assert line["y"][-1] == tape["buy_volume"].cast(pl.Int64).sum() - tape["sell_volume"].cast(pl.Int64).sum()
    assert len(line["x"]) == 60
    assert line["x"][-1] - line["x"][0] == 295_000.0
    assert low < min(line["y"])
    assert max(line["y"]) < low + (high - low) * 0.35


def test_the_profile_marks_the_price_with_most_volume() -> None:
    rows = pl.DataFrame({"tick": [100, 101, 140], "bought": [30, 10, 60], "sold": [10, 0, 20]})
    bars, peak = volume.profile_data(rows, 90, 110)
    assert bars == {"y": [100, 101], "mid": [30 / 80, 10 / 80], "right": [0.5, 10 / 80]}
    assert peak == {"x": [], "y": [], "text": []}
    assert volume.profile_data(rows, 90, 150)[1]["text"] == ["most traded: 80"]
    assert volume.profile_data(rows.clear(), 90, 150)[0]["y"] == []


# --- which test it is, and what stands by it


def test_tests_and_confluent_levels_are_those_known_at_the_cursor(book: Ladder) -> None:
    steps = pl.DataFrame(
        {
            "level_id": ["pm_high", "vwap", "vwap", "or_high"],
            "start_ts_ns": [0, 0, 50, 80],
            "end_ts_ns": [200, 50, 200, 200],
            "price": [25.0, 25.5, 27.0, 25.25],
            "level_tick": pl.Series([100, 102, 108, 101], dtype=pl.Int32),
        }
    )
    touches = pl.DataFrame({"level_id": ["pm_high", "pm_high", "vwap"], "touch_ts_ns": [10, 60, 5]})
    session = session_of(book, steps, touches)
    before = [session.touches_before("pm_high", t) for t in (10, 11, 61)]
    assert before == [0, 1, 2]
    assert session.touches_before("price:25", 100) is None
    found = [session_cache.confluent(session, "pm_high", t) for t in (10, 60, 90)]
    assert found == [["VWAP"], [], ["OR High"]]


def test_a_name_that_had_to_make_room_has_a_line_from_its_level() -> None:
    names = [("VWAP", 200, True), ("OR Low", 201, False), ("PM Low", 203, False), ("PD High", 300, False)]
    made = candles.pills(names, (0.0, 1_000.0), (0.0, 400.0), 500.0, 400.0)
    assert made["text"] == ["VWAP", "OR Low", "PM Low", "PD High"]
    assert all(b - a >= 17 - 1e-6 for a, b in pairwise(made["y"]))
    assert np.isnan(made["tick"]).tolist() == [abs(a - b) <= 3 for a, b in zip(made["y"], (200, 201, 203, 300))]
    assert np.isnan(made["tick"]).sum() == 2, "the middle one of three and the one alone are where they belong"
    for text, begin, end, right in zip(made["text"], made["from"], made["to"], made["x"]):
        assert begin < end < right
        assert right - end >= 2 * 7 * len(text), "it ends beside the name, not under it"
