"""What Research > Features offers: the dimensions of the vectors, and features of the trigger's own window that they do not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.lake.catalog import TRIGGERS, VACUUM, datasets
from engine.lake.store import Lake
from tests.ui.conftest import DATE, generated_lake
from workbench.queries import dimensions, events, feature, quality

NAME = "w0_t10_ask_com_touch_log"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated lake."""
    return generated_lake(tmp_path_factory.mktemp("explorer"), 60_000)


def test_features_of_the_own_window_come_first_and_repeat_none_of_the_vector(root: Path) -> None:
    (names,) = dimensions(str(root), "ESZ5").values()
    (of_vector,) = (e.names for e in events(str(root), "ESZ5").values())
    assert names == ("w0_t10_ask_com_touch_log", "w0_t11_bid_com_touch_log", *of_vector)


def test_the_values_are_those_of_the_windows_table(root: Path) -> None:
    lake, (group,) = Lake(root), dimensions(str(root), "ESZ5")
    armed = lake.read(TRIGGERS, "ESZ5", DATE).filter(pl.col("kind") == "arm")
    windows = lake.read(VACUUM, "ESZ5", DATE)
    expected = [
        windows.row(by_predicate=(pl.col("level_id") == t["level_id"]) & (pl.col("window_end_ts_ns") == t["window_end_ts_ns"]), named=True)
        for t in armed.iter_rows(named=True)
    ]
    values = np.array([r["t10_ask_com_touch_log"] for r in expected], float)
    at = armed.row(-1, named=True)
    found = feature(str(root), group, NAME, "h1", ("ESZ5", DATE, at["level_id"], at["window_end_ts_ns"]), "ESZ5")
    by_level = found.distribution.by_level
    assert by_level["n"].sum() == np.isfinite(values).sum() > 0
    assert (by_level["mean"] * by_level["n"]).sum() == pytest.approx(np.nansum(values), rel=1e-5)
    assert found.now == pytest.approx(values[-1], rel=1e-6)
    assert found.below == pytest.approx((values[np.isfinite(values)].astype(np.float32) < np.float32(values[-1])).mean())


def test_a_moment_without_such_a_window_says_so(root: Path) -> None:
    (group,) = dimensions(str(root), "ESZ5")
    at = Lake(root).read(TRIGGERS, "ESZ5", DATE).row(-1, named=True)
    found = feature(str(root), group, NAME, "h1", ("ESZ5", DATE, "price:6800.25", at["window_end_ts_ns"]), "ESZ5")
    assert (found.now, found.below) == (None, None)
    assert found.why == "the lake's table of windows has no such window of the level"


def test_every_dataset_that_is_there_is_listed(root: Path) -> None:
    listed = quality(str(root), "ESZ5").datasets
    assert listed["dataset"].to_list() == [key for key, d in datasets().items() if d.product_type == "future_mbo"], "no options are there"
    vacuum = listed.row(by_predicate=pl.col("dataset") == VACUUM, named=True)
    assert (vacuum["partitions"], vacuum["rows"]) == (1, Lake(root).read(VACUUM, "ESZ5", DATE).height)
    assert vacuum["columns"] == len(datasets()[VACUUM].contract().fields)
