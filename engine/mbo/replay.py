"""Replay order streams to price ladders: the validating, growing driver over the kernel in `engine.mbo.book`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import SessionError
from engine.mbo import book
from engine.mbo.book import DEPTH, FIELDS, FLAG, ORDERS, ROW_FIELDS, TAPE_FIELDS, rehash, slot_in
from engine.mbo.dbn import COLUMN_TYPES, MboColumns
from engine.mbo.trust import Span, Trust, assess
from engine.params import ReplayParams, TrustParams
from engine.vocab import LADDER_COLUMNS, NS, root_of

LADDER_SCHEMA: dict[str, Any] = {
    "window_start_ts_ns": pl.Int64,
    "window_end_ts_ns": pl.Int64,
    "tick": pl.Int32,
    "keyframe": pl.Boolean,
    **dict.fromkeys(LADDER_COLUMNS, pl.Int32),
}
"""Columns of the ladder: one row per 1-second window and tick where anything changed, and the depth of keyframes."""

TAPE_SCHEMA: dict[str, Any] = {
    "window_start_ts_ns": pl.Int64, "window_end_ts_ns": pl.Int64, "best_bid_tick": pl.Int32, "best_ask_tick": pl.Int32,
    "last_tick": pl.Int32, "high_tick": pl.Int32, "low_tick": pl.Int32, "trades": pl.Int32, "buy_volume": pl.Int64,
    "sell_volume": pl.Int64, "bid_size": pl.Int32, "ask_size": pl.Int32, "ofi": pl.Int64, "messages": pl.Int32,
    "book_valid": pl.Boolean, "near_ticks": pl.Int16,
}  # fmt: skip
"""Columns of the tape: one row per second of the ladder's span, without gaps."""

_NULLABLE = ("best_bid_tick", "best_ask_tick", "last_tick", "high_tick", "low_tick")
_TABLE_START = 1 << 15
_ROWS_START = 1 << 15
_FOREVER = 2**63 - 1

_BEFORE_S = 86_400
"""Seconds before the ladder in which missing records are looked for: a Globex day and more."""


@dataclass(frozen=True)
class ReplayedContract:
    """One contract's ladder (`LADDER_SCHEMA`, sorted by window and tick), tape (`TAPE_SCHEMA`), counts over all its records, and what the
    replay says of their worth.
    """

    symbol: str
    rows: pl.DataFrame
    tape: pl.DataFrame
    stats: dict[str, int]
    trust: Trust


class LadderReplay:
    """Replay the records of several contracts to their ladders and tapes.

    instruments: instrument id to outright symbol; records of other instruments are ignored
    start_ns, end_ns: span of the ladder, whole seconds; earlier records build the book, later ones only count
    warm: the stream needs no snapshot: an empty book at its start is the true book
    open_ns: from here on (default: `start_ns`) crossed or locked states are counted; before the open they are normal (rule 14)
    lost: spans ``[start, end)`` in ns, in order, in which records are known to be missing: the book is forgotten at each end
    closed: span in ns in which the venue may be closed, so that records that end there are none that are missing
    Raises SessionError where the span is empty or not in whole seconds, UnknownRoot where a symbol's tick size is not known.
    """

    def __init__(
        self, instruments: dict[int, str], start_ns: int, end_ns: int, params: ReplayParams | None = None, *, warm: bool = False,
        open_ns: int | None = None, trust: TrustParams | None = None, lost: tuple[Span, ...] = (),
        closed: Span | None = None,
    ) -> None:  # fmt: skip
        if end_ns <= start_ns or start_ns % NS or end_ns % NS:
            raise SessionError(f"ladder span: expected whole seconds with the end after the start, found [{start_ns}, {end_ns})")
        self._params, self._trust, self._lost = params or ReplayParams(), trust or TrustParams(), lost
        self._closed = closed
        self._start_ns, self._end_ns = start_ns, end_ns
        self._contracts = [self._contract(i, symbol, warm, start_ns if open_ns is None else open_ns) for i, symbol in instruments.items()]
        self._cover_end = _FOREVER
        self._files: list[Span] = []

    def begin_file(self, header_end_ns: int, header_start_ns: int | None = None) -> None:
        """Say that the next records come from another file, which covers ``[header_start_ns, header_end_ns)``.
        Seconds beyond a file's end are invalid until a later file covers them; a file whose first record of a contract is neither a
        snapshot's nor an ``R`` starts cold: the book is emptied and invalid until one comes. But a file that begins where the one before
        ended goes on with its book, as if they were one.
        """
        self._files.append((0 if header_start_ns is None else header_start_ns, header_end_ns))
        before, self._cover_end = self._cover_end, header_end_ns
        for c in self._contracts:
            if header_start_ns != before:
                self._end_snapshot(c)
                if header_start_ns is not None:
                    self._advance(c, header_start_ns // NS - self._start_ns // NS)
                    if header_start_ns > before:
                        c.st[book.KNOWN] = 0
                c.st[book.NEW_FILE] = 1
            c.st[book.COVER_END] = header_end_ns

    def feed(self, columns: MboColumns) -> None:
        """Replay the next records; a stream may be cut into chunks anywhere."""
        columns = read_only(columns)
        for c in self._contracts:
            at, n = 0, len(columns)
            while at < n:
                at, why = book.replay(
                    at, c.instrument,
                    columns.ts_event, columns.ts_recv, columns.order_id, columns.price, columns.size, columns.flags,
                    columns.action, columns.side, columns.instrument_id,
                    c.st, c.tab, c.acc, c.bits, c.keys, c.touched, c.taker_id, c.taker_event, c.rows, c.tape, c.past, c.asked,
                )  # fmt: skip
                if why == book.GROW:
                    grow_table(c)
                    grow_grid(c)
                elif why == book.DRAIN:
                    c.drain()
                elif why == book.LOSE:
                    end = int(c.st[book.LOST_NS])
                    book.lose(book.AFTER_GAP, end, c.st, c.tab, c.acc, c.bits, c.keys, c.touched, c.tape)
                    c.st[book.LOST_NS] = min((b for _, b in self._lost if b > end), default=_FOREVER)

    def finish(self) -> dict[str, ReplayedContract]:
        """Close the remaining windows; ladders and tapes by symbol. The replay cannot be fed again."""
        out = {}
        for c in self._contracts:
            self._end_snapshot(c)
            self._advance(c, int(c.st[book.WINDOWS]))
            book.end_seconds(max(self._end_ns, c.st[book.SECOND_END]), c.st, c.tape, c.past)
            c.drain()
            stats = {"records": int(c.st[book.LIVE] + c.st[book.SNAPSHOT])}
            stats |= {name: int(c.st[at]) for name, at in book.STATISTICS.items()}
            rows = _ladder_frame(c, self._start_ns)
            stats["ladder_rows"] = rows.height
            trust = assess(
                c.tape,
                c.past,
                c.asked,
                self._start_ns,
                int(c.st[book.SECOND_0]),
                tuple(self._files) or ((0, _FOREVER),),
                self._lost,
                self._trust,
                self._closed,
            )
            out[c.symbol] = ReplayedContract(c.symbol, rows, _tape_frame(c, self._start_ns, trust), stats, trust)
        self._contracts = []
        return out

    def _contract(self, instrument: int, symbol: str, warm: bool, open_ns: int) -> ContractState:
        st = np.zeros(book.STATE_SIZE, np.int64)
        windows = (self._end_ns - self._start_ns) // NS
        st[[book.BEST, book.S_BID]] = book.NO_BID
        st[[book.BEST + 1, book.S_ASK]] = book.NO_ASK
        st[[book.LAST, book.HIGH, book.LOW]] = book.NO_TICK
        st[[book.KNOWN, book.WARM]] = int(warm)
        st[book.EVENT] = st[book.NEW_FILE] = 1
        st[book.COVER_END] = _FOREVER
        st[book.WINDOW], st[book.WINDOWS], st[book.START_S] = -1, windows, self._start_ns // NS
        st[book.REST_NS], st[book.SPAN], st[book.KEYFRAME_S] = self._params.rest_ns, self._params.span_ticks, self._params.keyframe_s
        st[book.FAR_SLOTS], st[book.ROW_SLOTS] = FAR_START, _ROWS_START
        st[book.TICK_FIXED], st[book.OPEN_NS] = root_of(symbol).tick_fixed, open_ns
        back = -(-self._trust.near_s // book.BLOCK_S)
        blocks = back + -(-int(windows) // book.BLOCK_S)
        st[book.SECOND_0], st[book.SECONDS] = self._start_ns // NS - _BEFORE_S, windows + _BEFORE_S
        st[book.BLOCK_0], st[book.BLOCKS] = self._start_ns // NS - back * book.BLOCK_S, blocks
        st[book.CROSSED_MOST] = self._trust.crossed_ns
        st[book.LOST_NS] = min((b for _, b in self._lost), default=_FOREVER)
        return ContractState(
            instrument,
            symbol,
            st,
            tab=np.zeros(_TABLE_START * 4, np.uint64),
            acc=np.zeros((2 * FAR_START, FIELDS), np.int32),
            bits=np.zeros((2, 0), np.uint64),
            keys=np.full(FAR_START, book.NO_KEY, np.int64),
            touched=np.empty(FAR_START, np.int64),
            taker_id=np.zeros(book.TAKER_SLOTS, np.uint64),
            taker_event=np.zeros(book.TAKER_SLOTS, np.int64),
            rows=np.empty((_ROWS_START, ROW_FIELDS), np.int32),
            tape=np.zeros((windows, TAPE_FIELDS), np.int64),
            past=np.zeros((windows + _BEFORE_S, book.PAST_FIELDS), np.int64),
            asked=np.zeros((blocks, book.DISTANCES, 4), np.int32),
        )

    def _advance(self, c: ContractState, target: int) -> None:
        while not book.close_until(target, c.st, c.acc, c.keys, c.touched, c.rows, c.tape):
            c.drain()

    def _end_snapshot(self, c: ContractState) -> None:
        book.end_run(c.st, c.acc, c.bits, c.keys)


def read_only(columns: MboColumns) -> MboColumns:
    """Read-only views: polars hands out read-only arrays, numpy writable ones, and numba would compile the kernel for each mix of them."""
    views = []
    for name, dtype in COLUMN_TYPES.items():
        array = getattr(columns, name)
        if array.dtype != dtype or not array.flags.c_contiguous or len(array) != len(columns):
            raise ValueError(f"column {name}: expected {len(columns)} contiguous {np.dtype(dtype)}, found {len(array)} {array.dtype}")
        view = array.view()
        view.flags.writeable = False
        views.append(view)
    return MboColumns(*views)


def _ladder_frame(c: ContractState, start_ns: int) -> pl.DataFrame:
    fields = np.concatenate(c.parts, axis=1) if c.parts else np.empty((c.rows.shape[1], 0), np.int32)
    c.parts = []
    starts = start_ns + fields[0].astype(np.int64) * NS
    data = {"window_start_ts_ns": starts, "window_end_ts_ns": starts + NS, "tick": fields[1], "keyframe": fields[2].astype(np.bool_)}
    return pl.DataFrame(data | {name: fields[3 + i] for i, name in enumerate(LADDER_COLUMNS)}, schema=LADDER_SCHEMA)


def _tape_frame(c: ContractState, start_ns: int, trust: Trust) -> pl.DataFrame:
    starts = start_ns + np.arange(len(c.tape), dtype=np.int64) * NS
    names = list(TAPE_SCHEMA)[2:-2]
    data: dict[str, Any] = {"window_start_ts_ns": starts, "window_end_ts_ns": starts + NS}
    data |= {name: np.ascontiguousarray(c.tape[:, i]) for i, name in enumerate(names)}
    data["book_valid"] = trust.valid
    data["near_ticks"] = pl.Series(trust.near_ticks).replace(-1, None)
    data["ofi"] = np.clip(data["ofi"], -(2**31), 2**31 - 1)
    nulls = [pl.when(pl.col(name) != book.NO_TICK).then(pl.col(name)).alias(name) for name in _NULLABLE]
    return pl.DataFrame(data).with_columns(nulls).cast(TAPE_SCHEMA)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------
# Arrays of one contract's replay, and how they grow: the order table by doubling, the price grid by covering what is in use

FAR_START = 256
MARGIN = 1024

_MAX_DENSE = 1 << 17
"""Most ticks of a dense grid, 16 MB of them."""

_STUB_TICKS, _MOST_STUBS = 1 << 13, 64
"""A few ticks this far from the median of those in use are stub orders, a bid at a cent or an offer at a million: they stay off it."""


@dataclass
class ContractState:
    """State of one contract's replay; arrays that the kernel changes in place."""

    instrument: int
    symbol: str
    st: NDArray[np.int64]
    tab: NDArray[np.uint64]
    acc: NDArray[np.int32]
    bits: NDArray[np.uint64]
    keys: NDArray[np.int64]
    touched: NDArray[np.int64]
    taker_id: NDArray[np.uint64]
    taker_event: NDArray[np.int64]
    rows: NDArray[np.int32]
    tape: NDArray[np.int64]
    past: NDArray[np.int64]
    asked: NDArray[np.int32]
    parts: list[NDArray[np.int32]] = field(default_factory=list)

    def drain(self) -> None:
        """Take the finished rows out of the kernel's buffer."""
        n = int(self.st[book.ROWS])
        if n:
            # A copy, also of a single row: `ascontiguousarray` gives a view of that, which the kernel writes over.
            self.parts.append(self.rows[:n].T.copy())
            self.st[book.ROWS] = 0


def grow_table(c: ContractState) -> None:
    """Double the order table once it is a quarter full."""
    if c.st[book.COUNT] * 16 >= len(c.tab):
        bigger = np.zeros(2 * len(c.tab), np.uint64)
        rehash(c.tab, bigger)
        c.tab = bigger


def grow_grid(c: ContractState) -> None:
    """Once the far table is half full: lay the dense grid over all prices in use but those of stub orders, or, where they lie too far
    apart, around their median.
    """
    if c.st[book.FAR_N] < len(c.keys) // 2 - 2:
        return
    lo, dense = int(c.st[book.LO]), int(c.st[book.DENSE])
    ticks = np.concatenate([np.arange(lo, lo + dense, dtype=np.int64), c.keys])
    lines = c.acc.reshape(len(ticks), 2, -1)
    used = (ticks != book.NO_KEY) & ((lines[:, :, ORDERS] != 0) | (lines[:, :, FLAG] != 0) | (lines[:, :, DEPTH] != 0)).any(axis=1)
    ticks, lines = ticks[used], lines[used]

    middle = int(np.median(ticks)) if len(ticks) else 0
    market = ticks[np.abs(ticks - middle) <= _STUB_TICKS]
    market = market if len(ticks) - len(market) <= _MOST_STUBS else ticks
    low, high = (int(market.min()) - MARGIN, int(market.max()) + MARGIN) if len(market) else (0, 0)
    if high - low >= _MAX_DENSE:
        low, high = middle - _MAX_DENSE // 2, middle + _MAX_DENSE // 2 - 1
    words = (high - low) // 64 + 1
    n = words * 64
    inside = (ticks >= low) & (ticks < low + n)
    far = int((~inside).sum())
    capacity = FAR_START
    while capacity < 8 * far:
        capacity *= 2

    _lay_grid(c, low, words, capacity)
    slots = np.where(inside, ticks - low, -1)
    for i in np.flatnonzero(~inside):
        slots[i] = slot_in(int(ticks[i]), c.st, c.keys)
    c.acc.reshape(n + capacity, 2, -1)[slots] = lines
    for side in range(2):
        taken = slots[inside & (lines[:, side, ORDERS] > 0)]
        np.bitwise_or.at(c.bits[side], taken >> 6, np.uint64(1) << (taken & 63).astype(np.uint64))
        far_here = ticks[~inside & (lines[:, side, ORDERS] > 0)]
        c.st[book.FAR_REST + side] = len(far_here)
        c.st[book.FAR_INSIDE + side] = int((far_here >= low + n if side == book.BID else far_here < low).sum())


def _lay_grid(c: ContractState, low: int, words: int, capacity: int) -> None:
    """Allocate an empty grid; rows in the buffer stay, and a window with every slot touched still fits the buffer."""
    slots = words * 64 + capacity
    c.st[book.LO], c.st[book.DENSE], c.st[book.BITS], c.st[book.FAR_N] = low, words * 64, words, 0
    c.acc = np.zeros((2 * slots, FIELDS), np.int32)
    c.bits = np.zeros((2, words), np.uint64)
    c.keys = np.full(capacity, book.NO_KEY, np.int64)
    c.st[book.FAR_SLOTS] = capacity
    touched = np.empty(slots, np.int64)
    touched[: c.st[book.TOUCHED]] = c.touched[: c.st[book.TOUCHED]]
    c.touched = touched
    c.drain()
    need = slots + 2 * int(c.st[book.SPAN]) + 2
    if len(c.rows) < need:
        c.rows = np.empty((need, c.rows.shape[1]), np.int32)
        c.st[book.ROW_SLOTS] = need
