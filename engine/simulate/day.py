"""One UTC day of a simulated root: two contracts and their calendar spread, merged into one stream of records."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from engine.errors import SessionError
from engine.params import SimParams
from engine.sessions import to_ns
from engine.simulate import calendar as cal
from engine.simulate import model as m
from engine.simulate import orders as o
from engine.simulate.actions import lots
from engine.simulate.market import MARGIN, run
from engine.simulate.regimes import LEVEL, N_LOG, OUTCOMES, REGIMES, finish_day, make_levels
from engine.simulate.rng import MAIN, exponential, hash_words, kernel
from engine.vocab import NS, UNDEF_PRICE, root_of

# ----------------------------------------------------------------------------
# A book to start from: orders drawn near the stationary state, then a stretch of market that nobody records

WIDTH = 8192
"""Ticks of the price window, centred on the file's opening price."""


@kernel
def _fill_book(order, levels, classes, st, par, rng, birth, weight, activity, centre):
    st[o.BEST_BID] = 0
    st[o.BEST_ASK] = levels.shape[1] - 1
    for side in range(2):
        for i in range(m.REACH):
            near = 0.3 if i < 4 else 1.0  # the touch is eaten into: fewer rest there than births and lives alone would say
            for cls in range(o.CLASSES):
                share = birth[i, cls] - (birth[i, cls - 1] if cls > 0 else 0.0)
                rate = m.CLASS_RATE[cls] * activity ** (m.CANCEL_POWER - 1.0)
                mean = near * 0.5 * m.ADD_RATE * par[m.RHO] * weight[i] * share / rate
                total = exponential(rng, MAIN)
                while total < mean or (i < 3 and cls == 3 and levels[side, centre - i if side == o.BID else centre + 1 + i, o.COUNT] < 2):
                    tick = centre - i if side == o.BID else centre + 1 + i
                    o.insert(order, levels, classes, st, side, tick, lots(rng, par[m.SZMUL]), 0, cls)
                    total += exponential(rng, MAIN)


class Book:
    """All state of one instrument's market: what the kernel advances."""

    def __init__(self, seed: int, *, par: np.ndarray, tick0: int, tick_fixed: int, instrument_id: int, id_base: int) -> None:
        slots = 1 << 17
        self.order = np.zeros((slots, o.ORDER_WORDS), np.int32)
        self.levels = np.full((2, WIDTH, 4), 0, np.int32)
        self.levels[:, :, o.HEAD : o.TAIL + 1] = -1
        self.classes = np.zeros((o.CLASSES + 1, slots), np.int32)
        self.classes[o.FREE] = np.arange(slots - 1, -1, -1)
        self.touched = np.zeros((4096, 4), np.int32)
        self.par = par
        self.st = np.zeros(o.STATE_WORDS, np.int64)
        self.st[o.N_FREE] = slots
        self.st[o.NEXT_ID] = 1
        self.st[o.WORD0] = 14 | (160 << 8) | (1 << 16) | (instrument_id << 32)
        self.st[o.ID_BASE] = id_base
        self.st[o.TICK0] = tick0
        self.st[o.TICK_FIXED] = tick_fixed
        self.fs = np.zeros(m.FLOAT_WORDS)
        self.rng = np.array([hash_words(seed, instrument_id, k) for k in range(3)], np.uint64)
        self.tables = (m.distance_table(), m.birth_table())

    def open_at(self, price: float, activity: float, now_ns: int) -> None:
        """Fill the book around `price` (a tick index) as it would be at an activity, at `now_ns`."""
        weight = np.bincount(self.tables[0], minlength=m.REACH) / m.QUANTILES
        self.st[o.NOW_NS] = self.st[o.GRID_NS] = now_ns
        self.fs[m.P_] = price
        for k in range(3):  # the start of the volatility's own stationary law
            u, v = (hash_words(int(self.rng[0]), 7, k, j) / 2.0**64 for j in (0, 1))
            self.fs[m.Y0 + k] = m.Y_SD[k] * math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v)
        centre = math.floor(price)
        _fill_book(self.order, self.levels, self.classes, self.st, self.par, self.rng, self.tables[1], weight, activity, centre)

    @property
    def index_mid(self) -> float:
        """Mid price as a tick index."""
        return 0.5 * float(self.st[o.BEST_BID] + self.st[o.BEST_ASK])


SLICE_NS = 300 * NS
WARM_S = 120
CENTRE = WIDTH // 2
FOLLOW_RATE = 1.0
LEAST_RATE = 0.03
"""A thin contract has the book of this rate and only acts more slowly: thinner books would be empty ones."""

SPREAD_TICK_FIXED = 50_000_000
SNAPSHOT_FLAGS = 40
LEVEL_IDS = ("pm_high", "pm_low", "or_high", "or_low")
MOVING_IDS = ("vwap", "sma_200")
MOVING_SLICE_NS = 30 * NS
"""How often a moving level steps."""

BAR_NS, BARS = 120 * NS, 200
TRUTH_SCHEMA = {
    "symbol": pl.String, "level_id": pl.String, "level_tick": pl.Int64, "approach": pl.String, "regime": pl.String,
    "start_ts_ns": pl.Int64, "touch_ts_ns": pl.Int64, "end_ts_ns": pl.Int64, "outcome": pl.String, "kappa": pl.Float64, "gamma": pl.Float64,
}  # fmt: skip


def _standing(book: Book) -> NDArray[np.int32]:
    """Slots of all resting orders: bids then asks, best price first, each price in its queue's order."""
    slots = []
    for side in (o.BID, o.ASK):
        ticks = np.nonzero(book.levels[side, :, o.COUNT])[0]
        for tick in ticks[::-1] if side == o.BID else ticks:
            slot = int(book.levels[side, tick, o.HEAD])
            while slot >= 0:
                slots.append(slot)
                slot = int(book.order[slot, o.NEXT])
    return np.array(slots, np.int32)


def _book_records(book: Book, event_ns: NDArray[np.int64], recv_ns: NDArray[np.int64], flags: int, last_flags: int) -> NDArray[np.int64]:
    """A clear, then an add per resting order; one time of each of `event_ns` and `recv_ns` for each of them."""
    slots = _standing(book)
    rows = np.zeros((len(slots) + 1, 7), np.int64)
    orders = book.order[slots].astype(np.int64)
    rows[:, 0] = book.st[o.WORD0]
    rows[:, 1], rows[:, 5] = event_ns, recv_ns
    rows[1:, 2] = book.st[o.ID_BASE] + orders[:, o.OID]
    rows[1:, 3] = (book.st[o.TICK0] + orders[:, o.TICK]) * book.st[o.TICK_FIXED]
    rows[0, 3] = UNDEF_PRICE
    side = np.where(orders[:, o.SIDE] == o.BID, o.B_CHAR, o.A_CHAR)
    rows[1:, 4] = orders[:, o.QTY] | (o.A_ << 48) | (side << 56)
    rows[0, 4] = (o.R_ << 48) | (o.N_CHAR << 56)
    rows[:, 4] |= np.int64(flags) << 32
    rows[-1, 4] |= np.int64(last_flags) << 32
    rows[:, 6] = np.arange(1, len(rows) + 1) << 32
    return rows


class Day:
    """The market of one root on one UTC date, ``[start_ns, end_ns)``.

    Attributes
    ----------
    symbols : dict of int to str
        Instrument id to raw symbol: the two contracts and their spread.
    main_symbol, main_id, tick_fixed : str, int, int
        The contract with most activity, its instrument id, and its tick as a fixed-point price.
    extremes : list of (int, int, int)
        Start, highest and lowest trade (tick index) of that contract's slices so far.
    """

    def __init__(self, date: dt.date, params: SimParams, *, with_levels: bool = True) -> None:
        root = root_of(params.root)
        self.date, self.params = date, params
        self.start_ns, self.end_ns = cal.utc_midnight(date), cal.utc_midnight(date) + cal.DAY_NS
        front, following = cal.listed(root, date)
        main, other = (front, following) if front.share >= following.share else (following, front)
        self.main_symbol, self.main_id, self.tick_fixed = main.symbol, main.instrument_id, root.tick_fixed
        self.activity = cal.activity(date, params.thin_after)
        after = cal.next_file_date(date)
        price = cal.walk(params.seed, root, date, params.thin_after) + cal.carry_ticks(root, main, date)
        goal = cal.walk(params.seed, root, after, params.thin_after) + cal.carry_ticks(root, main, after)
        tick0 = math.floor(price) - CENTRE
        seed = hash_words(params.seed, date.toordinal())
        id_base = 6_400_000_000_000 + date.toordinal() * 100_000_000

        self.books: list[Book] = []
        self._shape: list[NDArray[np.float64]] = []
        offset = cal.carry_ticks(root, other, date) - cal.carry_ticks(root, main, date)
        gap = cal.carry_ticks(root, following, date) - cal.carry_ticks(root, front, date)
        spread_ticks = gap * root.tick_fixed / SPREAD_TICK_FIXED
        roll = 0.02 if other.share > 0.02 else 0.005
        spread_id = front.instrument_id * 7 + 3
        plan = (
            (main.instrument_id, main.share * params.rate, tick0, root.tick_fixed, price - tick0, 0.0, 0.0),
            (other.instrument_id, other.share * params.rate, tick0 + math.floor(offset), root.tick_fixed, price - tick0, FOLLOW_RATE, 1.0),
            (spread_id, roll * params.rate, math.floor(spread_ticks) - CENTRE, SPREAD_TICK_FIXED, CENTRE + 0.5, FOLLOW_RATE, 0.0),
        )
        for number, rate, first_tick, tick_fixed, opening, follow, scale in plan:
            rho = rate if follow == 0.0 else max(rate, LEAST_RATE)
            par = m.parameters(
                rho, follow=follow, kappa=0.0 if follow else params.kappa, gamma=params.gamma, wall=params.wall,
                rearm_ticks=params.rearm_ticks,
            )  # fmt: skip
            par[m.ANCHOR_SCALE], par[m.ANCHOR_OFFSET] = scale, 0.0 if scale else CENTRE + 0.5
            book = Book(seed, par=par, tick0=first_tick, tick_fixed=tick_fixed, instrument_id=number, id_base=id_base)
            self.books.append(book)
            self._shape.append(self.activity * (rate / rho))
            book.fs[m.P_] = opening
        self.books[0].fs[m.TARGET] = goal - tick0
        self.books[0].fs[m.VAR_LEFT] = m.SIGMA**2 * 60.0 * float(self.activity.sum())
        self.symbols = {main.instrument_id: main.symbol, other.instrument_id: other.symbol, spread_id: f"{front.symbol}-{following.symbol}"}
        self.level_ids = list(LEVEL_IDS)
        self._moving = len(LEVEL_IDS) if params.moving and with_levels else -1
        if self._moving >= 0:
            self.level_ids += MOVING_IDS
        fixed = len(self.level_ids)
        step = params.round_ticks
        rounds = [k for k in range(tick0, tick0 + WIDTH) if k % step == 0] if step else []
        self.level_ids += [f"price:{root.to_price(k):g}" for k in rounds]
        self.levels = make_levels(len(self.level_ids) if with_levels else 0, hash_words(seed, 99))
        if with_levels:
            self.levels.tick[fixed:] = np.array(rounds, np.int64) - tick0
        self._no_levels = make_levels(0, 0)
        self._anchor = np.zeros(86_400 + WARM_S + 8)
        self._out = np.zeros((MARGIN * 8, 7), np.int64)
        self._turnover = [0, 0]  # volume and size-weighted ticks since the cash open
        self._closes: dict[int, int] = {}  # last trade by two-minute bar
        self.extremes: list[tuple[int, int, int]] = []

    def _advance(self, j: int, shape: NDArray[np.float64], clock: NDArray[np.int64], end_ns: int, keep: bool) -> NDArray[np.int64]:
        book = self.books[j]
        parts = []
        while True:
            book.st[o.N_OUT] = 0
            levels = self.levels if j == 0 and keep else self._no_levels
            done = run(
                book.order, book.levels, book.classes, book.touched, book.st, book.fs, book.par, book.rng, self._out, book.tables,
                shape, self._anchor, clock, levels, end_ns,
            )  # fmt: skip
            if keep and book.st[o.N_OUT]:
                parts.append(self._out[: book.st[o.N_OUT]].copy())
            if done == 0:
                return np.concatenate(parts) if parts else np.zeros((0, 7), np.int64)
            if done == 2:
                raise SessionError(f"simulated {self.date}: price left the {WIDTH} ticks around its opening; use another --seed")

    def _open(self) -> NDArray[np.int64]:
        """Records of the books once they are warm: a snapshot at midnight, or on a Sunday the orders that come before the open."""
        first_open = int(np.argmax(self.activity > 0)) * cal.MINUTE_NS + self.start_ns
        cold = self.date.weekday() == 6
        at = first_open if cold else self.start_ns
        rows = []
        for j, book in enumerate(self.books):
            calm = float(self._shape[j][(first_open - self.start_ns) // cal.MINUTE_NS])
            book.open_at(float(book.fs[m.P_]), max(calm, 1e-4), at - WARM_S * NS)
            target, left = book.fs[m.TARGET], book.fs[m.VAR_LEFT]
            book.fs[m.TARGET], book.fs[m.VAR_LEFT] = book.fs[m.P_], 1e-9  # hold the price until the file begins
            self._anchor[:] = book.fs[m.P_]
            clock = np.array([at - WARM_S * NS, at - WARM_S * NS])
            self._advance(j, np.full(WARM_S // 60 + 2, max(calm, 1e-4)), clock, at, keep=False)
            book.fs[m.TARGET], book.fs[m.VAR_LEFT] = target, left
            book.st[o.SEQUENCE], book.st[o.LAST_RECV] = 0, 0
            n = len(_standing(book)) + 1
            if cold:
                times = at - 15 * cal.MINUTE_NS + np.arange(n) * (14 * cal.MINUTE_NS // n) + j
                rows.append(_book_records(book, times, times + 120_000, o.LAST_FLAGS, o.LAST_FLAGS))
            else:
                # Times do not follow the queues' order: a snapshot's own event times are old, and nobody may use them as flow.
                times = at - 3_600 * NS + np.arange(n) * (3_000 * NS // n)
                rows.append(_book_records(book, times, np.full(n, at), SNAPSHOT_FLAGS, o.F_LAST_BIT | SNAPSHOT_FLAGS))
        self._anchor[:] = self.books[0].index_mid
        if not cold:
            return np.concatenate(rows)
        together = np.concatenate(rows)
        return together[np.argsort(together[:, 1], kind="stable")]

    def _know_levels(self, now_ns: int, high: list[tuple[int, int, int]]) -> None:
        """Fix premarket and opening-range levels at the end of their windows, from the trades so far."""
        for k, (start, end) in enumerate(
            (
                (to_ns(self.date, dt.time(4)), to_ns(self.date, dt.time(9, 30))),
                (to_ns(self.date, dt.time(9, 30)), to_ns(self.date, dt.time(9, 45))),
            )
        ):
            if now_ns == end:
                inside = [(h, low) for t, h, low in high if start <= t < end and h >= 0]
                if inside:
                    self.levels.tick[2 * k] = max(h for h, _ in inside)
                    self.levels.tick[2 * k + 1] = min(low for _, low in inside)

    def _move_levels(self, now_ns: int) -> None:
        """VWAP since the cash open and the mean of the last closes, in ticks; a level that is being approached stays where it is."""
        volume, weighted = self._turnover
        closes = [self._closes[k] for k in sorted(self._closes) if (k + 1) * BAR_NS <= now_ns][-BARS:]
        found = (weighted / volume if volume else -1.0, sum(closes) / BARS if len(closes) == BARS else -1.0)
        for j, tick in enumerate(found, self._moving):
            if tick >= 0 and self.levels.now[LEVEL] != j:
                self.levels.tick[j] = math.floor(tick + 0.5)

    def _count_trades(self, rows: NDArray[np.int64]) -> None:
        """Take the main contract's trades of a slice into the moving levels' sums."""
        trades = rows[(rows[:, 4] >> 48) & 0xFF == o.T_]
        tick = trades[:, 3] // self.tick_fixed - int(self.books[0].st[o.TICK0])
        size, open_ns = trades[:, 4] & 0xFFFFFFFF, to_ns(self.date, dt.time(9, 30))
        cash = trades[:, 1] >= open_ns
        self._turnover[0] += int(size[cash].sum())
        self._turnover[1] += int((size * tick)[cash].sum())
        self._closes.update(zip((trades[:, 1] // BAR_NS).tolist(), tick.tolist()))

    def _slices(self, begin_ns: int, until_ns: int) -> Iterator[tuple[int, int]]:
        """Spans of at most five minutes (of a moving level's step) in which the market is open; levels are made known at their starts."""
        step = SLICE_NS if self._moving < 0 else MOVING_SLICE_NS
        for start in range(self.start_ns, until_ns, step):
            minute = (start - self.start_ns) // cal.MINUTE_NS
            end = min(start + step, until_ns, self.end_ns - NS // 100)
            if end <= begin_ns or not self.activity[minute : minute + max(1, step // cal.MINUTE_NS)].any():
                continue
            if start >= begin_ns:
                if self.levels.tick.shape[0]:
                    self._know_levels(start, self.extremes)
                    if self._moving >= 0:
                        self._move_levels(start)
                self.books[0].st[o.HIGH], self.books[0].st[o.LOW] = -1, WIDTH
            yield max(start, begin_ns), end

    def _slice(self, j: int, start: int, end: int) -> NDArray[np.int64]:
        book = self.books[j]
        if book.st[o.NOW_NS] < start:
            book.st[o.NOW_NS] = book.st[o.GRID_NS] = start
        rows = self._advance(j, self._shape[j], np.array([self.start_ns, self.start_ns]), end, keep=True)
        if j == 0:
            self.extremes.append((start, int(book.st[o.HIGH]), int(book.st[o.LOW])))
            if self._moving >= 0:
                self._count_trades(rows)
        return rows

    def chunks(self) -> Iterator[NDArray[np.int64]]:
        """Records of the day in file order, ``(n, 7)`` int64 views of DBN's 56-byte MBO records, five minutes at a time."""
        first = self._open()
        state = np.array([len(first), int(first[-1, 5])])
        first[:, 6] = np.arange(1, len(first) + 1) << 32
        yield first
        for start, end in self._slices(self.start_ns, self.end_ns):
            streams = tuple(self._slice(j, start, end) for j in range(len(self.books)))
            out = np.empty((sum(map(len, streams)), 7), np.int64)
            merge(streams, out, state)
            if len(out):
                yield out
        finish_day(self.books[0].st, self.levels)

    @property
    def second_mids(self) -> NDArray[np.float64]:
        """Mid of the main contract's book at the last point of each second so far, as an index of ticks; 0 where there was none."""
        return self._anchor[:86_400]

    def run_main(self, until_ns: int, *, opening: bool = False) -> Iterator[NDArray[np.int64]]:
        """Records of the main contract alone from where it is to `until_ns`; the others follow it and change nothing in it.

        A span that is cut elsewhere than every five minutes ends a time step there, and another path begins. With `opening` the records
        that the day begins with come first, those of the other contracts among them.
        """
        if self.books[0].st[o.NOW_NS] == 0:
            first = self._open()
            if opening:
                yield first
        for start, end in self._slices(max(self.start_ns, int(self.books[0].st[o.NOW_NS])), until_ns):
            yield self._slice(0, start, end)

    def truth(self) -> pl.DataFrame:
        """The regime of every approach to a level so far (`TRUTH_SCHEMA`); nothing of it is in the records."""
        seen = int(self.levels.now[N_LOG])
        if seen > len(self.levels.log):
            most = len(self.levels.log)
            raise SessionError(f"{self.date}: expected at most {most} approaches in a day, found {seen}; use fewer round levels")
        log = self.levels.log[:seen]
        tick0 = int(self.books[0].st[o.TICK0])
        return pl.DataFrame(
            {
                "symbol": [self.main_symbol] * len(log),
                "level_id": [self.level_ids[k] for k in log[:, 0]],
                "level_tick": log[:, 7] + tick0,
                "approach": ["approach_up" if s > 0 else "approach_down" for s in log[:, 1]],
                "regime": [REGIMES[k] for k in log[:, 2]],
                "start_ts_ns": log[:, 3],
                "touch_ts_ns": [int(t) or None for t in log[:, 4]],
                "end_ts_ns": log[:, 5],
                "outcome": [OUTCOMES[k] for k in log[:, 6]],
                "kappa": [self.params.kappa] * len(log),
                "gamma": [self.params.gamma] * len(log),
            },
            schema=TRUTH_SCHEMA,
        )


# ----------------------------------------------------------------------------
# The instruments' streams of a slice of a day, made into one


@njit(cache=True, error_model="numpy")
def merge(streams, out, state):
    """Merge streams by `ts_event`, events whole; sequence numbers and receive times rise through the file."""
    k = len(streams)
    at = np.zeros(k, np.int64)
    own = np.full(k, -1, np.int64)
    n = 0
    while True:
        best = -1
        for j in range(k):
            if at[j] < streams[j].shape[0] and (best < 0 or streams[j][at[j], 1] < streams[best][at[best], 1]):
                best = j
        if best < 0:
            return n
        row = streams[best][at[best]]
        at[best] += 1
        out[n] = row
        packet = row[6] >> 32
        if packet != own[best]:
            own[best] = packet
            state[0] += 1
        state[1] = max(state[1], row[5])
        out[n, 5] = state[1]
        out[n, 6] = (row[6] & 0xFFFFFFFF) | (state[0] << 32)
        n += 1
