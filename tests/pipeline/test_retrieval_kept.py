"""The kept audit knows what it was made of, and the index is of the representation that it chose; else it says that none did."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from engine.commands.synthetic import synthetic_events
from engine.errors import ContractError, SessionError
from engine.lake.catalog import LADDER, LEVELS, TAPE, dataset
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.retrieval.audit import AuditData, Report, audit
from engine.retrieval.choice import audited
from engine.retrieval.gold import VECTORS, gold_events, sessions_in
from engine.retrieval.index import build_index
from engine.retrieval.kept import made_of
from engine.retrieval.neighbours import neighbours, trigger_query
from engine.retrieval.open import open_index, read_index_manifest
from engine.retrieval.params import RetrievalParams
from engine.retrieval.table import REPORT, read_audit, write_audit
from tests.support.lakes import report as said_by
from tests.support.retrieval import SYMBOL, gold_frame, write_gold


def write_silver(lake: Lake, symbol: str, date: dt.date, code: str = "a") -> None:
    """Silver without rows: an audit's lineage asks what it is, not what it holds."""
    for key in (LADDER, TAPE, LEVELS):
        lake.write(key, symbol, date, pl.DataFrame(schema=dataset(key).contract().schema()), Lineage("s", "p", code, {}, "rth"))


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    """Audits of a planted signal: one in which `learned` wins, one that knows `means` alone."""
    data = AuditData(synthetic_events(400, 2.0, 1).data.means)
    return {name: audit(data, only=(name, "means"), touch=False) for name in ("learned", "means")}


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
    write_audit(lake.root, report, made_of(lake, symbol))
    found = read_audit(lake.root)[1]
    assert found["stale"] == ""
    return str(found["digest"])


def change_gold(lake: Lake) -> None:
    frame = gold_frame(400).filter(pl.col("session_date") == pl.col("session_date").min())
    write_gold(lake.root, frame.with_columns(pl.lit("CHOP").alias("outcome_h1")))


def test_the_index_is_of_what_the_audit_chose_and_says_so(lake: Lake, reports: dict[str, Report]) -> None:
    for name, recipe in (("learned", "learned"), ("means", "plain")):
        digest = keep(lake, reports[name])
        found = said_by("index", "--lake", lake.root)
        assert found["default_representation"] == name
        chosen = found["chosen"]
        assert (chosen["by"], chosen["audit"]) == ("audit", digest)
        assert chosen["figures"]["skill"][name] == reports[name].row(name).skill
        assert f"{name}, chosen by the audit {digest[:12]} (skill +" in chosen["said"]
        model = open_index(lake)
        assert model.recipe == recipe
        assert (model.embedding is None) == (name == "means")


def test_without_an_audit_the_index_says_that_none_chose(lake: Lake, reports: dict[str, Report]) -> None:
    found = said_by("index", "--lake", lake.root)
    assert (found["chosen"]["by"], found["chosen"]["audit"]) == ("history", None)
    assert "no audit chose it: it forecasts these 320 events themselves best" in found["chosen"]["said"]
    assert f"`spymaster audit --lake {lake.root}` makes it" in found["about_the_choice"]
    keep(lake, reports["means"])
    # One of other knobs chooses nothing, nor one that is stale.
    choice, why = audited(lake, None, "means", RetrievalParams(cap=5))
    assert choice is None
    assert "with other knobs (cap)" in why
    assert "of horizon h1, not of h2" in audited(lake, None, "means", RetrievalParams(horizon="h2"))[1]
    assert "has nothing of blocks" in audited(lake, None, "blocks", RetrievalParams())[1]
    change_gold(lake)
    assert "was made anew" in said_by("index", "--lake", lake.root)["about_the_choice"]
    assert read_index_manifest(lake)["chosen"]["by"] == "history"


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
    (lake.root / REPORT).write_text(json.dumps(report))


STALE = {
    gold_again: f"was made of {VECTORS}/{SYMBOL}/2025-03-03, which was made anew",
    silver_again: f"was made of {LEVELS}/{SYMBOL}/2025-03-06, which was made anew and 2 more",
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
    choice, why = audited(lake, None, "means", RetrievalParams())
    assert choice is None
    assert f"`spymaster audit --lake {lake.root}` makes it anew" in why


def another_market(lake: Lake) -> None:
    frame = gold_frame(400).with_columns(pl.col("trigger_id", "episode_id").str.replace("ESM5", "CLM5"))
    for (date,), rows in frame.group_by("session_date", maintain_order=True):
        assert isinstance(date, dt.date)
        sorted_rows = rows.sort("window_end_ts_ns", "level_id", "kind")
        lake.write(VECTORS, "CLM5", date, sorted_rows, Lineage("triggers", "p", "a", {}, "rth"))
        write_silver(lake, "CLM5", date)


def test_markets_are_not_pooled_and_contracts_of_one_are(lake: Lake, reports: dict[str, Report]) -> None:
    write_silver(lake, "ESU5", dt.date(2025, 6, 2))
    assert len(sessions_in(lake, LADDER, "ES")) == 21
    keep(lake, reports["means"], "ES")
    another_market(lake)
    for pooled in (gold_events, lambda of: build_index(of)):
        with pytest.raises(SessionError, match=r"expected the sessions of one market, found CL, ES.*`--symbol CL`"):
            pooled(lake)
    assert len(gold_events(lake, "ES")["mirrored"]) == len(gold_events(lake, "CL")["mirrored"]) == 400
    # The kept audit is of ES.
    assert "is of ES, not of CL" in audited(lake, "CL", "means", RetrievalParams())[1]
    assert build_index(lake, name="cl", symbol="CL")["market"] == "CL"
    query = trigger_query(lake, str(lake.read(VECTORS, SYMBOL, lake.partitions(VECTORS, SYMBOL)[15][1])["trigger_id"][0]))
    found = neighbours(lake, query)
    assert found.found["trigger_id"].str.contains("/ESM5/").all()
    with pytest.raises(ContractError, match=r"index cl: of CL, the query is of ES; `spymaster index .*--name es --symbol ES` makes one"):
        neighbours(lake, query, mode="all", name="cl")
