"""A setup's picture: the same bytes everywhere, nothing of the future where none is wanted, every word inside the picture."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import warnings
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from engine.bars import BAR_NS
from engine.errors import SessionError, UnknownLevel
from engine.ladder import Ladder
from engine.session import Candles
from tests.support.ladders import DATE, NS, SYMBOL
from tests.support.scenes import LEVEL_TICK, NOW_NS, START_NS, bars_of, frames, level_steps, levels, picture_hash, scene
from workbench.plots.heatmap import LAYERS
from workbench.plots.levels import spread
from workbench.snapshot import PictureParams, draw, draw_scene, make_scene, picture, read_state, setup_bars
from workbench.snapshot.panels import pixels, settings

ROOT = Path(__file__).parents[2]


@cache
def drawn(**params: Any) -> tuple[Any, np.ndarray]:
    """The figure of the scene with these parameters, and its pixels; only to be looked at. A glyph that the font lacks is an error."""
    figure = draw_scene(scene(**params))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return figure, pixels(figure)


def texts(figure) -> list[Text]:
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def words(figure) -> str:
    return "\n".join(t.get_text() for t in texts(figure))


# --- the same bytes


def test_the_same_bytes_twice_and_in_a_process_with_other_settings(tmp_path: Path) -> None:
    here = hashlib.sha256(picture(scene(), "rth")).hexdigest()
    assert picture_hash() == here
    rc = tmp_path / "matplotlibrc"
    rc.write_text("font.size: 31\nfont.family: serif\nfigure.dpi: 30\naxes.facecolor: ff0000\nlines.linewidth: 9\ntext.usetex: True\n")
    env = {**os.environ, "MATPLOTLIBRC": str(rc), "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "tests.support.scenes"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == here


def test_draw_is_the_picture_of_its_scene() -> None:
    rows, tape = frames()
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    figure = draw(ladder, levels(), bars_of(tape), level_id="pm_high", ts_ns=NOW_NS, simulated=True)
    np.testing.assert_array_equal(pixels(figure), pixels(draw_scene(scene())))


@pytest.mark.parametrize("size", [(1440, 900), (1500, 1200), (1920, 1080), (2560, 1440), (3840, 2160)])
def test_the_picture_has_the_size_asked_for(size: tuple[int, int]) -> None:
    _, seen = drawn(width_px=size[0], height_px=size[1], theme="dark", layer="depth")
    assert seen.shape == (size[1], size[0], 4)


# --- what it says


@pytest.mark.parametrize("size", [(1440, 900), (1500, 1200), (1920, 1080), (2560, 1440)])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_word_stands_inside_the_picture_and_every_sign_has_a_glyph(size: tuple[int, int], theme: str) -> None:
    figure, _ = drawn(width_px=size[0], height_px=size[1], theme=theme, layer="depth")
    with settings():
        for t in texts(figure):
            box = t.get_window_extent()
            assert box.x0 >= 0, t.get_text()
            assert box.y0 >= 0, t.get_text()
            assert box.x1 <= size[0] + 1, t.get_text()
            assert box.y1 <= size[1] + 1, t.get_text()


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_is_another_picture_of_the_same_moment(layer: str) -> None:
    s = scene(layer=layer)
    said = words(draw_scene(s))
    assert LAYERS[layer].title in said
    assert s.sentence.split(", ")[1].split(":")[0].split(" away")[0] in said.replace("\n", " ")


def test_words_name_the_moment_the_levels_and_the_setup() -> None:
    s = scene()
    said = words(draw_scene(s))
    named = "PM High · ON High", "5001.00", "▲ PD High", "▼ PD Low", "OR High from 09:33"
    for part in ("ESH6", "09:30:35–09:30:40 New York", *named):
        assert part in said, part
    assert "6-bar look-back" in said
    assert ("Trigger candle" in said) == (s.setup.trigger_ns is not None)


def test_simulated_orders_are_marked_and_real_ones_are_not() -> None:
    assert "SIMULATED" in words(draw_scene(scene()))
    assert "SIMULATED" not in words(draw_scene(scene(simulated=False)))


def test_a_name_from_outside_is_text_and_no_formula() -> None:
    said = words(draw_scene(scene(level_id="price:5000.5")))
    assert "Price 5000.50" in said
    with settings():
        import matplotlib as mpl

        assert mpl.rcParams["text.parse_math"] is False


def test_the_digest_is_of_numbers_and_not_of_colours() -> None:
    base = scene()
    assert scene(theme="light", palette="bookmap", width_px=1440, height_px=900).digest() == base.digest()
    assert scene(ts_ns=NOW_NS + 5 * NS).digest() != base.digest()
    assert scene(level_id="vwap").digest() != base.digest()


def test_state_goes_in_and_comes_out() -> None:
    s = scene(theme="light", layer="net", rows=20)
    state = read_state(picture(s, "rth"))
    assert state == s.state("rth")
    assert state.ts_ns == NOW_NS
    assert state.level_id == "pm_high"
    assert state.price == LEVEL_TICK * 0.25
    assert state.simulated
    assert state.picture == PictureParams(theme="light", layer="net", rows=20)


# --- no future


def test_without_hindsight_the_picture_is_that_of_a_lake_that_ends_at_the_moment() -> None:
    end = NOW_NS + 5 * NS
    rows, tape = frames()
    cut_tape = tape.filter(pl.col("window_start_ts_ns") < end)
    cut = Ladder.from_frames(rows.filter(pl.col("window_start_ts_ns") < end), cut_tape, symbol=SYMBOL, date=DATE)
    known = levels().filter(pl.col("start_ts_ns") < end).with_columns(pl.min_horizontal("end_ts_ns", pl.lit(end)).alias("end_ts_ns"))
    params = PictureParams(hindsight=False)
    blind = make_scene(cut, known, bars_of(cut_tape), level_id="pm_high", ts_ns=NOW_NS, picture=params, simulated=True)
    assert picture(scene(hindsight=False), "rth") == picture(blind, "rth")
    assert "OR High" not in words(draw_scene(blind))


def test_with_hindsight_what_was_there_at_the_moment_is_drawn_the_same() -> None:
    then, later = scene(hindsight=False), scene()
    n = then.cube.sizes["window"]
    assert later.cube.sizes["window"] > n
    assert later.top == then.top
    assert later.sentence == then.sentence
    assert later.rows.equals(then.rows)


def test_the_bar_under_way_is_made_of_the_seconds_before_the_moment() -> None:
    _, tape = frames()
    end = START_NS + 1_835 * NS
    full = bars_of(tape)
    candles = Candles(full, tape)
    got = candles.until((end - candles.start_ns) // NS)
    expected = bars_of(tape.filter(pl.col("window_start_ts_ns") < end))
    assert got.select(expected.columns).equals(expected)
    assert got.height < full.height


# --- errors


def test_a_moment_outside_the_session_and_an_unknown_level_say_so() -> None:
    with pytest.raises(SessionError, match="expected a moment from 09:00:00 to 10:00:00 New York, found 10:00:00"):
        scene(ts_ns=START_NS + 3_600 * NS)
    with pytest.raises(UnknownLevel, match="expected one of pm_high"):
        scene(level_id="pm_hihg")
    with pytest.raises(UnknownLevel, match="PD Close is absent from ESH6"):
        scene(level_id="pd_close")


def test_before_a_level_is_known_the_picture_says_so() -> None:
    s = scene(level_id="or_high")
    assert not s.known
    assert s.sentence == "OR High: not known yet at 09:30:35; it stands from 09:33:20 on."
    assert s.sentence in words(draw_scene(s)).replace("OR High\n", "OR High")


def test_a_picture_of_nothing_traded_is_drawn() -> None:
    rows, tape = frames()
    quiet = tape.with_columns(pl.lit(0, pl.Int32).alias("trades"), pl.lit(None, pl.Int32).alias("last_tick"))
    ladder = Ladder.from_frames(rows, quiet, symbol=SYMBOL, date=DATE)
    s = make_scene(ladder, levels(), bars_of(tape).clear(), level_id="pm_high", ts_ns=NOW_NS)
    assert "no reading, nothing has traded yet" in words(draw_scene(s)).replace("\n", " ")


# --- the setup's candles


def bars(*rows: tuple[int, int, int, int]) -> pl.DataFrame:
    """Bars (open, high, low, close) from the ladder's start."""
    starts = [START_NS + i * BAR_NS for i in range(len(rows))]
    data = {c: [r[i] for r in rows] for i, c in enumerate(("open_tick", "high_tick", "low_tick", "close_tick"))}
    return pl.DataFrame({"window_start_ts_ns": starts, "window_end_ts_ns": [s + BAR_NS for s in starts], **data})


BELOW, RISE, ABOVE = (90, 92, 88, 91), (91, 104, 90, 103), (103, 106, 102, 105)
LEVEL = level_steps(("pm_high", 0, 3_600, 100))


def test_trigger_confirmation_look_back_and_look_forward_are_those_of_the_owners_picture() -> None:
    # As in its first setup: the trigger crosses above, the next candle confirms, six candles up to it are read, three after it judged.
    got = setup_bars(bars(*[BELOW] * 8, RISE, *[ABOVE] * 6), LEVEL, START_NS + 8 * BAR_NS + 30 * NS)
    assert (got.trigger_ns, got.confirmation_ns) == (START_NS + 8 * BAR_NS, START_NS + 9 * BAR_NS)
    assert got.crossed == "crossed above"
    assert got.back_ns == (START_NS + 4 * BAR_NS, START_NS + 10 * BAR_NS)
    assert got.forward_ns == (START_NS + 10 * BAR_NS, START_NS + 13 * BAR_NS)


@pytest.mark.parametrize(
    ("bar", "said"),
    [
        ((95, 100, 94, 96), "touched from below"),
        ((95, 103, 94, 101), "crossed above"),
        ((105, 106, 100, 104), "touched from above"),
        ((105, 106, 97, 98), "crossed below"),
        ((100, 101, 99, 99), "touched from below"),
    ],
)
def test_what_the_trigger_did(bar: tuple[int, int, int, int], said: str) -> None:
    got = setup_bars(bars(BELOW, BELOW, bar, ABOVE), LEVEL, START_NS + 2 * BAR_NS)
    assert got.crossed == said


def test_the_next_trigger_comes_before_the_last_one_and_a_far_one_is_none() -> None:
    many = bars(RISE, *[ABOVE] * 4, (103, 104, 99, 101), *[ABOVE] * 12)
    assert setup_bars(many, LEVEL, START_NS + 3 * BAR_NS).trigger_ns == START_NS + 5 * BAR_NS
    assert setup_bars(many, LEVEL, START_NS + 8 * BAR_NS).trigger_ns == START_NS + 5 * BAR_NS
    none = setup_bars(many, LEVEL, START_NS + 12 * BAR_NS)
    assert none.trigger_ns is None
    assert none.forward_ns is None
    assert none.back_ns == (START_NS + 7 * BAR_NS, START_NS + 13 * BAR_NS)


def test_a_setup_without_later_candles_waits() -> None:
    got = setup_bars(bars(*[BELOW] * 7, RISE), LEVEL, START_NS + 7 * BAR_NS)
    assert (got.trigger_ns, got.confirmation_ns, got.forward_ns) == (START_NS + 7 * BAR_NS, None, None)
    assert setup_bars(bars(*[BELOW] * 7, RISE, ABOVE), LEVEL, START_NS + 7 * BAR_NS).forward_ns is None


# --- labels that stand apart


@given(st.lists(st.floats(0, 100), max_size=8), st.floats(1, 10))
def test_labels_keep_order_room_and_bounds(wanted: list[float], room: float) -> None:
    wanted.sort()
    got = spread(wanted, room, 0.0, 100.0)
    assert len(got) == len(wanted)
    assert all(b - a >= room - 1e-6 for a, b in pairwise(got))
    assert all(-1e-6 <= g <= 100 + 1e-6 for g in got)


def test_labels_with_room_stay_where_they_belong() -> None:
    assert spread([5.0, 50.0, 90.0], 10, 0, 100) == [5.0, 50.0, 90.0]
    assert spread([50.0, 50.0], 10, 0, 100) == [45.0, 55.0]


@pytest.mark.parametrize("size", [(1440, 860), (1440, 900), (1920, 1080), (2560, 1440)])
@pytest.mark.parametrize("layer", ["depth", "net"])
def test_no_words_of_the_sheet_stand_on_others(size: tuple[int, int], layer: str) -> None:
    at = {"width_px": size[0], "height_px": size[1], "theme": "dark", "layer": layer}
    figure = drawn(**at)[0] if layer == "depth" else draw_scene(scene(**at))
    with settings():
        boxes = [(t.get_text(), t.get_window_extent()) for t in figure.texts]
    for i, (one, a) in enumerate(boxes):
        for other, b in boxes[i + 1 :]:
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            down = min(a.y1, b.y1) - max(a.y0, b.y0)
            # Boxes of two lines may share the px between descenders and capitals.
            assert across <= 1 or down <= 4, f"{one!r} and {other!r}"
