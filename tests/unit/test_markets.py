"""Roots, markets with their regular hours and calendars, and session profiles: of the product's own, and of a user's file."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from engine.errors import UnknownProfile, UnknownRoot
from engine.sessions import (
    FILE_EXAMPLE,
    MARKETS,
    PROFILES,
    clock_text,
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
from engine.vocab import MARKET_NAMES, OWN_ROOTS, PRICE_SCALE, ROOTS, known_roots, own_roots, root_of, split_contract

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


@pytest.mark.parametrize(
    "line",
    [
        "HE: 3", "HE: {name: x}", "- HE", "HE: {name: x, tick: 0, multiplier: 1, months: Z, market: fx}",
        "HE: {name: x, tick: 0.025, multiplier: 1, months: ABC, market: fx}",
        "HE: {name: x, tick: 0.025, multiplier: 1, months: Z, market: no}",
        "TOOLONG: {name: x, tick: 0.025, multiplier: 1, months: Z, market: fx}",
        "HE: {name: x, tick: 0.0000000001, multiplier: 1, months: Z, market: fx}",
    ],
)  # fmt: skip
def test_a_file_of_roots_that_cannot_be_understood_is_named(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "roots.yaml"
    monkeypatch.setenv(OWN_ROOTS, str(path))
    path.write_text(line + "\n")
    with pytest.raises(UnknownRoot, match="expected lines such as"):
        own_roots()
