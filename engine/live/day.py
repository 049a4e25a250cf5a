"""The day under way: from the journal to the ladder, the tape, the bars and the levels, second by second, as the pipeline will have them.

A second is closed by records alone, never by a clock, so that what is here is what a replay of the sealed file makes, row by row.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.bars import trades_between
from engine.errors import EngineError, PartitionCorrupt
from engine.ladder import NO_TICK, Ladder, index_by_tick, link_rows, state_before_rows
from engine.lake.catalog import BRONZE_MBO
from engine.lake.manifest import Manifest
from engine.lake.store import Lake
from engine.levels import LEVEL_SCHEMA, Gap, build_levels
from engine.live.journal import MBO, Journal
from engine.live.trades import GrowingTrades, LiveInputs, Trades, grown
from engine.live.trust import GrowingTrust
from engine.mbo import book
from engine.mbo.dbn import COLUMN_TYPES, MboColumns, split
from engine.mbo.orders import ROW_FIELDS as ORDER_FIELDS
from engine.mbo.orders import OrderReplay, frame_of
from engine.mbo.replay import LADDER_SCHEMA, TAPE_SCHEMA, ContractState, LadderReplay
from engine.mbo.trust import Trust
from engine.params import RunParams
from engine.sessions import SessionWindows, clock_text, closed_span, previous_full_rth, session_windows, utc_dates
from engine.stages.silver import MOST_GAPS, gaps_in, trades_of
from engine.vocab import ACTION_CODES, F_SNAPSHOT, LADDER_COLUMNS, NS, UNDEF_PRICE, root_of

_FOREVER = 2**63 - 1
_NULLABLE = ("best_bid_tick", "best_ask_tick", "last_tick", "high_tick", "low_tick")
_TAPE_COLUMNS = tuple(TAPE_SCHEMA)[2:-2]
ROW_FIELDS = 3 + len(LADDER_COLUMNS)
TAIL_S = 240
MOST_ROWS = 1 << 22
"""A ladder has room for so many rows, twice those of a busy day: what is not written takes no memory, and nothing is copied as it grows."""
TRADED_MINUTES = 30
"""Which contract trades more is told by so many minutes with trades."""


# ----------------------------------------------------------------------------
# The replay, looked at while it goes on


@dataclass(frozen=True)
class Closed:
    """What a replay has closed: the rows that were not given before, and the tape of all closed seconds.

    rows: int32 (rows, `ROW_FIELDS`): second of the ladder, tick, keyframe, then `LADDER_COLUMNS`
    tape: int64 (seconds, fields of `engine.mbo.book`)
    """

    rows: NDArray[np.int32]
    tape: NDArray[np.int64]
    trust: Trust


class GrowingReplay(LadderReplay):
    """The replay of one contract whose closed seconds, and the one under way, can be looked at between records."""

    def __init__(self, symbol: str, windows: SessionWindows, params: RunParams, lost: tuple[tuple[int, int], ...] = ()) -> None:
        closed = closed_span(windows)
        super().__init__(
            {1: symbol}, windows.ladder_start_ns, windows.ladder_end_ns, params.replay,
            open_ns=max(windows.ladder_start_ns, windows.globex_start_ns), trust=params.trust, lost=lost, closed=closed,
        )  # fmt: skip
        c = self._one
        self._growing = GrowingTrust(len(c.tape), self._start_ns, int(c.st[book.SECOND_0]), lost, self._trust, closed)
        self._fed_ns = _FOREVER  # the earliest time among the records since the last look

    @property
    def _one(self) -> ContractState:
        return self._contracts[0]

    @property
    def seconds(self) -> int:
        """Seconds of the ladder that are closed."""
        return max(int(self._one.st[book.WINDOW]), 0)

    def gap(self, from_ns: int, to_ns: int) -> None:
        """Say that records between are missing: its seconds are not valid, and the book is unknown until a snapshot comes."""
        begin, _ = self._files.pop()
        self._files.append((begin, from_ns))
        self._one.st[book.COVER_END] = self._cover_end = from_ns
        self.begin_file(_FOREVER, to_ns)

    def feed(self, columns: MboColumns) -> None:
        """As of `LadderReplay`."""
        if len(columns):
            self._fed_ns = min(self._fed_ns, int(np.where(columns.flags & F_SNAPSHOT, columns.ts_recv, columns.ts_event).min()))
        super().feed(columns)

    def peek(self) -> Closed:
        """What is closed now; the rows are given once, and what is said of their worth holds until the next time."""
        c = self._one
        c.drain()
        rows = np.concatenate([p.T for p in c.parts]) if c.parts else np.empty((0, ROW_FIELDS), np.int32)
        c.parts.clear()
        n = self.seconds
        back = int(c.st[book.SECOND_0])
        start_s = self._start_ns // NS
        blocks = len(c.asked) - -(-len(c.tape) // book.BLOCK_S) + -(-n // book.BLOCK_S)
        tape = c.tape[:n]
        crossed_ns = min(int(c.st[book.RUN_NS]), int(c.st[book.CROSS_NS])) if c.st[book.CROSS_KIND] else _FOREVER
        trust = self._growing.look(
            tape, c.past[: start_s - back + n], c.asked[:blocks], tuple(self._files), int(c.st[book.SECOND]), self._fed_ns, crossed_ns
        )
        self._fed_ns = _FOREVER
        return Closed(rows, tape, trust)

    def forming(self) -> NDArray[np.int32]:
        """Rows of the second under way as `Closed.rows`, by rising tick: what changed in it so far."""
        c = self._one
        lines = c.acc.reshape(-1, 2, book.FIELDS)
        low, dense = int(c.st[book.LO]), int(c.st[book.DENSE])
        ticks = np.sort(c.touched[: int(c.st[book.TOUCHED])])
        out = np.zeros((len(ticks), ROW_FIELDS), np.int32)
        for i, tick in enumerate(ticks.tolist()):
            slot = tick - low if 0 <= tick - low < dense else dense + int(np.flatnonzero(c.keys == tick)[0])
            out[i, :3] = c.st[book.WINDOW], tick, 0
            out[i, 3::2], out[i, 4::2] = lines[slot, 0, : book.CHANNELS], lines[slot, 1, : book.CHANNELS]
        return out


# ----------------------------------------------------------------------------
# The ladder that grows


class GrowingLadder(Ladder):
    """A `Ladder` of the whole session, of which the seconds so far are there: later ones have no rows, and are not valid.

    Whatever reads a ladder may read it; `append` adds closed seconds. `closed` is their number.
    """

    def __init__(self, symbol: str, date: dt.date, start_ns: int, end_ns: int) -> None:
        self.symbol, self.date, self.root = symbol, date, root_of(symbol)
        self.fix, self.where = "the recorder makes it", f"live ladder of {symbol} {date}"
        self.start_ns, self.end_ns = start_ns, end_ns
        n = (end_ns - start_ns) // NS
        self.closed = self._n = 0
        self.trust: dict[str, Any] | None = None
        self.valid = np.zeros(n, np.bool_)
        self.near_ticks = np.full(n, -1, np.int32)
        self.last_tick, self.best_bid_tick, self.best_ask_tick = (np.full(n, NO_TICK, np.int32) for _ in range(3))
        self.offset = np.zeros(n + 1, np.int64)
        self._tape = np.zeros((n, len(_TAPE_COLUMNS)), np.int64)
        self._tape[:, [_TAPE_COLUMNS.index(c) for c in _NULLABLE]] = book.NO_TICK
        self._frame: pl.DataFrame | None = None
        self._second, self._tick, self._before = (np.empty(0, np.int32) for _ in range(3))
        self._keyframe, self._depth = np.empty(0, np.bool_), np.empty((0, 2), np.int32)
        self._values = np.empty((0, len(LADDER_COLUMNS)), np.int32)
        self._room(MOST_ROWS)
        self._low, self._head = 0, np.zeros(0, np.int32)
        self._by_tick: tuple[int, NDArray[np.int64], NDArray[np.int32]] | None = None

    def _room(self, n: int) -> None:
        """Make room for `n` rows."""

        def grown(array: NDArray[Any]) -> NDArray[Any]:
            new = np.empty((n, *array.shape[1:]), array.dtype)
            new[: self._n] = array[: self._n]
            return new

        self._second, self._tick, self._before = grown(self._second), grown(self._tick), grown(self._before)
        self._keyframe, self._values, self._depth = grown(self._keyframe), grown(self._values), grown(self._depth)

    # What `Ladder` has as arrays of all rows are views of the rows so far.
    second: Any = property(lambda self: self._second[: self._n])
    tick: Any = property(lambda self: self._tick[: self._n])
    keyframe: Any = property(lambda self: self._keyframe[: self._n])
    values: Any = property(lambda self: self._values[: self._n])
    depth: Any = property(lambda self: self._depth[: self._n])
    tick_low: Any = property(lambda self: self._low)
    n_slots: Any = property(lambda self: max(len(self._head), 1))
    _slot_offset: Any = property(lambda self: self._index()[1])
    _slot_rows: Any = property(lambda self: self._index()[2])

    def _index(self) -> tuple[int, NDArray[np.int64], NDArray[np.int32]]:
        """The index by tick of all rows so far, for the few that ask for one."""
        if self._by_tick is None or self._by_tick[0] != self._n:
            self._by_tick = (self._n, *index_by_tick(self.tick, self.tick_low, self.n_slots))
        return self._by_tick

    @property
    def tape(self) -> pl.DataFrame:  # type: ignore[override]
        """The tape of the whole session; seconds to come have no prices, and are not valid."""
        if self._frame is None:
            n = len(self._tape)
            self._frame = _tape_frame(self._tape, self.start_ns, self.valid, self.near_ticks, n)
        return self._frame

    def append(self, closed: Closed) -> None:
        """Add what was closed since the last time."""
        n = len(closed.tape)
        new = slice(self.closed, n)
        self._tape[new] = closed.tape[new, : len(_TAPE_COLUMNS)]
        for name, array in (("last_tick", self.last_tick), ("best_bid_tick", self.best_bid_tick), ("best_ask_tick", self.best_ask_tick)):
            found = closed.tape[new, _TAPE_COLUMNS.index(name)]
            array[new] = np.where(found == book.NO_TICK, NO_TICK, found)
        # A book that is crossed for too long is known to be so only later.
        self.valid[:n] = closed.trust.valid
        self.near_ticks[:n] = closed.trust.near_ticks
        self.trust = closed.trust.record
        rows, before = closed.rows, self._n
        if len(rows):
            if self._n + len(rows) > len(self._second):
                self._room(max(2 * len(self._second), self._n + len(rows)))
            self._reach(int(rows[:, 1].min()), int(rows[:, 1].max()))
            at = slice(self._n, self._n + len(rows))
            self._second[at], self._tick[at], self._keyframe[at] = rows[:, 0], rows[:, 1], rows[:, 2] != 0
            self._values[at] = rows[:, 3:]
            self._depth[at] = rows[:, 3:5]
            link_rows(self._tick, self._n, self._n + len(rows), self._low, self._head, self._before)
            self._n += len(rows)
        self.offset[self.closed :] = self._n
        self.offset[self.closed : n + 1] = before + np.searchsorted(rows[:, 0], np.arange(self.closed, n + 1, dtype=np.int32))
        self.closed = n
        self._frame = None

    def _reach(self, low: int, high: int) -> None:
        """Make room for prices in the index by tick."""
        if len(self._head) and self._low <= low and high < self._low + len(self._head):
            return
        bottom = min(low, self._low) if len(self._head) else low
        top = max(high + 1, self._low + len(self._head)) if len(self._head) else high + 1
        head = np.full(top - bottom, -1, np.int32)
        head[self._low - bottom : self._low - bottom + len(self._head)] = self._head
        self._low, self._head = bottom, head

    def state_before(self, second: int, tick_low: int, n_ticks: int) -> np.ndarray:
        """As of `Ladder`."""
        state = np.zeros((n_ticks, 4), np.int64)
        first_known = bool(self.valid[0] or self.near_ticks[0] >= 0)
        state_before_rows(self._head, self._before, self._second, self._values, self._low, second, tick_low, first_known, state)
        return state

    def frames(self, first: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows and tape of the closed seconds from second `first` on, in the lake's schemas."""
        at = slice(int(self.offset[first]), self._n)
        starts = self.start_ns + self._second[at].astype(np.int64) * NS
        data = {"window_start_ts_ns": starts, "window_end_ts_ns": starts + NS, "tick": self._tick[at], "keyframe": self._keyframe[at]}
        data |= {name: np.ascontiguousarray(self._values[at, i]) for i, name in enumerate(LADDER_COLUMNS)}
        n = self.closed - first
        begin = self.start_ns + first * NS
        tape = _tape_frame(self._tape[first:], begin, self.valid[first:], self.near_ticks[first:], n)
        return pl.DataFrame(data, schema=LADDER_SCHEMA), tape

    def tail(self, seconds: int = TAIL_S) -> Ladder:
        """The last closed seconds as a ladder of their own, from a keyframe on; at least one must be closed.
        It reaches back to another price than that at its start, so that features know from which side price came.
        """
        first = max(self.closed - seconds, 0)
        changes = np.flatnonzero(self.last_tick[1 : first + 1] != self.last_tick[:first])
        first = min(first, int(changes[-1])) if len(changes) else 0
        rows, tape = self.frames(self._keyframe_at(first))
        return Ladder.from_frames(rows, tape, symbol=self.symbol, date=self.date)

    def _keyframe_at(self, second: int) -> int:
        """The last second with a keyframe until then; the first of all without one."""
        end, step = min(int(self.offset[second]) + 1, self._n), 1 << 12
        while end > 0:
            found = np.flatnonzero(self._keyframe[max(end - step, 0) : end])
            if len(found):
                return int(self._second[max(end - step, 0) + found[-1]])
            end, step = end - step, 2 * step
        return 0


def _tape_frame(tape: NDArray[np.int64], start_ns: int, valid: NDArray[np.bool_], near: NDArray[np.int32], n: int) -> pl.DataFrame:
    starts = start_ns + np.arange(n, dtype=np.int64) * NS
    data: dict[str, Any] = {"window_start_ts_ns": starts, "window_end_ts_ns": starts + NS}
    data |= {name: np.ascontiguousarray(tape[:n, i]) for i, name in enumerate(_TAPE_COLUMNS)}
    data["book_valid"] = valid[:n]
    data["near_ticks"] = pl.Series(near[:n]).replace(-1, None)
    data["ofi"] = np.clip(data["ofi"], -(2**31), 2**31 - 1)
    nulls = [pl.when(pl.col(name) != book.NO_TICK).then(pl.col(name)).alias(name) for name in _NULLABLE]
    return pl.DataFrame(data).with_columns(nulls).cast(TAPE_SCHEMA)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------
# The day


@dataclass(frozen=True)
class _Bronze:
    """What the lake has of a contract's dates, as `engine.stages.silver` asks for it."""

    lake: Lake
    symbol: str
    manifests: dict[tuple[str, dt.date], Manifest | None]

    def parts(self, key: str, date: dt.date, columns: Sequence[str] | None = None, where: pl.Expr | None = None) -> Iterator[pl.DataFrame]:
        return self.lake.read_parts(key, self.symbol, date, columns, where)


class GrowingOrders(OrderReplay):
    """The replay of what single orders do, looked at while it goes on."""

    def __init__(self, symbol: str, windows: SessionWindows, params: RunParams, lost: tuple[tuple[int, int], ...]) -> None:
        super().__init__({1: symbol}, windows.ladder_start_ns, windows.ladder_end_ns, params.orders, lost=tuple(sorted(lost)))
        self._told = frame_of(np.empty((0, ORDER_FIELDS), np.int64))

    def so_far(self) -> pl.DataFrame:
        """What happened until the last record that was fed."""
        c = self._contracts[0]
        c.drain()
        if c.parts:
            self._told = grown(self._told, frame_of(np.concatenate(c.parts)))
            c.parts.clear()
        return self._told


@dataclass
class LiveDay:
    """A contract's session under way, made from the journal as it grows.

    `poll` takes in what was recorded since the last time. Of it `ladder` has the closed seconds, `bars` and `levels` what is known at their
    end (`refresh` makes them), `forming` the second under way. `absent` says why a level is not there.
    """

    lake: Lake
    journal: Journal
    symbol: str
    date: dt.date
    profile: str = "rth"
    params: RunParams = field(default_factory=RunParams)

    def __post_init__(self) -> None:
        self.windows = session_windows(self.date, self.profile, root_of(self.symbol))
        w = self.windows
        self._dates = utc_dates(min(w.globex_start_ns, w.ladder_start_ns), w.ladder_end_ns)
        self._lock = threading.Lock()
        self._previous = self._read_previous()
        self._half_read = False
        self._begin(())

    def _begin(self, lost: tuple[tuple[int, int], ...]) -> None:
        w = self.windows
        self._lost = lost
        self._replay = GrowingReplay(self.symbol, w, self.params, lost)
        self._orders = GrowingOrders(self.symbol, w, self.params, lost)
        self.ladder = GrowingLadder(self.symbol, self.date, w.ladder_start_ns, w.ladder_end_ns)
        self._done = dict.fromkeys(self._dates, 0)
        self.kept = GrowingTrades()
        self.gaps: list[Gap] = []
        self.covered_ns: int | None = None
        self._traded: deque[tuple[int, dict[int, int]]] = deque(maxlen=TRADED_MINUTES)  # by minute: trades by instrument
        self._ids: tuple[object, NDArray[np.uint32]] = (None, np.empty(0, np.uint32))
        self.records = 0
        self.last_ns: int | None = None
        self.bars = self.kept.bars(w.globex_start_ns, w.globex_start_ns)
        self.levels = LEVEL_SCHEMA.to_frame()
        self.absent: dict[str, str] = {}

    # --- from the journal

    def poll(self, most: int | None = None) -> int:
        """Take in what the journal has, at most so many records; the seconds that were closed by it.

        Where that failed the next time begins anew: what of the records had been taken in by then is not known.
        """
        with self._lock:
            if self._half_read:
                self._begin(self._lost)
            before, self._half_read = self.ladder.closed, True
            while True:
                self._read(most)
                if self._replay.seconds <= self.ladder.closed:
                    break
                closed = self._replay.peek()
                missing = closed.trust.missing
                if missing is None or missing in self._lost or len(self._lost) == MOST_GAPS:
                    self.ladder.append(closed)
                    break
                self._begin((*self._lost, missing))
                most = None
            self._half_read = False
        return max(self.ladder.closed - before, 0)

    def behind(self) -> int:
        """Records of the journal that were not taken in yet; none of a date whose journal was cleared since."""
        return sum(max(self.journal.count(date) - done, 0) for date, done in self._done.items())

    def _read(self, most: int | None) -> None:
        left = most
        for date in self._dates:
            while self.journal.count(date) > self._done[date] and left != 0:
                first = self._done[date]
                end = min(self.journal.count(date), first + (1 << 17), first + left if left is not None else _FOREVER)
                gaps = {e["record"]: e for e in self.journal.events(date) if e["what"] == "gap" and first <= e["record"] < end}
                for a, b in pairwise(sorted({first, *gaps, end})):
                    if a in gaps:
                        self._meet_gap(gaps[a])
                    self._take(self.journal.records(date, a, b), date)
                self._done[date] = end
                left = left - (end - first) if left is not None else None

    def _meet_gap(self, event: dict[str, Any]) -> None:
        start, end = int(event["from_ns"]), int(event["to_ns"])
        if self.covered_ns is None:
            return
        self._replay.gap(start, end)
        self._orders.begin_file(_FOREVER, end)
        self.gaps.append(Gap(start, end, f"the live feed was not recorded then ({event['reason']})"))

    def _take(self, records: NDArray[np.void], date: dt.date) -> None:
        if not len(records):
            return
        if self.covered_ns is None:
            self.covered_ns = int(records["ts_recv"][0])
            self._replay.begin_file(_FOREVER, self.covered_ns)
            self._orders.begin_file(_FOREVER, self.covered_ns)
        symbols = self.journal.symbols(date)
        if symbols is not self._ids[0]:
            self._ids = symbols, np.array(sorted(i for i, s in symbols.items() if s == self.symbol), np.uint32)
        ids = self._ids[1]
        words = records.view(np.uint64).reshape(len(records), MBO.itemsize // 8)
        columns = MboColumns.empty(len(records))
        kept, bad = split(words, ids, np.ones(len(ids), np.bool_), False, *(getattr(columns, name) for name in COLUMN_TYPES))
        if bad >= 0:
            raise EngineError(f"{self.journal.path(date)}: expected market-by-order records, found something else; remove the file")
        self._count_trades(records, date)
        self.records += len(records)
        self.last_ns = int(records["ts_recv"][-1])
        if kept:
            columns = columns.rows(0, kept)
            columns.instrument_id[:] = 1
            self._replay.feed(columns)
            self._orders.feed(columns)
            self._keep_trades(columns)

    def _count_trades(self, records: NDArray[np.void], date: dt.date) -> None:
        of = records["action"] == ord("T")
        minutes = records["ts_recv"][of] // (60 * NS)
        found, counts = np.unique(minutes << 32 | records["instrument_id"][of], return_counts=True)
        for each, n in zip(found.tolist(), counts.tolist()):
            minute, instrument = each >> 32, each & 0xFFFFFFFF
            if not self._traded or self._traded[-1][0] < minute:
                self._traded.append((minute, {}))
            by_instrument = self._traded[-1][1]
            by_instrument[instrument] = by_instrument.get(instrument, 0) + n

    def traded(self) -> dict[str, int]:
        """Trades of each contract in the last half hour; none before there is half an hour of them."""
        if len(self._traded) < TRADED_MINUTES:
            return {}
        whole: dict[int, int] = {}
        for _, by_instrument in self._traded:
            for instrument, n in by_instrument.items():
                whole[instrument] = whole.get(instrument, 0) + n
        return self.journal.by_contract(whole, self._dates[-1])

    def _keep_trades(self, columns: MboColumns) -> None:
        of = (columns.action == ACTION_CODES["T"]) & (columns.price != UNDEF_PRICE)
        if of.any():
            self.kept.add(
                Trades.of(columns.ts_event[of], columns.price[of], columns.size[of], columns.side[of], root_of(self.symbol).tick_fixed)
            )

    def trades(self) -> pl.DataFrame:
        """Trades since the Globex open in the order in which they came: ``ts_event, tick, size, side``."""
        return self.kept.all()

    def trades_so_far(self) -> pl.DataFrame:
        """As `trades`, of the closed seconds."""
        return self.kept.until(self._trades_end_ns)

    @property
    def _trades_end_ns(self) -> int:
        return self.now_ns if self.ladder.closed else _FOREVER

    def last_trade(self) -> int | None:
        """Tick of the last trade, also of the second under way; None before the first."""
        return self.kept.last_tick()

    def _ask_before_the_join(self) -> None:
        """Take the trades that were asked for when the recording was joined late, which come when they come."""
        if self.covered_ns is None or self.kept.is_known_before:
            return
        for date in self._dates:
            found = self.journal.trades(date)
            ids = [i for i, s in self.journal.symbols(date).items() if s == self.symbol]
            found = found[np.isin(found["instrument_id"], ids) & (found["ts_recv"] < self.covered_ns) & (found["price"] != UNDEF_PRICE)]
            if len(found):
                side = np.select([found["side"] == ord("B"), found["side"] == ord("A")], [0, 1], 2).astype(np.uint8)
                tick_fixed = root_of(self.symbol).tick_fixed
                self.kept.put_before(Trades.frame([Trades.of(found["ts_event"], found["price"], found["size"], side, tick_fixed)]))
                return

    # --- bars and levels

    @property
    def now_ns(self) -> int:
        """End of the last closed second of the ladder."""
        return self.ladder.start_ns + self.ladder.closed * NS

    def refresh(self) -> None:
        """Make bars and levels anew, as known at the end of the last closed second."""
        with self._lock:
            w, now = self.windows, self.now_ns
            self._ask_before_the_join()
            self.bars = self.kept.bars(w.globex_start_ns, now) if now > w.globex_start_ns else self.bars
            levels, absent = build_levels(self._inputs(), self.params.levels)
            later = levels["start_ts_ns"] >= now
            for level_id in levels.filter(later)["level_id"].unique(maintain_order=True):
                if not levels.filter(~later & (pl.col("level_id") == level_id)).height:
                    starts = levels.filter(pl.col("level_id") == level_id)["start_ts_ns"][0]
                    absent[level_id] = f"not known before {clock_text(starts)} New York"
            self.levels, self.absent = levels.filter(~later), absent

    def _inputs(self) -> LiveInputs:
        w = self.windows
        lacking, before, date = self._previous
        gaps = list(self.gaps)
        covered = self.covered_ns
        if covered is None:
            gaps.append(Gap(w.globex_start_ns, w.ladder_end_ns, "nothing was recorded yet"))
        elif covered > w.globex_start_ns and not self.kept.is_known_before:
            gaps.append(Gap(w.globex_start_ns, covered, f"recorded since {clock_text(covered // NS * NS)} New York"))
        return LiveInputs(
            windows=w,
            root=root_of(self.symbol),
            trades_session=self.trades_so_far(),
            trades_pd=before,
            pd_reason=f"the previous RTH session is {date}: {lacking[0].reason}" if lacking else "",
            bars=self.bars,
            gaps=tuple(sorted(gaps, key=lambda g: g.start_ns)),
            kept=self.kept,
            end_ns=self._trades_end_ns,
        )

    def _read_previous(self) -> tuple[tuple[Gap, ...], pl.DataFrame | None, dt.date]:
        """What the previous RTH session lacks, its trades, and its date, by the lake."""
        date, start, end = previous_full_rth(self.windows, self.params.levels.sessions_back)
        days = utc_dates(start, end)
        inputs: Any = _Bronze(self.lake, self.symbol, {(BRONZE_MBO, d): self.lake.find_manifest(BRONZE_MBO, self.symbol, d) for d in days})
        lacking = gaps_in(inputs, start, end)
        try:
            return lacking, None if lacking else trades_between(trades_of(inputs, list(days)), start, end), date
        except PartitionCorrupt as e:  # the day that is under way goes on without the levels of the one before
            return (Gap(start, end, str(e)),), None, date

    def order_events(self) -> pl.DataFrame:
        """What single orders did so far (`engine.lake.catalog.ORDER_EVENTS`)."""
        with self._lock:
            return self._orders.so_far()

    def forming(self) -> NDArray[np.int32]:
        """Rows of the second under way, as `Closed.rows`."""
        with self._lock:
            return self._replay.forming()
