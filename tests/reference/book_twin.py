"""The order book the slow way: a dict of orders, and beside it a dict of what rests at each side and tick.

Written from ``mbo.md`` and ``features.md`` section 1 alone; shares no code with the engine and imports nothing of it. Records are dicts
with the names of a DBN record (action and side as letters); what comes out are lists of dicts with the columns of the ladder and the tape.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

NS = 10**9
UNDEFINED = 2**63 - 1
LAST, SNAPSHOT, BAD_BOOK = 0x80, 0x20, 0x04
FLOWS = ("add", "pull", "fill", "pull_rest", "away_rest", "toward_rest")
NO_FLOW = dict.fromkeys(FLOWS, 0)
NAME = {"B": "bid", "A": "ask"}
INFINITY = float("inf")


@dataclass
class Order:
    side: str
    tick: int
    size: int
    entered: float
    executed: int = 0  # of this event, not yet carried out by a C or M


@dataclass
class Window:
    flows: dict[tuple[str, int], dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: dict.fromkeys(FLOWS, 0)))
    broken: bool = False
    trades: int = 0
    buy: int = 0
    sell: int = 0
    high: int | None = None
    low: int | None = None
    ofi: int = 0
    messages: int = 0


class BookTwin:
    """One contract. `file` starts a file, `record` takes a record, `finish` closes the ladder."""

    def __init__(
        self,
        start_s: int,
        end_s: int,
        tick_fixed: int,
        *,
        rest_ns: int = 500_000_000,
        span_ticks: int = 400,
        keyframe_s: int = 60,
        warm: bool = False,
        open_ns: int | None = None,
        crossed_ns: int = 2 * NS,
    ) -> None:
        self.start, self.end, self.tick_fixed = start_s, end_s, tick_fixed
        self.rest_ns, self.span, self.keyframe_s, self.warm = rest_ns, span_ticks, keyframe_s, warm
        self.open_ns, self.crossed_ns = start_s * NS if open_ns is None else open_ns, crossed_ns
        self.states: list[tuple[int, int]] = []  # from when on the book is fine (0), locked (1) or crossed (2), ns
        self.orders: dict[int, Order] = {}
        self.resting: dict[tuple[str, int], tuple[int, int]] = {}  # depth, number of orders
        self.ticks: dict[str, set[int]] = {side: set() for side in NAME}  # the same ticks by side
        self.stale = True  # something at or inside the best prices has changed since `best` looked
        self.executed: list[Order] = []  # orders with an F in this event
        self.takers: set[int] = set()
        self.second: int | None = None  # the open window
        self.newest: int | None = None  # the latest second of a record
        self.window = Window()
        self.before: dict[tuple[str, int], tuple[int, int]] = {}  # depth and orders at the open window's start
        self.state: tuple[Any, ...] = (-INFINITY, 0, INFINITY, 0)
        self.last: int | None = None
        self.known, self.bad, self.in_snapshot, self.new_file = warm, False, False, True
        self.cover_end: float = INFINITY
        self.covered_once = False
        self.ladder: list[dict[str, Any]] = []
        self.tape: list[dict[str, Any]] = []
        self.unknown_cancels = self.complete = self.crossed = 0

    # ---- files and records

    def file(self, start_ns: int | None, end_ns: int) -> None:
        if self.covered_once and start_ns == self.cover_end:  # the same stream goes on
            self.cover_end = end_ns
            return
        self.end_of_snapshot()
        if start_ns is not None:
            self.go_to(start_ns // NS)
            if self.covered_once and start_ns > self.cover_end:
                self.known = False
        self.cover_end, self.new_file, self.covered_once = end_ns, True, True

    def record(self, r: dict[str, Any]) -> None:
        snap = bool(r["flags"] & SNAPSHOT)
        if self.in_snapshot and not snap:
            self.end_of_snapshot()
        clock = r["ts_recv"] if snap else r["ts_event"]
        self.go_to(clock // NS)
        self.newest = clock // NS if self.newest is None else max(self.newest, clock // NS)
        action = r["action"]
        if action == "R" or (snap and not self.in_snapshot):
            self.states.append((clock, 0))
            self.empty()
            self.known, self.bad, self.in_snapshot = True, False, snap
        elif self.new_file and not snap and not self.warm:
            self.states.append((clock, 0))
            self.empty()
            self.known = False
        self.new_file = False
        if r["flags"] & BAD_BOOK:
            self.bad = True
        if snap:
            self.window.broken = True
            if action in "AM":
                old = self.orders.pop(r["order_id"], None)
                if old is not None:
                    self.rest(old, -old.size, -1)
                self.insert(r, -INFINITY)
            if r["flags"] & LAST:
                self.state = self.best()
            return
        self.window.messages += 1
        {"A": self.add, "C": self.cancel, "M": self.modify, "T": self.trade, "F": self.fill}.get(action, lambda r: None)(r)
        if r["flags"] & LAST:
            self.takers.clear()
            for order in self.executed:
                order.executed = 0
            self.executed.clear()
            self.look()
            if r["ts_event"] >= self.open_ns:
                bid, bid_size, ask, ask_size = self.state
                crossed = bid >= ask and bid_size > 0 and ask_size > 0
                self.states.append((r["ts_event"], (2 if bid > ask else 1) if crossed else 0))

    def finish(self) -> None:
        self.end_of_snapshot()
        self.go_to(self.end)
        # What is crossed at the last record stays so to the end of what was looked at.
        self.states.append((max(self.end, (self.newest or 0) + 1) * NS, 0))
        *_, long = self.crossings()
        for row in self.tape:
            row["book_valid"] &= row["window_start_ts_ns"] // NS not in long

    def crossings(self) -> tuple[set[int], set[int], set[int]]:
        """Seconds with a locked book, with a crossed one, and in runs of either that are longer than `crossed_ns`."""
        locked, crossed, long = set[int](), set[int](), set[int]()
        kind, since, run = 0, 0, 0
        for ts, new in self.states:
            if new == kind:
                continue
            span = set(range(since // NS, max(ts - 1, since) // NS + 1)) if kind else set[int]()
            if kind == 1:
                locked |= span
            if kind == 2:
                crossed |= span
            if kind == 0:
                run = ts
            elif new == 0 and ts - run > self.crossed_ns:
                long |= set(range(run // NS, max(ts - 1, run) // NS + 1))
            kind, since = new, ts
        return locked, crossed, long

    # ---- actions

    def add(self, r: dict[str, Any]) -> None:
        old = self.orders.pop(r["order_id"], None)
        if old is not None:
            self.pulled(old, old.size, r["ts_event"])
            self.rest(old, -old.size, -1)
        order = self.insert(r, r["ts_event"])
        if order is not None:
            self.flow(order)["add"] += order.size

    def cancel(self, r: dict[str, Any]) -> None:
        order = self.orders.get(r["order_id"])
        if order is None:
            self.unknown_cancels += 1
            return
        removed = min(order.size, r["size"])
        filled = min(removed, order.executed)
        self.flow(order)["fill"] += filled
        self.pulled(order, removed - filled, r["ts_event"])
        order.executed -= filled
        order.size -= removed
        self.rest(order, -removed, -(order.size == 0))
        if order.size == 0:
            del self.orders[r["order_id"]]

    def modify(self, r: dict[str, Any]) -> None:
        order = self.orders.get(r["order_id"])
        if order is None:
            self.add(r)
            return
        side = r["side"] if r["side"] in NAME else order.side
        tick = self.tick(r["price"])
        filled = min(order.size, order.executed)
        order.executed -= filled
        self.flow(order)["fill"] += filled
        left = order.size - filled
        if tick is None or not 0 < r["size"] < 2**31:
            self.pulled(order, left, r["ts_event"])
            self.rest(order, -order.size, -1)
            del self.orders[r["order_id"]]
        elif (side, tick) == (order.side, order.tick):
            if r["size"] > left:
                self.flow(order)["add"] += r["size"] - left
            else:
                self.pulled(order, left - r["size"], r["ts_event"])
            self.rest(order, r["size"] - order.size, 0)
            order.size = r["size"]
        else:
            rested = self.pulled(order, left, r["ts_event"])
            if side == order.side:
                away = tick > order.tick if side == "A" else tick < order.tick
                self.flow(order)["away_rest" if away else "toward_rest"] += rested
            self.rest(order, -order.size, -1)
            order.side, order.tick, order.size, order.entered = side, tick, r["size"], r["ts_event"]
            self.rest(order, order.size, 1)
            self.flow(order)["add"] += order.size

    def trade(self, r: dict[str, Any]) -> None:
        w = self.window
        w.trades += 1
        w.buy += r["size"] if r["side"] == "B" else 0
        w.sell += r["size"] if r["side"] == "A" else 0
        tick = self.tick(r["price"])
        if tick is not None:
            self.last = tick
            w.high = tick if w.high is None else max(w.high, tick)
            w.low = tick if w.low is None else min(w.low, tick)
        self.takers.add(r["order_id"])
        if r["order_id"] in self.orders:
            self.orders[r["order_id"]].executed = 0

    def fill(self, r: dict[str, Any]) -> None:
        if r["order_id"] in self.orders and r["order_id"] not in self.takers:
            self.orders[r["order_id"]].executed += r["size"]
            self.executed.append(self.orders[r["order_id"]])

    # ---- the book

    def tick(self, price: int) -> int | None:
        if price == UNDEFINED:
            return None
        tick = (2 * price + self.tick_fixed) // (2 * self.tick_fixed)
        return tick if abs(tick) < 2**31 else None

    def insert(self, r: dict[str, Any], entered: float) -> Order | None:
        tick = self.tick(r["price"])
        if tick is None or r["side"] not in NAME or not 0 < r["size"] < 2**31:
            return None
        order = self.orders[r["order_id"]] = Order(r["side"], tick, r["size"], entered)
        self.rest(order, order.size, 1)
        return order

    def rest(self, order: Order, size: int, count: int) -> None:
        """Change what rests at an order's price."""
        key = order.side, order.tick
        depth, orders = self.resting.get(key, (0, 0))
        if orders + count:
            self.resting[key] = depth + size, orders + count
            self.ticks[order.side].add(order.tick)
        else:
            del self.resting[key]
            self.ticks[order.side].remove(order.tick)
        bid, _, ask, _ = self.state
        self.stale |= order.tick >= bid if order.side == "B" else order.tick <= ask

    def flow(self, order: Order) -> dict[str, int]:
        return self.window.flows[order.side, order.tick]

    def pulled(self, order: Order, size: int, ts: int) -> int:
        """Book a pull; what of it had rested."""
        self.flow(order)["pull"] += size
        rested = size if ts - order.entered >= self.rest_ns else 0
        self.flow(order)["pull_rest"] += rested
        return rested

    def empty(self) -> None:
        self.orders.clear()
        self.resting.clear()
        for ticks in self.ticks.values():
            ticks.clear()
        self.stale = True
        self.window.broken = True
        self.state = self.best()

    def end_of_snapshot(self) -> None:
        if self.in_snapshot:
            self.in_snapshot = False
            self.state = self.best()

    def best(self) -> tuple[Any, ...]:
        if self.stale:
            bid = max(self.ticks["B"], default=-INFINITY)
            ask = min(self.ticks["A"], default=INFINITY)
            self.state = bid, self.resting.get(("B", bid), (0, 0))[0], ask, self.resting.get(("A", ask), (0, 0))[0]
            self.stale = False
        return self.state

    def look(self) -> None:
        b0, qb0, a0, qa0 = self.state
        b1, qb1, a1, qa1 = self.state = self.best()
        self.window.ofi += (qb1 if b1 >= b0 else 0) - (qb0 if b1 <= b0 else 0) - (qa1 if a1 <= a0 else 0) + (qa0 if a1 >= a0 else 0)
        self.complete += 1
        self.crossed += qb1 > 0 and qa1 > 0 and b1 >= a1

    # ---- windows

    def go_to(self, second: int) -> None:
        if self.second is None:
            self.second = min(second, self.start)
        while self.second < min(second, self.end):
            self.close()
            self.second += 1

    def close(self) -> None:
        if self.second >= self.start:
            self.write_ladder()
            self.write_tape()
        if self.second >= self.start - 1:
            self.before = dict(self.resting)
        self.window = Window()

    def write_ladder(self) -> None:
        resting = self.resting
        keyframe = self.second == self.start or self.second % self.keyframe_s == 0
        ticks = {tick for (_, tick), _ in resting.items() ^ self.before.items()}
        ticks |= {tick for (_, tick), flows in self.window.flows.items() if any(flows.values())}
        if keyframe:
            sides = [t for t in (self.state[0], self.state[2]) if abs(t) != INFINITY]
            if not sides and self.last is not None:
                sides = [self.last]
            if sides:
                mid = sum(sides) / len(sides)
                ticks |= {tick for _, tick in resting if abs(tick - mid) <= self.span}
        for tick in sorted(ticks):
            row: dict[str, Any] = {
                "window_start_ts_ns": self.second * NS,
                "window_end_ts_ns": (self.second + 1) * NS,
                "tick": tick,
                "keyframe": keyframe,
            }
            for side, name in NAME.items():
                row[f"{name}_depth"], row[f"{name}_orders"] = resting.get((side, tick), (0, 0))
                flows = self.window.flows.get((side, tick), NO_FLOW)
                row |= {f"{name}_{flow}": flows[flow] for flow in FLOWS}
            self.ladder.append(row)

    def write_tape(self) -> None:
        w = self.window
        bid, bid_size, ask, ask_size = self.state
        end_ns = (self.second + 1) * NS
        self.tape.append(
            {
                "window_start_ts_ns": self.second * NS, "window_end_ts_ns": end_ns,
                "best_bid_tick": None if bid == -INFINITY else bid, "best_ask_tick": None if ask == INFINITY else ask,
                "last_tick": self.last, "high_tick": w.high, "low_tick": w.low,
                "trades": w.trades, "buy_volume": w.buy, "sell_volume": w.sell, "bid_size": bid_size, "ask_size": ask_size,
                "ofi": w.ofi, "messages": w.messages,
                "book_valid": self.known and not self.bad and not w.broken and not self.in_snapshot and end_ns <= self.cover_end,
            }
        )  # fmt: skip
