"""Roots, markets with their regular hours and calendars, and session profiles: of the product's own, and of a user's file."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from engine.errors import NoData, SessionError, UnknownProfile, UnknownRoot
from engine.sessions import (
    FILE_EXAMPLE,
    MARKETS,
    PROFILES,
    clock_text,
    closed_span,
    previous_full_rth,
    profile_named,
    profile_text,
    rth_span,
    session_windows,
    span_text,
    to_ns,
)
from engine.stages.base import own_root
from engine.stages.bronze import code_versions
from engine.vocab import MARKET_NAMES, OWN_ROOT_EXAMPLE, OWN_ROOTS, PRICE_SCALE, ROOTS, known_roots, own_roots, root_of, split_contract

FRIDAY = dt.date(2025, 1, 10)


def clock(span: tuple[int, int] | None) -> str:
    assert span is not None
    return span_text(*span)


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_every_root_is_whole(root):
    """A tick is a whole number of 1e-9, as prices come; every contract is found again, and no other root takes it."""
    assert root.tick_fixed / PRICE_SCALE == pytest.approx(root.tick_size, abs=1e-15)
    for tick in (-3, 0, 1, 7, 27_200):
        assert root.to_tick(root.to_price(tick)) == tick
    assert root.multiplier > 0
    assert root.market in MARKETS
    for month in root.months:
        for year in ("5", "25"):
            assert split_contract(f"{root.code}{month}{year}") == (root, month, year)


def test_the_markets_have_names_that_roots_may_have():
    assert (*MARKET_NAMES, "globex") == tuple(MARKETS)
    assert {r.market for r in ROOTS.values()} == set(MARKET_NAMES)


def test_notes_and_bonds_trade_in_fractions_of_a_32nd():
    ticks = {"ZT": 1 / 8, "ZF": 1 / 4, "ZN": 1 / 2, "TN": 1 / 2, "ZB": 1, "UB": 1}
    assert {code: ROOTS[code].tick_size * 32 for code in ticks} == ticks
    assert ROOTS["ZN"].to_tick(110 + 16.5 / 32) == 110 * 64 + 33
    assert ROOTS["ZN"].to_price(110 * 64 + 33) == 110.515625


def test_the_previous_day_is_that_of_the_product_s_own_market():
    """On 9 January 2025, a day of mourning, NYSE was closed; crude oil and gold traded a whole day."""
    found = {c: previous_full_rth(session_windows(FRIDAY, "rth", root_of(c))) for c in ("ESH5", "CLG5", "GCG5", "ZNH5", "6EH5")}
    assert {c: f[0].day for c, f in found.items()} == {"ESH5": 8, "CLG5": 9, "GCG5": 9, "ZNH5": 9, "6EH5": 9}
    assert span_text(*found["CLG5"][1:]) == "2025-01-09 09:00 to 14:30 New York"
    assert span_text(*found["ESH5"][1:]) == "2025-01-08 09:30 to 16:00 New York"
    assert previous_full_rth(session_windows(FRIDAY, "rth"))[0] == dt.date(2025, 1, 9)


def test_holidays_half_days_and_weekends():
    for market in MARKETS:
        assert rth_span(dt.date(2025, 1, 20), market) is None  # Martin Luther King day
        assert rth_span(dt.date(2025, 1, 11), market) is None  # a Saturday
    half = dt.date(2025, 11, 28)
    assert clock(rth_span(half)) == "2025-11-28 09:30 to 13:00 New York"
    assert clock(rth_span(half, "energy")) == "2025-11-28 09:00 to 13:30 New York"
    assert clock(rth_span(half, "rates")) == "2025-11-28 08:20 to 13:00 New York"
    assert clock(rth_span(dt.date(2025, 11, 25), "metals")) == "2025-11-25 08:20 to 13:30 New York"


def test_metals_have_hours_of_their_own():
    spans = {c: clock(rth_span(FRIDAY, ROOTS[c].market, ROOTS[c].hours)) for c in ("GC", "MGC", "SI", "SIL", "HG", "MHG", "PL", "PA")}
    assert {c: text.split(" ", 1)[1].removesuffix(" New York") for c, text in spans.items()} == {
        "GC": "08:20 to 13:30", "MGC": "08:20 to 13:30", "SI": "08:25 to 13:25", "SIL": "08:25 to 13:25",
        "HG": "08:10 to 13:00", "MHG": "08:10 to 13:00", "PL": "08:20 to 13:05", "PA": "08:30 to 13:00",
    }  # fmt: skip
    w = session_windows(FRIDAY, "day", ROOTS["HG"])
    assert span_text(w.trading_start_ns, w.trading_end_ns, FRIDAY) == "08:10 to 13:00 New York"
    assert span_text(*previous_full_rth(w)[1:]) == "2025-01-09 08:10 to 13:00 New York"


@pytest.mark.parametrize(
    ("date", "closes"),
    [
        ("2023-04-07", "11:15"), ("2021-04-02", "11:15"), ("2015-04-03", "11:15"), ("2026-04-03", "11:15"),
        ("2024-03-29", None), ("2025-04-18", None),
    ],
)  # fmt: skip
def test_rates_and_currencies_trade_on_a_good_friday_with_payrolls(date: str, closes: str | None):
    day = dt.date.fromisoformat(date)
    for market in ("rates", "fx"):
        span = rth_span(day, market)
        assert (span is None) == (closes is None)
        assert span is None or span_text(*span, day) == f"08:20 to {closes} New York"
    for market in ("equity", "energy", "metals"):
        assert rth_span(day, market) is None


def test_beyond_the_calendar_no_date_is_told():
    with pytest.raises(SessionError, match="2099-01-05: expected a date of the calendar, 2005-01-03 to "):
        session_windows(dt.date(2099, 1, 5), "day", ROOTS["ES"])


@pytest.mark.parametrize("date", ["2025-11-28", "2024-12-24", "2025-07-03"])
def test_a_session_of_the_regular_hours_ends_with_a_half_day(date: str):
    day = dt.date.fromisoformat(date)
    spans = {}
    for profile in ("day", "afternoon"):
        for code in ("ES", "CL", "ZN"):
            w = session_windows(day, profile, ROOTS[code])
            assert w.trading_end_ns == w.ladder_end_ns
            spans[profile, code] = span_text(w.ladder_start_ns, w.ladder_end_ns, day).removesuffix(" New York")
    assert spans == {
        ("day", "ES"): "09:00 to 13:00", ("day", "CL"): "08:30 to 13:30", ("day", "ZN"): "07:50 to 13:00",
        ("afternoon", "ES"): "12:30 to 13:00", ("afternoon", "CL"): "12:30 to 13:30", ("afternoon", "ZN"): "12:30 to 13:00",
    }  # fmt: skip
    w = session_windows(day, "rth", ROOTS["ES"])
    assert span_text(w.trading_start_ns, w.trading_end_ns, day) == "09:30 to 12:30 New York"


@pytest.mark.parametrize(
    ("date", "profile", "code", "found"),
    [
        ("2025-01-20", "day", "ES", "equity market for a session `day`, it has none: a holiday or a weekend"),
        ("2025-06-19", "afternoon", "CL", "energy market for a session `afternoon`, it has none"),
        ("2023-04-07", "afternoon", "6E", "fx market for a session `afternoon`, it closes at 11:15"),
    ],
)
def test_there_is_no_session_of_regular_hours_without_regular_hours(date: str, profile: str, code: str, found: str):
    day = dt.date.fromisoformat(date)
    with pytest.raises(NoData, match=found):
        session_windows(day, profile, ROOTS[code])
    assert session_windows(day, "rth", ROOTS[code]).trading_end_ns == to_ns(day, dt.time(12, 30))


def test_overnight_ends_at_the_open_of_the_product_s_own_market():
    ends = {c: session_windows(FRIDAY, "rth", ROOTS[c]).overnight_end_ns for c in ("ES", "CL", "GC", "HG", "ZN", "6E")}
    assert {c: clock_text(ns, FRIDAY) for c, ns in ends.items()} == {
        "ES": "09:30", "CL": "09:00", "GC": "08:20", "HG": "08:10", "ZN": "08:20", "6E": "08:20",
    }  # fmt: skip
    assert clock_text(session_windows(FRIDAY, "globex_open", ROOTS["CL"]).overnight_end_ns) == "2025-01-11 09:00"


def test_the_venue_may_be_closed_on_the_afternoons_of_holidays_and_half_days():
    own = "lunch@04:00-09:30,09:30-14:00,09:00,15,1"
    spans = {}
    for date in ("2025-11-28", "2025-01-20", "2023-04-07", "2025-01-10", "2025-01-09"):
        day = dt.date.fromisoformat(date)
        span = closed_span(session_windows(day, own, ROOTS["ES"]))
        spans[date] = span and span_text(*span, day)
    assert spans == {
        "2025-11-28": "13:00 to 18:00 New York", "2025-01-20": "13:00 to 18:00 New York", "2023-04-07": "09:15 to 18:00 New York",
        "2025-01-10": None, "2025-01-09": None,
    }  # fmt: skip
    assert closed_span(session_windows(dt.date(2025, 11, 28), "rth", ROOTS["ES"])) is None


def test_profiles_of_the_regular_hours_are_those_of_the_product():
    spans = {}
    for profile in PROFILES:
        for code in ("ES", "CL"):
            w = session_windows(FRIDAY, profile, ROOTS[code])
            spans[profile, code] = span_text(w.ladder_start_ns, w.ladder_end_ns, FRIDAY)
    assert spans == {
        ("rth", "ES"): "09:00 to 12:30 New York", ("rth", "CL"): "09:00 to 12:30 New York",
        ("globex_open", "ES"): "17:50 to 21:15 New York", ("globex_open", "CL"): "17:50 to 21:15 New York",
        ("afternoon", "ES"): "12:30 to 16:00 New York", ("afternoon", "CL"): "12:30 to 14:30 New York",
        ("day", "ES"): "09:00 to 16:00 New York", ("day", "CL"): "08:30 to 14:30 New York",
    }  # fmt: skip
    w = session_windows(FRIDAY, "afternoon", ROOTS["ES"])
    assert clock_text(w.opening_range_end_ns, FRIDAY) == "09:45"
    assert clock_text(w.premarket_end_ns, FRIDAY) == "09:30"
    assert session_windows(FRIDAY, "day", ROOTS["CL"]).market == "energy"


def test_a_session_of_one_s_own(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text(FILE_EXAMPLE)
    text = profile_text(str(own))
    assert text == "lunch@04:00-09:30,09:30-14:00,11:00,15,1"
    # Its name says all of it, so that a lake needs no file to know it again.
    assert profile_text(text) == text == profile_named(text).name
    w = session_windows(FRIDAY, text, ROOTS["ES"])
    assert span_text(w.ladder_start_ns, w.ladder_end_ns, FRIDAY) == "11:00 to 14:00 New York"
    assert w.globex_start_ns == to_ns(dt.date(2025, 1, 9), dt.time(18))
    assert profile_text("morning") == "rth"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("night", "expected one of rth, globex_open, afternoon, day, morning"),
        ("x@04:00-09:30,09:30-14:00,25:00,15,1", "expected times such as 09:30"),
        ("x@04:00-09:30,14:00-09:30,09:00,15,1", "within one Globex day"),
        ("x@04:00-09:30,09:30-17:30,09:00,15,1", "within one Globex day"),
        ("x@16:00-17:00,18:00-20:00,17:50,15,0", "within one Globex day"),
        ("x@04:00-09:30,09:30-14:00,14:00,15,1", "within one Globex day"),
    ],
)
def test_what_is_no_session_is_refused(text: str, said: str):
    with pytest.raises(UnknownProfile, match=said):
        profile_text(text)


@pytest.mark.parametrize("content", ["", "name: x", "[1, 2]", "name: x\npremarket: 4"])
def test_a_file_that_is_no_session_shows_one(content: str, tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text(content)
    with pytest.raises(UnknownProfile, match="opening_range_minutes: 15"):
        profile_text(str(own))
    with pytest.raises(UnknownProfile, match="No such file"):
        profile_text(str(tmp_path / "none.yaml"))


def test_a_user_adds_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "roots.yaml"
    monkeypatch.setenv(OWN_ROOTS, str(path))
    with pytest.raises(UnknownRoot, match=r"ES, MES, .*tick, multiplier and months, in .*roots.yaml: `HE: "):
        root_of("HEZ5")
    path.write_text("HE: {name: Lean Hogs, tick: 0.025, multiplier: 400, months: GJKMNQVZ, market: metals}\n")
    assert root_of("HEZ5") == known_roots()["HE"]
    assert root_of("HE").tick_fixed == 25_000_000
    assert split_contract("HEH5") is None  # no March contract
    before = code_versions("HEZ5")
    assert own_root("ESZ5") == {}
    path.write_text("HE: {name: Lean Hogs, tick: 0.05, multiplier: 400, months: GJKMNQVZ, market: metals}\n# changed\n")
    assert root_of("HE").tick_size == 0.05
    assert code_versions("HEZ5")[0] != before[0]
    of_metals = own_root("HEZ5")
    path.write_text(OWN_ROOT_EXAMPLE.replace("tick: 0.025", "tick: 0.05"))
    assert root_of("HE").hours == (dt.time(9, 30), dt.time(14, 5))
    w = session_windows(FRIDAY, "day", root_of("HEG5"))
    assert span_text(w.trading_start_ns, w.trading_end_ns, FRIDAY) == "09:30 to 14:05 New York"
    assert own_root("HEZ5") != of_metals


def test_a_root_of_the_product_s_own_is_not_another_in_a_user_s_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "roots.yaml"
    monkeypatch.setenv(OWN_ROOTS, str(path))
    path.write_text("ES: {name: mine, tick: 0.5, multiplier: 50, months: HMUZ, market: equity}\n")
    for ask in (known_roots, own_roots):
        with pytest.raises(UnknownRoot, match="ES: is known without this file, as E-mini S&P 500; take that line out"):
            ask()


@pytest.mark.parametrize(
    "line",
    [
        "HE: 3", "HE: {name: x}", "- HE", "HE: {name: x, tick: 0, multiplier: 1, months: Z, market: fx}",
        "HE: {name: x, tick: 0.025, multiplier: 1, months: ABC, market: fx}",
        "HE: {name: x, tick: 0.025, multiplier: 1, months: Z, market: no}",
        "TOOLONG: {name: x, tick: 0.025, multiplier: 1, months: Z, market: fx}",
        "HE: {name: x, tick: 0.025, multiplier: 1, months: Z, market: fx, hours: 9-14}",
        "HE: {name: x, tick: 0.025, multiplier: 1, months: Z, market: fx, hours: 14:00-09:00}",
        "HE: {name: x, tick: 0.025, multiplier: 1, months: Z, market: fx, hours: 09:00-17:30}",
        "HE: {name: x, tick: 0.0000000001, multiplier: 1, months: Z, market: fx}",
    ],
)  # fmt: skip
def test_a_file_of_roots_that_cannot_be_understood_is_named(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "roots.yaml"
    monkeypatch.setenv(OWN_ROOTS, str(path))
    path.write_text(line + "\n")
    with pytest.raises(UnknownRoot, match="expected lines such as"):
        own_roots()
