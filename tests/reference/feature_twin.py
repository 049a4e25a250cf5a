"""Slow twin of the level features: one window at a time, in plain Python, written from features.md sections 2, 3, 4, 6 and 8."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from tests.reference.ladder_twin import TwinLadder


@dataclass(frozen=True)
class Zones:
    at: int = 2
    near: int = 5
    mid: int = 14
    far: int = 20

    def ticks(self, zone: str) -> range:
        low, high = {
            "at": (0, self.at),
            "near": (self.at + 1, self.near),
            "mid": (self.near + 1, self.mid),
            "far": (self.mid + 1, self.far),
        }[zone]
        return range(low, high + 1)


class Window:
    """Window of `seconds` from second `first` around the tick `k_ref`."""

    def __init__(self, ladder: TwinLadder, first: int, seconds: int, k_ref: int, zones: Zones, touch_ticks: int = 20) -> None:
        self.ladder, self.first, self.seconds, self.k_ref, self.zones, self.touch_ticks = ladder, first, seconds, k_ref, zones, touch_ticks
        self.last_s = first + seconds - 1

    # -- section 2
    def tick(self, side: str, n: int) -> int:
        return self.k_ref + n if side == "ask" else self.k_ref - n

    def depth(self, side: str, tick: int, when: str) -> int:
        if when == "start":
            return self.ladder.depth_start(side, tick, self.first)
        return self.ladder.depth_end(side, tick, self.last_s)

    def d(self, side: str, when: str, *zones: str) -> int:
        return sum(self.depth(side, self.tick(side, n), when) for z in zones or ("at", "near", "mid", "far") for n in self.zones.ticks(z))

    def com(self, side: str, when: str) -> float:
        total = self.d(side, when)
        if total == 0:
            return self.zones.far + 1
        return sum(n * self.depth(side, self.tick(side, n), when) for n in range(self.zones.far + 1)) / total

    def flow(self, side: str, what: str, *zones: str) -> int:
        return sum(
            self.ladder.flow(side, what, self.tick(side, n), self.first, self.seconds)
            for z in zones or ("at", "near", "mid", "far")
            for n in self.zones.ticks(z)
        )

    # -- section 3
    def shape(self, side: str) -> dict[str, float]:
        def share(zone: str, when: str) -> float:
            return self.d(side, when, zone) / (self.d(side, when) + 1)

        away, toward = self.flow(side, "away_rest"), self.flow(side, "toward_rest")
        return {
            "com_disp_log": log((self.com(side, "end") + 1) / (self.com(side, "start") + 1)),
            "slope_convex_log": log((self.d(side, "end", "far") + 1) / (self.d(side, "end", "near") + 1)),
            "slope_inner_log": log((self.d(side, "end", "near") + 1) / (self.d(side, "end", "at") + 1)),
            "at_share_delta": share("at", "end") - share("at", "start"),
            "near_share_delta": share("near", "end") - share("near", "start"),
            "reprice_away_share_rest": (away + 0.5) / (away + toward + 1),
        }

    def flows(self, side: str) -> dict[str, float]:
        p, a = self.flow(side, "pull_rest"), self.flow(side, "add")
        return {
            "pull_add_log_rest": log((p + 1) / (a + 1)),
            "pull_intensity_log_rest": log(1 + p / (self.d(side, "start") + 1)),
            "at_pull_share_rest": self.flow(side, "pull_rest", "at") / (p + 1),
            "near_pull_share_rest": self.flow(side, "pull_rest", "near") / (p + 1),
        }

    def vacuum(self) -> dict[str, float]:
        f: dict[str, float] = {}
        f |= {f"f1_ask_{k}": v for k, v in self.shape("ask").items()}
        f |= {f"f2_ask_{k}": v for k, v in self.flows("ask").items()}
        f |= {f"f3_bid_{k}": v for k, v in self.shape("bid").items()}
        f |= {f"f4_bid_{k}": v for k, v in self.flows("bid").items()}
        f["f5_vacuum_expansion_log"] = f["f1_ask_com_disp_log"] + f["f3_bid_com_disp_log"]
        f["f6_vacuum_decay_log"] = f["f2_ask_pull_add_log_rest"] + f["f4_bid_pull_add_log_rest"]
        f["f7_vacuum_total_log"] = f["f5_vacuum_expansion_log"] + f["f6_vacuum_decay_log"]
        f["u1_ask_com_disp_log"] = f["f1_ask_com_disp_log"]
        f["u2_ask_slope_convex_log"] = f["f1_ask_slope_convex_log"]
        f["u2_ask_slope_inner_log"] = f["f1_ask_slope_inner_log"]
        f["u3_ask_at_share_decay"] = -f["f1_ask_at_share_delta"]
        f["u3_ask_near_share_decay"] = -f["f1_ask_near_share_delta"]
        f["u4_ask_reprice_away_share_rest"] = f["f1_ask_reprice_away_share_rest"]
        f["u5_ask_pull_add_log_rest"] = f["f2_ask_pull_add_log_rest"]
        f["u6_ask_pull_intensity_log_rest"] = f["f2_ask_pull_intensity_log_rest"]
        f["u7_ask_at_pull_share_rest"] = f["f2_ask_at_pull_share_rest"]
        f["u7_ask_near_pull_share_rest"] = f["f2_ask_near_pull_share_rest"]
        f["u8_bid_com_approach_log"] = -f["f3_bid_com_disp_log"]
        f["u9_bid_slope_support_log"] = -f["f3_bid_slope_convex_log"]
        f["u9_bid_slope_inner_log"] = -f["f3_bid_slope_inner_log"]
        f["u10_bid_at_share_rise"] = f["f3_bid_at_share_delta"]
        f["u10_bid_near_share_rise"] = f["f3_bid_near_share_delta"]
        f["u11_bid_reprice_toward_share_rest"] = 1 - f["f3_bid_reprice_away_share_rest"]
        f["u12_bid_add_pull_log_rest"] = -f["f4_bid_pull_add_log_rest"]
        f["u13_bid_add_intensity_log"] = log(1 + self.flow("bid", "add") / (self.d("bid", "start") + 1))
        f["u14_bid_far_pull_share_rest"] = self.flow("bid", "pull_rest", "far") / (self.flow("bid", "pull_rest") + 1)
        f["u15_up_expansion_log"] = f["u1_ask_com_disp_log"] + f["u8_bid_com_approach_log"]
        f["u16_up_flow_log"] = f["u5_ask_pull_add_log_rest"] + f["u12_bid_add_pull_log_rest"]
        f["u17_up_total_log"] = f["u15_up_expansion_log"] + f["u16_up_flow_log"]
        return f

    # -- section 4
    def last_start(self) -> int | None:
        if self.first > self.ladder.start_s:
            return self.ladder.tape[self.first - 1]["last_tick"]
        first = self.ladder.tape[self.first]
        return first["last_tick"] if first["trades"] == 0 else None

    def last_end(self) -> int | None:
        return self.ladder.tape[self.last_s]["last_tick"]

    def travel(self) -> int | None:
        last = self.last_start()
        if last is None:
            return None
        s = self.first - 1
        while last == self.k_ref:
            s -= 1
            if s < self.ladder.start_s or self.ladder.tape[s]["last_tick"] is None:
                return None
            last = self.ladder.tape[s]["last_tick"]
        return 1 if last < self.k_ref else -1

    def best(self, side: str, when: str) -> int | None:
        name = f"best_{side}_tick"
        if when == "end":
            return self.ladder.tape[self.last_s][name]
        if self.first > self.ladder.start_s:
            return self.ladder.tape[self.first - 1][name]
        there = [k for k in self.ladder.rows[self.first] if self.ladder.depth_start(side, k, self.first) > 0]
        return (max(there) if side == "bid" else min(there)) if there else None

    def touch_com(self, side: str, when: str) -> float:
        best = self.best(side, when)
        if best is None:
            return self.touch_ticks
        sign = 1 if side == "ask" else -1
        depths = [self.depth(side, best + sign * n, when) for n in range(self.touch_ticks)]
        return sum(n * q for n, q in enumerate(depths)) / sum(depths) if sum(depths) else self.touch_ticks

    def path(self, side: str, when: str) -> range:
        best = self.best(side, when)
        if best is None:
            return range(0)
        return range(best, self.k_ref) if side == "ask" else range(self.k_ref + 1, best + 1)

    def tape(self) -> dict[str, float | None]:
        out: dict[str, float | None] = {}
        for name, side in (("t10_ask_com_touch_log", "ask"), ("t11_bid_com_touch_log", "bid")):
            out[name] = log((self.touch_com(side, "end") + 1) / (self.touch_com(side, "start") + 1))
        last = self.last_end()
        out["t9_distance"] = None if last is None else abs(last - self.k_ref) / self.zones.far
        travel = self.travel()
        if travel is None:
            return out | dict.fromkeys(T_TRAVEL)
        side, other = ("ask", "bid") if travel > 0 else ("bid", "ask")
        around = range(self.k_ref - self.zones.far, self.k_ref + self.zones.far + 1)
        ahead = sum(self.ladder.flow(side, "fill", k, self.first, self.seconds) for k in around)
        behind = sum(self.ladder.flow(other, "fill", k, self.first, self.seconds) for k in around)
        out["t1_aggressor_imbalance"] = (ahead - behind) / (ahead + behind + 1)
        fill_at, add_at, fill_near = self.flow(side, "fill", "at"), self.flow(side, "add", "at"), self.flow(side, "fill", "near")
        lost = max(self.d(side, "start", "at") - self.d(side, "end", "at"), 0)
        out["t2_absorption_at_log"] = log((fill_at + 1) / (lost + 1))
        out["t3_replenish_at_log"] = log((add_at + 1) / (fill_at + 1))
        out["t4_fill_intensity_log"] = log(1 + (fill_at + fill_near) / (self.d(side, "start", "at") + self.d(side, "start", "near") + 1))
        seconds = [self.ladder.tape[s] for s in range(self.first, self.first + self.seconds)]
        size = sum((t["bid_size"] + t["ask_size"]) / 2 for t in seconds) / len(seconds)
        out["t5_ofi"] = travel * sum(t["ofi"] for t in seconds) / size if size > 0 else None
        ticks = self.path(side, "end")
        stands = sum(self.depth(side, k, "end") for k in ticks)
        best = self.best(other, "end")
        back = [] if best is None else [best - travel * i for i in range(len(ticks))]
        out["t6_path_depth_log"] = log((stands + 1) / (sum(self.depth(other, k, "end") for k in back) + 1))
        pull, add = (sum(self.ladder.flow(side, w, k, self.first, self.seconds) for k in self.path(side, "start")) for w in ("pull", "add"))
        out["t7_path_pull_add_log"] = log((pull + 1) / (add + 1))
        move = travel * (last - self.last_start())
        out["t8_speed"] = (log(1 + abs(move)) if move > 0 else -log(1 + abs(move))) if move else 0.0
        return out

    # -- section 6
    def conditions(self, f: dict[str, float]) -> dict[str, float | bool | int]:
        ask, bid = (log((self.flow(s, "pull") + 1) / (self.flow(s, "add") + 1)) for s in ("ask", "bid"))
        down = [f["f1_ask_com_disp_log"] > 0, ask > 0, f["f3_bid_com_disp_log"] > 0, bid > 0]
        up = [f["u1_ask_com_disp_log"] > 0, ask > 0, f["u8_bid_com_approach_log"] > 0, bid < 0]
        out: dict[str, float | bool | int] = {"ask_pull_add_log": ask, "bid_pull_add_log": bid}
        out |= {f"down_{i + 1}": x for i, x in enumerate(down)} | {f"up_{i + 1}": x for i, x in enumerate(up)}
        return out | {"down_open": sum(down), "up_open": sum(up)}

    def row(self) -> dict:
        """All features; None where the book is not valid in every second of the window."""
        vacuum = self.vacuum()
        out = vacuum | self.tape() | self.conditions(vacuum)
        return out if self.ladder.valid(self.first, self.seconds) else dict.fromkeys(out)


T_TRAVEL = (
    "t1_aggressor_imbalance", "t2_absorption_at_log", "t3_replenish_at_log", "t4_fill_intensity_log", "t5_ofi",
    "t6_path_depth_log", "t7_path_pull_add_log", "t8_speed",
)  # fmt: skip


def approach(last: list[int | None], level: int, t: int, reach: int = 20, back: int = 3) -> str:
    """Section 8: `last` is the last trade at the end of every window of the session so far."""
    if last[t] is None or t < back or last[t - back] is None:
        return "approach_none"
    d = last[t] - level
    sign = (d > 0) - (d < 0)
    if not 1 <= abs(d) <= reach or (last[t] - last[t - back]) * sign >= 0:
        return "approach_none"
    return "approach_up" if d < 0 else "approach_down"
