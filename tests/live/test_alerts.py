"""Alerts: the same whenever a day is gone through, each once, and told apart by what happened."""

from __future__ import annotations

import http.server
import itertools
import json
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import SessionError
from engine.ladder import Ladder
from engine.lake.lock import alone
from engine.levels import price_level
from engine.live.alerts import LATE_NS, Alert, AlertBook, AlertRules, Once, Poster, Watch, busier, four_open, kept, post, webhook
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


TOUCH = Alert(1_762_265_000 * NS, "touch", "pm_high", 1000, "PM High 250: touched")


def later(seconds: int, of: Alert = TOUCH) -> Alert:
    return replace(of, ts_ns=of.ts_ns + seconds * NS)


def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    AlertBook(path).add([TOUCH])
    path.write_bytes(path.read_bytes() + b'{"kind": "tou')
    assert kept(path) == [TOUCH]
    AlertBook(path).add([later(60)])
    assert kept(path) == [TOUCH, later(60)]


def test_an_alert_is_kept_once_whoever_watches(tmp_path: Path) -> None:
    path = tmp_path / "a" / "alerts.jsonl"
    one, other = AlertBook(path), AlertBook(path)
    assert one.add([TOUCH, later(10)]) == ([TOUCH], "")
    # The other one, which knows nothing of it, has seen it a second later, and something else.
    approach = replace(TOUCH, kind="approach")
    assert other.add([later(1), approach]) == ([approach], "")
    assert one.add([approach, later(59), later(61)]) == ([later(61)], "")
    # Of a day that is gone through again nothing is new, in whichever order it comes.
    assert AlertBook(path).add([later(61), TOUCH, approach]) == ([], "")
    assert kept(path) == [TOUCH, approach, later(61)]
    # Whoever holds the lock and stands still keeps no alert from being kept.
    with alone(path.with_suffix(".lock"), ""):
        assert one.add([later(200)]) == ([later(200)], "")
    assert Once().new([TOUCH, later(1), later(60)]) == [TOUCH, later(60)]


def test_two_processes_keep_each_alert_once(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    code = (
        "import sys; from pathlib import Path; from engine.live.alerts import LATE_NS, Alert, AlertBook\n"
        "book = AlertBook(Path(sys.argv[1])); input()\n"
        "print(sum(len(book.add([Alert(k * 60_000_000_000, 'touch', 'pm_high', 1, '')])[0]) for k in range(40)))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    both = [subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes) for _ in range(2)]
    for process in both:
        process.stdin.write(b"\n")
        process.stdin.flush()
    mine, others = (int(process.communicate(timeout=60)[0]) for process in both)
    assert mine + others == 40
    assert [a.ts_ns for a in kept(path)] == [k * 60 * NS for k in range(40)]


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


def test_alerts_are_posted(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[dict[str, object]] = []
    answers: Iterator[int] = iter((503, 302, 200))

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
    assert post(webhook(), TOUCH, wait_s=0.01) == ""
    assert [g["text"] for g in got] == [TOUCH.text] * 3
    # Those of the last minute, in their order; and what is not taken is said.
    answers = itertools.repeat(200)
    failed: list[str] = []
    poster = Poster(webhook(), failed.append)
    poster.post([TOUCH, later(30), later(61)], later(61).ts_ns)
    poster.close()
    assert [g["ts_ns"] for g in got[3:]] == [later(30).ts_ns, later(61).ts_ns]
    assert failed == ["", ""]
    failed.clear()
    server.shutdown()
    server.server_close()
    poster = Poster(webhook(), failed.append)
    poster.post([TOUCH], TOUCH.ts_ns)
    poster.close()
    assert len(failed) == 1
    assert failed[0].startswith("SPYMASTER_WEBHOOK: an alert was not taken: URLError")
    silent = Poster("", failed.append)
    silent.post([TOUCH], TOUCH.ts_ns)
    silent.close()
    assert len(failed) == 1
    assert "refused" in post(webhook(), TOUCH, wait_s=0.01)
    for bad in ("http://example.com/", "file:///etc/passwd", "ftp://127.0.0.1/"):
        monkeypatch.setenv("SPYMASTER_WEBHOOK", bad)
        with pytest.raises(SessionError, match="https"):
            webhook()


def test_a_webhook_that_answers_nothing_sound_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers no HTTP, and one that does not answer: neither is passed over in silence, nor holds up the end."""
    answer, gate = [b"hello there\r\n\r\n"], threading.Event()
    got: list[bytes] = []

    class Speaker(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            got.append(self.request.recv(1 << 16))
            gate.wait()
            self.request.sendall(answer[0])

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Speaker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        gate.set()
        assert post(address, TOUCH, wait_s=0.01) == "BadStatusLine: expected an answer of HTTP"
        assert len(got) == 3
        # What is taken says that, too: whoever shows the last trouble shows none any more.
        said: list[str] = []
        answer[0] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        poster = Poster(address, said.append)
        poster.post([TOUCH], TOUCH.ts_ns)
        poster.close()
        assert said == [""]
        # While one waits for its answer the next grows older than a minute: it is not posted any more.
        gate.clear()
        said.clear()
        poster = Poster(address, said.append)
        poster.post([TOUCH], TOUCH.ts_ns)
        poster.post([later(9)], later(9).ts_ns + LATE_NS - NS // 10)
        while len(got) < 5:
            time.sleep(0.01)
        time.sleep(0.2)
        gate.set()
        poster.close()
        assert said == ["", "SPYMASTER_WEBHOOK: an alert was not taken: it was 60 s old before its turn came"]
        # An end waits no longer than it says, and the process goes.
        gate.clear()
        code = (
            "import sys; from engine.live.alerts import LATE_NS, Alert, Poster\n"
            "poster = Poster(sys.argv[1], print); poster.post([Alert(1, 'touch', 'pm_high', 1, '')] * 9, 1)\n"
            "poster.close(0.1); print('left')"
        )
        ended = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=True, timeout=60)
        assert ended.stdout == "left\n", ended
        gate.set()
        server.shutdown()
    why = post("https://hooks.example.com/a b", TOUCH, tries=1)
    assert why.startswith("InvalidURL")
    assert "a b" not in why, "an address is secret"
    for bad in ("https://[::1", "https://example.com:port/", "https://hooks.example.com/a b"):
        monkeypatch.setenv("SPYMASTER_WEBHOOK", bad)
        with pytest.raises(SessionError, match="no address"):
            webhook()
