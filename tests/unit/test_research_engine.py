"""Hit rates, scores by level, one feature at a time, data quality: against counts by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import ContractError
from engine.lake.catalog import LADDER, TAPE
from engine.lake.manifest import SUCCESS, Lineage
from engine.lake.quality import COLUMNS, invalid_spans, quality_table
from engine.lake.store import Lake
from engine.retrieval.dataset import events_by_group
from engine.retrieval.events import DECIDED_UNTIL
from engine.retrieval.statistics import feature_distribution, feature_values, hit_rates, scores_by_level, share_below
from tests.support.ladders import DATE, NS, SYMBOL, make_frames
from tests.support.retrieval import gold_frame


@pytest.fixture(scope="module")
def gold() -> pl.DataFrame:
    return gold_frame(400)


def row(table: pl.DataFrame, level: str, approach: str) -> dict:
    return table.filter((pl.col("level_id") == level) & (pl.col("approach") == approach)).to_dicts()[0]


def test_hit_rates_count_episodes_by_hand(gold: pl.DataFrame) -> None:
    # Windows and a touch of every episode beside its arm row: they must add nothing.
    more = pl.concat([gold, *(gold.with_columns(pl.lit(k).alias("kind")) for k in ("window", "touch", "candle"))])
    table = hit_rates(more, "h1", draws=200)
    for level in ("pm_high", "or_high"):
        for approach, ends in (("approach_up", "UP"), ("approach_down", "DOWN")):
            mine = gold.filter((pl.col("level_id") == level) & (pl.col("approach") == approach))
            found = row(table, level, approach)
            assert found["approaches"] == found["armed"] == found["decided"] == mine.height
            assert found["touched"] == mine["touched"].sum()
            assert found["outcomes"] == found["touched"] == sum(found[f"n_{c}"] for c in ("break", "reject", "chop"))
            assert found["n_break"] == (mine["outcome_h1"] == f"BREAK_{ends}").sum()
            assert found["low_break"] <= found["share_break"] <= found["high_break"]
            assert found["share_touched"] == pytest.approx(found["touched"] / found["decided"])
    both = [r for r in table.to_dicts() if r["level_id"] == "all"]
    assert sum(r["armed"] for r in both) == 400
    assert [r["level_id"] for r in table.to_dicts()][:4] == ["or_high", "pm_high", "pm_low", "all"]


def test_what_is_not_decided_is_no_miss(gold: pl.DataFrame) -> None:
    undecided = gold.with_columns(pl.when(pl.col("touched")).then(f"outcome_h{h}").otherwise(None).alias(f"outcome_h{h}") for h in range(7))
    found = hit_rates(undecided, draws=200)
    assert (found["decided"] == found["touched"]).all()
    assert (found["armed"] > found["decided"]).all()
    past = gold.with_columns(pl.lit(None, pl.String).alias("outcome_h1"))
    assert hit_rates(past, draws=200)["outcomes"].sum() == 0
    assert hit_rates(past, draws=200)["share_break"].null_count() == found.height
    assert hit_rates(gold.head(0)).height == 0
    with pytest.raises(ContractError, match="h9"):
        hit_rates(gold, "h9")
    with pytest.raises(ContractError, match="episode_id"):
        hit_rates(gold.drop("episode_id"))


def test_touches_near_the_end_of_the_data_are_not_counted_alone(gold: pl.DataFrame) -> None:
    end = gold["window_end_ts_ns"].sort()[300]
    # After the end only touches are known.
    known = pl.col("touched") | (pl.col("window_end_ts_ns") <= end)
    cut = gold.with_columns(pl.when(known).then(f"outcome_h{h}").otherwise(None).alias(f"outcome_h{h}") for h in range(7))
    both = pl.col("level_id") == "all"
    naive = hit_rates(cut, draws=200).filter(both)
    found = hit_rates(cut.with_columns(pl.lit(end, pl.Int64).alias(DECIDED_UNTIL)), draws=200).filter(both)
    before = gold.filter(pl.col("window_end_ts_ns") <= end)
    assert found["decided"].sum() == before.height
    assert found["touched"].sum() == before["touched"].sum() < naive["touched"].sum()
    assert found["armed"].sum() == gold.height


def test_scores_by_level_are_mean_losses_by_hand(gold: pl.DataFrame) -> None:
    rng = np.random.default_rng(1)
    p, pi = (rng.dirichlet([3, 3, 3], gold.height) for _ in range(2))
    names = ("reject", "chop", "break")
    signals = gold.select("trigger_id", "episode_id", "level_id", "approach", "kind").with_columns(
        *(pl.Series(f"p_{c}", p[:, i]) for i, c in enumerate(names)), *(pl.Series(f"pi_{c}", pi[:, i]) for i, c in enumerate(names)),
        pl.Series("nothing_comparable", np.arange(gold.height) % 10 == 3),
    )  # fmt: skip
    table = scores_by_level(signals, gold, draws=200)
    label = gold["outcome_h1"].str.split("_").list.first().str.to_lowercase().to_list()
    spoke = ~signals["nothing_comparable"].to_numpy()
    for level in ("pm_high", "all"):
        mine = (gold["approach"] == "approach_up").to_numpy() & gold["touched"].to_numpy()
        mine &= np.ones(gold.height, bool) if level == "all" else (gold["level_id"] == level).to_numpy()
        found = row(table, level, "approach_up")
        at = np.flatnonzero(mine & spoke)
        losses = [[-np.log(q[i, names.index(label[i])]) for i in at] for q in (p, pi)]
        assert found["events"] == len(at)
        assert found["abstained"] == (mine & ~spoke).sum()
        assert found["log_loss"] == pytest.approx(np.mean(losses[0]))
        assert found["skill"] == pytest.approx(1 - np.sum(losses[0]) / np.sum(losses[1]))
        assert found["skill_low"] < found["skill"] < found["skill_high"]
    same = signals.with_columns(pl.col(f"pi_{c}").alias(f"p_{c}") for c in names)
    assert scores_by_level(same, gold, draws=200)["skill"].abs().max() == pytest.approx(0)
    none = signals.with_columns(pl.lit(None, pl.Float64).alias(f"p_{c}") for c in names)
    empty = scores_by_level(none, gold, draws=200)
    assert empty["events"].sum() == 0
    assert empty["skill"].null_count() == empty.height
    with pytest.raises(ContractError, match="outcome_h8"):
        scores_by_level(signals, gold, "h8")


def test_a_feature_is_counted_where_it_lies(gold: pl.DataFrame) -> None:
    (events,) = events_by_group(
        gold.with_columns(pl.when(pl.int_range(pl.len()) < 7).then(None).otherwise("vector").alias("vector"))
    ).values()
    name = events.names[0]
    found = feature_distribution(events, name)
    value, label = feature_values(events, name), events.labels("h1")
    known = np.isfinite(value)
    assert (~known).sum() == 7
    for i, c in enumerate(("reject", "chop", "break")):
        assert found.counts[c].sum() == (known & (label == i)).sum()
        assert dict(zip(found.by_class["group"], found.by_class["n"]))[c] == found.counts[c].sum()
    assert found.left_out == (~known | (label < 0)).sum()
    pm = value[known & (events.frame["level_id"] == "pm_high").to_numpy() & (events.frame["approach"] == "approach_up").to_numpy()]
    mine = found.by_level.filter(pl.col("group") == "pm_high/approach_up").to_dicts()[0]
    assert (mine["n"], mine["q50"]) == (pm.size, pytest.approx(np.median(pm)))
    assert share_below(events, name, np.nanmedian(value)) == pytest.approx(0.5, abs=0.01)
    assert len(found.edges) == 25
    with pytest.raises(ContractError, match="nope"):
        feature_distribution(events, "nope")
    bare = feature_distribution(events.take(slice(0, 3)), name)
    assert sum(v.sum() for v in bare.counts.values()) == 0


def test_spans_without_a_valid_book() -> None:
    start = np.arange(6) * NS
    assert invalid_spans(start, np.array([0, 1, 0, 0, 1, 0], bool)) == [(0, NS), (2 * NS, 4 * NS), (5 * NS, 6 * NS)]
    assert invalid_spans(start, np.ones(6, bool)) == []
    assert invalid_spans(start[:0], np.zeros(0, bool)) == []


def test_quality_of_a_session_and_of_one_that_is_harmed(tmp_path: Path) -> None:
    rows, tape = make_frames(300, 6, invalid_share=0.1)
    lake = Lake(tmp_path / "lake")
    assert [f.height for f in quality_table(lake)] == [0, 0]
    for symbol in (SYMBOL, "ESM6"):
        lake.write(LADDER, symbol, DATE, rows, Lineage("ladder", "p", "c", {}, "rth"), {"simulated": True})
        lake.write(TAPE, symbol, DATE, tape, Lineage("ladder", "p", "c", {}, "rth"))
    (lake.path(TAPE, "ESM6", DATE) / SUCCESS).write_text("0" * 64)
    said: list[tuple] = []
    sessions, gaps = quality_table(lake, lambda *a: said.append(a))
    assert tuple(sessions.columns) == COLUMNS
    good, bad = sessions.filter(symbol=SYMBOL).to_dicts()[0], sessions.filter(symbol="ESM6").to_dicts()[0]
    assert good["valid_share"] == pytest.approx(tape["book_valid"].mean())
    assert good["seconds"] == 300
    assert good["trades"] == tape["trades"].sum()
    assert good["simulated"]
    assert good["levels"] is None
    assert good["trouble"] == ""
    seconds = sum((b - a) // NS for a, b in gaps.select("start_ts_ns", "end_ts_ns").iter_rows())
    assert seconds == (~tape["book_valid"]).sum()
    assert good["longest_gap_s"] == max((b - a) // NS for a, b in gaps.select("start_ts_ns", "end_ts_ns").iter_rows())
    assert "spymaster run" in bad["trouble"]
    assert bad["seconds"] is None
    assert [a[:2] for a in said] == [(1, 2), (2, 2)]
