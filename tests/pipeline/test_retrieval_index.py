"""The index: whole or absent, equal to the fit it was made of, and refused for every reason there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.commands.retrieval import _print_neighbours as print_neighbours
from engine.errors import ContractError, NoData, PartitionMissing, StaleIndex
from engine.features.vector import WALL
from engine.lake.catalog import WALLS
from engine.lake.store import Lake
from engine.params import RetrievalParams
from engine.provenance import code_of
from engine.retrieval.dataset import VECTORS, gold_events
from engine.retrieval.events import Events
from engine.retrieval.forecast import forecast_frame
from engine.retrieval.index import (
    build_index,
    check_index,
    index_root,
    open_index,
    open_touch,
    read_index_manifest,
    rebuild_command,
    write_index_files,
)
from engine.retrieval.model import fit, forecast
from engine.retrieval.neighbours import Mode, edited, neighbours, trigger_query
from tests.support.lakes import leftovers
from tests.support.retrieval import SYMBOL, gold_frame, write_gold, write_walls

PARAMS = RetrievalParams(min_events=100, min_sessions=6, tune_queries=150, k_grid=(50, 100), residual_grid=(0.1,))


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with gold of twenty sessions and its index; only to be read."""
    lake = write_gold(tmp_path_factory.mktemp("gold") / "lake", gold_frame(400))
    build_index(lake, params=PARAMS)
    return lake


@pytest.fixture
def copied(indexed: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(indexed.root, tmp_path / "copy")
    return Lake(tmp_path / "copy")


def test_index_answers_as_the_fit_it_was_made_of(indexed: Lake) -> None:
    events = gold_events(indexed, kinds=("arm",))["mirrored"]
    fitted, opened = fit(events, PARAMS), open_index(indexed)
    queries = events.take(slice(100, 110))
    a, b = forecast(fitted, queries, start=0, end=100), forecast(opened, queries, start=0, end=100)
    for name in ("probability", "reference", "n_eff", "rows", "similarity", "nothing_comparable"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert opened.history.frame.equals(fitted.history.frame)
    assert opened.labels.tolist() == fitted.labels.tolist()


def test_pools_hold_what_they_say(indexed: Lake) -> None:
    manifest = read_index_manifest(indexed)
    pools = manifest["pools"]
    assert {"all/mirrored", "kind=pm/mirrored", "kind=or/mirrored", "pm_high/approach_up", "or_high/approach_down"} <= set(pools)
    assert pools["all/mirrored"]["count"] == 320  # every fifth of 400 never touched
    assert sum(p["count"] for n, p in pools.items() if n.startswith("kind=")) == 320
    assert sum(p["count"] for n, p in pools.items() if n.partition("/")[2].startswith("approach")) == 320
    assert manifest["default_representation"] == "learned"
    assert all(p["faiss"] == {"type": "IndexFlatIP", "metric": "inner_product", "exact": True} for p in pools.values())
    down = open_index(indexed, folder="pm_low", stem="approach_down")
    assert set(down.history.frame["level_id"]) == {"pm_low"}
    assert set(down.history.frame["approach"]) == {"approach_down"}
    assert (np.diff(down.history.sessions) >= np.timedelta64(0)).all()
    assert len(down.pool) == len(down.history) == pools["pm_low/approach_down"]["count"]
    # Vectors of a small pool are those of the whole one.
    whole = open_index(indexed)
    rows = np.flatnonzero(whole.history.frame["trigger_id"].is_in(down.history.frame["trigger_id"].to_list()).to_numpy())
    assert down.pool.index.reconstruct_n(0, len(rows)).tobytes() == whole.pool.index.reconstruct_n(0, len(whole.pool))[rows].tobytes()
    np.testing.assert_array_equal(down.history.matrix, np.asarray(whole.history.matrix)[rows])
    with pytest.raises(NoData, match=r"too few events: expected a pool vwap/approach_up, found .*all/mirrored"):
        open_index(indexed, folder="vwap", stem="approach_up")
    files = {p.name for p in (index_root(indexed) / "default").iterdir()}
    assert {"feature_list.json", "norm_stats_seed.json", "norm_stats.json", "manifest.json", "_SUCCESS"} <= files


def test_seed_statistics_are_those_of_the_first_sessions(indexed: Lake) -> None:
    seed = json.loads((index_root(indexed) / "default" / "norm_stats_seed.json").read_text())["mirrored"]
    history = open_index(indexed).history
    first = history.matrix[history.sessions < np.unique(history.sessions)[PARAMS.min_sessions]]
    expected = dict(zip(history.names, np.median(first.astype(float), axis=0)))
    assert seed["median"].keys() == expected.keys()
    np.testing.assert_allclose([seed["median"][n] for n in expected], list(expected.values()))


def test_building_again_gives_the_same(indexed: Lake, copied: Lake) -> None:
    before = read_index_manifest(copied)
    assert build_index(copied, params=PARAMS)["pools"] == before["pools"]
    assert leftovers(index_root(copied)) == []


def test_wall_features_serve_where_they_forecast(indexed: Lake, copied: Lake) -> None:
    """In the index, in a walk-forward answer and in its forecasts; where one session has none of its triggers, what was there before."""
    frame = gold_frame(400)
    write_walls(copied, frame)
    check = f"{WALLS}/{SYMBOL}"
    with pytest.raises(StaleIndex, match=f"older than the lake's: {check}"):
        check_index(copied, read_index_manifest(copied))
    manifest = build_index(copied, params=PARAMS)
    assert (manifest["representation"], manifest["compared"], manifest["default_representation"]) == ("means", "wall", "wall")
    opened, touch = open_index(copied), open_touch(copied)
    events = gold_events(copied, kinds=("arm",))["mirrored"]
    fitted = fit(events, PARAMS, recipe="best")
    assert (opened.recipe, opened.names, opened.history.names) == ("wall", WALL, WALL)
    assert touch is not None
    queries = events.take(slice(100, 110))
    a, b = forecast(fitted, queries, start=0, end=100), forecast(opened, queries, start=0, end=100)
    assert a.probability.tobytes() == b.probability.tobytes()
    query = trigger_query(copied, frame["trigger_id"][399])
    mode: Mode
    for mode in ("walk_forward", "all"):
        found = neighbours(copied, query, mode=mode, params=PARAMS)
        assert [c for c in found.found.columns if c.startswith("why_")] == sorted(f"why_w{i}" for i in range(1, 13))
        assert found.forecast["p_touch"][0] is not None
    table = forecast_frame(events, query, PARAMS)
    assert table.equals(neighbours(copied, query, params=PARAMS).forecast)
    # A dimension of gold's own is compared by these, where it was set by hand; what cannot count is refused.
    own = query.names[10]
    set_by_hand = edited(query, {own: 40.0, "distance": 0.1})
    found = neighbours(copied, set_by_hand, params=PARAMS, made_up=(own, "distance"))
    without = events.only(tuple(n for n in events.names if n not in WALL))
    assert found.recipe == "learned"
    assert found.forecast.equals(forecast_frame(without, set_by_hand, PARAMS))
    assert not found.forecast.equals(neighbours(copied, edited(query, {"distance": 0.1}), params=PARAMS, made_up=(own,)).forecast)
    for names, asked, says in (
        (
            (own,),
            "all",
            f"dimension {own!r}: expected one that setups are compared by, here the 25 of `wall` such as {WALL[0]}; others count",
        ),
        ((own, WALL[0]), "walk_forward", f"dimension {WALL[0]!r}: expected .* of `learned` such as .*; set those by themselves"),
    ):
        with pytest.raises(ContractError, match=says):
            neighbours(copied, set_by_hand, params=PARAMS, mode=asked, made_up=names)
    assert neighbours(copied, edited(query, {WALL[0]: 1.0}), params=PARAMS, made_up=(WALL[0],)).recipe == "wall"
    classes = ("p_break", "p_chop", "edge_low_break", "n_eff")
    assert forecast_frame(events, query, PARAMS, recipe="wall").select(classes).equals(table.select(classes))
    with pytest.raises(ContractError, match=r"expected the dimensions w1_orders_share_end, .*, found none; `spymaster rebuild`"):
        fit(gold_events(indexed, kinds=("arm",))["mirrored"], PARAMS, recipe="wall")
    # Triggers of one session are made again: its wall features are of others.
    change_gold(copied)
    assert set(gold_events(copied)["mirrored"].names).isdisjoint(WALL)
    assert build_index(copied, params=PARAMS)["compared"] == "means"


def change_gold(lake: Lake) -> None:
    frame = gold_frame(400).filter(pl.col("session_date") == pl.col("session_date").min())
    write_gold(lake.root, frame.with_columns(pl.lit("CHOP").alias("outcome_h1")))


def drop_gold(lake: Lake) -> None:
    date = lake.partitions(VECTORS)[0][1]
    shutil.rmtree(lake.path(VECTORS, SYMBOL, date))


def add_gold(lake: Lake) -> None:
    write_gold(lake.root, gold_frame(420).filter(pl.col("session_date") == pl.col("session_date").max()))


def change_profile(lake: Lake) -> None:
    (lake.root / "silver/_PROFILE.json").write_text('{"profile": "globex_open"}')


def edit_manifest(**values: object) -> Callable[[Lake], None]:
    """Change the manifest as someone would who makes its digest right again: only the comparison itself can refuse it."""

    def change(lake: Lake) -> None:
        from engine.lake.manifest import canonical, sha256_text

        folder = index_root(lake) / "default"
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["digest"]
        manifest |= values
        manifest["digest"] = sha256_text(canonical(manifest))
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / "_SUCCESS").write_text(manifest["digest"])

    return change


def harm(name: str, *, cut: int = 0) -> Callable[[Lake], None]:
    def change(lake: Lake) -> None:
        path = index_root(lake) / "default" / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data[: len(data) - cut]))

    return change


def swap(name: str) -> Callable[[Lake], None]:
    """The halves of a file, whose size stays."""

    def change(lake: Lake) -> None:
        path = index_root(lake) / "default" / name
        data = path.read_bytes()
        path.write_bytes(data[len(data) // 2 :] + data[: len(data) // 2])

    return change


def remove(name: str) -> Callable[[Lake], None]:
    return lambda lake: (index_root(lake) / "default" / name).unlink()


REFUSALS: dict[str, tuple[Callable[[Lake], None], str]] = {
    "older inputs": (change_gold, "inputs that are older than the lake's: gold"),
    "an input that is gone": (drop_gold, "inputs that are not in the lake's: gold"),
    "a session that is new": (add_gold, "inputs that are older than the lake's: gold"),
    "another session profile": (change_profile, "session profile 'rth', the lake holds 'globex_open'"),
    "other features": (edit_manifest(features={"mirrored": "0" * 64}), r"built with other features \(mirrored: 000000000000\)"),
    "another contract": (edit_manifest(contract="f" * 64), r"another contract of gold.future_mbo.mbo_trigger_vectors \(ffffffffffff\)"),
    "other code": (edit_manifest(code="0" * 64), r"built with other code \(000000000000\) than there is now"),
    "another format": (edit_manifest(format=0), "another format"),
    "a harmed index": (harm("all/mirrored.index"), "does not match its size or hash in the manifest"),
    "harmed metadata": (harm("all/mirrored.metadata.parquet"), "does not match its size or hash in the manifest"),
    "harmed statistics": (harm("norm_stats.json"), "does not match its size or hash in the manifest"),
    "harmed models": (harm("models.json"), "does not match its size or hash in the manifest"),
    "cut vectors": (harm("mirrored.vectors.npy", cut=8), "does not match its size or hash in the manifest"),
    "vectors that are no array": (swap("mirrored.vectors.npy"), r"mirrored\.vectors\.npy cannot be read"),
    "a missing file": (remove("all/mirrored.index"), "found none"),
    "no _SUCCESS": (remove("_SUCCESS"), "expected manifest.json and _SUCCESS"),
    "a changed manifest": (harm("manifest.json"), "index"),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_an_index_is_refused_with_the_command_that_mends_it(copied: Lake, reason: str) -> None:
    change, says = REFUSALS[reason]
    change(copied)
    with pytest.raises(StaleIndex, match=says) as refused:
        open_index(copied)
    # Where the manifest can be trusted, the command has its parameters.
    assert re.search(rf"`spymaster index --lake {copied.root} --name default( --params <\(echo '.*'\))?` rebuilds it", str(refused.value))


MENDED = set(REFUSALS) - {"another session profile"}
"""What the command mends; the profile of the lake is not the index's."""

MENDED_LIKE_OTHERS = {
    "another contract",
    "other code",
    "another format",
    "harmed metadata",
    "harmed statistics",
    "harmed models",
    "cut vectors",
}
"""Another word of the manifest, or another file, than one that is mended among the quick tests."""


@pytest.mark.parametrize("reason", [pytest.param(r, marks=[pytest.mark.long] * (r in MENDED_LIKE_OTHERS)) for r in sorted(MENDED)])
def test_an_index_made_again_where_one_was_refused_is_whole(copied: Lake, reason: str) -> None:
    REFUSALS[reason][0](copied)
    build_index(copied, params=PARAMS)
    assert len(open_index(copied).pool) > 300


def test_the_code_of_an_index_is_what_fits_and_writes_it_and_not_what_makes_gold_or_asks() -> None:
    found = {m.rpartition(":")[2] for m in code_of(gold_events, write_index_files).reached}
    writes = {"write_index_files", "_write_pool", "gold_events", "read_triggers", "with_decided_until"}
    fits = {"default_recipe", "fit", "retune", "fit_embedding", "fit_normaliser", "fit_reference", "make_pool", "Events"}
    assert writes | fits <= found
    makes_gold_or_asks = {"audit", "walk_neighbours", "audit_codes", "read_audit", "neighbours", "open_index", "means", "session_triggers"}
    assert not found & makes_gold_or_asks


def test_other_knobs_are_refused_by_name(indexed: Lake) -> None:
    with pytest.raises(StaleIndex, match=r"built with other parameters \(cap\)"):
        open_index(indexed, params=PARAMS.model_copy(update={"cap": 5}))
    check_index(indexed, read_index_manifest(indexed), PARAMS)


def test_the_command_makes_the_index_that_was_asked_for(copied: Lake) -> None:
    params = PARAMS.model_copy(update={"kinds": ("arm", "window")})
    build_index(copied, name="mine", symbol=SYMBOL, params=params)
    change_gold(copied)
    with pytest.raises(StaleIndex, match=f"--name mine --symbol {SYMBOL} --kinds arm,window --params .* rebuilds it") as refused:
        open_index(copied, "mine")
    with pytest.raises(
        StaleIndex, match=r"other parameters \(horizon\); `spymaster .* --kinds arm,window --horizon h2 --params .* rebuilds it"
    ):
        open_index(copied, "mine", params=params.model_copy(update={"horizon": "h2"}))
    # As it stands in the message, in a shell: the index has every parameter that it had.
    command = str(refused.value).split("`")[1].replace("spymaster", f"{sys.executable} -m engine.cli", 1)
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    manifest = read_index_manifest(copied, "mine")
    check_index(copied, manifest, params)
    assert manifest["symbol"] == SYMBOL
    usual = rebuild_command(copied, "mine", None, RetrievalParams().model_dump(mode="json"))
    assert usual == rebuild_command(copied, "mine") == f"spymaster index --lake {copied.root} --name mine"


def test_a_build_that_fails_or_is_killed_leaves_the_old_index(copied: Lake) -> None:
    before = read_index_manifest(copied)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(copied, params=PARAMS, progress=stop)
    assert read_index_manifest(copied) == before
    assert leftovers(index_root(copied)) == []
    # What a kill -9 leaves is swept away by the next build.
    (index_root(copied) / ".tmp-default-1-dead" / "all").mkdir(parents=True)
    build_index(copied, params=PARAMS)
    assert leftovers(index_root(copied)) == []


def test_index_dir_from_the_environment(indexed: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBO_INDEX_DIR", str(tmp_path / "elsewhere"))
    build_index(indexed, params=PARAMS, name="mine")
    assert (tmp_path / "elsewhere/mine/manifest.json").is_file()
    assert len(open_index(indexed, "mine").pool) == 320


def a_trigger(lake: Lake, session: int, row: int = 0) -> str:
    symbol, date = lake.partitions(VECTORS)[session]
    return str(lake.read(VECTORS, symbol, date)["trigger_id"][row])


def test_neighbours_walk_forward_are_gold_s_forecast(indexed: Lake) -> None:
    query = trigger_query(indexed, a_trigger(indexed, 15))
    found = neighbours(indexed, query, params=PARAMS)
    expected = forecast_frame(gold_events(indexed)["mirrored"], query, PARAMS)
    assert found.forecast.equals(expected)
    assert found.forecast["p_touch"][0] is not None
    days = sorted({d for _, d in indexed.partitions(VECTORS)})
    # Fourteen sessions are history of the sixteenth: the one before it is embargoed.
    assert set(found.found["session_date"]) <= set(days[:14])
    assert found.sessions == 14
    assert sum(found.counts.values()) == found.found.height == found.forecast["neighbours"][0]
    assert found.found["similarity"].is_sorted(descending=True)
    assert found.found["episode_id"].n_unique() == found.found.height
    assert found.found["session_date"].value_counts()["count"].max() <= PARAMS.cap


def test_neighbours_of_all_sessions_leave_out_the_own(indexed: Lake) -> None:
    query = trigger_query(indexed, a_trigger(indexed, 10))
    found = neighbours(indexed, query, mode="all")
    own = query.frame["session_date"][0]
    assert own not in set(found.found["session_date"])
    assert found.found["session_date"].max() > own
    assert found.found["session_date"].min() < own
    level = neighbours(indexed, query, mode="all", pool="level")
    assert set(level.found["level_id"]) == {query.frame["level_id"][0]}
    kind = neighbours(indexed, query, mode="all", pool="kind")
    assert {v.partition("_")[0] for v in kind.found["level_id"]} == {query.frame["level_id"][0].partition("_")[0]}
    for answer in (found, level, kind):
        assert answer.forecast["p_touch"][0] is not None


def test_the_probability_of_a_touch_from_the_index_is_that_of_its_fit(indexed: Lake) -> None:
    events = gold_events(indexed, kinds=("arm",))["mirrored"]
    fitted_touch, opened = fit(events, PARAMS, recipe=open_index(indexed).recipe, target="touch"), open_touch(indexed)
    assert opened is not None
    # Also those that never touched are its events.
    assert len(opened.history) == 400
    assert opened.labels.tolist() == events.touches().tolist()
    queries = events.take(slice(200, 210))
    a, b = (forecast(m, queries, start=0, end=180) for m in (fitted_touch, opened))
    for name in ("probability", "reference", "n_eff", "rows", "similarity", "likeness"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    # The query's own session is left out of it, as of the neighbours.
    query = trigger_query(indexed, a_trigger(indexed, 10))
    session = query.sessions[0]
    start, end = (int(np.searchsorted(opened.history.sessions, session, side=s)) for s in ("left", "right"))
    expected = forecast(opened, query, start=start, end=end, without=True).probability[0, 1]
    assert end - start == 20
    assert neighbours(indexed, query, mode="all").forecast["p_touch"][0] == expected
    assert open_touch(indexed, folder="nowhere") is None


def test_why_similar_adds_up_to_the_cosine(indexed: Lake) -> None:
    query = trigger_query(indexed, a_trigger(indexed, 12, 3))
    found = neighbours(indexed, query, mode="all").found
    model = open_index(indexed)
    place = {t: i for i, t in enumerate(model.history.frame["trigger_id"])}
    rows = np.asarray(model.history.matrix)[[place[t] for t in found["trigger_id"]]]
    a, b = (model.normaliser.scale(x).astype(float) for x in (query.matrix, rows))
    cosine = (b @ a[0]) / np.linalg.norm(a) / np.linalg.norm(b, axis=1)
    why = found.select(pl.sum_horizontal(pl.col("^why_.*$")))[:, 0]
    np.testing.assert_allclose(why, cosine, atol=1e-6)


def test_a_setup_one_makes_up(indexed: Lake) -> None:
    query = trigger_query(indexed, a_trigger(indexed, 12))
    name = query.names[-10]
    other = edited(query, {name: 3.5, query.names[0]: -1.0})
    assert other.matrix[0, -10] == 3.5
    assert (other.matrix != query.matrix).sum() == 2
    assert neighbours(indexed, edited(query, {}), mode="all").forecast.equals(neighbours(indexed, query, mode="all").forecast)
    # What the reference is given follows where a dimension says it, and nothing else moves.
    assert other.frame.equals(query.frame)
    far = edited(query, {"distance": 0.35, "volatility_log": np.log(3), "message_rate_log": np.log(11), "trade_rate_log": 0.0})
    assert far.covariates[0, [0, 1, 5, 6]] == pytest.approx([7, 2, 10, 0])
    np.testing.assert_array_equal(far.covariates[0, [2, 3, 4]], query.covariates[0, [2, 3, 4]])
    assert far.frame["distance_ticks"][0] * (1 if query.frame["approach"][0] == "approach_down" else -1) == 7
    usual, moved = (neighbours(indexed, q, mode="all").forecast["pi_break"][0] for q in (query, far))
    model = open_index(indexed)
    assert (usual, moved) == tuple(float(model.reference.predict(q)[0, 2]) for q in (query, far))
    for wrong, says in (({"distance": 0.13}, r"whole ticks .* such as 0\.1 or 0\.15"), ({"trade_rate_log": -1.0}, "0 or more")):
        with pytest.raises(ContractError, match=says):
            edited(query, wrong)
    with pytest.raises(ContractError, match="dimension 'speed'"):
        edited(query, {"speed": 1.0})
    with pytest.raises(ContractError, match="expected a finite number"):
        edited(query, {name: float("nan")})


@pytest.mark.parametrize("value", [np.nan, 0.0])
@pytest.mark.parametrize("mode", ["walk_forward", "all"])
def test_a_query_whose_vector_points_nowhere_has_no_neighbours_and_says_so(
    indexed: Lake, mode: Mode, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    query = trigger_query(indexed, a_trigger(indexed, 15))
    nowhere = Events(np.full_like(query.matrix, value), query.names, query.representation, query.frame)
    found = neighbours(indexed, nowhere, mode=mode, params=PARAMS)
    assert (found.found.height, found.counts) == (0, {"reject": 0, "chop": 0, "break": 0})
    row = found.forecast.row(0, named=True)
    assert (row["nothing_comparable"], row["reason"], row["neighbours"]) == (True, "no vector", 0)
    assert [row[f"pi_{c}"] for c in ("reject", "chop", "break")] == [
        neighbours(indexed, query, mode=mode, params=PARAMS).forecast[f"pi_{c}"][0] for c in ("reject", "chop", "break")
    ]
    print_neighbours(found, 10)
    said = capsys.readouterr().out
    assert said.startswith("nothing comparable: no vector")
    assert len(said.splitlines()) == 2  # the reason and the reference: no histogram, no list


def test_queries_on_what_is_not_there(indexed: Lake) -> None:
    with pytest.raises(PartitionMissing, match=r"spymaster run .*2031-01-02"):
        trigger_query(indexed, f"2031-01-02/{SYMBOL}/pm_high/approach_up/arm/1")
    with pytest.raises(NoData, match="no such trigger"):
        trigger_query(indexed, a_trigger(indexed, 3) + "1")
    with pytest.raises(NoData, match=r"expected \{date\}/\{symbol\}"):
        trigger_query(indexed, "nonsense")
    with pytest.raises(NoData, match="too few events: expected at least 100"):
        neighbours(indexed, trigger_query(indexed, a_trigger(indexed, 3)), params=PARAMS)
