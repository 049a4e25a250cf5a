"""Slow twin of episodes and triggers, written from features.md section 8: lists, one window and one trade at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.reference import outcome_twin
from tests.reference.feature_twin import approach

NS = 1_000_000_000
Steps = list[tuple[int, int, int]]


@dataclass
class Episode:
    up: bool
    windows: list[int]
    arm: int | None = None
    touch: int | None = None
    touch_level: int | None = None
    superseded: bool = False


@dataclass
class Session:
    """`trades` are (ns, tick) in order; `levels` are steps (start ns, end ns, tick) by id."""

    start_ns: int
    last_by_second: list[int | None]
    trades: list[tuple[int, int]]
    levels: dict[str, Steps]
    data_end_ns: int
    window_s: int = 5
    arm_ticks: int = 4
    gap: int = 3
    wait: int = 24
    reach: int = 20
    back: int = 3
    confluence: int = 4
    barrier: int | str = 8
    sigma_least_s: int = 300
    episodes: dict[str, list[Episode]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = self.start_ns // NS
        seconds = range(first, first + len(self.last_by_second))
        self.windows = [s for s in seconds if s % self.window_s == 0 and s + self.window_s <= seconds[-1] + 1]
        self.last = [self.last_by_second[s + self.window_s - 1 - first] for s in self.windows]
        self.end = [(s + self.window_s) * NS for s in self.windows]

    def level(self, level_id: str, at_ns: int) -> int | None:
        return next((k for a, b, k in self.levels[level_id] if a <= at_ns < b), None)

    def k_ref(self, level_id: str, w: int) -> int | None:
        return self.level(level_id, self.windows[w] * NS)

    def find(self, level_id: str) -> list[Episode]:
        found: list[Episode] = []
        ended = True
        armless = False  # after a touch, until price has gone beyond the arming distance
        for w in range(len(self.windows)):
            now = found[-1] if found else None
            if now is not None and now.touch is None and (not ended or w - now.windows[-1] <= self.wait):
                touch = self.touch_in(level_id, w, now.up)
                if touch is not None:
                    now.touch, now.touch_level = touch, self.level(level_id, self.trades[touch][0])
                    ended = armless = True
            k = self.k_ref(level_id, w)
            d = None if k is None or self.last[w] is None else self.last[w] - k
            if armless and d is not None and abs(d) > self.arm_ticks:
                armless = False
            kind = "approach_none" if k is None else approach(self.last, k, w, self.reach, self.back)
            same = now is not None and kind == ("approach_up" if now.up else "approach_down")
            if not ended and now is not None:
                changed = d is not None and ((now.up and d > 0) or (not now.up and d < 0))
                ended = changed or (not same and w - now.windows[-1] == self.gap)
            if kind == "approach_none" or armless:
                continue
            if ended or not same:
                if now is not None and now.touch is None:
                    now.superseded = True
                found.append(Episode(kind == "approach_up", []))
                ended = False
            found[-1].windows.append(w)
            if found[-1].arm is None and abs(d) <= self.arm_ticks:
                found[-1].arm = w
        return found

    def touch_in(self, level_id: str, w: int, up: bool) -> int | None:
        begin, end = self.windows[w] * NS, self.end[w]
        for i, (t, k) in enumerate(self.trades):
            if i == 0 or not begin <= t < min(end, self.data_end_ns):
                continue
            level, before = self.level(level_id, t), self.trades[i - 1][1]
            if level is not None and ((up and before < level <= k) or (not up and before > level >= k)):
                return i
        return None

    def rows(self) -> list[dict]:
        """One dict per trigger: what the frame holds, but ids, rates and session seconds."""
        out: list[dict] = []
        for level_id in self.levels:
            found = self.find(level_id)
            touch_times = [self.trades[e.touch][0] for e in found if e.touch is not None]
            for n, e in enumerate(found):
                kinds = [("window", w) for w in e.windows] + ([("arm", e.arm)] if e.arm is not None else [])
                if e.touch is not None:
                    kinds.append(("touch", max(w for w in range(len(self.windows)) if self.end[w] <= self.trades[e.touch][0])))
                for kind, w in kinds:
                    k = self.k_ref(level_id, w)
                    if k is None or self.end[w] > self.data_end_ns:
                        continue
                    number = sum(o.up == e.up for o in found[: n + 1])
                    row = self.known(level_id, kind, w, k, e.up) | {
                        "n": str(number),
                        "armed": e.arm is not None and e.arm <= w,
                        "touch_number": 1 + sum(t < self.end[w] for t in touch_times),
                    }
                    out.append(row | self.labels(row, e))
            out += self.candles(level_id, touch_times)
        return sorted(out, key=lambda r: (r["window_end_ts_ns"], r["level_id"], r["kind"], r["n"]))

    def known(self, level_id: str, kind: str, w: int, k: int, up: bool) -> dict:
        others = [self.k_ref(o, w) for o in self.levels if o != level_id]
        second = self.windows[w] + self.window_s - 1 - self.start_ns // NS
        return {
            "level_id": level_id,
            "kind": kind,
            "approach": "approach_up" if up else "approach_down",
            "window_end_ts_ns": self.end[w],
            "level_tick": k,
            "distance_ticks": self.last[w] - k,
            "sigma": outcome_twin.sigma(self.last_by_second, second, least_s=self.sigma_least_s),
            "confluent_levels": sum(o is not None and abs(o - k) <= self.confluence for o in others),
        }

    def labels(self, row: dict, e: Episode) -> dict:
        if e.touch is not None:
            assert e.touch_level is not None
            t = self.trades[e.touch][0]
            return self.of_touch(row, e.touch, t, e.touch_level, e.up, 720)
        chance = e.windows[-1] + max(self.wait, self.gap)
        over = e.superseded or (chance < len(self.windows) and self.end[chance] <= self.data_end_ns)
        out: dict = {"touched": False, "touch_ts_ns": None, "seconds_to_touch": None}
        out["barrier_ticks"] = outcome_twin.barrier(self.barrier, row["sigma"], 120)
        out |= {f"outcome_h{h}": "NO_TOUCH" if over else None for h in range(7)}
        return out | dict.fromkeys(outcome_twin.hits([], 0, 0, 0, None, 0, 0))

    def of_touch(self, row: dict, start: int, clock: int, level: int, up: bool, longest_s: int) -> dict:
        out: dict = {"touched": True, "touch_ts_ns": clock, "seconds_to_touch": (clock - row["window_end_ts_ns"]) / NS}
        for h, seconds in enumerate(outcome_twin.HORIZONS_S):
            b = outcome_twin.barrier(self.barrier, row["sigma"], seconds)
            late = seconds > longest_s
            out[f"outcome_h{h}"] = (
                None if late else outcome_twin.outcome(self.trades, start, clock, level, up, b, seconds, self.data_end_ns)
            )
        shown = outcome_twin.barrier(self.barrier, row["sigma"], 120)
        return out | {"barrier_ticks": shown} | outcome_twin.hits(self.trades, start, clock, level, shown, longest_s, self.data_end_ns)

    def candles(self, level_id: str, touch_times: list[int]) -> list[dict]:
        out: list[dict] = []
        bar = 120 * NS
        n = 0
        for begin in sorted({t // bar * bar for t, _ in self.trades}):
            k = self.level(level_id, begin)
            inside = [i for i, (t, _) in enumerate(self.trades) if begin <= t < begin + bar]
            ticks = [self.trades[i][1] for i in inside]
            if begin < self.start_ns or k is None or not min(ticks) <= k <= max(ticks):
                continue
            away = [self.trades[i][1] for i in range(inside[0] + 1) if self.trades[i][1] != k]
            close = begin + 2 * bar
            before = [w for w in range(len(self.windows)) if self.end[w] <= close]
            if not away or close > self.data_end_ns or not before:
                continue
            n += 1
            up = away[-1] < k
            row = self.known(level_id, "candle", before[-1], k, up)
            row |= {"n": f"c{n}", "armed": False, "touch_number": max(1, sum(t < begin + bar for t in touch_times))}
            start = next((i for i, (t, _) in enumerate(self.trades) if t >= close), len(self.trades))
            out.append(row | self.of_touch(row, start, close, k, up, 360))
        return out
