"""The stored audit knows what it was made of, and the index is of the representation that it chose; else it says that none did."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.commands.rebuild import _Rebuild
from engine.commands.retrieval import synthetic_events
from engine.errors import ContractError, PartitionCorrupt, SessionError
from engine.features.vector import WALL
from engine.lake.catalog import LADDER, LEVELS, TAPE, WALLS, dataset
from engine.lake.manifest import Lineage, canonical, sha256_text
from engine.lake.store import Lake
from engine.params import AuditParams, RetrievalParams, RunParams
from engine.retrieval.audit import CHOICES, Report, audit
from engine.retrieval.audit_store import REPORT, TABLE, audit_choice, audit_inputs, read_audit, store_audit, write_audit
from engine.retrieval.dataset import VECTORS, gold_events, names_of, sessions_in
from engine.retrieval.events import Events
from engine.retrieval.hints import gold_command
from engine.retrieval.index import build_index, open_index, read_index_manifest
from engine.retrieval.neighbours import neighbours, trigger_query
from engine.retrieval.walk_forward import AuditData
from tests.support.lakes import report as said_by
from tests.support.retrieval import SYMBOL, gold_frame, write_gold, write_walls


def write_silver(lake: Lake, symbol: str, date: dt.date, code: str = "a") -> None:
    """Silver without rows: an audit's lineage asks what it is, not what it holds."""
    for key in (LADDER, TAPE, LEVELS):
        lake.write(key, symbol, date, pl.DataFrame(schema=dataset(key).contract().schema()), Lineage("s", "p", code, {}, "rth"))


def blind_walls(events: Events, representation: str = "wall") -> Events:
    """The events with wall features, or vectors under the same names, that know nothing of them."""
    noise = np.random.default_rng(3).normal(size=(len(events), len(WALL))).astype(np.float32)
    names = WALL if representation == "wall" else tuple(f"b0_{i}" for i in range(len(WALL)))
    return Events(noise, names, representation, events.frame)


def walls_of(events: Events) -> Events:
    """The events with wall features that are the latest of their means."""
    return Events(events.matrix[:, -len(WALL) :], WALL, "wall", events.frame)


def narrow(events: Events) -> Events:
    """The events with windows that know nothing: what `attention` and `stack` are fitted on in a moment."""
    noise = np.random.default_rng(4).normal(size=(len(events), 4)).astype(np.float32)
    return Events(noise, tuple(f"b{t}_n" for t in range(4)), "means", events.frame)


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    """Audits in which `learned` wins (a planted signal), `wall` (one in the wall features alone) and `means` (nothing; a whole audit), and
    one that knows `means` alone."""
    # Of nothing, each guesses as the usual does; the second sample is one in which the simplest was the luckiest.
    # As few sessions as have three to score: each choice is of a fit per session.
    planted, nothing = (synthetic_events(280, strength, seed).data for strength, seed in ((3.0, 1), (0.0, 2)))
    names, windows, blind = CHOICES["means"], narrow(planted.means), blind_walls(planted.means, "means")
    return {
        "learned": audit(AuditData(planted.means, wall=blind_walls(planted.means), windows=windows), only=names, touch=False),
        "wall": audit(AuditData(blind, wall=walls_of(planted.means), windows=windows), only=names, touch=False),
        "means": audit(replace(nothing, wall=blind_walls(nothing.means), windows=narrow(nothing.means)), touch=False),
        "alone": audit(AuditData(planted.means), only=("means",), touch=False),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with gold of twenty sessions; only to be copied."""
    lake = write_gold(tmp_path_factory.mktemp("kept") / "lake", gold_frame(400))
    for symbol, date in lake.partitions(VECTORS):
        write_silver(lake, symbol, date)
    return lake


@pytest.fixture
def lake(made: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(made.root, tmp_path / "copy")
    return Lake(tmp_path / "copy")


def keep(lake: Lake, report: Report, symbol: str | None = None) -> str:
    """Keep a report as the lake's audit; its digest."""
    write_audit(lake.root, report, audit_inputs(lake, symbol))
    found = read_audit(lake.root)[1]
    assert found["stale"] == ""
    return str(found["digest"])


def change_gold(lake: Lake) -> None:
    frame = gold_frame(400).filter(pl.col("session_date") == pl.col("session_date").min())
    write_gold(lake.root, frame.with_columns(pl.lit("CHOP").alias("outcome_h1")))


def test_the_index_is_of_what_the_audit_chose_and_says_so(lake: Lake, reports: dict[str, Report]) -> None:
    write_walls(lake, gold_frame(400))
    for name, recipe in (("learned", "learned"), ("wall", "wall"), ("means", "plain")):
        digest = keep(lake, reports[name])
        found = said_by("index", "--lake", lake.root)
        assert found["default_representation"] == name
        chosen = found["chosen"]
        assert (chosen["by"], chosen["audit"]) == ("audit", digest)
        assert chosen["figures"]["skill"][name] == reports[name].row(name).skill
        assert f"{name}, chosen by the audit {digest[:12]} (skill " in chosen["said"]
        model = open_index(lake)
        assert model.recipe == recipe
        assert (model.embedding is None) == (name == "means")
        assert model.names == model.history.names == (WALL if name == "wall" else names_of("means", "mirrored"))


def test_a_session_without_its_wall_features_takes_the_choice_of_them_away_and_nothing_else(lake: Lake, reports: dict[str, Report]) -> None:
    """As after a `rebuild` in which one session's stage failed: the index is made, and the signals of the good ones come after it."""
    frame = gold_frame(400)
    write_walls(lake, frame)
    keep(lake, reports["wall"])
    assert audit_choice(lake, None, "means", RetrievalParams())[0] is not None
    changed = frame.filter(pl.col("session_date") == frame["session_date"][70])
    write_gold(lake.root, changed.with_columns(pl.col("sigma") * 2))  # its walls are of the triggers of before
    keep(lake, reports["wall"])
    choice, why = audit_choice(lake, None, "means", RetrievalParams())
    assert choice is None
    date = changed["session_date"][0]
    assert f"chose wall, for which every session needs wall features of its triggers as they are now, {SYMBOL} {date} has none" in why
    assert why.endswith(f"; `{lake.repair_command(WALLS, SYMBOL, date)}` makes them")
    job = _Rebuild(lake, "ES", [], False, "rth", RunParams(), 1, False, True)
    job._index()
    assert (job.receipts, read_index_manifest(lake)["default_representation"]) == ([], "learned")
    assert why in job.said
    shutil.rmtree(lake.path(WALLS, SYMBOL, lake.partitions(VECTORS)[0][1]))
    assert f"{SYMBOL} {frame['session_date'][0]} and 1 more has none" in audit_choice(lake, None, "means", RetrievalParams())[1]
    # Gold that cannot be pooled fails by name, and the signals come all the same.
    odd = Lineage("triggers", "p", "a", {}, "rth", {"setups": {"arm_ticks": 9}})
    lake.write(VECTORS, SYMBOL, date, changed.sort("window_end_ts_ns", "level_id", "kind"), odd)
    job._index()
    job._audit()
    assert [(r.name, r.status, r.error) for r in job.receipts] == [(n, "failed", "ContractError") for n in ("index default", "audit")]


def test_without_an_audit_the_index_says_that_none_chose(lake: Lake, reports: dict[str, Report]) -> None:
    found = said_by("index", "--lake", lake.root)
    assert (found["chosen"]["by"], found["chosen"]["audit"]) == ("history", None)
    assert "no audit chose it: it forecasts these 320 events themselves best" in found["chosen"]["said"]
    assert f"`spymaster audit --lake {lake.root}` makes it" in found["about_the_choice"]
    assert "for this index" not in found["about_the_choice"]
    other = f"""; for this index `spymaster audit --lake {lake.root} --params <(echo '{{"retrieval": {{"cap": 5}}}}')` does"""
    assert audit_choice(lake, None, "means", RetrievalParams(cap=5))[1].endswith(other)
    keep(lake, reports["means"])
    # One of other parameters chooses nothing, nor one that is stale.
    choice, why = audit_choice(lake, None, "means", RetrievalParams(cap=5))
    assert choice is None
    assert "with other parameters (cap)" in why
    assert "of horizon h1, not of h2" in audit_choice(lake, None, "means", RetrievalParams(horizon="h2"))[1]
    keep(lake, reports["learned"])
    assert "lacks blocks" in audit_choice(lake, None, "blocks", RetrievalParams())[1]
    change_gold(lake)
    assert "was rebuilt" in said_by("index", "--lake", lake.root)["about_the_choice"]
    assert read_index_manifest(lake)["chosen"]["by"] == "history"


def test_a_partial_audit_chooses_nothing_and_replaces_no_whole_one(lake: Lake, reports: dict[str, Report]) -> None:
    def rebuild_says() -> str | None:
        return _Rebuild(lake, "ES", [], False, "rth", RunParams(), 1, False, True)._current_audit(AuditParams())

    whole, quick = reports["means"], replace(reports["means"], params=reports["means"].params | {"refit_growth": 0.5})
    partial = {
        "alone": (reports["alone"], "lacks learned, wall, attention, stack"),
        "quick": (quick, "refitted when history had grown by 50%, not by 15%"),
    }
    for report, says in partial.values():
        # Where none is kept it is better than nothing to look at, and no more than that.
        place, why = store_audit(lake.root, report, audit_inputs(lake, None))
        assert (place, why) == (lake.root / TABLE, "")
        choice, why = audit_choice(lake, None, "means", RetrievalParams())
        assert choice is None
        assert says in why
        assert rebuild_says() is None
    # All that gold of means can serve: it chooses, and is not the audit that rebuild makes.
    assert store_audit(lake.root, reports["learned"], audit_inputs(lake, None))[0] is not None
    assert audit_choice(lake, None, "means", RetrievalParams())[0] is not None
    assert rebuild_says() is None
    digest = keep(lake, whole)
    assert rebuild_says() == whole.verdict
    for report in (reports["alone"], quick, reports["learned"]):
        place, why = store_audit(lake.root, report, audit_inputs(lake, None))
        assert place is None
        assert why.startswith("printed, not stored: this audit ")
    assert read_audit(lake.root)[1]["digest"] == digest
    assert store_audit(lake.root, whole, audit_inputs(lake, None))[0] is not None


def test_where_a_representation_won_that_gold_does_not_hold_the_command_that_makes_it_is_named(
    lake: Lake, reports: dict[str, Report]
) -> None:
    keep(lake, replace(reports["learned"], winner="blocks"))
    choice, said = audit_choice(lake, None, "means", RetrievalParams())
    assert choice is not None
    sessions = lake.partitions(VECTORS)
    make = gold_command(lake, sessions[-1], [d for _, d in sessions], gold={"representation": "blocks"})
    assert """<(echo '{"gold": {"representation": "blocks"}}')""" in make
    assert said == f"{choice.said()}; of all representations blocks won, and gold holds means: `{make}` makes gold of it"


def test_an_index_does_not_go_on_claiming_an_audit_that_is_gone(lake: Lake, reports: dict[str, Report]) -> None:
    def stale() -> str:
        job = _Rebuild(lake, "ES", [], False, "rth", RunParams(), 1, False, True)
        return job._stale_index(*audit_choice(lake, "ES", "means", RetrievalParams()))

    digest = keep(lake, reports["means"])
    choice, _ = audit_choice(lake, "ES", "means", RetrievalParams())
    build_index(lake, symbol="ES", choice=choice)
    assert stale() == ""
    another = keep(lake, replace(reports["means"], verdict="another"))
    assert stale() == f"the audit {another[:12]} chose means"
    older_code(lake)
    assert f"chosen by the audit {digest[:12]}; no audit to choose by: the stored audit was made with another code" in stale()
    shutil.rmtree(lake.root / "audit")
    assert f"chosen by the audit {digest[:12]}; no audit to choose by: " in stale()
    build_index(lake, symbol="ES")
    assert stale() == ""
    keep(lake, reports["means"])
    assert "chose means" in stale()


def test_a_table_and_a_report_of_two_audits_are_no_audit(lake: Lake, reports: dict[str, Report]) -> None:
    keep(lake, reports["learned"])
    report = (lake.root / REPORT).read_bytes()
    keep(lake, reports["means"])
    table = (lake.root / TABLE).read_bytes()
    harmed = json.loads((lake.root / REPORT).read_text()) | {"winner": "blocks"}
    without = {k: v for k, v in harmed.items() if k != "digest"}
    for name, content, says in (
        (REPORT, report, "a table that is not the report's"),
        (REPORT, json.dumps(harmed).encode(), "does not match its own digest"),
        (REPORT, json.dumps(without).encode(), "a report without 'digest'"),
        (TABLE, table[:-1], "a table that is not the report's"),
    ):
        keep(lake, reports["means"])
        (lake.root / name).write_bytes(content)
        with pytest.raises(PartitionCorrupt, match=f"{says}.*`spymaster audit --lake {lake.root}` rebuilds it"):
            read_audit(lake.root)
        choice, why = audit_choice(lake, None, "means", RetrievalParams())
        assert choice is None
        assert says in why
    # The next one is stored even if partial: there is no full one to replace.
    (lake.root / REPORT).write_bytes(report)
    assert store_audit(lake.root, reports["alone"], audit_inputs(lake, None))[0] is not None


def test_a_killed_write_of_an_audit_leaves_nothing_after_the_next_run(lake: Lake, reports: dict[str, Report]) -> None:
    keep(lake, reports["means"])
    for left in (".tmp-mbo_audit.parquet-1", ".tmp-mbo_audit.json-1-dead"):
        (lake.root / "audit" / left).write_text("half")
        os.utime(lake.root / "audit" / left, (0, 0))  # a day is long over: whose it was cannot be asked of these names
    assert len(lake.clean()) == 2
    assert sorted(p.name for p in (lake.root / "audit").iterdir()) == ["mbo_audit.json", "mbo_audit.parquet"]
    assert read_audit(lake.root)[1]["stale"] == ""


def gold_again(lake: Lake) -> None:
    change_gold(lake)


def silver_again(lake: Lake) -> None:
    write_silver(lake, *lake.partitions(VECTORS)[3], code="b")


def a_session_more(lake: Lake) -> None:
    write_silver(lake, SYMBOL, dt.date(2025, 5, 5))


def a_session_less(lake: Lake) -> None:
    symbol, date = lake.partitions(VECTORS)[0]
    shutil.rmtree(lake.path(LADDER, symbol, date))
    shutil.rmtree(lake.path(VECTORS, symbol, date))


def another_profile(lake: Lake) -> None:
    (lake.root / "silver/_PROFILE.json").write_text('{"profile": "globex_open"}')


def older_code(lake: Lake) -> None:
    report = json.loads((lake.root / REPORT).read_text())
    report["made_of"]["code"] = "0" * 64
    del report["digest"]
    (lake.root / REPORT).write_text(json.dumps(report | {"digest": sha256_text(canonical(report))}))


STALE = {
    gold_again: f"was made of {VECTORS}/{SYMBOL}/2025-03-03, which was rebuilt",
    silver_again: f"was made of {LEVELS}/{SYMBOL}/2025-03-06, which was rebuilt and 2 more",
    a_session_more: f"was made without {LEVELS}/{SYMBOL}/2025-05-05, which is new and 2 more",
    a_session_less: "which is gone",
    another_profile: "with another profile (rth) than there is now (globex_open)",
    older_code: "with another code (000000000000) than there is now",
}


@pytest.mark.parametrize("change", STALE, ids=lambda f: f.__name__)
def test_a_kept_audit_is_stale_where_its_inputs_are(lake: Lake, reports: dict[str, Report], change) -> None:  # type: ignore[no-untyped-def]
    keep(lake, reports["means"])
    change(lake)
    assert STALE[change] in read_audit(lake.root)[1]["stale"]
    choice, why = audit_choice(lake, None, "means", RetrievalParams())
    assert choice is None
    assert f"`spymaster audit --lake {lake.root}` rebuilds it" in why


def another_market(lake: Lake) -> None:
    frame = gold_frame(400).with_columns(pl.col("trigger_id", "episode_id").str.replace("ESM5", "CLM5"))
    for (date,), rows in frame.group_by("session_date", maintain_order=True):
        assert isinstance(date, dt.date)
        sorted_rows = rows.sort("window_end_ts_ns", "level_id", "kind")
        lake.write(VECTORS, "CLM5", date, sorted_rows, Lineage("triggers", "p", "a", {}, "rth"))
        write_silver(lake, "CLM5", date)


def test_an_audit_of_other_sessions_or_of_another_market_chooses_nothing(lake: Lake, reports: dict[str, Report]) -> None:
    # Silver of a second contract alone: the audit of it is of the same root, and has seen none of the index's sessions.
    write_silver(lake, "ESU5", dt.date(2025, 6, 2))
    keep(lake, reports["learned"], "ESU5")
    choice, why = audit_choice(lake, "ES", "means", RetrievalParams())
    assert choice is None
    again = f"`spymaster audit --lake {lake.root} --symbol ES` rebuilds it"
    assert f"does not include {VECTORS}/{SYMBOL}/2025-03-03 and 19 more; {again}" in why
    # Silver of another market alone: gold is of ES only, so that an index of it needs no symbol.
    write_silver(lake, "CLM5", dt.date(2025, 6, 2))
    keep(lake, reports["learned"], "CL")
    choice, why = audit_choice(lake, None, "means", RetrievalParams())
    assert choice is None
    assert "the stored audit is of CL, not of ES" in why
    assert said_by("index", "--lake", lake.root)["chosen"]["by"] == "history"
    # Of the root, it has seen the contract's sessions too.
    keep(lake, reports["learned"], "ES")
    assert audit_choice(lake, None, "means", RetrievalParams())[0] == audit_choice(lake, SYMBOL, "means", RetrievalParams())[0] is not None


def test_markets_are_not_pooled_and_contracts_of_one_are(lake: Lake, reports: dict[str, Report]) -> None:
    write_silver(lake, "ESU5", dt.date(2025, 6, 2))
    assert len(sessions_in(lake, LADDER, "ES")) == 21
    keep(lake, reports["means"], "ES")
    another_market(lake)
    for pooled in (gold_events, lambda of: build_index(of)):
        with pytest.raises(SessionError, match=r"expected the sessions of one market, found CL, ES.*`--symbol CL`"):
            pooled(lake)
    assert len(gold_events(lake, "ES")["mirrored"]) == len(gold_events(lake, "CL")["mirrored"]) == 400
    # The stored audit is of ES.
    assert "is of ES, not of CL" in audit_choice(lake, "CL", "means", RetrievalParams())[1]
    assert build_index(lake, name="cl", symbol="CL")["market"] == "CL"
    query = trigger_query(lake, str(lake.read(VECTORS, SYMBOL, lake.partitions(VECTORS, SYMBOL)[15][1])["trigger_id"][0]))
    found = neighbours(lake, query)
    assert found.found["trigger_id"].str.contains("/ESM5/").all()
    with pytest.raises(ContractError, match=r"index cl: of CL, the query is of ES; `spymaster index .*--name es --symbol ES` makes one"):
        neighbours(lake, query, mode="all", name="cl")
