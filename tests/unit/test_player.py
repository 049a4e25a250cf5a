"""The replay's clock, what it knows at an instant, and the drill's book."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from workbench.views import drill as book
from workbench.views.known import middle, scale_time, stretch
from workbench.views.player import FRAME_S, IN_FLIGHT, Clock


def test_frames_that_fall_due_are_dropped_while_the_browser_paints() -> None:
    clock = Clock(1000, speed=60.0)
    clock.seek(10, 0.0)
    clock.play(True, 0.0)
    wall, sent = 0.0, []
    for _ in range(40):
        wall += 0.05
        if clock.due(wall) is not None:
            sent.append((clock.frame(wall), clock.position))
    assert len(sent) == IN_FLIGHT
    clock.ack(IN_FLIGHT)
    assert clock.due(wall + 0.05) is not None
    # What was missed is not made up for frame by frame: one frame stands for all of it.
    assert clock.position > sent[-1][1] + 60


def test_an_acknowledgement_of_what_was_never_sent_is_not_believed() -> None:
    clock = Clock(100)
    clock.ack(5)
    assert clock.acked == 0


def test_speed_and_limit() -> None:
    clock = Clock(100, speed=2.0)
    clock.seek(1, 0.0)
    clock.limit = 4
    clock.play(True, 0.0)
    assert clock.due(0.4) is None
    assert clock.due(0.6) == 2
    clock.frame(0.6)
    clock.ack(1)
    assert clock.due(0.6 + FRAME_S / 2) is None
    assert clock.due(1.05) == 3
    clock.ack(clock.frame(1.05))
    assert clock.due(1.5) == 4
    assert not clock.playing
    assert clock.seek(50, 2.0) == 4
    with pytest.raises(ValueError, match="speed: expected one of"):
        clock.set_speed(3.0, 2.0)


@pytest.mark.parametrize("span", [600, 1800, 7200])
def test_the_present_is_in_what_is_shown_and_near_its_right_edge(span: int) -> None:
    for t in range(1, 9000, 37):
        low, high = stretch(t, span, 12_600)
        assert high - low == span
        assert low <= t < high
        assert t < span or high - t <= span * 0.2


def test_scale_is_set_from_the_past() -> None:
    assert all(0 <= scale_time(t) <= t for t in range(3000))


def test_middle_follows_the_price_where_it_left_the_level() -> None:
    assert middle(None, 100, 103, 16) == 100
    assert middle(100, 102, 103, 16) == 100
    assert middle(100, 100, 140, 16) == 140
    assert middle(140, 100, 145, 16) == 140
    assert middle(140, 100, 152, 16) == 140
    assert middle(140, 100, 153, 16) == 153
    assert middle(None, None, 77, 16) == 77


def test_book_keeps_whole_lines_and_scores_each_touch_once(tmp_path: Path) -> None:
    for trigger, call, outcome in (("a", "break", "break"), ("b", "reject", "break"), ("a", "reject", "break")):
        book.append(tmp_path, "call", {"trigger_id": trigger, "call": call, "outcome": outcome})
    with (tmp_path / "drills" / book.BOOK).open("a") as f:
        f.write('{"trigger_id": "c", "ca')
    book.append(tmp_path, "forecast", {"trigger_id": "a", "p_reject": 0.2, "p_chop": 0.2, "p_break": 0.6})
    found = {s.who: s for s in book.scores(book.read(tmp_path))}
    assert (found["you"].n, found["you"].right, found["you"].score) == (2, 1, pytest.approx(0.5))
    assert (found["neighbours"].n, found["neighbours"].right) == (1, 1)
    assert found["neighbours"].score == pytest.approx((0.2**2 + 0.4**2) / 2)
    assert found["usual"].score is None


def test_ranked_score_by_hand() -> None:
    assert book.ranked_score((1.0, 0.0, 0.0), "reject") == 0
    assert book.ranked_score((1.0, 0.0, 0.0), "chop") == pytest.approx(0.5)
    assert book.ranked_score((1.0, 0.0, 0.0), "break") == pytest.approx(1.0)


def test_no_question_twice() -> None:
    found = [book.Question(str(i), "ESZ5", "2025-11-04", "pm_high", "approach_up", i, "h1", "chop") for i in range(3)]
    q = book.choose(found, {"0", "2"}, random.Random(1))
    assert q is not None
    assert q.trigger_id == "1"
    assert book.choose(found, {"0", "1", "2"}, random.Random(1)) is None


def test_candles_as_they_stood(made_session) -> None:
    from engine.vocab import NS
    from tests.reference.candle_twin import bars_until

    s = made_session
    for t in (1, 59, 120, 121, 1000, 1801):
        expected = bars_until(s.bars, s.ladder.tape, s.ladder.start_ns + t * NS)
        found = s.candles().until(t, 0)
        assert found.equals(expected)
        columns = ["window_start_ts_ns", "open_tick", "high_tick", "low_tick", "close_tick"]
        assert found.select(columns).equals(expected.select(columns).cast(dict.fromkeys(columns[1:], pl.Int32)))


@pytest.fixture(scope="module")
def made_session(tmp_path_factory: pytest.TempPathFactory):
    """A small generated session."""
    from tests.ui.conftest import DATE, generated_lake
    from workbench import session_cache

    lake = generated_lake(tmp_path_factory.mktemp("replay"), 20_000)
    return session_cache.load(str(lake), "ESZ5", DATE)


def test_image_at_an_instant_holds_nothing_later(made_session) -> None:
    from workbench.plots.heatmap import LAYERS
    from workbench.views import known as past

    s = made_session
    mid = int(s.ladder.last_tick[1500])
    slab = past.Slab(s, 600, 2400, mid - 20, mid + 20, 1, LAYERS["depth"], 0.0, 600)
    grown = None
    for t in (1501, 1502, 1503, 1600):
        codes = slab.image(t)[0]
        first_empty = slab.column_of(t - 1) + 1
        assert (codes[:, first_empty:] == 0).all()
        assert codes[:, :first_empty].any()
        if grown is not None:
            # What frames patch in column by column is what the whole image says.
            before, image = grown
            a = slab.column_of(before - 1)
            image[:, a : slab.column_of(t - 1) + 1] = slab.codes(a, t)
            assert (image == codes).all()
        grown = (t, codes.copy())
