"""The audit on simulated mornings: events, the truth at them, the oracle, and what is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from engine.errors import NoData
from engine.mbo.replay import LadderReplay
from engine.retrieval.walk_forward import schedule, scored_labels
from engine.sessions import to_ns
from engine.simulate.day import Day
from engine.simulate.fidelity import columns_of
from engine.simulate.market_audit import MarketReport, audit_market, market_params, oracle
from engine.simulate.mornings import END, START, MarketEvents, make_morning, market_events, morning_date, morning_params, regimes_at

MORNINGS = 20
PARAMS = morning_params(seed=31, kappa=5.0, gamma=2.0, rate=0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mornings")


@pytest.fixture(scope="module")
def market(folder: Path) -> MarketEvents:
    return market_events(MORNINGS, PARAMS, folder)


def test_a_morning_has_the_ladder_of_its_whole_day() -> None:
    """The main contract runs alone in a morning; its file's other contracts change nothing."""
    made = make_morning(1, PARAMS)
    date = morning_date(1)
    day = Day(date, PARAMS.model_copy(update={"seed": PARAMS.seed + 1}))
    start, end = to_ns(date, START), to_ns(date, END)
    replay = LadderReplay({day.main_id: day.main_symbol}, start, end)
    for words in day.chunks():
        replay.feed(columns_of(words, day.main_id))
        if words[-1, 1] > end:
            break
    whole = replay.finish()[day.main_symbol]
    assert made.rows.equals(whole.rows)
    assert made.tape.equals(whole.tape)
    assert made.truth.height > 5
    assert made.trades.height > 1000
    assert made.levels()["level_tick"].to_list() == list(range(made.levels()["level_tick"][0], 10**9, 40))[: made.levels().height]


def test_the_regime_at_a_trigger_is_that_of_its_level_and_moment() -> None:
    truth = pl.DataFrame(
        {
            "level_tick": [40, 40, 80], "approach": ["approach_up", "approach_down", "approach_up"], "regime": ["hold", "pull", "chop"],
            "start_ts_ns": [10, 50, 0], "touch_ts_ns": [20, None, 5], "end_ts_ns": [40, 90, 10],
        }
    )  # fmt: skip
    asked = [
        (9, 40, "up"),
        (15, 40, "up"),
        (20, 40, "up"),
        (21, 40, "up"),
        (40, 40, "up"),
        (60, 40, "up"),
        (60, 40, "down"),
        (15, 80, "up"),
    ]
    frame = pl.DataFrame(
        [(end, tick, f"price:{tick}", f"approach_{way}") for end, tick, way in asked],
        schema=["window_end_ts_ns", "level_tick", "level_id", "approach"],
        orient="row",
    )
    regime, what = regimes_at(frame, truth)
    assert regime.to_list() == [None, "hold", "hold", "hold", None, "pull", "pull", None]
    assert what.to_list() == [None, "live", "live", "touched", None, "other way", "live", None]
    # A level that moves is known by its name.
    moved = regimes_at(frame.with_columns(level_tick=pl.lit(7)), truth.with_columns(level_id=pl.lit("price:80")))
    assert [r.to_list() for r in moved] == [[*[None] * 7, "hold"], [*[None] * 7, "live"]]


def test_events_of_mornings_are_sessions_in_order_and_are_kept(market: MarketEvents, folder: Path) -> None:
    frame = market.means.frame
    assert np.array_equal(market.means.session_codes, np.sort(market.means.session_codes))
    assert len(np.unique(market.means.sessions)) == MORNINGS
    assert frame["trigger_id"].n_unique() == frame.height
    assert frame["trigger_id"].to_list() == market.wall.frame["trigger_id"].to_list()
    assert set(frame["kind"]) == {"arm"}
    assert 0.05 < market.live.mean() < 0.9
    was = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.parquet")}
    again = market_events(MORNINGS, PARAMS, folder)
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("*.parquet")} == was
    assert np.array_equal(again.wall.matrix, market.wall.matrix, equal_nan=True)


def test_the_oracle_learns_from_earlier_mornings_alone(market: MarketEvents) -> None:
    params = market_params(MORNINGS)
    blocks = schedule(market.means.sessions, scored_labels(market.means, "class", params), params)[:1]
    told = oracle(market, blocks, params)
    early = market.means.sessions <= blocks[0].sessions[0]
    cut = oracle(market.take(early), blocks, params)
    scored = np.isfinite(cut).all(axis=1)
    assert scored.any()
    assert np.allclose(told[early][scored], cut[scored], rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def report(market: MarketEvents) -> MarketReport:
    return audit_market(market, market_params(MORNINGS), only=("wall",))


def test_the_oracle_has_an_edge_and_every_forecaster_its_rows(report: MarketReport) -> None:
    """What walls take of it is asked of many mornings, by the long tests below."""
    best, wall = report.row("oracle"), report.row("wall")
    assert best.low > 0
    assert best.share == 1
    assert wall.share == pytest.approx(wall.skill / best.skill, abs=0.2), "abstentions aside"
    assert report.row("pi").skill == 0
    assert report.row("oracle", "live").skill > best.skill, "where a regime lives the oracle knows more"
    assert report.to_json()["rows"][0]["pool"] == "all"
    assert report.labelled > report.live > 0


def test_wall_features_tell_regimes_that_hold_from_those_that_give_way(market: MarketEvents) -> None:
    """Cross-fitted by mornings, where a regime lives."""
    use = market.live & market.wall.usable & (market.regime != "chop")
    x, holds, group = market.wall.matrix[use], np.isin(market.regime[use], ["hold", "absorb"]), market.wall.session_codes[use] % 4
    scores = np.empty(len(x))
    for g in range(4):
        fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x[group != g], holds[group != g])
        scores[group == g] = fitted.decision_function(x[group == g])
    assert len(x) > 100
    assert roc_auc_score(holds, scores) > 0.75


def test_dealt_outcomes_leave_nothing_to_find(market: MarketEvents) -> None:
    assert audit_market(market, market_params(MORNINGS), only=("wall",), permute_seed=5).row("wall").low <= 0


def test_too_few_mornings_are_told(market: MarketEvents) -> None:
    few = market.take(market.means.sessions < market.means.sessions[0] + np.timedelta64(4, "D"))
    with pytest.raises(NoData, match="found 4 mornings; make more"):
        audit_market(few, market_params(4))


BARS = {"all": 0.40, "live": 0.50}


@pytest.mark.long
@pytest.mark.parametrize(
    ("walls", "bars"), [((0, 1, 2), BARS), ((0,), {"all": 0.25}), ((0, 1, 2, 3, 4, 5), {"all": 0.25}), ((0, 2, 4), {"all": 0.25})]
)
def test_walls_take_their_share_of_many_mornings(walls: tuple[int, ...], bars: dict[str, float], tmp_path: Path) -> None:
    """About 6,000 labelled events each; mornings that nothing was tuned on."""
    params = morning_params(seed=52_000 + 1000 * sum(walls), kappa=1.0, wall=walls)
    found = audit_market(market_events(240, params, tmp_path), market_params(240), only=("wall",))
    for pool, bar in bars.items():
        share = found.row("wall", pool).share
        assert share is not None
        assert share >= bar, pool


@pytest.mark.long
@pytest.mark.parametrize("planted", [{"kappa": 0.0}, {"kappa": 1.0, "gamma": 0.0}])
def test_markets_without_consequence_have_no_edge(planted: dict[str, float], tmp_path: Path) -> None:
    """Twenty markets of twenty-four mornings each: without regimes, and with regimes that move no price."""
    above = 0
    for k in range(20):
        params = morning_params(seed=71_000 + 100 * k, **planted)
        found = audit_market(market_events(24, params, tmp_path / str(k)), market_params(24), only=("wall",))
        above += found.row("wall").low > 0
    assert above <= 1


@pytest.mark.long
def test_dealt_outcomes_have_no_edge_in_twenty_deals(tmp_path: Path) -> None:
    """A market of regimes whose mornings' outcomes are dealt out to other mornings, twenty times."""
    market = market_events(40, morning_params(seed=73_000, kappa=1.0), tmp_path)
    rows = [audit_market(market, market_params(40), only=("wall",), permute_seed=k).row("wall") for k in range(20)]
    assert sum(r.low > 0 for r in rows) <= 1
