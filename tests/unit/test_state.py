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
    assert any("window='0'" in b and "1 to 30" in b for b in bad)


def test_buckets_that_do_not_rise_are_refused_together() -> None:
    s = state()
    (said,) = s.read_query({"at": "9", "near": "3"})
    assert "do not rise" in said
    assert (s.at, s.near, s.mid, s.far) == (2, 5, 14, 20)
