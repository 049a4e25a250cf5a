"""A command that is printed helps: it is run as it stands, in the state in which it is printed, and what it was printed for is gone.
Every command that the sources print has a case here, or stands in `WITHOUT_A_CASE` with the reason.
"""

from __future__ import annotations

import datetime as dt
import html
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.lake.catalog import LADDER, ORDER_EVENTS, TRIGGERS
from engine.lake.store import Lake
from tests.support.dbn_files import DAY_NS, utc_ns
from tests.support.deliveries import definition_file, head, mapped, one_day, orders, put
from tests.support.lakes import RAW, TUESDAY, day_file, spymaster
from tests.support.remedies import pattern, printed_commands

NIGHT = dt.date(2024, 3, 4)
QUESTION = ("--symbol", "ESZ5", "--date", str(TUESDAY), "--time", "10:31:05", "--level", "pm_high")


@dataclass
class Case:
    """What is typed, or what else says something; what it complains of, and what is said once that is mended; words in `instead` are the
    reader's to fill in.
    """

    asked: list[str] | Callable[[], str]
    complaint: str
    mended: str = ""
    instead: dict[str, str] | None = None


Prepare = Callable[[Lake, Path], Case]
CASES: dict[str, Prepare] = {}
PRINTS: dict[str, tuple[str, ...]] = {}

WITHOUT_A_CASE = {
    "engine/cli.py: spymaster lake shows what is there and what is stale. Every command takes --lake (or SPYMASTER_LAKE).": "help",
    "engine/commands/add.py: spymaster demo --lake {}": "no complaint: the next step, run by test_intake.py from a batch folder",
    "engine/commands/download.py: spymaster demo --lake {}": "no complaint: the next step, as after add",
    "engine/commands/batch_jobs.py: spymaster add": "of files that the reader fetches by hand from the portal",
    "engine/commands/lake.py: spymaster contracts --write": "writes the sources: tests/docs/test_add_one_thing.py runs it in a copy",
    "engine/commands/lake.py: spymaster lake {} --full": "no complaint: more of the same answer, which test_trust_lake.py asks for",
    "engine/ladder.py: spymaster run --layer silver --symbol {} --dates {} --overwrite": "of frames that are of no lake",
    "engine/commands/live.py: spymaster live compare 2025-11-04": "an example; test_seal.py compares",
    "engine/commands/live_demo.py: spymaster live-demo": "the text of its mark in a folder: tests/live/test_recording.py",
    "engine/live/checks.py: spymaster download --symbol {} --dates {}:{} --lake {}": "asks Databento, and costs money",
    "engine/live/checks.py: spymaster select": "a word of a check in `morning`, which says the whole command itself",
    "engine/live/journal.py: spymaster live --symbol {}{}": "of a recorder that goes on: tests/live/test_recording.py",
    "engine/live/seal.py: spymaster live compare {}{}": "no complaint: the next step, run by tests/live/test_seal.py",
    "engine/live/seal.py: spymaster run --symbol {} --dates {}{}": "no complaint: the next step, run by tests/live/test_seal.py",
    "engine/retrieval/embedding.py: spymaster index": "of statistics that are of no lake; of an index the reader says its own command",
    "engine/retrieval/events.py: spymaster rebuild": "of frames that are of no lake",
    "engine/retrieval/audit_store.py: spymaster audit --lake {}": "takes an audit of weeks; test_audit_store.py has its states",
    "engine/retrieval/audit_store.py: spymaster audit --lake {}{}{}": "takes an audit of weeks; test_audit_store.py has its states",
    "engine/retrieval/hints.py: spymaster run --lake {} --layer gold --symbol {} --dates {}:{} --session {}{}": (
        "takes gold of two sets of parameters; test_bad_inputs.py runs one, with the shell's substitution"
    ),
    "engine/retrieval/index.py: spymaster index --lake {} --name {}{}{}": "takes an index of weeks; test_retrieval_index.py has its states",
    "workbench/access.py: spymaster serve": "of a server that goes on: tests/ui/test_access.py",
    "workbench/access.py: spymaster serve --host NAME": "of a server that goes on: tests/ui/test_access.py",
    "workbench/app.py: spymaster serve": "of a server that goes on: tests/ui/test_access.py",
    'workbench/views/compare.py: spymaster snapshot --lake {} {} --ts "{}" --out assets/SETUP_1.png': "no complaint: how to make one",
    "workbench/views/components.py: spymaster live": "no complaint: what else brings a session, tests/ui/test_live.py follows one",
    "workbench/views/components.py: spymaster serve --lake DIR": "no complaint: how another lake is shown",
    "workbench/views/research_sections.py: spymaster audit --lake {}": "takes an audit of weeks, as in audit_store.py",
}
"""Commands that the sources name, and no case runs: why."""


def case(*prints: str) -> Callable[[Prepare], Prepare]:
    """A case in which the commands `prints` (`tests.support.remedies`) are printed, and no others."""

    def register(prepare: Prepare) -> Prepare:
        CASES[prepare.__name__] = prepare
        PRINTS[prepare.__name__] = prints
        return prepare

    return register


GOLD = "engine/retrieval/hints.py: spymaster run --lake {} --layer gold --symbol {} --dates {}:{} --session {}"
REPAIR = "engine/lake/store.py: spymaster run --lake {} --product-type {} --layer {} --symbol {} --dates {}{}{}"
REBUILD = "engine/retrieval/hints.py: spymaster rebuild --lake {} --symbol {}"
SESSION = "engine/lake/store.py: spymaster run --lake {} --layer all --symbol {} --dates {}{}"
SELECT = "engine/selection.py: spymaster select --lake {} --symbol {} --session {}"


def lake_words(lake: Lake) -> list[str]:
    return ["--lake", str(lake.root)]


@case(GOLD)
def gold_is_missing(lake: Lake, folder: Path) -> Case:
    return Case(["neighbours", *lake_words(lake), *QUESTION], "makes triggers of what is there", "no other session before")


@case(REPAIR)
def a_partition_is_missing(lake: Lake, folder: Path) -> Case:
    shutil.rmtree(lake.path(LADDER, "ESZ5", TUESDAY))
    moment = ("--symbol", "ESZ5", "--level", "pm_high", "--ts", f"{TUESDAY} 10:31:05")
    return Case(["snapshot", *lake_words(lake), *moment, "--out", str(folder / "a.png")], "no such partition")


@case(REBUILD)
def nothing_but_raw_files_is_there(lake: Lake, folder: Path) -> Case:
    for made in ("bronze", "silver"):
        shutil.rmtree(lake.root / made)
    return Case(["neighbours", *lake_words(lake), *QUESTION], "expected partitions, found none", "add and run more dates")


@case("engine/commands/lake.py: spymaster add FILE {}", "engine/commands/lake.py: spymaster demo {} --no-serve")
def nothing_is_there(lake: Lake, folder: Path) -> Case:
    files = folder / "files"
    for date in (TUESDAY - dt.timedelta(days=1), TUESDAY):
        day_file(files, date)
    empty = folder / "an empty lake"
    return Case(["lake", "--lake", str(empty)], "no partitions", "session profile of silver", {"FILE": str(files)})


@case(
    "engine/retrieval/hints.py: spymaster add FILES --lake {}",
    "engine/retrieval/hints.py: spymaster run --lake {} --symbol {} --dates A:B --session {}",
)
def no_earlier_session(lake: Lake, folder: Path) -> Case:
    spymaster("run", *lake_words(lake), "--layer", "gold", "--symbol", "ESZ5", "--dates", str(TUESDAY))
    earlier = TUESDAY - dt.timedelta(days=4)
    files = folder / "files"
    files.mkdir()
    for date in (earlier - dt.timedelta(days=1), earlier):
        day_file(files, date)
    asked = ["neighbours", *lake_words(lake), *QUESTION]
    return Case(asked, "no other session before 2025-11-04", instead={"FILES": str(files), "A:B": f"{earlier}:{earlier}"})


@case(SELECT)
def the_selection_map_is_missing(lake: Lake, folder: Path) -> Case:
    return Case(["run", *lake_words(lake), "--layer", "silver", "--symbol", "ES", "--dates", str(TUESDAY)], "expected the selection map")


@case("engine/stages/raw.py: spymaster add {} --lake {}")
def several_dates_put_there_by_hand(lake: Lake, folder: Path) -> Case:
    start = utc_ns(NIGHT)
    records = orders(start + DAY_NS // 2, start + DAY_NS + DAY_NS // 2)
    put(lake.root / RAW / "two dates.dbn.zst", head(start, start + 2 * DAY_NS, mapped(NIGHT, days=2)), records)
    return Case(["lake", *lake_words(lake)], "expected a file of one UTC date")


@case("engine/stages/intake.py: spymaster add --replace {}")
def more_is_there_already(lake: Lake, folder: Path) -> Case:
    start, end, records = one_day(NIGHT)
    early = put(folder / "early.dbn", head(start, end, mapped(NIGHT)), records[:50])
    whole = put(folder / "all of it.dbn", head(start, end, mapped(NIGHT)), records)
    spymaster("add", early, *lake_words(lake))
    return Case(["add", str(whole), *lake_words(lake)], "if this file holds all of that and more")


@case("engine/stages/symbology.py: spymaster add {} DEFINITION.dbn.zst --lake {}")
def a_continuous_symbol(lake: Lake, folder: Path) -> Case:
    start, end = utc_ns(NIGHT), utc_ns(NIGHT) + DAY_NS
    mappings = {"ES.c.0": [(NIGHT, NIGHT + dt.timedelta(days=1), "1")]}
    path = put(folder / "front month.dbn", head(start, end, mappings), orders(start, end, {1: 250_000_000}))
    definitions = definition_file(folder / "definition.dbn.zst", NIGHT)
    return Case(["add", str(path), *lake_words(lake)], "continuous symbol", instead={"DEFINITION.dbn.zst": str(definitions)})


@case("engine/stages/raw.py: spymaster add FILE --lake {}")
def the_raw_file_is_missing(lake: Lake, folder: Path) -> Case:
    wednesday = TUESDAY + dt.timedelta(days=1)
    path = day_file(folder, wednesday)
    asked = ["run", *lake_words(lake), "--layer", "bronze", "--symbol", "ESZ5", "--dates", str(wednesday)]
    return Case(asked, "RawMissing", instead={"FILE": str(path)})


def two_days(folder: Path) -> str:
    """A folder with the files of Monday and Tuesday."""
    for date in (TUESDAY - dt.timedelta(days=1), TUESDAY):
        day_file(folder / "files", date)
    return str(folder / "files")


def refusal(ask: Callable[[], object]) -> Callable[[], str]:
    """What a call refuses with; nothing where it does not."""

    def said() -> str:
        try:
            ask()
        except EngineError as e:
            return str(e)
        return ""

    return said


@case("engine/commands/rebuild.py: spymaster add FILE --lake {}")
def nothing_to_rebuild(lake: Lake, folder: Path) -> Case:
    empty = folder / "an empty lake"
    asked = ["rebuild", "--lake", str(empty), "--symbol", "ESZ5", "--no-audit"]
    return Case(asked, "expected raw files, found none", instead={"FILE": two_days(folder)})


@case("engine/commands/serve.py: spymaster add FILE --lake {}")
def no_lake_to_serve(lake: Lake, folder: Path) -> Case:
    empty, file = folder / "no lake", two_days(folder)

    def serve() -> str:
        # With a lake there it would go on.
        return "" if empty.is_dir() else spymaster("serve", "--lake", empty, check=False).stderr

    return Case(serve, "expected a folder, found none", instead={"FILE": file})


@case("engine/selection.py: spymaster run --lake {} --layer bronze --symbol {} --dates A:B")
def nothing_to_select_from(lake: Lake, folder: Path) -> Case:
    for made in ("bronze", "silver"):
        shutil.rmtree(lake.root / made)
    dates = f"{TUESDAY - dt.timedelta(days=1)}:{TUESDAY}"
    return Case(["select", *lake_words(lake), "--symbol", "ES"], "expected bronze with trades", instead={"A:B": dates})


@case(SELECT)
def a_damaged_selection_map(lake: Lake, folder: Path) -> Case:
    lake.selection_path().parent.mkdir(parents=True, exist_ok=True)
    lake.selection_path().write_bytes(b"no parquet")
    return Case(["run", *lake_words(lake), "--layer", "silver", "--symbol", "ES", "--dates", str(TUESDAY)], "expected a selection map")


@case("engine/commands/run.py: spymaster select --lake {} --symbol {} --session {}")
def a_selection_map_that_a_run_made(lake: Lake, folder: Path) -> Case:
    return Case(["run", *lake_words(lake), "--symbol", "ES", "--dates", str(TUESDAY)], "made the selection map")


@case(SESSION)
def a_notebook_without_its_session(lake: Lake, folder: Path) -> Case:
    from workbench.notebook import state_of

    shutil.rmtree(lake.root / "silver")
    return Case(refusal(lambda: state_of(str(lake.root), "ESZ5", TUESDAY)), "expected a session of the lake")


@case(SESSION)
def a_picture_without_its_session(lake: Lake, folder: Path) -> Case:
    shutil.rmtree(lake.root / "silver")
    moment = ("--symbol", "ES", "--level", "pm_high", "--ts", f"{TUESDAY} 10:31:05")
    return Case(["snapshot", *lake_words(lake), *moment, "--out", str(folder / "a.png")], "expected a ladder of ES")


@case(REBUILD)
def research_without_a_session(lake: Lake, folder: Path) -> Case:
    from workbench.queries import quality

    for made in ("bronze", "silver"):
        shutil.rmtree(lake.root / made)
    return Case(refusal(lambda: quality(str(lake.root), "ESZ5")), "expected sessions, found none")


@case(REPAIR)
def walls_without_order_events(lake: Lake, folder: Path) -> Case:
    from workbench.queries import walls

    shutil.rmtree(lake.path(ORDER_EVENTS, "ESZ5", TUESDAY))
    return Case(lambda: walls(str(lake.root), "ESZ5").lacking or "all have", "1 of 1 sessions have no order events", "all have")


@case(
    "workbench/views/components.py: spymaster add --lake {} path/to/files",
    "workbench/views/components.py: spymaster demo --lake {} --no-serve",
)
def the_page_of_an_empty_lake(lake: Lake, folder: Path) -> Case:
    from workbench.views.components import empty_lake_html

    empty = Lake(folder / "an empty & new lake")

    def page() -> str:
        shown = "" if empty.partitions(LADDER) else empty_lake_html(str(empty.root))
        return html.unescape(re.sub(r"<pre>(.*)\n(.*)</pre>", r"`\1` and `\2`", shown))

    return Case(page, "has no price ladder", instead={"path/to/files": two_days(folder)})


def test_every_printed_command_has_a_case_or_a_reason():
    """A new remedy without a case fails here, and so does a case or a reason for one that is printed no more."""
    with_a_case = {command for prints in PRINTS.values() for command in prints}
    assert with_a_case | WITHOUT_A_CASE.keys() == printed_commands()
    assert not with_a_case & WITHOUT_A_CASE.keys()
    assert all(PRINTS.values())


def said_by(case: Case) -> str:
    if callable(case.asked):
        return case.asked()
    done = spymaster(*case.asked, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_printed_command_mends_what_it_was_printed_for(copied_lake: Lake, tmp_path: Path, name: str):
    case = CASES[name](copied_lake, tmp_path)
    text = said_by(case)
    assert case.complaint in text, text
    commands = [c for c in re.findall(r"`(spymaster [^`]*)`", text) if c.split()[1] != "serve"]
    assert [bool(pattern(p).fullmatch(c)) for p in PRINTS[name] for c in commands].count(True) == len(PRINTS[name]), text
    assert len(commands) == len(PRINTS[name]), commands
    for command in commands:
        for stands, runs in (case.instead or {}).items():
            command = re.sub(rf"\b{re.escape(stands)}\b", lambda _, runs=runs: shlex.quote(runs), command)
        spymaster(*shlex.split(command)[1:])
    told = said_by(case)
    assert case.complaint not in told, told
    assert case.mended in told


def test_a_first_session_is_not_told_to_run_gold_again(copied_lake: Lake):
    spymaster("run", *lake_words(copied_lake), "--layer", "gold", "--symbol", "ESZ5", "--dates", str(TUESDAY))
    assert copied_lake.has(TRIGGERS, "ESZ5", TUESDAY)
    asked = ("neighbours", *lake_words(copied_lake), *QUESTION)
    said = spymaster(*asked, check=False).stderr
    assert "no other session before 2025-11-04 in this lake: add and run earlier dates" in said
    assert "--layer gold" not in said
