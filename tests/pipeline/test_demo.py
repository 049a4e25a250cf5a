"""The demo's own parts: kernels compiled beforehand, and the setup that the page opens on."""

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import polars as pl

from engine.commands.demo import AFTER_S, HISTORY_S, Kernels, compile_day, compile_kernels, demo_query, largest_reaction, unusual_forecast
from engine.lake.catalog import LADDER, SIGNALS, dataset
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.sessions import to_ns
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


def signals(*rows: dict) -> pl.DataFrame:
    """Rows of the table of signals: an armed forecast at or_high each, whose interval is 5 points either side."""
    schema = dataset(SIGNALS).contract().schema()
    made = []
    for k, row in enumerate(rows):
        p, usual = row["p"], row["usual"]
        known = {"trigger_id": str(k), "episode_id": str(k), "level_id": "or_high", "approach": "approach_up", "kind": "arm", "p_top1": p}
        known |= {
            "window_start_ts_ns": START + 5 * k * NS,
            "window_end_ts_ns": START + 5 * (k + 1) * NS,
            "c_top1": "break",
            "pi_break": usual,
        }
        known |= {"interval_low": p - 0.05, "interval_high": p + 0.05, "nothing_comparable": False, "reason": "", "fire_flag": False}
        made.append({name: row.get(name, known.get(name, 0 if kind.is_numeric() else "")) for name, kind in schema.items()})
    return pl.DataFrame(made, schema=schema, strict=False)


START = to_ns(TUESDAY, dt.time(10))


def test_the_demo_opens_on_the_forecast_farthest_from_the_usual(tmp_lake):
    lake = Lake(tmp_lake)
    rows = (
        {"p": 0.50, "usual": 0.40},
        {"p": 0.70, "usual": 0.45},
        {"p": 0.90, "usual": 0.40, "kind": "window"},
        {"p": 0.90, "usual": 0.40, "nothing_comparable": True},
        {"p": 0.90, "usual": 0.40, "interval_low": 0.30},
    )
    for date, shown in ((MONDAY, rows[:1]), (TUESDAY, rows)):
        lake.write(SIGNALS, "ESZ5", date, signals(*shown), Lineage("signals", "p", "a", {}, "rth"))
    found = {"contract": "ESZ5", "session": str(TUESDAY), "level": "or_high", "t": "10:00:10"}
    assert unusual_forecast(lake) == demo_query(lake) == found
    lake.write(SIGNALS, "ESZ5", TUESDAY, signals(*rows[2:]), Lineage("signals", "p", "b", {}, "rth"))
    assert unusual_forecast(lake) == {"contract": "ESZ5", "session": str(MONDAY), "level": "or_high", "t": "10:00:05"}
    lake.write(SIGNALS, "ESZ5", MONDAY, signals(*rows[2:]), Lineage("signals", "p", "b", {}, "rth"))
    assert unusual_forecast(lake) is None
    assert demo_query(lake) is None
