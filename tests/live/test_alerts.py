"""Alerts: the same whenever a day is gone through, each once, and told apart by what happened."""

from __future__ import annotations

import http.server
import itertools
import json
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import SessionError
from engine.ladder import Ladder
from engine.levels import price_level
from engine.live.alerts import Alert, AlertRules, Watch, busier, four_open, keep, kept, post, webhook
from engine.vocab import NS
from tests.support.ladders import DATE, SYMBOL, make_frames


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    rows, tape = make_frames(900, 7, span=40, move=0.7)
    return Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)


def at_prices(ladder: Ladder, *ticks: int) -> pl.DataFrame:
    frames = [price_level(f"price:{ladder.root.to_price(t):.10g}", ladder.start_ns, ladder.end_ns, ladder.root) for t in ticks]
    return pl.concat(frames)


@pytest.mark.parametrize("seed", range(3))
def test_a_day_gone_through_in_pieces_gives_the_same_alerts(ladder: Ladder, seed: int) -> None:
    middle = int(np.median(ladder.last_tick[ladder.last_tick > 0]))
    levels = at_prices(ladder, middle, middle + 6)
    at_once = Watch(ladder, AlertRules(wall_times=2.0)).until(ladder.seconds, levels)
    rng, watch, found, now = np.random.default_rng(seed), Watch(ladder, AlertRules(wall_times=2.0)), [], 0
    while now < ladder.seconds:
        now = min(now + int(rng.integers(1, 60)), ladder.seconds)
        found += watch.until(now, levels)
    assert found == at_once
    assert {a.kind for a in at_once} >= {"approach", "touch"}
    # One of a kind and level in a minute, and nothing of what comes later.
    for a, b in itertools.pairwise(at_once):
        assert a.ts_ns <= b.ts_ns
    by_kind: dict[tuple[str, str], list[int]] = {}
    for a in at_once:
        by_kind.setdefault((a.kind, a.level_id), []).append(a.ts_ns)
    assert all(y - x >= 60 * NS for times in by_kind.values() for x, y in itertools.pairwise(times))


def test_a_touch_is_where_the_trade_meets_the_level(ladder: Ladder) -> None:
    tick = int(ladder.last_tick[400])
    touches = [a for a in Watch(ladder).until(ladder.seconds, at_prices(ladder, tick)) if a.kind == "touch"]
    last = ladder.last_tick.astype(np.int64)
    for a in touches:
        s = (a.ts_ns - ladder.start_ns) // NS - 1
        assert last[s] == tick or (last[s - 1] - tick) * (last[s] - tick) < 0
    assert touches


def wall_frames(gone_by: str) -> Ladder:
    """Twenty quiet prices, and at one of them 400 asks that leave at second 30."""
    start = 1_762_265_000 * NS
    channels = ["bid_depth", "ask_depth", "bid_orders", "ask_orders", "bid_add", "ask_add", "bid_pull", "ask_pull", "bid_fill", "ask_fill"]
    rows = []
    for k in range(12):
        for side, tick in (("bid", 1000 - k), ("ask", 1001 + k)):
            rows.append({"s": 0, "tick": tick, f"{side}_depth": 20, f"{side}_orders": 2})
    rows.append({"s": 10, "tick": 1005, "ask_depth": 400, "ask_orders": 9, "ask_add": 380})
    rows.append({"s": 30, "tick": 1005, "ask_depth": 10, "ask_orders": 1, f"ask_{gone_by}": 390})
    import engine.vocab as vocab

    frame = pl.DataFrame([{**dict.fromkeys(vocab.LADDER_COLUMNS, 0), **r} for r in rows]).sort("s", "tick")
    assert set(channels) <= set(frame.columns)
    starts = start + frame["s"].to_numpy() * NS
    ladder_rows = frame.select("tick", pl.lit(False).alias("keyframe"), *vocab.LADDER_COLUMNS).with_columns(
        pl.Series("window_start_ts_ns", starts)
    )
    tape = pl.DataFrame(
        {
            "window_start_ts_ns": start + np.arange(60) * NS, "last_tick": [1000] * 60, "best_bid_tick": [1000] * 60,
            "best_ask_tick": [1001] * 60, "book_valid": [True] * 60,
        }
    )  # fmt: skip
    return Ladder.from_frames(ladder_rows, tape, symbol="ESZ5", date=DATE)


@pytest.mark.parametrize(("by", "kind"), [("pull", "wall vanishes by pulls"), ("fill", "wall vanishes by fills")])
def test_a_wall_that_was_pulled_is_told_from_one_that_was_filled(by: str, kind: str) -> None:
    ladder = wall_frames(by)
    none = at_prices(ladder, 5000)
    found = Watch(ladder).until(60, none)
    assert [(a.kind, a.tick, (a.ts_ns - ladder.start_ns) // NS) for a in found] == [("wall appears", 1005, 15), (kind, 1005, 31)]
    assert "400 asks at 251.25" in found[0].text
    assert Watch(ladder).until(14, none) == [], "a wall stands for five seconds before it is told"


def test_a_wall_that_price_has_gone_through_is_none(ladder: Ladder) -> None:
    """Told is what stands; after a second whose book was not valid what rests is read again."""
    quiet = wall_frames("fill")
    quiet.best_ask_tick[12:] = 1009
    quiet.best_bid_tick[12:] = 1006
    assert Watch(quiet).until(60, at_prices(quiet, 5000)) == []
    gone = wall_frames("pull")
    gone.valid[12] = False
    found = Watch(gone).until(60, at_prices(gone, 5000))
    assert [(a.kind, (a.ts_ns - gone.start_ns) // NS) for a in found] == [("wall appears", 18), ("wall vanishes by pulls", 31)]
    assert "400 asks" in found[0].text


def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    alert = Alert(1_762_265_000 * NS, "touch", "pm_high", 1000, "PM High 250: touched")
    path = tmp_path / "alerts.jsonl"
    keep(path, [alert])
    path.write_bytes(path.read_bytes() + b'{"kind": "tou')
    assert kept(path) == [alert]
    keep(path, [alert])
    assert kept(path) == [alert, alert]


def test_four_conditions_open_once() -> None:
    ends = [5 * NS * k for k in range(1, 30)]
    open_ = [4 if k in (3, 4, 6, 20) else 2 for k in range(29)]
    windows = pl.DataFrame(
        {
            "window_end_ts_ns": ends,
            "level_id": ["pm_high"] * 29,
            "level_tick": [1000] * 29,
            "down_open": open_,
            "up_open": [None] * 29,
            "approach": ["approach_up"] * 29,
        },
        schema_overrides={"up_open": pl.Int8},
    )
    assert [(a.ts_ns // NS, a.kind) for a in four_open(windows)] == [(20, "four open, fall"), (105, "four open, fall")]


def test_another_contract_that_trades_more_is_named() -> None:
    assert busier({"ESZ5": 10, "ESH6": 11}, "ESZ5") == "ESH6"
    assert busier({"ESZ5": 10, "ESH6": 10}, "ESZ5") == ""
    assert busier({}, "ESZ5") == ""


def test_alerts_are_kept_and_posted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alert = Alert(1_762_265_000 * NS, "touch", "pm_high", 1000, "PM High 250: touched")
    keep(tmp_path / "a" / "alerts.jsonl", [alert])
    keep(tmp_path / "a" / "alerts.jsonl", [alert])
    assert kept(tmp_path / "a" / "alerts.jsonl") == [alert, alert]
    got: list[dict[str, object]] = []
    answers = iter((503, 302, 200))

    class Taker(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(next(answers))
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("SPYMASTER_WEBHOOK", f"http://127.0.0.1:{server.server_port}/x")
    assert post(webhook(), alert, wait_s=0.01) == ""
    assert [g["text"] for g in got] == [alert.text] * 3
    server.shutdown()
    server.server_close()
    assert "refused" in post(webhook(), alert, wait_s=0.01)
    for bad in ("http://example.com/", "file:///etc/passwd", "ftp://127.0.0.1/"):
        monkeypatch.setenv("SPYMASTER_WEBHOOK", bad)
        with pytest.raises(SessionError, match="https"):
            webhook()
