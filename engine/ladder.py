"""`Ladder`: the price ladder of a contract-day (features.md section 1).
It holds the sparse rows of ``mbo_price_ladder_1s`` and the tape of ``mbo_tape_1s`` as sorted arrays with two indexes (by second, by tick),
so that a slice of any window length and price step takes milliseconds.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numba import njit

from engine.errors import ContractError, PartitionCorrupt, SessionError
from engine.lake.catalog import LADDER, TAPE
from engine.params import ReplayParams
from engine.sessions import span_text
from engine.vocab import LADDER_COLUMNS, NS, Root, root_of

if TYPE_CHECKING:
    import xarray as xr

    from engine.lake.store import Lake

_ROWS_COLUMNS = ("window_start_ts_ns", "tick", "keyframe", *LADDER_COLUMNS)
_TAPE_COLUMNS = ("window_start_ts_ns", "last_tick", "best_bid_tick", "best_ask_tick", "book_valid")

NO_TICK = int(np.iinfo(np.int32).min)
"""Sentinel for "no price" in int32 tick arrays."""

REACH_TICKS = 1 << 16
"""A ladder in memory, whose indexes are dense by tick, ends so far from where the session traded: rows of stub orders beyond, a bid at a
cent or an offer at a million, stay in the table. No product's price is as many ticks."""

MAX_TICK_RANGE = 1 << 24
"""Maximum range of a ladder's prices in ticks, too wide for any market."""


class Ladder:
    """Sparse ladder and tape of one session of one contract, built by `from_frames` or `open`.
    ``[start_ns, end_ns)`` is the ladder's span in whole seconds; `tape`, `valid` (``book_valid``), `last_tick`, `best_bid_tick` and
    `best_ask_tick` (at each second's end, int32, `NO_TICK` where there is none) have a row a second, and so has `near_ticks`: how far
    behind the touch a book is known that is not known as a whole, -1 where it is not even that, or is valid.
    """

    def __init__(self, rows: pl.DataFrame, tape: pl.DataFrame, *, symbol: str, date: dt.date, make: str | None = None) -> None:
        # Frames that are not from a lake get a command without `--lake`.
        made_by = make or f"spymaster run --layer silver --symbol {symbol} --dates {date} --overwrite"
        self.fix = f"`{made_by}` makes it again"
        self.symbol, self.date = symbol, date
        self.root: Root = root_of(symbol)
        self.where = f"ladder of {symbol} {date}"
        for frame, dataset, columns in ((rows, LADDER, _ROWS_COLUMNS), (tape, TAPE, _TAPE_COLUMNS)):
            missing = [c for c in columns if c not in frame.columns]
            if missing:
                raise ContractError(
                    f"{dataset} {symbol} {date}: expected columns {', '.join(columns)}; missing {', '.join(missing)}; {self.fix}"
                )
        self._take_tape(tape)
        self._take_rows(rows)

    @classmethod
    def from_frames(cls, rows: pl.DataFrame, tape: pl.DataFrame, *, symbol: str, date: dt.date) -> Ladder:
        """Ladder from its two frames, sorted as in the lake.
        Raises ContractError where a column is missing, the tape has a gap, or rows are not sorted by (window, tick) within it.
        """
        return cls(rows, tape, symbol=symbol, date=date)

    @classmethod
    def open(cls, lake: Lake, symbol: str, date: dt.date) -> Ladder:
        """Ladder of a contract-day in `lake`; errors are those of reading the two partitions.
        PartitionCorrupt also where rows and tape are not of one replay, as after a run that was killed between the two.
        """
        rows, tape = (lake.manifest(key, symbol, date).lineage for key in (LADDER, TAPE))
        if rows != tape:
            raise PartitionCorrupt(
                f"ladder of {symbol} {date} in {lake.root}: expected {LADDER} and {TAPE} of one replay, found "
                f"two of different inputs, code or parameters; `{lake.repair_command(TAPE, symbol, date)}` rebuilds both"
            )
        make = lake.repair_command(TAPE, symbol, date, overwrite=True)
        return cls(lake.read(LADDER, symbol, date), lake.read(TAPE, symbol, date), symbol=symbol, date=date, make=make)

    def _broken(self, expected: str) -> ContractError:
        return ContractError(f"{self.where}: expected {expected}; {self.fix}")

    def _take_tape(self, tape: pl.DataFrame) -> None:
        starts = tape["window_start_ts_ns"].to_numpy()
        if starts.size == 0:
            raise self._broken("one tape row per second, the tape is empty")
        if starts[0] % NS or (np.diff(starts) != NS).any():
            raise self._broken("a tape row for every second, found gaps or disorder")
        self.tape = tape
        self.start_ns, self.end_ns = int(starts[0]), int(starts[-1]) + NS
        self.valid = tape["book_valid"].to_numpy().astype(bool)
        near = tape["near_ticks"].fill_null(-1).to_numpy() if "near_ticks" in tape.columns else np.full(self.valid.size, -1)
        self.near_ticks = np.array(near, dtype=np.int32)
        self.last_tick, self.best_bid_tick, self.best_ask_tick = (
            np.array(tape[c].cast(pl.Int32).fill_null(NO_TICK).to_numpy()) for c in ("last_tick", "best_bid_tick", "best_ask_tick")
        )

    def _within_reach(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows at prices that a market can have (`REACH_TICKS`)."""
        prices = self.last_tick[self.last_tick != NO_TICK].astype(np.int64)
        if not prices.size:
            both = np.concatenate((self.best_bid_tick, self.best_ask_tick)).astype(np.int64)
            prices = both[both != NO_TICK]
            prices = np.median(prices, keepdims=True).astype(np.int64) if prices.size else prices
        if not prices.size or not rows.height:
            return rows
        low, high = int(prices.min()) - REACH_TICKS, int(prices.max()) + REACH_TICKS
        there = rows["tick"]
        return rows if low <= there.min() and there.max() <= high else rows.filter(there.is_between(low, high))  # type: ignore[operator]

    def _take_rows(self, rows: pl.DataFrame) -> None:
        rows = self._within_reach(rows)
        starts = rows["window_start_ts_ns"].to_numpy()
        self.second = ((starts - self.start_ns) // NS).astype(np.int32)
        # Copy, since polars' arrays are read-only, for which numba would compile every kernel once more.
        self.tick = np.array(rows["tick"].to_numpy(), dtype=np.int32)
        if starts.size:
            if starts[0] < self.start_ns or starts[-1] >= self.end_ns:
                raise self._broken("rows within the tape's span, found rows outside")
            step = np.diff(self.second)
            if (step < 0).any() or ((step == 0) & (np.diff(self.tick) <= 0)).any():
                raise self._broken("rows sorted by (window, tick), each once")
        self.keyframe = rows["keyframe"].to_numpy().astype(bool)
        self.values = np.empty((starts.size, len(LADDER_COLUMNS)), np.int32)
        for i, name in enumerate(LADDER_COLUMNS):
            self.values[:, i] = rows[name].to_numpy()
        # A contiguous copy of the depths, which the feature kernel reads for every row.
        self.depth = np.ascontiguousarray(self.values[:, :2])
        self.offset = np.searchsorted(self.second, np.arange(self.seconds + 1)).astype(np.int64)
        self.tick_low = int(self.tick.min()) if starts.size else 0
        self.n_slots = int(self.tick.max()) - self.tick_low + 1 if starts.size else 1
        if self.n_slots > MAX_TICK_RANGE:
            raise self._broken(f"prices within {MAX_TICK_RANGE} ticks of each other, found {self.n_slots}")
        self._slot_offset, self._slot_rows = index_by_tick(self.tick, self.tick_low, self.n_slots)

    def known_span(self, first: int, n_windows: int, window_s: int) -> tuple[np.ndarray, np.ndarray]:
        """Lowest tick at which bids, and highest at which asks are known all through each window and at the end of the second before it,
        int64: without end (``-2**62``, ``2**62``) where the book is valid, and the wrong way round where nothing is known.
        """
        everything, nothing = 2**62, -(2**62)
        near = self.near_ticks >= 0
        low = np.where(self.valid, -everything, np.where(near, self.best_bid_tick.astype(np.int64) - self.near_ticks, -nothing))
        high = np.where(self.valid, everything, np.where(near, self.best_ask_tick.astype(np.int64) + self.near_ticks, nothing))
        span = slice(first, first + n_windows * window_s)
        before = np.maximum(first + window_s * np.arange(n_windows) - 1, 0)
        # The second before a window of a valid book may be one in which it was built.
        whole = self.valid[span].reshape(n_windows, window_s).all(axis=1)
        lowest = np.maximum(low[span].reshape(n_windows, window_s).max(axis=1), np.where(whole, -everything, low[before]))
        highest = np.minimum(high[span].reshape(n_windows, window_s).min(axis=1), np.where(whole, everything, high[before]))
        return lowest, highest

    @property
    def seconds(self) -> int:
        """Number of seconds in the session's ladder."""
        return self.valid.size

    def windows(self, window_s: int, start_ns: int | None = None, end_ns: int | None = None) -> tuple[int, int]:
        """(first second, number) of the epoch-aligned windows, wholly in the session, that overlap ``[start_ns, end_ns)``; SessionError
        without.
        """
        first_s, last_s = self.start_ns // NS, self.end_ns // NS
        lo = first_s if start_ns is None else max(first_s, start_ns // NS)
        hi = last_s if end_ns is None else min(last_s, -(-end_ns // NS))
        first = max(-(-first_s // window_s), lo // window_s)
        last = min(last_s // window_s, -(-hi // window_s))
        if hi <= lo or last <= first:
            begin, end = self.start_ns if start_ns is None else start_ns, self.end_ns if end_ns is None else end_ns
            raise SessionError(
                f"{self.where}: expected a slice with at least one whole {window_s} s window in "
                f"{span_text(self.start_ns, self.end_ns, self.date)}, found {span_text(begin, end, self.date)}; "
                "choose a span inside the session"
            )
        return int(first * window_s - first_s), int(last - first)

    def state_before(self, second: int, tick_low: int, n_ticks: int) -> np.ndarray:
        """``(n_ticks, 4)`` int64: bid and ask depth, bid and ask orders of each tick before `second` of the session.
        Before the first second the conservation law gives the depths (orders are 0: they have no such law). A tick beyond the keyframes'
        span counts as 0 until its first row.
        """
        state = np.zeros((n_ticks, 4), np.int64)
        first_known = bool(self.valid[0] or self.near_ticks[0] >= 0)
        state_before(self._slot_offset, self._slot_rows, self.second, self.values, self.tick_low, second, tick_low, first_known, state)
        return state

    def cube(self, start_ns: int, end_ns: int, tick_low: int, tick_high: int, *, window_s: int = 1, step_ticks: int = 1) -> xr.Dataset:
        """Dense slice of the ladder; SessionError where it is empty.

        The span is widened to whole windows of `window_s` seconds (aligned to the epoch) and clipped to the session; the ticks, both
        included, to whole price rows of `step_ticks` ticks, which start at absolute multiples of it.
        Variables, int64 ``(window, tick)``: every channel of `LADDER_COLUMNS` (depth and orders at the window's end, flows summed) and
        ``bid_depth_start``, ``ask_depth_start``; bool ``book_valid (window)``, True where all its seconds are; int64 ``known_low``,
        ``known_high (window)`` as `known_span` gives them. Coordinates:
        ``window_start_ts_ns``, ``window_end_ts_ns`` (window), ``tick`` (the row's lowest tick) and ``price`` (tick).
        """
        import xarray as xr

        if window_s < 1 or step_ticks < 1 or tick_high < tick_low:
            raise SessionError(
                f"{self.where}: expected window_s >= 1, step_ticks >= 1 and tick_low <= tick_high, "
                f"found {window_s}, {step_ticks}, {tick_low}, {tick_high}"
            )
        first, n_windows = self.windows(window_s, start_ns, end_ns)
        low = tick_low // step_ticks * step_ticks
        n_rows = (tick_high - low) // step_ticks + 1
        state = self.state_before(first, low, n_rows * step_ticks)
        out = np.zeros((18, n_windows, n_rows), np.int64)
        fill_cube(self.offset, self.tick, self.values, state, first, window_s, low, step_ticks, out)
        begin = self.start_ns + (first + window_s * np.arange(n_windows, dtype=np.int64)) * NS
        ticks = low + step_ticks * np.arange(n_rows, dtype=np.int64)
        names = (*LADDER_COLUMNS, "bid_depth_start", "ask_depth_start")
        data: dict[str, Any] = {name: (("window", "tick"), out[i]) for i, name in enumerate(names)}
        data["known_low"], data["known_high"] = (("window", a) for a in self.known_span(first, n_windows, window_s))
        data["book_valid"] = ("window", self.valid[first : first + n_windows * window_s].reshape(n_windows, window_s).all(axis=1))
        coords = {
            "window_start_ts_ns": ("window", begin),
            "window_end_ts_ns": ("window", begin + window_s * NS),
            "tick": ("tick", ticks),
            "price": ("tick", np.round(ticks * self.root.tick_size, 9)),
        }
        attrs = {"symbol": self.symbol, "date": str(self.date), "window_s": window_s, "step_ticks": step_ticks}
        return xr.Dataset(data, coords, attrs)

    def conserve(self, params: ReplayParams | None = None) -> pl.DataFrame:
        """Rows of valid seconds that violate conservation, ``depth_end = depth_start + add - pull - fill``; empty where it holds.
        ``window_start_ts_ns, tick, side, depth_start, add, pull, fill, depth_end``. A tick's first row is checked only where an earlier
        keyframe covered the tick (it was empty then); otherwise the depth before it is unknown.
        """
        start, known = np.zeros_like(self.depth), np.zeros(self.tick.size, np.bool_)
        depth_before_rows(self._slot_offset, self._slot_rows, self.second, self.depth, start, known)
        low, high = self._keyframe_cover((params or ReplayParams()).span_ticks)
        at = self.second
        known |= (at > 0) & (self.tick >= low[at]) & (self.tick <= high[at])
        frames = []
        for side, name in enumerate(("bid", "ask")):
            add, pull, fill = (self.values[:, 2 * c + side] for c in (2, 3, 4))
            bad = known & self.valid[at] & (self.depth[:, side].astype(np.int64) != start[:, side].astype(np.int64) + add - pull - fill)
            columns = {
                "window_start_ts_ns": self.start_ns + at[bad].astype(np.int64) * NS,
                "tick": self.tick[bad],
                "side": np.full(int(bad.sum()), name),
                "depth_start": start[bad, side],
                "add": add[bad],
                "pull": pull[bad],
                "fill": fill[bad],
                "depth_end": self.depth[bad, side],
            }
            frames.append(pl.DataFrame(columns, schema_overrides={"side": pl.String}))
        return pl.concat(frames).sort("window_start_ts_ns", "tick", "side")

    def _keyframe_cover(self, span: int) -> tuple[np.ndarray, np.ndarray]:
        """Per second, lowest and highest tick that the last keyframe before it covered (low > high where none did)."""
        low, high = np.full(self.seconds, 1, np.int64), np.full(self.seconds, 0, np.int64)
        frames = np.unique(self.second[self.keyframe])
        bid, ask = self.best_bid_tick[frames].astype(np.int64), self.best_ask_tick[frames].astype(np.int64)
        two = (bid != NO_TICK) & (ask != NO_TICK)
        frames, bid, ask = frames[two], bid[two], ask[two]
        if frames.size:
            before = np.searchsorted(frames, np.arange(self.seconds), side="left") - 1
            there = before >= 0
            # One tick less on both sides, whichever way the replay rounds a half-tick mid.
            low[there] = ((bid + ask) // 2 - span + 1)[before[there]]
            high[there] = ((bid + ask) // 2 + span - 1)[before[there]]
        return low, high


def known_cells(cube: xr.Dataset) -> np.ndarray:
    """Whether the book is known at each price row of a cube all through the window, ``(windows, rows)``: everywhere where it is valid, and
    in the band around the touch where it is known there alone.
    """
    tick = cube["tick"].to_numpy()
    low, high = (cube[name].to_numpy()[:, None] for name in ("known_low", "known_high"))
    return np.asarray((low <= tick) & (tick + cube.attrs["step_ticks"] - 1 <= high))


# ----------------------------------------------------------------------------
# Numba kernels over the sparse ladder; their inputs are validated before

FIRST_FLOW = 4
"""Index of the first flow column; those before it are states at a window's end (depth, orders)."""


@njit(cache=True)
def index_by_tick(tick: np.ndarray, low: int, n_slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Counting sort of the rows by tick, keeping time order: (offsets by slot ``tick - low``, row numbers)."""
    offset = np.zeros(n_slots + 1, np.int64)
    for i in range(tick.size):
        offset[tick[i] - low + 1] += 1
    for j in range(n_slots):
        offset[j + 1] += offset[j]
    place = offset[:-1].copy()
    rows = np.empty(tick.size, np.int32)
    for i in range(tick.size):
        j = tick[i] - low
        rows[place[j]] = i
        place[j] += 1
    return offset, rows


@njit(cache=True)
def state_before(
    slot_offset: np.ndarray, slot_rows: np.ndarray, second: np.ndarray, values: np.ndarray, low: int, at: int, tick_low: int,
    first_known: bool, state: np.ndarray,
) -> None:  # fmt: skip
    """Fill ``state[i] = (bid depth, ask depth, bid orders, ask orders)`` of tick ``tick_low + i`` before second `at`.
    Every change of depth has a row, so the last row of a tick before `at` holds its state. Before the session's first second there is no
    row; there the conservation law gives the depth (if `first_known`), and orders stay 0.
    """
    n_slots = slot_offset.size - 1
    for i in range(state.shape[0]):
        state[i, :] = 0
        j = tick_low + i - low
        if j < 0 or j >= n_slots:
            continue
        a = slot_offset[j]
        b = slot_offset[j + 1]
        if at == 0:
            if first_known and a < b and second[slot_rows[a]] == 0:
                v = values[slot_rows[a]]
                state[i, 0] = v[0] - v[4] + v[6] + v[8]
                state[i, 1] = v[1] - v[5] + v[7] + v[9]
            continue
        first = a
        while a < b:
            m = (a + b) // 2
            if second[slot_rows[m]] < at:
                a = m + 1
            else:
                b = m
        if a > first:
            v = values[slot_rows[a - 1]]
            for c in range(4):
                state[i, c] = v[c]


@njit(cache=True)
def link_rows(tick, first, end, low, head, before):
    """Link the rows ``[first, end)`` to the row of the same tick before each: ``before[row]``, and ``head[tick - low]`` the last one."""
    for i in range(first, end):
        j = tick[i] - low
        before[i] = head[j]
        head[j] = i


@njit(cache=True)
def state_before_rows(head, before, second, values, low, at, tick_low, first_known, state):
    """As `state_before`, by the links of `link_rows`: from each tick's last row back."""
    for i in range(state.shape[0]):
        state[i, :] = 0
        j = tick_low + i - low
        if j < 0 or j >= head.shape[0]:
            continue
        r = head[j]
        last = -1
        while r >= 0 and second[r] >= at:
            last = r
            r = before[r]
        if at == 0:
            if first_known and last >= 0 and second[last] == 0:
                v = values[last]
                state[i, 0] = v[0] - v[4] + v[6] + v[8]
                state[i, 1] = v[1] - v[5] + v[7] + v[9]
        elif r >= 0:
            for c in range(4):
                state[i, c] = values[r, c]


@njit(cache=True)
def fill_cube(
    offset: np.ndarray, tick: np.ndarray, values: np.ndarray, state: np.ndarray, first_second: int, window_s: int, tick_low: int, step: int,
    out: np.ndarray,
) -> None:  # fmt: skip
    """Fill ``out[channel, window, price row]`` (int64): 16 channels, then bid and ask depth at the window's start.
    `state` is the state of the ``rows * step`` ticks before `first_second`, and is advanced in place.
    """
    n_windows = out.shape[1]
    tick_end = tick_low + state.shape[0]
    for w in range(n_windows):
        for i in range(state.shape[0]):
            out[16, w, i // step] += state[i, 0]
            out[17, w, i // step] += state[i, 1]
        for s in range(first_second + w * window_s, first_second + (w + 1) * window_s):
            a = offset[s]
            b = offset[s + 1]
            while a < b:
                m = (a + b) // 2
                if tick[m] < tick_low:
                    a = m + 1
                else:
                    b = m
            for r in range(a, offset[s + 1]):
                if tick[r] >= tick_end:
                    break
                i = tick[r] - tick_low
                for c in range(FIRST_FLOW):
                    state[i, c] = values[r, c]
                for c in range(FIRST_FLOW, 16):
                    out[c, w, i // step] += values[r, c]
        for i in range(state.shape[0]):
            for c in range(FIRST_FLOW):
                out[c, w, i // step] += state[i, c]


@njit(cache=True)
def depth_before_rows(
    slot_offset: np.ndarray, slot_rows: np.ndarray, second: np.ndarray, depth: np.ndarray, start: np.ndarray, known: np.ndarray
) -> None:
    """Fill ``start[row] = (bid, ask)`` depth before each row's window; ``known[row]`` is False for a tick's first row."""
    for j in range(slot_offset.size - 1):
        for p in range(slot_offset[j], slot_offset[j + 1]):
            r = slot_rows[p]
            if p > slot_offset[j]:
                q = slot_rows[p - 1]
                start[r, 0] = depth[q, 0]
                start[r, 1] = depth[q, 1]
                known[r] = True
            else:
                known[r] = False
