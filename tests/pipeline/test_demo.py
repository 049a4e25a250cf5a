"""The demo's own parts: kernels compiled beforehand, and the setup that the page opens on."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl

from engine.commands.demo import AFTER_S, HISTORY_S, Kernels, compile_day, compile_kernels, demo_query, largest_reaction
from engine.lake.catalog import LADDER
from engine.lake.store import Lake
from engine.vocab import NS
from tests.reference.venue_twin import Venue
from tests.support.lakes import MONDAY, TUESDAY, spymaster


def test_the_small_day_is_one_that_a_venue_could_have_published():
    venue = Venue()
    rows = compile_day()
    venue.feed(rows)
    assert venue.trades > 1000
    assert (np.diff(rows[:, 5]) >= 0).all()


def test_both_sets_of_kernels_run():
    for name in ("simulator", "pipeline"):
        assert compile_kernels(Kernels(name)) == ""


def tape(path: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"window_start_ts_ns": np.arange(len(path)) * NS, "last_tick": pl.Series(path, dtype=pl.Int32)})


def test_the_clearest_answer_is_the_touch_from_afar_that_price_left_most():
    path = np.full(HISTORY_S + 3000, 80)
    for at, after in ((HISTORY_S + 500, 6), (HISTORY_S + 1500, 15)):
        path[at] = 100
        path[at + 1 : at + 200] = 100 + after
        path[at + 200 :] = 80
    path[HISTORY_S + 2500 :] = 100 + np.arange(500) % 2  # hovers: comes from nowhere
    assert largest_reaction(tape(path), 100, 0) == (15, (HISTORY_S + 1500) * NS)
    assert largest_reaction(tape(path), 100, (HISTORY_S + 1501) * NS)[1] == (HISTORY_S + 2500) * NS
    assert largest_reaction(tape(path[: HISTORY_S + 500 + AFTER_S]), 100, 0) == (0.0, None)
    assert largest_reaction(tape(path), 400, 0) == (0.0, None)


def test_a_damaged_file_among_others_stops_no_demo(raw_days, tmp_lake: Path, tmp_path: Path):
    folder = tmp_path / "files"
    folder.mkdir()
    whole = raw_days[TUESDAY].read_bytes()
    (folder / "cut.dbn.zst").write_bytes(whole[: len(whole) // 2])
    demo = ("demo", "--no-serve", "--session", "rth", "--lake", tmp_lake, "--dbn", folder)
    nothing = spymaster(*demo, check=False)
    assert "1 of 1 files were not added" in nothing.stderr
    assert not Lake(tmp_lake).raw_roots()
    for date in (MONDAY, TUESDAY):
        shutil.copyfile(raw_days[date], folder / raw_days[date].name)
    done = spymaster(*demo, check=False)
    assert done.returncode == 1
    assert Lake(tmp_lake).has(LADDER, "ESZ5", TUESDAY)
    *_, said, which = done.stderr.strip().splitlines()
    assert said.endswith("1 of 3 files were not added:")
    assert which.startswith(f"BadDbn: {folder / 'cut.dbn.zst'}: truncated")


def test_a_lake_without_silver_has_no_setup(tmp_lake):
    assert demo_query(Lake(tmp_lake)) is None
