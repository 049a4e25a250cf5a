"""What single orders did, the slow way: a dict of orders and lists of trades, pulls and prices that hold.

Written from ``mbo.md`` and docs/ORDERS.md alone; shares no code with the engine and imports nothing of it. Records are dicts with the
names of a DBN record (action and side as letters); `rows` are dicts with the columns of `order_events`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

NS = 10**9
UNDEFINED = 2**63 - 1
LAST, SNAPSHOT = 0x80, 0x20
BIGGEST = 4095
REMEMBERED_PULLS, REMEMBERED_PRICES = 512, 1024


@dataclass
class Order:
    id: int
    side: str
    tick: int
    size: int
    since: int | None  # at its price; None: from a snapshot
    born: int | None = None  # of a noted one
    noted: bool = False
    large: bool = False
    traded: int = 0
    refills: int = 0
    executed: int = 0


@dataclass
class Pull:
    ts: int
    side: str
    tick: int
    size: int


@dataclass
class Held:
    """A price that traded against `side` and has not given way since."""

    side: str
    tick: int
    since: int
    volume: int = 0
    told: int = 0


@dataclass
class Sweep:
    id: int
    side: str
    ticks: list[int]
    size: int


class OrderTwin:
    """One contract. `file` starts a file, `record` takes a record, `finish` ends."""

    def __init__(
        self, start_ns: int, end_ns: int, tick_fixed: int, *, least: int = 20, share: float = 0.005, absorbed: int = 10,
        pull_ns: int = 2 * NS, warm: bool = False, lost: tuple[tuple[int, int], ...] = (),
    ) -> None:  # fmt: skip
        self.start, self.end, self.tick_fixed = start_ns, end_ns, tick_fixed
        self.least, self.share, self.absorbed, self.pull_ns, self.warm = least, share, absorbed, pull_ns, warm
        self.lost = sorted(end for _, end in lost)
        self.rows: list[dict[str, Any]] = []
        self.orders: dict[int, Order] = {}
        self.sizes = Counter[int]()
        self.threshold, self.second = least, None
        self.now: int | None = None
        self.cover_end: int | None = None
        self.begun, self.in_snapshot, self.new_file = False, False, True
        self.pulls: list[Pull] = []
        self.held: list[Held] = []
        self.last: int | None = None
        self.takers: set[int] = set()
        self.executed: list[Order] = []  # with an F in this event
        self.sweep: Sweep | None = None
        self.traded: tuple[str, int] | None = None

    def file(self, start_ns: int | None, end_ns: int) -> None:
        before, self.cover_end = self.cover_end, end_ns
        if start_ns is None or start_ns != before:  # else the same stream goes on
            self.in_snapshot, self.new_file = False, True

    def finish(self) -> None:
        if not self.begun:
            self.begin()

    def record(self, r: dict[str, Any]) -> None:
        snap = bool(r["flags"] & SNAPSHOT)
        if not snap:
            self.in_snapshot = False
        clock = r["ts_recv"] if snap else r["ts_event"]
        due = [(end, 0) for end in self.lost if end <= clock] + ([] if self.begun or clock < self.start else [(self.start, 1)])
        for ts, begins in sorted(due):
            if begins:
                self.begin()
            else:
                self.lost.remove(ts)
                self.now = ts if self.now is None else max(self.now, ts)
                self.forget()
        if self.now is None or clock > self.now:
            self.now = clock
            if self.second is None or clock // NS > self.second:
                self.second = clock // NS
                self.threshold = max(self.least, self.quantile())
        action = r["action"]
        if action == "R" or (snap and not self.in_snapshot) or (self.new_file and not snap and not self.warm):
            self.forget()
            self.in_snapshot = snap
        self.new_file = False
        if snap:
            if action in "AM":
                self.orders.pop(r["order_id"], None)
                order = self.order(r, r["side"], None)
                if order is not None:
                    self.orders[order.id] = order
                    if order.size >= self.threshold:
                        order.noted = order.large = True
                        self.tell("standing", order, order.size)
            return
        {"A": self.arrive, "C": self.cancel, "M": self.modify, "T": self.trade, "F": self.fill}.get(action, lambda r: None)(r)
        if r["flags"] & LAST:
            self.takers.clear()
            for order in self.executed:
                order.executed = 0
            self.executed.clear()
            self.event_ends()

    # ---- orders

    def quantile(self) -> int:
        """Smallest size that at most the share of the orders so far are above."""
        above, q = self.sizes.total(), 0
        while above * 1_000_000 > round(self.share * 1_000_000) * self.sizes.total():
            q += 1
            above -= self.sizes[q]
        return q

    def tick(self, price: int) -> int | None:
        if price == UNDEFINED:
            return None
        tick = (2 * price + self.tick_fixed) // (2 * self.tick_fixed)
        return tick if abs(tick) < 2**31 else None

    def order(self, r: dict[str, Any], side: str, since: int | None) -> Order | None:
        tick = self.tick(r["price"])
        if tick is None or side not in "BA" or not 0 < r["size"] < 2**31:
            return None
        return Order(r["order_id"], side, tick, r["size"], since)

    def arrive(self, r: dict[str, Any]) -> None:
        old = self.orders.pop(r["order_id"], None)
        if old is not None:
            self.leave(old, 0, old.size)
        order = self.order(r, r["side"], r["ts_event"])
        if order is not None:
            self.sizes[min(order.size, BIGGEST)] += 1
            self.orders[order.id] = order
            self.born(order)

    def born(self, order: Order) -> None:
        if order.size >= self.threshold:
            order.noted, order.large, order.born = True, True, self.now
            self.tell("born", order, order.size)

    def leave(self, order: Order, filled: int, pulled: int) -> None:
        """An order loses what was filled and then what was pulled, all of it or a part."""
        order.size -= filled
        if order.large and filled:
            self.tell("filled", order, filled)
        order.size -= pulled
        if order.large and pulled:
            self.tell("reduced" if order.size else "pulled", order, pulled)
            self.remember(order, pulled)

    def remember(self, order: Order, pulled: int) -> None:
        self.pulls = [*self.pulls, Pull(self.now, order.side, order.tick, pulled)][-REMEMBERED_PULLS:]

    def cancel(self, r: dict[str, Any]) -> None:
        order = self.orders.get(r["order_id"])
        if order is None:
            return
        removed = min(order.size, r["size"])
        filled = min(removed, order.executed)
        order.executed -= filled
        self.leave(order, filled, removed - filled)
        if order.size == 0:
            del self.orders[order.id]

    def modify(self, r: dict[str, Any]) -> None:
        order = self.orders.get(r["order_id"])
        if order is None:
            self.arrive(r)
            return
        new = self.order(r, r["side"] if r["side"] in "BA" else order.side, r["ts_event"])
        refill = order.executed >= order.size
        filled = min(order.size, order.executed)
        order.executed -= filled
        if new is None or new.side != order.side:
            self.leave(order, filled, order.size - filled)
            del self.orders[order.id]
            if new is not None:
                new.executed = order.executed
                self.executed.append(new)
                self.orders[new.id] = new
                self.born(new)
        elif new.tick != order.tick:
            if order.large and filled:
                order.size -= filled
                self.tell("filled", order, filled)
                order.size += filled
            if order.large and order.size > filled:
                self.remember(order, order.size - filled)
            before, order.tick, order.size = order.tick, new.tick, new.size
            if order.large or order.size >= self.threshold:
                self.note(order)
                order.large = True
                self.tell("moved", order, new.size, tick=before, to_tick=new.tick)
            order.since = r["ts_event"]
        else:
            self.leave(order, filled, max(order.size - filled - new.size, 0))
            added = new.size - order.size
            order.size = new.size
            was, order.large = order.large, order.large or (added > 0 and new.size >= self.threshold)
            if order.large or refill:
                self.note(order)
            if refill:
                order.refills += 1
                self.tell("refill", order, new.size)
            elif added > 0 and (was or order.large):
                self.tell("grown", order, added)

    def note(self, order: Order) -> None:
        if not order.noted:
            order.noted, order.born = True, order.since

    def fill(self, r: dict[str, Any]) -> None:
        order = self.orders.get(r["order_id"])
        if order is not None and order.id not in self.takers:
            order.executed = min(order.executed + r["size"], 2**31 - 1)
            self.executed.append(order)
            self.note(order)
            order.traded += r["size"]

    # ---- trades

    def trade(self, r: dict[str, Any]) -> None:
        self.takers.add(r["order_id"])
        if r["order_id"] in self.orders:
            self.orders[r["order_id"]].executed = 0
        tick = self.tick(r["price"])
        if tick is None:
            return
        if self.last is not None:
            self.came(tick)
        self.last = tick
        self.held = [h for h in self.held if (h.tick <= tick if h.side == "B" else h.tick >= tick)]
        if r["side"] not in "BA":
            return
        rest = "A" if r["side"] == "B" else "B"
        run = next((h for h in self.held if (h.side, h.tick) == (rest, tick)), None)
        if run is None:
            run = Held(rest, tick, self.now)
            own = [h for h in self.held if h.side == rest]
            if len(own) == REMEMBERED_PRICES:
                self.held.remove(min(own, key=lambda h: h.tick if rest == "B" else -h.tick))
            self.held.append(run)
        run.volume += r["size"]
        self.traded = rest, tick
        if self.sweep is not None and (self.sweep.id, self.sweep.side) != (r["order_id"], r["side"]):
            self.sweep_ends()
        if self.sweep is None:
            self.sweep = Sweep(r["order_id"], r["side"], [tick], r["size"])
        else:
            self.sweep.size += r["size"]
            if all(tick > t if r["side"] == "B" else tick < t for t in self.sweep.ticks):
                self.sweep.ticks.append(tick)

    def came(self, tick: int) -> None:
        """Trading came from the last price to this one: what was pulled before from the prices in between and from this one."""
        side = "A" if tick > self.last else "B"
        recent = []
        for pull in reversed(self.pulls):
            if self.now - pull.ts > self.pull_ns:
                break
            if pull.side == side and pull.size and (self.last < pull.tick <= tick if side == "A" else tick <= pull.tick < self.last):
                recent.append(pull)
        for t in dict.fromkeys(pull.tick for pull in recent):
            here = [pull for pull in recent if pull.tick == t]
            if sum(p.size for p in here) >= self.threshold:
                self.add("pulled_before_touch", side, tick=t, size=sum(p.size for p in here), since=here[0].ts, count=len(here))
            for pull in here:
                pull.size = 0

    def sweep_ends(self) -> None:
        if self.sweep is not None and len(self.sweep.ticks) >= 3:
            s = self.sweep
            self.add(
                "sweep", s.side, order_id=s.id, tick=s.ticks[0], to_tick=s.ticks[-1], size=s.size, traded=s.size, count=len(s.ticks)
            )  # fmt: skip
        self.sweep = None

    def event_ends(self) -> None:
        self.sweep_ends()
        for run in self.held:
            if (run.side, run.tick) == self.traded and run.volume >= max(2 * run.told, self.absorbed * self.threshold):
                run.told = run.volume
                self.add("absorbed", run.side, tick=run.tick, size=run.volume, traded=run.volume, since=run.since)
        self.traded = None

    # ---- rows

    def forget(self) -> None:
        self.orders.clear()
        self.pulls, self.held, self.last, self.sweep, self.traded = [], [], None, None, None
        self.add("cleared", "N")

    def begin(self) -> None:
        self.begun = True
        self.now = self.start if self.now is None else max(self.now, self.start)
        for order in sorted((o for o in self.orders.values() if o.large), key=lambda o: (o.side != "B", o.tick, o.id)):
            self.tell("standing", order, order.size)

    def tell(self, kind: str, order: Order, size: int, **more: Any) -> None:
        self.add(
            kind, order.side, size=size, since=order.born, order_id=order.id, left=order.size, traded=order.traded, count=order.refills,
            large=order.large, **{"tick": order.tick, **more},
        )  # fmt: skip

    def add(
        self, kind: str, side: str, *, size: int = 0, since: int | None = None, order_id: int | None = None, tick: int | None = None,
        to_tick: int | None = None, left: int | None = None, traded: int = 0, count: int = 0, large: bool = False,
    ) -> None:  # fmt: skip
        if self.start <= self.now < self.end:
            age = None if since is None else max(self.now - since, 0)
            self.rows.append(
                {
                    "ts_ns": self.now, "kind": kind, "side": side, "order_id": order_id, "tick": tick, "to_tick": to_tick, "size": size,
                    "left": left, "age_ns": age, "traded": traded, "count": count, "large": large,
                }
            )  # fmt: skip
