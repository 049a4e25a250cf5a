"""A harmed lake: what is harmed is named, all else is read and served, and nothing ends without a name."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from engine.errors import EngineError
from engine.lake.catalog import datasets
from engine.lake.manifest import MANIFEST
from engine.lake.store import CACHE_DIR, Lake
from engine.params import RunParams
from engine.pipeline import lake_state, plan_sessions
from engine.selection import count_days
from tests.support.figures import Say
from tests.support.lake_fuzz import harm_file, harm_folder, harm_manifest, harm_raw
from tests.support.lakes import RAW, TUESDAY, spymaster
from workbench import session_cache

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
        lambda: session_cache.contracts(str(lake.root)),
        lambda: plan_sessions(lake, [("ESZ5", TUESDAY)], "rth", RunParams(), group="silver", overwrite=False, must=True),
        lambda: count_days(lake, "ES", "rth"),
        lake.passed_over,
    ):
        with suppress(EngineError):
            work()


def fuzz(lake: Lake, times: int, seed: int) -> dict[str, int]:
    """Harm the lake `times` times, each time undone; returns how often each way was taken."""
    rng = random.Random(seed)
    files = sorted(p for p in lake.root.rglob("*") if p.is_file() and p.name != ".lock")
    folders = sorted(p.parent for p in files if p.name == MANIFEST)
    whole = seen(lake)
    assert all(isinstance(rows, int) for rows in whole.values())
    ways: dict[str, int] = {}
    for i in range(times):
        way = rng.choice(("file", "file", "manifest", "manifest", "folder", "raw"))
        if way == "file":
            path = rng.choice(files)
            hurt, (what, undo) = path.parent, harm_file(path, rng)
        elif way == "raw":
            hurt, (what, undo) = lake.root / RAW, harm_raw(lake.root / RAW, rng)
        else:
            hurt = rng.choice(folders)
            what, undo = (harm_manifest if way == "manifest" else harm_folder)(hurt, rng)
        ways[way] = ways.get(way, 0) + 1
        try:
            now = seen(lake)
            use(lake)
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
        for (key, symbol, date), rows in whole.items():
            if lake.root / "x" != hurt and str(hurt) not in str(lake.path(key, symbol, TUESDAY.fromisoformat(date))):
                assert now[key, symbol, date] == rows, (i, way, what, hurt)
    assert seen(lake) == whole
    return ways


def prepared(lake: Lake) -> Lake:
    """With the caches and the selection map that the commands leave."""
    spymaster("run", "--lake", lake.root, "--symbol", "ESZ5", "--dates", "2025-11-04", "--layer", "silver")
    spymaster("run", "--lake", lake.root, "--symbol", "ESZ5", "--dates", "2025-11-03:2025-11-04", "--layer", "bronze")
    spymaster("select", "--lake", lake.root, "--symbol", "ES")
    assert list((lake.root / CACHE_DIR).iterdir())
    return lake


def test_a_harmed_lake_is_named_and_the_rest_is_read(copied_lake: Lake):
    ways = fuzz(prepared(copied_lake), 120, seed=1)
    assert set(ways) == {"file", "manifest", "folder", "raw"}


@pytest.mark.long
def test_three_thousand_harmed_lakes(copied_lake: Lake, say: Say):
    ways = fuzz(prepared(copied_lake), 3_000, seed=2)
    say("lakes harmed", f"{sum(ways.values()):,} ({', '.join(f'{n} {way}' for way, n in sorted(ways.items()))}): none without a name")
