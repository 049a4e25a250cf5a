"""The trust of a replay that goes on: what `engine.mbo.trust.assess` says of all seconds so far, at the price of the last ones.

Most of what it says of a second never changes again. Seconds up to which nothing can are settled and counted once; those behind them are
judged anew at each look, by `assess` itself, so that a session under way and the pipeline judge by the same words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.mbo import book
from engine.mbo.trust import GAP, MOST_SPANS, REASONS, TAIL_S, Span, Trust, assess, look_for_missing, record_of
from engine.params import TrustParams
from engine.vocab import NS

KEPT_S = 120
"""So many seconds at the end are not settled; and seconds are settled once twice as many have come."""

SUMS = (
    "seconds", "valid", "near", "crossed_seconds", "locked_seconds", "off_grid_trades", "unplaced_fills", "unplaced_filled", "records",
)  # fmt: skip
"""Fields of a trust record that are numbers of its seconds."""


class GrowingTrust:
    """The trust of one contract's seconds so far, look by look.

    seconds, start_ns: of the whole ladder
    past_start_s: the second with which `past` begins
    lost, params, closed: as of `assess`
    """

    def __init__(
        self, seconds: int, start_ns: int, past_start_s: int, lost: tuple[Span, ...], params: TrustParams, closed: Span | None
    ) -> None:
        self._start_ns, self._past_start_s = start_ns, past_start_s
        self._lost, self._params, self._closed = lost, params, closed
        self._valid = np.zeros(seconds, np.bool_)
        self._near = np.full(seconds, -1, np.int16)
        self._reason = np.zeros(seconds, np.uint8)
        self._settled = 0
        self._record: dict[str, Any] = {}  # of the settled seconds
        self._files: tuple[Span, ...] = ()
        self._reset = False  # whether the book was known, or forgotten, before what is looked at of `past`
        self._checked = 0  # seconds of `past` that are known to tell of no missing records
        self._found: Span | None = None  # where records are missing; it stays so

    def _place(self, second: int) -> int:
        """Row of `past` of a second of the ladder."""
        return self._start_ns // NS - self._past_start_s + second

    def look(
        self, tape: NDArray[np.int64], past: NDArray[np.int64], asked: NDArray[np.int32], files: tuple[Span, ...], seen: int, fed_ns: int,
        crossed_ns: int,
    ) -> Trust:  # fmt: skip
        """The trust of the seconds so far; its arrays are views, which the next look changes.

        tape, past, asked: as of `assess`, of the closed seconds
        files: spans that were covered, in order; the last one goes on for ever
        seen: rows of `past` that are written
        fed_ns: the earliest time among the records since the last look: nothing before it has changed
        crossed_ns: from when on seconds may still be marked as crossed
        """
        n = len(tape)
        # Both change what is said of any second; and a tail without a record has its last one before it.
        is_silent = self._settled > 0 and past[self._place(self._settled) - 1, 0] == past[-1, 0]
        if files != self._files or fed_ns < self._start_ns + self._settled * NS or is_silent:
            self._settled, self._reset, self._files = 0, False, files
        at = self._settled
        rows = self._rows(past) if at else past
        end_ns = self._start_ns + n * NS
        covered = tuple((a, min(b, end_ns)) for a, b in files) or ((0, end_ns),)
        found = assess(
            tape[at:], rows, asked[at // book.BLOCK_S :], self._start_ns + at * NS, self._past_start_s + len(past) - len(rows), covered,
            self._lost, self._params, self._closed, is_whole=False,
        )  # fmt: skip
        self._valid[at:n], self._near[at:n], self._reason[at:n] = found.valid, found.near_ticks, found.reason
        record = joined(self._record, found.record) if at else found.record
        missing = self._missing(past[:seen])
        late_ns = found.record["records_end_ns"]
        self._settle(tape, past, asked, min(crossed_ns, end_ns if late_ns is None else late_ns, (self._past_start_s + seen) * NS))
        return Trust(self._valid[:n], self._near[:n], self._reason[:n], missing, record)

    @property
    def _before(self) -> int:
        """So many seconds before those that are judged have a say in it."""
        return max(TAIL_S, self._params.near_s)

    def _rows(self, past: NDArray[np.int64]) -> NDArray[np.int64]:
        """What of `past` has a say in the seconds that are not settled."""
        at = self._settled
        rows = past[self._place(at) - self._before :].copy()
        # For how long the book has not been known counts up to `near_s`: what was longer ago may as well have been in the first second.
        if self._reset:
            rows[0, 3] |= book.IS_COLD
        gone = np.flatnonzero(self._reason[max(at - self._before, 0) : at] == GAP)
        rows[self._before - min(at, self._before) + gone, 3] |= book.IS_KNOWN  # it is counted from their end, as from that of a known one
        return rows

    def _missing(self, past: NDArray[np.int64]) -> Span | None:
        """What `engine.mbo.trust.missing_records` will say of the whole day, once it can be told. `past` are the
        rows that are written; each unknown order of them is judged once.
        """
        if self._found is None:
            self._found, self._checked = look_for_missing(
                past, self._past_start_s, self._lost, self._params, self._checked, goes_on=len(past) < self._place(len(self._valid))
            )
        return self._found

    def _settle(self, tape: NDArray[np.int64], past: NDArray[np.int64], asked: NDArray[np.int32], until_ns: int) -> None:
        """Settle seconds before an instant."""
        at, n = self._settled, len(tape)
        to = min(n - KEPT_S, (until_ns - self._start_ns) // NS) // book.BLOCK_S * book.BLOCK_S
        if n - at < 2 * KEPT_S or to <= at:
            return
        first = max(self._place(at) - self._before, 0) if at else 0
        last = self._place(to) - self._before
        self._reset |= bool((past[first:last, 3] != 0).any() or (self._reason[: max(to - self._before, 0)] == GAP).any())
        back = -(-self._params.near_s // book.BLOCK_S)
        part = record_of(
            tape[at:to], asked[: back + to // book.BLOCK_S], self._reason[at:to], self._near[at:to], self._start_ns + at * NS,
            self._start_ns // NS + to,
        )  # fmt: skip
        self._record = joined(self._record, part) if at else part
        self._settled = to


def joined(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """The trust record of two spans of which the second begins where the first ends."""
    why_not = {r: n for r in REASONS if (n := a["why_not"].get(r, 0) + b["why_not"].get(r, 0))}
    unknown = {what: {name: n + b["unknown"][what][name] for name, n in by.items()} for what, by in a["unknown"].items()}
    return {
        "session": [a["session"][0], b["session"][1]],
        **{name: a[name] + b[name] for name in SUMS},
        "why_not": why_not,
        "spans": _spans(a["spans"], b["spans"]),
        "near_spans": _spans(a["near_spans"], b["near_spans"]),
        "unknown": unknown,
        "records_end_ns": b["records_end_ns"],
    }


def _spans(a: list[list[Any]], b: list[list[Any]]) -> list[list[Any]]:
    """Spans (what they are of, if anything, then start and end) of two times, without a cut where one goes on."""
    if a and b and a[-1][-1] == b[0][-2] and a[-1][:-2] == b[0][:-2]:
        a, b = [*a[:-1], [*a[-1][:-1], b[0][-1]]], b[1:]
    return [*a, *b][:MOST_SPANS]
