"""What a replay says of its own worth: which seconds have a known book and why the others have not, missing records, and the band around
the touch that is known though the file started without a snapshot (mbo.md rules 12 to 14 and 20).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.mbo import book
from engine.params import TrustParams
from engine.vocab import NS

Span = tuple[int, int]
"""``[start, end)`` in ns."""

REASONS = ("outside", "closed", "after_end", "gap", "cold_start", "after_gap", "bad_book", "rebuilt", "crossed")
"""Why a second is not valid; where several hold, the first one is told.

outside, after_end: before the first file's start; after the last file's end, or its last record where that is its end
closed: after its last record, in the hours of a holiday or half-day in which the venue may be closed
gap: between two files, or records are missing: a silence that unknown orders follow
cold_start, after_gap: orders may be unknown since a file began without a snapshot, or since a gap
bad_book, rebuilt, crossed: flagged by the venue; cleared or built from a snapshot in it; crossed or locked for longer than a book can be
"""

OUTSIDE, CLOSED, AFTER_END, GAP, COLD_START, AFTER_GAP, BAD_BOOK, REBUILT, CROSSED = range(1, 10)

DISTANCE_GROUPS = (("0-10", 0, 11), ("11-20", 11, 21), ("21-63", 21, 64), ("beyond", 64, 65))
"""Ticks from the touch by which unknown orders are told: name, first, end."""

LOOK_S, LOOK_MOST_S, LOOK_CHANGES = 60, 600, 100
"""After an unknown order: a minute, or as much more (up to ten) as it takes to see so many cancels and modifies."""

BACK_S = 900
"""A silence belongs to the unknown orders that come within so many seconds of its end."""

TAIL_S, TAIL_RECORDS, TAIL_SILENT_S = 600, 200, 300
"""Records end before their file does where five minutes and more are silent, and at the rate of the ten minutes before so many were due."""

SHELL_CHANGES, SHELL_TICKS = 100, 10
"""The share of unknown orders is taken in shells around the touch: so many cancels and modifies each, from so many ticks at most."""

MOST_SPANS = 1000
"""Most spans of a record; a session has a handful, and what is beyond is counted in its seconds."""


@dataclass(frozen=True, eq=False)
class Trust:
    """The seconds of a ladder, and what is known of them.

    valid: bool per second: the whole book was known, all through the second
    near_ticks: int16 per second: so many ticks behind the touch the book is known though not all of it is; -1 where not even that, or
        where it is `valid`
    reason: uint8 per second: 0 where valid, else 1 + the place in `REASONS`
    missing: a span in which records are missing that the replay did not know of: replay again with it; None without one
    record: the trust record without what only the files know (`record_of`)
    """

    valid: NDArray[np.bool_]
    near_ticks: NDArray[np.int16]
    reason: NDArray[np.uint8]
    missing: Span | None
    record: dict[str, Any]


def assess(
    tape: NDArray[np.int64], past: NDArray[np.int64], asked: NDArray[np.int32], start_ns: int, past_start_s: int, files: tuple[Span, ...],
    lost: tuple[Span, ...], params: TrustParams, closed: Span | None = None, *, is_whole: bool = True,
) -> Trust:  # fmt: skip
    """The trust of a finished replay, from its notes.

    tape, past, asked: as `engine.mbo.book.replay` fills them
    start_ns, past_start_s: where the tape begins, and the second with which `past` does
    files, lost: spans that the files cover, in order; spans in which records are missing, as the replay was told
    closed: hours in which the venue may be closed (`engine.sessions.closed_span`): no file is to blame where records end in them
    is_whole: whether `past` is the whole day, so that it can be told where records are missing
    """
    n = len(tape)
    why, marks = tape[:, book.WHY_W], tape[:, book.CROSSED_W]
    first_s = start_ns // NS
    second = first_s + np.arange(n)
    reason = np.zeros(n, np.uint8)
    long = (marks & book.IS_LONG) != 0
    end_s = records_end(past, past_start_s, files[-1][1])
    late = second >= end_s
    silent = np.zeros(n, np.bool_)
    for a, b in lost:
        silent |= (second >= a // NS) & (second < b // NS)
    invalid = (why != 0) | long | silent | late
    uncovered = np.ones(n, np.bool_)
    for a, b in files:
        uncovered &= ~((second * NS >= a) & ((second + 1) * NS <= b))
    # From the last that is told to the first, so that the first overwrites.
    for code, where in (
        (CROSSED, long),
        (REBUILT, (why & book.WHY_REBUILT) != 0),
        (BAD_BOOK, (why & book.WHY_BAD) != 0),
        (AFTER_GAP, (why & book.WHY_GAP) != 0),
        (COLD_START, (why & (book.WHY_COLD | book.WHY_UNTOLD)) != 0),
        (GAP, silent | uncovered),
        (AFTER_END, late | (uncovered & ((second + 1) * NS > files[-1][1]))),
        (CLOSED, late & (second * NS >= closed[0]) & (second * NS < closed[1]) if closed is not None else np.zeros(n, np.bool_)),
        (OUTSIDE, uncovered & (second * NS < files[0][0])),
    ):
        reason[where & invalid] = code
    only_cold = ((why & ~(book.WHY_COLD | book.WHY_GAP)) == 0) & ((reason == COLD_START) | (reason == AFTER_GAP)) & ~long
    two_sided = (tape[:, 0] != book.NO_TICK) & (tape[:, 1] != book.NO_TICK) & (tape[:, 0] < tape[:, 1])
    settled = _seconds_cold(past, first_s - past_start_s, reason == GAP) >= params.near_s
    candidates = only_cold & two_sided & settled
    reach = np.where(candidates, near_reach(asked, candidates, params), -1).astype(np.int16)
    missing = missing_records(past, past_start_s, lost, params) if is_whole else None
    return Trust(~invalid, reach, reason, missing, record_of(tape, asked, reason, reach, start_ns, end_s))


def records_end(past: NDArray[np.int64], past_start_s: int, file_end_ns: int) -> int:
    """The second after the last record where the file goes on for five minutes and more, in which `TAIL_RECORDS` were due at the rate of
    the ten minutes before; else the end of everything that `past` has.
    """
    live = past[:, 0]
    ever = past_start_s + len(live)
    if not len(live) or live[-1] == 0:
        return ever
    last = int(np.searchsorted(live, live[-1]))
    before = live[last] - (live[last - TAIL_S] if last >= TAIL_S else 0)
    left = min(file_end_ns // NS, ever) - (past_start_s + last + 1)
    return past_start_s + last + 1 if left >= TAIL_SILENT_S and before * left >= TAIL_RECORDS * TAIL_S else ever


def missing_records(past: NDArray[np.int64], past_start_s: int, lost: tuple[Span, ...], params: TrustParams) -> Span | None:
    """Where records are missing although the book counted as known: from then on more cancels and modifies than `near_share` are of
    unknown orders. The span is the longest silence of at least `gap_s` whole seconds before; without one it is empty, at the first of them.
    """
    return look_for_missing(past, past_start_s, lost, params)[0]


def look_for_missing(
    past: NDArray[np.int64], past_start_s: int, lost: tuple[Span, ...], params: TrustParams, first: int = 0, *, goes_on: bool = False
) -> tuple[Span | None, int]:
    """As `missing_records`, of the unknown orders from row `first` of `past` on, and the row of the one that was found. Where the day
    `goes_on`, an order is judged once all that follows it and counts is there: found is then what the whole day will say, and without it
    the row is the first whose order is still to be judged.
    """
    unknown = np.diff(past[first:, 2], prepend=past[first - 1, 2] if first else 0) > 0
    known = (past[first:, 3] & book.IS_KNOWN) != 0
    for e in (first + np.flatnonzero(unknown & known)).tolist():
        before_changes, before_unknown = past[e - 1, 1:3].tolist() if e else (0, 0)
        enough = e + int(np.searchsorted(past[e : e + LOOK_MOST_S, 1], before_changes + LOOK_CHANGES))
        end = max(e + LOOK_S, min(enough + 1, e + LOOK_MOST_S))
        if goes_on and end > len(past):
            return None, e  # and so are all that follow, which end no sooner
        changes, strange = past[min(end, len(past)) - 1, 1:3].tolist()
        if strange - before_unknown <= params.near_share * (changes - before_changes):
            continue
        live = np.diff(past[: e + 1, 0], prepend=0)
        quiet = np.flatnonzero(np.diff(np.concatenate(([0], (live == 0).astype(np.int8), [0]))))
        begin = max(e - BACK_S, 0)
        runs = [(int(a), int(b)) for a, b in zip(quiet[::2], quiet[1::2]) if b > begin and b - a >= params.gap_s and live[:a].any()]
        a, b = max(runs, key=lambda r: r[1] - r[0], default=(e, e))
        span = ((past_start_s + a) * NS, (past_start_s + b) * NS)
        return (span if span not in lost else ((past_start_s + e) * NS, (past_start_s + e) * NS)), e
    return None, len(past)


def _seconds_cold(past: NDArray[np.int64], first: int, gone: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Per second of the ladder, how long orders have been counted with the book not known: since they were forgotten, or it was known, or
    records were missing, in the seconds that are `gone`.
    """
    at = np.arange(len(past))
    since = np.where(past[:, 3] & book.IS_KNOWN, at + 1, np.where(past[:, 3] & book.IS_COLD, at, -1))
    here = slice(first, first + len(gone))
    since[here] = np.where(gone, at[here] + 1, since[here])
    last = np.maximum.accumulate(since)
    return np.where(last < 0, 0, at - last)[here]


def near_reach(asked: NDArray[np.int32], wanted: NDArray[np.bool_], params: TrustParams) -> NDArray[np.int64]:
    """Ticks from the touch within which, over the `near_s` before, less than `near_share` of cancels and modifies were of unknown orders,
    per second of the ladder that is `wanted`; -1 where there is no such band. Only what came before the second's block counts.

    From the touch outward ticks are taken together until they have `SHELL_CHANGES` cancels and modifies, and the band ends before the
    first such shell in which the share is too large, or too little happened to tell: one share over all of the band would be that of the
    touch, where most of it happens.
    """
    back = -(-params.near_s // book.BLOCK_S)
    total = np.concatenate((np.zeros((1, book.DISTANCES, 4), np.int64), np.cumsum(asked, axis=0, dtype=np.int64)))
    reach = np.full(-(-len(wanted) // book.BLOCK_S), -1, np.int64)
    for block in np.unique(np.flatnonzero(wanted) // book.BLOCK_S).tolist():
        seen = total[block + back] - total[block]
        reach[block] = _shells(
            np.append(0, np.cumsum(seen[:-1, :2].sum(axis=1))), np.append(0, np.cumsum(seen[:-1].sum(axis=1))), params.near_share
        )
    return np.asarray(np.repeat(reach, book.BLOCK_S)[: len(wanted)])


def _shells(unknown: NDArray[np.int64], every: NDArray[np.int64], share: float) -> int:
    """Last tick of the last good shell, from running sums by distance; -1 without one."""
    begin = 0
    while True:
        end = int(np.searchsorted(every, every[begin] + SHELL_CHANGES))
        if end >= len(every) or end - begin > SHELL_TICKS or unknown[end] - unknown[begin] >= share * (every[end] - every[begin]):
            return begin - 1
        begin = end


def record_of(
    tape: NDArray[np.int64], asked: NDArray[np.int32], reason: NDArray[np.uint8], reach: NDArray[np.int16], start_ns: int, end_s: int
) -> dict[str, Any]:
    """The trust record of a span of seconds, of which `asked` holds the last blocks; `end_s` is as `records_end` gives it."""
    n = len(tape)
    blocks = -(-n // book.BLOCK_S)
    counts = asked[len(asked) - blocks :].sum(axis=0, dtype=np.int64)
    unknown = {what: {name: int(counts[a:b, i].sum()) for name, a, b in DISTANCE_GROUPS} for i, what in enumerate(("cancels", "modifies"))}
    return {
        "session": [start_ns, start_ns + n * NS],
        "seconds": n,
        "valid": int((reason == 0).sum()),
        "near": int((reach >= 0).sum()),
        "why_not": {name: int((reason == i + 1).sum()) for i, name in enumerate(REASONS) if (reason == i + 1).any()},
        "spans": [[REASONS[code - 1], a, b] for code, a, b in runs_of(reason, start_ns)][:MOST_SPANS],
        "near_spans": [[a, b] for _, a, b in runs_of((reach >= 0).astype(np.uint8), start_ns)][:MOST_SPANS],
        "unknown": unknown,
        "crossed_seconds": int(((tape[:, book.CROSSED_W] & book.IS_CROSSED) != 0).sum()),
        "locked_seconds": int(((tape[:, book.CROSSED_W] & book.IS_LOCKED) != 0).sum()),
        "off_grid_trades": int(tape[:, book.OFF_GRID_W].sum()),
        "unplaced_fills": int(tape[:, book.UNKNOWN_FILLS_W].sum()),
        "unplaced_filled": int(tape[:, book.UNKNOWN_FILLED_W].sum()),
        "records": int(tape[:, 11].sum()),
        "records_end_ns": end_s * NS if end_s * NS < start_ns + n * NS else None,
    }


def runs_of(code: NDArray[np.uint8], start_ns: int) -> list[tuple[int, int, int]]:
    """(code, start, end in ns) of the runs of one code other than 0, a second each."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], code.astype(np.int16), [0]))))
    found = []
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist()):
        if code[a]:
            found.append((int(code[a]), start_ns + a * NS, start_ns + b * NS))
    return found
