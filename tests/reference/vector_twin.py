"""Slow twin of the vectors: one number at a time from the twin of the features, written from features.md section 5."""

from __future__ import annotations

from math import log

from tests.reference.feature_twin import Window, Zones
from tests.reference.ladder_twin import TwinLadder

NS = 1_000_000_000


class TravelWindow(Window):
    """A window seen by somebody who travels one way, whatever price does."""

    way = 1

    def travel(self) -> int:
        return self.way

    def tape(self) -> dict[str, float | None]:
        """Where there is no last trade yet, its move and its distance are not known."""
        start, end = super().last_start(), super().last_end()
        out = super().tape()
        if start is None or end is None:
            out["t8_speed"] = None
        if end is None:
            out["t9_distance"] = None
        return out

    def last_start(self) -> int:
        return super().last_start() or 0

    def last_end(self) -> int:
        return super().last_end() or 0


class Vectors:
    """Vectors of moments of a session; `starts` are its windows' first seconds."""

    def __init__(self, ladder: TwinLadder, window_s: int, zones: Zones | None = None) -> None:
        self.ladder, self.window_s, self.zones = ladder, window_s, zones or Zones()
        seconds = range(ladder.start_s, ladder.end_s)
        self.starts = [s for s in seconds if s % window_s == 0 and s + window_s <= ladder.end_s]
        self._made: dict[tuple[int, int], dict] = {}

    def history_is_good(self, w: int) -> bool:
        if w < 23:
            return False
        for s in self.starts[w - 23 : w + 1]:
            if not self.ladder.valid(s, self.window_s):
                return False
            if s > self.ladder.start_s and not self.ladder.tape[s - 1]["book_valid"]:
                return False
        return True

    # -- blocks
    def value(self, name: str, w: int, k: int, order: int) -> float | None:
        """Difference of `order` at window `w`; None where it touches an invalid window."""
        if order == 0:
            if (w, k) not in self._made:
                self._made[w, k] = Window(self.ladder, self.starts[w], self.window_s, k, self.zones).row()
            return self._made[w, k][name]
        if w < order:
            return 0.0
        here, before = self.value_raw(name, w, k, order - 1), self.value_raw(name, w - 1, k, order - 1)
        return None if here is None or before is None else here - before

    def value_raw(self, name: str, w: int, k: int, order: int) -> float | None:
        if order == 0:
            return self.value(name, w, k, 0)
        here, before = self.value_raw(name, w, k, order - 1), self.value_raw(name, w - 1, k, order - 1)
        return None if here is None or before is None else here - before

    def block(self, block: str, name: str, w: int, k: int, order: int) -> float | None:
        if block == "w0":
            return self.value(name, w, k, order)
        n = int(block[1:].split("_")[0])
        if block.endswith("delta"):
            now, then = self.value(name, w, k, order), self.value(name, w - n + 1, k, order)
            return None if now is None or then is None else (now - then) / (n - 1)
        values = [self.value(name, w - i, k, order) for i in range(n)]
        return None if None in values else sum(v for v in values if v is not None) / n

    # -- means
    def primitives(self, w: int, k: int, up: bool) -> dict[str, float | None]:
        window = TravelWindow(self.ladder, self.starts[w], self.window_s, k, self.zones)
        window.way = 1 if up else -1
        tape = window.tape()
        out: dict[str, float | None] = {}
        for way, side in (("ahead", "ask" if up else "bid"), ("behind", "bid" if up else "ask")):
            both = window.shape(side) | window.flows(side)
            rested, added = window.flow(side, "pull_rest"), window.flow(side, "add")
            both["far_pull_share_rest"] = window.flow(side, "pull_rest", "far") / (rested + 1)
            both["pull_add_log"] = log((window.flow(side, "pull") + 1) / (added + 1))
            both["add_intensity_log"] = log(1 + added / (window.d(side, "start") + 1))
            both["com_touch_log"] = tape["t10_ask_com_touch_log" if side == "ask" else "t11_bid_com_touch_log"]
            out |= {f"{way}_{name}": v for name, v in both.items()}
        return out | {n: v for n, v in tape.items() if n[:3] not in ("t10", "t11")}

    def means(self, w: int, k: int, up: bool, magnitudes: dict[str, float]) -> dict[str, float | None]:
        out: dict[str, float | None] = {}
        for b in range(8):
            rows = [self.primitives(w - 23 + 3 * b + i, k, up) for i in range(3)]
            for name in rows[0]:
                values = [r[name] for r in rows]
                out[f"b{b}_{name}"] = None if None in values else sum(v for v in values if v is not None) / 3
        return out | {
            "distance": abs(magnitudes["distance_ticks"]) / self.zones.far,
            "volatility_log": log(1 + magnitudes["sigma"]),
            "message_rate_log": log(1 + magnitudes["message_rate"]),
            "trade_rate_log": log(1 + magnitudes["trade_rate"]),
        }
