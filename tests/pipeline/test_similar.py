"""What the page asks about similar setups: from one fit for a session, never of sessions it must not know, and with errors that help."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import polars as pl
import pytest

from engine.errors import NoData, PartitionMissing, StaleIndex
from engine.features.events import session_events
from engine.lake.catalog import TRIGGERS
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.params import RetrievalParams
from engine.retrieval.dataset import names_of
from engine.retrieval.index import build_index, index_folder
from engine.vocab import NS
from tests.support.lakes import TUESDAY
from tests.support.similar_lake import LAST, SESSIONS, SHOWN, SYMBOL, made_up_past
from workbench import session_cache, similar
from workbench.session_cache import Stretch
from workbench.similar import Question

LINEAGE = Lineage("triggers", "p", "c", {}, "rth")


@pytest.fixture(scope="module")
def question(whole_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Question:
    root = tmp_path_factory.mktemp("similar") / "lake"
    shutil.copytree(whole_lake.root, root, copy_function=shutil.copy2)
    lake = Lake(root)
    made = session_events(lake, SYMBOL, TUESDAY, ("window", "arm"), ("means",))["means"]
    lake.write(TRIGGERS, SYMBOL, TUESDAY, made.sort("window_end_ts_ns", "level_id", "kind"), LINEAGE)
    row = made_up_past(lake, TUESDAY)
    return Question(str(root), SYMBOL, TUESDAY, row["level_id"], row["window_end_ts_ns"], direction=row["approach"])


def test_one_fit_serves_a_session(question: Question) -> None:
    found = similar.find(question)
    assert similar.find(question) is found
    fits = similar._fitted.cache_info().misses
    later = similar.find(dataclasses.replace(question, end_ns=question.end_ns + 5 * NS))
    assert later is not found
    assert similar._fitted.cache_info().misses == fits
    other = similar.find(dataclasses.replace(question, horizon="h3"))
    assert similar._fitted.cache_info().misses == fits + 1
    weighed = [f.answer.found["outcome_class"].to_list() for f in (found, other)]
    ends = [
        f.answer.found[c].str.split("_").list.first().str.to_lowercase().to_list()
        for f, c in ((found, "outcome_h1"), (other, "outcome_h3"))
    ]
    assert weighed == ends


def test_neither_its_own_session_nor_the_embargoed_one(question: Question) -> None:
    found = similar.find(question)
    dates = found.answer.found["session_date"].unique().to_list()
    assert found.answer.sessions == SESSIONS + 1
    assert SHOWN in dates
    assert max(dates) < LAST < TUESDAY
    assert found.answer.found["similarity"].is_sorted(descending=True)
    # Every horizon has its counts, and the chosen one is that of the forecast.
    of_h1 = found.outcomes.filter(pl.col("horizon") == "h1")
    assert dict(of_h1.select("outcome", "count").iter_rows()) == found.answer.counts
    for r in of_h1.iter_rows(named=True):
        assert r["p"] == pytest.approx(found.forecast[f"p_{r['outcome']}"])
        assert r["reference"] == pytest.approx(found.forecast[f"pi_{r['outcome']}"])


def test_all_sessions_come_from_the_index_and_from_a_current_one_only(question: Question) -> None:
    everywhere = dataclasses.replace(question, mode="all")
    with pytest.raises(PartitionMissing, match="spymaster index"):
        similar.find(everywhere)
    lake = Lake(question.root)
    build_index(lake)
    found = similar.find(everywhere)
    assert LAST in found.answer.found["session_date"].to_list()
    assert TUESDAY not in found.answer.found["session_date"].to_list()
    with pytest.raises(StaleIndex, match=r"within 2 min of their touch, not within 6 min.* --horizon h3`"):
        similar.find(dataclasses.replace(everywhere, horizon="h3"))
    build_index(lake, params=RetrievalParams(horizon="h3"))
    with pytest.raises(StaleIndex, match=r"choose 6 min .*spymaster index .*--name default`"):
        similar.find(everywhere)
    assert similar.find(dataclasses.replace(everywhere, horizon="h3")).answer.mode == "all"
    # One that has the market's name goes before: a lake of several markets has an index of each.
    build_index(lake)
    build_index(lake, name="es", symbol="ES", params=RetrievalParams(horizon="h2"))
    assert similar.find(dataclasses.replace(everywhere, horizon="h2")).answer.mode == "all"
    shutil.rmtree(index_folder(lake, "es"))
    before = similar.find(question)
    frame = lake.read(TRIGGERS, SYMBOL, LAST)
    lake.write(TRIGGERS, SYMBOL, LAST, frame[:-1], dataclasses.replace(LINEAGE, code="d"))
    with pytest.raises(StaleIndex, match="spymaster index"):
        similar.find(everywhere)
    # A walk-forward answer is of the lake as it was, too.
    assert similar.find(question) is not before


def test_gold_of_blocks_is_asked_with_blocks(question: Question, tmp_path) -> None:
    """Each direction has vectors of its own then, and history that was made as they are."""
    root = tmp_path / "lake"
    shutil.copytree(question.root, root)
    lake = Lake(root)
    shutil.rmtree(lake.root / "indexes", ignore_errors=True)
    rng, lineage = np.random.default_rng(2), dataclasses.replace(LINEAGE, values={"gold": {"representation": "blocks"}})
    for date in [d for _, d in lake.partitions(TRIGGERS)]:
        frame = lake.read(TRIGGERS, SYMBOL, date)
        sizes = [len(names_of("blocks", a)) for a in frame["approach"]]
        vectors = [rng.normal(size=n).astype(np.float32).tolist() for n in sizes]
        made = frame.with_columns(
            pl.lit("blocks").alias("representation"), pl.Series("vector_dim", sizes, pl.Int32),
            pl.Series("vector", vectors, dtype=frame.schema["vector"]),
        )  # fmt: skip
        lake.write(TRIGGERS, SYMBOL, date, made, lineage)
    asked = dataclasses.replace(question, root=str(root))
    found = similar.find(asked)
    assert found.answer.query.representation == "blocks"
    assert found.answer.found["approach"].unique().to_list() == [question.direction]
    before = similar._fitted.cache_info().misses
    similar._fit_ahead(str(root), SYMBOL, TUESDAY)
    assert similar._fitted.cache_info().misses == before + 1  # the other direction; this one was fitted for the question
    build_index(lake)
    assert similar.find(dataclasses.replace(asked, mode="all")).answer.query.representation == "blocks"


def test_too_little_history_says_how_much_is_needed(question: Question) -> None:
    with pytest.raises(NoData, match=r"too few events: expected at least 150 .*add and run more dates"):
        similar.find(dataclasses.replace(question, pool="kind", level_id="price:6800.25", direction="approach_up"))


def test_a_clip_is_the_ladder_around_the_instant(question: Question) -> None:
    stretch = Stretch(60, 30, 8, "depth", 0.0)
    zero, days = question.end_ns, (TUESDAY - SHOWN).days
    a = session_cache.clip(question.root, SYMBOL, TUESDAY, 27_200, zero, stretch)
    # The earlier session is a copy of this one.
    b = session_cache.clip(question.root, SYMBOL, SHOWN, 27_200, zero - days * 86_400 * NS, stretch)
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a.last, b.last)
    assert a.values.shape == (90, 17)
    assert (a.ends_s[0], a.ends_s[-1]) == (-59.0, 30.0)
    wide = session_cache.clip(question.root, SYMBOL, TUESDAY, 27_200, zero, dataclasses.replace(stretch, before_s=120, after_s=600))
    assert wide.window_s == 3.0
    with pytest.raises(PartitionMissing, match=r"spymaster run .*2025-10-30"):
        session_cache.clip(question.root, SYMBOL, SHOWN.replace(day=30), 27_200, zero, stretch)
