"""Levels on a hand-made morning; every number below is worked out by hand."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from engine.bars import bars_2m
from engine.errors import ContractError, UnknownLevel
from engine.levels import Gap, LevelInputs, build_levels, level_ids, meaning, parse_level_id, price_level, title
from engine.params import LevelParams
from engine.sessions import session_windows, to_ns
from engine.vocab import NS, ROOTS

DATE = dt.date(2026, 1, 6)
W = session_windows(DATE, "rth")
TRADES = {"ts_event": pl.Int64, "tick": pl.Int32, "size": pl.UInt32, "side": pl.UInt8}


def at(hour: int, minute: int, second: float = 0, days: int = 0) -> int:
    return to_ns(DATE + dt.timedelta(days=days), dt.time(hour, minute)) + round(second * NS)


def frame(trades: list[tuple[int, int, int]]) -> pl.DataFrame:
    return pl.DataFrame([(t, k, q, 0) for t, k, q in trades], schema=TRADES, orient="row")


MORNING = [
    (at(18, 0, days=-1), 100, 1),  # the Globex open: overnight only
    (at(3, 59, 59.9), 150, 1),  # overnight high; a moment before the premarket
    (at(4, 0), 110, 1),
    (at(9, 29, 59.9), 90, 2),  # premarket and overnight low
    (at(9, 30, 0.2), 200, 1),  # the trading start: opening range, vwap
    (at(9, 30, 0.7), 206, 2),
    (at(9, 44, 59), 180, 1),
    (at(9, 45, 0), 300, 4),  # after the opening range
]
PREVIOUS = [(at(10, 0, days=-1), 500, 1), (at(11, 0, days=-1), 520, 1), (at(15, 59, days=-1), 510, 1)]


def build(
    trades: list[tuple[int, int, int]], *ids: str, previous: list | None = PREVIOUS, gaps: tuple[Gap, ...] = ()
) -> tuple[dict[str, list[tuple]], dict[str, str]]:
    t = frame(trades)
    bars = bars_2m(t, W.globex_start_ns, W.ladder_end_ns)
    pd = None if previous is None else frame(previous)
    made, absent = build_levels(LevelInputs(W, ROOTS["ES"], t, pd, "no raw file of 2026-01-05", bars, gaps), LevelParams(level_ids=ids))
    rows: dict[str, list[tuple]] = {}
    for level_id, start, end, price, tick in made.rows():
        rows.setdefault(level_id, []).append((start, end, price, tick))
    return rows, absent


def test_extremes_are_known_only_from_their_windows_end_on() -> None:
    rows, absent = build(MORNING, "pm_high", "pm_low", "or_high", "or_low", "on_high", "on_low")
    end = W.ladder_end_ns
    assert absent == {}
    assert rows["pm_high"] == [(at(9, 30), end, 27.5, 110)]  # 110 ticks of 0.25; the 150 came before 04:00
    assert rows["pm_low"] == [(at(9, 30), end, 22.5, 90)]
    assert rows["or_high"] == [(at(9, 45), end, 51.5, 206)]  # the 300 trades at 09:45:00, outside [09:30, 09:45)
    assert rows["or_low"] == [(at(9, 45), end, 45.0, 180)]
    assert rows["on_high"] == [(at(9, 30), end, 37.5, 150)]
    assert rows["on_low"] == [(at(9, 30), end, 22.5, 90)]


def test_previous_day_stands_from_the_ladders_start() -> None:
    rows, _ = build(MORNING, "pd_high", "pd_low", "pd_close")
    span = (W.ladder_start_ns, W.ladder_end_ns)
    assert rows == {"pd_high": [(*span, 130.0, 520)], "pd_low": [(*span, 125.0, 500)], "pd_close": [(*span, 127.5, 510)]}


def test_vwap_steps_at_the_end_of_each_second_with_a_trade() -> None:
    rows, _ = build(MORNING, "vwap")
    # (200*1 + 206*2)/3 = 204 ticks; then (612 + 180)/4 = 198; then (792 + 300*4)/8 = 249.
    assert rows["vwap"] == [
        (at(9, 30, 1), at(9, 45), 51.0, 204),
        (at(9, 45), at(9, 45, 1), 49.5, 198),
        (at(9, 45, 1), W.ladder_end_ns, 62.25, 249),
    ]


def test_a_level_between_two_ticks_is_rounded_ties_up() -> None:
    rows, _ = build([(at(9, 30), 200, 1), (at(9, 31), 201, 1)], "vwap")
    assert [r[2:] for r in rows["vwap"]] == [(50.0, 200), (50.125, 201)]


def test_sma_counts_bars_that_had_trades_and_steps_at_their_close() -> None:
    # A trade every 4 minutes from 19:41 on, so that every other bar has none. The 200th bar that has one starts
    # 199 * 4 = 796 min after 19:40, at 08:56, and closes at 08:58; the next ones close at 09:02 and 09:06.
    sparse = [(at(19, 41, days=-1) + i * 240 * NS, i + 1, 1) for i in range(202)]
    assert sparse[199][0] == at(8, 57)
    rows, absent = build(sparse, "sma_200", "sma_400")
    # Means of 1..200 = 100.5 (a tie: up), 2..201 = 101.5, 3..202 = 102.5 ticks.
    assert rows == {
        "sma_200": [
            (at(9, 0), at(9, 2), 25.125, 101),
            (at(9, 2), at(9, 6), 25.375, 102),
            (at(9, 6), W.ladder_end_ns, 25.625, 103),
        ]
    }
    assert absent["sma_400"] == "needs 400 two-minute bars with trades since the Globex open; 202 closed by the session's end"


def test_a_day_without_premarket_trades_lacks_only_that_level() -> None:
    rows, absent = build([t for t in MORNING if t[0] >= at(9, 30)], "pm_high", "or_high", "vwap")
    assert set(rows) == {"or_high", "vwap"}
    assert absent["pm_high"] == "no trade in the premarket window, 2026-01-06 04:00 New York to 2026-01-06 09:30 New York"


def test_missing_inputs_make_only_their_dependants_absent() -> None:
    gap = Gap(W.globex_start_ns, at(19, 0, days=-1), "no raw file of 2026-01-05; spymaster add FILE")
    rows, absent = build(MORNING, "on_high", "sma_200", "pm_high", "pd_close", "vwap", previous=None, gaps=(gap,))
    assert set(rows) == {"pm_high", "vwap"}
    assert gap.reason in absent["on_high"]
    assert gap.reason in absent["sma_200"]
    assert absent["pd_close"] == "no raw file of 2026-01-05"


def test_a_stepping_level_ends_where_a_gap_begins() -> None:
    rows, _ = build(MORNING, "vwap", gaps=(Gap(at(9, 40), at(10, 0), "feed lost"),))
    assert rows["vwap"] == [(at(9, 30, 1), at(9, 40), 51.0, 204)]


def test_overnight_levels_are_not_known_within_a_globex_open_session() -> None:
    w = session_windows(DATE, "globex_open")
    t = frame([(w.globex_start_ns, 100, 1)])
    inputs = LevelInputs(w, ROOTS["ES"], t, None, "none", bars_2m(t, w.globex_start_ns, w.ladder_end_ns))
    made, absent = build_levels(inputs, LevelParams(level_ids=("on_high", "pm_high")))
    assert made["level_id"].to_list() == ["pm_high"]
    assert "ends after the session's ladder" in absent["on_high"]


def test_ids_titles_and_prices() -> None:
    assert set(LevelParams().level_ids) == set(level_ids()) - {"call_wall", "put_wall", "zero_gamma"}, "but for those of options"
    assert [title(i) for i in ("pm_high", "sma_200", "vwap", "price:6800.25")] == ["PM High", "SMA 200", "VWAP", "6800.25"]
    assert "known from its end on" in meaning("or_high")
    assert parse_level_id("price:6800.25") == ("price", 6800.25)
    assert parse_level_id("price:-37.63") == ("price", -37.63)
    assert price_level("price:6800.30", 5, 9, ROOTS["ES"]).rows() == [("price:6800.30", 5, 9, 6800.30, 27201)]
    rows, _ = build(MORNING, "price:50.1")
    assert rows == {"price:50.1": [(W.ladder_start_ns, W.ladder_end_ns, 50.1, 200)]}


@pytest.mark.parametrize("bad", ["pm_hihg", "price:", "price:abc", "price:1e5", ""])
def test_unknown_levels_name_the_known_ones(bad: str) -> None:
    with pytest.raises(UnknownLevel, match="pm_high"):
        parse_level_id(bad)


def test_a_registered_level_is_no_price() -> None:
    with pytest.raises(UnknownLevel, match="read from the lake"):
        price_level("vwap", 0, 1, ROOTS["ES"])


def test_trades_without_a_column_are_refused() -> None:
    t = frame(MORNING)
    inputs = LevelInputs(W, ROOTS["ES"], t.drop("size"), None, "", bars_2m(t, W.globex_start_ns, W.ladder_end_ns))
    with pytest.raises(ContractError, match="missing size"):
        build_levels(inputs, LevelParams())
