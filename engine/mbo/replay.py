"""Replay order streams to price ladders: the validating, growing driver over the kernel in `engine.mbo.book`."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.errors import SessionError
from engine.mbo import state
from engine.mbo.dbn import COLUMN_TYPES, MboColumns
from engine.params import ReplayParams
from engine.vocab import NS, root_of

if TYPE_CHECKING:
    from engine.mbo.growth import ContractState

CHANNEL_NAMES = ("depth", "orders", "add", "pull", "fill", "pull_rest", "away_rest", "toward_rest")
SIDED_CHANNELS = tuple(f"{side}_{channel}" for channel in CHANNEL_NAMES for side in ("bid", "ask"))

LADDER_SCHEMA: dict[str, Any] = {
    "window_start_ts_ns": pl.Int64,
    "window_end_ts_ns": pl.Int64,
    "tick": pl.Int32,
    "keyframe": pl.Boolean,
    **dict.fromkeys(SIDED_CHANNELS, pl.Int32),
}
"""Columns of the ladder: one row per 1-second window and tick where anything changed, and the depth of keyframes."""

TAPE_SCHEMA: dict[str, Any] = {
    "window_start_ts_ns": pl.Int64,
    "window_end_ts_ns": pl.Int64,
    "best_bid_tick": pl.Int32,
    "best_ask_tick": pl.Int32,
    "last_tick": pl.Int32,
    "high_tick": pl.Int32,
    "low_tick": pl.Int32,
    "trades": pl.Int32,
    "buy_volume": pl.Int64,
    "sell_volume": pl.Int64,
    "bid_size": pl.Int32,
    "ask_size": pl.Int32,
    "ofi": pl.Int64,
    "messages": pl.Int32,
    "book_valid": pl.Boolean,
}
"""Columns of the tape: one row per second of the ladder's span, without gaps."""

_NULLABLE = ("best_bid_tick", "best_ask_tick", "last_tick", "high_tick", "low_tick")
_TABLE_START = 1 << 15
_ROWS_START = 1 << 15
_FOREVER = 2**63 - 1


@dataclass(frozen=True)
class ReplayedContract:
    """One contract's ladder (`LADDER_SCHEMA`, sorted by window and tick), tape (`TAPE_SCHEMA`) and counts over all its records."""

    symbol: str
    rows: pl.DataFrame
    tape: pl.DataFrame
    stats: dict[str, int]


class LadderReplay:
    """Replay the records of several contracts to their ladders and tapes.

    Parameters
    ----------
    instruments
        Instrument id to outright symbol; records of other instruments are passed over.
    start_ns, end_ns
        Span of the ladder, whole seconds; earlier records build the book, later ones only count.
    params
        Rest time, span and spacing of keyframes.
    warm
        The stream needs no snapshot: an empty book at its start is the true book.
    open_ns
        From here on crossed or locked states are counted (default: `start_ns`); before the open they are normal (rule 14).

    Raises
    ------
    SessionError
        Where the span is empty or not in whole seconds.
    UnknownRoot
        Where a symbol's tick size is not known.
    """

    def __init__(
        self,
        instruments: dict[int, str],
        start_ns: int,
        end_ns: int,
        params: ReplayParams | None = None,
        *,
        warm: bool = False,
        open_ns: int | None = None,
    ) -> None:
        if end_ns <= start_ns or start_ns % NS or end_ns % NS:
            raise SessionError(f"ladder span: expected whole seconds with the end after the start, found [{start_ns}, {end_ns})")
        self._params = params or ReplayParams()
        self._start_ns, self._end_ns = start_ns, end_ns
        self._book = _kernel()
        self._contracts = [self._contract(i, symbol, warm, start_ns if open_ns is None else open_ns) for i, symbol in instruments.items()]
        self._cover_end = _FOREVER
        self._begun = False

    def begin_file(self, header_end_ns: int, header_start_ns: int | None = None) -> None:
        """Say that the records fed from here on come from another file, which covers ``[header_start_ns, header_end_ns)``.

        Seconds beyond a file's end are invalid until a later file covers them; a file whose first record of a contract is
        neither a snapshot's nor an ``R`` starts cold: the book is emptied and invalid until one comes.
        """
        for c in self._contracts:
            self._end_snapshot(c)
            if header_start_ns is not None:
                self._advance(c, header_start_ns // NS - self._start_ns // NS)
                if self._begun and header_start_ns > self._cover_end:
                    c.st[state.KNOWN] = 0
            c.st[state.COVER_END] = header_end_ns
            c.st[state.NEW_FILE] = 1
        self._cover_end = header_end_ns
        self._begun = True

    def feed(self, columns: MboColumns) -> None:
        """Replay the next records; a stream may be cut into chunks anywhere."""
        from engine.mbo import growth

        book = self._book
        columns = _read_only(columns)
        for c in self._contracts:
            at, n = 0, len(columns)
            while at < n:
                at, why = book.replay(
                    at, c.instrument,
                    columns.ts_event, columns.ts_recv, columns.order_id, columns.price, columns.size, columns.flags,
                    columns.action, columns.side, columns.instrument_id,
                    c.st, c.tab, c.acc, c.bits, c.keys, c.touched, c.taker_id, c.taker_event, c.rows, c.tape,
                )  # fmt: skip
                if why == book.GROW:
                    growth.grow_table(c)
                    growth.grow_grid(c)
                elif why == book.DRAIN:
                    c.drain()

    def finish(self) -> dict[str, ReplayedContract]:
        """Close the remaining windows; ladders and tapes by symbol. The replay cannot be fed again."""
        out = {}
        for c in self._contracts:
            self._end_snapshot(c)
            self._advance(c, int(c.st[state.WINDOWS]))
            c.drain()
            stats = {name: int(c.st[at]) for name, at in state.STATISTICS.items()}
            rows = _ladder_frame(c, self._start_ns)
            stats["ladder_rows"] = rows.height
            out[c.symbol] = ReplayedContract(c.symbol, rows, _tape_frame(c, self._start_ns), stats)
        self._contracts = []
        return out

    def grid_bytes(self) -> int:
        """Bytes of the price grids and order tables as they stand, of all contracts."""
        return sum(a.nbytes for c in self._contracts for a in (c.acc, c.bits, c.keys, c.touched, c.tab, c.rows))

    def _contract(self, instrument: int, symbol: str, warm: bool, open_ns: int) -> ContractState:
        from engine.mbo.grid import FIELDS
        from engine.mbo.growth import FAR_START, ContractState
        from engine.mbo.windows import ROW_FIELDS, TAPE_FIELDS

        st = np.zeros(state.STATE_SIZE, np.int64)
        windows = (self._end_ns - self._start_ns) // NS
        st[[state.BEST, state.S_BID]] = state.NO_BID
        st[[state.BEST + 1, state.S_ASK]] = state.NO_ASK
        st[[state.LAST, state.HIGH, state.LOW]] = state.NO_TICK
        st[[state.KNOWN, state.WARM]] = int(warm)
        st[state.EVENT] = st[state.NEW_FILE] = 1
        st[state.COVER_END] = _FOREVER
        st[state.WINDOW], st[state.WINDOWS], st[state.START_S] = -1, windows, self._start_ns // NS
        st[state.REST_NS], st[state.SPAN], st[state.KEYFRAME_S] = self._params.rest_ns, self._params.span_ticks, self._params.keyframe_s
        st[state.FAR_SLOTS], st[state.ROW_SLOTS] = FAR_START, _ROWS_START
        st[state.TICK_FIXED], st[state.OPEN_NS] = root_of(symbol).tick_fixed, open_ns
        return ContractState(
            instrument,
            symbol,
            st,
            tab=np.zeros(_TABLE_START * 4, np.uint64),
            acc=np.zeros((2 * FAR_START, FIELDS), np.int32),
            bits=np.zeros((2, 0), np.uint64),
            keys=np.full(FAR_START, state.NO_KEY, np.int64),
            touched=np.empty(FAR_START, np.int64),
            taker_id=np.zeros(state.TAKER_SLOTS, np.uint64),
            taker_event=np.zeros(state.TAKER_SLOTS, np.int64),
            rows=np.empty((_ROWS_START, ROW_FIELDS), np.int32),
            tape=np.zeros((windows, TAPE_FIELDS), np.int64),
        )

    def _advance(self, c: ContractState, target: int) -> None:
        while not self._book.close_until(target, c.st, c.acc, c.keys, c.touched, c.rows, c.tape):
            c.drain()

    def _end_snapshot(self, c: ContractState) -> None:
        self._book.end_run(c.st, c.acc, c.bits, c.keys)


def _read_only(columns: MboColumns) -> MboColumns:
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


def _kernel() -> ModuleType:
    from engine.mbo import book  # numba starts here: as slow as a day's replay, so not before someone replays

    return book


def _ladder_frame(c: ContractState, start_ns: int) -> pl.DataFrame:
    fields = np.concatenate(c.parts, axis=1) if c.parts else np.empty((c.rows.shape[1], 0), np.int32)
    c.parts = []
    starts = start_ns + fields[0].astype(np.int64) * NS
    data = {"window_start_ts_ns": starts, "window_end_ts_ns": starts + NS, "tick": fields[1], "keyframe": fields[2].astype(np.bool_)}
    data.update({name: fields[3 + i] for i, name in enumerate(SIDED_CHANNELS)})
    return pl.DataFrame(data, schema=LADDER_SCHEMA)


def _tape_frame(c: ContractState, start_ns: int) -> pl.DataFrame:
    starts = start_ns + np.arange(len(c.tape), dtype=np.int64) * NS
    names = list(TAPE_SCHEMA)[2:]
    data = {"window_start_ts_ns": starts, "window_end_ts_ns": starts + NS}
    data.update({name: np.ascontiguousarray(c.tape[:, i]) for i, name in enumerate(names)})
    ofi = names.index("ofi")
    data["ofi"] = np.clip(c.tape[:, ofi], -(2**31), 2**31 - 1)
    nulls = [pl.when(pl.col(name) != state.NO_TICK).then(pl.col(name)).alias(name) for name in _NULLABLE]
    return pl.DataFrame(data).with_columns(nulls).cast(TAPE_SCHEMA)  # type: ignore[arg-type]
