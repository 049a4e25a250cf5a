"""Fits that are kept: what they are of, that answers are the same to the bit as without, and what a new session costs."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.commands.run import Run
from engine.errors import RunFailed
from engine.features.vector import WALL
from engine.lake.catalog import SIGNALS
from engine.lake.store import Lake
from engine.params import RetrievalParams, RunParams
from engine.retrieval import neighbours as asked
from engine.retrieval.dataset import VECTORS, gold_events
from engine.retrieval.forecast import forecast_frame
from engine.retrieval.history import history_name, read_history
from engine.retrieval.index import index_folder, read_index_manifest
from engine.retrieval.kept import FitMade, before_session, fit_days, fits_to_make, kept_fits, kept_names, make_fit, name_for
from engine.retrieval.model import extend, fit, fit_before, fitted_sessions, forecast
from engine.retrieval.neighbours import fit_scope, horizon_table, neighbours, scope_of, trigger_query
from engine.stages.base import build
from engine.stages.gold import SIGNAL_STAGES
from tests.support.retrieval import SYMBOL, gold_frame, write_gold, write_walls

PARAMS = RetrievalParams(min_events=100, min_sessions=8, tune_queries=150, k_grid=(50, 100), residual_grid=(0.1,))
SESSIONS = 24


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return gold_frame(20 * (SESSIONS + 1))


@pytest.fixture(scope="module")
def made(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with gold of `SESSIONS` sessions, wall features and its fits; only to be copied."""
    rows = frame.head(20 * SESSIONS)
    lake = write_gold(tmp_path_factory.mktemp("kept") / "lake", rows)
    write_walls(lake, rows)
    assert [make_fit(t) for t in fits_to_make(lake, "ES", PARAMS)] == [FitMade()] * len(fit_days(days_of(lake), 8))
    return lake


@pytest.fixture
def lake(made: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(made.root, tmp_path / "copy", copy_function=shutil.copy2)
    return Lake(tmp_path / "copy")


def days_of(lake: Lake) -> list[dt.date]:
    return sorted(d for _, d in lake.partitions(VECTORS))


def add_session(lake: Lake, frame: pl.DataFrame) -> dt.date:
    rows = frame.tail(20)
    write_gold(lake.root, rows)
    write_walls(lake, rows)
    return rows["session_date"][0]


def test_how_many_sessions_are_fitted_on() -> None:
    counts = [fitted_sessions(n, 10) for n in range(1001)]
    assert counts[:14] == list(range(14))
    assert counts[20:30] == [20, 20, 20, 23, 23, 23, 26, 26, 26, 29]
    for n, fitted in enumerate(counts):
        assert fitted <= n
        assert n < min(1.15 * fitted + 1, fitted + 25), "never more than the growth behind"
    # What was fitted stays so as sessions are added, and all fits together read a small multiple of the last history.
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(1000)]
    assert fit_days(days, 10)[:5] == fit_days(days[:14], 10)
    each = [counts[n] for n in range(10, 1001)]
    assert len(set(each)) == len(fit_days(days, 10)) < 60
    assert sum(set(each)) < 22 * 1000


def test_later_events_are_placed_as_queries_are(made: Lake) -> None:
    events = gold_events(made, kinds=("arm",))["mirrored"]
    days = np.unique(events.sessions)
    first, later = events.take(events.sessions <= days[14]), events.take(events.sessions > days[14])
    model = fit(first, PARAMS, recipe="wall")
    longer = extend(model, later)
    kept = (later.labels("h1") >= 0) & later.usable
    assert len(longer.history) == len(longer.labels) == len(longer.pool) == len(model.history) + kept.sum()
    assert longer.labels[len(model.history) :].tolist() == later.labels("h1")[kept].tolist()
    assert longer.tuned == model.tuned
    asked_of = later.only(model.names).take(kept)
    scaled, directed = model.scaled(asked_of.matrix)
    vectors = model.vectors(asked_of, scaled, directed, model.reading(asked_of, scaled, directed))
    assert longer.pool.index.reconstruct_n(len(model.history), int(kept.sum())).tobytes() == vectors.tobytes()
    # Among the first rows nothing has changed.
    a, b = (forecast(m, events.take(slice(0, 5)), start=0, end=len(model.history)) for m in (model, longer))
    assert a.probability.tobytes() == b.probability.tobytes()
    assert extend(model, later.take(slice(0, 0))) is model


def test_answers_by_kept_fits_are_those_of_a_fit_made_for_them(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    events = gold_events(lake)["mirrored"]
    days = days_of(lake)
    before = before_session([(SYMBOL, d) for d in days], days[-1], 1)
    assert [d for _, d in before] == days[:-2]
    fits = kept_fits(lake, "ES", "mirrored", before, PARAMS)
    assert fits is not None
    fresh = fit_before(events.take(events.sessions <= np.datetime64(days[-3])), PARAMS, "best")
    assert (fits[0].recipe, fresh[0].recipe) == ("wall", "wall")
    assert fits[1] is not None
    assert fresh[1] is not None
    assert fits[1].recipe == fresh[1].recipe
    for day in (days[12], days[-1]):
        query = trigger_query(lake, events.take(events.sessions == np.datetime64(day)).frame["trigger_id"][3])
        table = forecast_frame(events, query, PARAMS)
        assert neighbours(lake, query, params=PARAMS).forecast.equals(table)
    by_kept = neighbours(lake, query, params=PARAMS)

    def forbidden(*_: object) -> None:
        raise AssertionError("a question was answered by a fit of its own")

    with monkeypatch.context() as patched:
        patched.setattr(asked, "fit_before", forbidden)
        patched.setattr(asked, "horizon_references", forbidden)
        what = fit_scope(lake, scope_of(query, "all"), params=PARAMS)
        assert (what.model.later, what.touch is not None) == (20 * 2 * 4 // 5, True)
        by_kept_outcomes = horizon_table(by_kept, what.model, what.horizons, range(60, 481, 60))
    for name in kept_names(lake, "ES"):
        shutil.rmtree(index_folder(lake, name))
    by_fresh = neighbours(lake, query, params=PARAMS)
    assert by_fresh.forecast.equals(by_kept.forecast)
    assert by_fresh.found.equals(by_kept.found)
    again = fit_scope(lake, scope_of(query, "all"), params=PARAMS)
    assert horizon_table(by_fresh, again.model, again.horizons, range(60, 481, 60)).equals(by_kept_outcomes)


def test_answers_are_the_same_to_the_bit_with_a_quiet_session_and_one_without_walls_in_the_embargo(
    tmp_path: Path, frame: pl.DataFrame
) -> None:
    """Of the question on the screen as of the signals' stage; the quiet session moves the ends of the histories that are fitted on."""
    days = frame["session_date"].unique(maintain_order=True).to_list()
    quiet = pl.when(pl.col("session_date") == days[4]).then(pl.lit("window")).otherwise("kind").alias("kind")
    rows = frame.with_columns(quiet)
    lake = write_gold(tmp_path / "lake", rows)
    write_walls(lake, rows)
    write_gold(lake.root, rows.filter(pl.col("session_date") == days[-2]).with_columns(pl.col("sigma") * 2))
    before = before_session([(SYMBOL, d) for d in days], days[-1], 1)
    assert name_for("ES", before, PARAMS) != name_for("ES", [b for b in before if b[1] != days[4]], PARAMS), "the histories differ"
    query = trigger_query(lake, frame["trigger_id"][-3])
    stage, params = SIGNAL_STAGES[0], RunParams(retrieval=PARAMS)

    def answers() -> tuple[pl.DataFrame, pl.DataFrame]:
        build(lake, stage, SYMBOL, days[-1], "rth", params, overwrite=True)
        return neighbours(lake, query, params=PARAMS).forecast, lake.read(SIGNALS, SYMBOL, days[-1])

    fresh = answers()
    served = name_for("ES", before, PARAMS)
    assert [make_fit(t) for t in fits_to_make(lake, "ES", PARAMS) if t.name == served] == [FitMade()]
    kept = kept_fits(lake, "ES", "mirrored", before, PARAMS)
    assert kept is not None
    assert kept[0].recipe == "wall"
    for a, b in zip(fresh, answers()):
        assert a.equals(b)
    assert fresh[1].filter(pl.col("trigger_id") == frame["trigger_id"][-3])["p_break"][0] == fresh[0]["p_break"][0]


def test_a_new_session_costs_one_fit_at_most_and_is_a_neighbour_without_one(lake: Lake, frame: pl.DataFrame) -> None:
    assert fits_to_make(lake, "ES", PARAMS) == []
    was = {n: read_index_manifest(lake, n) for n in kept_names(lake, "ES")}
    added = add_session(lake, frame)
    days = days_of(lake)
    todo = fits_to_make(lake, "ES", PARAMS)
    assert [t.through for t in todo] == [d for d in fit_days(days, 8) if f"fit-es-{d}" not in was]
    assert len(todo) <= 1
    assert {n: read_index_manifest(lake, n) for n in kept_names(lake, "ES")} == was
    fits = kept_fits(lake, "ES", "mirrored", [(SYMBOL, d) for d in days if d != added], PARAMS)
    assert fits is not None
    assert fits[0].history.sessions.max() == np.datetime64(days[-2])
    manifest = read_index_manifest(lake, sorted(was)[-1])
    assert manifest["through"] == sorted(was)[-1][-10:]
    assert len(manifest["inputs"]) == 2 * len(set(manifest["inputs"]) & {f"{VECTORS}/{SYMBOL}/{d}" for d in days})
    assert set(manifest["files"]) == {"models.json", "horizons.json", "mirrored.odds.npy", "mirrored.touch.odds.npy"}


def test_history_is_kept_once_and_read_again_where_it_is_harmed(lake: Lake, frame: pl.DataFrame) -> None:
    """A fit holds what was fitted, and of each event the log odds by which it is placed."""
    days = days_of(lake)
    before = [(SYMBOL, d) for d in days[:-2]]
    fits, query = kept_fits(lake, "ES", "mirrored", before, PARAMS), trigger_query(lake, frame["trigger_id"][20 * SESSIONS - 3])
    assert fits is not None
    model = fits[0]
    odds = index_folder(lake, name_for("ES", before, PARAMS)) / "mirrored.odds.npy"
    assert odds.stat().st_size == 128 + 3 * 8 * (len(model.history) - model.later)
    answer = neighbours(lake, query, params=PARAMS)
    kept = read_history(lake, "ES", PARAMS.kinds)
    assert kept is not None
    from_gold = gold_events(lake, kinds=PARAMS.kinds)["mirrored"]
    whole = kept.between(None, days[-1])["mirrored"]
    assert (whole.names, whole.matrix.tobytes()) == (from_gold.names, from_gold.matrix.tobytes())
    assert whole.frame.equals(from_gold.frame)
    place = index_folder(lake, history_name("ES"))
    for file in ("mirrored.npy", "mirrored.parquet", "manifest.json"):
        damage(place / file)
        assert read_history(lake, "ES", PARAMS.kinds) is None
        again = neighbours(lake, query, params=PARAMS)
        assert again.forecast.equals(answer.forecast)
        assert again.found.equals(answer.found)
        assert fits_to_make(lake, "ES", PARAMS) == []
        assert read_history(lake, "ES", PARAMS.kinds) is not None, "written again"
    # A session more is read by itself, one that changed too; one without walls takes them from the histories that it is in.
    added = add_session(lake, frame)
    early = frame.filter(pl.col("session_date") == days[12]).with_columns(pl.col("sigma") * 2)
    write_gold(lake.root, early)
    fits_to_make(lake, "ES", PARAMS)
    kept = read_history(lake, "ES", PARAMS.kinds)
    assert kept is not None
    whole = kept.between(None, added)["mirrored"]
    from_gold = gold_events(lake, kinds=PARAMS.kinds)["mirrored"]
    assert (whole.names, whole.matrix.tobytes()) == (from_gold.names, from_gold.matrix.tobytes())
    assert whole.frame.equals(from_gold.frame)
    assert set(WALL).isdisjoint(whole.names)
    assert set(WALL) <= set(kept.between(None, days[11])["mirrored"].names)
    assert set(WALL) <= set(kept.between(days[12], added)["mirrored"].names)


def damage(path: Path) -> None:
    """One byte in the middle of a file is another, its size the same."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_fit_that_is_harmed_is_not_used_and_is_made_again(lake: Lake, frame: pl.DataFrame) -> None:
    add_session(lake, frame)
    days = days_of(lake)
    before, query = [(SYMBOL, d) for d in days[:-2]], trigger_query(lake, frame["trigger_id"][-3])
    name = name_for("ES", before, PARAMS)
    assert kept_fits(lake, "ES", "mirrored", before, PARAMS) is not None
    answer = neighbours(lake, query, params=PARAMS).forecast
    for file in ("models.json", "horizons.json", "mirrored.odds.npy", "mirrored.touch.odds.npy", "manifest.json", "_SUCCESS"):
        path = index_folder(lake, name) / file
        was = path.read_bytes()
        damage(path)
        assert [t.name for t in fits_to_make(lake, "ES", PARAMS)] == [name], file
        assert kept_fits(lake, "ES", "mirrored", before, PARAMS) is None, file
        if file == "horizons.json":
            assert neighbours(lake, query, params=PARAMS).forecast.equals(answer), "fitted when it is asked"
        path.write_bytes(was)
        assert fits_to_make(lake, "ES", PARAMS) == []
    (index_folder(lake, name) / "models.json").unlink()
    (task,) = fits_to_make(lake, "ES", PARAMS)
    assert make_fit(task) == FitMade()
    assert fits_to_make(lake, "ES", PARAMS) == []
    assert kept_fits(lake, "ES", "mirrored", before, PARAMS) is not None


def test_what_no_longer_holds_is_not_used_and_is_made_again(lake: Lake, frame: pl.DataFrame) -> None:
    days = days_of(lake)
    before = [(SYMBOL, d) for d in days[:-2]]
    assert kept_fits(lake, "ES", "mirrored", before, PARAMS.model_copy(update={"cap": 2})) is None
    early = frame.filter(pl.col("session_date") == days[3]).with_columns(pl.lit("CHOP").alias("outcome_h1"))
    write_gold(lake.root, early)
    write_walls(lake, early)
    assert kept_fits(lake, "ES", "mirrored", before, PARAMS) is None
    todo = fits_to_make(lake, "ES", PARAMS)
    assert len(todo) == len(fit_days(days, 8))
    assert [make_fit(t) for t in todo[-3:]] == [FitMade()] * 3
    assert kept_fits(lake, "ES", "mirrored", before, PARAMS) is not None
    # A session that is gone moves the ends of the histories: fits of other ends go.
    shutil.rmtree(lake.path(VECTORS, SYMBOL, days[0]))
    left = {f"fit-es-{d}" for d in fit_days(days[1:], 8)}
    fits_to_make(lake, "ES", PARAMS)
    assert kept_names(lake, "ES") <= left


def test_a_short_history_has_no_fit_and_says_so(tmp_path: Path, frame: pl.DataFrame) -> None:
    lake = write_gold(tmp_path / "lake", frame.head(20 * 9))
    todo = fits_to_make(lake, "ES", PARAMS.model_copy(update={"min_events": 1000}))
    assert [t.name for t in todo] == [f"fit-es-{d}" for d in days_of(lake)[7:]]
    found = make_fit(todo[0])
    assert (found.short, found.error) == (True, "NoData")
    assert "too few events: expected at least 1000" in found.message
    assert kept_names(lake, "ES") == set()


def test_a_fit_that_fails_is_counted_by_name_and_the_command_fails(tmp_path: Path, frame: pl.DataFrame) -> None:
    """One session's gold is harmed: every history with it fails, those before it are made; too short ones are no failure."""
    lake = write_gold(tmp_path / "lake", frame.head(20 * 11))
    days = days_of(lake)
    harmed = next(lake.path(VECTORS, SYMBOL, days[-1]).glob("*.parquet"))
    content = bytearray(harmed.read_bytes())
    content[len(content) // 2 :: 7] = bytes(len(content[len(content) // 2 :: 7]))
    harmed.write_bytes(content)  # of the size that it had: nothing is seen before it is read
    params = RunParams(retrieval=PARAMS.model_copy(update={"min_events": 150}))
    job = Run(lake, "ES", days, False, "rth", params, 1, False, True)
    job._fits()
    assert [(r.name, r.status, r.error) for r in job.receipts] == [(f"fit fit-es-{days[-1]}", "failed", "PartitionCorrupt")]
    assert f"--dates {days[-1]} --session rth --overwrite` rebuilds it; until it is made, questions" in job.receipts[0].message
    assert kept_names(lake, "ES") == {f"fit-es-{days[-2]}"}
    assert any(f"2 histories are too short for a fit, the last of sessions up to {days[8]}: too few events" in s for s in job.said)
    with pytest.raises(RunFailed, match=f"failed fit fit-es-{days[-1]}: PartitionCorrupt: "):
        job._report(1.0)
