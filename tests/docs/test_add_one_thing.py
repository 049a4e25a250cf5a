"""A level, a feature, a stage and a view are added from CONTRIBUTING's own text, to a copy of the sources, and seen on the screen."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from numba.core.caching import _CacheLocator

from tests.docs.blocks import ROOT, apply, blocks_of
from tests.support.dbn_files import DAY_NS, busy_day, utc_ns, write_dbn
from tests.ui.conftest import Server
from tests.ui.pages import Watch, new_page, query, until

DATE = dt.date(2025, 11, 4)
PROMISES = ("Add a level", "Add a feature", "Add a stage", "Add a view")
SOURCES = ("engine", "workbench", "docs", "pyproject.toml")


@dataclass
class House:
    """A copy of the sources with the four additions, a lake that it made, and what its commands printed."""

    root: Path
    lake: Path
    files: dict[str, list[str]]

    @property
    def kernels(self) -> Path:
        """Folder of the copy's compiled kernels."""
        return self.root.parent / "kernels"

    def python(self, *args: object) -> str:
        """Standard output of Python with the copy on its path."""
        env = {**os.environ, "PYTHONPATH": str(self.root), "NUMBA_CACHE_DIR": str(self.kernels), "COLUMNS": "200"}
        done = subprocess.run([sys.executable, *map(str, args)], cwd=self.root, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def spymaster(self, *args: object) -> str:
        """What a command of the copy prints."""
        return self.python("-m", "engine.cli", *args)

    def partition(self, table: str) -> pl.DataFrame:
        """The session's rows of a silver table."""
        parts = sorted(self.lake.glob(f"silver/*/symbol=ESZ5/table={table}/dt={DATE}/*.parquet"))
        assert parts, f"no partition of {table} in {self.lake}"
        return pl.concat([pl.read_parquet(p, hive_partitioning=False) for p in parts])


def share_kernels(copy: Path, kernels: Path) -> None:
    """Give the copy what is compiled of these sources: numba keeps it by a file's path, and compiles anew where its time or size differ."""
    compiled = Path(os.environ["NUMBA_CACHE_DIR"])
    for folder in {p.parent for p in (ROOT / "engine").rglob("*.py")}:
        here, there = (_CacheLocator.get_suitable_cache_subpath(str(f / "a.py")) for f in (folder, copy / folder.relative_to(ROOT)))
        if (compiled / here).is_dir():
            shutil.copytree(compiled / here, kernels / there)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The copy, with the blocks of CONTRIBUTING applied in the order in which they stand, its commands run, and a lake made by it."""
    folder = tmp_path_factory.mktemp("house")
    root = folder / "copy"
    root.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, root / name)
    made = House(root, folder / "lake", {p: [] for p in PROMISES})
    share_kernels(root, made.kernels)
    for block in blocks_of(ROOT / "CONTRIBUTING.md"):
        if block.heading not in PROMISES:
            continue
        if block.language == "sh":
            for line in block.text.splitlines():
                command = line.split("#")[0].split()
                if command[:3] == ["uv", "run", "spymaster"]:
                    made.spymaster(*command[3:])
        else:
            apply(block, root)
            made.files[block.heading].append(block.file)
    file = write_dbn(
        folder / "glbx-mdp3-20251104.mbo.dbn.zst",
        busy_day(60_000, 3, date=DATE, start_ns=utc_ns(DATE, 9), end_ns=utc_ns(DATE, 17, 35), symbols={17077: "ESZ5"}),
        symbols={17077: "ESZ5"},
        start=utc_ns(DATE),
        end=utc_ns(DATE) + DAY_NS,
    )
    made.spymaster("add", file, "--lake", made.lake)
    made.spymaster("run", "--lake", made.lake, "--layer", "all", "--symbol", "ESZ5", "--dates", DATE, "--session", "rth")
    return made


@pytest.fixture(scope="module")
def screen(house: House, browser: Any) -> Iterator[tuple[Any, Watch, str]]:
    """A tab on the copy's page, what the browser complains of, and the page's address."""
    with patch.dict(os.environ, {"NUMBA_CACHE_DIR": str(house.kernels)}):
        server = Server(house.lake, log=house.root.parent / "serve.log", warm=False, root=house.root)
    tab = new_page(browser)
    try:
        yield tab, Watch(tab), f"{server.url}?contract=ESZ5&session={DATE}&t=10:45:00"
    finally:
        tab.close()
        server.stop()


def said(tab: Any) -> str:
    """The sentence above what is shown."""
    return tab.locator(".sm-say:visible").first.inner_text()


def test_each_promise_says_which_files_it_adds_to(house: House) -> None:
    assert house.files == {
        "Add a level": ["engine/levels.py", "engine/params.py"],
        "Add a feature": ["engine/features/tape.py"],
        "Add a stage": [
            "engine/lake/datasets.yaml", "engine/lake/contracts/silver/spread_1m.avsc", "engine/stages/spread.py",
            "engine/stages/task.py", "engine/stages/task.py",
        ],
        "Add a view": ["workbench/plots/spread.py", "workbench/views/spread.py"],
    }  # fmt: skip


def test_what_is_added_passes_the_checks_of_style_and_imports(house: House) -> None:
    added = sorted({f for files in house.files.values() for f in files if f.endswith(".py")})
    house.python("-m", "ruff", "check", *added)
    house.python("-m", "ruff", "format", "--check", *added)
    house.python("-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))")
    assert "1 passed" in house.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", "workbench/plots/spread.py")


def test_a_level(house: House, screen: tuple[Any, Watch, str]) -> None:
    levels = house.partition("levels")
    row = levels.row(by_predicate=pl.col("level_id") == "ib_high", named=True)
    assert row["start_ts_ns"] == utc_ns(DATE, 15, 30)  # 10:30 New York: the first hour of trading has ended
    opening_range = levels.row(by_predicate=pl.col("level_id") == "or_high", named=True)
    assert row["price"] >= opening_range["price"]
    tab, watch, url = screen
    tab.goto(f"{url}&view=level")
    chip = tab.get_by_role("radio", name="IB High")
    chip.wait_for(timeout=60_000)
    chip.click()
    until(tab, lambda p: query(p).get("level"), "ib_high")
    until(tab, lambda p: said(p).startswith(f"IB High {row['price']:.2f}"), True)
    assert watch.errors == []


def test_a_feature(house: House, screen: tuple[Any, Watch, str]) -> None:
    assert "`t12_volume_log`" in (house.root / "docs" / "FEATURES.md").read_text()
    contract = json.loads(house.spymaster("contracts", "--json"))["silver.future_mbo.mbo_level_vacuum_5s"]
    assert [f[3:] for f in contract if f[0] == "t12_volume_log"] == [
        ["log contracts", "Aggressive volume within the far bound of the level, in both directions: ln(1 + V_ahead + V_behind)"]
    ]
    values = house.partition("mbo_level_vacuum_5s").filter("book_valid")["t12_volume_log"]
    assert values.null_count() == 0
    assert values.min() >= 0 < values.max()
    layout = "\n".join(
        (
            "from engine.features.vector import feature_list",
            "for representation in ('means', 'blocks'):",
            "    for approach in ('approach_up', 'approach_down'):",
            "        print(feature_list(representation, approach)['hash'])",
        )
    )
    here = subprocess.run([sys.executable, "-c", layout], cwd=ROOT, capture_output=True, text=True, check=True)
    assert house.python("-c", layout) == here.stdout  # the vectors are what they were
    tab, watch, url = screen
    tab.goto(f"{url}&view=research&about=features")
    tab.get_by_label("Family").locator("visible=true").wait_for(timeout=60_000)
    tab.get_by_label("Family").locator("visible=true").select_option(label="tape")
    until(tab, lambda p: "tape" in said(p), True)
    tab.get_by_label("Feature", exact=True).locator("visible=true").select_option(label="t12 volume log")
    until(tab, lambda p: said(p).startswith("tape: t12 volume log, own window: "), True, 30_000)
    assert "above" in said(tab)
    assert watch.errors == []


def test_a_stage(house: House, screen: tuple[Any, Watch, str]) -> None:
    spread = house.partition("spread_1m")
    assert spread.columns == ["window_start_ts_ns", "spread_ticks"]
    assert spread["spread_ticks"].min() >= 1
    state = json.loads(house.spymaster("lake", "--lake", house.lake, "--json"))
    assert "silver.future_mbo.spread_1m" in json.dumps(state)
    assert "spread_1m" in house.spymaster("lake", "--lake", house.lake)
    tab, watch, url = screen
    tab.goto(f"{url}&view=research&about=quality")
    row = tab.locator("table.sm-table:visible tr", has_text="silver.future_mbo.spread_1m")
    row.wait_for(timeout=60_000)
    cells = row.locator("td").all_inner_texts()
    assert cells[1:] == ["1", f"{spread.height:,}", "2", "One row per minute of the session in which both sides were quoted"]
    assert "nothing is stale" in said(tab)
    assert watch.errors == []


def test_a_view(screen: tuple[Any, Watch, str]) -> None:
    tab, watch, url = screen
    tab.goto(url)
    tab.get_by_role("tab", name="Spread").click()
    until(tab, lambda p: query(p).get("view"), "spread")
    drawn = (
        "() => Bokeh.documents.flatMap((d) => [...d._all_models.values()]).filter((m) => m.type === 'Figure' && m.name === 'spread').length"
    )
    until(tab, lambda p: p.evaluate(drawn), 1, 30_000)
    tab.get_by_role("button", name="Drawer").click()
    keys = tab.locator("table.sm-keys:visible")
    keys.wait_for(timeout=20_000)
    assert "to a tool of a figure" in keys.inner_text()
    # A view follows the state: the theme is changed while another one is in front.
    tab.get_by_role("tab", name="Level").click()
    until(tab, lambda p: query(p).get("view", "level"), "level")
    floor = f"({drawn.replace('.length', '')})()[0].border_fill_color"
    before = tab.evaluate(f"() => {floor}")
    tab.get_by_role("button", name="theme").click()
    tab.get_by_role("tab", name="Spread").click()
    until(tab, lambda p: p.evaluate(f"() => {floor}") != before, True)
    assert watch.errors == []
