"""What the screen reads of options at an instant, against plain loops over the same tables, and cut there."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.errors import ContractError
from engine.lake.catalog import FLOW, OPTION_LEVELS, PROFILE, dataset
from engine.options.flow import FLOW_COLUMNS
from engine.options.lead import option_lead
from engine.options.profile import PARTS, RULES, SCOPES
from engine.options.reading import SessionOptions, hedge_of
from engine.params import OptionLeadParams
from tests.reference import option_reading_twin as twin

NS = 10**9
START = 1_756_904_400 * NS
MINUTES, ROWS = 24, 31
KNOWN_NS, LATER_NS = START - 7 * 3600 * NS, START + 10 * 60 * NS
PARAMS = OptionLeadParams(memory_s=60)
UP = ("call_bought", "put_sold")
CALLS = ("call_bought", "call_sold")


def tables(seed: int = 3) -> dict[str, pl.DataFrame]:
    """Made-up tables: gamma that changes its sign from price to price and from minute to minute, and trades at four strikes."""
    rng = np.random.default_rng(seed)
    profile = []
    for m in range(MINUTES):
        if m in (11, 12):  # no book, no marks
            continue
        total = rng.normal(0, 40, (ROWS, 4)).cumsum(axis=0) * (0, 0, 1, 1) + rng.uniform(50, 250, (ROWS, 4)) * (1, 1, 0, 0)
        for s, scope in enumerate(SCOPES):
            for r in range(ROWS):
                made = dict(zip(PARTS, (total[r] * (s + 1) / 3).tolist()))
                at = {"minute_ts_ns": START + m * 60 * NS, "scope": scope, "price": 6785.0 + m // 8 + r}
                known = {"oi_as_of_ts_ns": KNOWN_NS if m < 10 else LATER_NS, "contracts_used": 100 + m, "contracts_dropped": s}
                profile.append({**at, **made, **known})
    flow = []
    for w in range(MINUTES * 12):
        for strike in (6790.0, 6795.0, 6800.0, 6830.0):
            for bucket in ("0dte", "week", "rest"):
                if rng.random() < 0.3:
                    turn = 3 * np.sin(w / 25)
                    lots = {c: float(rng.poisson((4 + (turn if c in UP else -turn)) * (1.5 if c in CALLS else 1))) for c in FLOW_COLUMNS}
                    span = {"window_start_ts_ns": START + w * 5 * NS, "window_end_ts_ns": START + (w + 1) * 5 * NS}
                    flow.append(
                        {**span, "strike": strike, "expiry_bucket": bucket, **lots, **{f"{c}_es": 0.4 * v for c, v in lots.items()}}
                    )
    levels = [
        {
            "level_id": i, "scope": scope, "rule": rule, "start_ts_ns": START + a * 60 * NS, "end_ts_ns": START + (a + 6) * 60 * NS,
            "price": 6790.0 + j + a,
        }
        for j, (i, rule) in enumerate([("call_wall", "oi"), ("put_wall", "oi"), *(("zero_gamma", r) for r in RULES)])
        for scope in SCOPES for a in (1, 7, 15)
    ]  # fmt: skip
    return {
        "profile": pl.DataFrame(profile, schema=dataset(PROFILE).contract().schema()),
        "flow": pl.DataFrame(flow, schema=dataset(FLOW).contract().schema()),
        "levels": pl.DataFrame(levels, schema=dataset(OPTION_LEVELS).contract().schema()),
        "marks": pl.DataFrame({"minute_ts_ns": [START, START, START], "strike": [6790.0] * 3, "iv_source": ["mid", "mid", "settlement"]}),
        "chain": pl.DataFrame({"oi_ref_date": [dt.date(2025, 9, 2), dt.date(2025, 9, 3)], "oi_ts_ns": [KNOWN_NS, LATER_NS]}),
    }


def options_of(frames: dict[str, pl.DataFrame]) -> SessionOptions:
    return SessionOptions(frames["profile"], frames["levels"], frames["flow"], lambda: frames["marks"], frames["chain"])


INSTANTS = [START + s * NS for s in (0, 59, 60, 61, 333, 664, 719, 780, 1001, 1439, 1502)]


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, pl.DataFrame], SessionOptions]:
    frames = tables()
    return frames, options_of(frames)


def test_what_is_read_is_what_the_tables_say(made) -> None:
    frames, options = made
    rows = {k: frames[k].to_dicts() for k in ("levels", "chain")}
    told: set[tuple[Any, ...]] = set()
    for n, now in enumerate(INSTANTS):
        i, scope = options.minute(now), SCOPES[n % 3]
        profile = frames["profile"].filter((pl.col("scope") == scope) & (pl.col("minute_ts_ns") > now - 400 * NS)).to_dicts()
        flow = frames["flow"].filter(pl.col("window_end_ts_ns") > now - 400 * NS).to_dicts()
        for price in (6784.0, 6790.25, 6800.0, 6815.5):
            named = twin.named_at(flow, now, scope, price, PARAMS)
            parts, said = twin.gamma_at(profile, now, scope, price), {}
            for rule in RULES:
                lead = option_lead(options, now, price, scope=scope, rule=rule, params=PARAMS)
                if parts is None:
                    assert lead is None
                    continue
                assert lead is not None
                said[rule] = twin.net_of(parts, rule)
                np.testing.assert_allclose(lead.gamma[rule], said[rule], rtol=1e-9, atol=1e-9)
                assert lead.side == twin.side_at(profile, now, scope, rule, price, PARAMS.share, PARAMS.memory_s)
                assert (lead.flow, lead.mostly, lead.strikes) == named
                told.add((lead.side, lead.flow, bool(lead.strikes), lead.mostly))
            if parts is not None:
                assert i is not None
                np.testing.assert_allclose(options.parts(i, scope, np.array([price]))[0], parts, rtol=1e-9)
                assert options.oi_date(i) == twin.oi_date(rows["chain"], options.oi_ns[i])
        for seconds in (60, 300):
            found, want = options.flow(now, seconds, scope), twin.flow_at(flow, now, seconds, scope)
            for k, strike in enumerate(found.strike.tolist()):
                got = (found.up[k], found.down[k], found.unsigned[k])
                np.testing.assert_allclose(got, want.get(strike, (0.0, 0.0, 0.0)), atol=1e-9)
        for rule in RULES:
            assert options.levels_at(now, scope, rule) == twin.levels_at(rows["levels"], now, scope, rule)
    assert {s for s, *_ in told} == {-1, 0, 1}, "all sides are met"
    assert {f for _, f, *_ in told} == {"", "up", "down"}
    assert {(f, there) for _, f, there, _ in told} == {("", False), ("up", True), ("up", False), ("down", True), ("down", False)}
    assert {m for *_, m in told} >= {"", "calls bought", "calls sold"}


def test_nothing_after_an_instant_changes_what_is_read_at_it(made) -> None:
    frames, options = made
    for now in INSTANTS:
        cut = options_of({
            **frames, "profile": frames["profile"].filter(pl.col("minute_ts_ns") <= now),
            "flow": frames["flow"].filter(pl.col("window_end_ts_ns") <= now),
            # A step that has begun is known, its end is not.
            "levels": frames["levels"].filter(pl.col("start_ts_ns") <= now).with_columns(
                pl.when(pl.col("end_ts_ns") > now).then(now + 10**15).otherwise("end_ts_ns").alias("end_ts_ns")
            ),
        })  # fmt: skip
        for scope in SCOPES:
            for rule in RULES:
                assert cut.levels_at(now, scope, rule) == options.levels_at(now, scope, rule)
                for price in (6790.0, 6803.25):
                    ask = (now, price)
                    assert option_lead(cut, *ask, scope=scope, rule=rule) == option_lead(options, *ask, scope=scope, rule=rule)


def test_sources_of_volatility_are_counted_by_strike(made) -> None:
    _, options = made
    assert options.sources(0) == {6790.0: {"mid": 2, "settlement": 1}}
    assert options.sources(3) == {}


def flow_of(rows: list[tuple[float, str, float]]) -> pl.DataFrame:
    """Trades of one window at strikes: which strike, which kind, how many contracts of the future."""
    zero = {f"{c}{unit}": 0.0 for c in FLOW_COLUMNS for unit in ("", "_es")}
    span = {"window_start_ts_ns": START + 60 * NS, "window_end_ts_ns": START + 65 * NS, "expiry_bucket": "week"}
    made = [{**span, "strike": k, **zero, kind: n, f"{kind}_es": n} for k, kind, n in rows]
    return pl.DataFrame(made, schema=dataset(FLOW).contract().schema())


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([(6800.0, "put_sold", 50.0)], ("up", "puts sold", (6800.0,))),
        ([(6800.0, "call_sold", 50.0), (6790.0, "call_bought", 10.0)], ("down", "calls sold", (6800.0,))),
        ([(6800.0, "call_bought", 30.0), (6800.0, "put_sold", 30.0)], ("up", "", (6800.0,))),
        ([(6780.0 + 5 * i, "put_bought", 20.0) for i in range(8)], ("down", "puts bought", ())),
        ([(6800.0, "call_bought", 50.0), (6800.0, "call_sold", 48.0)], ("", "", ())),
    ],
)
def test_what_is_named_is_what_was_traded(made, rows: list[tuple[float, str, float]], named: tuple[Any, ...]) -> None:
    frames, _ = made
    flow = flow_of(rows)
    lead = option_lead(options_of({**frames, "flow": flow}), START + 66 * NS, 6800.0, scope="all", rule="hybrid", params=PARAMS)
    assert lead is not None
    assert (lead.flow, lead.mostly, lead.strikes) == named == twin.named_at(flow.to_dicts(), START + 66 * NS, "all", 6800.0, PARAMS)


def test_what_is_not_known_is_not_told(made) -> None:
    frames, _ = made
    none_today = pl.when(pl.col("scope") == "0dte").then(0)
    changed = frames["profile"].with_columns(
        *(none_today.otherwise(pl.col(c)).cast(frames["profile"].schema[c]).alias(c) for c in (*PARTS, "contracts_used")),
    )
    before = changed.with_columns(
        pl.lit(None, pl.Int64).alias("oi_as_of_ts_ns"), *(pl.lit(0.0).alias(c) for c in PARTS[:2]),
        *(pl.when(pl.col("minute_ts_ns") > START).then(c).otherwise(0.0).alias(c) for c in PARTS[2:]),
    )  # fmt: skip
    known, unknown = (options_of({**frames, "profile": p}) for p in (changed, before))
    for rule in RULES:
        ask = {"rule": rule, "params": PARAMS}
        assert option_lead(known, START, 6800.0, scope="0dte", **ask) is None, "of no options nobody hedges"
        assert np.isnan(list(known.by_rule(0, "0dte", 6800.0).values())).all()
        lead, first, later = (
            option_lead(*a, 6800.0, scope="week", **ask) for a in ((known, START), (unknown, START), (unknown, START + 60 * NS))
        )
        assert lead is not None
        assert set(lead.gamma) == set(RULES)
        assert first is None, "neither open interest nor trades"
        assert (None if later is None else set(later.gamma)) == (None if rule == "naive" else {"flow", "hybrid"})
        assert later is None or not later.disagree


def test_a_profile_with_other_prices_in_a_minute_is_named(made) -> None:
    profile = made[0]["profile"]
    first, second = (pl.col("minute_ts_ns").eq(START + s * NS) & (pl.col("scope") == "week") for s in (0, 60))
    low = pl.col("price") < 6788
    moved = pl.concat([profile.filter(~(second & low)), profile.filter(first & low)])
    assert moved.height == profile.height, "counted in all, nothing is missing"
    with pytest.raises(ContractError, match=r"expected 31 prices in each minute and scope, found \d+ of .+ at minute_ts_ns \d+"):
        options_of({**made[0], "profile": moved})
    with pytest.raises(ContractError, match="expected 3 scopes in each of 22 minutes, 66 in all, found 65"):
        options_of({**made[0], "profile": profile.filter(~second)})


def test_a_rule_is_a_sum_of_the_parts() -> None:
    parts = np.array([[100.0, 40.0, -7.0, 3.0]])
    assert [tuple(float(v[0]) for v in hedge_of(parts, rule)) for rule in RULES] == [(100.0, -40.0), (-7.0, 3.0), (93.0, -37.0)]
