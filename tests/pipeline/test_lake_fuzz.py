"""A harmed lake: what is harmed is named, all else is read and served, and nothing ends without a name."""

from __future__ import annotations

import json
import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from engine.commands.retrieval import synthetic_events
from engine.errors import EngineError, PartitionCorrupt, PartitionMissing, StaleIndex
from engine.lake.catalog import LEVELS, dataset, datasets
from engine.lake.manifest import MANIFEST
from engine.lake.store import CACHE_DIR, PROFILE_FILE, Lake
from engine.params import AuditParams, RetrievalParams, RunParams
from engine.pipeline import lake_state, plan_sessions
from engine.retrieval.audit import audit
from engine.retrieval.audit_store import REPORT, TABLE, Choice, audit_inputs, read_audit, write_audit
from engine.retrieval.index import build_index, index_root, open_index, read_index_manifest
from engine.retrieval.walk_forward import AuditData
from engine.selection import count_days, read_selection
from tests.support.built import copy_of_built
from tests.support.figures import Say
from tests.support.lake_fuzz import harm_file, harm_folder, harm_manifest, harm_raw, sign_manifest
from tests.support.lakes import RAW, TUESDAY, spymaster
from tests.support.retrieval import gold_frame, write_gold
from workbench import lakes

Name = tuple[str, str, str]


def seen(lake: Lake) -> dict[Name, int | str]:
    """Every partition as readers find it: its rows, or the name of the error that says why not."""
    found: dict[Name, int | str] = {}
    for key in datasets():
        for symbol, date in lake.partitions(key):
            try:
                rows: int | str = lake.read(key, symbol, date).height
                lake.is_simulated(key, symbol, date)
            except EngineError as e:
                rows = type(e).__name__
            found[key, symbol, str(date)] = rows
    return found


def use(lake: Lake) -> None:
    """What the commands and the page do with a lake; an error must have a name."""
    for work in (
        lambda: lake_state(lake, verify=True),
        lambda: lakes.contracts(str(lake.root)),
        lambda: plan_sessions(lake, [("ESZ5", TUESDAY)], "rth", RunParams(), group="silver", overwrite=False, must=True),
        lambda: count_days(lake, "ES", "rth"),
        lake.passed_over,
        lambda: read_audit(lake.root),
        lambda: open_index(lake, check=False),
        lambda: read_selection(lake, "ES"),
    ):
        with suppress(EngineError):
            work()


def reaches(hurt: Path, lake: Lake, name: Name) -> bool:
    """Whether harm at `hurt` may show in a partition: its own file or folder, or the profile, which silver and gold are asked with."""
    key, symbol, date = name
    folder = lake.path(key, symbol, TUESDAY.fromisoformat(date))
    return folder in (hurt, hurt.parent) or (hurt == lake.root / PROFILE_FILE and dataset(key).layer != "bronze")


def is_named(lake: Lake, name: Name, path: Path, content: bytes) -> bool:
    """Whether harm to the file `path` of a partition, which was `content`, is named: a part's by ``lake --verify``, whatever a read says,
    a manifest's by every read, unless it says the same as before."""
    key, symbol, date = name
    try:
        lake.verify(key, symbol, TUESDAY.fromisoformat(date))
    except PartitionMissing:
        return True
    return path.suffix != ".parquet" or path.read_bytes() == content


def fuzz(lake: Lake, times: int, seed: int) -> dict[str, int]:
    """Harm the lake `times` times, each time undone; returns how often each way was taken."""
    rng = random.Random(seed)
    files = sorted(p for p in lake.root.rglob("*") if p.is_file() and p.name != ".lock")
    folders = sorted(p.parent for p in files if p.name == MANIFEST)
    contents = {p: p.read_bytes() for p in files}
    whole = seen(lake)
    assert all(isinstance(rows, int) for rows in whole.values())
    ways: dict[str, int] = {}
    for i in range(times):
        way = rng.choice(("file", "file", "manifest", "manifest", "folder", "raw"))
        if way == "file":
            path = rng.choice(files)
            hurt, (what, undo) = path, harm_file(path, rng)
        elif way == "raw":
            hurt, (what, undo) = lake.root / RAW, harm_raw(lake.root / RAW, rng)
        else:
            hurt = rng.choice(folders)
            what, undo = (harm_manifest if way == "manifest" else harm_folder)(hurt, rng)
        ways[way] = ways.get(way, 0) + 1
        try:
            now = seen(lake)
            use(lake)
            if way == "file":
                own = [name for name in whole if hurt != lake.root / PROFILE_FILE and reaches(hurt, lake, name)]
                for name in own:
                    assert is_named(lake, name, hurt, contents[hurt]), (i, what, hurt)
                    assert isinstance(now[name], str) or now[name] == whole[name], (i, what, hurt)
            if i % 40 == 0:
                # The whole command too: a report or a sentence.
                done = spymaster("lake", "--lake", lake.root, "--verify", check=False)
                assert done.returncode in (0, 1)
                assert "Traceback" not in done.stderr
        except BaseException as e:
            e.add_note(f"after harm {i} of seed {seed}: {way} {what} at {hurt.relative_to(lake.root)}")
            raise
        finally:
            undo()
        for name, found in whole.items():
            if not reaches(hurt, lake, name):
                assert now[name] == found, (i, way, what, hurt)
    assert seen(lake) == whole
    return ways


def prepare(whole: Path, folder: Path) -> None:
    """``lake`` in `folder`: a copy of `whole` with the caches and the selection map that the commands leave, and an audit and an index, of
    gold that is not there."""
    lake = Lake(folder / "lake")
    shutil.copytree(whole, lake.root)
    spymaster("run", "--lake", lake.root, "--symbol", "ESZ5", "--dates", "2025-11-04", "--layer", "silver")
    spymaster("run", "--lake", lake.root, "--symbol", "ESZ5", "--dates", "2025-11-03:2025-11-04", "--layer", "bronze")
    spymaster("select", "--lake", lake.root, "--symbol", "ES")
    assert list((lake.root / CACHE_DIR).iterdir())
    elsewhere = write_gold(folder / "gold", gold_frame(160))
    params = RetrievalParams(min_events=40, min_sessions=4, tune_queries=50, k_grid=(50,), residual_grid=(0.1,))
    build_index(elsewhere, params=params, choice=Choice("means", "history", None, {"events": 160}))
    shutil.move(index_root(elsewhere), index_root(lake))
    planted = AuditData(synthetic_events(160, 2.0, 1).data.means)
    write_audit(lake.root, audit(planted, AuditParams(retrieval=params), only=("means",), touch=False), audit_inputs(lake, "ESZ5"))


@pytest.fixture
def prepared(whole_lake: Lake, tmp_path: Path) -> Lake:
    """A lake of `prepare`, which a test may harm."""
    return Lake(copy_of_built("prepared-lake", lambda folder: prepare(whole_lake.root, folder), tmp_path / "prepared") / "lake")


def test_a_harmed_lake_is_named_and_the_rest_is_read(prepared: Lake):
    ways = fuzz(prepared, 40, seed=1)
    assert set(ways) == {"file", "manifest", "folder", "raw"}


def test_a_lake_whose_path_is_a_pattern_is_read_as_any(prepared: Lake):
    """Readers of parquet expand ``[``, ``]``, ``*`` and ``?``, unless they are told not to."""
    place = prepared.root.with_name("lake[1]*?")
    found, audited = seen(prepared), read_audit(prepared.root)[0]
    prepared.root.rename(place)
    lake = Lake(place)
    assert seen(lake) == found
    assert all(isinstance(rows, int) for rows in found.values())
    assert read_audit(place)[0].equals(audited)
    assert len(read_selection(lake, "ES")) == len(count_days(lake, "ES", "rth")) > 0
    assert open_index(lake, check=False).history.frame.height > 0
    spymaster("lake", "--lake", place, "--verify")


@pytest.mark.parametrize("values", [{}, {"levels": 3}, {"levels": {"level_ids": 3}}, {"levels": {"level_ids": {"a": None}}}], ids=str)
def test_recorded_parameters_that_are_something_else_make_a_partition_stale(prepared: Lake, values: dict[str, object]):
    folder = prepared.path(LEVELS, "ESZ5", TUESDAY)
    body = json.loads((folder / MANIFEST).read_text())
    body["lineage"]["values"] = values
    sign_manifest(folder, body)
    (state,) = (s for s in lake_state(prepared) if s.dataset == LEVELS)
    assert state.stale in ("the parameters in its manifest are not this stage's", "the code changed")


@pytest.mark.parametrize("content", ["[]", "3", "null", '"x"', '{"digest": 3}', "[" * 100_000, None], ids=lambda c: str(c)[:20])
def test_an_audit_or_an_index_that_is_something_else_is_named(tmp_lake: Path, content: str | None):
    """``None`` is a pipe, which would never end."""
    folder = index_root(Lake(tmp_lake)) / "default"
    for path in (tmp_lake / REPORT, folder / "manifest.json", folder / "_SUCCESS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path) if content is None else path.write_text(content)
    (tmp_lake / TABLE).write_bytes(b"PAR1")
    with pytest.raises(PartitionCorrupt, match=r"expected an audit, found .*`spymaster audit --lake"):
        read_audit(tmp_lake)
    with pytest.raises(StaleIndex, match=r"expected manifest\.json .*`spymaster index --lake"):
        read_index_manifest(Lake(tmp_lake))


@pytest.mark.long
def test_three_thousand_harmed_lakes(prepared: Lake, say: Say):
    ways = fuzz(prepared, 3_000, seed=2)
    say("lakes harmed", f"{sum(ways.values()):,} ({', '.join(f'{n} {way}' for way, n in sorted(ways.items()))}): none without a name")
