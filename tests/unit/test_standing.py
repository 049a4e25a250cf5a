"""Which side flow names near a level, and the walls in price's way: equal to their slow twins, and as known at the moment alone."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.features.flow_lead import FlowLead, flow_lead
from engine.features.walls import Wall, in_the_way, walls
from engine.ladder import Ladder
from engine.params import FlowLeadParams, WallParams
from tests.reference import standing_twin as twin
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames, rows_from, tape_from

K = 20_000


def ladder_of(frames: tuple[pl.DataFrame, pl.DataFrame]) -> Ladder:
    return Ladder.from_frames(*frames, symbol=SYMBOL, date=DATE)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    end=st.integers(1, 139),
    step=st.sampled_from([1, 1, 2, 4]),
    near=st.integers(0, 6),
    offset=st.integers(-6, 6),
    gaps=st.sampled_from([0.0, 0.004]),
    params=st.builds(
        FlowLeadParams,
        flow_s=st.sampled_from([5, 15, 30]),
        share=st.sampled_from([0.02, 0.15]),
        usual_times=st.sampled_from([0.5, 1.5]),
        usual_s=st.sampled_from([60, 90]),
        usual_least_s=st.just(30),
        memory_s=st.sampled_from([5, 40]),
    ),
)
def test_the_named_side_is_the_twin_s(seed: int, end: int, step: int, near: int, offset: int, gaps: float, params: FlowLeadParams) -> None:
    frames = make_frames(140, seed, span=30, invalid_share=gaps, quiet_start=seed % 3 * 20, move=0.1)
    found = flow_lead(ladder_of(frames), K + offset, (START_S + end) * NS + 7, near=near, step_ticks=step, params=params)
    side, rows, long, short = twin.flow_lead(twin.Book(*frames), K + offset, end, near, step, params.model_dump())
    assert (found.side if found.known else "?", list(found.rows), found.long, found.short) == (side, rows, long, short)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    end=st.integers(1, 90),
    offset=st.integers(-8, 8),
    gaps=st.sampled_from([0.0, 0.01]),
    params=st.builds(
        WallParams,
        reach_ticks=st.sampled_from([5, 12]),
        times=st.sampled_from([1.3, 2.0]),
        kept_times=st.sampled_from([1.0, 1.5]),
        named_s=st.sampled_from([0, 3]),
        told_s=st.sampled_from([5, 30]),
        memory_s=st.sampled_from([30, 60]),
        settle_s=st.sampled_from([0, 3]),
        refill_share=st.just(0.1),
    ),
)
def test_walls_are_the_twin_s(seed: int, end: int, offset: int, gaps: float, params: WallParams) -> None:
    frames = make_frames(90, seed, span=20, touched=0.05, invalid_share=gaps)
    found = walls(ladder_of(frames), K + offset, (START_S + end) * NS + 7, params)
    expected = twin.walls(twin.Book(*frames), K + offset, end, params.model_dump())
    assert [dataclasses.astuple(w) for w in found] == [pytest.approx(w) for w in expected]


def test_both_say_something_on_made_up_ladders() -> None:
    """Of twins that never name anything equality would say little."""
    sides, fates = set(), set()
    for seed in range(4):
        lad = ladder_of(make_frames(140, seed, span=20, touched=0.05))
        p = FlowLeadParams(share=0.1, usual_times=1, usual_s=60, usual_least_s=30)
        sides |= {flow_lead(lad, K, lad.start_ns + s * NS, near=4, params=p).side for s in range(60, 140, 5)}
        w = WallParams(reach_ticks=12, times=1.5, kept_times=1.2, named_s=3)
        fates |= {x.fate for s in range(30, 140, 10) for x in walls(lad, K, lad.start_ns + s * NS, w)}
    assert sides == {"", "long", "short"}
    assert fates >= {"", "eaten", "pulled"}


@pytest.mark.parametrize("cut", [61, 100, 137])
def test_what_comes_later_changes_nothing(cut: int) -> None:
    rows, tape = make_frames(140, 3, span=30, touched=0.05)
    until = (START_S + cut) * NS
    past = ladder_of((rows.filter(pl.col("window_start_ts_ns") < until), tape.filter(pl.col("window_start_ts_ns") < until)))
    whole = ladder_of((rows, tape))
    p = FlowLeadParams(share=0.05, usual_times=0.5, usual_s=60, usual_least_s=30)
    w = WallParams(times=1.5, kept_times=1.0, named_s=0)
    assert flow_lead(whole, K, until, near=5, params=p) == flow_lead(past, K, until, near=5, params=p)
    assert walls(whole, K, until, w) == walls(past, K, until, w) != []


# ----------------------------------------------------------------------------
# By hand


def book_with_wall(events: dict[int, dict[str, int]], seconds: int = 120) -> Ladder:
    """Asks of 10 at K+1 to K+9 and a wall of 100 at K+4 from second 10 on; `events` change the wall, its depth given."""
    flat = [{"s": 0, "tick": K + d, "ask_depth": 10, "ask_add": 10} for d in range(1, 10)]
    wall = [{"s": 10, "tick": K + 4, "ask_depth": 100, "ask_add": 90, "keyframe": False}]
    later = [{"s": s, "tick": K + 4, "keyframe": False, **e} for s, e in sorted(events.items())]
    seconds_of = [{"last_tick": K, "best_bid_tick": K, "best_ask_tick": K + 1} for _ in range(seconds)]
    return ladder_of((rows_from([*flat, *wall, *later]), tape_from(seconds_of)))


def at(lad: Ladder, s: int) -> list[Wall]:
    return walls(lad, K, lad.start_ns + s * NS)


def test_a_wall_that_stands() -> None:
    lad = book_with_wall({60: {"ask_depth": 140, "ask_add": 40}})
    assert at(lad, 10) == []
    assert at(lad, 40) == [Wall("ask", K + 4, 100, 10.0, 30)]
    assert at(lad, 61) == [Wall("ask", K + 4, 140, 14.0, 51, trend="growing")]
    assert at(lad, 120) == [Wall("ask", K + 4, 140, 14.0, 110)]


@pytest.mark.parametrize(
    ("event", "fate", "traded"),
    [
        ({"ask_pull": 75}, "pulled", 0),
        ({"ask_fill": 60, "ask_pull": 15}, "eaten", 60),
        ({"ask_pull": 75, "ask_pull_rest": 75, "ask_away_rest": 70}, "moved", 0),
        ({"ask_pull": 60, "ask_fill": 15}, "pulled", 15),
    ],
)
def test_how_a_wall_ends(event: dict[str, int], fate: str, traded: int) -> None:
    lad = book_with_wall({70: {"ask_depth": 25, **event}})
    (found,) = at(lad, 76)
    assert (found.fate, found.was, found.size, found.took_s, found.traded, found.age_s) == (fate, 100, 25, 1, traded, 60)
    assert found.ended_s == 5
    assert at(lad, 70 + 30) != []
    assert at(lad, 70 + 31) == []


def test_a_wall_that_ended_young_is_not_told() -> None:
    assert at(book_with_wall({20: {"ask_depth": 25, "ask_pull": 75}}), 25) == []


def test_refills_are_counted() -> None:
    eaten = {s: {"ask_depth": 70, "ask_fill": 30} for s in (30, 50)}
    back = {s: {"ask_depth": 100, "ask_add": 30} for s in (33, 53)}
    (found,) = at(book_with_wall(eaten | back), 60)
    assert (found.refills, found.size, found.trend) == (2, 100, "steady")


def test_what_stands_in_the_way_comes_before_what_is_gone() -> None:
    asks = [Wall("ask", K + d, size, 5.0, age) for d, size, age in ((2, 80, 60), (4, 120, 60), (6, 90, 60), (3, 500, 5))]
    gone = [Wall("ask", K + 5, 20, 5.0, 60, fate="pulled", was=100, ended_s=s) for s in (9, 4)]
    bid = Wall("bid", K - 3, 70, 4.0, 60)
    old = asks[:3]
    assert [w.size for w in in_the_way([*old, bid], K, up=True)] == [120, 90, 80]
    assert [(w.size, w.ended_s) for w in in_the_way([*old, *gone, bid], K, up=True)] == [(120, 0), (90, 0), (20, 4)]
    assert in_the_way([*asks, bid], K, up=False) == [bid]
    # One that has just come is told where it is larger than all that have stood a while, and the sentence waits for its age.
    assert [w.size for w in in_the_way([*asks, bid], K, up=True)] == [120, 90, 500]
    assert [w.size for w in in_the_way([*asks, *gone, bid], K, up=True)] == [120, 500, 20]
    assert [w.size for w in in_the_way([*asks, *gone, bid], K, up=True, params=WallParams(most=1))] == [500]
    small = dataclasses.replace(asks[3], size=120)
    assert [w.size for w in in_the_way([*old, small], K, up=True)] == [120, 90, 80]
    assert in_the_way(asks, K + 5, up=True) == [asks[2]]


def flow_book(net: dict[int, dict[int, tuple[int, int]]], seconds: int = 400) -> Ladder:
    """Price stands at K; every 5 s at K+1 to K+3 two contracts are added and two pulled, but what `net` says by second and tick."""
    rows = []
    depth = {K + d: 200 for d in (1, 2, 3)}
    for s in range(0, seconds, 5):
        for k in depth:
            add, pull = net.get(s, {}).get(k, (2, 2))
            depth[k] += add - pull
            first = {"ask_add": depth[k] + pull} if s == 0 else {"ask_add": add}
            rows.append({"s": s, "tick": k, "ask_depth": depth[k], "ask_pull": pull, "keyframe": s == 0, **first})
    return ladder_of((rows_from(rows), tape_from([{"last_tick": K, "best_ask_tick": K + 1, "best_bid_tick": K - 1}] * seconds)))


def test_a_side_keeps_its_name_until_its_lead_is_lost() -> None:
    lad = flow_book({300: {K + 2: (2, 22)}, 320: {K + 2: (20, 2)}, 335: {K + 1: (30, 2)}})
    named = {s: flow_lead(lad, K, lad.start_ns + s * NS, near=3) for s in (300, 305, 320, 325, 330, 340)}
    assert [named[s].side for s in (300, 305, 320, 325)] == ["", "long", "long", "long"]
    assert named[305].rows == (K + 2,)
    # A lead of 2 contracts names nobody, and keeps a name.
    assert named[325].long - named[325].short == 2
    # From 335 s on the pull of 300 s is not of the last 30 s any more.
    assert named[340] == FlowLead("short", (K + 1, K + 2), 36, 82, lad.start_ns + 340 * NS)
    assert named[340].lead == pytest.approx(46 / 36)


def test_no_side_is_named_where_the_book_is_not_known() -> None:
    rows, tape = make_frames(140, 3, span=30)
    broken = tape.with_columns(book_valid=pl.int_range(140) != 120)
    found = flow_lead(ladder_of((rows, broken)), K, (START_S + 130) * NS, near=5)
    assert (found.side, found.known, found.long) == ("", False, 0)
    assert flow_lead(ladder_of((rows, tape)), K, START_S * NS, near=5).known is False
