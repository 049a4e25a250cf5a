"""What a replay should say of its own worth, the slow way: a list of what happened in every second, and plain loops over it.

Written from the words of ``mbo.md`` (rules 12 to 14 and 20) and of docs/DATA.md; it runs on `BookTwin` and imports nothing of the engine.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.reference.book_twin import NS, SNAPSHOT, UNDEFINED, BookTwin

FURTHEST = 64


class TrustTwin(BookTwin):
    """One contract's book that remembers why it is not known, what was crossed, and which orders nobody had seen.
    `file`, `record` and `finish` as of `BookTwin`; `lost` are spans in ns in which records are missing, `open_ns` when trading begins,
    `closed` the span in ns in which the venue may be closed.
    """

    def __init__(
        self, start_s: int, end_s: int, tick_fixed: int, *, open_ns: int | None = None, lost: tuple[tuple[int, int], ...] = (),
        closed: tuple[int, int] | None = None, near_share: float = 0.01, near_s: int = 300, gap_s: int = 5, **book: Any,
    ) -> None:  # fmt: skip
        super().__init__(start_s, end_s, tick_fixed, open_ns=open_ns, **book)
        self.closed = closed
        self.lost, self.waiting = lost, sorted(end for _, end in lost)
        self.near_share, self.near_s, self.gap_s = near_share, near_s, gap_s
        self.cause: str | None = None  # why orders may be unknown
        self.files: list[tuple[int, int]] = []
        self.clock = 0
        self.why: dict[int, set[str]] = {}
        self.seen: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])  # second -> live, changes, unknown
        self.known_at: dict[int, bool] = {}
        self.forgotten: set[int] = set()  # seconds in which every order was forgotten
        self.counts: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0, 0]))
        self.off_grid: dict[int, int] = defaultdict(int)
        self.unplaced: dict[int, list[int]] = defaultdict(list)
        self.now = start_s - 86_400

    def file(self, start_ns: int | None, end_ns: int) -> None:
        super().file(start_ns, end_ns)
        self.files.append((start_ns or 0, end_ns))

    def record(self, r: dict[str, Any]) -> None:
        snap = bool(r["flags"] & SNAPSHOT)
        if self.in_snapshot and not snap:
            self.end_of_snapshot()
        self.clock = r["ts_recv"] if snap else r["ts_event"]
        self.go_to(self.clock // NS)
        self.pass_to(self.clock // NS)
        while self.waiting and self.clock >= self.waiting[0]:
            self.forget("after_gap", self.waiting.pop(0))
        if r["action"] == "R" or (snap and not self.in_snapshot):
            self.cause = None
        elif self.new_file and not snap and not self.warm:
            self.forget("cold_start", self.clock)
        if not snap:
            self.note(r)
        super().record(r)

    def forget(self, cause: str, clock: int) -> None:
        self.states.append((clock, 0))
        self.empty()
        self.known, self.cause = False, cause
        self.forgotten.add(self.now)

    def note(self, r: dict[str, Any]) -> None:
        second, order = max(self.now, 0), self.orders.get(r["order_id"])
        self.seen[second][0] += 1
        window = max(self.second or 0, self.start - 1)
        if r["action"] in "CM":
            self.seen[second][1] += 1
            self.seen[second][2] += order is None
            if order is None or self.cause is not None:
                side = r["side"] if order is None else order.side
                tick = r["price"] // self.tick_fixed if order is None else order.tick
                bid, _, ask, _ = self.state
                away = FURTHEST
                if order is not None or r["price"] != UNDEFINED:
                    if side == "B" and abs(bid) != float("inf"):
                        away = min(max(bid - tick, 0), FURTHEST)
                    elif side == "A" and abs(ask) != float("inf"):
                        away = min(max(tick - ask, 0), FURTHEST)
                self.counts[(r["ts_event"] // NS - self.start) // 10][away][(0 if order is None else 2) + (r["action"] == "M")] += 1
        elif r["action"] == "T" and self.tick(r["price"]) is not None and r["price"] % self.tick_fixed:
            self.off_grid[window] += 1
        elif r["action"] == "F" and order is None and r["order_id"] not in self.takers:
            self.unplaced[window].append(r["size"])

    def pass_to(self, second: int) -> None:
        """The seconds before `second` are over; a book that is known at the end of one is known there."""
        while self.now < second:
            self.known_at[self.now] = self.known and not self.bad
            self.now += 1

    def write_tape(self) -> None:
        super().write_tape()
        why = set()
        if not self.known:
            why.add(self.cause or "cold_start")
        if self.bad:
            why.add("bad_book")
        if self.window.broken or self.in_snapshot:
            why.add("rebuilt")
        if (self.second + 1) * NS > self.cover_end:
            why.add("cover")
        self.why[self.second] = why

    def finish(self) -> None:
        super().finish()
        self.pass_to(self.end)

    # ---- what is asked of it afterwards

    def last_second(self) -> int | None:
        """The second after the last record where the file goes on for five minutes or more that should have had 200 records; else None."""
        live = [s for s in sorted(self.seen) if self.seen[s][0] and s < self.end]
        if not live:
            return None
        before = sum(self.seen[s][0] for s in live if s > live[-1] - 600)
        left = min(self.files[-1][1] // NS, self.end) - (live[-1] + 1)
        return live[-1] + 1 if left >= 300 and before * left >= 200 * 600 else None

    def missing(self) -> tuple[int, int] | None:
        """Where records are missing though the book counts as known."""
        seconds = range(self.start - 86_400, self.end)
        for e in seconds:
            if not (self.seen.get(e, (0, 0, 0))[2] and self.known_at[e]):
                continue
            changes = unknown = 0
            for s in range(e, min(e + 600, self.end)):
                if s >= e + 60 and changes >= 100:
                    break
                changes += self.seen.get(s, (0, 0, 0))[1]
                unknown += self.seen.get(s, (0, 0, 0))[2]
            if unknown <= self.near_share * changes:
                continue
            runs, quiet = [], []
            for s in range(max(e - 900, seconds[0]), e + 1):
                if self.seen.get(s, (0, 0, 0))[0]:
                    runs += [quiet] if quiet else []
                    quiet = []
                else:
                    quiet.append(s)
            first = min(s for s in self.seen if self.seen[s][0])
            found = []
            for quiet in runs:
                a, b = quiet[0], quiet[-1] + 1
                while a > seconds[0] and not self.seen.get(a - 1, (0, 0, 0))[0]:
                    a -= 1
                if b - a >= self.gap_s and a > first:
                    found.append((a, b))
            a, b = max(found, key=lambda r: r[1] - r[0], default=(e, e))
            return (a * NS, b * NS) if (a * NS, b * NS) not in self.lost else (e * NS, e * NS)
        return None

    def reasons(self) -> list[str]:
        """Per second of the ladder why it is not valid; empty where it is."""
        *_, long = self.crossings()
        last = self.last_second()
        out = []
        for s in range(self.start, self.end):
            covered = any(a <= s * NS and (s + 1) * NS <= b for a, b in self.files)
            late = last is not None and s >= last
            gap = any(a // NS <= s < b // NS for a, b in self.lost)
            why = self.why[s]
            if not (why or late or gap or s in long):
                out.append("")
            elif not covered and s * NS < self.files[0][0]:
                out.append("outside")
            elif late and self.closed is not None and self.closed[0] <= s * NS < self.closed[1]:
                out.append("closed")
            elif late or (not covered and (s + 1) * NS > self.files[-1][1]):
                out.append("after_end")
            elif gap or not covered:
                out.append("gap")
            else:
                out.append(next((w for w in ("cold_start", "after_gap", "bad_book", "rebuilt") if w in why), "crossed"))
        return out

    def near(self) -> list[int]:
        """Per second how many ticks behind the touch are known though not all is, -1 for none."""
        *_, long = self.crossings()
        reasons, out = self.reasons(), []
        since = None
        for s in range(self.start - 86_400, self.start):
            since = s + 1 if self.known_at[s] else s if s in self.forgotten else since
        for i, s in enumerate(range(self.start, self.end)):
            row, why = self.tape[i], self.why[s]
            bid, ask = row["best_bid_tick"], row["best_ask_tick"]
            cold = reasons[i] in ("cold_start", "after_gap") and len(why) == 1 and s not in long
            since = s + 1 if self.known_at[s] or reasons[i] == "gap" else s if s in self.forgotten else since
            two = bid is not None and ask is not None and bid < ask
            out.append(self.reach((s - self.start) // 10) if cold and two and since is not None and s - since >= self.near_s else -1)
        return out

    def reach(self, block: int) -> int:
        """Of the blocks of 10 s before this one."""
        unknown, every = [0] * FURTHEST, [0] * FURTHEST
        for b in range(block - -(-self.near_s // 10), block):
            for away, n in self.counts.get(b, {}).items():
                if away < FURTHEST:
                    unknown[away] += n[0] + n[1]
                    every[away] += sum(n)
        edge = 0
        while True:
            u = c = 0
            for width in range(1, 11):
                if edge + width > FURTHEST:
                    return edge - 1
                u, c = u + unknown[edge + width - 1], c + every[edge + width - 1]
                if c >= 100:
                    break
            if c < 100 or u >= self.near_share * c:
                return edge - 1
            edge += width
