"""The audit: scores by hand, what is fitted on what, planted and absent signals, and the bars of retrieval.md."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.commands.retrieval import synthetic_blocks, synthetic_events
from engine.errors import NoData, PartitionCorrupt, PartitionMissing
from engine.lake.manifest import canonical, sha256_file, sha256_text
from engine.params import AuditParams, RetrievalParams
from engine.retrieval.audit import CHOICES, Report, _verdict, audit, choose
from engine.retrieval.audit_store import REPORT, TABLE, read_audit, write_audit
from engine.retrieval.events import Events, permute_days
from engine.retrieval.scores import (
    Skill,
    brier_each,
    ece,
    events_needed,
    few_sessions,
    log_loss_each,
    perfect_ece,
    reliability,
    rps_each,
    session_weights,
    skill,
)
from engine.retrieval.walk_forward import AuditData, WalkForwardResult, schedule, serve, walk_neighbours, walk_reference
from engine.runner import spawned_pool
from tests.reference import retrieval_twin as twin
from tests.support.retrieval import tier_a, with_columns

QUICK = AuditParams(
    retrieval=RetrievalParams(min_events=100, min_sessions=6, tune_queries=200, k_grid=(50, 100), residual_grid=(0.1,)), refit_growth=0.6
)


@pytest.fixture(scope="module")
def planted() -> Report:
    return audit(synthetic_events(600, 2.0, 1).data, QUICK)


def test_scores_by_hand() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    y = np.array([0, 0])
    np.testing.assert_allclose(log_loss_each(p, y), -np.log([0.5, 0.1]))
    np.testing.assert_allclose(brier_each(p, y), [0.25 + 0.09 + 0.04, 0.81 + 0.04 + 0.49])
    # Cumulative misses of reject, then reject or chop: (-0.5, -0.2) and (-0.9, -0.7).
    np.testing.assert_allclose(rps_each(p, y), [(0.25 + 0.04) / 2, (0.81 + 0.49) / 2])


def test_ece_is_the_twin_and_zero_where_forecasts_are_right() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 137)
    y = rng.integers(0, 3, 137)
    np.testing.assert_allclose(ece(p, y, 10), twin.ece(p.tolist(), y.tolist(), 10))
    sure = np.tile([1.0, 0.0, 0.0], (20, 1))
    assert ece(sure, np.zeros(20, int), 10) == 0
    assert ece(sure, np.ones(20, int), 10) == 1
    bins = reliability(p, y, 10)
    assert [b["events"] for b in bins] == [14] * 7 + [13] * 3
    assert [b["forecast"] for b in bins] == sorted(b["forecast"] for b in bins)


def test_perfect_ece_is_what_a_perfect_forecaster_shows() -> None:
    # The specification's figures: a perfect one averages 0.064 at 300 events and 0.025 at 2,000.
    rng = np.random.default_rng(1)
    for n, expected in ((300, 0.064), (2000, 0.025)):
        mean, limit = perfect_ece(synthetic_events(n, 1.0, 2).sample.posterior, 10, rng)
        assert abs(mean - expected) < 0.008
        assert mean < limit


def test_skill_and_its_interval() -> None:
    rng = np.random.default_rng(2)
    sessions = np.repeat(np.arange(50), 20)
    codes, counts = session_weights(sessions, 2000, rng)
    reference = rng.uniform(0.8, 1.2, 1000)
    found = skill(reference * 0.9, reference, codes, counts)
    np.testing.assert_allclose([found.value, found.low, found.high], 0.1)
    # An effect that sits in whole sessions is as unsure as there are sessions, not events.
    by_session = np.repeat(rng.normal(0, 0.3, 50), 20)
    wide = skill(reference + by_session, reference, codes, counts)
    each, alone = session_weights(np.arange(1000), 2000, rng)
    assert wide.error > 3 * skill(reference + by_session, reference, each, alone).error
    assert wide.low < wide.value < wide.high


def test_an_interval_from_few_sessions_covers_what_it_says() -> None:
    # Eleven sessions of uneven size with heavy tails, no effect: the plain bootstrap misses 0 in about 9.6% of runs.
    rng = np.random.default_rng(4)
    outside, plain = 0, 0
    for _ in range(400):
        sizes = rng.poisson(40, 11) + 1
        codes = np.repeat(np.arange(11), sizes)
        reference = rng.gamma(8, 1 / 8, len(codes))
        day = 0.02 * rng.standard_t(5, 11)
        found = skill(reference + 0.06 * rng.standard_t(5, len(codes)) + day[codes], reference, *session_weights(codes, 2000, rng))
        outside += found.low > 0 or found.high < 0
        narrow = few_sessions(11)
        plain += found.value - (found.value - found.low) / narrow > 0 or found.value + (found.high - found.value) / narrow < 0
    assert outside <= 0.075 * 400
    assert plain > outside
    assert few_sessions(11) == pytest.approx(np.sqrt(1.1) * 2.2281 / 1.95996, rel=1e-4)


def test_one_session_tells_no_spread() -> None:
    codes, counts = session_weights(np.zeros(20), 2000, np.random.default_rng(0))
    found = skill(np.full(20, 0.9), np.ones(20), codes, counts)
    assert found.value == pytest.approx(0.1)
    assert np.isnan([found.low, found.high, found.error]).all()
    assert np.isnan(few_sessions(1))


def test_a_tie_goes_to_the_simpler() -> None:
    rng = np.random.default_rng(1)
    sessions = np.repeat(np.arange(20), 30)
    base = rng.gamma(8, 1 / 8, 600)
    even = base + rng.normal(0, 0.05, 600)
    losses = {"means": base, "blocks": base + 0.1, "learned": even - even.mean() + base.mean() - 1e-4}
    skills = {n: (1 - x.mean() / 1.1, -0.1, 0.1) for n, x in losses.items()}
    found = choose(losses, skills, sessions)
    assert (found["representation"], found["best"], found["tie"]) == ("means", "learned", True)
    assert found["behind"]["means"] == pytest.approx(1e-4)
    clear = choose(losses | {"learned": base - 0.05}, skills | {"learned": (0.2, 0.1, 0.3)}, sessions)
    assert (clear["representation"], clear["tie"]) == ("learned", False)
    # What one did not answer does not count for it, nor against it.
    few = np.where(np.arange(600) % 2 == 0, np.nan, losses["means"])
    assert choose(losses | {"means": few}, skills, sessions)["representation"] == "means"
    assert choose({}, skills, sessions) == {}


def test_who_abstains_from_the_hard_events_does_not_win_for_that() -> None:
    sessions = np.repeat(np.arange(20), 30)
    hard = np.arange(600) % 3 == 0
    base = np.where(hard, 2.0, 0.5) + np.random.default_rng(2).normal(0, 0.01, 600)
    # `learned` is worse by 0.1 on every event that it answers, and answers the easy ones alone: its skill looks the best by far.
    losses = {"means": base, "learned": np.where(hard, np.nan, base + 0.1)}
    skills = {"means": (0.1, 0.05, 0.15), "learned": (0.4, 0.3, 0.5)}
    found = choose(losses, skills, sessions)
    assert (found["representation"], found["best"], found["events"]) == ("means", "means", 400)
    assert found["behind"] == {"means": 0.0, "learned": pytest.approx(0.1)}
    assert found["skill"] == {"means": 0.1, "learned": 0.4}
    # The simplest of three ties with the best on the events that all three answered, whatever it did elsewhere.
    third = {"means": base, "blocks": np.where(hard, 9.0, base - 0.2), "learned": np.where(hard, np.nan, base + 0.1)}
    assert choose(third, skills | {"blocks": (-3, -4, -2)}, sessions)["best"] == "blocks"
    # No event in common: nothing to compare by, and so no choice. One that never answers is no candidate.
    apart = {"means": np.where(hard, base, np.nan), "learned": np.where(hard, np.nan, base)}
    assert choose(apart, skills, sessions) == {}
    silent = choose({"means": base, "learned": np.full(600, np.nan)}, skills, sessions)
    assert (silent["representation"], list(silent["skill"])) == ("means", ["means"])
    assert choose({"means": np.full(600, np.nan)}, skills, sessions) == {}


def test_what_serves_is_the_first_that_finds_an_effect() -> None:
    def walked(p: float, found: list[bool]) -> WalkForwardResult:
        return WalkForwardResult(np.full((4, 2), p), np.array([p > 0.2] * 4), np.array(found))

    each = {"wall": walked(0.1, [True, False, False, True]), "learned": walked(0.2, [True, True, False, False])}
    each["means"] = walked(0.3, [False] * 4)
    served = serve(each, wall=True)
    assert served is not None
    assert served.probability[:, 0].tolist() == [0.1, 0.2, 0.3, 0.1]
    assert served.abstained.tolist() == [False, False, True, False]
    assert served.found.tolist() == [True, True, False, True]
    without = serve(each, wall=False)
    assert without is not None
    assert without.probability[:, 1].tolist() == [0.2, 0.2, 0.3, 0.3]
    assert serve({k: v for k, v in each.items() if k != "means"}, wall=True) is None


def test_the_verdict_is_on_what_was_declared_and_what_it_takes_on_the_interval(planted: Report) -> None:
    def verdict(*rows: tuple[str, float, float, float, int | None]) -> str:
        parts = [replace(planted.row("means"), representation=n, skill=s, skill_low=low, skill_high=high, events=900, events_needed=k)
                 for n, s, low, high, k in rows]  # fmt: skip
        return _verdict(parts)

    better, served = ("learned", 0.05, 0.01, 0.09, 300), ("served", 0.0, -0.01, 0.01, 7000)
    assert verdict(better, served) == (
        "no edge found in 900 episodes: what serves has a skill of 0.0% (95% interval -1.0% to 1.0%); an edge of 1.0%, the most that is "
        "likely, would be seen in about 7,000 episodes, a smaller one in more"
    )
    assert verdict(("served", -0.03, -0.05, -0.01, None)).endswith("and one above 0 is not likely")
    assert verdict(better, ("served", 0.02, 0.01, 0.03, 500)).startswith("edge found: what serves beats the reference by 2.0%")
    # Of two that were not declared the better is told, and its interval is wider by what looking twice costs.
    assert verdict(better, ("means", 0.01, 0.0, 0.02, 900)) == (
        "edge found: learned, the best of 2 beats the reference by 5.0% of its log loss (95% interval 0.4% to 9.6%, 900 episodes)"
    )
    assert verdict(("learned", 0.05, 0.003, 0.09, 300), ("means", 0.01, 0.0, 0.02, 900)).startswith("no edge found")
    assert verdict(("served", 0.05, float("nan"), float("nan"), None)).endswith("one session tells no interval")
    assert verdict() == "no neighbours were audited"


def test_events_needed() -> None:
    # Seen four times in five at 2.8 standard errors: an edge of one standard error needs 2.8 squared times the events.
    assert events_needed(Skill(0.01, 0, 0, 0.01), 1000) == 7849
    assert events_needed(Skill(-0.01, 0, 0, 0.01), 1000) is None
    assert events_needed(Skill(-0.01, 0, 0.01, 0.01), 1000, 0.01) == 7849, "what it takes at the interval's end"
    assert events_needed(Skill(float("nan"), 0, 0, float("nan")), 0) is None


def test_schedule_fits_on_what_is_before_the_day_before_and_knows_no_future() -> None:
    events, _ = tier_a(600)
    labels = events.labels("h1")
    blocks = schedule(events.sessions, labels, QUICK)
    days = np.unique(events.sessions)
    assert np.concatenate([b.sessions for b in blocks]).tolist() == days[7:].tolist()
    for b in blocks:
        assert b.before == b.sessions[0] - np.timedelta64(1, "D")
    for cut in (12, 20, 29):
        early = events.sessions < days[cut]
        less = schedule(events.sessions[early], labels[early], QUICK)
        for a, b in zip(less, blocks):
            assert a.before == b.before
            assert set(a.sessions) <= set(b.sessions)
    each = schedule(events.sessions, labels, QUICK.model_copy(update={"refit_growth": 0.0}))
    assert len(each) == len(days) - 7
    assert schedule(events.sessions[:100], labels[:100], QUICK) == []


def test_planted_signal_is_found_in_order(planted: Report) -> None:
    learned, plain, original = (planted.row(r) for r in ("learned", "means", "blocks_original"))
    assert learned.edge
    assert learned.share_of_attainable is not None
    assert learned.share_of_attainable > 0.6
    assert learned.skill > plain.skill > original.skill
    # The path says all in a linear way: what reads more ways than one ties with it at most, or is a little better.
    assert planted.winner in ("learned", "attention", "stack")
    assert set(planted.choices) == {"any", "means", "blocks"}
    assert planted.choices["means"]["skill"] == {n: planted.row(n).skill for n in CHOICES["means"] if n != "wall"}
    assert planted.verdict.startswith("edge found: what serves beats the reference by ")
    served = planted.row("served")
    assert (served.skill, served.abstained) == (learned.skill, learned.abstained), "the reader finds an effect in every history"
    assert learned.events + learned.abstained == planted.row("pi").events
    assert learned.rps_skill > 0
    assert learned.brier_skill > 0
    pi = planted.row("pi")
    assert (pi.skill, pi.abstained, pi.edge) == (0.0, 0, False)
    assert planted.row("lightgbm").abstained == 0


def test_nothing_is_found_where_nothing_is() -> None:
    for permute, strength in ((False, 0.0), (True, 2.0)):
        report = audit(synthetic_events(600, strength, 4, permute=permute).data, QUICK, only=("learned",))
        learned = report.row("learned")
        assert not learned.edge
        assert abs(learned.skill) < 0.05
        assert report.verdict.startswith("no edge found in")
        assert "episodes" in report.verdict


def test_audit_is_the_same_to_the_bit() -> None:
    data = synthetic_events(300, 2.0, 1).data
    one, two = (audit(data, QUICK, only=("learned",)) for _ in range(2))
    assert json.dumps(one.to_json()) == json.dumps(two.to_json())
    # Side by side in other processes, too, and every step is told.
    steps: list[tuple[int, int, str]] = []
    with spawned_pool(2) as executor:
        three = audit(data, QUICK, only=("learned",), executor=executor, progress=lambda *s: steps.append(s))
    assert json.dumps(three.to_json()) == json.dumps(one.to_json())
    assert [s[0] for s in steps] == list(range(1, steps[0][1] + 1))


def test_a_removed_session_changes_no_forecast_before_it_to_the_bit() -> None:
    events = synthetic_events(400, 2.0, 1).data.means
    days = np.unique(events.sessions)

    def walked(e: Events) -> dict[str, tuple[bytes, bytes]]:
        blocks = schedule(e.sessions, e.labels("h1"), QUICK)
        found = walk_neighbours([(e, np.arange(len(e)))], len(e), blocks, QUICK, "class", "learned", lambda _: None)
        pi = walk_reference(e, blocks, QUICK, "class")
        return {t: (p.tobytes(), r.tobytes()) for t, p, r in zip(e.frame["trigger_id"], found.probability, pi.probability)}

    whole = walked(events)
    less = walked(events.take(events.sessions != days[12]))
    before = events.frame["trigger_id"].to_numpy()[events.sessions < days[12]]
    assert len(before) == 240
    assert all(whole[t] == less[t] for t in before)
    after = events.frame["trigger_id"].to_numpy()[events.sessions > days[14]]
    assert any(whole[t] != less[t] for t in after)


def test_progress_and_json(planted: Report) -> None:
    steps: list[tuple[int, int, str]] = []
    report = audit(synthetic_events(400, 2.0, 1).data, QUICK, only=("means",), progress=lambda *s: steps.append(s))
    assert [s[0] for s in steps] == list(range(1, steps[0][1] + 1))
    body = report.to_json()
    assert set(body["representations"]) == {"pi", "means"}
    wanted = {"log_loss", "skill", "skill_low", "skill_high", "attainable", "share_of_attainable", "ece", "events"}
    assert wanted <= set(planted.to_json()["representations"]["learned"])
    assert json.loads(json.dumps(body)) == body


def test_touch_is_scored_on_its_own() -> None:
    data = synthetic_events(600, 2.0, 1).data
    # Touches follow a feature: those of paths that end high touch.
    touched = pl.Series(data.means.matrix[:, 70] > -0.5)
    columns = [touched.alias("touched"), pl.when(touched).then("outcome_h1").otherwise(pl.lit("NO_TOUCH")).alias("outcome_h1")]
    report = audit(AuditData(with_columns(data.means, *columns)), QUICK, only=("learned",))
    touch, outcome = report.row("learned", "touch"), report.row("learned")
    assert touch.edge
    assert outcome.events + outcome.abstained < touch.events + touch.abstained
    assert touch.attainable is None
    assert list(report.to_json()["touch"]) == ["pi", "learned"]


def test_pools_are_audited_apart() -> None:
    data = synthetic_events(600, 2.0, 1).data
    params = QUICK.model_copy(update={"retrieval": QUICK.retrieval.model_copy(update={"pool": "level"})})
    whole, levels = (audit(AuditData(data.means), p, only=("means",), touch=False).row("means") for p in (QUICK, params))
    assert whole.events + whole.abstained == levels.events + levels.abstained
    # A third of the events for each of the three levels: their history is long enough only later.
    assert levels.abstained > whole.abstained


def test_too_few_events_say_so() -> None:
    with pytest.raises(NoData, match=r"expected a session after at least 150 arm events .* found 120 in 6 sessions"):
        audit(synthetic_events(120, 1.0, 1).data)


def test_rows_of_other_kinds_are_not_scored() -> None:
    data = synthetic_events(600, 2.0, 1).data
    window = with_columns(data.means, pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("window")).otherwise("kind").alias("kind"))
    params = QUICK.model_copy(update={"retrieval": QUICK.retrieval.model_copy(update={"min_events": 60})})
    report = audit(AuditData(window), params, only=("learned",))
    assert report.row("pi").events == 10 * report.scored_sessions


def test_permuted_days_keep_the_counts_and_lose_the_link() -> None:
    events, _ = tier_a(600)
    (moved,) = permute_days([events], 3)
    assert sorted(moved.labels("h1")) == sorted(events.labels("h1"))
    assert moved.matrix is events.matrix
    assert (moved.labels("h1") != events.labels("h1")).mean() > 0.4
    assert moved.frame.drop("outcome_h1").columns == events.frame.drop("outcome_h1").columns
    again = permute_days([events], 3)[0]
    assert again.frame.equals(moved.frame)


def test_blocks_of_a_ramp() -> None:
    # x_t = t: the first difference is 1 but for the first window, means and deltas are those of a ramp.
    paths = np.arange(24.0)[None, :, None]
    values, names = synthetic_blocks(paths)
    at = dict(zip(names, values[0]))
    assert (at["w0_x0"], at["w0_d1_x0"], at["w0_d2_x0"]) == (23, 1, 0)
    assert (at["w3_mean_x0"], at["w24_mean_x0"]) == (22, 11.5)
    assert (at["w3_delta_x0"], at["w24_delta_x0"]) == (1, 1)
    assert at["w24_mean_d1_x0"] == np.float32(23 / 24)
    assert len(names) == 7 * 4


def test_table_in_the_lake(planted: Report, tmp_lake: Path) -> None:
    with pytest.raises(PartitionMissing, match="spymaster audit --lake"):
        read_audit(tmp_lake)
    write_audit(tmp_lake, planted, {"symbol": None})
    frame, report = read_audit(tmp_lake)
    assert report["stale"].startswith("the stored audit was made of sessions that are gone: ")
    assert frame["representation"].to_list() == [r.representation for r in planted.rows]
    assert frame.filter(pl.col("representation") == "learned")["skill"][0] == planted.row("learned").skill
    assert report["diagrams"]["class/learned"][0]["events"] > 0
    assert not list(tmp_lake.rglob(".*"))
    # One of another version: it is whole, and its columns are others.
    frame.drop("skill").write_parquet(tmp_lake / TABLE)
    body = json.loads((tmp_lake / REPORT).read_text()) | {"table": sha256_file(tmp_lake / TABLE)}
    del body["digest"]
    (tmp_lake / REPORT).write_text(json.dumps(body | {"digest": sha256_text(canonical(body))}))
    with pytest.raises(PartitionCorrupt, match="missing: skill"):
        read_audit(tmp_lake)


def test_events_without_vectors_abstain(planted: Report) -> None:
    data = synthetic_events(400, 2.0, 1).data
    matrix = data.means.matrix.copy()
    matrix[300:310] = np.nan
    report = audit(AuditData(Events(matrix, data.means.names, "means", data.means.frame)), QUICK, only=("learned", "lightgbm"))
    assert report.row("learned").abstained >= 10
    assert report.row("lightgbm").events == report.row("pi").events


@pytest.mark.long
@pytest.mark.parametrize(("n", "share", "margin"), [(2000, 0.60, 0.01), (8000, 0.80, 0.0)])
def test_bars_of_the_planted_signal(n: int, share: float, margin: float) -> None:
    report = audit(synthetic_events(n, 1.0, 3).data, only=("learned", "lightgbm"))
    learned, trees = report.row("learned"), report.row("lightgbm")
    assert learned.share_of_attainable is not None
    assert trees.share_of_attainable is not None
    assert learned.share_of_attainable >= share
    assert learned.share_of_attainable >= trees.share_of_attainable - 0.10
    assert learned.ece <= (0.03 if n == 8000 else learned.ece_perfect_95 + margin)


@pytest.mark.long
@pytest.mark.parametrize("permute", [False, True])
def test_bar_of_the_null(permute: bool) -> None:
    rows = [
        audit(synthetic_events(600, 1.0 if permute else 0.0, seed, permute=permute).data, only=("learned",)).row("learned")
        for seed in range(20)
    ]
    assert sum(r.skill_low > 0 for r in rows) <= 2
    assert np.mean([r.ece - r.ece_perfect_95 for r in rows]) <= 0.01
