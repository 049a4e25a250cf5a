"""Made-up ladders that obey the ladder's laws: conservation, keyframes, a book that does not cross.

Not a market: flows are noise around a wandering mid. What is checked with them are laws and equalities, never values.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

NS = 1_000_000_000
START_S = 1_767_603_600  # 2026-01-05 09:00 UTC, a multiple of 3600
DATE = dt.date(2026, 1, 5)
SYMBOL = "ESH6"
CHANNELS = ("depth", "orders", "add", "pull", "fill", "pull_rest", "away_rest", "toward_rest")
COLUMNS = tuple(f"{side}_{c}" for c in CHANNELS for side in ("bid", "ask"))


def make_frames(
    seconds: int,
    seed: int,
    *,
    base_tick: int = 20_000,
    span: int = 60,
    touched: float = 0.15,
    invalid_share: float = 0.0,
    one_sided_share: float = 0.0,
    quiet_start: int = 0,
    keyframe_s: int = 60,
    move: float = 0.3,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ladder rows and tape of `seconds` seconds; prices stay within `span` ticks of `base_tick`.

    `invalid_share` of the seconds rebuild the book without flow (a clear and snapshot); `one_sided_share` of them
    rebuild it with one side empty. No trade comes in the first `quiet_start` seconds.
    """
    rng = np.random.default_rng(seed)
    n = 2 * span + 1
    ticks = np.arange(base_tick - span, base_tick + span + 1)
    depth = np.zeros((2, n), np.int64)
    mid = span  # asks stand at index >= mid, bids below it

    def rebuild(sides: tuple[int, ...]) -> None:
        depth[:] = 0
        for side in sides:
            where = slice(0, mid) if side == 0 else slice(mid, n)
            depth[side, where] = rng.integers(0, 40, depth[side, where].size) * (rng.random(depth[side, where].size) < 0.7)

    rebuild((0, 1))
    blocks: list[np.ndarray] = []
    tape: dict[str, list] = {
        k: []
        for k in (
            "best_bid_tick",
            "best_ask_tick",
            "last_tick",
            "high_tick",
            "low_tick",
            "trades",
            "buy_volume",
            "sell_volume",
            "bid_size",
            "ask_size",
            "ofi",
            "messages",
            "book_valid",
        )
    }
    last: int | None = None
    for s in range(seconds):
        before = depth.copy()
        flow = np.zeros((2, 6, n), np.int64)  # add pull fill pull_rest away toward
        valid = True
        traded: list[int] = []
        if rng.random() < invalid_share:
            valid = False
            rebuild(((0, 1), (0,), (1,), ())[rng.integers(0, 4)] if rng.random() < one_sided_share else (0, 1))
        if s >= quiet_start and rng.random() < move:
            step = 1 if rng.random() < 0.5 else -1
            if 8 < mid + step < n - 8:
                side, at = (1, mid) if step > 0 else (0, mid - 1)
                flow[side, 2, at] = depth[side, at]
                if depth[side, at]:
                    traded.append(int(ticks[at]))
                depth[side, at] = 0
                mid += step
        for side in (0, 1):
            own = np.arange(n) < mid if side == 0 else np.arange(n) >= mid
            hit = own & (rng.random(n) < touched)
            add = rng.integers(0, 30, n) * (hit & (rng.random(n) < 0.7))
            room = depth[side] + add
            pull = np.minimum(rng.integers(0, 30, n) * (hit & (rng.random(n) < 0.7)), room)
            fill = np.zeros(n, np.int64)
            at = mid - 1 if side == 0 else mid
            if s >= quiet_start and rng.random() < 0.4:
                fill[at] = min(int(rng.integers(1, 20)), int(room[at] - pull[at]))
                if fill[at]:
                    traded.append(int(ticks[at]))
            rest = (pull * rng.random(n)).astype(np.int64)
            away = (rest * rng.random(n)).astype(np.int64)
            toward = ((rest - away) * rng.random(n)).astype(np.int64)
            flow[side] += np.stack([add, pull, fill, rest, away, toward])
            depth[side] = room - pull - fill
        blocks.append(_rows(s, ticks, before, depth, flow, keyframe=s == 0 or (START_S + s) % keyframe_s == 0))
        bids, asks = np.flatnonzero(depth[0]), np.flatnonzero(depth[1])
        last = traded[-1] if traded else last
        for key, value in (
            ("best_bid_tick", int(ticks[bids[-1]]) if bids.size else None),
            ("best_ask_tick", int(ticks[asks[0]]) if asks.size else None),
            ("last_tick", last),
            ("high_tick", max(traded, default=None)),
            ("low_tick", min(traded, default=None)),
            ("trades", len(traded)),
            ("buy_volume", int(flow[1, 2].sum())),
            ("sell_volume", int(flow[0, 2].sum())),
            ("bid_size", int(depth[0, bids[-1]]) if bids.size else 0),
            ("ask_size", int(depth[1, asks[0]]) if asks.size else 0),
            ("ofi", int(rng.integers(-30, 31))),
            ("messages", int((flow > 0).sum())),
            ("book_valid", valid),
        ):
            tape[key].append(value)
    return _frame(np.concatenate(blocks)), _tape(tape, seconds)


def _rows(s: int, ticks: np.ndarray, before: np.ndarray, depth: np.ndarray, flow: np.ndarray, *, keyframe: bool) -> np.ndarray:
    keep = (flow != 0).any(axis=(0, 1)) | (before != depth).any(axis=0)
    if keyframe:
        keep |= (depth != 0).any(axis=0)
    cols = [np.full(ticks.size, s), ticks, np.full(ticks.size, int(keyframe)), depth[0], depth[1], -(-depth[0] // 3), -(-depth[1] // 3)]
    cols += [flow[side, c] for c in range(6) for side in (0, 1)]
    return np.stack(cols, axis=1)[keep]


def _frame(block: np.ndarray) -> pl.DataFrame:
    start = (START_S + block[:, 0]) * NS
    data = {"window_start_ts_ns": start, "window_end_ts_ns": start + NS, "tick": block[:, 1].astype(np.int32), "keyframe": block[:, 2] == 1}
    data |= {name: block[:, 3 + i].astype(np.int32) for i, name in enumerate(COLUMNS)}
    return pl.DataFrame(data)


def _tape(tape: dict[str, list], seconds: int) -> pl.DataFrame:
    start = (START_S + np.arange(seconds)) * NS
    wide = {"buy_volume": pl.Int64, "sell_volume": pl.Int64, "ofi": pl.Int64, "book_valid": pl.Boolean}
    return pl.DataFrame(
        {"window_start_ts_ns": start, "window_end_ts_ns": start + NS, **tape},
        schema_overrides={k: wide.get(k, pl.Int32) for k in tape},
    )


def rows_from(changes: list[dict]) -> pl.DataFrame:
    """Ladder rows from dicts ``{"s": second, "tick": ..., channel: value, ...}``; unnamed channels are 0."""
    out = []
    for c in changes:
        start = (START_S + c["s"]) * NS
        row = {"window_start_ts_ns": start, "window_end_ts_ns": start + NS, "tick": c["tick"], "keyframe": c.get("keyframe", c["s"] == 0)}
        out.append(row | {name: c.get(name, 0) for name in COLUMNS})
    overrides = {"tick": pl.Int32} | dict.fromkeys(COLUMNS, pl.Int32)
    return pl.DataFrame(out, schema_overrides=overrides)


def tape_from(seconds: list[dict]) -> pl.DataFrame:
    """Tape from one dict per second; what is not named is null (prices), 0, or valid."""
    tape: dict[str, list] = {}
    defaults = {
        "best_bid_tick": None,
        "best_ask_tick": None,
        "last_tick": None,
        "high_tick": None,
        "low_tick": None,
        "trades": 0,
        "buy_volume": 0,
        "sell_volume": 0,
        "bid_size": 0,
        "ask_size": 0,
        "ofi": 0,
        "messages": 0,
        "book_valid": True,
    }
    for key, default in defaults.items():
        tape[key] = [s.get(key, default) for s in seconds]
    return _tape(tape, len(seconds))
