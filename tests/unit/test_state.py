"""The state and its URL: a round trip, and every bad value named."""

from __future__ import annotations

from workbench.state import LevelState


def state() -> LevelState:
    s = LevelState()
    s.param["contract"].objects = ["ESH4"]
    s.param["session"].objects = ["2023-12-25"]
    s.contract, s.session = "ESH4", "2023-12-25"
    return s


def test_query_round_trip() -> None:
    a = state()
    a.param.update(
        level="price:4808.25", window_s=10, at=1, near=4, mid=9, far=30, layer="net", step="dollar", half_life_s=7.5, rows=40, span_min=0
    )
    a.read_query({"t": "18:22:20"})
    b = state()
    assert b.read_query(a.query()) == []
    assert {k: v for k, v in b.param.values().items() if k != "name"} == {k: v for k, v in a.param.values().items() if k != "name"}


def test_defaults_stay_out_of_the_url() -> None:
    assert state().query() == {"contract": "ESH4", "session": "2023-12-25", "level": "pm_high"}


def test_bad_values_are_named_and_the_good_ones_taken() -> None:
    s = state()
    bad = s.read_query({"window": "0", "layer": "x", "t": "25:00:00", "contract": "CLZ5", "half": "abc", "what": "1", "rows": "12"})
    assert s.rows == 12
    assert s.window_s == 5
    assert s.contract == "ESH4"
    assert len(bad) == 6
    assert any("window “0”" in b and "a whole number from 1 to 30" in b for b in bad)
    # In the trader's words: nothing of how the program writes its values.
    assert not any(word in b for b in bad for word in ("None", "invalid literal", "could not convert", "'"))


def test_buckets_that_do_not_rise_are_refused_together() -> None:
    s = state()
    (said,) = s.read_query({"at": "9", "near": "3"})
    assert "do not rise" in said
    assert (s.at, s.near, s.mid, s.far) == (2, 5, 14, 20)


def test_buckets_that_do_not_rise_are_taken_back_before_anyone_sees_them() -> None:
    s = state()
    s.param.update(near=6, far=30)
    seen = []
    s.param.watch(lambda *_: seen.append((s.at, s.near, s.mid, s.far)), ["at", "near", "mid", "far"])
    s.near = 1
    assert (s.at, s.near, s.mid, s.far) == (2, 6, 14, 30)
    assert set(seen) == {(2, 6, 14, 30)}
    assert "2, 1, 14, 30" in s.refused
    assert "stay at 2, 6, 14, 30" in s.refused
    assert s.query()["near"] == "6"
    s.mid = 15
    assert (s.mid, s.refused) == (15, "")


def test_the_question_about_similar_setups_stands_in_the_url() -> None:
    a = state()
    a.param.update(horizon="h3", mode="all", pool="level", direction="approach_down", neighbours_k=19)
    asked = {k: v for k, v in a.query().items() if k not in ("contract", "session", "level")}
    assert asked == {"horizon": "h3", "mode": "all", "pool": "level", "from": "approach_down", "k": "19"}
    b = state()
    assert b.read_query(a.query()) == []
    assert (b.horizon, b.mode, b.pool, b.direction, b.neighbours_k) == ("h3", "all", "level", "approach_down", 19)
    (said,) = b.read_query({"mode": "sideways"})
    assert "sideways" in said
    assert "walk_forward" in said
