"""Approaches and the frame of travel, by hand (features.md sections 4 and 8)."""

from __future__ import annotations

import numpy as np
import pytest

from engine.ladder import NO_TICK
from engine.params import ApproachParams
from engine.setups.approach import APPROACHES, DOWN, NONE, UP, approaches, frame_of_travel
from engine.vocab import Approach

N = NO_TICK


def test_codes_are_positions_in_the_vocabulary() -> None:
    assert [APPROACHES[c] for c in (UP, DOWN, NONE)] == [Approach.UP, Approach.DOWN, Approach.NONE]


@pytest.mark.parametrize(
    ("last", "level", "code"),
    [
        ([80, 80, 80, 81], 101, UP),  # d = -20, moved up by 1: toward the level
        ([80, 80, 80, 80], 100, NONE),  # within reach, did not move
        ([79, 79, 79, 80], 101, NONE),  # d = -21
        ([90, 90, 90, 99], 100, UP),
        ([90, 90, 90, 100], 100, NONE),  # at the level: d = 0
        ([90, 90, 90, 101], 100, NONE),  # crossed: above the level and moving away
        ([105, 120, 80, 104], 100, DOWN),  # only the window three back counts
        ([103, 120, 80, 104], 100, NONE),  # moved away from the level
        ([120, 120, 120, 119], 99, DOWN),  # d = 20
        ([N, 90, 90, 95], 100, NONE),  # no trade three windows ago
        ([90, 90, 90, N], 100, NONE),
        ([90, 90, 90, 95], N, NONE),  # the level has no value
    ],
)
def test_approach_of_the_last_window(last: list[int], level: int, code: int) -> None:
    found = approaches(np.array(last), np.full(4, level), ApproachParams())
    assert found.dtype == np.int8
    assert found.tolist() == [NONE, NONE, NONE, code]


def test_bounds_are_parameters_and_levels_may_move() -> None:
    last = np.array([90, 91, 92, 93])
    params = ApproachParams(max_distance_ticks=8, lookback_windows=1)
    assert approaches(last, np.full(4, 100), params).tolist() == [NONE, NONE, UP, UP]
    assert approaches(last, np.array([[100, 100, 91, 93], [99, 90, N, 85]]), params).tolist() == [
        [NONE, NONE, NONE, NONE],
        [NONE, NONE, NONE, NONE],
    ]
    assert approaches(last[::-1].copy(), np.full((2, 4), 90), params).tolist() == [[NONE, DOWN, DOWN, NONE]] * 2


def test_fewer_windows_than_the_lookback() -> None:
    assert approaches(np.array([99, 99]), np.array([100, 100]), ApproachParams()).tolist() == [NONE, NONE]


def test_frame_of_travel() -> None:
    last = np.array([N, 90, 100, 100, 110, 100])
    before = np.array([-1, 0, 1, 2, 3, 4, 5])
    start = np.array([N, N, 90, 100, 100, 110, 100])
    level = np.array([[100] * 7, [100, 100, N, 100, 100, 100, 90]])
    # At the level: came from 90 (up), still so a second later, then back from 110 (down).
    assert frame_of_travel(last, before, start, level).tolist() == [[0, 0, 1, 1, 1, -1, -1], [0, 0, 0, 1, 1, -1, -1]]


def test_at_the_level_from_the_first_trade_on_the_side_is_unknown() -> None:
    last = np.array([100, 100, 100])
    assert frame_of_travel(last, np.array([0, 1, 2]), last, np.array([[100, 100, 100]])).tolist() == [[0, 0, 0]]
