"""The audit on tier B: sessions of the market simulator through the whole pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from engine.commands.retrieval import synthetic_events
from engine.commands.run import run
from engine.commands.simulate import simulate
from engine.lake.catalog import LADDER
from engine.lake.store import Lake
from engine.params import AuditParams, RetrievalParams, RunParams
from engine.pipeline import plan_sessions
from engine.retrieval.audit import audit
from engine.retrieval.audit_store import read_audit
from engine.retrieval.dataset import audit_events
from engine.retrieval.events import Events
from engine.retrieval.index import read_index_manifest
from engine.retrieval.model import fit, forecast
from engine.retrieval.walk_forward import AuditData, schedule, walk_neighbours
from engine.runner import reuse_workers, run_tasks
from engine.stages.task import run_partition
from tests.support.lakes import report, spymaster

DATES = "2025-09-16:2025-10-08"  # after the roll: ESZ5 is the front month throughout
PARAMS = AuditParams(retrieval=RetrievalParams(tune_queries=400))


@pytest.fixture(scope="module")
def null_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """17 sessions of a market without levels (kappa = 0): no path knows anything of what follows.

    Signals are left out, which no audit reads, and so are the hours after those that levels are watched in.
    """
    lake = Lake(tmp_path_factory.mktemp("tier_b") / "lake")
    with reuse_workers():
        simulate(dates=DATES, lake=lake.root, rate=0.02, kappa=0.0, seed=11, thin_after="12:35", workers=2)
        for layer in ("bronze", "silver"):
            run(symbol="ESZ5", dates=DATES, lake=lake.root, layer=layer, workers=2)
        plan = plan_sessions(lake, lake.partitions(LADDER), "rth", RunParams(), group="triggers", overwrite=False, must=True)
        made: list[str] = []
        run_tasks(
            run_partition,
            plan.todo,
            workers=2,
            on_result=lambda spec, receipt: made.append(receipt.status),
            on_poison=lambda spec, deaths: pytest.fail(f"{spec.name}: its process died {deaths} times"),
        )
    assert len(made) >= 17
    assert set(made) == {"made"}
    return lake


@pytest.fixture(scope="module")
def null_events(null_lake: Lake) -> Events:
    """Its armed episodes."""
    return audit_events(null_lake, None, blocks=False)[0]


@pytest.mark.long
def test_rebuild_audits_and_indexes_what_won(null_lake: Lake) -> None:
    first = report("rebuild", "--lake", null_lake.root, "--symbol", "ESZ5", "--dates", DATES, "--workers", 2)
    _, kept = read_audit(null_lake.root)
    assert kept["stale"] == ""
    assert f"made the audit: {kept['verdict']}" in first["said"]
    manifest = read_index_manifest(null_lake)
    chosen = manifest["chosen"]
    assert (chosen["by"], chosen["audit"]) == ("audit", kept["digest"])
    assert manifest["default_representation"] == kept["choices"]["means"]["representation"]
    assert chosen["figures"] == kept["choices"]["means"]
    again = report("rebuild", "--lake", null_lake.root, "--symbol", "ESZ5", "--dates", DATES, "--workers", 2)
    assert f"audit: current; {kept['verdict']}" in again["said"]
    assert "index default: current" in again["said"]
    assert not again["made"]
    # A look at one representation is printed, and the whole audit stays; so it does while something else writes the lake.
    look = ("audit", "--lake", null_lake.root, "--only", "means", "--growth", 0.5, "--workers", 1)
    found = report(*look)
    assert found["table"] is None
    lacking = "blocks_original, blocks, learned, attention, stack, wall, lightgbm"
    assert found["not_kept"].startswith(f"printed, not stored: this audit lacks {lacking}, and would")
    with null_lake.lock():
        busy = spymaster(*look, check=False)
    assert busy.returncode == 1
    assert "means" in busy.stdout
    assert "the audit is printed, not stored: " in busy.stderr
    assert read_audit(null_lake.root)[1]["digest"] == kept["digest"]


@pytest.mark.long
def test_the_null_of_a_market_without_levels(null_events: Events) -> None:
    found = audit(AuditData(null_events), PARAMS, only=("means", "learned"), touch=False)
    assert found.row("pi").events > 300
    for name in ("means", "learned"):
        row = found.row(name)
        assert not row.edge, row
        assert row.ece <= row.ece_perfect_95 + 0.01, row
    assert found.verdict.startswith("no edge found in")


@pytest.fixture(params=["synthetic", pytest.param("market without levels", marks=pytest.mark.long)])
def events(request: pytest.FixtureRequest) -> Events:
    """Events to walk over: of a law, or of a lake."""
    return request.getfixturevalue("null_events") if request.param != "synthetic" else synthetic_events(600, 1.0, 7).data.means


def test_no_neighbour_of_the_same_session_and_no_look_ahead(events: Events) -> None:
    blocks = schedule(events.sessions, events.labels("h1"), PARAMS)

    def walked(some: Events) -> dict[str, bytes]:
        plan = schedule(some.sessions, some.labels("h1"), PARAMS)
        found = walk_neighbours([(some, np.arange(len(some)))], len(some), plan, PARAMS, "class", "learned", lambda _: None)
        return {t: p.tobytes() for t, p in zip(some.frame["trigger_id"], found.probability)}

    cut = blocks[-1].sessions[0]
    whole, less = walked(events), walked(events.take(events.sessions != cut))
    before = events.frame["trigger_id"].to_numpy()[events.sessions < cut]
    assert all(whole[t] == less[t] for t in before)
    model = fit(events, PARAMS.retrieval)
    days = np.unique(model.history.sessions)
    for session in days[::5]:
        queries = model.history.take(model.history.sessions == session)
        start, end = model.pool.span(int(np.searchsorted(days, session)))
        answer = forecast(model, queries, start=start, end=end, without=True)
        assert session not in model.history.sessions[answer.rows[answer.rows >= 0]]
