"""The kernels' ladder, tape and order events equal the slow twins', row for row, on streams that hypothesis makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.params import OrderParams, ReplayParams
from tests.support.dbn_files import F_BAD_TS_RECV, F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT, UNDEF_PRICE, make_records
from tests.support.replaying import File, breaches, order_events, replay_files, twin_frames, twin_of_files, twin_order_events

NS = 1_000_000_000
BASE = 1_762_214_400 * NS
INSTRUMENTS = {7: "ESZ5", 9: "CLF26"}
TICK = {7: 250_000_000, 9: 10_000_000}
SNAP = F_SNAPSHOT | F_BAD_TS_RECV

near = st.integers(-2, 6)
ticks = st.one_of(near, near, near, st.sampled_from([-3763, 26_000, 40, 400_000_000, 3_000_000_000]))
sizes = st.one_of(st.integers(0, 5), st.integers(1, 9), st.just(2**32 - 1))
ids = st.integers(0, 9)
sides = st.sampled_from("BABABABAN")
steps = st.sampled_from([0, 0, 0, 1, 100_000_000, 499_999_999, 500_000_000, NS, 3 * NS, -NS])
flags = st.sampled_from([F_LAST, F_LAST, F_LAST | 2, 0, 0, F_LAST | F_MAYBE_BAD_BOOK])


@st.composite
def plain(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One record with anything in it."""
    tick = draw(ticks)
    price = {"tick": tick} if draw(st.integers(0, 30)) else {"price": draw(st.sampled_from([UNDEF_PRICE, 1_000_000_001, -2_500_000_000]))}
    return [
        {
            "step": draw(steps), "action": draw(st.sampled_from("AAAAACCCMMMMTFRN")), "order_id": draw(ids),
            "size": draw(sizes), "side": draw(sides), "flags": draw(flags), **price,
        }
    ]  # fmt: skip


@st.composite
def execution(draw: st.DrawFn) -> list[dict[str, Any]]:
    """T, F..., then the C or M that carry them out; icebergs, hidden fills, takers that are makers, sides of N."""
    step, tick = draw(steps), draw(near)
    fills = [(draw(ids), draw(st.integers(1, 5))) for _ in range(draw(st.integers(0, 3)))]
    event = [{"step": step, "action": "T", "order_id": draw(ids), "tick": tick, "size": 1 + sum(n for _, n in fills), "side": draw(sides)}]
    event += [{"action": "F", "order_id": oid, "tick": tick, "size": n, "side": draw(sides)} for oid, n in fills]
    for oid, n in fills:
        action = draw(st.sampled_from("CCMN"))
        size = n if action == "C" else draw(st.integers(0, 6))
        event.append(
            {"action": action, "order_id": oid, "tick": tick + draw(st.sampled_from([0, 0, 0, 1, -2])), "size": size, "side": draw(sides)}
        )
    event[-1]["flags"] = draw(st.sampled_from([F_LAST, F_LAST, F_LAST, 0]))
    return event


@st.composite
def snapshot(draw: st.DrawFn) -> list[dict[str, Any]]:
    """With or without R, with or without the closing F_LAST, perhaps over more than one second."""
    rows: list[dict[str, Any]] = (
        [{"action": "R", "order_id": 0, "price": UNDEF_PRICE, "side": "N", "flags": SNAP}] if draw(st.booleans()) else []
    )
    order = {"action": "A", "flags": SNAP, "old": True}
    more = range(draw(st.integers(0 if rows else 1, 6)))
    rows += [{**order, "order_id": draw(ids), "tick": draw(ticks), "size": draw(sizes), "side": draw(sides)} for _ in more]
    rows[0]["step"] = draw(steps)
    if len(rows) > 2 and draw(st.booleans()):
        rows[2]["step"] = NS
    if draw(st.booleans()):
        rows[-1]["flags"] |= F_LAST
    return rows


@st.composite
def streams(draw: st.DrawFn) -> list[File]:
    """One to three files of two instruments."""
    files, now = [], BASE
    for _ in range(draw(st.integers(1, 3))):
        start = now
        parts = draw(st.lists(st.tuples(st.sampled_from([7, 7, 9]), st.one_of(plain(), plain(), execution(), snapshot())), max_size=30))
        rows = []
        for instrument, event in parts:
            for row in event:
                now = max(BASE, now + row.pop("step", 0))
                tick = row.pop("tick", None)
                if tick is not None:
                    row["price"] = tick * TICK[instrument]
                ts = now - 7200 * NS if row.pop("old", False) else now
                rows.append({"flags": 0, **row, "ts_event": ts, "ts_recv": now + 1000, "instrument_id": instrument})
        end = now // NS * NS + draw(st.sampled_from([-2, 0, 1, 5])) * NS
        files.append(File(make_records(rows), draw(st.sampled_from([start // NS * NS, None])), end))
        now = max(now, end) + draw(st.sampled_from([0, 0, 2 * NS]))
    return files


def quick_and_long(check: Callable[..., None], **given_: st.SearchStrategy[Any]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Two tests of a property: of a hundred examples, and of a thousand among the long ones."""
    quick, many = (settings(max_examples=n, deadline=None)(given(**given_)(check)) for n in (100, 1_000))
    return quick, pytest.mark.long(many)


def kernel_equals_twin(
    files: list[File], cuts: list[int], offset: int, length: int, span: int, keyframe_s: int, rest_ns: int, warm: bool
) -> None:
    start, end = BASE + offset * NS, BASE + (offset + length) * NS
    params = ReplayParams(span_ticks=span, keyframe_s=keyframe_s, rest_ns=rest_ns)
    replayed = replay_files(files, cuts, INSTRUMENTS, start, end, params, warm=warm)
    for instrument, symbol in INSTRUMENTS.items():
        twin = twin_of_files(files, instrument, TICK[instrument], start, end, params, warm=warm)
        ladder, tape = twin_frames(twin)
        assert_frame_equal(replayed[symbol].rows, ladder)
        assert_frame_equal(replayed[symbol].tape, tape)
        assert replayed[symbol].stats["unknown_cancels"] == twin.unknown_cancels
        assert breaches(replayed[symbol].rows, replayed[symbol].tape).is_empty()


test_kernel_equals_twin, test_kernel_equals_twin_on_many = quick_and_long(
    kernel_equals_twin,
    files=streams(),
    cuts=st.lists(st.integers(0, 90), max_size=4),
    offset=st.integers(-2, 4),
    length=st.integers(1, 12),
    span=st.sampled_from([21, 22, 5000]),
    keyframe_s=st.integers(1, 5),
    rest_ns=st.sampled_from([0, 1, 100_000_000, 500_000_000, 500_000_000]),
    warm=st.booleans(),
)


@given(files=streams(), cuts=st.lists(st.integers(0, 90), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_chunk_boundaries_change_nothing(files: list[File], cuts: list[int]) -> None:
    whole = replay_files(files, [], INSTRUMENTS, BASE, BASE + 20 * NS, ReplayParams())
    cut = replay_files(files, cuts, INSTRUMENTS, BASE, BASE + 20 * NS, ReplayParams())
    for symbol, contract in whole.items():
        assert_frame_equal(contract.rows, cut[symbol].rows)
        assert_frame_equal(contract.tape, cut[symbol].tape)
        assert contract.stats == cut[symbol].stats


@st.composite
def few_orders(draw: st.DrawFn) -> list[File]:
    """One file of a few orders that rest, are filled, refilled, moved and pulled while trading goes up and down."""
    now, rows, alive = BASE, [], dict[int, tuple[int, str]]()
    for _ in range(draw(st.integers(1, 60))):
        now += draw(st.sampled_from([0, 1, 400_000_000, NS, 3 * NS]))
        act, oid, side, size = draw(st.sampled_from("AAACMMTTTT")), draw(ids), draw(st.sampled_from("BA")), draw(st.integers(1, 9))
        tick = draw(st.integers(-4, -1)) if side == "B" else draw(st.integers(0, 4))
        event: list[dict[str, Any]] = []
        if act == "T":
            for step in range(draw(st.sampled_from([1, 1, 2, 4]))):
                at = tick - step if side == "A" else tick + step
                event.append({"action": "T", "order_id": 50 + oid, "side": side, "tick": at, "size": size})
                hit = [k for k, (t, s) in alive.items() if t == at and s != side][:2]
                event += [{"action": "F", "order_id": k, "side": alive[k][1], "tick": at, "size": size} for k in hit]
                for k in hit:
                    done = draw(st.sampled_from("CMM"))
                    event.append({"action": done, "order_id": k, "side": alive[k][1], "tick": at, "size": size})
        else:
            if act == "M" and oid in alive and draw(st.booleans()):
                tick, side = alive[oid]
            event.append({"action": act, "order_id": oid, "side": side, "tick": tick, "size": size})
            if act != "C":
                alive[oid] = tick, side
        event[-1]["flags"] = F_LAST
        for row in event:
            price = row.pop("tick") * TICK[7]
            rows.append({"flags": 0, **row, "price": price, "ts_event": now, "ts_recv": now + 1000, "instrument_id": 7})
    return [File(make_records(rows), None, now + NS)]


orders_made = st.builds(
    OrderParams,
    least_size=st.sampled_from([1, 3, 6, 20]),
    large_share=st.sampled_from([0.005, 0.1, 0.5]),
    absorbed_times=st.integers(1, 3),
    pull_ns=st.sampled_from([0, NS, 2 * NS]),
)


def order_events_equal_the_twins(
    files: list[File], cuts: list[int], offset: int, length: int, params: OrderParams, warm: bool, lost: tuple[tuple[int, int], ...]
) -> None:
    start, end = BASE + offset * NS, BASE + (offset + length) * NS
    followed = order_events(files, cuts, INSTRUMENTS, start, end, params, warm=warm, lost=lost)
    for instrument, symbol in INSTRUMENTS.items():
        assert_frame_equal(
            followed[symbol], twin_order_events(files, instrument, TICK[instrument], start, end, params, warm=warm, lost=lost)
        )


test_order_events_equal_the_twins, test_order_events_equal_the_twins_on_many = quick_and_long(
    order_events_equal_the_twins,
    files=st.one_of(streams(), few_orders(), few_orders()),
    cuts=st.lists(st.integers(0, 90), max_size=4),
    offset=st.integers(-2, 4),
    length=st.integers(1, 40),
    params=orders_made,
    warm=st.booleans(),
    lost=st.sampled_from([(), (), ((BASE, BASE + NS),), ((BASE - NS, BASE + 2 * NS), (BASE + 3 * NS, BASE + 4 * NS))]),
)
