"""A command that is printed helps: it is run as it stands, in the state in which it is printed, and what it was printed for is gone."""

from __future__ import annotations

import datetime as dt
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.lake.catalog import LADDER, TRIGGERS
from engine.lake.store import Lake
from tests.support.dbn_files import DAY_NS, utc_ns
from tests.support.deliveries import definition_file, head, mapped, one_day, orders, put
from tests.support.lakes import RAW, TUESDAY, day_file, spymaster

NIGHT = dt.date(2024, 3, 4)
QUESTION = ("--symbol", "ESZ5", "--date", str(TUESDAY), "--time", "10:31:05", "--level", "pm_high")


@dataclass
class Case:
    """What is typed, what it complains of, and what is said once that is mended; words in `instead` are the reader's to fill in."""

    asked: list[str]
    complaint: str
    mended: str = ""
    instead: dict[str, str] | None = None


Prepare = Callable[[Lake, Path], Case]
CASES: dict[str, Prepare] = {}


def case(prepare: Prepare) -> Prepare:
    CASES[prepare.__name__] = prepare
    return prepare


def lake_words(lake: Lake) -> list[str]:
    return ["--lake", str(lake.root)]


@case
def gold_is_missing(lake: Lake, folder: Path) -> Case:
    return Case(["neighbours", *lake_words(lake), *QUESTION], "makes triggers of what is there", "no other session before")


@case
def a_partition_is_missing(lake: Lake, folder: Path) -> Case:
    shutil.rmtree(lake.path(LADDER, "ESZ5", TUESDAY))
    moment = ("--symbol", "ESZ5", "--level", "pm_high", "--ts", f"{TUESDAY} 10:31:05")
    return Case(["snapshot", *lake_words(lake), *moment, "--out", str(folder / "a.png")], "no such partition")


@case
def nothing_but_raw_files_is_there(lake: Lake, folder: Path) -> Case:
    for made in ("bronze", "silver"):
        shutil.rmtree(lake.root / made)
    return Case(["neighbours", *lake_words(lake), *QUESTION], "expected partitions, found none", "add and run more dates")


@case
def nothing_is_there(lake: Lake, folder: Path) -> Case:
    files = folder / "files"
    for date in (TUESDAY - dt.timedelta(days=1), TUESDAY):
        day_file(files, date)
    empty = folder / "an empty lake"
    return Case(["lake", "--lake", str(empty)], "no partitions", "session profile of silver", {"FILE": str(files)})


@case
def no_earlier_session(lake: Lake, folder: Path) -> Case:
    spymaster("run", *lake_words(lake), "--layer", "gold", "--symbol", "ESZ5", "--dates", str(TUESDAY))
    earlier = TUESDAY - dt.timedelta(days=4)
    files = folder / "files"
    files.mkdir()
    for date in (earlier - dt.timedelta(days=1), earlier):
        day_file(files, date)
    asked = ["neighbours", *lake_words(lake), *QUESTION]
    return Case(asked, "no other session before 2025-11-04", instead={"FILES": str(files), "A:B": f"{earlier}:{earlier}"})


@case
def the_selection_map_is_missing(lake: Lake, folder: Path) -> Case:
    return Case(["run", *lake_words(lake), "--layer", "silver", "--symbol", "ES", "--dates", str(TUESDAY)], "expected the selection map")


@case
def several_dates_put_there_by_hand(lake: Lake, folder: Path) -> Case:
    start = utc_ns(NIGHT)
    records = orders(start + DAY_NS // 2, start + DAY_NS + DAY_NS // 2)
    put(lake.root / RAW / "two dates.dbn.zst", head(start, start + 2 * DAY_NS, mapped(NIGHT, days=2)), records)
    return Case(["lake", *lake_words(lake)], "expected a file of one UTC date")


@case
def more_is_there_already(lake: Lake, folder: Path) -> Case:
    start, end, records = one_day(NIGHT)
    early = put(folder / "early.dbn", head(start, end, mapped(NIGHT)), records[:50])
    whole = put(folder / "all of it.dbn", head(start, end, mapped(NIGHT)), records)
    spymaster("add", early, *lake_words(lake))
    return Case(["add", str(whole), *lake_words(lake)], "if this file holds all of that and more")


@case
def a_continuous_symbol(lake: Lake, folder: Path) -> Case:
    start, end = utc_ns(NIGHT), utc_ns(NIGHT) + DAY_NS
    mappings = {"ES.c.0": [(NIGHT, NIGHT + dt.timedelta(days=1), "1")]}
    path = put(folder / "front month.dbn", head(start, end, mappings), orders(start, end, {1: 250_000_000}))
    definitions = definition_file(folder / "definition.dbn.zst", NIGHT)
    return Case(["add", str(path), *lake_words(lake)], "continuous symbol", instead={"DEFINITION.dbn.zst": str(definitions)})


@case
def the_raw_file_is_missing(lake: Lake, folder: Path) -> Case:
    wednesday = TUESDAY + dt.timedelta(days=1)
    path = day_file(folder, wednesday)
    asked = ["run", *lake_words(lake), "--layer", "bronze", "--symbol", "ESZ5", "--dates", str(wednesday)]
    return Case(asked, "RawMissing", instead={"FILE": str(path)})


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_printed_command_mends_what_it_was_printed_for(copied_lake: Lake, tmp_path: Path, name: str):
    case = CASES[name](copied_lake, tmp_path)
    before = spymaster(*case.asked, check=False)
    text = before.stdout + before.stderr
    assert case.complaint in text, text
    commands = [c for c in re.findall(r"`(spymaster [^`]*)`", text) if c.split()[1] != "serve"]
    assert commands, text
    for command in commands:
        for stands, runs in (case.instead or {}).items():
            command = re.sub(rf"\b{re.escape(stands)}\b", lambda _, runs=runs: shlex.quote(runs), command)
        spymaster(*shlex.split(command)[1:])
    after = spymaster(*case.asked, check=False)
    told = after.stdout + after.stderr
    assert case.complaint not in told, told
    assert case.mended in told


def test_a_first_session_is_not_told_to_run_gold_again(copied_lake: Lake):
    spymaster("run", *lake_words(copied_lake), "--layer", "gold", "--symbol", "ESZ5", "--dates", str(TUESDAY))
    assert copied_lake.has(TRIGGERS, "ESZ5", TUESDAY)
    asked = ("neighbours", *lake_words(copied_lake), *QUESTION)
    said = spymaster(*asked, check=False).stderr
    assert "no other session before 2025-11-04 in this lake: add and run earlier dates" in said
    assert "--layer gold" not in said
