"""What is said of a session's seconds while it goes on is what is said of all of them at once, wherever it is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from engine.live.day import GrowingReplay
from engine.live.gateway import RestingOrders
from engine.live.trust import SUMS, GrowingTrust, joined
from engine.mbo import book
from engine.mbo.dbn import COLUMN_TYPES, MboColumns, split
from engine.mbo.trust import LOOK_CHANGES, LOOK_MOST_S, LOOK_S, Span, Trust, assess, missing_records
from engine.params import RunParams
from engine.sessions import closed_span, session_windows
from engine.vocab import F_LAST, F_MAYBE_BAD_BOOK, NS, ROOTS
from tests.support.dbn_files import F_SNAPSHOT, busy_day, utc_ns
from tests.support.lakes import ESZ5, TUESDAY

FOREVER = 2**63 - 1
INSTRUMENT = next(iter(ESZ5))
BEGIN = utc_ns(TUESDAY, 13, 55)
"""Five minutes before the ladder."""


def at(minute: float) -> int:
    """An instant by its minute of the ladder."""
    return utc_ns(TUESDAY, 14) + round(minute * 60) * NS


def market() -> np.ndarray:
    """Two hours with a halt of seven minutes, books that stay crossed, a bad one, records that are lost unsaid, and ones that come late."""
    records = busy_day(16_000, 5, date=TUESDAY, symbols=ESZ5, snapshot_orders=300, start_ns=BEGIN, end_ns=at(113))
    halted = records["ts_recv"] >= at(20)
    for name in ("ts_recv", "ts_event"):
        records[name][halted] += 420 * NS
    lost = (records["ts_recv"] >= at(70)) & (records["ts_recv"] < at(70.4))
    records = records[~lost]
    high = int(records["price"][records["action"] == ord("T")].max()) + 40 * ROOTS["ES"].tick_fixed
    made = np.zeros(9, records.dtype)
    made[:] = records[-1]
    made["side"], made["price"], made["size"], made["flags"] = ord("B"), high, 3, F_LAST
    # Bids above every offer, for 45 seconds and for five minutes; a cancel of an order that nobody saw, late by ten minutes.
    when = [at(35), at(35.75), at(40), at(45), at(80), at(95), at(50), at(112), at(112.9)]
    made["action"] = [ord(c) for c in "ACACCCCAC"]
    made["order_id"] = np.array([1, 1, 2, 2, 3, 4, 5, 6, 6]) + (1 << 50)
    made["ts_recv"] = made["ts_event"] = when
    made["ts_event"][4:6] -= 600 * NS
    made["flags"][6] |= F_MAYBE_BAD_BOOK
    whole = np.concatenate([records, made])
    return whole[np.argsort(whole["ts_recv"], kind="stable")]


def columns_of(records: np.ndarray) -> MboColumns:
    columns = MboColumns.empty(len(records))
    words = np.ascontiguousarray(records).view(np.uint64).reshape(len(records), -1)
    kept, bad = split(words, np.array([INSTRUMENT], np.uint32), np.ones(1, np.bool_), False, *(getattr(columns, n) for n in COLUMN_TYPES))
    assert (kept, bad) == (len(records), -1)
    columns.instrument_id[:] = 1
    return columns


def at_once(replay: GrowingReplay, lost: tuple[tuple[int, int], ...]) -> Trust:
    """What the pipeline's own function says of all closed seconds."""
    c, n, params = replay._one, replay.seconds, RunParams().trust
    start_ns, first = replay._start_ns, int(c.st[book.SECOND_0])
    end_ns = start_ns + n * NS
    blocks = -(-params.near_s // book.BLOCK_S) + -(-n // book.BLOCK_S)
    files = tuple((a, min(b, end_ns)) for a, b in replay._files)
    closed = closed_span(session_windows(TUESDAY, "rth"))
    return assess(c.tape[:n], c.past[: start_ns // NS - first + n], c.asked[:blocks], start_ns, first, files, lost, params, closed)


@pytest.mark.parametrize("case", ["whole", "cold", "told of what was lost"])
def test_a_look_says_what_the_whole_would(case: str) -> None:
    records = market()
    lost = ((at(70), at(70.4)),) if case == "told of what was lost" else ()
    if case == "cold":
        records = records[(records["flags"] & F_SNAPSHOT) == 0]
    replay = GrowingReplay("ESZ5", session_windows(TUESDAY, "rth"), RunParams(), lost)
    replay.begin_file(FOREVER, int(records["ts_recv"][0]))
    orders, rng = RestingOrders(records), np.random.default_rng(3)
    gap = [int(i) for i in np.searchsorted(records["ts_recv"], [at(60), at(61)])]
    halt = int(np.searchsorted(records["ts_recv"], at(26))) + 1  # with the first record after it
    begun, looks, settled, met, missing = 0, 0, [0], set[str](), list[object]()
    while begun < len(records):
        end = min(begun + int(rng.choice([1, 300, 500])), *(i for i in (halt, gap[0], len(records)) if i > begun))
        replay.feed(columns_of(records[begun:end]))
        begun = end
        if end == gap[0]:
            replay.gap(int(records["ts_recv"][gap[0] - 1]), at(61))
            if case == "whole":  # the time without records is over, but its first record has not come yet
                replay.peek()
            orders.advance(gap[1])
            replay.feed(columns_of(np.frombuffer(orders.snapshot(at(61), [INSTRUMENT]), records.dtype)))
            begun = gap[1]
        found = replay.peek().trust
        if not replay.seconds:
            continue
        want = at_once(replay, lost)
        looks += 1
        settled.append(replay._growing._settled)
        for name in ("valid", "near_ticks", "reason"):
            assert np.array_equal(getattr(found, name), getattr(want, name)), (name, replay.seconds)
        assert found.record == want.record
        assert list(found.record["why_not"]) == list(want.record["why_not"])
        met |= set(want.record["why_not"])
        missing.append(found.missing)
    assert looks > 30
    assert max(settled) > 4000, "most of it is not gone through any more"
    assert met >= {"after_end", "gap", "rebuilt"} | ({"cold_start"} if case == "cold" else {"bad_book", "crossed"})
    # Not before it can be told; and then it is what the whole day says.
    first = next((i for i, m in enumerate(missing) if m is not None), len(missing))
    assert set(missing[first:]) <= {at_once(replay, lost).missing}
    assert (0 < first < len(missing)) == (case != "told of what was lost"), "what is lost unsaid is found"


BACK, WHOLE = 700, 1_500
"""Seconds before the ladder, and of it, in the days of the test below."""


def told_of(changes: np.ndarray, unknown: np.ndarray, known: np.ndarray, looks: list[int]) -> tuple[list[Span | None], Span | None]:
    """What looks at so many seconds of a day's ladder say is missing, and what the pipeline says of the whole day."""
    start_s, params = 1_762_264_800, RunParams().trust
    past = np.column_stack([np.cumsum(changes), np.cumsum(changes), np.cumsum(unknown), known]).astype(np.int64)
    tape = np.zeros((WHOLE, book.TAPE_FIELDS), np.int64)
    tape[:, 1] = 1
    asked = np.zeros((WHOLE // book.BLOCK_S + 30, book.DISTANCES, 4), np.int32)
    files = (((start_s - BACK) * NS, FOREVER),)
    growing = GrowingTrust(WHOLE, start_s * NS, start_s - BACK, (), params, None)
    found = [
        growing.look(
            tape[:n], past[: BACK + n], asked[: 30 - -n // book.BLOCK_S], files, BACK + n, (start_s + n - 1) * NS, FOREVER
        ).missing
        for n in looks
    ]  # fmt: skip
    return found, missing_records(past, start_s - BACK, (), params)


@pytest.mark.parametrize(
    ("every_s", "strange", "over_s"),
    [
        (0, [0], None), (0, [0, *range(20, 40)], LOOK_S),  # ten changes a second
        (5, [0], None), (5, [0, 5], 5 * (LOOK_CHANGES - 1) + 1), (10, [0], LOOK_MOST_S),  # one in so many seconds
    ],
)  # fmt: skip
def test_an_unknown_order_is_judged_once_all_that_counts_is_there(every_s: int, strange: list[int], over_s: int | None) -> None:
    """A minute later, or as many changes later as it takes, up to ten minutes; sooner, one stray cancel is most of what there is."""
    at = BACK + 600
    seen, unknown, known = (np.full(BACK + WHOLE, n, np.int64) for n in (10, 0, book.IS_KNOWN))
    if every_s:
        seen[:] = (np.arange(BACK + WHOLE) - at) % every_s == 0
    seen[at - 20 : at - 10] = 0
    unknown[np.add(strange, at)] = 1
    known[at + 1 : at + 60] = 0  # those of a book that is not known count as well, where they follow
    looks = [*range(50, 590, 60), *range(595, 670), *range(1090, 1105), *range(1195, 1210), WHOLE - 1, WHOLE]
    found, whole = told_of(seen, unknown, known, looks)
    assert (whole is None) == (over_s is None)
    assert found == [whole if over_s is not None and n >= 600 + over_s else None for n in looks]


def test_the_last_orders_of_a_day_are_judged_by_what_there_is() -> None:
    seen, unknown, known = (np.full(BACK + WHOLE, n, np.int64) for n in (10, 0, book.IS_KNOWN))
    unknown[-30:] = 3
    found, whole = told_of(seen, unknown, known, [WHOLE - 20, WHOLE - 1, WHOLE])
    assert whole is not None
    assert found == [None, None, whole]


def test_spans_that_meet_are_one() -> None:
    base = {
        "session": [0, 10], "why_not": {}, "unknown": {}, "records_end_ns": None, "near_spans": [[1, 10]],
        **dict.fromkeys(SUMS, 1),
    }  # fmt: skip
    a = base | {"spans": [["gap", 0, 2], ["crossed", 9, 10]], "why_not": {"gap": 2, "crossed": 1}}
    b = base | {"spans": [["crossed", 10, 11], ["gap", 11, 12]], "session": [10, 20], "near_spans": [[11, 20]], "why_not": {"crossed": 1}}
    found = joined(a, b)
    assert found["spans"] == [["gap", 0, 2], ["crossed", 9, 11], ["gap", 11, 12]]
    assert found["near_spans"] == [[1, 10], [11, 20]]
    assert found["why_not"] == {"gap": 2, "crossed": 2}
    assert found["session"] == [0, 20]
    assert found["records"] == 2
