"""Slow twin of the pressure stream, window by window, written from features.md section 9."""

from __future__ import annotations

from math import exp


def s(x: float | None) -> float | None:
    return None if x is None else 1 / (1 + exp(-x))


def mean(values: list[float | None]) -> float | None:
    return None if None in values else sum(v for v in values if v is not None) / len(values)


def minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def row(history: list[dict], now: int) -> dict[str, float | None]:
    """Scores of window `now` of one level; `history` are its rows in time order, with no gap but at missing windows."""
    w = history[now]

    def second_difference(name: str) -> float | None:
        if now < 2:
            return None if w[name] is None else 0.0
        a, b = history[now - 2], history[now - 1]
        length = w["window_end_ts_ns"] - w["window_start_ts_ns"]
        if w["window_start_ts_ns"] - a["window_start_ts_ns"] != 2 * length:
            return None
        return minus(minus(w[name], b[name]), minus(b[name], a[name]))

    d = w["distance_ticks"]
    if not d:
        return dict.fromkeys(("above_score", "below_score", "vacuum_score", "above_retreat", "below_flow", "above_localisation"))
    if d < 0:
        above = [s(w["u1_ask_com_disp_log"]), s(w["u5_ask_pull_add_log_rest"]), s(minus(w["u7_ask_near_pull_share_rest"], 0.5))]
        above.append(s(second_difference("u5_ask_pull_add_log_rest")))
        below = [s(w["u8_bid_com_approach_log"]), s(w["u12_bid_add_pull_log_rest"]), s(w["u10_bid_near_share_rise"])]
        below.append(s(second_difference("u12_bid_add_pull_log_rest")))
    else:
        above = [s(w["f1_ask_com_disp_log"]), s(w["f2_ask_pull_add_log_rest"]), s(minus(w["f2_ask_near_pull_share_rest"], 0.5))]
        above.append(s(second_difference("f2_ask_pull_add_log_rest")))
        below = [s(w["f3_bid_com_disp_log"]), s(w["f4_bid_pull_add_log_rest"]), s(minus(w["f4_bid_near_pull_share_rest"], 0.5))]
        below.append(s(second_difference("f4_bid_pull_add_log_rest")))
    return {
        "above_retreat": above[0],
        "below_flow": below[1],
        "above_localisation": above[2],
        "above_score": mean(above),
        "below_score": mean(below),
        "vacuum_score": mean([mean(above), mean(below)]),
    }
