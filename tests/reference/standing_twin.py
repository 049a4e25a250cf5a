"""Slow twins of the side that flow names and of the walls: one price and one second at a time, from dictionaries of what each row holds."""

from __future__ import annotations

from statistics import median

import polars as pl

NS = 1_000_000_000


class Book:
    """Depth and flow by second, side and price, from the two frames of a ladder."""

    def __init__(self, rows: pl.DataFrame, tape: pl.DataFrame) -> None:
        self.start = tape["window_start_ts_ns"][0] // NS
        self.last = tape["last_tick"].to_list()
        self.valid = tape["book_valid"].to_list()
        self.cells: dict[tuple[int, int], dict[str, int]] = {}
        for r in rows.iter_rows(named=True):
            self.cells[r["window_start_ts_ns"] // NS - self.start, r["tick"]] = r
        self.changes: dict[int, list[int]] = {}
        for s, k in sorted(self.cells):
            self.changes.setdefault(k, []).append(s)

    def flow(self, name: str, s: int, k: int) -> int:
        return self.cells.get((s, k), {}).get(name, 0)

    def depth(self, side: str, s: int, k: int) -> int:
        before = [t for t in self.changes.get(k, []) if t <= s]
        return self.cells[before[-1], k][f"{side}_depth"] if before else 0


def flow_lead(book: Book, k_ref: int, end_s: int, near: int, step: int, p: dict[str, float]) -> tuple[str, list[int], int, int]:
    """Side, rows, long and short at second `end_s` of the session; the side is ``?`` where the book or the last trade is not known."""
    first = -book.start % 5
    count = (end_s - first) // 5
    flow_n, usual_n, memory_n = (int(p[k]) // 5 for k in ("flow_s", "usual_s", "memory_s"))
    looked = min(count, (max(int(p["usual_s"]), int(p["memory_s"])) + int(p["flow_s"])) // 5)
    windows = list(range(count - looked, count))  # by number since the session's first

    def seconds(w: int) -> range:
        return range(first + 5 * w, first + 5 * w + 5)

    def trusted(w: int) -> bool:
        return all(book.valid[s] for s in seconds(w))

    def last_row(w: int) -> int | None:
        tick = book.last[seconds(w)[-1]]
        return None if tick is None else tick // step

    if not windows or last_row(windows[-1]) is None:
        return "?", [], 0, 0
    up, down = ("bid_add", "ask_pull", "ask_fill"), ("ask_add", "bid_pull", "bid_fill")

    def of_window(names: tuple[str, ...], w: int, row: int) -> int:
        if not trusted(w):
            return 0
        return sum(book.flow(n, s, k) for n in names for s in seconds(w) for k in range(row * step, row * step + step))

    def over(names: tuple[str, ...], w: int, row: int) -> int:
        return sum(of_window(names, v, row) for v in windows if w - flow_n < v <= w)

    def known(w: int) -> bool:
        return all(trusted(v) for v in windows if w - flow_n < v <= w)

    around = range(k_ref // step - near - 1, k_ref // step + near + 2)
    rows = [r for r in around if any(abs(r * step + i - k_ref) <= near for i in range(step))]
    now = last_row(windows[-1])
    moments = [w for w in windows[flow_n - 1 :][-usual_n:] if last_row(w) is not None and known(w)]
    usual = {}
    for r in rows:
        away = [r + last_row(w) - now for w in moments]
        leads = [abs(over(up, w, a) - over(down, w, a)) for w, a in zip(moments, away)]
        usual[r] = median(leads) if len(moments) * 5 >= p["usual_least_s"] else float("inf")

    led: dict[int, str] = {}
    side = ""
    for w in windows[flow_n - 1 :][-memory_n:]:
        if not known(w):
            led, side = {}, ""
            continue
        total = {"long": 0, "short": 0}
        for r in rows:
            mine = {"long": over(up, w, r), "short": over(down, w, r)}
            for name in total:
                total[name] += mine[name]
            led[r] = _name(led.get(r, ""), mine, p["share"], p["usual_times"] * usual[r])
        side = _name(side, total, p["share"], 0)
        if side not in led.values():
            side = ""
    if not known(windows[-1]):
        return "?", [], 0, 0
    w = windows[-1]
    long, short = (sum(over(names, w, r) for r in rows) for names in (up, down))
    return side, [r * step for r in rows if side and led.get(r) == side], long, short


def _name(before: str, mine: dict[str, int], share: float, size: float) -> str:
    for name, other in (("long", "short"), ("short", "long")):
        lead = mine[name] - mine[other]
        if lead > 0 and (before == name or (lead >= share * mine[other] and lead >= size)):
            return name
    return ""


def walls(book: Book, k_ref: int, end_s: int, p: dict[str, float]) -> list[tuple]:
    """(side, tick, size, times, age, whole memory, trend, refills, fate, was, took, traded, seconds since the end) by price, then side."""
    reach = int(p["reach_ticks"])
    first = max(0, end_s - int(p["memory_s"]))
    out = []
    for k in range(k_ref - reach, k_ref + reach + 1):
        for side in ("ask", "bid"):
            out += _walls_at(book, k_ref, side, k, first, end_s, p)
    return out


def _walls_at(book: Book, k_ref: int, side: str, k: int, first: int, end_s: int, p: dict[str, float]) -> list[tuple]:
    reach = int(p["reach_ticks"])

    def size(s: int, at: int = k) -> int:
        return book.depth(side, s, at) if book.valid[s] and abs(at - k_ref) <= reach else 0

    def typical(s: int) -> float:
        return median([size(s, x) for x in range(k_ref - reach, k_ref + reach + 1) if size(s, x)] or [float("nan")])

    out = []
    s = first
    while s < end_s:
        begins = size(s) > 0 and size(s) >= p["times"] * typical(s) and size(s) == max(size(s, k + d) for d in (-2, -1, 0, 1, 2))
        if not begins:
            s += 1
            continue
        begin, full, peak, lost, refills, end = s, s, size(s), 0, 0, None
        forgotten = False
        s += 1
        while s < end_s and end is None:
            if not book.valid[s]:
                forgotten = True
                break
            lost += book.flow(f"{side}_fill", s, k)
            peak = max(peak, size(s))
            if size(s) >= p["whole_share"] * peak:
                full = s
                if lost >= p["refill_share"] * peak:
                    refills, lost = refills + 1, 0
            if size(s) < p["gone_share"] * peak:
                end = s
            s += 1
        if forgotten:
            continue
        old = begin == first and end_s - first >= p["memory_s"]
        last = end_s - 1
        if end is None:
            times = size(last) / typical(last)
            then = size(max(last - int(p["change_s"]), begin))
            much = abs(size(last) - then) >= max(p["change_share"] * then, 1)
            trend = "steady" if not much else "growing" if size(last) > then else "shrinking"
            if times >= p["kept_times"]:
                out.append((side, k, size(last), times, end_s - begin, old, trend, refills, "", 0, 0, 0, 0))
            continue
        after = [end]
        while after[-1] - end < p["settle_s"] and after[-1] < last and book.valid[after[-1] + 1]:
            after.append(after[-1] + 1)
        least = min(after, key=lambda t: (size(t), t))
        during = range(full + 1, least + 1)
        traded = sum(book.flow(f"{side}_fill", t, k) for t in during)
        moved = sum(book.flow(f"{side}_{way}_rest", t, k) for t in during for way in ("away", "toward"))
        gone = size(full) - size(least)
        fate = "eaten" if traded >= gone / 2 else "moved" if moved >= (gone - traded) / 2 else "pulled"
        times, age = size(full) / typical(full), full - begin + 1
        if last - end < p["told_s"] and age >= p["named_s"] and times >= p["kept_times"]:
            row = (side, k, size(least), times, age, old, "shrinking", refills, fate, size(full), least - full, traded, last - end)
            out.append(row)
    return out


def session_walls(book: Book, high: list[int | None], low: list[int | None], held_s: int, p: dict[str, float]) -> list[tuple]:
    """(begin, price, side, last whole second, fate, size, times, traded, refills, second of the touch, held) of every wall, sorted."""
    reach, n = int(p["reach_ticks"]), len(book.valid)
    prices = [k for k in (*high, *low, *book.last) if k is not None]
    out = []
    for side in ("ask", "bid"):
        for k in range(min(prices) - reach, max(prices) + reach + 1):
            s = 0
            while s < n:
                found = _session_wall(book, side, k, s, n, reach, p)
                if found is None:
                    s += 1
                    continue
                begin, full, end, peak, refills, least = found
                s = (n if end is None else end) + 1
                if peak is None or full - begin + 1 < p["named_s"]:
                    continue
                size = {t: book.depth(side, t, k) for t in range(begin, n)}
                flows = {name: [book.flow(f"{side}_{name}", t, k) for t in range(n)] for name in ("fill", "away_rest", "toward_rest")}
                fate = "standing"
                if end is not None:
                    traded = sum(flows["fill"][full + 1 : least + 1])
                    moved = sum(flows["away_rest"][full + 1 : least + 1]) + sum(flows["toward_rest"][full + 1 : least + 1])
                    gone = size[full] - size[least]
                    fate = "eaten" if traded >= gone / 2 else "moved" if moved >= (gone - traded) / 2 else "pulled"
                stop = n - 1 if end is None else end
                reached = [t for t in range(begin, stop + 1) if high[t] is not None and (high[t] >= k if side == "ask" else low[t] <= k)]
                touch, held = (reached[0] if reached and reached[0] - begin >= p["named_s"] else None), None
                if touch is not None:
                    later = [t for t in range(touch, min(touch + held_s, n)) if high[t] is not None]
                    beyond = any(high[t] > k if side == "ask" else low[t] < k for t in later)
                    told = touch + held_s <= n and all(book.valid[touch : touch + held_s])
                    held = False if beyond else True if told else None
                out.append(
                    (
                        begin, k, side, full if end is not None else None, fate, max(size[t] for t in range(begin, full + 1)),
                        size[begin] / _around(book, side, begin, reach), sum(flows["fill"][begin : stop + 1]), refills, touch, held,
                    )
                )  # fmt: skip
    return sorted(out)


def _around(book: Book, side: str, s: int, reach: int) -> float:
    sizes = [book.depth(side, s, book.last[s] + d) for d in range(-reach, reach + 1)]
    return median([x for x in sizes if x] or [float("nan")])


def _session_wall(book: Book, side: str, k: int, s: int, n: int, reach: int, p: dict[str, float]) -> tuple | None:
    """(begin, last whole second, second of the end, peak, refills, second of the least size) of a wall that begins in second `s`; None
    where none does. A peak of None: the book was lost in it.
    """
    if not book.valid[s] or book.last[s] is None or abs(k - book.last[s]) > reach:
        return None
    size = book.depth(side, s, k)
    if not size or size < p["times"] * _around(book, side, s, reach) or size < max(book.depth(side, s, k + d) for d in (-2, -1, 1, 2)):
        return None
    peak, full, lost, refills = size, s, 0, 0
    for t in range(s + 1, n):
        if not book.valid[t]:
            return s, full, t, None, 0, t
        held = book.depth(side, t, k)
        lost += book.flow(f"{side}_fill", t, k)
        peak = max(peak, held)
        if held >= p["whole_share"] * peak:
            full = t
            if lost >= p["refill_share"] * peak:
                refills, lost = refills + 1, 0
        if held < p["gone_share"] * peak:
            after = [t]
            while after[-1] - t < p["settle_s"] and after[-1] + 1 < n and book.valid[after[-1] + 1]:
                after.append(after[-1] + 1)
            return s, full, t, peak, refills, min(after, key=lambda x: (book.depth(side, x, k), x))
    return s, n - 1, None, peak, refills, n - 1
