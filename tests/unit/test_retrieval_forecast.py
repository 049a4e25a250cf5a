"""Forecasts: against a twin, without look-ahead to the bit, and honest about having nothing to say."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from engine.errors import ContractError, NoData
from engine.params import RetrievalParams, SignalRuleParams
from engine.retrieval.events import CLASSES, Events, concat_events, events_from_frame, level_kind
from engine.retrieval.forecast import apply_signal_rule, before_embargo, candidates, forecast_frame, forecast_table, travel_excursions
from engine.retrieval.model import fit, fit_before, forecast
from engine.retrieval.reference import fit_reference, reference_from_json
from tests.reference import retrieval_twin as twin
from tests.support.retrieval import gold_frame, tier_a, with_columns

PARAMS = RetrievalParams(min_events=100, min_sessions=6, tune_queries=200, k_grid=(30, 60), power_grid=(1.0, 8.0), residual_grid=(0.1,))


@pytest.fixture(scope="module")
def events() -> Events:
    return tier_a(500)[0]


def on(events: Events, which: np.ndarray) -> Events:
    return events.take(np.isin(events.sessions, which))


def test_plain_forecast_is_the_twin(events: Events) -> None:
    past, queries = events.take(slice(0, 300)), events.take(slice(340, 346))
    model = fit(past, PARAMS, recipe="plain")
    answer = forecast(model, queries)
    t = model.tuned
    history = past.matrix.astype(float).tolist()
    placed = twin.normalised([*history, *queries.matrix.astype(float).tolist()], history, PARAMS.clip)
    labels = past.labels("h1").tolist()
    for q in range(len(queries)):
        near = twin.neighbours(placed[300 + q], placed[:300], past.sessions, past.frame["episode_id"], [True] * 300, t.k, PARAMS.cap)
        expected, n_eff = twin.posterior(near, labels, answer.reference[q], t.power, t.alpha)
        assert answer.rows[q][answer.rows[q] >= 0].tolist() == [i for i, _ in near]
        np.testing.assert_allclose(answer.probability[q], expected, atol=1e-5)
        np.testing.assert_allclose(answer.n_eff[q], n_eff, rtol=1e-4)


def test_trigger_metrics_are_the_twins(events: Events) -> None:
    past, queries = events.take(slice(0, 300)), events.take(slice(340, 344))
    model = fit_before(past, PARAMS, "best")[0]
    answer = forecast(model, queries)
    frame = forecast_frame(events.take(slice(0, 320)), queries, PARAMS)
    # The frame's history ends at the embargo: rows 0 to 300 are the sessions before it.
    assert before_embargo(events.take(slice(0, 320)).sessions, queries.sessions[0], 1) == events.sessions[300]
    top = answer.probability.argmax(axis=1)
    for q, row in enumerate(frame.iter_rows(named=True)):
        rows = answer.rows[q][answer.rows[q] >= 0]
        w = answer.weights[q][: len(rows)]
        f = past.frame[rows]
        same = (model.labels[rows] == top[q]).astype(float)
        expected = twin.weighted_quantile(f["adverse_before_hit_ticks"].to_list(), (w * same).tolist(), 0.8)
        assert row["risk_q80_ticks"] == expected
        assert row["c_top1"] == CLASSES[top[q]]
        np.testing.assert_allclose(row["p_top1"], answer.probability[q].max())
        np.testing.assert_allclose(row["whipsaw_rate"], np.average(f["whipsaw_flag"].to_numpy(), weights=w))
        np.testing.assert_allclose(row["resolve_rate"], np.average(model.labels[rows] != 1, weights=w))
        assert row["excursion_ahead_q50_ticks"] == twin.weighted_quantile(f["excursion_up_ticks"].to_list(), w.tolist(), 0.5)
        assert row["distinct_days"] == f["session_date"].n_unique()
        assert row["neighbours"] == len(rows)
        assert row["interval_low"] < row["p_top1"] < row["interval_high"]


def test_nothing_of_a_later_session_changes_a_forecast_to_the_bit(events: Events) -> None:
    days = np.unique(events.sessions)
    query = on(events, days[15:16])
    whole = forecast_frame(events, query, PARAMS)
    assert not whole["nothing_comparable"].all()
    # Every session from the embargo on: taken away, given other vectors, given other outcomes.
    late = events.sessions >= days[14]
    without = forecast_frame(events.take(~late), query, PARAMS)
    # The embargo falls on the last session there is: without day 14, it would fall on day 13.
    kept = events.take(events.sessions <= days[14])
    harmed = Events(np.where(late[:, None], -3 * events.matrix, events.matrix), events.names, events.representation, events.frame)
    other = with_columns(events, pl.when(pl.Series(late)).then(pl.lit("CHOP")).otherwise(pl.col("outcome_h1")).alias("outcome_h1"))
    for history in (kept, harmed, other):
        assert forecast_frame(history, query, PARAMS).equals(whole)
    assert not without.equals(whole)
    # And for every single later session removed:
    for day in (days[15], days[19], days[24]):
        assert forecast_frame(events.take(events.sessions != day), query, PARAMS).equals(whole)


def test_a_session_within_the_embargo_is_no_history(events: Events) -> None:
    days = np.unique(events.sessions)
    query = on(events, days[15:16])
    past = candidates(events, PARAMS)
    assert before_embargo(past.sessions, days[15], 1) == days[14]
    assert before_embargo(past.sessions, days[15], 3) == days[12]
    assert before_embargo(past.sessions, days[15], 0) == days[15]
    assert before_embargo(past.sessions, days[0], 1) == days[0]
    five = forecast_frame(events, query, PARAMS.model_copy(update={"embargo_sessions": 5}))
    assert five.equals(forecast_frame(events.take(events.sessions < days[10]), query, PARAMS.model_copy(update={"embargo_sessions": 0})))


def test_pools_of_a_forecast_are_those_it_was_asked_for(events: Events) -> None:
    days = np.unique(events.sessions)
    queries = on(events, days[20:21])
    few = PARAMS.model_copy(update={"min_events": 30, "min_sessions": 3, "k_grid": (30,)})
    past = events.take(events.sessions < days[19])
    for pool in ("kind", "level"):
        frame = forecast_frame(events, queries, few.model_copy(update={"pool": pool}))
        assert frame["trigger_id"].to_list() == queries.frame["trigger_id"].to_list()
        assert not frame.equals(forecast_frame(events, queries, few))
        same = np.flatnonzero((past.frame["level_id"] == queries.frame["level_id"][4]).to_numpy())
        alone = forecast_frame(past.take(same), queries.take(slice(4, 5)), few.model_copy(update={"embargo_sessions": 0}))
        assert frame[4].equals(alone)  # here each level is the only one of its kind, approached from below alone
    with pytest.raises(ValidationError):
        RetrievalParams(kinds=("arms",))  # type: ignore[arg-type]
    for grid in ({"k_grid": ()}, {"k_grid": (0,)}, {"power_grid": (-1.0,)}, {"alpha_grid": (float("nan"),)}):
        with pytest.raises(ValidationError):
            RetrievalParams(**grid)  # type: ignore[arg-type]


def test_queries_of_many_sessions_come_back_in_their_order(events: Events) -> None:
    days = np.unique(events.sessions)
    queries = on(events, days[12:15]).take(np.array([50, 3, 29, 10]))
    frame = forecast_frame(events, queries, PARAMS)
    assert frame["trigger_id"].to_list() == queries.frame["trigger_id"].to_list()
    assert frame[1:2].equals(forecast_frame(events, queries.take(slice(1, 2)), PARAMS))
    assert forecast_frame(events, queries.take(slice(0, 0)), PARAMS).height == 0


def test_too_few_events_give_the_reference_and_say_so(events: Events) -> None:
    frame = forecast_frame(events.take(slice(0, 60)), events.take(slice(60, 62)), PARAMS)
    assert frame["nothing_comparable"].all()
    assert frame["p_break"].null_count() == 2
    assert frame["c_top1"].null_count() == 2
    assert "found 40 in 2" in frame["reason"][0]
    np.testing.assert_allclose(frame.select("pi_break", "pi_reject", "pi_chop").sum_horizontal(), 1.0)
    none = forecast_frame(events.take(slice(0, 20)), events.take(slice(0, 1)), PARAMS)
    assert none["pi_break"].null_count() == 1
    assert "found 0 in 0" in none["reason"][0]


def test_vectors_that_point_nowhere_are_neither_asked_nor_answered(events: Events) -> None:
    matrix = events.matrix.copy()
    matrix[[480, 481, 10]] = np.nan
    matrix[482] = 0
    broken = Events(matrix, events.names, events.representation, events.frame)
    frame = forecast_frame(broken, broken.take(slice(480, 484)), PARAMS)
    assert frame["reason"].to_list()[:3] == ["no vector"] * 3
    assert frame["nothing_comparable"].to_list() == [True, True, True, frame["nothing_comparable"][3]]
    np.testing.assert_allclose(frame.select("p_break", "p_reject", "p_chop").sum_horizontal(), 1.0)
    # With no neighbour at all the posterior is the reference.
    np.testing.assert_allclose(frame["p_break"][0], frame["pi_break"][0])
    assert 10 not in fit(broken.take(slice(0, 400)), PARAMS).history.frame["trigger_id"].str.split("/").list.last().cast(int).to_list()
    with pytest.raises(NoData, match="found 0 in 0"):
        fit(Events(np.full_like(matrix, np.nan), events.names, events.representation, events.frame), PARAMS)


def test_what_is_like_nothing_in_history_is_said_to_be(events: Events) -> None:
    model = fit(events.take(slice(0, 400)), PARAMS)
    assert model.embedding is not None
    # A vector that leans on no direction in which history varies, though the embedding places it somewhere all the same.
    axes = model.embedding.axes
    lean = np.random.default_rng(2).normal(size=len(axes))
    lean -= axes @ (axes.T @ lean)
    scaled = 8 * lean / np.abs(lean).max()
    raw = model.normaliser.median + (1.4826 * model.normaliser.mad + 1e-6) * scaled
    odd = Events(raw.astype(np.float32)[None], events.names, "means", events.frame[400:401])
    answer = forecast(model, concat_events([odd, events.take(slice(440, 460))]))
    assert abs(answer.likeness[0]) < 0.01 < model.tuned.abstain_below
    assert answer.nothing_comparable[0]
    assert answer.similarity[0, 0] > answer.likeness[0] + 0.5
    assert forecast_table(model, answer, concat_events([odd, events.take(slice(440, 460))]))["reason"][0] == "nothing like it"
    assert answer.nothing_comparable[1:].mean() < 0.2
    few = forecast(fit(events.take(slice(0, 400)), PARAMS.model_copy(update={"min_n_eff": 500.0})), events.take(slice(450, 452)))
    assert few.nothing_comparable.all()


def test_the_signal_is_found_and_the_noise_is_not() -> None:
    def skill(strength: float) -> float:
        events, _ = tier_a(1200, strength, 5)
        model = fit(events.take(slice(0, 800)), PARAMS)
        answer = forecast(model, events.take(slice(840, 1200)))
        y = events.labels("h1")[840:]
        pick = np.arange(len(y))
        return float(np.log(answer.probability[pick, y] / answer.reference[pick, y]).mean())

    assert skill(2.0) > 0.25
    assert abs(skill(0.0)) < 0.02


def test_history_is_placed_by_discriminants_that_have_not_seen_it() -> None:
    # Labels of noise: placed by a discriminant that has seen them, neighbours would agree with each other; they must not.
    events, _ = tier_a(400, 0.0, 7)
    model = fit(events, PARAMS)
    assert model.embedding is not None
    shares = np.bincount(model.labels) / len(model.labels)
    assert model.tuned.loss > -np.log(shares) @ shares - 0.02


def test_events_read_labels_touches_and_covariates() -> None:
    frame = gold_frame(60)
    events = events_from_frame(frame, [f"x{i}" for i in range(frame["vector_dim"][0])])
    outcome = frame["outcome_h1"].to_list()
    expected = {"REJECT_DOWN": 0, "REJECT_UP": 0, "CHOP": 1, "BREAK_UP": 2, "BREAK_DOWN": 2, "NO_TOUCH": -1}
    assert events.labels("h1").tolist() == [expected[o] for o in outcome]
    assert events.touches().tolist() == [int(o != "NO_TOUCH") for o in outcome]
    undecided = with_columns(events, *(pl.lit(None, pl.String).alias(f"outcome_h{h}") for h in range(7)))
    assert set(undecided.touches()[~frame["touched"].to_numpy()]) == {-1}
    assert events.covariates[:, 0].tolist() == [2.0] * 60
    ahead, behind = travel_excursions(events)
    up = frame["approach"] == "approach_up"
    assert ahead.tolist() == [u if r else d for u, d, r in zip(frame["excursion_up_ticks"], frame["excursion_down_ticks"], up)]
    assert behind.tolist() == [d if r else u for u, d, r in zip(frame["excursion_up_ticks"], frame["excursion_down_ticks"], up)]
    assert [level_kind(x) for x in ("pm_high", "vwap", "price:6800.25", "sma_200")] == ["pm", "vwap", "price", "sma"]
    with pytest.raises(ContractError, match="expected vectors of 2 dimensions"):
        events_from_frame(frame, ["a", "b"])
    first = pl.int_range(pl.len()) < 5
    mixed = frame.with_columns(pl.when(first).then(pl.lit("blocks")).otherwise("representation").alias("representation"))
    with pytest.raises(ContractError, match="expected one representation"):
        events_from_frame(mixed, [f"x{i}" for i in range(frame["vector_dim"][0])])
    with pytest.raises(ContractError, match="missing columns kind"):
        Events(events.matrix, events.names, "means", events.frame.drop("kind"))


def test_reference_finds_a_covariates_effect_and_no_other() -> None:
    events, _ = tier_a(800, 0.0, 3)
    near = events.covariates[:, 0] <= 2
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(800) < np.where(near, 0.8, 0.2), 2, rng.integers(0, 2, 800))
    fitted = fit_reference(events.take(slice(0, 600)), labels[:600], 3)
    p = fitted.predict(events.take(slice(600, 800)))[:, 2]
    assert p[near[600:]].mean() > 0.6
    assert p[~near[600:]].mean() < 0.4
    again = reference_from_json(fitted.to_json()).predict(events.take(slice(600, 800)))
    assert again.tobytes() == fitted.predict(events.take(slice(600, 800))).tobytes()
    # Without any effect it stays by the classes' shares, however many covariates there are.
    noise = rng.integers(0, 3, 800)
    flat = fit_reference(events, noise, 3)
    assert np.abs(flat.predict(events) - flat.prior).mean() < 0.05


def test_reference_of_unknown_volatility_and_of_a_level_never_seen(events: Events) -> None:
    fitted = fit_reference(events, events.labels("h1"), 3)
    odd = with_columns(events.take(slice(0, 3)), pl.lit(None, pl.Float64).alias("sigma"), pl.lit("price:1").alias("level_id"))
    p = fitted.predict(odd)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    short = fit_reference(events.take(slice(0, 10)), events.labels("h1")[:10], 3)
    counts = np.bincount(events.labels("h1")[:10], minlength=3)
    np.testing.assert_allclose(short.predict(odd)[0], (counts + 1) / 13)


def signal(minute: float, episode: str, **values: object) -> dict[str, object]:
    good = {"p_top1": 0.8, "margin": 0.5, "p_chop": 0.1, "c_top1": "break", "risk_q80_ticks": 3.0, "resolve_rate": 0.9, "whipsaw_rate": 0.1}
    base = {"level_id": "pm_high", "episode_id": episode, "window_end_ts_ns": int(minute * 60e9), "nothing_comparable": False}
    return {**base, **good, **values}


def test_fires_once_an_episode_and_pauses() -> None:
    rows = [
        signal(0, "a"),
        signal(5 / 60, "a"),  # spent, and cooling down
        signal(20 / 60, "b"),  # cooling down
        signal(30 / 60, "b"),  # two windows after one that was held back: the same run
        signal(50 / 60, "b"),  # a new run
        signal(51 / 60, "c", level_id="vwap"),  # another level
        signal(5, "d", p_top1=0.69),
        signal(6, "d", margin=0.19),
        signal(7, "d", p_chop=0.36),
        signal(8, "d", risk_q80_ticks=6.5),
        signal(9, "d", risk_q80_ticks=None),
        signal(10, "d", resolve_rate=0.59),
        signal(11, "d", whipsaw_rate=0.26),
        signal(12, "d", c_top1="chop"),
        signal(13, "d", nothing_comparable=True),
        signal(14, "d"),
    ]
    frame = pl.DataFrame(rows, schema_overrides={"risk_q80_ticks": pl.Float64})
    flags = apply_signal_rule(frame)
    assert flags.name == "fire_flag"
    assert [i for i, f in enumerate(flags) if f] == [0, 4, 5, 15]
    shuffled = frame.with_row_index().sample(fraction=1.0, shuffle=True, seed=3)
    assert apply_signal_rule(shuffled).to_list() == [flags[i] for i in shuffled["index"]]
    loose = apply_signal_rule(frame, SignalRuleParams(min_probability=0.6, cool_down_windows=0, gap_windows=0))
    assert [i for i, f in enumerate(loose) if f] == [0, 2, 5, 6]


def test_dates_in_the_frame_are_dates(events: Events) -> None:
    assert events.frame["session_date"].dtype == pl.Date
    assert events.sessions[0].astype(object) == dt.date(2020, 1, 1)
