"""The URL against every parameter of the state: what it holds comes back exactly, and a value that cannot be shown is named."""

from __future__ import annotations

from typing import Any

import param
import pytest

from workbench.state import QUERY, LevelState

BUCKETS = {"at": 1, "near": 4, "mid": 9, "far": 30}
"""Each rises with the defaults of the others left of it."""


def state() -> LevelState:
    """A tab with two contracts and sessions to choose from."""
    s = LevelState()
    s.param["view"].objects = ["level", "compare"]
    s.param["contract"].objects = ["ESZ5", "ESH6"]
    s.param["session"].objects = ["2025-11-04", "2025-11-05"]
    s.param.update(contract="ESZ5", session="2025-11-04")
    return s


def others(s: LevelState, name: str) -> list[Any]:
    """Values of a parameter other than the one it has: all that can be chosen, or both ends and the middle of what is allowed."""
    kind: Any = s.param[name]
    if name == "cursor_ts_ns":
        # 05:00, 10:05:07, and the last second of the session's day in New York.
        day = 1_762_232_400
        return [(day + t) * 1_000_000_000 for t in (5 * 3600, 10 * 3600 + 307, 17 * 3600 - 1)]
    if name in BUCKETS:
        return [BUCKETS[name]]
    if isinstance(kind, param.Selector):
        return [v for v in kind.objects if v != getattr(s, name)]
    if isinstance(kind, param.Number):
        bounds: Any = kind.bounds
        low, high = bounds
        found = {low, high, low + 1} if isinstance(kind, param.Integer) else {low, high, low + 0.125}
        return [v for v in sorted(found) if v != getattr(s, name)]
    return ["or_low", "vwap", "price:6800.25", "price:27200.25", "price:0.00345"]


def held(s: LevelState) -> dict[str, Any]:
    return {k: v for k, v in s.param.values().items() if k != "name"}


def test_every_parameter_stands_in_the_url() -> None:
    assert set(QUERY.values()) == {p for p in LevelState.param if p != "name"}


@pytest.mark.parametrize("key", QUERY)
def test_each_value_comes_back_exactly(key: str) -> None:
    name = QUERY[key]
    values = others(state(), name)
    assert values
    for value in values:
        a, b = state(), state()
        if name in BUCKETS:
            a.param.update(**BUCKETS)
        else:
            a.param.update(**{name: value})
        assert b.read_query(a.query()) == [], (key, value)
        assert held(b) == held(a), (key, value)


GOOD = {"dots": ("-1",), "panel": ("",)}
"""Of the bad values, those that these take: trades that are large, no window of its own."""


@pytest.mark.parametrize("key", [k for k in QUERY if k not in ("level", "clock")])  # a clock has any name
def test_each_bad_value_is_named_and_what_stands_instead(key: str) -> None:
    for text in ("", "-1", "nonsense", "1e9", "<b>"):
        if text in GOOD.get(key, ()):
            continue
        s = state()
        before = held(s)
        said = s.read_query({key: text})
        assert len(said) == 1, (key, text, said)
        assert key in said[0]
        assert held(s) == before


def test_a_link_to_replay_opens_the_one_view_at_its_moment_and_an_hour_of_one_digit_is_one() -> None:
    for t, clock in (("9:53", "09:53:00"), ("9:53:30", "09:53:30"), ("10:05", "10:05:00")):
        s = state()
        assert s.read_query({"view": "replay", "t": t}) == []
        assert (s.view, s.query()["t"]) == ("level", clock)
